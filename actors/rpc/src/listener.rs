//! Accepting connections, and the bounds on them. Shared by both servers.

use crate::{
    config::Limits,
    metrics,
    middleware::{ObserveLayer, Transport},
    throttle::Throttled,
};
use duskevm_fence::Fence;
use http_body_util::Full;
use hyper::{
    body::{Body as _, Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use jsonrpsee::{
    Methods,
    core::{BoxError, http_helpers::Body, middleware::RpcServiceBuilder, traits::IdProvider},
    server::{BatchRequestConfig, PingConfig, ServerBuilder, ServerConfig, ServerHandle, StopHandle, stop_channel, ws},
    types::SubscriptionId,
};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tower::Service as _;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

/// A client must send its request head within this time; also how long a connection may be idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a client may take nothing of an answer before it is given up.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// A body that may be longer than this waits for its turn, so that many long ones at once do not fill the memory.
const LARGE_BODY: u64 = 256 * 1024;
/// Large bodies that are read and answered at the same time.
const LARGE_BODIES: usize = 32;
/// How often the accepting task shows that it lives, and looks whether it still may.
const BEAT: Duration = Duration::from_millis(200);
/// Pause after the system refused a connection, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who may use a server, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exposure {
    /// Origins that browsers may call from.
    pub(crate) cors: Vec<String>,
    /// WebSocket as well. Browsers let any page open one.
    pub(crate) websocket: bool,
    /// Only requests that name this machine by a number or as `localhost`: a page whose name was made to point here cannot use it.
    pub(crate) local_names_only: bool,
}

/// A server that accepts connections on the runtime it was started on.
#[derive(Debug)]
pub(crate) struct Listening {
    handle: ServerHandle,
    beats: Arc<AtomicU64>,
}

impl Listening {
    /// Starts to accept on the runtime of the caller. It ends when it is stopped or when `fence` says that another instance took over.
    pub(crate) fn start(
        listener: TcpListener,
        methods: Methods,
        limits: &Limits,
        exposure: &Exposure,
        fence: Fence,
    ) -> Self {
        let (stop, handle) = stop_channel();
        let beats = Arc::new(AtomicU64::new(0));
        let acceptor = Acceptor {
            slots: Arc::new(Semaphore::new(limits.max_connections as usize)),
            large: Arc::new(Semaphore::new(LARGE_BODIES)),
            builder: Arc::new(builder(&methods, limits, exposure)),
            methods,
            stop,
            handle: handle.clone(),
            local_names_only: exposure.local_names_only,
        };
        tokio::spawn(acceptor.run(listener, fence, beats.clone()));
        Self { handle, beats }
    }

    /// Rises as long as the accepting task lives.
    pub(crate) fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// Resolves when all connections have ended after a stop.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + use<> {
        self.handle.clone().stopped()
    }

    /// Accepts no more and lets running requests finish.
    pub(crate) fn stop(&self) {
        // Fails only if it has stopped already.
        let _ = self.handle.stop();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop();
    }
}

type Builder = jsonrpsee::server::TowerServiceBuilder<
    tower::layer::util::Stack<ObserveLayer, tower::layer::util::Identity>,
    tower::layer::util::Stack<CorsLayer, tower::layer::util::Identity>,
>;

fn builder(methods: &Methods, limits: &Limits, exposure: &Exposure) -> Builder {
    let mut config = ServerConfig::builder()
        .max_request_body_size(limits.max_request_bytes)
        .max_response_body_size(limits.max_response_bytes)
        // Connections are counted where they are accepted; this one counts HTTP requests.
        .max_connections(limits.max_connections.saturating_mul(2))
        .max_subscriptions_per_connection(limits.max_subscriptions)
        .set_batch_request_config(BatchRequestConfig::Limit(limits.max_batch))
        .set_message_buffer_capacity(limits.message_buffer.max(1))
        .enable_ws_ping(
            PingConfig::new().ping_interval(Duration::from_secs(30)).inactive_limit(Duration::from_secs(90)),
        )
        .set_id_provider(HexIds);
    if !exposure.websocket {
        config = config.http_only();
    }
    let observe = ObserveLayer::new(methods.method_names(), limits);
    ServerBuilder::new()
        .set_config(config.build())
        .set_rpc_middleware(RpcServiceBuilder::new().layer(observe))
        .set_http_middleware(tower::ServiceBuilder::new().layer(cors_layer(&exposure.cors)))
        .to_service_builder()
}

fn cors_layer(origins: &[String]) -> CorsLayer {
    let layer = CorsLayer::new().allow_methods([hyper::Method::POST, hyper::Method::GET]).allow_headers(Any);
    if origins.iter().any(|origin| origin == "*") {
        return layer.allow_origin(Any);
    }
    layer.allow_origin(AllowOrigin::list(origins.iter().filter_map(|origin| match origin.parse() {
        Ok(origin) => Some(origin),
        Err(_) => {
            tracing::warn!(origin, "ignored an origin in `rpc.cors` that is not one");
            None
        }
    })))
}

/// Subscription ids as geth's: long, random, in hex.
#[derive(Debug)]
struct HexIds;

impl IdProvider for HexIds {
    fn next_id(&self) -> SubscriptionId<'static> {
        SubscriptionId::Str(crate::filters::random_id().into())
    }
}

struct Acceptor {
    slots: Arc<Semaphore>,
    large: Arc<Semaphore>,
    builder: Arc<Builder>,
    methods: Methods,
    stop: StopHandle,
    handle: ServerHandle,
    local_names_only: bool,
}

impl Acceptor {
    async fn run(self, listener: TcpListener, fence: Fence, beats: Arc<AtomicU64>) {
        let mut stopped = std::pin::pin!(self.stop.clone().shutdown());
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let refused = metrics::connections_refused();
        loop {
            tokio::select! {
                () = &mut stopped => return,
                _ = beat.tick() => {
                    beats.fetch_add(1, Ordering::Relaxed);
                    // An instance that was given up must not take connections from the one that replaces it.
                    if fence.check().is_err() {
                        // Its connections end as well: clients come back to the new instance.
                        let _ = self.handle.stop();
                        return;
                    }
                }
                accepted = listener.accept() => match accepted {
                    Ok((socket, _)) => match self.slots.clone().try_acquire_owned() {
                        Ok(slot) => self.serve(socket, slot),
                        Err(_) => refused.increment(1),
                    },
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }

    fn serve(&self, socket: TcpStream, slot: OwnedSemaphorePermit) {
        // Without it answers wait for the client's acknowledgement of the ones before; with an error it is only slower.
        let _ = socket.set_nodelay(true);
        let open = Arc::new(Open::new(slot));
        let service = (*self.builder).clone().build(self.methods.clone(), self.stop.clone());
        let stop = self.stop.clone();
        let (local_names_only, large) = (self.local_names_only, self.large.clone());
        tokio::spawn(async move {
            let held = open.clone();
            let service = service_fn(move |request| {
                let (service, open, large) = (service.clone(), open.clone(), large.clone());
                async move {
                    if local_names_only && !names_this_machine(&request) {
                        return Ok(forbidden());
                    }
                    answer(service, request, open, large).await
                }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(Throttled::new(socket, WRITE_PATIENCE)), service)
                .with_upgrades();
            let mut connection = std::pin::pin!(connection);
            let outcome = tokio::select! {
                outcome = connection.as_mut() => outcome,
                () = stop.shutdown() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = outcome {
                tracing::trace!(%error, "a connection ended with an error");
            }
            drop(held);
        });
    }
}

/// One open connection: its slot, and its part of the gauge.
struct Open {
    gauge: ::metrics::Gauge,
    _slot: OwnedSemaphorePermit,
}

impl Open {
    fn new(slot: OwnedSemaphorePermit) -> Self {
        let gauge = metrics::connections();
        gauge.increment(1.0);
        Self { gauge, _slot: slot }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
    }
}

type Service = jsonrpsee::server::TowerService<
    tower::layer::util::Stack<ObserveLayer, tower::layer::util::Identity>,
    tower::layer::util::Stack<CorsLayer, tower::layer::util::Identity>,
>;

async fn answer(
    mut service: Service,
    mut request: hyper::Request<Incoming>,
    open: Arc<Open>,
    large: Arc<Semaphore>,
) -> Result<hyper::Response<Body>, Infallible> {
    if ws::is_upgrade_request(&request) {
        request.extensions_mut().insert(Transport::WebSocket);
        // The HTTP connection ends with the upgrade, the slot is taken until the WebSocket closes.
        let closed = service.on_session_closed();
        tokio::spawn(async move {
            closed.await;
            drop(open);
        });
        return Ok(service.call(request).await.unwrap_or_else(|error| broken(&error)));
    }
    if request.method() == hyper::Method::GET {
        // Load balancers ask like this whether anybody is there.
        return Ok(hyper::Response::new(Body::new(Full::new(Bytes::new()))));
    }
    request.extensions_mut().insert(Transport::Http);
    // A body of unknown length counts as large.
    let _turn = match request.body().size_hint().upper() {
        Some(length) if length <= LARGE_BODY => None,
        _ => large.acquire().await.ok(),
    };
    Ok(service.call(request).await.unwrap_or_else(|error| broken(&error)))
}

/// What comes back where the layers below fail, which none of them does today.
fn broken(error: &BoxError) -> hyper::Response<Body> {
    tracing::error!(%error, "a JSON-RPC request could not be served");
    let mut response = hyper::Response::new(Body::empty());
    *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
    response
}

/// Is the `Host` a number or `localhost`?
fn names_this_machine<B>(request: &hyper::Request<B>) -> bool {
    let Some(host) = request.headers().get(hyper::header::HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next(),
        None => host.split(':').next(),
    };
    name.is_some_and(|name| name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok())
}

fn forbidden() -> hyper::Response<Body> {
    let mut response = hyper::Response::new(Body::from("name this machine by its address or as localhost\n"));
    *response.status_mut() = hyper::StatusCode::FORBIDDEN;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_pass() {
        let request = |host: &str| hyper::Request::builder().header("host", host).body(()).unwrap();
        for good in ["localhost", "LOCALHOST:9546", "127.0.0.1:9546", "[::1]:9546", "10.0.0.1"] {
            assert!(names_this_machine(&request(good)), "{good}");
        }
        for bad in ["evil.example", "localhost.evil.example:9546", "", "127.0.0.1.evil.example"] {
            assert!(!names_this_machine(&request(bad)), "{bad}");
        }
        assert!(!names_this_machine(&hyper::Request::new(())));
    }
}
