//! What a collector of metrics reads: the text by the rules of its format, and what it says by what there is.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use crate::site::Site;

/// Metrics by name and labels. Strict: every metric is told what it is once, before its samples, which stand
/// together; names and labels are made of what they may be made of; no sample comes twice.
#[track_caller]
fn parsed(text: &str) -> BTreeMap<String, i64> {
    assert!(text.ends_with('\n') && !text.contains("\n\n"), "{text}");
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let (mut samples, mut current, mut known) = (BTreeMap::new(), String::new(), Vec::new());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(is_name(name) && !words.is_empty() && !known.contains(&name.to_owned()), "{line}");
            assert_eq!(lines.next().unwrap(), format!("# TYPE {name} gauge"));
            assert!(lines.peek().is_some_and(|line| line.starts_with(name)), "{name} has samples");
            current = name.to_owned();
            known.push(current.clone());
            continue;
        }
        let (name, rest) = line.split_once('{').unwrap_or_else(|| panic!("{line}"));
        assert_eq!(name, current, "{line}");
        let (labels, value) = rest.rsplit_once("} ").unwrap_or_else(|| panic!("{line}"));
        let mut rest = labels;
        while !rest.is_empty() {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(is_name(label) && !label.starts_with("__"), "{line}");
            let mut end = None;
            let mut characters = after.char_indices();
            while let Some((at, c)) = characters.next() {
                match c {
                    '\\' => assert!(matches!(characters.next(), Some((_, '\\' | '"' | 'n'))), "{line}"),
                    '"' => {
                        end = Some(at);
                        break;
                    }
                    _ => {}
                }
            }
            let after = &after[end.unwrap_or_else(|| panic!("{line}")) + 1..];
            rest = after.strip_prefix(',').unwrap_or(after);
            assert!(rest.len() < after.len() || rest.is_empty(), "{line}");
        }
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert_eq!(samples.insert(format!("{name}{{{labels}}}"), value), None, "{line}");
    }
    // By those whose format it is, where they are installed.
    let promtool = Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).spawn();
    if let Ok(mut promtool) = promtool {
        std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), text.as_bytes()).unwrap();
        assert!(promtool.wait().unwrap().success(), "{text}");
    }
    samples
}

#[test]
fn what_is_written_at_the_end_of_every_run() {
    let site = Site::running();
    site.edit("conf.d/ssl-mgr.conf", "[globals]\n", "[globals]\nmetrics_file = 'reseed.prom'\n");
    let file = || parsed(&site.text("reseed.prom"));
    site.manager("tend").exits(0);
    let metrics = file();
    assert_eq!(site.mode("reseed.prom"), 0o644);
    assert_eq!(parsed(&site.manager("metrics").out), metrics);
    let ends = metrics["reseed_certificate_not_after_timestamp_seconds{group=\"example.com\",service=\"web\",link=\"curr\"}"];
    let told = site.manager("status --json").json();
    let web =
        told["services"].as_array().unwrap().iter().find(|one| one["name"] == "example.com/web").unwrap();
    let time = |text: &serde_json::Value| {
        time::OffsetDateTime::parse(text.as_str().unwrap(), &time::format_description::well_known::Rfc3339)
            .unwrap()
    };
    assert_eq!(time(&web["versions"][0]["certificate"]["not_after"]).unix_timestamp(), ends);
    let due = metrics["reseed_certificate_renewal_timestamp_seconds{group=\"example.com\",service=\"web\"}"];
    assert_eq!(time(&web["due"]["at"]).unix_timestamp(), due);
    let of = |metrics: &BTreeMap<String, i64>, name: &str| metrics.get(name).copied();
    let (failed, success) = (
        "reseed_last_run_failed{command=\"tend\"}",
        "reseed_last_success_timestamp_seconds{command=\"tend\"}",
    );
    let (pending, since) = (
        "reseed_pending_actions{host=\"localhost\"}",
        "reseed_pending_since_timestamp_seconds{host=\"localhost\"}",
    );
    assert_eq!([of(&metrics, failed), of(&metrics, pending), of(&metrics, since)], [Some(0), Some(0), None]);

    // A run that fails leaves its metrics, too, and the last success.
    let before = of(&metrics, success).unwrap();
    site.refuses("web", true);
    site.edit("conf.d/example.com/web", "'web.example.com'", "'web.example.com', 'new.example.com'");
    site.manager("tend").exits(1);
    let metrics = file();
    assert_eq!([of(&metrics, failed), of(&metrics, success)], [Some(1), Some(before)]);
    assert!(of(&metrics, pending) >= Some(1) && of(&metrics, since) >= Some(before), "{metrics:?}");
    // One that only shows what it would do leaves none.
    site.remove("reseed.prom");
    for shows in ["tend --dry-run", "renew --dry-run", "status", "check"] {
        site.manager(shows);
        assert!(!site.has("reseed.prom"), "{shows}");
    }
    site.refuses("web", false);
    site.manager("tend").exits(0);
    assert_eq!([of(&file(), failed), of(&file(), pending)], [Some(0), Some(0)]);
    site.manager(&format!("metrics --output {}", site.path("other.prom").display())).exits(0);
    assert_eq!(parsed(&site.text("other.prom")), file());

    // Where it cannot be written, that is said.
    site.edit("conf.d/ssl-mgr.conf", "'reseed.prom'", "'nowhere/reseed.prom'");
    site.manager("tend").exits(1).complains("metrics: ");
}
