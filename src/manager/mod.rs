//! The certificate manager: certificates of many services, each in a lineage of versions, signed by an
//! own CA or by somebody else's, rolled over with current and next, published for DANE, and carried to
//! where they are served.
//!
//! ```text
//!  words      name  lineage                   which certificate; which versions of it there are
//!  texts      config  pending  published      what the site has written down; what is still to be done
//!             history  metrics                when what ran, for whoever watches
//!             ca::register                    what an authority has issued and revoked
//!  decisions  schedule  dane  select          when to renew and to roll; which records; which services, and
//!             restarts  describe  seen        who depends on them; what a successor waits for
//!             outlook
//!  the world  tree  production  deliver  dns  the state tree; the live copy; who is told; who is asked
//!             acme                           public authorities, by RFC 8555
//!  a fleet    inventory  operate              certificates, hosts and places in files or in PostgreSQL; who
//!             fleet                           works on them; what machines report, and what follows
//!  stories    renew  roll  distribute         make `next`; make `next` into `curr`; bring it to its places
//!             tend                            all of it, for a timer
//!             status  clean  revoke  manual
//!  tools      info  verify  dhparm
//!  old names  legacy                          the options of ssl-mgr, turned into ours
//! ```
//!
//! `issue` makes versions, by `acquire` where a public authority signs, at a `desk` that inventories use as well; `settle` brings them to where they are
//! used; each story is a function that fits a screen, and `run` is what they begin with.
//!
//! It reads the configuration of ssl-mgr as it is and keeps its trees, so that it can take over from it.

pub mod accounts;
pub mod acme;
pub mod acquire;
pub mod ca;
pub mod clean;
pub mod config;
#[cfg(test)]
pub(crate) mod crash;
pub mod dane;
pub mod deliver;
pub mod describe;
pub mod desk;
pub mod dhparm;
pub mod distribute;
pub mod dns;
pub mod exchangers;
pub mod fleet;
pub mod history;
pub mod info;
pub mod inventory;
pub mod issue;
pub mod keyring;
pub mod keys;
pub mod legacy;
pub mod lineage;
pub mod load;
pub mod mail;
pub mod manual;
pub mod metrics;
pub mod name;
mod nearest;
pub mod operate;
pub mod outlook;
pub mod pending;
pub mod production;
pub mod published;
pub mod record;
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
pub mod shown;
pub mod status;
pub mod suggested;
pub mod tend;
pub mod tree;
pub mod verify;
pub mod zones;
