//! `operate_serverPKI`: which commands one call of it is.
//!
//! One call is one action, or one of the two pairs that belong together; a selection of certificates, which is
//! empty unless something is selected; and which hosts are served. What its manual says counts, also where the
//! program did otherwise: `-i` adds, `-n` changes nothing whatever is asked for, a file of `-f` that is not there
//! is an error, and the exit status is 0 only when everything was done.
//!
//! Its options are Python's optparse's, and nearly clap's: long ones may be shortened as far as they stay unique,
//! letters may be joined, a value may begin with a dash, and words that belong to no option are nobody's.

#[cfg(test)]
mod tests;

use clap::{CommandFactory, FromArgMatches, Parser};

use super::{Line, Translation, Usage};

/// Issues, distributes and rolls the certificates of an inventory, as serverPKI does
///
/// This is `reseed manager` by the name and with the options of serverPKI.
#[derive(Debug, Parser)]
#[command(name = "operate_serverPKI", override_usage = "operate_serverPKI [OPTIONS]", after_help = MANNERS)]
struct Options {
    /// Issue each selected certificate: `reseed manager issue`
    #[arg(short = 'C', long = "create-certs", help_heading = ACTIONS)]
    create: bool,
    /// Issue the certificates by the own authority of which the served one ends within N days: `reseed manager
    /// renew --within N`
    #[arg(short = 'r', long = "renew-local-certs", value_name = "N", help_heading = ACTIONS, allow_hyphen_values = true)]
    renew: Option<u32>,
    /// Do what is due: `reseed manager schedule`
    #[arg(short = 'S', long = "schedule-actions", help_heading = ACTIONS)]
    schedule: bool,
    /// Bring what was issued to its hosts: `reseed manager distribute`
    #[arg(short = 'D', long = "distribute-certs", help_heading = ACTIONS)]
    distribute: bool,
    /// Bring what is served to its hosts once more: `reseed manager consolidate`
    #[arg(short = 'K', long = "consolidate-certs", help_heading = ACTIONS)]
    consolidate: bool,
    /// Publish the TLSA records once more: `reseed manager tlsa`
    #[arg(short = 'T', long = "consolidate-TLSAs", help_heading = ACTIONS)]
    tlsa: bool,
    /// Take the TLSA records away: `reseed manager tlsa --remove`
    #[arg(short = 'R', long = "remove-TLSAs", help_heading = ACTIONS)]
    remove: bool,
    /// Write the certificate and key of an instance into the work directory: `reseed manager export`
    #[arg(short = 'E', long = "export-cert-and-key", value_name = "SERIAL", help_heading = ACTIONS)]
    export: Option<u64>,
    /// Encrypt all keys: `reseed manager keys encrypt`
    #[arg(short = 'X', long = "encrypt-keys", help_heading = ACTIONS)]
    encrypt: bool,
    /// Decrypt all keys: `reseed manager keys decrypt`
    #[arg(short = 'Y', long = "decrypt-keys", help_heading = ACTIONS)]
    decrypt: bool,
    /// Make an authority of our own: `reseed manager ca`
    #[arg(short = 'I', long = "issue-local-CAcert", help_heading = ACTIONS)]
    authority: bool,
    /// Register with the public authority: `reseed manager register`
    #[arg(short = 'Z', long = "register", help_heading = ACTIONS)]
    register: bool,
    /// Show what is selected, and what -S, -r, -X, -Y or -I would do, and do nothing: `reseed manager check`
    #[arg(short = 'n', long = "check-only", help_heading = ACTIONS)]
    check: bool,
    /// Select every certificate
    #[arg(short = 'a', long = "all", help_heading = SELECTION)]
    all: bool,
    /// Select this certificate and those that are named by this option too, and no others
    #[arg(short = 'o', long = "only", value_name = "CERT", help_heading = SELECTION, allow_hyphen_values = true)]
    only: Vec<String>,
    /// Select this certificate too
    #[arg(short = 'i', long = "include", value_name = "CERT", help_heading = SELECTION, allow_hyphen_values = true)]
    include: Vec<String>,
    /// Leave this certificate out
    #[arg(short = 'e', long = "exclude", value_name = "CERT", help_heading = SELECTION, allow_hyphen_values = true)]
    exclude: Vec<String>,
    /// Leave this host out
    #[arg(short = 's', long = "skip-disthost", value_name = "HOST", help_heading = SELECTION, allow_hyphen_values = true)]
    skip_host: Vec<String>,
    /// Serve this host and those that are named by this option too, and no others
    #[arg(short = 'l', long = "limit-to-disthost", value_name = "HOST", help_heading = SELECTION, allow_hyphen_values = true)]
    only_host: Vec<String>,
    /// Leave TLSA records as they are
    #[arg(short = 'N', long = "no-TLSA-records")]
    no_tlsa: bool,
    /// Say everything
    #[arg(short = 'd', long = "debug")]
    debug: bool,
    /// Say more
    #[arg(short = 'v', long = "verbose")]
    verbose: bool,
    /// Say only what went wrong
    #[arg(short = 'q', long = "quiet")]
    quiet: bool,
    /// The configuration
    #[arg(short = 'f', long = "config_file", value_name = "FILE", allow_hyphen_values = true)]
    config: Option<String>,
    /// Nobody's
    #[arg(hide = true)]
    others: Vec<String>,
}

const ACTIONS: &str = "Actions";
const SELECTION: &str = "Selection, empty unless something is selected";

const MANNERS: &str = "One action, or two: -D with -C or with -r, -K with -T. Long options may be shortened as far as \
    they stay unique, and take their value behind a blank or `=`; letters may be joined. The exit status is 0 only \
    when everything was done.";

/// Translates the arguments of `operate_serverPKI`.
///
/// # Errors
/// [`Usage`] for what cannot be understood, and for actions that do not go together.
pub fn translate(arguments: &[String]) -> Result<Translation, Usage> {
    // A fixed width: how wide the terminal is, only the world knows.
    let command = Options::command();
    let mut command =
        command.term_width(100).infer_long_args(true).args_override_self(true).no_binary_name(true);
    let read = command
        .try_get_matches_from_mut(arguments)
        .and_then(|mut matches| Options::from_arg_matches_mut(&mut matches));
    match read {
        Ok(options) => options.lines(),
        Err(told) if !told.use_stderr() => Ok(Translation::Print(told.render().to_string())),
        Err(fault) => {
            let text = fault.render().to_string();
            Err(Usage(text.trim_start_matches("error: ").trim_end().to_owned()))
        }
    }
}

/// What one call can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    Create,
    Renew,
    Schedule,
    Distribute,
    Consolidate,
    Tlsa,
    Remove,
    Export,
    Encrypt,
    Decrypt,
    Authority,
    Register,
}

use Action::{
    Authority, Consolidate, Create, Decrypt, Distribute, Encrypt, Export, Register, Remove, Renew, Schedule,
    Tlsa,
};

/// The pairs that belong together, in the order in which they are done.
const PAIRS: [[Action; 2]; 3] = [[Create, Distribute], [Renew, Distribute], [Consolidate, Tlsa]];

impl Options {
    /// What is asked for, in the order in which it is done.
    fn actions(&self) -> Vec<Action> {
        let asked = [
            (Create, self.create),
            (Renew, self.renew.is_some()),
            (Schedule, self.schedule),
            (Distribute, self.distribute),
            (Consolidate, self.consolidate),
            (Tlsa, self.tlsa),
            (Remove, self.remove),
            (Export, self.export.is_some()),
            (Encrypt, self.encrypt),
            (Decrypt, self.decrypt),
            (Authority, self.authority),
            (Register, self.register),
        ];
        asked.into_iter().filter_map(|(action, is_asked)| is_asked.then_some(action)).collect()
    }

    fn lines(&self) -> Result<Translation, Usage> {
        let actions = self.actions();
        together(&actions)?;
        let first = actions.first().copied();
        // What has no selection does not wait for one.
        let selects =
            first.is_none_or(|action| !matches!(action, Export | Encrypt | Decrypt | Authority | Register));
        if first.is_none() && !self.check {
            return Ok(self.nothing("nothing is asked for"));
        }
        if selects && self.selects_nothing() {
            return Ok(self.nothing("no certificate is selected; -a, -o, -i or -r selects some"));
        }
        let lines = match (self.check, actions.as_slice()) {
            (true, [Schedule]) => vec![self.line(Schedule).flag(true, "--dry-run")],
            (true, [Renew]) => vec![self.line(Renew).flag(true, "--dry-run")],
            (true, [Encrypt | Decrypt | Authority]) => {
                actions.iter().map(|action| self.line(*action).flag(true, "--dry-run")).collect()
            }
            (true, [Export | Register]) => return Ok(self.nothing("nothing is done because of -n")),
            (true, _) => vec![self.common("check").flag(true, "--verbose")],
            // Not issued once more: brought out is what a renewal has made.
            (false, [Renew, Distribute]) => vec![self.line(Distribute).value("--within", self.renew)],
            (false, actions) => actions.iter().map(|action| self.line(*action)).collect(),
        };
        let selection = if selects { self.selection() } else { Vec::new() };
        let names: &[String] = if selects { &self.only } else { &[] };
        Ok(Translation::Run(
            lines
                .into_iter()
                .map(|mut line| {
                    line.0.extend(selection.iter().cloned());
                    line.about(names)
                })
                .collect(),
        ))
    }

    /// Nothing selected is nothing done, which is no fault.
    fn nothing(&self, why: &str) -> Translation {
        Translation::Print(if self.quiet { String::new() } else { format!("{why}\n") })
    }

    fn selects_nothing(&self) -> bool {
        !self.all && self.renew.is_none() && self.only.is_empty() && self.include.is_empty()
    }

    /// What comes before names: those alone are a selection that nothing else changes.
    fn selection(&self) -> Vec<String> {
        if !self.only.is_empty() {
            return Vec::new();
        }
        let all = (self.all || self.renew.is_some() && self.include.is_empty()).then(|| "--all".to_owned());
        let named = |option: &str, names: &[String]| joined(option, names);
        all.into_iter()
            .chain(named("--include", &self.include))
            .chain(named("--exclude", &self.exclude))
            .collect()
    }

    /// What any command is told.
    fn common(&self, command: &str) -> Line {
        let mut line = Line::of(command).flag(self.quiet, "--quiet");
        line.0.extend(self.config.iter().flat_map(|file| joined("--config", std::slice::from_ref(file))));
        line
    }

    fn line(&self, action: Action) -> Line {
        let command = match action {
            Create => "issue",
            Renew => "renew",
            Schedule => "schedule",
            Distribute => "distribute",
            Consolidate => "consolidate",
            Tlsa | Remove => "tlsa",
            Export => "export",
            Encrypt | Decrypt => "keys",
            Authority => "ca",
            Register => "register",
        };
        let mut line = self.common(command).flag(self.verbose || self.debug, "--verbose");
        match action {
            Renew => line = line.value("--within", self.renew),
            Remove => line = line.flag(true, "--remove"),
            Encrypt => {
                line.0.insert(1, "encrypt".to_owned());
                line = line.flag(true, "--refuse-already");
            }
            Decrypt => {
                line.0.insert(1, "decrypt".to_owned());
                line = line.flag(true, "--refuse-already");
            }
            Export => line.0.extend(self.export.map(|serial| serial.to_string())),
            _ => {}
        }
        if matches!(action, Schedule | Distribute | Consolidate) {
            line.0.extend(joined("--skip-host", &self.skip_host));
            line.0.extend(joined("--only-host", &self.only_host));
        }
        line.flag(self.no_tlsa && matches!(action, Schedule | Distribute), "--no-tlsa")
    }
}

/// An option with each of its values in one word: these may begin with a dash.
fn joined(option: &str, values: &[String]) -> Vec<String> {
    values.iter().map(|value| format!("{option}={value}")).collect()
}

/// Says whether actions may be combined.
fn together(actions: &[Action]) -> Result<(), Usage> {
    let refused = |message: &str| Err(Usage(message.to_owned()));
    match actions {
        [] | [_] => Ok(()),
        [_, _] if PAIRS.iter().any(|pair| pair == actions) => Ok(()),
        [first, second] => {
            let alone = [first, second].into_iter().find(|action| {
                matches!(action, Schedule | Export | Encrypt | Decrypt | Authority | Register | Remove)
            });
            match alone {
                Some(alone) => {
                    refused(&format!("{} does not go together with another action", alone.option()))
                }
                None => refused(
                    "these two actions do not go together; only -D with -C or with -r, and -K with -T do",
                ),
            }
        }
        _ => refused("too many actions; at most two go together: -D with -C or with -r, and -K with -T"),
    }
}

impl Action {
    fn option(self) -> &'static str {
        match self {
            Create => "-C",
            Renew => "-r",
            Schedule => "-S",
            Distribute => "-D",
            Consolidate => "-K",
            Tlsa => "-T",
            Remove => "-R",
            Export => "-E",
            Encrypt => "-X",
            Decrypt => "-Y",
            Authority => "-I",
            Register => "-Z",
        }
    }
}

/// Returns the definitions that the help comes from, for manual pages.
pub fn definition() -> clap::Command {
    Options::command()
}
