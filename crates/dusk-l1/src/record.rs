//! How an accepted block is kept: the block in the ledger's own encoding, beside what its execution produced.
//!
//! RLP `[header, block, [[id, gas spent, error], …], [[transaction + 1 or 0, contract, topic, data], …]]`. The header is kept
//! twice so that it can be read without decoding the transactions, which costs milliseconds each.

use alloy_primitives::{B256, Bytes};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};
use dusk_core::abi::Event;
use dusk_node_data::Serializable;
use dusk_node_data::ledger::{Block, Header};

use crate::block::{BlockError, ExecutedBlock, decode_block, encode_block};
use crate::execute::TxOutcome;
use crate::finality::{Finality, Label};
use crate::tx::strip;

/// Bytes that are not what this module writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a stored L1 {what} does not decode")]
pub struct RecordError {
    what: &'static str,
}

/// An accepted block with its effects, cheap to read except for [`AcceptedBlock::block`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedBlock {
    /// The header.
    pub header: Header,
    /// The whole block in the ledger's encoding.
    pub encoded: Bytes,
    /// One entry for each transaction, in order.
    pub outcomes: Vec<TxOutcome>,
    /// Events with the index of the transaction that caused them; those of the block itself have none.
    pub events: Vec<(Option<usize>, Event)>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct Record {
    header: Bytes,
    block: Bytes,
    outcomes: Vec<OutcomeRecord>,
    events: Vec<EventRecord>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct OutcomeRecord {
    id: B256,
    gas_spent: u64,
    error: String,
}

#[derive(RlpEncodable, RlpDecodable)]
struct EventRecord {
    tx: u64,
    contract: B256,
    topic: String,
    data: Bytes,
}

impl AcceptedBlock {
    /// From a block that was made or checked here. Sidecars of blobs are left out: they are kept elsewhere, for a time.
    pub fn new(block: &ExecutedBlock) -> std::io::Result<Self> {
        Ok(Self {
            header: block.block.header().clone(),
            encoded: encode_block(&stripped(&block.block)?)?.into(),
            outcomes: block.executed.outcomes.clone(),
            events: block.executed.events.iter().filter(|(_, event)| !event.reverted).cloned().collect(),
        })
    }

    /// The genesis block, which has no effects.
    pub fn genesis(block: &Block) -> std::io::Result<Self> {
        Ok(Self {
            header: block.header().clone(),
            encoded: encode_block(block)?.into(),
            outcomes: Vec::new(),
            events: Vec::new(),
        })
    }

    /// Decodes the block with its transactions: decompresses every key in it.
    pub fn block(&self) -> Result<Block, BlockError> {
        decode_block(&self.encoded)
    }

    /// The storage form.
    pub fn encode(&self) -> std::io::Result<Vec<u8>> {
        let mut header = Vec::new();
        self.header.write(&mut header)?;
        let record = Record {
            header: header.into(),
            block: self.encoded.clone(),
            outcomes: self
                .outcomes
                .iter()
                .map(|outcome| OutcomeRecord {
                    id: outcome.id.into(),
                    gas_spent: outcome.gas_spent,
                    error: outcome.error.clone().unwrap_or_default(),
                })
                .collect(),
            events: self
                .events
                .iter()
                .map(|(tx, event)| EventRecord {
                    tx: tx.map_or(0, |index| index as u64 + 1),
                    contract: event.source.to_bytes().into(),
                    topic: event.topic.clone(),
                    data: event.data.clone().into(),
                })
                .collect(),
        };
        let mut out = Vec::with_capacity(record.length());
        Encodable::encode(&record, &mut out);
        Ok(out)
    }

    /// Reads the storage form.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let bad = RecordError { what: "block" };
        let record: Record = decode_exact(bytes).ok_or(bad.clone())?;
        let mut rest = record.header.as_ref();
        let header = Header::read(&mut rest).map_err(|_| bad.clone())?;
        if !rest.is_empty() || !record.block.starts_with(&record.header) {
            return Err(bad);
        }
        let outcomes = record.outcomes.into_iter().map(|outcome| TxOutcome {
            id: outcome.id.0,
            gas_spent: outcome.gas_spent,
            error: (!outcome.error.is_empty()).then_some(outcome.error),
        });
        let events = record.events.into_iter().map(|event| {
            let tx = event.tx.checked_sub(1).and_then(|index| usize::try_from(index).ok());
            let source = event.contract.0.into();
            (tx, Event { source, topic: event.topic, data: event.data.to_vec(), reverted: false })
        });
        Ok(Self { header, encoded: record.block, outcomes: outcomes.collect(), events: events.collect() })
    }
}

/// The block without the sidecars of its blobs. Neither hash nor roots change.
fn stripped(block: &Block) -> std::io::Result<Block> {
    let txs = block.txs().iter().map(|tx| strip(tx).0.unwrap_or_else(|| tx.clone())).collect();
    Block::new(block.header().clone(), txs, block.faults().clone())
}

#[derive(RlpEncodable, RlpDecodable)]
struct FinalityRecord {
    last_final: u64,
    labels: Vec<LabelRecord>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct LabelRecord {
    kind: u8,
    blocks: u64,
}

impl Finality {
    /// The storage form.
    pub fn encode(&self) -> Vec<u8> {
        let labels = self.labels().map(|label| {
            let (kind, blocks) = match label {
                Label::Accepted(n) => (0, n),
                Label::Attested(n) => (1, n),
                Label::Confirmed(n) => (2, n),
                Label::Final(n) => (3, n),
            };
            LabelRecord { kind, blocks }
        });
        let record = FinalityRecord { last_final: self.last_final(), labels: labels.collect() };
        let mut out = Vec::new();
        Encodable::encode(&record, &mut out);
        out
    }

    /// Reads the storage form.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let bad = RecordError { what: "list of labels" };
        let record: FinalityRecord = decode_exact(bytes).ok_or(bad.clone())?;
        let labels = record.labels.into_iter().map(|label| match label.kind {
            0 => Ok(Label::Accepted(label.blocks)),
            1 => Ok(Label::Attested(label.blocks)),
            2 => Ok(Label::Confirmed(label.blocks)),
            _ => Err(bad.clone()),
        });
        Ok(Self::from_parts(record.last_final, labels.collect::<Result<_, _>>()?))
    }
}

fn decode_exact<T: Decodable>(bytes: &[u8]) -> Option<T> {
    let mut rest = bytes;
    let value = T::decode(&mut rest).ok()?;
    rest.is_empty().then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    fn sample() -> AcceptedBlock {
        let event = |topic: &str, data: &[u8]| Event {
            source: [9; 32].into(),
            topic: topic.into(),
            data: data.to_vec(),
            reverted: false,
        };
        AcceptedBlock {
            outcomes: vec![
                TxOutcome { id: [1; 32], gas_spent: 5, error: None },
                TxOutcome { id: [2; 32], gas_spent: u64::MAX, error: Some("out of gas".into()) },
            ],
            events: vec![(Some(0), event("a", b"")), (Some(1), event("b", &[7; 300])), (None, event("reward", b"r"))],
            ..AcceptedBlock::genesis(&testing::genesis().block()).unwrap()
        }
    }

    #[test]
    fn round_trip() {
        let block = sample();
        let bytes = block.encode().unwrap();
        assert_eq!(AcceptedBlock::decode(&bytes).unwrap(), block);
        assert_eq!(block.block().unwrap().header(), &block.header);
        assert!(AcceptedBlock::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(AcceptedBlock::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn the_two_headers_must_agree() {
        let mut block = sample();
        block.header.timestamp += 1;
        assert!(AcceptedBlock::decode(&block.encode().unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn labels_round_trip(pnis in prop::collection::vec(0u8..3, 0..40)) {
            let mut finality = Finality::genesis();
            for pni in pnis {
                finality.accept(pni);
                prop_assert_eq!(&Finality::decode(&finality.encode()).unwrap(), &finality);
            }
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = AcceptedBlock::decode(&bytes);
            let _ = Finality::decode(&bytes);
        }
    }
}
