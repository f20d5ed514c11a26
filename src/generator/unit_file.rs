//! The few lines of a unit file, or of an init script, that decide how it may be ordered.

use std::collections::BTreeSet;

/// What a unit's file and its drop-ins say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFile {
    /// It is after sysinit.target and basic.target without saying so.
    pub default_dependencies: bool,
    /// Units that wait for it.
    pub before: BTreeSet<String>,
    /// Units whose stop and restart reach it.
    pub part_of: BTreeSet<String>,
    /// What a socket, timer or path starts, where it does not go by its own name.
    pub starts: Option<String>,
}

impl UnitFile {
    /// Reads systemd.syntax(7): the file first, then its drop-ins. An empty value takes back what was
    /// listed before it; of `DefaultDependencies=` the last counts.
    pub fn parse(text: &str) -> Self {
        let mut unit = Self::plain();
        // Continuation lines are part of one value.
        for line in text.replace("\\\n", " ").lines() {
            let Some((key, value)) = line.trim().split_once('=') else { continue };
            let value = value.trim();
            match key.trim_end() {
                "DefaultDependencies" => {
                    unit.default_dependencies =
                        !["no", "false", "off", "0", "n", "f"].contains(&value.to_ascii_lowercase().as_str());
                }
                "Before" => extend(&mut unit.before, value),
                "PartOf" => extend(&mut unit.part_of, value),
                "Service" | "Unit" => unit.starts = Some(value.to_owned()),
                _ => {}
            }
        }
        unit
    }

    /// Reads the header of an init script (LSB 5.0, 20.6), of which systemd-sysv-generator makes a
    /// service: the facilities that others wait for.
    pub fn parse_init_script(text: &str) -> Self {
        let mut unit = Self::plain();
        for line in text.lines().filter_map(|line| line.strip_prefix("# ")) {
            let Some((key, value)) = line.split_once(':') else { continue };
            match key {
                "Provides" => unit.before.extend(value.split_whitespace().filter_map(facility)),
                "X-Start-Before" => unit.before.extend(
                    value
                        .split_whitespace()
                        .map(|name| facility(name).unwrap_or_else(|| format!("{name}.service"))),
                ),
                // These run before the runlevels do.
                "Default-Start" if value.split_whitespace().any(|level| level == "S") => {
                    unit.default_dependencies = false;
                }
                _ => {}
            }
        }
        unit
    }

    fn plain() -> Self {
        Self { default_dependencies: true, before: BTreeSet::new(), part_of: BTreeSet::new(), starts: None }
    }
}

fn extend(list: &mut BTreeSet<String>, value: &str) {
    if value.is_empty() {
        list.clear();
    }
    list.extend(value.split_whitespace().map(str::to_owned));
}

/// What systemd-sysv-generator(8) makes of a facility.
fn facility(name: &str) -> Option<String> {
    let target = match name {
        "$network" => "network.target",
        "$named" => "nss-lookup.target",
        "$portmap" => "rpcbind.target",
        "$time" => "time-sync.target",
        "$local_fs" => "local-fs.target",
        "$remote_fs" => "remote-fs.target",
        _ => return None,
    };
    Some(target.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        let text = "[Unit]\nDefaultDependencies=no\nBefore=a.target b.target\nBefore = c.target \\\n  d.target\n\
            #Before=comment.target\n[Socket]\nService=x.service\n";
        let unit = UnitFile::parse(text);
        assert!(!unit.default_dependencies);
        assert_eq!(
            unit.before.iter().map(String::as_str).collect::<Vec<_>>(),
            ["a.target", "b.target", "c.target", "d.target"]
        );
        assert_eq!(unit.starts.as_deref(), Some("x.service"));
        let overridden = UnitFile::parse(&format!("{text}\n[Unit]\nBefore=\nDefaultDependencies=yes\n"));
        assert!(overridden.default_dependencies && overridden.before.is_empty());
    }

    #[test]
    fn init_scripts() {
        let text = "#!/bin/sh\n### BEGIN INIT INFO\n# Provides:          bind9 $named\n\
            # Required-Start:    $remote_fs\n# X-Start-Before:    postfix $network\n# Default-Start:     2 3 4 5\n";
        let unit = UnitFile::parse_init_script(text);
        assert!(unit.default_dependencies);
        assert_eq!(
            unit.before.iter().map(String::as_str).collect::<Vec<_>>(),
            ["network.target", "nss-lookup.target", "postfix.service"]
        );
        assert!(!UnitFile::parse_init_script("# Default-Start: S\n").default_dependencies);
    }
}
