//! Where messages go: to the journal with their fields when systemd reads standard error, else to
//! standard error, and there only what the user must know.
#![expect(clippy::disallowed_methods, reason = "the environment is what tells who reads standard error")]

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub fn start(verbose: bool) {
    if is_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        // Without a prefix, OBJECT_SYSTEMD_UNIT is what systemd knows (systemd.journal-fields(7)).
        let journal = journal.with_syslog_identifier("reseed".into()).with_field_prefix(None);
        return tracing_subscriber::registry().with(journal.with_filter(LevelFilter::INFO)).init();
    }
    // Setting up a log that says nothing costs more than reading the hooks does.
    if !verbose {
        return;
    }
    let terminal = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .without_time()
        .with_target(false)
        .with_ansi(false);
    tracing_subscriber::registry().with(terminal.with_filter(LevelFilter::INFO)).init();
}

/// `JOURNAL_STREAM` names the device and inode of the journal's end of standard error
/// (systemd.exec(5)); a program that redirected it has another.
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = nix::sys::stat::fstat(io::stderr()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}
