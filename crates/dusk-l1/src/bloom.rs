//! The event bloom of Dusk headers: 2048 bits, three bits for each inserted item.

use dusk_core::abi::Event;
use dusk_core::transfer::data::ContractBytecode;

/// Blake3, as `dusk-core` computes it for bytecode: the hash of the published bloom.
fn blake3(bytes: Vec<u8>) -> [u8; 32] {
    ContractBytecode::new(bytes).hash
}

/// The bloom of one block's events, in the order-free rule of the published node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventBloom([u8; 256]);

impl Default for EventBloom {
    fn default() -> Self {
        Self([0; 256])
    }
}

impl EventBloom {
    /// Inserts (contract, topic) and (contract, topic, data), so that a reader can look for either. Events of reverted
    /// calls are left out, as the Boreas fork says.
    pub fn add(&mut self, event: &Event) {
        if event.reverted {
            return;
        }
        let mut item = event.source.to_bytes().to_vec();
        item.extend_from_slice(event.topic.as_bytes());
        self.insert(blake3(item.clone()));
        item.extend_from_slice(&event.data);
        self.insert(blake3(item));
    }

    /// Whether an event with this contract and topic may be in the block.
    pub fn may_contain(&self, contract: &[u8; 32], topic: &str) -> bool {
        let mut item = contract.to_vec();
        item.extend_from_slice(topic.as_bytes());
        positions(&blake3(item)).into_iter().all(|(byte, mask)| self.0[byte] & mask != 0)
    }

    /// The header field.
    pub fn into_bytes(self) -> [u8; 256] {
        self.0
    }

    fn insert(&mut self, hash: [u8; 32]) {
        for (byte, mask) in positions(&hash) {
            self.0[byte] |= mask;
        }
    }
}

impl From<[u8; 256]> for EventBloom {
    fn from(bytes: [u8; 256]) -> Self {
        Self(bytes)
    }
}

fn positions(hash: &[u8; 32]) -> [(usize, u8); 3] {
    [0, 2, 4].map(|i| {
        let bits = u16::from_be_bytes([hash[i], hash[i + 1]]) & 0x7ff;
        (255 - usize::from(bits >> 3), 1 << (hash[i + 1] & 7))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(topic: &str, data: &[u8], reverted: bool) -> Event {
        Event { source: [7u8; 32].into(), topic: topic.into(), data: data.to_vec(), reverted }
    }

    #[test]
    fn holds_what_was_added_and_nothing_reverted() {
        let mut bloom = EventBloom::default();
        bloom.add(&event("deposit", b"x", true));
        assert_eq!(bloom, EventBloom::default());
        bloom.add(&event("deposit", b"x", false));
        assert!(bloom.may_contain(&[7; 32], "deposit"));
        assert!(!bloom.may_contain(&[7; 32], "withdraw"));
        assert!(!bloom.may_contain(&[8; 32], "deposit"));
        let ones: u32 = bloom.into_bytes().iter().map(|b| b.count_ones()).sum();
        assert!((3..=6).contains(&ones), "two items of three bits each set {ones} bits");
    }

    /// blake3("") starts af13 49b9 f5f9: bits 0x713, 0x1b9, 0x5f9 counted from the end.
    #[test]
    fn bit_positions() {
        assert_eq!(blake3(vec![])[..6], [0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9]);
        assert_eq!(
            positions(&blake3(vec![])),
            [(255 - (0x713 >> 3), 1 << 3), (255 - (0x1b9 >> 3), 1 << 1), (255 - (0x5f9 >> 3), 1 << 1)]
        );
    }
}
