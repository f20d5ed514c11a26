//! A whole roll-over of a key that is published for DANE, as those see it who connect all the time: the zone is
//! signed by BIND, with a secondary that lags, and looked up through a resolver that validates and remembers;
//! nginx serves, and OpenSSL connects with the records that the resolver tells. `reseed manager tend` does the rest.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

#[path = "lab/named.rs"]
#[allow(dead_code, reason = "this has zones of its own")]
mod named;
#[path = "manager/site.rs"]
#[allow(dead_code, reason = "it needs a part of it")]
mod site;
mod support;

use std::fs;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use named::free_port;
use site::Site;
use support::{checked, has, is_root, scratch};

/// Seconds for which resolvers hold the records.
const TTL: u64 = 2;
const ROLLS: usize = 3;
const CLIENTS: usize = 2;
const HOST: &str = "mail.example.com";
/// Where the secondary answers: the port of name servers other than the primary is that of DNS.
const SECONDARY: Ipv4Addr = Ipv4Addr::new(127, 0, 53, 2);

#[test]
fn nobody_fails_to_connect_through_whole_roll_overs() {
    let tools = ["openssl", "named", "rndc", "dnssec-dsfromkey", "dig", "nginx"];
    if !tools.into_iter().all(has) {
        return;
    }
    let bed = Bed::new();
    let (counts, is_over) = (Counts::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    bed.connect(&counts);
                }
            });
        }
        // A failed assertion is to end the clients, too.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for roll in 1..=ROLLS {
                bed.roll_over(roll);
            }
            // Whoever remembers anything of the last one finds out now.
            thread::sleep(Duration::from_secs(TTL + 1));
        }));
        is_over.store(true, Ordering::Relaxed);
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let failed = counts.failed.lock().unwrap();
    let (connected, late) = (counts.connected.load(Ordering::Relaxed), counts.late.load(Ordering::Relaxed));
    println!(
        "dane_roll: {ROLLS} roll-overs, TTL {TTL} s, {} name servers: {connected} handshakes, {} failed; {late} with \
         records that had run out",
        if bed.secondary.is_some() { 2 } else { 1 },
        failed.len()
    );
    assert!(failed.is_empty(), "{} of {connected}: {}", failed.len(), failed[0]);
    assert!(connected > 20 * ROLLS, "{connected} handshakes");
    assert!(counts.both.load(Ordering::Relaxed) > 0, "nobody ever saw both keys");
}

#[derive(Default)]
struct Counts {
    connected: AtomicUsize,
    /// Records of more than one key were there.
    both: AtomicUsize,
    /// The machine was too slow: the records had run out before the connection was made.
    late: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

/// A program that is ended when it is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // nginx ends its workers.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let begun = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && begun.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Zone, resolver, server, and the site that is tended.
struct Bed {
    site: Site,
    resolver: u16,
    web: u16,
    secondary: Option<Server>,
    _servers: Vec<Server>,
    _directory: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        let directory = scratch();
        let at = |name: &str| directory.path().join(name);
        for name in ["primary", "secondary", "resolver", "web"] {
            fs::create_dir(at(name)).unwrap();
        }
        let [primary, control, resolver, web] = [(); 4].map(|()| free_port());
        let secondary = (is_root() && UdpSocket::bind((SECONDARY, 53)).is_ok()).then_some(());

        let site = Site::small();
        let zone = Zone { directory: at("primary"), site: site.path("zones/tlsa.example.com") };
        zone.write(secondary.is_some());
        let notify = secondary.map(|()| format!("also-notify {{ {SECONDARY}; }};")).unwrap_or_default();
        fs::write(at("primary/rndc.conf"), RNDC_KEY).unwrap();
        let primary_server = bind(
            &at("primary"),
            "all zones loaded",
            &format!(
                "{RNDC_KEY}controls {{ inet 127.0.0.1 port {control} allow {{ 127.0.0.1; }} keys {{ k; }}; }};\n\
                 options {{ directory \"{}\"; {QUIET} recursion no; dnssec-validation no;\n\
                 listen-on port {primary} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; notify explicit; {notify}\n\
                 notify-delay 2; allow-transfer {{ any; }}; }};\n\
                 zone \"example.com\" {{ type primary; file \"zone\"; dnssec-policy default; inline-signing yes; }};\n",
                at("primary").display()
            ),
        );
        let anchor = anchor(&at("primary"));
        let secondary_server = secondary.map(|()| {
            bind(
                &at("secondary"),
                "transfer of 'example.com/IN' from",
                &format!(
                    "controls {{ }};\noptions {{ directory \"{}\"; {QUIET} recursion no; dnssec-validation no;\n\
                     listen-on port 53 {{ {SECONDARY}; }}; listen-on-v6 {{ none; }}; notify no; }};\n\
                     zone \"example.com\" {{ type secondary; file \"zone\";\n\
                     primaries {{ 127.0.0.1 port {primary}; }}; allow-notify {{ any; }}; }};\n",
                    at("secondary").display()
                ),
            )
        });
        // It takes either's word, as a resolver does.
        let other = secondary.map(|()| format!("{SECONDARY};")).unwrap_or_default();
        let resolver_server = bind(
            &at("resolver"),
            "running",
            &format!(
                "controls {{ }};\noptions {{ directory \"{}\"; {QUIET} recursion yes; dnssec-validation yes;\n\
                 listen-on port {resolver} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; prefetch 0; }};\n\
                 trust-anchors {{ {anchor} }};\n\
                 zone \"example.com\" {{ type forward; forward only;\n\
                 forwarders {{ 127.0.0.1 port {primary}; {other} }}; }};\n",
                at("resolver").display()
            ),
        );
        program(&site.path("zone"), &zone.program(control));
        program(&site.path("smtp"), &web_program(&at("web")));
        site.edit(
            "conf.d/ssl-mgr.conf",
            "[dns]\n",
            &format!(
                "[[dns_primary]]\ndomain = 'example.com'\nserver = '127.0.0.1'\nport = {primary}\n[dns]\n"
            ),
        );
        site.dane(&format!("[[{web}, 'tcp', 3, 1, 1]]"));
        site.edit("conf.d/example.com/mail", "dane_tls_ttl = 300", &format!("dane_tls_ttl = {TTL}"));
        site.manager("tend").exits(1).says("example.com/mail: curr is ");
        let web_server = nginx(&at("web"), &site.path("prod/example.com/mail/curr"), web);
        site.manager("tend").exits(0).says("done: example.com: TLSA records into the zone");
        let bed = Self {
            site,
            resolver,
            web,
            secondary: secondary_server,
            _servers: vec![primary_server, resolver_server, web_server],
            _directory: directory,
        };
        let begun = Instant::now();
        while bed.records().is_none_or(|(records, _)| records.is_empty()) {
            assert!(begun.elapsed() < Duration::from_secs(30), "the resolver never validates the records");
            thread::sleep(Duration::from_millis(100));
        }
        bed
    }

    /// Other names are wanted, so the certificate is due; all that follows is the timer's.
    fn roll_over(&self, number: usize) {
        let curr = || self.site.link("certs/example.com/mail/curr");
        let before = curr();
        let names = self.site.text("conf.d/example.com/mail");
        let from = names.lines().find(|line| line.starts_with("sans = ")).unwrap();
        let to = format!("sans = ['example.com', '{HOST}', 'roll{number}.example.com']");
        self.site.edit("conf.d/example.com/mail", from, &to);
        let begun = Instant::now();
        let mut runs = 0;
        while curr() == before || self.site.has("certs/example.com/mail/next") {
            assert!(begun.elapsed() < Duration::from_secs(90), "{}", self.site.manager("status").out);
            self.site.manager("tend").exits(0);
            runs += 1;
            thread::sleep(Duration::from_millis(200));
        }
        let took = begun.elapsed();
        assert!(took > Duration::from_secs(TTL), "the old records cannot have run out after {took:?}");
        println!("dane_roll: rolled over in {:.1} s, {runs} runs", took.as_secs_f64());
    }

    /// The records of the server as the resolver vouches for them, and for how many seconds they hold; nothing when
    /// it does not.
    fn records(&self) -> Option<(Vec<String>, u64)> {
        let name = format!("_{}._tcp.{HOST}", self.web);
        let mut dig = Command::new("dig");
        dig.args([
            "@127.0.0.1",
            "-p",
            &self.resolver.to_string(),
            "+adflag",
            "+tries=2",
            "+time=3",
            &name,
            "TLSA",
        ]);
        let output = dig.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let flags = text.lines().find(|line| line.starts_with(";; flags:"))?;
        if !flags.split(';').nth(2)?.split_whitespace().any(|flag| flag == "ad") {
            return None;
        }
        let mut records = Vec::new();
        let mut holds = TTL;
        for line in text.lines().filter(|line| !line.starts_with(';')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.get(3) == Some(&"TLSA") {
                holds = words[1].parse().unwrap();
                records.push(format!("{} {} {} {}", words[4], words[5], words[6], words[7..].concat()));
            }
        }
        Some((records, holds))
    }

    /// Looks the records up and connects with them.
    fn connect(&self, counts: &Counts) {
        let begun = Instant::now();
        let Some((records, holds)) = self.records().filter(|(records, _)| !records.is_empty()) else {
            counts.failed.lock().unwrap().push("the resolver does not vouch for any record".to_owned());
            thread::sleep(Duration::from_millis(200));
            return;
        };
        let mut client = Command::new("openssl");
        client.args([
            "s_client",
            "-brief",
            "-verify_return_error",
            "-servername",
            HOST,
            "-dane_tlsa_domain",
            HOST,
        ]);
        client.args(["-connect", &format!("127.0.0.1:{}", self.web)]);
        records.iter().for_each(|record| {
            client.args(["-dane_tlsa_rrset", record]);
        });
        let output = client.stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        if output.status.success() && said.contains("Verification: OK") && said.contains("DANE TLSA 3 1 1") {
            counts.connected.fetch_add(1, Ordering::Relaxed);
            counts.both.fetch_add(usize::from(records.len() > 1), Ordering::Relaxed);
        } else if begun.elapsed() > Duration::from_secs(holds) {
            counts.late.fetch_add(1, Ordering::Relaxed);
        } else {
            let told = format!("with {records:?} after {:?} of {holds} s: {said}", begun.elapsed());
            counts.failed.lock().unwrap().push(told);
        }
    }
}

/// The zone as its administrator has it: a head, and what the manager writes.
struct Zone {
    directory: PathBuf,
    site: PathBuf,
}

impl Zone {
    fn write(&self, has_secondary: bool) {
        let second =
            if has_secondary { format!("@ IN NS ns2\nns2 IN A {SECONDARY}\n") } else { String::new() };
        fs::write(&self.site, "").unwrap();
        fs::write(self.directory.join("serial"), "1").unwrap();
        fs::write(
            self.directory.join("head"),
            format!(
                "$TTL {TTL}\n@ IN SOA ns hostmaster SERIAL 3600 600 86400 {TTL}\n@ IN NS ns\nns IN A 127.0.0.1\n{second}\
                 mail IN A 127.0.0.1\n$INCLUDE {}\n",
                self.site.display()
            ),
        )
        .unwrap();
        let head = fs::read_to_string(self.directory.join("head")).unwrap();
        fs::write(self.directory.join("zone"), head.replace("SERIAL", "1")).unwrap();
    }

    /// What `restart_cmd` of `[dns]` does at such a site.
    fn program(&self, control: u16) -> String {
        let at = self.directory.display();
        format!(
            "#!/bin/sh\nset -e\nserial=$(($(cat {at}/serial) + 1))\necho $serial >{at}/serial\n\
             sed s/SERIAL/$serial/ {at}/head >{at}/zone.new\nmv {at}/zone.new {at}/zone\n\
             rndc -c {at}/rndc.conf -k {at}/rndc.conf -s 127.0.0.1 -p {control} reload example.com >/dev/null\n"
        )
    }
}

const RNDC_KEY: &str =
    "key k { algorithm hmac-sha256; secret \"bm90IGEgc2VjcmV0IGF0IGFsbCwgaXQgaXMgYSB0ZXN0\"; };\n";
const QUIET: &str = "pid-file none; session-keyfile none; allow-query { any; };";

/// Reloads nginx, and waits until none of the old workers takes connections any more, as a site does that means it.
fn web_program(directory: &Path) -> String {
    let at = directory.display();
    format!(
        "#!/bin/sh\nset -e\nmaster=$(cat {at}/pid)\nold=$(pgrep -P $master)\nkill -HUP $master\n\
         for try in $(seq 100); do\n  left=\n  for worker in $old; do kill -0 $worker 2>/dev/null && left=1; done\n\
         [ -n \"$left\" ] || exit 0\n  sleep 0.05\ndone\necho 'the old workers stay' >&2\nexit 1\n"
    )
}

fn program(path: &Path, text: &str) {
    // It was a link to what stands for every command of a site.
    fs::remove_file(path).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// BIND, once its log says so.
fn bind(directory: &Path, word: &str, config: &str) -> Server {
    let file = directory.join("named.conf");
    fs::write(&file, config).unwrap();
    let log = fs::File::create(directory.join("log")).unwrap();
    let mut named = Command::new("named");
    named.args(["-g", "-n", "1", "-c"]).arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut server = Server(named.spawn().unwrap());
    let begun = Instant::now();
    let log = || fs::read_to_string(directory.join("log")).unwrap();
    while !log().contains(word) {
        let ended = server.0.try_wait().unwrap();
        assert!(ended.is_none() && begun.elapsed() < Duration::from_secs(60), "{}", log());
        thread::sleep(Duration::from_millis(50));
    }
    server
}

/// What a resolver is told to trust: the digest of the zone's key, once there is one.
fn anchor(directory: &Path) -> String {
    let begun = Instant::now();
    let key = loop {
        let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let mut keys = names.filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("Kexample.com.") && name.ends_with(".key")
        });
        if let Some(key) = keys.next() {
            break key;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "BIND made no key");
        thread::sleep(Duration::from_millis(50));
    };
    let record = checked(Command::new("dnssec-dsfromkey").arg("-2").arg(key));
    let words: Vec<&str> = record.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "DS").unwrap();
    let (numbers, digest) = (words[at + 1..at + 4].join(" "), words[at + 4..].concat());
    format!("example.com. static-ds {numbers} \"{digest}\";")
}

fn nginx(directory: &Path, pair: &Path, port: u16) -> Server {
    let (at, pair) = (directory.display(), pair.display());
    fs::write(
        directory.join("conf"),
        format!(
            "daemon off;\npid {at}/pid;\nerror_log {at}/log;\nworker_processes 1;\n{}events {{ }}\nhttp {{\n\
             access_log off;\nclient_body_temp_path {at}/body;\nproxy_temp_path {at}/proxy;\n\
             fastcgi_temp_path {at}/fastcgi;\nuwsgi_temp_path {at}/uwsgi;\nscgi_temp_path {at}/scgi;\n\
             server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {pair}/fullchain.pem;\n\
             ssl_certificate_key {pair}/privkey.pem; return 204; }}\n}}\n",
            if is_root() { "user root;\n" } else { "" }
        ),
    )
    .unwrap();
    let mut nginx = Command::new("nginx");
    nginx.arg("-p").arg(directory).arg("-c").arg(directory.join("conf")).arg("-e").arg(directory.join("log"));
    let mut server = Server(nginx.stdin(Stdio::null()).spawn().unwrap());
    let begun = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
        let ended = server.0.try_wait().unwrap();
        assert!(ended.is_none() && begun.elapsed() < Duration::from_secs(30), "{log}");
        thread::sleep(Duration::from_millis(50));
    }
    server
}
