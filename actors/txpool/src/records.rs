//! The records of the journal. The only place that knows bincode.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, map::B256Map};
use bincode::{Decode, Encode, config};
use duskevm_evm::RecoveredTx;
use duskevm_pool::PoolTx;

use crate::error::TxPoolError;

/// First byte of each record.
const VERSION: u8 = 1;

/// What the journal is told.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    /// A transaction was accepted, and others left for it: replaced or evicted. One record, so that no reader sees the one
    /// without the other.
    Accepted { tx: Arc<RecoveredTx>, gone: Vec<B256> },
    /// Transactions expired.
    Gone(Vec<B256>),
}

#[derive(Encode, Decode)]
enum Wire {
    Accepted { sender: [u8; 20], encoded: Vec<u8>, gone: Vec<[u8; 32]> },
    Gone(Vec<[u8; 32]>),
}

pub(crate) fn encode(record: &Record) -> Vec<u8> {
    let wire = match record {
        Record::Accepted { tx, gone } => Wire::Accepted {
            sender: tx.sender().into_array(),
            encoded: tx.encoded().to_vec(),
            gone: gone.iter().map(|hash| hash.0).collect(),
        },
        Record::Gone(hashes) => Wire::Gone(hashes.iter().map(|hash| hash.0).collect()),
    };
    let mut bytes = vec![VERSION];
    // Writing to a vector cannot fail, and these types have no value that bincode refuses.
    let written = bincode::encode_into_std_write(wire, &mut bytes, config::standard());
    debug_assert!(written.is_ok());
    bytes
}

fn decode(bytes: &[u8]) -> Result<Wire, String> {
    let (version, rest) = bytes.split_first().ok_or("it is empty")?;
    if *version != VERSION {
        return Err(format!("version {version}, this program writes {VERSION}"));
    }
    let (wire, read) = bincode::decode_from_slice(rest, config::standard()).map_err(|e| e.to_string())?;
    if read != rest.len() {
        return Err(format!("{} bytes too many", rest.len() - read));
    }
    Ok(wire)
}

/// The transactions that the journal says are accepted and not gone, in order of acceptance. Authorities are not recovered yet.
pub(crate) fn replay(records: &[Vec<u8>]) -> Result<Vec<PoolTx>, TxPoolError> {
    let fail = |index: usize, reason: String| TxPoolError::Record { index, reason };
    // By position, so that the order stays and the same transaction accepted twice counts once.
    let mut live: Vec<Option<PoolTx>> = Vec::new();
    let mut places: B256Map<usize> = B256Map::default();
    for (index, bytes) in records.iter().enumerate() {
        let (accepted, gone) = match decode(bytes).map_err(|reason| fail(index, reason))? {
            Wire::Accepted { sender, encoded, gone } => {
                // The signature was checked before it was written, and the record's checksum says it is what was written.
                let tx = RecoveredTx::decode_with_sender(&Bytes::from(encoded), Address::new(sender))
                    .map_err(|error| fail(index, error.to_string()))?;
                (Some(PoolTx::outline(Arc::new(tx))), gone)
            }
            Wire::Gone(gone) => (None, gone),
        };
        for hash in gone {
            if let Some(place) = places.remove(&B256::new(hash)) {
                live[place] = None;
            }
        }
        if let Some(tx) = accepted
            && !places.contains_key(&tx.hash())
        {
            places.insert(tx.hash(), live.len());
            live.push(Some(tx));
        }
    }
    Ok(live.into_iter().flatten().collect())
}
