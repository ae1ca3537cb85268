//! The Merkle root that Dusk headers carry over transactions and faults.

use crate::sha3::sha3_256;

/// Root over `leaves` in the rule of the published node: no leaf gives 32 zero bytes; otherwise the level is halved at
/// least once until one node is left, an odd level repeating its last node, parent = SHA3-256(left ‖ right). A single
/// leaf `l` therefore has the root SHA3-256(l ‖ l).
pub fn merkle_root(leaves: &[[u8; 32]]) -> [u8; 32] {
    if leaves.is_empty() {
        return [0; 32];
    }
    let mut level = leaves.to_vec();
    loop {
        level = level
            .chunks(2)
            .map(|pair| {
                let left = &pair[0];
                let right = pair.get(1).unwrap_or(left);
                sha3_256(&[left, right])
            })
            .collect();
        if let [root] = level[..] {
            return root;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_of(words: &[&str]) -> [u8; 32] {
        merkle_root(&words.iter().map(|w| sha3_256(&[w.as_bytes()])).collect::<Vec<_>>())
    }

    /// Vectors that the published node shares with its Go predecessor.
    #[test]
    fn published_vectors() {
        let cases: [(&[&str], [u8; 32]); 6] = [
            (&[], [0; 32]),
            (
                &["Bella"],
                [
                    21, 37, 141, 144, 92, 108, 151, 168, 167, 108, 172, 79, 204, 99, 154, 196, 242, 247, 38, 145, 254,
                    228, 141, 104, 75, 210, 148, 101, 74, 166, 1, 65,
                ],
            ),
            (
                &["Bella", "Ciao", "Stop"],
                [
                    237, 79, 47, 121, 34, 152, 157, 123, 29, 245, 148, 185, 242, 38, 186, 47, 27, 182, 232, 127, 84, 7,
                    77, 127, 146, 196, 83, 8, 245, 190, 21, 5,
                ],
            ),
            (
                &["Hello", "Hi", "Hey", "Hola"],
                [
                    32, 188, 172, 153, 245, 171, 51, 156, 161, 201, 80, 58, 155, 97, 1, 79, 86, 175, 244, 91, 137, 105,
                    238, 155, 233, 126, 112, 151, 195, 101, 37, 220,
                ],
            ),
            (
                &["Bella", "Ciao", "Ndo", "Scappi", "Stop"],
                [
                    254, 132, 247, 13, 76, 173, 142, 94, 29, 216, 48, 25, 120, 142, 205, 65, 160, 88, 186, 233, 10,
                    143, 123, 79, 53, 22, 24, 55, 47, 130, 228, 238,
                ],
            ),
            (
                &["Bella", "Ciao", "Ndo", "Scappi", "Stop", "Pari"],
                [
                    232, 216, 240, 248, 181, 80, 60, 110, 63, 103, 197, 226, 130, 128, 226, 245, 173, 218, 140, 195,
                    246, 109, 134, 119, 4, 192, 166, 120, 163, 2, 95, 230,
                ],
            ),
        ];
        for (words, root) in cases {
            assert_eq!(root_of(words), root, "{words:?}");
        }
    }
}
