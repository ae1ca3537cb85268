//! The arguments of `duskevm l1`.

use std::path::PathBuf;
use std::time::Duration;

use alloy_primitives::B256;
use clap::{Args, Subcommand};
use duskevm_dusk_l1::keys::AccountId;

use super::amount::Dusk;
use crate::cli::args::{Target, duration};

/// Arguments of `l1`.
#[derive(Debug, Args)]
pub struct L1Args {
    /// What to do.
    #[command(subcommand)]
    pub command: L1Command,
}

/// What to do on the L1.
#[derive(Debug, Subcommand)]
pub enum L1Command {
    /// Stake DUSK to become a provisioner, or add to a stake. A new stake needs 1000 DUSK and counts when a whole epoch has passed.
    Stake {
        /// How much, in DUSK.
        #[arg(long, value_name = "DUSK")]
        amount: Dusk,
        /// How it is sent.
        #[command(flatten)]
        sending: Sending,
    },
    /// Take DUSK of a stake back. All of it, or so much that 1000 DUSK stay.
    Unstake {
        /// How much, in DUSK.
        #[arg(long, value_name = "DUSK")]
        amount: Dusk,
        /// How it is sent.
        #[command(flatten)]
        sending: Sending,
    },
    /// Take the rewards of a provisioner to its account.
    Withdraw {
        /// How much, in DUSK [default: all].
        #[arg(long, value_name = "DUSK")]
        amount: Option<Dusk>,
        /// How it is sent.
        #[command(flatten)]
        sending: Sending,
    },
    /// Give DUSK to another account.
    Transfer {
        /// The other account, in base58.
        #[arg(long, value_name = "ACCOUNT")]
        to: AccountId,
        /// How much, in DUSK.
        #[arg(long, value_name = "DUSK")]
        amount: Dusk,
        /// How it is sent.
        #[command(flatten)]
        sending: Sending,
    },
    /// Send the transaction that a JSON request on standard input describes, as wallets and scripts do; answer {"transactionHash"}.
    Submit {
        /// The key that signs.
        #[command(flatten)]
        key: KeyArgs,
        /// The node.
        #[command(flatten)]
        target: Target,
    },
    /// Wait until the transaction of a JSON request on standard input is in a block; answer what became of it.
    Wait {
        /// The node.
        #[command(flatten)]
        target: Target,
    },
    /// Ask a contract what a JSON request on standard input says; answer the value.
    Read {
        /// The node.
        #[command(flatten)]
        target: Target,
    },
    /// List all stakes.
    Provisioners {
        /// The node.
        #[command(flatten)]
        target: Target,
    },
    /// Show balance, stake and rewards of an account.
    Account {
        /// The account, in base58 [default: that of the key].
        #[arg(value_name = "ACCOUNT", conflicts_with_all = ["key", "dev"])]
        account: Option<AccountId>,
        /// Whose key.
        #[command(flatten)]
        key: KeyArgs,
        /// The node.
        #[command(flatten)]
        target: Target,
    },
    /// Show what became of a transaction.
    Transaction {
        /// Its id.
        #[arg(value_name = "ID")]
        id: B256,
        /// The node.
        #[command(flatten)]
        target: Target,
    },
}

/// How a transaction is signed and sent.
#[derive(Debug, Args)]
pub struct Sending {
    /// The key that signs.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Lux for each gas.
    #[arg(long, value_name = "LUX", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub gas_price: u64,
    /// Most gas that it may spend; a call that fails spends all of it [default: enough].
    #[arg(long, value_name = "GAS")]
    pub gas_limit: Option<u64>,
    /// How long to wait until it is in a block, such as `30s` or `5m`.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "2m")]
    pub timeout: Duration,
    /// The node.
    #[command(flatten)]
    pub target: Target,
}

/// Whose key is used.
#[derive(Debug, Args, Default)]
pub struct KeyArgs {
    /// Encrypted consensus key file [default: `keys.consensus` of the configuration].
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// File whose first line is the key file's password [default: the variable DUSKEVM_PASSWORD].
    #[arg(long, value_name = "FILE", conflicts_with = "dev")]
    pub password_file: Option<PathBuf>,
    /// Use the public key of provisioner N of a local network.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1", conflicts_with = "key",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub dev: Option<u64>,
}
