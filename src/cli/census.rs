//! `reseed hook census`

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::{Failure, Status, text};
use crate::census::{self, Finding};
use crate::facts::scriptlets;
use crate::reseed::World;
use crate::store;

/// List what packages' scripts make that belongs to one machine, and which hook makes it again
///
/// Looks at the scripts that ran when the packages were installed (dpkg's postinst, preinst and
/// config; rpm's scriptlets and triggers) and runs none of them. What a script leaves to a program of
/// its own is not seen: this is a list of where to look.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write JSON
    #[arg(long)]
    json: bool,
    /// Exit with status 3 when something has no hook
    #[arg(long)]
    exit_code: bool,
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let (hooks, faults) = store::hooks(world.root, world.below)?;
    let failed = |error: scriptlets::ScriptletError| Failure::Other(error.to_string());
    let scripts = scriptlets::scripts(world.root).map_err(failed)?;
    let mut findings = census::findings(&scripts);
    let packages: BTreeSet<&str> = scripts.iter().map(|script| script.package.as_str()).collect();
    let found: BTreeSet<String> = findings.iter().map(|finding| finding.package.clone()).collect();
    let files = scriptlets::files(world.root, &found.iter().map(String::as_str).collect()).map_err(failed)?;
    census::attribute(&mut findings, &hooks, &files);

    let mut out = io::stdout().lock();
    if arguments.json {
        text::json(&mut out, &serde_json::json!({ "packages": packages.len(), "findings": findings }))?;
    } else {
        table(&mut out, &findings, packages.len())?;
    }
    for fault in &faults {
        writeln!(io::stderr(), "reseed: {fault}")?;
    }
    let without = findings.iter().any(|finding| finding.hook.is_none());
    Ok(match (faults.is_empty(), arguments.exit_code && without) {
        (false, _) => Status::Wrong,
        (_, true) => Status::Stale,
        _ => Status::Done,
    })
}

/// A line each, in columns as wide as what stands in them; the command comes last and is never cut by
/// a column.
fn table(out: &mut impl Write, findings: &[Finding], packages: usize) -> io::Result<()> {
    let rows: Vec<[String; 5]> = findings.iter().map(row).collect();
    let heads = ["package", "makes", "hook", "where", "with"].map(str::to_owned);
    let width = |column: usize| {
        let cells = rows.iter().chain([&heads]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let [package, makes, hook, place] = [width(0), width(1), width(2), width(3)];
    if !rows.is_empty() {
        for [a, b, c, d, e] in [&heads].into_iter().chain(&rows) {
            writeln!(out, "{a:<package$}  {b:<makes$}  {c:<hook$}  {d:<place$}  {e}")?;
        }
        writeln!(out)?;
    }
    let without = findings.iter().filter(|finding| finding.hook.is_none());
    let names: BTreeSet<&str> = without.map(|finding| finding.package.as_str()).collect();
    writeln!(
        out,
        "Packages with scripts: {packages}. Of these, {} make what belongs to one machine; {} have no hook.",
        findings.iter().map(|finding| &finding.package).collect::<BTreeSet<_>>().len(),
        names.len()
    )
}

fn row(finding: &Finding) -> [String; 5] {
    let place = finding.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ");
    [
        finding.package.clone(),
        finding.makes.to_string(),
        finding.hook.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string),
        if place.is_empty() { "-".to_owned() } else { place },
        format!("{}:{}: {}", finding.script, finding.line, finding.command),
    ]
}
