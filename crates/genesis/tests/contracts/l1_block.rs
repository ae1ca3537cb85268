//! L1Block: what the setters write is what execution reads and what the getters tell.

use alloy_primitives::{Address, B256, U256, address};
use alloy_sol_types::{SolCall, sol};
use duskevm_genesis::{
    Fork,
    predeploys::{DEPOSITOR, L1_BLOCK},
};
use op_revm::{L1BlockInfo, OpSpecId};
use proptest::prelude::*;

use crate::chain::{ALICE, Chain, Outcome};

sol! {
    #[derive(Debug)]
    interface L1Block {
        error NotDepositor();
        function setL1BlockValues(uint64 number, uint64 timestamp, uint256 basefee, bytes32 hash, uint64 sequenceNumber,
            bytes32 batcherHash, uint256 l1FeeOverhead, uint256 l1FeeScalar) external;
        function setL1BlockValuesEcotone() external;
        function setL1BlockValuesIsthmus() external;
        function setL1BlockValuesJovian() external;
        function number() external view returns (uint64);
        function timestamp() external view returns (uint64);
        function basefee() external view returns (uint256);
        function hash() external view returns (bytes32);
        function sequenceNumber() external view returns (uint64);
        function blobBaseFee() external view returns (uint256);
        function baseFeeScalar() external view returns (uint32);
        function blobBaseFeeScalar() external view returns (uint32);
        function batcherHash() external view returns (bytes32);
        function l1FeeOverhead() external view returns (uint256);
        function l1FeeScalar() external view returns (uint256);
        function operatorFeeScalar() external view returns (uint32);
        function operatorFeeConstant() external view returns (uint64);
        function daFootprintGasScalar() external view returns (uint16);
        function DEPOSITOR_ACCOUNT() external pure returns (address);
        function gasPayingToken() external pure returns (address, uint8);
        function gasPayingTokenName() external pure returns (string);
        function gasPayingTokenSymbol() external pure returns (string);
        function isCustomGasToken() external pure returns (bool);
    }
}

/// Everything that a block can learn of its L1 origin.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    pub(crate) number: u64,
    pub(crate) timestamp: u64,
    pub(crate) basefee: U256,
    pub(crate) hash: B256,
    pub(crate) sequence_number: u64,
    pub(crate) batcher: B256,
    pub(crate) overhead: U256,
    pub(crate) scalar: U256,
    pub(crate) base_fee_scalar: u32,
    pub(crate) blob_base_fee_scalar: u32,
    pub(crate) blob_base_fee: U256,
    pub(crate) operator_fee_scalar: u32,
    pub(crate) operator_fee_constant: u64,
    pub(crate) da_footprint_gas_scalar: u16,
}

impl Origin {
    /// The calldata of the L1-attributes transaction in the form of a fork.
    pub(crate) fn calldata(&self, fork: Fork) -> Vec<u8> {
        if fork < Fork::Ecotone {
            return L1Block::setL1BlockValuesCall {
                number: self.number,
                timestamp: self.timestamp,
                basefee: self.basefee,
                hash: self.hash,
                sequenceNumber: self.sequence_number,
                batcherHash: self.batcher,
                l1FeeOverhead: self.overhead,
                l1FeeScalar: self.scalar,
            }
            .abi_encode();
        }
        let selector = match fork {
            Fork::Jovian => [0x3d, 0xb6, 0xbe, 0x2b],
            Fork::Isthmus => [0x09, 0x89, 0x99, 0xbe],
            _ => [0x44, 0x0a, 0x5e, 0x20],
        };
        let mut data = selector.to_vec();
        data.extend(self.base_fee_scalar.to_be_bytes());
        data.extend(self.blob_base_fee_scalar.to_be_bytes());
        data.extend(self.sequence_number.to_be_bytes());
        data.extend(self.timestamp.to_be_bytes());
        data.extend(self.number.to_be_bytes());
        data.extend(self.basefee.to_be_bytes::<32>());
        data.extend(self.blob_base_fee.to_be_bytes::<32>());
        data.extend(self.hash);
        data.extend(self.batcher);
        if fork >= Fork::Isthmus {
            data.extend(self.operator_fee_scalar.to_be_bytes());
            data.extend(self.operator_fee_constant.to_be_bytes());
        }
        if fork >= Fork::Jovian {
            data.extend(self.da_footprint_gas_scalar.to_be_bytes());
        }
        data
    }

    pub(crate) fn set(&self, chain: &mut Chain, fork: Fork) {
        let outcome = chain.send(DEPOSITOR, L1_BLOCK, U256::ZERO, self.calldata(fork));
        assert!(outcome.success, "{}", outcome.reason());
    }
}

pub(crate) fn origins() -> impl Strategy<Value = Origin> {
    let word = || any::<[u8; 32]>().prop_map(B256::from);
    // Fees below 2^100 wei keep every product far from 2^256.
    let fee = || any::<u128>().prop_map(|v| U256::from(v >> 28));
    (
        any::<(u64, u64, u64, u64)>(),
        (fee(), fee(), any::<u64>(), any::<u32>()),
        (word(), word()),
        any::<(u32, u32, u32, u64, u16)>(),
    )
        .prop_map(
            |((number, timestamp, sequence_number, _), (basefee, blob, overhead, scalar), (hash, batcher), s)| Origin {
                number,
                timestamp,
                basefee,
                hash,
                sequence_number,
                batcher,
                overhead: U256::from(overhead),
                scalar: U256::from(scalar),
                base_fee_scalar: s.0,
                blob_base_fee_scalar: s.1,
                blob_base_fee: blob,
                operator_fee_scalar: s.2,
                operator_fee_constant: s.3,
                da_footprint_gas_scalar: s.4,
            },
        )
}

fn info(chain: &mut Chain, spec: OpSpecId) -> L1BlockInfo {
    L1BlockInfo::try_fetch(&mut chain.db, U256::from(1), spec).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn bedrock_values_are_what_execution_reads(o in origins()) {
        let mut chain = Chain::with_fork(Fork::Canyon);
        o.set(&mut chain, Fork::Canyon);
        let read = info(&mut chain, OpSpecId::CANYON);
        prop_assert_eq!(read.l1_base_fee, o.basefee);
        prop_assert_eq!(read.l1_fee_overhead, Some(o.overhead));
        prop_assert_eq!(read.l1_base_fee_scalar, o.scalar);
        check_origin(&mut chain, &o)?;
        prop_assert_eq!(chain.ask(L1_BLOCK, L1Block::l1FeeOverheadCall {}), o.overhead);
        prop_assert_eq!(chain.ask(L1_BLOCK, L1Block::l1FeeScalarCall {}), o.scalar);
    }

    #[test]
    fn packed_values_are_what_execution_reads(o in origins(), earlier in origins()) {
        for (fork, spec) in [
            (Fork::Ecotone, OpSpecId::ECOTONE),
            (Fork::Isthmus, OpSpecId::ISTHMUS),
            (Fork::Jovian, OpSpecId::JOVIAN),
        ] {
            let mut chain = Chain::with_fork(fork);
            // Over other values, so that nothing old shines through.
            earlier.set(&mut chain, fork);
            o.set(&mut chain, fork);
            let read = info(&mut chain, spec);
            prop_assert_eq!(read.l1_base_fee, o.basefee);
            prop_assert_eq!(read.l1_base_fee_scalar, U256::from(o.base_fee_scalar));
            prop_assert_eq!(read.l1_blob_base_fee, Some(o.blob_base_fee));
            prop_assert_eq!(read.l1_blob_base_fee_scalar, Some(U256::from(o.blob_base_fee_scalar)));
            check_origin(&mut chain, &o)?;
            prop_assert_eq!(chain.ask(L1_BLOCK, L1Block::blobBaseFeeCall {}), o.blob_base_fee);
            prop_assert_eq!(chain.ask(L1_BLOCK, L1Block::baseFeeScalarCall {}), o.base_fee_scalar);
            prop_assert_eq!(chain.ask(L1_BLOCK, L1Block::blobBaseFeeScalarCall {}), o.blob_base_fee_scalar);
            if fork >= Fork::Isthmus {
                prop_assert_eq!(read.operator_fee_scalar, Some(U256::from(o.operator_fee_scalar)));
                prop_assert_eq!(read.operator_fee_constant, Some(U256::from(o.operator_fee_constant)));
                prop_assert_eq!(chain.ask(L1_BLOCK, L1Block::operatorFeeScalarCall {}), o.operator_fee_scalar);
                prop_assert_eq!(chain.ask(L1_BLOCK, L1Block::operatorFeeConstantCall {}), o.operator_fee_constant);
            }
            if fork >= Fork::Jovian {
                prop_assert_eq!(read.da_footprint_gas_scalar, Some(o.da_footprint_gas_scalar));
                prop_assert_eq!(chain.ask(L1_BLOCK, L1Block::daFootprintGasScalarCall {}), o.da_footprint_gas_scalar);
            }
        }
    }
}

/// The values that every form carries.
fn check_origin(chain: &mut Chain, o: &Origin) -> Result<(), TestCaseError> {
    prop_assert_eq!(chain.ask(L1_BLOCK, L1Block::numberCall {}), o.number);
    prop_assert_eq!(chain.ask(L1_BLOCK, L1Block::timestampCall {}), o.timestamp);
    prop_assert_eq!(chain.ask(L1_BLOCK, L1Block::basefeeCall {}), o.basefee);
    prop_assert_eq!(chain.ask(L1_BLOCK, L1Block::hashCall {}), o.hash);
    prop_assert_eq!(chain.ask(L1_BLOCK, L1Block::sequenceNumberCall {}), o.sequence_number);
    prop_assert_eq!(chain.ask(L1_BLOCK, L1Block::batcherHashCall {}), o.batcher);
    Ok(())
}

#[test]
fn packed_values_lie_in_their_slots() {
    let origin = Origin {
        number: 0x1111_1111_1111_1111,
        timestamp: 0x2222_2222_2222_2222,
        basefee: U256::from(0x33),
        hash: B256::repeat_byte(0x44),
        sequence_number: 0x5555_5555_5555_5555,
        batcher: Address::repeat_byte(0x66).into_word(),
        base_fee_scalar: 0x7777_7777,
        blob_base_fee_scalar: 0x8888_8888,
        blob_base_fee: U256::from(0x99),
        operator_fee_scalar: 0xaaaa_aaaa,
        operator_fee_constant: 0xbbbb_bbbb_bbbb_bbbb,
        da_footprint_gas_scalar: 0xcccc,
        ..Origin::default()
    };
    let mut chain = Chain::with_fork(Fork::Jovian);
    origin.set(&mut chain, Fork::Jovian);
    let expected = [
        "0x0000000000000000000000000000000022222222222222221111111111111111",
        "0x0000000000000000000000000000000000000000000000000000000000000033",
        "0x4444444444444444444444444444444444444444444444444444444444444444",
        "0x0000000000000000000000000000000077777777888888885555555555555555",
        "0x0000000000000000000000006666666666666666666666666666666666666666",
        "0x0000000000000000000000000000000000000000000000000000000000000000",
        "0x0000000000000000000000000000000000000000000000000000000000000000",
        "0x0000000000000000000000000000000000000000000000000000000000000099",
        "0x000000000000000000000000000000000000ccccaaaaaaaabbbbbbbbbbbbbbbb",
    ];
    for (slot, expected) in (0..).zip(expected) {
        assert_eq!(chain.slot(L1_BLOCK, slot).to_string(), expected, "slot {slot}");
    }
}

#[test]
fn only_the_depositor_sets_values() {
    let mut chain = Chain::with_fork(Fork::Jovian);
    for fork in [Fork::Canyon, Fork::Ecotone, Fork::Isthmus, Fork::Jovian] {
        let data = Origin { number: 9, ..Origin::default() }.calldata(fork);
        let outcome: Outcome = chain.send(ALICE, L1_BLOCK, U256::ZERO, data);
        assert!(outcome.is_error::<L1Block::NotDepositor>(), "{fork}: {outcome:?}");
        assert_eq!(outcome.output.to_string(), "0x3cc50b45");
    }
    assert_eq!(chain.ask(L1_BLOCK, L1Block::numberCall {}), 0);
    assert_eq!(chain.ask(L1_BLOCK, L1Block::DEPOSITOR_ACCOUNTCall {}), DEPOSITOR);
}

#[test]
fn the_gas_token_is_native_dusk() {
    let mut chain = Chain::new();
    let token = chain.ask(L1_BLOCK, L1Block::gasPayingTokenCall {});
    assert_eq!((token._0, token._1), (address!("EeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE"), 18));
    assert_eq!(chain.ask(L1_BLOCK, L1Block::gasPayingTokenNameCall {}), "DUSK");
    assert_eq!(chain.ask(L1_BLOCK, L1Block::gasPayingTokenSymbolCall {}), "DUSK");
    assert!(!chain.ask(L1_BLOCK, L1Block::isCustomGasTokenCall {}));
}
