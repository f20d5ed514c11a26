//! The programs of ssl-mgr and serverPKI under their old names and with their old options, turned into command lines
//! of `reseed manager`: `sslm-mgr`, `sslm-info`, `sslm-verify`, `sslm-dhparm`, `sslm-tlsa-hash` and
//! `operate_serverPKI`.
//!
//! ```text
//!  spelling        how ssl-mgr's options may be written, as Python's argparse takes them
//!  sslm_mgr        which commands one call of sslm-mgr is, and in which order
//!  tools           the small programs: one command each
//!  serverpki       which commands one call of operate_serverPKI is
//!  serverpki_conf  its configuration, and what it means here
//! ```
//!
//! Pure, and thin on purpose: whatever decides anything is in the commands themselves.

pub mod serverpki;
pub mod serverpki_conf;
mod spelling;
mod sslm_mgr;
#[cfg(test)]
mod tests;
mod tools;

use std::fmt::Display;

use clap::CommandFactory;

/// serverPKI's program.
pub const OPERATE: &str = "operate_serverPKI";

/// What a call under an old name comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Translation {
    /// Command lines, each as it stands after `reseed manager`, to be run in this order until one fails.
    Run(Vec<Vec<String>>),
    /// A text for standard output: the help that was asked for.
    Print(String),
}

/// Options that cannot be understood, in words, with the nearest that could: exit status 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Usage(String);

/// Translates the arguments of a program called `called`, its name without directory and not among the
/// arguments; nothing when that is no old name.
pub fn translate(called: &str, arguments: &[String]) -> Option<Result<Translation, Usage>> {
    let translate = match called {
        "sslm-mgr" => sslm_mgr::translate,
        "sslm-info" => tools::info,
        "sslm-verify" => tools::verify,
        "sslm-dhparm" => tools::dhparm,
        "sslm-tlsa-hash" => tools::tlsa_hash,
        OPERATE => serverpki::translate,
        _ => return None,
    };
    Some(translate(arguments))
}

/// Returns the definitions that the old names' help comes from, for manual pages.
pub fn definitions() -> [clap::Command; 6] {
    [
        sslm_mgr::Developer::command().name("sslm-mgr"),
        tools::Info::command(),
        tools::Verify::command(),
        tools::Dhparm::command(),
        tools::TlsaHash::command(),
        serverpki::definition(),
    ]
}

/// A command line under construction.
struct Line(Vec<String>);

impl Line {
    fn of(command: &str) -> Self {
        Self(vec![command.to_owned()])
    }

    fn flag(mut self, given: bool, name: &str) -> Self {
        self.0.extend(given.then(|| name.to_owned()));
        self
    }

    fn value(mut self, name: &str, value: Option<impl Display>) -> Self {
        self.0.extend(value.into_iter().flat_map(|value| [name.to_owned(), value.to_string()]));
        self
    }

    /// What begins with a dash is still no option: it was none before.
    fn about(mut self, names: &[String]) -> Vec<String> {
        self.0.extend(names.iter().any(|name| name.starts_with('-')).then(|| "--".to_owned()));
        self.0.extend_from_slice(names);
        self.0
    }
}
