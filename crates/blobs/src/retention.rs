//! Which blobs are kept, and why.
//!
//! A block that is about to be accepted *claims* the blobs of its transactions. A blob is on disk as long as at least one
//! claim names it, whichever block that is: the published node deletes a blob with the first block that expires, even if a
//! later one needs it (`delete_blobs_by_height` of dusk-node says so itself).
//!
//! Rules:
//!
//! - **keep**: a claim names all blobs of a block in order, also those that are not at hand (a block that came by
//!   synchronization). Those are *missing* until they are found.
//! - **drop**: a block that was reverted loses its claim.
//! - **expire**: the claim of a block at height `h` ends when `h + keep` is final: a node serves the last `keep` final blocks
//!   (86 400 in the published node, `blob_expire_after`; `None` here, 0 there, keeps everything). Blocks above the last final
//!   one never expire.
//!
//! A claim of a block that was never accepted, because the node died between claiming and accepting, does no harm: it goes
//! when its height expires.
//!
//! All functions change the memory and say what is to be done on disk; all of one answer belongs in one atomic commit.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::Hash;

/// One block and its blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Height of the block.
    pub height: u64,
    /// Its Dusk hash.
    pub block: Hash,
    /// Versioned hashes of its blobs in the order of the block; a hash may occur twice.
    pub blobs: Vec<Hash>,
}

/// One change on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Write this blob, which is at hand.
    WriteBlob(Hash),
    /// Delete this blob.
    DeleteBlob(Hash),
    /// Write this claim, over an older one of the same block.
    WriteClaim(Claim),
    /// Delete the claim of this block.
    DeleteClaim {
        /// Height of the block.
        height: u64,
        /// Its hash.
        block: Hash,
    },
    /// Note that this blob is claimed but not there.
    NoteMissing(Hash),
    /// Delete such a note.
    ForgetMissing(Hash),
}

/// Why stored claims cannot be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Two claims of one block.
    #[error("the block at height {0} has two claims")]
    Twice(u64),
    /// A blob is noted as missing that nobody claims.
    #[error("a blob is noted as missing that no block has")]
    Unclaimed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holder {
    claims: u32,
    missing: bool,
}

/// All claims, in memory. Made again from the stored ones at start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    claims: BTreeMap<(u64, Hash), Vec<Hash>>,
    /// For every claimed blob.
    holders: HashMap<Hash, Holder>,
    missing: BTreeSet<Hash>,
}

impl Claims {
    /// From what is stored.
    ///
    /// # Errors
    /// If the parts contradict each other: the store is damaged.
    pub fn restore(claims: Vec<Claim>, missing: Vec<Hash>) -> Result<Self, RestoreError> {
        let mut me = Self::default();
        for claim in claims {
            me.hold(&claim.blobs);
            if me.claims.insert((claim.height, claim.block), claim.blobs).is_some() {
                return Err(RestoreError::Twice(claim.height));
            }
        }
        for hash in missing {
            me.holders.get_mut(&hash).ok_or(RestoreError::Unclaimed)?.missing = true;
            me.missing.insert(hash);
        }
        Ok(me)
    }

    /// Blobs that are on disk.
    pub fn stored(&self) -> usize {
        self.holders.len() - self.missing.len()
    }

    /// Blocks that have blobs.
    pub fn blocks(&self) -> usize {
        self.claims.len()
    }

    /// Height of the oldest block with blobs.
    pub fn oldest(&self) -> Option<u64> {
        self.claims.keys().next().map(|(height, _)| *height)
    }

    /// Whether the blob is on disk.
    pub fn has(&self, hash: &Hash) -> bool {
        self.holders.get(hash).is_some_and(|holder| !holder.missing)
    }

    /// Whether a block has the blob, on disk or not.
    pub fn claimed(&self, hash: &Hash) -> bool {
        self.holders.contains_key(hash)
    }

    /// Blobs that blocks have and the disk has not, in ascending order.
    pub fn missing(&self) -> impl ExactSizeIterator<Item = &Hash> {
        self.missing.iter()
    }

    /// The blobs of a block; `None` if it has no claim.
    pub fn of_block(&self, height: u64, block: &Hash) -> Option<&[Hash]> {
        self.claims.get(&(height, *block)).map(Vec::as_slice)
    }

    /// Height of the newest block that has the blob. Looks through all claims: for what is seldom asked.
    pub fn newest_block_with(&self, hash: &Hash) -> Option<u64> {
        self.claims.iter().rev().find(|(_, blobs)| blobs.contains(hash)).map(|((height, _), _)| *height)
    }

    /// A block claims its blobs; `at_hand` says which of them can be written now. Claiming again changes nothing but brings in
    /// what was missing; with another list (the same block hash covers a blob transaction and its stripped form alike) the
    /// later one counts. A block without blobs needs no claim.
    pub fn keep(&mut self, height: u64, block: &Hash, blobs: &[Hash], at_hand: impl Fn(&Hash) -> bool) -> Vec<Op> {
        let mut ops = Vec::new();
        let before = match self.claims.entry((height, *block)) {
            Entry::Occupied(held) if held.get() == blobs => None,
            Entry::Occupied(held) if blobs.is_empty() => {
                ops.push(Op::DeleteClaim { height, block: *block });
                Some(held.remove())
            }
            Entry::Occupied(mut held) => Some(held.insert(blobs.to_vec())),
            Entry::Vacant(_) if blobs.is_empty() => None,
            Entry::Vacant(free) => {
                free.insert(blobs.to_vec());
                Some(Vec::new())
            }
        };
        if let Some(before) = before {
            if !blobs.is_empty() {
                ops.push(Op::WriteClaim(Claim { height, block: *block, blobs: blobs.to_vec() }));
            }
            // Hold the new ones first: what both lists name stays.
            for hash in self.hold(blobs) {
                if at_hand(&hash) {
                    ops.push(Op::WriteBlob(hash));
                } else {
                    self.note_missing(hash, &mut ops);
                }
            }
            self.release(&before, &mut ops);
        }
        let found: Vec<_> =
            blobs.iter().filter(|hash| self.missing.contains(*hash) && at_hand(hash)).copied().collect();
        for hash in found {
            ops.extend(self.found(&hash));
        }
        ops
    }

    /// The block is not in the chain any more.
    pub fn drop_block(&mut self, height: u64, block: &Hash) -> Vec<Op> {
        let mut ops = Vec::new();
        self.drop_claim((height, *block), &mut ops);
        ops
    }

    /// Ends claims of blocks that are `keep` or more below the final height, oldest first, until about `limit` changes are
    /// due; empty if there is nothing left to do.
    pub fn expire(&mut self, final_height: u64, keep: Option<u64>, limit: usize) -> Vec<Op> {
        let mut ops = Vec::new();
        let Some(last) = keep.and_then(|keep| final_height.checked_sub(keep)) else { return ops };
        while ops.len() < limit
            && let Some((oldest, _)) = self.claims.first_key_value()
            && oldest.0 <= last
        {
            let oldest = *oldest;
            self.drop_claim(oldest, &mut ops);
        }
        ops
    }

    /// A missing blob was found. Nothing is to be done for one that nobody claims, or that is there.
    pub fn found(&mut self, hash: &Hash) -> Vec<Op> {
        if !self.missing.remove(hash) {
            return Vec::new();
        }
        if let Some(holder) = self.holders.get_mut(hash) {
            holder.missing = false;
        }
        vec![Op::WriteBlob(*hash), Op::ForgetMissing(*hash)]
    }

    /// The record of a blob turned out to be unreadable: it counts as missing.
    pub fn lost(&mut self, hash: &Hash) -> Vec<Op> {
        let mut ops = Vec::new();
        if self.has(hash) {
            ops.push(Op::DeleteBlob(*hash));
            self.note_missing(*hash, &mut ops);
        }
        ops
    }

    fn note_missing(&mut self, hash: Hash, ops: &mut Vec<Op>) {
        if let Some(holder) = self.holders.get_mut(&hash) {
            holder.missing = true;
            self.missing.insert(hash);
            ops.push(Op::NoteMissing(hash));
        }
    }

    /// Counts one up for each place of a list; returns blobs that nobody held before.
    fn hold(&mut self, blobs: &[Hash]) -> Vec<Hash> {
        let mut new = Vec::new();
        for hash in blobs {
            let holder = self.holders.entry(*hash).or_insert_with(|| {
                new.push(*hash);
                Holder { claims: 0, missing: false }
            });
            // As many as blobs fit in blocks: never near the end of the number.
            holder.claims = holder.claims.saturating_add(1);
        }
        new
    }

    fn release(&mut self, blobs: &[Hash], ops: &mut Vec<Op>) {
        for hash in blobs {
            let Some(holder) = self.holders.get_mut(hash) else { continue };
            holder.claims -= 1;
            if holder.claims == 0 {
                self.holders.remove(hash);
                let op = if self.missing.remove(hash) { Op::ForgetMissing(*hash) } else { Op::DeleteBlob(*hash) };
                ops.push(op);
            }
        }
    }

    fn drop_claim(&mut self, key: (u64, Hash), ops: &mut Vec<Op>) {
        if let Some(blobs) = self.claims.remove(&key) {
            ops.push(Op::DeleteClaim { height: key.0, block: key.1 });
            self.release(&blobs, ops);
        }
    }
}
