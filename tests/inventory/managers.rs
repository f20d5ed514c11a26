//! Managers that share an inventory: processes of their own, so that they can be killed.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reseed::manager::inventory::events::Event;
use reseed::manager::inventory::model::{
    About, Algorithms, Certificate, KeyData, KeyInfo, Kind, Name, State, SubjectType,
};
use reseed::manager::inventory::postgres::Postgres;
use reseed::manager::inventory::schedule::{Policy, Standing, Step, due};
use reseed::manager::inventory::store::{Contents, Inventory, InventoryError};
use reseed::pki::key::Secret;
use time::OffsetDateTime;

use super::cluster::{Cluster, open};

const CERTIFICATES: usize = 1_000;
const MANAGERS: usize = 4;
const DATABASE: &str = "RESEED_TEST_DATABASE";

/// Not a test of its own: what the managers below do, when they are started for it.
#[test]
fn a_manager() {
    let Ok(text) = std::env::var(DATABASE) else { return };
    let manager = format!("test:{}", std::process::id());
    let mut inventory = loop {
        match open(&text, &manager) {
            Ok(opened) => break opened,
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    inventory.grace = Duration::from_millis(300);
    loop {
        match work(&mut inventory) {
            Ok(true) => return,
            Ok(false) => {}
            Err(InventoryError::Gone(_) | InventoryError::ClaimLost(_)) => {
                std::thread::sleep(Duration::from_millis(50))
            }
            // A server that starts or stops.
            Err(error) => {
                println!("{error}");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

fn to_issue(standing: &Standing) -> Option<Option<i64>> {
    due(standing, &Policy::default(), OffsetDateTime::now_utc()).into_iter().find_map(|action| {
        match action.step {
            Step::Issue { resume, .. } => Some(resume),
            _ => None,
        }
    })
}

fn to_deploy(standing: &Standing) -> Option<i64> {
    due(standing, &Policy::default(), OffsetDateTime::now_utc()).into_iter().find_map(|action| {
        match action.step {
            Step::Deploy { instance, .. } => Some(instance),
            _ => None,
        }
    })
}

/// One round; true when nothing is left.
fn work(inventory: &mut Postgres) -> Result<bool, InventoryError> {
    let mut left = Vec::new();
    inventory.standings(None, &mut |standing| {
        if to_issue(&standing).is_some() || to_deploy(&standing).is_some() {
            left.push(standing.certificate);
        }
    })?;
    if left.is_empty() {
        return Ok(true);
    }
    let claimed = inventory.claim(&left, 8)?;
    if claimed.is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
    for certificate in claimed {
        // Somebody may have done it between our look and our claim.
        let mut now = None;
        inventory
            .standings(Some(std::slice::from_ref(&certificate)), &mut |standing| now = Some(standing))?;
        let standing = now.unwrap();
        if let Some(resume) = to_issue(&standing) {
            let begin = Event::Reserved { algorithms: Algorithms::Rsa, must_staple: false };
            let instance = match resume {
                Some(instance) => instance,
                None => inventory.record(&certificate, &[begin], OffsetDateTime::now_utc())?.unwrap(),
            };
            // What takes its time elsewhere.
            std::thread::sleep(Duration::from_millis(4));
            issued(inventory, &certificate, instance)?;
        }
        inventory
            .standings(Some(std::slice::from_ref(&certificate)), &mut |it| now_deployable(&mut left, it))?;
        let mut deploy = None;
        inventory.standings(Some(std::slice::from_ref(&certificate)), &mut |it| deploy = to_deploy(&it))?;
        if let Some(instance) = deploy {
            let to = Event::Moved { instance, to: State::Deployed, taken_back: false };
            inventory.record(&certificate, &[to], OffsetDateTime::now_utc())?;
        }
        inventory.release(&certificate)?;
    }
    Ok(false)
}

fn now_deployable(left: &mut Vec<Name>, standing: Standing) {
    left.retain(|name| *name != standing.certificate);
}

fn issued(inventory: &mut Postgres, certificate: &Name, instance: i64) -> Result<(), InventoryError> {
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random).unwrap();
    let now = OffsetDateTime::now_utc();
    let info = KeyInfo {
        algorithm: Algorithms::Rsa.keys()[0],
        digest: random.iter().map(|octet| format!("{octet:02X}")).collect(),
        created: Some(now.replace_nanosecond(0).unwrap()),
    };
    let key = KeyData {
        info,
        certificate: "a certificate".into(),
        chain: String::new(),
        key: Secret::new("a key"),
    };
    let event = Event::Issued {
        instance,
        keys: vec![key],
        issuer: None,
        not_before: now - time::Duration::days(1),
        not_after: now + time::Duration::days(89),
    };
    inventory.record(certificate, &[event], now).map(drop)
}

/// An inventory with so many certificates that have never been issued.
pub fn fresh(count: usize) -> Contents {
    let certificate = Certificate {
        subject: SubjectType::Server,
        kind: Kind::Le,
        authority: None,
        disabled: false,
        algorithms: Algorithms::Rsa,
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

fn start(text: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["managers::a_manager", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(DATABASE, text).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.process_group(0).spawn().unwrap()
}

/// Every certificate is issued exactly once, whoever dies; with the server killed in the middle, too.
#[test]
fn managers_that_die_leave_their_work_to_others() {
    let Some(cluster) = Cluster::start() else { return };
    for (database, kills_server) in [("killed", false), ("restarted", true)] {
        let mut inventory = cluster.inventory(database);
        inventory.fill(&fresh(CERTIFICATES)).unwrap();
        let text = cluster.connection(database);
        let begun = Instant::now();
        let mut managers: Vec<Child> = (0..MANAGERS).map(|_| start(&text)).collect();
        let (mut killed, mut restarted, mut next, mut last) = (0, false, 0, Instant::now());
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let done =
                cluster.psql(database, "SELECT count(*) FROM reseed.instances WHERE state = 'deployed'");
            let done: usize = done.ok().and_then(|done| done.parse().ok()).unwrap_or_default();
            if done == CERTIFICATES {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(240), "{done} after {:?}", begun.elapsed());
            if last.elapsed() >= Duration::from_millis(500) {
                let victim = &mut managers[next % MANAGERS];
                victim.kill().unwrap();
                victim.wait().unwrap();
                *victim = start(&text);
                (killed, next, last) = (killed + 1, next + 1, Instant::now());
            }
            if kills_server && !restarted && done > CERTIFICATES / 3 {
                cluster.control("restart");
                restarted = true;
            }
        }
        for mut manager in managers {
            let patience = Instant::now();
            while manager.try_wait().unwrap().is_none() {
                if patience.elapsed() > Duration::from_secs(20) {
                    manager.kill().unwrap();
                    panic!("a manager does not see that all is done");
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        println!("{CERTIFICATES} certificates, {MANAGERS} managers, {killed} killed: {:?}", begun.elapsed());
        assert!(killed > 0 && restarted == kills_server);
        for (what, sql, expected) in [
            (
                "one instance each",
                "SELECT count(*) FROM (SELECT certificate FROM reseed.instances GROUP BY 1 HAVING count(*) <> 1) d",
                "0",
            ),
            ("instances", "SELECT count(*) FROM reseed.instances WHERE state = 'deployed'", "1000"),
            ("keys", "SELECT count(*) FROM reseed.instance_keys", "1000"),
            ("certificates", "SELECT count(DISTINCT certificate) FROM reseed.instances", "1000"),
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
    let stolen = names.iter().find(|name| !mine.contains(name)).unwrap();
    let event = Event::Reminded;
    let error = two.record(stolen, std::slice::from_ref(&event), OffsetDateTime::now_utc()).unwrap_err();
    assert!(matches!(error, InventoryError::ClaimLost(_)), "{error}");
    one.record(stolen, std::slice::from_ref(&event), OffsetDateTime::now_utc()).unwrap();
    drop(one);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(two.claim(&names, 100).unwrap(), [], "it may come back");
    std::thread::sleep(Duration::from_millis(300));
    let theirs = two.claim(&names, 100).unwrap();
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
