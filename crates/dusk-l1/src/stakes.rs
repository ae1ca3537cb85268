//! A provisioner's stake, and what staking, unstaking, rewards and penalties do to it.
//!
//! Pure rules on one record, those of Dusk's stake contract (`stake`, `unstake`, `withdraw`, `reward`, `slash`,
//! `hard_slash`). Money moves and events are the caller's.

use serde::{Deserialize, Serialize};

use crate::keys::AccountId;

/// Smallest stake that counts: 1000 DUSK in lux.
pub const MINIMUM_STAKE: u64 = dusk_core::stake::DEFAULT_MINIMUM_STAKE;

/// Who may take the funds of a stake out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Owner {
    /// The provisioner's own key.
    #[default]
    Provisioner,
    /// Another account.
    Account(AccountId),
    /// A contract. No account can add to such a stake or take from it.
    Contract([u8; 32]),
}

impl Owner {
    /// The owner `account` of the stake of `provisioner`, in its one form.
    pub fn account(provisioner: &AccountId, account: AccountId) -> Self {
        if account == *provisioner { Self::Provisioner } else { Self::Account(account) }
    }
}

/// A provisioner's stake. All amounts in lux.
///
/// Nothing is staked when value, locked and eligibility are 0: a stake that exists has a later eligibility, except those
/// of the genesis, which have a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stake {
    /// Who may take the funds out.
    pub owner: Owner,
    /// Staked and counting as weight.
    pub value: u64,
    /// Staked but locked by penalties or top-ups: no weight, but part of what can be taken out.
    pub locked: u64,
    /// Rewards that have not been withdrawn.
    pub reward: u64,
    /// Height from which the stake counts.
    pub eligibility: u64,
    /// Soft faults since the last reward.
    pub faults: u8,
    /// Hard faults since the last reward.
    pub hard_faults: u8,
}

/// How penalties are dealt out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slashing {
    /// Hard faults burn a part of the stake.
    #[default]
    Full,
    /// Hard faults count as soft ones, as the published node does (`slash` of its `rusk.rs`).
    Relaxed,
}

/// What the rules on stakes depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StakeRules {
    /// Blocks of an epoch, at least 1.
    pub epoch: u64,
    /// Soft faults that have no consequence.
    pub warnings: u8,
    /// What hard faults do.
    pub slashing: Slashing,
}

impl Default for StakeRules {
    /// Dusk's epoch and warnings, full slashing.
    fn default() -> Self {
        Self {
            epoch: dusk_core::stake::EPOCH,
            warnings: dusk_core::stake::DEFAULT_STAKE_WARNINGS,
            slashing: Slashing::Full,
        }
    }
}

impl StakeRules {
    /// First height of the epoch after the one that `height` is in (`next_epoch` of `dusk-core`).
    pub fn next_epoch(&self, height: u64) -> u64 {
        let epoch = self.epoch.max(1);
        (height - height % epoch).saturating_add(epoch)
    }

    /// Height from which a stake made at `height` counts: a whole epoch lies between
    /// (`StakeAmount::eligibility_from_height`).
    pub fn maturity(&self, height: u64) -> u64 {
        self.next_epoch(height).saturating_add(self.epoch)
    }

    fn suspension(&self, height: u64, epochs: u64) -> u64 {
        self.next_epoch(height).saturating_add(epochs.saturating_mul(self.epoch))
    }
}

/// A penalty that was dealt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Penalty {
    /// Lux that were locked (`slash`) or burnt (`hard_slash`).
    pub lux: u64,
    /// Height from which the stake counts now.
    pub next_eligibility: u64,
}

/// An amount in its two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Part with weight.
    pub value: u64,
    /// Locked part.
    pub locked: u64,
}

/// Why a stake does not change as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StakeRefusal {
    /// Too little for a new stake.
    #[error("a new stake needs at least {MINIMUM_STAKE} lux, not {0}")]
    TooSmall(u64),
    /// Nothing to unstake.
    #[error("nothing is staked")]
    NothingStaked,
    /// More than there is.
    #[error("{asked} lux are more than the {have} that are there")]
    TooMuch {
        /// What was asked for.
        asked: u64,
        /// What is there.
        have: u64,
    },
    /// A rest that is too small to stay.
    #[error("{0} lux would stay staked: leave at least {MINIMUM_STAKE}, or take all")]
    RestTooSmall(u64),
    /// Withdrawing nothing.
    #[error("withdrawing nothing is not allowed")]
    Zero,
    /// Sums beyond 64 bits.
    #[error("the stake would exceed what 64 bits of lux can count")]
    Overflow,
}

impl Stake {
    /// Whether an amount is staked, be it used up by penalties.
    pub fn is_staked(&self) -> bool {
        self.value != 0 || self.locked != 0 || self.eligibility != 0
    }

    /// Lux that can be taken out: with weight and locked.
    pub fn total(&self) -> u64 {
        self.value.saturating_add(self.locked)
    }

    /// Whether neither stake nor reward is left, so that the record can go.
    pub fn is_spent(&self) -> bool {
        !self.is_staked() && self.reward == 0
    }

    /// Adds `lux`, or begins the stake with them. A tenth of what is added to a stake that counts already is locked.
    ///
    /// # Errors
    /// [`StakeRefusal::TooSmall`] for a beginning below the minimum, [`StakeRefusal::Overflow`].
    pub fn add(&mut self, rules: &StakeRules, height: u64, lux: u64) -> Result<Parts, StakeRefusal> {
        if !self.is_staked() {
            if lux < MINIMUM_STAKE {
                return Err(StakeRefusal::TooSmall(lux));
            }
            (self.value, self.eligibility) = (lux, rules.maturity(height));
            return Ok(Parts { value: lux, locked: 0 });
        }
        self.total().checked_add(lux).filter(|sum| *sum < u64::MAX).ok_or(StakeRefusal::Overflow)?;
        let locked = if height >= self.eligibility { lux / 10 } else { 0 };
        let parts = Parts { value: lux - locked, locked };
        self.value += parts.value;
        self.locked += parts.locked;
        Ok(parts)
    }

    /// Takes `lux` out, those with weight first.
    ///
    /// # Errors
    /// If there is not so much, or a rest below the minimum would stay.
    pub fn take(&mut self, lux: u64) -> Result<Parts, StakeRefusal> {
        if !self.is_staked() {
            return Err(StakeRefusal::NothingStaked);
        }
        let have = self.total();
        let rest = have.checked_sub(lux).ok_or(StakeRefusal::TooMuch { asked: lux, have })?;
        if rest != 0 && rest < MINIMUM_STAKE {
            return Err(StakeRefusal::RestTooSmall(rest));
        }
        let value = lux.min(self.value);
        let parts = Parts { value, locked: lux - value };
        self.value -= parts.value;
        self.locked -= parts.locked;
        if rest == 0 {
            self.eligibility = 0;
        }
        Ok(parts)
    }

    /// Takes `lux` of the rewards.
    ///
    /// # Errors
    /// [`StakeRefusal::Zero`], or [`StakeRefusal::TooMuch`].
    pub fn take_reward(&mut self, lux: u64) -> Result<(), StakeRefusal> {
        if lux == 0 {
            return Err(StakeRefusal::Zero);
        }
        self.reward = self.reward.checked_sub(lux).ok_or(StakeRefusal::TooMuch { asked: lux, have: self.reward })?;
        Ok(())
    }

    /// Adds a reward. Whoever earns one has done its duty: earlier faults are forgotten.
    pub fn earn(&mut self, lux: u64) {
        self.reward = self.reward.saturating_add(lux);
        (self.faults, self.hard_faults) = (0, 0);
    }

    /// A soft fault: the first ones are warnings, each further one suspends the stake for an epoch more and locks another
    /// tenth of the value. `None` if there is nothing to tell: no stake, or a warning.
    pub fn slash(&mut self, rules: &StakeRules, height: u64) -> Option<Penalty> {
        if !self.is_staked() {
            return None;
        }
        self.faults = self.faults.saturating_add(1);
        let effective = u64::from(self.faults.saturating_sub(rules.warnings));
        if effective == 0 {
            return None;
        }
        self.eligibility = rules.suspension(height, effective);
        let lux = tenths(self.value, effective);
        self.value -= lux;
        self.locked = self.locked.saturating_add(lux);
        Some(Penalty { lux, next_eligibility: self.eligibility })
    }

    /// A hard fault of some severity: suspends the stake and burns a tenth of the value, once for each hard fault so far. The
    /// burnt lux are gone from the record; the contract's balance is the caller's. `None` without a stake.
    pub fn hard_slash(&mut self, rules: &StakeRules, height: u64, severity: u8) -> Option<Penalty> {
        if !self.is_staked() {
            return None;
        }
        self.hard_faults = self.hard_faults.saturating_add(severity);
        let faults = u64::from(self.hard_faults);
        self.eligibility = rules.suspension(height, faults);
        let lux = tenths(self.value, faults);
        self.value -= lux;
        Some(Penalty { lux, next_eligibility: self.eligibility })
    }

    /// The storage form.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut out = match self.owner {
            Owner::Provisioner => vec![0],
            Owner::Account(id) => [&[1], id.as_bytes().as_slice()].concat(),
            Owner::Contract(id) => [&[2], id.as_slice()].concat(),
        };
        for number in [self.value, self.locked, self.reward, self.eligibility] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&[self.faults, self.hard_faults]);
        out
    }

    /// Reads the storage form.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        let (owner, rest) = match tag {
            0 => (Owner::Provisioner, rest),
            1 => {
                let (id, rest) = rest.split_first_chunk::<96>()?;
                (Owner::Account(AccountId::from_trusted(*id)), rest)
            }
            2 => {
                let (id, rest) = rest.split_first_chunk::<32>()?;
                (Owner::Contract(*id), rest)
            }
            _ => return None,
        };
        let (value, rest) = take_u64(rest)?;
        let (locked, rest) = take_u64(rest)?;
        let (reward, rest) = take_u64(rest)?;
        let (eligibility, rest) = take_u64(rest)?;
        let [faults, hard_faults] = *rest else { return None };
        Some(Self { owner, value, locked, reward, eligibility, faults, hard_faults })
    }
}

fn take_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*head), rest))
}

/// `times` tenths of whole hundreds, at most everything: the contract divides by 100 before it multiplies.
fn tenths(value: u64, times: u64) -> u64 {
    (value / 100).saturating_mul(times).saturating_mul(10).min(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::Signer;

    const DUSK: u64 = 1_000_000_000;
    const RULES: StakeRules = StakeRules { epoch: 2160, warnings: 1, slashing: Slashing::Full };

    fn staked(value: u64, eligibility: u64) -> Stake {
        Stake { value, eligibility, ..Stake::default() }
    }

    #[test]
    fn epochs_are_those_of_dusk() {
        for height in [0, 1, 2159, 2160, 2161, 4319, 1_000_000] {
            assert_eq!(RULES.next_epoch(height), dusk_core::stake::next_epoch(height));
            assert_eq!(RULES.maturity(height), dusk_core::stake::StakeData::eligibility_from_height(height));
        }
        assert_eq!(StakeRules { epoch: 10, ..RULES }.maturity(5), 20);
        assert_eq!(RULES.maturity(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_new_stake_needs_the_minimum_and_matures() {
        let mut stake = Stake::default();
        assert_eq!(stake.add(&RULES, 5, MINIMUM_STAKE - 1), Err(StakeRefusal::TooSmall(MINIMUM_STAKE - 1)));
        assert_eq!(stake, Stake::default());
        assert_eq!(stake.add(&RULES, 5, MINIMUM_STAKE), Ok(Parts { value: MINIMUM_STAKE, locked: 0 }));
        assert_eq!(stake, staked(MINIMUM_STAKE, 4320));
    }

    #[test]
    fn a_top_up_locks_a_tenth_once_the_stake_counts() {
        let mut stake = staked(MINIMUM_STAKE, 100);
        assert_eq!(stake.add(&RULES, 99, 15), Ok(Parts { value: 15, locked: 0 }));
        assert_eq!(stake.add(&RULES, 100, 15), Ok(Parts { value: 14, locked: 1 }));
        assert_eq!((stake.value, stake.locked, stake.eligibility), (MINIMUM_STAKE + 29, 1, 100));
        assert_eq!(stake.add(&RULES, 100, u64::MAX - 5), Err(StakeRefusal::Overflow));
    }

    #[test]
    fn unstaking_takes_weight_first_and_leaves_the_minimum_or_nothing() {
        let mut stake = Stake { locked: 50, reward: 3, ..staked(2 * MINIMUM_STAKE, 7) };
        let total = 2 * MINIMUM_STAKE + 50;
        assert_eq!(stake.take(total + 1), Err(StakeRefusal::TooMuch { asked: total + 1, have: total }));
        assert_eq!(stake.take(MINIMUM_STAKE + 51), Err(StakeRefusal::RestTooSmall(MINIMUM_STAKE - 1)));
        assert_eq!(stake.take(MINIMUM_STAKE), Ok(Parts { value: MINIMUM_STAKE, locked: 0 }));
        assert_eq!(stake.take(MINIMUM_STAKE + 50), Ok(Parts { value: MINIMUM_STAKE, locked: 50 }));
        assert!(!stake.is_staked() && !stake.is_spent());
        assert_eq!(stake.take(1), Err(StakeRefusal::NothingStaked));
        assert_eq!(stake.take_reward(0), Err(StakeRefusal::Zero));
        assert_eq!(stake.take_reward(4), Err(StakeRefusal::TooMuch { asked: 4, have: 3 }));
        assert_eq!(stake.take_reward(3), Ok(()));
        assert!(stake.is_spent());
    }

    /// The figures of the stake contract's own test of soft penalties, at height 0.
    #[test]
    fn soft_faults_warn_then_suspend_and_lock() {
        let mut stake = staked(100 * DUSK, 1);
        assert_eq!(stake.slash(&RULES, 0), None, "the first one is a warning");
        assert_eq!((stake.faults, stake.value, stake.eligibility), (1, 100 * DUSK, 1));
        assert_eq!(stake.slash(&RULES, 0), Some(Penalty { lux: 10 * DUSK, next_eligibility: 4320 }));
        assert_eq!(stake.slash(&RULES, 0), Some(Penalty { lux: 18 * DUSK, next_eligibility: 6480 }));
        assert_eq!((stake.value, stake.locked), (72 * DUSK, 28 * DUSK));
        stake.earn(5);
        assert_eq!((stake.faults, stake.reward), (0, 5));
        assert_eq!(stake.slash(&RULES, 0), None, "a reward forgives");
        assert_eq!(Stake::default().slash(&RULES, 0), None);
    }

    #[test]
    fn soft_faults_never_lock_more_than_there_is() {
        let mut stake = Stake { faults: 200, ..staked(u64::MAX / 2, 1) };
        let penalty = stake.slash(&RULES, 1).unwrap();
        assert_eq!((penalty.lux, stake.value, stake.locked), (u64::MAX / 2, 0, u64::MAX / 2));
        assert!(stake.is_staked());
        stake.faults = u8::MAX;
        let again = stake.slash(&RULES, 1).unwrap();
        assert_eq!((again.lux, stake.faults), (0, u8::MAX));
    }

    #[test]
    fn hard_faults_burn_by_severity() {
        let mut stake = staked(100 * DUSK, 1);
        assert_eq!(stake.hard_slash(&RULES, 1, 1), Some(Penalty { lux: 10 * DUSK, next_eligibility: 4320 }));
        assert_eq!(stake.hard_slash(&RULES, 1, 2), Some(Penalty { lux: 27 * DUSK, next_eligibility: 8640 }));
        assert_eq!((stake.value, stake.locked, stake.hard_faults), (63 * DUSK, 0, 3));
        // A stake that was burnt to nothing is still a stake: what is added to it needs no minimum.
        let mut burnt = Stake { hard_faults: 20, ..staked(1000, 1) };
        assert_eq!(burnt.hard_slash(&RULES, 1, 1).unwrap().lux, 1000);
        assert!(burnt.is_staked() && burnt.total() == 0);
        assert!(burnt.add(&RULES, 1, 1).is_ok());
        assert_eq!(Stake::default().hard_slash(&RULES, 1, 2), None);
    }

    #[test]
    fn an_owner_has_one_form() {
        let [a, b] = [b"a", b"b"].map(|seed| Signer::from_seed(seed).id());
        assert_eq!(Owner::account(&a, a), Owner::Provisioner);
        assert_eq!(Owner::account(&a, b), Owner::Account(b));
    }

    fn stakes() -> impl Strategy<Value = Stake> {
        let owner = prop_oneof![
            Just(Owner::Provisioner),
            Just(Owner::Account(Signer::from_seed(b"o").id())),
            any::<[u8; 32]>().prop_map(Owner::Contract),
        ];
        (owner, any::<[u64; 4]>(), any::<[u8; 2]>()).prop_map(
            |(owner, [value, locked, reward, eligibility], [faults, hard_faults])| Stake {
                owner,
                value,
                locked,
                reward,
                eligibility,
                faults,
                hard_faults,
            },
        )
    }

    proptest! {
        #[test]
        fn records_round_trip(stake in stakes(), rest in any::<u8>()) {
            let bytes = stake.to_bytes();
            prop_assert_eq!(Stake::from_bytes(&bytes), Some(stake));
            prop_assert_eq!(Stake::from_bytes(&bytes[..bytes.len() - 1]), None);
            prop_assert_eq!(Stake::from_bytes(&[&bytes[..], &[rest]].concat()), None);
        }

        /// No lux appear or vanish by themselves, whatever is done in whatever order.
        #[test]
        fn lux_are_conserved(steps in prop::collection::vec((0u8..6, 0u64..4000, 0u64..9000), 1..40)) {
            let (mut stake, mut inside) = (Stake::default(), 0u64);
            for (kind, dusk, height) in steps {
                let lux = dusk * DUSK + height;
                match kind {
                    0 | 1 => if let Ok(parts) = stake.add(&RULES, height, lux) {
                        prop_assert_eq!(parts.value + parts.locked, lux);
                        inside += lux;
                    },
                    2 => if let Ok(parts) = stake.take(lux) {
                        prop_assert_eq!(parts.value + parts.locked, lux);
                        inside -= lux;
                    },
                    3 => { stake.slash(&RULES, height); }
                    4 => inside -= stake.hard_slash(&RULES, height, 1).map_or(0, |penalty| penalty.lux),
                    _ => stake.earn(lux),
                }
                prop_assert_eq!(stake.total(), inside);
            }
        }
    }
}
