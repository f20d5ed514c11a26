//! Our own certification authorities: what they have issued and revoked, and how they sign.

pub mod register;
