//! Configurations of the shapes that the packages install, and of shapes that nobody should.

use super::super::tests::{Tree, complaints, shown};
use super::super::{MAX_DEPTH, MAX_PROBLEMS, Program, Readout, read};
use super::envvars::shell_value;
use super::syntax::words;
use std::path::Path;

const CONF: &str = "/etc/httpd/conf/httpd.conf";
const SITE: &str = "/etc/httpd/conf.d/a.conf";

/// Fedora's layout, shortened.
const FEDORA: [(&str, &str); 5] = [
    (
        CONF,
        "# main\nServerRoot \"/etc/httpd\"\nListen 80\nInclude conf.modules.d/*.conf\nIncludeOptional conf.d/*.conf\n",
    ),
    ("/etc/httpd/conf.modules.d/00-ssl.conf", "LoadModule ssl_module modules/mod_ssl.so\n"),
    ("/etc/httpd/conf.d/README", "SSLEngine on\nSSLCertificateFile /not/read\n"),
    ("/etc/httpd/conf.d/.hidden.conf", "SSLEngine on\nSSLCertificateFile /not/read\n"),
    (
        "/etc/httpd/conf.d/ssl.conf",
        "Listen 443 https\n<VirtualHost _default_:443>\n#ServerName www.example.com:443\nSSLEngine on\n\
         SSLCertificateFile /etc/pki/tls/certs/localhost.crt\n\
         SSLCertificateKeyFile /etc/pki/tls/private/localhost.key\n\
         #SSLCertificateChainFile /etc/pki/tls/certs/server-chain.crt\n\
         <FilesMatch \"\\.(cgi|php)$\">\n    SSLOptions +StdEnvVars\n</FilesMatch>\n</VirtualHost>\n",
    ),
];

const DEBIAN_CONF: &str = "/etc/apache2/apache2.conf";

/// Debian's layout, shortened.
const DEBIAN: [(&str, &str); 7] = [
    (
        DEBIAN_CONF,
        "#ServerRoot \"/etc/apache2\"\nDefaultRuntimeDir ${APACHE_RUN_DIR}\nIncludeOptional mods-enabled/*.load\n\
         IncludeOptional mods-enabled/*.conf\nInclude ports.conf\nIncludeOptional conf-enabled/*.conf\n\
         IncludeOptional sites-enabled/*.conf\n",
    ),
    (
        "/etc/apache2/envvars",
        "unset HOME\nexport APACHE_RUN_DIR=/var/run/apache2$SUFFIX\nexport APACHE_TLS=\"/srv/tls\"\n",
    ),
    ("/etc/apache2/ports.conf", "Listen 80\n<IfModule ssl_module>\n\tListen 443\n</IfModule>\n"),
    ("/etc/apache2/mods-enabled/ssl.load", "LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so\n"),
    (
        "/etc/apache2/sites-enabled/000-default.conf",
        "<VirtualHost *:80>\n\tDocumentRoot /var/www/html\n</VirtualHost>\n",
    ),
    (
        "/etc/apache2/sites-enabled/default-ssl.conf",
        "<IfModule mod_ssl.c>\n<VirtualHost *:443>\n\tSSLEngine on\n\
         \tSSLCertificateFile      /etc/ssl/certs/ssl-cert-snakeoil.pem\n\
         \tSSLCertificateKeyFile   /etc/ssl/private/ssl-cert-snakeoil.key\n</VirtualHost>\n</IfModule>\n",
    ),
    (
        "/etc/apache2/sites-enabled/shop.conf",
        "<VirtualHost *:443>\n\tServerName https://shop.example.org:443\n\tServerAlias example.org\n\tSSLEngine on\n\
         \tSSLCertificateFile ${APACHE_TLS}/shop.pem\n</VirtualHost>\n",
    ),
];

fn read_at(config: &str, files: &[(&str, &str)]) -> Readout {
    read(Program::Httpd, Path::new(config), &Tree::new(files))
}

#[test]
fn reads_fedoras_layout() {
    let readout = read_at(CONF, &FEDORA);
    assert_eq!(
        shown(&readout),
        ["_default_:443: /etc/pki/tls/certs/localhost.crt /etc/pki/tls/private/localhost.key \
          @/etc/httpd/conf.d/ssl.conf:5"]
    );
    assert_eq!(readout.readings[0].directive.name, "SSLCertificateFile");
    assert_eq!(readout.readings[0].key_directive.as_ref().map(|key| key.line), Some(6));
    assert!(readout.problems.is_empty(), "{:?}", readout.problems);
}

#[test]
fn reads_debians_layout() {
    let readout = read_at(DEBIAN_CONF, &DEBIAN);
    assert_eq!(
        shown(&readout),
        [
            "*:443: /etc/ssl/certs/ssl-cert-snakeoil.pem /etc/ssl/private/ssl-cert-snakeoil.key \
             @/etc/apache2/sites-enabled/default-ssl.conf:4",
            "*:443 shop.example.org example.org: /srv/tls/shop.pem /srv/tls/shop.pem \
             @/etc/apache2/sites-enabled/shop.conf:5",
        ]
    );
    assert!(readout.problems.is_empty(), "{:?}", readout.problems);
}

#[test]
fn without_mod_ssl_its_sections_do_not_count() {
    let mut files = DEBIAN.to_vec();
    files.retain(|(path, _)| !path.ends_with("ssl.load") && !path.ends_with("shop.conf"));
    assert!(read_at(DEBIAN_CONF, &files).readings.is_empty());
}

/// Reads one text as the whole configuration; `{}` in it stands for a complete host's certificate.
fn read_text(text: &str) -> Readout {
    read_at(CONF, &[(CONF, &text.replace("{}", "SSLEngine on\nSSLCertificateFile"))])
}

#[test]
fn understands_the_forms_of_a_directive() {
    let at = |line: usize, file: &str| format!("*: {file} {file} @{CONF}:{line}");
    for (name, text, expected) in [
        ("plain", "SSLEngine on\nSSLCertificateFile /a", at(2, "/a")),
        ("case and blanks", "  sslengine ON\n\tSSLCERTIFICATEFILE\t /a  ", at(2, "/a")),
        ("optional", "SSLEngine optional\nSSLCertificateFile /a", at(2, "/a")),
        ("relative to ServerRoot", "{} conf/a.crt", at(2, "/etc/httpd/conf/a.crt")),
        ("another ServerRoot", "ServerRoot /srv\n{} a.crt", at(3, "/srv/a.crt")),
        ("dots", "{} /etc/./pki/../a.crt", at(2, "/etc/a.crt")),
        ("double quotes", "{} \"/a b\\\"c\"", at(2, "/a b\"c")),
        ("single quotes", "{} '/a b'", at(2, "/a b")),
        ("backslashes", "{} /a\\\\b\\c", at(2, "/a\\b\\c")),
        ("no trailing comments", "{} /a #b", at(2, "/a")),
        ("continued", "# a \\\n comment\n{} \\\n  /a", at(4, "/a")),
        ("from windows", "{} \\\r\n /a\r\n", at(2, "/a")),
        ("variable", "Define dir /tls\nDefine full ${dir}/x\n{} ${full}/a", at(4, "/tls/x/a")),
        ("variable in quotes", "Define dir \"/t l\"\n{} \"${dir}/a\"", at(3, "/t l/a")),
    ] {
        let readout = read_text(text);
        assert_eq!(shown(&readout), [expected], "{name}");
        assert!(readout.problems.is_empty(), "{name}: {:?}", readout.problems);
    }
}

#[test]
fn follows_conditions() {
    for (name, text, counts) in [
        ("defined", "Define X\n<IfDefine X>\n{} /a\n</IfDefine>", true),
        ("defined with a value", "Define X off\n<IfDefine X>\n{} /a\n</IfDefine>", true),
        ("not defined", "<IfDefine X>\n{} /a\n</IfDefine>", false),
        ("negated", "<IfDefine !X>\n{} /a\n</IfDefine>", true),
        ("undefined again", "Define X\nUnDefine X\n<IfDefine X>\n{} /a\n</IfDefine>", false),
        ("defined too late", "<IfDefine X>\n{} /a\n</IfDefine>\nDefine X", false),
        ("no mod_ssl", "<IfModule mod_ssl.c>\n{} /a\n</IfModule>", false),
        ("no mod_ssl, negated", "<IfModule !ssl_module>\n{} /a\n</IfModule>", true),
        ("mod_ssl", "LoadModule ssl_module m.so\n<ifmodule mod_ssl.c>\n{} /a\n</IFMODULE>", true),
        ("another module", "<IfModule mod_http2.c>\n{} /a\n</IfModule>", true),
        ("another module, negated", "<IfModule !mod_http2.c>\n{} /a\n</IfModule>", false),
        ("version", "<IfVersion >= 2.4>\n{} /a\n</IfVersion>", true),
        ("file", "<IfFile conf/httpd.conf>\n{} /a\n</IfFile>", true),
        ("directory", "<IfFile \"conf\">\n{} /a\n</IfFile>", true),
        ("no file", "<IfFile /none>\n{} /a\n</IfFile>", false),
        ("no file, negated", "<IfFile !/none>\n{} /a\n</IfFile>", true),
        (
            "within one that does not count",
            "<IfDefine X>\n<IfVersion 2>\n{} /a\n</IfVersion>\n</IfDefine>",
            false,
        ),
        (
            "defines do not count either",
            "<IfDefine X>\nDefine Y\n</IfDefine>\n<IfDefine Y>\n{} /a\n</IfDefine>",
            false,
        ),
        ("behind one that does not count", "<IfDefine X>\n</IfDefine>\n{} /a", true),
    ] {
        let readout = read_text(text);
        assert_eq!(readout.readings.len(), usize::from(counts), "{name}");
        assert!(readout.problems.is_empty(), "{name}: {:?}", readout.problems);
    }
}

#[test]
fn knows_what_each_virtual_host_serves() {
    let cases: [(&str, &str, &[&str]); 12] = [
        ("off", "<VirtualHost *:443>\nSSLEngine off\nSSLCertificateFile /a\n</VirtualHost>", &[]),
        (
            "two kinds of key",
            "<VirtualHost *:443>\nSSLEngine on\nSSLCertificateFile /rsa.crt\nSSLCertificateFile /ec.crt\n\
          SSLCertificateKeyFile /rsa.key\nSSLCertificateKeyFile /ec.key\n</VirtualHost>",
            &["*:443: /rsa.crt /rsa.key @F:3", "*:443: /ec.crt /ec.key @F:4"],
        ),
        (
            "second key in its certificate's file",
            "{} /rsa.crt\nSSLCertificateFile /ec.pem\nSSLCertificateKeyFile /rsa.key",
            &["*: /rsa.crt /rsa.key @F:2", "*: /ec.pem /ec.pem @F:3"],
        ),
        ("chain", "{} /a\nSSLCertificateChainFile /ca", &["*: /a /a /ca @F:2"]),
        (
            "several addresses",
            "<VirtualHost 192.0.2.1:443 [2001:db8::1]:443 >\nServerName a.example\n{} /a\n</VirtualHost>",
            &["192.0.2.1:443 [2001:db8::1]:443 a.example: /a /a @F:4"],
        ),
        (
            "inherited certificate",
            "SSLCertificateFile /a\nSSLCertificateKeyFile /k\nSSLCertificateChainFile /ca\n\
          <VirtualHost *:443>\nSSLEngine on\n</VirtualHost>\n<VirtualHost *:80>\n</VirtualHost>",
            &["*:443: /a /k /ca @F:1"],
        ),
        (
            "inherited, set further down",
            "<VirtualHost *:443>\nSSLEngine on\n</VirtualHost>\nSSLCertificateFile /a",
            &["*:443: /a /a @F:4"],
        ),
        (
            "inherited engine",
            "{} /a\n<VirtualHost *:443>\nSSLCertificateFile /b\n</VirtualHost>\n\
          <VirtualHost *:80>\nSSLEngine off\n</VirtualHost>",
            &["*: /a /a @F:2", "*:443: /b /b @F:4"],
        ),
        // As mod_ssl merges: place by place, so that the inherited key goes with the host's own
        // certificate.
        (
            "own certificate, inherited key",
            "SSLCertificateFile /a\nSSLCertificateKeyFile /k\nSSLCertificateFile /a2\n\
          <VirtualHost *:443>\n{} /b\n</VirtualHost>",
            &["*:443: /b /k @F:6", "*:443: /a2 /a2 @F:3"],
        ),
        (
            "on by the port",
            "Listen 443\n<VirtualHost *:443>\nSSLCertificateFile /a\n</VirtualHost>",
            &["*:443: /a /a @F:3"],
        ),
        (
            "on by the protocol",
            "<VirtualHost *:8443>\nSSLCertificateFile /a\n</VirtualHost>\nListen [::]:8443 https",
            &["*:8443: /a /a @F:2"],
        ),
        (
            "off in spite of the port",
            "Listen 443\n<VirtualHost *:443>\nSSLEngine off\nSSLCertificateFile /a\n</VirtualHost>",
            &[],
        ),
    ];
    for (name, text, expected) in cases {
        let readout = read_text(text);
        let expected: Vec<_> = expected.iter().map(|line| line.replace("@F", &format!("@{CONF}"))).collect();
        assert_eq!(shown(&readout), expected, "{name}");
        assert!(readout.problems.is_empty(), "{name}: {:?}", readout.problems);
    }
}

#[test]
fn says_what_it_does_not_understand() {
    for (name, text, line, message) in [
        (
            "never switched on",
            "<VirtualHost *:443>\nSSLCertificateFile /a\n</VirtualHost>",
            2,
            "is not served: nothing switches SSLEngine on for this virtual host",
        ),
        (
            "token",
            "{} pkcs11:object=a",
            2,
            "SSLCertificateFile: 'pkcs11:object=a' is in a token, not in a file",
        ),
        ("builtin", "{} builtin", 2, "SSLCertificateFile: 'builtin' is no file"),
        (
            "undefined",
            "{} ${no}/a",
            2,
            "SSLCertificateFile: '${no}/a' has a variable in it that is not defined above",
        ),
        ("no value", "{}", 2, "SSLCertificateFile: names no file"),
        (
            "out of the root",
            "{} ../../../a",
            2,
            "SSLCertificateFile: '../../../a' leads out of the file system",
        ),
        ("half a switch", "SSLEngine maybe", 1, "SSLEngine is on, off or optional, not 'maybe'"),
        (
            "macro",
            "<Macro Site $n>\n{} /$n\n</Macro>\nUse Site a",
            5,
            "macro 'Site' is not understood: certificates that it names are not seen",
        ),
        (
            "command for OpenSSL",
            "SSLOpenSSLConfCmd Certificate /a",
            1,
            "SSLOpenSSLConfCmd is not understood: use SSLCertificateFile",
        ),
        (
            "never closed",
            "<Directory />\n<VirtualHost *:80>\n</VirtualHost>",
            1,
            "<directory> is never closed",
        ),
        ("never opened", "</VirtualHost>", 1, "</virtualhost> closes nothing that is open here"),
        (
            "nested",
            "<VirtualHost a:1>\n<VirtualHost b:2>\n{} /a\n</VirtualHost>\n</VirtualHost>",
            2,
            "a <VirtualHost> within another, ignoring it",
        ),
        (
            "grows without end",
            "Define A aaaaaaaaaaaaaaaa\n{A}Include ${A}",
            61,
            "Include: '${A}' has a variable in it that is not defined above",
        ),
        ("no such file", "Include none.conf", 1, "Include: '/etc/httpd/none.conf' does not exist"),
        ("no match", "Include none/*.conf", 1, "Include: nothing matches 'none/*.conf'"),
        ("bad pattern", "Include conf/[a", 1, "Include: '[a': invalid range pattern"),
    ] {
        let text = text.replace("{A}", &"Define A ${A}${A}\n".repeat(59));
        let readout = read_text(&text);
        assert!(readout.readings.is_empty(), "{name}: {:?}", shown(&readout));
        let expected = format!("{CONF}:{line}: {message}");
        if name == "grows without end" {
            assert!(complaints(&readout)[0].starts_with(&format!("{CONF}:{line}: Include: ")), "{name}");
        } else {
            assert_eq!(complaints(&readout), [expected], "{name}");
        }
    }
}

#[test]
fn includes_what_httpd_includes() {
    let certificate = |name: &str| format!("SSLEngine on\nSSLCertificateFile /{name}\n");
    let cases: [(&str, &str, &[&str], &[&str]); 12] = [
        ("file", "conf.d/b.conf", &["conf.d/b.conf", "conf.d/a.conf"], &["/conf.d/b.conf"]),
        ("absolute", "/srv/a", &["/srv/a"], &["//srv/a"]),
        (
            "sorted",
            "conf.d/*.conf",
            &["conf.d/b.conf", "conf.d/a.conf"],
            &["/conf.d/a.conf", "/conf.d/b.conf"],
        ),
        ("one character", "conf.d/?.conf", &["conf.d/b.conf", "conf.d/bb.conf"], &["/conf.d/b.conf"]),
        ("set", "conf.d/[!a].conf", &["conf.d/a.conf", "conf.d/b.conf"], &["/conf.d/b.conf"]),
        (
            "set of the other form",
            "conf.d/[^a].conf",
            &["conf.d/a.conf", "conf.d/b.conf"],
            &["/conf.d/b.conf"],
        ),
        ("hidden", "conf.d/*", &["conf.d/.a", "conf.d/b"], &["/conf.d/b"]),
        ("hidden on purpose", "conf.d/.*", &["conf.d/.a", "conf.d/b"], &["/conf.d/.a"]),
        ("directories", "*.d/*/s.conf", &["a.d/x/s.conf", "a.d/y", "b.d/x/t.conf"], &["/a.d/x/s.conf"]),
        ("everything below", "conf.d", &["conf.d/z/a", "conf.d/b~"], &["/conf.d/b~", "/conf.d/z/a"]),
        ("everything below matches", "conf.*", &["conf.d/z/a", "conf.x"], &["/conf.d/z/a", "/conf.x"]),
        ("stars", "conf.d/**.conf", &["conf.d/a.conf"], &["/conf.d/a.conf"]),
    ];
    for (name, include, present, expected) in cases {
        let mut tree = Tree::new(&[("/etc/my/conf/httpd.conf", &format!("Include {include}\n"))]);
        for file in present {
            tree.0.insert(Path::new("/etc/my").join(file), certificate(file));
        }
        let readout = read(Program::Httpd, Path::new("/etc/my/conf/httpd.conf"), &tree);
        let found: Vec<_> =
            readout.readings.iter().map(|reading| reading.certificate.display().to_string()).collect();
        let expected: Vec<_> = expected.iter().map(|path| path.replace("//", "/")).collect();
        assert_eq!(found, expected, "{name}");
        assert!(readout.problems.is_empty(), "{name}: {:?}", readout.problems);
    }
}

#[test]
fn an_include_within_a_virtual_host_is_part_of_it() {
    let site = "<VirtualHost *:443>\nServerName a.example\nInclude tls.inc\n</VirtualHost>\n";
    let readout =
        read_at(CONF, &[(CONF, site), ("/etc/httpd/tls.inc", "SSLEngine on\nSSLCertificateFile /a\n")]);
    assert_eq!(shown(&readout), ["*:443 a.example: /a /a @/etc/httpd/tls.inc:2"]);
    assert!(readout.problems.is_empty(), "{:?}", readout.problems);
}

#[test]
fn includes_come_to_an_end() {
    let main = "Include conf.d/a.conf\nSSLEngine on\nSSLCertificateFile /c";
    for (name, included, problem) in [
        (
            "unreadable",
            "!permission denied",
            Some(format!("{CONF}:1: Include: '{SITE}' cannot be read: permission denied")),
        ),
        ("junk", "\u{1}\0", Some(format!("{CONF}:1: Include: '{SITE}' is not text"))),
        (
            "in a circle",
            "Include conf/httpd.conf",
            Some(format!("{SITE}:1: Include: '{CONF}' includes itself")),
        ),
        (
            "in a circle by a wildcard",
            "Include */httpd.conf",
            Some(format!("{SITE}:1: Include: '{CONF}' includes itself")),
        ),
        ("optional and missing", "IncludeOptional none\nIncludeOptional x/*", None),
    ] {
        let readout = read_at(CONF, &[(CONF, main), (SITE, included)]);
        assert_eq!(shown(&readout), [format!("*: /c /c @{CONF}:3")], "{name}");
        assert_eq!(complaints(&readout), problem.into_iter().collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn deep_and_wide_includes_come_to_an_end() {
    // Each file includes the next one twice: two to the power of the depth, if nobody counts.
    for (name, levels, problem) in [
        ("deep", MAX_DEPTH + 2, "is included more than 20 levels deep"),
        ("wide", MAX_DEPTH - 4, "comes after 10000 files: no more are read"),
    ] {
        let mut tree = Tree::new(&[(CONF, "Include conf/1\n")]);
        for level in 1..=levels {
            let next = if level < levels {
                format!("Include conf/{0}\nInclude conf/{0}\n", level + 1)
            } else {
                String::new()
            };
            tree.0.insert(format!("/etc/httpd/conf/{level}").into(), next);
        }
        let readout = read(Program::Httpd, Path::new(CONF), &tree);
        assert!(complaints(&readout)[0].ends_with(problem), "{name}: {:?}", readout.problems.first());
        assert!(readout.problems.len() <= MAX_PROBLEMS, "{name}");
    }
}

#[test]
fn words_are_split_as_httpd_does() {
    let cases: [(&str, &str, &[&str]); 8] = [
        ("blanks", "  a\tb  ", &["a", "b"]),
        ("nothing", " ", &[]),
        ("empty quotes", "\"\" a", &["", "a"]),
        ("quotes", "\"a b\" 'c \"d\"'", &["a b", "c \"d\""]),
        ("freed quote", r#""a\"b\\c\d""#, &[r#"a"b\c\d"#]),
        ("never closed", "'a b", &["a b"]),
        ("quote within", "a\"b c\"", &["a\"b", "c\""]),
        ("right behind", "\"a\"b", &["a", "b"]),
    ];
    for (name, text, expected) in cases {
        assert_eq!(words(text), expected, "{name}");
    }
}

#[test]
fn shell_values_are_plain_or_unknown() {
    let environment = [("A".to_owned(), "x".to_owned())].into();
    for (name, value, expected) in [
        ("plain", "/run/a # comment", Some("/run/a")),
        ("empty", "", Some("")),
        ("variables", "$A-${A}$SUFFIX", Some("x-x")),
        ("double quotes", "\"a $A\"", Some("a x")),
        ("single quotes", "'a $A'", Some("a $A")),
        ("command", "$(hostname)", None),
        ("older command", "`hostname`", None),
        ("default", "${B:-b}", None),
        ("never closed", "\"a", None),
    ] {
        assert_eq!(shell_value(value, &environment).as_deref(), expected, "{name}");
    }
}

#[test]
fn every_prefix_is_read_without_panic() {
    let odd = "Include \"conf.d/[!x]*.conf\"\nDefine A '\\'é'\n{} ${A}/\\\n\"${A\"\n<IfFile !\"x\">\n</IfFile>\n<Macro x>\n";
    for (config, files) in
        [(CONF, FEDORA.as_slice()), (DEBIAN_CONF, DEBIAN.as_slice()), (CONF, &[(CONF, odd)])]
    {
        for tree in Tree::new(files).every_prefix() {
            let _ = read(Program::Httpd, Path::new(config), &tree);
        }
    }
}
