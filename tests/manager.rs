//! The certificate manager as a site sees it: the layout of ssl-mgr's own-CA example set up by its own
//! commands; a test for every fault of ssl-mgr that was reproduced, named after it; the life of TLSA records, and
//! of an authority.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

#[path = "manager/authority.rs"]
mod authority;
#[path = "manager/dane.rs"]
mod dane;
#[path = "manager/loss.rs"]
mod loss;
#[path = "manager/metrics.rs"]
mod metrics;
#[path = "lab/named.rs"]
mod named;
#[path = "manager/security.rs"]
mod security;
#[path = "manager/setup.rs"]
mod setup;
#[path = "manager/site.rs"]
mod site;
mod support;
#[path = "manager/tend.rs"]
mod tend;
#[path = "manager/usage.rs"]
mod usage;
