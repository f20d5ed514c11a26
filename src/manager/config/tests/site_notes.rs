//! What is wrong, or odd, with `ssl-mgr.conf`, and where.

use super::*;

#[test]
fn faults_of_the_site() {
    let cases = [
        (
            "a quote that is open",
            "[web]\nservers = ['w']\nrestart_cmd = ['a', 'b \"c']\n",
            "ssl-mgr.conf:3:21: a quote in the command is not closed",
        ),
        ("syntax", "clean_keep = \n", "ssl-mgr.conf:1:"),
        ("a key twice", "verb = true\nverb = true\n", "ssl-mgr.conf:2:1: duplicate key"),
        ("verb", "verb = 1\n", "ssl-mgr.conf:1:8: verb is a number; write true or false"),
        ("globals", "globals = 1\n", "ssl-mgr.conf:1:11: globals is a number; write a table, [globals]"),
        ("no production", "prod_cert_dir = ''\n", "ssl-mgr.conf:1:17: prod_cert_dir is empty"),
        (
            "production is the root",
            "prod_cert_dir = '/'\n",
            "ssl-mgr.conf:1:17: prod_cert_dir is /, which holds",
        ),
        (
            "production is the tree",
            "prod_cert_dir = '.'\n",
            "ssl-mgr.conf:1:17: prod_cert_dir is /t, which holds",
        ),
        (
            "production in the state",
            "prod_cert_dir = 'certs/x'\n",
            "ssl-mgr.conf:1:17: prod_cert_dir is /t/certs/x",
        ),
        ("production climbs", "prod_cert_dir = '../x'\n", "ssl-mgr.conf:1:17: prod_cert_dir climbs"),
        (
            "how a database is reached",
            "[inventory]\npostgres = 'hots=x password=geheim'\n",
            "ssl-mgr.conf:2:12: postgres: \"hots\" is no parameter of a connection",
        ),
        ("no key", "[inventory]\nca_key = 'dsa'\n", "ssl-mgr.conf:2:10: a key is rsa:BITS or ec:CURVE"),
        ("a short key", "[inventory]\nca_key = 'rsa:1024'\n", "ssl-mgr.conf:2:10: write 2048 to 8192 bits"),
        (
            "no curve",
            "[inventory]\nleaf_curve = 'p224'\n",
            "ssl-mgr.conf:2:14: a curve is p256, p384 or p521",
        ),
        ("no name", "[inventory]\nca_name = 'a/b'\n", "ssl-mgr.conf:2:11: "),
        ("no country", "[inventory]\nca_subject = { C = 'Germany' }\n", "ssl-mgr.conf:2:20: "),
        (
            "mail to no address",
            "[inventory]\nmail_to = 'a@example.com\"\\nBcc: b@example.com'\n",
            "ssl-mgr.conf:2:11: ",
        ),
        (
            "mail to a line of a head",
            "[inventory]\nmail_to = \"a@example.com\\nBcc: b@example.com\"\n",
            "ssl-mgr.conf:2:11: ",
        ),
        (
            "mail from nobody",
            "[inventory]\nmail_to = 'a@example.com'\nmail_from = 'pki'\n",
            "ssl-mgr.conf:3:13: \"pki\" is no address of mail; write for example hostmaster@example.com",
        ),
        (
            "two ways of mail",
            "[inventory]\nmail_to = 'a@example.com'\nmail_command = 'x'\nmail_relay = 'y'\n",
            "ssl-mgr.conf:4:14: mail goes by mail_command or by mail_relay; write one",
        ),
        (
            "a port of mail",
            "[inventory]\nmail_to = 'a@example.com'\nmail_relay = 'y:smtp'\n",
            "ssl-mgr.conf:3:14: the port of mail_relay is 1 to 65535",
        ),
        ("too early", "[inventory]\nprepublish_days = 3\n", "ssl-mgr.conf:2:19: "),
        ("no user", "[inventory]\nssh_user = '-oProxyCommand=x'\n", "ssl-mgr.conf:2:12: "),
        ("no time for a reload", "[inventory]\nreload_seconds = 0\n", "ssl-mgr.conf:2:18: "),
        (
            "a path in two lines",
            "logdir = \"a\\nb\"\n",
            "ssl-mgr.conf:1:10: logdir holds a control character",
        ),
        (
            "clean_keep",
            "clean_keep = 'x'\n",
            "ssl-mgr.conf:1:14: clean_keep is the text \"x\"; write a whole number",
        ),
        (
            "part of a version",
            "clean_keep = 1.5\n",
            "ssl-mgr.conf:1:14: clean_keep is a number; write a whole number",
        ),
        ("a huge number", "clean_keep = 99999999999999999999\n", "ssl-mgr.conf:1:14: "),
        (
            "min_roll_mins",
            "min_roll_mins = nan\n",
            "ssl-mgr.conf:1:17: min_roll_mins is a number; write a number",
        ),
        ("dns_check_delay", "dns_check_delay = []\n", "ssl-mgr.conf:1:19: dns_check_delay is a list"),
        ("a resolver", "dns_xtra_ns = ['1.1.1.1', '-x']\n", "ssl-mgr.conf:1:27: the host name"),
        ("a resolver's type", "dns_xtra_ns = ['1.1.1.1', 8]\n", "ssl-mgr.conf:1:27: dns_xtra_ns is a number"),
        ("one word of two", "post_copy_cmd = [['a']]\n", "ssl-mgr.conf:1:18: one of post_copy_cmd is"),
        (
            "three words of two",
            "post_copy_cmd = [['a', 'b', 'c']]\n",
            "ssl-mgr.conf:1:18: one of post_copy_cmd is",
        ),
        ("an option as a host", "post_copy_cmd = [['-oX', '/b']]\n", "ssl-mgr.conf:1:19: \"-oX\" is no host"),
        (
            "always renewed",
            "[renew_info]\ntarget_90 = 90\n",
            "ssl-mgr.conf:2:13: a certificate of 90 days that",
        ),
        ("below nothing", "[renew_info]\ntarget_90 = -1\n", "ssl-mgr.conf:2:13: \"target_90\" is -1"),
        ("no spread", "[renew_info]\nrand_adj_90 = -1\n", "ssl-mgr.conf:2:15: \"rand_adj_90\" is -1"),
        ("no lifetime", "[renew_info]\ntarget_x = 1\n", "ssl-mgr.conf:2:1: \"x\" is no lifetime in days"),
        (
            "no days",
            "[renew_info]\ntarget_90 = 'soon'\n",
            "ssl-mgr.conf:2:13: target_90 is the text \"soon\"",
        ),
        ("spread", "renew_expire_days_spread = -1\n", "ssl-mgr.conf:1:28: renew_expire_days_spread is"),
        (
            "a primary without domain",
            "[[dns_primary]]\nserver = 'x'\n",
            "ssl-mgr.conf:1:1: [[dns_primary]] without domain",
        ),
        (
            "a primary without server",
            "[[dns_primary]]\ndomain = 'x'\n",
            "ssl-mgr.conf:1:1: [[dns_primary]] without server",
        ),
        (
            "a primary's port",
            "[[dns_primary]]\ndomain = 'x'\nserver = 'y'\nport = 65536\n",
            "ssl-mgr.conf:4:8: port is 65536; write a number from 1 to 65535",
        ),
        (
            "a primary's domain",
            "[[dns_primary]]\ndomain = 'a b'\nserver = 'y'\nport = 1\n",
            "ssl-mgr.conf:2:10: the host name",
        ),
        ("a server", "[web]\nservers = ['a', 'b c']\n", "ssl-mgr.conf:2:17: \"b c\" is no host"),
        ("a server's option", "[web]\nservers = '-x'\n", "ssl-mgr.conf:2:11: \"-x\" is no host"),
        (
            "a change",
            "[web]\ndepends = ['certs']\n",
            "ssl-mgr.conf:2:12: nothing depends on \"certs\"; write cert, tlsa or dns; did you mean \"cert\"?",
        ),
        ("half a pair", "[web]\nsvc_depends = [['any']]\n", "ssl-mgr.conf:2:16: one of svc_depends is"),
        (
            "no pair",
            "[web]\nsvc_depends = 'web'\n",
            "ssl-mgr.conf:2:15: svc_depends is the text \"web\"; write a list",
        ),
        (
            "services of a pair",
            "[web]\nsvc_depends = [['any', 1]]\n",
            "ssl-mgr.conf:2:24: svc_depends is a number",
        ),
        ("skip_prod_copy", "[web]\nskip_prod_copy = 'no'\n", "ssl-mgr.conf:2:18: skip_prod_copy is the text"),
        ("a table that is none", "web = 1\n", "ssl-mgr.conf:1:7: web is a number; write a table, [web]"),
        (
            "active",
            "[[groups]]\ndomain = 'x'\nactive = 'true'\nservices = 'y'\n",
            "ssl-mgr.conf:3:10: active is the text",
        ),
    ];
    for (case, head, expected) in cases {
        let found = with_site(head);
        one(case, &found.faults, expected);
        assert!(found.is_broken, "{case}");
    }
}

#[test]
fn faults_of_a_group_hold_up_nothing_else() {
    let cases = [
        (
            "no such service",
            "example.com",
            "['wbe']",
            "ssl-mgr.conf:11:13: there is no file conf.d/example.com/wbe; did you mean \"web\"?",
        ),
        (
            "no such group",
            "example.org",
            "['a']",
            "ssl-mgr.conf:11:13: there is no file conf.d/example.org/a",
        ),
        ("a group that climbs", "../x", "['a']", "ssl-mgr.conf:10:10: \"../x\" is no name of a group"),
        ("a service that climbs", "ca", "['../x']", "ssl-mgr.conf:11:13: there is no file conf.d/ca/../x"),
    ];
    for (case, domain, services, expected) in cases {
        let group = format!("[[groups]]\ndomain = '{domain}'\nservices = {services}\nactive = true\n");
        let site = SITE.to_owned() + &group;
        let found = tree(&[
            ("ssl-mgr.conf", &site),
            ("ca-info.conf", AUTHORITIES),
            ("ca/root", ROOT),
            ("example.com/web", WEB),
        ]);
        one(case, &found.faults, expected);
        assert!(!found.is_broken, "{case}");
        assert_eq!(found.services.len(), 2, "{case}");
        let found = tree(&[("ssl-mgr.conf", &site.replace("true", "false")), ("ca-info.conf", AUTHORITIES)]);
        assert!(domain == "../x" || found.faults.is_empty(), "{case}: {:?}", shown(&found.faults));
    }
}

#[test]
fn warnings_of_the_site() {
    let cases = [
        (
            "a misspelt key",
            "[globals]\nclean_kep = 3\n",
            "ssl-mgr.conf:2:1: unknown key \"clean_kep\", which is ignored; did you mean \"clean_keep\"?",
        ),
        ("a key of nothing", "colour = 3\n", "ssl-mgr.conf:1:1: unknown key \"colour\", which is ignored"),
        (
            "a misspelt table",
            "[smpt]\nservers = []\n",
            "ssl-mgr.conf:1:2: unknown table \"smpt\", which is ignored; did you mean \"smtp\"?",
        ),
        (
            "a key of a server",
            "[web]\nserver_dirs = '/x'\n",
            "ssl-mgr.conf:2:1: unknown key \"server_dirs\" in [web], which is ignored; did you mean \"server_dir\"?",
        ),
        (
            "a key of other servers",
            "[smtp]\nserver_dir = '/x'\n",
            "ssl-mgr.conf:2:1: unknown key \"server_dir\" in [smtp]",
        ),
        (
            "a key of name servers",
            "[dns]\ntlsa_dir = '/x'\n",
            "ssl-mgr.conf:2:1: unknown key \"tlsa_dir\" in [dns], which is ignored; did you mean \"tlsa_dirs\"?",
        ),
        (
            "a key of renewal",
            "[renew_info]\ntagret_90 = 3\n",
            "ssl-mgr.conf:2:1: unknown key \"tagret_90\" in [renew_info], which is ignored; did you mean \"target_90\"?",
        ),
        (
            "a key of a group",
            "[[groups]]\ndomain = 'x'\nactiv = true\n",
            "ssl-mgr.conf:3:1: unknown key \"activ\" in [[groups]]",
        ),
        (
            "a key of a primary",
            "[[dns_primary]]\ndomain = 'x'\nserver = 'y'\nprot = 1\n",
            "ssl-mgr.conf:4:1: unknown key \"prot\" in [[dns_primary]]",
        ),
        (
            "at both places",
            "clean_keep = 3\n[globals]\nclean_keep = 4\n",
            "ssl-mgr.conf:1:1: \"clean_keep\" is given twice; the other one counts",
        ),
        (
            "too few versions",
            "clean_keep = 0\n",
            "ssl-mgr.conf:1:14: clean_keep is 0; at least 1 version is kept",
        ),
        ("an option", "dry_run = true\n", "ssl-mgr.conf:1:11: dry_run is an option of the command line"),
        ("a hook of certbot", "sslm_auth_hook = '/x'\n", "ssl-mgr.conf:1:18: sslm_auth_hook is not needed"),
        (
            "the old target",
            "renew_expire_days = 30\n",
            "ssl-mgr.conf:1:21: renew_expire_days is the old spelling of target_90 = 30 in [renew_info]",
        ),
        (
            "an old target of years",
            "renew_expire_days = 365\n",
            "ssl-mgr.conf:1:21: renew_expire_days is for certificates of 90 days",
        ),
        (
            "the old spread",
            "renew_expire_days_spread = 3\n",
            "ssl-mgr.conf:1:28: renew_expire_days_spread is the old spelling of rand_adj_90 = 3",
        ),
        (
            "arguments that are none",
            "post_copy_cmd = ['a', '/bin/x -y']\n",
            "ssl-mgr.conf:1:23: post_copy_cmd is one program",
        ),
        (
            "arguments for the zone",
            "[dns]\nrestart_cmd = '/bin/x -y'\n",
            "ssl-mgr.conf:2:15: restart_cmd of [dns] is one program",
        ),
        ("never run", "[web]\nrestart_cmd = '/bin/x'\n", "ssl-mgr.conf:1:1: restart_cmd is never run"),
        (
            "a service of nobody",
            "[web]\nsvc_depends = [['any', ['wbe']]]\n",
            "ssl-mgr.conf:2:25: there is no service \"wbe\"; did you mean \"web\"?",
        ),
        (
            "a service of another group",
            "[web]\nsvc_depends = [['ca', ['web']]]\n",
            "ssl-mgr.conf:2:24: there is no service \"web\"",
        ),
        (
            "a group of nobody",
            "[web]\nsvc_depends = [['exmaple.com', ['web']]]\n",
            "ssl-mgr.conf:2:17: there is no group \"exmaple.com\"; did you mean \"example.com\"?",
        ),
        (
            "a group without services",
            "[[groups]]\ndomain = 'x'\nactive = true\n",
            "ssl-mgr.conf:1:1: the group \"x\" is active and has no services",
        ),
        (
            "a group without domain",
            "[[groups]]\nactive = true\n",
            "ssl-mgr.conf:1:1: a group without domain, which is ignored",
        ),
        (
            "an empty directory",
            "[[groups]]\ndomain = 'x'\nactive = true\nservices = '*'\n",
            "ssl-mgr.conf:4:12: there is no service's file in conf.d/x",
        ),
        (
            "a service twice",
            "[[groups]]\ndomain = 'example.net'\nservices = ['a', 'a']\n",
            "ssl-mgr.conf:3:13: there is no file",
        ),
        (
            "a primary twice",
            "[[dns_primary]]\ndomain = '*'\nserver = 'y'\n[[dns_primary]]\ndomain = 'default'\nserver = 'z'\n",
            "ssl-mgr.conf:5:10: the primary of default is given twice",
        ),
    ];
    for (case, head, expected) in cases {
        let found = with_site(head);
        assert_eq!(shown(&found.faults), [""; 0], "{case}");
        if case == "a service twice" {
            assert_eq!(shown(&found.warnings)[1], "ssl-mgr.conf:3:18: \"a\" is given twice");
            continue;
        }
        one(case, &found.warnings, expected);
    }
}
