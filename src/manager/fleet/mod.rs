//! What the machines of a site say of themselves, and what follows from it for the site as a whole.
//!
//! ```text
//!  report   what one machine says: who it is, what is stale, what it serves, what is held back (pure)
//!  answer   which machines are stale, what ends when, who shares a key or a machine-id (pure)
//!  page     the same as one HTML page that needs nothing else (pure)
//! ```
//!
//! No report holds a secret: keys are named by the digest of their public half, and a machine by a digest of its
//! machine-id, which machine-id(5) asks to keep to oneself.

pub mod answer;
pub mod page;
pub mod report;

pub use answer::{Answer, Gathering, InUse};
pub use report::HostReport;
