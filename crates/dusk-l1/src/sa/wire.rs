//! Frames of the network, field by field, without decompressing a point.
//!
//! The bytes are those of `dusk-node-data` 1.7 (`message`, `encoding`): version 1.0.0 in five bytes, a topic byte, the
//! payload. That crate's own reader decompresses and checks the signer's point while it reads a vote, before anything is
//! known about the vote; here keys and signatures stay bytes until the sender is known to be a member of the committee.
//!
//! Decoding is exact: what decodes encodes to the same bytes, and whatever follows the payload is an error. It is
//! stricter than the published reader in what an honest node never sends: another version, a quorum byte that does not
//! belong to its vote, an iteration that does not exist, a Ratification vote that contradicts its own validation result,
//! a Validation vote for `NoQuorum`, a candidate that carries its own attestation. Blocks and certificates are not
//! judged here, so that those of a foreign chain decode.

use std::ops::Deref;
use std::sync::Arc;

use dusk_node_data::Serializable;
use dusk_node_data::ledger::{Attestation, Block, Header, StepVotes};
use dusk_node_data::message::ConsensusHeader;
use dusk_node_data::message::payload::{QuorumType, Vote};

use crate::sa::rules::{MAX_BLOCK_BYTES, MAX_ITERATION, Step, StepKind};

mod body;
mod inventory;

pub use inventory::{Inventory, Item, MAX_ITEMS, ResourceRequest};

/// Version 1.0.0: one byte, then twice two.
pub const VERSION: [u8; 5] = [1, 0, 0, 0, 0];

/// Bytes in front of a payload: version and topic.
pub const FRAME_PREFIX: usize = VERSION.len() + 1;

/// What a frame carries. The numbers are those of the published node (`Topics`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FrameTopic {
    /// Asks for resources, to be sent to an address.
    GetResource = 8,
    /// Asks for the blocks after one.
    GetBlocks = 9,
    /// A transaction.
    Tx = 10,
    /// A block with its attestation.
    Block = 11,
    /// Asks for the pool.
    GetMempool = 13,
    /// Names of resources.
    Inv = 14,
    /// A block that its generator proposes.
    Candidate = 16,
    /// A vote of the first committee.
    Validation = 17,
    /// A vote of the second committee.
    Ratification = 18,
    /// The outcome of an iteration.
    Quorum = 19,
    /// The outcome of a Validation step.
    ValidationQuorum = 20,
}

impl FrameTopic {
    /// All topics.
    pub const ALL: [Self; 11] = [
        Self::GetResource,
        Self::GetBlocks,
        Self::Tx,
        Self::Block,
        Self::GetMempool,
        Self::Inv,
        Self::Candidate,
        Self::Validation,
        Self::Ratification,
        Self::Quorum,
        Self::ValidationQuorum,
    ];

    /// The topic of a byte, if it is one.
    pub fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| *topic as u8 == byte)
    }
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Fewer bytes than the frame says, or than any frame has.
    #[error("the frame ends inside its {0}")]
    Short(&'static str),
    /// Not version 1.0.0.
    #[error("protocol version {0:?} is not 1.0.0")]
    Version([u8; 5]),
    /// A topic that does not exist.
    #[error("unknown topic {0}")]
    Topic(u8),
    /// More bytes than the topic allows.
    #[error("a {topic:?} payload of {bytes} bytes is longer than {limit}")]
    Oversize {
        /// What the frame says it is.
        topic: FrameTopic,
        /// Bytes of its payload.
        bytes: usize,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// A count above its limit.
    #[error("{count} {what} are more than {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are claimed.
        count: u32,
        /// How many are allowed.
        limit: u32,
    },
    /// A field with a value that it cannot have.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// An iteration that does not exist.
    #[error("iteration {0} does not exist")]
    Iteration(u8),
    /// Fields that contradict each other.
    #[error("contradictory message: {0}")]
    Contradiction(&'static str),
    /// Bytes after the end.
    #[error("{0} bytes follow the payload")]
    Trailing(usize),
}

/// Most payload bytes of the topics whose size varies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A candidate: a block as it is proposed.
    pub candidate: usize,
    /// A block with its attestation.
    pub block: usize,
    /// A transaction with its version, type and length.
    pub transaction: usize,
    /// Entries of an inventory.
    pub items: u32,
}

impl Default for Limits {
    /// Blocks of 1 MiB (the attestation of an accepted block comes on top), transactions of one such block, inventories
    /// as the published node takes them.
    fn default() -> Self {
        Self {
            candidate: MAX_BLOCK_BYTES,
            block: MAX_BLOCK_BYTES + Vote::Valid([0; 32]).size() - Vote::NoQuorum.size(),
            transaction: 1_047_713 + 12,
            items: MAX_ITEMS,
        }
    }
}

impl Limits {
    /// Most bytes of a payload of `topic`.
    pub fn payload(&self, topic: FrameTopic) -> usize {
        const HASH_VOTE: usize = 1 + 32;
        const RESULT: usize = VOTES + HASH_VOTE + 1;
        match topic {
            FrameTopic::Candidate => self.candidate,
            FrameTopic::Block => self.block,
            FrameTopic::Tx => self.transaction,
            FrameTopic::Inv => inventory::max_bytes(self.items),
            FrameTopic::GetResource => inventory::max_bytes(self.items) + inventory::REQUEST_TAIL,
            FrameTopic::GetBlocks => 32 + 8,
            FrameTopic::GetMempool => 8,
            FrameTopic::Validation => HEADER + HASH_VOTE + SIGN_INFO,
            FrameTopic::Ratification => HEADER + HASH_VOTE + 8 + RESULT + SIGN_INFO,
            FrameTopic::Quorum => HEADER + 1 + HASH_VOTE + 2 * VOTES,
            FrameTopic::ValidationQuorum => HEADER + RESULT,
        }
    }
}

/// Bytes of a consensus header.
pub(crate) const HEADER: usize = 32 + 8 + 1;
/// Bytes of signer and signature.
pub(crate) const SIGN_INFO: usize = 96 + 48;
/// Bytes of a step's votes.
const VOTES: usize = 8 + 48;

/// A frame of the network.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// A proposed block.
    Candidate(Arc<CandidateFrame>),
    /// A vote of the first committee.
    Validation(VoteFrame),
    /// A vote of the second committee.
    Ratification(RatificationFrame),
    /// The outcome of an iteration.
    Quorum(QuorumFrame),
    /// The outcome of a Validation step.
    ValidationQuorum(VqFrame),
    /// A block: its bytes, well-formed in structure, transactions and faults not decoded.
    Block(Arc<[u8]>),
    /// A transaction: version, type, length and envelope, not decoded.
    Tx(Arc<[u8]>),
    /// Asks for resources.
    GetResource(ResourceRequest),
    /// Asks for the blocks after `locator`.
    GetBlocks {
        /// Hash of the last common block.
        locator: [u8; 32],
        /// Makes equal requests of different senders differ.
        nonce: u64,
    },
    /// Asks for the pool.
    GetMempool {
        /// Makes equal requests of different senders differ.
        nonce: u64,
    },
    /// Names of resources.
    Inv(Inventory),
}

impl Frame {
    /// What the frame carries.
    pub fn topic(&self) -> FrameTopic {
        match self {
            Self::Candidate(_) => FrameTopic::Candidate,
            Self::Validation(_) => FrameTopic::Validation,
            Self::Ratification(_) => FrameTopic::Ratification,
            Self::Quorum(_) => FrameTopic::Quorum,
            Self::ValidationQuorum(_) => FrameTopic::ValidationQuorum,
            Self::Block(_) => FrameTopic::Block,
            Self::Tx(_) => FrameTopic::Tx,
            Self::GetResource(_) => FrameTopic::GetResource,
            Self::GetBlocks { .. } => FrameTopic::GetBlocks,
            Self::GetMempool { .. } => FrameTopic::GetMempool,
            Self::Inv(_) => FrameTopic::Inv,
        }
    }

    /// Round, iteration and parent of a consensus message; nothing for the others.
    pub fn consensus_header(&self) -> Option<ConsensusHeader> {
        match self {
            Self::Candidate(candidate) => Some(candidate.consensus_header()),
            Self::Validation(vote) => Some(vote.header),
            Self::Ratification(ratification) => Some(ratification.vote.header),
            Self::Quorum(quorum) => Some(quorum.header),
            Self::ValidationQuorum(quorum) => Some(quorum.header),
            _ => None,
        }
    }

    /// The step to which a consensus message belongs: that of its votes. The published node counts a ValidationQuorum as
    /// part of the Proposal and so never takes it in time.
    pub fn step(&self) -> Option<Step> {
        let kind = match self {
            Self::Candidate(_) => StepKind::Proposal,
            Self::Validation(_) | Self::ValidationQuorum(_) => StepKind::Validation,
            Self::Ratification(_) | Self::Quorum(_) => StepKind::Ratification,
            _ => return None,
        };
        Step::new(self.consensus_header()?.iteration, kind)
    }
}

/// A block as its generator proposes it.
#[derive(Debug, Clone, PartialEq)]
pub struct CandidateFrame {
    header: Header,
    bytes: Arc<[u8]>,
}

impl CandidateFrame {
    /// Reads the header and walks over the rest. Transactions stay undecoded: each holds keys whose decompression takes
    /// longer than everything else here.
    pub fn from_bytes(bytes: Arc<[u8]>) -> Result<Self, WireError> {
        let header = body::walk(&bytes)?;
        exists(header.iteration)?;
        if header.att != Attestation::default() {
            return Err(WireError::Contradiction("a candidate that is attested already"));
        }
        Ok(Self { header, bytes })
    }

    /// The frame of a block that was made here.
    pub fn from_block(block: &Block) -> Result<Self, WireError> {
        Self::from_bytes(written(block).into())
    }

    /// The header. Its hash is what the sender says it is.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The encoded block.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// Round, iteration and parent.
    pub fn consensus_header(&self) -> ConsensusHeader {
        self.header.to_consensus_header()
    }

    /// Decodes the transactions, milliseconds of work for each. Fails unless the bytes are the canonical ones.
    pub fn block(&self) -> Result<Block, WireError> {
        body::block(&self.bytes)
    }
}

/// Decodes a block with all of its transactions. Fails unless `bytes` are the canonical ones.
pub fn decode_block(bytes: &[u8]) -> Result<Block, WireError> {
    body::block(bytes)
}

/// Reads the header of an encoded block, which must be well-formed in structure to its end.
pub fn decode_header(bytes: &[u8]) -> Result<Header, WireError> {
    body::walk(bytes)
}

/// A vote of either committee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteFrame {
    /// Round, iteration and parent.
    pub header: ConsensusHeader,
    /// For what.
    pub vote: Vote,
    /// Compressed key of the voter, not checked.
    pub signer: [u8; 96],
    /// Compressed signature, not checked.
    pub signature: [u8; 48],
}

impl VoteFrame {
    /// What is signed when the vote belongs to `step`.
    pub fn signed_bytes(&self, step: StepKind) -> SignedBytes {
        signed_bytes(step, &self.header, &self.vote)
    }
}

/// A vote of the second committee, with the outcome of the first on which it rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatificationFrame {
    /// The vote itself. Only this is signed.
    pub vote: VoteFrame,
    /// When it was made, in seconds. Not signed, not used.
    pub timestamp: u64,
    /// The Validation quorum for the same vote. Not signed by the voter.
    pub result: ValidationResult,
}

/// Outcome of a Validation step. The published form has a third field, the kind of quorum, which follows from the vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ValidationResult {
    /// The votes of the quorum. Empty without one.
    pub votes: StepVotes,
    /// What they agree on; `NoQuorum` if the step ran out of time.
    pub vote: Vote,
}

impl ValidationResult {
    /// No quorum.
    pub fn none() -> Self {
        Self::default()
    }

    fn kind(&self) -> QuorumType {
        match self.vote {
            Vote::Valid(_) => QuorumType::Valid,
            Vote::Invalid(_) => QuorumType::Invalid,
            Vote::NoCandidate => QuorumType::NoCandidate,
            Vote::NoQuorum => QuorumType::NoQuorum,
        }
    }

    /// Votes exactly when there is a quorum.
    fn check(&self) -> Result<(), WireError> {
        match (self.vote, is_empty(&self.votes)) {
            (Vote::NoQuorum, false) => Err(WireError::Contradiction("votes without a quorum")),
            (Vote::NoQuorum, true) | (_, false) => Ok(()),
            (_, true) => Err(WireError::Contradiction("a quorum without votes")),
        }
    }
}

/// The outcome of an iteration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumFrame {
    /// Round, iteration and parent.
    pub header: ConsensusHeader,
    /// The votes of both committees.
    pub attestation: Attestation,
}

/// The outcome of a Validation step, sent on its own in emergency mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VqFrame {
    /// Round, iteration and parent.
    pub header: ConsensusHeader,
    /// The outcome.
    pub result: ValidationResult,
}

/// Whether a step's votes are the empty ones. The published `is_empty` panics in debug builds on half-empty ones, which
/// any peer can send.
pub fn is_empty(votes: &StepVotes) -> bool {
    *votes == StepVotes::default()
}

/// The bytes that a vote signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedBytes {
    bytes: [u8; HEADER + 1 + 33],
    length: u8,
}

impl Deref for SignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// What a vote of `step` for `vote` signs: header ‖ `01` or `02` ‖ vote. Source: `SignedStepMessage::signable` of
/// Validation and Ratification. A Proposal has no votes; its `00` is used nowhere.
pub fn signed_bytes(step: StepKind, header: &ConsensusHeader, vote: &Vote) -> SignedBytes {
    let mut bytes = [0; HEADER + 1 + 33];
    bytes[..32].copy_from_slice(&header.prev_block_hash);
    bytes[32..40].copy_from_slice(&header.round.to_le_bytes());
    bytes[40] = header.iteration;
    bytes[41] = step as u8;
    let (tag, hash) = match vote {
        Vote::NoCandidate => (0, None),
        Vote::Valid(hash) => (1, Some(hash)),
        Vote::Invalid(hash) => (2, Some(hash)),
        Vote::NoQuorum => (3, None),
    };
    bytes[42] = tag;
    let mut length = 43;
    if let Some(hash) = hash {
        bytes[43..].copy_from_slice(hash);
        length += 32;
    }
    SignedBytes { bytes, length }
}

/// Decodes one frame. No count or length of the sender's is believed before it is compared with `limits`.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Frame, WireError> {
    let (version, rest) = bytes.split_first_chunk().ok_or(WireError::Short("version"))?;
    if *version != VERSION {
        return Err(WireError::Version(*version));
    }
    let (topic, payload) = rest.split_first().ok_or(WireError::Short("topic"))?;
    let topic = FrameTopic::of(*topic).ok_or(WireError::Topic(*topic))?;
    let limit = limits.payload(topic);
    if payload.len() > limit {
        return Err(WireError::Oversize { topic, bytes: payload.len(), limit });
    }
    let mut reader = Reader(payload);
    let frame = match topic {
        FrameTopic::Candidate => {
            return Ok(Frame::Candidate(Arc::new(CandidateFrame::from_bytes(payload.into())?)));
        }
        FrameTopic::Block => {
            body::walk(payload)?;
            return Ok(Frame::Block(payload.into()));
        }
        FrameTopic::Tx => {
            body::transaction(&mut reader)?;
            reader.end()?;
            return Ok(Frame::Tx(payload.into()));
        }
        FrameTopic::Validation => {
            let (header, vote) = (reader.consensus_header()?, reader.read("vote")?);
            if vote == Vote::NoQuorum {
                return Err(WireError::Contradiction("a Validation vote for NoQuorum"));
            }
            Frame::Validation(reader.signed(header, vote)?)
        }
        FrameTopic::Ratification => {
            let (header, vote) = (reader.consensus_header()?, reader.read("vote")?);
            let timestamp = u64::from_le_bytes(reader.array("timestamp")?);
            let result = reader.validation_result()?;
            if result.vote != vote {
                return Err(WireError::Contradiction("a Ratification vote that is not the Validation result"));
            }
            Frame::Ratification(RatificationFrame { vote: reader.signed(header, vote)?, timestamp, result })
        }
        FrameTopic::Quorum => {
            let header = reader.consensus_header()?;
            Frame::Quorum(QuorumFrame { header, attestation: reader.read("attestation")? })
        }
        FrameTopic::ValidationQuorum => {
            let header = reader.consensus_header()?;
            Frame::ValidationQuorum(VqFrame { header, result: reader.validation_result()? })
        }
        FrameTopic::GetBlocks => {
            Frame::GetBlocks { locator: reader.array("locator")?, nonce: u64::from_le_bytes(reader.array("nonce")?) }
        }
        FrameTopic::GetMempool => Frame::GetMempool { nonce: u64::from_le_bytes(reader.array("nonce")?) },
        FrameTopic::Inv => Frame::Inv(Inventory::read(&mut reader, limits.items)?),
        FrameTopic::GetResource => Frame::GetResource(ResourceRequest::read(&mut reader, limits.items)?),
    };
    reader.end()?;
    Ok(frame)
}

/// Encodes one frame.
pub fn encode(frame: &Frame) -> Vec<u8> {
    let mut out = VERSION.to_vec();
    out.push(frame.topic() as u8);
    match frame {
        Frame::Candidate(candidate) => out.extend_from_slice(&candidate.bytes),
        Frame::Block(bytes) | Frame::Tx(bytes) => out.extend_from_slice(bytes),
        Frame::Validation(vote) => {
            write(&mut out, &vote.header);
            write(&mut out, &vote.vote);
            write_signed(&mut out, vote);
        }
        Frame::Ratification(RatificationFrame { vote, timestamp, result }) => {
            write(&mut out, &vote.header);
            write(&mut out, &vote.vote);
            out.extend_from_slice(&timestamp.to_le_bytes());
            write_result(&mut out, result);
            write_signed(&mut out, vote);
        }
        Frame::Quorum(quorum) => {
            write(&mut out, &quorum.header);
            write(&mut out, &quorum.attestation);
        }
        Frame::ValidationQuorum(quorum) => {
            write(&mut out, &quorum.header);
            write_result(&mut out, &quorum.result);
        }
        Frame::GetBlocks { locator, nonce } => {
            out.extend_from_slice(locator);
            out.extend_from_slice(&nonce.to_le_bytes());
        }
        Frame::GetMempool { nonce } => out.extend_from_slice(&nonce.to_le_bytes()),
        Frame::Inv(inventory) => inventory.write(&mut out),
        Frame::GetResource(request) => request.write(&mut out),
    }
    out
}

fn write_result(out: &mut Vec<u8>, result: &ValidationResult) {
    write(out, &result.votes);
    write(out, &result.vote);
    out.push(result.kind() as u8);
}

fn write_signed(out: &mut Vec<u8>, vote: &VoteFrame) {
    out.extend_from_slice(&vote.signer);
    out.extend_from_slice(&vote.signature);
}

/// Appends the published form of `value`. Its writers fail only when the destination does, and a vector does not.
pub(crate) fn write<T: Serializable>(out: &mut Vec<u8>, value: &T) {
    let _: std::io::Result<()> = value.write(out);
}

pub(crate) fn written<T: Serializable>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, value);
    out
}

/// Refuses iterations that do not exist, the published emergency block's 255 among them.
fn exists(iteration: u8) -> Result<(), WireError> {
    if iteration < MAX_ITERATION { Ok(()) } else { Err(WireError::Iteration(iteration)) }
}

/// Reads from the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(WireError::Short(what))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(WireError::Short(what))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// One of the published types whose reader takes only what its writer makes and decompresses nothing.
    fn read<T: Serializable>(&mut self, what: &'static str) -> Result<T, WireError> {
        T::read(&mut self.0).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => WireError::Short(what),
            _ => WireError::Malformed(what),
        })
    }

    fn consensus_header(&mut self) -> Result<ConsensusHeader, WireError> {
        let header: ConsensusHeader = self.read("consensus header")?;
        exists(header.iteration)?;
        Ok(header)
    }

    fn validation_result(&mut self) -> Result<ValidationResult, WireError> {
        let (votes, vote) = (self.read("votes")?, self.read("vote")?);
        let result = ValidationResult { votes, vote };
        // The published reader turns every unknown kind into `NoQuorum`, so that one result has many forms.
        if self.array::<1>("kind of quorum")? != [result.kind() as u8] {
            return Err(WireError::Contradiction("the kind of quorum is not that of the vote"));
        }
        result.check()?;
        Ok(result)
    }

    fn signed(&mut self, header: ConsensusHeader, vote: Vote) -> Result<VoteFrame, WireError> {
        Ok(VoteFrame { header, vote, signer: self.array("signer")?, signature: self.array("signature")? })
    }

    fn end(&self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Trailing(self.0.len())) }
    }
}

#[cfg(test)]
mod tests;
