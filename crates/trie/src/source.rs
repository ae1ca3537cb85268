//! Where nodes come from.

use alloy_primitives::{
    B256, Bytes,
    map::{B256Map, HashMap},
};
use core::convert::Infallible;

/// Finds the RLP of nodes by their hash.
///
/// `Sync`, because storage tries are updated in parallel.
pub trait NodeSource: Sync {
    /// Why a look-up can fail; a node that is not there is `Ok(None)`, not an error.
    type Error: core::error::Error + Send + Sync + 'static;

    /// The RLP of the node whose keccak256 is `hash`.
    ///
    /// # Errors
    ///
    /// If the source itself fails (a database error, say).
    fn node(&self, hash: &B256) -> Result<Option<Bytes>, Self::Error>;
}

impl<S: NodeSource + ?Sized> NodeSource for &S {
    type Error = S::Error;

    fn node(&self, hash: &B256) -> Result<Option<Bytes>, Self::Error> {
        (**self).node(hash)
    }
}

/// A plain map as a source: its content is trusted.
impl<H: core::hash::BuildHasher + Sync> NodeSource for HashMap<B256, Bytes, H> {
    type Error = Infallible;

    fn node(&self, hash: &B256) -> Result<Option<Bytes>, Infallible> {
        Ok(self.get(hash).cloned())
    }
}

/// Nodes, and whatever else is found by its keccak256 (contract code), from somebody who is not trusted.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    items: B256Map<Bytes>,
}

/// Why a witness was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// An item is filed under a hash that is not its own.
    #[error("witness item claimed as {claimed} hashes to {actual}: the witness is wrong, ask for another one")]
    WrongHash {
        /// The hash under which it was given.
        claimed: B256,
        /// keccak256 of its bytes.
        actual: B256,
    },
}

impl Witness {
    /// A witness of items without hashes: each is filed under its own.
    pub fn new(items: impl IntoIterator<Item = Bytes>) -> Self {
        Self { items: items.into_iter().map(|item| (alloy_primitives::keccak256(&item), item)).collect() }
    }

    /// A witness of items with the hash that their sender claims.
    ///
    /// # Errors
    ///
    /// [`WitnessError::WrongHash`] for the first item whose keccak256 is another.
    pub fn from_pairs(items: impl IntoIterator<Item = (B256, Bytes)>) -> Result<Self, WitnessError> {
        let mut checked = B256Map::default();
        for (claimed, item) in items {
            let actual = alloy_primitives::keccak256(&item);
            if actual != claimed {
                return Err(WitnessError::WrongHash { claimed, actual });
            }
            checked.insert(claimed, item);
        }
        Ok(Self { items: checked })
    }

    /// The item whose keccak256 is `hash`.
    pub fn get(&self, hash: &B256) -> Option<&Bytes> {
        self.items.get(hash)
    }

    /// How many items it holds.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True if it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All items with their hashes, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&B256, &Bytes)> {
        self.items.iter()
    }

    /// Adds an item under its own hash, which is returned.
    pub fn insert(&mut self, item: Bytes) -> B256 {
        let hash = alloy_primitives::keccak256(&item);
        self.items.insert(hash, item);
        hash
    }
}

impl NodeSource for Witness {
    type Error = Infallible;

    fn node(&self, hash: &B256) -> Result<Option<Bytes>, Infallible> {
        Ok(self.items.get(hash).cloned())
    }
}

/// A source that remembers what was read through it.
///
/// It sees what a trie fetches, not what the trie already holds: to collect the witness of a block, run it on a
/// fresh [`StateTrie::stateless`](crate::StateTrie::stateless) over the recorder. The nodes then suffice to run it
/// again, siblings read at the collapse of a branch included.
#[cfg(feature = "std")]
#[derive(Debug)]
pub struct Recorder<S> {
    source: S,
    seen: std::sync::Mutex<B256Map<Bytes>>,
}

#[cfg(feature = "std")]
impl<S: NodeSource> Recorder<S> {
    /// Records reads from `source`.
    pub fn new(source: S) -> Self {
        Self { source, seen: std::sync::Mutex::new(B256Map::default()) }
    }

    /// What was read so far, as a witness.
    pub fn into_witness(self) -> Witness {
        Witness { items: self.seen.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) }
    }
}

#[cfg(feature = "std")]
impl<S: NodeSource + Send> NodeSource for Recorder<S> {
    type Error = S::Error;

    fn node(&self, hash: &B256) -> Result<Option<Bytes>, S::Error> {
        let node = self.source.node(hash)?;
        if let Some(node) = &node {
            // A panic elsewhere cannot leave a map half-inserted: its content stays good.
            let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            seen.insert(*hash, node.clone());
        }
        Ok(node)
    }
}
