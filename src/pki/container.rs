//! The shapes in which keys and certificates lie in a PEM file, and how to tell an existing
//! file's shape so that the new one keeps it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Container;
use super::key::{PrivateKey, Secret};

/// One thing that a file can hold; a file's parts have an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The private key.
    Key,
    /// The certificate itself.
    Certificate,
    /// The certificates that issued it, nearest first; nothing for a self-signed one.
    Chain,
    /// Diffie-Hellman parameters.
    Dh,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "key",
            Self::Certificate => "certificate",
            Self::Chain => "chain",
            Self::Dh => "dh",
        })
    }
}

/// What was found in a PEM text.
#[derive(Debug, Default)]
pub struct Contents {
    /// Parts in the order in which they stand; certificates after the first are the chain.
    pub parts: Vec<Part>,
    /// DER of the certificates, in order.
    pub certificates: Vec<Vec<u8>>,
    /// The Diffie-Hellman parameters, as PEM.
    pub dh: Option<String>,
    /// The key, and how it was wrapped.
    pub key: Option<(Result<PrivateKey, super::key::KeyError>, Container)>,
}

/// Reads a PEM text with anything around its blocks.
///
/// Text without a single block is empty contents, not an error: the caller knows what it expected.
pub fn read(text: &[u8]) -> Contents {
    let mut contents = Contents::default();
    for block in pem::parse_many(text).unwrap_or_default() {
        let part = match block.tag() {
            "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
                let first = contents.certificates.is_empty();
                contents.certificates.push(block.contents().to_vec());
                if first { Part::Certificate } else { Part::Chain }
            }
            "DH PARAMETERS" | "X9.42 DH PARAMETERS" => {
                let unix = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
                contents.dh.get_or_insert_with(|| pem::encode_config(&block, unix));
                Part::Dh
            }
            label if label.ends_with("PRIVATE KEY") => {
                let container = match label {
                    "RSA PRIVATE KEY" | "EC PRIVATE KEY" => Container::Traditional,
                    _ => Container::Pkcs8,
                };
                if contents.key.is_none() {
                    contents.key = Some((PrivateKey::from_der(label, block.contents()), container));
                }
                Part::Key
            }
            _ => continue,
        };
        if !contents.parts.contains(&part) {
            contents.parts.push(part);
        }
    }
    contents
}

/// The parts that a new file has: those that are wanted, in the order of the old file where that had
/// them all, and with the parameters that were in it.
pub fn keep_order(wanted: &[Part], there: &[Part]) -> Vec<Part> {
    let kept: Vec<Part> =
        there.iter().copied().filter(|part| wanted.contains(part) || *part == Part::Dh).collect();
    // A self-signed certificate has no chain: that part is empty wherever it stands.
    let whole = wanted.iter().all(|part| kept.contains(part) || *part == Part::Chain);
    if whole { kept } else { wanted.to_vec() }
}

/// Writes a file's parts in their order; a self-signed certificate has no chain to be written.
pub fn write(parts: &[Part], key: &Secret, certificate: &str, dh: &str) -> Secret {
    let content: Vec<u8> = parts
        .iter()
        .flat_map(|part| match part {
            Part::Key => key.reveal(),
            Part::Certificate => certificate.as_bytes(),
            Part::Chain => &[],
            Part::Dh => dh.as_bytes(),
        })
        .copied()
        .collect();
    Secret::new(content)
}

#[cfg(test)]
mod tests {
    use super::super::Algorithm;
    use super::super::dh::Group;
    use super::*;

    #[test]
    fn shapes() {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let pem = |container| String::from_utf8(key.to_pem(container).unwrap().reveal().to_vec()).unwrap();
        let pkcs8 = pem(Container::Pkcs8);
        let sec1 = pem(Container::Traditional);
        let dh = Group::Ffdhe3072.parameters().to_pem().unwrap();
        let certificate = pem::encode(&pem::Pem::new("CERTIFICATE", b"x".to_vec())).replace('\r', "");
        let cases: [(&str, String, Vec<Part>, Option<Container>); 6] = [
            (
                "key first",
                format!("{pkcs8}{certificate}"),
                vec![Part::Key, Part::Certificate],
                Some(Container::Pkcs8),
            ),
            (
                "certificate first",
                format!("{certificate}{sec1}"),
                vec![Part::Certificate, Part::Key],
                Some(Container::Traditional),
            ),
            ("with chain", format!("{certificate}{certificate}"), vec![Part::Certificate, Part::Chain], None),
            ("with parameters", format!("{certificate}{dh}"), vec![Part::Certificate, Part::Dh], None),
            ("text around", format!("subject=/CN=x\n{certificate}\nend\n"), vec![Part::Certificate], None),
            ("nothing", "hello\n".into(), vec![], None),
        ];
        for (case, text, parts, container) in cases {
            let contents = read(text.as_bytes());
            assert_eq!(contents.parts, parts, "{case}");
            assert_eq!(contents.key.map(|(_, container)| container), container, "{case}");
        }
    }

    #[test]
    fn a_new_file_keeps_the_order_of_the_old() {
        use Part::{Certificate as C, Chain, Dh, Key as K};
        let cases = [
            ("key first", vec![K, C], vec![K, C], vec![K, C]),
            ("certificate first", vec![K, C], vec![C, K], vec![C, K]),
            ("with parameters", vec![K, C], vec![C, K, Dh], vec![C, K, Dh]),
            ("sscg's CA goes", vec![C], vec![C, Chain], vec![C]),
            ("nothing there", vec![K, C], vec![], vec![K, C]),
            ("half of it there", vec![K, C], vec![C], vec![K, C]),
        ];
        for (case, wanted, there, expected) in cases {
            assert_eq!(keep_order(&wanted, &there), expected, "{case}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let key = PrivateKey::generate(Algorithm::P256).unwrap().to_pem(Container::Pkcs8).unwrap();
        let certificate = pem::encode(&pem::Pem::new("CERTIFICATE", b"x".to_vec()));
        let parts = [Part::Key, Part::Certificate, Part::Dh];
        let dh = Group::Ffdhe3072.parameters().to_pem().unwrap();
        let text = write(&parts, &key, &certificate, &dh);
        assert_eq!(read(text.reveal()).parts, parts);
    }
}
