//! The two sites of the lab: which port shows which file, and the hooks that their administrators wrote.

use crate::machine::{Machine, Served};

/// A service as it is seen from outside.
#[derive(Debug)]
pub struct Service {
    pub unit: &'static str,
    pub port: u16,
    /// The file with the certificate that the port shows.
    pub file: &'static str,
}

/// A kind of machine.
pub struct Site {
    pub variant: &'static str,
    pub name: &'static str,
    pub services: &'static [Service],
    /// Hooks of the administrator's: name, text.
    hooks: &'static [(&'static str, &'static str)],
}

const SNAKEOIL: &str = "/etc/ssl/certs/ssl-cert-snakeoil.pem";
const CYRUS_PEM: &str = "/etc/pki/cyrus-imapd/cyrus-imapd.pem";
const SENDMAIL_PEM: &str = "/etc/mail/tls/sendmail-server.crt";

pub const APACHE: Service = Service { unit: "apache2.service", port: 443, file: SNAKEOIL };
pub const CYRUS: Service = Service { unit: "cyrus-imapd.service", port: 993, file: CYRUS_PEM };
/// Generated from a SysV script.
pub const SENDMAIL: Service = Service { unit: "sendmail.service", port: 25, file: SENDMAIL_PEM };
/// An instance of a template.
pub const STUNNEL: Service =
    Service { unit: "stunnel@lab.service", port: 9443, file: "/etc/stunnel/lab.pem" };
/// Started by its socket.
pub const TLS_ECHO: Service =
    Service { unit: "tls-echo.service", port: 8443, file: "/etc/tls-echo/tls-echo.pem" };

/// Apache, cyrus, sendmail, an instance of stunnel, and a service that its socket starts.
pub const MAIL: Site = Site {
    variant: "mail",
    name: "mail.example.com",
    services: &[
        APACHE,
        CYRUS,
        Service { unit: "cyrus-imapd.service", port: 143, file: CYRUS_PEM },
        Service { unit: "cyrus-imapd.service", port: 995, file: CYRUS_PEM },
        SENDMAIL,
        STUNNEL,
        TLS_ECHO,
    ],
    hooks: &[("stunnel", STUNNEL_HOOK), ("tls-echo", TLS_ECHO_HOOK)],
};

/// Postfix, dovecot, slapd, postgresql and stunnel by its SysV script.
pub const DIRECTORY: Site = Site {
    variant: "directory",
    name: "directory.example.com",
    services: &[
        Service { unit: "postfix@-.service", port: 465, file: SNAKEOIL },
        Service { unit: "postfix@-.service", port: 25, file: SNAKEOIL },
        Service { unit: "dovecot.service", port: 993, file: SNAKEOIL },
        Service { unit: "dovecot.service", port: 110, file: SNAKEOIL },
        Service { unit: "dovecot.service", port: 4190, file: SNAKEOIL },
        Service { unit: "slapd.service", port: 636, file: "/etc/ldap/tls/slapd.crt" },
        Service { unit: "slapd.service", port: 389, file: "/etc/ldap/tls/slapd.crt" },
        Service { unit: "postgresql@15-main.service", port: 5432, file: SNAKEOIL },
        Service { unit: "stunnel4.service", port: 9443, file: "/etc/stunnel/stunnel.pem" },
    ],
    hooks: &[("slapd", SLAPD_HOOK), ("stunnel4", STUNNEL4_HOOK)],
};

impl Site {
    /// Makes a machine of this kind, built under another name, with everything installed.
    pub fn machine(&self, name: &'static str, options: &[&str]) -> Machine {
        let machine = Machine::installed(self.variant, name, options);
        for (name, hook) in self.hooks {
            machine.write(&hook_file(name), hook);
        }
        machine
    }

    /// The text of one of its administrator's hooks.
    pub fn hook(&self, name: &str) -> &'static str {
        self.hooks.iter().find(|(known, _)| *known == name).expect("a hook of the site").1
    }

    /// Asserts of every port that it shows what is on the disk, for this name.
    pub fn serves(&self, machine: &Machine, name: &str) -> Vec<Served> {
        self.services.iter().map(|service| service.serves(machine, name)).collect()
    }

    /// The fingerprints of all files with certificates.
    pub fn fingerprints(&self, machine: &Machine) -> Vec<String> {
        self.services.iter().map(|service| machine.fingerprint(service.file)).collect()
    }
}

impl Service {
    /// Asserts that its port shows what is on the disk, for this name.
    pub fn serves(&self, machine: &Machine, name: &str) -> Served {
        let served = machine.served(name, self.port);
        assert!(served.matches, "port {} is not {name}: {served:?}", self.port);
        let on_disk = machine.fingerprint(self.file);
        assert_eq!(served.fingerprint, on_disk, "port {} does not show {}", self.port, self.file);
        served
    }
}

/// Where an administrator has a hook of this name.
pub fn hook_file(name: &str) -> String {
    format!("/etc/reseed/hooks.d/{name}.toml")
}

const STUNNEL_HOOK: &str = r#"version = 1
description = "stunnel's instances"
[applies]
files = ["/etc/stunnel/lab.conf"]
[[certificate]]
[[certificate.file]]
path = "/etc/stunnel/lab.pem"
holds = ["key", "certificate"]
mode = "0600"
[[unit]]
name = "stunnel@*.service"
change = "restart"
"#;

const TLS_ECHO_HOOK: &str = r#"version = 1
description = "a service that its socket starts"
[applies]
files = ["/etc/tls-echo/tls-echo.conf"]
[[certificate]]
[[certificate.file]]
path = "/etc/tls-echo/tls-echo.pem"
holds = ["key", "certificate"]
mode = "0600"
[[unit]]
name = "tls-echo.service"
change = "restart"
"#;

const SLAPD_HOOK: &str = r#"version = 1
description = "OpenLDAP's server"
[applies]
files = ["/etc/ldap/slapd.d/cn=config.ldif"]
[[certificate]]
[[certificate.file]]
path = "/etc/ldap/tls/slapd.key"
holds = ["key"]
owner = "openldap"
group = "openldap"
mode = "0600"
[[certificate.file]]
path = "/etc/ldap/tls/slapd.crt"
holds = ["certificate"]
mode = "0644"
[[unit]]
name = "slapd.service"
change = "restart"
"#;

const STUNNEL4_HOOK: &str = r#"version = 1
description = "stunnel by its SysV script"
[applies]
files = ["/etc/stunnel/lab.conf"]
[[certificate]]
[[certificate.file]]
path = "/etc/stunnel/stunnel.pem"
holds = ["key", "certificate"]
mode = "0600"
[[unit]]
name = "stunnel4.service"
change = "restart"
"#;
