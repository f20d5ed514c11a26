//! Images: every secret that is planted is found, in a directory and in archives, and nothing else; a
//! sealed copy holds only what the seal says that it left; nothing outside the root is ever touched.
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

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Machine, RESEED, Snapshot, scratch};

// ---- what is planted ------------------------------------------------------------------------------

/// A key that protects nothing; made for this test.
const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgCX4GpW/Mn6RxB//N\n\
    K/AQibR/hgt8K2i/539LUmb1ekmhRANCAARQ+Yppde5kndhHMwwxTOoBqgEXjVoi\n\
    xl1M7axQWzbHkbjLvkSg66XUMFzYYlRMJ6gmnLf3m3oEkbwRkoTqMu29\n\
    -----END PRIVATE KEY-----\n";
const PEM_SPKI: &str = "spki-sha256:67e44e0e2f3ef9a046f7d432f84c0b9a89a833bfb11b07acfab87a28e26c0a9c";

fn der() -> Vec<u8> {
    pem::parse(PEM).unwrap().contents().to_vec()
}

fn openssh(seed: u8) -> Vec<u8> {
    let pair = ssh_key::private::Ed25519Keypair::from_seed(&[seed; 32]);
    let key = ssh_key::PrivateKey::from(pair);
    key.to_openssh(ssh_key::LineEnding::LF).unwrap().as_bytes().to_vec()
}

/// An entry of a Java keystore: a certificate (2) or a private key (1).
fn keystore(tag: u8) -> Vec<u8> {
    let mut store = b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x02".to_vec();
    for tag in [2, tag] {
        store.extend([0, 0, 0, tag, 0, 3]);
        store.extend(b"one\0\0\0\0\0\0\0\0\0\x05X.509\0\0\0\x04cert");
    }
    store
}

/// A version 4 Ed25519 secret key and the user that it belongs to.
fn openpgp() -> Vec<u8> {
    let body = [&[4, 0x60, 0, 0, 0, 22][..], &[7; 90]].concat();
    [&[0x95, 0, body.len() as u8][..], &body, b"\xb4\x04user"].concat()
}

fn keytab() -> Vec<u8> {
    let entry = b"\0\x01\0\x0bEXAMPLE.COM\0\x04host\0\0\0\x01\x60\0\0\0\x01\0\x12\0\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    [b"\x05\x02\0\0\0", &[entry.len() as u8][..], entry].concat()
}

fn pkcs12() -> Vec<u8> {
    let oid = |rest: &[u8]| [&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1][..], rest].concat();
    [
        b"\x30\x82\x01\x00\x02\x01\x03\x30\x80\x06\x09",
        &oid(&[7, 1])[..],
        &[0; 40],
        &oid(&[0x0c, 0x0a, 1, 2]),
        &[0; 80],
    ]
    .concat()
}

/// Path, content, and the rule that finds it.
fn planted() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let mut deep = vec![b'#'; 5 << 20];
    deep.extend(PEM.as_bytes());
    vec![
        ("/srv/app/tls.key", text(PEM), "pem-private-key"),
        ("/srv/app/deep.log", deep, "pem-private-key"),
        ("/srv/app/indented.yaml", PEM.replace("\n", "\n    ").into(), "pem-private-key"),
        ("/srv/app/service-account.json", PEM.replace('\n', "\\n").into(), "pem-private-key"),
        ("/opt/app/key.der", der(), "der-private-key"),
        ("/opt/app/store.jks", keystore(1), "java-keystore"),
        ("/opt/app/store.p12", pkcs12(), "pkcs12"),
        ("/etc/ssh/ssh_host_ed25519_key", openssh(1), "openssh-private-key"),
        (
            "/srv/app/key.ppk",
            text("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPrivate-Lines: 1\nAAAA\n"),
            "putty-private-key",
        ),
        ("/srv/app/.gnupg/secring.gpg", openpgp(), "openpgp-secret-key"),
        (
            "/etc/wireguard/wg0.conf",
            format!("[Interface]\nPrivateKey = {}=\n", "aB3".repeat(15).get(..43).unwrap()).into(),
            "wireguard-private-key",
        ),
        ("/srv/app/age.txt", format!("AGE-SECRET-KEY-1{}\n", "Q".repeat(58)).into(), "age-secret-key"),
        (
            "/etc/bind/Kexample.com.+013+00001.private",
            text("Private-key-format: v1.3\nAlgorithm: 13\n"),
            "dnssec-private-key",
        ),
        (
            "/etc/bind/rndc.key",
            text(
                "key \"rndc-key\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0c2VjcmV0c2VjcmV0\";\n};\n",
            ),
            "tsig-key",
        ),
        ("/etc/krb5.keytab", keytab(), "kerberos-keytab"),
        ("/srv/app/deploy.sh", format!("TOKEN=ghp_{}\n", "a1B2".repeat(9)).into(), "github-token"),
        ("/etc/machine-id", text("0123456789abcdef0123456789abcdef\n"), "machine-id"),
        ("/var/lib/systemd/random-seed", vec![7; 512], "random-seed"),
        (
            "/etc/iscsi/initiatorname.iscsi",
            text("InitiatorName=iqn.1993-08.org.debian:01:ab\n"),
            "iscsi-initiator",
        ),
    ]
}

/// What looks like a secret and is none.
fn innocent() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("/etc/ssh/sshd_config", text("HostKey /etc/ssh/ssh_host_ed25519_key\n")),
        ("/etc/ssl/certs/ca.pem", pem::encode(&pem::Pem::new("CERTIFICATE", b"x".to_vec())).into()),
        ("/etc/ssl/certs/cacerts", keystore(2)),
        ("/usr/share/doc/manual", text("-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n")),
        ("/usr/share/doc/manual2", text("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n")),
        ("/usr/share/doc/kubeadm", text("token: abcdef.0123456789abcdef\n")),
        ("/usr/lib/libtest.so", [b"\x7fELF", PEM.as_bytes()].concat()),
        ("/usr/share/doc/rndc", text("# algorithm hmac-sha256; secret \"c2VjcmV0c2VjcmV0c2VjcmV0\";\n")),
        ("/var/lib/dbus/empty", Vec::new()),
        ("/var/log/syslog", text("token ghp_ was refused\n")),
        ("/root/.bash_history", text("ls\n")),
    ]
}

/// A machine with everything above.
fn sample() -> Machine {
    let machine = Machine::bare("mail.example.com");
    let files = planted().into_iter().map(|(path, content, _)| (path, content)).chain(innocent());
    for (path, content) in files {
        put(&machine, path, &content);
    }
    machine
}

fn put(machine: &Machine, path: &str, content: &[u8]) {
    machine.directory(Path::new(path).parent().unwrap().to_str().unwrap());
    fs::write(machine.path(path), content).unwrap();
}

fn expected() -> BTreeSet<(String, String)> {
    planted().into_iter().map(|(path, _, rule)| (path.to_owned(), rule.to_owned())).collect()
}

// ---- audit ----------------------------------------------------------------------------------------

fn audit(arguments: &[&OsStr]) -> (Option<i32>, String, String) {
    let output = Command::new(RESEED).arg("audit").args(arguments).output().unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn json(image: &Path) -> Value {
    let (status, out, err) = audit(&[image.as_os_str(), OsStr::new("--json")]);
    let value: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    let found = !value["findings"].as_array().unwrap().is_empty();
    assert!(
        status == Some(if found { 3 } else { 0 }) || !value["unread"].as_array().unwrap().is_empty(),
        "{err}"
    );
    value
}

fn found(value: &Value) -> BTreeSet<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = value["findings"].as_array().unwrap();
    findings.iter().map(|finding| (text(&finding["path"]), text(&finding["rule"]))).collect()
}

fn pack(root: &Path, gzip: bool) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    builder.append_dir_all(".", root).unwrap();
    let tar = builder.into_inner().unwrap();
    if gzip { deflate(&tar) } else { tar }
}

fn deflate(content: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

fn single(name: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, content).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn everything_planted_is_found_and_nothing_else() {
    let machine = sample();
    assert!(planted().iter().map(|(_, _, rule)| rule).collect::<BTreeSet<_>>().len() >= 12);
    let dir = scratch();
    let layer = dir.path().join("image.tar");
    let oci = dir.path().join("oci.tar.gz");
    let blob = format!("blobs/sha256/{}", "0123456789abcdef".repeat(4));
    for (file, content) in [
        ("plain.tar", pack(machine.root(), false)),
        ("compressed.tar.gz", pack(machine.root(), true)),
        ("image.tar", single("0123/layer.tar", &pack(machine.root(), false))),
        ("oci.tar.gz", deflate(&single(&blob, &pack(machine.root(), true)))),
    ] {
        fs::write(dir.path().join(file), content).unwrap();
    }
    fs::create_dir_all(dir.path().join("layout/blobs/sha256")).unwrap();
    fs::write(dir.path().join("layout").join(&blob), pack(machine.root(), true)).unwrap();
    let (plain, compressed) = (dir.path().join("plain.tar"), dir.path().join("compressed.tar.gz"));
    let layout = dir.path().join("layout");
    for image in [machine.root(), &plain, &compressed, &layer, &oci, &layout] {
        let value = json(image);
        assert_eq!(found(&value), expected(), "{}", image.display());
        assert_eq!(value["unread"], serde_json::json!([]), "{}", image.display());
        let layers = if image.starts_with(&layout) || image == layer || image == oci { 1 } else { 0 };
        assert_eq!(value["counts"]["layers"], layers, "{}", image.display());
    }
    let in_layer = &json(&layer)["findings"][0]["layers"];
    assert_eq!(in_layer, &serde_json::json!(["/0123/layer.tar"]));
}

#[test]
fn standard_input_is_an_image_too() {
    let machine = sample();
    let dir = scratch();
    fs::write(dir.path().join("x.tar"), pack(machine.root(), true)).unwrap();
    let input = File::open(dir.path().join("x.tar")).unwrap();
    let output = Command::new(RESEED).args(["audit", "-", "--json"]).stdin(input).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(found(&serde_json::from_slice(&output.stdout).unwrap()), expected());
}

#[test]
fn nothing_secret_is_ever_shown() {
    let machine = sample();
    let root = machine.root().as_os_str();
    let secrets = [
        "MIGHAgEAMBM",
        "aB3aB3",
        "QQQQQQ",
        "ghp_a1B2",
        "c2VjcmV0",
        "0123456789abcdef0123456789abcdef",
        "iqn.",
    ];
    for form in [&[][..], &["--json"], &["--sarif"]] {
        let arguments: Vec<&OsStr> = [root].into_iter().chain(form.iter().map(OsStr::new)).collect();
        let (_, out, err) = audit(&arguments);
        assert!(out.contains(PEM_SPKI), "the public half is");
        for secret in secrets {
            assert!(!out.contains(secret) && !err.contains(secret), "{form:?} shows {secret}");
        }
    }
    let sealed = machine.reseed(&["seal", "--json"]);
    for secret in secrets {
        sealed.never_says(secret);
    }
}

#[test]
fn exit_statuses() {
    let dir = scratch();
    let (clean, cut) = (dir.path().join("clean"), dir.path().join("cut.tar"));
    fs::create_dir(&clean).unwrap();
    fs::write(clean.join("file"), "x").unwrap();
    let whole = single("etc/motd", &[b'x'; 5000]);
    fs::write(&cut, &whole[..3000]).unwrap();
    let missing = dir.path().join("missing");
    let cases: [(&str, Vec<&OsStr>, i32); 6] = [
        ("clean", vec![clean.as_os_str()], 0),
        ("damaged", vec![cut.as_os_str()], 1),
        ("not there", vec![missing.as_os_str()], 2),
        ("no image named", vec![], 2),
        ("two forms at once", vec![clean.as_os_str(), OsStr::new("--json"), OsStr::new("--sarif")], 2),
        ("no such baseline", vec![clean.as_os_str(), OsStr::new("--baseline"), missing.as_os_str()], 2),
    ];
    for (case, arguments, status) in cases {
        let (found, out, err) = audit(&arguments);
        assert_eq!(found, Some(status), "{case}: {out}{err}");
    }
}

#[test]
fn a_baseline_hides_what_is_known_and_nothing_new() {
    let machine = sample();
    let dir = scratch();
    let baseline = dir.path().join("baseline.json");
    let root = machine.root().as_os_str();
    fs::write(&baseline, audit(&[root, OsStr::new("--json")]).1).unwrap();
    let with = [root, OsStr::new("--json"), OsStr::new("--baseline"), baseline.as_os_str()];
    assert_eq!(audit(&with).0, Some(0));
    put(&machine, "/etc/ssh/ssh_host_ed25519_key", &openssh(2));
    put(&machine, "/srv/new.key", PEM.as_bytes());
    let (status, out, _) = audit(&with);
    assert_eq!(status, Some(3));
    let paths: Vec<String> =
        found(&serde_json::from_str(&out).unwrap()).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/etc/ssh/ssh_host_ed25519_key", "/srv/new.key"]);
}

/// What the schema of SARIF 2.1.0 requires of the objects that are written, and of their values.
#[test]
fn the_log_is_sarif() {
    let machine = sample();
    let (_, out, _) = audit(&[machine.root().as_os_str(), OsStr::new("--sarif")]);
    let log: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().unwrap().ends_with("sarif-schema-2.1.0.json"));
    let run = &log["runs"][0];
    assert_eq!(run["tool"]["driver"]["name"], "reseed");
    assert!(run["invocations"][0]["executionSuccessful"].is_boolean());
    let rules: BTreeSet<&str> = run["tool"]["driver"]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["id"].as_str().unwrap())
        .collect();
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), planted().len());
    for result in results {
        assert!(rules.contains(result["ruleId"].as_str().unwrap()), "{result}");
        assert!(["error", "warning"].contains(&result["level"].as_str().unwrap()), "{result}");
        assert!(result["message"]["text"].is_string(), "{result}");
        let uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap();
        assert!(!uri.starts_with('/') && !uri.contains(' '), "{uri}");
    }
}

// ---- seal -----------------------------------------------------------------------------------------

#[test]
fn a_sealed_copy_holds_only_what_is_said_to_be_left() {
    let machine = sample();
    put(&machine, "/var/lib/dbus/machine-id", b"0123456789abcdef0123456789abcdef\n");
    let report = machine.reseed(&["seal", "--json"]);
    report.exits(0);
    let report = report.json();
    let left: BTreeSet<&str> =
        report["left"].as_array().unwrap().iter().map(|left| left["path"].as_str().unwrap()).collect();
    let value = json(machine.root());
    let found: BTreeSet<String> = found(&value).into_iter().map(|(path, _)| path).collect();
    assert_eq!(found, left.iter().map(|path| (*path).to_owned()).collect(), "said and found");
    for gone in
        ["/etc/ssh/ssh_host_ed25519_key", "/etc/krb5.keytab", "/etc/bind/rndc.key", "/root/.bash_history"]
    {
        assert!(!machine.path(gone).exists(), "{gone}");
    }
    assert!(left.contains("/etc/wireguard/wg0.conf") && left.contains("/srv/app/tls.key"));
    assert_eq!(machine.read("/etc/machine-id"), "uninitialized\n");
    assert!(!machine.path("/var/lib/dbus/machine-id").exists());
    assert_eq!(machine.read("/etc/ssh/sshd_config"), "HostKey /etc/ssh/ssh_host_ed25519_key\n");
    let record = machine.read("/var/lib/reseed/image.toml");
    let (taken, left) = record.split_once("[left]").unwrap();
    assert!(taken.contains("/etc/ssh/ssh_host_ed25519_key") && left.contains(PEM_SPKI), "{record}");
}

#[test]
fn sealing_twice_is_nothing_to_do() {
    let machine = sample();
    machine.reseed(&["seal"]).exits(0).says("Sealed: ");
    let before = machine.snapshot();
    machine.reseed(&["seal"]).exits(0).says("Nothing to do.");
    assert_eq!(before.changed(&machine.snapshot()), BTreeSet::new());
}

#[test]
fn a_dry_run_changes_nothing_and_says_the_same() {
    let machine = sample();
    let before = machine.snapshot();
    let dry = machine.reseed(&["seal", "--dry-run", "--json"]);
    dry.exits(0);
    assert_eq!(before.changed(&machine.snapshot()), BTreeSet::new());
    let done = machine.reseed(&["seal", "--json"]);
    assert_eq!(dry.json()["done"], done.json()["done"]);
}

#[test]
fn operations_are_selected() {
    let cases: [(&[&str], &[&str], &[&str]); 4] = [
        (
            &["--enable", "random-seed"],
            &["/var/lib/systemd/random-seed"],
            &["/etc/krb5.keytab", "/etc/bind/rndc.key"],
        ),
        (
            &["--operations", "defaults,-kerberos-hostkeytab"],
            &["/var/lib/systemd/random-seed", "/etc/bind/rndc.key"],
            &["/etc/krb5.keytab", "/srv/app/tls.key"],
        ),
        (&["--operations", "-logfiles"], &[], &["/etc/krb5.keytab", "/var/lib/systemd/random-seed"]),
        (
            &["--operations", "defaults,vpn-keys,tls-keys-foreign"],
            &["/etc/wireguard/wg0.conf", "/srv/app/tls.key", "/opt/app/store.jks"],
            &["/etc/ssl/certs/cacerts", "/usr/lib/libtest.so"],
        ),
    ];
    for (arguments, gone, kept) in cases {
        let machine = sample();
        let arguments: Vec<&str> = [&["seal"], arguments].concat();
        machine.reseed(&arguments).exits(0);
        for path in gone {
            assert!(!machine.path(path).exists(), "{arguments:?}: {path}");
        }
        for path in kept {
            assert!(machine.path(path).exists(), "{arguments:?}: {path}");
        }
    }
    let machine = sample();
    machine.reseed(&["seal", "--enable", "no-such"]).exits(2).complains("there is no operation");
    machine.reseed(&["seal", "--list-operations"]).exits(0).says("* ssh-hostkeys");
}

#[test]
fn the_running_machine_is_not_sealed_by_mistake() {
    let output = Command::new(RESEED).arg("seal").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--running"));
}

#[test]
fn links_out_of_the_root_are_not_followed() {
    let machine = sample();
    let outside = scratch();
    for file in ["key", "log/syslog", "cloud/i-1/x", "id"] {
        let path = outside.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, PEM).unwrap();
    }
    let before = Snapshot::of(outside.path());
    let _ = fs::remove_dir_all(machine.path("/var/log"));
    let _ = fs::remove_file(machine.path("/etc/krb5.keytab"));
    for (target, link) in [
        ("key", "/etc/ssh/ssh_host_rsa_key"),
        ("key", "/etc/krb5.keytab"),
        ("log", "/var/log"),
        ("cloud", "/var/lib/cloud-link"),
        ("id", "/var/lib/dbus/machine-id"),
    ] {
        symlink(outside.path().join(target), machine.path(link)).unwrap();
    }
    machine.directory("/var/lib/cloud");
    symlink(outside.path().join("cloud"), machine.path("/var/lib/cloud/instances")).unwrap();
    let mut expected = expected();
    expected.retain(|(path, _)| path != "/etc/krb5.keytab");
    assert_eq!(found(&json(machine.root())), expected, "nothing of outside");
    machine.reseed(&["seal"]).exits(0);
    assert_eq!(before.changed(&Snapshot::of(outside.path())), BTreeSet::new(), "outside is as it was");
    assert!(machine.path("/var/lib/dbus/machine-id").is_symlink(), "a link to the machine-id is left");
}

#[test]
fn keys_go_by_their_verdict() {
    let Some(machine) = Machine::new(support::Family::Debian) else {
        support::skipped("openssl is missing");
        return;
    };
    let machine = machine.rehomed();
    machine.reseed(&["check"]);
    let made: Vec<String> = machine
        .reseed(&["status", "--json"])
        .out
        .lines()
        .filter(|line| line.contains("snakeoil"))
        .map(str::to_owned)
        .collect();
    assert!(!made.is_empty());
    let key = "/etc/ssl/private/ssl-cert-snakeoil.key";
    let old = support::public_half(&machine.path(key));
    machine.reseed(&["seal"]).exits(0);
    for gone in [key, "/etc/ssl/certs/ssl-cert-snakeoil.pem", "/var/lib/reseed/history.jsonl"] {
        assert!(!machine.path(gone).exists(), "{gone}");
    }
    machine.reseed(&["status"]).says("missing");
    machine.rename("clone.example.com");
    machine.reseed(&["apply"]).exits(0).says("ssl-cert: made again");
    assert_ne!(support::public_half(&machine.path(key)), old);
    assert!(!machine.read("/var/lib/reseed/ledger.toml").contains("mail.example.com"));
}

// ---- what is meant to hurt ------------------------------------------------------------------------

#[test]
fn hostile_names_stay_names() {
    let machine = Machine::bare("mail.example.com");
    let long = "n".repeat(255);
    let deep = format!("/srv/{}", "d/".repeat(100));
    for name in [&b"a b\n\x1b[31mred"[..], b"\xff\xfe", b"-rf", b"%2e%2e", long.as_bytes()] {
        fs::create_dir_all(machine.path("/srv")).unwrap();
        fs::write(machine.path("/srv").join(OsStr::from_bytes(name)), PEM).unwrap();
    }
    put(&machine, &format!("{deep}key"), PEM.as_bytes());
    let value = json(machine.root());
    assert_eq!(value["findings"].as_array().unwrap().len(), 6, "{value}");
    let (_, out, _) = audit(&[machine.root().as_os_str()]);
    assert!(!out.contains('\x1b'), "a terminal obeys nothing in it");
    let (_, out, _) = audit(&[machine.root().as_os_str(), OsStr::new("--sarif")]);
    assert!(out.contains("a%20b%0A%1B%5B31mred") && out.contains("%FF%FE"));
    machine.reseed(&["seal", "--operations", "defaults,tls-keys-foreign"]).exits(0);
    assert_eq!(json(machine.root())["findings"], serde_json::json!([]));
}

/// A tar of one entry whose header says whatever it is told to.
fn raw(name: &[u8], kind: u8, size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_size(size);
    header.set_cksum();
    let mut tar = header.as_bytes().to_vec();
    tar.extend(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
    tar
}

#[test]
fn an_archive_cannot_hurt() {
    let dir = scratch();
    let end = [0_u8; 1024];
    let tar = |parts: &[Vec<u8>]| [&parts.concat()[..], &end].concat();
    let key = || raw(b"../../etc/ssh/ssh_host_rsa_key", b'0', PEM.len() as u64, PEM.as_bytes());
    let pax = |text: &str| raw(b"pax", b'x', text.len() as u64, text.as_bytes());
    let zeros = deflate(&vec![0; 64 << 20]);
    let layer = |content: &[u8]| raw(b"x/layer.tar", b'0', content.len() as u64, content);
    // name, archive, path that is found, something that cannot be looked into
    let cases: Vec<(&str, Vec<u8>, Option<&str>, bool)> = vec![
        ("climbs out", tar(&[key()]), Some("/etc/ssh/ssh_host_rsa_key"), false),
        (
            "absolute",
            tar(&[raw(b"/etc/x.key", b'0', 5, b"x"), key()]),
            Some("/etc/ssh/ssh_host_rsa_key"),
            false,
        ),
        ("a link", tar(&[raw(b"etc/passwd", b'2', 0, b""), key()]), Some("/etc/ssh/ssh_host_rsa_key"), false),
        ("a device", tar(&[raw(b"dev/sda", b'4', 0, b"")]), None, false),
        ("a long name", tar(&[raw(b"././@LongLink", b'L', 300, &[b'n'; 300]), key()]), Some("n"), false),
        ("a name without end", tar(&[raw(b"././@LongLink", b'L', 1 << 40, &[b'n'; 100_000])]), None, true),
        ("a pax name", tar(&[pax("20 path=etc/pax.key\n"), key()]), Some("/etc/pax.key"), false),
        ("a pax header that is none", tar(&[pax("x"), key()]), None, true),
        ("a size that is not there", tar(&[raw(b"x", b'0', 1 << 50, b"x")]), None, true),
        ("no tar", b"hello".to_vec(), None, true),
        ("a damaged header", [&[1_u8; 512][..], &end].concat(), None, true),
        ("gzip of junk", [&[0x1f, 0x8b, 8][..], &[9; 100]].concat(), None, true),
        ("64 MiB of zeros in a layer", tar(&[layer(&zeros)]), None, false),
        ("an old sparse file", tar(&[raw(b"x", b'S', 512, &[0; 512])]), None, true),
    ];
    for (case, content, expected, unread) in cases {
        let path = dir.path().join("x.tar");
        fs::write(&path, content).unwrap();
        let begun = Instant::now();
        let value = json(&path);
        assert!(begun.elapsed() < Duration::from_secs(20), "{case}");
        let paths: Vec<String> = found(&value).into_iter().map(|(path, _)| path).collect();
        match expected {
            Some("n") => assert_eq!(paths, [format!("/{}", "n".repeat(300))], "{case}"),
            Some(path) => assert_eq!(paths, [path], "{case}: {value}"),
            None => assert!(paths.is_empty(), "{case}: {value}"),
        }
        assert_eq!(!value["unread"].as_array().unwrap().is_empty(), unread, "{case}: {value}");
    }
}

#[test]
fn a_bomb_of_layers_in_layers_is_bounded() {
    let dir = scratch();
    let mut image = single("etc/key", PEM.as_bytes());
    for _ in 0..8 {
        image = single("x/layer.tar", &deflate(&image));
    }
    let path = dir.path().join("x.tar");
    fs::write(&path, image).unwrap();
    assert_eq!(json(&path)["counts"]["layers"], 4, "and no deeper");
}

#[test]
fn a_file_of_any_size_is_looked_at_in_no_time() {
    let machine = Machine::bare("mail.example.com");
    let file = File::create(machine.path("/huge")).unwrap();
    file.set_len(1 << 40).unwrap();
    file.write_all_at(PEM.as_bytes(), 3 << 20).unwrap();
    let begun = Instant::now();
    let value = json(machine.root());
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(value["findings"].as_array().unwrap().len(), 1);
    assert_eq!(value["counts"]["large"], 1);
}

#[test]
fn what_may_not_be_read_is_named() {
    let machine = sample();
    fs::set_permissions(machine.path("/srv/app/tls.key"), fs::Permissions::from_mode(0o000)).unwrap();
    let program = scratch();
    // Where another user can run it: the build directory may be closed to them.
    let program = program.path().join("reseed");
    fs::copy(RESEED, &program).unwrap();
    let mut command = Command::new(&program);
    if support::is_root() {
        command.uid(65534).gid(65534);
    }
    let output = command.arg("audit").arg(machine.root()).arg("--json").current_dir("/").output().unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        value["unread"].as_array().unwrap().iter().any(|one| one["path"] == "/srv/app/tls.key"),
        "{value}"
    );
    assert!(!found(&value).iter().any(|(path, _)| path == "/srv/app/tls.key"));
}
