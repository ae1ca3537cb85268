//! The key by which peers know this node.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use duskevm_p2p::PeerId;
use libp2p::identity::{Keypair, ed25519};

/// Name of the key file in the folder of the actor.
const FILE: &str = "identity";
/// The file holds 64 hex digits and perhaps a line end.
const LONGEST_FILE: u64 = 80;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("the network identity {path} cannot be used: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{path} holds no network identity (64 hex digits): restore it from a copy, or remove it to become another peer"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Others may read the key.
    #[error("{path} can be read by others (mode {mode:03o}): run `chmod 600` on it")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// An ed25519 key pair.
#[derive(Clone)]
pub struct Identity {
    keys: Keypair,
    id: PeerId,
    secret: [u8; 32],
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.id)
    }
}

impl Identity {
    /// A new identity from the system's randomness.
    pub fn generate() -> Self {
        Self::from_secret(rand::random())
    }

    /// The identity with this ed25519 secret.
    pub fn from_secret(secret: [u8; 32]) -> Self {
        // Any 32 bytes are an ed25519 secret; the copy is what the constructor wipes.
        let mut copy = secret;
        let keys = match ed25519::SecretKey::try_from_bytes(&mut copy) {
            Ok(key) => ed25519::Keypair::from(key),
            Err(_) => unreachable!("32 bytes are an ed25519 secret"),
        };
        let id = PeerId(keys.public().to_bytes());
        Self { keys: keys.into(), id, secret }
    }

    /// The identity in a file.
    ///
    /// # Errors
    /// [`IdentityError`] if it is missing, damaged, or readable by others.
    pub fn read(path: &Path) -> Result<Self, IdentityError> {
        read_secret(path).map(Self::from_secret)
    }

    /// Writes it to a new file that only its owner may read, durably.
    ///
    /// # Errors
    /// [`IdentityError::Io`]; a file that exists is not overwritten.
    pub fn write(&self, path: &Path) -> Result<(), IdentityError> {
        write_secret(path, &self.secret)
    }

    /// The content of its file: the secret key.
    pub fn to_text(&self) -> String {
        secret_text(&self.secret)
    }

    /// The identity of a folder: read, or made and kept at the first time.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn load_or_create(folder: &Path) -> Result<Self, IdentityError> {
        load_or_create(folder, Self::read, |path| {
            let identity = Self::generate();
            identity.write(path).map(|()| identity)
        })
    }

    /// How peers call this node.
    pub const fn id(&self) -> PeerId {
        self.id
    }

    pub(crate) const fn keys(&self) -> &Keypair {
        &self.keys
    }
}

/// The secret in a file of 64 hex digits.
pub(crate) fn read_secret(path: &Path) -> Result<[u8; 32], IdentityError> {
    let io = |source| IdentityError::Io { path: path.into(), source };
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Open { path: path.into(), mode });
    }
    let mut text = String::new();
    let damaged = || IdentityError::Damaged { path: path.into() };
    file.take(LONGEST_FILE).read_to_string(&mut text).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => damaged(),
        _ => io(error),
    })?;
    unhex(text.trim()).ok_or_else(damaged)
}

/// What is written into such a file.
pub(crate) fn secret_text(secret: &[u8; 32]) -> String {
    secret.iter().map(|byte| format!("{byte:02x}")).chain(["\n".into()]).collect()
}

/// Writes a secret to a new file that only its owner may read, durably.
pub(crate) fn write_secret(path: &Path, secret: &[u8; 32]) -> Result<(), IdentityError> {
    let io = |source| IdentityError::Io { path: path.into(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
    file.write_all(secret_text(secret).as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
    if let Some(folder) = path.parent() {
        sync_folder(folder).map_err(io)?;
    }
    Ok(())
}

/// The identity of a folder: read, or made at the first time.
pub(crate) fn load_or_create<I>(
    folder: &Path,
    read: impl FnOnce(&Path) -> Result<I, IdentityError>,
    make: impl FnOnce(&Path) -> Result<I, IdentityError>,
) -> Result<I, IdentityError> {
    let path = folder.join(FILE);
    match read(&path) {
        Err(IdentityError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder).map_err(|source| IdentityError::Io { path: folder.into(), source })?;
            make(&path)
        }
        other => other,
    }
}

/// A file that was made or renamed is only durable with its folder.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn an_identity_stays_and_is_for_its_owner_only() {
        let dir = TempDir::new().unwrap();
        let folder = dir.path().join("gossip");
        let first = Identity::load_or_create(&folder).unwrap();
        let mode = fs::metadata(folder.join("identity")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(Identity::load_or_create(&folder).unwrap().id(), first.id());
        assert_ne!(Identity::generate().id(), first.id());
        assert_eq!(libp2p::PeerId::from(first.keys().public()).to_base58(), first.id().to_string());
        assert!(!format!("{first:?}").contains(&format!("{:02x}{:02x}", first.secret[0], first.secret[1])));
    }

    #[test]
    fn damaged_or_open_files_are_refused_and_left_alone() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("identity");
        for wrong in ["", "xyz", &"0".repeat(63), &"g".repeat(64), &"é".repeat(32), &"0".repeat(200)] {
            fs::write(&path, wrong).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(Identity::load_or_create(dir.path()), Err(IdentityError::Damaged { .. })), "{wrong}");
            assert_eq!(fs::read_to_string(&path).unwrap(), wrong);
        }
        fs::write(&path, "0".repeat(64)).unwrap();
        assert_eq!(Identity::read(&path).unwrap().id(), Identity::from_secret([0; 32]).id());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Identity::read(&path).unwrap_err().to_string();
        assert!(error.contains("640") && error.contains("chmod 600"), "{error}");
    }
}
