//! `duskevm genesis`: makes the files of a network.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;

use super::args::GenesisArgs;
use super::dev::chain_flags;
use super::{CliError, OK, print};
use crate::config::{Effective, Loader, NetworkName};
use crate::node;

/// The files of a network, each as its whole text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisFiles {
    /// `genesis.json`: L2 in the form of geth.
    pub l2: String,
    /// `rollup.json`: the rollup configuration in the form of op-node.
    pub rollup: String,
    /// `l1-genesis.json`: the embedded L1.
    pub l1: String,
}

/// Name of the node configuration that is written beside the genesis.
const NODE_FILE: &str = "node.toml";

pub(crate) fn run(args: GenesisArgs) -> Result<u8, CliError> {
    let mut loader = Loader::new().file(args.config.as_deref()).environment(std::env::vars_os());
    if let Some(network) = args.network {
        // Before anything else of that network is asked for, such as keys of one's own.
        only_local(network)?;
        loader = loader.flag("--network", "network.name", network.to_string());
    }
    let effective = chain_flags(loader, &args.chain)?.load()?;
    if effective.config.network.genesis.is_some() {
        return Err(CliError::Usage(
            "`network.genesis` names a genesis that exists already: remove it to make a new one".to_owned(),
        ));
    }
    only_local(effective.config.network.name)?;
    let files = node::genesis(&effective.config).map_err(CliError::Failed)?;
    let files = [
        ("genesis.json", files.l2),
        ("rollup.json", files.rollup),
        ("l1-genesis.json", files.l1),
        (NODE_FILE, node_file(&effective)),
    ];
    write_all(&args.out, &files, args.force).map_err(CliError::Failed)?;
    let mut text = String::new();
    for (name, _) in &files {
        text.push_str(&format!("wrote {}\n", args.out.join(name).display()));
    }
    text.push_str(&format!("start it with: duskevm node --config {}\n", args.out.join(NODE_FILE).display()));
    print(&text)?;
    Ok(OK)
}

/// Refuses the public networks: what is made here would carry the name and the chain id of one, and be another chain.
fn only_local(network: NetworkName) -> Result<(), CliError> {
    if network == NetworkName::Local {
        return Ok(());
    }
    Err(CliError::Usage(format!(
        "{network} exists already, and this command makes new local networks only: leave out --network and \
         `network.name`, and give a chain id of your own with --chain-id if you need one"
    )))
}

/// A configuration that runs a node of the new network. What became part of the genesis is not repeated; a mnemonic of
/// one's own is, because the node needs its keys.
fn node_file(effective: &Effective) -> String {
    format!(
        "# A node of the network whose files lie beside this one. `duskevm config show --docs` explains every setting.\n\n\
         [network]\nname = \"{}\"\ngenesis = \".\"\n\n\
         [data]\ndir = \"data\"\n{}",
        effective.config.network.name,
        effective.to_file(&["network", "data", "l2", "l2.forks", "genesis"])
    )
}

/// Writes all files or, if one of them exists and may not be replaced, none.
fn write_all(out: &Path, files: &[(&str, String)], force: bool) -> anyhow::Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    if !force && let Some((name, _)) = files.iter().find(|(name, _)| out.join(name).exists()) {
        anyhow::bail!(
            "{} is there already, and a network's genesis must not change under its nodes: choose another folder, or replace it with --force",
            out.join(name).display()
        );
    }
    for (name, text) in files {
        let path = out.join(name);
        let mut options = OpenOptions::new();
        // The node's file may hold a mnemonic.
        options.write(true).mode(if *name == NODE_FILE { 0o600 } else { 0o644 });
        if force {
            options.create(true).truncate(true)
        } else {
            options.create_new(true)
        };
        options
            .open(&path)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            })
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_replaced_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("new/network");
        let files = [("a", "1".to_owned()), ("b", "2".to_owned())];
        write_all(&out, &files, false).unwrap();
        fs::remove_file(out.join("a")).unwrap();
        let error = write_all(&out, &files, false).unwrap_err().to_string();
        assert!(error.contains("--force") && error.contains("/b"), "{error}");
        assert!(!out.join("a").exists(), "all or none");
        write_all(&out, &[("b", "3".to_owned())], true).unwrap();
        assert_eq!(fs::read_to_string(out.join("b")).unwrap(), "3");
    }

    #[test]
    fn the_node_file_is_a_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let words = "legal winner thank year wave sausage worth useful legal winner thank yellow";
        let effective = Loader::new()
            .flag("--l1-block-time", "l1.block_time", 12)
            .flag("--gas-limit", "l2.gas_limit", 30_000_000)
            .flag("--mnemonic", "keys.mnemonic", words)
            .load()
            .unwrap();
        let path = folder.path().join(NODE_FILE);
        fs::write(&path, node_file(&effective)).unwrap();
        let config = Loader::new().needs_data_dir().file(Some(&path)).load().unwrap().config;
        assert_eq!(config.l1.block_time, 12);
        assert_eq!(config.keys.mnemonic.reveal(), words);
        assert_eq!(config.data.dir, Some(folder.path().join("data")));
        assert_eq!(config.network.genesis, Some(folder.path().join(".")));
    }
}
