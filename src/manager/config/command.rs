//! A command as it is written in one text: words between blanks. ssl-mgr knows no quotes, so that no argument
//! can hold a blank; here they mean what they mean to a shell, and nothing else does.

/// The words of a command; nothing of a quoted text is split, and an empty one is a word.
///
/// # Errors
/// In words, when a quote is not closed.
pub(super) fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c.is_whitespace() => words.extend(word.take()),
            None if matches!(c, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote in the command is not closed");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_blanks() {
        let cases: [(&str, &str, Option<&[&str]>); 9] = [
            ("nothing", "", Some(&[])),
            ("blanks alone", " \t ", Some(&[])),
            ("as ssl-mgr splits", " postmap  -F lmdb:/x ", Some(&["postmap", "-F", "lmdb:/x"])),
            ("double", "logger \"a new  key\"", Some(&["logger", "a new  key"])),
            ("single, with the other inside", "sh -c 'echo \"x\"'", Some(&["sh", "-c", "echo \"x\""])),
            ("in the middle of a word", "a=\"b c\"d e", Some(&["a=b cd", "e"])),
            ("an empty argument", "a '' b", Some(&["a", "", "b"])),
            ("a backslash is one", "a\\ b", Some(&["a\\", "b"])),
            ("not closed", "logger \"a new key", None),
        ];
        for (case, text, expected) in cases {
            let expected = expected.map(|words| words.iter().map(|word| (*word).to_owned()).collect());
            assert_eq!(words(text).ok(), expected, "{case}");
        }
    }
}
