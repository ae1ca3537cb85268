//! What faces operators and clients: RPC, admin, metrics and health, blobs.

use super::{Base, LEAST_DEADLINE, l1::DuskL1, l2::Rollup};
use crate::{
    config::Config,
    metrics::Metrics,
    node::status::{NodeStatus, SharedStatus},
};
use duskevm_blobs::api::beacon;
use duskevm_da_store::{ApiLimits, ApiWiring, BlobApi, Socket as BlobSocket};
use duskevm_http::{Http, Limits as HttpLimits, Site, Socket as HttpSocket};
use duskevm_rpc::{
    AdminConfig, AdminServer, BlockMaker, DuskPorts, L1RpcConfig, L1RpcServer, L1Wiring, PoolPorts, RpcConfig,
    RpcServer, Socket as RpcSocket, StoreReader, Wiring as RpcWiring,
};
use duskevm_supervision::{ChildSpec, Ref, Tree};
use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

/// The servers, with their sockets, which outlive them.
pub(super) struct Services {
    pub(super) status: SharedStatus,
    pub(super) rpc: RpcSocket,
    pub(super) l1_rpc: RpcSocket,
    pub(super) admin: RpcSocket,
    pub(super) http: HttpSocket,
    pub(super) blobs: BlobSocket,
    rpc_server: Option<ChildSpec<RpcServer>>,
    l1_rpc_server: Option<ChildSpec<L1RpcServer>>,
    admin_server: ChildSpec<AdminServer>,
    http_server: Option<ChildSpec<Http>>,
    blob_server: Option<ChildSpec<BlobApi>>,
}

impl Services {
    pub(super) fn new(base: Base<'_>, l1: &DuskL1, l2: &Rollup, metrics: &Metrics) -> Self {
        let Base { config, network, stores, .. } = base;
        let rpc: Ref<RpcServer> = Ref::declare("rpc");
        let l1_rpc: Ref<L1RpcServer> = Ref::declare("l1-rpc");
        let admin: Ref<AdminServer> = Ref::declare("admin");
        let http: Ref<Http> = Ref::declare("http");

        let status = SharedStatus(Arc::new(NodeStatus {
            network: network.clone(),
            heads: l2.heads.clone(),
            l1_heads: l1.heads.clone(),
            current_l1: l2.current_l1.clone(),
            pool: l2.pool.port(),
            provisioners: l1.provisioners(base),
            dusk: config.actors.consensus.then(|| DuskPorts::of(&l1.own.consensus, &l1.port)),
            sequencing: config.actors.sequencer,
            started: Instant::now(),
            supervisor: OnceLock::new(),
            endpoints: OnceLock::new(),
        }));
        let rpc_socket = RpcSocket::new(SocketAddr::new(config.rpc.host, config.rpc.port));
        let rpc_spec = {
            let reader = StoreReader::new(l2.heads.clone(), stores.l2.reader());
            let wiring = RpcWiring {
                config: rpc_config(config),
                socket: rpc_socket.clone(),
                spec: (*network.spec).clone(),
                heads: reader.signal(),
                reader: Arc::new(reader),
                pool: PoolPorts::of(&l2.pool, l2.pending.clone()),
                node: Arc::new(status.clone()),
                rollup: duskevm_rpc::node::Rollup {
                    config: (*network.rollup).clone(),
                    json: network.rollup_json.clone(),
                },
            };
            duskevm_rpc::rpc_spec(&rpc, wiring).deadline(base.deadline(LEAST_DEADLINE))
        };
        let l1_rpc_socket = RpcSocket::new(SocketAddr::new(config.l1_rpc.host, config.l1_rpc.port));
        let l1_rpc_spec = {
            let wiring = L1Wiring {
                config: l1_rpc_config(config),
                socket: l1_rpc_socket.clone(),
                store: stores.l1.chain.clone(),
                heads: l1.heads.clone(),
                chain_id: network.view.chain_id,
                settlement: network.settlement.clone().map(Arc::new),
            };
            duskevm_rpc::l1_rpc_spec(&l1_rpc, wiring).deadline(base.deadline(LEAST_DEADLINE))
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
        let blob_spec = l1.own.da_store.as_ref().filter(|_| config.actors.blob_api).map(|keeper| {
            let wiring = ApiWiring {
                network: Arc::new(beacon::Network {
                    genesis_time: network.l1.timestamp,
                    identity: network.l1.identity().0,
                    chain_id: network.l1.chain_id.into(),
                    version: format!("duskevm/{}", env!("CARGO_PKG_VERSION")),
                }),
                blocks: l1.own.consensus.port(),
                blobs: keeper.port(),
            };
            let limits = ApiLimits { max_blobs: config.blobs.max_response_blobs as usize, ..ApiLimits::default() };
            duskevm_da_store::api_spec(&Ref::declare("blob-api"), blob_socket.clone(), limits, wiring)
                .deadline(base.deadline(LEAST_DEADLINE))
        });
        Self {
            status,
            rpc: rpc_socket,
            l1_rpc: l1_rpc_socket,
            admin: admin_socket,
            http: http_socket,
            blobs: blob_socket,
            rpc_server: config.actors.rpc.then_some(rpc_spec),
            l1_rpc_server: config.actors.l1_rpc.then_some(l1_rpc_spec),
            admin_server: admin_spec,
            http_server: config.actors.http.then_some(http_spec),
            blob_server: blob_spec,
        }
    }

    pub(super) fn plant(self, tree: Tree) -> Tree {
        let mut tree = tree.actor(self.admin_server);
        if let Some(spec) = self.rpc_server {
            tree = tree.actor(spec);
        }
        if let Some(spec) = self.l1_rpc_server {
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

fn rpc_config(config: &Config) -> RpcConfig {
    let rpc = &config.rpc;
    let mut made = RpcConfig {
        listen: SocketAddr::new(rpc.host, rpc.port),
        cors: rpc.cors.clone(),
        hosts: rpc.hosts.clone(),
        namespaces: rpc.namespaces.clone(),
        sequencer: match &rpc.sequencer {
            Some(url) => BlockMaker::Elsewhere(url.clone()),
            None if config.actors.sequencer => BlockMaker::Here,
            None => BlockMaker::Unknown,
        },
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
