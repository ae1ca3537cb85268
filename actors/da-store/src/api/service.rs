//! From request to answer: asks the node for what the route names.

use std::fmt;
use std::sync::Arc;

use duskevm_blobs::api::beacon::{self, Block, BlockId, Network};
use duskevm_blobs::api::{Answer, Route, dusk, route};
use duskevm_blobs::{Hash, Sidecar};
use duskevm_messages::da_store::{BlobName, FindBlobBlock, FoundBlob, GetBlob};
use duskevm_supervision::{AskError, Port};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::server::ApiLimits;
use crate::metrics;

/// Whom the API asks.
#[derive(Debug, Clone)]
pub struct ApiWiring {
    /// What there is to know of the network.
    pub network: Arc<Network>,
    /// Who knows the blocks, and which blobs they show.
    pub blocks: Port<FindBlobBlock>,
    /// Who keeps the blobs.
    pub blobs: Port<GetBlob>,
}

/// Answers requests. One for all connections.
pub(crate) struct Service {
    wiring: ApiWiring,
    limits: ApiLimits,
    /// Places for the blobs of answers, one for each.
    places: Arc<Semaphore>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// The Dusk release whose forms the Dusk routes have.
const RUSK_VERSION: &str = "1.7.0";

/// An answer, and the places of its blobs.
type Placed = (Answer, Option<OwnedSemaphorePermit>);

/// The bytes of an answer hold the places of its blobs until the last of them was written to the client.
struct Held {
    body: Vec<u8>,
    _places: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Service {
    pub(crate) fn new(wiring: ApiWiring, limits: ApiLimits) -> Self {
        // An answer that needs more places than there are would never have them.
        let places = limits.max_blobs_at_once.max(limits.max_blobs);
        Self { wiring, limits, places: Arc::new(Semaphore::new(places)) }
    }

    /// The answer to a request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let route = route(head.method.as_str(), head.uri.path(), head.uri.query());
        let label = route.as_ref().map_or("other", Route::label);
        let is_dusk = head.uri.path().starts_with("/on/");
        let (answer, places) = match route {
            Err(refusal) => (refusal, None),
            Ok(route) => match self.skip(body).await {
                Err((status, message)) => (refuse(is_dusk, status, &message), None),
                Ok(()) => self
                    .resolve(route, &head.headers)
                    .await
                    .unwrap_or_else(|(status, message)| (refuse(is_dusk, status, &message), None)),
            },
        };
        metrics::request(label, answer.status);
        let mut response = respond(answer, places);
        if is_dusk {
            let headers = response.headers_mut();
            headers.insert(HeaderName::from_static("rusk-version"), HeaderValue::from_static(RUSK_VERSION));
            // As a Dusk node does, so that a client can tell its answers apart.
            for (name, value) in head.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-")) {
                headers.append(name.clone(), value.clone());
            }
        }
        response
    }

    /// Reads the body away, if it is short.
    async fn skip(&self, body: Incoming) -> Result<(), (u16, String)> {
        let most = self.limits.max_body_bytes;
        match timeout(self.limits.request_timeout, Limited::new(body, most).collect()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err((413, format!("a body of more than {most} bytes; none is needed")))
            }
            Ok(Err(_)) => Err((400, "the body of the request cannot be read".to_owned())),
            Err(_) => Err((408, "the body of the request did not come in time".to_owned())),
        }
    }

    async fn resolve(&self, route: Route, headers: &HeaderMap) -> Result<Placed, (u16, String)> {
        let network = &self.wiring.network;
        let plain = |answer| Ok((answer, None));
        match route {
            Route::Genesis => plain(beacon::genesis(network)),
            Route::Spec => plain(beacon::spec(network)),
            Route::Version => plain(beacon::version(network)),
            Route::Header(id) => {
                plain(self.block(id).await?.map_or_else(beacon::no_block, |block| beacon::header(network, &block)))
            }
            Route::Sidecars(id, indices) => {
                let filter = |block: &Block| indices.as_deref().map(|indices| beacon::with_indices(block, indices));
                let network = network.clone();
                self.of_block(id, filter, move |block, blobs| beacon::sidecars(&network, block, &blobs)).await
            }
            Route::Blobs(id, hashes) => {
                let filter = |block: &Block| hashes.as_deref().map(|hashes| beacon::with_hashes(block, hashes));
                let form = |block: &Block, blobs: Vec<(usize, Sidecar)>| {
                    let blobs: Vec<_> = blobs.into_iter().map(|(_, blob)| blob).collect();
                    beacon::blobs(block, &blobs)
                };
                self.of_block(id, filter, form).await
            }
            Route::Dusk(hash) => {
                let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
                let form = dusk::Form::of(text(CONTENT_TYPE), text(ACCEPT));
                let places = self.places(1).await?;
                let blob = match self.blob(hash).await? {
                    FoundBlob::Here(blob) => blob,
                    FoundBlob::Awaited => return plain(dusk::awaited_blob(&hash)),
                    FoundBlob::Unknown => return plain(dusk::no_blob(&hash)),
                };
                let answer = render(move || dusk::blob(blob.sidecar(), form)).await?;
                Ok((answer, Some(places)))
            }
        }
    }

    /// Blobs of a block: which ones, `None` if the request does not say, and in which form.
    async fn of_block(
        &self,
        id: BlockId,
        filter: impl Fn(&Block) -> Option<Vec<usize>>,
        form: impl FnOnce(&Block, Vec<(usize, Sidecar)>) -> Answer + Send + 'static,
    ) -> Result<Placed, (u16, String)> {
        let Some(block) = self.block(id).await? else { return Ok((beacon::no_block(), None)) };
        let most = self.limits.max_blobs;
        let wanted = filter(&block).unwrap_or_else(|| beacon::without_filter(&block, most));
        if wanted.len() > most {
            let many = wanted.len();
            return Err((400, format!("{many} blobs are more than the {most} of one answer: ask for fewer at a time")));
        }
        let places = self.places(wanted.len()).await?;
        let mut blobs = Vec::new();
        for index in wanted {
            let hash = block.blobs[index];
            match self.blob(hash).await? {
                FoundBlob::Here(blob) => blobs.push((index, blob.sidecar().clone())),
                FoundBlob::Awaited => return Ok((beacon::awaited_blob(&hash), None)),
                FoundBlob::Unknown => return Ok((beacon::no_blob(&hash), None)),
            }
        }
        let answer = render(move || form(&block, blobs)).await?;
        Ok((answer, Some(places)))
    }

    async fn block(&self, id: BlockId) -> Result<Option<Arc<Block>>, (u16, String)> {
        self.wiring.blocks.ask_within(FindBlobBlock { id }, self.limits.request_timeout).await.map_err(unavailable)
    }

    async fn blob(&self, hash: Hash) -> Result<FoundBlob, (u16, String)> {
        let ask = GetBlob { name: BlobName::Hash(hash) };
        self.wiring.blobs.ask_within(ask, self.limits.request_timeout).await.map_err(unavailable)
    }

    /// Places for so many blobs. Who waits longest is served first, however many it needs.
    async fn places(&self, blobs: usize) -> Result<OwnedSemaphorePermit, (u16, String)> {
        let permits = u32::try_from(blobs).unwrap_or(u32::MAX);
        match timeout(self.limits.request_timeout, self.places.clone().acquire_many_owned(permits)).await {
            Ok(Ok(places)) => Ok(places),
            _ => Err((503, "too many blobs are being sent to other clients: ask again in a moment".to_owned())),
        }
    }
}

fn unavailable(error: AskError) -> (u16, String) {
    (503, error.to_string())
}

/// Writing a blob in hexadecimal takes a moment: not on the thread that serves all clients.
async fn render(form: impl FnOnce() -> Answer + Send + 'static) -> Result<Answer, (u16, String)> {
    spawn_blocking(form).await.map_err(|_| (500, "the answer could not be written".to_owned()))
}

fn refuse(is_dusk: bool, status: u16, message: &str) -> Answer {
    if is_dusk { Answer::refuse_dusk(status, message) } else { Answer::refuse(status, message) }
}

fn respond(answer: Answer, places: Option<OwnedSemaphorePermit>) -> Response<Full<Bytes>> {
    let body = match places {
        Some(places) => Bytes::from_owner(Held { body: answer.body, _places: places }),
        None => Bytes::from(answer.body),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    if let Some(allow) = answer.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if answer.status == 503 {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
