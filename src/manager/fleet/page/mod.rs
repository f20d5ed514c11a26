//! The answer as one HTML page: no script, no other file, nothing from the network; readable at any width, in
//! light and dark, and printed. However large the site, the page stays of a size that a browser shows at once.

mod timeline;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use time::{Duration, OffsetDateTime};

use super::answer::{Answer, Expiry, Host, Place, Shared, State};

/// Days left below which a certificate is shown as ending soon.
pub const SOON_DAYS: i64 = 14;
/// Rows of each table; what is left out is counted, and `--json` has it.
const MOST_ROWS: usize = 500;
/// Texts in one cell.
const MOST_IN_CELL: usize = 5;
/// Characters of one text.
const MOST_CHARACTERS: usize = 300;
const STYLE: &str = include_str!("style.css");
/// Whatever a machine calls itself, nothing is run and nothing is fetched.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// How near an end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Urgency {
    Ended,
    Soon,
    Later,
}

impl Urgency {
    fn of(end: OffsetDateTime, now: OffsetDateTime) -> Self {
        match end - now {
            left if left <= Duration::ZERO => Self::Ended,
            left if left <= Duration::days(SOON_DAYS) => Self::Soon,
            _ => Self::Later,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Soon => "soon",
            Self::Later => "later",
        }
    }
}

/// The page.
pub fn page(answer: &Answer, now: OffsetDateTime) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Certificates and machines, " (now.date()) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "Certificates and machines" }
                    p.dim { "As of " (minute(now)) ". All times are in UTC." }
                    (summary(answer, now))
                }
                main {
                    (timeline::timeline(&answer.expiries, now))
                    (hosts(&answer.hosts))
                    (shared(&answer.shared))
                    (expiries(&answer.expiries, now))
                    (unread(&answer.unread))
                }
                footer {
                    "Made by reseed " (env!("CARGO_PKG_VERSION")) ": reseed manager fleet --html. "
                    "With --json in place of --html it says the same in full."
                }
            }
        }
    };
    markup.into_string()
}

fn summary(answer: &Answer, now: OffsetDateTime) -> Markup {
    let of = |state: State| answer.hosts.iter().filter(|host| host.state == state).count();
    let ends = |wanted: Urgency| {
        answer.expiries.iter().filter(|it| Urgency::of(it.not_after, now) == wanted).count()
    };
    let (ended, soon) = (ends(Urgency::Ended), ends(Urgency::Soon));
    let wanting = answer.hosts.len() - of(State::Fresh);
    html! {
        p {
            b {
                @if wanting == 0 && ended + soon == 0 { "All is well." } @else {
                    (counted(wanting)) " of " (counted(answer.hosts.len())) " machines want somebody; "
                    (counted(ended)) " certificates have ended, and " (counted(soon)) " end within "
                    (SOON_DAYS) " days."
                }
            }
        }
        ul.sum {
            li { b { (counted(answer.hosts.len())) } "machines" }
            @for state in State::ALL {
                @if of(state) > 0 { li { b class=(state.name()) { (counted(of(state))) } (state.name()) } }
            }
            li { b { (counted(answer.expiries.len())) } "certificates" }
            @if ended > 0 { li { b.ended { (counted(ended)) } "have ended" } }
            @if soon > 0 { li { b.soon { (counted(soon)) } "end within " (SOON_DAYS) " days" } }
            @if !answer.shared.is_empty() {
                li { b.soon { (counted(answer.shared.len())) } "keys and ids shared" }
            }
        }
    }
}

fn hosts(hosts: &[Host]) -> Markup {
    let count = hosts.iter().filter(|host| host.state != State::Fresh).count();
    let wanting = hosts.iter().filter(|host| host.state != State::Fresh).take(MOST_ROWS);
    let row = |host: &Host| {
        html! {
            (cell("Machine", html! { (shortened(&host.host)) }))
            (cell("State", html! { b class=(host.state.name()) { (host.state.name()) } }))
            (cell("Why", html! {
                @if let Some(happened) = &host.happened { div { (shortened(happened)) } }
                (some(host.reasons.iter().map(String::as_str)))
            }))
            (cell("Reported", html! {
                @match host.seen { Some(seen) => { span.time { (minute(seen)) } }, None => "never" }
            }))
        }
    };
    html! {
        h2 id="machines" { "Machines that want somebody" }
        @if count == 0 { p { "None." } } @else {
            (table(&["Machine", "State", "Why", "Reported"], wanting.map(row)))
            (left_out(count))
        }
    }
}

fn shared(shared: &[Shared]) -> Markup {
    let row = |one: &Shared| {
        html! {
            (cell("What", html! { b { (one.what.name()) } div.dim { (one.what.means()) } }))
            (cell("Digest", html! { code { (shortened(&one.digest)) } }))
            (cell("Where", places(&one.places)))
        }
    };
    html! {
        h2 id="shared" { "What several machines share" }
        @if shared.is_empty() { p { "Nothing." } } @else {
            (table(&["What", "Digest", "Where"], shared.iter().take(MOST_ROWS).map(row)))
            (left_out(shared.len()))
        }
    }
}

fn expiries(expiries: &[Expiry], now: OffsetDateTime) -> Markup {
    let row = |expiry: &Expiry| {
        let urgency = Urgency::of(expiry.not_after, now);
        html! {
            (cell("Ends", html! {
                div { span.time { (minute(expiry.not_after)) } }
                div class=(urgency.name()) { (left(expiry.not_after, now)) }
            }))
            (cell("Names", html! {
                @if let Some(name) = &expiry.certificate { div { (shortened(name)) } }
                (some(expiry.names.iter().filter(|name| expiry.certificate.as_ref() != Some(name)).map(String::as_str)))
            }))
            (cell("Where", places(&expiry.places)))
            (cell("SHA-256", html! { code { (shortened(&expiry.fingerprint)) } }))
        }
    };
    html! {
        h2 id="certificates" { "Certificates, by their end" }
        @if expiries.is_empty() { p { "None." } } @else {
            (table(&["Ends", "Names", "Where", "SHA-256"], expiries.iter().take(MOST_ROWS).map(row)))
            (left_out(expiries.len()))
        }
    }
}

fn unread(unread: &[String]) -> Markup {
    html! {
        @if !unread.is_empty() {
            h2 id="unread" { "Reports that cannot be read" }
            ul { @for why in unread.iter().take(MOST_ROWS) { li { (shortened(why)) } } }
            (left_out(unread.len()))
        }
    }
}

// ---- tables -------------------------------------------------------------------------------------

/// A table that is a list of cards on a narrow screen; the roles say to those who cannot see it that it is one there,
/// too.
fn table(heads: &[&str], rows: impl Iterator<Item = Markup>) -> Markup {
    html! {
        table.stack role="table" {
            thead role="rowgroup" {
                tr role="row" { @for head in heads { th scope="col" role="columnheader" { (head) } } }
            }
            tbody role="rowgroup" { @for row in rows { tr role="row" { (row) } } }
        }
    }
}

fn cell(label: &str, content: Markup) -> Markup {
    html! { td role="cell" data-label=(label) { (content) } }
}

/// As many texts as a cell holds.
fn some<'t>(texts: impl Iterator<Item = &'t str>) -> Markup {
    let mut texts = texts;
    let first: Vec<&str> = texts.by_ref().take(MOST_IN_CELL).collect();
    let more = texts.count();
    html! {
        @for text in first { div { (shortened(text)) } }
        @if more > 0 { div.dim { "and " (counted(more)) " more" } }
    }
}

fn places(places: &[Place]) -> Markup {
    let first: Vec<String> = places.iter().take(MOST_IN_CELL).map(Place::to_string).collect();
    let more = places.len() - first.len();
    html! {
        (some(first.iter().map(String::as_str)))
        @if more > 0 { div.dim { "and " (counted(more)) " more" } }
    }
}

fn left_out(count: usize) -> Markup {
    let more = count.saturating_sub(MOST_ROWS);
    html! {
        @if more > 0 {
            p.dim { "These are the first " (MOST_ROWS) "; " (counted(more)) " more are left out of this page." }
        }
    }
}

// ---- texts --------------------------------------------------------------------------------------

/// As much of a text as a page has room for.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A number with its thousands apart.
fn counted(number: usize) -> String {
    let digits = number.to_string();
    let mut written = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            written.push('\u{202f}');
        }
        written.push(digit);
    }
    written
}

/// How long is left, or how long ago it ended.
pub fn left(end: OffsetDateTime, now: OffsetDateTime) -> String {
    let (length, ended) = if end > now { (end - now, false) } else { (now - end, true) };
    let length = match length.whole_hours() {
        hours @ 0..48 => format!("{hours} h"),
        hours => format!("{} d", hours / 24),
    };
    match ended {
        true => format!("ended {length} ago"),
        false => format!("in {length}"),
    }
}

fn minute(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    format!("{} {:02}:{:02}", time.date(), time.hour(), time.minute())
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::{NOW, answer, certificate};
    use super::super::report::HostReport;
    use super::*;

    #[test]
    fn every_text_is_escaped() {
        let hostile = "<script>alert(1)</script>\"'&";
        let mut report = HostReport::new(hostile, NOW);
        report.improper = Some(hostile.into());
        report.happened = Some(hostile.into());
        report.certificates.push(certificate(hostile, hostile, hostile, 3));
        let mut other = HostReport::new(format!("{hostile}2"), NOW);
        other.certificates.push(certificate(hostile, hostile, hostile, 3));
        let mut answer = answer([report, other], NOW);
        answer.unread.push(hostile.into());
        let text = page(&answer, NOW);
        assert!(!text.contains("<script") && text.contains("&lt;script&gt;"), "{text}");
    }

    #[test]
    fn a_page_has_a_bound_whatever_machines_say() {
        let long = "x".repeat(10_000);
        let report = |index: usize| {
            let mut report = HostReport::new(format!("{index}.{long}"), NOW);
            report.faults = vec![long.clone(); 100];
            report.host_keys.push(format!("SHA256:{}{long}", index / 2));
            let path = format!("/{index}{long}");
            report.certificates.push(certificate(&path, &format!("{index}{long}"), &path, 30));
            report.certificates[0].names = vec![long.clone(); 100];
            report
        };
        let answer = answer((0..MOST_ROWS * 2 + 2).map(report), NOW);
        let text = page(&answer, NOW);
        assert_eq!(text.matches("502 more are left out").count(), 2);
        assert_eq!(text.matches("1 more are left out").count(), 1);
        assert!(text.contains("and 95 more"), "cells, too");
        assert!(text.len() < 8 << 20, "{}", text.len());
    }

    #[test]
    fn how_numbers_and_times_read() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(counted).join(" "),
            "0 999 1\u{202f}000 1\u{202f}234\u{202f}567"
        );
        let cases =
            [(-49, "ended 2 d ago"), (-1, "ended 1 h ago"), (1, "in 1 h"), (47, "in 47 h"), (48, "in 2 d")];
        for (hours, expected) in cases {
            assert_eq!(left(NOW + Duration::hours(hours), NOW), expected);
        }
    }
}
