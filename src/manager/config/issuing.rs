//! What `[inventory]` says of issuing: the site's own authority, the certificates that it signs, and which public
//! authority signs the others.

use serde::Serialize;

use super::Subject;
use super::reader::{Table, Word};
use super::subject::{code, email, field};
use crate::manager::inventory::model::Name;
use crate::pki::Algorithm;

/// How certificates of an inventory are issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Issuing {
    /// `ca_name`: the own authority, by its name in the inventory.
    pub authority: Name,
    /// `ca_subject`: its subject; without a CN the common name is `ca_name`.
    pub subject: Subject,
    /// `ca_key`: the kind of its key, as `rsa:4096` or `ec:p384`.
    pub authority_key: Algorithm,
    /// `ca_days`: how many days its certificate is valid.
    pub authority_days: u32,
    /// `leaf_days`: how many days what it signs is valid.
    pub leaf_days: u32,
    /// `leaf_rsa_bits`: the keys of certificates of kind rsa, from public authorities as well.
    pub rsa_key: Algorithm,
    /// `leaf_curve`: those of kind ec.
    pub ec_key: Algorithm,
    /// `public`: the table of `ca-info.conf` by which certificates without one of their own are acquired; nothing
    /// for the only one that there is.
    pub public: Option<String>,
}

/// As a certificate of serverPKI would be made.
const RSA: Algorithm = Algorithm::Rsa(2048);

impl Default for Issuing {
    fn default() -> Self {
        let authority = Name::of_own_authority();
        Self {
            subject: Subject { common_name: authority.as_str().to_owned(), ..Subject::default() },
            authority,
            authority_key: Algorithm::Rsa(4096),
            authority_days: 3680,
            leaf_days: 375,
            rsa_key: RSA,
            ec_key: Algorithm::P256,
            public: None,
        }
    }
}

/// Takes what is about issuing out of the table.
pub(super) fn read(table: &mut Table<'_>) -> Issuing {
    let mut found = Issuing::default();
    if let Some(word) = table.filled("ca_name") {
        match word.text.parse::<Name>() {
            Ok(name) => found.authority = name,
            Err(error) => word.place.fault(error.to_string()),
        }
    }
    found.subject = subject(table.table("ca_subject"), &found.authority);
    if let Some(key) = table.filled("ca_key").and_then(|word| key(&word)) {
        found.authority_key = key;
    }
    for (name, most, days) in
        [("ca_days", 36_500, &mut found.authority_days), ("leaf_days", 3650, &mut found.leaf_days)]
    {
        if let Some(number) = table.value(name).and_then(|value| value.within(1..=most)) {
            *days = u32::try_from(number).unwrap_or(*days);
        }
    }
    let bits = i64::from(Algorithm::MIN_RSA)..=i64::from(Algorithm::MAX_RSA);
    if let Some(bits) = table.value("leaf_rsa_bits").and_then(|value| value.within(bits)) {
        found.rsa_key = u16::try_from(bits).map_or(RSA, Algorithm::Rsa);
    }
    if let Some(curve) = table.filled("leaf_curve").and_then(|word| curve(&word, word.text)) {
        found.ec_key = curve;
    }
    found.public = table.filled("public").map(|word| word.text.to_owned());
    found
}

fn subject(table: Option<Table<'_>>, authority: &Name) -> Subject {
    let mut subject = Subject { common_name: authority.as_str().to_owned(), ..Subject::default() };
    let Some(mut table) = table else { return subject };
    if let Some(name) = field(table.filled("CN"), 64) {
        subject.common_name = name;
    }
    subject.country = table.filled("C").and_then(|word| code(&word));
    subject.state = field(table.filled("ST"), 128);
    subject.locality = field(table.filled("L"), 128);
    subject.organization = field(table.filled("O"), 64);
    subject.organizational_unit = field(table.filled("OU"), 64);
    subject.email = table.filled("email").and_then(|word| email(&word));
    table.finish();
    subject
}

/// `rsa:BITS`, `ec:CURVE`.
fn key(word: &Word<'_>) -> Option<Algorithm> {
    match word.text.split_once(':') {
        Some(("rsa", bits)) => {
            let bits =
                bits.parse().ok().filter(|bits| (Algorithm::MIN_RSA..=Algorithm::MAX_RSA).contains(bits));
            bits.map(Algorithm::Rsa).or_else(|| word.place.refuse("write 2048 to 8192 bits, as in rsa:4096"))
        }
        Some(("ec", name)) => curve(word, name),
        _ => word.place.refuse("a key is rsa:BITS or ec:CURVE; write for example rsa:4096 or ec:p384"),
    }
}

fn curve(word: &Word<'_>, name: &str) -> Option<Algorithm> {
    match name {
        "p256" => Some(Algorithm::P256),
        "p384" => Some(Algorithm::P384),
        "p521" => Some(Algorithm::P521),
        _ => word.place.refuse("a curve is p256, p384 or p521"),
    }
}
