//! `reseed` makes again what a machine made under another name.
//!
//! ```text
//!  words       identity  seed  artifact  fault           what things are
//!  texts       hook  config  ledger                      what is written about them
//!  decisions   plan  watch  generator  attest  census    what a run would do, and why; when; what waits for it
//!  the world   system  transaction  service  probe  pki  how anything is done
//!  gathering   facts  store  apply  gate                 between decisions and the world
//!  the story   reseed                                    lock, recover, gather, plan, apply, record
//!  the manager manager                                   lineages of certificates: renew, roll, distribute
//!  images      image                                     seal: take out what must be unique; audit
//!  the user    cli
//! ```
//!
//! Words, texts and decisions are pure: values in, values out. Each effect has one door:
//! `system::root` reads and changes files, `system::process` runs programs, `system::clock` reads
//! the clock, `service` speaks D-Bus, `probe` connects to servers. A lint keeps it so.

// Purity, and one door for each effect: see .clippy.toml. Nothing panics on input.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::todo,
    clippy::unimplemented
)]

pub mod apply;
pub mod artifact;
pub mod attest;
pub mod census;
pub mod cli;
pub mod config;
pub mod facts;
pub mod fault;
pub mod gate;
pub mod generator;
pub mod hook;
pub mod identity;
pub mod image;
pub mod ledger;
pub mod manager;
pub mod pki;
pub mod plan;
pub mod probe;
pub mod reseed;
pub mod sealed;
pub mod seed;
pub mod service;
pub mod store;
pub mod system;
pub mod transaction;
pub mod watch;
