//! What a block did to the state, by plain keys.

use crate::{AccountChange, AccountUpdate, HashedUpdate};
use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};

/// The fields of an account that execution sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountInfo {
    /// Number of transactions sent.
    pub nonce: u64,
    /// Balance in wei.
    pub balance: U256,
    /// keccak256 of the code, [`KECCAK256_EMPTY`] without code.
    pub code_hash: B256,
}

impl Default for AccountInfo {
    fn default() -> Self {
        Self { nonce: 0, balance: U256::ZERO, code_hash: KECCAK256_EMPTY }
    }
}

/// A slot's new value. Its hash is computed once and travels with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotDelta {
    /// The slot.
    pub slot: U256,
    /// keccak256 of the slot.
    pub hashed: B256,
    /// Its new value, zero if it is cleared.
    pub value: U256,
}

impl SlotDelta {
    /// A slot's new value.
    pub fn new(slot: U256, value: U256) -> Self {
        Self { slot, hashed: keccak256(slot.to_be_bytes::<32>()), value }
    }
}

/// What a block did to an account and its storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountDelta {
    /// The account.
    pub address: Address,
    /// keccak256 of the address.
    pub hashed: B256,
    /// Its fields after the block, changed or not; `None` if it does not exist then.
    pub info: Option<AccountInfo>,
    /// Storage was emptied before `slots` were written. Needless to set if the account is gone.
    pub storage_wiped: bool,
    /// Written slots, each once. Empty if the account is gone.
    pub slots: Vec<SlotDelta>,
}

impl AccountDelta {
    /// An account after the block; `slots` are slots with their new values, each slot once.
    pub fn new(
        address: Address,
        info: Option<AccountInfo>,
        storage_wiped: bool,
        slots: impl IntoIterator<Item = (U256, U256)>,
    ) -> Self {
        let slots = slots.into_iter().map(|(slot, value)| SlotDelta::new(slot, value)).collect();
        Self { address, hashed: keccak256(address), info, storage_wiped, slots }
    }
}

/// Everything a block did to the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateChanges {
    /// Changed accounts, each once.
    pub accounts: Vec<AccountDelta>,
    /// New code by its keccak256.
    pub codes: Vec<(B256, Bytes)>,
}

impl StateChanges {
    /// The same as the tries take it.
    pub fn hashed(&self) -> HashedUpdate {
        let accounts = self.accounts.iter().map(|delta| {
            let account = match delta.info {
                None => AccountChange::Destroyed,
                Some(AccountInfo { nonce, balance, code_hash }) => AccountChange::Set { nonce, balance, code_hash },
            };
            let slots = delta.slots.iter().map(|slot| (slot.hashed, slot.value)).collect();
            (delta.hashed, AccountUpdate { account, storage_wiped: delta.storage_wiped, slots })
        });
        let mut update = HashedUpdate { accounts: accounts.collect() };
        update.sort();
        update
    }
}
