//! Transactions on their way into the pool: from the command line and the RPC, and from peers.

use std::collections::VecDeque;
use std::sync::Arc;

use alloy_primitives::{B256, Bytes};
use duskevm_dusk_l1::mempool::MempoolError;
use duskevm_dusk_l1::sa::wire::{self, Frame};
use duskevm_dusk_l1::tx::{Tx, TxError, VerifiedTx};
use duskevm_messages::consensus::{SubmitDuskTransaction, SubmitRefusal};
use duskevm_messages::gossip::{Fault, Token, Verdict};
use duskevm_p2p::Topic;
use duskevm_supervision::{Context, Responder};

use crate::actor::Consensus;
use crate::chain::Inserted;
use crate::error::ConsensusError;
use crate::ingress;
use crate::metrics;
use crate::work::{BadTransaction, check_transaction, encode_transaction, processors};

/// Who waits for the outcome.
#[derive(Debug)]
pub(crate) enum Origin {
    /// Whoever submitted it here.
    Here(Responder<SubmitDuskTransaction>),
    /// The network.
    Peer(Token),
}

/// A transaction that is in the pool, and the payload of its frame.
type Taken = (Inserted, Option<Arc<[u8]>>);

/// Transactions that wait for a worker, and those that one is checking.
#[derive(Debug)]
pub(crate) struct Submissions {
    waiting: VecDeque<(Bytes, Origin)>,
    /// Of those, how many came from peers.
    peers: usize,
    checking: usize,
    workers: usize,
}

impl Default for Submissions {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), peers: 0, checking: 0, workers: processors().div_ceil(2) }
    }
}

impl Submissions {
    /// Takes a transaction if there is room, or gives its origin back. Peers get half of the room at most: they must not lock out
    /// those who are here.
    pub(crate) fn put(&mut self, bytes: Bytes, origin: Origin) -> Result<(), Origin> {
        let full = self.waiting.len() >= ingress::CHECKING
            || (matches!(origin, Origin::Peer(_)) && self.peers >= ingress::CHECKING / 2);
        if full {
            return Err(origin);
        }
        self.peers += usize::from(matches!(origin, Origin::Peer(_)));
        self.waiting.push_back((bytes, origin));
        Ok(())
    }

    fn next(&mut self) -> Option<(Bytes, Origin)> {
        if self.checking >= self.workers {
            return None;
        }
        let (bytes, origin) = self.waiting.pop_front()?;
        self.peers -= usize::from(matches!(origin, Origin::Peer(_)));
        self.checking += 1;
        Some((bytes, origin))
    }

    /// Transactions that wait or are checked.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.checking
    }
}

impl Consensus {
    /// Gives waiting transactions to free workers. Decoding decompresses keys and checking computes pairings: milliseconds
    /// each, not for the actor's own thread.
    pub(crate) fn check_next(&mut self, ctx: &mut Context<Self>) {
        let height = self.chain.tip().height.saturating_add(1);
        while let Some((bytes, origin)) = self.submissions.next() {
            let decode = tokio::task::spawn_blocking(move || Tx::decode(&bytes, height));
            ctx.pipe(decode, move |me, decoded, ctx| {
                // Without an answer the responder is dropped, which tells the caller; a token is ignored in time.
                let decoded = decoded.map_err(|died| me.free_worker(&died, ctx))?;
                me.check_signature(decoded, origin, ctx)
            });
        }
        metrics::checking(self.submissions.len());
    }

    /// Has the signature and the blobs checked of a transaction that its sender could pay for.
    fn check_signature(
        &mut self,
        decoded: Result<Tx, TxError>,
        origin: Origin,
        ctx: &mut Context<Self>,
    ) -> Result<(), ConsensusError> {
        let tx = match decoded {
            Ok(tx) => match self.chain.refuses(&tx)? {
                Some(refusal) => Err(refusal.into()),
                None => Ok(tx),
            },
            Err(error) => Err(error.into()),
        };
        let tx = match tx {
            Ok(tx) => tx,
            Err(refusal) => {
                self.submissions.checking -= 1;
                self.check_next(ctx);
                self.answer(Err(refusal), origin, ctx);
                return Ok(());
            }
        };
        let check = tokio::task::spawn_blocking(move || check_transaction(tx));
        ctx.pipe(check, move |me, checked, ctx| {
            let checked = checked.map_err(|died| me.free_worker(&died, ctx))?;
            me.submissions.checking -= 1;
            me.check_next(ctx);
            me.admit(checked, origin, ctx)
        });
        Ok(())
    }

    fn free_worker(&mut self, died: &tokio::task::JoinError, ctx: &mut Context<Self>) -> ConsensusError {
        self.submissions.checking -= 1;
        self.check_next(ctx);
        ConsensusError::Worker(died.to_string())
    }

    fn admit(
        &mut self,
        checked: Result<VerifiedTx, BadTransaction>,
        origin: Origin,
        ctx: &mut Context<Self>,
    ) -> Result<(), ConsensusError> {
        let outcome = match checked {
            Ok(tx) if tx.blobs().is_some() && self.wiring.blobs.is_none() => Err(SubmitRefusal::NoBlobs),
            Ok(tx) => {
                let frame = encode_transaction(&tx);
                self.chain.insert(tx)?.map(|inserted| (inserted, frame)).map_err(SubmitRefusal::from)
            }
            Err(error) => Err(error.into()),
        };
        self.answer(outcome, origin, ctx);
        Ok(())
    }

    fn answer(&mut self, outcome: Result<Taken, SubmitRefusal>, origin: Origin, ctx: &mut Context<Self>) {
        metrics::submitted(if outcome.is_ok() { "accepted" } else { "refused" });
        metrics::mempool(self.chain.mempool().len(), self.chain.mempool().bytes());
        match origin {
            Origin::Here(responder) => {
                if let Ok((inserted, Some(frame))) = &outcome
                    && inserted.new
                {
                    let bytes: Arc<[u8]> = wire::encode(&Frame::Tx(frame.clone())).into();
                    self.publish(Topic::Transactions, bytes, ctx);
                }
                responder.send(outcome.map(|(inserted, _)| B256::from(inserted.id)));
            }
            Origin::Peer(token) => {
                let verdict = match outcome {
                    Ok((inserted, _)) if inserted.new => Verdict::Accept,
                    // What does not fit this node's pool may fit another's.
                    Ok(_) | Err(SubmitRefusal::Mempool(MempoolError::Full { .. } | MempoolError::NonceGap { .. })) => {
                        Verdict::Ignore
                    }
                    Err(SubmitRefusal::Invalid(_) | SubmitRefusal::Blob(_)) => Verdict::Reject(Fault::Invalid),
                    Err(_) => Verdict::Ignore,
                };
                self.judged(token, verdict);
            }
        }
    }
}
