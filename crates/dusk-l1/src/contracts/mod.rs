//! Where native contracts plug into execution.
//!
//! This L1 runs no WASM. Its contracts are Rust functions: the stake contract, which every network has, and those behind
//! [`NativeContracts`]. They read and write their own storage, own lux, pick up deposits, pay accounts and emit events through
//! a [`CallContext`] that meters their gas.

pub mod stake;

use dusk_core::abi::{ContractId, Event};
use dusk_core::signatures::bls::PublicKey;
use dusk_core::stake::STAKE_CONTRACT;
use dusk_core::transfer::data::ContractCall;
use dusk_core::transfer::{
    CONTRACT_TO_CONTRACT_TOPIC, ContractToContractEvent, DEPOSIT_TOPIC, DepositEvent, TRANSFER_CONTRACT,
};
use rkyv::Serialize;
use rkyv::ser::serializers::AllocSerializer;

use crate::blobs;
use crate::execute::{BlockEnv, rkyv_bytes};
use crate::keys::AccountId;
use crate::stakes::Stake;
use crate::state::{Overlay, StateError, StateKey, StateRead, account, contract_balance, stake_record};

/// Why a call failed. The transaction stays in its block, with all of its gas spent and this as its error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallFailure {
    /// Nothing is registered under this contract id.
    #[error("no contract {}", hex_id(.0))]
    UnknownContract([u8; 32]),
    /// The contract has no such function.
    #[error("the contract has no function `{0}`")]
    UnknownFunction(String),
    /// The gas limit was reached.
    #[error("out of gas")]
    OutOfGas,
    /// The contract refused, with its reason.
    #[error("{0}")]
    Refused(String),
}

fn hex_id(id: &[u8; 32]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Either a property of the call, or a state that cannot be read, which stops the whole block.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The call failed; everything it changed is undone.
    #[error(transparent)]
    Failed(#[from] CallFailure),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The contracts of a network.
pub trait NativeContracts {
    /// Names of the functions of the contract that is registered under `id`, `None` if there is no such contract.
    ///
    /// No name may be the beginning of another one of the same contract: a transaction id does not tell where the name ends
    /// and the arguments begin.
    fn functions(&self, id: &[u8; 32]) -> Option<&[&str]>;

    /// Runs one call of a function that [`Self::functions`] names. Everything it does goes through `context`, and is undone if
    /// it returns an error.
    fn call(&self, context: &mut CallContext<'_>, call: &ContractCall) -> Result<(), CallError>;

    /// Answers a question to the contract that is registered under `id`, from a state that does not change. Bytes of arguments and
    /// answer are the contract's own affair.
    ///
    /// # Errors
    /// A [`CallFailure`] if nothing answers this, [`CallError::State`] if the state cannot be read.
    fn read(&self, state: &dyn StateRead, id: &[u8; 32], method: &str, args: &[u8]) -> Result<Vec<u8>, CallError> {
        let _ = (state, args);
        match self.functions(id) {
            Some(_) => Err(CallFailure::UnknownFunction(method.into()).into()),
            None => Err(CallFailure::UnknownContract(*id).into()),
        }
    }
}

/// The functions of a contract that can be called: those of the stake contract, and those that `contracts` has.
pub fn functions<'a>(contracts: &'a dyn NativeContracts, id: &[u8; 32]) -> Option<&'a [&'a str]> {
    if *id == STAKE_CONTRACT.to_bytes() { Some(stake::FUNCTIONS) } else { contracts.functions(id) }
}

/// Runs one call, by the stake contract or by `contracts`.
pub(crate) fn call(
    contracts: &dyn NativeContracts,
    context: &mut CallContext<'_>,
    call: &ContractCall,
) -> Result<(), CallError> {
    if call.contract == STAKE_CONTRACT { stake::call(context, call) } else { contracts.call(context, call) }
}

/// A network without contracts but the stake contract.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoContracts;

impl NativeContracts for NoContracts {
    fn functions(&self, _id: &[u8; 32]) -> Option<&[&str]> {
        None
    }

    fn call(&self, _context: &mut CallContext<'_>, call: &ContractCall) -> Result<(), CallError> {
        Err(CallFailure::UnknownContract(call.contract.to_bytes()).into())
    }
}

/// State access without the storage's type, for contracts.
trait Access {
    fn read(&self, key: &StateKey) -> Result<Option<Vec<u8>>, StateError>;
    fn write(&mut self, key: StateKey, value: Option<Vec<u8>>);
    fn contract_balance(&self, contract: &[u8; 32]) -> Result<u64, StateError>;
    fn blob(&self, hash: &[u8; 32]) -> Result<Option<u64>, StateError>;
    fn set_contract_balance(&mut self, contract: &[u8; 32], lux: u64);
    fn credit(&mut self, id: &AccountId, lux: u64) -> Result<bool, StateError>;
    fn stake(&self, id: &AccountId) -> Result<Option<Stake>, StateError>;
    fn set_stake(&mut self, id: &AccountId, stake: Option<Stake>);
}

impl<S: StateRead + ?Sized> Access for Overlay<'_, S> {
    fn read(&self, key: &StateKey) -> Result<Option<Vec<u8>>, StateError> {
        StateRead::read(self, key)
    }

    fn write(&mut self, key: StateKey, value: Option<Vec<u8>>) {
        Overlay::write(self, key, value);
    }

    fn contract_balance(&self, contract: &[u8; 32]) -> Result<u64, StateError> {
        contract_balance(self, contract)
    }

    fn blob(&self, hash: &[u8; 32]) -> Result<Option<u64>, StateError> {
        blobs::last_seen(self, hash)
    }

    fn set_contract_balance(&mut self, contract: &[u8; 32], lux: u64) {
        Overlay::set_contract_balance(self, contract, lux);
    }

    fn credit(&mut self, id: &AccountId, lux: u64) -> Result<bool, StateError> {
        let mut record = account(self, id)?;
        let Some(balance) = record.balance.checked_add(lux) else { return Ok(false) };
        record.balance = balance;
        self.set_account(id, record);
        Ok(true)
    }

    fn stake(&self, id: &AccountId) -> Result<Option<Stake>, StateError> {
        stake_record(self, id)
    }

    fn set_stake(&mut self, id: &AccountId, stake: Option<Stake>) {
        match stake {
            Some(stake) => Overlay::set_stake(self, id, stake),
            None => self.remove_stake(id),
        }
    }
}

/// The transaction that a call is part of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) sender: AccountId,
    pub(crate) key: PublicKey,
    pub(crate) nonce: u64,
    pub(crate) tx_id: [u8; 32],
}

/// What one call may see and do.
pub struct CallContext<'a> {
    state: &'a mut dyn Access,
    env: &'a BlockEnv,
    contract: [u8; 32],
    caller: Caller,
    deposit: u64,
    gas_left: u64,
    events: Vec<Event>,
}

impl std::fmt::Debug for CallContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallContext")
            .field("contract", &hex_id(&self.contract))
            .field("deposit", &self.deposit)
            .field("gas_left", &self.gas_left)
            .field("events", &self.events.len())
            .finish_non_exhaustive()
    }
}

/// What a finished call leaves behind.
pub(crate) struct CallEnd {
    pub(crate) gas_left: u64,
    pub(crate) deposit_left: u64,
    pub(crate) events: Vec<Event>,
}

impl<'a> CallContext<'a> {
    pub(crate) fn new<S: StateRead + ?Sized>(
        state: &'a mut Overlay<'_, S>,
        env: &'a BlockEnv,
        contract: [u8; 32],
        caller: Caller,
        deposit: u64,
        gas_left: u64,
    ) -> Self {
        Self { state, env, contract, caller, deposit, gas_left, events: Vec::new() }
    }

    pub(crate) fn finish(self) -> CallEnd {
        CallEnd { gas_left: self.gas_left, deposit_left: self.deposit, events: self.events }
    }

    /// Block height and timestamp, chain id, producer.
    pub fn env(&self) -> &BlockEnv {
        self.env
    }

    /// The account that signed the transaction.
    pub fn sender(&self) -> &AccountId {
        &self.caller.sender
    }

    /// The called contract.
    pub fn contract(&self) -> &[u8; 32] {
        &self.contract
    }

    /// Id of the transaction. It does not bind the transaction's kind: do not use it as a secret or as the only key.
    pub fn tx_id(&self) -> &[u8; 32] {
        &self.caller.tx_id
    }

    /// Gas that is left.
    pub fn gas_left(&self) -> u64 {
        self.gas_left
    }

    /// Spends gas, or fails the call.
    pub fn charge(&mut self, gas: u64) -> Result<(), CallError> {
        match self.gas_left.checked_sub(gas) {
            Some(left) => {
                self.gas_left = left;
                Ok(())
            }
            None => {
                self.gas_left = 0;
                Err(CallFailure::OutOfGas.into())
            }
        }
    }

    /// Lux that the sender attached and nobody picked up yet.
    pub fn deposit(&self) -> u64 {
        self.deposit
    }

    /// Moves the attached lux into the contract's balance, emits the transfer contract's `deposit` event, and returns the
    /// amount. What is not picked up returns to the refund address.
    pub fn take_deposit(&mut self) -> Result<u64, CallError> {
        let taken = self.deposit;
        let balance = self.balance()?;
        let Some(sum) = balance.checked_add(taken) else {
            return Err(CallFailure::Refused("the contract's balance would overflow".into()).into());
        };
        if taken != 0 {
            self.state.set_contract_balance(&self.contract, sum);
            self.deposit = 0;
            let receiver = ContractId::from_bytes(self.contract);
            let event = DepositEvent { sender: Some(self.caller.key), receiver, value: taken };
            self.emit_as(TRANSFER_CONTRACT, DEPOSIT_TOPIC, &event)?;
        }
        Ok(taken)
    }

    /// The contract's balance in lux.
    pub fn balance(&self) -> Result<u64, CallError> {
        Ok(self.state.contract_balance(&self.contract)?)
    }

    /// Pays `lux` out of the contract's balance to an account.
    pub fn pay(&mut self, to: &AccountId, lux: u64) -> Result<(), CallError> {
        let Some(left) = self.balance()?.checked_sub(lux) else {
            return Err(CallFailure::Refused(format!("the contract owns less than {lux} lux")).into());
        };
        if !self.state.credit(to, lux)? {
            return Err(CallFailure::Refused("the receiver's balance would overflow".into()).into());
        }
        self.state.set_contract_balance(&self.contract, left);
        Ok(())
    }

    /// Moves `lux` from one contract to another, with the transfer contract's `contract_to_contract` event.
    ///
    /// The native contracts of a network know and trust each other: one of them acts for another where a deployed one would call it.
    pub fn transfer(&mut self, from: &[u8; 32], to: &[u8; 32], lux: u64) -> Result<(), CallError> {
        let refused = |why: String| CallError::from(CallFailure::Refused(why));
        let left = self.state.contract_balance(from)?.checked_sub(lux);
        let left = left.ok_or_else(|| refused(format!("the contract owns less than {lux} lux")))?;
        if lux == 0 || from == to {
            return Ok(());
        }
        let sum = self.state.contract_balance(to)?.checked_add(lux);
        let sum = sum.ok_or_else(|| refused("the receiver's balance would overflow".into()))?;
        self.state.set_contract_balance(from, left);
        self.state.set_contract_balance(to, sum);
        let (sender, receiver) = (ContractId::from_bytes(*from), ContractId::from_bytes(*to));
        let event = ContractToContractEvent { sender, receiver, value: lux };
        self.emit_as(TRANSFER_CONTRACT, CONTRACT_TO_CONTRACT_TOPIC, &event)
    }

    /// Height of the last block with this blob, this block included, unless that is longer ago than [`blobs::WINDOW`].
    pub fn blob(&self, versioned_hash: &[u8; 32]) -> Result<Option<u64>, CallError> {
        Ok(self.state.blob(versioned_hash)?)
    }

    /// Reads the contract's own storage.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, CallError> {
        self.get_of(&self.contract, key)
    }

    /// Reads the storage of another contract; see [`Self::transfer`].
    pub fn get_of(&self, contract: &[u8; 32], key: &[u8]) -> Result<Option<Vec<u8>>, CallError> {
        Ok(self.state.read(&StateKey::ContractStorage(*contract, key.to_vec()))?)
    }

    /// Writes the contract's own storage; `None` removes.
    pub fn set(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        let contract = self.contract;
        self.set_of(&contract, key, value);
    }

    /// Writes the storage of another contract; see [`Self::transfer`].
    pub fn set_of(&mut self, contract: &[u8; 32], key: &[u8], value: Option<Vec<u8>>) {
        self.state.write(StateKey::ContractStorage(*contract, key.to_vec()), value);
    }

    /// Emits an event of the contract.
    pub fn emit(&mut self, topic: impl Into<String>, data: Vec<u8>) {
        let contract = self.contract;
        self.emit_of(&contract, topic, data);
    }

    /// Emits an event of another contract; see [`Self::transfer`].
    pub fn emit_of(&mut self, contract: &[u8; 32], topic: impl Into<String>, data: Vec<u8>) {
        let source = ContractId::from_bytes(*contract);
        self.events.push(Event { source, topic: topic.into(), data, reverted: false });
    }

    /// Emits an event of any contract, with its data encoded as Dusk does.
    fn emit_as<T>(&mut self, source: ContractId, topic: &str, data: &T) -> Result<(), CallError>
    where
        T: Serialize<AllocSerializer<1024>>,
    {
        let data = rkyv_bytes(data)
            .map_err(|error| StateError { what: format!("a `{topic}` event"), reason: error.to_string() })?;
        self.events.push(Event { source, topic: topic.into(), data, reverted: false });
        Ok(())
    }
}
