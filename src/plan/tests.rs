//! What is made for which reason, as a table of machines.

use std::net::IpAddr;

use time::Duration;

use super::*;
use crate::artifact::{Artifact, Certificates, Content, Model};
use crate::identity::{Finding, Fingerprint, Record};
use crate::ledger::{Digest, Made, RunId};
use crate::pki::inspect::Certificate;
use crate::pki::{Algorithm, Usage, ssh};

pub(super) fn day(number: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000 + number)
}

pub(super) fn name(text: &str) -> HookName {
    HookName::parse(text).unwrap()
}

pub(super) fn identity(fqdn: &str) -> Identity {
    let fqdn = HostName::parse(fqdn).unwrap();
    Identity {
        hostname: Finding::known(fqdn.label().to_owned(), "test"),
        domain: fqdn.domain().map_or(Finding::unknown("none"), |d| Finding::known(d.to_owned(), "test")),
        addresses: Finding::known(BTreeSet::<IpAddr>::new(), "test"),
        machine_id: Finding::unknown("absent"),
        hardware: Finding::unknown("absent"),
        seed: Finding::known(Fingerprint::of("seed", ""), "test"),
    }
}

pub(super) fn record(fqdn: &str) -> Record {
    identity(fqdn).to_record(None)
}

pub(super) fn made(end: i64) -> Made {
    Made { not_after: Some(day(end)), ..Made::of(b"x") }
}

pub(super) fn certificate(subject: &[(&str, &str)], issuer: Option<&str>, end: i64) -> Certificate {
    let subject: Vec<(String, String)> = subject.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
    Certificate {
        issuer: issuer.map_or(subject.clone(), |cn| vec![("CN".into(), cn.into())]),
        self_signed: issuer.is_none(),
        dns_names: subject
            .iter()
            .filter(|(field, _)| field == "CN")
            .map(|(_, value)| value.clone())
            .collect(),
        subject,
        addresses: BTreeSet::new(),
        serial: None,
        not_before: day(-1),
        not_after: day(end),
        public_digest: [1; 32],
        subject_hash: String::new(),
    }
}

pub(super) fn content(certificate: Option<Certificate>, key: Option<[u8; 32]>) -> Found {
    Found::Other(Box::new(Content {
        digest: Digest::of(b"y"),
        was_ours: false,
        certificate: certificate.map(Ok),
        key: key.map(Ok),
        fingerprint: None,
        from_image: false,
    }))
}

pub(super) fn bundle(key: Found, certificate: Found) -> Bundle {
    let artifact = |part: Part, found: Found| Artifact {
        path: format!("/etc/x.{part}").into(),
        real: format!("/etc/x.{part}").into(),
        holds: vec![part],
        model: 0,
        owner: "root".into(),
        group: "root".into(),
        mode: 0o600,
        hash_link: None,
        default_path: true,
        copy: false,
        named_by: None,
        found,
        links: BTreeSet::new(),
    };
    Bundle {
        what: What::Certificates(Certificates {
            managed: None,
            algorithm: Algorithm::P256,
            days: 398,
            models: vec![Model {
                name: "server".into(),
                usage: BTreeSet::from([Usage::Server]),
                names: Vec::new(),
            }],
        }),
        artifacts: vec![artifact(Part::Key, key), artifact(Part::Certificate, certificate)],
        tracked: None,
    }
}

pub(super) fn hook(bundles: Vec<Bundle>) -> HookFacts {
    HookFacts {
        watches: BTreeSet::from([Facet::Hostname, Facet::Domain, Facet::Seed]),
        policy: Policy::Disable,
        adopt: false,
        bundles,
        borrowed: BTreeMap::new(),
        units: BTreeMap::from([("x.service".into(), Verb::Reload)]),
        checks: Vec::new(),
        probes: crate::probe::protocol::Ports::new(),
        problems: Vec::new(),
    }
}

pub(super) fn facts(fqdn: &str, hooks: Vec<(&str, HookFacts)>) -> Facts {
    Facts {
        now: day(0),
        built: day(-10),
        identity: identity(fqdn),
        subject: Subject::default(),
        domain_from_dns: false,
        boot: Some("this".into()),
        disable_after_boots: 3,
        renew_before_days: 30,
        hooks: hooks.into_iter().map(|(hook, facts)| (name(hook), facts)).collect(),
        idle: BTreeMap::new(),
    }
}

pub(super) fn ledger(fqdn: &str) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.names = record(fqdn).names();
    let entry = Entry {
        run: RunId::new(day(-5)),
        made: day(-5),
        identity: record(fqdn),
        machine: None,
        file: BTreeMap::from([("/etc/x.key".into(), made(300)), ("/etc/x.certificate".into(), made(300))]),
    };
    ledger.record(name("x"), entry);
    ledger
}

#[test]
fn what_becomes_of_a_pair() {
    let ours = || bundle(Found::Ours(made(300)), Found::Ours(made(300)));
    let theirs = |subject: &[(&str, &str)], issuer, end| {
        bundle(content(None, Some([1; 32])), content(Some(certificate(subject, issuer, end)), None))
    };
    let dummy: &[_] = &[("ST", "SomeState"), ("CN", "localhost.localdomain")];
    let now: &[_] = &[("CN", "mail.example.com")];
    let dummy_now: &[_] = &[("ST", "SomeState"), ("CN", "mail.example.com")];
    let sendmail_now: &[_] = &[("O", "Sendmail"), ("CN", "mail.example.com")];
    let old: &[_] = &[("CN", "old.example.com")];
    let shop: &[_] = &[("O", "Shop"), ("CN", "shop.example.com")];
    // name, recorded for, called, bundle, what is done, first reason
    let cases = [
        ("ours, same name", Some("mail.example.com"), "mail.example.com", ours(), Action::Keep, ""),
        (
            "ours, renamed",
            Some("old.example.com"),
            "mail.example.com",
            ours(),
            Action::Make,
            "hostname was old, is mail",
        ),
        ("ours, now called localhost", Some("mail.example.com"), "localhost", ours(), Action::Keep, ""),
        (
            "ours, near its end",
            Some("mail.example.com"),
            "mail.example.com",
            bundle(Found::Ours(made(29)), Found::Ours(made(29))),
            Action::Make,
            "it ends on",
        ),
        (
            "ours, key gone",
            Some("mail.example.com"),
            "mail.example.com",
            bundle(Found::Absent, Found::Ours(made(300))),
            Action::Make,
            "/etc/x.key is missing",
        ),
        (
            "nothing there",
            None,
            "mail.example.com",
            bundle(Found::Absent, Found::Absent),
            Action::Make,
            "/etc/x.key is missing",
        ),
        (
            "placeholder",
            None,
            "mail.example.com",
            theirs(dummy, None, 300),
            Action::Make,
            "it says localhost.localdomain",
        ),
        (
            "placeholder for the right name",
            None,
            "mail.example.com",
            theirs(sendmail_now, None, 300),
            Action::Keep,
            "",
        ),
        (
            "placeholder that claims SomeState",
            None,
            "mail.example.com",
            theirs(dummy_now, None, 300),
            Action::Make,
            "it claims ST=SomeState",
        ),
        (
            "placeholder while the name is not proper",
            None,
            "localhost",
            theirs(dummy, None, 300),
            Action::Make,
            "it says localhost.localdomain",
        ),
        (
            "self-signed for the old name",
            Some("old.example.com"),
            "mail.example.com",
            theirs(old, None, 300),
            Action::Make,
            "it says old.example.com",
        ),
        (
            "self-signed for the present name",
            None,
            "mail.example.com",
            theirs(now, None, 300),
            Action::Keep,
            "",
        ),
        ("the same, ended", None, "mail.example.com", theirs(now, None, -1), Action::Make, "it ends on"),
        (
            "the same, with another key",
            None,
            "mail.example.com",
            bundle(content(None, Some([2; 32])), content(Some(certificate(now, None, 300)), None)),
            Action::Make,
            "the key in /etc/x.key",
        ),
        (
            "issued by a CA for the old name",
            Some("old.example.com"),
            "mail.example.com",
            theirs(old, Some("CA"), 300),
            Action::Leave,
            "it says old.example.com",
        ),
        (
            "issued by a CA for the present name",
            None,
            "mail.example.com",
            theirs(now, Some("CA"), 300),
            Action::Keep,
            "",
        ),
        (
            "somebody's own",
            None,
            "mail.example.com",
            theirs(shop, None, 300),
            Action::Leave,
            "it says shop.example.com",
        ),
    ];
    for (case, recorded, called, bundle, action, reason) in cases {
        let ledger = recorded.map_or_else(Ledger::default, ledger);
        let plan =
            plan(&facts(called, vec![("x", hook(vec![bundle.clone()]))]), &ledger, &Request::default());
        let task = &plan.hooks[0].tasks[0];
        let said = task.reasons.first().map(ToString::to_string).unwrap_or_default();
        // While the name is not proper, the run is put off.
        let make = if called == "localhost" { Action::Wait } else { Action::Make };
        let action = if action == Action::Make { make } else { action };
        assert_eq!(task.action, action, "{case}: {} {said}", task.verdict);
        assert!(said.starts_with(reason) && said.is_empty() == reason.is_empty(), "{case}: {said}");
        // What is asked for is made, whosever it is; what the site adopts is made once it is stale.
        let asked = Request { adopt: BTreeSet::from(["/etc/x.certificate".into()]), ..Request::default() };
        let adopting = HookFacts { adopt: true, ..hook(vec![bundle]) };
        let all = facts(called, vec![("x", adopting)]);
        assert_eq!(super::plan(&all, &ledger, &asked).hooks[0].tasks[0].action, make, "{case}, asked for");
        let adopted = super::plan(&all, &ledger, &Request::default()).hooks[0].tasks[0].action;
        let expected = if action == Action::Leave { make } else { action };
        assert_eq!(adopted, expected, "{case}, adopted");
    }
}

#[test]
fn a_customers_certificate_at_its_own_place_is_no_concern() {
    let shop = certificate(&[("CN", "shop.example.com")], Some("CA"), 300);
    let old = certificate(&[("CN", "old.example.com")], Some("CA"), 300);
    for (case, certificate, action) in
        [("a customer's", shop, Action::Keep), ("in our old name", old, Action::Leave)]
    {
        let mut bundle = bundle(content(None, Some([1; 32])), content(Some(certificate), None));
        for artifact in &mut bundle.artifacts {
            artifact.default_path = false;
        }
        let facts = facts("mail.example.com", vec![("x", hook(vec![bundle]))]);
        let plan = plan(&facts, &ledger("old.example.com"), &Request::default());
        assert_eq!(plan.hooks[0].tasks[0].action, action, "{case}");
    }
}

#[test]
fn nothing_is_made_while_name_or_clock_are_wrong() {
    let stale = || vec![("x", hook(vec![bundle(Found::Absent, Found::Absent)]))];
    let early = Facts { now: day(-20), ..facts("mail.example.com", stale()) };
    for (case, facts, words) in [
        ("localhost", facts("localhost.localdomain", stale()), "not proper"),
        ("clock", early, "put off until the clock is right"),
    ] {
        let plan = plan(&facts, &Ledger::default(), &Request::default());
        assert!(plan.steps().is_empty() && plan.is_stale(), "{case}");
        assert!(plan.put_off.unwrap().to_string().contains(words), "{case}");
    }
}

#[test]
fn what_follows_the_machine_is_made_while_the_rest_waits() {
    let mut key = bundle(Found::Absent, Found::Absent);
    key.what = What::HostKey(ssh::Algorithm::Ed25519);
    let both = hook(vec![bundle(Found::Absent, Found::Absent), key]);
    let certificate = hook(vec![bundle(Found::Absent, Found::Absent)]);
    let mut facts = facts("localhost", vec![("both", both), ("certificate", certificate)]);
    for (case, machine_id, expected) in [
        ("an image", Finding::unknown("empty"), &[][..]),
        ("a machine", Finding::known(Fingerprint::of("machine-id", "1"), "test"), &["both"][..]),
    ] {
        facts.identity.machine_id = machine_id;
        let plan = plan(&facts, &Ledger::default(), &Request::default());
        let steps: Vec<&str> = plan.steps().iter().map(|step| step.hook.as_str()).collect();
        assert_eq!(steps, expected, "{case}");
        assert_eq!(plan.hooks[0].tasks[0].action, Action::Wait, "{case}");
        assert!(plan.is_stale() && plan.serves_stale(&plan.hooks[1]), "{case}");
    }
}

#[test]
fn borrowers_are_told_and_asked() {
    let mut owner = hook(vec![bundle(Found::Absent, Found::Absent)]);
    owner.units = BTreeMap::from([("own.service".into(), Verb::Restart)]);
    let mut borrower = hook(Vec::new());
    borrower.borrowed = BTreeMap::from([("/etc/x.certificate".into(), name("x"))]);
    let command = vec!["/usr/sbin/apache2ctl".into(), "configtest".into()];
    borrower.checks = vec![Check { family: Vec::new(), command, writes: Vec::new(), network: false }];
    let plan = plan(
        &facts("mail.example.com", vec![("a", borrower), ("x", owner)]),
        &Ledger::default(),
        &Request::default(),
    );
    let [step] = plan.steps()[..] else { panic!("one step") };
    assert_eq!(step.hook.as_str(), "x");
    let told: Vec<_> = step.tell.iter().map(|(unit, verb)| (unit.as_str(), *verb)).collect();
    assert_eq!(told, [("own.service", Verb::Restart), ("x.service", Verb::Reload)]);
    assert_eq!(step.checks.len(), 1);
    assert!(plan.serves_stale(&plan.hooks[0]), "who borrows what is stale serves it");
}

#[test]
fn only_the_hooks_that_are_asked_for() {
    let stale = || hook(vec![bundle(Found::Absent, Found::Absent)]);
    let request = Request { only: BTreeSet::from([name("y")]), ..Request::default() };
    let plan =
        plan(&facts("mail.example.com", vec![("x", stale()), ("y", stale())]), &Ledger::default(), &request);
    assert_eq!(plan.hooks.iter().map(|hook| hook.hook.as_str()).collect::<Vec<_>>(), ["y"]);
}
