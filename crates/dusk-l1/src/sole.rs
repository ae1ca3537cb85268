//! A chain of one provisioner, made and checked the short way: for tests, as a second opinion on the rules for many.
//!
//! With a single eligible stake Dusk's sortition gives it all 64 credits of every committee, and each of its votes is a
//! quorum. The attestation made here is exactly that network's: real votes, signed and aggregated by the published code,
//! committee bit 0 set.

use dusk_node_data::ledger::{Attestation, Block, Header, StepVotes};
use dusk_node_data::message::payload::{Ratification, RatificationResult, Validation, ValidationResult, Vote};
use dusk_node_data::message::{BLOCK_HEADER_VERSION, SignInfo};

use crate::block::{BlockError, BuildError, Built, CLOCK_MARGIN, ExecutedBlock, LedgerParams, expect, header_hash};
use crate::body::{BlobsNeeded, Draft, build_body, verify_body};
use crate::contracts::NativeContracts;
use crate::forks;
use crate::genesis::Genesis;
use crate::keys::{AccountId, KeyError, Signer, sign_info, verify_multisig, verify_step};
use crate::merkle::merkle_root;
use crate::rewards::COMMITTEE_CREDITS;
use crate::state::StateRoot;
use crate::tx::VerifiedTx;

/// Bitset of a committee with one member.
const SOLE_MEMBER: u64 = 1;

fn validation(header: &Header, info: SignInfo) -> Validation {
    Validation { header: header.to_consensus_header(), vote: Vote::Valid(header.hash), sign_info: info }
}

fn ratification(header: &Header, info: SignInfo) -> Ratification {
    Ratification {
        header: header.to_consensus_header(),
        vote: Vote::Valid(header.hash),
        timestamp: header.timestamp,
        validation_result: ValidationResult::default(),
        sign_info: info,
    }
}

/// Votes for the block with `header` (its hash set) in both steps.
pub(crate) fn attest(provisioner: &Signer, header: &Header) -> Attestation {
    let mut first = validation(header, SignInfo::default());
    provisioner.sign_step(&mut first);
    let mut second = ratification(header, SignInfo::default());
    provisioner.sign_step(&mut second);
    Attestation {
        result: RatificationResult::Success(Vote::Valid(header.hash)),
        validation: StepVotes::new(*first.sign_info.signature.inner(), SOLE_MEMBER),
        ratification: StepVotes::new(*second.sign_info.signature.inner(), SOLE_MEMBER),
    }
}

/// Checks that `attestation` is the sole provisioner's for the block with `header` (its hash set).
fn verify(attestation: &Attestation, header: &Header, provisioner: &AccountId) -> Result<(), String> {
    if attestation.result != RatificationResult::Success(Vote::Valid(header.hash)) {
        return Err("does not attest the block".into());
    }
    let votes = |votes: &StepVotes| {
        if votes.bitset != SOLE_MEMBER {
            return Err("votes of others".to_owned());
        }
        sign_info(provisioner, votes.aggregate_signature()).map_err(|error| error.to_string())
    };
    let info = votes(&attestation.validation)?;
    verify_step(&validation(header, info)).map_err(|error| error.to_string())?;
    let info = votes(&attestation.ratification)?;
    verify_step(&ratification(header, info)).map_err(|error| error.to_string())
}

/// The voters of a certificate with their credits: everything to the sole provisioner, nobody for the empty one.
pub(crate) fn voters(attestation: &Attestation, provisioner: AccountId) -> Vec<(AccountId, u32)> {
    let credits = [attestation.validation.bitset, attestation.ratification.bitset]
        .into_iter()
        .filter(|bitset| *bitset == SOLE_MEMBER)
        .count() as u32
        * COMMITTEE_CREDITS as u32;
    if credits == 0 { Vec::new() } else { vec![(provisioner, credits)] }
}

/// What all blocks of a network with one provisioner share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChainParams {
    /// What does not depend on who makes the blocks.
    pub(crate) ledger: LedgerParams,
    /// The sole provisioner.
    pub(crate) producer: AccountId,
}

impl ChainParams {
    /// The parameters that `genesis` fixes.
    pub(crate) fn new(genesis: &Genesis) -> Self {
        let producer = genesis.provisioners().next().unwrap();
        Self { ledger: LedgerParams::new(genesis).unwrap(), producer }
    }
}

/// Earliest timestamp of the block after `parent`.
pub(crate) fn earliest_timestamp(parent: &Header, params: &ChainParams) -> u64 {
    parent.timestamp.saturating_add(params.ledger.block_time)
}

/// Makes the block after `parent` with as many of `candidates` as fit, in the order given.
///
/// `timestamp` is in Unix seconds. `state` is the state after `parent`.
pub(crate) fn build_block<'a, S: StateRoot + ?Sized>(
    parent: &Header,
    timestamp: u64,
    params: &ChainParams,
    signer: &Signer,
    state: &S,
    contracts: &dyn NativeContracts,
    candidates: impl IntoIterator<Item = &'a VerifiedTx>,
) -> Result<Built, BuildError> {
    forks::activate();
    let height = parent.height.checked_add(1).ok_or(BuildError::HeightOverflow)?;
    let header = Header {
        version: BLOCK_HEADER_VERSION,
        height,
        timestamp,
        prev_block_hash: parent.hash,
        seed: signer.sign_multisig(height, parent.seed.inner()),
        generator_bls_pubkey: dusk_node_data::bls::PublicKeyBytes(*signer.id().as_bytes()),
        gas_limit: params.ledger.block_gas_limit,
        prev_block_cert: parent.att,
        ..Default::default()
    };

    let voters = voters(&parent.att, params.producer);
    let draft = Draft { header, faults: Vec::new(), cert_voters: &voters };
    let mut built = build_body(draft, &params.ledger, state, contracts, candidates)?;
    let block = &mut built.block.block;
    block.set_signature(signer.sign_multisig(height, &block.header().hash));
    let attestation: Attestation = attest(signer, block.header());
    block.set_attestation(attestation);
    Ok(built)
}

/// Checks that `block` is the block after `parent` and computes its effects.
///
/// `now` is the local clock in Unix seconds, `None` for a block that was accepted earlier. `state` is the state after
/// `parent`. Signatures of transactions are checked one after another.
pub(crate) fn verify_block<S: StateRoot + ?Sized>(
    parent: &Header,
    block: Block,
    params: &ChainParams,
    now: Option<u64>,
    state: &S,
    contracts: &dyn NativeContracts,
) -> Result<ExecutedBlock, BlockError> {
    forks::activate();
    verify_header(parent, block.header(), params, now)?;
    let header = block.header();
    if !block.faults().is_empty() || header.faultroot != merkle_root(&[]) {
        let detail = "a sole producer has no faults to prove".into();
        return Err(BlockError::Header { height: header.height, field: "faultroot", detail });
    }
    let voters = voters(&header.prev_block_cert, params.producer);
    verify_body(block, &voters, &params.ledger, state, contracts, BlobsNeeded::None)
}

/// Checks everything of a header that needs neither transactions nor state.
pub(crate) fn verify_header(
    parent: &Header,
    header: &Header,
    params: &ChainParams,
    now: Option<u64>,
) -> Result<(), BlockError> {
    let height = header.height;
    let wrong = |field, detail: String| BlockError::Header { height, field, detail };

    if parent.height.checked_add(1) != Some(height) {
        return Err(wrong("height", format!("the parent has {}", parent.height)));
    }
    if header.version != BLOCK_HEADER_VERSION {
        return Err(wrong("version", format!("{}, expected {BLOCK_HEADER_VERSION}", header.version)));
    }
    expect("prev_block_hash", height, &parent.hash, &header.prev_block_hash)?;
    let earliest = earliest_timestamp(parent, params);
    if header.timestamp < earliest {
        return Err(wrong("timestamp", format!("{}, not before {earliest}", header.timestamp)));
    }
    if let Some(now) = now
        && header.timestamp > now.saturating_add(CLOCK_MARGIN)
    {
        return Err(wrong("timestamp", format!("{}, but it is {now}", header.timestamp)));
    }
    if header.gas_limit != params.ledger.block_gas_limit {
        return Err(wrong("gas_limit", format!("{}, expected {}", header.gas_limit, params.ledger.block_gas_limit)));
    }
    if header.iteration != 0 || !header.failed_iterations.att_list.is_empty() {
        return Err(wrong("iteration", "a sole producer needs no second iteration".into()));
    }
    if header.generator_bls_pubkey.0 != *params.producer.as_bytes() {
        return Err(wrong("generator_bls_pubkey", format!("expected {}", params.producer)));
    }
    expect("hash", height, &header_hash(header)?, &header.hash)?;
    let signed = |field, message: &[u8], signature| {
        verify_multisig(&params.producer, height, message, signature)
            .map_err(|error: KeyError| wrong(field, error.to_string()))
    };
    signed("signature", &header.hash, &header.signature)?;
    signed("seed", parent.seed.inner(), &header.seed)?;

    if parent.height == 0 {
        if header.prev_block_cert != Attestation::default() {
            return Err(wrong("prev_block_cert", "the genesis block has no certificate".into()));
        }
    } else {
        verify(&header.prev_block_cert, parent, &params.producer).map_err(|error| wrong("prev_block_cert", error))?;
    }
    verify(&header.att, header, &params.producer).map_err(|error| wrong("att", error))
}
