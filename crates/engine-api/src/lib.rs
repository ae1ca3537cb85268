//! The Engine API of an L2 execution client, as op-node and kona-node call it, without sockets, clocks and async.
//!
//! | part | subject |
//! |---|---|
//! | [`version`] | which version of a method fits which fork |
//! | [`payload`] | a block as JSON, and the way to our [`Block`](duskevm_evm::Block) and back |
//! | [`new_payload`] | what `engine_newPayload` is given: parameters, forms, the hash |
//! | [`get_payload`] | what `engine_getPayload` answers |
//! | [`attributes`] | what `engine_forkchoiceUpdated` is to build, its checks, payload ids |
//! | [`forkchoice`] | forkchoice states: contradictions, and the way to the new head |
//! | [`status`] | payload statuses and answers to `engine_forkchoiceUpdated` |
//! | [`backfill`] | bringing blocks that lack before a wanted head from another node |
//! | [`jobs`] | the bounded book of payloads that are being built |
//! | [`bodies`] | payload bodies by hash and range |
//! | [`jwt`] | authentication |
//! | [`capabilities`] | the methods that are offered, and who offers them |
//! | [`error`] | error codes |
//!
//! Sources of the rules: Ethereum execution APIs, `src/engine` (paris, shanghai, cancun, prague, common, authentication, identification);
//! OP Stack specification, `exec-engine.md` with its Holocene, Isthmus and Jovian parts.

pub mod attributes;
pub mod backfill;
pub mod bodies;
pub mod capabilities;
pub mod error;
pub mod forkchoice;
pub mod get_payload;
pub mod jobs;
pub mod jwt;
pub mod new_payload;
pub mod payload;
pub mod status;
#[cfg(test)]
mod testing;
pub mod version;

pub use alloy_rpc_types_engine::{ForkchoiceState, ForkchoiceUpdated, PayloadId, PayloadStatus, PayloadStatusEnum};
pub use attributes::{BuildRequest, PayloadAttributes};
pub use error::EngineError;
pub use get_payload::{PayloadAnswer, PayloadEnvelope};
pub use jobs::PayloadJobs;
pub use jwt::JwtSecret;
pub use new_payload::{NewPayload, Received};
pub use payload::ExecutionPayload;
pub use version::{ForkchoiceMethod, PayloadMethod};
