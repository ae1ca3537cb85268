//! `eth_getTransactionCount`: the highest nonce of a signer's envelopes plus one.
//!
//! L1 does not count them (the batch inbox takes envelopes in any order), so they are looked for in the view from its first block on. What
//! was found up to the last final block is remembered for the signers that are asked for, so that this is done once.

use super::L1Api;
use crate::{error::RpcError, workers::Cancel};
use alloy_consensus::{EMPTY_ROOT_HASH, Transaction as _};
use alloy_eips::BlockId;
use alloy_primitives::{Address, B256};
use parking_lot::Mutex;
use std::collections::VecDeque;

/// Signers that are remembered; the one that was asked for longest ago goes first.
const REMEMBERED: usize = 256;

/// What is known of some signers.
#[derive(Debug, Default)]
pub(crate) struct Nonces {
    known: Mutex<VecDeque<Known>>,
}

/// The envelopes of a signer up to a block.
#[derive(Debug, Clone, Copy)]
struct Known {
    signer: Address,
    /// Number and hash of the last block that was searched.
    upto: (u64, B256),
    next: u64,
}

impl Nonces {
    fn get(&self, signer: Address) -> Option<Known> {
        self.known.lock().iter().find(|known| known.signer == signer).copied()
    }

    fn remember(&self, found: Known) {
        let mut known = self.known.lock();
        known.retain(|other| other.signer != found.signer);
        if known.len() == REMEMBERED {
            known.pop_front();
        }
        known.push_back(found);
    }
}

/// The next nonce of a signer after a block.
///
/// # Errors
/// If it takes too long, which remembers what was found by then; if a block cannot be read.
pub(super) fn count(api: &L1Api, signer: Address, block: BlockId, cancel: &Cancel) -> Result<u64, RpcError> {
    let cancel = cancel.within(api.limits.call_timeout());
    let target = api.view.block_of(block)?.ok_or_else(|| RpcError::server("header not found"))?.view.number();
    let finalized = api.view.heads()?.finalized.number;
    let mut next = 0;
    let mut first = 0;
    if let Some(known) = api.nonces.get(signer).filter(|known| known.upto.0 <= target)
        // A view that was made anew may be another one.
        && api.view.header_at(known.upto.0)?.is_some_and(|header| header.hash() == known.upto.1)
    {
        (first, next) = (known.upto.0 + 1, known.next);
    }
    for number in first..=target {
        let Some(header) = api.view.header_at(number)? else { return Err(RpcError::server("header not found")) };
        if header.transactions_root != EMPTY_ROOT_HASH
            && let Some(block) = api.view.block_at(number)?
        {
            for (index, tx) in block.view.transactions.iter().enumerate() {
                if block.sender(index) == signer {
                    next = next.max(tx.envelope.nonce().saturating_add(1));
                }
            }
        }
        let late = cancel.is_cancelled();
        // Others stay as they are until they are final, or for ever.
        if number == finalized.min(target) || (late && number < finalized) {
            api.nonces.remember(Known { signer, upto: (number, header.hash()), next });
        }
        if late && number < target {
            return Err(RpcError::server(format!(
                "request timed out: the envelopes of {signer} were counted up to L1 block {number} of {target}; ask again to go on"
            )));
        }
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signer_that_was_asked_for_longest_ago_goes_first() {
        let nonces = Nonces::default();
        let signer = |index: usize| Address::from_word(B256::from(alloy_primitives::U256::from(index)));
        for index in 0..REMEMBERED {
            nonces.remember(Known { signer: signer(index), upto: (1, B256::ZERO), next: 1 });
        }
        nonces.remember(Known { signer: signer(0), upto: (2, B256::ZERO), next: 5 });
        nonces.remember(Known { signer: signer(REMEMBERED), upto: (1, B256::ZERO), next: 1 });
        assert_eq!(nonces.get(signer(0)).map(|known| (known.upto.0, known.next)), Some((2, 5)));
        assert!(nonces.get(signer(1)).is_none());
        assert_eq!(nonces.known.lock().len(), REMEMBERED);
    }
}
