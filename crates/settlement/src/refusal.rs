//! Why a call is refused.

use alloc::string::String;

use alloy_primitives::{Address, B256, U256};
use duskevm_l1_view::EnvelopeError;

use crate::inbox::MAX_ENVELOPE_BYTES;
use crate::portal::{MAX_DEPOSIT_DATA, MIN_GAS_FORMULA};
use crate::system_config::{MAX_ELASTICITY, MAX_GAS_LIMIT, MAX_MIN_BASE_FEE, MIN_GAS_LIMIT};

/// Why a contract refuses a call. The call fails, and everything it did is undone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No function of this name.
    #[error("the contract has no function `{0}`")]
    UnknownFunction(String),
    /// The argument bytes are not those of the function.
    #[error("the arguments are not those of `{0}`: send the RLP list of its arguments, nothing more")]
    Arguments(&'static str),
    /// Lux where none belong.
    #[error("{0} takes no DUSK, but {1} lux are attached: attach none")]
    NotPayable(&'static str, u64),
    /// Attached lux that are not those of the arguments.
    #[error("amount_lux is {amount}, but {attached} lux are attached: attach the amount itself")]
    Amount {
        /// As the arguments say.
        amount: u64,
        /// As attached.
        attached: u64,
    },
    /// More data than one deposit may have.
    #[error("the deposit has {0} bytes of data: at most {MAX_DEPOSIT_DATA} fit")]
    Data(usize),
    /// Less gas than L2 charges for the data alone.
    #[error("the gas limit {got} is below {need} ({MIN_GAS_FORMULA}): the deposit would fail on L2")]
    DepositGas {
        /// As asked for.
        got: u64,
        /// As needed.
        need: u64,
    },
    /// More deposit gas than one L1 block may bring.
    #[error(
        "deposits of one L1 block may ask for {cap} gas, of which {left} is left: ask for less, or send it again in the next block"
    )]
    BlockDepositGas {
        /// For one L1 block.
        cap: u64,
        /// Of it.
        left: u64,
    },
    /// A contract creation with a receiver.
    #[error("a deposit that creates a contract has no receiver, not {0}: make it the zero address")]
    CreationTarget(Address),
    /// Tokens that this L1 does not have.
    #[error("{0}")]
    NoTokens(&'static str),
    /// Not the owner.
    #[error("only the owner {owner} may change the system configuration, not {caller}")]
    NotOwner {
        /// Who may.
        owner: Address,
        /// Who called.
        caller: Address,
    },
    /// An owner that nobody is.
    #[error("the new owner is the zero address: name an account that somebody has")]
    NoOwner,
    /// A batcher hash that is no address.
    #[error("{0} is no batcher hash: it must be an address, not zero, with 12 zero bytes before it")]
    BatcherHash(B256),
    /// A gas limit out of bounds.
    #[error("the gas limit of L2 must be between {MIN_GAS_LIMIT} and {MAX_GAS_LIMIT}, not {0}")]
    GasLimit(u64),
    /// Values with which no base fee can be computed: zeros, or a gas target of zero.
    #[error(
        "denominator and elasticity must be at least 1, and elasticity at most {MAX_ELASTICITY}, not {denominator} and {elasticity}"
    )]
    Eip1559 {
        /// As asked for.
        denominator: u32,
        /// As asked for.
        elasticity: u32,
    },
    /// A floor from which the base fee could leave 64 bits.
    #[error("the least base fee must be at most {MAX_MIN_BASE_FEE} wei, not {0}")]
    MinBaseFee(u64),
    /// An envelope that is too long.
    #[error("the envelope has {0} bytes: at most {MAX_ENVELOPE_BYTES} are taken")]
    EnvelopeSize(usize),
    /// An envelope that the view would not show.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// An envelope to somebody else.
    #[error("the envelope goes to {got:?}: send it to the batch inbox {inbox}")]
    EnvelopeTarget {
        /// As signed; `None` creates a contract.
        got: Option<Address>,
        /// The inbox.
        inbox: Address,
    },
    /// An envelope that moves money.
    #[error("the envelope carries {0} wei: nothing moves in the L1 view, send 0")]
    EnvelopeValue(U256),
    /// A tip above the whole fee, which Ethereum does not take.
    #[error("the envelope's priority fee is above its max fee")]
    EnvelopeTip,
    /// A blob transaction with no blobs or with too many, or with something else than blob hashes.
    #[error("the envelope must name one to {most} blobs by versioned hashes that begin with 1, not {count}")]
    EnvelopeBlobs {
        /// As signed.
        count: usize,
        /// As many as a Dusk transaction carries.
        most: usize,
    },
    /// Nobody's signature.
    #[error("the envelope's signature belongs to no key, or is not in its low form")]
    EnvelopeSignature,
    /// An envelope out of turn, or one that is in the view already.
    #[error("the envelope has nonce {got}, but the next one of {signer} is {next}: sign it with that nonce")]
    EnvelopeNonce {
        /// Who signed it.
        signer: Address,
        /// As signed.
        got: u64,
        /// The only one that is taken now.
        next: u64,
    },
    /// An envelope before its blobs.
    #[error("blob {0} is not on L1: send the blob transaction first, and the envelope when it is included")]
    BlobMissing(B256),
    /// Storage that this program did not write.
    #[error("the contract's storage is damaged: {0} does not decode")]
    Damaged(&'static str),
}

/// Why a call did not go through: it is refused, or the ledger ended it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error<F> {
    /// The contract refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The ledger failed, or the gas is spent.
    #[error("{0}")]
    Host(F),
}
