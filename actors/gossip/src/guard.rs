//! Who may connect: bans of peers and addresses, and how often an address may knock.

use std::collections::HashMap;
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use duskevm_p2p::{Bucket, PeerId, Prefix, Rate};
use libp2p::core::Endpoint as Role;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId as Libp2pPeerId};

use crate::convert;

/// New connections from one address.
const KNOCKS: Rate = Rate::new(16, 2);
/// Addresses whose knocks are counted.
const REMEMBERED: usize = 4_096;

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("the peer is banned")]
    Peer,
    #[error("the address is banned")]
    Address,
    #[error("the address connects too often")]
    TooOften,
    #[error("the peer's key is not ed25519")]
    Key,
}

/// A behaviour without a protocol, asked about every connection.
#[derive(Debug)]
pub(crate) struct Guard {
    start: Instant,
    peers: HashMap<PeerId, Instant>,
    prefixes: HashMap<Prefix, Instant>,
    knocks: HashMap<Prefix, Bucket>,
}

impl Guard {
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, peers: HashMap::new(), prefixes: HashMap::new(), knocks: HashMap::new() }
    }

    pub(crate) fn ban(&mut self, peer: PeerId, prefix: Option<Prefix>, until: Instant) {
        self.peers.insert(peer, until);
        if let Some(prefix) = prefix {
            self.prefixes.insert(prefix, until);
        }
    }

    /// Forgets what is over. Call it now and then.
    pub(crate) fn sweep(&mut self) {
        let now = Instant::now();
        let elapsed = now.duration_since(self.start);
        self.peers.retain(|_, until| *until > now);
        self.prefixes.retain(|_, until| *until > now);
        self.knocks.retain(|_, bucket| !bucket.is_full(KNOCKS, elapsed));
    }

    pub(crate) fn is_banned(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|until| *until > Instant::now())
    }

    fn check_peer(&self, peer: &Libp2pPeerId) -> Result<(), Denied> {
        let peer = convert::peer(peer).ok_or(Denied::Key)?;
        if self.is_banned(&peer) { Err(Denied::Peer) } else { Ok(()) }
    }

    fn knock(&mut self, address: &Multiaddr, elapsed: Duration) -> Result<(), Denied> {
        let Some(prefix) = convert::endpoint(address).and_then(|endpoint| endpoint.prefix()) else { return Ok(()) };
        if self.prefixes.get(&prefix).is_some_and(|until| *until > Instant::now()) {
            return Err(Denied::Address);
        }
        if !self.knocks.contains_key(&prefix) && self.knocks.len() >= REMEMBERED {
            self.sweep();
            if self.knocks.len() >= REMEMBERED {
                return Err(Denied::TooOften);
            }
        }
        let bucket = self.knocks.entry(prefix).or_insert_with(|| Bucket::full(KNOCKS, elapsed));
        if bucket.take(KNOCKS, elapsed, 1) { Ok(()) } else { Err(Denied::TooOften) }
    }
}

impl NetworkBehaviour for Guard {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.knock(remote, self.start.elapsed()).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Libp2pPeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_peer(&peer).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Libp2pPeerId,
        _: &Multiaddr,
        _: Role,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_peer(&peer).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: Libp2pPeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bans_and_knocks() {
        let start = Instant::now();
        let mut guard = Guard::new(start);
        let far: Multiaddr = "/ip4/8.8.8.8/tcp/1".parse().unwrap();
        let near: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let knocks = (0..100).filter(|_| guard.knock(&far, Duration::ZERO).is_ok()).count();
        assert_eq!(knocks, 16);
        assert_eq!(guard.knock(&far, Duration::from_secs(1)), Ok(()));
        assert!((0..100).all(|_| guard.knock(&near, Duration::ZERO).is_ok()));

        let peer = crate::Identity::from_secret([1; 32]).id();
        let libp2p = convert::libp2p_peer(&peer).unwrap();
        assert_eq!(guard.check_peer(&libp2p), Ok(()));
        guard.ban(peer, Some(Prefix::V4([8; 4])), start + Duration::from_secs(600));
        assert_eq!(guard.check_peer(&libp2p), Err(Denied::Peer));
        assert_eq!(guard.knock(&far, Duration::from_secs(9)), Err(Denied::Address));
        guard.ban(peer, Some(Prefix::V4([8; 4])), start);
        assert_eq!(guard.check_peer(&libp2p), Ok(()), "a ban ends");
        guard.sweep();
        assert!(guard.peers.is_empty() && guard.prefixes.is_empty());
    }
}
