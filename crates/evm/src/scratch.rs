//! A state held as plain maps, whose roots are always computed from all of its entries.
//!
//! Slow on purpose: it shares nothing with the incremental tries, so that `db verify` and tests can hold the one against the other.

use crate::{
    block::Block,
    build::{ExecuteError, ExecutedBlock, Roots, StateRoots, execute_block},
    header::MESSAGE_PASSER,
    spec::ChainSpec,
};
use alloy_consensus::{Header, Sealed};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256, map::HashMap};
use alloy_rlp::Encodable;
use alloy_trie::{EMPTY_ROOT_HASH, HashBuilder, Nibbles, TrieAccount};
use core::convert::Infallible;
use duskevm_trie::{AccountInfo as AccountFields, StateChanges};
use revm::{Database, bytecode::Bytecode, state::AccountInfo};
use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

#[derive(Debug, Clone)]
struct Entry {
    fields: AccountFields,
    /// By hashed slot, as the trie is sorted.
    storage: BTreeMap<B256, U256>,
    /// Root of `storage`; computed anew whenever one of its entries changed.
    storage_root: B256,
}

/// The whole state after one block.
#[derive(Debug, Clone, Default)]
pub struct ScratchState {
    /// By hashed address, as the trie is sorted.
    accounts: BTreeMap<B256, Entry>,
    codes: HashMap<B256, Bytes>,
    block_hashes: HashMap<u64, B256>,
}

impl ScratchState {
    /// An empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over the changes of a block.
    pub fn apply(&mut self, changes: &StateChanges) {
        self.codes.extend(changes.codes.iter().cloned());
        for account in &changes.accounts {
            let key = account.hashed;
            let Some(fields) = account.info else {
                self.accounts.remove(&key);
                continue;
            };
            let entry = self.accounts.entry(key).or_insert_with(|| Entry {
                fields,
                storage: BTreeMap::new(),
                storage_root: EMPTY_ROOT_HASH,
            });
            entry.fields = fields;
            if account.storage_wiped {
                entry.storage.clear();
            }
            for slot in &account.slots {
                if slot.value.is_zero() {
                    entry.storage.remove(&slot.hashed);
                } else {
                    entry.storage.insert(slot.hashed, slot.value);
                }
            }
            if account.storage_wiped || !account.slots.is_empty() {
                entry.storage_root = storage_root(&entry.storage);
            }
        }
    }

    /// Notes the hash of a block, for BLOCKHASH.
    pub fn note_block(&mut self, number: u64, hash: B256) {
        self.block_hashes.insert(number, hash);
        // The EVM reaches back 256 blocks.
        if let Some(old) = number.checked_sub(257) {
            self.block_hashes.remove(&old);
        }
    }

    /// The state root and the storage root of the L2ToL1MessagePasser.
    pub fn roots(&self) -> Roots {
        let mut builder = HashBuilder::default();
        let mut value = std::vec::Vec::new();
        for (key, entry) in &self.accounts {
            value.clear();
            TrieAccount {
                nonce: entry.fields.nonce,
                balance: entry.fields.balance,
                storage_root: entry.storage_root,
                code_hash: entry.fields.code_hash,
            }
            .encode(&mut value);
            builder.add_leaf(Nibbles::unpack(key), &value);
        }
        let passer = self.accounts.get(&keccak256(MESSAGE_PASSER));
        Roots { state: builder.root(), message_passer: passer.map_or(EMPTY_ROOT_HASH, |entry| entry.storage_root) }
    }
}

fn storage_root(storage: &BTreeMap<B256, U256>) -> B256 {
    let mut builder = HashBuilder::default();
    for (slot, value) in storage {
        builder.add_leaf(Nibbles::unpack(slot), &alloy_rlp::encode_fixed_size(value));
    }
    builder.root()
}

impl Database for &ScratchState {
    type Error = Infallible;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.accounts.get(&keccak256(address)).map(|entry| AccountInfo {
            nonce: entry.fields.nonce,
            balance: entry.fields.balance,
            code_hash: entry.fields.code_hash,
            ..AccountInfo::default().without_code()
        }))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, Infallible> {
        // Every code hash of the state came with its code.
        Ok(match self.codes.get(&hash) {
            Some(code) if hash != KECCAK256_EMPTY => Bytecode::new_raw(code.clone()),
            _ => Bytecode::default(),
        })
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Infallible> {
        let entry = self.accounts.get(&keccak256(address));
        Ok(entry.and_then(|entry| entry.storage.get(&keccak256(slot.to_be_bytes::<32>())).copied()).unwrap_or_default())
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Infallible> {
        Ok(self.block_hashes.get(&number).copied().unwrap_or_default())
    }
}

/// A [`ScratchState`] that is read while a block is executed and takes over its changes when the roots are asked for.
#[derive(Debug, Default)]
pub struct ScratchChain {
    state: RwLock<ScratchState>,
}

impl ScratchChain {
    /// From this state on.
    pub fn new(state: ScratchState) -> Self {
        Self { state: RwLock::new(state) }
    }

    /// Executes a block on the state, checks every field of its header, and moves the state to it. After an error the state is
    /// not to be used any more.
    ///
    /// # Errors
    /// As [`execute_block`].
    pub fn execute(
        &self,
        spec: &ChainSpec,
        parent: &Sealed<Header>,
        block: &Block,
    ) -> Result<ExecutedBlock, ExecuteError<Infallible>> {
        let executed = execute_block(spec, parent, block, self, &mut &*self)?;
        self.write().note_block(block.number(), block.hash());
        Ok(executed)
    }

    /// Number of accounts.
    pub fn accounts(&self) -> usize {
        self.read().accounts.len()
    }

    fn read(&self) -> RwLockReadGuard<'_, ScratchState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, ScratchState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Database for &ScratchChain {
    type Error = Infallible;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        (&*self.read()).basic(address)
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, Infallible> {
        (&*self.read()).code_by_hash(hash)
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Infallible> {
        (&*self.read()).storage(address, slot)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Infallible> {
        (&*self.read()).block_hash(number)
    }
}

impl StateRoots for &ScratchChain {
    type Error = Infallible;

    fn roots_after(&mut self, changes: &StateChanges) -> Result<Roots, Infallible> {
        let mut state = self.write();
        state.apply(changes);
        Ok(state.roots())
    }
}
