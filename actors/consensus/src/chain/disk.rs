//! The chain on disk: reading it, and writing its first block.

use std::collections::VecDeque;
use std::sync::Arc;

use duskevm_dusk_l1::Header;
use duskevm_dusk_l1::finality::Finality;
use duskevm_dusk_l1::genesis::Genesis;
use duskevm_dusk_l1::record::AcceptedBlock;
use duskevm_dusk_l1::sa::committee::Committees;
use duskevm_dusk_l1::sa::provisioners::Provisioners;
use duskevm_dusk_l1::sa::rules::Rules;
use duskevm_dusk_l1::state::{MemoryState, StateDiff, StateKey, stake_changes};
use duskevm_store::l1::{BlockCommit, L1Store, NamedChange};
use duskevm_supervision::Fence;

use super::{Entry, damaged};
use crate::error::ConsensusError;

/// Reads a block from disk.
pub(crate) fn read_block(store: &L1Store, height: u64) -> Result<Option<Arc<AcceptedBlock>>, ConsensusError> {
    match store.block(height)? {
        Some(record) => Ok(Some(Arc::new(AcceptedBlock::decode(&record)?))),
        None => Ok(None),
    }
}

pub(super) fn read_undo(store: &L1Store, height: u64) -> Result<Option<StateDiff>, ConsensusError> {
    let Some(changes) = store.undo(height)? else { return Ok(None) };
    let named = changes.into_iter().map(|(name, value)| {
        let key = StateKey::from_bytes(&name).ok_or_else(|| damaged("a state record has an impossible name"))?;
        Ok((key, value))
    });
    named.collect::<Result<StateDiff, ConsensusError>>().map(Some)
}

/// Headers and stakes from the block below the last final one up to the tip.
pub(super) fn read_entries(
    store: &L1Store,
    tip: &Header,
    state: &MemoryState,
    last_final: u64,
) -> Result<VecDeque<Entry>, ConsensusError> {
    let mut provisioners = Arc::new(Provisioners::from_stakes(state.stakes()));
    let mut entries = VecDeque::from([Entry { header: tip.clone(), provisioners: provisioners.clone() }]);
    for height in (last_final.saturating_sub(1)..tip.height).rev() {
        match read_undo(store, height + 1)? {
            Some(undo) => {
                let changed = stake_changes(&undo)?;
                if !changed.is_empty() {
                    provisioners = Arc::new(provisioners.apply(&changed));
                }
            }
            // Written by a program that did not keep it, on a network whose stakes never changed.
            None if height + 1 == last_final => {}
            None => return Err(damaged(format!("what takes block {} back is missing", height + 1))),
        }
        let block = read_block(store, height)?.ok_or_else(|| damaged(format!("block {height} is missing")))?;
        entries.push_front(Entry { header: block.header.clone(), provisioners: provisioners.clone() });
    }
    Ok(entries)
}

/// Committees of the round above the tip, and of the tip's own round unless the tip is the genesis block.
pub(super) fn committees(
    entries: &VecDeque<Entry>,
    rules: &Rules,
) -> Result<(Arc<Committees>, Option<Arc<Committees>>), ConsensusError> {
    let above = |entry: &Entry| {
        let seed = *entry.header.seed.inner();
        Arc::new(Committees::new(seed, entry.header.height + 1, entry.provisioners.clone(), rules.quorums()))
    };
    let mut newest = entries.iter().rev();
    let tip = newest.next().ok_or_else(|| damaged("there is no block"))?;
    let parent = newest.next();
    if parent.is_none() && tip.header.height > 0 {
        return Err(damaged(format!("the block below {} is missing", tip.header.height)));
    }
    Ok((above(tip), parent.map(above)))
}

/// State changes by the names of their records, as the store takes them.
pub(super) fn named(changes: &StateDiff) -> Vec<NamedChange> {
    changes.iter().map(|(key, value)| (key.to_bytes(), value.clone())).collect()
}

pub(super) fn commit_genesis(genesis: &Genesis, store: &L1Store, fence: &Fence) -> Result<(), ConsensusError> {
    let accepted = AcceptedBlock::genesis(&genesis.block()).map_err(ConsensusError::Encode)?;
    store.commit_block(
        fence,
        &BlockCommit {
            height: 0,
            hash: accepted.header.hash,
            record: accepted.encode().map_err(ConsensusError::Encode)?,
            transactions: Vec::new(),
            state: named(&genesis.state()),
            finality: Finality::genesis().encode(),
            ..Default::default()
        },
    )?;
    Ok(())
}
