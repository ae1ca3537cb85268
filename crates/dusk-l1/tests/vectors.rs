//! Everything that must equal the published Dusk crates, byte for byte.
//!
//! The JSON files beside this one were made by the program in `vectors/`, which links `dusk-consensus` 1.7.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use dusk_node_data::Serializable;
use dusk_node_data::ledger::{Attestation, Block, Fault, Header};
use dusk_node_data::message::ConsensusHeader;
use dusk_node_data::message::payload::Vote;
use duskevm_dusk_l1::forks;
use duskevm_dusk_l1::keys::{AccountId, Signer};
use duskevm_dusk_l1::merkle::merkle_root;
use duskevm_dusk_l1::sa::attestation::{AttestationError, Expect, Voters, verify_attestation, verify_step_votes};
use duskevm_dusk_l1::sa::bls::{Bls, DuskBls};
use duskevm_dusk_l1::sa::committee::Committees;
use duskevm_dusk_l1::sa::evidence::{FaultError, Headers, fault_id, verify_fault};
use duskevm_dusk_l1::sa::provisioners::Provisioners;
use duskevm_dusk_l1::sa::rules::{CREDITS, Quorums, Step, StepKind};
use duskevm_dusk_l1::sa::sortition::{extract, score, score_hash};
use duskevm_dusk_l1::sa::wire::{self, Frame, FrameTopic, Limits};
use duskevm_dusk_l1::sha3::sha3_256;
use duskevm_dusk_l1::transfer::data::{BlobData, ContractCall, TransactionData};
use duskevm_dusk_l1::transfer::{Transaction, moonlight};
use duskevm_dusk_l1::tx::Tx;
use serde_json::Value;

fn load(name: &str) -> Value {
    // Cargo runs tests in the folder of their package, wherever that was when they were built.
    let path = format!("tests/vectors/{name}.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn cases(value: &Value) -> &[Value] {
    let list = value.as_array().unwrap();
    assert!(!list.is_empty());
    list
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} of {value}"))
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("{field} of {value}"))
}

fn bytes(value: &Value, field: &str) -> Vec<u8> {
    hex::decode(text(value, field)).unwrap()
}

fn array<const N: usize>(value: &Value, field: &str) -> [u8; N] {
    bytes(value, field).try_into().unwrap()
}

fn read<T: Serializable>(bytes: &[u8]) -> T {
    let mut rest = bytes;
    let value = T::read(&mut rest).unwrap();
    assert!(rest.is_empty());
    value
}

fn written<T: Serializable>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    value.write(&mut out).unwrap();
    out
}

/// The key that the vectors call by a number: its secret scalar.
fn signer(number: u64) -> Signer {
    static KNOWN: Mutex<Option<HashMap<u64, Signer>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap();
    let known = known.get_or_insert_default();
    known
        .entry(number)
        .or_insert_with(|| {
            let mut secret = [0; 32];
            secret[..8].copy_from_slice(&number.to_le_bytes());
            Signer::from_bytes(&secret).unwrap()
        })
        .clone()
}

fn id(number: u64) -> AccountId {
    signer(number).id()
}

/// The sets of a file by name.
fn sets(file: &Value) -> HashMap<String, Arc<Provisioners>> {
    let stake = |s: &Value| (id(s[0].as_u64().unwrap()), s[1].as_u64().unwrap(), s[2].as_u64().unwrap());
    cases(&file["sets"])
        .iter()
        .map(|set| {
            let stakes = set["stakes"].as_array().unwrap().iter().map(stake);
            (text(set, "name").to_owned(), Arc::new(Provisioners::from_entries(stakes)))
        })
        .collect()
}

/// Pairs of key and credits.
fn members(value: &Value) -> Option<Voters> {
    let member = |m: &Value| (id(m[0].as_u64().unwrap()), u32::try_from(m[1].as_u64().unwrap()).unwrap());
    Some(value.as_array()?.iter().map(member).collect())
}

fn step(case: &Value) -> Step {
    let kind = StepKind::ALL[usize::try_from(number(case, "kind")).unwrap()];
    Step::new(u8::try_from(number(case, "iteration")).unwrap(), kind).unwrap()
}

#[test]
fn sortition_hashes_and_scores() {
    let file = load("sortition");
    for case in cases(&file) {
        let counter = u32::try_from(number(case, "counter")).unwrap();
        let hash = score_hash(&array(case, "seed"), step(case), counter);
        assert_eq!(hash, array(case, "hash"), "{case}");
        for pair in cases(&case["scores"]) {
            let expected: u64 = pair[1].as_str().unwrap().parse().unwrap();
            assert_eq!(score(&hash, pair[0].as_u64().unwrap()), Some(expected), "{case}");
        }
    }
}

#[test]
fn committees_of_every_step() {
    let file = load("committee");
    let sets = sets(&file);
    let mut rounds: HashMap<(String, [u8; 48], u64), Committees> = HashMap::new();
    let mut panics = 0;
    for case in cases(&file["cases"]) {
        let (set, seed, round) = (text(case, "set"), array(case, "seed"), number(case, "round"));
        let provisioners = &sets[set];
        let committees = rounds
            .entry((set.to_owned(), seed, round))
            .or_insert_with(|| Committees::new(seed, round, provisioners.clone(), Quorums::published()));
        let step = step(case);
        let committee = committees.get(step);
        let Some(expected) = members(&case["members"]) else {
            // The published crate panics: both of two provisioners are excluded. Ours lets the next generator vote.
            panics += 1;
            let next = id(case["excluded"][1].as_u64().unwrap());
            assert_eq!(committee.iter().collect::<Vec<_>>(), [(next, CREDITS)], "{case}");
            continue;
        };
        assert_eq!(committee.iter().collect::<Vec<_>>(), expected, "{case}");
        let excluded: Vec<_> = cases_or_none(&case["excluded"]).iter().map(|n| id(n.as_u64().unwrap())).collect();
        let drawn = extract(&seed, step, round, provisioners, &excluded, step.kind.credits());
        let drawn: Voters = drawn.iter().map(|(i, credits)| (provisioners.get(*i).unwrap().id, *credits)).collect();
        assert_eq!(drawn, expected, "{case}");
        if step.kind == StepKind::Proposal {
            assert_eq!(committees.generator(step.iteration), Some(expected[0].0));
        } else {
            assert_eq!(committees.generator(step.iteration), Some(excluded[0]));
        }
    }
    assert!(panics > 20, "{panics}");
}

fn cases_or_none(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn attestations_and_their_voters() {
    let file = load("attestation");
    let sets = sets(&file);
    let bls = DuskBls::default();
    let mut stricter = Vec::new();
    for case in cases(&file["cases"]) {
        let header: ConsensusHeader = read(&bytes(case, "header"));
        let attestation: Attestation = read(&bytes(case, "attestation"));
        let committees =
            Committees::new(array(case, "seed"), header.round, sets[text(case, "set")].clone(), Quorums::published());
        let vote = *attestation.result.vote();
        let mut published = Some(Voters::new());
        for (kind, votes, field) in [
            (StepKind::Validation, &attestation.validation, "validation"),
            (StepKind::Ratification, &attestation.ratification, "ratification"),
        ] {
            let expected = members(&case[field]);
            if kind == StepKind::Validation && vote == Vote::NoQuorum {
                // The published verifier does not look at these votes at all.
                assert_eq!(expected, Some(Voters::new()), "{case}");
                continue;
            }
            let ours = verify_step_votes(&bls, votes, kind, &header, &vote, &committees);
            match (&expected, &ours) {
                (Some(expected), Ok(voters)) => assert_eq!(voters, expected, "{case}"),
                (None, Err(_)) => {}
                (Some(_), Err(AttestationError::Bits { .. })) => {}
                other => panic!("{field}: {other:?}: {case}"),
            }
            published = published.zip(expected).map(|(all, voters)| [all, voters].concat());
        }
        let ours = verify_attestation(&bls, &attestation, &header, &committees, Expect::Any);
        assert_eq!(ours.is_ok(), text(case, "ours") == "accepted", "{ours:?}: {case}");
        match (ours, published) {
            (Ok(voters), Some(published)) => {
                let mut sum = std::collections::BTreeMap::new();
                for (id, credits) in published {
                    *sum.entry(id).or_insert(0) += credits;
                }
                assert_eq!(voters, sum.into_iter().collect::<Voters>(), "{case}");
            }
            (Ok(_), None) => panic!("accepted what the published crate refuses: {case}"),
            (Err(_), Some(_)) => stricter.push(text(case, "name").to_owned()),
            (Err(_), None) => {}
        }
    }
    stricter.sort();
    stricter.dedup();
    assert_eq!(stricter, ["a bit beyond the committee", "relabelled", "validation votes of no quorum"]);
}

#[test]
fn votes_sign_and_frame_alike() {
    let file = load("votes");
    let bls = DuskBls::default();
    for case in cases(&file) {
        let frame = bytes(case, "frame");
        let decoded = wire::decode(&frame, &Limits::default()).unwrap();
        assert_eq!(wire::encode(&decoded), frame);
        let vote = match &decoded {
            Frame::Validation(vote) => vote,
            Frame::Ratification(frame) => &frame.vote,
            other => panic!("{other:?}"),
        };
        let step = step(case);
        assert_eq!(decoded.step(), Some(step));
        assert_eq!(u64::from(step.number()), number(case, "step"));
        assert_eq!(written(&vote.vote), bytes(case, "vote"));
        let signer = signer(number(case, "signer"));
        assert_eq!(vote.signer, *signer.id().as_bytes());
        let signed = vote.signed_bytes(step.kind);
        assert_eq!(*signed, *bytes(case, "signed"));
        assert_eq!(vote.signature, array(case, "signature"));
        assert_eq!(bls.sign(&signer, &signed), vote.signature);
        assert!(bls.verify_ids([&signer.id()], &signed, &vote.signature).is_ok());
        let other = StepKind::ALL[3 - step.kind.index()];
        assert!(bls.verify_ids([&signer.id()], &vote.signed_bytes(other), &vote.signature).is_err());
    }
}

#[test]
fn frames_of_every_topic() {
    let file = load("messages");
    let mut topics = std::collections::BTreeSet::new();
    for case in cases(&file) {
        let frame = bytes(case, "frame");
        let decoded = wire::decode(&frame, &Limits::default()).unwrap_or_else(|e| panic!("{e}: {case}"));
        assert_eq!(u64::from(decoded.topic() as u8), number(case, "topic"));
        assert_eq!(wire::encode(&decoded), frame, "{}", text(case, "name"));
        topics.insert(decoded.topic());
        match decoded {
            Frame::Candidate(candidate) => {
                forks::activate();
                assert_eq!(written(&candidate.block().unwrap()), frame[wire::FRAME_PREFIX..]);
            }
            Frame::Block(bytes) => assert_eq!(written(&wire::decode_block(&bytes).unwrap())[..], bytes[..]),
            _ => {}
        }
    }
    // Votes have a file of their own.
    assert_eq!(topics.len() + 2, FrameTopic::ALL.len());
}

#[test]
fn headers_hashes_and_roots() {
    let file = load("header");
    for case in cases(&file) {
        let block = bytes(case, "block");
        let header = wire::decode_header(&block).unwrap();
        let encoded = bytes(case, "header");
        assert_eq!(written(&header), encoded);
        assert_eq!(header.hash, array(case, "hash"));
        // The hash covers everything in front of attestation, hash and signature.
        let covered = &encoded[..encoded.len() - written(&header.att).len() - 32 - 48];
        assert_eq!(sha3_256(&[covered]), header.hash);
        let cleared = Header { hash: [0; 32], ..header.clone() };
        assert_eq!(Block::new(cleared, vec![], vec![]).unwrap().header().hash, header.hash);

        let block = wire::decode_block(&block).unwrap();
        let roots: [(&str, &str, Vec<[u8; 32]>); 2] = [
            ("txroot", "digests", block.txs().iter().map(|tx| tx.digest()).collect()),
            ("faultroot", "faults", block.faults().iter().map(Fault::digest).collect()),
        ];
        for (root, leaves, digests) in roots {
            let hexed: Vec<_> = digests.iter().map(hex::encode).collect();
            assert_eq!(serde_json::to_value(hexed).unwrap(), case[leaves]);
            assert_eq!(merkle_root(&digests), array(case, root));
        }
        if !header.signature.inner().iter().all(|byte| *byte == 0) {
            let bls = DuskBls::default();
            assert_eq!(bls.sign(&signer(2), &header.hash), *header.signature.inner());
            assert!(bls.verify_ids([&id(2)], &header.hash, header.signature.inner()).is_ok());
        }
    }
}

#[test]
fn merkle_roots() {
    let file = load("merkle");
    for case in cases(&file) {
        let leaves: Vec<_> = (0..case[0].as_u64().unwrap())
            .map(|i| {
                let mut leaf = [0; 32];
                leaf[24..].copy_from_slice(&(i + 1).to_be_bytes());
                leaf
            })
            .collect();
        assert_eq!(hex::encode(merkle_root(&leaves)), case[1].as_str().unwrap(), "{} leaves", leaves.len());
    }
}

struct Chain;

impl Headers for Chain {
    fn height_of(&self, hash: &[u8; 32]) -> Option<u64> {
        // The parent of all votes in the file.
        (*hash == [0x55; 32]).then_some(7776)
    }
}

#[test]
fn faults_and_what_is_one() {
    let file = load("faults");
    let bls = DuskBls::default();
    for case in cases(&file) {
        forks::activate();
        let fault: Fault = read(&bytes(case, "fault"));
        assert_eq!(fault.digest(), array(case, "digest"));
        let verdict = verify_fault(&bls, &fault, number(case, "height"), &Chain, &|_| None, &|_| false);
        assert_eq!(verdict.is_ok(), text(case, "ours") == "accepted", "{verdict:?}: {case}");
        if let Ok(culprit) = verdict {
            assert_eq!(culprit, id(3));
            assert_eq!(text(case, "published"), "accepted");
            assert!(fault_id(&fault).is_ok());
        } else if text(case, "published") == "accepted" {
            // That of emergency mode is refused one call further out in the published node.
            assert!(matches!(verdict, Err(FaultError::Emergency(16) | FaultError::Candidates)), "{verdict:?}");
        }
    }
}

#[test]
fn moonlight_transactions_and_their_ids() {
    forks::activate();
    let file = load("moonlight");
    let mut ids = HashMap::new();
    let mut digests = HashMap::new();
    for case in cases(&file) {
        let name = text(case, "name");
        for format in ["aegis", "boreas"] {
            let expected = &case[format];
            let envelope = bytes(expected, "envelope");
            let tx = Tx::decode(&envelope, 1).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(*tx.id(), array(expected, "id"), "{name}");
            assert_eq!(*tx.sender(), id(number(case, "sender")));
            assert_eq!(tx.nonce(), number(case, "nonce"));
            assert_eq!(tx.gas_limit(), number(case, "gas_limit"));
            assert_eq!(tx.gas_price(), number(case, "gas_price"));
            // Blocks hold the later envelope whichever came in.
            assert_eq!(tx.ledger().protocol_bytes(), bytes(&case["boreas"], "envelope"), "{name}");
            assert_eq!(tx.ledger().digest(), array(&case["boreas"], "digest"), "{name}");
            let Transaction::Moonlight(inner) = tx.ledger().protocol() else { panic!("{name}") };
            assert_eq!(inner.signature_message(), bytes(case, "signed"), "{name}");
            assert_eq!(*inner, build(case, inner.data().cloned()), "{name}");
            assert!(tx.verify().is_ok(), "{name}");
        }
        ids.insert(name, text(&case["boreas"], "id"));
        digests.insert(name, text(&case["boreas"], "digest"));
    }
    // One id and one digest for two transactions: why memos of blob hashes are refused elsewhere.
    assert_eq!(ids["blobs"], ids["memo of the blobs' hashes"]);
    assert_eq!(digests["blobs"], digests["memo of the blobs' hashes"]);
}

/// The transaction that the case describes, signed here.
fn build(case: &Value, data: Option<TransactionData>) -> moonlight::Transaction {
    let optional = |field: &str| case[field].as_u64().map(|number| *signer(number).public_key());
    let sender = signer(number(case, "sender"));
    let refund = optional("refund").unwrap_or(*sender.public_key());
    moonlight::Transaction::new_with_refund(
        sender.secret_key(),
        &refund,
        optional("receiver"),
        number(case, "value"),
        number(case, "deposit"),
        number(case, "gas_limit"),
        number(case, "gas_price"),
        number(case, "nonce"),
        u8::try_from(number(case, "chain")).unwrap(),
        data,
    )
    .unwrap()
}

/// What the transactions of the file carry, by name.
#[test]
fn moonlight_data_is_what_the_names_say() {
    forks::activate();
    let file = load("moonlight");
    for case in cases(&file) {
        let tx = Tx::decode(&bytes(&case["boreas"], "envelope"), 1).unwrap();
        match (text(case, "name"), tx.data()) {
            ("memo", Some(TransactionData::Memo(memo))) => assert_eq!(memo, b"memo"),
            ("empty memo", Some(TransactionData::Memo(memo))) => assert!(memo.is_empty()),
            ("longest memo", Some(TransactionData::Memo(memo))) => assert_eq!(memo.len(), 512),
            ("memo of the blobs' hashes", Some(TransactionData::Memo(memo))) => assert_eq!(memo.len(), 64),
            ("blobs", Some(TransactionData::Blob(blobs))) => {
                assert!(blobs.iter().all(|BlobData { hash, data }| hash[0] == 1 && data.is_none()));
            }
            ("call with deposit", Some(TransactionData::Call(ContractCall { fn_name, fn_args, .. }))) => {
                assert_eq!((fn_name.as_str(), &fn_args[..]), ("deposit", &[1, 2, 3][..]));
            }
            ("call without arguments", Some(TransactionData::Call(call))) => assert!(call.fn_args.is_empty()),
            ("transfer" | "largest numbers" | "to itself" | "refund to another", None) => {}
            other => panic!("{other:?}"),
        }
    }
}
