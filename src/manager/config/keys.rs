//! `[keys]` of `ssl-mgr.conf`: how keys are kept.

use std::path::{Path, PathBuf};

use super::reader::Table;
use super::site::beneath;

/// Reads the table: `passphrase_file`, under which the keys of own authorities are kept.
pub(super) fn read(table: Option<Table<'_>>, topdir: &Path) -> Option<PathBuf> {
    let mut table = table?;
    let file = table.filled("passphrase_file").map(|word| beneath(topdir, &word));
    table.finish();
    file
}
