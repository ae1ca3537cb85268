//! An L2 chain whose block hashes are a function of what a batch says of them.

use alloy_consensus::{SignableTransaction, TxEnvelope, TxLegacy};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use duskevm_batcher_core::{L2Block, L2Chain};
use duskevm_rollup::{BlockId, RollupConfig, RollupGenesis, SystemConfig, batch::SingularBatch};
use std::{cell::RefCell, convert::Infallible};

/// Seconds between L2 blocks.
pub(crate) const BLOCK_TIME: u64 = 2;
/// L2 blocks that share an L1 origin.
pub(crate) const EPOCH: u64 = 6;

pub(crate) fn config(seq_window_size: u64) -> RollupConfig {
    RollupConfig {
        genesis: RollupGenesis {
            l1: BlockId::default(),
            l2: BlockId { number: 0, hash: genesis().hash },
            l2_time: 0,
            system_config: SystemConfig::default(),
        },
        block_time: BLOCK_TIME,
        max_sequencer_drift: 600,
        seq_window_size,
        l1_chain_id: 3,
        l2_chain_id: 31310,
        forks: duskevm_evm::ForkTimes::isthmus_at_genesis(),
        delta_time: Some(0),
        batch_inbox_address: Address::ZERO,
        deposit_contract_address: Address::ZERO,
        l1_system_config_address: Address::ZERO,
        eip1559: (6, 50, 250),
    }
}

fn genesis() -> L2Block {
    block(0, B256::ZERO, Vec::new())
}

/// The block with this content.
pub(crate) fn block(number: u64, parent_hash: B256, transactions: Vec<Bytes>) -> L2Block {
    let epoch = number / EPOCH;
    let mut content = [&number.to_be_bytes()[..], parent_hash.as_slice()].concat();
    for tx in &transactions {
        content.extend_from_slice(keccak256(tx).as_slice());
    }
    let epoch = BlockId { number: epoch, hash: keccak256(epoch.to_be_bytes()) };
    let batch = SingularBatch { parent_hash, epoch, timestamp: number * BLOCK_TIME, transactions };
    let origin_time = number / EPOCH * EPOCH * BLOCK_TIME;
    L2Block { hash: keccak256(content), batch, sequence_number: number % EPOCH, origin_time }
}

/// A transaction with so many bytes that do not compress.
fn transaction(seed: u64, bytes: usize) -> Bytes {
    let word = |index: u64| keccak256([seed.to_be_bytes(), index.to_be_bytes()].concat());
    let input: Vec<u8> = (0..bytes as u64).step_by(32).flat_map(|index| word(index).0).take(bytes).collect();
    let tx = TxLegacy {
        chain_id: None,
        nonce: seed % 1000,
        gas_price: 1_000_000_000,
        gas_limit: 90_000,
        to: TxKind::Call(Address::repeat_byte(7)),
        value: U256::from(seed % 9),
        input: input.into(),
    };
    let signature = Signature::new(U256::from_be_bytes(word(1 << 40).0), U256::from_be_bytes(word(1 << 41).0), false);
    let mut out = Vec::new();
    alloy_eips::Encodable2718::encode_2718(&TxEnvelope::from(tx.into_signed(signature)), &mut out);
    out.into()
}

/// The chain of this node.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) blocks: Vec<L2Block>,
    seed: u64,
    /// Reads of blocks, to see that nothing is read over and over.
    pub(crate) reads: RefCell<u64>,
}

impl Chain {
    pub(crate) fn new() -> Self {
        Self { blocks: vec![genesis()], seed: 0, reads: RefCell::new(0) }
    }

    pub(crate) fn latest(&self) -> u64 {
        self.blocks.len() as u64 - 1
    }

    pub(crate) fn extend(&mut self, bytes: usize) {
        self.seed += 1;
        let parent = self.blocks.last().unwrap().hash;
        let txs = if bytes == 0 { Vec::new() } else { vec![transaction(self.seed, bytes)] };
        self.blocks.push(block(self.blocks.len() as u64, parent, txs));
    }
}

impl L2Chain for Chain {
    type Error = Infallible;

    fn hash(&self, number: u64) -> Result<Option<B256>, Infallible> {
        Ok(self.blocks.get(number as usize).map(|block| block.hash))
    }

    fn block(&self, number: u64) -> Result<Option<L2Block>, Infallible> {
        *self.reads.borrow_mut() += 1;
        Ok(self.blocks.get(number as usize).cloned())
    }
}
