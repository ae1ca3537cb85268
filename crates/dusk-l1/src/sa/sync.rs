//! Behind the others: which blocks to ask for, and in which order to take them.
//!
//! Every frame of a later round is a hint that its sender is ahead, every frame of this round above another block a hint
//! that its sender is on another branch. Hints are looked at on a timer, after the own round had the time to end by
//! itself. Answers are only used if they connect to the own chain; blocks are applied one by one, and applying checks
//! them. Different from the published node (`fsm`): no phases, since asking for a block does not stop the round.

use std::collections::VecDeque;
use std::time::Duration;

use super::bls::Bls;
use super::fork::{self, Choice};
use super::machine::{Action, Machine, Note, Now, PeerId, SyncBlock, Want};
use super::rules::Rules;

/// Heights of one request.
const WINDOW: u64 = 64;
/// Own blocks that are asked for again, to see where the branches part.
const OVERLAP: u64 = 8;
/// Blocks that wait here.
const MAX_BUFFER: usize = 256;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Somebody who is further, or elsewhere.
#[derive(Debug, Clone, Copy)]
struct Hint {
    peer: PeerId,
    round: u64,
    noticed: Duration,
}

/// What is known of others, and blocks that wait to be applied.
#[derive(Debug)]
pub(super) struct Sync {
    heartbeat: Duration,
    stalled_after: Duration,
    hint: Option<Hint>,
    /// Until when an answer is awaited.
    asked: Option<Duration>,
    buffer: VecDeque<SyncBlock>,
    /// The last answer led nowhere: the next question goes down to the last final block.
    far: bool,
    /// Who has probably more blocks above those that wait.
    more: Option<PeerId>,
    accepted: Duration,
    /// When it was last asked around, or a block accepted.
    asked_around: Duration,
}

impl Sync {
    pub(super) fn new(rules: &Rules) -> Self {
        Self {
            heartbeat: Duration::from_secs(rules.block_time.clamp(1, 3)),
            stalled_after: Duration::from_secs(rules.block_time.saturating_mul(20).max(60)),
            hint: None,
            asked: None,
            buffer: VecDeque::new(),
            far: false,
            more: None,
            accepted: Duration::ZERO,
            asked_around: Duration::ZERO,
        }
    }

    /// How often hints are looked at.
    pub(super) fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// A block was accepted.
    pub(super) fn accepted(&mut self, now: Now) {
        self.accepted = now.mono;
        self.asked_around = now.mono;
    }

    /// Nothing was accepted for long.
    fn is_stalled(&self, now: Now) -> bool {
        now.mono.saturating_sub(self.accepted) >= self.stalled_after
    }

    /// `peer` works on `round`, which is later, or the same above another block. The first hint stays until it was
    /// followed, so that a flood of them changes nothing.
    pub(super) fn hint(&mut self, now: Now, peer: PeerId, round: u64) {
        if self.hint.is_none() {
            self.hint = Some(Hint { peer, round, noticed: now.mono });
        }
    }

    /// Forgets blocks that wait.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.more = None;
        self.asked = None;
    }

    /// Whether blocks wait to be applied, or more of them are asked for.
    pub(super) fn is_busy(&self) -> bool {
        !self.buffer.is_empty() || self.more.is_some()
    }
}

impl<B: Bls> Machine<B> {
    /// The heartbeat: follows a hint that is still one, and asks around when nothing was accepted for long.
    pub(super) fn look_around(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.sync.asked.is_some_and(|until| until <= now.mono) {
            self.sync.asked = None;
        }
        if self.sync.asked.is_some() || !self.sync.buffer.is_empty() || self.view().applying {
            return;
        }
        let height = self.tip.header.height;
        if let Some(hint) = self.sync.hint
            && now.mono.saturating_sub(hint.noticed) >= self.sync.heartbeat
        {
            self.sync.hint = None;
            if hint.round > height {
                out.push(Action::Note(Note::Syncing { from: height + 1 }));
                return self.ask(now, Some(hint.peer), out);
            }
        }
        if self.sync.is_stalled(now) && now.mono.saturating_sub(self.sync.asked_around) >= self.sync.stalled_after / 2 {
            self.sync.asked_around = now.mono;
            out.push(Action::Note(Note::Stalled { round: height + 1 }));
            self.repeat(now, out);
            self.ask(now, None, out);
        }
    }

    /// Asks for the blocks above the tip and some below it: whether the other is only ahead or on another branch shows in its
    /// answer. If they do not connect, the next question begins above the last final block, which may be more than one answer
    /// holds.
    fn ask(&mut self, now: Now, peer: Option<PeerId>, out: &mut Vec<Action>) {
        let near = self.tip.header.height.saturating_sub(OVERLAP);
        let lowest = self.tip.labels.last_final() + 1;
        let from = if self.sync.far { lowest } else { lowest.max(near) };
        self.sync.asked = Some(now.mono + ANSWER);
        let to = self.tip.header.height.saturating_add(WINDOW);
        out.push(Action::Request { peer, want: Want::Range { from, to } });
    }

    /// An answer to [`Want::Range`] or [`Want::Block`].
    pub(super) fn blocks(&mut self, now: Now, from: PeerId, blocks: Vec<SyncBlock>, out: &mut Vec<Action>) {
        if let [block] = blocks.as_slice()
            && self.found(block, out)
        {
            return;
        }
        self.sync.asked = None;
        let chained = blocks.windows(2).all(|pair| match pair {
            [a, b] => {
                a.header.height.checked_add(1) == Some(b.header.height) && b.header.prev_block_hash == a.header.hash
            }
            _ => true,
        });
        if !chained {
            return;
        }
        if let Some(last) = self.sync.buffer.back().map(|block| block.header.hash).or(self.applying) {
            // The part of the answer above what waits or is applied, if it continues it.
            let at = blocks.iter().position(|block| block.header.prev_block_hash == last);
            let room = MAX_BUFFER.saturating_sub(self.sync.buffer.len());
            let rest = at.map_or(Vec::new(), |at| blocks.into_iter().skip(at).take(room).collect());
            self.sync.more = (rest.len() as u64 >= WINDOW / 2).then_some(from);
            self.sync.buffer.extend(rest);
            return;
        }
        if self.reverting {
            return;
        }
        let ahead = blocks.last().is_some_and(|last| last.header.height > self.tip.header.height);
        match fork::choose(self.bls(), self.rules(), &self.tip, &blocks, self.sync.is_stalled(now)) {
            Choice::Extends { skip } => {
                self.sync.buffer = blocks.into_iter().skip(skip).take(MAX_BUFFER).collect();
                self.sync.more = (self.sync.buffer.len() as u64 >= WINDOW / 2).then_some(from);
                self.sync.far = false;
                self.next_block(now, out);
            }
            Choice::Replace { skip, parent } => {
                self.sync.buffer = blocks.into_iter().skip(skip).take(MAX_BUFFER).collect();
                let height = self.sync.buffer.front().map_or(0, |block| block.header.height);
                out.push(Action::Note(Note::Fork { height }));
                self.reverting = true;
                self.halt();
                out.push(Action::RevertTo { hash: parent });
            }
            // The branches part further below. Only one who has more is asked once more at once.
            Choice::Keep if ahead && !self.sync.far => {
                self.sync.far = true;
                self.ask(now, Some(from), out);
            }
            Choice::Keep => self.sync.far = !self.sync.far,
        }
    }

    /// Whether the block that is being applied is followed at once by another that waits: nothing is signed in between.
    pub fn continues(&self, hash: &[u8; 32]) -> bool {
        let height = self.tip.header.height.saturating_add(2);
        self.applying == Some(*hash)
            && !self.reverting
            && self
                .sync
                .buffer
                .front()
                .is_some_and(|next| next.header.height == height && next.header.prev_block_hash == *hash)
    }

    /// Applies the next block that waits, if it is the next one.
    pub(super) fn next_block(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.applying.is_some() || self.reverting {
            return;
        }
        self.fetch_ahead(now, out);
        let Some(block) = self.sync.buffer.pop_front() else { return };
        let header = &block.header;
        if header.height != self.tip.header.height + 1 || header.prev_block_hash != self.tip.header.hash {
            return self.sync.clear();
        }
        let attestation = header.att;
        self.apply_copy(block, attestation, out);
    }

    /// Asks for the blocks above those that wait while these are applied, so that a long way is gone without pauses.
    fn fetch_ahead(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.sync.asked.is_some() || self.sync.buffer.len() as u64 > WINDOW {
            return;
        }
        let Some(peer) = self.sync.more.take() else { return };
        let from =
            self.sync.buffer.back().map_or(self.tip.header.height, |block| block.header.height).saturating_add(1);
        self.sync.asked = Some(now.mono + ANSWER);
        out.push(Action::Request { peer: Some(peer), want: Want::Range { from, to: from.saturating_add(WINDOW - 1) } });
    }
}
