//! Whole runs on scratch machines: the power is cut before every change, services refuse, names
//! come and go.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::*;
use crate::hook::{Policy, Verb};
use crate::identity::Kind;
use crate::ledger::{Former, GateChange};
use crate::pki::container;
use crate::pki::inspect::Certificate;
use crate::plan::{Deferral, PutOff, Stage};
use crate::service::{Errand, Offline, ServiceError, Told};

pub(super) const PAIR: &str = "version = 1\ndescription = \"a pair\"\n[applies]\nfiles = [\"/etc/pair\"]\n\
    [[certificate]]\n\
    [[certificate.file]]\npath = \"/etc/pair/x.key\"\nholds = [\"key\"]\n\
    [[certificate.file]]\npath = \"/etc/pair/x.crt\"\nholds = [\"certificate\"]\nhash-link = \"/etc/pair/hash\"\n\
    [[unit]]\nname = \"pair.service\"\nchange = \"reload\"\n";
const COMBINED: &str = "version = 1\ndescription = \"one file\"\n[applies]\nfiles = [\"/etc/combined\"]\n\
    [[certificate]]\n\
    [[certificate.file]]\npath = \"/etc/combined/x.pem\"\nholds = [\"key\", \"certificate\"]\n\
    [[unit]]\nname = \"combined.service\"\nchange = \"restart\"\n";

/// A machine that is called as it is told, with two hooks and nothing made yet.
pub(super) fn machine(fqdn: &str) -> (tempfile::TempDir, Root) {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let me = (crate::system::root::effective_user(), nix::unistd::getegid().as_raw());
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("etc/hostname", fqdn);
    write("etc/passwd", &format!("root:x:{}:0::/root:/bin/sh\n", me.0));
    write("etc/group", &format!("root:x:{}:\n", me.1));
    write("etc/reseed/hooks.d/pair.toml", PAIR);
    write("etc/reseed/hooks.d/combined.toml", COMBINED);
    write("etc/pair/hash/.keep", "");
    write("etc/combined/.keep", "");
    let root = Root::open(dir.path()).unwrap();
    (dir, root)
}

pub(super) fn now() -> OffsetDateTime {
    crate::system::clock::now()
}

/// A network on which nobody serves anything; one for all tests of a thread.
fn nobody() -> &'static Prober {
    Box::leak(Box::new(Prober { patience: std::time::Duration::ZERO, ..Prober::by_hand() }))
}

pub(super) fn world<'a>(root: &'a Root, services: &'a dyn Services) -> World<'a> {
    World { root, below: None, services, prober: nobody(), now: now() }
}

pub(super) fn rename(dir: &tempfile::TempDir, fqdn: &str) {
    std::fs::write(dir.path().join("etc/hostname"), fqdn).unwrap();
}

/// The name that a pair is for; fails when the key is another certificate's.
pub(super) fn whole(root: &Root, key: &str, certificate: &str) -> Option<String> {
    let read = |path| root.read_optional(Path::new(path)).unwrap();
    let (Some(key), Some(certificate)) = (read(key), read(certificate)) else {
        assert_eq!(read(key).is_some(), read(certificate).is_some(), "half a pair");
        return None;
    };
    let (key, _) = container::read(&key).key.unwrap();
    let says = Certificate::from_der(&container::read(&certificate).certificates[0]).unwrap();
    assert_eq!(key.unwrap().public_digest(), says.public_digest, "a mixed pair");
    says.common_name().map(str::to_owned)
}

pub(super) fn both(root: &Root) -> [Option<String>; 2] {
    [
        whole(root, "/etc/pair/x.key", "/etc/pair/x.crt"),
        whole(root, "/etc/combined/x.pem", "/etc/combined/x.pem"),
    ]
}

/// Staged files, kept old names, drafts: whatever a run leaves only while it works.
fn litter(dir: &tempfile::TempDir) -> Vec<PathBuf> {
    let hidden = |name: &str| name.starts_with('.') && name != ".keep";
    let files = walkdir::WalkDir::new(dir.path()).into_iter().map(Result::unwrap);
    files
        .filter(|entry| entry.depth() > 0 && entry.file_type().is_file() || entry.path_is_symlink())
        .filter(|e| {
            hidden(&e.file_name().to_string_lossy()) || e.path().to_string_lossy().contains("/journal/")
        })
        .map(|entry| entry.into_path())
        .collect()
}

#[test]
fn a_run_that_dies_before_any_change_is_made_good_by_the_next() {
    let changes = {
        let (dir, root) = machine("old.example.com");
        apply(world(&root, &Offline), &Request::default()).unwrap();
        rename(&dir, "new.example.com");
        root.cut_power_after(usize::MAX);
        apply(world(&root, &Offline), &Request::default()).unwrap();
        root.changes()
    };
    let mut halfway = BTreeSet::new();
    for stop in 0..changes {
        let (dir, root) = machine("old.example.com");
        apply(world(&root, &Offline), &Request::default()).unwrap();
        let old = both(&root);
        let first = ["/etc/pair/x.key", "/etc/pair/x.crt", "/etc/combined/x.pem"]
            .map(|path| root.read(Path::new(path)).unwrap());
        rename(&dir, "new.example.com");
        root.cut_power_after(stop);
        let died = apply(world(&root, &Offline), &Request::default());
        let died = died.map_or(true, |report| report.has_failed());
        // What lies there at this moment; within one swap a pair may be mixed until the next run.
        let digest = |path| root.read(Path::new(path)).unwrap();
        let files = ["/etc/pair/x.key", "/etc/pair/x.crt", "/etc/combined/x.pem"].map(digest);
        halfway.insert([files[0] == first[0], files[1] == first[1], files[2] == first[2]]);
        let next = Root::open(dir.path()).unwrap();
        let report = apply(world(&next, &Offline), &Request::default()).unwrap();
        assert!(!report.has_failed(), "{stop}: {report:?}");
        assert_eq!(both(&next), [Some("new.example.com".into()), Some("new.example.com".into())], "{stop}");
        assert_ne!(both(&next), old);
        // A link that the first run made before it died is the second run's to keep or replace.
        let links = next.names(Path::new("/etc/pair/hash")).unwrap().len();
        assert_eq!(links, 2, "{stop}: one hash link beside .keep");
        assert_eq!(litter(&dir), Vec::<PathBuf>::new(), "{stop}");
        next.cut_power_after(usize::MAX);
        let third = apply(world(&next, &Offline), &Request::default()).unwrap();
        assert!(third.outcomes.is_empty() && next.changes() == 0, "{stop}: {} changes", next.changes());
        assert!(died || stop + 3 >= changes, "{stop} of {changes} was not noticed");
    }
    println!("{changes} stops of a whole run: no mixed pair, the next run made everything good");
    assert!(changes > 60, "{changes}");
    assert!(halfway.len() >= 4, "stops before, between and after the files: {halfway:?}");
}

/// A service manager that answers as it is told, and keeps what it was asked.
#[derive(Default)]
pub(super) struct Fake {
    refusing: RefCell<BTreeSet<String>>,
    asked: RefCell<Vec<String>>,
}

impl Fake {
    pub(super) fn refusing(units: &[&str]) -> Self {
        Self {
            refusing: RefCell::new(units.iter().map(|unit| (*unit).to_owned()).collect()),
            ..Self::default()
        }
    }

    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.borrow_mut())
    }
}

impl Services for Fake {
    fn tell(&self, requests: &BTreeMap<String, Verb>) -> Result<BTreeMap<String, Told>, ServiceError> {
        let told = requests.iter().map(|(unit, verb)| {
            self.asked.borrow_mut().push(format!("{verb} {unit}"));
            // Refused once: with the old files it runs again.
            let result = match self.refusing.borrow_mut().remove(unit) {
                true => Err(ServiceError(format!("{unit} failed"))),
                false => Ok(()),
            };
            (unit.clone(), Told { pattern: unit.clone(), verb: *verb, result, waits: false })
        });
        Ok(told.collect())
    }

    fn triggers(&self, unit: &str) -> Result<Vec<String>, ServiceError> {
        Ok(vec![unit.replace(".service", ".socket")])
    }

    fn reload(&self) -> Result<(), ServiceError> {
        Ok(())
    }

    fn gate(&self, unit: &str, policy: Policy) -> Result<Vec<Former>, ServiceError> {
        self.asked.borrow_mut().push(format!("{policy} {unit}"));
        let change = if policy == Policy::Hold { GateChange::Held } else { GateChange::Disabled };
        let socket = unit.replace(".service", ".socket");
        Ok([socket, unit.to_owned()].map(|unit| Former { unit, active: true, change }).into())
    }

    fn release(&self, unit: &str, _: &[Former]) -> Result<(), ServiceError> {
        self.asked.borrow_mut().push(format!("release {unit}"));
        Ok(())
    }

    fn run(&self, errand: &Errand<'_>) -> Result<String, ServiceError> {
        Offline.run(errand)
    }

    fn retry(&self, wanted: bool) -> Result<(), ServiceError> {
        self.asked.borrow_mut().push(format!("retry {wanted}"));
        Ok(())
    }
}

#[test]
fn who_refuses_the_new_files_gets_the_old_ones_back_and_the_others_go_on() {
    let (dir, root) = machine("old.example.com");
    let root = root.pretend_live();
    let fake = Fake::default();
    apply(world(&root, &fake), &Request::default()).unwrap();
    assert_eq!(fake.asked(), ["restart combined.service", "reload pair.service"]);
    let before = root.read(Path::new("/etc/combined/x.pem")).unwrap();
    rename(&dir, "new.example.com");
    let fake = Fake::refusing(&["combined.service"]);
    let report = apply(world(&root, &fake), &Request::default()).unwrap();
    assert!(report.has_failed());
    assert_eq!(both(&root), [Some("new.example.com".into()), Some("old.example.com".into())]);
    assert_eq!(root.read(Path::new("/etc/combined/x.pem")).unwrap(), before);
    let asked = fake.asked();
    assert_eq!(asked[2], "restart combined.service", "brought back with the old files: {asked:?}");
    assert_eq!(asked[3], "hold combined.service", "and held back, because it is stale: {asked:?}");
    let ledger = store::ledger(&root).unwrap();
    assert_eq!(ledger.failure.len(), 1);
    assert_eq!(ledger.gate.len(), 1);
    // The next run succeeds: made, told, let go, and forgotten.
    let fake = Fake::default();
    let report = apply(world(&root, &fake), &Request::default()).unwrap();
    assert_eq!(fake.asked(), ["restart combined.service", "release combined.service"]);
    assert_eq!(report.released, ["combined.service"]);
    let ledger = store::ledger(&root).unwrap();
    assert!(ledger.failure.is_empty() && ledger.gate.is_empty());
}

#[test]
fn a_name_that_is_not_proper_holds_back_and_a_proper_one_lets_go() {
    let (dir, root) = machine("localhost.localdomain");
    let root = root.pretend_live();
    let fake = Fake::default();
    let report = apply(world(&root, &fake), &Request::default()).unwrap();
    assert!(!report.has_failed() && report.outcomes.is_empty());
    assert_eq!(both(&root), [None, None], "nothing is made for localhost");
    assert_eq!(fake.asked(), ["hold combined.service", "hold pair.service"]);
    root.cut_power_after(usize::MAX);
    apply(world(&root, &fake), &Request::default()).unwrap();
    assert_eq!((root.changes(), fake.asked().len()), (0, 0), "a second run has nothing left to do");
    rename(&dir, "mail.example.com");
    let report = apply(world(&root, &fake), &Request::default()).unwrap();
    assert_eq!(report.released.len(), 2);
    assert_eq!(both(&root), [Some("mail.example.com".into()), Some("mail.example.com".into())]);
}

#[test]
fn a_name_that_flaps_to_localhost_stops_nothing() {
    let (dir, root) = machine("mail.example.com");
    let root = root.pretend_live();
    apply(world(&root, &Fake::default()), &Request::default()).unwrap();
    rename(&dir, "localhost");
    let fake = Fake::default();
    root.cut_power_after(usize::MAX);
    let report = apply(world(&root, &fake), &Request::default()).unwrap();
    assert!(report.plan.put_off.is_some() && fake.asked().is_empty() && root.changes() == 0);
}

#[test]
fn a_gate_goes_with_its_hook() {
    let (dir, root) = machine("localhost");
    let root = root.pretend_live();
    let fake = Fake::default();
    apply(world(&root, &fake), &Request::default()).unwrap();
    std::fs::remove_file(dir.path().join("etc/reseed/hooks.d/pair.toml")).unwrap();
    let report = apply(world(&root, &fake), &Request::default()).unwrap();
    assert_eq!(report.released, ["pair.service"]);
    // A file that cannot be understood is no hook that went away.
    std::fs::write(dir.path().join("etc/reseed/hooks.d/combined.toml"), "version = ").unwrap();
    let report = apply(world(&root, &fake), &Request::default()).unwrap();
    assert_eq!((report.released.len(), report.faults.len()), (0, 1));
}

#[test]
fn hold_leaves_a_mark_that_the_unit_waits_for() {
    let (dir, root) = machine("localhost");
    let root = root.pretend_live();
    std::fs::write(dir.path().join("etc/reseed/reseed.toml"), "[gate]\npolicy = \"hold\"\n").unwrap();
    let fake = Fake::default();
    apply(world(&root, &fake), &Request::default()).unwrap();
    let drop_in =
        root.text(Path::new("/run/systemd/system/pair.service.d/50-reseed-hold.conf")).unwrap().unwrap();
    assert!(drop_in.contains("ConditionPathExists=!/run/reseed/hold/pair.service\n"), "{drop_in}");
    assert!(root.read(Path::new("/run/reseed/hold/pair.service")).is_ok());
    // A boot takes the marks away; the ledger still knows, and the next run puts them back.
    std::fs::remove_dir_all(dir.path().join("run")).unwrap();
    apply(world(&root, &fake), &Request::default()).unwrap();
    assert!(root.read(Path::new("/run/reseed/hold/pair.service")).is_ok());
    rename(&dir, "mail.example.com");
    apply(world(&root, &fake), &Request::default()).unwrap();
    assert!(root.names(Path::new("/run/systemd/system")).unwrap().is_empty());
    assert!(root.names(Path::new("/run/reseed/hold")).unwrap().is_empty());
}

#[test]
fn the_mark_tells_the_latest_reason() {
    let (dir, root) = machine("localhost");
    let root = root.pretend_live();
    for name in ["localhost", "localhost.localdomain"] {
        rename(&dir, name);
        apply(world(&root, &Fake::default()), &Request::default()).unwrap();
        let mark = root.text(Path::new("/run/reseed/hold/pair.service")).unwrap().unwrap();
        assert!(mark.contains(&format!("still called {name};")), "{mark}");
    }
}

/// Before any service: nobody is asked, and what is left there is what the later part of the boot finds.
#[test]
fn early_boot_marks_and_the_later_part_takes_over() {
    let (dir, root) = machine("localhost");
    let root = root.pretend_live();
    let early = Request { stage: Some(Stage::Early), unattended: true, ..Request::default() };
    let boot = Request { stage: Some(Stage::Boot), unattended: true, ..Request::default() };
    let generated = "run/systemd/generator/pair.service.d/50-reseed.conf";
    std::fs::create_dir_all(dir.path().join(generated).parent().unwrap()).unwrap();
    std::fs::write(dir.path().join(generated), "").unwrap();
    let report = apply(world(&root, &Offline), &early).unwrap();
    assert_eq!(report.gated.keys().collect::<Vec<_>>(), ["pair.service"], "the one that there is");
    for unit in ["pair.service", "combined.service"] {
        assert!(root.read(&crate::gate::mark_path(unit)).is_ok(), "{unit} is marked all the same");
    }
    assert!(root.names(Path::new("/run/systemd/system")).unwrap_or_default().is_empty(), "no drop-in");
    // Now there is somebody to be asked, and the services are not started yet.
    let fake = Fake::default();
    apply(world(&root, &fake), &boot).unwrap();
    assert_eq!(fake.asked(), ["hold combined.service", "hold pair.service"], "what each was is recorded");
    apply(world(&root, &fake), &boot).unwrap();
    assert!(fake.asked().is_empty(), "and once is enough");
    rename(&dir, "mail.example.com");
    apply(world(&root, &fake), &boot).unwrap();
    let told = ["restart combined.service", "reload pair.service"];
    let released = ["release combined.service", "release pair.service"];
    assert_eq!(fake.asked(), [&told[..], &released].concat());
    assert!(root.names(Path::new("/run/reseed/hold")).unwrap().is_empty());
}

#[test]
fn a_check_is_not_asked_before_the_system_is_up() {
    let (dir, root) = machine("mail.example.com");
    let root = root.pretend_live();
    let hook = format!("{PAIR}[[check]]\ncommand = [\"/bin/true\"]\n");
    std::fs::write(dir.path().join("etc/reseed/hooks.d/pair.toml"), hook).unwrap();
    let early = Request { stage: Some(Stage::Early), unattended: true, ..Request::default() };
    let report = apply(world(&root, &Offline), &early).unwrap();
    assert_eq!(both(&root), [None, Some("mail.example.com".into())]);
    let pair = report.plan.hooks.iter().find(|hook| hook.hook.as_str() == "pair").unwrap();
    assert!(matches!(pair.deferred, Some(Deferral::Later { .. })), "{pair:?}");
    assert!(root.read(Path::new("/run/reseed/hold/pair.service")).is_ok(), "and nothing stale starts");
    let boot = Request { stage: Some(Stage::Boot), ..early };
    apply(world(&root, &Fake::default()), &boot).unwrap();
    assert_eq!(both(&root)[0], Some("mail.example.com".into()));
}

#[test]
fn what_fails_is_held_then_disabled_and_tried_with_pauses() {
    let (dir, root) = machine("old.example.com");
    let root = root.pretend_live();
    apply(world(&root, &Fake::default()), &Request::default()).unwrap();
    rename(&dir, "new.example.com");
    let boot_id = |id: &str| {
        let path = dir.path().join("proc/sys/kernel/random/boot_id");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, id).unwrap();
    };
    let boot = Request { stage: Some(Stage::Boot), unattended: true, ..Request::default() };
    for (id, expected) in [
        ("a", &["reload pair.service", "hold pair.service", "retry true"][..]),
        ("b", &["reload pair.service"]),
        ("c", &["reload pair.service", "disable pair.service"]),
        ("d", &[]),
    ] {
        boot_id(id);
        let fake = Fake::refusing(&["pair.service", "combined.service"]);
        let report = apply(world(&root, &fake), &boot).unwrap();
        let asked: Vec<String> = fake.asked().into_iter().filter(|one| !one.contains("combined")).collect();
        let asked: Vec<&str> =
            asked.iter().map(String::as_str).filter(|one| *one != "restart pair.service").collect();
        assert_eq!(asked, expected, "boot {id}");
        // Within the same boot nothing is tried again so soon.
        let again = Fake::default();
        apply(world(&root, &again), &boot).unwrap();
        assert_eq!(again.asked(), Vec::<String>::new(), "boot {id}: {report:?}");
    }
    // By hand it is tried at once, succeeds, and everything is as it was.
    let fake = Fake::default();
    let report = apply(world(&root, &fake), &Request::default()).unwrap();
    assert_eq!(report.released, ["combined.service", "pair.service"]);
    assert!(fake.asked().contains(&"retry false".to_owned()));
    assert!(!store::is_retrying(&root).unwrap());
}

#[test]
fn who_is_let_go_anyway_is_not_held_again_until_it_was_fresh() {
    let (dir, root) = machine("localhost");
    let root = root.pretend_live();
    let fake = Fake::default();
    apply(world(&root, &fake), &Request::default()).unwrap();
    fake.asked();
    let refused = release(world(&root, &fake), "pair", false).unwrap();
    assert!(matches!(&refused, Release::Stale { reason, .. } if reason.contains("localhost")), "{refused:?}");
    assert_eq!(release(world(&root, &fake), "other", true).unwrap(), Release::NotHeld);
    assert_eq!(fake.asked(), Vec::<String>::new());
    assert_eq!(release(world(&root, &fake), "pair", true).unwrap(), Release::Released { stale: true });
    assert_eq!(fake.asked(), ["release pair.service"]);
    apply(world(&root, &fake), &Request::default()).unwrap();
    assert_eq!(fake.asked(), Vec::<String>::new(), "not held again");
    rename(&dir, "mail.example.com");
    apply(world(&root, &fake), &Request::default()).unwrap();
    assert!(store::ledger(&root).unwrap().waiver.is_empty(), "it was fresh");
}

#[test]
fn who_goes_lets_everybody_go() {
    let (_dir, root) = machine("localhost");
    let root = root.pretend_live();
    let fake = Fake::default();
    apply(world(&root, &fake), &Request::default()).unwrap();
    let held: Vec<String> = store::ledger(&root).unwrap().gate.into_keys().collect();
    assert_eq!(held, ["combined.service", "pair.service"]);
    assert_eq!(release_all(world(&root, &fake)).unwrap(), held);
    let after = store::ledger(&root).unwrap();
    assert!(after.gate.is_empty() && after.waiver.is_empty(), "and who comes back may hold them again");
    assert_eq!(release_all(world(&root, &fake)).unwrap(), Vec::<String>::new());
}

#[test]
fn a_boot_with_nothing_to_do_is_known_before_it_begins() {
    let (dir, root) = machine("mail.example.com");
    let root = root.pretend_live();
    let told = |units: &[&str]| {
        let seen = look(world(&root, &Offline), &early()).unwrap();
        quiet(&root, &seen, &|unit| units.contains(&unit)).unwrap()
    };
    assert_eq!(told(&[]), Quiet::No, "nobody has looked yet");
    let boot = Request { stage: Some(Stage::Boot), unattended: true, ..Request::default() };
    apply(world(&root, &Fake::default()), &boot).unwrap();
    assert_eq!(told(&["sshd.service"]), Quiet::Yes);
    assert_eq!(told(&["cloud-init.service"]), Quiet::UntilRenamed);
    std::fs::create_dir_all(dir.path().join("run/systemd")).unwrap();
    std::fs::write(dir.path().join("run/systemd/first-boot"), "").unwrap();
    assert_eq!(told(&[]), Quiet::No, "a first boot");
    std::fs::remove_file(dir.path().join("run/systemd/first-boot")).unwrap();
    rename(&dir, "new.example.com");
    assert_eq!(told(&[]), Quiet::No, "another name");
    rename(&dir, "localhost");
    assert_eq!(told(&[]), Quiet::No, "no name");
    rename(&dir, "mail.example.com");
    assert_eq!(told(&[]), Quiet::Yes);
    std::fs::write(dir.path().join("etc/reseed/hooks.d/bad.toml"), "version = ").unwrap();
    assert_eq!(told(&[]), Quiet::No, "something to complain about");
    std::fs::remove_file(dir.path().join("etc/reseed/hooks.d/bad.toml")).unwrap();
    std::fs::remove_file(dir.path().join("etc/pair/x.crt")).unwrap();
    assert_eq!(told(&[]), Quiet::No, "something to make");
}

#[test]
fn what_was_rolled_back_is_recorded_as_it_was() {
    let (dir, root) = machine("old.example.com");
    apply(world(&root, &Offline), &Request::default()).unwrap();
    let before = (store::ledger(&root).unwrap().hook, both(&root));
    rename(&dir, "new.example.com");
    apply(world(&root, &Offline), &Request::default()).unwrap();
    let (_, hooks) = roll_back(world(&root, &Offline), None).unwrap();
    assert_eq!(hooks.len(), 2);
    assert_eq!((store::ledger(&root).unwrap().hook, both(&root)), before);
    rename(&dir, "old.example.com");
    assert!(!look(world(&root, &Offline), &Request::default()).unwrap().plan.is_stale());
}

#[test]
fn serials_only_go_up() {
    let (dir, root) = machine("a.example.com");
    let mut highest = None;
    for name in ["a.example.com", "b.example.com", "a.example.com", "c.example.com"] {
        rename(&dir, name);
        apply(world(&root, &Offline), &Request::default()).unwrap();
        let ledger = store::ledger(&root).unwrap();
        let serials: Vec<_> =
            ledger.hook.values().flat_map(|e| e.file.values()).filter_map(|made| made.serial).collect();
        assert!(serials.iter().all(|serial| Some(*serial) > highest), "{name}: {serials:?}");
        highest = ledger.highest_serial;
    }
}

const KEYS: &str = "version = 1\ndescription = \"keys\"\n[applies]\nfiles = [\"/etc/pair\"]\n\
    [[host-key]]\nalgorithm = \"ed25519\"\npath = \"/etc/pair/host_key\"\n\
    [[secret]]\npath = \"/etc/pair/secret\"\ncontent = \"{uuid}\"\n\
    [[unit]]\nname = \"keys.service\"\nchange = \"reload\"\n";

/// A machine with host key and secret, on hardware of this number.
fn machine_with_keys(fqdn: &str, hardware: &str) -> (tempfile::TempDir, Root) {
    let (dir, root) = machine(fqdn);
    std::fs::write(dir.path().join("etc/reseed/hooks.d/keys.toml"), KEYS).unwrap();
    std::fs::create_dir_all(dir.path().join("sys/class/dmi/id")).unwrap();
    on_hardware(&dir, hardware);
    (dir, root.pretend_live())
}

fn on_hardware(dir: &tempfile::TempDir, number: &str) {
    std::fs::write(dir.path().join("sys/class/dmi/id/product_uuid"), number).unwrap();
}

fn keys(root: &Root) -> [Vec<u8>; 2] {
    ["/etc/pair/host_key", "/etc/pair/secret"].map(|path| root.read(Path::new(path)).unwrap())
}

const BOARD: &str = "4c4c4544-0042-3510-8052-b4c04f4e4d31\n";
const OTHER_BOARD: &str = "4c4c4544-0042-3510-8052-b4c04f4e4d32\n";

#[test]
fn a_copy_of_the_disk_in_other_hardware_is_a_clone() {
    let (dir, root) = machine_with_keys("mail.example.com", BOARD);
    let fake = Fake::default();
    apply(world(&root, &fake), &Request::default()).unwrap();
    let before = (keys(&root), both(&root));
    let unchanged = [
        ("the same", BOARD),
        ("the other order of octets", "44454C4C-4200-1035-8052-B4C04F4E4D31\n"),
        ("nobody's number", "00000000-0000-0000-0000-000000000000\n"),
    ];
    for (case, number) in unchanged {
        on_hardware(&dir, number);
        root.cut_power_after(usize::MAX);
        apply(world(&root, &fake), &Request::default()).unwrap();
        assert_eq!((keys(&root) == before.0, root.changes()), (true, 0), "{case}");
    }
    // In a container it is the host's, and says nothing.
    on_hardware(&dir, OTHER_BOARD);
    std::fs::create_dir_all(dir.path().join("run/systemd")).unwrap();
    std::fs::write(dir.path().join("run/systemd/container"), "systemd-nspawn\n").unwrap();
    apply(world(&root, &fake), &Request::default()).unwrap();
    assert_eq!(keys(&root), before.0);
    std::fs::remove_file(dir.path().join("run/systemd/container")).unwrap();

    fake.asked();
    let refused = apply(world(&root, &Fake::refusing(&["keys.service"])), &Request::default()).unwrap();
    assert!(refused.has_failed() && keys(&root) == before.0, "the old ones are back");
    let report = apply(world(&root, &fake), &Request::default()).unwrap();
    assert_eq!(report.plan.kinds, BTreeSet::from([Kind::Cloned]));
    assert!(keys(&root).iter().zip(&before.0).all(|(now, was)| now != was));
    assert_eq!(both(&root), before.1, "certificates follow the name");
    assert_eq!(fake.asked()[0], "reload keys.service");
}

#[test]
fn hardware_that_becomes_known_is_no_change_until_it_is_another() {
    let (dir, root) = machine_with_keys("mail.example.com", "Not Settable");
    std::fs::write(dir.path().join("etc/machine-id"), "00000000000000000000000000000001\n").unwrap();
    apply(world(&root, &Fake::default()), &Request::default()).unwrap();
    let before = keys(&root);
    for (number, is_same) in [(BOARD, true), ("Not Settable", true), (BOARD, true), (OTHER_BOARD, false)] {
        on_hardware(&dir, number);
        apply(world(&root, &Fake::default()), &Request::default()).unwrap();
        assert_eq!(keys(&root) == before, is_same, "{number}");
    }
}

#[test]
fn what_follows_the_machine_waits_neither_for_a_name_nor_for_a_clock() {
    let (dir, root) = machine_with_keys("localhost", BOARD);
    let fake = Fake::default();
    let first = apply(world(&root, &fake), &Request::default()).unwrap();
    assert!(first.plan.put_off.is_some() && first.run.is_some() && both(&root) == [None, None]);
    let before = keys(&root);
    rename(&dir, "mail.example.com");
    on_hardware(&dir, OTHER_BOARD);
    let early = World { now: OffsetDateTime::UNIX_EPOCH, ..world(&root, &fake) };
    let second = apply(early, &Request::default()).unwrap();
    assert!(matches!(second.plan.put_off, Some(PutOff::Clock(_))) && both(&root) == [None, None]);
    assert!(keys(&root).iter().zip(&before).all(|(now, was)| now != was));
    assert!(second.run > first.run, "a wrong clock makes no run older than the one before");
    assert_eq!(store::backups(&root).unwrap().last().map(|(run, _)| run.clone()), second.run);
    let after = keys(&root);
    let third = apply(world(&root, &fake), &Request::default()).unwrap();
    assert!(third.plan.put_off.is_none() && both(&root).iter().all(Option::is_some));
    assert_eq!(keys(&root), after, "with the clock right, they are what they were");
}

#[test]
fn a_clone_that_dies_before_any_change_is_made_good_by_the_next() {
    let clone = |stop: usize| {
        let (dir, root) = machine_with_keys("mail.example.com", BOARD);
        apply(world(&root, &Fake::default()), &Request::default()).unwrap();
        let before = keys(&root);
        on_hardware(&dir, OTHER_BOARD);
        root.cut_power_after(stop);
        let _ = apply(world(&root, &Fake::default()), &Request::default());
        (dir, root, before)
    };
    let (_dir, root, _) = clone(usize::MAX);
    let changes = root.changes();
    assert!(changes > 20, "{changes}");
    for stop in 0..changes {
        let (dir, _, before) = clone(stop);
        let next = Root::open(dir.path()).unwrap().pretend_live();
        apply(world(&next, &Fake::default()), &Request::default()).unwrap();
        assert!(keys(&next).iter().zip(&before).all(|(now, was)| now != was), "{stop}");
        let [key, public] =
            ["/etc/pair/host_key", "/etc/pair/host_key.pub"].map(|path| next.read(Path::new(path)).unwrap());
        let fingerprint = crate::pki::ssh::fingerprint;
        assert_eq!(fingerprint(&key, b""), fingerprint(b"", &public), "{stop}: one pair");
        assert_eq!(litter(&dir), Vec::<PathBuf>::new(), "{stop}");
        next.cut_power_after(usize::MAX);
        apply(world(&next, &Fake::default()), &Request::default()).unwrap();
        assert_eq!(next.changes(), 0, "{stop}");
    }
}

#[test]
fn addresses_that_are_watched_stand_in_the_certificate() {
    let (dir, root) = machine("mail.example.com");
    let root = root.pretend_live();
    let hook = PAIR.replace("[applies]", "watches = [\"hostname\", \"addresses\"]\n[applies]");
    std::fs::write(dir.path().join("etc/reseed/hooks.d/pair.toml"), hook).unwrap();
    let fake = Fake::default();
    let report = apply(world(&root, &fake), &Request::default()).unwrap();
    let known = report.plan.identity.addresses.value().cloned().unwrap_or_default();
    let text = root.read(Path::new("/etc/pair/x.crt")).unwrap();
    let says = Certificate::from_der(&container::read(&text).certificates[0]).unwrap();
    assert_eq!(says.addresses, known, "those of this machine's interfaces; none where it has none");
    let text = root.read(Path::new("/etc/combined/x.pem")).unwrap();
    let says = Certificate::from_der(&container::read(&text).certificates[0]).unwrap();
    assert!(says.addresses.is_empty(), "who does not watch them does not carry them");
}
