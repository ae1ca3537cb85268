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
    envelope_nonce: u64,
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
        let (payload, envelope_nonce) = (order.payload.clone(), order.envelope_nonce);
        Tx { order: TxOrder { id: Some(id), ..*tx }, id, payload, envelope, envelope_nonce }
    });
    (envelope, txs.collect())
}

#[derive(Debug, Clone)]
struct Included {
    tx: Tx,
    /// By the batcher's account.
    ours: bool,
    error: Option<&'static str>,
}

impl Included {
    fn brought_envelope(&self) -> bool {
        self.tx.order.role == Role::Call && self.error.is_none()
    }
}

#[derive(Debug)]
pub(crate) struct L1 {
    blocks: Vec<Vec<Included>>,
    pool: BTreeMap<u64, Tx>,
    /// Calls that anybody has seen waiting.
    gossip: Vec<Tx>,
    /// Those that somebody else brings before ours in the next block.
    copied: Vec<Tx>,
    /// Least price that is included.
    pub(crate) floor: u64,
    pub(crate) balance: u64,
    /// By how many blocks the view is behind the newest one.
    pub(crate) view_lag: u64,
    /// How many of the newest blocks are not on disk.
    pub(crate) executed: u64,
    /// Derivation listens to another batcher.
    pub(crate) deaf: bool,
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
        Self {
            blocks: vec![Vec::new()],
            pool: BTreeMap::new(),
            gossip: Vec::new(),
            copied: Vec::new(),
            floor: 1,
            balance: u64::MAX,
            view_lag: 0,
            executed: 0,
            deaf: false,
            config,
        }
    }

    pub(crate) fn height(&self) -> u64 {
        self.blocks.len() as u64 - 1
    }

    pub(crate) fn final_height(&self) -> u64 {
        self.height().saturating_sub(FINALITY)
    }

    /// The newest block that is on disk.
    fn durable(&self) -> u64 {
        self.height().saturating_sub(self.executed)
    }

    /// The newest block that the view shows.
    pub(crate) fn view(&self) -> u64 {
        self.durable().min(self.height().saturating_sub(self.view_lag))
    }

    fn included(&self) -> impl Iterator<Item = (u64, &Included)> {
        (0u64..).zip(&self.blocks).flat_map(|(height, block)| block.iter().map(move |tx| (height, tx)))
    }

    fn nonce(&self) -> u64 {
        self.included().filter(|(_, there)| there.ours).count() as u64
    }

    fn next_envelope(&self) -> u64 {
        self.included().filter(|(_, there)| there.brought_envelope()).count() as u64
    }

    /// Calls that did nothing, though their gas was paid for.
    pub(crate) fn failed_calls(&self) -> usize {
        self.included().filter(|(_, there)| there.ours && there.error.is_some()).count()
    }

    pub(crate) fn submit(&mut self, tx: &Tx) -> Result<(), Refusal> {
        if self.included().any(|(_, there)| there.ours && there.tx.id == tx.id) {
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
        if tx.order.role == Role::Call {
            self.gossip.push(tx.clone());
        }
        Ok(())
    }

    /// A call that was seen once is the one that waits with its nonce.
    pub(crate) fn revive(&mut self, which: usize) {
        let tx = self.gossip[which].clone();
        self.pool.insert(tx.order.nonce, tx);
    }

    /// Somebody else brings the envelope of a call that was seen, with its blobs, before ours.
    pub(crate) fn copy(&mut self, which: usize) {
        if let Some(at) = which.checked_rem(self.gossip.len()) {
            self.copied.push(self.gossip[at].clone());
        }
    }

    /// Makes a block with at most so many transactions of the batcher.
    pub(crate) fn make_block(&mut self, most: usize) {
        self.blocks.push(Vec::new());
        for tx in std::mem::take(&mut self.copied) {
            self.include(tx, false);
        }
        for _ in 0..most {
            let next = self.nonce() + 1;
            if self.pool.get(&next).is_none_or(|tx| tx.order.gas_price < self.floor) {
                break;
            }
            let Some(tx) = self.pool.remove(&next) else { break };
            self.include(tx, true);
        }
        let nonce = self.nonce();
        self.pool.retain(|at, _| *at > nonce);
    }

    fn include(&mut self, tx: Tx, ours: bool) {
        let error = self.error(&tx, ours);
        self.blocks.last_mut().unwrap().push(Included { tx, ours, error });
    }

    fn error(&self, tx: &Tx, ours: bool) -> Option<&'static str> {
        if tx.order.role == Role::Blobs {
            return None;
        }
        if tx.envelope_nonce != self.next_envelope() {
            return Some("another nonce is next");
        }
        let has_blobs = !ours
            || self.included().any(|(_, other)| {
                other.tx.payload == tx.payload && (other.tx.order.role == Role::Blobs || !other.ours)
            });
        match tx.payload {
            Payload::Blobs(_) if !has_blobs => Some("a blob is missing"),
            _ => None,
        }
    }

    /// Takes blocks back. Their transactions wait again, or are lost.
    pub(crate) fn reorg(&mut self, depth: u64, lose: bool) {
        for _ in 0..depth.min(self.height() - self.final_height()) {
            for Included { tx, ours, .. } in self.blocks.pop().unwrap_or_default() {
                if lose {
                    continue;
                }
                if ours {
                    self.pool.entry(tx.order.nonce).or_insert(tx);
                } else {
                    self.copied.push(tx);
                }
            }
        }
    }

    pub(crate) fn lose_pool(&mut self) {
        self.pool.clear();
    }

    /// Transactions of the account, blobs among them, that are on L1.
    pub(crate) fn paid(&self) -> usize {
        self.included().filter(|(_, there)| there.ours).count()
    }

    /// Somebody else uses the account.
    pub(crate) fn intrude(&mut self) {
        let order = TxOrder { role: Role::Blobs, nonce: self.nonce() + 1, gas_limit: 1, gas_price: u64::MAX, id: None };
        let id = keccak256([b"intruder".as_slice(), &self.nonce().to_be_bytes()].concat());
        let tx = Tx { order, id, payload: Payload::Blobs(Vec::new()), envelope: id, envelope_nonce: 0 };
        self.pool.insert(order.nonce, tx);
    }

    pub(crate) fn observe(&self, watched: &[(B256, B256)]) -> Observation {
        let transactions: HashMap<_, _> = watched.iter().map(|(id, _)| (*id, self.status(id))).collect();
        Observation {
            l1_block: self.view(),
            tip: self.height(),
            account: Account { nonce: self.nonce(), balance: self.balance },
            next_envelope: self.next_envelope(),
            transactions,
        }
    }

    fn status(&self, id: &B256) -> TxStatus {
        let Some((height, found)) = self.included().find(|(_, there)| there.ours && there.tx.id == *id) else {
            let waits = self.pool.values().any(|tx| tx.id == *id);
            return if waits { TxStatus::Waiting } else { TxStatus::Unknown };
        };
        if height > self.durable() {
            return TxStatus::Waiting;
        }
        let outcome = match found.error {
            None => Outcome::Done,
            Some(_) if height > self.view() => return TxStatus::Waiting,
            Some(why) => {
                let mut all = self.included();
                let there = all.find(|(_, other)| other.brought_envelope() && other.tx.envelope == found.tx.envelope);
                there.map_or(Outcome::Failed(why.into()), |(height, _)| Outcome::Elsewhere(height))
            }
        };
        TxStatus::Included { height, is_final: height <= self.final_height(), outcome }
    }

    /// The frames that the L1 view shows, with their L1 block, in order.
    pub(crate) fn frames(&self) -> Vec<(u64, Frame)> {
        let mut frames = Vec::new();
        for (height, found) in self.included() {
            if !found.brought_envelope() {
                continue;
            }
            let data = match &found.tx.payload {
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
        let mut read = 0;
        for (height, frame) in self.frames().into_iter().filter(|(at, _)| *at <= height) {
            for over in read..height {
                self.prescribe(&mut safe, over);
            }
            read = height;
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
                self.apply(&mut safe, &span, height);
            }
        }
        for over in read..=height {
            self.prescribe(&mut safe, over);
        }
        safe
    }

    /// Blocks without users' transactions for the epochs whose window ends with this L1 block, when all of it was read.
    fn prescribe(&self, safe: &mut Safe, height: u64) {
        loop {
            let number = safe.chain.len() as u64;
            if self.config.window_end(number / l2::EPOCH) > height {
                return;
            }
            let parent = safe.chain.last().unwrap().hash;
            safe.chain.push(l2::block(number, parent, Vec::new()));
        }
    }

    fn apply(&self, safe: &mut Safe, span: &duskevm_rollup::batch::SpanBatch, inclusion: u64) {
        let first = span.first_timestamp(&self.config) / l2::BLOCK_TIME;
        let blocks: Vec<_> = span.blocks(&self.config).collect();
        safe.posted += blocks.len();
        if self.deaf {
            return;
        }
        // From the future, or too late.
        let Some(parent) = safe.chain.get(first as usize - 1) else { return };
        if parent.hash[..20] != span.parent_check()[..] || self.config.window_end(first / l2::EPOCH) < inclusion {
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
        let read = self.view().saturating_sub(lag);
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
