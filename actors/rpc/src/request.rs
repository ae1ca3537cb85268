//! What is asked of an HTTP request before JSON-RPC sees it, and how its answer leaves.

use crate::{config::Limits, error::RpcError, metrics, middleware::Counted, unsent::Share};
use duskevm_engine_api::{JwtSecret, jwt::JwtError};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Response, StatusCode,
    body::{Body as _, Bytes, Incoming},
    header::{
        ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN,
        WWW_AUTHENTICATE,
    },
};
use jsonrpsee::core::http_helpers::Body;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// A body of which more than this has arrived needs room, so that many long ones at once do not fill the memory.
const LARGE_BODY: usize = 256 * 1024;
/// Room is given out in pieces of this many bytes, as they arrive: who announces much and sends little takes it from nobody.
const PIECE: usize = 64 * 1024;

/// JSON-RPC's code for what is no request that this server takes.
const INVALID_REQUEST: i32 = -32600;

/// Who may use a server, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exposure {
    /// Origins that browsers may call from.
    pub(crate) cors: Vec<String>,
    /// WebSocket as well.
    pub(crate) websocket: bool,
    /// Names under which it may be called besides addresses and `localhost`; `None` is any. Without it a page whose name was made
    /// to point here could use a server on loopback.
    pub(crate) hosts: Option<Vec<String>>,
    /// The secret of those who may call at all; `None` where anybody may.
    pub(crate) secret: Option<JwtSecret>,
}

impl Exposure {
    /// May a page of this origin use the server?
    fn allows(&self, origin: &HeaderValue) -> bool {
        self.cors.iter().any(|allowed| allowed == "*" || allowed.as_bytes() == origin.as_bytes())
    }

    /// Why a request is refused whatever it asks.
    pub(crate) fn refuses(&self, headers: &HeaderMap, upgrade: bool) -> Option<Response<Body>> {
        if let Some(secret) = &self.secret
            && let Err(why) = check_token(secret, headers)
        {
            return Some(unauthorized(&why));
        }
        if let Some(hosts) = &self.hosts
            && !names_this_machine(headers, hosts)
        {
            return Some(forbidden(
                "name this machine by its address or as localhost, or allow the name in `rpc.hosts`\n",
            ));
        }
        // Browsers let any page open a WebSocket to anywhere and leave it to the server to look at the origin.
        if upgrade && headers.get(ORIGIN).is_some_and(|origin| !self.allows(origin)) {
            return Some(forbidden("this origin is not allowed: add it to `rpc.cors`\n"));
        }
        None
    }
}

/// Is there a token of this secret, issued about now?
fn check_token(secret: &JwtSecret, headers: &HeaderMap) -> Result<(), JwtError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // What is no text is no token either.
    let header = headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    secret.check_header(header, now)
}

/// The specification wants 401, and clients show the reason to their operator.
fn unauthorized(why: &JwtError) -> Response<Body> {
    metrics::engine_unauthorized();
    tracing::debug!(%why, "a call of the Engine API is not authorized");
    let mut response = Response::new(Body::from(format!("{why}\n")));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    // Strangers keep no connection.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Too many clients are connected.
pub(crate) fn full() -> Response<Body> {
    metrics::connections_refused().increment(1);
    let mut response = Response::new(Body::from("too many connections: close some, or try again later\n"));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn forbidden(why: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(why));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response
}

/// Is the `Host` a number, `localhost` or one of these names?
fn names_this_machine(headers: &HeaderMap, names: &[String]) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next(),
        None => host.split(':').next(),
    };
    name.is_some_and(|name| {
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<std::net::IpAddr>().is_ok()
            || names.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(name))
    })
}

/// What is left for the large bodies and messages of a server, in pieces. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Room(Arc<Semaphore>);

impl Room {
    pub(crate) fn new(limits: &Limits) -> Self {
        let most = limits.max_request_bytes as usize;
        Self(Arc::new(Semaphore::new(limits.large_bodies.max(1) * most.div_ceil(PIECE))))
    }

    /// Room for a message that has arrived; none is needed for a short one.
    ///
    /// # Errors
    /// [`RpcError::Busy`] if there is not that much.
    pub(crate) fn hold(&self, length: usize) -> Result<Option<OwnedSemaphorePermit>, RpcError> {
        if length <= LARGE_BODY {
            return Ok(None);
        }
        let pieces = u32::try_from(length.div_ceil(PIECE)).ok();
        let held = pieces.and_then(|pieces| self.0.clone().try_acquire_many_owned(pieces).ok());
        held.map(Some).ok_or(RpcError::Busy(LARGE))
    }
}

/// What there is no room for.
const LARGE: &str = "large requests";

/// Reads the bodies of all connections of a server.
#[derive(Debug)]
pub(crate) struct Bodies {
    room: Room,
    most: usize,
    max_batch: usize,
    idle: Duration,
    total: Duration,
}

/// A body that is read, with its room if it is a large one.
pub(crate) type Read = (Full<Bytes>, Option<OwnedSemaphorePermit>);

/// Why a body is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("request too large: more than {0} bytes")]
    TooLarge(usize),
    #[error("batch too large: more than {0} calls")]
    BatchTooLarge(usize),
    #[error("the request came too slowly")]
    Slow,
    #[error("{}", RpcError::Busy(LARGE))]
    Busy,
    #[error("the request broke off")]
    Broken,
}

impl Refusal {
    const fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BatchTooLarge(_) => StatusCode::OK,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }

    fn response(&self, headers: &HeaderMap, exposure: &Exposure) -> Response<Body> {
        let code = match self {
            Self::Busy => RpcError::Busy("").code(),
            _ => INVALID_REQUEST,
        };
        let error = serde_json::json!({ "code": code, "message": self.to_string() });
        let body = serde_json::json!({ "jsonrpc": "2.0", "id": null, "error": error });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status();
        let answer: &mut HeaderMap = response.headers_mut();
        let mut set = |name: HeaderName, value: HeaderValue| drop(answer.insert(name, value));
        set(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        if !matches!(self, Self::BatchTooLarge(_)) {
            // What is left of the body is not read.
            set(CONNECTION, HeaderValue::from_static("close"));
        }
        // The layer that says this elsewhere is not reached.
        if let Some(origin) = headers.get(ORIGIN).filter(|origin| exposure.allows(origin)) {
            set(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        response
    }
}

impl Bodies {
    pub(crate) fn new(limits: &Limits, room: Room) -> Self {
        Self {
            room,
            most: limits.max_request_bytes as usize,
            max_batch: limits.max_batch as usize,
            idle: Duration::from_millis(limits.body_idle_ms),
            total: Duration::from_millis(limits.body_total_ms),
        }
    }

    /// The body of a request.
    ///
    /// # Errors
    /// The answer, if it is too long, too slow, or large while there is no room for it.
    pub(crate) async fn read(
        &self,
        headers: &HeaderMap,
        body: Incoming,
        exposure: &Exposure,
    ) -> Result<Read, Box<Response<Body>>> {
        self.try_read(body).await.map_err(|refusal| Box::new(refusal.response(headers, exposure)))
    }

    async fn try_read(&self, body: Incoming) -> Result<Read, Refusal> {
        if body.size_hint().lower() > self.most as u64 {
            return Err(Refusal::TooLarge(self.most));
        }
        let (bytes, room) = timeout(self.total, self.collect(body)).await.map_err(|_| Refusal::Slow)??;
        if is_longer_than(&bytes, self.max_batch) {
            return Err(Refusal::BatchTooLarge(self.max_batch));
        }
        Ok((Full::new(bytes), room))
    }

    async fn collect(&self, mut body: Incoming) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Refusal> {
        let mut whole = Vec::new();
        let mut room = None;
        while let Some(frame) = timeout(self.idle, body.frame()).await.map_err(|_| Refusal::Slow)? {
            let Ok(data) = frame.map_err(|_| Refusal::Broken)?.into_data() else { continue };
            let length = whole.len() + data.len();
            if length > self.most {
                return Err(Refusal::TooLarge(self.most));
            }
            if length > LARGE_BODY {
                self.make_room(&mut room, length)?;
            }
            whole.extend_from_slice(&data);
        }
        Ok((whole.into(), room))
    }

    /// Takes the room that a body of this length needs. It does not wait for it: if bodies that are half read waited for each other,
    /// none would end.
    fn make_room(&self, room: &mut Option<OwnedSemaphorePermit>, length: usize) -> Result<(), Refusal> {
        let has = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = length.div_ceil(PIECE).saturating_sub(has);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_| Refusal::Busy)?;
        let more = self.room.0.clone().try_acquire_many_owned(more).map_err(|_| Refusal::Busy)?;
        match room {
            Some(room) => room.merge(more),
            None => *room = Some(more),
        }
        Ok(())
    }
}

/// Is this a batch of more calls than that? What is no JSON is left to those who read it.
fn is_longer_than(body: &[u8], most: usize) -> bool {
    struct Count(usize);
    impl<'de> Visitor<'de> for Count {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a batch")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut calls: A) -> Result<bool, A::Error> {
            for _ in 0..=self.0 {
                if calls.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(false);
                }
            }
            // The rest is not looked at, which the parser would take for an error.
            while calls.next_element::<IgnoredAny>()?.is_some() {}
            Ok(true)
        }
    }
    body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[')
        && serde_json::Deserializer::from_slice(body).deserialize_seq(Count(most)).unwrap_or(false)
}

/// The answer with a body that is counted until the system has taken it, or the connection is gone.
pub(crate) async fn counted(mut response: Response<Body>) -> Response<Body> {
    struct Held {
        bytes: Bytes,
        _share: Share,
    }
    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    let Some(share) = response.extensions_mut().remove::<Counted>().and_then(|counted| counted.take()) else {
        return response;
    };
    let (parts, body) = response.into_parts();
    match body.collect().await {
        Ok(body) => {
            let held = Held { bytes: body.to_bytes(), _share: share };
            Response::from_parts(parts, Body::new(Full::new(Bytes::from_owner(held))))
        }
        // A body that is in memory cannot break off.
        Err(error) => {
            tracing::error!(%error, "an answer could not be read");
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_names_of_this_machine_pass() {
        let named = |host: &str| names_this_machine(&headers(&[(HOST, host)]), &["node.example".to_owned()]);
        for good in ["localhost", "LOCALHOST:9546", "127.0.0.1:9546", "[::1]:9546", "10.0.0.1", "Node.example:1"] {
            assert!(named(good), "{good}");
        }
        for bad in ["evil.example", "localhost.evil.example:9546", "", "127.0.0.1.evil.example"] {
            assert!(!named(bad), "{bad}");
        }
        assert!(!names_this_machine(&HeaderMap::new(), &[]));
        assert!(names_this_machine(&headers(&[(HOST, "any.example")]), &["*".to_owned()]));
    }

    #[test]
    fn a_websocket_is_for_allowed_origins_and_for_those_without() {
        let exposure = Exposure { cors: vec!["https://a.example".to_owned()], websocket: true, ..Exposure::default() };
        let from = |origin| headers(&[(ORIGIN, origin)]);
        assert!(exposure.refuses(&from("https://a.example"), true).is_none());
        assert!(exposure.refuses(&HeaderMap::new(), true).is_none());
        assert_eq!(exposure.refuses(&from("https://b.example"), true).unwrap().status(), 403);
        // Over HTTP the browser itself keeps the page from the answer.
        assert!(exposure.refuses(&from("https://b.example"), false).is_none());
        let all = Exposure { cors: vec!["*".to_owned()], ..Exposure::default() };
        assert!(all.refuses(&from("https://b.example"), true).is_none());
    }

    #[test]
    fn counts_the_calls_of_a_batch() {
        for (body, most, longer) in [
            ("[1, [2, 3, 4], {\"a\": [5]}]", 3, false),
            (" \n[1, [2, 3, 4], {\"a\": [5]}]", 2, true),
            ("[]", 0, false),
            ("[1", 0, false),
            ("{\"a\": [1, 2]}", 0, false),
            ("", 0, false),
        ] {
            assert_eq!(is_longer_than(body.as_bytes(), most), longer, "{body}");
        }
    }
}
