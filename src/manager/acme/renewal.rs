//! When an authority wants a certificate renewed (ARI, RFC 9773), kept in `renewal-info.toml` until it is to be
//! asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures_util::stream::{self, StreamExt as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, ParsedExtension, X509Certificate};

use super::account::{self, Settings};
use super::client::Client;
use super::{Refusal, jws};
use crate::fault::Fault;
use crate::manager::name::ServiceName;
use crate::manager::record;

/// Where the record lies, beneath the manager's own directory.
pub const RECORD: &str = "renewal-info.toml";

/// What a certificate is called (RFC 9773 section 4.1): its issuer's key identifier and its serial, as they stand
/// in it.
///
/// # Errors
/// In words, for what is no certificate, and for one that does not name its issuer's key.
pub fn identifier(certificate: &[u8]) -> Result<String, String> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|error| format!("not a certificate: {error}"))?;
    let issuer = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(issuer) => issuer.key_identifier.as_ref().map(|key| key.0),
        _ => None,
    });
    let issuer = issuer.ok_or("the certificate does not say which key has signed it")?;
    Ok(format!("{}.{}", jws::encode(issuer), jws::encode(certificate.raw_serial())))
}

/// The time in which an authority wants a certificate renewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Window {
    /// URL of the authority's directory.
    pub directory: String,
    /// Whose certificate it is.
    pub service: String,
    /// Where it begins.
    #[serde(with = "time::serde::rfc3339")]
    pub start: OffsetDateTime,
    /// Where it ends; after its start.
    #[serde(with = "time::serde::rfc3339")]
    pub end: OffsetDateTime,
    /// Where the authority explains it to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// When the authority was asked.
    #[serde(with = "time::serde::rfc3339")]
    pub asked: OffsetDateTime,
    /// When it is asked again, for it may change its mind.
    #[serde(with = "time::serde::rfc3339")]
    pub ask_again: OffsetDateTime,
}

impl Window {
    /// The moment in it at which this certificate is renewed (RFC 9773 section 4.2): the same whenever it is asked
    /// for, and another one for every certificate. `id` is what [`identifier`] says.
    pub fn moment(&self, id: &str) -> OffsetDateTime {
        let digest = Sha256::digest(format!("{}\n{id}", self.service));
        let part = digest.iter().take(4).fold(0_u32, |number, octet| number << 8 | u32::from(*octet));
        let length = (self.end - self.start).max(Duration::ZERO);
        self.start + length * (f64::from(part) / f64::from(u32::MAX))
    }
}

/// The record of windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    version: u32,
    #[serde(default, rename = "certificate", skip_serializing_if = "BTreeMap::is_empty")]
    windows: BTreeMap<String, Window>,
    /// Directories of authorities that do not tell, and when they were asked.
    #[serde(default, rename = "silent", skip_serializing_if = "BTreeMap::is_empty")]
    silent: BTreeMap<String, Silence>,
}

/// An authority that does not tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Silence {
    #[serde(with = "time::serde::rfc3339")]
    asked: OffsetDateTime,
}

/// The version of the format that this program writes, and the only one it reads.
const VERSION: u32 = 1;

impl Default for Windows {
    fn default() -> Self {
        Self { version: VERSION, windows: BTreeMap::new(), silent: BTreeMap::new() }
    }
}

impl Windows {
    /// Reads the text of the record.
    ///
    /// # Errors
    /// [`Fault`] with its position; a later version is refused, never guessed at.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Fault> {
        record::read(path, text, VERSION)
    }

    /// The text as it is written to disk.
    ///
    /// # Errors
    /// In the words of the library.
    pub fn to_text(&self) -> Result<String, String> {
        let body =
            toml::to_string(self).map_err(|error| format!("the windows cannot be written: {error}"))?;
        Ok(format!("# When authorities want certificates renewed, written by `reseed manager`.\n{body}"))
    }

    /// The window of a certificate, by [`identifier`]; nothing where it was never told.
    pub fn of(&self, id: &str) -> Option<&Window> {
        self.windows.get(id)
    }

    /// Says whether the authority is to be asked about a certificate: it never was, or it is time again.
    pub fn is_to_ask(&self, id: &str, now: OffsetDateTime) -> bool {
        // A clock that was set back must not keep it from being asked.
        self.windows.get(id).is_none_or(|window| window.ask_again <= now || window.asked > now)
    }

    /// Says whether an authority was asked within a day and does not tell.
    pub fn is_silent(&self, directory: &str, now: OffsetDateTime) -> bool {
        let asked = self.silent.get(directory).map(|silence| silence.asked);
        asked.is_some_and(|asked| (asked..asked.saturating_add(MOST)).contains(&now))
    }

    /// Keeps whether an authority tells.
    pub fn note_silence(&mut self, directory: &str, is_silent: bool, now: OffsetDateTime) {
        match is_silent {
            true => self.silent.insert(directory.to_owned(), Silence { asked: now }),
            false => self.silent.remove(directory),
        };
    }

    /// Keeps what an authority has said of a certificate.
    pub fn note(&mut self, id: &str, window: Window) {
        self.windows.insert(id.to_owned(), window);
    }

    /// Forgets every certificate but these; says whether there was any other.
    pub fn keep(&mut self, ids: &BTreeSet<String>) -> bool {
        let before = self.windows.len();
        self.windows.retain(|id, _| ids.contains(id));
        self.windows.len() != before
    }
}

/// What an authority answers (RFC 9773 section 4.2).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    suggested_window: Suggested,
    #[serde(rename = "explanationURL")]
    explanation_url: Option<String>,
}

#[derive(Deserialize)]
struct Suggested {
    #[serde(with = "time::serde::rfc3339")]
    start: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    end: OffsetDateTime,
}

/// What an authority says of each certificate about which it was asked.
pub type Answers = BTreeMap<ServiceName, Result<Window, Refusal>>;

/// Asks an authority about certificates, each in DER with whose it is; several at the same time. Nothing where it
/// does not tell when it wants them renewed. Nobody needs an account for that (RFC 9773 section 4.1).
///
/// # Errors
/// [`Refusal`] when it cannot be reached.
pub fn renewal_info(
    settings: &Settings,
    certificates: &[(ServiceName, Vec<u8>)],
    now: OffsetDateTime,
) -> Result<Option<Answers>, Refusal> {
    let runtime = account::runtime()?;
    let client = runtime.block_on(Client::open(&settings.directory, settings.bounds.clone()))?;
    let Some(base) = client.directory().renewal_info.clone() else { return Ok(None) };
    let asking = certificates
        .iter()
        .map(async |(service, der)| (service.clone(), ask(&client, &base, service, der, now).await));
    let most = settings.parallel_orders.max(1);
    Ok(Some(runtime.block_on(stream::iter(asking).buffer_unordered(most).collect())))
}

async fn ask(
    client: &Client,
    base: &str,
    service: &ServiceName,
    der: &[u8],
    now: OffsetDateTime,
) -> Result<Window, Refusal> {
    let id = identifier(der).map_err(Refusal::ours)?;
    let url = format!("{}/{id}", base.trim_end_matches('/'));
    let answer = client.get(&url).await?;
    let told: Told = answer.json()?;
    let Suggested { start, end } = told.suggested_window;
    if end <= start {
        // RFC 9773 section 4.2: such a window is as good as none.
        return Err(Refusal::authority(format!("{url}: the window ends before it begins")));
    }
    let wait = answer.retry_after().map_or(EVERY, |wait| wait.try_into().unwrap_or(MOST)).clamp(LEAST, MOST);
    Ok(Window {
        directory: client.url().to_owned(),
        service: service.to_string(),
        start,
        end,
        explanation: told.explanation_url.filter(|url| !url.chars().any(char::is_control)),
        asked: now,
        ask_again: now.saturating_add(wait),
    })
}

/// RFC 9773 section 4.3.2: what a client keeps to whatever the authority says.
const LEAST: Duration = Duration::minutes(1);
const MOST: Duration = Duration::days(1);
/// Where it says nothing.
const EVERY: Duration = Duration::hours(6);

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn window(start: i64, end: i64) -> Window {
        let at = |seconds| OffsetDateTime::from_unix_timestamp(1_767_225_600 + seconds).unwrap();
        Window {
            directory: "https://acme.example/directory".into(),
            service: "example.com/web-ec".into(),
            start: at(start),
            end: at(end),
            explanation: None,
            asked: at(0),
            ask_again: at(3600),
        }
    }

    #[test]
    fn who_does_not_tell_is_asked_once_a_day() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let (hour, ca) = (Duration::HOUR, "https://ca.example/dir");
        let mut windows = Windows::default();
        assert!(!windows.is_silent(ca, now));
        windows.note_silence(ca, true, now);
        let mut windows = Windows::parse(Path::new("w"), &windows.to_text().unwrap()).unwrap();
        let cases = [
            ("at once", now, true),
            ("an hour later", now + hour, true),
            ("a day later", now + hour * 24, false),
            ("the clock was set back", now - hour, false),
        ];
        for (case, at, expected) in cases {
            assert_eq!(windows.is_silent(ca, at), expected, "{case}");
        }
        assert!(!windows.is_silent("https://other.example/dir", now));
        windows.note_silence(ca, false, now);
        assert_eq!(windows, Windows::default());
    }

    #[test]
    fn version_1_is_frozen() {
        let text = include_str!("../../../tests/fixtures/acme-renewal-info-v1.toml");
        let windows = Windows::parse(Path::new("renewal-info.toml"), text).unwrap();
        assert!(windows.of("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE").is_some());
        assert_eq!(windows.to_text().unwrap(), text, "what was read is written as it was");
        let fault = Windows::parse(Path::new("x"), "version = 2\n").unwrap_err().to_string();
        assert!(fault.contains(":1:11: version 2"), "{fault}");
    }

    #[test]
    fn the_moment_lies_in_the_window_and_stays() {
        let day = window(0, 86_400);
        let moments: BTreeSet<_> = (0..100).map(|number| day.moment(&format!("a.{number}"))).collect();
        assert!(moments.len() > 90, "every certificate has its own");
        assert!(moments.iter().all(|moment| (day.start..=day.end).contains(moment)));
        let (first, last) = (moments.first().unwrap(), moments.last().unwrap());
        assert!(*last - *first > Duration::hours(20), "spread over the window: {first} to {last}");
        assert_eq!(day.moment("a.7"), day.moment("a.7"));
        let past = window(-86_400, -3600);
        assert!(past.moment("a.7") < past.asked, "a window in the past is due at once");
        assert_eq!(window(5, 5).moment("a.7"), window(5, 5).start);
    }

    #[test]
    fn when_to_ask_again() {
        let mut windows = Windows::default();
        windows.note("a.1", window(0, 60));
        let at = |seconds| window(0, 0).asked + Duration::seconds(seconds);
        for (case, id, seconds, expected) in [
            ("just asked", "a.1", 0, false),
            ("not yet", "a.1", 3599, false),
            ("time", "a.1", 3600, true),
            ("the clock was set back", "a.1", -1, true),
            ("never asked", "a.2", 0, true),
        ] {
            assert_eq!(windows.is_to_ask(id, at(seconds)), expected, "{case}");
        }
        assert!(!windows.keep(&BTreeSet::from(["a.1".to_owned()])));
        assert!(windows.keep(&BTreeSet::new()) && windows.of("a.1").is_none());
    }

    /// OpenSSL's own view of the two parts.
    #[test]
    fn what_a_certificate_is_called() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
        let openssl = |arguments: &[&str]| Command::new("openssl").args(arguments).output();
        let (key, certificate, der) = (at("key"), at("certificate"), at("der"));
        let made = openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &certificate,
            "-subj",
            "/CN=a",
            "-set_serial",
            "0x87654321",
        ]);
        if made.is_err() {
            eprintln!("skipped: openssl is not installed");
            return;
        }
        openssl(&["x509", "-in", &certificate, "-outform", "DER", "-out", &der]).unwrap();
        let shown =
            openssl(&["x509", "-in", &certificate, "-noout", "-ext", "authorityKeyIdentifier"]).unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        let hex = shown.lines().last().unwrap().trim().trim_start_matches("keyid:");
        let octets: Vec<u8> = hex.split(':').map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        // The serial is that of the example in RFC 9773 section 4.1, with the octet that keeps it positive.
        assert_eq!(identifier(&std::fs::read(der).unwrap()), Ok(format!("{}.AIdlQyE", jws::encode(octets))));
        assert!(identifier(b"junk").is_err());
    }
}
