//! What the EVM says, in the words of geth.

use crate::{chain::ReadError, error::RpcError};
use alloy_op_evm::OpTxError;
use alloy_primitives::Address;
use op_revm::{OpHaltReason, OpTransactionError};
use revm::context_interface::result::{EVMError, HaltReason, InvalidTransaction};

/// Why a transaction is not even tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExecuteError {
    /// It is not valid in this state and block.
    Invalid {
        /// Of what kind.
        kind: Invalid,
        /// In geth's words.
        message: String,
    },
    /// It could not be executed.
    Failed(RpcError),
}

/// Kinds of invalid transactions that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// The gas limit is below what the transaction costs before its first instruction: more gas would help.
    TooLittleGas,
    NonceTooLow,
    NonceTooHigh,
    Funds,
    SenderHasCode,
    InitCodeSize,
    FeeCap,
    Other,
}

impl ExecuteError {
    /// As `eth_call` says it.
    pub(crate) fn of_call(self, gas: u64) -> RpcError {
        match self {
            Self::Invalid { message, .. } => RpcError::Server(format!("err: {message} (supplied gas {gas})")),
            Self::Failed(error) => error,
        }
    }

    /// As `eth_estimateGas` says it.
    pub(crate) fn of_estimate(self, gas: u64) -> RpcError {
        match self {
            Self::Invalid { message, .. } => RpcError::Server(format!("failed with {gas} gas: {message}")),
            Self::Failed(error) => error,
        }
    }

    /// As `eth_simulateV1` says it: with the codes of its specification.
    pub(crate) fn of_simulation(self) -> RpcError {
        match self {
            Self::Invalid { kind, message } => {
                let code = match kind {
                    Invalid::NonceTooLow => -38010,
                    Invalid::NonceTooHigh => -38011,
                    Invalid::FeeCap => -38012,
                    Invalid::TooLittleGas => -38013,
                    Invalid::Funds => -38014,
                    Invalid::SenderHasCode => -38024,
                    Invalid::InitCodeSize => -38025,
                    Invalid::Other => -32000,
                };
                RpcError::Simulation { code, message: format!("err: {message}") }
            }
            Self::Failed(error) => error,
        }
    }
}

/// An error of the EVM about a call from `caller`.
pub(crate) fn execute_error(error: EVMError<ReadError, OpTxError>, caller: Address) -> ExecuteError {
    match error {
        EVMError::Transaction(OpTxError(OpTransactionError::Base(invalid))) => {
            let (kind, message) = describe(&invalid, caller);
            ExecuteError::Invalid { kind, message }
        }
        EVMError::Transaction(other) => ExecuteError::Failed(RpcError::server(other)),
        EVMError::Database(error) => ExecuteError::Failed(error.into()),
        EVMError::Header(error) => ExecuteError::Failed(RpcError::server(error)),
        // The guard speaks through this.
        EVMError::Custom(message) => ExecuteError::Failed(RpcError::Server(message)),
        EVMError::CustomAny(error) => ExecuteError::Failed(RpcError::server(format!("{error:?}"))),
    }
}

fn describe(invalid: &InvalidTransaction, caller: Address) -> (Invalid, String) {
    match invalid {
        InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas, gas_limit } => {
            (Invalid::TooLittleGas, format!("intrinsic gas too low: have {gas_limit}, want {initial_gas}"))
        }
        InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor, gas_limit } => (
            Invalid::TooLittleGas,
            format!("insufficient gas for floor data gas cost: have {gas_limit}, want {gas_floor}"),
        ),
        InvalidTransaction::LackOfFundForMaxFee { fee, balance } => (
            Invalid::Funds,
            format!("insufficient funds for gas * price + value: address {caller} have {balance} want {fee}"),
        ),
        InvalidTransaction::GasPriceLessThanBasefee => {
            (Invalid::FeeCap, format!("max fee per gas less than block base fee: address {caller}"))
        }
        InvalidTransaction::PriorityFeeGreaterThanMaxFee => {
            (Invalid::Other, format!("max priority fee per gas higher than max fee per gas: address {caller}"))
        }
        InvalidTransaction::NonceTooLow { tx, state } => {
            (Invalid::NonceTooLow, format!("nonce too low: address {caller}, tx: {tx} state: {state}"))
        }
        InvalidTransaction::NonceTooHigh { tx, state } => {
            (Invalid::NonceTooHigh, format!("nonce too high: address {caller}, tx: {tx} state: {state}"))
        }
        InvalidTransaction::NonceOverflowInTransaction => {
            (Invalid::Other, format!("nonce has max value: address {caller}"))
        }
        InvalidTransaction::RejectCallerWithCode => {
            (Invalid::SenderHasCode, format!("sender not an eoa: address {caller}"))
        }
        InvalidTransaction::CreateInitCodeSizeLimit => (Invalid::InitCodeSize, "max initcode size exceeded".to_owned()),
        InvalidTransaction::EmptyAuthorizationList => {
            (Invalid::Other, "EIP-7702 transaction with empty auth list".to_owned())
        }
        InvalidTransaction::OverflowPaymentInTransaction => {
            (Invalid::Funds, "gas * price + value overflows".to_owned())
        }
        other => (Invalid::Other, other.to_string()),
    }
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
