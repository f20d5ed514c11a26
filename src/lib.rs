pub mod fault;
pub mod identity;
pub mod pki;
pub mod seed;
pub mod system;
