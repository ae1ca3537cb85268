//! The consensus actor: the embedded Dusk L1.
//!
//! It takes part in Dusk's consensus, Succinct Attestation: the rules are the machine of `duskevm_dusk_l1::sa`, which this actor
//! drives. One provisioner alone goes the same way as many: it proposes, votes twice, and takes the block with the attestation
//! that came of it.
//!
//! | module | does |
//! |---|---|
//! | `actor` | answers what others ask |
//! | `driver` | carries out what the consensus asks for: timers, building, judging, signing |
//! | `apply` | blocks that others agreed on: stored, told of, taken back; what happens on a full disk |
//! | `chain` | tip, state and stakes, and how they are rebuilt from disk or taken back |
//! | `votes`, `mark`, `twin` | own messages, on disk before they are sent; whether the journal is the key's own, and the key this node's own |
//! | `finals` | two final blocks of one height |
//! | `work` | what takes long, for worker threads |
//! | `checks`, `submit`, `requests`, `serve` | messages of peers, transactions, questions to peers, their questions |
//!
//! What was announced as final never changes: the store refuses a second block of a final height, and a restart goes on at the
//! stored tip and in the interrupted iteration. A block that is not final may be replaced by one of a lower iteration.
//!
//! After a pause of any length (the process was down, the machine slept) it produces one block with the current time, not one
//! for each that was missed. It does not believe a wall clock that jumps: while it runs it compares it with the uptime of the
//! machine, and at start with the newest block.
//!
//! The mempool is in memory only. A transaction that was accepted but not included is lost with the instance, as it is on a Dusk
//! node; whoever submitted it asks for its status and submits it again. Transactions of blocks that were taken back are on disk until
//! they are in a block again.

mod actor;
mod apply;
mod chain;
mod checks;
mod clock;
mod driver;
mod drops;
mod error;
mod finals;
mod health;
mod ingress;
mod mark;
mod metrics;
mod peers;
mod requests;
mod serve;
mod submit;
mod twin;
mod votes;
mod work;

pub use actor::{Blobs, Consensus, Network, Wiring, spec};
pub use chain::{Chain, Settings};
pub use clock::{Clock, system_clock, system_uptime};
pub use error::ConsensusError;
pub use ingress::DEADLINE;
