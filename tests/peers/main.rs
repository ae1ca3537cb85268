//! Unmodified programs of the OP Stack on our sockets: the L1 endpoint, the blob API and the Engine API of the role `execution`.
//!
//! Each test runs if an environment variable names the program; the README says how to build it. Without it the test says so and ends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/circle.rs"]
mod circle;
#[path = "../support/l1_peer.rs"]
mod l1_peer;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/wallet.rs"]
mod wallet;

mod derivation;
mod gossip;
mod kona;

use alloy_primitives::B256;
use jsonrpsee::http_client::HttpClient;
use kona::Execution;
use serde_json::json;
use std::time::{Duration, Instant};
use support::{Node, call, quantity};

/// The longest that a step may take.
const LONG: Duration = Duration::from_secs(180);

async fn block(rpc: &HttpClient, which: &str) -> Option<(u64, B256)> {
    let block = call(rpc, "eth_getBlockByNumber", vec![json!(which), json!(false)]).await.ok()?;
    Some((quantity(block.get("number")?), serde_json::from_value(block["hash"].clone()).unwrap()))
}

/// Waits until a block with this tag on the one side has at least this number, and compares all blocks up to it.
///
/// Blocks that L1 took back may be there until the goal is reached.
async fn agree(tag: &str, theirs: &HttpClient, ours: &HttpClient, goal: u64, why: impl Fn() -> String) {
    let begin = Instant::now();
    let at = format!("{goal:#x}");
    loop {
        let newest = block(theirs, tag).await.map_or(0, |(number, _)| number);
        if newest >= goal && block(theirs, &at).await == block(ours, &at).await {
            break;
        }
        assert!(begin.elapsed() < LONG, "not block {goal}: the {tag} block is {newest}\n{}", why());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for number in 1..=goal {
        let at = format!("{number:#x}");
        assert_eq!(block(theirs, &at).await.unwrap(), block(ours, &at).await.unwrap(), "block {number}\n{}", why());
    }
}

/// Follows the safe head of the peer's execution client up to a goal, and compares every block on the way with ours.
struct Comparison {
    ours: HttpClient,
    theirs: HttpClient,
    compared: u64,
}

impl Comparison {
    fn new(ours: &Node, theirs: &Execution) -> Self {
        Self { ours: ours.rpc(), theirs: theirs.rpc(), compared: 0 }
    }

    async fn to(&mut self, goal: u64, why: impl Fn() -> String) {
        let mut begin = Instant::now();
        while self.compared < goal {
            if let Some((safe, _)) = block(&self.theirs, "safe").await
                && safe > self.compared
            {
                for number in self.compared + 1..=safe {
                    let at = format!("{number:#x}");
                    let (ours, theirs) = (block(&self.ours, &at).await, block(&self.theirs, &at).await.unwrap());
                    assert_eq!(ours, Some(theirs), "block {number}\n{}", why());
                }
                self.compared = safe;
                begin = Instant::now();
            }
            assert!(begin.elapsed() < LONG, "no safe block above {} of {goal}\n{}", self.compared, why());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
