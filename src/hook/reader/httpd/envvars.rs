//! Debian's `envvars`: the shell assignments that apache2ctl reads before it starts httpd.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::{Files, MAX_LINE};
use super::syntax::split_word;

/// Reads the plain `export NAME=value` lines of Debian's `envvars`; what the shell would have to work out
/// stays unknown.
pub(super) fn environment(directory: &Path, files: &dyn Files) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    let text = files.text(&directory.join("envvars")).unwrap_or_default();
    for line in text.lines() {
        let assignment =
            line.trim().strip_prefix("export ").and_then(|text| text.trim_start().split_once('='));
        if let Some((name, value)) = assignment
            && let Some(value) = shell_value(value, &environment)
        {
            environment.insert(name.to_owned(), value);
        }
    }
    environment
}

/// Returns what a shell makes of a plain value, with unset variables empty; nothing when there is more to
/// work out.
pub(super) fn shell_value(value: &str, environment: &BTreeMap<String, String>) -> Option<String> {
    if let Some(quoted) = value.strip_prefix('\'') {
        return Some(quoted.split_once('\'')?.0.to_owned());
    }
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?.0,
        None => split_word(value).0,
    };
    let mut parts = value.split('$');
    let mut expanded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = match part.strip_prefix('{') {
            Some(part) => part.split_once('}')?,
            None => part.split_at(part.find(|c| !is_variable(c)).unwrap_or(part.len())),
        };
        if name.is_empty() || !name.chars().all(is_variable) {
            return None;
        }
        expanded.push_str(environment.get(name).map_or("", String::as_str));
        expanded.push_str(rest);
    }
    let plain = expanded.len() <= MAX_LINE && !expanded.contains(['`', '\\', '"', '\'']);
    plain.then_some(expanded)
}

pub(super) fn is_variable(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
