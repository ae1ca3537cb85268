//! Settings and neighbours.

use crate::sign::Keys;
use duskevm_carrier_core::{Carried, Settings as Rules};
use duskevm_messages::{
    consensus::{GetDuskSnapshot, SubmitDuskTransaction},
    l1::L1HeadsFeed,
};
use duskevm_supervision::Port;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::{Semaphore, watch};

/// The places of the worker threads, shared by all instances: one that was replaced may still hold them.
#[derive(Debug, Clone)]
pub struct Workers {
    pub(crate) read: Arc<Semaphore>,
    pub(crate) check: Arc<Semaphore>,
    pub(crate) sign: Arc<Semaphore>,
}

impl Default for Workers {
    fn default() -> Self {
        let one = || Arc::new(Semaphore::new(1));
        Self { read: one(), check: one(), sign: one() }
    }
}

/// What does not change while the carrier runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its rules; they have passed [`Rules::validate`].
    pub rules: Rules,
    /// Its key.
    pub keys: Arc<Keys>,
    /// Folder of the journal.
    pub journal: PathBuf,
    /// Who may read, check and sign.
    pub workers: Workers,
}

/// The neighbours.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Takes Dusk transactions.
    pub submit: Port<SubmitDuskTransaction>,
    /// Says where L1 stands.
    pub snapshot: Port<GetDuskSnapshot>,
    /// Heads of the L1 view.
    pub l1_heads: L1HeadsFeed,
    /// Where others see what is carried.
    pub carried: Arc<watch::Sender<Arc<Carried>>>,
}

/// A pause that grows from one failure to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause {
    next: Duration,
}

impl Pause {
    const FIRST: Duration = Duration::from_millis(20);
    const LONGEST: Duration = Duration::from_secs(2);
    /// From here on it is worth a line in the log.
    pub(crate) const LOUD: Duration = Duration::from_millis(600);

    pub(crate) const fn new() -> Self {
        Self { next: Self::FIRST }
    }

    pub(crate) fn take(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(Self::LONGEST);
        pause
    }

    pub(crate) const fn reset(&mut self) {
        self.next = Self::FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_cap_and_start_again() {
        let mut pause = Pause::new();
        let taken: Vec<_> = (0..12).map(|_| pause.take()).collect();
        assert!(taken.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(taken.last(), Some(&Pause::LONGEST));
        pause.reset();
        assert_eq!(pause.take(), Pause::FIRST);
    }
}
