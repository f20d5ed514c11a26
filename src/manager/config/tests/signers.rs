//! Who signs whom, and files that no group takes.

use super::*;
use crate::pki::Digest;

const WHERE: &str = "example.com/web";

#[test]
fn who_signs() {
    let of = |signer: &str| WEB.replace("signing_ca = \"root\"", signer);
    let by = |name: &str| Signer::Authority(name.into());
    let cases = [
        ("itself", of("signing_ca = 'self'"), Signer::Itself),
        ("nobody", of("signing_ca = ''"), Signer::Itself),
        ("not said", of(""), Signer::Itself),
        ("an own authority", of("signing_ca = 'root'"), by("root")),
        ("a public one", of("signing_ca = 'le'"), by("le")),
        ("by hand", of("signing_ca = 'bought'"), by("bought")),
    ];
    for (case, text, signer) in cases {
        let found = with_leaf(&text);
        assert_eq!(leaf(&found).signer, signer, "{case}");
        assert_eq!(shown(&found.warnings), [""; 0], "{case}");
    }
    let named = ROOT.replace("[KeyOpts]", "signing_ca = 'root'\n[KeyOpts]");
    let found =
        tree(&[("ssl-mgr.conf", SITE), ("ca-info.conf", AUTHORITIES), ("ca/root", &named), (WHERE, WEB)]);
    let root = &found.services[&ServiceName::parse("ca/root").unwrap()];
    assert_eq!(root.signer, Signer::Itself, "a root that names itself");
    let options = CaOptions { days: 3650, digest: Digest::Sha384 };
    assert_eq!(found.signing(root), Some(Signing::Itself(options)));
    assert_eq!(found.signing(leaf(&found)), Some(Signing::Own(root, options)));
}

#[test]
fn chains_of_signers() {
    let authority = |name: &str, signer: &str| {
        let text = ROOT.replace("\"root\"", &format!("\"{name}\""));
        text.replace("[KeyOpts]", &format!("signing_ca = \"{signer}\"\n[KeyOpts]"))
    };
    let info = "[a]\nca_type = 'self'\n[b]\nca_type = 'local'\n[c]\nca_type = 'local'\n\
        [root]\nca_type = 'self'\n";
    let broken = info.replace("[root]\nca_type = 'self'", "[bad]\nca_type = 'x'");
    let with = |info: &str, files: &[(&str, String)]| {
        let site =
            "[[groups]]\ndomain = 'ca'\nservices = '*'\n[[groups]]\ndomain = 'example.com'\nservices = '*'\n";
        let mut all = vec![("ssl-mgr.conf", site), ("ca-info.conf", info)];
        all.extend(files.iter().map(|(path, text)| (*path, text.as_str())));
        tree(&all)
    };
    let read = |files: &[(&str, String)]| with(info, files);
    let web = |signer: &str| WEB.replace("\"root\"", &format!("\"{signer}\""));

    let found = read(&[
        ("ca/a", authority("a", "self")),
        ("ca/b", authority("b", "a")),
        ("ca/c", authority("c", "b")),
        (WHERE, web("c")),
    ]);
    assert_eq!((shown(&found.faults), found.services.len()), (vec![], 4), "three deep");

    let found = read(&[
        ("ca/a", authority("a", "b")),
        ("ca/b", authority("b", "a")),
        ("ca/c", authority("c", "b")),
        ("ca/root", authority("root", "self")),
        (WHERE, web("c")),
    ]);
    let expected = [
        "ca/a:4:14: these sign each other in a circle: ca/a, ca/b, ca/a",
        "ca/b:4:14: these sign each other in a circle: ca/a, ca/b, ca/a",
        "ca/c:4:14: it is signed by ca/b, which is missing or has a fault; see conf.d/ca/b",
        "example.com/web:4:14: it is signed by ca/c, which is missing or has a fault; see conf.d/ca/c",
    ];
    assert_eq!(shown(&found.faults), expected, "a circle");
    let left: Vec<_> = found.services.keys().map(ToString::to_string).collect();
    assert_eq!(left, ["ca/root"]);

    let found = read(&[(WHERE, web("a"))]);
    let expected = "example.com/web:4:14: it is signed by ca/a, which is missing or has a fault";
    one("no file", &found.faults, expected);

    let found = with(&broken, &[(WHERE, web("bad"))]);
    let expected =
        ["ca-info.conf:8:11: the ca_type \"x\"", "example.com/web:4:14: [bad] of ca-info.conf has a fault"];
    for (fault, expected) in shown(&found.faults).iter().zip(expected) {
        assert!(fault.starts_with(expected), "{fault}");
    }
    assert_eq!(found.faults.len(), 2);

    // When nothing is known about any name, no name is blamed.
    let found = tree(&[("ssl-mgr.conf", SITE), ("ca-info.conf", "[x"), ("ca/root", ROOT), (WHERE, WEB)]);
    assert!(found.is_broken && found.faults.len() == 1, "{:?}", shown(&found.faults));

    let found = tree(&[("ssl-mgr.conf", SITE), ("ca/root", ROOT), (WHERE, WEB)]);
    one(
        "no ca-info.conf",
        &found.faults,
        "example.com/web:4:14: ca-info.conf has no table for the CA \"root\"",
    );
}

#[test]
fn files_that_no_group_takes() {
    let copy = WEB.to_owned();
    let files = |site: &'static str| {
        tree(&[
            ("ssl-mgr.conf", site),
            ("ca-info.conf", AUTHORITIES),
            ("ca/root", ROOT),
            (WHERE, WEB),
            ("example.com/web.bak", &copy),
            ("example.com/NOTES", "no service"),
            ("example.com/a b", &copy),
        ])
    };
    let found = files(SITE);
    assert_eq!(shown(&found.faults), [""; 0], "it holds nobody up");
    let warnings = shown(&found.warnings);
    assert!(
        warnings[0].starts_with("example.com/web.bak:3:11: service is \"web\", but its file"),
        "{warnings:?}"
    );
    assert!(
        warnings[1].starts_with("example.com/a b: \"a b\" is no name of a service, so it is"),
        "{warnings:?}"
    );
    assert_eq!((warnings.len(), found.services.len(), found.refused.len()), (2, 2, 1));
    let found = files("[[groups]]\ndomain = 'example.com'\nservices = '*'\n");
    one("with a wildcard", &found.faults, "example.com/web.bak:3:11: service is");
    assert_eq!(found.site.groups[0].services.len(), 1);
    let listed = "[[groups]]\ndomain = 'example.com'\nservices = ['NOTES']\n";
    assert!(
        shown(&files(listed).faults)[0].starts_with("example.com/NOTES:1:"),
        "one that is named must be one"
    );
}
