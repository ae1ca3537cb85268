//! `ConfigUpdate` logs: how the owner of the rollup changes the system config from L1. Source: configurability.md, and the system-config
//! parts of Holocene, Isthmus and Jovian.
//!
//! A log that is unknown or malformed is passed over, as the specification says. Known clients (op-node, kona) stop on it instead;
//! who writes such logs cannot count on either.

use crate::{config::SystemConfig, deposit::block_logs};
use alloc::vec::Vec;
use alloy_consensus::ReceiptEnvelope;
use alloy_primitives::{Address, B64, B256, Bytes, Log, U256, b256};

/// Topic 0 of `ConfigUpdate(uint256 indexed version, uint8 indexed updateType, bytes data)`.
pub const CONFIG_UPDATE: B256 = b256!("1d2b0bda21d56b8bd12d4f94ebacffdfb35f5e226f84b461103bb8beab6353be");

/// One change. The order is that of the update types, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigUpdate {
    /// Type 0: whose transactions to the batch inbox count.
    Batcher(Address),
    /// Type 1: L1 fee overhead and scalars.
    FeeScalars {
        /// Zeroed from Ecotone on.
        overhead: B256,
        /// See [`SystemConfig::scalar`].
        scalar: B256,
    },
    /// Type 2: L2 block gas limit.
    GasLimit(u64),
    /// Type 3: who signs unsafe blocks for the network. No part of the system config: no block depends on it.
    UnsafeBlockSigner(Address),
    /// Type 4: EIP-1559 denominator and elasticity (u32 each).
    Eip1559Params(B64),
    /// Type 5: the operator fee.
    OperatorFee {
        /// Per gas.
        scalar: u32,
        /// Per transaction, in wei.
        constant: u64,
    },
    /// Type 6: lowest base fee in wei.
    MinBaseFee(u64),
    /// Type 7: gas per byte of DA footprint.
    DaFootprintGasScalar(u16),
}

/// Why a log with [`CONFIG_UPDATE`] changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigUpdateFault {
    /// Version or type is missing, or there is more.
    #[error("{0} topics instead of 3")]
    Topics(usize),
    /// Only version 0 is defined.
    #[error("unknown version {0}")]
    Version(B256),
    /// Types 0 to 7 are defined.
    #[error("unknown update type {0}")]
    Type(U256),
    /// The data are not the ABI encoding of exactly the words that the type has.
    #[error("the data of update type {0} are not the ABI encoding of its fields")]
    Abi(u8),
    /// A number or address has bytes above its width.
    #[error("a field of update type {0} is out of range")]
    Range(u8),
    /// Denominator and elasticity are both zero or both not: no block can be built with one of them.
    #[error("of denominator and elasticity one is zero: {0}")]
    ZeroParam(B64),
}

/// A log that was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkippedUpdate {
    /// Index of the log in its L1 block.
    pub log_index: u64,
    /// Why.
    pub reason: ConfigUpdateFault,
}

/// What one L1 block says of the system config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigUpdates {
    /// The changes, in the order of their logs.
    pub updates: Vec<ConfigUpdate>,
    /// Logs that were passed over: the operator should hear of them.
    pub skipped: Vec<SkippedUpdate>,
}

impl ConfigUpdates {
    /// Reads the receipts of an L1 block. `emitter`: the address of the system config contract.
    pub fn of_receipts(emitter: Address, receipts: &[ReceiptEnvelope]) -> Self {
        let mut found = Self::default();
        for (log_index, log, successful) in block_logs(receipts) {
            if !successful || log.address != emitter || log.topics().first() != Some(&CONFIG_UPDATE) {
                continue;
            }
            match ConfigUpdate::decode(log) {
                Ok(update) => found.updates.push(update),
                Err(reason) => found.skipped.push(SkippedUpdate { log_index, reason }),
            }
        }
        found
    }

    /// Changes `system`. `ecotone`: is Ecotone active at the time of the L1 block?
    pub fn apply_to(&self, system: &mut SystemConfig, ecotone: bool) {
        for update in &self.updates {
            update.apply_to(system, ecotone);
        }
    }

    /// The signer of unsafe blocks that the block names last, if it names one.
    pub fn unsafe_block_signer(&self) -> Option<Address> {
        self.updates.iter().rev().find_map(|update| match update {
            ConfigUpdate::UnsafeBlockSigner(signer) => Some(*signer),
            _ => None,
        })
    }
}

impl ConfigUpdate {
    /// The change that a log stands for.
    ///
    /// # Errors
    /// See [`ConfigUpdateFault`].
    pub fn decode(log: &Log) -> Result<Self, ConfigUpdateFault> {
        use ConfigUpdateFault as Fault;
        let &[_, version, kind] = log.topics() else { return Err(Fault::Topics(log.topics().len())) };
        if !version.is_zero() {
            return Err(Fault::Version(version));
        }
        let kind = U256::from_be_bytes(kind.0);
        let kind = u8::try_from(kind).ok().filter(|kind| *kind <= 7).ok_or(Fault::Type(kind))?;
        let fields = if kind == 1 { 2 } else { 1 };
        let words = words(&log.data.data, fields).ok_or(Fault::Abi(kind))?;
        let first = words[0];
        let (low, range) = (u64::try_from(first), Fault::Range(kind));
        let address = || if first >> 160 == U256::ZERO { Ok(Address::from_word(first.into())) } else { Err(range) };
        Ok(match kind {
            0 => Self::Batcher(address()?),
            1 => Self::FeeScalars { overhead: first.into(), scalar: words[1].into() },
            2 => Self::GasLimit(low.map_err(|_| range)?),
            3 => Self::UnsafeBlockSigner(address()?),
            4 => {
                let packed = low.map_err(|_| range)?;
                let params = B64::from(packed);
                if (packed >> 32 == 0) != (packed & u64::from(u32::MAX) == 0) {
                    return Err(Fault::ZeroParam(params));
                }
                Self::Eip1559Params(params)
            }
            5 => {
                let packed = u128::try_from(first).map_err(|_| range)?;
                // The cast keeps the low half; what is above must fit the scalar.
                Self::OperatorFee { scalar: u32::try_from(packed >> 64).map_err(|_| range)?, constant: packed as u64 }
            }
            6 => Self::MinBaseFee(low.map_err(|_| range)?),
            _ => Self::DaFootprintGasScalar(u16::try_from(first).map_err(|_| range)?),
        })
    }

    /// Changes `system`. `ecotone`: is Ecotone active at the time of the L1 block? From then on the overhead is zero, and scalars of an
    /// unknown version or with set padding are passed over.
    pub fn apply_to(&self, system: &mut SystemConfig, ecotone: bool) {
        match *self {
            Self::Batcher(batcher) => system.batcher_address = batcher,
            Self::FeeScalars { scalar, .. } if ecotone => {
                if is_ecotone_scalar(&scalar) {
                    (system.overhead, system.scalar) = (B256::ZERO, scalar);
                }
            }
            Self::FeeScalars { overhead, scalar } => (system.overhead, system.scalar) = (overhead, scalar),
            Self::GasLimit(limit) => system.gas_limit = limit,
            Self::UnsafeBlockSigner(_) => {}
            Self::Eip1559Params(params) => system.eip1559_params = params,
            Self::OperatorFee { scalar, constant } => {
                (system.operator_fee_scalar, system.operator_fee_constant) = (scalar, constant);
            }
            Self::MinBaseFee(minimum) => system.min_base_fee = minimum,
            Self::DaFootprintGasScalar(scalar) => system.da_footprint_gas_scalar = scalar,
        }
    }

    /// The log as the contract emits it: for tests and for programs that play the contract.
    pub fn encode(&self, emitter: Address) -> Log {
        let word = |address: &Address| U256::from_be_bytes(address.into_word().0);
        let (kind, fields): (u8, &[U256]) = match self {
            Self::Batcher(batcher) => (0, &[word(batcher)]),
            Self::FeeScalars { overhead, scalar } => (1, &[(*overhead).into(), (*scalar).into()]),
            Self::GasLimit(limit) => (2, &[U256::from(*limit)]),
            Self::UnsafeBlockSigner(signer) => (3, &[word(signer)]),
            Self::Eip1559Params(params) => (4, &[U256::from_be_slice(params.as_slice())]),
            Self::OperatorFee { scalar, constant } => (5, &[(U256::from(*scalar) << 64) | U256::from(*constant)]),
            Self::MinBaseFee(minimum) => (6, &[U256::from(*minimum)]),
            Self::DaFootprintGasScalar(scalar) => (7, &[U256::from(*scalar)]),
        };
        let mut data = Vec::with_capacity(128);
        for word in [U256::from(32), U256::from(32 * fields.len())].iter().chain(fields) {
            data.extend_from_slice(&word.to_be_bytes::<32>());
        }
        let topics = [CONFIG_UPDATE, B256::ZERO, B256::with_last_byte(kind)];
        Log::new_unchecked(emitter, topics.to_vec(), Bytes::from(data))
    }
}

/// The content of ABI-encoded `(bytes)` that holds exactly this many words (at most 2).
fn words(data: &[u8], fields: usize) -> Option<[U256; 2]> {
    let (chunks, rest) = data.as_chunks::<32>();
    let (head, content) = chunks.split_at_checked(2)?;
    let word = |chunk: &[u8; 32]| U256::from_be_bytes(*chunk);
    let exact = rest.is_empty()
        && content.len() == fields
        && word(&head[0]) == U256::from(32)
        && word(&head[1]) == U256::from(32 * fields);
    exact.then(|| [content.first(), content.get(1)].map(|chunk| chunk.map(word).unwrap_or_default()))
}

/// Version 0 has bytes 1 to 28 zero, version 1 bytes 1 to 24; there is no other.
fn is_ecotone_scalar(scalar: &B256) -> bool {
    let padding = match scalar[0] {
        0 => 1..28,
        1 => 1..24,
        _ => return false,
    };
    scalar[padding].iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloy_consensus::{Receipt, ReceiptWithBloom};
    use alloy_primitives::keccak256;
    use proptest::prelude::*;

    const EMITTER: Address = Address::repeat_byte(0xcf);

    fn receipt(success: bool, logs: Vec<Log>) -> ReceiptEnvelope {
        ReceiptEnvelope::Eip1559(ReceiptWithBloom::from(Receipt {
            status: success.into(),
            cumulative_gas_used: 0,
            logs,
        }))
    }

    fn log(kind: u8, words: &[U256]) -> Log {
        let mut data = Vec::new();
        for word in [U256::from(32), U256::from(32 * words.len())].iter().chain(words) {
            data.extend_from_slice(&word.to_be_bytes::<32>());
        }
        Log::new_unchecked(EMITTER, vec![CONFIG_UPDATE, B256::ZERO, B256::with_last_byte(kind)], data.into())
    }

    fn updates() -> impl Strategy<Value = ConfigUpdate> {
        let address = any::<[u8; 20]>().prop_map(Address::from);
        prop_oneof![
            address.clone().prop_map(ConfigUpdate::Batcher),
            any::<[[u8; 32]; 2]>().prop_map(|[a, b]| ConfigUpdate::FeeScalars { overhead: a.into(), scalar: b.into() }),
            any::<u64>().prop_map(ConfigUpdate::GasLimit),
            address.prop_map(ConfigUpdate::UnsafeBlockSigner),
            any::<[u32; 2]>()
                .prop_filter("both or none", |[a, b]| (*a == 0) == (*b == 0))
                .prop_map(|[a, b]| { ConfigUpdate::Eip1559Params(B64::from((u64::from(a) << 32) | u64::from(b))) }),
            (any::<u32>(), any::<u64>()).prop_map(|(scalar, constant)| ConfigUpdate::OperatorFee { scalar, constant }),
            any::<u64>().prop_map(ConfigUpdate::MinBaseFee),
            any::<u16>().prop_map(ConfigUpdate::DaFootprintGasScalar),
        ]
    }

    #[test]
    fn the_topic_is_the_hash_of_the_signature() {
        assert_eq!(keccak256("ConfigUpdate(uint256,uint8,bytes)"), CONFIG_UPDATE);
    }

    #[test]
    fn each_type_changes_its_own_field() {
        let batcher = Address::repeat_byte(7);
        let params = B64::from([0, 0, 0, 50, 0, 0, 0, 2]);
        let mut system = SystemConfig::default();
        for update in [
            log(0, &[U256::from_be_bytes(batcher.into_word().0)]),
            log(1, &[U256::from(9), SystemConfig::scalar_v1(3, 4).into()]),
            log(2, &[U256::from(30_000_000)]),
            log(4, &[U256::from_be_slice(params.as_slice())]),
            log(5, &[(U256::from(11) << 64) | U256::from(12)]),
            log(6, &[U256::from(13)]),
            log(7, &[U256::from(14)]),
        ] {
            ConfigUpdate::decode(&update).unwrap().apply_to(&mut system, true);
        }
        let expected = SystemConfig {
            batcher_address: batcher,
            overhead: B256::ZERO,
            scalar: SystemConfig::scalar_v1(3, 4),
            gas_limit: 30_000_000,
            eip1559_params: params,
            operator_fee_scalar: 11,
            operator_fee_constant: 12,
            min_base_fee: 13,
            da_footprint_gas_scalar: 14,
        };
        assert_eq!(system, expected);
    }

    #[test]
    fn before_ecotone_overhead_and_any_scalar_count() {
        let mut system = SystemConfig::default();
        let update = ConfigUpdate::FeeScalars { overhead: B256::with_last_byte(1), scalar: B256::repeat_byte(9) };
        update.apply_to(&mut system, false);
        assert_eq!((system.overhead, system.scalar), (B256::with_last_byte(1), B256::repeat_byte(9)));
    }

    #[test]
    fn from_ecotone_on_scalars_with_padding_or_of_an_unknown_version_are_ignored() {
        let before = SystemConfig { scalar: SystemConfig::scalar_v1(1, 2), ..Default::default() };
        let scalar = |version: u8, set: usize| {
            let mut word = [0u8; 32];
            (word[0], word[set]) = (version, 1);
            if set == 0 {
                word[0] = version;
            }
            let mut system = before;
            ConfigUpdate::FeeScalars { overhead: B256::ZERO, scalar: word.into() }.apply_to(&mut system, true);
            system != before
        };
        assert_eq!([scalar(0, 31), scalar(0, 28), scalar(0, 27), scalar(0, 1)], [true, true, false, false]);
        assert_eq!([scalar(1, 31), scalar(1, 24), scalar(1, 23), scalar(1, 1)], [true, true, false, false]);
        assert!(!scalar(2, 31));
    }

    #[test]
    fn the_signer_of_unsafe_blocks_is_reported_apart() {
        let signer = Address::repeat_byte(3);
        let logs = vec![
            ConfigUpdate::UnsafeBlockSigner(Address::ZERO).encode(EMITTER),
            ConfigUpdate::UnsafeBlockSigner(signer).encode(EMITTER),
        ];
        let found = ConfigUpdates::of_receipts(EMITTER, &[receipt(true, logs)]);
        assert_eq!(found.unsafe_block_signer(), Some(signer));
        let mut system = SystemConfig::default();
        found.apply_to(&mut system, true);
        assert_eq!(system, SystemConfig::default());
    }

    #[test]
    fn what_is_unknown_or_malformed_is_passed_over_and_named() {
        use ConfigUpdateFault as Fault;
        let mut other_version = log(2, &[U256::from(1)]);
        other_version.data.topics_mut_unchecked()[1] = B256::with_last_byte(1);
        let mut topics = log(2, &[U256::from(1)]);
        topics.data.topics_mut_unchecked().pop();
        let mut offset = log(2, &[U256::from(1)]).data.data.to_vec();
        offset[31] = 33;
        let offset = Log::new_unchecked(EMITTER, log(2, &[]).topics().to_vec(), offset.into());
        let half = U256::from(6u64);
        let cases = [
            (other_version, Fault::Version(B256::with_last_byte(1))),
            (topics, Fault::Topics(2)),
            (offset, Fault::Abi(2)),
            (log(8, &[U256::from(1)]), Fault::Type(U256::from(8))),
            (log(2, &[U256::from(1), U256::ZERO]), Fault::Abi(2)),
            (log(1, &[U256::from(1)]), Fault::Abi(1)),
            (log(0, &[U256::from(1) << 160]), Fault::Range(0)),
            (log(2, &[U256::from(1) << 64]), Fault::Range(2)),
            (log(3, &[U256::MAX]), Fault::Range(3)),
            (log(4, &[U256::from(1) << 64]), Fault::Range(4)),
            (log(4, &[half]), Fault::ZeroParam(B64::from(6u64))),
            (log(5, &[U256::from(1) << 96]), Fault::Range(5)),
            (log(5, &[U256::from(1) << 128]), Fault::Range(5)),
            (log(6, &[U256::MAX]), Fault::Range(6)),
            (log(7, &[U256::from(65_536)]), Fault::Range(7)),
        ];
        let good = ConfigUpdate::GasLimit(5);
        let logs: Vec<_> = cases.iter().map(|(log, _)| log.clone()).chain([good.encode(EMITTER)]).collect();
        let found = ConfigUpdates::of_receipts(EMITTER, &[receipt(true, logs)]);
        assert_eq!(found.updates, [good], "the good one after them still counts");
        let reasons: Vec<_> = found.skipped.iter().map(|skipped| skipped.reason).collect();
        assert_eq!(reasons, cases.map(|(_, fault)| fault));
        assert_eq!(found.skipped[4].log_index, 4);
    }

    #[test]
    fn only_successful_logs_of_the_contract_count() {
        let update = ConfigUpdate::GasLimit(5).encode(EMITTER);
        let foreign = ConfigUpdate::GasLimit(6).encode(Address::ZERO);
        let receipts = [receipt(false, vec![update.clone()]), receipt(true, vec![foreign])];
        assert_eq!(ConfigUpdates::of_receipts(EMITTER, &receipts), ConfigUpdates::default());
        assert_eq!(ConfigUpdates::of_receipts(EMITTER, &[receipt(true, vec![update])]).updates.len(), 1);
    }

    proptest! {
        #[test]
        fn updates_survive(update in updates()) {
            prop_assert_eq!(ConfigUpdate::decode(&update.encode(EMITTER)), Ok(update));
        }

        #[test]
        fn no_log_makes_the_decoder_panic(kind: [u8; 32], data in proptest::collection::vec(any::<u8>(), 0..200), small in 0u8..9) {
            for kind in [B256::from(kind), B256::with_last_byte(small)] {
                let log = Log::new_unchecked(EMITTER, vec![CONFIG_UPDATE, B256::ZERO, kind], data.clone().into());
                let _ = ConfigUpdate::decode(&log);
            }
        }
    }
}
