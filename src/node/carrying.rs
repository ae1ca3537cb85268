//! What the carrier is told: its rules from the settings, and its key.

use super::batching::{BatcherKeysError, LEAST_GAS, batcher_keys};
use crate::{
    config::{Carrier, Config},
    network::{KeysError, Network, Password, local_carrier, read_key_file},
};
use alloy_primitives::Address;
use duskevm_carrier::Keys;
use duskevm_carrier_core::{Gas, Rules, Settings};
use duskevm_dusk_l1::blobs::WINDOW;
use duskevm_settlement::enough_gas;

/// Blobs are brought again when L1 soon forgets them: the call that needs them has the last eighth of the time to come.
const BLOB_LIFE: u64 = WINDOW - WINDOW / 8;

/// Why nothing can be carried.
#[derive(Debug, thiserror::Error)]
pub enum CarrierKeysError {
    /// The key file cannot be used.
    #[error(transparent)]
    File(#[from] KeysError),
    /// The batcher's keys cannot be compared.
    #[error(transparent)]
    Batcher(#[from] BatcherKeysError),
    /// Two that count the nonces of one account.
    #[error(
        "keys.carrier_account is the Dusk account of the batcher, and each would use the other's nonces: give the carrier an account of its own"
    )]
    Shared,
    /// A network without contracts.
    #[error("this network has no batch inbox: make a new one with `duskevm genesis`, or switch actors.carrier off")]
    NoInbox,
}

/// The rules of the carrier; `gas_per_blob` is the network's.
pub(crate) fn carrier_rules(settings: &Carrier, rules: Rules, gas_per_blob: u64) -> Settings {
    let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let gas_of = |bytes: usize| enough_gas("submitEnvelope", &vec![0; bytes]);
    let per_call_byte = gas_of(1024).saturating_sub(gas_of(0)).div_ceil(1024);
    Settings {
        rules,
        gas: Gas { per_blob: gas_per_blob, least: LEAST_GAS, call: gas_of(0), per_call_byte },
        gas_price: settings.gas_price,
        max_gas_price: settings.max_gas_price,
        fee_bump_percent: settings.fee_bump_percent,
        bump_after: settings.bump_after,
        max_in_flight: size(settings.max_in_flight),
        max_ahead: settings.max_nonce_gap,
        max_bytes: size(settings.max_bytes),
        blob_life: BLOB_LIFE,
    }
}

/// What envelopes are judged by on this network.
pub(crate) fn envelope_rules(settings: &Carrier, network: &Network) -> Rules {
    let senders = match settings.senders.as_slice() {
        [] => vec![network.rollup.genesis.system_config.batcher_address],
        named => named.to_vec(),
    };
    Rules {
        chain_id: network.rollup.l1_chain_id,
        inbox: network.rollup.batch_inbox_address,
        base_fee: duskevm_l1_view::BASE_FEE.into(),
        // That of a header without excess of blobs.
        blob_base_fee: 1,
        gas_limit: duskevm_l1_view::GAS_LIMIT,
        senders,
    }
}

/// For the check of settings, where no network is known yet.
pub(crate) fn unknown_rules(settings: &Carrier) -> Rules {
    let senders = match settings.senders.as_slice() {
        [] => vec![Address::ZERO],
        named => named.to_vec(),
    };
    Rules { senders, ..Rules::default() }
}

/// The key of the carrier.
///
/// # Errors
/// If a file cannot be used, or the account is the batcher's.
pub(crate) fn carrier_keys(config: &Config, network: &Network) -> Result<Keys, CarrierKeysError> {
    let dusk = match &config.keys.carrier_account {
        Some(path) => {
            let what = format!("the carrier's account in {}", path.display());
            let password = Password::find(&what, "keys.password_file", config.keys.password_file.as_deref())?;
            read_key_file(path, "keys.carrier_account", &password)?
        }
        None => local_carrier(),
    };
    if config.actors.batcher && batcher_keys(config, network)?.account() == dusk.id() {
        return Err(CarrierKeysError::Shared);
    }
    let l1 = network.dusk.as_ref().ok_or(CarrierKeysError::NoInbox)?;
    let inbox = l1.settlement.as_ref().ok_or(CarrierKeysError::NoInbox)?.contracts().batch_inbox;
    Ok(Keys { dusk, dusk_chain_id: l1.l1.chain_id, inbox })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{NetworkFiles, local_batcher};
    use duskevm_dusk_l1::keyfile;

    fn network() -> Network {
        NetworkFiles::local(&Config::default(), 1_700_000_000).unwrap().load().unwrap()
    }

    #[test]
    fn the_default_rules_make_sense() {
        let (network, settings) = (network(), Carrier::default());
        let rules = carrier_rules(&settings, envelope_rules(&settings, &network), 1_000_000);
        assert_eq!(rules.validate(), Ok(()));
        assert_eq!(rules.rules.senders, [network.rollup.genesis.system_config.batcher_address]);
    }

    #[test]
    fn a_local_network_funds_an_account_that_only_the_carrier_uses() {
        let network = network();
        let keys = carrier_keys(&Config::default(), &network).unwrap();
        let l1 = &network.dusk().unwrap().l1;
        assert!(l1.accounts.iter().any(|account| account.key == keys.account() && account.balance > 0));
        assert!(l1.stakes.iter().all(|stake| stake.key != keys.account()));
        assert_ne!(keys.account(), local_batcher().id());
    }

    #[test]
    fn the_batchers_account_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (key, password) = (folder.path().join("carrier.keys"), folder.path().join("password"));
        std::fs::write(&password, "secret\n").unwrap();
        let file = keyfile::encrypt(&local_batcher(), "secret", &[5; keyfile::RANDOM_BYTES]).unwrap();
        std::fs::write(&key, file).unwrap();
        let mut config = Config::default();
        config.keys.carrier_account = Some(key);
        config.keys.password_file = Some(password);
        assert!(matches!(carrier_keys(&config, &network()), Err(CarrierKeysError::Shared)));
        config.actors.batcher = false;
        assert_eq!(carrier_keys(&config, &network()).unwrap().account(), local_batcher().id());
    }
}
