//! Reads the chain again and compares it with what the node said while the load ran.

use crate::{
    follow::{Seen, blocks, head},
    ledger::Ledger,
    load::Load,
    rpc::Client,
};
use alloy_primitives::{Address, B256, U64};
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Blocks read in one request.
const BLOCKS: usize = 16;
/// Accounts or receipts asked for in one request.
const ACCOUNTS: usize = 100;
/// Receipts looked at in a sample.
const SAMPLE: usize = 500;
/// Examples of each kind of violation that are named.
const EXAMPLES: usize = 10;

/// What was found. No violation: everything that was told is true.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Findings {
    /// Blocks read.
    pub(crate) blocks: u64,
    /// Transactions that were told and found in exactly one block.
    pub(crate) included_once: u64,
    /// Told, and in no block.
    pub(crate) lost: u64,
    /// In more than one block.
    pub(crate) repeated: u64,
    /// In a block, and failed there.
    pub(crate) failed: u64,
    /// Blocks whose hash is another one than before.
    pub(crate) changed_blocks: u64,
    /// Accounts whose transactions are not 0, 1, 2 … in the order of the chain, or whose nonce says something else.
    pub(crate) nonce_errors: u64,
    /// Some of the violations.
    pub(crate) examples: Vec<String>,
}

impl Findings {
    pub(crate) const fn is_clean(&self) -> bool {
        self.lost == 0 && self.repeated == 0 && self.failed == 0 && self.changed_blocks == 0 && self.nonce_errors == 0
    }

    async fn look_at_blocks(&mut self, client: &mut Client, ledger: &Ledger, blocks: &[Value]) -> Result<()> {
        for outcome in client.batch::<Vec<Receipt>>("eth_getBlockReceipts", blocks).await? {
            let receipts = match outcome {
                Ok(receipts) => receipts.context("eth_getBlockReceipts: null")?,
                Err(error) => bail!("eth_getBlockReceipts: {error}"),
            };
            receipts.iter().filter(|r| ledger.index_of(&r.transaction_hash).is_some()).for_each(|r| self.receipt(r));
        }
        Ok(())
    }

    async fn look_at_sample(&mut self, client: &mut Client, load: &Load) -> Result<()> {
        let step = load.transactions.len().div_ceil(SAMPLE).max(1);
        let hashes: Vec<Value> = load.transactions.iter().step_by(step).map(|t| json!([t.signed.hash])).collect();
        for chunk in hashes.chunks(ACCOUNTS) {
            for outcome in client.batch::<Receipt>("eth_getTransactionReceipt", chunk).await? {
                match outcome {
                    Ok(receipt) => receipt.iter().for_each(|receipt| self.receipt(receipt)),
                    Err(error) => bail!("eth_getTransactionReceipt: {error}"),
                }
            }
        }
        Ok(())
    }

    fn receipt(&mut self, receipt: &Receipt) {
        if receipt.status.is_zero() {
            self.failed += 1;
            self.example(|| format!("{} failed", receipt.transaction_hash));
        }
    }

    pub(crate) fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(text());
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    transaction_hash: B256,
    status: U64,
}

/// How many receipts are looked at for failed transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receipts {
    All,
    /// Some hundreds: nodes to compare with may need minutes for all.
    Sample,
}

/// Transaction counts of many accounts at the newest block.
pub(crate) async fn nonces(client: &mut Client, accounts: &[Address]) -> Result<Vec<u64>> {
    let mut all = Vec::with_capacity(accounts.len());
    for chunk in accounts.chunks(ACCOUNTS) {
        let params: Vec<Value> = chunk.iter().map(|address| json!([address, "latest"])).collect();
        for outcome in client.batch::<U64>("eth_getTransactionCount", &params).await? {
            match outcome {
                Ok(count) => all.push(count.context("eth_getTransactionCount: null")?.to()),
                Err(error) => bail!("eth_getTransactionCount: {error}"),
            }
        }
    }
    Ok(all)
}

/// Checks a whole load from block `first` on.
pub(crate) async fn load(
    client: &mut Client,
    load: &Load,
    ledger: &Ledger,
    seen: &[Seen],
    first: u64,
    receipts: Receipts,
) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut times = vec![0u8; load.transactions.len()];
    let mut next = vec![0u64; load.accounts.len()];
    let mut disordered = vec![false; load.accounts.len()];
    let last = head(client).await?;
    let mut number = first;
    while number <= last {
        let found = blocks(client, number, BLOCKS.min((last - number + 1) as usize)).await?;
        let Some(newest) = found.last() else { bail!("block {number} is not there, although the head is {last}") };
        let reached = newest.number.to::<u64>();
        let mut with_ours = Vec::new();
        for block in &found {
            findings.blocks += 1;
            let mut any = false;
            for index in block.transactions.iter().filter_map(|hash| ledger.index_of(hash)) {
                any = true;
                times[index] = times[index].saturating_add(1);
                let transaction = &load.transactions[index];
                if transaction.signed.nonce != next[transaction.account] {
                    disordered[transaction.account] = true;
                }
                next[transaction.account] = transaction.signed.nonce + 1;
            }
            if any {
                with_ours.push(json!([format!("{:#x}", block.number)]));
            }
            let before = seen.iter().find(|seen| seen.number == block.number.to::<u64>());
            if let Some(before) = before.filter(|before| before.hash != block.hash) {
                findings.changed_blocks += 1;
                findings.example(|| format!("block {} was {} and is {}", before.number, before.hash, block.hash));
            }
        }
        if receipts == Receipts::All {
            findings.look_at_blocks(client, ledger, &with_ours).await?;
        }
        number = reached + 1;
    }
    if receipts == Receipts::Sample {
        findings.look_at_sample(client, load).await?;
    }
    for block in seen.iter().filter(|block| block.number > last) {
        findings.changed_blocks += 1;
        findings.example(|| format!("block {} was {} and is gone", block.number, block.hash));
    }
    for (index, times) in times.into_iter().enumerate() {
        let hash = load.transactions[index].signed.hash;
        match times {
            0 if ledger.is_accepted(index) => {
                findings.lost += 1;
                findings.example(|| format!("{hash} was accepted and is in no block"));
            }
            0 => {}
            1 => findings.included_once += 1,
            _ => {
                findings.repeated += 1;
                findings.example(|| format!("{hash} is in {times} blocks"));
            }
        }
    }
    let counts = nonces(client, &load.accounts).await?;
    for (account, count) in counts.into_iter().enumerate() {
        if disordered[account] || count != next[account] {
            findings.nonce_errors += 1;
            let address = load.accounts[account];
            findings.example(|| {
                format!("{address} has nonce {count}, its transactions in blocks end before {}", next[account])
            });
        }
    }
    Ok(findings)
}
