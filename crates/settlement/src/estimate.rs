//! How much gas a call needs.

use crate::args::{Arguments, DepositEthToWithValue, DepositTransaction, SendMessage};
use crate::messenger::base_gas;

/// Fixed costs of the dearest function, rounded up.
const BASE: u64 = 1_000_000;

/// Of each byte of arguments: it comes in, is written into logs a few times, and its blobs may be looked for.
const ARGUMENT_BYTE: u64 = 100;

/// Bytes that the bridge's message has besides the extra data.
const FINALIZE_BYTES: u64 = 260;

/// Gas limit that suffices for a call of `function` with these argument bytes, whatever else the transaction costs included.
///
/// What is not spent is not paid. Arguments that do not decode need no gas: the call fails.
pub fn enough_gas(function: &str, args: &[u8]) -> u64 {
    let on_l2 = match function {
        DepositTransaction::FUNCTION => DepositTransaction::decode_args(args).map(|args| args.gas_limit),
        SendMessage::FUNCTION => {
            SendMessage::decode_args(args).map(|args| base_gas(args.message.len() as u64, args.min_gas_limit))
        }
        DepositEthToWithValue::FUNCTION => DepositEthToWithValue::decode_args(args)
            .map(|args| base_gas(args.extra_data.len() as u64 + FINALIZE_BYTES, args.min_gas_limit)),
        _ => Ok(0),
    };
    let bytes = (args.len() as u64).saturating_mul(ARGUMENT_BYTE);
    on_l2.unwrap_or_default().saturating_add(bytes).saturating_add(BASE)
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
