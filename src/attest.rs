//! The package by which a machine states to RPM who it is: `system-identity(permanent)`.
//!
//! Packages that must not be installed before the machine has its name require that capability. What a
//! package provides is fixed when it is built, so nobody but the machine itself can build this one, and
//! only once its identity is proper. It holds no file.

use time::OffsetDateTime;

use crate::identity::HostName;

/// The name of the package.
pub const PACKAGE: &str = "system-identity-attestation";

/// What is stated, and when.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// The full name; the machine-id and the site's subject fields are nobody's business.
    pub name: &'a HostName,
    /// The present time: a later statement takes the place of an earlier one.
    pub now: OffsetDateTime,
}

impl Statement<'_> {
    /// The package's version: fourteen digits, in UTC, which RPM compares as one number.
    pub fn version(&self) -> String {
        let (now, date) = (self.now, self.now.date());
        let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
        format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}", now.hour(), now.minute(), now.second())
    }

    /// The name of the file that `rpmbuild` makes of [`Self::spec`].
    pub fn file_name(&self) -> String {
        format!("{PACKAGE}-{}-1.noarch.rpm", self.version())
    }

    /// The package's spec. A host name has no character that means anything to RPM.
    pub fn spec(&self) -> String {
        let (name, version) = (self.name, self.version());
        format!(
            "# Written by `reseed attest` on {name}; of no use to any other machine.\n\
             Name:           {PACKAGE}\n\
             Version:        {version}\n\
             Release:        1\n\
             Summary:        States that this machine has its own name\n\
             License:        MIT OR Apache-2.0\n\
             BuildArch:      noarch\n\
             Requires:       system-identity\n\
             Provides:       system-identity(permanent) = {version}\n\
             Provides:       system-identity(fqdn:{name}) = {version}\n\
             \n\
             %description\n\
             This machine is {name}. Packages that must not be installed before a\n\
             machine has its own name require system-identity(permanent).\n\
             \n\
             %files\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn what_is_stated() {
        let name = HostName::parse("mail-1.example.com").unwrap();
        let statement = Statement { name: &name, now: datetime!(2026-01-02 03:04:05 UTC) };
        assert_eq!(statement.file_name(), "system-identity-attestation-20260102030405-1.noarch.rpm");
        let spec = statement.spec();
        for line in [
            "Version:        20260102030405",
            "Provides:       system-identity(permanent) = 20260102030405",
            "Provides:       system-identity(fqdn:mail-1.example.com) = 20260102030405",
        ] {
            assert!(spec.lines().any(|found| found == line), "{line} of:\n{spec}");
        }
    }
}
