//! Good inputs of every target, from which a fuzzer finds its way faster.

use std::sync::Arc;

use alloy_consensus::{EthereumTxEnvelope, SignableTransaction, TxEip1559, TxEip4844, TxEip4844WithSidecar};
use alloy_eips::eip2718::Encodable2718;
use alloy_eips::eip4844::{Blob, BlobTransactionSidecar};
use alloy_primitives::{B256, Bytes, Signature, TxKind, U256, hex};
use dusk_core::signatures::bls::SecretKey;
use dusk_core::stake::{STAKE_CONTRACT, Stake, Withdraw};
use dusk_core::transfer::data::{BlobData, BlobSidecar, ContractCall, TransactionData};
use dusk_core::transfer::withdraw::{Withdraw as TransferWithdraw, WithdrawReceiver, WithdrawReplayToken};
use dusk_core::transfer::{Transaction, TransactionFormat};
use dusk_node_data::bls::PublicKeyBytes;
use dusk_node_data::ledger::{Attestation, Block, Fault, Header, IterationsInfo, Seed, StepVotes};
use dusk_node_data::message::ConsensusHeader;
use dusk_node_data::message::payload::{RatificationResult, Vote};
use duskevm_batcher_core::{Attempt, Carrier, Closed, Record, Role, SignedSlot, Submitted};
use duskevm_dusk_l1::execute::TxOutcome;
use duskevm_dusk_l1::finality::Finality;
use duskevm_dusk_l1::genesis::{ConsensusParams, Genesis, GenesisAccount, GenesisStake};
use duskevm_dusk_l1::keyfile;
use duskevm_dusk_l1::keys::{AccountId, Signer};
use duskevm_dusk_l1::record::AcceptedBlock;
use duskevm_dusk_l1::sa::ballots::{BallotKey, Ballots};
use duskevm_dusk_l1::sa::evidence::Evidence;
use duskevm_dusk_l1::sa::rules::{Step, StepKind, StepTimes};
use duskevm_dusk_l1::sa::timeouts::Timeouts;
use duskevm_dusk_l1::sa::wire::{
    CandidateFrame, Frame, Inventory, Item, QuorumFrame, RatificationFrame, ResourceRequest, ValidationResult,
    VoteFrame, VqFrame, encode,
};
use duskevm_dusk_l1::state::StateKey;
use duskevm_dusk_l1::tx::Tx;
use duskevm_dusk_l1::{Event, LedgerTransaction};
use duskevm_l1_view::{DuskBlock, DuskEvent, DuskTx, LOG_TOPIC, ViewConfig, encode_log, project};
use duskevm_p2p::request::SIDECAR_BYTES;
use duskevm_p2p::{Answer, Book, PeerId, PeerStatus, Refusal, Request, SidecarBytes};
use duskevm_rollup::batch::{Batch, SingularBatch, SpanEncoder};
use duskevm_rollup::channel_out::{ChannelSettings, Compression, build_frames};
use duskevm_rollup::frame::{ChannelId, encode_frames};
use duskevm_rollup::{BlockId, blob as op_blob};
use duskevm_settlement::{Kind, Method};
use rkyv::Archive;

use crate::batches::config;
use crate::consensus::written;
use crate::ledger::{EMITTER, INBOX};

pub(crate) const CHAIN_ID: u8 = 7;
pub(crate) const DUSK: u64 = 1_000_000_000;
pub(crate) const PASSWORD: &str = "fuzz";

fn signer(seed: &[u8]) -> Signer {
    Signer::from_seed(seed)
}

fn secret(seed: &[u8]) -> SecretKey {
    signer(seed).secret_key().clone()
}

fn id(seed: &[u8]) -> AccountId {
    signer(seed).id()
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        chain_id: CHAIN_ID,
        timestamp: 1_700_000_000,
        block_time: 2,
        block_gas_limit: 3_000_000_000,
        treasury: id(b"treasury"),
        accounts: vec![
            GenesisAccount { key: id(b"alice"), balance: 100_000 * DUSK },
            GenesisAccount { key: id(b"bob"), balance: DUSK },
        ],
        stakes: vec![
            GenesisStake { key: id(b"producer"), amount: 1_000_000 * DUSK, eligibility: 0 },
            GenesisStake { key: id(b"alice"), amount: 5_000 * DUSK, eligibility: 5 },
        ],
        contracts: Vec::new(),
        consensus: ConsensusParams::default(),
    }
}

fn signed(seed: &[u8], to: Option<&[u8]>, nonce: u64, deposit: u64, data: Option<TransactionData>) -> Transaction {
    let signer = signer(seed);
    let to = to.map(|seed| *Signer::from_seed(seed).public_key());
    let value = if to.is_some() { 5 } else { 0 };
    Transaction::moonlight(signer.secret_key(), to, value, deposit, 20_000_000, 1, nonce, CHAIN_ID, data)
        .expect("a transaction can be made of these")
}

pub(crate) fn spend(seed: &[u8], nonce: u64, deposit: u64, data: Option<TransactionData>) -> Tx {
    let tx = signed(seed, None, nonce, deposit, data);
    Tx::decode(&tx.encode_for_format(TransactionFormat::Boreas), 1).expect("a wallet's transaction is one")
}

fn blob_data(with_sidecar: bool) -> TransactionData {
    let commitment = [3; 48];
    let sidecar = BlobSidecar { commitment, proof: [4; 48], data: [0; 131_072] };
    let hash = BlobData::hash_from_commitment(&commitment);
    TransactionData::Blob(vec![BlobData { hash, data: with_sidecar.then_some(sidecar) }])
}

fn kinds() -> Vec<Option<TransactionData>> {
    let call = ContractCall::new(STAKE_CONTRACT, "stake").with_raw_args(vec![1, 2, 3]);
    vec![None, Some(TransactionData::Memo(vec![b'm'; 40])), Some(TransactionData::Call(call)), Some(blob_data(false))]
}

pub(crate) fn transactions() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for format in [TransactionFormat::Aegis, TransactionFormat::Boreas] {
        for data in kinds() {
            all.push(signed(b"alice", None, 1, 0, data.clone()).encode_for_format(format));
            all.push(signed(b"alice", Some(b"bob"), 2, 0, data).encode_for_format(format));
        }
    }
    all.push(signed(b"alice", None, 1, 0, Some(blob_data(true))).encode_for_format(TransactionFormat::Boreas));
    all
}

fn round(iteration: u8) -> ConsensusHeader {
    ConsensusHeader { prev_block_hash: [7; 32], round: 8, iteration }
}

fn step_votes() -> StepVotes {
    StepVotes::new([9; 48], 0b101)
}

fn attestation(result: RatificationResult) -> Attestation {
    Attestation { result, validation: step_votes(), ratification: step_votes() }
}

fn vote(vote: Vote) -> VoteFrame {
    VoteFrame { header: round(5), vote, signer: *id(b"voter").as_bytes(), signature: [3; 48] }
}

fn two_votes(kind: StepKind) -> Vec<Fault> {
    let mut evidence = Evidence::default();
    evidence.note(kind, &vote(Vote::NoCandidate), &vote(Vote::Valid([1; 32])));
    evidence.take(9)
}

pub(crate) fn faults() -> Vec<Vec<u8>> {
    let mut all: Vec<_> =
        [StepKind::Validation, StepKind::Ratification].into_iter().flat_map(two_votes).map(|f| written(&f)).collect();
    let mut candidates = vec![0];
    for hash in [1, 2] {
        candidates.extend(written(&round(0)));
        candidates.extend_from_slice(id(b"voter").as_bytes());
        candidates.extend_from_slice(&[3; 48]);
        candidates.extend_from_slice(&[hash; 32]);
    }
    all.push(candidates);
    all
}

fn block_header(iteration: u8, att: Attestation) -> Header {
    let failed = attestation(RatificationResult::Fail(Vote::NoCandidate));
    let listed = (0..iteration.min(8)).map(|i| (i % 2 == 0).then_some((failed, PublicKeyBytes([1; 96]))));
    Header {
        version: 1,
        height: 9,
        timestamp: 1_700_000_018,
        iteration,
        seed: Seed::from([6; 48]),
        generator_bls_pubkey: PublicKeyBytes(*id(b"generator").as_bytes()),
        gas_limit: 3_000_000_000,
        prev_block_cert: attestation(RatificationResult::Success(Vote::Valid([2; 32]))),
        failed_iterations: IterationsInfo::new(listed.collect()),
        signature: [8; 48].into(),
        att,
        ..Default::default()
    }
}

fn made(iteration: u8, att: Attestation, txs: bool) -> Block {
    let all = if txs { kinds() } else { vec![] };
    let txs: Vec<_> = all
        .into_iter()
        .map(|data| LedgerTransaction::from_protocol_for_ledger(signed(b"alice", None, 1, 0, data), 9))
        .collect();
    let faults = if txs.is_empty() { vec![] } else { two_votes(StepKind::Validation) };
    Block::new(block_header(iteration, att), txs, faults).expect("a header can be hashed")
}

fn made_blocks() -> Vec<Block> {
    let success = attestation(RatificationResult::Success(Vote::Valid([2; 32])));
    vec![
        made(0, Attestation::default(), false),
        made(0, success, true),
        made(3, Attestation::default(), true),
        made(20, success, false),
    ]
}

pub(crate) fn blocks() -> Vec<Vec<u8>> {
    made_blocks().iter().map(written).collect()
}

pub(crate) fn headers() -> Vec<Vec<u8>> {
    let blocks = made_blocks().into_iter();
    blocks.map(|block| Header { height: 1, ..block.header().clone() }).map(|header| written(&header)).collect()
}

pub(crate) fn frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for kind in [Vote::NoCandidate, Vote::Valid([1; 32]), Vote::Invalid([2; 32]), Vote::NoQuorum] {
        let votes = if kind == Vote::NoQuorum { StepVotes::default() } else { step_votes() };
        let result = ValidationResult { votes, vote: kind };
        if kind != Vote::NoQuorum {
            frames.push(Frame::Validation(vote(kind)));
        }
        frames.push(Frame::Ratification(RatificationFrame { vote: vote(kind), timestamp: 77, result }));
        frames.push(Frame::ValidationQuorum(VqFrame { header: round(16), result }));
        for result in [RatificationResult::Fail(kind), RatificationResult::Success(kind)] {
            frames.push(Frame::Quorum(QuorumFrame { header: round(49), attestation: attestation(result) }));
        }
    }
    let inventory = Inventory {
        items: vec![
            Item::Transaction([1; 32]),
            Item::Block([2; 32]),
            Item::Height(3),
            Item::Candidate([4; 32]),
            Item::CandidateOf(round(5)),
            Item::ValidationOf(round(6)),
        ],
        max_entries: 500,
    };
    frames.push(Frame::Inv(inventory.clone()));
    for requester in [([10, 0, 0, 1], 9000).into(), ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9000).into()] {
        let inventory = inventory.clone();
        frames.push(Frame::GetResource(ResourceRequest { inventory, requester, expires: 9, hops: 16 }));
    }
    frames.push(Frame::GetBlocks { locator: [4; 32], nonce: 5 });
    frames.push(Frame::GetMempool { nonce: 6 });
    for block in made_blocks() {
        frames.push(Frame::Block(written(&block).into()));
        frames.extend(CandidateFrame::from_block(&block).ok().map(|candidate| Frame::Candidate(Arc::new(candidate))));
        frames.extend(block.txs().iter().map(|tx| Frame::Tx(written(tx).into())));
    }
    frames.iter().map(encode).collect()
}

/// Signatures of BLS keys take no randomness; their constructors ask for a source all the same.
struct NoRng;

impl rand_core::RngCore for NoRng {
    fn next_u32(&mut self) -> u32 {
        0
    }

    fn next_u64(&mut self) -> u64 {
        0
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        dest.fill(0);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        dest.fill(0);
        Ok(())
    }
}

impl rand_core::CryptoRng for NoRng {}

/// Whether bytes are arguments of a function of the stake contract.
pub(crate) fn decodes(function: &str, args: &[u8]) -> bool {
    let mut aligned = rkyv::AlignedVec::with_capacity(args.len());
    aligned.extend_from_slice(args);
    fn is<T>(bytes: &[u8]) -> bool
    where
        T: Archive,
        T::Archived: for<'b> rkyv::CheckBytes<rkyv::validation::validators::DefaultValidator<'b>>,
    {
        rkyv::check_archived_root::<T>(bytes).is_ok()
    }
    if function == "stake" { is::<Stake>(&aligned) } else { is::<Withdraw>(&aligned) }
}

pub(crate) fn contract_calls() -> Vec<Vec<u8>> {
    fn call<T>(function: u8, deposit: u8, args: &T) -> Vec<u8>
    where
        T: rkyv::Serialize<rkyv::ser::serializers::AllocSerializer<1024>>,
    {
        let args = rkyv::to_bytes::<_, 1024>(args).expect("memory is enough");
        [&[function, deposit], args.as_slice()].concat()
    }
    let mut all = Vec::new();
    for (account, owner) in [(b"bob".as_slice(), b"alice".as_slice()), (b"alice", b"alice")] {
        all.push(call(0, 200, &Stake::new(&secret(account), &secret(owner), 200 * DUSK, CHAIN_ID)));
        for function in [1, 2] {
            let receiver = WithdrawReceiver::Moonlight(*signer(account).public_key());
            let token = WithdrawReplayToken::Moonlight(1);
            let withdraw =
                TransferWithdraw::new(&mut NoRng, &secret(account), STAKE_CONTRACT, 7 * DUSK, receiver, token);
            all.push(call(function, 0, &Withdraw::new(&secret(account), &secret(owner), withdraw)));
        }
    }
    // To a Phoenix address of zeros: the kind of receiver is in the eight bytes before the key.
    let carol = *signer(b"carol").public_key();
    let (receiver, token) = (WithdrawReceiver::Moonlight(carol), WithdrawReplayToken::Moonlight(1));
    let withdraw = TransferWithdraw::new(&mut NoRng, &secret(b"carol"), STAKE_CONTRACT, DUSK, receiver, token);
    let mut phoenix = call(1, 0, &Withdraw::new(&secret(b"alice"), &secret(b"alice"), withdraw));
    let raw = carol.to_raw_bytes();
    if let Some(at) = phoenix.windows(96).position(|window| *window == raw[..96]) {
        phoenix[at - 8] = 0;
        phoenix[at..at + 200].fill(0);
    }
    all.push(phoenix);
    all
}

pub(crate) fn key_files() -> Vec<Vec<u8>> {
    let random = [5; keyfile::RANDOM_BYTES];
    ["fuzz", "another"]
        .map(|password| keyfile::encrypt(&signer(b"key file"), password, &random))
        .into_iter()
        .flatten()
        .collect()
}

pub(crate) fn geneses() -> Vec<Vec<u8>> {
    let small = Genesis { accounts: vec![], ..genesis() };
    [genesis(), small].iter().filter_map(|genesis| serde_json::to_vec(genesis).ok()).collect()
}

pub(crate) fn requests() -> Vec<Vec<u8>> {
    let all = [Request::Status, Request::Frame(vec![1; 14]), Request::Blobs(vec![[1; 32], [2; 32]]), Request::Peers];
    all.iter().filter_map(|request| request.encode().ok()).collect()
}

fn texts() -> [String; 3] {
    let peer = PeerId([3; 32]);
    ["/ip4/8.8.8.8/tcp/1", "/ip6/2600::1/tcp/65535", "/memory/7"].map(|place| format!("{place}/p2p/{peer}"))
}

pub(crate) fn answers() -> Vec<Vec<u8>> {
    let status = PeerStatus { identity: [1; 32], tip: (9, [2; 32]), finalized: (8, [3; 32]), oldest_blob: 4 };
    let peers = texts().iter().filter_map(|text| text.parse().ok()).collect();
    let all = [
        Answer::Status(status),
        Answer::Frames(vec![vec![1; 14], vec![], vec![2; 300]]),
        Answer::Blobs(vec![None, SidecarBytes::new(vec![0; SIDECAR_BYTES])]),
        Answer::Blobs(vec![None, None]),
        Answer::Peers(peers),
        Answer::Refused(Refusal::Busy),
    ];
    all.iter().filter_map(|answer| answer.encode().ok()).collect()
}

pub(crate) fn addresses() -> Vec<Vec<u8>> {
    let mut all: Vec<_> = texts().map(String::into_bytes).into();
    all.push(PeerId([0; 32]).to_string().into_bytes());
    all.push(b"/ip6/::ffff:1.2.3.4/tcp/80".to_vec());
    all
}

pub(crate) fn books() -> Vec<Vec<u8>> {
    let mut book = Book::new();
    for (n, address) in texts().iter().filter_map(|text| text.parse().ok()).enumerate() {
        if n == 0 {
            book.met(1_700_000_000, &address);
        }
        book.heard(&address);
    }
    serde_json::to_vec(&book.stored()).into_iter().collect()
}

pub(crate) fn routes() -> Vec<Vec<u8>> {
    let hash = "01".repeat(32);
    let commitment = "c0".to_owned() + &"00".repeat(47);
    [
        "GET\n/eth/v1/beacon/genesis".to_owned(),
        "HEAD\n/eth/v1/config/spec\n".to_owned(),
        "GET\n/eth/v1/node/version".to_owned(),
        "GET\n/eth/v1/beacon/headers/head".to_owned(),
        "GET\n/eth/v1/beacon/blob_sidecars/17?\nindices=0,1&indices=2%2C3".to_owned(),
        format!("GET\n/eth/v1/beacon/blobs/finalized\nversioned_hashes=0x{hash},0x{hash}"),
        format!("POST\n/on/blobs:{hash}/hash\n\napplication/json\n"),
        format!("POST\n/on/blobs:{commitment}/commitment\n\n\napplication/octet-stream"),
    ]
    .map(String::into_bytes)
    .into()
}

pub(crate) fn block_ids() -> Vec<Vec<u8>> {
    let root = format!("0x{}", "ab".repeat(32));
    ["head", "finalized", "justified", "genesis", "18446744073709551615", &root].map(|id| id.as_bytes().to_vec()).into()
}

/// Data of a blob.
pub(crate) fn blob(seed: u8) -> Vec<u8> {
    let bytes = 0..duskevm_blobs::BYTES;
    // The first byte of every field element stays below that of the field's order.
    bytes.map(|at| if at % 32 == 0 { 0 } else { (at as u8).wrapping_mul(seed) ^ (at >> 8) as u8 }).collect()
}

pub(crate) fn sidecars() -> Vec<Vec<u8>> {
    vec![vec![], vec![1, 0, 0, 1], vec![50, 0, 0, 0x80, 0, 0, 0x80, 1], vec![96, 0, 0x80, 0xff]]
}

pub(crate) fn accepted_blocks() -> Vec<Vec<u8>> {
    let records = made_blocks().into_iter().filter_map(|block| {
        let mut record = AcceptedBlock::genesis(&block).ok()?;
        record.outcomes = block
            .txs()
            .iter()
            .enumerate()
            .map(|(n, tx)| TxOutcome { id: tx.id(), gas_spent: 300, error: (n == 1).then(|| "out of gas".to_owned()) })
            .collect();
        let event = Event { source: STAKE_CONTRACT, topic: "stake".into(), data: vec![1, 2, 3], reverted: false };
        record.events = vec![(Some(0), event.clone()), (None, event)];
        record.encode().ok()
    });
    records.collect()
}

fn joined<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&(piece.len() as u16).to_le_bytes());
        out.extend_from_slice(piece);
    }
    out
}

pub(crate) fn ballots() -> Vec<Vec<u8>> {
    let mut ballots = Ballots::default();
    for (n, kind) in StepKind::ALL.into_iter().enumerate() {
        let Some(step) = Step::new(n as u8, kind) else { continue };
        let frame: Arc<[u8]> = vec![n as u8; 20].into();
        ballots.cast(BallotKey { round: 5, prev: [7; 32], step }, [n as u8; 32], frame);
    }
    let records: Vec<_> = ballots.records().collect();
    vec![joined(records.iter().map(Vec::as_slice))]
}

pub(crate) fn finalities() -> Vec<Vec<u8>> {
    let histories: [&[u8]; 4] = [&[], &[0, 0, 0], &[0, 2, 0, 0, 1, 0], &[0, 49]];
    histories.map(|history| Finality::replay(7, history.iter().copied()).encode()).into()
}

pub(crate) fn timeouts() -> Vec<Vec<u8>> {
    let mut timeouts = Timeouts::new(StepTimes::published());
    let empty = timeouts.encode();
    for (n, kind) in StepKind::ALL.into_iter().cycle().take(10).enumerate() {
        timeouts.record(kind, std::time::Duration::from_millis(900 * n as u64));
    }
    vec![empty, timeouts.encode()]
}

pub(crate) fn state_records() -> Vec<Vec<u8>> {
    let state = genesis().state();
    let mut records: Vec<Vec<u8>> = Vec::new();
    for (name, value) in state.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        records.extend([name.to_bytes(), value.clone()]);
    }
    records.extend([StateKey::ContractStorage([9; 32], b"key".to_vec()).to_bytes(), b"value".to_vec()]);
    vec![joined(records.iter().map(Vec::as_slice))]
}

fn log() -> Vec<u8> {
    encode_log(&[B256::repeat_byte(7)], b"data")
}

/// A signed transaction of type 2 for chain 900, as the batch inbox publishes one (EIP-1559): its signature is any number.
fn envelope() -> Vec<u8> {
    let mut out = vec![0x02];
    let fields: &[&[u8]] = &[
        &[0x82, 0x03, 0x84],
        &[0x80],
        &[0x01],
        &[0x84, 0x3b, 0x9a, 0xca, 0x00],
        &[0x82, 0x52, 0x08],
        &[0x94],
        &[0x11; 20],
        &[0x80],
        &[0x83, 1, 2, 3],
        &[0xc0],
        &[0x80],
        &[0xa0],
        &[0x22; 32],
        &[0xa0],
        &[0x33; 32],
    ];
    let length: usize = fields.iter().map(|field| field.len()).sum();
    out.extend([0xf8, length as u8]);
    fields.iter().for_each(|field| out.extend_from_slice(field));
    out
}

pub(crate) fn view_events() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (kind, data) in [(0u8, log()), (1, envelope()), (2, vec![1])] {
        all.push([&[kind], &(data.len() as u16).to_le_bytes()[..], &data].concat());
    }
    all.push(all.concat());
    all
}

pub(crate) fn view_blocks() -> Vec<Vec<u8>> {
    let config = ViewConfig { chain_id: 900, emitters: [EMITTER].into_iter().collect(), inbox: Some(INBOX) };
    let event = DuskEvent { contract: EMITTER, topic: LOG_TOPIC.into(), data: log().into() };
    let mut block = DuskBlock {
        height: 0,
        timestamp: 1,
        hash: B256::repeat_byte(3),
        prev_hash: B256::ZERO,
        seed: [4; 48],
        txs: vec![],
    };
    let mut all: Vec<_> = project(&config, None, &block).map(|view| view.encode()).into_iter().collect();
    block.txs = vec![DuskTx { id: B256::repeat_byte(5), index: 0, events: vec![event] }];
    all.extend(project(&config, None, &block).map(|view| view.encode()));
    all
}

pub(crate) fn journals() -> Vec<Vec<u8>> {
    // A header with base flag, first record 3 and a salt; then records that follow each other. The target makes the
    // checksums right.
    let mut raw = vec![0; 32];
    raw[12] = 1;
    raw[16] = 3;
    raw[24..28].copy_from_slice(&[1, 2, 3, 4]);
    for number in 3u64..6 {
        let payload = vec![number as u8; number as usize];
        raw.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        raw.extend_from_slice(&[0; 4]);
        raw.extend_from_slice(&number.to_le_bytes());
        raw.extend_from_slice(&number.to_le_bytes());
        raw.extend_from_slice(&payload);
    }
    let bent = [&[1], raw.as_slice()].concat();
    let torn = [&[0], &raw[..raw.len() - 2]].concat();
    vec![[&[0], raw.as_slice()].concat(), torn, bent]
}

/// A transaction of these RLP items, which are less than 56 bytes together.
fn transaction_of(ty: Option<u8>, items: &[&[u8]]) -> Bytes {
    let payload = items.concat();
    let header = 0xc0 + payload.len() as u8;
    ty.into_iter().chain([header]).chain(payload).collect()
}

/// Three blocks of two epochs with a transaction of each type that batches carry.
fn l2_blocks() -> Vec<SingularBatch> {
    let chain = hex!("827a4e").as_slice();
    let (one, two, three, none, empty) = (&[1][..], &[2][..], &[3][..], &[0x80][..], &[0xc0][..]);
    let gas = hex!("825208").as_slice();
    let to = hex!("941111111111111111111111111111111111111111").as_slice();
    let v = hex!("82f4bf").as_slice();
    let txs = [
        // Nonce, price or fees, gas limit, recipient, value, call data, lists, signature.
        transaction_of(None, &[three, two, gas, to, one, none, v, one, two]),
        transaction_of(Some(1), &[chain, three, two, gas, to, one, three, empty, one, one, two]),
        transaction_of(Some(2), &[chain, three, one, two, gas, none, none, three, empty, none, one, two]),
        transaction_of(Some(4), &[chain, three, one, two, gas, to, none, three, empty, empty, one, one, two]),
    ];
    (1..4u64)
        .map(|number| SingularBatch {
            parent_hash: B256::repeat_byte(number as u8),
            epoch: BlockId { hash: B256::repeat_byte(9), number: 5 + number / 3 },
            timestamp: 2 * number,
            transactions: txs.iter().take(number as usize + 1).cloned().collect(),
        })
        .collect()
}

pub(crate) fn batches() -> Vec<Vec<u8>> {
    let blocks = l2_blocks();
    let mut encoder = SpanEncoder::new(&config());
    let mut all = Vec::new();
    for block in &blocks {
        encoder.push(block, 0).expect("the sample is in order");
        all.push(encoder.encode());
        all.push(Batch::Singular(block.clone()).encode());
    }
    all
}

fn settings(compression: Compression) -> ChannelSettings {
    ChannelSettings { compression, target_bytes: 1000, max_frame_data: 100, max_rlp_bytes: 1_000_000 }
}

fn channel(compression: Compression) -> Vec<duskevm_rollup::frame::Frame> {
    let blocks = l2_blocks();
    let numbered = blocks.iter().map(|block| (block, 0));
    build_frames(&config(), settings(compression), ChannelId::repeat_byte(1), numbered).expect("the sample fits")
}

pub(crate) fn channels() -> Vec<Vec<u8>> {
    let whole = |compression| channel(compression).iter().flat_map(|frame| frame.data.to_vec()).collect();
    [Compression::Zlib, Compression::Brotli9].map(whole).to_vec()
}

pub(crate) fn batcher_frames() -> Vec<Vec<u8>> {
    let frames = channel(Compression::Zlib);
    vec![encode_frames(&frames), encode_frames(frames.iter().rev()), encode_frames(&frames[..1])]
}

pub(crate) fn op_blobs() -> Vec<Vec<u8>> {
    let data = batcher_frames().remove(0);
    vec![op_blob::encode(&data).expect("the sample fits"), data]
}

/// A journal as the batcher writes it: three channels, of which one is settled, one posted in two attempts, and one open.
pub(crate) fn batcher_records() -> Vec<Vec<u8>> {
    let id = ChannelId::repeat_byte;
    let block = |number: u64| BlockId { number, hash: B256::with_last_byte(number as u8) };
    let closed = |channel, parent, last| {
        Record::Closed(Closed {
            id: id(channel),
            parent: block(parent),
            last: block(last),
            first_epoch: 1,
            carrier: Carrier::Blobs,
            compression: "zlib".into(),
            max_frame_data: 1000,
            frame_count: 2,
            bytes: 1500,
            digest: B256::repeat_byte(channel),
        })
    };
    let submitted = |number: u64, channel, attempts: u64| {
        let attempts = (1..=attempts).map(|gas_price| Attempt { gas_price, id: B256::repeat_byte(gas_price as u8) });
        let slot = SignedSlot { role: Role::Blobs, nonce: number, gas_limit: 9, attempts: attempts.collect() };
        Record::Submitted(Submitted {
            number,
            channel: id(channel),
            first_frame: 0,
            frame_count: 2,
            envelope_nonce: number,
            envelope_hash: B256::repeat_byte(0xee),
            slots: vec![slot.clone(), SignedSlot { role: Role::Call, nonce: number + 1, ..slot }],
        })
    };
    let records = [
        Record::Counted { next_submission: 3, settled: Some(block(4)) },
        Record::Opened { id: id(1), parent: block(4), l1_block: 5 },
        closed(1, 4, 9),
        submitted(3, 1, 1),
        Record::Opened { id: id(2), parent: block(9), l1_block: 6 },
        closed(2, 9, 12),
        Record::Settled { id: id(1) },
        submitted(4, 2, 1),
        submitted(4, 2, 2),
        Record::Opened { id: id(3), parent: block(12), l1_block: 7 },
        Record::Abandoned { id: id(2) },
    ];
    let pieces: Vec<_> = records
        .iter()
        .map(|record| {
            let bytes = record.encode();
            [&(bytes.len() as u16).to_le_bytes()[..], &bytes].concat()
        })
        .collect();
    vec![pieces.concat(), pieces[..10].concat(), pieces[..6].concat(), pieces[0].clone()]
}

/// A call of every entry point, by whom it is for, with what may be attached to it.
pub(crate) fn settlement_calls() -> Vec<Vec<u8>> {
    let writes = Method::all().iter().filter(|method| method.kind == Kind::Write).count() as u8;
    let arguments = [[0x11; 20].as_slice(), &[0; 12], &[0x30, 0x0d, 0x40], &[4, 0, 1, 2, 3, 4], &[0; 60]].concat();
    (0..writes)
        .flat_map(|index| {
            [(0, 0, &arguments[..]), (1, 31, &arguments[..]), (1, 0, &[0, 0, 0, 1, 0x20]), (3, 0, &[0xc0])]
                .map(|(flags, power, args)| [&[index, flags, power], args].concat())
        })
        .collect()
}

/// Envelopes with call data and with blobs. From their signature an account can be recovered whatever it signs: r is the x coordinate
/// of the generator of the curve, s is 1.
pub(crate) fn envelopes() -> Vec<Vec<u8>> {
    let x = hex!("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
    let signature = Signature::new(U256::from_be_bytes(x), U256::from(1), false);
    let (chain_id, to) = (crate::settlement::CHAIN_ID, crate::settlement::inbox());
    let calldata = TxEip1559 {
        chain_id,
        gas_limit: 21_000,
        to: TxKind::Call(to),
        input: batcher_frames().remove(0).into(),
        ..Default::default()
    };
    let blobs = |hashes: u8| TxEip4844 {
        chain_id,
        gas_limit: 21_000,
        to,
        blob_versioned_hashes: (0..hashes)
            .map(|n| {
                let mut hash = B256::with_last_byte(2 * n);
                hash[0] = 1;
                hash
            })
            .collect(),
        ..Default::default()
    };
    let mut all = vec![EthereumTxEnvelope::<TxEip4844>::Eip1559(calldata.into_signed(signature)).encoded_2718()];
    for count in [1, 6] {
        all.push(EthereumTxEnvelope::<TxEip4844>::Eip4844(blobs(count).into_signed(signature)).encoded_2718());
    }
    all
}

/// What clients send: with call data, and with a blob in the form of EIP-4844.
pub(crate) fn carried_envelopes() -> Vec<Vec<u8>> {
    let x = hex!("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
    let signature = Signature::new(U256::from_be_bytes(x), U256::from(1), false);
    let (chain_id, to) = (crate::settlement::CHAIN_ID, crate::settlement::inbox());
    let calldata = TxEip1559 {
        chain_id,
        gas_limit: 1_000_000,
        to: TxKind::Call(to),
        input: batcher_frames().remove(0).into(),
        ..Default::default()
    };
    let blob = crate::blobs::good();
    let with_blob = TxEip4844 {
        chain_id,
        gas_limit: 21_000,
        to,
        blob_versioned_hashes: vec![blob.0.into()],
        max_fee_per_blob_gas: 1,
        ..Default::default()
    };
    let sidecar = BlobTransactionSidecar {
        blobs: vec![Blob::from_slice(&blob.1.data[..])],
        commitments: vec![blob.1.commitment.into()],
        proofs: vec![blob.1.proof.into()],
    };
    let with_blob = TxEip4844WithSidecar::from_tx_and_sidecar(with_blob, sidecar).into_signed(signature);
    let mut network_form = Vec::new();
    with_blob.eip2718_encode(&mut network_form);
    vec![EthereumTxEnvelope::<TxEip4844>::Eip1559(calldata.into_signed(signature)).encoded_2718(), network_form]
}
