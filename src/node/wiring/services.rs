//! What faces operators and clients: RPC, admin, metrics and health, blobs.

use super::{Base, LEAST_DEADLINE, l1::DuskL1, l2::Rollup};
use crate::{
    config::Config,
    metrics::Metrics,
    node::{
        NodeError,
        carrying::{carrier_keys, carrier_rules, envelope_rules},
        engine_secret::engine_secret,
        status::{NodeStatus, SharedStatus},
    },
};
use duskevm_blobs::api::beacon;
use duskevm_carrier::CarrierActor;
use duskevm_carrier_core::Carried;
use duskevm_da_store::{ApiLimits, ApiWiring, BlobApi, Socket as BlobSocket};
use duskevm_http::{Http, Limits as HttpLimits, Site, Socket as HttpSocket};
use duskevm_rpc::{
    AdminConfig, AdminServer, BlockMaker, CarrierPorts, DuskPorts, EngineConfig, EnginePorts, EngineServer,
    EngineWiring, Heard, L1RpcConfig, L1RpcServer, L1Wiring, PoolPorts, RollupRpcConfig, RollupRpcServer, RollupWiring,
    RpcConfig, RpcServer, Socket as RpcSocket, StoreReader, Turns, Wiring as RpcWiring,
};
use duskevm_supervision::{ChildSpec, Ref, Tree};
use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// The servers, with their sockets, which outlive them.
pub(super) struct Services {
    pub(super) status: SharedStatus,
    pub(super) rpc: RpcSocket,
    pub(super) l1_rpc: RpcSocket,
    pub(super) engine_api: RpcSocket,
    pub(super) rollup_rpc: RpcSocket,
    pub(super) admin: RpcSocket,
    pub(super) http: HttpSocket,
    pub(super) blobs: BlobSocket,
    rpc_server: Option<ChildSpec<RpcServer>>,
    l1_rpc_server: Option<ChildSpec<L1RpcServer>>,
    engine_server: Option<ChildSpec<EngineServer>>,
    carrier: Option<ChildSpec<CarrierActor>>,
    rollup_rpc_server: Option<ChildSpec<RollupRpcServer>>,
    admin_server: ChildSpec<AdminServer>,
    http_server: Option<ChildSpec<Http>>,
    blob_server: Option<ChildSpec<BlobApi>>,
}

impl Services {
    pub(super) fn new(base: Base<'_>, l1: Option<&DuskL1>, l2: &Rollup, metrics: &Metrics) -> Result<Self, NodeError> {
        let Base { config, network, .. } = base;
        let rpc: Ref<RpcServer> = Ref::declare("rpc");
        let l1_rpc: Ref<L1RpcServer> = Ref::declare("l1-rpc");
        let carrier: Ref<CarrierActor> = Ref::declare("carrier");
        let (carried_out, carried) = watch::channel(Arc::default());
        let carrier_spec = match l1 {
            Some(l1) if config.actors.carrier => Some(carrier_spec(base, l1, &carrier, carried_out)?),
            _ => None,
        };
        let rollup_rpc: Ref<RollupRpcServer> = Ref::declare("rollup-rpc");
        let admin: Ref<AdminServer> = Ref::declare("admin");
        let http: Ref<Http> = Ref::declare("http");

        let status = SharedStatus(Arc::new(NodeStatus {
            network: network.clone(),
            heads: l2.heads.clone(),
            l1_heads: l1.map_or_else(|| watch::channel(None).1, |l1| l1.heads.clone()),
            current_l1: l2.current_l1.clone(),
            pool: l2.pool.port(),
            provisioners: l1.map(DuskL1::provisioners).unwrap_or_default(),
            dusk: l1.map(|l1| DuskPorts::of(&l1.own.consensus, &l1.port)),
            sequencing: l2.sequencing.clone(),
            driver: config.actors.engine_api.then(Heard::default),
            catching_up: l2.catching_up.clone(),
            started: Instant::now(),
            supervisor: OnceLock::new(),
            endpoints: OnceLock::new(),
        }));
        let rollup =
            || duskevm_rpc::node::Rollup { config: (*network.rollup).clone(), json: network.rollup_json.clone() };
        let rpc_socket = RpcSocket::new(SocketAddr::new(config.rpc.host, config.rpc.port));
        let rpc_spec = {
            let wiring = reads(base, l2, &status, rpc_config(config), rpc_socket.clone());
            duskevm_rpc::rpc_spec(&rpc, wiring).deadline(base.deadline(LEAST_DEADLINE))
        };
        let engine_socket = RpcSocket::new(SocketAddr::new(config.engine_api.host, config.engine_api.port));
        let engine_spec = match &status.driver {
            Some(heard) => Some(engine_server(base, l2, &status, heard, &engine_socket)?),
            None => None,
        };
        let l1_rpc_socket = RpcSocket::new(SocketAddr::new(config.l1_rpc.host, config.l1_rpc.port));
        let l1_rpc_spec = l1.filter(|_| config.actors.l1_rpc).map(|l1| {
            let wiring = L1Wiring {
                config: l1_rpc_config(config),
                socket: l1_rpc_socket.clone(),
                store: l1.store.clone(),
                heads: l1.heads.clone(),
                chain_id: l1.network.view.chain_id,
                settlement: l1.network.settlement.clone().map(Arc::new),
                carrier: carrier_spec
                    .as_ref()
                    .map(|_| CarrierPorts { carry: carrier.port(), carried: carried.clone() }),
            };
            duskevm_rpc::l1_rpc_spec(&l1_rpc, wiring).deadline(base.deadline(LEAST_DEADLINE))
        });
        let rollup_rpc_socket = RpcSocket::new(SocketAddr::new(config.rollup_rpc.host, config.rollup_rpc.port));
        let rollup_rpc_spec = {
            let wiring = RollupWiring {
                config: rollup_rpc_config(config),
                socket: rollup_rpc_socket.clone(),
                reader: Arc::new(StoreReader::new(l2.heads.clone(), base.stores.l2.reader())),
                spec: (*network.spec).clone(),
                node: Arc::new(status.clone()),
                rollup: rollup(),
                controls: l2.controls.clone(),
            };
            duskevm_rpc::rollup_rpc_spec(&rollup_rpc, wiring).deadline(base.deadline(LEAST_DEADLINE))
        };
        let admin_address = SocketAddr::new(config.admin.host, config.admin.port);
        let admin_socket = RpcSocket::new(admin_address);
        let admin_config = AdminConfig { listen: admin_address };
        let admin_spec = duskevm_rpc::admin_spec(&admin, admin_config, admin_socket.clone(), Arc::new(status.clone()))
            .deadline(base.deadline(LEAST_DEADLINE));
        let http_socket = HttpSocket::new(SocketAddr::new(config.http.host, config.http.port));
        let http_spec = {
            let render = metrics.render();
            let site = Arc::new(Site {
                title: format!("duskevm {}", env!("CARGO_PKG_VERSION")),
                metrics: Box::new(move || render.text()),
                readiness: Box::new(status.clone()),
            });
            let limits = HttpLimits {
                max_connections: config.http.max_connections as usize,
                max_header_bytes: config.http.max_header_bytes as usize,
                header_timeout: Duration::from_millis(config.http.header_timeout_ms),
                connection_timeout: Duration::from_millis(config.http.connection_timeout_ms),
            };
            let socket = http_socket.clone();
            ChildSpec::new(&http, move |_| Ok(Http::new(socket.clone(), site.clone(), limits)))
                .deadline(base.deadline(LEAST_DEADLINE))
        };
        let blob_socket = BlobSocket::new(SocketAddr::new(config.blobs.host, config.blobs.port));
        let keeper = l1.and_then(|l1| Some((l1, l1.own.da_store.as_ref()?)));
        let blob_spec = keeper.filter(|_| config.actors.blob_api).map(|(l1, keeper)| {
            let genesis = &l1.network.l1;
            let wiring = ApiWiring {
                network: Arc::new(beacon::Network {
                    genesis_time: genesis.timestamp,
                    identity: genesis.identity().0,
                    chain_id: genesis.chain_id.into(),
                    version: format!("duskevm/{}", env!("CARGO_PKG_VERSION")),
                }),
                blocks: l1.own.consensus.port(),
                blobs: keeper.port(),
            };
            let limits = ApiLimits { max_blobs: config.blobs.max_response_blobs as usize, ..ApiLimits::default() };
            duskevm_da_store::api_spec(&Ref::declare("blob-api"), blob_socket.clone(), limits, wiring)
                .deadline(base.deadline(LEAST_DEADLINE))
        });
        Ok(Self {
            status,
            rpc: rpc_socket,
            l1_rpc: l1_rpc_socket,
            engine_api: engine_socket,
            rollup_rpc: rollup_rpc_socket,
            admin: admin_socket,
            http: http_socket,
            blobs: blob_socket,
            rpc_server: config.actors.rpc.then_some(rpc_spec),
            l1_rpc_server: l1_rpc_spec,
            engine_server: engine_spec,
            carrier: carrier_spec,
            rollup_rpc_server: config.actors.rollup_rpc.then_some(rollup_rpc_spec),
            admin_server: admin_spec,
            http_server: config.actors.http.then_some(http_spec),
            blob_server: blob_spec,
        })
    }

    pub(super) fn plant(self, tree: Tree) -> Tree {
        let mut tree = tree.actor(self.admin_server);
        if let Some(spec) = self.carrier {
            tree = tree.actor(spec);
        }
        if let Some(spec) = self.rpc_server {
            tree = tree.actor(spec);
        }
        if let Some(spec) = self.l1_rpc_server {
            tree = tree.actor(spec);
        }
        if let Some(spec) = self.engine_server {
            tree = tree.actor(spec);
        }
        if let Some(spec) = self.rollup_rpc_server {
            tree = tree.actor(spec);
        }
        if let Some(spec) = self.http_server {
            tree = tree.actor(spec);
        }
        if let Some(spec) = self.blob_server {
            tree = tree.actor(spec);
        }
        tree
    }
}

/// What a server of L2 works with.
fn reads(base: Base<'_>, l2: &Rollup, status: &SharedStatus, config: RpcConfig, socket: RpcSocket) -> RpcWiring {
    let Base { network, stores, .. } = base;
    let reader = StoreReader::new(l2.heads.clone(), stores.l2.reader());
    RpcWiring {
        config,
        socket,
        spec: (*network.spec).clone(),
        heads: reader.signal(),
        reader: Arc::new(reader),
        pool: PoolPorts::of(&l2.pool, l2.pending.clone()),
        da_orders: l2.da_orders.clone(),
        node: Arc::new(status.clone()),
        rollup: duskevm_rpc::node::Rollup { config: (*network.rollup).clone(), json: network.rollup_json.clone() },
    }
}

fn engine_server(
    base: Base<'_>,
    l2: &Rollup,
    status: &SharedStatus,
    heard: &Heard,
    socket: &RpcSocket,
) -> Result<ChildSpec<EngineServer>, NodeError> {
    let config = engine_config(base.config);
    let wiring = EngineWiring {
        reads: reads(base, l2, status, config.reads(), socket.clone()),
        secret: engine_secret(base.config, base.data)?,
        ports: EnginePorts::of(&l2.driven, &l2.pool),
        time_budget: config.time_budget,
        max_transactions: config.max_transactions,
        heard: heard.clone(),
        turns: Turns::default(),
    };
    let actor: Ref<EngineServer> = Ref::declare("engine-api");
    Ok(duskevm_rpc::engine_spec(&actor, wiring).deadline(base.deadline(LEAST_DEADLINE)))
}

fn engine_config(config: &Config) -> EngineConfig {
    let engine = &config.engine_api;
    let mut made = EngineConfig {
        listen: SocketAddr::new(engine.host, engine.port),
        sequencer: block_maker(config),
        time_budget: Duration::from_millis(engine.time_budget_ms),
        max_transactions: usize::try_from(engine.max_transactions).unwrap_or(usize::MAX),
        ..EngineConfig::default()
    };
    let limits = &mut made.limits;
    limits.max_connections = engine.max_connections;
    limits.max_request_bytes = engine.max_request_bytes;
    limits.max_response_bytes = engine.max_response_bytes;
    // The last quarter is for short answers, and one of the greatest length must be possible.
    limits.max_unsent_bytes = limits.max_unsent_bytes.max((engine.max_response_bytes as usize).saturating_mul(2));
    limits.max_tx_bytes = usize::try_from(config.txpool.max_tx_bytes).unwrap_or(usize::MAX);
    limits.allow_unprotected_txs = config.txpool.allow_unprotected;
    made
}

/// Where submitted transactions go. A consensus client takes those of its blocks from the pool.
fn block_maker(config: &Config) -> BlockMaker {
    match &config.rpc.sequencer {
        Some(url) => BlockMaker::Elsewhere(url.clone()),
        None if config.actors.sequencer || config.actors.engine_api => BlockMaker::Here,
        None => BlockMaker::Unknown,
    }
}

/// What carries transactions of clients to Dusk.
fn carrier_spec(
    base: Base<'_>,
    l1: &DuskL1,
    carrier: &Ref<CarrierActor>,
    carried: watch::Sender<Arc<Carried>>,
) -> Result<ChildSpec<CarrierActor>, NodeError> {
    let Base { config, network, data, .. } = base;
    let rules = envelope_rules(&config.carrier, network);
    let settings = Arc::new(duskevm_carrier::Settings {
        rules: carrier_rules(&config.carrier, rules, l1.network.l1.consensus.gas_per_blob),
        keys: Arc::new(carrier_keys(config, network)?),
        journal: data.join("carrier"),
        workers: duskevm_carrier::Workers::default(),
    });
    let ports = duskevm_carrier::Ports {
        submit: l1.own.consensus.port(),
        snapshot: l1.own.consensus.port(),
        l1_heads: l1.heads.clone(),
        carried: Arc::new(carried),
    };
    Ok(ChildSpec::new(carrier, move |start| CarrierActor::open(settings.clone(), ports.clone(), &start.fence))
        .mailbox(duskevm_carrier::MAILBOX)
        .deadline(base.deadline(duskevm_carrier::DEADLINE)))
}

fn l1_rpc_config(config: &Config) -> L1RpcConfig {
    let rpc = &config.l1_rpc;
    let mut made = L1RpcConfig {
        listen: SocketAddr::new(rpc.host, rpc.port),
        cors: rpc.cors.clone(),
        hosts: rpc.hosts.clone(),
        ..L1RpcConfig::default()
    };
    let limits = &mut made.limits;
    limits.max_connections = rpc.max_connections;
    limits.max_request_bytes = rpc.max_request_bytes;
    limits.max_response_bytes = rpc.max_response_bytes;
    limits.max_unsent_bytes = usize::try_from(rpc.max_unsent_bytes).unwrap_or(usize::MAX);
    limits.max_batch = rpc.max_batch;
    limits.max_subscriptions = rpc.max_subscriptions;
    limits.max_log_blocks = rpc.max_log_blocks;
    limits.max_depth = rpc.max_depth as usize;
    limits.max_log_results = rpc.max_log_results as usize;
    limits.call_timeout_ms = rpc.call_timeout_ms;
    limits.cache_bytes = usize::try_from(rpc.cache_bytes).unwrap_or(usize::MAX);
    made
}

fn rollup_rpc_config(config: &Config) -> RollupRpcConfig {
    let rpc = &config.rollup_rpc;
    let mut made = RollupRpcConfig {
        listen: SocketAddr::new(rpc.host, rpc.port),
        cors: rpc.cors.clone(),
        hosts: rpc.hosts.clone(),
        admin: rpc.admin,
        ..RollupRpcConfig::default()
    };
    let limits = &mut made.limits;
    limits.max_connections = rpc.max_connections;
    limits.max_request_bytes = rpc.max_request_bytes;
    limits.max_response_bytes = rpc.max_response_bytes;
    limits.max_unsent_bytes = (rpc.max_response_bytes as usize).saturating_mul(8);
    limits.max_batch = rpc.max_batch;
    limits.cache_bytes = usize::try_from(rpc.cache_bytes).unwrap_or(usize::MAX);
    made
}

fn rpc_config(config: &Config) -> RpcConfig {
    let rpc = &config.rpc;
    let mut made = RpcConfig {
        listen: SocketAddr::new(rpc.host, rpc.port),
        cors: rpc.cors.clone(),
        hosts: rpc.hosts.clone(),
        namespaces: rpc.namespaces.clone(),
        sequencer: block_maker(config),
        ..RpcConfig::default()
    };
    let limits = &mut made.limits;
    limits.max_connections = rpc.max_connections;
    limits.max_request_bytes = rpc.max_request_bytes;
    limits.max_response_bytes = rpc.max_response_bytes;
    limits.max_unsent_bytes = usize::try_from(rpc.max_unsent_bytes).unwrap_or(usize::MAX);
    limits.max_batch = rpc.max_batch;
    limits.max_subscriptions = rpc.max_subscriptions;
    limits.max_log_blocks = rpc.max_log_blocks;
    limits.max_depth = rpc.max_depth as usize;
    limits.max_filters = rpc.max_filters as usize;
    limits.max_log_results = rpc.max_log_results as usize;
    limits.call_gas_cap = rpc.call_gas_cap;
    limits.call_timeout_ms = rpc.call_timeout_ms;
    limits.trace_timeout_ms = rpc.trace_timeout_ms;
    limits.cache_bytes = rpc.cache_bytes as usize;
    limits.max_tx_bytes = usize::try_from(config.txpool.max_tx_bytes).unwrap_or(usize::MAX);
    limits.allow_unprotected_txs = config.txpool.allow_unprotected;
    made
}
