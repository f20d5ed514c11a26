//! Start-up: arguments in, exit status out.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    reseed::cli::run(reseed::cli::CommandLine::parse())
}
