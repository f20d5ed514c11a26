//! How long work goes on, on a terminal.

use std::io::{self, IsTerminal, Write};

use super::text;

/// Tells a person that something goes on; a program that reads what we write is not told.
pub fn line(message: &str) {
    let mut terminal = io::stderr().lock();
    if terminal.is_terminal() {
        // One that has gone away is told nothing.
        let _ = writeln!(terminal, "  {}", text::printable(message));
    }
}
