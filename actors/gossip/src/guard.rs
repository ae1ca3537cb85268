//! Who may connect: bans of peers and addresses, how often an address may knock, and how many connections it may hold.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use duskevm_p2p::{Bucket, Prefix, Rate};
use libp2p::core::Endpoint as Role;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ListenFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::{blocked::Blocked, convert};

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
    #[error("an operator keeps the peer away")]
    Blocked,
    #[error("the address connects too often")]
    TooOften,
    #[error("the address has enough connections")]
    TooMany,
    #[error("the peer's key is not ed25519")]
    Key,
}

/// Which keys a peer may be known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// ed25519, as all nodes of the L1 have.
    Ed25519,
    /// Any that libp2p can check.
    Any,
}

/// A behaviour without a protocol, asked about every connection.
#[derive(Debug)]
pub(crate) struct Guard {
    start: Instant,
    keys: Keys,
    peers: HashMap<PeerId, Instant>,
    prefixes: HashMap<Prefix, Instant>,
    knocks: HashMap<Prefix, Bucket>,
    /// Connections that others made or are making. Bounded with the connections themselves.
    inbound: HashMap<ConnectionId, Prefix>,
    /// How many of them one address may have.
    from_one: usize,
    /// Whom an operator keeps away.
    pub(crate) blocked: Blocked,
    /// Addresses that the operator named: many of his nodes may be behind one of them.
    trusted: HashSet<Prefix>,
}

impl Guard {
    /// `trusted`: addresses that the operator named; `from_one`: connections that one address may have made.
    pub(crate) fn new(start: Instant, keys: Keys, trusted: impl IntoIterator<Item = Prefix>, from_one: usize) -> Self {
        Self {
            start,
            keys,
            peers: HashMap::new(),
            prefixes: HashMap::new(),
            knocks: HashMap::new(),
            inbound: HashMap::new(),
            from_one,
            blocked: Blocked::default(),
            trusted: trusted.into_iter().collect(),
        }
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

    fn check_peer(&self, peer: &PeerId) -> Result<(), Denied> {
        if self.keys == Keys::Ed25519 && convert::peer(peer).is_none() {
            return Err(Denied::Key);
        }
        if self.blocked.has_peer(peer) {
            return Err(Denied::Blocked);
        }
        if self.is_banned(peer) { Err(Denied::Peer) } else { Ok(()) }
    }

    /// Somebody wants to connect. One that is let in holds a place until its connection is [`gone`](Self::gone).
    fn knock(&mut self, connection: ConnectionId, address: &Multiaddr, elapsed: Duration) -> Result<(), Denied> {
        if self.blocked.has_address(address) {
            return Err(Denied::Blocked);
        }
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
        if !bucket.take(KNOCKS, elapsed, 1) {
            return Err(Denied::TooOften);
        }
        let held = self.inbound.values().filter(|held| **held == prefix).count();
        if held >= self.from_one && !self.trusted.contains(&prefix) {
            return Err(Denied::TooMany);
        }
        self.inbound.insert(connection, prefix);
        Ok(())
    }

    fn gone(&mut self, connection: ConnectionId) {
        self.inbound.remove(&connection);
    }
}

impl NetworkBehaviour for Guard {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.knock(connection, remote, self.start.elapsed()).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_peer(&peer).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Role,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_peer(&peer).map_err(ConnectionDenied::new)?;
        if self.blocked.has_address(address) {
            return Err(ConnectionDenied::new(Denied::Blocked));
        }
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ListenFailure(ListenFailure { connection_id, .. })
            | FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => self.gone(connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(start: Instant, from_one: usize) -> Guard {
        Guard::new(start, Keys::Ed25519, [Prefix::V4([9; 4])], from_one)
    }

    fn connection(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    #[test]
    fn bans_and_knocks() {
        let start = Instant::now();
        let mut guard = guard(start, 1_000);
        let far: Multiaddr = "/ip4/8.8.8.8/tcp/1".parse().unwrap();
        let near: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let knocks = (0..100).filter(|n| guard.knock(connection(*n), &far, Duration::ZERO).is_ok()).count();
        assert_eq!(knocks, 16);
        assert_eq!(guard.knock(connection(100), &far, Duration::from_secs(1)), Ok(()));
        assert!((0..100).all(|n| guard.knock(connection(n), &near, Duration::ZERO).is_ok()));

        let peer = crate::Identity::from_secret([1; 32]).id();
        let libp2p = convert::libp2p_peer(&peer).unwrap();
        assert_eq!(guard.check_peer(&libp2p), Ok(()));
        guard.ban(libp2p, Some(Prefix::V4([8; 4])), start + Duration::from_secs(600));
        assert_eq!(guard.check_peer(&libp2p), Err(Denied::Peer));
        assert_eq!(guard.knock(connection(101), &far, Duration::from_secs(9)), Err(Denied::Address));
        guard.ban(libp2p, Some(Prefix::V4([8; 4])), start);
        assert_eq!(guard.check_peer(&libp2p), Ok(()), "a ban ends");
        guard.sweep();
        assert!(guard.peers.is_empty() && guard.prefixes.is_empty());
    }

    #[test]
    fn whom_an_operator_blocks_stays_out() {
        let mut guard = Guard::new(Instant::now(), Keys::Any, [], 9);
        let peer = libp2p::identity::Keypair::generate_secp256k1().public().to_peer_id();
        let address: Multiaddr = "/ip4/8.8.8.8/tcp/1".parse().unwrap();
        guard.blocked.peers.insert(peer);
        guard.blocked.addresses.insert("8.8.8.8".parse().unwrap());
        assert_eq!(guard.check_peer(&peer), Err(Denied::Blocked));
        assert_eq!(guard.knock(connection(1), &address, Duration::ZERO), Err(Denied::Blocked));
        guard.blocked = Blocked::default();
        assert_eq!(guard.check_peer(&peer), Ok(()));
        assert_eq!(guard.knock(connection(1), &address, Duration::ZERO), Ok(()));
    }

    #[test]
    fn other_keys_are_for_those_who_take_them() {
        let other = libp2p::identity::Keypair::generate_secp256k1().public().to_peer_id();
        assert_eq!(guard(Instant::now(), 1).check_peer(&other), Err(Denied::Key));
        assert_eq!(Guard::new(Instant::now(), Keys::Any, [], 1).check_peer(&other), Ok(()));
    }

    #[test]
    fn one_address_does_not_take_all_places() {
        let mut guard = guard(Instant::now(), 3);
        let address = |text: &str| text.parse::<Multiaddr>().unwrap();
        let (one, other) = (address("/ip4/8.8.8.8/tcp/1"), address("/ip4/8.8.4.4/tcp/1"));
        let taken = (0..9).filter(|n| guard.knock(connection(*n), &one, Duration::ZERO).is_ok()).count();
        assert_eq!(taken, 3);
        assert_eq!(guard.knock(connection(10), &one, Duration::ZERO), Err(Denied::TooMany));
        assert_eq!(guard.knock(connection(11), &other, Duration::ZERO), Ok(()));
        // However a connection ends, its place is free again.
        guard.gone(connection(0));
        assert_eq!(guard.knock(connection(12), &one, Duration::ZERO), Ok(()));
        let trusted = address("/ip4/9.9.9.9/tcp/2");
        assert!((20..30).all(|n| guard.knock(connection(n), &trusted, Duration::ZERO).is_ok()));
    }
}
