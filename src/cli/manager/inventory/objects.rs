//! `inventory add` and `inventory remove`: objects without SQL.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::super::Failure;
use crate::manager::inventory::model::{
    About, Algorithms, Certificate, DistHost, FileType, Kind, Mode, Name, Object, Place, Reference, Refusal,
    Service, ServiceKey, SubjectType, Target, TlsaPrefix,
};

/// Add an object
#[derive(Debug, clap::Args)]
pub struct Add {
    #[command(subcommand)]
    what: New,
    /// A remark, for people
    #[arg(long, global = true, value_name = "TEXT")]
    remarks: Option<String>,
    /// Say whether it could be done, and change nothing
    #[arg(short = 'n', long, global = true)]
    pub dry_run: bool,
}

#[derive(Debug, clap::Subcommand)]
enum New {
    /// A host to which certificates are brought
    Host {
        #[arg(value_name = "FQDN")]
        name: Name,
        /// The directory beneath which its jails lie
        #[arg(long, value_name = "DIR")]
        jail_root: Option<String>,
    },
    /// A jail on a host
    Jail {
        #[arg(value_name = "HOST")]
        host: Name,
        #[arg(value_name = "JAIL")]
        name: Name,
    },
    /// A place: which files, where, and who may read them
    Place(Box<NewPlace>),
    /// A service, for which TLSA records are published
    Service {
        #[arg(value_name = "NAME/PORT")]
        key: ServiceKey,
        /// How its records begin; usually "_PORT._tcp.{}. 3600 IN TLSA 3 0 1"
        #[arg(long, value_name = "PREFIX")]
        tlsa: Option<TlsaPrefix>,
    },
    /// A certificate
    Certificate(Box<NewCertificate>),
    /// A further name of a certificate
    Name {
        #[arg(value_name = "CERTIFICATE")]
        certificate: Name,
        #[arg(value_name = "NAME")]
        name: Name,
    },
    /// TLSA records of a service, for a certificate
    Tlsa {
        #[arg(value_name = "CERTIFICATE")]
        certificate: Name,
        #[arg(value_name = "SERVICE/PORT")]
        service: ServiceKey,
    },
    /// Where a certificate goes
    Target(Goes),
}

#[derive(Debug, clap::Args)]
struct NewPlace {
    #[arg(value_name = "PLACE")]
    name: Name,
    /// "cert only", "key only", "separate", "combine key", "combine cacert" or "combine both"
    #[arg(long = "type", value_name = "TYPE", default_value = "separate")]
    file_type: FileType,
    /// The directory, beneath the jail or the host's root; {} stands for the certificate's name
    #[arg(long, value_name = "DIR")]
    cert_path: String,
    /// The directory of keys, where it is another
    #[arg(long, value_name = "DIR")]
    key_path: Option<String>,
    /// The owner of keys
    #[arg(long, value_name = "UID")]
    user: Option<u32>,
    /// The group of keys
    #[arg(long, value_name = "GID")]
    group: Option<u32>,
    /// The mode of keys, in octal digits; else 0400
    #[arg(long, value_name = "MODE")]
    mode: Option<Mode>,
    /// Give owner and group to certificates, too
    #[arg(long)]
    chown_both: bool,
    /// Make the links postgresql.key and postgresql.crt
    #[arg(long)]
    pglink: bool,
    /// What is run after a change; {} stands for the jail's name
    #[arg(long, value_name = "COMMAND")]
    reload: Option<String>,
}

#[derive(Debug, clap::Args)]
struct NewCertificate {
    #[arg(value_name = "NAME")]
    name: Name,
    /// What it is for: "server", "client" or "CA"
    #[arg(long, default_value = "server", value_name = "TYPE")]
    subject: SubjectType,
    /// Who signs: "LE" for a public authority, "local" for an own one
    #[arg(long, default_value = "LE", value_name = "KIND")]
    kind: Kind,
    /// Which authority of ca-info.conf, or which own one; else the usual one
    #[arg(long, value_name = "NAME")]
    authority: Option<String>,
    /// "rsa", "ec" or "both"
    #[arg(long, default_value = "rsa", value_name = "KEYS")]
    algorithms: Algorithms,
    /// Ask for OCSP stapling (RFC 7633)
    #[arg(long)]
    must_staple: bool,
    /// Issue and deploy nothing for now
    #[arg(long)]
    disabled: bool,
    /// A further name; may be given several times
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<Name>,
    /// A service for which TLSA records are published; may be given several times
    #[arg(long = "tlsa", value_name = "SERVICE/PORT")]
    services: Vec<ServiceKey>,
    /// The host where it goes; more are added by `add target`
    #[arg(long, value_name = "HOST")]
    host: Option<Name>,
    /// The jail on that host
    #[arg(long, value_name = "JAIL", requires = "host")]
    jail: Option<Name>,
    /// The place there
    #[arg(long, value_name = "PLACE", requires = "host")]
    place: Option<Name>,
}

#[derive(Debug, clap::Args)]
struct Goes {
    #[arg(value_name = "CERTIFICATE")]
    certificate: Name,
    #[arg(value_name = "HOST")]
    host: Name,
    /// The jail on that host
    #[arg(long, value_name = "JAIL")]
    jail: Option<Name>,
    /// The place there; nothing is written before there is one
    #[arg(long, value_name = "PLACE")]
    place: Option<Name>,
}

impl Add {
    /// The object that is described.
    pub fn object(&self, now: OffsetDateTime) -> Result<Object, Failure> {
        let about = About::new(now, self.remarks.clone());
        Ok(match &self.what {
            New::Host { name, jail_root } => {
                let host = DistHost { jail_root: jail_root.clone(), about, jails: BTreeMap::new() };
                Object::Host(name.clone(), host)
            }
            New::Jail { host, name } => Object::Jail { host: host.clone(), name: name.clone(), about },
            New::Place(it) => {
                let place = Place {
                    file_type: it.file_type,
                    cert_path: it.cert_path.clone(),
                    key_path: it.key_path.clone(),
                    user: it.user,
                    group: it.group,
                    mode: it.mode,
                    chown_both: it.chown_both,
                    pglink: it.pglink,
                    reload: it.reload.clone(),
                    about,
                };
                place.check(&it.name).map_err(refused)?;
                Object::Place(it.name.clone(), place)
            }
            New::Service { key, tlsa } => {
                let usual = || TlsaPrefix::usual(key.port);
                let tlsa = tlsa.clone().map_or_else(usual, Ok).map_err(refused)?;
                Object::Service(key.clone(), Service { tlsa, about })
            }
            New::Certificate(it) => Object::Certificate(it.name.clone(), Box::new(it.certificate(&about))),
            New::Name { certificate, name } => {
                Object::AltName { certificate: certificate.clone(), name: name.clone(), about }
            }
            New::Tlsa { certificate, service } => {
                Object::Tlsa { certificate: certificate.clone(), service: service.clone() }
            }
            New::Target(goes) => {
                Object::Target { certificate: goes.certificate.clone(), target: goes.target(about) }
            }
        })
    }
}

fn refused(refusal: Refusal) -> Failure {
    Failure::Inventory(refusal.into())
}

impl NewCertificate {
    fn certificate(&self, about: &About) -> Certificate {
        let plain = About { remarks: None, ..about.clone() };
        let target = self.host.as_ref().map(|host| Target {
            host: host.clone(),
            jail: self.jail.clone(),
            place: self.place.clone(),
            about: plain.clone(),
        });
        Certificate {
            subject: self.subject,
            kind: self.kind,
            authority: self.authority.clone(),
            disabled: self.disabled,
            algorithms: self.algorithms,
            must_staple: self.must_staple,
            authorized_until: None,
            reminded: None,
            about: about.clone(),
            main: plain.clone(),
            names: self.names.iter().map(|name| (name.clone(), plain.clone())).collect(),
            services: self.services.iter().cloned().collect(),
            targets: target.into_iter().collect(),
        }
    }
}

impl Goes {
    fn target(&self, about: About) -> Target {
        Target { host: self.host.clone(), jail: self.jail.clone(), place: self.place.clone(), about }
    }
}

/// Remove an object that nothing else uses
///
/// A certificate goes with its names, targets and instances, keys included.
#[derive(Debug, clap::Args)]
pub struct Remove {
    #[command(subcommand)]
    what: Old,
    /// Say whether it could be done, and change nothing
    #[arg(short = 'n', long, global = true)]
    pub dry_run: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Old {
    /// A host, with its jails
    Host {
        #[arg(value_name = "FQDN")]
        name: Name,
    },
    /// A jail
    Jail {
        #[arg(value_name = "HOST")]
        host: Name,
        #[arg(value_name = "JAIL")]
        name: Name,
    },
    /// A place
    Place {
        #[arg(value_name = "PLACE")]
        name: Name,
    },
    /// A service
    Service {
        #[arg(value_name = "NAME/PORT")]
        key: ServiceKey,
    },
    /// A certificate, with its names, targets and instances, keys included
    Certificate {
        #[arg(value_name = "NAME")]
        name: Name,
    },
    /// A further name of a certificate
    Name {
        #[arg(value_name = "NAME")]
        name: Name,
    },
    /// TLSA records of a service, for a certificate
    Tlsa {
        #[arg(value_name = "CERTIFICATE")]
        certificate: Name,
        #[arg(value_name = "SERVICE/PORT")]
        service: ServiceKey,
    },
    /// Where a certificate goes, exactly as it was added
    Target(Goes),
}

impl Remove {
    /// The object that is named.
    pub fn reference(&self) -> Result<Reference, Failure> {
        Ok(match &self.what {
            Old::Host { name } => Reference::Host(name.clone()),
            Old::Jail { host, name } => Reference::Jail { host: host.clone(), name: name.clone() },
            Old::Place { name } => Reference::Place(name.clone()),
            Old::Service { key } => Reference::Service(key.clone()),
            Old::Certificate { name } => Reference::Certificate(name.clone()),
            Old::Name { name } => Reference::AltName(name.clone()),
            Old::Tlsa { certificate, service } => {
                Reference::Tlsa { certificate: certificate.clone(), service: service.clone() }
            }
            Old::Target(goes) => Reference::Target {
                certificate: goes.certificate.clone(),
                target: goes.target(About::default()),
            },
        })
    }
}
