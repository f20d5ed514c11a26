//! The operating system, knowing nothing of hooks or plans: the one door for each effect.

pub mod clock;
pub mod process;
pub mod root;
pub mod users;
