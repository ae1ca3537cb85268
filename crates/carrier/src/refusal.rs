//! Why an envelope is not carried, in the words that Ethereum clients look for.
//!
//! Clients tell refusals apart by parts of their text: the transaction manager of the OP Stack looks for those that go-ethereum's pools
//! begin theirs with. So each text here begins with such a part where there is one, and goes on with what to do. Over JSON-RPC all of
//! them have the code -32000.

use alloy_primitives::{Address, B256};
use duskevm_blobs::BlobError;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than anything that could be carried.
    #[error("oversized data: transaction size {size}, limit {limit}")]
    Oversized {
        /// Its bytes.
        size: usize,
        /// Most bytes.
        limit: usize,
    },
    /// The bytes are no transaction.
    #[error("rlp: {0}")]
    Malformed(String),
    /// Not of type 2 or 3.
    #[error(
        "transaction type not supported: type {0}, and only types 2 (EIP-1559) and 3 (EIP-4844) can be carried to the batch inbox"
    )]
    Type(u8),
    /// Signed for another chain.
    #[error("invalid chain id for signer: have {have}, want {want}")]
    ChainId {
        /// As signed.
        have: u64,
        /// That of the L1 view.
        want: u64,
    },
    /// Nobody can have signed it, or its signature has the high form of `s` (EIP-2).
    #[error("invalid sender: the signature is not valid")]
    Signature,
    /// To somebody else.
    #[error("only transactions to the batch inbox {inbox} can be carried to Dusk, this one is for {}", to.map_or_else(|| "a new contract".to_owned(), |to| to.to_string()))]
    Target {
        /// Whom it names; none if it creates a contract.
        to: Option<Address>,
        /// The batch inbox.
        inbox: Address,
    },
    /// With value, which nobody has on the view.
    #[error(
        "insufficient funds for gas * price + value: the L1 view has no balances, so a transaction to the batch inbox carries no value"
    )]
    Value,
    /// The operator does not pay for this sender.
    #[error(
        "sender {0} is not carried by this node: its operator names in carrier.senders whose transactions it pays for"
    )]
    Sender(Address),
    /// EIP-1559.
    #[error("max priority fee per gas higher than max fee per gas: maxPriorityFeePerGas {tip}, maxFeePerGas {cap}")]
    TipAboveCap {
        /// The tip in wei.
        tip: u128,
        /// The cap in wei.
        cap: u128,
    },
    /// Ethereum would never include it.
    #[error(
        "transaction underpriced: max fee per gas less than block base fee: maxFeePerGas {cap}, baseFee {base_fee}"
    )]
    FeeCap {
        /// The cap in wei.
        cap: u128,
        /// The base fee of the view in wei.
        base_fee: u128,
    },
    /// The same for blob gas.
    #[error(
        "transaction underpriced: max fee per blob gas less than block blob gas fee: maxFeePerBlobGas {cap}, blobBaseFee {base_fee}"
    )]
    BlobFeeCap {
        /// The cap in wei.
        cap: u128,
        /// The base fee in wei.
        base_fee: u128,
    },
    /// Less gas than such a transaction uses before anything is executed.
    #[error("intrinsic gas too low: gas {gas}, minimum needed {need}")]
    IntrinsicGas {
        /// Its gas limit.
        gas: u64,
        /// What it needs.
        need: u64,
    },
    /// More gas than a block has.
    #[error("exceeds block gas limit: gas {gas}, limit {limit}")]
    GasLimit {
        /// Its gas limit.
        gas: u64,
        /// That of a block of the view.
        limit: u64,
    },
    /// Type 3 without a blob.
    #[error("blob transaction missing blob hashes")]
    NoBlobs,
    /// More blobs than a Dusk transaction carries.
    #[error("too many blobs in transaction: have {have}, permitted {most}")]
    TooManyBlobs {
        /// How many.
        have: usize,
        /// Most.
        most: usize,
    },
    /// Type 3 as it stands in a block.
    #[error("missing sidecar in blob transaction: send it in its network form (EIP-4844)")]
    NoSidecar,
    /// A list of the sidecar has another length.
    #[error("invalid number of {what}: have {have}, want {want}")]
    SidecarCount {
        /// Which list.
        what: &'static str,
        /// Its length.
        have: usize,
        /// As many as there are hashes.
        want: usize,
    },
    /// A hash that is not that of the commitment in the same place.
    #[error("blob {index}: computed hash {computed} mismatches transaction one {named}")]
    BlobHash {
        /// Which blob.
        index: usize,
        /// That of the commitment.
        computed: B256,
        /// That in the transaction.
        named: B256,
    },
    /// A blob that is wrong in itself or does not fit commitment and proof.
    #[error("invalid blob {index}: {source}")]
    Blob {
        /// Which blob.
        index: usize,
        /// What is wrong.
        source: BlobError,
    },
    /// The inbox has taken an envelope with this nonce.
    #[error("nonce too low: next nonce {next}, tx nonce {nonce}")]
    NonceTooLow {
        /// The next one that the inbox takes.
        next: u64,
        /// Of the envelope.
        nonce: u64,
    },
    /// Too far ahead to be kept.
    #[error("nonce too high: tx nonce {nonce}, next nonce {next}: at most {most} of a sender are kept ahead of it")]
    NonceTooHigh {
        /// The next one that the inbox takes.
        next: u64,
        /// Of the envelope.
        nonce: u64,
        /// How many are kept.
        most: u64,
    },
    /// The same envelope is here.
    #[error("already known")]
    Known,
    /// It offers too little more than the one that it would replace.
    #[error(
        "replacement transaction underpriced: new {what} {new} is less than {least}, {percent} percent above the old one"
    )]
    ReplacementUnderpriced {
        /// Which fee.
        what: &'static str,
        /// What it offers in wei.
        new: u128,
        /// What it must offer in wei.
        least: u128,
        /// How much more that is.
        percent: u64,
    },
    /// A sender's envelopes are all with blobs or all without, as in go-ethereum's pools.
    #[error(
        "address already reserved: transactions of the other kind (with or without blobs) of sender {0} wait to be carried"
    )]
    Reserved(Address),
    /// No room.
    #[error("txpool is full: {bytes} bytes wait to be carried to Dusk: send it again later")]
    Full {
        /// Bytes here.
        bytes: usize,
    },
    /// The account that pays on Dusk is too poor.
    #[error(
        "insufficient funds for gas * price + value: the Dusk account of this node's carrier has {have} lux and needs {need}: its operator must send it some"
    )]
    Funds {
        /// Lux there.
        have: u64,
        /// Lux needed.
        need: u64,
    },
}
