//! A case in kona's types, and what kona asks for: L1, blobs, and an L2 that is not executed.

use crate::{
    departure::{Departure, Repairs},
    record::Stop,
    world::{Case, Mined},
};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use async_trait::async_trait;
use kona_alloy_consensus::{Block, BlockBody, Header, Receipt, TxEnvelope};
use kona_alloy_eips::{
    BlockNumHash,
    eip2718::{Decodable2718, Encodable2718 as KonaEncodable2718},
    eip4844::{Blob, IndexedBlobHash},
};
use kona_derive::{BlobProvider, BlobProviderError, ChainProvider, L2ChainProvider, PipelineError, PipelineErrorKind};
use kona_genesis::{BaseFeeConfig, ChainGenesis, HardForkConfig, RollupConfig, SystemConfig};
use kona_op_alloy_consensus::{OpBlock, OpTxEnvelope};
use kona_protocol::{
    BatchValidationProvider, BlockInfo, DEPOSIT_EVENT_ABI_HASH, L2BlockInfo, OpAttributesWithParent, to_system_config,
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// An L1 block in kona's types.
#[derive(Debug)]
struct L1Block {
    info: BlockInfo,
    header: Header,
    receipts: Vec<Receipt>,
    transactions: Vec<TxEnvelope>,
}

/// A case with its L1 in kona's types.
#[derive(Debug)]
pub struct KonaCase {
    /// As generated.
    pub case: Case,
    /// The rollup.
    pub config: Arc<RollupConfig>,
    versions: Vec<Vec<Arc<L1Block>>>,
    /// By versioned hash.
    blobs: HashMap<B256, Box<Blob>>,
    /// Hashes of the data of malformed logs of the system config contract.
    malformed: Arc<HashSet<B256>>,
    /// Keep what is given? A bench does not.
    pub keep_records: bool,
}

impl KonaCase {
    /// Translates a case by its encoded bytes.
    pub fn new(case: Case, malformed: HashSet<B256>) -> Self {
        let mut known: HashMap<B256, Arc<L1Block>> = HashMap::new();
        let versions = case
            .versions
            .iter()
            .map(|l1| {
                let translated =
                    l1.iter().map(|block| known.entry(block.header.hash()).or_insert_with(|| translate(block)).clone());
                translated.collect()
            })
            .collect();
        let blobs = case
            .blobs
            .iter()
            .map(|(hash, blob)| (*hash, Box::new(Blob::try_from(&blob[..]).expect("blobs have the length of a blob"))))
            .collect();
        let config = Arc::new(config(&case));
        Self { case, config, versions, blobs, malformed: Arc::new(malformed), keep_records: true }
    }
}

fn translate(block: &Mined) -> Arc<L1Block> {
    let mut header = Vec::new();
    alloy_rlp::Encodable::encode(block.header.inner(), &mut header);
    let header: Header = alloy_rlp::Decodable::decode(&mut &header[..]).expect("both know this header");
    let info = BlockInfo {
        hash: header.hash_slow(),
        number: header.number,
        parent_hash: header.parent_hash,
        timestamp: header.timestamp,
    };
    assert_eq!(info.hash, block.header.hash(), "both hash the header alike");
    let receipts = block.receipts.iter().map(|receipt| Receipt {
        status: receipt.status().into(),
        cumulative_gas_used: 0,
        logs: receipt.logs().to_vec(),
    });
    let transactions = block
        .transactions
        .iter()
        .map(|tx| TxEnvelope::decode_2718(&mut &tx.encoded_2718()[..]).expect("both know this transaction"));
    Arc::new(L1Block { info, header, receipts: receipts.collect(), transactions: transactions.collect() })
}

fn config(case: &Case) -> RollupConfig {
    let ours = &*case.config;
    let id = |id: duskevm_rollup::BlockId| BlockNumHash { number: id.number, hash: id.hash };
    let system = ours.genesis.system_config;
    let forks = ours.forks;
    RollupConfig {
        genesis: ChainGenesis {
            l1: id(ours.genesis.l1),
            l2: id(ours.genesis.l2),
            l2_time: ours.genesis.l2_time,
            system_config: Some(SystemConfig {
                batcher_address: system.batcher_address,
                overhead: U256::from_be_bytes(system.overhead.0),
                scalar: U256::from_be_bytes(system.scalar.0),
                gas_limit: system.gas_limit,
                eip1559_denominator: Some(0),
                eip1559_elasticity: Some(0),
                operator_fee_scalar: Some(system.operator_fee_scalar),
                operator_fee_constant: Some(system.operator_fee_constant),
                ..Default::default()
            }),
        },
        block_time: ours.block_time,
        max_sequencer_drift: ours.max_sequencer_drift,
        seq_window_size: ours.seq_window_size,
        channel_timeout: 300,
        l1_chain_id: ours.l1_chain_id,
        l2_chain_id: ours.l2_chain_id.into(),
        hardforks: HardForkConfig {
            regolith_time: forks.regolith,
            canyon_time: forks.canyon,
            delta_time: ours.delta_time,
            ecotone_time: forks.ecotone,
            fjord_time: forks.fjord,
            granite_time: forks.granite,
            holocene_time: forks.holocene,
            isthmus_time: forks.isthmus,
            ..Default::default()
        },
        batch_inbox_address: ours.batch_inbox_address,
        deposit_contract_address: ours.deposit_contract_address,
        l1_system_config_address: ours.l1_system_config_address,
        chain_op_config: BaseFeeConfig {
            eip1559_elasticity: ours.eip1559.0,
            eip1559_denominator: ours.eip1559.1,
            eip1559_denominator_canyon: ours.eip1559.2,
        },
        ..Default::default()
    }
}

#[derive(Debug)]
struct State {
    /// Which version of L1 is current.
    version: usize,
    /// From genesis on, with the number of the L1 block that it was derived from.
    l2: Vec<(L2BlockInfo, OpBlock, u64)>,
}

/// Gives kona what it asks for.
#[derive(Debug, Clone)]
pub struct Provider {
    case: Arc<Shared>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct Shared {
    config: Arc<RollupConfig>,
    versions: Vec<Vec<Arc<L1Block>>>,
    by_hash: HashMap<B256, Arc<L1Block>>,
    blobs: HashMap<B256, Box<Blob>>,
    malformed: Arc<HashSet<B256>>,
    unexecutable: Arc<HashSet<B256>>,
    repairs: Option<Repairs>,
    keep_records: bool,
}

/// Something that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not there")]
pub struct Absent(&'static str);

impl From<Absent> for PipelineErrorKind {
    fn from(absent: Absent) -> Self {
        PipelineError::Provider(absent.to_string()).temp()
    }
}

impl Provider {
    /// At genesis, with the first version of L1.
    pub(super) fn new(case: &KonaCase, repairs: Option<Repairs>) -> Self {
        let mut genesis = Vec::new();
        alloy_rlp::Encodable::encode(case.case.genesis.header.inner(), &mut genesis);
        let header: Header = alloy_rlp::Decodable::decode(&mut &genesis[..]).expect("both know this header");
        let genesis = Block { header, body: BlockBody::default() };
        let info =
            L2BlockInfo::from_block_and_genesis(&genesis, &case.config.genesis).expect("it is the genesis block");
        let blocks = case.versions.iter().flatten();
        let shared = Shared {
            config: case.config.clone(),
            versions: case.versions.clone(),
            by_hash: blocks.map(|block| (block.info.hash, block.clone())).collect(),
            blobs: case.blobs.clone(),
            malformed: case.malformed.clone(),
            unexecutable: case.case.unexecutable.clone(),
            repairs,
            keep_records: case.keep_records,
        };
        let state = State { version: 0, l2: vec![(info, genesis, 0)] };
        Self { case: Arc::new(shared), state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_l1(&self, version: usize) {
        self.state().version = version;
    }

    pub(super) fn truncate_l2(&self, height: u64) {
        let mut state = self.state();
        let keep = state.l2.iter().take_while(|(info, _, from)| info.block_info.number == 0 || *from < height).count();
        state.l2.truncate(keep);
    }

    pub(super) fn config(&self) -> &RollupConfig {
        &self.case.config
    }

    pub(super) fn repairs(&self) -> Option<&Repairs> {
        self.case.repairs.as_ref()
    }

    pub(super) fn keeps_records(&self) -> bool {
        self.case.keep_records
    }

    pub(super) fn l2_tip(&self) -> L2BlockInfo {
        self.state().l2.last().expect("genesis is never taken back").0
    }

    pub(super) fn l2(&self, number: u64) -> Result<(L2BlockInfo, OpBlock), Absent> {
        let state = self.state();
        let found = usize::try_from(number).ok().and_then(|at| state.l2.get(at));
        found.map(|(info, block, _)| (*info, block.clone())).ok_or(Absent("the L2 block"))
    }

    pub(super) fn l1_info(&self, number: u64) -> Result<BlockInfo, Absent> {
        let version = self.state().version;
        let found = usize::try_from(number).ok().and_then(|at| self.case.versions[version].get(at));
        found.map(|block| block.info).ok_or(Absent("the L1 block"))
    }

    fn l1(&self, hash: B256) -> Result<&L1Block, Absent> {
        self.case.by_hash.get(&hash).map(|block| &**block).ok_or(Absent("the L1 block"))
    }

    pub(super) fn system_config(&self, number: u64) -> Result<SystemConfig, Stop> {
        let state = self.state();
        let (_, block, _) = usize::try_from(number)
            .ok()
            .and_then(|at| state.l2.get(at))
            .ok_or_else(|| Stop::Halted("no such L2 block".into()))?;
        to_system_config(block, &self.case.config).map_err(|error| Stop::Halted(error.to_string()))
    }

    /// Makes a block of attributes, or of their deposits alone if a transaction is none or cannot be executed. Tells which.
    pub(super) fn execute(&self, attributes: &OpAttributesWithParent) -> bool {
        let all = attributes.inner.transactions.clone().unwrap_or_default();
        let (deposits, batch): (Vec<Bytes>, Vec<Bytes>) = all.into_iter().partition(|tx| tx.first() == Some(&0x7e));
        let decode = |tx: &Bytes| OpTxEnvelope::decode_2718_exact(tx).ok();
        let mut transactions: Vec<OpTxEnvelope> =
            deposits.iter().map(|tx| decode(tx).expect("kona made this deposit")).collect();
        let whole: Option<Vec<OpTxEnvelope>> = batch
            .iter()
            .map(|tx| {
                if self.case.unexecutable.contains(&keccak256(tx)) {
                    return None;
                }
                let decoded = decode(tx)?;
                recoverable(&decoded).then_some(decoded)
            })
            .collect();
        let replaced = whole.is_none();
        transactions.extend(whole.unwrap_or_default());
        let block = seal(attributes, transactions, &self.case.config);
        let info = L2BlockInfo::from_block_and_genesis(&block, &self.case.config.genesis)
            .expect("it has an L1-attributes deposit");
        let derived_from = attributes.derived_from.map_or(0, |block| block.number);
        self.state().l2.push((info, block, derived_from));
        replaced
    }
}

fn recoverable(tx: &OpTxEnvelope) -> bool {
    match tx {
        OpTxEnvelope::Legacy(tx) => tx.recover_signer().is_ok(),
        OpTxEnvelope::Eip2930(tx) => tx.recover_signer().is_ok(),
        OpTxEnvelope::Eip1559(tx) => tx.recover_signer().is_ok(),
        OpTxEnvelope::Eip7702(tx) => tx.recover_signer().is_ok(),
        OpTxEnvelope::Deposit(_) => false,
    }
}

/// The same header as [`crate::world::seal`] makes, from kona's attributes.
fn seal(attributes: &OpAttributesWithParent, transactions: Vec<OpTxEnvelope>, config: &RollupConfig) -> OpBlock {
    let payload = &attributes.inner.payload_attributes;
    let params = attributes.inner.eip_1559_params.map(|params| params.0).unwrap_or_default();
    let mut extra_data = vec![0];
    if params == [0; 8] {
        extra_data.extend_from_slice(&(config.chain_op_config.eip1559_denominator_canyon as u32).to_be_bytes());
        extra_data.extend_from_slice(&(config.chain_op_config.eip1559_elasticity as u32).to_be_bytes());
    } else {
        extra_data.extend_from_slice(&params);
    }
    let hashes: Vec<u8> = transactions.iter().flat_map(|tx| keccak256(tx.encoded_2718()).0).collect();
    let header = Header {
        parent_hash: attributes.parent.block_info.hash,
        number: attributes.parent.block_info.number + 1,
        timestamp: payload.timestamp,
        mix_hash: payload.prev_randao,
        beneficiary: payload.suggested_fee_recipient,
        gas_limit: attributes.inner.gas_limit.unwrap_or_default(),
        parent_beacon_block_root: payload.parent_beacon_block_root,
        base_fee_per_gas: Some(7),
        extra_data: extra_data.into(),
        withdrawals_root: Some(B256::repeat_byte(7)),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        transactions_root: keccak256(hashes),
        ..Default::default()
    };
    Block { header, body: BlockBody { transactions, ..Default::default() } }
}

#[async_trait]
impl ChainProvider for Provider {
    type Error = Absent;

    async fn header_by_hash(&mut self, hash: B256) -> Result<Header, Absent> {
        self.l1(hash).map(|block| block.header.clone())
    }

    async fn block_info_by_number(&mut self, number: u64) -> Result<BlockInfo, Absent> {
        self.l1_info(number)
    }

    async fn receipts_by_hash(&mut self, hash: B256) -> Result<Vec<Receipt>, Absent> {
        let mut receipts = self.l1(hash)?.receipts.clone();
        if let Some(fired) = self.repairs() {
            for log in receipts.iter_mut().flat_map(|receipt| &mut receipt.logs) {
                let high = |word: usize| log.data.data.get(word..word + 24).is_some_and(|bytes| *bytes != [0; 24]);
                if log.address == self.case.config.deposit_contract_address
                    && log.topics().first() == Some(&DEPOSIT_EVENT_ABI_HASH)
                    && (high(0) || high(32))
                    && fired.mends(Departure::DepositHighBytes)
                {
                    // Then kona refuses it, too.
                    log.data.data = Bytes::new();
                }
                if log.address == self.case.config.l1_system_config_address
                    && self.case.malformed.contains(&keccak256(&log.data.data))
                    && fired.mends(Departure::MalformedConfigLog)
                {
                    // It keeps its place, for the sources of deposits count all logs.
                    log.address = Address::ZERO;
                }
            }
        }
        Ok(receipts)
    }

    async fn block_info_and_transactions_by_hash(
        &mut self,
        hash: B256,
    ) -> Result<(BlockInfo, Vec<TxEnvelope>), Absent> {
        self.l1(hash).map(|block| (block.info, block.transactions.clone()))
    }
}

#[async_trait]
impl BlobProvider for Provider {
    type Error = BlobProviderError;

    async fn get_blobs(
        &mut self,
        _: &BlockInfo,
        hashes: &[IndexedBlobHash],
    ) -> Result<Vec<Box<Blob>>, BlobProviderError> {
        let find = |wanted: &IndexedBlobHash| {
            let mut blob = self
                .case
                .blobs
                .get(&wanted.hash)
                .cloned()
                .ok_or_else(|| BlobProviderError::Backend("the blob is not there".into()))?;
            if let Some(fired) = self.repairs() {
                let departure = if blob.iter().all(|byte| *byte == 0) {
                    Some(Departure::ZeroBlob)
                } else if blob[0] & 0xc0 != 0 {
                    Some(Departure::BlobFirstByte)
                } else {
                    None
                };
                if departure.is_some_and(|departure| fired.mends(departure)) {
                    // Neither holds frames. kona passes over a blob of an unknown version.
                    blob[1] = 0xff;
                }
            }
            Ok(blob)
        };
        hashes.iter().map(find).collect()
    }
}

#[async_trait]
impl BatchValidationProvider for Provider {
    type Error = Absent;

    async fn l2_block_info_by_number(&mut self, number: u64) -> Result<L2BlockInfo, Absent> {
        self.l2(number).map(|(info, _)| info)
    }

    async fn block_by_number(&mut self, number: u64) -> Result<OpBlock, Absent> {
        self.l2(number).map(|(_, block)| block)
    }
}

#[async_trait]
impl L2ChainProvider for Provider {
    type Error = Absent;

    async fn system_config_by_number(&mut self, number: u64, _: Arc<RollupConfig>) -> Result<SystemConfig, Absent> {
        self.system_config(number).map_err(|_| Absent("the system config"))
    }
}
