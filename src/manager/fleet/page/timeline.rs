//! When certificates end, as bars: what has ended, then weeks, then months. However many there are, the drawing has
//! the same size.

use maud::{Markup, html};
use time::{Date, Duration, OffsetDateTime};

use super::super::answer::Expiry;
use super::{Urgency, counted, shortened};

/// Weeks that are drawn one by one.
const WEEKS: i64 = 13;
/// Months after them; what ends later than all of these is one bar.
const MONTHS: usize = 12;
/// Certificates that are named beside a bar.
const NAMED: usize = 3;

/// A bar.
#[derive(Debug, PartialEq, Eq)]
struct Period {
    label: String,
    /// What ends before this moment, and is in no earlier period, is in this one.
    until: OffsetDateTime,
    urgency: Urgency,
}

/// The drawing, with the numbers that it stands for; `expiries` are in the order of their ends.
pub fn timeline(expiries: &[Expiry], now: OffsetDateTime) -> Markup {
    let mut rest = expiries;
    let mut rows: Vec<(Period, &[Expiry])> = Vec::new();
    for period in periods(now) {
        let (those, others) = rest.split_at(rest.partition_point(|expiry| expiry.not_after < period.until));
        rows.push((period, those));
        rest = others;
    }
    let later = Period { label: "later".into(), until: now, urgency: Urgency::Later };
    rows.push((later, rest));
    let most = rows.iter().map(|(_, those)| those.len()).max().unwrap_or_default().max(1);
    html! {
        h2 id="timeline" { "When certificates end" }
        table.timeline.stack role="table" {
            caption.dim style="text-align:left" {
                "Bars are as long as there are certificates: weeks first, then months. What has ended is hatched."
            }
            thead role="rowgroup" {
                tr role="row" {
                    th scope="col" role="columnheader" { "Ends" }
                    th scope="col" role="columnheader" { "Certificates" }
                }
            }
            tbody role="rowgroup" {
                @for (period, those) in &rows {
                    @if !those.is_empty() || period.urgency != Urgency::Ended {
                        (row(period, those, most))
                    }
                }
            }
        }
    }
}

fn row(period: &Period, those: &[Expiry], most: usize) -> Markup {
    let percent = (those.len() * 100).div_ceil(most);
    let word = match period.urgency {
        Urgency::Later => "",
        other => other.name(),
    };
    let named: Vec<String> = those.iter().take(NAMED).map(|expiry| shortened(&expiry.title())).collect();
    let more = those.len() - named.len();
    html! {
        tr role="row" class=(period.urgency.name()) {
            th.time scope="row" role="rowheader" {
                @if period.urgency == Urgency::Ended { b { (period.label) } } @else { (period.label) }
                @if period.urgency == Urgency::Soon { " (" (word) ")" }
            }
            td role="cell" {
                @if those.is_empty() { span.dim { "none" } } @else {
                    div.row {
                        div.track aria-hidden="true" { div.bar style={ "width:" (percent) "%" } {} }
                        b { (counted(those.len())) }
                        span.dim.names {
                            (named.join(", "))
                            @if more > 0 { " and " (counted(more)) " more" }
                        }
                    }
                }
            }
        }
    }
}

fn periods(now: OffsetDateTime) -> Vec<Period> {
    let mut found =
        vec![Period { label: "Ended".into(), until: now + Duration::SECOND, urgency: Urgency::Ended }];
    for week in 0..WEEKS {
        let (from, until) = (now + Duration::weeks(week), now + Duration::weeks(week + 1));
        let last = until - Duration::DAY;
        let label = match from.month() == last.month() {
            true => format!("{} – {}", from.day(), day(last)),
            false => format!("{} – {}", day(from), day(last)),
        };
        found.push(Period { label, until, urgency: Urgency::of(until - Duration::SECOND, now) });
    }
    let mut from = (now + Duration::weeks(WEEKS)).date();
    for month in 0..MONTHS {
        let Some(next) = after(from) else { break };
        let label = format!("{} {}", short(from), from.year());
        let label = if month == 0 && from.day() > 1 { format!("rest of {label}") } else { label };
        found.push(Period { label, until: next.midnight().assume_utc(), urgency: Urgency::Later });
        from = next;
    }
    found
}

/// The first day of the next month.
fn after(date: Date) -> Option<Date> {
    let next = date.month().next();
    let year = if next == time::Month::January { date.year() + 1 } else { date.year() };
    Date::from_calendar_date(year, next, 1).ok()
}

fn day(time: OffsetDateTime) -> String {
    format!("{} {}", time.day(), short(time.date()))
}

fn short(date: Date) -> String {
    date.month().to_string().chars().take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::answer::tests::NOW;
    use super::*;

    fn ends(days: i64) -> Expiry {
        Expiry {
            certificate: Some(format!("c{days}")),
            places: Vec::new(),
            names: Vec::new(),
            fingerprint: String::new(),
            not_before: NOW - Duration::days(100),
            not_after: NOW + Duration::days(days),
        }
    }

    #[test]
    fn the_periods_follow_one_another() {
        let periods = periods(NOW);
        assert!(periods.windows(2).all(|pair| pair[0].until < pair[1].until), "{periods:#?}");
        let labels: Vec<&str> = periods.iter().map(|period| period.label.as_str()).collect();
        assert_eq!(labels[..4], ["Ended", "25 Nov – 1 Dec", "2 – 8 Dec", "9 – 15 Dec"]);
        assert_eq!(labels[14..16], ["rest of Feb 2027", "Mar 2027"]);
        assert_eq!(labels.last(), Some(&"Jan 2028"));
    }

    #[test]
    fn every_certificate_is_in_one_bar() {
        let cases: [(&str, Vec<i64>, usize); 4] = [
            ("none", vec![], 0),
            ("one that has ended", vec![-3], 1),
            ("one of each kind", vec![-3, 0, 6, 7, 90, 92, 400, 4000], 7),
            ("many", (0..100_000).map(|index| index / 300).collect(), 23),
        ];
        for (case, days, bars) in cases {
            let expiries: Vec<Expiry> = days.iter().map(|days| ends(*days)).collect();
            let text = timeline(&expiries, NOW).into_string();
            assert_eq!(text.matches("<div class=\"bar\"").count(), bars, "{case}: {text}");
            let numbers = text
                .split("<b>")
                .skip(1)
                .filter_map(|rest| rest.split("</b>").next()?.replace('\u{202f}', "").parse::<usize>().ok());
            assert_eq!(numbers.sum::<usize>(), days.len(), "{case}");
            assert!(text.len() < 20_000, "{case}: {}", text.len());
        }
    }
}
