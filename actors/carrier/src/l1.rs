//! L1 as the carrier sees it: its account, its transactions, and the nonces that the batch inbox takes next.

use crate::{sign::Keys, state::Ports};
use alloy_primitives::{Address, B256};
use duskevm_carrier_core::{Observation, TxStatus};
use duskevm_messages::{
    consensus::{DuskSnapshot, DuskTransactionStatus, GetDuskSnapshot, ReadDuskContract},
    l1::L1Heads,
};
use duskevm_settlement::{NEXT_NONCE, next_nonce_answer, next_nonce_args};
use duskevm_supervision::AskError;
use std::{collections::BTreeMap, time::Duration};

/// How long a neighbour is waited for in one attempt.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Why L1 cannot be looked at now. Waited out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookError {
    #[error(transparent)]
    Neighbour(#[from] AskError),
    #[error("L1 moved on while it was looked at")]
    Moved,
    #[error("the batch inbox does not say the next nonce of {0}: use a program of the network's version")]
    Nonce(Address),
}

/// One moment of L1, with the next nonce of one sender.
async fn snapshot(
    ports: &Ports,
    keys: &Keys,
    sender: Address,
    transactions: Vec<B256>,
) -> Result<(DuskSnapshot, u64), LookError> {
    let question =
        ReadDuskContract { contract: keys.inbox, method: NEXT_NONCE.into(), args: next_nonce_args(&sender).into() };
    let asked = GetDuskSnapshot { account: keys.account(), transactions, question };
    let found = ports.snapshot.ask_within(asked, PATIENCE).await?;
    let next = found.answer.as_ref().ok().and_then(|answer| next_nonce_answer(answer));
    next.map(|next| (found, next)).ok_or(LookError::Nonce(sender))
}

/// The nonce that the inbox takes next from a sender.
pub(crate) async fn next_nonce(ports: &Ports, keys: &Keys, sender: Address) -> Result<u64, LookError> {
    Ok(snapshot(ports, keys, sender, Vec::new()).await?.1)
}

/// Looks at L1. Nothing is called final that the L1 view does not show as final: whoever asks for it finds it there.
pub(crate) async fn look(
    ports: &Ports,
    keys: &Keys,
    watched: Vec<B256>,
    senders: Vec<Address>,
    heads: L1Heads,
) -> Result<Observation, LookError> {
    let mut next = BTreeMap::new();
    let (first, others) = senders.split_first().map_or((Address::ZERO, &[][..]), |(first, others)| (*first, others));
    let (found, nonce) = snapshot(ports, keys, first, watched.clone()).await?;
    next.insert(first, nonce);
    for sender in others {
        // Each of the same moment: else an envelope could seem to be missing that has just been included.
        let (again, nonce) = snapshot(ports, keys, *sender, Vec::new()).await?;
        if (again.height, again.account) != (found.height, found.account) {
            return Err(LookError::Moved);
        }
        next.insert(*sender, nonce);
    }
    let status = |status| match status {
        DuskTransactionStatus::Unknown => TxStatus::Unknown,
        DuskTransactionStatus::Waiting => TxStatus::Waiting,
        DuskTransactionStatus::Included { height, error, is_final, .. } => {
            TxStatus::Included { height, is_final: is_final && height <= heads.finalized.number, error }
        }
    };
    // The snapshot names no hash. It is of the view's newest block if it is as high, and none has come to the view meanwhile.
    let is_latest = found.height == heads.latest.number && *ports.l1_heads.borrow() == Some(heads);
    Ok(Observation {
        height: found.height,
        hash: is_latest.then_some(heads.latest.hash),
        finalized: heads.finalized.number,
        finalized_hash: heads.finalized.hash,
        nonce: found.account.nonce,
        balance: found.account.balance,
        next,
        transactions: watched.into_iter().zip(found.transactions.into_iter().map(status)).collect(),
    })
}
