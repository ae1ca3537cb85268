//! The secp256k1 key by which peers of the L2's gossip know this node.

use std::fmt;
use std::path::Path;

use libp2p::PeerId;
use libp2p::identity::{Keypair, secp256k1};

use super::address::BlockPeer;
use crate::identity::{IdentityError, load_or_create, read_secret, secret_text, write_secret};

/// A secp256k1 key pair, as OP nodes have.
#[derive(Clone)]
pub struct BlockIdentity {
    keys: Keypair,
    id: PeerId,
    secret: [u8; 32],
}

impl fmt::Debug for BlockIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockIdentity({})", self.id)
    }
}

impl BlockIdentity {
    /// A new identity from the system's randomness.
    pub fn generate() -> Self {
        loop {
            // One in 2^128 is no key.
            if let Some(identity) = Self::from_secret(rand::random()) {
                return identity;
            }
        }
    }

    /// The identity with this secp256k1 secret; `None` if it is none.
    pub fn from_secret(secret: [u8; 32]) -> Option<Self> {
        // The copy is what the constructor wipes.
        let mut copy = secret;
        let key = secp256k1::SecretKey::try_from_bytes(&mut copy).ok()?;
        let keys = Keypair::from(secp256k1::Keypair::from(key));
        let id = keys.public().to_peer_id();
        Some(Self { keys, id, secret })
    }

    /// The identity in a file.
    ///
    /// # Errors
    /// [`IdentityError`] if it is missing, damaged, or readable by others.
    pub fn read(path: &Path) -> Result<Self, IdentityError> {
        let secret = read_secret(path)?;
        Self::from_secret(secret).ok_or_else(|| IdentityError::Damaged { path: path.into() })
    }

    /// The identity of a folder: read, or made and kept at the first time.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn load_or_create(folder: &Path) -> Result<Self, IdentityError> {
        load_or_create(folder, Self::read, |path| {
            let identity = Self::generate();
            write_secret(path, &identity.secret).map(|()| identity)
        })
    }

    /// The content of its file: the secret key.
    pub fn to_text(&self) -> String {
        secret_text(&self.secret)
    }

    /// How peers call this node.
    pub fn id(&self) -> String {
        self.id.to_string()
    }

    /// The address that others dial this node at.
    pub const fn at(&self, endpoint: duskevm_p2p::Endpoint) -> BlockPeer {
        BlockPeer { peer: self.id, endpoint }
    }

    pub(crate) const fn peer(&self) -> PeerId {
        self.id
    }

    pub(crate) const fn keys(&self) -> &Keypair {
        &self.keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_stays_and_does_not_show_its_secret() {
        let folder = tempfile::tempdir().unwrap();
        let first = BlockIdentity::load_or_create(folder.path()).unwrap();
        assert_eq!(BlockIdentity::load_or_create(folder.path()).unwrap().id(), first.id());
        assert!(!format!("{first:?}").contains(first.to_text().trim()));
        assert!(BlockIdentity::from_secret([0; 32]).is_none());
        let zero = folder.path().join("zero");
        write_secret(&zero, &[0; 32]).unwrap();
        assert!(matches!(BlockIdentity::read(&zero), Err(IdentityError::Damaged { .. })));
    }
}
