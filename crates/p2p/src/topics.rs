//! What is spoken about on which topic, and which network it belongs to.

use std::fmt;

/// Which network a peer belongs to: part of the name of every topic and protocol, so that nodes of different networks
/// find nothing to talk about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkId {
    /// Chain id of the Dusk ledger.
    pub chain: u8,
    /// The first four bytes of the identity of its genesis.
    pub genesis: [u8; 4],
}

impl NetworkId {
    /// The id of the network with this chain id and genesis identity.
    pub fn new(chain: u8, identity: &[u8; 32]) -> Self {
        let [a, b, c, d, ..] = *identity;
        Self { chain, genesis: [a, b, c, d] }
    }

    /// Name of the protocol in which requests are asked and answered.
    pub fn ask_protocol(&self) -> String {
        format!("/dusk/{self}/ask/1")
    }

    /// Prefix of the protocol in which topics are spread.
    pub fn mesh_prefix(&self) -> String {
        format!("/dusk/{self}/mesh")
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.chain, hex::encode(self.genesis))
    }
}

/// What a message is about. One topic, one bound on size and rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// Consensus frames 17 to 20: validation, ratification, quorum.
    Votes,
    /// Consensus frame 16: candidate blocks with their blobs.
    Candidates,
    /// Frame 10: ledger transactions.
    Transactions,
    /// Frame 11: accepted blocks, only as an answer to a sibling of a higher iteration.
    Blocks,
    /// The unsafe blocks of a rollup, by the number that the rollup has on this network.
    L2(u8),
}

/// Why bytes do not belong on a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAFrame {
    /// Too short to carry a frame.
    #[error("{0} bytes are no frame")]
    Short(usize),
    /// Not the version this node speaks.
    #[error("a frame of another version")]
    Version,
    /// A frame that belongs on another topic, or on none.
    #[error("a frame of kind {0} does not belong here")]
    Kind(u8),
}

/// Version 1.0.0 as every Dusk frame begins (`dusk-node-data`, `Version`).
const FRAME_VERSION: [u8; 5] = [1, 0, 0, 0, 0];
/// A frame before its payload: version and kind.
const FRAME_HEAD: usize = FRAME_VERSION.len() + 1;
const MIB: usize = 1 << 20;

impl Topic {
    /// The topics of the L1.
    pub const L1: [Self; 4] = [Self::Votes, Self::Candidates, Self::Transactions, Self::Blocks];

    /// Short name for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Votes => "votes",
            Self::Candidates => "candidates",
            Self::Transactions => "transactions",
            Self::Blocks => "blocks",
            Self::L2(_) => "l2",
        }
    }

    /// The name under which it is spread.
    pub fn name(&self, network: &NetworkId) -> String {
        match self {
            Self::L2(rollup) => format!("/dusk/{network}/l2-{rollup}/1"),
            l1 => format!("/dusk/{network}/{}/1", l1.label()),
        }
    }

    /// The longest message in bytes. Candidates and blocks are at most 1 MiB (the published node's bound on a block, blobs
    /// included) and a transaction what fits into one; the rest is the frame around them.
    pub const fn max_bytes(&self) -> usize {
        match self {
            Self::Votes => 2 << 10,
            Self::Candidates | Self::Blocks => MIB + 64,
            Self::Transactions => 1_047_713 + 18,
            Self::L2(_) => 4 * MIB,
        }
    }

    /// Where a Dusk frame of this kind is spread; `None` for kinds that are asked for, not spread.
    pub const fn of(kind: u8) -> Option<Self> {
        match kind {
            10 => Some(Self::Transactions),
            11 => Some(Self::Blocks),
            16 => Some(Self::Candidates),
            17..=20 => Some(Self::Votes),
            _ => None,
        }
    }

    /// Whether the head of a message fits the topic. It costs nothing, and bytes that fail here are nobody's mistake but
    /// the sender's: the payload is for whoever knows the frames.
    ///
    /// # Errors
    /// [`NotAFrame`]. Messages of a rollup only need not be empty.
    pub fn check_head(&self, bytes: &[u8]) -> Result<(), NotAFrame> {
        if let Self::L2(_) = self {
            return if bytes.is_empty() { Err(NotAFrame::Short(0)) } else { Ok(()) };
        }
        let Some((version, [kind, ..])) = bytes.get(..FRAME_HEAD).and_then(|head| head.split_at_checked(5)) else {
            return Err(NotAFrame::Short(bytes.len()));
        };
        if version != FRAME_VERSION {
            return Err(NotAFrame::Version);
        }
        if Self::of(*kind) == Some(*self) { Ok(()) } else { Err(NotAFrame::Kind(*kind)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn network() -> NetworkId {
        let mut identity = [9; 32];
        identity[..4].copy_from_slice(&[0xab, 0, 1, 0xff]);
        NetworkId::new(250, &identity)
    }

    #[test]
    fn names_carry_the_network_and_the_version() {
        assert_eq!(Topic::Votes.name(&network()), "/dusk/250-ab0001ff/votes/1");
        assert_eq!(Topic::L2(7).name(&network()), "/dusk/250-ab0001ff/l2-7/1");
        assert_eq!(network().ask_protocol(), "/dusk/250-ab0001ff/ask/1");
    }

    #[test]
    fn the_head_decides_where_a_frame_belongs() {
        for kind in 0..=u8::MAX {
            let frame = [1, 0, 0, 0, 0, kind, 42];
            for topic in Topic::L1 {
                assert_eq!(topic.check_head(&frame).is_ok(), Topic::of(kind) == Some(topic), "{kind} on {topic:?}");
            }
        }
        assert_eq!(Topic::Votes.check_head(&[1, 0, 0, 0, 0]), Err(NotAFrame::Short(5)));
        assert_eq!(Topic::Votes.check_head(&[1, 0, 0, 1, 0, 17]), Err(NotAFrame::Version));
        assert_eq!(Topic::L2(0).check_head(&[]), Err(NotAFrame::Short(0)));
        assert_eq!(Topic::L2(0).check_head(&[0]), Ok(()));
    }

    fn any_topic() -> impl Strategy<Value = Topic> {
        prop_oneof![
            Just(Topic::Votes),
            Just(Topic::Candidates),
            Just(Topic::Transactions),
            Just(Topic::Blocks),
            any::<u8>().prop_map(Topic::L2),
        ]
    }

    proptest! {
        #[test]
        fn different_topics_or_networks_have_different_names(
            a in any_topic(), b in any_topic(), chain in any::<(u8, u8)>(), genesis in any::<([u8; 4], [u8; 4])>(),
        ) {
            let left = NetworkId { chain: chain.0, genesis: genesis.0 };
            let right = NetworkId { chain: chain.1, genesis: genesis.1 };
            prop_assert_eq!(a.name(&left) == b.name(&right), a == b && left == right);
        }

        #[test]
        fn any_bytes_are_judged_without_a_panic(topic in any_topic(), bytes in prop::collection::vec(any::<u8>(), 0..32)) {
            let _ = topic.check_head(&bytes);
        }
    }
}
