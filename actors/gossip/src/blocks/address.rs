//! A peer of the L2's gossip and where it is: `/ip4/203.0.113.9/tcp/9003/p2p/16Uiu2HA…`.

use std::fmt;
use std::str::FromStr;

use duskevm_p2p::Endpoint;
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::convert;

/// Bytes of the shortest peer id: code, length and 32 bytes of SHA-256 (libp2p specification, "peer ids").
const SHORTEST_ID: usize = 34;

/// A peer of the L2's gossip and where it is. Its key may be secp256k1 (`16Uiu2HA…`) or ed25519 (`12D3KooW…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockPeer {
    /// Who must answer there.
    pub(crate) peer: PeerId,
    /// Where.
    pub(crate) endpoint: Endpoint,
}

/// A text that is no such address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no address of a peer: write /ip4/<address>/tcp/<port>/p2p/<peer id> (or /ip6/…), with a port that is not 0"
)]
pub struct ParsePeerError(String);

impl BlockPeer {
    /// Where it listens.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where to dial it.
    pub(crate) fn multiaddr(&self) -> Multiaddr {
        convert::multiaddr(&self.endpoint)
    }
}

impl fmt::Display for BlockPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/p2p/{}", self.endpoint, self.peer)
    }
}

impl FromStr for BlockPeer {
    type Err = ParsePeerError;

    fn from_str(text: &str) -> Result<Self, ParsePeerError> {
        let error = || ParsePeerError(text.chars().take(120).collect());
        let (endpoint, peer) = text.split_once("/p2p/").ok_or_else(error)?;
        let endpoint: Endpoint = endpoint.parse().map_err(|_| error())?;
        let peer: PeerId = peer.parse().map_err(|_| error())?;
        let is_tcp = endpoint.is_dialable() && !matches!(endpoint, Endpoint::Memory(_));
        // libp2p takes shorter ones, which are nobody's: a key in itself, or the hash of one.
        let is_key = peer.to_bytes().len() >= SHORTEST_ID;
        if is_tcp && is_key { Ok(Self { peer, endpoint }) } else { Err(error()) }
    }
}

impl Serialize for BlockPeer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlockPeer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_both_kinds_of_keys() {
        let id = crate::Identity::from_secret([7; 32]).id();
        let text = format!("/ip4/127.0.0.1/tcp/9003/p2p/{id}");
        assert_eq!(text.parse::<BlockPeer>().unwrap().to_string(), text);
        let id = crate::BlockIdentity::from_secret([7; 32]).unwrap().id();
        let text = format!("/ip6/::1/tcp/9003/p2p/{id}");
        assert_eq!(text.parse::<BlockPeer>().unwrap().to_string(), text);
        assert!(id.starts_with("16Uiu2HA"), "{id}");
    }

    #[test]
    fn other_texts_are_refused_with_what_to_write() {
        let id = crate::BlockIdentity::from_secret([7; 32]).unwrap().id();
        for wrong in [
            "x".to_owned(),
            "/ip4/127.0.0.1/tcp/9003".to_owned(),
            format!("/ip4/127.0.0.1/tcp/0/p2p/{id}"),
            format!("/memory/1/p2p/{id}"),
            "/ip4/127.0.0.1/tcp/9003/p2p/16Uiu2".to_owned(),
        ] {
            let error = wrong.parse::<BlockPeer>().unwrap_err().to_string();
            assert!(error.contains("/p2p/<peer id>"), "{error}");
        }
    }
}
