//! The Engine API as a consensus client calls it.

mod calls;
mod door;
mod payloads;
mod stand_in;
