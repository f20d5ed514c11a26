//! Certificates that somebody signs to whom a request is carried by hand, and who sends files back.
//!
//! ```text
//!  request   csr: a key and the request for it, kept until the answer comes
//!  parcel    what the files hold that came back
//!  keys      which keys are ours
//!  fit       whether a certificate can be served, and what belongs to it
//!  claim     why none of what came back is ours
//!  import    all of that: what came back becomes `next`
//! ```
//!
//! A request lies in a version's directory of its own, which no link leads to. It is never completed there:
//! the answer makes a new version with a copy of the key, so that the key for which somebody has paid is whole
//! at every moment, and only then is the request's directory removed.

mod claim;
mod fit;
pub mod import;
mod keys;
mod parcel;
pub mod request;
#[cfg(test)]
mod tests;
