//! The same for the certificate manager: links and production copies after a cut lead to what is whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use reseed::manager::lineage::{Files, Lineage, Link, Version, VersionName, version};
use reseed::manager::name::ServiceName;
use reseed::manager::tree::Tree;
use reseed::pki::key::Secret;
use reseed::system::root::Root;

use super::{Cut, EXIT, Machine, blank_as, checked, spread, steps, tried};

const SERVICES: [&str; 4] = ["ca/int", "ca/root", "example.com/mail", "example.com/web"];
const RENEW: &[&str] = &["manager", "--topdir", "/top", "renew", "--force", "--renew-ca"];
const ROLL: &[&str] = &["manager", "--topdir", "/top", "roll", "--force"];
const DISTRIBUTE: &[&str] = &["manager", "--topdir", "/top", "distribute"];
/// So many moments of each run.
const MOMENTS: usize = 40;

pub fn cut_while_it_renews() {
    cut_while("renew", RENEW, |_| {});
}

pub fn cut_while_it_rolls() {
    cut_while("roll", ROLL, |machine| drop(checked(&mut machine.reseed(RENEW))));
}

/// A site where everything has been made and rolled, on a disk that is not mounted.
fn rolled() -> &'static Path {
    static ROLLED: OnceLock<PathBuf> = OnceLock::new();
    ROLLED.get_or_init(|| {
        let machine = Machine::new("rolled", &blank_as("rolled.disk").unwrap());
        configure(&machine);
        for command in [RENEW, ROLL] {
            checked(&mut machine.reseed(command));
        }
        machine.copied()
    })
}

/// Cuts the power at moments that are spread over a run, and runs it again.
fn cut_while(name: &str, command: &[&str], before: fn(&Machine)) {
    let machine = Machine::new(name, rolled());
    before(&machine);
    let start = look(&machine, name);
    let image = machine.copied();
    let steps = steps(&machine.trace_of(command));
    assert!(steps.len() > 100, "{name}: {} steps", steps.len());
    let whole = look(&machine, name);
    drop(machine);

    let (mut old, mut new) = (0, 0);
    for (at, step) in spread(&steps, MOMENTS).into_iter().enumerate() {
        let cut = if at % 2 == 0 { Cut::Unflushed } else { Cut::Data };
        let case = format!("{name}: {cut:?} lost, cut before {step}");
        let machine = Machine::new(name, &image);
        machine.cut_in(command, step, cut);
        let found = look(&machine, &case);
        let is_through = links(&found) == links(&whole);
        assert!(is_through || step.call != EXIT, "{case}: everything had been done");
        if is_through {
            new += 1;
        } else {
            // The switch was cut before it was decided, and the next run takes back what it had done.
            old += 1;
        }
        tried(&mut machine.reseed(command)).unwrap_or_else(|error| panic!("{case}: {error}"));
        let found = look(&machine, &case);
        assert_eq!(links(&found), links(&whole), "{case}");
        for (name, (lineage, served)) in &found {
            let certificate = lineage.curr.as_ref().and_then(|curr| curr.files.certificate.as_ref());
            assert_eq!(served.get(version::CERTIFICATE), certificate, "{case}: {name}: production");
        }
        for path in machine.listing().into_keys() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let litter = name.starts_with('.') && name != ".reseed"
                || path.parent() == Some(Path::new("/top/.reseed/journal"));
            assert!(!litter, "{case}: left behind: {}", path.display());
        }
        // That it has run is what a run with nothing to do writes down.
        let all_but_runs = || {
            let mut listing = machine.listing();
            for path in ["/top/.reseed", "/top/.reseed/runs.toml"] {
                listing.remove(Path::new(path));
            }
            listing
        };
        let before = all_but_runs();
        tried(&mut machine.reseed(DISTRIBUTE)).unwrap_or_else(|error| panic!("{case}: {error}"));
        let after = all_but_runs();
        let changed: Vec<_> = before
            .iter()
            .filter(|(path, found)| after.get(*path) != Some(found))
            .map(|(path, _)| path)
            .chain(after.keys().filter(|path| !before.contains_key(*path)))
            .collect();
        assert!(changed.is_empty(), "{case}: a run more changed {changed:?}");
    }
    println!("power: manager {name}: all links new after {new} cuts, not yet after {old}");
    assert!(links(&start) != links(&whole) && old > 5 && new > 5, "{name}: {old} {new}");
}

/// What there is of each service, and what production holds of it.
type Look = BTreeMap<&'static str, (Lineage, BTreeMap<String, Vec<u8>>)>;

/// Looks, and asserts that each link leads to what is whole, and that so is what servers read.
fn look(machine: &Machine, case: &str) -> Look {
    let root = Root::open(&machine.mount).unwrap();
    let tree = Tree::new(&root, Path::new("/top"));
    let of = |service: &'static str| {
        let name = ServiceName::parse(service).unwrap();
        let lineage = tree.lineage(&name).unwrap();
        for version in [&lineage.curr, &lineage.next].into_iter().flatten() {
            assert!(version.is_sound(), "{case}: {name}: {}: {:?}", version.name, version.problems);
        }
        assert!(lineage.curr.is_some(), "{case}: {name} has no curr");
        let directory = machine.path(&format!("/production/{service}/curr"));
        let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{case}: {name}: {error}"));
        let served: BTreeMap<String, Vec<u8>> = entries
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .collect();
        if !name.is_ca() {
            let read = |file: &str| served.get(file).cloned();
            let files = Files {
                key: read(version::KEY).map(Secret::new),
                certificate: read(version::CERTIFICATE),
                chain: read(version::CHAIN),
                full_chain: read(version::FULL_CHAIN),
                bundle: read(version::BUNDLE).map(Secret::new),
                ..Files::default()
            };
            let version = Version::examine(VersionName::parse("20261101-00:00:00").unwrap(), files);
            assert!(version.is_sound(), "{case}: production of {name}: {:?}", version.problems);
        }
        (service, (lineage, served))
    };
    SERVICES.into_iter().map(of).collect()
}

/// Which links there are, by service.
fn links(look: &Look) -> Vec<[bool; 2]> {
    let of = |lineage: &Lineage| [Link::Curr, Link::Next].map(|link| lineage.version(link).is_some());
    look.values().map(|(lineage, _)| of(lineage)).collect()
}

fn configure(machine: &Machine) {
    let service = |group: &str, name: &str, signer: &str, more: &str| {
        let text = format!(
            "name = \"{name}\"\ngroup = \"{group}\"\nservice = \"{name}\"\nsigning_ca = \"{signer}\"\n\
             [KeyOpts]\nktype = \"ec\"\nec_algo = \"secp256r1\"\n\
             [X509]\nCN = \"{name}.example.com\"\nO = \"Example\"\nC = \"US\"\n{more}"
        );
        machine.write(&format!("/top/conf.d/{group}/{name}"), &text);
    };
    machine.write(
        "/top/conf.d/ssl-mgr.conf",
        "[globals]\nprod_cert_dir = \"/production\"\nmin_roll_mins = 0\n\
         [[groups]]\ndomain = \"ca\"\nactive = true\nservices = [\"root\", \"int\"]\n\
         [[groups]]\ndomain = \"example.com\"\nactive = true\nservices = [\"mail\", \"web\"]\n",
    );
    machine.write(
        "/top/conf.d/ca-info.conf",
        "[root]\nca_desc = \"root\"\nca_type = \"self\"\n[int]\nca_desc = \"int\"\nca_type = \"local\"\n",
    );
    service("ca", "root", "self", "[CA]\nsign_end_days = 3650\n");
    service("ca", "int", "root", "[CA]\nsign_end_days = 90\n");
    for name in ["mail", "web"] {
        service("example.com", name, "int", &format!("sans = [\"{name}.example.com\"]\n"));
    }
}
