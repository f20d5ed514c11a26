//! The certificate manager: certificates of many services, each in a lineage of versions, signed by an
//! own CA or by somebody else's, rolled over with current and next, published for DANE, and carried to
//! where they are served.
//!
//! ```text
//!  words      name  lineage                   which certificate; which versions of it there are
//!  texts      config  pending  published      what the site has written down; what is still to be done
//!             ca::register                    what an authority has issued and revoked
//!  decisions  schedule  dane  select          when to renew and to roll; which records; which services, and
//!             restarts  describe  seen        who depends on them
//!  the world  tree  production  deliver  dns  the state tree; the live copy; who is told; who is asked
//!             acme                           public authorities, by RFC 8555
//!  stories    renew  roll  distribute         make `next`; make `next` into `curr`; bring it to its places
//!             status  clean  revoke  manual
//!  tools      info  verify  dhparm
//!  old names  legacy                          the options of ssl-mgr, turned into ours
//! ```
//!
//! `issue` makes versions, `settle` brings them to where they are used; each story is a function that fits a
//! screen, and `run` is what they begin with.
//!
//! It reads the configuration of ssl-mgr as it is and keeps its trees, so that it can take over from it.

pub mod acme;
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
pub mod info;
pub mod issue;
pub mod legacy;
pub mod lineage;
pub mod load;
pub mod manual;
pub mod name;
mod nearest;
pub mod pending;
pub mod production;
pub mod published;
pub mod remember;
pub mod renew;
pub mod report;
pub mod restarts;
pub mod revoke;
pub mod roll;
pub mod run;
pub mod schedule;
pub mod seen;
pub mod select;
pub mod settle;
pub mod status;
pub mod tree;
pub mod verify;
pub mod zones;
