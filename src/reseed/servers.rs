//! Whole runs with servers that are played: what they show before and after each time that they are
//! told decides whether the new files stand.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::tests::{machine, now, rename};
use super::*;
use crate::hook::{Policy, Verb};
use crate::ledger::Former;
use crate::pki::container;
use crate::probe::protocol::Protocol;
use crate::probe::tests::{certificate, shown};
use crate::probe::{Answer, Effort, Endpoint, KeyKind};
use crate::service::{Errand, Offline, ServiceError, Told};

const CERTIFICATE: &str = "/etc/pair/x.crt";

/// What is shown at the ports of one unit, scene by scene; each time that the unit is told, the
/// next begins.
struct Play {
    /// For each port what its workers show: `new`, `old`, `other`, `none`, `late`, `closed`.
    scenes: Vec<Vec<&'static str>>,
    scene: usize,
    told: Vec<String>,
    asked: usize,
    /// The unit's job waits for the one in which we run.
    waits: bool,
    certificate: PathBuf,
    old: Vec<u8>,
    other: Vec<u8>,
}

impl Play {
    fn on_disk(&self) -> Vec<u8> {
        container::read(&std::fs::read(&self.certificate).unwrap()).certificates.remove(0)
    }

    fn answer(&self, word: &str) -> Answer {
        let show = |der: &[u8]| Answer::Shown(Box::new(shown(der, KeyKind::Elliptic)));
        match word {
            "new" => show(&self.on_disk()),
            "old" => show(&self.old),
            "other" => show(&self.other),
            "none" => Answer::NoTls("it does not offer STARTTLS".into()),
            "late" => Answer::Unknown("it did not answer in time".into()),
            _ => Answer::Closed,
        }
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        let ports = [(0, 143, Protocol::Imap), (1, 993, Protocol::Tls)];
        let open = ports.iter().filter(|(at, ..)| *at < self.scenes[0].len());
        let endpoint = |(_, port, protocol): &(usize, u16, Protocol)| Endpoint {
            unit: "pair.service".into(),
            address: Ipv4Addr::LOCALHOST.into(),
            port: *port,
            protocol: *protocol,
            guessed: false,
        };
        open.map(endpoint).collect()
    }
}

/// The stage: services that move it on, and a prober that looks at it.
#[derive(Clone)]
struct Stage(Rc<RefCell<Play>>);

impl Services for Stage {
    fn tell(&self, requests: &BTreeMap<String, Verb>) -> Result<BTreeMap<String, Told>, ServiceError> {
        let mut play = self.0.borrow_mut();
        let mut told = BTreeMap::new();
        for (unit, verb) in requests {
            if unit == "pair.service" {
                play.scene += 1;
                play.told.push(verb.to_string());
            }
            let one = Told { pattern: unit.clone(), verb: *verb, result: Ok(()), waits: play.waits };
            told.insert(unit.clone(), one);
        }
        Ok(told)
    }

    fn gate(&self, _: &str, _: Policy) -> Result<Vec<Former>, ServiceError> {
        Ok(Vec::new())
    }

    fn triggers(&self, _: &str) -> Result<Vec<String>, ServiceError> {
        Ok(Vec::new())
    }

    fn reload(&self) -> Result<(), ServiceError> {
        Ok(())
    }

    fn release(&self, _: &str, _: &[Former]) -> Result<(), ServiceError> {
        Ok(())
    }

    fn run(&self, errand: &Errand<'_>) -> Result<String, ServiceError> {
        Offline.run(errand)
    }

    fn retry(&self, _: bool) -> Result<(), ServiceError> {
        Ok(())
    }
}

impl Stage {
    fn prober(&self) -> Prober {
        let (listen, ask) = (self.clone(), self.clone());
        Prober {
            listen: Box::new(move |_, units| {
                let play = listen.0.borrow();
                Ok(if units.contains_key("pair.service") { play.endpoints() } else { Vec::new() })
            }),
            ask: Box::new(move |endpoints: &[Endpoint], name, effort| {
                assert_eq!(name, Some("new.example.com"));
                let mut play = ask.0.borrow_mut();
                play.asked += 1;
                let before = effort == Effort::Glance;
                assert_eq!(before, play.on_disk() == play.old, "a glance before, a long look after the swap");
                let scene = &play.scenes[play.scene.min(play.scenes.len() - 1)];
                let at = |port| if port == 143 { scene[0] } else { scene[1] };
                let words = endpoints.iter().map(|endpoint| at(endpoint.port));
                words.map(|words| words.split(' ').map(|word| play.answer(word)).collect()).collect()
            }),
            patience: Duration::ZERO,
        }
    }
}

/// A machine that was called `old.example.com` and whose pair was made for it.
fn stage(scenes: &[&[&'static str]]) -> (tempfile::TempDir, Root, Stage) {
    let (dir, root) = machine("old.example.com");
    let nobody = Prober::by_hand();
    let world = World { root: &root, below: None, services: &Offline, prober: &nobody, now: now() };
    apply(world, &Request::default()).unwrap();
    rename(&dir, "new.example.com");
    let old = container::read(&root.read(Path::new(CERTIFICATE)).unwrap()).certificates.remove(0);
    let play = Play {
        scenes: scenes.iter().map(|scene| scene.to_vec()).collect(),
        scene: 0,
        told: Vec::new(),
        asked: 0,
        waits: false,
        certificate: dir.path().join(&CERTIFICATE[1..]),
        old,
        other: certificate("shop.example.net", now()),
    };
    (dir, root.pretend_live(), Stage(Rc::new(RefCell::new(play))))
}

fn run_on(root: &Root, stage: &Stage) -> Report {
    let prober = stage.prober();
    let world = World { root, below: None, services: stage, prober: &prober, now: now() };
    apply(world, &Request::default()).unwrap()
}

#[test]
fn what_is_served_decides() {
    struct Case {
        name: &'static str,
        scenes: &'static [&'static [&'static str]],
        told: &'static [&'static str],
        /// Why the old files came back; nothing when the new ones stand.
        failed: Option<&'static str>,
        /// The verdicts of the report.
        probed: &'static [&'static str],
    }
    let cases = [
        Case {
            name: "a reload suffices",
            scenes: &[&["old", "old"], &["new new", "new"]],
            told: &["reload"],
            failed: None,
            probed: &["fresh", "fresh"],
        },
        Case {
            name: "a reload leaves some workers old",
            scenes: &[&["old", "old"], &["new old", "new"], &["new new", "new"]],
            told: &["reload", "restart"],
            failed: None,
            probed: &["fresh", "fresh"],
        },
        Case {
            name: "a reload does nothing",
            scenes: &[&["old"], &["old"], &["new"]],
            told: &["reload", "restart"],
            failed: None,
            probed: &["fresh"],
        },
        Case {
            name: "a reload ends TLS, a restart brings it back",
            scenes: &[&["old"], &["none"], &["new"]],
            told: &["reload", "restart"],
            failed: None,
            probed: &["fresh"],
        },
        Case {
            name: "nothing helps",
            scenes: &[&["old"], &["old"], &["old"]],
            told: &["reload", "restart", "restart"],
            failed: Some("127.0.0.1:143 (imap) still shows the old one"),
            probed: &["STALE"],
        },
        Case {
            name: "there is no TLS any more",
            scenes: &[&["old", "old"], &["none", "closed"]],
            told: &["reload", "restart", "restart"],
            failed: Some(
                "127.0.0.1:143 (imap) offers no TLS any more: it does not offer STARTTLS; nobody listens",
            ),
            probed: &["no TLS: it does not offer STARTTLS", "nobody listens"],
        },
        Case {
            name: "one port goes on with the old one",
            scenes: &[&["old", "old"], &["new", "old"]],
            told: &["reload", "restart"],
            failed: None,
            probed: &["fresh", "STALE"],
        },
        Case {
            name: "mixed after a restart",
            scenes: &[&["old"], &["new old"]],
            told: &["reload", "restart"],
            failed: None,
            probed: &["MIXED: 1 of 2 answers are old"],
        },
        Case {
            name: "another's certificate stays another's",
            scenes: &[&["other", "old"], &["other", "new"]],
            told: &["reload"],
            failed: None,
            probed: &["foreign", "fresh"],
        },
        Case {
            name: "only another's certificate",
            scenes: &[&["other"], &["other"]],
            told: &["reload"],
            failed: None,
            probed: &["foreign"],
        },
        Case {
            name: "no TLS before and after",
            scenes: &[&["none"], &["none"]],
            told: &["reload"],
            failed: None,
            probed: &["no TLS: it does not offer STARTTLS"],
        },
        Case {
            name: "unknown changes nothing",
            scenes: &[&["old"], &["late"]],
            told: &["reload"],
            failed: None,
            probed: &["unknown: it did not answer in time"],
        },
        Case {
            name: "nobody answered before",
            scenes: &[&["late"], &["old"]],
            told: &["reload"],
            failed: None,
            probed: &[],
        },
        Case { name: "nobody listens", scenes: &[&[], &[]], told: &["reload"], failed: None, probed: &[] },
    ];
    for Case { name, scenes, told, failed, probed } in cases {
        let (_dir, root, stage) = stage(scenes);
        let before = root.read(Path::new(CERTIFICATE)).unwrap();
        let report = run_on(&root, &stage);
        assert_eq!(stage.0.borrow().told, told, "{name}");
        let verdicts = report.probed.get("pair.service").into_iter().flatten();
        let verdicts: Vec<String> = verdicts.map(|probed| probed.verdict.to_string()).collect();
        assert_eq!(verdicts, probed, "{name}");
        let outcome = &report.outcomes[&HookName::parse("pair").unwrap()];
        match (outcome, failed) {
            (Outcome::Made(_), None) => {
                assert_ne!(root.read(Path::new(CERTIFICATE)).unwrap(), before, "{name}");
            }
            (Outcome::Failed(why), Some(expected)) => {
                assert!(why.contains(expected), "{name}: {why}");
                assert_eq!(root.read(Path::new(CERTIFICATE)).unwrap(), before, "{name}");
            }
            (outcome, _) => panic!("{name}: {outcome:?}"),
        }
        let restarted: &[&str] = if told.contains(&"restart") { &["pair.service"] } else { &[] };
        assert_eq!(report.restarted_after_reload, restarted, "{name}");
    }
}

#[test]
fn whose_job_waits_for_us_is_not_judged() {
    let (_dir, root, stage) = stage(&[&["old"], &["old"]]);
    stage.0.borrow_mut().waits = true;
    let report = run_on(&root, &stage);
    assert!(!report.has_failed() && report.probed.is_empty(), "{:?}", report.probed);
    assert_eq!(stage.0.borrow().told, ["reload"]);
}

#[test]
fn nobody_is_asked_when_nothing_is_to_be_done() {
    let (_dir, root, stage) = stage(&[&["old"], &["new"]]);
    run_on(&root, &stage);
    let asked = stage.0.borrow().asked;
    assert!(asked >= 2, "{asked}");
    run_on(&root, &stage);
    assert_eq!(stage.0.borrow().asked, asked);
}
