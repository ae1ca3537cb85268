//! `check`: is everything still true that an earlier `run --record` was told?

use crate::{
    args::CheckArgs,
    follow::{blocks, head},
    http::Endpoint,
    record::{self, Told},
    rpc::Client,
    verify::{Findings, nonces},
};
use alloy_primitives::{Address, B256, map::HashMap};
use anyhow::{Result, bail, ensure};
use std::time::{Duration, Instant};

/// Blocks read in one request.
const BLOCKS: usize = 16;

pub(crate) async fn command(args: CheckArgs) -> Result<bool> {
    let told = record::read(&args.record)?;
    ensure!(!told.is_empty(), "{} is empty: nothing was told", args.record.display());
    let endpoint = Endpoint::parse(&args.url, Duration::from_secs(30))?;
    let mut client = Client::new(endpoint, Duration::from_secs(args.wait_seconds));
    let begin = Instant::now();
    let findings = loop {
        let findings = look(&mut client, &told).await?;
        // What is only late may still come.
        if findings.lost == 0 || begin.elapsed() > Duration::from_secs(args.wait_seconds) {
            break findings;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        println!(
            "{} blocks read: {} transactions in one block each, {} lost, {} repeated, {} blocks changed, {} accounts with wrong nonces",
            findings.blocks,
            findings.included_once,
            findings.lost,
            findings.repeated,
            findings.changed_blocks,
            findings.nonce_errors
        );
        findings.examples.iter().for_each(|example| println!("  {example}"));
    }
    Ok(findings.is_clean())
}

async fn look(client: &mut Client, told: &[Told]) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut times: HashMap<B256, u8> = HashMap::default();
    let mut ends: HashMap<Address, u64> = HashMap::default();
    let mut hashes: HashMap<u64, B256> = HashMap::default();
    for told in told {
        match *told {
            Told::Tx { hash, sender, nonce } => {
                times.insert(hash, 0);
                let end = ends.entry(sender).or_default();
                *end = (*end).max(nonce + 1);
            }
            Told::Block { number, hash } => {
                if hashes.insert(number, hash).is_some_and(|before| before != hash) {
                    findings.changed_blocks += 1;
                    findings.example(|| format!("block {number} was told with two hashes"));
                }
            }
        }
    }
    let last = head(client).await?;
    // Nothing was included before the first block that was seen.
    let mut number = hashes.keys().min().copied().unwrap_or_default();
    while number <= last {
        let found = blocks(client, number, BLOCKS.min((last - number + 1) as usize)).await?;
        let Some(newest) = found.last() else { bail!("block {number} is not there, although the head is {last}") };
        let reached = newest.number.to::<u64>();
        for block in &found {
            findings.blocks += 1;
            for hash in &block.transactions {
                if let Some(times) = times.get_mut(hash) {
                    *times = times.saturating_add(1);
                }
            }
            let number = block.number.to::<u64>();
            if let Some(before) = hashes.remove(&number).filter(|before| *before != block.hash) {
                findings.changed_blocks += 1;
                findings.example(|| format!("block {number} was {before} and is {}", block.hash));
            }
        }
        number = reached + 1;
    }
    for (number, hash) in hashes {
        findings.changed_blocks += 1;
        findings.example(|| format!("block {number} was {hash} and is gone"));
    }
    for (hash, times) in times {
        match times {
            0 => {
                findings.lost += 1;
                findings.example(|| format!("{hash} was accepted and is in no block"));
            }
            1 => findings.included_once += 1,
            _ => {
                findings.repeated += 1;
                findings.example(|| format!("{hash} is in {times} blocks"));
            }
        }
    }
    let (senders, ends): (Vec<Address>, Vec<u64>) = ends.into_iter().unzip();
    for ((sender, end), count) in senders.iter().zip(ends).zip(nonces(client, &senders).await?) {
        // More may have been included than was told; less may not.
        if count < end {
            findings.nonce_errors += 1;
            findings.example(|| format!("{sender} has nonce {count}, but transaction {} of it was accepted", end - 1));
        }
    }
    Ok(findings)
}
