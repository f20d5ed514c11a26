//! The certificate manager: certificates of many services, each in a lineage of versions, signed by an
//! own CA or by somebody else's, rolled over with current and next, published for DANE, and carried to
//! where they are served.
//!
//! ```text
//!  words      name  lineage            which certificate; which versions of it there are
//!  texts      config  pending          what the site has written down; what is still to be done
//!  decisions  schedule  dane  ca       when to renew and to roll; which TLSA records; which profile
//!  the world  tree  production         the state tree and its lock; the live copy that servers read
//!  stories    renew  roll  distribute  make `next`; make `next` into `curr`; bring it to its places
//! ```
//!
//! It reads the configuration of ssl-mgr as it is and keeps its trees, so that it can take over from it.

pub mod config;
pub mod dane;
pub mod dhparm;
pub mod dns;
pub mod info;
pub mod name;
pub mod schedule;
pub mod verify;
