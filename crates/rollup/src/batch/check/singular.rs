//! Singular batches, and the blocks of span batches.

use super::{BatchContext, DropReason, Missing, Validity};
use crate::{batch::SingularBatch, config::RollupConfig};
use Validity::{Drop, Undecided};

/// EIP-2718 type of deposits.
const DEPOSIT_TX_TYPE: u8 = 0x7e;
/// EIP-2718 type of set-code transactions (EIP-7702).
const SET_CODE_TX_TYPE: u8 = 0x04;

/// May the batch follow on the safe head?
pub fn check_singular(context: &BatchContext<'_>, batch: &SingularBatch) -> Validity {
    let BatchContext { config, l1_blocks, safe_head, inclusion } = *context;
    let Some(epoch) = l1_blocks.first() else { return Undecided(Missing::L1Blocks) };
    let next_timestamp = context.next_timestamp();
    if batch.timestamp > next_timestamp {
        return context.future(DropReason::Future);
    }
    if batch.timestamp < next_timestamp {
        return context.past(DropReason::Past);
    }
    if batch.parent_hash != safe_head.hash {
        return Drop(DropReason::Parent);
    }
    if batch.epoch.number.saturating_add(config.seq_window_size) < inclusion.number {
        return Drop(DropReason::WindowExpired);
    }
    if batch.epoch.number < epoch.number {
        return Drop(DropReason::EpochTooOld);
    }
    let keeps_epoch = batch.epoch.number == epoch.number;
    let origin = if keeps_epoch {
        epoch
    } else if epoch.number.checked_add(1) == Some(batch.epoch.number) {
        match l1_blocks.get(1) {
            Some(next) => next,
            None => return Undecided(Missing::NextL1Block),
        }
    } else {
        return Drop(DropReason::EpochTooNew);
    };
    if batch.epoch.hash != origin.hash {
        return Drop(DropReason::EpochHash);
    }
    if batch.timestamp < origin.timestamp {
        return Drop(DropReason::BeforeOrigin);
    }
    if batch.timestamp > origin.timestamp.saturating_add(config.max_sequencer_drift_at(origin.timestamp)) {
        if !batch.transactions.is_empty() {
            return Drop(DropReason::Drift);
        }
        // An empty block may stay behind, but only as long as there is no origin to go on to.
        if keeps_epoch {
            match l1_blocks.get(1) {
                None => return Undecided(Missing::NextL1Block),
                Some(next) if batch.timestamp >= next.timestamp => return Drop(DropReason::OriginDue),
                Some(_) => {}
            }
        }
    }
    if !batch.transactions.is_empty() && activates_jovian(config, batch.timestamp) {
        return Drop(DropReason::ActivationBlock);
    }
    let isthmus = RollupConfig::active(config.forks.isthmus, batch.timestamp);
    for (index, tx) in batch.transactions.iter().enumerate() {
        match tx.first() {
            None => return Drop(DropReason::EmptyTx(index)),
            Some(&DEPOSIT_TX_TYPE) => return Drop(DropReason::Deposit(index)),
            Some(&SET_CODE_TX_TYPE) if !isthmus => return Drop(DropReason::SetCode(index)),
            Some(_) => {}
        }
    }
    Validity::Accept
}

/// Is the block at `timestamp` the first one of Jovian? Its state is changed by upgrade deposits, so nothing else may be in it.
fn activates_jovian(config: &RollupConfig, timestamp: u64) -> bool {
    let active = |timestamp| RollupConfig::active(config.forks.jovian, timestamp);
    active(timestamp) && timestamp.checked_sub(config.block_time).is_some_and(|before| !active(before))
}
