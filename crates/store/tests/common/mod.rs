//! A model of the chain and its state, and blocks made from it.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, missing_docs, missing_debug_implementations)]

mod tries;

pub use tries::StateTries;

use alloy_consensus::{Header, proofs::ordered_trie_root_with_encoder};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use duskevm_fence::Fence;
use duskevm_store::{
    Identity,
    l2::{BlockCommit, BlockRef, L2Error, L2Settings, L2Store, StateSnapshot, StoredTransaction},
};
use duskevm_trie::{
    AccountDelta, AccountInfo, EMPTY_ROOT_HASH, StateChanges, StateLimits, StateOutcome, StateTrie, TrieId, Visitor,
    Witness, walk,
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

pub const ACCOUNTS: u8 = 8;
pub const SLOTS: u8 = 6;
pub const FENCE: Fence = Fence::unfenced();

pub type State = BTreeMap<Address, Account>;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    pub info: AccountInfo,
    pub slots: BTreeMap<U256, U256>,
}

/// What one block does to one account.
#[derive(Clone, Debug)]
pub enum Op {
    Set { nonce: u64, balance: u64, code: Option<u8>, slots: Vec<(u8, u64)> },
    Remake { balance: u64, slots: Vec<(u8, u64)> },
    Destroy,
}

pub fn ops() -> impl Strategy<Value = Vec<(u8, Op)>> {
    let slots = || prop::collection::btree_map(0..SLOTS, 0u64..4, 0..5).prop_map(|slots| slots.into_iter().collect());
    let op = prop_oneof![
        6 => (0u64..9, any::<u64>(), prop::option::weighted(0.2, any::<u8>()), slots())
            .prop_map(|(nonce, balance, code, slots)| Op::Set { nonce, balance, code, slots }),
        1 => (any::<u64>(), slots()).prop_map(|(balance, slots)| Op::Remake { balance, slots }),
        1 => Just(Op::Destroy),
    ];
    prop::collection::btree_map(0..ACCOUNTS, op, 0..6).prop_map(|ops| ops.into_iter().collect())
}

pub fn address(index: u8) -> Address {
    Address::repeat_byte(index + 1)
}

/// A block of the model.
#[derive(Clone, Debug)]
pub struct Block {
    pub commit: BlockCommit,
    pub state: State,
}

impl Block {
    pub fn reference(&self) -> BlockRef {
        BlockRef { number: self.commit.header.number, hash: self.commit.hash }
    }
}

fn changes(before: &State, ops: &[(u8, Op)]) -> (StateChanges, State) {
    let (mut state, mut changes) = (before.clone(), StateChanges::default());
    for (index, op) in ops {
        let address = address(*index);
        let (info, wiped, slots) = match op {
            Op::Destroy => {
                state.remove(&address);
                changes.accounts.push(AccountDelta::new(address, None, false, []));
                continue;
            }
            Op::Remake { balance, slots } => {
                (AccountInfo { balance: U256::from(*balance), ..AccountInfo::default() }, true, slots)
            }
            Op::Set { nonce, balance, code, slots } => {
                let mut code_hash = state.get(&address).map_or(KECCAK256_EMPTY, |account| account.info.code_hash);
                if let Some(code) = code {
                    let code = Bytes::from(vec![*code; 40]);
                    code_hash = keccak256(&code);
                    changes.codes.push((code_hash, code));
                }
                (AccountInfo { nonce: *nonce, balance: U256::from(*balance), code_hash }, false, slots)
            }
        };
        let account = state.entry(address).or_default();
        account.info = info;
        if wiped {
            account.slots.clear();
        }
        let slots: Vec<_> = slots.iter().map(|(slot, value)| (U256::from(*slot), U256::from(*value))).collect();
        for (slot, value) in &slots {
            if value.is_zero() {
                account.slots.remove(slot)
            } else {
                account.slots.insert(*slot, *value)
            };
        }
        changes.accounts.push(AccountDelta::new(address, Some(info), wiped, slots));
    }
    (changes, state)
}

/// A block on `parent` with these state changes; `salt` makes siblings differ.
pub fn make_block(
    parent: Option<&Block>,
    ops: &[(u8, Op)],
    salt: u64,
    apply: impl FnOnce(B256, &StateChanges) -> StateOutcome,
) -> Block {
    let empty = State::new();
    let (changes, state) = changes(parent.map_or(&empty, |parent| &parent.state), ops);
    let outcome = apply(parent.map_or(EMPTY_ROOT_HASH, |parent| parent.commit.header.state_root), &changes);
    let number = parent.map_or(0, |parent| parent.commit.header.number + 1);
    let transactions: Vec<_> = (0..number.min(1) * (1 + salt % 3))
        .map(|index| {
            let raw: Bytes = [&number.to_be_bytes()[..], &salt.to_be_bytes(), &[index as u8]].concat().into();
            StoredTransaction { hash: keccak256(&raw), sender: address(index as u8), raw }
        })
        .collect();
    let receipts: Vec<Bytes> = transactions.iter().map(|transaction| transaction.raw.slice(3..)).collect();
    let raw: Vec<_> = transactions.iter().map(|transaction| transaction.raw.clone()).collect();
    let header = Header {
        number,
        parent_hash: parent.map_or(B256::ZERO, |parent| parent.commit.hash),
        state_root: outcome.root,
        transactions_root: ordered_trie_root_with_encoder(&raw, |raw, out| out.extend_from_slice(raw)),
        receipts_root: ordered_trie_root_with_encoder(&receipts, |raw, out| out.extend_from_slice(raw)),
        timestamp: 1000 + number,
        extra_data: salt.to_be_bytes().to_vec().into(),
        ..Header::default()
    };
    let commit = BlockCommit {
        hash: header.hash_slow(),
        header,
        transactions,
        receipts,
        state: changes,
        nodes: outcome.changes,
    };
    Block { commit, state }
}

pub fn genesis(ops: &[(u8, Op)]) -> Block {
    make_block(None, ops, 0, |root, changes| {
        StateTrie::new(root, StateLimits::default()).apply(&Witness::default(), &changes.hashed()).unwrap()
    })
}

pub fn identity(genesis: &Block) -> Identity {
    Identity { chain_id: 31310, genesis: genesis.commit.hash }
}

/// A store beside the model of what it should hold.
pub struct Chain {
    pub store: L2Store,
    pub tries: StateTries,
    pub blocks: Vec<Block>,
    pub path: PathBuf,
    pub settings: L2Settings,
    salt: u64,
}

impl Chain {
    pub fn new(path: &Path, settings: L2Settings, first: &[(u8, Op)]) -> Self {
        let genesis = genesis(first);
        let store = L2Store::open(path, &identity(&genesis), settings).unwrap();
        assert!(store.is_empty());
        store.init_genesis(&FENCE, genesis.commit.clone()).unwrap();
        let tries = tries(&store, genesis.commit.header.state_root);
        Self { store, tries, blocks: vec![genesis], path: path.to_owned(), settings, salt: 0 }
    }

    /// Goes on with a store that holds these blocks.
    pub fn resumed(store: L2Store, tries: StateTries, blocks: Vec<Block>, path: &Path, settings: L2Settings) -> Self {
        let mut chain = Self { store, tries, blocks, path: path.to_owned(), settings, salt: 0 };
        chain.reset_salt();
        chain
    }

    /// Blocks made from now on are those that a chain without detours has.
    pub fn reset_salt(&mut self) {
        self.salt = self.head().commit.header.number;
    }

    pub fn head(&self) -> &Block {
        self.blocks.last().unwrap()
    }

    /// The next block, not committed.
    pub fn next(&mut self, ops: &[(u8, Op)]) -> Block {
        self.try_next(ops).unwrap()
    }

    /// The same where the disk may fail.
    pub fn try_next(&mut self, ops: &[(u8, Op)]) -> Result<Block, L2Error> {
        self.salt += 1;
        let (tries, mut failed) = (&mut self.tries, None);
        let block = make_block(self.blocks.last(), ops, self.salt, |root, changes| {
            tries.apply(root, changes).unwrap_or_else(|error| {
                failed = Some(error);
                StateOutcome { root, storage_roots: vec![], changes: duskevm_trie::Changes::default() }
            })
        });
        failed.map_or(Ok(block), Err)
    }

    pub fn commit(&mut self, ops: &[(u8, Op)]) {
        let block = self.next(ops);
        self.store.commit_block(&FENCE, block.commit.clone()).unwrap();
        self.blocks.push(block);
    }

    /// Opens the directory again, as a new process does.
    pub fn open_again(&mut self) {
        let genesis = identity(&self.blocks[0]);
        let placeholder = L2Store::open(&self.path.with_extension("placeholder"), &genesis, self.settings).unwrap();
        drop(std::mem::replace(&mut self.store, placeholder));
        self.store = L2Store::open(&self.path, &genesis, self.settings).unwrap();
        self.tries = tries(&self.store, self.head().commit.header.state_root);
    }

    /// The head of the store is this block of the model, or an earlier one: the model forgets what is lost.
    pub fn forget_lost(&mut self) {
        let head = self.store.reader().heads().unwrap().latest;
        self.blocks.truncate(head.number as usize + 1);
        assert_eq!(self.head().reference(), head);
        self.tries = tries(&self.store, self.head().commit.header.state_root);
    }

    pub fn verify_head(&self) {
        let head = self.head();
        let reader = self.store.reader();
        assert_eq!(reader.heads().unwrap().latest, head.reference());
        assert_state(&reader.latest_state().unwrap(), &head.state).unwrap();
    }

    /// Blocks, indices, flat state, tries, and that the nodes are exactly those that are needed.
    pub fn verify_all(&self) {
        self.verify_head();
        let reader = self.store.reader();
        for block in &self.blocks {
            let (hash, commit) = (block.commit.hash, &block.commit);
            assert_eq!(reader.canonical_hash(commit.header.number).unwrap(), Some(hash));
            assert_eq!(reader.header(&hash).unwrap().as_ref(), Some(&commit.header));
            assert_eq!(reader.body(&hash).unwrap().as_ref(), Some(&commit.transactions));
            assert_eq!(reader.receipts(&hash).unwrap().as_ref(), Some(&commit.receipts));
            for (index, transaction) in (0u32..).zip(&commit.transactions) {
                let (location, found) = reader.transaction(&transaction.hash).unwrap().unwrap();
                assert_eq!((location.block, location.index, &found), (block.reference(), index, transaction));
            }
        }
        let report = self.store.check(|_| ()).unwrap();
        assert_eq!(report.problems, vec![]);
        assert_eq!(report.blocks, self.blocks.len() as u64);
        assert_eq!(report.accounts, self.head().state.len() as u64);
        assert_nodes_are_those_of(&self.store, &self.blocks);
    }
}

pub fn tries(store: &L2Store, root: B256) -> StateTries {
    StateTries::new(store.reader(), root, StateLimits { account_nodes: 20, storage_nodes: 20 })
}

/// The stored nodes are exactly those that the states from the oldest kept one on reach.
pub fn assert_nodes_are_those_of(store: &L2Store, blocks: &[Block]) {
    let reader = store.reader();
    let oldest = reader.heads().unwrap().oldest_state as usize;
    let mut reached: HashMap<B256, Bytes> = HashMap::new();
    let mut latest: HashMap<B256, u32> = HashMap::new();
    for (index, block) in blocks.iter().enumerate().skip(oldest) {
        let mut storages = vec![(TrieId::Accounts, block.commit.header.state_root)];
        while let Some((trie, root)) = storages.pop() {
            walk(&reader, trie, root, &mut |visit: Visitor<'_>| match visit {
                Visitor::Node { hash } => {
                    reached.insert(*hash, Bytes::new());
                    if index + 1 == blocks.len() {
                        *latest.entry(*hash).or_default() += 1;
                    }
                }
                Visitor::Leaf { key, value } if trie == TrieId::Accounts => {
                    let account: duskevm_trie::Account = alloy_rlp::decode_exact(value).unwrap();
                    storages.push((TrieId::Storage(*key), account.storage_root));
                }
                Visitor::Leaf { .. } => {}
            })
            .unwrap();
        }
    }
    let mut stored = HashMap::new();
    store
        .for_each_node(|count, raw| {
            stored.insert(keccak256(&raw), count);
            true
        })
        .unwrap();
    let surplus: Vec<_> = stored.keys().filter(|hash| !reached.contains_key(*hash)).collect();
    assert!(surplus.is_empty(), "{} nodes are kept for nothing", surplus.len());
    assert_eq!(stored.len(), reached.len());
    if oldest + 1 == blocks.len() {
        assert_eq!(stored, latest, "with one state left the counts are its places");
    }
}

/// The snapshot says what the model says, about everything.
pub fn assert_state(snapshot: &StateSnapshot, state: &State) -> Result<(), L2Error> {
    for index in 0..ACCOUNTS + 1 {
        let address = address(index);
        let expected = state.get(&address);
        let info = snapshot.account(&address)?;
        assert_eq!(info, expected.map(|account| account.info), "account {index} at {}", snapshot.block());
        for slot in 0..SLOTS + 1 {
            let slot = U256::from(slot);
            let value = expected.and_then(|account| account.slots.get(&slot)).copied().unwrap_or_default();
            assert_eq!(snapshot.storage(&address, &slot)?, value, "slot {slot} of {index} at {}", snapshot.block());
        }
        if let Some(info) = info {
            assert!(snapshot.code(&info.code_hash)?.is_some());
        }
    }
    Ok(())
}

/// Every file of a directory. Of the large ones, which are mostly holes, the length and the time of the last change.
pub fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let meta = fs::metadata(&path).unwrap();
        let raw = if meta.len() < 1 << 16 {
            fs::read(&path).unwrap()
        } else {
            format!("{} bytes, changed {:?}", meta.len(), meta.modified().unwrap()).into()
        };
        (path, raw)
    };
    fs::read_dir(directory).unwrap().map(read).collect()
}
