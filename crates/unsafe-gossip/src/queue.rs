//! Received unsafe blocks on their way into the chain: what to import next, and which numbers to ask peers for.
//!
//! Only blocks that lead to a signed one are kept: a gossiped block names its parent, the parent is asked for by number and taken
//! only if it has that hash, and so on down to a block of the own chain. So a peer that answers wrongly is found out at once, and
//! nothing that the signer did not vouch for is ever executed. What lies far above is dropped when there is too much of it; its hash
//! stays, and it is asked for again when its turn comes.

use alloy_eips::BlockNumHash;
use alloy_primitives::B256;
use duskevm_evm::Block;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// Bytes of blocks that wait.
const MAX_BYTES: usize = 64 << 20;
/// Numbers between the head and the highest block whose hashes are kept.
const MAX_LINKS: usize = 1 << 16;
/// Requests at one time, and to one peer.
const ASKING: usize = 8;
const ASKING_ONE: usize = 2;
/// Of the missing blocks the lowest ones are asked for.
const ASK_AHEAD: usize = 64;
/// Each question costs a peer's allowance so much time, and it may be ahead by so much: 40 at once, then four each second. op-node
/// answers about as many.
const ASK_COST: Duration = Duration::from_millis(250);
const ASK_BURST: Duration = Duration::from_secs(10);
/// How long a peer is left alone after it had no answer; twice as long each time.
const ASIDE: Duration = Duration::from_millis(500);
const MOST_ASIDE: u32 = 6;
/// How long an import that could not be done waits for another try.
const STALL: Duration = Duration::from_millis(500);
/// Above so many waiting bytes only what is imported first is asked for: the rest would be dropped as soon as it comes.
const ASK_LOWEST_ABOVE: usize = MAX_BYTES / 2;
/// Invalid blocks that are remembered, and as many that contradict what is safe.
const MAX_BAD: usize = 64;
/// Peers that are remembered.
const MAX_PEERS: usize = 256;

/// What is to be done. `P` names a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect<P> {
    /// Import a block; tell [`Queue::imported`] what came of it.
    Import(Arc<Block>),
    /// Ask a peer for the block of a number; tell [`Queue::answered`] what came of it.
    Ask {
        /// Whom.
        peer: P,
        /// For which block.
        number: u64,
    },
}

/// What came of a question.
#[derive(Debug, Clone)]
pub enum Response {
    /// A block whose content has the hash that it names, with its size in memory.
    Block(Arc<Block>, usize),
    /// The peer does not have it, or gave no answer.
    None,
    /// The peer sent something that is no valid payload.
    Wrong,
}

/// What an answer says of the peer that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// It had what was asked for.
    Useful,
    /// It had nothing.
    Nothing,
    /// It has another block of this number: it follows another fork, or makes one up.
    Other,
    /// It sent what no honest node sends.
    Wrong,
}

/// What came of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// The block is in the chain.
    Done,
    /// It breaks a rule of the chain.
    Invalid,
    /// It contradicts blocks that will not change any more.
    Settled,
    /// Not now: the chain has moved, or the executor is not there.
    Later,
}

/// A number on the way to the highest block.
#[derive(Debug)]
struct Slot {
    hash: B256,
    block: Option<(Arc<Block>, usize)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Peer {
    asked: usize,
    silences: u32,
    aside: Duration,
    /// Up to when its allowance is used.
    used: Duration,
}

impl Peer {
    /// Whether it can be asked.
    fn is_free(&self, now: Duration) -> bool {
        self.asked < ASKING_ONE && self.aside <= now && self.used.saturating_sub(now) < ASK_BURST
    }
}

/// The blocks above the head that lead to the highest signed one.
#[derive(Debug)]
pub struct Queue<P> {
    head: BlockNumHash,
    safe: u64,
    slots: BTreeMap<u64, Slot>,
    bytes: usize,
    /// By number: who was asked, and for which block.
    asking: BTreeMap<u64, (P, B256)>,
    peers: BTreeMap<P, Peer>,
    importing: Option<BlockNumHash>,
    stalled: Duration,
    /// Invalid blocks.
    bad: VecDeque<B256>,
    void: Void,
    turn: usize,
}

/// Blocks of a signed chain that contradicts a safe block, so that it is not walked down again for every block that is put on it. They
/// are void for as long as that safe block is in the chain: L1 may replace it.
#[derive(Debug)]
struct Void {
    hashes: VecDeque<B256>,
    because: Option<BlockNumHash>,
}

/// Adds a hash to those that are remembered; the oldest is forgotten.
fn remember(hashes: &mut VecDeque<B256>, hash: B256) {
    if hashes.len() >= MAX_BAD {
        hashes.pop_front();
    }
    hashes.push_back(hash);
}

impl<P: Copy + Ord> Queue<P> {
    /// An empty queue above this head. `safe` is the number of the newest block that follows from L1.
    pub const fn new(head: BlockNumHash, safe: u64) -> Self {
        Self {
            head,
            safe,
            slots: BTreeMap::new(),
            bytes: 0,
            asking: BTreeMap::new(),
            peers: BTreeMap::new(),
            importing: None,
            stalled: Duration::ZERO,
            bad: VecDeque::new(),
            void: Void { hashes: VecDeque::new(), because: None },
            turn: 0,
        }
    }

    /// Number of the highest block that is known of, the head if there is no other.
    pub fn highest(&self) -> u64 {
        self.slots.last_key_value().map_or(self.head.number, |(number, _)| *number).max(self.head.number)
    }

    /// How many numbers are on the way.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nothing is on the way.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of blocks that wait.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The chain has another head or safe block.
    pub fn head(&mut self, head: BlockNumHash, safe: u64) {
        if self.head != head {
            self.stalled = Duration::ZERO;
        }
        (self.head, self.safe) = (head, safe);
        if self.slots.last_key_value().is_some_and(|(number, _)| *number <= head.number) {
            self.clear();
        }
    }

    /// The peers that can be asked now.
    pub fn peers(&mut self, peers: impl IntoIterator<Item = P>) {
        let mut before = std::mem::take(&mut self.peers);
        let known = peers.into_iter().take(MAX_PEERS).map(|peer| (peer, before.remove(&peer).unwrap_or_default()));
        self.peers = known.collect();
        let here = &self.peers;
        self.asking.retain(|_, peer| here.contains_key(&peer.0));
    }

    /// A signed, valid block came by gossip; `size` is its size in memory. What is at or below the head is dropped.
    pub fn gossiped(&mut self, block: Arc<Block>, size: usize) {
        let (number, hash) = (block.number(), block.hash());
        let settled = self.head.number.max(self.safe);
        // A gap that is wider than what can be kept of it is closed from L1.
        let too_far = number.saturating_sub(settled) > MAX_LINKS as u64;
        if number <= settled || too_far || self.is_unwanted(&hash) {
            return;
        }
        match self.slots.get(&number) {
            // A sibling of a block that a newer one stands on.
            Some(slot) if slot.hash != hash && number < self.highest() => return,
            // A new block of the highest number takes its place: the signer changed its mind.
            Some(slot) if slot.hash != hash => self.remove(number),
            // One that stands on what is known and another than what is known below the next number.
            None if !self.fits_above(number, hash) => return,
            _ => {}
        }
        self.put(number, hash, block, size);
    }

    fn is_unwanted(&self, hash: &B256) -> bool {
        self.bad.contains(hash) || self.void.hashes.contains(hash)
    }

    /// Whether the next higher block, if it is known, is a child of this one.
    fn fits_above(&self, number: u64, hash: B256) -> bool {
        let above = number.checked_add(1).and_then(|above| self.slots.get(&above));
        above.and_then(|slot| slot.block.as_ref()).is_none_or(|(block, _)| block.header.parent_hash == hash)
    }

    /// Keeps a block and links its parent.
    fn put(&mut self, number: u64, hash: B256, block: Arc<Block>, size: usize) {
        let parent = block.header.parent_hash;
        if self.is_unwanted(&parent) {
            let same = if self.bad.contains(&parent) { &mut self.bad } else { &mut self.void.hashes };
            remember(same, hash);
            self.cut(number, hash);
            return;
        }
        self.bytes += size;
        if let Some(Slot { block: Some((_, before)), .. }) =
            self.slots.insert(number, Slot { hash, block: Some((block, size)) })
        {
            self.bytes -= before;
        }
        let below = number.saturating_sub(1);
        if below >= self.safe {
            self.link(below, parent);
        }
        self.bound();
    }

    /// The block of this number must have this hash: whatever was known otherwise is of another chain.
    fn link(&mut self, number: u64, hash: B256) {
        match self.slots.get(&number) {
            Some(slot) if slot.hash == hash => {}
            Some(_) => {
                let lower: Vec<u64> = self.slots.range(..=number).map(|(number, _)| *number).collect();
                lower.into_iter().for_each(|number| self.remove(number));
                self.slots.insert(number, Slot { hash, block: None });
            }
            None => {
                self.slots.insert(number, Slot { hash, block: None });
            }
        }
    }

    fn remove(&mut self, number: u64) {
        if let Some(Slot { block: Some((_, size)), .. }) = self.slots.remove(&number) {
            self.bytes -= size;
        }
    }

    /// Forgets all that is on the way.
    fn clear(&mut self) {
        self.slots.clear();
        self.bytes = 0;
    }

    /// Drops the highest blocks while there are too many bytes, but not the lowest two; and everything if the gap is too wide: then
    /// the chain comes nearer from L1.
    fn bound(&mut self) {
        if self.slots.len() > MAX_LINKS {
            self.clear();
        }
        let lowest: Vec<u64> = self.slots.keys().take(2).copied().collect();
        for (number, slot) in self.slots.iter_mut().rev() {
            if self.bytes <= MAX_BYTES || lowest.contains(number) {
                break;
            }
            if let Some((_, size)) = slot.block.take() {
                self.bytes -= size;
            }
        }
    }

    /// Neither this block nor what stands on it is wanted.
    fn cut(&mut self, number: u64, hash: B256) {
        // Another block of this number may have taken its place meanwhile.
        if self.slots.get(&number).is_some_and(|slot| slot.hash == hash) {
            let above: Vec<u64> = self.slots.range(number..).map(|(number, _)| *number).collect();
            above.into_iter().for_each(|number| self.remove(number));
        }
    }

    /// What came of a question.
    pub fn answered(&mut self, peer: P, number: u64, response: Response, now: Duration) -> Conduct {
        let asked = self.asking.get(&number).filter(|(asked, _)| *asked == peer).map(|(_, hash)| *hash);
        if asked.is_some() {
            self.asking.remove(&number);
        }
        let conduct = match &response {
            Response::Block(block, _) if block.number() != number => Conduct::Wrong,
            // Nobody remembers what it should have been.
            Response::Block(block, _) if asked.is_none_or(|hash| hash == block.hash()) => Conduct::Useful,
            Response::Block(..) => Conduct::Other,
            Response::None => Conduct::Nothing,
            Response::Wrong => Conduct::Wrong,
        };
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.asked = peer.asked.saturating_sub(1);
            if conduct == Conduct::Useful {
                peer.silences = 0;
            } else {
                peer.aside = now + ASIDE * (1 << peer.silences.min(MOST_ASIDE));
                peer.silences = peer.silences.saturating_add(1);
            }
        }
        if let Response::Block(block, size) = response
            && self.slots.get(&number).is_some_and(|slot| slot.hash == block.hash() && slot.block.is_none())
        {
            let hash = block.hash();
            self.put(number, hash, block, size);
        }
        conduct
    }

    /// What came of an import. `now` on the clock of [`next`](Self::next).
    pub fn imported(&mut self, block: BlockNumHash, outcome: Imported, now: Duration) {
        if self.importing == Some(block) {
            self.importing = None;
        }
        match outcome {
            Imported::Done => {}
            Imported::Later => self.stalled = now + STALL,
            // The way to it leads through blocks that cannot change.
            Imported::Settled => self.clear(),
            Imported::Invalid => {
                remember(&mut self.bad, block.hash);
                self.cut(block.number, block.hash);
            }
        }
    }

    /// What to do now. `own` gives the hash of the own chain at a number.
    pub fn next(&mut self, now: Duration, own: impl Fn(u64) -> Option<B256>) -> Vec<Effect<P>> {
        self.connect(&own);
        let mut effects = Vec::new();
        if let Some(block) = self.importable(now, &own) {
            self.importing = Some(BlockNumHash { number: block.number(), hash: block.hash() });
            effects.push(Effect::Import(block));
        }
        self.ask(now, &mut effects);
        effects
    }

    /// Forgets what the own chain has, and everything if it contradicts what is safe. The chain may be ahead of the head that this
    /// queue was told of: a block is in it before its import is reported.
    fn connect(&mut self, own: &impl Fn(u64) -> Option<B256>) {
        while let Some((number, slot)) = self.slots.first_key_value() {
            let number = *number;
            if own(number) != Some(slot.hash) {
                break;
            }
            self.remove(number);
        }
        self.link_again(own);
        if self.void.because.is_some_and(|safe| own(safe.number) != Some(safe.hash)) {
            self.void = Void { hashes: VecDeque::new(), because: None };
        }
        if let (Some((number, lowest)), Some((_, highest))) =
            (self.slots.first_key_value(), self.slots.last_key_value())
            && *number <= self.safe
        {
            if let Some(hash) = own(*number) {
                self.void.because = Some(BlockNumHash { number: *number, hash });
                for hash in [lowest.hash, highest.hash] {
                    remember(&mut self.void.hashes, hash);
                }
            }
            self.clear();
        }
    }

    /// The chain may have left what the lowest block stands on since that was found in it: then the way down is walked again.
    fn link_again(&mut self, own: &impl Fn(u64) -> Option<B256>) {
        let Some((number, Slot { block: Some((block, _)), .. })) = self.slots.first_key_value() else { return };
        let (below, parent) = (number.saturating_sub(1), block.header.parent_hash);
        if below >= self.safe && own(below) != Some(parent) {
            self.link(below, parent);
        }
    }

    /// The lowest block, if it stands on the own chain.
    fn importable(&self, now: Duration, own: &impl Fn(u64) -> Option<B256>) -> Option<Arc<Block>> {
        if self.importing.is_some() || self.stalled > now {
            return None;
        }
        let (number, slot) = self.slots.first_key_value()?;
        let (block, _) = slot.block.as_ref()?;
        let below = number.checked_sub(1)?;
        let parent = if below == self.head.number { Some(self.head.hash) } else { own(below) };
        (parent == Some(block.header.parent_hash)).then(|| block.clone())
    }

    fn ask(&mut self, now: Duration, effects: &mut Vec<Effect<P>>) {
        let slots = &self.slots;
        self.asking.retain(|number, _| slots.contains_key(number));
        // What lies below all that is held; else what is lowest of all.
        let held = slots.iter().find(|(_, slot)| slot.block.is_some()).map_or(u64::MAX, |(number, _)| *number);
        let lowest = slots.iter().find(|(_, slot)| slot.block.is_none()).map_or(0, |(number, _)| *number);
        let end = if self.bytes > ASK_LOWEST_ABOVE { held.max(lowest.saturating_add(1)) } else { u64::MAX };
        let missing: Vec<(u64, B256)> = slots
            .range(..end)
            .filter(|(number, slot)| slot.block.is_none() && !self.asking.contains_key(number))
            .map(|(number, slot)| (*number, slot.hash))
            .take(ASK_AHEAD)
            .collect();
        for (number, hash) in missing {
            if self.asking.len() >= ASKING {
                return;
            }
            let free: Vec<P> = self.peers.iter().filter(|(_, peer)| peer.is_free(now)).map(|(name, _)| *name).collect();
            self.turn = self.turn.wrapping_add(1);
            let Some(peer) = self.turn.checked_rem(free.len()).and_then(|at| free.get(at)).copied() else { return };
            if let Some(known) = self.peers.get_mut(&peer) {
                known.asked += 1;
                known.used = known.used.max(now) + ASK_COST;
            }
            self.asking.insert(number, (peer, hash));
            effects.push(Effect::Ask { peer, number });
        }
    }
}

#[cfg(test)]
mod tests;
