//! The actors. Each instance has its own runtime for sockets, so that neither a busy mailbox nor a hang of the actor's own thread
//! keeps clients waiting; the actor starts it, watches it, and stops it.

use crate::{
    api::{
        Api, Desk, Surface,
        admin::{AdminBackend, admin_methods},
        methods,
    },
    chain::{Chain, ChainReader},
    config::{AdminConfig, BlockMaker, Limits, NAMESPACES, RpcConfig},
    engine::{
        EngineWiring,
        api::{EngineApi, methods as engine_methods},
        driver::Driver,
    },
    feed::{Feed, HeadSignal},
    fees::FeeOracle,
    filters::Filters,
    forward::Forwarder,
    l1::{
        L1Wiring,
        api::{L1Api, NAMESPACES as L1_NAMESPACES, methods as l1_methods},
        view::View,
    },
    listener::Listening,
    metrics,
    node::{NodeView, Rollup},
    pool::PoolPorts,
    request::Exposure,
    rollup::{
        RollupWiring,
        api::{ADMIN_NAMESPACE, NAMESPACES as ROLLUP_NAMESPACES, RollupApi, methods as rollup_methods},
    },
    simulate::CodeCache,
    socket::Socket,
    submit::{Ingress, Route},
    unsent::Unsent,
    workers::Workers,
};
use duskevm_evm::ChainSpec;
use duskevm_messages::executor::DaOrders;
use duskevm_supervision::{Actor, ActorError, ChildSpec, Context, Fence, Reaction, Ref, StartContext};
use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::runtime::Runtime;

/// How often the actor looks whether its server lives.
const WATCH: Duration = Duration::from_secs(1);
/// Looks without a sign of life after which the server counts as dead.
const PATIENCE: u32 = 5;
/// Bytes of analysed code to keep.
const CODE_CACHE: usize = 32 * 1024 * 1024;

/// What can go wrong with a server. A request that fails is none of it.
#[derive(Debug, thiserror::Error)]
pub enum RpcServerError {
    /// The port is taken, or the address is not one of this machine.
    #[error("cannot listen on {address}: {source}; free the port or set another one")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No threads.
    #[error("cannot start the threads of the server: {0}")]
    Threads(#[source] io::Error),
    /// Two methods have one name.
    #[error("cannot register the methods: {0}")]
    Methods(#[from] jsonrpsee::core::RegisterMethodError),
    /// A namespace in the settings does not exist.
    #[error("`rpc.namespaces` names {name:?}; there are {known}", known = NAMESPACES.join(", "))]
    Namespace {
        /// The name in the settings.
        name: String,
    },
    /// Transactions cannot be forwarded.
    #[error("`rpc.sequencer`: {0}")]
    Sequencer(String),
    /// The threads that serve sockets do nothing any more.
    #[error("the threads that serve sockets have done nothing for {0:?}")]
    Stuck(Duration),
}

impl ActorError for RpcServerError {
    fn reaction(&self) -> Reaction {
        match self {
            Self::Listen { .. } | Self::Threads(_) | Self::Stuck(_) => Reaction::RestartSelf,
            // The next start would do the same again.
            Self::Methods(_) | Self::Namespace { .. } | Self::Sequencer(_) => Reaction::Abort,
        }
    }
}

/// What the public server works with.
#[derive(Clone)]
pub struct Wiring {
    /// Its settings.
    pub config: RpcConfig,
    /// Its socket, on [`RpcConfig::listen`].
    pub socket: Socket,
    /// Reads blocks and states.
    pub reader: Arc<dyn ChainReader>,
    /// Which rules hold when.
    pub spec: ChainSpec,
    /// Says when the heads may have moved.
    pub heads: HeadSignal,
    /// The transaction pool.
    pub pool: PoolPorts,
    /// The rest of the node.
    pub node: Arc<dyn NodeView>,
    /// The rollup that the chain is.
    pub rollup: Rollup,
    /// What a batcher outside of this node asks of whoever builds blocks.
    pub da_orders: DaOrders,
}

impl fmt::Debug for Wiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wiring").field("config", &self.config).field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// The public JSON-RPC server.
#[derive(Debug)]
pub struct RpcServer {
    server: Server,
}

/// The server of the Engine API.
#[derive(Debug)]
pub struct EngineServer {
    server: Server,
}

/// The server of the L1 view.
#[derive(Debug)]
pub struct L1RpcServer {
    server: Server,
}

/// The server of a rollup node.
#[derive(Debug)]
pub struct RollupRpcServer {
    server: Server,
}

/// The admin server.
#[derive(Debug)]
pub struct AdminServer {
    server: Server,
}

/// How the public server is supervised. It keeps nothing: a new instance listens on the same socket, and clients subscribe again.
pub fn rpc_spec(actor: &Ref<RpcServer>, wiring: Wiring) -> ChildSpec<RpcServer> {
    metrics::describe();
    ChildSpec::new(actor, move |start: StartContext| Ok(RpcServer::start(&wiring, start.fence)?))
        .drain(Duration::from_secs(3))
}

/// How the server of the L1 view is supervised: as [`rpc_spec`].
pub fn l1_rpc_spec(actor: &Ref<L1RpcServer>, wiring: L1Wiring) -> ChildSpec<L1RpcServer> {
    metrics::describe();
    ChildSpec::new(actor, move |start: StartContext| Ok(L1RpcServer::start(&wiring, start.fence)?))
        .drain(Duration::from_secs(3))
}

/// How the server of the Engine API is supervised: as [`rpc_spec`]. The payloads that are being built are lost with an instance.
pub fn engine_spec(actor: &Ref<EngineServer>, wiring: EngineWiring) -> ChildSpec<EngineServer> {
    metrics::describe();
    metrics::describe_engine();
    ChildSpec::new(actor, move |start: StartContext| Ok(EngineServer::start(&wiring, start.fence)?))
        .drain(Duration::from_secs(3))
}

/// How the server of a rollup node is supervised: as [`rpc_spec`].
pub fn rollup_rpc_spec(actor: &Ref<RollupRpcServer>, wiring: RollupWiring) -> ChildSpec<RollupRpcServer> {
    metrics::describe();
    ChildSpec::new(actor, move |start: StartContext| Ok(RollupRpcServer::start(&wiring, start.fence)?))
        .drain(Duration::from_secs(3))
}

/// How the admin server is supervised.
pub fn admin_spec(
    actor: &Ref<AdminServer>,
    config: AdminConfig,
    socket: Socket,
    backend: Arc<dyn AdminBackend>,
) -> ChildSpec<AdminServer> {
    ChildSpec::new(actor, move |start: StartContext| {
        Ok(AdminServer::start(&config, &socket, backend.clone(), start.fence)?)
    })
    .drain(Duration::from_secs(3))
}

impl RpcServer {
    /// # Errors
    /// See [`RpcServerError`].
    fn start(wiring: &Wiring, fence: Fence) -> Result<Self, RpcServerError> {
        let limits = &wiring.config.limits;
        let runtime = runtime("rpc-io", limits.io_threads)?;
        let entered = runtime.enter();
        let names = ThreadNames { read: "read", heavy: "heavy", trace: "trace", feed: "feed", ingress: "ingress" };
        let api = l2_api(wiring, names)?;
        let unsent = api.unsent.clone();
        let config = &wiring.config;
        check_namespaces(&config.namespaces)?;
        let surface = methods(api)?;
        drop(entered);
        let exposure = public(config.listen, &config.cors, &config.hosts);
        Ok(Self { server: Server::start(runtime, &wiring.socket, surface, unsent, limits, exposure, fence)? })
    }
}

/// Names of a server's threads and of their queues in the metrics.
struct ThreadNames {
    read: &'static str,
    heavy: &'static str,
    trace: &'static str,
    feed: &'static str,
    ingress: &'static str,
}

/// What the methods of L2 work with. To be called on the runtime of the server.
fn l2_api(wiring: &Wiring, names: ThreadNames) -> Result<Arc<Api>, RpcServerError> {
    let limits = &wiring.config.limits;
    let chain = Chain::new(wiring.reader.clone(), wiring.spec.clone(), limits.cache_bytes);
    let desk = Desk::start([names.read, names.heavy], limits, wiring.config.namespaces.clone())
        .map_err(RpcServerError::Threads)?;
    let traces =
        Workers::start(names.trace, limits.trace_workers, limits.trace_queue).map_err(RpcServerError::Threads)?;
    let (feed, filters) = (Feed::new(), Filters::new(limits));
    // A thread of its own: news must not wait behind the reads of clients.
    let news = Workers::start(names.feed, 1, 1).map_err(RpcServerError::Threads)?;
    tokio::spawn(feed.clone().follow(chain.clone(), news, wiring.heads.clone()));
    tokio::spawn(filters.clone().remember(wiring.pool.subscribe()));
    let route = match &wiring.config.sequencer {
        BlockMaker::Here => Route::Pool,
        BlockMaker::Elsewhere(url) => {
            // Without its own genesis it has no chain to be compared either.
            let genesis = chain.canonical_hash(0).ok().flatten();
            Route::Sequencer(Forwarder::new(url, limits, genesis).map_err(RpcServerError::Sequencer)?)
        }
        BlockMaker::Unknown => Route::Nowhere,
    };
    let ingress = Ingress::start(names.ingress, wiring.pool.clone(), route, limits).map_err(RpcServerError::Threads)?;
    Ok(Arc::new(Api {
        ingress,
        pool: wiring.pool.clone(),
        node: wiring.node.clone(),
        rollup: wiring.rollup.clone(),
        da_orders: wiring.da_orders.clone(),
        fees: FeeOracle::new(limits),
        codes: Arc::new(CodeCache::new(CODE_CACHE)),
        desk,
        chain,
        feed,
        filters,
        traces,
    }))
}

impl EngineServer {
    fn start(wiring: &EngineWiring, fence: Fence) -> Result<Self, RpcServerError> {
        let reads = &wiring.reads;
        let config = &reads.config;
        let limits = &config.limits;
        let runtime = runtime("engine-io", limits.io_threads)?;
        let entered = runtime.enter();
        let names = ThreadNames {
            read: "engine-read",
            heavy: "engine-heavy",
            trace: "engine-trace",
            feed: "engine-feed",
            ingress: "engine-ingress",
        };
        let api = l2_api(reads, names)?;
        let unsent = api.unsent.clone();
        // One call at a time changes something, so that it needs one thread; reads are not in its way.
        let payloads = Workers::start("engine-payload", 1, 64).map_err(RpcServerError::Threads)?;
        let driver = Driver::new(wiring, payloads, fence.clone());
        let surface = engine_methods(Arc::new(EngineApi { reads: api, driver, heard: wiring.heard.clone() }))?;
        drop(entered);
        let exposure = Exposure { websocket: true, secret: Some(wiring.secret.clone()), ..Exposure::default() };
        Ok(Self { server: Server::start(runtime, &reads.socket, surface, unsent, limits, exposure, fence)? })
    }
}

impl L1RpcServer {
    fn start(wiring: &L1Wiring, fence: Fence) -> Result<Self, RpcServerError> {
        let config = &wiring.config;
        let limits = &config.limits;
        let runtime = runtime("l1-rpc-io", limits.io_threads)?;
        let entered = runtime.enter();
        let view = View::new(wiring.store.clone(), wiring.heads.clone(), limits.cache_bytes);
        let desk = Desk::start(["l1-read", "l1-heavy"], limits, L1_NAMESPACES.map(str::to_owned).to_vec())
            .map_err(RpcServerError::Threads)?;
        let unsent = desk.unsent.clone();
        let feed = Feed::new();
        let news = Workers::start("l1-feed", 1, 1).map_err(RpcServerError::Threads)?;
        tokio::spawn(feed.clone().follow(view.clone(), news, view.signal()));
        let (settlement, carrier) = (wiring.settlement.clone(), wiring.carrier.clone());
        let api = L1Api { view, chain_id: wiring.chain_id, settlement, carrier, feed, desk };
        let surface = l1_methods(Arc::new(api))?;
        drop(entered);
        let exposure = public(config.listen, &config.cors, &config.hosts);
        Ok(Self { server: Server::start(runtime, &wiring.socket, surface, unsent, limits, exposure, fence)? })
    }
}

impl RollupRpcServer {
    fn start(wiring: &RollupWiring, fence: Fence) -> Result<Self, RpcServerError> {
        let config = &wiring.config;
        let limits = &config.limits;
        let runtime = runtime("rollup-rpc-io", limits.io_threads)?;
        let entered = runtime.enter();
        if config.admin && !config.listen.ip().is_loopback() {
            tracing::warn!(listen = %config.listen, "whoever reaches the RPC of the rollup node can stop the sequencer");
        }
        let admin = config.admin.then_some(ADMIN_NAMESPACE);
        let namespaces = ROLLUP_NAMESPACES.into_iter().chain(admin).map(str::to_owned).collect();
        let desk = Desk::start(["rollup-read", "rollup-heavy"], limits, namespaces).map_err(RpcServerError::Threads)?;
        let unsent = desk.unsent.clone();
        let api = RollupApi {
            chain: Chain::new(wiring.reader.clone(), wiring.spec.clone(), limits.cache_bytes),
            node: wiring.node.clone(),
            rollup: wiring.rollup.clone(),
            controls: wiring.controls.clone(),
            desk,
        };
        let surface = rollup_methods(Arc::new(api))?;
        drop(entered);
        let exposure = public(config.listen, &config.cors, &config.hosts);
        Ok(Self { server: Server::start(runtime, &wiring.socket, surface, unsent, limits, exposure, fence)? })
    }
}

/// Who may call a public server.
fn public(listen: SocketAddr, cors: &[String], hosts: &[String]) -> Exposure {
    // Whoever listens beyond this machine may have any name, unless the names are set.
    let hosts = (listen.ip().is_loopback() || !hosts.is_empty()).then(|| hosts.to_vec());
    Exposure { cors: cors.to_vec(), websocket: true, hosts, secret: None }
}

impl AdminServer {
    fn start(
        config: &AdminConfig,
        socket: &Socket,
        backend: Arc<dyn AdminBackend>,
        fence: Fence,
    ) -> Result<Self, RpcServerError> {
        if !config.listen.ip().is_loopback() {
            tracing::warn!(listen = %config.listen, "the admin server has no authentication and listens beyond this machine");
        }
        let limits = Limits { max_connections: 64, max_batch: 32, ..Limits::default() };
        let hosts = config.listen.ip().is_loopback().then(Vec::new);
        let exposure = Exposure { hosts, ..Exposure::default() };
        let surface = Surface { name: "admin", methods: admin_methods(backend)?.into(), ..Surface::default() };
        let runtime = runtime("rpc-admin", 1)?;
        let unsent = Unsent::new(limits.max_unsent_bytes);
        Ok(Self { server: Server::start(runtime, socket, surface, unsent, &limits, exposure, fence)? })
    }
}

/// A name that does not exist would be found missing only by the clients.
fn check_namespaces(namespaces: &[String]) -> Result<(), RpcServerError> {
    match namespaces.iter().find(|name| !NAMESPACES.contains(&name.as_str())) {
        Some(unknown) => Err(RpcServerError::Namespace { name: unknown.clone() }),
        None => Ok(()),
    }
}

fn runtime(name: &'static str, threads: usize) -> Result<Runtime, RpcServerError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.max(1))
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(RpcServerError::Threads)
}

/// A running server with its runtime.
struct Server {
    listening: Listening,
    address: SocketAddr,
    /// `None` once it is being dropped.
    runtime: Option<Runtime>,
    beats: u64,
    silent: u32,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listening.stop();
        // Dropping a runtime would wait for its threads, which is not allowed on an actor's thread.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Server {
    fn start(
        runtime: Runtime,
        socket: &Socket,
        surface: Surface,
        unsent: Unsent,
        limits: &Limits,
        exposure: Exposure,
        fence: Fence,
    ) -> Result<Self, RpcServerError> {
        let entered = runtime.enter();
        let failed = |source| RpcServerError::Listen { address: socket.wanted(), source };
        let started = socket.listener().and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = match started {
            Ok(started) => started,
            Err(error) => {
                drop(entered);
                runtime.shutdown_background();
                return Err(failed(error));
            }
        };
        let listening = Listening::start(listener, surface, unsent, limits, exposure, fence);
        drop(entered);
        tracing::info!(%address, "JSON-RPC is served");
        Ok(Self { listening, address, runtime: Some(runtime), beats: 0, silent: 0 })
    }

    /// Looks for a sign of life.
    fn watch(&mut self) -> Result<(), RpcServerError> {
        let beats = self.listening.beats();
        self.silent = if beats == self.beats { self.silent + 1 } else { 0 };
        self.beats = beats;
        if self.silent >= PATIENCE {
            return Err(RpcServerError::Stuck(WATCH * PATIENCE));
        }
        Ok(())
    }
}

/// All of them do the same.
macro_rules! serve {
    ($actor:ty) => {
        impl Actor for $actor {
            type Error = RpcServerError;

            fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), RpcServerError> {
                ctx.progress(format!("serving {}", self.server.address));
                ctx.waiting("requests");
                ctx.every(WATCH, |actor, ctx| {
                    actor.server.watch()?;
                    ctx.progress(format!("serving {}", actor.server.address));
                    ctx.waiting("requests");
                    Ok(())
                });
                Ok(())
            }

            fn stopping(&mut self, ctx: &mut Context<Self>) {
                // Running requests are answered; the drain bound of the actor ends what takes longer.
                self.server.listening.stop();
                ctx.pipe(self.server.listening.stopped(), |_, (), _| Ok(()));
            }
        }
    };
}

serve!(RpcServer);
serve!(EngineServer);
serve!(L1RpcServer);
serve!(RollupRpcServer);
serve!(AdminServer);
