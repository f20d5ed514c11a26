//! The text of a secret, with places for random octets: `{hex:16}`, `{base64:32}`, `{uuid}`,
//! `{bytes:32}`. Braces that stand for themselves are doubled: `{{` and `}}`.
//!
//! Pure: whoever fills a template hands in the random octets.

use std::fmt;

use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

/// Most octets that one place may ask for.
const MAX_OCTETS: usize = 4096;
/// Fewest random octets in a whole secret: what `iscsi-iname` takes to tell machines apart.
const MIN_OCTETS: usize = 6;

/// A text with places for random octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Random(Form, usize),
}

/// How random octets are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Hex,
    Base64,
    Uuid,
    Bytes,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// In words, for a place that is not known, a brace alone, or too little that is random.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            rest = if let Some(after) = from.strip_prefix("{{") {
                literal.push('{');
                after
            } else if let Some(after) = from.strip_prefix("}}") {
                literal.push('}');
                after
            } else if let Some((place, after)) = from.strip_prefix('{').and_then(|from| from.split_once('}'))
            {
                let Some((form, count)) = place_of(place) else {
                    return Err(format!(
                        "{{{place}}} is not {{hex:N}}, {{base64:N}}, {{bytes:N}} or {{uuid}}, with N from 1 to \
                         {MAX_OCTETS} random octets; a brace itself is written twice"
                    ));
                };
                parts.push(Part::Text(std::mem::take(&mut literal)));
                parts.push(Part::Random(form, count));
                after
            } else {
                return Err("a brace that stands for itself is written twice".into());
            };
        }
        literal.push_str(rest);
        parts.push(Part::Text(literal));
        let template = Self { text: text.to_owned(), parts };
        if template.octets() < MIN_OCTETS {
            return Err(format!("a secret holds at least {MIN_OCTETS} random octets, such as {{hex:16}}"));
        }
        Ok(template)
    }

    /// How many random octets it takes.
    pub fn octets(&self) -> usize {
        self.parts.iter().map(|part| if let Part::Random(_, count) = part { *count } else { 0 }).sum()
    }

    /// Fills it with random octets, as many as [`Template::octets`] says.
    pub fn fill(&self, random: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut rest = random;
        // Longer than whatever is written: memory that grows leaves copies of a secret behind.
        let mut content = Zeroizing::new(Vec::with_capacity(self.text.len() + 4 * random.len() + 4));
        for part in &self.parts {
            match part {
                Part::Text(text) => content.extend_from_slice(text.as_bytes()),
                Part::Random(form, count) => {
                    let (octets, after) = rest.split_at_checked(*count).unwrap_or((rest, &[]));
                    rest = after;
                    form.write(octets, &mut content);
                }
            }
        }
        content
    }
}

fn place_of(place: &str) -> Option<(Form, usize)> {
    let (name, count) = place.split_once(':').unwrap_or((place, ""));
    let form = match name {
        "hex" => Form::Hex,
        "base64" => Form::Base64,
        "bytes" => Form::Bytes,
        "uuid" if place == "uuid" => return Some((Form::Uuid, 16)),
        _ => return None,
    };
    let digits = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
    let count = count.parse().ok().filter(|count| digits && (1..=MAX_OCTETS).contains(count))?;
    Some((form, count))
}

impl Form {
    fn write(self, octets: &[u8], content: &mut Vec<u8>) {
        match self {
            Self::Bytes => content.extend_from_slice(octets),
            Self::Hex => octets.iter().for_each(|octet| hex(*octet, content)),
            Self::Base64 => base64(octets, content),
            Self::Uuid => {
                for (at, octet) in octets.iter().enumerate() {
                    if [4, 6, 8, 10].contains(&at) {
                        content.push(b'-');
                    }
                    // Version 4, and the variant of RFC 9562 section 4.
                    hex(
                        match at {
                            6 => octet & 0x0f | 0x40,
                            8 => octet & 0x3f | 0x80,
                            _ => *octet,
                        },
                        content,
                    );
                }
            }
        }
    }
}

fn hex(octet: u8, content: &mut Vec<u8>) {
    for half in [octet >> 4, octet & 15] {
        content.push(if half < 10 { b'0' + half } else { b'a' + half - 10 });
    }
}

/// RFC 4648 section 4, with padding.
fn base64(octets: &[u8], content: &mut Vec<u8>) {
    for group in octets.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let sextet = (bits >> (18 - 6 * at) & 63) as u8;
            content.push(if at > group.len() { b'=' } else { letter(sextet) });
        }
    }
}

fn letter(sextet: u8) -> u8 {
    match sextet {
        0..=25 => b'A' + sextet,
        26..=51 => b'a' + sextet - 26,
        52..=61 => b'0' + sextet - 52,
        62 => b'+',
        _ => b'/',
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let random: Vec<u8> = (0xf0..=0xff).chain(0..=0xef).collect();
        let cases = [
            ("hex", "x={hex:6}\n", "x=f0f1f2f3f4f5\n"),
            ("base64", "\"{base64:7}\"", "\"8PHy8/T19g==\""),
            ("base64 of whole groups", "{base64:6}", "8PHy8/T1"),
            ("base64 with one sign of padding", "{base64:8}", "8PHy8/T19vc="),
            ("uuid", "{uuid}", "f0f1f2f3-f4f5-46f7-b8f9-fafbfcfdfeff"),
            ("braces", "key {{ {hex:6}; }}; }}{{", "key { f0f1f2f3f4f5; }; }{"),
            ("two places", "{hex:3}-{hex:3}", "f0f1f2-f3f4f5"),
        ];
        for (case, text, expected) in cases {
            let template = Template::parse(text).expect(case);
            assert_eq!(String::from_utf8_lossy(&template.fill(&random)), expected, "{case}");
        }
        let template = Template::parse("{bytes:16}").unwrap();
        assert_eq!((template.octets(), &template.fill(&random)[..]), (16, &random[..16]));
    }

    #[test]
    fn faults() {
        let cases = [
            ("unknown", "ab{rot13:4}", "{rot13:4} is not"),
            ("no number", "{hex:}", "{hex:} is not"),
            ("a sign", "{hex:+9}", "{hex:+9} is not"),
            ("too many", "{bytes:4097}", "1 to 4096"),
            ("none", "{hex:0}", "1 to 4096"),
            ("a uuid has its length", "{uuid:4}", "{uuid:4} is not"),
            ("open", "x {hex:9", "written twice"),
            ("closed", "x }", "written twice"),
            ("nothing random", "password", "at least 6"),
            ("too little", "{hex:2}", "at least 6"),
        ];
        for (case, text, expected) in cases {
            let error = Template::parse(text).expect_err(case);
            assert!(error.contains(expected), "{case}: {error}");
        }
    }
}
