//! The account trie and the storage tries below it.

use crate::{Change, Changes, EMPTY_ROOT_HASH, NibblePath, NodeSource, Trie, TrieError, TrieId};
use alloc::vec::Vec;
use alloy_primitives::{B256, Bytes, U256, map::B256Map};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};

/// What the account trie stores for an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct Account {
    /// Number of transactions sent (of contracts created, for a contract).
    pub nonce: u64,
    /// Balance in wei.
    pub balance: U256,
    /// Root of the account's storage trie.
    pub storage_root: B256,
    /// keccak256 of the account's code.
    pub code_hash: B256,
}

/// What a block did to the account itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountChange {
    /// The account is gone, with its storage.
    Destroyed,
    /// The account is there with these fields, changed or not.
    Set {
        /// Number of transactions sent.
        nonce: u64,
        /// Balance in wei.
        balance: U256,
        /// keccak256 of the code.
        code_hash: B256,
    },
}

/// What a block did to an account and its storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountUpdate {
    /// The account's own fields.
    pub account: AccountChange,
    /// Storage was emptied before `slots` were written (the account was destroyed and made again).
    pub storage_wiped: bool,
    /// New values by hashed slot (keccak256 of the slot), zero to delete. Each slot once, sorted for speed.
    /// Ignored if the account is destroyed.
    pub slots: Vec<(B256, U256)>,
}

/// Everything a block did to the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HashedUpdate {
    /// Changed accounts by hashed address (keccak256 of the address). Each account once, sorted for speed.
    pub accounts: Vec<(B256, AccountUpdate)>,
}

impl HashedUpdate {
    /// Sorts accounts and slots.
    pub fn sort(&mut self) {
        self.accounts.sort_unstable_by_key(|(address, _)| *address);
        self.accounts.iter_mut().for_each(|(_, update)| update.slots.sort_unstable_by_key(|(slot, _)| *slot));
    }
}

/// What [`StateTrie::apply`] gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateOutcome {
    /// The new state root.
    pub root: B256,
    /// New storage root by hashed address, for every account that is left and whose storage was written.
    pub storage_roots: Vec<(B256, B256)>,
    /// What to add to and release from the node store.
    pub changes: Changes,
}

/// How much a [`StateTrie`] keeps decoded between blocks, in nodes (a branch is about 700 bytes, a leaf about 250).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateLimits {
    /// Nodes of the account trie.
    pub account_nodes: usize,
    /// Nodes of all storage tries together; the least recently written tries go first.
    pub storage_nodes: usize,
}

impl Default for StateLimits {
    fn default() -> Self {
        Self { account_nodes: 100_000, storage_nodes: 100_000 }
    }
}

/// The whole state as tries. Clones are cheap and independent, for trying out a block that may be thrown away.
#[derive(Clone, Debug)]
pub struct StateTrie {
    accounts: Trie,
    storages: B256Map<StorageTrie>,
    clock: u64,
    limits: StateLimits,
    names_wiped: bool,
}

#[derive(Clone, Debug)]
struct StorageTrie {
    trie: Trie,
    used: u64,
}

impl StateTrie {
    /// The state with this root. Nothing is fetched yet.
    pub fn new(root: B256, limits: StateLimits) -> Self {
        Self { accounts: Trie::from_root(root), storages: B256Map::default(), clock: 0, limits, names_wiped: true }
    }

    /// The same for a stateless execution, which stores nothing: the nodes of a storage that is wiped as a whole
    /// are then neither read (a witness need not hold them) nor named among the removed.
    pub fn stateless(root: B256) -> Self {
        let limits = StateLimits { account_nodes: usize::MAX, storage_nodes: usize::MAX };
        Self { names_wiped: false, ..Self::new(root, limits) }
    }

    /// The current state root.
    pub fn root(&self) -> B256 {
        self.accounts.root()
    }

    /// Moves to another state. Keeps decoded what both share only if the root is the same; storage tries are kept
    /// and used again where their root still fits.
    pub fn set_root(&mut self, root: B256) {
        if self.root() != root {
            self.accounts = Trie::from_root(root);
        }
    }

    /// Decoded nodes in memory: of the account trie, and of all storage tries.
    pub fn decoded_nodes(&self) -> (usize, usize) {
        (self.accounts.decoded_nodes(), self.storages.values().map(|entry| entry.trie.decoded_nodes()).sum())
    }

    /// The account with this hashed address.
    ///
    /// # Errors
    ///
    /// If a node is missing or malformed, or the source fails. Nothing changes.
    pub fn account<S: NodeSource>(
        &mut self,
        source: &S,
        hashed_address: &B256,
    ) -> Result<Option<Account>, TrieError<S::Error>> {
        let value = self.accounts.get(source, hashed_address)?;
        value.map(|value| decode_account(self.root(), hashed_address, &value)).transpose()
    }

    /// The value of a slot; zero if the account or the slot is not there.
    ///
    /// # Errors
    ///
    /// As [`account`](Self::account).
    pub fn storage<S: NodeSource>(
        &mut self,
        source: &S,
        hashed_address: &B256,
        hashed_slot: &B256,
    ) -> Result<U256, TrieError<S::Error>> {
        let Some(account) = self.account(source, hashed_address)? else { return Ok(U256::ZERO) };
        if account.storage_root == EMPTY_ROOT_HASH {
            return Ok(U256::ZERO);
        }
        let trie = self.storage_trie(hashed_address, account.storage_root);
        let Some(value) = trie.get(source, hashed_slot)? else { return Ok(U256::ZERO) };
        decode_slot(trie, hashed_slot, &value)
    }

    /// Proof of an account or of its absence, root first.
    ///
    /// # Errors
    ///
    /// As [`account`](Self::account).
    pub fn prove_account<S: NodeSource>(
        &mut self,
        source: &S,
        hashed_address: &B256,
    ) -> Result<Vec<Bytes>, TrieError<S::Error>> {
        self.accounts.prove(source, hashed_address)
    }

    /// Proof of a slot's value or of its absence, root of the storage trie first. Empty if the account has no
    /// storage.
    ///
    /// # Errors
    ///
    /// As [`account`](Self::account).
    pub fn prove_storage<S: NodeSource>(
        &mut self,
        source: &S,
        hashed_address: &B256,
        hashed_slot: &B256,
    ) -> Result<Vec<Bytes>, TrieError<S::Error>> {
        match self.account(source, hashed_address)? {
            Some(account) if account.storage_root != EMPTY_ROOT_HASH => {
                self.storage_trie(hashed_address, account.storage_root).prove(source, hashed_slot)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Fetches the paths of accounts and of their slots, so that a later [`apply`](Self::apply) finds them in
    /// memory. Meant to run beside execution, as soon as it is known what is touched.
    ///
    /// # Errors
    ///
    /// As [`account`](Self::account).
    pub fn prefetch<S: NodeSource>(
        &mut self,
        source: &S,
        touched: &[(B256, Vec<B256>)],
    ) -> Result<(), TrieError<S::Error>> {
        let addresses: Vec<_> = touched.iter().map(|(address, _)| *address).collect();
        let values = self.accounts.get_many(source, &addresses)?;
        for ((address, slots), value) in touched.iter().zip(values) {
            let Some(value) = value else { continue };
            if slots.is_empty() {
                continue;
            }
            let account = decode_account(self.root(), address, &value)?;
            if account.storage_root != EMPTY_ROOT_HASH {
                self.storage_trie(address, account.storage_root).get_many(source, slots)?;
            }
        }
        Ok(())
    }

    /// Applies what a block did and hashes the result: storage tries side by side, then the account trie.
    ///
    /// # Errors
    ///
    /// If a node is missing or malformed, or the source fails. The state is then what it was before the call.
    pub fn apply<S: NodeSource>(
        &mut self,
        source: &S,
        update: &HashedUpdate,
    ) -> Result<StateOutcome, TrieError<S::Error>> {
        self.clock += 1;
        let addresses: Vec<_> = update.accounts.iter().map(|(address, _)| *address).collect();
        let before = self.accounts.get_many(source, &addresses)?;

        let mut storage_roots = Vec::with_capacity(before.len());
        let mut jobs = Vec::new();
        for (index, ((address, update), before)) in update.accounts.iter().zip(before).enumerate() {
            let root = match before {
                Some(value) => decode_account(self.root(), address, &value)?.storage_root,
                None => EMPTY_ROOT_HASH,
            };
            storage_roots.push(root);
            let destroyed = update.account == AccountChange::Destroyed;
            let wipes = (destroyed || update.storage_wiped) && root != EMPTY_ROOT_HASH;
            if wipes || (!destroyed && !update.slots.is_empty()) {
                let trie = self.storages.remove(address).map(|entry| entry.trie).filter(|trie| trie.root() == root);
                let trie = trie.unwrap_or_else(|| Trie::new(TrieId::Storage(*address), root));
                let slots = if destroyed { &[][..] } else { &update.slots[..] };
                jobs.push(StorageJob { index, trie, wipes, names_wiped: self.names_wiped, slots });
            }
        }

        let mut changes = Changes::default();
        let mut written = Vec::with_capacity(jobs.len());
        for done in run(jobs, |job| job.run(source)) {
            let (index, trie, storage_changes) = done?;
            changes.append(storage_changes);
            let (address, update) = &update.accounts[index];
            storage_roots[index] = trie.root();
            if update.account != AccountChange::Destroyed {
                written.push((*address, trie.root()));
            }
            if trie.root() != EMPTY_ROOT_HASH {
                self.storages.insert(*address, StorageTrie { trie, used: self.clock });
            }
        }

        let accounts = update.accounts.iter().zip(storage_roots).map(|((address, update), storage_root)| {
            let value = match update.account {
                AccountChange::Destroyed => None,
                AccountChange::Set { nonce, balance, code_hash } => {
                    let mut raw = Vec::with_capacity(112);
                    Account { nonce, balance, storage_root, code_hash }.encode(&mut raw);
                    Some(raw.into())
                }
            };
            (*address, value)
        });
        self.accounts.update(source, accounts.collect())?;
        let root = self.accounts.commit(&mut changes);
        self.shrink();
        Ok(StateOutcome { root, storage_roots: written, changes })
    }

    fn storage_trie(&mut self, hashed_address: &B256, root: B256) -> &mut Trie {
        self.clock += 1;
        let entry = self
            .storages
            .entry(*hashed_address)
            .or_insert_with(|| StorageTrie { trie: Trie::new(TrieId::Storage(*hashed_address), root), used: 0 });
        if entry.trie.root() != root {
            entry.trie = Trie::new(TrieId::Storage(*hashed_address), root);
        }
        entry.used = self.clock;
        &mut entry.trie
    }

    /// Forgets decoded nodes beyond the limits. [`apply`](Self::apply) does so by itself; reads only add.
    pub fn shrink(&mut self) {
        self.accounts.shrink(self.limits.account_nodes);
        let (_, mut total) = self.decoded_nodes();
        let limit = self.limits.storage_nodes;
        if total <= limit {
            return;
        }
        // One huge contract must not push out all others; then the oldest go, down to three quarters, so that
        // this does not run at every block.
        for entry in self.storages.values_mut() {
            entry.trie.shrink(limit / 2);
        }
        let mut by_age: Vec<_> =
            self.storages.iter().map(|(address, entry)| (entry.used, *address, entry.trie.decoded_nodes())).collect();
        by_age.sort_unstable();
        total = by_age.iter().map(|(_, _, nodes)| nodes).sum();
        for (_, address, nodes) in by_age {
            if total <= limit / 4 * 3 {
                break;
            }
            self.storages.remove(&address);
            total -= nodes;
        }
    }
}

/// One storage trie to bring up to date.
struct StorageJob<'a> {
    index: usize,
    trie: Trie,
    wipes: bool,
    names_wiped: bool,
    slots: &'a [(B256, U256)],
}

impl StorageJob<'_> {
    fn run<S: NodeSource>(mut self, source: &S) -> Result<(usize, Trie, Changes), TrieError<S::Error>> {
        if self.wipes && self.names_wiped {
            self.trie.clear(source)?;
        } else if self.wipes {
            self.trie.clear_unread();
        }
        let slots: Vec<Change> = self
            .slots
            .iter()
            .map(|(slot, value)| {
                (*slot, (!value.is_zero()).then(|| Bytes::copy_from_slice(&alloy_rlp::encode_fixed_size(value))))
            })
            .collect();
        self.trie.update(source, slots)?;
        let mut changes = Changes::default();
        self.trie.commit(&mut changes);
        Ok((self.index, self.trie, changes))
    }
}

fn decode_account<E>(root: B256, key: &B256, value: &[u8]) -> Result<Account, TrieError<E>> {
    let mut rest = value;
    match Account::decode(&mut rest) {
        Ok(account) if rest.is_empty() => Ok(account),
        _ => Err(TrieError::Malformed {
            hash: root,
            path: NibblePath::new(key, crate::KEY_NIBBLES),
            trie: TrieId::Accounts,
            reason: "an account that is not RLP of nonce, balance, storage root and code hash",
        }),
    }
}

fn decode_slot<E>(trie: &Trie, key: &B256, value: &[u8]) -> Result<U256, TrieError<E>> {
    let mut rest = value;
    match U256::decode(&mut rest) {
        Ok(value) if rest.is_empty() => Ok(value),
        _ => Err(TrieError::Malformed {
            hash: trie.root(),
            path: NibblePath::new(key, crate::KEY_NIBBLES),
            trie: trie.id(),
            reason: "a storage value that is not the RLP of a number of at most 32 bytes",
        }),
    }
}

#[cfg(feature = "parallel")]
fn run<J: Send, R: Send>(jobs: Vec<J>, job: impl Fn(J) -> R + Send + Sync) -> Vec<R> {
    use rayon::prelude::*;

    // Below this a thread pool costs more than it brings.
    if jobs.len() < 2 {
        return jobs.into_iter().map(job).collect();
    }
    jobs.into_par_iter().map(job).collect()
}

#[cfg(not(feature = "parallel"))]
fn run<J, R>(jobs: Vec<J>, job: impl Fn(J) -> R) -> Vec<R> {
    jobs.into_iter().map(job).collect()
}
