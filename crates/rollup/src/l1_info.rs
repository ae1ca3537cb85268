//! The L1-attributes deposit: the first transaction of every L2 block.
//!
//! Source: OP Stack specification, deposits.md and the L1-attributes parts of Ecotone, Isthmus and Jovian.

use crate::{
    config::{RollupConfig, SystemConfig},
    source_hash::DepositSource,
};
use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, address};
use op_alloy_consensus::TxDeposit;

/// Sender of the L1-attributes deposit.
pub const DEPOSITOR_ACCOUNT: Address = address!("deaddeaddeaddeaddeaddeaddeaddeaddead0001");
/// The predeploy that keeps the attributes.
pub const L1_BLOCK_PREDEPLOY: Address = address!("4200000000000000000000000000000000000015");

const SELECTOR_BEDROCK: [u8; 4] = [0x01, 0x5d, 0x8e, 0xb9];
const SELECTOR_ECOTONE: [u8; 4] = [0x44, 0x0a, 0x5e, 0x20];
const SELECTOR_ISTHMUS: [u8; 4] = [0x09, 0x89, 0x99, 0xbe];
const SELECTOR_JOVIAN: [u8; 4] = [0x3d, 0xb6, 0xbe, 0x2b];

const LEN_BEDROCK: usize = 4 + 8 * 32;
const LEN_ECOTONE: usize = 164;
const LEN_ISTHMUS: usize = 176;
const LEN_JOVIAN: usize = 178;

/// Gas of the deposit since Regolith.
const REGOLITH_SYSTEM_TX_GAS: u64 = 1_000_000;
/// Gas of the deposit before.
const BEDROCK_SYSTEM_TX_GAS: u64 = 150_000_000;

/// What the system config's zero means (rollup spec, Jovian).
const DEFAULT_DA_FOOTPRINT_GAS_SCALAR: u16 = 400;

/// Which encoding the deposit has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of the forks")]
pub enum L1InfoFork {
    Bedrock,
    Ecotone,
    Isthmus,
    Jovian,
}

/// What an L2 block says of its L1 origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct L1Info {
    /// The encoding that it has, or is to have.
    pub fork: L1InfoFork,
    /// Number of the L1 block.
    pub number: u64,
    /// Its time in seconds.
    pub time: u64,
    /// Its base fee in wei.
    pub base_fee: U256,
    /// Its hash.
    pub hash: B256,
    /// How many L2 blocks of the same origin came before.
    pub sequence_number: u64,
    /// Who posts batches.
    pub batcher: Address,
    /// Bedrock only.
    pub fee_overhead: U256,
    /// Bedrock only.
    pub fee_scalar: U256,
    /// From Ecotone on.
    pub base_fee_scalar: u32,
    /// From Ecotone on.
    pub blob_base_fee_scalar: u32,
    /// From Ecotone on, in wei.
    pub blob_base_fee: U256,
    /// From Isthmus on.
    pub operator_fee_scalar: u32,
    /// From Isthmus on, in wei.
    pub operator_fee_constant: u64,
    /// From Jovian on.
    pub da_footprint_gas_scalar: u16,
}

/// Call data that is no L1-attributes call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum L1InfoError {
    /// An unknown function.
    #[error("selector {0} is no known setL1BlockValues function")]
    Selector(Bytes),
    /// A known function with call data of another length.
    #[error("{fork:?} L1 attributes must be {expected} bytes, not {found}")]
    Length {
        /// The encoding that the selector names.
        fork: L1InfoFork,
        /// Its length.
        expected: usize,
        /// The length found.
        found: usize,
    },
    /// A number that does not fit its field.
    #[error("field {0} of the L1 attributes is out of range")]
    Range(&'static str),
}

impl L1InfoFork {
    /// The encoding for the L2 block at `timestamp`. The block in which a fork activates still speaks the encoding before: the
    /// contract is only upgraded in it. At genesis all active forks are active.
    pub fn at(config: &RollupConfig, timestamp: u64) -> Self {
        let settled = |time: Option<u64>| {
            RollupConfig::active(time, timestamp)
                && (RollupConfig::active(time, config.genesis.l2_time)
                    || timestamp
                        .checked_sub(config.block_time)
                        .is_some_and(|before| RollupConfig::active(time, before)))
        };
        if settled(config.forks.jovian) {
            Self::Jovian
        } else if settled(config.forks.isthmus) {
            Self::Isthmus
        } else if settled(config.forks.ecotone) {
            Self::Ecotone
        } else {
            Self::Bedrock
        }
    }
}

impl L1Info {
    /// Fills in what the system config decides.
    #[expect(clippy::too_many_arguments, reason = "the fields of the L1 block")]
    pub fn new(
        fork: L1InfoFork,
        system: &SystemConfig,
        number: u64,
        time: u64,
        base_fee: U256,
        blob_base_fee: U256,
        hash: B256,
        sequence_number: u64,
    ) -> Self {
        let (base_fee_scalar, blob_base_fee_scalar) = system.fee_scalars();
        Self {
            fork,
            number,
            time,
            base_fee,
            hash,
            sequence_number,
            batcher: system.batcher_address,
            fee_overhead: system.overhead.into(),
            fee_scalar: system.scalar.into(),
            base_fee_scalar,
            blob_base_fee_scalar,
            blob_base_fee,
            operator_fee_scalar: system.operator_fee_scalar,
            operator_fee_constant: system.operator_fee_constant,
            da_footprint_gas_scalar: match system.da_footprint_gas_scalar {
                0 => DEFAULT_DA_FOOTPRINT_GAS_SCALAR,
                scalar => scalar,
            },
        }
    }

    /// Call data of the deposit.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(LEN_BEDROCK);
        if self.fork == L1InfoFork::Bedrock {
            out.extend_from_slice(&SELECTOR_BEDROCK);
            for word in [
                U256::from(self.number),
                U256::from(self.time),
                self.base_fee,
                self.hash.into(),
                U256::from(self.sequence_number),
                U256::from_be_bytes(self.batcher.into_word().0),
                self.fee_overhead,
                self.fee_scalar,
            ] {
                out.extend_from_slice(&word.to_be_bytes::<32>());
            }
            return out.into();
        }
        out.extend_from_slice(match self.fork {
            L1InfoFork::Bedrock | L1InfoFork::Ecotone => &SELECTOR_ECOTONE,
            L1InfoFork::Isthmus => &SELECTOR_ISTHMUS,
            L1InfoFork::Jovian => &SELECTOR_JOVIAN,
        });
        out.extend_from_slice(&self.base_fee_scalar.to_be_bytes());
        out.extend_from_slice(&self.blob_base_fee_scalar.to_be_bytes());
        out.extend_from_slice(&self.sequence_number.to_be_bytes());
        out.extend_from_slice(&self.time.to_be_bytes());
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.base_fee.to_be_bytes::<32>());
        out.extend_from_slice(&self.blob_base_fee.to_be_bytes::<32>());
        out.extend_from_slice(self.hash.as_slice());
        out.extend_from_slice(self.batcher.into_word().as_slice());
        if self.fork >= L1InfoFork::Isthmus {
            out.extend_from_slice(&self.operator_fee_scalar.to_be_bytes());
            out.extend_from_slice(&self.operator_fee_constant.to_be_bytes());
        }
        if self.fork >= L1InfoFork::Jovian {
            out.extend_from_slice(&self.da_footprint_gas_scalar.to_be_bytes());
        }
        out.into()
    }

    /// Reads the call data of an L1-attributes deposit.
    ///
    /// # Errors
    /// See [`L1InfoError`].
    pub fn decode(data: &[u8]) -> Result<Self, L1InfoError> {
        let selector = data.get(..4).unwrap_or(data);
        let fork = match selector {
            s if s == SELECTOR_BEDROCK => L1InfoFork::Bedrock,
            s if s == SELECTOR_ECOTONE => L1InfoFork::Ecotone,
            s if s == SELECTOR_ISTHMUS => L1InfoFork::Isthmus,
            s if s == SELECTOR_JOVIAN => L1InfoFork::Jovian,
            other => return Err(L1InfoError::Selector(Bytes::copy_from_slice(other))),
        };
        let expected = match fork {
            L1InfoFork::Bedrock => LEN_BEDROCK,
            L1InfoFork::Ecotone => LEN_ECOTONE,
            L1InfoFork::Isthmus => LEN_ISTHMUS,
            L1InfoFork::Jovian => LEN_JOVIAN,
        };
        if data.len() != expected {
            return Err(L1InfoError::Length { fork, expected, found: data.len() });
        }
        let mut info = Self {
            fork,
            number: 0,
            time: 0,
            base_fee: U256::ZERO,
            hash: B256::ZERO,
            sequence_number: 0,
            batcher: Address::ZERO,
            fee_overhead: U256::ZERO,
            fee_scalar: U256::ZERO,
            base_fee_scalar: 0,
            blob_base_fee_scalar: 0,
            blob_base_fee: U256::ZERO,
            operator_fee_scalar: 0,
            operator_fee_constant: 0,
            da_footprint_gas_scalar: 0,
        };
        // The length was checked: every slice below lies within `data`.
        let word = |at: usize| U256::from_be_slice(&data[at..at + 32]);
        let int =
            |at: usize, len: usize| data[at..at + len].iter().fold(0u64, |acc, byte| (acc << 8) | u64::from(*byte));
        let fits_u64 = |value: U256, field| u64::try_from(value).map_err(|_| L1InfoError::Range(field));
        if fork == L1InfoFork::Bedrock {
            info.number = fits_u64(word(4), "number")?;
            info.time = fits_u64(word(36), "time")?;
            info.base_fee = word(68);
            info.hash = word(100).into();
            info.sequence_number = fits_u64(word(132), "sequence number")?;
            info.batcher = Address::from_word(word(164).into());
            info.fee_overhead = word(196);
            info.fee_scalar = word(228);
            return Ok(info);
        }
        // Masks cannot lose anything: four-byte fields.
        info.base_fee_scalar = int(4, 4) as u32;
        info.blob_base_fee_scalar = int(8, 4) as u32;
        info.sequence_number = int(12, 8);
        info.time = int(20, 8);
        info.number = int(28, 8);
        info.base_fee = word(36);
        info.blob_base_fee = word(68);
        info.hash = word(100).into();
        info.batcher = Address::from_word(word(132).into());
        if fork >= L1InfoFork::Isthmus {
            info.operator_fee_scalar = int(164, 4) as u32;
            info.operator_fee_constant = int(168, 8);
        }
        if fork >= L1InfoFork::Jovian {
            info.da_footprint_gas_scalar = int(176, 2) as u16;
        }
        Ok(info)
    }

    /// The deposit transaction. `regolith`: is Regolith active for the L2 block?
    pub fn deposit(&self, regolith: bool) -> TxDeposit {
        TxDeposit {
            source_hash: self.source_hash(),
            from: DEPOSITOR_ACCOUNT,
            to: TxKind::Call(L1_BLOCK_PREDEPLOY),
            mint: 0,
            value: U256::ZERO,
            gas_limit: if regolith { REGOLITH_SYSTEM_TX_GAS } else { BEDROCK_SYSTEM_TX_GAS },
            is_system_transaction: !regolith,
            input: self.encode(),
        }
    }

    /// Source hash of the deposit (domain 1).
    pub fn source_hash(&self) -> B256 {
        DepositSource::L1Info { l1_block_hash: self.hash, sequence_number: self.sequence_number }.hash()
    }

    /// The system config that this block was built under, as far as the deposit holds it. The rest is in the block's header.
    pub fn apply_to(&self, system: &mut SystemConfig) {
        system.batcher_address = self.batcher;
        if self.fork == L1InfoFork::Bedrock {
            system.overhead = self.fee_overhead.into();
            system.scalar = self.fee_scalar.into();
            return;
        }
        system.overhead = B256::ZERO;
        system.scalar = SystemConfig::scalar_v1(self.base_fee_scalar, self.blob_base_fee_scalar);
        system.operator_fee_scalar = self.operator_fee_scalar;
        system.operator_fee_constant = self.operator_fee_constant;
        system.da_footprint_gas_scalar = self.da_footprint_gas_scalar;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{hex, keccak256};
    use proptest::prelude::*;

    fn sample(fork: L1InfoFork) -> L1Info {
        let system = SystemConfig {
            batcher_address: address!("e72444b000000000000000000000000000000001"),
            scalar: SystemConfig::scalar_v1(1368, 810_949),
            operator_fee_scalar: 7,
            operator_fee_constant: 8,
            ..Default::default()
        };
        L1Info::new(
            fork,
            &system,
            17_250,
            1_762_949_437,
            U256::from(1_000_000_000u64),
            U256::from(1),
            B256::repeat_byte(7),
            3,
        )
    }

    #[test]
    fn each_encoding_has_its_selector_length_and_survives() {
        for (fork, selector, len) in [
            (L1InfoFork::Bedrock, hex!("015d8eb9"), 260),
            (L1InfoFork::Ecotone, hex!("440a5e20"), 164),
            (L1InfoFork::Isthmus, hex!("098999be"), 176),
            (L1InfoFork::Jovian, hex!("3db6be2b"), 178),
        ] {
            let info = sample(fork);
            let data = info.encode();
            assert_eq!((&data[..4], data.len()), (&selector[..], len));
            let back = L1Info::decode(&data).unwrap();
            assert_eq!(back.encode(), data);
            assert_eq!(
                (back.number, back.time, back.sequence_number, back.hash),
                (17_250, 1_762_949_437, 3, info.hash)
            );
        }
    }

    #[test]
    fn selectors_are_the_hashes_of_the_signatures() {
        for (signature, selector) in [
            ("setL1BlockValues(uint64,uint64,uint256,bytes32,uint64,bytes32,uint256,uint256)", SELECTOR_BEDROCK),
            ("setL1BlockValuesEcotone()", SELECTOR_ECOTONE),
            ("setL1BlockValuesIsthmus()", SELECTOR_ISTHMUS),
            ("setL1BlockValuesJovian()", SELECTOR_JOVIAN),
        ] {
            assert_eq!(keccak256(signature)[..4], selector, "{signature}");
        }
    }

    #[test]
    fn da_footprint_scalar_zero_is_written_as_400() {
        assert_eq!(sample(L1InfoFork::Jovian).da_footprint_gas_scalar, 400);
    }

    #[test]
    fn what_is_no_attributes_call_is_refused() {
        assert!(matches!(L1Info::decode(&[]), Err(L1InfoError::Selector(_))));
        assert!(matches!(L1Info::decode(&[1, 2, 3, 4, 5]), Err(L1InfoError::Selector(_))));
        let mut data = sample(L1InfoFork::Isthmus).encode().to_vec();
        data.push(0);
        assert!(matches!(L1Info::decode(&data), Err(L1InfoError::Length { found: 177, .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(selector in 0usize..4, body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let selector = [SELECTOR_BEDROCK, SELECTOR_ECOTONE, SELECTOR_ISTHMUS, SELECTOR_JOVIAN][selector];
            let data: Vec<u8> = selector.into_iter().chain(body).collect();
            let _ = L1Info::decode(&data);
        }
    }
}
