//! A PEM text with its private keys written anew, and everything else in it as it was.

use crate::pki::armor::{self, Block};
use crate::pki::key::Secret;

/// Writes a text anew. `anew` is given each private key's block, as text and as it was read, and returns its new
/// text, or nothing where it shall stay. Nothing is returned when all stay.
///
/// # Errors
/// The first that `anew` returns.
pub(super) fn rewritten<E>(
    text: &[u8],
    mut anew: impl FnMut(&[u8], &Block) -> Result<Option<Secret>, E>,
) -> Result<Option<Secret>, E> {
    let lines: Vec<&[u8]> = text.split_inclusive(|octet| *octet == b'\n').collect();
    // Room for all of it at once: what grows leaves copies of secrets behind.
    let mut written = Vec::with_capacity(2 * text.len() + (1 << 14));
    let (mut next, mut is_changed) = (0, false);
    for block in armor::blocks(text).iter().filter(|block| block.label.ends_with(super::LABEL)) {
        let begin = block.line.saturating_sub(1);
        let rest = lines.get(begin..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|line| line.trim_ascii().starts_with(b"-----END "))
            .map_or(rest.len(), |at| at + 1);
        let own = Secret::new(rest.get(..length).unwrap_or_default().concat());
        if let Some(new) = anew(own.reveal(), block)? {
            lines
                .get(next..begin)
                .unwrap_or_default()
                .iter()
                .for_each(|line| written.extend_from_slice(line));
            written.extend_from_slice(new.reveal());
            next = begin + length;
            is_changed = true;
        }
    }
    lines.get(next..).unwrap_or_default().iter().for_each(|line| written.extend_from_slice(line));
    Ok(is_changed.then(|| Secret::new(written)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_else_stays() {
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let certificate = "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n";
        let cases = [
            ("alone", key.to_owned(), Some("NEW\n".to_owned())),
            ("a bundle", format!("{key}{certificate}"), Some(format!("NEW\n{certificate}"))),
            ("last", format!("text\n{certificate}{key}"), Some(format!("text\n{certificate}NEW\n"))),
            ("two", format!("{key}-\n{key}end"), Some("NEW\n-\nNEW\nend".to_owned())),
            ("without its last line feed", key.trim_end().to_owned(), Some("NEW\n".to_owned())),
            ("CRLF", format!("a\r\n{}b", key.replace('\n', "\r\n")), Some("a\r\nNEW\nb".to_owned())),
            ("cut off", "a\n-----BEGIN PRIVATE KEY-----\nAA".to_owned(), Some("a\nNEW\n".to_owned())),
            ("none", certificate.to_owned(), None),
            ("nothing", String::new(), None),
        ];
        for (case, text, expected) in cases {
            let mut seen = Vec::new();
            let written = rewritten::<()>(text.as_bytes(), |text, block| {
                seen.push((text.to_vec(), block.label.clone()));
                Ok(Some(Secret::new("NEW\n")))
            });
            let written = written.unwrap().map(|text| String::from_utf8(text.reveal().to_vec()).unwrap());
            assert_eq!(written, expected, "{case}");
            assert!(seen.iter().all(|(text, _)| text.starts_with(b"-----BEGIN PRIVATE KEY")), "{case}");
            let left = rewritten::<()>(text.as_bytes(), |_, _| Ok(None)).unwrap();
            assert_eq!(left, None, "{case}");
            let refused = rewritten(text.as_bytes(), |_, _| Err("no"));
            assert_eq!(refused.is_err(), expected.is_some(), "{case}");
        }
    }
}
