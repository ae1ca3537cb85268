//! A snapshot of the state as the EVM reads it, with changes kept in memory.

use crate::{
    cache::Cache,
    chain::{ReadError, StateReader},
};
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256};
use revm::{bytecode::Bytecode, database::CacheDB, database_interface::DatabaseRef, state::AccountInfo};
use std::{fmt, sync::Arc};

/// Code with its jump table. Analysing it costs more than running most calls, so what was analysed stays.
pub(crate) type CodeCache = Cache<B256, Bytecode>;

/// A state, and changes to it that end with the request.
pub(crate) type SimDb = CacheDB<StateDb>;

/// Read access to one state.
#[derive(Clone)]
pub(crate) struct StateDb {
    state: Arc<dyn StateReader>,
    codes: Arc<CodeCache>,
}

impl StateDb {
    pub(crate) fn new(state: Arc<dyn StateReader>, codes: Arc<CodeCache>) -> Self {
        Self { state, codes }
    }
}

impl fmt::Debug for StateDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateDb")
    }
}

impl DatabaseRef for StateDb {
    type Error = ReadError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, ReadError> {
        Ok(self.state.account(address)?.map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            account_id: None,
            code: None,
        }))
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, ReadError> {
        if code_hash == KECCAK256_EMPTY || code_hash.is_zero() {
            return Ok(Bytecode::default());
        }
        if let Some(code) = self.codes.get(&code_hash) {
            return Ok((*code).clone());
        }
        let bytes = self.state.code(code_hash)?;
        let weight = 256 + 2 * bytes.len();
        let code = Bytecode::new_raw_checked(bytes)
            .map_err(|e| ReadError::Backend(format!("stored code {code_hash} is damaged: {e}")))?;
        self.codes.insert(code_hash, Arc::new(code.clone()), weight);
        Ok(code)
    }

    fn storage_ref(&self, address: Address, index: U256) -> Result<U256, ReadError> {
        self.state.storage(address, index)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, ReadError> {
        self.state.block_hash(number)
    }
}
