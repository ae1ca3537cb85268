//! What can be wrong with a genesis.

use alloy_primitives::Address;

use crate::fork::Fork;

/// Why a genesis cannot be built or read. Every message says what to change.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// No fork has this name.
    #[error("there is no fork named {name:?}; known are {known}")]
    UnknownFork {
        /// The name as given.
        name: String,
        /// The names that exist, separated by commas.
        known: String,
    },
    /// A fork that exists, but whose rules this program does not have.
    #[error("fork {name} cannot be scheduled: {reason}; leave it out")]
    UnsupportedFork {
        /// Name of the fork.
        name: String,
        /// What is missing.
        reason: &'static str,
    },
    /// A fork has a time, but an earlier one has none.
    #[error("{later} has an activation time, but {missing} before it has none; give it one that is not later")]
    ForkGap {
        /// The fork without a time.
        missing: Fork,
        /// The fork that has one.
        later: Fork,
    },
    /// A fork is scheduled before its predecessor.
    #[error("{later} (at {later_time}) must not activate before {earlier} (at {earlier_time})")]
    ForkOrder {
        /// The predecessor.
        earlier: Fork,
        /// Its time, in seconds.
        earlier_time: u64,
        /// The fork that comes too early.
        later: Fork,
        /// Its time, in seconds.
        later_time: u64,
    },
    /// No network has this name or chain id.
    #[error(
        "no DuskEVM network is known as {0:?}; known are mainnet (744), testnet (745), devnet (310) and local (31310)"
    )]
    UnknownNetwork(String),
    /// The network exists, but nothing about its genesis is built in.
    #[error(
        "nothing about the genesis of DuskEVM {network} (chain id {chain_id}) is built into this program, because no final \
         values were published when it was made; load the genesis.json and rollup.json that the network publishes"
    )]
    NoBuiltInGenesis {
        /// Name of the network.
        network: &'static str,
        /// Its L2 chain id.
        chain_id: u64,
    },
    /// The network has no fixed first block to tell about.
    #[error("the {0} network has no published configuration: every node that starts one makes its first block anew")]
    MadeAnew(&'static str),
    /// The chain id belongs to a public network, whose state was not made by this crate's contracts.
    #[error(
        "chain id {chain_id} is that of DuskEVM {network}, whose first block is fixed by the genesis.json that it \
         publishes, with contracts of its own; load that file, or choose another chain id for a network of your own"
    )]
    PublicNetwork {
        /// Name of the network.
        network: &'static str,
        /// Its L2 chain id.
        chain_id: u64,
    },
    /// A value of the specification makes no working chain.
    #[error("{field} {problem}")]
    InvalidSpec {
        /// Which value.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A funded account stands at the address of a system contract.
    #[error("account {0} cannot be funded: its address belongs to a system contract; choose another one")]
    AccountCollision(Address),
    /// A file is not the JSON that it should be.
    #[error("{file} cannot be read: {source}")]
    Json {
        /// Which file.
        file: &'static str,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A file is well-formed, but says something that cannot be.
    #[error("{file}: {field} {problem}")]
    BadFile {
        /// Which file.
        file: &'static str,
        /// Which of its values.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A compiled contract inside this program is damaged.
    #[error(
        "the embedded contract {name} is damaged ({problem}); rebuild the artifacts with: node contracts/build.mjs"
    )]
    Artifact {
        /// Which contract.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A contract whose runtime code differs from one instance to the next.
    #[error("contract {0} has no runtime code of its own: its constructor completes it; let its factory make one")]
    NoRuntimeCode(&'static str),
    /// The keys of the development accounts could not be derived.
    #[error("the development accounts could not be derived from their mnemonic: {0}")]
    DevAccounts(String),
}

impl GenesisError {
    pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::InvalidSpec { field, problem: problem.into() }
    }
}
