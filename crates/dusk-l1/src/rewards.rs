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

/// Shares of block `height` with `fees` lux: a tenth to the treasury, a tenth among the voters of the previous block's
/// certificate by their credits, a tenth to the generator for a well-attended certificate, the rest to the generator.
/// What cannot be divided evenly is not minted. Amounts of zero are left out.
pub fn rewards(
    height: u64,
    fees: u64,
    treasury: AccountId,
    generator: AccountId,
    voters: &[(AccountId, u64)],
) -> Vec<Reward> {
    let total = emission(height).saturating_add(fees);
    let tenth = total / 10;
    let credits: u64 = voters.iter().map(|(_, credits)| credits).sum();
    let full = 2 * COMMITTEE_CREDITS;
    // 86 credits are the two quorums of 43 without which there is no certificate.
    let extra = if credits == full { tenth } else { (tenth / 42).saturating_mul(credits.saturating_sub(86)) };
    let mut out = vec![
        Reward { account: treasury, lux: tenth, reason: RewardReason::Other },
        Reward { account: generator, lux: total - 3 * tenth, reason: RewardReason::GeneratorFixed },
        Reward { account: generator, lux: extra, reason: RewardReason::GeneratorExtra },
    ];
    out.extend(voters.iter().map(|(account, credits)| Reward {
        account: *account,
        lux: (tenth / full).saturating_mul(*credits),
        reason: RewardReason::Voter,
    }));
    out.retain(|reward| reward.lux > 0);
    out
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
        let full = rewards(2, 5, t, g, &[(v, 100), (w, 28)]);
        assert_eq!(of(&full, t), tenth);
        assert_eq!(of(&full, g), total - 2 * tenth);
        assert_eq!(of(&full, v), tenth / 128 * 100);
        assert_eq!(of(&full, w), tenth / 128 * 28);
        let quorum = rewards(2, 5, t, g, &[(v, 86)]);
        assert_eq!(of(&quorum, g), total - 3 * tenth);
        let more = rewards(2, 5, t, g, &[(v, 100)]);
        assert_eq!(of(&more, g), total - 3 * tenth + tenth / 42 * 14);
        let first = rewards(1, 0, t, g, &[]);
        assert_eq!(first.len(), 2, "no certificate: neither extra nor voters");
        assert!(rewards(0, 0, t, g, &[]).is_empty());
        let minted: u64 = full.iter().map(|r| r.lux).sum();
        assert!(minted <= total);
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
