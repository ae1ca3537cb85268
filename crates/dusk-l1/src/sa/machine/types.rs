//! What goes into a machine and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

use dusk_node_data::ledger::{Attestation, Fault, Header, IterationInfo, Signature};
use dusk_node_data::message::ConsensusHeader;
use dusk_node_data::message::payload::Vote;

use crate::Block;
use crate::finality::Finality;
use crate::keys::AccountId;
use crate::sa::ballots::{BallotKey, Ballots};
use crate::sa::provisioners::Provisioners;
use crate::sa::rules::{Step, StepKind};
use crate::sa::timeouts::Timeouts;
use crate::sa::triage::Checked;
use crate::sa::wire::{
    CandidateFrame, Frame, RatificationFrame, ValidationResult, VoteFrame, WireError, decode_header, signed_bytes,
};
use crate::sha3::sha3_256;

/// The two clocks of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Never goes back; timers are in it.
    pub mono: Duration,
    /// Since the Unix epoch; slots are in it.
    pub unix: Duration,
}

/// A peer, as the owner numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// A message whose further way the network layer decides by the machine's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Where a frame came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Its sender.
    pub peer: PeerId,
    /// Absent when the frame was an answer, or waited here: nobody asks for a verdict then.
    pub token: Option<Token>,
}

/// The newest block and what the round above it needs.
#[derive(Debug, Clone)]
pub struct TipInfo {
    /// Its header, attestation included.
    pub header: Header,
    /// Faults in the block, so that they are not proposed again.
    pub faults: Vec<Fault>,
    /// Provisioners after the block.
    pub provisioners: Arc<Provisioners>,
    /// How ripe the newest blocks are.
    pub labels: Finality,
    /// The blocks that are not final and the last final one, ascending, up to and without the tip.
    pub recent: Vec<Recent>,
}

/// A block below the tip that may still be replaced, or the last final one.
#[derive(Debug, Clone)]
pub struct Recent {
    /// Its header.
    pub header: Header,
    /// Provisioners after it.
    pub provisioners: Arc<Provisioners>,
}

/// What a machine starts from.
#[derive(Debug)]
pub struct Start {
    /// The newest block.
    pub tip: Arc<TipInfo>,
    /// What was signed before.
    pub ballots: Ballots,
    /// Measured step times.
    pub timeouts: Timeouts,
    /// Hash of the tip and iteration that ran above it, from [`Persist::Resume`].
    pub resume: Option<([u8; 32], u8)>,
    /// The journal of own messages holds nothing, though blocks may have been voted on: nothing is signed in iterations
    /// that may have been reached before the start. Means nothing to a sole provisioner, nor at the genesis block unless
    /// [`signed_before`](Self::signed_before).
    pub journal_lost: bool,
    /// Of a lost journal: the key is known to have begun on this network before, so that also above the genesis block it may have
    /// signed anything.
    pub signed_before: bool,
    /// Frame of the quorum whose block was awaited, from [`Persist::Awaited`]. It counts if it is of the round above the tip.
    pub awaited: Option<Arc<[u8]>>,
}

/// A block from a peer, attested.
#[derive(Debug, Clone)]
pub struct SyncBlock {
    /// Header, as `bytes` hold it.
    pub header: Header,
    /// The encoded block.
    pub bytes: Arc<[u8]>,
}

impl SyncBlock {
    /// Reads the header of an encoded block.
    pub fn new(bytes: Arc<[u8]>) -> Result<Self, WireError> {
        Ok(Self { header: decode_header(&bytes)?, bytes })
    }
}

/// What a provisioner thinks of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Votes for it.
    Valid,
    /// Votes against it.
    Invalid,
    /// Cannot say: no vote.
    Abstain,
}

/// Why a block was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyFailure {
    /// It breaks a rule.
    Invalid,
    /// It does not fit the tip any more.
    Outdated,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// Begins the first round. Before anything else, once.
    Begin,
    /// A timer fired, perhaps one that was set anew meanwhile.
    Timer(TimerId),
    /// A frame that [`crate::sa::triage::Check::run`] passed.
    Frame {
        /// Its sender.
        from: Source,
        /// The frame.
        frame: Checked<Frame>,
    },
    /// A frame that [`super::Machine::triage`] put off.
    Later {
        /// Its sender.
        from: Source,
        /// The frame.
        frame: Frame,
    },
    /// The block of [`Action::Build`]: unsigned, hash set. None if it could not be built.
    Built {
        /// Round of the request.
        round: u64,
        /// Iteration of the request.
        iteration: u8,
        /// The block.
        block: Option<Arc<Block>>,
    },
    /// Answer to [`Action::Check`].
    Verdict {
        /// Round of the block.
        round: u64,
        /// Iteration of the block.
        iteration: u8,
        /// Hash of the block.
        hash: [u8; 32],
        /// What its check found.
        verdict: Verdict,
    },
    /// An own message: signed and journalled.
    Signed {
        /// What it is for.
        key: BallotKey,
        /// The whole frame.
        frame: Arc<[u8]>,
    },
    /// The journal holds another message for this step: nothing was signed.
    Refused {
        /// What it was for.
        key: BallotKey,
    },
    /// Answer to [`Action::Apply`].
    Applied(Result<Arc<TipInfo>, ApplyFailure>),
    /// Answer to [`Action::RevertTo`].
    Reverted(Result<Arc<TipInfo>, ApplyFailure>),
    /// Blocks that were asked for, ascending.
    Blocks {
        /// Who sent them.
        from: PeerId,
        /// The blocks.
        blocks: Vec<SyncBlock>,
    },
}

/// Which timer. Setting one again replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimerId {
    /// The time before which no candidate is voted on.
    Slot,
    /// The running step.
    Step,
    /// A block that is attested but not here.
    Missing,
    /// Looks whether others are ahead or elsewhere.
    Heartbeat,
}

/// On which of the network's channels a frame goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Votes and quorums.
    Votes,
    /// Candidates.
    Candidates,
}

/// What is asked of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Attested blocks of these heights, answered by [`Event::Blocks`].
    Range {
        /// First height.
        from: u64,
        /// Last height.
        to: u64,
    },
    /// The block with this hash, attested or not, answered by [`Event::Blocks`].
    Block([u8; 32]),
    /// A candidate, answered by its frame.
    CandidateOf(ConsensusHeader),
    /// A Validation quorum, answered by its frame.
    Validation(ConsensusHeader),
}

/// What to keep over a restart. Losing it costs time, never safety.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Persist {
    /// The running iteration above a block.
    Resume {
        /// Hash of that block.
        prev: [u8; 32],
        /// The iteration.
        iteration: u8,
    },
    /// Step times, as [`Timeouts::encode`] writes them.
    Timeouts(Vec<u8>),
    /// A block was agreed on and is awaited, or about to be applied.
    Awaited {
        /// Frame of its quorum.
        quorum: Arc<[u8]>,
        /// The block is here: only a crash before it is stored would lose it.
        at_hand: bool,
    },
}

/// For metrics and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Note {
    /// An iteration begins.
    Iteration { round: u64, iteration: u8 },
    /// A step ran out of time.
    TimedOut { round: u64, iteration: u8, kind: StepKind },
    /// A Validation quorum.
    Validated { round: u64, iteration: u8, vote: Vote },
    /// An iteration's outcome, built here or heard.
    Quorum { round: u64, iteration: u8, vote: Vote, built: bool },
    /// Followed others to a later iteration.
    CaughtUp { round: u64, iteration: u8 },
    /// A generator proposed two blocks.
    TwoCandidates { round: u64, iteration: u8 },
    /// A provisioner voted twice: evidence.
    TwoVotes { step: Step, first: Box<VoteFrame>, second: Box<VoteFrame> },
    /// A well signed message of this node's own key that this node did not sign: its owner should call
    /// [`Machine::mute`](super::Machine::mute).
    OtherSigner { round: u64, step: Step },
    /// Blocks are fetched from this height on.
    Syncing { from: u64 },
    /// Another branch is taken from this height on.
    Fork { height: u64 },
    /// Nothing was accepted for long.
    Stalled { round: u64 },
}

/// What the owner is to do.
#[derive(Debug)]
pub enum Action {
    /// Send a frame to everybody.
    Publish(Channel, Arc<[u8]>),
    /// The frame is good: pass it on.
    Accept(Token),
    /// The frame is of no use: do not pass it on.
    Ignore(Token),
    /// Triage these again: their round has begun.
    Again(Vec<(Source, Frame)>),
    /// Fire a timer at this monotonic time.
    SetTimer {
        /// Which.
        id: TimerId,
        /// When.
        at: Duration,
    },
    /// Build a block.
    Build {
        /// Its height.
        round: u64,
        /// Its iteration.
        iteration: u8,
        /// Its parent's hash.
        parent: [u8; 32],
        /// The parent's attestation.
        cert: Attestation,
        /// What the block lists of the iterations before.
        failed: Vec<Option<IterationInfo>>,
        /// Evidence to include, if it still holds.
        faults: Vec<Fault>,
    },
    /// Check a candidate: header, body, execution.
    Check {
        /// The candidate.
        block: Arc<CandidateFrame>,
    },
    /// Sign, journal, report.
    Sign {
        /// What for.
        key: BallotKey,
        /// What.
        what: Unsigned,
    },
    /// Check a block with its attestation, execute it on the tip and store it.
    Apply {
        /// The encoded block, with or without an attestation.
        bytes: Arc<[u8]>,
        /// Its hash.
        hash: [u8; 32],
        /// Its attestation.
        attestation: Attestation,
    },
    /// Undo blocks until the block with this hash is the tip.
    RevertTo {
        /// The new tip.
        hash: [u8; 32],
    },
    /// Ask a peer.
    Request {
        /// Whom; nobody in particular if absent.
        peer: Option<PeerId>,
        /// For what.
        want: Want,
    },
    /// Keep something.
    Persist(Persist),
    /// Report something.
    Note(Note),
}

/// What is to be signed.
#[derive(Debug, Clone)]
pub enum Unsigned {
    /// A block, its hash set.
    Candidate(Arc<Block>),
    /// A vote.
    Vote {
        /// Validation or Ratification.
        kind: StepKind,
        /// Round, iteration and parent.
        header: ConsensusHeader,
        /// For what.
        vote: Vote,
        /// Of a Ratification vote: what it rests on.
        result: Option<ValidationResult>,
    },
}

impl Unsigned {
    /// The bytes to sign.
    pub fn signable(&self) -> Vec<u8> {
        match self {
            Self::Candidate(block) => block.header().hash.to_vec(),
            Self::Vote { kind, header, vote, .. } => signed_bytes(*kind, header, vote).to_vec(),
        }
    }

    /// Tells messages apart for [`Ballots::cast`]: the hash of what is signed.
    pub fn digest(&self) -> [u8; 32] {
        sha3_256(&[&self.signable()])
    }

    /// The signed frame. `unix` (seconds) goes into Ratification votes. Fails if a block does not encode.
    pub fn frame(&self, signer: &AccountId, signature: [u8; 48], unix: u64) -> Result<Frame, WireError> {
        Ok(match self {
            Self::Candidate(block) => {
                let mut block = Block::clone(block);
                block.set_signature(Signature::from(signature));
                Frame::Candidate(Arc::new(CandidateFrame::from_block(&block)?))
            }
            Self::Vote { kind, header, vote, result } => {
                let frame = VoteFrame { header: *header, vote: *vote, signer: *signer.as_bytes(), signature };
                match (kind, result) {
                    (StepKind::Ratification, Some(result)) => {
                        Frame::Ratification(RatificationFrame { vote: frame, timestamp: unix, result: *result })
                    }
                    _ => Frame::Validation(frame),
                }
            }
        })
    }
}

/// Where a machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Height that is worked on.
    pub round: u64,
    /// Its iteration.
    pub iteration: u8,
    /// Its step.
    pub kind: StepKind,
    /// The last iteration ran out of time.
    pub open: bool,
    /// Hash of an attested block that is not here.
    pub missing: Option<[u8; 32]>,
    /// A block is being applied, or blocks undone.
    pub applying: bool,
}
