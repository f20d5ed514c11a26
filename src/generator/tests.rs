use super::*;
use crate::hook::{HookName, manifest};

/// A hook with a certificate, and further lines.
fn hook(name: &str, more: &str) -> Hook {
    let text = format!(
        "version = 1\ndescription = \"x\"\n{more}\n[applies]\nfiles = [\"/x\"]\n[[certificate]]\n\
         [[certificate.file]]\npath = \"/etc/x.pem\"\nholds = [\"key\", \"certificate\"]\n"
    );
    let mut hook = manifest::parse(HookName::parse(name).unwrap(), Path::new("x"), &text).unwrap();
    hook.units = Vec::new();
    hook
}

fn with_units(mut hook: Hook, units: &[&str]) -> Hook {
    let unit = |name: &&str| crate::hook::Unit {
        name: (*name).to_owned(),
        family: Vec::new(),
        change: crate::hook::Verb::Restart,
        reads: Vec::new(),
        mentioned_in: Vec::new(),
    };
    hook.units = units.iter().map(unit).collect();
    hook
}

fn outputs(hooks: &[Hook], domain_from_dns: bool, files: &[(&str, &str)]) -> Vec<Output> {
    let families = Families::from_os_release("ID=debian\n");
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    let machine = Machine {
        hooks: hooks.iter().collect(),
        families: &families,
        domain_from_dns,
        directories: BTreeSet::new(),
        units: files.keys().map(|unit| (*unit).to_owned()).collect(),
        read: &|unit| files.get(unit).filter(|text| **text != "masked").map(|text| UnitFile::parse(text)),
    };
    generate(&machine)
}

/// A line for each drop-in: the unit, what it is after, which marks it looks for.
fn shown(outputs: &[Output]) -> Vec<String> {
    let show = |output: &Output| match output {
        Output::Wants(path) => format!("wants {}", path.display()),
        Output::File(path, text) => {
            let values = |key: &str| -> String {
                text.lines()
                    .filter_map(|line| line.strip_prefix(key))
                    .map(|value| format!(" {value}"))
                    .collect()
            };
            let unit = path.parent().unwrap().display().to_string();
            let unit = unit.trim_end_matches(".d");
            format!("{unit}:{} |{}", values("After="), values("ConditionPathExists=!/run/reseed/hold/"))
        }
    };
    outputs.iter().map(show).collect()
}

const EARLY: &str = "x.service: reseed-early.service | x.service";
const MAIN: &str = "x.service: reseed.service | x.service";
const NETWORK: &str = "x.service: reseed-network.service reseed.service | x.service";
const UNORDERED: &str = "x.service: | x.service";

#[test]
fn after_which_stage() {
    let cases = [
        ("an ordinary server", "[Unit]\nAfter=network.target\n", "", MAIN),
        ("before sysinit.target", "DefaultDependencies=no\nBefore=sysinit.target\n", "", EARLY),
        ("no default dependencies", "DefaultDependencies=no\n", "", EARLY),
        ("brings the network", "Before=network.target\n", "", EARLY),
        ("others want the network after it", "Before=network-pre.target\n", "", EARLY),
        ("cloud-init waits for it", "Before=cloud-init-network.service\n", "", EARLY),
        ("the early stage waits for it", "DefaultDependencies=no\nBefore=local-fs.target\n", "", UNORDERED),
        ("wants addresses", "", "watches = [\"addresses\"]", NETWORK),
        (
            "wants addresses, and is the resolver",
            "Before=nss-lookup.target\n",
            "watches = [\"addresses\"]",
            MAIN,
        ),
    ];
    for (case, file, more, expected) in cases {
        let hook = with_units(hook("x", more), &["x.service"]);
        let outputs = outputs(&[hook], false, &[("x.service", file)]);
        assert_eq!(shown(&outputs), [expected], "{case}");
    }
}

#[test]
fn the_network_stage_is_pulled_in_only_where_it_is_needed() {
    let files = [("x.service", ""), (NETWORK_STAGE, "")];
    let wants = "wants multi-user.target.wants/reseed-network.service";
    let cases: [(&str, &str, bool, &[&str]); 4] = [
        ("nobody asks", "", false, &[MAIN]),
        ("a hook wants addresses", "watches = [\"addresses\"]", false, &[NETWORK, wants]),
        ("the domain is in DNS", "", true, &[NETWORK, wants]),
        ("the domain is in DNS, and does not matter", "watches = [\"seed\"]", true, &[MAIN]),
    ];
    for (case, more, dns, expected) in cases {
        let hook = with_units(hook("x", more), &["x.service"]);
        assert_eq!(shown(&outputs(&[hook], dns, &files)), expected, "{case}");
    }
}

#[test]
fn which_units() {
    type Case<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: [Case<'_>; 8] = [
        ("not installed", &["x.service"], &[("y.service", "")], &[]),
        ("masked", &["x.service"], &[("x.service", "masked")], &[]),
        (
            "a template",
            &["x@*.service"],
            &[("x@.service", ""), ("x.service", "")],
            &["x@.service: reseed.service | x@.service"],
        ),
        (
            "a pattern",
            &["x-*.service"],
            &[("x-a.service", ""), ("x-b.service", ""), ("xc.service", "")],
            &["x-a.service: reseed.service | x-*.service", "x-b.service: reseed.service | x-*.service"],
        ),
        (
            "a wrapper and its instances",
            &["x.service"],
            &[("x.service", ""), ("x@.service", "PartOf=x.service\n")],
            &[MAIN, "x@.service: reseed.service | x.service"],
        ),
        (
            "a template that only has the same stem",
            &["x.service"],
            &[("x.service", ""), ("x@.service", "")],
            &[MAIN],
        ),
        (
            "what triggers it",
            &["x.service"],
            &[
                ("x.service", ""),
                ("x.socket", ""),
                ("x.timer", "Unit=y.service\n"),
                ("other.path", "Unit=x.service\n"),
                ("y.socket", ""),
            ],
            &["other.path: | x.service", MAIN, "x.socket: | x.service"],
        ),
        (
            "a socket with an instance for each connection",
            &["x@*.service"],
            &[("x@.service", ""), ("x.socket", "Accept=yes\n")],
            &["x.socket: | x@.service", "x@.service: reseed.service | x@.service"],
        ),
    ];
    for (case, units, files, expected) in cases {
        let found = outputs(&[with_units(hook("x", ""), units)], false, files);
        assert_eq!(shown(&found), expected, "{case}");
    }
}

#[test]
fn nothing_is_written_for_a_machine_without_hooks() {
    assert!(outputs(&[], true, &[("x.service", ""), (NETWORK_STAGE, "")]).is_empty());
}

#[test]
fn the_text_explains_itself() {
    let hooks = [with_units(hook("a", ""), &["x.service"]), with_units(hook("b", ""), &["x*.service"])];
    let outputs = outputs(&hooks, false, &[("x.service", "")]);
    let expected = "# Written by reseed-generator(8), anew at every boot and every `systemctl daemon-reload`.\n\
        [Unit]\nDocumentation=man:reseed(8)\n\
        # It reads certificates that are made there (hooks: a, b).\n\
        After=reseed.service\n\
        # Held back while that file is there, which says why; see also `reseed status`.\n\
        ConditionPathExists=!/run/reseed/hold/x*.service\n\
        ConditionPathExists=!/run/reseed/hold/x.service\n";
    assert_eq!(outputs, [Output::File("x.service.d/50-reseed.conf".into(), expected.into())]);
}

#[test]
fn our_own_services_may_write_where_hooks_have_their_files() {
    let mut hook = hook("x", "");
    hook.certificates[0].files[0].path = "/var/lib/some thing/50%.pem".into();
    hook.certificates[0].files[0].hash_link = Some("/var/lib/\"quoted\"".into());
    let outputs = outputs(&[hook], false, &[]);
    assert_eq!(outputs.len(), WRITERS.len());
    for output in outputs {
        let Output::File(path, text) = output else { panic!("{output:?}") };
        assert!(path.ends_with("50-reseed-paths.conf"), "{}", path.display());
        assert!(text.ends_with("[Service]\nReadWritePaths=\"-/var/lib/some thing\"\n"), "{text}");
    }
}

#[test]
fn instances_share_their_template() {
    for (unit, expected) in [
        ("httpd.service", "httpd.service"),
        ("httpd@*.service", "httpd@.service"),
        ("postfix@-.service", "postfix@.service"),
        ("cockpit.socket", "cockpit.socket"),
    ] {
        assert_eq!(mark(unit), expected);
    }
}
