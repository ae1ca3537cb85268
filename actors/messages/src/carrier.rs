//! Messages to `carrier`, the actor that brings what clients send to the batch inbox to Dusk.

use alloy_primitives::{B256, Bytes};
use duskevm_carrier_core::{Carried, Refusal};
use duskevm_supervision::Message;
use std::sync::Arc;
use tokio::sync::watch;

/// Why an envelope is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CarryRefusal {
    /// The rules forbid it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many others are being read or checked.
    #[error("the carrier is busy checking {0} other transactions: send it again in a moment")]
    Busy(usize),
    /// L1 cannot be asked for the sender's nonce.
    #[error("L1 cannot be asked for the sender's nonce ({0}): send it again in a moment")]
    L1(String),
}

/// Carry a signed Ethereum transaction to the batch inbox on Dusk; sent by the RPC of the L1 view for each call of a client.
///
/// The reply is its hash once it is on disk: it is carried until its nonce is used in a final L1 block, also after a restart, or until
/// another one of the same sender and nonce replaces it. It may be delivered twice: the second one is refused as already known, or its
/// nonce as too low if it is on L1 by then.
#[derive(Debug, Clone)]
pub struct Carry {
    /// EIP-2718 bytes; with blobs in the network form of EIP-4844 or EIP-7594.
    pub raw: Bytes,
}

impl Message for Carry {
    type Reply = Result<B256, CarryRefusal>;
    const NAME: &'static str = "carry";
    const IDEMPOTENT: bool = true;
}

/// What is carried, as of the newest change that is on disk; followed by the RPC of the L1 view. It has what the carrier holds, which is
/// bounded by its settings, and stays while the carrier is being restarted.
pub type CarriedFeed = watch::Receiver<Arc<Carried>>;
