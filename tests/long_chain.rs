//! A chain of 2,000 blocks that holds everything a block can hold, on the real database: `db verify` must agree with every block, and
//! so must stateless execution from witnesses alone.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use alloy_consensus::{Header, SignableTransaction, TxEip1559, TxEip2930, TxEip7702, TxLegacy};
use alloy_eips::{
    eip2718::Encodable2718,
    eip2930::{AccessList, AccessListItem},
    eip7702::Authorization,
};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, hex};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use duskevm::{
    config::Config,
    network::{Network, NetworkFiles},
    node::DataFolder,
};
use duskevm_evm::{BlockAttributes, NoPool, RecoveredTx, execute_stateless, record_witness};
use duskevm_executor::{ChainState, Settings, TrieSource};
use duskevm_fence::Fence;
use duskevm_rollup::{ConfigUpdates, L1BlockRef, OriginBlock, OriginChoice, epoch_attributes};
use duskevm_trie::StateLimits;
use op_alloy_consensus::OpTxEnvelope;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{path::Path, sync::Arc};
use support::{CHAIN_ID, accounts, verify};

/// `sstore(calldata[0], calldata[32])`.
const SETTER: &[u8] = &hex!("6020356000355500");
/// `sstore(0, blockhash(number - 3))`.
const HASHER: &[u8] = &hex!("60034303406000550000");
/// `revert(0, 0)`.
const REVERTER: &[u8] = &hex!("60006000fd");
/// `selfdestruct(caller)`.
const DESTRUCTOR: &[u8] = &hex!("33ff");

fn init_code(runtime: &[u8]) -> Bytes {
    let len = runtime.len();
    let head = [0x61, (len >> 8) as u8, len as u8, 0x80, 0x60, 0x0c, 0x60, 0x00, 0x39, 0x60, 0x00, 0xf3];
    [&head, runtime].concat().into()
}

struct User {
    signer: PrivateKeySigner,
    nonce: u64,
}

impl User {
    fn sign<T: SignableTransaction<Signature>>(&mut self, tx: T) -> Arc<RecoveredTx>
    where
        OpTxEnvelope: From<alloy_consensus::Signed<T>>,
    {
        self.nonce += 1;
        let signature = self.signer.sign_hash_sync(&tx.signature_hash()).unwrap();
        let envelope = OpTxEnvelope::from(tx.into_signed(signature));
        Arc::new(RecoveredTx::decode(&envelope.encoded_2718().into()).unwrap())
    }

    fn call(&mut self, to: Address, wei: u64, input: Vec<u8>, gas_limit: u64) -> Arc<RecoveredTx> {
        let tx = TxEip1559 {
            chain_id: CHAIN_ID,
            nonce: self.nonce,
            gas_limit,
            max_fee_per_gas: 5_000_000_000,
            max_priority_fee_per_gas: 7,
            to: TxKind::Call(to),
            value: U256::from(wei),
            input: input.into(),
            ..Default::default()
        };
        self.sign(tx)
    }

    fn create(&mut self, runtime: &[u8]) -> (Address, Arc<RecoveredTx>) {
        let address = self.signer.address().create(self.nonce);
        let tx = TxLegacy {
            chain_id: Some(CHAIN_ID),
            nonce: self.nonce,
            gas_price: 5_000_000_000,
            gas_limit: 300_000,
            to: TxKind::Create,
            value: U256::ZERO,
            input: init_code(runtime),
        };
        (address, self.sign(tx))
    }
}

#[derive(Default)]
struct Contracts {
    setters: Vec<Address>,
    others: Vec<Address>,
}

fn random_transaction(rng: &mut StdRng, user: &mut User, contracts: &mut Contracts) -> Arc<RecoveredTx> {
    let set =
        |slot: u64, value: u64| [U256::from(slot).to_be_bytes::<32>(), U256::from(value).to_be_bytes::<32>()].concat();
    let setter = match contracts.setters.len() {
        0 => Address::ZERO,
        n => contracts.setters[rng.random_range(0..n)],
    };
    match rng.random_range(0..12) {
        0 => {
            let (address, tx) = user.create(SETTER);
            contracts.setters.push(address);
            tx
        }
        1 => {
            let runtime = [HASHER, REVERTER, DESTRUCTOR][rng.random_range(0..3)];
            let (address, tx) = user.create(runtime);
            contracts.others.push(address);
            tx
        }
        2 if !contracts.others.is_empty() => {
            let to = contracts.others[rng.random_range(0..contracts.others.len())];
            user.call(to, 0, Vec::new(), 100_000)
        }
        // Init code that destroys itself: created and gone in one transaction.
        3 => {
            let tx = TxLegacy {
                chain_id: Some(CHAIN_ID),
                nonce: user.nonce,
                gas_price: 5_000_000_000,
                gas_limit: 200_000,
                to: TxKind::Create,
                value: U256::from(5),
                input: DESTRUCTOR.into(),
            };
            user.sign(tx)
        }
        // Too little gas: included, and failed.
        4 => user.call(setter, 0, set(rng.random_range(0..50), 1), 24_000),
        5 => {
            let tx = TxEip2930 {
                chain_id: CHAIN_ID,
                nonce: user.nonce,
                gas_price: 5_000_000_000,
                gas_limit: 120_000,
                to: TxKind::Call(setter),
                value: U256::ZERO,
                access_list: AccessList(vec![AccessListItem { address: setter, storage_keys: vec![B256::ZERO] }]),
                input: set(0, rng.random_range(0..3)).into(),
            };
            user.sign(tx)
        }
        6 => {
            let delegate = if rng.random_bool(0.7) { setter } else { Address::ZERO };
            let authorization =
                Authorization { chain_id: U256::from(CHAIN_ID), address: delegate, nonce: user.nonce + 1 };
            let signature = user.signer.sign_hash_sync(&authorization.signature_hash()).unwrap();
            let tx = TxEip7702 {
                chain_id: CHAIN_ID,
                nonce: user.nonce,
                gas_limit: 200_000,
                max_fee_per_gas: 5_000_000_000,
                max_priority_fee_per_gas: 1,
                to: user.signer.address(),
                value: U256::ZERO,
                access_list: AccessList::default(),
                authorization_list: vec![authorization.into_signed(signature)],
                input: set(3, rng.random_range(0..3)).into(),
            };
            let signed = user.sign(tx);
            // The authorization was used by the sender itself, after the transaction's own nonce.
            user.nonce += 1;
            signed
        }
        // Storage written, overwritten and cleared.
        7..=9 => user.call(setter, 0, set(rng.random_range(0..200), rng.random_range(0..3)), 120_000),
        _ => {
            let to = Address::from_word(B256::from(U256::from(rng.random_range(0x1_0000..0x1_0200u64))));
            user.call(to, rng.random_range(0..2), Vec::new(), 60_000)
        }
    }
}

fn attributes(network: &Network, parent: &Header, number: u64) -> BlockAttributes {
    let header = Header {
        number,
        timestamp: network.rollup.genesis.l2_time + number,
        base_fee_per_gas: Some(1_000_000_000),
        mix_hash: B256::from(U256::from(number)),
        parent_beacon_block_root: Some(B256::ZERO),
        ..Default::default()
    };
    let hash = header.hash_slow();
    let origin = L1BlockRef { hash, number, parent_hash: header.parent_hash, timestamp: header.timestamp };
    let choice = OriginChoice { origin, sequence_number: 0, no_user_transactions: false };
    let origin = OriginBlock { header, hash, deposits: Ok(Vec::new()), updates: ConfigUpdates::default() };
    let system = network.rollup.genesis.system_config;
    epoch_attributes(&network.rollup, &system, parent.timestamp + 1, &choice, &origin).unwrap()
}

fn build_chain(data: &Path, blocks: u64, seed: u64) -> Network {
    let mut config = Config::default();
    config.l2.block_time = 1;
    config.data.archive = true;
    let files = NetworkFiles::local(&config, 1_700_000_000).unwrap();
    files.write(&data.join("network")).unwrap();
    let network = files.load().unwrap();
    let stores = DataFolder::open(data).unwrap().stores(&config, &network).unwrap();
    let settings = Settings { spec: network.spec.clone(), block_time: 1, trie: StateLimits::default(), answered: None };
    let mut chain = ChainState::open(settings, stores.l2.clone(), Fence::unfenced()).unwrap();

    let mut rng = StdRng::seed_from_u64(seed);
    let mut users: Vec<User> = accounts(10).into_iter().map(|signer| User { signer, nonce: 0 }).collect();
    let mut contracts = Contracts::default();
    let source = TrieSource(stores.l2.reader());
    for number in 1..=blocks {
        let parent = chain.head().clone();
        let mut attributes = attributes(&network, &parent.header, number);
        for _ in 0..rng.random_range(0..8) {
            let user = rng.random_range(0..users.len());
            attributes.transactions.push(random_transaction(&mut rng, &mut users[user], &mut contracts));
        }
        let executed =
            chain.build(&attributes, &mut NoPool).unwrap().unwrap_or_else(|why| panic!("block {number}: {why}"));
        let block = executed.block.clone();
        chain.commit(executed).unwrap();

        let again = BlockAttributes::of_block(&network.spec, &block).unwrap();
        let (_, witness) = record_witness(&network.spec, &parent.header, &again, &source).unwrap();
        let stateless = execute_stateless(&network.spec, &parent.header, &again, &witness).unwrap();
        assert_eq!(stateless.block.hash(), block.hash(), "block {number}, seed {seed}");
    }
    assert!(contracts.setters.len() > 10 && contracts.others.len() > 10);
    network
}

#[test]
fn db_verify_and_stateless_execution_agree_with_every_block_of_a_long_chain() {
    let folder = tempfile::tempdir().unwrap();
    build_chain(folder.path(), 2_000, 7);
    verify(folder.path());
}
