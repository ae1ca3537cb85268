//! Channels on their way to L1.

use crate::{
    action::{Outcome, TxStatus},
    record::{Attempt, Closed, Role, SignedSlot, Submitted},
};
use alloy_primitives::B256;
use duskevm_rollup::{
    BlockId,
    channel_out::ChannelOut,
    frame::{ChannelId, Frame},
};
use std::collections::HashMap;

/// Most attempts that are remembered for a nonce; the price grows no further then.
pub(crate) const MAX_ATTEMPTS: usize = 16;

/// The channel that takes blocks.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) id: ChannelId,
    /// The block before its first one.
    pub(crate) parent: BlockId,
    /// Number of the block at which the channels before it end. What lies between that and `parent` is left to derivation.
    pub(crate) after: u64,
    /// L1 block at which it was begun.
    pub(crate) opened_at: u64,
    /// L1 origin of its first block.
    pub(crate) first_epoch: Option<u64>,
    /// Hashes of the blocks in it.
    pub(crate) hashes: Vec<B256>,
    /// It takes no more.
    pub(crate) full: bool,
    pub(crate) out: ChannelOut,
}

impl Open {
    /// The last block in it, or the one before its first.
    pub(crate) fn last(&self) -> BlockId {
        match self.hashes.last() {
            Some(hash) => BlockId { hash: *hash, number: self.parent.number.saturating_add(self.hashes.len() as u64) },
            None => self.parent,
        }
    }

    /// Takes its blocks out; nothing of them has left this machine.
    pub(crate) fn clear(&mut self) {
        self.out.reset(self.id);
        self.hashes.clear();
        self.first_epoch = None;
        self.full = false;
    }
}

/// A channel whose frames are fixed.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) closed: Closed,
    /// `None` after a restart, until they are needed.
    pub(crate) frames: Option<Vec<Frame>>,
    pub(crate) submissions: Vec<Submission>,
}

impl Channel {
    pub(crate) const fn id(&self) -> ChannelId {
        self.closed.id
    }

    /// Frames that are part of a submission.
    pub(crate) fn sent_frames(&self) -> u16 {
        self.submissions.last().map_or(0, |last| last.first_frame.saturating_add(last.frame_count))
    }

    pub(crate) fn is_sent(&self) -> bool {
        self.sent_frames() >= self.closed.frame_count
    }

    /// Are all of its frames on L1?
    pub(crate) fn is_landed(&self) -> bool {
        self.is_sent() && self.submissions.iter().all(|submission| submission.landed().is_some())
    }

    /// Are they there for good?
    pub(crate) fn is_final(&self) -> bool {
        self.is_sent() && self.submissions.iter().all(Submission::is_final)
    }

    /// L1 blocks with its first and its last frame on L1.
    pub(crate) fn span(&self) -> Option<(u64, u64)> {
        let first = self.submissions.first()?.landed()?;
        let last = self.submissions.iter().filter_map(Submission::landed).max()?;
        Some((first, last))
    }
}

/// What one envelope names.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) number: u64,
    pub(crate) first_frame: u16,
    pub(crate) frame_count: u16,
    pub(crate) envelope_nonce: u64,
    /// `None` until it was signed.
    pub(crate) envelope_hash: Option<B256>,
    pub(crate) slots: Vec<Slot>,
}

impl Submission {
    /// L1 block with its frames.
    pub(crate) fn landed(&self) -> Option<u64> {
        self.slots.last().and_then(|slot| match slot.state {
            SlotState::Included { height, .. } => Some(height),
            _ => None,
        })
    }

    /// Was nothing signed for it yet?
    pub(crate) const fn is_unsigned(&self) -> bool {
        self.envelope_hash.is_none()
    }

    pub(crate) fn is_final(&self) -> bool {
        self.slots.iter().all(|slot| matches!(slot.state, SlotState::Included { is_final: true, .. }))
    }

    pub(crate) fn record(&self, channel: ChannelId) -> Option<Submitted> {
        let slots = self.slots.iter().map(|slot| SignedSlot {
            role: slot.role,
            nonce: slot.nonce,
            gas_limit: slot.gas_limit,
            attempts: slot.attempts.clone(),
        });
        Some(Submitted {
            number: self.number,
            channel,
            first_frame: self.first_frame,
            frame_count: self.frame_count,
            envelope_nonce: self.envelope_nonce,
            envelope_hash: self.envelope_hash?,
            slots: slots.collect(),
        })
    }
}

impl From<Submitted> for Submission {
    fn from(record: Submitted) -> Self {
        Self {
            number: record.number,
            first_frame: record.first_frame,
            frame_count: record.frame_count,
            envelope_nonce: record.envelope_nonce,
            envelope_hash: Some(record.envelope_hash),
            slots: record.slots.into_iter().map(Slot::from).collect(),
        }
    }
}

/// A nonce, and what was signed for it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) role: Role,
    pub(crate) nonce: u64,
    pub(crate) gas_limit: u64,
    /// Oldest first. One of them at most can be included.
    pub(crate) attempts: Vec<Attempt>,
    /// What was signed for other nonces that this slot had before, oldest first: an L1 reorganization, or another node's mempool, may
    /// bring it to L1 all the same. Not in the journal.
    pub(crate) former: Vec<(u64, Attempt)>,
    /// A further one is to be signed at this price.
    pub(crate) wanted: Option<u64>,
    pub(crate) state: SlotState,
}

/// Where the transaction of a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotState {
    /// Not known: L1 must be asked first.
    Unchecked,
    /// L1 does not have it.
    Unsent,
    /// L1 was given it at this block.
    Sent { since: u64 },
    /// Its nonce is used, and by itself; the block is not on disk or not in the view yet, so what came of it is not known.
    Executed { since: u64 },
    /// L1 did not take it.
    Refused,
    /// It is in this L1 block.
    Included { height: u64, is_final: bool },
}

impl From<SignedSlot> for Slot {
    fn from(record: SignedSlot) -> Self {
        let SignedSlot { role, nonce, gas_limit, attempts } = record;
        // A nonce without a signature is never written; if it were, it would be signed now.
        let wanted = attempts.is_empty().then_some(1);
        Self { role, nonce, gas_limit, attempts, former: Vec::new(), wanted, state: SlotState::Unchecked }
    }
}

impl Slot {
    pub(crate) const fn new(role: Role, nonce: u64, gas_limit: u64, gas_price: u64) -> Self {
        let wanted = Some(gas_price);
        Self { role, nonce, gas_limit, attempts: Vec::new(), former: Vec::new(), wanted, state: SlotState::Unsent }
    }

    pub(crate) const fn is_included(&self) -> bool {
        matches!(self.state, SlotState::Included { .. })
    }

    pub(crate) fn price(&self) -> u64 {
        self.attempts.last().map_or(0, |attempt| attempt.gas_price)
    }

    pub(crate) const fn is_executed(&self) -> bool {
        matches!(self.state, SlotState::Executed { .. })
    }

    /// Gives it another nonce. What was signed before is replaced, or cannot be included unless L1 takes blocks back.
    pub(crate) fn move_to(&mut self, nonce: u64, gas_price: u64) {
        let before = std::mem::replace(self, Self::new(self.role, nonce, self.gas_limit, gas_price));
        self.former = before.former;
        self.former.extend(before.attempts.into_iter().map(|attempt| (before.nonce, attempt)));
        let most = self.former.len().saturating_sub(MAX_ATTEMPTS);
        self.former.drain(..most);
    }

    /// Gives it a nonce that it had before, with what was signed for that.
    fn return_to(&mut self, nonce: u64) {
        let (same, mut others): (Vec<_>, Vec<_>) = self.former.drain(..).partition(|(of, _)| *of == nonce);
        let now = std::mem::replace(&mut self.attempts, same.into_iter().map(|(_, attempt)| attempt).collect());
        others.extend(now.into_iter().map(|attempt| (self.nonce, attempt)));
        (self.former, self.nonce) = (others, nonce);
    }

    /// Notes what L1 knows of it; says why, if its call failed.
    pub(crate) fn observe(&mut self, l1_block: u64, found: &HashMap<B256, TxStatus>) -> Option<String> {
        let landed = |attempt: &Attempt| match found.get(&attempt.id) {
            Some(TxStatus::Included { outcome, .. }) => !matches!(outcome, Outcome::Failed(_)),
            _ => false,
        };
        if let Some((nonce, _)) = self.former.iter().find(|(_, attempt)| landed(attempt)) {
            self.return_to(*nonce);
        }
        let mut asked = false;
        let mut waits = false;
        for attempt in &self.attempts {
            match found.get(&attempt.id) {
                Some(TxStatus::Included { height, is_final, outcome }) => {
                    let height = match outcome {
                        Outcome::Done => *height,
                        Outcome::Elsewhere(earlier) => *earlier,
                        Outcome::Failed(why) => return Some(why.clone()),
                    };
                    self.state = SlotState::Included { height, is_final: *is_final };
                    self.wanted = None;
                    return None;
                }
                Some(TxStatus::Waiting) => (asked, waits) = (true, true),
                Some(TxStatus::Unknown) => asked = true,
                None => {}
            }
        }
        if waits {
            let since = match self.state {
                SlotState::Sent { since } | SlotState::Executed { since } => since,
                _ => l1_block,
            };
            self.state = SlotState::Sent { since };
        } else if asked {
            self.state = SlotState::Unsent;
        }
        None
    }
}
