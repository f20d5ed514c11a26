//! The syntax of serverPKI's configuration, as ConfigObj takes it: `[section]`, `[[section in it]]`, `key = value`,
//! values in quotes or without, lists with commas, comments behind `#`; every word with its place.

use std::ops::Range;

use crate::manager::nearest::shown;

/// Something wrong at a place of the text.
pub(super) type Wrong = (Range<usize>, String);

/// A text with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

/// A line `key = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The names of the section and those around it, outermost first, with a dot between.
    pub(super) section: String,
    pub(super) key: Word,
    /// One, or those between the commas.
    pub(super) values: Vec<Word>,
    /// There is a comma.
    pub(super) is_list: bool,
    /// Where the value stands.
    pub(super) span: Range<usize>,
}

/// What a text says.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Names as in [`Entry::section`].
    pub(super) sections: Vec<Word>,
    pub(super) entries: Vec<Entry>,
}

/// Reads a text. What cannot be understood is noted, and the rest is read.
pub(super) fn parse(text: &str, wrong: &mut Vec<Wrong>) -> Document {
    let mut document = Document::default();
    let mut open: Vec<String> = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = text.get(at..).unwrap_or_default();
        let line = rest.split('\n').next().unwrap_or_default();
        let start = at + (line.len() - line.trim_start().len());
        let trimmed = line.trim();
        at += line.len() + 1;
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let span = start..start + trimmed.len();
        if trimmed.starts_with('[') {
            match heading(trimmed, open.len()) {
                Ok((depth, name)) => {
                    open.truncate(depth);
                    open.push(name.to_owned());
                    let name = open.join(".");
                    if document.sections.iter().any(|section| section.text == name) {
                        wrong.push((span.clone(), format!("the section {} is there twice", shown(&name))));
                    }
                    document.sections.push(Word { text: name, span });
                }
                Err(message) => wrong.push((span, message)),
            }
            continue;
        }
        let Some((key, value)) = trimmed.split_once('=') else {
            wrong.push((span, "this is no \"[section]\", no \"key = value\" and no comment".to_owned()));
            continue;
        };
        let begin = start + key.len() + 1;
        let key = key.trim_end();
        let bare = key.trim_matches(['"', '\'']);
        let key = Word { text: bare.to_owned(), span: start..start + key.len() };
        // Three quotes hold more than a line.
        let value = match several_lines(text, begin) {
            Some(end) => {
                at = text
                    .get(end..)
                    .and_then(|rest| rest.find('\n'))
                    .map_or(text.len(), |more| end + more + 1);
                text.get(begin..end).unwrap_or_default()
            }
            None => value,
        };
        match values(value, begin) {
            Ok((values, is_list)) => {
                let section = open.join(".");
                let same = |entry: &Entry| entry.section == section && entry.key.text == key.text;
                if document.entries.iter().any(same) {
                    wrong.push((key.span.clone(), format!("{} is there twice", shown(&key.text))));
                }
                let span = begin + (value.len() - value.trim_start().len())..begin + value.trim_end().len();
                document.entries.push(Entry { section, key, values, is_list, span });
            }
            Err(fault) => wrong.push(fault),
        }
    }
    document
}

/// How deep a section lies, and its name.
fn heading(line: &str, open: usize) -> Result<(usize, &str), String> {
    let name = line.trim_start_matches('[');
    let depth = line.len() - name.len();
    let inner = name.split(']').next().unwrap_or_default();
    let close = name.get(inner.len()..).unwrap_or_default();
    let rest = close.trim_start_matches(']');
    if close.len() - rest.len() != depth {
        return Err("a section has as many \"]\" behind its name as \"[\" before it".to_owned());
    }
    if !(rest.trim().is_empty() || rest.trim_start().starts_with('#')) {
        return Err(format!("{} stands behind the name of a section", shown(rest.trim())));
    }
    if depth > open + 1 {
        return Err("a section this deep has to lie in one that is one less deep".to_owned());
    }
    match inner.trim().trim_matches(['"', '\'']) {
        "" => Err("a section has a name".to_owned()),
        name => Ok((depth - 1, name)),
    }
}

const TRIPLES: [&str; 2] = ["\"\"\"", "'''"];

/// The end of a value that begins with three quotes; nothing for others, and for one without an end.
fn several_lines(text: &str, begin: usize) -> Option<usize> {
    let rest = text.get(begin..)?;
    let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
    let quotes =
        TRIPLES.into_iter().find(|quotes| rest.get(blank..).is_some_and(|it| it.starts_with(quotes)))?;
    let inner = blank + quotes.len();
    let end = rest.get(inner..)?.find(quotes)?;
    Some(begin + inner + end + quotes.len())
}

/// The words of a value, and whether they are a list.
fn values(value: &str, begin: usize) -> Result<(Vec<Word>, bool), Wrong> {
    let mut words = Vec::new();
    let (mut at, mut is_list) = (0, false);
    loop {
        let rest = value.get(at..).unwrap_or_default();
        at += rest.len() - rest.trim_start().len();
        let rest = value.get(at..).unwrap_or_default();
        if rest.is_empty() || rest.starts_with('#') {
            // A comma at the end makes a list of what is before it.
            if !is_list && words.is_empty() {
                words.push(Word { text: String::new(), span: begin + at..begin + at });
            }
            return Ok((words, is_list));
        }
        let quotes = TRIPLES.into_iter().chain(["\"", "'"]).find(|quotes| rest.starts_with(quotes));
        let length = match quotes {
            Some(quotes) => {
                let inner = rest.get(quotes.len()..).unwrap_or_default();
                let Some(end) = inner.find(quotes) else {
                    let span = begin + at..begin + at + rest.trim_end().len();
                    return Err((span, format!("this begins with {quotes} and does not end with it")));
                };
                let text = inner.get(..end).unwrap_or_default().to_owned();
                let length = end + 2 * quotes.len();
                words.push(Word { text, span: begin + at..begin + at + length });
                length
            }
            None => {
                let plain = rest.split([',', '#']).next().unwrap_or_default();
                let text = plain.trim_end();
                // `,` alone is the empty list.
                if !(text.is_empty() && words.is_empty()) {
                    words.push(Word { text: text.to_owned(), span: begin + at..begin + at + text.len() });
                }
                plain.len()
            }
        };
        at += length;
        let rest = value.get(at..).unwrap_or_default();
        at += rest.len() - rest.trim_start().len();
        match value.get(at..).unwrap_or_default().chars().next() {
            Some(',') => {
                is_list = true;
                at += 1;
            }
            None | Some('#') => {}
            Some(_) => {
                let rest = value.get(at..).unwrap_or_default().trim_end();
                let message = format!("{} stands behind what is in quotes", shown(rest));
                return Err((begin + at..begin + at + rest.len(), message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<String>, Vec<String>) {
        let mut wrong = Vec::new();
        let document = parse(text, &mut wrong);
        let show = |entry: &Entry| {
            let values: Vec<&str> = entry.values.iter().map(|word| word.text.as_str()).collect();
            let Entry { section, key, is_list, .. } = entry;
            for word in &entry.values {
                assert!(text[word.span.clone()].contains(word.text.as_str()), "{word:?}");
            }
            assert!(text[key.span.clone()].contains(key.text.as_str()), "{key:?}");
            format!("{section}/{}={}{}", key.text, values.join("|"), if *is_list { " list" } else { "" })
        };
        let told =
            |(span, message): &Wrong| format!("{}: {message}", text[..span.start].matches('\n').count() + 1);
        (document.entries.iter().map(show).collect(), wrong.iter().map(told).collect())
    }

    #[test]
    fn what_is_understood() {
        let cases: [(&str, &str, &[&str]); 22] = [
            ("nothing", "", &[]),
            ("comments and blank lines", "# a\n\n  # b = c\n", &[]),
            ("before any section", "a = b", &["/a=b"]),
            ("a section", "[S]\na = b\n", &["S/a=b"]),
            ("a section in it", "[S]\n[[T]]\na=b\n[[U]]\nc=d\n[V]\ne=f", &["S.T/a=b", "S.U/c=d", "V/e=f"]),
            ("three deep", "[S]\n[[T]]\n[[[U]]]\na=b", &["S.T.U/a=b"]),
            ("indented, CRLF", "[S]\r\n  a = b \r\n", &["S/a=b"]),
            ("a comment behind", "[S] # s\na = b # c\n", &["S/a=b"]),
            ("nothing behind =", "a =\n", &["/a="]),
            ("only a comment behind =", "a = # c\n", &["/a="]),
            ("quotes", "a = \"b # c, d\" # e\n", &["/a=b # c, d"]),
            ("single quotes", "a = 'b \"c\"'\n", &["/a=b \"c\""]),
            ("blanks in it", "a = b c  d\n", &["/a=b c  d"]),
            ("= in it", "a = b=c\n", &["/a=b=c"]),
            ("a list", "a = b, c,d\n", &["/a=b|c|d list"]),
            ("a list of one", "a = b,\n", &["/a=b list"]),
            ("the empty list", "a = ,\n", &["/a= list"]),
            ("a list with quotes", "a = 'b, c', d, \"e\"\n", &["/a=b, c|d|e list"]),
            ("several lines", "a = '''b\nc''' # d\ne = f\n", &["/a=b\nc", "/e=f"]),
            ("several lines on one", "a = \"\"\"b\"\"\"\ne = f\n", &["/a=b", "/e=f"]),
            ("a key in quotes", "\"a b\" = c\n", &["/a b=c"]),
            ("no line feed at the end", "[S]\na = ü", &["S/a=ü"]),
        ];
        for (case, text, expected) in cases {
            let (found, wrong) = read(text);
            assert!(wrong.is_empty(), "{case}: {wrong:?}");
            assert_eq!(found, expected, "{case}");
        }
    }

    #[test]
    fn what_is_not_is_told_and_hides_nothing_else() {
        let cases = [
            ("no key", "[S]\nhello\na = b\n", "2: this is no"),
            ("too deep", "[[S]]\na = b\n", "1: a section this deep"),
            ("too few brackets", "[S]\n[[T]\na = b\n", "2: a section has as many"),
            ("no end", "[S\na = b\n", "1: a section has as many"),
            ("no name", "[ ]\na = b\n", "1: a section has a name"),
            ("behind it", "[S] T\na = b\n", "1: \"T\" stands behind"),
            ("a section twice", "[S]\n[T]\n[S]\na = b\n", "3: the section \"S\" is there twice"),
            ("a key twice", "[S]\na = b\na = c\n", "3: \"a\" is there twice"),
            ("no closing quote", "[S]\nc = \"d\na = b\n", "2: this begins with \" and does not end"),
            ("no closing three", "[S]\nc = '''d\na = b\n", "2: this begins with ''' and does not end"),
            ("behind quotes", "[S]\nc = \"d\" e\na = b\n", "2: \"e\" stands behind"),
        ];
        for (case, text, told) in cases {
            let (found, wrong) = read(text);
            assert!(wrong.len() == 1 && wrong[0].starts_with(told), "{case}: {wrong:?}");
            assert!(found.iter().any(|entry| entry.ends_with("/a=b")), "{case}: {found:?}");
        }
    }

    #[test]
    fn nothing_panics_whatever_it_is_given() {
        let pieces =
            ["[", "]", "[[", "a", "=", "'", "\"", "'''", "\"\"\"", ",", "#", "\n", " ", "ü", "\r", "$", "\0"];
        let mut state = 1_u64;
        let mut draw = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let (mut entries, mut faults) = (0, 0);
        for _ in 0..20_000 {
            let text: String = (0..draw(24)).map(|_| pieces[draw(pieces.len())]).collect();
            let mut wrong = Vec::new();
            let document = parse(&text, &mut wrong);
            entries += document.entries.len();
            faults += wrong.len();
            for (span, _) in wrong {
                assert!(text.get(span).is_some(), "{text:?}");
            }
            for entry in document.entries {
                assert!(text.get(entry.span).is_some(), "{text:?}");
            }
        }
        assert!(entries > 1000 && faults > 1000, "{entries} {faults}");
    }
}
