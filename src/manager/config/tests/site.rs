//! What `ssl-mgr.conf` may say.

use super::*;
use crate::manager::inventory::schedule::Policy;
use crate::pki::Algorithm;

#[test]
fn defaults() {
    let configuration = with_site("");
    assert_eq!(configuration.site, Site { groups: configuration.site.groups.clone(), ..Site::default() });
    assert_eq!(configuration.site.production, PathBuf::from("/etc/ssl-mgr/prod-certs"));
    assert_eq!((configuration.site.keep, configuration.site.roll_after_minutes), (10, 90));
    assert_eq!((shown(&configuration.faults), shown(&configuration.warnings)), (vec![], vec![]));
    assert!(!configuration.is_broken);
}

fn mailed(mail: Mail) -> Site {
    let inventory = Inventory { is_configured: true, mail: Some(mail), ..Inventory::default() };
    Site { inventory, ..Site::default() }
}

fn relayed(server: &str, port: u16) -> Mail {
    let way = MailWay::Relay(Primary { server: server.into(), port });
    Mail { to: vec!["a@example.com".into()], from: None, subject: None, way }
}

#[test]
fn every_key_at_the_top_or_in_globals() {
    let path = |path: &str| PathBuf::from(path);
    let hook = |host: &str, program: &str| AfterCopy { host: host.into(), program: program.into() };
    let rows: Vec<(&str, Site)> = vec![
        ("verb = true", Site { verbose: true, ..Site::default() }),
        ("prod_cert_dir = \"/srv/live\"", Site { production: path("/srv/live"), ..Site::default() }),
        ("prod_cert_dir = './etc/live/'", Site { production: path("/t/etc/live"), ..Site::default() }),
        ("logdir = \"Logs\"", Site { log_directory: path("/t/Logs"), ..Site::default() }),
        ("clean_keep = 3", Site { keep: 3, ..Site::default() }),
        ("clean_keep = \"3\"", Site { keep: 3, ..Site::default() }),
        ("clean_keep = 0x10", Site { keep: 16, ..Site::default() }),
        ("min_roll_mins = 0", Site { roll_after_minutes: 0, ..Site::default() }),
        ("min_roll_mins = 1.5", Site { roll_after_minutes: 2, ..Site::default() }),
        ("min_roll_mins = -5", Site { roll_after_minutes: 0, ..Site::default() }),
        ("dns_check_delay = 30", Site { dns_check_delay: 30, ..Site::default() }),
        ("dns_check_delay = -1", Site { dns_check_delay: 0, ..Site::default() }),
        ("dns_check_timeout = 30", Site { dns_check_timeout: 30, ..Site::default() }),
        (
            "[inventory]\npostgres = 'service=fleet'\nprepublish_days = 14\nssh_user = 'deploy'\nreload_seconds = 5",
            Site {
                inventory: Inventory {
                    is_configured: true,
                    postgres: Some("service=fleet".into()),
                    policy: Policy { prepublish_days: 14, ..Policy::default() },
                    ssh_user: Some("deploy".into()),
                    reload_seconds: Some(5),
                    ..Inventory::default()
                },
                ..Site::default()
            },
        ),
        (
            "[inventory]\nca_name = 'Root'\nca_subject = { C = 'de', O = 'Example' }\nca_key = 'ec:p384'\n\
             ca_days = 100\nleaf_days = 10\nleaf_rsa_bits = 3072\nleaf_curve = 'p384'\npublic = 'le'",
            Site {
                inventory: Inventory {
                    is_configured: true,
                    issuing: Issuing {
                        authority: "Root".parse().unwrap(),
                        subject: Subject {
                            common_name: "Root".into(),
                            country: Some("DE".into()),
                            organization: Some("Example".into()),
                            ..Subject::default()
                        },
                        authority_key: Algorithm::P384,
                        authority_days: 100,
                        leaf_days: 10,
                        rsa_key: Algorithm::Rsa(3072),
                        ec_key: Algorithm::P384,
                        public: Some("le".into()),
                    },
                    ..Inventory::default()
                },
                ..Site::default()
            },
        ),
        (
            "[inventory]\ncrl = 'crl/fleet.pem'",
            Site {
                inventory: Inventory {
                    is_configured: true,
                    crl: Some(path("/t/crl/fleet.pem")),
                    ..Inventory::default()
                },
                ..Site::default()
            },
        ),
        (
            "[inventory]\ntakeover_seconds = 5",
            Site {
                inventory: Inventory {
                    is_configured: true,
                    takeover_seconds: Some(5),
                    ..Inventory::default()
                },
                ..Site::default()
            },
        ),
        (
            "[inventory]\nmail_to = 'a@example.com'",
            mailed(Mail {
                to: vec!["a@example.com".into()],
                from: None,
                subject: None,
                way: MailWay::Command(vec!["/usr/sbin/sendmail".into(), "-t".into()]),
            }),
        ),
        (
            "[inventory]\nmail_to = ['a@example.com', 'b@example.com']\nmail_from = 'pki@example.com'\n\
             mail_subject = 'Certificates'\nmail_command = '/usr/bin/msmtp -t -a \"the fleet\"'",
            mailed(Mail {
                to: vec!["a@example.com".into(), "b@example.com".into()],
                from: Some("pki@example.com".into()),
                subject: Some("Certificates".into()),
                way: MailWay::Command(["/usr/bin/msmtp", "-t", "-a", "the fleet"].map(str::to_owned).into()),
            }),
        ),
        (
            "[inventory]\nmail_to = 'a@example.com'\nmail_relay = 'Mail.example.com'",
            mailed(relayed("mail.example.com", 25)),
        ),
        (
            "[inventory]\nmail_to = 'a@example.com'\nmail_relay = 'mail.example.com:587'",
            mailed(relayed("mail.example.com", 587)),
        ),
        (
            "[inventory]\nmail_to = 'a@example.com'\nmail_relay = '[2001:db8::1]:26'",
            mailed(relayed("2001:db8::1", 26)),
        ),
        (
            "[inventory]\nmail_to = 'a@example.com'\nmail_relay = '2001:db8::1'",
            mailed(relayed("2001:db8::1", 25)),
        ),
        ("metrics_file = 'm.prom'", Site { metrics: Some(path("/t/m.prom")), ..Site::default() }),
        (
            "ssh_options = ['-F', '/x']",
            Site { ssh_options: vec!["-F".into(), "/x".into()], ..Site::default() },
        ),
        ("dns_xtra_ns = []", Site { extra_resolvers: vec![], ..Site::default() }),
        (
            "dns_xtra_ns = '2001:db8::1'",
            Site { extra_resolvers: vec!["2001:db8::1".into()], ..Site::default() },
        ),
        (
            "post_copy_cmd = [['a.example', '/bin/x'], ['b', '/bin/y']]",
            Site { after_copy: vec![hook("a.example", "/bin/x"), hook("b", "/bin/y")], ..Site::default() },
        ),
        (
            "post_copy_cmd = ['a.example', '/bin/x']",
            Site { after_copy: vec![hook("a.example", "/bin/x")], ..Site::default() },
        ),
        ("post_copy_cmd = ''", Site::default()),
        ("sslm_auth_hook = '/usr/lib/ssl-mgr/sslm-auth-hook'", Site::default()),
        ("preferred_acme_profile = 'classic'", Site::default()),
    ];
    for (line, expected) in rows {
        for head in [format!("{line}\n"), format!("[globals]\n{line}\n")] {
            let found = with_site(&head);
            assert_eq!(Site { groups: vec![], ..found.site }, expected, "{head}");
            assert_eq!((shown(&found.faults), shown(&found.warnings)), (vec![], vec![]), "{head}");
        }
    }
}

#[test]
fn renewal_in_every_spelling() {
    type Knots = &'static [(f64, f64)];
    let cases: [(&str, &str, Knots, Knots); 12] = [
        ("target", "[renew_info]\ntarget_90 = 28.0\n", &[(90.0, 28.0)], &[]),
        ("renew_target", "[renew_info]\nrenew_target_90 = 28\n", &[(90.0, 28.0)], &[]),
        ("spread", "[renew_info]\nrand_adj_45 = 2\n", &[], &[(45.0, 2.0)]),
        ("renew spread", "[renew_info]\nrenew_rand_adj_45 = 2\n", &[], &[(45.0, 2.0)]),
        ("a quoted part of a day", "[renew_info]\n\"target_7.5\" = 3\n", &[(7.5, 3.0)], &[]),
        (
            "a part of a day",
            "[renew_info]\ntarget_7.5 = 3\ntarget_7.25 = 2\n",
            &[(7.5, 3.0), (7.25, 2.0)],
            &[],
        ),
        ("a number in quotes", "[renew_info]\ntarget_90 = \"28.5\"\n", &[(90.0, 28.5)], &[]),
        ("within a day", "[renew_info]\ntarget_0 = 0.25\n", &[(0.0, 0.25)], &[]),
        (
            "in the order of the file",
            "[renew_info]\ntarget_90 = 28\nrand_adj_90 = 1\ntarget_45 = 12\n",
            &[(90.0, 28.0), (45.0, 12.0)],
            &[(90.0, 1.0)],
        ),
        ("deprecated", "renew_expire_days = 25\n", &[(90.0, 25.0)], &[]),
        ("deprecated spread", "renew_expire_days_spread = 2.5\n", &[], &[(90.0, 2.5)]),
        (
            "deprecated ones are replaced by newer ones",
            "[renew_info]\ntarget_90 = 28\nrand_adj_90 = 1\n\
             [globals]\nrenew_expire_days = 25\nrenew_expire_days_spread = 3\n",
            &[(90.0, 25.0), (90.0, 28.0)],
            &[(90.0, 3.0), (90.0, 1.0)],
        ),
    ];
    for (case, head, targets, spreads) in cases {
        let found = with_site(head);
        assert_eq!(
            (&found.site.renew_targets[..], &found.site.renew_spreads[..]),
            (targets, spreads),
            "{case}"
        );
        assert_eq!(shown(&found.faults), [""; 0], "{case}");
    }
}

#[test]
fn groups() {
    let group = |domain: &str, rest: &str| format!("[[groups]]\ndomain = \"{domain}\"\n{rest}\n");
    let files = |site: &str| {
        let other = WEB.replace("\"web\"", "\"mail\"");
        tree(&[
            ("ssl-mgr.conf", site),
            ("ca-info.conf", AUTHORITIES),
            ("ca/root", ROOT),
            ("example.com/web", WEB),
            ("example.com/mail", &other),
            ("example.com/NOTES", "words"),
        ])
    };
    let cases = [
        (
            "active",
            group("example.com", "services = [\"web\", \"mail\"]\nactive = true"),
            "example.com true: web mail",
        ),
        ("active is left out", group("example.com", "services = [\"web\"]"), "example.com false: web"),
        ("one text", group("example.com", "services = \"web\"\nactive = true"), "example.com true: web"),
        ("a star", group("example.com", "services = \"*\"\nactive = true"), "example.com true: mail web"),
        ("a star in a list", group("example.com", "services = [\"*\"]"), "example.com false: mail web"),
        ("ALL", group("example.com", "services = [\"web\", \"ALL\"]"), "example.com false: mail web"),
        (
            "a single table",
            group("ca", "services = [\"root\"]").replace("[[groups]]", "[groups]"),
            "ca false: root",
        ),
    ];
    for (case, site, expected) in cases {
        let found = files(&site);
        let groups: Vec<_> = found
            .site
            .groups
            .iter()
            .map(|group| {
                let names: Vec<_> = group.services.iter().map(ServiceName::service).collect();
                format!("{} {}: {}", group.name, group.active, names.join(" "))
            })
            .collect();
        assert_eq!(groups, [expected], "{case}");
        assert_eq!((shown(&found.faults), shown(&found.warnings)), (vec![], vec![]), "{case}");
    }
    let twice = group("example.com", "services = [\"web\"]") + &group("example.com", "services = [\"mail\"]");
    let found = files(&twice);
    one(
        "twice",
        &found.warnings,
        "ssl-mgr.conf:5:10: the group \"example.com\" is given twice; this one counts",
    );
    assert_eq!(found.site.groups.len(), 1);
    assert_eq!(found.site.groups[0].services[0].service(), "mail");
}

#[test]
fn primaries() {
    let primary = |server: &str, port| Primary { server: server.into(), port };
    let found = with_site(
        "[[dns_primary]]\ndomain = \"*\"\nserver = \"192.0.2.1\"\nport = 10053\n\
         [[dns_primary]]\ndomain = \"Example.COM.\"\nserver = \"NS.example.com\"\nport = \"5353\"\n\
         [[dns_primary]]\ndomain = \"example.net\"\nserver = \"2001:db8::1\"\n",
    );
    let expected = [
        ("default", primary("192.0.2.1", 10053)),
        ("example.com", primary("ns.example.com", 5353)),
        ("example.net", primary("2001:db8::1", 53)),
    ];
    assert_eq!(found.site.primaries, expected.map(|(apex, primary)| (apex.to_owned(), primary)).into());
    assert_eq!((shown(&found.faults), shown(&found.warnings)), (vec![], vec![]));
}

#[test]
fn servers() {
    let found = with_site(
        "[web]\nservers = \"www.example.com\"\nserver_dir = \"sites\"\nrestart_cmd = \"systemctl  reload nginx\"\n\
         svc_depends = [[\"any\", [\"web\"]], [\"ca\", \"root\"], ['*', ['web']]]\ndepends = \"Cert\"\n\
         [smtp]\nservers = [\"mx1\", \"root@mx2.example.com\", \"mx1\", \"2001:db8::25\"]\nskip_prod_copy = true\n\
         restart_cmd = [\"postmap -F lmdb:/x\", \"\", \"postfix reload\"]\ndepends = [\"dns\", \"tlsa\"]\n\
         [imap]\nsvc_depends = [\"example.com\", [\"web\"]]\n\
         [dns]\nrestart_cmd = \"/sbin/zone\"\nacme_dir = \"/z/a\"\ntlsa_dirs = [\"/z/a\", \"z/b\"]\n",
    );
    assert_eq!((shown(&found.faults), shown(&found.warnings)), (vec![], vec![]));
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let web = || vec!["web".to_owned()];
    let expected = [
        Servers {
            sort: Sort::Smtp,
            hosts: words(&["mx1", "root@mx2.example.com", "2001:db8::25"]),
            restart: vec![words(&["postmap", "-F", "lmdb:/x"]), words(&["postfix", "reload"])],
            depends: BTreeSet::from([Change::Tlsa, Change::Dns]),
            services: vec![],
            web_root: None,
            skip_copy: true,
            roots: vec![],
            owner: None,
            key_mode: None,
            probes: vec![],
        },
        Servers {
            sort: Sort::Imap,
            hosts: vec![],
            restart: vec![],
            depends: BTreeSet::new(),
            services: vec![(Some("example.com".into()), web())],
            web_root: None,
            skip_copy: false,
            roots: vec![],
            owner: None,
            key_mode: None,
            probes: vec![],
        },
        Servers {
            sort: Sort::Web,
            hosts: words(&["www.example.com"]),
            restart: vec![words(&["systemctl", "reload", "nginx"])],
            depends: BTreeSet::from([Change::Cert]),
            services: vec![(None, web()), (Some("ca".into()), vec!["root".into()]), (None, web())],
            web_root: Some("/t/sites".into()),
            skip_copy: false,
            roots: vec![],
            owner: None,
            key_mode: None,
            probes: vec![],
        },
    ];
    assert_eq!(found.site.servers, expected);
    let dns = Dns {
        restart: words(&["/sbin/zone"]),
        challenge_directories: vec!["/z/a".into()],
        tlsa_directories: vec!["/z/a".into(), "/t/z/b".into()],
        depends: BTreeSet::from([Change::Dns]),
    };
    assert_eq!(found.site.dns, dns);
    assert_eq!(with_site("[dns]\ndepends = []\n").site.dns.depends, BTreeSet::new());
}

#[test]
fn what_delivery_is_told() {
    let found = with_site(
        "[web]\nservers = 'www'\nroots = ['/srv/jail', '/a//b/']\nowner = 'root:ssl-cert'\nkey_mode = '0640'\n\
         probe = ['443', '25/smtp', '5000']\n[imap]\nowner = '0'\n",
    );
    assert_eq!((shown(&found.faults), shown(&found.warnings)), (vec![], vec![]));
    let [imap, web] = found.site.servers.as_slice() else { panic!() };
    assert_eq!(web.roots, [PathBuf::from("/srv/jail"), PathBuf::from("/a/b")]);
    assert_eq!(web.owner, Some(("root".into(), Some("ssl-cert".into()))));
    assert_eq!(web.key_mode, Some(0o640));
    let probes: Vec<_> =
        web.probes.iter().map(|probe| format!("{}/{}", probe.port, probe.protocol)).collect();
    assert_eq!(probes, ["443/tls", "25/smtp", "5000/tls"]);
    assert_eq!(imap.owner, Some(("0".into(), None)));
    let cases = [
        ("roots = ['jail']", "\"jail\" is no directory of a jail"),
        ("roots = ['/srv/../etc']", "\"/srv/../etc\" is no directory of a jail"),
        ("owner = '-r'", "\"-r\" is no owner"),
        ("owner = 'a b'", "\"a b\" is no owner"),
        ("key_mode = '0644'", "the key_mode \"0644\" lets too many read"),
        ("key_mode = '0020'", "the key_mode \"0020\" lets too many read, or nobody"),
        ("probe = '25/smpt'", "\"smpt\" is no protocol"),
        ("probe = 'all'", "\"all\" cannot be asked"),
    ];
    for (line, expected) in cases {
        let found = with_site(&format!("[web]\n{line}\n"));
        let faults = shown(&found.faults);
        assert!(faults.len() == 1 && faults[0].contains(expected), "{line}: {faults:?}");
    }
}

#[test]
fn zones_that_are_updated() {
    let found = with_site(
        "[[dns_update]]\ndomain = 'Example.COM'\nserver = '192.0.2.1'\nkey_file = 'k'\nfor = 'acme'\n\
         [[dns_update]]\ndomain = 'default'\nserver = 'ns.example.com'\nport = 5353\nkey_file = '/k'\n",
    );
    assert_eq!((shown(&found.faults), shown(&found.warnings)), (vec![], vec![]));
    let update = |domain: Option<&str>, server: &str, port, key: &str, purposes: &[Purpose]| Update {
        domain: domain.map(str::to_owned),
        server: server.into(),
        port,
        key_file: Some(key.into()),
        purposes: purposes.iter().copied().collect(),
    };
    let expected = [
        update(Some("example.com"), "192.0.2.1", 53, "/t/k", &[Purpose::Acme]),
        update(None, "ns.example.com", 5353, "/k", &[Purpose::Acme, Purpose::Tlsa]),
    ];
    assert_eq!(found.site.updates, expected);
    let wrong = with_site("[[dns_update]]\ndomain = 'a.b'\nserver = 'c.d'\nkey_file = 'k'\nfor = 'mx'\n");
    one("for", &wrong.faults, "ssl-mgr.conf:5:7: \"mx\" are no records of ours; write acme or tlsa");
}

#[test]
fn keys_under_a_passphrase() {
    let found = with_site("[keys]\npassphrase_file = 'conf.d/passphrase'\n");
    assert_eq!(found.site.passphrase_file, Some(PathBuf::from("/t/conf.d/passphrase")));
    assert_eq!((shown(&found.faults), shown(&found.warnings)), (vec![], vec![]));
    assert_eq!(with_site("[keys]\n").site.passphrase_file, None);
    let misspelt = with_site("[keys]\npassfrase_file = 'x'\n");
    assert_eq!(shown(&misspelt.warnings).len(), 1);
}
