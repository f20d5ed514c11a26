//! Delivery: what runs where copies go, killed at every step and without the tools that it would like; and the
//! manager with hosts that it reaches by OpenSSH, some of which are down, full or stubborn.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

#[path = "deliver/hosts.rs"]
mod hosts;
#[path = "deliver/network.rs"]
mod network;
#[path = "deliver/place.rs"]
mod place;
#[path = "manager/site.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod site;
mod support;
