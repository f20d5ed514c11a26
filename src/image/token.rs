//! Secrets that are a short text: tokens, and keys on one line. Few and exact: what only might be one
//! is none.

/// Says which tokens a text holds, by the name of their rule.
pub fn find(text: &[u8]) -> Vec<&'static str> {
    KINDS.iter().filter(|kind| has(text, kind)).map(|kind| kind.rule).collect()
}

/// One kind of token.
struct Kind {
    rule: &'static str,
    /// A text before it; quick to look for.
    mark: &'static [u8],
    /// What follows the mark.
    follows: fn(&[u8]) -> bool,
}

const KINDS: &[Kind] = &[
    Kind { rule: "wireguard-private-key", mark: b"PrivateKey", follows: wireguard },
    Kind { rule: "wireguard-private-key", mark: b"private-key", follows: wireguard },
    Kind { rule: "age-secret-key", mark: b"AGE-SECRET-KEY-1", follows: age },
    Kind { rule: "aws-secret-key", mark: b"aws_secret_access_key", follows: aws },
    Kind { rule: "aws-secret-key", mark: b"AWS_SECRET_ACCESS_KEY", follows: aws },
    Kind { rule: "github-token", mark: b"ghp_", follows: github },
    Kind { rule: "github-token", mark: b"gho_", follows: github },
    Kind { rule: "github-token", mark: b"ghs_", follows: github },
    Kind { rule: "github-token", mark: b"github_pat_", follows: github_fine },
    Kind { rule: "vault-token", mark: b"hvs.", follows: vault },
    Kind { rule: "k3s-token", mark: b"K10", follows: k3s },
    Kind { rule: "kubeadm-token", mark: b"token", follows: kubeadm },
];

fn has(text: &[u8], kind: &Kind) -> bool {
    memchr::memmem::find_iter(text, kind.mark).any(|at| {
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        let begins = !before.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
        begins && text.get(at + kind.mark.len()..).is_some_and(kind.follows)
    })
}

/// Splits off the characters that fit.
fn run(text: &[u8], fits: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|b| !fits(*b)).unwrap_or(text.len()))
}

/// What stands behind `=` or `:`, quotes left off.
fn value(text: &[u8]) -> Option<&[u8]> {
    let blank = |b: u8| b == b' ' || b == b'\t';
    let rest = run(text, |b| b == b'"' || b == b'\'').1;
    let rest = run(rest, blank).1;
    let rest = rest.strip_prefix(b"=").or_else(|| rest.strip_prefix(b":"))?;
    Some(run(rest, |b| blank(b) || b == b'"' || b == b'\'').1)
}

fn is_base64(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'+' || b == b'/'
}

/// 32 octets in base64: 43 characters and one `=` (wg(8)).
fn wireguard(text: &[u8]) -> bool {
    value(text).is_some_and(|value| {
        let (body, rest) = run(value, is_base64);
        body.len() == 43 && rest.starts_with(b"=") && !rest.starts_with(b"==")
    })
}

/// Bech32 of 32 octets, in capitals.
fn age(text: &[u8]) -> bool {
    run(text, |b| b.is_ascii_uppercase() || b.is_ascii_digit()).0.len() == 58
}

/// Forty characters; the ones in Amazon's manuals end in `EXAMPLEKEY`.
fn aws(text: &[u8]) -> bool {
    value(text).is_some_and(|value| {
        let body = run(value, is_base64).0;
        body.len() == 40 && !body.ends_with(b"EXAMPLEKEY")
    })
}

fn github(text: &[u8]) -> bool {
    run(text, |b| b.is_ascii_alphanumeric()).0.len() == 36
}

fn github_fine(text: &[u8]) -> bool {
    let (first, rest) = run(text, |b| b.is_ascii_alphanumeric());
    let second = rest.strip_prefix(b"_").map(|rest| run(rest, |b| b.is_ascii_alphanumeric()).0);
    first.len() == 22 && second.is_some_and(|second| second.len() == 59)
}

fn vault(text: &[u8]) -> bool {
    let body = run(text, |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-').0;
    (24..=200).contains(&body.len()) && body.iter().any(u8::is_ascii_digit)
}

/// The digest of the cluster's CA, then who may join.
fn k3s(text: &[u8]) -> bool {
    let (digest, rest) = run(text, |b| b.is_ascii_hexdigit());
    digest.len() == 64 && rest.starts_with(b"::")
}

/// `token: abcdef.0123456789abcdef`, which is also the one in the manual.
fn kubeadm(text: &[u8]) -> bool {
    let small = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let value = value(text).unwrap_or_else(|| run(text, |b| b == b' ').1);
    let (id, rest) = run(value, small);
    let secret = rest.strip_prefix(b".").map(|rest| run(rest, small).0);
    id.len() == 6 && secret.is_some_and(|secret| secret.len() == 16 && secret != b"0123456789abcdef")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_texts_are_tokens() {
        let a = |n: usize| "a1B2".repeat(n).chars().take(n).collect::<String>();
        let low = |n: usize| "a1b2".repeat(n).chars().take(n).collect::<String>();
        let cases = [
            ("wg-quick", format!("[Interface]\nPrivateKey = {}=\n", a(43)), vec!["wireguard-private-key"]),
            (
                "NetworkManager",
                format!("[wireguard]\nprivate-key={}=\n", a(43)),
                vec!["wireguard-private-key"],
            ),
            ("too short", format!("PrivateKey = {}=\n", a(42)), vec![]),
            ("a path", "PrivateKeyFile=/etc/wireguard/key\n".into(), vec![]),
            ("age", format!("AGE-SECRET-KEY-1{}\n", a(58).to_uppercase()), vec!["age-secret-key"]),
            ("aws", format!("aws_secret_access_key = {}\n", a(40)), vec!["aws-secret-key"]),
            ("aws in JSON", format!("\"aws_secret_access_key\": \"{}\"", a(40)), vec!["aws-secret-key"]),
            ("aws in a manual", format!("aws_secret_access_key = {}EXAMPLEKEY\n", a(30)), vec![]),
            ("aws, a variable", "AWS_SECRET_ACCESS_KEY=$SECRET\n".into(), vec![]),
            ("github", format!("token ghp_{}\n", a(36)), vec!["github-token"]),
            ("github, too long", format!("ghp_{}\n", a(40)), vec![]),
            ("github inside a word", format!("xghp_{}\n", a(36)), vec![]),
            ("github, fine-grained", format!("github_pat_{}_{}", a(22), a(59)), vec!["github-token"]),
            ("vault", format!("VAULT_TOKEN=hvs.{}\n", a(90)), vec!["vault-token"]),
            ("k3s", format!("K10{}::server:x\n", "ab".repeat(32)), vec!["k3s-token"]),
            ("kubeadm", format!("token: {}.{}\n", low(6), low(16)), vec!["kubeadm-token"]),
            ("kubeadm join", format!("--token {}.{} --x", low(6), low(16)), vec!["kubeadm-token"]),
            ("kubeadm's manual", "token: abcdef.0123456789abcdef\n".into(), vec![]),
            ("nothing", "hello\n".into(), vec![]),
        ];
        for (case, text, expected) in cases {
            assert_eq!(find(text.as_bytes()), expected, "{case}");
        }
    }
}
