//! From a candidate that arrives to the own vote on it that is handed to the network: decoding, signatures, blobs, execution, state
//! root, signing, and the vote on a real disk before it leaves.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark stops where it is wrong")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::cast::{Cast, cast};
use common::neighbours::{blob, blobs_kept, network, peer};
use common::*;
use criterion::{Criterion, criterion_group, criterion_main};
use duskevm_blobs::{Sidecar, kzg};
use duskevm_consensus::{Consensus, Wiring, spec};
use duskevm_dusk_l1::sa::wire::{self, Frame};
use duskevm_dusk_l1::transfer::Transaction;
use duskevm_dusk_l1::transfer::data::{BlobData, TransactionData};
use duskevm_messages::gossip::*;
use duskevm_p2p::{PeerId, Topic};
use duskevm_supervision::{Port, Ref, Strategy, Tree};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

fn blobs(count: u8) -> Vec<BlobData> {
    let named = |sidecar: Sidecar| BlobData { hash: sidecar.hash(), data: Some((&sidecar).into()) };
    (1..=count).map(blob).map(named).collect()
}

/// A node of its own for each candidate: a step has one vote.
async fn candidate_to_vote(cast: &Cast, frame: &[u8]) -> Duration {
    let dir = TempDir::new().unwrap();
    let (_peers, feed) = watch::channel((1..=16).map(peer).collect());
    let (published_out, mut published) = mpsc::unbounded_channel();
    let publish = Port::from_fn(move |publish: Publish| {
        let sent = published_out.send((Instant::now(), publish.bytes));
        async move {
            drop(sent);
            Ok(4)
        }
    });
    let mut settings = settings(&cast.genesis, Shift::default().clock());
    settings.signer = Some(cast.voter.clone());
    let actor: Ref<Consensus> = Ref::declare("consensus");
    let wiring = Wiring {
        store: open_store(&dir, &cast.genesis),
        votes: dir.path().join("votes"),
        mark: None,
        tip: watch::channel(None).0,
        network: Some(network(publish, feed)),
        blobs: Some(blobs_kept()),
    };
    let supervisor = Tree::new("root", Strategy::OneForOne).actor(spec(&actor, settings, wiring)).start();
    supervisor.ready().await.unwrap();
    let started = Instant::now();
    let peer = PeerId([1; 32]);
    actor.tell(GossipFrame { token: Token(1), peer, topic: Topic::Candidates, bytes: frame.into() }).unwrap();
    let took = loop {
        let (at, bytes) = tokio::time::timeout(PATIENCE, published.recv()).await.expect("no vote").unwrap();
        if let Ok(Frame::Validation(_)) = wire::decode(&bytes, &wire::Limits::default()) {
            break at - started;
        }
    };
    supervisor.shutdown(PATIENCE).await;
    took
}

fn vote(criterion: &mut Criterion) {
    kzg::warm_up();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut group = criterion.benchmark_group("candidate to vote");
    group.sample_size(20);
    let blob_transaction = |count| {
        let data = Some(TransactionData::Blob(blobs(count)));
        Transaction::moonlight(signer("alice").secret_key(), None, 0, 0, 100_000_000, 1, 1, CHAIN_ID, data)
            .unwrap()
            .to_network_bytes()
    };
    for (name, transaction) in [("one transfer", transfer("alice", 1, 5).to_vec()), ("six blobs", blob_transaction(6))]
    {
        let cast = cast();
        let block = cast.block(&transaction);
        let frame = cast.candidate(&block, block.txs().clone(), &cast.generator);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| runtime.block_on(candidate_to_vote(&cast, &frame))).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, vote);
criterion_main!(benches);
