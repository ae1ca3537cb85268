//! The secret that the Engine API and its consensus client share.

use super::folder::{JWT_SECRET, JWT_SECRET_NEW};
use crate::{
    config::Config,
    network::{KeysError, read_secret},
};
use duskevm_engine_api::{JwtSecret, jwt::SecretError};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// The setting that names the file.
const SETTING: &str = "engine_api.jwt_secret";

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum EngineSecretError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] KeysError),
    /// The file holds something else.
    #[error("{}: {source}; write such digits into it (`openssl rand -hex 32`), or name another file with {SETTING}", path.display())]
    NoSecret {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: SecretError,
    },
    /// No file can be made.
    #[error("cannot write the secret of the Engine API into {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The secret of `engine_api.jwt_secret`, which must be there, or that of the data folder, which is made if it is not.
///
/// # Errors
/// See [`EngineSecretError`].
pub(super) fn engine_secret(config: &Config, data: &Path) -> Result<JwtSecret, EngineSecretError> {
    let path = match &config.engine_api.jwt_secret {
        Some(path) => path.clone(),
        None => {
            let path = data.join(JWT_SECRET);
            if !path.exists() {
                make(&path)?;
            }
            path
        }
    };
    let text = read_secret(&path, SETTING)?;
    JwtSecret::from_hex(&text).map_err(|source| EngineSecretError::NoSecret { path, source })
}

/// Writes a new secret, whole or not at all, for the eyes of this user only.
fn make(path: &Path) -> Result<(), EngineSecretError> {
    let temporary = path.with_file_name(JWT_SECRET_NEW);
    let write = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&temporary)?;
        let secret = JwtSecret::new(rand::random());
        file.write_all(secret.to_hex().as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| EngineSecretError::Write { path: path.to_owned(), source })?;
    tracing::info!(path = %path.display(), "made a secret for the Engine API: give it to the consensus client");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token of the secret, which cannot be compared otherwise.
    fn token(secret: &JwtSecret) -> String {
        secret.token(1_700_000_000)
    }

    #[test]
    fn a_missing_secret_is_made_in_the_data_folder_once_and_for_this_user_only() {
        let folder = tempfile::tempdir().unwrap();
        let first = engine_secret(&Config::default(), folder.path()).unwrap();
        let path = folder.path().join(JWT_SECRET);
        assert_eq!(fs::read_to_string(&path).unwrap().len(), 64);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(token(&engine_secret(&Config::default(), folder.path()).unwrap()), token(&first));
        let other = tempfile::tempdir().unwrap();
        assert_ne!(token(&engine_secret(&Config::default(), other.path()).unwrap()), token(&first));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_named_secret_must_be_there_and_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let mut config = Config::default();
        config.engine_api.jwt_secret = Some(path.clone());
        let error = |config: &Config| engine_secret(config, folder.path()).unwrap_err().to_string();
        let missing = error(&config);
        assert!(missing.contains("secret") && missing.contains(SETTING), "{missing}");
        fs::write(&path, "abc").unwrap();
        let wrong = error(&config);
        assert!(wrong.contains("64 hex digits") && wrong.contains("openssl rand -hex 32"), "{wrong}");
        fs::write(&path, format!("0x{}\n", "07".repeat(32))).unwrap();
        assert_eq!(token(&engine_secret(&config, folder.path()).unwrap()), token(&JwtSecret::new([7; 32])));
    }
}
