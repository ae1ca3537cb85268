//! `duskevm genesis`: makes the files of a network, or writes those of an existing one.

mod nodes;

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
    /// `l1-chain-config.json`: the view of L1 as an Ethereum chain, in the form of geth.
    pub l1_chain: String,
}

/// Name of the node configuration that is written beside the genesis.
const NODE_FILE: &str = "node.toml";

pub(crate) fn run(args: GenesisArgs) -> Result<u8, CliError> {
    if let Some(folder) = &args.from {
        let files = shared(node::genesis_in(folder).map_err(CliError::Failed)?);
        write_all(&args.out, &files, args.force).map_err(CliError::Failed)?;
        print(&written(&args.out, &files))?;
        return Ok(OK);
    }
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
    if let Some(count) = args.provisioners {
        return nodes::run(&args, &effective, count);
    }
    let files = node::genesis(&effective.config).map_err(CliError::Failed)?;
    let mut files = shared(files);
    // It may hold a mnemonic.
    files.push(Output::secret(NODE_FILE, node_file(&effective)));
    write_all(&args.out, &files, args.force).map_err(CliError::Failed)?;
    let mut text = written(&args.out, &files);
    text.push_str(&format!("start it with: duskevm node --config {}\n", args.out.join(NODE_FILE).display()));
    print(&text)?;
    Ok(OK)
}

/// Which files there are now.
fn written(out: &Path, files: &[Output]) -> String {
    files.iter().map(|file| format!("wrote {}\n", out.join(&file.name).display())).collect()
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
        effective.to_file(&["network", "data", "l2", "l2.forks", "genesis", "l1.provisioners", "l1.block_time"])
    )
}

/// One file to write.
struct Output {
    name: String,
    content: Vec<u8>,
    /// For its owner only.
    secret: bool,
}

impl Output {
    fn public(name: &str, content: impl Into<Vec<u8>>) -> Self {
        Self { name: name.to_owned(), content: content.into(), secret: false }
    }

    fn secret(name: &str, content: impl Into<Vec<u8>>) -> Self {
        Self { name: name.to_owned(), content: content.into(), secret: true }
    }
}

/// The files that all nodes of a network have in common.
fn shared(files: GenesisFiles) -> Vec<Output> {
    vec![
        Output::public("genesis.json", files.l2),
        Output::public("rollup.json", files.rollup),
        Output::public("l1-genesis.json", files.l1),
        Output::public("l1-chain-config.json", files.l1_chain),
    ]
}

/// Refuses to replace a file.
fn none_exists<'a>(out: &Path, names: impl IntoIterator<Item = &'a str>, way_out: &str) -> anyhow::Result<()> {
    match names.into_iter().find(|name| out.join(name).symlink_metadata().is_ok()) {
        None => Ok(()),
        Some(name) => anyhow::bail!(
            "{} is there already, and a network's genesis must not change under its nodes: choose another folder{way_out}",
            out.join(name).display()
        ),
    }
}

/// Writes all files or, if one of them exists and may not be replaced, none.
fn write_all(out: &Path, files: &[Output], force: bool) -> anyhow::Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    if !force {
        none_exists(out, files.iter().map(|file| file.name.as_str()), ", or replace it with --force")?;
    }
    for output in files {
        let path = out.join(&output.name);
        let mut options = OpenOptions::new();
        options.write(true).mode(if output.secret { 0o600 } else { 0o644 });
        if force {
            options.create(true).truncate(true)
        } else {
            options.create_new(true)
        };
        options
            .open(&path)
            .and_then(|mut file| {
                file.write_all(&output.content)?;
                file.sync_all()
            })
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    fs::File::open(out).and_then(|folder| folder.sync_all()).with_context(|| out.display().to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_replaced_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("new/network");
        let files = [Output::public("a", "1"), Output::public("b", "2")];
        write_all(&out, &files, false).unwrap();
        fs::remove_file(out.join("a")).unwrap();
        let error = write_all(&out, &files, false).unwrap_err().to_string();
        assert!(error.contains("--force") && error.contains("/b"), "{error}");
        assert!(!out.join("a").exists(), "all or none");
        write_all(&out, &[Output::public("b", "3")], true).unwrap();
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
        assert_eq!(config.l1.block_time, 10, "the genesis has it");
        assert_eq!(config.keys.mnemonic.reveal(), words);
        assert_eq!(config.data.dir, Some(folder.path().join("data")));
        assert_eq!(config.network.genesis, Some(folder.path().join(".")));
    }
}
