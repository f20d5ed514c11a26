//! Bringing the instances of an inventory to hosts: with hosts that are down, full, stubborn or hostile, with managers
//! and hosts that are killed in the middle, and under the eyes of strace.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

#[path = "operate_bring/alone.rs"]
mod alone;
#[path = "operate_bring/fleet.rs"]
mod fleet;
#[path = "operate_bring/hosts.rs"]
mod hosts;
#[path = "deliver/network.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod network;
#[path = "operate_bring/place.rs"]
mod place;
mod support;
