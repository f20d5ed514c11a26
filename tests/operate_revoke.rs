//! What an own authority takes back, by the inventory and by its list; OpenSSL says whether the list holds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use reseed::manager::inventory::files::Files;
use reseed::manager::inventory::model::{Algorithms, Certificate, Kind, Name, Object, State, SubjectType};
use reseed::manager::inventory::schedule::{Action, Next, Policy, Reason as Why, Step, due};
use reseed::manager::inventory::store::{Change, Inventory};
use reseed::manager::load;
use reseed::manager::operate::issue::{Wanted, make};
use reseed::manager::operate::revoke::{Request, revoke};
use reseed::manager::operate::{Operation, Report, authority, crl};
use reseed::manager::run::World;
use reseed::pki::x509::crl::{Reason, read};
use reseed::system::root::Root;
use support::Ran;
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

struct Site {
    top: TempDir,
    root: Root,
    now: OffsetDateTime,
}

impl Site {
    /// An own authority, and certificates of which an instance is deployed.
    fn new(certificates: &[&str]) -> Self {
        let top = tempfile::tempdir().unwrap();
        let root = Root::open(Path::new("/")).unwrap();
        // OpenSSL looks at its own clock.
        let site = Self { top, root, now: OffsetDateTime::now_utc() };
        fs::create_dir(site.path("conf.d")).unwrap();
        fs::write(site.path("passphrase"), "a long one\n").unwrap();
        fs::set_permissions(site.path("passphrase"), fs::Permissions::from_mode(0o600)).unwrap();
        let text = "[keys]\npassphrase_file = 'passphrase'\n[inventory]\ncrl = 'lists/fleet.pem'\nca_key = 'ec:p256'\n";
        fs::write(site.path("conf.d/ssl-mgr.conf"), text).unwrap();
        fs::create_dir(site.path("lists")).unwrap();
        site.with(|op| authority::make(op, authority::Request::default()).unwrap());
        for text in certificates {
            let certificate = Certificate::new(SubjectType::Server, Kind::Local, Algorithms::Ec);
            let object = Object::Certificate(name(text), Box::new(certificate));
            site.files().change(&[Change::Add(object)]).unwrap();
            let id = site.issue(text);
            site.deploy(text, id);
        }
        site
    }

    fn path(&self, path: &str) -> PathBuf {
        self.top.path().join(path)
    }

    fn files(&self) -> Files<'_> {
        Files::of_top(&self.root, self.top.path())
    }

    fn with(&self, work: impl FnOnce(&mut Operation<'_>)) -> Report {
        let config = load::load(&self.root, self.top.path()).unwrap();
        assert!(config.faults.is_empty(), "{:?}", config.faults);
        let (host, tell) = ("manager.example".to_owned(), |_: &str| {});
        let (top, now) = (self.top.path().to_owned(), self.now);
        let world = World { root: &self.root, top, now, host, tell, config: None };
        let mut op = Operation::new(world, config, Box::new(self.files()));
        work(&mut op);
        op.report
    }

    /// The number of a new instance.
    fn issue(&self, text: &str) -> i64 {
        let mut id = 0;
        self.with(|op| {
            let name = name(text);
            op.inventory.claim(std::slice::from_ref(&name), 1).unwrap();
            let algorithms = Algorithms::Ec;
            let wanted = Wanted { name: name.clone(), algorithms, must_staple: false, resume: None };
            id = make(op, &[wanted]).unwrap().remove(&name).unwrap().unwrap();
        });
        id
    }

    /// It goes to no host, so that it is on every one.
    fn deploy(&self, text: &str, instance: i64) {
        use reseed::manager::inventory::events::Event;
        let to = State::Deployed;
        self.with(|op| {
            op.inventory.claim(&[name(text)], 1).unwrap();
            op.record(&name(text), &[Event::Moved { instance, to, taken_back: false }]).unwrap().unwrap();
        });
    }

    fn revoke(&self, names: &[&str], instances: &[i64], reason: Reason) -> Report {
        let names = names.iter().map(|text| name(text)).collect();
        let request = Request { names, instances: instances.to_vec(), reason, dry_run: false };
        self.with(|op| revoke(op, &request).unwrap())
    }

    fn state(&self, id: i64) -> State {
        self.files().instances().unwrap().into_iter().find(|it| it.id == id).unwrap().state
    }

    fn due(&self, text: &str, now: OffsetDateTime) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut each = |standing| actions.extend(due(&standing, &Policy::default(), now));
        self.files().standings(Some(&[name(text)]), &mut each).unwrap();
        actions
    }

    /// What OpenSSL says of the certificate of an instance.
    fn verify(&self, id: i64) -> Ran {
        let mut files = self.files();
        let ca = files.instances().unwrap().into_iter().find(|it| it.issuer.is_none()).unwrap().id;
        for (file, id) in [("ca.pem", ca), ("leaf.pem", id)] {
            fs::write(self.path(file), &files.keys(id).unwrap()[0].certificate).unwrap();
        }
        let mut openssl = Command::new("openssl");
        openssl.args(["verify", "-crl_check", "-CAfile"]).arg(self.path("ca.pem"));
        openssl.arg("-CRLfile").arg(self.path("lists/fleet.pem")).arg(self.path("leaf.pem"));
        Ran::of("openssl verify", &mut openssl)
    }

    fn lists(&self) -> Vec<Vec<u8>> {
        let text = fs::read_to_string(self.path("lists/fleet.pem")).unwrap();
        pem::parse_many(text).unwrap().into_iter().map(pem::Pem::into_contents).collect()
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// serverPKI had the state and set it nowhere; an instance that was in it ended the schedule with an assertion.
#[test]
fn what_is_revoked_gets_a_successor_and_stays_in_the_list() {
    if !support::has("openssl") {
        return;
    }
    let site = Site::new(&["a.example", "b.example"]);
    let (a, b) = (2, 3);
    let report = site.revoke(&["a.example"], &[], Reason::KeyCompromise);
    assert!(!report.has_failed(), "{report:?}");
    assert_eq!([site.state(a), site.state(b)], [State::Revoked, State::Deployed]);
    site.verify(a).exits(2).complains("certificate revoked");
    site.verify(b).exits(0);
    let list = read(&site.lists()[0]).unwrap();
    assert_eq!(list.revoked.iter().map(|one| one.reason).collect::<Vec<_>>(), [Reason::KeyCompromise]);

    // Somebody is told at once; the successor is deployed, and only then is what is revoked put away.
    let steps =
        |text: &str| site.due(text, site.now).into_iter().map(|it| (it.step, it.because)).collect::<Vec<_>>();
    assert_eq!(steps("a.example"), [(Step::Remind, Why::Revoked)]);
    assert_eq!(steps("b.example"), []);
    let fresh = site.issue("a.example");
    assert_eq!(steps("a.example"), [(Step::Deploy { instance: fresh, replaces: None }, Why::Revoked)]);
    site.deploy("a.example", fresh);
    assert_eq!(steps("a.example"), [(Step::Archive { instance: a }, Why::Ended)]);
    site.verify(fresh).exits(0);

    // By its number; the first stays in the list although the inventory has put it away.
    use reseed::manager::inventory::events::Event;
    site.with(|op| {
        op.inventory.claim(&[name("a.example")], 1).unwrap();
        let to = State::Archived;
        op.record(&name("a.example"), &[Event::Moved { instance: a, to, taken_back: false }])
            .unwrap()
            .unwrap();
    });
    site.revoke(&[], &[b], Reason::Superseded);
    let next = read(&site.lists()[0]).unwrap();
    assert_eq!((site.lists().len(), next.revoked.len()), (1, 2));
    assert!(next.number > list.number, "{next:?}");
    site.verify(a).exits(2).complains("certificate revoked");
    site.verify(b).exits(2).complains("certificate revoked");
}

/// A public authority's certificate that is revoked is issued anew by the schedule.
#[test]
fn a_public_certificate_that_is_revoked_is_issued_anew() {
    let site = Site::new(&["a.example"]);
    site.revoke(&["a.example"], &[], Reason::Unspecified);
    let mut actions = Vec::new();
    let mut each = |mut standing: reseed::manager::inventory::schedule::Standing| {
        standing.kind = Kind::Le;
        actions.extend(due(&standing, &Policy::default(), site.now));
    };
    site.files().standings(Some(&[name("a.example")]), &mut each).unwrap();
    let [Action { step: Step::Issue { then: Next::Deploy, .. }, because: Why::Revoked, .. }] =
        actions.as_slice()
    else {
        panic!("{actions:?}")
    };
}

#[test]
fn a_list_is_written_anew_before_it_ends_and_only_then() {
    let mut site = Site::new(&["a.example"]);
    let file = site.path("lists/fleet.pem");
    site.with(|op| crl::write(op, &[].into()).unwrap());
    let (first, began) = (fs::read(&file).unwrap(), site.now);
    assert_eq!(read(&site.lists()[0]).unwrap().revoked, []);
    for (days, is_new) in [(1, false), (9, false), (21, true), (22, false)] {
        let before = fs::read(&file).unwrap();
        site.now = began + Duration::days(days);
        site.with(|op| crl::write(op, &[].into()).unwrap());
        assert_eq!(fs::read(&file).unwrap() != before, is_new, "after {days} days");
    }
    assert_ne!(fs::read(&file).unwrap(), first);
    fs::write(&file, "what somebody else wrote\n").unwrap();
    site.with(|op| {
        let error = crl::write(op, &[].into()).unwrap_err().to_string();
        assert!(error.contains("fleet.pem holds something that is no list"), "{error}");
    });
    assert_eq!(fs::read(&file).unwrap(), b"what somebody else wrote\n");
}
