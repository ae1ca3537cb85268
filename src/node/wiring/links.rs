//! The places of this process' provisioners in the L1 network: made before the actors, and outlive them.

use super::Base;
use crate::node::NodeError;
use duskevm_dusk_l1::genesis::Genesis;
use duskevm_gossip::{Host, HostSettings, Identity, Transport};
use duskevm_p2p::{Endpoint, NetworkId, PeerAddress, PeerId, Topic};
use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};
use tokio::runtime::Handle;

/// Below this number of peers a node dials more: as many as it passes a message on to at most.
const ENOUGH_PEERS: usize = 12;

/// Numbers under which provisioners find each other within this process; 0 is none.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

/// One node's place in the network.
pub(super) struct Link {
    /// The connections.
    pub(super) host: Host,
    /// Where the actor keeps the peers that it knows.
    pub(super) folder: PathBuf,
    /// Peers that are dialled at the start.
    pub(super) boot: Vec<PeerAddress>,
    /// Below this number of peers the node dials more.
    pub(super) enough: usize,
    /// Whether private addresses are learnt and told.
    pub(super) allow_private: bool,
}

/// A link for each provisioner of this process, in their order; none where there is nobody to talk to.
pub(super) fn links(base: Base<'_>, l1: &Genesis) -> Result<Vec<Link>, NodeError> {
    let folders: Vec<PathBuf> = base.stores.provisioners().map(|stores| stores.folder.join("gossip")).collect();
    if folders.len() > 1 {
        return within_this_process(base, l1, folders);
    }
    match folders.into_iter().next() {
        Some(folder) if base.config.has_peers() => Ok(vec![over_tcp(base, l1, folder)?]),
        _ => Ok(Vec::new()),
    }
}

fn settings(base: Base<'_>, l1: &Genesis) -> HostSettings {
    let network = NetworkId::new(l1.chain_id, &l1.identity().0);
    HostSettings {
        max_peers: base.config.gossip.max_peers,
        max_inbound: base.config.gossip.max_inbound,
        ..HostSettings::new(network, Topic::L1.to_vec())
    }
}

fn over_tcp(base: Base<'_>, l1: &Genesis, folder: PathBuf) -> Result<Link, NodeError> {
    let gossip = &base.config.gossip;
    let settings =
        HostSettings { trusted: gossip.boot.clone(), external: gossip.external.clone(), ..settings(base, l1) };
    let transport = Transport::Tcp { listen: gossip.listen.clone() };
    let identity = match &gossip.identity {
        Some(file) => Identity::read(file)?,
        None => Identity::load_or_create(&folder)?,
    };
    tracing::info!(peer = %identity.id(), listen = ?gossip.listen, boot = gossip.boot.len(), "this node as its peers know it");
    let enough = ENOUGH_PEERS.min(gossip.max_peers as usize);
    let host = Host::start(settings, transport, identity, Handle::current())?;
    Ok(Link { host, folder, boot: gossip.boot.clone(), enough, allow_private: gossip.allow_private })
}

/// Each provisioner dials all others, so that two of them may connect twice.
fn within_this_process(base: Base<'_>, l1: &Genesis, folders: Vec<PathBuf>) -> Result<Vec<Link>, NodeError> {
    let others = folders.len() - 1;
    let room = u32::try_from(2 * others).unwrap_or(u32::MAX);
    let settings = HostSettings { max_peers: room, max_inbound: room, ..settings(base, l1) };
    let mut hosts = Vec::new();
    for folder in folders {
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        let identity = Identity::load_or_create(&folder)?;
        let address = PeerAddress { peer: identity.id(), endpoint: Endpoint::Memory(number) };
        let host = Host::start(settings.clone(), Transport::Memory(number), identity, Handle::current())?;
        hosts.push((host, folder, address));
    }
    let addresses: Vec<PeerAddress> = hosts.iter().map(|(_, _, address)| *address).collect();
    let but = |me: PeerId| addresses.iter().filter(|address| address.peer != me).copied().collect();
    let link = |(host, folder, address): (Host, PathBuf, PeerAddress)| {
        let boot = but(address.peer);
        Link { host, folder, boot, enough: others.min(ENOUGH_PEERS), allow_private: true }
    };
    Ok(hosts.into_iter().map(link).collect())
}
