//! How a record of ours is read: its version first, because what it says decides on the rest.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::fault::Fault;

/// Reads a record whose format is known up to a version.
///
/// # Errors
/// [`Fault`] with the position; a newer version is refused, whatever else there is, and never guessed at.
pub fn read<T: DeserializeOwned>(path: &Path, text: &str, highest: u32) -> Result<T, Fault> {
    #[derive(Deserialize)]
    struct Head {
        version: toml::Spanned<u32>,
    }
    let fault = |error| Fault::toml(path, text, &error);
    let head: Head = toml::from_str(text).map_err(fault)?;
    let version = *head.version.as_ref();
    if version > highest {
        let message = format!("version {version} was written by a newer reseed; this one reads {highest}");
        return Err(Fault::at(path, text, head.version.span(), message));
    }
    toml::from_str(text).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Text {
        version: u32,
    }

    #[test]
    fn the_version_decides_on_the_rest() {
        let cases = [
            ("an older one", "version = 1\n", Ok(1)),
            ("the highest", "version = 2\n", Ok(2)),
            (
                "a newer one",
                "# x\nversion = 3\nnew = 1\n",
                Err("r:2:11: version 3 was written by a newer reseed"),
            ),
            ("an unknown key", "version = 2\nnew = 1\n", Err("r:2:1: unknown field `new`")),
            ("none", "", Err("r:1:1: missing field `version`")),
            ("no number", "version = 'x'\n", Err("r:1:11: ")),
        ];
        for (case, text, expected) in cases {
            let found = read::<Text>(Path::new("r"), text, 2);
            match (&found, expected) {
                (Ok(text), Ok(version)) => assert_eq!(text.version, version, "{case}"),
                (Err(fault), Err(start)) => assert!(fault.to_string().starts_with(start), "{case}: {fault}"),
                _ => panic!("{case}: {found:?}"),
            }
        }
    }
}
