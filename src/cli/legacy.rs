//! Called by the name of one of ssl-mgr's programs: its options, as command lines of `reseed manager`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use super::{CommandLine, Failure, Status, carry_out, log};
use crate::manager::legacy::{Translation, translate};

/// Does what a program of ssl-mgr called `called` does; nothing when there is none of that name.
pub fn run(called: &str, arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let arguments: Result<Vec<String>, OsString> = arguments.map(OsString::into_string).collect();
    let known = translate(called, arguments.as_deref().unwrap_or_default())?;
    let translation = match arguments {
        Ok(_) => known.map_err(|usage| Failure::Usage(usage.to_string())),
        Err(odd) => Err(Failure::Usage(format!("\"{}\" is not UTF-8", odd.display()))),
    };
    Some(super::ended(called, translation.and_then(follow)))
}

fn follow(translation: Translation) -> Result<Status, Failure> {
    match translation {
        Translation::Print(text) => {
            io::stdout().write_all(text.as_bytes())?;
            Ok(Status::Done)
        }
        Translation::Run(lines) => {
            // All are understood before the first is begun.
            let lines: Vec<CommandLine> = lines.into_iter().map(understood).collect::<Result<_, _>>()?;
            log::start(lines.iter().any(|line| line.global.verbose));
            // What is still to be done for one server keeps nothing else from being done; the first status that is
            // not 0 is told.
            let mut first = Status::Done;
            for line in &lines {
                let status = carry_out(line)?;
                if first == Status::Done {
                    first = status;
                }
            }
            Ok(first)
        }
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
