//! A nonce of the Dusk account, and all that was ever signed for it: only one of it can be included.

use crate::{
    action::TxStatus,
    record::{Attempt, Role},
};
use alloy_primitives::B256;
use std::collections::HashMap;

/// Transactions that are signed for one nonce at most.
pub(crate) const MAX_ATTEMPTS: usize = 64;

/// What is to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) role: Role,
    pub(crate) gas_price: u64,
}

/// Where the newest attempt stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Not submitted, or lost.
    Unsent,
    /// L1 has it since this block.
    Sent { since: u64 },
    /// One of the attempts is in a block that is not on disk yet.
    Executed { attempt: usize },
    /// One of the attempts is in a block.
    Included { attempt: usize, height: u64, is_final: bool, failed: bool },
}

#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) nonce: u64,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) wanted: Option<Wanted>,
    pub(crate) state: State,
    /// Does the plan need it: what it does, or at least that its nonce is used? What is not needed is not submitted again.
    pub(crate) is_planned: bool,
}

/// What an observation shows of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    /// An attempt has failed on L1.
    Failed {
        attempt: usize,
        why: String,
    },
    /// Something that is not known here used its nonce.
    Stolen,
}

impl Step {
    pub(crate) const fn new(nonce: u64) -> Self {
        Self { nonce, attempts: Vec::new(), wanted: None, state: State::Unsent, is_planned: false }
    }

    /// What the newest signed transaction does.
    pub(crate) fn role(&self) -> Option<&Role> {
        self.attempts.last().map(|attempt| &attempt.role)
    }

    /// What is in a block, or surely will be.
    pub(crate) fn done(&self) -> Option<&Role> {
        match self.state {
            State::Included { attempt, failed: false, .. } | State::Executed { attempt } => {
                self.attempts.get(attempt).map(|attempt| &attempt.role)
            }
            State::Included { .. } | State::Unsent | State::Sent { .. } => None,
        }
    }

    /// Did it bring blobs in a block that is at least `life` blocks old at block `now`? L1 may not know them any more.
    pub(crate) fn has_stale_blobs(&self, now: u64, life: u64) -> bool {
        let State::Included { height, .. } = self.state else { return false };
        matches!(self.done(), Some(Role::Blobs(_))) && now.saturating_sub(height) >= life
    }

    /// Is its nonce used in a block that can never be replaced?
    pub(crate) const fn is_final(&self) -> bool {
        matches!(self.state, State::Included { is_final: true, .. })
    }

    /// The highest price that was ever offered.
    pub(crate) fn price(&self) -> u64 {
        self.attempts.iter().map(|attempt| attempt.gas_price).max().unwrap_or_default()
    }

    pub(crate) const fn is_used(&self) -> bool {
        matches!(self.state, State::Executed { .. } | State::Included { .. })
    }

    /// L1 at block `height` says this; the nonce of the account is `used`.
    pub(crate) fn observe(&mut self, height: u64, used: u64, seen: &HashMap<B256, TxStatus>) -> Change {
        let statuses: Vec<_> = self.attempts.iter().filter_map(|attempt| seen.get(&attempt.id)).collect();
        if statuses.len() < self.attempts.len() {
            // Signed after L1 was looked at.
            return Change::Nothing;
        }
        for (attempt, status) in statuses.iter().enumerate() {
            let TxStatus::Included { height, is_final, error } = status else { continue };
            let was = matches!(self.state, State::Included { attempt: before, .. } if before == attempt);
            self.state = State::Included { attempt, height: *height, is_final: *is_final, failed: error.is_some() };
            self.wanted = None;
            return match error {
                Some(why) if !was => Change::Failed { attempt, why: why.clone() },
                _ => Change::Nothing,
            };
        }
        if self.nonce <= used {
            // A mempool drops the others with this nonce when one of them is executed.
            if let Some(attempt) = statuses.iter().rposition(|status| matches!(status, TxStatus::Waiting)) {
                self.state = State::Executed { attempt };
                self.wanted = None;
                return Change::Nothing;
            }
            return Change::Stolen;
        }
        self.state = match (&self.state, statuses.last()) {
            (State::Sent { since }, Some(TxStatus::Waiting)) => State::Sent { since: *since },
            (_, Some(TxStatus::Waiting)) => State::Sent { since: height },
            _ => State::Unsent,
        };
        Change::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_attempts_the_one_that_l1_has_is_done() {
        let attempt = |role, id| Attempt { role, gas_limit: 1, gas_price: u64::from(id), id: B256::repeat_byte(id) };
        let blobs = Role::Blobs(vec![B256::ZERO]);
        let attempts = vec![attempt(blobs.clone(), 1), attempt(Role::Call(B256::ZERO), 2)];
        let mut step = Step { attempts, ..Step::new(1) };
        let newer = (B256::repeat_byte(2), TxStatus::Unknown);
        // In a block that is not on disk, then in one that is.
        let included = TxStatus::Included { height: 5, is_final: false, error: None };
        for status in [TxStatus::Waiting, included] {
            let seen = [(B256::repeat_byte(1), status), newer.clone()].into();
            assert_eq!(step.observe(5, 1, &seen), Change::Nothing);
            assert_eq!(step.done(), Some(&blobs));
        }
    }
}
