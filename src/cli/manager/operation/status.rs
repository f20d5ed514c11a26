//! `reseed manager status` on an inventory.

use std::io::{self, Write};

use super::super::{Failure, Status, text};
use super::{Choice, names, operation};
use crate::manager::operate::status::status;
use crate::manager::run::World;

/// Counts, and tells what is due next and what failed.
pub fn run(world: &World<'_>, words: &[String], choice: &Choice, json: bool) -> Result<Status, Failure> {
    let mut op = operation(world)?;
    let named = names(words)?;
    let chosen = match (named.is_empty() && !choice.is_given(), choice.all && choice.exclude.is_empty()) {
        (true, _) | (_, true) => None,
        _ => Some(choice.with(&named).among(&op.inventory.objects()?)?),
    };
    let seen = status(&mut op, chosen.as_deref())?;
    let mut out = io::stdout().lock();
    match json {
        true => text::json(&mut out, &seen)?,
        false => {
            for line in seen.to_string().lines() {
                writeln!(out, "{}", text::printable(line))?;
            }
        }
    }
    Ok(Status::Done)
}
