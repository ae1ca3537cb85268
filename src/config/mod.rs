//! The configuration: every setting, its default, and the layers it is read from.
//!
//! A value is taken from the last of these that names it:
//!
//! 1. the built-in default (and what `duskevm dev` changes of it);
//! 2. the TOML file given with `--config`; relative paths in it start at the file's own folder;
//! 3. the environment: `DUSKEVM_` + section + `__` + key, so `rpc.port` is `DUSKEVM_RPC__PORT` and `l2.forks.jovian` is
//!    `DUSKEVM_L2__FORKS__JOVIAN`; lists are TOML (`["a", "b"]`) or separated by commas; an empty variable counts as not set;
//! 4. command-line flags.
//!
//! A key that does not exist is an error in every layer and names the nearest one that does.

mod check;
mod error;
mod layers;
mod load;
mod nearest;
mod origin;
mod schema;
mod sections;
mod show;
mod types;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use error::{ConfigError, Problem};
pub(crate) use load::{DEV_L1_BLOCK_TIME, DEV_L2_BLOCK_TIME, is_test_mnemonic};
pub use load::{Effective, Loader};
pub use origin::Origin;
pub use schema::{Key, SectionSpec};
pub use sections::{
    Actors, Admin, Batcher, Blobs, Carrier, Data, EngineApi, Faults, Forks, Genesis, Gossip, Http, Keys, L1, L1Rpc, L2,
    Log, Network, RollupRpc, Rpc, Sequencer, Supervision, TEST_MNEMONIC, Txpool,
};
pub use show::Show;
pub use types::{BatchCarrier, BatchCompression, ForkTime, L1Backend, L1Follow, LogFormat, NetworkName, Secret};

use schema::{Section, SetError};

/// Declares [`Config`] and the access to its sections by path.
macro_rules! config {
    ($( $(#[doc = $doc:literal])+ $field:ident : $type:ty, )+) => {
        /// Every setting of a node.
        #[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
        pub struct Config {
            $( $(#[doc = $doc])+ pub $field: $type, )+
        }

        impl Config {
            /// All sections with their keys and documentation, in the order in which they are shown.
            pub const SECTIONS: &[SectionSpec] = &[$( <$type as Section>::SPEC, )+];

            pub(crate) fn set(&mut self, section: &str, key: &str, value: toml::Value) -> Result<(), SetError> {
                $( if section == <$type as Section>::SPEC.path {
                    return self.$field.set(key, value);
                } )+
                Err(SetError::UnknownKey)
            }

            pub(crate) fn get(&self, section: &str, key: &str) -> Option<toml::Value> {
                $( if section == <$type as Section>::SPEC.path {
                    return self.$field.get(key);
                } )+
                None
            }
        }
    };
}

config! {
    /// Which DuskEVM this node belongs to.
    network: Network,
    /// Where chains and state are kept.
    data: Data,
    /// Which actors run.
    actors: Actors,
    /// Dusk L1.
    l1: L1,
    /// Parameters of a local L2.
    l2: L2,
    /// Fork times of a local L2.
    forks: Forks,
    /// Genesis of a local network.
    genesis: Genesis,
    /// Secrets.
    keys: Keys,
    /// The block builder.
    sequencer: Sequencer,
    /// What posts blocks.
    batcher: Batcher,
    /// What carries the batches of others.
    carrier: Carrier,
    /// The transaction pool.
    txpool: Txpool,
    /// The L2 JSON-RPC.
    rpc: Rpc,
    /// The JSON-RPC of L1.
    l1_rpc: L1Rpc,
    /// The Engine API.
    engine_api: EngineApi,
    /// The RPC of a rollup node.
    rollup_rpc: RollupRpc,
    /// The admin JSON-RPC.
    admin: Admin,
    /// Metrics and health.
    http: Http,
    /// Peers.
    gossip: Gossip,
    /// Blobs and their API.
    blobs: Blobs,
    /// Logs.
    log: Log,
    /// Restarts and deadlines.
    supervision: Supervision,
    /// Fault injection.
    faults: Faults,
}

impl Config {
    /// The L2 chain id: that of the named network, or the configured one of a local network.
    pub fn chain_id(&self) -> u64 {
        match self.network.name {
            NetworkName::Local => self.l2.chain_id,
            named => named.chain_id(),
        }
    }

    /// Whether this node talks to other nodes. Without an address to listen on or a peer to dial there are none.
    pub fn has_peers(&self) -> bool {
        self.actors.gossip && !(self.gossip.listen.is_empty() && self.gossip.boot.is_empty())
    }

    /// Whether this node gossips blocks of L2. Without an address to listen on or a peer to dial it does not.
    pub fn has_l2_peers(&self) -> bool {
        self.actors.gossip && !(self.gossip.l2_listen.is_empty() && self.gossip.l2_peers.is_empty())
    }

    /// The data folder. [`Loader`] refuses a configuration without one, and `dev` sets its temporary one, so it is
    /// only missing from a configuration that was made by hand.
    ///
    /// # Errors
    /// Says which setting is missing.
    pub fn data_dir(&self) -> Result<&Path, ConfigError> {
        self.data.dir.as_deref().ok_or_else(|| {
            ConfigError::Problems(vec![Problem::Senseless {
                key: "data.dir".to_owned(),
                origin: Origin::Default,
                what: "not set: set it to the folder that shall hold the node's databases".to_owned(),
            }])
        })
    }
}

/// Whether the value of a key is shown only on request.
pub(crate) fn is_secret(section: &str, key: &str) -> bool {
    (section, key) == (<Keys as Section>::SPEC.path, "mnemonic")
}

impl Forks {
    /// The schedule in the form that the execution layer takes.
    pub fn times(&self) -> duskevm_evm::ForkTimes {
        duskevm_evm::ForkTimes {
            regolith: self.regolith.0,
            canyon: self.canyon.0,
            ecotone: self.ecotone.0,
            fjord: self.fjord.0,
            granite: self.granite.0,
            holocene: self.holocene.0,
            isthmus: self.isthmus.0,
            jovian: self.jovian.0,
        }
    }
}
