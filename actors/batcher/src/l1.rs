//! L1 as the batcher sees it: its account, its transactions, and how far derivation has read.

use crate::{sign::Keys, state::Ports};
use alloy_eips::BlockNumHash;
use alloy_primitives::{Address, B256};
use duskevm_batcher_core::{Account, Derived, Observation, Outcome, TxStatus};
use duskevm_messages::{
    consensus::{DuskTransactionStatus, GetDuskSnapshot, ReadDuskContract},
    l1::{L1Heads, ViewBlockByNumber, ViewTransaction},
};
use duskevm_settlement::{NEXT_NONCE, next_nonce_answer, next_nonce_args};
use duskevm_store::l2::L2Error;
use duskevm_supervision::AskError;
use std::{collections::HashMap, time::Duration};

/// How long a neighbour is waited for in one attempt.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Why L1 cannot be looked at now. Waited out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookError {
    #[error(transparent)]
    Neighbour(#[from] AskError),
    #[error(transparent)]
    Store(#[from] L2Error),
    #[error("L1 moved on while it was looked at")]
    Moved,
    #[error("the batch inbox does not say the next nonce of {0}: use a program of the network's version")]
    Nonce(Address),
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) observation: Observation,
    pub(crate) derived: Option<Derived>,
}

/// Looks at L1. `watched` are Dusk ids with the hash of the envelope that goes with each.
pub(crate) async fn look(
    ports: &Ports,
    keys: &Keys,
    watched: Vec<(B256, B256)>,
    heads: L1Heads,
) -> Result<Look, LookError> {
    let latest = heads.latest;
    // All of one moment: what is included between two questions would look as if it had come out of order.
    let asked = GetDuskSnapshot {
        account: keys.account(),
        transactions: watched.iter().map(|(id, _)| *id).collect(),
        question: ReadDuskContract {
            contract: keys.inbox,
            method: NEXT_NONCE.into(),
            args: next_nonce_args(&keys.batcher()).into(),
        },
    };
    let found = ports.snapshot.ask_within(asked, PATIENCE).await?;
    let next_envelope = found.answer.ok().and_then(|answer| next_nonce_answer(&answer));
    let next_envelope = next_envelope.ok_or_else(|| LookError::Nonce(keys.batcher()))?;
    let mut transactions = HashMap::with_capacity(watched.len());
    for ((id, envelope), status) in watched.into_iter().zip(found.transactions) {
        transactions.insert(id, status_of(ports, status, envelope, latest.number).await?);
    }
    let derived = derived(ports).await?;
    if ports.l1_heads.borrow().is_none_or(|now| now.latest.hash != latest.hash) {
        return Err(LookError::Moved);
    }
    let account = Account { nonce: found.account.nonce, balance: found.account.balance };
    let (l1_block, tip) = (latest.number, found.height.max(latest.number));
    Ok(Look { observation: Observation { l1_block, tip, account, next_envelope, transactions }, derived })
}

async fn status_of(
    ports: &Ports,
    status: DuskTransactionStatus,
    envelope: B256,
    view: u64,
) -> Result<TxStatus, AskError> {
    let (height, error, is_final) = match status {
        DuskTransactionStatus::Unknown => return Ok(TxStatus::Unknown),
        DuskTransactionStatus::Waiting => return Ok(TxStatus::Waiting),
        DuskTransactionStatus::Included { height, error, is_final, .. } => (height, error, is_final),
    };
    let outcome = match error {
        None => Outcome::Done,
        // Whether somebody else has brought the envelope is known as soon as the view has the block. Until then its nonce says that
        // it is in one.
        Some(_) if height > view => return Ok(TxStatus::Waiting),
        Some(why) => {
            let found = ports.view_transaction.ask_within(ViewTransaction { id: envelope }, PATIENCE).await?;
            found.map_or(Outcome::Failed(why), |(block, _)| Outcome::Elsewhere(block.number()))
        }
    };
    Ok(TxStatus::Included { height, is_final, outcome })
}

/// How far derivation is, if its newest note is about a block that L1 still has.
async fn derived(ports: &Ports) -> Result<Option<Derived>, LookError> {
    let Some(note) = ports.reader.safe_head_at(u64::MAX)? else { return Ok(None) };
    let found = ports.l1_by_number.ask_within(ViewBlockByNumber { number: note.l1.number }, PATIENCE).await?;
    let is_there = found.is_some_and(|block| block.hash() == note.l1.hash);
    // What is noted of a block that L1 has no more says nothing, but it shows that derivation runs.
    let l1_block = if is_there { note.l1.number } else { 0 };
    Ok(Some(Derived { l1_block, safe: note.l2.number }))
}

/// A block as the rollup's rules name it.
pub(crate) const fn id(block: BlockNumHash) -> duskevm_rollup::BlockId {
    duskevm_rollup::BlockId { number: block.number, hash: block.hash }
}
