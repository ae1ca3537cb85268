//! Block rewards: emission and fees, and how they are shared.

use dusk_core::stake::{Reward as DuskReward, RewardReason};

use crate::keys::{AccountId, KeyError};

/// One share of a block's reward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reward {
    /// Whose stake record earns it.
    pub account: AccountId,
    /// Amount.
    pub lux: u64,
    /// For what.
    pub reason: RewardReason,
}

impl Reward {
    pub(crate) fn to_dusk(&self) -> Result<DuskReward, KeyError> {
        Ok(DuskReward { account: self.account.public_key()?, value: self.lux, reason: self.reason.clone() })
    }
}

/// Credits of one committee of 64.
pub const COMMITTEE_CREDITS: u64 = 64;

/// New lux of a block: halves about every four years at ten seconds a block.
pub const fn emission(height: u64) -> u64 {
    match height {
        0 => 0,
        1..=12_614_400 => 19_857_400_000,
        12_614_401..=25_228_800 => 9_928_700_000,
        25_228_801..=37_843_200 => 4_964_350_000,
        37_843_201..=50_457_600 => 2_482_180_000,
        50_457_601..=63_072_000 => 1_241_090_000,
        63_072_001..=75_686_400 => 620_540_000,
        75_686_401..=88_300_800 => 310_270_000,
        88_300_801..=100_915_200 => 155_140_000,
        100_915_201..=113_529_596 => 77_570_000,
        113_529_597 => 54_280_000,
        _ => 0,
    }
}

/// A block that cannot be rewarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("block {0} has no voters to reward: the certificate of its parent is empty")]
pub struct NoVoters(pub u64);

/// Credits without which there is no certificate: the quorums of both steps.
const QUORUM_CREDITS: u64 = 86;

/// Shares of block `height` with `fees` lux: seven tenths to the generator, a tenth to the treasury, a tenth to the generator
/// for a well-attended certificate, a tenth among the voters of the previous block's certificate by their credits. What cannot
/// be divided evenly is not minted.
///
/// The order is the published one, because the `reward` event carries the whole list (`reward` of the published `rusk.rs`): the
/// generator's fixed share, the treasury's, the generator's extra share unless it is zero, then every voter in the given
/// order (ascending by key), zero or not.
///
/// # Errors
/// [`NoVoters`] above height 1, whose parent has no certificate.
pub fn rewards(
    height: u64,
    fees: u64,
    treasury: AccountId,
    generator: AccountId,
    voters: &[(AccountId, u32)],
) -> Result<Vec<Reward>, NoVoters> {
    let total = emission(height).saturating_add(fees);
    let tenth = total / 10;
    let credits: u64 = voters.iter().map(|(_, credits)| u64::from(*credits)).sum();
    if height > 1 && credits == 0 {
        return Err(NoVoters(height));
    }
    let full = 2 * COMMITTEE_CREDITS;
    let extra = if credits == full {
        tenth
    } else {
        (tenth / (full - QUORUM_CREDITS)).saturating_mul(credits.saturating_sub(QUORUM_CREDITS))
    };
    let mut out = vec![
        Reward { account: generator, lux: total - 3 * tenth, reason: RewardReason::GeneratorFixed },
        Reward { account: treasury, lux: tenth, reason: RewardReason::Other },
    ];
    if extra != 0 {
        out.push(Reward { account: generator, lux: extra, reason: RewardReason::GeneratorExtra });
    }
    out.extend(voters.iter().map(|(account, credits)| Reward {
        account: *account,
        lux: (tenth / full).saturating_mul(u64::from(*credits)),
        reason: RewardReason::Voter,
    }));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Signer;

    #[test]
    fn shares() {
        let [t, g, v, w] = [b"t", b"g", b"v", b"w"].map(|seed| Signer::from_seed(seed).id());
        let total = emission(2) + 5;
        let tenth = total / 10;
        let of = |rewards: &[Reward], id: AccountId| -> u64 {
            rewards.iter().filter(|r| r.account == id).map(|r| r.lux).sum()
        };
        let full = rewards(2, 5, t, g, &[(v, 100), (w, 28)]).unwrap();
        assert_eq!(of(&full, t), tenth);
        assert_eq!(of(&full, g), total - 2 * tenth);
        assert_eq!(of(&full, v), tenth / 128 * 100);
        assert_eq!(of(&full, w), tenth / 128 * 28);
        let quorum = rewards(2, 5, t, g, &[(v, 86)]).unwrap();
        assert_eq!(of(&quorum, g), total - 3 * tenth);
        let more = rewards(2, 5, t, g, &[(v, 100)]).unwrap();
        assert_eq!(of(&more, g), total - 3 * tenth + tenth / 42 * 14);
        let minted: u64 = full.iter().map(|r| r.lux).sum();
        assert!(minted <= total);
    }

    #[test]
    fn the_list_has_the_published_order() {
        let [t, g, v, w] = [b"t", b"g", b"v", b"w"].map(|seed| Signer::from_seed(seed).id());
        let list = |height, fees, voters: &[(AccountId, u32)]| -> Vec<(AccountId, RewardReason)> {
            rewards(height, fees, t, g, voters).unwrap().into_iter().map(|r| (r.account, r.reason)).collect()
        };
        let (fixed, other) = ((g, RewardReason::GeneratorFixed), (t, RewardReason::Other));
        let voter = |id| (id, RewardReason::Voter);
        assert_eq!(
            list(2, 0, &[(v, 60), (w, 60)]),
            [fixed.clone(), other.clone(), (g, RewardReason::GeneratorExtra), voter(v), voter(w)]
        );
        assert_eq!(list(2, 0, &[(v, 86)]), [fixed.clone(), other.clone(), voter(v)], "no extra share, no entry");
        assert_eq!(list(1, 0, &[]), [fixed.clone(), other.clone()], "block 1 has no certificate below it");
        // Long after the last emission a block without fees rewards everybody with nothing, and says so.
        let late = rewards(200_000_000, 0, t, g, &[(v, 128)]).unwrap();
        assert_eq!((late.len(), late.iter().map(|r| r.lux).sum::<u64>()), (3, 0));
        assert_eq!(rewards(2, 0, t, g, &[]), Err(NoVoters(2)));
    }

    #[test]
    fn emission_periods() {
        for (first, last, lux) in [
            (1, 12_614_400, 19_857_400_000u64),
            (12_614_401, 25_228_800, 9_928_700_000),
            (100_915_201, 113_529_596, 77_570_000),
            (113_529_597, 113_529_597, 54_280_000),
            (113_529_598, u64::MAX, 0),
        ] {
            assert_eq!((emission(first), emission(last)), (lux, lux));
        }
        assert_eq!(emission(0), 0);
    }
}
