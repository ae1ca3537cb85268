//! What is kept: the claims in memory, and everything on disk.

use std::collections::HashMap;
use std::sync::Arc;

use duskevm_blobs::retention::{Claim, Claims, Op};
use duskevm_blobs::{Hash, Sidecar, Verified};
use duskevm_messages::da_store::BlobStatus;
use duskevm_store::blobs::{BlobCommit, BlobStore, BlobStoreError, StoredClaim};
use duskevm_supervision::Fence;

use crate::error::DaStoreError;
use crate::metrics;

/// The claims, and the database that they are written to. Each change is on disk when its function returns.
#[derive(Debug)]
pub(crate) struct Keeper {
    store: BlobStore,
    claims: Claims,
    /// Blocks below the final one that are served; `None` for all.
    keep: Option<u64>,
}

impl Keeper {
    /// Reads the claims back.
    pub(crate) fn open(store: BlobStore, keep: Option<u64>) -> Result<Self, DaStoreError> {
        store.heal()?;
        let claims = read_claims(&store)?;
        let me = Self { store, claims, keep };
        me.measure();
        Ok(me)
    }

    pub(crate) const fn claims(&self) -> &Claims {
        &self.claims
    }

    pub(crate) const fn store(&self) -> &BlobStore {
        &self.store
    }

    pub(crate) fn status(&self) -> BlobStatus {
        BlobStatus {
            stored: self.claims.stored() as u64,
            missing: self.claims.missing().len() as u64,
            blocks: self.claims.blocks() as u64,
            oldest: self.claims.oldest(),
        }
    }

    /// A block claims its blobs, unless it has expired.
    pub(crate) fn keep_block(
        &mut self,
        (height, block): (u64, &Hash),
        blobs: &[Hash],
        sidecars: &[Arc<Verified>],
        final_height: u64,
        fence: &Fence,
    ) -> Result<(), DaStoreError> {
        if self.keep.is_some_and(|keep| height.saturating_add(keep) <= final_height) {
            return Ok(());
        }
        let at_hand = by_hash(sidecars);
        let ops = self.claims.keep(height, block, blobs, |hash| at_hand.contains_key(hash));
        self.write(ops, &at_hand, fence)
    }

    /// A block was reverted.
    pub(crate) fn drop_block(&mut self, height: u64, block: &Hash, fence: &Fence) -> Result<(), DaStoreError> {
        let ops = self.claims.drop_block(height, block);
        self.write(ops, &HashMap::new(), fence)
    }

    /// One turn of pruning; false when there was nothing to do.
    pub(crate) fn prune(&mut self, final_height: u64, limit: usize, fence: &Fence) -> Result<bool, DaStoreError> {
        let ops = self.claims.expire(final_height, self.keep, limit);
        if ops.is_empty() {
            return Ok(false);
        }
        let deleted = ops.iter().filter(|op| matches!(op, Op::DeleteBlob(_))).count();
        self.write(ops, &HashMap::new(), fence)?;
        metrics::pruned(deleted);
        Ok(true)
    }

    /// Keeps those of the blobs that were missing.
    pub(crate) fn found(&mut self, sidecars: &[Arc<Verified>], fence: &Fence) -> Result<(), DaStoreError> {
        let at_hand = by_hash(sidecars);
        let ops = at_hand.keys().flat_map(|hash| self.claims.found(hash)).collect();
        self.write(ops, &at_hand, fence)
    }

    /// The record of a blob was damaged: it is missing from now on.
    pub(crate) fn lost(&mut self, hash: &Hash, fence: &Fence) -> Result<(), DaStoreError> {
        let ops = self.claims.lost(hash);
        self.write(ops, &HashMap::new(), fence)
    }

    fn write(
        &mut self,
        ops: Vec<Op>,
        at_hand: &HashMap<Hash, &Arc<Verified>>,
        fence: &Fence,
    ) -> Result<(), DaStoreError> {
        let mut commit = BlobCommit::default();
        for op in ops {
            match op {
                // Only what is at hand is ever to be written.
                Op::WriteBlob(hash) => {
                    commit.blobs.extend(at_hand.get(&hash).map(|verified| (hash, verified.sidecar().encode())));
                }
                Op::DeleteBlob(hash) => commit.deleted_blobs.push(hash),
                Op::WriteClaim(Claim { height, block, blobs }) => {
                    commit.claims.push(StoredClaim { height, block, blobs })
                }
                Op::DeleteClaim { height, block } => commit.deleted_claims.push((height, block)),
                Op::NoteMissing(hash) => commit.missing.push(hash),
                Op::ForgetMissing(hash) => commit.found.push(hash),
            }
        }
        let written = self.store.commit(fence, commit).map_err(DaStoreError::from);
        if let Err(DaStoreError::Full(_)) = written {
            // Nothing of it was made, and this instance goes on.
            self.claims = read_claims(&self.store)?;
        }
        self.measure();
        written
    }

    fn measure(&self) {
        metrics::kept(self.claims.stored(), self.claims.missing().len());
    }
}

fn by_hash(sidecars: &[Arc<Verified>]) -> HashMap<Hash, &Arc<Verified>> {
    sidecars.iter().map(|verified| (*verified.hash(), verified)).collect()
}

fn read_claims(store: &BlobStore) -> Result<Claims, DaStoreError> {
    let claim = |StoredClaim { height, block, blobs }| Claim { height, block, blobs };
    Ok(Claims::restore(store.claims()?.into_iter().map(claim).collect(), store.missing()?)?)
}

/// A blob from the disk.
pub(crate) fn read_blob(store: &BlobStore, hash: &Hash) -> Result<Option<Arc<Verified>>, BlobStoreError> {
    let Some(bytes) = store.blob(hash)? else { return Ok(None) };
    match Sidecar::decode(&bytes) {
        // It was verified before it was written, and its checksum holds.
        Ok(sidecar) if sidecar.hash() == *hash => Ok(Some(Arc::new(Verified::restored(sidecar)))),
        _ => Err(BlobStoreError::DamagedBlob { hash: *hash }),
    }
}
