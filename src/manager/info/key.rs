//! Keys: which kind and how long, and of public halves what identifies them.

use der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use der::{Decode, Reader, SliceReader, Tag, Tagged};
use sha2::{Digest, Sha256};
use x509_cert::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::{Described, Fields};
use crate::pki::dh::Parameters;
use crate::pki::key::PrivateKey;

/// A private key by its PEM label.
pub(super) fn private(label: &str, der: &[u8]) -> Described {
    let Some(algorithm) = private_algorithm(label, der) else {
        return Described::faulty("private key", "is damaged: it is no private key");
    };
    let mut fields = Fields::default();
    fields.text("Key algo", format!("prvkey-{algorithm}"));
    if let Some(spki) = PrivateKey::from_der(label, der).ok().and_then(|key| key.spki_der().ok()) {
        fingerprint(&mut fields, &spki);
    }
    Described::new("private key", fields)
}

/// A private key of a kind that this program makes, too.
pub(super) fn known(key: &PrivateKey) -> Described {
    let mut fields = Fields::default();
    if let Ok(spki) = key.spki_der() {
        let algorithm = public_algorithm(&spki).unwrap_or_else(|| key.algorithm().to_string());
        fields.text("Key algo", format!("prvkey-{algorithm}"));
        fingerprint(&mut fields, &spki);
    }
    Described::new("private key", fields)
}

fn private_algorithm(label: &str, der: &[u8]) -> Option<String> {
    match label {
        "PRIVATE KEY" => {
            let fields = sequence(der)?;
            let algorithm: AlgorithmIdentifierRef<'_> = fields.get(1)?.decode_as().ok()?;
            let inner = fields.get(2).filter(|field| field.tag() == Tag::OctetString)?;
            Some(named(&algorithm, sequence_number(inner.value(), 1)))
        }
        "RSA PRIVATE KEY" => Some(format!("rsa {} bits", sequence_number(der, 1)?)),
        "DSA PRIVATE KEY" if sequence(der)?.len() == 6 => {
            Some(format!("dsa {} bits", sequence_number(der, 1)?))
        }
        "EC PRIVATE KEY" => {
            let curve = sequence(der)?
                .into_iter()
                .find(
                    |field| matches!(field.tag(), Tag::ContextSpecific { number, .. } if number.value() == 0),
                )
                .and_then(|field| ObjectIdentifier::from_der(field.value()).ok());
            // The curve may be said elsewhere, or number by number.
            Some(curve.map_or("ec".to_owned(), |curve| format!("ec {}", curve_name(&curve))))
        }
        _ => None,
    }
}

/// A key of OpenSSH.
pub(super) fn openssh(der: &[u8]) -> Described {
    let Ok(key) = ssh_key::PrivateKey::from_bytes(der) else {
        return Described::faulty("private key of OpenSSH", "is damaged: it is no private key");
    };
    let kind =
        if key.is_encrypted() { "private key of OpenSSH under a password" } else { "private key of OpenSSH" };
    let mut fields = Fields::default();
    fields.text("Key algo", format!("prvkey-{}", key.algorithm()));
    fields.rare("SHA-256", key.fingerprint(ssh_key::HashAlg::Sha256).to_string());
    Described::new(kind, fields)
}

/// A `subjectPublicKeyInfo` that stands alone.
pub(super) fn public(der: &[u8]) -> Described {
    let Some(algorithm) = public_algorithm(der) else {
        return Described::faulty("public key", "is damaged: it is no public key");
    };
    let mut fields = Fields::default();
    fields.text("Key algo", format!("pubkey-{algorithm}"));
    fingerprint(&mut fields, der);
    Described::new("public key", fields)
}

/// RFC 8017 appendix A.1.1.
pub(super) fn public_rsa(der: &[u8]) -> Described {
    let Some(bits) = sequence_number(der, 0) else {
        return Described::faulty("public key", "is damaged: it is no public key");
    };
    let mut fields = Fields::default();
    fields.text("Key algo", format!("pubkey-rsa {bits} bits"));
    Described::new("public key", fields)
}

/// Parameters of Diffie-Hellman.
pub(super) fn dh(der: &[u8]) -> Described {
    let kind = "Diffie-Hellman parameters";
    let parameters = match Parameters::from_der(der) {
        Ok(parameters) => parameters,
        Err(error) => return Described::faulty(kind, format!("is damaged: {error}")),
    };
    let mut fields = Fields::default();
    let group = parameters.group().map_or(String::new(), |group| format!("{group} "));
    fields.text("Key algo", format!("dh {group}{} bits", parameters.bits()));
    let generator = parameters.generator().map_or("a large number".to_owned(), |small| small.to_string());
    fields.rare("Generator", generator);
    Described::new(kind, fields)
}

/// A curve that stands before its key.
pub(super) fn curve(der: &[u8]) -> Described {
    let mut fields = Fields::default();
    match AnyRef::from_der(der).map(|any| (any, any.decode_as::<ObjectIdentifier>())) {
        Ok((_, Ok(curve))) => fields.text("Key algo", format!("ec {}", curve_name(&curve))),
        Ok((any, Err(_))) if any.tag() == Tag::Sequence => fields.text("Key algo", "ec, number by number"),
        _ => return Described::faulty("curve parameters", "is damaged: no curve is named"),
    }
    Described::new("curve parameters", fields)
}

/// Parameters of DSA.
pub(super) fn dsa(der: &[u8]) -> Described {
    let Some(bits) = sequence_number(der, 0) else {
        return Described::faulty("DSA parameters", "is damaged: there is no prime");
    };
    let mut fields = Fields::default();
    fields.text("Key algo", format!("dsa {bits} bits"));
    Described::new("DSA parameters", fields)
}

/// The kind of a `subjectPublicKeyInfo`.
pub(super) fn public_algorithm(der: &[u8]) -> Option<String> {
    let info = SubjectPublicKeyInfoRef::from_der(der).ok()?;
    Some(named(&info.algorithm, sequence_number(info.subject_public_key.raw_bytes(), 0)))
}

/// What the TLSA form 3 1 1 holds, and what pins are made of: the same for a key and its certificate.
pub(super) fn fingerprint(fields: &mut Fields, spki: &[u8]) {
    fields.rare("Key SHA-256", hexadecimal(&Sha256::digest(spki)));
}

pub(super) fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The kind of a key; `modulus` is the length of RSA's, where the key has one.
fn named(algorithm: &AlgorithmIdentifierRef<'_>, modulus: Option<usize>) -> String {
    let prime = || {
        let parameters = sequence_of(algorithm.parameters?)?;
        parameters.first().and_then(number_bits)
    };
    let with_bits =
        |name: &str, bits: Option<usize>| bits.map_or(name.to_owned(), |bits| format!("{name} {bits} bits"));
    match algorithm.oid.to_string().as_str() {
        "1.2.840.113549.1.1.1" => with_bits("rsa", modulus),
        "1.2.840.113549.1.1.10" => with_bits("rsa-pss", modulus),
        "1.2.840.10045.2.1" => {
            let curve = algorithm.parameters.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
            curve.map_or("ec".to_owned(), |curve| format!("ec {}", curve_name(&curve)))
        }
        "1.2.840.10040.4.1" => with_bits("dsa", prime()),
        "1.2.840.113549.1.3.1" | "1.2.840.10046.2.1" => with_bits("dh", prime()),
        "1.3.101.110" => "x25519".to_owned(),
        "1.3.101.111" => "x448".to_owned(),
        "1.3.101.112" => "ed25519".to_owned(),
        "1.3.101.113" => "ed448".to_owned(),
        other => other.to_owned(),
    }
}

/// SEC 2 and RFC 5639 names of curves.
fn curve_name(oid: &ObjectIdentifier) -> String {
    let oid = oid.to_string();
    let known = CURVES.iter().find(|(id, _)| *id == oid);
    known.map_or(oid.clone(), |(_, name)| (*name).to_owned())
}

const CURVES: [(&str, &str); 9] = [
    ("1.2.840.10045.3.1.1", "secp192r1"),
    ("1.3.132.0.33", "secp224r1"),
    ("1.2.840.10045.3.1.7", "secp256r1"),
    ("1.3.132.0.34", "secp384r1"),
    ("1.3.132.0.35", "secp521r1"),
    ("1.3.132.0.10", "secp256k1"),
    ("1.3.36.3.3.2.8.1.1.7", "brainpoolP256r1"),
    ("1.3.36.3.3.2.8.1.1.11", "brainpoolP384r1"),
    ("1.3.36.3.3.2.8.1.1.13", "brainpoolP512r1"),
];

fn sequence(der: &[u8]) -> Option<Vec<AnyRef<'_>>> {
    // What follows, as the trust of OpenSSL does, is not ours to judge.
    Vec::decode(&mut SliceReader::new(der).ok()?).ok()
}

fn sequence_of(any: AnyRef<'_>) -> Option<Vec<AnyRef<'_>>> {
    (any.tag() == Tag::Sequence).then_some(())?;
    let mut reader = SliceReader::new(any.value()).ok()?;
    let mut fields = Vec::new();
    while !reader.is_finished() {
        fields.push(AnyRef::decode(&mut reader).ok()?);
    }
    Some(fields)
}

/// The length in bits of one number of a sequence.
fn sequence_number(der: &[u8], at: usize) -> Option<usize> {
    sequence(der)?.get(at).and_then(number_bits)
}

fn number_bits(field: &AnyRef<'_>) -> Option<usize> {
    let number: UintRef<'_> = field.decode_as().ok()?;
    let leading = number.as_bytes().first()?.leading_zeros();
    (number.as_bytes().len() * 8).checked_sub(leading as usize)
}
