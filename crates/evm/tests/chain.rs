//! Builds blocks of many kinds, executes them again, and executes them from their witnesses alone.

#![allow(clippy::unwrap_used, reason = "a test")]

use alloy_consensus::{Header, Sealable, Sealed, SignableTransaction, TxEip1559, TxEip2930, TxEip7702, TxLegacy};
use alloy_eips::{
    eip2718::Encodable2718,
    eip2930::{AccessList, AccessListItem},
    eip7702::Authorization,
};
use alloy_primitives::{Address, B64, B256, Bytes, KECCAK256_EMPTY, TxKind, U256, address, hex, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use duskevm_evm::{
    Block, BlockAttributes, ChainSpec, Eip1559Constants, ExecuteError, ExecutionWitness, ForkTimes, RecoveredTx,
    Rejection, ScratchChain, ScratchState, StateSource, TrieRoots, TrieState, TxSource, build_block, execute_block,
    execute_stateless, record_witness,
};
use duskevm_trie::{AccountDelta, AccountInfo, EMPTY_ROOT_HASH, NodeSource, StateChanges, StateTrie};
use op_alloy_consensus::{OpTxEnvelope, TxDeposit};
use std::{collections::HashMap, convert::Infallible, sync::Arc};

/// All nodes, codes and headers ever made.
#[derive(Default)]
struct Everything(HashMap<B256, Bytes>);

impl NodeSource for Everything {
    type Error = Infallible;
    fn node(&self, hash: &B256) -> Result<Option<Bytes>, Infallible> {
        Ok(self.0.get(hash).cloned())
    }
}

impl StateSource for Everything {
    fn code(&self, hash: &B256) -> Result<Option<Bytes>, Infallible> {
        self.node(hash)
    }
    fn header(&self, hash: &B256) -> Result<Option<Header>, Infallible> {
        Ok(self.0.get(hash).map(|bytes| alloy_rlp::Decodable::decode(&mut bytes.as_ref()).unwrap()))
    }
}

struct List(std::vec::IntoIter<Arc<RecoveredTx>>, Vec<(B256, Rejection)>);

impl TxSource for List {
    fn next(&mut self, _: u64, _: u64) -> Option<Arc<RecoveredTx>> {
        self.0.next()
    }
    fn rejected(&mut self, tx: &Arc<RecoveredTx>, reason: &Rejection) {
        self.1.push((tx.hash(), reason.clone()));
    }
}

const FORKS: [fn() -> ForkTimes; 4] = [
    ForkTimes::jovian_at_genesis,
    ForkTimes::isthmus_at_genesis,
    || ForkTimes { holocene: None, isthmus: None, ..ForkTimes::isthmus_at_genesis() },
    || ForkTimes { regolith: Some(0), ..ForkTimes::default() },
];

fn signer(index: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(index + 1)).unwrap()
}

fn sign<T: SignableTransaction<alloy_primitives::Signature>>(signer: &PrivateKeySigner, tx: T) -> Arc<RecoveredTx>
where
    OpTxEnvelope: From<alloy_consensus::Signed<T>>,
{
    let signature = signer.sign_hash_sync(&tx.signature_hash()).unwrap();
    let envelope = OpTxEnvelope::from(tx.into_signed(signature));
    let recovered = RecoveredTx::decode(&envelope.encoded_2718().into()).unwrap();
    assert_eq!(recovered.sender(), signer.address());
    Arc::new(recovered)
}

struct Chain {
    spec: ChainSpec,
    all: Everything,
    trie: StateTrie,
    head: Sealed<Header>,
    blocks: Vec<(Sealed<Header>, Block)>,
    /// The same state without tries.
    scratch: ScratchChain,
}

const CHAIN_ID: u64 = 31310;

impl Chain {
    fn new(forks: ForkTimes) -> Self {
        let spec = ChainSpec::new(CHAIN_ID, forks, Eip1559Constants::default()).unwrap();
        let mut all = Everything::default();
        let mut trie = StateTrie::stateless(EMPTY_ROOT_HASH);
        let funded = AccountInfo { nonce: 0, balance: U256::from(10u128.pow(22)), code_hash: KECCAK256_EMPTY };
        let accounts = (0..10).map(|i| AccountDelta::new(signer(i).address(), Some(funded), false, []));
        let alloc = StateChanges { accounts: accounts.collect(), codes: Vec::new() };
        let outcome = trie.apply(&all, &alloc.hashed()).unwrap();
        store(&mut all, &outcome);
        let timestamp = 1_000;
        let extra_data = duskevm_evm::header::extra_data(
            &spec,
            timestamp,
            forks.holocene.map(|_| B64::ZERO),
            forks.jovian.map(|_| 0),
        )
        .unwrap();
        let genesis = Header {
            state_root: outcome.root,
            timestamp,
            gas_limit: 60_000_000,
            base_fee_per_gas: Some(1_000_000_000),
            extra_data,
            ..Default::default()
        }
        .seal_slow();
        all.0.insert(genesis.hash(), alloy_rlp::encode(genesis.inner()).into());
        let mut state = ScratchState::new();
        state.apply(&alloc);
        state.note_block(0, genesis.hash());
        assert_eq!(state.roots().state, genesis.state_root);
        Self { spec, all, trie, head: genesis, blocks: Vec::new(), scratch: ScratchChain::new(state) }
    }

    fn attributes(&self) -> BlockAttributes {
        let forks = self.spec.fork_times();
        let deposit = TxDeposit {
            source_hash: keccak256(self.head.hash()),
            from: address!("deaddeaddeaddeaddeaddeaddeaddeaddead0001"),
            to: TxKind::Call(address!("4200000000000000000000000000000000000015")),
            gas_limit: 1_000_000,
            ..Default::default()
        };
        BlockAttributes {
            timestamp: self.head.timestamp + 2,
            prev_randao: B256::repeat_byte(9),
            fee_recipient: duskevm_evm::header::SEQUENCER_FEE_VAULT,
            parent_beacon_block_root: forks.ecotone.map(|_| B256::ZERO),
            gas_limit: 60_000_000,
            eip1559_params: forks.holocene.map(|_| B64::ZERO),
            min_base_fee: forks.jovian.map(|_| 0),
            transactions: vec![Arc::new(RecoveredTx::deposit(deposit))],
        }
    }

    /// Builds on the head, executes the result as an import would, and moves on to it.
    fn extend(&mut self, txs: Vec<Arc<RecoveredTx>>) -> (Vec<bool>, Vec<(B256, Rejection)>) {
        let attributes = self.attributes();
        let mut pool = List(txs.into_iter(), Vec::new());
        let mut trie = self.trie.clone();
        let mut roots = TrieRoots::new(&mut trie, &self.all);
        let state = TrieState::new(&self.all, self.head.clone());
        let built = build_block(&self.spec, &self.head, &attributes, &mut pool, state, &mut roots).unwrap();
        let outcome = roots.into_outcome().unwrap();

        // The encoding is that of the library.
        let body = alloy_consensus::BlockBody {
            transactions: built.block.transactions.iter().map(|tx| tx.envelope().clone()).collect::<Vec<_>>(),
            ommers: Vec::<Header>::new(),
            withdrawals: built.block.header.withdrawals_root.map(|_| Default::default()),
        };
        let block = alloy_consensus::Block { header: built.block.header.inner().clone(), body };
        assert_eq!(built.block.to_rlp(), alloy_rlp::encode(block));

        let mut again = StateTrie::stateless(self.head.state_root);
        let imported = execute_block(
            &self.spec,
            &self.head,
            &Block::from_rlp(&built.block.to_rlp()).unwrap(),
            TrieState::new(&self.all, self.head.clone()),
            &mut TrieRoots::new(&mut again, &self.all),
        )
        .unwrap();
        assert_eq!(imported.block, built.block);
        assert_eq!((imported.receipts, &imported.changes), (built.receipts.clone(), &built.changes));

        self.scratch.execute(&self.spec, &self.head, &built.block).unwrap();

        store(&mut self.all, &outcome);
        for (hash, code) in &built.changes.codes {
            self.all.0.insert(*hash, code.clone());
        }
        let header = built.block.header.clone();
        self.all.0.insert(header.hash(), alloy_rlp::encode(header.inner()).into());
        let receipts = built.decoded_receipts().unwrap();
        self.blocks.push((self.head.clone(), built.block));
        self.trie = trie;
        self.head = header;
        (receipts.iter().skip(1).map(|receipt| receipt.status()).collect(), pool.1)
    }
}

fn store(all: &mut Everything, outcome: &duskevm_trie::StateOutcome) {
    for (hash, node) in &outcome.changes.inserted {
        all.0.insert(*hash, node.clone());
    }
}

fn call(signer: &PrivateKeySigner, nonce: u64, to: Address, input: impl Into<Bytes>) -> Arc<RecoveredTx> {
    sign(
        signer,
        TxEip1559 {
            chain_id: CHAIN_ID,
            nonce,
            gas_limit: 500_000,
            max_fee_per_gas: 3_000_000_000,
            max_priority_fee_per_gas: 1_000,
            to: TxKind::Call(to),
            value: U256::ZERO,
            input: input.into(),
            access_list: AccessList::default(),
        },
    )
}

fn create(signer: &PrivateKeySigner, nonce: u64, runtime: &[u8]) -> Arc<RecoveredTx> {
    // PUSH2 len, DUP1, PUSH1 offset, PUSH0-free copy, RETURN.
    let mut init = vec![
        0x61,
        (runtime.len() >> 8) as u8,
        runtime.len() as u8,
        0x80,
        0x60,
        0x0c,
        0x60,
        0x00,
        0x39,
        0x60,
        0x00,
        0xf3,
    ];
    init.extend_from_slice(runtime);
    sign(
        signer,
        TxLegacy {
            chain_id: Some(CHAIN_ID),
            nonce,
            gas_price: 2_000_000_000,
            gas_limit: 1_000_000,
            to: TxKind::Create,
            value: U256::ZERO,
            input: init.into(),
        },
    )
}

/// `sstore(calldata[0], calldata[32])`.
const SETTER: [u8; 8] = hex!("6020356000355500");
/// `sstore(0, blockhash(number - 3))`, so that execution needs ancestors.
const HASHER: [u8; 10] = hex!("60034303406000550000");
/// `revert(0, 0)`.
const REVERTER: [u8; 5] = hex!("60006000fd");
/// `selfdestruct(caller)`.
const DESTRUCTOR: [u8; 2] = hex!("33ff");

fn busy_chain(forks: ForkTimes) -> Chain {
    let mut chain = Chain::new(forks);
    let alice = signer(0);
    let at = |nonce| alice.address().create(nonce);
    let (all_fine, rejected) = chain.extend(vec![
        create(&alice, 0, &SETTER),
        create(&alice, 1, &HASHER),
        create(&alice, 2, &REVERTER),
        create(&alice, 3, &DESTRUCTOR),
    ]);
    assert_eq!((all_fine, rejected), (vec![true; 4], vec![]));

    let set =
        |slot: u64, value: u64| [U256::from(slot).to_be_bytes::<32>(), U256::from(value).to_be_bytes::<32>()].concat();
    let stores = (0..40).map(|i| call(&alice, 4 + i, at(0), set(i, i + 1))).collect();
    assert!(chain.extend(stores).0.iter().all(|ok| *ok));
    for _ in 0..3 {
        chain.extend(vec![]);
    }
    let bob = signer(1);
    let list = AccessList(vec![AccessListItem { address: at(0), storage_keys: vec![B256::ZERO] }]);
    let listed = TxEip2930 {
        chain_id: CHAIN_ID,
        nonce: 0,
        gas_price: 2_000_000_000,
        gas_limit: 100_000,
        to: TxKind::Call(at(0)),
        value: U256::ZERO,
        access_list: list,
        input: set(0, 0).into(),
    };
    let (statuses, rejected) = chain.extend(vec![
        sign(&bob, listed),
        call(&alice, 44, at(1), vec![]),
        call(&alice, 45, at(2), vec![]),
        call(&alice, 46, at(3), vec![]),
        // Clears of slots collapse branches of the storage trie.
        call(&alice, 47, at(0), set(1, 0)),
        call(&alice, 48, at(0), set(7, 0)),
        // A gap: left out, and with it what follows it.
        call(&alice, 60, at(0), set(1, 1)),
        call(&alice, 61, at(0), set(1, 1)),
    ]);
    assert_eq!(statuses, [true, true, false, true, true, true]);
    assert_eq!(rejected.len(), 1);
    assert!(matches!(&rejected[0].1, Rejection::Invalid(why) if why.contains("nonce")), "{rejected:?}");

    if forks.isthmus.is_some() {
        let carol = signer(2);
        let authorization = Authorization { chain_id: U256::from(CHAIN_ID), address: at(0), nonce: 1 };
        let signature = carol.sign_hash_sync(&authorization.signature_hash()).unwrap();
        let delegated = TxEip7702 {
            chain_id: CHAIN_ID,
            nonce: 0,
            gas_limit: 300_000,
            max_fee_per_gas: 3_000_000_000,
            max_priority_fee_per_gas: 1,
            to: carol.address(),
            value: U256::ZERO,
            access_list: AccessList::default(),
            authorization_list: vec![authorization.into_signed(signature)],
            input: set(3, 3).into(),
        };
        assert_eq!(chain.extend(vec![sign(&carol, delegated)]).0, [true]);
    }
    chain
}

#[test]
fn blocks_of_every_fork_execute_alike_when_built_imported_and_stateless() {
    for forks in FORKS {
        let chain = busy_chain(forks());
        for (parent, block) in &chain.blocks {
            let attributes = BlockAttributes::of_block(&chain.spec, block).unwrap();
            let (recorded, witness) = record_witness(&chain.spec, parent, &attributes, &chain.all).unwrap();
            assert_eq!(recorded.block, *block);
            let stateless = execute_stateless(&chain.spec, parent, &attributes, &witness).unwrap();
            assert_eq!(stateless.block.hash(), block.hash());
            assert_eq!(stateless.receipts, recorded.receipts);
        }
    }
}

#[test]
fn each_missing_witness_item_is_named() {
    let chain = busy_chain(ForkTimes::isthmus_at_genesis());
    let (parent, block) = &chain.blocks[chain.blocks.len() - 2];
    let attributes = BlockAttributes::of_block(&chain.spec, block).unwrap();
    let (_, witness) = record_witness(&chain.spec, parent, &attributes, &chain.all).unwrap();
    let pairs = witness.to_pairs();
    assert!(pairs.len() > 10);
    for (missing, _) in &pairs {
        let rest = ExecutionWitness::from_pairs(pairs.iter().filter(|(hash, _)| hash != missing).cloned()).unwrap();
        let error = execute_stateless(&chain.spec, parent, &attributes, &rest).unwrap_err();
        assert!(!error.is_invalid_block(), "{error}");
        assert!(error.to_string().contains(&missing.to_string()), "{missing} is not named by: {error}");
    }
    // A wrong item is refused when it is named, and is a missing one when it is not.
    let mut wrong = pairs.clone();
    wrong[3].1 = Bytes::from_static(b"something else");
    assert!(ExecutionWitness::from_pairs(wrong.clone()).is_err());
    let unnamed = ExecutionWitness::new(wrong.into_iter().map(|(_, item)| item));
    assert!(execute_stateless(&chain.spec, parent, &attributes, &unnamed).is_err());
}

#[test]
fn a_block_that_lies_is_refused_with_the_field() {
    let chain = busy_chain(ForkTimes::isthmus_at_genesis());
    let (parent, block) = &chain.blocks[1];
    let import = |block: &Block| {
        let mut trie = StateTrie::stateless(parent.state_root);
        let state = TrieState::new(&chain.all, parent.clone());
        execute_block(&chain.spec, parent, block, state, &mut TrieRoots::new(&mut trie, &chain.all))
    };
    type Lie = fn(&mut Header);
    let lies: [(&str, Lie); 7] = [
        ("stateRoot", |h| h.state_root = B256::ZERO),
        ("gasUsed", |h| h.gas_used += 1),
        ("receiptsRoot", |h| h.receipts_root = B256::ZERO),
        ("transactionsRoot", |h| h.transactions_root = B256::ZERO),
        ("baseFeePerGas", |h| h.base_fee_per_gas = Some(1)),
        ("withdrawalsRoot", |h| h.withdrawals_root = Some(B256::ZERO)),
        ("requestsHash", |h| h.requests_hash = None),
    ];
    for (field, lie) in lies {
        let mut header = block.header.inner().clone();
        lie(&mut header);
        let lying = Block { header: header.seal_slow(), transactions: block.transactions.clone() };
        match import(&lying) {
            Err(ExecuteError::Mismatch { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    }
    let mut without = block.clone();
    without.transactions.remove(2);
    assert!(import(&without).is_err_and(|error| error.is_invalid_block()));
}
