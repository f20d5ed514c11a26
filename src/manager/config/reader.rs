//! Tables of TOML that remember what was asked of them, and where everything stands.
//!
//! What nobody asked for is left over, and told with the key that was probably meant. Values come in
//! the spellings that ssl-mgr takes: one text where a list may stand, a number in quotes.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::fault::Fault;
use crate::manager::nearest::{hint, shown};

/// What was found to be wrong, or odd, with one file.
#[derive(Debug, Default)]
pub(super) struct Notes {
    faults: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<Fault>>,
}

impl Notes {
    pub(super) fn fault(&self, fault: Fault) {
        self.faults.borrow_mut().push(fault);
    }

    pub(super) fn warn(&self, warning: Fault) {
        self.warnings.borrow_mut().push(warning);
    }

    pub(super) fn has_faults(&self) -> bool {
        !self.faults.borrow().is_empty()
    }

    /// Takes the faults and the warnings out, each in the order of the file.
    pub(super) fn take(&self) -> (Vec<Fault>, Vec<Fault>) {
        let ordered = |notes: &RefCell<Vec<Fault>>| {
            let mut notes = notes.take();
            notes.sort_by_key(|note| (note.line, note.column));
            notes
        };
        (ordered(&self.faults), ordered(&self.warnings))
    }
}

/// A file that is being read.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
    pub(super) notes: &'a Notes,
}

impl<'a> Source<'a> {
    /// Parses the text; a fault in its syntax is noted.
    pub(super) fn parse(self) -> Option<Spanned<DeTable<'a>>> {
        // What stands for an octet that is no UTF-8 where the file was read.
        if let Some(at) = self.text.find(char::REPLACEMENT_CHARACTER) {
            let message = "an octet that is no UTF-8; write the file in UTF-8";
            self.notes.fault(Fault::at(self.path, self.text, at..at, message));
            return None;
        }
        match DeTable::parse(self.text) {
            Ok(document) => Some(document),
            Err(error) => {
                self.notes.fault(Fault::toml(self.path, self.text, &error));
                None
            }
        }
    }

    /// Notes a fault of the file as a whole.
    pub(super) fn fault(self, message: impl Into<String>) {
        self.notes.fault(Fault::whole(self.path, message));
    }

    /// Notes a warning about the file as a whole.
    pub(super) fn warn(self, message: impl Into<String>) {
        self.notes.warn(Fault::whole(self.path, message));
    }
}

/// Where something stands.
#[derive(Clone)]
pub(super) struct Place<'a> {
    source: Source<'a>,
    span: Range<usize>,
}

impl Place<'_> {
    pub(super) fn fault(&self, message: impl Into<String>) {
        let Source { path, text, notes } = self.source;
        notes.fault(Fault::at(path, text, self.span.clone(), message));
    }

    /// Notes a fault; the nothing that it returns is the value.
    pub(super) fn refuse<T>(&self, message: impl Into<String>) -> Option<T> {
        self.fault(message);
        None
    }

    pub(super) fn warn(&self, message: impl Into<String>) {
        let Source { path, text, notes } = self.source;
        notes.warn(Fault::at(path, text, self.span.clone(), message));
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

/// A text with its place.
#[derive(Clone)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) place: Place<'a>,
}

/// A value of any type.
#[derive(Clone)]
pub(super) struct Value<'a> {
    /// The key, or what it is called in messages.
    name: &'a str,
    value: &'a DeValue<'a>,
    pub(super) place: Place<'a>,
}

impl<'a> Value<'a> {
    fn wrong<T>(&self, instead: &str) -> Option<T> {
        let found = match self.value {
            DeValue::String(text) => format!("the text {}", shown(text)),
            DeValue::Integer(_) | DeValue::Float(_) => "a number".into(),
            DeValue::Boolean(_) => "true or false".into(),
            DeValue::Datetime(_) => "a date".into(),
            DeValue::Array(_) => "a list".into(),
            DeValue::Table(_) => "a table".into(),
        };
        self.place.refuse(format!("{} is {found}; write {instead}", self.name))
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub(super) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    /// A text, without the blanks around it.
    pub(super) fn text(&self) -> Option<Word<'a>> {
        let DeValue::String(text) = self.value else { return self.wrong("a text in quotes") };
        let text = text.trim();
        if text.chars().any(char::is_control) {
            return self.place.refuse(format!("{} holds a control character; leave it out", self.name));
        }
        Some(Word { text, place: self.place.clone() })
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(flag) => Some(*flag),
            _ => self.wrong("true or false"),
        }
    }

    /// A finite number.
    pub(super) fn real(&self) -> Option<f64> {
        let number = match self.value {
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number as f64)
            }
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.filter(|number: &f64| number.is_finite()).or_else(|| self.wrong("a number"))
    }

    /// A whole number.
    pub(super) fn integer(&self) -> Option<i64> {
        let number = match self.value {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.or_else(|| self.wrong("a whole number"))
    }

    /// A whole number inside a range.
    pub(super) fn within(&self, range: RangeInclusive<i64>) -> Option<i64> {
        let number = self.integer()?;
        if range.contains(&number) {
            return Some(number);
        }
        let (least, most) = (range.start(), range.end());
        self.place.refuse(format!("{} is {number}; write a number from {least} to {most}", self.name))
    }

    /// Texts, each by itself in quotes; a single text is a list of one, an empty one says nothing.
    pub(super) fn texts(&self) -> Vec<Word<'a>> {
        let words: Vec<_> = match self.value {
            DeValue::Array(_) => self.items().iter().filter_map(Self::text).collect(),
            DeValue::String(_) => self.text().into_iter().collect(),
            _ => self.wrong("a list of texts").into_iter().collect(),
        };
        words.into_iter().filter(|word| !word.text.is_empty()).collect()
    }

    /// What is in a list; nothing for an empty text, which some write for an empty list.
    pub(super) fn items(&self) -> Vec<Self> {
        match self.value {
            DeValue::Array(items) => items
                .iter()
                .map(|item| Self {
                    name: self.name,
                    value: item.get_ref(),
                    place: Place { source: self.place.source, span: item.span() },
                })
                .collect(),
            DeValue::String(text) if text.trim().is_empty() => Vec::new(),
            _ => self.wrong::<Vec<Self>>("a list").unwrap_or_default(),
        }
    }

    /// Lists in a list; one that does not begin with a list is taken for the only one.
    pub(super) fn lists(&self) -> Vec<Self> {
        let items = self.items();
        if items.first().is_none_or(Self::is_list) { items } else { vec![self.clone()] }
    }

    /// The same under another name, for messages.
    pub(super) fn called(&self, name: &'a str) -> Self {
        Self { name, ..self.clone() }
    }
}

/// A table that remembers which keys were asked for.
pub(super) struct Table<'a> {
    /// As it is called in messages: `[web]`; nothing for the file itself.
    label: String,
    source: Source<'a>,
    place: Option<Place<'a>>,
    /// Earlier ones hide later ones.
    layers: Vec<&'a DeTable<'a>>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// The whole document.
    pub(super) fn root(source: Source<'a>, document: &'a Spanned<DeTable<'a>>) -> Self {
        Self {
            label: String::new(),
            source,
            place: None,
            layers: vec![document.get_ref()],
            known: Vec::new(),
        }
    }

    /// Reads the keys of an inner table as if they were written here; those in it count first.
    pub(super) fn fold(&mut self, key: &'static str) {
        if let Some(inner) = self.table(key) {
            self.layers.splice(0..0, inner.layers);
        }
    }

    /// The value of a key.
    pub(super) fn value(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.known.push(key);
        let (name, value) = self.layers.iter().find_map(|layer| layer.get_key_value(key))?;
        Some(self.wrap(name, value))
    }

    /// Says whether the key is there, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.layers.iter().any(|layer| layer.contains_key(key))
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<Word<'a>> {
        self.value(key)?.text()
    }

    /// A text that is not empty.
    pub(super) fn filled(&mut self, key: &'static str) -> Option<Word<'a>> {
        self.text(key).filter(|word| !word.text.is_empty())
    }

    /// A text that is not empty; where there is none, that is a fault, told with these words.
    pub(super) fn required(&mut self, key: &'static str, missing: &str) -> Option<Word<'a>> {
        let Some(value) = self.value(key) else {
            self.fault(missing);
            return None;
        };
        let word = value.text()?;
        if word.text.is_empty() { word.place.refuse(missing) } else { Some(word) }
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.value(key)?.flag()
    }

    pub(super) fn integer(&mut self, key: &'static str) -> Option<i64> {
        self.value(key)?.integer()
    }

    pub(super) fn texts(&mut self, key: &'static str) -> Vec<Word<'a>> {
        self.value(key).map(|value| value.texts()).unwrap_or_default()
    }

    /// An inner table.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Self> {
        let value = self.value(key)?;
        self.inner(format!("[{key}]"), &value)
    }

    /// An array of tables; a single table is one of one.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Self> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let label = format!("[[{key}]]");
        let values = if value.is_list() { value.items() } else { vec![value] };
        values.iter().filter_map(|value| self.inner(label.clone(), value)).collect()
    }

    /// Every entry that has not been asked for, as a table under its own name, in the file's order.
    pub(super) fn others(&self) -> Vec<(Word<'a>, Value<'a>)> {
        let mut found: Vec<_> = self
            .layers
            .iter()
            .flat_map(|layer| layer.iter())
            .filter(|(key, _)| !self.known.iter().any(|known| *known == key.get_ref()))
            .map(|(key, value)| {
                let place = Place { source: self.source, span: key.span() };
                (Word { text: key.get_ref(), place }, self.wrap(key, value))
            })
            .collect();
        found.sort_by_key(|(key, _)| key.place.span.start);
        found
    }

    /// The same value as a table of its own.
    pub(super) fn inner(&self, label: String, value: &Value<'a>) -> Option<Self> {
        let DeValue::Table(entries) = value.value else { return value.wrong(&format!("a table, {label}")) };
        Some(Self {
            label,
            source: self.source,
            place: Some(value.place.clone()),
            layers: vec![entries],
            known: Vec::new(),
        })
    }

    /// Notes a fault of the table itself: something in it is missing.
    pub(super) fn fault(&self, message: impl Into<String>) {
        match &self.place {
            Some(place) => place.fault(message),
            None => self.source.fault(message),
        }
    }

    pub(super) fn warn(&self, message: impl Into<String>) {
        match &self.place {
            Some(place) => place.warn(message),
            None => self.source.warn(message),
        }
    }

    /// Warns of every key that nobody asked for, and of those that a folded table hides.
    pub(super) fn finish(self) {
        for (key, value) in self.others() {
            let known = self.known.iter().copied();
            let what = if matches!(value.value, DeValue::Table(_)) { "table" } else { "key" };
            let inside = if self.label.is_empty() { String::new() } else { format!(" in {}", self.label) };
            let hint = hint(key.text, known);
            key.place.warn(format!("unknown {what} {}{inside}, which is ignored{hint}", shown(key.text)));
        }
        let Some((first, rest)) = self.layers.split_first() else { return };
        for (key, _) in rest.iter().flat_map(|layer| layer.iter()) {
            if first.contains_key(key.get_ref().as_ref()) {
                let place = Place { source: self.source, span: key.span() };
                place.warn(format!("{} is given twice; the other one counts", shown(key.get_ref())));
            }
        }
    }

    fn wrap(&self, key: &'a Spanned<toml::de::DeString<'a>>, value: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        Value {
            name: key.get_ref(),
            value: value.get_ref(),
            place: Place { source: self.source, span: value.span() },
        }
    }
}
