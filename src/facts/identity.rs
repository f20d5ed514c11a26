//! Asks the sources of identity, best first. One that does not answer leaves its facet unknown.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::Sources;
use crate::identity::sources::{self, InterfaceAddress};
use crate::identity::{Finding, Fingerprint, HostName, Identity};
use crate::service::{Errand, Services};
use crate::system::root::{PathError, Root};

const HOSTNAME: &str = "/etc/hostname";
/// Longer than a resolver's own patience with one silent server.
const RESOLVER: Duration = Duration::from_secs(15);

pub fn gather(sources: &Sources<'_>, with_addresses: bool) -> Result<Identity, PathError> {
    let name = name(sources)?;
    let (hostname, domain) = match &name {
        Finding::Known { value, source } => {
            (Finding::known(value.label().to_owned(), source), domain(sources, value, source)?)
        }
        Finding::Unknown { unknown } => {
            (Finding::unknown(unknown), Finding::unknown("the host name is unknown"))
        }
    };
    let (subject, files) = sources.seed;
    let seed_source = match files.as_slice() {
        [] => "no seed file".to_owned(),
        files => files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", "),
    };
    Ok(Identity {
        hostname,
        domain,
        addresses: addresses(sources, with_addresses),
        machine_id: sources::machine_id(sources.root.text(Path::new("/etc/machine-id"))?.as_deref()),
        hardware: hardware(sources.root),
        seed: Finding::known(subject.fingerprint(), seed_source),
    })
}

/// The files of `/sys` that hold the hardware's number, best first.
const HARDWARE: [&str; 2] = ["/sys/class/dmi/id/product_uuid", "/sys/firmware/devicetree/base/serial-number"];
/// Where systemd leaves the kind of container that a system runs in.
const CONTAINER: &str = "/run/systemd/container";

/// A container has no hardware of its own: that of its host may change under it, and it is the
/// same machine all the while.
fn hardware(root: &Root) -> Finding<Fingerprint> {
    if !root.is_live() {
        return Finding::unknown("this root does not run");
    }
    if root.status(Path::new(CONTAINER)).is_ok_and(|status| status.is_some()) {
        return Finding::unknown("a container has none of its own");
    }
    let mut reason = "neither firmware nor device tree gives a number".to_owned();
    for path in HARDWARE {
        match root.text(Path::new(path)) {
            Ok(Some(text)) => return sources::hardware(&text, path),
            Ok(None) => {}
            Err(error) => reason = error.to_string(),
        }
    }
    Finding::unknown(reason)
}

fn name(sources: &Sources<'_>) -> Result<Finding<HostName>, PathError> {
    let text = sources.root.text(Path::new(HOSTNAME))?;
    let in_file = match &text {
        None => Err(format!("there is no {HOSTNAME}")),
        Some(text) => sources::hostname_file(text).map_err(|error| format!("{HOSTNAME}: {error}")),
    };
    // A name that only DHCP or hostnamed gave may be gone tomorrow: it counts where the site says so.
    let fixed = in_file.as_ref().is_ok_and(|name| name.proper().is_ok());
    if !fixed && sources.settings.identity.transient_hostname && sources.root.is_live() {
        let kernel = hostname::get().ok().and_then(|name| name.into_string().ok());
        if let Some(name) = kernel.and_then(|name| HostName::parse(&name).ok()).filter(|n| n.proper().is_ok())
        {
            return Ok(Finding::known(name, "the kernel"));
        }
    }
    Ok(match in_file {
        Ok(name) => Finding::known(name, HOSTNAME),
        Err(reason) => Finding::unknown(reason),
    })
}

fn domain(sources: &Sources<'_>, name: &HostName, source: &str) -> Result<Finding<String>, PathError> {
    if let Some(domain) = name.domain() {
        return Ok(Finding::known(domain.to_owned(), source));
    }
    let root = sources.root;
    let read = |path: &str, find: &dyn Fn(&str) -> Option<String>| -> Result<_, PathError> {
        let found = root.text(Path::new(path))?.as_deref().and_then(find);
        Ok(found.map(|domain| Finding::known(domain, path)))
    };
    if let Some(found) = read("/etc/hosts", &|text| sources::domain_in_hosts(text, name.label()))? {
        return Ok(found);
    }
    if let Some(found) = read("/etc/resolv.conf", &sources::domain_in_resolv_conf)? {
        return Ok(found);
    }
    if !sources.settings.identity.domain_from_dns || !root.is_live() {
        return Ok(Finding::unknown("neither the name, /etc/hosts nor /etc/resolv.conf has one"));
    }
    if !sources.asks_network {
        return Ok(Finding::unknown("DNS is not asked before the network is up"));
    }
    Ok(from_resolver(sources.services, name))
}

/// Asks through the system's own resolver, so that every name service it is set up for answers; as
/// an errand, because we have no way to the network.
fn from_resolver(services: &dyn Services, name: &HostName) -> Finding<String> {
    let question = ["/usr/bin/getent", "hosts", name.label()].map(str::to_owned);
    match services.run(&Errand { network: true, ..Errand::new(&question, RESOLVER) }) {
        Ok(answer) => match sources::domain_in_hosts(&answer, name.label()) {
            Some(domain) => Finding::known(domain, "DNS"),
            None => Finding::unknown("the resolver knows no domain for this name"),
        },
        Err(_) => Finding::unknown("the resolver does not answer"),
    }
}

fn addresses(sources: &Sources<'_>, wanted: bool) -> Finding<BTreeSet<IpAddr>> {
    if !sources.root.is_live() {
        return Finding::unknown("this root does not run");
    }
    if !wanted {
        return Finding::unknown("no hook asks for them");
    }
    if !sources.asks_network {
        return Finding::unknown("the interfaces are not asked before the network is up");
    }
    let passing = passing(sources.root);
    let networks = match sysinfo::Networks::new_with_refreshed_list() {
        Ok(networks) => networks,
        Err(error) => return Finding::unknown(format!("the kernel does not list its interfaces: {error}")),
    };
    let all: Vec<InterfaceAddress> = networks
        .iter()
        .flat_map(|(interface, data)| {
            data.ip_networks().iter().map(|network| InterfaceAddress {
                interface: interface.to_string_lossy().into_owned(),
                address: network.addr,
                passing: passing.contains(&network.addr),
            })
        })
        .collect();
    let settings = &sources.settings.identity;
    let ignored: Vec<_> = settings.ignore_interfaces.iter().map(|pattern| pattern.glob().clone()).collect();
    let found = sources::global_addresses(&all, &ignored, &settings.ignore_addresses);
    // A machine whose network is not up yet has not lost its addresses.
    if found.is_empty() {
        Finding::unknown("no interface has one yet")
    } else {
        Finding::known(found, "the interfaces")
    }
}

fn passing(root: &Root) -> BTreeSet<IpAddr> {
    let text = root.text(Path::new("/proc/net/if_inet6")).ok().flatten();
    text.as_deref().map(sources::passing_ipv6).unwrap_or_default()
}
