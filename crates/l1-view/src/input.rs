//! What the projection reads of a Dusk block.

use alloc::string::String;
use alloc::vec::Vec;

use alloy_primitives::{Address, B256, Bytes, Log, LogData, keccak256};
use alloy_rlp::{Decodable, Encodable};

/// Topic under which a settlement contract emits an Ethereum log: the data is RLP `[[topic, …], data]`.
pub const LOG_TOPIC: &str = "evm_log";

/// Topic under which the batch-inbox contract publishes a signed Ethereum transaction: the data is its EIP-2718 bytes.
pub const ENVELOPE_TOPIC: &str = "evm_envelope";

/// The part of a Dusk block that the view depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuskBlock {
    /// Height; becomes the number of the view block.
    pub height: u64,
    /// Unix seconds.
    pub timestamp: u64,
    /// Dusk block hash.
    pub hash: B256,
    /// Dusk hash of the parent; zero for the genesis block.
    pub prev_hash: B256,
    /// The header's seed signature.
    pub seed: [u8; 48],
    /// Transactions in block order. Those without events may be left out.
    pub txs: Vec<DuskTx>,
}

/// One Dusk transaction with the contract events it caused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuskTx {
    /// Dusk transaction id.
    pub id: B256,
    /// Position in the Dusk block.
    pub index: u32,
    /// Events in the order of emission, without reverted ones.
    pub events: Vec<DuskEvent>,
}

/// One contract event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuskEvent {
    /// The contract that emitted it.
    pub contract: B256,
    /// Its topic.
    pub topic: String,
    /// Its data.
    pub data: Bytes,
}

/// The EVM address of a Dusk contract: the last 20 bytes of keccak256 of its id.
pub fn contract_address(contract: &B256) -> Address {
    Address::from_word(keccak256(contract))
}

/// Event data for a log with these topics and data, as [`LOG_TOPIC`] carries it.
pub fn encode_log(topics: &[B256], data: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    topics.to_vec().encode(&mut payload);
    data.encode(&mut payload);
    let mut out = Vec::new();
    alloy_rlp::Header { list: true, payload_length: payload.len() }.encode(&mut out);
    out.extend_from_slice(&payload);
    out
}

/// The log that an event stands for; `None` if its data is not what [`encode_log`] makes.
pub(crate) fn decode_log(event: &DuskEvent) -> Option<Log> {
    let mut rest = event.data.as_ref();
    let mut payload = alloy_rlp::Header::decode_bytes(&mut rest, true).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let topics = Vec::<B256>::decode(&mut payload).ok()?;
    let data = Bytes::decode(&mut payload).ok()?;
    if !payload.is_empty() {
        return None;
    }
    Some(Log { address: contract_address(&event.contract), data: LogData::new(topics, data)? })
}
