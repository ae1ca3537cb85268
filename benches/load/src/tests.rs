//! The whole generator against a node made of a few lines, which lies and breaks as it is told: what is counted, and above all
//! whether lost, repeated and changed things are found.

use crate::{
    args::{Cli, Command},
    check,
    load::{Chain, Keys, Load},
    report::Report,
    run::Job,
    verify::Receipts,
};
use alloy_consensus::{TxEnvelope, transaction::SignerRecoverable as _};
use alloy_eips::Decodable2718 as _;
use alloy_primitives::{Address, B256, hex, keccak256};
use clap::Parser as _;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// How the node misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Acknowledges the 7th transaction and forgets it.
    Forgets,
    /// Puts the 7th transaction into two blocks.
    Repeats,
    /// Gives every block another hash once 20 transactions are in.
    Changes,
    /// Takes every 10th transaction, and closes the connection instead of answering.
    HangsUp,
    /// Refuses every 10th transaction once, as a node does whose pool restarts.
    Restarts,
    /// Refuses the 7th transaction for good.
    Refuses,
}

#[derive(Debug, Default)]
struct State {
    blocks: Vec<Vec<(B256, Address)>>,
    known: Vec<B256>,
    pending: Vec<(B256, Address)>,
    refused_once: Vec<B256>,
    salt: u8,
}

impl State {
    fn hash(&self, number: usize) -> B256 {
        keccak256([&[self.salt][..], &number.to_be_bytes()].concat())
    }

    fn mine(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        self.blocks.push(pending);
    }

    fn block(&self, number: usize) -> Value {
        let Some(transactions) = self.blocks.get(number) else { return Value::Null };
        json!({
            "number": format!("{number:#x}"), "hash": self.hash(number), "parentHash": self.hash(number.wrapping_sub(1)),
            "gasUsed": "0x5208", "transactions": transactions.iter().map(|(hash, _)| hash).collect::<Vec<_>>(),
        })
    }

    fn count(&self, account: Address) -> usize {
        self.blocks.iter().flatten().filter(|(_, sender)| *sender == account).count()
    }

    /// `Err(None)` closes the connection.
    fn take(&mut self, raw: &str, fault: Fault) -> Result<Value, Option<Value>> {
        let bytes = hex::decode(raw).unwrap();
        let hash = keccak256(&bytes);
        let refuse = |message: &str| Some(json!({ "code": -32000, "message": message }));
        if self.known.contains(&hash) {
            return Err(refuse("already known"));
        }
        // The preparation is not what is tested.
        let number = self.known.len().saturating_sub(4) + 1;
        match fault {
            Fault::Refuses if number == 7 && self.refused_once.is_empty() => {
                self.refused_once.push(hash);
                return Err(refuse("insufficient funds for gas * price + value"));
            }
            Fault::Restarts if number.is_multiple_of(10) && !self.refused_once.contains(&hash) => {
                self.refused_once.push(hash);
                return Err(refuse("the transaction pool is restarting, try again"));
            }
            _ => {}
        }
        self.known.push(hash);
        let sender = TxEnvelope::decode_2718(&mut bytes.as_slice()).unwrap().recover_signer().unwrap();
        if !(fault == Fault::Forgets && number == 7) {
            self.pending.push((hash, sender));
        }
        if fault == Fault::Repeats && number == 7 {
            self.mine();
            self.pending.push((hash, sender));
        }
        if fault == Fault::HangsUp && number.is_multiple_of(10) { Err(None) } else { Ok(json!(hash)) }
    }

    fn answer(&mut self, call: &Value, fault: Fault) -> Result<Value, Option<Value>> {
        let param = &call["params"][0];
        let number = || usize::from_str_radix(param.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
        Ok(match call["method"].as_str().unwrap() {
            "web3_clientVersion" => json!("test/v1"),
            "eth_blockNumber" => json!(format!("{:#x}", self.blocks.len() - 1)),
            "eth_getBlockByNumber" => self.block(number()),
            "eth_getBlockReceipts" => {
                let receipt = |(hash, _): &(B256, Address)| json!({ "transactionHash": hash, "status": "0x1" });
                self.blocks[number()].iter().map(receipt).collect()
            }
            "eth_getTransactionReceipt" => {
                let hash: B256 = param.as_str().unwrap().parse().unwrap();
                let there = self.blocks.iter().flatten().any(|(other, _)| *other == hash);
                if there { json!({ "transactionHash": hash, "status": "0x1" }) } else { Value::Null }
            }
            "eth_getTransactionCount" => json!(format!("{:#x}", self.count(param.as_str().unwrap().parse().unwrap()))),
            "eth_getBalance" => json!("0xffffffff"),
            "eth_sendRawTransaction" => self.take(param.as_str().unwrap(), fault)?,
            other => panic!("{other} is not expected"),
        })
    }

    fn reply(&mut self, body: &Value, fault: Fault) -> Option<Value> {
        let mut one = |call: &Value| match self.answer(call, fault) {
            Ok(result) => Some(json!({ "jsonrpc": "2.0", "id": call["id"], "result": result })),
            Err(Some(error)) => Some(json!({ "jsonrpc": "2.0", "id": call["id"], "error": error })),
            Err(None) => None,
        };
        match body {
            Value::Array(calls) => calls.iter().map(one).collect::<Option<Vec<_>>>().map(Value::from),
            call => one(call),
        }
    }
}

/// Starts the node; it mines a block every few milliseconds.
async fn node(fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let state = Arc::new(Mutex::new(State { blocks: vec![Vec::new()], ..State::default() }));
    let miner = state.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let mut state = miner.lock();
            state.mine();
            if fault == Fault::Changes && state.known.len() >= 20 {
                state.salt = 1;
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let state = state.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let state = state.clone();
                async move {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let reply = state.lock().reply(&serde_json::from_slice(&body).unwrap(), fault);
                    let text = reply.ok_or(std::io::Error::other("hung up"))?.to_string();
                    Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from(text))))
                }
            });
            tokio::spawn(
                async move { drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await) },
            );
        }
    });
    url
}

/// Forty transactions of four accounts. `options`: further ones of the command line.
async fn load(fault: Fault, options: &str, record: Option<&Path>) -> anyhow::Result<Report> {
    let url = node(fault).await;
    load_on(&url, options, record).await
}

async fn load_on(url: &str, options: &str, record: Option<&Path>) -> anyhow::Result<Report> {
    let line = format!("duskevm-load run -n 40 --accounts 4 --connections 2 --drain-seconds 1 --poll-ms 1{options}");
    let Command::Run(args) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!() };
    let keys = Keys::derive(&args.load, 3).unwrap();
    let chain = Chain { chain_id: 31310, source_nonces: vec![0; 10] };
    let load = Arc::new(Load::sign(&keys, &args.load, args.load.transactions, &chain).unwrap());
    let job = Job {
        load,
        load_args: &args.load,
        pace: &args.pace,
        signing: Duration::ZERO,
        verify: Some(Receipts::All),
        record,
    };
    job.on("test", url, None).await
}

#[tokio::test]
async fn an_honest_node() {
    for options in ["", " --batch 8", " --rate 400", " --rate 400 --batch 3 --resilient", " --max-pending 3"] {
        let report = load(Fault::None, options, None).await.unwrap();
        let s = &report.summary;
        assert_eq!((s.accepted, s.included, s.resent, s.dropped), (40, 40, 0, 0), "{options}");
        assert!(report.is_clean() && report.verified.as_ref().unwrap().included_once == 40, "{options}");
        assert!(s.receipt_ms.p50 > 0.0 && s.receipt_ms.p50 <= s.receipt_ms.p99 && s.included_per_second > 0.0);
        if options.contains("rate") {
            assert!(s.seconds >= 39.0 / 400.0, "the pace is kept: {} s", s.seconds);
        }
    }
}

#[tokio::test]
async fn a_forgotten_transaction_is_found() {
    let report = load(Fault::Forgets, "", None).await.unwrap();
    let findings = report.verified.as_ref().unwrap();
    assert_eq!((findings.lost, findings.repeated, report.is_clean()), (1, 0, false));
    assert!(findings.nonce_errors > 0, "the account has a gap");
}

#[tokio::test]
async fn a_repeated_transaction_is_found() {
    let report = load(Fault::Repeats, "", None).await.unwrap();
    assert_eq!((report.verified.as_ref().unwrap().repeated, report.is_clean()), (1, false));
}

#[tokio::test]
async fn a_changed_chain_is_found() {
    let error = load(Fault::Changes, " --rate 200", None).await.unwrap_err();
    assert!(format!("{error:#}").contains("the chain has changed"), "{error:#}");
}

#[tokio::test]
async fn lost_answers_are_asked_for_again() {
    let error = load(Fault::HangsUp, "", None).await;
    assert!(error.is_err(), "without --resilient the first broken connection ends the load");
    let report = load(Fault::HangsUp, " --resilient", None).await.unwrap();
    let s = &report.summary;
    // Every tenth was taken without an answer; "already known" is none either.
    assert_eq!((s.accepted, s.included, s.resent), (36, 40, 4));
    assert!(report.is_clean());
}

#[tokio::test]
async fn what_is_refused_for_the_moment_is_sent_again() {
    let report = load(Fault::Restarts, " --resilient", None).await.unwrap();
    assert_eq!((report.summary.accepted, report.summary.included), (40, 40));
    assert!(report.summary.resent >= 3 && report.is_clean());
    let hard = load(Fault::Restarts, "", None).await.unwrap();
    assert!(!hard.is_clean() && hard.summary.rejected.keys().any(|message| message.contains("restarting")));
}

#[tokio::test]
async fn a_refused_transaction_ends_its_account() {
    let report = load(Fault::Refuses, " --resilient", None).await.unwrap();
    let s = &report.summary;
    assert_eq!(s.rejected.values().sum::<u64>(), 1);
    assert_eq!((s.accepted + s.dropped, s.included), (39, s.accepted));
    assert!(s.dropped > 0 && !report.is_clean());
    assert_eq!(report.verified.as_ref().unwrap().lost, 0, "nothing that was accepted is missing");
}

#[tokio::test]
async fn the_record_finds_what_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("told");
    let url = node(Fault::None).await;
    load_on(&url, "", Some(&record)).await.unwrap();
    let look = |url: &str| {
        let line = format!("duskevm-load check --wait-seconds 0 --url {url} --record {}", record.display());
        let Command::Check(args) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!() };
        check::command(args)
    };
    assert!(look(&url).await.unwrap(), "the same node still knows all");
    let other = node(Fault::None).await;
    assert!(!look(&other).await.unwrap(), "another one knows nothing of it");
    let told = std::fs::read_to_string(&record).unwrap();
    let kinds: HashMap<&str, usize> = told.lines().fold(HashMap::new(), |mut kinds, line| {
        *kinds.entry(line.split(' ').next().unwrap()).or_default() += 1;
        kinds
    });
    assert!(kinds["tx"] == 40 && kinds["block"] >= 1);
}
