//! The projected block.

use alloc::vec::Vec;

use alloy_consensus::{EthereumTxEnvelope, Header, ReceiptEnvelope, TxEip4844};
use alloy_primitives::{B256, Sealed};

/// A projected transaction: any Ethereum type, blobs without their sidecars.
pub type ViewTxEnvelope = EthereumTxEnvelope<TxEip4844>;

/// One transaction of the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewTransaction {
    /// The Dusk transaction that it stands for. Receipts are found by this id as well as by the projected hash.
    pub dusk_id: B256,
    /// The projected transaction.
    pub envelope: ViewTxEnvelope,
}

impl ViewTransaction {
    /// Hash of the projected transaction.
    pub fn hash(&self) -> B256 {
        *self.envelope.tx_hash()
    }
}

/// An Ethereum block that stands for a Dusk block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewBlock {
    /// Header with its keccak hash.
    pub header: Sealed<Header>,
    /// Transactions.
    pub transactions: Vec<ViewTransaction>,
    /// One receipt for each transaction.
    pub receipts: Vec<ReceiptEnvelope>,
}

impl ViewBlock {
    /// Hash of the view block.
    pub fn hash(&self) -> B256 {
        self.header.seal()
    }

    /// Number of the view block, which is the Dusk height.
    pub fn number(&self) -> u64 {
        self.header.number
    }

    /// Unix seconds.
    pub fn timestamp(&self) -> u64 {
        self.header.timestamp
    }

    /// Hash of the parent's view.
    pub fn parent_hash(&self) -> B256 {
        self.header.parent_hash
    }

    /// Hash of the Dusk block, which the header carries as `extraData`.
    pub fn dusk_hash(&self) -> B256 {
        B256::try_from(self.header.extra_data.as_ref()).unwrap_or_default()
    }
}
