//! Runs of the manager that end before any single change, by a cut of the power or by an error of the disk; that
//! are begun again, and cut again on the way.
//!
//! What was not flushed is not lost here: that is tested by real power cuts.

mod look;
pub(crate) mod site;

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use self::look::Look;
use self::site::{Command, Site};
use super::lineage::{Link, version};
use super::report::Report;
use super::run::{ManagerError, World};
use super::settle::Extent;
use super::{clean, distribute, renew, revoke, roll, tend};
use crate::pki::container;
use crate::pki::inspect::Certificate;
use crate::pki::key::PrivateKey;
use crate::pki::x509::crl::Reason;
use crate::system::root::Root;

/// A run, and what there was before it.
struct Story {
    /// Commands with their days.
    before: &'static [(i64, Command)],
    /// The one that is cut.
    run: (i64, Command),
    /// What is particular to it, once it is through.
    then: fn(&Look<'_>),
}

/// How a run is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// At once.
    Killed,
    /// No change is made any more, and it goes on as well as it can.
    Refused,
    /// One change is not made.
    RefusedOnce,
}

#[test]
fn the_first_renewal() {
    let then = |look: &Look<'_>| assert!(look.lineage("example.com/web").curr.is_none());
    survives("the first renewal", &Story { before: &[], run: (0, renew), then });
}

#[test]
fn the_first_roll() {
    let then = |look: &Look<'_>| assert!(look.lineage("example.com/web").live().is_some());
    survives("the first roll", &Story { before: &[(0, renew)], run: (1, roll), then });
}

#[test]
fn a_renewal_of_everything() {
    let then = |look: &Look<'_>| assert!(look.lineage("ca/int").waiting().is_some());
    survives("a renewal of everything", &Story { before: ROLLED, run: (30, renew_all), then });
}

#[test]
fn a_renewal_with_the_same_key() {
    survives(
        "a renewal with the same key",
        &Story {
            before: ROLLED,
            run: (30, renew_with_the_same_key),
            then: |look| {
                let lineage = look.lineage("example.com/web");
                let (curr, next) = (lineage.live().unwrap(), lineage.waiting().unwrap());
                assert!(curr.files.key == next.files.key && curr.files.certificate != next.files.certificate);
            },
        },
    );
}

#[test]
fn a_roll() {
    survives(
        "a roll",
        &Story {
            before: RENEWED,
            run: (31, roll),
            then: |look| assert!(look.lineage("example.com/web").version(Link::Next).is_none()),
        },
    );
}

#[test]
fn a_distribution() {
    survives("a distribution", &Story { before: RENEWED, run: (31, distribute), then: |_| {} });
}

#[test]
fn a_revocation() {
    survives("a revocation", &Story { before: RENEWED, run: (31, revoke), then: |look| look.must_list(1) });
}

#[test]
fn the_first_tending() {
    let then = |look: &Look<'_>| {
        let lineage = look.lineage("example.com/web");
        assert!(lineage.live().is_some() && lineage.waiting().is_none());
    };
    survives("the first tending", &Story { before: &[], run: (0, tend), then });
}

#[test]
fn a_tending() {
    let then = |look: &Look<'_>| assert!(look.lineage("example.com/web").version(Link::Next).is_none());
    // No authority among them: after its roll, what it has signed is due again, and who begins anew sees that.
    let before = &[(0, renew as Command), (1, roll), (30, renew_services)];
    survives("a tending", &Story { before, run: (31, tend), then });
}

#[test]
fn a_cleaning() {
    survives(
        "a cleaning",
        &Story {
            before: &[(0, renew), (1, roll), (30, renew_all), (31, renew_all), (32, renew_all), (33, roll)],
            run: (34, clean),
            then: |look| assert!(look.unlinked().len() <= 4, "{:?}", look.unlinked()),
        },
    );
}

const ROLLED: &[(i64, Command)] = &[(0, renew), (1, roll)];
const RENEWED: &[(i64, Command)] = &[(0, renew), (1, roll), (30, renew_all)];

fn survives(name: &str, story: &Story) {
    let start = Site::new();
    let done = |site: &Site, root: &Root, (days, command): (i64, Command), case: &str| {
        let report = site.run(root, days, command).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!(!report.has_failed(), "{case}: {report:#?}");
    };
    for before in story.before {
        done(&start, &start.root(), *before, name);
    }
    let before = Look::at(&start);
    let whole = start.copy();
    let root = whole.root();
    root.cut_power_after(usize::MAX);
    done(&whole, &root, story.run, name);
    let (changes, expected) = (root.changes(), Look::at(&whole).shape());
    // Who cleans now finds nothing that an interrupted run would have left.
    let finish = |site: &Site, case: &str| {
        let look = Look::at(site);
        look.must_be_whole(&before, case);
        look.must_be_settled(case);
        (story.then)(&look);
        let shape = look.shape();
        assert!(
            shape == expected,
            "{case}: more {:#?}, less {:#?}",
            shape.difference(&expected).collect::<Vec<_>>(),
            expected.difference(&shape).collect::<Vec<_>>()
        );
        // One of each service is kept.
        if look.unlinked().len() > 4 {
            done(site, &site.root(), (story.run.0, clean), case);
            let look = Look::at(site);
            assert!(look.unlinked().len() <= 4, "{case}: {:?}", look.unlinked());
            look.must_be_whole(&before, case);
        }
    };
    finish(&whole, name);

    let (mut cuts, mut again) = (0, 0);
    for change in 0..changes {
        for end in [End::Killed, End::Refused, End::RefusedOnce] {
            // All that matters of the latter two is found by fewer.
            if end != End::Killed && !(change + end as usize).is_multiple_of(4) {
                continue;
            }
            let case = format!("{name}, {end:?} after {change} of {changes} changes");
            let site = start.copy();
            let ended = ends(&site, story.run, end, change);
            let look = Look::at(&site);
            look.must_be_whole(&before, &case);
            if let Some(report) = ended.filter(|report| !report.has_failed()) {
                assert!(look.shape() == expected, "{case}: nothing failed: {report:#?}");
                look.must_be_settled(&case);
            }
            cuts += 1;
            // The run that puts it in order is cut, too.
            if end == End::Killed && change % 32 == 0 {
                for second in (change % 5..).step_by(17) {
                    let site = site.copy();
                    let case = format!("{case}, then after {second}");
                    let through = ends(&site, story.run, End::Killed, second).is_some();
                    Look::at(&site).must_be_whole(&before, &case);
                    done(&site, &site.root(), story.run, &case);
                    finish(&site, &case);
                    again += 1;
                    if through {
                        break;
                    }
                }
            }
            done(&site, &site.root(), story.run, &case);
            finish(&site, &case);
        }
    }
    println!("{name}: {changes} changes, {cuts} cuts, {again} more in recovery, nothing lost");
    assert!(changes > 5, "{name}: {changes} changes");
}

/// Runs a command that is ended; its report, when it came so far.
fn ends(site: &Site, (days, command): (i64, Command), end: End, after: usize) -> Option<Report> {
    let root = site.root();
    match end {
        End::Killed => root.kill_after(after),
        End::Refused => root.cut_power_after(after),
        End::RefusedOnce => root.refuse_after(after),
    }
    catch_unwind(AssertUnwindSafe(|| site.run(&root, days, command))).ok().and_then(Result::ok)
}

/// Somebody who opens the directory once, and somebody who looks whether it still was the same, read key and
/// certificate of one version, however often it is exchanged.
#[test]
fn a_reader_never_has_the_key_of_another_certificate() {
    const ROLLS: i64 = 20;
    let site = Site::new();
    for (days, command) in ROLLED {
        site.run(&site.root(), *days, *command).unwrap();
    }
    let curr = site.path("production/example.com/web/curr");
    let is_over = AtomicBool::new(false);
    let (whole, gone, moved) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut whole, mut gone, mut moved) = (0, 0, 0);
            let mut pairs = BTreeSet::new();
            let mut is_pair = |directory: &Path| {
                let read = |file: &str| fs::read(directory.join(file)).ok();
                let (key, certificate) = (read(version::KEY)?, read(version::CERTIFICATE)?);
                if pairs.contains(&(key.clone(), certificate.clone())) {
                    return Some(true);
                }
                let der = container::read(&certificate).certificates.remove(0);
                let digest = Certificate::from_der(&der).unwrap().public_digest;
                let fits = PrivateKey::from_pem(&key).unwrap().public_digest() == digest;
                if fits {
                    pairs.insert((key, certificate));
                }
                Some(fits)
            };
            while !is_over.load(Ordering::Relaxed) {
                // By one handle: what was exchanged is removed file by file, so that one may be gone.
                let handle = fs::File::open(&curr).expect("there is always a curr");
                match is_pair(Path::new(&format!("/proc/self/fd/{}", handle.as_raw_fd()))) {
                    Some(fits) => {
                        assert!(fits, "by one handle");
                        whole += 1;
                    }
                    None => gone += 1,
                }
                // By two paths.
                let inode = || fs::metadata(&curr).expect("there is always a curr").ino();
                let before = inode();
                let fits = is_pair(&curr);
                match inode() == before {
                    true => assert_eq!(fits, Some(true), "by two paths to the same directory"),
                    false => moved += 1,
                }
            }
            (whole, gone, moved)
        });
        for day in 1..=ROLLS {
            site.run(&site.root(), 10 * day, renew_all).unwrap();
            let report = site.run(&site.root(), 10 * day + 1, roll).unwrap();
            assert!(!report.has_failed() && report.published.len() == 4, "{report:#?}");
        }
        is_over.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    println!(
        "{whole} readings of one directory during {ROLLS} rolls, {gone} of one that went; {moved} exchanged between"
    );
    assert!(whole > 100, "{whole} readings");
}

// ---- what is run -------------------------------------------------------------------------------------

fn renew(world: World<'_>) -> Result<Report, ManagerError> {
    renew::renew(world, &renew::Request::default())
}

fn renew_services(world: World<'_>) -> Result<Report, ManagerError> {
    renew::renew(world, &renew::Request { force: true, ..renew::Request::default() })
}

fn renew_all(world: World<'_>) -> Result<Report, ManagerError> {
    renew::renew(world, &renew::Request { force: true, with_authorities: true, ..renew::Request::default() })
}

fn renew_with_the_same_key(world: World<'_>) -> Result<Report, ManagerError> {
    let selection = vec!["example.com".to_owned()];
    renew::renew(
        world,
        &renew::Request { selection, force: true, reuse_key: true, ..renew::Request::default() },
    )
}

fn roll(world: World<'_>) -> Result<Report, ManagerError> {
    roll::roll(world, &roll::Request::default())
}

fn tend(world: World<'_>) -> Result<Report, ManagerError> {
    tend::tend(world, &tend::Request::default())
}

fn distribute(world: World<'_>) -> Result<Report, ManagerError> {
    let extent = Extent { acts: true, restarts_all: true };
    distribute::distribute(
        world,
        &distribute::Request { selection: Vec::new(), extent, refreshes_zones: true, dry_run: false },
    )
}

/// What is revoked cannot be revoked again, and is on the list.
fn revoke(world: World<'_>) -> Result<Report, ManagerError> {
    let service = "example.com/web".to_owned();
    match revoke::revoke(world, &revoke::Request { service, serial: None, reason: Reason::Superseded }) {
        Err(ManagerError::Usage(told)) if told.contains("is revoked already") => Ok(Report::default()),
        done => done,
    }
}

fn clean(world: World<'_>) -> Result<Report, ManagerError> {
    clean::clean(world, &clean::Request::default())
}
