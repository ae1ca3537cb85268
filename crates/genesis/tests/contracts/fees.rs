//! GasPriceOracle: it estimates what execution charges.

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{SolCall, sol};
use duskevm_genesis::{
    Fork,
    predeploys::{DEPOSITOR, GAS_PRICE_ORACLE},
};
use op_revm::{L1BlockInfo, OpSpecId, estimate_tx_compressed_size};
use proptest::prelude::*;

use crate::{
    chain::{ALICE, BASE_FEE, Chain},
    l1_block::{Origin, origins},
};

sol! {
    interface Oracle {
        function getL1Fee(bytes data) external view returns (uint256);
        function getL1FeeUpperBound(uint256 unsignedTxSize) external view returns (uint256);
        function getL1GasUsed(bytes data) external view returns (uint256);
        function getOperatorFee(uint256 gasUsed) external view returns (uint256);
        function l1BaseFee() external view returns (uint256);
        function blobBaseFee() external view returns (uint256);
        function baseFeeScalar() external view returns (uint32);
        function blobBaseFeeScalar() external view returns (uint32);
        function baseFee() external view returns (uint256);
        function gasPrice() external view returns (uint256);
        function decimals() external pure returns (uint256);
        function overhead() external view returns (uint256);
        function scalar() external view returns (uint256);
        function isEcotone() external view returns (bool);
        function isFjord() external view returns (bool);
        function isIsthmus() external view returns (bool);
        function isJovian() external view returns (bool);
        function setEcotone() external;
        function setFjord() external;
        function setIsthmus() external;
        function setJovian() external;
    }
}

/// Bytes like those of transactions: noise, runs and repetitions.
fn payloads(max: usize) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..200),
        (any::<u8>(), 1..700_usize).prop_map(|(byte, n)| vec![byte; n]),
        (prop::collection::vec(any::<u8>(), 1..40), 1..12_usize).prop_map(|(unit, n)| unit.repeat(n)),
        prop::collection::vec(0..3_u8, 1..200),
    ];
    prop::collection::vec(piece, 0..12).prop_map(move |pieces| {
        let mut bytes = pieces.concat();
        bytes.truncate(max);
        bytes
    })
}

/// The FastLZ length of `data` as execution counts it, if it is not hidden below the minimum size.
fn fastlz_length(data: &[u8]) -> Option<u64> {
    let size = estimate_tx_compressed_size(data);
    (size > 100_000_000).then(|| (size + 42_585_600) / 836_500)
}

/// Noise that has exactly this FastLZ length: without repetitions it is one run of literals, which costs one byte more
/// for every 32. Every 33rd length does not exist.
fn incompressible(length: u64) -> Option<Vec<u8>> {
    let bytes = (0..=length).find(|n| n + n.div_ceil(32) == length)?;
    (0..64).map(|seed| noise(seed, bytes)).find(|noise| fastlz_length(noise).is_none_or(|l| l == length))
}

/// Bytes of a small generator (SplitMix64). None begins with 0x7e, which would make it a deposit.
fn noise(seed: u64, bytes: u64) -> Vec<u8> {
    let byte = |i: u64| {
        let mut z = (seed << 32 | i).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 56) as u8
    };
    (0..bytes).map(|i| if i == 0 { 2 } else { byte(i) }).collect()
}

fn fee(info: &L1BlockInfo, data: &[u8], spec: OpSpecId) -> U256 {
    info.clone().calculate_tx_l1_cost(data, spec)
}

fn ask_fee(chain: &mut Chain, data: &[u8]) -> U256 {
    chain.ask(GAS_PRICE_ORACLE, Oracle::getL1FeeCall { data: data.to_vec().into() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Before Fjord the estimate for an unsigned transaction is the charge for it with 68 bytes of signature.
    #[test]
    fn early_fees_are_those_of_execution(origin in origins(), data in payloads(1500)) {
        let mut signed = data.clone();
        signed.extend([0xff; 68]);
        // A first byte of 0x7e would make it a deposit, which pays nothing.
        prop_assume!(signed[0] != 0x7e);
        for (fork, spec) in [(Fork::Canyon, OpSpecId::CANYON), (Fork::Ecotone, OpSpecId::ECOTONE)] {
            let mut chain = Chain::with_fork(fork);
            origin.set(&mut chain, fork);
            let info = L1BlockInfo::try_fetch(&mut chain.db, U256::from(1), spec).unwrap();
            prop_assert_eq!(ask_fee(&mut chain, &data), fee(&info, &signed, spec));
            let gas = chain.ask(GAS_PRICE_ORACLE, Oracle::getL1GasUsedCall { data: data.clone().into() });
            let overhead = if fork < Fork::Ecotone { origin.overhead } else { U256::ZERO };
            prop_assert_eq!(gas, info.data_gas(&signed, spec) + overhead);
        }
    }

    /// Since Fjord it is the charge for bytes whose FastLZ length is 68 more.
    #[test]
    fn fjord_fees_are_those_of_execution(origin in origins(), data in payloads(4000)) {
        let Some(length) = fastlz_length(&data) else { return Ok(()) };
        let Some(signed) = incompressible(length + 68) else { return Ok(()) };
        prop_assert_eq!(fastlz_length(&signed), Some(length + 68));
        let mut chain = Chain::with_fork(Fork::Isthmus);
        origin.set(&mut chain, Fork::Isthmus);
        let info = L1BlockInfo::try_fetch(&mut chain.db, U256::from(1), OpSpecId::ISTHMUS).unwrap();
        prop_assert_eq!(ask_fee(&mut chain, &data), fee(&info, &signed, OpSpecId::ISTHMUS));
        let gas = chain.ask(GAS_PRICE_ORACLE, Oracle::getL1GasUsedCall { data: data.clone().into() });
        prop_assert_eq!(gas, info.data_gas(&signed, OpSpecId::ISTHMUS));

        // And the bound holds for the transaction with a real signature's worth of noise.
        let bound = chain.ask(GAS_PRICE_ORACLE, Oracle::getL1FeeUpperBoundCall { unsignedTxSize: U256::from(data.len()) });
        let mut whole = data;
        whole.extend((0..67_u8).map(|i| i.wrapping_mul(151)));
        prop_assert!(fee(&info, &whole, OpSpecId::ISTHMUS) <= bound);
    }

    #[test]
    fn operator_fees_are_those_of_execution(origin in origins(), gas in any::<u64>()) {
        for (fork, spec) in [(Fork::Isthmus, OpSpecId::ISTHMUS), (Fork::Jovian, OpSpecId::JOVIAN)] {
            let mut chain = Chain::with_fork(fork);
            origin.set(&mut chain, fork);
            let info = L1BlockInfo::try_fetch(&mut chain.db, U256::from(1), spec).unwrap();
            for gas in [U256::from(gas), U256::MAX, U256::ZERO] {
                let told = chain.ask(GAS_PRICE_ORACLE, Oracle::getOperatorFeeCall { gasUsed: gas });
                prop_assert_eq!(told, info.operator_fee_charge(&[2], gas, spec));
            }
        }
    }
}

/// Below 171 bytes of FastLZ length execution does not tell them apart, but from 103 on the oracle's 68 do.
#[test]
fn short_inputs_are_counted_too() {
    let mut chain = Chain::new();
    let origin = Origin { basefee: U256::from(1_000_000), base_fee_scalar: 1_000_000, ..Origin::default() };
    origin.set(&mut chain, Fork::Isthmus);
    for length in 0..=340_u64 {
        let Some(data) = incompressible(length) else { continue };
        let size = (836_500 * (length + 68)).saturating_sub(42_585_600).max(100_000_000);
        let expected =
            U256::from(size) * U256::from(16) * U256::from(1_000_000_u64 * 1_000_000) / U256::from(10_u64.pow(12));
        assert_eq!(ask_fee(&mut chain, &data), expected, "length {length}");
    }
}

/// Transactions of nearly the largest size that nodes accept fit the usual gas of `eth_call`, and repetitions count up to
/// a distance of 8191 bytes.
#[test]
fn large_inputs_work() {
    let mut chain = Chain::new();
    Origin { basefee: U256::from(7_000_000), base_fee_scalar: 300_000, ..Origin::default() }
        .set(&mut chain, Fork::Isthmus);
    let mut inputs = vec![(0..100_000_u64).map(|i| ((i * i) >> 7) as u8).collect::<Vec<_>>(), noise(1, 100_000)];
    inputs.extend((8190..8195).map(|distance| noise(distance, distance).repeat(2)));
    for data in inputs {
        let length = fastlz_length(&data).unwrap();
        let size = 836_500 * (length + 68) - 42_585_600;
        let per_byte = U256::from(16_u64 * 7_000_000 * 300_000);
        assert_eq!(ask_fee(&mut chain, &data), U256::from(size) * per_byte / U256::from(10_u64.pow(12)));
    }
}

#[test]
fn genesis_sets_the_flags_of_active_forks() {
    for (fork, word) in [
        (Fork::Delta, 0_u64),
        (Fork::Ecotone, 0x01),
        (Fork::Fjord, 0x0101),
        (Fork::Holocene, 0x0101),
        (Fork::Isthmus, 0x01_0101),
        (Fork::Jovian, 0x0101_0101),
    ] {
        let mut chain = Chain::with_fork(fork);
        assert_eq!(chain.slot(GAS_PRICE_ORACLE, 0), B256::from(U256::from(word)), "{fork}");
        assert_eq!(chain.ask(GAS_PRICE_ORACLE, Oracle::isEcotoneCall {}), fork >= Fork::Ecotone);
        assert_eq!(chain.ask(GAS_PRICE_ORACLE, Oracle::isFjordCall {}), fork >= Fork::Fjord);
        assert_eq!(chain.ask(GAS_PRICE_ORACLE, Oracle::isIsthmusCall {}), fork >= Fork::Isthmus);
        assert_eq!(chain.ask(GAS_PRICE_ORACLE, Oracle::isJovianCall {}), fork >= Fork::Jovian);
        let fee = chain.ask(GAS_PRICE_ORACLE, Oracle::getOperatorFeeCall { gasUsed: U256::from(1) });
        assert!(fee.is_zero());
    }
}

#[test]
fn the_depositor_activates_forks_in_order_and_once() {
    let mut chain = Chain::with_fork(Fork::Delta);
    let mut attempt = |from: Address, data: Vec<u8>| chain.send(from, GAS_PRICE_ORACLE, U256::ZERO, data);
    let steps = [
        Oracle::setEcotoneCall {}.abi_encode(),
        Oracle::setFjordCall {}.abi_encode(),
        Oracle::setIsthmusCall {}.abi_encode(),
        Oracle::setJovianCall {}.abi_encode(),
    ];
    for (i, step) in steps.iter().enumerate() {
        let stranger = attempt(ALICE, step.clone());
        assert!(stranger.reason().contains("only the depositor"), "{}", stranger.reason());
        for later in &steps[i + 1..] {
            assert!(attempt(DEPOSITOR, later.clone()).reason().contains("can only be activated after"));
        }
        assert!(attempt(DEPOSITOR, step.clone()).success);
        assert!(attempt(DEPOSITOR, step.clone()).reason().contains("already active"));
    }
    assert_eq!(chain.slot(GAS_PRICE_ORACLE, 0), B256::from(U256::from(0x0101_0101)));
}

#[test]
fn it_repeats_what_the_blocks_say() {
    let mut chain = Chain::new();
    let origin = Origin {
        basefee: U256::from(11),
        blob_base_fee: U256::from(22),
        base_fee_scalar: 33,
        blob_base_fee_scalar: 44,
        ..Origin::default()
    };
    origin.set(&mut chain, Fork::Isthmus);
    assert_eq!(chain.ask(GAS_PRICE_ORACLE, Oracle::l1BaseFeeCall {}), U256::from(11));
    assert_eq!(chain.ask(GAS_PRICE_ORACLE, Oracle::blobBaseFeeCall {}), U256::from(22));
    assert_eq!(chain.ask(GAS_PRICE_ORACLE, Oracle::baseFeeScalarCall {}), 33);
    assert_eq!(chain.ask(GAS_PRICE_ORACLE, Oracle::blobBaseFeeScalarCall {}), 44);
    assert_eq!(chain.ask(GAS_PRICE_ORACLE, Oracle::baseFeeCall {}), U256::from(BASE_FEE));
    assert_eq!(chain.ask(GAS_PRICE_ORACLE, Oracle::gasPriceCall {}), U256::from(BASE_FEE));
    assert_eq!(chain.ask(GAS_PRICE_ORACLE, Oracle::decimalsCall {}), U256::from(6));
    for data in [Oracle::overheadCall {}.abi_encode(), Oracle::scalarCall {}.abi_encode()] {
        assert!(chain.send(ALICE, GAS_PRICE_ORACLE, U256::ZERO, data).reason().contains("deprecated"));
    }
    let mut early = Chain::with_fork(Fork::Delta);
    let bound = Oracle::getL1FeeUpperBoundCall { unsignedTxSize: U256::from(1) }.abi_encode();
    assert!(early.send(ALICE, GAS_PRICE_ORACLE, U256::ZERO, bound).reason().contains("only supports Fjord"));
}
