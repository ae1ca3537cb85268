//! L1 replaces its newest blocks, one to ten of them, above the last final one: the heads of L2 follow, batches that were in the replaced
//! blocks are posted again, no transaction is lost, and what was finalized stays.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/circle.rs"]
mod circle;
#[path = "support/l1_peer.rs"]
mod l1_peer;
mod support;

use alloy_primitives::U256;
use circle::{Circle, DEPOSIT, FOLLOWS, LONG, Watched, lux};
use std::time::Instant;
use support::{Load, accounts, head, verify};

async fn reorgs(depths: &[u64]) {
    let folder = tempfile::tempdir().unwrap();
    let mut circle = Circle::start(folder.path()).await;
    let load = Load::start(circle.sequencer.node.ports.rpc, accounts(5), 10.0);
    circle.catch_up().await;
    let mut deposits = Vec::new();
    for depth in depths {
        deposits.push(circle.reorg(*depth, depth % 2 == 1).await);
        let actors = ["sequencer", "executor", "derivation", "txpool", "batcher", "l1", "consensus", "da-store"];
        circle.sequencer.not_restarted(&actors);
        circle.verifier.not_restarted(&["executor", "derivation", "l1", "consensus", "da-store"]);
    }

    let acknowledged = load.finish().await;
    assert!(acknowledged.len() > 100, "only {} transactions were acknowledged", acknowledged.len());
    let begin = Instant::now();
    let goal = loop {
        let goal = head(&circle.sequencer.node.rpc()).await;
        circle.settle(goal).await;
        let included = circle.sequencer.included(goal).await;
        let missing: Vec<_> = acknowledged.iter().filter(|hash| !included.contains_key(*hash)).collect();
        if missing.is_empty() {
            break goal;
        }
        assert!(
            begin.elapsed() < LONG,
            "{} of {} transactions are in no safe block, {} first\n{}",
            missing.len(),
            acknowledged.len(),
            missing[0],
            circle.sequencer.node.log_tail()
        );
    };
    let expected = circle.sequencer.hashes(goal).await;
    assert_eq!(circle.verifier.hashes(goal).await, expected, "the verifier has another chain");
    for (to, again) in &deposits {
        let wanted = if *again { lux(DEPOSIT) } else { U256::ZERO };
        assert_eq!(circle.verifier.balance(*to, "safe").await, wanted, "the deposit for {to}");
        assert_eq!(circle.sequencer.balance(*to, "safe").await, wanted, "the deposit for {to}");
    }
    for watched in [&circle.sequencer, &circle.verifier] {
        for (number, hash) in &watched.finalized {
            assert_eq!(watched.hash(*number).await, Some(*hash), "finalized block {number} was replaced");
        }
    }

    // From L1 alone the same chain comes.
    let Circle { peer, files, sequencer, verifier, .. } = circle;
    assert!(verifier.node.stop().success());
    let known = [sequencer.peer, verifier.peer];
    let mut fresh = Watched::start(&peer, &files, &known, &folder.path().join("fresh"), &FOLLOWS).await;
    fresh.until("the safe head from L1 alone", |heads| heads.safe.number >= goal).await;
    assert_eq!(fresh.hashes(goal).await, expected, "from L1 alone another chain comes");
    println!(
        "{goal} blocks and {} transactions are the same, {:?} finalized",
        acknowledged.len(),
        sequencer.finalized.last_key_value()
    );
    assert!(fresh.node.stop().success());
    assert!(sequencer.node.stop().success());
    verify(&folder.path().join("sequencer"));
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_follows_l1_when_its_newest_blocks_are_replaced() {
    reorgs(&[1, 3, 10]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes some minutes: every depth from one to ten"]
async fn l2_follows_l1_reorgs_of_every_depth_up_to_ten() {
    reorgs(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]).await;
}
