//! What a client signs (RFC 7515, RFC 8555 section 6.2), read and checked.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A signed message, whose signature has not been looked at.
#[derive(Debug, Clone)]
pub struct Signed {
    pub header: Value,
    /// Nothing for a POST-as-GET.
    pub payload: Option<Value>,
    message: String,
    signature: Vec<u8>,
}

impl Signed {
    /// Reads it; says what is wrong with its form.
    pub fn read(body: &Value) -> Result<Self, String> {
        let part = |name: &str| body[name].as_str().ok_or_else(|| format!("{name} is missing"));
        let decoded = |name: &str| {
            BASE64.decode(part(name)?).map_err(|error| format!("{name} is not base64url: {error}"))
        };
        if body.as_object().is_none_or(|body| body.len() != 3) {
            return Err("more than protected, payload and signature".to_owned());
        }
        let header = serde_json::from_slice(&decoded("protected")?).map_err(|error| error.to_string())?;
        let payload = match decoded("payload")?.as_slice() {
            [] => None,
            payload => Some(serde_json::from_slice(payload).map_err(|error| error.to_string())?),
        };
        let message = format!("{}.{}", part("protected")?, part("payload")?);
        Ok(Self { header, payload, message, signature: decoded("signature")? })
    }

    /// Says whether this key signed it. Only ES256 is known here.
    pub fn is_by(&self, jwk: &Value) -> Result<(), String> {
        if self.header["alg"] != "ES256" {
            return Err(format!("alg is {}", self.header["alg"]));
        }
        let coordinate = |name: &str| {
            let octets = BASE64.decode(jwk[name].as_str().unwrap_or_default()).unwrap_or_default();
            (octets.len() == 32)
                .then_some(octets)
                .ok_or_else(|| format!("{name} of the key is no coordinate"))
        };
        let point = [vec![4], coordinate("x")?, coordinate("y")?].concat();
        let key = VerifyingKey::from_sec1_bytes(&point).map_err(|error| error.to_string())?;
        let signature = Signature::from_slice(&self.signature).map_err(|error| error.to_string())?;
        key.verify(self.message.as_bytes(), &signature).map_err(|_| "it is not signed by that key".to_owned())
    }
}

/// RFC 7638.
pub fn thumbprint(jwk: &Value) -> String {
    let canonical = serde_json::json!({ "crv": jwk["crv"], "kty": jwk["kty"], "x": jwk["x"], "y": jwk["y"] });
    BASE64.encode(Sha256::digest(canonical.to_string()))
}
