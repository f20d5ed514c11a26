//! Reads TLSA records from the text that a zone includes (RFC 1035 section 5.1): ours, and ssl-mgr's.

use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use super::Record;
use crate::fault::Fault;

/// Reads every record; a repeated one is there twice. `path` is where the text lies, for messages.
///
/// # Errors
/// A [`Fault`] at what is no TLSA record with a full name, and at a parenthesis that is never closed.
pub fn parse(path: &Path, text: &str) -> Result<Vec<Record>, Fault> {
    let mut records: Vec<Record> = Vec::new();
    for entry in entries(text).map_err(|(span, message)| Fault::at(path, text, span, message))? {
        let before = records.last().map(|record| record.owner.as_str());
        let record =
            entry.record(before, text).map_err(|(span, message)| Fault::at(path, text, span, message))?;
        records.push(record);
    }
    Ok(records)
}

/// Where in the text, and what is wrong there.
type Wrong = (Range<usize>, String);

/// The words of one record, wherever its lines break.
#[derive(Default)]
struct Entry<'a> {
    /// Begins with a blank: for the same name as the one before.
    same: bool,
    words: Vec<(Range<usize>, &'a str)>,
}

fn entries(text: &str) -> Result<Vec<Entry<'_>>, Wrong> {
    let mut entries = Vec::new();
    let mut entry = Entry::default();
    let mut open: Option<Range<usize>> = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.split(';').next().unwrap_or_default();
        if open.is_none() {
            entry.same = content.starts_with([' ', '\t']);
        }
        for (span, word) in words(content, start) {
            match word {
                "(" if open.is_some() => return Err((span, "a parenthesis within another".into())),
                "(" => open = Some(span),
                ")" if open.take().is_none() => return Err((span, "no parenthesis is open here".into())),
                ")" => {}
                word => entry.words.push((span, word)),
            }
        }
        if open.is_none() && !entry.words.is_empty() {
            entries.push(std::mem::take(&mut entry));
        }
        start += line.len();
    }
    match open {
        Some(span) => Err((span, "this parenthesis is never closed".into())),
        None => Ok(entries),
    }
}

/// Words with their places; a parenthesis is one by itself.
fn words(line: &str, start: usize) -> Vec<(Range<usize>, &str)> {
    let blank = |c: char| c.is_ascii_whitespace();
    let mut words = Vec::new();
    let mut at = start;
    for piece in line.split_inclusive(|c: char| blank(c) || c == '(' || c == ')') {
        let word = piece.trim_end_matches(|c: char| blank(c) || c == '(' || c == ')');
        if !word.is_empty() {
            words.push((at..at + word.len(), word));
        }
        at += piece.len();
        if let Some(parenthesis) = ["(", ")"].into_iter().find(|one| piece.ends_with(one)) {
            words.push((at - 1..at, parenthesis));
        }
    }
    words
}

impl Entry<'_> {
    fn record(&self, before: Option<&str>, text: &str) -> Result<Record, Wrong> {
        let mut words = self.words.iter().cloned();
        let end = self.words.last().map_or(text.len(), |(span, _)| span.end);
        let mut next = |what: &str| words.next().ok_or_else(|| (end..end, format!("{what} is missing")));
        let owner = match (self.same, before) {
            (true, Some(before)) => before.to_owned(),
            (true, None) => return Err((end..end, "the first record has no name".into())),
            (false, _) => owner(next("the name")?)?,
        };
        let mut ttl = None;
        loop {
            let (span, word) = next("TLSA")?;
            if word.eq_ignore_ascii_case("TLSA") {
                break;
            } else if word.bytes().all(|b| b.is_ascii_digit()) {
                ttl = Some(number(span, word)?);
            } else if !word.eq_ignore_ascii_case("IN") {
                return Err((
                    span,
                    format!("\"{}\": only TLSA records are expected here", word.escape_debug()),
                ));
            }
        }
        let mut small = |what| next(what).and_then(|(span, word)| number(span, word));
        let (usage, selector, matching) =
            (small("the usage")?, small("the selector")?, small("the matching type")?);
        let mut data = Vec::new();
        // A digit's other half may stand on the next line.
        let mut half = None;
        for (span, word) in words {
            for digit in word.chars() {
                let digit = digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                let digit = digit.ok_or_else(|| (span.clone(), "no hexadecimal digits".to_owned()))?;
                match half.take() {
                    Some(high) => data.push(high << 4 | digit),
                    None => half = Some(digit),
                }
            }
        }
        if data.is_empty() || half.is_some() {
            return Err((end..end, "the data is to be an even number of hexadecimal digits".into()));
        }
        Ok(Record { owner, ttl, usage, selector, matching, data })
    }
}

fn owner((span, word): (Range<usize>, &str)) -> Result<String, Wrong> {
    match word.strip_suffix('.') {
        Some(name) if !name.is_empty() && !word.starts_with('$') => Ok(name.to_ascii_lowercase()),
        _ => Err((span, format!("\"{}\" is no full name: it is to end with a dot", word.escape_debug()))),
    }
}

fn number<N: FromStr>(span: Range<usize>, word: &str) -> Result<N, Wrong> {
    word.parse().map_err(|_| (span, format!("\"{}\" is no number that fits here", word.escape_debug())))
}
