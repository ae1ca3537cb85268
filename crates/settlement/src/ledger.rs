//! The contracts as native contracts of this program's own Dusk L1.
//!
//! Only wallets call them there: no contract of that L1 calls another one except these, among themselves.

use std::vec::Vec;

use alloy_primitives::B256;
use duskevm_dusk_l1::contracts::{CallContext, CallError, CallFailure, NativeContracts};
use duskevm_dusk_l1::state::{StateKey, StateRead};
use duskevm_dusk_l1::transfer::data::ContractCall;

use crate::host::{Caller, Host, Storage};
use crate::refusal::{Error, Refusal};
use crate::settlement::{Contract, Settlement};

impl NativeContracts for Settlement {
    fn functions(&self, id: &[u8; 32]) -> Option<&[&str]> {
        self.contracts().find(&B256::from(*id)).map(Contract::functions)
    }

    fn call(&self, context: &mut CallContext<'_>, call: &ContractCall) -> Result<(), CallError> {
        let contract = find(self, &call.contract.to_bytes())?;
        Settlement::call(self, &mut Running(context), contract, &call.fn_name, &call.fn_args).map_err(failure)
    }

    fn read(&self, state: &dyn StateRead, id: &[u8; 32], method: &str, args: &[u8]) -> Result<Vec<u8>, CallError> {
        let contract = find(self, id)?;
        Settlement::read(self, &Resting(state), contract, method, args).map_err(failure)
    }
}

fn find(settlement: &Settlement, id: &[u8; 32]) -> Result<Contract, CallError> {
    let contract = settlement.contracts().find(&B256::from(*id));
    contract.ok_or_else(|| CallFailure::UnknownContract(*id).into())
}

fn failure(error: Error<CallError>) -> CallError {
    match error {
        Error::Host(error) => error,
        Error::Refused(Refusal::UnknownFunction(name)) => CallFailure::UnknownFunction(name).into(),
        Error::Refused(refusal) => CallFailure::Refused(refusal.to_string()).into(),
    }
}

/// A state that is only read.
struct Resting<'a>(&'a dyn StateRead);

impl Storage for Resting<'_> {
    type Fault = CallError;

    fn get(&self, contract: &B256, key: &[u8]) -> Result<Option<Vec<u8>>, Error<CallError>> {
        let key = StateKey::ContractStorage(contract.0, key.to_vec());
        self.0.read(&key).map_err(|error| Error::Host(error.into()))
    }
}

/// A running call.
struct Running<'c, 'a>(&'c mut CallContext<'a>);

impl Storage for Running<'_, '_> {
    type Fault = CallError;

    fn get(&self, contract: &B256, key: &[u8]) -> Result<Option<Vec<u8>>, Error<CallError>> {
        self.0.get_of(&contract.0, key).map_err(Error::Host)
    }
}

impl Host for Running<'_, '_> {
    fn caller(&self) -> Caller {
        Caller::Wallet(*self.0.sender().as_bytes())
    }

    fn height(&self) -> u64 {
        self.0.env().height
    }

    fn charge(&mut self, gas: u64) -> Result<(), Error<CallError>> {
        self.0.charge(gas).map_err(Error::Host)
    }

    fn set(&mut self, contract: &B256, key: &[u8], value: Option<Vec<u8>>) {
        self.0.set_of(&contract.0, key, value);
    }

    fn attached(&self) -> u64 {
        self.0.deposit()
    }

    fn take_attached(&mut self, contract: &B256) -> Result<u64, Error<CallError>> {
        if self.0.contract() != &contract.0 {
            let why = "a contract that was not called cannot take what is attached";
            return Err(Error::Host(CallFailure::Refused(why.into()).into()));
        }
        self.0.take_deposit().map_err(Error::Host)
    }

    fn transfer(&mut self, from: &B256, to: &B256, lux: u64) -> Result<(), Error<CallError>> {
        self.0.transfer(&from.0, &to.0, lux).map_err(Error::Host)
    }

    fn has_blob(&self, versioned_hash: &B256) -> Result<bool, Error<CallError>> {
        Ok(self.0.blob(&versioned_hash.0).map_err(Error::Host)?.is_some())
    }

    fn emit(&mut self, contract: &B256, topic: &'static str, data: Vec<u8>) {
        self.0.emit_of(&contract.0, topic, data);
    }
}
