//! `run`: one load on one node.

use crate::{
    args::{LoadArgs, PaceArgs, RunArgs},
    follow::{Follower, Seen, head},
    http::Endpoint,
    ledger::Ledger,
    load::{Chain, Keys, Load},
    record::Record,
    report::{self, Report},
    rpc::Client,
    sign::Signed,
    submit::Submitter,
    verify::{self, Receipts},
};
use alloy_primitives::{Address, B256, U64, U256};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Transactions of a stage sent in one request.
const STAGE_BATCH: usize = 100;
/// Seconds a stage may take to be included.
const STAGE_SECONDS: u64 = 60;

/// Everything but the node.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) load: Arc<Load>,
    pub(crate) load_args: &'a LoadArgs,
    pub(crate) pace: &'a PaceArgs,
    pub(crate) signing: Duration,
    pub(crate) verify: Option<Receipts>,
    pub(crate) record: Option<&'a Path>,
}

pub(crate) async fn command(args: RunArgs) -> Result<bool> {
    let patience = Duration::from_secs(if args.pace.resilient { args.pace.give_up_seconds } else { 0 });
    let mut client = Client::new(endpoint(&args.url, &args.pace)?, patience);
    let begin = Instant::now();
    let keys = Keys::derive(&args.load, args.load.seed.unwrap_or_else(rand::random))?;
    let chain = read_chain(&mut client, &keys).await?;
    let transactions = match (args.seconds, args.pace.rate) {
        (Some(seconds), Some(rate)) => (seconds as f64 * rate).ceil() as u64,
        _ => args.load.transactions,
    };
    check_fee(&mut client, args.load.max_fee_gwei).await?;
    let load = Arc::new(Load::sign(&keys, &args.load, transactions, &chain)?);
    let job = Job {
        load,
        load_args: &args.load,
        pace: &args.pace,
        signing: begin.elapsed(),
        verify: args.verify.then_some(Receipts::All),
        record: args.record.as_deref(),
    };
    let report = job.on("node", &args.url, args.pid).await?;
    report::publish(std::slice::from_ref(&report), None, args.json.as_deref())?;
    Ok(report.is_clean())
}

/// A request to a node that restarts may never be answered: a resilient load asks again soon.
fn endpoint(url: &str, pace: &PaceArgs) -> Result<Endpoint> {
    Endpoint::parse(url, Duration::from_secs(if pace.resilient { 10 } else { 60 }))
}

async fn read_chain(client: &mut Client, keys: &Keys) -> Result<Chain> {
    let chain_id: U64 = client.call("eth_chainId", json!([])).await?;
    let sources: Vec<Address> = keys.sources.iter().map(|key| key.address).collect();
    Ok(Chain { chain_id: chain_id.to(), source_nonces: verify::nonces(client, &sources).await? })
}

async fn check_fee(client: &mut Client, max_fee_gwei: u64) -> Result<()> {
    let price: U256 = client.call("eth_gasPrice", json!([])).await?;
    let most = U256::from(max_fee_gwei) * U256::from(1_000_000_000u64);
    ensure!(price <= most, "gas costs {price} wei on this chain: set --max-fee-gwei above that");
    Ok(())
}

impl Job<'_> {
    /// Puts the load on the node at `url`.
    pub(crate) async fn on(&self, target: &str, url: &str, pid: Option<u32>) -> Result<Report> {
        let endpoint = endpoint(url, self.pace)?;
        let patience = Duration::from_secs(if self.pace.resilient { self.pace.give_up_seconds } else { 0 });
        let mut client = Client::new(endpoint.clone(), patience);
        let name: String = client.call("web3_clientVersion", json!([])).await?;
        for (number, stage) in self.load.stages.iter().enumerate() {
            prepare(&mut client, stage)
                .await
                .with_context(|| format!("{target}: stage {number} of the preparation"))?;
        }
        self.check_accounts(&mut client).await.with_context(|| format!("{target} is not prepared"))?;
        let memory_before = pid.and_then(report::resident_mib);

        let first = head(&mut client).await?;
        let record = Arc::new(Record::open(self.record)?);
        let ledger = Arc::new(Ledger::new(&self.load));
        let stop = Arc::new(AtomicBool::new(false));
        let follower = Follower {
            client: Client::new(endpoint.clone(), Duration::ZERO),
            ledger: ledger.clone(),
            record: record.clone(),
            poll: Duration::from_millis(self.pace.poll_ms),
            resilient: self.pace.resilient,
        };
        let mut following = tokio::spawn(follower.run(first, stop.clone()));
        let submitter =
            Submitter { load: self.load.clone(), ledger: ledger.clone(), record, endpoint, pace: self.pace.clone() };
        let work = async {
            Arc::new(submitter).run().await?;
            self.drain(&ledger).await;
            anyhow::Ok(())
        };
        tokio::select! {
            done = work => done.with_context(|| target.to_owned())?,
            // Ends by itself only with an error.
            ended = &mut following => {
                ended.context("the follower died")?.with_context(|| target.to_owned())?;
                bail!("{target}: the follower ended early");
            }
        }
        stop.store(true, Ordering::Relaxed);
        let seen = following.await.context("the follower died")?.with_context(|| target.to_owned())?;
        let verified = match self.verify {
            Some(receipts) => Some(verify::load(&mut client, &self.load, &ledger, &seen, first, receipts).await?),
            None => None,
        };
        let memory_mib = memory_before.zip(pid.and_then(report::resident_mib));
        Ok(self.report(target, name, &ledger, &seen, memory_mib, verified))
    }

    /// Waits until all is included, or nothing has been for a while.
    async fn drain(&self, ledger: &Ledger) {
        let patience = Duration::from_secs(self.pace.drain_seconds);
        let (mut included, mut since) = (ledger.included_count(), Instant::now());
        while !ledger.is_drained() && since.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if ledger.included_count() != included {
                (included, since) = (ledger.included_count(), Instant::now());
            }
        }
    }

    /// The accounts can pay, have sent nothing, and the token is there.
    async fn check_accounts(&self, client: &mut Client) -> Result<()> {
        let counts = verify::nonces(client, &self.load.accounts).await?;
        ensure!(
            counts.iter().all(|count| *count == 0),
            "accounts of this seed have sent transactions: take another --seed"
        );
        let params: Vec<Value> = self.load.accounts.iter().map(|address| json!([address, "latest"])).collect();
        for chunk in params.chunks(STAGE_BATCH) {
            for outcome in client.batch::<U256>("eth_getBalance", chunk).await? {
                let balance = outcome.map_err(|error| anyhow::anyhow!("eth_getBalance: {error}"))?.unwrap_or_default();
                ensure!(!balance.is_zero(), "an account was not funded");
            }
        }
        if let Some(token) = self.load.token {
            let code: String = client.call("eth_getCode", json!([token, "latest"])).await?;
            ensure!(code.len() > 2, "the token was not deployed at {token}");
        }
        Ok(())
    }

    fn report(
        &self,
        target: &str,
        client: String,
        ledger: &Ledger,
        seen: &[Seen],
        memory_mib: Option<(f64, f64)>,
        verified: Option<verify::Findings>,
    ) -> Report {
        let summary = ledger.summary();
        let with_ours = || seen.iter().filter(|block| block.ours > 0);
        let gas: u64 = with_ours().map(|block| block.gas).sum();
        Report {
            target: target.to_owned(),
            client,
            kind: self.load_args.kind,
            rate: self.pace.rate,
            accounts: self.load.accounts.len(),
            connections: self.pace.connections,
            batch: self.pace.batch,
            signing_seconds: self.signing.as_secs_f64(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            blocks: with_ours().count() as u64,
            largest_block: seen.iter().map(|block| block.ours).max().unwrap_or_default(),
            gas_per_second: if summary.seconds > 0.0 { gas as f64 / summary.seconds } else { 0.0 },
            summary,
            memory_mib,
            verified,
        }
    }
}

/// Sends a stage and waits until all of it is included.
async fn prepare(client: &mut Client, stage: &[Signed]) -> Result<()> {
    for chunk in stage.chunks(STAGE_BATCH) {
        let params: Vec<Value> = chunk.iter().map(|signed| json!([signed.raw])).collect();
        for outcome in client.batch::<B256>("eth_sendRawTransaction", &params).await? {
            match outcome {
                Ok(_) => {}
                // The connection broke before the answer, and it was sent again.
                Err(error) if error.message.contains("already known") => {}
                Err(error) => bail!("{error}"),
            }
        }
    }
    let begin = Instant::now();
    for chunk in stage.chunks(STAGE_BATCH) {
        let params: Vec<Value> = chunk.iter().map(|signed| json!([signed.hash])).collect();
        loop {
            let receipts = client.batch::<Value>("eth_getTransactionReceipt", &params).await?;
            let mut missing = 0;
            for receipt in receipts {
                match receipt {
                    Ok(Some(receipt)) if receipt["status"] == "0x1" => {}
                    Ok(Some(receipt)) => bail!("{} failed", receipt["transactionHash"]),
                    Ok(None) => missing += 1,
                    Err(error) => bail!("eth_getTransactionReceipt: {error}"),
                }
            }
            if missing == 0 {
                break;
            }
            ensure!(begin.elapsed().as_secs() < STAGE_SECONDS, "{missing} are not included after {STAGE_SECONDS} s");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}
