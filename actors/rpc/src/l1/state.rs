//! What the settlement contracts hold after a block of the view.
//!
//! The L1 database has the state after its newest block, and for the blocks that are not final (and the last final one) what takes them
//! back: so the state after each block since the last final one can be read, and no older one.

use super::view::View;
use crate::chain::ReadError;
use alloy_primitives::{B256, U256};
use duskevm_dusk_l1::state::StateKey;
use duskevm_settlement::{Error, Storage, lux_to_wei};
use duskevm_store::l1::{L1Store, NamedChange};

/// Blocks that a state may lie below the newest one.
const MAX_DEPTH: u64 = 256;
/// How often a read begins again because a new block came in between.
const TRIES: usize = 8;

/// The state after one block. Valid as long as no block is added; [`read_at`] sees to that.
pub(crate) struct StateAt<'a> {
    store: &'a L1Store,
    /// What takes back the blocks above, oldest first.
    undo: Vec<Vec<NamedChange>>,
}

impl StateAt<'_> {
    fn record(&self, key: &StateKey) -> Result<Option<Vec<u8>>, ReadError> {
        let name = key.to_bytes();
        // The first block that changed it knows what it was before.
        for changes in &self.undo {
            if let Some((_, before)) = changes.iter().find(|(changed, _)| *changed == name) {
                return Ok(before.clone());
            }
        }
        Ok(self.store.state_record(&name)?)
    }

    /// What a contract owns, in wei of L2.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn balance(&self, contract: &B256) -> Result<U256, ReadError> {
        let Some(bytes) = self.record(&StateKey::ContractBalance(contract.0))? else { return Ok(U256::ZERO) };
        match <[u8; 8]>::try_from(bytes.as_slice()) {
            Ok(bytes) => Ok(lux_to_wei(u64::from_le_bytes(bytes))),
            Err(_) => Err(ReadError::Backend(format!("the balance of L1 contract {contract} does not decode"))),
        }
    }
}

impl Storage for StateAt<'_> {
    type Fault = ReadError;

    fn get(&self, contract: &B256, key: &[u8]) -> Result<Option<Vec<u8>>, Error<ReadError>> {
        self.record(&StateKey::ContractStorage(contract.0, key.to_vec())).map_err(Error::Host)
    }
}

/// What shows that blocks were added or taken back: the newest height, and the labels of the blocks that are not final.
fn mark(store: &L1Store) -> Result<(Option<u64>, Option<Vec<u8>>), ReadError> {
    Ok((store.tip()?, store.finality()?))
}

/// Reads the state after the view block `number`, whose hash is `hash`, and again if a block came in between.
///
/// # Errors
/// If that state is not kept, or the block is replaced meanwhile; else those of `read`.
pub(crate) fn read_at<T, E: From<ReadError>>(
    view: &View,
    number: u64,
    hash: B256,
    read: impl Fn(&StateAt<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let store = view.store();
    for _ in 0..TRIES {
        let before = mark(store)?;
        let tip = before.0.ok_or(ReadError::NotReady)?;
        let canonical = || Ok::<_, ReadError>(store.view_height(&hash.0)? == Some(number));
        if !canonical()? {
            return Err(ReadError::Reorged(format!("L1 block {number}")).into());
        }
        let undo = undo_above(store, number, tip);
        let answer = match undo {
            Ok(Some(undo)) => Some(read(&StateAt { store, undo })),
            Ok(None) => None,
            Err(error) => Some(Err(error.into())),
        };
        if mark(store)? == before && canonical()? {
            return answer.unwrap_or_else(|| Err(not_kept(number).into()));
        }
    }
    Err(ReadError::Reorged("the L1 state".to_owned()).into())
}

/// What takes back the blocks from `tip` down to the one above `number`, oldest first; `None` if it is not kept.
fn undo_above(store: &L1Store, number: u64, tip: u64) -> Result<Option<Vec<Vec<NamedChange>>>, ReadError> {
    if number > tip || tip - number > MAX_DEPTH {
        return Ok(None);
    }
    (number + 1..=tip).map(|height| Ok(store.undo(height)?)).collect()
}

fn not_kept(number: u64) -> ReadError {
    ReadError::NotKept(format!("the state of L1 block {number}"))
}
