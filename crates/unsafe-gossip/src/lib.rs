//! The OP Stack's gossip of unsafe blocks without sockets.
//!
//! | part | subject |
//! |---|---|
//! | [`topics`] | which payloads are spoken about on which topic |
//! | [`payload`] | a block as peers send it, its SSZ form, and the way to our [`Block`](duskevm_evm::Block) and back |
//! | [`message`] | the gossiped message: compression, signature, id |
//! | [`rules`] | which messages are valid |
//! | [`by_number`] | requests for the payload of a number |
//! | [`queue`] | what to import next, and what to ask peers for where there is a gap |
//!
//! Source of the rules: OP Stack specification, `rollup-node-p2p.md`. Time comes in as a value; effects go out as data.

pub mod by_number;
pub mod message;
pub mod payload;
pub mod queue;
pub mod rules;
mod ssz;
pub mod topics;

pub use message::{MAX_MESSAGE, UnsafeSigner, message_id};
pub use payload::{Payload, PayloadError};
pub use queue::{Effect, Queue};
pub use rules::{Fault, Ignored, Seen, Window};
pub use topics::{PayloadVersion, topic};
