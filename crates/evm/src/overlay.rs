//! The state while a block is executed: the parent's state below, what the block changed on top.
//!
//! A block touches the same few accounts (sender, fee vaults) in every transaction, so a commit only updates entries in place; what the
//! block changed as a whole is read off at its end.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use alloy_evm::Database as ExecutionDatabase;
use alloy_primitives::{
    Address, B256, Bytes, U256,
    map::{AddressMap, B256Map, HashMap, U256Map},
};
use duskevm_trie::{AccountDelta, AccountInfo as AccountFields, StateChanges};
use revm::{
    Database, DatabaseCommit,
    bytecode::Bytecode,
    state::{Account, AccountInfo},
};

/// A slot before the block and now.
#[derive(Debug, Clone, Copy)]
struct Slot {
    before: U256,
    now: U256,
}

/// An account before the block and now.
#[derive(Debug, Default)]
struct Entry {
    before: Option<AccountFields>,
    now: Option<AccountInfo>,
    slots: U256Map<Slot>,
    /// The parent's storage of this account does not count any more: it was created or destroyed in this block.
    fresh: bool,
    /// It was destroyed in this block, and with it what storage the parent's state has.
    wiped: bool,
}

/// Reads of a parent state, with the writes of one block over it.
#[derive(Debug)]
pub(crate) struct Overlay<D> {
    parent: D,
    accounts: AddressMap<Entry>,
    codes: B256Map<Bytecode>,
    new_codes: Vec<(B256, Bytes)>,
    /// A read that failed where no error can be returned.
    failure: Option<String>,
}

fn fields(info: &AccountInfo) -> AccountFields {
    AccountFields { nonce: info.nonce, balance: info.balance, code_hash: info.code_hash }
}

impl<D: ExecutionDatabase> Overlay<D> {
    pub(crate) fn new(parent: D) -> Self {
        Self { parent, accounts: HashMap::default(), codes: HashMap::default(), new_codes: Vec::new(), failure: None }
    }

    fn entry(&mut self, address: Address) -> Result<&mut Entry, D::Error> {
        use alloy_primitives::map::Entry as Place;
        Ok(match self.accounts.entry(address) {
            Place::Occupied(entry) => entry.into_mut(),
            Place::Vacant(place) => {
                let now = self.parent.basic(address)?;
                place.insert(Entry { before: now.as_ref().map(fields), now, ..Entry::default() })
            }
        })
    }

    fn commit_account(&mut self, address: Address, account: Account) {
        if !account.is_touched() {
            return;
        }
        let entry = match self.entry(address) {
            Ok(entry) => entry,
            Err(error) => {
                self.failure = Some(error.to_string());
                return;
            }
        };
        if account.is_selfdestructed() {
            entry.now = None;
            entry.slots.clear();
            (entry.fresh, entry.wiped) = (true, true);
            return;
        }
        if account.is_created() {
            entry.slots.clear();
            entry.fresh = true;
        }
        for (key, slot) in &account.storage {
            if slot.is_changed() {
                let now = slot.present_value();
                entry.slots.entry(*key).or_insert(Slot { before: U256::ZERO, now }).now = now;
            }
        }
        // An account that is touched and empty does not exist (EIP-161).
        if account.is_empty() {
            entry.now = None;
            return;
        }
        let known = entry.now.as_ref().is_some_and(|info| info.code_hash == account.info.code_hash);
        entry.now = Some(account.info.clone());
        if !known && let Some(code) = account.info.code.filter(|code| !code.is_empty()) {
            let hash = account.info.code_hash;
            if self.codes.insert(hash, code.clone()).is_none() {
                self.new_codes.push((hash, code.original_bytes()));
            }
        }
    }

    /// What the block changed, sorted by address, so that equal blocks give equal changes. Keys are hashed on all cores where there
    /// are threads.
    ///
    /// # Errors
    /// What a read said that failed in the middle of a commit.
    pub(crate) fn into_changes(self) -> Result<StateChanges, String> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let touched: Vec<(Address, Entry)> = self.accounts.into_iter().collect();
        let delta = |(address, entry): &(Address, Entry)| entry.delta(*address);
        #[cfg(feature = "std")]
        let mut accounts: Vec<AccountDelta> = {
            use rayon::prelude::*;
            touched.par_iter().with_min_len(64).filter_map(delta).collect()
        };
        #[cfg(not(feature = "std"))]
        let mut accounts: Vec<AccountDelta> = touched.iter().filter_map(delta).collect();
        accounts.sort_unstable_by_key(|account| account.address);
        let mut codes = self.new_codes;
        codes.sort_unstable_by_key(|(hash, _)| *hash);
        Ok(StateChanges { accounts, codes })
    }
}

impl Entry {
    fn delta(&self, address: Address) -> Option<AccountDelta> {
        let after = self.now.as_ref().map(fields);
        let mut slots: Vec<(U256, U256)> = Vec::new();
        if after.is_some() {
            slots.extend(self.slots.iter().filter_map(|(key, slot)| {
                // What stood before a wipe is gone with it; a zero written after it changes nothing.
                let changed = if self.wiped { !slot.now.is_zero() } else { slot.now != slot.before };
                changed.then_some((*key, slot.now))
            }));
            slots.sort_unstable_by_key(|(key, _)| *key);
        }
        let wiped = self.wiped && self.before.is_some();
        (self.before != after || wiped || !slots.is_empty())
            .then(|| AccountDelta::new(address, after, wiped && after.is_some(), slots))
    }
}

impl<D: ExecutionDatabase> Database for Overlay<D> {
    type Error = D::Error;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, D::Error> {
        Ok(self.entry(address)?.now.clone())
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, D::Error> {
        if let Some(code) = self.codes.get(&hash) {
            return Ok(code.clone());
        }
        let code = self.parent.code_by_hash(hash)?;
        self.codes.insert(hash, code.clone());
        Ok(code)
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, D::Error> {
        let entry = self.entry(address)?;
        if let Some(slot) = entry.slots.get(&slot) {
            return Ok(slot.now);
        }
        // An account that did not exist has no storage to look for.
        if entry.fresh || entry.before.is_none() {
            return Ok(U256::ZERO);
        }
        let value = self.parent.storage(address, slot)?;
        self.entry(address)?.slots.insert(slot, Slot { before: value, now: value });
        Ok(value)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, D::Error> {
        self.parent.block_hash(number)
    }
}

impl<D: ExecutionDatabase> DatabaseCommit for Overlay<D> {
    fn commit(&mut self, changes: AddressMap<Account>) {
        for (address, account) in changes {
            self.commit_account(address, account);
        }
    }
}
