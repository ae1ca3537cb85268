//! What the actor knows: the chain's tip and state, and how they are rebuilt from disk.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use duskevm_dusk_l1::block::{ChainParams, build_block, earliest_timestamp, header_hash};
use duskevm_dusk_l1::contracts::NativeContracts;
use duskevm_dusk_l1::execute::Rejection;
use duskevm_dusk_l1::finality::Finality;
use duskevm_dusk_l1::genesis::Genesis;
use duskevm_dusk_l1::keys::{AccountId, Signer};
use duskevm_dusk_l1::mempool::{Limits, Mempool};
use duskevm_dusk_l1::record::AcceptedBlock;
use duskevm_dusk_l1::state::{Account, MemoryState, Stake, StateDiff, account, stake};
use duskevm_dusk_l1::tx::{TxId, VerifiedTx};
use duskevm_dusk_l1::{Fault, Header};
use duskevm_messages::consensus::{DuskTip, DuskTransactionStatus};
use duskevm_store::l1::{BlockCommit, L1Store, NamedChange};
use duskevm_supervision::Fence;

use crate::clock::{Clock, TOLERANCE};
use crate::error::ConsensusError;
use crate::metrics;

/// What does not change while the actor runs.
#[derive(Clone)]
pub struct Settings {
    /// The network.
    pub genesis: Genesis,
    /// The key of its only provisioner.
    pub signer: Signer,
    /// Bounds of the mempool.
    pub limits: Limits,
    /// The contracts of the network.
    pub contracts: Arc<dyn NativeContracts + Send + Sync>,
    /// The time since the Unix epoch.
    pub clock: Clock,
    /// The time that the machine is up, to notice when the other clock is set.
    pub uptime: Clock,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("chain_id", &self.genesis.chain_id)
            .field("block_time", &self.genesis.block_time)
            .field("signer", &self.signer)
            .finish_non_exhaustive()
    }
}

/// Blocks that are kept decoded for those who follow the chain.
const RECENT: usize = 64;

/// The chain: what is on disk, and what of it is kept in memory.
pub struct Chain {
    settings: Settings,
    params: ChainParams,
    store: L1Store,
    state: MemoryState,
    finality: Finality,
    tip: Header,
    mempool: Mempool,
    recent: std::collections::VecDeque<Arc<AcceptedBlock>>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("tip", &self.tip()).field("mempool", &self.mempool.len()).finish_non_exhaustive()
    }
}

impl Chain {
    /// Opens the chain at its stored tip; an empty database gets the genesis block.
    ///
    /// # Errors
    /// If the database fails, or its content does not fit together: the tip's header must hash to its hash, and the
    /// stored state must have the root that the header names.
    pub fn open(settings: Settings, store: L1Store, fence: &Fence) -> Result<Self, ConsensusError> {
        let params = ChainParams::new(&settings.genesis)?;
        store.heal()?;
        if store.tip()?.is_none() {
            commit_genesis(&settings.genesis, &store, fence)?;
        }
        let height = store.tip()?.ok_or_else(|| ConsensusError::Damaged("the tip is gone".into()))?;
        let record = store
            .block(height)?
            .ok_or_else(|| ConsensusError::Damaged(format!("block {height} is missing, though it is the tip")))?;
        let tip = AcceptedBlock::decode(&record)?;
        let hash = header_hash(&tip.header).map_err(|error| ConsensusError::Damaged(error.to_string()))?;
        if hash != tip.header.hash || tip.header.height != height {
            return Err(ConsensusError::Damaged(format!("block {height} does not hash to its own hash")));
        }
        let state = MemoryState::from_records(store.state()?)?;
        if state.root().0 != tip.header.state_hash {
            return Err(ConsensusError::Damaged(format!("the state is not that of block {height}")));
        }
        let finality = Finality::decode(&store.finality()?.unwrap_or_default())?;
        if finality.tip() != height {
            return Err(ConsensusError::Damaged(format!("the labels end at {}, not at {height}", finality.tip())));
        }
        let mempool = Mempool::new(settings.limits, params.ledger.clone(), settings.contracts.clone());
        let header = tip.header.clone();
        Ok(Self { settings, params, store, state, finality, tip: header, mempool, recent: [Arc::new(tip)].into() })
    }

    /// Where the chain stands.
    pub fn tip(&self) -> DuskTip {
        DuskTip {
            height: self.tip.height,
            hash: self.tip.hash.into(),
            timestamp: self.tip.timestamp,
            final_height: self.finality.last_final(),
        }
    }

    /// The database.
    pub fn store(&self) -> &L1Store {
        &self.store
    }

    /// What waits for a block.
    pub fn mempool(&self) -> &Mempool {
        &self.mempool
    }

    /// The time, from the settings' clock.
    pub fn now(&self) -> Duration {
        (self.settings.clock)()
    }

    /// The uptime, from the settings.
    pub(crate) fn uptime(&self) -> Duration {
        (self.settings.uptime)()
    }

    /// Compares the clock with the newest block. A block far in the past is normal after a pause; one far in the future means that
    /// the clock is wrong, or was when the block was made. A network that has not begun is waited for.
    ///
    /// # Errors
    /// [`ConsensusError::Clock`] if the block is far in the future.
    pub fn check_clock(&self) -> Result<(), ConsensusError> {
        let behind = Duration::from_secs(self.tip.timestamp).saturating_sub(self.now());
        if self.tip.height > 0 && behind > TOLERANCE {
            return Err(ConsensusError::Clock { height: self.tip.height, behind: behind.as_secs() });
        }
        Ok(())
    }

    /// When the next block is due, in Unix seconds.
    pub fn due(&self) -> u64 {
        earliest_timestamp(&self.tip, &self.params)
    }

    /// An account at the tip.
    ///
    /// # Errors
    /// If its record does not decode.
    pub fn account(&self, id: &AccountId) -> Result<Account, ConsensusError> {
        Ok(account(&self.state, id)?)
    }

    /// A stake at the tip.
    ///
    /// # Errors
    /// If its record does not decode.
    pub fn stake(&self, id: &AccountId) -> Result<Stake, ConsensusError> {
        Ok(stake(&self.state, id)?)
    }

    /// Makes the next block with the timestamp `max(now, due)`, stores it durably and moves the tip to it.
    ///
    /// # Errors
    /// If it cannot be made or stored. Nothing has changed then, unless the store failed: only opening again shows.
    pub fn produce(&mut self, fence: &Fence) -> Result<(), ConsensusError> {
        self.produce_at(self.now(), fence)
    }

    /// The same with a reading of the clock that was looked at before.
    pub(crate) fn produce_at(&mut self, now: Duration, fence: &Fence) -> Result<(), ConsensusError> {
        let started = Instant::now();
        let now = now.as_secs();
        let timestamp = self.due().max(now);
        self.mempool.expire(now);
        let state = &self.state;
        let ready = self.mempool.ready(|id| account(state, id).map_or(u64::MAX, |account| account.nonce));
        let senders: Vec<(TxId, AccountId)> = ready.iter().map(|tx| (*tx.id(), *tx.sender())).collect();
        let built = build_block(
            &self.tip,
            timestamp,
            &self.params,
            &self.settings.signer,
            state,
            &*self.settings.contracts,
            ready,
        )?;
        let made = started.elapsed();

        let block = built.block;
        let mut finality = self.finality.clone();
        finality.accept(0);
        let accepted = AcceptedBlock::new(&block).map_err(ConsensusError::Encode)?;
        self.store.commit_block(
            fence,
            &BlockCommit {
                height: accepted.header.height,
                hash: accepted.header.hash,
                record: accepted.encode().map_err(ConsensusError::Encode)?,
                transactions: accepted.outcomes.iter().map(|outcome| outcome.id).collect(),
                state: named(&block.executed.diff),
                finality: finality.encode(),
                final_height: finality.last_final(),
                undo: named(&self.state.undo_of(&block.executed.diff)),
                faults: block.block.faults().iter().map(Fault::id).collect(),
            },
        )?;
        let stored = started.elapsed() - made;

        self.state.apply(&block.executed.diff)?;
        self.finality = finality;
        self.tip = accepted.header.clone();
        self.clean_mempool(&accepted, &senders, &built.rejected)?;
        let failed = accepted.outcomes.iter().filter(|outcome| outcome.error.is_some()).count() as u64;
        let ok = accepted.outcomes.len() as u64 - failed;
        metrics::block(ok, failed, block.executed.gas_spent, made, stored);
        self.recent.push_back(Arc::new(accepted));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        Ok(())
    }

    fn clean_mempool(
        &mut self,
        accepted: &AcceptedBlock,
        senders: &[(TxId, AccountId)],
        rejected: &[(TxId, Rejection)],
    ) -> Result<(), ConsensusError> {
        for (id, reason) in rejected {
            // It becomes possible again when the one before it, dropped for its own reason, is submitted anew.
            if !matches!(reason, Rejection::NonceNotReady { .. }) {
                tracing::debug!(id = %alloy_primitives::B256::from(*id), %reason, "L1 transaction dropped");
                self.mempool.remove(id);
            }
        }
        let included: BTreeSet<&TxId> = accepted.outcomes.iter().map(|outcome| &outcome.id).collect();
        let changed: BTreeSet<&AccountId> =
            senders.iter().filter(|(id, _)| included.contains(id)).map(|(_, sender)| sender).collect();
        let changed: Vec<(AccountId, Account)> =
            changed.into_iter().map(|id| Ok((*id, self.account(id)?))).collect::<Result<_, ConsensusError>>()?;
        self.mempool.on_block(changed);
        Ok(())
    }

    /// A block that is still in memory.
    pub(crate) fn recent(&self, height: u64) -> Option<Arc<AcceptedBlock>> {
        let first = self.recent.front()?.header.height;
        self.recent.get(usize::try_from(height.checked_sub(first)?).ok()?).cloned()
    }

    pub(crate) fn insert(
        &mut self,
        tx: VerifiedTx,
    ) -> Result<Result<TxId, duskevm_dusk_l1::mempool::MempoolError>, ConsensusError> {
        let id = *tx.id();
        if self.mempool.contains(&id) || self.store.transaction(&id)?.is_some() {
            return Ok(Ok(id));
        }
        let sender = self.account(tx.sender())?;
        let now = self.now().as_secs();
        Ok(self.mempool.insert(tx, sender, now).map(|_| id))
    }

    /// What became of a transaction.
    ///
    /// # Errors
    /// If the database fails.
    pub fn transaction(&self, id: &TxId) -> Result<DuskTransactionStatus, ConsensusError> {
        if self.mempool.contains(id) {
            return Ok(DuskTransactionStatus::Waiting);
        }
        let Some((height, index)) = self.store.transaction(id)? else { return Ok(DuskTransactionStatus::Unknown) };
        let block = match self.recent(height) {
            Some(block) => block,
            None => match read_block(&self.store, height)? {
                Some(block) => block,
                None => return Err(ConsensusError::Damaged(format!("block {height} is missing"))),
            },
        };
        let outcome = block
            .outcomes
            .get(index as usize)
            .ok_or_else(|| ConsensusError::Damaged(format!("block {height} has no transaction {index}")))?;
        Ok(DuskTransactionStatus::Included {
            height,
            index,
            gas_spent: outcome.gas_spent,
            error: outcome.error.clone(),
            is_final: height <= self.finality.last_final(),
        })
    }
}

/// Reads a block from disk.
pub(crate) fn read_block(store: &L1Store, height: u64) -> Result<Option<Arc<AcceptedBlock>>, ConsensusError> {
    match store.block(height)? {
        Some(record) => Ok(Some(Arc::new(AcceptedBlock::decode(&record)?))),
        None => Ok(None),
    }
}

/// State changes by the names of their records, as the store takes them.
fn named(changes: &StateDiff) -> Vec<NamedChange> {
    changes.iter().map(|(key, value)| (key.to_bytes(), value.clone())).collect()
}

fn commit_genesis(genesis: &Genesis, store: &L1Store, fence: &Fence) -> Result<(), ConsensusError> {
    let accepted = AcceptedBlock::genesis(&genesis.block()).map_err(ConsensusError::Encode)?;
    store.commit_block(
        fence,
        &BlockCommit {
            height: 0,
            hash: accepted.header.hash,
            record: accepted.encode().map_err(ConsensusError::Encode)?,
            transactions: Vec::new(),
            state: named(&genesis.state()),
            finality: Finality::genesis().encode(),
            ..Default::default()
        },
    )?;
    Ok(())
}
