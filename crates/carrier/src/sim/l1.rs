//! An L1 for the simulation: one account, a mempool, blocks that may be taken back, and the batch inbox.

use crate::{Envelope, Observation, Order, Role, TxStatus};
use alloy_primitives::{Address, B256, keccak256};
use std::collections::{BTreeMap, HashMap};

/// Draws numbers: the same ones for the same seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) const fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// True once in so many times.
    pub(super) const fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// A Dusk transaction.
#[derive(Debug, Clone)]
pub(super) struct Tx {
    pub(super) id: B256,
    nonce: u64,
    price: u64,
    role: Role,
    sender: Address,
    envelope_nonce: u64,
    blobs: Vec<B256>,
}

impl Tx {
    pub(super) fn sign(order: &Order) -> Self {
        let envelope: &Envelope = &order.envelope;
        let said = format!("{} {} {:?}", order.nonce, order.gas_price, order.role);
        Self {
            id: keccak256(said),
            nonce: order.nonce,
            price: order.gas_price,
            role: order.role.clone(),
            sender: envelope.sender(),
            envelope_nonce: envelope.nonce(),
            blobs: envelope.blob_hashes().to_vec(),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) nonce: u64,
    pub(super) next: BTreeMap<Address, u64>,
    /// With the height at which each came last.
    blobs: BTreeMap<B256, usize>,
    /// What each block of the view shows: sender, nonce, hash.
    pub(super) landed: Vec<(Address, u64, B256)>,
}

#[derive(Debug, Clone, Default)]
struct Block {
    hash: B256,
    transactions: Vec<(Tx, Option<String>)>,
    after: State,
    is_on_disk: bool,
}

#[derive(Debug)]
pub(super) struct L1 {
    blocks: Vec<Block>,
    pub(super) finalized: usize,
    mempool: BTreeMap<u64, Tx>,
    pub(super) balance: u64,
    /// Blocks that were ever made.
    made: u64,
    /// Calls that failed, and Dusk transactions that were included.
    pub(super) failed: usize,
    pub(super) included: usize,
    /// Blocks for which a blob is known.
    pub(super) window: usize,
}

impl L1 {
    pub(super) fn new() -> Self {
        let genesis = Block { is_on_disk: true, ..Block::default() };
        Self {
            blocks: vec![genesis],
            finalized: 0,
            mempool: BTreeMap::new(),
            balance: u64::MAX,
            made: 0,
            failed: 0,
            included: 0,
            window: usize::MAX,
        }
    }

    pub(super) fn tip(&self) -> usize {
        self.blocks.len() - 1
    }

    pub(super) fn state(&self) -> State {
        self.blocks.last().map(|block| block.after.clone()).unwrap_or_default()
    }

    /// Takes a transaction; or the price that must be outbid.
    pub(super) fn submit(&mut self, tx: Tx) -> Result<(), Option<u64>> {
        if tx.nonce <= self.state().nonce {
            return Err(None);
        }
        match self.mempool.get(&tx.nonce) {
            Some(old) if old.id == tx.id => Ok(()),
            Some(old) if old.price >= tx.price => Err(Some(old.price)),
            _ => {
                self.mempool.insert(tx.nonce, tx);
                Ok(())
            }
        }
    }

    /// Makes a block of at most so many transactions. `fails` draws which of them run out of gas.
    pub(super) fn make(&mut self, most: usize, is_on_disk: bool, mut fails: impl FnMut() -> bool) {
        self.made += 1;
        let hash = keccak256(self.made.to_be_bytes());
        let mut block = Block { hash, after: self.state(), is_on_disk, ..Block::default() };
        let (height, window) = (self.blocks.len(), self.window);
        block.after.blobs.retain(|_, came| height - *came < window);
        for older in &mut self.blocks {
            older.is_on_disk = true;
        }
        while block.transactions.len() < most {
            let Some(tx) = self.mempool.remove(&(block.after.nonce + 1)) else { break };
            block.after.nonce += 1;
            let error = if fails() { Some("out of gas".to_owned()) } else { run(&mut block.after, height, &tx).err() };
            self.failed += usize::from(error.is_some());
            self.included += 1;
            block.transactions.push((tx, error));
        }
        let used = block.after.nonce;
        self.mempool.retain(|nonce, _| *nonce > used);
        self.blocks.push(block);
    }

    /// Somebody else brings an envelope that waits in the mempool.
    pub(super) fn copy_envelope(&mut self) {
        let found = self.mempool.values().find(|tx| matches!(tx.role, Role::Call(_))).cloned();
        let height = self.tip();
        if let (Some(tx), Some(block)) = (found, self.blocks.last_mut()) {
            let _ = run(&mut block.after, height, &tx);
        }
    }

    /// Another program uses the next nonce of the account.
    pub(super) fn steal_nonce(&mut self) {
        if let Some(block) = self.blocks.last_mut() {
            block.after.nonce += 1;
            self.mempool.remove(&block.after.nonce);
        }
    }

    /// Takes blocks back; what was in them waits again, or is lost.
    pub(super) fn take_back(&mut self, count: usize, mut is_lost: impl FnMut() -> bool) {
        for _ in 0..count {
            if self.tip() <= self.finalized {
                return;
            }
            let Some(block) = self.blocks.pop() else { return };
            for (tx, _) in block.transactions {
                if !is_lost() {
                    self.mempool.insert(tx.nonce, tx);
                }
            }
        }
    }

    pub(super) fn lose(&mut self, mut is_lost: impl FnMut() -> bool) {
        self.mempool.retain(|_, _| !is_lost());
    }

    pub(super) fn finalize(&mut self, depth: usize) {
        self.finalized = self.finalized.max(self.tip().saturating_sub(depth));
    }

    pub(super) fn observe(&self, senders: &[Address], watched: &[B256]) -> Observation {
        let state = self.state();
        let mut transactions: HashMap<B256, TxStatus> = watched.iter().map(|id| (*id, TxStatus::Unknown)).collect();
        for tx in self.mempool.values() {
            transactions.entry(tx.id).and_modify(|status| *status = TxStatus::Waiting);
        }
        for (height, block) in self.blocks.iter().enumerate() {
            for (tx, error) in &block.transactions {
                let status = TxStatus::Included {
                    height: height as u64,
                    is_final: height <= self.finalized,
                    error: error.clone(),
                };
                let status = if block.is_on_disk { status } else { TxStatus::Waiting };
                transactions.entry(tx.id).and_modify(|known| *known = status);
            }
        }
        Observation {
            height: self.tip() as u64,
            hash: self.blocks.last().map(|block| block.hash),
            finalized: self.finalized as u64,
            finalized_hash: self.blocks.get(self.finalized).map(|block| block.hash).unwrap_or_default(),
            nonce: state.nonce,
            balance: self.balance,
            next: senders.iter().map(|sender| (*sender, state.next.get(sender).copied().unwrap_or(0))).collect(),
            transactions,
        }
    }
}

fn run(state: &mut State, height: usize, tx: &Tx) -> Result<(), String> {
    let Role::Call(hash) = &tx.role else {
        state.blobs.extend(tx.blobs.iter().map(|blob| (*blob, height)));
        return Ok(());
    };
    let next = state.next.entry(tx.sender).or_default();
    if *next != tx.envelope_nonce {
        return Err(format!("nonce {} is not {next}", tx.envelope_nonce));
    }
    if !tx.blobs.iter().all(|blob| state.blobs.contains_key(blob)) {
        return Err("a blob is missing".into());
    }
    *next += 1;
    state.landed.push((tx.sender, tx.envelope_nonce, *hash));
    Ok(())
}
