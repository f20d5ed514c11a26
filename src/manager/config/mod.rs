//! What the site has written down: `ssl-mgr.conf`, `ca-info.conf` and a file for each service, in the
//! format of ssl-mgr (`reference: ssl-mgr 7.8`), old spellings included.

mod acme;
mod authorities;
mod command;
mod inventory;
mod issuing;
mod key;
mod keys;
mod mail;
mod reader;
mod servers;
mod service;
mod signers;
mod site;
mod subject;
#[cfg(test)]
mod tests;
mod texts;
mod updates;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

use super::name::ServiceName;
use crate::fault::Fault;
use crate::pki::Algorithm;
pub use crate::pki::x509::{AlternativeName, Name as Subject};

pub use inventory::Inventory;
pub use issuing::Issuing;
pub use mail::{Mail, MailWay};
pub use subject::alternative_name;
pub use texts::{ServiceText, Text, Texts, read};

/// Everything that is configured, and what is odd about it.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    /// `ssl-mgr.conf`.
    pub site: Site,
    /// `ca-info.conf`: who signs, by the name that services use.
    pub authorities: BTreeMap<String, Authority>,
    /// Every service file that can be understood, active or not.
    pub services: BTreeMap<ServiceName, Service>,
    /// What is wrong with single services or tables; the others go on.
    pub faults: Vec<Fault>,
    /// What was understood, but hardly meant: a misspelt key, an old spelling.
    pub warnings: Vec<Fault>,
    /// Services that have a file with a fault, or whose signer has; they are not in `services`.
    pub refused: BTreeSet<ServiceName>,
    /// `ssl-mgr.conf` has a fault of its own, or `ca-info.conf` cannot be parsed: whatever were done
    /// could be meant for elsewhere.
    pub is_broken: bool,
}

/// Who signs a service's certificate, resolved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Signing<'a> {
    /// Its own key, with these options.
    Itself(CaOptions),
    /// The key of this service of the group `ca`, with these options of its.
    Own(&'a Service, CaOptions),
    /// Somebody to whom the request is taken; by its name in `ca-info.conf`.
    Manual(&'a str),
    /// A public CA, by its name in `ca-info.conf`; the first of those that [`Configuration::acme`] names.
    Acme(&'a str, &'a Acme),
}

impl Configuration {
    /// Resolves who signs a service's certificate; nothing for a service of another configuration.
    pub fn signing<'a>(&'a self, service: &'a Service) -> Option<Signing<'a>> {
        let Signer::Authority(name) = &service.signer else {
            return Some(Signing::Itself(service.authority.unwrap_or_default()));
        };
        let authority = self.authorities.get(name)?;
        Some(match &authority.kind {
            AuthorityKind::Own => {
                let signer = self.services.get(&ServiceName::new(super::name::CA, name).ok()?)?;
                Signing::Own(signer, signer.authority?)
            }
            AuthorityKind::Manual => Signing::Manual(name),
            AuthorityKind::Acme(acme) => Signing::Acme(name, acme),
        })
    }

    /// The public CAs that may sign a service's certificate, in order of preference; none where it is signed
    /// otherwise.
    pub fn acme<'a>(&'a self, service: &'a Service) -> Vec<(&'a str, &'a Acme)> {
        let Signer::Authority(first) = &service.signer else { return Vec::new() };
        let names = std::iter::once(first).chain(&service.other_signers);
        let known = names.filter_map(|name| match &self.authorities.get(name)?.kind {
            AuthorityKind::Acme(acme) => Some((name.as_str(), acme.as_ref())),
            _ => None,
        });
        known.collect()
    }
}

/// `ssl-mgr.conf`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Site {
    /// `prod_cert_dir`: the live copy that servers read. Here and in all paths: what is relative lies
    /// beneath the topdir.
    pub production: PathBuf,
    /// `logdir`.
    pub log_directory: PathBuf,
    /// `clean_keep`: how many old versions of a service are kept; at least 1.
    pub keep: usize,
    /// `min_roll_mins`: how old in minutes a `next` must be before it is rolled.
    pub roll_after_minutes: u64,
    /// `dns_check_delay`: seconds to wait before name servers are asked; none unless it is configured.
    pub dns_check_delay: u64,
    /// `dns_check_timeout`: seconds in which name servers have to show what was published.
    pub dns_check_timeout: u64,
    /// `dns_xtra_ns`: further resolvers that must see a change.
    pub extra_resolvers: Vec<String>,
    /// `post_copy_cmd`: after the copy to production, each program is run here with the host as its argument.
    pub after_copy: Vec<AfterCopy>,
    /// `[renew_info]` and its older spellings, in the file's order: lifetime in days, target in days left.
    pub renew_targets: Vec<(f64, f64)>,
    /// Likewise the largest shift in days to either side.
    pub renew_spreads: Vec<(f64, f64)>,
    /// `[[groups]]`, in their order.
    pub groups: Vec<Group>,
    /// `[[dns_primary]]`, by apex domain; `default` for the others.
    pub primaries: BTreeMap<String, Primary>,
    /// `[[dns_update]]`, in their order: zones that are changed by dynamic update.
    pub updates: Vec<Update>,
    /// `[dns]`.
    pub dns: Dns,
    /// `[smtp]`, `[imap]`, `[web]`, `[other]`, in that order where present.
    pub servers: Vec<Servers>,
    /// `verb`: say more.
    pub verbose: bool,
    /// `metrics_file`: where metrics for Prometheus are written at the end of each run.
    pub metrics: Option<PathBuf>,
    /// `ssh_options`: what is given to `ssh` before the host.
    pub ssh_options: Vec<String>,
    /// `[inventory]`.
    pub inventory: Inventory,
    /// `[keys] passphrase_file`: the keys of own authorities are kept under what is in it; nothing keeps them in
    /// clear.
    pub passphrase_file: Option<PathBuf>,
}

/// One of `post_copy_cmd`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AfterCopy {
    /// The host that it is about: its only argument.
    pub host: String,
    /// The program; never split, no shell.
    pub program: String,
}

/// One of `[[groups]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// `domain`.
    pub name: String,
    /// `active`: taken when nothing is named on the command line.
    pub active: bool,
    /// `services`, in their order; for `*` all that there are, sorted.
    pub services: Vec<ServiceName>,
}

/// The server from which a zone is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Primary {
    /// Host name or address.
    pub server: String,
    /// UDP and TCP port.
    pub port: u16,
}

/// One of `[[dns_update]]`: a zone that is changed by dynamic update (RFC 2136).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Update {
    /// `domain`: the zone, whose names below it count too; nothing (`default`) for any.
    pub domain: Option<String>,
    /// `server`: host name or address of the primary.
    pub server: String,
    /// `port`: TCP and UDP.
    pub port: u16,
    /// `key_file`: the key for TSIG (RFC 8945), as BIND writes it; nothing sends unsigned.
    pub key_file: Option<PathBuf>,
    /// `for`: which records it is for.
    pub purposes: BTreeSet<Purpose>,
}

/// What records of ours in a zone are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Challenges of ACME: TXT.
    Acme,
    /// DANE: TLSA.
    Tlsa,
}

/// `[dns]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Dns {
    /// `restart_cmd`: programs, each run as `PROGRAM --serial_bump APEX…`.
    pub restart: Vec<String>,
    /// `acme_dir`: where `acme-challenge.APEX` goes.
    pub challenge_directories: Vec<PathBuf>,
    /// `tlsa_dirs`: where `tlsa.APEX` goes.
    pub tlsa_directories: Vec<PathBuf>,
    /// `depends`.
    pub depends: BTreeSet<Change>,
}

/// Which sort of servers; the order is that in which they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// Mail transport.
    Smtp,
    /// Mailboxes.
    Imap,
    /// Web.
    Web,
    /// Anything else.
    Other,
}

/// What can have changed for all (`depends`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Any certificate.
    Cert,
    /// A TLSA file.
    Tlsa,
    /// A zone.
    Dns,
}

/// One of `[smtp]`, `[imap]`, `[web]`, `[other]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Servers {
    /// Which table.
    pub sort: Sort,
    /// `servers`: hosts that get the production copy and run `restart`.
    pub hosts: Vec<String>,
    /// `restart_cmd`: each split at white space into program and arguments.
    pub restart: Vec<Vec<String>>,
    /// `depends`.
    pub depends: BTreeSet<Change>,
    /// `svc_depends`: every pair; no group means any.
    pub services: Vec<(Option<String>, Vec<String>)>,
    /// `server_dir`: root of the tokens of http-01; `[web]` only.
    pub web_root: Option<PathBuf>,
    /// `skip_prod_copy`: the hosts share a file system with this one.
    pub skip_copy: bool,
    /// `roots`: jails and chroots on the hosts, beneath each of which the production copy is wanted; none for
    /// the host's own root.
    pub roots: Vec<PathBuf>,
    /// `owner`: user, and group where one is given, of what is delivered.
    pub owner: Option<(String, Option<String>)>,
    /// `key_mode`: permission bits of delivered keys.
    pub key_mode: Option<u32>,
    /// `probe`: what is asked for its certificate once a host has been told.
    pub probes: Vec<Probe>,
}

/// One of `probe`: a port that shows a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
pub struct Probe {
    /// TCP port.
    pub port: u16,
    /// How TLS begins there.
    pub protocol: crate::probe::protocol::Protocol,
}

/// A table of `ca-info.conf`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Authority {
    /// `ca_desc`.
    pub description: String,
    /// `ca_type`.
    pub kind: AuthorityKind,
}

/// Who an authority is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthorityKind {
    /// `self` or `local`: our own, the service of that name in the group `ca`.
    Own,
    /// `manual`: somebody takes the request there and brings back what comes.
    Manual,
    /// `acme`, `certbot`, `letsencrypt`: by ACME (RFC 8555).
    Acme(Box<Acme>),
}

/// An authority that is spoken to by ACME (RFC 8555).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acme {
    /// `ca_validation`.
    pub validation: Option<Validation>,
    /// `ca_preferred_chain`: the common name of whom the chain should lead to.
    pub preferred_chain: Option<String>,
    /// `ca_preferred_acme_profile`; nothing asks for none.
    pub profile: Option<String>,
    /// `ca_directory`: URL of its directory.
    pub directory: String,
    /// `ca_test_directory`: URL of the directory for tests.
    pub test_directory: Option<String>,
    /// `ca_trust`: certificates in PEM whom the directory's own is checked against, instead of the system's.
    pub trust: Option<PathBuf>,
    /// `ca_contact`: URLs, such as `mailto:hostmaster@example.com`.
    pub contact: Vec<String>,
    /// `ca_eab_kid` and `ca_eab_hmac_file`.
    pub binding: Option<Binding>,
    /// `ca_parallel_orders`: most orders at the same time.
    pub parallel_orders: usize,
    /// `ca_requests_per_second`: most requests in a second.
    pub requests_per_second: u32,
    /// `ca_http_listen`: where our own responder answers http-01, where no web server does.
    pub http_listen: SocketAddr,
    /// `ca_tls_listen`: where our own responder answers tls-alpn-01.
    pub tls_listen: SocketAddr,
}

/// An account that the authority keeps elsewhere, to which ours is bound (RFC 8555 section 7.3.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Binding {
    /// The key's identifier.
    pub key_id: String,
    /// The file that holds the key, in base64url.
    pub hmac_file: PathBuf,
}

/// How a public CA looks whether a name is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Validation {
    /// `http-01` (RFC 8555 section 8.3).
    Http,
    /// `dns-01` (RFC 8555 section 8.4).
    Dns,
    /// `tls-alpn-01` (RFC 8737).
    Alpn,
}

/// A service's file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Service {
    /// Where it stands, for messages.
    pub path: PathBuf,
    /// Group and service.
    pub name: ServiceName,
    /// `name`: for people.
    pub label: String,
    /// `signing_ca`; of several, the first.
    pub signer: Signer,
    /// The other public CAs of `signing_ca`, in order of preference.
    pub other_signers: Vec<String>,
    /// `[KeyOpts]`.
    pub algorithm: Algorithm,
    /// `[X509]`: `CN` and the other fields; empty ones are left out.
    pub subject: Subject,
    /// `sans`, the common name first where it was missing.
    pub alternative_names: Vec<AlternativeName>,
    /// `dane_tls`.
    pub dane: Vec<Dane>,
    /// `dane_tls_ttl` in seconds; nothing leaves the field out.
    pub dane_ttl: Option<u32>,
    /// `[CA]`: what it does as a certification authority.
    pub authority: Option<CaOptions>,
    /// `renew_expire_days`: days left at which it is renewed, whatever its lifetime.
    pub renew_target: Option<f64>,
    /// `renew_expire_days_spread`: days.
    pub renew_spread: Option<f64>,
}

/// Who signs a service's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signer {
    /// `self`, or nothing: its own key.
    Itself,
    /// A name of `ca-info.conf`.
    Authority(String),
}

/// One entry of `dane_tls` (RFC 6698).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dane {
    /// Port number.
    pub port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// Certificate usage, 0 to 3.
    pub usage: u8,
    /// Selector, 0 or 1.
    pub selector: u8,
    /// Matching type, 0 to 2.
    pub matching: u8,
    /// For which hosts.
    pub hosts: DaneHosts,
}

/// For which names a TLSA record is published, besides the apex domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DaneHosts {
    /// Every name of the SAN that is a host's: no addresses, no wildcards.
    Sans,
    /// The mail exchangers of the apex domain; port 25 always.
    Mx,
}

/// `[CA]`: what a certification authority of ours does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CaOptions {
    /// `sign_end_days`: lifetime in days of what it signs; a root's own too.
    pub days: u32,
    /// `digest`.
    pub digest: crate::pki::Digest,
}

impl Default for CaOptions {
    /// What a self-signed service without `[CA]` gets: a year, and ssl-mgr's digest.
    fn default() -> Self {
        Self { days: 365, digest: crate::pki::Digest::Sha384 }
    }
}

impl Site {
    /// The server from which a zone is asked, where one is configured.
    pub fn primary(&self, apex: &str) -> Option<&Primary> {
        self.primaries.get(apex).or_else(|| self.primaries.get("default"))
    }
}

impl Default for Site {
    fn default() -> Self {
        Self {
            production: PathBuf::from("/etc/ssl-mgr/prod-certs"),
            log_directory: PathBuf::from("/var/log/ssl-mgr"),
            keep: 10,
            roll_after_minutes: 90,
            dns_check_delay: 0,
            dns_check_timeout: 600,
            extra_resolvers: Vec::new(),
            after_copy: Vec::new(),
            renew_targets: Vec::new(),
            renew_spreads: Vec::new(),
            groups: Vec::new(),
            primaries: BTreeMap::new(),
            updates: Vec::new(),
            dns: Dns::default(),
            servers: Vec::new(),
            verbose: false,
            metrics: None,
            ssh_options: Vec::new(),
            inventory: Inventory::default(),
            passphrase_file: None,
        }
    }
}
