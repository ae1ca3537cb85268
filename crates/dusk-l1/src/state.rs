//! L1 state: what is recorded, how it is keyed, and how changes are collected before they are stored.
//!
//! Storage is abstract: [`StateRead`] answers for one key, [`StateRoot`] for the root after a set of changes.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::{B256, Bytes, keccak256};
use duskevm_trie::{Changes, EMPTY_ROOT_HASH, Trie, Witness};

use crate::keys::AccountId;
pub use crate::stakes::{Owner, Stake};

/// A failure to read the state: the disk, or a record that does not decode. Not a property of any transaction.
#[derive(Debug, Clone, thiserror::Error)]
#[error("L1 state cannot be read ({what}): {reason}")]
pub struct StateError {
    /// The record that was asked for.
    pub what: String,
    /// What went wrong.
    pub reason: String,
}

/// Name of one state record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateKey {
    /// A Moonlight account: [`Account`].
    Account(AccountId),
    /// A provisioner's stake: [`Stake`].
    Stake(AccountId),
    /// What a contract owns (lux, u64 little-endian).
    ContractBalance([u8; 32]),
    /// One value of a contract's own storage.
    ContractStorage([u8; 32], Vec<u8>),
    /// A blob by its versioned hash: the height of its last block ([`crate::blobs`]).
    Blob([u8; 32]),
    /// The blobs that came with the block at this height.
    BlobsAt(u64),
}

impl StateKey {
    /// The bytes that name the record in storage and, hashed, in the state tree: a tag byte, then the parts.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Account(id) => [&[1], id.as_bytes().as_slice()].concat(),
            Self::Stake(id) => [&[2], id.as_bytes().as_slice()].concat(),
            Self::ContractBalance(contract) => [&[3], contract.as_slice()].concat(),
            Self::ContractStorage(contract, key) => [&[4], contract.as_slice(), key].concat(),
            Self::Blob(hash) => [&[5], hash.as_slice()].concat(),
            Self::BlobsAt(height) => [&[6], height.to_le_bytes().as_slice()].concat(),
        }
    }

    /// The inverse of [`Self::to_bytes`]; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        match tag {
            1 => Some(Self::Account(AccountId::from_trusted(rest.try_into().ok()?))),
            2 => Some(Self::Stake(AccountId::from_trusted(rest.try_into().ok()?))),
            3 => Some(Self::ContractBalance(rest.try_into().ok()?)),
            4 => {
                let (contract, key) = rest.split_at_checked(32)?;
                Some(Self::ContractStorage(contract.try_into().ok()?, key.to_vec()))
            }
            5 => Some(Self::Blob(rest.try_into().ok()?)),
            6 => Some(Self::BlobsAt(u64::from_le_bytes(rest.try_into().ok()?))),
            _ => None,
        }
    }
}

/// A Moonlight account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// Nonce of the last transaction that was included; the next one carries this plus one.
    pub nonce: u64,
    /// Balance in lux.
    pub balance: u64,
}

impl Account {
    fn to_bytes(self) -> Option<Vec<u8>> {
        if self == Self::default() {
            return None;
        }
        Some([self.nonce.to_le_bytes(), self.balance.to_le_bytes()].concat())
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let account = Self { nonce: take_u64(&mut rest)?, balance: take_u64(&mut rest)? };
        rest.is_empty().then_some(account)
    }
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (head, tail) = rest.split_at_checked(8)?;
    *rest = tail;
    Some(u64::from_le_bytes(head.try_into().ok()?))
}

/// Reads one record of the state.
pub trait StateRead {
    /// The record's bytes, `None` if there is none.
    fn read(&self, key: &StateKey) -> Result<Option<Vec<u8>>, StateError>;
}

/// Answers what the state root becomes when changes are applied.
pub trait StateRoot: StateRead {
    /// The root after `changes`, which are not applied by this call.
    fn root_with(&self, changes: &StateDiff) -> Result<B256, StateError>;
}

impl<S: StateRead + ?Sized> StateRead for &S {
    fn read(&self, key: &StateKey) -> Result<Option<Vec<u8>>, StateError> {
        (**self).read(key)
    }
}

/// The changes of a block: new bytes of a record, or `None` where it is removed.
pub type StateDiff = BTreeMap<StateKey, Option<Vec<u8>>>;

/// An account; an unknown one is empty.
pub fn account<S: StateRead + ?Sized>(state: &S, id: &AccountId) -> Result<Account, StateError> {
    typed(state, StateKey::Account(*id), Account::from_bytes)
}

/// A stake; an unknown one is empty.
pub fn stake<S: StateRead + ?Sized>(state: &S, id: &AccountId) -> Result<Stake, StateError> {
    Ok(stake_record(state, id)?.unwrap_or_default())
}

/// The record of a stake, if there is one. One that exists, be it empty, binds its owner.
pub fn stake_record<S: StateRead + ?Sized>(state: &S, id: &AccountId) -> Result<Option<Stake>, StateError> {
    typed(state, StateKey::Stake(*id), |bytes| Stake::from_bytes(bytes).map(Some))
}

/// The stakes that a block changed, with what became of them; `None` where one was removed.
///
/// # Errors
/// If a record does not decode, which no execution makes.
pub fn stake_changes(changes: &StateDiff) -> Result<Vec<(AccountId, Option<Stake>)>, StateError> {
    let mut out = Vec::new();
    for (key, value) in changes {
        if let StateKey::Stake(id) = key {
            let stake = value.as_deref().map(|bytes| decode_stake(id, bytes)).transpose()?;
            out.push((*id, stake));
        }
    }
    Ok(out)
}

fn decode_stake(id: &AccountId, bytes: &[u8]) -> Result<Stake, StateError> {
    Stake::from_bytes(bytes)
        .ok_or_else(|| StateError { what: format!("the stake of {id}"), reason: "the record does not decode".into() })
}

/// A contract's balance in lux.
pub fn contract_balance<S: StateRead + ?Sized>(state: &S, contract: &[u8; 32]) -> Result<u64, StateError> {
    typed(state, StateKey::ContractBalance(*contract), |bytes| bytes.try_into().ok().map(u64::from_le_bytes))
}

fn typed<S: StateRead + ?Sized, T: Default>(
    state: &S,
    key: StateKey,
    decode: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<T, StateError> {
    match state.read(&key)? {
        None => Ok(T::default()),
        Some(bytes) => decode(&bytes)
            .ok_or_else(|| StateError { what: format!("{key:?}"), reason: "the record does not decode".into() }),
    }
}

/// Changes on top of a state that is only read. Checkpoints make single transactions revertible.
#[derive(Debug)]
pub struct Overlay<'a, S: ?Sized> {
    base: &'a S,
    changes: StateDiff,
    /// Previous overlay values of the records written since the last checkpoint.
    undo: Vec<(StateKey, Option<Option<Vec<u8>>>)>,
}

impl<'a, S: StateRead + ?Sized> Overlay<'a, S> {
    /// No changes yet.
    pub fn new(base: &'a S) -> Self {
        Self { base, changes: StateDiff::new(), undo: Vec::new() }
    }

    /// Writes a record, or removes it. An empty record is none.
    pub fn write(&mut self, key: StateKey, value: Option<Vec<u8>>) {
        let value = value.filter(|bytes| !bytes.is_empty());
        let before = self.changes.insert(key.clone(), value);
        self.undo.push((key, before));
    }

    /// Writes an account; an empty one is removed.
    pub fn set_account(&mut self, id: &AccountId, account: Account) {
        self.write(StateKey::Account(*id), account.to_bytes());
    }

    /// Writes a stake. One that is spent is removed only by [`Self::remove_stake`].
    pub fn set_stake(&mut self, id: &AccountId, stake: Stake) {
        self.write(StateKey::Stake(*id), Some(stake.to_bytes()));
    }

    /// Removes a stake.
    pub fn remove_stake(&mut self, id: &AccountId) {
        self.write(StateKey::Stake(*id), None);
    }

    /// Writes a contract's balance in lux; zero is removed.
    pub fn set_contract_balance(&mut self, contract: &[u8; 32], lux: u64) {
        let value = (lux != 0).then(|| lux.to_le_bytes().to_vec());
        self.write(StateKey::ContractBalance(*contract), value);
    }

    /// Marks a point to which [`Self::revert`] returns.
    pub fn checkpoint(&self) -> usize {
        self.undo.len()
    }

    /// Undoes everything written since `checkpoint`.
    pub fn revert(&mut self, checkpoint: usize) {
        while self.undo.len() > checkpoint {
            let Some((key, before)) = self.undo.pop() else { break };
            match before {
                Some(value) => self.changes.insert(key, value),
                None => self.changes.remove(&key),
            };
        }
    }

    /// The collected changes.
    pub fn into_diff(self) -> StateDiff {
        self.changes
    }
}

impl<S: StateRead + ?Sized> StateRead for Overlay<'_, S> {
    fn read(&self, key: &StateKey) -> Result<Option<Vec<u8>>, StateError> {
        match self.changes.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.read(key),
        }
    }
}

/// A whole state in memory: the records, and the tree over them.
///
/// The state root is the Merkle-Patricia root over keccak256(record name) → record bytes. It is *ours*: a Dusk node's root
/// comes from the memory pages of its contract VM, which this program does not run. An update costs in touched records.
#[derive(Debug, Clone)]
pub struct MemoryState {
    records: HashMap<B256, Vec<u8>>,
    /// All stakes, which the records alone could not enumerate: their names are hashed.
    stakes: BTreeMap<AccountId, Stake>,
    tree: Trie,
}

impl Default for MemoryState {
    fn default() -> Self {
        Self { records: HashMap::new(), stakes: BTreeMap::new(), tree: Trie::from_root(EMPTY_ROOT_HASH) }
    }
}

impl MemoryState {
    /// The state that holds `records`, given by name.
    pub fn from_records(records: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<Self, StateError> {
        let mut state = Self::default();
        let mut changes = Vec::new();
        for (name, value) in records {
            if let Some(StateKey::Stake(id)) = StateKey::from_bytes(&name) {
                state.stakes.insert(id, decode_stake(&id, &value)?);
            }
            let key = keccak256(name);
            changes.push((key, Some(Bytes::copy_from_slice(&value))));
            state.records.insert(key, value);
        }
        update(&mut state.tree, changes)?;
        Ok(state)
    }

    /// Applies the changes of a block and returns what undoes them: applied in turn, the records are as before.
    ///
    /// # Errors
    /// If a stake does not decode; nothing has changed then.
    pub fn apply(&mut self, changes: &StateDiff) -> Result<StateDiff, StateError> {
        let stakes = stake_changes(changes)?;
        update(&mut self.tree, hashed(changes))?;
        for (id, stake) in stakes {
            match stake {
                Some(stake) => self.stakes.insert(id, stake),
                None => self.stakes.remove(&id),
            };
        }
        let mut undo = StateDiff::new();
        for (name, value) in changes {
            let key = keccak256(name.to_bytes());
            let before = match value {
                Some(value) => self.records.insert(key, value.clone()),
                None => self.records.remove(&key),
            };
            undo.insert(name.clone(), before);
        }
        Ok(undo)
    }

    /// What [`Self::apply`] would return for `changes`: the records as they are now, so that they can be stored before
    /// anything changes.
    pub fn undo_of(&self, changes: &StateDiff) -> StateDiff {
        changes.keys().map(|key| (key.clone(), self.records.get(&keccak256(key.to_bytes())).cloned())).collect()
    }

    /// All stakes, ascending by key.
    pub fn stakes(&self) -> impl Iterator<Item = (AccountId, Stake)> {
        self.stakes.iter().map(|(id, stake)| (*id, *stake))
    }

    /// The root of what is held.
    pub fn root(&self) -> B256 {
        self.tree.root()
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

fn hashed(changes: &StateDiff) -> Vec<(B256, Option<Bytes>)> {
    changes
        .iter()
        .map(|(key, value)| (keccak256(key.to_bytes()), value.as_ref().map(|bytes| Bytes::copy_from_slice(bytes))))
        .collect()
}

/// The tree is always decoded as a whole, so that no node is ever fetched: the source is empty.
fn update(tree: &mut Trie, changes: Vec<(B256, Option<Bytes>)>) -> Result<(), StateError> {
    tree.update(&Witness::default(), changes)
        .map_err(|error| StateError { what: "the state tree".into(), reason: error.to_string() })?;
    tree.commit(&mut Changes::default());
    Ok(())
}

impl StateRead for MemoryState {
    fn read(&self, key: &StateKey) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.records.get(&keccak256(key.to_bytes())).cloned())
    }
}

impl StateRoot for MemoryState {
    fn root_with(&self, changes: &StateDiff) -> Result<B256, StateError> {
        let mut tree = self.tree.clone();
        update(&mut tree, hashed(changes))?;
        Ok(tree.root())
    }
}

#[cfg(test)]
mod tests {
    use alloy_trie::{HashBuilder, Nibbles};
    use proptest::prelude::*;

    use super::*;
    use crate::keys::Signer;

    #[test]
    fn names_round_trip() {
        let id = Signer::from_seed(b"x").id();
        for key in [
            StateKey::Account(id),
            StateKey::Stake(id),
            StateKey::ContractBalance([9; 32]),
            StateKey::ContractStorage([9; 32], vec![]),
            StateKey::ContractStorage([9; 32], vec![1, 2]),
            StateKey::Blob([9; 32]),
            StateKey::BlobsAt(u64::MAX - 1),
        ] {
            assert_eq!(StateKey::from_bytes(&key.to_bytes()), Some(key));
        }
        for bad in [&[][..], &[0], &[1, 2], &[5; 97], &[4; 32], &[5; 32], &[6; 10], &[7; 33]] {
            assert_eq!(StateKey::from_bytes(bad), None);
        }
    }

    #[test]
    fn records_round_trip_and_empty_ones_vanish() {
        let state = MemoryState::default();
        let mut overlay = Overlay::new(&state);
        let id = Signer::from_seed(b"x").id();
        let (a, s) = (
            Account { nonce: 3, balance: u64::MAX },
            Stake { value: 1, locked: 2, reward: 3, eligibility: 4, faults: 5, hard_faults: 6, ..Stake::default() },
        );
        overlay.set_account(&id, a);
        overlay.set_stake(&id, s);
        overlay.set_contract_balance(&[1; 32], 8);
        assert_eq!(account(&overlay, &id).unwrap(), a);
        assert_eq!(stake(&overlay, &id).unwrap(), s);
        assert_eq!(contract_balance(&overlay, &[1; 32]).unwrap(), 8);
        let at = overlay.checkpoint();
        overlay.set_account(&id, Account::default());
        assert_eq!(account(&overlay, &id).unwrap(), Account::default());
        overlay.revert(at);
        assert_eq!(account(&overlay, &id).unwrap(), a);
        overlay.revert(0);
        assert!(overlay.into_diff().is_empty());
    }

    #[test]
    fn damaged_record_is_an_error() {
        let id = Signer::from_seed(b"x").id();
        let state = MemoryState::from_records([(StateKey::Account(id).to_bytes(), vec![1, 2, 3])]).unwrap();
        assert!(account(&state, &id).unwrap_err().to_string().contains("does not decode"));
    }

    /// The root from scratch, by another implementation.
    fn root_from_scratch(state: &MemoryState) -> B256 {
        let sorted: BTreeMap<&B256, &Vec<u8>> = state.records.iter().collect();
        let mut builder = HashBuilder::default();
        for (key, value) in sorted {
            builder.add_leaf(Nibbles::unpack(key), value);
        }
        builder.root()
    }

    proptest! {
        /// The predicted root is the root after the change, and both are the root from scratch.
        #[test]
        fn roots_agree(
            base in prop::collection::btree_map(0u8..24, prop::collection::vec(any::<u8>(), 1..40), 0..16),
            blocks in prop::collection::vec(prop::collection::btree_map(
                0u8..24, prop::option::of(prop::collection::vec(any::<u8>(), 1..40)), 0..8), 0..6),
        ) {
            let key = |i: u8| StateKey::ContractStorage([7; 32], vec![i]);
            let records = base.into_iter().map(|(i, value)| (key(i).to_bytes(), value));
            let mut state = MemoryState::from_records(records).unwrap();
            prop_assert_eq!(state.root(), root_from_scratch(&state));
            for changes in blocks {
                let diff: StateDiff = changes.into_iter().map(|(i, value)| (key(i), value)).collect();
                let predicted = state.root_with(&diff).unwrap();
                state.apply(&diff).unwrap();
                prop_assert_eq!(predicted, state.root());
                prop_assert_eq!(predicted, root_from_scratch(&state));
            }
        }

        /// Undoing is the inverse of applying: records, root and stakes are as before, however many blocks go back.
        #[test]
        fn undo_is_the_inverse(
            blocks in prop::collection::vec(prop::collection::btree_map(
                0usize..6, prop::option::of((any::<u64>(), any::<bool>())), 0..6), 1..8),
        ) {
            thread_local!(static IDS: Vec<AccountId> =
                (0u8..6).map(|i| Signer::from_seed(&[i]).id()).collect());
            let ids = IDS.with(Clone::clone);
            let mut state = MemoryState::default();
            let mut history = Vec::new();
            for changes in blocks {
                let mut diff = StateDiff::new();
                for (i, change) in changes {
                    match change {
                        Some((value, true)) => {
                            let stake = Stake { value, ..Stake::default() };
                            diff.insert(StateKey::Stake(ids[i]), Some(stake.to_bytes()));
                        }
                        Some((balance, false)) => {
                            diff.insert(StateKey::Account(ids[i]), Account { nonce: 1, balance }.to_bytes());
                        }
                        None => {
                            diff.insert(StateKey::Stake(ids[i]), None);
                            diff.insert(StateKey::Account(ids[i]), None);
                        }
                    }
                }
                let before = state.clone();
                let foreseen = state.undo_of(&diff);
                let undo = state.apply(&diff).unwrap();
                prop_assert_eq!(&foreseen, &undo);
                // The index is what the records say.
                for id in &ids {
                    let indexed = state.stakes().find(|(other, _)| other == id).map(|(_, stake)| stake);
                    prop_assert_eq!(indexed, stake_record(&state, id).unwrap());
                }
                history.push((before, undo));
            }
            for (before, undo) in history.into_iter().rev() {
                state.apply(&undo).unwrap();
                prop_assert_eq!(&state.records, &before.records);
                prop_assert_eq!(&state.stakes, &before.stakes);
                prop_assert_eq!(state.root(), before.root());
            }
        }
    }

    #[test]
    fn a_stake_that_does_not_decode_changes_nothing() {
        let id = Signer::from_seed(b"x").id();
        let mut state = MemoryState::default();
        let diff = StateDiff::from([(StateKey::Stake(id), Some(vec![9]))]);
        assert!(state.apply(&diff).unwrap_err().to_string().contains("does not decode"));
        assert!(state.is_empty() && state.root() == EMPTY_ROOT_HASH);
        assert!(MemoryState::from_records([(StateKey::Stake(id).to_bytes(), vec![9])]).is_err());
    }
}
