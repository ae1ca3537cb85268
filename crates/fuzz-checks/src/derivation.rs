//! Whole L1 blocks of whoever holds the batcher's key: derivation goes on, within bounds, and everybody comes to the same chain.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use alloy_consensus::{Header, Sealable};
use alloy_primitives::{Address, B64, B256, Bytes, keccak256};
use duskevm_evm::header::extra_data;
use duskevm_evm::{Block, BlockAttributes, ChainSpec, Eip1559Constants};
use duskevm_rollup::batch::{Batch, SingularBatch, SpanEncoder, batch_of_block};
use duskevm_rollup::blob::{self, BLOB_LEN};
use duskevm_rollup::channel::FJORD_MAX_RLP_BYTES_PER_CHANNEL;
use duskevm_rollup::derive::{
    BlobRef, Buffered, InboxData, InboxTransaction, Input, L1Block, L2Head, Need, Pipeline, Step,
};
use duskevm_rollup::frame::{ChannelId, Frame, encode_frames};
use duskevm_rollup::{
    BlockId, OriginBlock, RollupConfig, RollupGenesis, SystemConfig, choose_origin, epoch_attributes, l2_block_ref,
    system_config_of,
};

use miniz_oxide::deflate::compress_to_vec_zlib;

use crate::stored::pieces;

const START: u64 = 1_000_000;
const L1_BLOCK_TIME: u64 = 10;
/// Sequencing window, in L1 blocks.
const WINDOW: u64 = 6;
/// The first L1 block with posts, and how many of them have any.
const FIRST: u64 = 3;
const WITH_POSTS: u64 = 8;
const L1_BLOCKS: u64 = FIRST + WITH_POSTS + 2 * WINDOW;
/// L2 blocks of the honest sequencer.
const HONEST: usize = 40;
const BATCHER: Address = Address::repeat_byte(0xba);
/// Steps after which the pipeline counts as hung: some thousand are needed.
const MANY_STEPS: usize = 500_000;

struct World {
    config: Arc<RollupConfig>,
    spec: ChainSpec,
    genesis: Block,
    l1: Vec<Arc<OriginBlock>>,
    honest: Vec<(SingularBatch, u64)>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}

impl World {
    fn new() -> Self {
        let base = crate::batches::config();
        let spec = ChainSpec::new(base.l2_chain_id, base.forks, Eip1559Constants::default()).expect("a good chain");
        let extra = extra_data(&spec, START, Some(B64::ZERO), None).expect("Holocene is active");
        let header = Header { timestamp: START, base_fee_per_gas: Some(7), extra_data: extra, ..Default::default() };
        let genesis = Block { header: header.seal_slow(), transactions: Vec::new() };
        let mut l1: Vec<Arc<OriginBlock>> = Vec::new();
        let mut config = RollupConfig {
            genesis: RollupGenesis {
                l1: BlockId::default(),
                l2: BlockId { hash: genesis.hash(), number: 0 },
                l2_time: START,
                system_config: SystemConfig {
                    batcher_address: BATCHER,
                    gas_limit: 30_000_000,
                    scalar: SystemConfig::scalar_v1(1368, 810_949),
                    ..Default::default()
                },
            },
            seq_window_size: WINDOW,
            batch_inbox_address: Address::repeat_byte(0x1b),
            deposit_contract_address: Address::repeat_byte(0x70),
            l1_system_config_address: Address::repeat_byte(0x73),
            ..base
        };
        for number in 0..L1_BLOCKS {
            let header = Header {
                number,
                parent_hash: l1.last().map_or(B256::ZERO, |parent| parent.hash),
                timestamp: START + number * L1_BLOCK_TIME,
                base_fee_per_gas: Some(1_000_000_000),
                excess_blob_gas: Some(0),
                ..Default::default()
            };
            l1.push(Arc::new(OriginBlock::read(&config, &header.seal_slow(), &[])));
        }
        config.genesis.l1.hash = l1[0].hash;
        config.validate().expect("a good rollup");
        let mut world = Self { config: Arc::new(config), spec, genesis, l1, honest: Vec::new() };
        let mut parent = world.genesis.clone();
        for _ in 0..HONEST {
            parent = world.sequence(&parent);
            world.honest.push(batch_of_block(&world.config, &parent).expect("a block of the rollup"));
        }
        world
    }

    fn sequence(&self, parent: &Block) -> Block {
        let head = l2_block_ref(&self.config, parent).expect("a block of the rollup");
        let system = system_config_of(&self.config, &self.spec, parent).expect("a block of the rollup");
        let at = |number: u64| &self.l1[number as usize];
        let (current, next) = (at(head.l1_origin.number), at(head.l1_origin.number + 1));
        let choice = choose_origin(&self.config, &head, &current.block_ref(), Some(&next.block_ref()));
        let choice = choice.expect("L1 is long enough");
        let origin = if choice.origin.hash == next.hash { next } else { current };
        let attributes = epoch_attributes(&self.config, &system, head.timestamp + 2, &choice, origin);
        self.seal(parent, &attributes.expect("L1 has no deposits"))
    }

    /// A block that commits to its attributes without executing anything.
    fn seal(&self, parent: &Block, attributes: &BlockAttributes) -> Block {
        let hashes: Vec<u8> = attributes.transactions.iter().flat_map(|tx| tx.hash().0).collect();
        let extra = extra_data(&self.spec, attributes.timestamp, attributes.eip1559_params, attributes.min_base_fee);
        let header = Header {
            parent_hash: parent.hash(),
            number: parent.number() + 1,
            timestamp: attributes.timestamp,
            gas_limit: attributes.gas_limit,
            base_fee_per_gas: Some(7),
            extra_data: extra.expect("attributes of the pipeline are good"),
            transactions_root: keccak256(hashes),
            ..Default::default()
        };
        Block { header: header.seal_slow(), transactions: attributes.transactions.clone() }
    }

    fn head(&self, block: &Block) -> L2Head {
        L2Head::of_block(&self.config, &self.spec, block).expect("a block of the rollup")
    }

    fn span(&self, from: usize, count: usize) -> Vec<u8> {
        let mut encoder = SpanEncoder::new(&self.config);
        for (batch, sequence_number) in self.honest.iter().skip(from % HONEST).take(count.clamp(1, HONEST)) {
            encoder.push(batch, *sequence_number).expect("honest blocks are in order");
        }
        encoder.encode()
    }
}

/// What the batcher posts.
#[derive(Default)]
struct Posts {
    /// For each L1 block from [`FIRST`] on.
    blocks: Vec<Vec<InboxTransaction>>,
    blobs: HashMap<B256, Bytes>,
}

impl Posts {
    /// Pieces, each of which begins with what it is.
    fn read(data: &[u8]) -> Self {
        let world = world();
        let mut posts = Self { blocks: vec![Vec::new()], blobs: HashMap::new() };
        for (n, piece) in pieces(data).take(200).enumerate() {
            let Some((&kind, body)) = piece.split_first() else {
                // An empty piece begins the next L1 block.
                if (posts.blocks.len() as u64) < WITH_POSTS {
                    posts.blocks.push(Vec::new());
                }
                continue;
            };
            let id = ChannelId::from((n as u128 + 1).to_be_bytes());
            let whole = |batches: &[&[u8]]| {
                let mut plain = Vec::new();
                for batch in batches {
                    alloy_rlp::Encodable::encode(batch, &mut plain);
                }
                one_frame(id, compress_to_vec_zlib(&plain, 1))
            };
            let byte = |at: usize| body.get(at).copied().unwrap_or_default();
            let calldata = match kind % 8 {
                0 => body.to_vec(),
                1 => {
                    // Ids are few, so that frames meet.
                    let frame = Frame {
                        channel_id: ChannelId::repeat_byte(byte(0) % 3),
                        number: u16::from(byte(1) % 4),
                        data: Bytes::copy_from_slice(body.get(2..).unwrap_or_default()),
                        is_last: byte(0) >= 128,
                    };
                    encode_frames([&frame])
                }
                2 => one_frame(id, compress_to_vec_zlib(body, 1)),
                3 => whole(&[body]),
                4 => whole(&[&world.span(byte(0).into(), byte(1).into())]),
                5 => {
                    let mut span = world.span(byte(0).into(), byte(1).into());
                    for flip in body.get(2..).unwrap_or_default().chunks_exact(3) {
                        let at = usize::from(u16::from_le_bytes([flip[0], flip[1]])) % span.len();
                        span[at] ^= flip[2];
                    }
                    whole(&[&span])
                }
                6 => {
                    let (batch, _) = &world.honest[usize::from(byte(0)) % HONEST];
                    let transactions = body.get(1..).unwrap_or_default().chunks(60).map(Bytes::copy_from_slice);
                    let batch = SingularBatch { transactions: transactions.collect(), ..batch.clone() };
                    whole(&[&Batch::Singular(batch).encode()])
                }
                _ => {
                    let (how, content) = (byte(0), body.get(1..).unwrap_or_default());
                    let mut blob = if how < 128 { blob::encode(content).unwrap_or_default() } else { body.to_vec() };
                    blob.resize(BLOB_LEN, 0);
                    posts.post_blob(blob.into());
                    continue;
                }
            };
            posts.post(InboxData::Calldata(calldata.into()));
        }
        posts
    }

    fn post(&mut self, data: InboxData) {
        if let Some(block) = self.blocks.last_mut() {
            block.push(InboxTransaction { sender: BATCHER, data });
        }
    }

    fn post_blob(&mut self, blob: Bytes) {
        let versioned_hash = keccak256(&blob);
        let index = self.blobs.len() as u64;
        self.blobs.insert(versioned_hash, blob);
        self.post(InboxData::Blobs(vec![BlobRef { index, versioned_hash }]));
    }

    fn l1_block(&self, number: u64) -> Option<L1Block> {
        let origin = world().l1.get(usize::try_from(number).ok()?)?.clone();
        let inbox = number.checked_sub(FIRST).and_then(|index| self.blocks.get(index as usize));
        Some(L1Block { origin, inbox: inbox.cloned().unwrap_or_default() })
    }

    fn bytes(&self) -> u64 {
        let calldata = self.blocks.iter().flatten().map(|tx| match &tx.data {
            InboxData::Calldata(data) => data.len(),
            InboxData::Blobs(blobs) => blobs.len() * BLOB_LEN,
        });
        calldata.sum::<usize>() as u64
    }
}

fn one_frame(id: ChannelId, data: Vec<u8>) -> Vec<u8> {
    encode_frames([&Frame { channel_id: id, number: 0, data: data.into(), is_last: true }])
}

/// Derives all that L1 holds, on a chain of which everything up to an L1 block was derived before.
struct Run {
    chain: Vec<Block>,
    /// L1 blocks that were read in full, and the length of the chain by then.
    read: Vec<(BlockId, usize)>,
    most: Buffered,
}

fn derive(posts: &Posts, chain: Vec<Block>, settled: Option<BlockId>) -> Run {
    let world = world();
    let mut run = Run { chain, read: Vec::new(), most: Buffered::default() };
    let tip = |run: &Run| run.chain.last().cloned().unwrap_or_else(|| world.genesis.clone());
    let mut safe = world.head(&tip(&run));
    let mut pipeline = Pipeline::new(world.config.clone());
    pipeline.reset(safe, settled);
    for _ in 0..MANY_STEPS {
        let before = pipeline.origin();
        let step = pipeline.step(&safe);
        let now = pipeline.buffered();
        run.most.channel_bytes = run.most.channel_bytes.max(now.channel_bytes);
        run.most.frames = run.most.frames.max(now.frames);
        run.most.l1_blocks = run.most.l1_blocks.max(now.l1_blocks);
        match step {
            Step::Working => {}
            Step::Advanced(_) => {
                let before = before.map(|block| BlockId { hash: block.hash, number: block.number });
                run.read.extend(before.map(|block| (block, run.chain.len())));
            }
            Step::Attributes(attributes) => {
                let parent = tip(&run);
                assert_eq!(attributes.parent.hash, parent.hash());
                let whole = attributes.block_attributes().unwrap_or_else(|_| {
                    pipeline.flush_channel();
                    attributes.deposits_only()
                });
                let block = world.seal(&parent, &whole);
                safe = world.head(&block);
                run.chain.push(block);
            }
            Step::Need(Need::NextL1Block { number, .. }) if number >= L1_BLOCKS => return run,
            Step::Need(need) => {
                let input = match need {
                    Need::NextL1Block { number, .. } | Need::L1Block { number, .. } => {
                        Input::L1Block(Box::new(posts.l1_block(number).expect("it asks for blocks that there are")))
                    }
                    Need::Blobs { blobs, .. } => {
                        Input::Blobs(blobs.iter().map(|blob| posts.blobs[&blob.versioned_hash].clone()).collect())
                    }
                    Need::L2Batch { number } => {
                        let (batch, _) =
                            batch_of_block(&world.config, &run.chain[number as usize]).expect("it made the block");
                        Input::L2Batch { number, batch: Box::new(batch) }
                    }
                    Need::L2Block { number } => Input::L2Block(Box::new(world.head(&run.chain[number as usize]))),
                };
                pipeline.provide(input).expect("this is what was asked for");
            }
            Step::Reset(reason) => panic!("nothing was reorganized: {reason}"),
            Step::Stuck(error) => panic!("L1 has no deposits: {error}"),
        }
    }
    panic!("derivation does not come to the end of L1");
}

/// What the batcher posts in some L1 blocks.
pub fn l1_blocks(data: &[u8]) {
    let world = world();
    let posts = Posts::read(data);
    let run = derive(&posts, vec![world.genesis.clone()], None);
    // Every epoch whose window is over has its blocks.
    let last = run.chain.last().map(|block| l2_block_ref(&world.config, block).expect("a block of the rollup"));
    assert!(last.is_some_and(|last| last.l1_origin.number >= L1_BLOCKS - 1 - WINDOW));
    assert!(run.most.l1_blocks as u64 <= WINDOW + 2);
    assert!(run.most.channel_bytes <= FJORD_MAX_RLP_BYTES_PER_CHANNEL);
    assert!(run.most.frames as u64 <= posts.bytes());
    // Who begins in the middle comes to the same chain.
    let (settled, length) = run.read[run.read.len() / 2];
    let second = derive(&posts, run.chain[..length].to_vec(), Some(settled));
    assert!(second.chain == run.chain, "derivation that begins in the middle comes to another chain");
}

/// Good and bad posts.
pub(crate) fn samples() -> Vec<Vec<u8>> {
    let piece = |bytes: &[u8]| [&(bytes.len() as u16).to_le_bytes()[..], bytes].concat();
    let next = piece(&[]);
    let span = |from, count| piece(&[4, from, count]);
    let frames = |data: &[u8]| piece(&[&[0], data].concat());
    let mut all = vec![
        [span(0, 10), next.clone(), span(10, 10), span(20, 20)].concat(),
        [span(0, 10), span(5, 10), next.clone(), span(30, 5), span(12, 3)].concat(),
        [piece(&[5, 0, 10, 40, 0, 1]), next.clone(), span(0, 20)].concat(),
        [piece(&[6, 0]), piece(&[6, 1, 0x02]), piece(&[6, 1]), next.clone(), span(2, 8)].concat(),
        [piece(&[1, 0x80, 1, 7]), piece(&[1, 0, 0, 7]), piece(&[2, 0xc0, 1]), piece(&[7, 0, 1])].concat(),
        [next.clone(), next.clone(), span(0, 40)].concat(),
    ];
    for batch in crate::samples::batches() {
        all.push([piece(&[&[3], &batch[..]].concat()), span(0, 5)].concat());
    }
    for data in crate::samples::batcher_frames() {
        all.push([frames(&data), next.clone(), span(0, 5)].concat());
        all.push(piece(&[&[7, 0], &data[..]].concat()));
    }
    all
}
