//! What the executor found invalid.

use alloy_primitives::B256;
use std::collections::VecDeque;

/// So many invalid blocks are remembered.
const MAX_INVALID: usize = 16;

/// Why a block is invalid, in the executor's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Which rule was broken, by the block or an ancestor.
    pub why: String,
    /// Its nearest ancestor that is valid; `None` if that one is not known any more.
    pub latest_valid: Option<B256>,
}

/// Invalid blocks, the newest [`MAX_INVALID`].
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    oldest_first: VecDeque<(B256, Verdict)>,
}

impl Verdicts {
    pub(super) fn get(&self, hash: &B256) -> Option<&Verdict> {
        self.oldest_first.iter().find(|(known, _)| known == hash).map(|(_, verdict)| verdict)
    }

    pub(super) fn note(&mut self, hash: B256, verdict: Verdict) {
        self.oldest_first.retain(|(known, _)| *known != hash);
        while self.oldest_first.len() >= MAX_INVALID {
            self.oldest_first.pop_front();
        }
        self.oldest_first.push_back((hash, verdict));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_16_are_remembered_and_each_once() {
        let verdict = |why: u8| Verdict { why: why.to_string(), latest_valid: None };
        let mut verdicts = Verdicts::default();
        for number in 0..40 {
            verdicts.note(B256::repeat_byte(number), verdict(0));
            verdicts.note(B256::repeat_byte(number), verdict(number));
        }
        for number in 0..40 {
            let known = verdicts.get(&B256::repeat_byte(number)).cloned();
            assert_eq!(known, (number >= 24).then(|| verdict(number)));
        }
    }
}
