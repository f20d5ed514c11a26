//! `reseed ask`: this program sent by itself, as an errand, to those who serve.

use std::io::{self, Write};

use super::{Failure, Status};
use crate::probe::{Prober, errand};
use crate::reseed::World;

/// Look who listens, or ask them what they serve; for this program itself
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What is to be found out, as JSON
    question: String,
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let answer =
        errand::answer(world.root, &Prober::network(), &arguments.question).map_err(Failure::Other)?;
    writeln!(io::stdout(), "{answer}")?;
    Ok(Status::Done)
}
