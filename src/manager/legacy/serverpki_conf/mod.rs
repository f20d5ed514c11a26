//! serverPKI's configuration, `serverpki.conf`: read as it is, so that a site can change over without writing it
//! anew. What we need of it is a value; every other key is known too, or told.
//!
//! ```text
//!  ini      the syntax, with places
//!  section  keys of one section as types, with what they refer to filled in
//!  site     what all of it means here
//! ```

mod ini;
mod section;
pub mod site;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::Serialize;

use self::section::Sections;
use crate::fault::Fault;

/// Where the file is looked for, in this order, when nobody names one: first beneath the prefixes that Python has.
pub const CANDIDATES: [&str; 3] =
    ["/usr/etc/serverpki.conf", "/usr/local/etc/serverpki.conf", "/usr/local/etc/serverPKI/serverpki.conf"];

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Configuration {
    /// `[Pathes]`
    pub paths: Paths,
    /// `[X509atts] lifetime`: days that a certificate by the own authority is valid.
    pub lifetime_days: u32,
    /// `[X509atts] bits`: of RSA keys.
    pub rsa_bits: u16,
    /// `[X509atts] [[names]]`: the subject of the own authority.
    pub subject: Subject,
    /// `[DBAccount]`
    pub database: Database,
    /// `[Misc] SSH_CLIENT_USER_NAME`: who we are on hosts.
    pub ssh_user: String,
    /// `[Misc] LE_SERVER`: the directory of the public authority.
    pub acme_directory: String,
    /// `[Misc] LE_EMAIL`: the contact there; nothing where it is empty.
    pub acme_contact: Option<String>,
    /// `[Misc] LE_ZONE_UPDATE_METHOD`
    pub zone_update: ZoneUpdate,
    /// `[Misc] LOCAL_CA_BITS`: of the own authority's RSA key.
    pub authority_bits: u16,
    /// `[Misc] LOCAL_CA_LIFETIME`: days that its certificate is valid.
    pub authority_days: u32,
    /// `[Misc] SUBJECT_LOCAL_CA`: its name in the inventory.
    pub own_authority: String,
    /// `[Misc] SUBJECT_LE_CA`: the public authority's.
    pub public_authority: String,
    /// `[Misc] PRE_PUBLISH_TIMEDELTA`: days before the end of a certificate at which its successor is published.
    pub prepublish_days: u32,
    /// `[Misc] LOCAL_ISSUE_MAIL_TIMEDELTA`: days before the end at which somebody is told.
    pub remind_days: u32,
    /// The keys of `[Misc]` that begin with `MAIL_`; nothing where no relay is named.
    pub mail: Option<Mail>,
}

/// `[Pathes]`, with what they refer to filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Paths {
    /// `home`
    pub home: PathBuf,
    /// `db`: keys and accounts.
    pub db: PathBuf,
    /// `work`: where instances are exported.
    pub work: PathBuf,
    /// `ca_cert`: a certificate of an own authority, to be taken over.
    pub authority_certificate: PathBuf,
    /// `ca_key`: its key.
    pub authority_key: PathBuf,
    /// `db_encryption_key`: the passphrase of keys in the database.
    pub passphrase: PathBuf,
    /// `le_account`: the account of the public authority.
    pub account: PathBuf,
    /// `tlsa_dns_master`: the host of the name server; nothing for this one.
    pub name_server: Option<String>,
    /// `zone_file_root`: a directory of a zone's name for each zone.
    pub zones: PathBuf,
    /// `dns_key`: the key for `rndc`.
    pub rndc_key: PathBuf,
    /// `zone_file_include_name`: what a zone includes for challenges.
    pub include_name: String,
    /// `ddns_key_file`: the key for dynamic updates, as BIND writes it.
    pub update_key: PathBuf,
}

/// `[X509atts] [[names]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// `C`: two letters.
    pub country: String,
    /// `L`
    pub locality: String,
    /// `O`
    pub organization: String,
    /// `CN`
    pub common_name: String,
}

/// `[DBAccount]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Database {
    /// `dbHost`: a name, an address, or a directory of sockets.
    pub host: String,
    /// `dbPort`
    pub port: u16,
    /// `dbUser`
    pub user: String,
    /// `dbDatabase`
    pub name: String,
    /// `dbSearchPath`: schemas.
    pub search_path: Vec<String>,
    /// `dbSslRequired`
    pub needs_tls: bool,
    /// `dbCert`: the certificate that we show.
    pub certificate: Option<PathBuf>,
    /// `dbCertKey`: its key.
    pub key: Option<PathBuf>,
}

/// How records come into zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ZoneUpdate {
    /// `ddns`: by dynamic update (RFC 2136).
    Dynamic,
    /// `zone_file`: by files that zones include.
    Included,
}

/// Whom to tell, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mail {
    /// `MAIL_RELAY`: a host, with a port behind a colon where it is not 25.
    pub relay: String,
    /// `MAIL_SUBJECT`
    pub subject: Option<String>,
    /// `MAIL_SENDER`
    pub sender: String,
    /// `MAIL_RECIPIENT`
    pub recipients: Vec<String>,
}

/// What came of a file.
#[derive(Debug, Clone)]
pub struct Reading {
    /// What it says; nothing when there are faults.
    pub configuration: Option<Configuration>,
    /// What cannot be meant, in the order of the file.
    pub faults: Vec<Fault>,
    /// What is understood, and does nothing or is unknown.
    pub warnings: Vec<Fault>,
}

/// Reads the text of a file.
pub fn read(path: &Path, text: &str) -> Reading {
    let mut sections = Sections::new(path, text);
    let configuration = configuration(&mut sections);
    let (faults, warnings) = sections.finish();
    Reading { configuration: configuration.filter(|_| faults.is_empty()), faults, warnings }
}

/// All keys are asked for, so that all faults are told at once.
fn configuration(sections: &mut Sections<'_>) -> Option<Configuration> {
    let paths = paths(sections);
    let database = database(sections);
    let subject = subject(sections);
    let mail = mail(sections);
    let lifetime_days = sections.number("X509atts", "lifetime", 1..=36_500, None);
    let rsa_bits = sections.number("X509atts", "bits", 2048..=8192, None);
    let ssh_user = sections.filled("Misc", "SSH_CLIENT_USER_NAME");
    let acme_directory = sections.filled("Misc", "LE_SERVER").filter(|url| {
        let is_url = url.text.starts_with("https://") && url.text.parse::<http::Uri>().is_ok();
        is_url || sections.fault(url, "is no URL that begins with https://")
    });
    let acme_contact = sections.text("Misc", "LE_EMAIL");
    let zone_update = zone_update(sections);
    let authority_bits = sections.number("Misc", "LOCAL_CA_BITS", 2048..=8192, None);
    let authority_days = sections.number("Misc", "LOCAL_CA_LIFETIME", 365..=36_500, None);
    let own_authority = sections.filled("Misc", "SUBJECT_LOCAL_CA");
    let public_authority = sections.filled("Misc", "SUBJECT_LE_CA");
    let prepublish_days = sections.number("Misc", "PRE_PUBLISH_TIMEDELTA", 7..=3650, None);
    let remind_days = sections.number("Misc", "LOCAL_ISSUE_MAIL_TIMEDELTA", 1..=3650, None);
    ignored(sections);
    Some(Configuration {
        paths: paths?,
        lifetime_days: u32::try_from(lifetime_days?).ok()?,
        rsa_bits: u16::try_from(rsa_bits?).ok()?,
        subject: subject?,
        database: database?,
        ssh_user: ssh_user?.text,
        acme_directory: acme_directory?.text,
        acme_contact: acme_contact.map(|word| word.text),
        zone_update: zone_update?,
        authority_bits: u16::try_from(authority_bits?).ok()?,
        authority_days: u32::try_from(authority_days?).ok()?,
        own_authority: own_authority?.text,
        public_authority: public_authority?.text,
        prepublish_days: u32::try_from(prepublish_days?).ok()?,
        remind_days: u32::try_from(remind_days?).ok()?,
        mail: mail?,
    })
}

fn paths(sections: &mut Sections<'_>) -> Option<Paths> {
    let mut path = |key| sections.path("Pathes", key);
    let [home, db, work] = [path("home"), path("db"), path("work")];
    let [authority_certificate, authority_key] = [path("ca_cert"), path("ca_key")];
    let [passphrase, account] = [path("db_encryption_key"), path("le_account")];
    let [zones, rndc_key, update_key] = [path("zone_file_root"), path("dns_key"), path("ddns_key_file")];
    let name_server = sections.text("Pathes", "tlsa_dns_master").map(|word| word.text);
    let include_name = sections.filled("Pathes", "zone_file_include_name").filter(|word| {
        !word.text.contains('/') || sections.fault(word, "is no name of a file in a zone's directory")
    });
    Some(Paths {
        home: home?,
        db: db?,
        work: work?,
        authority_certificate: authority_certificate?,
        authority_key: authority_key?,
        passphrase: passphrase?,
        account: account?,
        name_server,
        zones: zones?,
        rndc_key: rndc_key?,
        include_name: include_name?.text,
        update_key: update_key?,
    })
}

fn subject(sections: &mut Sections<'_>) -> Option<Subject> {
    let mut name = |key| sections.filled("X509atts.names", key);
    let [country, locality, organization, common_name] = [name("C"), name("L"), name("O"), name("CN")];
    let country = country.filter(|word| {
        let is_code = word.text.len() == 2 && word.text.bytes().all(|octet| octet.is_ascii_alphabetic());
        is_code || sections.fault(word, "is no country by its two letters")
    });
    Some(Subject {
        country: country?.text,
        locality: locality?.text,
        organization: organization?.text,
        common_name: common_name?.text,
    })
}

fn database(sections: &mut Sections<'_>) -> Option<Database> {
    const SECTION: &str = "DBAccount";
    let host = sections.filled(SECTION, "dbHost");
    let port = sections.number(SECTION, "dbPort", 1..=65_535, Some(5432));
    let user = sections.filled(SECTION, "dbUser");
    let name = sections.filled(SECTION, "dbDatabase");
    let search_path = sections.list(SECTION, "dbSearchPath");
    let needs_tls = sections.flag(SECTION, "dbSslRequired");
    let certificate = sections.text(SECTION, "dbCert");
    let key = sections.text(SECTION, "dbCertKey");
    if let (Some(certificate), None) = (&certificate, &key) {
        sections.fault(certificate, "has no key with it; write dbCertKey");
    }
    Some(Database {
        host: host?.text,
        port: u16::try_from(port?).ok()?,
        user: user?.text,
        name: name?.text,
        search_path: search_path?.into_iter().map(|word| word.text).collect(),
        needs_tls: needs_tls?,
        certificate: certificate.map(|word| word.text.into()),
        key: key.map(|word| word.text.into()),
    })
}

fn zone_update(sections: &mut Sections<'_>) -> Option<ZoneUpdate> {
    let word = sections.filled("Misc", "LE_ZONE_UPDATE_METHOD")?;
    match word.text.as_str() {
        "ddns" => Some(ZoneUpdate::Dynamic),
        "zone_file" => Some(ZoneUpdate::Included),
        _ => {
            sections.fault(&word, "is no way to change zones; write ddns or zone_file");
            None
        }
    }
}

/// The outer nothing: there is a fault.
fn mail(sections: &mut Sections<'_>) -> Option<Option<Mail>> {
    let relay = sections.text("Misc", "MAIL_RELAY");
    if relay.is_none() {
        for key in ["MAIL_SUBJECT", "MAIL_SENDER", "MAIL_RECIPIENT"] {
            sections.ignore("Misc", key);
        }
        return Some(None);
    }
    let subject = sections.text("Misc", "MAIL_SUBJECT");
    let sender = sections.text("Misc", "MAIL_SENDER");
    let recipients = sections.list("Misc", "MAIL_RECIPIENT");
    let Some(relay) = relay else { return Some(None) };
    let (Some(sender), Some(recipients)) = (sender, recipients) else {
        sections.fault(&relay, "relays nothing without MAIL_SENDER and MAIL_RECIPIENT");
        return None;
    };
    let (host, port) =
        relay.text.rsplit_once(':').map_or((relay.text.as_str(), "25"), |(host, port)| (host, port));
    if host.is_empty() || !port.parse::<u16>().is_ok_and(|port| port > 0) {
        sections.fault(&relay, "is no HOST and no HOST:PORT");
        return None;
    }
    Some(Some(Mail {
        relay: relay.text,
        subject: subject.map(|word| word.text),
        sender: sender.text,
        recipients: recipients.into_iter().map(|word| word.text).collect(),
    }))
}

/// Keys that did nothing in serverPKI either, or that only its tests read.
fn ignored(sections: &mut Sections<'_>) {
    for key in ["work_tlsa", "zone_tlsa_inc_mode", "zone_tlsa_inc_uid", "zone_tlsa_inc_gid"] {
        sections.ignore("Pathes", key);
    }
    sections.ignore("DBAccount", "dbDbaUser");
    sections.ignore("Misc", "SYSLOG_FACILITY");
    sections.ignore_all("X509atts.extensions");
}
