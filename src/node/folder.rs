//! The data folder: who may use it, and what is in it.
//!
//! ```text
//! data/
//!   network/    genesis.json, rollup.json, l1-genesis.json: what this folder was made for
//!   l1/  l2/    databases
//!   blobs/      database of the blobs of L1
//!   votes/      journal of the votes that this node has cast
//!   gossip/     the identity under which peers know this node, and the peers that it knows
//!   txpool/     journal of accepted transactions
//!   sequencer/  journal of sealed blocks
//!   provisioners/2/ …  the same of L1 for each further provisioner of a local network: l1/ blobs/ votes/ gossip/
//!   jwt.hex     the secret of the Engine API, unless engine_api.jwt_secret names another one
//!   lock        held by the running process
//! ```

use super::NodeError;
use crate::{config::Config, network::Network};
use duskevm_executor::genesis_commit;
use duskevm_store::{
    Identity,
    blobs::BlobStore,
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
const KNOWN: [&str; 15] = [
    "network",
    "l1",
    "l2",
    "blobs",
    "votes",
    "gossip",
    "block-gossip",
    "txpool",
    "sequencer",
    "batcher",
    "carrier",
    "answered",
    PROVISIONERS,
    JWT_SECRET,
    JWT_SECRET_NEW,
];
const PROVISIONERS: &str = "provisioners";
const LOCK: &str = "lock";
/// The secret of the Engine API.
pub(super) const JWT_SECRET: &str = "jwt.hex";
/// The same while it is being written.
pub(super) const JWT_SECRET_NEW: &str = "jwt.new";
/// What the root of a file system of its own holds.
const LOST_AND_FOUND: &str = "lost+found";
/// The file that every database of this program begins with.
const DATABASE_FILE: &str = "duskevm.meta";
/// The length of a journal's file without records.
const EMPTY_SEGMENT: u64 = 32;

/// The databases of a node, opened once: actors come and go on top of them.
#[derive(Debug, Clone)]
pub struct Stores {
    /// L1 as this node's provisioner has it; `None` where no L1 runs.
    pub l1: Option<DuskStores>,
    /// L2 blocks and state.
    pub l2: Arc<L2Store>,
    /// L1 as the further provisioners of this process have it.
    pub further: Vec<DuskStores>,
}

/// The L1 of one provisioner.
#[derive(Debug, Clone)]
pub struct DuskStores {
    /// Where it keeps what is no database: journal of votes, identity.
    pub folder: PathBuf,
    /// Dusk blocks and their view.
    pub chain: L1Store,
    /// Their blobs; `None` where none are kept.
    pub blobs: Option<BlobStore>,
}

impl DuskStores {
    fn open(folder: PathBuf, identity: &Identity, keeps_blobs: bool) -> Result<Self, NodeError> {
        let chain = L1Store::open(&folder.join("l1"), identity)?;
        let blobs = keeps_blobs.then(|| BlobStore::open(&folder.join("blobs"), identity)).transpose()?;
        Ok(Self { folder, chain, blobs })
    }

    fn close(&self) {
        let folder = self.folder.display();
        if let Some(Err(error)) = self.blobs.as_ref().map(BlobStore::close) {
            tracing::warn!(%error, %folder, "closing the blob database");
        }
        if let Err(error) = self.chain.close() {
            tracing::warn!(%error, %folder, "closing the L1 database");
        }
    }
}

impl Stores {
    /// The L1 of each provisioner of this process, this node's own first.
    pub fn provisioners(&self) -> impl Iterator<Item = &DuskStores> {
        self.l1.iter().chain(&self.further)
    }

    /// Lets go of all files; what fails is logged.
    pub fn close(&self) {
        if let Err(error) = self.l2.close() {
            tracing::warn!(%error, "closing the L2 database");
        }
        self.provisioners().for_each(DuskStores::close);
    }
}

/// A data folder that this process holds.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// Released when the process ends, however it ends. `None` where no process ever ran and nothing shall be written.
    _lock: Option<File>,
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
                let known =
                    name.to_str().is_some_and(|name| name == LOCK || name == LOST_AND_FOUND || KNOWN.contains(&name));
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
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => Err(NodeError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(NodeError::Folder { path: lock_path, source }),
        }
    }

    /// Takes a folder that a node made, without writing anything into it.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn existing(path: &Path) -> Result<Self, NodeError> {
        let lock_path = path.join(LOCK);
        let lock = match File::options().write(true).open(&lock_path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path: path.to_owned(), _lock: None });
            }
            Err(source) => return Err(NodeError::Folder { path: lock_path, source }),
        };
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => Err(NodeError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(NodeError::Folder { path: lock_path, source }),
        }
    }

    /// Opens the L2 database if there is one.
    ///
    /// # Errors
    /// If there is none, and see [`NodeError`].
    pub fn existing_l2(&self, config: &Config, network: &Network) -> Result<Arc<L2Store>, NodeError> {
        let path = self.path.join("l2");
        if !path.join(DATABASE_FILE).exists() {
            return Err(NodeError::NoChain(path));
        }
        self.open_l2(config, network)
    }

    fn open_l2(&self, config: &Config, network: &Network) -> Result<Arc<L2Store>, NodeError> {
        let identity = Identity { chain_id: network.rollup.l2_chain_id, genesis: network.rollup.genesis.l2.hash };
        let settings = L2Settings {
            unsafe_blocks: if config.actors.derivation || config.actors.engine_api {
                unsafe_blocks(config, network)
            } else {
                0
            },
            history_blocks: (!config.data.archive).then_some(config.data.history_blocks),
            ..L2Settings::default()
        };
        Ok(Arc::new(L2Store::open(&self.path.join("l2"), &identity, settings)?))
    }

    /// What shows that L2 had blocks once, if anything does: L1 begins after the L2 genesis is on disk, and so does the journal.
    fn trace_of_l2(&self, l1: &L1Store) -> Result<Option<&'static str>, NodeError> {
        if l1.tip()?.is_some() {
            return Ok(Some("the L1 database holds blocks"));
        }
        let journal = self.path.join("sequencer");
        let failed = |source| NodeError::Folder { path: journal.clone(), source };
        let entries = match fs::read_dir(&journal) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed(source)),
        };
        for entry in entries {
            if entry.and_then(|entry| entry.metadata()).map_err(failed)?.len() > EMPTY_SEGMENT {
                return Ok(Some("the sequencer's journal holds sealed blocks"));
            }
        }
        Ok(None)
    }

    /// Opens the databases, and begins the chains in a fresh folder.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn stores(&self, config: &Config, network: &Network) -> Result<Stores, NodeError> {
        let identity = l1_identity(network).filter(|_| config.actors.consensus);
        let open = |folder| {
            identity.as_ref().map(|identity| DuskStores::open(folder, identity, config.actors.da_store)).transpose()
        };
        let l1 = open(self.path.clone())?;
        let l2 = self.open_l2(config, network)?;
        if l2.is_empty() {
            // Who makes no blocks derives those that were made.
            if config.actors.sequencer
                && let Some(l1) = &l1
                && let Some(trace) = self.trace_of_l2(&l1.chain)?
            {
                return Err(NodeError::LostL2 { path: self.path.join("l2"), trace });
            }
            let genesis =
                genesis_commit(&network.genesis_block, network.genesis_state.clone(), network.genesis_nodes.clone());
            // Nobody else writes yet.
            l2.init_genesis(&Fence::unfenced(), genesis)?;
            // On disk before anything else is: see `trace_of_l2`.
            l2.flush()?;
        }
        let further = (2..=config.l1.provisioners).map(|number| {
            let folder = self.provisioner(number);
            fs::create_dir_all(&folder).map_err(|source| NodeError::Folder { path: folder.clone(), source })?;
            open(folder)
        });
        let further = further.collect::<Result<Vec<_>, NodeError>>()?;
        Ok(Stores { l1, l2, further: further.into_iter().flatten().collect() })
    }

    /// Where a further provisioner keeps its L1; they are counted from 2.
    fn provisioner(&self, number: u64) -> PathBuf {
        self.path.join(PROVISIONERS).join(number.to_string())
    }

    /// The L1 of each provisioner, as far as there is a database.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn existing_l1(&self, network: &Network) -> Result<Vec<DuskStores>, NodeError> {
        let Some(identity) = l1_identity(network) else { return Ok(Vec::new()) };
        let further = (2..).map(|number| self.provisioner(number));
        let folders = [self.path.clone()].into_iter().chain(further);
        let there = |folder: &PathBuf, name| folder.join(name).join(DATABASE_FILE).exists();
        folders
            .take_while(|folder| there(folder, "l1"))
            .map(|folder| {
                let keeps_blobs = there(&folder, "blobs");
                DuskStores::open(folder, &identity, keeps_blobs)
            })
            .collect()
    }
}

fn l1_identity(network: &Network) -> Option<Identity> {
    let dusk = network.dusk.as_ref()?;
    Some(Identity { chain_id: network.rollup.l1_chain_id, genesis: dusk.l1.identity() })
}

/// L2 blocks that L1 can take back at most: those of a sequencing window without batches, and of the time until that is noticed.
///
/// Whoever does not run L1 goes by the configured time of its blocks.
fn unsafe_blocks(config: &Config, network: &Network) -> u64 {
    const MARGIN: u64 = 100;
    let l1_block_time = network.dusk.as_ref().map_or(config.l1.block_time, |dusk| dusk.l1.block_time);
    let seconds = network.rollup.seq_window_size.saturating_add(MARGIN).saturating_mul(l1_block_time);
    seconds / network.rollup.block_time.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::NetworkFiles;
    use duskevm_store::l1::BlockCommit;

    fn network() -> Network {
        NetworkFiles::local(&Config::default(), 1_700_000_000).unwrap().load().unwrap()
    }

    #[test]
    fn a_mount_point_may_be_a_data_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(LOST_AND_FOUND)).unwrap();
        DataFolder::open(folder.path()).unwrap();
        fs::create_dir(folder.path().join("holidays")).unwrap();
        assert!(DataFolder::open(folder.path()).unwrap_err().to_string().contains("holidays"));
    }

    #[test]
    fn an_offline_look_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let found = DataFolder::existing(folder.path()).unwrap();
        let error = found.existing_l2(&Config::default(), &network()).unwrap_err();
        assert!(matches!(error, NodeError::NoChain(_)), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_lost_l2_database_is_not_begun_anew() {
        let (config, network) = (Config::default(), network());
        let make = || {
            let folder = tempfile::tempdir().unwrap();
            let data = DataFolder::open(folder.path()).unwrap();
            let stores = data.stores(&config, &network).unwrap();
            (folder, data, stores)
        };
        let (_folder, data, stores) = make();
        let block = BlockCommit { height: 0, hash: [1; 32], ..Default::default() };
        stores.l1.as_ref().unwrap().chain.commit_block(&Fence::unfenced(), &block).unwrap();
        stores.close();
        drop(stores);
        // As it was: fine.
        let stores = data.stores(&config, &network).unwrap();
        stores.close();
        drop(stores);
        fs::remove_dir_all(data.path.join("l2")).unwrap();
        let error = data.stores(&config, &network).unwrap_err();
        assert!(error.to_string().contains("L1 database holds blocks"), "{error}");
        let mut verifier = config.clone();
        (verifier.actors.sequencer, verifier.actors.batcher) = (false, false);
        data.stores(&verifier, &network).unwrap().close();

        let (_folder, data, stores) = make();
        stores.close();
        drop(stores);
        fs::remove_dir_all(data.path.join("l2")).unwrap();
        fs::create_dir(data.path.join("sequencer")).unwrap();
        fs::write(data.path.join("sequencer/0000000000000000.journal"), [0; 100]).unwrap();
        let error = data.stores(&config, &network).unwrap_err();
        assert!(error.to_string().contains("sealed blocks"), "{error}");
    }
}
