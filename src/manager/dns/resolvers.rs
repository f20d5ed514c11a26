//! The resolvers of this machine: resolv.conf(5). They are asked where no server is configured.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::system::root::Root;

/// More than the C library asks; those further down are for nobody.
const MOST: usize = 3;
const PORT: u16 = 53;
const PATH: &str = "/etc/resolv.conf";

/// The resolvers that the system's file names; none when it cannot be read.
pub fn of_system(root: &Root) -> Vec<SocketAddr> {
    root.text(Path::new(PATH)).ok().flatten().map(|text| parse(&text)).unwrap_or_default()
}

/// Reads the text: addresses with a zone of IPv6 (`fe80::1%eth0`) are passed over.
fn parse(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let is_server = words.next() == Some("nameserver");
        let address: IpAddr = words.next().filter(|_| is_server)?.parse().ok()?;
        Some(SocketAddr::new(address, PORT))
    };
    text.lines().filter_map(server).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let cases: [(&str, &str, &[&str]); 5] = [
            ("nothing", "", &[]),
            ("both families", "nameserver 127.0.0.53\nnameserver ::1\n", &["127.0.0.53:53", "[::1]:53"]),
            ("other lines", "# nameserver 1.1.1.1\nsearch example.com\noptions edns0\n", &[]),
            ("what is no address", "nameserver\nnameserver ns.example\nnameserver fe80::1%eth0\n", &[]),
            (
                "more than are asked",
                "nameserver 1.1.1.1\nnameserver 1.1.1.2\n nameserver\t1.1.1.3 x\nnameserver 1.1.1.4",
                &["1.1.1.1:53", "1.1.1.2:53", "1.1.1.3:53"],
            ),
        ];
        for (case, text, expected) in cases {
            let found: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{case}");
        }
    }
}
