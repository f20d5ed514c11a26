//! What serverPKI's configuration means here: the texts that a site would have written for us, read as those are.
//!
//! So whatever else can be configured keeps its usual value, and whoever changes over for good can have the texts.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Configuration, Database, ZoneUpdate, read};
use crate::fault::Fault;
use crate::manager::config::{self, Text, Texts};

/// How its public authority is called here.
pub const PUBLIC: &str = "le";

/// A file of serverPKI that was read.
#[derive(Debug, Clone)]
pub struct Taken {
    /// What it means here.
    pub configuration: config::Configuration,
    /// Where our own state lies: in its directory of keys and accounts.
    pub top: PathBuf,
    /// Where instances are exported to.
    pub work: PathBuf,
    /// The file of its account with the public authority, which is taken over where there is none of ours.
    pub account: PathBuf,
    /// What is not as it was there, for people.
    pub notes: Vec<String>,
}

/// Reads a file of serverPKI, and says in our words what it means.
///
/// # Errors
/// Every fault of it. Nothing is done by a half of it.
pub fn take(path: &Path, text: &str) -> Result<Taken, Vec<Fault>> {
    let reading = read(path, text);
    let Some(theirs) = reading.configuration.filter(|_| reading.faults.is_empty()) else {
        return Err(reading.faults);
    };
    let whole = |message: String| vec![Fault::whole(path, message)];
    let (site, authorities) = texts(&theirs).map_err(|error| whole(error.to_string()))?;
    let named = |text: String| Some(Text { path: path.to_owned(), text });
    let texts = Texts {
        topdir: theirs.paths.db.clone(),
        site: named(site),
        authorities: named(authorities),
        services: Vec::new(),
    };
    let mut configuration = config::read(&texts);
    // Their places are those of a text that nobody has written.
    let message = |fault: &Fault| Fault::whole(path, fault.message.clone());
    if !configuration.faults.is_empty() {
        return Err(configuration.faults.iter().map(message).collect());
    }
    configuration.warnings = reading.warnings;
    Ok(Taken {
        configuration,
        top: theirs.paths.db.clone(),
        work: theirs.paths.work.clone(),
        account: theirs.paths.account.clone(),
        notes: notes(&theirs),
    })
}

/// The same as the text of `ssl-mgr.conf` and that of `ca-info.conf`.
///
/// # Errors
/// When a value cannot be written as TOML.
pub fn texts(theirs: &Configuration) -> Result<(String, String), toml::ser::Error> {
    let mail = theirs.mail.as_ref();
    let subject = &theirs.subject;
    let ways = (theirs.zone_update == ZoneUpdate::Dynamic).then(|| Update {
        domain: "default",
        server: name_server(theirs),
        key_file: &theirs.paths.update_key,
    });
    let site = Site {
        inventory: Inventory {
            postgres: connection(&theirs.database),
            prepublish_days: theirs.prepublish_days,
            remind_days: theirs.remind_days,
            ca_name: &theirs.own_authority,
            ca_key: format!("rsa:{}", theirs.authority_bits),
            ca_days: theirs.authority_days,
            leaf_days: theirs.lifetime_days,
            leaf_rsa_bits: theirs.rsa_bits,
            leaf_curve: "p384",
            public: PUBLIC,
            ssh_user: &theirs.ssh_user,
            mail_relay: mail.map(|mail| mail.relay.as_str()),
            mail_from: mail.map(|mail| mail.sender.as_str()),
            mail_to: mail.map(|mail| mail.recipients.as_slice()),
            mail_subject: mail.and_then(|mail| mail.subject.as_deref()),
            ca_subject: Subject {
                country: &subject.country,
                locality: &subject.locality,
                organization: &subject.organization,
                common_name: &subject.common_name,
            },
        },
        keys: Keys { passphrase_file: &theirs.paths.passphrase },
        dns_primary: [Primary { domain: "default", server: name_server(theirs) }],
        dns_update: ways.into_iter().collect(),
    };
    let authority = Authority {
        ca_desc: theirs.public_authority.as_str(),
        ca_type: "acme",
        ca_directory: &theirs.acme_directory,
        ca_validation: "dns-01",
        ca_preferred_acme_profile: "",
        ca_contact: theirs.acme_contact.iter().map(|address| format!("mailto:{address}")).collect(),
    };
    let authorities = std::collections::BTreeMap::from([(PUBLIC, authority)]);
    Ok((toml::to_string(&site)?, toml::to_string(&authorities)?))
}

/// The server that is asked and changed: where serverPKI runs, unless another is named.
fn name_server(theirs: &Configuration) -> &str {
    theirs.paths.name_server.as_deref().unwrap_or("127.0.0.1")
}

/// Parameters of libpq. Passwords come from where libpq has them.
fn connection(theirs: &Database) -> String {
    let tls = if theirs.needs_tls { "require" } else { "prefer" };
    let shown = |path: &PathBuf| path.display().to_string();
    let all = [
        ("host", Some(theirs.host.clone())),
        ("port", Some(theirs.port.to_string())),
        ("user", Some(theirs.user.clone())),
        ("dbname", Some(theirs.name.clone())),
        ("sslmode", Some(tls.to_owned())),
        ("sslcert", theirs.certificate.as_ref().map(shown)),
        ("sslkey", theirs.key.as_ref().map(shown)),
    ];
    let quoted = |value: &str| format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"));
    let given = all.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", quoted(&value?))));
    given.collect::<Vec<_>>().join(" ")
}

/// What is not as it was.
fn notes(theirs: &Configuration) -> Vec<String> {
    let mut notes = Vec::new();
    if theirs.zone_update == ZoneUpdate::Included {
        notes.push(
            "LE_ZONE_UPDATE_METHOD = zone_file: records come into zones by dynamic update, or by files for which \
             ssl-mgr.conf has [dns] acme_dir and tlsa_dirs; write a configuration of reseed's own for the latter"
                .to_owned(),
        );
    }
    let odd =
        theirs.database.search_path.iter().find(|name| !["pki", "dd", "public"].contains(&name.as_str()));
    if let Some(odd) = odd {
        notes.push(format!(
            "dbSearchPath names {}: the tables are in the schema reseed, and serverPKI's are looked for in pki",
            odd.escape_debug()
        ));
    }
    notes
}

#[derive(Serialize)]
struct Site<'a> {
    inventory: Inventory<'a>,
    keys: Keys<'a>,
    dns_primary: [Primary<'a>; 1],
    dns_update: Vec<Update<'a>>,
}

#[derive(Serialize)]
struct Inventory<'a> {
    postgres: String,
    prepublish_days: u32,
    remind_days: u32,
    ca_name: &'a str,
    ca_key: String,
    ca_days: u32,
    leaf_days: u32,
    leaf_rsa_bits: u16,
    leaf_curve: &'a str,
    public: &'a str,
    ssh_user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mail_relay: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mail_from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mail_to: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mail_subject: Option<&'a str>,
    ca_subject: Subject<'a>,
}

#[derive(Serialize)]
struct Subject<'a> {
    #[serde(rename = "C")]
    country: &'a str,
    #[serde(rename = "L")]
    locality: &'a str,
    #[serde(rename = "O")]
    organization: &'a str,
    #[serde(rename = "CN")]
    common_name: &'a str,
}

#[derive(Serialize)]
struct Keys<'a> {
    passphrase_file: &'a Path,
}

#[derive(Serialize)]
struct Primary<'a> {
    domain: &'a str,
    server: &'a str,
}

#[derive(Serialize)]
struct Update<'a> {
    domain: &'a str,
    server: &'a str,
    key_file: &'a Path,
}

#[derive(Serialize)]
struct Authority<'a> {
    ca_desc: &'a str,
    ca_type: &'a str,
    ca_directory: &'a str,
    ca_validation: &'a str,
    /// None is asked for, as before.
    ca_preferred_acme_profile: &'a str,
    ca_contact: Vec<String>,
}
