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
    simulate::CodeCache,
    socket::Socket,
    submit::{Ingress, Route},
    unsent::Unsent,
    workers::Workers,
};
use duskevm_evm::ChainSpec;
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

/// The server of the L1 view.
#[derive(Debug)]
pub struct L1RpcServer {
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
        let _entered = runtime.enter();
        let chain = Chain::new(wiring.reader.clone(), wiring.spec.clone(), limits.cache_bytes);
        let desk = Desk::start(["read", "heavy"], limits, wiring.config.namespaces.clone())
            .map_err(RpcServerError::Threads)?;
        let traces =
            Workers::start("trace", limits.trace_workers, limits.trace_queue).map_err(RpcServerError::Threads)?;
        let unsent = desk.unsent.clone();
        let (feed, filters) = (Feed::new(), Filters::new(limits));
        // A thread of its own: news must not wait behind the reads of clients.
        let news = Workers::start("feed", 1, 1).map_err(RpcServerError::Threads)?;
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
        let api = Arc::new(Api {
            ingress: Ingress::start(wiring.pool.clone(), route, limits).map_err(RpcServerError::Threads)?,
            pool: wiring.pool.clone(),
            node: wiring.node.clone(),
            rollup: wiring.rollup.clone(),
            fees: FeeOracle::new(limits),
            codes: Arc::new(CodeCache::new(CODE_CACHE)),
            desk,
            chain,
            feed,
            filters,
            traces,
        });
        let config = &wiring.config;
        check_namespaces(&config.namespaces)?;
        let surface = methods(api)?;
        drop(_entered);
        let exposure = public(config.listen, &config.cors, &config.hosts);
        Ok(Self { server: Server::start(runtime, &wiring.socket, surface, unsent, limits, exposure, fence)? })
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
        let api = L1Api { view, chain_id: wiring.chain_id, settlement: wiring.settlement.clone(), feed, desk };
        let surface = l1_methods(Arc::new(api))?;
        drop(entered);
        let exposure = public(config.listen, &config.cors, &config.hosts);
        Ok(Self { server: Server::start(runtime, &wiring.socket, surface, unsent, limits, exposure, fence)? })
    }
}

/// Who may call a public server.
fn public(listen: SocketAddr, cors: &[String], hosts: &[String]) -> Exposure {
    // Whoever listens beyond this machine may have any name, unless the names are set.
    let hosts = (listen.ip().is_loopback() || !hosts.is_empty()).then(|| hosts.to_vec());
    Exposure { cors: cors.to_vec(), websocket: true, hosts }
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
        let exposure = Exposure { cors: Vec::new(), websocket: false, hosts };
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
serve!(L1RpcServer);
serve!(AdminServer);
