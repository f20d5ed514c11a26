use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::datetime;

use super::*;
use crate::manager::inventory::files::Files;
use crate::manager::inventory::model::{
    About, Algorithms, Certificate, Instance, KeyAlgorithm, KeyInfo, Kind, Name, State,
};
use crate::manager::inventory::store::{Contents, Inventory};
use crate::manager::keys::{Form, Request};
use crate::manager::operate::{OperateError, Operation};
use crate::manager::run::{World, configuration};
use crate::pki::encrypted::{self, Passphrase, Salt};
use crate::pki::{Algorithm, Container};
use crate::system::root::Root;

const NOW: OffsetDateTime = datetime!(2026-06-01 0:00 UTC);
/// As `ssh-keygen` makes it for serverPKI: several lines, all of which count.
const PASSPHRASE: &str = "-----BEGIN\nnot really\n-----END\n";

struct Site(TempDir);

impl Site {
    /// A site with these keys, whose passphrase may be configured.
    fn new(keys: &[(&str, SubjectType, Secret)], passphrase: Option<&str>) -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(site.0.path().join("top/conf.d")).unwrap();
        let text = passphrase.map(|_| "[keys]\npassphrase_file = \"passphrase\"\n").unwrap_or_default();
        fs::write(site.0.path().join("top/conf.d/ssl-mgr.conf"), text).unwrap();
        site.put(passphrase.unwrap_or("nobody's"));
        let mut contents = Contents { next: 1, ..Contents::default() };
        for (name, subject, key) in keys {
            let name = Name::new(name).unwrap();
            let certificate = Certificate::new(*subject, Kind::Local, Algorithms::Ec);
            contents.objects.certificates.insert(name.clone(), certificate);
            let digest = format!("{:064X}", contents.next);
            let info = KeyInfo { algorithm: KeyAlgorithm::Ec, digest, created: None };
            let instance = Instance {
                id: contents.next,
                certificate: name,
                state: State::Issued,
                algorithms: Algorithms::Ec,
                must_staple: false,
                issuer: None,
                not_before: Some(NOW),
                not_after: Some(NOW),
                published: None,
                about: About::default(),
                deliveries: BTreeMap::new(),
                keys: vec![info.clone()],
            };
            let data = KeyData { info, certificate: "-".into(), chain: String::new(), key: key.clone() };
            contents.instances.push((instance, vec![data]));
            contents.next += 1;
        }
        Files::of_top(&site.root(), Path::new("/top")).fill(&contents).unwrap();
        site
    }

    fn root(&self) -> Root {
        Root::open(self.0.path()).unwrap()
    }

    fn put(&self, passphrase: &str) {
        let path = self.0.path().join("top/passphrase");
        fs::write(&path, passphrase).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn with<T>(&self, work: impl FnOnce(&mut Operation<'_>) -> T) -> T {
        self.with_root(&self.root(), work)
    }

    fn with_root<T>(&self, root: &Root, work: impl FnOnce(&mut Operation<'_>) -> T) -> T {
        let top = Path::new("/top");
        let world =
            World { root, top: top.into(), config: None, now: NOW, host: "a.example".into(), tell: |_| {} };
        let config = configuration(&world).unwrap();
        work(&mut Operation::new(world, config, Box::new(Files::of_top(root, top))))
    }

    fn switched(&self, form: Form) -> Result<Switched, OperateError> {
        self.with(|op| switch(op, &Request { form, old: None, dry_run: false }))
    }

    /// Every key by the name of its certificate, and how they are to be kept.
    fn keys(&self) -> (AtRest, BTreeMap<String, Secret>) {
        let root = self.root();
        let contents = Files::of_top(&root, Path::new("/top")).contents().unwrap();
        let keys = contents.instances.into_iter().flat_map(|(instance, keys)| {
            keys.into_iter().map(move |data| (instance.certificate.to_string(), data.key))
        });
        (contents.at_rest, keys.collect())
    }
}

fn key() -> &'static PrivateKey {
    static KEY: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate(Algorithm::P256).unwrap());
    &KEY
}

/// As serverPKI left it.
fn traditional() -> Secret {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::write(path("key"), key().to_pem(Container::Traditional).unwrap().reveal()).unwrap();
    // Its library takes the whole file; openssl reads a line from a file, and all of a variable.
    let output = Command::new("openssl")
        .args(["ec", "-aes-256-cbc", "-passout", "env:PASSPHRASE", "-in", &path("key"), "-out", &path("out")])
        .env("PASSPHRASE", PASSPHRASE)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = fs::read(path("out")).unwrap();
    assert!(String::from_utf8_lossy(&text).contains("Proc-Type: 4,ENCRYPTED"));
    Secret::new(text)
}

fn clear() -> Secret {
    Keyring::clear(key()).unwrap()
}

fn under(passphrase: &str) -> Secret {
    encrypted::encrypt(key(), &Passphrase::of_file(passphrase).unwrap()).unwrap()
}

/// A key in every form.
fn every() -> Vec<(&'static str, SubjectType, Secret)> {
    vec![
        ("Elsewhere CA", SubjectType::Ca, Secret::new("")),
        ("Local CA", SubjectType::Ca, clear()),
        ("Typed CA", SubjectType::Ca, under("typed")),
        ("clear.example", SubjectType::Server, clear()),
        ("client", SubjectType::Client, clear()),
        ("encrypted.example", SubjectType::Server, under(PASSPHRASE)),
        ("old.example", SubjectType::Server, traditional()),
    ]
}

#[test]
fn there_and_back() {
    let site = Site::new(&every(), Some(PASSPHRASE));
    assert_eq!(site.keys().0, AtRest::Clear);
    let done = site.switched(Form::Encrypted).unwrap();
    // All but the one that was so, the one that is not there, and the one that another passphrase opens.
    assert_eq!((done.changed, done.already, done.notes.len()), (4, 1, 1), "{done}");
    assert!(done.notes[0].starts_with("Typed CA, instance 3: "), "{done}");
    let (at_rest, keys) = site.keys();
    let passphrase = Passphrase::of_file(PASSPHRASE).unwrap();
    for (name, text) in &keys {
        let is_other = matches!(name.as_str(), "Elsewhere CA" | "Typed CA");
        assert_eq!(encrypted::is_encrypted_pkcs8(text.reveal()), name != "Elsewhere CA", "{name}");
        if !is_other {
            let opened = encrypted::decrypt(text.reveal(), Some(&passphrase)).unwrap();
            assert_eq!(opened.public_digest(), key().public_digest(), "{name}");
        }
    }
    assert!(matches!(at_rest, AtRest::Encrypted { .. }));
    let again = site.switched(Form::Encrypted).unwrap();
    assert!(again.is_already() && again.to_string().contains("already: 5"), "{again}");
    assert_eq!(site.keys(), (at_rest, keys), "nothing was written");
    let back = site.switched(Form::Clear).unwrap();
    assert_eq!((back.changed, back.is_already()), (4, false), "{back}");
    let (at_rest, keys) = site.keys();
    assert_eq!(at_rest, AtRest::Clear);
    for (name, text) in &keys {
        let is_authority = name.ends_with("CA") && name != "Elsewhere CA";
        assert_eq!(encrypted::is_encrypted(text.reveal()), is_authority, "{name}");
    }
    assert!(site.switched(Form::Clear).unwrap().is_already());
}

/// It left the keys in clear, and said that they are encrypted.
#[test]
fn a_failed_switch_changes_nothing_and_says_one_thing() {
    type Spoil = fn(&Site);
    let cases: [(&str, Form, Spoil, &str); 6] = [
        ("another", Form::Encrypted, |site| site.put("other"), ".example, instance "),
        ("another, back", Form::Clear, |site| site.put("other"), ".example, instance "),
        ("empty", Form::Encrypted, |site| site.put("\n"), "/top/passphrase: the passphrase is empty"),
        (
            "no file",
            Form::Encrypted,
            |site| fs::remove_file(site.0.path().join("top/passphrase")).unwrap(),
            "/top/passphrase: there is no such file",
        ),
        (
            "not configured",
            Form::Encrypted,
            |site| fs::write(site.0.path().join("top/conf.d/ssl-mgr.conf"), "").unwrap(),
            "there is no passphrase; name its file in [keys]",
        ),
        (
            "not configured, back",
            Form::Clear,
            |site| fs::write(site.0.path().join("top/conf.d/ssl-mgr.conf"), "").unwrap(),
            ": it is under a passphrase; name its file",
        ),
    ];
    for (case, form, spoil, says) in cases {
        let site = Site::new(&every(), Some(PASSPHRASE));
        let before = site.keys();
        spoil(&site);
        let error = site.switched(form).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains('\n'), "{case}: {error}");
        assert_eq!(site.keys(), before, "{case}");
        let dry = Request { form, old: None, dry_run: true };
        let error = site.with(|op| switch(op, &dry)).unwrap_err().to_string();
        assert!(error.contains(says), "{case}: {error}");
    }
}

#[test]
fn an_older_passphrase_is_exchanged() {
    let keys = [("a.example", SubjectType::Server, under("old")), ("CA", SubjectType::Ca, under("old"))];
    let site = Site::new(&keys, Some("new"));
    let old = Passphrase::of_file("old\n").unwrap();
    let request = Request { form: Form::Encrypted, old: Some(&old), dry_run: false };
    assert_eq!(site.with(|op| switch(op, &request)).unwrap().changed, 2);
    let found = site.with(status).unwrap();
    assert!(found.is_good(), "{found}");
    assert_eq!(site.switched(Form::Clear).unwrap().changed, 1);
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let site = Site::new(&every(), Some(PASSPHRASE));
    let seen = || {
        let entries = walkdir::WalkDir::new(site.0.path()).sort_by_file_name().into_iter().flatten();
        let times = entries.map(|it| (it.path().to_owned(), it.metadata().unwrap().modified().unwrap()));
        times.collect::<Vec<_>>()
    };
    let before = seen();
    let request = Request { form: Form::Encrypted, old: None, dry_run: true };
    let told = site.with(|op| switch(op, &request)).unwrap();
    assert_eq!((told.changed, told.already), (4, 1));
    assert!(told.to_string().contains("would be put under the passphrase: 4"), "{told}");
    let found = site.with(status).unwrap();
    assert_eq!(seen(), before, "not even a time stamp");
    assert!(!found.is_good(), "{found}");
    assert_eq!((found.services.encrypted, found.services.weak, found.services.clear), (1, 1, 2));
    assert_eq!((found.authorities.encrypted, found.authorities.clear), (1, 1));
    assert!(matches!(found.problems.as_slice(), [one] if one.starts_with("Typed CA, ")), "{found}");
}

#[test]
fn all_keys_are_switched_or_none_whenever_the_power_goes() {
    let keys = [
        ("CA", SubjectType::Ca, clear()),
        ("a.example", SubjectType::Server, clear()),
        ("b.example", SubjectType::Client, clear()),
    ];
    let first = Site::new(&keys, Some("x"));
    let before = first.keys();
    let mut cuts = 0;
    for changes in 0.. {
        let site = Site::new(&keys, Some("x"));
        let root = site.root();
        root.cut_power_after(changes);
        let request = Request { form: Form::Encrypted, old: None, dry_run: false };
        let done = site.with_root(&root, |op| switch(op, &request));
        root.cut_power_after(usize::MAX);
        // Whoever writes next puts in order what was left; every key can be read in between, too.
        let between = site.keys().1;
        let passphrase = Passphrase::of_file("x").unwrap();
        for text in between.values() {
            encrypted::decrypt(text.reveal(), Some(&passphrase)).unwrap();
        }
        Files::of_top(&site.root(), Path::new("/top")).change(&[]).unwrap();
        let (at_rest, keys) = site.keys();
        let encrypted = keys.values().filter(|text| encrypted::is_encrypted(text.reveal())).count();
        match at_rest {
            AtRest::Clear => assert_eq!((at_rest, keys), before, "{changes}"),
            AtRest::Encrypted { .. } => assert_eq!(encrypted, 3, "{changes}"),
        }
        if done.is_ok() {
            assert_ne!(at_rest, AtRest::Clear);
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 10, "{cuts}");
}

#[test]
fn new_keys_are_kept_as_is_said_and_never_otherwise() {
    let salt = Salt::random().unwrap();
    let cases = [
        ("a service's, in clear", AtRest::Clear, SubjectType::Server, false),
        ("a service's", AtRest::Encrypted { salt }, SubjectType::Server, true),
        ("an authority's, whatever is said", AtRest::Clear, SubjectType::Ca, true),
        ("an authority's", AtRest::Encrypted { salt }, SubjectType::Ca, true),
    ];
    let (known, unknown) = (Site::new(&[], Some("x")), Site::new(&[], None));
    let (root, other) = (known.root(), unknown.root());
    let keyring = Keyring::new(&root, Some(Path::new("/top/passphrase")));
    let none = Keyring::new(&other, None);
    for (case, at_rest, subject, is_encrypted) in cases {
        let text = keep_key(&keyring, at_rest, subject, key()).unwrap();
        assert_eq!(encrypted::is_encrypted_pkcs8(text.reveal()), is_encrypted, "{case}");
        let info = KeyInfo { algorithm: KeyAlgorithm::Ec, digest: "0".into(), created: None };
        let data = KeyData { info, certificate: String::new(), chain: String::new(), key: text };
        assert!(at_rest.suits(subject, std::slice::from_ref(&data)).is_ok(), "{case}");
        assert_eq!(open_key(&keyring, &data).unwrap().public_digest(), key().public_digest(), "{case}");
        let wrong = if is_encrypted { clear() } else { under("x") };
        let wrong = KeyData { key: wrong, ..data };
        assert!(at_rest.suits(subject, &[wrong]).is_err(), "{case}");
        let kept = keep_key(&none, at_rest, subject, key());
        assert_eq!(kept.is_err(), is_encrypted, "{case}: without a passphrase");
    }
}
