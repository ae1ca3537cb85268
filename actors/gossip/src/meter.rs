//! Counts what a peer sends on a protocol before the protocol looks at it.
//!
//! Copies of known messages, and control messages, end inside gossipsub and are never reported: without this count a peer
//! could send them as fast as its line allows and nobody would hold it against it.

use std::collections::{HashMap, VecDeque};
use std::task::{Context, Poll};
use std::time::Instant;

use duskevm_p2p::{Bucket, Rate};
use libp2p::core::Endpoint as Role;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

/// Excesses that wait to be reported; further ones are dropped silently with what they were about.
const REPORTS: usize = 256;

/// How many tokens it costs to let a behaviour see something.
pub(crate) type Cost<B> = fn(&THandlerOutEvent<B>) -> u64;

/// A behaviour with a count in front of it.
pub(crate) struct Metered<B: NetworkBehaviour> {
    inner: B,
    rate: Rate,
    cost: Cost<B>,
    start: Instant,
    buckets: HashMap<PeerId, Bucket>,
    excess: VecDeque<PeerId>,
}

/// What a metered behaviour says.
#[derive(Debug)]
pub(crate) enum MeteredEvent<E> {
    /// What the behaviour itself says.
    Inner(E),
    /// A peer sent more than it may; what it sent was dropped unseen.
    Excess(PeerId),
}

impl<B: NetworkBehaviour> Metered<B> {
    /// Everything costs one token.
    pub(crate) fn new(inner: B, rate: Rate, start: Instant) -> Self {
        Self::with_cost(inner, rate, |_| 1, start)
    }

    /// What costs more than the bucket holds is never let through.
    pub(crate) fn with_cost(inner: B, rate: Rate, cost: Cost<B>, start: Instant) -> Self {
        Self { inner, rate, cost, start, buckets: HashMap::new(), excess: VecDeque::new() }
    }

    pub(crate) fn inner_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// Forgets peers whose buckets are full. Call it now and then: a bucket outlives the connection, so that coming back
    /// does not fill it.
    pub(crate) fn sweep(&mut self) {
        let elapsed = self.start.elapsed();
        let rate = self.rate;
        self.buckets.retain(|_, bucket| !bucket.is_full(rate, elapsed));
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Metered<B> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = MeteredEvent<B::ToSwarm>;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Role,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Role,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        let elapsed = self.start.elapsed();
        let rate = self.rate;
        let bucket = self.buckets.entry(peer).or_insert_with(|| Bucket::full(rate, elapsed));
        if bucket.take(rate, elapsed, (self.cost)(&event)) {
            self.inner.on_connection_handler_event(peer, connection, event);
        } else if self.excess.len() < REPORTS {
            self.excess.push_back(peer);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // No waker is kept: the swarm polls a behaviour again after it gave it an event.
        if let Some(peer) = self.excess.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(MeteredEvent::Excess(peer)));
        }
        self.inner.poll(cx).map(|event| event.map_out(MeteredEvent::Inner))
    }
}
