//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use std::path::PathBuf;

/// Signs beforehand, submits over JSON-RPC, reports what was included and when.
#[derive(Debug, Parser)]
#[command(name = "duskevm-load", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put a load on one node.
    Run(RunArgs),
    /// Put the same signed load on several nodes, one after the other.
    Compare(CompareArgs),
    /// Send single transactions and measure how long each takes until it is in a block, safe and final.
    Settle(SettleArgs),
    /// Look up in a node everything that an earlier `run --record` was told.
    Check(CheckArgs),
    /// Print one Markdown table of what benches and `compare` have measured.
    Table(TableArgs),
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Transfers of the native coin.
    Native,
    /// Transfers of an ERC-20 that the load deploys.
    Erc20,
    /// Both in turn.
    Mixed,
}

/// The load itself.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoadArgs {
    /// What to send.
    #[arg(long, value_enum, default_value = "native")]
    pub(crate) kind: Kind,
    /// Number of transactions; rounded up to the same number for each account.
    #[arg(long, short = 'n', default_value_t = 20_000)]
    pub(crate) transactions: u64,
    /// Accounts that send them. A pool limits how many transactions of one account may wait.
    #[arg(long, default_value_t = 200)]
    pub(crate) accounts: u64,
    /// Mnemonic of the funded accounts (m/44'/60'/0'/0/i) that pay for it all.
    #[arg(long, default_value = "test test test test test test test test test test test junk")]
    pub(crate) mnemonic: String,
    /// How many accounts of the mnemonic are funded.
    #[arg(long, default_value_t = 10)]
    pub(crate) sources: u32,
    /// Number that the sending accounts are derived from [default: random].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Highest fee per gas in gwei.
    #[arg(long, default_value_t = 100)]
    pub(crate) max_fee_gwei: u64,
    /// Priority fee per gas in gwei.
    #[arg(long, default_value_t = 1)]
    pub(crate) tip_gwei: u64,
}

/// How it is sent and watched.
#[derive(Debug, Clone, Args)]
pub(crate) struct PaceArgs {
    /// Transactions per second, whatever the answers are (open loop). Without it: as fast as answers come (closed loop).
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// HTTP connections, each with one request on its way.
    #[arg(long, default_value_t = 32)]
    pub(crate) connections: usize,
    /// Transactions in one JSON-RPC batch request, at most.
    #[arg(long, default_value_t = 1)]
    pub(crate) batch: usize,
    /// Closed loop: wait while this many are accepted and not yet included; 0 is no bound.
    #[arg(long, default_value_t = 20_000)]
    pub(crate) max_pending: u64,
    /// Milliseconds between looks for a new block.
    #[arg(long, default_value_t = 20)]
    pub(crate) poll_ms: u64,
    /// Stop when nothing new was included for this many seconds.
    #[arg(long, default_value_t = 30)]
    pub(crate) drain_seconds: u64,
    /// Outlive restarts of the node: reconnect, and send again what was not answered or was refused for the moment.
    #[arg(long)]
    pub(crate) resilient: bool,
    /// Resilient: how many seconds the node may be away.
    #[arg(long, default_value_t = 60)]
    pub(crate) give_up_seconds: u64,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// JSON-RPC of the node.
    #[arg(long, default_value = "http://127.0.0.1:9545")]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    /// Seconds that an open-loop load lasts; replaces --transactions.
    #[arg(long, requires = "rate", conflicts_with = "transactions")]
    pub(crate) seconds: Option<u64>,
    /// Afterwards read all blocks again: every accepted transaction is in exactly one, nonces have no gap, no block has changed.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Append to this file whatever the node told: accepted transactions and blocks. `check` reads it.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Process of the node, whose memory is reported.
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Write the report as JSON into this file; `-` prints it instead of the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Start this duskevm (`dev`) and load it.
    #[arg(long, value_name = "BIN")]
    pub(crate) spawn_duskevm: Option<PathBuf>,
    /// Start this anvil with the same block time, and load it.
    #[arg(long, value_name = "BIN")]
    pub(crate) spawn_anvil: Option<PathBuf>,
    /// Load anvil a second time, mining each transaction at once, as it does by itself. Under a load of many accounts anvil 1.7
    /// then leaves most of what it accepted in its pool, which the report shows as lost.
    #[arg(long, requires = "spawn_anvil")]
    pub(crate) anvil_at_once: bool,
    /// Load a node that runs already, on a fresh chain with the funded accounts. May be repeated.
    #[arg(long = "url", value_name = "NAME=URL")]
    pub(crate) urls: Vec<String>,
    /// Seconds between blocks of what is started.
    #[arg(long, default_value_t = 2)]
    pub(crate) block_time: u64,
    /// Gas limit of the blocks of what is started: high, so that it is not what is measured.
    #[arg(long, default_value_t = 1_000_000_000)]
    pub(crate) gas_limit: u64,
    /// One more argument for duskevm. May be repeated.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) duskevm_arg: Vec<String>,
    /// One more argument for anvil. May be repeated.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) anvil_arg: Vec<String>,
    /// One more environment variable for duskevm. May be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) duskevm_env: Vec<String>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    /// Write the report as JSON into this file; `-` prints it instead of the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    /// Criterion's folder, `criterion` in the target folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) criterion: Option<PathBuf>,
    /// Show the blocks (`cargo bench --bench blocks`).
    #[arg(long, requires = "criterion")]
    pub(crate) blocks: bool,
    /// Show the messages between actors (`cargo bench -p duskevm-supervision`).
    #[arg(long, requires = "criterion")]
    pub(crate) supervision: bool,
    /// Show what `compare --json FILE` has written. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) compare: Vec<PathBuf>,
    /// The day of the measurement.
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) date: String,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// JSON-RPC of the node.
    #[arg(long, default_value = "http://127.0.0.1:9545")]
    pub(crate) url: String,
    /// The file that `run --record` wrote.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: PathBuf,
    /// Seconds to wait for transactions that are not in a block yet.
    #[arg(long, default_value_t = 30)]
    pub(crate) wait_seconds: u64,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SettleArgs {
    /// JSON-RPC of the node, which must derive from L1 where somebody posts batches.
    #[arg(long, default_value = "http://127.0.0.1:9545")]
    pub(crate) url: String,
    /// Number of transactions.
    #[arg(long, short = 'n', default_value_t = 30)]
    pub(crate) count: usize,
    /// Milliseconds from one to the next.
    #[arg(long, default_value_t = 1_700)]
    pub(crate) every_ms: u64,
    /// Mnemonic of the funded accounts.
    #[arg(long, default_value = "test test test test test test test test test test test junk")]
    pub(crate) mnemonic: String,
    /// Which account of it sends.
    #[arg(long, default_value_t = 9)]
    pub(crate) account: u32,
    /// Milliseconds between looks at the node.
    #[arg(long, default_value_t = 100)]
    pub(crate) poll_ms: u64,
    /// Seconds to wait for the last one.
    #[arg(long, default_value_t = 600)]
    pub(crate) give_up_seconds: u64,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
