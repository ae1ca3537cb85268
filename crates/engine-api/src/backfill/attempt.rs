//! One attempt at one head.

use super::{
    Effect, Event, MAX_AHEAD, MAX_AHEAD_BYTES, MAX_BLOCKS, MAX_BLOCKS_ASKED, MAX_HEADERS_ASKED, OwnChain, Progress,
    Verdict, verdicts::Verdicts,
};
use crate::forkchoice::BlockRef;
use alloy_consensus::Header;
use alloy_primitives::B256;
use duskevm_evm::Block;
use std::{collections::VecDeque, sync::Arc, time::Duration};

/// Where a branch is left, so many of its blocks wait beside the chain before the head moves over to it: a source that stops halfway
/// then has not cost the old branch. The executor keeps 64 beside the chain.
const TOGETHER: u64 = 32;
/// Headers that are asked for at once below this node's head.
const BRANCH: u64 = 8;
/// The pause before the source is asked again; it doubles with each time.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// The longest of these pauses.
const LONGEST_RETRY: Duration = Duration::from_secs(15);

/// A question for the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// The header of the block with this hash.
    Header(B256),
    /// Headers of canonical blocks, from this number down.
    Headers {
        /// Number of the first.
        from: u64,
        /// How many; the last number is not below zero.
        count: usize,
    },
    /// The blocks with these hashes.
    Blocks(Vec<B256>),
}

/// What the source has, in the order of the question. It may be fewer, if it breaks off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// To [`Ask::Header`] and [`Ask::Headers`]; `None` for a block that it does not have.
    Headers(Vec<Option<Header>>),
    /// To [`Ask::Blocks`]: blocks that have the hash that was asked for, and about how many bytes each takes.
    Blocks(Vec<Option<(Arc<Block>, usize)>>),
}

/// Why there is no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// None came, or an error: it is asked again.
    NoAnswer(String),
    /// It is not what was asked for: the attempt ends.
    Wrong(String),
}

/// An answer.
pub type Answer = Result<Found, Trouble>;

/// What became of a block at the executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken.
    Done,
    /// It breaks a rule of this chain, and so does whatever descends from it.
    Invalid(Verdict),
    /// The chain cannot be taken there.
    Refused(String),
    /// The chain is not what it was: the consensus client moved it.
    Moved,
    /// The executor does not answer, or has forgotten the block.
    Unavailable(String),
}

/// How an attempt ends.
#[derive(Debug)]
pub(super) enum End {
    /// With the goal as the head.
    Reached(BlockRef),
    /// The goal is invalid, for this block.
    Invalid { block: B256, verdict: Verdict },
    /// Without; not again until the head is wanted again.
    Failed(String),
    /// Without, through no fault of the source: again after a pause.
    Interrupted(String),
}

#[derive(Debug)]
enum Phase {
    /// The goal's number is not known.
    Goal,
    /// From the goal down to the chain.
    Headers(Descent),
    /// Up again.
    Blocks(Ascent),
}

#[derive(Debug)]
struct Descent {
    /// From the goal down.
    hashes: Vec<B256>,
    /// The parent of the last of them.
    next: BlockRef,
}

#[derive(Debug)]
struct Ascent {
    /// The head that this node has now.
    head: BlockRef,
    /// Hashes of the blocks that were not received yet, lowest first.
    missing: VecDeque<B256>,
    /// Received, and not offered yet.
    ready: VecDeque<(Arc<Block>, usize)>,
    ready_bytes: usize,
    /// Blocks beside the chain.
    beside: u64,
    at: Executor,
}

/// What the executor does.
#[derive(Debug, Clone, Copy)]
enum Executor {
    Idle,
    /// It executes this block.
    Offered(BlockRef),
    /// It may make the last offered block the head.
    Ready(BlockRef),
    /// It makes it the head.
    Advancing(BlockRef),
}

#[derive(Debug)]
pub(super) struct Attempt {
    serial: u64,
    goal: B256,
    goal_number: Option<u64>,
    start: u64,
    current: u64,
    phase: Phase,
    /// A question is on its way.
    asking: bool,
    /// How much is asked for at once: less after a failure.
    batch: usize,
    retry_at: Duration,
    retry: Duration,
    silence: Option<String>,
}

impl Attempt {
    pub(super) const fn new(serial: u64, goal: B256, head: BlockRef) -> Self {
        Self {
            serial,
            goal,
            goal_number: None,
            start: head.number,
            current: head.number,
            phase: Phase::Goal,
            asking: false,
            batch: MAX_HEADERS_ASKED,
            retry_at: Duration::ZERO,
            retry: Duration::ZERO,
            silence: None,
        }
    }

    pub(super) const fn serial(&self) -> u64 {
        self.serial
    }

    pub(super) const fn goal(&self) -> B256 {
        self.goal
    }

    pub(super) const fn progress(&self) -> Progress {
        Progress { start: self.start, current: self.current, goal: self.goal_number }
    }

    pub(super) fn silence(&self) -> Option<&str> {
        self.silence.as_deref()
    }

    pub(super) fn waits_for(&self) -> String {
        let goal = self.goal_number.unwrap_or_default();
        match &self.phase {
            Phase::Goal => format!("the header of block {}", self.goal),
            Phase::Headers(descent) => {
                format!("headers from block {} down, on the way to block {goal}", descent.next.number)
            }
            Phase::Blocks(_) => format!("block {} of {goal}", self.current + 1),
        }
    }

    pub(super) fn next(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Phase::Blocks(ascent) = &mut self.phase {
            match ascent.at {
                Executor::Idle => {
                    if let Some((block, bytes)) = ascent.ready.pop_front() {
                        ascent.ready_bytes -= bytes;
                        ascent.at = Executor::Offered(BlockRef { number: block.number(), hash: block.hash() });
                        effects.push(Effect::Offer(self.serial, block));
                    }
                }
                Executor::Ready(to) => {
                    ascent.at = Executor::Advancing(to);
                    effects.push(Effect::Advance { attempt: self.serial, from: ascent.head.hash, to });
                }
                Executor::Offered(_) | Executor::Advancing(_) => {}
            }
        }
        if !self.asking
            && now >= self.retry_at
            && let Some(ask) = self.question()
        {
            self.asking = true;
            effects.push(Effect::Ask(self.serial, ask));
        }
        effects
    }

    /// What to ask for next; `None` if nothing is lacking, or enough is waiting for the executor.
    fn question(&self) -> Option<Ask> {
        match &self.phase {
            Phase::Goal => Some(Ask::Header(self.goal)),
            Phase::Headers(Descent { next, .. }) => {
                // Below the head only if this node is on another branch, mostly a short one.
                let count = next.number.saturating_sub(self.start).max(BRANCH.min(next.number + 1));
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                Some(Ask::Headers { from: next.number, count: self.batch.min(count) })
            }
            Phase::Blocks(ascent) => {
                let room = MAX_AHEAD.saturating_sub(ascent.ready.len());
                if room == 0 || ascent.ready_bytes >= MAX_AHEAD_BYTES || ascent.missing.is_empty() {
                    return None;
                }
                Some(Ask::Blocks(ascent.missing.iter().take(self.batch.min(room)).copied().collect()))
            }
        }
    }

    pub(super) fn answered(
        &mut self,
        answer: Answer,
        own: &impl OwnChain,
        invalid: &Verdicts,
        now: Duration,
    ) -> Result<Option<Event>, End> {
        self.asking = false;
        let found = match answer {
            Ok(found) if !found.is_empty() => found,
            Ok(_) => return self.unanswered("its answer is empty".into(), now),
            Err(Trouble::NoAnswer(why)) => return self.unanswered(why, now),
            Err(Trouble::Wrong(why)) => return Err(End::Failed(why)),
        };
        (self.silence, self.retry) = (None, Duration::ZERO);
        match found {
            Found::Headers(headers) => self.headers(headers, own, invalid),
            Found::Blocks(blocks) => self.blocks(blocks).map(|()| None),
        }
    }

    /// Asks for less, after a pause.
    fn unanswered(&mut self, why: String, now: Duration) -> Result<Option<Event>, End> {
        self.batch = (self.batch / 2).max(1);
        self.retry = (self.retry * 2).clamp(FIRST_RETRY, LONGEST_RETRY);
        self.retry_at = now + self.retry;
        self.silence = Some(why);
        Ok(None)
    }

    fn headers(
        &mut self,
        headers: Vec<Option<Header>>,
        own: &impl OwnChain,
        invalid: &Verdicts,
    ) -> Result<Option<Event>, End> {
        for header in headers {
            let (wanted, number) = match &self.phase {
                Phase::Goal => (self.goal, None),
                Phase::Headers(descent) => (descent.next.hash, Some(descent.next.number)),
                Phase::Blocks(_) => return Ok(None),
            };
            let Some(header) = header else { return Err(lacks(wanted, number)) };
            let computed = header.hash_slow();
            if computed != wanted {
                return Err(End::Failed(format!(
                    "it has block {computed} where block {wanted} ({}) belongs: it follows another chain, or was reorganized",
                    header.number
                )));
            }
            // The hash covers the number; a header whose parent has another number than its own less one is no block of any chain.
            if number.is_some_and(|number| number != header.number) {
                return Err(End::Failed(format!(
                    "block {wanted} has number {}, and its child says otherwise",
                    header.number
                )));
            }
            // Each was named by its child, up to the goal: for what this block is invalid, the goal is too.
            if let Some(verdict) = invalid.get(&wanted) {
                return Err(End::Invalid { block: wanted, verdict: verdict.clone() });
            }
            if let Some(event) = self.descend(wanted, &header, own)? {
                return Ok(Some(event));
            }
        }
        self.batch = (self.batch * 2).min(MAX_HEADERS_ASKED);
        Ok(None)
    }

    /// Takes the header of a block that this node lacks. An event says that its parent is one that it has.
    fn descend(&mut self, hash: B256, header: &Header, own: &impl OwnChain) -> Result<Option<Event>, End> {
        let (number, finalized) = (header.number, own.finalized());
        let mut hashes = match &mut self.phase {
            Phase::Headers(descent) => std::mem::take(&mut descent.hashes),
            Phase::Goal | Phase::Blocks(_) => Vec::new(),
        };
        if hashes.is_empty() {
            self.goal_number = Some(number);
            let head = own.head();
            if own.hash(number) == Some(hash) {
                return Err(End::Reached(BlockRef { number, hash }));
            }
            if number.saturating_sub(head.number) > MAX_BLOCKS {
                return Err(too_many(number, head.number));
            }
        }
        if number <= finalized {
            return Err(End::Failed(format!(
                "the wanted head does not descend from block {finalized}, which is final here: is the source a node of this network?"
            )));
        }
        hashes.push(hash);
        let parent = BlockRef { number: number - 1, hash: header.parent_hash };
        if own.hash(parent.number) != Some(parent.hash) {
            if hashes.len() as u64 >= MAX_BLOCKS {
                return Err(too_many(self.goal_number.unwrap_or(number), parent.number));
            }
            self.phase = Phase::Headers(Descent { hashes, next: parent });
            return Ok(None);
        }
        let goal = BlockRef { number: self.goal_number.unwrap_or(number), hash: self.goal };
        let head = own.head();
        // While the branch is changed the head stays; what is fetched lies above the common block.
        self.current = parent.number;
        self.batch = MAX_BLOCKS_ASKED;
        self.phase = Phase::Blocks(Ascent {
            head,
            missing: hashes.into_iter().rev().collect(),
            ready: VecDeque::new(),
            ready_bytes: 0,
            beside: 0,
            at: Executor::Idle,
        });
        Ok(Some(Event::Fetching { ancestor: parent, goal }))
    }

    fn blocks(&mut self, blocks: Vec<Option<(Arc<Block>, usize)>>) -> Result<(), End> {
        let Phase::Blocks(ascent) = &mut self.phase else { return Ok(()) };
        for block in blocks {
            let Some(wanted) = ascent.missing.front().copied() else { break };
            let Some((block, bytes)) = block else { return Err(lacks(wanted, None)) };
            if block.hash() != wanted {
                return Err(End::Failed(format!("it answered with block {} for block {wanted}", block.hash())));
            }
            ascent.missing.pop_front();
            ascent.ready_bytes += bytes;
            ascent.ready.push_back((block, bytes));
        }
        self.batch = (self.batch * 2).min(MAX_BLOCKS_ASKED);
        Ok(())
    }

    /// True if the head moved.
    pub(super) fn done(&mut self, outcome: Outcome) -> Result<bool, End> {
        let Phase::Blocks(ascent) = &mut self.phase else { return Ok(false) };
        match outcome {
            Outcome::Done => {}
            Outcome::Invalid(verdict) => {
                return Err(match ascent.at {
                    Executor::Offered(block) => End::Invalid { block: block.hash, verdict },
                    // Only of what is offered it is said.
                    Executor::Idle | Executor::Ready(_) | Executor::Advancing(_) => End::Failed(verdict.why),
                });
            }
            Outcome::Refused(why) => return Err(End::Failed(format!("block {} is refused: {why}", self.current + 1))),
            Outcome::Moved => return Err(End::Failed("the consensus client moved the head".into())),
            Outcome::Unavailable(why) => return Err(End::Interrupted(why)),
        }
        match ascent.at {
            Executor::Offered(block) => {
                self.current = block.number;
                ascent.beside += 1;
                // On the head each block is the new one at once; a branch takes over when it is as high, or as long as it may be.
                let is_due = block.hash == self.goal || block.number > ascent.head.number || ascent.beside >= TOGETHER;
                ascent.at = if is_due { Executor::Ready(block) } else { Executor::Idle };
                Ok(false)
            }
            Executor::Advancing(to) => {
                (ascent.head, ascent.beside) = (to, 0);
                ascent.at = Executor::Idle;
                if to.hash == self.goal { Err(End::Reached(to)) } else { Ok(true) }
            }
            Executor::Idle | Executor::Ready(_) => Ok(false),
        }
    }
}

impl Found {
    fn is_empty(&self) -> bool {
        match self {
            Self::Headers(headers) => headers.is_empty(),
            Self::Blocks(blocks) => blocks.is_empty(),
        }
    }
}

fn lacks(hash: B256, number: Option<u64>) -> End {
    End::Failed(match number {
        Some(number) => format!("it has no block {number}, where block {hash} belongs"),
        None => format!("it does not have block {hash}"),
    })
}

fn too_many(goal: u64, own: u64) -> End {
    End::Failed(format!(
        "block {goal} is more than {MAX_BLOCKS} blocks above block {own}, the newest that this node has of its chain: begin with a copy of another node's data folder"
    ))
}
