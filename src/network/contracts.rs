//! The rollup's contracts on the embedded L1: what they begin with, and whether that fits the rollup.

use super::{DuskNetwork, NetworkError};
use alloy_primitives::{Address, B64, B256};
use duskevm_dusk_l1::{
    contracts::{NativeContracts, NoContracts},
    genesis::{Genesis as L1Genesis, GenesisRecord},
    keys::AccountId,
};
use duskevm_genesis::{LOCAL_CONTRACTS, RollupParams, dev_accounts};
use duskevm_rollup::RollupConfig;
use duskevm_settlement::{Contracts, Error, Genesis, Settlement, Storage, SystemConfig, wallet_address};
use std::{convert::Infallible, sync::Arc};

/// Where the contracts stand.
pub(crate) const CONTRACTS: Contracts = Contracts {
    batch_inbox: LOCAL_CONTRACTS.batch_inbox,
    portal: LOCAL_CONTRACTS.portal,
    messenger: LOCAL_CONTRACTS.messenger,
    standard_bridge: LOCAL_CONTRACTS.standard_bridge,
    erc721_bridge: LOCAL_CONTRACTS.erc721_bridge,
    system_config: LOCAL_CONTRACTS.system_config,
};

impl DuskNetwork {
    /// What can be called on the embedded L1 besides the stake contract.
    pub fn contracts(&self) -> Arc<dyn NativeContracts + Send + Sync> {
        match &self.settlement {
            Some(settlement) => Arc::new(settlement.clone()),
            None => Arc::new(NoContracts),
        }
    }
}

/// The storage that the contracts of a new network begin with. The system configuration belongs to the wallet `owner`; unsafe blocks
/// are signed with the sequencer key that everybody knows.
pub(super) fn records(params: &RollupParams, owner: &AccountId) -> Result<Vec<GenesisRecord>, NetworkError> {
    let system = &params.system_config;
    let (eip1559_denominator, eip1559_elasticity) = eip1559(system.eip1559_params);
    let genesis = Genesis {
        l1_chain_id: params.l1_chain_id,
        contracts: CONTRACTS,
        system_config: SystemConfig {
            owner: wallet_address(owner.as_bytes()),
            batcher: system.batcher,
            overhead: system.overhead,
            scalar: system.scalar,
            gas_limit: system.gas_limit,
            eip1559_denominator,
            eip1559_elasticity,
            operator_fee_scalar: system.operator_fee_scalar,
            operator_fee_constant: system.operator_fee_constant,
            min_base_fee: system.min_base_fee,
            da_footprint_gas_scalar: system.da_footprint_gas_scalar,
            unsafe_block_signer: dev_accounts()?.sequencer.address,
        },
    };
    let records = genesis.records().into_iter();
    let records = records.map(|record| GenesisRecord {
        contract: record.contract,
        key: record.key.into(),
        value: record.value.into(),
    });
    Ok(records.collect())
}

/// The contracts of a network, if it has them.
///
/// # Errors
/// If the system configuration with which the contract begins is not the one of `rollup.json`: L2 would go by the one and answer from
/// the other.
pub(super) fn open(rollup: &RollupConfig, l1: &L1Genesis) -> Result<Option<Settlement>, NetworkError> {
    if l1.contracts.is_empty() {
        return Ok(None);
    }
    let kept = SystemConfig::load(&Records(&l1.contracts), &CONTRACTS.system_config)
        .map_err(|error| NetworkError::L1(format!("contracts: {error}")))?;
    let named = &rollup.genesis.system_config;
    let (eip1559_denominator, eip1559_elasticity) = eip1559(named.eip1559_params);
    let expected = SystemConfig {
        owner: kept.owner,
        batcher: named.batcher_address,
        overhead: named.overhead,
        scalar: named.scalar,
        gas_limit: named.gas_limit,
        eip1559_denominator,
        eip1559_elasticity,
        operator_fee_scalar: named.operator_fee_scalar,
        operator_fee_constant: named.operator_fee_constant,
        min_base_fee: named.min_base_fee,
        da_footprint_gas_scalar: named.da_footprint_gas_scalar,
        unsafe_block_signer: kept.unsafe_block_signer,
    };
    if kept != expected {
        return Err(NetworkError::Disagree {
            what: "genesis.system_config in rollup.json",
            found: format!("{expected:?}"),
            expected: format!("{kept:?}, as in l1-genesis.json"),
        });
    }
    if kept.owner == Address::ZERO {
        return Err(NetworkError::L1("contracts: the system configuration has no owner".into()));
    }
    let genesis = Genesis { l1_chain_id: l1.chain_id.into(), contracts: CONTRACTS, system_config: kept };
    Ok(Some(Settlement::new(&genesis)))
}

/// Denominator and elasticity.
fn eip1559(params: B64) -> (u32, u32) {
    let both = u64::from_be_bytes(params.0);
    ((both >> 32) as u32, both as u32)
}

/// The records of a genesis, to be read by the contracts.
struct Records<'a>(&'a [GenesisRecord]);

impl Storage for Records<'_> {
    type Fault = Infallible;

    fn get(&self, contract: &B256, key: &[u8]) -> Result<Option<Vec<u8>>, Error<Infallible>> {
        let found = self.0.iter().find(|record| record.contract == *contract && record.key.as_ref() == key);
        Ok(found.map(|record| record.value.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, network::NetworkFiles};

    fn files() -> NetworkFiles {
        NetworkFiles::local(&Config::default(), 1_700_000_000).unwrap()
    }

    #[test]
    fn a_new_network_has_contracts_that_fit_it() {
        let mut config = Config::default();
        config.l2.gas_limit = 33_000_000;
        let network = NetworkFiles::local(&config, 1_700_000_000).unwrap().load().unwrap();
        let network = network.dusk().unwrap();
        let kept = SystemConfig::load(&Records(&network.l1.contracts), &CONTRACTS.system_config).unwrap();
        assert_eq!(kept.gas_limit, 33_000_000);
        assert_eq!(kept.owner, wallet_address(crate::network::local_producer().id().as_bytes()));
        let settlement = network.settlement.as_ref().unwrap();
        assert_eq!(settlement.l1_chain_id(), u64::from(network.l1.chain_id));
        assert!(network.contracts().functions(&CONTRACTS.portal.0).is_some());
        for contract in [CONTRACTS.portal, CONTRACTS.messenger, CONTRACTS.standard_bridge, CONTRACTS.system_config] {
            assert!(network.view.emitters.contains(&contract));
        }
    }

    #[test]
    fn contracts_of_another_rollup_are_refused() {
        let network = files().load().unwrap();
        let refused = |change: fn(&mut duskevm_rollup::SystemConfig)| {
            let mut rollup = (*network.rollup).clone();
            change(&mut rollup.genesis.system_config);
            open(&rollup, &network.dusk().unwrap().l1).unwrap_err().to_string()
        };
        assert!(refused(|config| config.gas_limit = 45_000_000).contains("gas_limit: 45000000"));
        assert!(refused(|config| config.batcher_address = Address::ZERO).contains("as in l1-genesis.json"));
        assert!(
            refused(|config| config.eip1559_params = B64::repeat_byte(1)).contains("eip1559_denominator: 16843009")
        );
    }

    #[test]
    fn a_network_without_contracts_has_none() {
        let network = files().load().unwrap();
        let mut l1 = network.dusk().unwrap().l1.clone();
        l1.contracts.clear();
        assert_eq!(open(&network.rollup, &l1).unwrap(), None);
        l1.contracts = vec![GenesisRecord { contract: B256::ZERO, key: vec![1].into(), value: vec![1].into() }];
        assert!(open(&network.rollup, &l1).unwrap_err().to_string().contains("system configuration"));
    }
}
