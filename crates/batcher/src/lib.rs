//! The batcher as a state machine: which L2 blocks go into which channel, what is submitted to L1 when and for how much, and what has to
//! be done again. It has no clock, no socket and no keys; its actor supplies those.
//!
//! ```text
//! L2 blocks ─ open channel ─ closed channels ─ submissions ─ Dusk transactions
//! ```
//! - A *channel* is filled with blocks until it is full, old, or its first block runs out of time. Then its frames are fixed.
//! - A *submission* is what one envelope names: up to six blobs, or call data. On Dusk it is a blob transaction and a call of the batch
//!   inbox with consecutive nonces, or the call alone.
//! - A *slot* is one of these nonces. Whatever is signed for it, at which price ever, only one of it can be included.
//! - An *envelope* has a nonce, too, that of the batcher's Ethereum address: the batch inbox takes only the next one. It is never signed
//!   again with another one, so its frames come to L1 once, in the order of the submissions, whoever brings them.
//!
//! Nothing is posted twice, however often it is sent. What is given up leaves its nonces to what comes instead.
//!
//! Frames go to L1 strictly in order, one channel after another, as Holocene asks. A channel that does not make it (a call that failed,
//! frames out of order or too late, data that derivation did not take) is given up together with all channels after it, and its blocks go
//! into a new channel with a new id. If L1 had something of it, the next one waits a while: what comes to nothing once may do so again.
//!
//! A channel begins after the safe head, or after blocks without users' transactions whose sequencing window is over by L1's own tip:
//! derivation makes those by itself.
//!
//! # Driving it
//!
//! Tell [`Batcher::heads`] and, once for each L1 block, [`Batcher::observe`]; call [`Batcher::advance`] and do what it says until it says
//! [`Action::Wait`]. Records must be on disk before the next call: that is what makes a restart ([`Batcher::replay`]) go on in the middle of
//! a channel. Without the journal everything is rebuilt from the safe head.
//!
//! Source: OP Stack specification, batcher.md and holocene/derivation.md.

mod action;
mod batcher;
mod channel;
mod envelope;
mod fill;
mod landing;
mod record;
mod replay;
mod settings;
mod sign;
#[cfg(test)]
mod testing;
mod throttle;

pub use action::{
    Account, Action, Derived, Heads, L2Block, L2Chain, Notice, Observation, Order, Outcome, Payload, Refusal, Signed,
    TxOrder, TxStatus, Wait, Why,
};
pub use batcher::Batcher;
pub use envelope::EnvelopeRules;
pub use record::{Attempt, Closed, Record, RecordError, Role, SignedSlot, Submitted, digest};
pub use replay::ReplayError;
pub use settings::{Carrier, CarrierChoice, Gas, MAX_BLOBS, MAX_CALLDATA, Settings, SettingsError, Throttling};
pub use throttle::Backlog;
