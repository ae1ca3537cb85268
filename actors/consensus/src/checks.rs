//! Messages of the consensus that wait for their signatures to be checked, and those that are being checked.

use std::sync::Arc;

use duskevm_dusk_l1::contracts::NativeContracts;
use duskevm_dusk_l1::sa::bls::DuskBls;
use duskevm_dusk_l1::sa::machine::{Event, PeerId as Number, Source};
use duskevm_dusk_l1::sa::triage::{Check, Checked, Triage, Why};
use duskevm_dusk_l1::sa::wire::{CandidateFrame, Frame};
use duskevm_messages::gossip::{Fault, Token, Verdict};
use duskevm_p2p::Fair;
use duskevm_supervision::Context;

use crate::actor::Consensus;
use crate::error::ConsensusError;
use crate::metrics;
use crate::work::{Prepared, processors};

/// Votes and quorums that wait at most. A committee has 64 members at most, and an iteration two of them.
const VOTES: usize = 2048;
/// Candidates that wait at most: each is a megabyte.
const CANDIDATES: usize = 8;
/// Votes that a worker takes at a time.
const BATCH: usize = 8;

/// A message whose signatures are to be checked.
#[derive(Debug)]
struct Job {
    from: Source,
    check: Box<Check>,
    candidate: Option<Arc<CandidateFrame>>,
}

/// What came of it.
type Outcome = (Source, Result<(Checked<Frame>, Option<Arc<Prepared>>), Why>);

/// The queue. Votes go before candidates: they are small, and there are many of them. Peers take turns, and one that sends
/// more than there is room for takes it from itself: a flood of forged messages keeps no honest one from being checked.
#[derive(Debug)]
pub(crate) struct Checks {
    votes: Fair<Number, Job>,
    candidates: Fair<Number, Job>,
    running: usize,
    workers: usize,
}

impl Default for Checks {
    fn default() -> Self {
        Self { votes: Fair::new(VOTES), candidates: Fair::new(CANDIDATES), running: 0, workers: processors() }
    }
}

impl Checks {
    /// Takes a job; returns the one for which there is no room any more.
    fn put(&mut self, job: Job) -> Option<Job> {
        let queue = if job.candidate.is_some() { &mut self.candidates } else { &mut self.votes };
        queue.put(job.from.peer, job)
    }

    fn next(&mut self) -> Option<Vec<Job>> {
        if self.running >= self.workers {
            return None;
        }
        let batch: Vec<Job> = match self.votes.len() {
            0 => self.candidates.take().into_iter().collect(),
            _ => std::iter::from_fn(|| self.votes.take()).take(BATCH).collect(),
        };
        if batch.is_empty() {
            return None;
        }
        self.running += 1;
        Some(batch)
    }
}

fn run(bls: &DuskBls, contracts: &(dyn NativeContracts + Send + Sync), job: Job) -> Outcome {
    let Job { from, check, candidate } = job;
    let outcome = check.run(bls).and_then(|frame| {
        let prepared =
            candidate.map(|candidate| Prepared::new(&candidate, contracts)).transpose().map_err(|error| {
                tracing::debug!(%error, "a candidate that is not passed on");
                Why::Invalid
            })?;
        Ok((frame, prepared.map(Arc::new)))
    });
    (from, outcome)
}

impl Consensus {
    /// Decides what becomes of a message of the consensus: nothing, later, or a check on a worker.
    pub(crate) fn judge(&mut self, from: Source, frame: Frame, ctx: &mut Context<Self>) -> Result<(), ConsensusError> {
        let now = self.clocks();
        match self.machine.triage(now, from, &frame) {
            Triage::Check(check) => {
                let candidate = match &frame {
                    Frame::Candidate(candidate) => Some(candidate.clone()),
                    _ => None,
                };
                if let Some(job) = self.checks.put(Job { from, check, candidate }) {
                    metrics::frames("full");
                    self.verdict_on(job.from, Verdict::Ignore);
                }
                self.run_checks(ctx);
            }
            Triage::Later => self.feed(Event::Later { from, frame }, ctx)?,
            Triage::Ignore(_) => {
                metrics::frames("ignored");
                self.verdict_on(from, Verdict::Ignore);
            }
            Triage::Reject(why) => self.refuse(from, why),
        }
        Ok(())
    }

    fn refuse(&mut self, from: Source, why: Why) {
        metrics::frames("rejected");
        tracing::debug!(%why, peer = ?self.numbers.peer(from.peer), "a message is refused");
        self.verdict_on(from, Verdict::Reject(Fault::Invalid));
    }

    pub(crate) fn verdict_on(&self, from: Source, verdict: Verdict) {
        if let Some(token) = from.token {
            self.judged(Token(token.0), verdict);
        }
    }

    pub(crate) fn judged(&self, token: Token, verdict: Verdict) {
        if let Some(network) = &self.wiring.network {
            // Without a verdict the message is ignored after a while.
            let _ = network.judged.tell(duskevm_messages::gossip::Judged { token, verdict });
        }
    }

    fn run_checks(&mut self, ctx: &mut Context<Self>) {
        while let Some(batch) = self.checks.next() {
            let (bls, contracts) = (self.bls.clone(), self.chain.settings().contracts.clone());
            let work = tokio::task::spawn_blocking(move || -> Vec<Outcome> {
                batch.into_iter().map(|job| run(&bls, &*contracts, job)).collect()
            });
            ctx.pipe(work, |me, outcomes, ctx| {
                me.checks.running -= 1;
                me.run_checks(ctx);
                for (from, outcome) in outcomes.map_err(|died| ConsensusError::Worker(died.to_string()))? {
                    match outcome {
                        Ok((frame, prepared)) => {
                            metrics::frames("checked");
                            if let Some(prepared) = prepared {
                                me.keep_candidate(prepared);
                            }
                            me.feed(Event::Frame { from, frame }, ctx)?;
                        }
                        Err(why) => me.refuse(from, why),
                    }
                }
                Ok(())
            });
        }
        metrics::waiting_frames(self.checks.votes.len() + self.checks.candidates.len());
    }
}
