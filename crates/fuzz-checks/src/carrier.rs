//! What clients send to the carrier.

use duskevm_carrier_core::{Carrier, Envelope, Gas, MAX_BLOBS, MAX_RAW_BYTES, Record, Refusal, Rules, Settings};
use duskevm_settlement::MAX_ENVELOPE_BYTES;

use crate::settlement::{CHAIN_ID, inbox};

fn settings() -> Settings {
    Settings {
        rules: Rules { chain_id: CHAIN_ID, inbox: inbox(), gas_limit: 60_000_000, ..Rules::default() },
        gas: Gas { per_blob: 1, least: 1, call: 1, per_call_byte: 1 },
        gas_price: 1,
        max_gas_price: 2,
        fee_bump_percent: 1,
        bump_after: 1,
        max_in_flight: 1,
        max_ahead: 1,
        max_bytes: 1 << 20,
        blob_life: 1,
    }
}

/// Reads what a client sends, whoever signed it.
fn read(data: &[u8], settings: &mut Settings) -> Result<Envelope, Refusal> {
    match Envelope::read(data, &settings.rules) {
        Err(Refusal::Sender(sender)) => {
            settings.rules.senders.push(sender);
            Envelope::read(data, &settings.rules)
        }
        other => other,
    }
}

/// A transaction that a client sends.
pub fn carried_envelope(data: &[u8]) {
    let mut settings = settings();
    let envelope = match read(data, &mut settings) {
        Ok(envelope) => envelope,
        Err(refusal) => return assert!(!refusal.to_string().is_empty()),
    };
    assert!(data.len() <= MAX_RAW_BYTES && envelope.raw().len() <= MAX_ENVELOPE_BYTES);
    assert!(envelope.blobs().len() <= MAX_BLOBS);
    let brought = envelope.blobs().iter().map(|blob| *blob.hash());
    assert!(brought.eq(envelope.blob_hashes().iter().map(|hash| hash.0)), "each blob is there");
    assert_eq!(Envelope::hash_of(data), Some(envelope.hash()));
    if envelope.blobs().is_empty() {
        assert_eq!(envelope.raw(), data, "an envelope without blobs has one form");
    }
    // What is taken comes back from the journal as it is.
    let (mut first, mut second) = (Carrier::new(settings.clone()), Carrier::new(settings));
    let (hash, nonce) = (envelope.hash(), envelope.nonce());
    let records = match first.take(envelope.clone(), nonce) {
        Ok(records) => records,
        Err(refusal) => return assert_eq!(refusal, Refusal::NonceTooLow { next: u64::MAX, nonce: u64::MAX }),
    };
    for record in records {
        let read = Record::decode(&record.encode()).expect("a record is read as it was written");
        second.replay(read).expect("what was taken is an envelope");
    }
    assert_eq!(second.carried().get(&hash).map(|found| &**found), Some(&envelope));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_taken() {
        let all = crate::samples::carried_envelopes();
        let blobs = all.iter().map(|sample| read(sample, &mut settings()).map(|envelope| envelope.blobs().len()));
        assert_eq!(blobs.collect::<Vec<_>>(), [Ok(0), Ok(1)]);
    }
}
