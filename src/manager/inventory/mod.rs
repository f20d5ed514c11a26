//! The inventory of a fleet: which certificates there are, where they go, in which state each instance is.
//!
//! ```text
//!  words      model  events         objects, and the rules that they keep; what happens to them
//!  decisions  states  schedule      from which state to which; what is due
//!  the world  store                 what can be asked of an inventory
//!             files                 in files of one machine
//!             postgres              in a database that managers share
//! ```

pub mod events;
pub mod files;
pub mod model;
pub mod postgres;
pub mod schedule;
pub mod states;
pub mod store;
