use super::*;

/// A zlib stream with one block of fixed Huffman codes (RFC 1951, 3.2.6): literals, then for each distance a match of three bytes.
fn fixed_block(literals: &[u8], distances: &[u32]) -> Vec<u8> {
    let mut bits: Vec<bool> = Vec::new();
    let mut low_first = |value: u32, count: u32| bits.extend((0..count).map(|at| value >> at & 1 == 1));
    low_first(0b011, 3);
    for &literal in literals {
        assert!(literal < 144);
        low_first((0x30 + u32::from(literal)).reverse_bits() >> 24, 8);
    }
    for &distance in distances {
        // Length 3 is symbol 257; of the distances only those without further bits, and the last one with 13 of them.
        low_first(1u32.reverse_bits() >> 25, 7);
        let (symbol, extra, count) = match distance {
            1..=4 => (distance - 1, 0, 0),
            24577..=32768 => (29, distance - 24577, 13),
            _ => unreachable!("{distance}"),
        };
        low_first(symbol.reverse_bits() >> 27, 5);
        low_first(extra, count);
    }
    low_first(0, 7);
    let packed = bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |sum, &bit| sum << 1 | u8::from(bit)));
    [0x78, 0x01].into_iter().chain(packed).collect()
}

/// All bytes that come out of a stream, read in pieces of this size.
fn inflate(data: &[u8], step: usize) -> Vec<u8> {
    let mut stream = Decompressor::new(Bytes::copy_from_slice(data), true).unwrap();
    let mut out = Vec::new();
    loop {
        let mut piece = vec![0; step];
        let read = stream.read(&mut piece);
        out.extend_from_slice(&piece[..read]);
        if read < step {
            return out;
        }
    }
}

/// Go's decoder, which op-node reads with, stops there; a window that wraps around would give zeros.
#[test]
fn a_match_beyond_the_beginning_of_the_stream_ends_it() {
    assert_eq!(inflate(&fixed_block(&[7, 8, 9], &[3, 1]), 100), [7, 8, 9, 7, 8, 9, 9, 9, 9]);
    assert_eq!(inflate(&fixed_block(&[7, 8, 9], &[4, 1]), 100), [7, 8, 9]);
    assert_eq!(inflate(&fixed_block(&[7], &[32768]), 100), [7]);
}

/// The buffer behind the codec moves its window to the front again and again: with matches from as far back as the format allows.
#[test]
fn matches_reach_a_whole_window_back_wherever_the_buffer_ends() {
    let mut seed = 1u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 25) as u8
    };
    let literals: Vec<u8> = (0..32768).map(|_| noise()).collect();
    let data = fixed_block(&literals, &[32768; 200_000]);
    let mut expected = literals;
    for at in 0..600_000 {
        expected.push(expected[at]);
    }
    for step in [1000, 65_536, 163_840, 700_000] {
        assert!(inflate(&data, step) == expected, "{step}");
    }
}
