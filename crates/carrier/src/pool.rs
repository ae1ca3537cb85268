//! The envelopes that are here, by sender and nonce: what may come in, and what may replace what.

use crate::{
    envelope::{Envelope, Offer},
    record::Role,
    refusal::Refusal,
    settings::Settings,
};
use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256};
use duskevm_l1_view::ViewTxEnvelope;
use std::{collections::BTreeMap, sync::Arc};

/// By how many percent a replacement raises its fees, as go-ethereum's pool of ordinary transactions has it.
const BUMP: u64 = 10;

/// The same for transactions with blobs.
const BLOB_BUMP: u64 = 100;

/// Hashes of replaced envelopes that are remembered. The fees of that many replacements would exceed 64 bits.
const MAX_FORMER: usize = 64;

/// A nonce of a sender, and what is carried for it.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) envelope: Arc<Envelope>,
    /// Those that it replaced: one of them may have been signed into a Dusk transaction, and may come to L1 instead.
    pub(crate) former: Vec<B256>,
    /// When it came: in this order they get their turn.
    pub(crate) arrival: u64,
    /// Its place among those that are under way.
    pub(crate) turn: Option<u64>,
    /// The L1 block at which its nonce was first seen to be used.
    pub(crate) landed: Option<u64>,
    /// Dusk transactions for it that failed.
    pub(crate) failures: u32,
    /// The L1 block before which it is not tried again.
    pub(crate) until: u64,
}

impl Slot {
    /// Is this hash that of one of its envelopes?
    pub(crate) fn has(&self, hash: &B256) -> bool {
        self.envelope.hash() == *hash || self.former.contains(hash)
    }
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool {
    pub(crate) slots: BTreeMap<(Address, u64), Slot>,
    /// Those that were replaced or are on L1 for good, as long as a Dusk transaction may have to bring one of them all the same.
    kept: Vec<Arc<Envelope>>,
    bytes: usize,
    arrivals: u64,
}

impl Pool {
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// May this envelope come in? `next` is the nonce that the inbox takes next from its sender.
    pub(crate) fn check(&self, offer: &Offer<'_>, next: u64, settings: &Settings) -> Result<(), Refusal> {
        let (sender, nonce) = (offer.sender, offer.tx.nonce());
        let old = self.slots.get(&(sender, nonce));
        if old.is_some_and(|old| old.envelope.hash() == *offer.tx.tx_hash() && nonce >= next) {
            return Err(Refusal::Known);
        }
        // There is nothing after the highest number, so it is nobody's nonce (EIP-2681).
        if nonce < next || nonce == u64::MAX {
            return Err(Refusal::NonceTooLow { next, nonce });
        }
        if nonce - next >= settings.max_ahead {
            return Err(Refusal::NonceTooHigh { next, nonce, most: settings.max_ahead });
        }
        let has_blobs = !offer.blob_hashes().is_empty();
        let mut others = self.slots.range((sender, next)..=(sender, u64::MAX)).map(|(_, slot)| slot);
        if others.any(|other| other.envelope.blob_hashes().is_empty() == has_blobs) {
            return Err(Refusal::Reserved(sender));
        }
        if let Some(old) = old {
            check_replacement(old.envelope.tx(), offer.tx)?;
        }
        let freed = old.map_or(0, |old| old.envelope.size());
        if self.bytes - freed + offer.size() > settings.max_bytes {
            return Err(Refusal::Full { bytes: self.bytes });
        }
        Ok(())
    }

    /// Takes an envelope. The one that it replaces is kept until [`Self::release`].
    pub(crate) fn insert(&mut self, envelope: Arc<Envelope>) {
        let key = (envelope.sender(), envelope.nonce());
        self.bytes += envelope.size();
        if let Some(slot) = self.slots.get_mut(&key) {
            if slot.former.len() == MAX_FORMER {
                slot.former.remove(0);
            }
            slot.former.push(slot.envelope.hash());
            self.kept.push(std::mem::replace(&mut slot.envelope, envelope));
            return;
        }
        let arrival = self.arrivals;
        self.arrivals += 1;
        let slot = Slot { envelope, former: Vec::new(), arrival, turn: None, landed: None, failures: 0, until: 0 };
        self.slots.insert(key, slot);
    }

    /// Says which hashes a nonce had before, as a journal has them.
    pub(crate) fn restore_former(&mut self, key: &(Address, u64), mut hashes: Vec<B256>) {
        hashes.truncate(MAX_FORMER);
        if let Some(slot) = self.slots.get_mut(key) {
            slot.former = hashes;
        }
    }

    /// Takes an envelope out. It is kept until [`Self::release`].
    pub(crate) fn remove(&mut self, key: &(Address, u64)) {
        if let Some(slot) = self.slots.remove(key) {
            self.kept.push(slot.envelope);
        }
    }

    /// Keeps an envelope that has no place any more.
    pub(crate) fn keep(&mut self, envelope: Arc<Envelope>) {
        self.bytes += envelope.size();
        self.kept.push(envelope);
    }

    /// Envelopes that have no place any more.
    pub(crate) fn kept(&self) -> &[Arc<Envelope>] {
        &self.kept
    }

    /// Lets go of what is kept and not needed for any of these Dusk transactions.
    pub(crate) fn release(&mut self, needed: &[&Role]) {
        let mut still: Vec<Arc<Envelope>> = Vec::new();
        for envelope in std::mem::take(&mut self.kept) {
            let is_needed = needed.iter().any(|role| {
                let others = self.slots.values().map(|slot| &slot.envelope).chain(&still);
                role.brings(&envelope) && !others.into_iter().any(|other| role.brings(other))
            });
            if is_needed {
                still.push(envelope);
            } else {
                self.bytes -= envelope.size();
            }
        }
        self.kept = still;
    }

    /// An envelope for a Dusk transaction that does this; one that was replaced, too.
    pub(crate) fn to_bring(&self, role: &Role) -> Option<&Arc<Envelope>> {
        self.slots.values().map(|slot| &slot.envelope).chain(&self.kept).find(|envelope| role.brings(envelope))
    }
}

fn check_replacement(old: &ViewTxEnvelope, new: &ViewTxEnvelope) -> Result<(), Refusal> {
    // Without blobs each fee rises at all events, also from zero.
    let (percent, rise) = if old.blob_count().is_none() { (BUMP, 1) } else { (BLOB_BUMP, 0) };
    let tip = |tx: &ViewTxEnvelope| tx.max_priority_fee_per_gas().unwrap_or_default();
    let mut fees =
        vec![("gas fee cap", old.max_fee_per_gas(), new.max_fee_per_gas()), ("gas tip cap", tip(old), tip(new))];
    if let (Some(old), Some(new)) = (old.max_fee_per_blob_gas(), new.max_fee_per_blob_gas()) {
        fees.push(("blob gas fee cap", old, new));
    }
    for (what, old, new) in fees {
        let more = old.saturating_mul(u128::from(percent)).div_ceil(100);
        let least = old.saturating_add(more.max(rise));
        if new < least {
            return Err(Refusal::ReplacementUnderpriced { what, new, least, percent });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{
        Carrier, Envelope, Observation, Refusal,
        testing::{GWEI, blob_bytes, calldata, read, settings, sidecars, sign, signer, with_blobs},
    };
    use alloy_consensus::{TxEip1559, TxEip4844};
    use alloy_primitives::B256;
    use std::collections::{BTreeMap, HashMap};

    fn carrier() -> Carrier {
        Carrier::new(settings())
    }

    fn plain(nonce: u64) -> Envelope {
        read(&sign(calldata(nonce, b"x"), 1))
    }

    /// An envelope with these fees in gwei.
    fn offering(cap: u128, tip: u128) -> Envelope {
        let (max_fee_per_gas, max_priority_fee_per_gas) = (cap * GWEI / 100, tip * GWEI / 100);
        read(&sign(TxEip1559 { max_fee_per_gas, max_priority_fee_per_gas, ..calldata(0, b"x") }, 1))
    }

    fn with_blob(nonce: u64, cap: u128, tip: u128, blob: u128) -> Envelope {
        let one = &sidecars()[..1];
        let tx = TxEip4844 {
            max_fee_per_gas: cap * GWEI,
            max_priority_fee_per_gas: tip,
            max_fee_per_blob_gas: blob,
            ..with_blobs(nonce, one)
        };
        read(&blob_bytes(tx, one, 1))
    }

    #[test]
    fn the_same_envelope_is_known() {
        let mut carrier = carrier();
        carrier.take(plain(0), 0).unwrap();
        assert_eq!(carrier.take(plain(0), 0).unwrap_err().to_string(), "already known");
        // Once it is on L1 its nonce says more.
        let low = carrier.take(plain(0), 1).unwrap_err();
        assert_eq!(low.to_string(), "nonce too low: next nonce 1, tx nonce 0");
    }

    #[test]
    fn nonces_that_are_used_are_too_low() {
        assert_eq!(carrier().take(plain(4), 5), Err(Refusal::NonceTooLow { next: 5, nonce: 4 }));
        let last = Refusal::NonceTooLow { next: u64::MAX, nonce: u64::MAX };
        assert_eq!(carrier().take(plain(u64::MAX), u64::MAX), Err(last));
    }

    #[test]
    fn nonces_that_are_far_ahead_are_too_high() {
        let mut carrier = carrier();
        carrier.take(plain(12), 5).unwrap();
        assert_eq!(carrier.take(plain(13), 5), Err(Refusal::NonceTooHigh { next: 5, nonce: 13, most: 8 }));
    }

    #[test]
    fn a_gap_is_kept_and_not_counted() {
        let (mut carrier, sender) = (carrier(), signer(1).address());
        assert_eq!(carrier.next_nonce(&sender), None);
        carrier.take(plain(1), 0).unwrap();
        assert_eq!(carrier.next_nonce(&sender), Some(0));
        carrier.take(plain(0), 0).unwrap();
        assert_eq!(carrier.next_nonce(&sender), Some(2));
    }

    #[test]
    fn a_replacement_raises_both_fees_by_ten_percent() {
        let mut carrier = carrier();
        carrier.take(offering(200, 100), 0).unwrap();
        for (cap, tip, what) in [(219, 110, "gas fee cap"), (220, 109, "gas tip cap")] {
            let refusal = carrier.take(offering(cap, tip), 0).unwrap_err().to_string();
            assert!(refusal.starts_with("replacement transaction underpriced") && refusal.contains(what), "{refusal}");
        }
        let better = offering(220, 110);
        let hash = better.hash();
        carrier.take(better, 0).unwrap();
        assert!(carrier.carried().get(&hash).is_some());
        assert!(carrier.carried().get(&offering(200, 100).hash()).is_none(), "it was replaced");
        assert_eq!(carrier.load().0, 1);
    }

    #[test]
    fn a_replacement_raises_a_tip_of_nothing_too() {
        let mut carrier = carrier();
        carrier.take(offering(200, 0), 0).unwrap();
        assert!(carrier.take(offering(300, 0), 0).is_err());
        carrier.take(offering(300, 1), 0).unwrap();
    }

    #[test]
    fn a_replacement_with_blobs_doubles_all_fees() {
        let mut carrier = carrier();
        carrier.take(with_blob(0, 2, 10, 3), 0).unwrap();
        for (cap, tip, blob) in [(3, 20, 6), (4, 19, 6), (4, 20, 5)] {
            let refusal = carrier.take(with_blob(0, cap, tip, blob), 0).unwrap_err();
            assert!(matches!(refusal, Refusal::ReplacementUnderpriced { percent: 100, .. }), "{refusal}");
        }
        carrier.take(with_blob(0, 4, 20, 6), 0).unwrap();
    }

    #[test]
    fn a_sender_has_blobs_in_all_or_in_none() {
        let sender = signer(1).address();
        let mut first = carrier();
        first.take(plain(0), 0).unwrap();
        assert_eq!(first.take(with_blob(1, 2, 1, 1), 0), Err(Refusal::Reserved(sender)));
        let mut second = carrier();
        second.take(with_blob(0, 2, 1, 1), 0).unwrap();
        let refusal = second.take(plain(0), 0).unwrap_err();
        assert!(refusal.to_string().starts_with("address already reserved"), "{refusal}");
        // What is on L1 reserves nothing.
        second.take(plain(1), 1).unwrap();
    }

    #[test]
    fn the_pool_has_room_for_so_many_bytes() {
        let mut settings = settings();
        settings.max_bytes = 2 * with_blob(0, 2, 1, 1).size() + 50;
        let mut carrier = Carrier::new(settings);
        carrier.take(with_blob(0, 2, 1, 1), 0).unwrap();
        carrier.take(with_blob(1, 2, 1, 1), 0).unwrap();
        assert!(matches!(carrier.take(with_blob(2, 2, 1, 1), 0), Err(Refusal::Full { .. })));
        // A replacement takes the room of what it replaces.
        carrier.take(with_blob(1, 4, 2, 2), 0).unwrap();
    }

    #[test]
    fn an_account_without_lux_takes_nothing() {
        let mut carrier = carrier();
        let (next, transactions) = (BTreeMap::new(), HashMap::new());
        carrier.observe(&Observation {
            height: 1,
            hash: None,
            finalized: 0,
            finalized_hash: B256::ZERO,
            nonce: 0,
            balance: 10,
            next,
            transactions,
        });
        let refusal = carrier.take(plain(0), 0).unwrap_err();
        assert!(refusal.to_string().starts_with("insufficient funds for gas * price + value"), "{refusal}");
        assert_eq!(carrier.load(), (0, 0));
    }
}
