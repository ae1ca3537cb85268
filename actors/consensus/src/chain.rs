//! The chain: what is on disk, and what of it is kept in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use duskevm_dusk_l1::block::{ExecutedBlock, LedgerParams, header_hash};
use duskevm_dusk_l1::contracts::{CallError, CallFailure, NativeContracts};
use duskevm_dusk_l1::execute::Rejection;
use duskevm_dusk_l1::finality::Finality;
use duskevm_dusk_l1::genesis::Genesis;
use duskevm_dusk_l1::header::unattested;
use duskevm_dusk_l1::keys::{AccountId, Signer};
use duskevm_dusk_l1::mempool::{Limits, Mempool, MempoolError};
use duskevm_dusk_l1::record::AcceptedBlock;
use duskevm_dusk_l1::sa::committee::Committees;
use duskevm_dusk_l1::sa::evidence::fault_id;
use duskevm_dusk_l1::sa::machine::{Recent, TipInfo};
use duskevm_dusk_l1::sa::provisioners::Provisioners;
use duskevm_dusk_l1::sa::rules::Rules;
use duskevm_dusk_l1::state::{Account, MemoryState, Stake, account, stake, stake_changes};
use duskevm_dusk_l1::tx::{Tx, TxId, VerifiedTx};
use duskevm_dusk_l1::{Fault, Header};
use duskevm_messages::consensus::{
    DuskAccount, DuskProvisioner, DuskSnapshot, DuskTip, DuskTransactionStatus, GetDuskSnapshot, ReadDuskContract,
};
use duskevm_p2p::PeerStatus;
use duskevm_store::db::CommitId;
use duskevm_store::l1::{BlockCommit, L1Store};
use duskevm_supervision::Fence;

use crate::clock::{Clock, TOLERANCE};
use crate::error::ConsensusError;
use crate::metrics;
use crate::work::Above;

mod disk;
mod revert;

pub(crate) use disk::read_block;
use disk::{commit_genesis, committees, named, read_entries};
pub(crate) use revert::{Bodies, Reverted, read_bodies};
use revert::{Orphan, orphans};

/// What does not change while the actor runs.
#[derive(Clone)]
pub struct Settings {
    /// The network.
    pub genesis: Genesis,
    /// The key of this node's provisioner. Without one it follows and signs nothing.
    pub signer: Option<Signer>,
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

/// Blocks that may be taken back and whose bytes are kept with their blobs, so that their transactions can go back into the pool.
const BODIES: usize = 16;

/// A block that may be taken back, or one of the two below: what its successors are checked against.
#[derive(Debug, Clone)]
struct Entry {
    header: Header,
    /// Stakes after it.
    provisioners: Arc<Provisioners>,
}

/// Where the chain stands, for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) tip: DuskTip,
    /// Hash of the newest final block.
    pub(crate) finalized: [u8; 32],
}

/// The chain of this node.
pub struct Chain {
    settings: Settings,
    params: Arc<LedgerParams>,
    rules: Rules,
    store: L1Store,
    state: Arc<MemoryState>,
    finality: Finality,
    /// From the block below the last final one up to the tip, without gaps. Never empty.
    entries: VecDeque<Entry>,
    /// Faults in the newest block.
    faults: Vec<Fault>,
    committees: Arc<Committees>,
    previous: Option<Arc<Committees>>,
    mempool: Mempool,
    recent: VecDeque<Arc<AcceptedBlock>>,
    bodies: BTreeMap<u64, Arc<[u8]>>,
    /// Blocks that were taken back and whose transactions may still be of use. As many as the store keeps at most.
    orphans: Vec<Orphan>,
    /// What may be told to others: the newest block that is on disk for sure.
    told: Standing,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("tip", &self.tip()).field("mempool", &self.mempool.len()).finish_non_exhaustive()
    }
}

fn damaged(what: impl Into<String>) -> ConsensusError {
    ConsensusError::Damaged(what.into())
}

impl Chain {
    /// Opens the chain at its stored tip; an empty database gets the genesis block.
    ///
    /// # Errors
    /// If the database fails, or its content does not fit together: the tip's header must hash to its hash, and the
    /// stored state must have the root that the header names.
    pub fn open(settings: Settings, store: L1Store, fence: &Fence) -> Result<Self, ConsensusError> {
        let params = Arc::new(LedgerParams::new(&settings.genesis)?);
        let rules = settings.genesis.rules();
        store.heal()?;
        if store.tip()?.is_none() {
            commit_genesis(&settings.genesis, &store, fence)?;
        }
        let height = store.tip()?.ok_or_else(|| damaged("the tip is gone"))?;
        let tip = read_block(&store, height)?
            .ok_or_else(|| damaged(format!("block {height} is missing, though it is the tip")))?;
        let hash = header_hash(&tip.header).map_err(|error| damaged(error.to_string()))?;
        if hash != tip.header.hash || tip.header.height != height {
            return Err(damaged(format!("block {height} does not hash to its own hash")));
        }
        let state = MemoryState::from_records(store.state()?)?;
        if state.root().0 != tip.header.state_hash {
            return Err(damaged(format!("the state is not that of block {height}")));
        }
        let finality = Finality::decode(&store.finality()?.unwrap_or_default())?;
        if finality.tip() != height {
            return Err(damaged(format!("the labels end at {}, not at {height}", finality.tip())));
        }
        let faults = tip.block().map_err(|error| damaged(error.to_string()))?.faults().clone();
        let entries = read_entries(&store, &tip.header, &state, finality.last_final())?;
        let (committees, previous) = committees(&entries, &rules)?;
        let mempool = Mempool::new(settings.limits, (*params).clone(), settings.contracts.clone());
        let told = standing(&entries, &finality);
        Ok(Self {
            told,
            orphans: orphans(&store)?,
            settings,
            params,
            rules,
            store,
            state: Arc::new(state),
            finality,
            entries,
            faults,
            committees,
            previous,
            mempool,
            recent: [tip].into(),
            bodies: BTreeMap::new(),
        })
    }

    /// The newest block's header, attestation included.
    pub(crate) fn header(&self) -> &Header {
        // There always is one: nothing final is taken back, and the genesis block is final.
        &self.entries[self.entries.len() - 1].header
    }

    /// Where the chain stands in memory. While blocks are fetched, the newest of them are still on their way to the disk.
    pub fn tip(&self) -> DuskTip {
        self.standing().tip
    }

    /// Where it stands, for whoever is told of it once that is on disk.
    pub(crate) fn standing(&self) -> Standing {
        standing(&self.entries, &self.finality)
    }

    /// Where it stands on disk: what others may know.
    pub(crate) fn told(&self) -> DuskTip {
        self.told.tip
    }

    /// All up to this is on disk.
    pub(crate) fn is_durable(&mut self, standing: Standing) {
        self.told = standing;
    }

    /// What peers are told. `keep_blobs`: for how many final blocks blobs are kept.
    pub(crate) fn status(&self, keep_blobs: Option<u64>) -> PeerStatus {
        let Standing { tip, finalized } = self.told;
        PeerStatus {
            identity: self.settings.genesis.identity().0,
            tip: (tip.height, tip.hash.0),
            finalized: (tip.final_height, finalized),
            oldest_blob: keep_blobs.map_or(0, |blocks| tip.final_height.saturating_sub(blocks)),
        }
    }

    /// What the consensus needs of the newest block.
    pub(crate) fn tip_info(&self) -> Arc<TipInfo> {
        let last_final = self.finality.last_final();
        let tip = &self.entries[self.entries.len() - 1];
        let recent = self.entries.iter().take(self.entries.len() - 1).filter(|entry| entry.header.height >= last_final);
        Arc::new(TipInfo {
            header: tip.header.clone(),
            faults: self.faults.clone(),
            provisioners: tip.provisioners.clone(),
            labels: self.finality.clone(),
            recent: recent
                .map(|entry| Recent { header: entry.header.clone(), provisioners: entry.provisioners.clone() })
                .collect(),
        })
    }

    /// What a block above the tip is made and checked with, on any thread.
    pub(crate) fn above(&self) -> Above {
        Above {
            parent: self.header().clone(),
            committees: self.committees.clone(),
            previous: self.previous.clone(),
            state: self.state.clone(),
            params: self.params.clone(),
            contracts: self.settings.contracts.clone(),
            store: self.store.clone(),
        }
    }

    /// Stakes after the blocks that are not final and the two below, ascending.
    pub(crate) fn stakes_after(&self) -> Vec<(u64, Arc<Provisioners>)> {
        self.entries.iter().map(|entry| (entry.header.height, entry.provisioners.clone())).collect()
    }

    /// The database.
    pub fn store(&self) -> &L1Store {
        &self.store
    }

    /// What the consensus goes by.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
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
        let (tip, now) = (self.header(), self.now());
        let behind = Duration::from_secs(tip.timestamp).saturating_sub(now);
        if tip.height > 0 && behind > TOLERANCE {
            return Err(ConsensusError::Clock { height: tip.height, behind: behind.as_secs() });
        }
        Ok(())
    }

    /// When the next block is due, in Unix seconds.
    pub fn due(&self) -> u64 {
        self.header().timestamp.saturating_add(self.params.block_time)
    }

    /// An account at the tip.
    ///
    /// # Errors
    /// If its record does not decode.
    pub fn account(&self, id: &AccountId) -> Result<Account, ConsensusError> {
        Ok(account(&*self.state, id)?)
    }

    /// The same, for others.
    pub(crate) fn account_for_others(&self, id: &AccountId) -> Result<DuskAccount, ConsensusError> {
        let (account, stake) = (self.account(id)?, self.stake(id)?);
        Ok(DuskAccount {
            nonce: account.nonce,
            balance: account.balance,
            next_nonce: self.mempool.next_nonce(id, account),
            stake: stake.value.saturating_add(stake.locked),
            reward: stake.reward,
        })
    }

    /// Several answers as of the same moment.
    ///
    /// # Errors
    /// If the state or the database fails.
    pub fn snapshot(&self, asked: &GetDuskSnapshot) -> Result<DuskSnapshot, ConsensusError> {
        let ReadDuskContract { contract, method, args } = &asked.question;
        let transactions = asked.transactions.iter().map(|id| self.transaction(&id.0));
        Ok(DuskSnapshot {
            height: self.tip().height,
            account: self.account_for_others(&asked.account)?,
            transactions: transactions.collect::<Result<_, _>>()?,
            answer: self.read_contract(&contract.0, method, args)?.map(Into::into),
        })
    }

    /// A stake at the tip.
    ///
    /// # Errors
    /// If its record does not decode.
    pub fn stake(&self, id: &AccountId) -> Result<Stake, ConsensusError> {
        Ok(stake(&*self.state, id)?)
    }

    /// What a native contract answers at the tip.
    ///
    /// # Errors
    /// If the state cannot be read. A question that the contract does not answer is no error of the chain.
    pub(crate) fn read_contract(
        &self,
        contract: &[u8; 32],
        method: &str,
        args: &[u8],
    ) -> Result<Result<Vec<u8>, CallFailure>, ConsensusError> {
        match self.settings.contracts.read(&*self.state, contract, method, args) {
            Ok(answer) => Ok(Ok(answer)),
            Err(CallError::Failed(failure)) => Ok(Err(failure)),
            Err(CallError::State(error)) => Err(error.into()),
        }
    }

    /// All stakes at the tip.
    pub(crate) fn provisioners(&self) -> Vec<DuskProvisioner> {
        let stakes = self.state.stakes().map(|(account, stake)| DuskProvisioner {
            account,
            stake: stake.value,
            locked: stake.locked,
            eligibility: stake.eligibility,
            reward: stake.reward,
            faults: stake.faults,
            hard_faults: stake.hard_faults,
        });
        stakes.collect()
    }

    /// Transactions for a block above the tip, best first. What waits too long goes.
    pub(crate) fn ready(&mut self) -> Vec<VerifiedTx> {
        self.mempool.expire(self.now().as_secs());
        let state = &*self.state;
        let nonce = |id: &AccountId| account(state, id).map_or(u64::MAX, |account| account.nonce);
        let mut bytes = 0;
        let fits = |tx: &&VerifiedTx| {
            bytes += tx.size();
            // Twice a block: some may not be includable.
            bytes <= 2 * duskevm_dusk_l1::block::MAX_BLOCK_BYTES
        };
        self.mempool.ready(nonce).into_iter().take_while(fits).cloned().collect()
    }

    /// Forgets what a block builder found to be impossible for ever.
    pub(crate) fn drop_rejected(&mut self, rejected: &[(TxId, Rejection)]) {
        for (id, reason) in rejected {
            // It becomes possible again when the one before it, dropped for its own reason, is submitted anew.
            if !matches!(reason, Rejection::NonceNotReady { .. }) {
                tracing::debug!(id = %alloy_primitives::B256::from(*id), %reason, "L1 transaction dropped");
                self.mempool.remove(id);
            }
        }
    }

    /// Has the block above the tip stored, and moves the tip to it. It was checked and executed on the tip; `bytes` are the
    /// block as it came, with its blobs. It is durable when the store says so of the returned commit; nobody else hears of it before.
    ///
    /// # Errors
    /// If it cannot be stored. On a full disk nothing has changed; after any other error only opening again shows whether it was.
    pub(crate) fn commit(
        &mut self,
        fence: &Fence,
        block: &ExecutedBlock,
        bytes: Arc<[u8]>,
    ) -> Result<CommitId, ConsensusError> {
        let started = Instant::now();
        let header = block.block.header();
        let failed = unattested(header).ok_or_else(|| damaged("a block without its failed iterations"))?;
        let mut finality = self.finality.clone();
        finality.accept(failed);
        let accepted = AcceptedBlock::new(block).map_err(ConsensusError::Encode)?;
        let diff = &block.executed.diff;
        let changed = stake_changes(diff)?;
        let commit = self.store.queue_block(
            fence,
            &BlockCommit {
                height: header.height,
                hash: header.hash,
                record: accepted.encode().map_err(ConsensusError::Encode)?,
                transactions: accepted.outcomes.iter().map(|outcome| outcome.id).collect(),
                state: named(diff),
                finality: finality.encode(),
                final_height: finality.last_final(),
                undo: named(&self.state.undo_of(diff)),
                faults: block.block.faults().iter().filter_map(|fault| fault_id(fault).ok()).collect(),
            },
        )?;

        // A worker that still looks at the old state keeps it: then this copies.
        Arc::make_mut(&mut self.state).apply(diff)?;
        let before = &self.entries[self.entries.len() - 1].provisioners;
        let provisioners = if changed.is_empty() { before.clone() } else { Arc::new(before.apply(&changed)) };
        self.entries.push_back(Entry { header: header.clone(), provisioners });
        self.finality = finality;
        self.faults = block.block.faults().clone();
        self.bodies.insert(header.height, bytes);
        self.forget_old();
        (self.committees, self.previous) = committees(&self.entries, &self.rules)?;
        self.clean_mempool(block)?;
        self.forget_orphans(fence)?;

        let failed = accepted.outcomes.iter().filter(|outcome| outcome.error.is_some()).count() as u64;
        let ok = accepted.outcomes.len() as u64 - failed;
        metrics::block(ok, failed, block.executed.gas_spent, header.iteration, started.elapsed());
        self.recent.push_back(Arc::new(accepted));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        Ok(commit)
    }

    /// Drops what only blocks that are not final need.
    fn forget_old(&mut self) {
        let last_final = self.finality.last_final();
        while self.entries.front().is_some_and(|entry| entry.header.height + 1 < last_final) {
            self.entries.pop_front();
        }
        self.bodies = self.bodies.split_off(&last_final.saturating_add(1));
        while self.bodies.len() > BODIES {
            self.bodies.pop_first();
        }
    }

    fn clean_mempool(&mut self, block: &ExecutedBlock) -> Result<(), ConsensusError> {
        let mut senders = BTreeSet::new();
        for ledger in block.block.txs() {
            if let Some(sender) = ledger.protocol().moonlight_sender() {
                senders.insert(AccountId::from_key(sender));
            }
        }
        let changed: Vec<(AccountId, Account)> =
            senders.into_iter().map(|id| Ok((id, self.account(&id)?))).collect::<Result<_, ConsensusError>>()?;
        self.mempool.on_block(changed);
        Ok(())
    }

    /// A block that is still in memory.
    pub(crate) fn recent(&self, height: u64) -> Option<Arc<AcceptedBlock>> {
        let first = self.recent.front()?.header.height;
        self.recent.get(usize::try_from(height.checked_sub(first)?).ok()?).cloned()
    }

    fn read(&self, height: u64) -> Result<Option<Arc<AcceptedBlock>>, ConsensusError> {
        match self.recent(height) {
            Some(block) => Ok(Some(block)),
            None => read_block(&self.store, height),
        }
    }

    /// Why a transaction cannot be taken, as far as can be told before its signature is checked. One that is known is not refused.
    pub(crate) fn refuses(&self, tx: &Tx) -> Result<Option<MempoolError>, ConsensusError> {
        if self.mempool.contains(tx.id()) || self.store.transaction(tx.id())?.is_some() {
            return Ok(None);
        }
        Ok(self.mempool.check_account(tx, self.account(tx.sender())?).err())
    }

    pub(crate) fn insert(&mut self, tx: VerifiedTx) -> Result<Result<Inserted, MempoolError>, ConsensusError> {
        let id = *tx.id();
        if self.mempool.contains(&id) || self.store.transaction(&id)?.is_some() {
            return Ok(Ok(Inserted { id, new: false }));
        }
        let sender = self.account(tx.sender())?;
        let now = self.now().as_secs();
        Ok(self.mempool.insert(tx, sender, now).map(|_| Inserted { id, new: true }))
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
        if height > self.told.tip.height {
            // A crash could still take the block away.
            return Ok(DuskTransactionStatus::Waiting);
        }
        let block = self.read(height)?.ok_or_else(|| damaged(format!("block {height} is missing")))?;
        let outcome = block
            .outcomes
            .get(index as usize)
            .ok_or_else(|| damaged(format!("block {height} has no transaction {index}")))?;
        Ok(DuskTransactionStatus::Included {
            height,
            index,
            gas_spent: outcome.gas_spent,
            error: outcome.error.clone(),
            is_final: height <= self.told.tip.final_height,
        })
    }
}

fn standing(entries: &VecDeque<Entry>, finality: &Finality) -> Standing {
    // There always is a block, and the last final one is among them: see `Chain::header`.
    let header = &entries[entries.len() - 1].header;
    let last_final = finality.last_final();
    let finalized = entries.iter().find(|entry| entry.header.height == last_final);
    Standing {
        tip: DuskTip {
            height: header.height,
            hash: header.hash.into(),
            timestamp: header.timestamp,
            final_height: last_final,
        },
        finalized: finalized.map_or([0; 32], |entry| entry.header.hash),
    }
}

/// A transaction that waits in the pool or is in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inserted {
    pub(crate) id: TxId,
    /// It was not known before.
    pub(crate) new: bool,
}
