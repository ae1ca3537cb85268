//! Why a transaction is not accepted. The first words of each message are geth's, because clients match on them.

use alloy_primitives::{Address, B256, U256};
use duskevm_evm::TxDecodeError;

use crate::head::AccountReadError;

/// Why the pool does not accept a transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The same transaction is in the pool.
    #[error("already known: {0}")]
    AlreadyKnown(B256),
    /// A type that this chain takes from nobody, or not from users.
    #[error("transaction type not supported: type {ty:#04x}: {why}")]
    TypeNotSupported {
        /// EIP-2718 type byte.
        ty: u8,
        /// The rule.
        why: &'static str,
    },
    /// The bytes are not a transaction.
    #[error("{0}")]
    Malformed(String),
    /// The encoded transaction is too large.
    #[error("oversized data: transaction size {size}, limit {limit}")]
    Oversized {
        /// Encoded bytes.
        size: usize,
        /// Largest size in bytes.
        limit: usize,
    },
    /// Signed for another chain.
    #[error("invalid sender: invalid chain id for signer: have {have} want {want}; sign for chain {want}")]
    ChainId {
        /// In the transaction.
        have: u64,
        /// Of this chain.
        want: u64,
    },
    /// A legacy transaction without a chain id.
    #[error("only replay-protected (EIP-155) transactions allowed over RPC: sign with chain id {want}")]
    Unprotected {
        /// Of this chain.
        want: u64,
    },
    /// The signature recovers to no account.
    #[error("invalid sender: invalid signature")]
    InvalidSender,
    /// The init code of a contract creation is too long (EIP-3860).
    #[error("max initcode size exceeded: code size {size}, limit {limit}")]
    InitCodeSize {
        /// Bytes of init code.
        size: usize,
        /// Largest allowed.
        limit: usize,
    },
    /// The gas limit is above the cap of a single transaction (EIP-7825).
    #[error("transaction gas limit too high (cap: {cap}, tx: {gas_limit})")]
    GasLimitCap {
        /// Largest allowed.
        cap: u64,
        /// Of the transaction.
        gas_limit: u64,
    },
    /// The gas limit is above that of a block.
    #[error("exceeds block gas limit: gas limit {gas_limit}, block {block}")]
    BlockGasLimit {
        /// Of the transaction.
        gas_limit: u64,
        /// Of the next block.
        block: u64,
    },
    /// Too much data for a block (Jovian).
    #[error("exceeds block gas limit: data availability footprint {footprint}, block {block}; send less calldata")]
    DaFootprint {
        /// Estimated compressed size times the footprint scalar.
        footprint: u64,
        /// Gas limit of the next block.
        block: u64,
    },
    /// Tip above fee cap.
    #[error("max priority fee per gas higher than max fee per gas: maxPriorityFeePerGas: {tip}, maxFeePerGas: {cap}")]
    TipAboveFeeCap {
        /// Wei per gas.
        tip: u128,
        /// Wei per gas.
        cap: u128,
    },
    /// The nonce is 2⁶⁴ − 1, which no account can use (EIP-2681).
    #[error("nonce has max value: address {0}")]
    NonceMax(Address),
    /// Too little gas to start executing.
    #[error("intrinsic gas too low: gas {have}, minimum needed {need}")]
    IntrinsicGas {
        /// Gas limit of the transaction.
        have: u64,
        /// Intrinsic gas.
        need: u64,
    },
    /// Too little gas for the amount of calldata (EIP-7623).
    #[error("insufficient gas for floor data gas cost: gas {have}, minimum needed {need}")]
    FloorGas {
        /// Gas limit of the transaction.
        have: u64,
        /// Floor gas.
        need: u64,
    },
    /// The tip is below the least that this node takes.
    #[error("transaction underpriced: gas tip cap {tip}, minimum needed {need}")]
    TipTooLow {
        /// Wei per gas.
        tip: u128,
        /// Wei per gas.
        need: u128,
    },
    /// The fee cap is below the least base fee that the chain can ever have.
    #[error("transaction underpriced: gas fee cap {cap}, the base fee never falls below {need}")]
    FeeCapTooLow {
        /// Wei per gas.
        cap: u128,
        /// Wei per gas.
        need: u64,
    },
    /// The pool is full and this transaction pays no more than the cheapest in it.
    #[error(
        "transaction underpriced: the pool is full and the cheapest transaction in it pays {cheapest} wei per gas; offer more"
    )]
    Underpriced {
        /// Effective gas price of the cheapest at the current base fee.
        cheapest: u128,
    },
    /// Submissions come faster than they can be made durable. Nothing is wrong with this one.
    #[error("txpool is busy: {waiting} transactions wait to be made durable; retry later")]
    Busy {
        /// How many.
        waiting: usize,
    },
    /// The pool is full and nothing in it can make room.
    #[error("txpool is full: retry later")]
    Full,
    /// A type-4 transaction without authorizations (EIP-7702).
    #[error("set code tx must have at least one authorization tuple")]
    EmptyAuthorizations,
    /// The nonce is used up.
    #[error("nonce too low: next nonce {next}, tx nonce {tx}")]
    NonceTooLow {
        /// Of the account.
        next: u64,
        /// Of the transaction.
        tx: u64,
    },
    /// The nonce is too far ahead.
    #[error("nonce too high: next nonce {next}, tx nonce {tx}, at most {max_gap} ahead; send the missing ones first")]
    NonceTooHigh {
        /// First nonce that neither the chain nor the pool has.
        next: u64,
        /// Of the transaction.
        tx: u64,
        /// Largest distance.
        max_gap: u64,
    },
    /// The sender is a contract (EIP-3607).
    #[error("sender not an eoa: address {0} has contract code")]
    SenderHasCode(Address),
    /// The balance does not cover the transaction: value, gas, L1 data fee and operator fee.
    #[error(
        "insufficient funds for gas * price + value: balance {balance}, tx cost {cost} (of it {l1_fee} for L1 data and operator)"
    )]
    InsufficientFunds {
        /// Wei.
        balance: U256,
        /// Wei; 2²⁵⁶ − 1 if it does not fit.
        cost: U256,
        /// Wei.
        l1_fee: U256,
    },
    /// The balance covers the transaction, but not together with the sender's other ready ones.
    #[error("insufficient funds for gas * price + value: balance {balance}, queued cost {queued}, tx cost {cost}")]
    InsufficientFundsQueued {
        /// Wei.
        balance: U256,
        /// What the sender's other ready transactions may cost, in wei.
        queued: U256,
        /// Wei.
        cost: U256,
    },
    /// The nonce is taken by a pooled transaction and this one does not pay enough more.
    #[error(
        "replacement transaction underpriced: needs maxFeePerGas of at least {need_cap} and maxPriorityFeePerGas of at least {need_tip}"
    )]
    ReplacementUnderpriced {
        /// Wei per gas.
        need_cap: u128,
        /// Wei per gas.
        need_tip: u128,
    },
    /// The sender has too many transactions in the pool.
    #[error(
        "account limit exceeded: the pool holds {limit} transactions of {address} in this state; wait for some to be included"
    )]
    AccountLimit {
        /// The sender.
        address: Address,
        /// Largest number.
        limit: usize,
    },
    /// The sender delegated its code (EIP-7702), or is about to, and has a transaction in the pool.
    #[error("in-flight transaction limit reached for delegated accounts: wait for the pooled transaction of {0}")]
    InFlightLimit(Address),
    /// A nonce gap from an account that delegated its code.
    #[error("gapped-nonce tx from delegated accounts: next nonce {next}, tx nonce {tx}")]
    GappedFromDelegated {
        /// Of the account.
        next: u64,
        /// Of the transaction.
        tx: u64,
    },
    /// An authorization of an account that has several transactions in the pool.
    #[error("authority already reserved: {0} has several pooled transactions")]
    AuthorityReserved(Address),
    /// The state of an account could not be read.
    #[error(transparent)]
    State(#[from] AccountReadError),
}

impl PoolError {
    /// A short fixed name, for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::AlreadyKnown(_) => "already_known",
            Self::TypeNotSupported { .. } => "type",
            Self::Malformed(_) => "malformed",
            Self::Oversized { .. } => "oversized",
            Self::ChainId { .. } => "chain_id",
            Self::Unprotected { .. } => "unprotected",
            Self::InvalidSender => "invalid_sender",
            Self::InitCodeSize { .. } => "initcode_size",
            Self::GasLimitCap { .. } | Self::BlockGasLimit { .. } | Self::DaFootprint { .. } => "gas_limit",
            Self::TipAboveFeeCap { .. } => "tip_above_cap",
            Self::NonceMax(_) | Self::NonceTooHigh { .. } => "nonce_too_high",
            Self::IntrinsicGas { .. } | Self::FloorGas { .. } => "intrinsic_gas",
            Self::TipTooLow { .. } | Self::FeeCapTooLow { .. } | Self::Underpriced { .. } => "underpriced",
            Self::Busy { .. } => "busy",
            Self::Full => "full",
            Self::EmptyAuthorizations => "empty_authorizations",
            Self::NonceTooLow { .. } => "nonce_too_low",
            Self::SenderHasCode(_) => "sender_has_code",
            Self::InsufficientFunds { .. } | Self::InsufficientFundsQueued { .. } => "insufficient_funds",
            Self::ReplacementUnderpriced { .. } => "replacement_underpriced",
            Self::AccountLimit { .. } => "account_limit",
            Self::InFlightLimit(_) | Self::GappedFromDelegated { .. } | Self::AuthorityReserved(_) => "delegated",
            Self::State(_) => "state",
        }
    }

    /// All values of [`Self::label`], so that a metric can be described and zeroed before the first refusal.
    pub const LABELS: &'static [&'static str] = &[
        "already_known",
        "type",
        "malformed",
        "oversized",
        "chain_id",
        "unprotected",
        "invalid_sender",
        "initcode_size",
        "gas_limit",
        "tip_above_cap",
        "nonce_too_high",
        "intrinsic_gas",
        "underpriced",
        "busy",
        "full",
        "empty_authorizations",
        "nonce_too_low",
        "sender_has_code",
        "insufficient_funds",
        "replacement_underpriced",
        "account_limit",
        "delegated",
        "state",
    ];
}

impl From<TxDecodeError> for PoolError {
    fn from(error: TxDecodeError) -> Self {
        match error {
            TxDecodeError::Unsupported(ty, why) => Self::TypeNotSupported { ty, why },
            TxDecodeError::Signature => Self::InvalidSender,
            other => Self::Malformed(other.to_string()),
        }
    }
}
