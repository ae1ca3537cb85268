//! SystemConfig: what the owner of the rollup may change while it runs.
//!
//! Derivation reads the changes from `ConfigUpdate` logs. Programs of the OP Stack stop at one that is malformed, so a value that has
//! no well-formed log is refused.

use alloc::vec::Vec;

use alloy_primitives::{Address, B256, U256};
use alloy_rlp::{RlpDecodable, RlpEncodable};
use alloy_sol_types::SolValue;

use crate::abi::{self, ConfigUpdate};
use crate::args::{
    SetBatcherHash, SetDaFootprintGasScalar, SetEip1559Params, SetGasConfigEcotone, SetGasLimit, SetMinBaseFee,
    SetOperatorFeeScalars, SetUnsafeBlockSigner, TransferOwnership,
};
use crate::host::{Host, Storage};
use crate::portal::{MAX_BLOCK_DEPOSIT_GAS, SYSTEM_TX_GAS};
use crate::refusal::{Error, Refusal};
use crate::settlement::{RECORD_GAS, Settlement};

/// Least gas limit of L2 blocks: they must hold the deposits of an L1 block and the L1 attributes (`SystemConfig.minimumGasLimit`).
pub const MIN_GAS_LIMIT: u64 = MAX_BLOCK_DEPOSIT_GAS + SYSTEM_TX_GAS;

/// Highest gas limit of L2 blocks (`SystemConfig.maximumGasLimit`).
pub const MAX_GAS_LIMIT: u64 = 500_000_000;

/// Highest elasticity: the gas target, which is the gas limit divided by it, is not zero at any gas limit. op-geth divides by the target.
pub const MAX_ELASTICITY: u32 = MIN_GAS_LIMIT as u32;

/// Highest floor of the base fee, in wei (0.07 DUSK for each gas): from here a base fee still has far to go to the end of 64 bits, where
/// no block could be built any more, and no way would lead back.
pub const MAX_MIN_BASE_FEE: u64 = 1 << 56;

const CONFIG_KEY: &[u8] = b"config";

/// Kinds of `ConfigUpdate` logs (system config specification).
mod update {
    pub(super) const BATCHER: u8 = 0;
    pub(super) const FEE_SCALARS: u8 = 1;
    pub(super) const GAS_LIMIT: u8 = 2;
    pub(super) const UNSAFE_BLOCK_SIGNER: u8 = 3;
    pub(super) const EIP_1559_PARAMS: u8 = 4;
    pub(super) const OPERATOR_FEE_PARAMS: u8 = 5;
    pub(super) const MIN_BASE_FEE: u8 = 6;
    pub(super) const DA_FOOTPRINT_GAS_SCALAR: u8 = 7;
}

/// All values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct SystemConfig {
    /// Who may change them.
    pub owner: Address,
    /// Whose envelopes are batches.
    pub batcher: Address,
    /// L1 fee overhead of Bedrock; unused since Ecotone.
    pub overhead: B256,
    /// L1 fee scalars: version, zeros, blob base fee scalar, base fee scalar.
    pub scalar: B256,
    /// Gas limit of L2 blocks.
    pub gas_limit: u64,
    /// How slowly the L2 base fee moves; 0 means the chain's constant.
    pub eip1559_denominator: u32,
    /// Gas limit divided by gas target; 0 means the chain's constant.
    pub eip1559_elasticity: u32,
    /// Operator fee in millionths of a wei for each gas.
    pub operator_fee_scalar: u32,
    /// Operator fee in wei for each transaction.
    pub operator_fee_constant: u64,
    /// Least base fee in wei.
    pub min_base_fee: u64,
    /// Gas for each byte of data-availability footprint; 0 means the protocol's default.
    pub da_footprint_gas_scalar: u16,
    /// Who signs L2 blocks that are gossiped before they are on L1.
    pub unsafe_block_signer: Address,
}

impl SystemConfig {
    /// The base fee scalar and the blob base fee scalar of [`Self::scalar`]. Version 0 has no blob base fee scalar.
    pub fn fee_scalars(&self) -> (u32, u32) {
        // The scalars are the lowest eight bytes.
        let low = U256::from_be_bytes(self.scalar.0).as_limbs()[0];
        let blob = if self.scalar.first() == Some(&1) { low >> 32 } else { 0 };
        (low as u32, blob as u32)
    }

    /// The scalar word of Ecotone (version 1).
    pub fn scalar_v1(basefee_scalar: u32, blobbasefee_scalar: u32) -> B256 {
        let version: U256 = U256::from(1) << 248;
        let blob: U256 = U256::from(blobbasefee_scalar) << 32;
        (version | blob | U256::from(basefee_scalar)).into()
    }

    /// The record under which the contract keeps these values: key and value.
    pub(crate) fn record(&self) -> (Vec<u8>, Vec<u8>) {
        (CONFIG_KEY.into(), alloy_rlp::encode(self))
    }

    /// Reads the values of the system config contract.
    ///
    /// # Errors
    /// If they are missing or damaged, or the ledger cannot answer.
    pub fn load<S: Storage>(storage: &S, contract: &B256) -> Result<Self, Error<S::Fault>> {
        load(storage, contract)
    }
}

pub(crate) fn load<S: Storage>(storage: &S, contract: &B256) -> Result<SystemConfig, Error<S::Fault>> {
    let bytes = storage.get(contract, CONFIG_KEY)?.unwrap_or_default();
    alloy_rlp::decode_exact(bytes).map_err(|_| Refusal::Damaged("the system configuration").into())
}

/// A change of the configuration, as its entry point asks for it.
pub(crate) trait Change {
    /// Makes the change and returns the kind and the data of the log that tells of it; none for what L2 does not know.
    fn apply(self, config: &mut SystemConfig) -> Result<Option<(u8, Vec<u8>)>, Refusal>;
}

/// Runs a change, if the owner asks for it.
pub(crate) fn change<H: Host>(
    settlement: &Settlement,
    host: &mut H,
    change: impl Change,
) -> Result<(), Error<H::Fault>> {
    let contract = &settlement.contracts().system_config;
    let attached = host.attached();
    if attached != 0 {
        return Err(Refusal::NotPayable("the system configuration", attached).into());
    }
    let mut config = load(host, contract)?;
    let caller = host.caller().address();
    if caller != config.owner {
        return Err(Refusal::NotOwner { owner: config.owner, caller }.into());
    }
    let update = change.apply(&mut config)?;
    host.charge(RECORD_GAS)?;
    let (key, value) = config.record();
    host.set(contract, &key, Some(value));
    if let Some((kind, data)) = update {
        abi::log(host, contract, &ConfigUpdate { version: U256::ZERO, updateType: kind, data: data.into() });
    }
    Ok(())
}

impl Change for SetBatcherHash {
    fn apply(self, config: &mut SystemConfig) -> Result<Option<(u8, Vec<u8>)>, Refusal> {
        let batcher = Address::from_word(self.batcher_hash);
        if batcher.is_zero() || batcher.into_word() != self.batcher_hash {
            return Err(Refusal::BatcherHash(self.batcher_hash));
        }
        config.batcher = batcher;
        Ok(Some((update::BATCHER, self.batcher_hash.abi_encode())))
    }
}

impl Change for SetGasConfigEcotone {
    fn apply(self, config: &mut SystemConfig) -> Result<Option<(u8, Vec<u8>)>, Refusal> {
        config.scalar = SystemConfig::scalar_v1(self.basefee_scalar, self.blobbasefee_scalar);
        Ok(Some((update::FEE_SCALARS, (config.overhead, config.scalar).abi_encode())))
    }
}

impl Change for SetGasLimit {
    fn apply(self, config: &mut SystemConfig) -> Result<Option<(u8, Vec<u8>)>, Refusal> {
        if !(MIN_GAS_LIMIT..=MAX_GAS_LIMIT).contains(&self.gas_limit) {
            return Err(Refusal::GasLimit(self.gas_limit));
        }
        config.gas_limit = self.gas_limit;
        Ok(Some((update::GAS_LIMIT, U256::from(self.gas_limit).abi_encode())))
    }
}

impl Change for SetEip1559Params {
    fn apply(self, config: &mut SystemConfig) -> Result<Option<(u8, Vec<u8>)>, Refusal> {
        let Self { denominator, elasticity } = self;
        if denominator == 0 || !(1..=MAX_ELASTICITY).contains(&elasticity) {
            return Err(Refusal::Eip1559 { denominator, elasticity });
        }
        (config.eip1559_denominator, config.eip1559_elasticity) = (denominator, elasticity);
        let high: U256 = U256::from(denominator) << 32;
        let packed = high | U256::from(elasticity);
        Ok(Some((update::EIP_1559_PARAMS, packed.abi_encode())))
    }
}

impl Change for SetOperatorFeeScalars {
    fn apply(self, config: &mut SystemConfig) -> Result<Option<(u8, Vec<u8>)>, Refusal> {
        config.operator_fee_scalar = self.operator_fee_scalar;
        config.operator_fee_constant = self.operator_fee_constant;
        let high: U256 = U256::from(self.operator_fee_scalar) << 64;
        let packed = high | U256::from(self.operator_fee_constant);
        Ok(Some((update::OPERATOR_FEE_PARAMS, packed.abi_encode())))
    }
}

impl Change for SetMinBaseFee {
    fn apply(self, config: &mut SystemConfig) -> Result<Option<(u8, Vec<u8>)>, Refusal> {
        if self.min_base_fee > MAX_MIN_BASE_FEE {
            return Err(Refusal::MinBaseFee(self.min_base_fee));
        }
        config.min_base_fee = self.min_base_fee;
        Ok(Some((update::MIN_BASE_FEE, U256::from(self.min_base_fee).abi_encode())))
    }
}

impl Change for SetDaFootprintGasScalar {
    fn apply(self, config: &mut SystemConfig) -> Result<Option<(u8, Vec<u8>)>, Refusal> {
        config.da_footprint_gas_scalar = self.da_footprint_gas_scalar;
        Ok(Some((update::DA_FOOTPRINT_GAS_SCALAR, U256::from(self.da_footprint_gas_scalar).abi_encode())))
    }
}

impl Change for SetUnsafeBlockSigner {
    fn apply(self, config: &mut SystemConfig) -> Result<Option<(u8, Vec<u8>)>, Refusal> {
        config.unsafe_block_signer = self.unsafe_block_signer;
        Ok(Some((update::UNSAFE_BLOCK_SIGNER, self.unsafe_block_signer.abi_encode())))
    }
}

impl Change for TransferOwnership {
    fn apply(self, config: &mut SystemConfig) -> Result<Option<(u8, Vec<u8>)>, Refusal> {
        if self.new_owner.is_zero() {
            return Err(Refusal::NoOwner);
        }
        config.owner = self.new_owner;
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
