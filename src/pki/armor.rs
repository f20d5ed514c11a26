//! PEM text as people keep and mail it (RFC 7468): text around the blocks, CRLF, damage in one of them.

use zeroize::Zeroizing;

/// One block of a PEM text.
#[derive(Debug)]
pub struct Block {
    /// What stands in its first line after `BEGIN`.
    pub label: String,
    /// The line of its `BEGIN`, counted from 1.
    pub line: usize,
    /// Its content is under a password: by its label (RFC 5958), or by OpenSSL's own header lines.
    pub encrypted: bool,
    /// OpenSSL's own header `DEK-Info`: the cipher, and after a comma its first block in hexadecimal digits.
    pub dek_info: Option<String>,
    /// What it holds; in words what is wrong with it.
    pub body: Result<Zeroizing<Vec<u8>>, String>,
}

/// Finds every block. A damaged one does not hide those after it.
pub fn blocks(text: &[u8]) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Open> = None;
    for (number, line) in text.split(|octet| *octet == b'\n').enumerate() {
        let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii();
        if let Some(label) = boundary(line, b"-----BEGIN ") {
            found.extend(open.take().map(|block| block.broken("has no END line")));
            open = Some(Open { label, line: number + 1, body: Zeroizing::default() });
        } else if let Some(label) = boundary(line, b"-----END ") {
            found.extend(open.take().map(|block| match block.label == label {
                true => block.closed(),
                false => block.broken(&format!("ends as \"{}\"", label.escape_debug())),
            }));
        } else if let Some(open) = &mut open {
            open.body.extend_from_slice(line);
            open.body.push(b'\n');
        }
    }
    found.extend(open.map(|block| block.broken("has no END line")));
    found
}

/// A block whose end has not been seen yet.
struct Open {
    label: String,
    line: usize,
    body: Zeroizing<Vec<u8>>,
}

impl Open {
    fn closed(self) -> Block {
        let header = |name: &[u8]| {
            let mut lines = self.body.split(|octet| *octet == b'\n');
            lines.find_map(|line| Some(line.strip_prefix(name)?.trim_ascii().to_vec()))
        };
        let legacy = header(b"Proc-Type:").is_some_and(|value| value == b"4,ENCRYPTED");
        let encrypted = legacy || self.label.starts_with("ENCRYPTED ");
        let dek_info = header(b"DEK-Info:").map(|value| String::from_utf8_lossy(&value).into_owned());
        let whole = [b"-----BEGIN X-----\n", self.body.as_slice(), b"-----END X-----\n"].concat();
        let body = pem::parse(Zeroizing::new(whole).as_slice())
            .map(|block| Zeroizing::new(block.into_contents()))
            .map_err(|error| format!("is damaged: {error}"))
            .and_then(|body| if body.is_empty() { Err("is empty".to_owned()) } else { Ok(body) });
        Block { label: self.label, line: self.line, encrypted, dek_info, body }
    }

    fn broken(self, why: &str) -> Block {
        let encrypted = self.label.starts_with("ENCRYPTED ");
        let body = Err(why.to_owned());
        Block { label: self.label, line: self.line, encrypted, dek_info: None, body }
    }
}

fn boundary(line: &[u8], begin: &[u8]) -> Option<String> {
    let label = line.strip_prefix(begin)?.strip_suffix(b"-----")?;
    Some(String::from_utf8_lossy(label).into_owned())
}

/// What some editors put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_damaged_block_hides_no_other() {
        let good = "-----BEGIN A-----\nYWJj\n-----END A-----\n";
        type Expected<'a> = &'a [(&'a str, usize, Result<&'a [u8], &'a str>)];
        let cases: [(&str, String, Expected<'_>); 10] = [
            ("nothing", "hello\n".into(), &[]),
            ("alone", good.into(), &[("A", 1, Ok(b"abc"))]),
            ("text around", format!("subject=x\n{good}bye"), &[("A", 2, Ok(b"abc"))]),
            ("CRLF", good.replace('\n', "\r\n"), &[("A", 1, Ok(b"abc"))]),
            (
                "indented, byte order mark",
                format!("\u{feff}{}", good.replace("\nY", "\n  Y")),
                &[("A", 1, Ok(b"abc"))],
            ),
            (
                "no END",
                format!("-----BEGIN B-----\nYWJj\n{good}"),
                &[("B", 1, Err("no END")), ("A", 3, Ok(b"abc"))],
            ),
            ("cut off", "\n-----BEGIN B-----\nYWJj\n".into(), &[("B", 2, Err("no END"))]),
            ("another END", good.replace("END A", "END C"), &[("A", 1, Err("ends as \"C\""))]),
            (
                "damaged",
                format!("{}{good}", good.replace("YWJj", "YW*j")),
                &[("A", 1, Err("damaged")), ("A", 4, Ok(b"abc"))],
            ),
            ("empty", good.replace("YWJj\n", ""), &[("A", 1, Err("empty"))]),
        ];
        for (case, text, expected) in cases {
            let found = blocks(text.as_bytes());
            assert_eq!(found.len(), expected.len(), "{case}: {found:?}");
            for (block, (label, line, body)) in found.iter().zip(expected) {
                assert_eq!((block.label.as_str(), block.line), (*label, *line), "{case}");
                match (&block.body, body) {
                    (Ok(found), Ok(body)) => assert_eq!(found.as_slice(), *body, "{case}"),
                    (Err(found), Err(why)) => assert!(found.contains(why), "{case}: {found}"),
                    other => panic!("{case}: {other:?}"),
                }
            }
        }
    }
}
