//! The transaction that is being executed, known outside of the instance that executes it.
//!
//! Whatever a transaction does, executing it gives a result; if it ends or hangs the executor, that is a fault in the program,
//! and trying again only repeats it. The next instance finds here what the last one was at, and leaves it out of its blocks.

use crate::pool_source::PoolSource;
use alloy_primitives::B256;
use duskevm_evm::{RecoveredTx, Rejection, TxSource};
use duskevm_fence::Generation;
use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc};

/// Transactions that are remembered; the oldest is forgotten first.
const REMEMBERED: usize = 1024;

/// What the pool is told of such a transaction.
const REASON: &str = "the executor died while it executed this transaction";

/// The cell that all instances share. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Suspect(Arc<Mutex<Cell>>);

#[derive(Debug, Default)]
struct Cell {
    /// The instance that may write here.
    owner: Generation,
    /// What it is executing.
    current: Option<B256>,
    /// What was being executed when execution last ended with an error that is not in a block.
    stumbled: Option<B256>,
    /// What instances died of.
    left_out: VecDeque<B256>,
}

impl Cell {
    fn leave_out(&mut self, hash: B256) {
        tracing::error!(
            %hash,
            "the executor died while it executed this transaction: it is left out of the blocks of this process; please report it"
        );
        self.left_out.push_back(hash);
        if self.left_out.len() > REMEMBERED {
            self.left_out.pop_front();
        }
    }
}

impl Suspect {
    /// A new instance takes over. What the last one was executing when it panicked or hung is left out from now on.
    pub(crate) fn take_over(&self, owner: Generation) {
        let mut cell = self.0.lock();
        cell.owner = owner;
        if let Some(hash) = cell.current.take() {
            cell.leave_out(hash);
        }
    }

    /// Execution came to an end, with a block or with a refusal.
    pub(crate) fn acquit(&self, owner: Generation) {
        let mut cell = self.0.lock();
        if cell.owner == owner {
            (cell.current, cell.stumbled) = (None, None);
        }
    }

    /// Execution ended with an error that is not in the block. Once that may be a disk; at the same transaction twice in a row it is the
    /// transaction, which would end every instance.
    pub(crate) fn stumble(&self, owner: Generation) {
        let mut cell = self.0.lock();
        if cell.owner != owner {
            return;
        }
        let current = cell.current.take();
        match current {
            Some(hash) if cell.stumbled.replace(hash) == Some(hash) => cell.leave_out(hash),
            Some(_) => {}
            None => cell.stumbled = None,
        }
    }

    fn set(&self, owner: Generation, current: Option<B256>) {
        let mut cell = self.0.lock();
        // An instance that was replaced while it hung may wake up later.
        if cell.owner == owner {
            cell.current = current;
        }
    }

    fn is_left_out(&self, hash: &B256) -> bool {
        self.0.lock().left_out.contains(hash)
    }
}

/// A source of transactions that says which one is being executed, and leaves out those that an instance died of.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    source: S,
    suspect: Suspect,
    owner: Generation,
    left_out: Vec<(B256, String)>,
}

impl<S: TxSource> Watched<S> {
    pub(crate) fn new(source: S, suspect: Suspect, owner: Generation) -> Self {
        Self { source, suspect, owner, left_out: Vec::new() }
    }
}

impl Watched<PoolSource> {
    /// Transactions that cannot be executed, with the reason.
    pub(crate) fn into_invalid(self) -> Vec<(B256, String)> {
        let mut invalid = self.source.into_invalid();
        invalid.extend(self.left_out);
        invalid
    }
}

impl<S: TxSource> TxSource for Watched<S> {
    fn next(&mut self, gas_left: u64, gas_used: u64) -> Option<Arc<RecoveredTx>> {
        let next = loop {
            match self.source.next(gas_left, gas_used) {
                Some(tx) if self.suspect.is_left_out(&tx.hash()) => {
                    self.source.rejected(&tx, &Rejection::NoRoom);
                    self.left_out.push((tx.hash(), REASON.into()));
                }
                next => break next,
            }
        };
        self.suspect.set(self.owner, next.as_ref().map(|tx| tx.hash()));
        next
    }

    fn rejected(&mut self, tx: &Arc<RecoveredTx>, reason: &Rejection) {
        self.source.rejected(tx, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duskevm_messages::executor::DaLimits;
    use op_alloy_consensus::TxDeposit;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn tx(gas_limit: u64) -> Arc<RecoveredTx> {
        Arc::new(RecoveredTx::deposit(TxDeposit { gas_limit, ..Default::default() }))
    }

    /// Builds as the executor does; `deadly` ends the instance while it is executed.
    fn build(suspect: &Suspect, instance: u64, list: &[Arc<RecoveredTx>], deadly: B256) -> Vec<(B256, String)> {
        let mut source = Watched::new(
            PoolSource::new(list.into(), None, DaLimits::default()),
            suspect.clone(),
            Generation(instance),
        );
        while let Some(tx) = source.next(u64::MAX, 0) {
            assert_ne!(tx.hash(), deadly, "executing it ends the instance");
        }
        source.into_invalid()
    }

    #[test]
    fn what_an_instance_dies_of_is_left_out_by_the_next() {
        let list = [tx(1), tx(2), tx(3)];
        let deadly = list[1].hash();
        let suspect = Suspect::default();
        suspect.take_over(Generation(1));
        catch_unwind(AssertUnwindSafe(|| build(&suspect, 1, &list, deadly))).unwrap_err();
        suspect.take_over(Generation(2));
        assert_eq!(build(&suspect, 2, &list, deadly), [(deadly, REASON.to_owned())]);
        // Nothing was under way: nobody else is blamed for what ends this one.
        suspect.take_over(Generation(3));
        assert_eq!(build(&suspect, 3, &list, B256::ZERO).len(), 1);
    }

    #[test]
    fn a_failed_read_and_a_zombie_blame_nobody() {
        let list = [tx(1), tx(2)];
        let suspect = Suspect::default();
        suspect.take_over(Generation(1));
        let mut source = Watched::new(
            PoolSource::new(list.clone().into(), None, DaLimits::default()),
            suspect.clone(),
            Generation(1),
        );
        // Execution of the first one ends with an error.
        source.next(u64::MAX, 0).unwrap();
        suspect.stumble(Generation(1));
        suspect.take_over(Generation(2));
        assert_eq!(build(&suspect, 2, &list, B256::ZERO), []);
        catch_unwind(AssertUnwindSafe(|| build(&suspect, 1, &list, list[0].hash()))).unwrap_err();
        suspect.take_over(Generation(3));
        assert_eq!(build(&suspect, 3, &list, B256::ZERO), []);
    }

    #[test]
    fn a_transaction_over_which_execution_fails_twice_in_a_row_is_left_out() {
        let list = [tx(1), tx(2)];
        let suspect = Suspect::default();
        let fail_at = |instance: u64, nth: usize| {
            suspect.take_over(Generation(instance));
            let mut source = Watched::new(
                PoolSource::new(list.clone().into(), None, DaLimits::default()),
                suspect.clone(),
                Generation(instance),
            );
            (0..nth).for_each(|_| drop(source.next(u64::MAX, 0).unwrap()));
            suspect.stumble(Generation(instance));
            list.iter().filter(|tx| suspect.is_left_out(&tx.hash())).count()
        };
        // A block in between, or another transaction: each time for the first time.
        assert_eq!(fail_at(1, 1), 0);
        suspect.acquit(Generation(1));
        assert_eq!((fail_at(2, 1), fail_at(3, 2)), (0, 0));
        assert_eq!(fail_at(4, 2), 1);
        assert!(suspect.is_left_out(&list[1].hash()));
    }
}
