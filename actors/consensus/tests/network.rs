//! What the actor thinks of messages from peers: scripted neighbours, real signatures, real blobs.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::cast::{Cast, cast};
use common::neighbours::{blob, blobs_kept, network, peer};
use common::*;
use duskevm_blobs::{Sidecar, kzg};
use duskevm_consensus::{Consensus, Network, Wiring, spec};
use duskevm_dusk_l1::keys::Signer;
use duskevm_dusk_l1::sa::bls::{Bls, DuskBls};
use duskevm_dusk_l1::sa::rules::StepKind;
use duskevm_dusk_l1::sa::wire::{self, Frame, VoteFrame};
use duskevm_dusk_l1::transfer::Transaction;
use duskevm_dusk_l1::transfer::data::{BlobData, TransactionData};
use duskevm_dusk_l1::tx::Tx;
use duskevm_dusk_l1::{Block, Header, LedgerTransaction, Serializable, Vote};
use duskevm_messages::consensus::GetConsensusState;
use duskevm_messages::gossip::*;
use duskevm_p2p::{PeerId, Topic};
use duskevm_supervision::{Port, Ref, Strategy, Supervisor, Tree};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

fn named(sidecar: &Sidecar) -> BlobData {
    BlobData { hash: sidecar.hash(), data: Some(sidecar.into()) }
}

/// A transaction of alice's with these blobs, as wallets submit it.
fn with_blobs(nonce: u64, blobs: Vec<BlobData>) -> Vec<u8> {
    let data = Some(TransactionData::Blob(blobs));
    Transaction::moonlight(signer("alice").secret_key(), None, 0, 0, 10_000_000, 1, nonce, CHAIN_ID, data)
        .unwrap()
        .to_network_bytes()
}

fn ledger(bytes: &[u8]) -> LedgerTransaction {
    Tx::decode(bytes, 1).unwrap().ledger().clone()
}

/// The actor between scripted neighbours.
struct Node {
    actor: Ref<Consensus>,
    supervisor: Supervisor,
    verdicts: mpsc::UnboundedReceiver<Judged>,
    published: mpsc::UnboundedReceiver<Publish>,
    tokens: AtomicU64,
    _peers: watch::Sender<Arc<[PeerInfo]>>,
    _dir: TempDir,
}

impl Node {
    async fn start(cast: &Cast, me: &Signer) -> Self {
        kzg::warm_up();
        let dir = TempDir::new().unwrap();
        let (peers, feed) = watch::channel(Arc::from((1..=16).map(peer).collect::<Vec<_>>()));
        let (verdicts_out, verdicts) = mpsc::unbounded_channel();
        let (published_out, published) = mpsc::unbounded_channel();
        let publish = Port::from_fn(move |publish: Publish| {
            let sent = published_out.send(publish);
            async move {
                drop(sent);
                Ok(4)
            }
        });
        let judged = Port::from_fn(move |judged: Judged| {
            let sent = verdicts_out.send(judged);
            async move {
                let _ = sent;
            }
        });
        let network = Network { judged, ..network(publish, feed) };
        let blobs = blobs_kept();
        let mut settings = settings(&cast.genesis, Shift::default().clock());
        settings.signer = Some(me.clone());
        let actor = Ref::declare("consensus");
        let wiring = Wiring {
            store: open_store(&dir, &cast.genesis),
            votes: dir.path().join("votes"),
            mark: None,
            tip: watch::channel(None).0,
            network: Some(network),
            blobs: Some(blobs),
        };
        let supervisor =
            Tree::new("root", Strategy::OneForOne).allow_faults(true).actor(spec(&actor, settings, wiring)).start();
        supervisor.ready().await.unwrap();
        Self { actor, supervisor, verdicts, published, tokens: AtomicU64::new(1), _peers: peers, _dir: dir }
    }

    /// A message from a peer, and what becomes of it.
    async fn judge(&mut self, topic: Topic, bytes: Vec<u8>) -> Verdict {
        let token = Token(self.tokens.fetch_add(1, Ordering::Relaxed));
        let frame = GossipFrame { token, peer: PeerId([1; 32]), topic, bytes: bytes.into() };
        self.actor.tell(frame).unwrap();
        let judged = tokio::time::timeout(PATIENCE, self.verdicts.recv()).await.expect("no verdict").unwrap();
        assert_eq!(judged.token, token);
        judged.verdict
    }

    /// The vote of the first step that this node sends next.
    async fn vote(&mut self) -> VoteFrame {
        let heard = async {
            loop {
                let bytes = self.published.recv().await.unwrap().bytes;
                if let Frame::Validation(vote) = wire::decode(&bytes, &wire::Limits::default()).unwrap() {
                    return vote;
                }
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.expect("no vote")
    }

    /// Whether it said anything.
    fn is_silent(&mut self) -> bool {
        self.published.try_recv().is_err()
    }
}

const WRONG: Verdict = Verdict::Reject(Fault::Invalid);
const GARBAGE: Verdict = Verdict::Reject(Fault::Garbage);

/// The vote's kind and block as they are signed: 1 is for the block, 2 against it.
fn content(vote: &VoteFrame) -> (u8, Vec<u8>) {
    let signed = vote.signed_bytes(StepKind::Validation);
    (signed[42], signed[43..].to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_is_voted_valid_with_its_blobs_only() {
    let cast = cast();
    let mut node = Node::start(&cast, &cast.voter).await;
    let (good, other) = (blob(3), blob(5));
    let right = with_blobs(1, vec![named(&good)]);
    let block = cast.block(&right);
    let hash = block.header().hash;
    let with = |data: Option<&Sidecar>| {
        vec![ledger(&with_blobs(1, vec![BlobData { hash: good.hash(), data: data.map(Into::into) }]))]
    };
    let proof = Sidecar { proof: other.proof, ..good.clone() };
    let data = Sidecar { data: other.data.clone(), ..good.clone() };
    let commitment = Sidecar { commitment: other.commitment, ..good.clone() };
    let mut large = good.data.to_vec();
    large[..32].fill(0xff);
    let large = Sidecar::new(good.commitment, good.proof, &large).unwrap();
    // The block's hash does not bind its sidecars, so each of these has the generator's good signature.
    for (what, sidecar) in [
        ("missing", None),
        ("another proof", Some(&proof)),
        ("other data", Some(&data)),
        ("another commitment", Some(&commitment)),
        ("another blob", Some(&other)),
        ("no field element", Some(&large)),
    ] {
        let frame = cast.candidate(&block, with(sidecar), &cast.generator);
        assert_eq!(node.judge(Topic::Candidates, frame).await, WRONG, "{what}");
    }
    // Nor does anybody else's signature do, or a transaction that the block does not have.
    let frame = cast.candidate(&block, with(Some(&good)), &cast.other);
    assert_eq!(node.judge(Topic::Candidates, frame).await, WRONG);
    let foreign = vec![ledger(&with_blobs(2, vec![named(&good)]))];
    assert_eq!(node.judge(Topic::Candidates, cast.candidate(&block, foreign, &cast.generator)).await, WRONG);
    assert!(node.is_silent(), "no vote for any of them");

    // None of that stands in the way of the right one.
    let frame = cast.candidate(&block, with(Some(&good)), &cast.generator);
    assert_eq!(node.judge(Topic::Candidates, frame.clone()).await, Verdict::Accept);
    let vote = node.vote().await;
    assert_eq!((content(&vote), vote.signer), ((1, hash.to_vec()), *cast.voter.id().as_bytes()));
    assert_eq!(node.judge(Topic::Candidates, frame).await, Verdict::Ignore, "known");
    node.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_breaks_a_rule_is_spread_and_voted_against() {
    let cast = cast();
    let mut node = Node::start(&cast, &cast.voter).await;
    let transaction = with_blobs(1, vec![named(&blob(7))]);
    let block = cast.block(&transaction);
    let header = Header { state_hash: [9; 32], hash: [0; 32], ..block.header().clone() };
    let wrong = Block::new(header, Vec::new(), Vec::new()).unwrap();
    let frame = cast.candidate(&wrong, vec![ledger(&transaction)], &cast.generator);
    // Its generator signed it: the others should know.
    assert_eq!(node.judge(Topic::Candidates, frame).await, Verdict::Accept);
    assert_eq!(content(&node.vote().await), (2, wrong.header().hash.to_vec()));
    node.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn votes_pass_once_and_with_a_good_signature_of_a_member() {
    let cast = cast();
    let mut node = Node::start(&cast, &cast.voter).await;
    let block = cast.block(&with_blobs(1, vec![named(&blob(9))]));
    let txs = block.txs().clone();
    assert_eq!(node.judge(Topic::Candidates, cast.candidate(&block, txs, &cast.generator)).await, Verdict::Accept);
    let own = node.vote().await;
    let by = |signer: &Signer, key: &Signer| {
        let vote = VoteFrame { signer: *signer.id().as_bytes(), ..own.clone() };
        let signature = DuskBls::default().sign(key, &vote.signed_bytes(StepKind::Validation));
        VoteFrame { signature, ..vote }
    };
    let bytes = |vote: VoteFrame| wire::encode(&Frame::Validation(vote));
    let Cast { other, outsider, .. } = &cast;
    assert_eq!(node.judge(Topic::Votes, bytes(by(other, outsider))).await, WRONG, "somebody else's signature");
    let no_point = VoteFrame { signature: [0xff; 48], ..by(other, other) };
    assert_eq!(node.judge(Topic::Votes, bytes(no_point)).await, WRONG, "no signature at all");
    assert_eq!(node.judge(Topic::Votes, bytes(by(outsider, outsider))).await, WRONG, "not of the committee");
    let stranger = signer("without a stake");
    assert_eq!(node.judge(Topic::Votes, bytes(by(&stranger, &stranger))).await, WRONG, "not even a provisioner");
    // A forger does not use up the member's vote, which passes once.
    let good = bytes(by(other, other));
    assert_eq!(node.judge(Topic::Votes, good.clone()).await, Verdict::Accept);
    for _ in 0..3 {
        assert_eq!(node.judge(Topic::Votes, good.clone()).await, Verdict::Ignore, "a replay");
    }
    // Other rounds: over, far ahead, above another block.
    let at = |change: fn(&mut VoteFrame)| {
        let mut vote = by(other, other);
        change(&mut vote);
        let signature = DuskBls::default().sign(other, &vote.signed_bytes(StepKind::Validation));
        bytes(VoteFrame { signature, ..vote })
    };
    assert_eq!(node.judge(Topic::Votes, at(|vote| vote.header.round = 0)).await, Verdict::Ignore);
    assert_eq!(node.judge(Topic::Votes, at(|vote| vote.header.round = 1_000)).await, Verdict::Ignore);
    assert_eq!(node.judge(Topic::Votes, at(|vote| vote.header.prev_block_hash = [7; 32])).await, Verdict::Ignore);
    // What is no message.
    for garbage in [vec![], vec![0; 100], good[..good.len() - 1].to_vec(), [&good[..], &[0]].concat()] {
        assert_eq!(node.judge(Topic::Votes, garbage).await, GARBAGE);
    }
    let question = wire::encode(&Frame::GetMempool { nonce: 7 });
    assert_eq!(node.judge(Topic::Votes, question).await, GARBAGE, "questions are asked of one peer");
    node.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_pass_with_a_good_signature_and_all_their_blobs() {
    let cast = cast();
    let mut node = Node::start(&cast, &cast.voter).await;
    let frame = |bytes: &[u8]| {
        let mut payload = Vec::new();
        ledger(bytes).write(&mut payload).unwrap();
        wire::encode(&Frame::Tx(payload.into()))
    };
    let plain = transfer("alice", 1, 5).to_vec();
    let good = frame(&plain);
    // From the end: signature, no data, nonce, no refund address, gas price.
    let mut forged = good.clone();
    let at = forged.len() - 48 - 1 - 8 - 1 - 8;
    forged[at] ^= 1;
    assert_eq!(node.judge(Topic::Transactions, forged).await, WRONG, "another gas price under the signature");
    for garbage in [good[..good.len() - 1].to_vec(), [&good[..6], &[9; 200]].concat()] {
        let verdict = node.judge(Topic::Transactions, garbage).await;
        assert!(matches!(verdict, Verdict::Reject(_)), "{verdict:?}");
    }
    assert_eq!(node.judge(Topic::Transactions, good.clone()).await, Verdict::Accept);
    assert_eq!(node.judge(Topic::Transactions, good).await, Verdict::Ignore, "known");
    let pauper = frame(&transfer("pauper", 1, 5));
    assert_eq!(node.judge(Topic::Transactions, pauper).await, Verdict::Ignore, "well signed, and of no use");

    let (sound, other) = (blob(11), blob(13));
    let proof = Sidecar { proof: other.proof, ..sound.clone() };
    let misnamed = BlobData { hash: other.hash(), data: Some((&sound).into()) };
    let missing = BlobData { hash: sound.hash(), data: None };
    for blobs in [vec![named(&proof)], vec![misnamed], vec![missing.clone()], vec![named(&sound), missing]] {
        assert_eq!(node.judge(Topic::Transactions, frame(&with_blobs(2, blobs))).await, WRONG);
    }
    let right = frame(&with_blobs(2, vec![named(&sound)]));
    assert_eq!(node.judge(Topic::Transactions, right).await, Verdict::Accept);
    node.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hears_another_one_with_its_key_signs_nothing_more() {
    let cast = cast();
    let mut node = Node::start(&cast, &cast.voter).await;
    let signs = async |node: &Node| node.actor.ask_retry(GetConsensusState, PATIENCE).await.unwrap().votes;
    assert!(signs(&node).await);
    let block = cast.block(&with_blobs(1, vec![named(&blob(15))]));
    let header = block.header().to_consensus_header();
    let vote = VoteFrame { header, vote: Vote::NoCandidate, signer: *cast.voter.id().as_bytes(), signature: [0; 48] };
    // A forger proves nothing.
    let forged = VoteFrame { signature: DuskBls::default().sign(&cast.other, b"it"), ..vote.clone() };
    assert_eq!(node.judge(Topic::Votes, wire::encode(&Frame::Validation(forged))).await, WRONG);
    assert!(signs(&node).await);
    let signature = DuskBls::default().sign(&cast.voter, &vote.signed_bytes(StepKind::Validation));
    let vote = VoteFrame { signature, ..vote };
    assert_eq!(node.judge(Topic::Votes, wire::encode(&Frame::Validation(vote))).await, Verdict::Accept);
    let complains = |node: &Node| node.supervisor.actors()[0].state.to_string().contains("signs with this node's key");
    assert!(!signs(&node).await && complains(&node), "{}", node.supervisor.actors()[0].state);
    // The candidate that it would vote on otherwise.
    let frame = cast.candidate(&block, block.txs().clone(), &cast.generator);
    assert_eq!(node.judge(Topic::Candidates, frame).await, Verdict::Accept);
    assert!(!signs(&node).await && node.is_silent());
    // A restart of the actor is nobody's decision.
    let before = node.supervisor.actors()[0].generation;
    node.supervisor.inject("consensus", duskevm_supervision::Fault::Panic).unwrap();
    while node.supervisor.actors()[0].generation == before {
        tokio::task::yield_now().await;
    }
    assert!(!signs(&node).await);
    let said = async {
        while !complains(&node) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, said).await.expect("the new instance does not say why");
    node.supervisor.shutdown(PATIENCE).await;
}
