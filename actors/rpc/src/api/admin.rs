//! `admin_`: supervision and faults, on the separate server. What concerns the L1 stands in `dusk`.

use crate::{dusk::DuskPorts, error::RpcError, params::Args};
use duskevm_supervision::{ActorStatus, Cause, DeathCause, Fault, InjectError};
use futures::future::BoxFuture;
use jsonrpsee::{RpcModule, core::RegisterMethodError, types::ErrorObjectOwned};
use serde::Serialize;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long an injected hang lasts unless the request says so.
const HANG: Duration = Duration::from_secs(60);
/// How long a fault waits for an actor that is just restarting: an operator who breaks the same one twice means it.
const RESTART_PATIENCE: Duration = Duration::from_secs(1);
/// How often it looks.
const RESTART_LOOK: Duration = Duration::from_millis(10);

/// What the admin server asks of the node.
pub trait AdminBackend: Send + Sync + 'static {
    /// All actors, in start order.
    fn actors(&self) -> Vec<ActorStatus>;
    /// Why something does not move: each entry is explained by the one after it.
    fn why(&self) -> Vec<Cause>;
    /// Injects a fault.
    ///
    /// # Errors
    /// See [`InjectError`].
    fn inject(&self, name: &str, fault: Fault) -> Result<(), InjectError>;
    /// Heads, peers and whatever else belongs on one screen, as a JSON object.
    fn status(&self) -> BoxFuture<'static, serde_json::Value>;
    /// Name, version, chain and addresses, as a JSON object.
    fn node_info(&self) -> serde_json::Value;
    /// The ways to the L1, if the node runs one.
    fn dusk(&self) -> Option<DuskPorts> {
        None
    }
}

/// One actor, as operators see it. Times are in milliseconds.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct ActorView {
    name: String,
    path: Vec<String>,
    state: String,
    since_ms: u64,
    generation: u64,
    restarts: u64,
    last_cause: Option<CauseOfDeath>,
    lease: LeaseView,
    mailbox_depth: usize,
    mailbox_capacity: usize,
}

#[derive(Debug, Clone, Serialize)]
struct CauseOfDeath {
    kind: &'static str,
    text: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaseView {
    done: Option<Said>,
    waiting_for: Option<Said>,
    waiting_on: Option<String>,
    degraded: Option<Said>,
}

/// What an actor said about itself, and how long ago.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    text: String,
    ago_ms: u64,
}

/// One link of a chain of causes.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct CauseView {
    actor: String,
    text: String,
    trouble: bool,
    since_ms: u64,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<ActorStatus> for ActorView {
    fn from(status: ActorStatus) -> Self {
        let said = |said: Option<(String, Duration)>| said.map(|(text, ago)| Said { text, ago_ms: millis(ago) });
        let cause = |cause: DeathCause| CauseOfDeath { kind: cause.label(), text: cause.to_string() };
        Self {
            name: status.name.to_string(),
            path: status.path.iter().map(ToString::to_string).collect(),
            state: status.state.to_string(),
            since_ms: millis(status.since),
            generation: status.generation.0,
            restarts: status.restarts,
            last_cause: status.last_cause.map(cause),
            lease: LeaseView {
                done: said(status.lease.done),
                waiting_for: said(status.lease.waiting_for),
                waiting_on: status.lease.waiting_on.map(|on| on.to_string()),
                degraded: said(status.lease.degraded),
            },
            mailbox_depth: status.mailbox_depth,
            mailbox_capacity: status.mailbox_capacity,
        }
    }
}

impl From<Cause> for CauseView {
    fn from(cause: Cause) -> Self {
        Self {
            actor: cause.actor.to_string(),
            text: cause.to_string(),
            trouble: cause.is_trouble(),
            since_ms: millis(cause.since),
        }
    }
}

/// The whole admin surface.
///
/// # Errors
/// If two methods have the same name.
pub(crate) fn admin_methods(
    backend: Arc<dyn AdminBackend>,
) -> Result<RpcModule<Arc<dyn AdminBackend>>, RegisterMethodError> {
    let mut module = RpcModule::new(backend);
    module.register_method("admin_actors", |params, backend, _| -> Result<_, ErrorObjectOwned> {
        Args::new(&params)?.end()?;
        Ok(backend.actors().into_iter().map(ActorView::from).collect::<Vec<_>>())
    })?;
    module.register_method("admin_why", |params, backend, _| -> Result<_, ErrorObjectOwned> {
        Args::new(&params)?.end()?;
        Ok(backend.why().into_iter().map(CauseView::from).collect::<Vec<_>>())
    })?;
    module.register_method("admin_nodeInfo", |params, backend, _| -> Result<_, ErrorObjectOwned> {
        Args::new(&params)?.end()?;
        Ok(backend.node_info())
    })?;
    module.register_async_method("admin_status", |params, backend, _| async move {
        Args::new(&params)?.end()?;
        Ok::<_, ErrorObjectOwned>(backend.status().await)
    })?;
    faults(&mut module)?;
    super::dusk::register(&mut module)?;
    Ok(module)
}

pub(super) type Module = RpcModule<Arc<dyn AdminBackend>>;

/// Each takes the actor's name first; times are in milliseconds.
fn faults(module: &mut Module) -> Result<(), RegisterMethodError> {
    fault(module, "admin_kill", |_| Ok(Fault::Stop))?;
    fault(module, "admin_panic", |_| Ok(Fault::Panic))?;
    fault(module, "admin_restart", |_| Ok(Fault::Restart))?;
    fault(module, "admin_heal", |_| Ok(Fault::Heal))?;
    fault(module, "admin_hang", |args| Ok(Fault::Hang(args.optional()?.map_or(HANG, Duration::from_millis))))?;
    fault(module, "admin_drop", |args| {
        Ok(Fault::Drop { share: args.required()?, lasting: Duration::from_millis(args.required()?) })
    })?;
    fault(module, "admin_delay", |args| {
        Ok(Fault::Delay {
            share: args.required()?,
            by: Duration::from_millis(args.required()?),
            lasting: Duration::from_millis(args.required()?),
        })
    })
}

fn fault(
    module: &mut Module,
    method: &'static str,
    make: fn(&mut Args) -> Result<Fault, RpcError>,
) -> Result<(), RegisterMethodError> {
    module
        .register_async_method(method, move |params, backend, _| async move {
            let (name, fault) = {
                let mut args = Args::new(&params)?;
                let name: String = args.required()?;
                let fault = make(&mut args)?;
                args.end()?;
                (name, fault)
            };
            let what = format!("{fault:?}");
            let patience = Instant::now() + RESTART_PATIENCE;
            let mut injected = backend.inject(&name, fault);
            while matches!(injected, Err(InjectError::Restarting { .. })) && Instant::now() < patience {
                tokio::time::sleep(RESTART_LOOK).await;
                injected = backend.inject(&name, fault);
            }
            injected.map_err(|error| match error {
                InjectError::Unknown { .. } | InjectError::Share { .. } => RpcError::params(error),
                InjectError::Refused | InjectError::Restarting { .. } | InjectError::Down { .. } => {
                    RpcError::server(error)
                }
            })?;
            tracing::warn!(actor = name, fault = what, "an operator has injected a fault");
            Ok::<_, ErrorObjectOwned>(true)
        })
        .map(drop)
}
