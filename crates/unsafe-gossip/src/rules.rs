//! Which messages are valid (rollup-node-p2p.md, "Block validation").
//!
//! What breaks a rule is rejected: the peer that relays it is to blame. What is only of no use is ignored. The costly part,
//! [`judge`], needs nothing but the message; what depends on earlier messages is [`Seen`]'s.

use crate::{
    message,
    payload::{Payload, PayloadError},
    topics::PayloadVersion,
};
use alloy_op_hardforks::OpHardforks;
use alloy_primitives::{Address, B256};
use duskevm_evm::ChainSpec;
use std::collections::{HashMap, VecDeque};

/// Which timestamps are near enough, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// How far a block may be behind the clock.
    pub past: u64,
    /// How far a block may be ahead of the clock.
    pub future: u64,
}

impl Default for Window {
    /// The specification's: 60 s and 5 s.
    fn default() -> Self {
        Self { past: 60, future: 5 }
    }
}

impl Window {
    /// # Errors
    /// [`Fault::TooOld`], [`Fault::TooNew`]. Both ends are within.
    pub const fn check(self, now: u64, timestamp: u64) -> Result<(), Fault> {
        if timestamp < now.saturating_sub(self.past) {
            return Err(Fault::TooOld { timestamp, now });
        }
        if timestamp > now.saturating_add(self.future) {
            return Err(Fault::TooNew { timestamp, now });
        }
        Ok(())
    }
}

/// Why a message is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not snappy.
    #[error("not in snappy's block format")]
    Compression,
    /// More bytes than a message may have.
    #[error("{0} bytes are more than a message may have")]
    TooLong(usize),
    /// Fewer bytes than a signature and a payload have.
    #[error("{0} bytes are no signature and payload")]
    TooShort(usize),
    /// Nobody made this signature.
    #[error("the signature is none of secp256k1")]
    Signature,
    /// Somebody else signed.
    #[error("signed by {found}, not by the unsafe-block signer {expected}")]
    WrongSigner {
        /// Who signed.
        found: Address,
        /// Who should have.
        expected: Address,
    },
    /// Not a payload, or not one whose content has the hash that it names.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Too far in the past.
    #[error("a block of {timestamp} is too old at {now}")]
    TooOld {
        /// Its timestamp.
        timestamp: u64,
        /// The clock.
        now: u64,
    },
    /// Too far in the future.
    #[error("a block of {timestamp} is too new at {now}")]
    TooNew {
        /// Its timestamp.
        timestamp: u64,
        /// The clock.
        now: u64,
    },
    /// Blob gas before Jovian.
    #[error("the block uses {0} blob gas")]
    BlobGas(u64),
    /// Excess blob gas.
    #[error("the block has {0} excess blob gas")]
    ExcessBlobGas(u64),
    /// Too many blocks at one height.
    #[error("more than {MAX_BLOCKS_PER_HEIGHT} blocks of number {0} were seen")]
    TooManyBlocks(u64),
}

impl Fault {
    /// Short name for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Compression => "compression",
            Self::TooLong(_) => "too_long",
            Self::TooShort(_) => "too_short",
            Self::Signature => "signature",
            Self::WrongSigner { .. } => "signer",
            Self::Payload(PayloadError::Ssz(_)) => "decode",
            Self::Payload(PayloadError::BaseFee(_)) => "base_fee",
            Self::Payload(PayloadError::Withdrawals(_)) => "withdrawals",
            Self::Payload(PayloadError::Hash { .. }) => "hash",
            Self::Payload(PayloadError::Transactions(_)) => "transactions",
            Self::TooOld { .. } => "too_old",
            Self::TooNew { .. } => "too_new",
            Self::BlobGas(_) => "blob_gas",
            Self::ExcessBlobGas(_) => "excess_blob_gas",
            Self::TooManyBlocks(_) => "too_many_blocks",
        }
    }
}

/// Judges a message by itself, on the topic of this form. `now` in Unix seconds; `signer` as L1 names it at the moment.
///
/// The signature comes before everything that costs more, as op-node has it: only who holds the key can make this node decode and
/// hash large payloads.
///
/// # Errors
/// The first rule that is broken.
pub fn judge(
    message: &[u8],
    version: PayloadVersion,
    spec: &ChainSpec,
    chain_id: u64,
    signer: Address,
    now: u64,
    window: Window,
) -> Result<Payload, Fault> {
    let (signature, body) = message::open(message)?;
    let found = message::recover(chain_id, &signature, &body)?;
    if found != signer {
        return Err(Fault::WrongSigner { found, expected: signer });
    }
    let payload = Payload::from_body(version, &body)?;
    window.check(now, payload.timestamp)?;
    check_content(&payload, spec)?;
    Ok(payload)
}

/// The rules for a payload however it came: its hash, and what its form may hold.
///
/// # Errors
/// The first rule that is broken.
pub fn check_content(payload: &Payload, spec: &ChainSpec) -> Result<(), Fault> {
    payload.check_hash()?;
    // From Jovian on the field holds the DA footprint.
    let is_footprint = spec.hardforks().is_jovian_active_at_timestamp(payload.timestamp);
    if payload.blob_gas_used != 0 && !is_footprint {
        return Err(Fault::BlobGas(payload.blob_gas_used));
    }
    if payload.excess_blob_gas != 0 {
        return Err(Fault::ExcessBlobGas(payload.excess_blob_gas));
    }
    Ok(())
}

/// Once this many different blocks of one number were seen, further ones are rejected.
pub const MAX_BLOCKS_PER_HEIGHT: usize = 5;
/// Numbers that are remembered; op-node remembers as many.
const MAX_HEIGHTS: usize = 1_000;

/// Why a valid message is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// The block was seen before.
    #[error("the block was seen before")]
    Seen,
}

/// The blocks that were seen, by number. Bounded: the number that was seen first is forgotten first.
#[derive(Debug, Default)]
pub struct Seen {
    heights: HashMap<u64, Vec<B256>>,
    order: VecDeque<u64>,
}

impl Seen {
    /// Nothing was seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a valid block, one's own ones included. `Ok(Some(_))` if it is not news.
    ///
    /// # Errors
    /// [`Fault::TooManyBlocks`] if more than [`MAX_BLOCKS_PER_HEIGHT`] others of its number were seen.
    pub fn note(&mut self, number: u64, hash: B256) -> Result<Option<Ignored>, Fault> {
        if !self.heights.contains_key(&number) {
            if self.order.len() >= MAX_HEIGHTS
                && let Some(oldest) = self.order.pop_front()
            {
                self.heights.remove(&oldest);
            }
            self.order.push_back(number);
        }
        let hashes = self.heights.entry(number).or_default();
        if hashes.len() > MAX_BLOCKS_PER_HEIGHT {
            return Err(Fault::TooManyBlocks(number));
        }
        if hashes.contains(&hash) {
            return Ok(Some(Ignored::Seen));
        }
        hashes.push(hash);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{message::UnsafeSigner, payload::testing::*};
    use alloy_eips::eip4895::Withdrawal;
    use alloy_primitives::U256;

    const NOW: u64 = 1_700_000_000;

    fn signer() -> UnsafeSigner {
        UnsafeSigner::new(&B256::repeat_byte(7)).unwrap()
    }

    fn payload(version: PayloadVersion) -> Payload {
        Payload::from_block(&block(version, 9, B256::repeat_byte(8), NOW, b"x"))
    }

    /// The payload with the hash that its content has.
    fn rehashed(payload: Payload) -> Payload {
        let hash = alloy_consensus::Sealable::hash_slow(&payload.header().unwrap());
        Payload { hash, ..payload }
    }

    fn judged_at(message: &[u8], version: PayloadVersion, now: u64) -> Result<Payload, Fault> {
        judge(message, version, &isthmus(None), CHAIN, signer().address(), now, Window::default())
    }

    fn judged(payload: &Payload) -> Result<Payload, Fault> {
        judged_at(&signer().message(CHAIN, payload).unwrap(), payload.version, NOW)
    }

    #[test]
    fn a_valid_block_of_each_form_is_accepted() {
        for version in PayloadVersion::ALL {
            let payload = payload(version);
            assert_eq!(judged(&payload), Ok(payload));
        }
    }

    #[test]
    fn reject_what_is_not_snappy() {
        assert_eq!(judged_at(&[0xff; 200], PayloadVersion::V4, NOW), Err(Fault::Compression));
    }

    #[test]
    fn reject_what_is_too_long_or_too_short() {
        let bomb = snap::raw::Encoder::new().compress_vec(&vec![0; message::MAX_MESSAGE + 1]).unwrap();
        assert_eq!(judged_at(&bomb, PayloadVersion::V4, NOW), Err(Fault::TooLong(message::MAX_MESSAGE + 1)));
        let short = message::compress(&[1; 65]).unwrap();
        assert_eq!(judged_at(&short, PayloadVersion::V4, NOW), Err(Fault::TooShort(65)));
        let least = message::compress(&[1; 66]).unwrap();
        assert!(!matches!(judged_at(&least, PayloadVersion::V4, NOW), Err(Fault::TooShort(_))));
    }

    #[test]
    fn reject_another_signer() {
        let other = UnsafeSigner::new(&B256::repeat_byte(8)).unwrap();
        let message = other.message(CHAIN, &payload(PayloadVersion::V4)).unwrap();
        assert_eq!(
            judged_at(&message, PayloadVersion::V4, NOW),
            Err(Fault::WrongSigner { found: other.address(), expected: signer().address() })
        );
    }

    #[test]
    fn reject_a_signature_for_another_chain() {
        let message = signer().message(CHAIN + 1, &payload(PayloadVersion::V4)).unwrap();
        assert!(matches!(judged_at(&message, PayloadVersion::V4, NOW), Err(Fault::WrongSigner { .. })));
    }

    #[test]
    fn reject_a_signed_body_that_is_no_payload() {
        let body = [0; 600];
        let raw = [&signer().sign(CHAIN, &body)[..], &body].concat();
        let message = message::compress(&raw).unwrap();
        assert!(matches!(judged_at(&message, PayloadVersion::V4, NOW), Err(Fault::Payload(PayloadError::Ssz(_)))));
    }

    #[test]
    fn the_signature_is_checked_before_the_payload_is_decoded() {
        let message = message::compress(&[0; 600]).unwrap();
        assert_eq!(judged_at(&message, PayloadVersion::V4, NOW), Err(Fault::Signature));
    }

    #[test]
    fn reject_a_block_of_another_form_than_the_topic() {
        for version in PayloadVersion::ALL {
            let message = signer().message(CHAIN, &payload(version)).unwrap();
            for topic in PayloadVersion::ALL {
                assert_eq!(judged_at(&message, topic, NOW).is_ok(), topic == version, "{version:?} on {topic:?}");
            }
        }
    }

    #[test]
    fn reject_timestamps_outside_the_window() {
        let message = signer().message(CHAIN, &payload(PayloadVersion::V4)).unwrap();
        let at = |now| judged_at(&message, PayloadVersion::V4, now);
        assert!(at(NOW + 60).is_ok() && at(NOW - 5).is_ok());
        assert_eq!(at(NOW + 61), Err(Fault::TooOld { timestamp: NOW, now: NOW + 61 }));
        assert_eq!(at(NOW - 6), Err(Fault::TooNew { timestamp: NOW, now: NOW - 6 }));
    }

    #[test]
    fn reject_a_hash_that_the_content_does_not_have() {
        let named = Payload { hash: B256::repeat_byte(1), ..payload(PayloadVersion::V4) };
        assert!(matches!(judged(&named), Err(Fault::Payload(PayloadError::Hash { .. }))));
        // What does not travel as itself is part of it too: transactions, and from Ecotone on the beacon root.
        let fewer = Payload { transactions: Vec::new(), ..payload(PayloadVersion::V4) };
        assert!(matches!(judged(&fewer), Err(Fault::Payload(PayloadError::Hash { .. }))));
        let root = Payload { parent_beacon_block_root: B256::repeat_byte(1), ..payload(PayloadVersion::V3) };
        assert!(matches!(judged(&root), Err(Fault::Payload(PayloadError::Hash { .. }))));
        let withdrawals = Payload { withdrawals_root: B256::ZERO, ..payload(PayloadVersion::V4) };
        assert!(matches!(judged(&withdrawals), Err(Fault::Payload(PayloadError::Hash { .. }))));
    }

    #[test]
    fn reject_withdrawals() {
        for version in [PayloadVersion::V2, PayloadVersion::V3, PayloadVersion::V4] {
            let one = Payload { withdrawals: vec![Withdrawal::default()], ..payload(version) };
            assert_eq!(judged(&one), Err(Fault::Payload(PayloadError::Withdrawals(1))));
        }
    }

    #[test]
    fn reject_blob_gas_before_jovian_but_not_the_footprint_after_it() {
        let used = rehashed(Payload { blob_gas_used: 5, ..payload(PayloadVersion::V4) });
        assert_eq!(judged(&used), Err(Fault::BlobGas(5)));
        assert_eq!(check_content(&used, &isthmus(Some(NOW))), Ok(()));
        assert_eq!(check_content(&used, &isthmus(Some(NOW + 1))), Err(Fault::BlobGas(5)));
    }

    #[test]
    fn reject_excess_blob_gas() {
        let excess = rehashed(Payload { excess_blob_gas: 5, ..payload(PayloadVersion::V3) });
        assert_eq!(judged(&excess), Err(Fault::ExcessBlobGas(5)));
    }

    #[test]
    fn reject_a_base_fee_beyond_64_bits() {
        let rich = Payload { base_fee_per_gas: U256::MAX, ..payload(PayloadVersion::V4) };
        assert_eq!(judged(&rich), Err(Fault::Payload(PayloadError::BaseFee(U256::MAX))));
    }

    #[test]
    fn ignore_a_block_that_was_seen() {
        let mut seen = Seen::new();
        assert_eq!(seen.note(1, B256::repeat_byte(1)), Ok(None));
        assert_eq!(seen.note(1, B256::repeat_byte(1)), Ok(Some(Ignored::Seen)));
        assert_eq!(seen.note(2, B256::repeat_byte(1)), Ok(None));
    }

    #[test]
    fn reject_when_more_than_five_blocks_of_a_number_were_seen() {
        let mut seen = Seen::new();
        for byte in 0..6 {
            assert_eq!(seen.note(1, B256::repeat_byte(byte)), Ok(None));
        }
        assert_eq!(seen.note(1, B256::repeat_byte(6)), Err(Fault::TooManyBlocks(1)));
        assert_eq!(seen.note(2, B256::repeat_byte(6)), Ok(None));
    }

    #[test]
    fn what_was_seen_is_bounded() {
        let mut seen = Seen::new();
        for number in 0..5_000 {
            for byte in 0..9 {
                let _ = seen.note(number, B256::repeat_byte(byte));
            }
        }
        assert_eq!((seen.heights.len(), seen.order.len()), (MAX_HEIGHTS, MAX_HEIGHTS));
        assert!(seen.heights.values().all(|hashes| hashes.len() <= MAX_BLOCKS_PER_HEIGHT + 1));
        assert_eq!(seen.note(0, B256::repeat_byte(1)), Ok(None), "forgotten");
    }
}
