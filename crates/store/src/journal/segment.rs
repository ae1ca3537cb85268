//! The format of a segment.
//!
//! ```text
//!  header, 32 bytes                                   then records, 24 bytes and the payload each
//!  +------------+------+-------+-------+------+-----+  +--------+-----+--------+-------+---------+
//!  | "DUSKJRN1" | kind | flags | first | salt | crc |  | length | crc | number | group | payload |
//!  | 8 bytes    | u32  | u32   | u64   | u32  | u32 |  | u32    | u32 | u64    | u64   |         |
//!  +------------+------+-------+-------+------+-----+  +--------+-----+--------+-------+---------+
//!  little-endian; crc: CRC-32 of all other bytes of the header or record
//!  kind    what the journal is for (CRC-32 of its name)
//!  flags   1: nothing in earlier segments counts any more
//!  first   number of the first record in this segment
//!  salt    random; the CRCs of this segment's records start from it, so that nobody who chooses a payload can make it
//!          look like a record
//!  number  counts all records of the journal from 0
//!  group   number of the first record that was written and fsynced together with this one
//! ```
//!
//! `group` tells a torn tail from damage. A record of group `g` is only written after everything before `g` was on disk. So if
//! a record is unreadable and a later one belongs to a group that starts after it, the unreadable one had been
//! acknowledged: damage. If not, its fsync never returned, and it is cut off with whatever follows.

pub(super) const HEADER: usize = 32;
pub(super) const RECORD: usize = 24;
const MAGIC: &[u8; 8] = b"DUSKJRN1";
const FLAG_BASE: u32 = 1;
/// A segment never begins higher: counting on from there cannot overflow.
const LAST_FIRST: u64 = u64::MAX / 2;

/// The start of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: u32,
    /// Nothing in earlier segments counts.
    pub(super) base: bool,
    pub(super) first: u64,
    /// What the CRCs of the records start from.
    pub(super) salt: u32,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut raw = [0; HEADER];
        raw[..8].copy_from_slice(MAGIC);
        raw[8..12].copy_from_slice(&self.kind.to_le_bytes());
        raw[12..16].copy_from_slice(&(if self.base { FLAG_BASE } else { 0 }).to_le_bytes());
        raw[16..24].copy_from_slice(&self.first.to_le_bytes());
        raw[24..28].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32fast::hash(&raw[..28]);
        raw[28..].copy_from_slice(&crc.to_le_bytes());
        raw
    }

    pub(super) fn decode(raw: &[u8]) -> Result<Self, &'static str> {
        if raw.len() < HEADER {
            return Err("the header of the segment is cut off");
        }
        if &raw[..7] != MAGIC[..7].as_ref() {
            return Err("it is not a journal of this program");
        }
        if raw[7] != MAGIC[7] {
            return Err("it was written by another version of this program");
        }
        let (flags, first) = (u32_at(raw, 12), u64_at(raw, 16));
        if u32_at(raw, 28) != crc32fast::hash(&raw[..28]) || flags > FLAG_BASE || first > LAST_FIRST {
            return Err("the header of the segment is damaged");
        }
        Ok(Self { kind: u32_at(raw, 8), base: flags == FLAG_BASE, first, salt: u32_at(raw, 24) })
    }
}

/// Appends a record to `out`.
pub(super) fn encode_record(salt: u32, number: u64, group: u64, payload: &[u8], out: &mut Vec<u8>) {
    let length = (payload.len() as u32).to_le_bytes();
    let mut crc = crc32fast::Hasher::new_with_initial(salt);
    crc.update(&length);
    crc.update(&number.to_le_bytes());
    crc.update(&group.to_le_bytes());
    crc.update(payload);
    out.extend_from_slice(&length);
    out.extend_from_slice(&crc.finalize().to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&group.to_le_bytes());
    out.extend_from_slice(payload);
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    number: u64,
    group: u64,
    pub(super) payload: &'a [u8],
}

/// The record at `at`, if a whole and undamaged one is there.
fn record_at(raw: &[u8], salt: u32, at: usize) -> Option<Record<'_>> {
    let head = raw.get(at..at.checked_add(RECORD)?)?;
    let payload = raw.get(at + RECORD..(at + RECORD).checked_add(u32_at(head, 0) as usize)?)?;
    let mut crc = crc32fast::Hasher::new_with_initial(salt);
    crc.update(&head[..4]);
    crc.update(&head[8..RECORD]);
    crc.update(payload);
    let (number, group) = (u64_at(head, 8), u64_at(head, 16));
    (crc.finalize() == u32_at(head, 4) && group <= number).then_some(Record { number, group, payload })
}

/// What reading a segment came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Records up to the last byte.
    Whole,
    /// The bytes from `at` on are a write that was never acknowledged.
    Torn { at: usize },
    /// The record at `at` had been acknowledged and is unreadable.
    Damaged { at: usize },
}

/// Calls `visit` with the number and payload of each record of a segment. Returns the number after the last one, and how
/// the segment ends.
pub(super) fn read_records(raw: &[u8], header: &Header, mut visit: impl FnMut(u64, &[u8])) -> (u64, End) {
    let (mut next, mut at) = (header.first, HEADER);
    while at < raw.len() {
        match record_at(raw, header.salt, at) {
            Some(record) if record.number == next => {
                visit(next, record.payload);
                next += 1;
                at += RECORD + record.payload.len();
            }
            _ => {
                let end = if acknowledged(raw, header.salt, at, next) { End::Damaged { at } } else { End::Torn { at } };
                return (next, end);
            }
        }
    }
    (next, End::Whole)
}

/// True if a readable record behind `at` proves that record `lost` was on disk before it was written.
fn acknowledged(raw: &[u8], salt: u32, at: usize, lost: u64) -> bool {
    let left = raw.len() - at;
    let possible = lost..=lost + (left / RECORD) as u64;
    (at + 1..raw.len()).any(|at| {
        // The number first: it rules nearly everything out before a CRC is computed.
        raw.get(at + 8..at + 16).is_some_and(|number| possible.contains(&u64_at(number, 0)))
            && record_at(raw, salt, at).is_some_and(|record| record.group > lost)
    })
}

fn u32_at(raw: &[u8], at: usize) -> u32 {
    raw.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(raw: &[u8], at: usize) -> u64 {
    raw.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}
