//! Whether the L1 database holds what its tip says.

use std::collections::BTreeSet;

use duskevm_dusk_l1::block::header_hash;
use duskevm_dusk_l1::finality::Finality;
use duskevm_dusk_l1::record::AcceptedBlock;
use duskevm_dusk_l1::state::MemoryState;
use duskevm_l1_view::ViewBlock;
use duskevm_store::db::DbError;
use duskevm_store::l1::{L1Store, L1StoreError};

use crate::cli::DbReport;

/// Reads every block with its place by hash, the view of each, the newest state and what is final.
///
/// # Errors
/// If the database cannot be read any further.
pub(super) fn check(store: &L1Store, of: &str, report: &mut DbReport) -> Result<(), L1StoreError> {
    let mut problems = BTreeSet::new();
    let Some(tip) = store.tip()? else { return Ok(()) };
    let mut parent = None;
    let mut newest = None;
    for height in 0..=tip {
        let decoded = match damage(store.block(height))? {
            Ok(Some(record)) => AcceptedBlock::decode(&record).map_err(|error| error.to_string()),
            Ok(None) => Err("is missing".to_owned()),
            Err(damage) => Err(damage),
        };
        let wrong = match decoded {
            Err(wrong) => {
                parent = None;
                Some(wrong)
            }
            Ok(block) => {
                let header = &block.header;
                let is_filed = damage(store.block_height(&header.hash))? == Ok(Some(height));
                let wrong = if header_hash(header).ok() != Some(header.hash) || header.height != height {
                    Some("does not hash to its own hash")
                } else if parent.is_some_and(|parent| parent != header.prev_block_hash) {
                    Some("does not name the block below as its parent")
                } else if !is_filed {
                    Some("is not found by its hash")
                } else {
                    None
                };
                parent = Some(header.hash);
                newest = Some(block);
                wrong.map(str::to_owned)
            }
        };
        problems.extend(wrong.map(|wrong| (height, wrong)));
    }
    if let Some(newest) = newest.filter(|block| block.header.height == tip) {
        let wrong = match damage(store.state())? {
            Ok(records) => match MemoryState::from_records(records) {
                Ok(state) if state.root().0 == newest.header.state_hash => None,
                Ok(_) => Some("the state has another root than this block names".to_owned()),
                Err(error) => Some(error.to_string()),
            },
            Err(damage) => Some(damage),
        };
        problems.extend(wrong.map(|wrong| (tip, wrong)));
    }
    let last = damage(store.finality())?.map(|bytes| Finality::decode(&bytes.unwrap_or_default()));
    let wrong = match last {
        Ok(Ok(finality)) if finality.tip() == tip => None,
        Ok(Ok(finality)) => Some(format!("the labels of finality end at {}", finality.tip())),
        Ok(Err(error)) => Some(error.to_string()),
        Err(damage) => Some(damage),
    };
    problems.extend(wrong.map(|wrong| (tip, wrong)));
    if let Some(view_tip) = store.view_tip()? {
        let (mut parent, mut views) = (None, 0u64);
        for height in 0..=view_tip {
            // The view begins where the rollup does.
            let found = damage(store.view(height))?;
            let wrong = match found {
                Ok(None) if views == 0 => continue,
                Ok(None) => Some("is missing".to_owned()),
                Ok(Some(bytes)) => match ViewBlock::decode(&bytes) {
                    Ok(view) => {
                        let wrong = parent.is_some_and(|parent| parent != view.header.parent_hash);
                        parent = Some(view.hash());
                        wrong.then(|| "does not name the block below as its parent".to_owned())
                    }
                    Err(error) => Some(error.to_string()),
                },
                Err(damage) => Some(damage),
            };
            views += 1;
            if let Some(wrong) = wrong {
                parent = None;
                problems.insert((height, format!("its Ethereum-shaped view {wrong}")));
            }
        }
    }
    let told = problems.into_iter().map(|(height, wrong)| format!("L1 block {height}{of}: {wrong}"));
    report.add_problems(&format!("L1 blocks{of}"), told);
    Ok(())
}

/// A record that cannot be read is a finding; a disk that fails is none.
fn damage<T>(read: Result<T, L1StoreError>) -> Result<Result<T, String>, L1StoreError> {
    match read {
        Ok(value) => Ok(Ok(value)),
        Err(L1StoreError::Db(DbError::Damaged { what, .. })) => Ok(Err(what)),
        Err(error) => Err(error),
    }
}
