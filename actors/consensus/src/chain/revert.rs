//! Blocks that are taken back, and what becomes of their transactions.

use std::sync::Arc;

use duskevm_dusk_l1::finality::Finality;
use duskevm_dusk_l1::header::unattested;
use duskevm_dusk_l1::state::{StateDiff, account};
use duskevm_dusk_l1::tx::{TxId, VerifiedTx};
use duskevm_store::l1::L1Store;
use duskevm_supervision::Fence;

use super::disk::{committees, read_undo};
use super::{Chain, damaged};
use crate::error::ConsensusError;
use crate::metrics;

/// A block that is not in the chain any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reverted {
    pub(crate) height: u64,
    pub(crate) hash: [u8; 32],
}

/// A block that was taken back and whose body is still on disk, because its transactions may be of use.
#[derive(Debug)]
pub(super) struct Orphan {
    height: u64,
    hash: [u8; 32],
    /// Those that went back into the pool; `None` until its body was read and they were checked.
    waiting: Option<Vec<TxId>>,
}

/// Bodies of blocks that were taken back, by hash, oldest first, so that nonces follow each other.
pub(crate) type Bodies = Vec<([u8; 32], Vec<u8>)>;

/// Those whose transactions did not go back into the pool of this instance yet.
pub(super) fn orphans(store: &L1Store) -> Result<Vec<Orphan>, ConsensusError> {
    let blocks = store.reverted()?.into_iter();
    Ok(blocks.map(|block| Orphan { height: block.height, hash: block.hash, waiting: None }).collect())
}

/// Reads bodies, on any thread. In ascending order of heights; of one height, in the order in which they were taken back.
pub(crate) fn read_bodies(store: &L1Store, hashes: Vec<[u8; 32]>) -> Result<Bodies, ConsensusError> {
    let mut bodies = Vec::new();
    for hash in hashes {
        // It may have been dropped meanwhile: only so many are kept.
        if let Some(body) = store.reverted_body(&hash)? {
            bodies.push((hash, body));
        }
    }
    Ok(bodies)
}

impl Chain {
    /// Takes blocks back until the one with `hash` is the tip, and notes each in `reverted`, from the top down. False if `hash` is
    /// not the hash of a block that can become the tip again.
    ///
    /// # Errors
    /// If the database fails. On a full disk the chain is as far back as `reverted` says, and this can be asked for again; after any
    /// other error only opening again shows how far it went.
    pub(crate) fn revert_to(
        &mut self,
        fence: &Fence,
        hash: &[u8; 32],
        reverted: &mut Vec<Reverted>,
    ) -> Result<bool, ConsensusError> {
        let last_final = self.finality.last_final();
        let Some(target) = self.entries.iter().rposition(|entry| entry.header.hash == *hash) else { return Ok(false) };
        if self.entries[target].header.height < last_final {
            return Ok(false);
        }
        let outcome = self.revert_down_to(fence, target, reverted);
        self.settle_tip()?;
        outcome.map(|()| true)
    }

    fn revert_down_to(
        &mut self,
        fence: &Fence,
        target: usize,
        reverted: &mut Vec<Reverted>,
    ) -> Result<(), ConsensusError> {
        let last_final = self.finality.last_final();
        while self.entries.len() > target + 1 {
            let (height, hash) = (self.header().height, self.header().hash);
            let undo = self.undo(height)?;
            let above_final =
                self.entries.iter().filter(|entry| entry.header.height > last_final && entry.header.height < height);
            let finality =
                Finality::replay(last_final, above_final.map(|entry| unattested(&entry.header).unwrap_or(u8::MAX)));
            // As it came, with its blobs; else as it is stored, without: then its blob transactions are lost.
            let body = match self.bodies.get(&height) {
                Some(bytes) => bytes.to_vec(),
                None => self.read(height)?.map(|block| block.encoded.to_vec()).unwrap_or_default(),
            };
            self.store.revert_block(fence, height, &hash, &finality.encode(), Some(&body))?;
            self.entries.pop_back();
            Arc::make_mut(&mut self.state).apply(&undo)?;
            self.finality = finality;
            self.recent.pop_back();
            self.bodies.remove(&height);
            self.orphans.retain(|orphan| orphan.hash != hash);
            self.orphans.push(Orphan { height, hash, waiting: None });
            tracing::warn!(height, hash = %alloy_primitives::B256::from(hash), "L1 block taken back");
            metrics::reverted();
            reverted.push(Reverted { height, hash });
        }
        Ok(())
    }

    /// Reads again what belongs to the tip.
    fn settle_tip(&mut self) -> Result<(), ConsensusError> {
        let tip = self.header().height;
        let block = self.read(tip)?.ok_or_else(|| damaged(format!("block {tip} is missing")))?;
        self.faults = block.block().map_err(|error| damaged(error.to_string()))?.faults().clone();
        if self.recent.is_empty() {
            self.recent.push_back(block);
        }
        (self.committees, self.previous) = committees(&self.entries, &self.rules)?;
        self.told = self.standing();
        Ok(())
    }

    fn undo(&self, height: u64) -> Result<StateDiff, ConsensusError> {
        read_undo(&self.store, height)?
            .ok_or_else(|| damaged(format!("what takes block {height} back is missing, though it is not final")))
    }

    /// Blocks that were taken back, by this instance or an earlier one, and whose transactions have to go back into the pool:
    /// lowest first.
    pub(crate) fn to_revive(&self) -> Vec<[u8; 32]> {
        let mut orphans: Vec<&Orphan> = self.orphans.iter().filter(|orphan| orphan.waiting.is_none()).collect();
        orphans.sort_by_key(|orphan| orphan.height);
        orphans.into_iter().map(|orphan| orphan.hash).collect()
    }

    /// Puts transactions of blocks that were taken back into the pool again: of each block, by its hash, those that are sound.
    pub(crate) fn revive(&mut self, blocks: Vec<([u8; 32], Vec<VerifiedTx>)>) {
        let now = self.now().as_secs();
        for (hash, txs) in blocks {
            let ids: Vec<TxId> = txs.iter().map(|tx| *tx.id()).collect();
            let state = self.state.clone();
            let refused = self.mempool.revive(txs, |id| account(&*state, id).unwrap_or_default(), now);
            for (id, reason) in refused {
                tracing::debug!(id = %alloy_primitives::B256::from(id), %reason, "L1 transaction of a block that was taken back");
            }
            if let Some(orphan) = self.orphans.iter_mut().find(|orphan| orphan.hash == hash) {
                orphan.waiting = Some(ids);
            }
        }
    }

    /// Lets go of bodies none of whose transactions waits any more, once their height is final: until then the block that has them
    /// now may be taken back as well, but that one has a body, too.
    pub(super) fn forget_orphans(&mut self, fence: &Fence) -> Result<(), ConsensusError> {
        let last_final = self.finality.last_final();
        let (mempool, mut over) = (&self.mempool, Vec::new());
        self.orphans.retain(|orphan| {
            let waits = orphan.waiting.as_ref().is_none_or(|ids| ids.iter().any(|id| mempool.contains(id)));
            let kept = waits || orphan.height > last_final;
            if !kept {
                over.push(orphan.hash);
            }
            kept
        });
        if over.is_empty() {
            return Ok(());
        }
        match self.store.forget_reverted(fence, &over).map_err(ConsensusError::from) {
            // They stay until the next start finds that they are of no use.
            Err(error) if error.is_full() => Ok(()),
            done => done,
        }
    }
}
