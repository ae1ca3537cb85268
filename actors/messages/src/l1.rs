//! Messages to `l1`, the port through which everything else knows the L1.

use alloy_primitives::B256;
use duskevm_l1_view::ViewBlock;
use duskevm_supervision::Message;
use std::sync::Arc;
use tokio::sync::watch;

/// One block of the L1 view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct L1BlockRef {
    /// View hash.
    pub hash: B256,
    /// Number, which is the Dusk height.
    pub number: u64,
    /// View hash of the parent.
    pub parent_hash: B256,
    /// Unix seconds.
    pub timestamp: u64,
}

impl From<&ViewBlock> for L1BlockRef {
    fn from(block: &ViewBlock) -> Self {
        Self {
            hash: block.hash(),
            number: block.number(),
            parent_hash: block.parent_hash(),
            timestamp: block.timestamp(),
        }
    }
}

/// The heads of the L1 view. All of them are served by the actor before they are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct L1Heads {
    /// The newest block.
    pub latest: L1BlockRef,
    /// The newest block that is not expected to be replaced. On Dusk that is the last final block.
    pub safe: L1BlockRef,
    /// The newest block that can never be replaced. Never goes back.
    pub finalized: L1BlockRef,
}

/// The feed of [`L1Heads`]; `None` until the first block was projected.
pub type L1HeadsFeed = watch::Receiver<Option<L1Heads>>;

/// The heads of the L1 view; asked by the RPC (others follow the feed).
///
/// The reply is `None` until the first block was projected. May be delivered twice.
#[derive(Debug, Clone, Copy)]
pub struct GetL1Heads;

impl Message for GetL1Heads {
    type Reply = Option<L1Heads>;
    const NAME: &'static str = "get-l1-heads";
    const IDEMPOTENT: bool = true;
}

/// A block of the L1 view by number; asked by the sequencer, derivation and the RPC.
///
/// The reply is `None` above the newest block. May be delivered twice.
#[derive(Debug, Clone, Copy)]
pub struct ViewBlockByNumber {
    /// Number, 0 for the genesis block.
    pub number: u64,
}

impl Message for ViewBlockByNumber {
    type Reply = Option<Arc<ViewBlock>>;
    const NAME: &'static str = "view-block-by-number";
    const IDEMPOTENT: bool = true;
}

/// A block of the L1 view by hash; asked by the sequencer, derivation and the RPC.
///
/// The reply is `None` for a hash that is not in the view's chain. May be delivered twice.
#[derive(Debug, Clone, Copy)]
pub struct ViewBlockByHash {
    /// View hash.
    pub hash: B256,
}

impl Message for ViewBlockByHash {
    type Reply = Option<Arc<ViewBlock>>;
    const NAME: &'static str = "view-block-by-hash";
    const IDEMPOTENT: bool = true;
}

/// The block and index of a transaction of the L1 view, by its projected hash or by its Dusk id; asked by the RPC of the view.
///
/// A Dusk transaction that is projected to several Ethereum transactions is found at the first of them, which carries its logs. May be delivered twice.
#[derive(Debug, Clone, Copy)]
pub struct ViewTransaction {
    /// Projected hash or Dusk id.
    pub id: B256,
}

impl Message for ViewTransaction {
    type Reply = Option<(Arc<ViewBlock>, u32)>;
    const NAME: &'static str = "view-transaction";
    const IDEMPOTENT: bool = true;
}
