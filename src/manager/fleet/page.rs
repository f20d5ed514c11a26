//! The answer as one HTML page: no script, no other file, nothing from the network; readable at any width, in
//! light and dark, and printed.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use time::{Duration, OffsetDateTime};

use super::answer::{Answer, Expiry, Host, Place, Shared, State};

/// Rows of the timeline; what ends later than all of these is counted.
const MOST_ROWS: usize = 200;
/// Months that the timeline shows from today on.
const MONTHS: i64 = 12;
/// Width of the timeline's drawing in its own units, and the height of one row.
const WIDTH: i64 = 1000;
const ROW: i64 = 22;
/// Where bars begin: left of them stand the names.
const LEFT: i64 = 320;
/// Days left below which a certificate is drawn as ending soon.
const SOON_DAYS: i64 = 14;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#57606a;--line:#d0d7de;--paper:#fff;--good:#2da44e;--soon:#bf8700;--bad:#cf222e}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#8d96a0;--line:#30363d;--paper:#0d1117;--good:#3fb950;--soon:#d29922;--bad:#f85149}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:72rem;margin:0 auto;padding:1.5rem}\
h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}p{margin:.25rem 0;color:var(--dim)}\
ul.sum{list-style:none;display:flex;flex-wrap:wrap;gap:.75rem;padding:0;margin:1rem 0}ul.sum li{border:1px solid var(--line);border-radius:.5rem;padding:.5rem .9rem}\
ul.sum b{font-size:1.3rem;display:block}table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line)}\
td.t{white-space:nowrap}code{font-size:.85em;overflow-wrap:anywhere}.held,.improper,.bad{color:var(--bad)}.stale,.silent,.soon{color:var(--soon)}.fresh,.good{color:var(--good)}\
svg{width:100%;height:auto;display:block}svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg .axis{fill:var(--dim)}svg line{stroke:var(--line)}svg .now{stroke:var(--bad)}\
svg rect.good{fill:var(--good)}svg rect.soon{fill:var(--soon)}svg rect.bad{fill:var(--bad)}";

/// The page.
pub fn page(answer: &Answer, now: OffsetDateTime) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Certificates and machines" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Certificates and machines" }
                p { "As reported until " (minute(now)) }
                (summary(answer, now))
                (hosts(&answer.hosts))
                (shared(&answer.shared))
                (timeline(&answer.expiries, now))
                (expiries(&answer.expiries, now))
            }
        }
    };
    markup.into_string()
}

fn summary(answer: &Answer, now: OffsetDateTime) -> Markup {
    let mut states: BTreeMap<State, usize> = BTreeMap::new();
    answer.hosts.iter().for_each(|host| *states.entry(host.state).or_default() += 1);
    let ending = answer.expiries.iter().filter(|expiry| class(expiry, now) != "good").count();
    html! {
        ul.sum {
            li { b { (answer.hosts.len()) } "machines" }
            @for (state, count) in &states { li { b class=(state.name()) { (count) } (state.name()) } }
            li { b { (answer.expiries.len()) } "certificates" }
            li { b class=(if ending > 0 { "soon" } else { "good" }) { (ending) } "end within " (SOON_DAYS) " days" }
            li { b class=(if answer.shared.is_empty() { "good" } else { "soon" }) { (answer.shared.len()) } "shared" }
        }
    }
}

fn hosts(hosts: &[Host]) -> Markup {
    let wanting: Vec<&Host> = hosts.iter().filter(|host| host.state != State::Fresh).collect();
    html! {
        h2 id="machines" { "Machines that want somebody" }
        @if wanting.is_empty() { p { "None: all are fresh." } } @else {
            table {
                thead { tr { th { "Machine" } th { "State" } th { "Why" } th { "Reported" } } }
                tbody {
                    @for host in wanting {
                        tr {
                            td { (host.host) }
                            td class=(host.state.name()) { (host.state.name()) }
                            td { @for reason in &host.reasons { div { (reason) } } }
                            td.t { (minute(host.seen)) }
                        }
                    }
                }
            }
        }
    }
}

fn shared(shared: &[Shared]) -> Markup {
    html! {
        h2 id="shared" { "What several machines share" }
        @if shared.is_empty() { p { "Nothing." } } @else {
            table {
                thead { tr { th { "What" } th { "Digest" } th { "Where" } } }
                tbody {
                    @for one in shared {
                        tr {
                            td { (one.what.name()) }
                            td { code { (one.digest) } }
                            td { @for place in &one.places { div { (whereabouts(place)) } } }
                        }
                    }
                }
            }
        }
    }
}

/// A bar for each certificate, from today or its start to its end; what has ended is a mark at today.
fn timeline(expiries: &[Expiry], now: OffsetDateTime) -> Markup {
    let rows = expiries.get(..MOST_ROWS).unwrap_or(expiries);
    let left_out = expiries.len().saturating_sub(rows.len());
    let height = ROW * i64::try_from(rows.len()).unwrap_or_default() + 2 * ROW;
    let span = Duration::days(MONTHS * 365 / 12);
    let at = |time: OffsetDateTime| {
        let part = (time - now).as_seconds_f64() / span.as_seconds_f64();
        LEFT + ((WIDTH - LEFT) as f64 * part.clamp(0.0, 1.0)).round() as i64
    };
    html! {
        h2 id="timeline" { "When certificates end" }
        svg role="img" aria-label="Timeline of certificates, by when they end" viewBox={ "0 0 " (WIDTH) " " (height) } {
            @for month in 0..=MONTHS {
                @let when = now + Duration::days(month * 365 / 12);
                @let x = at(when);
                line class=(if month == 0 { "now" } else { "" }) x1=(x) x2=(x) y1=(ROW) y2=(height) {}
                @if month < MONTHS { text.axis x=(x + 3) y="14" { (label(when, month)) } }
            }
            @for (row, expiry) in (1_i64..).zip(rows) {
                @let y = ROW * row + 4;
                text x=(LEFT - 8) y=(y + 13) text-anchor="end" { (shortened(&title(expiry))) }
                rect class=(class(expiry, now)) x=(LEFT) y=(y) rx="3" height=(ROW - 7)
                    width=((at(expiry.not_after) - LEFT).max(4)) {
                    title { (title(expiry)) ": until " (minute(expiry.not_after)) }
                }
            }
        }
        @if left_out > 0 { p { (left_out) " more end later and are only in the table." } }
    }
}

fn expiries(expiries: &[Expiry], now: OffsetDateTime) -> Markup {
    html! {
        h2 id="certificates" { "Certificates" }
        table {
            thead { tr { th { "Ends" } th { "Names" } th { "Where" } th { "SHA-256" } } }
            tbody {
                @for expiry in expiries {
                    tr {
                        td class={ "t " (class(expiry, now)) } { (minute(expiry.not_after)) }
                        td { (expiry.names.join(", ")) }
                        td { @for place in &expiry.places { div { (whereabouts(place)) } } }
                        td { code { (expiry.fingerprint) } }
                    }
                }
            }
        }
    }
}

fn class(expiry: &Expiry, now: OffsetDateTime) -> &'static str {
    match expiry.not_after - now {
        left if left <= Duration::ZERO => "bad",
        left if left <= Duration::days(SOON_DAYS) => "soon",
        _ => "good",
    }
}

fn title(expiry: &Expiry) -> String {
    match (expiry.names.first(), expiry.places.first()) {
        (Some(name), _) => name.clone(),
        (None, Some(place)) => whereabouts(place),
        (None, None) => expiry.fingerprint.clone(),
    }
}

/// As much of a name as fits beside the bars; the whole one is in the bar's title.
fn shortened(name: &str) -> String {
    const FITS: usize = 44;
    if name.chars().count() <= FITS {
        return name.to_owned();
    }
    name.chars().take(FITS - 1).chain(['…']).collect()
}

fn whereabouts(place: &Place) -> String {
    if place.path.is_empty() { place.host.clone() } else { format!("{}:{}", place.host, place.path) }
}

/// The year only where it is another one than at the left.
fn label(when: OffsetDateTime, month: i64) -> String {
    let name = when.month().to_string();
    let short: String = name.chars().take(3).collect();
    match month == 0 || when.month() == time::Month::January {
        true => format!("{short} {}", when.year()),
        false => short,
    }
}

fn minute(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    format!("{} {:02}:{:02} UTC", time.date(), time.hour(), time.minute())
}

#[cfg(test)]
mod tests {
    use super::super::answer::answer;
    use super::super::answer::tests::{NOW, certificate};
    use super::super::report::HostReport;
    use super::*;

    #[test]
    fn every_text_is_escaped() {
        let hostile = "<script>alert(1)</script>\"'&";
        let mut report = HostReport::new(hostile, NOW);
        report.improper = Some(hostile.into());
        report.certificates.push(certificate(hostile, hostile, hostile, 3));
        let text = page(&answer(&[report], NOW), NOW);
        assert!(!text.contains("<script") && text.contains("&lt;script&gt;"), "{text}");
    }

    #[test]
    fn the_timeline_has_a_bar_for_each_up_to_a_bound() {
        for (count, bars, more) in [(0, 0, false), (3, 3, false), (MOST_ROWS + 5, MOST_ROWS, true)] {
            let days = |index: usize| i64::try_from(index).unwrap() - 1;
            let certificates = (0..count)
                .map(|index| certificate("/c", &format!("f{index}"), &format!("k{index}"), days(index)));
            let report = HostReport { certificates: certificates.collect(), ..HostReport::new("a", NOW) };
            let text = page(&answer(&[report], NOW), NOW);
            assert_eq!(text.matches("<rect ").count(), bars, "{count}");
            assert_eq!(text.contains("5 more end later"), more, "{count}");
        }
    }
}
