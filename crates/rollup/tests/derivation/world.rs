//! An L1 in memory, a sequencer that builds on it, a batcher that posts to it, and a verifier that drives the pipeline.
//!
//! Blocks are not executed: a sealed block commits to its attributes alone, so two chains are equal exactly if all their attributes are.

use alloy_consensus::{
    EthereumTxEnvelope, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Sealable, Sealed, SignableTransaction,
    TxEip1559, TxEip4844, TxLegacy,
};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B64, B256, Bytes, Log, TxKind, U256, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use duskevm_evm::{Block, BlockAttributes, ChainSpec, Eip1559Constants, ForkTimes, header::extra_data};
use duskevm_rollup::{
    BlockId, L1BlockRef, OriginBlock, RollupConfig, RollupGenesis, SystemConfig,
    batch::{Batch, SingularBatch, SpanEncoder, batch_of_block},
    blob, choose_origin,
    derive::{Buffered, DerivedAttributes, Input, L1Block, L2Head, Need, Notice, Pipeline, ResetReason, Step},
    epoch_attributes,
    frame::{ChannelId, Frame, encode_frames},
    l2_block_ref, system_config_of,
};
use op_alloy_consensus::OpTxEnvelope;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

pub const L1_CHAIN: u64 = 3;
pub const L2_CHAIN: u64 = 31310;
pub const START: u64 = 1_000_000;
pub const L1_BLOCK_TIME: u64 = 10;
pub const WINDOW: u64 = 12;
pub const INBOX: Address = Address::repeat_byte(0x1b);
pub const PORTAL: Address = Address::repeat_byte(0x70);
pub const SYSTEM: Address = Address::repeat_byte(0x73);

pub fn signer(index: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(index + 1)).unwrap()
}

/// What a transaction to the inbox carries.
#[derive(Debug, Clone)]
pub enum Post {
    Calldata(Bytes),
    /// Batcher data, each for a blob of its own.
    Blobs(Vec<Bytes>),
    /// Blobs as they are.
    RawBlobs(Vec<Bytes>),
}

#[derive(Debug, Clone)]
pub struct Mined {
    pub header: Sealed<Header>,
    pub transactions: Vec<EthereumTxEnvelope<TxEip4844>>,
    pub receipts: Vec<ReceiptEnvelope>,
}

#[derive(Clone)]
pub struct World {
    pub config: Arc<RollupConfig>,
    pub spec: ChainSpec,
    pub genesis: Block,
    pub l1: Vec<Mined>,
    blobs: HashMap<B256, Bytes>,
    nonce: u64,
    channel: u8,
}

impl World {
    pub fn new() -> Self {
        Self::with_window(WINDOW)
    }

    pub fn with_window(seq_window_size: u64) -> Self {
        let forks = ForkTimes::isthmus_at_genesis();
        let spec = ChainSpec::new(L2_CHAIN, forks, Eip1559Constants::default()).unwrap();
        let genesis = Header {
            timestamp: START,
            gas_limit: 30_000_000,
            base_fee_per_gas: Some(7),
            extra_data: extra_data(&spec, START, Some(B64::ZERO), None).unwrap(),
            ..Default::default()
        };
        let genesis = Block { header: genesis.seal_slow(), transactions: Vec::new() };
        let l1 = mined(None, 0, Vec::new(), Vec::new());
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
            block_time: 2,
            max_sequencer_drift: 600,
            seq_window_size,
            l1_chain_id: L1_CHAIN,
            l2_chain_id: L2_CHAIN,
            forks,
            delta_time: Some(0),
            batch_inbox_address: INBOX,
            deposit_contract_address: PORTAL,
            l1_system_config_address: SYSTEM,
            eip1559: (6, 50, 250),
        };
        config.validate().unwrap();
        Self { config: Arc::new(config), spec, genesis, l1: vec![l1], blobs: HashMap::new(), nonce: 0, channel: 0 }
    }

    /// Mines an L1 block with these posts of the batcher and these logs.
    pub fn mine(&mut self, posts: Vec<Post>, logs: Vec<Log>) -> u64 {
        self.mine_by(&signer(0), posts, logs)
    }

    pub fn mine_empty(&mut self, count: u64) {
        for _ in 0..count {
            self.mine(Vec::new(), Vec::new());
        }
    }

    /// As [`Self::mine`], posted by another account.
    pub fn mine_by(&mut self, sender: &PrivateKeySigner, posts: Vec<Post>, logs: Vec<Log>) -> u64 {
        let transactions = posts.into_iter().map(|post| self.transaction(sender, post)).collect();
        let block = mined(self.l1.last().map(|parent| &parent.header), 0, transactions, logs);
        self.l1.push(block);
        self.l1.len() as u64 - 1
    }

    /// Takes L1 back to `height` blocks and goes on with others.
    pub fn reorganize(&mut self, height: u64, new: u64) {
        self.l1.truncate(height as usize);
        for salt in 1..=new {
            let block = mined(self.l1.last().map(|parent| &parent.header), salt, Vec::new(), Vec::new());
            self.l1.push(block);
        }
    }

    fn transaction(&mut self, sender: &PrivateKeySigner, post: Post) -> EthereumTxEnvelope<TxEip4844> {
        self.nonce += 1;
        let nonce = self.nonce;
        let blobs = match post {
            Post::Calldata(input) => {
                let tx = TxEip1559 {
                    chain_id: L1_CHAIN,
                    nonce,
                    gas_limit: 21_000,
                    to: TxKind::Call(INBOX),
                    input,
                    ..Default::default()
                };
                let signature = sender.sign_hash_sync(&tx.signature_hash()).unwrap();
                return EthereumTxEnvelope::Eip1559(tx.into_signed(signature));
            }
            Post::Blobs(datas) => datas.iter().map(|data| Bytes::from(blob::encode(data).unwrap())).collect(),
            Post::RawBlobs(blobs) => blobs,
        };
        let hashes = blobs.into_iter().map(|blob| {
            let mut hash = keccak256(&blob);
            hash[0] = 1;
            self.blobs.insert(hash, blob);
            hash
        });
        let tx = TxEip4844 {
            chain_id: L1_CHAIN,
            nonce,
            gas_limit: 21_000,
            to: INBOX,
            blob_versioned_hashes: hashes.collect(),
            // Does not count beside blobs.
            input: Bytes::from_static(b"call data"),
            ..Default::default()
        };
        let signature = sender.sign_hash_sync(&tx.signature_hash()).unwrap();
        EthereumTxEnvelope::Eip4844(tx.into_signed(signature))
    }

    /// Another transaction, of any account.
    pub fn user_tx(&mut self) -> Bytes {
        self.nonce += 1;
        let tx = TxLegacy {
            chain_id: Some(L2_CHAIN),
            nonce: self.nonce,
            gas_limit: 21_000,
            to: TxKind::Call(Address::repeat_byte(0x42)),
            value: U256::from(self.nonce),
            ..Default::default()
        };
        let signature = signer(9).sign_hash_sync(&tx.signature_hash()).unwrap();
        OpTxEnvelope::Legacy(tx.into_signed(signature)).encoded_2718().into()
    }

    pub fn l1_ref(&self, number: u64) -> L1BlockRef {
        self.read(number).unwrap().block_ref()
    }

    /// The L1 block as derivation takes it.
    pub fn read(&self, number: u64) -> Option<L1Block> {
        let block = self.l1.get(number as usize)?;
        Some(L1Block::read(&self.config, &block.header, &block.transactions, &block.receipts))
    }

    fn origin(&self, number: u64) -> Option<OriginBlock> {
        let block = self.l1.get(number as usize)?;
        Some(OriginBlock::read(&self.config, &block.header, &block.receipts))
    }

    pub fn head(&self, block: &Block) -> L2Head {
        L2Head::of_block(&self.config, &self.spec, block).unwrap()
    }

    /// The sequencer's next block, with these transactions if any may be in it.
    pub fn sequence(&self, parent: &Block, transactions: &[Bytes]) -> Block {
        let head = l2_block_ref(&self.config, parent).unwrap();
        let system = system_config_of(&self.config, &self.spec, parent).unwrap();
        let current = self.origin(head.l1_origin.number).unwrap();
        let next = self.origin(head.l1_origin.number + 1);
        let next_ref = next.as_ref().map(OriginBlock::block_ref);
        let choice = choose_origin(&self.config, &head, &current.block_ref(), next_ref.as_ref()).unwrap();
        let origin = next.filter(|next| next.hash == choice.origin.hash).unwrap_or(current);
        let timestamp = head.timestamp + self.config.block_time;
        let mut attributes = epoch_attributes(&self.config, &system, timestamp, &choice, &origin).unwrap();
        attributes.transactions.extend(duskevm_evm::recover_all(transactions).unwrap());
        self.seal(parent, &attributes)
    }

    /// `count` blocks after `parent`, with `per_block` transactions each.
    pub fn sequence_many(&mut self, parent: &Block, count: usize, per_block: usize) -> Vec<Block> {
        let mut chain: Vec<Block> = Vec::new();
        for _ in 0..count {
            let transactions: Vec<_> = (0..per_block).map(|_| self.user_tx()).collect();
            let block = self.sequence(chain.last().unwrap_or(parent), &transactions);
            chain.push(block);
        }
        chain
    }

    pub fn seal(&self, parent: &Block, attributes: &BlockAttributes) -> Block {
        let hashes: Vec<u8> = attributes.transactions.iter().flat_map(|tx| tx.hash().0).collect();
        let header = Header {
            parent_hash: parent.hash(),
            number: parent.number() + 1,
            timestamp: attributes.timestamp,
            mix_hash: attributes.prev_randao,
            beneficiary: attributes.fee_recipient,
            gas_limit: attributes.gas_limit,
            parent_beacon_block_root: attributes.parent_beacon_block_root,
            base_fee_per_gas: Some(7),
            extra_data: extra_data(
                &self.spec,
                attributes.timestamp,
                attributes.eip1559_params,
                attributes.min_base_fee,
            )
            .unwrap(),
            withdrawals_root: Some(B256::repeat_byte(7)),
            transactions_root: keccak256(hashes),
            ..Default::default()
        };
        Block { header: header.seal_slow(), transactions: attributes.transactions.clone() }
    }

    /// A channel id that was never used.
    pub fn channel_id(&mut self) -> ChannelId {
        self.channel += 1;
        ChannelId::repeat_byte(self.channel)
    }

    pub fn singular(&self, block: &Block) -> SingularBatch {
        batch_of_block(&self.config, block).unwrap().0
    }

    /// One span batch of these blocks, as it is in a channel.
    pub fn span(&self, blocks: &[Block]) -> Vec<u8> {
        let mut encoder = SpanEncoder::new(&self.config);
        for block in blocks {
            let (batch, sequence_number) = batch_of_block(&self.config, block).unwrap();
            encoder.push(&batch, sequence_number).unwrap();
        }
        encoder.encode()
    }

    /// Batcher data with a whole channel of these batches.
    pub fn channel(&mut self, batches: &[Vec<u8>]) -> Bytes {
        let id = self.channel_id();
        frames_of(id, &compress(batches), usize::MAX).pop().unwrap()
    }

    /// Batcher data with a channel of these blocks, one singular batch for each.
    pub fn singular_channel(&mut self, blocks: &[Block]) -> Bytes {
        let batches: Vec<_> = blocks.iter().map(|block| encoded(self.singular(block))).collect();
        self.channel(&batches)
    }

    /// Batcher data with a channel of one span batch.
    pub fn span_channel(&mut self, blocks: &[Block]) -> Bytes {
        let span = self.span(blocks);
        self.channel(&[span])
    }
}

pub fn encoded(batch: SingularBatch) -> Vec<u8> {
    Batch::Singular(batch).encode()
}

/// Channel data of these batches, by zlib.
pub fn compress(batches: &[Vec<u8>]) -> Vec<u8> {
    let mut plain = Vec::new();
    for batch in batches {
        alloy_rlp::Encodable::encode(&batch[..], &mut plain);
    }
    miniz_oxide::deflate::compress_to_vec_zlib(&plain, 6)
}

/// Channel data as batcher data with one frame of at most `most` bytes each.
pub fn frames_of(id: ChannelId, data: &[u8], most: usize) -> Vec<Bytes> {
    let chunks: Vec<_> = data.chunks(most.min(data.len())).collect();
    let last = chunks.len() - 1;
    let frame = |(number, chunk): (usize, &&[u8])| {
        let data = Bytes::copy_from_slice(chunk);
        let frame = Frame { channel_id: id, number: number as u16, data, is_last: number == last };
        Bytes::from(encode_frames([&frame]))
    };
    chunks.iter().enumerate().map(frame).collect()
}

pub fn calldata(datas: impl IntoIterator<Item = Bytes>) -> Vec<Post> {
    datas.into_iter().map(Post::Calldata).collect()
}

fn mined(
    parent: Option<&Sealed<Header>>,
    salt: u64,
    transactions: Vec<EthereumTxEnvelope<TxEip4844>>,
    logs: Vec<Log>,
) -> Mined {
    let number = parent.map_or(0, |parent| parent.number + 1);
    let header = Header {
        parent_hash: parent.map_or(B256::ZERO, |parent| parent.hash()),
        number,
        timestamp: START + number * L1_BLOCK_TIME,
        mix_hash: keccak256([number.to_be_bytes(), salt.to_be_bytes()].concat()),
        base_fee_per_gas: Some(1_000_000_000),
        excess_blob_gas: Some(0),
        ..Default::default()
    };
    let receipt = Receipt { status: true.into(), cumulative_gas_used: 0, logs };
    let receipts = vec![ReceiptEnvelope::Eip1559(ReceiptWithBloom::from(receipt))];
    Mined { header: header.seal_slow(), transactions, receipts }
}

/// Why a verifier stopped.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// All of L1 was read.
    L1,
    Reset(ResetReason),
    Stuck(duskevm_rollup::AttributesError),
}

/// Drives a pipeline and makes blocks of what it derives.
pub struct Verifier {
    pub pipeline: Pipeline,
    /// From genesis on.
    pub chain: Vec<Block>,
    pub derived: Vec<Arc<DerivedAttributes>>,
    pub notices: Vec<Notice>,
    /// Transactions that make a block invalid.
    pub invalid: HashSet<Bytes>,
    /// Answers only every n-th time that it is asked.
    pub slow: usize,
    pub needs: Vec<Need>,
    pub most: Buffered,
    /// L1 blocks that were read to their end, and the length of the chain then.
    pub read: Vec<(BlockId, usize)>,
    asked: usize,
}

impl Verifier {
    pub fn new(world: &World) -> Self {
        Self::resume(world, vec![world.genesis.clone()])
    }

    /// Begins with a chain that was derived before.
    pub fn resume(world: &World, chain: Vec<Block>) -> Self {
        Self::resume_after(world, chain, None)
    }

    /// Begins with a chain that was derived before, from L1 up to this block.
    pub fn resume_after(world: &World, chain: Vec<Block>, settled: Option<BlockId>) -> Self {
        let mut pipeline = Pipeline::new(world.config.clone());
        pipeline.reset(world.head(chain.last().unwrap()), settled);
        Self {
            pipeline,
            chain,
            derived: Vec::new(),
            notices: Vec::new(),
            invalid: HashSet::new(),
            slow: 1,
            needs: Vec::new(),
            most: Buffered::default(),
            read: Vec::new(),
            asked: 0,
        }
    }

    pub fn tip(&self) -> &Block {
        self.chain.last().unwrap()
    }

    pub fn hashes(&self) -> Vec<B256> {
        self.chain.iter().map(Block::hash).collect()
    }

    /// Derives all that L1 holds.
    pub fn run(&mut self, world: &World) -> Stop {
        let mut safe = world.head(self.tip());
        // No test has so much data that this many steps are needed: more would be a loop.
        for _ in 0..1_000_000 {
            let before = self.pipeline.origin();
            let step = self.pipeline.step(&safe);
            self.notices.extend(self.pipeline.take_notices());
            let now = self.pipeline.buffered();
            self.most.channel_bytes = self.most.channel_bytes.max(now.channel_bytes);
            self.most.frames = self.most.frames.max(now.frames);
            self.most.l1_blocks = self.most.l1_blocks.max(now.l1_blocks);
            match step {
                Step::Working => {}
                Step::Advanced(_) => {
                    let before = before.map(|block| BlockId { hash: block.hash, number: block.number });
                    self.read.extend(before.map(|block| (block, self.chain.len())));
                }
                Step::Attributes(attributes) => {
                    self.execute(world, &attributes);
                    self.derived.push(attributes);
                    safe = world.head(self.tip());
                }
                Step::Need(need) => {
                    self.asked += 1;
                    if let Need::NextL1Block { number, .. } = need
                        && number >= world.l1.len() as u64
                    {
                        return Stop::L1;
                    }
                    if self.asked.is_multiple_of(self.slow) {
                        let input = self.answer(world, &need);
                        self.needs.push(need);
                        self.pipeline.provide(input).unwrap();
                    }
                }
                Step::Reset(reason) => return Stop::Reset(reason),
                Step::Stuck(error) => return Stop::Stuck(error),
            }
        }
        panic!("the pipeline never comes to the end of L1");
    }

    fn answer(&self, world: &World, need: &Need) -> Input {
        match need {
            Need::NextL1Block { number, .. } | Need::L1Block { number, .. } => {
                Input::L1Block(Box::new(world.read(*number).unwrap()))
            }
            Need::Blobs { blobs, .. } => {
                Input::Blobs(blobs.iter().map(|blob| world.blobs[&blob.versioned_hash].clone()).collect())
            }
            Need::L2Batch { number } => {
                Input::L2Batch { number: *number, batch: Box::new(world.singular(&self.chain[*number as usize])) }
            }
            Need::L2Block { number } => Input::L2Block(Box::new(world.head(&self.chain[*number as usize]))),
        }
    }

    fn execute(&mut self, world: &World, attributes: &DerivedAttributes) {
        let parent = &self.tip().clone();
        assert_eq!(attributes.parent.hash, parent.hash());
        let bad = attributes.batch_transactions.iter().any(|tx| self.invalid.contains(tx));
        let block = match attributes.block_attributes() {
            Ok(whole) if !bad => world.seal(parent, &whole),
            _ => {
                self.pipeline.flush_channel();
                world.seal(parent, &attributes.deposits_only())
            }
        };
        self.chain.push(block);
    }
}
