//! The drawing of the system: every actor, and who talks to whom.

use super::{NodeError, folder::Stores, status::NodeStatus};
use crate::{cli::Endpoints, config::Config, metrics::Metrics, network::Network};
use duskevm_consensus::Consensus;
use duskevm_executor::Executor;
use duskevm_http::{Http, Limits as HttpLimits, Site, Socket as HttpSocket};
use duskevm_l1::L1;
use duskevm_rpc::{
    AdminConfig, AdminServer, PoolPorts, RpcConfig, RpcServer, Socket as RpcSocket, StoreReader, Wiring as RpcWiring,
};
use duskevm_sequencer::Sequencer;
use duskevm_supervision::{Backoff, ChildSpec, Intensity, Ref, Strategy, Supervisor, Tree};
use duskevm_txpool::TxPool;
use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio::sync::{broadcast, watch};

/// Announced pool transactions that a slow subscriber may leave unread.
const PENDING_BACKLOG: usize = 4096;

/// Deadline of the actors that have no reason for another one.
const LEAST_DEADLINE: Duration = Duration::from_secs(10);

/// A node whose tree runs.
pub(super) struct Running {
    pub(super) supervisor: Supervisor,
    rpc: RpcSocket,
    admin: RpcSocket,
    http: HttpSocket,
    has_rpc: bool,
    has_http: bool,
}

impl Running {
    /// Where it listens, once every actor is up.
    pub(super) fn endpoints(&self) -> Endpoints {
        let unbound = SocketAddr::from(([0, 0, 0, 0], 0));
        Endpoints {
            rpc: self.has_rpc.then(|| self.rpc.local_addr().unwrap_or(unbound)),
            admin: self.admin.local_addr().unwrap_or(unbound),
            http: self.has_http.then(|| self.http.address()),
        }
    }
}

/// Builds every actor and starts the tree.
///
/// Order is dependency: an actor stands below those it needs, so that a restart of the subtree begins with what the others wait for,
/// and shutdown ends with it.
pub(super) fn start(
    config: &Config,
    network: &Arc<Network>,
    data: &Path,
    stores: &Stores,
    metrics: &Metrics,
) -> Result<(Running, Arc<NodeStatus>), NodeError> {
    // Who there is. References exist before their actors, because some talk to each other both ways.
    let consensus: Ref<Consensus> = Ref::declare("consensus");
    let l1: Ref<L1> = Ref::declare("l1");
    let executor: Ref<Executor> = Ref::declare("executor");
    let txpool: Ref<TxPool> = Ref::declare("txpool");
    let sequencer: Ref<Sequencer> = Ref::declare("sequencer");
    let rpc: Ref<RpcServer> = Ref::declare("rpc");
    let admin: Ref<AdminServer> = Ref::declare("admin");
    let http: Ref<Http> = Ref::declare("http");

    // What is published, and outlives every instance.
    let (dusk_tip, dusk_tip_feed) = watch::channel(None);
    let (l1_heads, l1_heads_feed) = watch::channel(None);
    let (l2_heads, l2_heads_feed) = watch::channel(None);
    let (pool_heads, pool_heads_feed) = watch::channel(None);
    let (pending, _) = broadcast::channel(PENDING_BACKLOG);

    let on = &config.actors;
    // Every actor knows how long its work may take; the setting makes a slow machine's operator more patient, never less.
    let deadline = |own: Duration| own.max(Duration::from_millis(config.supervision.deadline_ms));

    let consensus_spec = duskevm_consensus::spec(
        &consensus,
        duskevm_consensus::Settings {
            genesis: network.l1.clone(),
            signer: crate::network::local_producer(),
            limits: duskevm_dusk_l1::mempool::Limits::default(),
            contracts: Arc::new(duskevm_dusk_l1::contracts::NoContracts),
            clock: duskevm_consensus::system_clock(),
            uptime: duskevm_consensus::system_uptime(),
        },
        duskevm_consensus::Wiring { store: stores.l1.clone(), tip: dusk_tip },
    )
    .deadline(deadline(duskevm_consensus::DEADLINE));
    let l1_spec = duskevm_l1::spec(
        &l1,
        network.view.clone(),
        duskevm_l1::Wiring {
            store: stores.l1.clone(),
            backend: Arc::new(duskevm_l1::Embedded::new(consensus.port(), dusk_tip_feed, duskevm_l1::Follow::Tip)),
            heads: l1_heads,
        },
    )
    .deadline(deadline(duskevm_l1::DEADLINE));

    let executor_spec = {
        let settings = duskevm_executor::Settings {
            spec: network.spec.clone(),
            block_time: network.rollup.block_time,
            trie: duskevm_trie::StateLimits::default(),
        };
        let feeds = duskevm_executor::Feeds {
            heads: l2_heads,
            pool: pool_heads,
            head_changed: txpool.port(),
            suspect: duskevm_executor::Suspect::default(),
        };
        let store = stores.l2.clone();
        ChildSpec::new(&executor, move |start| {
            Ok(Executor::open(settings.clone(), store.clone(), feeds.clone(), &start)?)
        })
        .mailbox(duskevm_executor::MAILBOX)
        .deadline(deadline(duskevm_executor::DEADLINE))
    };
    let txpool_spec = {
        let mut settings = duskevm_txpool::Settings::new(network.rollup.l2_chain_id);
        let limits = &config.txpool;
        settings.pool.max_slots = limits.max_slots as usize;
        settings.pool.max_bytes = limits.max_bytes as usize;
        settings.pool.max_tx_bytes = limits.max_tx_bytes as usize;
        settings.pool.account_ready = limits.account_ready as usize;
        settings.pool.account_waiting = limits.account_waiting as usize;
        settings.pool.max_nonce_gap = limits.max_nonce_gap;
        settings.pool.waiting_lifetime = limits.waiting_lifetime_seconds;
        settings.pool.price_bump = limits.price_bump;
        settings.pool.min_tip = limits.min_tip_wei.into();
        settings.pool.allow_unprotected = limits.allow_unprotected;
        let wiring = duskevm_txpool::Wiring { heads: pool_heads_feed, pending: pending.clone() };
        duskevm_txpool::spec(&txpool, settings, wiring, duskevm_txpool::journal_in(data.join("txpool")))
            .deadline(deadline(LEAST_DEADLINE))
    };
    let sequencer_spec = {
        let settings = Arc::new(duskevm_sequencer::Settings {
            rollup: network.rollup.clone(),
            spec: network.spec.clone(),
            journal: data.join("sequencer"),
            time_budget: Duration::from_millis(config.sequencer.time_budget_ms),
            max_transactions: config.sequencer.max_transactions as usize,
            confirmations: config.sequencer.l1_confirmations,
            clock: duskevm_sequencer::Clock::system(),
        });
        let ports = duskevm_sequencer::Ports {
            build: executor.port(),
            insert: executor.port(),
            import: executor.port(),
            rewind: executor.port(),
            best: txpool.port(),
            invalid: txpool.port(),
            l1_by_hash: l1.port(),
            l1_by_number: l1.port(),
            heads: l2_heads_feed.clone(),
            l1_heads: l1_heads_feed.clone(),
        };
        ChildSpec::new(&sequencer, move |start| Sequencer::open(settings.clone(), ports.clone(), &start.fence))
            .mailbox(duskevm_sequencer::MAILBOX)
            .deadline(deadline(duskevm_sequencer::DEADLINE))
    };

    let status = Arc::new(NodeStatus {
        network: network.clone(),
        heads: l2_heads_feed.clone(),
        l1_heads: l1_heads_feed,
        pool: txpool.port(),
        sequencing: on.sequencer,
        started: Instant::now(),
        supervisor: OnceLock::new(),
        endpoints: OnceLock::new(),
    });
    let rpc_socket = RpcSocket::new(SocketAddr::new(config.rpc.host, config.rpc.port));
    let rpc_spec = {
        let reader = StoreReader::new(l2_heads_feed, stores.l2.reader());
        let wiring = RpcWiring {
            config: rpc_config(config),
            socket: rpc_socket.clone(),
            spec: (*network.spec).clone(),
            heads: reader.signal(),
            reader: Arc::new(reader),
            pool: PoolPorts::of(&txpool, pending),
            node: status.clone(),
            rollup: duskevm_rpc::node::Rollup { config: (*network.rollup).clone(), json: network.rollup_json.clone() },
        };
        duskevm_rpc::rpc_spec(&rpc, wiring).deadline(deadline(LEAST_DEADLINE))
    };
    let admin_address = SocketAddr::new(config.admin.host, config.admin.port);
    let admin_socket = RpcSocket::new(admin_address);
    let admin_config = AdminConfig { listen: admin_address };
    let admin_spec = duskevm_rpc::admin_spec(&admin, admin_config, admin_socket.clone(), status.clone())
        .deadline(deadline(LEAST_DEADLINE));
    let http_socket = HttpSocket::new(SocketAddr::new(config.http.host, config.http.port));
    let http_spec = {
        let render = metrics.render();
        let site = Arc::new(Site {
            title: format!("duskevm {}", env!("CARGO_PKG_VERSION")),
            metrics: Box::new(move || render.text()),
            readiness: Box::new(ReadinessOf(status.clone())),
        });
        let limits = HttpLimits {
            max_connections: config.http.max_connections as usize,
            max_header_bytes: config.http.max_header_bytes as usize,
            header_timeout: Duration::from_millis(config.http.header_timeout_ms),
            connection_timeout: Duration::from_millis(config.http.connection_timeout_ms),
        };
        let socket = http_socket.clone();
        ChildSpec::new(&http, move |_| Ok(Http::new(socket.clone(), site.clone(), limits)))
            .deadline(deadline(LEAST_DEADLINE))
    };

    let supervision = &config.supervision;
    let intensity =
        Intensity { max: supervision.max_restarts, within: Duration::from_secs(supervision.within_seconds) };
    let backoff = Backoff {
        base: Duration::from_millis(supervision.backoff_min_ms),
        cap: Duration::from_millis(supervision.backoff_max_ms),
    };
    let tree = Tree::new("root", Strategy::OneForOne)
        .intensity(intensity)
        .backoff(backoff)
        .allow_faults(config.faults.allow)
        .subtree("l1", Strategy::OneForOne, |mut tree| {
            tree = tree.intensity(intensity).backoff(backoff);
            if on.consensus {
                tree = tree.actor(consensus_spec);
            }
            if on.l1 {
                tree = tree.actor(l1_spec);
            }
            tree
        })
        .subtree("l2", Strategy::OneForOne, |mut tree| {
            tree = tree.intensity(intensity).backoff(backoff);
            if on.executor {
                tree = tree.actor(executor_spec);
            }
            if on.txpool {
                tree = tree.actor(txpool_spec);
            }
            if on.sequencer {
                tree = tree.actor(sequencer_spec);
            }
            tree
        })
        .subtree("services", Strategy::OneForOne, |mut tree| {
            tree = tree.intensity(intensity).backoff(backoff).actor(admin_spec);
            if on.rpc {
                tree = tree.actor(rpc_spec);
            }
            if on.http {
                tree = tree.actor(http_spec);
            }
            tree
        });
    let supervisor = tree.start();
    let _ = status.supervisor.set(supervisor.clone());
    let running = Running {
        supervisor,
        rpc: rpc_socket,
        admin: admin_socket,
        http: http_socket,
        has_rpc: on.rpc,
        has_http: on.http,
    };
    Ok((running, status))
}

/// Readiness behind a box, as the HTTP server takes it.
struct ReadinessOf(Arc<NodeStatus>);

impl duskevm_http::Readiness for ReadinessOf {
    fn ready(&self) -> duskevm_http::ReadyReport {
        self.0.ready()
    }
}

fn rpc_config(config: &Config) -> RpcConfig {
    let rpc = &config.rpc;
    let mut made = RpcConfig {
        listen: SocketAddr::new(rpc.host, rpc.port),
        cors: rpc.cors.clone(),
        hosts: rpc.hosts.clone(),
        namespaces: rpc.namespaces.clone(),
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
