//! What happened in a run, in numbers: also whether the faults of its scenario really occurred.

use std::fmt;
use std::ops::AddAssign;

/// Something that goes wrong, by chance or on purpose. Counted when it happens, not when it is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// A message was lost on a link.
    Lost,
    /// A message took far longer than the others.
    Delayed,
    /// A message arrived after one that was sent later.
    Reordered,
    /// A node was given a message that it had before.
    Repeated,
    /// The network fell apart.
    Partition,
    /// A partition ended.
    Healed,
    /// A node stopped.
    Crash,
    /// It stopped with a message in its journal that nobody had been sent.
    CrashBeforeSending,
    /// It stopped with a block stored of which its consensus did not know.
    CrashAfterStoring,
    /// It started again from its disk.
    Restart,
    /// A node started for the first time, behind the others.
    LateJoiner,
    /// A node lost its disk.
    Wiped,
    /// A generator signed two candidates.
    TwoCandidates,
    /// A provisioner signed two votes for one step.
    TwoVotes,
    /// A candidate's blobs were kept from some.
    WithheldBlobs,
    /// An honest node could not have a candidate's blobs, and abstained.
    Abstained,
    /// A candidate was shown to one node only.
    WithheldCandidate,
    /// A candidate that breaks a rule.
    InvalidCandidate,
    /// Votes and quorums that were not sent.
    Silence,
    /// A message of a round that was over, sent again.
    Stale,
    /// A message that its signer did not sign.
    Forged,
    /// Bytes that are no message.
    Garbage,
    /// A success passed off as a failure.
    Relabelled,
    /// A block changed who may vote.
    StakesChanged,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::Lost,
        Self::Delayed,
        Self::Reordered,
        Self::Repeated,
        Self::Partition,
        Self::Healed,
        Self::Crash,
        Self::CrashBeforeSending,
        Self::CrashAfterStoring,
        Self::Restart,
        Self::LateJoiner,
        Self::Wiped,
        Self::TwoCandidates,
        Self::TwoVotes,
        Self::WithheldBlobs,
        Self::Abstained,
        Self::WithheldCandidate,
        Self::InvalidCandidate,
        Self::Silence,
        Self::Stale,
        Self::Forged,
        Self::Garbage,
        Self::Relabelled,
        Self::StakesChanged,
    ];
}

/// What happened in a run, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that arrived.
    pub delivered: u64,
    /// Messages that were refused as their sender's fault.
    pub rejected: u64,
    /// Own messages that a journal refused.
    pub refused: u64,
    /// Own messages that were sent before, in this life or an earlier one.
    pub sent_again: u64,
    /// Iterations that failed by quorum, counted at each node that built the proof.
    pub failed_iterations: u64,
    /// Steps that ran out of time.
    pub timeouts: u64,
    /// Times a node followed others to a later iteration.
    pub caught_up: u64,
    /// Branches that were given up.
    pub forks: u64,
    /// Requests for blocks.
    pub syncs: u64,
    /// Two votes of one signer, as seen by some node.
    pub double_votes: u64,
    /// Highest iteration that anybody reached.
    pub highest_iteration: u8,
    troubles: [u64; Trouble::ALL.len()],
}

impl Tally {
    /// How often something went wrong.
    pub fn of(&self, trouble: Trouble) -> u64 {
        self.troubles[trouble as usize]
    }

    /// Counts it once more.
    pub fn note(&mut self, trouble: Trouble) {
        self.troubles[trouble as usize] += 1;
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.rejected += other.rejected;
        self.refused += other.refused;
        self.sent_again += other.sent_again;
        self.failed_iterations += other.failed_iterations;
        self.timeouts += other.timeouts;
        self.caught_up += other.caught_up;
        self.forks += other.forks;
        self.syncs += other.syncs;
        self.double_votes += other.double_votes;
        self.highest_iteration = self.highest_iteration.max(other.highest_iteration);
        for (sum, count) in self.troubles.iter_mut().zip(other.troubles) {
            *sum += count;
        }
    }
}

/// Every trouble that occurred, with its count.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages taken, {} refused; {} steps timed out, {} iterations failed by quorum, highest {}; {} times \
             followed to a later iteration, {} branches given up, {} double votes seen, {} own messages sent again",
            self.delivered,
            self.rejected,
            self.timeouts,
            self.failed_iterations,
            self.highest_iteration,
            self.caught_up,
            self.forks,
            self.double_votes,
            self.sent_again,
        )?;
        for trouble in Trouble::ALL {
            write!(f, "{} {trouble:?} {}", if trouble == Trouble::Lost { ";" } else { "," }, self.of(trouble))?;
        }
        Ok(())
    }
}
