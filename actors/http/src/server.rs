//! Accepts connections and answers them, within limits that no client can stretch.

use std::convert::Infallible;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::error::HttpError;
use crate::metrics;
use crate::site::Site;
use crate::socket::TakenOver;

/// What a client may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at one time; further ones wait in the system's queue.
    pub max_connections: usize,
    /// Bytes of the head of one request.
    pub max_header_bytes: usize,
    /// For the head of a request, counted from the connection or the request before; also the longest idle time.
    pub header_timeout: Duration,
    /// From the first to the last byte of a connection.
    pub connection_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 64,
            max_header_bytes: 8 * 1024,
            header_timeout: Duration::from_secs(5),
            connection_timeout: Duration::from_secs(60),
        }
    }
}

/// The least buffer that hyper works with.
const MIN_BUFFER: usize = 8 * 1024;
/// Header lines of one request; ordinary clients send about ten.
const MAX_HEADERS: usize = 64;
/// Pause after a failed accept, which usually says that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Failed accepts in a row after which the socket itself is taken to be broken.
const ACCEPT_ATTEMPTS: u32 = 50;
/// For the answer under way when a connection's time is up or the server stops.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// Serves until the socket passes to somebody else.
///
/// # Errors
/// When nothing can be accepted any more, or an answer panicked.
pub(crate) async fn serve(
    listener: TcpListener,
    site: Arc<Site>,
    limits: Limits,
    mut taken_over: TakenOver,
) -> Result<(), HttpError> {
    let mut connections = FuturesUnordered::new();
    // Dropped to tell the connections that the server stops.
    let (serving, stopped) = watch::channel(());
    let mut failures = 0;
    let mut pause = None;
    loop {
        metrics::connections(connections.len());
        let room = connections.len() < limits.max_connections;
        let accept = async {
            if let Some(pause) = pause {
                sleep(pause).await;
            }
            if room { listener.accept().await } else { std::future::pending().await }
        };
        tokio::select! {
            // A zombie that wakes up must learn first that it is one: its successor's clients are not its own.
            biased;
            () = taken_over.wait() => break,
            accepted = accept => match accepted {
                Ok((stream, peer)) => {
                    (failures, pause) = (0, None);
                    debug!(%peer, "HTTP connection");
                    let connection = connection(stream, site.clone(), limits, stopped.clone());
                    connections.push(AssertUnwindSafe(connection).catch_unwind());
                }
                // The client was gone before it was accepted.
                Err(error) if is_of_the_client(&error) => {}
                Err(source) => {
                    failures += 1;
                    if failures == ACCEPT_ATTEMPTS {
                        return Err(HttpError::Accept { attempts: failures, source });
                    }
                    warn!(%source, failures, "cannot accept an HTTP connection; trying again");
                    pause = Some(ACCEPT_PAUSE);
                }
            },
            Some(ended) = connections.next() => settle(ended)?,
        }
    }
    drop(listener);
    drop(serving);
    let finish = async {
        while let Some(ended) = connections.next().await {
            settle(ended)?;
        }
        Ok(())
    };
    timeout(LAST_ANSWER, finish).await.unwrap_or(Ok(()))
}

fn settle(ended: std::thread::Result<()>) -> Result<(), HttpError> {
    ended.map_err(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        HttpError::Panicked(message)
    })
}

fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// One connection. Whatever the client does wrong ends only this.
async fn connection(stream: TcpStream, site: Arc<Site>, limits: Limits, mut stopped: watch::Receiver<()>) {
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let site = site.clone();
        async move { Ok::<_, Infallible>(site.answer(request.method(), request.uri().path(), request.headers()).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_headers(MAX_HEADERS)
            .max_header_size(limits.max_header_bytes)
            .max_buf_size(limits.max_header_bytes.max(MIN_BUFFER))
            .serve_connection(TokioIo::new(stream), service)
    );
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = time_is_up(limits.connection_timeout, &mut stopped) => {
            // An idle connection ends here at once; one with an answer under way gets a moment for it.
            connection.as_mut().graceful_shutdown();
            match timeout(LAST_ANSWER, connection).await {
                Ok(result) => result,
                Err(_) => return debug!("an HTTP client was too slow"),
            }
        }
    };
    if let Err(error) = result {
        debug!(%error, "an HTTP connection ended early");
    }
}

async fn time_is_up(bound: Duration, stopped: &mut watch::Receiver<()>) {
    // The error says that the sender is gone, which is what is waited for; nothing is ever sent.
    let _ = timeout(bound, stopped.changed()).await;
}
