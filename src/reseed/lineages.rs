//! Whole runs with a certificate manager: what it holds is installed, it is asked when the machine has
//! another name, and what it does not deliver harms nobody but the hook that waits for it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicI64, Ordering};

use super::tests::{Fake, both, machine, rename};
use super::*;
use crate::hook::{Policy, Verb};
use crate::ledger::Former;
use crate::pki::issue::tests::made;
use crate::pki::{Algorithm, Container};
use crate::plan::Stage;
use crate::seed::Subject;
use crate::service::{Errand, Offline, ServiceError, Told};

const LINEAGE: &str = "etc/ssl-mgr/certs/example.com/web";

/// The world at the time at which the certificates below hold; a moment later each time.
fn world<'a>(root: &'a Root, services: &'a dyn Services) -> World<'a> {
    static MOMENTS: AtomicI64 = AtomicI64::new(0);
    let moment = time::Duration::milliseconds(MOMENTS.fetch_add(1, Ordering::Relaxed));
    let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap() + moment;
    World { now, ..super::tests::world(root, services) }
}

/// A machine on which both hooks take what the manager has.
fn managed(fqdn: &str, more: &str) -> (tempfile::TempDir, Root) {
    let (dir, root) = machine(fqdn);
    let settings = format!(
        "[hook.pair]\nissuer = \"manager:example.com/web\"\n{more}\
         [hook.combined]\nissuer = \"manager:example.com/web\"\n{more}"
    );
    std::fs::write(dir.path().join("etc/reseed/reseed.toml"), settings).unwrap();
    (dir, root.pretend_live())
}

/// A new version in a name, which becomes the current one.
fn roll(dir: &Path, name: &str) {
    let lineage = dir.join(LINEAGE);
    let number = std::fs::read_dir(lineage.join("db")).map_or(0, Iterator::count);
    let version = lineage.join(format!("db/{number}"));
    std::fs::create_dir_all(&version).unwrap();
    let (_, certificate, key) = made(name, Algorithm::P256, &Subject::default());
    std::fs::write(version.join("privkey.pem"), key.to_pem(Container::Pkcs8).unwrap().reveal()).unwrap();
    std::fs::write(version.join("cert.pem"), &certificate).unwrap();
    std::fs::write(version.join("chain.pem"), &certificate).unwrap();
    let _ = std::fs::remove_file(lineage.join("curr"));
    symlink(format!("db/{number}"), lineage.join("curr")).unwrap();
}

/// Services beside which there is a manager; it delivers only when it is to.
struct Site<'a> {
    services: Fake,
    dir: &'a Path,
    delivers: Cell<Option<&'static str>>,
    calls: RefCell<Vec<String>>,
}

impl<'a> Site<'a> {
    fn new(dir: &'a tempfile::TempDir, delivers: Option<&'static str>) -> Self {
        let delivers = Cell::new(delivers);
        Self { services: Fake::default(), dir: dir.path(), delivers, calls: RefCell::default() }
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.borrow_mut())
    }
}

impl Services for Site<'_> {
    fn run(&self, errand: &Errand<'_>) -> Result<String, ServiceError> {
        let [_, manager, what, service] = errand.command else { return Offline.run(errand) };
        assert!(manager == "manager" && errand.network && errand.limit <= Duration::from_mins(5));
        assert!(errand.writes.contains(&"/etc/ssl-mgr".into()), "{:?}", errand.writes);
        self.calls.borrow_mut().push(format!("{what} {service}"));
        match (self.delivers.get(), what.as_str()) {
            (Some(name), "roll") => roll(self.dir, name),
            (Some(_), _) => {}
            (None, _) => return Err(ServiceError("the authority does not answer".into())),
        }
        Ok(String::new())
    }

    fn tell(&self, requests: &BTreeMap<String, Verb>) -> Result<BTreeMap<String, Told>, ServiceError> {
        self.services.tell(requests)
    }

    fn triggers(&self, unit: &str) -> Result<Vec<String>, ServiceError> {
        self.services.triggers(unit)
    }

    fn reload(&self) -> Result<(), ServiceError> {
        self.services.reload()
    }

    fn gate(&self, unit: &str, policy: Policy) -> Result<Vec<Former>, ServiceError> {
        self.services.gate(unit, policy)
    }

    fn release(&self, unit: &str, former: &[Former]) -> Result<(), ServiceError> {
        self.services.release(unit, former)
    }

    fn retry(&self, wanted: bool) -> Result<(), ServiceError> {
        self.services.retry(wanted)
    }
}

fn named(name: &str) -> [Option<String>; 2] {
    [Some(name.to_owned()), Some(name.to_owned())]
}

fn unattended(stage: Option<Stage>) -> Request {
    Request { unattended: true, stage, ..Request::default() }
}

const ASKED: [&str; 2] = ["renew example.com/web", "roll example.com/web"];

#[test]
fn a_machine_with_another_name_asks_once_for_all_its_hooks() {
    let (dir, root) = managed("old.example.com", "");
    roll(dir.path(), "old.example.com");
    let site = Site::new(&dir, Some("new.example.com"));
    let report = apply(world(&root, &site), &Request::default()).unwrap();
    assert!(!report.has_failed(), "{:?}", report.outcomes);
    assert_eq!((both(&root), site.calls().len()), (named("old.example.com"), 0));
    rename(&dir, "new.example.com");
    let early = apply(world(&root, &site), &unattended(Some(Stage::Boot))).unwrap();
    assert_eq!((both(&root), site.calls().len()), (named("old.example.com"), 0), "not so early");
    assert!(early.plan.hooks.iter().all(|hook| hook.deferred.is_some()));
    let report = apply(world(&root, &site), &unattended(Some(Stage::Network))).unwrap();
    assert!(!report.has_failed(), "{:?}", report.outcomes);
    assert_eq!((both(&root), site.calls()), (named("new.example.com"), ASKED.map(str::to_owned).to_vec()));
    let recorded = store::ledger(&root).unwrap();
    let issuers = recorded.hook.values().flat_map(|entry| entry.file.values()).map(|made| &made.issuer);
    assert!(issuers.flatten().all(|issuer| issuer.to_string() == "manager:example.com/web"));
    root.cut_power_after(usize::MAX);
    apply(world(&root, &site), &Request::default()).unwrap();
    assert_eq!((root.changes(), site.calls().len()), (0, 0), "a second run has nothing to do");
    roll(dir.path(), "new.example.com");
    let before = root.read(Path::new("/etc/combined/x.pem")).unwrap();
    apply(world(&root, &site), &unattended(Some(Stage::Early))).unwrap();
    assert_ne!(root.read(Path::new("/etc/combined/x.pem")).unwrap(), before, "what was rolled is installed");
    assert_eq!((both(&root), site.calls().len()), (named("new.example.com"), 0));
}

#[test]
fn a_manager_that_refuses_is_asked_again_with_pauses_and_taken_at_its_word_at_once() {
    let (dir, root) = managed("old.example.com", "");
    roll(dir.path(), "old.example.com");
    let site = Site::new(&dir, None);
    apply(world(&root, &site), &Request::default()).unwrap();
    rename(&dir, "new.example.com");
    let report = apply(world(&root, &site), &unattended(None)).unwrap();
    assert_eq!(site.calls(), [ASKED[0]], "one refusal is enough for a run");
    assert_eq!(both(&root), named("old.example.com"), "the old files stand");
    let Some(Outcome::Failed(why)) = report.outcomes.values().next() else { panic!("{report:?}") };
    assert!(why.contains("still says") && why.contains("does not answer"), "{why}");
    assert!(site.services.asked().contains(&"hold pair.service".to_owned()), "its name is wrong");
    apply(world(&root, &site), &unattended(None)).unwrap();
    assert_eq!(site.calls().len(), 0, "not again so soon");
    roll(dir.path(), "new.example.com");
    let report = apply(world(&root, &site), &unattended(None)).unwrap();
    assert_eq!((both(&root), site.calls().len()), (named("new.example.com"), 0), "it rolled by itself");
    assert_eq!(report.released, ["combined.service", "pair.service"]);
    assert!(store::ledger(&root).unwrap().failure.is_empty());
}

#[test]
fn a_stop_gap_serves_until_the_manager_delivers() {
    let (dir, root) = managed("old.example.com", "stop-gap = true\n");
    roll(dir.path(), "old.example.com");
    let site = Site::new(&dir, None);
    apply(world(&root, &site), &Request::default()).unwrap();
    rename(&dir, "new.example.com");
    site.services.asked();
    let report = apply(world(&root, &site), &unattended(None)).unwrap();
    assert!(report.has_failed() && report.failures[0].contains("stands in"), "{:?}", report.failures);
    assert_eq!(both(&root), named("new.example.com"));
    assert_eq!(site.calls(), [ASKED[0]]);
    let told = ["restart combined.service", "reload pair.service", "retry true"];
    assert_eq!(site.services.asked(), told, "nobody is held back");
    let gap = root.read(Path::new("/etc/combined/x.pem")).unwrap();
    // It is still waited for, with pauses; by hand the manager is asked at once.
    let again = apply(world(&root, &site), &unattended(None)).unwrap();
    assert!(again.plan.is_stale() && site.calls().is_empty() && site.services.asked().is_empty());
    apply(world(&root, &site), &Request::default()).unwrap();
    assert_eq!(site.calls(), [ASKED[0]]);
    assert_eq!(root.read(Path::new("/etc/combined/x.pem")).unwrap(), gap, "one stop-gap is enough");
    assert!(store::ledger(&root).unwrap().gate.is_empty());
    site.delivers.set(Some("new.example.com"));
    let report = apply(world(&root, &site), &Request::default()).unwrap();
    assert!(!report.has_failed() && !look(world(&root, &site), &Request::default()).unwrap().plan.is_stale());
    assert_ne!(root.read(Path::new("/etc/combined/x.pem")).unwrap(), gap);
}

#[test]
fn without_a_manager_what_may_be_served_is_served() {
    for (case, more, expected, held) in [
        ("no stop-gap", "", [None, None], true),
        ("a stop-gap", "stop-gap = true\n", named("mail.example.com"), false),
    ] {
        let (dir, root) = managed("mail.example.com", more);
        let fake = Fake::default();
        let report = apply(world(&root, &fake), &Request::default()).unwrap();
        assert!(!report.has_failed(), "{case}");
        assert_eq!((both(&root), !store::ledger(&root).unwrap().gate.is_empty()), (expected, held), "{case}");
        let seen = look(world(&root, &fake), &Request::default()).unwrap();
        let reasons: Vec<_> = seen.plan.hooks[0].tasks[0].reasons.iter().map(ToString::to_string).collect();
        assert!(seen.plan.is_stale(), "{case}");
        assert!(reasons.iter().any(|reason| reason.contains("is not configured")), "{case}: {reasons:?}");
        roll(dir.path(), "mail.example.com");
        apply(world(&root, &fake), &Request::default()).unwrap();
        assert_eq!(both(&root), named("mail.example.com"), "{case}");
        assert!(store::ledger(&root).unwrap().gate.is_empty(), "{case}");
        // What it has lost since harms nobody: what was installed still holds.
        std::fs::remove_file(dir.path().join(LINEAGE).join("curr")).unwrap();
        apply(world(&root, &fake), &Request::default()).unwrap();
        assert!(store::ledger(&root).unwrap().gate.is_empty(), "{case}");
        assert!(look(world(&root, &fake), &Request::default()).unwrap().plan.is_stale(), "{case}");
    }
}

#[test]
fn an_installation_that_dies_before_any_change_is_made_good_by_the_next() {
    let rolled = |stop: usize| {
        let (dir, root) = managed("mail.example.com", "");
        roll(dir.path(), "mail.example.com");
        apply(world(&root, &Fake::default()), &Request::default()).unwrap();
        roll(dir.path(), "mail.example.com");
        root.cut_power_after(stop);
        let _ = apply(world(&root, &Fake::default()), &Request::default());
        (dir, root)
    };
    let (_dir, root) = rolled(usize::MAX);
    let changes = root.changes();
    assert!(changes > 30, "{changes}");
    for stop in 0..changes {
        let (dir, _) = rolled(stop);
        let next = Root::open(dir.path()).unwrap().pretend_live();
        apply(world(&next, &Fake::default()), &Request::default()).unwrap();
        assert_eq!(both(&next), named("mail.example.com"), "{stop}: never a mixed pair");
        let held = next.text(&Path::new("/").join(LINEAGE).join("db/1/cert.pem")).unwrap().unwrap();
        let there = next.text(Path::new("/etc/combined/x.pem")).unwrap().unwrap();
        assert!(there.contains(held.trim()), "{stop}");
        next.cut_power_after(usize::MAX);
        apply(world(&next, &Fake::default()), &Request::default()).unwrap();
        assert_eq!(next.changes(), 0, "{stop}");
    }
}
