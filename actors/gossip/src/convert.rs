//! Between the names of libp2p and ours.

use duskevm_p2p::{Endpoint, PeerId};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, identity};

/// `None` for peers whose key is not ed25519.
pub(crate) fn peer(id: &libp2p::PeerId) -> Option<PeerId> {
    PeerId::from_bytes(&id.to_bytes())
}

/// `None` if the bytes are no point of the curve: nobody can have such an id.
pub(crate) fn libp2p_peer(id: &PeerId) -> Option<libp2p::PeerId> {
    let key = identity::ed25519::PublicKey::try_from_bytes(&id.0).ok()?;
    Some(identity::PublicKey::from(key).to_peer_id())
}

/// `None` for addresses of other kinds. What follows the port is ignored only if it names the peer.
pub(crate) fn endpoint(address: &Multiaddr) -> Option<Endpoint> {
    let mut parts = address.iter();
    let found = match parts.next()? {
        Protocol::Ip4(ip) => match parts.next()? {
            Protocol::Tcp(port) => Endpoint::Ip4(ip.octets(), port),
            _ => return None,
        },
        Protocol::Ip6(ip) => match parts.next()? {
            Protocol::Tcp(port) => Endpoint::Ip6(ip.octets(), port),
            _ => return None,
        },
        Protocol::Memory(number) => Endpoint::Memory(number),
        _ => return None,
    };
    match parts.next() {
        None => Some(found),
        Some(Protocol::P2p(_)) => parts.next().is_none().then_some(found),
        Some(_) => None,
    }
}

pub(crate) fn multiaddr(endpoint: &Endpoint) -> Multiaddr {
    let address = Multiaddr::empty();
    match *endpoint {
        Endpoint::Ip4(ip, port) => address.with(Protocol::Ip4(ip.into())).with(Protocol::Tcp(port)),
        Endpoint::Ip6(ip, port) => address.with(Protocol::Ip6(ip.into())).with(Protocol::Tcp(port)),
        Endpoint::Memory(number) => address.with(Protocol::Memory(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for text in ["/ip4/1.2.3.4/tcp/9222", "/ip6/2a00::1/tcp/1", "/memory/77"] {
            let ours: Endpoint = text.parse().unwrap();
            assert_eq!(multiaddr(&ours).to_string(), text);
            assert_eq!(endpoint(&multiaddr(&ours)), Some(ours));
        }
        let peer_id = crate::Identity::from_secret([1; 32]).id();
        let theirs = libp2p_peer(&peer_id).unwrap();
        assert_eq!(theirs.to_string(), peer_id.to_string());
        assert_eq!(peer(&theirs), Some(peer_id));
        let with_peer = multiaddr(&Endpoint::Memory(1)).with(Protocol::P2p(theirs));
        assert_eq!(endpoint(&with_peer), Some(Endpoint::Memory(1)));
        for other in ["/ip4/1.2.3.4/udp/1", "/dns4/x.org/tcp/1", "/ip4/1.2.3.4/tcp/1/ws", "/ip4/1.2.3.4"] {
            assert_eq!(endpoint(&other.parse().unwrap()), None, "{other}");
        }
        assert_eq!(
            peer(&libp2p::PeerId::from_multihash(libp2p::multihash::Multihash::wrap(0x12, &[7; 32]).unwrap()).unwrap()),
            None
        );
    }
}
