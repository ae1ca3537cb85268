//! What a block changed in the state.

use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes};
use duskevm_trie::{AccountDelta, AccountInfo as AccountFields, StateChanges};
use revm::{
    database::{AccountStatus, BundleAccount, BundleState},
    state::AccountInfo,
};

fn fields(info: &AccountInfo) -> AccountFields {
    AccountFields { nonce: info.nonce, balance: info.balance, code_hash: info.code_hash }
}

/// Reads what one block changed out of its bundle, sorted by address, so that equal blocks give equal changes. Keys are hashed on
/// all cores where there are threads.
pub(crate) fn changes_of(bundle: &BundleState) -> StateChanges {
    let touched: Vec<(&Address, &BundleAccount)> = bundle.state.iter().collect();
    let delta = |(address, account): &(&Address, &BundleAccount)| account_delta(**address, account);
    #[cfg(feature = "std")]
    let mut accounts: Vec<AccountDelta> = {
        use rayon::prelude::*;
        touched.par_iter().with_min_len(64).filter_map(delta).collect()
    };
    #[cfg(not(feature = "std"))]
    let mut accounts: Vec<AccountDelta> = touched.iter().filter_map(delta).collect();
    accounts.sort_unstable_by_key(|account| account.address);
    let mut codes: Vec<(B256, Bytes)> =
        bundle.contracts.iter().map(|(hash, code)| (*hash, code.original_bytes())).collect();
    codes.sort_unstable_by_key(|(hash, _)| *hash);
    StateChanges { accounts, codes }
}

fn account_delta(address: Address, account: &BundleAccount) -> Option<AccountDelta> {
    let wiped = matches!(
        account.status,
        AccountStatus::Destroyed | AccountStatus::DestroyedChanged | AccountStatus::DestroyedAgain
    );
    let before = account.original_info.as_ref().map(fields);
    // An account that is touched and empty does not exist (EIP-161).
    let after = account.info.as_ref().filter(|info| !info.is_empty()).map(fields);
    let mut slots: Vec<_> = account
        .storage
        .iter()
        .filter(|(_, slot)| match (after, wiped) {
            (None, _) => false,
            // What stood before a wipe is gone with it; a zero written after it changes nothing.
            (Some(_), true) => !slot.present_value.is_zero(),
            (Some(_), false) => slot.previous_or_original_value != slot.present_value,
        })
        .map(|(key, slot)| (*key, slot.present_value))
        .collect();
    let changed = before != after || (wiped && before.is_some()) || !slots.is_empty();
    changed.then(|| {
        slots.sort_unstable_by_key(|(key, _)| *key);
        AccountDelta::new(address, after, wiped && after.is_some(), slots)
    })
}
