//! A Dusk L1 in miniature: one account, a mempool, blocks that can be taken back, the batch inbox, and what derivation makes of it.

use crate::l2;
use alloy_primitives::{B256, keccak256};
use duskevm_batcher_core::{Account, Heads, Observation, Order, Outcome, Payload, Refusal, Role, TxOrder, TxStatus};
use duskevm_batcher_core::{Derived, L2Block};
use duskevm_rollup::{
    BlockId, RollupConfig,
    batch::Batch,
    channel::{Channel, FrameOrder, GRANITE_CHANNEL_TIMEOUT},
    channel_reader::{ChannelLimits, ChannelReader},
    frame::{Frame, parse_frames},
};
use std::collections::{BTreeMap, HashMap};

/// L1 blocks behind the newest one that are final.
const FINALITY: u64 = 12;

/// A transaction with all that L1 needs of it.
#[derive(Debug, Clone)]
pub(crate) struct Tx {
    pub(crate) order: TxOrder,
    pub(crate) id: B256,
    /// What its envelope names. A blob transaction brings it, a call with blobs needs it there before.
    pub(crate) payload: Payload,
    pub(crate) envelope: B256,
}

pub(crate) fn sign(order: &Order) -> (B256, Vec<Tx>) {
    let mut bytes = order.envelope_nonce.to_be_bytes().to_vec();
    match &order.payload {
        Payload::Blobs(blobs) => blobs.iter().for_each(|blob| bytes.extend_from_slice(keccak256(blob).as_slice())),
        Payload::Calldata(data) => bytes.extend_from_slice(data),
    }
    let envelope = keccak256(&bytes);
    let txs = order.transactions.iter().map(|tx| {
        let role = u8::from(tx.role == Role::Call);
        let terms = [tx.nonce, tx.gas_limit, tx.gas_price].map(u64::to_be_bytes).concat();
        let id = keccak256([&terms[..], &[role], envelope.as_slice()].concat());
        Tx { order: TxOrder { id: Some(id), ..*tx }, id, payload: order.payload.clone(), envelope }
    });
    (envelope, txs.collect())
}

#[derive(Debug, Clone)]
struct Included {
    tx: Tx,
    outcome: Outcome,
}

#[derive(Debug)]
pub(crate) struct L1 {
    blocks: Vec<Vec<Included>>,
    pool: BTreeMap<u64, Tx>,
    /// Least price that is included.
    pub(crate) floor: u64,
    pub(crate) balance: u64,
    config: RollupConfig,
}

/// What derivation makes of L1.
#[derive(Debug, Clone)]
pub(crate) struct Safe {
    pub(crate) chain: Vec<L2Block>,
    /// Blocks in the batches that were read, those that were safe already among them.
    pub(crate) posted: usize,
}

impl L1 {
    pub(crate) fn new(config: RollupConfig) -> Self {
        Self { blocks: vec![Vec::new()], pool: BTreeMap::new(), floor: 1, balance: u64::MAX, config }
    }

    pub(crate) fn height(&self) -> u64 {
        self.blocks.len() as u64 - 1
    }

    pub(crate) fn final_height(&self) -> u64 {
        self.height().saturating_sub(FINALITY)
    }

    fn included(&self) -> impl Iterator<Item = (u64, &Included)> {
        (0u64..).zip(&self.blocks).flat_map(|(height, block)| block.iter().map(move |tx| (height, tx)))
    }

    fn nonce(&self) -> u64 {
        self.included().count() as u64
    }

    pub(crate) fn submit(&mut self, tx: &Tx) -> Result<(), Refusal> {
        if self.included().any(|(_, there)| there.tx.id == tx.id) {
            return Ok(());
        }
        if tx.order.nonce <= self.nonce() {
            return Err(Refusal::Other);
        }
        match self.pool.get(&tx.order.nonce) {
            Some(waiting) if waiting.id == tx.id => return Ok(()),
            Some(waiting) if waiting.order.gas_price >= tx.order.gas_price => {
                return Err(Refusal::Underpriced(waiting.order.gas_price));
            }
            _ => {}
        }
        self.pool.insert(tx.order.nonce, tx.clone());
        Ok(())
    }

    /// Makes a block with at most so many transactions.
    pub(crate) fn make_block(&mut self, most: usize) {
        self.blocks.push(Vec::new());
        for _ in 0..most {
            let next = self.nonce() + 1;
            if self.pool.get(&next).is_none_or(|tx| tx.order.gas_price < self.floor) {
                break;
            }
            let Some(tx) = self.pool.remove(&next) else { break };
            let outcome = self.outcome(&tx);
            self.blocks.last_mut().unwrap().push(Included { tx, outcome });
        }
        let nonce = self.nonce();
        self.pool.retain(|at, _| *at > nonce);
    }

    fn outcome(&self, tx: &Tx) -> Outcome {
        if tx.order.role == Role::Blobs {
            return Outcome::Done;
        }
        let seen = self.included().find(|(_, other)| {
            other.tx.envelope == tx.envelope && other.tx.order.role == Role::Call && other.outcome == Outcome::Done
        });
        if let Some((height, _)) = seen {
            return Outcome::Elsewhere(height);
        }
        let has_blobs =
            self.included().any(|(_, other)| other.tx.order.role == Role::Blobs && other.tx.payload == tx.payload);
        match tx.payload {
            Payload::Blobs(_) if !has_blobs => Outcome::Failed("a blob is missing".into()),
            _ => Outcome::Done,
        }
    }

    /// Takes blocks back. Their transactions wait again, or are lost.
    pub(crate) fn reorg(&mut self, depth: u64, lose: bool) {
        for _ in 0..depth.min(self.height() - self.final_height()) {
            for Included { tx, .. } in self.blocks.pop().unwrap_or_default() {
                if !lose {
                    self.pool.entry(tx.order.nonce).or_insert(tx);
                }
            }
        }
    }

    pub(crate) fn lose_pool(&mut self) {
        self.pool.clear();
    }

    /// Somebody else uses the account.
    pub(crate) fn intrude(&mut self) {
        let order = TxOrder { role: Role::Blobs, nonce: self.nonce() + 1, gas_limit: 1, gas_price: u64::MAX, id: None };
        let id = keccak256([b"intruder".as_slice(), &self.nonce().to_be_bytes()].concat());
        let tx = Tx { order, id, payload: Payload::Blobs(Vec::new()), envelope: id };
        self.pool.insert(order.nonce, tx);
    }

    pub(crate) fn observe(&self, watched: &[(B256, B256)]) -> Observation {
        let status = |id: &B256| {
            if let Some((height, found)) = self.included().find(|(_, there)| there.tx.id == *id) {
                let is_final = height <= self.final_height();
                return TxStatus::Included { height, is_final, outcome: found.outcome.clone() };
            }
            let waits = self.pool.values().any(|tx| tx.id == *id);
            if waits { TxStatus::Waiting } else { TxStatus::Unknown }
        };
        let transactions: HashMap<_, _> = watched.iter().map(|(id, _)| (*id, status(id))).collect();
        let account = Account { nonce: self.nonce(), balance: self.balance };
        Observation { l1_block: self.height(), account, transactions }
    }

    /// The frames that the L1 view shows, with their L1 block, in order.
    pub(crate) fn frames(&self) -> Vec<(u64, Frame)> {
        let mut frames = Vec::new();
        for (height, Included { tx, outcome }) in self.included() {
            if tx.order.role != Role::Call || *outcome != Outcome::Done {
                continue;
            }
            let data = match &tx.payload {
                Payload::Blobs(blobs) => blobs.clone(),
                Payload::Calldata(data) => vec![data.clone()],
            };
            frames.extend(data.iter().flat_map(|data| parse_frames(data).unwrap()).map(|frame| (height, frame)));
        }
        frames
    }

    /// The safe chain that the L1 blocks up to `height` give.
    pub(crate) fn derive(&self, height: u64) -> Safe {
        let mut safe = Safe { chain: vec![l2::block(0, B256::ZERO, Vec::new())], posted: 0 };
        let mut open: Option<Channel> = None;
        for (height, frame) in self.frames().into_iter().filter(|(at, _)| *at <= height) {
            if frame.number == 0 {
                open = Some(Channel::new(frame.channel_id, height, FrameOrder::Strict));
            }
            let Some(channel) = &mut open else { continue };
            if channel.timed_out(height, GRANITE_CHANNEL_TIMEOUT) || channel.add(frame).is_err() {
                continue;
            }
            if let Some(channel) = open.take_if(|channel| channel.is_complete()) {
                let mut reader = ChannelReader::new(channel.into_data(), ChannelLimits::at(&self.config, 0)).unwrap();
                let Some(Batch::Span(span)) = reader.next_batch() else { panic!("{:?}", reader.end()) };
                self.apply(&mut safe, &span);
            }
        }
        safe
    }

    fn apply(&self, safe: &mut Safe, span: &duskevm_rollup::batch::SpanBatch) {
        let first = span.first_timestamp(&self.config) / l2::BLOCK_TIME;
        let blocks: Vec<_> = span.blocks(&self.config).collect();
        safe.posted += blocks.len();
        let Some(parent) = safe.chain.get(first as usize - 1) else { return };
        if parent.hash[..20] != span.parent_check()[..] {
            return;
        }
        for (number, found) in (first..).zip(blocks) {
            if number < safe.chain.len() as u64 {
                continue;
            }
            let parent = safe.chain.last().unwrap().hash;
            safe.chain.push(l2::block(number, parent, found.transactions));
        }
    }

    /// What a node whose derivation lags by so many L1 blocks says. L1 decides which blocks the chain has.
    pub(crate) fn heads(&self, chain: &mut l2::Chain, lag: u64) -> Heads {
        let read = self.height().saturating_sub(lag);
        let safe = self.derive(read).chain;
        if !chain.blocks.iter().zip(&safe).all(|(one, other)| one.hash == other.hash) || chain.blocks.len() < safe.len()
        {
            chain.blocks.clone_from(&safe);
        }
        let last = safe.last().unwrap();
        let number = safe.len() as u64 - 1;
        let finalized = self.derive(self.final_height().min(read)).chain.len() as u64 - 1;
        Heads {
            latest: chain.latest(),
            safe: BlockId { number, hash: last.hash },
            finalized,
            derived: Some(Derived { l1_block: read, safe: number }),
        }
    }
}
