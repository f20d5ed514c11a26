//! Keys for transactions with name servers (TSIG, RFC 8945), in the format of BIND:
//! `key "name" { algorithm hmac-sha256; secret "…"; };`.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::tsig::Algorithm;
use zeroize::Zeroizing;

use super::message::wire;
use crate::fault::Fault;
use crate::system::root::Root;

/// What everybody may read is no secret.
const WORLD: u32 = 0o007;
/// What the library can do, as BIND writes it.
const ALGORITHMS: &str = "hmac-sha256, hmac-sha384, hmac-sha512 or hmac-sha1";

/// A key that a server knows too.
#[derive(Clone)]
pub struct Key {
    name: String,
    algorithm: Algorithm,
    key: domain::tsig::Key,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &self.name).field("algorithm", &self.algorithm).finish()
    }
}

impl Key {
    /// Reads a key's file.
    ///
    /// # Errors
    /// [`Fault`] when it is not there, everybody may read it, or it holds anything but one key.
    pub fn read(root: &Root, path: &Path) -> Result<Self, Fault> {
        let fault = |error: &dyn fmt::Display| Fault::whole(path, error.to_string());
        let attributes = root.attributes(path).map_err(|error| fault(&error.source))?;
        if attributes.mode & WORLD != 0 {
            return Err(fault(
                &"everybody may read this secret; take it from others: chmod o= FILE, and a new key",
            ));
        }
        let octets = Zeroizing::new(root.read(path).map_err(|error| fault(&error.source))?);
        let text = std::str::from_utf8(&octets).map_err(|_| fault(&"is no text"))?;
        Self::parse(path, text)
    }

    /// Reads the text of a key.
    ///
    /// # Errors
    /// [`Fault`] with the position; the secret is in none.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Fault> {
        let mut words = Words { path, text, rest: 0 };
        words.keyword("key")?;
        let (name, at) = words.value()?;
        let wire_name = wire(name).map_err(|why| Fault::at(path, text, at.clone(), why))?;
        words.symbol('{')?;
        let (mut algorithm, mut secret) = (None, None);
        loop {
            let (word, at) = words.next()?;
            match word {
                "}" => break,
                "algorithm" => algorithm = Some(words.algorithm()?),
                "secret" => secret = Some(words.secret()?),
                _ => {
                    return Err(Fault::at(
                        path,
                        text,
                        at,
                        "a key has an algorithm and a secret, nothing else",
                    ));
                }
            }
            words.symbol(';')?;
        }
        words.symbol(';')?;
        if let Ok((_, at)) = words.next() {
            return Err(Fault::at(path, text, at, "there is something behind the key; a file holds one"));
        }
        let missing = |what| Fault::at(path, text, at.clone(), format!("the key has no {what}"));
        let algorithm = algorithm.ok_or_else(|| missing("algorithm"))?;
        let secret = secret.ok_or_else(|| missing("secret"))?;
        let whole = |error: &dyn fmt::Display| Fault::whole(path, format!("the key cannot be used: {error}"));
        let key_name = domain::base::Name::from_octets(wire_name.as_slice())
            .ok()
            .and_then(|name| domain::base::name::FlattenInto::try_flatten_into(name).ok())
            .ok_or_else(|| whole(&"its name is too long"))?;
        let key = domain::tsig::Key::new(algorithm, &secret, key_name, None, None)
            .map_err(|error| whole(&error))?;
        Ok(Self { name: name.to_ascii_lowercase(), algorithm, key })
    }

    /// Its name, as the server knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The algorithm, as BIND writes it.
    pub fn algorithm(&self) -> String {
        self.algorithm.to_string()
    }

    pub(super) fn inner(&self) -> &domain::tsig::Key {
        &self.key
    }
}

/// The words of a text in BIND's syntax, one after the other.
struct Words<'a> {
    path: &'a Path,
    text: &'a str,
    rest: usize,
}

impl<'a> Words<'a> {
    fn fault(&self, at: Range<usize>, message: impl Into<String>) -> Fault {
        Fault::at(self.path, self.text, at, message)
    }

    /// A word, a text in quotes (without them), or one of `{ } ;`.
    fn next(&mut self) -> Result<(&'a str, Range<usize>), Fault> {
        self.skip()?;
        let start = self.rest;
        let rest = self.text.get(start..).unwrap_or_default();
        let (word, length) = match rest.chars().next() {
            None => return Err(self.fault(start..start, "the text ends in the middle of a key")),
            Some('{' | '}' | ';') => (rest.get(..1), 1),
            Some('"') => {
                let inner = rest.get(1..).unwrap_or_default();
                let end = inner
                    .find(['"', '\n'])
                    .filter(|end| inner.get(*end..).is_some_and(|c| c.starts_with('"')));
                let end = end.ok_or_else(|| self.fault(start..start, "a quote is not closed"))?;
                (inner.get(..end), end + 2)
            }
            Some(_) => {
                let is_end = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | ';' | '"');
                let end = rest.find(is_end).unwrap_or(rest.len());
                (rest.get(..end), end)
            }
        };
        self.rest = start + length;
        Ok((word.unwrap_or_default(), start..self.rest))
    }

    /// Blanks, and comments of all three kinds.
    fn skip(&mut self) -> Result<(), Fault> {
        loop {
            let rest = self.text.get(self.rest..).unwrap_or_default();
            let blanks = rest.len() - rest.trim_start().len();
            let rest = rest.trim_start();
            self.rest += blanks;
            if rest.starts_with('#') || rest.starts_with("//") {
                self.rest += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                let end = rest.find("*/");
                self.rest +=
                    end.ok_or_else(|| self.fault(self.rest..self.rest, "a comment is not closed"))? + 2;
            } else {
                return Ok(());
            }
        }
    }

    fn keyword(&mut self, expected: &str) -> Result<(), Fault> {
        match self.next()? {
            (word, _) if word == expected => Ok(()),
            (_, at) => Err(self.fault(at, "is no key; write key \"NAME\" { algorithm …; secret \"…\"; };")),
        }
    }

    fn symbol(&mut self, expected: char) -> Result<(), Fault> {
        match self.next()? {
            (word, _) if word.len() == 1 && word.starts_with(expected) => Ok(()),
            (_, at) => Err(self.fault(at, format!("here should be a {expected}"))),
        }
    }

    fn value(&mut self) -> Result<(&'a str, Range<usize>), Fault> {
        match self.next()? {
            ("{" | "}" | ";" | "", at) => Err(self.fault(at, "here should be a name or a text")),
            found => Ok(found),
        }
    }

    fn algorithm(&mut self) -> Result<Algorithm, Fault> {
        let (word, at) = self.value()?;
        let bare = word.to_ascii_lowercase();
        let bare = bare.strip_suffix('.').unwrap_or(&bare).to_owned();
        bare.parse().map_err(|_| {
            let word = word.escape_debug();
            self.fault(at, format!("the algorithm \"{word}\" is not known; write {ALGORITHMS}"))
        })
    }

    fn secret(&mut self) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let (word, at) = self.value()?;
        let bare = Zeroizing::new(word.chars().filter(|c| !c.is_whitespace()).collect::<String>());
        match STANDARD.decode(bare.as_bytes()) {
            Ok(secret) if !secret.is_empty() => Ok(Zeroizing::new(secret)),
            _ => Err(self.fault(at, "the secret is not in Base64")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQ=";

    #[test]
    fn keys() {
        // name, text, algorithm or words and position
        type Expected = Result<&'static str, (&'static str, usize, usize)>;
        let cases: Vec<(&str, String, Expected)> = vec![
            (
                "as tsig-keygen writes it",
                format!("key \"acme\" {{\n\talgorithm hmac-sha256;\n\tsecret \"{SECRET}\";\n}};\n"),
                Ok("hmac-sha256"),
            ),
            (
                "without quotes, in one line",
                format!("key acme {{ secret {SECRET}; algorithm HMAC-SHA512; }};"),
                Ok("hmac-sha512"),
            ),
            (
                "with comments",
                format!(
                    "# one\n// two }}\n/* three\n */ key /* x */ acme {{ algorithm hmac-sha1; secret \"{SECRET}\"; }};"
                ),
                Ok("hmac-sha1"),
            ),
            ("nothing", String::new(), Err(("ends in the middle", 1, 1))),
            ("something else", "zone x {};\n".into(), Err(("is no key", 1, 1))),
            ("no name", "key { algorithm hmac-sha256; };".into(), Err(("should be a name", 1, 5))),
            (
                "a name that is none",
                format!("key \"a b\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};"),
                Err(("is no name in DNS", 1, 5)),
            ),
            (
                "an old algorithm",
                format!("key acme {{\n  algorithm hmac-md5;\n secret \"{SECRET}\"; }};"),
                Err(("hmac-sha256", 2, 13)),
            ),
            (
                "no Base64",
                "key acme { algorithm hmac-sha256;\nsecret \"a-b\"; };".into(),
                Err(("not in Base64", 2, 8)),
            ),
            (
                "a quote too few",
                format!("key acme {{ secret \"{SECRET}; }};\n\"x"),
                Err(("quote is not closed", 1, 19)),
            ),
            ("no secret", "key acme { algorithm hmac-sha256; };".into(), Err(("no secret", 1, 5))),
            ("a comment too long", "/* key".into(), Err(("comment is not closed", 1, 1))),
            (
                "two keys",
                format!("key a {{ algorithm hmac-sha1; secret \"{SECRET}\"; }};\nkey b {{}};"),
                Err(("behind the key", 2, 1)),
            ),
            ("something else in it", "key a { secrets x; };".into(), Err(("nothing else", 1, 9))),
        ];
        for (case, text, expected) in cases {
            match (Key::parse(Path::new("k"), &text), expected) {
                (Ok(key), Ok(algorithm)) => {
                    assert_eq!((key.name(), key.algorithm().as_str()), ("acme", algorithm), "{case}");
                }
                (Err(fault), Err((words, line, column))) => {
                    assert!(fault.message.contains(words), "{case}: {fault}");
                    assert_eq!((fault.line, fault.column), (line, column), "{case}: {fault}");
                }
                (found, _) => panic!("{case}: {found:?}"),
            }
        }
    }

    #[test]
    fn nothing_shows_the_secret() {
        let text = format!("key acme {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};");
        let key = Key::parse(Path::new("k"), &text).unwrap();
        assert!(!format!("{key:?}").contains("secret"), "{key:?}");
        let text = format!("key acme {{ algorithm hmac-sha256; secret \"{SECRET}!\"; }};");
        let fault = Key::parse(Path::new("k"), &text).unwrap_err();
        assert!(!fault.to_string().contains("c2Vj"), "{fault}");
    }
}
