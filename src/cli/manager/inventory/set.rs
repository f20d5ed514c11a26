//! `inventory set`, `inventory enable` and `inventory disable`: what is changed of objects, without SQL.

use time::OffsetDateTime;

use super::super::Failure;
use crate::manager::inventory::model::{
    Algorithms, Alteration, CertificateParts, FileType, HostParts, Kind, Mode, Name, Part, PlaceParts,
    ServiceKey, ServiceParts, TlsaPrefix,
};
use crate::manager::inventory::store::Change;

/// Change an object that is there
///
/// What is not named stays. --unset takes away what needs not be there. Everything that the rules forbid is refused,
/// and nothing is changed then: also where two places would write one file by it.
#[derive(Debug, clap::Args)]
pub struct Set {
    #[command(subcommand)]
    what: Old,
    /// A remark, for people; an empty one takes the old one away
    #[arg(long, global = true, value_name = "TEXT")]
    remarks: Option<String>,
    /// Say whether it could be done, and change nothing
    #[arg(short = 'n', long, global = true)]
    pub dry_run: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Old {
    /// A certificate: what its future instances are like
    Certificate(OldCertificate),
    /// A host
    Host {
        #[arg(value_name = "FQDN")]
        name: Name,
        /// The directory beneath which its jails lie
        #[arg(long, value_name = "DIR")]
        jail_root: Option<String>,
        /// What is taken away
        #[arg(long, value_name = "WHAT", value_enum)]
        unset: Vec<OfHost>,
    },
    /// A place: which files, where, and who may read them
    Place(Box<OldPlace>),
    /// A service, for which TLSA records are published
    Service {
        #[arg(value_name = "NAME/PORT")]
        key: ServiceKey,
        /// How its records begin
        #[arg(long, value_name = "PREFIX")]
        tlsa: Option<TlsaPrefix>,
    },
}

#[derive(Debug, clap::Args)]
struct OldCertificate {
    #[arg(value_name = "NAME")]
    name: Name,
    /// Who signs: "LE" for a public authority, "local" for an own one
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
    /// Which authority of ca-info.conf, or which own one
    #[arg(long, value_name = "NAME")]
    authority: Option<String>,
    /// "rsa", "ec" or "both"
    #[arg(long, value_name = "KEYS")]
    algorithms: Option<Algorithms>,
    /// Ask for OCSP stapling (RFC 7633), or no longer
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    must_staple: Option<bool>,
    /// What is taken away: by the usual authority, again
    #[arg(long, value_name = "WHAT", value_enum)]
    unset: Vec<OfCertificate>,
}

#[derive(Debug, clap::Args)]
struct OldPlace {
    #[arg(value_name = "PLACE")]
    name: Name,
    /// "cert only", "key only", "separate", "combine key", "combine cacert" or "combine both"
    #[arg(long = "type", value_name = "TYPE")]
    file_type: Option<FileType>,
    /// The directory, beneath the jail or the host's root; {} stands for the certificate's name
    #[arg(long, value_name = "DIR")]
    cert_path: Option<String>,
    /// The directory of keys, where it is another
    #[arg(long, value_name = "DIR")]
    key_path: Option<String>,
    /// The owner of keys
    #[arg(long, value_name = "UID")]
    user: Option<u32>,
    /// The group of keys
    #[arg(long, value_name = "GID")]
    group: Option<u32>,
    /// The mode of keys, in octal digits
    #[arg(long, value_name = "MODE")]
    mode: Option<Mode>,
    /// Give owner and group to certificates, too, or no longer
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    chown_both: Option<bool>,
    /// Make the links postgresql.key and postgresql.crt, or no longer
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pglink: Option<bool>,
    /// What is run after a change; {} stands for the jail's name
    #[arg(long, value_name = "COMMAND")]
    reload: Option<String>,
    /// What is taken away
    #[arg(long, value_name = "WHAT", value_enum)]
    unset: Vec<OfPlace>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OfHost {
    JailRoot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OfCertificate {
    Authority,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OfPlace {
    KeyPath,
    User,
    Group,
    Mode,
    Reload,
}

/// Issue and deploy certificates again, from the next schedule on
#[derive(Debug, clap::Args)]
pub struct Enable {
    #[arg(value_name = "CERTIFICATE", required = true)]
    names: Vec<Name>,
    /// Say whether it could be done, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// Issue and deploy nothing for certificates
///
/// What is served stays served, and whoever issues local certificates is still reminded of their end.
#[derive(Debug, clap::Args)]
pub struct Disable {
    #[arg(value_name = "CERTIFICATE", required = true)]
    names: Vec<Name>,
    /// Say whether it could be done, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

impl Enable {
    /// What is changed.
    pub fn changes(&self, now: OffsetDateTime) -> Vec<Change> {
        switched(&self.names, false, now)
    }
}

impl Disable {
    /// What is changed.
    pub fn changes(&self, now: OffsetDateTime) -> Vec<Change> {
        switched(&self.names, true, now)
    }
}

fn switched(names: &[Name], disabled: bool, now: OffsetDateTime) -> Vec<Change> {
    let parts = CertificateParts { disabled: Some(disabled), ..CertificateParts::default() };
    let change = |name: &Name| Change::Alter(Alteration::Certificate(name.clone(), parts.clone()), now);
    names.iter().map(change).collect()
}

impl Set {
    /// What is changed.
    pub fn change(&self, now: OffsetDateTime) -> Result<Change, Failure> {
        let remarks = self.remarks.clone().map(|text| (!text.is_empty()).then_some(text));
        let alteration = match &self.what {
            Old::Certificate(it) => {
                let parts = CertificateParts {
                    disabled: None,
                    kind: it.kind,
                    authority: part(it.authority.as_ref(), it.unset.contains(&OfCertificate::Authority)),
                    algorithms: it.algorithms,
                    must_staple: it.must_staple,
                    remarks,
                };
                told(parts != CertificateParts::default())?;
                Alteration::Certificate(it.name.clone(), parts)
            }
            Old::Host { name, jail_root, unset } => {
                let jail_root = part(jail_root.as_ref(), unset.contains(&OfHost::JailRoot));
                let parts = HostParts { jail_root, remarks };
                told(parts != HostParts::default())?;
                Alteration::Host(name.clone(), parts)
            }
            Old::Place(it) => {
                let parts = it.parts(remarks);
                told(parts != PlaceParts::default())?;
                Alteration::Place(it.name.clone(), Box::new(parts))
            }
            Old::Service { key, tlsa } => {
                let parts = ServiceParts { tlsa: tlsa.clone(), remarks };
                told(parts != ServiceParts::default())?;
                Alteration::Service(key.clone(), parts)
            }
        };
        Ok(Change::Alter(alteration, now))
    }
}

impl OldPlace {
    fn parts(&self, remarks: Part<String>) -> PlaceParts {
        let gone = |what| self.unset.contains(&what);
        PlaceParts {
            file_type: self.file_type,
            cert_path: self.cert_path.clone(),
            key_path: part(self.key_path.as_ref(), gone(OfPlace::KeyPath)),
            user: part(self.user.as_ref(), gone(OfPlace::User)),
            group: part(self.group.as_ref(), gone(OfPlace::Group)),
            mode: part(self.mode.as_ref(), gone(OfPlace::Mode)),
            chown_both: self.chown_both,
            pglink: self.pglink,
            reload: part(self.reload.as_ref(), gone(OfPlace::Reload)),
            remarks,
        }
    }
}

/// What is given wins over what is taken away.
fn part<T: Clone>(given: Option<&T>, unset: bool) -> Part<T> {
    match (given, unset) {
        (Some(given), _) => Some(Some(given.clone())),
        (None, true) => Some(None),
        (None, false) => None,
    }
}

fn told(is_something: bool) -> Result<(), Failure> {
    if is_something { Ok(()) } else { Err(Failure::Usage("nothing is to be changed; name what is".into())) }
}
