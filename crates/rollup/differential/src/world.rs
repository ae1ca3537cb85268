//! L1 and L2 as plain data, in the types of the node: what is generated, and what both pipelines read.

use alloy_consensus::{
    EMPTY_ROOT_HASH, EthereumTxEnvelope, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Sealable, Sealed,
    SignableTransaction, TxEip1559, TxEip2930, TxEip4844, TxLegacy,
};
use alloy_primitives::{Address, B64, B256, Bytes, Log, TxKind, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use duskevm_evm::{Block, BlockAttributes, ChainSpec, Eip1559Constants, ForkTimes, header::extra_data};
use duskevm_rollup::{BlockId, L1BlockRef, RollupConfig, RollupGenesis, SystemConfig, derive::L1Block};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// L1 chain id.
pub const L1_CHAIN: u64 = 3;
/// L2 chain id.
pub const L2_CHAIN: u64 = 31310;
/// When both chains begin, in seconds.
pub const START: u64 = 1_000_000;
/// Where batches go.
pub const INBOX: Address = Address::repeat_byte(0x1b);
/// Whose logs are deposits.
pub const PORTAL: Address = Address::repeat_byte(0x70);
/// Whose logs change the system config.
pub const SYSTEM: Address = Address::repeat_byte(0x73);

/// A block of L1.
#[derive(Debug, Clone)]
pub struct Mined {
    /// Its header.
    pub header: Sealed<Header>,
    /// Its transactions.
    pub transactions: Vec<EthereumTxEnvelope<TxEip4844>>,
    /// Their receipts.
    pub receipts: Vec<ReceiptEnvelope>,
}

impl Mined {
    /// The block on top of `parent`. `salt` tells blocks of the same height apart.
    pub fn on(
        parent: Option<&Sealed<Header>>,
        timestamp: u64,
        salt: u64,
        transactions: Vec<EthereumTxEnvelope<TxEip4844>>,
        receipts: Vec<ReceiptEnvelope>,
    ) -> Self {
        let number = parent.map_or(0, |parent| parent.number + 1);
        let header = Header {
            parent_hash: parent.map_or(B256::ZERO, |parent| parent.hash()),
            number,
            timestamp,
            mix_hash: keccak256([number.to_be_bytes(), salt.to_be_bytes()].concat()),
            base_fee_per_gas: Some(1_000_000_000 + salt % 1000),
            // Fields behind an absent one cannot be told apart in the encoded header.
            withdrawals_root: Some(EMPTY_ROOT_HASH),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: (salt % 2 == 0).then(|| keccak256(salt.to_be_bytes())),
            ..Default::default()
        };
        Self { header: header.seal_slow(), transactions, receipts }
    }

    /// As the node refers to it.
    pub fn block_ref(&self) -> L1BlockRef {
        L1BlockRef {
            hash: self.header.hash(),
            number: self.header.number,
            parent_hash: self.header.parent_hash,
            timestamp: self.header.timestamp,
        }
    }

    /// As the node's derivation takes it.
    pub fn read(&self, config: &RollupConfig) -> L1Block {
        L1Block::read(config, &self.header, &self.transactions, &self.receipts)
    }
}

/// One L1 chain from its first block on. Blocks are shared between the chains before and after a reorganization.
pub type L1 = Vec<Arc<Mined>>;

/// All that derivation reads.
#[derive(Debug, Clone)]
pub struct Case {
    /// The rollup.
    pub config: Arc<RollupConfig>,
    /// The rules of its blocks.
    pub spec: ChainSpec,
    /// Its first block.
    pub genesis: Block,
    /// L1 as it is at first, and then after each reorganization.
    pub versions: Vec<L1>,
    /// Blobs by versioned hash.
    pub blobs: Arc<HashMap<B256, Bytes>>,
    /// Hashes of the transactions that cannot be executed: a block with one of them is invalid.
    pub unexecutable: Arc<HashSet<B256>>,
}

/// What the rollup is like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Seconds between L2 blocks.
    pub block_time: u64,
    /// Sequencing window in L1 blocks.
    pub seq_window_size: u64,
}

/// An account from a small number.
pub fn signer(index: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(index + 1))
        .expect("no repeated byte is above the order of the curve")
}

impl Case {
    /// A rollup at its genesis, with Isthmus active: the newest fork that the published kona knows.
    pub fn new(shape: Shape) -> Self {
        let forks = ForkTimes::isthmus_at_genesis();
        let spec = ChainSpec::new(L2_CHAIN, forks, Eip1559Constants::default()).expect("the constants are fine");
        let genesis = Header {
            timestamp: START,
            gas_limit: 30_000_000,
            base_fee_per_gas: Some(7),
            extra_data: extra_data(&spec, START, Some(B64::ZERO), None).expect("Isthmus has these parameters"),
            ..Default::default()
        };
        let genesis = Block { header: genesis.seal_slow(), transactions: Vec::new() };
        let l1 = Mined::on(None, START, 0, Vec::new(), Vec::new());
        let config = RollupConfig {
            genesis: RollupGenesis {
                l1: BlockId { hash: l1.header.hash(), number: 0 },
                l2: BlockId { hash: genesis.hash(), number: 0 },
                l2_time: START,
                system_config: SystemConfig {
                    batcher_address: signer(0).address(),
                    gas_limit: 30_000_000,
                    scalar: SystemConfig::scalar_v1(1368, 810_949),
                    ..Default::default()
                },
            },
            block_time: shape.block_time,
            max_sequencer_drift: 600,
            seq_window_size: shape.seq_window_size,
            l1_chain_id: L1_CHAIN,
            l2_chain_id: L2_CHAIN,
            forks,
            delta_time: Some(0),
            batch_inbox_address: INBOX,
            deposit_contract_address: PORTAL,
            l1_system_config_address: SYSTEM,
            eip1559: (6, 50, 250),
        };
        config.validate().expect("this is a valid configuration");
        Self {
            config: Arc::new(config),
            spec,
            genesis,
            versions: vec![vec![Arc::new(l1)]],
            blobs: Arc::default(),
            unexecutable: Arc::default(),
        }
    }

    /// L1 as it is last.
    pub fn l1(&self) -> &L1 {
        self.versions.last().expect("there is always one")
    }

    /// L1 as it is last.
    pub fn l1_mut(&mut self) -> &mut L1 {
        self.versions.last_mut().expect("there is always one")
    }
}

/// Header fields of an L2 block that is not executed: it commits to its attributes alone, so two chains are equal exactly if all
/// their attributes are.
pub fn seal(spec: &ChainSpec, parent: &Block, attributes: &BlockAttributes) -> Block {
    let hashes: Vec<u8> = attributes.transactions.iter().flat_map(|tx| tx.hash().0).collect();
    let extra_data =
        extra_data(spec, attributes.timestamp, attributes.eip1559_params, attributes.min_base_fee).unwrap_or_default();
    let header = Header {
        parent_hash: parent.hash(),
        number: parent.number() + 1,
        timestamp: attributes.timestamp,
        mix_hash: attributes.prev_randao,
        beneficiary: attributes.fee_recipient,
        gas_limit: attributes.gas_limit,
        parent_beacon_block_root: attributes.parent_beacon_block_root,
        base_fee_per_gas: Some(7),
        extra_data,
        withdrawals_root: Some(B256::repeat_byte(7)),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        transactions_root: keccak256(hashes),
        ..Default::default()
    };
    Block { header: header.seal_slow(), transactions: attributes.transactions.clone() }
}

/// What a transaction to the inbox carries.
#[derive(Debug, Clone)]
pub enum Post {
    /// Batcher data as call data.
    Calldata(Bytes),
    /// Blobs as they are.
    Blobs(Vec<Bytes>),
}

/// Signs a transaction to `to` with this content. `kind` chooses the type of one with call data.
pub fn transaction(
    sender: &PrivateKeySigner,
    nonce: u64,
    kind: u64,
    to: Address,
    post: Post,
    blobs: &mut HashMap<B256, Bytes>,
) -> EthereumTxEnvelope<TxEip4844> {
    let sign = |hash| sender.sign_hash_sync(&hash).expect("a local key can sign");
    let to_call = TxKind::Call(to);
    match post {
        Post::Calldata(input) => match kind % 3 {
            0 => {
                let tx = TxLegacy {
                    chain_id: Some(L1_CHAIN),
                    nonce,
                    gas_limit: 21_000,
                    to: to_call,
                    input,
                    ..Default::default()
                };
                let signature = sign(tx.signature_hash());
                EthereumTxEnvelope::Legacy(tx.into_signed(signature))
            }
            1 => {
                let tx = TxEip2930 {
                    chain_id: L1_CHAIN,
                    nonce,
                    gas_limit: 21_000,
                    to: to_call,
                    input,
                    ..Default::default()
                };
                let signature = sign(tx.signature_hash());
                EthereumTxEnvelope::Eip2930(tx.into_signed(signature))
            }
            _ => {
                let tx = TxEip1559 {
                    chain_id: L1_CHAIN,
                    nonce,
                    gas_limit: 21_000,
                    to: to_call,
                    input,
                    ..Default::default()
                };
                let signature = sign(tx.signature_hash());
                EthereumTxEnvelope::Eip1559(tx.into_signed(signature))
            }
        },
        Post::Blobs(contents) => {
            let hashes = contents.into_iter().map(|blob| {
                let mut hash = keccak256(&blob);
                hash[0] = 1;
                blobs.insert(hash, blob);
                hash
            });
            let tx = TxEip4844 {
                chain_id: L1_CHAIN,
                nonce,
                gas_limit: 21_000,
                to,
                blob_versioned_hashes: hashes.collect(),
                // Does not count beside blobs.
                input: Bytes::from_static(b"call data"),
                ..Default::default()
            };
            let signature = sign(tx.signature_hash());
            EthereumTxEnvelope::Eip4844(tx.into_signed(signature))
        }
    }
}

/// The receipt of a transaction with these logs.
pub fn receipt(success: bool, logs: Vec<Log>) -> ReceiptEnvelope {
    let receipt = Receipt { status: success.into(), cumulative_gas_used: 0, logs };
    ReceiptEnvelope::Eip1559(ReceiptWithBloom::from(receipt))
}
