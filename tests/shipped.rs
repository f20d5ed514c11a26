//! Every file that we ship is understood by the program that it is for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn reseed(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_reseed")).args(arguments).output().unwrap();
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn hooks() -> Vec<PathBuf> {
    let mut hooks: Vec<PathBuf> =
        std::fs::read_dir(repository().join("hooks.d")).unwrap().map(|entry| entry.unwrap().path()).collect();
    hooks.sort();
    hooks
}

#[test]
fn hooks_are_well_formed_and_explain_themselves() {
    assert!(hooks().len() >= 4);
    for hook in hooks() {
        let path = hook.display().to_string();
        let (status, out, err) = reseed(&["hook", "check", &path]);
        assert_eq!((status, err.as_str()), (0, ""), "{path}: {out}");
        let text = std::fs::read_to_string(&hook).unwrap();
        assert!(text.starts_with("# "), "{path} opens with its manual");
    }
}

#[test]
fn the_readme_names_every_hook_and_every_setting() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    for hook in hooks() {
        let name = hook.file_name().unwrap().to_str().unwrap();
        assert!(readme.contains(&format!("(hooks.d/{name})")), "{name}");
    }
    let block = readme.split("```toml").find(|block| block.contains("[identity]")).unwrap();
    let settings = block.split("```").next().unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("etc/reseed")).unwrap();
    std::fs::write(dir.path().join("etc/reseed/reseed.toml"), settings).unwrap();
    let (status, _, err) = reseed(&["--root", &dir.path().display().to_string(), "status"]);
    assert_eq!((status, err.as_str()), (0, ""), "the settings of the README are settings");
}

#[test]
fn the_seed_template_is_a_seed_with_and_without_its_comments() {
    let template = std::fs::read_to_string(repository().join("seed/seed.toml")).unwrap();
    let uncommented: String = template
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| rest.contains(" = \"")).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    for (case, text, fields) in [("as it is", &template, 0), ("uncommented", &uncommented, 6)] {
        let subject = reseed::seed::Subject::parse(Path::new("seed.toml"), text).unwrap();
        let set = serde_json::to_value(&subject).unwrap().as_object().unwrap().len();
        assert_eq!(set, fields, "{case}");
    }
}

#[test]
fn manual_pages_and_completions_come_from_the_definitions() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(reseed(&["manual", &dir.path().display().to_string()]).0, 0);
    let pages: BTreeSet<String> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    for page in ["reseed.8", "reseed-apply.8", "reseed-plan.8", "reseed-rehome.8", "reseed-hook-check.8"] {
        assert!(pages.contains(page), "{page} of {pages:?}");
    }
    for unit in std::fs::read_dir(repository().join("systemd")).unwrap() {
        let unit = unit.unwrap().path();
        let text = std::fs::read_to_string(&unit).unwrap();
        let documents = text.lines().filter_map(|line| line.strip_prefix("Documentation="));
        for document in documents.flat_map(str::split_whitespace) {
            let page = document.trim_start_matches("man:").replace("(8)", ".8");
            assert!(pages.contains(&page), "{}: {document} of {pages:?}", unit.display());
        }
    }
    let page = std::fs::read_to_string(dir.path().join("reseed.8")).unwrap();
    assert!(page.contains("another run holds the lock"), "exit statuses stand in the manual page");
    for shell in ["bash", "zsh", "fish"] {
        let (status, out, _) = reseed(&["completions", shell]);
        assert!(status == 0 && out.contains("rehome"), "{shell}");
    }
}

#[test]
fn packages_have_the_version_of_the_program() {
    let read = |file: &str| std::fs::read_to_string(repository().join(file)).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let spec = read("rpm/reseed.spec");
    assert!(spec.lines().any(|line| line == format!("Version:        {version}")), "rpm/reseed.spec");
    let changes = spec.split("%changelog\n").nth(1).unwrap();
    assert!(changes.lines().next().unwrap().contains(&format!(" - {version}-")), "its changelog");
    let debian = read("rpm/debian/changelog");
    assert!(debian.starts_with(&format!("reseed ({version}) ")), "rpm/debian/changelog");
}

#[test]
fn settings_of_packages_are_settings() {
    for file in ["rpm/hold.toml", "rpm/gate.toml"] {
        let path = repository().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        reseed::config::parse(&[(&path, &text)]).unwrap();
    }
}

#[test]
fn the_subject_hash_is_openssls() {
    use reseed::pki::{Algorithm, Usage, container, inspect, issue, key, serial};
    let subjects = [
        reseed::seed::Subject::default(),
        reseed::seed::Subject {
            country: Some("DE".into()),
            state: Some("Baden  Württemberg ".into()),
            organization: Some("ÄÖÜ & Söhne GmbH".into()),
            email: Some("Post@Example.COM".into()),
            ..Default::default()
        },
    ];
    let dir = tempfile::tempdir().unwrap();
    for subject in subjects {
        let key = key::PrivateKey::generate(Algorithm::P256).unwrap();
        let profile = issue::Profile {
            fqdn: &reseed::identity::HostName::parse("Mail.Example.com").unwrap(),
            names: &BTreeSet::new(),
            addresses: &BTreeSet::new(),
            subject: &subject,
            usage: &BTreeSet::from([Usage::Server]),
            serial: serial::Serial::next(None, None, [9; 20]),
            now: time::OffsetDateTime::now_utc(),
            days: 398,
            backdate_hours: 24,
        };
        let text = issue::self_signed(&profile, &key).unwrap();
        let der = container::read(text.as_bytes()).certificates.remove(0);
        let ours = inspect::Certificate::from_der(&der).unwrap().subject_hash;
        let file = dir.path().join("c.pem");
        std::fs::write(&file, &text).unwrap();
        let openssl = Command::new("openssl").args(["x509", "-noout", "-hash", "-in"]).arg(&file).output();
        let Ok(openssl) = openssl else {
            assert!(std::env::var_os("RESEED_TESTS_REQUIRE_ALL").is_none(), "install openssl");
            eprintln!("skipped: openssl is not installed");
            return;
        };
        assert_eq!(String::from_utf8(openssl.stdout).unwrap().trim(), ours);
    }
}
