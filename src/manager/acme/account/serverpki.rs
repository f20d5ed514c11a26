//! Takes over the account of serverPKI: its file has the key and the URL, so nobody has to be asked.

use std::path::Path;

use http::Uri;
use serde::Deserialize;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{Account, KEY, Settings, VERSION, own, place, write_key};
use crate::manager::acme::Refusal;
use crate::pki::key::PrivateKey;
use crate::system::root::Root;

/// What is in the file: the key in PEM.
#[derive(Deserialize)]
struct Text {
    key: String,
    uri: String,
}

/// Takes the account over for the directory and the contact of `settings`, where there is none of ours; returns its
/// URL. Nothing where there is no such file, or one of ours already.
///
/// # Errors
/// [`Refusal`]: when it cannot be read, or is with another authority.
pub fn adopt(
    root: &Root,
    accounts: &Path,
    settings: &Settings,
    file: &Path,
    now: OffsetDateTime,
) -> Result<Option<String>, Refusal> {
    let place = place(accounts, settings);
    if root.status(&place.join(KEY)).map_err(own)?.is_some() {
        return Ok(None);
    }
    let Some(text) = root.read_optional(file).map_err(own)?.map(Zeroizing::new) else { return Ok(None) };
    let refuse = |message: &str| Refusal::ours(format!("{}: {message}", file.display()));
    // The words of the library might hold a part of the key.
    let Text { key, uri } =
        serde_json::from_slice(&text).map_err(|_| refuse("is no account as serverPKI writes it"))?;
    let key = Zeroizing::new(key);
    let key = PrivateKey::from_pem(key.as_bytes()).map_err(|error| refuse(&error.to_string()))?;
    if !is_at(&uri, &settings.directory) {
        return Err(refuse(&format!(
            "the account {} is not with {}; move the file away to have another account made",
            uri.escape_debug(),
            settings.directory
        )));
    }
    root.make_directory(&place, 0o700).map_err(own)?;
    write_key(root, &place.join(KEY), &key)?;
    let account = Account {
        version: VERSION,
        directory: settings.directory.clone(),
        contact: settings.contact.clone(),
        url: uri.clone(),
        terms: None,
        since: now,
        closed: false,
    };
    account.write(root, &place)?;
    Ok(Some(uri))
}

/// Whether two addresses are of the same server.
fn is_at(account: &str, directory: &str) -> bool {
    let server = |text: &str| {
        let uri: Uri = text.parse().ok()?;
        Some((uri.scheme_str()?.to_owned(), uri.authority()?.as_str().to_owned()))
    };
    server(account).is_some_and(|there| Some(there) == server(directory))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use time::macros::datetime;

    use super::*;
    use crate::pki::{Algorithm, Container};

    #[test]
    fn it_is_taken_over_once_and_only_where_it_belongs() {
        let now = datetime!(2026-06-01 0:00 UTC);
        let key = PrivateKey::generate(Algorithm::Rsa(2048)).unwrap();
        let pem = String::from_utf8(key.to_pem(Container::Traditional).unwrap().reveal().to_vec()).unwrap();
        let good = serde_json::json!({ "key": pem, "uri": "https://acme.example/acct/7" }).to_string();
        let cases = [
            ("as it is", good.clone(), Ok("https://acme.example/acct/7")),
            ("elsewhere", good.replace("acme.example", "staging.example"), Err("is not with https://acme")),
            ("no account", "{}".to_owned(), Err("is no account as serverPKI writes it")),
            (
                "no key",
                r#"{"key": "x", "uri": "https://acme.example/acct/7"}"#.to_owned(),
                Err("/account.json"),
            ),
        ];
        for (case, text, expected) in cases {
            let scratch = tempfile::tempdir().unwrap();
            fs::write(scratch.path().join("account.json"), text).unwrap();
            let root = Root::open(scratch.path()).unwrap();
            let settings = Settings {
                contact: vec!["mailto:a@example.com".into()],
                ..Settings::new("https://acme.example/directory")
            };
            let adopt = || adopt(&root, Path::new("/accounts"), &settings, Path::new("/account.json"), now);
            match (adopt(), expected) {
                (Ok(Some(url)), Ok(wanted)) => {
                    assert_eq!(url, wanted, "{case}");
                    let known = super::super::all(&root, Path::new("/accounts")).unwrap();
                    assert_eq!(known[0].url, wanted, "{case}");
                    assert_eq!(adopt().unwrap(), None, "{case}: a second time");
                }
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{case}: {error}"),
                (other, _) => panic!("{case}: {other:?}"),
            }
        }
    }
}
