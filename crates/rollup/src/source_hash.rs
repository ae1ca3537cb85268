//! Source hashes: what makes each deposit transaction unique. Source: deposits.md, "Source hash computation".

use alloy_primitives::{B256, keccak256};

/// Where a deposit transaction comes from. Every kind has a domain of its own, so that no two kinds can collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DepositSource<'a> {
    /// Domain 0: a log of the deposit contract.
    User {
        /// Hash of the L1 block with the log.
        l1_block_hash: B256,
        /// Index of the log in the whole L1 block, counted over all receipts.
        log_index: u64,
    },
    /// Domain 1: the L1 attributes of an L2 block.
    L1Info {
        /// Hash of the L1 origin.
        l1_block_hash: B256,
        /// How many L2 blocks of the same origin came before.
        sequence_number: u64,
    },
    /// Domain 2: a transaction of a network upgrade.
    Upgrade {
        /// What it does, in the words of the upgrade's specification.
        intent: &'a str,
    },
    /// Domain 3: closes the forced part of a block (an early draft of interoperability).
    AfterForceInclude {
        /// Hash of the L1 origin.
        l1_block_hash: B256,
        /// How many L2 blocks of the same origin came before.
        sequence_number: u64,
    },
    /// Domain 4: marks the replacement of a block that broke an interoperability rule.
    BlockReplacement {
        /// Output root of the replaced block.
        output_root: B256,
    },
}

impl DepositSource<'_> {
    /// keccak256(bytes32(domain) ‖ inner).
    pub fn hash(&self) -> B256 {
        let (domain, inner) = match *self {
            Self::User { l1_block_hash, log_index } => (0, pair(l1_block_hash, log_index)),
            Self::L1Info { l1_block_hash, sequence_number } => (1, pair(l1_block_hash, sequence_number)),
            Self::Upgrade { intent } => (2, keccak256(intent)),
            Self::AfterForceInclude { l1_block_hash, sequence_number } => (3, pair(l1_block_hash, sequence_number)),
            Self::BlockReplacement { output_root } => (4, output_root),
        };
        let mut preimage = [0u8; 64];
        preimage[31] = domain;
        preimage[32..].copy_from_slice(inner.as_slice());
        keccak256(preimage)
    }
}

/// keccak256(L1 block hash ‖ bytes32(number)).
fn pair(hash: B256, number: u64) -> B256 {
    let mut preimage = [0u8; 64];
    preimage[..32].copy_from_slice(hash.as_slice());
    preimage[56..].copy_from_slice(&number.to_be_bytes());
    keccak256(preimage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use op_alloy_consensus::{
        InteropBlockReplacementDepositSource, L1InfoDepositSource, UpgradeDepositSource, UserDepositSource,
    };

    #[test]
    fn each_domain_agrees_with_the_published_crate() {
        let l1_block_hash = B256::repeat_byte(0x17);
        assert_eq!(
            DepositSource::User { l1_block_hash, log_index: 300 }.hash(),
            UserDepositSource::new(l1_block_hash, 300).source_hash()
        );
        assert_eq!(
            DepositSource::L1Info { l1_block_hash, sequence_number: 5 }.hash(),
            L1InfoDepositSource::new(l1_block_hash, 5).source_hash()
        );
        let intent = "Isthmus: L1 Block Proxy Update";
        assert_eq!(
            DepositSource::Upgrade { intent }.hash(),
            UpgradeDepositSource::new(intent.to_string()).source_hash()
        );
        assert_eq!(
            DepositSource::BlockReplacement { output_root: l1_block_hash }.hash(),
            InteropBlockReplacementDepositSource { output_root: l1_block_hash }.source_hash()
        );
    }

    #[test]
    fn domains_keep_equal_contents_apart() {
        let l1_block_hash = B256::repeat_byte(1);
        let hashes = [
            DepositSource::User { l1_block_hash, log_index: 0 }.hash(),
            DepositSource::L1Info { l1_block_hash, sequence_number: 0 }.hash(),
            DepositSource::AfterForceInclude { l1_block_hash, sequence_number: 0 }.hash(),
        ];
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2]);
    }
}
