//! The commands of a shell script, as far as one can tell without running it.
//!
//! Quotes, comments, here-documents, substitutions and redirections are told apart (POSIX, Shell
//! Command Language, 2.2–2.7); the grammar of `if` and `case` is not needed. Text that is no
//! shell gives commands that nobody knows.

use std::iter::Peekable;
use std::str::Chars;

/// Substitutions within substitutions that are looked into.
const DEPTH: usize = 8;

/// A simple command: words and redirections, quotes taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// The line on which it begins, counted from 1.
    pub line: usize,
    /// Commands of one pipeline, and of the substitutions in it, have the same number.
    pub statement: usize,
    /// Reserved words, assignments, program and arguments.
    pub words: Vec<String>,
    /// Files whose content is its standard input.
    pub reads: Vec<String>,
    /// Files that take its output.
    pub writes: Vec<String>,
}

/// The commands of a script, those of substitutions before the command that they stand in; simple
/// variables are replaced by their values.
pub fn commands(script: &str) -> Vec<Command> {
    let mut reading = Reading::default();
    reading.script(script, 1, 0);
    with_variables(reading.commands)
}

/// What the next word is.
#[derive(Clone, Copy)]
enum Role {
    Word,
    Input,
    Output,
    /// The end mark of a here-document.
    Mark,
    /// A descriptor, or the text of a here-string.
    Nothing,
}

#[derive(Default)]
struct Reading {
    commands: Vec<Command>,
    statement: usize,
}

/// One level: the script itself, or what a substitution holds.
struct Level<'a> {
    text: Peekable<Chars<'a>>,
    line: usize,
    depth: usize,
    command: Command,
    word: Option<String>,
    role: Role,
    marks: Vec<String>,
}

impl Reading {
    fn script(&mut self, text: &str, line: usize, depth: usize) {
        let mut level = Level {
            text: text.chars().peekable(),
            line,
            depth,
            command: Command::default(),
            word: None,
            role: Role::Word,
            marks: Vec::new(),
        };
        while let Some(c) = level.text.next() {
            self.character(&mut level, c);
        }
        self.end_command(&mut level, true);
    }

    fn character(&mut self, level: &mut Level<'_>, c: char) {
        match c {
            '\\' => level.escaped(),
            '\'' => {
                let quoted = level.until('\'');
                level.push(&quoted);
            }
            '"' => self.double_quoted(level),
            '`' => {
                let inner = level.until('`');
                self.substitution(level, &inner);
            }
            '$' if level.text.peek() == Some(&'(') => {
                let inner = level.bracketed();
                self.substitution(level, &inner);
            }
            '#' if level.word.is_none() => while level.text.next_if(|&c| c != '\n').is_some() {},
            '\n' => {
                self.end_command(level, true);
                level.line += 1;
                level.here_documents();
            }
            ' ' | '\t' | '\r' => level.end_word(),
            '>' => level.output(),
            '<' => level.input(),
            '&' if level.text.peek() == Some(&'>') => level.end_word(),
            '|' if level.text.peek() != Some(&'|') => self.end_command(level, false),
            ';' | '&' | '|' | '(' | ')' => {
                level.text.next_if_eq(&c);
                self.end_command(level, true);
            }
            other => level.push(other.encode_utf8(&mut [0; 4])),
        }
    }

    fn double_quoted(&mut self, level: &mut Level<'_>) {
        level.push("");
        while let Some(c) = level.text.next() {
            match c {
                '"' => return,
                '\\' => level.escaped(),
                '`' => {
                    let inner = level.until('`');
                    self.substitution(level, &inner);
                }
                '$' if level.text.peek() == Some(&'(') => {
                    let inner = level.bracketed();
                    self.substitution(level, &inner);
                }
                '\n' => {
                    level.line += 1;
                    level.push("\n");
                }
                other => level.push(other.encode_utf8(&mut [0; 4])),
            }
        }
    }

    /// Its commands belong to the statement that it stands in.
    fn substitution(&mut self, level: &mut Level<'_>, inner: &str) {
        level.push("$()");
        if level.depth < DEPTH {
            let mut within = Self { statement: self.statement, ..Self::default() };
            within.script(inner, level.line, level.depth + 1);
            for command in within.commands {
                self.commands.push(Command { statement: self.statement, ..command });
            }
        }
    }

    fn end_command(&mut self, level: &mut Level<'_>, ends_statement: bool) {
        level.end_word();
        let command = std::mem::take(&mut level.command);
        if !command.words.is_empty() || !command.writes.is_empty() {
            self.commands.push(Command { statement: self.statement, ..command });
        }
        if ends_statement {
            self.statement += 1;
        }
    }
}

impl Level<'_> {
    fn push(&mut self, text: &str) {
        if self.command.words.is_empty() && self.word.is_none() {
            self.command.line = self.line;
        }
        self.word.get_or_insert_default().push_str(text);
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        match std::mem::replace(&mut self.role, Role::Word) {
            Role::Word => self.command.words.push(word),
            Role::Input => self.command.reads.push(word),
            Role::Output => self.command.writes.push(word),
            Role::Mark => self.marks.push(word),
            Role::Nothing => {}
        }
    }

    fn escaped(&mut self) {
        match self.text.next() {
            Some('\n') => self.line += 1,
            Some(c) => self.push(c.encode_utf8(&mut [0; 4])),
            None => {}
        }
    }

    /// Up to a character that no other meaning can be given to.
    fn until(&mut self, end: char) -> String {
        let mut taken = String::new();
        while let Some(c) = self.text.next_if(|&c| c != end) {
            self.line += usize::from(c == '\n');
            taken.push(c);
        }
        self.text.next();
        taken
    }

    /// From an opening bracket to the one that closes it, quotes heeded.
    fn bracketed(&mut self) -> String {
        let mut taken = String::new();
        let mut open = 0_usize;
        let mut quote = None;
        while let Some(c) = self.text.next() {
            match (c, quote) {
                ('\'' | '"', None) => quote = Some(c),
                (c, Some(begun)) if c == begun => quote = None,
                ('(', None) => open += 1,
                (')', None) => open = open.saturating_sub(1),
                _ => {}
            }
            if open == 0 {
                break;
            }
            taken.push(c);
            if c == '\\' {
                taken.extend(self.text.next());
            }
        }
        self.line += taken.matches('\n').count();
        taken.strip_prefix('(').unwrap_or_default().to_owned()
    }

    fn output(&mut self) {
        self.before_redirection();
        self.role = Role::Output;
        if self.text.next_if(|c| matches!(c, '>' | '|' | '&')) == Some('&') {
            self.role = Role::Nothing;
        }
    }

    fn input(&mut self) {
        self.before_redirection();
        self.role = Role::Input;
        if self.text.next_if_eq(&'<').is_some() {
            self.role = if self.text.next_if_eq(&'<').is_some() { Role::Nothing } else { Role::Mark };
            self.text.next_if_eq(&'-');
        } else if self.text.next_if_eq(&'&').is_some() {
            self.role = Role::Nothing;
        }
    }

    /// Digits right before it are a descriptor.
    fn before_redirection(&mut self) {
        if self.word.as_ref().is_some_and(|word| word.bytes().all(|b| b.is_ascii_digit())) {
            self.word = None;
        }
        self.end_word();
    }

    /// Their lines are data, whatever is in them.
    fn here_documents(&mut self) {
        for mark in std::mem::take(&mut self.marks) {
            while self.text.peek().is_some() {
                let line = self.until('\n');
                self.line += 1;
                if line.trim_start_matches('\t') == mark {
                    break;
                }
            }
        }
    }
}

/// Replaces `$NAME` and `${NAME}` by what the script has set NAME to so far.
fn with_variables(commands: Vec<Command>) -> Vec<Command> {
    let mut values: Vec<(String, String)> = Vec::new();
    let replaced = |text: &str, values: &[(String, String)]| {
        values.iter().rev().fold(text.to_owned(), |text, (name, value)| {
            if !text.contains('$') {
                return text;
            }
            let text = text.replace(&format!("${{{name}}}"), value);
            replace_bare(&text, name, value)
        })
    };
    let mut done = Vec::with_capacity(commands.len());
    for mut command in commands {
        for list in [&mut command.words, &mut command.reads, &mut command.writes] {
            for word in list.iter_mut().filter(|word| word.contains('$')) {
                *word = replaced(word, &values);
            }
        }
        for (name, value) in command.words.iter().map_while(|word| assignment(word)) {
            values.retain(|(known, _)| known != name);
            if !value.contains('$') && value.len() <= 256 && values.len() < 64 {
                values.push((name.to_owned(), value.to_owned()));
            }
        }
        done.push(command);
    }
    done
}

fn replace_bare(text: &str, name: &str, value: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = match after.strip_prefix(name) {
            Some(after) if !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') => {
                out.push_str(value);
                after
            }
            _ => {
                out.push('$');
                after
            }
        };
    }
    out + rest
}

/// The two sides of `NAME=VALUE`.
pub fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (begins && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_text() {
        let cases: [(&str, &str, &[&str]); 17] = [
            ("words", "a b  c", &["a b c"]),
            ("two lines", "a\nb", &["a", "b"]),
            ("lists", "a; b && c || d & e", &["a", "b", "c", "d", "e"]),
            ("a pipeline", "a | b", &["a", "b"]),
            ("comments", "# a\nb # c\nd#e", &["b", "d#e"]),
            ("single quotes", "a 'b; $(c) # d'", &["a b; $(c) # d"]),
            ("double quotes", "a \"b; # c\"", &["a b; # c"]),
            ("a substitution", "a \"$(b c)\"", &["b c", "a $()"]),
            ("backticks", "a `b c`", &["b c", "a $()"]),
            ("nested", "a $(b \"$(c ')')\")", &["c )", "b $()", "a $()"]),
            ("a line that goes on", "a \\\n  b", &["a b"]),
            ("redirections", "a >f 2>&1 <g 2>>h", &["a"]),
            ("a here-document", "a <<E\nb\nE\nc", &["a", "c"]),
            ("a quoted mark, tabs", "a <<-'E'\nb\n\tE\nc", &["a", "c"]),
            ("a here-string", "a <<<b\nc", &["a", "c"]),
            ("a variable", "F=/x\na $F ${F}y $Fz", &["F=/x", "a /x /xy $Fz"]),
            ("nothing is closed", "a \"$(b 'c", &["b c", "a $()"]),
        ];
        for (case, script, expected) in cases {
            let found: Vec<String> = commands(script).iter().map(|c| c.words.join(" ")).collect();
            assert_eq!(found, expected, "{case}");
        }
    }

    #[test]
    fn lines_statements_and_files() {
        let found = commands("a\nb <<E\nx\nE\nc \"$(d)\" | e >f 2>/dev/null <g\nh");
        let seen: Vec<_> = found.iter().map(|c| (c.words.join(" "), c.line, c.statement)).collect();
        let line = |line: &str| seen.iter().find(|(words, ..)| words == line).cloned().unwrap();
        assert_eq!((line("a").1, line("b").1, line("d").1, line("h").1), (1, 2, 5, 6));
        assert_eq!(line("d").2, line("c $()").2, "a substitution is of the statement");
        assert_eq!(line("e").2, line("c $()").2, "a pipeline is one statement");
        assert_ne!(line("e").2, line("h").2);
        let e = found.iter().find(|c| c.words == ["e"]).unwrap();
        assert_eq!((e.writes.join(" "), e.reads.join(" ")), ("f /dev/null".into(), "g".into()));
    }

    #[test]
    fn hostile_text_takes_no_time() {
        let started = std::time::Instant::now();
        for text in
            ["$(".repeat(100_000), "\"`".repeat(100_000), "a=$a;".repeat(20_000), "<<E\n".repeat(50_000)]
        {
            commands(&text);
        }
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    }
}
