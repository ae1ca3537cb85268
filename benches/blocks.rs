//! A block of 10,000 transfers from the first instruction to the database, next to the bare execution of the same block.
//!
//! `bare`: op-revm runs and commits the transactions over a state in memory; no receipts trie, no state root, nothing stored.
//! `whole`: what the node does: execution, receipts, all roots, the journal of sealed blocks with its fsync, and the database commit.

use alloy_consensus::{Header, SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_evm::{Evm, EvmFactory, FromTxWithEncoded};
use alloy_op_evm::{OpEvmFactory, OpTx, evm_env_for_op_block};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use criterion::{BatchSize, Criterion, Throughput, criterion_main};
use duskevm::{
    cli::dev_accounts,
    config::Config,
    network::{Network, NetworkFiles},
    node::DataFolder,
};
use duskevm_evm::{Block, BlockAttributes, NoPool, RecoveredTx};
use duskevm_executor::{ChainState, Settings};
use duskevm_fence::Fence;
use duskevm_rollup::{ConfigUpdates, L1BlockRef, OriginBlock, OriginChoice, epoch_attributes};
use duskevm_sequencer::SealJournal;
use duskevm_trie::StateLimits;
use revm::{
    Database, DatabaseCommit,
    database::{CacheDB, EmptyDB, State},
};
use std::{cell::RefCell, hint::black_box, sync::Arc};

/// As in the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const TRANSACTIONS: u64 = 10_000;
const SENDERS: u32 = 100;

/// The work of an ERC-20 `transfer(address,uint256)`, assembled by hand: two balances (each in the slot that its owner's address names)
/// change, and a Transfer log says so.
fn token_code() -> Bytes {
    let mut code = Vec::new();
    // sstore(caller, sload(caller) - value)
    code.extend([0x60, 0x24, 0x35, 0x33, 0x54, 0x03, 0x33, 0x55]);
    // sstore(to, sload(to) + value)
    code.extend([0x60, 0x24, 0x35, 0x60, 0x04, 0x35, 0x54, 0x01, 0x60, 0x04, 0x35, 0x55]);
    // log3(0, 32, Transfer, caller, to) with the value as data
    code.extend([0x60, 0x24, 0x35, 0x5f, 0x52, 0x60, 0x04, 0x35, 0x33, 0x7f]);
    code.extend(keccak256("Transfer(address,address,uint256)"));
    code.extend([0x60, 0x20, 0x5f, 0xa3]);
    // return true
    code.extend([0x60, 0x01, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]);
    code.into()
}

struct Bench {
    _folder: tempfile::TempDir,
    network: Network,
    chain: RefCell<ChainState>,
    journal: RefCell<SealJournal>,
    parent: Arc<Block>,
    attributes: BlockAttributes,
}

fn sign(
    signer: &PrivateKeySigner,
    nonce: u64,
    to: TxKind,
    value: u64,
    input: Bytes,
    gas_limit: u64,
) -> Arc<RecoveredTx> {
    let tx = TxEip1559 {
        chain_id: 31310,
        nonce,
        gas_limit,
        max_fee_per_gas: 20_000_000_000,
        max_priority_fee_per_gas: 1_000_000,
        to,
        value: U256::from(value),
        input,
        ..Default::default()
    };
    let signature = signer.sign_hash_sync(&tx.signature_hash()).expect("a hash can be signed");
    let encoded: Bytes = TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into();
    Arc::new(RecoveredTx::decode(&encoded).expect("a transaction of our own"))
}

fn attributes(network: &Network, parent: &Header, transactions: Vec<Arc<RecoveredTx>>) -> BlockAttributes {
    let header = Header { timestamp: parent.timestamp, base_fee_per_gas: Some(1_000_000_000), ..Default::default() };
    let hash = header.hash_slow();
    let origin = L1BlockRef { hash, number: 0, parent_hash: B256::ZERO, timestamp: header.timestamp };
    let choice = OriginChoice { origin, sequence_number: 0, no_user_transactions: false };
    let origin = OriginBlock { header, hash, deposits: Ok(Vec::new()), updates: ConfigUpdates::default() };
    let system = network.rollup.genesis.system_config;
    let mut made = epoch_attributes(&network.rollup, &system, parent.timestamp + 1, &choice, &origin)
        .expect("the origin is the chosen one");
    made.transactions.extend(transactions);
    made
}

impl Bench {
    /// `spread`: to addresses that did not exist before, instead of among the senders.
    fn new(token: bool, spread: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = Config::default();
        config.l2.block_time = 1;
        config.l2.gas_limit = 2_000_000_000;
        config.genesis.accounts = SENDERS;
        let files = NetworkFiles::local(&config, 1_700_000_000).expect("a local network");
        let network = files.load().expect("a local network");
        let stores =
            DataFolder::open(folder.path()).and_then(|data| data.stores(&config, &network)).expect("fresh stores");
        let settings =
            Settings { spec: network.spec.clone(), block_time: 1, trie: StateLimits::default(), answered: None };
        let mut chain = ChainState::open(settings, stores.l2, Fence::unfenced()).expect("a fresh chain");

        let signers: Vec<PrivateKeySigner> = dev_accounts(&config.keys.mnemonic, SENDERS)
            .expect("the test mnemonic")
            .iter()
            .map(|account| PrivateKeySigner::from_bytes(&account.private_key).expect("a key"))
            .collect();
        let mut nonces = vec![0u64; signers.len()];
        let mut take = |sender: usize| {
            nonces[sender] += 1;
            nonces[sender] - 1
        };
        let target = signers[0].address().create(0);
        if token {
            let code = token_code();
            let len = code.len();
            // PUSH2 len, DUP1, PUSH1 10, PUSH0, CODECOPY, PUSH0, RETURN.
            let init =
                [&[0x61, (len >> 8) as u8, len as u8, 0x80, 0x60, 0x0a, 0x5f, 0x39, 0x5f, 0xf3][..], &code].concat();
            let create = sign(&signers[0], take(0), TxKind::Create, 0, init.into(), 5_000_000);
            let attributes = attributes(&network, &chain.head().header.clone(), vec![create]);
            let executed = chain.build(&attributes, &mut NoPool).expect("a sound store").expect("a valid block");
            chain.commit(executed).expect("a sound store");
        }
        let transactions = (0..TRANSACTIONS)
            .map(|i| {
                let sender = (i % u64::from(SENDERS)) as usize;
                let to = if spread {
                    Address::from_word(keccak256(i.to_be_bytes()))
                } else {
                    signers[(sender + 1 + (i / u64::from(SENDERS)) as usize) % signers.len()].address()
                };
                let nonce = take(sender);
                if token {
                    let amount = U256::from(i + 1).to_be_bytes::<32>();
                    let input = [&[0xa9, 0x05, 0x9c, 0xbb][..], to.into_word().as_slice(), &amount].concat();
                    sign(&signers[sender], nonce, TxKind::Call(target), 0, input.into(), 100_000)
                } else {
                    sign(&signers[sender], nonce, TxKind::Call(to), 1, Bytes::new(), 21_000)
                }
            })
            .collect();
        let parent = chain.head().clone();
        let attributes = attributes(&network, &parent.header, transactions);
        let journal = SealJournal::open(&folder.path().join("sequencer"), &Fence::unfenced()).expect("a fresh journal");
        Self { _folder: folder, network, chain: chain.into(), journal: journal.into(), parent, attributes }
    }

    /// Makes the block as the node does, and stores it.
    fn whole(&self) -> Arc<Block> {
        let mut chain = self.chain.borrow_mut();
        let executed = chain.build(&self.attributes, &mut NoPool).expect("a sound store").expect("a valid block");
        let block = executed.block.clone();
        // As sequencer and executor do it: the one writes its journal while the other prepares the database's part.
        let executed = std::thread::scope(|scope| {
            let prepared = scope.spawn(|| executed.prepared());
            self.journal.borrow_mut().seal(&block, &Fence::unfenced()).expect("a sound disk");
            prepared.join().expect("no panic")
        });
        chain.commit(executed).expect("a sound store");
        block
    }

    /// Takes it out again.
    fn undo(&self) {
        let mut chain = self.chain.borrow_mut();
        if chain.head().hash() != self.parent.hash() {
            chain.rewind(self.parent.hash()).expect("a sound store");
        }
        // What is left to write of this round is not to be billed to the next one: between blocks there are seconds.
        chain.flush().expect("a sound disk");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }

    /// The parent's state in memory, as far as the block reads it.
    fn memory(&self, block: &Block) -> CacheDB<EmptyDB> {
        let state = || self.chain.borrow().state().expect("a sound store");
        let mut run = State::builder().with_database(state()).build();
        self.bare(block, &mut run);
        let mut before = state();
        let mut memory = CacheDB::new(EmptyDB::default());
        for (address, account) in &run.cache.accounts {
            if let Some(mut info) = before.basic(*address).expect("a sound store") {
                info.code = Some(before.code_by_hash(info.code_hash).expect("a sound store"));
                memory.insert_account_info(*address, info);
            }
            for slot in account.account.iter().flat_map(|account| account.storage.keys()) {
                let value = before.storage(*address, *slot).expect("a sound store");
                memory.insert_account_storage(*address, *slot, value).expect("memory");
            }
        }
        memory
    }

    /// Executes the block's transactions with op-revm alone. Returns the gas used.
    fn bare<D>(&self, block: &Block, db: &mut D) -> u64
    where
        D: alloy_evm::Database + DatabaseCommit,
    {
        let env = evm_env_for_op_block(block.header.inner(), self.network.spec.hardforks(), self.network.spec.chain_id);
        let mut evm = OpEvmFactory::<OpTx>::default().create_evm(db, env);
        let mut gas = 0;
        for tx in &block.transactions {
            let env = OpTx::from_encoded_tx(tx.envelope(), tx.sender(), tx.encoded().clone());
            let result = evm.transact_raw(env).expect("the block is valid");
            gas += result.result.tx_gas_used();
            evm.db_mut().commit(result.state);
        }
        gas
    }
}

fn blocks(c: &mut Criterion) {
    for (name, token, spread) in
        [("native", false, false), ("native-to-new-accounts", false, true), ("erc20", true, false)]
    {
        let bench = Bench::new(token, spread);
        let block = bench.whole();
        assert_eq!(block.transactions.len() as u64, TRANSACTIONS + 1);
        bench.undo();
        let start = bench.memory(&block);
        let gas = bench.bare(&block, &mut start.clone());
        // The system calls before the transactions use no gas of the block.
        assert_eq!(gas, block.header.gas_used);
        let mut group = c.benchmark_group(format!("block-of-10000/{name}"));
        group.sample_size(10).throughput(Throughput::Elements(TRANSACTIONS));
        group.bench_function("bare", |b| {
            b.iter_batched_ref(|| start.clone(), |db| black_box(bench.bare(&block, db)), BatchSize::PerIteration);
        });
        group.bench_function("whole", |b| {
            b.iter_batched(|| bench.undo(), |()| black_box(bench.whole()), BatchSize::PerIteration);
        });
        group.finish();
    }
}

#[allow(missing_docs, reason = "made by the macro")]
mod group {
    criterion::criterion_group!(benches, super::blocks);
}
criterion_main!(group::benches);
