//! How names are proven.
mod responder;
