//! `[KeyOpts]` of a service's file: which key it has.

use super::reader::{Table, Word};
use crate::manager::nearest::{hint, shown};
use crate::pki::Algorithm;

/// The curve that ssl-mgr takes unless it is told otherwise.
const CURVE: &str = "secp384r1";
/// The curves, for messages.
const CURVES: [&str; 4] = ["secp256r1", "prime256v1", "secp384r1", "secp521r1"];
/// Bits of an RSA key unless something else is said.
const RSA_BITS: u16 = 4096;

/// Reads the table; without it the key is what ssl-mgr makes.
pub(super) fn read(table: Option<Table<'_>>) -> Option<Algorithm> {
    let Some(mut table) = table else { return algorithm(Kind::Curve(CURVE)) };
    let kind = table.filled("ktype");
    let curve = table.filled("ec_algo");
    let bits = bits(&mut table);
    table.finish();
    let chosen = match kind.as_ref().map(|kind| kind.text.to_ascii_lowercase()).as_deref() {
        Some("rsa") => Kind::Rsa(bits?),
        Some("ed25519") => Kind::Ed25519,
        None | Some("ec" | "ecdsa") => return on_curve(curve.as_ref()),
        Some(other) => {
            let hint = hint(other, ["rsa", "ec", "ed25519"]);
            let kind = kind.as_ref()?;
            let message =
                format!("the ktype {} is not known; write rsa, ec or ed25519{hint}", shown(kind.text));
            return kind.place.refuse(message);
        }
    };
    algorithm(chosen)
}

fn on_curve(word: Option<&Word<'_>>) -> Option<Algorithm> {
    let Some(word) = word else { return algorithm(Kind::Curve(CURVE)) };
    algorithm(Kind::Curve(&word.text.to_ascii_lowercase())).or_else(|| {
        let curves = CURVES.join(", ");
        word.place.refuse(format!("the curve {} is not made here; write one of {curves}", shown(word.text)))
    })
}

/// `rsa_bits`, or `bits` as some examples have it.
fn bits(table: &mut Table<'_>) -> Option<u16> {
    let old = table.value("bits");
    if let Some(old) = &old {
        old.place.warn("bits is an old spelling; write rsa_bits");
    }
    match table.value("rsa_bits").or(old) {
        Some(value) => value.within(2048..=8192).and_then(|bits| u16::try_from(bits).ok()),
        None => Some(RSA_BITS),
    }
}

/// What is asked for.
enum Kind<'a> {
    /// By its name in small letters.
    Curve(&'a str),
    Rsa(u16),
    Ed25519,
}

/// What we make for it; nothing for a curve that we do not.
fn algorithm(kind: Kind<'_>) -> Option<Algorithm> {
    match kind {
        Kind::Curve("secp256r1" | "prime256v1") => Some(Algorithm::P256),
        Kind::Curve("secp384r1") => Some(Algorithm::P384),
        Kind::Curve("secp521r1") => Some(Algorithm::P521),
        Kind::Curve(_) => None,
        Kind::Rsa(bits) => Some(Algorithm::Rsa(bits)),
        Kind::Ed25519 => Some(Algorithm::Ed25519),
    }
}
