use super::*;
use crate::pki::peer::{Holder, Scratch, leaf, made, name, now, pem};
use crate::pki::x509::crl::{ListProfile, revocation_list};
use crate::pki::x509::{Role, request};
use crate::pki::{Algorithm, Container, Digest};

const HOST: &str = "mail.example.com";

fn key() -> PrivateKey {
    PrivateKey::generate(Algorithm::P256).unwrap()
}

fn family() -> [Holder; 4] {
    let digest = Digest::Sha256;
    let root = made("Root", &Role::Root { path_len: None }, key(), None, digest, 1);
    let upper = made("Upper", &Role::Intermediate { path_len: 1 }, key(), Some(&root), digest, 2);
    let lower = made("Lower", &Role::Intermediate { path_len: 0 }, key(), Some(&upper), digest, 3);
    let end = made(HOST, &leaf(), key(), Some(&lower), digest, 4);
    [end, lower, upper, root]
}

#[test]
fn every_wrapping_of_openssl_is_opened() {
    let scratch = Scratch::new();
    let [end, lower, upper, root] = family();
    let all = [&end.der, &lower.der, &upper.der, &root.der].map(Clone::clone);
    let profile = ListProfile { number: 1, this_update: now(), next_update: now(), revoked: &[] };
    let list = revocation_list(&root.der, &root.key, Digest::Sha256, profile).unwrap();
    scratch.certificates("all.pem", &all.each_ref().map(Vec::as_slice));
    scratch.certificates("one.pem", &[&end.der]);
    scratch.write("list.pem", pem("X509 CRL", &list));
    for (out, form) in [("all.p7b.pem", "PEM"), ("all.p7b", "DER")] {
        scratch.openssl(&["crl2pkcs7", "-nocrl", "-certfile", "all.pem", "-outform", form, "-out", out]);
    }
    scratch.openssl(&["crl2pkcs7", "-in", "list.pem", "-certfile", "one.pem", "-out", "list.p7b.pem"]);
    scratch.openssl(&[
        "x509",
        "-in",
        "one.pem",
        "-trustout",
        "-addtrust",
        "serverAuth",
        "-out",
        "trusted.pem",
    ]);
    scratch.openssl(&["x509", "-in", "one.pem", "-outform", "DER", "-out", "one.der"]);
    scratch.openssl(&["x509", "-in", "one.pem", "-text", "-out", "text.pem"]);
    scratch.openssl(&["crl", "-in", "list.pem", "-outform", "DER", "-out", "list.der"]);
    let all_text = String::from_utf8(scratch.read("all.pem")).unwrap();
    let p7b_text = String::from_utf8(scratch.read("all.p7b.pem")).unwrap();
    scratch.write("crlf.pem", format!("Dear customer,\r\n\r\n{}", all_text.replace('\n', "\r\n")));
    scratch.write("cms.pem", p7b_text.replace("PKCS7", "CMS"));
    scratch.write("mislabelled.pem", p7b_text.replace("PKCS7", "CERTIFICATE"));
    scratch.write("twice.pem", format!("{all_text}{all_text}"));
    scratch.write("joined.der", all.concat());
    let one = &all[..1];
    for (file, certificates, lists) in [
        ("all.pem", &all[..], 0),
        ("twice.pem", &all, 0),
        ("crlf.pem", &all, 0),
        ("all.p7b.pem", &all, 0),
        ("all.p7b", &all, 0),
        ("cms.pem", &all, 0),
        ("mislabelled.pem", &all, 0),
        ("joined.der", &all, 0),
        ("list.p7b.pem", one, 1),
        ("trusted.pem", one, 0),
        ("one.der", one, 0),
        ("text.pem", one, 0),
        ("list.pem", &[], 1),
        ("list.der", &[], 1),
    ] {
        let bundle = read(&scratch.read(file));
        assert_eq!(bundle.troubles, [], "{file}");
        // A bag has no order of its own.
        assert!(bundle.certificates.iter().all(|found| certificates.contains(found)), "{file}");
        assert_eq!(bundle.certificates.len(), certificates.len(), "{file}");
        assert_eq!(bundle.lists.len(), lists, "{file}");
        assert!(bundle.lists.iter().all(|found| *found == list), "{file}");
    }
}

#[test]
fn requests_and_keys_are_read_in_every_form() {
    let scratch = Scratch::new();
    let ours = PrivateKey::generate(Algorithm::Rsa(2048)).unwrap();
    scratch.write("key", ours.to_pem(Container::Pkcs8).unwrap().reveal());
    scratch
        .write("csr", pem("CERTIFICATE REQUEST", &request(&name("x"), &[], &ours, Digest::Sha256).unwrap()));
    scratch.openssl(&["req", "-in", "csr", "-outform", "DER", "-out", "csr.der"]);
    scratch.openssl(&["req", "-in", "csr", "-newhdr", "-out", "csr.new"]);
    scratch.openssl(&["pkey", "-in", "key", "-pubout", "-out", "public"]);
    scratch.openssl(&["rsa", "-in", "key", "-RSAPublicKey_out", "-out", "public.rsa"]);
    scratch.openssl(&["pkey", "-in", "key", "-pubout", "-outform", "DER", "-out", "public.der"]);
    scratch.openssl(&["rsa", "-in", "key", "-RSAPublicKey_out", "-outform", "DER", "-out", "public.rsa.der"]);
    scratch.openssl(&["pkey", "-in", "key", "-traditional", "-out", "key.old"]);
    scratch.openssl(&["pkey", "-in", "key", "-outform", "DER", "-out", "key.der"]);
    scratch.openssl(&["pkcs8", "-topk8", "-in", "key", "-passout", "pass:x", "-out", "locked"]);
    scratch.openssl(&[
        "pkcs8",
        "-topk8",
        "-in",
        "key",
        "-passout",
        "pass:x",
        "-outform",
        "DER",
        "-out",
        "locked.der",
    ]);
    scratch.openssl(&[
        "rsa",
        "-in",
        "key",
        "-traditional",
        "-aes128",
        "-passout",
        "pass:x",
        "-out",
        "locked.old",
    ]);
    scratch.openssl(&["pkcs12", "-export", "-inkey", "key", "-nocerts", "-passout", "pass:x", "-out", "pfx"]);
    scratch.openssl(&["ecparam", "-name", "secp521r1", "-genkey", "-out", "ec"]);
    for (file, requests, public, keys, encrypted) in [
        ("csr", 1, 0, 0, &[][..]),
        ("csr.der", 1, 0, 0, &[]),
        ("csr.new", 1, 0, 0, &[]),
        ("public", 0, 1, 0, &[]),
        ("public.rsa", 0, 1, 0, &[]),
        ("public.der", 0, 1, 0, &[]),
        ("public.rsa.der", 0, 1, 0, &[]),
        ("key", 0, 0, 1, &[]),
        ("key.old", 0, 0, 1, &[]),
        ("key.der", 0, 0, 1, &[]),
        ("ec", 0, 0, 1, &[]),
        ("locked", 0, 0, 0, &[1]),
        ("locked.old", 0, 0, 0, &[1]),
        ("locked.der", 0, 0, 0, &[0]),
    ] {
        let bundle = read(&scratch.read(file));
        assert_eq!(bundle.troubles, [], "{file}");
        let counts = (bundle.requests.len(), bundle.public_keys.len(), bundle.keys.len());
        assert_eq!(counts, (requests, public, keys), "{file}");
        assert_eq!(bundle.encrypted, encrypted, "{file}");
        assert!(bundle.public_keys.iter().all(|spki| *spki == ours.spki_der().unwrap()), "{file}");
        if file != "ec" {
            assert!(bundle.keys.iter().all(|key| key.public_digest() == ours.public_digest()), "{file}");
        }
    }
    assert!(read(&scratch.read("pfx")).troubles[0].message.contains("openssl pkcs12"));
}

#[test]
fn damage_is_named_by_its_line_and_hides_nothing() {
    let [end, lower, ..] = family();
    let (first, second) = (pem("CERTIFICATE", &end.der), pem("CERTIFICATE", &lower.der));
    let flipped = {
        let mut der = end.der.clone();
        der[4] ^= 0x40;
        pem("CERTIFICATE", &der)
    };
    let cut = first.lines().take(4).collect::<Vec<_>>().join("\n");
    for (case, text, certificates, troubles) in [
        ("good", format!("{first}{second}"), 2, &[][..]),
        (
            "cut off in the middle",
            format!("{cut}\n{second}"),
            1,
            &["line 1: the block \"CERTIFICATE\" has no END line"],
        ),
        (
            "a changed octet",
            format!("x\n{flipped}{second}"),
            1,
            &["line 2: the block \"CERTIFICATE\" is damaged"],
        ),
        ("no base64", first.replace("MII", "M*I"), 0, &["line 1: the block \"CERTIFICATE\" is damaged"]),
        ("another kind", format!("{second}{}", pem("X", b"x")), 1, &["line "]),
        ("no key", pem("PRIVATE KEY", b"x"), 0, &["line 1: the block \"PRIVATE KEY\" is not an unencrypted"]),
        ("a bag of junk", pem("PKCS7", b"x"), 0, &["line 1: the block \"PKCS7\" is damaged"]),
        ("text", "hello".into(), 0, &["neither PEM nor DER"]),
        ("nothing", " \n".into(), 0, &[]),
    ] {
        let bundle = read(text.as_bytes());
        assert_eq!(bundle.certificates.len(), certificates, "{case}: {bundle:?}");
        assert_eq!(bundle.troubles.len(), troubles.len(), "{case}: {bundle:?}");
        for (found, expected) in bundle.troubles.iter().zip(troubles) {
            assert!(found.to_string().starts_with(expected), "{case}: {found}");
        }
    }
    assert!(read(b"").is_empty());
}

#[test]
fn a_chain_is_put_in_order() {
    let [end, lower, upper, root] = family();
    let stranger = made("Lower", &Role::Root { path_len: None }, key(), None, Digest::Sha256, 9);
    let server = made("other.example.com", &leaf(), key(), Some(&lower), Digest::Sha256, 10);
    let (e, l, u, r) = (&end.der, &lower.der, &upper.der, &root.der);
    for (case, certificate, pool, intermediates, has_root, missing, unused) in [
        ("in order", e, vec![l, u, r], vec![l, u], true, None, vec![]),
        ("in reverse, itself among them", e, vec![r, u, l, e], vec![l, u], true, None, vec![]),
        ("no root", e, vec![u, l], vec![l, u], false, Some("CN = Root"), vec![]),
        ("one missing", e, vec![r, l], vec![l], false, Some("CN = Upper"), vec!["CN = Root"]),
        ("nothing", e, vec![], vec![], false, Some("CN = Lower"), vec![]),
        (
            "others",
            e,
            vec![&stranger.der, &server.der, u, r, l],
            vec![l, u],
            true,
            None,
            vec!["CN = other.example.com", "CN = Lower"],
        ),
        ("one of that name", e, vec![&stranger.der], vec![], false, Some("CN = Lower"), vec!["CN = Lower"]),
        ("a root", r, vec![u, l], vec![], false, None, vec!["CN = Upper", "CN = Lower"]),
    ] {
        let pool: Vec<Vec<u8>> = pool.into_iter().cloned().collect();
        let found = chain(certificate, &pool).unwrap();
        assert_eq!(found.intermediates.iter().collect::<Vec<_>>(), intermediates, "{case}");
        assert_eq!(found.root.is_some(), has_root, "{case}");
        let plain = |subject: &String| subject.replace("O = Bücher, ", "");
        assert_eq!(found.missing.as_ref().map(plain).as_deref(), missing, "{case}");
        assert_eq!(found.unused.iter().map(plain).collect::<Vec<_>>(), unused, "{case}");
    }
    assert!(chain(b"junk", &[]).is_err());
}

#[test]
fn damaged_octets_never_panic() {
    let scratch = Scratch::new();
    let [end, lower, ..] = family();
    scratch.certificates("all.pem", &[&end.der, &lower.der]);
    scratch.openssl(&["crl2pkcs7", "-nocrl", "-certfile", "all.pem", "-outform", "DER", "-out", "bag"]);
    scratch.openssl(&["crl2pkcs7", "-nocrl", "-certfile", "all.pem", "-out", "bag.pem"]);
    let key = end.key.to_pem(Container::Pkcs8).unwrap();
    let originals = [scratch.read("bag"), scratch.read("bag.pem"), end.der, key.reveal().to_vec()];
    let mut random = 0x5eed_u64;
    let (mut certificates, mut troubles) = (0, 0);
    for round in 0..10_000 {
        let mut content = originals[round % originals.len()].clone();
        for _ in 0..=round % 3 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(random >> 33).unwrap() % content.len();
            if round % 7 == 0 {
                content.truncate(at + 1);
            } else {
                content[at] = u8::try_from(random >> 24 & 0xff).unwrap();
            }
        }
        let bundle = read(&content);
        certificates += bundle.certificates.len();
        troubles += bundle.troubles.len();
    }
    assert!(certificates > 0 && troubles > 0, "{certificates} {troubles}");
}
