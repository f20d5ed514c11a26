//! Other implementations that check ours in tests: OpenSSL and GnuTLS, in a directory of scratch.

use std::path::PathBuf;
use std::process::Command;

use time::{Duration, OffsetDateTime};

use super::key::PrivateKey;
use super::serial::Serial;
use super::x509::{AlternativeName, Issued, Issuer, Name, Profile, Role, issue};
use super::{Digest, Usage};

/// Files for the other programs.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Writes certificates as PEM.
    pub(crate) fn certificates(&self, name: &str, ders: &[&[u8]]) {
        self.write(name, ders.iter().map(|der| pem("CERTIFICATE", der)).collect::<String>());
    }

    /// Runs a program there; says whether it was content, and all that it wrote.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(program).args(arguments).current_dir(self.0.path()).output();
        let output = output.unwrap_or_else(|error| panic!("{program} is needed here: {error}"));
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Runs OpenSSL, which must be content.
    pub(crate) fn openssl(&self, arguments: &[&str]) -> String {
        let (content, text) = self.run("openssl", arguments);
        assert!(content, "openssl {arguments:?}: {text}");
        text
    }
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    pem::encode(&pem::Pem::new(label, der)).replace('\r', "")
}

/// A certificate with its key.
pub(crate) struct Holder {
    pub(crate) der: Vec<u8>,
    pub(crate) key: PrivateKey,
}

/// A time at which all certificates made here are good: the present, for the other programs look at the
/// clock.
pub(crate) fn now() -> OffsetDateTime {
    crate::system::clock::now()
}

pub(crate) fn name(common_name: &str) -> Name {
    Name { common_name: common_name.into(), organization: Some("Bücher".into()), ..Name::default() }
}

pub(crate) fn leaf() -> Role {
    Role::Leaf { usages: [Usage::Server].into() }
}

/// Makes a certificate that is good for ten days; a leaf is for its common name.
pub(crate) fn made(
    common_name: &str,
    role: &Role,
    key: PrivateKey,
    issuer: Option<&Holder>,
    digest: Digest,
    serial: u8,
) -> Holder {
    let issued = try_made(common_name, role, &key, issuer, digest, serial, now() + Duration::days(10));
    Holder { der: issued.unwrap().der, key }
}

pub(crate) fn try_made(
    common_name: &str,
    role: &Role,
    key: &PrivateKey,
    issuer: Option<&Holder>,
    digest: Digest,
    serial: u8,
    not_after: OffsetDateTime,
) -> Result<Issued, super::x509::X509Error> {
    let names =
        [AlternativeName::Dns(common_name.into()), AlternativeName::Address([192, 0, 2, serial].into())];
    let profile = Profile {
        subject: &name(common_name),
        alternative_names: if matches!(role, Role::Leaf { .. }) { &names } else { &[] },
        role,
        serial: Serial::from_octets(&[7, serial]).unwrap(),
        now: now(),
        backdate: Duration::hours(1),
        not_after,
    };
    let by = match issuer {
        None => Issuer::Itself(key),
        Some(issuer) => Issuer::Authority { certificate: &issuer.der, key: &issuer.key },
    };
    issue(&profile, &key.spki_der().unwrap(), by, digest)
}
