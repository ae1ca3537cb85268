//! What a Moonlight transaction does to the state, and what a block of them does.

use dusk_core::abi::Event;
use dusk_core::stake::{STAKE_CONTRACT, SlashEvent};
use dusk_core::transfer::data::TransactionData;
use dusk_core::transfer::{MOONLIGHT_TOPIC, MoonlightTransactionEvent, TRANSFER_CONTRACT};
use dusk_node_data::ledger::{Slash, SlashType};
use rkyv::Serialize;
use rkyv::ser::Serializer;
use rkyv::ser::serializers::AllocSerializer;

use crate::blobs;
use crate::bloom::EventBloom;
use crate::contracts::{self, CallContext, CallError, Caller, NativeContracts, stake::BURNT_KEY};
use crate::keys::{AccountId, KeyError};
use crate::kind::{self, MAX_BLOBS};
use crate::rewards::{NoVoters, Reward};
use crate::stakes::{Slashing, StakeRules};
use crate::state::{
    Overlay, StateDiff, StateError, StateKey, StateRead, account, contract_balance, stake, stake_record,
};
use crate::tx::{TxId, VerifiedTx};

/// Gas of everything that is not a contract's own work. A Dusk node counts WASM instructions instead; the schedule is
/// ours, chosen so that what a wallet offers for a transfer there is enough here.
pub mod gas {
    /// Every transaction.
    pub const TRANSACTION: u64 = 50_000;
    /// Every byte of memo or call arguments.
    pub const DATA_BYTE: u64 = 10;
}

/// What execution may know of the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockEnv {
    /// Dusk chain id.
    pub chain_id: u8,
    /// Height of the block.
    pub height: u64,
    /// Unix seconds.
    pub timestamp: u64,
    /// Gas that the block may spend.
    pub gas_limit: u64,
    /// Least gas that a transaction spends for each of its blobs.
    pub gas_per_blob: u64,
    /// What the rules on stakes depend on.
    pub stakes: StakeRules,
}

/// Why a transaction cannot be part of a block at all. It pays nothing and is dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Signed for another network.
    #[error("the transaction is for chain id {got}, this network has {want}")]
    ChainId {
        /// What the transaction says.
        got: u8,
        /// What the network is.
        want: u8,
    },
    /// The nonce was used.
    #[error("Already used nonce: {got}, the next free one is {next}")]
    NonceUsed {
        /// What the transaction says.
        got: u64,
        /// What would be accepted.
        next: u64,
    },
    /// A transaction with a lower nonce is missing.
    #[error("Nonce not ready to be used yet: {got}, the next free one is {next}")]
    NonceNotReady {
        /// What the transaction says.
        got: u64,
        /// What would be accepted.
        next: u64,
    },
    /// Price 0 would make the transaction free.
    #[error("the gas price is 0, offer at least 1 lux")]
    GasPriceZero,
    /// Less gas than the transaction needs before any contract runs.
    #[error("the gas limit is {got}, this transaction needs at least {need}")]
    GasLimitTooLow {
        /// What the transaction says.
        got: u64,
        /// What it needs.
        need: u64,
    },
    /// More gas than a block has.
    #[error("the gas limit {got} is above the block's {limit}")]
    GasLimitTooHigh {
        /// What the transaction says.
        got: u64,
        /// Gas limit of the block.
        limit: u64,
    },
    /// The sender cannot pay.
    #[error("the sender owns {have} lux, the transaction may cost up to {need}")]
    InsufficientBalance {
        /// Balance in lux.
        have: u64,
        /// Value, deposit and the whole gas limit, in lux.
        need: u64,
    },
    /// Sums that do not fit 64 bits.
    #[error("value, deposit and gas together exceed what 64 bits of lux can count")]
    Overflow,
    /// Contract code, which needs a VM.
    #[error("contracts cannot be deployed here: this L1 has native contracts only")]
    Deploy,
    /// No blobs, or too many.
    #[error("the transaction has {0} blobs: 1 to {MAX_BLOBS} are possible")]
    BlobCount(usize),
    /// Less gas than its blobs cost.
    #[error("the gas limit is {got}, the blobs alone need {need}")]
    BlobGas {
        /// What the transaction says.
        got: u64,
        /// What the blobs need.
        need: u64,
    },
    /// Data that could be read as those of another kind of transaction, with the same id and signature.
    #[error("the transaction's id has another reading: {0}")]
    Ambiguous(&'static str),
    /// A shielded transaction.
    #[error("Phoenix transactions are not supported")]
    Phoenix,
}

/// What one included transaction did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxOutcome {
    /// Its id.
    pub id: TxId,
    /// Gas charged.
    pub gas_spent: u64,
    /// Why its call failed, if it did.
    pub error: Option<String>,
}

/// Everything a block did.
#[derive(Debug, Clone)]
pub struct Executed {
    /// One entry for each transaction, in order.
    pub outcomes: Vec<TxOutcome>,
    /// Events with the index of the transaction that caused them; penalties come first, rewards last, and have none.
    pub events: Vec<(Option<usize>, Event)>,
    /// Bloom of the events.
    pub bloom: EventBloom,
    /// State changes.
    pub diff: StateDiff,
    /// Sum of gas.
    pub gas_spent: u64,
    /// Sum of fees in lux.
    pub fees: u64,
}

/// An error that is not a transaction's fault.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExecuteError {
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// A key of the configuration or of a certificate is not a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An event that does not serialise.
    #[error("an event cannot be encoded: {0}")]
    Event(String),
    /// Nobody to reward.
    #[error(transparent)]
    NoVoters(#[from] NoVoters),
}

/// Why [`Executor::execute`] did not take a transaction.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotIncluded {
    /// It can never be part of this block.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// It is fine, but the block has no gas left for it.
    #[error("the block's gas limit is reached")]
    BlockFull,
    /// Not the transaction's fault.
    #[error(transparent)]
    Fault(#[from] ExecuteError),
}

impl From<StateError> for NotIncluded {
    fn from(error: StateError) -> Self {
        Self::Fault(error.into())
    }
}

/// Least gas limit of a transaction with this data: what it costs before any contract runs, without the charge for blobs.
pub fn intrinsic_gas(data: Option<&TransactionData>) -> u64 {
    let bytes = match data {
        Some(TransactionData::Call(call)) => call.fn_name.len() + call.fn_args.len(),
        Some(TransactionData::Memo(memo)) => memo.len(),
        // A blob transaction runs as the memo of its hashes.
        Some(TransactionData::Blob(blobs)) => 32 * blobs.len(),
        Some(TransactionData::Deploy(_)) | None => 0,
    };
    gas::TRANSACTION.saturating_add(gas::DATA_BYTE.saturating_mul(bytes as u64))
}

/// What a network asks of every transaction.
#[derive(Clone, Copy)]
pub struct TxRules<'a> {
    /// Dusk chain id.
    pub chain_id: u8,
    /// Gas limit of a block.
    pub block_gas_limit: u64,
    /// Least gas of each blob.
    pub gas_per_blob: u64,
    /// Which calls there are.
    pub contracts: &'a dyn NativeContracts,
}

impl std::fmt::Debug for TxRules<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TxRules")
            .field("chain_id", &self.chain_id)
            .field("block_gas_limit", &self.block_gas_limit)
            .field("gas_per_blob", &self.gas_per_blob)
            .finish_non_exhaustive()
    }
}

/// The checks that need no state.
pub fn check_stateless(tx: &VerifiedTx, rules: &TxRules<'_>) -> Result<(), Rejection> {
    let inner = tx.inner().ok_or(Rejection::Phoenix)?;
    if inner.chain_id() != rules.chain_id {
        return Err(Rejection::ChainId { got: inner.chain_id(), want: rules.chain_id });
    }
    if inner.gas_price() == 0 {
        return Err(Rejection::GasPriceZero);
    }
    match inner.data() {
        Some(TransactionData::Deploy(_)) => return Err(Rejection::Deploy),
        Some(TransactionData::Blob(blobs)) => {
            if blobs.is_empty() || blobs.len() > MAX_BLOBS {
                return Err(Rejection::BlobCount(blobs.len()));
            }
            let need = blob_charge(blobs.len(), rules.gas_per_blob);
            if inner.gas_limit() < need {
                return Err(Rejection::BlobGas { got: inner.gas_limit(), need });
            }
        }
        Some(TransactionData::Call(_) | TransactionData::Memo(_)) | None => {}
    }
    kind::check(inner.data(), rules.contracts).map_err(Rejection::Ambiguous)?;
    let need = intrinsic_gas(inner.data());
    if inner.gas_limit() < need {
        return Err(Rejection::GasLimitTooLow { got: inner.gas_limit(), need });
    }
    if inner.gas_limit() > rules.block_gas_limit {
        return Err(Rejection::GasLimitTooHigh { got: inner.gas_limit(), limit: rules.block_gas_limit });
    }
    tx.cost().map(|_| ()).ok_or(Rejection::Overflow)
}

fn blob_charge(blobs: usize, gas_per_blob: u64) -> u64 {
    gas_per_blob.saturating_mul(blobs as u64)
}

/// Runs the transactions of one block, one after another.
pub struct Executor<'a, S: ?Sized> {
    state: Overlay<'a, S>,
    contracts: &'a dyn NativeContracts,
    env: BlockEnv,
    outcomes: Vec<TxOutcome>,
    events: Vec<(Option<usize>, Event)>,
    gas_spent: u64,
    fees: u64,
}

impl<S: ?Sized> std::fmt::Debug for Executor<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor")
            .field("env", &self.env)
            .field("included", &self.outcomes.len())
            .field("gas_spent", &self.gas_spent)
            .finish_non_exhaustive()
    }
}

impl<'a, S: StateRead + ?Sized> Executor<'a, S> {
    /// Starts a block on `state`.
    pub fn new(state: &'a S, contracts: &'a dyn NativeContracts, env: BlockEnv) -> Self {
        Self {
            state: Overlay::new(state),
            contracts,
            env,
            outcomes: Vec::new(),
            events: Vec::new(),
            gas_spent: 0,
            fees: 0,
        }
    }

    /// Number of included transactions.
    pub fn included(&self) -> usize {
        self.outcomes.len()
    }

    /// Deals out the penalties of the block. They come before the transactions, so that nobody escapes by unstaking in the same
    /// block; a missing stake is skipped (`slash` and `execute_state_transition` of the published `rusk.rs`).
    ///
    /// # Errors
    /// If the state cannot be read, or the stake contract owns less than is burnt.
    pub fn slash(&mut self, slashes: &[Slash]) -> Result<(), ExecuteError> {
        let (rules, height) = (self.env.stakes, self.env.height);
        for slash in slashes {
            let id = AccountId::from_key(slash.provisioner.inner());
            let Some(mut record) = stake_record(&self.state, &id)? else { continue };
            let severity = match (rules.slashing, &slash.r#type) {
                (Slashing::Relaxed, _) | (Slashing::Full, SlashType::Soft) => None,
                (Slashing::Full, SlashType::Hard) => Some(1),
                (Slashing::Full, SlashType::HardWithSeverity(severity)) => Some(*severity),
            };
            let (topic, penalty) = match severity {
                None => ("slash", record.slash(&rules, height)),
                Some(severity) => ("hard_slash", record.hard_slash(&rules, height, severity)),
            };
            // A warning is noted without being told.
            if record.is_staked() {
                self.state.set_stake(&id, record);
            }
            let Some(penalty) = penalty else { continue };
            if severity.is_some() {
                self.burn(penalty.lux)?;
            }
            let data = rkyv_bytes(&SlashEvent {
                account: *slash.provisioner.inner(),
                value: penalty.lux,
                next_eligibility: penalty.next_eligibility,
            })?;
            let event = Event { source: STAKE_CONTRACT, topic: topic.into(), data, reverted: false };
            self.events.push((None, event));
        }
        Ok(())
    }

    /// Takes burnt lux from the stake contract and counts them.
    fn burn(&mut self, lux: u64) -> Result<(), ExecuteError> {
        if lux == 0 {
            return Ok(());
        }
        let contract = STAKE_CONTRACT.to_bytes();
        let damaged = |reason: &str| StateError { what: "the stake contract".into(), reason: reason.into() };
        let left = contract_balance(&self.state, &contract)?
            .checked_sub(lux)
            .ok_or_else(|| damaged("it owns less than is staked"))?;
        self.state.set_contract_balance(&contract, left);
        let key = StateKey::ContractStorage(contract, BURNT_KEY.to_vec());
        let before = match self.state.read(&key)? {
            None => 0,
            Some(bytes) => bytes
                .try_into()
                .map(u64::from_le_bytes)
                .map_err(|_| damaged("the count of burnt lux does not decode"))?,
        };
        self.state.write(key, Some(before.saturating_add(lux).to_le_bytes().to_vec()));
        Ok(())
    }

    /// Runs one transaction; on any error the state is as before.
    pub fn execute(&mut self, tx: &VerifiedTx) -> Result<&TxOutcome, NotIncluded> {
        let checkpoint = self.state.checkpoint();
        match self.apply(tx) {
            Ok((outcome, events, fee)) => {
                self.gas_spent += outcome.gas_spent;
                self.fees = self.fees.saturating_add(fee);
                let index = self.outcomes.len();
                self.events.extend(events.into_iter().map(|event| (Some(index), event)));
                self.outcomes.push(outcome);
                Ok(&self.outcomes[index])
            }
            Err(error) => {
                self.state.revert(checkpoint);
                Err(error)
            }
        }
    }

    fn apply(&mut self, tx: &VerifiedTx) -> Result<(TxOutcome, Vec<Event>, u64), NotIncluded> {
        let rules = TxRules {
            chain_id: self.env.chain_id,
            block_gas_limit: self.env.gas_limit,
            gas_per_blob: self.env.gas_per_blob,
            contracts: self.contracts,
        };
        check_stateless(tx, &rules)?;
        let inner = tx.inner().ok_or(Rejection::Phoenix)?;
        let cost = tx.cost().ok_or(Rejection::Overflow)?;

        // The sender pays value, deposit and the whole gas limit up front; the value reaches its receiver at once.
        let mut sender = account(&self.state, tx.sender())?;
        let next = sender.nonce.checked_add(1).ok_or(Rejection::Overflow)?;
        match inner.nonce().cmp(&next) {
            std::cmp::Ordering::Less => return Err(Rejection::NonceUsed { got: inner.nonce(), next }.into()),
            std::cmp::Ordering::Greater => return Err(Rejection::NonceNotReady { got: inner.nonce(), next }.into()),
            std::cmp::Ordering::Equal => {}
        }
        sender.balance = sender
            .balance
            .checked_sub(cost)
            .ok_or(Rejection::InsufficientBalance { have: sender.balance, need: cost })?;
        sender.nonce = next;
        self.state.set_account(tx.sender(), sender);
        let receiver = inner.receiver().map(AccountId::from_key);
        self.credit(receiver.as_ref().unwrap_or(tx.sender()), inner.value())?;

        // The contract's part. A failure is undone, costs the whole gas limit, and leaves the deposit to the refund.
        let intrinsic = intrinsic_gas(inner.data());
        let (mut gas_spent, mut deposit_left) = (intrinsic, inner.deposit());
        let (mut error, mut events) = (None, Vec::new());
        if let Some(TransactionData::Call(call)) = inner.data() {
            let checkpoint = self.state.checkpoint();
            let mut context = CallContext::new(
                &mut self.state,
                &self.env,
                call.contract.to_bytes(),
                Caller { sender: *tx.sender(), key: *inner.sender(), nonce: inner.nonce(), tx_id: *tx.id() },
                inner.deposit(),
                inner.gas_limit() - intrinsic,
            );
            match contracts::call(self.contracts, &mut context, call) {
                Ok(()) => {
                    let end = context.finish();
                    gas_spent = inner.gas_limit() - end.gas_left;
                    deposit_left = end.deposit_left;
                    events = end.events;
                }
                Err(CallError::Failed(failure)) => {
                    self.state.revert(checkpoint);
                    gas_spent = inner.gas_limit();
                    error = Some(failure.to_string());
                }
                Err(CallError::State(fault)) => return Err(fault.into()),
            }
        }
        let mut memo = inner.memo().unwrap_or_default().to_vec();
        if let Some(blobs) = inner.blob() {
            gas_spent = gas_spent.max(blob_charge(blobs.len(), self.env.gas_per_blob));
            memo = blobs.iter().flat_map(|blob| blob.hash).collect();
        }
        if self.gas_spent.checked_add(gas_spent).is_none_or(|sum| sum > self.env.gas_limit) {
            return Err(NotIncluded::BlockFull);
        }

        if let Some(blobs) = inner.blob() {
            blobs::record(&mut self.state, self.env.height, blobs.iter().map(|blob| blob.hash))?;
        }
        let unspent = (inner.gas_limit() - gas_spent) * inner.gas_price();
        let refund = unspent.checked_add(deposit_left).ok_or(Rejection::Overflow)?;
        let refund_address = AccountId::from_key(inner.refund_address());
        self.credit(&refund_address, refund)?;

        let data = MoonlightTransactionEvent {
            sender: *inner.sender(),
            receiver: inner.receiver().copied(),
            value: inner.value(),
            memo,
            gas_spent,
            // As the transfer contract's `refund`: the deposit counts, and nothing is not told.
            refund_info: (refund > 0 && refund_address != *tx.sender()).then(|| (*inner.refund_address(), refund)),
        };
        let data = rkyv_bytes(&data)?;
        events.push(Event { source: TRANSFER_CONTRACT, topic: MOONLIGHT_TOPIC.into(), data, reverted: false });
        Ok((TxOutcome { id: *tx.id(), gas_spent, error }, events, gas_spent * inner.gas_price()))
    }

    fn credit(&mut self, id: &AccountId, lux: u64) -> Result<(), NotIncluded> {
        let mut record = account(&self.state, id)?;
        record.balance = record.balance.checked_add(lux).ok_or(Rejection::Overflow)?;
        self.state.set_account(id, record);
        Ok(())
    }

    /// Sum of fees so far, in lux.
    pub fn fees(&self) -> u64 {
        self.fees
    }

    /// Adds `rewards` to the stakes they belong to and closes the block.
    pub fn finish(mut self, rewards: &[Reward]) -> Result<Executed, ExecuteError> {
        blobs::forget(&mut self.state, self.env.height)?;
        for reward in rewards {
            let mut record = stake(&self.state, &reward.account)?;
            record.earn(reward.lux);
            self.state.set_stake(&reward.account, record);
        }
        if !rewards.is_empty() {
            let data = rewards.iter().map(Reward::to_dusk).collect::<Result<Vec<_>, _>>()?;
            let data = rkyv_bytes(&data)?;
            let event = Event { source: STAKE_CONTRACT, topic: "reward".into(), data, reverted: false };
            self.events.push((None, event));
        }
        let mut bloom = EventBloom::default();
        for (_, event) in &self.events {
            bloom.add(event);
        }
        Ok(Executed {
            outcomes: self.outcomes,
            events: self.events,
            bloom,
            diff: self.state.into_diff(),
            gas_spent: self.gas_spent,
            fees: self.fees,
        })
    }
}

/// Encodes event data as a Dusk contract does (rkyv, 32-bit).
///
/// `dusk-core` offers the same for call arguments, but only up to 4 KiB, which the rewards of twenty voters exceed.
pub(crate) fn rkyv_bytes<T: Serialize<AllocSerializer<1024>>>(data: &T) -> Result<Vec<u8>, ExecuteError> {
    let mut serializer = AllocSerializer::<1024>::default();
    serializer.serialize_value(data).map_err(|error| ExecuteError::Event(error.to_string()))?;
    Ok(serializer.into_serializer().into_inner().into_vec())
}

#[cfg(test)]
mod tests {
    use dusk_core::stake::{Reward, RewardReason};
    use dusk_core::transfer::data::ContractCall;

    use super::*;
    use crate::keys::Signer;

    #[test]
    fn event_bytes_are_those_of_dusk_core_and_have_no_bound() {
        let reward = |value| Reward {
            account: *Signer::from_seed(b"x").public_key(),
            value,
            reason: RewardReason::GeneratorExtra,
        };
        let some: Vec<Reward> = (0..10).map(reward).collect();
        let theirs = ContractCall::new([0; 32], "").with_args(&some).unwrap().fn_args;
        assert_eq!(rkyv_bytes(&some).unwrap(), theirs);
        let many: Vec<Reward> = (0..131).map(reward).collect();
        assert!(rkyv_bytes(&many).unwrap().len() > 4096);
    }
}
