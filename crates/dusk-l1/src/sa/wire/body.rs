//! Blocks: their structure without their contents, and with them.

use dusk_node_data::ledger::{Block, Header};
use dusk_node_data::message::payload::Vote;
use dusk_node_data::{MAX_NUMBER_OF_FAULTS, MAX_NUMBER_OF_TRANSACTIONS, Serializable};

use super::{HEADER, Reader, SIGN_INFO, WireError, written};
use crate::forks;

/// Reads the header and steps over transactions and faults: their counts are within bounds, and they end where the bytes
/// do. Source: `Serializable for Block` of the published node.
pub(super) fn walk(bytes: &[u8]) -> Result<Header, WireError> {
    let mut reader = Reader(bytes);
    let header = reader.read("header")?;
    for _ in 0..count(&mut reader, "transactions", MAX_NUMBER_OF_TRANSACTIONS)? {
        transaction(&mut reader)?;
    }
    for _ in 0..count(&mut reader, "faults", MAX_NUMBER_OF_FAULTS)? {
        fault(&mut reader)?;
    }
    reader.end()?;
    Ok(header)
}

fn count(reader: &mut Reader<'_>, what: &'static str, limit: usize) -> Result<u32, WireError> {
    let count = reader.u32(what)?;
    // Both limits are small constants.
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    if count > limit { Err(WireError::TooMany { what, count, limit }) } else { Ok(count) }
}

/// Version, type, length, envelope.
pub(super) fn transaction(reader: &mut Reader<'_>) -> Result<(), WireError> {
    const WHAT: &str = "transaction";
    reader.bytes(8, WHAT)?;
    let length = reader.u32(WHAT)?;
    // A length that does not fit a usize is longer than the rest of any frame.
    reader.bytes(usize::try_from(length).unwrap_or(usize::MAX), WHAT)?;
    Ok(())
}

fn fault(reader: &mut Reader<'_>) -> Result<(), WireError> {
    const WHAT: &str = "fault";
    let [tag] = reader.array(WHAT)?;
    if tag > 2 {
        return Err(WireError::Malformed(WHAT));
    }
    for _ in 0..2 {
        reader.bytes(HEADER + SIGN_INFO, WHAT)?;
        if tag == 0 {
            reader.bytes(32, WHAT)?;
        } else {
            reader.read::<Vote>(WHAT)?;
        }
    }
    Ok(())
}

/// Decodes everything. The published reader takes a key in more than one form; only what it writes itself is accepted.
pub(super) fn block(bytes: &[u8]) -> Result<Block, WireError> {
    walk(bytes)?;
    forks::activate();
    let block = Block::read(&mut &bytes[..]).map_err(|_| WireError::Malformed("transaction or fault"))?;
    if written(&block) == bytes { Ok(block) } else { Err(WireError::Malformed("block: not in its canonical form")) }
}
