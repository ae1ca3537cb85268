//! Frames, blocks, headers and faults: what peers send.

use std::sync::{Arc, OnceLock};

use dusk_node_data::Serializable;
use dusk_node_data::ledger::{Fault, Header};
use dusk_node_data::message::{BLOCK_HEADER_VERSION, Message};
use duskevm_dusk_l1::block::{self, LedgerParams, MAX_BLOCK_BYTES, header_hash, tx_root};
use duskevm_dusk_l1::body::fault_root;
use duskevm_dusk_l1::header::{HeaderContext, Stage, unattested, verify_header};
use duskevm_dusk_l1::record::AcceptedBlock;
use duskevm_dusk_l1::sa::bls::{Bls, StandIn};
use duskevm_dusk_l1::sa::committee::Committees;
use duskevm_dusk_l1::sa::evidence::{Headers, fault_id, verify_fault};
use duskevm_dusk_l1::sa::provisioners::Provisioners;
use duskevm_dusk_l1::sa::rules::{MINIMUM_STAKE, Quorums};
use duskevm_dusk_l1::sa::wire::{CandidateFrame, Frame, Limits, decode, decode_block, decode_header, encode};
use duskevm_dusk_l1::tx::Tx;

use crate::{ledger, samples};

pub(crate) fn written<T: Serializable>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    value.write(&mut out).expect("a vector takes everything");
    out
}

/// A frame of the network as gossip and answers carry it.
pub fn frame(data: &[u8]) {
    let limits = Limits::default();
    let Ok(frame) = decode(data, &limits) else { return };
    let bytes = encode(&frame);
    assert_eq!(bytes, data, "a frame has one form");
    assert_eq!(decode(&bytes, &limits).as_ref(), Ok(&frame), "what is written reads back");
    assert_eq!(frame.step().is_some(), frame.consensus_header().is_some());
    if let (Some(step), Some(header)) = (frame.step(), frame.consensus_header()) {
        assert_eq!(step.iteration, header.iteration);
    }
    match &frame {
        Frame::Candidate(candidate) => {
            assert_eq!(decode_header(candidate.bytes()).as_ref(), Ok(candidate.header()));
            if let Ok(block) = candidate.block() {
                assert_eq!(CandidateFrame::from_block(&block).as_ref(), Ok(&**candidate));
            }
        }
        Frame::Block(bytes) => assert!(decode_header(bytes).is_ok()),
        Frame::Validation(_) | Frame::Ratification(_) | Frame::Tx(_) => {}
        // The rest holds no keys: the published reader takes what ours takes, and writes it as ours does.
        _ => {
            let message = Message::read(&mut &*bytes).expect("the published reader takes the frame");
            assert_eq!(written(&message), bytes, "the published writer makes the same bytes");
        }
    }
}

/// A block with its transactions.
pub fn block(data: &[u8]) {
    let read = decode_block(data);
    match block::decode_block(data) {
        Ok(other) => {
            let block = read.as_ref().expect("both readers take the same");
            assert_eq!(written(block), written(&other));
        }
        Err(_) => assert!(read.is_err() || data.len() > MAX_BLOCK_BYTES, "both readers take the same"),
    }
    let Ok(block) = read else { return };
    assert_eq!(written(&block), data, "a block has one form");
    assert_eq!(decode_header(data).as_ref(), Ok(block.header()));
    let height = block.header().height;
    tx_root(block.txs());
    fault_root(block.faults());
    for tx in block.txs() {
        if let Ok(tx) = Tx::from_ledger(tx.clone(), height) {
            ledger::check_transaction(&tx);
        }
    }
    for fault in block.faults() {
        check_fault(fault, height);
    }
    let record = AcceptedBlock::genesis(&block).and_then(|record| record.encode()).expect("a vector takes everything");
    let record = AcceptedBlock::decode(&record).expect("what is written reads back");
    assert_eq!(record.encoded[..], *data);
}

struct OneChain;

impl Headers for OneChain {
    fn height_of(&self, hash: &[u8; 32]) -> Option<u64> {
        Some(u64::from(hash[0]))
    }
}

fn provisioners() -> &'static Arc<Provisioners> {
    static SET: OnceLock<Arc<Provisioners>> = OnceLock::new();
    SET.get_or_init(|| {
        Arc::new(Provisioners::from_entries((0..4).map(|i| (StandIn::id(i), MINIMUM_STAKE * (1 + i), 0))))
    })
}

fn committees(round: u64, seed: [u8; 48]) -> Arc<Committees> {
    Arc::new(Committees::new(seed, round, provisioners().clone(), Quorums::published()))
}

fn check_fault(fault: &Fault, height: u64) {
    if let Ok(id) = fault_id(fault) {
        assert_eq!(fault_id(fault), Ok(id));
        let known = verify_fault(&StandIn, fault, height, &OneChain, &|_| None, &|seen| *seen == id);
        assert!(known.is_err(), "no fault is punished twice");
    }
    // A fuzzer that sees what is compared can make a stand-in's signature: then the one who is punished is the one who signed.
    let committees_of = |round: u64| round.is_multiple_of(2).then(|| committees(round, [0; 48]));
    if let Ok(culprit) = verify_fault(&StandIn, fault, height, &OneChain, &committees_of, &|_| false) {
        let bytes = written(fault);
        assert_eq!(bytes.get(SIGNER..SIGNER + 96), Some(&culprit.as_bytes()[..]));
    }
}

/// Where the first signer of a fault is: behind the kind and a consensus header.
const SIGNER: usize = 1 + 41;

/// Two contradicting messages of one provisioner, as a block holds them.
pub fn fault(data: &[u8]) {
    let mut rest = data;
    let Ok(fault) = Fault::read(&mut rest) else { return };
    let read = data.len() - rest.len();
    let height = rest.first_chunk().map_or(100, |bytes| u64::from_le_bytes(*bytes));
    if written(&fault) == data[..read] {
        check_fault(&fault, height);
    }
}

fn params() -> &'static LedgerParams {
    static PARAMS: OnceLock<LedgerParams> = OnceLock::new();
    PARAMS.get_or_init(|| LedgerParams::new(&samples::genesis()).expect("the sample is a good genesis"))
}

/// A header. What depends on keys is made right, so that the rules behind the signatures are reached.
pub fn header(data: &[u8]) {
    let empty_lists = [0; 8];
    let bytes = [data, &empty_lists].concat();
    let Ok(mut header) = decode_header(&bytes) else { return };
    // It may end before the data do: the rest were lists, then.
    assert!(bytes.starts_with(&written(&header)), "a header has one form");
    let hash = header_hash(&header);
    let _ = unattested(&header);
    let _ = header.to_consensus_header();

    let Some(height) = header.height.checked_sub(1) else { return };
    let parent = Header {
        height,
        hash: header.prev_block_hash,
        timestamp: header.timestamp.saturating_sub(params().block_time),
        iteration: header.seed.inner()[0] % 50,
        ..Default::default()
    };
    let committees = committees(header.height, [0; 48]);
    let previous = (height > 0).then(|| self::committees(height, [1; 48]));
    if header.iteration < 50
        && let Some(generator) = committees.generator(header.iteration)
    {
        header.generator_bls_pubkey.0 = *generator.as_bytes();
        header.version = BLOCK_HEADER_VERSION;
        header.gas_limit = params().block_gas_limit;
        header.seed = StandIn.sign(&generator, parent.seed.inner()).into();
        header.hash = header_hash(&header).expect("a header has a hash");
        header.signature = StandIn.sign(&generator, &header.hash).into();
    }
    let context =
        HeaderContext { parent: &parent, committees: &committees, previous: previous.as_deref(), params: params() };
    let trusts = header.timestamp % 2 == 1;
    for stage in [Stage::Candidate { now: header.timestamp }, Stage::Accept { now: None }] {
        if let Ok(facts) = verify_header(&StandIn, &context, &header, stage, &|_, _| trusts) {
            assert_eq!(unattested(&header), Some(facts.unattested));
            assert!(hash.is_ok());
        }
    }
}
