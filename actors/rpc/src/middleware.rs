//! What happens to every call: it waits for its turn, is measured, its parameters must not nest too deep, the calls of a batch run
//! side by side, and the answer is counted until it is sent.

use crate::{connection::Connection, error::RpcError, metrics, params::depth, request::Room, unsent::Share};
use ::metrics::{Counter, Histogram};
use alloy_primitives::map::{HashMap, HashSet};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use jsonrpsee::{
    core::{
        middleware::{Batch, BatchEntry, BatchEntryErr, Notification, RpcServiceT},
        server::{BatchResponseBuilder, MethodResponse},
    },
    types::{ErrorCode, ErrorObjectOwned, Id, Request},
};
use parking_lot::Mutex;
use std::{sync::Arc, time::Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Layer;

/// Counts an answer that goes out as an HTTP body; in the extensions of its response.
#[derive(Debug, Clone)]
pub(crate) struct Counted(Arc<Mutex<Option<Share>>>);

impl Counted {
    fn new(share: Share) -> Self {
        Self(Arc::new(Mutex::new(Some(share))))
    }

    /// The count, for the one who comes first.
    pub(crate) fn take(&self) -> Option<Share> {
        self.0.lock().take()
    }
}

/// The name under which all unknown methods are counted: clients must not be able to make up metrics.
const UNKNOWN: &str = "unknown";

/// Handles of one method's metrics, looked up once.
struct Meters {
    server: &'static str,
    name: &'static str,
    ok: Counter,
    seconds: Histogram,
    errors: Mutex<HashMap<i32, Counter>>,
}

impl Meters {
    fn new(server: &'static str, name: &'static str) -> Self {
        let (ok, seconds) = (metrics::requests(server, name, 0), metrics::request_seconds(server, name));
        Self { server, name, ok, seconds, errors: Mutex::default() }
    }

    fn record(&self, started: Instant, code: Option<i32>) {
        self.seconds.record(started.elapsed());
        match code {
            None => self.ok.increment(1),
            Some(code) => {
                let counter = || metrics::requests(self.server, self.name, code);
                self.errors.lock().entry(code).or_insert_with(counter).increment(1);
            }
        }
    }
}

struct Shared {
    meters: HashMap<&'static str, Meters>,
    unknown: Meters,
    heavy: HashSet<&'static str>,
    max_depth: usize,
    batch_concurrency: usize,
    batch_heavy: usize,
    max_response: usize,
    /// For long messages of WebSockets; HTTP bodies have theirs while they are read.
    room: Room,
}

/// What all connections of a server have in common; makes an [`ObserveLayer`] for each.
#[derive(Clone)]
pub(crate) struct Observer {
    shared: Arc<Shared>,
}

impl Observer {
    /// `server` is counted under this name; `heavy` are the methods of which a batch runs only a few at the same time.
    pub(crate) fn new(
        server: &'static str,
        methods: impl Iterator<Item = &'static str>,
        heavy: HashSet<&'static str>,
        limits: &crate::Limits,
        room: Room,
    ) -> Self {
        let shared = Shared {
            meters: methods.map(|name| (name, Meters::new(server, name))).collect(),
            unknown: Meters::new(server, UNKNOWN),
            heavy,
            max_depth: limits.max_depth,
            batch_concurrency: limits.batch_concurrency.max(1),
            batch_heavy: limits.batch_heavy.max(1),
            max_response: limits.max_response_bytes as usize,
            room,
        };
        Self { shared: Arc::new(shared) }
    }

    pub(crate) fn layer(&self, connection: Arc<Connection>) -> ObserveLayer {
        ObserveLayer { shared: self.shared.clone(), connection }
    }
}

/// Makes [`Observe`] for one connection.
#[derive(Clone)]
pub(crate) struct ObserveLayer {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, service: S) -> Observe<S> {
        Observe { service: Arc::new(service), shared: self.shared.clone(), connection: self.connection.clone() }
    }
}

/// The middleware of one connection.
pub(crate) struct Observe<S> {
    service: Arc<S>,
    shared: Arc<Shared>,
    connection: Arc<Connection>,
}

impl<S> Clone for Observe<S> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), shared: self.shared.clone(), connection: self.connection.clone() }
    }
}

/// What the bounds below ask of the service.
pub(crate) trait Answers:
    RpcServiceT<MethodResponse = MethodResponse, BatchResponse = MethodResponse, NotificationResponse = MethodResponse>
    + Send
    + Sync
    + 'static
{
}

impl<S> Answers for S where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Send
        + Sync
        + 'static
{
}

impl<S: Answers> Observe<S> {
    /// The answer to one call, counted.
    async fn run(&self, mut request: Request<'_>) -> (MethodResponse, Share) {
        let started = Instant::now();
        let meters = self.shared.meters.get(request.method.as_ref()).unwrap_or(&self.shared.unknown);
        let response = match self.check(&request) {
            Ok(()) => {
                request.extensions.insert(self.connection.clone());
                if request.method == "eth_unsubscribe" {
                    drop(self.connection.subscribing.lock().await);
                }
                let unsent = self.connection.unsent();
                unsent.answering(async { self.service.call(request).await }).await
            }
            Err(error) => MethodResponse::error(request.id, ErrorObjectOwned::from(error)),
        };
        let (response, share) = self.count(response);
        meters.record(started, response.as_error_code());
        (response, share)
    }

    /// Counts an answer. The JSON that it was made of has just been given back, so long ones are rarely refused here.
    fn count(&self, response: MethodResponse) -> (MethodResponse, Share) {
        let mut share = self.connection.unsent().share();
        match share.grow(response.as_json().get().len()) {
            Ok(()) => (response, share),
            Err(error) => {
                let refusal = MethodResponse::error(id_of(&response), ErrorObjectOwned::from(error));
                share.set(refusal.as_json().get().len());
                (refusal, share)
            }
        }
    }

    /// Room for the message of these calls, if it needs any: it is in memory until they are answered.
    fn hold<'a>(&self, calls: impl Iterator<Item = &'a Request<'a>>) -> Result<Option<OwnedSemaphorePermit>, RpcError> {
        if !self.connection.is_websocket() {
            return Ok(None);
        }
        self.shared.room.hold(calls.filter_map(|call| call.params.as_ref()).map(|params| params.get().len()).sum())
    }

    /// The answer to one entry of a batch.
    async fn entry<'a>(
        self,
        entry: Result<BatchEntry<'a>, BatchEntryErr<'a>>,
        heavy: Arc<Semaphore>,
    ) -> (MethodResponse, Share) {
        match entry {
            Ok(BatchEntry::Call(request)) => {
                let _turn = if self.shared.heavy.contains(request.method.as_ref()) {
                    // Fails only if it is closed, which nobody does.
                    heavy.acquire().await.ok()
                } else {
                    None
                };
                self.run(request).await
            }
            Ok(BatchEntry::Notification(notification)) => self.count(self.notification(notification).await),
            Err(error) => {
                let (error, id) = error.into_parts();
                self.count(MethodResponse::error(id, error))
            }
        }
    }

    /// Hands over an answer with its count: to the connection if it is a WebSocket, else to the one who makes the body.
    fn send(&self, mut response: MethodResponse, mut share: Share) -> MethodResponse {
        if response.is_subscription() {
            // The subscription has sent it already.
            return response;
        }
        let length = response.as_json().get().len();
        if self.connection.is_websocket() {
            self.connection.owe(length, share);
        } else {
            share.set(length);
            response.extensions_mut().insert(Counted::new(share));
        }
        response
    }

    /// Refuses what must not reach the method.
    fn check(&self, request: &Request<'_>) -> Result<(), RpcError> {
        if let Some(params) = &request.params
            && depth(params.get()) > self.shared.max_depth
        {
            return Err(RpcError::params(format!("parameters nest deeper than {}", self.shared.max_depth)));
        }
        let subscribes = matches!(request.method.as_ref(), "eth_subscribe" | "eth_unsubscribe");
        if subscribes && !self.connection.is_websocket() {
            return Err(RpcError::NoNotifications);
        }
        Ok(())
    }
}

/// The id of an answer, which stands in its text; null for a batch.
fn id_of(response: &MethodResponse) -> Id<'static> {
    #[derive(serde::Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        id: Id<'a>,
    }
    serde_json::from_str::<Head<'_>>(response.as_json().get()).map_or(Id::Null, |head| head.id.into_owned())
}

impl<S: Answers> RpcServiceT for Observe<S> {
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            let _turn = this.connection.enter().await;
            let _room = match this.hold(std::iter::once(&request)) {
                Ok(room) => room,
                Err(error) => {
                    let (refusal, share) = this.count(MethodResponse::error(request.id, ErrorObjectOwned::from(error)));
                    return this.send(refusal, share);
                }
            };
            let (response, share) = this.run(request).await;
            this.send(response, share)
        }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            let _turn = this.connection.enter().await;
            let calls = batch.iter().filter_map(|entry| match entry {
                Ok(BatchEntry::Call(call)) => Some(call),
                Ok(BatchEntry::Notification(_)) | Err(_) => None,
            });
            let _room = match this.hold(calls) {
                Ok(room) => room,
                Err(error) => {
                    let (refusal, share) = this.count(MethodResponse::error(Id::Null, ErrorObjectOwned::from(error)));
                    return this.send(refusal, share);
                }
            };
            let mut response = BatchResponseBuilder::new_with_limit(this.shared.max_response);
            let mut whole = this.connection.unsent().share();
            let heavy = Arc::new(Semaphore::new(this.shared.batch_heavy));
            let mut entries: Vec<BoxFuture<'a, (MethodResponse, Share)>> = Vec::with_capacity(batch.len());
            for entry in batch {
                entries.push(this.clone().entry(entry, heavy.clone()).boxed());
            }
            let mut answers = std::pin::pin!(stream::iter(entries).buffered(this.shared.batch_concurrency));
            while let Some((answer, share)) = answers.next().await {
                whole.absorb(share);
                if let Err(too_large) = response.append(answer) {
                    return this.send(too_large, whole);
                }
            }
            this.send(MethodResponse::from_batch(response.finish()), whole)
        }
    }

    /// A request whose id is missing, or is none (an object, say): both come here. No method of this server is for notifications, so
    /// the sender is told instead of being left with nothing.
    fn notification<'a>(&self, _: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let refusal = ErrorObjectOwned::owned(
            ErrorCode::InvalidRequest.code(),
            "invalid request: the id must be a string or a number",
            None::<()>,
        );
        std::future::ready(MethodResponse::error(Id::Null, refusal))
    }
}
