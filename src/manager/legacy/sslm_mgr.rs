//! `sslm-mgr`: which commands one call of it is.
//!
//! One call may ask for several things. They are done as one run of ssl-mgr does them: renew, roll,
//! distribute, refresh the zones, show, clean. Asked for nothing, it brings production and what is pending up
//! to date. Since every run of ssl-mgr ends by cleaning, one that renews or rolls does so here too.

use clap::{Args, Parser};

use super::spelling;
use super::{Line, Translation, Usage};
use crate::manager::name::CA;

/// Renews and rolls the certificates of a site, as ssl-mgr does
///
/// This is `reseed manager` by the name and with the options of ssl-mgr.
#[derive(Debug, Parser)]
#[command(
    name = "sslm-mgr",
    override_usage = "sslm-mgr [dev] [OPTIONS] [GROUP[:SERVICE,...]]...",
    after_help = MANNERS
)]
struct Plain {
    #[command(flatten)]
    options: Options,
}

/// Renews and rolls the certificates of a site, as ssl-mgr does
///
/// This is `reseed manager` by the name and with the options of ssl-mgr.
#[derive(Debug, Parser)]
#[command(
    name = "sslm-mgr dev",
    override_usage = "sslm-mgr [dev] [OPTIONS] [GROUP[:SERVICE,...]]...",
    after_help = MANNERS
)]
pub struct Developer {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    tasks: Tasks,
}

const MANNERS: &str = "Long options take one dash or two, may be shortened as far as they stay unique, and take \
    their value behind a blank or `=`; letters may be joined. What is asked for is done in this order: renew, \
    roll, distribute, refresh zones, status, clean; the first failure ends the run. Asked for nothing, it brings \
    production up to date. The single steps of `dev` need that word as the very first argument.";

#[derive(Debug, Args)]
struct Options {
    /// Show the versions of each certificate: `reseed manager status`
    #[arg(short, long)]
    status: bool,
    /// Make the next version where it is due: `reseed manager renew`
    ///
    /// A CA of the group `ca` is renewed only where it is named.
    #[arg(long)]
    renew: bool,
    /// Make next versions the current ones: `reseed manager roll`
    #[arg(long)]
    roll: bool,
    /// Renew before it is due, roll whatever the age
    #[arg(short, long)]
    force: bool,
    /// Renew with the present key
    #[arg(short, long)]
    reuse: bool,
    /// Roll only what is as many minutes old
    #[arg(long = "min-roll-mins", visible_alias = "roll-mins", value_name = "N")]
    min_roll_mins: Option<u64>,
    /// Keep as many old versions of each service: `reseed manager clean --keep N`
    #[arg(long, value_name = "N")]
    clean_keep: Option<usize>,
    /// Clean all groups, not only the named ones: `reseed manager clean --all`
    #[arg(long)]
    clean_all: bool,
    /// Have the name servers load their zones again: `reseed manager dns-refresh`
    #[arg(long = "dns-refresh", visible_alias = "dns")]
    dns_refresh: bool,
    /// Ask the CA's test service
    ///
    /// What that issues is kept apart and never served; rolling and distributing is only shown.
    #[arg(short, long)]
    test: bool,
    /// Show what would be done, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// The same
    #[arg(short, long)]
    debug: bool,
    /// Say more
    #[arg(short, long, alias = "verbose")]
    verb: bool,
    /// Groups and services; all active ones when nothing is named
    #[arg(value_name = "GROUP[:SERVICE,...]")]
    selection: Vec<String>,
}

/// The single steps, which only `dev` has.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Single steps, after `dev`")]
struct Tasks {
    /// Begin the next version with a new key
    #[arg(long = "new-keys", visible_alias = "keys", conflicts_with = "copy")]
    keys: bool,
    /// Write the request of the next version
    #[arg(long = "new-csr", visible_alias = "csr")]
    csr: bool,
    /// Have the certificate of the next version issued
    #[arg(long = "new-cert", visible_alias = "cert")]
    cert: bool,
    /// Begin the next version with the present key, and its request
    #[arg(long = "copy-csr", visible_alias = "copy")]
    copy: bool,
    /// Roll whatever the age
    #[arg(long = "next-to-curr", visible_alias = "ntoc")]
    next_to_curr: bool,
    /// Bring the certificates to their places, and restart nothing
    #[arg(long = "certs-to-prod", visible_alias = "certs-prod")]
    certs_to_prod: bool,
    /// Restart every server, the name servers last
    #[arg(long = "force-server-restarts", visible_alias = "fsr")]
    restarts: bool,
}

pub fn translate(arguments: &[String]) -> Result<Translation, Usage> {
    match arguments.split_first() {
        Some((first, rest)) if first == "dev" => {
            spelling::translated(rest, |developer: Developer| lines(&developer.options, &developer.tasks))
        }
        _ => spelling::translated(arguments, |plain: Plain| lines(&plain.options, &Tasks::default())),
    }
}

fn lines(options: &Options, tasks: &Tasks) -> Result<Vec<Vec<String>>, Usage> {
    let selection: Vec<String> = options.selection.iter().map(|group| whole(group)).collect();
    let shown_only = options.dry_run || options.debug;
    // A staging certificate lies apart, so there is none to roll or to bring anywhere.
    let unserved = shown_only || options.test;
    let line = |command: &str| Line::of(command).flag(options.verb, "--verbose");

    let renew = renewal(options, tasks, &selection, line("renew").flag(shown_only, "--dry-run"));
    let roll = (options.roll || tasks.next_to_curr).then(|| {
        line("roll")
            .flag(options.force || tasks.next_to_curr, "--force")
            .value("--min-age", options.min_roll_mins)
            .flag(unserved, "--dry-run")
            .about(&selection)
    });
    let refresh = (options.dns_refresh && !unserved).then(|| line("dns-refresh").about(&selection));
    let status = options
        .status
        .then(|| line("status").flag(true, "--long").flag(options.verb, "--sans").about(&selection));
    let asked_to_clean = options.clean_all || options.clean_keep.is_some();
    let clean = (asked_to_clean || (renew.is_some() || roll.is_some()) && !unserved).then(|| {
        line("clean")
            .value("--keep", options.clean_keep)
            .flag(options.clean_all, "--all")
            .flag(shown_only, "--dry-run")
            .about(if options.clean_all { &[] } else { &selection })
    });

    // Also where only a refresh is asked for that must not happen: it is among what is pending.
    let nothing = ![&renew, &roll, &refresh, &status, &clean].into_iter().any(Option::is_some);
    let distribute = (nothing || tasks.certs_to_prod || tasks.restarts).then(|| {
        line("distribute")
            .flag(tasks.restarts, "--restart-all")
            .flag(tasks.certs_to_prod && !tasks.restarts, "--no-restart")
            .flag(unserved, "--dry-run")
            .about(&selection)
    });
    Ok([renew, roll, distribute, refresh, status, clean].into_iter().flatten().collect())
}

/// A single step is one part of a renewal, due or not; a whole renewal has them all in it.
fn renewal(options: &Options, tasks: &Tasks, selection: &[String], line: Line) -> Option<Vec<String>> {
    let single = tasks.keys || tasks.csr || tasks.cert || tasks.copy;
    let part = |wanted: bool, name| (wanted && !options.renew).then_some(name);
    // Whoever names a CA means it: that is how ssl-mgr's sites set theirs up.
    let ca = selection.iter().any(|group| group.split([':', '/']).next() == Some(CA));
    (options.renew || single).then(|| {
        line.flag(options.force || single, "--force")
            .flag(options.reuse && options.renew || tasks.copy, "--reuse-key")
            .flag(options.test, "--staging")
            .value("--only", part(tasks.keys || tasks.copy, "key"))
            .value("--only", part(tasks.csr || tasks.copy, "request"))
            .value("--only", part(tasks.cert, "certificate"))
            .flag(ca, "--renew-ca")
            .about(selection)
    })
}

/// Two ways to say all services of a group, where ours are one.
fn whole(selection: &str) -> String {
    match selection.split_once(':') {
        Some((group, "*")) => format!("{group}:ALL"),
        _ => selection.to_owned(),
    }
}
