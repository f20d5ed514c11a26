//! What many certificates cost the manager, as ratios to making their keys alone. Nothing is asserted
//! but that every command does its work.
//!
//! The services are leaves under one intermediate, half of them P-256 and half P-384, all of one group. Times are
//! those of the whole program, from its start to its end; memory is its peak. Keys alone are made by the same
//! library, on as many threads. The last column says what a service costs against one of the first row: 1.0 is
//! linear growth.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use reseed::pki::Algorithm;
use reseed::pki::key::PrivateKey;

/// Does one measure in a process of its own, when this one was started for that.
pub fn measures() -> bool {
    // The peak of memory is kept for all children of a process together.
    let asked = std::env::args().skip_while(|argument| argument != MEASURE).nth(1);
    asked.map(|words| measure(&words)).is_some()
}

/// Measures, and prints the table.
pub fn run() {
    println!(
        "{:<30} {:>9} {:>12} {:>9} {:>12} {:>10}",
        "the manager, by services", "ms", "ms a service", "peak MB", ": keys alone", ": linear"
    );
    let mut first: Vec<(&str, f64)> = Vec::new();
    for services in [100, 1_000, 10_000] {
        let keys = keys(services.min(1_000)) * f64::from(services) / f64::from(services.min(1_000));
        let mut row = |name: &'static str, (milliseconds, megabytes): (f64, f64)| {
            let each = milliseconds / f64::from(services);
            let linear = match first.iter().find(|(known, _)| *known == name) {
                Some((_, least)) => each / least,
                None => {
                    first.push((name, each));
                    1.0
                }
            };
            println!(
                "{:<30} {milliseconds:>9.0} {each:>12.3} {megabytes:>9.0} {:>12.2} {linear:>10.2}",
                format!("{services} {name}"),
                milliseconds / keys
            );
        };
        row("keys alone", (keys, 0.0));
        let site = site(services);
        let mut run = |name: &'static str, arguments: &[&str], samples: usize| {
            row(name, median(site.path(), arguments, samples));
        };
        let quick = if services > 1_000 { 1 } else { 5 };
        run("first renew", &["renew"], 1);
        run("first roll", &["roll", "--force"], 1);
        run("renew, nothing due", &["renew"], quick);
        run("roll, nothing to roll", &["roll"], quick);
        run("status", &["status"], quick);
        // What takes longest is shown to grow by the first of each.
        if services <= 1_000 {
            run("renew of all", &["renew", "--force", "example.com"], 1);
            run("roll of all", &["roll", "--force", "example.com"], 1);
        }
    }
}

const MEASURE: &str = "--measure";

/// Seconds and peak memory, the medians of some runs: milliseconds and megabytes.
pub fn median(top: &Path, arguments: &[&str], samples: usize) -> (f64, f64) {
    let mut measured: Vec<(f64, f64)> = (0..samples)
        .map(|_| {
            let words = [&[top.to_str().unwrap()], arguments].concat().join("\n");
            let mut command = Command::new(std::env::current_exe().unwrap());
            let output = command.args([MEASURE, &words]).stderr(Stdio::inherit()).output().unwrap();
            assert!(output.status.success(), "{arguments:?}");
            let told = String::from_utf8(output.stdout).unwrap();
            let (milliseconds, kilobytes) = told.trim().split_once(' ').unwrap();
            (milliseconds.parse().unwrap(), kilobytes.parse::<f64>().unwrap() / 1024.0)
        })
        .collect();
    measured.sort_by(|one, other| one.0.total_cmp(&other.0));
    measured[samples / 2]
}

/// Runs the program once, and tells its milliseconds and its peak of kilobytes.
fn measure(words: &str) {
    let mut words = words.lines();
    let mut command = Command::new(crate::support::RESEED);
    command.args(["--root", words.next().unwrap(), "manager", "--topdir", "/top"]).args(words);
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).output().unwrap();
    let milliseconds = start.elapsed().as_secs_f64() * 1000.0;
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{told}", output.status);
    println!("{milliseconds} {}", getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss());
}

/// Milliseconds for so many keys, made on all processors.
fn keys(count: u32) -> f64 {
    let threads = u32::try_from(std::thread::available_parallelism().map_or(1, usize::from)).unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for service in (thread..count).step_by(threads as usize) {
                    let algorithm =
                        if service % (2 * threads) < threads { Algorithm::P256 } else { Algorithm::P384 };
                    assert!(!PrivateKey::generate(algorithm).unwrap().public_bits().is_empty());
                }
            });
        }
    });
    start.elapsed().as_secs_f64() * 1000.0
}

/// A site where nothing has been made yet, in memory where there is such a place: a disk is not what is measured.
fn site(services: u32) -> tempfile::TempDir {
    let scratch = if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" };
    let site = tempfile::tempdir_in(scratch).unwrap();
    let conf = site.path().join("top/conf.d");
    let write = |path: &str, text: String| {
        let path = conf.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let text = |group: &str, name: &str, signer: &str, curve: &str, more: &str| {
        format!(
            "name = \"{name}\"\ngroup = \"{group}\"\nservice = \"{name}\"\nsigning_ca = \"{signer}\"\n\
             [KeyOpts]\nktype = \"ec\"\nec_algo = \"{curve}\"\n\
             [X509]\nCN = \"{name}.example.com\"\nO = \"Example\"\nC = \"US\"\n{more}"
        )
    };
    write(
        "ssl-mgr.conf",
        "[globals]\nprod_cert_dir = \"/production\"\n\
         [[groups]]\ndomain = \"ca\"\nactive = true\nservices = [\"root\", \"int\"]\n\
         [[groups]]\ndomain = \"example.com\"\nactive = true\nservices = [\"*\"]\n"
            .to_owned(),
    );
    let authorities =
        "[root]\nca_desc = \"root\"\nca_type = \"self\"\n[int]\nca_desc = \"int\"\nca_type = \"local\"\n";
    write("ca-info.conf", authorities.to_owned());
    let signs = |days: u32| format!("[CA]\nsign_end_days = {days}\n");
    write("ca/root", text("ca", "root", "self", "secp384r1", &signs(3650)));
    write("ca/int", text("ca", "int", "root", "secp256r1", &signs(90)));
    for service in 0..services {
        let (name, curve) = (format!("s{service}"), ["secp256r1", "secp384r1"][service as usize % 2]);
        let names = format!("sans = [\"{name}.example.com\", \"www.{name}.example.com\"]\n");
        write(&format!("example.com/{name}"), text("example.com", &name, "int", curve, &names));
    }
    site
}
