//! `duskevm dev`: the whole stack in one process.

use std::time::Instant;

use super::accounts::dev_accounts;
use super::args::{ChainArgs, DevArgs};
use super::signals::Leftover;
use super::start::{self, absolute, path};
use super::{CliError, Failure, banner, print};
use crate::config::{Loader, Origin};
use crate::logging;

/// The layer of the flags that describe a local network.
pub(crate) fn chain_flags(mut loader: Loader, args: &ChainArgs) -> Result<Loader, CliError> {
    let numbers = [
        ("--chain-id", "l2.chain_id", args.chain_id),
        ("--block-time", "l2.block_time", args.block_time),
        ("--l1-block-time", "l1.block_time", args.l1_block_time),
        ("--gas-limit", "l2.gas_limit", args.gas_limit),
        ("--accounts", "genesis.accounts", args.accounts.map(u64::from)),
        ("--balance", "genesis.balance", args.balance),
    ];
    for (flag, path, value) in numbers {
        if let Some(value) = value {
            let value = i64::try_from(value)
                .map_err(|_| CliError::Usage(format!("the value of {flag} is out of range: {value}")))?;
            loader = loader.flag(flag, path, value);
        }
    }
    if args.jovian {
        loader = loader.flag("--jovian", "l2.forks.jovian", 0);
    }
    if let Some(mnemonic) = &args.mnemonic {
        loader = loader.flag("--mnemonic", "keys.mnemonic", mnemonic.as_str());
    }
    Ok(loader)
}

/// The configuration that the arguments ask for.
pub(crate) fn loader(args: &DevArgs) -> Result<Loader, CliError> {
    let mut loader = Loader::dev().file(args.config.as_deref()).environment(std::env::vars_os());
    loader = chain_flags(loader, &args.chain)?;
    for (flag, path, port) in [
        ("--port", "rpc.port", args.port),
        ("--l1-rpc-port", "l1_rpc.port", args.l1_rpc_port),
        ("--rollup-rpc-port", "rollup_rpc.port", args.rollup_rpc_port),
        ("--admin-port", "admin.port", args.admin_port),
        ("--metrics-port", "http.port", args.metrics_port),
        ("--blob-port", "blobs.port", args.blob_port),
    ] {
        if let Some(port) = port {
            loader = loader.flag(flag, path, i64::from(port));
        }
    }
    if let Some(provisioners) = args.provisioners {
        let provisioners = i64::try_from(provisioners)
            .map_err(|_| CliError::Usage(format!("the value of --provisioners is out of range: {provisioners}")))?;
        loader = loader.flag("--provisioners", "l1.provisioners", provisioners);
    }
    if let Some(host) = args.host {
        loader = loader.flag("--host", "rpc.host", host.to_string()).flag("--host", "http.host", host.to_string());
    }
    if let Some(dir) = &args.data_dir {
        loader = loader.flag("--data-dir", "data.dir", path(&absolute(dir.clone()))?);
    }
    if args.archive {
        loader = loader.flag("--archive", "data.archive", true);
    }
    if let Some(level) = &args.log {
        loader = loader.flag("--log", "log.level", level.as_str());
    }
    if args.silent {
        loader = loader.flag("--silent", "log.level", "off");
    }
    if args.json_logs {
        loader = loader.flag("--json-logs", "log.format", "json");
    }
    Ok(loader)
}

/// `duskevm dev`.
pub(crate) fn run(args: DevArgs) -> Result<u8, CliError> {
    let began = Instant::now();
    let mut effective = loader(&args)?.load()?;
    let accounts = dev_accounts(&effective.config.keys.mnemonic, effective.config.genesis.accounts)
        .map_err(|error| CliError::Usage(error.to_string()))?;
    logging::init(&effective.config.log).map_err(Failure)?;

    // Removed when it is dropped at the end of this function, after the node has let go of it.
    let temporary = match effective.config.data.dir {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("duskevm-dev-").tempdir().map_err(Failure)?),
    };
    let leftover = Leftover::default();
    if let Some(folder) = &temporary {
        effective.set_data_dir(folder.path().to_owned(), Origin::Dev);
        leftover.set(Some(folder.path().to_owned()));
    }

    let config = effective.config.clone();
    let quiet = args.silent || args.no_banner;
    let ephemeral = temporary.is_some();
    let outcome = start::run(config, leftover, move |endpoints, config| {
        if !quiet {
            let shown = accounts.get(..config.genesis.accounts as usize).unwrap_or(&accounts);
            let text = banner::text(config, shown, endpoints, ephemeral, began.elapsed());
            if let Err(error) = print(&text) {
                tracing::warn!(%error, "the banner could not be printed");
            }
        }
    });
    if let Some(folder) = temporary {
        // Some file systems take seconds for it.
        tracing::info!(folder = %folder.path().display(), "removing the temporary data folder; --data-dir would keep it");
        if let Err(error) = folder.close() {
            tracing::warn!(%error, "the temporary data folder could not be removed");
        }
    }
    outcome
}
