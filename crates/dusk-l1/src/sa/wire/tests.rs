use dusk_node_data::bls::{PublicKey, PublicKeyBytes};
use dusk_node_data::ledger::{Fault, IterationsInfo, LedgerTransaction, Seed};
use dusk_node_data::message::payload::{self, RatificationResult};
use dusk_node_data::message::{Message, SignInfo, SignedStepMessage};
use proptest::prelude::*;

use super::*;
use crate::forks;
use crate::keys::Signer;
use crate::sa::rules::CREDITS;

fn published(message: impl Into<Message>) -> Vec<u8> {
    written(&message.into())
}

fn header(iteration: u8) -> ConsensusHeader {
    ConsensusHeader { prev_block_hash: [7; 32], round: 0x0102_0304_0506, iteration }
}

fn votes() -> StepVotes {
    StepVotes::new([9; 48], 0x8000_0000_0000_0001)
}

fn sign_info(signer: &Signer) -> SignInfo {
    SignInfo { signer: PublicKey::new(*signer.public_key()), signature: [3; 48].into() }
}

fn vote_frame(vote: Vote, signer: &Signer) -> VoteFrame {
    VoteFrame { header: header(5), vote, signer: *signer.id().as_bytes(), signature: [3; 48] }
}

fn same(frame: Frame, bytes: Vec<u8>) {
    assert_eq!(encode(&frame), bytes, "{:?}", frame.topic());
    assert_eq!(decode(&bytes, &Limits::default()), Ok(frame));
}

const VOTES_FOR: [Vote; 4] = [Vote::NoCandidate, Vote::Valid([1; 32]), Vote::Invalid([2; 32]), Vote::NoQuorum];

fn kind(vote: &Vote) -> QuorumType {
    ValidationResult { votes: votes(), vote: *vote }.kind()
}

/// The published form of the result for `vote`: no votes without a quorum.
fn result(vote: Vote) -> (ValidationResult, payload::ValidationResult) {
    let votes = if vote == Vote::NoQuorum { StepVotes::default() } else { votes() };
    (ValidationResult { votes, vote }, payload::ValidationResult::new(votes, vote, kind(&vote)))
}

#[test]
fn votes_are_those_of_the_published_node() {
    let signer = Signer::from_seed(b"voter");
    for vote in VOTES_FOR {
        let validation = payload::Validation { header: header(5), vote, sign_info: sign_info(&signer) };
        assert_eq!(&*signed_bytes(StepKind::Validation, &header(5), &vote), validation.signable());
        if vote != Vote::NoQuorum {
            same(Frame::Validation(vote_frame(vote, &signer)), published(validation));
        }

        let (own, theirs) = result(vote);
        let ratification = payload::Ratification {
            header: header(5),
            vote,
            timestamp: 77,
            validation_result: theirs,
            sign_info: sign_info(&signer),
        };
        assert_eq!(&*signed_bytes(StepKind::Ratification, &header(5), &vote), ratification.signable());
        same(
            Frame::Ratification(RatificationFrame { vote: vote_frame(vote, &signer), timestamp: 77, result: own }),
            published(ratification),
        );
    }
}

#[test]
fn quorums_are_those_of_the_published_node() {
    for vote in VOTES_FOR {
        for result in [RatificationResult::Fail(vote), RatificationResult::Success(vote)] {
            let attestation = Attestation { result, validation: votes(), ratification: votes() };
            same(
                Frame::Quorum(QuorumFrame { header: header(49), attestation }),
                published(payload::Quorum { header: header(49), att: attestation }),
            );
        }
        let (own, theirs) = result(vote);
        same(
            Frame::ValidationQuorum(VqFrame { header: header(16), result: own }),
            published(payload::ValidationQuorum { header: header(16), result: theirs }),
        );
    }
}

#[test]
fn sizes_are_those_of_the_published_node() {
    let signer = Signer::from_seed(b"voter");
    let vote = Vote::Valid([1; 32]);
    let sizes = [
        (Frame::Validation(vote_frame(vote, &signer)), 218),
        (
            Frame::Ratification(RatificationFrame {
                vote: vote_frame(vote, &signer),
                timestamp: 0,
                result: result(vote).0,
            }),
            316,
        ),
        (
            Frame::Quorum(QuorumFrame {
                header: header(0),
                attestation: Attestation { result: vote.into(), validation: votes(), ratification: votes() },
            }),
            187,
        ),
        (Frame::ValidationQuorum(VqFrame { header: header(0), result: result(vote).0 }), 131),
    ];
    for (frame, size) in sizes {
        assert_eq!(encode(&frame).len(), FRAME_PREFIX + size, "{:?}", frame.topic());
        assert_eq!(Limits::default().payload(frame.topic()), size, "{:?}", frame.topic());
    }
    assert!(votes().bitset.count_ones() <= CREDITS);
}

#[test]
fn requests_are_those_of_the_published_node() {
    same(Frame::GetMempool { nonce: 0 }, published(payload::GetMempool::default()));
    let mut blocks = payload::GetBlocks::new([4; 32]);
    blocks.set_nonce(0x0102_u64);
    same(Frame::GetBlocks { locator: [4; 32], nonce: 0x0102 }, published(blocks));

    let mut inv = payload::Inv::new(500);
    inv.add_tx_id([1; 32]);
    inv.add_block_from_hash([2; 32]);
    inv.add_block_from_height(3);
    inv.add_candidate_from_hash([4; 32]);
    inv.add_candidate_from_iteration(header(5));
    inv.add_validation_result(header(6));
    let inventory = Inventory {
        items: vec![
            Item::Transaction([1; 32]),
            Item::Block([2; 32]),
            Item::Height(3),
            Item::Candidate([4; 32]),
            Item::CandidateOf(header(5)),
            Item::ValidationOf(header(6)),
        ],
        max_entries: 500,
    };
    same(Frame::Inv(inventory.clone()), published(inv.clone()));
    for requester in ["10.0.0.1:9000", "[2001:db8::1]:65535"] {
        let requester = requester.parse().unwrap();
        same(
            Frame::GetResource(ResourceRequest { inventory: inventory.clone(), requester, expires: 9, hops: 16 }),
            published(payload::GetResource::new(inv.clone(), Some(requester), 9, 16)),
        );
    }
}

/// A block with `n` transactions, two faults and a full list of failed iterations.
fn block(n: u64, att: Attestation) -> Block {
    forks::activate();
    let signer = Signer::from_seed(b"generator");
    let txs = (0..n).map(|nonce| {
        let tx = dusk_core::transfer::Transaction::moonlight(
            signer.secret_key(),
            Some(*Signer::from_seed(b"receiver").public_key()),
            5,
            0,
            100_000,
            1,
            nonce + 1,
            250,
            None::<dusk_core::transfer::data::TransactionData>,
        );
        LedgerTransaction::from_protocol_for_ledger(tx.unwrap(), 1)
    });
    let mut fault = vec![1];
    for vote in [Vote::Valid([1; 32]), Vote::NoCandidate] {
        write(&mut fault, &header(0));
        fault.extend_from_slice(signer.id().as_bytes());
        fault.extend_from_slice(&[3; 48]);
        write(&mut fault, &vote);
    }
    let mut candidate = vec![0];
    for byte in [1, 2] {
        write(&mut candidate, &header(0));
        candidate.extend_from_slice(signer.id().as_bytes());
        candidate.extend_from_slice(&[3; 48]);
        candidate.extend_from_slice(&[byte; 32]);
    }
    let faults = [fault, candidate].map(|bytes| Fault::read(&mut &bytes[..]).unwrap()).to_vec();
    let failed = Attestation { result: Vote::NoCandidate.into(), validation: votes(), ratification: votes() };
    let header = Header {
        version: 1,
        height: 9,
        iteration: 8,
        seed: Seed::from([6; 48]),
        generator_bls_pubkey: PublicKeyBytes(*signer.id().as_bytes()),
        failed_iterations: IterationsInfo::new(
            (0..8).map(|i| (i % 2 == 0).then_some((failed, PublicKeyBytes([1; 96])))).collect(),
        ),
        signature: [8; 48].into(),
        att,
        ..Default::default()
    };
    Block::new(header, txs.collect(), faults).unwrap()
}

#[test]
fn candidates_blocks_and_transactions_are_those_of_the_published_node() {
    for n in [0, 1, 3] {
        let block = block(n, Attestation::default());
        let candidate = CandidateFrame::from_block(&block).unwrap();
        assert_eq!(candidate.header(), block.header());
        assert_eq!(candidate.consensus_header(), block.header().to_consensus_header());
        let again = candidate.block().unwrap();
        assert_eq!(written(&again), written(&block));
        same(Frame::Candidate(Arc::new(candidate)), published(payload::Candidate { candidate: block.clone() }));
        let bytes = written(&block);
        assert_eq!(decode_header(&bytes).unwrap(), *block.header());
        same(Frame::Block(bytes.into()), published(block.clone()));
        for tx in block.txs() {
            same(Frame::Tx(written(tx).into()), published(tx.clone()));
        }
    }
}

#[test]
fn a_candidate_has_no_attestation_and_an_iteration_that_exists() {
    let attested = Attestation { result: Vote::Valid([1; 32]).into(), validation: votes(), ratification: votes() };
    assert_eq!(
        CandidateFrame::from_block(&block(0, attested)),
        Err(WireError::Contradiction("a candidate that is attested already"))
    );
    let mut late = block(0, Attestation::default()).header().clone();
    late.iteration = 50;
    let late = Block::new(late, vec![], vec![]).unwrap();
    assert_eq!(CandidateFrame::from_block(&late), Err(WireError::Iteration(50)));
}

#[test]
fn counts_are_not_believed() {
    let mut bytes = written(&Block::new(Header::default(), vec![], vec![]).unwrap());
    let end = bytes.len();
    for (at, what) in [(end - 8, "transactions"), (end - 4, "faults")] {
        let mut many = bytes.clone();
        many[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(
            matches!(decode_header(&many), Err(WireError::TooMany { what: w, .. }) if w == what),
            "{:?}",
            decode_header(&many)
        );
    }
    bytes.push(0);
    assert_eq!(decode_header(&bytes), Err(WireError::Trailing(1)));

    let mut inv = encode(&Frame::Inv(Inventory::default()));
    inv[6..10].copy_from_slice(&10_001u32.to_le_bytes());
    assert!(matches!(decode(&inv, &Limits::default()), Err(WireError::TooMany { count: 10_001, .. })));
    inv[6..10].copy_from_slice(&10_000u32.to_le_bytes());
    assert_eq!(decode(&inv, &Limits::default()), Err(WireError::Short("inventory")));
}

#[test]
fn what_an_honest_node_never_sends_is_refused() {
    let limits = Limits::default();
    let signer = Signer::from_seed(b"voter");
    let vote = Vote::Valid([1; 32]);
    let frame = |vote, result| {
        encode(&Frame::Ratification(RatificationFrame { vote: vote_frame(vote, &signer), timestamp: 0, result }))
    };
    let good = frame(vote, result(vote).0);
    assert!(decode(&good, &limits).is_ok());

    let mut version = good.clone();
    version[1] = 1;
    assert_eq!(decode(&version, &limits), Err(WireError::Version([1, 1, 0, 0, 0])));
    let mut topic = good.clone();
    topic[5] = 12;
    assert_eq!(decode(&topic, &limits), Err(WireError::Topic(12)));
    for iteration in [50, 85, 255] {
        let mut late = good.clone();
        late[6 + 40] = iteration;
        assert_eq!(decode(&late, &limits), Err(WireError::Iteration(iteration)));
    }
    // The kind of quorum comes last before signer and signature.
    for kind in 1..=u8::MAX {
        let mut other = good.clone();
        let at = other.len() - SIGN_INFO - 1;
        other[at] = kind;
        assert!(matches!(decode(&other, &limits), Err(WireError::Contradiction(_))), "{kind}");
    }
    let contradictions = [
        frame(vote, result(Vote::Valid([2; 32])).0),
        frame(vote, ValidationResult::none()),
        frame(vote, ValidationResult { votes: StepVotes::default(), vote }),
        frame(Vote::NoQuorum, ValidationResult { votes: votes(), vote: Vote::NoQuorum }),
        encode(&Frame::Validation(vote_frame(Vote::NoQuorum, &signer))),
    ];
    for bytes in contradictions {
        assert!(matches!(decode(&bytes, &limits), Err(WireError::Contradiction(_))));
    }
    let mut long = good;
    long.push(0);
    assert!(matches!(decode(&long, &limits), Err(WireError::Oversize { .. })));
}

#[test]
fn half_empty_votes_are_not_empty() {
    assert!(is_empty(&StepVotes::default()));
    assert!(!is_empty(&StepVotes::new([0; 48], 1)));
    assert!(!is_empty(&StepVotes::new([1; 48], 0)));
}

fn any_vote() -> impl Strategy<Value = Vote> {
    prop_oneof![
        Just(Vote::NoCandidate),
        Just(Vote::NoQuorum),
        any::<[u8; 32]>().prop_map(Vote::Valid),
        any::<[u8; 32]>().prop_map(Vote::Invalid),
    ]
}

fn any_header() -> impl Strategy<Value = ConsensusHeader> {
    (any::<[u8; 32]>(), any::<u64>(), 0..MAX_ITERATION)
        .prop_map(|(prev_block_hash, round, iteration)| ConsensusHeader { prev_block_hash, round, iteration })
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let vote = (any_header(), any_vote(), any::<[u8; 32]>(), any::<[u8; 16]>()).prop_map(|(header, vote, a, b)| {
        let (mut signer, mut signature) = ([0; 96], [0; 48]);
        signer[..32].copy_from_slice(&a);
        signature[32..].copy_from_slice(&b);
        VoteFrame { header, vote, signer, signature }
    });
    let vote = vote.boxed();
    let item = prop_oneof![
        any::<[u8; 32]>().prop_map(Item::Transaction),
        any::<[u8; 32]>().prop_map(Item::Block),
        any::<u64>().prop_map(Item::Height),
        any::<[u8; 32]>().prop_map(Item::Candidate),
        any_header().prop_map(Item::CandidateOf),
        any_header().prop_map(Item::ValidationOf),
    ];
    let inventory = (prop::collection::vec(item, 0..8), any::<u16>())
        .prop_map(|(items, max_entries)| Inventory { items, max_entries })
        .boxed();
    prop_oneof![
        vote.clone().prop_filter("never cast", |vote| vote.vote != Vote::NoQuorum).prop_map(Frame::Validation),
        (vote, any::<u64>()).prop_map(|(vote, timestamp)| {
            let result = result(vote.vote).0;
            Frame::Ratification(RatificationFrame { vote, timestamp, result })
        }),
        (any_header(), any_vote(), any::<bool>()).prop_map(|(header, vote, success)| {
            let result = if success { RatificationResult::Success(vote) } else { RatificationResult::Fail(vote) };
            let attestation = Attestation { result, validation: votes(), ratification: StepVotes::default() };
            Frame::Quorum(QuorumFrame { header, attestation })
        }),
        (any_header(), any_vote())
            .prop_map(|(header, vote)| Frame::ValidationQuorum(VqFrame { header, result: result(vote).0 })),
        (any::<[u8; 32]>(), any::<u64>()).prop_map(|(locator, nonce)| Frame::GetBlocks { locator, nonce }),
        any::<u64>().prop_map(|nonce| Frame::GetMempool { nonce }),
        inventory.clone().prop_map(Frame::Inv),
        (inventory, any::<[u8; 16]>(), any::<u16>(), any::<bool>()).prop_map(|(inventory, ip, port, four)| {
            let ip = if four { [ip[0], ip[1], ip[2], ip[3]].into() } else { std::net::IpAddr::from(ip) };
            Frame::GetResource(ResourceRequest { inventory, requester: (ip, port).into(), expires: 1, hops: port })
        }),
    ]
}

proptest! {
    #[test]
    fn frames_survive_the_codec_and_the_published_reader(frame in any_frame()) {
        let bytes = encode(&frame);
        prop_assert_eq!(decode(&bytes, &Limits::default()), Ok(frame.clone()));
        // The published reader needs real keys; all frames without one must read and write there as here.
        if !matches!(frame, Frame::Validation(_) | Frame::Ratification(_)) {
            let message = Message::read(&mut &bytes[..]).unwrap();
            prop_assert_eq!(written(&message), bytes);
        }
    }

    #[test]
    fn damage_is_an_error_or_another_exact_frame(frame in any_frame(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut bytes = encode(&frame);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(other) = decode(&bytes, &Limits::default()) {
            prop_assert_eq!(encode(&other), bytes.clone());
            prop_assert_ne!(&other, &frame);
        }
        bytes.truncate(at);
        prop_assert!(decode(&bytes, &Limits::default()).is_err());
    }

    #[test]
    fn garbage_is_refused_or_exact(topic in prop::sample::select(&FrameTopic::ALL[..]), payload in prop::collection::vec(any::<u8>(), 0..700)) {
        let mut bytes = VERSION.to_vec();
        bytes.push(topic as u8);
        bytes.extend_from_slice(&payload);
        if let Ok(frame) = decode(&bytes, &Limits::default()) {
            prop_assert_eq!(encode(&frame), bytes);
        }
    }
}
