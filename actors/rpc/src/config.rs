//! Settings of the public server and the admin server.

use serde::{Deserialize, Serialize};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

const MIB: u32 = 1024 * 1024;

/// All namespaces that the public server has.
pub const NAMESPACES: [&str; 8] = ["debug", "eth", "miner", "net", "optimism", "rpc", "txpool", "web3"];

/// The public JSON-RPC server: HTTP and WebSocket on one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RpcConfig {
    /// Where it listens. Port 0 takes any free port, and keeps it across restarts of the actor.
    pub listen: SocketAddr,
    /// Origins that browsers may call from, over HTTP and WebSocket; `"*"` allows all, an empty list none.
    pub cors: Vec<String>,
    /// Names under which it may be called (the `Host` of a request), besides addresses and `localhost`; `"*"` allows all. An empty
    /// list allows all as well where it listens beyond loopback.
    pub hosts: Vec<String>,
    /// Namespaces that are served: the part of a method's name before the underscore.
    pub namespaces: Vec<String>,
    /// Who makes the blocks that submitted transactions come into.
    pub sequencer: BlockMaker,
    /// Bounds on what clients may ask for.
    pub limits: Limits,
}

/// Who makes blocks, and thus where submitted transactions go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockMaker {
    /// This node: they go into its pool.
    Here,
    /// The sequencer with this URL of its JSON-RPC: they are handed to it.
    Elsewhere(String),
    /// Somebody whom this node does not know: they are refused, because nobody would ever put them into a block.
    Unknown,
}

impl Default for RpcConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9545),
            cors: vec!["*".to_owned()],
            hosts: Vec::new(),
            namespaces: NAMESPACES.map(str::to_owned).to_vec(),
            sequencer: BlockMaker::Here,
            limits: Limits::default(),
        }
    }
}

/// The admin server: supervision and faults, for operators on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Where it listens. It has no authentication: keep it on loopback.
    pub listen: SocketAddr,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9546) }
    }
}

/// Bounds on connections, requests and the work behind them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open connections, HTTP and WebSocket together; further ones are closed at once.
    pub max_connections: u32,
    /// Milliseconds within which a new connection must show a token, where one is asked for. As many connections as
    /// [`max_connections`](Self::max_connections) may be about to, besides those that have; an older one gives way to a newer one.
    pub token_ms: u64,
    /// Bytes of one HTTP body or WebSocket message.
    pub max_request_bytes: u32,
    /// Bytes of one response, and of all responses of a batch together.
    pub max_response_bytes: u32,
    /// Bytes of all answers that clients have not taken yet; further ones are refused. The last quarter is for short answers, one
    /// connection gets an eighth (or one answer of the greatest length), and 64 KiB of each connection are admitted in any case.
    pub max_unsent_bytes: usize,
    /// Bodies of the greatest length that may be read or answered at the same time, and messages of a WebSocket that may be answered;
    /// further long ones are refused.
    pub large_bodies: usize,
    /// Milliseconds that a body may stand still.
    pub body_idle_ms: u64,
    /// Milliseconds that a whole body may take.
    pub body_total_ms: u64,
    /// Calls that may run at the same time for one WebSocket connection; it reads no further ones meanwhile.
    pub max_inflight: usize,
    /// Calls in one batch.
    pub max_batch: u32,
    /// Calls of one batch that run at the same time.
    pub batch_concurrency: usize,
    /// Calls of one batch that may simulate, trace or search at the same time.
    pub batch_heavy: usize,
    /// Nesting of arrays and objects in the parameters of a call.
    pub max_depth: usize,
    /// Subscriptions of one WebSocket connection.
    pub max_subscriptions: u32,
    /// Messages that may wait to be written to one WebSocket connection.
    pub message_buffer: u32,
    /// Milliseconds that a subscriber may leave its connection full before its subscription ends.
    pub slow_subscriber_ms: u64,
    /// Threads that read and write sockets.
    pub io_threads: usize,
    /// Threads for reads of blocks and state.
    pub read_workers: usize,
    /// Threads for calls and log searches.
    pub heavy_workers: usize,
    /// Threads for traces.
    pub trace_workers: usize,
    /// Threads that recover the senders of submitted transactions.
    pub ingress_workers: usize,
    /// Reads that may wait for a thread.
    pub read_queue: usize,
    /// Calls and searches that may wait for a thread.
    pub heavy_queue: usize,
    /// Traces that may wait for a thread.
    pub trace_queue: usize,
    /// Submitted transactions that may wait for their sender to be recovered.
    pub ingress_queue: usize,
    /// Transactions that may be on their way to a sequencer elsewhere at the same time.
    pub forward_concurrency: usize,
    /// Transactions that may wait besides those.
    pub forward_queue: usize,
    /// Milliseconds that forwarding may take, waiting included.
    pub forward_timeout_ms: u64,
    /// Gas that one call or estimate may use.
    pub call_gas_cap: u64,
    /// Milliseconds that one call or estimate may run.
    pub call_timeout_ms: u64,
    /// Milliseconds that one trace may run unless the request asks for less.
    pub trace_timeout_ms: u64,
    /// Bytes of memory that one trace may record.
    pub max_trace_bytes: usize,
    /// Blocks that one log query may span.
    pub max_log_blocks: u64,
    /// Logs that one query may return.
    pub max_log_results: usize,
    /// Storage slots that one `eth_getProof` may ask for.
    pub max_proof_slots: usize,
    /// Filters that may be installed at the same time.
    pub max_filters: usize,
    /// Seconds after which a filter that nobody polls is removed.
    pub filter_ttl_s: u64,
    /// Bytes of recently read blocks and receipts to keep in memory.
    pub cache_bytes: usize,
    /// Lowest priority fee to suggest, in wei.
    pub min_suggested_tip: u64,
    /// Highest priority fee to suggest, in wei.
    pub max_suggested_tip: u64,
    /// Milliseconds that `eth_sendRawTransactionSync` waits for the receipt if the request names no time.
    pub sync_send_timeout_ms: u64,
    /// Milliseconds that a request may make it wait at most.
    pub max_sync_send_timeout_ms: u64,
    /// Bytes of one transaction.
    pub max_tx_bytes: usize,
    /// Accept legacy transactions whose signature names no chain (before EIP-155), which anyone can replay from elsewhere.
    pub allow_unprotected_txs: bool,
}

impl Default for Limits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            max_connections: 1024,
            token_ms: 5_000,
            max_request_bytes: 5 * MIB,
            max_response_bytes: 32 * MIB,
            max_unsent_bytes: 512 * MIB as usize,
            large_bodies: 32,
            body_idle_ms: 5_000,
            body_total_ms: 30_000,
            max_inflight: 32,
            max_batch: 1000,
            batch_concurrency: 64,
            batch_heavy: 4,
            max_depth: 64,
            max_subscriptions: 128,
            message_buffer: 256,
            slow_subscriber_ms: 10_000,
            io_threads: cores.min(4),
            read_workers: cores.clamp(2, 8),
            heavy_workers: cores.clamp(2, 8),
            trace_workers: (cores / 2).clamp(1, 4),
            ingress_workers: cores.min(8),
            read_queue: 4096,
            heavy_queue: 512,
            trace_queue: 64,
            ingress_queue: 16_384,
            forward_concurrency: 64,
            forward_queue: 4096,
            forward_timeout_ms: 10_000,
            call_gas_cap: 50_000_000,
            call_timeout_ms: 5_000,
            trace_timeout_ms: 10_000,
            max_trace_bytes: 128 * MIB as usize,
            max_log_blocks: 10_000,
            max_log_results: 10_000,
            max_proof_slots: 1024,
            max_filters: 1024,
            filter_ttl_s: 300,
            cache_bytes: 128 * MIB as usize,
            min_suggested_tip: 1_000_000,
            max_suggested_tip: 500_000_000_000,
            sync_send_timeout_ms: 20_000,
            max_sync_send_timeout_ms: 60_000,
            max_tx_bytes: 128 * 1024,
            allow_unprotected_txs: false,
        }
    }
}

impl Limits {
    /// [`Self::call_timeout_ms`] as a duration.
    pub const fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms)
    }

    /// [`Self::token_ms`] as a duration.
    pub const fn token(&self) -> Duration {
        Duration::from_millis(self.token_ms)
    }

    /// [`Self::trace_timeout_ms`] as a duration.
    pub const fn trace_timeout(&self) -> Duration {
        Duration::from_millis(self.trace_timeout_ms)
    }

    /// [`Self::slow_subscriber_ms`] as a duration.
    pub const fn slow_subscriber(&self) -> Duration {
        Duration::from_millis(self.slow_subscriber_ms)
    }

    /// [`Self::filter_ttl_s`] as a duration.
    pub const fn filter_ttl(&self) -> Duration {
        Duration::from_secs(self.filter_ttl_s)
    }
}
