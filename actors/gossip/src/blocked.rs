//! Whom an operator keeps away, until the process ends.

use std::collections::BTreeSet;
use std::net::IpAddr;

use duskevm_p2p::Subnet;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// Entries of each kind.
pub(crate) const MOST: usize = 1_024;

/// Peers, addresses and ranges of addresses that may not connect.
#[derive(Debug, Default)]
pub(crate) struct Blocked {
    pub(crate) peers: BTreeSet<PeerId>,
    pub(crate) addresses: BTreeSet<IpAddr>,
    pub(crate) subnets: BTreeSet<Subnet>,
}

/// No more than [`MOST`] are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// Adds one, or takes it out.
pub(crate) fn change<T: Ord>(set: &mut BTreeSet<T>, item: T, block: bool) -> Result<(), Full> {
    if !block {
        set.remove(&item);
    } else if set.len() < MOST || set.contains(&item) {
        set.insert(item);
    } else {
        return Err(Full);
    }
    Ok(())
}

impl Blocked {
    /// Whether a peer is kept away by its id.
    pub(crate) fn has_peer(&self, peer: &PeerId) -> bool {
        self.peers.contains(peer)
    }

    /// Whether the address that this one begins with is kept away.
    pub(crate) fn has_address(&self, address: &Multiaddr) -> bool {
        let ip = match address.iter().next() {
            Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
            // An IPv4 address in its IPv6 form is the same one.
            Some(Protocol::Ip6(ip)) => IpAddr::V6(ip).to_canonical(),
            _ => return false,
        };
        self.addresses.contains(&ip) || self.subnets.iter().any(|subnet| subnet.contains(&ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_kept_away_alone_and_by_their_range() {
        let mut blocked = Blocked::default();
        change(&mut blocked.addresses, "9.8.7.6".parse().unwrap(), true).unwrap();
        change(&mut blocked.subnets, "10.0.0.0/8".parse().unwrap(), true).unwrap();
        for (address, is_blocked) in [
            ("/ip4/9.8.7.6/tcp/1", true),
            ("/ip4/9.8.7.7/tcp/1", false),
            ("/ip4/10.200.0.1/tcp/2/p2p/12D3KooWD3bfmNbuuuVCYwkjnFt3ukm3qaB3hDED3peHHXawvRAi", true),
            ("/ip6/::ffff:10.1.1.1/tcp/2", true),
            ("/ip6/2001::1/tcp/2", false),
            ("/memory/5", false),
        ] {
            assert_eq!(blocked.has_address(&address.parse().unwrap()), is_blocked, "{address}");
        }
        change(&mut blocked.subnets, "10.0.0.0/8".parse().unwrap(), false).unwrap();
        assert!(!blocked.has_address(&"/ip4/10.200.0.1/tcp/2".parse().unwrap()));
    }

    #[test]
    fn no_more_than_a_bound_are_remembered() {
        let mut set = BTreeSet::from_iter(0..MOST);
        assert_eq!(change(&mut set, MOST, true), Err(Full));
        assert_eq!(change(&mut set, 5, true), Ok(()), "it is there already");
        assert_eq!(change(&mut set, 5, false), Ok(()));
        assert_eq!(change(&mut set, MOST, true), Ok(()));
    }
}
