//! What a file's content gives away: private keys in every usual wrapping, and tokens. The content
//! decides, not the name; nothing of it is kept but kind and fingerprint.

use memchr::memmem;

use super::token;
use crate::sealed::key::{self, Fingerprint};

/// One kind of secret, as it is explained to people and in SARIF.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, the same for ever.
    pub id: &'static str,
    /// What it is.
    pub title: &'static str,
}

const fn rule(id: &'static str, title: &'static str) -> Rule {
    Rule { id, title }
}

/// Every kind that is known by its content.
pub const RULES: &[Rule] = &[
    rule("pem-private-key", "private key in PEM"),
    rule("der-private-key", "private key in DER"),
    rule("openssh-private-key", "private key of OpenSSH"),
    rule("dropbear-private-key", "private key of Dropbear"),
    rule("putty-private-key", "private key of PuTTY"),
    rule("openpgp-secret-key", "OpenPGP secret key"),
    rule("gnupg-private-key", "private key of GnuPG"),
    rule("java-keystore", "Java keystore with a private key"),
    rule("pkcs12", "PKCS#12 file with a private key"),
    rule("jwk-private-key", "private key as JSON Web Key"),
    rule("dnssec-private-key", "private key of a DNS zone"),
    rule("tsig-key", "shared key of a name server"),
    rule("kerberos-keytab", "Kerberos keytab"),
    rule("wireguard-private-key", "WireGuard private key"),
    rule("age-secret-key", "age secret key"),
    rule("aws-secret-key", "AWS secret access key"),
    rule("github-token", "GitHub token"),
    rule("vault-token", "Vault token"),
    rule("k3s-token", "k3s node or server token"),
    rule("kubeadm-token", "Kubernetes bootstrap token"),
];

/// Something that was found in a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The kind: an id of [`RULES`].
    pub rule: &'static str,
    /// What more can be said without giving anything away.
    pub detail: Option<String>,
    /// Of the public half.
    pub fingerprints: Vec<Fingerprint>,
}

impl Found {
    fn new(rule: &'static str) -> Self {
        Self { rule, detail: None, fingerprints: Vec::new() }
    }
}

/// No key or token is longer; parts of a large file overlap by this much. In octets.
pub const OVERLAP: usize = 64 * 1024;

/// Looks into a file of which this is the beginning, or all of it when `whole`.
pub fn inspect(head: &[u8], whole: bool) -> Vec<Found> {
    if is_program(head) {
        return Vec::new();
    }
    let mut found = blocks(head);
    let begins = |marks: &[&[u8]]| marks.iter().any(|mark| head.starts_with(mark));
    if whole && head.len() <= OVERLAP {
        found.extend(der(head));
    }
    if is_key_bag(head) {
        found.push(Found::new("pkcs12"));
    }
    if is_keystore(head) {
        found.push(Found::new("java-keystore"));
    }
    if is_keytab(head) {
        found.push(Found::new("kerberos-keytab"));
    }
    if is_dropbear(head) {
        found.push(Found::new("dropbear-private-key"));
    }
    if is_openpgp(head) {
        found.push(Found::new("openpgp-secret-key"));
    }
    if begins(&[
        b"(11:private-key",
        b"(21:protected-private-key",
        b"Key: (private-key",
        b"Key: (protected-private-key",
    ]) || (begins(&[b"Created: ", b"Description: "]) && memmem::find(head, b"\nKey: (p").is_some())
    {
        found.push(Found::new("gnupg-private-key"));
    }
    if is_text(head) {
        found.extend(text(head));
    }
    found
}

/// Says whether a file is a program or library. A key that is compiled into one, such as those with which
/// GnuTLS tests itself, is everybody's who has the package, and no machine's.
pub fn is_program(head: &[u8]) -> bool {
    head.starts_with(b"\x7fELF")
}

/// Says whether a file is the public half of something: a certificate, or a public key of SSH.
pub fn is_public(head: &[u8]) -> bool {
    const BEGINS: [&[u8]; 4] = [b"-----BEGIN CERTIFICATE", b"-----BEGIN PUBLIC", b"ssh-", b"ecdsa-sha2-"];
    BEGINS.iter().any(|begin| head.starts_with(begin))
}

/// Looks into a later part of a large file, where only marks tell anything.
pub fn inspect_part(part: &[u8]) -> Vec<Found> {
    blocks(part)
}

fn text(head: &[u8]) -> Vec<Found> {
    let mut found: Vec<Found> = token::find(head).into_iter().map(Found::new).collect();
    if head.starts_with(b"PuTTY-User-Key-File-") && memmem::find(head, b"\nPrivate-Lines: ").is_some() {
        found.push(Found::new("putty-private-key"));
    }
    if head.starts_with(b"Private-key-format: v1.") {
        found.push(Found::new("dnssec-private-key"));
    }
    if is_tsig(head) {
        found.push(Found::new("tsig-key"));
    }
    if is_jwk(head) {
        found.push(Found::new("jwk-private-key"));
    }
    // One finding a kind: `PrivateKey` and `private-key` are both WireGuard's.
    found.dedup_by_key(|one| one.rule);
    found
}

/// No NUL where programs look for one to tell text from everything else.
fn is_text(head: &[u8]) -> bool {
    !head.is_empty() && !head.iter().take(8000).any(|b| *b == 0)
}

// ---- PEM (RFC 7468) and what looks like it -------------------------------------------------------

fn blocks(content: &[u8]) -> Vec<Found> {
    let mut found = Vec::new();
    for at in memmem::find_iter(content, b"-----BEGIN ") {
        let Some(rest) = content.get(at..) else { continue };
        let rest = rest.get(..OVERLAP).unwrap_or(rest);
        if let Some(one) = block(rest) {
            found.push(one);
        }
    }
    found
}

/// One block that begins here and is whole; a program that only knows the mark has no block.
fn block(rest: &[u8]) -> Option<Found> {
    let label = rest.strip_prefix(b"-----BEGIN ")?;
    let label = label.get(..memmem::find(label.get(..64).unwrap_or(label), b"-----")?)?;
    let label = std::str::from_utf8(label).ok()?;
    if !label.ends_with("PRIVATE KEY") && label != "PGP PRIVATE KEY BLOCK" {
        return None;
    }
    let end = format!("-----END {label}-----");
    let end = memmem::find(rest, end.as_bytes())? + end.len();
    let text = flush_left(std::str::from_utf8(rest.get(..end)?).ok()?);
    if label == "PGP PRIVATE KEY BLOCK" {
        let base64 = |line: &&str| {
            line.len() >= 32 && line.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
        };
        return (text.lines().filter(base64).count() >= 2).then(|| Found::new("openpgp-secret-key"));
    }
    let block = pem::parse(&text).ok()?;
    if label == "OPENSSH PRIVATE KEY" {
        block.contents().starts_with(b"openssh-key-v1\0").then_some(())?;
        let (detail, fingerprints) = match key::of_openssh(&text) {
            Some((algorithm, fingerprint)) => (Some(algorithm), vec![fingerprint]),
            None => (None, Vec::new()),
        };
        return Some(Found { rule: "openssh-private-key", detail, fingerprints });
    }
    let encrypted = label.starts_with("ENCRYPTED") || block.headers().get("Proc-Type").is_some();
    // DER of a key is a sequence; what else stands between the lines is an example.
    if block.contents().len() < 32 || (!encrypted && block.contents().first() != Some(&0x30)) {
        return None;
    }
    Some(Found {
        rule: "pem-private-key",
        detail: encrypted.then(|| "under a password".to_owned()),
        fingerprints: key::of_der(label, block.contents()),
    })
}

/// Keys are indented in YAML, and JSON writes line ends as `\n`.
fn flush_left(text: &str) -> String {
    let text = text.replace("\\r", "").replace("\\n", "\n");
    text.lines().map(str::trim).flat_map(|line| [line, "\n"]).collect()
}

// ---- known by their first octets -----------------------------------------------------------------

/// A sequence that is the whole content: its body. Lengths as in X.690 section 8.1.3.
fn sequence(content: &[u8]) -> Option<&[u8]> {
    let (first, rest) = content.strip_prefix(&[0x30])?.split_first()?;
    if *first < 0x80 {
        return (rest.len() == usize::from(*first)).then_some(rest);
    }
    let (length, body) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|(l, _)| l.len() <= 3)?;
    let length = length.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet));
    (length > 0 && body.len() == length).then_some(body)
}

/// PBES2, PBES1 with their first octets: what a PKCS#8 file under a password begins with.
const PASSWORD_BASED: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5];

fn der(content: &[u8]) -> Option<Found> {
    let body = sequence(content)?;
    let known = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"]
        .map(|label| key::of_der(label, content))
        .into_iter()
        .find(|fingerprints| !fingerprints.is_empty());
    let near = body.get(..24.min(body.len()))?;
    let encrypted = near.first() == Some(&0x30) && memmem::find(near, &PASSWORD_BASED).is_some();
    // PKCS#8 of another algorithm: version, then a sequence that begins with an identifier, then octets.
    let pkcs8 = [[2, 1, 0, 0x30], [2, 1, 1, 0x30]].iter().any(|begin| body.starts_with(begin))
        && near.get(5) == Some(&6)
        && near.get(4).and_then(|length| body.get(5 + usize::from(*length))) == Some(&4);
    let detail = encrypted.then(|| "under a password".to_owned());
    let is_one = known.is_some() || encrypted || pkcs8;
    is_one.then(|| Found { rule: "der-private-key", detail, fingerprints: known.unwrap_or_default() })
}

/// `pkcs8ShroudedKeyBag` and `keyBag` (RFC 7292 appendix D): without one there are only certificates.
fn is_key_bag(content: &[u8]) -> bool {
    const DATA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    const BAG: [u8; 10] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 0x0c, 0x0a, 1];
    let near = content.get(..40.min(content.len())).unwrap_or_default();
    content.first() == Some(&0x30)
        && memmem::find(near, &[2, 1, 3, 0x30]).is_some()
        && memmem::find(near, &DATA).is_some()
        && memmem::find_iter(content, &BAG).any(|at| matches!(content.get(at + BAG.len()), Some(1 | 2)))
}

/// Walks the entries of a JKS or JCEKS file until one is a key; a trust store has only certificates.
fn is_keystore(content: &[u8]) -> bool {
    let Some(rest) =
        content.strip_prefix(b"\xfe\xed\xfe\xed").or_else(|| content.strip_prefix(b"\xce\xce\xce\xce"))
    else {
        return false;
    };
    let mut rest = rest.get(8..).unwrap_or_default();
    while let Some((tag, after)) = number(rest) {
        if tag != 2 {
            return tag == 1 || tag == 3;
        }
        // Alias, time, type of certificate, certificate.
        let next = short_text(after)
            .and_then(|rest| short_text(rest.get(8..)?))
            .and_then(number)
            .and_then(|(length, rest)| rest.get(usize::try_from(length).ok()?..));
        let Some(next) = next else { return false };
        rest = next;
    }
    false
}

fn number(content: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = content.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*number), rest))
}

fn short_text(content: &[u8]) -> Option<&[u8]> {
    let (length, rest) = content.split_first_chunk::<2>()?;
    rest.get(usize::from(u16::from_be_bytes(*length))..)
}

/// Version 2, then an entry with a sane number of components and a printable realm.
fn is_keytab(content: &[u8]) -> bool {
    let entry = content.strip_prefix(&[5, 2]).and_then(number);
    let Some((length, rest)) = entry else { return false };
    let components = rest.split_first_chunk::<4>();
    let Some(([a, b, c, d], rest)) = components else { return false };
    let (count, realm) = (u16::from_be_bytes([*a, *b]), usize::from(u16::from_be_bytes([*c, *d])));
    (8..0x10000).contains(&length)
        && (1..=8).contains(&count)
        && (1..=255).contains(&realm)
        && rest.get(..realm).is_some_and(|realm| realm.iter().all(u8::is_ascii_graphic))
}

/// A length and the name of an algorithm, as SSH writes public keys: Dropbear writes private ones so.
fn is_dropbear(content: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] = [b"ssh-rsa", b"ssh-ed25519", b"ecdsa-sha2-nistp256", b"ecdsa-sha2-nistp521"];
    content.len() < 8192
        && number(content).is_some_and(|(length, rest)| {
            NAMES.iter().any(|name| rest.starts_with(name) && length as usize == name.len())
        })
}

/// A secret-key packet (RFC 9580 sections 4.2 and 5.5.3), with another packet right behind it.
fn is_openpgp(content: &[u8]) -> bool {
    let Some((tag, rest)) = content.split_first() else { return false };
    let body = match tag {
        0x94 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest)),
        0x95 => rest.split_first_chunk::<2>().map(|(l, rest)| (usize::from(u16::from_be_bytes(*l)), rest)),
        0xc5 => new_length(rest),
        _ => None,
    };
    let Some((length, body)) = body else { return false };
    let algorithm = body.get(5);
    matches!(body.first(), Some(3..=6))
        && matches!(algorithm, Some(1..=3 | 16..=19 | 22 | 25..=28))
        && length >= 32
        && body.get(length).is_none_or(|next| next & 0x80 != 0)
        && body.len() >= length
}

fn new_length(content: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = content.split_first()?;
    match first {
        0..=191 => Some((usize::from(*first), rest)),
        192..=223 => {
            let (second, rest) = rest.split_first()?;
            Some(((usize::from(*first) - 192) * 256 + usize::from(*second) + 192, rest))
        }
        255 => number(rest).map(|(length, rest)| (length as usize, rest)),
        _ => None,
    }
}

// ---- texts ---------------------------------------------------------------------------------------

/// `key … { algorithm hmac-…; secret "…"; }` as in rndc.key(5), outside comments.
fn is_tsig(head: &[u8]) -> bool {
    if memmem::find(head, b"hmac-").is_none() {
        return false;
    }
    memmem::find_iter(head, b"secret").any(|at| {
        let line = head.get(..at).unwrap_or_default().rsplit(|b| *b == b'\n').next().unwrap_or_default();
        let comment = line.contains(&b'#') || line.contains(&b'*') || memmem::find(line, b"//").is_some();
        let value = head.get(at + 6..).unwrap_or_default().trim_ascii_start();
        let value = value.strip_prefix(b"\"").unwrap_or(value);
        let length = value
            .iter()
            .position(|b| !(b.is_ascii_alphanumeric() || b"+/=".contains(b)))
            .unwrap_or(value.len());
        let closed = matches!(value.get(length), Some(b'"' | b';'));
        !comment && closed && length >= 20 && length % 4 == 0
    })
}

/// A key or a set of keys (RFC 7517) with a private member (RFC 7518 section 6).
fn is_jwk(head: &[u8]) -> bool {
    if head.len() > OVERLAP || memmem::find(head, b"\"kty\"").is_none() {
        return false;
    }
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(head) else { return false };
    let is_one = |key: &serde_json::Value| {
        key.get("kty").is_some() && (key.get("d").is_some() || key.get("k").is_some())
    };
    is_one(&value)
        || value.get("keys").and_then(|keys| keys.as_array()).is_some_and(|keys| keys.iter().any(is_one))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beginnings that lead into each reader of octets.
    const BEGINNINGS: [&[u8]; 12] = [
        b"-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----",
        b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n",
        b"\x30\x82\x01\x00\x02\x01\x00\x30\x0d\x06\x09",
        b"\x30\x84\xff\xff\xff\xff",
        b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01\0\0\0\x02\xff\xff",
        b"\x05\x02\x00\x00\x00\x40\x00\x01\xff\xff",
        b"\x95\xff\xff\x04\0\0\0\0\x16",
        b"\xc5\xff\xff\xff\xff\xff\x04\0\0\0\0\x16",
        b"\0\0\0\x07ssh-rsa",
        b"key { algorithm hmac-md5; secret \"",
        b"{\"kty\":\"EC\",\"d\":\"",
    ];

    #[test]
    fn no_content_can_hurt() {
        let mut state = 1_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for beginning in BEGINNINGS {
            for length in 0..beginning.len() {
                let _ = inspect(&beginning[..length], true);
            }
            for _ in 0..2000 {
                let mut content = [beginning, &[0; 200]].concat();
                let place = usize::from(random()) % content.len();
                content[place] = random();
                content.truncate(usize::from(random()).max(beginning.len()));
                let _ = inspect(&content, true);
                let _ = inspect_part(&content);
            }
        }
    }

    #[test]
    fn kinds_that_the_sample_image_has_not() {
        let text = |text: &str| text.as_bytes().to_vec();
        let cases = [
            ("GnuPG's agent", text("(21:protected-private-key(3:rsa"), vec!["gnupg-private-key"]),
            (
                "GnuPG's agent, newer",
                text("Created: 2026\nKey: (private-key (ecc"),
                vec!["gnupg-private-key"],
            ),
            ("a smart card's stub", text("(20:shadowed-private-key(3:rsa"), vec![]),
            ("Dropbear", b"\0\0\0\x0bssh-ed25519\0\0\0\x40".to_vec(), vec!["dropbear-private-key"]),
            ("a JSON key", text("{\"kty\":\"EC\",\"crv\":\"P-521\",\"d\":\"AA\"}"), vec!["jwk-private-key"]),
            ("a JSON set", text("{\"keys\":[{\"kty\":\"EC\",\"d\":\"AA\"}]}"), vec!["jwk-private-key"]),
            ("a public JSON key", text("{\"kty\":\"EC\",\"x\":\"AA\"}"), vec![]),
            ("an OpenPGP public key", b"\x99\0\x40\x04\0\0\0\0\x16".to_vec(), vec![]),
        ];
        for (case, content, expected) in cases {
            let found: Vec<_> = inspect(&content, true).into_iter().map(|found| found.rule).collect();
            assert_eq!(found, expected, "{case}");
        }
    }
}
