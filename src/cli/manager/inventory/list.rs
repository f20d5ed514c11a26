//! `inventory list` and `inventory show`.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::super::{Failure, Status, text};
use crate::manager::inventory::model::{Certificate, Instance, Name, Objects, Refusal, Rule};
use crate::manager::inventory::schedule::minute;
use crate::manager::inventory::store::Inventory;

/// List objects, one row each
#[derive(Debug, clap::Args)]
pub struct List {
    /// What; certificates and instances where nothing is said
    #[arg(value_enum, value_name = "WHAT")]
    what: Option<What>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    Certificates,
    Instances,
    Hosts,
    Places,
    Services,
}

/// Show a certificate with everything about it; never a key
#[derive(Debug, clap::Args)]
pub struct Show {
    #[arg(value_name = "CERTIFICATE")]
    name: Name,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl List {
    pub fn run(&self, inventory: &mut dyn Inventory) -> Result<Status, Failure> {
        let wants = |what| self.what.is_none_or(|asked| asked == what);
        let wants_instances = wants(What::Instances);
        let objects =
            if self.what == Some(What::Instances) { Objects::default() } else { inventory.objects()? };
        let instances = if wants_instances { inventory.instances()? } else { Vec::new() };
        let mut out = io::stdout().lock();
        if self.json {
            return self.json(&mut out, &objects, &instances);
        }
        match self.what {
            Some(What::Hosts) => hosts(&mut out, &objects)?,
            Some(What::Places) => places(&mut out, &objects)?,
            Some(What::Services) => services(&mut out, &objects)?,
            _ => {
                if wants(What::Certificates) {
                    certificates(&mut out, objects.certificates.iter())?;
                }
                if self.what.is_none() {
                    writeln!(out)?;
                }
                if wants_instances {
                    instances_table(&mut out, &instances)?;
                }
            }
        }
        Ok(Status::Done)
    }

    fn json(
        &self,
        out: &mut impl Write,
        objects: &Objects,
        instances: &[Instance],
    ) -> Result<Status, Failure> {
        let Objects { services, hosts, places, certificates } = objects;
        match self.what {
            None => {
                #[derive(Serialize)]
                struct All<'a> {
                    #[serde(flatten)]
                    objects: &'a Objects,
                    instances: &'a [Instance],
                }
                text::json(out, &All { objects, instances })?;
            }
            Some(What::Certificates) => text::json(out, certificates)?,
            Some(What::Instances) => text::json(out, &instances)?,
            Some(What::Hosts) => text::json(out, hosts)?,
            Some(What::Places) => text::json(out, places)?,
            Some(What::Services) => text::json(out, services)?,
        }
        Ok(Status::Done)
    }
}

impl Show {
    pub fn run(&self, inventory: &mut dyn Inventory) -> Result<Status, Failure> {
        let objects = inventory.objects()?;
        let of =
            |(name, it): &(&Name, &Certificate)| **name == self.name || it.names.contains_key(&self.name);
        let Some((name, certificate)) = objects.certificates.iter().find(of) else {
            let says = format!("there is no certificate {}", self.name);
            return Err(Failure::Inventory(Refusal::new(Rule::Unknown, says).into()));
        };
        let mut instances = inventory.instances()?;
        instances.retain(|instance| instance.certificate == *name);
        let mut out = io::stdout().lock();
        if self.json {
            let all = serde_json::json!({ "name": name, "certificate": certificate, "instances": instances });
            text::json(&mut out, &all)?;
            return Ok(Status::Done);
        }
        certificates(&mut out, [(name, certificate)].into_iter())?;
        writeln!(out)?;
        instances_table(&mut out, &instances)?;
        Ok(Status::Done)
    }
}

/// A table; where several things stand in a cell, each has a line, so that no row is said twice.
fn table(out: &mut impl Write, head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(head.iter().copied());
    for row in rows {
        let printable = |cell: String| cell.split('\n').map(text::printable).collect::<Vec<_>>().join("\n");
        table.add_row(row.into_iter().map(printable));
    }
    writeln!(out, "{}", table.trim_fmt())
}

fn lines<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join("\n")
}

fn yes(flag: bool) -> String {
    if flag { "yes".into() } else { String::new() }
}

fn certificates<'a>(
    out: &mut impl Write,
    all: impl Iterator<Item = (&'a Name, &'a Certificate)>,
) -> io::Result<()> {
    let row = |(name, it): (&Name, &Certificate)| {
        let kind = it.authority.as_ref().map_or(it.kind.to_string(), |by| format!("{} by {by}", it.kind));
        let state = if it.disabled { "disabled".to_owned() } else { String::new() };
        vec![
            name.to_string(),
            it.subject.to_string(),
            kind,
            format!("{}{}", it.algorithms, if it.must_staple { ", must staple" } else { "" }),
            state,
            it.authorized_until.map(|until| minute(until).to_string()).unwrap_or_default(),
            lines(it.names.keys()),
            lines(&it.services),
            lines(&it.targets),
        ]
    };
    let head = ["certificate", "for", "signed", "keys", "", "proven until", "names", "TLSA", "goes to"];
    table(out, &head, all.map(row))
}

fn instances_table(out: &mut impl Write, all: &[Instance]) -> io::Result<()> {
    let time =
        |time: Option<time::OffsetDateTime>| time.map(|time| minute(time).to_string()).unwrap_or_default();
    let row =
        |it: &Instance| {
            vec![
                it.id.to_string(),
                it.certificate.to_string(),
                it.state.to_string(),
                time(it.not_before),
                time(it.not_after),
                lines(it.keys.iter().map(|key| {
                    format!("{} {}…", key.algorithm, key.digest.get(..16).unwrap_or(&key.digest))
                })),
                it.issuer.map(|issuer| issuer.to_string()).unwrap_or_default(),
                lines(it.deliveries.iter().map(|(host, delivery)| {
                    use crate::manager::inventory::model::Word;
                    format!("{host}: {}", delivery.outcome.text())
                })),
            ]
        };
    let head = ["number", "certificate", "state", "from", "until", "keys", "issuer", "hosts"];
    table(out, &head, all.iter().map(row))
}

fn hosts(out: &mut impl Write, objects: &Objects) -> io::Result<()> {
    let row = |(name, it): (&Name, &crate::manager::inventory::model::DistHost)| {
        let remarks = it.about.remarks.clone().unwrap_or_default();
        vec![name.to_string(), it.jail_root.clone().unwrap_or_default(), lines(it.jails.keys()), remarks]
    };
    table(out, &["host", "jail root", "jails", "remarks"], objects.hosts.iter().map(row))
}

fn places(out: &mut impl Write, objects: &Objects) -> io::Result<()> {
    let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
    let row = |(name, it): (&Name, &crate::manager::inventory::model::Place)| {
        vec![
            name.to_string(),
            it.file_type.to_string(),
            it.cert_path.clone(),
            it.key_path.clone().unwrap_or_default(),
            format!("{}:{}", number(it.user), number(it.group)),
            it.mode.map(|mode| mode.to_string()).unwrap_or_default(),
            yes(it.chown_both),
            yes(it.pglink),
            it.reload.clone().unwrap_or_default(),
        ]
    };
    let head = ["place", "files", "directory", "of keys", "owner", "mode", "both owned", "links", "reload"];
    table(out, &head, objects.places.iter().map(row))
}

fn services(out: &mut impl Write, objects: &Objects) -> io::Result<()> {
    let users = |key| objects.certificates.values().filter(|it| it.services.contains(key)).count();
    let rows = objects
        .services
        .iter()
        .map(|(key, it)| vec![key.to_string(), it.tlsa.to_string(), users(key).to_string()]);
    table(out, &["service", "TLSA", "certificates"], rows)
}
