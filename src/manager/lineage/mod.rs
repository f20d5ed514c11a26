//! The versions of one managed certificate: `curr` is served, `next` waits to be, `prev` was.
//!
//! Each is a symbolic link in the service's directory to a directory `db/DATE`, whose files never change
//! once a link points to it. So a switch is a link that is replaced, and nothing is ever half new.

pub mod version;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;

pub use version::{Files, Version};

/// Which of a service's versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Link {
    /// The one that is served.
    Curr,
    /// The one that will be.
    Next,
    /// The one that was.
    Prev,
}

impl Link {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Curr, Self::Next, Self::Prev];

    /// The link's file name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Curr => "curr",
            Self::Next => "next",
            Self::Prev => "prev",
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The directory in which versions lie, inside a service's.
pub const VERSIONS: &str = "db";

/// The name of a version: the second in which it was begun, in UTC.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct VersionName(String);

impl VersionName {
    /// The first name from `now` on that is not taken: two runs within a second have two names.
    pub fn unused(now: OffsetDateTime, is_taken: impl Fn(&Self) -> bool) -> Self {
        let mut at = now;
        loop {
            let format = format_description!("[year][month][day]-[hour]:[minute]:[second]");
            let name = Self(at.format(format).unwrap_or_else(|_| at.unix_timestamp().to_string()));
            if !is_taken(&name) {
                return name;
            }
            at += time::Duration::SECOND;
        }
    }

    /// Takes a name as it is found; nothing when it does not have the shape `YYYYMMDD-HH:MM:SS`.
    pub fn parse(name: &str) -> Option<Self> {
        let shape = name.len() == 17
            && name.char_indices().all(|(at, c)| match at {
                8 => c == '-',
                11 | 14 => c == ':',
                _ => c.is_ascii_digit(),
            });
        shape.then(|| Self(name.to_owned()))
    }

    /// The version to which a link leads; nothing when it does not lead into [`VERSIONS`].
    pub fn of_link(target: &Path) -> Option<Self> {
        let name = target.strip_prefix(VERSIONS).ok()?.to_str()?;
        let plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
        plain.then(|| Self(name.to_owned()))
    }

    /// What a link to it says.
    pub fn target(&self) -> PathBuf {
        Path::new(VERSIONS).join(&self.0)
    }

    /// The moment in the name.
    pub fn moment(&self) -> Option<OffsetDateTime> {
        let format = format_description!("[year][month][day]-[hour]:[minute]:[second]");
        time::PrimitiveDateTime::parse(&self.0, format).ok().map(time::PrimitiveDateTime::assume_utc)
    }

    /// As a text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What there is of a service's certificate. A link that leads nowhere counts as none.
#[derive(Debug, Default)]
pub struct Lineage {
    /// The version that is served.
    pub curr: Option<Version>,
    /// The version that will be.
    pub next: Option<Version>,
    /// The version that was.
    pub prev: Option<Version>,
}

impl Lineage {
    /// The version of a link.
    pub fn version(&self, link: Link) -> Option<&Version> {
        match link {
            Link::Curr => self.curr.as_ref(),
            Link::Next => self.next.as_ref(),
            Link::Prev => self.prev.as_ref(),
        }
    }

    /// The version that can be served: `curr` when it is sound.
    pub fn live(&self) -> Option<&Version> {
        self.curr.as_ref().filter(|version| version.is_sound())
    }

    /// The version that a roll would make the live one: a sound `next` that is not `curr`.
    pub fn waiting(&self) -> Option<&Version> {
        let curr = self.curr.as_ref().map(|version| &version.name);
        self.next.as_ref().filter(|version| version.is_sound() && Some(&version.name) != curr)
    }

    /// Becomes what it is after a repair.
    pub fn follow(&mut self, repair: &Repair) {
        match repair {
            Repair::Curr(_) => self.curr = self.prev.take(),
            Repair::DropNext(_) => self.next = None,
        }
    }
}

/// What is to be done with links that an interrupted or faulty run left, before anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// `curr` is missing or broken, and this version, which is sound, takes its place.
    Curr(VersionName),
    /// `next` leads to where `curr` does, or to something half-made: it goes.
    DropNext(&'static str),
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Curr(name) => write!(f, "curr was missing or broken; it is {name} again"),
            Self::DropNext(why) => write!(f, "next {why}; it is made anew when it is due"),
        }
    }
}

/// Finds what is to be put right. A missing or broken `curr` comes back from `prev`, which was served before:
/// never from `next`, whose turn nobody has decided on, except where the names tell that a roll was cut
/// between its two renames, so that `prev` is what was `curr` a moment ago and stays it.
///
/// An expired `prev` is better than none: it was served, and who pins its key still can.
pub fn repair(lineage: &Lineage) -> Vec<Repair> {
    let mut repairs = Vec::new();
    let prev = lineage.prev.as_ref().filter(|version| version.is_sound());
    if let (None, Some(prev)) = (lineage.live(), prev) {
        repairs.push(Repair::Curr(prev.name.clone()));
    }
    if let Some(next) = &lineage.next {
        let is_curr = lineage.curr.as_ref().is_some_and(|curr| curr.name == next.name);
        match (is_curr, next.is_sound()) {
            (true, _) => repairs.push(Repair::DropNext("was the same as curr")),
            (false, false) => repairs.push(Repair::DropNext("was not complete")),
            (false, true) => {}
        }
    }
    repairs
}

#[cfg(test)]
mod tests {
    use super::version::tests::{broken, sound};
    use super::*;

    #[test]
    fn two_within_a_second_have_two_names() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let first = VersionName::unused(now, |_| false);
        let second = VersionName::unused(now, |name| *name == first);
        assert_eq!(first.as_str(), "20270115-08:00:00");
        assert_eq!(second.as_str(), "20270115-08:00:01");
        assert_eq!(VersionName::parse(first.as_str()).unwrap().moment(), Some(now));
    }

    #[test]
    fn links() {
        let of = |target: &str| VersionName::of_link(Path::new(target)).map(|name| name.to_string());
        assert_eq!(of("db/20261124-08:00:00").as_deref(), Some("20261124-08:00:00"));
        assert_eq!(of("db/by-hand").as_deref(), Some("by-hand"));
        for elsewhere in ["/etc/passwd", "db/../../x", "db/", "db", "20261124-08:00:00", "db/.x"] {
            assert_eq!(of(elsewhere), None, "{elsewhere}");
        }
    }

    /// Every state in which a run of ssl-mgr can leave the links, and more.
    #[test]
    fn what_interrupted_runs_leave() {
        let (a, b) = ("20261101-00:00:00", "20261102-00:00:00");
        let to = |name: &str| Repair::Curr(VersionName::parse(name).unwrap());
        let cases: [(&str, Lineage, Vec<Repair>); 9] = [
            ("nothing yet", Lineage::default(), vec![]),
            ("as it should be", Lineage { curr: sound(b), next: None, prev: sound(a) }, vec![]),
            ("rolling over", Lineage { curr: sound(a), next: sound(b), prev: None }, vec![]),
            ("cut between the renames", Lineage { curr: None, next: sound(b), prev: sound(a) }, vec![to(a)]),
            ("the first, not rolled", Lineage { curr: None, next: sound(b), prev: None }, vec![]),
            (
                "a half-made next",
                Lineage { curr: sound(a), next: broken(b), prev: None },
                vec![Repair::DropNext("was not complete")],
            ),
            (
                "two runs within a second: the new key lies beside the old certificate",
                Lineage { curr: broken(b), next: broken(b), prev: sound(a) },
                vec![to(a), Repair::DropNext("was the same as curr")],
            ),
            ("a broken curr and nothing else", Lineage { curr: broken(a), next: None, prev: None }, vec![]),
            (
                "all is lost",
                Lineage { curr: broken(a), next: broken(b), prev: broken(a) },
                vec![Repair::DropNext("was not complete")],
            ),
        ];
        for (case, lineage, expected) in cases {
            assert_eq!(repair(&lineage), expected, "{case}");
        }
    }
}
