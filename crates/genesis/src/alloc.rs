//! The accounts of block 0.

use std::collections::BTreeMap;

use alloy_eips::{
    eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE},
    eip4788::{BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE},
};
use alloy_primitives::{Address, B256, Bytes, U256, address};

use crate::{
    artifacts::{self, Contract},
    error::GenesisError,
    fork::Fork,
    predeploys::{self as at, ADMIN_SLOT, IMPLEMENTATION_SLOT, implementation_of, is_proxied, predeploy, word},
    spec::{L1Bridges, NetworkSpec, VaultConfig, WithdrawalNetwork},
};

/// An account at genesis.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GenesisAccount {
    /// Number of transactions sent, or of contracts created plus one.
    pub nonce: u64,
    /// In wei.
    pub balance: U256,
    /// Runtime code; `None` if the account has none.
    pub code: Option<Bytes>,
    /// Storage. No value is zero.
    pub storage: BTreeMap<B256, B256>,
}

impl GenesisAccount {
    /// A contract begins with nonce 1 (EIP-161).
    fn contract(code: Bytes) -> Self {
        Self { nonce: 1, code: Some(code), ..Self::default() }
    }
}

/// The predeploys that have an implementation.
const IMPLEMENTED: [(Address, Contract); 14] = [
    (at::L2_CROSS_DOMAIN_MESSENGER, Contract::L2CrossDomainMessenger),
    (at::GAS_PRICE_ORACLE, Contract::GasPriceOracle),
    (at::L2_STANDARD_BRIDGE, Contract::L2StandardBridge),
    (at::SEQUENCER_FEE_VAULT, Contract::SequencerFeeVault),
    (at::OPTIMISM_MINTABLE_ERC20_FACTORY, Contract::OptimismMintableERC20Factory),
    (at::L1_BLOCK_NUMBER, Contract::L1BlockNumber),
    (at::L2_ERC721_BRIDGE, Contract::L2ERC721Bridge),
    (at::L1_BLOCK, Contract::L1Block),
    (at::L2_TO_L1_MESSAGE_PASSER, Contract::L2ToL1MessagePasser),
    (at::OPTIMISM_MINTABLE_ERC721_FACTORY, Contract::OptimismMintableERC721Factory),
    (at::PROXY_ADMIN, Contract::ProxyAdmin),
    (at::BASE_FEE_VAULT, Contract::BaseFeeVault),
    (at::L1_FEE_VAULT, Contract::L1FeeVault),
    (at::OPERATOR_FEE_VAULT, Contract::OperatorFeeVault),
];

// Slots of the predeploys' own state, as in their artifacts; a test compares.
const OWNER_SLOT: u64 = 0;
const FORK_FLAGS_SLOT: u64 = 0;
const VAULT_MINIMUM_SLOT: u64 = 1;
const VAULT_RECIPIENT_SLOT: u64 = 2;
const MESSENGER_SENDER_SLOT: u64 = 204;
const MESSENGER_OTHER_SLOT: u64 = 207;
const STANDARD_BRIDGE_MESSENGER_SLOT: u64 = 3;
const STANDARD_BRIDGE_OTHER_SLOT: u64 = 4;
const ERC721_BRIDGE_MESSENGER_SLOT: u64 = 1;
const ERC721_BRIDGE_OTHER_SLOT: u64 = 2;
const ERC20_FACTORY_BRIDGE_SLOT: u64 = 1;
const ERC721_FACTORY_CHAIN_SLOT: u64 = 1;

/// Where contracts that other chains initialize by a call note that it was done. Ours are complete from the start; an
/// implementation with an initializer that comes later must find it done.
const INITIALIZED_SLOT: u64 = 0;

/// Stands in the messenger's sender slot while no message is being delivered.
const NO_SENDER: Address = address!("000000000000000000000000000000000000dEaD");

type Alloc = BTreeMap<Address, GenesisAccount>;

/// All accounts of a network's block 0.
pub(crate) fn build(spec: &NetworkSpec) -> Result<Alloc, GenesisError> {
    let mut alloc = Alloc::new();
    proxies(&mut alloc)?;
    predeploy_state(&mut alloc, spec);
    bridge_state(&mut alloc, spec);
    tools(&mut alloc, spec)?;
    system_contracts(&mut alloc, spec);
    for (&address, &balance) in &spec.funded {
        if alloc.contains_key(&address) {
            return Err(GenesisError::AccountCollision(address));
        }
        alloc.insert(address, GenesisAccount { balance, ..GenesisAccount::default() });
    }
    Ok(alloc)
}

/// The whole namespace as proxies, and implementations behind those that have one.
///
/// The rest stays reserved: a later predeploy is an upgrade of an existing proxy, and its address cannot be taken.
fn proxies(alloc: &mut Alloc) -> Result<(), GenesisError> {
    let mut proxy = GenesisAccount::contract(Contract::Proxy.runtime()?);
    proxy.storage.insert(ADMIN_SLOT, at::PROXY_ADMIN.into_word());
    alloc.extend((0..at::NAMESPACE_SIZE).map(predeploy).filter(|a| is_proxied(*a)).map(|a| (a, proxy.clone())));

    for (address, contract) in IMPLEMENTED {
        let implementation = implementation_of(address);
        set(alloc, address, IMPLEMENTATION_SLOT, implementation.into_word());
        alloc.insert(implementation, GenesisAccount::contract(contract.runtime()?));
    }
    alloc.insert(at::WETH9, GenesisAccount::contract(Contract::WETH9.runtime()?));
    Ok(())
}

/// What the predeploys know from the start. It lies in the proxies' storage.
fn predeploy_state(alloc: &mut Alloc, spec: &NetworkSpec) {
    set(alloc, at::PROXY_ADMIN, word(OWNER_SLOT), spec.proxy_admin_owner.into_word());

    // One byte per fork, from the lowest. Forks are ordered, so the flags are a run of ones.
    let flags = [Fork::Ecotone, Fork::Fjord, Fork::Isthmus, Fork::Jovian]
        .into_iter()
        .zip(0_u32..)
        .filter(|(fork, _)| spec.rollup.active_at_genesis(*fork))
        .fold(0_u64, |flags, (_, byte)| flags | 1 << (8 * byte));
    set(alloc, at::GAS_PRICE_ORACLE, word(FORK_FLAGS_SLOT), word(flags));

    for (address, vault) in [
        (at::SEQUENCER_FEE_VAULT, &spec.vaults.sequencer),
        (at::BASE_FEE_VAULT, &spec.vaults.base),
        (at::L1_FEE_VAULT, &spec.vaults.l1),
        (at::OPERATOR_FEE_VAULT, &spec.vaults.operator),
    ] {
        let VaultConfig { recipient, min_withdrawal_amount, network } = vault;
        let mut packed = recipient.into_word();
        packed[11] = match network {
            WithdrawalNetwork::L1 => 0,
            WithdrawalNetwork::L2 => 1,
        };
        set(alloc, address, word(VAULT_MINIMUM_SLOT), B256::from(*min_withdrawal_amount));
        set(alloc, address, word(VAULT_RECIPIENT_SLOT), packed);
    }
}

/// The messenger, the bridges and the token factories know each other and their counterparts on L1.
fn bridge_state(alloc: &mut Alloc, spec: &NetworkSpec) {
    let L1Bridges { messenger, standard_bridge, erc721_bridge } = spec.bridges;

    // The messenger's flag has an old variable below it.
    let mut initialized = B256::ZERO;
    initialized[11] = 1;
    for (address, slot, value) in [
        (at::L2_CROSS_DOMAIN_MESSENGER, INITIALIZED_SLOT, initialized),
        (at::L2_CROSS_DOMAIN_MESSENGER, MESSENGER_SENDER_SLOT, NO_SENDER.into_word()),
        (at::L2_CROSS_DOMAIN_MESSENGER, MESSENGER_OTHER_SLOT, messenger.into_word()),
        (at::L2_STANDARD_BRIDGE, INITIALIZED_SLOT, word(1)),
        (at::L2_STANDARD_BRIDGE, STANDARD_BRIDGE_MESSENGER_SLOT, at::L2_CROSS_DOMAIN_MESSENGER.into_word()),
        (at::L2_STANDARD_BRIDGE, STANDARD_BRIDGE_OTHER_SLOT, standard_bridge.into_word()),
        (at::L2_ERC721_BRIDGE, INITIALIZED_SLOT, word(1)),
        (at::L2_ERC721_BRIDGE, ERC721_BRIDGE_MESSENGER_SLOT, at::L2_CROSS_DOMAIN_MESSENGER.into_word()),
        (at::L2_ERC721_BRIDGE, ERC721_BRIDGE_OTHER_SLOT, erc721_bridge.into_word()),
        (at::OPTIMISM_MINTABLE_ERC20_FACTORY, INITIALIZED_SLOT, word(1)),
        (at::OPTIMISM_MINTABLE_ERC20_FACTORY, ERC20_FACTORY_BRIDGE_SLOT, at::L2_STANDARD_BRIDGE.into_word()),
        (at::OPTIMISM_MINTABLE_ERC721_FACTORY, ERC721_FACTORY_CHAIN_SLOT, word(spec.rollup.l1_chain_id)),
    ] {
        set(alloc, address, word(slot), value);
    }
}

/// Helpers that development tools expect on every chain.
fn tools(alloc: &mut Alloc, spec: &NetworkSpec) -> Result<(), GenesisError> {
    alloc.insert(at::MULTICALL3, GenesisAccount::contract(Contract::Multicall3.runtime()?));
    alloc.insert(
        at::DETERMINISTIC_DEPLOYMENT_PROXY,
        GenesisAccount::contract(artifacts::deterministic_deployment_proxy()?),
    );
    // Where Canyon activates later, execution puts the code there by itself.
    if spec.rollup.active_at_genesis(Fork::Canyon) {
        alloc.insert(at::CREATE2_DEPLOYER, GenesisAccount::contract(artifacts::create2_deployer()?));
    }
    Ok(())
}

/// The contracts that execution calls at the start of every block. Where their fork activates later, an upgrade
/// transaction deploys them; the deployers' nonces are what those transactions leave behind.
fn system_contracts(alloc: &mut Alloc, spec: &NetworkSpec) {
    for (fork, address, code, deployer) in [
        (Fork::Ecotone, BEACON_ROOTS_ADDRESS, &BEACON_ROOTS_CODE, at::BEACON_ROOTS_DEPLOYER),
        (Fork::Isthmus, HISTORY_STORAGE_ADDRESS, &HISTORY_STORAGE_CODE, at::HISTORY_STORAGE_DEPLOYER),
    ] {
        if spec.rollup.active_at_genesis(fork) {
            alloc.insert(address, GenesisAccount::contract(code.clone()));
            alloc.insert(deployer, GenesisAccount { nonce: 1, ..GenesisAccount::default() });
        }
    }
}

/// Writes a slot of an account. Zero is the absence of a value, so it is not stored.
fn set(alloc: &mut Alloc, address: Address, slot: B256, value: B256) {
    if !value.is_zero() {
        alloc.entry(address).or_default().storage.insert(slot, value);
    }
}
