//! Bringing the blocks that lie between the chain of this node and a head that its consensus client wants, from another L2 node.
//!
//! A consensus client names heads whose ancestors this node may lack, is answered `SYNCING`, and may leave it at that until the head is
//! there (execution APIs, paris.md, "Sync"; kona-node does). Real execution clients fetch from their peers. Here one source is asked, over
//! its JSON-RPC, and believed in nothing: the wanted hash is the only thing that is known to be right, and all else follows from it.
//!
//! 1. The wanted block's header by its hash: its number, its parent.
//! 2. Headers from there *down*, by number, in batches. Each must have the hash that its child names, so that a wrong one is found at once.
//!    Only hashes are kept. It ends at a block that this node has.
//! 3. The blocks from there up, by hash, in batches, some ahead of what is executed. Each goes to the executor in its order: it is
//!    offered, which executes it, and then made the head.
//!
//! So the head moves along ancestors of the wanted head only. A source that does not answer is asked again; one that contradicts the hashes,
//! or lacks a block, ends the attempt, and the next one begins after a pause when the head is wanted again.
//!
//! A block that the executor finds invalid ends it too, and then the wanted head is invalid with the same latest valid ancestor (paris.md,
//! "Payload validation", 3): the executor, which knows of that block only, is told so, and answers for itself from then on. Nothing is
//! fetched for that head again, and no more than headers down to that block for another one on it.
//!
//! [`Backfill`] is without sockets and clocks: [`next`](Backfill::next) says what is to be done, the answers are told to it.

mod attempt;
pub mod source;
#[cfg(test)]
mod tests;
mod verdicts;

pub use attempt::{Answer, Ask, Found, Outcome, Trouble};
pub use verdicts::Verdict;

use crate::forkchoice::BlockRef;
use alloy_primitives::B256;
use attempt::{Attempt, End};
use duskevm_evm::Block;
use std::{sync::Arc, time::Duration};
use verdicts::Verdicts;

/// The most blocks that are fetched for one head. Of each 32 bytes are kept.
pub const MAX_BLOCKS: u64 = 1_000_000;
/// Headers in one request, at most.
pub const MAX_HEADERS_ASKED: usize = 128;
/// Blocks in one request, at most.
pub const MAX_BLOCKS_ASKED: usize = 16;
/// Blocks that may wait for the executor before more are asked for.
pub const MAX_AHEAD: usize = 64;
/// Bytes of blocks that may wait for the executor before more are asked for.
pub const MAX_AHEAD_BYTES: usize = 64 * 1024 * 1024;

/// The pause after the first attempt that failed; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The chain of this node, at the moment of the call.
pub trait OwnChain {
    /// The newest block.
    fn head(&self) -> BlockRef;
    /// Number of the finalized block.
    fn finalized(&self) -> u64;
    /// Hash of the canonical block of a number.
    fn hash(&self, number: u64) -> Option<B256>;
}

/// Something to be done; its result is told with the same number, where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask the source, and tell [`Backfill::answered`].
    Ask(u64, Ask),
    /// Offer a block to the executor, and tell [`Backfill::done`].
    Offer(u64, Arc<Block>),
    /// Make an offered block the head, if the head is still `from`, and tell [`Backfill::done`].
    Advance {
        /// Number of the attempt.
        attempt: u64,
        /// What the head must be.
        from: B256,
        /// What becomes the head.
        to: BlockRef,
    },
    /// Tell the executor that a wanted head is invalid. Nothing is told of it: if it is lost, the head is wanted again.
    Condemn {
        /// Its hash.
        head: B256,
        /// What the executor said of its ancestor.
        verdict: Verdict,
    },
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Number of the head when the attempt began.
    pub start: u64,
    /// Number of the newest block that was adopted.
    pub current: u64,
    /// Number of the wanted head; `None` until the source has told it.
    pub goal: Option<u64>,
}

/// Something worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An attempt began.
    Began {
        /// The wanted head.
        goal: B256,
    },
    /// All headers are known: so many blocks are fetched.
    Fetching {
        /// The newest common block.
        ancestor: BlockRef,
        /// The wanted head.
        goal: BlockRef,
    },
    /// The wanted head is the head.
    Reached(BlockRef),
    /// The wanted head is invalid, and an attempt at it, if there was one, ended with that.
    Invalid {
        /// The wanted head.
        goal: B256,
        /// What the executor said of its ancestor.
        verdict: Verdict,
    },
    /// The attempt ended without it.
    Ended {
        /// The wanted head.
        goal: B256,
        /// Why.
        why: String,
        /// When the next one may begin, from now on.
        pause: Duration,
    },
}

/// The state machine. All times are since one moment of the caller's choice.
#[derive(Debug, Default)]
pub struct Backfill {
    /// The newest head that is wanted and not the goal of the attempt.
    wanted: Option<B256>,
    attempt: Option<Attempt>,
    /// Attempts so far: results of earlier ones are passed over.
    serial: u64,
    begin_at: Duration,
    pause: Duration,
    /// Heads that turned out invalid, and the blocks that they are invalid for.
    invalid: Verdicts,
    /// Of these the executor is to be told.
    condemned: Vec<Effect>,
    events: Vec<Event>,
}

impl Backfill {
    /// The consensus client wants this head, which is not here. An attempt that is under way goes on: its goal is likely an ancestor.
    pub fn want(&mut self, head: B256) {
        if self.attempt.as_ref().is_none_or(|attempt| attempt.goal() != head) {
            self.wanted = Some(head);
        }
    }

    /// The consensus client has a head: nothing is wanted any more.
    pub fn forget(&mut self) {
        self.wanted = None;
        self.attempt = None;
    }

    /// The executor is another instance, which knows of no invalid block: its own word is asked for again.
    pub fn forget_verdicts(&mut self) {
        self.invalid = Verdicts::default();
    }

    /// What is to be done now.
    pub fn next(&mut self, own: &impl OwnChain, now: Duration) -> Vec<Effect> {
        // The executor was not told, or has forgotten it among newer ones.
        if let Some(goal) = self.wanted
            && let Some(verdict) = self.invalid.get(&goal).cloned()
        {
            self.wanted = None;
            self.condemn(goal, verdict);
        }
        if self.attempt.is_none()
            && now >= self.begin_at
            && let Some(goal) = self.wanted.take()
        {
            self.serial += 1;
            self.attempt = Some(Attempt::new(self.serial, goal, own.head()));
            self.events.push(Event::Began { goal });
        }
        let mut effects = std::mem::take(&mut self.condemned);
        effects.extend(self.attempt.as_mut().map(|attempt| attempt.next(now)).unwrap_or_default());
        effects
    }

    /// What the source answered to an [`Effect::Ask`].
    pub fn answered(&mut self, attempt: u64, answer: Answer, own: &impl OwnChain, now: Duration) {
        let Some(current) = self.attempt.as_mut().filter(|current| current.serial() == attempt) else { return };
        let result = current.answered(answer, own, &self.invalid, now);
        if let Ok(Some(event)) = &result {
            self.events.push(event.clone());
        }
        self.settle(result.err(), now);
    }

    /// What became of an [`Effect::Offer`] or an [`Effect::Advance`].
    pub fn done(&mut self, attempt: u64, outcome: Outcome, now: Duration) {
        let Some(current) = self.attempt.as_mut().filter(|current| current.serial() == attempt) else { return };
        let result = current.done(outcome);
        if matches!(result, Ok(true)) {
            self.pause = Duration::ZERO;
        }
        self.settle(result.err(), now);
    }

    fn settle(&mut self, end: Option<End>, now: Duration) {
        let Some(end) = end else { return };
        let Some(attempt) = self.attempt.take() else { return };
        let goal = attempt.goal();
        let (why, again) = match end {
            End::Reached(head) => {
                self.pause = Duration::ZERO;
                return self.events.push(Event::Reached(head));
            }
            End::Invalid { block, verdict } => {
                self.invalid.note(block, verdict.clone());
                self.condemn(goal, verdict);
                // It is not the source's fault, but whoever names such heads may name more of them.
                self.rest(now);
                return;
            }
            End::Failed(why) => (why, false),
            End::Interrupted(why) => (why, true),
        };
        if again && self.wanted.is_none() {
            self.wanted = Some(goal);
        }
        self.rest(now);
        self.events.push(Event::Ended { goal, why, pause: self.pause });
    }

    /// Lets the pause before the next attempt begin.
    fn rest(&mut self, now: Duration) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.begin_at = now + self.pause;
    }

    fn condemn(&mut self, goal: B256, verdict: Verdict) {
        self.invalid.note(goal, verdict.clone());
        self.condemned.push(Effect::Condemn { head: goal, verdict: verdict.clone() });
        self.events.push(Event::Invalid { goal, verdict });
    }

    /// What happened since this was called last.
    pub fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// How far the attempt is; `None` while there is none.
    pub fn progress(&self) -> Option<Progress> {
        self.attempt.as_ref().map(Attempt::progress)
    }

    /// What the attempt waits for, in words that follow "waiting for"; `None` while there is none.
    pub fn waits_for(&self) -> Option<String> {
        self.attempt.as_ref().map(Attempt::waits_for)
    }

    /// Why the source's last answer is none, if so.
    pub fn silence(&self) -> Option<&str> {
        self.attempt.as_ref().and_then(Attempt::silence)
    }
}
