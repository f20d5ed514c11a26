//! Called by the name of one of ssl-mgr's programs, or serverPKI's: its options, as command lines of
//! `reseed manager`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use super::{Command, CommandLine, Failure, Status, carry_out, log};
use crate::manager::legacy::serverpki_conf::CANDIDATES;
use crate::manager::legacy::{OPERATE, Translation, translate};
use crate::system::root::Root;

/// Does what a program of ssl-mgr called `called` does; nothing when there is none of that name.
pub fn run(called: &str, arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let arguments: Result<Vec<String>, OsString> = arguments.map(OsString::into_string).collect();
    let known = translate(called, arguments.as_deref().unwrap_or_default())?;
    let translation = match arguments {
        Ok(_) => known.map_err(|usage| Failure::Usage(usage.to_string())),
        Err(odd) => Err(Failure::Usage(format!("\"{}\" is not UTF-8", odd.display()))),
    };
    let done = translation.and_then(|translation| follow(translation, called == OPERATE));
    Some(super::ended(called, done))
}

fn follow(translation: Translation, is_serverpki: bool) -> Result<Status, Failure> {
    match translation {
        Translation::Print(text) => {
            io::stdout().write_all(text.as_bytes())?;
            Ok(Status::Done)
        }
        Translation::Run(lines) => {
            // All are understood before the first is begun.
            let mut lines: Vec<CommandLine> = lines.into_iter().map(understood).collect::<Result<_, _>>()?;
            if is_serverpki {
                configure(&mut lines)?;
            }
            log::start(lines.iter().any(|line| line.global.verbose));
            // What is still to be done for one server keeps nothing else from being done; the first status that is
            // not 0 is told.
            let mut first = Status::Done;
            for line in &lines {
                let status = if is_serverpki { as_serverpki(carry_out(line))? } else { carry_out(line)? };
                if first == Status::Done {
                    first = status;
                }
            }
            Ok(first)
        }
    }
}

/// Where nobody names a configuration, serverPKI looks for it; a site that has changed over has a tree of ours.
fn configure(lines: &mut [CommandLine]) -> Result<(), Failure> {
    let root = Root::open(Path::new("/"))?;
    for line in lines {
        let Command::Manager(arguments) = &mut line.command else { continue };
        if arguments.has_config() {
            continue;
        }
        for candidate in CANDIDATES.map(Path::new) {
            if root.status(candidate)?.is_some() {
                arguments.or_config(candidate);
                break;
            }
        }
    }
    Ok(())
}

/// Its exit status is 0, 1 or 2. What is wrong with what it lists does not mean that it could not list it.
fn as_serverpki(done: Result<Status, Failure>) -> Result<Status, Failure> {
    match done {
        Ok(Status::Stale) => Ok(Status::Done),
        Ok(Status::Busy) => Ok(Status::Failed),
        Err(failure) if failure.status() == Status::Busy => Err(Failure::Other(failure.to_string())),
        other => other,
    }
}

fn understood(line: Vec<String>) -> Result<CommandLine, Failure> {
    let program = ["reseed", "manager"].map(str::to_owned);
    CommandLine::try_parse_from(program.into_iter().chain(line)).map_err(|fault| {
        let text = fault.render().to_string();
        Failure::Usage(text.trim_start_matches("error: ").trim_end().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command line that comes out of an old call is one of ours.
    #[test]
    fn what_is_translated_is_understood() {
        let calls = [
            "sslm-mgr",
            "sslm-mgr -sv example.com:web,mail ca:ALL",
            "sslm-mgr -renew -f -r -t ca:my-root",
            "sslm-mgr -n -renew -roll",
            "sslm-mgr -roll -f -roll-mins 5 -v example.com",
            "sslm-mgr -dns example.com",
            "sslm-mgr -clean-keep 3 example.com/web",
            "sslm-mgr -n -clean-all",
            "sslm-mgr dev -keys -csr -cert -v",
            "sslm-mgr dev -copy",
            "sslm-mgr dev -ntoc -fsr",
            "sslm-mgr dev -n -certs-prod",
            "sslm-mgr -s -- -odd",
            "sslm-info",
            "sslm-info -v a.pem b.pem",
            "sslm-verify certs/example.com/web/curr",
            "sslm-dhparm -k ffdhe4096,2048 -f -a 30 -s a b",
            "sslm-tlsa-hash",
            "sslm-tlsa-hash certs/example.com/web/curr",
            "operate_serverPKI -S -q -a",
            "operate_serverPKI -S -n -a -d -s a.example -l b.example -N",
            "operate_serverPKI -C -D -o a.example -N -v",
            "operate_serverPKI -C -i a.example -e odd.example",
            "operate_serverPKI -r 30 -D -f /etc/serverpki.conf",
            "operate_serverPKI -r 30 -n",
            "operate_serverPKI -K -T -a -l h.example",
            "operate_serverPKI -R -o odd.example",
            "operate_serverPKI -E 17",
            "operate_serverPKI -X -q",
            "operate_serverPKI -Y -n",
            "operate_serverPKI -I -v",
            "operate_serverPKI -Z",
            "operate_serverPKI -n -a -v",
        ];
        let mut understood = 0;
        for call in calls {
            let mut words = call.split_whitespace().map(str::to_owned);
            let program = words.next().unwrap();
            let lines = match translate(&program, &words.collect::<Vec<_>>()) {
                Some(Ok(Translation::Run(lines))) => lines,
                other => panic!("{call}: {other:?}"),
            };
            for line in lines {
                let text = line.join(" ");
                super::understood(line).unwrap_or_else(|fault| panic!("{call}: {text}: {fault}"));
                understood += 1;
            }
        }
        assert!(understood > 0);
    }
}
