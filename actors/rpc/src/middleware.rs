//! What happens to every call: it is measured, its parameters must not nest too deep, and the calls of a batch run side by side.

use crate::{error::RpcError, metrics, params::depth};
use ::metrics::{Counter, Histogram};
use alloy_primitives::map::HashMap;
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
use tower::Layer;

/// How a request came in; put into its extensions by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Http,
    WebSocket,
}

/// The name under which all unknown methods are counted: clients must not be able to make up metrics.
const UNKNOWN: &str = "unknown";

/// Handles of one method's metrics, looked up once.
struct Meters {
    name: &'static str,
    ok: Counter,
    seconds: Histogram,
    errors: Mutex<HashMap<i32, Counter>>,
}

impl Meters {
    fn new(name: &'static str) -> Self {
        Self { name, ok: metrics::requests(name, 0), seconds: metrics::request_seconds(name), errors: Mutex::default() }
    }

    fn record(&self, started: Instant, code: Option<i32>) {
        self.seconds.record(started.elapsed());
        match code {
            None => self.ok.increment(1),
            Some(code) => {
                self.errors.lock().entry(code).or_insert_with(|| metrics::requests(self.name, code)).increment(1);
            }
        }
    }
}

struct Shared {
    meters: HashMap<&'static str, Meters>,
    unknown: Meters,
    max_depth: usize,
    batch_concurrency: usize,
    max_response: usize,
}

/// Makes [`Observe`]; one for all connections.
#[derive(Clone)]
pub(crate) struct ObserveLayer {
    shared: Arc<Shared>,
}

impl ObserveLayer {
    pub(crate) fn new(methods: impl Iterator<Item = &'static str>, limits: &crate::Limits) -> Self {
        let shared = Shared {
            meters: methods.map(|name| (name, Meters::new(name))).collect(),
            unknown: Meters::new(UNKNOWN),
            max_depth: limits.max_depth,
            batch_concurrency: limits.batch_concurrency.max(1),
            max_response: limits.max_response_bytes as usize,
        };
        Self { shared: Arc::new(shared) }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, service: S) -> Observe<S> {
        Observe { service: Arc::new(service), shared: self.shared.clone() }
    }
}

/// The middleware of one connection.
pub(crate) struct Observe<S> {
    service: Arc<S>,
    shared: Arc<Shared>,
}

impl<S> Clone for Observe<S> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), shared: self.shared.clone() }
    }
}

impl<S> Observe<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Send
        + Sync
        + 'static,
{
    /// The answer to one entry of a batch.
    async fn entry<'a>(self, entry: Result<BatchEntry<'a>, BatchEntryErr<'a>>) -> MethodResponse {
        match entry {
            Ok(BatchEntry::Call(request)) => self.call(request).await,
            Ok(BatchEntry::Notification(notification)) => self.notification(notification).await,
            Err(error) => {
                let (error, id) = error.into_parts();
                MethodResponse::error(id, error)
            }
        }
    }
}

impl Shared {
    /// Refuses what must not reach the method.
    fn check(&self, request: &Request<'_>) -> Result<(), RpcError> {
        if let Some(params) = &request.params
            && depth(params.get()) > self.max_depth
        {
            return Err(RpcError::params(format!("parameters nest deeper than {}", self.max_depth)));
        }
        let subscribes = matches!(request.method.as_ref(), "eth_subscribe" | "eth_unsubscribe");
        if subscribes && request.extensions.get::<Transport>() != Some(&Transport::WebSocket) {
            return Err(RpcError::NoNotifications);
        }
        Ok(())
    }
}

impl<S> RpcServiceT for Observe<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let Self { service, shared } = self.clone();
        async move {
            let started = Instant::now();
            let meters = shared.meters.get(request.method.as_ref()).unwrap_or(&shared.unknown);
            let response = match shared.check(&request) {
                Ok(()) => service.call(request).await,
                Err(error) => MethodResponse::error(request.id, ErrorObjectOwned::from(error)),
            };
            meters.record(started, response.as_error_code());
            response
        }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            let mut response = BatchResponseBuilder::new_with_limit(this.shared.max_response);
            let mut entries: Vec<BoxFuture<'a, MethodResponse>> = Vec::with_capacity(batch.len());
            for entry in batch {
                entries.push(this.clone().entry(entry).boxed());
            }
            let mut answers = std::pin::pin!(stream::iter(entries).buffered(this.shared.batch_concurrency));
            while let Some(answer) = answers.next().await {
                if let Err(too_large) = response.append(answer) {
                    return too_large;
                }
            }
            MethodResponse::from_batch(response.finish())
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
