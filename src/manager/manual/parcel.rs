//! What the files hold that came back, by file and in their order.

use crate::pki::armor;
use crate::pki::bundle::{self, Bundle};
use crate::pki::inspect::Certificate;
use crate::pki::key::Secret;

/// A file, as it is called and what is in it; that may be a key.
#[derive(Debug, Clone)]
pub struct Sent {
    /// What messages call it.
    pub name: String,
    /// Its content.
    pub content: Secret,
}

/// A certificate that came.
#[derive(Debug)]
pub(super) struct Piece {
    /// The number of its file.
    pub(super) file: usize,
    pub(super) der: Vec<u8>,
    pub(super) says: Certificate,
}

/// Everything that came.
#[derive(Debug)]
pub(super) struct Parcel {
    /// Certificates in the order in which they came, each once.
    pub(super) certificates: Vec<Piece>,
    /// What each file holds besides.
    pub(super) files: Vec<Opened>,
}

/// A file that was looked into.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) name: String,
    pub(super) bundle: Bundle,
    /// Its certificates stand one after the other as somebody put them; a PKCS#7 is a bag without an order.
    is_ordered: bool,
}

impl Parcel {
    pub(super) fn open(sent: &[Sent]) -> Self {
        let mut parcel = Self { certificates: Vec::new(), files: Vec::new() };
        for (file, Sent { name, content }) in sent.iter().enumerate() {
            let bundle = bundle::read(content.reveal());
            for der in &bundle.certificates {
                let Ok(says) = Certificate::from_der(der) else { continue };
                if !parcel.certificates.iter().any(|piece| piece.der == *der) {
                    parcel.certificates.push(Piece { file, der: der.clone(), says });
                }
            }
            let blocks = armor::blocks(content.reveal());
            let single = blocks.iter().filter(|block| block.label.ends_with("CERTIFICATE")).count();
            let is_ordered = single == bundle.certificates.len();
            parcel.files.push(Opened { name: name.clone(), bundle, is_ordered });
        }
        parcel
    }

    /// What a file is called.
    pub(super) fn name(&self, file: usize) -> &str {
        self.files.get(file).map_or("a file", |file| &file.name)
    }

    /// The files in which these certificates, each followed by its issuer, stand in another order.
    pub(super) fn disordered<'c>(&self, chain: impl Iterator<Item = &'c [u8]> + Clone) -> Vec<&str> {
        let places: Vec<(usize, usize)> = chain
            .filter_map(|der| {
                let place = self.certificates.iter().position(|piece| piece.der == der)?;
                self.certificates.get(place).map(|piece| (piece.file, place))
            })
            .collect();
        let in_order = |number: usize| {
            places.iter().filter(|(file, _)| *file == number).map(|(_, place)| place).is_sorted()
        };
        let files = self.files.iter().enumerate();
        files
            .filter(|(number, file)| file.is_ordered && !in_order(*number))
            .map(|(_, file)| file.name.as_str())
            .collect()
    }

    /// What lies beside certificates and is of no use, or cannot be read.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        for Opened { name, bundle, .. } in &self.files {
            let mut left = |what: &str| remarks.push(format!("{name}: {what}"));
            if !bundle.keys.is_empty() || !bundle.encrypted.is_empty() {
                left("the private key in it was left out; keys stay where they are, and are never sent");
            }
            if !bundle.requests.is_empty() {
                left("the request in it was left out; it is for the authority");
            }
            if !bundle.lists.is_empty() {
                left("the list of revoked certificates in it was left out");
            }
            bundle.troubles.iter().for_each(|trouble| left(&trouble.to_string()));
        }
        remarks
    }
}

/// What people call a certificate: its subject, or its first name where it has none.
pub(super) fn called(says: &Certificate) -> String {
    let subject = says.subject_line();
    let first =
        || says.dns_names.first().cloned().unwrap_or_else(|| "a certificate without a subject".into());
    if subject.is_empty() { first() } else { subject }
}
