//! How much gas a call needs.

use crate::args::{Arguments, DepositEthToWithValue, DepositTransaction, SendMessage};
use crate::messenger::base_gas;
use crate::portal::MAX_BLOCK_DEPOSIT_GAS;

/// Fixed costs of the dearest function, rounded up.
const BASE: u64 = 1_000_000;

/// Of each byte of arguments: it comes in, is written into logs a few times, and its blobs may be looked for.
const ARGUMENT_BYTE: u64 = 100;

/// Bytes that the bridge's message has besides the extra data.
const FINALIZE_BYTES: u64 = 260;

/// A gas limit with which a call would fail, and be paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GasError {
    /// More than all deposits of one L1 block may ask for.
    #[error(
        "it asks for {0} gas on L2, and the deposits of one L1 block may ask for {MAX_BLOCK_DEPOSIT_GAS} at most: ask for less"
    )]
    OnL2(u64),
    /// Less than what is charged for the gas on L2 alone.
    #[error(
        "{limit} gas is too little: it asks for {on_l2} gas on L2, which is paid for on L1. {enough} is enough: what is not spent is not paid"
    )]
    Limit {
        /// As wanted.
        limit: u64,
        /// As asked for on L2.
        on_l2: u64,
        /// See [`enough_gas`].
        enough: u64,
    },
}

/// The gas limit for a call: `wanted`, or what suffices.
///
/// # Errors
/// If the call could not succeed with it. Not every such limit is found.
pub fn gas_limit(function: &str, args: &[u8], wanted: Option<u64>) -> Result<u64, GasError> {
    let (on_l2, enough) = (gas_on_l2(function, args), enough_gas(function, args));
    match wanted {
        _ if on_l2 > MAX_BLOCK_DEPOSIT_GAS => Err(GasError::OnL2(on_l2)),
        Some(limit) if limit < on_l2 => Err(GasError::Limit { limit, on_l2, enough }),
        wanted => Ok(wanted.unwrap_or(enough)),
    }
}

/// Gas limit that suffices for a call of `function` with these argument bytes, whatever else the transaction costs included.
///
/// What is not spent is not paid. Arguments that do not decode need no gas: the call fails.
pub fn enough_gas(function: &str, args: &[u8]) -> u64 {
    let bytes = (args.len() as u64).saturating_mul(ARGUMENT_BYTE);
    gas_on_l2(function, args).saturating_add(bytes).saturating_add(BASE)
}

/// Gas that a call asks for on L2, all of which is charged on L1.
fn gas_on_l2(function: &str, args: &[u8]) -> u64 {
    match function {
        DepositTransaction::FUNCTION => DepositTransaction::decode_args(args).map(|args| args.gas_limit),
        SendMessage::FUNCTION => {
            SendMessage::decode_args(args).map(|args| base_gas(args.message.len() as u64, args.min_gas_limit))
        }
        DepositEthToWithValue::FUNCTION => DepositEthToWithValue::decode_args(args)
            .map(|args| base_gas(args.extra_data.len() as u64 + FINALIZE_BYTES, args.min_gas_limit)),
        _ => Ok(0),
    }
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, Bytes, U256};

    use super::*;
    use crate::args::{SetGasLimit, SubmitEnvelope};
    use crate::settlement::Contract;
    use crate::testing::{ALICE, Ledger, OWNER};

    /// What the ledger itself takes for a transaction with a call of so many bytes.
    fn intrinsic(bytes: usize) -> u64 {
        50_000 + 10 * (bytes as u64 + 32)
    }

    fn suffices<A: Arguments>(contract: Contract, lux: u64, args: &A) {
        let bytes = args.encode_args();
        let mut ledger = Ledger::new();
        ledger.gas = enough_gas(A::FUNCTION, &bytes) - intrinsic(bytes.len());
        let caller = if contract == Contract::SystemConfig { OWNER } else { ALICE };
        ledger.send(caller, lux, contract, args).unwrap();
    }

    #[test]
    fn what_is_enough_suffices() {
        for bytes in [0, 1, 1_000, 100_000] {
            let data: Bytes = vec![7; bytes].into();
            for gas in [0, 200_000, 10_000_000] {
                let message = SendMessage { target: Address::ZERO, message: data.clone(), min_gas_limit: gas };
                suffices(Contract::Messenger, 0, &message);
                let deposit = DepositEthToWithValue {
                    to: Address::ZERO,
                    amount_lux: 5,
                    min_gas_limit: gas,
                    extra_data: data.clone(),
                };
                suffices(Contract::StandardBridge, 5, &deposit);
            }
            let deposit = DepositTransaction {
                to: Address::ZERO,
                value: U256::MAX,
                gas_limit: 20_000_000,
                is_creation: true,
                data,
            };
            suffices(Contract::Portal, 5, &deposit);
        }
        suffices(Contract::SystemConfig, 0, &SetGasLimit { gas_limit: 30_000_000 });
    }

    #[test]
    fn a_limit_that_must_fail_is_refused_before_it_is_paid() {
        let args = |gas_limit| {
            let data = Bytes::new();
            DepositTransaction { to: Address::ZERO, value: U256::ZERO, gas_limit, is_creation: false, data }
                .encode_args()
        };
        let limit = |gas, wanted| gas_limit(DepositTransaction::FUNCTION, &args(gas), wanted);
        assert_eq!(limit(20_000_001, None), Err(GasError::OnL2(20_000_001)));
        assert_eq!(limit(20_000_001, Some(u64::MAX)), Err(GasError::OnL2(20_000_001)));
        assert!(matches!(limit(500_000, Some(499_999)), Err(GasError::Limit { on_l2: 500_000, .. })));
        assert_eq!(limit(500_000, Some(500_000)), Ok(500_000));
        assert_eq!(limit(500_000, None), Ok(enough_gas(DepositTransaction::FUNCTION, &args(500_000))));
        assert_eq!(gas_limit("setOwner", &[], Some(7)), Ok(7));
    }

    #[test]
    fn it_never_overflows() {
        let deposit = DepositTransaction {
            to: Address::ZERO,
            value: U256::ZERO,
            gas_limit: u64::MAX,
            is_creation: false,
            data: Bytes::new(),
        };
        assert_eq!(enough_gas(DepositTransaction::FUNCTION, &deposit.encode_args()), u64::MAX);
        assert_eq!(enough_gas("sendMessage", b"nonsense"), 1_000_800);
        assert_eq!(enough_gas(SubmitEnvelope::FUNCTION, &[]), 1_000_000);
    }
}
