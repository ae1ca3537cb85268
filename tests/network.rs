//! Four provisioners in processes of their own, which talk over loopback: whichever of them is killed, the others go on or wait,
//! nobody is left on another chain, and who was away or lost everything comes back.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/provisioners.rs"]
mod provisioners;
mod support;

use provisioners::Network;
use serde_json::json;
use std::time::{Duration, Instant};
use support::head;

/// A network has four processes: one at a time.
static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Waits until L2, which runs on the first node, has so many blocks more.
async fn l2_grows(network: &mut Network, blocks: u64) {
    let rpc = network.rpc();
    let goal = head(&rpc).await + blocks;
    let begin = Instant::now();
    while head(&rpc).await < goal {
        assert!(begin.elapsed() < Duration::from_secs(60), "L2 stands still\n{}", network.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// All four are connected and have some final blocks.
async fn begin(block_time: u64) -> Network {
    let mut network = Network::start(4, block_time);
    let all: Vec<usize> = network.numbers().collect();
    network
        .until(&all, "four connected nodes with final blocks", |all| {
            all.iter().all(|look| look.peers == 3 && look.final_height >= 1)
        })
        .await;
    network
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_go_on_without_the_fourth_which_loses_all_and_comes_back() {
    let _one = ONE.lock().await;
    let mut network = begin(2).await;
    l2_grows(&mut network, 2).await;
    let before = network.agree(0).await;
    let status = network.status(2);
    assert_eq!((&status["l1"]["votes"], &status["l1"]["peers"]), (&json!(true), &json!(3)), "{status}");

    network.kill(3);
    network.grow(2).await;
    network.wipe(3);
    network.start_node(3);
    let height = network.catch_up(3).await;
    network.agree_at(height).await;
    let after = network.agree(0).await;
    assert!(before.iter().all(|(height, block)| after[height] == *block));
    network.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: run it with `cargo test --test network -- --ignored each_in_turn`"]
async fn each_in_turn_is_killed_and_comes_back() {
    let _one = ONE.lock().await;
    for number in 1..=4 {
        // In a network of its own: who misses its proposals twice is suspended, and of the three that are left none may be missing.
        let mut network = begin(2).await;
        let before = network.agree(0).await;
        network.kill(number);
        network.grow(3).await;
        if number != 1 {
            l2_grows(&mut network, 2).await;
        }
        network.start_node(number);
        let height = network.catch_up(number).await;
        network.agree_at(height).await;
        network.grow(1).await;
        let after = network.agree(0).await;
        assert!(before.iter().all(|(height, block)| after[height] == *block));
        l2_grows(&mut network, 2).await;
        println!("node {number} was killed and came back; {} final blocks are the same everywhere", after.len());
        network.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: run it with `cargo test --test network -- --ignored without_two`"]
async fn without_two_the_chain_waits_and_goes_on_without_a_fork() {
    /// What was decided before the two died arrives within this time.
    const SETTLE: Duration = Duration::from_secs(10);
    /// No block for so long.
    const HALT: Duration = Duration::from_secs(60);
    let _one = ONE.lock().await;
    let mut network = begin(2).await;
    let before = network.agree(0).await;
    network.kill(3);
    network.kill(4);
    let (killed, mut stands) = (Instant::now(), None);
    while killed.elapsed() < SETTLE + HALT {
        let height = network.highest().await;
        if killed.elapsed() > SETTLE {
            assert_eq!(*stands.get_or_insert(height), height, "two of four made a block\n{}", network.logs());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let halted = stands.unwrap();
    println!("two of four made no block above {halted} for {HALT:?}");

    network.start_node(3);
    let returned = Instant::now();
    network.grow(1).await;
    println!("with the third the next block came after {:?}", returned.elapsed());
    network.grow(2).await;
    let three = network.agree(0).await;
    assert!(before.iter().all(|(height, block)| three[height] == *block));
    network.start_node(4);
    network.catch_up(4).await;
    let all: Vec<usize> = network.numbers().collect();
    network
        .until(&all, "what was made before the halt is final", |all| all.iter().all(|look| look.final_height > halted))
        .await;
    let four = network.agree(0).await;
    assert!(three.iter().all(|(height, block)| four[height] == *block));
    l2_grows(&mut network, 2).await;
    network.stop();
}

/// How many blocks the fourth node is away for.
fn blocks_away() -> u64 {
    std::env::var("DUSKEVM_TEST_BLOCKS_AWAY").map_or(2_000, |text| text.parse().unwrap())
}

/// The others make a block a second. They could not without a fourth of the stake, so the fourth node first takes nearly all of
/// its stake back, which also shows that unstaking works between processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "2,000 blocks of a second each: run it with `cargo test --test network -- --ignored --nocapture blocks_away`, or set DUSKEVM_TEST_BLOCKS_AWAY to fewer"]
async fn a_node_that_was_blocks_away_catches_up() {
    let _one = ONE.lock().await;
    let away = blocks_away();
    let mut network = begin(1).await;
    let unstaked = network.l1(4, &["unstake", "--amount", "999000", "--json"]);
    assert!(unstaked.status.success(), "{}", String::from_utf8_lossy(&unstaked.stderr));
    network.grow(2).await;

    network.kill(4);
    let (from, begin) = (network.highest().await, Instant::now());
    let goal = from + away;
    let others = network.running();
    // A block in half a minute is slow, and still no standstill.
    network
        .until_within(Duration::from_secs(240 + 30 * away), &others, &format!("block {goal}"), |all| {
            all.iter().all(|look| look.height >= goal)
        })
        .await;
    println!("three made {away} blocks in {:.0} s", begin.elapsed().as_secs_f64());

    network.start_node(4);
    let begin = Instant::now();
    let first = network.until(&[4], "node 4 answers", |_| true).await[0].height;
    let seen = network.until(&[4], "node 4 gets blocks", |all| all[0].height > first).await[0].height;
    let (waited, begin) = (begin.elapsed(), Instant::now());
    let behind = "node 4 has what the others had";
    let reached = network.until(&[4], behind, |all| all[0].height >= goal && !all[0].syncing).await[0].height;
    let all = begin.elapsed().as_secs_f64();
    println!(
        "node 4 came back at block {first}, found peers and the first blocks {:.1} s after its start, and took the {} blocks up to \
         {reached} in {all:.1} s: {:.0} blocks/s",
        waited.as_secs_f64(),
        reached - seen,
        (reached - seen) as f64 / all,
    );
    network.grow(2).await;
    assert!(network.agree(0).await.len() as u64 > away);
    network.stop();
}
