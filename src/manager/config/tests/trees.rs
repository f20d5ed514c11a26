//! Whole trees as sites have them.

use std::path::Path;

use super::*;
use crate::manager::load::load;
use crate::system::root::Root;

pub(super) fn sample(name: &str) -> Configuration {
    let manager = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manager");
    load(&Root::open(&manager).unwrap(), &Path::new("/").join(name)).unwrap()
}

#[test]
fn an_own_authority() {
    let found = sample("own-ca");
    assert_eq!((shown(&found.faults), shown(&found.warnings)), (vec![], vec![]));
    let names: Vec<_> = found.services.keys().map(ToString::to_string).collect();
    assert_eq!(
        names,
        ["ca/my-int", "ca/my-root", "example.com/mail-self", "example.com/web-self", "example.com/wild-self"]
    );
    let mail = &found.services[&ServiceName::parse("example.com/mail-self").unwrap()];
    let dane: Vec<_> = mail.dane.iter().map(|dane| (dane.port, dane.hosts)).collect();
    assert_eq!(dane, [(25, DaneHosts::Mx), (465, DaneHosts::Sans), (993, DaneHosts::Sans)]);
    assert!(found.services.values().filter(|service| !service.name.is_ca()).all(|service| {
        matches!(found.signing(service), Some(Signing::Own(signer, _)) if signer.name.service() == "my-int")
    }));
    assert_eq!(found.site.production, Path::new("/own-ca/etc/prod-certs"));
    assert!(found.site.primaries.is_empty());
}

#[test]
fn a_public_authority_in_old_spellings() {
    let found = sample("letsencrypt");
    assert_eq!(shown(&found.faults), [""; 0]);
    let warnings: Vec<_> = found
        .warnings
        .iter()
        .map(|warning| warning.to_string().replacen("/letsencrypt/conf.d/", "", 1))
        .collect();
    let expected = [
        "ssl-mgr.conf:14:28: renew_expire_days is the old spelling of target_90 = 28 in [renew_info]",
        "ssl-mgr.conf:15:28: renew_expire_days_spread is the old spelling of rand_adj_90 = 2.5 in [renew_info]",
        "example.com/mail-rsa:12:9: bits is an old spelling; write rsa_bits",
    ];
    assert_eq!(warnings, expected);
    assert_eq!(found.site.renew_targets, [(90.0, 28.0), (45.0, 12.0), (10.0, 4.0), (7.5, 3.0)]);
    assert_eq!(found.site.renew_spreads, [(90.0, 2.5), (45.0, 1.5), (7.0, 0.5)]);
    let imap = found.site.servers.iter().find(|servers| servers.sort == Sort::Imap).unwrap();
    assert_eq!(imap.services.len(), 2, "every pair counts");
    let profiles: Vec<_> = ["le-dns", "le-short", "le-http"]
        .iter()
        .map(|name| match &found.authorities[*name].kind {
            AuthorityKind::Acme(acme) => acme.profile.as_deref(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(profiles, [Some("classic"), Some("shortlived"), None]);
    let rsa = &found.services[&ServiceName::parse("example.com/mail-rsa").unwrap()];
    assert_eq!(
        (rsa.algorithm, rsa.renew_target, rsa.renew_spread),
        (Algorithm::Rsa(4096), Some(30.0), Some(5.0))
    );
    assert_eq!(found.services.len(), 6);
}
