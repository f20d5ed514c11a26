//! What is in a file of keys, requests and certificates, in words: whatever order, encoding and text around
//! the blocks. What is secret in it is never told.

mod block;
mod certificate;
mod extension;
mod key;
mod name;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use block::describe;
pub use certificate::algorithms;

/// One block of a file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Described {
    /// The line in which it begins, counted from 1; 0 where the file is no text.
    pub line: usize,
    /// What it is: `certificate`, `private key`, …
    pub kind: String,
    /// What it says, in the order in which people read it.
    pub fields: Fields,
    /// What is wrong with it, if it cannot be understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl Described {
    fn new(kind: &str, fields: Fields) -> Self {
        Self { line: 0, kind: kind.to_owned(), fields, fault: None }
    }

    fn faulty(kind: &str, fault: impl Into<String>) -> Self {
        Self { line: 0, kind: kind.to_owned(), fields: Fields::default(), fault: Some(fault.into()) }
    }

    fn at(self, line: usize) -> Self {
        Self { line, ..self }
    }

    /// The block as `reseed manager info` shows it; `verbose` with what few want to know.
    pub fn shown(&self, verbose: bool) -> Shown<'_> {
        Shown { block: self, verbose }
    }
}

/// What a block says, each with its label.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<Field>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    label: &'static str,
    value: Value,
    /// For those who want to know everything.
    rare: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    List(Vec<String>),
    Time { time: OffsetDateTime, now: OffsetDateTime },
}

impl Fields {
    fn text(&mut self, label: &'static str, value: impl Into<String>) {
        self.0.push(Field { label, value: Value::Text(value.into()), rare: false });
    }

    fn rare(&mut self, label: &'static str, value: impl Into<String>) {
        self.0.push(Field { label, value: Value::Text(value.into()), rare: true });
    }

    /// Nothing where there is nothing to be listed.
    fn list(&mut self, label: &'static str, values: Vec<String>) {
        if !values.is_empty() {
            self.0.push(Field { label, value: Value::List(values), rare: false });
        }
    }

    /// Nothing where there is nothing to be listed.
    fn rare_list(&mut self, label: &'static str, values: Vec<String>) {
        if !values.is_empty() {
            self.0.push(Field { label, value: Value::List(values), rare: true });
        }
    }

    fn date(&mut self, label: &'static str, time: OffsetDateTime, now: OffsetDateTime) {
        self.0.push(Field { label, value: Value::Time { time, now }, rare: false });
    }
}

impl Serialize for Fields {
    /// As a map of labels: texts, times (RFC 3339), and lists of texts.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for field in &self.0 {
            let label = field.label.to_ascii_lowercase().replace(' ', "_");
            match &field.value {
                Value::Text(text) => map.serialize_entry(&label, text)?,
                Value::List(list) => map.serialize_entry(&label, list)?,
                Value::Time { time, .. } => map.serialize_entry(&label, &time.format(&Rfc3339).ok())?,
            }
        }
        map.end()
    }
}

/// See [`Described::shown`].
#[derive(Debug)]
pub struct Shown<'a> {
    block: &'a Described,
    verbose: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Described { line, kind, fields, fault } = self.block;
        match line {
            0 => row(f, "Block", kind)?,
            line => row(f, "Block", &format!("{kind}, line {line}"))?,
        }
        if let Some(fault) = fault {
            row(f, "Fault", fault)?;
        }
        for field in fields.0.iter().filter(|field| self.verbose || !field.rare) {
            match &field.value {
                Value::Text(text) => row(f, field.label, text)?,
                Value::Time { time, now } => row(f, field.label, &when(*time, *now))?,
                Value::List(list) => {
                    let mut label = field.label;
                    for text in wrapped(list) {
                        row(f, label, &text)?;
                        label = "";
                    }
                }
            }
        }
        Ok(())
    }
}

/// A line, without anything that a terminal would obey.
fn row(f: &mut fmt::Formatter<'_>, label: &str, text: &str) -> fmt::Result {
    let text: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    let colon = if label.is_empty() { ' ' } else { ':' };
    writeln!(f, "{label:>WIDTH$} {colon} {text}")
}

/// Of the longest label.
const WIDTH: usize = 11;

/// A list in lines of about sixty columns.
fn wrapped(list: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (at, text) in list.iter().enumerate() {
        let comma = if at + 1 < list.len() { "," } else { "" };
        match lines.last_mut() {
            Some(line) if line.chars().count() + text.chars().count() < COLUMNS => {
                line.push_str(&format!(" {text}{comma}"));
            }
            _ => lines.push(format!("{text}{comma}")),
        }
    }
    lines
}

const COLUMNS: usize = 60;

/// A time in UTC, and how far it is.
fn when(time: OffsetDateTime, now: OffsetDateTime) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let stamp = time.format(format).unwrap_or_else(|_| time.to_string());
    let distance = time - now;
    let (number, unit) = match distance.abs() {
        long if long.whole_days() >= 2 => (long.whole_days(), "days"),
        short if short.whole_hours() >= 2 => (short.whole_hours(), "hours"),
        moment => (moment.whole_minutes(), "minutes"),
    };
    if distance.is_negative() {
        format!("{stamp} ({number} {unit} ago)")
    } else {
        format!("{stamp} (in {number} {unit})")
    }
}

/// Octets as people compare them.
fn colons(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect::<Vec<_>>().join(":")
}
