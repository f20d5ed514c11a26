//! Which known word somebody hardly meant to misspell.

/// Longest word in octets that is compared: nobody's slip of the finger is longer.
const MAX_LENGTH: usize = 64;
/// How alike two words must be, from 0 to 1, before one is offered for the other.
const ALIKE: f64 = 0.5;

/// The known word that is most like `word`; nothing when none is like it.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_LENGTH {
        return None;
    }
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            let alike = strsim::normalized_damerau_levenshtein(&word, &candidate.to_lowercase());
            (alike, candidate)
        })
        .filter(|(alike, _)| *alike >= ALIKE)
        // The first of equals, so that the answer does not depend on the order of iteration alone.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, candidate)| candidate)
}

/// The same as the end of a message: `; did you mean "x"?`, or nothing.
pub fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default()
}

/// What somebody wrote, as it may stand in a message: quoted, short, no control characters.
pub fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    format!("\"{short}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likeness() {
        let known = ["restart_cmd", "svc_depends", "depends", "servers", "CN"];
        let long = "x".repeat(100_000);
        let cases = [
            ("a letter too few", "restart_cm", Some("restart_cmd")),
            ("two swapped", "sevrers", Some("servers")),
            ("another hyphen", "restart-cmd", Some("restart_cmd")),
            ("small letters", "cn", Some("CN")),
            ("the nearer of two", "depend", Some("depends")),
            ("nothing like it", "prod_cert_dir", None),
            ("empty", "", None),
            ("endless", long.as_str(), None),
        ];
        for (case, word, expected) in cases {
            assert_eq!(nearest(word, known), expected, "{case}");
        }
        assert_eq!(hint("server", known), "; did you mean \"servers\"?");
        assert_eq!(hint("zzz", known), "");
    }

    #[test]
    fn hostile_words_are_shown_short() {
        assert_eq!(shown("a\nb"), "\"a\\nb\"");
        assert_eq!(shown(&"x".repeat(70)), format!("\"{}…\"", "x".repeat(60)));
    }
}
