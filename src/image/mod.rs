//! Images: what of one machine must not be in every machine that is made from it.
//!
//! ```text
//!  catalogue   selection          what must be unique, as data; which of it a command is about
//!  content     key  token         what a file's content gives away
//!  audit       archive            every file of a directory or a tar, looked into
//!  seal                           what is found is taken out, in an order that a cut cannot hurt
//!  sealed                         the record of that: whose keys a machine must not serve
//!  sarif       baseline           an audit for other programs, and beside an earlier one
//! ```
//!
//! No secret leaves this module: only paths, kinds, and fingerprints of public halves do.

mod archive;
pub mod audit;
pub mod baseline;
pub mod catalogue;
mod content;
pub mod sarif;
pub mod seal;
pub mod selection;
#[cfg(test)]
mod tests;
mod token;

pub use crate::sealed::{Fingerprint, Sealed};
pub use audit::{Audit, Finding};
pub use content::{RULES, Rule};
pub use seal::{Report, seal};
