//! By which keys a node votes.

use super::{Network, local_provisioner};
use crate::config::Config;
use duskevm_dusk_l1::{
    keyfile::{self, KeyFileError, MAX_FILE_BYTES},
    keys::Signer,
};
use std::{
    ffi::OsString,
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// The variable that holds a password where no file does.
const VARIABLE: &str = "DUSKEVM_PASSWORD";
/// Longest password file that is read.
const MAX_PASSWORD_BYTES: usize = 4 * 1024;

/// Why there is no key to vote by.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file cannot be read.
    #[error("cannot read {}, which {setting} names: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The setting or flag that names it.
        setting: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} is longer than {most} bytes: it is another file", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        most: usize,
    },
    /// A password that is no text.
    #[error("the password in {from} is not UTF-8 text")]
    NotText {
        /// Where it stands.
        from: String,
    },
    /// A password without a letter.
    #[error("the password in {from} is empty")]
    Empty {
        /// Where it stands.
        from: String,
    },
    /// Nobody has said the password.
    #[error(
        "{what} needs a password: put it into the first line of a file and name that with {setting}, or set {VARIABLE}"
    )]
    NoPassword {
        /// What is encrypted with it.
        what: String,
        /// The setting or flag that names a file.
        setting: &'static str,
    },
    /// The key file cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyFileError,
    },
}

/// A password of key files. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

impl Password {
    /// The password for `what`: the first line of `file` if one is named, else the content of `DUSKEVM_PASSWORD`. `setting` is
    /// what names a file, for the error.
    ///
    /// # Errors
    /// If there is none, or it is empty or no text.
    pub fn find(what: &str, setting: &'static str, file: Option<&Path>) -> Result<Self, KeysError> {
        Self::from_either(what, setting, file, std::env::var_os(VARIABLE))
    }

    fn from_either(
        what: &str,
        setting: &'static str,
        file: Option<&Path>,
        variable: Option<OsString>,
    ) -> Result<Self, KeysError> {
        let (from, text) = match file {
            Some(path) => {
                let from = path.display().to_string();
                let text = String::from_utf8(read(path, setting, MAX_PASSWORD_BYTES)?);
                let text = text.map_err(|_| KeysError::NotText { from: from.clone() })?;
                (from, text.lines().next().unwrap_or_default().to_owned())
            }
            None => {
                let Some(value) = variable else {
                    return Err(KeysError::NoPassword { what: what.to_owned(), setting });
                };
                let text = value.into_string().map_err(|_| KeysError::NotText { from: VARIABLE.to_owned() })?;
                (VARIABLE.to_owned(), text)
            }
        };
        if text.is_empty() { Err(KeysError::Empty { from }) } else { Ok(Self(text)) }
    }

    /// The password itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// A file that should be short.
fn read(path: &Path, setting: &'static str, most: usize) -> Result<Vec<u8>, KeysError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most as u64 + 1).read_to_end(&mut bytes))
        .map_err(|source| KeysError::Read { path: path.to_owned(), setting, source })?;
    if bytes.len() > most {
        return Err(KeysError::TooLong { path: path.to_owned(), most });
    }
    Ok(bytes)
}

/// The text of a short file, which `setting` names.
///
/// # Errors
/// If it cannot be read, is long or is no text.
pub fn read_secret(path: &Path, setting: &'static str) -> Result<String, KeysError> {
    let text = String::from_utf8(read(path, setting, MAX_PASSWORD_BYTES)?);
    text.map_err(|_| KeysError::NotText { from: path.display().to_string() })
}

/// The key in an encrypted file, as Dusk's wallet and `duskevm genesis --provisioners` write it. `setting` names the file.
///
/// # Errors
/// See [`KeysError`].
pub fn read_key_file(path: &Path, setting: &'static str, password: &Password) -> Result<Signer, KeysError> {
    let bytes = read(path, setting, MAX_FILE_BYTES)?;
    keyfile::decrypt(&bytes, password.reveal()).map_err(|source| KeysError::File { path: path.to_owned(), source })
}

impl Network {
    /// The keys by which the provisioners of this process vote, in their order.
    ///
    /// That of `keys.consensus` if it is set. Otherwise the public keys that a local genesis has stakes of; but none where this
    /// node has peers, because another node could vote by them too. A node without any follows.
    ///
    /// # Errors
    /// If the file of `keys.consensus` cannot be read or decrypted.
    pub fn signers(&self, config: &Config) -> Result<Vec<Signer>, KeysError> {
        if let Some(file) = &config.keys.consensus {
            let what = format!("the consensus key in {}", file.display());
            let password = Password::find(&what, "keys.password_file", config.keys.password_file.as_deref())?;
            let signer = read_key_file(file, "keys.consensus", &password)?;
            if !self.has_stake(&signer) {
                tracing::warn!(
                    key = %signer.id(), file = %file.display(),
                    "the genesis has no stake of this node's consensus key: it votes once it has staked"
                );
            }
            return Ok(vec![signer]);
        }
        if config.has_peers() {
            return Ok(Vec::new());
        }
        Ok((1..=config.l1.provisioners).map(local_provisioner).filter(|signer| self.has_stake(signer)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{LOCAL_STAKE, NetworkFiles};
    use duskevm_dusk_l1::keys::AccountId;
    use std::fs;

    fn find(file: Option<&Path>, variable: Option<&str>) -> Result<String, String> {
        Password::from_either("the key in k", "--password-file", file, variable.map(OsString::from))
            .map(|password| password.reveal().to_owned())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_password_is_the_first_line_of_a_file_or_the_variable() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, "pass wörd\nnot this\n").unwrap();
        assert_eq!(find(Some(&file), Some("other")), Ok("pass wörd".into()));
        fs::write(&file, "windows\r\n").unwrap();
        assert_eq!(find(Some(&file), None), Ok("windows".into()));
        assert_eq!(find(None, Some("from there")), Ok("from there".into()));
        let missing = find(None, None).unwrap_err();
        assert!(missing.contains("--password-file") && missing.contains("DUSKEVM_PASSWORD"), "{missing}");
        assert!(missing.contains("the key in k"), "{missing}");
        for empty in ["", "\nsecond"] {
            fs::write(&file, empty).unwrap();
            assert!(find(Some(&file), None).unwrap_err().contains("is empty"));
        }
        assert!(find(None, Some("")).unwrap_err().contains("is empty"));
        fs::write(&file, [0xff, 0xfe]).unwrap();
        assert!(find(Some(&file), None).unwrap_err().contains("not UTF-8"));
        fs::write(&file, "x".repeat(MAX_PASSWORD_BYTES + 1)).unwrap();
        assert!(find(Some(&file), None).unwrap_err().contains("another file"));
        assert!(find(Some(&folder.path().join("none")), Some("p")).unwrap_err().contains("none"));
    }

    /// A network of one provisioner with a key of its own, its key file and the file of its password.
    fn own() -> (tempfile::TempDir, Network, Config, AccountId) {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::from_seed(b"a provisioner");
        let file = keyfile::encrypt(&signer, "secret", &[5; keyfile::RANDOM_BYTES]).unwrap();
        let mut config = Config::default();
        let (key, password) = (folder.path().join("node.keys"), folder.path().join("password"));
        fs::write(&key, file).unwrap();
        fs::write(&password, "secret\n").unwrap();
        let made = NetworkFiles::with_provisioners(&config, 1_700_000_000, &[signer.id()], LOCAL_STAKE).unwrap();
        config.keys.consensus = Some(key);
        config.keys.password_file = Some(password);
        (folder, made.load().unwrap(), config, signer.id())
    }

    fn ids(signers: Result<Vec<Signer>, KeysError>) -> Vec<AccountId> {
        signers.unwrap().iter().map(Signer::id).collect()
    }

    #[test]
    fn a_node_votes_by_the_key_in_its_file() {
        let (_folder, network, mut config, id) = own();
        assert_eq!(ids(network.signers(&config)), [id]);
        config.gossip.listen = vec!["127.0.0.1:9222".parse().unwrap()];
        assert_eq!(ids(network.signers(&config)), [id]);
        // A key without a stake is no mistake: it may stake later.
        let other = NetworkFiles::local(&Config::default(), 1_700_000_000).unwrap().load().unwrap();
        assert_eq!(ids(other.signers(&config)), [id]);
        assert_eq!(other.in_force(&config).unwrap().l1.provisioners, 1);
    }

    #[test]
    fn wrong_passwords_and_files_are_named() {
        let (folder, network, config, _) = own();
        let error = |config: &Config| network.signers(config).unwrap_err().to_string();
        fs::write(config.keys.password_file.as_ref().unwrap(), "Secret").unwrap();
        let wrong = error(&config);
        assert!(wrong.contains("node.keys") && wrong.contains("password is wrong"), "{wrong}");
        fs::write(config.keys.consensus.as_ref().unwrap(), "{}").unwrap();
        assert!(error(&config).contains("not a consensus key file"));
        let mut config = config;
        config.keys.consensus = Some(folder.path().join("missing"));
        assert!(error(&config).contains("missing"));
    }

    #[test]
    fn public_keys_are_used_only_where_nobody_else_can_use_them() {
        let mut config = Config::default();
        config.l1.provisioners = 2;
        let network = NetworkFiles::local(&config, 1_700_000_000).unwrap().load().unwrap();
        let both = [local_provisioner(1).id(), local_provisioner(2).id()];
        assert_eq!(ids(network.signers(&network.in_force(&config).unwrap())), both);
        config = Config::default();
        config.gossip.listen = vec!["127.0.0.1:9222".parse().unwrap()];
        assert_eq!(ids(network.signers(&network.in_force(&config).unwrap())), []);
        // A genesis with other keys makes a follower.
        let (_folder, network, _, _) = own();
        assert_eq!(ids(network.signers(&Config::default())), []);
    }
}
