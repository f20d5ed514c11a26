use super::*;

const WHOLE: &str = r#"# serverPKI
[Pathes]
home = /var/serverpki
db = $home/db
work = $home/work
work_tlsa = $work/TLSA
ca_cert = $db/ca_cert.pem
ca_key = ${db}/ca_key.pem
db_encryption_key = $db/db_encryption_key.pem
le_account = $db/account.json
tlsa_dns_master = ''
zone_file_root = /usr/local/etc/namedb/master/signed
dns_key = $db/dns
zone_tlsa_inc_mode = 0660
zone_tlsa_inc_uid = 53
zone_tlsa_inc_gid = 2053
zone_file_include_name = acme_challenges.inc
ddns_key_file = /usr/local/etc/namedb/dns-keys/ddns-key.conf

[X509atts]
lifetime = 375
bits = 2048
  [[names]]
  C = DE
  L = "Bad Beispiel, am See"
  O = Example
  CN = Example Local CA
  [[extensions]]

[DBAccount]
dbHost = db.example.com
dbPort = 5433
dbUser = serverPKI
dbDbaUser = ''
dbSslRequired = yes
dbDatabase = pki_db
dbSearchPath = pki, dd, public
dbCert = /etc/db.crt
dbCertKey = /etc/db.key

[Misc]
SSH_CLIENT_USER_NAME = root
LE_SERVER = https://acme-v02.api.letsencrypt.org/directory
LE_EMAIL = hostmaster@example.com
LE_ZONE_UPDATE_METHOD = ddns
LOCAL_CA_BITS = 4096
LOCAL_CA_LIFETIME = 3680
SUBJECT_LOCAL_CA = Local CA
SUBJECT_LE_CA = Lets Encrypt CA
PRE_PUBLISH_TIMEDELTA = 30
LOCAL_ISSUE_MAIL_TIMEDELTA = 31
MAIL_RELAY = mail.example.com:587
MAIL_SUBJECT = Local certificates
MAIL_SENDER = pki@example.com
MAIL_RECIPIENT = a@example.com, b@example.com
SYSLOG_FACILITY = syslog.LOG_LOCAL6
"#;

fn told(text: &str) -> (Vec<String>, Vec<String>) {
    let reading = read(Path::new("serverpki.conf"), text);
    assert_eq!(reading.configuration.is_some(), reading.faults.is_empty());
    let all = |faults: Vec<Fault>| faults.iter().map(ToString::to_string).collect();
    (all(reading.faults), all(reading.warnings))
}

#[test]
fn a_whole_file() {
    assert_eq!(told(WHOLE), (vec![], vec![]));
    let read = read(Path::new("x"), WHOLE).configuration.unwrap();
    let expected = Configuration {
        paths: Paths {
            home: "/var/serverpki".into(),
            db: "/var/serverpki/db".into(),
            work: "/var/serverpki/work".into(),
            authority_certificate: "/var/serverpki/db/ca_cert.pem".into(),
            authority_key: "/var/serverpki/db/ca_key.pem".into(),
            passphrase: "/var/serverpki/db/db_encryption_key.pem".into(),
            account: "/var/serverpki/db/account.json".into(),
            name_server: None,
            zones: "/usr/local/etc/namedb/master/signed".into(),
            rndc_key: "/var/serverpki/db/dns".into(),
            include_name: "acme_challenges.inc".into(),
            update_key: "/usr/local/etc/namedb/dns-keys/ddns-key.conf".into(),
        },
        lifetime_days: 375,
        rsa_bits: 2048,
        subject: Subject {
            country: "DE".into(),
            locality: "Bad Beispiel, am See".into(),
            organization: "Example".into(),
            common_name: "Example Local CA".into(),
        },
        database: Database {
            host: "db.example.com".into(),
            port: 5433,
            user: "serverPKI".into(),
            name: "pki_db".into(),
            search_path: vec!["pki".into(), "dd".into(), "public".into()],
            needs_tls: true,
            certificate: Some("/etc/db.crt".into()),
            key: Some("/etc/db.key".into()),
        },
        ssh_user: "root".into(),
        acme_directory: "https://acme-v02.api.letsencrypt.org/directory".into(),
        acme_contact: Some("hostmaster@example.com".into()),
        zone_update: ZoneUpdate::Dynamic,
        authority_bits: 4096,
        authority_days: 3680,
        own_authority: "Local CA".into(),
        public_authority: "Lets Encrypt CA".into(),
        prepublish_days: 30,
        remind_days: 31,
        mail: Some(Mail {
            relay: "mail.example.com:587".into(),
            subject: Some("Local certificates".into()),
            sender: "pki@example.com".into(),
            recipients: vec!["a@example.com".into(), "b@example.com".into()],
        }),
    };
    assert_eq!(read, expected);
}

#[test]
fn other_ways_to_say_it() {
    type Check = fn(&Configuration) -> bool;
    let cases: [(&str, &str, &str, Check); 10] = [
        ("zone files", "METHOD = ddns", "METHOD = zone_file", |it| it.zone_update == ZoneUpdate::Included),
        ("no TLS", "Required = yes", "Required = False", |it| !it.database.needs_tls),
        ("one recipient", "a@example.com, b@example.com", "a@example.com", |it| {
            it.mail.as_ref().is_some_and(|mail| mail.recipients == ["a@example.com"])
        }),
        ("no mail", "MAIL_RELAY = mail.example.com:587", "MAIL_RELAY = ''", |it| it.mail.is_none()),
        ("a relay without port", "example.com:587", "example.com", |it| {
            it.mail.as_ref().is_some_and(|mail| mail.relay == "mail.example.com")
        }),
        ("no port", "dbPort = 5433\n", "", |it| it.database.port == 5432),
        ("another name server", "tlsa_dns_master = ''", "tlsa_dns_master = ns.example.com", |it| {
            it.paths.name_server.as_deref() == Some("ns.example.com")
        }),
        ("a dollar", "O = Example", "O = Ex$$ample $ 5", |it| it.subject.organization == "Ex$ample $ 5"),
        ("from the section around", "O = Example", "O = $bits", |it| it.subject.organization == "2048"),
        ("no contact", "LE_EMAIL = hostmaster@example.com", "LE_EMAIL =", |it| it.acme_contact.is_none()),
    ];
    for (case, from, to, check) in cases {
        assert!(WHOLE.contains(from), "{case}");
        let text = WHOLE.replace(from, to);
        assert_eq!(told(&text), (vec![], vec![]), "{case}");
        assert!(check(&read(Path::new("x"), &text).configuration.unwrap()), "{case}");
    }
}

#[test]
fn faults_have_their_place() {
    let cases = [
        ("a key that is missing", "dbHost = db.example.com\n", "", "30:1: [DBAccount] has no dbHost"),
        ("one that is empty", "dbHost = db.example.com", "dbHost =", "31:1: [DBAccount] has no dbHost"),
        (
            "a section that is missing",
            "[Misc]",
            "[Mist]",
            "serverpki.conf: [Misc] has no SSH_CLIENT_USER_NAME",
        ),
        ("no number", "bits = 2048", "bits = many", "22:8: \"many\" is no number from 2048 to 8192"),
        ("too small a number", "TIMEDELTA = 30", "TIMEDELTA = 6", "\"6\" is no number from 7"),
        (
            "a port too large",
            "dbPort = 5433",
            "dbPort = 65536",
            "32:10: \"65536\" is no number from 1 to 65535",
        ),
        ("no flag", "Required = yes", "Required = maybe", "35:17: \"maybe\" is neither yes nor no"),
        ("no method", "METHOD = ddns", "METHOD = hand", "\"hand\" is no way to change zones"),
        ("a country too long", "C = DE", "C = Germany", "24:7: \"Germany\" is no country"),
        ("a comma without quotes", "O = Example", "O = Example, Inc.", "26:7: O is one text"),
        (
            "a path that begins nowhere",
            "home = /var/serverpki",
            "home = var",
            "3:8: \"var\" is no whole path",
        ),
        (
            "what refers to nothing",
            "work = $home/work",
            "work = $hone/work",
            "refers to \"hone\", which is not there; did you mean \"home\"?",
        ),
        ("what refers to itself", "home = /var/serverpki", "home = /var/$db", "refers to itself"),
        ("no URL", "https://acme", "http://acme", "is no URL that begins with https://"),
        ("a certificate without key", "dbCertKey = /etc/db.key\n", "", "\"/etc/db.crt\" has no key with it"),
        ("no relay", "example.com:587", "example.com:smtp", "is no HOST and no HOST:PORT"),
        ("a relay for nobody", "MAIL_SENDER = pki@example.com\n", "", "relays nothing without MAIL_SENDER"),
        ("a directory in a name", "= acme_challenges.inc", "= ../x", "is no name of a file"),
        ("a line of nothing", "bits = 2048", "bits 2048", "22:1: this is no \"[section]\""),
        ("a key twice", "bits = 2048", "bits = 2048\nbits = 4096", "23:1: \"bits\" is there twice"),
    ];
    for (case, from, to, expected) in cases {
        assert!(WHOLE.contains(from), "{case}");
        let (faults, _) = told(&WHOLE.replace(from, to));
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{case}: {faults:#?}");
        assert!(faults.iter().all(|fault| fault.starts_with("serverpki.conf:")), "{case}: {faults:#?}");
    }
}

#[test]
fn what_is_unknown_is_told() {
    let cases = [
        (
            "a misspelt key",
            "lifetime = 375",
            "lifetime = 375\nlifetme = 3",
            "22:1: unknown key \"lifetme\" in [X509atts], which is ignored; did you mean \"lifetime\"?",
        ),
        (
            "a key of another section",
            "bits = 2048",
            "bits = 2048\ndbHost = x",
            "unknown key \"dbHost\" in [X509atts], which is ignored",
        ),
        (
            "a misspelt section",
            "[Misc]",
            "[Mics]\nx = y\n[Misc]",
            "unknown section \"Mics\", which is ignored; did you mean \"Misc\"?",
        ),
        ("a section in another", "[DBAccount]", "[[more]]\n[DBAccount]", "unknown section \"X509atts.more\""),
        ("before any section", "[Pathes]", "x = y\n[Pathes]", "2:1: unknown key \"x\" before any section"),
    ];
    for (case, from, to, expected) in cases {
        let (faults, warnings) = told(&WHOLE.replacen(from, to, 1));
        assert!(faults.is_empty(), "{case}: {faults:?}");
        assert!(warnings.len() == 1 && warnings[0].contains(expected), "{case}: {warnings:#?}");
    }
    let extensions = WHOLE.replace("[[extensions]]", "[[extensions]]\nanything = goes");
    assert_eq!(told(&extensions), (vec![], vec![]));
}

#[test]
fn references_do_not_explode() {
    let mut text = WHOLE.replace("home = /var/serverpki", "home = /$a0");
    let doubling: String = (0..15).map(|at| format!("a{at} = $a{0}$a{0}\n", at + 1)).collect();
    text = text.replace("db = $home/db", &format!("{doubling}a15 = xxxxxxxx\ndb = $home/db"));
    let (faults, _) = told(&text);
    assert!(faults.iter().any(|fault| fault.contains("too long")), "{faults:#?}");
}
