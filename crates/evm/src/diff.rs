//! What a block changed in the state.

use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use duskevm_trie::{AccountChange, AccountUpdate, HashedUpdate};
use revm::{
    database::{AccountStatus, BundleState},
    state::AccountInfo,
};

/// Everything that one block changed, with the old values beside the new ones. Sorted by address, so that equal blocks give
/// equal diffs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateDiff {
    /// Changed accounts in ascending order of address.
    pub accounts: Vec<AccountDiff>,
    /// Code that the block deployed, by its keccak-256 hash.
    pub codes: Vec<(B256, Bytes)>,
}

/// One changed account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountDiff {
    /// The account.
    pub address: Address,
    /// Before the block; `None` if it did not exist.
    pub before: Option<AccountFields>,
    /// After the block; `None` if it no longer exists.
    pub after: Option<AccountFields>,
    /// All storage that stood before the block is gone (self-destruct); `slots` then start from nothing.
    pub storage_wiped: bool,
    /// Changed storage slots in ascending order: slot, value before, value after.
    pub slots: Vec<(U256, U256, U256)>,
}

/// The fields of an account except its storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountFields {
    /// Transactions sent, or contracts created.
    pub nonce: u64,
    /// In wei.
    pub balance: U256,
    /// Keccak-256 of the code.
    pub code_hash: B256,
}

impl From<&AccountInfo> for AccountFields {
    fn from(info: &AccountInfo) -> Self {
        Self { nonce: info.nonce, balance: info.balance, code_hash: info.code_hash }
    }
}

impl StateDiff {
    /// Reads the diff out of the bundle of one block.
    pub fn from_bundle(bundle: &BundleState) -> Self {
        let mut accounts: Vec<AccountDiff> = bundle
            .state
            .iter()
            .filter_map(|(address, account)| {
                let storage_wiped = matches!(
                    account.status,
                    AccountStatus::Destroyed | AccountStatus::DestroyedChanged | AccountStatus::DestroyedAgain
                );
                let before = account.original_info.as_ref().map(AccountFields::from);
                // An account that is touched and empty does not exist (EIP-161).
                let after = account.info.as_ref().filter(|info| !info.is_empty()).map(AccountFields::from);
                let mut slots: Vec<(U256, U256, U256)> = account
                    .storage
                    .iter()
                    .filter(|(_, slot)| storage_wiped || slot.previous_or_original_value != slot.present_value)
                    .map(|(key, slot)| (*key, slot.previous_or_original_value, slot.present_value))
                    .collect();
                // What stood before a wipe is gone with it; a zero written after it changes nothing.
                if storage_wiped {
                    slots.retain(|(_, _, after)| !after.is_zero());
                }
                if after.is_none() {
                    slots.clear();
                }
                let wiped_something = storage_wiped && before.is_some();
                (before != after || wiped_something || !slots.is_empty()).then(|| {
                    slots.sort_unstable_by_key(|(key, _, _)| *key);
                    AccountDiff { address: *address, before, after, storage_wiped, slots }
                })
            })
            .collect();
        accounts.sort_unstable_by_key(|account| account.address);
        let mut codes: Vec<(B256, Bytes)> =
            bundle.contracts.iter().map(|(hash, code)| (*hash, code.original_bytes())).collect();
        codes.sort_unstable_by_key(|(hash, _)| *hash);
        Self { accounts, codes }
    }
}

impl StateDiff {
    /// The same changes in the terms of the trie: addresses and slots hashed, sorted by hash. Hashing uses all cores where there
    /// are threads.
    pub fn to_hashed(&self) -> HashedUpdate {
        let hash = |account: &AccountDiff| {
            let change = match &account.after {
                None => AccountChange::Destroyed,
                Some(fields) => {
                    AccountChange::Set { nonce: fields.nonce, balance: fields.balance, code_hash: fields.code_hash }
                }
            };
            let slots =
                account.slots.iter().map(|(slot, _, value)| (keccak256(slot.to_be_bytes::<32>()), *value)).collect();
            (keccak256(account.address), AccountUpdate { account: change, storage_wiped: account.storage_wiped, slots })
        };
        #[cfg(feature = "std")]
        let accounts = {
            use rayon::prelude::*;
            self.accounts.par_iter().with_min_len(64).map(hash).collect()
        };
        #[cfg(not(feature = "std"))]
        let accounts = self.accounts.iter().map(hash).collect();
        let mut update = HashedUpdate { accounts };
        update.sort();
        update
    }
}
