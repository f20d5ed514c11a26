//! Keys of sections as types. What nobody asked for is left over, and told with the key that was probably meant.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::ini::{self, Document, Entry, Word, Wrong};
use crate::fault::Fault;
use crate::manager::nearest::{hint, shown};

/// How often a value may refer to another that refers to another.
const MAX_DEPTH: usize = 16;
/// How long in octets a value may become by what it refers to.
const MAX_LENGTH: usize = 4096;

/// A file that is being read.
pub(super) struct Sections<'a> {
    path: &'a Path,
    text: &'a str,
    document: Document,
    asked: BTreeSet<(String, String)>,
    wrong: std::cell::RefCell<Vec<Wrong>>,
    /// Sections in which anything may stand.
    open: BTreeSet<String>,
}

impl<'a> Sections<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        let mut wrong = Vec::new();
        let document = ini::parse(text, &mut wrong);
        let (asked, open) = (BTreeSet::new(), BTreeSet::new());
        Self { path, text, document, asked, wrong: wrong.into(), open }
    }

    /// Notes a fault of a value; what it returns says that the value is not good.
    pub(super) fn fault(&self, word: &Word, message: &str) -> bool {
        let message = format!("{} {message}", shown(&word.text));
        self.wrong.borrow_mut().push((word.span.clone(), message));
        false
    }

    /// A text; nothing where the key is not there, or empty, or has a fault.
    pub(super) fn text(&mut self, section: &str, key: &str) -> Option<Word> {
        let entry = self.entry(section, key)?;
        match entry.values.as_slice() {
            [word] if !entry.is_list => self.filled_in(section, word, 0).filter(|word| !word.text.is_empty()),
            _ => {
                let message = format!("{key} is one text; put it into quotes where it has a comma");
                self.wrong.borrow_mut().push((entry.span, message));
                None
            }
        }
    }

    /// A text that has to be there.
    pub(super) fn filled(&mut self, section: &str, key: &str) -> Option<Word> {
        let noted = self.wrong.borrow().len();
        let word = self.text(section, key);
        if word.is_none() && self.wrong.borrow().len() == noted {
            self.missing(section, key);
        }
        word
    }

    /// A whole path that has to be there.
    pub(super) fn path(&mut self, section: &str, key: &str) -> Option<PathBuf> {
        let word = self.filled(section, key)?;
        let path = PathBuf::from(&word.text);
        match path.is_absolute() {
            true => Some(path),
            false => {
                self.fault(&word, "is no whole path; write it from / on");
                None
            }
        }
    }

    /// Texts with commas between; one that has to be there.
    pub(super) fn list(&mut self, section: &str, key: &str) -> Option<Vec<Word>> {
        let Some(entry) = self.entry(section, key) else {
            self.missing(section, key);
            return None;
        };
        let words: Option<Vec<Word>> =
            entry.values.iter().map(|word| self.filled_in(section, word, 0)).collect();
        let words: Vec<Word> = words?.into_iter().filter(|word| !word.text.is_empty()).collect();
        if words.is_empty() {
            self.missing(section, key);
            return None;
        }
        Some(words)
    }

    /// A number that has to be there, unless there is a default.
    pub(super) fn number(
        &mut self,
        section: &str,
        key: &str,
        range: RangeInclusive<u64>,
        default: Option<u64>,
    ) -> Option<u64> {
        let word = match default {
            Some(default) if self.find(section, key).is_none() => return Some(default),
            _ => self.filled(section, key)?,
        };
        let number = word.text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let message = format!("is no number from {} to {}, as {key} is", range.start(), range.end());
            self.fault(&word, &message);
        }
        number
    }

    /// Yes or no, as ConfigObj takes it.
    pub(super) fn flag(&mut self, section: &str, key: &str) -> Option<bool> {
        let word = self.filled(section, key)?;
        match word.text.to_ascii_lowercase().as_str() {
            "yes" | "true" | "on" | "1" => Some(true),
            "no" | "false" | "off" | "0" => Some(false),
            _ => {
                self.fault(&word, "is neither yes nor no");
                None
            }
        }
    }

    /// Knows a key that does nothing.
    pub(super) fn ignore(&mut self, section: &str, key: &str) {
        self.asked.insert((section.to_owned(), key.to_owned()));
    }

    /// Knows a section in which anything does nothing.
    pub(super) fn ignore_all(&mut self, section: &str) {
        self.open.insert(section.to_owned());
    }

    /// The faults, and what is unknown; each in the order of the file.
    pub(super) fn finish(self) -> (Vec<Fault>, Vec<Fault>) {
        let mut unknown: Vec<Wrong> = Vec::new();
        let sections: BTreeSet<&str> = self.asked.iter().map(|(section, _)| section.as_str()).collect();
        let is_known = |name: &str| {
            let around = |known: &str| known.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
            self.open.contains(name) || sections.contains(name) || sections.iter().any(|known| around(known))
        };
        for section in self.document.sections.iter().filter(|section| !is_known(&section.text)) {
            let hint = hint(&section.text, sections.iter().copied());
            let message = format!("unknown section {}, which is ignored{hint}", shown(&section.text));
            unknown.push((section.span.clone(), message));
        }
        for entry in &self.document.entries {
            let Entry { section, key, .. } = entry;
            let is_asked = self.asked.contains(&(section.clone(), key.text.clone()));
            // Of an unknown section, one word is enough.
            if is_asked || self.open.contains(section) || !(is_known(section) || section.is_empty()) {
                continue;
            }
            let known = self.asked.iter().filter(|(other, _)| other == section);
            let hint = hint(&key.text, known.map(|(_, key)| key.as_str()));
            let place = match section.as_str() {
                "" => "before any section".to_owned(),
                section => format!("in [{section}]"),
            };
            let message = format!("unknown key {} {place}, which is ignored{hint}", shown(&key.text));
            unknown.push((key.span.clone(), message));
        }
        let faults = |mut wrong: Vec<Wrong>| {
            wrong.sort_by_key(|(span, _)| span.start);
            let at = |(span, message): Wrong| match span.is_empty() && message.starts_with('[') {
                true => Fault::whole(self.path, message),
                false => Fault::at(self.path, self.text, span, message),
            };
            wrong.into_iter().map(at).collect()
        };
        (faults(self.wrong.take()), faults(unknown))
    }

    fn find(&self, section: &str, key: &str) -> Option<&Entry> {
        self.document.entries.iter().find(|entry| entry.section == section && entry.key.text == key)
    }

    fn entry(&mut self, section: &str, key: &str) -> Option<Entry> {
        self.asked.insert((section.to_owned(), key.to_owned()));
        self.find(section, key).cloned()
    }

    /// At the key, or at the heading of the section, or nowhere.
    fn missing(&self, section: &str, key: &str) {
        let place = match self.find(section, key) {
            Some(entry) => entry.key.span.clone(),
            None => {
                let heading = self.document.sections.iter().find(|heading| heading.text == section);
                heading.map_or(0..0, |heading| heading.span.clone())
            }
        };
        self.wrong.borrow_mut().push((place, format!("[{section}] has no {key}, or an empty one")));
    }

    /// The same with the values to which it refers: of its section, or of one around it.
    fn filled_in(&self, section: &str, word: &Word, depth: usize) -> Option<Word> {
        let mut filled = String::new();
        let mut rest = word.text.as_str();
        while let Some(at) = rest.find('$') {
            filled.push_str(rest.get(..at).unwrap_or_default());
            rest = rest.get(at + 1..).unwrap_or_default();
            let (name, length) = reference(rest);
            match name {
                Reference::Dollar => filled.push('$'),
                // No name, so it is only a letter.
                Reference::None => filled.push('$'),
                Reference::To(name) => match self.referred(section, name) {
                    Some((around, value)) if depth < MAX_DEPTH => {
                        let inner = self.filled_in(&around, &value, depth + 1)?;
                        filled.push_str(&inner.text);
                    }
                    Some(_) => {
                        self.fault(word, "refers to itself");
                        return None;
                    }
                    None => {
                        let known = self.document.entries.iter().filter(|entry| entry.section == section);
                        let hint = hint(name, known.map(|entry| entry.key.text.as_str()));
                        self.fault(word, &format!("refers to {}, which is not there{hint}", shown(name)));
                        return None;
                    }
                },
            }
            rest = rest.get(length..).unwrap_or_default();
            if filled.len() > MAX_LENGTH {
                self.fault(word, "becomes too long by what it refers to");
                return None;
            }
        }
        filled.push_str(rest);
        Some(Word { text: filled, span: word.span.clone() })
    }

    /// What a name stands for, and in which section that is.
    fn referred(&self, section: &str, name: &str) -> Option<(String, Word)> {
        let mut around = section;
        loop {
            if let Some(word) = self.find(around, name).and_then(|entry| entry.values.first()) {
                return Some((around.to_owned(), word.clone()));
            }
            if around.is_empty() {
                return None;
            }
            around = around.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
    }
}

enum Reference<'t> {
    /// `$$`
    Dollar,
    To(&'t str),
    None,
}

/// What stands behind a `$`, and how many octets of it.
fn reference(rest: &str) -> (Reference<'_>, usize) {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if rest.starts_with('$') {
        return (Reference::Dollar, 1);
    }
    if let Some((name, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        return (Reference::To(name), name.len() + 2);
    }
    let length = rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
    match rest.get(..length) {
        Some(name) if !name.is_empty() && !name.starts_with(|letter: char| letter.is_ascii_digit()) => {
            (Reference::To(name), length)
        }
        _ => (Reference::None, 0),
    }
}
