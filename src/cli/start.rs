//! Starting a node and staying with it to its end.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::args::NodeArgs;
use super::signals::{self, Leftover, Stop};
use super::{CliError, Failure};
use crate::config::{Config, Loader};
use crate::metrics::Metrics;
use crate::{logging, node};

/// Called when every listener is bound.
pub(super) type Started = Box<dyn FnOnce(&Endpoints, &Config) + Send>;

/// What a node is given beside its configuration.
pub struct RunOptions {
    /// Completes when the node shall stop in order.
    pub stop: Stop,
    /// The metrics of the process.
    pub metrics: Metrics,
    /// Called once when every listener is bound, with the configuration that is in force: an existing network has its own values.
    pub started: Started,
}

impl std::fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunOptions").field("stop", &self.stop).finish_non_exhaustive()
    }
}

/// Where a running node can be reached; `None` where the actor is off. Port 0 of the configuration is the real one here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// L2 JSON-RPC over HTTP and WebSocket.
    pub rpc: Option<SocketAddr>,
    /// JSON-RPC of L1 over HTTP and WebSocket.
    pub l1_rpc: Option<SocketAddr>,
    /// The Engine API over HTTP and WebSocket.
    pub engine_api: Option<SocketAddr>,
    /// RPC of a rollup node over HTTP and WebSocket.
    pub rollup_rpc: Option<SocketAddr>,
    /// Admin JSON-RPC.
    pub admin: SocketAddr,
    /// Metrics and health.
    pub http: Option<SocketAddr>,
    /// The blob APIs.
    pub blobs: Option<SocketAddr>,
}

/// `duskevm node`.
pub(crate) fn node(args: NodeArgs) -> Result<u8, CliError> {
    let mut loader = Loader::new().needs_data_dir().file(Some(&args.config)).environment(std::env::vars_os());
    if let Some(dir) = &args.data_dir {
        loader = loader.flag("--data-dir", "data.dir", path(dir)?);
    }
    if let Some(file) = &args.jwt_secret {
        loader = loader.flag("--jwt-secret", "engine_api.jwt_secret", path(file)?);
    }
    if let Some(level) = &args.log {
        loader = loader.flag("--log", "log.level", level.as_str());
    }
    if args.json_logs {
        loader = loader.flag("--json-logs", "log.format", "json");
    }
    let config = loader.load()?.config;
    logging::init(&config.log).map_err(Failure)?;
    run(config, Leftover::default(), |endpoints, _| {
        tracing::info!(rpc = ?endpoints.rpc, l1_rpc = ?endpoints.l1_rpc, rollup_rpc = ?endpoints.rollup_rpc, engine_api = ?endpoints.engine_api, admin = %endpoints.admin, http = ?endpoints.http, "the node is up");
    })
}

/// Runs a node until it ends, with signals and metrics set up around it. Logging is up already.
pub(crate) fn run(
    config: Config,
    leftover: Leftover,
    started: impl FnOnce(&Endpoints, &Config) + Send + 'static,
) -> Result<u8, CliError> {
    let stop = Stop::new();
    signals::listen(stop.clone(), leftover).map_err(Failure)?;
    let metrics = Metrics::install().map_err(Failure)?;
    node::run(config, RunOptions { stop, metrics, started: Box::new(started) }).map_err(CliError::Failed)
}

/// A path as a TOML value, which must be Unicode.
pub(crate) fn path(path: &std::path::Path) -> Result<String, CliError> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| CliError::Usage(format!("the path {} is not Unicode: use another one", path.display())))
}

/// The same path, absolute, so that what is printed can be used from anywhere.
pub(crate) fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}
