//! Options as Python's argparse takes them, brought into the form that clap takes: long ones behind one dash
//! or two, shortened as far as they stay unique, with their value behind `=`; letters joined behind one dash.
//!
//! The definitions are clap's. One thing is read out of them that clap does not know: an option without a
//! letter is `-name` by its alias, or by its long name where it has no alias; one with a letter is not.

use clap::{Arg, Command, CommandFactory, FromArgMatches};

use super::{Translation, Usage};

/// Reads `arguments` by the definition of `Options`, and turns them into command lines; asked for help, it
/// is that.
pub fn translated<Options: CommandFactory + FromArgMatches>(
    arguments: &[String],
    lines: impl FnOnce(Options) -> Result<Vec<Vec<String>>, Usage>,
) -> Result<Translation, Usage> {
    // A fixed width: how wide the terminal is, only the world knows.
    let mut command = Options::command().term_width(100).args_override_self(true).no_binary_name(true);
    command.build();
    let arguments = normalised(&command, arguments)?;
    let read = command
        .try_get_matches_from_mut(arguments)
        .and_then(|mut matches| Options::from_arg_matches_mut(&mut matches));
    match read {
        Ok(options) => lines(options).map(Translation::Run),
        Err(told) if !told.use_stderr() => Ok(Translation::Print(told.render().to_string())),
        Err(fault) => {
            let text = fault.render().to_string();
            Err(Usage(text.trim_start_matches("error: ").trim_end().to_owned()))
        }
    }
}

fn normalised(command: &Command, arguments: &[String]) -> Result<Vec<String>, Usage> {
    let mut ended = false;
    let one = |argument: &String| {
        ended |= argument == "--";
        // A dash alone is a file's name.
        match argument.strip_prefix('-') {
            Some(rest) if !ended && !rest.is_empty() => option(command, argument, rest),
            _ => Ok(argument.clone()),
        }
    };
    arguments.iter().map(one).collect()
}

/// `rest` is what follows the first dash of `argument`.
fn option(command: &Command, argument: &str, rest: &str) -> Result<String, Usage> {
    let (dashes, text) = rest.strip_prefix('-').map_or((Dashes::One, rest), |text| (Dashes::Two, text));
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    let joined = dashes == Dashes::One && joined(command, name);
    let alone = name.chars().nth(1).is_none();
    if name.is_empty() || joined && alone {
        return Ok(argument.to_owned());
    }
    let spelt_out = |long: &str| format!("--{long}{}", text.get(name.len()..).unwrap_or_default());
    let named = |dashes: Dashes, fits: &dyn Fn(&str) -> bool| -> Vec<&Arg> {
        command.get_arguments().filter(|arg| dashes.names(arg).iter().any(|name| fits(name))).collect()
    };
    let long = |arg: &Arg| arg.get_long().map(&spelt_out);

    // A whole name first, whatever stands before it: help shows all of them behind two dashes.
    for dashes in [dashes, dashes.other()] {
        if let Some(exact) = named(dashes, &|known| known == name).first().and_then(|arg| long(arg)) {
            return Ok(exact);
        }
    }
    for (dashes, joined) in [(dashes, joined), (dashes.other(), false)] {
        let mut begun = named(dashes, &|known| known.starts_with(name));
        match (joined, begun.pop(), begun.is_empty()) {
            (false, None, _) => {}
            (true, None, _) => return Ok(argument.to_owned()),
            (false, Some(only), true) => return Ok(long(only).unwrap_or_else(|| argument.to_owned())),
            (joined, Some(last), _) => {
                return Err(ambiguous(argument, joined, dashes, begun.into_iter().chain([last])));
            }
        }
    }
    // Clap knows what is nearest to a long name.
    Ok(if alone { argument.to_owned() } else { spelt_out(name) })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dashes {
    One,
    Two,
}

impl Dashes {
    fn other(self) -> Self {
        match self {
            Self::One => Self::Two,
            Self::Two => Self::One,
        }
    }

    /// The names that an option has behind so many dashes.
    fn names(self, arg: &Arg) -> Vec<&str> {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        let long = arg.get_long();
        match (self, arg.get_short()) {
            (Self::One, Some(_)) => Vec::new(),
            (Self::One, None) if !aliases.is_empty() => aliases,
            (Self::Two, Some(_)) => long.into_iter().chain(aliases).collect(),
            (_, None) => long.into_iter().collect(),
        }
    }

    fn written(self) -> &'static str {
        match self {
            Self::One => "-",
            Self::Two => "--",
        }
    }
}

/// Whether these are letters of options one after the other; behind one with a value, the rest is that.
fn joined(command: &Command, letters: &str) -> bool {
    let known =
        |letter| command.get_arguments().find(|arg| arg.get_short() == Some(letter)).map(Arg::get_action);
    for letter in letters.chars() {
        match known(letter) {
            None => return false,
            Some(action) if action.takes_values() => return true,
            Some(_) => {}
        }
    }
    true
}

fn ambiguous<'a>(
    argument: &str,
    joined: bool,
    dashes: Dashes,
    options: impl Iterator<Item = &'a Arg>,
) -> Usage {
    let letters = joined.then(|| "joined letters".to_owned());
    let names =
        options.filter_map(|arg| dashes.names(arg).first().map(|name| dashes.written().to_owned() + name));
    let meanings: Vec<String> = letters.into_iter().chain(names).collect();
    Usage(format!("\"{}\" may be {}; write it out", argument.escape_debug(), meanings.join(" or ")))
}
