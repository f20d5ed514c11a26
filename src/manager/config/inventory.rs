//! The table `[inventory]`: where the inventory of a fleet lies, and how it is worked on.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::reader::{Table, Word};
use super::site::beneath;
use super::{Issuing, Mail, issuing, mail};
use crate::manager::inventory::postgres::parameters::Parameters;
use crate::manager::inventory::schedule::Policy;
use crate::manager::nearest::shown;

/// `[inventory]`: where the inventory of a fleet lies, and how early its schedule is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Inventory {
    /// There is such a table: an inventory is kept, also where nothing is in it yet.
    pub is_configured: bool,
    /// `postgres`: how its database is reached, a URL or `keyword=value`; nothing for files beneath the topdir.
    #[serde(skip)]
    pub postgres: Option<String>,
    /// `prepublish_days`, `remind_days`, `keep_days`.
    pub policy: Policy,
    /// How certificates are issued.
    pub issuing: Issuing,
    /// `ssh_user`: as whom hosts are entered; nothing for `root`.
    pub ssh_user: Option<String>,
    /// `takeover_seconds`: how long what a manager worked at is left to it when it is gone; nothing for 30.
    pub takeover_seconds: Option<u32>,
    /// `reload_seconds`: how long a reload command may take; nothing for 30.
    pub reload_seconds: Option<u32>,
    /// `crl`: the file with the lists of what own authorities have revoked, in PEM; nothing where none is wanted.
    pub crl: Option<PathBuf>,
    /// `mail_to` and what belongs to it: who is reminded of local certificates; nothing where nobody is.
    pub mail: Option<Mail>,
}

/// Reads the table.
pub(super) fn read(mut table: Table<'_>, topdir: &Path) -> Inventory {
    let mut found = Inventory { is_configured: true, ..Inventory::default() };
    if let Some(word) = table.text("postgres") {
        // What is wrong with it is told without it: there may be a password in it.
        match Parameters::parse(word.text) {
            Ok(_) => found.postgres = Some(word.text.to_owned()),
            Err(error) => word.place.fault(format!("postgres: {error}")),
        }
    }
    found.issuing = issuing::read(&mut table);
    let policy = &mut found.policy;
    for (key, least, days) in [
        ("prepublish_days", 7, &mut policy.prepublish_days),
        ("remind_days", 1, &mut policy.remind_days),
        ("keep_days", 1, &mut policy.keep_days),
    ] {
        if let Some(number) = table.value(key).and_then(|value| value.within(least..=3650)) {
            *days = u32::try_from(number).unwrap_or(*days);
        }
    }
    found.ssh_user = table.filled("ssh_user").and_then(|word| user(&word));
    let seconds = table.value("takeover_seconds").and_then(|value| value.within(1..=3600));
    found.takeover_seconds = seconds.and_then(|number| u32::try_from(number).ok());
    let seconds = table.value("reload_seconds").and_then(|value| value.within(1..=600));
    found.reload_seconds = seconds.and_then(|number| u32::try_from(number).ok());
    found.crl = table.filled("crl").map(|word| beneath(topdir, &word));
    found.mail = mail::read(&mut table);
    table.finish();
    found
}

/// A user's name, which is put before a host's.
fn user(word: &Word<'_>) -> Option<String> {
    let fits = |c: char| c.is_alphanumeric() || "._-".contains(c);
    if word.text.starts_with('-') || !word.text.chars().all(fits) {
        return word.place.refuse(format!("{} is no name of a user", shown(word.text)));
    }
    Some(word.text.to_owned())
}
