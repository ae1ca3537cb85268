//! What the EVM says, in the words of geth.

use crate::{chain::ReadError, error::RpcError};
use alloy_op_evm::OpTxError;
use alloy_primitives::Address;
use op_revm::{OpHaltReason, OpTransactionError};
use revm::context_interface::result::{EVMError, HaltReason, InvalidTransaction};

/// Why a transaction is not even tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExecuteError {
    /// The gas limit is below what the transaction costs before its first instruction; more gas would help.
    TooLittleGas(RpcError),
    /// Anything else.
    Other(RpcError),
}

impl From<ExecuteError> for RpcError {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::TooLittleGas(error) | ExecuteError::Other(error) => error,
        }
    }
}

/// An error of the EVM about a call from `caller` with this gas limit.
pub(crate) fn execute_error(error: EVMError<ReadError, OpTxError>, caller: Address, gas_limit: u64) -> ExecuteError {
    match error {
        EVMError::Transaction(OpTxError(OpTransactionError::Base(invalid))) => {
            let (message, gas) = invalid_message(&invalid, caller);
            let error = RpcError::Server(format!("err: {message} (supplied gas {gas_limit})"));
            if gas { ExecuteError::TooLittleGas(error) } else { ExecuteError::Other(error) }
        }
        EVMError::Transaction(other) => ExecuteError::Other(RpcError::server(other)),
        EVMError::Database(error) => ExecuteError::Other(error.into()),
        EVMError::Header(error) => ExecuteError::Other(RpcError::server(error)),
        // The guard speaks through this.
        EVMError::Custom(message) => ExecuteError::Other(RpcError::Server(message)),
        EVMError::CustomAny(error) => ExecuteError::Other(RpcError::server(format!("{error:?}"))),
    }
}

/// The message, and whether a higher gas limit would help.
fn invalid_message(invalid: &InvalidTransaction, caller: Address) -> (String, bool) {
    let text = match invalid {
        InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas, gas_limit } => {
            return (format!("intrinsic gas too low: have {gas_limit}, want {initial_gas}"), true);
        }
        InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor, gas_limit } => {
            return (format!("insufficient gas for floor data gas cost: have {gas_limit}, want {gas_floor}"), true);
        }
        InvalidTransaction::LackOfFundForMaxFee { fee, balance } => {
            format!("insufficient funds for gas * price + value: address {caller} have {balance} want {fee}")
        }
        InvalidTransaction::GasPriceLessThanBasefee => {
            format!("max fee per gas less than block base fee: address {caller}")
        }
        InvalidTransaction::PriorityFeeGreaterThanMaxFee => {
            format!("max priority fee per gas higher than max fee per gas: address {caller}")
        }
        InvalidTransaction::NonceTooLow { tx, state } => {
            format!("nonce too low: address {caller}, tx: {tx} state: {state}")
        }
        InvalidTransaction::NonceTooHigh { tx, state } => {
            format!("nonce too high: address {caller}, tx: {tx} state: {state}")
        }
        InvalidTransaction::NonceOverflowInTransaction => format!("nonce has max value: address {caller}"),
        InvalidTransaction::RejectCallerWithCode => format!("sender not an eoa: address {caller}"),
        InvalidTransaction::CreateInitCodeSizeLimit => "max initcode size exceeded".to_owned(),
        InvalidTransaction::EmptyAuthorizationList => "EIP-7702 transaction with empty auth list".to_owned(),
        InvalidTransaction::OverflowPaymentInTransaction => "gas * price + value overflows".to_owned(),
        other => other.to_string(),
    };
    (text, false)
}

/// Why an execution stopped, other than by a revert.
pub(crate) fn halt_message(halt: &OpHaltReason) -> String {
    let base = match halt {
        OpHaltReason::Base(base) => base,
        OpHaltReason::FailedDeposit => return "failed deposit".to_owned(),
    };
    match base {
        HaltReason::OutOfGas(_) => "out of gas",
        HaltReason::OpcodeNotFound | HaltReason::NotActivated => "invalid opcode",
        HaltReason::InvalidFEOpcode => "invalid opcode: INVALID",
        HaltReason::InvalidJump => "invalid jump destination",
        HaltReason::StackUnderflow => "stack underflow",
        HaltReason::StackOverflow => "stack limit reached 1024",
        HaltReason::OutOfOffset => "return data out of bounds",
        HaltReason::CreateCollision => "contract address collision",
        HaltReason::NonceOverflow => "nonce uint64 overflow",
        HaltReason::CreateContractSizeLimit => "max code size exceeded",
        HaltReason::CreateContractStartingWithEF => "invalid code: must not begin with 0xef",
        HaltReason::CreateInitCodeSizeLimit => "max initcode size exceeded",
        HaltReason::StateChangeDuringStaticCall | HaltReason::CallNotAllowedInsideStatic => "write protection",
        HaltReason::OutOfFunds => "insufficient balance for transfer",
        HaltReason::CallTooDeep => "max call depth exceeded",
        HaltReason::PrecompileError => "precompile failed",
        HaltReason::PrecompileErrorWithContext(message) => return message.clone(),
        HaltReason::OverflowPayment => "gas * price + value overflows",
    }
    .to_owned()
}

/// Did it stop for want of gas?
pub(crate) const fn is_out_of_gas(halt: &OpHaltReason) -> bool {
    matches!(halt, OpHaltReason::Base(HaltReason::OutOfGas(_)))
}
