//! Forkchoice states (execution APIs, paris.md, `engine_forkchoiceUpdatedV1`): what is wrong with one, or the way to its head.
//!
//! Unlike an Ethereum client, an OP Stack client goes back to an older head of its own chain when it is told to, as op-geth does: that
//! is how L1 takes unsafe blocks back. It does not go below what is final.

use crate::error::EngineError;
use alloy_primitives::B256;
pub use alloy_rpc_types_engine::ForkchoiceState;

/// A block by number and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRef {
    /// Number.
    pub number: u64,
    /// Hash.
    pub hash: B256,
}

/// A block that was executed and found valid, but is not on the canonical chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SideBlock {
    /// Number.
    pub number: u64,
    /// Hash of its parent, canonical or on a side too.
    pub parent: B256,
}

/// What is known of the chain. All answers are of one moment.
pub trait Chain {
    /// The number of the canonical block with this hash.
    fn canonical_number(&self, hash: B256) -> Option<u64>;
    /// The side block with this hash.
    fn side(&self, hash: B256) -> Option<SideBlock>;
    /// The newest canonical block.
    fn latest(&self) -> BlockRef;
    /// The safe block, a canonical one, if there is one yet.
    fn safe(&self) -> Option<BlockRef>;
    /// The finalized block, a canonical one and not above the safe one, if there is one yet.
    fn finalized(&self) -> Option<BlockRef>;
}

/// Why a forkchoice state cannot be taken. Nothing is changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ForkchoiceFault {
    /// The head is the zero hash.
    #[error("headBlockHash is zero: name the block that is to be the head")]
    ZeroHead,
    /// A label's block is not known.
    #[error("the {label} block {hash} is not known: send its payload first, or zero if there is none yet")]
    Unknown {
        /// `safe` or `finalized`.
        label: &'static str,
        /// What the label names.
        hash: B256,
    },
    /// A label's block is known, but the head does not descend from it.
    #[error("the {label} block {hash} is no ancestor of the head {head}")]
    NotAncestor {
        /// `safe` or `finalized`.
        label: &'static str,
        /// What the label names.
        hash: B256,
        /// The head of the state.
        head: B256,
    },
    /// The head is on a branch that leaves the canonical chain below the finalized block.
    #[error("the head {head} leaves the chain at block {fork}, below the finalized block {finalized}, which stays")]
    ReorgBelowFinalized {
        /// The head of the state.
        head: B256,
        /// Number of the last common block.
        fork: u64,
        /// Number of the block that is final.
        finalized: u64,
    },
    /// Another, older block is to be the finalized one.
    #[error("block {given} cannot be the finalized block: block {finalized} is already")]
    FinalizedBack {
        /// Number of the block that the state names.
        given: u64,
        /// Number of the block that is final.
        finalized: u64,
    },
    /// The safe block is below the finalized one.
    #[error("the safe block {safe} is below the finalized block {finalized}")]
    SafeBelowFinalized {
        /// Number of the safe block in the state.
        safe: u64,
        /// Number of the finalized block after the update.
        finalized: u64,
    },
}

/// How the canonical chain gets to the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// The head is the newest canonical block: only labels change.
    Stay,
    /// The head is an older canonical block: those above it are taken back.
    Rewind,
    /// The head is on a side: canonical blocks above `fork` are taken back (none, if `fork` is the newest one), then these are put on.
    Switch {
        /// The last common block.
        fork: BlockRef,
        /// The side blocks from above `fork` up to the head; not empty.
        blocks: Vec<BlockRef>,
    },
}

/// A forkchoice state that can be taken; all of it at once, for whoever reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The new head.
    pub head: BlockRef,
    /// How it is reached.
    pub way: Way,
    /// The safe block afterwards.
    pub safe: Option<BlockRef>,
    /// The finalized block afterwards.
    pub finalized: Option<BlockRef>,
}

/// What is to be done with a forkchoice state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// The head, or a block between it and the canonical chain, is not known: `SYNCING`, and nothing changes.
    Syncing,
    /// The head is a canonical block below the finalized one: `VALID`, but nothing changes and nothing is built (paris.md, 2).
    BelowFinalized(BlockRef),
    /// `VALID` once this is done.
    Update(Update),
}

/// Judges a forkchoice state.
///
/// Zero for safe or finalized is "not known yet": the label stays, as far as its block is still canonical afterwards; a safe block that is
/// not gives way to the last common block, or to the finalized block if that is higher.
///
/// # Errors
/// [`EngineError::InvalidForkchoiceState`].
pub fn judge(chain: &impl Chain, state: &ForkchoiceState) -> Result<Judgement, EngineError> {
    if state.head_block_hash.is_zero() {
        return Err(ForkchoiceFault::ZeroHead.into());
    }
    let Some(branch) = Branch::to(chain, state.head_block_hash) else { return Ok(Judgement::Syncing) };
    let head = branch.head();
    let known = chain.finalized();
    if let Some(finalized) = known
        && branch.fork.number < finalized.number
    {
        if branch.blocks.is_empty() {
            return Ok(Judgement::BelowFinalized(head));
        }
        let (fork, finalized) = (branch.fork.number, finalized.number);
        return Err(ForkchoiceFault::ReorgBelowFinalized { head: head.hash, fork, finalized }.into());
    }

    let named = branch.label(chain, "finalized", state.finalized_block_hash)?;
    if let (Some(named), Some(known)) = (named, known)
        && named.number < known.number
    {
        return Err(ForkchoiceFault::FinalizedBack { given: named.number, finalized: known.number }.into());
    }
    let finalized = named.or(known);
    let safe = match branch.label(chain, "safe", state.safe_block_hash)? {
        Some(safe) => {
            if let Some(finalized) = finalized
                && safe.number < finalized.number
            {
                let (safe, finalized) = (safe.number, finalized.number);
                return Err(ForkchoiceFault::SafeBelowFinalized { safe, finalized }.into());
            }
            Some(safe)
        }
        None => {
            let kept = chain.safe().map(|safe| if safe.number > branch.fork.number { branch.fork } else { safe });
            match (kept, finalized) {
                (Some(kept), Some(finalized)) if kept.number < finalized.number => Some(finalized),
                (kept, finalized) => kept.or(finalized),
            }
        }
    };
    let way = if !branch.blocks.is_empty() {
        Way::Switch { fork: branch.fork, blocks: branch.blocks }
    } else if head == chain.latest() {
        Way::Stay
    } else {
        Way::Rewind
    };
    Ok(Judgement::Update(Update { head, way, safe, finalized }))
}

/// The chain of a head: canonical up to `fork`, then side blocks.
struct Branch {
    fork: BlockRef,
    blocks: Vec<BlockRef>,
}

impl Branch {
    /// `None` if it cannot be followed down to the canonical chain.
    fn to(chain: &impl Chain, head: B256) -> Option<Self> {
        let mut blocks: Vec<BlockRef> = Vec::new();
        let mut hash = head;
        loop {
            let canonical = chain.canonical_number(hash);
            let side = if canonical.is_none() { Some(chain.side(hash)?) } else { None };
            let number = canonical.or(side.map(|side| side.number))?;
            // Numbers fall by one with each step, so that this ends whatever the lookups say.
            if blocks.last().is_some_and(|child| child.number.checked_sub(1) != Some(number)) {
                return None;
            }
            let block = BlockRef { number, hash };
            let Some(side) = side else {
                blocks.reverse();
                return Some(Self { fork: block, blocks });
            };
            blocks.push(block);
            hash = side.parent;
        }
    }

    fn head(&self) -> BlockRef {
        self.blocks.last().copied().unwrap_or(self.fork)
    }

    /// The block that a label of the state names; `None` for zero.
    fn label(&self, chain: &impl Chain, label: &'static str, hash: B256) -> Result<Option<BlockRef>, ForkchoiceFault> {
        if hash.is_zero() {
            return Ok(None);
        }
        if let Some(block) = self.blocks.iter().find(|block| block.hash == hash) {
            return Ok(Some(*block));
        }
        match chain.canonical_number(hash) {
            Some(number) if number <= self.fork.number => Ok(Some(BlockRef { number, hash })),
            Some(_) => Err(ForkchoiceFault::NotAncestor { label, hash, head: self.head().hash }),
            None if chain.side(hash).is_some() => {
                Err(ForkchoiceFault::NotAncestor { label, hash, head: self.head().hash })
            }
            None => Err(ForkchoiceFault::Unknown { label, hash }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::collections::HashMap;

    /// Canonical blocks 0 to 10, the safe one 6, the finalized one 4. Branches `a` from 8 (9, 10, 11), `b` from 3 (4, 5), and `c` from
    /// block 10 of `a` (11).
    struct Book {
        sides: HashMap<B256, SideBlock>,
        safe: Option<u64>,
        finalized: Option<u64>,
    }

    const ZERO: B256 = B256::ZERO;

    fn hash(branch: u8, number: u64) -> B256 {
        let mut hash = B256::repeat_byte(branch);
        hash[24..].copy_from_slice(&number.to_be_bytes());
        hash
    }

    fn canonical(number: u64) -> B256 {
        hash(1, number)
    }

    fn at(branch: u8, number: u64) -> BlockRef {
        BlockRef { number, hash: hash(branch, number) }
    }

    fn book() -> Book {
        let sides = [
            (hash(b'a', 9), SideBlock { number: 9, parent: canonical(8) }),
            (hash(b'a', 10), SideBlock { number: 10, parent: hash(b'a', 9) }),
            (hash(b'a', 11), SideBlock { number: 11, parent: hash(b'a', 10) }),
            (hash(b'b', 4), SideBlock { number: 4, parent: canonical(3) }),
            (hash(b'b', 5), SideBlock { number: 5, parent: hash(b'b', 4) }),
            (hash(b'c', 11), SideBlock { number: 11, parent: hash(b'a', 10) }),
            (hash(b'd', 11), SideBlock { number: 11, parent: canonical(10) }),
        ];
        Book { sides: sides.into(), safe: Some(6), finalized: Some(4) }
    }

    impl Chain for Book {
        fn canonical_number(&self, hash: B256) -> Option<u64> {
            (0..=10).find(|number| canonical(*number) == hash)
        }
        fn side(&self, hash: B256) -> Option<SideBlock> {
            self.sides.get(&hash).copied()
        }
        fn latest(&self) -> BlockRef {
            at(1, 10)
        }
        fn safe(&self) -> Option<BlockRef> {
            self.safe.map(|number| at(1, number))
        }
        fn finalized(&self) -> Option<BlockRef> {
            self.finalized.map(|number| at(1, number))
        }
    }

    fn state(head: B256, safe: B256, finalized: B256) -> ForkchoiceState {
        ForkchoiceState { head_block_hash: head, safe_block_hash: safe, finalized_block_hash: finalized }
    }

    fn update(head: B256, safe: B256, finalized: B256) -> Update {
        match judge(&book(), &state(head, safe, finalized)).unwrap() {
            Judgement::Update(update) => update,
            other => panic!("{other:?}"),
        }
    }

    fn fault(head: B256, safe: B256, finalized: B256) -> ForkchoiceFault {
        match judge(&book(), &state(head, safe, finalized)).unwrap_err() {
            EngineError::InvalidForkchoiceState(fault) => fault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_state_is_read_with_all_three_hashes_and_not_with_fewer() {
        let sent = json!({
            "headBlockHash": canonical(3), "safeBlockHash": canonical(2), "finalizedBlockHash": ZERO
        });
        let read: ForkchoiceState = serde_json::from_value(sent.clone()).unwrap();
        assert_eq!(read, state(canonical(3), canonical(2), ZERO));
        for field in ["headBlockHash", "safeBlockHash", "finalizedBlockHash"] {
            let mut part = sent.clone();
            part[field] = serde_json::Value::Null;
            assert!(serde_json::from_value::<ForkchoiceState>(part).is_err(), "{field}");
        }
    }

    #[test]
    fn the_latest_head_changes_labels_only() {
        let update = update(canonical(10), canonical(8), canonical(5));
        assert_eq!(update, Update { head: at(1, 10), way: Way::Stay, safe: Some(at(1, 8)), finalized: Some(at(1, 5)) });
    }

    #[test]
    fn an_ancestor_is_rewound_to() {
        let update = update(canonical(7), canonical(6), canonical(4));
        assert_eq!((update.head, update.way), (at(1, 7), Way::Rewind));
    }

    #[test]
    fn a_side_branch_is_switched_to_from_the_common_block_in_order() {
        let update = update(hash(b'a', 11), canonical(6), canonical(4));
        assert_eq!(update.head, at(b'a', 11));
        let blocks = vec![at(b'a', 9), at(b'a', 10), at(b'a', 11)];
        assert_eq!(update.way, Way::Switch { fork: at(1, 8), blocks });
    }

    #[test]
    fn a_child_of_the_head_takes_nothing_back() {
        let update = update(hash(b'd', 11), ZERO, ZERO);
        assert_eq!(update.way, Way::Switch { fork: at(1, 10), blocks: vec![at(b'd', 11)] });
    }

    #[test]
    fn a_branch_of_a_branch_is_followed() {
        let update = update(hash(b'c', 11), ZERO, ZERO);
        let blocks = vec![at(b'a', 9), at(b'a', 10), at(b'c', 11)];
        assert_eq!(update.way, Way::Switch { fork: at(1, 8), blocks });
    }

    #[test]
    fn labels_may_be_on_the_side_branch() {
        let update = update(hash(b'a', 11), hash(b'a', 10), hash(b'a', 9));
        assert_eq!((update.safe, update.finalized), (Some(at(b'a', 10)), Some(at(b'a', 9))));
    }

    #[test]
    fn an_unknown_head_is_syncing_whatever_the_labels_are() {
        for safe in [ZERO, canonical(6), hash(9, 9)] {
            assert_eq!(judge(&book(), &state(hash(9, 12), safe, ZERO)), Ok(Judgement::Syncing));
        }
    }

    #[test]
    fn a_branch_with_a_gap_is_syncing() {
        let mut book = book();
        book.sides.remove(&hash(b'a', 10));
        assert_eq!(judge(&book, &state(hash(b'a', 11), ZERO, ZERO)), Ok(Judgement::Syncing));
    }

    #[test]
    fn side_blocks_that_name_each_other_do_not_hang() {
        let mut book = book();
        book.sides.insert(hash(b'x', 1), SideBlock { number: 1, parent: hash(b'x', 2) });
        book.sides.insert(hash(b'x', 2), SideBlock { number: 2, parent: hash(b'x', 1) });
        assert_eq!(judge(&book, &state(hash(b'x', 2), ZERO, ZERO)), Ok(Judgement::Syncing));
    }

    #[test]
    fn a_zero_head_is_a_contradiction() {
        assert_eq!(fault(ZERO, ZERO, ZERO), ForkchoiceFault::ZeroHead);
    }

    #[test]
    fn unknown_labels_are_contradictions() {
        let unknown = hash(9, 5);
        let head = canonical(10);
        assert_eq!(fault(head, unknown, ZERO), ForkchoiceFault::Unknown { label: "safe", hash: unknown });
        assert_eq!(fault(head, ZERO, unknown), ForkchoiceFault::Unknown { label: "finalized", hash: unknown });
    }

    #[test]
    fn labels_that_are_no_ancestors_of_the_head_are_contradictions() {
        for (head, other) in [
            (canonical(7), canonical(8)),     // above it
            (canonical(10), hash(b'a', 9)),   // on another branch
            (hash(b'a', 11), canonical(9)),   // replaced by it
            (hash(b'a', 10), hash(b'a', 11)), // its child
        ] {
            let fault_of = |label| ForkchoiceFault::NotAncestor { label, hash: other, head };
            assert_eq!(fault(head, other, ZERO), fault_of("safe"));
            assert_eq!(fault(head, ZERO, other), fault_of("finalized"));
        }
    }

    #[test]
    fn the_finalized_block_never_goes_back() {
        assert_eq!(
            fault(canonical(10), canonical(6), canonical(3)),
            ForkchoiceFault::FinalizedBack { given: 3, finalized: 4 }
        );
    }

    #[test]
    fn the_safe_block_is_not_below_the_finalized_one() {
        let below = |safe, finalized| ForkchoiceFault::SafeBelowFinalized { safe, finalized };
        assert_eq!(fault(canonical(10), canonical(3), ZERO), below(3, 4));
        assert_eq!(fault(canonical(10), canonical(6), canonical(7)), below(6, 7));
        // Down to it, it may go back: that is what a reset of the derivation does.
        assert_eq!(update(canonical(10), canonical(4), ZERO).safe, Some(at(1, 4)));
    }

    #[test]
    fn a_head_below_the_finalized_block_is_valid_and_changes_nothing() {
        let judged = judge(&book(), &state(canonical(3), ZERO, ZERO));
        assert_eq!(judged, Ok(Judgement::BelowFinalized(at(1, 3))));
        assert_eq!(update(canonical(4), ZERO, ZERO).way, Way::Rewind);
    }

    #[test]
    fn a_branch_from_below_the_finalized_block_is_a_contradiction() {
        let expected = ForkchoiceFault::ReorgBelowFinalized { head: hash(b'b', 5), fork: 3, finalized: 4 };
        assert_eq!(fault(hash(b'b', 5), ZERO, ZERO), expected);
        assert_eq!(fault(hash(b'b', 5), hash(b'b', 4), hash(b'b', 4)), expected);
    }

    #[test]
    fn zero_labels_stay_while_their_block_is_canonical() {
        let update = update(canonical(10), ZERO, ZERO);
        assert_eq!((update.safe, update.finalized), (Some(at(1, 6)), Some(at(1, 4))));
        let mut new = book();
        (new.safe, new.finalized) = (None, None);
        let Ok(Judgement::Update(update)) = judge(&new, &state(canonical(10), ZERO, ZERO)) else { panic!() };
        assert_eq!((update.safe, update.finalized), (None, None));
    }

    #[test]
    fn a_safe_block_that_is_taken_back_gives_way_to_the_last_common_block() {
        let rewound = update(canonical(5), ZERO, ZERO);
        assert_eq!((rewound.safe, rewound.finalized), (Some(at(1, 5)), Some(at(1, 4))));
        let mut book = book();
        book.safe = Some(9);
        let Ok(Judgement::Update(update)) = judge(&book, &state(hash(b'a', 11), ZERO, ZERO)) else { panic!() };
        assert_eq!(update.safe, Some(at(1, 8)));
    }

    #[test]
    fn a_finalized_block_above_the_safe_one_takes_it_along() {
        let update = update(canonical(10), ZERO, canonical(9));
        assert_eq!((update.safe, update.finalized), (Some(at(1, 9)), Some(at(1, 9))));
    }

    fn any_hash() -> impl Strategy<Value = B256> {
        let number = 0u64..13;
        (prop::sample::select(vec![0, 1, 1, 1, b'a', b'b', b'c', b'd', 9]), number)
            .prop_map(|(branch, number)| if branch == 0 { ZERO } else { hash(branch, number) })
    }

    proptest! {
        #[test]
        fn whatever_is_taken_keeps_the_labels_in_order_on_the_chain_of_the_head(
            head in any_hash(), safe in any_hash(), finalized in any_hash()
        ) {
            let book = book();
            if let Ok(Judgement::Update(update)) = judge(&book, &state(head, safe, finalized)) {
                prop_assert_eq!(update.head.hash, head);
                let on_chain = |block: BlockRef| match &update.way {
                    Way::Switch { fork, blocks } => {
                        blocks.contains(&block) || (block == at(1, block.number) && block.number <= fork.number)
                    }
                    Way::Stay | Way::Rewind => block == at(1, block.number) && block.number <= update.head.number,
                };
                let (now_safe, now_final) = (update.safe.unwrap(), update.finalized.unwrap());
                prop_assert!(on_chain(now_safe) && on_chain(now_final));
                prop_assert!(now_final.number >= 4 && now_safe.number >= now_final.number);
                prop_assert!(safe.is_zero() || now_safe.hash == safe);
                prop_assert!(finalized.is_zero() || now_final.hash == finalized);
            }
        }
    }
}
