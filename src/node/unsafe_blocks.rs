//! Who signs the blocks that are announced to peers before they are on L1.

use crate::{
    config::Config,
    network::{KeysError, Network, read_secret},
};
use alloy_primitives::B256;
use duskevm_genesis::{GenesisError, dev_accounts};
use duskevm_unsafe_gossip::UnsafeSigner;
use std::path::PathBuf;

/// Why blocks cannot be signed or checked.
#[derive(Debug, thiserror::Error)]
pub enum UnsafeSignerError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] KeysError),
    /// The file holds no key.
    #[error("{} holds no secp256k1 key: write 64 hex digits into it, or name another file with keys.unsafe_signer", .0.display())]
    NoKey(PathBuf),
    /// The key that everybody knows cannot be derived.
    #[error(transparent)]
    Local(#[from] GenesisError),
    /// A network without contracts.
    #[error(
        "this network has no system config that names the signer of blocks: make a new one with `duskevm genesis`, or empty gossip.l2_listen and gossip.l2_peers"
    )]
    NoSystemConfig,
}

/// The key of `keys.unsafe_signer`, or that of a local network. Whether L1 names it is checked while the node runs: L1 may change its
/// mind.
///
/// # Errors
/// If the file cannot be used.
pub(crate) fn signer(config: &Config) -> Result<UnsafeSigner, UnsafeSignerError> {
    let (key, path) = match &config.keys.unsafe_signer {
        Some(path) => (read_secret(path, "keys.unsafe_signer")?.trim().parse::<B256>().ok(), path.clone()),
        None => (Some(dev_accounts()?.sequencer.private_key), PathBuf::new()),
    };
    key.and_then(|key| UnsafeSigner::new(&key)).ok_or(UnsafeSignerError::NoKey(path))
}

/// The contract of L1 that names the signer.
///
/// # Errors
/// [`UnsafeSignerError::NoSystemConfig`].
pub(crate) fn system_config(network: &Network) -> Result<B256, UnsafeSignerError> {
    let settlement = network.dusk.as_ref().and_then(|dusk| dusk.settlement.as_ref());
    let settlement = settlement.ok_or(UnsafeSignerError::NoSystemConfig)?;
    Ok(settlement.contracts().system_config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_network_signs_with_the_key_that_its_genesis_names() {
        assert_eq!(signer(&Config::default()).unwrap().address(), dev_accounts().unwrap().sequencer.address);
    }

    #[test]
    fn a_key_comes_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signer");
        let mut config = Config::default();
        config.keys.unsafe_signer = Some(path.clone());
        assert!(matches!(signer(&config), Err(UnsafeSignerError::File(_))));
        for (text, is_key) in [
            ("07".repeat(32), true),
            (format!("0x{}\n", "07".repeat(32)), true),
            ("00".repeat(32), false),
            ("no key".to_owned(), false),
        ] {
            std::fs::write(&path, &text).unwrap();
            assert_eq!(signer(&config).is_ok(), is_key, "{text}");
        }
    }
}
