use super::*;

/// Command lines with ` ; ` between them.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    match translate(program, &arguments).unwrap() {
        Ok(Translation::Run(lines)) => {
            Ok(lines.iter().map(|line| line.join(" ")).collect::<Vec<_>>().join(" ; "))
        }
        Ok(Translation::Print(text)) => Ok(format!("help: {text}")),
        Err(Usage(text)) => Err(text),
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn sslm_mgr() {
    let cases = [
        ("nothing asked for", "", "distribute"),
        ("nothing but names", "example.com", "distribute example.com"),
        // Every option, in every spelling.
        ("status", "-s", "status --long"),
        ("status, long", "--status", "status --long"),
        ("status, long behind one dash", "-status", "status --long"),
        ("renew", "-renew", "renew ; clean"),
        ("renew, two dashes", "--renew", "renew ; clean"),
        ("roll", "-roll", "roll ; clean"),
        ("roll, two dashes", "--roll", "roll ; clean"),
        ("force alone", "-f", "distribute"),
        ("force to renew", "-f -renew", "renew --force ; clean"),
        ("force to renew, long", "--force --renew", "renew --force ; clean"),
        ("force to roll", "-roll -f", "roll --force ; clean"),
        ("reuse", "-r -renew", "renew --reuse-key ; clean"),
        ("reuse, long", "--reuse -renew", "renew --reuse-key ; clean"),
        ("reuse is no matter of rolling", "-r -roll", "roll ; clean"),
        ("age", "-roll -roll-mins 5", "roll --min-age 5 ; clean"),
        ("age, two dashes", "-roll --min-roll-mins 5", "roll --min-age 5 ; clean"),
        ("age, the other name behind two", "-roll --roll-mins 5", "roll --min-age 5 ; clean"),
        ("age, the other name behind one", "-roll -min-roll-mins 5", "roll --min-age 5 ; clean"),
        ("age, joined", "-roll -roll-mins=5", "roll --min-age 5 ; clean"),
        ("age, joined, two dashes", "-roll --min-roll-mins=0", "roll --min-age 0 ; clean"),
        ("age without rolling", "-roll-mins 5 -s", "status --long"),
        ("keep", "-clean-keep 3", "clean --keep 3"),
        ("keep, two dashes", "--clean-keep=3", "clean --keep 3"),
        ("keep, after rolling", "-roll -clean-keep 3 ca:my-int", "roll ca:my-int ; clean --keep 3 ca:my-int"),
        ("clean all", "-clean-all", "clean --all"),
        ("clean all, two dashes, whatever is named", "--clean-all example.com", "clean --all"),
        ("clean all after a renewal", "-renew example.com -clean-all", "renew example.com ; clean --all"),
        ("dns", "-dns example.com", "dns-refresh example.com"),
        ("dns, two dashes", "--dns-refresh", "dns-refresh"),
        ("dns, swapped", "--dns", "dns-refresh"),
        ("dns, swapped back", "-dns-refresh", "dns-refresh"),
        ("test", "-t -renew", "renew --staging"),
        ("test, long", "--test --renew", "renew --staging"),
        ("test serves nothing", "-t -renew -roll", "renew --staging ; roll --dry-run"),
        ("test alone", "-t", "distribute --dry-run"),
        ("dry run", "-n -renew -roll", "renew --dry-run ; roll --dry-run"),
        ("dry run, long", "--dry-run --renew", "renew --dry-run"),
        ("dry run of nothing", "-n", "distribute --dry-run"),
        ("dry run of cleaning", "-n -clean-keep 2", "clean --keep 2 --dry-run"),
        ("dry run refreshes nothing", "-n -renew -dns", "renew --dry-run"),
        ("dry run of a refresh", "-n -dns", "distribute --dry-run"),
        ("debug", "-d -renew", "renew --dry-run"),
        ("debug, long", "--debug -roll", "roll --dry-run"),
        ("verbose", "-v -renew", "renew --verbose ; clean --verbose"),
        ("verbose, long", "--verb -s", "status --verbose --long --sans"),
        ("verbose, written out", "--verbose -s", "status --verbose --long --sans"),
        // Names are taken as they are, except for the two ways to say all.
        (
            "names",
            "-s a.example b.example:web c.example:web,mail d.example/web",
            "status --long a.example b.example:web c.example:web,mail d.example/web",
        ),
        ("all", "-s a.example:ALL b.example:*", "status --long a.example:ALL b.example:ALL"),
        (
            "names among options",
            "-s a.example -v b.example",
            "status --verbose --long --sans a.example b.example",
        ),
        ("a group called dev", "-s dev", "status --long dev"),
        ("what is no option any longer", "-s -- -renew", "status --long -- -renew"),
        // CAs are renewed where they are named, as the sites' scripts do.
        ("a root", "-renew ca:my-root", "renew --renew-ca ca:my-root ; clean ca:my-root"),
        ("a root forced", "-f -renew ca:my-root", "renew --force --renew-ca ca:my-root ; clean ca:my-root"),
        ("all CAs", "-renew ca", "renew --renew-ca ca ; clean ca"),
        ("a CA, our spelling", "-renew ca/my-int", "renew --renew-ca ca/my-int ; clean ca/my-int"),
        (
            "a CA and others",
            "-renew a.example ca:my-int",
            "renew --renew-ca a.example ca:my-int ; clean a.example ca:my-int",
        ),
        ("a group that begins so", "-renew ca.example", "renew ca.example ; clean ca.example"),
        // Together, in one order whatever order they are named in.
        (
            "all at once",
            "-clean-all -s -dns -roll -renew",
            "renew ; roll ; dns-refresh ; status --long ; clean --all",
        ),
        // Shortened.
        ("short renew", "--ren", "renew ; clean"),
        ("short renew behind one dash", "-ren", "renew ; clean"),
        ("short reuse", "--renew --reu", "renew --reuse-key ; clean"),
        ("short roll is not an alias of something else", "--ro", "roll ; clean"),
        ("short status", "--st", "status --long"),
        ("short force", "--renew --fo", "renew --force ; clean"),
        ("short age", "--roll --min 5", "roll --min-age 5 ; clean"),
        ("short age, one dash", "-roll -roll-m=5", "roll --min-age 5 ; clean"),
        ("short keep", "-clean-k 4", "clean --keep 4"),
        ("short clean all", "--clean-a", "clean --all"),
        ("short dns", "--dn", "dns-refresh"),
        ("short dry run", "--renew --dr", "renew --dry-run"),
        ("short verbose, one dash", "-s -ver", "status --verbose --long --sans"),
        // Joined.
        ("joined", "-sv", "status --verbose --long --sans"),
        ("joined, the other way", "-vs ca", "status --verbose --long --sans ca"),
        ("joined, three", "-renew -frv", "renew --verbose --force --reuse-key ; clean --verbose"),
        ("joined letters that begin another name", "-renew -st", "renew --staging ; status --long"),
        ("twice", "-s -s -roll-mins 1 -roll-mins 2 -roll", "roll --min-age 2 ; status --long ; clean"),
        // dev.
        ("dev, nothing", "dev", "distribute"),
        ("dev, plain options", "dev -s", "status --long"),
        ("dev, keys", "dev -keys", "renew --force --only key ; clean"),
        ("dev, keys, long", "dev --new-keys", "renew --force --only key ; clean"),
        ("dev, csr", "dev -csr", "renew --force --only request ; clean"),
        ("dev, csr, long", "dev --new-csr", "renew --force --only request ; clean"),
        ("dev, cert", "dev -cert", "renew --force --only certificate ; clean"),
        ("dev, cert, long", "dev --new-cert", "renew --force --only certificate ; clean"),
        ("dev, copy", "dev -copy", "renew --force --reuse-key --only key --only request ; clean"),
        ("dev, copy, long", "dev --copy-csr", "renew --force --reuse-key --only key --only request ; clean"),
        (
            "dev, all three, of a CA, in a test",
            "dev -keys -csr -cert -t ca:my-root",
            "renew --force --staging --only key --only request --only certificate --renew-ca ca:my-root",
        ),
        (
            "dev, copy and sign",
            "dev -copy -cert",
            "renew --force --reuse-key --only key --only request --only certificate ; clean",
        ),
        ("dev, a whole renewal has its parts in it", "dev -renew -csr", "renew --force ; clean"),
        ("dev, ntoc", "dev -ntoc", "roll --force ; clean"),
        ("dev, ntoc, long", "dev --next-to-curr x.example", "roll --force x.example ; clean x.example"),
        ("dev, production", "dev -certs-prod", "distribute --no-restart"),
        ("dev, production, long", "dev --certs-to-prod", "distribute --no-restart"),
        ("dev, restarts", "dev -fsr", "distribute --restart-all"),
        ("dev, restarts, long", "dev --force-server-restarts", "distribute --restart-all"),
        ("dev, both", "dev -fsr -certs-prod", "distribute --restart-all"),
        ("dev, restarts, shown", "dev -n -fsr", "distribute --restart-all --dry-run"),
        (
            "dev, in their order",
            "dev -s -certs-prod -ntoc -keys",
            "renew --force --only key ; roll --force ; distribute --no-restart ; status --long ; clean",
        ),
        ("dev, short", "dev --certs", "distribute --no-restart"),
        (
            "dev, a whole name before the beginning of another",
            "dev --cert",
            "renew --force --only certificate ; clean",
        ),
        ("dev, short and not an alias of another", "dev --new-k", "renew --force --only key ; clean"),
    ];
    for (name, arguments, expected) in cases {
        assert_eq!(run("sslm-mgr", &words(arguments)), Ok(expected.to_owned()), "{name}: {arguments}");
    }
}

#[test]
fn tools() {
    let cases = [
        ("info", "sslm-info", "a.pem b.pem", "info a.pem b.pem"),
        ("info of standard input", "sslm-info", "", "info"),
        ("info of standard input by its other name", "sslm-info", "-", "info -- -"),
        ("info, v", "sslm-info", "-v a.pem", "info --verbose a.pem"),
        ("info, verb", "sslm-info", "--verb a.pem", "info --verbose a.pem"),
        ("info, verb, one dash", "sslm-info", "-verb a.pem", "info --verbose a.pem"),
        ("info, verbose", "sslm-info", "--verbose a.pem", "info --verbose a.pem"),
        ("info, v last", "sslm-info", "a.pem -v", "info --verbose a.pem"),
        ("verify a directory", "sslm-verify", "certs/x/web/curr", "verify certs/x/web/curr"),
        ("verify a file", "sslm-verify", "cert.pem", "verify cert.pem"),
        ("verify two", "sslm-verify", "a b", "verify a ; verify b"),
        ("verify a strange one", "sslm-verify", "-- -a", "verify -- -a"),
        ("dhparm", "sslm-dhparm", "a b", "dhparm a b"),
        (
            "dhparm, the cron line",
            "sslm-dhparm",
            "-s /etc/ssl-mgr/prod-certs",
            "dhparm --subdirectories /etc/ssl-mgr/prod-certs",
        ),
        ("dhparm, subdirs, long", "sslm-dhparm", "--subdirs a", "dhparm --subdirectories a"),
        ("dhparm, keys", "sslm-dhparm", "-k ffdhe4096,2048 a", "dhparm --groups ffdhe4096,2048 a"),
        ("dhparm, keys, long", "sslm-dhparm", "--keys ffdhe4096 a", "dhparm --groups ffdhe4096 a"),
        ("dhparm, keys, one dash", "sslm-dhparm", "-keys ffdhe4096 a", "dhparm --groups ffdhe4096 a"),
        ("dhparm, keys, =", "sslm-dhparm", "--keys=ffdhe4096 a", "dhparm --groups ffdhe4096 a"),
        ("dhparm, keys, letter and =", "sslm-dhparm", "-k=ffdhe4096 a", "dhparm --groups ffdhe4096 a"),
        ("dhparm, keys, joined", "sslm-dhparm", "-kffdhe4096 a", "dhparm --groups ffdhe4096 a"),
        ("dhparm, force", "sslm-dhparm", "-f a", "dhparm --force a"),
        ("dhparm, force, long", "sslm-dhparm", "--force a", "dhparm --force a"),
        ("dhparm, age", "sslm-dhparm", "-a 30 a", "dhparm --age-days 30 a"),
        ("dhparm, age, long", "sslm-dhparm", "--age-days=30 a", "dhparm --age-days 30 a"),
        ("dhparm, age, short", "sslm-dhparm", "--ag 30 a", "dhparm --age-days 30 a"),
        ("dhparm, joined", "sslm-dhparm", "-sfa30 a", "dhparm --force --age-days 30 --subdirectories a"),
        ("tlsa-hash", "sslm-tlsa-hash", "certs/x/web/curr", "tlsa-hash certs/x/web/curr"),
        ("tlsa-hash of this directory", "sslm-tlsa-hash", "", "tlsa-hash"),
    ];
    for (name, program, arguments, expected) in cases {
        assert_eq!(run(program, &words(arguments)), Ok(expected.to_owned()), "{name}: {program} {arguments}");
    }
}

#[test]
fn wrong_usage_says_what_is_nearest() {
    let cases = [
        ("unknown", "sslm-mgr", "-renwe", "'--renew'"),
        ("unknown, two dashes", "sslm-mgr", "--statsu", "'--status'"),
        ("unknown letter", "sslm-mgr", "-x", "'-x'"),
        ("unknown letter among known ones", "sslm-mgr", "-svx", "'--svx'"),
        ("ambiguous", "sslm-mgr", "--re", "\"--re\" may be --renew or --reuse; write it out"),
        ("ambiguous, one dash", "sslm-mgr", "-rol", "\"-rol\" may be -roll or -roll-mins; write it out"),
        ("ambiguous, clean", "sslm-mgr", "-clean 5", "may be -clean-keep or -clean-all"),
        ("ambiguous with letters", "sslm-mgr", "-dn", "may be joined letters or -dns"),
        ("ambiguous in dev only", "sslm-mgr", "dev -fs", "may be joined letters or -fsr"),
        ("ambiguous behind =", "sslm-mgr", "--re=1", "\"--re=1\" may be"),
        ("no number", "sslm-mgr", "-roll-mins soon", "invalid value 'soon'"),
        ("no number, =", "sslm-mgr", "-clean-keep=few", "invalid value 'few'"),
        ("a negative one", "sslm-mgr", "-clean-keep -1", "'-1'"),
        ("no value", "sslm-mgr", "-roll-mins", "a value is required"),
        ("a value too many", "sslm-mgr", "-renew=yes", "'--renew'"),
        ("dev not first", "sslm-mgr", "-s dev -keys", "'--keys'"),
        ("options of dev without it", "sslm-mgr", "-ntoc", "'--ntoc'"),
        ("a new key and the present one", "sslm-mgr", "dev -keys -copy", "cannot be used with"),
        ("only dashes", "sslm-mgr", "--=", "--"),
        ("info, unknown", "sslm-info", "--vebrose", "'--verbose'"),
        ("verify, nothing", "sslm-verify", "", "<DIR|FILE>"),
        ("dhparm, nothing", "sslm-dhparm", "-s", "<DIR>"),
        ("dhparm, no number", "sslm-dhparm", "-a x d", "invalid value 'x'"),
        ("dhparm, unknown", "sslm-dhparm", "--frce d", "'--force'"),
        ("tlsa-hash of two", "sslm-tlsa-hash", "a b", "unexpected argument 'b'"),
    ];
    for (name, program, arguments, told) in cases {
        let fault = run(program, &words(arguments)).unwrap_err();
        assert!(fault.contains(told), "{name}: {program} {arguments}: {fault}");
        assert!(!fault.starts_with("error"), "{name}: {fault}");
    }
}

#[test]
fn help_names_every_option() {
    for (program, arguments, named) in [
        ("sslm-mgr", "-h", "-s --renew --roll -f -r --roll-mins --clean-keep --clean-all --dns -t -n -d -v"),
        ("sslm-mgr", "-renew --help", "--renew"),
        ("sslm-mgr", "-help", "--renew"),
        ("sslm-mgr", "dev -h", "--renew --keys --csr --cert --copy --ntoc --certs-prod --fsr"),
        ("sslm-info", "-h", "--verb"),
        ("sslm-verify", "-h", "<DIR|FILE>"),
        ("sslm-dhparm", "--help", "-k -f -a -s <DIR>"),
        ("sslm-tlsa-hash", "-h", "[DIR]"),
    ] {
        let help = run(program, &words(arguments)).unwrap();
        assert!(help.starts_with("help: ") && help.contains(&format!("Usage: {program}")), "{help}");
        for option in words(named) {
            assert!(help.contains(option), "{program} {arguments}: {option}: {help}");
        }
    }
    assert!(!run("sslm-mgr", &["-h"]).unwrap().contains("--ntoc"), "dev's are dev's");
}

#[test]
fn other_names_are_not_ours() {
    for name in ["reseed", "sslm-auth-hook", "sslm-cert-expiry", "sslm", "", "SSLM-MGR", "sslm-mgr "] {
        assert_eq!(translate(name, &[]), None, "{name:?}");
    }
}

/// Shortening never makes one option another.
#[test]
fn a_beginning_means_the_whole_or_nothing() {
    let mut command = sslm_mgr::Developer::command();
    command.build();
    let long: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    let aliases = command.get_arguments().filter_map(clap::Arg::get_all_aliases).flatten();
    let whole_names: Vec<&str> = long.iter().copied().chain(aliases).collect();
    let mut unique = 0;
    for name in &long {
        let value = if ["min-roll-mins", "clean-keep"].contains(name) { "=7" } else { "" };
        let whole = run("sslm-mgr", &["dev", "-roll", &format!("--{name}{value}")]);
        assert!(whole.is_ok(), "{name}: {whole:?}");
        for begun in (1..name.len()).map(|end| &name[..end]).filter(|begun| !whole_names.contains(begun)) {
            let read = run("sslm-mgr", &["dev", "-roll", &format!("--{begun}{value}")]);
            if long.iter().filter(|other| other.starts_with(begun)).count() == 1 {
                unique += 1;
                assert_eq!(read, whole, "--{begun} for --{name}");
            } else {
                assert!(read.is_err(), "--{begun}: {read:?}");
            }
        }
    }
    assert!(unique > 90, "{unique}");
}

#[test]
fn nothing_panics_whatever_it_is_given() {
    const PIECES: [&str; 28] = [
        "-",
        "--",
        "=",
        "dev",
        "re",
        "new",
        "roll",
        "-mins",
        "clean",
        "keep",
        "all",
        "s",
        "v",
        "f",
        "d",
        "n",
        "k",
        "a",
        "7",
        "-1",
        "99999999999999999999999",
        "ü",
        "\u{301}",
        "\0",
        "\n",
        " ",
        "ca:",
        "example.com",
    ];
    let mut state = 1_u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut understood, mut refused) = (0, 0);
    for round in 0..4000 {
        let arguments: Vec<String> =
            (0..draw(5)).map(|_| (0..draw(5)).map(|_| PIECES[draw(PIECES.len())]).collect()).collect();
        let program = ["sslm-mgr", "sslm-info", "sslm-verify", "sslm-dhparm", "sslm-tlsa-hash"][round % 5];
        match translate(program, &arguments).unwrap() {
            Ok(Translation::Run(lines)) => {
                understood += 1;
                assert!(!lines.is_empty() && lines.iter().all(|line| !line.is_empty()), "{arguments:?}");
            }
            Ok(Translation::Print(text)) => assert!(!text.is_empty()),
            Err(usage) => {
                refused += 1;
                assert!(!usage.to_string().is_empty());
            }
        }
    }
    assert!(understood > 500 && refused > 500, "{understood} understood, {refused} refused");
}
