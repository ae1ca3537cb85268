//! Settings and neighbours.

use crate::sign::Keys;
use duskevm_batcher_core::Settings as Rules;
use duskevm_messages::{
    consensus::{GetDuskSnapshot, SubmitDuskTransaction},
    executor::HeadsFeed,
    l1::{L1HeadsFeed, ViewBlockByNumber, ViewTransaction},
};
use duskevm_rollup::RollupConfig;
use duskevm_store::l2::L2Reader;
use duskevm_supervision::Port;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::{Semaphore, watch};

/// What does not change while the batcher runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The rollup; it has passed [`RollupConfig::validate`].
    pub rollup: Arc<RollupConfig>,
    /// What the batcher is to do; they have passed [`Rules::validate`].
    pub rules: Rules,
    /// Its keys.
    pub keys: Arc<Keys>,
    /// Folder of the journal.
    pub journal: PathBuf,
    /// Who may compress and commit: made by [`workers`], shared by all instances.
    pub workers: Arc<Semaphore>,
}

/// The places of the worker pool. One is enough: one piece of work comes after the other, and an instance that was replaced may still
/// hold it.
pub fn workers() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1))
}

/// The neighbours.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is named like its message")]
pub struct Ports {
    pub submit: Port<SubmitDuskTransaction>,
    pub snapshot: Port<GetDuskSnapshot>,
    pub view_transaction: Port<ViewTransaction>,
    pub l1_by_number: Port<ViewBlockByNumber>,
    /// Heads of the L2 chain.
    pub heads: HeadsFeed,
    /// Heads of L1.
    pub l1_heads: L1HeadsFeed,
    /// By how many thousandths the sequencer should make less data; published by the batcher.
    pub throttle: watch::Sender<u16>,
    /// The L2 chain.
    pub reader: L2Reader,
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
pub(crate) mod tests {
    use super::*;
    use alloy_primitives::{Address, B256};
    use alloy_signer_local::PrivateKeySigner;
    use duskevm_batcher_core::{Carrier, CarrierChoice, EnvelopeRules, Gas, Throttling};
    use duskevm_dusk_l1::keys::Signer;
    use duskevm_rollup::{BlockId, RollupGenesis, SystemConfig, channel_out::Compression};

    const INBOX: Address = Address::repeat_byte(0x1b);

    pub(crate) fn rollup() -> Arc<RollupConfig> {
        Arc::new(RollupConfig {
            genesis: RollupGenesis {
                l1: BlockId::default(),
                l2: BlockId::default(),
                l2_time: 0,
                system_config: SystemConfig::default(),
            },
            block_time: 2,
            max_sequencer_drift: 600,
            seq_window_size: 3600,
            l1_chain_id: 3,
            l2_chain_id: 31310,
            forks: duskevm_evm::ForkTimes::isthmus_at_genesis(),
            delta_time: Some(0),
            batch_inbox_address: INBOX,
            deposit_contract_address: Address::ZERO,
            l1_system_config_address: Address::ZERO,
            eip1559: (6, 50, 250),
        })
    }

    pub(crate) fn settings() -> Rules {
        Rules {
            compression: Compression::Zlib,
            target_blobs: 6,
            carrier: CarrierChoice::Always(Carrier::Blobs),
            blobs_per_submission: 6,
            max_calldata: 100_000,
            max_channel_duration: 10,
            window_margin: 5,
            timeout_margin: 10,
            max_in_flight: 4,
            gas_price: 1,
            max_gas_price: 1000,
            fee_bump_percent: 10,
            bump_after: 3,
            throttling: Throttling { from_bytes: 1 << 20, full_bytes: 1 << 22 },
            gas: Gas { per_blob: 1_000_000, least: 75_000, call: 1_000_000, per_call_byte: 100 },
        }
    }

    pub(crate) fn keys() -> Keys {
        Keys {
            ethereum: PrivateKeySigner::from_bytes(&B256::repeat_byte(5)).unwrap(),
            dusk: Signer::from_seed(b"batcher"),
            envelopes: EnvelopeRules { chain_id: 3, inbox: INBOX, base_fee: 1_000_000_000 },
            dusk_chain_id: 3,
            inbox: B256::repeat_byte(0x1b),
        }
    }

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
