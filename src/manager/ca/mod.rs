//! Our own certification authorities: what they have issued and revoked, and what they sign with.

pub mod register;
pub mod signing;
