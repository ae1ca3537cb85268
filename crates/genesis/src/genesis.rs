//! Block 0 of an L2.

use std::collections::BTreeMap;

use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_primitives::{Address, B64, B256, Bytes, U256};

use crate::{
    alloc::{self, GenesisAccount},
    error::GenesisError,
    fork::Fork,
    predeploys,
    spec::{NetworkSpec, RollupParams},
};

/// What stands in the header's `withdrawalsRoot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithdrawalsRoot {
    /// Nothing: the header has no such field (before Canyon).
    Absent,
    /// The root of the empty trie (Canyon to Holocene).
    EmptyTrie,
    /// The storage root of the L2ToL1MessagePasser (since Isthmus).
    MessagePasserStorage,
}

/// The header fields of block 0 that do not depend on its state.
///
/// Whoever owns the trie adds the state root and the withdrawals root. Everything else is fixed: no ommers, no
/// transactions, no receipts, empty bloom, no gas used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisHeader {
    /// Zero for a network of our own.
    pub parent_hash: B256,
    /// Zero for a network of our own.
    pub number: u64,
    /// In seconds since 1970.
    pub timestamp: u64,
    /// Gas limit.
    pub gas_limit: u64,
    /// In wei.
    pub base_fee: u64,
    /// The fee parameters of the next block, since Holocene; see the EIP-1559 rules of the OP Stack.
    pub extra_data: Bytes,
    /// Zero for a network of our own.
    pub difficulty: U256,
    /// Zero for a network of our own.
    pub nonce: B64,
    /// Zero for a network of our own.
    pub mix_hash: B256,
    /// The sequencer fee vault.
    pub beneficiary: Address,
    /// What to put into `withdrawalsRoot`.
    pub withdrawals_root: WithdrawalsRoot,
    /// Since Ecotone: zero.
    pub parent_beacon_block_root: Option<B256>,
    /// Since Ecotone: zero.
    pub blob_gas_used: Option<u64>,
    /// Since Ecotone: zero.
    pub excess_blob_gas: Option<u64>,
    /// Since Isthmus: the hash of no requests.
    pub requests_hash: Option<B256>,
}

/// The beginning of an L2: what its block 0 holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct L2Genesis {
    /// All accounts.
    pub alloc: BTreeMap<Address, GenesisAccount>,
    /// The header, as far as it does not depend on the accounts.
    pub header: GenesisHeader,
    /// The rules from here on.
    pub rollup: RollupParams,
}

impl L2Genesis {
    /// Makes the first block of a network.
    ///
    /// # Errors
    /// What [`NetworkSpec::validate`] finds, [`GenesisError::AccountCollision`] if a funded account stands where a
    /// contract belongs.
    pub fn build(spec: &NetworkSpec) -> Result<Self, GenesisError> {
        spec.validate()?;
        let rollup = &spec.rollup;
        let header = GenesisHeader {
            parent_hash: B256::ZERO,
            number: 0,
            timestamp: rollup.l2_time,
            gas_limit: rollup.system_config.gas_limit,
            base_fee: spec.base_fee,
            extra_data: extra_data(rollup),
            difficulty: U256::ZERO,
            nonce: B64::ZERO,
            mix_hash: B256::ZERO,
            beneficiary: predeploys::SEQUENCER_FEE_VAULT,
            ..GenesisHeader::fork_fields(rollup)
        };
        Ok(Self { alloc: alloc::build(spec)?, header, rollup: rollup.clone() })
    }

    /// Storage of the L2ToL1MessagePasser, whose root Isthmus puts into the header.
    pub fn message_passer_storage(&self) -> Option<&BTreeMap<B256, B256>> {
        self.alloc.get(&predeploys::L2_TO_L1_MESSAGE_PASSER).map(|account| &account.storage)
    }
}

impl GenesisHeader {
    /// The fields that exist or not, depending on the forks active in block 0; the others are empty.
    pub(crate) fn fork_fields(rollup: &RollupParams) -> Self {
        let ecotone = rollup.active_at_genesis(Fork::Ecotone);
        let isthmus = rollup.active_at_genesis(Fork::Isthmus);
        Self {
            parent_hash: B256::ZERO,
            number: 0,
            timestamp: 0,
            gas_limit: 0,
            base_fee: 0,
            extra_data: Bytes::new(),
            difficulty: U256::ZERO,
            nonce: B64::ZERO,
            mix_hash: B256::ZERO,
            beneficiary: Address::ZERO,
            withdrawals_root: if isthmus {
                WithdrawalsRoot::MessagePasserStorage
            } else if rollup.active_at_genesis(Fork::Canyon) {
                WithdrawalsRoot::EmptyTrie
            } else {
                WithdrawalsRoot::Absent
            },
            parent_beacon_block_root: ecotone.then_some(B256::ZERO),
            blob_gas_used: ecotone.then_some(0),
            excess_blob_gas: ecotone.then_some(0),
            requests_hash: isthmus.then_some(EMPTY_REQUESTS_HASH),
        }
    }
}

/// Fee parameters in the header: version, denominator, elasticity, and since Jovian the least base fee. Never zeros:
/// a header carries effective values.
fn extra_data(rollup: &RollupParams) -> Bytes {
    if !rollup.active_at_genesis(Fork::Holocene) {
        return Bytes::new();
    }
    let (denominator, elasticity) = rollup.initial_eip1559();
    let jovian = rollup.active_at_genesis(Fork::Jovian);
    let mut bytes = vec![u8::from(jovian)];
    bytes.extend(denominator.to_be_bytes());
    bytes.extend(elasticity.to_be_bytes());
    if jovian {
        bytes.extend(rollup.system_config.min_base_fee.to_be_bytes());
    }
    bytes.into()
}
