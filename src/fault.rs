//! A fault in a text that somebody wrote: which file, which line, which column, what is wrong.
//!
//! Hooks, seed, settings and ledger all report through this one type, so that every refusal reads
//! `path:line:column: what is wrong` and ends in exit status 2.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file, as the operator knows it.
    pub path: PathBuf,
    /// Counted from 1; 0 when the whole file is meant.
    pub line: usize,
    /// Characters from the start of the line, counted from 1; 0 when the whole file is meant.
    pub column: usize,
    /// What is wrong, and what to do about it where that is not obvious.
    pub message: String,
}

impl Fault {
    /// A fault at a range of octets in `text`.
    pub fn at(path: &Path, text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self { path: path.to_owned(), line, column, message: message.into() }
    }

    /// A fault of the file as a whole: who owns it, who may write to it, that it cannot be read.
    pub fn whole(path: &Path, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: 0, column: 0, message: message.into() }
    }

    /// What the TOML parser refused: syntax, a misspelt key, a wrong type.
    pub fn toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().replace('\n', "; ");
        match error.span() {
            Some(span) => Self::at(path, text, span, message),
            None => Self::at(path, text, 0..0, message),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path.display(), self.message),
            line => write!(f, "{}:{line}:{}: {}", self.path.display(), self.column, self.message),
        }
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_from_one() {
        let text = "ab\ncdé f\n";
        for (case, at, expected) in
            [("start", 0, (1, 1)), ("second line", 3, (2, 1)), ("after a wide letter", 7, (2, 4))]
        {
            let fault = Fault::at(Path::new("x"), text, at..at, "wrong");
            assert_eq!((fault.line, fault.column), expected, "{case}");
        }
        assert_eq!(Fault::at(Path::new("x"), text, 3..4, "wrong").to_string(), "x:2:1: wrong");
        assert_eq!(Fault::whole(Path::new("x"), "wrong").to_string(), "x: wrong");
    }
}
