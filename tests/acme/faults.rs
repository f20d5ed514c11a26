//! What goes wrong on the way: name servers that do not follow, authorities that do not answer, runs that die.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::bed::Bed;
use super::zones::Secondary;
use crate::support::{RESEED, Ran};

pub const CASES: &[crate::Case] = &[
    ("a_secondary_that_never_updates_keeps_the_order_from_being_sent", secondary_that_never_updates),
    ("the_second_authority_is_used_when_the_first_is_down", second_authority),
    ("killed_at_increasing_delays", killed_at_increasing_delays),
    ("killed_at_system_calls", killed_at_system_calls),
];

/// By its IPv4 address, by its IPv6 address, and one that does not answer at all.
fn secondary_that_never_updates() {
    let mut bed = Bed::new();
    bed.site.configure("dns_check_timeout = 3\n", "");
    bed.site.service("lab.test", "web", &["www.lab.test", "*.lab.test"]);
    let mut accounts = 0;
    for (which, stale, address) in [
        (Secondary::V4, true, "127.0.0.2"),
        (Secondary::V6, true, "::1"),
        (Secondary::V4, false, "127.0.0.2"),
    ] {
        match stale {
            true => bed.zones.stale(&bed.space, which, true),
            false => bed.zones.silent(which, true),
        }
        let began = Instant::now();
        let ran = bed.manager("renew");
        ran.exits(1);
        let said = format!("{}{}", ran.out, ran.err);
        let is_told = said.contains("ns2.lab.test") || said.contains(address);
        assert!(is_told && said.contains(address), "{address} is not named:\n{said}");
        assert!(said.contains("_acme-challenge.www.lab.test"), "the record is not named:\n{said}");
        assert!(began.elapsed() < Duration::from_secs(12), "the deadline is kept");
        assert_eq!(bed.pebble.validations(), 0, "the order was sent to validation");
        assert_eq!(bed.challenges(), Vec::<String>::new(), "what was published is withdrawn");
        assert!(!bed.site.has("certs/lab.test/web/next"));
        accounts = accounts.max(bed.pebble.accounts());
        match stale {
            true => bed.zones.stale(&bed.space, which, false),
            false => bed.zones.silent(which, false),
        }
    }
    bed.manager("renew").exits(0);
    bed.site.is_issued("lab.test/web/next", &bed.pebble.root(&bed.space, 0));
    assert_eq!((accounts, bed.pebble.accounts(), bed.pebble.issued()), (1, 1, 1));
    assert_eq!(bed.pebble.orders(), 1, "the order was gone on with");
}

fn second_authority() {
    let bed = Bed::new();
    let second = bed.second(24_000);
    bed.site.authorities(&format!(
        "{}{}",
        bed.site.authority("first", &bed.pebble, "dns-01", ""),
        bed.site.authority("second", &second, "dns-01", "")
    ));
    bed.site.service_of("lab.test", "web", &["www.lab.test"], "['first', 'second']", "");
    bed.manager("renew").exits(0);
    assert_eq!((bed.pebble.issued(), second.issued()), (1, 0), "the first while it is there");
    bed.pebble.end();
    bed.manager("renew --force lab.test/web").exits(0);
    assert_eq!(second.issued(), 1);
    bed.site.is_issued("lab.test/web/next", &second.root(&bed.space, 0));
}

/// What must hold after a run that was killed, and after the next one. Returns whether an order was gone on with.
#[track_caller]
fn recovers(bed: &Bed, when: &str) -> bool {
    let recorded = is_recorded(bed);
    let orders = bed.pebble.orders();
    let root = bed.pebble.root(&bed.space, 0);
    for version in ["curr", "next"] {
        if bed.site.has(&format!("certs/lab.test/web/{version}")) {
            bed.site.is_issued(&format!("lab.test/web/{version}"), &root);
        }
    }
    let ran = bed.manager("renew");
    assert_eq!(ran.status, Some(0), "{when}: {ran:?}\n{}", bed.pebble.log());
    bed.site.is_issued("lab.test/web/next", &root);
    assert_eq!(bed.pebble.accounts(), 1, "{when}: an account twice");
    assert_eq!(bed.challenges(), Vec::<String>::new(), "{when}: challenges are left");
    let more = bed.pebble.orders() - orders;
    if recorded {
        assert_eq!(more, 0, "{when}: an order was lost that could be resumed: {ran:?}");
    }
    assert!(more <= 1, "{when}: {more} orders for one certificate");
    recorded
}

/// An order is on disk.
fn is_recorded(bed: &Bed) -> bool {
    let files = walkdir::WalkDir::new(bed.site.path(".reseed")).into_iter().flatten();
    let mut files = files.filter(|entry| entry.file_type().is_file());
    files.any(|entry| fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("/my-order/")))
}

fn killed_bed() -> Bed {
    let bed = Bed::new();
    bed.site.service("lab.test", "web", &["www.lab.test", "*.lab.test", "mx1.lab.test"]);
    bed
}

fn killed_at_increasing_delays() {
    let bed = killed_bed();
    let (mut stops, mut resumed, mut delay) = (0, 0, Duration::from_millis(4));
    loop {
        let mut child = bed.begin("renew --force lab.test/web");
        std::thread::sleep(delay);
        let ended = child.try_wait().unwrap().is_some();
        let _ = child.kill();
        let _ = child.wait();
        if ended || delay > Duration::from_secs(10) {
            break;
        }
        stops += 1;
        resumed += usize::from(recovers(&bed, &format!("after {delay:?}")));
        delay = delay.mul_f64(1.35);
    }
    eprintln!("acme: killed at {stops} stops in time, {resumed} of them with an order to go on with");
    assert!(stops > 3, "only {stops} stops");
}

/// By strace: every so many of the calls by which something comes to a disk or to a peer.
fn killed_at_system_calls() {
    const CALLS: &str = "openat,openat2,write,writev,sendto,sendmsg,fsync,fdatasync,renameat,renameat2,linkat,symlinkat,unlinkat,mkdirat";
    if !crate::support::has("strace") {
        return;
    }
    let bed = killed_bed();
    let (mut stops, mut resumed, mut call) = (0, 0, 1_u32);
    loop {
        let mut strace = bed.space.command("strace");
        strace.args(["-qq", "-f", "-o", "/dev/null", "-e", &format!("trace={CALLS}"), "-e"]);
        strace.arg(format!("inject={CALLS}:signal=KILL:when={call}")).arg(RESEED);
        strace.args(["manager", "--topdir"]).arg(bed.site.top()).args(["renew", "--force", "lab.test/web"]);
        let ran = Ran::of("strace", strace.stdin(Stdio::null()));
        if ran.status == Some(0) {
            break;
        }
        stops += 1;
        resumed += usize::from(recovers(&bed, &format!("at call {call}")));
        // Closer where it begins, for there the account is made.
        call += 1 + call / 12;
    }
    eprintln!("acme: killed at {stops} stops in system calls, {resumed} of them with an order to go on with");
    assert!(stops > 10 && resumed > 0, "only {stops} stops, {resumed} with an order");
}
