//! The search for the heads that L1 still supports, one answer at a time.

use crate::{chain::Chain, error::DerivationError};
use alloy_eips::BlockNumHash;
use duskevm_rollup::{L1BlockRef, L2BlockRef, L2Heads, SyncError, SyncStart, SyncStep};
use duskevm_store::l2::SafeHead;

/// Notes that are looked at before the specification's search is made instead.
const NOTES: u64 = 4096;

/// Where to begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// The heads.
    pub(crate) heads: L2Heads,
    /// The unsafe head with which the search began; the chain may have grown since.
    pub(crate) began_at: L2BlockRef,
    /// The note that the safe head comes from, if there was one.
    pub(crate) note: Option<SafeHead>,
}

/// What the search lacks.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// The L1 block of this number.
    L1(u64),
    /// The L2 chain has changed: begin again.
    Again,
    /// Nothing: done.
    Done(Box<Found>),
}

/// The search.
#[derive(Debug)]
pub(crate) struct Seek {
    labels: L2Heads,
    stage: Stage,
    /// The lowest L1 block of a note that L1 does not reach.
    beyond: Option<u64>,
}

#[derive(Debug)]
enum Stage {
    /// Is the L1 block of this note still a part of L1?
    Note { note: SafeHead, left: u64 },
    /// From the unsafe head down; what lies at or below the safe head of a note is not looked at.
    Walk { walk: Box<SyncStart>, note: Option<SafeHead> },
}

impl Seek {
    /// Begins at the labels of the chain.
    pub(crate) fn begin(chain: &Chain, labels: L2Heads) -> Result<Self, DerivationError> {
        let mut seek = Self { labels, stage: Stage::whole(chain, labels), beyond: None };
        if let Some(note) = chain.reader.safe_head_at(u64::MAX)? {
            seek.look_at(chain, note, NOTES)?;
        }
        Ok(seek)
    }

    /// Goes to the newest note from `note` on whose L2 block is in the chain, and can be a safe head.
    fn look_at(&mut self, chain: &Chain, mut note: SafeHead, mut left: u64) -> Result<(), DerivationError> {
        loop {
            let fits = note.l2.number <= self.labels.unsafe_head.number
                && note.l2.number >= self.labels.finalized.number
                && chain.reader.canonical_hash(note.l2.number)? == Some(note.l2.hash);
            if fits {
                self.stage = Stage::Note { note, left };
                return Ok(());
            }
            // Earlier notes are of lower blocks.
            if note.l2.number < self.labels.finalized.number {
                return self.without_note(chain);
            }
            match Self::before(chain, &note, &mut left)? {
                Some(earlier) => note = earlier,
                None => return self.without_note(chain),
            }
        }
    }

    /// No note holds. If that is because L1 is not where it was, the search waits: below the finalized block there would be
    /// nothing left to compare with, and without a note batches are judged again.
    fn without_note(&mut self, chain: &Chain) -> Result<(), DerivationError> {
        if let Some(number) = self.beyond {
            return Err(SyncError::L1Moved(number).into());
        }
        self.stage = Stage::whole(chain, self.labels);
        Ok(())
    }

    fn before(chain: &Chain, note: &SafeHead, left: &mut u64) -> Result<Option<SafeHead>, DerivationError> {
        let (Some(number), Some(fewer)) = (note.l1.number.checked_sub(1), left.checked_sub(1)) else { return Ok(None) };
        *left = fewer;
        Ok(chain.reader.safe_head_at(number)?)
    }

    /// Goes on as far as possible without L1.
    pub(crate) fn step(&mut self, chain: &Chain) -> Result<Wanted, DerivationError> {
        match &mut self.stage {
            Stage::Note { note, .. } => Ok(Wanted::L1(note.l1.number)),
            Stage::Walk { walk, note } => loop {
                let step = match walk.step() {
                    // Only what lies above the note was looked at: L1 says now that the note does not hold.
                    Err(SyncError::Finalized(_)) if note.is_some() => {
                        self.stage = Stage::whole(chain, self.labels);
                        return Ok(Wanted::Again);
                    }
                    step => step?,
                };
                match step {
                    SyncStep::NeedL1(number) => return Ok(Wanted::L1(number)),
                    SyncStep::NeedL2 { hash, .. } => match chain.reference(hash)? {
                        Some(block) => walk.provide_l2(block)?,
                        None => return Ok(Wanted::Again),
                    },
                    SyncStep::Found(found) => {
                        let heads = L2Heads { finalized: self.labels.finalized, ..found };
                        return Ok(Wanted::Done(Box::new(Found {
                            heads,
                            began_at: self.labels.unsafe_head,
                            note: *note,
                        })));
                    }
                }
            },
        }
    }

    /// What L1 has at the number that was asked for.
    pub(crate) fn provide(
        &mut self,
        chain: &Chain,
        number: u64,
        block: Option<L1BlockRef>,
    ) -> Result<(), DerivationError> {
        match &mut self.stage {
            Stage::Note { note, left } => {
                if block.is_some_and(|block| block.hash == note.l1.hash) {
                    let Some(safe) = chain.reference(note.l2.hash)? else {
                        self.stage = Stage::whole(chain, self.labels);
                        return Ok(());
                    };
                    // The walk ends where the note holds.
                    let labels = L2Heads { safe, finalized: safe, ..self.labels };
                    let walk = Box::new(SyncStart::new(chain.rollup.clone(), labels));
                    self.stage = Stage::Walk { walk, note: Some(*note) };
                    return Ok(());
                }
                // L1 has another block there, or does not reach there (yet): an earlier note may hold.
                let (mut note, mut left) = (*note, *left);
                if block.is_none() {
                    self.beyond = Some(note.l1.number);
                }
                if let Some(earlier) = Self::before(chain, &note, &mut left)? {
                    note = earlier;
                    self.look_at(chain, note, left)
                } else {
                    self.without_note(chain)
                }
            }
            Stage::Walk { walk, .. } => {
                debug_assert!(block.is_none_or(|block| block.number == number));
                Ok(walk.provide_l1(block)?)
            }
        }
    }
}

impl Stage {
    /// The specification's search.
    fn whole(chain: &Chain, labels: L2Heads) -> Self {
        Self::Walk { walk: Box::new(SyncStart::new(chain.rollup.clone(), labels)), note: None }
    }
}

/// A block by number and hash.
pub(crate) const fn id(block: &L2BlockRef) -> BlockNumHash {
    BlockNumHash { number: block.number, hash: block.hash }
}
