//! What each service will do, in words: for somebody who checks a configuration before it acts.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::config::{AlternativeName, Configuration, Dane, DaneHosts, Service, Signing, Validation};
use super::name::ServiceName;
use super::outlook::is_askable;
use super::restarts::{Restart, restarts};
use super::schedule::Targets;
use crate::pki::Algorithm;

/// Lifetimes in days that public CAs give: for those, renewal is shown as an example.
const USUAL_LIFETIMES: [f64; 3] = [90.0, 45.0, 6.0];

/// What one service will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceOutlook {
    /// Group and service.
    pub service: ServiceName,
    /// What it is called.
    pub label: String,
    /// Renewed and rolled when nothing is named.
    pub active: bool,
    /// Names of the SAN.
    pub names: Vec<String>,
    /// Who signs it, and how.
    pub signer: String,
    /// Which key it has.
    pub key: Algorithm,
    /// How long a certificate lives, and who says so.
    pub lifetime: String,
    /// When it is renewed.
    pub renewal: String,
    /// When a new certificate takes over.
    pub roll: String,
    /// What is run afterwards, in this order.
    pub restarts: Vec<String>,
    /// Which TLSA records there are, and where they go.
    pub tlsa: Vec<String>,
    /// Which directories and hosts get it.
    pub copies: Vec<String>,
}

/// Says of every service that can be understood what it will do, in the order of names.
pub fn describe(configuration: &Configuration) -> Vec<ServiceOutlook> {
    let site = &configuration.site;
    let targets = Targets::new(&site.renew_targets, &site.renew_spreads);
    let active: BTreeSet<&ServiceName> =
        site.groups.iter().filter(|group| group.active).flat_map(|group| &group.services).collect();
    configuration
        .services
        .values()
        .filter_map(|service| {
            let signing = configuration.signing(service)?;
            Some(ServiceOutlook {
                service: service.name.clone(),
                label: service.label.clone(),
                active: active.contains(&service.name),
                names: service.alternative_names.iter().map(alternative_name).collect(),
                signer: signer(&signing),
                key: service.algorithm,
                lifetime: lifetime(&signing),
                renewal: renewal(service, &signing, &targets),
                roll: roll(configuration, service),
                restarts: commands(configuration, service),
                tlsa: tlsa(configuration, service),
                copies: copies(configuration, service),
            })
        })
        .collect()
}

fn alternative_name(name: &AlternativeName) -> String {
    match name {
        AlternativeName::Dns(name) | AlternativeName::Email(name) => name.clone(),
        AlternativeName::Address(address) => address.to_string(),
    }
}

fn signer(signing: &Signing<'_>) -> String {
    match signing {
        Signing::Itself(options) => format!("its own key, with {}", digest(options.digest)),
        Signing::Own(service, options) => format!("{}, with {}", service.name, digest(options.digest)),
        Signing::Manual(name) => {
            format!("{name}, by hand: a request goes out, `import` takes what comes back")
        }
        Signing::Acme(name, acme) => {
            let mut words = vec![format!("{name}, by ACME at {}", acme.directory)];
            words.push(match acme.validation {
                Some(Validation::Http) => "validated by http-01".into(),
                Some(Validation::Dns) => "validated by dns-01".into(),
                Some(Validation::Alpn) => "validated by tls-alpn-01".into(),
                None => "not validated".into(),
            });
            words.extend(acme.profile.iter().map(|profile| format!("profile {profile}")));
            words.extend(acme.preferred_chain.iter().map(|chain| format!("chain {chain}")));
            words.join(", ")
        }
    }
}

fn digest(digest: crate::pki::Digest) -> &'static str {
    match digest {
        crate::pki::Digest::Sha256 => "sha256",
        crate::pki::Digest::Sha384 => "sha384",
        crate::pki::Digest::Sha512 => "sha512",
    }
}

fn lifetime(signing: &Signing<'_>) -> String {
    match signing {
        Signing::Itself(options) => format!("{} days, as its own [CA] says", options.days),
        Signing::Own(signer, options) => {
            format!("{} days, as [CA] of {} says, and no longer than that lives", options.days, signer.name)
        }
        Signing::Manual(name) | Signing::Acme(name, _) => format!("as {name} decides"),
    }
}

fn renewal(service: &Service, signing: &Signing<'_>, targets: &Targets) -> String {
    let policy = targets.policy(service);
    let left = |lifetime: f64| {
        let spread = policy.spread(lifetime);
        let spread = if spread > 0.0 { format!(" (± {} days)", rounded(spread)) } else { String::new() };
        format!("{} days{spread}", rounded(policy.target(lifetime)))
    };
    let when = match signing {
        Signing::Itself(options) | Signing::Own(_, options) => {
            format!("with {} left", left(f64::from(options.days)))
        }
        Signing::Manual(_) | Signing::Acme(..) => {
            let examples: Vec<_> =
                USUAL_LIFETIMES.iter().map(|days| format!("{} left of {days}", left(*days))).collect();
            format!("with {}", examples.join(", "))
        }
    };
    if service.name.is_ca() { format!("only on demand; due {when}") } else { when }
}

/// A number of days with no more digits than anybody reads.
fn rounded(days: f64) -> f64 {
    (days * 10.0).round() / 10.0
}

fn roll(configuration: &Configuration, service: &Service) -> String {
    let least = configuration.site.roll_after_minutes;
    match super::schedule::tlsa_ttl(service) {
        Some(ttl) if is_askable(&configuration.site, service.name.group()) => {
            let held = u64::from(ttl).div_ceil(60);
            format!(
                "after {least} minutes, and {held} minutes after every name server shows its TLSA records"
            )
        }
        Some(ttl) => {
            let published = u64::from(ttl) * 2 / 60;
            format!("after {least} minutes, and {published} minutes after its TLSA records are out")
        }
        None => format!("after {least} minutes"),
    }
}

fn commands(configuration: &Configuration, service: &Service) -> Vec<String> {
    let changed = BTreeSet::from([service.name.clone()]);
    let records: BTreeSet<String> = service.dane.iter().map(|_| service.name.group().to_owned()).collect();
    restarts(&configuration.site, &changed, &records).iter().map(ToString::to_string).collect()
}

fn tlsa(configuration: &Configuration, service: &Service) -> Vec<String> {
    if service.dane.is_empty() {
        return Vec::new();
    }
    let apex = service.name.group();
    let records = service.dane.iter().map(|dane| {
        let Dane { port, protocol, usage, selector, matching, hosts } = dane;
        let hosts = match hosts {
            DaneHosts::Mx => "its mail exchangers",
            DaneHosts::Sans => "its hosts in the SAN",
        };
        format!("_{port}._{protocol} of {apex} and {hosts}: {usage} {selector} {matching}")
    });
    let places = &configuration.site.dns.tlsa_directories;
    let place = if places.is_empty() {
        "published nowhere: [dns] has no tlsa_dirs".to_owned()
    } else {
        let places: Vec<_> = places.iter().map(|place| format!("{}/tlsa.{apex}", place.display())).collect();
        format!("published as {}", places.join(", "))
    };
    records.chain([place]).collect()
}

fn copies(configuration: &Configuration, service: &Service) -> Vec<String> {
    let site = &configuration.site;
    let mut copies = vec![format!("{}/{}", site.production.display(), service.name)];
    if service.name.is_ca() {
        copies.push("without its key, which stays here".into());
    }
    let mut hosts = BTreeSet::new();
    let remote = site.servers.iter().filter(|servers| !servers.skip_copy);
    copies.extend(remote.flat_map(|servers| &servers.hosts).filter(|host| hosts.insert(*host)).cloned());
    copies
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, commands, .. } => {
                let commands: Vec<_> = commands.iter().map(|command| command.join(" ")).collect();
                write!(f, "on {host}: {}", commands.join("; "))
            }
            Self::Dns { program, domains } => write!(f, "{program} --serial_bump {}", domains.join(" ")),
        }
    }
}

impl fmt::Display for ServiceOutlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.active { "" } else { ", not active" };
        writeln!(f, "{} ({}{state})", self.service, self.label)?;
        let key = self.key.to_string();
        let mut lines = vec![
            ("signed by", &self.signer),
            ("key", &key),
            ("lives", &self.lifetime),
            ("renewed", &self.renewal),
            ("rolled", &self.roll),
        ];
        let names = self.names.join(", ");
        if !names.is_empty() {
            lines.insert(0, ("for", &names));
        }
        lines.extend(self.tlsa.iter().map(|record| ("tlsa", record)));
        lines.extend(self.copies.iter().map(|copy| ("copied to", copy)));
        lines.extend(self.restarts.iter().map(|command| ("then runs", command)));
        let mut last = "";
        for (what, line) in lines {
            let shown = if what == last { "" } else { what };
            writeln!(f, "  {shown:<9}  {line}")?;
            last = what;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::manager::load::load;
    use crate::system::root::Root;

    fn sample(name: &str) -> Vec<ServiceOutlook> {
        let manager = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manager");
        describe(&load(&Root::open(&manager).unwrap(), &Path::new("/").join(name)).unwrap())
    }

    fn of(outlooks: &[ServiceOutlook], name: &str) -> ServiceOutlook {
        outlooks.iter().find(|outlook| outlook.service.to_string() == name).unwrap().clone()
    }

    #[test]
    fn what_own_authorities_and_their_services_do() {
        let outlooks = sample("own-ca");
        let names: Vec<_> = outlooks.iter().map(|outlook| outlook.service.to_string()).collect();
        assert_eq!(
            names,
            [
                "ca/my-int",
                "ca/my-root",
                "example.com/mail-self",
                "example.com/web-self",
                "example.com/wild-self"
            ]
        );
        assert!(outlooks.iter().all(|outlook| outlook.active && outlook.restarts.is_empty()));
        assert_eq!(
            of(&outlooks, "ca/my-root").to_string(),
            "ca/my-root (Root of the example)\n\
            \x20 signed by  its own key, with sha384\n\
            \x20 key        p384\n\
            \x20 lives      3650 days, as its own [CA] says\n\
            \x20 renewed    only on demand; due with 730 days left\n\
            \x20 rolled     after 0 minutes\n\
            \x20 copied to  /own-ca/etc/prod-certs/ca/my-root\n\
            \x20            without its key, which stays here\n"
        );
        assert_eq!(
            of(&outlooks, "example.com/mail-self").to_string(),
            "example.com/mail-self (Mail of the example)\n\
            \x20 for        example.com, smtp.example.com, imap.example.com, mail.example.com\n\
            \x20 signed by  ca/my-int, with sha384\n\
            \x20 key        p384\n\
            \x20 lives      1825 days, as [CA] of ca/my-int says, and no longer than that lives\n\
            \x20 renewed    with 365 days left\n\
            \x20 rolled     after 0 minutes, and 60 minutes after its TLSA records are out\n\
            \x20 tlsa       _25._tcp of example.com and its mail exchangers: 3 1 1\n\
            \x20            _465._tcp of example.com and its hosts in the SAN: 3 1 1\n\
            \x20            _993._tcp of example.com and its hosts in the SAN: 3 1 1\n\
            \x20            published nowhere: [dns] has no tlsa_dirs\n\
            \x20 copied to  /own-ca/etc/prod-certs/example.com/mail-self\n"
        );
    }

    #[test]
    fn what_services_of_public_authorities_do() {
        let outlooks = sample("letsencrypt");
        assert_eq!(
            of(&outlooks, "example.com/mail-rsa").to_string(),
            "example.com/mail-rsa (Mail)\n\
            \x20 for        example.com, smtp.example.com, imap.example.com\n\
            \x20 signed by  le-dns, by ACME at https://acme-v02.api.letsencrypt.org/directory, validated by dns-01, \
             profile classic, chain ISRG Root X2\n\
            \x20 key        rsa4096\n\
            \x20 lives      as le-dns decides\n\
            \x20 renewed    with 30 days (± 5 days) left of 90, 30 days (± 5 days) left of 45, \
             4.5 days (± 2.3 days) left of 6\n\
            \x20 rolled     after 90 minutes, and 60 minutes after every name server shows its TLSA records\n\
            \x20 tlsa       _25._tcp of example.com and its mail exchangers: 3 1 1\n\
            \x20            _993._tcp of example.com and its hosts in the SAN: 3 1 2\n\
            \x20            published as /etc/zones/internal/include/tlsa.example.com, \
             /etc/zones/external/include/tlsa.example.com\n\
            \x20 copied to  /srv/tls/live/example.com/mail-rsa\n\
            \x20            mx1.example.com\n\
            \x20            mx2.example.com\n\
            \x20            imap.example.com\n\
            \x20            www.example.com\n\
            \x20            backup.example.com\n\
            \x20            voip.example.com\n\
            \x20 then runs  on mx1.example.com: /usr/sbin/postmap -F lmdb:/etc/postfix/sni; /usr/sbin/postfix reload\n\
            \x20            on mx2.example.com: /usr/sbin/postmap -F lmdb:/etc/postfix/sni; /usr/sbin/postfix reload\n\
            \x20            on imap.example.com: /usr/bin/systemctl reload dovecot\n\
            \x20            /usr/local/sbin/zone-refresh --serial_bump example.com\n"
        );
        let web = of(&outlooks, "example.com/web-ec");
        assert_eq!(
            web.signer,
            "le-http, by ACME at https://acme-v02.api.letsencrypt.org/directory, validated by http-01"
        );
        assert_eq!(
            web.renewal,
            "with 28 days (± 2.5 days) left of 90, 12 days (± 1.5 days) left of 45, 2.4 days (± 0.3 days) left of 6"
        );
        assert_eq!(web.restarts, ["on www.example.com: /usr/bin/systemctl reload nginx"]);
        let root = of(&outlooks, "ca/lab-root");
        assert!(
            !root.active
                && root.to_string().starts_with("ca/lab-root (Root of the laboratory, not active)\n")
        );
        let json = serde_json::to_value(&root).unwrap();
        assert_eq!((&json["service"], &json["key"]), (&"ca/lab-root".into(), &"p384".into()));
    }
}
