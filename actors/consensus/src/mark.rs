//! The mark of a key: that it has begun to sign on a network, kept apart from the data.
//!
//! Whoever deletes a node's data deletes its journal of own messages. From the first block on the time of the tip tells how much this
//! node can have signed before; above the genesis block nothing in the data does. So a node whose key lies in a file notes beside that
//! file, before the first signature, on which network the key has begun: a journal that is empty although its key has begun is lost,
//! and one whose key has not begun is new.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where the mark lies, and the network that it is for.
#[derive(Debug)]
pub(crate) struct Mark {
    path: PathBuf,
    network: String,
}

impl Mark {
    pub(crate) fn new(path: PathBuf, network: &[u8; 32]) -> Self {
        Self { path, network: format!("{}\n", alloy_primitives::hex::encode(network)) }
    }

    /// Whether the key has begun on this network.
    pub(crate) fn is_set(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|text| text == self.network)
    }

    /// Notes that the key has begun. On return that is on disk, or the log says that it cannot be: key files may lie where nothing can
    /// be written, and the mark is of use only to a node that loses its data in the first round.
    pub(crate) fn set(&self) {
        let write = || -> io::Result<()> {
            let mut file = File::create(&self.path)?;
            file.write_all(self.network.as_bytes())?;
            file.sync_all()?;
            match self.path.parent() {
                Some(folder) if folder != Path::new("") => File::open(folder)?.sync_all(),
                _ => Ok(()),
            }
        };
        if let Err(error) = write() {
            tracing::warn!(path = %self.path.display(), %error, "it cannot be noted beside the key that it has begun to sign: do not delete this node's data before the first L1 block is there");
        }
    }
}
