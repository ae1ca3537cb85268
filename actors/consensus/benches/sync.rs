//! How fast a node that was away catches up: blocks that others agreed on, from a peer's answer to a durable tip, through the real
//! actor, with the database on a real disk and the real signatures. The blocks are empty: what a transaction costs is another matter.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark stops where it is wrong")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::maker::{Follower, Maker};
use common::*;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use duskevm_messages::consensus::GetConsensusState;
use tempfile::TempDir;

const BLOCKS: u64 = 300;

/// Time for all blocks, and the longest that a question to the actor waited meanwhile.
async fn catch_up(maker: &Maker, settings: &duskevm_consensus::Settings) -> (Duration, Duration) {
    let dir = TempDir::new().unwrap();
    let store = open_store(&dir, &settings.genesis);
    let node = Follower::start(settings.clone(), &store);
    node.supervisor.ready().await.unwrap();
    let mut tip = node.tip.clone();
    node.connect(1, &maker.blocks, BLOCKS, (0, [0; 32]));
    // From the first block on: before it the node waits a while for peers.
    tip.wait_for(|tip| tip.is_some_and(|tip| tip.height > 0)).await.unwrap();
    let (started, mut longest) = (Instant::now(), Duration::ZERO);
    while tip.borrow().unwrap().height < BLOCKS {
        let asked = Instant::now();
        node.actor.ask_within(GetConsensusState, PATIENCE).await.unwrap();
        longest = longest.max(asked.elapsed());
        let _ = tokio::time::timeout(Duration::from_millis(20), tip.changed()).await;
    }
    let took = started.elapsed();
    node.supervisor.shutdown(PATIENCE).await;
    (took, longest)
}

fn sync(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let genesis = genesis(1, Duration::from_secs(3600));
    let mut maker = Maker::new(&genesis);
    maker.more(BLOCKS.try_into().unwrap());
    let settings = settings(&genesis, Shift::default().clock());
    let mut group = criterion.benchmark_group("sync");
    group.sample_size(10).throughput(Throughput::Elements(BLOCKS));
    let mut longest = Duration::ZERO;
    group.bench_function("accepted blocks", |bencher| {
        bencher.iter_custom(|times| {
            let mut all = Duration::ZERO;
            for _ in 0..times {
                let (took, waited) = runtime.block_on(catch_up(&maker, &settings));
                all += took;
                longest = longest.max(waited);
            }
            all
        });
    });
    group.finish();
    println!("longest wait of a question to the actor meanwhile: {longest:?}");
}

criterion_group!(benches, sync);
criterion_main!(benches);
