//! The data folder: who may use it, and what is in it.
//!
//! ```text
//! data/
//!   network/    genesis.json, rollup.json, l1-genesis.json: what this folder was made for
//!   l1/  l2/    databases
//!   txpool/     journal of accepted transactions
//!   sequencer/  journal of sealed blocks
//!   lock        held by the running process
//! ```

use super::NodeError;
use crate::{config::Config, network::Network};
use duskevm_executor::genesis_commit;
use duskevm_store::{
    Identity,
    l1::L1Store,
    l2::{L2Settings, L2Store},
};
use duskevm_supervision::Fence;
use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Everything that belongs into a data folder, besides the lock.
const KNOWN: [&str; 5] = ["network", "l1", "l2", "txpool", "sequencer"];
const LOCK: &str = "lock";

/// The databases of a node, opened once: actors come and go on top of them.
#[derive(Debug, Clone)]
pub struct Stores {
    /// Dusk blocks and their view.
    pub l1: L1Store,
    /// L2 blocks and state.
    pub l2: Arc<L2Store>,
}

/// A data folder that this process holds.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// Released when the process ends, however it ends.
    _lock: File,
}

impl DataFolder {
    /// Takes a folder, or makes it. A folder with foreign files in it is left alone.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn open(path: &Path) -> Result<Self, NodeError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| NodeError::Folder { path, source }
        };
        if path.exists() {
            for entry in fs::read_dir(path).map_err(failed(path))? {
                let name = entry.map_err(failed(path))?.file_name();
                let known = name.to_str().is_some_and(|name| name == LOCK || KNOWN.contains(&name));
                if !known {
                    let source = io::Error::other(format!(
                        "holds {}, which is not of duskevm: choose an empty folder or one that duskevm made",
                        name.to_string_lossy()
                    ));
                    return Err(NodeError::Folder { path: path.to_owned(), source });
                }
            }
        }
        fs::create_dir_all(path).map_err(failed(path))?;
        let lock_path = path.join(LOCK);
        let lock =
            File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(NodeError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(NodeError::Folder { path: lock_path, source }),
        }
    }

    /// Opens the databases, and begins the chains in a fresh folder.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn stores(&self, config: &Config, network: &Network) -> Result<Stores, NodeError> {
        let l1_identity = Identity { chain_id: network.rollup.l1_chain_id, genesis: network.l1.identity() };
        let l1 = L1Store::open(&self.path.join("l1"), &l1_identity)?;
        let l2_identity = Identity { chain_id: network.rollup.l2_chain_id, genesis: network.rollup.genesis.l2.hash };
        let settings = L2Settings {
            history_blocks: (!config.data.archive).then_some(config.data.history_blocks),
            ..L2Settings::default()
        };
        let l2 = L2Store::open(&self.path.join("l2"), &l2_identity, settings)?;
        if l2.is_empty() {
            let genesis =
                genesis_commit(&network.genesis_block, network.genesis_state.clone(), network.genesis_nodes.clone());
            // Nobody else writes yet.
            l2.init_genesis(&Fence::unfenced(), genesis)?;
        }
        Ok(Stores { l1, l2: Arc::new(l2) })
    }
}
