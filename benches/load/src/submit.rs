//! Sends the load over a number of connections, each of which has some of the accounts, so that nonces leave in order.

use crate::{
    args::PaceArgs,
    http::{Connection, Endpoint},
    ledger::Ledger,
    load::Load,
    record::{Record, Told},
    rpc::{ErrorObject, Outcome, read_batch, read_one},
};
use alloy_primitives::B256;
use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use std::{
    collections::{HashSet, VecDeque},
    fmt::Write as _,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// What the answer to one transaction means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accepted,
    /// The node had it already: an answer was lost.
    Known,
    /// Not now.
    Later,
    Rejected,
}

fn judge(error: &ErrorObject, resilient: bool, again: bool) -> Verdict {
    let has = |text: &str| error.message.contains(text);
    if has("already known") || has("already imported") {
        return Verdict::Known;
    }
    // Sent a second time it may stand in a block already; the follower knows.
    if again && has("nonce too low") {
        return Verdict::Known;
    }
    // Only what the transaction itself is to blame for is final.
    let final_words = [
        "nonce too",
        "insufficient funds",
        "intrinsic gas",
        "underpriced",
        "invalid sender",
        "invalid chain",
        "exceeds",
        "higher than",
        "not supported",
        "oversized",
        "initcode",
        "floor",
        "rlp",
        "invalid argument",
    ];
    if resilient && !final_words.iter().any(|word| has(word)) { Verdict::Later } else { Verdict::Rejected }
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Submitter {
    pub(crate) load: Arc<Load>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) record: Arc<Record>,
    pub(crate) endpoint: Endpoint,
    pub(crate) pace: PaceArgs,
}

impl Submitter {
    /// Sends everything. In a load that is not resilient the first broken connection is an error.
    pub(crate) async fn run(self: Arc<Self>) -> Result<()> {
        let connections = self.pace.connections.clamp(1, self.load.accounts.len());
        let tasks = (0..connections).map(|lane| {
            let own = self.clone();
            async move { tokio::spawn(async move { own.lane(lane, connections).await }).await.context("a sender died")? }
        });
        try_join_all(tasks).await.map(drop)
    }

    /// When transaction `index` is due in an open loop.
    fn due(&self, index: usize) -> Option<Duration> {
        self.pace.rate.map(|rate| Duration::from_secs_f64(index as f64 / rate))
    }

    async fn lane(&self, lane: usize, lanes: usize) -> Result<()> {
        let mut waiting: VecDeque<usize> =
            (0..self.load.transactions.len()).filter(|i| self.load.transactions[*i].account % lanes == lane).collect();
        let mut again: HashSet<usize> = HashSet::new();
        let mut broken: HashSet<usize> = HashSet::new();
        let mut connection = None;
        let mut away: Option<Instant> = None;
        let mut pause = Duration::from_millis(5);
        loop {
            let batch = self.take(&mut waiting, &broken).await;
            if batch.is_empty() {
                return Ok(());
            }
            let mut later = Vec::new();
            match self.send(&mut connection, &batch).await {
                Ok(outcomes) => {
                    let mut told = Vec::with_capacity(batch.len());
                    for (index, outcome) in batch.into_iter().zip(outcomes) {
                        let transaction = &self.load.transactions[index];
                        let verdict = match &outcome {
                            Ok(Some(hash)) if *hash == transaction.signed.hash => Verdict::Accepted,
                            Ok(Some(hash)) => bail!("sent {}, but the node answered {hash}", transaction.signed.hash),
                            Ok(None) => bail!("eth_sendRawTransaction was answered with null"),
                            Err(error) => judge(error, self.pace.resilient, again.contains(&index)),
                        };
                        match verdict {
                            Verdict::Accepted => {
                                self.ledger.accepted(index);
                                told.push(Told::Tx {
                                    hash: transaction.signed.hash,
                                    sender: self.load.accounts[transaction.account],
                                    nonce: transaction.signed.nonce,
                                });
                            }
                            // Nobody acknowledged it, so nobody promised anything: it counts only if it is included.
                            Verdict::Known => {}
                            Verdict::Later => later.push(index),
                            Verdict::Rejected => {
                                broken.insert(transaction.account);
                                if let Err(error) = &outcome {
                                    self.ledger.rejected(&error.to_string());
                                }
                            }
                        }
                    }
                    self.record.tell(told)?;
                }
                Err(error) if !self.pace.resilient => return Err(error),
                Err(error) => {
                    let since = *away.get_or_insert_with(Instant::now);
                    if since.elapsed() > Duration::from_secs(self.pace.give_up_seconds) {
                        return Err(error.context(format!("the node was away for {} s", self.pace.give_up_seconds)));
                    }
                    later = batch;
                }
            }
            if later.is_empty() {
                away = None;
                pause = Duration::from_millis(5);
                continue;
            }
            if away.get_or_insert_with(Instant::now).elapsed() > Duration::from_secs(self.pace.give_up_seconds) {
                bail!("a transaction was refused for {} s", self.pace.give_up_seconds);
            }
            for index in later.into_iter().rev() {
                self.ledger.resent();
                again.insert(index);
                waiting.push_front(index);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    /// The next transactions of this lane: at least one, unless none is left; waits until it is due or there is room.
    async fn take(&self, waiting: &mut VecDeque<usize>, broken: &HashSet<usize>) -> Vec<usize> {
        let before = waiting.len();
        waiting.retain(|index| !broken.contains(&self.load.transactions[*index].account));
        self.ledger.dropped.fetch_add((before - waiting.len()) as u64, Ordering::Relaxed);
        let Some(first) = waiting.front().copied() else { return Vec::new() };
        if let Some(due) = self.due(first) {
            tokio::time::sleep_until((self.ledger.start() + due).into()).await;
        } else {
            self.room().await;
        }
        let elapsed = self.ledger.start().elapsed();
        let mut batch = Vec::with_capacity(self.pace.batch.max(1));
        while let Some(index) = waiting.front().copied() {
            let due = self.due(index);
            if batch.len() >= self.pace.batch.max(1) || (!batch.is_empty() && due.is_some_and(|due| due > elapsed)) {
                break;
            }
            self.ledger.sent(index, due);
            batch.push(index);
            waiting.pop_front();
        }
        batch
    }

    /// Closed loop: waits while too many are accepted and not included.
    async fn room(&self) {
        while self.pace.max_pending > 0 && self.ledger.pending() >= self.pace.max_pending {
            // The follower may have noted progress in between: do not wait for the next time only.
            let progress = self.ledger.progress.notified();
            drop(tokio::time::timeout(Duration::from_millis(50), progress).await);
        }
    }

    async fn send(&self, connection: &mut Option<Connection>, batch: &[usize]) -> Result<Vec<Outcome<B256>>> {
        let mut open = match connection.take() {
            Some(open) => open,
            None => Connection::open(&self.endpoint).await?,
        };
        let mut body = String::with_capacity(batch.len() * 512);
        for (id, index) in batch.iter().enumerate() {
            let raw = &self.load.transactions[*index].signed.raw;
            let separator = if id > 0 { "," } else { "" };
            write!(
                body,
                r#"{separator}{{"jsonrpc":"2.0","id":{id},"method":"eth_sendRawTransaction","params":["{raw}"]}}"#
            )?;
        }
        let single = batch.len() == 1;
        let answer = open.post(if single { body } else { format!("[{body}]") }.into()).await?;
        let outcomes = if single { vec![read_one(&answer)?] } else { read_batch(&answer, batch.len())? };
        *connection = Some(open);
        Ok(outcomes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(message: &str, resilient: bool, again: bool) -> Verdict {
        judge(&ErrorObject { code: -32000, message: message.into() }, resilient, again)
    }

    #[test]
    fn what_an_error_means() {
        assert_eq!(verdict("already known", false, false), Verdict::Known);
        assert_eq!(verdict("nonce too low: next nonce 5, tx nonce 4", true, true), Verdict::Known);
        assert_eq!(verdict("nonce too low", true, false), Verdict::Rejected);
        assert_eq!(verdict("txpool is restarting", true, false), Verdict::Later);
        assert_eq!(verdict("txpool is restarting", false, false), Verdict::Rejected);
        assert_eq!(verdict("insufficient funds for gas * price + value", true, true), Verdict::Rejected);
    }
}
