//! The arguments, as clap reads them. What they mean stands in the module of each command.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::NetworkName;

/// A whole DuskEVM rollup node in one program of supervised actors.
#[derive(Debug, Parser)]
#[command(name = "duskevm", version, arg_required_else_help = true, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a complete local DuskEVM, L1 included, with funded accounts.
    Dev(Box<DevArgs>),
    /// Run the actors that a configuration file switches on.
    Node(NodeArgs),
    /// Make a network: L1 and L2 genesis, rollup.json and a node configuration.
    Genesis(Box<GenesisArgs>),
    /// Show heads, actors and causes of a running node.
    Status(StatusArgs),
    /// List the actors of a running node, or do something to one of them.
    Actors(ActorsArgs),
    /// Stake, transfer and call contracts on the Dusk L1 of a running node.
    L1(Box<super::l1::L1Args>),
    /// Bring DUSK from the Dusk L1 of a running node to its L2.
    Bridge(super::bridge::BridgeArgs),
    /// Show the configuration.
    Config(ConfigArgs),
    /// Check a data folder while no node uses it.
    Db(DbArgs),
}

/// Parameters of a local network, shared by `dev` and `genesis`.
#[derive(Debug, Args, Default)]
pub struct ChainArgs {
    /// L2 chain id [default: 31310].
    #[arg(long, value_name = "ID")]
    pub chain_id: Option<u64>,
    /// Seconds from one L2 block to the next.
    #[arg(long, short = 'b', value_name = "SECONDS")]
    pub block_time: Option<u64>,
    /// Seconds from one L1 block to the next.
    #[arg(long, value_name = "SECONDS")]
    pub l1_block_time: Option<u64>,
    /// Gas limit of an L2 block.
    #[arg(long, value_name = "GAS")]
    pub gas_limit: Option<u64>,
    /// Activate Jovian at genesis.
    #[arg(long)]
    pub jovian: bool,
    /// Number of funded accounts [default: 10].
    #[arg(long, short = 'a', value_name = "N")]
    pub accounts: Option<u32>,
    /// DUSK on each of them [default: 10000].
    #[arg(long, value_name = "DUSK")]
    pub balance: Option<u64>,
    /// BIP-39 mnemonic that the accounts come from.
    #[arg(long, short = 'm', value_name = "WORDS")]
    pub mnemonic: Option<String>,
}

/// Arguments of `dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// The network.
    #[command(flatten)]
    pub chain: ChainArgs,
    /// Port of the L2 JSON-RPC (HTTP and WebSocket); 0 takes a free one [default: 9545].
    #[arg(long, short = 'p', value_name = "PORT")]
    pub port: Option<u16>,
    /// Port of the L1 JSON-RPC (HTTP and WebSocket); 0 takes a free one [default: 8545].
    #[arg(long, value_name = "PORT")]
    pub l1_rpc_port: Option<u16>,
    /// Port of the rollup node's RPC (HTTP and WebSocket); 0 takes a free one [default: 9547].
    #[arg(long, value_name = "PORT")]
    pub rollup_rpc_port: Option<u16>,
    /// Address that the L2 JSON-RPC and the HTTP server listen on [default: 127.0.0.1].
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<IpAddr>,
    /// Port of the admin JSON-RPC; 0 takes a free one [default: 9546].
    #[arg(long, value_name = "PORT")]
    pub admin_port: Option<u16>,
    /// Port of metrics and health; 0 takes a free one [default: 7300].
    #[arg(long, value_name = "PORT")]
    pub metrics_port: Option<u16>,
    /// Port of the blob APIs; 0 takes a free one [default: 5052].
    #[arg(long, value_name = "PORT")]
    pub blob_port: Option<u16>,
    /// Provisioners that agree on L1, all in this process [default: 1].
    #[arg(long, value_name = "N")]
    pub provisioners: Option<u64>,
    /// Keep the chain in this folder instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Keep the state of every block.
    #[arg(long)]
    pub archive: bool,
    /// Log level or directives, such as `debug` or `info,duskevm_executor=debug`.
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// Log lines as JSON.
    #[arg(long)]
    pub json_logs: bool,
    /// Print neither the banner nor log lines.
    #[arg(long, conflicts_with = "log")]
    pub silent: bool,
    /// Print no banner.
    #[arg(long)]
    pub no_banner: bool,
    /// Configuration file below the flags.
    #[arg(long, short = 'c', value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Arguments of `node`.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Configuration file.
    #[arg(long, short = 'c', value_name = "FILE")]
    pub config: PathBuf,
    /// Folder of the databases, instead of the file's.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// File with the secret of the Engine API, instead of the file's.
    #[arg(long, value_name = "FILE")]
    pub jwt_secret: Option<PathBuf>,
    /// Log level or directives, instead of the file's.
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// Log lines as JSON.
    #[arg(long)]
    pub json_logs: bool,
}

/// Arguments of `genesis`.
#[derive(Debug, Args)]
pub struct GenesisArgs {
    /// Folder to write into; it is made if it does not exist.
    #[arg(long, short = 'o', value_name = "DIR")]
    pub out: PathBuf,
    /// Write the files of the network that a node keeps in this data folder, or that lies in this folder, instead of making one.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["network", "ChainArgs", "config", "provisioners"])]
    pub from: Option<PathBuf>,
    /// Network to make [default: local]. No other can be made: the public networks exist already.
    #[arg(long, value_enum)]
    pub network: Option<NetworkName>,
    /// The network's parameters.
    #[command(flatten)]
    pub chain: ChainArgs,
    /// Configuration file below the flags.
    #[arg(long, short = 'c', value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Make so many provisioners with keys of their own, and a configuration for a node of each.
    #[arg(long, value_name = "N")]
    pub provisioners: Option<u64>,
    /// DUSK that each of them stakes [default: 1000000].
    #[arg(long, value_name = "DUSK", requires = "provisioners")]
    pub stake: Option<u64>,
    /// File whose first line is the password of their key files [default: the variable DUSKEVM_PASSWORD].
    #[arg(long, value_name = "FILE", requires = "provisioners")]
    pub password_file: Option<PathBuf>,
    /// Replace files that are there already.
    #[arg(long, conflicts_with = "provisioners")]
    pub force: bool,
}

/// How to reach a running node.
#[derive(Debug, Args, Default)]
pub struct Target {
    /// Configuration file of the node; its admin address is used.
    #[arg(long, short = 'c', value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// URL of the node's admin JSON-RPC [default: http://127.0.0.1:9546].
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    pub admin: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The node.
    #[command(flatten)]
    pub target: Target,
}

/// Arguments of `actors`.
#[derive(Debug, Args)]
pub struct ActorsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ActorsCommand,
}

/// What to do with actors.
#[derive(Debug, Subcommand)]
pub enum ActorsCommand {
    /// List all actors with their state, restarts and what they wait for.
    List {
        /// The node.
        #[command(flatten)]
        target: Target,
    },
    /// Stop an actor, as if it had ended by itself; its supervisor replaces it.
    Kill {
        /// Name of the actor.
        name: String,
        /// The node.
        #[command(flatten)]
        target: Target,
    },
    /// Make an actor panic.
    Panic {
        /// Name of the actor.
        name: String,
        /// The node.
        #[command(flatten)]
        target: Target,
    },
    /// Block an actor's thread.
    Hang {
        /// Name of the actor.
        name: String,
        /// For how long, such as `500ms`, `30s` or `2m`.
        #[arg(long = "for", value_name = "TIME", value_parser = duration, default_value = "30s")]
        time: Duration,
        /// The node.
        #[command(flatten)]
        target: Target,
    },
    /// Replace an actor in order.
    Restart {
        /// Name of the actor.
        name: String,
        /// The node.
        #[command(flatten)]
        target: Target,
    },
}

/// Arguments of `config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the effective configuration and where each value comes from.
    Show {
        /// Configuration file.
        #[arg(long, short = 'c', value_name = "FILE")]
        config: Option<PathBuf>,
        /// Start from the settings of `duskevm dev`.
        #[arg(long)]
        dev: bool,
        /// Print JSON.
        #[arg(long, conflicts_with = "docs")]
        json: bool,
        /// Print what each setting means.
        #[arg(long)]
        docs: bool,
        /// Print secrets.
        #[arg(long)]
        secrets: bool,
    },
}

/// Arguments of `db`.
#[derive(Debug, Args)]
pub struct DbArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DbCommand,
}

/// What to do with a data folder.
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Check that the files are whole and fit together.
    Check(DbTarget),
    /// Execute every block again from genesis and compute every root from scratch.
    Verify(DbTarget),
}

/// Which data folder.
#[derive(Debug, Args)]
pub struct DbTarget {
    /// The data folder.
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    pub data_dir: Option<PathBuf>,
    /// Configuration file that names it.
    #[arg(long, short = 'c', value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A time with its unit: `500ms`, `30s`, `2m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a time: write for example 500ms, 30s or 2m");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        _ => None,
    };
    milliseconds.map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "5", "s", "-1s", "1.5s", "5h", "99999999999999999999s", "18446744073709551615m"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_command_is_understood() {
        for line in [
            "duskevm dev",
            "duskevm dev --block-time 1 --l1-block-time 3 --accounts 100 --balance 5 --port 0 --host 0.0.0.0 \
             --admin-port 0 --metrics-port 0 --blob-port 0 --l1-rpc-port 0 --rollup-rpc-port 0 --provisioners 4 --data-dir d --archive --jovian --log debug --json-logs --no-banner \
             --chain-id 99 --config f --gas-limit 30000000",
            "duskevm dev --silent",
            "duskevm node --config f",
            "duskevm genesis --out d --network testnet --force",
            "duskevm genesis --out d --provisioners 4 --stake 2000 --password-file p --l1-block-time 2",
            "duskevm genesis --out d --from data --force",
            "duskevm status --json",
            "duskevm status --admin http://127.0.0.1:1",
            "duskevm actors list",
            "duskevm actors kill executor --config f",
            "duskevm actors panic rpc",
            "duskevm actors hang sequencer --for 10s",
            "duskevm actors restart l1 --json",
            "duskevm l1 stake --amount 1000 --dev",
            "duskevm l1 unstake --amount 0.5 --key k --password-file p --admin http://127.0.0.1:1 --json",
            "duskevm l1 withdraw --config f --timeout 10s --gas-price 2 --gas-limit 9000000",
            "duskevm l1 provisioners --json",
            "duskevm l1 account --dev",
            "duskevm l1 submit --dev 2",
            "duskevm l1 wait --admin http://127.0.0.1:1",
            "duskevm l1 read --config f",
            "duskevm bridge deposit --amount 1.5 --to 0xb0b0000000000000000000000000000000000b0b --dev",
            "duskevm config show --dev --docs",
            "duskevm db check --data-dir d",
            "duskevm db verify --config f --json",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in [
            "duskevm",
            "duskevm run",
            "duskevm node",
            "duskevm dev --port 70000",
            "duskevm dev --host nowhere",
            "duskevm dev --silent --log debug",
            "duskevm genesis",
            "duskevm genesis --out d --network moon",
            "duskevm genesis --from d",
            "duskevm genesis --out d --from data --chain-id 5",
            "duskevm genesis --out d --from data --provisioners 4",
            "duskevm genesis --out d --stake 2000",
            "duskevm genesis --out d --password-file p",
            "duskevm genesis --out d --provisioners 4 --force",
            "duskevm actors",
            "duskevm actors kill",
            "duskevm actors hang executor --for 10",
            "duskevm status --config f --admin http://x",
            "duskevm db verify",
            "duskevm l1",
            "duskevm l1 stake --dev",
            "duskevm l1 stake --dev --amount 0",
            "duskevm l1 stake --dev --amount 1.0000000001",
            "duskevm l1 stake --dev --key k --amount 1",
            "duskevm l1 withdraw --dev --gas-price 0",
            "duskevm l1 transfer --dev --amount 1 --to abc",
            "duskevm l1 transaction 0x01",
            "duskevm bridge deposit --amount 0 --to 0xb0b0000000000000000000000000000000000b0b --dev",
            "duskevm bridge deposit --amount 1.0000000001 --to 0xb0b0000000000000000000000000000000000b0b --dev",
            "duskevm bridge deposit --amount 1 --to b0b --dev",
            "duskevm config show --json --docs",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
