//! The executor behind its mailbox.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod bed;
mod derive;
mod driven;
mod driving;
mod outlive;
