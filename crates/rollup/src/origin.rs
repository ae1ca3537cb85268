//! Which L1 block an L2 block belongs to.

use crate::config::{BlockId, RollupConfig};
use alloy_primitives::B256;

/// An L1 block as the rollup refers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct L1BlockRef {
    /// Its hash in the L1 view.
    pub hash: B256,
    /// Its number.
    pub number: u64,
    /// Hash of its parent.
    pub parent_hash: B256,
    /// Seconds.
    pub timestamp: u64,
}

/// An L2 block as the rollup refers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct L2BlockRef {
    /// Its hash.
    pub hash: B256,
    /// Its number.
    pub number: u64,
    /// Hash of its parent.
    pub parent_hash: B256,
    /// Seconds.
    pub timestamp: u64,
    /// Its L1 origin.
    pub l1_origin: BlockId,
    /// How many L2 blocks of this origin came before it.
    pub sequence_number: u64,
}

/// Why a block cannot stand on another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Hash or number.
    #[error("the block given is not its parent")]
    NotTheParent,
    /// Of the same origin, but not the next one.
    #[error("the sequence number does not follow")]
    SequenceNumber,
    /// Neither the origin of the parent nor the next one.
    #[error("the L1 origin skips a block")]
    OriginSkipped,
    /// The first block of an origin counts from zero.
    #[error("the first block of an L1 origin must have sequence number 0")]
    NotFirst,
    /// L1 has another block before the origin.
    #[error("the L1 origins are not parent and child")]
    Origins,
    /// Blocks have a fixed distance.
    #[error("its timestamp is {found}, a block time after its parent is {expected}")]
    Timestamp {
        /// Of the block, in seconds.
        found: u64,
        /// What it must be.
        expected: u64,
    },
}

impl L2BlockRef {
    /// Can this be the child of `parent`, by what both say of themselves? Source: derivation.md, "Finding the sync starting point"
    /// and "Deriving payload attributes".
    ///
    /// # Errors
    /// The first rule that is broken; timestamps are [`follows`](Self::follows)' part.
    pub fn links(&self, parent: &Self) -> Result<(), LinkError> {
        if parent.hash != self.parent_hash || parent.number.checked_add(1) != Some(self.number) {
            return Err(LinkError::NotTheParent);
        }
        if parent.l1_origin == self.l1_origin {
            return if parent.sequence_number.checked_add(1) == Some(self.sequence_number) {
                Ok(())
            } else {
                Err(LinkError::SequenceNumber)
            };
        }
        if parent.l1_origin.number.checked_add(1) != Some(self.l1_origin.number) {
            return Err(LinkError::OriginSkipped);
        }
        if self.sequence_number == 0 { Ok(()) } else { Err(LinkError::NotFirst) }
    }

    /// Can this be the child of `parent` in this rollup? What L1 says of the origins is not looked at.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn follows(&self, config: &RollupConfig, parent: &Self) -> Result<(), LinkError> {
        self.links(parent)?;
        let expected = parent.timestamp.saturating_add(config.block_time);
        if self.timestamp == expected { Ok(()) } else { Err(LinkError::Timestamp { found: self.timestamp, expected }) }
    }
}

/// What to build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginChoice {
    /// The L1 block that the next L2 block belongs to.
    pub origin: L1BlockRef,
    /// Zero if it is the first L2 block of this origin.
    pub sequence_number: u64,
    /// The block must be without user transactions: L2 time is past the origin's drift, or a fork activates.
    pub no_user_transactions: bool,
}

/// Why no origin can be chosen now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// `current` is not the origin of the head, or `next` is no child of `current`: L1 has reorganized.
    #[error("L1 block {found} does not follow from the L2 head's origin {expected}: L1 was reorganized")]
    Inconsistent {
        /// The origin of the head.
        expected: B256,
        /// What was given.
        found: B256,
    },
    /// L2 is so far ahead of its origin that it must wait for the next L1 block.
    #[error("L2 time {next_time} is more than {drift} s ahead of L1 block {origin}: waiting for L1 block {}", origin + 1)]
    WaitForL1 {
        /// Time of the next L2 block, seconds.
        next_time: u64,
        /// Number of the head's origin.
        origin: u64,
        /// Maximum drift in seconds.
        drift: u64,
    },
}

/// Chooses the L1 origin of the block after `head`.
///
/// `current` is the head's origin; `next` the L1 block after it, if it is known (and as deep as the sequencer's settings ask). The
/// next origin is taken as soon as L2 time has reached it; no L1 block is skipped. Past the drift only empty blocks may
/// keep the old origin, and only while the next one is known to be later.
///
/// # Errors
/// See [`OriginError`].
pub fn choose_origin(
    config: &RollupConfig,
    head: &L2BlockRef,
    current: &L1BlockRef,
    next: Option<&L1BlockRef>,
) -> Result<OriginChoice, OriginError> {
    if current.hash != head.l1_origin.hash {
        return Err(OriginError::Inconsistent { expected: head.l1_origin.hash, found: current.hash });
    }
    if let Some(next) = next
        && next.parent_hash != current.hash
    {
        return Err(OriginError::Inconsistent { expected: current.hash, found: next.parent_hash });
    }
    let next_time = head.timestamp + config.block_time;
    let activation = config.is_activation_block(next_time);
    if let Some(next) = next
        && next_time >= next.timestamp
    {
        let past_drift = next_time > next.timestamp + config.max_sequencer_drift_at(next.timestamp);
        return Ok(OriginChoice { origin: *next, sequence_number: 0, no_user_transactions: past_drift || activation });
    }
    let drift = config.max_sequencer_drift_at(current.timestamp);
    let past_drift = next_time > current.timestamp + drift;
    if past_drift && next.is_none() {
        return Err(OriginError::WaitForL1 { next_time, origin: current.number, drift });
    }
    Ok(OriginChoice {
        origin: *current,
        sequence_number: head.sequence_number + 1,
        no_user_transactions: past_drift || activation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RollupGenesis, SystemConfig};
    use alloy_primitives::Address;
    use duskevm_evm::ForkTimes;

    fn config() -> RollupConfig {
        RollupConfig {
            genesis: RollupGenesis {
                l1: BlockId::default(),
                l2: BlockId::default(),
                l2_time: 0,
                system_config: SystemConfig::default(),
            },
            block_time: 2,
            max_sequencer_drift: 600,
            seq_window_size: 3600,
            l1_chain_id: 3,
            l2_chain_id: 31310,
            forks: ForkTimes::isthmus_at_genesis(),
            delta_time: Some(0),
            batch_inbox_address: Address::ZERO,
            deposit_contract_address: Address::ZERO,
            l1_system_config_address: Address::ZERO,
            eip1559: (6, 50, 250),
        }
    }

    fn l1(number: u64, timestamp: u64) -> L1BlockRef {
        let hash = |n: u64| B256::left_padding_from(&(n + 1).to_be_bytes());
        L1BlockRef {
            hash: hash(number),
            number,
            parent_hash: if number == 0 { B256::ZERO } else { hash(number - 1) },
            timestamp,
        }
    }

    fn head(timestamp: u64, origin: &L1BlockRef) -> L2BlockRef {
        L2BlockRef {
            timestamp,
            l1_origin: BlockId { hash: origin.hash, number: origin.number },
            sequence_number: 4,
            ..Default::default()
        }
    }

    #[test]
    fn a_child_has_the_same_origin_or_the_next_one_and_counts_on() {
        let at = |number, sequence_number| L2BlockRef {
            hash: B256::repeat_byte(2),
            number: 8,
            parent_hash: B256::repeat_byte(1),
            timestamp: 108,
            l1_origin: BlockId { hash: B256::left_padding_from(&[number]), number: number.into() },
            sequence_number,
        };
        let parent =
            L2BlockRef { hash: B256::repeat_byte(1), number: 7, timestamp: 106, parent_hash: B256::ZERO, ..at(5, 4) };
        let follows = |child: L2BlockRef| child.follows(&config(), &parent);
        assert_eq!((follows(at(5, 5)), follows(at(6, 0))), (Ok(()), Ok(())));
        for (child, fault) in [
            (L2BlockRef { parent_hash: B256::ZERO, ..at(5, 5) }, LinkError::NotTheParent),
            (L2BlockRef { number: 9, ..at(5, 5) }, LinkError::NotTheParent),
            (at(5, 4), LinkError::SequenceNumber),
            (at(5, 0), LinkError::SequenceNumber),
            (at(6, 1), LinkError::NotFirst),
            (at(7, 0), LinkError::OriginSkipped),
            (at(4, 0), LinkError::OriginSkipped),
            // Another block of the same number.
            (L2BlockRef { l1_origin: BlockId { hash: B256::ZERO, number: 5 }, ..at(5, 5) }, LinkError::OriginSkipped),
            (L2BlockRef { timestamp: 107, ..at(5, 5) }, LinkError::Timestamp { found: 107, expected: 108 }),
            (L2BlockRef { timestamp: 110, ..at(6, 0) }, LinkError::Timestamp { found: 110, expected: 108 }),
        ] {
            assert_eq!(follows(child), Err(fault), "{child:?}");
        }
    }

    #[test]
    fn the_next_origin_is_taken_when_l2_time_reaches_it() {
        let (a, b) = (l1(5, 100), l1(6, 110));
        let stay = choose_origin(&config(), &head(106, &a), &a, Some(&b)).unwrap();
        assert_eq!((stay.origin, stay.sequence_number, stay.no_user_transactions), (a, 5, false));
        let step = choose_origin(&config(), &head(108, &a), &a, Some(&b)).unwrap();
        assert_eq!((step.origin, step.sequence_number), (b, 0));
    }

    #[test]
    fn past_the_drift_it_waits_or_builds_empty_blocks() {
        let (a, late) = (l1(5, 100), l1(6, 100 + 3000));
        let past = head(100 + FJORD, &a);
        assert_eq!(
            choose_origin(&config(), &past, &a, None),
            Err(OriginError::WaitForL1 { next_time: 100 + FJORD + 2, origin: 5, drift: FJORD })
        );
        let empty = choose_origin(&config(), &past, &a, Some(&late)).unwrap();
        assert_eq!((empty.origin, empty.no_user_transactions), (a, true));
        // Before Fjord the configured drift holds.
        let mut old = config();
        old.forks = ForkTimes { fjord: None, granite: None, holocene: None, isthmus: None, ..old.forks };
        assert!(matches!(
            choose_origin(&old, &head(700, &a), &a, None),
            Err(OriginError::WaitForL1 { drift: 600, .. })
        ));
    }

    const FJORD: u64 = crate::config::FJORD_MAX_SEQUENCER_DRIFT;

    #[test]
    fn a_reorganized_l1_is_noticed() {
        let (a, b, other) = (l1(5, 100), l1(6, 110), l1(9, 100));
        assert!(matches!(
            choose_origin(&config(), &head(104, &a), &other, None),
            Err(OriginError::Inconsistent { .. })
        ));
        let orphan = L1BlockRef { parent_hash: B256::ZERO, ..b };
        assert!(matches!(
            choose_origin(&config(), &head(104, &a), &a, Some(&orphan)),
            Err(OriginError::Inconsistent { .. })
        ));
    }

    #[test]
    fn the_block_of_a_fork_is_without_user_transactions() {
        let mut config = config();
        config.forks.jovian = Some(110);
        let a = l1(5, 100);
        let at = |t| choose_origin(&config, &head(t, &a), &a, None).unwrap().no_user_transactions;
        assert_eq!([at(106), at(108), at(110)], [false, true, false]);
    }
}
