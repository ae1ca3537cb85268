//! `settle`: how long single transactions take until they are in a block, safe (on L1 and derived from there) and final.

use crate::{args::SettleArgs, http::Endpoint, rpc::Client, sign::Signer};
use alloy_consensus::TxEip1559;
use alloy_primitives::{B256, TxKind, U64, U256};
use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const GWEI: u128 = 1_000_000_000;
/// Receipts that are asked for in one request.
const BATCH: usize = 100;
/// How long the node may be away.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    block_hash: B256,
    block_number: U64,
}

#[derive(Debug, Deserialize)]
struct Numbered {
    number: U64,
}

/// One transaction; times are since it was sent.
#[derive(Debug)]
struct Sent {
    hash: B256,
    at: Instant,
    place: Option<Place>,
    included: Option<Duration>,
    safe: Option<Duration>,
    finalized: Option<Duration>,
}

impl Sent {
    /// What a look at the node showed. A transaction whose block was replaced is in another one, or none; its times then begin anew.
    fn look(&mut self, place: Option<Place>, safe: u64, finalized: u64, now: Instant) {
        let waited = now.saturating_duration_since(self.at);
        if self.place != place {
            (self.place, self.included, self.safe, self.finalized) = (place, None, None, None);
        }
        let Some(place) = place else { return };
        let number: u64 = place.block_number.to();
        self.included.get_or_insert(waited);
        if number <= safe {
            self.safe.get_or_insert(waited);
        }
        if number <= finalized {
            self.finalized.get_or_insert(waited);
        }
    }
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Spread {
    count: usize,
    least: u128,
    median: u128,
    p90: u128,
    most: u128,
}

/// `None` if there are no times.
fn spread(times: impl IntoIterator<Item = Duration>) -> Option<Spread> {
    let mut times: Vec<u128> = times.into_iter().map(|time| time.as_millis()).collect();
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    Some(Spread { count: times.len(), least: *times.first()?, median: at(50)?, p90: at(90)?, most: *times.last()? })
}

pub(crate) async fn command(args: SettleArgs) -> Result<bool> {
    ensure!(args.count > 0, "--count must not be 0");
    let mut client = Client::new(Endpoint::parse(&args.url, Duration::from_secs(60))?, PATIENCE);
    let chain_id: U64 = client.call("eth_chainId", json!([])).await?;
    let signer = Signer::new();
    let key = signer.key_of_mnemonic(&args.mnemonic, args.account)?;
    let first: U64 = client.call("eth_getTransactionCount", json!([key.address, "pending"])).await?;
    let every = Duration::from_millis(args.every_ms);
    let begin = Instant::now();
    let deadline = begin + every * u32::try_from(args.count)? + Duration::from_secs(args.give_up_seconds);
    let mut sent: Vec<Sent> = Vec::new();
    loop {
        while sent.len() < args.count && begin + every * u32::try_from(sent.len())? <= Instant::now() {
            let tx = TxEip1559 {
                chain_id: chain_id.to(),
                nonce: first.to::<u64>() + sent.len() as u64,
                gas_limit: 21_000,
                max_fee_per_gas: 100 * GWEI,
                max_priority_fee_per_gas: GWEI,
                to: TxKind::Call(key.address),
                value: U256::from(1),
                ..Default::default()
            };
            let signed = signer.sign(&key, tx);
            let at = Instant::now();
            let hash: B256 = client.call("eth_sendRawTransaction", json!([signed.raw])).await?;
            ensure!(hash == signed.hash, "the node took transaction {} as {hash}", signed.hash);
            sent.push(Sent { hash, at, place: None, included: None, safe: None, finalized: None });
        }
        look(&mut client, &mut sent).await?;
        let done = sent.iter().filter(|tx| tx.finalized.is_some()).count();
        if done == args.count {
            break;
        }
        if Instant::now() >= deadline {
            report(&sent, args.json)?;
            bail!("only {done} of {} transactions are final: do actors.batcher and actors.derivation run?", args.count);
        }
        tokio::time::sleep(Duration::from_millis(args.poll_ms)).await;
    }
    report(&sent, args.json)?;
    Ok(true)
}

/// Looks at all that are not final.
async fn look(client: &mut Client, sent: &mut [Sent]) -> Result<()> {
    // The heads first: what is in a block up to them was so at that moment.
    let safe: Numbered = client.call("eth_getBlockByNumber", json!(["safe", false])).await?;
    let finalized: Numbered = client.call("eth_getBlockByNumber", json!(["finalized", false])).await?;
    let mut open: Vec<&mut Sent> = sent.iter_mut().filter(|tx| tx.finalized.is_none()).collect();
    for chunk in open.chunks_mut(BATCH) {
        let params: Vec<Value> = chunk.iter().map(|tx| json!([tx.hash])).collect();
        let places = client.batch::<Place>("eth_getTransactionReceipt", &params).await?;
        let now = Instant::now();
        for (tx, place) in chunk.iter_mut().zip(places) {
            match place {
                Ok(place) => tx.look(place, safe.number.to(), finalized.number.to(), now),
                Err(error) => bail!("eth_getTransactionReceipt: {error}"),
            }
        }
    }
    Ok(())
}

fn report(sent: &[Sent], as_json: bool) -> Result<()> {
    let phases = [
        ("in a block", spread(sent.iter().filter_map(|tx| tx.included))),
        ("safe", spread(sent.iter().filter_map(|tx| tx.safe))),
        ("final", spread(sent.iter().filter_map(|tx| tx.finalized))),
    ];
    if as_json {
        let all: serde_json::Map<_, _> =
            phases.iter().map(|(name, spread)| ((*name).to_owned(), json!(spread))).collect();
        println!("{:#}", Value::Object(all));
        return Ok(());
    }
    println!("| until it is | transactions | least | median | p90 | most |\n|---|---|---|---|---|---|");
    for (name, spread) in phases {
        match spread {
            Some(Spread { count, least, median, p90, most }) => {
                println!("| {name} | {count} | {least} ms | {median} ms | {p90} ms | {most} ms |");
            }
            None => println!("| {name} | 0 | - | - | - | - |"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: u64, salt: u8) -> Option<Place> {
        Some(Place { block_hash: B256::repeat_byte(salt), block_number: U64::from(number) })
    }

    #[test]
    fn times_count_from_sending_and_anew_when_a_block_is_replaced() {
        let at = Instant::now();
        let after = |seconds| at + Duration::from_secs(seconds);
        let mut tx = Sent { hash: B256::ZERO, at, place: None, included: None, safe: None, finalized: None };
        tx.look(None, 9, 9, after(1));
        assert_eq!((tx.included, tx.safe), (None, None));
        tx.look(place(5, 1), 4, 3, after(2));
        tx.look(place(5, 1), 5, 3, after(3));
        let times = |tx: &Sent| [tx.included, tx.safe, tx.finalized].map(|time| time.map(|time| time.as_secs()));
        assert_eq!(times(&tx), [Some(2), Some(3), None]);
        // L1 has another block there.
        tx.look(place(6, 2), 5, 3, after(4));
        assert_eq!(times(&tx), [Some(4), None, None]);
        tx.look(place(6, 2), 7, 6, after(5));
        assert_eq!(times(&tx), [Some(4), Some(5), Some(5)]);
    }

    #[test]
    fn a_spread_of_times() {
        let times = (1..=10).map(|n| Duration::from_millis(n * 100));
        let expected = Spread { count: 10, least: 100, median: 500, p90: 900, most: 1000 };
        assert_eq!(spread(times), Some(expected));
        assert_eq!(spread([]), None);
        let one = Duration::from_millis(7);
        assert_eq!(spread([one]), Some(Spread { count: 1, least: 7, median: 7, p90: 7, most: 7 }));
    }
}
