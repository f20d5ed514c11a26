//! Where the processes of a unit listen: the kernel's tables of sockets, who has them open, and in
//! which control group those processes are. Nobody has to be asked for it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use glob::Pattern;

use super::Endpoint;
use super::protocol::{Guess, Ports, Protocol, guess};
use crate::system::root::Root;

/// Finds the places where units listen: by the pattern by which a hook names them, with the ports
/// of which the hook says what is spoken there.
///
/// A socket that PID 1 holds for a service that is started on demand counts where the hook names
/// its port. Ports where no TLS is to be expected are left out.
///
/// # Errors
/// In words, when this user may not look at the processes of others.
pub fn listening(root: &Root, units: &BTreeMap<String, Ports>) -> Result<Vec<Endpoint>, String> {
    if units.is_empty() {
        return Ok(Vec::new());
    }
    let mut sockets = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        // A kernel without IPv6 has no table of it.
        let text = root.text(Path::new(table)).map_err(|error| error.to_string())?.unwrap_or_default();
        sockets.extend(text.lines().filter_map(socket));
    }
    let mut endpoints = BTreeSet::new();
    let mut denied = None;
    for process in root.names(Path::new("/proc")).map_err(|error| error.to_string())? {
        let Some(members) = membership(root, &process, units) else { continue };
        let held = match held(root, &process) {
            Ok(held) => held,
            Err(error) => {
                denied = Some(error);
                continue;
            }
        };
        for (address, port) in held.iter().filter_map(|inode| sockets.get(inode)) {
            let here = members.iter().filter_map(|(unit, ports, activated)| {
                let declared = ports.get(port).copied();
                let spoken =
                    if *activated { declared.map(|spoken| (spoken, false)) } else { spoken(*port, declared) };
                let (protocol, guessed) = spoken?;
                let address = reachable(*address)?;
                Some(Endpoint { unit: (*unit).to_owned(), address, port: *port, protocol, guessed })
            });
            endpoints.extend(here);
        }
    }
    match denied {
        Some(error) if endpoints.is_empty() => Err(format!("only root sees where services listen: {error}")),
        _ => Ok(endpoints.into_iter().collect()),
    }
}

/// The units that a process belongs to, with their declared ports, and whether it only holds their
/// sockets for them.
type Members<'a> = Vec<(&'a str, &'a Ports, bool)>;

fn membership<'a>(
    root: &Root,
    process: &OsString,
    units: &'a BTreeMap<String, Ports>,
) -> Option<Members<'a>> {
    let number: u32 = process.to_str()?.parse().ok()?;
    if number == 1 {
        let declaring = units.iter().filter(|(_, ports)| !ports.is_empty());
        let members: Members<'_> = declaring.map(|(unit, ports)| (unit.as_str(), ports, true)).collect();
        return (!members.is_empty()).then_some(members);
    }
    let text = root.text(&Path::new("/proc").join(process).join("cgroup")).ok()??;
    let name = unit(&text)?;
    let own = units.iter().filter(|(pattern, _)| belongs(name, pattern));
    let members: Members<'_> = own.map(|(pattern, ports)| (pattern.as_str(), ports, false)).collect();
    (!members.is_empty()).then_some(members)
}

/// The sockets that a process has open, by their inodes. One that ended meanwhile has none.
fn held(root: &Root, process: &OsString) -> Result<BTreeSet<u64>, String> {
    let directory = Path::new("/proc").join(process).join("fd");
    let names = match root.names(&directory) {
        Err(error) if error.is_denied() => return Err(error.to_string()),
        names => names.unwrap_or_default(),
    };
    let targets = names.iter().filter_map(|name| root.link_target(&directory.join(name)).ok().flatten());
    Ok(targets.filter_map(|target| inode(&target)).collect())
}

// ---- what the texts say --------------------------------------------------------------------------

/// `socket:[12345]`
fn inode(target: &Path) -> Option<u64> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// A listening socket of a line of `/proc/net/tcp` or `tcp6` (proc(5)): inode, address, port.
fn socket(line: &str) -> Option<(u64, (IpAddr, u16))> {
    /// `TCP_LISTEN` of the kernel's include/net/tcp_states.h.
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    let (address, port) = local.split_once(':')?;
    (state == LISTEN).then_some(())?;
    Some((inode, (address_of(address)?, u16::from_str_radix(port, 16).ok()?)))
}

/// Words of 32 bits, each written as a number of this machine's own byte order.
fn address_of(text: &str) -> Option<IpAddr> {
    if !text.is_ascii() {
        return None;
    }
    let word = |at: usize| u32::from_str_radix(text.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let octets = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?);
            Some(address.to_ipv4_mapped().map_or(address.into(), IpAddr::from))
        }
        _ => None,
    }
}

/// The unit in a text of `/proc/PID/cgroup` (cgroups(7)): its own hierarchy is systemd's, whether
/// the first version, the second, or both are mounted.
fn unit(text: &str) -> Option<&str> {
    let paths = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        (controllers.is_empty() || controllers == "name=systemd").then_some(path)
    });
    paths.filter_map(|path| path.rsplit('/').find(|part| part.ends_with(".service"))).next()
}

/// Says whether a unit is meant by the name or pattern of a hook. Debian's `postfix.service` and
/// `postgresql.service` have no process: those are in their instances.
fn belongs(unit: &str, pattern: &str) -> bool {
    let matches = |pattern: &str| Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(unit));
    unit == pattern
        || matches(pattern)
        || pattern.strip_suffix(".service").is_some_and(|stem| {
            let instance = unit.strip_prefix(stem).and_then(|rest| rest.strip_prefix('@'));
            !stem.contains('@') && instance.is_some()
        })
}

/// What is spoken at a port, and whether that is a guess; nothing where it is not to be asked.
fn spoken(port: u16, declared: Option<Protocol>) -> Option<(Protocol, bool)> {
    match (declared, guess(port)) {
        (Some(protocol), _) | (None, Guess::Known(protocol)) => Some((protocol, false)),
        (None, Guess::Unknown) => Some((Protocol::Tls, true)),
        (None, Guess::Plain) => None,
    }
}

/// Where a socket is asked. Addresses of one link need its name, which the table does not have.
fn reachable(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) if address.is_unspecified() => Some(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(address) if address.is_unspecified() => Some(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V6(address) if address.is_unicast_link_local() => None,
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_the_kernels_tables() {
        let rest =
            "00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 666 1 0 100 0 0 10 0";
        let six = "00000000000000000000000001000000";
        let mapped = "0000000000000000FFFF00000100007F";
        let cases = [
            ("head", "  sl  local_address rem_address   st tx_queue rx_queue".to_owned(), None),
            ("wildcard", format!("   0: 00000000:0019 {rest}"), Some(("0.0.0.0", 25))),
            ("loopback", format!("   1: 0100007F:01BB {rest}"), Some(("127.0.0.1", 443))),
            ("IPv6", format!("   2: {six}:0016 {rest}"), Some(("::1", 22))),
            ("mapped", format!("   3: {mapped}:0016 {rest}"), Some(("127.0.0.1", 22))),
            ("connected", format!("   4: 0100007F:01BB {}", rest.replace(" 0A ", " 01 ")), None),
            ("cut", "   5: 0100007F:01BB 00000000:0000 0A".into(), None),
            ("garbage", format!("   6: 0100ß7F:01BB {rest}"), None),
        ];
        for (case, line, expected) in cases {
            let expected = expected.map(|(address, port)| (666, (address.parse().unwrap(), port)));
            assert_eq!(socket(&line), expected, "{case}");
        }
    }

    #[test]
    fn control_groups() {
        let cases = [
            ("version 2", "0::/system.slice/cyrus-imapd.service\n", Some("cyrus-imapd.service")),
            (
                "instance",
                "0::/system.slice/system-postfix.slice/postfix@-.service\n",
                Some("postfix@-.service"),
            ),
            ("below it", "0::/system.slice/ssh.service/worker\n", Some("ssh.service")),
            (
                "both",
                "4:memory:/a.service\n1:name=systemd:/system.slice/sendmail.service\n0::/\n",
                Some("sendmail.service"),
            ),
            ("a user's", "0::/user.slice/user-0.slice/session-1.scope\n", None),
            ("empty", "", None),
        ];
        for (case, text, expected) in cases {
            assert_eq!(unit(text), expected, "{case}");
        }
    }

    #[test]
    fn whose_units() {
        let cases = [
            ("apache2.service", "apache2.service", true),
            ("apache2@a.service", "apache2@*.service", true),
            ("apache2.service", "apache2@*.service", false),
            ("postfix@-.service", "postfix.service", true),
            ("postgresql@15-main.service", "postgresql.service", true),
            ("postfix-x@-.service", "postfix.service", false),
            ("ssh.service", "sshd.service", false),
        ];
        for (unit, pattern, expected) in cases {
            assert_eq!(belongs(unit, pattern), expected, "{unit} {pattern}");
        }
    }

    #[test]
    fn a_scratch_machine() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let line = |port: u16, inode: u32| {
            format!("0: 00000000:{port:04X} 00000000:0000 0A 0:0 00:0 0 0 0 {inode} 1 0\n")
        };
        let table =
            [(25, 1), (80, 2), (993, 3), (2222, 4), (7, 5)].map(|(port, inode)| line(port, inode)).concat();
        write("proc/net/tcp", &table);
        let process = |number: u32, group: &str, sockets: &[u32]| {
            write(&format!("proc/{number}/cgroup"), group);
            let fd = dir.path().join(format!("proc/{number}/fd"));
            std::fs::create_dir_all(&fd).unwrap();
            for socket in sockets {
                std::os::unix::fs::symlink(format!("socket:[{socket}]"), fd.join(socket.to_string()))
                    .unwrap();
            }
        };
        process(1, "0::/init.scope\n", &[4, 5]);
        process(20, "0::/system.slice/mail.service\n", &[1, 2, 3, 99]);
        process(30, "0::/system.slice/other.service\n", &[5]);
        let root = Root::open(dir.path()).unwrap();
        let units = BTreeMap::from([
            ("mail.service".to_owned(), Ports::new()),
            ("ssh.service".to_owned(), Ports::from([(2222, Protocol::Ssh)])),
        ]);
        let found = listening(&root, &units).unwrap();
        let found: Vec<String> = found.iter().map(|found| format!("{} {found}", found.unit)).collect();
        let expected = [
            "mail.service 127.0.0.1:25 (smtp)",
            "mail.service 127.0.0.1:993 (tls)",
            "ssh.service 127.0.0.1:2222 (ssh)",
        ];
        assert_eq!(found, expected);
    }
}
