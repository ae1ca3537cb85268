//! Names of peers, addresses and messages.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest, Sha256};

use crate::topics::Topic;

/// First 20 bytes of SHA-256 over the topic's name and the data: the same bytes on another topic are another message.
pub type MessageId = [u8; 20];

/// The id of a message, by which copies of it are recognised.
pub fn message_id(topic: &str, data: &[u8]) -> MessageId {
    let mut hash = Sha256::new();
    // The length keeps the border between the two where it is.
    hash.update((topic.len() as u64).to_le_bytes());
    hash.update(topic);
    hash.update(data);
    let mut id = [0; 20];
    id.copy_from_slice(&hash.finalize()[..20]);
    id
}

/// A peer: its ed25519 public key. Written as libp2p does, in base 58 ("12D3KooW…"). Peers with keys of other kinds are
/// not spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub [u8; 32]);

/// What stands before the key in libp2p's form: an identity multihash of 36 bytes, holding a protobuf with key type 1
/// (ed25519) and 32 bytes (libp2p specification, "peer ids").
const PEER_HEAD: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
/// Bytes of a peer id in libp2p's form.
const PEER_BYTES: usize = PEER_HEAD.len() + 32;

/// A name that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// Not the id of a peer with an ed25519 key.
    #[error("`{0}` is no peer id: it must begin with 12D3KooW and name an ed25519 key")]
    Peer(String),
    /// Not an address this node can dial.
    #[error(
        "`{0}` is no address: write /ip4/<address>/tcp/<port>, /ip6/<address>/tcp/<port> or /memory/<number>, and for a peer /p2p/<peer id> behind it"
    )]
    Address(String),
}

impl PeerId {
    /// libp2p's form.
    pub fn to_bytes(self) -> [u8; PEER_BYTES] {
        let mut bytes = [0; PEER_BYTES];
        bytes[..PEER_HEAD.len()].copy_from_slice(&PEER_HEAD);
        bytes[PEER_HEAD.len()..].copy_from_slice(&self.0);
        bytes
    }

    /// From libp2p's form; `None` for other kinds of keys.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.strip_prefix(&PEER_HEAD)?.try_into().ok().map(Self)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base58(&self.to_bytes()))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PeerId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        unbase58(text).and_then(|bytes| Self::from_bytes(&bytes)).ok_or_else(|| ParseIdError::Peer(clip(text)))
    }
}

/// Where a peer can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// TCP over IPv4.
    Ip4([u8; 4], u16),
    /// TCP over IPv6.
    Ip6([u8; 16], u16),
    /// Within this process.
    Memory(u64),
}

/// Addresses that one party can easily have many of: it is banned as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Prefix {
    /// One IPv4 address.
    V4([u8; 4]),
    /// A /64 of IPv6.
    V6([u8; 8]),
}

impl Endpoint {
    /// What a ban of an address covers; `None` where an address says nothing about who is behind it: loopback, where many
    /// honest nodes share one, and memory.
    pub fn prefix(&self) -> Option<Prefix> {
        match *self {
            Self::Ip4(ip, _) => (!Ipv4Addr::from(ip).is_loopback()).then_some(Prefix::V4(ip)),
            Self::Ip6(ip, _) => {
                let address = Ipv6Addr::from(ip);
                if address.is_loopback() {
                    return None;
                }
                // The same host over a dual-stack socket.
                if let Some(v4) = address.to_ipv4_mapped() {
                    return Self::Ip4(v4.octets(), 0).prefix();
                }
                let [a, b, c, d, e, f, g, h, ..] = ip;
                Some(Prefix::V6([a, b, c, d, e, f, g, h]))
            }
            Self::Memory(_) => None,
        }
    }

    /// Whether it can be dialled from anywhere: not private, local, multicast, documentation or unspecified.
    pub fn is_public(&self) -> bool {
        match *self {
            Self::Ip4(ip, port) => {
                let ip = Ipv4Addr::from(ip);
                let [a, b, ..] = ip.octets();
                port != 0
                    && a != 0
                    && a < 224
                    && !(a == 100 && (64..128).contains(&b))
                    && !ip.is_private()
                    && !ip.is_loopback()
                    && !ip.is_link_local()
                    && !ip.is_documentation()
            }
            Self::Ip6(ip, port) => {
                let address = Ipv6Addr::from(ip);
                let documentation = ip.starts_with(&[0x20, 0x01, 0x0d, 0xb8]);
                // Only 2000::/3 is handed out as global unicast.
                port != 0 && address.to_ipv4_mapped().is_none() && ip[0] & 0xe0 == 0x20 && !documentation
            }
            Self::Memory(_) => false,
        }
    }

    /// Whether it can be dialled at all.
    pub fn is_dialable(&self) -> bool {
        match *self {
            Self::Ip4(ip, port) => port != 0 && !Ipv4Addr::from(ip).is_unspecified() && ip[0] < 224,
            Self::Ip6(ip, port) => port != 0 && !Ipv6Addr::from(ip).is_unspecified() && ip[0] != 0xff,
            Self::Memory(number) => number != 0,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Ip4(ip, port) => write!(f, "/ip4/{}/tcp/{port}", Ipv4Addr::from(ip)),
            Self::Ip6(ip, port) => write!(f, "/ip6/{}/tcp/{port}", Ipv6Addr::from(ip)),
            Self::Memory(number) => write!(f, "/memory/{number}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        endpoint(text).ok_or_else(|| ParseIdError::Address(clip(text)))
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

fn endpoint(text: &str) -> Option<Endpoint> {
    let mut parts = text.strip_prefix('/')?.split('/');
    let found = match (parts.next()?, parts.next()?) {
        ("memory", number) => Endpoint::Memory(number.parse().ok()?),
        ("ip4", ip) if parts.next() == Some("tcp") => {
            Endpoint::Ip4(ip.parse::<Ipv4Addr>().ok()?.octets(), parts.next()?.parse().ok()?)
        }
        ("ip6", ip) if parts.next() == Some("tcp") => {
            Endpoint::Ip6(ip.parse::<Ipv6Addr>().ok()?.octets(), parts.next()?.parse().ok()?)
        }
        _ => return None,
    };
    parts.next().is_none().then_some(found)
}

/// A peer and where it can be reached. Written "/ip4/127.0.0.1/tcp/9222/p2p/12D3KooW…".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerAddress {
    /// Who must answer there.
    pub peer: PeerId,
    /// Where.
    pub endpoint: Endpoint,
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/p2p/{}", self.endpoint, self.peer)
    }
}

impl FromStr for PeerAddress {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let (endpoint, peer) = text.split_once("/p2p/").ok_or_else(|| ParseIdError::Address(clip(text)))?;
        Ok(Self { peer: peer.parse()?, endpoint: endpoint.parse()? })
    }
}

impl Serialize for PeerAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PeerAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Errors quote what they do not understand, but not pages of it.
fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// Longest text that is worth reading: base 58 of 38 bytes has at most 52 characters.
const LONGEST: usize = 60;

fn base58(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    // Little-endian digits of the number.
    let mut digits: Vec<u8> = Vec::new();
    for byte in &bytes[zeros..] {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    let digits = digits.iter().rev().map(|digit| char::from(ALPHABET[usize::from(*digit)]));
    std::iter::repeat_n('1', zeros).chain(digits).collect()
}

fn unbase58(text: &str) -> Option<Vec<u8>> {
    if text.len() > LONGEST {
        return None;
    }
    let zeros = text.bytes().take_while(|byte| *byte == b'1').count();
    let mut bytes: Vec<u8> = Vec::new();
    for letter in text.bytes().skip(zeros) {
        let mut carry = u32::try_from(ALPHABET.iter().position(|known| *known == letter)?).ok()?;
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push((carry & 0xff) as u8);
            carry >>= 8;
        }
    }
    bytes.resize(bytes.len() + zeros, 0);
    bytes.reverse();
    Some(bytes)
}

/// The topic's message id without building the name twice.
impl Topic {
    /// The id of a message on this topic of `network`.
    pub fn message_id(&self, network: &crate::NetworkId, data: &[u8]) -> MessageId {
        message_id(&self.name(network), data)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn any_endpoint() -> impl Strategy<Value = Endpoint> {
        prop_oneof![
            any::<([u8; 4], u16)>().prop_map(|(ip, port)| Endpoint::Ip4(ip, port)),
            any::<([u8; 16], u16)>().prop_map(|(ip, port)| Endpoint::Ip6(ip, port)),
            any::<u64>().prop_map(Endpoint::Memory),
        ]
    }

    pub(crate) fn any_address() -> impl Strategy<Value = PeerAddress> {
        (any::<[u8; 32]>(), any_endpoint()).prop_map(|(key, endpoint)| PeerAddress { peer: PeerId(key), endpoint })
    }

    #[test]
    fn peer_ids_look_as_elsewhere() {
        // The first test key of the peer id specification's ed25519 vector begins like every such id.
        let id = PeerId([7; 32]);
        assert!(id.to_string().starts_with("12D3KooW"), "{id}");
        assert_eq!(id.to_string().len(), 52);
        assert!("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse::<PeerId>().is_err());
        assert!("12D3KooW0".parse::<PeerId>().is_err());
    }

    #[test]
    fn addresses_of_other_kinds_are_refused_with_help() {
        for wrong in [
            "",
            "127.0.0.1:9222",
            "/ip4/127.0.0.1",
            "/ip4/127.0.0.1/udp/1",
            "/ip4/127.0.0.1/tcp/70000",
            "/ip4/127.0.0.1/tcp/1/ws",
            "/dns4/example.org/tcp/1",
            "/memory/x",
        ] {
            let error = wrong.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains("/ip4/<address>/tcp/<port>"), "{error}");
        }
    }

    #[test]
    fn a_ban_of_an_address_covers_what_one_party_has() {
        let prefix = |text: &str| text.parse::<Endpoint>().unwrap().prefix();
        assert_eq!(prefix("/ip4/8.8.8.8/tcp/1"), Some(Prefix::V4([8; 4])));
        assert_eq!(prefix("/ip4/8.8.8.8/tcp/1"), prefix("/ip6/::ffff:8.8.8.8/tcp/2"));
        assert_eq!(prefix("/ip6/2a00:1:2:3::4/tcp/1"), prefix("/ip6/2a00:1:2:3:9::/tcp/9"));
        assert_ne!(prefix("/ip6/2a00:1:2:3::4/tcp/1"), prefix("/ip6/2a00:1:2:4::4/tcp/1"));
        for shared in ["/ip4/127.0.0.9/tcp/1", "/ip6/::1/tcp/1", "/ip6/::ffff:127.0.0.1/tcp/1", "/memory/3"] {
            assert_eq!(prefix(shared), None, "{shared}");
        }
    }

    #[test]
    fn public_addresses() {
        for (text, public) in [
            ("/ip4/8.8.8.8/tcp/9222", true),
            ("/ip4/8.8.8.8/tcp/0", false),
            ("/ip4/10.1.2.3/tcp/1", false),
            ("/ip4/100.64.0.1/tcp/1", false),
            ("/ip4/127.0.0.1/tcp/1", false),
            ("/ip4/169.254.0.1/tcp/1", false),
            ("/ip4/224.0.0.1/tcp/1", false),
            ("/ip4/0.0.0.0/tcp/1", false),
            ("/ip6/2a00::1/tcp/1", true),
            ("/ip6/fe80::1/tcp/1", false),
            ("/ip6/fd00::1/tcp/1", false),
            ("/ip6/2001:db8::1/tcp/1", false),
            ("/ip6/::ffff:8.8.8.8/tcp/1", false),
            ("/memory/1", false),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().is_public(), public, "{text}");
        }
    }

    proptest! {
        #[test]
        fn names_are_read_back(address in any_address()) {
            prop_assert_eq!(address.to_string().parse::<PeerAddress>().unwrap(), address);
            prop_assert_eq!(PeerId::from_bytes(&address.peer.to_bytes()), Some(address.peer));
        }

        #[test]
        fn base58_is_read_back(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(unbase58(&base58(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn any_text_is_judged_without_a_panic(text in "\\PC{0,80}") {
            let _ = text.parse::<PeerAddress>();
            let _ = text.parse::<PeerId>();
            let _ = text.parse::<Endpoint>();
        }

        #[test]
        fn the_border_between_topic_and_data_matters(topic in "[a-z]{1,8}", data in prop::collection::vec(any::<u8>(), 1..16)) {
            let longer = format!("{topic}{}", 'x');
            prop_assert_ne!(message_id(&topic, &[b"x", data.as_slice()].concat()), message_id(&longer, &data));
            prop_assert_eq!(message_id(&topic, &data), message_id(&topic, &data));
        }
    }
}
