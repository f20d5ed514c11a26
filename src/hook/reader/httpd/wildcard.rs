//! What `Include` matches: httpd's wildcards, in directories as in file names.

use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::super::{Files, MAX_FILES};

/// Returns the files and directories that an `Include` means, in the order in which httpd reads them.
pub(super) fn matches(path: &Path, files: &dyn Files) -> Result<Vec<PathBuf>, String> {
    let mut found = vec![PathBuf::new()];
    let mut searching = false;
    let mut parts = path.components().map(Component::as_os_str).peekable();
    while let Some(part) = parts.next() {
        let text = part.to_string_lossy();
        if !searching && !text.contains(['*', '?', '[']) {
            // Whether a path without wildcards exists is seen when it is opened.
            for path in &mut found {
                path.push(part);
            }
            continue;
        }
        searching = true;
        let pattern = pattern(&text)?;
        let last = parts.peek().is_none();
        found = found
            .iter()
            .flat_map(|dir| files.names(dir).into_iter().map(|name| (dir.join(&name), name)))
            .filter(|(path, name)| pattern.matches_with(name, WILDCARDS) && (last || files.is_dir(path)))
            .map(|(path, _)| path)
            .take(MAX_FILES)
            .collect();
    }
    Ok(found)
}

/// Translates from fnmatch(3): `[^…]` is the crate's `[!…]`, and `**` has no meaning of its own.
pub(super) fn pattern(part: &str) -> Result<Pattern, String> {
    let mut text = part.replace("[^", "[!");
    while text.contains("**") {
        text = text.replace("**", "*");
    }
    Pattern::new(&text).map_err(|error| format!("'{part}': {}", error.msg))
}

/// As `apr_fnmatch` with `APR_FNM_PERIOD`.
const WILDCARDS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
