//! Tests of blocks with penalties, faults and blobs.

use dusk_core::stake::STAKE_CONTRACT;
use dusk_node_data::bls::PublicKeyBytes;
use dusk_node_data::ledger::{Attestation, IterationsInfo};
use dusk_node_data::message::payload::{RatificationResult, Vote};
use dusk_node_data::message::{BLOCK_HEADER_VERSION, ConsensusHeader};

use super::*;
use crate::contracts::NoContracts;
use crate::genesis::GenesisStake;
use crate::keys::Signer;
use crate::sa::rules::StepKind;
use crate::sa::wire::signed_bytes;
use crate::stakes::{MINIMUM_STAKE, Stake};
use crate::state::{MemoryState, stake};
use crate::testing::{self, Spend, blob_spend, spend};

const SEEDS: [&[u8]; 3] = [b"producer", b"second", b"third"];

fn id(seed: &[u8]) -> AccountId {
    Signer::from_seed(seed).id()
}

/// Three provisioners; the second one makes block 1.
struct Net {
    params: LedgerParams,
    state: MemoryState,
    header: Header,
}

impl Net {
    fn new() -> Self {
        let mut genesis = testing::genesis();
        for seed in &SEEDS[1..] {
            genesis.stakes.push(GenesisStake { key: id(seed), amount: 10 * MINIMUM_STAKE, eligibility: 0 });
        }
        let mut state = MemoryState::default();
        state.apply(&genesis.state()).unwrap();
        let params = LedgerParams::new(&genesis).unwrap();
        let parent = genesis.block().header().clone();
        let header = Header {
            version: BLOCK_HEADER_VERSION,
            height: 1,
            timestamp: parent.timestamp + 2,
            prev_block_hash: parent.hash,
            generator_bls_pubkey: PublicKeyBytes(*id(b"second").as_bytes()),
            gas_limit: params.block_gas_limit,
            ..Header::default()
        };
        Self { params, state, header }
    }

    fn build(&self, header: Header, faults: Vec<Fault>, txs: &[VerifiedTx]) -> ExecutedBlock {
        let draft = Draft { header, faults, cert_voters: &[] };
        build_body(draft, &self.params, &self.state, &NoContracts, txs).unwrap().block
    }

    fn verify(&self, block: Block) -> Result<ExecutedBlock, BlockError> {
        verify_body(block, &[], &self.params, &self.state, &NoContracts, BlobsNeeded::None)
    }

    fn stake_after(&self, block: &ExecutedBlock, seed: &[u8]) -> Stake {
        let mut after = self.state.clone();
        after.apply(&block.executed.diff).unwrap();
        stake(&after, &id(seed)).unwrap()
    }
}

fn failed(result: Vote, generator: &[u8]) -> Option<(Attestation, PublicKeyBytes)> {
    let attestation = Attestation { result: RatificationResult::from(result), ..Attestation::default() };
    Some((attestation, PublicKeyBytes(*id(generator).as_bytes())))
}

/// Two votes of one signer for one step.
fn double_vote(seed: &[u8]) -> Fault {
    let signer = Signer::from_seed(seed);
    let header = ConsensusHeader { prev_block_hash: [5; 32], round: 1, iteration: 0 };
    let mut bytes = vec![2];
    for vote in [Vote::NoCandidate, Vote::Valid([6; 32])] {
        header.write(&mut bytes).unwrap();
        bytes.extend_from_slice(signer.id().as_bytes());
        let message = signed_bytes(StepKind::Validation, &header, &vote);
        bytes.extend_from_slice(signer.sign_multisig(1, &message).inner());
        vote.write(&mut bytes).unwrap();
    }
    let fault = Fault::read(&mut bytes.as_slice()).unwrap();
    fault.validate(1).unwrap();
    fault
}

fn topics(block: &ExecutedBlock) -> Vec<&str> {
    block.executed.events.iter().map(|(_, event)| event.topic.as_str()).collect()
}

#[test]
fn failed_iterations_and_faults_are_punished_before_transactions() {
    let net = Net::new();
    let list = vec![
        failed(Vote::Invalid([1; 32]), b"third"),
        None,
        failed(Vote::NoCandidate, b"producer"),
        failed(Vote::NoQuorum, b"producer"),
    ];
    let header = Header { iteration: 4, failed_iterations: IterationsInfo::new(list), ..net.header.clone() };
    let block = net.build(header, vec![double_vote(b"producer")], &[spend(Spend::default())]);
    assert_eq!(topics(&block), ["hard_slash", "hard_slash", "moonlight", "reward"]);
    assert!(block.executed.bloom.may_contain(&STAKE_CONTRACT.to_bytes(), "hard_slash"));
    let third = net.stake_after(&block, b"third");
    assert_eq!((third.value, third.hard_faults, third.faults), (9 * MINIMUM_STAKE, 1, 0));
    // One warning for the missing candidate, two tenths for the double vote.
    let producer = net.stake_after(&block, b"producer");
    assert_eq!((producer.value, producer.faults, producer.hard_faults), (800 * MINIMUM_STAKE, 1, 2));
    assert!(producer.eligibility > 1 && net.stake_after(&block, b"second").reward > 0);
    let verified = net.verify(block.block.clone()).unwrap();
    assert_eq!(verified.executed.diff, block.executed.diff);

    // The faults are bound by their root.
    let without = Block::new(block.block.header().clone(), block.block.txs().clone(), vec![]).unwrap();
    assert!(matches!(net.verify(without), Err(BlockError::Header { field: "faultroot", .. })));
    let other = vec![double_vote(b"third")];
    let other = Block::new(block.block.header().clone(), block.block.txs().clone(), other).unwrap();
    assert!(matches!(net.verify(other), Err(BlockError::Header { field: "faultroot", .. })));
}

#[test]
fn rewards_go_to_who_the_header_names() {
    let net = Net::new();
    let block = net.build(net.header.clone(), vec![], &[]);
    let mut other = block.block.header().clone();
    other.generator_bls_pubkey = PublicKeyBytes(*id(b"third").as_bytes());
    let other = Block::new(other, vec![], vec![]).unwrap();
    assert!(matches!(net.verify(other), Err(BlockError::Header { .. })));
    assert!(net.verify(block.block).is_ok());
    // Above block 1 somebody must have voted.
    let header = Header { height: 2, ..net.header.clone() };
    let draft = Draft { header, faults: vec![], cert_voters: &[] };
    let refused = build_body(draft, &net.params, &net.state, &NoContracts, []);
    assert!(matches!(refused, Err(BuildError::Execute(ExecuteError::NoVoters(_)))), "{refused:?}");
}

#[test]
fn voters_want_the_blobs_that_others_may_have_seen() {
    let net = Net::new();
    let block = net.build(net.header.clone(), vec![], &[testing::blob_spend(b"alice", 1, 2)]).block;
    let hashes: Vec<[u8; 32]> = block.txs()[0].protocol().blob().unwrap().iter().map(|blob| blob.hash).collect();
    let verify = |have: &[[u8; 32]]| {
        let is_checked = |hash: &[u8; 32]| have.contains(hash);
        let blobs = BlobsNeeded::Checked(&is_checked);
        verify_body(block.clone(), &[], &net.params, &net.state, &NoContracts, blobs)
    };
    assert!(verify(&hashes).is_ok());
    match verify(&hashes[..1]) {
        Err(BlockError::Blob { height: 1, index: 0, hash }) => assert_eq!(hash, hashes[1]),
        other => panic!("{other:?}"),
    }
    assert!(net.verify(block.clone()).is_ok());
}

/// Neither id nor root tell a Blob transaction from the Memo of its hashes: whoever passes a block on could swap them.
#[test]
fn a_swapped_kind_is_found() {
    let tx = blob_spend(b"alice", 1, 2);
    let memo = tx.ledger().protocol().blob_to_memo().unwrap();
    let mut swapped = LedgerTransaction::from_protocol_with_format(memo, tx.ledger().format());
    (swapped.version, swapped.r#type) = (tx.ledger().version, tx.ledger().r#type);
    assert_eq!(swapped, *tx.ledger(), "by the published equality");
    assert_eq!(tx_root(std::slice::from_ref(&swapped)), tx_root(std::slice::from_ref(tx.ledger())));
    assert!(!is_same(tx.ledger(), &swapped) && is_same(&swapped, &swapped));
    assert!(is_same(tx.ledger(), tx.clone().strip().ledger()), "sidecars make no difference");

    let of = |ledger: &LedgerTransaction| {
        Block::new(Header { height: 1, ..Header::default() }, vec![ledger.clone()], Vec::new()).unwrap()
    };
    assert!(verify_kinds(&of(tx.ledger()), &NoContracts).is_ok());
    assert!(matches!(verify_kinds(&of(&swapped), &NoContracts), Err(BlockError::NotIncludable { index: 0, .. })));
}
