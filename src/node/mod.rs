//! A running node: opens the data folder, starts the tree, and stays with it to the end.

mod batching;
mod carrying;
mod engine_secret;
mod folder;
mod offline;
mod provisioner;
mod status;
mod unsafe_blocks;
mod wiring;

pub(crate) use batching::batcher_rules;
pub(crate) use carrying::{carrier_rules, unknown_rules};
pub use engine_secret::EngineSecretError;
pub use folder::{DataFolder, DuskStores, Stores};
pub use unsafe_blocks::UnsafeSignerError;

use crate::{
    cli::{DbReport, GenesisFiles, RunOptions},
    config::Config,
    network::{Network, NetworkError, NetworkFiles},
};
use duskevm_dusk_l1::keys::AccountId;
use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Why a node cannot run.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A database of the data folder.
    #[error("{0}")]
    Open(#[from] duskevm_store::OpenError),
    /// The L1 database.
    #[error("{0}")]
    L1(#[from] duskevm_store::l1::L1StoreError),
    /// The blob database.
    #[error("{0}")]
    Blobs(#[from] duskevm_store::blobs::BlobStoreError),
    /// The L2 database.
    #[error("{0}")]
    L2(#[from] duskevm_store::l2::L2Error),
    /// The data folder is in use.
    #[error("{} is in use by another duskevm: stop that one, or choose another data.dir", .0.display())]
    InUse(PathBuf),
    /// The data folder cannot be used.
    #[error("{}: {source}", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// An offline command found no L2 chain.
    #[error("{} holds no L2 chain: this data folder was never used by a node, or its database is gone", .0.display())]
    NoChain(PathBuf),
    /// The L2 database is gone and others are not.
    #[error(
        "{} is empty, but {trace}: this node has had L2 blocks, and to begin anew would make other blocks than those that were announced. Restore the database from a copy, begin with a new data.dir, or switch actors.sequencer and actors.batcher off until the node has derived from L1 what was posted",
        path.display()
    )]
    LostL2 {
        /// Where the database should be.
        path: PathBuf,
        /// What shows that it was there.
        trace: &'static str,
    },
    /// The identity under which peers know this node.
    #[error(transparent)]
    Identity(#[from] duskevm_gossip::IdentityError),
    /// There is no way to peers.
    #[error(transparent)]
    Peers(#[from] duskevm_gossip::HostError),
    /// The batcher has no keys.
    #[error(transparent)]
    Batcher(#[from] batching::BatcherKeysError),
    /// The carrier has no key.
    #[error(transparent)]
    Carrier(#[from] carrying::CarrierKeysError),
    /// The key that signs blocks.
    #[error(transparent)]
    UnsafeSigner(#[from] UnsafeSignerError),
    /// The secret of the Engine API.
    #[error(transparent)]
    EngineSecret(#[from] EngineSecretError),
    /// The combination of roles is not possible yet.
    #[error("{0}")]
    Roles(&'static str),
    /// A port is taken.
    #[error("cannot listen on {address} ({source}): stop what listens there, or set another {setting}")]
    Port {
        /// The address.
        address: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// Threads cannot be had.
    #[error("cannot start the runtime: {0}")]
    Runtime(std::io::Error),
}

/// Exit code of a node whose databases could not be closed: after the codes of the supervisor (70 to 73).
const UNCLOSED: u8 = 74;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Runs a node until it is told to stop or gives up. Returns the exit code of the process.
///
/// # Errors
/// If it cannot start: see [`NodeError`].
pub fn run(config: Config, options: RunOptions) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("node")
        .enable_all()
        .build()
        .map_err(NodeError::Runtime)?;
    let code = runtime.block_on(run_in(config, options));
    // A thread that hangs must not hold up the end.
    runtime.shutdown_background();
    code
}

async fn run_in(config: Config, options: RunOptions) -> anyhow::Result<u8> {
    check_roles(&config)?;
    check_ports(&config)?;
    let data = config.data_dir()?.to_owned();
    let folder = folder::DataFolder::open(&data)?;
    let network = Arc::new(Network::open(&config, &data, now())?);
    let config = network.in_force(&config)?;
    // What the network says may ask for more than the settings did.
    check_roles(&config)?;
    let signers = network.signers(&config)?;
    let stores = folder.stores(&config, &network)?;
    let (running, status) = wiring::start(&config, &network, &data, &stores, &signers, &options.metrics)?;
    let bound = Duration::from_millis(config.supervision.shutdown_ms);

    let reason = tokio::select! {
        ready = running.supervisor.ready() => match ready {
            Ok(()) => {
                let endpoints = running.endpoints();
                let _ = status.endpoints.set(serde_json::json!({
                    "rpc": endpoints.rpc, "admin": endpoints.admin, "http": endpoints.http,
                    "blobs": endpoints.blobs, "l1_rpc": endpoints.l1_rpc, "rollup_rpc": endpoints.rollup_rpc,
                    "engine_api": endpoints.engine_api,
                }));
                (options.started)(&endpoints, &config);
                tokio::select! {
                    reason = running.supervisor.wait() => reason,
                    () = options.stop.requested() => running.supervisor.shutdown(bound).await,
                }
            }
            Err(reason) => reason,
        },
        () = options.stop.requested() => running.supervisor.shutdown(bound).await,
    };
    running.disconnect();
    if reason.exit_code() == 0 {
        tracing::info!("{reason}");
    } else if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!("{reason}");
    } else {
        // Whoever silenced the log still learns why the node ended.
        eprintln!("duskevm: {reason}");
    }
    // Closed here and not when the last handle goes: whoever called may want to remove the folder.
    let closed = within(bound, move || stores.close());
    if closed.await {
        return Ok(reason.exit_code());
    }
    tracing::error!(
        ?bound,
        "the databases could not be closed in time, because an actor that hangs still uses them: the process ends without it; what was announced is on disk"
    );
    Ok(UNCLOSED)
}

/// Runs `work` on a thread of its own. False if it is not done within the bound: the thread is left behind.
async fn within(bound: Duration, work: impl FnOnce() + Send + 'static) -> bool {
    let (done, over) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("close".into()).spawn(move || {
        work();
        // Nobody waits any more if it took too long.
        let _ = done.send(());
    });
    thread.is_ok() && matches!(tokio::time::timeout(bound, over).await, Ok(Ok(())))
}

/// Are the ports free? A taken one would only make its actor restart for ever; at start there is somebody to tell.
fn check_ports(config: &Config) -> Result<(), NodeError> {
    let ports = [
        (config.actors.rpc, config.rpc.host, config.rpc.port, "rpc.port"),
        (config.actors.l1_rpc, config.l1_rpc.host, config.l1_rpc.port, "l1_rpc.port"),
        (config.actors.engine_api, config.engine_api.host, config.engine_api.port, "engine_api.port"),
        (config.actors.rollup_rpc, config.rollup_rpc.host, config.rollup_rpc.port, "rollup_rpc.port"),
        (true, config.admin.host, config.admin.port, "admin.port"),
        (config.actors.http, config.http.host, config.http.port, "http.port"),
        (config.actors.blob_api, config.blobs.host, config.blobs.port, "blobs.port"),
    ];
    let ports = ports.map(|(on, host, port, setting)| (on, SocketAddr::new(host, port), setting));
    let listen = config.gossip.listen.iter().map(|address| (config.has_peers(), *address, "gossip.listen"));
    let l2 = config.gossip.l2_listen.iter().map(|address| (config.has_l2_peers(), *address, "gossip.l2_listen"));
    for (on, address, setting) in ports.into_iter().chain(listen).chain(l2) {
        if on
            && address.port() != 0
            && let Err(source) = TcpListener::bind(address)
        {
            return Err(NodeError::Port { address, setting, source });
        }
    }
    Ok(())
}

/// What this version can run: every actor needs the ones that it stands on.
fn check_roles(config: &Config) -> Result<(), NodeError> {
    let on = &config.actors;
    if on.sequencer && !(on.executor && on.l1) {
        return Err(NodeError::Roles(
            "actors.sequencer needs actors.executor and actors.l1: switch them on, or it off",
        ));
    }
    if on.derivation && !(on.executor && on.l1) {
        return Err(NodeError::Roles(
            "actors.derivation needs actors.executor and actors.l1: switch them on, or it off",
        ));
    }
    if on.batcher && !(on.executor && on.l1 && on.derivation && on.sequencer) {
        return Err(NodeError::Roles(
            "actors.batcher needs actors.executor, actors.l1, actors.derivation and actors.sequencer: switch them on, or it off",
        ));
    }
    if on.txpool && !on.executor {
        return Err(NodeError::Roles("actors.txpool needs actors.executor: switch it on, or the pool off"));
    }
    if on.rpc && !on.executor {
        return Err(NodeError::Roles("actors.rpc needs actors.executor: switch it on, or the RPC off"));
    }
    if on.engine_api && !(on.executor && on.txpool) {
        return Err(NodeError::Roles(
            "actors.engine_api needs actors.executor and actors.txpool: switch them on, or it off",
        ));
    }
    if on.engine_api && (on.sequencer || on.derivation || on.batcher || config.has_l2_peers()) {
        return Err(NodeError::Roles(
            "actors.engine_api does not go with actors.sequencer, actors.derivation, actors.batcher and gossip of L2 blocks, which drive the chain too: switch it or them off",
        ));
    }
    if on.l1_rpc && !on.l1 {
        return Err(NodeError::Roles("actors.l1_rpc needs actors.l1: switch it on, or the RPC of L1 off"));
    }
    if on.carrier && !(on.l1 && on.l1_rpc) {
        return Err(NodeError::Roles("actors.carrier needs actors.l1 and actors.l1_rpc: switch them on, or it off"));
    }
    if on.rollup_rpc && !on.executor {
        return Err(NodeError::Roles("actors.rollup_rpc needs actors.executor: switch it on, or the rollup RPC off"));
    }
    if on.l1 && !on.consensus {
        return Err(NodeError::Roles(
            "actors.l1 follows the embedded L1, which actors.consensus runs: switch it on, or actors.l1 off",
        ));
    }
    if on.da_store && !on.consensus {
        return Err(NodeError::Roles(
            "actors.da_store keeps the blobs of the L1 that actors.consensus runs: switch it on, or actors.da_store off",
        ));
    }
    if on.blob_api && !on.da_store {
        return Err(NodeError::Roles("actors.blob_api needs actors.da_store: switch it on, or the API off"));
    }
    if config.has_l2_peers() && !(on.executor && on.l1) {
        return Err(NodeError::Roles(
            "gossip of L2 blocks needs actors.executor and actors.l1: switch them on, or empty gossip.l2_listen and gossip.l2_peers",
        ));
    }
    let talks = config.has_peers() || config.l1.provisioners > 1;
    if on.gossip && talks && !(on.consensus && on.da_store) {
        return Err(NodeError::Roles(
            "actors.gossip carries what actors.consensus and actors.da_store have to say: switch them on, or it off",
        ));
    }
    if config.l1.provisioners > 1 && !on.gossip {
        return Err(NodeError::Roles(
            "the provisioners of l1.provisioners talk through actors.gossip: switch it on, or have one provisioner",
        ));
    }
    Ok(())
}

/// The files of a new network.
///
/// # Errors
/// If the settings make no sense together.
pub fn genesis(config: &Config) -> anyhow::Result<GenesisFiles> {
    genesis_files(NetworkFiles::local(config, now())?)
}

/// The files of the network of a data folder, or of a folder that holds such files.
///
/// # Errors
/// If there is none, or they do not belong together.
pub fn genesis_in(folder: &Path) -> anyhow::Result<GenesisFiles> {
    let files = NetworkFiles::find(folder)?;
    files.load()?;
    genesis_files(files)
}

fn genesis_files(files: NetworkFiles) -> anyhow::Result<GenesisFiles> {
    let l1_chain = files.l1_chain_config()?.ok_or(NetworkError::NoL1(None))?;
    let NetworkFiles { l2, rollup, l1 } = files;
    Ok(GenesisFiles { l2, rollup, l1: l1.ok_or(NetworkError::NoL1(None))?, l1_chain })
}

/// The files of a new network with these provisioners, each with this stake in lux.
///
/// # Errors
/// If the settings make no sense together.
pub fn genesis_of(config: &Config, provisioners: &[AccountId], stake: u64) -> anyhow::Result<GenesisFiles> {
    genesis_files(NetworkFiles::with_provisioners(config, now(), provisioners, stake)?)
}

/// Looks at a data folder without changing it: can everything be opened, and does it fit together?
///
/// # Errors
/// If the folder is no data folder or is in use.
pub fn db_check(config: &Config) -> anyhow::Result<DbReport> {
    offline::check(config)
}

/// Executes every L2 block again from the genesis state and computes every root from scratch. `progress` is told blocks done and
/// blocks in all.
///
/// # Errors
/// If the folder is no data folder or is in use.
pub fn db_verify(config: &Config, progress: &dyn Fn(u64, u64)) -> anyhow::Result<DbReport> {
    offline::verify(config, progress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_need_one_another() {
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            check_roles(&config).unwrap_err().to_string()
        };
        check_roles(&Config::default()).unwrap();
        let without_consensus = |c: &mut Config| {
            (c.actors.consensus, c.actors.l1, c.actors.l1_rpc) = (false, false, false);
            (c.actors.sequencer, c.actors.batcher, c.actors.derivation) = (false, false, false);
        };
        assert!(refused(without_consensus).contains("actors.da_store keeps the blobs"));
        let without_l1 = |c: &mut Config| {
            c.actors.l1 = false;
            (c.actors.sequencer, c.actors.batcher, c.actors.derivation) = (false, false, false);
        };
        assert!(refused(without_l1).contains("actors.l1_rpc needs actors.l1"));
        assert!(refused(|c| c.actors.da_store = false).contains("actors.blob_api needs actors.da_store"));
        let listening_without_blobs = |c: &mut Config| {
            c.gossip.listen = vec![([127, 0, 0, 1], 0).into()];
            (c.actors.da_store, c.actors.blob_api) = (false, false);
        };
        assert!(refused(listening_without_blobs).contains("actors.gossip carries"));
        let silent_provisioners = |c: &mut Config| (c.l1.provisioners, c.actors.gossip) = (2, false);
        assert!(refused(silent_provisioners).contains("talk through actors.gossip"));
    }

    #[test]
    fn a_taken_port_is_named_with_its_setting() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let mut config = Config::default();
        let ports = [
            &mut config.rpc.port,
            &mut config.l1_rpc.port,
            &mut config.rollup_rpc.port,
            &mut config.admin.port,
            &mut config.http.port,
            &mut config.blobs.port,
        ];
        for port in ports {
            *port = 0;
        }
        check_ports(&config).unwrap();
        config.gossip.listen = vec![address];
        let error = check_ports(&config).unwrap_err().to_string();
        assert!(error.contains("gossip.listen") && error.contains(&address.to_string()), "{error}");
        config.actors.gossip = false;
        check_ports(&config).unwrap();
        config.blobs.port = address.port();
        assert!(check_ports(&config).unwrap_err().to_string().contains("blobs.port"));
    }

    #[tokio::test]
    async fn closing_has_a_bound() {
        assert!(within(Duration::from_secs(10), || {}).await);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let hangs = move || {
            let _ = held.recv();
        };
        assert!(!within(Duration::from_millis(20), hangs).await);
        drop(release);
    }
}
