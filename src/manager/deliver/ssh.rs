//! The way to other hosts: OpenSSH's own client, so that keys, jump hosts and names are those of whoever runs the
//! manager. Nobody is asked for a password.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::system::process;

/// How long one step on a host may take: copying a tree, restarting a mail server.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Octets of what is said there that are kept: a banner of the host may come first.
const KEPT: u64 = 64 << 10;

/// A place where commands are run.
#[derive(Debug, Clone, Copy)]
pub enum Door<'a> {
    /// This machine.
    Here,
    /// Another one.
    Ssh {
        /// As `ssh` is given it: a name of its configuration, perhaps with a user.
        host: &'a str,
        /// What is given to `ssh` before the host: `ssh_options`.
        options: &'a [String],
    },
}

impl Door<'_> {
    /// Runs a program with its arguments, each as it is.
    ///
    /// # Errors
    /// In words: what it said last, or what `ssh` did.
    pub fn run(self, command: &[String]) -> Result<String, String> {
        let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
        match self {
            Self::Here => process::run(command, DEADLINE, KEPT),
            Self::Ssh { .. } => process::run(&self.arguments(&words.join(" ")), DEADLINE, KEPT),
        }
    }

    /// Runs a program with something for it to read, and nothing else: also where the key that lets us in allows no
    /// other program.
    ///
    /// # Errors
    /// As for [`Door::run`].
    pub fn feed(self, command: &[String], input: Vec<u8>) -> Result<String, String> {
        let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
        let input = Zeroizing::new(input);
        match self {
            Self::Here => process::feed(command, input, DEADLINE, KEPT),
            Self::Ssh { .. } => process::feed(&self.arguments(&words.join(" ")), input, DEADLINE, KEPT),
        }
    }

    /// Runs a script for `sh` with arguments, and something for it to read.
    ///
    /// The script comes first in what is read, and is taken from it octet by octet: what a login shell is given
    /// is the same short line for every script, and none of the arguments.
    ///
    /// # Errors
    /// As for [`Door::run`].
    pub fn script(self, script: &str, arguments: &[&str], input: &[u8]) -> Result<String, String> {
        self.script_within(script, arguments, input, (DEADLINE, KEPT))
    }

    /// The same with other bounds: how long it may take, and how many octets of what it says are kept.
    ///
    /// # Errors
    /// As for [`Door::run`].
    pub fn script_within(
        self,
        script: &str,
        arguments: &[&str],
        input: &[u8],
        (deadline, kept): (Duration, u64),
    ) -> Result<String, String> {
        let words: Vec<String> = arguments.iter().map(|word| quoted(word)).collect();
        let text = format!("set -- {}\n{script}", words.join(" "));
        let begin = format!("eval \"$(dd bs=1 count={} 2>/dev/null)\"", text.len());
        let command = match self {
            Self::Here => vec!["sh".to_owned(), "-c".to_owned(), begin],
            Self::Ssh { .. } => self.arguments(&format!("sh -c {}", quoted(&begin))),
        };
        let mut fed = Zeroizing::new(Vec::with_capacity(text.len() + input.len()));
        fed.extend_from_slice(text.as_bytes());
        fed.extend_from_slice(input);
        process::feed(&command, fed, deadline, kept)
    }

    /// What `ssh` is called with; of an option that is given twice it takes the first.
    fn arguments(self, line: &str) -> Vec<String> {
        let Self::Ssh { host, options } = self else { return vec![line.to_owned()] };
        let ours = ["ssh", "-T", "-x", "-o", "BatchMode=yes", "-o", "ClearAllForwardings=yes"];
        let mut arguments: Vec<String> = ours.map(str::to_owned).to_vec();
        arguments.extend(options.iter().cloned());
        arguments.extend(["-o", "ConnectTimeout=10", "--", host, line].map(str::to_owned));
        arguments
    }
}

/// A word as every shell takes it for itself.
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: [&str; 7] = ["a b", "$(id)", "`id`", "it's", "\"; id; \"", "*", "a\\b\n!c"];

    #[test]
    fn words_reach_a_script_as_they_are() {
        let script = "for word; do printf '%s|' \"$word\"; done; cat";
        let said = Door::Here.script(script, &HOSTILE, b"the rest").unwrap();
        assert_eq!(said, HOSTILE.join("|") + "|the rest");
    }

    #[test]
    fn words_reach_a_shell_as_they_are() {
        let words: Vec<String> = HOSTILE.iter().map(|word| quoted(word)).collect();
        let line = format!("printf '%s|' {}", words.join(" "));
        let command = ["sh".to_owned(), "-c".to_owned(), line];
        assert_eq!(process::run(&command, DEADLINE, KEPT).unwrap(), HOSTILE.join("|") + "|");
    }

    #[test]
    fn what_ssh_is_given() {
        let options = ["-F", "/etc/reseed/ssh_config", "-o", "ConnectTimeout=3"].map(str::to_owned);
        let door = Door::Ssh { host: "root@mx1", options: &options };
        let arguments = door.arguments("'true'");
        let at = |word: &str| arguments.iter().position(|one| one == word).unwrap();
        assert!(at("BatchMode=yes") < at("-F"), "it cannot be switched off");
        assert!(at("ConnectTimeout=3") < at("ConnectTimeout=10"), "the site's comes first, and counts");
        assert_eq!(arguments[arguments.len() - 3..], ["--", "root@mx1", "'true'"]);
    }

    #[test]
    fn a_script_that_fails_says_why() {
        let failed = Door::Here.script("echo out of reach >&2; exit 4", &[], b"").unwrap_err();
        assert!(failed.ends_with("(exit status: 4): out of reach"), "{failed}");
    }
}
