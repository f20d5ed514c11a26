//! Which operations a command is about: virt-sysprep's `--enable` and `--operations`.

use std::collections::BTreeSet;

use super::catalogue::{self, Operation};

/// The operations that are carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(BTreeSet<&'static str>);

impl Default for Selection {
    fn default() -> Self {
        Self(defaults())
    }
}

impl Selection {
    /// Exactly the operations of a list.
    ///
    /// # Errors
    /// In words, for a name that is none.
    pub fn enable(list: &str) -> Result<Self, String> {
        Ok(Self(words(list).map(name).collect::<Result<_, _>>()?))
    }

    /// What a list of `defaults`, `all` and names adds from left to right, and takes away with a `-`
    /// before it.
    ///
    /// # Errors
    /// In words, for a name that is none.
    pub fn operations(list: &str) -> Result<Self, String> {
        let mut selected = BTreeSet::new();
        for word in words(list) {
            let (taken, word) = match word.strip_prefix('-') {
                Some(word) => (true, word),
                None => (false, word),
            };
            let named = match word {
                "defaults" => defaults(),
                "all" => catalogue::operations().map(|operation| operation.name).collect(),
                word => BTreeSet::from([name(word)?]),
            };
            if taken {
                selected.retain(|one| !named.contains(one));
            } else {
                selected.extend(named);
            }
        }
        Ok(Self(selected))
    }

    /// Says whether an operation is carried out.
    pub fn has(&self, operation: &Operation) -> bool {
        self.0.contains(operation.name)
    }

    /// Says whether the operation of a name is carried out.
    pub fn has_name(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn defaults() -> BTreeSet<&'static str> {
    catalogue::operations().filter(|operation| operation.default).map(|operation| operation.name).collect()
}

fn name(word: &str) -> Result<&'static str, String> {
    catalogue::operation(word)
        .map(|operation| operation.name)
        .ok_or_else(|| format!("there is no operation {word:?}; `reseed seal --list-operations` shows them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let all: BTreeSet<_> = catalogue::operations().map(|operation| operation.name).collect();
        let without = |name: &str| defaults().into_iter().filter(|one| *one != name).collect();
        let cases = [
            ("defaults", defaults()),
            ("all", all.clone()),
            ("", BTreeSet::new()),
            ("defaults,-logfiles", without("logfiles")),
            (" defaults , -logfiles ,", without("logfiles")),
            ("-logfiles,defaults", defaults()),
            ("machine-id,ssh-hostkeys", BTreeSet::from(["machine-id", "ssh-hostkeys"])),
            ("all,-all", BTreeSet::new()),
            ("defaults,tls-keys-foreign", {
                let mut set = defaults();
                set.insert("tls-keys-foreign");
                set
            }),
        ];
        for (list, expected) in cases {
            assert_eq!(Selection::operations(list), Ok(Selection(expected)), "{list}");
        }
        assert_eq!(Selection::enable("machine-id"), Ok(Selection(BTreeSet::from(["machine-id"]))));
        for list in ["no-such", "defaults,-no-such"] {
            assert!(Selection::operations(list).is_err(), "{list}");
        }
        assert!(Selection::enable("defaults").is_err() && Selection::enable("-machine-id").is_err());
    }
}
