//! What the batcher is told: its rules from the settings, and its keys.

use crate::{
    config::{BatchCarrier, BatchCompression, Batcher, Config},
    network::{KeysError, Network, Password, local_batcher, read_key_file, read_secret},
};
use alloy_primitives::{Address, B256};
use alloy_signer_local::PrivateKeySigner;
use duskevm_batcher::Keys;
use duskevm_batcher_core::{Carrier, CarrierChoice, EnvelopeRules, Gas, Settings, Throttling};
use duskevm_genesis::{GenesisError, dev_accounts};
use duskevm_rollup::channel_out::Compression;
use duskevm_settlement::enough_gas;
use std::path::{Path, PathBuf};

/// Least gas limit that a Dusk mempool takes.
pub(super) const LEAST_GAS: u64 = 75_000;

/// Why the batcher cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum BatcherKeysError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] KeysError),
    /// The file of the secp256k1 key holds none.
    #[error("{} holds no secp256k1 key: write 64 hex digits into it", .0.display())]
    NoKey(PathBuf),
    /// The key that everybody knows cannot be derived.
    #[error(transparent)]
    Local(#[from] GenesisError),
    /// Whom derivation would not listen to.
    #[error(
        "the batcher's key is that of {found}, but this network's batcher is {expected}: set keys.batcher to the file with its key"
    )]
    Stranger {
        /// Whose key it is.
        found: Address,
        /// Whose it must be.
        expected: Address,
    },
    /// A network without contracts.
    #[error("this network has no batch inbox: make a new one with `duskevm genesis`")]
    NoInbox,
}

/// The rules of the batcher; `gas_per_blob` is the network's.
pub(crate) fn batcher_rules(settings: &Batcher, gas_per_blob: u64) -> Settings {
    let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let gas_of = |bytes: usize| enough_gas("submitEnvelope", &vec![0; bytes]);
    let per_call_byte = gas_of(1024).saturating_sub(gas_of(0)).div_ceil(1024);
    Settings {
        compression: match settings.compression {
            BatchCompression::Zlib => Compression::Zlib,
            BatchCompression::Brotli9 => Compression::Brotli9,
            BatchCompression::Brotli10 => Compression::Brotli10,
            BatchCompression::Brotli11 => Compression::Brotli11,
        },
        target_blobs: size(settings.target_blobs),
        carrier: match settings.carrier {
            BatchCarrier::Blobs => CarrierChoice::Always(Carrier::Blobs),
            BatchCarrier::Calldata => CarrierChoice::Always(Carrier::Calldata),
            BatchCarrier::Cheaper => CarrierChoice::Cheaper,
        },
        blobs_per_submission: size(settings.blobs_per_submission),
        max_calldata: size(settings.max_calldata_bytes),
        max_channel_duration: settings.max_channel_duration,
        window_margin: settings.window_margin,
        timeout_margin: settings.timeout_margin,
        max_in_flight: size(settings.max_in_flight),
        gas_price: settings.gas_price,
        max_gas_price: settings.max_gas_price,
        fee_bump_percent: settings.fee_bump_percent,
        bump_after: settings.bump_after,
        throttling: Throttling { from_bytes: settings.throttle_from_bytes, full_bytes: settings.throttle_full_bytes },
        gas: Gas { per_blob: gas_per_blob, least: LEAST_GAS, call: gas_of(0), per_call_byte },
    }
}

/// The keys of the batcher.
///
/// # Errors
/// If a file cannot be used, or the key is not the one whose batches count when the network begins.
pub(crate) fn batcher_keys(config: &Config, network: &Network) -> Result<Keys, BatcherKeysError> {
    let ethereum = match &config.keys.batcher {
        Some(path) => secp256k1(path)?,
        None => {
            let key = dev_accounts()?.batcher.private_key;
            PrivateKeySigner::from_bytes(&key).map_err(|_| BatcherKeysError::NoKey(PathBuf::new()))?
        }
    };
    let expected = network.rollup.genesis.system_config.batcher_address;
    if config.keys.batcher.is_none() && ethereum.address() != expected {
        return Err(BatcherKeysError::Stranger { found: ethereum.address(), expected });
    }
    let dusk = match &config.keys.batcher_account {
        Some(path) => {
            let what = format!("the batcher's account in {}", path.display());
            let password = Password::find(&what, "keys.password_file", config.keys.password_file.as_deref())?;
            read_key_file(path, "keys.batcher_account", &password)?
        }
        None => local_batcher(),
    };
    let l1 = network.dusk.as_ref().ok_or(BatcherKeysError::NoInbox)?;
    let inbox = l1.settlement.as_ref().ok_or(BatcherKeysError::NoInbox)?.contracts().batch_inbox;
    let envelopes = EnvelopeRules {
        chain_id: network.rollup.l1_chain_id,
        inbox: network.rollup.batch_inbox_address,
        base_fee: duskevm_l1_view::BASE_FEE.into(),
    };
    Ok(Keys { ethereum, dusk, envelopes, dusk_chain_id: l1.l1.chain_id, inbox })
}

fn secp256k1(path: &Path) -> Result<PrivateKeySigner, BatcherKeysError> {
    let text = read_secret(path, "keys.batcher")?;
    let key = text.trim().parse::<B256>().ok().and_then(|key| PrivateKeySigner::from_bytes(&key).ok());
    key.ok_or_else(|| BatcherKeysError::NoKey(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::NetworkFiles;

    fn network() -> Network {
        NetworkFiles::local(&Config::default(), 1_700_000_000).unwrap().load().unwrap()
    }

    #[test]
    fn the_default_rules_make_sense() {
        assert_eq!(batcher_rules(&Batcher::default(), 1_000_000).validate(), Ok(()));
    }

    #[test]
    fn a_local_network_knows_its_batcher_and_funds_it() {
        let network = network();
        let keys = batcher_keys(&Config::default(), &network).unwrap();
        assert_eq!(keys.batcher(), network.rollup.genesis.system_config.batcher_address);
        assert!(
            network
                .dusk
                .as_ref()
                .unwrap()
                .l1
                .accounts
                .iter()
                .any(|account| account.key == keys.account() && account.balance > 0)
        );
    }

    #[test]
    fn a_key_comes_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("batcher");
        let mut config = Config::default();
        config.keys.batcher = Some(path.clone());
        std::fs::write(&path, format!("{}\n", B256::repeat_byte(7))).unwrap();
        let keys = batcher_keys(&config, &network()).unwrap();
        let expected = PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).unwrap().address();
        assert_eq!(keys.batcher(), expected);
        std::fs::write(&path, "nothing").unwrap();
        assert!(matches!(batcher_keys(&config, &network()), Err(BatcherKeysError::NoKey(_))));
    }
}
