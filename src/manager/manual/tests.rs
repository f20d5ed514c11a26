use time::Duration;

use super::fit::{Fit, Question, fit};
use super::parcel::{Parcel, Sent};
use crate::manager::config::AlternativeName;
use crate::pki::key::{PrivateKey, Secret};
use crate::pki::peer::{Holder, leaf, made, now, pem};
use crate::pki::x509::Role;
use crate::pki::{Algorithm, Digest};

const HOST: &str = "mail.example.com";

fn one(name: &str, role: &Role, by: Option<&Holder>, serial: u8) -> Holder {
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    made(name, role, key, by, Digest::Sha256, serial)
}

/// A server, below an authority, below another, below a root; and that root's namesake.
fn family() -> [Holder; 5] {
    let root = one("Root", &Role::Root { path_len: None }, None, 1);
    let upper = one("Upper", &Role::Intermediate { path_len: 1 }, Some(&root), 2);
    let lower = one("Lower", &Role::Intermediate { path_len: 0 }, Some(&upper), 3);
    let end = one(HOST, &leaf(), Some(&lower), 4);
    [end, lower, upper, root, one("Root", &Role::Root { path_len: None }, None, 5)]
}

fn dns(name: &str) -> AlternativeName {
    AlternativeName::Dns(name.to_owned())
}

#[test]
fn what_fits_and_what_is_against_it() {
    let [end, lower, upper, root, namesake] = family();
    let [e, l, u, r, n] = [&end, &lower, &upper, &root, &namesake].map(|holder| &holder.der);
    let host = [dns(HOST)];
    let more = [dns(HOST), dns("www.example.com"), AlternativeName::Address([192, 0, 2, 1].into())];
    let at = |pool: &[&Vec<u8>], anchors: &[&Vec<u8>], names: &[AlternativeName], days: i64| {
        let own = |ders: &[&Vec<u8>]| ders.iter().map(|der| (*der).clone()).collect::<Vec<_>>();
        let (pool, anchors) = (own(pool), own(anchors));
        let now = now() + Duration::days(days);
        fit(&Question { certificate: e, pool: &pool, anchors: &anchors, is_ca: false, names, now })
    };
    // Case, what came, who is trusted, what is noted.
    type Good<'a> = (&'a str, Vec<&'a Vec<u8>>, Vec<&'a Vec<u8>>, &'a [&'a str]);
    let good: [Good<'_>; 6] = [
        ("without the root", vec![e, l, u], vec![], &["did not come, and is taken for a root"]),
        ("with it", vec![e, l, u, r], vec![], &["CN = Root was left out of the chain"]),
        ("the wrong way round", vec![r, u, l, e], vec![], &["CN = Root was left out of the chain"]),
        ("who is trusted is said", vec![e, l, u], vec![r], &[]),
        ("and came too", vec![e, l, u, r], vec![r], &["CN = Root was left out of the chain"]),
        ("a namesake came", vec![e, n, l, u], vec![r], &["a root, and not the one of --anchor"]),
    ];
    for (case, pool, anchors, noted) in good {
        let Fit { intermediates, root, notes } = at(&pool, &anchors, &host, 1).unwrap();
        assert_eq!(intermediates, [l.clone(), u.clone()], "{case}");
        assert_eq!(root.is_some(), pool.contains(&r), "{case}");
        assert_eq!(notes.len(), noted.len(), "{case}: {notes:?}");
        assert!(notes.iter().zip(noted).all(|(note, words)| note.contains(words)), "{case}: {notes:?}");
    }
    // Case, what came, who is trusted, for which names, in how many days, what is said.
    type Bad<'a> = (&'a str, Vec<&'a Vec<u8>>, Vec<&'a Vec<u8>>, &'a [AlternativeName], i64, &'a [&'a str]);
    let bad: [Bad<'_>; 8] = [
        ("alone", vec![e], vec![], &host, 1, &["is missing: O = Bücher, CN = Lower", "--anchor FILE"]),
        ("a gap", vec![e, u, r], vec![], &host, 1, &["is missing: O = Bücher, CN = Lower"]),
        ("a gap below the root", vec![e, l], vec![r], &host, 1, &["is missing: O = Bücher, CN = Upper"]),
        ("another root", vec![e, l, u, r], vec![n], &host, 1, &["no way to the root of --anchor"]),
        (
            "its namesake",
            vec![e, l, u],
            vec![n],
            &host,
            1,
            &["one of that name came, but its key did not sign"],
        ),
        ("other names", vec![e, l, u], vec![], &more, 1, &["but not for www.example.com, 192.0.2.1"]),
        ("too late", vec![e, l, u], vec![], &host, 90_000, &["has expired on"]),
        ("too early", vec![e, l, u], vec![], &host, -90_000, &["is not valid before"]),
    ];
    for (case, pool, anchors, names, days, said) in bad {
        let against = at(&pool, &anchors, names, days).unwrap_err().join("; ");
        assert!(said.iter().all(|words| against.contains(words)), "{case}: {against}");
    }
}

#[test]
fn an_authority_is_one_and_a_server_is_none() {
    let [end, lower, upper, root, _] = family();
    let pool = [&lower, &upper, &root].map(|holder| holder.der.clone());
    for (case, certificate, is_ca, said) in [
        ("a server", &end, false, None),
        ("an authority", &lower, true, None),
        ("an authority for a server", &lower, false, Some("is an authority's, not a server's")),
        ("a server for an authority", &end, true, Some("is no authority's, and could sign nothing")),
        ("a root", &root, true, Some("has signed itself")),
    ] {
        let (certificate, now) = (certificate.der.as_slice(), now() + Duration::DAY);
        let fit = fit(&Question { certificate, pool: &pool, anchors: &[], is_ca, names: &[], now });
        match said {
            None => assert!(fit.is_ok(), "{case}: {fit:?}"),
            Some(said) => assert!(fit.as_ref().unwrap_err().join("; ").contains(said), "{case}: {fit:?}"),
        }
    }
}

#[test]
fn only_an_order_that_somebody_made_can_be_wrong() {
    let [end, lower, upper, ..] = family();
    let chain = [&end, &lower, &upper].map(|holder| holder.der.as_slice());
    let text =
        |ders: &[&[u8]]| ders.iter().map(|der| pem("CERTIFICATE", der)).collect::<String>().into_bytes();
    let [e, l, u] = chain;
    type Case<'a> = (&'a str, Vec<Vec<u8>>, &'a [&'a str]);
    let cases: [Case<'_>; 6] = [
        ("in order", vec![text(&[e, l, u])], &[]),
        ("turned", vec![text(&[u, l, e])], &["0"]),
        ("each in its own file, in any order", vec![text(&[u]), text(&[e]), text(&[l])], &[]),
        ("the second file", vec![text(&[e]), text(&[u, l])], &["1"]),
        ("the certificate last, twice", vec![text(&[l, u, e]), text(&[e, l, u])], &["0"]),
        ("DER", vec![e.to_vec(), u.to_vec(), l.to_vec()], &[]),
    ];
    for (case, contents, expected) in cases {
        let sent = |(number, content): (usize, Vec<u8>)| Sent {
            name: number.to_string(),
            content: Secret::new(content),
        };
        let parcel = Parcel::open(&contents.into_iter().enumerate().map(sent).collect::<Vec<_>>());
        assert_eq!(parcel.certificates.len(), 3, "{case}");
        assert_eq!(parcel.disordered(chain.into_iter()), expected, "{case}");
    }
}
