//! Transactions, contract calls, key files, genesis files, and what contracts emit for the view.

use std::sync::OnceLock;

use alloy_primitives::B256;
use dusk_core::stake::STAKE_CONTRACT;
use dusk_core::transfer::data::{ContractCall, TransactionData};
use duskevm_dusk_l1::block::tx_root;
use duskevm_dusk_l1::contracts::NoContracts;
use duskevm_dusk_l1::execute::{BlockEnv, Executor};
use duskevm_dusk_l1::genesis::Genesis;
use duskevm_dusk_l1::keyfile;
use duskevm_dusk_l1::keys::Signer;
use duskevm_dusk_l1::kind;
use duskevm_dusk_l1::sa::wire::{self, Limits};
use duskevm_dusk_l1::stakes::StakeRules;
use duskevm_dusk_l1::state::{MemoryState, contract_balance};
use duskevm_dusk_l1::tx::{Tx, strip};
use duskevm_l1_view::{DuskBlock, DuskEvent, DuskTx, ENVELOPE_TOPIC, LOG_TOPIC, ViewBlock, ViewConfig, project};

use crate::consensus::written;
use crate::samples::{self, CHAIN_ID};

/// What a wallet submits.
pub fn transaction(data: &[u8]) {
    let Ok(tx) = Tx::decode(data, 1) else { return };
    check_transaction(&tx);
    let again = Tx::decode(&tx.ledger().protocol_bytes(), 1).expect("what is written reads back");
    assert_eq!(written(again.ledger()), written(tx.ledger()), "a transaction has one form");
    assert_eq!(again, tx);
}

pub(crate) fn check_transaction(tx: &Tx) {
    let bytes = written(tx.ledger());
    assert_eq!(bytes.len(), tx.size());
    let frame = [&wire::VERSION[..], &[wire::FrameTopic::Tx as u8], &bytes].concat();
    let frame = wire::decode(&frame, &Limits::default());
    assert!(matches!(frame, Ok(wire::Frame::Tx(inner)) if *inner == *bytes), "every transaction can be sent");
    if let Some(cost) = tx.cost() {
        assert!(cost >= tx.gas_limit().saturating_mul(tx.gas_price()));
    }
    let (_, sidecars) = strip(tx.ledger());
    let stripped = tx.clone().strip();
    assert_eq!((stripped.id(), stripped.sender(), stripped.nonce()), (tx.id(), tx.sender(), tx.nonce()));
    assert_eq!(tx_root(&[stripped.ledger().clone()]), tx_root(&[tx.ledger().clone()]));
    // By their bytes: the published type compares ids only.
    assert_eq!(sidecars.is_empty(), written(stripped.ledger()) == bytes);
    let _ = kind::check(tx.data(), &NoContracts);
    // Milliseconds, so only now and then.
    if tx.id()[0] < 16 {
        let _ = tx.clone().verify();
    }
}

fn base() -> &'static MemoryState {
    static STATE: OnceLock<MemoryState> = OnceLock::new();
    STATE.get_or_init(|| {
        let mut state = MemoryState::default();
        state.apply(&samples::genesis().state()).expect("the sample is a good state");
        state
    })
}

/// A call of the stake contract: function, deposit in DUSK, arguments.
pub fn contract_call(data: &[u8]) {
    let [function, deposit, args @ ..] = data else { return };
    let name = ["stake", "unstake", "withdraw", "none"][usize::from(function % 4)];
    if !samples::decodes(name, args) && function < &128 {
        return;
    }
    let call = ContractCall::new(STAKE_CONTRACT, name).with_raw_args(args.to_vec());
    let deposit = u64::from(*deposit) * samples::DUSK;
    let tx = samples::spend(b"alice", 1, deposit, Some(TransactionData::Call(call))).verify();
    let tx = tx.expect("it was signed here");
    let env = BlockEnv {
        chain_id: CHAIN_ID,
        height: 10,
        timestamp: 0,
        gas_limit: 3_000_000_000,
        gas_per_blob: 1_000_000,
        stakes: StakeRules::default(),
    };
    let mut executor = Executor::new(base(), &NoContracts, env);
    let Ok(outcome) = executor.execute(&tx).cloned() else { return };
    assert!(outcome.gas_spent <= tx.gas_limit());
    let executed = executor.finish(&[]).expect("a state in memory can be read");
    let mut after = base().clone();
    after.apply(&executed.diff).expect("what execution writes can be read");
    let owned = |state: &MemoryState| contract_balance(state, &STAKE_CONTRACT.to_bytes()).expect("in memory");
    if outcome.error.is_some() {
        assert!(after.stakes().eq(base().stakes()), "a failed call changes no stake");
        assert_eq!(owned(&after), owned(base()), "a failed call moves no lux");
    } else if name == "stake" {
        assert_eq!(owned(&after), owned(base()) + deposit);
    }
}

/// An encrypted key file.
pub fn key_file(data: &[u8]) {
    if let Ok(signer) = keyfile::decrypt(data, samples::PASSWORD) {
        assert_eq!(signer.id(), Signer::from_seed(b"key file").id(), "only the real key has this password");
    }
}

/// A genesis file.
pub fn genesis(data: &[u8]) {
    let Ok(genesis) = serde_json::from_slice::<Genesis>(data) else { return };
    let text = serde_json::to_vec(&genesis).expect("a genesis can be written");
    let again: Genesis = serde_json::from_slice(&text).expect("what is written reads back");
    assert_eq!(again, genesis);
    if genesis.validate().is_ok() {
        assert!(genesis.provisioners().next().is_some());
        genesis.rules();
        assert_eq!(genesis.identity(), again.identity());
        let mut state = MemoryState::default();
        state.apply(&genesis.state()).expect("a good genesis has a state");
        assert_eq!(state.root().0, genesis.block().header().state_hash);
    }
}

pub(crate) const EMITTER: B256 = B256::repeat_byte(1);
pub(crate) const INBOX: B256 = B256::repeat_byte(2);

/// What contracts emit for the Ethereum-shaped view: pieces, each with a byte that says whose event it is and a byte of
/// length.
pub fn view_events(data: &[u8]) {
    let mut events = Vec::new();
    let mut rest = data;
    while let Some(([kind, low, high], tail)) = rest.split_first_chunk() {
        let (data, tail) = tail.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(tail.len()));
        let (contract, topic) = match kind % 3 {
            0 => (EMITTER, LOG_TOPIC),
            1 => (INBOX, ENVELOPE_TOPIC),
            _ => (INBOX, "other"),
        };
        events.push(DuskEvent { contract, topic: topic.into(), data: data.to_vec().into() });
        rest = tail;
    }
    let config = ViewConfig { chain_id: 900, emitters: [EMITTER].into_iter().collect(), inbox: Some(INBOX) };
    let block = DuskBlock {
        height: 0,
        timestamp: 1,
        hash: B256::repeat_byte(3),
        prev_hash: B256::ZERO,
        seed: [4; 48],
        txs: vec![DuskTx { id: B256::repeat_byte(5), index: 0, events }],
    };
    let Ok(view) = project(&config, None, &block) else { return };
    assert_eq!(view.transactions.len(), view.receipts.len());
    assert_eq!(ViewBlock::decode(&view.encode()).as_ref(), Ok(&view), "what is written reads back");
}
