//! The way of a transaction to a sequencer that is elsewhere, as op-geth's `--rollup.sequencerhttp` has it.

use crate::{config::Limits, error::RpcError};
use alloy_primitives::{B256, Bytes};
use hyper::Uri;
use jsonrpsee::{
    core::client::{ClientT as _, Error as ClientError},
    http_client::{HttpClient, HttpClientBuilder},
    rpc_params,
    types::ErrorObjectOwned,
};
use parking_lot::Mutex;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Semaphore, TryAcquireError},
    time::{Instant, timeout_at},
};

/// The most bytes of an answer: a hash, or an error with its data.
const MAX_ANSWER: u32 = 64 * 1024;
/// JSON around the hex digits of a transaction.
const ENVELOPE: u32 = 1024;

/// Why text is not the address of another node's JSON-RPC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SequencerUrlError {
    /// No URL, or one without a host.
    #[error("{0:?} is no URL: write one such as http://192.0.2.7:9545")]
    Malformed(String),
    /// Neither `http` nor `https`.
    #[error("{0:?} is neither http:// nor https://: other nodes are called over HTTP")]
    Scheme(String),
}

/// Is this the URL of a JSON-RPC server over HTTP?
///
/// # Errors
/// See [`SequencerUrlError`].
pub fn check_sequencer_url(url: &str) -> Result<(), SequencerUrlError> {
    let malformed = || SequencerUrlError::Malformed(url.to_owned());
    let parsed: Uri = url.parse().map_err(|_| malformed())?;
    match (parsed.scheme_str(), parsed.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(()),
        (Some("http" | "https") | None, _) => Err(malformed()),
        (Some(_), _) => Err(SequencerUrlError::Scheme(url.to_owned())),
    }
}

/// Whether a URL names the server that listens at `own`, as far as its text tells.
pub fn is_own_url(url: &str, own: SocketAddr) -> bool {
    let Ok(url) = url.parse::<Uri>() else { return false };
    let default = if url.scheme_str() == Some("https") { 443 } else { 80 };
    let there = match url.host() {
        Some("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(text) => match text.trim_matches(['[', ']']).parse() {
            Ok(address) => address,
            Err(_) => return false,
        },
        None => return false,
    };
    let same = there == own.ip() || there.is_unspecified() || (own.ip().is_unspecified() && there.is_loopback());
    same && url.port_u16().unwrap_or(default) == own.port()
}

/// Hands transactions to the sequencer. Clones share the connections and the bounds.
#[derive(Debug, Clone)]
pub(crate) struct Forwarder {
    client: HttpClient,
    url: Arc<str>,
    /// Transactions that may be here at all.
    room: Arc<Semaphore>,
    /// Those among them that may be on their way.
    slots: Arc<Semaphore>,
    patience: Duration,
    /// Hash of the genesis block of this network, until the sequencer was found to have the same.
    genesis: Arc<Mutex<Option<B256>>>,
}

/// The only thing that is asked of a block.
#[derive(serde::Deserialize)]
struct Named {
    hash: B256,
}

impl Forwarder {
    /// `genesis` is the hash that the sequencer's genesis block must have.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub(crate) fn new(url: &str, limits: &Limits, genesis: Option<B256>) -> Result<Self, String> {
        check_sequencer_url(url).map_err(|error| error.to_string())?;
        let patience = Duration::from_millis(limits.forward_timeout_ms);
        let tx = u32::try_from(limits.max_tx_bytes).unwrap_or(u32::MAX);
        let client = HttpClientBuilder::default()
            .request_timeout(patience)
            .connect_timeout(patience)
            .max_request_size(tx.saturating_mul(2).saturating_add(ENVELOPE))
            .max_response_size(MAX_ANSWER)
            .build(url)
            .map_err(|error| error.to_string())?;
        let waiting = limits.forward_concurrency.saturating_add(limits.forward_queue);
        Ok(Self {
            client,
            url: url.into(),
            room: Arc::new(Semaphore::new(waiting.min(Semaphore::MAX_PERMITS))),
            slots: Arc::new(Semaphore::new(limits.forward_concurrency.clamp(1, Semaphore::MAX_PERMITS))),
            patience,
            genesis: Arc::new(Mutex::new(genesis)),
        })
    }

    /// Asks a server of another network for nothing: two networks may have the same chain id, and what the other one takes never
    /// gets into this one. Who does not tell its genesis block is believed.
    async fn check_network(&self, until: Instant) -> Result<(), RpcError> {
        let Some(ours) = *self.genesis.lock() else { return Ok(()) };
        let asked = self.client.request::<Option<Named>, _>("eth_getBlockByNumber", rpc_params!["0x0", false]);
        match timeout_at(until, asked).await {
            Ok(Ok(Some(Named { hash }))) if hash != ours => Err(RpcError::Server(format!(
                "the transaction was not forwarded: {} is a node of another network, whose genesis block is {hash} and not {ours}; its operator must set rpc.sequencer to the sequencer of this one",
                self.url
            ))),
            Ok(Ok(_) | Err(ClientError::Call(_) | ClientError::ParseError(_))) => {
                *self.genesis.lock() = None;
                Ok(())
            }
            // What is wrong shows when the transaction is sent.
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    /// Hands a transaction (EIP-2718 bytes with this hash) over. One that the sequencer has already is no error.
    ///
    /// # Errors
    /// What the sequencer answers, as it is; [`RpcError::Busy`] if too many wait; else [`RpcError::Server`] that says whether the
    /// sequencer may have the transaction.
    pub(crate) async fn send(&self, raw: &Bytes, hash: B256) -> Result<(), RpcError> {
        let until = Instant::now() + self.patience;
        let _room = self.room.try_acquire().map_err(|error| match error {
            TryAcquireError::NoPermits => RpcError::Busy("transactions for the sequencer"),
            TryAcquireError::Closed => RpcError::internal("transactions are not forwarded any more"),
        })?;
        let Ok(slot) = timeout_at(until, self.slots.acquire()).await else {
            return Err(self.not_sent(&format!("it takes too few transactions a second; waited {:?}", self.patience)));
        };
        let _slot = slot.map_err(|_| RpcError::internal("transactions are not forwarded any more"))?;
        self.check_network(until).await?;
        let asked = self.client.request::<B256, _>("eth_sendRawTransaction", rpc_params![raw]);
        match timeout_at(until, asked).await {
            Ok(Ok(answer)) if answer == hash => Ok(()),
            Ok(Ok(answer)) => {
                Err(self.unclear(&format!("it answered with the hash of another transaction, {answer}, for {hash}")))
            }
            Ok(Err(ClientError::Call(refusal))) if is_known(&refusal, hash) => Ok(()),
            Ok(Err(ClientError::Call(refusal))) => Err(foreign(&refusal)),
            Ok(Err(ClientError::RequestTimeout)) | Err(_) => {
                Err(self.unclear(&format!("no answer within {:?}", self.patience)))
            }
            Ok(Err(error @ (ClientError::ParseError(_) | ClientError::InvalidRequestId(_)))) => {
                Err(self.unclear(&format!("its answer is not JSON-RPC: {error}")))
            }
            // Among these are connections that broke after the request was sent.
            Ok(Err(error)) => Err(self.unclear(&causes(&error))),
        }
    }

    fn not_sent(&self, why: &str) -> RpcError {
        tracing::warn!(sequencer = %self.url, why, "a transaction was not forwarded");
        RpcError::Server(format!("the sequencer did not get the transaction: {why}; send it again"))
    }

    fn unclear(&self, why: &str) -> RpcError {
        tracing::warn!(sequencer = %self.url, why, "it is not known whether a transaction was forwarded");
        RpcError::Server(format!(
            "the sequencer did not confirm the transaction: {why}; it may not have it: send it again"
        ))
    }
}

/// An error with what caused it, on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

/// Does the sequencer say that it has this very transaction? It says so to whoever sends it again because the first answer got lost.
/// Some name its hash, others do not.
fn is_known(refusal: &ErrorObjectOwned, hash: B256) -> bool {
    let Some(rest) = refusal.message().strip_prefix("already known") else { return false };
    let rest = rest.trim_start_matches([':', ' ']);
    rest.is_empty() || rest.eq_ignore_ascii_case(&hash.to_string())
}

fn foreign(error: &ErrorObjectOwned) -> RpcError {
    RpcError::Foreign {
        code: error.code(),
        message: error.message().to_owned(),
        data: error.data().map(|data| data.get().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_the_sequencer_has_is_known_by_its_words() {
        let hash = B256::repeat_byte(0xab);
        let known = |message: String| is_known(&ErrorObjectOwned::owned(-32000, message, None::<()>), hash);
        assert!(known("already known".into()) && known(format!("already known: {hash}")));
        assert!(!known(format!("already known: {}", B256::ZERO)) && !known("nonce too low".into()));
    }

    #[test]
    fn the_own_port_is_known_by_its_names() {
        let own = |url, own: &str| is_own_url(url, own.parse().unwrap());
        for url in ["http://127.0.0.1:9545", "http://localhost:9545/", "http://0.0.0.0:9545"] {
            assert!(own(url, "127.0.0.1:9545") && own(url, "0.0.0.0:9545"), "{url}");
        }
        assert!(own("http://[::1]:9545", "[::]:9545") && own("http://10.0.0.1", "10.0.0.1:80"));
        for url in ["http://127.0.0.1:9546", "http://10.0.0.2:9545", "http://sequencer:9545", "https://localhost", "no"]
        {
            assert!(!own(url, "127.0.0.1:9545"), "{url}");
        }
    }

    #[test]
    fn only_urls_of_http_servers_name_a_sequencer() {
        for url in ["http://127.0.0.1:9545", "https://rpc.example/v1/key", "http://[::1]:9545/"] {
            assert_eq!(check_sequencer_url(url), Ok(()), "{url}");
        }
        for url in ["", "rpc.example:9545", "http://", "/path", "http//x", "not a url"] {
            assert_eq!(check_sequencer_url(url), Err(SequencerUrlError::Malformed(url.to_owned())), "{url}");
        }
        for url in ["ws://127.0.0.1:9546", "ipc://socket"] {
            assert_eq!(check_sequencer_url(url), Err(SequencerUrlError::Scheme(url.to_owned())), "{url}");
        }
    }
}
