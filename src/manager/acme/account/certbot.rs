//! Takes over an account from certbot: its key as it is, of whatever kind, so that certbot may go on with it.

use std::path::Path;

use rsa::pkcs1::EncodeRsaPrivateKey as _;
use serde::Deserialize;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{Account, KEY, Settings, VERSION, find, own, place, read_key, runtime, write_key};
use crate::manager::acme::client::Client;
use crate::manager::acme::{Refusal, jws};
use crate::pki::key::PrivateKey;
use crate::system::root::Root;

/// Imports the account in one of certbot's directories, such as
/// `/etc/letsencrypt/accounts/acme-v02.api.letsencrypt.org/directory/0123…`, for the directory and the contact of
/// `settings`; returns its URL. Nothing of certbot's is changed.
///
/// # Errors
/// [`Refusal`]: when it cannot be read, when there is another account for that directory and contact already, and
/// when the authority does not know it.
pub fn import(
    root: &Root,
    accounts: &Path,
    settings: &Settings,
    from: &Path,
    now: OffsetDateTime,
) -> Result<String, Refusal> {
    let path = from.join("private_key.json");
    let text = Zeroizing::new(root.read(&path).map_err(own)?);
    let key = key(&text).map_err(|error| Refusal::ours(format!("{}: {error}", path.display())))?;
    let place = place(accounts, settings);
    let there = read_key(root, &place.join(KEY))?;
    if there.is_some_and(|there| there.public_bits() != key.public_bits()) {
        return Err(Refusal::ours(format!(
            "{}: there is an account for {} with this contact already; deactivate it first",
            place.display(),
            settings.directory
        )));
    }
    let runtime = runtime()?;
    let client = runtime.block_on(Client::open(&settings.directory, settings.bounds.clone()))?;
    let Some(url) = runtime.block_on(find(&client, &key))? else {
        let what = stated(root, from).unwrap_or_else(|| from.display().to_string());
        return Err(Refusal::ours(format!("{}: does not know the account {what}", settings.directory)));
    };
    root.make_directory(&place, 0o700).map_err(own)?;
    write_key(root, &place.join(KEY), &key)?;
    let account = Account {
        version: VERSION,
        directory: settings.directory.clone(),
        contact: settings.contact.clone(),
        url: url.clone(),
        terms: None,
        since: now,
        closed: false,
    };
    account.write(root, &place)?;
    Ok(url)
}

/// What certbot calls it, for a message.
fn stated(root: &Root, from: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Registration {
        uri: String,
    }
    let text = root.read_optional(&from.join("regr.json")).ok()??;
    let registration: Registration = serde_json::from_slice(&text).ok()?;
    Some(registration.uri)
}

/// A private key as a JSON Web Key (RFC 7518 section 6).
#[derive(Deserialize)]
struct Jwk<'a> {
    kty: &'a str,
    crv: Option<&'a str>,
    n: Option<&'a str>,
    e: Option<&'a str>,
    d: Option<&'a str>,
    p: Option<&'a str>,
    q: Option<&'a str>,
}

fn key(text: &[u8]) -> Result<PrivateKey, String> {
    // The words of the library might hold a part of the key.
    let jwk: Jwk<'_> = serde_json::from_slice(text).map_err(|_| "is no JSON Web Key".to_owned())?;
    let part = |value: Option<&str>| {
        let value = value.ok_or("a part of the key is missing")?;
        jws::decode(value).map(Zeroizing::new)
    };
    let secret = part(jwk.d)?;
    let der = match (jwk.kty, jwk.crv) {
        ("RSA", _) => {
            let number = |octets: &[u8]| rsa::BoxedUint::from_be_slice_vartime(octets);
            let primes = vec![number(&part(jwk.p)?), number(&part(jwk.q)?)];
            let (n, e) = (part(jwk.n)?, part(jwk.e)?);
            let key = rsa::RsaPrivateKey::from_components(number(&n), number(&e), number(&secret), primes);
            let der = key.map_err(|_| WRONG)?.to_pkcs1_der().map_err(|_| WRONG)?;
            return PrivateKey::from_der("RSA PRIVATE KEY", der.as_bytes())
                .map_err(|error| error.to_string());
        }
        ("EC", Some("P-256")) => p256::SecretKey::from_slice(&secret).map_err(|_| WRONG)?.to_sec1_der(),
        ("EC", Some("P-384")) => p384::SecretKey::from_slice(&secret).map_err(|_| WRONG)?.to_sec1_der(),
        ("EC", Some("P-521")) => p521::SecretKey::from_slice(&secret).map_err(|_| WRONG)?.to_sec1_der(),
        _ => return Err("is neither RSA nor on P-256, P-384 or P-521".to_owned()),
    };
    let der = der.map_err(|_| WRONG)?;
    PrivateKey::from_der("EC PRIVATE KEY", &der).map_err(|error| error.to_string())
}

const WRONG: &str = "the parts of the key do not fit together";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Algorithm;

    /// The same number for both primes.
    fn doubled(text: &str) -> String {
        let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
        value["q"] = value["p"].clone();
        value.to_string()
    }

    /// One as certbot writes it, one of RFC 7515 (appendix A.3), and what can be wrong with such texts.
    #[test]
    fn keys_as_they_lie_there() {
        let rsa = include_str!("../../../../tests/fixtures/certbot-rsa.json");
        let ec = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
        let read = key(rsa.as_bytes()).unwrap();
        assert_eq!(read.algorithm(), Algorithm::Rsa(2048));
        // As josepy, certbot's library, computes it.
        assert_eq!(jws::thumbprint(&read).unwrap(), "U-fmguVHV-EX17liUS9_9_B_m9S7GN5Xa5X6zc5NBwU");
        let read = key(ec.as_bytes()).unwrap();
        assert_eq!(read.algorithm(), Algorithm::P256);
        assert_eq!(
            jws::jwk(&read).unwrap().get("x").and_then(|x| x.as_str()),
            Some("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU")
        );
        for (case, text, expected) in [
            ("no JSON", "junk".to_owned(), "no JSON Web Key"),
            ("public half only", ec.replace("\"d\"", "\"f\""), "a part of the key is missing"),
            ("another curve", ec.replace("P-256", "secp256k1"), "neither RSA nor"),
            ("not base64url", ec.replace("jpsQ", "jp*Q"), "base64url"),
            ("a prime is missing", rsa.replace("\"q\":", "\"o\":"), "a part of the key is missing"),
            ("a prime that does not fit", doubled(rsa), WRONG),
        ] {
            let error = key(text.as_bytes()).map(|_| ()).expect_err(case);
            assert!(error.contains(expected), "{case}: {error}");
            assert!(!error.contains("jpsQ"), "{case}: {error}");
        }
    }
}
