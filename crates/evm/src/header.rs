//! Header rules of the OP Stack: base fee, extra data and the fields that execution does not decide.
//!
//! Source: OP Stack specification, execution engine (exec-engine.md and its Holocene, Isthmus and Jovian parts).

use crate::spec::ChainSpec;
use alloy_consensus::Header;
use alloy_eips::eip1559::{BaseFeeParams, calc_next_block_base_fee};
use alloy_op_hardforks::OpHardforks;
use alloy_primitives::{Address, B64, Bytes, address};
use op_alloy_consensus::{
    EIP1559ParamError, decode_eip_1559_params, decode_holocene_extra_data, decode_jovian_extra_data,
    encode_holocene_extra_data, encode_jovian_extra_data,
};

/// Where priority fees go and the `beneficiary` of every L2 block: the SequencerFeeVault predeploy.
pub const SEQUENCER_FEE_VAULT: Address = address!("4200000000000000000000000000000000000011");

/// The L2ToL1MessagePasser predeploy, whose storage root is the header's `withdrawalsRoot` from Isthmus on.
pub const MESSAGE_PASSER: Address = address!("4200000000000000000000000000000000000016");

/// A header or attributes that break a header rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The parent's extra data does not hold the EIP-1559 parameters that its fork prescribes.
    #[error("parent block {number}: extraData {extra_data} is not what its fork prescribes: {source}")]
    ParentExtraData {
        /// Parent number.
        number: u64,
        /// Its extra data.
        extra_data: Bytes,
        /// What is wrong with it.
        source: EIP1559ParamError,
    },
    /// The parent has no base fee.
    #[error("parent block {0} has no base fee")]
    NoBaseFee(u64),
    /// `eip1559Params` in the attributes of a block before Holocene, or missing from Holocene on.
    #[error("attributes: eip1559Params must be given exactly from Holocene on (given: {given})")]
    Eip1559Params {
        /// Were they given?
        given: bool,
    },
    /// One of denominator and elasticity is zero, the other is not.
    #[error("attributes: eip1559Params {0}: denominator and elasticity are both zero or both not")]
    ZeroParam(B64),
    /// `minBaseFee` before Jovian, or missing from Jovian on.
    #[error("attributes: minBaseFee must be given exactly from Jovian on (given: {given})")]
    MinBaseFee {
        /// Was it given?
        given: bool,
    },
    /// A default of the chain does not fit the header's encoding.
    #[error("EIP-1559 parameters of the chain do not fit 32 bits: {0}")]
    Unencodable(EIP1559ParamError),
    /// A block must be later than its parent.
    #[error("timestamp {timestamp} is not after the parent's {parent}")]
    Timestamp {
        /// Of the block, in seconds.
        timestamp: u64,
        /// Of its parent.
        parent: u64,
    },
}

/// Base fee in wei of a block at `timestamp` (seconds) on top of `parent`.
///
/// From Holocene on the parent's extra data holds the parameters; from Jovian on the gas measure is the larger of gas used and DA
/// footprint, and the result is at least the parent's minimum base fee.
///
/// # Errors
/// If the parent's header lacks what its fork prescribes.
pub fn next_base_fee(spec: &ChainSpec, parent: &Header, timestamp: u64) -> Result<u64, HeaderError> {
    let base_fee = parent.base_fee_per_gas.ok_or(HeaderError::NoBaseFee(parent.number))?;
    let bad_extra =
        |source| HeaderError::ParentExtraData { number: parent.number, extra_data: parent.extra_data.clone(), source };
    let forks = spec.hardforks();
    if forks.is_jovian_active_at_timestamp(parent.timestamp) {
        let (elasticity, denominator, minimum) = decode_jovian_extra_data(&parent.extra_data).map_err(bad_extra)?;
        let gas = parent.gas_used.max(parent.blob_gas_used.unwrap_or_default());
        let params = params_or_default(spec, timestamp, elasticity, denominator);
        Ok(calc_next_block_base_fee(gas, parent.gas_limit, base_fee, params).max(minimum))
    } else {
        let params = if forks.is_holocene_active_at_timestamp(parent.timestamp) {
            let (elasticity, denominator) = decode_holocene_extra_data(&parent.extra_data).map_err(bad_extra)?;
            params_or_default(spec, timestamp, elasticity, denominator)
        } else {
            spec.default_base_fee_params(timestamp)
        };
        Ok(calc_next_block_base_fee(parent.gas_used, parent.gas_limit, base_fee, params))
    }
}

/// Headers never hold zero parameters; should one do so all the same, dividing by zero is not the answer.
fn params_or_default(spec: &ChainSpec, timestamp: u64, elasticity: u32, denominator: u32) -> BaseFeeParams {
    if elasticity == 0 || denominator == 0 {
        spec.default_base_fee_params(timestamp)
    } else {
        BaseFeeParams::new(denominator.into(), elasticity.into())
    }
}

/// Extra data of a block at `timestamp`: empty before Holocene, 9 bytes until Isthmus, 17 bytes from Jovian on.
///
/// # Errors
/// If the attributes carry parameters that their fork does not know, or lack those that it prescribes.
pub fn extra_data(
    spec: &ChainSpec,
    timestamp: u64,
    eip1559_params: Option<B64>,
    min_base_fee: Option<u64>,
) -> Result<Bytes, HeaderError> {
    let forks = spec.hardforks();
    let holocene = forks.is_holocene_active_at_timestamp(timestamp);
    let jovian = forks.is_jovian_active_at_timestamp(timestamp);
    if holocene != eip1559_params.is_some() {
        return Err(HeaderError::Eip1559Params { given: eip1559_params.is_some() });
    }
    if jovian != min_base_fee.is_some() {
        return Err(HeaderError::MinBaseFee { given: min_base_fee.is_some() });
    }
    let Some(params) = eip1559_params else { return Ok(Bytes::new()) };
    let (elasticity, denominator) = decode_eip_1559_params(params);
    if (elasticity == 0) != (denominator == 0) {
        return Err(HeaderError::ZeroParam(params));
    }
    let defaults = spec.canyon_base_fee_params();
    match min_base_fee {
        Some(minimum) => encode_jovian_extra_data(params, defaults, minimum),
        None => encode_holocene_extra_data(params, defaults),
    }
    .map_err(HeaderError::Unencodable)
}

/// The attributes' `eip1559Params` and `minBaseFee` that give this header its extra data; the inverse of [`extra_data`].
///
/// # Errors
/// If the extra data is not what the fork prescribes.
pub fn params_of_extra_data(
    spec: &ChainSpec,
    header: &Header,
) -> Result<(Option<B64>, Option<u64>), EIP1559ParamError> {
    let forks = spec.hardforks();
    let pack = |elasticity: u32, denominator: u32| {
        let mut packed = [0u8; 8];
        packed[..4].copy_from_slice(&denominator.to_be_bytes());
        packed[4..].copy_from_slice(&elasticity.to_be_bytes());
        B64::from(packed)
    };
    if forks.is_jovian_active_at_timestamp(header.timestamp) {
        let (elasticity, denominator, minimum) = decode_jovian_extra_data(&header.extra_data)?;
        Ok((Some(pack(elasticity, denominator)), Some(minimum)))
    } else if forks.is_holocene_active_at_timestamp(header.timestamp) {
        let (elasticity, denominator) = decode_holocene_extra_data(&header.extra_data)?;
        Ok((Some(pack(elasticity, denominator)), None))
    } else {
        Ok((None, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Eip1559Constants, ForkTimes};
    use alloy_primitives::hex;

    fn spec(times: ForkTimes) -> ChainSpec {
        ChainSpec::new(31310, times, Eip1559Constants::default()).unwrap()
    }

    #[test]
    fn zero_params_become_the_canyon_constants() {
        let isthmus = spec(ForkTimes::isthmus_at_genesis());
        // The published genesis of DuskEVM: version 0, denominator 250, elasticity 6.
        assert_eq!(extra_data(&isthmus, 10, Some(B64::ZERO), None).unwrap()[..], hex!("00000000fa00000006"));
        let jovian = spec(ForkTimes::jovian_at_genesis());
        assert_eq!(
            extra_data(&jovian, 10, Some(B64::ZERO), Some(7)).unwrap()[..],
            hex!("01000000fa000000060000000000000007")
        );
    }

    #[test]
    fn params_belong_to_their_fork() {
        let isthmus = spec(ForkTimes::isthmus_at_genesis());
        assert_eq!(extra_data(&isthmus, 1, None, None), Err(HeaderError::Eip1559Params { given: false }));
        assert_eq!(extra_data(&isthmus, 1, Some(B64::ZERO), Some(1)), Err(HeaderError::MinBaseFee { given: true }));
        let half = B64::from(hex!("0000000000000006"));
        assert_eq!(extra_data(&isthmus, 1, Some(half), None), Err(HeaderError::ZeroParam(half)));
    }

    #[test]
    fn base_fee_follows_the_parents_parameters_and_minimum() {
        let chain = spec(ForkTimes::jovian_at_genesis());
        let mut parent = Header {
            gas_limit: 60_000_000,
            gas_used: 0,
            base_fee_per_gas: Some(1_000),
            extra_data: extra_data(&chain, 1, Some(B64::ZERO), Some(999)).unwrap(),
            ..Default::default()
        };
        // One part in 250 down, but not below the minimum.
        assert_eq!(next_base_fee(&chain, &parent, 2).unwrap(), 999);
        // The DA footprint counts like gas: twice the target of a sixth.
        parent.blob_gas_used = Some(20_000_000);
        assert_eq!(next_base_fee(&chain, &parent, 2).unwrap(), 1_004);
        parent.extra_data = Bytes::new();
        assert!(matches!(next_base_fee(&chain, &parent, 2), Err(HeaderError::ParentExtraData { .. })));
    }

    #[test]
    fn extra_data_round_trips() {
        let chain = spec(ForkTimes::jovian_at_genesis());
        let params = B64::from(hex!("0000003200000006"));
        let header = Header {
            timestamp: 5,
            extra_data: extra_data(&chain, 5, Some(params), Some(3)).unwrap(),
            ..Default::default()
        };
        assert_eq!(params_of_extra_data(&chain, &header).unwrap(), (Some(params), Some(3)));
    }
}
