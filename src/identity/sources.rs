//! What the sources of identity say, read from their texts: `/etc/hostname`, `/etc/hosts`,
//! `resolv.conf`, `/etc/machine-id`, the hardware's number, and which addresses of the interfaces
//! count.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use glob::Pattern;

use super::{Finding, Fingerprint, HostName, NameError};

/// Reads the name in `/etc/hostname`: the first line that is neither blank nor a comment
/// (hostname(5)).
///
/// # Errors
/// [`NameError`] when what stands there is no host name, or nothing stands there.
pub fn hostname_file(text: &str) -> Result<HostName, NameError> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    HostName::parse(line.unwrap_or_default())
}

/// Finds the domain of `label` in hosts(5): the first name `label.domain` on a line that also
/// holds `label`, or the first `label.domain` at all.
pub fn domain_in_hosts(text: &str, label: &str) -> Option<String> {
    let prefix = format!("{label}.");
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(|line| line.split_whitespace().skip(1))
        .filter_map(|name| HostName::parse(name).ok())
        .find(|name| name.as_str().starts_with(&prefix))
        .and_then(|name| name.domain().map(str::to_owned))
}

/// Finds the domain in resolv.conf(5): the last `domain`, or the first name of the last `search`;
/// the two exclude each other there and the last line wins.
pub fn domain_in_resolv_conf(text: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            matches!(words.next(), Some("domain" | "search")).then(|| words.next())?
        })
        .rfind(|name| *name != ".")
        .and_then(|name| HostName::parse(name).ok())
        .map(|name| name.as_str().to_owned())
}

/// Reads `/etc/machine-id` in its four states (machine-id(5)): valid, empty, `uninitialized`,
/// absent. Only a valid one is known.
pub fn machine_id(text: Option<&str>) -> Finding<Fingerprint> {
    match text.map(str::trim) {
        None => Finding::unknown("absent: the next boot makes one"),
        Some("") => Finding::unknown("empty: the next boot makes one"),
        Some("uninitialized") => Finding::unknown("uninitialized: the next boot is a first boot"),
        Some(id) if id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Finding::known(Fingerprint::of("machine-id", &id.to_ascii_lowercase()), "/etc/machine-id")
        }
        Some(_) => Finding::unknown("not 32 hexadecimal digits"),
    }
}

/// Takes the number by which hardware or hypervisor tells this machine from others: the DMI
/// product UUID, or a device tree's serial number. Values that makers leave in whole series are
/// nobody's number.
pub fn hardware(number: &str, source: &str) -> Finding<Fingerprint> {
    let number = number.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_ascii_lowercase();
    let digits: String = number.chars().filter(char::is_ascii_alphanumeric).collect();
    let mut distinct = digits.chars();
    let first = distinct.next();
    if distinct.all(|digit| Some(digit) == first) || NO_NUMBERS.contains(&number.as_str()) {
        return Finding::unknown(format!("{source} says {number:?}, which many machines say"));
    }
    Finding::known(Fingerprint::of("hardware", &uuid_in_one_order(&number, &digits)), source)
}

/// What vendors put where a number should be.
const NO_NUMBERS: [&str; 10] = [
    "03000200-0400-0500-0006-000700080009",
    "00020003-0004-0005-0006-000700080009",
    "12345678-1234-5678-90ab-cddeefaabbcc",
    "fefefefe-fefe-fefe-fefe-fefefefefefe",
    "not settable",
    "not specified",
    "not available",
    "to be filled by o.e.m.",
    "default string",
    "system serial number",
];

/// The first three fields of a DMI UUID stand in one or the other order of octets, and an update of
/// kernel or firmware may change it (SMBIOS 3.7 section 7.2.1): both orders make one number.
fn uuid_in_one_order(number: &str, digits: &str) -> String {
    let is_uuid = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let octets: Vec<&str> = (0..32).step_by(2).filter_map(|at| digits.get(at..at + 2)).collect();
    let ([time, low, high], true) = ([octets.get(..4), octets.get(4..6), octets.get(6..8)], is_uuid) else {
        return number.to_owned();
    };
    let front = [time, low, high].into_iter().flatten();
    let swapped = front.flat_map(|field| field.iter().rev().copied()).chain(octets.iter().skip(8).copied());
    swapped.collect::<String>().min(digits.to_owned())
}

/// One address of one interface, as the kernel gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// `eth0`.
    pub interface: String,
    /// The address itself.
    pub address: IpAddr,
    /// A privacy address (RFC 8981), or one that is deprecated or not yet proven unique.
    pub passing: bool,
}

/// Interfaces that containers and virtual machines hang on: their addresses come and go with
/// guests and are nobody's name for this machine.
const BRIDGES: [&str; 11] = [
    "docker*", "br-*", "virbr*", "veth*", "cni*", "podman*", "lxcbr*", "lxdbr*", "flannel*", "cali*", "vnet*",
];

/// Picks the addresses of global scope: no loopback, link-local, multicast, temporary addresses,
/// none of container bridges, none that the settings ignore.
pub fn global_addresses(
    all: &[InterfaceAddress],
    ignored_interfaces: &[Pattern],
    ignored_addresses: &BTreeSet<IpAddr>,
) -> BTreeSet<IpAddr> {
    let bridges: Vec<Pattern> = BRIDGES.iter().filter_map(|glob| Pattern::new(glob).ok()).collect();
    let hangs_on = |patterns: &[Pattern], name: &str| patterns.iter().any(|p| p.matches(name));
    all.iter()
        .filter(|a| !a.passing && is_global(a.address))
        .filter(|a| !hangs_on(&bridges, &a.interface) && !hangs_on(ignored_interfaces, &a.interface))
        .map(|a| a.address)
        .filter(|address| !ignored_addresses.contains(address))
        .collect()
}

/// Private ranges count: a site may well issue for them.
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_unspecified()
                || v4.is_broadcast())
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback() || v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified())
        }
    }
}

/// `IFA_F_TEMPORARY`, `IFA_F_DADFAILED`, `IFA_F_DEPRECATED`, `IFA_F_TENTATIVE` of
/// `linux/if_addr.h`.
const PASSING_FLAGS: u8 = 0x01 | 0x08 | 0x20 | 0x40;

/// Reads the addresses in `/proc/net/if_inet6` that will not stay: the one thing the portable
/// list of interfaces does not tell. Columns: address, index, prefix, scope, flags, name.
pub fn passing_ipv6(if_inet6: &str) -> BTreeSet<IpAddr> {
    if_inet6
        .lines()
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let bits = u128::from_str_radix(columns.first()?, 16).ok()?;
            let flags = u8::from_str_radix(columns.get(4)?, 16).ok()?;
            (flags & PASSING_FLAGS != 0).then(|| IpAddr::V6(Ipv6Addr::from_bits(bits)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostname_files() {
        let cases = [
            ("plain", "mail\n", Some("mail")),
            ("full name", "mail.example.com\n", Some("mail.example.com")),
            ("comment first", "# set by the installer\n\nMAIL.example.com.\n", Some("mail.example.com")),
            ("empty", "", None),
            ("only comments", "# nothing\n", None),
            ("a command", "$(reboot)\n", None),
        ];
        for (case, text, expected) in cases {
            assert_eq!(hostname_file(text).ok().as_ref().map(HostName::as_str), expected, "{case}");
        }
    }

    #[test]
    fn domains_in_hosts() {
        let cases = [
            ("Debian", "127.0.0.1 localhost\n127.0.1.1 mail.example.com mail\n", Some("example.com")),
            ("alias first", "192.0.2.1 mail mail.example.com\n", Some("example.com")),
            ("comment", "127.0.1.1 mail # mail.example.org\n", None),
            ("another machine", "192.0.2.1 www.example.com www\n", None),
            ("prefix of another", "192.0.2.1 mailhub.example.com\n", None),
            ("address only", "mail.example.com\n", None),
            ("invalid", "192.0.2.1 mail.$(x)\n", None),
        ];
        for (case, text, expected) in cases {
            assert_eq!(domain_in_hosts(text, "mail").as_deref(), expected, "{case}");
        }
    }

    #[test]
    fn domains_in_resolv_conf() {
        let cases = [
            ("search", "nameserver 192.0.2.53\nsearch example.com example.org\n", Some("example.com")),
            ("domain", "domain example.com\n", Some("example.com")),
            ("the last wins", "domain example.org\nsearch example.com\n", Some("example.com")),
            ("root", "search .\n", None),
            ("nothing", "nameserver 192.0.2.53\n", None),
        ];
        for (case, text, expected) in cases {
            assert_eq!(domain_in_resolv_conf(text).as_deref(), expected, "{case}");
        }
    }

    #[test]
    fn machine_ids() {
        let id = "0123456789abcdef0123456789abcdef\n";
        let known = machine_id(Some(id));
        assert!(known.value().is_some());
        assert!(!format!("{known:?}").contains("0123456789abcdef0123"), "the id itself is not kept");
        for (case, text, word) in [
            ("absent", None, "absent"),
            ("empty", Some("\n"), "empty"),
            ("uninitialized", Some("uninitialized\n"), "first boot"),
            ("junk", Some("hello\n"), "32"),
        ] {
            match machine_id(text) {
                Finding::Unknown { unknown } => assert!(unknown.contains(word), "{case}: {unknown}"),
                found @ Finding::Known { .. } => panic!("{case}: {found:?}"),
            }
        }
    }

    #[test]
    fn hardware_numbers() {
        let known = |text: &str| hardware(text, "test").value().cloned();
        let uuid = known("4c4c4544-0042-3510-8052-b4c04f4e4d31\n");
        assert!(uuid.is_some());
        assert_eq!(uuid, known("44454C4C-4200-1035-8052-B4C04F4E4D31"), "the other order of octets");
        assert_ne!(uuid, known("4c4c4544-0042-3510-8052-b4c04f4e4d32"));
        assert!(known("10000000abcdef01\0").is_some(), "a device tree's");
        let nobodys = [
            ("nothing", ""),
            ("zeros", "00000000-0000-0000-0000-000000000000"),
            ("ones", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"),
            ("a series", "03000200-0400-0500-0006-000700080009\n"),
            ("a series, swapped", "00020003-0004-0005-0006-000700080009"),
            ("words", "To Be Filled By O.E.M.\n"),
            ("unset", "Not Settable"),
            ("a device tree's zeros", "0000000000000000\0"),
        ];
        for (case, text) in nobodys {
            assert_eq!(known(text), None, "{case}");
        }
        assert!(!format!("{uuid:?}").contains("4544"), "the number itself is not kept");
    }

    #[test]
    fn addresses() {
        let entry = |interface: &str, address: &str, passing| InterfaceAddress {
            interface: interface.into(),
            address: address.parse().unwrap(),
            passing,
        };
        let all = [
            entry("lo", "127.0.0.1", false),
            entry("lo", "::1", false),
            entry("eth0", "192.0.2.10", false),
            entry("eth0", "10.0.0.4", false),
            entry("eth0", "169.254.3.4", false),
            entry("eth0", "fe80::1", false),
            entry("eth0", "2001:db8::10", false),
            entry("eth0", "2001:db8::dead:beef", true),
            entry("docker0", "172.17.0.1", false),
            entry("br-0a1b2c", "172.18.0.1", false),
            entry("wg0", "198.51.100.1", false),
        ];
        let wg = [Pattern::new("wg*").unwrap()];
        let ignored = BTreeSet::from(["10.0.0.4".parse().unwrap()]);
        let found: Vec<String> =
            global_addresses(&all, &wg, &ignored).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.10", "2001:db8::10"]);
    }

    #[test]
    fn temporary_addresses_are_known_by_their_flag() {
        let text = "20010db8000000000000000000000010 02 40 00 80 eth0\n\
                    20010db80000000000000000deadbeef 02 40 00 01 eth0\nrubbish\n";
        let found = passing_ipv6(text);
        assert_eq!(found, BTreeSet::from(["2001:db8::dead:beef".parse().unwrap()]));
    }
}
