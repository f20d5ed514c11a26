//! What a hook file may say, and how each fault is told with its position.

use super::*;

const WHOLE: &str = r#"
version = 1
description = "a test"
watches = ["hostname", "domain", "addresses", "seed"]
gate = "hold"
[applies]
files = ["/etc/x.conf"]
packages = ["x"]
[[reader]]
family = ["fedora"]
program = "httpd"
config = "/etc/httpd/conf/httpd.conf"
[[certificate]]
usage = ["server", "client"]
algorithm = "rsa2048"
days = 90
names = ["short", "addresses", "www.example.com"]
[[certificate.file]]
path = "/etc/x.pem"
holds = ["key", "certificate", "chain", "dh"]
owner = "root"
group = "mail"
mode = "0640"
[[certificate.copy]]
path = "/etc/ssl/certs/x.pem"
holds = ["certificate"]
hash-link = "/etc/ssl/certs"
[[host-key]]
algorithm = "ed25519"
path = "/etc/x/ed25519_key"
[[host-key]]
family = ["fedora"]
algorithm = "rsa3072"
path = "/etc/x/rsa_key"
group = "keys"
mode = "0640"
[[secret]]
path = "/etc/x/secret"
content = "token {hex:16}\n"
unless = ["/etc/x/other"]
owner = "mail"
[[unit]]
name = "x@*.service"
change = "restart"
reads = ["/etc/y.pem"]
mentioned-in = ["/etc/z/*.conf"]
[[check]]
command = ["/usr/sbin/x", "-t"]
[[probe]]
port = 2525
protocol = "smtp"
[[probe]]
family = ["debian"]
port = 2526
protocol = "xmpp-client"
"#;

fn parse_text(text: &str) -> Result<Hook, String> {
    parse(HookName::parse("x").unwrap(), Path::new("/etc/reseed/hooks.d/x.toml"), text)
        .map_err(|fault| fault.to_string())
}

#[test]
fn everything_that_can_be_said() {
    let hook = parse_text(WHOLE).unwrap();
    assert_eq!(hook.gate, Some(Policy::Hold));
    let certificate = &hook.certificates[0];
    assert_eq!(certificate.name, "server");
    assert_eq!(certificate.files[0].mode, 0o640);
    assert_eq!(certificate.files[0].holds.len(), 4);
    assert_eq!(certificate.names.len(), 3);
    assert_eq!(certificate.copies[0].mode, 0o644);
    assert_eq!(hook.units[0].change, Verb::Restart);
    let ports: Vec<_> = hook.probes.iter().map(|probe| (probe.port, probe.protocol)).collect();
    assert_eq!(ports, [(2525, Protocol::Smtp), (2526, Protocol::XmppClient)]);
    assert_eq!((hook.host_keys[0].place.mode, hook.host_keys[1].place.mode), (0o600, 0o640));
    assert_eq!((hook.secrets[0].place.mode, hook.secrets[0].content.octets()), (0o600, 16));
}

#[test]
fn faults_have_their_position() {
    let cases = [
        ("misspelt key", "gate = \"hold\"", "gates = \"hold\"", ":5:1: unknown field"),
        ("later version", "version = 1", "version = 2", ":2:11: version 2"),
        ("unknown policy", "gate = \"hold\"", "gate = \"ban\"", ":5:8: unknown variant"),
        ("unknown facet", "\"domain\"", "\"domian\"", ":4:24: unknown variant"),
        ("unknown program", "\"httpd\"", "\"nginx\"", ":11:11: unknown variant"),
        ("climbing path", "/etc/x.pem", "/etc/../../x.pem", ":19:8: "),
        ("relative path", "\"/etc/x.pem\"", "\"x.pem\"", ":19:8: "),
        ("newline in a path", "/etc/x.pem", "/etc/x\\n.pem", ":19:8: "),
        ("key for everybody", "0640", "0644", ":23:8: a file that holds a key"),
        ("set-user-id", "0640", "4640", ":23:8: the mode"),
        ("group", "group = \"mail\"", "group = \"$(id)\"", ":22:9: "),
        ("port", "port = 2525", "port = 0", ":50:8: a port is"),
        (
            "port twice",
            "family = [\"debian\"]\nport = 2526",
            "port = 2525",
            ":53:8: port 2525 is named twice",
        ),
        ("protocol", "\"smtp\"", "\"gopher\"", ":51:12: unknown variant"),
        ("kind of host key", "\"ed25519\"", "\"dsa\"", ":29:13: unknown variant"),
        ("host key's place", "/etc/x/ed25519_key", "x", ":30:8: "),
        ("host key twice", "/etc/x/rsa_key", "/etc/x/ed25519_key", ":34:8: this file stands here twice"),
        ("secret where a key is", "/etc/x/secret", "/etc/x/rsa_key", ":38:8: this file stands here twice"),
        ("secret without anything random", "{hex:16}", "42", ":39:11: a secret holds at least 6"),
        ("secret of another form", "{hex:16}", "{oct:16}", ":39:11: {oct:16} is not"),
        ("secret for everybody", "owner = \"mail\"", "mode = \"0644\"", ":41:8: a file that holds a secret"),
        ("unit", "x@*.service", "x; reboot", ":43:8: "),
        ("command by name", "/usr/sbin/x", "x", ":48:11: the command"),
        ("lifetime", "days = 90", "days = 0", ":16:8: the lifetime"),
        ("name", "www.example.com", "www example", ":17:32: "),
        ("part twice", "\"chain\", \"dh\"", "\"dh\", \"dh\"", ":20:9: each part"),
        ("no key", "\"key\", ", "", "no [[certificate.file]] that holds its key"),
    ];
    for (case, from, to, expected) in cases {
        let text = WHOLE.replacen(from, to, 1);
        assert_ne!(text, WHOLE, "{case}: the case changes nothing");
        let fault = parse_text(&text).expect_err(case);
        assert!(fault.contains(expected), "{case}: {fault}");
    }
}

#[test]
fn one_kind_of_thing_is_enough() {
    let head = "version = 1\ndescription = \"\"\n[applies]\nfiles = [\"/x\"]\n";
    let cases = [
        ("nothing", "", false),
        ("a host key", "[[host-key]]\nalgorithm = \"ed25519\"\npath = \"/x\"\n", true),
        ("a secret", "[[secret]]\npath = \"/x\"\ncontent = \"{uuid}\"\n", true),
        (
            "a secret of each family at one place",
            "[[secret]]\nfamily = [\"debian\"]\npath = \"/x\"\ncontent = \"{uuid}\"\n\
             [[secret]]\nfamily = [\"fedora\"]\npath = \"/x\"\ncontent = \"{uuid}\"\n",
            true,
        ),
    ];
    for (case, text, good) in cases {
        assert_eq!(parse_text(&format!("{head}{text}")).is_ok(), good, "{case}");
    }
}

#[test]
fn whoever_watches_the_machine_id_watches_the_hardware() {
    let text = WHOLE.replacen("\"addresses\", \"seed\"]\ngate", "\"machine-id\"]\ngate", 1);
    assert!(parse_text(&text).unwrap().watches.contains(&Facet::Hardware));
    assert!(!parse_text(WHOLE).unwrap().watches.contains(&Facet::Hardware));
}

#[test]
fn every_prefix_is_refused_or_read_without_a_panic() {
    for end in (0..WHOLE.len()).filter(|end| WHOLE.is_char_boundary(*end)) {
        let _ = parse_text(&WHOLE[..end]);
    }
}
