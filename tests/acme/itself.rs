//! What the cases rely on: the bed is as it is said to be. Proven with other people's programs.

use std::time::Instant;

use super::bed::{Bed, peer};
use super::space::{until, within};
use super::standin::{Fault, Operation, Standin};
use super::zones::Secondary;
use crate::support::{checked, scratch};

pub const CASES: &[crate::Case] = &[
    ("the_bed_issues_to_others", the_bed_issues_to_others),
    ("the_bed_has_name_servers_that_stop_being_updated", the_bed_has_name_servers_that_stop_being_updated),
    ("the_bed_has_further_machines", the_bed_has_further_machines),
    ("the_stand_in_issues_to_others", the_stand_in_issues_to_others),
];

/// lego gets a certificate by dynamic update.
fn the_bed_issues_to_others() {
    let began = Instant::now();
    let bed = Bed::new();
    eprintln!("acme: a bed is ready after {:.2} s", began.elapsed().as_secs_f64());
    assert_eq!(bed.pebble.accounts(), 0);
    let mut lego = bed.space.command("lego");
    lego.args([
        "--server",
        &bed.pebble.directory(),
        "--accept-tos",
        "--email",
        "a@lab.test",
        "--dns",
        "rfc2136",
    ]);
    lego.args(["--dns.resolvers", "127.0.0.1:53", "-d", "lab.test", "--path"])
        .arg(bed.path("lego"))
        .arg("run");
    lego.env("LEGO_CA_CERTIFICATES", bed.pebble.trust()).env("RFC2136_NAMESERVER", "127.0.0.1:53");
    lego.env("RFC2136_TSIG_ALGORITHM", "hmac-sha256.").env("RFC2136_TSIG_KEY", "acme.");
    lego.env("RFC2136_TSIG_SECRET", bed.zones.secret("acme")).env("RFC2136_POLLING_INTERVAL", "1");
    peer(lego).exits(0);
    assert_eq!((bed.pebble.accounts(), bed.pebble.orders(), bed.pebble.issued()), (1, 1, 1));
    assert_eq!(bed.pebble.validations(), 1);
    assert_eq!(bed.challenges(), Vec::<String>::new());
    assert!(bed.pebble.root(&bed.space, 0).contains("BEGIN CERTIFICATE"));
}

fn the_bed_has_name_servers_that_stop_being_updated() {
    let mut bed = Bed::new();
    let shows = |bed: &Bed, server: &str, name: &str, kind: &str| {
        let mut dig = bed.space.command("dig");
        dig.args(["+short", "+time=1", "+tries=1", &format!("@{server}"), name, kind]);
        let output = dig.output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let update = |bed: &Bed, text: &str| {
        let mut nsupdate = bed.space.command("nsupdate");
        nsupdate.arg("-k").arg(bed.zones.key("acme")).stdin(std::process::Stdio::piped());
        let mut child = nsupdate.spawn().unwrap();
        let line = format!("server 127.0.0.1\nupdate add {text}\nsend\n");
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), line.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    };
    let arrives = |bed: &Bed, server: &str, name: &str, wanted: &str| {
        within(std::time::Duration::from_secs(2), || match shows(bed, server, name, "TXT") {
            said if said == wanted => Ok(()),
            said => Err(format!("{server} says {said:?} of {name}")),
        })
    };
    let began = Instant::now();
    for name in ["one", "two", "three"] {
        update(&bed, &format!("{name}.lab.test. 60 TXT here"));
        for server in ["127.0.0.1", "127.0.0.2", "::1"] {
            arrives(&bed, server, &format!("{name}.lab.test"), "\"here\"").unwrap();
        }
    }
    eprintln!("acme: three updates are seen everywhere after {:.2} s", began.elapsed().as_secs_f64());
    for stale in [Secondary::V6, Secondary::V4] {
        bed.zones.stale(&bed.space, stale, true);
        let (server, other) =
            if stale == Secondary::V4 { ("127.0.0.2", "::1") } else { ("::1", "127.0.0.2") };
        let name = format!("late-{}", other.len());
        update(&bed, &format!("{name}.lab.test. 60 TXT here"));
        let name = format!("{name}.lab.test");
        arrives(&bed, other, &name, "\"here\"").unwrap();
        assert_eq!(shows(&bed, server, &name, "TXT"), "", "{server} is stale, and answers");
        assert_eq!(shows(&bed, server, "www.lab.test", "A"), "127.0.0.1");
        bed.zones.stale(&bed.space, stale, false);
        until(|| arrives(&bed, server, &name, "\"here\""));
    }
    bed.zones.silent(Secondary::V4, true);
    assert!(!shows(&bed, "127.0.0.2", "www.lab.test", "A").contains("127.0.0.1"));
    bed.zones.silent(Secondary::V4, false);
    until(|| match shows(&bed, "127.0.0.2", "www.lab.test", "A") == "127.0.0.1" {
        true => Ok(()),
        false => Err("it is still silent".to_owned()),
    });
    // Included files, and what is followed for Pebble.
    std::fs::write(
        bed.zones.challenges().join("acme-challenge.files.test"),
        "_acme-challenge.www.files.test. 60 IN TXT \"in a file\"\n",
    )
    .unwrap();
    checked(bed.space.command(bed.zones.bump()).args(["--serial_bump", "files.test"]));
    for server in ["127.0.0.1", "127.0.0.2", "::1"] {
        arrives(&bed, server, "_acme-challenge.www.files.test", "\"in a file\"").unwrap();
    }
    assert_eq!(bed.challenges().len(), 1);
    update(&bed, "w1.acme-dns.test. 60 TXT delegated");
    let said = shows(&bed, "127.0.0.1", "_acme-challenge.www.alias.test", "TXT");
    assert_eq!(said, "w1.acme-dns.test.\n\"delegated\"");
    assert!(shows(&bed, "127.0.0.1", "dane.test", "DNSKEY").contains("257 3 13"));
}

fn the_bed_has_further_machines() {
    let bed = Bed::new();
    let one = bed.host("web1.lab.test", "10.53.0.11");
    let two = bed.host("web2.lab.test", "10.53.0.12");
    for (host, other) in [("web1", &one), ("web2", &two)] {
        let options = bed.ssh_options();
        let options = options.trim_matches(['[', ']']).split(", ").map(|word| word.trim_matches('\''));
        let mut ssh = bed.space.command("ssh");
        ssh.args(options).arg(format!("{host}.lab.test")).arg("hostname; echo here >/srv/mark");
        assert_eq!(checked(&mut ssh).trim(), format!("{host}.lab.test"), "{}", other.daemon.log());
        assert_eq!(std::fs::read_to_string(other.space.srv("mark")).unwrap(), "here\n");
    }
    assert!(!bed.space.srv("mark").exists());
    let web = one.space.srv("www");
    let _nginx = bed.nginx(&one.space, &web);
    std::fs::write(web.join("page"), "served").unwrap();
    let mut curl = bed.space.command("curl");
    assert_eq!(checked(curl.args(["-s", "http://web1.lab.test/page"])), "served");
}

/// lego, which knows profiles and renewal information as it is known to us, gets and revokes a certificate.
fn the_stand_in_issues_to_others() {
    let directory = scratch();
    let standin = Standin::new(directory.path());
    let lego = |arguments: &[&str]| {
        let mut lego = std::process::Command::new("lego");
        lego.args(["--server", &standin.directory(), "--accept-tos", "--email", "a@lab.test", "--http"]);
        lego.args(["--http.port", "127.0.0.1:0", "-d", "www.lab.test", "--path"]).arg(directory.path());
        peer({
            lego.args(arguments).env("LEGO_CA_CERTIFICATES", standin.trust());
            lego
        })
    };
    standin.fails(Operation::NewOrder, &[Fault::later(429, "rateLimited", "too many of them", "1")]);
    assert!(lego(&["run"]).err.contains("too many of them"));
    let silent = [Fault::Silence, Fault::Html(502)];
    standin.fails(Operation::Directory, &silent);
    for _ in silent {
        lego(&["run"]).exits(1);
    }
    lego(&["run"]).exits(0);
    let file = directory.path().join("certificates/www.lab.test.crt");
    let said =
        checked(std::process::Command::new("openssl").args(["x509", "-noout", "-issuer", "-in"]).arg(&file));
    assert!(said.contains("Stand-in Issuer"), "{said}");
    std::fs::write(directory.path().join("root"), &standin.roots[0]).unwrap();
    let mut verify = std::process::Command::new("openssl");
    verify.arg("verify").arg("-CAfile").arg(directory.path().join("root")).arg("-untrusted").arg(&file);
    checked(verify.arg(&file));
    lego(&["revoke", "--reason", "4"]).exits(0);
    let state = standin.state();
    assert_eq!((state.accounts.len(), state.orders.len(), state.certificates.len()), (1, 1, 1));
    assert_eq!(state.certificates[0].revoked, Some(4));
    assert_eq!(state.orders[0].authorizations[0].tried.as_deref(), Some("http-01"));
    assert_eq!(state.breaches, Vec::<String>::new());
}
