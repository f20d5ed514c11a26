//! A certificate that the manager issues: what its lineage holds, and whether a file holds that, too.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::manager::name::ServiceName;
use crate::pki::container::{self, Part};
use crate::pki::inspect::Certificate;
use crate::pki::key::Secret;

/// Where a key with its certificates comes from that we do not make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed {
    /// Which managed certificate.
    pub service: ServiceName,
    /// While the manager has none that will do, a self-signed one stands in.
    pub stop_gap: bool,
    /// The manager can be asked for another one: this machine is running.
    pub is_live: bool,
    /// What the manager holds.
    pub held: Held,
    /// Files that hold something else, as they are named.
    pub differing: BTreeSet<PathBuf>,
}

/// What the manager holds of one managed certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// Its current version.
    Version(Box<Version>),
    /// Nothing that could be installed, and why.
    Nothing(String),
    /// This user may not look.
    Hidden(String),
}

/// One version: a key, its certificate, and the chain without what signed itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its directory's name: the time at which it was made.
    pub name: String,
    /// The key, in PEM.
    pub key: Secret,
    /// Digest of its public half.
    pub public_digest: [u8; 32],
    /// The certificate, in DER.
    pub certificate: Vec<u8>,
    /// What the certificate says.
    pub says: Certificate,
    /// Those that issued it, nearest first, in DER.
    pub chain: Vec<Vec<u8>>,
    /// The root, where the manager has it, in DER: it is not sent along.
    pub anchor: Option<Vec<u8>>,
}

impl Managed {
    /// The current version, when there is one.
    pub fn version(&self) -> Option<&Version> {
        match &self.held {
            Held::Version(version) => Some(version),
            Held::Nothing(_) | Held::Hidden(_) => None,
        }
    }
}

impl Version {
    /// What a file's part `chain` is: a program that has a file for it alone wants one with something in it.
    pub fn chain_for(&self, holds: &[Part]) -> Vec<&[u8]> {
        let chain: Vec<&[u8]> = self.chain.iter().map(Vec::as_slice).collect();
        if !chain.is_empty() || holds.contains(&Part::Certificate) {
            return chain;
        }
        vec![self.anchor.as_deref().unwrap_or(&self.certificate)]
    }

    /// Says whether a file holds this version as far as it is to hold it, in whatever form and order.
    pub fn is_in(&self, content: &[u8], holds: &[Part]) -> bool {
        let there = container::read(content);
        let own = usize::from(holds.contains(&Part::Certificate));
        holds.iter().all(|part| match part {
            Part::Key => {
                matches!(&there.key, Some((Ok(key), _)) if key.public_digest() == self.public_digest)
            }
            Part::Certificate => there.certificates.first() == Some(&self.certificate),
            Part::Chain => there.certificates.iter().skip(own).eq(self.chain_for(holds)),
            Part::Dh => there.dh.is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Algorithm;
    use crate::pki::issue::tests::made;
    use crate::seed::Subject;

    #[test]
    fn what_a_file_holds_of_a_version() {
        use Part::{Certificate as C, Chain, Key as K};
        let (says, text, key) = made("www.example.com", Algorithm::P256, &Subject::default());
        let (_, other, stranger) = made("www.example.com", Algorithm::P256, &Subject::default());
        let der = |text: &str| container::read(text.as_bytes()).certificates[0].clone();
        let pem = |key: &crate::pki::key::PrivateKey, container| {
            String::from_utf8(key.to_pem(container).unwrap().reveal().to_vec()).unwrap()
        };
        let (pkcs8, sec1) = (crate::pki::Container::Pkcs8, crate::pki::Container::Traditional);
        let version = Version {
            name: "20300101-00:00:00".into(),
            key: key.to_pem(pkcs8).unwrap(),
            public_digest: key.public_digest(),
            certificate: der(&text),
            says,
            chain: vec![der(&other)],
            anchor: None,
        };
        let rootless = Version { chain: Vec::new(), anchor: Some(der(&other)), ..version.clone() };
        let (old, new, foreign) = (pem(&key, sec1), pem(&key, pkcs8), pem(&stranger, pkcs8));
        // name, version, what is to be in it, what is in it, whether that will do
        let cases = [
            ("a key", &version, vec![K], new.clone(), true),
            ("the same in another form", &version, vec![K], old, true),
            ("another key", &version, vec![K], foreign, false),
            ("a certificate", &version, vec![C], text.clone(), true),
            ("another certificate", &version, vec![C], other.clone(), false),
            ("with its chain", &version, vec![C, Chain], format!("{text}{other}"), true),
            ("without its chain", &version, vec![C, Chain], text.clone(), false),
            ("the wrong way round", &version, vec![C, Chain], format!("{other}{text}"), false),
            ("all in one", &version, vec![K, C, Chain], format!("{new}{text}{other}"), true),
            ("in another order", &version, vec![K, C, Chain], format!("{text}{other}{new}"), true),
            ("the chain alone", &version, vec![Chain], other.clone(), true),
            ("what is no chain", &version, vec![Chain], text.clone(), false),
            ("no chain to be sent", &rootless, vec![C, Chain], text.clone(), true),
            ("the root all the same", &rootless, vec![C, Chain], format!("{text}{other}"), false),
            ("the root where a file is for it alone", &rootless, vec![Chain], other, true),
            ("nothing", &version, vec![C], String::new(), false),
        ];
        for (case, version, holds, content, expected) in cases {
            assert_eq!(version.is_in(content.as_bytes(), &holds), expected, "{case}");
        }
    }
}
