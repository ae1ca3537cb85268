//! Follows the chain block by block and notes what is included when.

use crate::{
    ledger::Ledger,
    record::{Record, Told},
    rpc::Client,
};
use alloy_primitives::{B256, U64};
use anyhow::{Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Blocks asked for in one request, at most.
const BATCH: usize = 32;

/// What matters of a block.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Block {
    pub(crate) number: U64,
    pub(crate) hash: B256,
    pub(crate) parent_hash: B256,
    pub(crate) gas_used: U64,
    pub(crate) transactions: Vec<B256>,
}

/// A block that was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) number: u64,
    pub(crate) hash: B256,
    /// Transactions of the load in it.
    pub(crate) ours: u64,
    pub(crate) gas: u64,
}

/// Asks for `count` blocks from `first` on; ends before the first that is not there.
pub(crate) async fn blocks(client: &mut Client, first: u64, count: usize) -> Result<Vec<Block>> {
    let params: Vec<Value> = (first..).take(count).map(|number| json!([format!("{number:#x}"), false])).collect();
    let mut found = Vec::with_capacity(count);
    for outcome in client.batch::<Block>("eth_getBlockByNumber", &params).await? {
        match outcome {
            Ok(Some(block)) => found.push(block),
            Ok(None) => break,
            Err(error) => bail!("eth_getBlockByNumber: {error}"),
        }
    }
    Ok(found)
}

/// The newest block's number.
pub(crate) async fn head(client: &mut Client) -> Result<u64> {
    Ok(client.call::<U64>("eth_blockNumber", json!([])).await?.to())
}

/// How it is followed.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) client: Client,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) record: Arc<Record>,
    pub(crate) poll: Duration,
    /// Errors of the node are waited out.
    pub(crate) resilient: bool,
}

impl Follower {
    /// Follows from block `next` on until `stop` is set; then once more, so that what is there is seen.
    pub(crate) async fn run(mut self, mut next: u64, stop: Arc<AtomicBool>) -> Result<Vec<Seen>> {
        let mut seen: Vec<Seen> = Vec::new();
        let mut want = 1;
        loop {
            let stopping = stop.load(Ordering::Relaxed);
            let found = match blocks(&mut self.client, next, want).await {
                Ok(found) => found,
                Err(_) if self.resilient && !stopping => {
                    tokio::time::sleep(self.poll.max(Duration::from_millis(50))).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let all = found.len() == want;
            self.record.tell(found.iter().map(|b| Told::Block { number: b.number.to(), hash: b.hash }))?;
            for block in found {
                if let Some(parent) = seen.last().filter(|parent| parent.hash != block.parent_hash) {
                    bail!(
                        "block {} is not the child of block {} that was seen before: the chain has changed",
                        next,
                        parent.number
                    );
                }
                let ours = block.transactions.iter().filter_map(|hash| self.ledger.included(hash)).count() as u64;
                seen.push(Seen { number: next, hash: block.hash, ours, gas: block.gas_used.to() });
                next += 1;
            }
            self.ledger.progress.notify_waiters();
            if all {
                // Behind: ask for more at once.
                want = (want * 2).min(BATCH);
            } else if stopping {
                return Ok(seen);
            } else {
                want = 1;
                tokio::time::sleep(self.poll).await;
            }
        }
    }
}
