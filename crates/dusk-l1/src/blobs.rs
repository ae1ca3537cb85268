//! Which blobs came to the chain lately.
//!
//! Contracts may ask for it, so it is part of the state. The record of a blob goes when the blob is [`WINDOW`] blocks old; one that
//! comes again is as young as its last block.

use crate::state::{Overlay, StateError, StateKey, StateRead};

/// For so many blocks after its own a blob counts as there: an epoch, six hours of Dusk's blocks.
pub const WINDOW: u64 = 2_160;

fn damaged(what: String) -> StateError {
    StateError { what, reason: "the record does not decode".into() }
}

/// Height of the last block with this blob, if that was at most [`WINDOW`] blocks ago.
///
/// # Errors
/// If the state cannot be read.
pub fn last_seen<S: StateRead + ?Sized>(state: &S, hash: &[u8; 32]) -> Result<Option<u64>, StateError> {
    let Some(bytes) = state.read(&StateKey::Blob(*hash))? else { return Ok(None) };
    let height = bytes.try_into().map_err(|_| damaged("a blob".into()))?;
    Ok(Some(u64::from_le_bytes(height)))
}

/// Records the blobs of a transaction in the block at `height`.
pub(crate) fn record<S: StateRead + ?Sized>(
    state: &mut Overlay<'_, S>,
    height: u64,
    hashes: impl IntoIterator<Item = [u8; 32]>,
) -> Result<(), StateError> {
    let list_key = StateKey::BlobsAt(height);
    let mut list = state.read(&list_key)?.unwrap_or_default();
    for hash in hashes {
        if last_seen(state, &hash)? != Some(height) {
            state.write(StateKey::Blob(hash), Some(height.to_le_bytes().to_vec()));
            list.extend_from_slice(&hash);
        }
    }
    state.write(list_key, Some(list));
    Ok(())
}

/// Ends the block at `height`: the blobs that were last seen [`WINDOW`] blocks ago are forgotten.
pub(crate) fn forget<S: StateRead + ?Sized>(state: &mut Overlay<'_, S>, height: u64) -> Result<(), StateError> {
    let Some(old) = height.checked_sub(WINDOW) else { return Ok(()) };
    let list_key = StateKey::BlobsAt(old);
    let Some(list) = state.read(&list_key)? else { return Ok(()) };
    let (hashes, rest) = list.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(damaged(format!("the blobs of block {old}")));
    }
    for hash in hashes {
        if last_seen(state, hash)? == Some(old) {
            state.write(StateKey::Blob(*hash), None);
        }
    }
    state.write(list_key, None);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::MemoryState;

    /// Runs one block and applies what it changed; returns what takes it back.
    fn block(state: &mut MemoryState, height: u64, blobs: &[&[u8]]) -> crate::state::StateDiff {
        let mut overlay = Overlay::new(&*state);
        for tx in blobs {
            record(&mut overlay, height, tx.iter().map(|seed| [*seed; 32])).unwrap();
        }
        forget(&mut overlay, height).unwrap();
        let diff = overlay.into_diff();
        state.apply(&diff).unwrap()
    }

    fn seen(state: &MemoryState, seed: u8) -> Option<u64> {
        last_seen(state, &[seed; 32]).unwrap()
    }

    #[test]
    fn blobs_count_for_a_window_and_leave_nothing_behind() {
        let mut state = MemoryState::default();
        block(&mut state, 5, &[&[1, 2], &[3, 1]]);
        assert_eq!([1, 2, 3, 4].map(|seed| seen(&state, seed)), [Some(5), Some(5), Some(5), None]);
        assert_eq!(state.len(), 4, "three blobs and one list");
        block(&mut state, 5 + WINDOW - 1, &[]);
        assert_eq!(seen(&state, 1), Some(5), "the next block still sees it");
        block(&mut state, 5 + WINDOW, &[]);
        assert_eq!(seen(&state, 1), None);
        assert!(state.is_empty());
    }

    #[test]
    fn a_blob_that_comes_again_stays() {
        let mut state = MemoryState::default();
        block(&mut state, 5, &[&[1, 2]]);
        block(&mut state, 9, &[&[2]]);
        block(&mut state, 5 + WINDOW, &[]);
        assert_eq!((seen(&state, 1), seen(&state, 2)), (None, Some(9)));
        block(&mut state, 9 + WINDOW, &[]);
        assert!(state.is_empty());
    }

    #[test]
    fn a_block_that_is_taken_back_takes_its_blobs_along() {
        let mut state = MemoryState::default();
        block(&mut state, 5, &[&[1]]);
        let root = state.root();
        let undo = block(&mut state, 6, &[&[1, 2]]);
        assert_eq!(seen(&state, 1), Some(6));
        state.apply(&undo).unwrap();
        assert_eq!((state.root(), seen(&state, 1), seen(&state, 2)), (root, Some(5), None));
        let undo = block(&mut state, 5 + WINDOW, &[]);
        state.apply(&undo).unwrap();
        assert_eq!(state.root(), root);
    }

    #[test]
    fn damaged_records_are_noticed() {
        let of = |key: StateKey| MemoryState::from_records([(key.to_bytes(), vec![1, 2, 3])]).unwrap();
        assert!(last_seen(&of(StateKey::Blob([7; 32])), &[7; 32]).is_err());
        let state = of(StateKey::BlobsAt(0));
        assert!(forget(&mut Overlay::new(&state), WINDOW).is_err());
    }
}
