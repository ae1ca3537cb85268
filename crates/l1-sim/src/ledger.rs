//! The chain of one simulated node: headers that obey the rules, without transactions.

use std::sync::Arc;

use dusk_node_data::bls::PublicKeyBytes;
use dusk_node_data::ledger::{Attestation, Block, Header, IterationInfo, IterationsInfo, Signature};
use dusk_node_data::message::ConsensusHeader;
use duskevm_dusk_l1::finality::Finality;
use duskevm_dusk_l1::sa::attestation::{Expect, verify_attestation};
use duskevm_dusk_l1::sa::bls::Bls;
use duskevm_dusk_l1::sa::committee::Committees;
use duskevm_dusk_l1::sa::fork::unattested;
use duskevm_dusk_l1::sa::machine::{ApplyFailure, Recent, TipInfo, Verdict};
use duskevm_dusk_l1::sa::provisioners::Provisioners;
use duskevm_dusk_l1::sa::rules::{RELAXED, Rules};
use duskevm_dusk_l1::sa::wire;
use duskevm_dusk_l1::sha3::sha3_256;

/// Unix seconds of the genesis block.
pub const GENESIS_TIME: u64 = 1_000_000;

/// A block that was accepted, with everything that belongs to it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The header, attestation included.
    pub header: Header,
    /// The block as it is sent to others, attestation included.
    pub bytes: Arc<[u8]>,
    /// How ripe the newest blocks were after it.
    pub labels: Finality,
}

/// A chain from the genesis block on. What is in it counts as written to disk.
#[derive(Debug, Clone)]
pub struct Ledger {
    provisioners: Arc<Provisioners>,
    rules: Rules,
    entries: Vec<Entry>,
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
    /// Only the genesis block.
    pub fn new(rules: Rules, provisioners: Arc<Provisioners>) -> Self {
        let header = Header { timestamp: GENESIS_TIME, gas_limit: rules.block_gas_limit, ..Header::default() };
        let entries = block(header).map(|block| Entry {
            header: block.header().clone(),
            bytes: encode(&block),
            labels: Finality::genesis(),
        });
        Self { provisioners, rules, entries: entries.into_iter().collect() }
    }

    /// The accepted blocks, from genesis on.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The newest block. There always is one: genesis cannot be undone.
    pub fn tip(&self) -> &Entry {
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
            provisioners: self.provisioners.clone(),
            labels: tip.labels.clone(),
            recent: recent
                .iter()
                .map(|entry| Recent { header: entry.header.clone(), provisioners: self.provisioners.clone() })
                .collect(),
        })
    }

    fn committees(&self, parent: &Header) -> Committees {
        let seed = *parent.seed.inner();
        Committees::new(seed, parent.height + 1, self.provisioners.clone(), self.rules.quorums())
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
        let parent = &self.tip().header;
        let committees = self.committees(parent);
        let Some(generator) = committees.generator(header.iteration) else { return false };
        let right = header.timestamp >= parent.timestamp + self.rules.block_time
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
        let committees = self.committees(&grandparent.header);
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

    /// Accepts an encoded block with its attestation.
    pub fn apply<B: Bls>(&mut self, bls: &B, bytes: &[u8], attestation: Attestation) -> Result<(), ApplyFailure> {
        let mut block = wire::decode_block(bytes).map_err(|_| ApplyFailure::Invalid)?;
        block.set_attestation(attestation);
        let header = block.header();
        let parent = &self.tip().header;
        if header.prev_block_hash != parent.hash || header.height != parent.height + 1 {
            return Err(ApplyFailure::Outdated);
        }
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
        let mut labels = self.tip().labels.clone();
        labels.accept(unattested(header).ok_or(ApplyFailure::Invalid)?);
        self.entries.push(Entry { header: header.clone(), bytes: encode(&block), labels });
        Ok(())
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
