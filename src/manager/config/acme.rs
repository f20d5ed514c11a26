//! What a table of `ca-info.conf` says of an authority that is spoken to by ACME.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;

use super::reader::{Table, Value, Word};
use super::site::{beneath, profile};
use super::{Acme, Binding, Service, Validation};
use crate::manager::nearest::shown;

/// What is asked of an ACME authority that is not told otherwise.
const PROFILE: &str = "tlsserver";
/// Whom `letsencrypt` and `certbot` mean, as certbot does.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Its directory for tests.
const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
/// Orders at the same time, where nothing is configured.
const PARALLEL_ORDERS: i64 = 20;
/// Requests in a second, where nothing is configured: Let's Encrypt lets anybody do 250 (and 20 for nonces alone,
/// which come with the answers to other requests).
const REQUESTS_PER_SECOND: i64 = 100;

/// The keys, as they are written.
pub(super) struct Keys<'a> {
    validation: Option<Word<'a>>,
    preferred_chain: Option<Word<'a>>,
    profile: Option<Word<'a>>,
    directory: Option<Word<'a>>,
    test_directory: Option<Word<'a>>,
    trust: Option<Word<'a>>,
    contact: Vec<Word<'a>>,
    key_id: Option<Word<'a>>,
    hmac_file: Option<Word<'a>>,
    parallel_orders: Option<Value<'a>>,
    requests_per_second: Option<Value<'a>>,
    http_listen: Option<Word<'a>>,
    tls_listen: Option<Word<'a>>,
}

impl<'a> Keys<'a> {
    /// Asks for every key.
    pub(super) fn read(table: &mut Table<'a>) -> Self {
        Self {
            validation: table.filled("ca_validation"),
            preferred_chain: table.filled("ca_preferred_chain"),
            profile: table.text("ca_preferred_acme_profile"),
            directory: table.filled("ca_directory"),
            test_directory: table.filled("ca_test_directory"),
            trust: table.filled("ca_trust"),
            contact: table.texts("ca_contact"),
            key_id: table.filled("ca_eab_kid"),
            hmac_file: table.filled("ca_eab_hmac_file"),
            parallel_orders: table.value("ca_parallel_orders"),
            requests_per_second: table.value("ca_requests_per_second"),
            http_listen: table.filled("ca_http_listen"),
            tls_listen: table.filled("ca_tls_listen"),
        }
    }

    /// What they mean; nothing where one of them has a fault. `default` is the site's profile.
    pub(super) fn acme(
        &self,
        name: &Word<'_>,
        table: &Table<'_>,
        default: Option<&Option<String>>,
        topdir: &Path,
    ) -> Option<Acme> {
        let validation = match &self.validation {
            Some(word) => Some(how(word)?),
            None => {
                let name = shown(name.text);
                table.warn(format!("{name} has no ca_validation; write http-01, dns-01 or tls-alpn-01"));
                None
            }
        };
        let own = self.profile.as_ref().map(profile);
        let within = |value: &Option<Value<'_>>, most: i64, default: i64| match value {
            Some(value) => value.within(1..=most),
            None => Some(default),
        };
        let (directory, test_directory) = self.directories()?;
        Some(Acme {
            validation,
            preferred_chain: self.preferred_chain.as_ref().map(|word| word.text.to_owned()),
            profile: own.or_else(|| default.cloned()).unwrap_or_else(|| Some(PROFILE.to_owned())),
            directory,
            test_directory,
            trust: self.trust.as_ref().map(|word| beneath(topdir, word)),
            contact: self.contact.iter().map(contact).collect::<Option<_>>()?,
            binding: self.binding(topdir)?,
            parallel_orders: usize::try_from(within(&self.parallel_orders, 1000, PARALLEL_ORDERS)?).ok()?,
            requests_per_second: u32::try_from(within(&self.requests_per_second, 1000, REQUESTS_PER_SECOND)?)
                .ok()?,
            http_listen: listen(self.http_listen.as_ref(), 80)?,
            tls_listen: listen(self.tls_listen.as_ref(), 443)?,
        })
    }

    /// The directory, and that for tests.
    fn directories(&self) -> Option<(String, Option<String>)> {
        let Some(directory) = &self.directory else {
            let test = self.test_directory.as_ref().map(url).unwrap_or(Some(LETS_ENCRYPT_STAGING.into()))?;
            return Some((LETS_ENCRYPT.into(), Some(test)));
        };
        let test = match &self.test_directory {
            Some(word) => Some(url(word)?),
            None => (directory.text == LETS_ENCRYPT).then(|| LETS_ENCRYPT_STAGING.to_owned()),
        };
        Some((url(directory)?, test))
    }

    /// The inner nothing: there is no binding.
    fn binding(&self, topdir: &Path) -> Option<Option<Binding>> {
        match (&self.key_id, &self.hmac_file) {
            (None, None) => Some(None),
            (Some(id), Some(file)) => {
                Some(Some(Binding { key_id: id.text.to_owned(), hmac_file: beneath(topdir, file) }))
            }
            (Some(id), None) => id.place.refuse("ca_eab_kid without ca_eab_hmac_file, the file of its key"),
            (None, Some(file)) => {
                file.place.refuse("ca_eab_hmac_file without ca_eab_kid, the name of its key")
            }
        }
    }
}

impl Acme {
    /// How the authority reaches whoever answers for a service: as configured for it, else the service's `email`,
    /// as with ssl-mgr.
    pub fn contact_for(&self, service: &Service) -> Vec<String> {
        match self.contact.is_empty() {
            true => service.subject.email.iter().map(|email| format!("mailto:{email}")).collect(),
            false => self.contact.clone(),
        }
    }
}

fn how(word: &Word<'_>) -> Option<Validation> {
    let text = word.text.to_ascii_lowercase();
    if text.starts_with("http") {
        Some(Validation::Http)
    } else if text.starts_with("dns") {
        Some(Validation::Dns)
    } else if text.starts_with("tls-alpn") {
        Some(Validation::Alpn)
    } else {
        let message = format!("{} validates nothing; write http-01, dns-01 or tls-alpn-01", shown(word.text));
        word.place.refuse(message)
    }
}

/// The URL of a directory: what is said there is signed, but who answers has to be known.
fn url(word: &Word<'_>) -> Option<String> {
    let uri = word.text.parse::<http::Uri>().ok();
    match uri
        .filter(|uri| uri.scheme_str() == Some("https") && uri.host().is_some_and(|host| !host.is_empty()))
    {
        Some(_) => Some(word.text.to_owned()),
        None => word.place.refuse(format!("{} is no URL that begins with https://", shown(word.text))),
    }
}

/// A contact as a URL; an address of e-mail is one of `mailto:`.
fn contact(word: &Word<'_>) -> Option<String> {
    let has_blank = word.text.contains(char::is_whitespace);
    match (word.text.contains(':'), word.text.contains('@')) {
        (true, _) if !has_blank => Some(word.text.to_owned()),
        (false, true) if !has_blank => Some(format!("mailto:{}", word.text)),
        _ => word
            .place
            .refuse(format!("{} is no contact; write for example mailto:you@example.com", shown(word.text))),
    }
}

/// Where a responder listens: an address with its port, or a port for all addresses.
fn listen(word: Option<&Word<'_>>, default: u16) -> Option<SocketAddr> {
    let any = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let Some(word) = word else { return Some(any(default)) };
    match (word.text.parse(), word.text.parse()) {
        (Ok(address), _) => Some(address),
        (_, Ok(port)) if port > 0 => Some(any(port)),
        _ => word.place.refuse(format!(
            "{} is no address with a port; write for example [::]:{default}",
            shown(word.text)
        )),
    }
}
