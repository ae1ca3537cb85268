//! The contracts on the ledger: what calls cost and leave behind, what the L1 view shows, and what is undone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use alloy_consensus::{SignableTransaction, TxEip4844, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, U256, address, b256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use duskevm_dusk_l1::contracts::{CallError, CallFailure, NativeContracts};
use duskevm_dusk_l1::execute::{BlockEnv, Executed, Executor};
use duskevm_dusk_l1::genesis::{Genesis as L1Genesis, GenesisRecord};
use duskevm_dusk_l1::keys::Signer;
use duskevm_dusk_l1::stakes::StakeRules;
use duskevm_dusk_l1::state::{MemoryState, account, contract_balance};
use duskevm_dusk_l1::transfer::data::{BlobData, TransactionData};
use duskevm_dusk_l1::transfer::{Transaction, TransactionFormat, moonlight};
use duskevm_dusk_l1::tx::{Tx, VerifiedTx};
use duskevm_dusk_l1::wallet::{self, Terms};
use duskevm_l1_view::{BASE_FEE, DuskBlock, DuskEvent, DuskTx, ViewBlock, ViewConfig, contract_address, project};
use duskevm_settlement::args::{Arguments, DepositEthToWithValue, SetGasLimit, SubmitEnvelope};
use duskevm_settlement::{Contract, Contracts, Genesis, Settlement, SystemConfig, wallet_address};

const CHAIN_ID: u8 = 7;
const DUSK: u64 = 1_000_000_000;
const BOB: Address = address!("b0b0000000000000000000000000000000000b0b");

fn alice() -> Signer {
    Signer::from_seed(b"alice")
}

fn genesis() -> Genesis {
    let id = B256::repeat_byte;
    Genesis {
        l1_chain_id: CHAIN_ID.into(),
        contracts: Contracts {
            batch_inbox: id(0xb1),
            portal: id(0xb2),
            messenger: id(0xb3),
            standard_bridge: id(0xb4),
            erc721_bridge: id(0xb5),
            system_config: id(0xb6),
        },
        system_config: SystemConfig {
            owner: wallet_address(alice().id().as_bytes()),
            batcher: BOB,
            overhead: B256::ZERO,
            scalar: SystemConfig::scalar_v1(1, 2),
            gas_limit: 60_000_000,
            eip1559_denominator: 0,
            eip1559_elasticity: 0,
            operator_fee_scalar: 0,
            operator_fee_constant: 0,
            min_base_fee: 0,
            da_footprint_gas_scalar: 0,
            unsafe_block_signer: Address::ZERO,
        },
    }
}

/// A chain that makes one block of each list of transactions.
struct Chain {
    state: MemoryState,
    settlement: Settlement,
    height: u64,
    nonce: u64,
}

impl Chain {
    fn new() -> Self {
        let settlement = genesis();
        let records = settlement.records().into_iter().map(|record| GenesisRecord {
            contract: record.contract,
            key: record.key.into(),
            value: record.value.into(),
        });
        let key = |seed: &[u8]| Signer::from_seed(seed).id().to_string();
        let mut l1: L1Genesis = serde_json::from_value(serde_json::json!({
            "chain_id": CHAIN_ID, "timestamp": 1_700_000_000, "block_time": 2, "treasury": key(b"treasury"),
            "accounts": [{ "key": key(b"alice"), "balance": 1_000 * DUSK }],
            "stakes": [{ "key": key(b"producer"), "amount": 1_000_000 * DUSK }],
        }))
        .unwrap();
        l1.contracts = records.collect();
        l1.validate().unwrap();
        let mut state = MemoryState::default();
        state.apply(&l1.state()).unwrap();
        Self { state, settlement: Settlement::new(&settlement), height: 0, nonce: 0 }
    }

    fn terms(&mut self) -> Terms {
        self.nonce += 1;
        Terms { chain_id: CHAIN_ID, nonce: self.nonce, gas_limit: 10_000_000, gas_price: 1 }
    }

    fn call<A: Arguments>(&mut self, contract: Contract, args: &A, lux: u64) -> VerifiedTx {
        let id = self.settlement.contracts().id(contract).0;
        let terms = self.terms();
        verified(&wallet::call(&alice(), id, A::FUNCTION, args.encode_args(), lux, &terms).unwrap())
    }

    fn blob_transaction(&mut self, hash: B256) -> VerifiedTx {
        let Terms { gas_limit, gas_price, nonce, chain_id } = self.terms();
        let data = TransactionData::Blob(vec![BlobData { hash: hash.0, data: None }]);
        let signer = alice();
        let tx = moonlight::Transaction::new(
            signer.secret_key(),
            None,
            0,
            0,
            gas_limit,
            gas_price,
            nonce,
            chain_id,
            Some(data),
        );
        let bytes = Transaction::from(tx.unwrap()).encode_for_format(TransactionFormat::Boreas);
        Tx::decode(&bytes, 1).unwrap().verify().unwrap()
    }

    fn run(&mut self, txs: &[VerifiedTx]) -> Executed {
        self.height += 1;
        let env = BlockEnv {
            chain_id: CHAIN_ID,
            height: self.height,
            timestamp: 1_700_000_000 + 2 * self.height,
            gas_limit: 3_000_000_000,
            gas_per_blob: 1_000_000,
            stakes: StakeRules::default(),
        };
        let mut executor = Executor::new(&self.state, &self.settlement, env);
        for tx in txs {
            executor.execute(tx).unwrap();
        }
        executor.finish(&[]).unwrap()
    }

    fn balance(&self, contract: Contract) -> u64 {
        contract_balance(&self.state, &self.settlement.contracts().id(contract).0).unwrap()
    }

    fn gas_limit(&self) -> u64 {
        let id = self.settlement.contracts().system_config.0;
        let answer = NativeContracts::read(&self.settlement, &self.state, &id, "gasLimit", &[0xc0]).unwrap();
        alloy_rlp::decode_exact(answer).unwrap()
    }
}

fn verified(tx: &Tx) -> VerifiedTx {
    Tx::decode(&tx.ledger().protocol_bytes(), 1).unwrap().verify().unwrap()
}

/// The L1 view of a first block with these events.
fn view(executed: &Executed) -> ViewBlock {
    let ids = genesis().contracts;
    let emitters = [ids.portal, ids.messenger, ids.standard_bridge, ids.erc721_bridge, ids.system_config];
    let config =
        ViewConfig { chain_id: CHAIN_ID.into(), emitters: BTreeSet::from(emitters), inbox: Some(ids.batch_inbox) };
    let txs = executed.outcomes.iter().enumerate().map(|(index, outcome)| DuskTx {
        id: outcome.id.into(),
        index: index as u32,
        events: executed
            .events
            .iter()
            .filter(|(of, _)| *of == Some(index))
            .map(|(_, event)| DuskEvent {
                contract: event.source.to_bytes().into(),
                topic: event.topic.clone(),
                data: event.data.clone().into(),
            })
            .collect(),
    });
    let (hash, seed) = (B256::repeat_byte(1), [0; 48]);
    let block = |height, txs| DuskBlock { height, timestamp: 1 + height, hash, prev_hash: hash, seed, txs };
    let parent = project(&config, None, &DuskBlock { prev_hash: B256::ZERO, ..block(0, vec![]) }).unwrap();
    project(&config, Some(&parent.header), &block(1, txs.collect())).unwrap()
}

fn deposit(amount_lux: u64) -> DepositEthToWithValue {
    DepositEthToWithValue { to: BOB, amount_lux, min_gas_limit: 200_000, extra_data: Default::default() }
}

fn envelope(blob: B256) -> SubmitEnvelope {
    let tx = TxEip4844 {
        chain_id: CHAIN_ID.into(),
        gas_limit: 21_000,
        max_fee_per_gas: BASE_FEE.into(),
        max_fee_per_blob_gas: 1,
        to: contract_address(&genesis().contracts.batch_inbox),
        blob_versioned_hashes: vec![blob],
        ..Default::default()
    };
    let key = b256!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");
    let signature = PrivateKeySigner::from_bytes(&key).unwrap().sign_hash_sync(&tx.signature_hash()).unwrap();
    SubmitEnvelope { envelope: TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into() }
}

#[test]
fn a_deposit_is_in_the_view_and_its_lux_are_in_the_portal() {
    let mut chain = Chain::new();
    let tx = chain.call(Contract::StandardBridge, &deposit(3 * DUSK), 3 * DUSK);
    let executed = chain.run(std::slice::from_ref(&tx));
    assert_eq!(executed.outcomes[0].error, None);
    let topics: Vec<&str> = executed.events.iter().map(|(_, event)| event.topic.as_str()).collect();
    let logs = ["evm_log"; 5];
    assert_eq!(topics, [["deposit", "contract_to_contract"].as_slice(), &logs, &["moonlight"]].concat());

    let block = view(&executed);
    let [shown] = block.transactions.as_slice() else { panic!("{:?}", block.transactions) };
    assert_eq!(shown.dusk_id, B256::from(*tx.id()));
    let logs = block.receipts[0].logs();
    let deposited = b256!("b3813568d9991fc951961fcb4c784893574240a28925604d09fc577c55bb7c32");
    assert_eq!((logs[2].address, logs[2].topics()[0]), (contract_address(&genesis().contracts.portal), deposited));

    chain.state.apply(&executed.diff).unwrap();
    assert_eq!((chain.balance(Contract::Portal), chain.balance(Contract::StandardBridge)), (3 * DUSK, 0));
    let left = account(&chain.state, &alice().id()).unwrap().balance;
    assert_eq!(left, 1_000 * DUSK - 3 * DUSK - executed.gas_spent);
}

#[test]
fn a_block_that_is_taken_back_leaves_nothing() {
    let mut chain = Chain::new();
    let root = chain.state.root();
    let first = chain.call(Contract::StandardBridge, &deposit(DUSK), DUSK);
    let second = chain.call(Contract::SystemConfig, &SetGasLimit { gas_limit: 30_000_000 }, 0);
    let executed = chain.run(&[first, second]);
    let undo = chain.state.apply(&executed.diff).unwrap();
    assert_ne!(chain.state.root(), root);
    assert_eq!((chain.balance(Contract::Portal), chain.gas_limit()), (DUSK, 30_000_000));
    chain.state.apply(&undo).unwrap();
    assert_eq!(chain.state.root(), root);
    assert_eq!((chain.balance(Contract::Portal), chain.gas_limit()), (0, 60_000_000));
}

#[test]
fn a_refused_call_stays_in_its_block_and_returns_the_deposit() {
    let mut chain = Chain::new();
    let tx = chain.call(Contract::StandardBridge, &deposit(DUSK), 2 * DUSK);
    let executed = chain.run(&[tx]);
    let error = executed.outcomes[0].error.as_deref().unwrap();
    assert!(error.contains("amount_lux is 1000000000, but 2000000000 lux are attached"), "{error}");
    assert_eq!(executed.outcomes[0].gas_spent, 10_000_000, "all of its gas");
    assert!(view(&executed).transactions.is_empty());
    chain.state.apply(&executed.diff).unwrap();
    assert_eq!(chain.balance(Contract::Portal), 0);
    assert_eq!(account(&chain.state, &alice().id()).unwrap().balance, 1_000 * DUSK - 10_000_000);
}

#[test]
fn an_envelope_after_its_blobs_is_shown_in_the_same_block() {
    let mut blob = B256::repeat_byte(9);
    blob[0] = 1;
    let mut chain = Chain::new();
    let (early, blobs) = (chain.call(Contract::BatchInbox, &envelope(blob), 0), chain.blob_transaction(blob));
    let late = chain.call(Contract::BatchInbox, &envelope(blob), 0);
    let again = chain.call(Contract::BatchInbox, &envelope(blob), 0);
    let executed = chain.run(&[early, blobs, late.clone(), again]);
    let errors: Vec<Option<&str>> = executed.outcomes.iter().map(|outcome| outcome.error.as_deref()).collect();
    assert!(errors[0].unwrap().contains("is not on L1: send the blob transaction first"), "{errors:?}");
    assert_eq!(errors[1..3], [None, None]);
    assert!(errors[3].unwrap().contains("is 1: sign it with that nonce"), "{errors:?}");

    let block = view(&executed);
    let [shown] = block.transactions.as_slice() else { panic!("{:?}", block.transactions) };
    assert_eq!(
        (shown.dusk_id, shown.envelope.encoded_2718()),
        (B256::from(*late.id()), envelope(blob).envelope.to_vec())
    );
}

#[test]
fn questions_are_answered_from_the_state() {
    let chain = Chain::new();
    let ids = genesis().contracts;
    let read = |id: &B256, method: &str, args: &[u8]| {
        NativeContracts::read(&chain.settlement, &chain.state, &id.0, method, args)
    };
    let nonce = read(&ids.messenger, "messageNonce", &[0xc0]).unwrap();
    assert_eq!(alloy_rlp::decode_exact::<U256>(nonce).unwrap().bit_len(), 241);
    let unknown =
        |result: Result<Vec<u8>, CallError>| matches!(result, Err(CallError::Failed(CallFailure::UnknownFunction(_))));
    assert!(unknown(read(&ids.portal, "finalizedWithdrawals", &[0xc0])));
    let nobody = read(&B256::repeat_byte(1), "owner", &[0xc0]);
    assert!(matches!(nobody, Err(CallError::Failed(CallFailure::UnknownContract(_)))));
    assert!(chain.settlement.functions(&[1; 32]).is_none());
}
