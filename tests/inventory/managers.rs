//! Managers that share an inventory: processes of their own, so that they can be killed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reseed::manager::inventory::events::Event;
use reseed::manager::inventory::model::{About, Algorithms, Certificate, Kind, Name, SubjectType};
use reseed::manager::inventory::store::{Contents, Inventory, InventoryError};
use time::OffsetDateTime;

use super::cluster::{Cluster, open};

const CERTIFICATES: usize = 1_000;
const MANAGERS: usize = 4;
/// What a run may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(240);

/// An inventory with so many certificates that have never been issued.
pub fn fresh(count: usize) -> Contents {
    let certificate = Certificate {
        subject: SubjectType::Server,
        kind: Kind::Local,
        authority: None,
        disabled: false,
        algorithms: Algorithms::Ec,
        must_staple: false,
        authorized_until: None,
        reminded: None,
        about: About::default(),
        main: About::default(),
        names: BTreeMap::new(),
        services: Default::default(),
        targets: Vec::new(),
    };
    let mut contents = Contents { next: 1, ..Contents::default() };
    for at in 0..count {
        contents
            .objects
            .certificates
            .insert(Name::new(&format!("www{at:06}.example")).unwrap(), certificate.clone());
    }
    contents
}

/// A manager as a site starts it; what it says goes into a file.
fn start(top: &Path, said: &Path) -> Child {
    let file = fs::File::options().create(true).append(true).open(said).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_reseed"));
    command.args(["manager", "--topdir"]).arg(top).args(["issue", "--missing", "--all"]);
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    command.env_remove("PGHOST").env("HOME", top).process_group(0).spawn().unwrap()
}

/// Ends what it has started, however the test ends.
struct Managers(Vec<Child>);

impl Drop for Managers {
    fn drop(&mut self) {
        for manager in &mut self.0 {
            let _ = manager.kill();
            let _ = manager.wait();
        }
    }
}

/// Every certificate is issued exactly once, whoever dies; with the server killed in the middle, too.
#[test]
fn managers_that_die_leave_their_work_to_others() {
    let Some(cluster) = Cluster::start() else { return };
    for (database, kills_server) in [("killed", false), ("restarted", true)] {
        cluster.inventory(database).fill(&fresh(CERTIFICATES)).unwrap();
        let more = "ca_key = \"ec:p256\"\ntakeover_seconds = 1\n[keys]\npassphrase_file = \"passphrase\"\n";
        let top = super::top_with(&cluster.connection(database), more);
        super::good(top.path(), &["ca"]);
        let said = top.path().join("said");
        let begun = Instant::now();
        let mut managers = Managers((0..MANAGERS).map(|_| start(top.path(), &said)).collect());
        let (mut killed, mut restarted, mut next, mut last) = (0, false, 0, Instant::now());
        let (mut ended, mut failed, mut before) = (0, 0, 0);
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let done = cluster.psql(
                database,
                "SELECT count(DISTINCT certificate) FROM reseed.instances WHERE state = 'issued' AND issuer IS NOT NULL",
            );
            let done: usize = done.ok().and_then(|done| done.parse().ok()).unwrap_or_default();
            let told = || fs::read_to_string(&said).unwrap();
            if done == CERTIFICATES {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{done} after {:?}: {}", begun.elapsed(), told());
            for manager in &mut managers.0 {
                // What a dead one held is left to it for a second: until then there may be nothing for the others.
                if let Some(status) = manager.try_wait().unwrap() {
                    assert!(matches!(status.code(), Some(0 | 1)), "{status}: {}", told());
                    (ended, failed) = (ended + 1, failed + usize::from(!status.success()));
                    *manager = start(top.path(), &said);
                }
            }
            // On a machine that has much else to do one that is killed before it has begun proves nothing.
            if last.elapsed() >= Duration::from_millis(500) && done >= before + CERTIFICATES / 50 {
                before = done;
                let victim = &mut managers.0[next % MANAGERS];
                victim.kill().unwrap();
                victim.wait().unwrap();
                *victim = start(top.path(), &said);
                (killed, next, last) = (killed + 1, next + 1, Instant::now());
            }
            if kills_server && !restarted && done > CERTIFICATES / 3 {
                cluster.control("restart");
                restarted = true;
            }
        }
        let took = begun.elapsed();
        for manager in &mut managers.0 {
            let patience = Instant::now();
            let status = loop {
                match manager.try_wait().unwrap() {
                    Some(status) => break status,
                    None => std::thread::sleep(Duration::from_millis(20)),
                }
                assert!(
                    patience.elapsed() < Duration::from_secs(30),
                    "a manager does not see that all is done"
                );
            };
            assert!(matches!(status.code(), Some(0 | 1)), "{status}");
        }
        println!(
            "{CERTIFICATES} certificates, {MANAGERS} managers, {killed} killed, {ended} ended early, {failed} of \
             them with a failure: {took:?}"
        );
        let told = fs::read_to_string(&said).unwrap();
        assert!(!told.contains("panicked"), "{told}");
        assert!(killed > 0 && restarted == kills_server);
        for (what, sql, expected) in [
            (
                "one instance each",
                "SELECT count(*) FROM (SELECT certificate FROM reseed.instances GROUP BY 1 HAVING count(*) <> 1) d",
                "0",
            ),
            (
                "instances, with the authority's",
                "SELECT count(*) FROM reseed.instances WHERE state = 'issued'",
                "1001",
            ),
            ("keys", "SELECT count(DISTINCT key) FROM reseed.instance_keys", "1001"),
            ("certificates", "SELECT count(DISTINCT certificate) FROM reseed.instances", "1001"),
            ("claims", "SELECT count(*) FROM reseed.claims WHERE session = ANY (reseed.living())", "0"),
        ] {
            assert_eq!(cluster.sql(database, sql), expected, "{database}: {what}");
        }
    }
}

/// A claim is one manager's; what a dead one held is another's after the grace, and never before.
#[test]
fn a_claim_lives_as_long_as_its_manager() {
    let Some(cluster) = Cluster::start() else { return };
    let text = {
        let mut inventory = cluster.inventory("claims");
        inventory.fill(&fresh(10)).unwrap();
        cluster.connection("claims")
    };
    let names: Vec<Name> = fresh(10).objects.certificates.into_keys().collect();
    let mut one = open(&text, "one").unwrap();
    let mut two = open(&text, "two").unwrap();
    two.grace = Duration::from_millis(200);
    assert_eq!(one.claim(&names, 4).unwrap().len(), 4);
    let mut mine = two.claim(&names, 100).unwrap();
    assert_eq!(mine.len(), 6, "what the other has is skipped");
    assert_eq!(two.claim(&names, 100).unwrap(), mine, "what one has is had again");
    let theirs: Vec<Name> = names.iter().filter(|name| !mine.contains(name)).cloned().collect();
    let stolen = &theirs[0];
    let event = Event::Reminded;
    let error = two.record(stolen, std::slice::from_ref(&event), OffsetDateTime::now_utc()).unwrap_err();
    assert!(matches!(error, InventoryError::ClaimLost(_)), "{error}");
    one.record(stolen, std::slice::from_ref(&event), OffsetDateTime::now_utc()).unwrap();
    drop(one);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(two.claim(&theirs, 100).unwrap(), [], "it may come back");
    std::thread::sleep(Duration::from_millis(300));
    let theirs = two.claim(&theirs, 100).unwrap();
    assert_eq!(theirs.len(), 4);
    mine.extend(theirs);
    // The server is killed; whoever comes back has what he had.
    cluster.control("restart");
    let mut three = loop {
        match open(&text, "three") {
            Ok(opened) => break opened,
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    assert_eq!(three.claim(&names, 100).unwrap(), []);
    let first = two.record(&mine[0], std::slice::from_ref(&event), OffsetDateTime::now_utc());
    assert!(matches!(first, Err(InventoryError::Gone(_)) | Ok(_)), "{first:?}");
    two.record(&mine[0], std::slice::from_ref(&event), OffsetDateTime::now_utc()).unwrap();
    three.grace = Duration::ZERO;
    assert_eq!(three.claim(&names, 100).unwrap(), [], "they are held again");
    two.release(&mine[0]).unwrap();
    assert_eq!(three.claim(&names, 100).unwrap(), [mine[0].clone()]);
}
