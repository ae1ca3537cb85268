//! The drawing of the system: every actor, and who talks to whom.
//!
//! Each layer makes its part: [`l1`] on [`links`] to other nodes, [`l2`], [`services`]. References exist before their actors,
//! because some talk to each other both ways.

mod blocks;
mod l1;
mod l2;
mod links;
mod services;

use self::{l1::DuskL1, l2::Rollup, services::Services};
use super::{NodeError, folder::Stores, status::SharedStatus};
use crate::{cli::Endpoints, config::Config, metrics::Metrics, network::Network};
use duskevm_da_store::Socket as BlobSocket;
use duskevm_dusk_l1::keys::Signer;
use duskevm_gossip::{BlockHost, Host};
use duskevm_http::Socket as HttpSocket;
use duskevm_rpc::Socket as RpcSocket;
use duskevm_supervision::{Backoff, Intensity, Strategy, Supervisor, Tree};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

/// Deadline of the actors that have no reason for another one.
const LEAST_DEADLINE: Duration = Duration::from_secs(10);

/// A node whose tree runs.
pub(super) struct Running {
    pub(super) supervisor: Supervisor,
    hosts: Vec<Host>,
    block_host: Option<BlockHost>,
    rpc: RpcSocket,
    l1_rpc: RpcSocket,
    engine_api: RpcSocket,
    rollup_rpc: RpcSocket,
    admin: RpcSocket,
    http: HttpSocket,
    blobs: BlobSocket,
    has_rpc: bool,
    has_l1_rpc: bool,
    has_engine_api: bool,
    has_rollup_rpc: bool,
    has_http: bool,
    has_blobs: bool,
}

impl Running {
    /// Where it listens, once every actor is up.
    pub(super) fn endpoints(&self) -> Endpoints {
        let unbound = SocketAddr::from(([0, 0, 0, 0], 0));
        Endpoints {
            rpc: self.has_rpc.then(|| self.rpc.local_addr().unwrap_or(unbound)),
            l1_rpc: self.has_l1_rpc.then(|| self.l1_rpc.local_addr().unwrap_or(unbound)),
            engine_api: self.has_engine_api.then(|| self.engine_api.local_addr().unwrap_or(unbound)),
            rollup_rpc: self.has_rollup_rpc.then(|| self.rollup_rpc.local_addr().unwrap_or(unbound)),
            admin: self.admin.local_addr().unwrap_or(unbound),
            http: self.has_http.then(|| self.http.address()),
            blobs: self.has_blobs.then(|| self.blobs.address()),
        }
    }

    /// Closes the connections to peers, which outlive the tree.
    pub(super) fn disconnect(&self) {
        self.hosts.iter().for_each(Host::shutdown);
        self.block_host.iter().for_each(BlockHost::shutdown);
    }
}

/// What every part is made from.
#[derive(Clone, Copy)]
struct Base<'a> {
    config: &'a Config,
    network: &'a Arc<Network>,
    data: &'a Path,
    stores: &'a Stores,
    /// By which the provisioners of this process vote, in their order; fewer where some only follow.
    signers: &'a [Signer],
}

impl Base<'_> {
    /// Every actor knows how long its work may take; the setting makes a slow machine's operator more patient, never less.
    fn deadline(&self, own: Duration) -> Duration {
        own.max(Duration::from_millis(self.config.supervision.deadline_ms))
    }
}

/// Builds every actor and starts the tree.
///
/// Order is dependency: an actor stands below those it needs, so that a restart of the subtree begins with what the others wait for,
/// and shutdown ends with it.
pub(super) fn start(
    config: &Config,
    network: &Arc<Network>,
    data: &Path,
    stores: &Stores,
    signers: &[Signer],
    metrics: &Metrics,
) -> Result<(Running, SharedStatus), NodeError> {
    let base = Base { config, network, data, stores, signers };
    // Where a consensus client drives L2 there may be no L1 at all.
    let l1 = match &stores.l1 {
        Some(own) => Some(DuskL1::new(base, network.dusk()?, own)?),
        None => None,
    };
    let hosts = l1.as_ref().map(DuskL1::hosts).unwrap_or_default();
    let l2 = Rollup::new(base, l1.as_ref())?;
    let block_host = l2.block_host();
    let services = Services::new(base, l1.as_ref(), &l2, metrics)?;
    let Services { status, rpc, l1_rpc, rollup_rpc, engine_api, admin, http, blobs, .. } = &services;
    let (status, rpc, l1_rpc, rollup_rpc) = (status.clone(), rpc.clone(), l1_rpc.clone(), rollup_rpc.clone());
    let engine_api = engine_api.clone();
    let (admin, http, blobs) = (admin.clone(), http.clone(), blobs.clone());

    let supervision = &config.supervision;
    let tree = Tree::new("root", Strategy::OneForOne)
        .intensity(Intensity { max: supervision.max_restarts, within: Duration::from_secs(supervision.within_seconds) })
        .backoff(Backoff {
            base: Duration::from_millis(supervision.backoff_min_ms),
            cap: Duration::from_millis(supervision.backoff_max_ms),
        })
        .allow_faults(config.faults.allow);
    let tree = match l1 {
        Some(l1) => l1.plant(tree),
        None => tree,
    };
    let tree = tree.subtree("l2", Strategy::OneForOne, |tree| l2.plant(tree)).subtree(
        "services",
        Strategy::OneForOne,
        |tree| services.plant(tree),
    );
    let supervisor = tree.start();
    let _ = status.supervisor.set(supervisor.clone());
    let running = Running {
        supervisor,
        hosts,
        block_host,
        rpc,
        l1_rpc,
        engine_api,
        rollup_rpc,
        admin,
        http,
        blobs,
        has_rpc: config.actors.rpc,
        has_l1_rpc: config.actors.l1_rpc,
        has_engine_api: config.actors.engine_api,
        has_rollup_rpc: config.actors.rollup_rpc,
        has_http: config.actors.http,
        has_blobs: config.actors.blob_api,
    };
    Ok((running, status))
}
