//! How a line of httpd's configuration falls into words: quotes of both kinds, backslashes.

/// Splits a line into words; quotes of either kind hold blanks together, and a backslash frees a quote or
/// itself.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix(['"', '\'']) {
            Some(quoted) => word(quoted, rest.chars().next()),
            None => word(rest, None),
        };
        words.push(word);
        rest = after.trim_start();
    }
    words
}

pub(super) fn word(text: &str, quote: Option<char>) -> (String, &str) {
    let mut word = String::new();
    let mut chars = text.chars();
    loop {
        let here = chars.as_str();
        let Some(c) = chars.next() else { return (word, "") };
        let end = quote.map_or(c.is_whitespace(), |quote| c == quote);
        if end {
            return (word, if quote.is_some() { chars.as_str() } else { here });
        }
        let freed = chars.clone().next().filter(|next| c == '\\' && (*next == '\\' || Some(*next) == quote));
        if freed.is_some() {
            chars.next();
        }
        word.push(freed.unwrap_or(c));
    }
}

pub(super) fn split_word(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}
