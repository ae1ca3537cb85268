//! Names of resources, and requests for them.

use std::net::SocketAddr;

use dusk_node_data::message::ConsensusHeader;

use super::{HEADER, Reader, WireError, write};

/// Most entries of an inventory. Source: `MAX_INV_ITEMS` of the published node.
pub const MAX_ITEMS: u32 = 10_000;

/// Bytes that a request has after its inventory, at most: an IPv6 address, an end of life, hops.
pub(super) const REQUEST_TAIL: usize = 1 + 16 + 2 + 8 + 2;

/// Bytes of an inventory of `items` entries, at most.
pub(super) fn max_bytes(items: u32) -> usize {
    4 + items as usize * (1 + HEADER) + 2
}

/// A resource by name. The published list leaves entries of other types unnamed; here they are errors, as there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A transaction of the pool by its id.
    Transaction([u8; 32]),
    /// A block by its hash.
    Block([u8; 32]),
    /// A block by its height.
    Height(u64),
    /// A candidate by its hash.
    Candidate([u8; 32]),
    /// The candidate of an iteration.
    CandidateOf(ConsensusHeader),
    /// The Validation result of an iteration.
    ValidationOf(ConsensusHeader),
}

impl Item {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        const WHAT: &str = "inventory";
        Ok(match reader.array::<1>(WHAT)? {
            [0] => Self::Transaction(reader.array(WHAT)?),
            [1] => Self::Block(reader.array(WHAT)?),
            [2] => Self::Height(u64::from_le_bytes(reader.array(WHAT)?)),
            [3] => Self::Candidate(reader.array(WHAT)?),
            [4] => Self::CandidateOf(reader.consensus_header()?),
            [5] => Self::ValidationOf(reader.consensus_header()?),
            _ => return Err(WireError::Malformed(WHAT)),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (tag, hash) = match self {
            Self::Transaction(hash) => (0, hash),
            Self::Block(hash) => (1, hash),
            Self::Candidate(hash) => (3, hash),
            Self::Height(height) => {
                out.push(2);
                out.extend_from_slice(&height.to_le_bytes());
                return;
            }
            Self::CandidateOf(header) => {
                out.push(4);
                return write(out, header);
            }
            Self::ValidationOf(header) => {
                out.push(5);
                return write(out, header);
            }
        };
        out.push(tag);
        out.extend_from_slice(hash);
    }
}

/// Names of resources.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// The names.
    pub items: Vec<Item>,
    /// How many of them are wanted at most; 0 for all.
    pub max_entries: u16,
}

impl Inventory {
    /// An inventory of one resource.
    pub fn one(item: Item) -> Self {
        Self { items: vec![item], max_entries: 1 }
    }

    pub(super) fn read(reader: &mut Reader<'_>, limit: u32) -> Result<Self, WireError> {
        let count = reader.u32("inventory")?;
        if count > limit {
            return Err(WireError::TooMany { what: "inventory entries", count, limit });
        }
        // The smallest entry has 9 bytes: room is made for what can be there, not for what is claimed.
        let mut items = Vec::with_capacity((count as usize).min(reader.0.len() / 9));
        for _ in 0..count {
            items.push(Item::read(reader)?);
        }
        Ok(Self { items, max_entries: u16::from_le_bytes(reader.array("inventory")?) })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        // Nobody makes four billion entries; a longer list would not be readable anyway.
        let count = u32::try_from(self.items.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&count.to_le_bytes());
        for item in &self.items {
            item.write(out);
        }
        out.extend_from_slice(&self.max_entries.to_le_bytes());
    }
}

/// A request for resources as the published node floods it: whoever has one sends it to the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceRequest {
    /// What is wanted.
    pub inventory: Inventory,
    /// Where to send it. Peers of this network answer on the connection instead.
    pub requester: SocketAddr,
    /// Unix time in seconds after which nobody answers any more.
    pub expires: u64,
    /// How often it may be passed on.
    pub hops: u16,
}

impl ResourceRequest {
    pub(super) fn read(reader: &mut Reader<'_>, limit: u32) -> Result<Self, WireError> {
        let inventory = Inventory::read(reader, limit)?;
        let requester: SocketAddr = reader.read("address")?;
        let expires = u64::from_le_bytes(reader.array("end of life")?);
        Ok(Self { inventory, requester, expires, hops: u16::from_le_bytes(reader.array("hops")?) })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.inventory.write(out);
        write(out, &self.requester);
        out.extend_from_slice(&self.expires.to_le_bytes());
        out.extend_from_slice(&self.hops.to_le_bytes());
    }
}
