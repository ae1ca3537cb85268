//! What a carrier is told.

use crate::envelope::MAX_BLOBS;
use alloy_primitives::Address;
use duskevm_blobs::BYTES;
use duskevm_settlement::MAX_ENVELOPE_BYTES;

/// Most senders that a carrier works for.
pub const MAX_SENDERS: usize = 16;

/// Most bytes of an envelope with its blobs.
const LARGEST: usize = MAX_ENVELOPE_BYTES + MAX_BLOBS * BYTES;

/// What envelopes are judged by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// Chain id of the L1 view.
    pub chain_id: u64,
    /// Address of the batch inbox.
    pub inbox: Address,
    /// Base fee of the view in wei.
    pub base_fee: u128,
    /// Base fee of blob gas in wei.
    pub blob_base_fee: u128,
    /// Gas limit of a block of the view.
    pub gas_limit: u64,
    /// For whom Dusk transactions are paid.
    pub senders: Vec<Address>,
}

/// Dusk gas of a carrier's transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gas {
    /// Of each blob.
    pub per_blob: u64,
    /// Least gas limit that a Dusk mempool takes.
    pub least: u64,
    /// Of a call of the batch inbox without its bytes.
    pub call: u64,
    /// Of each byte of it.
    pub per_call_byte: u64,
}

/// What does not change while a carrier runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What envelopes are judged by.
    pub rules: Rules,
    /// Dusk gas.
    pub gas: Gas,
    /// Lux for each gas at first.
    pub gas_price: u64,
    /// Most lux for each gas.
    pub max_gas_price: u64,
    /// By how many percent each further attempt pays more.
    pub fee_bump_percent: u64,
    /// L1 blocks that a Dusk transaction may wait before another attempt.
    pub bump_after: u64,
    /// Envelopes that are under way at one time; the others wait.
    pub max_in_flight: usize,
    /// Nonces of one sender that are kept, counted from the next one that the inbox takes.
    pub max_ahead: u64,
    /// Most bytes of all envelopes with their blobs.
    pub max_bytes: usize,
    /// L1 blocks after which blobs are brought again: fewer than those for which L1 knows a blob, by as many as a call may take.
    pub blob_life: u64,
}

/// Settings that make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Nothing would be included.
    #[error("gas_price is 0: offer at least 1 lux")]
    Price,
    /// Prices that contradict each other.
    #[error("max_gas_price ({max}) is less than gas_price ({first}): raise it")]
    Prices {
        /// The first price.
        first: u64,
        /// The highest one.
        max: u64,
    },
    /// An attempt that offers no more is not taken.
    #[error("fee_bump_percent is 0: a further attempt must offer more")]
    Bump,
    /// It would do nothing.
    #[error("{0} is 0: set it to at least 1")]
    Zero(&'static str),
    /// More than the bounds are made for.
    #[error("max_in_flight is {0}: at most 16 envelopes can be under way")]
    InFlight(usize),
    /// The largest envelope would never be taken.
    #[error("max_bytes is {have}: set it to at least {LARGEST}, which is one transaction with {MAX_BLOBS} blobs")]
    Bytes {
        /// The setting.
        have: usize,
    },
    /// More than the bounds are made for.
    #[error("{0} senders are named: a carrier works for 1 to {MAX_SENDERS}")]
    Senders(usize),
}

impl Settings {
    /// # Errors
    /// See [`SettingsError`].
    pub fn validate(&self) -> Result<(), SettingsError> {
        if self.gas_price == 0 {
            return Err(SettingsError::Price);
        }
        if self.max_gas_price < self.gas_price {
            return Err(SettingsError::Prices { first: self.gas_price, max: self.max_gas_price });
        }
        if self.fee_bump_percent == 0 {
            return Err(SettingsError::Bump);
        }
        for (what, is_zero) in [
            ("bump_after", self.bump_after == 0),
            ("max_in_flight", self.max_in_flight == 0),
            ("max_ahead", self.max_ahead == 0),
            ("blob_life", self.blob_life == 0),
        ] {
            if is_zero {
                return Err(SettingsError::Zero(what));
            }
        }
        if self.max_in_flight > 16 {
            return Err(SettingsError::InFlight(self.max_in_flight));
        }
        if self.max_bytes < LARGEST {
            return Err(SettingsError::Bytes { have: self.max_bytes });
        }
        if !(1..=MAX_SENDERS).contains(&self.rules.senders.len()) {
            return Err(SettingsError::Senders(self.rules.senders.len()));
        }
        Ok(())
    }

    /// The next higher price; none beyond the highest.
    pub(crate) fn bumped(&self, price: u64) -> Option<u64> {
        let more = u128::from(price) * u128::from(self.fee_bump_percent) / 100;
        let next = u64::try_from(u128::from(price).saturating_add(more.max(1))).unwrap_or(u64::MAX);
        (price < self.max_gas_price).then(|| next.min(self.max_gas_price))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::settings;

    #[test]
    fn settings_without_sense_are_named() {
        assert_eq!(settings().validate(), Ok(()));
        let refused = |change: fn(&mut super::Settings)| {
            let mut settings = settings();
            change(&mut settings);
            settings.validate().unwrap_err().to_string()
        };
        assert!(refused(|s| s.gas_price = 0).contains("gas_price is 0"));
        assert!(refused(|s| s.max_gas_price = 0).contains("max_gas_price"));
        assert!(refused(|s| s.fee_bump_percent = 0).contains("fee_bump_percent"));
        assert!(refused(|s| s.bump_after = 0).contains("bump_after"));
        assert!(refused(|s| s.max_in_flight = 0).contains("max_in_flight"));
        assert!(refused(|s| s.max_in_flight = 17).contains("at most 16"));
        assert!(refused(|s| s.max_ahead = 0).contains("max_ahead"));
        assert!(refused(|s| s.blob_life = 0).contains("blob_life"));
        assert!(refused(|s| s.max_bytes = super::LARGEST - 1).contains("max_bytes"));
        assert!(refused(|s| s.rules.senders.clear()).contains("0 senders"));
    }

    #[test]
    fn prices_rise_to_the_highest_one() {
        let settings = settings();
        assert_eq!(settings.bumped(1), Some(2));
        assert_eq!(settings.bumped(100), Some(120));
        assert_eq!(settings.bumped(999), Some(1000));
        assert_eq!(settings.bumped(1000), None);
    }
}
