//! Accepting connections, and the bounds on them. Shared by all servers.

use crate::{
    api::Surface,
    config::Limits,
    connection::Connection,
    metrics,
    middleware::{ObserveLayer, Observer},
    place::{Place, Places},
    request::{Bodies, Exposure, Room, counted, full},
    throttle::Throttled,
    unsent::Unsent,
};
use duskevm_fence::Fence;
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
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
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};
use tower::Service as _;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

/// A client must send its request head within this time; also how long a connection may be idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a client may take nothing of an answer before it is given up.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// How often the accepting task shows that it lives, and looks whether it still may.
const BEAT: Duration = Duration::from_millis(200);
/// Pause after the system refused a connection, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
        surface: Surface,
        unsent: Unsent,
        limits: &Limits,
        exposure: Exposure,
        fence: Fence,
    ) -> Self {
        let (stop, handle) = stop_channel();
        let beats = Arc::new(AtomicU64::new(0));
        let Surface { name, methods, heavy } = surface;
        let room = Room::new(limits);
        let acceptor = Acceptor {
            places: Places::new(limits.max_connections, exposure.secret.is_some().then(|| limits.token())),
            builder: builder(limits, &exposure),
            observer: Observer::new(name, methods.method_names(), heavy, limits, room.clone()),
            door: Arc::new(Door { exposure, bodies: Bodies::new(limits, room) }),
            unsent,
            max_inflight: limits.max_inflight,
            max_owed: limits.max_response_bytes as usize,
            methods,
            stop,
            handle: handle.clone(),
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

type HttpLayers = tower::layer::util::Stack<CorsLayer, tower::layer::util::Identity>;
type RpcLayers = tower::layer::util::Stack<ObserveLayer, tower::layer::util::Identity>;
type Builder = jsonrpsee::server::TowerServiceBuilder<tower::layer::util::Identity, HttpLayers>;
type Service = jsonrpsee::server::TowerService<RpcLayers, HttpLayers>;

fn builder(limits: &Limits, exposure: &Exposure) -> Builder {
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
    ServerBuilder::new()
        .set_config(config.build())
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

/// What every request of every connection passes.
struct Door {
    exposure: Exposure,
    bodies: Bodies,
}

struct Acceptor {
    places: Places,
    builder: Builder,
    observer: Observer,
    door: Arc<Door>,
    unsent: Unsent,
    max_inflight: usize,
    max_owed: usize,
    methods: Methods,
    stop: StopHandle,
    handle: ServerHandle,
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
                    Ok((socket, peer)) => match self.places.take() {
                        Some(place) => self.serve(socket, peer.ip(), place),
                        None => refused.increment(1),
                    },
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }

    fn serve(&self, socket: TcpStream, peer: IpAddr, place: Place) {
        // Without it answers wait for the client's acknowledgement of the ones before; with an error it is only slower.
        let _ = socket.set_nodelay(true);
        let open = Arc::new(place);
        let connection = Connection::new(&self.unsent, self.max_inflight, self.max_owed, Some(peer));
        let service = self
            .builder
            .clone()
            .set_rpc_middleware(RpcServiceBuilder::new().layer(self.observer.layer(connection.clone())))
            .build(self.methods.clone(), self.stop.clone());
        let socket = Throttled::new(socket, connection.clone(), WRITE_PATIENCE);
        let (stop, door) = (self.stop.clone(), self.door.clone());
        tokio::spawn(async move {
            let held = open.clone();
            let service = service_fn(move |request| {
                let (service, open, door, connection) =
                    (service.clone(), open.clone(), door.clone(), connection.clone());
                async move { answer(service, request, open, &door, &connection).await }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(socket), service)
                .with_upgrades();
            let mut connection = std::pin::pin!(connection);
            let outcome = tokio::select! {
                outcome = connection.as_mut() => outcome,
                () = held.given_up() => return,
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

async fn answer(
    mut service: Service,
    request: hyper::Request<Incoming>,
    open: Arc<Place>,
    door: &Door,
    connection: &Connection,
) -> Result<hyper::Response<Body>, Infallible> {
    let upgrade = ws::is_upgrade_request(&request);
    if let Some(refusal) = door.exposure.refuses(request.headers(), upgrade) {
        return Ok(refusal);
    }
    if !open.admit() {
        return Ok(full());
    }
    connection.introduce(request.headers());
    if upgrade {
        connection.upgrade();
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
    let (parts, body) = request.into_parts();
    // The room is held until the call is answered, since there is a copy of the body until then.
    let (body, _room) = if parts.method == hyper::Method::POST {
        match door.bodies.read(&parts.headers, body, &door.exposure).await {
            Ok(read) => read,
            Err(refusal) => return Ok(*refusal),
        }
    } else {
        // Nothing else has a body that anybody reads.
        (Full::new(Bytes::new()), None)
    };
    match service.call(hyper::Request::from_parts(parts, body)).await {
        Ok(response) => Ok(counted(response).await),
        Err(error) => Ok(broken(&error)),
    }
}

/// What comes back where the layers below fail, which none of them does today.
fn broken(error: &BoxError) -> hyper::Response<Body> {
    tracing::error!(%error, "a JSON-RPC request could not be served");
    let mut response = hyper::Response::new(Body::empty());
    *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
    response
}

#[cfg(test)]
mod tests;
