//! Accepts connections, within limits that no client can stretch.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::patience::Patient;
use super::service::Service;
use super::socket::Socket;
use crate::error::ApiError;
use crate::metrics;

/// What clients may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiLimits {
    /// Connections at one time; further ones wait in the system's queue.
    pub max_connections: usize,
    /// Bytes of the head of one request.
    pub max_header_bytes: usize,
    /// Bytes of the body of one request. None of them is needed.
    pub max_body_bytes: usize,
    /// For the head of a request, and again for its body; also the longest idle time.
    pub request_timeout: Duration,
    /// How long a client may take nothing of an answer before its connection ends.
    pub patience: Duration,
    /// From the first to the last byte of a connection.
    pub connection_timeout: Duration,
    /// Blobs of all answers in memory at one time, each of some 400 kB while its answer is made and 260 kB until it is sent; `max_blobs`
    /// if that is more. Further answers wait for `request_timeout`, then are refused.
    pub max_blobs_at_once: usize,
    /// Blobs in one answer. A request that names more is refused; one that names none is given no more.
    pub max_blobs: usize,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            max_connections: 64,
            max_header_bytes: 16 * 1024,
            max_body_bytes: 1024,
            request_timeout: Duration::from_secs(5),
            // No longer than others wait for the memory that such a client holds.
            patience: Duration::from_secs(5),
            connection_timeout: Duration::from_secs(60),
            max_blobs_at_once: 128,
            max_blobs: 64,
        }
    }
}

/// The least buffer that hyper works with.
const MIN_BUFFER: usize = 8 * 1024;
/// Header lines of one request.
const MAX_HEADERS: usize = 64;
/// Pause after a failed accept, which usually says that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Failed accepts in a row after which the socket itself is taken to be broken.
const ACCEPT_ATTEMPTS: u32 = 50;
/// For the answer under way when a connection's time is up.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// Serves until `over` says that another instance has taken its place.
///
/// # Errors
/// When nothing can be accepted any more, or an answer panicked.
pub(crate) async fn serve(
    listener: TcpListener,
    socket: Socket,
    over: impl Fn() -> bool,
    service: Arc<Service>,
    limits: ApiLimits,
) -> Result<(), ApiError> {
    // Dropping it ends all connections.
    let mut connections = JoinSet::new();
    let mut failures = 0;
    loop {
        metrics::connections(connections.len());
        let room = connections.len() < limits.max_connections;
        let accepted = tokio::select! {
            Some(ended) = connections.join_next() => {
                ended.map_err(|died| ApiError::Panicked(died.to_string()))?;
                continue;
            }
            accepted = accept(&listener, &over), if room => accepted,
        };
        match accepted {
            None => return Ok(()),
            Some(Ok((stream, peer))) => {
                failures = 0;
                debug!(%peer, "blob API connection");
                match socket.hold(&stream) {
                    Ok(held) => {
                        let served = connection(stream, service.clone(), limits);
                        connections.spawn(async move {
                            served.await;
                            drop(held);
                        });
                    }
                    Err(error) => warn!(%error, "a connection to the blob API was closed"),
                }
            }
            // The client was gone before it was accepted.
            Some(Err(error))
                if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {}
            Some(Err(source)) => {
                failures += 1;
                if failures == ACCEPT_ATTEMPTS {
                    return Err(ApiError::Accept { attempts: failures, source });
                }
                warn!(%source, failures, "cannot accept a connection to the blob API; trying again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The next client; `None` for an instance that was replaced. It asks before it looks at the socket, so that a zombie that
/// wakes up in here takes no client from its successor.
async fn accept(listener: &TcpListener, over: &impl Fn() -> bool) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    poll_fn(|cx| if over() { Poll::Ready(None) } else { listener.poll_accept(cx).map(Some) }).await
}

/// One connection. Whatever the client does wrong ends only this.
async fn connection(stream: TcpStream, service: Arc<Service>, limits: ApiLimits) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.answer(request).await) }
    });
    let stream = Patient::new(stream, limits.patience);
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.request_timeout)
            .max_headers(MAX_HEADERS)
            .max_header_size(limits.max_header_bytes)
            .max_buf_size(limits.max_header_bytes.max(MIN_BUFFER))
            .serve_connection(TokioIo::new(stream), answer)
    );
    let result = match timeout(limits.connection_timeout, connection.as_mut()).await {
        Ok(result) => result,
        Err(_) => {
            // An idle connection ends here at once; one with an answer under way gets a moment for it.
            connection.as_mut().graceful_shutdown();
            match timeout(LAST_ANSWER, connection).await {
                Ok(result) => result,
                Err(_) => return debug!("a client of the blob API was too slow"),
            }
        }
    };
    if let Err(error) = result {
        debug!(%error, "a connection to the blob API ended early");
    }
}
