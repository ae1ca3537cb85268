//! Two branches: which one to follow.
//!
//! Two honest nodes can accept different blocks at one height: an iteration that succeeded for one may have looked failed
//! to the other, who went on to the next. At the first height at which branches differ, one whose block there is final
//! by its own verified headers wins over one whose block is not; else the lower iteration wins; else the own one stays,
//! unless it has not grown for long and the other is longer. What is final here is never given up: a branch that differs there is not followed.
//!
//! The published node compares iterations only (`fsm::insync`), and nothing at all when it has stalled.

use std::collections::VecDeque;
use std::sync::Arc;

use super::attestation::{Expect, unattested, verify_attestation};
use super::bls::Bls;
use super::committee::Committees;
use super::machine::{SyncBlock, TipInfo};
use super::provisioners::Provisioners;
use super::rules::Rules;
use super::triage::hash_of;
use crate::Header;
use crate::finality::Finality;

/// What to do with a chain of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// They continue the own chain after the first `skip` of them.
    Extends { skip: usize },
    /// They differ from it after the first `skip`, above the block `parent`, and win.
    Replace { skip: usize, parent: [u8; 32] },
    /// Nothing to be had from them.
    Keep,
}

/// Of blocks that each continue the one before, the first above `parent`: how many failed iterations without attestation each was reached
/// after, up to the first whose attestation does not verify. Stakes may change along the branch; what does not verify by those
/// above `parent` is not counted, which can only delay a choice.
fn attested<'a, B: Bls>(
    bls: &'a B,
    rules: &'a Rules,
    parent: &'a Header,
    provisioners: &'a Arc<Provisioners>,
    blocks: &'a [SyncBlock],
) -> impl Iterator<Item = (&'a Header, u8)> {
    blocks.iter().scan(parent, move |before, block| {
        let header = &block.header;
        let committees = Committees::new(*before.seed.inner(), header.height, provisioners.clone(), rules.quorums());
        let fits = before.height.checked_add(1) == Some(header.height)
            && before.hash == header.prev_block_hash
            && hash_of(header) == Some(header.hash)
            && verify_attestation(
                bls,
                &header.att,
                &header.to_consensus_header(),
                &committees,
                Expect::Success(&header.hash),
            )
            .is_ok();
        *before = header;
        fits.then(|| Some((header, unattested(header)?))).flatten()
    })
}

/// Whether the first of `blocks`, the one above `parent`, is final by the attestations of those above it. `provisioners` are
/// those after `parent`.
pub fn is_final<B: Bls>(
    bls: &B,
    rules: &Rules,
    parent: &Header,
    provisioners: &Arc<Provisioners>,
    blocks: &[SyncBlock],
) -> bool {
    let mut labels = Finality::from_parts(parent.height, VecDeque::new());
    for (_, pni) in attested(bls, rules, parent, provisioners, blocks) {
        labels.accept(pni);
        if labels.last_final() > parent.height {
            return true;
        }
    }
    false
}

/// Compares `blocks`, ascending and each the parent of the next, with the chain below `tip`.
/// `stalled`: the own branch has not grown for long.
pub(super) fn choose<B: Bls>(bls: &B, rules: &Rules, tip: &TipInfo, blocks: &[SyncBlock], stalled: bool) -> Choice {
    let own: Vec<_> = tip.recent.iter().map(|recent| &recent.header).chain([&tip.header]).collect();
    let at = |height: u64| own.iter().find(|header| header.height == height);
    let same = |block: &&SyncBlock| at(block.header.height).is_some_and(|own| own.hash == block.header.hash);
    let skip = blocks.iter().take_while(same).count();
    let Some(first) = blocks.get(skip) else { return Choice::Keep };
    let Some(parent) = first.header.height.checked_sub(1).and_then(at) else { return Choice::Keep };
    if parent.hash != first.header.prev_block_hash {
        return Choice::Keep;
    }
    if parent.height == tip.header.height {
        return Choice::Extends { skip };
    }
    // Above the last final block, or `recent` would not hold the parent.
    let Some(mine) = at(first.header.height) else { return Choice::Keep };
    let provisioners = match tip.recent.iter().find(|recent| recent.header.hash == parent.hash) {
        Some(recent) => recent.provisioners.clone(),
        None => return Choice::Keep,
    };
    // Whether the own block there is as good as final. Then only a proof of the same for the other could be a conflict,
    // and that is nothing to choose from.
    let mut labels = Finality::from_parts(parent.height, VecDeque::new());
    for header in own.iter().filter(|header| header.height > parent.height) {
        labels.accept(unattested(header).unwrap_or(u8::MAX));
    }
    if labels.last_final() >= mine.height {
        return Choice::Keep;
    }
    let mut labels = Finality::from_parts(parent.height, VecDeque::new());
    for (header, pni) in attested(bls, rules, parent, &provisioners, blocks.get(skip..).unwrap_or_default()) {
        if header.hash == first.header.hash && header.iteration < mine.iteration {
            return Choice::Replace { skip, parent: parent.hash };
        }
        labels.accept(pni);
    }
    // After many failed iterations a block needs up to a hundred successors to be final, more than one answer holds. A
    // branch that grows wins over one that does not.
    if labels.last_final() >= first.header.height || (stalled && labels.tip() > tip.header.height) {
        return Choice::Replace { skip, parent: parent.hash };
    }
    Choice::Keep
}
