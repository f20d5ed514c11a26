//! Why none of what came back is ours: what was found instead, whose it is, and what to do.

use super::super::lineage::version;
use super::super::name::ServiceName;
use super::super::run::Run;
use super::keys::{Kept, Keys};
use super::parcel::{Opened, Parcel, Piece, called};
use super::request;
use crate::pki::inspect::Certificate;
use crate::pki::path;
use crate::pki::x509::read_request;

/// What is said of a parcel in which no certificate is of a key of `asked`, the services signed by hand that were
/// asked for.
pub(super) fn refusal(run: &Run<'_>, parcel: &Parcel, asked: &[ServiceName]) -> Vec<String> {
    let all = run.tree.services().unwrap_or_default();
    let keys = Keys::of(&run.tree, &all);
    let refusal = Refusal { run, parcel, asked, keys };
    let mut said = match parcel.certificates.is_empty() {
        true => parcel.files.iter().map(|file| refusal.of_file(file)).collect(),
        false => refusal.of_certificates(),
    };
    said.extend(refusal.keys.unreadable);
    said
}

struct Refusal<'r, 'w> {
    run: &'r Run<'w>,
    parcel: &'r Parcel,
    asked: &'r [ServiceName],
    keys: Keys,
}

impl Refusal<'_, '_> {
    fn of_file(&self, Opened { name, bundle, .. }: &Opened) -> String {
        let request = bundle.requests.first().and_then(|der| read_request(der).ok());
        let found = if let Some(key) = bundle.keys.first() {
            format!("a private key, {}", self.whose(&key.public_digest()))
        } else if !bundle.encrypted.is_empty() {
            "a private key under a password".to_owned()
        } else if let Some(request) = request {
            let whose = self.whose(&request.public_digest);
            return format!(
                "{name} holds a request, {whose}, and no certificate: the request is for the authority; import what \
                 that sends back"
            );
        } else if !bundle.lists.is_empty() {
            "a list of revoked certificates".to_owned()
        } else if !bundle.public_keys.is_empty() {
            "a public key".to_owned()
        } else if let Some(trouble) = bundle.troubles.first() {
            return format!("{name} holds no certificate that can be read: {trouble}");
        } else {
            return format!("{name} holds no certificate");
        };
        format!("{name} holds {found}, and no certificate; import what the authority sent back")
    }

    fn whose(&self, public_digest: &[u8; 32]) -> String {
        match self.keys.owners(public_digest) {
            [] => "of a key that no service here has".to_owned(),
            owners => format!("of the key of {}", list(owners)),
        }
    }

    fn of_certificates(&self) -> Vec<String> {
        let ends: Vec<&Piece> =
            self.parcel.certificates.iter().filter(|piece| !path::is_authority(&piece.der)).collect();
        if ends.is_empty() {
            let owned = self.parcel.certificates.iter().find(|piece| self.owners(piece).next().is_some());
            return match owned {
                Some(piece) => vec![self.of_certificate(piece)],
                None => vec![format!(
                    "these are authorities' certificates only: {}; the certificate that they are to go with is missing",
                    self.parcel
                        .certificates
                        .iter()
                        .map(|piece| called(&piece.says))
                        .collect::<Vec<_>>()
                        .join("; ")
                )],
            };
        }
        ends.into_iter().map(|piece| self.of_certificate(piece)).collect()
    }

    fn owners(&self, piece: &Piece) -> impl Iterator<Item = &Kept> {
        self.keys.owners(&piece.says.public_digest).iter()
    }

    fn of_certificate(&self, piece: &Piece) -> String {
        let label = format!("{}: {}", self.parcel.name(piece.file), called(&piece.says));
        // Of a service that was not asked for, or is signed by somebody else.
        if let Some(owner) = self.owners(piece).next() {
            let name = &owner.service;
            let place = format!("{label} is of the key of {name} ({})", owner.version);
            let by_hand =
                self.run.service(name).is_ok_and(|service| request::by_hand(self.run, service).is_ok());
            return match (by_hand, self.run.config.services.contains_key(name)) {
                (true, _) => format!("{place}; import it by --service {name}"),
                (false, true) => format!(
                    "{place}, which is not signed by hand; for a bought certificate, its signing_ca is a table of \
                     ca-info.conf with ca_type = \"manual\""
                ),
                (false, false) => {
                    format!("{place}, which is not configured or has a fault; `reseed manager check` tells")
                }
            };
        }
        let elsewhere =
            self.parcel.files.iter().any(|file| {
                file.bundle.keys.iter().any(|key| key.public_digest() == piece.says.public_digest)
            });
        let why = match elsewhere {
            true => "is of the private key that came with it and was not made here; keys are not imported",
            false => "is of a key that no service here has",
        };
        format!("{label} {why}; {}", self.what_to_send(&piece.says))
    }

    /// Which request is to be answered: of those that wait, those for a name of the certificate's if there are any.
    fn what_to_send(&self, says: &Certificate) -> String {
        let mut waiting = Vec::new();
        for name in self.asked {
            let path = request::waiting(&self.run.tree, name).unwrap_or_default().pop().map(|last| last.path);
            let Ok(service) = self.run.service(name) else { continue };
            let is_for = service.alternative_names.iter().any(|name| says.serves(&name.to_string()));
            waiting.push((name, path, is_for));
        }
        let of_that_name = waiting.iter().any(|(.., is_for)| *is_for);
        waiting.retain(|(.., is_for)| *is_for || !of_that_name);
        let sentence = |(name, path, _): &(&ServiceName, Option<std::path::PathBuf>, bool)| match path {
            Some(path) => format!("the request of {name} that waits for an answer is {}", path.display()),
            None => {
                format!("no request of {name} waits for an answer; `reseed manager csr {name}` makes one")
            }
        };
        let mut sentences: Vec<String> = waiting.iter().take(MAX_TOLD).map(sentence).collect();
        match waiting.len() {
            0 => sentences
                .push("and no service is signed by hand (ca_type = \"manual\" in ca-info.conf)".to_owned()),
            more if more > MAX_TOLD => sentences.push(format!("and so on for {} more", more - MAX_TOLD)),
            _ => sentences.push(format!("have that signed: it is the {} that counts", version::REQUEST)),
        }
        sentences.join("; ")
    }
}

/// Services of which something is said, before it becomes too long to read.
const MAX_TOLD: usize = 5;

fn list(owners: &[Kept]) -> String {
    owners.iter().map(|owner| format!("{} ({})", owner.service, owner.version)).collect::<Vec<_>>().join(", ")
}
