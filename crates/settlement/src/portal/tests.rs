use alloy_primitives::{address, b256, keccak256};
use alloy_sol_types::SolEvent;
use duskevm_l1_view::contract_address;
use proptest::prelude::*;

use super::*;
use crate::args::SetGasLimit;
use crate::settlement::Contract::{self, Portal};
use crate::testing::{ALICE, Emitted, Fault, Ledger, OWNER, contracts};

const BOB: Address = address!("b0b0000000000000000000000000000000000b0b");

fn args() -> DepositTransaction {
    DepositTransaction {
        to: BOB,
        value: U256::from(5),
        gas_limit: 100_000,
        is_creation: false,
        data: vec![1, 2, 3].into(),
    }
}

fn one(events: &[Emitted]) -> &Emitted {
    let [event] = events else { panic!("{events:?}") };
    event
}

#[test]
fn a_deposit_is_logged_exactly_as_the_specification_says() {
    let mut ledger = Ledger::new();
    let events = ledger.send(ALICE, 7, Portal, &args()).unwrap();
    let log = one(&events).log();
    assert_eq!(log.address, contract_address(&contracts().portal));
    let signature = b256!("b3813568d9991fc951961fcb4c784893574240a28925604d09fc577c55bb7c32");
    assert_eq!(signature, keccak256("TransactionDeposited(address,address,uint256,bytes)"));
    assert_eq!(log.topics(), [signature, ALICE.address().into_word(), BOB.into_word(), B256::ZERO]);
    // ABI: offset, length, 32 mint, 32 value, 8 gas, 1 flag, 3 data, padding to 96.
    let word = |value: u64| U256::from(value).to_be_bytes::<32>();
    let opaque = [word(7_000_000_000).as_slice(), &word(5), &100_000u64.to_be_bytes(), &[0], &[1, 2, 3]].concat();
    assert_eq!(log.data.data.as_ref(), [word(32).as_slice(), &word(76), &opaque, &[0; 20]].concat());
}

#[test]
fn attached_lux_stay_with_the_portal_and_are_minted() {
    let mut ledger = Ledger::new();
    ledger.send(ALICE, 7, Portal, &args()).unwrap();
    ledger.send(ALICE, 5, Portal, &args()).unwrap();
    assert_eq!(ledger.balance(Portal), 12);
    // What fails leaves nothing there.
    ledger.refusal(ALICE, 5, Portal, &DepositTransaction { gas_limit: 1, ..args() });
    assert_eq!(ledger.balance(Portal), 12);
}

#[test]
fn lux_become_wei_exactly() {
    assert_eq!(lux_to_wei(1), U256::from(1_000_000_000));
    assert_eq!(lux_to_wei(u64::MAX), U256::from(18_446_744_073_709_551_615u128 * 1_000_000_000));
    // A mint is read as 128 bits by some.
    assert!(lux_to_wei(u64::MAX) < U256::from(1u128 << 94));
}

#[test]
fn contracts_are_aliased_and_wallets_are_not() {
    let contract = Caller::Contract(B256::repeat_byte(0xcc));
    for (caller, sender) in
        [(ALICE, ALICE.address()), (contract, crate::apply_alias(contract_address(&B256::repeat_byte(0xcc))))]
    {
        let events = Ledger::new().send(caller, 0, Portal, &args()).unwrap();
        let event = TransactionDeposited::decode_log_data(&one(&events).log().data).unwrap();
        assert_eq!(event.from, sender);
    }
}

#[test]
fn gas_covers_the_data_floor() {
    assert_eq!(minimum_gas_limit(0), 21_000);
    assert_eq!(minimum_gas_limit(3), 21_120);
    assert_eq!(minimum_gas_limit(u64::MAX), u64::MAX);
    let mut ledger = Ledger::new();
    let short = DepositTransaction { gas_limit: 21_119, ..args() };
    assert_eq!(ledger.refusal(ALICE, 0, Portal, &short), Refusal::DepositGas { got: 21_119, need: 21_120 });
    ledger.send(ALICE, 0, Portal, &DepositTransaction { gas_limit: 21_120, ..args() }).unwrap();
    assert_eq!(ledger.read::<u64>(Portal, "minimumGasLimit", &vec![3u64]), 21_120);
}

#[test]
fn data_are_bounded() {
    let with = |bytes: usize| DepositTransaction { data: vec![0; bytes].into(), gas_limit: 5_000_000, ..args() };
    assert_eq!(Ledger::new().refusal(ALICE, 0, Portal, &with(120_001)), Refusal::Data(120_001));
    Ledger::new().send(ALICE, 0, Portal, &with(120_000)).unwrap();
}

#[test]
fn a_creation_has_no_receiver() {
    let creation = DepositTransaction { is_creation: true, ..args() };
    assert_eq!(Ledger::new().refusal(ALICE, 0, Portal, &creation), Refusal::CreationTarget(BOB));
    let events = Ledger::new().send(ALICE, 0, Portal, &DepositTransaction { to: Address::ZERO, ..creation }).unwrap();
    let event = TransactionDeposited::decode_log_data(&one(&events).log().data).unwrap();
    assert_eq!((event.to, event.opaqueData[72]), (Address::ZERO, 1));
}

#[test]
fn deposits_of_one_block_ask_for_20_million_gas_at_most() {
    let mut ledger = Ledger::new();
    let asking = |gas_limit| DepositTransaction { gas_limit, ..args() };
    let cap = MAX_BLOCK_DEPOSIT_GAS;
    assert_eq!(ledger.refusal(ALICE, 0, Portal, &asking(cap + 1)), Refusal::BlockDepositGas { cap, left: cap });
    ledger.send(ALICE, 0, Portal, &asking(12_000_000)).unwrap();
    let left = 8_000_000;
    assert_eq!(ledger.refusal(OWNER, 0, Portal, &asking(left + 1)), Refusal::BlockDepositGas { cap, left });
    ledger.send(OWNER, 0, Portal, &asking(left)).unwrap();
    assert_eq!(ledger.refusal(ALICE, 0, Portal, &asking(30_000)), Refusal::BlockDepositGas { cap, left: 0 });
    ledger.height += 1;
    ledger.send(ALICE, 0, Portal, &asking(cap)).unwrap();
}

#[test]
fn deposits_and_the_l1_attributes_fit_an_l2_block() {
    // However low the owner sets the limit, the deposits of the same block were bounded by less.
    let mut ledger = Ledger::new();
    ledger.send(ALICE, 0, Portal, &DepositTransaction { gas_limit: MAX_BLOCK_DEPOSIT_GAS, ..args() }).unwrap();
    let low = SetGasLimit { gas_limit: crate::MIN_GAS_LIMIT };
    ledger.send(OWNER, 0, Contract::SystemConfig, &low).unwrap();
    assert!(MAX_BLOCK_DEPOSIT_GAS + SYSTEM_TX_GAS <= low.gas_limit);
    // A chain that began with less has a lower cap.
    let mut ledger = Ledger::new();
    let mut config = crate::testing::genesis().system_config;
    config.gas_limit = 3_000_000;
    let (key, value) = config.record();
    ledger.storage.insert((contracts().system_config, key), value);
    let refused = ledger.refusal(ALICE, 0, Portal, &DepositTransaction { gas_limit: 2_000_001, ..args() });
    assert_eq!(refused, Refusal::BlockDepositGas { cap: 2_000_000, left: 2_000_000 });
}

#[test]
fn gas_on_l2_is_paid_on_l1() {
    let spent = |gas_limit| {
        let mut ledger = Ledger::new();
        ledger.send(ALICE, 0, Portal, &DepositTransaction { gas_limit, ..args() }).unwrap();
        1_000_000_000 - ledger.gas
    };
    assert_eq!(spent(1_100_000) - spent(100_000), 1_000_000);
    let mut poor = Ledger::new();
    poor.gas = 100_000;
    assert_eq!(poor.send(ALICE, 0, Portal, &args()), Err(Error::Host(Fault("out of gas"))));
}

#[test]
fn damaged_records_are_noticed() {
    let mut ledger = Ledger::new();
    ledger.storage.insert((contracts().portal, BLOCK_GAS_KEY.to_vec()), vec![1; 15]);
    assert_eq!(ledger.refusal(ALICE, 0, Portal, &args()), Refusal::Damaged("the deposit gas of a block"));
    let mut ledger = Ledger::new();
    ledger.storage.clear();
    assert_eq!(ledger.refusal(ALICE, 0, Portal, &args()), Refusal::Damaged("the system configuration"));
}

proptest! {
    /// Every accepted deposit has a log that derivation reads back as what was asked for.
    #[test]
    fn logs_decode_to_what_was_asked_for(
        lux in any::<u64>(), value in any::<[u8; 32]>(), gas in 21_000u64..20_000_001, to in any::<[u8; 20]>(),
        data in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let args = DepositTransaction {
            to: to.into(), value: U256::from_be_bytes(value), gas_limit: gas, is_creation: false, data: data.clone().into(),
        };
        match Ledger::new().send(ALICE, lux, Portal, &args) {
            Err(error) => prop_assert_eq!(
                error, Error::Refused(Refusal::DepositGas { got: gas, need: minimum_gas_limit(data.len() as u64) }),
            ),
            Ok(events) => {
                let log = one(&events).log();
                prop_assert_eq!(log.data.data.len() % 32, 0);
                let event = TransactionDeposited::decode_log_data_validate(&log.data).unwrap();
                let opaque = event.opaqueData.as_ref();
                prop_assert_eq!(&opaque[..32], lux_to_wei(lux).to_be_bytes::<32>());
                prop_assert_eq!(&opaque[32..64], value);
                prop_assert_eq!(&opaque[64..72], gas.to_be_bytes());
                prop_assert_eq!(opaque[72], 0);
                prop_assert_eq!(&opaque[73..], data);
            }
        }
    }
}
