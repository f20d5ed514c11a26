//! What a large fleet costs: how the commands on an inventory grow from 1,000 to 100,000 certificates, in
//! PostgreSQL and in files. Nothing is asserted but that every command does its work.
//!
//! Half of the certificates are deployed on a host of their own five, a tenth of these ends soon. Times are those of
//! the whole program; memory is its peak. The last column says what a certificate costs against one of the first
//! row: 1.0 is linear growth.

#[path = "../inventory/cluster.rs"]
mod cluster;

use std::collections::BTreeMap;
use std::path::Path;

use reseed::manager::fleet::{HostReport, report};
use reseed::manager::inventory::files::Files;
use reseed::manager::inventory::model::{
    About, Algorithms, Certificate, Delivery, DistHost, FileType, Instance, KeyAlgorithm, KeyData, KeyInfo,
    Kind, Name, Outcome, Place, State, SubjectType, Target,
};
use reseed::manager::inventory::store::{Contents, Inventory};
use reseed::pki::key::Secret;
use reseed::system::root::Root;
use time::OffsetDateTime;

/// Measures, and prints the table.
pub fn run() {
    let Some(cluster) = cluster::Cluster::start() else { return };
    println!(
        "{:<44} {:>9} {:>14} {:>9} {:>10}",
        "the inventory, by certificates", "ms", "us a certificate", "peak MB", ": linear"
    );
    let mut first: BTreeMap<String, f64> = BTreeMap::new();
    let scratch = if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" };
    for count in [1_000, 10_000, 100_000] {
        let contents = fleet(count);
        let mut row = |name: &str, milliseconds: f64, megabytes: f64| {
            let each = milliseconds * 1000.0 / f64::from(count);
            let linear = each / first.entry(name.to_owned()).or_insert(each).to_owned();
            let name = format!("{count} {name}");
            println!("{name:<44} {milliseconds:>9.0} {each:>14.1} {megabytes:>9.0} {linear:>10.2}");
        };
        let site = tempfile::tempdir_in(scratch).unwrap();
        let root = Root::open(Path::new("/")).unwrap();
        let mut stores: Vec<(&str, Box<dyn Inventory>, String)> = Vec::new();
        let database = cluster.inventory(&format!("fleet{count}"));
        let text = format!("[inventory]\npostgres = \"{}\"\n", cluster.connection(&format!("fleet{count}")));
        stores.push(("PostgreSQL", Box::new(database), text));
        // A file system's own limits are not what is measured: 100,000 certificates are for a database.
        if count <= 10_000 {
            let directory = site.path().join("files/top");
            stores.push(("files", Box::new(Files::of_top(&root, &directory)), String::new()));
        }
        for (name, store, text) in &mut stores {
            let start = std::time::Instant::now();
            store.fill(&contents).unwrap();
            row(&format!("taken in, {name}"), start.elapsed().as_secs_f64() * 1000.0, 0.0);
            let base = site.path().join(if *name == "files" { "files" } else { "database" });
            std::fs::create_dir_all(base.join("top/conf.d")).unwrap();
            std::fs::write(base.join("top/conf.d/ssl-mgr.conf"), text).unwrap();
            let samples = if count > 10_000 { 1 } else { 3 };
            for (what, arguments) in [
                ("schedule --dry-run", &["schedule", "--dry-run"][..]),
                ("the same for one", &["schedule", "--dry-run", "www000007.example"]),
                ("status", &["status"]),
                ("inventory list", &["inventory", "list"]),
                ("inventory show, one", &["inventory", "show", "www000007.example"]),
            ] {
                let (milliseconds, megabytes) = super::manager::median(&base, arguments, samples);
                row(&format!("{what}, {name}"), milliseconds, megabytes);
            }
            let start = std::time::Instant::now();
            reports(count).for_each(|report| store.report(&report, OffsetDateTime::now_utc()).unwrap());
            row(&format!("five are reported at a time, {name}"), start.elapsed().as_secs_f64() * 1000.0, 0.0);
            let html = base.join("fleet.html").display().to_string();
            for arguments in [&["fleet"][..], &["fleet", "--json"], &["fleet", "--html", &html]] {
                let (milliseconds, megabytes) = super::manager::median(&base, arguments, samples);
                let arguments = arguments.get(..2).unwrap_or(arguments).join(" ");
                row(&format!("{arguments}, {name}"), milliseconds, megabytes);
            }
            let size = std::fs::metadata(&html).unwrap().len();
            println!("{:<44} {:>9}", format!("{count} the page, octets, {name}"), size);
        }
    }
}

/// What hosts say of so many certificates, each of five: a tenth of the hosts is stale, and each second one a clone of
/// the one before.
fn reports(count: u32) -> impl Iterator<Item = HostReport> {
    let now = OffsetDateTime::now_utc();
    (0..count.div_ceil(5)).map(move |host| {
        let mut report = HostReport::new(format!("host{host:06}.example"), now);
        report.machine = Some(report::machine(&format!("{}", host / 2)));
        report.host_keys =
            ["rsa", "ecdsa", "ed25519"].map(|kind| format!("SHA256:{kind:0>36}{host:07}")).into();
        report.certificates = (host * 5..host * 5 + 5)
            .map(|at| report::CertificateReport {
                path: format!("/etc/ssl/www{at:06}.example_server_cert.pem"),
                verdict: "foreign: issued by O = Example, CN = Issuing 1".into(),
                fingerprint: format!("{at:064x}"),
                key: format!("{:064x}", u64::from(at) << 20),
                names: vec![format!("www{at:06}.example"), format!("alt{at:06}.example")],
                not_before: now - time::Duration::days(30),
                not_after: now + time::Duration::days(i64::from(at) % 90),
            })
            .collect();
        if host % 10 == 0 {
            let stale = vec![format!("the hostname changed from old{host} to host{host:06}")];
            report.hooks.push(report::HookReport {
                hook: "mod_ssl".into(),
                stale,
                failure: None,
                files: vec![],
            });
        }
        report
    })
}

/// So many certificates, a fifth as many hosts.
fn fleet(count: u32) -> Contents {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
    let name = |text: String| Name::new(&text).unwrap();
    let mut contents = Contents::default();
    let objects = &mut contents.objects;
    objects.services.insert(
        "https/443".parse().unwrap(),
        reseed::manager::inventory::model::Service {
            tlsa: reseed::manager::inventory::model::TlsaPrefix::usual(443).unwrap(),
            about: About::default(),
        },
    );
    let place = Place {
        file_type: FileType::Separate,
        cert_path: "/etc/ssl".into(),
        key_path: None,
        user: None,
        group: None,
        mode: None,
        chown_both: false,
        pglink: false,
        reload: None,
        about: About::default(),
    };
    objects.places.insert(name("etc".into()), place);
    for at in 0..count.div_ceil(5) {
        objects.hosts.insert(name(format!("host{at:06}.example")), DistHost::default());
    }
    for at in 0..count {
        let host = name(format!("host{:06}.example", at / 5));
        let target = Target {
            host: host.clone(),
            jail: None,
            place: Some(name("etc".into())),
            about: About::default(),
        };
        let certificate = Certificate {
            subject: SubjectType::Server,
            kind: if at % 4 == 0 { Kind::Local } else { Kind::Le },
            authority: None,
            disabled: false,
            algorithms: Algorithms::Rsa,
            must_staple: false,
            authorized_until: None,
            reminded: Some(now),
            about: About::default(),
            main: About::default(),
            names: [(name(format!("alt{at:06}.example")), About::default())].into(),
            services: ["https/443".parse().unwrap()].into(),
            targets: vec![target],
        };
        let main = name(format!("www{at:06}.example"));
        objects.certificates.insert(main.clone(), certificate);
        if at % 2 == 1 {
            let ends = if at % 20 == 1 { 10 } else { 60 };
            let info = KeyInfo { algorithm: KeyAlgorithm::Rsa, digest: format!("{at:064X}"), created: None };
            let instance = Instance {
                id: i64::from(at) + 1,
                certificate: main,
                state: State::Deployed,
                algorithms: Algorithms::Rsa,
                must_staple: false,
                issuer: None,
                not_before: Some(now - time::Duration::days(90 - ends)),
                not_after: Some(now + time::Duration::days(ends)),
                published: Some(now),
                about: About::default(),
                deliveries: [(host, Delivery { at: now, outcome: Outcome::Done, says: None })].into(),
                keys: vec![info.clone()],
            };
            // As large as what is there in earnest.
            let (certificate, key) = ("c".repeat(1_800), Secret::new("k".repeat(1_700)));
            contents
                .instances
                .push((instance, vec![KeyData { info, certificate, chain: String::new(), key }]));
        }
    }
    contents.next = i64::from(count) + 2;
    contents
}
