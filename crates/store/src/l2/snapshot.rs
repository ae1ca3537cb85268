//! The state after one block, whatever happens to the chain meanwhile.

use super::{AccountProof, BlockRef, Inner, L2Error, SlotProof, flat::Found};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use duskevm_trie::{AccountInfo, StateLimits, StateTrie, TrieError};
use parking_lot::Mutex;
use std::sync::Arc;

/// Decoded nodes that a snapshot of an old block keeps.
const HISTORIC: StateLimits = StateLimits { account_nodes: 5_000, storage_nodes: 5_000 };

/// The state after one block. Cheap to clone, for any thread, and it never waits for the writer.
///
/// At the head it reads the flat columns through the cache, and goes on so for some blocks after the head moved on. For
/// older blocks it reads the tries. If the block is taken out of the chain it answers [`L2Error::Reorged`] from then on (or, where
/// the tries still have what is asked, rightly), and if its state is pruned meanwhile, [`L2Error::StatePruned`].
#[derive(Clone, Debug)]
pub struct StateSnapshot {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<Inner>,
    block: BlockRef,
    root: B256,
    tries: Mutex<StateTrie>,
}

impl StateSnapshot {
    pub(super) fn new(store: Arc<Inner>, block: BlockRef, root: B256) -> Self {
        let tries = Mutex::new(StateTrie::new(root, HISTORIC));
        Self { shared: Arc::new(Shared { store, block, root, tries }) }
    }

    /// The block after which this is the state.
    pub fn block(&self) -> BlockRef {
        self.shared.block
    }

    /// Its state root.
    pub fn root(&self) -> B256 {
        self.shared.root
    }

    /// An account, `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// [`L2Error::Reorged`], [`L2Error::StatePruned`], [`L2Error::Db`], [`L2Error::Damaged`], [`L2Error::Trie`]; the same
    /// for the other reads.
    pub fn account(&self, address: &Address) -> Result<Option<AccountInfo>, L2Error> {
        let shared = &*self.shared;
        match shared.store.flat.account_at(&shared.store.db, &shared.block, address)? {
            Found::Value(info) => Ok(info),
            Found::Tries => self.with_tries(|tries, store| {
                let account = tries.account(store, &keccak256(address))?;
                Ok(account.map(|account| AccountInfo {
                    nonce: account.nonce,
                    balance: account.balance,
                    code_hash: account.code_hash,
                }))
            }),
            Found::Gone => Err(self.gone()),
        }
    }

    /// The value of a slot, zero if it was never written.
    ///
    /// # Errors
    ///
    /// As [`account`](Self::account).
    pub fn storage(&self, address: &Address, slot: &U256) -> Result<U256, L2Error> {
        let shared = &*self.shared;
        match shared.store.flat.slot_at(&shared.store.db, &shared.block, address, slot)? {
            Found::Value(value) => Ok(value),
            Found::Tries => self.with_tries(|tries, store| {
                Ok(tries.storage(store, &keccak256(address), &keccak256(slot.to_be_bytes::<32>()))?)
            }),
            Found::Gone => Err(self.gone()),
        }
    }

    /// Code by its hash; `None` if no account ever had it.
    ///
    /// # Errors
    ///
    /// As [`account`](Self::account).
    pub fn code(&self, hash: &B256) -> Result<Option<Bytes>, L2Error> {
        if *hash == KECCAK256_EMPTY {
            return Ok(Some(Bytes::new()));
        }
        self.shared.store.flat.code(&self.shared.store.db, hash)
    }

    /// The hash of this block or one before it; `None` above.
    ///
    /// # Errors
    ///
    /// As [`account`](Self::account).
    pub fn block_hash(&self, number: u64) -> Result<Option<B256>, L2Error> {
        let BlockRef { number: own, hash } = self.shared.block;
        if number >= own {
            return Ok((number == own).then_some(hash));
        }
        let found = self.shared.store.canonical_hash(number)?;
        // What was canonical then is so now, as long as this block is.
        if self.shared.store.canonical_hash(own)? == Some(hash) { Ok(found) } else { Err(self.gone()) }
    }

    /// Proofs of an account and some of its slots against [`root`](Self::root).
    ///
    /// # Errors
    ///
    /// As [`account`](Self::account).
    pub fn prove(&self, address: &Address, slots: &[U256]) -> Result<AccountProof, L2Error> {
        let hashed = keccak256(address);
        self.with_tries(|tries, store| {
            let account = tries.account(store, &hashed)?;
            let proof = tries.prove_account(store, &hashed)?;
            let mut proved = Vec::with_capacity(slots.len());
            for slot in slots {
                let hashed_slot = keccak256(slot.to_be_bytes::<32>());
                let value = tries.storage(store, &hashed, &hashed_slot)?;
                proved.push(SlotProof {
                    slot: *slot,
                    value,
                    proof: tries.prove_storage(store, &hashed, &hashed_slot)?,
                });
            }
            Ok(AccountProof { address: *address, account, proof, slots: proved })
        })
    }

    fn with_tries<T>(&self, read: impl FnOnce(&mut StateTrie, &Inner) -> Result<T, L2Error>) -> Result<T, L2Error> {
        let shared = &*self.shared;
        let mut tries = shared.tries.lock();
        let result = read(&mut tries, &shared.store);
        tries.shrink();
        let Err(L2Error::Trie(error)) = &result else { return result };
        if matches!(**error, TrieError::Missing { .. }) {
            // Expected if the state went away since the snapshot was made.
            let heads = shared.store.head()?.heads;
            if shared.block.number < heads.oldest_state {
                return Err(L2Error::StatePruned { block: shared.block, oldest: heads.oldest_state });
            }
            if shared.store.canonical_hash(shared.block.number)? != Some(shared.block.hash) {
                return Err(self.gone());
            }
        }
        result
    }

    fn gone(&self) -> L2Error {
        // After a close or a failure that is the better answer.
        match self.shared.store.canonical_hash(self.shared.block.number) {
            Err(error @ L2Error::Db(_)) => error,
            _ => L2Error::Reorged { block: self.shared.block },
        }
    }
}
