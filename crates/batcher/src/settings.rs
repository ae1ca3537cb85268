//! What a batcher is to do.

use duskevm_rollup::{
    blob::BLOB_MAX_FRAME_DATA,
    channel_out::{ChannelSettings, Compression},
    frame::FRAME_OVERHEAD,
};

/// Most blobs of one submission: as many as a Dusk transaction carries.
pub const MAX_BLOBS: usize = 6;

/// Most bytes of batcher data in call data: an envelope of the batch inbox has 128 KiB, and this leaves room for everything else.
pub const MAX_CALLDATA: usize = 128 * 1024 - 1024;

/// Where batcher data travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Carrier {
    /// In blobs, one frame each.
    Blobs,
    /// In the call data of an envelope, one frame each.
    Calldata,
}

/// How the carrier of a channel is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarrierChoice {
    /// Always this one.
    Always(Carrier),
    /// Whichever costs less for the whole channel. It is chosen when the channel is closed and never changes afterwards.
    Cheaper,
}

/// Gas limits of Dusk transactions, in Dusk gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gas {
    /// Of each blob of a blob transaction.
    pub per_blob: u64,
    /// Least gas limit of a transaction.
    pub least: u64,
    /// Of a call to the batch inbox, whatever it carries.
    pub call: u64,
    /// Of each byte of the envelope in the call.
    pub per_call_byte: u64,
}

/// Bytes of an envelope besides call data and blob hashes, rounded up.
const ENVELOPE_BYTES: u64 = 256;

impl Gas {
    /// Gas limit of a transaction with so many blobs.
    pub fn blob_limit(&self, blobs: usize) -> u64 {
        self.per_blob.saturating_mul(blobs as u64).max(self.least)
    }

    /// Gas limit of a call with an envelope that has so many bytes of call data and blob hashes.
    pub fn call_limit(&self, bytes: usize) -> u64 {
        let bytes = ENVELOPE_BYTES.saturating_add(bytes as u64);
        self.per_call_byte.saturating_mul(bytes).saturating_add(self.call).max(self.least)
    }

    /// What a channel of so many compressed bytes takes in all.
    fn of_channel(&self, carrier: Carrier, bytes: usize, settings: &Settings) -> u64 {
        let frames = bytes.div_ceil(settings.max_frame_data(carrier)).max(1);
        match carrier {
            Carrier::Blobs => {
                let (whole, rest) = (frames / settings.blobs_per_submission, frames % settings.blobs_per_submission);
                let one = |blobs: usize| self.blob_limit(blobs).saturating_add(self.call_limit(32 * blobs));
                let rest = if rest == 0 { 0 } else { one(rest) };
                one(settings.blobs_per_submission).saturating_mul(whole as u64).saturating_add(rest)
            }
            Carrier::Calldata => {
                let fixed = self.call_limit(1 + FRAME_OVERHEAD).saturating_mul(frames as u64);
                self.per_call_byte.saturating_mul(bytes as u64).saturating_add(fixed)
            }
        }
    }
}

/// When the sequencer is asked to make smaller blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttling {
    /// Bytes of batcher data that are not on L1 yet from which on it begins.
    pub from_bytes: u64,
    /// Bytes at which it is complete.
    pub full_bytes: u64,
}

/// All settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How channels are compressed.
    pub compression: Compression,
    /// Most compressed bytes of a channel are those of so many blobs.
    pub target_blobs: usize,
    /// Where data travel.
    pub carrier: CarrierChoice,
    /// Most blobs of one submission, 1 to [`MAX_BLOBS`].
    pub blobs_per_submission: usize,
    /// Most bytes of batcher data in call data, at most [`MAX_CALLDATA`].
    pub max_calldata: usize,
    /// L1 blocks after which an open channel is closed, however full it is.
    pub max_channel_duration: u64,
    /// A channel is closed when its first block could only be included in so many more L1 blocks, or in a quarter of the sequencing
    /// window if that is less.
    pub window_margin: u64,
    /// A channel that has only so many L1 blocks left until it times out is hurried on.
    pub timeout_margin: u64,
    /// Most submissions that are not included.
    pub max_in_flight: usize,
    /// Gas price in lux of a first attempt.
    pub gas_price: u64,
    /// Highest gas price in lux.
    pub max_gas_price: u64,
    /// By how many percent each further attempt pays more.
    pub fee_bump_percent: u64,
    /// L1 blocks that a transaction may wait before another attempt.
    pub bump_after: u64,
    /// When to throttle.
    pub throttling: Throttling,
    /// Gas limits.
    pub gas: Gas,
}

/// Settings that make no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Out of its range.
    #[error("{name} must be between {least} and {most}")]
    Range {
        /// Which.
        name: &'static str,
        /// Lowest value.
        least: u64,
        /// Highest value.
        most: u64,
    },
    /// The highest price is below the first one.
    #[error("max_gas_price must not be below gas_price")]
    Prices,
    /// The thresholds are the wrong way round.
    #[error("throttling must be complete at more bytes than it begins with")]
    Throttling,
}

impl Settings {
    /// Checks them.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub const fn validate(&self) -> Result<(), SettingsError> {
        const fn range(name: &'static str, value: u64, least: u64, most: u64) -> Result<(), SettingsError> {
            if value < least || value > most { Err(SettingsError::Range { name, least, most }) } else { Ok(()) }
        }
        let checks = [
            range("target_blobs", self.target_blobs as u64, 1, 64),
            range("blobs_per_submission", self.blobs_per_submission as u64, 1, MAX_BLOBS as u64),
            range("max_calldata", self.max_calldata as u64, 1024, MAX_CALLDATA as u64),
            range("max_channel_duration", self.max_channel_duration, 1, u64::MAX),
            range("max_in_flight", self.max_in_flight as u64, 1, 16),
            range("gas_price", self.gas_price, 1, u64::MAX),
            range("fee_bump_percent", self.fee_bump_percent, 1, 1000),
            range("bump_after", self.bump_after, 1, u64::MAX),
        ];
        let mut index = 0;
        while index < checks.len() {
            if let Err(error) = checks[index] {
                return Err(error);
            }
            index += 1;
        }
        if self.max_gas_price < self.gas_price {
            return Err(SettingsError::Prices);
        }
        if self.throttling.full_bytes <= self.throttling.from_bytes {
            return Err(SettingsError::Throttling);
        }
        Ok(())
    }

    /// Most bytes of a channel in one frame.
    pub const fn max_frame_data(&self, carrier: Carrier) -> usize {
        match carrier {
            Carrier::Blobs => BLOB_MAX_FRAME_DATA,
            Carrier::Calldata => self.max_calldata - 1 - FRAME_OVERHEAD,
        }
    }

    /// Bytes of a channel that go to L1 in one of its blocks: what is submitted before anything is included, as far as blobs of one
    /// submission fill an L1 block.
    pub(crate) const fn bytes_per_l1_block(&self) -> u64 {
        let (count, carrier) = match self.carrier {
            CarrierChoice::Always(Carrier::Calldata) => (self.max_in_flight, Carrier::Calldata),
            // Call data is cheaper only for channels of few frames.
            CarrierChoice::Always(Carrier::Blobs) | CarrierChoice::Cheaper => {
                (self.blobs_per_submission, Carrier::Blobs)
            }
        };
        (count as u64).saturating_mul(self.max_frame_data(carrier) as u64)
    }

    /// What an open channel is filled to.
    pub const fn channel(&self, max_rlp_bytes: u64) -> ChannelSettings {
        ChannelSettings {
            compression: self.compression,
            target_bytes: self.target_blobs * BLOB_MAX_FRAME_DATA,
            max_frame_data: BLOB_MAX_FRAME_DATA,
            max_rlp_bytes,
        }
    }

    /// The carrier for a channel of so many compressed bytes. Blobs, if both cost the same.
    pub fn carrier_for(&self, bytes: usize) -> Carrier {
        match self.carrier {
            CarrierChoice::Always(carrier) => carrier,
            CarrierChoice::Cheaper => {
                let cost = |carrier| self.gas.of_channel(carrier, bytes, self);
                if cost(Carrier::Calldata) < cost(Carrier::Blobs) { Carrier::Calldata } else { Carrier::Blobs }
            }
        }
    }

    /// The price of the attempt after one at `price`.
    pub fn bumped(&self, price: u64) -> u64 {
        let more = u128::from(price) * u128::from(self.fee_bump_percent) / 100;
        u64::try_from(more).unwrap_or(u64::MAX).max(1).saturating_add(price).min(self.max_gas_price)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    #[test]
    fn small_channels_go_by_calldata_and_large_ones_by_blobs_when_price_decides() {
        let settings = Settings { carrier: CarrierChoice::Cheaper, ..settings() };
        assert_eq!(settings.carrier_for(1_000), Carrier::Calldata);
        assert_eq!(settings.carrier_for(100_000), Carrier::Blobs);
        let always = Settings { carrier: CarrierChoice::Always(Carrier::Blobs), ..settings };
        assert_eq!(always.carrier_for(1), Carrier::Blobs);
    }

    #[test]
    fn each_attempt_pays_more_up_to_the_limit() {
        let settings = Settings { fee_bump_percent: 10, max_gas_price: 100, ..settings() };
        assert_eq!([settings.bumped(1), settings.bumped(50), settings.bumped(95)], [2, 55, 100]);
    }

    #[test]
    fn settings_without_sense_are_refused() {
        assert_eq!(settings().validate(), Ok(()));
        assert!(Settings { blobs_per_submission: 7, ..settings() }.validate().is_err());
        assert!(Settings { target_blobs: 0, ..settings() }.validate().is_err());
        assert_eq!(Settings { max_gas_price: 0, ..settings() }.validate(), Err(SettingsError::Prices));
    }
}
