//! Fragments as packages' scripts have them, and what a census says of each.

use super::*;
use crate::hook::manifest;

fn script(text: &str) -> Script {
    Script { package: "demo".into(), name: "postinst".into(), text: text.into() }
}

/// What is made, and where.
fn seen(text: &str) -> Vec<(Made, String)> {
    let paths = |finding: &Finding| {
        finding.paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" ")
    };
    findings(&[script(text)]).iter().map(|finding| (finding.makes, paths(finding))).collect()
}

#[test]
fn what_makes_something() {
    use Made::{Certificate, Identifier, Key, Secret};
    let cases: [(&str, &str, Made, &str); 32] = [
        (
            "a self-signed certificate",
            "if [ ! -f /etc/demo/c.pem ]; then\n  openssl req -new -x509 -days 365 -nodes \\\n    -out /etc/demo/c.pem -keyout /etc/demo/k.pem >/dev/null 2>&1 <<EOF\n--\nState\nEOF\nfi",
            Certificate,
            "/etc/demo/c.pem /etc/demo/k.pem",
        ),
        (
            "its path in a variable",
            "D=/etc/pki\nC=\"$D/tls/a.crt\"\nopenssl req -x509 -out ${C} -config /etc/a.cnf",
            Certificate,
            "/etc/pki/tls/a.crt",
        ),
        ("signed by itself", "openssl x509 -req -in r -signkey k -out /etc/c.pem", Certificate, "/etc/c.pem"),
        (
            "a key by redirection",
            "umask 077; openssl genrsa -rand /proc/cpuinfo 2048 > /etc/demo/key 2>/dev/null",
            Key,
            "/etc/demo/key",
        ),
        ("an absolute program", "/usr/bin/openssl genpkey -algorithm RSA -out /etc/k", Key, "/etc/k"),
        (
            "after then",
            "if true; then openssl ecparam -genkey -name prime256v1 -out /etc/k; fi",
            Key,
            "/etc/k",
        ),
        (
            "behind !",
            "if ! sscg --cert-file=/etc/c --cert-key-file /etc/k; then exit 1; fi",
            Certificate,
            "/etc/c /etc/k",
        ),
        ("snakeoil", "make-ssl-cert generate-default-snakeoil --force-overwrite", Certificate, ""),
        ("GnuTLS", "certtool --generate-privkey --outfile /etc/k", Certificate, "/etc/k"),
        (
            "host keys",
            "create() { local file=$1; shift\n ssh-keygen -q -f \"$file\" -N '' \"$@\"; }",
            Key,
            "",
        ),
        ("all host keys", "[ -e /etc/ssh/x ] || ssh-keygen -A", Key, ""),
        ("dropbear", "dropbearkey -t rsa -f /etc/dropbear/k", Key, "/etc/dropbear/k"),
        ("rndc", "rndc-confgen -a -c /etc/rndc.key -A hmac-sha256 >/dev/null", Key, "/etc/rndc.key"),
        (
            "as another user",
            "su -s /bin/sh -c 'umask 077; dd if=/dev/urandom of=/var/lib/d/cookie bs=1 count=20' demo",
            Secret,
            "",
        ),
        ("through runuser", "runuser -u demo -- openssl rand -hex 32 >/var/lib/d/s", Secret, "/var/lib/d/s"),
        (
            "in an echo",
            "echo \"secret = $(openssl rand -base64 24)\" >> /etc/demo.conf",
            Secret,
            "/etc/demo.conf",
        ),
        ("in a variable", "PASS=`pwgen -s 16 1`", Secret, ""),
        (
            "in an environment",
            "LC_ALL=C tr -dc a-z </dev/urandom | head -c 20 > /etc/demo/pw",
            Secret,
            "/etc/demo/pw",
        ),
        ("into tee", "head -c 32 /dev/urandom | base64 | tee /etc/demo/s >/dev/null", Secret, "/etc/demo/s"),
        ("dd", "dd if=/dev/random of=/etc/munge/munge.key bs=1 count=1024", Secret, "/etc/munge/munge.key"),
        ("cookie", "mcookie > /var/lib/demo/cookie", Secret, "/var/lib/demo/cookie"),
        ("sasl", "echo $x | saslpasswd2 -p -c demo", Secret, ""),
        ("Python", "python3 -c 'import secrets; print(secrets.token_hex())' > /etc/s", Secret, "/etc/s"),
        ("a uuid", "[ -s /etc/demo/id ] || uuidgen > /etc/demo/id", Identifier, "/etc/demo/id"),
        ("D-Bus", "dbus-uuidgen --ensure", Identifier, ""),
        (
            "iSCSI",
            "echo \"InitiatorName=`iscsi-iname`\" >/etc/iscsi/initiatorname.iscsi",
            Identifier,
            "/etc/iscsi/initiatorname.iscsi",
        ),
        ("a keystore", "keytool -genkeypair -keystore /etc/demo/ks -storepass changeit", Key, "/etc/demo/ks"),
        ("NSS", "certutil -S -d /etc/pki/nssdb -n s -x", Key, "/etc/pki/nssdb"),
        ("gpg", "gpg --homedir /var/lib/d --batch --gen-key params", Key, "/var/lib/d"),
        ("eval", "eval \"openssl genrsa -out /etc/k 2048\"", Key, ""),
        ("in a subshell", "(umask 077 && wg genkey > /etc/wireguard/k)", Key, "/etc/wireguard/k"),
        ("in a case", "case $1 in\nconfigure)\n  sscg -q ;;\nesac", Certificate, ""),
    ];
    for (case, text, makes, paths) in cases {
        assert_eq!(seen(text), [(makes, paths.to_owned())], "{case}");
    }
}

#[test]
fn what_makes_nothing() {
    let cases = [
        ("a comment", "# openssl req -x509 -out /etc/c.pem\ntrue # ssh-keygen -A"),
        ("advice", "echo \"Run: openssl req -new -x509 -out /etc/c.pem\""),
        ("advice in single quotes", "printf '%s\\n' 'use $(openssl rand -hex 8)'"),
        ("a here-document", "cat >&2 <<'EOF'\nssh-keygen -A\nopenssl genrsa 2048\nEOF"),
        ("debconf", "db_input high make-ssl-cert/hostname || true\ndb_get demo/ssh-keygen"),
        (
            "is it there",
            "command -v openssl >/dev/null && which sscg && type ssh-keygen && [ -x /usr/bin/uuidgen ]",
        ),
        ("a fingerprint", "ssh-keygen -l -f /etc/ssh/k.pub; ssh-keygen -lf /etc/k; ssh-keygen -y -f /etc/k"),
        ("a hash", "openssl x509 -noout -hash -in /etc/c.pem; openssl version; openssl verify x"),
        ("parameters", "openssl dhparam -out /etc/dh.pem 2048"),
        ("an alternative", "update-alternatives --install /usr/bin/ssh-keygen ssh-keygen /usr/lib/k 1"),
        ("removal", "rm -f /etc/ssh/ssh_host_rsa_key; shred -u --random-source=/dev/urandom /etc/k"),
        ("to the pool", "cat /var/lib/seed > /dev/urandom; dd if=/var/lib/seed of=/dev/urandom"),
        ("a device", "[ -c /dev/urandom ] || mknod /dev/urandom c 1 9; chmod 666 /dev/random"),
        ("a function's name", "ssh_keygen_wrapper() { true; }"),
        ("a certificate is listed", "certutil -L -d /etc/pki/nssdb; keytool -list"),
        ("a message over lines", "echo \"first\nopenssl rand -hex 8\n\""),
        ("the identifier is asked for", "id=$(dbus-uuidgen --get); systemd-machine-id-setup --print"),
        ("Python", "python3 -c 'import sys; print(sys.version)'"),
        ("empty", ""),
    ];
    for (case, text) in cases {
        assert_eq!(seen(text), [], "{case}");
    }
}

#[test]
fn what_is_shown_is_short_and_plain() {
    let text = format!("openssl rand -hex 8 '\u{1b}[2J' {}", "x".repeat(500));
    let found = findings(&[script(&text)]);
    assert!(found[0].command.chars().count() <= SHOWN + 1 && found[0].command.ends_with('…'));
    assert!(!found[0].command.contains('\u{1b}'));
    let twice = findings(&[script("uuidgen\nuuidgen"), Script { package: "a".into(), ..script("uuidgen") }]);
    let order: Vec<_> = twice.iter().map(|finding| (finding.package.as_str(), finding.line)).collect();
    assert_eq!(order, [("a", 1), ("demo", 1)], "sorted, and once each");
}

#[test]
fn hooks_of_findings() {
    let hook = |name: &str, text: &str| {
        let name = HookName::parse(name).unwrap();
        let path = PathBuf::from(format!("{name}.toml"));
        manifest::parse(name, &path, &format!("version = 1\ndescription = \"d\"\n{text}")).unwrap()
    };
    let file = "[[certificate]]\n[[certificate.file]]\npath = \"/etc/made.pem\"\nholds = [\"key\", \"certificate\"]\nmode = \"0600\"\n";
    let hooks: Catalogue = [
        hook("named", &format!("[applies]\nfiles = [\"/none\"]\n{file}")),
        hook("other", &format!("[applies]\npackages = [\"listed\"]\nfiles = [\"/usr/sbin/owned\"]\n{file}")),
    ]
    .into_iter()
    .collect();
    let files = BTreeMap::from([("owner".to_owned(), BTreeSet::from([PathBuf::from("/usr/sbin/owned")]))]);
    for (package, command, expected) in [
        ("named", "uuidgen", Some("named")),
        ("listed", "uuidgen", Some("other")),
        ("owner", "uuidgen", Some("other")),
        ("stranger", "openssl req -x509 -out /etc/made.pem", Some("named")),
        ("stranger", "openssl req -x509 -out /etc/else.pem", None),
    ] {
        let mut found = findings(&[Script { package: package.into(), ..script(command) }]);
        attribute(&mut found, &hooks, &files);
        assert_eq!(found[0].hook.as_ref().map(HookName::as_str), expected, "{package}: {command}");
    }
}
