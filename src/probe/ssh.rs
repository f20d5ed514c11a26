//! SSH's host keys, asked with the system's own tool: `ssh-keyscan` is well kept, and knows every
//! kind of key that its `sshd` has.

use super::{Answer, Endpoint, Fingerprint, KeyKind, Limits, Shown};
use crate::system::process;

/// Asks a server for all of its host keys.
pub fn ask(endpoint: &Endpoint, limits: &Limits) -> Vec<Answer> {
    let seconds = limits.time.as_secs().max(1);
    let command = [
        "ssh-keyscan".to_owned(),
        "-T".to_owned(),
        seconds.to_string(),
        "-p".to_owned(),
        endpoint.port.to_string(),
        "--".to_owned(),
        endpoint.address.to_string(),
    ];
    // It asks for one kind after the other.
    match process::run(&command, limits.time.saturating_mul(4), process::KEPT) {
        Ok(text) => answers(&text),
        Err(error) if error.contains("cannot be started") => {
            vec![Answer::Unknown("ssh-keyscan is not installed".into())]
        }
        Err(error) => vec![failure(&error)],
    }
}

/// The keys in the output of `ssh-keyscan`: `host kind base64`, beside comments.
fn answers(text: &str) -> Vec<Answer> {
    let keys: Vec<Answer> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' ').map(|(_, key)| key.trim()))
        .filter_map(Fingerprint::of_host_key)
        .map(|fingerprint| {
            let shown = Shown { fingerprint, kind: KeyKind::Host, certificate: None, chain: 0 };
            Answer::Shown(Box::new(shown))
        })
        .collect();
    if keys.is_empty() { vec![failure(text)] } else { keys }
}

fn failure(text: &str) -> Answer {
    if text.contains("Connection refused") {
        return Answer::Closed;
    }
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty() && !line.starts_with('#'));
    Answer::Unknown(format!("it showed no host key: {}", last.unwrap_or("no answer")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIDs3fpLH8dCkbaGb0rmcbHnT7oXcjMXDAcLz8AuE9lyR";

    #[test]
    fn outputs() {
        let one = format!("# 127.0.0.1:22 SSH-2.0-OpenSSH_9.2\n127.0.0.1 ssh-ed25519 {KEY}\n");
        let cases = [
            ("a key", one.as_str(), 1, ""),
            ("two", &format!("{one}[::1]:2222 ssh-ed25519 {KEY}\n"), 2, ""),
            ("a broken key", "127.0.0.1 ssh-ed25519 AAAA\n", 0, "no host key"),
            ("nobody", "connect: Connection refused\n", 0, "closed"),
            ("nothing", "", 0, "no answer"),
        ];
        for (case, text, keys, why) in cases {
            let answers = answers(text);
            let shown = answers.iter().filter(|answer| matches!(answer, Answer::Shown(_))).count();
            assert_eq!(shown, keys, "{case}");
            let said = match &answers[0] {
                Answer::Unknown(said) => said.clone(),
                Answer::Closed => "closed".into(),
                _ => String::new(),
            };
            assert!(said.contains(why), "{case}: {said}");
        }
    }

    #[test]
    fn the_fingerprint_is_that_of_ssh_keygen() {
        let fingerprint = Fingerprint::of_host_key(&format!("ssh-ed25519 {KEY} root@mail")).unwrap();
        assert!(fingerprint.to_string().starts_with("SHA256:"), "{fingerprint}");
        assert_eq!(Fingerprint::of_host_key("no key"), None);
    }
}
