//! All changes of a step are one, whenever the power goes; and texts that are refused.

use std::fs;

use super::*;
use crate::manager::inventory::model::{About, Algorithms, DistHost, KeyInfo, Kind, SubjectType};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn certificate() -> Certificate {
    Certificate {
        subject: SubjectType::Server,
        kind: Kind::Local,
        authority: None,
        disabled: false,
        algorithms: Algorithms::Both,
        must_staple: true,
        authorized_until: None,
        reminded: None,
        about: About::default(),
        main: About::default(),
        names: BTreeMap::new(),
        services: BTreeSet::new(),
        targets: Vec::new(),
    }
}

fn first() -> Vec<Change> {
    let host = Object::Host(name("old.example"), DistHost::default());
    vec![
        Change::Add(host),
        Change::Add(Object::Certificate(name("Old *.example"), Box::new(certificate()))),
        Change::Add(Object::Certificate(name("gone.example"), Box::new(certificate()))),
    ]
}

/// A host, a certificate that comes and one that goes, in one step.
fn second() -> Vec<Change> {
    vec![
        Change::Add(Object::Host(name("new.example"), DistHost::default())),
        Change::Add(Object::Certificate(name("new.example"), Box::new(certificate()))),
        Change::Remove(Reference::Certificate(name("gone.example"))),
    ]
}

#[test]
fn a_step_is_whole_or_not_there_whenever_the_power_goes() {
    let mut cuts = 0;
    for changes in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        let top = Path::new("/top");
        Files::of_top(&root, top).change(&first()).unwrap();
        let before = Files::of_top(&root, top).contents().unwrap();
        root.cut_power_after(changes);
        let done = Files::of_top(&root, top).change(&second());
        root.cut_power_after(usize::MAX);
        let mut again = Files::of_top(&root, top);
        // Whoever writes next puts in order what was left.
        let extra = Object::Host(name("later.example"), DistHost::default());
        again.change(&[Change::Add(extra)]).unwrap();
        again.change(&[Change::Remove(Reference::Host(name("later.example")))]).unwrap();
        let after = again.contents().unwrap();
        let is_new = after.objects.hosts.contains_key(&name("new.example"));
        assert_eq!(is_new, after.objects.certificates.contains_key(&name("new.example")), "{changes}");
        assert_eq!(!is_new, after.objects.certificates.contains_key(&name("gone.example")), "{changes}");
        assert!(is_new || after == before, "{changes}");
        if done.is_ok() {
            assert!(is_new);
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 10, "{cuts}");
}

#[test]
fn an_instance_lives_and_goes_with_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let root = Root::open(directory.path()).unwrap();
    let mut files = Files::of_top(&root, Path::new("/top"));
    files.change(&first()).unwrap();
    let (main, now) = (name("old *.EXAMPLE"), time::macros::datetime!(2026-06-01 0:00 UTC));
    let begin = Event::Reserved { algorithms: Algorithms::Both, must_staple: true };
    let lost = files.record(&main, std::slice::from_ref(&begin), now).unwrap_err();
    assert!(matches!(lost, InventoryError::ClaimLost(_)));
    assert_eq!(files.claim(&[main.clone(), name("nobody")], 5).unwrap().len(), 1);
    let other = Files::of_top(&root, Path::new("/top")).change(&second());
    assert!(matches!(other, Err(InventoryError::Busy)));
    let id = files.record(&main, &[begin], now).unwrap().unwrap();
    let key = |algorithm: KeyAlgorithm| KeyData {
        info: KeyInfo { algorithm, digest: format!("{algorithm:0>64}"), created: Some(now) },
        certificate: "certificate".into(),
        chain: "chain".into(),
        key: Secret::new("key"),
    };
    let issued = |keys| Event::Issued {
        instance: id,
        keys,
        issuer: None,
        not_before: now,
        not_after: now + time::Duration::days(90),
    };
    let half = files.record(&main, &[issued(vec![key(KeyAlgorithm::Rsa)])], now);
    assert!(matches!(half, Err(InventoryError::Refused(_))), "a pair is stored as one");
    let both = vec![key(KeyAlgorithm::Rsa), key(KeyAlgorithm::Ec)];
    files.record(&main, &[issued(both.clone())], now).unwrap();
    assert_eq!(files.keys(id).unwrap(), both);
    let path = directory.path().join("top/inventory/certificates/old%20%2a.example/1/ec/key.pem");
    assert_eq!(fs::read(&path).unwrap(), b"key");
    files.release(&main).unwrap();
    let again = Files::of_top(&root, Path::new("/top")).contents().unwrap();
    assert_eq!((again.instances.len(), again.next), (1, 2));
    files.change(&[Change::Remove(Reference::Certificate(main))]).unwrap();
    assert!(!path.ancestors().nth(3).unwrap().exists());
}

#[test]
fn texts_that_are_not_ours() {
    let directory = tempfile::tempdir().unwrap();
    let root = Root::open(directory.path()).unwrap();
    let mut files = Files::of_top(&root, Path::new("/top"));
    files.change(&first()).unwrap();
    let top = directory.path().join("top/inventory");
    let certificate = top.join("certificates/gone.example/certificate.toml");
    let objects = top.join(OBJECTS);
    for (case, path, from, to, says) in [
        ("newer", &objects, "version = 1", "version = 2", "objects.toml:1:11: version 2 is not 1"),
        ("a misspelt key", &certificate, "must_staple", "must_stable", "certificate.toml:"),
        (
            "another's",
            &certificate,
            "name = \"gone.example\"",
            "name = \"x\"",
            "the certificate of x lies in x",
        ),
    ] {
        let before = fs::read_to_string(path).unwrap();
        assert!(before.contains(from), "{case}: {before}");
        fs::write(path, before.replacen(from, to, 1)).unwrap();
        let error = files.objects().unwrap_err().to_string();
        assert!(error.contains(says), "{case}: {error}");
        fs::write(path, before).unwrap();
    }
    files.objects().unwrap();
}
