//! Whatever the holder of the batcher's key posts, derivation goes on within bounded memory.

use crate::world::*;
use alloy_primitives::Bytes;
use duskevm_rollup::{
    blob::BLOB_LEN,
    channel::FJORD_MAX_RLP_BYTES_PER_CHANNEL,
    frame::{ChannelId, Frame, encode_frames},
    l2_block_ref,
};
use proptest::{collection::vec, prelude::*};

/// A piece of an L1 transaction's data, to be made when the world is there.
#[derive(Debug, Clone)]
enum Junk {
    /// Any bytes.
    Bytes(Vec<u8>),
    /// Frames with any contents; ids are few, so that they meet.
    Frames(Vec<(u8, u16, Vec<u8>, bool)>),
    /// A channel with any plain bytes.
    Channel(Vec<u8>),
    /// A channel with these batches: any bodies behind a good version byte.
    Batches(Vec<(bool, Vec<u8>)>),
    /// A good span batch with one byte changed.
    Mutated(usize, u8),
    /// Good blocks from somewhere in the chain.
    Good(usize, usize),
    /// A bomb: megabytes of zeros, compressed.
    Bomb,
}

fn junk() -> impl Strategy<Value = Junk> {
    prop_oneof![
        vec(any::<u8>(), 0..200).prop_map(Junk::Bytes),
        vec((0u8..3, 0u16..4, vec(any::<u8>(), 0..40), any::<bool>()), 1..6).prop_map(Junk::Frames),
        vec(any::<u8>(), 0..200).prop_map(Junk::Channel),
        vec((any::<bool>(), vec(any::<u8>(), 0..120)), 1..4).prop_map(Junk::Batches),
        (any::<usize>(), 1u8..).prop_map(|(at, flip)| Junk::Mutated(at, flip)),
        (0usize..40, 1usize..20).prop_map(|(from, count)| Junk::Good(from, count)),
        Just(Junk::Bomb),
    ]
}

impl Junk {
    fn data(&self, world: &mut World, blocks: &[duskevm_evm::Block]) -> Bytes {
        let in_one_frame = |world: &mut World, data: Vec<u8>| {
            let frame = Frame { channel_id: world.channel_id(), number: 0, data: data.into(), is_last: true };
            Bytes::from(encode_frames([&frame]))
        };
        match self {
            Self::Bytes(bytes) => bytes.clone().into(),
            Self::Frames(frames) => {
                let frames: Vec<_> = frames
                    .iter()
                    .map(|(id, number, data, is_last)| Frame {
                        channel_id: ChannelId::repeat_byte(200 + id),
                        number: *number,
                        data: data.clone().into(),
                        is_last: *is_last,
                    })
                    .collect();
                encode_frames(&frames).into()
            }
            Self::Channel(plain) => in_one_frame(world, miniz_oxide::deflate::compress_to_vec_zlib(plain, 1)),
            Self::Batches(batches) => {
                let batches: Vec<_> =
                    batches.iter().map(|(span, body)| [&[u8::from(*span)][..], body].concat()).collect();
                in_one_frame(world, compress(&batches))
            }
            Self::Mutated(at, flip) => {
                let mut span = world.span(&blocks[..10]);
                let at = at % span.len();
                span[at] ^= flip;
                in_one_frame(world, compress(&[span]))
            }
            Self::Good(from, count) => {
                let end = (from + count).min(blocks.len());
                world.span_channel(&blocks[*from.min(&(end - 1))..end])
            }
            Self::Bomb => {
                let zeros = vec![0; 4_000_000];
                in_one_frame(world, compress(&[zeros]))
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn derivation_never_stops_and_stays_small(posts in vec((any::<bool>(), vec(junk(), 0..4)), 1..12)) {
        let mut world = World::new();
        world.mine_empty(4);
        let genesis = world.genesis.clone();
        let blocks = world.sequence_many(&genesis, 20, 1);
        for (in_blobs, junk) in posts {
            let datas: Vec<_> = junk.iter().map(|junk| junk.data(&mut world, &blocks)).collect();
            let posts = if in_blobs && !datas.is_empty() { vec![Post::Blobs(datas)] } else { calldata(datas) };
            world.mine(posts, Vec::new());
        }
        world.mine(vec![Post::RawBlobs(vec![vec![0xff; BLOB_LEN].into()])], Vec::new());
        world.mine_empty(2 * WINDOW);

        let mut verifier = Verifier::new(&world);
        prop_assert_eq!(verifier.run(&world), Stop::L1);
        // Every epoch whose window is over has its blocks.
        let last = l2_block_ref(&world.config, verifier.tip()).unwrap();
        prop_assert!(last.l1_origin.number >= world.l1.len() as u64 - 1 - WINDOW);
        prop_assert!(verifier.most.l1_blocks as u64 <= WINDOW + 2);
        prop_assert!(verifier.most.channel_bytes <= FJORD_MAX_RLP_BYTES_PER_CHANNEL);
        // The frames that wait are those of one piece of data.
        prop_assert!(verifier.most.frames <= 6);

        // And who begins in the middle comes to the same chain.
        let (settled, length) = verifier.read[verifier.read.len() * 2 / 3];
        let mut second = Verifier::resume_after(&world, verifier.chain[..length].to_vec(), Some(settled));
        prop_assert_eq!(second.run(&world), Stop::L1);
        prop_assert_eq!(second.hashes(), verifier.hashes());
    }
}

#[test]
fn a_channel_that_never_ends_is_given_up_when_it_is_too_large() {
    let mut world = World::with_window(1_000);
    let id = world.channel_id();
    let chunk = Bytes::from(vec![7; 1_000_000]);
    let mut number = 0u16;
    for _ in 0..11 {
        let posts = (0..10).map(|_| {
            let frame = Frame { channel_id: id, number, data: chunk.clone(), is_last: false };
            number += 1;
            Bytes::from(encode_frames([&frame]))
        });
        let posts = calldata(posts.collect::<Vec<_>>());
        world.mine(posts, Vec::new());
    }
    let mut verifier = Verifier::new(&world);
    assert_eq!(verifier.run(&world), Stop::L1);
    assert!(verifier.most.channel_bytes <= FJORD_MAX_RLP_BYTES_PER_CHANNEL);
    assert!(verifier.notices.contains(&duskevm_rollup::derive::Notice::ChannelTooLarge(id)));
    assert_eq!(verifier.pipeline.buffered().channel_bytes, 0);
}

#[test]
fn a_span_of_ten_million_blocks_costs_little() {
    let mut world = World::with_window(1_000);
    world.mine_empty(3);
    let genesis = world.genesis.clone();
    let blocks = world.sequence_many(&genesis, 10, 0);
    // The prefix of a good span, and then as many empty blocks as a span may have.
    let span = world.span(&blocks);
    let prefix = span[..span.len() - (1 + 2 + 10)].to_vec();
    let count = 10_000_000u32;
    let mut long = prefix;
    let mut rest = count;
    while rest >= 0x80 {
        long.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    long.push(rest as u8);
    long.resize(long.len() + count as usize / 8 + count as usize, 0);
    let channel = world.channel(&[long]);
    world.mine(calldata([channel]), Vec::new());
    let mut verifier = Verifier::new(&world);
    let started = std::time::Instant::now();
    // All blocks have the last origin, which is too new for the first one: nothing comes of it.
    assert_eq!(verifier.run(&world), Stop::L1);
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    assert_eq!(verifier.chain.len(), 1);
}
