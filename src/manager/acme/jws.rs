//! JSON Web Signatures as ACME wants them (RFC 7515, RFC 7518, RFC 8555 section 6.2): for accounts on any kind of
//! key, for their bindings to foreign accounts, for a new key, and for a certificate's own.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::traits::PublicKeyParts as _;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::pki::key::PrivateKey;
use crate::pki::{Algorithm, Digest};

/// Who signs.
#[derive(Debug, Clone, Copy)]
pub enum Signer<'a> {
    /// A key that the authority need not know.
    Key(&'a PrivateKey),
    /// An account, by its URL, with its key.
    Account(&'a PrivateKey, &'a str),
}

impl Signer<'_> {
    fn key(&self) -> &PrivateKey {
        match self {
            Self::Key(key) | Self::Account(key, _) => key,
        }
    }
}

/// Signs a payload, which is in base64url already and empty for POST-as-GET (RFC 8555 section 6.3). Without a
/// nonce it is the inner signature of a change of keys.
///
/// # Errors
/// In words, for a key that ACME has no use for, and when the library refuses.
pub fn sign(signer: Signer<'_>, nonce: Option<&str>, url: &str, payload: &str) -> Result<Value, String> {
    let key = signer.key();
    let mut header = Map::new();
    header.insert("alg".into(), algorithm(key).into());
    match signer {
        Signer::Key(key) => header.insert("jwk".into(), jwk(key)?),
        Signer::Account(_, kid) => header.insert("kid".into(), kid.into()),
    };
    if let Some(nonce) = nonce {
        header.insert("nonce".into(), nonce.into());
    }
    header.insert("url".into(), url.into());
    let protected = encode(Value::Object(header).to_string());
    let signature = signature(key, format!("{protected}.{payload}").as_bytes())?;
    Ok(json!({ "protected": protected, "payload": payload, "signature": encode(signature) }))
}

/// Binds a key to an account elsewhere (RFC 8555 section 7.3.4): `secret` is what that one gave out, decoded.
///
/// # Errors
/// In words, for a key that ACME has no use for, and for an empty secret.
pub fn bind(key: &PrivateKey, key_id: &str, secret: &[u8], url: &str) -> Result<Value, String> {
    if secret.is_empty() {
        return Err("the key of the account binding is empty".to_owned());
    }
    let protected = encode(json!({ "alg": "HS256", "kid": key_id, "url": url }).to_string());
    let payload = encode(jwk(key)?.to_string());
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|error| error.to_string())?;
    mac.update(format!("{protected}.{payload}").as_bytes());
    let signature = encode(mac.finalize().into_bytes());
    Ok(json!({ "protected": protected, "payload": payload, "signature": signature }))
}

/// The public half (RFC 7517), with the members that RFC 7638 names and no others, in its order.
///
/// # Errors
/// In words, when the key cannot be taken apart.
pub fn jwk(key: &PrivateKey) -> Result<Value, String> {
    let bits = key.public_bits();
    let curve = |name: &str| {
        let numbers = bits.get(1..).unwrap_or_default();
        let (x, y) = numbers.split_at(numbers.len() / 2);
        json!({ "crv": name, "kty": "EC", "x": encode(x), "y": encode(y) })
    };
    Ok(match key.algorithm() {
        Algorithm::P256 => curve("P-256"),
        Algorithm::P384 => curve("P-384"),
        Algorithm::P521 => curve("P-521"),
        Algorithm::Ed25519 => json!({ "crv": "Ed25519", "kty": "OKP", "x": encode(bits) }),
        Algorithm::Rsa(_) => {
            let key = rsa::RsaPublicKey::from_pkcs1_der(bits).map_err(|error| error.to_string())?;
            let number = |number: &rsa::BoxedUint| encode(number.to_be_bytes_trimmed_vartime());
            json!({ "e": number(key.e()), "kty": "RSA", "n": number(key.n()) })
        }
    })
}

/// What a key is known by (RFC 7638), in base64url.
///
/// # Errors
/// As [`jwk`].
pub fn thumbprint(key: &PrivateKey) -> Result<String, String> {
    // `serde_json` sorts the members, as RFC 7638 section 3.3 wants it, and writes no white space.
    Ok(encode(Sha256::digest(jwk(key)?.to_string())))
}

/// base64url without padding (RFC 7515 section 2).
pub fn encode(octets: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(octets)
}

/// Reads base64url; padding at the end is let pass, because people copy it.
///
/// # Errors
/// In words, without the text: it may be a secret.
pub fn decode(text: &str) -> Result<Vec<u8>, String> {
    let text = text.trim().trim_end_matches('=');
    BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| "is not in base64url".to_owned())
}

fn algorithm(key: &PrivateKey) -> &'static str {
    match key.algorithm() {
        Algorithm::P256 => "ES256",
        Algorithm::P384 => "ES384",
        Algorithm::P521 => "ES512",
        Algorithm::Ed25519 => "EdDSA",
        Algorithm::Rsa(_) => "RS256",
    }
}

/// RFC 7518 section 3.4: the two numbers one after the other, each of its curve's length.
fn signature(key: &PrivateKey, message: &[u8]) -> Result<Vec<u8>, String> {
    let digest = match key.algorithm() {
        Algorithm::P384 => Digest::Sha384,
        Algorithm::P521 => Digest::Sha512,
        Algorithm::P256 | Algorithm::Ed25519 | Algorithm::Rsa(_) => Digest::Sha256,
    };
    let signed = key.sign_with(digest, message).map_err(|error| error.to_string())?;
    let failed = |error: p256::ecdsa::Error| error.to_string();
    Ok(match key.algorithm() {
        Algorithm::P256 => p256::ecdsa::Signature::from_der(&signed).map_err(failed)?.to_vec(),
        Algorithm::P384 => p384::ecdsa::Signature::from_der(&signed).map_err(failed)?.to_vec(),
        Algorithm::P521 => p521::ecdsa::Signature::from_der(&signed).map_err(failed)?.to_vec(),
        Algorithm::Ed25519 | Algorithm::Rsa(_) => signed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Container;
    use crate::pki::signature::verify_signature;
    use std::process::Command;

    /// The example of RFC 7638 section 3.1.
    #[test]
    fn the_thumbprint_is_that_of_the_standard() {
        let text = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWK\
                    RXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAta\
                    Sqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksIN\
                    HaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let canonical = json!({ "e": "AQAB", "kty": "RSA", "n": text }).to_string();
        assert_eq!(encode(Sha256::digest(canonical)), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    /// Not only those that accounts have: a certificate is revoked by its own key, whatever that is.
    #[test]
    fn openssl_verifies_what_is_signed() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        for (kind, alg, digest) in [
            (Algorithm::P256, "ES256", "-sha256"),
            (Algorithm::P384, "ES384", "-sha384"),
            (Algorithm::P521, "ES512", "-sha512"),
            (Algorithm::Rsa(2048), "RS256", "-sha256"),
        ] {
            let key = PrivateKey::generate(kind).unwrap();
            let signed = sign(Signer::Account(&key, "https://a/1"), Some("n"), "https://a/2", "e30").unwrap();
            let text = |name: &str| signed.get(name).and_then(Value::as_str).unwrap().to_owned();
            let header: Value = serde_json::from_slice(&decode(&text("protected")).unwrap()).unwrap();
            assert_eq!(
                header,
                json!({ "alg": alg, "kid": "https://a/1", "nonce": "n", "url": "https://a/2" }),
                "{kind}"
            );
            let message = format!("{}.{}", text("protected"), text("payload"));
            let raw = decode(&text("signature")).unwrap();
            let signature = match kind {
                Algorithm::Rsa(_) => raw,
                _ => {
                    // OpenSSL reads DER: SEQUENCE of two INTEGERs.
                    let (r, s) = raw.split_at(raw.len() / 2);
                    let number = |octets: &[u8]| {
                        let start = octets.iter().position(|octet| *octet != 0).unwrap();
                        let mut body = octets[start..].to_vec();
                        if body[0] & 0x80 != 0 {
                            body.insert(0, 0);
                        }
                        [&[2, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()
                    };
                    let body = [number(r), number(s)].concat();
                    let length = u8::try_from(body.len()).unwrap();
                    let head = if length < 128 { vec![0x30, length] } else { vec![0x30, 0x81, length] };
                    [head, body].concat()
                }
            };
            std::fs::write(at("key.pem"), key.to_pem(Container::Pkcs8).unwrap().reveal()).unwrap();
            std::fs::write(at("message"), message).unwrap();
            std::fs::write(at("signature"), signature).unwrap();
            let done = Command::new("openssl")
                .args(["dgst", digest, "-prverify"])
                .arg(at("key.pem"))
                .arg("-signature")
                .arg(at("signature"))
                .arg(at("message"))
                .output();
            let Ok(done) = done else {
                eprintln!("skipped: openssl is not installed");
                return;
            };
            assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "Verified OK", "{kind}: {done:?}");
        }
    }

    #[test]
    fn ed25519_signs_too() {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let signed = sign(Signer::Key(&key), None, "https://a/2", "").unwrap();
        let text = |name: &str| signed.get(name).and_then(Value::as_str).unwrap().to_owned();
        let header: Value = serde_json::from_slice(&decode(&text("protected")).unwrap()).unwrap();
        assert_eq!(header.get("alg"), Some(&json!("EdDSA")));
        assert!(header.get("nonce").is_none());
        let message = format!("{}.", text("protected"));
        let signature = decode(&text("signature")).unwrap();
        let verified =
            verify_signature(&key.spki_der().unwrap(), "1.3.101.112", message.as_bytes(), &signature);
        assert_eq!(verified, Some(true));
    }

    #[test]
    fn a_binding_is_what_openssl_computes() {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let bound = bind(&key, "kid-1", b"secret", "https://a/new").unwrap();
        let text = |name: &str| bound.get(name).and_then(Value::as_str).unwrap().to_owned();
        let payload: Value = serde_json::from_slice(&decode(&text("payload")).unwrap()).unwrap();
        assert_eq!(payload, jwk(&key).unwrap());
        let scratch = tempfile::tempdir().unwrap();
        let message = scratch.path().join("message");
        std::fs::write(&message, format!("{}.{}", text("protected"), text("payload"))).unwrap();
        let done = Command::new("openssl")
            .args(["dgst", "-sha256", "-mac", "HMAC", "-macopt", "key:secret", "-binary"])
            .arg(&message)
            .output();
        let Ok(done) = done else {
            eprintln!("skipped: openssl is not installed");
            return;
        };
        assert_eq!(encode(done.stdout), text("signature"));
        assert!(bind(&key, "kid-1", b"", "https://a/new").is_err());
    }

    #[test]
    fn base64url_as_people_copy_it() {
        for (case, text, expected) in [
            ("plain", "aGk", Some(&b"hi"[..])),
            ("padded, with a line end", "aGk=\n", Some(b"hi")),
            ("the other alphabet", "+/+/", None),
            ("nonsense", "a", None),
        ] {
            assert_eq!(decode(text).ok().as_deref(), expected, "{case}");
        }
    }
}
