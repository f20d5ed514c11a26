//! What a certificate costs that an authority signs, beside what it costs others on the same Pebble and the same
//! BIND: a hundred names in one certificate by dynamic updates, and fifty certificates at once. Nothing is asserted
//! but that every command does its work.
//!
//! The others sleep; each sleep is cut to the least that its program takes. lego proves one name after the other,
//! so it is stopped after [`PATIENCE`], and what it had proven by then says how long the whole would take at least.

#[allow(dead_code, reason = "the cases use the rest")]
#[path = "../acme/anchor.rs"]
mod anchor;
#[allow(dead_code, reason = "the cases use the rest")]
#[path = "../acme/bed.rs"]
mod bed;
#[allow(dead_code, reason = "the cases use the rest")]
#[path = "../acme/pebble.rs"]
mod pebble;
#[allow(dead_code, reason = "the cases use the rest")]
#[path = "../acme/site.rs"]
mod site;
#[allow(dead_code, reason = "the cases use the rest")]
#[path = "../acme/space.rs"]
mod space;
#[allow(dead_code, reason = "the cases use the rest")]
#[path = "../acme/zones.rs"]
mod zones;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use bed::Bed;

/// How long a peer may take.
const PATIENCE: Duration = Duration::from_secs(12);

/// Measures, and prints the table.
pub fn run() {
    if let Some(reason) = space::missing() {
        println!("certificates from Pebble: not measured: {reason}");
        return;
    }
    println!("{:<58} {:>9} {:>9} {:>9}", "certificates from Pebble", "s", "others' s", "ratio");
    hundred();
    fifty();
}

/// What an authority of one's own, such as Pebble, may be asked in a second; the default is for public ones.
const QUICK: &str = "ca_requests_per_second = 1000\n";

/// The rate of requests, by its name in the table.
const RATES: [(&str, &str); 2] = [("at the default rate", ""), ("at 1000 requests a second", QUICK)];

fn hundred() {
    let names: Vec<String> = (0..100).map(|name| format!("n{name}.lab.test")).collect();
    let bed = Bed::new();
    let sans: Vec<&str> = names.iter().map(String::as_str).collect();
    bed.site.service("lab.test", "web", &sans);
    let ours = RATES.map(|(rate, more)| {
        bed.site.authorities(&bed.site.authority("pebble", &bed.pebble, "dns-01", more));
        // The rate makes the one slow and even.
        let samples = if more.is_empty() { 1 } else { 5 };
        let run = |_| {
            let began = Instant::now();
            bed.manager("renew --force lab.test/web").exits(0);
            began.elapsed().as_secs_f64()
        };
        let mut times: Vec<f64> = (0..samples).map(run).collect();
        times.sort_by(f64::total_cmp);
        (rate, times[samples / 2])
    });
    for (who, command) in [("certbot", certbot(&bed, &names)), ("lego", lego(&bed, &names))] {
        if !is_installed(who) {
            println!("100 names by dynamic update : {who} is not installed");
            continue;
        }
        let before = bed.pebble.validations();
        let (other, note) = match timed(command) {
            (took, Some(true)) => (took, String::new()),
            (took, Some(false)) => {
                println!("100 names by dynamic update : {who} failed after {took:.1} s");
                continue;
            }
            (took, None) => {
                let proven = bed.pebble.validations() - before;
                let note = format!("  ({proven} names in {took:.0} s, then stopped)");
                (took * 100.0 / proven.max(1) as f64, note)
            }
        };
        for (rate, ours) in ours {
            let what = format!("100 names, {rate} : {who}");
            println!("{what:<58} {ours:>9.2} {other:>9.1} {:>9.4}{note}", ours / other);
        }
    }
}

fn fifty() {
    for (rate, more) in RATES {
        let [one, fifty] = [1, 50].map(|count| {
            let bed = Bed::new();
            bed.site.authorities(&bed.site.authority("pebble", &bed.pebble, "dns-01", more));
            for service in 0..count {
                bed.site.service("lab.test", &format!("s{service}"), &[&format!("s{service}.lab.test")]);
            }
            let began = Instant::now();
            bed.manager("renew").exits(0);
            began.elapsed().as_secs_f64()
        });
        let what = format!("50 certificates, {rate} : one");
        println!("{what:<58} {fifty:>9.2} {one:>9.2} {:>9.2}", fifty / one);
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Seconds, and whether it succeeded; nothing when it had to be stopped.
fn timed(mut command: Command) -> (f64, Option<bool>) {
    let began = Instant::now();
    let quiet = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = quiet.spawn().unwrap();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return (began.elapsed().as_secs_f64(), Some(status.success()));
        }
        if began.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return (began.elapsed().as_secs_f64(), None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn certbot(bed: &Bed, names: &[String]) -> Command {
    let file = bed.path("certbot.ini");
    let text = format!(
        "dns_rfc2136_server = 127.0.0.1\ndns_rfc2136_port = 53\ndns_rfc2136_name = acme.\n\
         dns_rfc2136_secret = {}\ndns_rfc2136_algorithm = HMAC-SHA256\n",
        bed.zones.secret("acme")
    );
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let mut certbot = bed.space.command("certbot");
    certbot.args([
        "certonly",
        "--non-interactive",
        "--agree-tos",
        "--no-eff-email",
        "-m",
        "hostmaster@lab.test",
    ]);
    certbot.args(["--server", &bed.pebble.directory(), "--cert-name", "web", "--key-type", "ecdsa"]);
    for (option, place) in [("--config-dir", "etc"), ("--work-dir", "var"), ("--logs-dir", "log")] {
        certbot.arg(option).arg(bed.path("certbot").join(place));
    }
    certbot
        .args(["--dns-rfc2136", "--dns-rfc2136-propagation-seconds", "0", "--dns-rfc2136-credentials"])
        .arg(file);
    certbot.args(names.iter().flat_map(|name| ["-d", name])).env("REQUESTS_CA_BUNDLE", bed.pebble.trust());
    certbot
}

fn lego(bed: &Bed, names: &[String]) -> Command {
    let mut lego = bed.space.command("lego");
    lego.args(["--server", &bed.pebble.directory(), "--accept-tos", "--email", "hostmaster@lab.test"]);
    lego.args(["--dns", "rfc2136", "--dns.resolvers", "127.0.0.1:53", "--path"]).arg(bed.path("lego"));
    lego.args(names.iter().flat_map(|name| ["-d", name])).arg("run");
    lego.env("LEGO_CA_CERTIFICATES", bed.pebble.trust()).env("RFC2136_NAMESERVER", "127.0.0.1:53");
    lego.env("RFC2136_TSIG_ALGORITHM", "hmac-sha256.").env("RFC2136_TSIG_KEY", "acme.");
    lego.env("RFC2136_TSIG_SECRET", bed.zones.secret("acme"));
    // No name is to wait for the one before it; how often it looks is in whole seconds.
    lego.env("RFC2136_SEQUENCE_INTERVAL", "0").env("RFC2136_POLLING_INTERVAL", "1");
    lego
}
