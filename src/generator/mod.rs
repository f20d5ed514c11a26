//! What systemd is told at boot about the units that hooks name: they come after the run that makes
//! their certificates, and do not start while they are held back.
//!
//! Hooks and the texts of unit files in, drop-ins out. It is written anew at every boot and at every
//! `systemctl daemon-reload`, so it depends on nothing that a run changes: what is held back is a mark
//! in `/run/reseed/hold`, and the condition that looks for it is always there. Only whether the stages
//! themselves have anything to do is found out each time.

mod unit_file;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::hook::{ExtraName, Families, Hook};
use crate::identity::Facet;

pub use unit_file::UnitFile;

/// The name of every drop-in that is written here.
pub const DROP_IN: &str = "50-reseed.conf";
/// Where a file by the name of a unit makes that unit's condition fail.
pub const MARKS: &str = "/run/reseed/hold";
/// The unit of the network stage, which is pulled in only where something needs it.
pub const NETWORK_STAGE: &str = "reseed-network.service";

/// The stages that every boot has, in their order.
pub const STAGES: [&str; 2] = ["reseed-early.service", "reseed.service"];

/// Has a stage passed over in this boot, because it would find nothing to do.
pub fn skip(stage: &str) -> Output {
    let text = format!(
        "# Written by reseed-generator: when this boot began, nothing was stale, nothing new, nothing open.\n\
         # To have {stage} look all the same, boot with `reseed.look` on the kernel command line.\n\
         [Unit]\nConditionKernelCommandLine=reseed.look\n"
    );
    Output::File(Path::new(&format!("{stage}.d")).join(QUIET_DROP_IN), text)
}

/// The name of the drop-in by which a stage is passed over.
const QUIET_DROP_IN: &str = "60-reseed-quiet.conf";

/// What is known of the machine.
pub struct Machine<'a> {
    /// The hooks that apply to it.
    pub hooks: Vec<&'a Hook>,
    /// Its distribution families.
    pub families: &'a Families,
    /// The domain has to be asked for in DNS.
    pub domain_from_dns: bool,
    /// The names of all unit files; of init scripts, the names of the services made of them.
    pub units: BTreeSet<String>,
    /// Directories in which the programs' own configuration has files of a hook.
    pub directories: BTreeSet<PathBuf>,
    /// What one of them says; nothing for a unit that is masked.
    pub read: &'a dyn Fn(&str) -> Option<UnitFile>,
}

/// A file or link, its path relative to the directory that systemd gives to generators.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Output {
    /// A file with its text.
    File(PathBuf, String),
    /// A link to a unit of the same name, wherever that lies.
    Wants(PathBuf),
}

/// Says what is to be written.
pub fn generate(machine: &Machine<'_>) -> Vec<Output> {
    let mut drop_ins: BTreeMap<String, DropIn> = BTreeMap::new();
    let needs = needs(machine);
    let triggers = if needs.is_empty() { Vec::new() } else { triggers(machine) };
    for (pattern, need) in needs {
        let mark = mark(&pattern);
        for (unit, file) in members(machine, &pattern) {
            for trigger in triggers.iter().filter(|(_, starts)| template(starts) == template(&unit)) {
                drop_ins.entry(trigger.0.clone()).or_default().marks.insert(mark.clone());
            }
            let drop_in = drop_ins.entry(unit).or_default();
            drop_in.marks.insert(mark.clone());
            drop_in.hooks.extend(need.hooks.iter().map(|hook| (*hook).to_owned()));
            drop_in.after.extend(stages(&file, &need));
        }
    }
    let network = drop_ins.values().any(|drop_in| drop_in.after.contains(NETWORK_STAGE))
        || machine.hooks.iter().any(|hook| needs_network(machine, hook));
    let mut outputs: Vec<Output> = drop_ins
        .iter()
        .map(|(unit, drop_in)| Output::File(Path::new(&format!("{unit}.d")).join(DROP_IN), drop_in.text()))
        .collect();
    if network && machine.units.contains(NETWORK_STAGE) {
        outputs.push(Output::Wants(Path::new("multi-user.target.wants").join(NETWORK_STAGE)));
    }
    outputs.extend(writable(machine));
    outputs
}

/// The name by which a unit is marked as held back: instances share that of their template.
pub fn mark(unit: &str) -> String {
    template(unit)
}

// ---- which units ---------------------------------------------------------------------------------

/// Why a unit is ordered.
#[derive(Default)]
struct Need<'a> {
    hooks: BTreeSet<&'a str>,
    certificates: bool,
    network: bool,
}

/// The units by the patterns that hooks have for them.
fn needs<'a>(machine: &Machine<'a>) -> BTreeMap<String, Need<'a>> {
    let mut needs: BTreeMap<String, Need<'a>> = BTreeMap::new();
    for hook in &machine.hooks {
        for unit in hook.units.iter().filter(|unit| machine.families.match_any(&unit.family)) {
            let need = needs.entry(unit.name.clone()).or_default();
            need.hooks.insert(hook.name.as_str());
            need.certificates |= !hook.certificates.is_empty() || hook.program.is_some();
            need.network |= needs_network(machine, hook);
        }
    }
    needs
}

fn needs_network(machine: &Machine<'_>, hook: &Hook) -> bool {
    let names_addresses = |certificate: &crate::hook::Certificate| {
        machine.families.match_any(&certificate.family) && certificate.names.contains(&ExtraName::Addresses)
    };
    hook.watches.contains(&Facet::Addresses)
        || hook.certificates.iter().any(names_addresses)
        || (machine.domain_from_dns && hook.watches.contains(&Facet::Domain))
}

/// The unit files that a pattern stands for, and with a unit that only passes things on to instances
/// (postfix, postgresql), the template of those: they would start without it.
fn members(machine: &Machine<'_>, pattern: &str) -> Vec<(String, UnitFile)> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    let name = template(pattern);
    match glob::Pattern::new(&name) {
        Ok(wild) if name.contains(['*', '?', '[']) => {
            names.extend(machine.units.iter().filter(|unit| wild.matches(unit)).cloned());
        }
        _ => names.extend(machine.units.get(&name).cloned()),
    }
    let mut members: Vec<_> =
        names.into_iter().filter_map(|name| Some((name.clone(), (machine.read)(&name)?))).collect();
    let instances: Vec<_> = members
        .iter()
        .filter_map(|(unit, _)| {
            let template = machine.units.get(&format!("{}@.service", unit.strip_suffix(".service")?))?;
            let file = (machine.read)(template)?;
            file.part_of.contains(unit).then(|| (template.clone(), file))
        })
        .collect();
    members.extend(instances);
    members
}

/// Sockets, timers and paths, each with the service that it starts.
fn triggers(machine: &Machine<'_>) -> Vec<(String, String)> {
    let kinds = [".socket", ".timer", ".path"];
    machine
        .units
        .iter()
        .filter_map(|unit| {
            let stem = kinds.iter().find_map(|kind| unit.strip_suffix(kind))?;
            let file = (machine.read)(unit)?;
            // Accept=yes starts an instance of the template, which has the same stem.
            let starts = file.starts.unwrap_or_else(|| format!("{stem}.service"));
            Some((unit.clone(), starts))
        })
        .flat_map(|(unit, starts)| {
            let instance = starts.strip_suffix(".service").map(|stem| format!("{stem}@.service"));
            let instance = instance.filter(|template| machine.units.contains(template));
            let pairs = [Some(starts), instance].into_iter().flatten();
            pairs.map(move |starts| (unit.clone(), starts)).collect::<Vec<_>>()
        })
        .collect()
}

/// `postfix@-.service` and `postfix@*.service` are `postfix@.service`: a drop-in for all instances.
fn template(unit: &str) -> String {
    match unit.split_once('@') {
        Some((name, rest)) => format!("{name}@.{}", rest.rsplit('.').next().unwrap_or("service")),
        None => unit.to_owned(),
    }
}

// ---- after which stage ---------------------------------------------------------------------------

/// What reseed-early.service itself waits for.
const BEFORE_EARLY: [&str; 9] = [
    "local-fs-pre.target",
    "local-fs.target",
    "reseed-early.service",
    "systemd-firstboot.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-sysext.service",
    "systemd-sysusers.service",
    "systemd-tmpfiles-setup.service",
];
/// What reseed.service waits for, and what cloud-init, for which it waits in turn, may wait for.
const BEFORE_MAIN: [&str; 10] = [
    "NetworkManager.service",
    "NetworkManager-wait-online.service",
    "basic.target",
    "dbus.service",
    "dbus.socket",
    "network.target",
    "networking.service",
    "sockets.target",
    "sysinit.target",
    "systemd-networkd.service",
];

/// The stages that a unit can wait for without a circle: one that others wait for before a stage runs
/// takes what the stage before has made.
fn stages(file: &UnitFile, need: &Need<'_>) -> Vec<&'static str> {
    let precedes = |names: &[&str]| file.before.iter().any(|unit| names.contains(&unit.as_str()));
    let starts_with = |prefix: &str| file.before.iter().any(|unit| unit.starts_with(prefix));
    if !need.certificates || precedes(&BEFORE_EARLY) {
        return Vec::new();
    }
    let brings_network = precedes(&BEFORE_MAIN)
        || ["cloud-init", "network-", "reseed.service", "systemd-networkd"].into_iter().any(starts_with);
    if !file.default_dependencies || brings_network {
        return vec!["reseed-early.service"];
    }
    if need.network && !precedes(&["nss-lookup.target", NETWORK_STAGE]) {
        return vec!["reseed.service", NETWORK_STAGE];
    }
    vec!["reseed.service"]
}

// ---- the texts -----------------------------------------------------------------------------------

#[derive(Default)]
struct DropIn {
    hooks: BTreeSet<String>,
    marks: BTreeSet<String>,
    after: BTreeSet<&'static str>,
}

impl DropIn {
    fn text(&self) -> String {
        let mut text = String::from(
            "# Written by reseed-generator(8), anew at every boot and every `systemctl daemon-reload`.\n\
             [Unit]\nDocumentation=man:reseed(8)\n",
        );
        // Writing to a String cannot fail.
        if !self.after.is_empty() {
            let hooks = self.hooks.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let _ = writeln!(text, "# It reads certificates that are made there (hooks: {hooks}).");
        }
        for stage in &self.after {
            let _ = writeln!(text, "After={stage}");
        }
        let _ =
            writeln!(text, "# Held back while that file is there, which says why; see also `reseed status`.");
        for mark in &self.marks {
            let _ = writeln!(text, "ConditionPathExists=!{MARKS}/{mark}");
        }
        text
    }
}

/// The services of ours that write, and may write only below /etc by themselves.
const WRITERS: [&str; 5] =
    ["reseed-early.service", "reseed.service", NETWORK_STAGE, "reseed-apply.service", "reseed-watch.service"];

/// Our own services may write where hooks say that their files are.
fn writable(machine: &Machine<'_>) -> Vec<Output> {
    let directories: BTreeSet<&Path> = machine
        .hooks
        .iter()
        .flat_map(|hook| directories(hook, machine.families))
        .chain(machine.directories.iter().map(PathBuf::as_path).filter(|directory| is_for_data(directory)))
        .filter(|directory| !["/etc", "/var/lib/reseed"].iter().any(|known| directory.starts_with(known)))
        .collect();
    let lines: String = directories.into_iter().filter_map(writable_line).collect();
    if lines.is_empty() {
        return Vec::new();
    }
    let text = format!(
        "# Written by reseed-generator(8): directories outside /etc in which hooks, or the\n\
         # configuration of their programs, have their files.\n\
         [Service]\n{lines}"
    );
    WRITERS
        .iter()
        .map(|unit| Output::File(Path::new(&format!("{unit}.d")).join("50-reseed-paths.conf"), text.clone()))
        .collect()
}

/// A slip in somebody's configuration must not open the whole system to us.
fn is_for_data(directory: &Path) -> bool {
    let system =
        ["/usr", "/boot", "/efi", "/dev", "/proc", "/sys", "/bin", "/sbin", "/lib", "/lib64", "/run"];
    directory.components().count() > 2 && !system.iter().any(|known| directory.starts_with(known))
}

fn directories<'a>(hook: &'a Hook, families: &'a Families) -> impl Iterator<Item = &'a Path> {
    hook.certificates
        .iter()
        .filter(|certificate| families.match_any(&certificate.family))
        .flat_map(|certificate| certificate.files.iter().chain(&certificate.copies))
        .flat_map(|file| file.path.parent().into_iter().chain(file.hash_link.as_deref()))
        .chain(hook.host_keys.iter().filter_map(|key| key.place.path.parent()))
        .chain(hook.secrets.iter().filter_map(|secret| secret.place.path.parent()))
        .chain(hook.program.iter().flat_map(|program| program.makes.iter().filter_map(|path| path.parent())))
}

/// A line for one directory, whether it is there or not; nothing for one that systemd's syntax has no
/// way to write.
fn writable_line(directory: &Path) -> Option<String> {
    let path = directory.to_str().filter(|path| !path.contains(['"', '\'', '\\', '\n', '\r']))?;
    Some(format!("ReadWritePaths=\"-{}\"\n", path.replace('%', "%%")))
}

#[cfg(test)]
mod tests;
