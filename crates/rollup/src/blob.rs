//! Batcher data in EIP-4844 blobs: version 0 of the OP Stack's encoding.
//!
//! A blob is 4096 field elements of 32 bytes, whose two highest bits must be zero. Four elements make a *round*: they take 31
//! bytes each in their last 31 bytes, and three more bytes, six bits at a time, in their first ones. So a round has 127 bytes and a
//! blob 130,048; four of them are the version and the length.
//!
//! Source: OP Stack specification, derivation.md, "Blob encoding".

use alloc::{vec, vec::Vec};

/// Bytes of a blob.
pub const BLOB_LEN: usize = 4096 * ELEMENT;
/// Most bytes of data in a blob.
pub const BLOB_CAPACITY: usize = BLOB_LEN / (4 * ELEMENT) * ROUND - HEADER;
/// Most bytes of a channel in a frame that is alone in a blob, with the version byte of batcher data before it.
pub const BLOB_MAX_FRAME_DATA: usize = BLOB_CAPACITY - 1 - crate::frame::FRAME_OVERHEAD;

/// Bytes of a field element.
const ELEMENT: usize = 32;
/// Bytes of data in four elements.
const ROUND: usize = 127;
/// Version and length.
const HEADER: usize = 4;
/// Version of this encoding.
const VERSION: u8 = 0;
/// The bits of an element's first byte that can be used.
const LOW_SIX: u8 = 0x3f;

/// Data that are too long for a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes do not fit a blob: split the data, a blob takes {BLOB_CAPACITY}")]
pub struct BlobTooSmall(pub usize);

/// A blob that holds no batcher data. It is to be ignored; the other blobs of its transaction are not affected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// Not the size of a blob.
    #[error("a blob has {BLOB_LEN} bytes, not {0}")]
    Size(usize),
    /// An unknown version.
    #[error("blob encoding version {0} is unknown: only 0 is read")]
    Version(u8),
    /// A length that no blob can have.
    #[error("the blob announces {0} bytes, at most {BLOB_CAPACITY} fit")]
    Length(usize),
    /// An element with its highest bits set.
    #[error("field element {0} has one of its two highest bits set")]
    HighBits(usize),
    /// Something else than zeros after the data.
    #[error("the blob has other bytes than zeros behind its {0} bytes of data")]
    Trailing(usize),
}

/// A blob with these data.
///
/// # Errors
/// If they are longer than [`BLOB_CAPACITY`].
pub fn encode(data: &[u8]) -> Result<Vec<u8>, BlobTooSmall> {
    if data.len() > BLOB_CAPACITY {
        return Err(BlobTooSmall(data.len()));
    }
    let [_, len @ ..] = (data.len() as u32).to_be_bytes();
    let mut blob = vec![0; BLOB_LEN];
    let (elements, _) = blob.as_chunks_mut::<ELEMENT>();
    let (rounds, _) = elements.as_chunks_mut::<4>();
    let mut plain = [0; ROUND];
    plain[0] = VERSION;
    plain[1..HEADER].copy_from_slice(&len);
    let mut filled = HEADER;
    let mut rest = data;
    for round in rounds {
        let (taken, after) = rest.split_at(rest.len().min(ROUND - filled));
        plain[filled..filled + taken.len()].copy_from_slice(taken);
        plain[filled + taken.len()..].fill(0);
        encode_round(&plain, round);
        if after.is_empty() {
            break;
        }
        (rest, filled) = (after, 0);
    }
    Ok(blob)
}

fn encode_round(plain: &[u8; ROUND], round: &mut [[u8; ELEMENT]; 4]) {
    for (element, bytes) in round.iter_mut().zip(plain.chunks(ELEMENT)) {
        element[1..].copy_from_slice(&bytes[..ELEMENT - 1]);
    }
    // Every 32nd byte goes into the free bits of the four.
    let [x, y, z] = [plain[31], plain[63], plain[95]];
    round[0][0] = x & LOW_SIX;
    round[1][0] = (y & 0x0f) | ((x & 0xc0) >> 2);
    round[2][0] = z & LOW_SIX;
    round[3][0] = ((z & 0xc0) >> 2) | ((y & 0xf0) >> 4);
}

fn decode_round(round: &[[u8; ELEMENT]; 4]) -> [u8; ROUND] {
    let mut plain = [0; ROUND];
    for (bytes, element) in plain.chunks_mut(ELEMENT).zip(round) {
        bytes[..ELEMENT - 1].copy_from_slice(&element[1..]);
    }
    let [a, b, c, d] = [round[0][0], round[1][0], round[2][0], round[3][0]];
    plain[31] = a | ((b & 0x30) << 2);
    plain[63] = (b & 0x0f) | ((d & 0x0f) << 4);
    plain[95] = c | ((d & 0x30) << 2);
    plain
}

/// The data of a blob.
///
/// # Errors
/// See [`BlobError`]. Every blob that is read is what [`encode`] makes of its data.
pub fn decode(blob: &[u8]) -> Result<Vec<u8>, BlobError> {
    let (elements, odd) = blob.as_chunks::<ELEMENT>();
    let (rounds, _) = elements.as_chunks::<4>();
    if blob.len() != BLOB_LEN || !odd.is_empty() {
        return Err(BlobError::Size(blob.len()));
    }
    let Some((first, later)) = rounds.split_first() else { return Err(BlobError::Size(blob.len())) };
    let plain = decode_round(first);
    if plain[0] != VERSION {
        return Err(BlobError::Version(plain[0]));
    }
    let len = usize::from(plain[1]) << 16 | usize::from(plain[2]) << 8 | usize::from(plain[3]);
    if len > BLOB_CAPACITY {
        return Err(BlobError::Length(len));
    }
    if let Some(index) = elements.iter().position(|element| element[0] & !LOW_SIX != 0) {
        return Err(BlobError::HighBits(index));
    }
    let used = (len + HEADER).div_ceil(ROUND) - 1;
    let (used, unused) = later.split_at(used.min(later.len()));
    let mut data = Vec::with_capacity(len + ROUND);
    data.extend_from_slice(&plain[HEADER..]);
    for round in used {
        data.extend_from_slice(&decode_round(round));
    }
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    if !data.get(len..).is_some_and(is_zero) || !is_zero(unused.as_flattened().as_flattened()) {
        return Err(BlobError::Trailing(len));
    }
    data.truncate(len);
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn data(len: usize) -> Vec<u8> {
        (0..len).map(|index| (index * 7 + index / 251 + 1) as u8).collect()
    }

    #[test]
    fn a_blob_takes_130_044_bytes() {
        assert_eq!((BLOB_LEN, BLOB_CAPACITY, BLOB_MAX_FRAME_DATA), (131_072, 130_044, 130_020));
        assert!(encode(&data(BLOB_CAPACITY)).is_ok());
        assert_eq!(encode(&data(BLOB_CAPACITY + 1)), Err(BlobTooSmall(130_045)));
    }

    #[test]
    fn data_of_every_kind_of_length_survive() {
        for len in [0, 1, 26, 27, 28, 31, 122, 123, 124, 127, 250, 251, 4096, 130_043, BLOB_CAPACITY] {
            let blob = encode(&data(len)).unwrap();
            assert_eq!(blob.len(), BLOB_LEN);
            assert_eq!(decode(&blob), Ok(data(len)), "{len}");
        }
    }

    #[test]
    fn the_bytes_lie_where_the_specification_has_them() {
        let mut plain = vec![0u8; 123];
        // In round 0 the data begin at byte 5 of element 0; the 28th byte is x, the 60th y, the 92nd z.
        (plain[0], plain[26], plain[27], plain[28]) = (0xa1, 0xa2, 0b1101_0110, 0xa3);
        (plain[59], plain[91]) = (0b1011_0101, 0b1001_1001);
        let blob = encode(&plain).unwrap();
        assert_eq!(blob[1..6], [0, 0, 0, 123, 0xa1][..]);
        assert_eq!((blob[5], blob[31], blob[33]), (0xa1, 0xa2, 0xa3));
        assert_eq!(blob[0], 0b01_0110);
        assert_eq!(blob[32], 0b11_0101);
        assert_eq!(blob[64], 0b01_1001);
        assert_eq!(blob[96], 0b10_1011);
        assert!(blob[128..].iter().all(|byte| *byte == 0));
    }

    fn bent(at: usize, to: u8) -> Result<Vec<u8>, BlobError> {
        let mut blob = encode(&data(300)).unwrap();
        blob[at] = to;
        decode(&blob)
    }

    #[test]
    fn other_sizes_versions_and_lengths_are_refused() {
        assert_eq!(decode(&[]), Err(BlobError::Size(0)));
        assert_eq!(decode(&vec![0; BLOB_LEN + 1]), Err(BlobError::Size(BLOB_LEN + 1)));
        assert_eq!(bent(1, 1), Err(BlobError::Version(1)));
        assert_eq!(bent(2, 2), Err(BlobError::Length(2 << 16 | 300)));
    }

    #[test]
    fn the_two_highest_bits_of_every_element_must_be_zero() {
        assert_eq!(bent(0, 0x40), Err(BlobError::HighBits(0)));
        assert_eq!(bent(4095 * 32, 0x80), Err(BlobError::HighBits(4095)));
    }

    #[test]
    fn behind_the_data_there_must_be_zeros() {
        // 300 bytes and four of header take two rounds and 50 bytes: 256 + 1 + 31 + 32 …, so byte 310 is in the last round.
        assert_eq!(bent(310, 1), Err(BlobError::Trailing(300)));
        assert_eq!(bent(384, 1), Err(BlobError::Trailing(300)));
        assert_eq!(bent(BLOB_LEN - 1, 1), Err(BlobError::Trailing(300)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn what_decodes_is_encoded_the_same(
            data in proptest::collection::vec(any::<u8>(), 0..3000), at in 0..BLOB_LEN, to in any::<u8>()
        ) {
            let mut blob = encode(&data).unwrap();
            prop_assert_eq!(decode(&blob), Ok(data));
            // A blob with one byte changed is refused, or it holds other data.
            blob[at] = to;
            if let Ok(other) = decode(&blob) {
                prop_assert_eq!(encode(&other), Ok(blob));
            }
        }
    }
}
