//! What an authority says besides yes: when to renew, when to come back, that it cannot, and why not. Against the
//! stand-in.

use std::time::{Duration, Instant};

use reseed::manager::report::Outcome;
use serde_json::json;
use time::OffsetDateTime;

use super::alone::Alone;
use super::standin::{Fault, Operation, Standin};
use crate::support::checked;

pub const CASES: &[crate::Case] = &[
    ("renewal_is_when_the_authority_wants_it", renewal_is_when_the_authority_wants_it),
    ("nobody_needs_an_account_to_ask_when", nobody_needs_an_account_to_ask_when),
    ("a_renewal_names_what_it_replaces", a_renewal_names_what_it_replaces),
    ("profiles_are_asked_for_where_there_are_any", profiles_are_asked_for_where_there_are_any),
    ("a_limit_is_kept_to_and_remembered", a_limit_is_kept_to_and_remembered),
    ("another_authority_does_what_a_limited_one_will_not", another_authority),
    ("passing_failures_are_tried_again", passing_failures_are_tried_again),
    ("an_order_in_work_is_asked_for_when_it_says", an_order_in_work_is_asked_for_when_it_says),
    ("a_refusal_says_which_name_and_why", a_refusal_says_which_name_and_why),
    ("fifty_certificates_due_at_once", fifty_certificates_due_at_once),
    ("the_other_chain_is_fetched", the_other_chain_is_fetched),
    ("accounts_get_new_keys_and_an_end", accounts_get_new_keys_and_an_end),
    ("a_proxy_is_not_an_authority", a_proxy_is_not_an_authority),
];

/// RFC 9773: neither earlier than the window, nor as the own schedule has it; asked again when it said so.
fn renewal_is_when_the_authority_wants_it() {
    let alone = Alone::with_web("");
    let start = OffsetDateTime::now_utc();
    let day = time::Duration::DAY;
    let made = |report: &reseed::manager::report::Report| {
        report.services.values().any(|outcome| matches!(outcome, Outcome::Made { .. }))
    };
    assert!(made(&alone.renew_at(start)));
    alone.roll_at(start);
    // By the own schedule, 30 days before its end.
    alone.standin.state().window = Some((start + 70 * day, start + 72 * day));
    assert!(!made(&alone.renew_at(start + 65 * day)), "the window is later");
    let asked = alone.standin.count(Operation::RenewalInfo);
    assert_eq!(asked, 1);
    assert!(!made(&alone.renew_at(start + 65 * day + time::Duration::HOUR)));
    assert_eq!(alone.standin.count(Operation::RenewalInfo), asked, "it said after 6 hours");
    // As when certificates have to be replaced at once.
    alone.standin.state().window = Some((start + day, start + 2 * day));
    assert!(made(&alone.renew_at(start + 65 * day + time::Duration::hours(7))), "the window was moved");
    assert_eq!(alone.standin.count(Operation::RenewalInfo), asked + 1);
    alone.roll_at(start + 65 * day + time::Duration::hours(8));
    // A new one is wanted at once, although it has just been made.
    assert!(made(&alone.renew_at(start + 67 * day)));
    alone.standin.is_content();
}

/// As after a move from another program, whose account stays where it was.
fn nobody_needs_an_account_to_ask_when() {
    let alone = Alone::with_web("");
    let start = OffsetDateTime::now_utc();
    alone.renew_at(start);
    alone.roll_at(start);
    std::fs::remove_dir_all(alone.path(".reseed/accounts")).unwrap();
    alone.standin.state().window = Some((start + 70 * time::Duration::DAY, start + 72 * time::Duration::DAY));
    alone.renew_at(start + 10 * time::Duration::DAY);
    assert_eq!(alone.standin.count(Operation::RenewalInfo), 1);
    assert_eq!(alone.standin.state().accounts.len(), 1);
    assert!(!alone.has(".reseed/accounts"));
    alone.standin.is_content();
}

fn a_renewal_names_what_it_replaces() {
    let alone = Alone::with_web("");
    alone.manager("renew").exits(0);
    alone.manager("roll").exits(0);
    assert_eq!(alone.standin.state().orders[0].replaces, None);
    alone.manager("renew --force lab.test/web").exits(0);
    let id = alone.standin.state().certificates[0].id.clone();
    assert_eq!(alone.standin.state().orders[1].replaces.as_ref(), Some(&id));
    // Once is enough for it (RFC 9773 section 5): then without.
    alone.manager("renew --force lab.test/web").exits(0);
    let state = alone.standin.state();
    assert_eq!(state.orders.len(), 3);
    assert_eq!(state.orders[2].replaces, None);
    assert_eq!(state.certificates.len(), 3);
    drop(state);
    alone.standin.is_content();
}

fn profiles_are_asked_for_where_there_are_any() {
    for (profile, asked, days) in [("shortlived", Some("shortlived"), 6), ("nosuch", None, 90)] {
        let alone = Alone::with_web(&format!("ca_preferred_acme_profile = '{profile}'\n"));
        alone.manager("renew").exits(0);
        assert_eq!(alone.standin.state().orders[0].profile.as_deref(), asked);
        let mut openssl = std::process::Command::new("openssl");
        openssl.args(["x509", "-noout", "-checkend", &(days * 86_400 - 3600).to_string(), "-in"]);
        checked(openssl.arg(alone.path("certs/lab.test/web/next/cert.pem")));
        alone.standin.is_content();
    }
}

fn a_limit_is_kept_to_and_remembered() {
    let alone = Alone::with_web("");
    let limit = Fault::later(429, "rateLimited", "too many certificates for lab.test", "3600");
    alone.standin.fails(Operation::NewOrder, &[limit]);
    let began = Instant::now();
    let ran = alone.manager("renew");
    ran.exits(1);
    let said = format!("{}{}", ran.out, ran.err);
    assert!(said.contains("too many certificates for lab.test"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(20), "it does not wait for an hour");
    alone.manager("renew").exits(1);
    assert_eq!(alone.standin.count(Operation::NewOrder), 1, "within the hour nothing is ordered");
    let report = alone.renew_at(OffsetDateTime::now_utc() + time::Duration::hours(2));
    assert!(!report.has_failed(), "{report}");
    assert_eq!(alone.standin.count(Operation::NewOrder), 2);
    alone.standin.is_content();
}

fn another_authority() {
    let alone = Alone::new("");
    let other = Standin::new(alone.directory.path());
    other.state().look = Some(alone.look());
    alone.authorities(&(alone.table("first", &alone.standin, "") + &alone.table("second", &other, "")));
    alone.service("web", "['first', 'second']");
    let limit = Fault::later(429, "rateLimited", "too many", "3600");
    alone.standin.fails(Operation::NewOrder, &[limit]);
    alone.manager("renew").exits(0);
    assert_eq!((alone.standin.state().certificates.len(), other.state().certificates.len()), (0, 1));
    // A refusal that is about the name is not taken elsewhere.
    alone.standin.state().faults.clear();
    alone.service("mail", "['second', 'first']");
    other.state().look = Some(Box::new(|_, _, _, _| false));
    alone.manager("renew lab.test/mail").exits(1);
    assert_eq!(alone.standin.count(Operation::NewOrder), 1);
    assert_eq!(alone.proofs(), 0);
}

fn passing_failures_are_tried_again() {
    let operations = [
        Operation::Directory,
        Operation::NewNonce,
        Operation::NewAccount,
        Operation::NewOrder,
        Operation::Authorization,
        Operation::Challenge,
        Operation::Finalize,
        Operation::Order,
        Operation::Certificate,
    ];
    let faults = [
        Fault::problem(400, "badNonce", "that nonce is old"),
        Fault::later(503, "serverInternal", "maintenance", "1"),
        Fault::Html(502),
        Fault::Silence,
    ];
    for fault in faults {
        let alone = Alone::with_web("");
        // It says once that it is not ready, so that the order is asked for.
        alone.standin.state().processing = (1, 1);
        for operation in operations {
            let nonce = matches!(fault, Fault::Problem { kind: "badNonce", .. });
            let is_signed = !matches!(operation, Operation::Directory | Operation::NewNonce);
            if is_signed || !nonce {
                alone.standin.fails(operation, std::slice::from_ref(&fault));
            }
        }
        let began = Instant::now();
        alone.manager("renew").exits(0);
        eprintln!("acme: {fault:?} everywhere: issued after {:.1} s", began.elapsed().as_secs_f64());
        let state = alone.standin.state();
        // Where another answer brought a nonce, nobody asks for one.
        let left =
            state.faults.iter().map(|(operation, _)| *operation).filter(|of| *of != Operation::NewNonce);
        assert_eq!(left.collect::<Vec<_>>(), [], "{fault:?}");
        assert_eq!((state.accounts.len(), state.certificates.len()), (1, 1), "{fault:?}");
        assert_eq!(state.breaches, Vec::<String>::new(), "{fault:?}");
    }
}

fn an_order_in_work_is_asked_for_when_it_says() {
    let alone = Alone::with_web("");
    alone.standin.state().processing = (2, 1);
    alone.manager("renew").exits(0);
    let state = alone.standin.state();
    let polls: Vec<Instant> =
        state.requests.iter().filter(|(_, of)| *of == Operation::Order).map(|(time, _)| *time).collect();
    let finalized = state.requests.iter().find(|(_, of)| *of == Operation::Finalize).unwrap().0;
    let late: Vec<Instant> = polls.into_iter().filter(|time| *time > finalized).collect();
    assert_eq!(late.len(), 3, "{late:?}");
    for (one, other) in [finalized].iter().chain(&late).zip(&late) {
        assert!(*other - *one >= Duration::from_millis(950), "asked again after {:?}", *other - *one);
    }
}

fn a_refusal_says_which_name_and_why() {
    let alone = Alone::with_web("");
    let refused = Fault::Problem {
        status: 403,
        kind: "rejectedIdentifier",
        detail: "some names are refused",
        retry_after: None,
        more: json!({ "subproblems": [{
            "type": "urn:ietf:params:acme:error:caa", "detail": "CAA of lab.test forbids it",
            "identifier": { "type": "dns", "value": "www.web.lab.test" } }] }),
    };
    alone.standin.fails(Operation::NewOrder, &[refused]);
    let ran = alone.manager("renew");
    ran.exits(1);
    let said = format!("{}{}", ran.out, ran.err);
    for words in ["some names are refused", "www.web.lab.test", "CAA of lab.test forbids it"] {
        assert!(said.contains(words), "{words:?} is not in:\n{said}");
    }
    // An order that becomes invalid.
    alone.standin.state().look = Some(Box::new(|name, _, _, _| name != "www.web.lab.test"));
    let ran = alone.manager("renew");
    ran.exits(1);
    let said = format!("{}{}", ran.out, ran.err);
    for words in ["www.web.lab.test", "the proof is not there"] {
        assert!(said.contains(words), "{words:?} is not in:\n{said}");
    }
    assert_eq!(alone.proofs(), 0, "tokens are taken away");
    assert!(!alone.has("certs/lab.test/web/next"));
    // An order that is lost is not gone on with.
    alone.standin.state().look = None;
    alone.manager("renew").exits(0);
    let state = alone.standin.state();
    assert_eq!((state.accounts.len(), state.orders.len(), state.certificates.len()), (1, 2, 1));
    assert_eq!(state.breaches, Vec::<String>::new());
}

fn fifty_certificates_due_at_once() {
    let mut times = Vec::new();
    for services in [1, 50] {
        let alone = Alone::new("ca_parallel_orders = 8\nca_requests_per_second = 200\n");
        for service in 0..services {
            alone.service(&format!("s{service}"), "'standin'");
        }
        alone.standin.state().delay = Duration::from_millis(10);
        let began = Instant::now();
        alone.manager("renew").exits(0);
        times.push(began.elapsed().as_secs_f64());
        let busiest = alone.standin.busiest_second();
        let state = alone.standin.state();
        assert_eq!((state.accounts.len(), state.certificates.len()), (1, services));
        assert!(state.most_orders <= 8, "{} orders at once", state.most_orders);
        assert!(services == 1 || state.most_orders > 4, "only {} orders at once", state.most_orders);
        // What was saved up in a quiet second may come on top.
        assert!(busiest <= 400, "{busiest} requests within a second");
        assert_eq!(state.breaches, Vec::<String>::new());
        eprintln!(
            "acme: {services} due: {:.2} s, at most {} orders at once and {busiest} requests within a second, {} in all",
            times[times.len() - 1],
            state.most_orders,
            state.requests.len()
        );
    }
    eprintln!("acme: 50 due at once : one = {:.1}", times[1] / times[0]);
    // The rate itself: 40 in a second at most, so 10 certificates need as long as that takes.
    let alone = Alone::new("ca_requests_per_second = 40\n");
    for service in 0..10 {
        alone.service(&format!("s{service}"), "'standin'");
    }
    let began = Instant::now();
    alone.manager("renew").exits(0);
    let requests = alone.standin.state().requests.len();
    let least = (requests as f64 - 80.0) / 40.0;
    let (took, busiest) = (began.elapsed().as_secs_f64(), alone.standin.busiest_second());
    assert!(busiest <= 80, "{busiest} requests within a second");
    assert!(took >= least, "{requests} requests within {took:.2} s");
}

fn the_other_chain_is_fetched() {
    for (preferred, expected) in [("Stand-in Root A", 0), ("Stand-in Root B", 1)] {
        let alone = Alone::with_web(&format!("ca_preferred_chain = '{preferred}'\n"));
        alone.manager("renew").exits(0);
        alone.write("root.pem", &alone.standin.roots[expected]);
        let mut openssl = std::process::Command::new("openssl");
        openssl.args(["verify", "-CAfile"]).arg(alone.path("root.pem")).arg("-untrusted");
        openssl.arg(alone.path("certs/lab.test/web/next/chain.pem"));
        checked(openssl.arg(alone.path("certs/lab.test/web/next/cert.pem")));
        alone.standin.is_content();
    }
}

fn accounts_get_new_keys_and_an_end() {
    let alone = Alone::with_web("");
    alone.manager("renew").exits(0);
    let key = alone.standin.state().accounts[0].key.clone();
    assert_eq!(alone.standin.state().accounts[0].contact, json!(["mailto:hostmaster@lab.test"]));
    alone.manager("account roll-key standin").exits(0);
    assert_ne!(alone.standin.state().accounts[0].key, key);
    alone.manager("renew --force lab.test/web").exits(0);
    alone.manager("roll").exits(0);
    alone.manager("revoke lab.test/web --reason cessationOfOperation").exits(0);
    assert_eq!(alone.standin.state().certificates[1].revoked, Some(5));
    alone.manager("account deactivate standin").exits(0);
    let state = alone.standin.state();
    assert_eq!((state.accounts.len(), state.accounts[0].status), (1, "deactivated"));
    assert_eq!(state.breaches, Vec::<String>::new());
}

/// Whatever a proxy says for an authority that is away, it is said in words, not as broken JSON.
fn a_proxy_is_not_an_authority() {
    let alone = Alone::with_web("");
    alone.standin.fails(Operation::NewOrder, &vec![Fault::Html(502); 100]);
    let began = Instant::now();
    let ran = alone.manager("renew");
    ran.exits(1).never_says("expected value");
    let said = format!("{}{}", ran.out, ran.err);
    assert!(said.contains("502"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(60), "it gives up after {:?}", began.elapsed());
    assert!(alone.standin.count(Operation::NewOrder) > 1, "it was tried again");
}
