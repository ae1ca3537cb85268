//! Limits of the pool.

/// Limits and price rules of a pool. The protocol's own rules are not here: they follow from the chain's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// EIP-155 chain id that every transaction must carry.
    pub chain_id: u64,
    /// Accept legacy transactions without a chain id (they can be replayed on any chain). geth refuses them by default.
    pub allow_unprotected: bool,
    /// Least priority fee per gas in wei (for types 0 and 1: least gas price). Below it a transaction is refused.
    pub min_tip: u128,
    /// Largest encoded transaction in bytes.
    pub max_tx_bytes: usize,
    /// Size of one slot in bytes: a transaction takes one slot for each started piece of this size.
    pub slot_bytes: usize,
    /// Slots in the whole pool.
    pub max_slots: usize,
    /// Encoded bytes in the whole pool.
    pub max_bytes: usize,
    /// Ready transactions of one sender.
    pub account_ready: usize,
    /// Waiting transactions of one sender.
    pub account_waiting: usize,
    /// How far a nonce may lie beyond the sender's next one.
    pub max_nonce_gap: u64,
    /// Percentage by which both fee cap and tip of a replacement must exceed those of the transaction that it replaces.
    pub price_bump: u8,
    /// Seconds after which a waiting transaction is dropped.
    pub waiting_lifetime: u64,
}

impl PoolConfig {
    /// The defaults for a chain: geth's where geth has the rule, wider limits otherwise, since one sequencer serves them all.
    pub const fn new(chain_id: u64) -> Self {
        Self {
            chain_id,
            allow_unprotected: false,
            min_tip: 0,
            max_tx_bytes: 128 * 1024,
            slot_bytes: 32 * 1024,
            max_slots: 65_536,
            max_bytes: 128 * 1024 * 1024,
            account_ready: 2048,
            account_waiting: 256,
            max_nonce_gap: 1024,
            price_bump: 10,
            waiting_lifetime: 3 * 60 * 60,
        }
    }

    /// Slots that a transaction of this many bytes takes.
    pub(crate) fn slots_of(&self, bytes: usize) -> usize {
        bytes.div_ceil(self.slot_bytes.max(1)).max(1)
    }
}
