//! The certificate manager: certificates of many services, each in a lineage of versions, signed by an
//! own CA or by somebody else's, rolled over with current and next, published for DANE, and carried to
//! where they are served.
//!
//! ```text
//!  words      name  lineage            which certificate; which versions of it there are
//!  texts      config  pending          what the site has written down; what is still to be done
//!  decisions  schedule  dane  ca       when to renew and to roll; which TLSA records; which profile
//!  the world  tree  production         the state tree and its lock; the live copy that servers read
//!  old names  legacy                   the options of ssl-mgr, turned into ours
//!  stories    renew  roll  distribute  make `next`; make `next` into `curr`; bring it to its places
//! ```
//!
//! It reads the configuration of ssl-mgr as it is and keeps its trees, so that it can take over from it.

pub mod ca;
pub mod clean;
pub mod config;
#[cfg(test)]
mod crash;
pub mod dane;
pub mod deliver;
pub mod describe;
pub mod dhparm;
pub mod distribute;
pub mod dns;
pub mod exchangers;
pub mod issue;
pub mod legacy;
pub mod lineage;
pub mod load;
pub mod name;
mod nearest;
pub mod pending;
pub mod production;
pub mod published;
pub mod renew;
pub mod report;
pub mod restarts;
pub mod revoke;
pub mod roll;
pub mod run;
pub mod schedule;
pub mod select;
pub mod settle;
pub mod status;
pub mod tree;
