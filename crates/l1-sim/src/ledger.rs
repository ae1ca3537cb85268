//! The chain of one simulated node: headers that obey the rules, without transactions.
//!
//! Nodes share what they know of blocks: a header, or a block with its attestation, is checked once for all of them,
//! because the outcome follows from the block and its ancestors alone.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use dusk_node_data::bls::PublicKeyBytes;
use dusk_node_data::ledger::{Attestation, Block, Header, IterationInfo, IterationsInfo, Signature};
use dusk_node_data::message::ConsensusHeader;
use dusk_node_data::message::payload::Vote;
use duskevm_dusk_l1::finality::Finality;
use duskevm_dusk_l1::sa::attestation::unattested;
use duskevm_dusk_l1::sa::attestation::{Expect, verify_attestation};
use duskevm_dusk_l1::sa::bls::Bls;
use duskevm_dusk_l1::sa::committee::Committees;
use duskevm_dusk_l1::sa::machine::{ApplyFailure, Recent, TipInfo, Verdict};
use duskevm_dusk_l1::sa::provisioners::Provisioners;
use duskevm_dusk_l1::sa::rules::{MINIMUM_STAKE, RELAXED, Rules};
use duskevm_dusk_l1::sa::wire;
use duskevm_dusk_l1::sha3::sha3_256;

/// Unix seconds of the genesis block.
pub const GENESIS_TIME: u64 = 1_000_000;

/// Blocks from a stake to the first round in which it counts, and rounds for which a penalty suspends.
const MATURITY: u64 = 8;

/// Heights below the newest whose blocks are still shared.
const SHARED: u64 = 256;

/// A block that was accepted, with everything that belongs to it.
#[derive(Debug)]
pub struct Entry {
    /// The header, attestation included.
    pub header: Header,
    /// The block as it is sent to others, attestation included.
    pub bytes: Arc<[u8]>,
    /// How ripe the newest blocks were after it.
    pub labels: Finality,
    /// Provisioners after it.
    pub provisioners: Arc<Provisioners>,
}

/// What all nodes know of blocks.
#[derive(Debug, Default)]
struct Archive {
    /// Whether a header with this hash and signature obeys the rules but for its attestation.
    headers: HashMap<([u8; 32], [u8; 48]), (u64, bool)>,
    /// Accepted blocks, by hash; each with every attestation under which somebody accepted it.
    blocks: HashMap<[u8; 32], Vec<Rc<Entry>>>,
    newest: u64,
}

impl Archive {
    fn forget(&mut self, height: u64) {
        if height >= self.newest + SHARED {
            self.newest = height;
            let low = height - SHARED;
            self.headers.retain(|_, (at, _)| *at >= low);
            self.blocks.retain(|_, entries| entries.iter().any(|entry| entry.header.height >= low));
        }
    }
}

/// A chain from the genesis block on. What is in it counts as written to disk. Clones share what is known of blocks.
#[derive(Debug, Clone)]
pub struct Ledger {
    rules: Rules,
    /// Blocks change the stakes.
    changing: bool,
    archive: Rc<RefCell<Archive>>,
    entries: Vec<Rc<Entry>>,
}

fn encode(block: &Block) -> Arc<[u8]> {
    let mut bytes = Vec::new();
    // Writing to memory does not fail.
    let _: std::io::Result<()> = dusk_node_data::Serializable::write(block, &mut bytes);
    bytes.into()
}

/// A block of `header` alone, its hash computed unless it is set.
fn block(header: Header) -> Option<Block> {
    Block::new(header, Vec::new(), Vec::new()).ok()
}

impl Ledger {
    /// Only the genesis block. With `changing`, blocks stake, unstake and punish as their hashes will have it.
    pub fn new(rules: Rules, provisioners: Arc<Provisioners>, changing: bool) -> Self {
        let header = Header { timestamp: GENESIS_TIME, gas_limit: rules.block_gas_limit, ..Header::default() };
        let entries = block(header).map(|block| {
            Rc::new(Entry {
                header: block.header().clone(),
                bytes: encode(&block),
                labels: Finality::genesis(),
                provisioners,
            })
        });
        Self { rules, changing, archive: Rc::default(), entries: entries.into_iter().collect() }
    }

    /// The accepted blocks, from genesis on.
    pub fn entries(&self) -> &[Rc<Entry>] {
        &self.entries
    }

    /// The newest block. There always is one: genesis cannot be undone.
    pub fn tip(&self) -> &Rc<Entry> {
        &self.entries[self.entries.len() - 1]
    }

    /// Height of the newest block.
    pub fn height(&self) -> u64 {
        self.tip().header.height
    }

    /// Height of the newest final block.
    pub fn last_final(&self) -> u64 {
        self.tip().labels.last_final()
    }

    /// What the machine needs of the newest block.
    pub fn tip_info(&self) -> Arc<TipInfo> {
        let tip = self.tip();
        let from = tip.labels.last_final() as usize;
        let recent = &self.entries[from.min(self.entries.len() - 1)..self.entries.len() - 1];
        Arc::new(TipInfo {
            header: tip.header.clone(),
            faults: Vec::new(),
            provisioners: tip.provisioners.clone(),
            labels: tip.labels.clone(),
            recent: recent
                .iter()
                .map(|entry| Recent { header: entry.header.clone(), provisioners: entry.provisioners.clone() })
                .collect(),
        })
    }

    /// The committees of the round after `parent`.
    fn committees(&self, parent: &Entry) -> Arc<Committees> {
        let seed = *parent.header.seed.inner();
        Committees::shared(seed, parent.header.height + 1, &parent.provisioners, self.rules.quorums())
    }

    /// The block after the tip. `now` in Unix seconds.
    pub fn build<B: Bls>(
        &self,
        bls: &B,
        secret: &B::Secret,
        iteration: u8,
        cert: Attestation,
        failed: Vec<Option<IterationInfo>>,
        now: u64,
    ) -> Option<Block> {
        let parent = &self.tip().header;
        block(Header {
            version: dusk_node_data::message::BLOCK_HEADER_VERSION,
            height: parent.height + 1,
            timestamp: now.max(parent.timestamp + self.rules.block_time),
            prev_block_hash: parent.hash,
            seed: Signature::from(bls.sign(secret, parent.seed.inner())),
            state_hash: sha3_256(&[&parent.state_hash, b"next"]),
            generator_bls_pubkey: PublicKeyBytes(*bls.id(secret).as_bytes()),
            gas_limit: self.rules.block_gas_limit,
            iteration,
            prev_block_cert: cert,
            failed_iterations: IterationsInfo::new(failed),
            ..Header::default()
        })
    }

    /// What a provisioner thinks of a candidate above the tip.
    pub fn check<B: Bls>(&self, bls: &B, header: &Header, now: u64) -> Verdict {
        let parent = &self.tip().header;
        if header.prev_block_hash != parent.hash || header.height != parent.height + 1 || header.timestamp > now + 3 {
            return Verdict::Abstain;
        }
        if self.is_valid(bls, header) { Verdict::Valid } else { Verdict::Invalid }
    }

    /// Everything about a header above the tip but its attestation.
    fn is_valid<B: Bls>(&self, bls: &B, header: &Header) -> bool {
        let key = (header.hash, *header.signature.inner());
        if let Some((_, valid)) = self.archive.borrow().headers.get(&key) {
            return *valid;
        }
        let valid = self.obeys_rules(bls, header);
        self.archive.borrow_mut().headers.insert(key, (header.height, valid));
        valid
    }

    fn obeys_rules<B: Bls>(&self, bls: &B, header: &Header) -> bool {
        let parent = &self.tip().header;
        let committees = self.committees(self.tip());
        let Some(generator) = committees.generator(header.iteration) else { return false };
        let hashed = block(Header { hash: [0; 32], att: Attestation::default(), ..header.clone() });
        let right = hashed.is_some_and(|block| block.header().hash == header.hash)
            && header.timestamp >= parent.timestamp + self.rules.block_time
            && header.generator_bls_pubkey.inner() == generator.as_bytes()
            && header.state_hash == sha3_256(&[&parent.state_hash, b"next"])
            && header.gas_limit == self.rules.block_gas_limit
            && bls.verify_ids([&generator], parent.seed.inner(), header.seed.inner()).is_ok()
            && bls.verify_ids([&generator], &header.hash, header.signature.inner()).is_ok();
        right && self.cert_is_valid(bls, header) && self.failures_are_valid(bls, header, &committees)
    }

    fn cert_is_valid<B: Bls>(&self, bls: &B, header: &Header) -> bool {
        let parent = &self.tip().header;
        let Some(grandparent) = parent.height.checked_sub(1).and_then(|at| self.entries.get(at as usize)) else {
            return header.prev_block_cert == Attestation::default();
        };
        let committees = self.committees(grandparent);
        let expect = Expect::Success(&parent.hash);
        verify_attestation(bls, &header.prev_block_cert, &parent.to_consensus_header(), &committees, expect).is_ok()
    }

    fn failures_are_valid<B: Bls>(&self, bls: &B, header: &Header, committees: &Committees) -> bool {
        let failed = &header.failed_iterations.att_list;
        failed.len() == usize::from(header.iteration.min(RELAXED))
            && failed.iter().enumerate().all(|(iteration, failure)| {
                let Some((attestation, generator)) = failure else { return true };
                let iteration = iteration as u8;
                let at = ConsensusHeader { prev_block_hash: header.prev_block_hash, round: header.height, iteration };
                committees.generator(iteration).is_some_and(|id| id.as_bytes() == generator.inner())
                    && verify_attestation(bls, attestation, &at, committees, Expect::Fail).is_ok()
            })
    }

    /// Accepts an encoded block with its attestation. True if the block changed the stakes.
    pub fn apply<B: Bls>(&mut self, bls: &B, bytes: &[u8], attestation: Attestation) -> Result<bool, ApplyFailure> {
        let header = wire::decode_header(bytes).map_err(|_| ApplyFailure::Invalid)?;
        let parent = self.tip().clone();
        if header.prev_block_hash != parent.header.hash || header.height != parent.header.height + 1 {
            return Err(ApplyFailure::Outdated);
        }
        let known = |entry: &&Rc<Entry>| {
            entry.header.att == attestation && entry.header.signature.inner() == header.signature.inner()
        };
        let entry = self.archive.borrow().blocks.get(&header.hash).and_then(|all| all.iter().find(known).cloned());
        let entry = match entry {
            Some(entry) => entry,
            None => Rc::new(self.accept(bls, bytes, attestation)?),
        };
        let changed = !Arc::ptr_eq(&entry.provisioners, &parent.provisioners);
        let mut archive = self.archive.borrow_mut();
        archive.forget(header.height);
        let all = archive.blocks.entry(header.hash).or_default();
        if !all.iter().any(|known| Rc::ptr_eq(known, &entry)) {
            all.push(entry.clone());
        }
        drop(archive);
        self.entries.push(entry);
        Ok(changed)
    }

    fn accept<B: Bls>(&self, bls: &B, bytes: &[u8], attestation: Attestation) -> Result<Entry, ApplyFailure> {
        let mut block = wire::decode_block(bytes).map_err(|_| ApplyFailure::Invalid)?;
        block.set_attestation(attestation);
        let (header, parent) = (block.header(), self.tip());
        let attested = verify_attestation(
            bls,
            &attestation,
            &header.to_consensus_header(),
            &self.committees(parent),
            Expect::Success(&header.hash),
        );
        if attested.is_err() || !self.is_valid(bls, header) {
            return Err(ApplyFailure::Invalid);
        }
        let mut labels = parent.labels.clone();
        labels.accept(unattested(header).ok_or(ApplyFailure::Invalid)?);
        // Under another attestation the block is the same, and so is what it does.
        let known = self.archive.borrow().blocks.get(&header.hash).and_then(|all| all.first().cloned());
        let provisioners = match known {
            Some(known) => known.provisioners.clone(),
            None => self.stakes_after(parent, header),
        };
        Ok(Entry { header: header.clone(), bytes: encode(&block), labels, provisioners })
    }

    /// What a block does to the stakes: its hash decides, in place of transactions. A quarter of the blocks raise, withdraw
    /// or renew a stake; the generator of an iteration that failed with an invalid candidate is suspended. Three quarters
    /// of the provisioners stay able to vote.
    fn stakes_after(&self, parent: &Entry, header: &Header) -> Arc<Provisioners> {
        let set = &parent.provisioners;
        if !self.changing {
            return set.clone();
        }
        let next = header.height + 1;
        let mut stakes: Vec<_> = set.iter().copied().collect();
        let spare = set.eligible(next + MATURITY).count() > set.len() * 3 / 4;
        let culprit = header.failed_iterations.att_list.iter().flatten().find_map(|(attestation, generator)| {
            matches!(attestation.result.vote(), Vote::Invalid(_)).then_some(generator.inner())
        });
        let [dice, place, action, ..] = header.hash;
        let place = usize::from(place) % stakes.len().max(1);
        let Some(chosen) = stakes.get_mut(place) else { return set.clone() };
        match (action % 3, chosen.value >= MINIMUM_STAKE) {
            _ if dice >= 64 => {}
            (0, true) if spare => chosen.value = MINIMUM_STAKE - 1,
            (_, true) => chosen.value = (chosen.value + chosen.value / 10).min(2 * MINIMUM_STAKE),
            (_, false) => {
                chosen.value = MINIMUM_STAKE + MINIMUM_STAKE / 5;
                chosen.eligibility = next + MATURITY;
            }
        }
        if let Some(punished) = stakes.iter_mut().find(|p| spare && Some(p.id.as_bytes()) == culprit) {
            punished.eligibility = next + MATURITY;
        }
        if stakes.iter().zip(set.iter()).all(|(after, before)| after == before) {
            return set.clone();
        }
        Arc::new(Provisioners::from_entries(stakes.into_iter().map(|p| (p.id, p.value, p.eligibility))))
    }

    /// Forgets everything but genesis.
    pub fn clear(&mut self) {
        self.entries.truncate(1);
    }

    /// Undoes blocks until the one with `hash` is the tip. Never goes below the last final block.
    pub fn revert_to(&mut self, hash: &[u8; 32]) -> Result<(), ApplyFailure> {
        let at = self.entries.iter().rposition(|entry| entry.header.hash == *hash).ok_or(ApplyFailure::Outdated)?;
        if (at as u64) < self.last_final() {
            return Err(ApplyFailure::Outdated);
        }
        self.entries.truncate(at + 1);
        Ok(())
    }
}
