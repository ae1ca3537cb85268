//! Rules of a header on a network of any number of provisioners.
//!
//! Source: `verify_block_header_fields` of the published node's `header_validation.rs`, in its order. Stricter: the hash is
//! recomputed; the gas limit is the network's; iterations from 50 on do not exist (the published emergency block with
//! iteration 255 included); `failed_iterations` has exactly one entry for each earlier iteration, up to eight; and all
//! attestations are checked as in [`crate::sa::attestation`]. Whether a block with this hash is stored already is the
//! caller's to know.

use dusk_node_data::ledger::{Attestation, Header};
use dusk_node_data::message::{BLOCK_HEADER_VERSION, ConsensusHeader};

use crate::block::{CLOCK_MARGIN, LedgerParams, header_hash};
use crate::keys::{AccountId, KeyError};
pub use crate::sa::attestation::unattested;
use crate::sa::attestation::{AttestationError, Expect, Voters, listed, verify_attestation, voters};
use crate::sa::bls::Bls;
use crate::sa::committee::Committees;
use crate::sa::rules::MAX_ITERATION;

/// Against what a header is checked.
#[derive(Debug, Clone, Copy)]
pub struct HeaderContext<'a> {
    /// The header below.
    pub parent: &'a Header,
    /// Committees of the header's round: drawn from the parent's seed and the stakes after it.
    pub committees: &'a Committees,
    /// Committees of the parent's round; `None` only if the parent is the genesis block.
    pub previous: Option<&'a Committees>,
    /// The network.
    pub params: &'a LedgerParams,
}

/// How far the block has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Proposed: it has no attestation yet. `now` is the local clock in Unix seconds.
    Candidate {
        /// The local clock in Unix seconds.
        now: u64,
    },
    /// To be accepted: its attestation counts.
    Accept {
        /// The local clock in Unix seconds, `None` for a block that was accepted earlier.
        now: Option<u64>,
    },
}

/// What a header proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderFacts {
    /// Earlier iterations of its round that failed without an attestation (PNI).
    pub unattested: u8,
    /// Voters of the parent's certificate with their credits, ascending by key; nobody above the genesis block.
    pub cert_voters: Voters,
    /// Voters of its own attestation; nobody for a candidate.
    pub att_voters: Voters,
}

/// Which attestation of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// `prev_block_cert`.
    Certificate,
    /// `att`.
    Own,
    /// The entry of `failed_iterations` with this index.
    Failed(usize),
}

/// Why a header is not the next one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not one above the parent.
    #[error("height {got} does not follow {parent}")]
    Height {
        /// What the header says.
        got: u64,
        /// Height of the parent.
        parent: u64,
    },
    /// The context's committees are of other rounds: a mistake of the caller.
    #[error("the committees are not those of the header's round")]
    Context,
    /// An iteration that does not exist.
    #[error("iteration {0} does not exist")]
    Iteration(u8),
    /// Not made by who was drawn.
    #[error("the generator of this iteration is another one")]
    Generator,
    /// The signature over the hash.
    #[error("the block signature: {0}")]
    Signature(KeyError),
    /// A format that is not known.
    #[error("header version {0} is not supported")]
    Version(u8),
    /// The hash is not that of the fields.
    #[error("the hash is not that of the header")]
    Hash,
    /// Too soon after the parent.
    #[error("timestamp {got} is before {earliest}, the earliest after the parent")]
    TooEarly {
        /// What the header says.
        got: u64,
        /// What is possible.
        earliest: u64,
    },
    /// Ahead of the local clock.
    #[error("timestamp {got} is ahead of the clock, which says {now}")]
    Future {
        /// What the header says.
        got: u64,
        /// The clock.
        now: u64,
    },
    /// Another parent.
    #[error("the block below is another one")]
    Parent,
    /// The seed is not the generator's signature over the parent's.
    #[error("the seed: {0}")]
    Seed(KeyError),
    /// Not the network's.
    #[error("gas limit {got}, the network has {want}")]
    GasLimit {
        /// What the header says.
        got: u64,
        /// The network's.
        want: u64,
    },
    /// An attestation that proves nothing.
    #[error("{which:?} attestation: {error}")]
    Attestation {
        /// Which one.
        which: Which,
        /// What is wrong.
        error: AttestationError,
    },
    /// A certificate where there can be none.
    #[error("the genesis block has no certificate")]
    GenesisCertificate,
    /// A list of failed iterations that does not fit the iteration.
    #[error("{got} failed iterations are listed in iteration {iteration}, not {want}")]
    FailedIterations {
        /// Entries.
        got: usize,
        /// Entries there should be.
        want: usize,
        /// The header's iteration.
        iteration: u8,
    },
    /// A failed iteration that names the wrong generator.
    #[error("failed iteration {0} had another generator")]
    FailedGenerator(usize),
}

impl HeaderError {
    /// Whether a voter votes *Invalid* because of it. Otherwise it does not vote at all: the block may be right for others
    /// (another tip, another clock), or proves nothing about its generator (a bad signature).
    ///
    /// Source: `must_vote` of the published `HeaderError`.
    pub fn is_vote(&self) -> bool {
        match self {
            Self::Height { .. }
            | Self::Context
            | Self::Iteration(_)
            | Self::Generator
            | Self::Signature(_)
            | Self::Hash
            | Self::Future { .. }
            | Self::Parent => false,
            Self::Version(_)
            | Self::TooEarly { .. }
            | Self::Seed(_)
            | Self::GasLimit { .. }
            | Self::Attestation { .. }
            | Self::GenesisCertificate
            | Self::FailedIterations { .. }
            | Self::FailedGenerator(_) => true,
        }
    }
}

/// Checks everything of a header that needs neither transactions nor state.
///
/// `known` are attestations that were verified before, for the block that the certificate should be of: a chain that is read from
/// the start then verifies each one once.
///
/// # Errors
/// The first rule that is broken.
pub fn verify_header<B: Bls>(
    bls: &B,
    context: &HeaderContext<'_>,
    header: &Header,
    stage: Stage,
    known: &dyn Fn(&[u8; 32], &Attestation) -> bool,
) -> Result<HeaderFacts, HeaderError> {
    let HeaderContext { parent, committees, previous, params } = *context;
    if header.iteration >= MAX_ITERATION {
        return Err(HeaderError::Iteration(header.iteration));
    }
    if parent.height.checked_add(1) != Some(header.height) {
        return Err(HeaderError::Height { got: header.height, parent: parent.height });
    }
    let fits = |committees: &Committees, round| committees.round() == round;
    if !fits(committees, header.height)
        || committees.seed() != parent.seed.inner()
        || previous.map_or(parent.height > 0, |previous| !fits(previous, parent.height))
    {
        return Err(HeaderError::Context);
    }

    let generator = committees
        .generator(header.iteration)
        .filter(|id| *id.as_bytes() == header.generator_bls_pubkey.0)
        .ok_or(HeaderError::Generator)?;
    if header_hash(header).ok() != Some(header.hash) {
        return Err(HeaderError::Hash);
    }
    let signed = |message: &[u8], signature: &[u8; 48]| signed(bls, &generator, message, signature);
    signed(&header.hash, header.signature.inner()).map_err(HeaderError::Signature)?;
    if header.version != BLOCK_HEADER_VERSION {
        return Err(HeaderError::Version(header.version));
    }
    let earliest = parent.timestamp.saturating_add(params.block_time);
    if header.timestamp < earliest {
        return Err(HeaderError::TooEarly { got: header.timestamp, earliest });
    }
    let now = match stage {
        Stage::Candidate { now } => Some(now),
        Stage::Accept { now } => now,
    };
    if let Some(now) = now.filter(|now| header.timestamp > now.saturating_add(CLOCK_MARGIN)) {
        return Err(HeaderError::Future { got: header.timestamp, now });
    }
    if header.prev_block_hash != parent.hash {
        return Err(HeaderError::Parent);
    }
    signed(parent.seed.inner(), header.seed.inner()).map_err(HeaderError::Seed)?;
    if header.gas_limit != params.block_gas_limit {
        return Err(HeaderError::GasLimit { got: header.gas_limit, want: params.block_gas_limit });
    }

    let cert_voters = match previous.filter(|_| parent.height > 0) {
        None if header.prev_block_cert == Attestation::default() => Voters::new(),
        None => return Err(HeaderError::GenesisCertificate),
        Some(previous) => {
            let round = parent.to_consensus_header();
            success(bls, &header.prev_block_cert, &round, &parent.hash, previous, known)
                .map_err(|error| HeaderError::Attestation { which: Which::Certificate, error })?
        }
    };
    let att_voters = match stage {
        Stage::Candidate { .. } => Voters::new(),
        Stage::Accept { .. } => {
            let round = header.to_consensus_header();
            success(bls, &header.att, &round, &header.hash, committees, known)
                .map_err(|error| HeaderError::Attestation { which: Which::Own, error })?
        }
    };
    let unattested = failed_iterations(bls, header, committees)?;
    Ok(HeaderFacts { unattested, cert_voters, att_voters })
}

fn signed<B: Bls>(bls: &B, signer: &AccountId, message: &[u8], signature: &[u8; 48]) -> Result<(), KeyError> {
    bls.verify(&[&bls.key(signer)?], message, signature)
}

fn success<B: Bls>(
    bls: &B,
    attestation: &Attestation,
    round: &ConsensusHeader,
    hash: &[u8; 32],
    committees: &Committees,
    known: &dyn Fn(&[u8; 32], &Attestation) -> bool,
) -> Result<Voters, AttestationError> {
    if known(hash, attestation) {
        return voters(attestation, round, committees);
    }
    verify_attestation(bls, attestation, round, committees, Expect::Success(hash))
}

/// Checks the list of failed iterations and counts those that are not attested.
fn failed_iterations<B: Bls>(bls: &B, header: &Header, committees: &Committees) -> Result<u8, HeaderError> {
    let (list, iteration) = (&header.failed_iterations.att_list, header.iteration);
    for (index, entry) in list.iter().enumerate().take(listed(iteration)) {
        let Some((attestation, generator)) = entry else { continue };
        // Eight entries at most.
        let failed = u8::try_from(index).unwrap_or(u8::MAX);
        if committees.generator(failed).is_none_or(|id| *id.as_bytes() != generator.0) {
            return Err(HeaderError::FailedGenerator(index));
        }
        let round = ConsensusHeader { iteration: failed, ..header.to_consensus_header() };
        verify_attestation(bls, attestation, &round, committees, Expect::Fail)
            .map_err(|error| HeaderError::Attestation { which: Which::Failed(index), error })?;
    }
    let want = listed(iteration);
    unattested(header).ok_or(HeaderError::FailedIterations { got: list.len(), want, iteration })
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
