//! Rolling finality: how blocks ripen from accepted to final.
//!
//! The exact rule of the published node. A block reached without a failed, unattested iteration is *attested*; every
//! further attested block confirms the ones below it; what is confirmed on top of the last final block is final. When
//! every block is attested, a block is final as soon as its successor exists.

use std::collections::VecDeque;

/// How ripe a block is. The numbers are those of Dusk's labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// Iterations before it failed without attestation; needs this many stable successors.
    Accepted(u64),
    /// Needs this many stable successors (one).
    Attested(u64),
    /// Had enough successors after this many blocks.
    Confirmed(u64),
    /// Can never be replaced; was final after this many blocks.
    Final(u64),
}

/// The labels of the blocks above the last final one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finality {
    last_final: u64,
    /// Labels of heights `last_final + 1 ..= tip`.
    labels: VecDeque<Label>,
}

impl Default for Finality {
    fn default() -> Self {
        Self::genesis()
    }
}

impl Finality {
    /// Only the genesis block exists, and it is final.
    pub fn genesis() -> Self {
        Self { last_final: 0, labels: VecDeque::new() }
    }

    /// The labels of a chain whose blocks up to `last_final` are final and whose blocks above were reached with these numbers of
    /// unattested iterations. After blocks were taken back, the labels below are those that the remaining blocks alone
    /// give: the published node keeps what the others had confirmed.
    pub fn replay(last_final: u64, unattested: impl IntoIterator<Item = u8>) -> Self {
        let mut finality = Self { last_final, labels: VecDeque::new() };
        for count in unattested {
            finality.accept(count);
        }
        finality
    }

    pub(crate) fn from_parts(last_final: u64, labels: VecDeque<Label>) -> Self {
        Self { last_final, labels }
    }

    /// Labels of the blocks above the last final one, in ascending order.
    pub(crate) fn labels(&self) -> impl Iterator<Item = Label> {
        self.labels.iter().copied()
    }

    /// Height of the newest final block.
    pub fn last_final(&self) -> u64 {
        self.last_final
    }

    /// Height of the newest block.
    pub fn tip(&self) -> u64 {
        self.last_final + self.labels.len() as u64
    }

    /// Label of a block above the last final one.
    pub fn label(&self, height: u64) -> Option<Label> {
        let index = height.checked_sub(self.last_final + 1)?;
        self.labels.get(usize::try_from(index).ok()?).copied()
    }

    /// Takes the block after the tip, reached with `unattested` failed iterations that nobody attested (PNI). Returns
    /// the labels that changed, the new block's own included.
    pub fn accept(&mut self, unattested: u8) -> Vec<(u64, Label)> {
        let height = self.tip() + 1;
        if unattested > 0 {
            let label = Label::Accepted(2 * u64::from(unattested));
            self.labels.push_back(label);
            return vec![(height, label)];
        }
        let mut changes = vec![(height, Label::Attested(1))];
        let mut stable = 1;
        for (index, label) in self.labels.iter_mut().enumerate().rev() {
            let at = self.last_final + 1 + index as u64;
            match *label {
                Label::Accepted(needed) | Label::Attested(needed) if stable >= needed => {
                    *label = Label::Confirmed(height - at);
                    changes.push((at, *label));
                    stable += 1;
                }
                Label::Accepted(_) | Label::Attested(_) => break,
                Label::Confirmed(_) | Label::Final(_) => stable += 1,
            }
        }
        while let Some(Label::Confirmed(_)) = self.labels.front() {
            self.labels.pop_front();
            self.last_final += 1;
            let label = Label::Final(height - self.last_final);
            changes.retain(|(at, _)| *at != self.last_final);
            changes.push((self.last_final, label));
        }
        self.labels.push_back(Label::Attested(1));
        changes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_block_behind_in_the_good_case() {
        let mut finality = Finality::genesis();
        assert_eq!(finality.accept(0), [(1, Label::Attested(1))]);
        for height in 2..10 {
            let changes = finality.accept(0);
            assert_eq!(changes, [(height, Label::Attested(1)), (height - 1, Label::Final(1))]);
            assert_eq!((finality.last_final(), finality.tip()), (height - 1, height));
        }
    }

    #[test]
    fn an_accepted_block_waits_for_twice_its_gap() {
        let mut finality = Finality::genesis();
        finality.accept(0);
        assert_eq!(finality.accept(2), [(2, Label::Accepted(4))]);
        assert_eq!(finality.last_final(), 0, "an unattested block confirms nothing");
        // Block 3 is attested but only one stable block stands on 2.
        finality.accept(0);
        assert_eq!(finality.label(2), Some(Label::Accepted(4)));
        finality.accept(0);
        finality.accept(0);
        assert_eq!(finality.label(4), Some(Label::Confirmed(1)));
        assert_eq!(finality.last_final(), 0);
        // 6 is the fourth stable successor of 2: 2 and, below it, 1 become final, then everything up to 5.
        finality.accept(0);
        assert_eq!(finality.last_final(), 5);
        assert_eq!(finality.tip(), 6);
    }

    proptest! {
        #[test]
        fn final_never_goes_back_and_stays_below_the_tip(pnis in prop::collection::vec(0u8..4, 1..60)) {
            let mut finality = Finality::genesis();
            for (i, pni) in pnis.iter().enumerate() {
                let before = finality.last_final();
                finality.accept(*pni);
                prop_assert_eq!(finality.tip(), i as u64 + 1);
                prop_assert!(finality.last_final() >= before);
                prop_assert!(finality.last_final() < finality.tip());
            }
        }

        /// Taking blocks back and growing others is as if the first ones had never been.
        #[test]
        fn replaying_gives_the_labels_of_the_remaining_blocks(
            pnis in prop::collection::vec(0u8..4, 1..60),
            back in 0usize..10,
        ) {
            let history: Vec<Finality> = pnis
                .iter()
                .scan(Finality::genesis(), |finality, pni| {
                    finality.accept(*pni);
                    Some(finality.clone())
                })
                .collect();
            let now = history.last().cloned().unwrap_or_default();
            let last_final = usize::try_from(now.last_final()).unwrap();
            prop_assert_eq!(&Finality::replay(now.last_final(), pnis[last_final..].iter().copied()), &now);

            // Only what is not final can go.
            let kept = pnis.len() - back.min(pnis.len() - last_final);
            let replayed = Finality::replay(now.last_final(), pnis[last_final..kept].iter().copied());
            prop_assert_eq!(replayed.tip(), kept as u64);
            prop_assert_eq!(replayed.last_final(), now.last_final());
            for height in last_final + 1..=kept {
                let then = &history[kept - 1];
                prop_assert_eq!(replayed.label(height as u64), then.label(height as u64));
            }
        }
    }
}
