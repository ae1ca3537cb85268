//! The network that a node belongs to: made once, kept as files in the data folder, read from there ever after.

mod check;
mod contracts;
mod keys;
mod provisioners;
mod settings;

pub(crate) use contracts::CONTRACTS;
pub use keys::{KeysError, Password, read_key_file, read_secret};
pub use provisioners::{
    LOCAL_STAKE, consensus_params, local_batcher, local_carrier, local_producer, local_provisioner,
};

use crate::config::{Config, NetworkName};
use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header, Sealable};
use alloy_primitives::{B256, KECCAK256_EMPTY, U256, keccak256};
use duskevm_dusk_l1::{
    genesis::{Genesis as L1Genesis, GenesisAccount, GenesisStake},
    keys::AccountId,
};
use duskevm_evm::{Block, ChainSpec, Eip1559Constants, header::MESSAGE_PASSER};
use duskevm_genesis::{
    BlockRef, Fork, ForkTimes, GenesisAnchor, L2Genesis, LOCAL_CONTRACTS, NetworkSpec, WithdrawalsRoot,
    l1_chain_config_json,
};
use duskevm_l1_view::{DuskBlock, ViewBlock, ViewConfig, project};
use duskevm_rollup::{BlockId, RollupConfig, RollupGenesis, SystemConfig};
use duskevm_settlement::Settlement;
use duskevm_trie::{AccountDelta, AccountInfo, Changes, EMPTY_ROOT_HASH, StateChanges, StateTrie, Witness};
use serde_json::value::RawValue;
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

const L2_GENESIS_FILE: &str = "genesis.json";
const ROLLUP_FILE: &str = "rollup.json";
const L1_GENESIS_FILE: &str = "l1-genesis.json";
const L1_CHAIN_FILE: &str = "l1-chain-config.json";

/// Where a data folder keeps these files.
const KEPT: &str = "network";

/// Balance of a provisioner's account in a new network, in lux: a million DUSK.
const LOCAL_BALANCE: u64 = 1_000_000_000_000_000;

/// Why a network cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A file is missing or cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The L2 side makes no sense.
    #[error(transparent)]
    L2(#[from] duskevm_genesis::GenesisError),
    /// The fork times make no sense.
    #[error(transparent)]
    Forks(#[from] duskevm_evm::ForkTimesError),
    /// The rollup cannot be made or derived.
    #[error("{ROLLUP_FILE}: {0}")]
    Rollup(#[from] duskevm_rollup::RollupConfigError),
    /// The L1 side makes no sense.
    #[error("{L1_GENESIS_FILE}: {0}")]
    L1(String),
    /// The genesis block computed from the files is not the one that they name.
    #[error("{what} hashes to {computed}, but rollup.json says {named}: these files do not belong together")]
    Anchor {
        /// Which block.
        what: &'static str,
        /// As computed.
        computed: B256,
        /// As named.
        named: B256,
    },
    /// The files contradict one another, or this program.
    #[error("{what} is {found}, not {expected}: take the files of one network, as `duskevm genesis` writes them")]
    Disagree {
        /// Which value.
        what: &'static str,
        /// As found.
        found: String,
        /// As it must be.
        expected: String,
    },
    /// The data folder belongs to another network than the one asked for.
    #[error(
        "{} describes another network than {}, for which this data folder was made ({file} differs): choose another data.dir, or remove network.genesis",
        given.display(), kept.display()
    )]
    Other {
        /// What was asked for.
        given: PathBuf,
        /// What the data folder holds.
        kept: PathBuf,
        /// The file in which they differ.
        file: &'static str,
    },
    /// Settings that do not hold on this network.
    #[error("this network has other values than the settings ({0}): remove the settings, or choose another data.dir")]
    Settings(String),
    /// No network where there must be one.
    #[error("{} holds no network: it is no data folder of a duskevm node", .0.display())]
    Missing(PathBuf),
    /// There is no L1 where one must be.
    #[error(
        "{}{L1_GENESIS_FILE} is missing: only a node that a consensus client drives (actors.engine_api) and that runs no L1 (actors.consensus) can do without it",
        .0.as_ref().map(|folder| format!("{}: ", folder.display())).unwrap_or_default()
    )]
    NoL1(Option<PathBuf>),
    /// The funded accounts cannot be derived.
    #[error(transparent)]
    Accounts(#[from] crate::cli::AccountError),
    /// A public network of which not everything is published.
    #[error("network {0} needs its published genesis files: set network.genesis to the folder that holds them")]
    NeedsFiles(&'static str),
}

/// A network, complete.
#[derive(Debug, Clone)]
pub struct Network {
    /// Execution rules of L2.
    pub spec: Arc<ChainSpec>,
    /// The rollup.
    pub rollup: Arc<RollupConfig>,
    /// The rollup as other programs read it.
    pub rollup_json: Arc<RawValue>,
    /// Block 0 of L2.
    pub genesis_block: Block,
    /// Its state.
    pub genesis_state: StateChanges,
    /// Its tries.
    pub genesis_nodes: Changes,
    /// Its L1; `None` where the files are those of L2 only, which is enough for a node that a consensus client drives.
    pub dusk: Option<DuskNetwork>,
}

/// The L1 of a network.
#[derive(Debug, Clone)]
pub struct DuskNetwork {
    /// The embedded L1.
    pub l1: L1Genesis,
    /// How L1 is shown to L2.
    pub view: ViewConfig,
    /// The rollup's contracts on the embedded L1. A network that was made without them has none.
    pub settlement: Option<Settlement>,
}

/// The texts of a network's files.
#[derive(Debug, Clone)]
pub struct NetworkFiles {
    /// `genesis.json`: L2 in the form of geth.
    pub l2: String,
    /// `rollup.json`: the rollup configuration in the form of op-node.
    pub rollup: String,
    /// `l1-genesis.json`: the embedded L1, if it is there.
    pub l1: Option<String>,
}

impl NetworkFiles {
    /// Makes a local network as the configuration describes it, beginning at `now` (seconds): its first block is due at once.
    ///
    /// # Errors
    /// If the settings make no sense together.
    pub fn local(config: &Config, now: u64) -> Result<Self, NetworkError> {
        let keys: Vec<AccountId> = (1..=config.l1.provisioners).map(|number| local_provisioner(number).id()).collect();
        Self::with_provisioners(config, now, &keys, LOCAL_STAKE)
    }

    /// The same with provisioners of one's own, each with this stake in lux and an account. The Dusk share of the rewards goes to
    /// the first one.
    ///
    /// # Errors
    /// If the settings make no sense together, the stake is below the least one, or all are more than L1 can count.
    pub fn with_provisioners(
        config: &Config,
        now: u64,
        provisioners: &[AccountId],
        stake: u64,
    ) -> Result<Self, NetworkError> {
        let timestamp = now.saturating_sub(config.l2.block_time);
        let account = |key: &AccountId| GenesisAccount { key: *key, balance: LOCAL_BALANCE };
        let staked = |key: &AccountId| GenesisStake { key: *key, amount: stake, eligibility: 0 };
        let mut l1 = L1Genesis {
            chain_id: NetworkSpec::LOCAL_L1_CHAIN_ID as u8,
            timestamp,
            block_time: config.l1.block_time,
            block_gas_limit: 3_000_000_000,
            treasury: provisioners.first().copied().unwrap_or_else(|| local_producer().id()),
            // The batcher of the system config is one whose key everybody knows; so are the accounts that pay for it and for what is carried.
            accounts: provisioners.iter().chain([&local_batcher().id(), &local_carrier().id()]).map(account).collect(),
            stakes: provisioners.iter().map(staked).collect(),
            contracts: Vec::new(),
            consensus: consensus_params(config.l1.block_time),
        };
        l1.validate().map_err(|error| NetworkError::L1(error.to_string()))?;

        let mut spec = NetworkSpec::local(timestamp)?;
        spec.rollup.l2_chain_id = config.l2.chain_id;
        spec.rollup.block_time = config.l2.block_time;
        spec.rollup.system_config.gas_limit = config.l2.gas_limit;
        spec.rollup.seq_window_size = config.l2.sequencing_window;
        spec.rollup.forks = fork_times(config)?;
        let balance = U256::from(config.genesis.balance) * U256::from(10u64.pow(18));
        let accounts = crate::cli::dev_accounts(&config.keys.mnemonic, config.genesis.accounts)?;
        spec.funded = accounts.iter().map(|account| (account.address, balance)).collect();
        let owner = provisioners.first().copied().unwrap_or_else(|| local_producer().id());
        l1.contracts = contracts::records(&spec.rollup, &owner)?;
        let genesis = L2Genesis::build(&spec)?;
        let block = first_block(&genesis).block;
        let origin = view_genesis(&view_config(&l1), &l1)?;
        let anchor = GenesisAnchor {
            l1: BlockRef { hash: origin.hash(), number: 0 },
            l2: BlockRef { hash: block.hash(), number: 0 },
        };
        let l1_text = serde_json::to_string_pretty(&l1).map_err(|error| NetworkError::L1(error.to_string()))?;
        Ok(Self {
            l2: genesis.to_geth_genesis_json()?,
            rollup: genesis.rollup.to_rollup_json(&anchor)?,
            l1: Some(l1_text),
        })
    }

    /// Reads the files of a folder. That of L1 may be missing.
    ///
    /// # Errors
    /// If another one is missing.
    pub fn read(folder: &Path) -> Result<Self, NetworkError> {
        let read = |name: &'static str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|source| NetworkError::File { path, source })
        };
        let l1 = match read(L1_GENESIS_FILE) {
            Err(NetworkError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            read => Some(read?),
        };
        Ok(Self { l2: read(L2_GENESIS_FILE)?, rollup: read(ROLLUP_FILE)?, l1 })
    }

    /// The file in which two networks differ. How a file is formatted does not matter.
    fn differs_from(&self, other: &Self) -> Option<&'static str> {
        let same = |one: &str, two: &str| {
            let parsed = |text| serde_json::from_str::<serde_json::Value>(text).ok();
            one == two || parsed(one).is_some_and(|one| Some(one) == parsed(two))
        };
        // Where one of them has no L1, the L1 block that `rollup.json` names still tells networks apart.
        let l1 = self.l1.as_ref().zip(other.l1.as_ref()).map(|(one, two)| (L1_GENESIS_FILE, one, two));
        [(ROLLUP_FILE, &self.rollup, &other.rollup), (L2_GENESIS_FILE, &self.l2, &other.l2)]
            .into_iter()
            .chain(l1)
            .find_map(|(file, one, two)| (!same(one, two)).then_some(file))
    }

    /// The network of a data folder, or that of a folder that holds these files.
    ///
    /// # Errors
    /// If there is none.
    pub fn find(folder: &Path) -> Result<Self, NetworkError> {
        [folder.join(KEPT), folder.to_owned()]
            .iter()
            .find(|folder| folder.join(ROLLUP_FILE).exists())
            .map_or_else(|| Err(NetworkError::Missing(folder.to_owned())), |folder| Self::read(folder))
    }

    /// `l1-chain-config.json`: the L1 view as an Ethereum chain. Follows from the embedded L1; `None` if that is not there.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn l1_chain_config(&self) -> Result<Option<String>, NetworkError> {
        let Some(l1) = &self.l1 else { return Ok(None) };
        let l1: L1Genesis = serde_json::from_str(l1).map_err(|error| NetworkError::L1(error.to_string()))?;
        Ok(Some(l1_chain_config_json(l1.chain_id.into())?))
    }

    /// Writes them into a folder, each whole or not at all. The rollup file comes last: where it is, the others are.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn write(&self, folder: &Path) -> Result<(), NetworkError> {
        fs::create_dir_all(folder).map_err(|source| NetworkError::File { path: folder.to_owned(), source })?;
        let chain = self.l1_chain_config()?;
        let l1 =
            [self.l1.as_ref().map(|text| (L1_GENESIS_FILE, text)), chain.as_ref().map(|text| (L1_CHAIN_FILE, text))];
        let first = [(L2_GENESIS_FILE, &self.l2)].into_iter().chain(l1.into_iter().flatten());
        for (name, text) in first.chain([(ROLLUP_FILE, &self.rollup)]) {
            write_file(folder, name, text)?;
        }
        Ok(())
    }

    /// Computes the first blocks and checks that the files belong together.
    ///
    /// # Errors
    /// See [`NetworkError`].
    pub fn load(&self) -> Result<Network, NetworkError> {
        let (genesis, anchor) = L2Genesis::from_json(&self.l2, &self.rollup)?;
        let l1 = self.l1.as_ref().map(|text| {
            let l1: L1Genesis = serde_json::from_str(text).map_err(|error| NetworkError::L1(error.to_string()))?;
            l1.validate().map_err(|error| NetworkError::L1(error.to_string()))?;
            let view = view_config(&l1);
            same_anchor("the L1 view's genesis block", view_genesis(&view, &l1)?.hash(), anchor.l1.hash)?;
            Ok::<_, NetworkError>((l1, view))
        });
        let l1 = l1.transpose()?;
        let FirstBlock { block, state, nodes } = first_block(&genesis);
        same_anchor("the L2 genesis block", block.hash(), anchor.l2.hash)?;
        let params = &genesis.rollup;
        let forks = execution_forks(&params.forks);
        let constants = Eip1559Constants {
            elasticity: params.eip1559.elasticity.into(),
            denominator: params.eip1559.denominator.into(),
            canyon_denominator: params.eip1559.denominator_canyon.into(),
        };
        let system = &params.system_config;
        let rollup = RollupConfig {
            genesis: RollupGenesis {
                l1: BlockId { hash: anchor.l1.hash, number: anchor.l1.number },
                l2: BlockId { hash: anchor.l2.hash, number: anchor.l2.number },
                l2_time: params.l2_time,
                system_config: SystemConfig {
                    batcher_address: system.batcher,
                    overhead: system.overhead,
                    scalar: system.scalar,
                    gas_limit: system.gas_limit,
                    eip1559_params: system.eip1559_params,
                    operator_fee_scalar: system.operator_fee_scalar,
                    operator_fee_constant: system.operator_fee_constant,
                    min_base_fee: system.min_base_fee,
                    da_footprint_gas_scalar: system.da_footprint_gas_scalar,
                },
            },
            block_time: params.block_time,
            max_sequencer_drift: params.max_sequencer_drift,
            seq_window_size: params.seq_window_size,
            l1_chain_id: params.l1_chain_id,
            l2_chain_id: params.l2_chain_id,
            forks,
            delta_time: params.forks.time(Fork::Delta),
            batch_inbox_address: params.addresses.batch_inbox,
            deposit_contract_address: params.addresses.portal,
            l1_system_config_address: params.addresses.system_config,
            eip1559: (constants.elasticity, constants.denominator, constants.canyon_denominator),
        };
        check::rollup(&rollup)?;
        let dusk = match l1 {
            Some((l1, view)) => {
                check::against_l1(&rollup, &l1)?;
                let settlement = contracts::open(&rollup, &l1)?;
                Some(DuskNetwork { l1, view, settlement })
            }
            None => None,
        };
        Ok(Network {
            spec: Arc::new(ChainSpec::new(params.l2_chain_id, forks, constants)?),
            rollup: Arc::new(rollup),
            rollup_json: RawValue::from_string(self.rollup.clone())
                .map_err(|error| NetworkError::L1(error.to_string()))?
                .into(),
            genesis_block: block,
            genesis_state: state,
            genesis_nodes: nodes,
            dusk,
        })
    }
}

fn same_anchor(what: &'static str, computed: B256, named: B256) -> Result<(), NetworkError> {
    if computed == named { Ok(()) } else { Err(NetworkError::Anchor { what, computed, named }) }
}

/// Writes a file, whole or not at all.
fn write_file(folder: &Path, name: &str, text: &str) -> Result<(), NetworkError> {
    let (path, temporary) = (folder.join(name), folder.join(format!("{name}.new")));
    let write = || {
        fs::write(&temporary, text)?;
        fs::File::open(&temporary)?.sync_all()?;
        fs::rename(&temporary, &path)?;
        fs::File::open(folder)?.sync_all()
    };
    write().map_err(|source| NetworkError::File { path: path.clone(), source })
}

impl Network {
    /// The network of a data folder: the one that it was made for, or, if it is fresh, the configured one, which is then written
    /// into it.
    ///
    /// # Errors
    /// See [`NetworkError`].
    pub fn open(config: &Config, data: &Path, now: u64) -> Result<Self, NetworkError> {
        let kept = data.join(KEPT);
        if kept.join(ROLLUP_FILE).exists() {
            let files = NetworkFiles::read(&kept)?;
            // A folder from before there was such a file.
            if !kept.join(L1_CHAIN_FILE).exists()
                && let Some(chain) = files.l1_chain_config()?
            {
                write_file(&kept, L1_CHAIN_FILE, &chain)?;
            }
            if let Some(given) = &config.network.genesis
                && let Some(file) = files.differs_from(&NetworkFiles::read(given)?)
            {
                return Err(NetworkError::Other { given: given.clone(), kept, file });
            }
            let network = files.load()?;
            network.check_l1(config, &kept)?;
            return Ok(network);
        }
        let files = match (&config.network.genesis, config.network.name) {
            (Some(folder), _) => NetworkFiles::read(folder)?,
            (None, NetworkName::Local) => NetworkFiles::local(config, now)?,
            (None, NetworkName::Devnet) => return Err(NetworkError::NeedsFiles("devnet")),
            (None, NetworkName::Testnet) => return Err(NetworkError::NeedsFiles("testnet")),
            (None, NetworkName::Mainnet) => return Err(NetworkError::NeedsFiles("mainnet")),
        };
        let network = files.load()?;
        network.check_l1(config, config.network.genesis.as_deref().unwrap_or(&kept))?;
        files.write(&kept)?;
        Ok(network)
    }

    /// Is the L1 there, if this node runs it?
    fn check_l1(&self, config: &Config, folder: &Path) -> Result<(), NetworkError> {
        if config.actors.consensus && self.dusk.is_none() {
            return Err(NetworkError::NoL1(Some(folder.to_owned())));
        }
        Ok(())
    }

    /// The L1 of this network.
    ///
    /// # Errors
    /// [`NetworkError::NoL1`] if the files are those of L2 only.
    pub fn dusk(&self) -> Result<&DuskNetwork, NetworkError> {
        self.dusk.as_ref().ok_or(NetworkError::NoL1(None))
    }
}

impl Network {
    /// The network of an existing data folder, whatever is configured.
    ///
    /// # Errors
    /// If the folder holds none.
    pub fn kept(data: &Path) -> Result<Self, NetworkError> {
        let kept = data.join(KEPT);
        if !kept.join(ROLLUP_FILE).exists() {
            return Err(NetworkError::Missing(data.to_owned()));
        }
        NetworkFiles::read(&kept)?.load()
    }
}

fn fork_times(config: &Config) -> Result<ForkTimes, NetworkError> {
    let forks = &config.forks;
    let times = [
        (Fork::Regolith, forks.regolith),
        (Fork::Canyon, forks.canyon),
        (Fork::Delta, forks.delta),
        (Fork::Ecotone, forks.ecotone),
        (Fork::Fjord, forks.fjord),
        (Fork::Granite, forks.granite),
        (Fork::Holocene, forks.holocene),
        (Fork::Isthmus, forks.isthmus),
        (Fork::Jovian, forks.jovian),
    ];
    Ok(ForkTimes::new(times.into_iter().filter_map(|(fork, time)| Some((fork, time.0?))))?)
}

fn execution_forks(forks: &ForkTimes) -> duskevm_evm::ForkTimes {
    duskevm_evm::ForkTimes {
        regolith: forks.time(Fork::Regolith),
        canyon: forks.time(Fork::Canyon),
        ecotone: forks.time(Fork::Ecotone),
        fjord: forks.time(Fork::Fjord),
        granite: forks.time(Fork::Granite),
        holocene: forks.time(Fork::Holocene),
        isthmus: forks.time(Fork::Isthmus),
        jovian: forks.time(Fork::Jovian),
    }
}

fn view_config(l1: &L1Genesis) -> ViewConfig {
    ViewConfig {
        chain_id: l1.chain_id.into(),
        emitters: BTreeSet::from([
            LOCAL_CONTRACTS.portal,
            LOCAL_CONTRACTS.messenger,
            LOCAL_CONTRACTS.standard_bridge,
            LOCAL_CONTRACTS.erc721_bridge,
            LOCAL_CONTRACTS.system_config,
        ]),
        inbox: Some(LOCAL_CONTRACTS.batch_inbox),
    }
}

fn view_genesis(view: &ViewConfig, l1: &L1Genesis) -> Result<ViewBlock, NetworkError> {
    let block = l1.block();
    let header = block.header();
    let dusk = DuskBlock {
        height: 0,
        timestamp: header.timestamp,
        hash: header.hash.into(),
        prev_hash: header.prev_block_hash.into(),
        seed: *header.seed.inner(),
        txs: Vec::new(),
    };
    project(view, None, &dusk).map_err(|error| NetworkError::L1(error.to_string()))
}

struct FirstBlock {
    block: Block,
    state: StateChanges,
    nodes: Changes,
}

/// Block 0 with its state.
fn first_block(genesis: &L2Genesis) -> FirstBlock {
    let mut state = StateChanges::default();
    for (address, account) in &genesis.alloc {
        let code_hash = match &account.code {
            Some(code) if !code.is_empty() => {
                let hash = keccak256(code);
                state.codes.push((hash, code.clone()));
                hash
            }
            _ => KECCAK256_EMPTY,
        };
        let info = AccountInfo { nonce: account.nonce, balance: account.balance, code_hash };
        let slots = account.storage.iter().filter(|(_, value)| !value.is_zero());
        let slots = slots.map(|(slot, value)| ((*slot).into(), (*value).into()));
        state.accounts.push(AccountDelta::new(*address, Some(info), false, slots));
    }
    state.codes.sort_unstable_by_key(|(hash, _)| *hash);
    state.codes.dedup_by_key(|(hash, _)| *hash);

    let mut trie = StateTrie::stateless(EMPTY_ROOT_HASH);
    let no_nodes = Witness::default();
    let root_and_passer = trie.apply(&no_nodes, &state.hashed()).and_then(|outcome| {
        let passer = trie.account(&no_nodes, &keccak256(MESSAGE_PASSER))?;
        Ok((outcome.root, passer.map_or(EMPTY_ROOT_HASH, |account| account.storage_root), outcome.changes))
    });
    let (state_root, passer_root, nodes) = match root_and_passer {
        Ok(roots) => roots,
        // A trie built from nothing needs no node that it does not hold.
        Err(error) => unreachable!("{error}"),
    };
    let head = &genesis.header;
    let header = Header {
        parent_hash: head.parent_hash,
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: head.beneficiary,
        state_root,
        transactions_root: EMPTY_ROOT_HASH,
        receipts_root: EMPTY_ROOT_HASH,
        difficulty: head.difficulty,
        number: head.number,
        gas_limit: head.gas_limit,
        timestamp: head.timestamp,
        extra_data: head.extra_data.clone(),
        mix_hash: head.mix_hash,
        nonce: head.nonce,
        base_fee_per_gas: Some(head.base_fee),
        withdrawals_root: match head.withdrawals_root {
            WithdrawalsRoot::Absent => None,
            WithdrawalsRoot::EmptyTrie => Some(EMPTY_ROOT_HASH),
            WithdrawalsRoot::MessagePasserStorage => Some(passer_root),
        },
        blob_gas_used: head.blob_gas_used,
        excess_blob_gas: head.excess_blob_gas,
        parent_beacon_block_root: head.parent_beacon_block_root,
        requests_hash: head.requests_hash,
        ..Default::default()
    };
    FirstBlock { block: Block { header: header.seal_slow(), transactions: Vec::new() }, state, nodes }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn local() -> NetworkFiles {
        NetworkFiles::local(&Config::default(), NOW).unwrap()
    }

    /// The error that a change of `rollup.json` leads to.
    fn with_rollup(change: impl Fn(&mut serde_json::Value)) -> String {
        let mut files = local();
        let mut rollup = serde_json::from_str(&files.rollup).unwrap();
        change(&mut rollup);
        files.rollup = rollup.to_string();
        files.load().unwrap_err().to_string()
    }

    #[test]
    fn a_node_without_l1_needs_the_files_of_l2_only() {
        let folder = tempfile::tempdir().unwrap();
        let (data, given) = (folder.path().join("data"), folder.path().join("given"));
        NetworkFiles { l1: None, ..local() }.write(&given).unwrap();
        let mut config = Config::default();
        config.network.genesis = Some(given.clone());
        let error = Network::open(&config, &data, NOW).unwrap_err().to_string();
        assert!(error.contains("l1-genesis.json is missing") && error.contains("given"), "{error}");
        assert!(!data.exists());
        config.actors.consensus = false;
        let network = Network::open(&config, &data, NOW).unwrap();
        assert!(network.dusk.is_none());
        assert_eq!(network.genesis_block.hash(), local().load().unwrap().genesis_block.hash());
        // From the data folder, which has no L1 either; the whole network is the same one.
        local().write(&given).unwrap();
        Network::open(&config, &data, NOW).unwrap();
        config.actors.consensus = true;
        assert!(matches!(Network::open(&config, &data, NOW), Err(NetworkError::NoL1(_))));
    }

    #[test]
    fn values_that_no_hash_covers_are_compared() {
        local().load().unwrap();
        assert!(with_rollup(|r| r["genesis"]["l1"]["number"] = 5.into()).contains("genesis.l1.number"));
        assert!(with_rollup(|r| r["genesis"]["l2"]["number"] = 5.into()).contains("genesis.l2.number"));
        assert!(with_rollup(|r| r["l1_chain_id"] = 99.into()).contains("l1_chain_id"));
        let address = format!("{:?}", alloy_primitives::Address::repeat_byte(9));
        for field in ["deposit_contract_address", "l1_system_config_address", "batch_inbox_address"] {
            assert!(with_rollup(|r| r[field] = address.clone().into()).contains(field));
        }
        assert!(with_rollup(|r| r["block_time"] = 4_000.into()).contains("block_time"));
    }

    #[test]
    fn a_rollup_that_cannot_be_derived_is_refused() {
        let mut late = Config::default();
        late.forks.jovian = crate::config::ForkTime(Some(NOW + 100));
        let late = NetworkFiles::local(&late, NOW).unwrap().load().unwrap_err().to_string();
        assert!(late.contains("jovian is scheduled at"), "{late}");
        let mut old = Config::default();
        for fork in [&mut old.forks.holocene, &mut old.forks.isthmus] {
            *fork = crate::config::ForkTime::NEVER;
        }
        let old = NetworkFiles::local(&old, NOW).unwrap().load().unwrap_err().to_string();
        assert!(old.contains("holocene must be active at genesis"), "{old}");
    }

    #[test]
    fn times_that_would_overflow_are_refused() {
        let config = Config::default();
        let error = NetworkFiles::local(&config, u64::MAX).unwrap_err();
        assert!(error.to_string().contains("timestamp"), "{error}");
    }

    #[test]
    fn a_data_folder_keeps_its_network() {
        let folder = tempfile::tempdir().unwrap();
        let (data, given) = (folder.path().join("data"), folder.path().join("given"));
        let mut config = Config::default();
        Network::open(&config, &data, NOW).unwrap();
        assert!(matches!(Network::kept(&given), Err(NetworkError::Missing(_))));

        // Other programs need to know the L1 view; a folder from before gets the file.
        let l1_chain = data.join("network/l1-chain-config.json");
        let text = fs::read_to_string(&l1_chain).unwrap();
        fs::remove_file(&l1_chain).unwrap();
        Network::open(&config, &data, NOW).unwrap();
        assert_eq!(fs::read_to_string(&l1_chain).unwrap(), text);

        // The same network, written otherwise, and another one.
        let kept = NetworkFiles::read(&data.join("network")).unwrap();
        let value: serde_json::Value = serde_json::from_str(&kept.rollup).unwrap();
        NetworkFiles { rollup: value.to_string(), ..kept }.write(&given).unwrap();
        config.network.genesis = Some(given.clone());
        Network::open(&config, &data, NOW).unwrap();
        NetworkFiles::local(&Config::default(), NOW + 5).unwrap().write(&given).unwrap();
        assert!(matches!(Network::open(&config, &data, NOW), Err(NetworkError::Other { .. })));
    }

    #[test]
    fn settings_that_are_not_in_force_are_refused_or_replaced() {
        let mut made = Config::default();
        made.l2.chain_id = 777;
        made.l2.sequencing_window = 50;
        made.genesis.accounts = 3;
        made.genesis.balance = 5;
        let network = NetworkFiles::local(&made, NOW).unwrap().load().unwrap();
        assert_eq!(network.in_force(&made).unwrap(), made);
        assert_eq!(network.in_force(&Config::default()).unwrap(), made, "the network's own values");
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            network.in_force(&config).unwrap_err().to_string()
        };
        assert!(refused(|c| c.l2.chain_id = 778).contains("l2.chain_id is 777, not 778"));
        assert!(refused(|c| c.l1.block_time = 30).contains("l1.block_time is 10"));
        assert!(refused(|c| c.l2.gas_limit = 30_000_000).contains("l2.gas_limit"));
        assert!(refused(|c| c.l2.sequencing_window = 9).contains("l2.sequencing_window"));
        assert!(refused(|c| c.genesis.balance = 7).contains("genesis.balance is 5"));
        assert!(refused(|c| c.genesis.accounts = 4).contains("genesis.accounts is 3"));
        assert!(refused(|c| c.sequencer.l1_confirmations = 178).contains("ahead of L1"));
        let jovian = |c: &mut Config| c.forks.jovian = crate::config::ForkTime::GENESIS;
        assert!(refused(jovian).contains("l2.forks"));
    }
}
