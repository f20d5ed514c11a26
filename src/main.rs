//! Start-up: arguments in, exit status out.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match reseed::cli::by_another_name(std::env::args_os()) {
        Some(status) => status,
        None => reseed::cli::run(reseed::cli::CommandLine::parse()),
    }
}
