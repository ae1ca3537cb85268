use alloy_primitives::{Log, b256, keccak256};
use duskevm_l1_view::contract_address;
use proptest::prelude::*;

use super::*;
use crate::args::Arguments;
use crate::settlement::Contract::SystemConfig as Config;
use crate::testing::{ALICE, BATCHER, Ledger, NONE, OWNER, contracts};

fn word(value: impl Into<U256>) -> [u8; 32] {
    value.into().to_be_bytes()
}

/// The log of a change by the owner.
fn changed<A: Arguments>(ledger: &mut Ledger, args: &A) -> Log {
    let events = ledger.send(OWNER, 0, Config, args).unwrap();
    let [event] = events.as_slice() else { panic!("{events:?}") };
    event.log()
}

/// Asserts what derivation reads: version 0, the kind, and the data in one ABI `bytes`.
fn is_update(log: &Log, kind: u8, data: &[u8]) {
    assert_eq!(log.address, contract_address(&contracts().system_config));
    let signature = b256!("1d2b0bda21d56b8bd12d4f94ebacffdfb35f5e226f84b461103bb8beab6353be");
    assert_eq!(signature, keccak256("ConfigUpdate(uint256,uint8,bytes)"));
    assert_eq!(log.topics(), [signature, B256::ZERO, word(U256::from(kind)).into()]);
    let len = word(U256::from(data.len()));
    assert_eq!(log.data.data.as_ref(), [word(U256::from(32)).as_slice(), &len, data].concat());
}

#[test]
fn every_change_is_kept_and_logged_exactly() {
    let mut ledger = Ledger::new();
    let batcher = Address::repeat_byte(7);
    let log = changed(&mut ledger, &SetBatcherHash { batcher_hash: batcher.into_word() });
    is_update(&log, 0, batcher.into_word().as_slice());
    assert_eq!(ledger.read::<B256>(Config, "batcherHash", &NONE), batcher.into_word());

    let log = changed(&mut ledger, &SetGasConfigEcotone { basefee_scalar: 1368, blobbasefee_scalar: 810_949 });
    let scalar = b256!("010000000000000000000000000000000000000000000000000c5fc500000558");
    is_update(&log, 1, &[[0; 32], scalar.0].concat());
    assert_eq!(ledger.read::<B256>(Config, "scalar", &NONE), scalar);
    assert_eq!(ledger.read::<u32>(Config, "basefeeScalar", &NONE), 1368);
    assert_eq!(ledger.read::<u32>(Config, "blobbasefeeScalar", &NONE), 810_949);

    let log = changed(&mut ledger, &SetGasLimit { gas_limit: 30_000_000 });
    is_update(&log, 2, &word(U256::from(30_000_000)));
    assert_eq!(ledger.read::<u64>(Config, "gasLimit", &NONE), 30_000_000);

    let signer = Address::repeat_byte(8);
    let log = changed(&mut ledger, &SetUnsafeBlockSigner { unsafe_block_signer: signer });
    is_update(&log, 3, signer.into_word().as_slice());
    assert_eq!(ledger.read::<Address>(Config, "unsafeBlockSigner", &NONE), signer);

    let log = changed(&mut ledger, &SetEip1559Params { denominator: 250, elasticity: 6 });
    is_update(&log, 4, &word(U256::from((250u64 << 32) | 6)));
    assert_eq!(ledger.read::<u32>(Config, "eip1559Denominator", &NONE), 250);
    assert_eq!(ledger.read::<u32>(Config, "eip1559Elasticity", &NONE), 6);

    let fees = SetOperatorFeeScalars { operator_fee_scalar: 5, operator_fee_constant: u64::MAX };
    let log = changed(&mut ledger, &fees);
    is_update(&log, 5, &word(U256::from(5u64) * (U256::from(u64::MAX) + U256::from(1)) + U256::from(u64::MAX)));
    assert_eq!(ledger.read::<u32>(Config, "operatorFeeScalar", &NONE), 5);
    assert_eq!(ledger.read::<u64>(Config, "operatorFeeConstant", &NONE), u64::MAX);

    let log = changed(&mut ledger, &SetMinBaseFee { min_base_fee: 9 });
    is_update(&log, 6, &word(U256::from(9)));
    assert_eq!(ledger.read::<u64>(Config, "minBaseFee", &NONE), 9);

    let log = changed(&mut ledger, &SetDaFootprintGasScalar { da_footprint_gas_scalar: 400 });
    is_update(&log, 7, &word(U256::from(400)));
    assert_eq!(ledger.read::<u16>(Config, "daFootprintGasScalar", &NONE), 400);
    assert_eq!(ledger.read::<B256>(Config, "overhead", &NONE), B256::ZERO);
}

#[test]
fn only_the_owner_changes_anything() {
    let mut ledger = Ledger::new();
    let refusal = Refusal::NotOwner { owner: OWNER.address(), caller: ALICE.address() };
    assert_eq!(ledger.refusal(ALICE, 0, Config, &SetGasLimit { gas_limit: 30_000_000 }), refusal);
    assert_eq!(ledger.refusal(ALICE, 0, Config, &SetMinBaseFee { min_base_fee: 1 }), refusal);
    assert_eq!(ledger.refusal(ALICE, 0, Config, &TransferOwnership { new_owner: ALICE.address() }), refusal);
}

#[test]
fn ownership_moves_without_a_log_for_l2() {
    let mut ledger = Ledger::new();
    let events = ledger.send(OWNER, 0, Config, &TransferOwnership { new_owner: ALICE.address() }).unwrap();
    assert_eq!(events, []);
    assert_eq!(ledger.read::<Address>(Config, "owner", &NONE), ALICE.address());
    assert!(matches!(ledger.refusal(OWNER, 0, Config, &SetMinBaseFee { min_base_fee: 1 }), Refusal::NotOwner { .. }));
    ledger.send(ALICE, 0, Config, &SetMinBaseFee { min_base_fee: 1 }).unwrap();
    assert_eq!(ledger.refusal(ALICE, 0, Config, &TransferOwnership { new_owner: Address::ZERO }), Refusal::NoOwner);
}

#[test]
fn gas_limits_have_bounds() {
    let mut ledger = Ledger::new();
    for gas_limit in [0, 20_999_999, 500_000_001, u64::MAX] {
        assert_eq!(ledger.refusal(OWNER, 0, Config, &SetGasLimit { gas_limit }), Refusal::GasLimit(gas_limit));
    }
    for gas_limit in [21_000_000, 500_000_000] {
        ledger.send(OWNER, 0, Config, &SetGasLimit { gas_limit }).unwrap();
    }
    assert_eq!(ledger.read::<u64>(Config, "minimumGasLimit", &NONE), 21_000_000);
    assert_eq!(ledger.read::<u64>(Config, "maximumGasLimit", &NONE), 500_000_000);
}

#[test]
fn a_batcher_hash_is_an_address() {
    let mut ledger = Ledger::new();
    let mut dirty = BATCHER.into_word();
    dirty[0] = 1;
    for batcher_hash in [B256::ZERO, dirty, B256::repeat_byte(1)] {
        let refused = ledger.refusal(OWNER, 0, Config, &SetBatcherHash { batcher_hash });
        assert_eq!(refused, Refusal::BatcherHash(batcher_hash));
    }
}

#[test]
fn base_fee_parameters_leave_a_gas_target() {
    let mut ledger = Ledger::new();
    for (denominator, elasticity) in [(0, 6), (250, 0), (0, 0), (250, 21_000_001), (250, u32::MAX)] {
        let refused = ledger.refusal(OWNER, 0, Config, &SetEip1559Params { denominator, elasticity });
        assert_eq!(refused, Refusal::Eip1559 { denominator, elasticity });
    }
    assert_eq!(ledger.read::<u32>(Config, "eip1559Denominator", &NONE), 0, "as genesis left it");
    ledger.send(OWNER, 0, Config, &SetEip1559Params { denominator: u32::MAX, elasticity: 21_000_000 }).unwrap();
}

#[test]
fn the_floor_of_the_base_fee_is_far_from_where_it_would_overflow() {
    let mut ledger = Ledger::new();
    for min_base_fee in [(1 << 56) + 1, u64::MAX] {
        let refused = ledger.refusal(OWNER, 0, Config, &SetMinBaseFee { min_base_fee });
        assert_eq!(refused, Refusal::MinBaseFee(min_base_fee));
    }
    ledger.send(OWNER, 0, Config, &SetMinBaseFee { min_base_fee: 1 << 56 }).unwrap();
}

#[test]
fn the_configuration_takes_no_lux() {
    let refused = Ledger::new().refusal(OWNER, 1, Config, &SetMinBaseFee { min_base_fee: 1 });
    assert_eq!(refused, Refusal::NotPayable("the system configuration", 1));
}

#[test]
fn the_old_scalar_has_one_part() {
    let mut config = crate::testing::genesis().system_config;
    assert_eq!(config.fee_scalars(), (1368, 810_949));
    config.scalar = word(U256::from((9u64 << 32) | 684_000)).into();
    assert_eq!(config.fee_scalars(), (684_000, 0));
}

#[test]
fn questions_take_no_arguments_and_are_no_functions() {
    let settlement = Settlement::new(&crate::testing::genesis());
    let ledger = Ledger::new();
    assert!(settlement.read(&ledger, Config, "owner", &[0xc0]).is_ok());
    for (name, args) in [("owner", &[0xc1, 0][..]), ("owner", &[]), ("nobody", &[0xc0]), ("setGasLimit", &[0xc0])] {
        assert!(settlement.read(&ledger, Config, name, args).is_err(), "{name}");
    }
    assert!(Ledger::new().run(OWNER, 0, Config, "owner", &[0xc0]).is_err());
}

proptest! {
    #[test]
    fn scalars_round_trip(base in any::<u32>(), blob in any::<u32>()) {
        let mut config = crate::testing::genesis().system_config;
        config.scalar = SystemConfig::scalar_v1(base, blob);
        prop_assert_eq!(config.fee_scalars(), (base, blob));
    }

    #[test]
    fn records_round_trip(limit in any::<u64>(), fee in any::<u64>(), scalar in any::<u16>(), owner in any::<[u8; 20]>()) {
        let config = SystemConfig {
            gas_limit: limit, min_base_fee: fee, da_footprint_gas_scalar: scalar, owner: owner.into(),
            ..crate::testing::genesis().system_config
        };
        let (_, bytes) = config.record();
        prop_assert_eq!(alloy_rlp::decode_exact::<SystemConfig>(&bytes).unwrap(), config);
    }
}
