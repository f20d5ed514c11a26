//! What is asked of the manager: `tend`, `renew`, `roll`, `distribute`, `dns-refresh`, `clean`, `revoke`, `crl`.

use super::{Failure, operation};
use crate::manager::operate;
use crate::manager::run::World;
use crate::manager::settle::Extent;
use crate::manager::{clean, distribute, renew, revoke, roll, tend};
use crate::pki::serial::Serial;
use crate::pki::x509::crl::Reason;

/// Do everything that is due: for a timer
///
/// Puts right what an interrupted run left, makes `next` where a certificate is due, makes `next` into `curr` where it
/// has waited long enough, tries again what could not be done, and removes old versions (clean_keep). Where nothing is
/// due it asks nobody and tells nobody. reseed-manager.timer runs it every hour.
///
/// Where an inventory is kept, what is due in it is done, too: as by `schedule`.
#[derive(Debug, clap::Args)]
pub struct Tend {
    /// Say what would be done, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    /// Which services
    #[arg(value_name = "SELECTION")]
    selection: Vec<String>,
}

impl Tend {
    /// Nothing is done.
    pub fn is_dry(&self) -> bool {
        self.dry_run
    }

    pub fn request(&self) -> tend::Request {
        tend::Request { selection: self.selection.clone(), dry_run: self.dry_run }
    }
}

/// Make `next` where a certificate is due; in an inventory, successors of local certificates that end soon
///
/// In an inventory: of local certificates whose deployed instance ends within so many days and that have no successor
/// yet; disabled ones only when they are named. `schedule` renews those by public authorities.
///
/// In a tree:
/// A `next` that is complete and waits to be rolled means that this is done. Authorities are renewed only when
/// --renew-ca says so, or when they have no certificate yet: who trusts them has to be told.
#[derive(Debug, clap::Args)]
pub struct Renew {
    /// Renew what is named, due or not; authorities only with --renew-ca
    #[arg(short, long)]
    force: bool,
    /// Use the key of `curr` again
    #[arg(short, long)]
    reuse_key: bool,
    /// Only this step, for everything that is named; may be given more than once
    ///
    /// Key and request wait, with nothing leading to them, for the certificate to be made by another call.
    #[arg(long, value_name = "STEP")]
    only: Vec<renew::Part>,
    /// Have public authorities' directories for tests sign
    ///
    /// What comes of it lies apart from the rest, with accounts of its own, and is never served.
    #[arg(long)]
    staging: bool,
    /// Renew authorities too
    #[arg(long)]
    renew_ca: bool,
    /// Of the inventory: how many days before its end; else remind_days
    #[arg(long, value_name = "DAYS")]
    within: Option<u32>,
    #[command(flatten)]
    choice: operation::Choice,
    /// Say what would be done, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    /// Which services, or which certificates of the inventory
    #[arg(value_name = "SELECTION")]
    selection: Vec<String>,
}

impl Renew {
    /// Of the inventory, where that is meant.
    pub fn of_inventory(&self, world: &World<'_>) -> Result<Option<operation::Renewal>, Failure> {
        if !operation::is_meant(world, &self.selection)? {
            operation::refuse(self.choice.is_given() || self.within.is_some())?;
            return Ok(None);
        }
        operation::refuse_of_tree(&[
            ("--force", self.force),
            ("--reuse-key", self.reuse_key),
            ("--only", !self.only.is_empty()),
            ("--staging", self.staging),
            ("--renew-ca", self.renew_ca),
        ])?;
        let certificates = self.choice.with(&operation::names(&self.selection)?);
        let (within, dry_run, json) = (self.within, self.dry_run, self.json);
        Ok(Some(operation::Renewal { certificates, within, dry_run, json }))
    }

    pub fn request(&self) -> renew::Request {
        renew::Request {
            selection: self.selection.clone(),
            only: self.only.iter().copied().collect(),
            force: self.force,
            with_authorities: self.renew_ca,
            reuse_key: self.reuse_key,
            staging: self.staging,
            dry_run: self.dry_run,
        }
    }
}

/// Make `next` into `curr` where it is old enough
///
/// Old enough is what min_roll_mins says, and the TTL of the old TLSA records since every name server of the zone
/// shows the new ones; where there is no `[[dns_primary]]` to ask, twice the TTL since they are in the zone. Then the
/// production copy is exchanged, who depends on what has changed is told, and the old TLSA records go last.
#[derive(Debug, clap::Args)]
pub struct Roll {
    /// Roll at any age
    #[arg(short, long)]
    force: bool,
    /// The least age, instead of min_roll_mins
    #[arg(long, value_name = "MINUTES")]
    min_age: Option<u64>,
    /// Say what would be done, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    /// Which services
    #[arg(value_name = "SELECTION")]
    selection: Vec<String>,
}

impl Roll {
    pub fn request(&self) -> roll::Request {
        roll::Request {
            selection: self.selection.clone(),
            force: self.force,
            least_minutes: self.min_age,
            dry_run: self.dry_run,
        }
    }
}

/// Bring certificates to where they are served, and do what is still to be done
///
/// In an inventory: what was issued, and what is deployed where a host misses it. Hosts are served side by side. Once
/// it lies on every host, its TLSA records are published and it counts as deployed; a host that fails keeps it from
/// that, and is told.
#[derive(Debug, clap::Args)]
pub struct Distribute {
    /// Tell nobody; what is to be told is remembered
    #[arg(long)]
    no_restart: bool,
    /// Tell everybody who could depend on any of these
    #[arg(long, conflicts_with = "no_restart")]
    restart_all: bool,
    /// Of the inventory: only local ones whose deployed instance ends within so many days
    #[arg(long, value_name = "DAYS")]
    within: Option<u32>,
    /// Of the inventory: leave TLSA records as they are
    #[arg(long)]
    no_tlsa: bool,
    #[command(flatten)]
    choice: operation::Choice,
    #[command(flatten)]
    hosts: operation::HostChoice,
    /// Say what would be done, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    /// Which services, or which certificates of the inventory
    #[arg(value_name = "SELECTION")]
    selection: Vec<String>,
}

impl Distribute {
    /// Of the inventory, where that is meant.
    pub fn of_inventory(&self, world: &World<'_>) -> Result<Option<operation::Distribution>, Failure> {
        if !operation::is_meant(world, &self.selection)? {
            let is_given = self.choice.is_given() || self.hosts.is_given();
            operation::refuse(is_given || self.within.is_some() || self.no_tlsa)?;
            return Ok(None);
        }
        operation::refuse_of_tree(&[("--no-restart", self.no_restart), ("--restart-all", self.restart_all)])?;
        Ok(Some(operation::Distribution {
            certificates: self.choice.with(&operation::names(&self.selection)?),
            hosts: self.hosts.hosts(),
            within: self.within,
            no_tlsa: self.no_tlsa,
            dry_run: self.dry_run,
            json: self.json,
        }))
    }

    pub fn request(&self) -> distribute::Request {
        distribute::Request {
            selection: self.selection.clone(),
            extent: Extent { acts: !self.no_restart, restarts_all: self.restart_all },
            refreshes_zones: false,
            dry_run: self.dry_run,
        }
    }
}

/// Write the TLSA records and have the zones read again
#[derive(Debug, clap::Args)]
pub struct DnsRefresh {
    /// Which services; their groups' zones
    #[arg(value_name = "SELECTION")]
    selection: Vec<String>,
}

impl DnsRefresh {
    pub fn request(&self) -> distribute::Request {
        distribute::Request {
            selection: self.selection.clone(),
            extent: Extent { acts: true, restarts_all: false },
            refreshes_zones: true,
            dry_run: false,
        }
    }
}

/// Remove old versions
#[derive(Debug, clap::Args)]
pub struct Clean {
    /// How many are kept besides those that are in use, instead of clean_keep
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// Every service that has a directory
    #[arg(long)]
    all: bool,
    /// Say what would be removed, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Which services
    #[arg(value_name = "SELECTION")]
    selection: Vec<String>,
}

impl Clean {
    pub fn request(&self) -> clean::Request {
        clean::Request {
            selection: self.selection.clone(),
            all: self.all,
            keep: self.keep,
            dry_run: self.dry_run,
        }
    }
}

/// Revoke a certificate
///
/// Of an own authority, its list of revoked certificates (crl.pem, crl.der) is written beside it and into production.
/// A public authority is asked to, by the account that ordered it, else with the certificate's own key.
///
/// In an inventory: what is deployed of the certificates that are named, and instances by their numbers. Hosts serve
/// them until `schedule` has brought a successor.
#[derive(Debug, clap::Args)]
pub struct Revoke {
    /// Whose: a service of the tree, or certificates of the inventory
    #[arg(value_name = "GROUP/SERVICE|CERTIFICATE", required_unless_present = "instance")]
    names: Vec<String>,
    /// Which of the service's certificates, in hexadecimal digits; else the one that is served
    #[arg(long, value_name = "HEX")]
    serial: Option<String>,
    /// Of the inventory: an instance by its number; may be given more than once
    #[arg(long, value_name = "ID", conflicts_with = "serial")]
    instance: Vec<i64>,
    /// Why, by the names of RFC 5280 section 5.3.1: keyCompromise, superseded, …
    #[arg(long, default_value = "unspecified")]
    reason: String,
    /// Of the inventory: say what would be done, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

impl Revoke {
    /// Of the inventory, where that is meant.
    pub fn of_inventory(&self, world: &World<'_>) -> Result<Option<operate::revoke::Request>, Failure> {
        if !operation::is_meant(world, &self.names)? {
            operation::refuse(!self.instance.is_empty() || self.dry_run)?;
            return Ok(None);
        }
        operation::refuse_of_tree(&[("--serial", self.serial.is_some())])?;
        Ok(Some(operate::revoke::Request {
            names: operation::names(&self.names)?,
            instances: self.instance.clone(),
            reason: self.reason.parse::<Reason>().map_err(Failure::Usage)?,
            dry_run: self.dry_run,
        }))
    }

    pub fn request(&self) -> Result<revoke::Request, Failure> {
        let serial = self.serial.as_deref().map(str::parse::<Serial>).transpose();
        let [service] = self.names.as_slice() else {
            return Err(Failure::Usage("one service is revoked at a time".to_owned()));
        };
        Ok(revoke::Request {
            service: service.clone(),
            serial: serial.map_err(Failure::Usage)?,
            reason: self.reason.parse::<Reason>().map_err(Failure::Usage)?,
        })
    }
}

/// Write the lists of revoked certificates anew
#[derive(Debug, clap::Args)]
pub struct Crl {
    /// Of which authorities; else of all
    #[arg(value_name = "CA")]
    pub authorities: Vec<String>,
}
