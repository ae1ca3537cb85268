//! The work that takes long: reading blocks, compressing, committing, signing. It is done beside the mailbox.

use crate::{
    chain::Chain,
    error::BatcherError,
    metrics,
    sign::{Keys, SignError},
};
use alloy_primitives::{B256, Bytes};
use duskevm_batcher_core::{Action, Batcher, Heads, Observation, Order, Record, Wait};
use duskevm_rollup::frame::ChannelId;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Steps of one turn, after which others may use the worker.
const TURN: usize = 16;

/// What the worker leaves to the actor.
#[derive(Debug)]
pub(crate) enum Task {
    /// Write these to the journal.
    Journal(Vec<Record>),
    /// Submit these in their order.
    Submit(Vec<(B256, Bytes)>),
    /// Call again.
    Again,
    /// Nothing to do until something changes.
    Wait(Wait),
    /// It could not be signed.
    Unsigned(SignError),
}

/// The batcher with all that it works with. It travels between the actor and the worker thread.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) batcher: Batcher,
    pub(crate) chain: Chain,
    pub(crate) keys: Arc<Keys>,
    /// Signed bytes by Dusk id. Whatever is missing is signed again.
    bytes: HashMap<B256, Bytes>,
}

impl Work {
    pub(crate) fn new(batcher: Batcher, chain: Chain, keys: Arc<Keys>) -> Self {
        Self { batcher, chain, keys, bytes: HashMap::new() }
    }

    /// L1 stands here now.
    pub(crate) fn observe(&mut self, observation: &Observation) {
        metrics::balance(observation.account.balance);
        self.batcher.observe(observation);
        // What is on L1 for good, or given up, is not needed any more.
        let watched: HashSet<B256> = self.batcher.watched().into_iter().map(|(id, _)| id).collect();
        self.bytes.retain(|id, _| watched.contains(id));
    }

    /// Works until there is something for the actor to do.
    pub(crate) fn run(&mut self, heads: Heads) -> Result<Task, BatcherError> {
        self.batcher.heads(heads);
        let mut task = Task::Again;
        for _ in 0..TURN {
            let mut ids = || ChannelId::from(rand::random::<[u8; 16]>());
            task = match self.batcher.advance(&self.chain, &mut ids)? {
                Action::Journal(records) => Task::Journal(records),
                Action::Sign(order) => match self.sign(&order) {
                    Ok(()) => Task::Again,
                    Err(error) => Task::Unsigned(error),
                },
                Action::Submit(order) => match self.submit(&order) {
                    Ok(task) => task,
                    Err(error) => Task::Unsigned(error),
                },
                Action::Again => Task::Again,
                Action::Wait(wait) => Task::Wait(wait),
            };
            if !matches!(task, Task::Again) {
                break;
            }
        }
        self.batcher.take_notices().iter().for_each(metrics::notice);
        metrics::backlog(self.batcher.backlog(), self.batcher.throttle());
        Ok(task)
    }

    fn sign(&mut self, order: &Order) -> Result<(), SignError> {
        let (signed, bytes) = self.keys.sign(order)?;
        metrics::transactions("signed", bytes.len());
        let ids = signed.transactions.iter().filter_map(|tx| tx.id);
        self.bytes.extend(ids.zip(bytes));
        self.batcher.signed(&signed);
        Ok(())
    }

    fn submit(&mut self, order: &Order) -> Result<Task, SignError> {
        let wanted: Vec<B256> = order.transactions.iter().filter_map(|tx| tx.id).collect();
        if !wanted.iter().all(|id| self.bytes.contains_key(id)) {
            let (signed, bytes) = self.keys.sign(order)?;
            let ids: Vec<B256> = signed.transactions.iter().filter_map(|tx| tx.id).collect();
            self.bytes.extend(ids.iter().copied().zip(bytes));
            if ids != wanted {
                // Another key or another program: a new attempt, which the journal must know first.
                self.batcher.signed(&signed);
                return Ok(Task::Again);
            }
        }
        let bytes = wanted.iter().filter_map(|id| self.bytes.get(id).map(|bytes| (*id, bytes.clone())));
        Ok(Task::Submit(bytes.collect()))
    }
}
