//! Filling channels with blocks, and closing them.

use crate::{
    action::{Heads, L2Block, L2Chain, Notice, Wait},
    batcher::{Batcher, DeriveFirst, Seen},
    channel::{Channel, Open},
    record::{Closed, Record, digest},
};
use duskevm_rollup::{
    BlockId,
    batch::SpanEncodeError,
    channel_out::{ChannelOut, ChannelOutError, Compression, Fill},
    frame::{ChannelId, Frame},
};

/// Blocks that one call takes in, so that others get their turn.
const TURN: usize = 64;

/// Plain bytes after which a channel is full, however well they compress: to compress it must not take seconds.
const MOST_PLAIN: usize = 8_000_000;

/// Plain bytes from which on a channel is compressed with less effort. Brotli 10 takes about a second for each million.
const MUCH_PLAIN: usize = 3_000_000;

/// Most blocks that are left to derivation. Where there are more, derivation has not read L1 yet, or they are only so many because it
/// has just prescribed them all.
const MAX_LEFT_OUT: usize = 1024;

/// What came of offering a block.
enum Pushed {
    Taken,
    /// The channel must be closed first.
    NoRoom,
    /// There is no such block, or it does not continue the channel.
    Missing,
    Unpostable(ChannelOutError),
}

impl Batcher {
    /// Goes on with the open channel; says what it waits for, if it cannot.
    pub(crate) fn fill<C: L2Chain>(
        &mut self,
        chain: &C,
        heads: &Heads,
        l1: &Seen,
        ids: &mut impl FnMut() -> ChannelId,
    ) -> Result<Result<(), Wait>, C::Error> {
        if let DeriveFirst::UpTo(l1_block) = self.derive_first {
            return Ok(Err(Wait::Derivation { l1_block }));
        }
        let end = self.end(heads);
        let Some(open) = &mut self.open else {
            if heads.latest <= end.number {
                return Ok(Err(self.idle(end.number.saturating_add(1))));
            }
            let parent = match self.start(chain, end, l1)? {
                Ok(parent) => parent,
                Err(wait) => return Ok(Err(wait)),
            };
            self.begin(parent, end.number, l1, ids);
            return Ok(Ok(()));
        };
        let mut blocked = None;
        let mut taken = 0;
        while !open.full && taken < TURN {
            // All of it must be on L1 before the first epoch's window is over. A quarter is left, because sizes are estimates.
            let left = open.first_epoch.map(|epoch| self.rollup.window_end(epoch).saturating_sub(l1.tip));
            let room = left.map(|blocks| blocks.saturating_mul(self.settings.bytes_per_l1_block()) / 4 * 3);
            if room.is_some_and(|room| open.out.estimated_bytes() >= room) {
                open.full = true;
                break;
            }
            let number = open.last().number.saturating_add(1);
            if number > heads.latest {
                break;
            }
            match push(open, chain, number)? {
                Pushed::Taken => taken += 1,
                Pushed::NoRoom => open.full = true,
                Pushed::Missing => break,
                Pushed::Unpostable(why) => {
                    blocked = Some((number, why));
                    break;
                }
            }
        }
        let (full, epoch) = (open.full, open.first_epoch);
        let is_urgent = epoch.is_some_and(|epoch| !self.rollup.can_reach_l1(epoch, l1.tip.saturating_add(1)));
        if taken == TURN && !full && !is_urgent {
            return Ok(Ok(()));
        }
        let Some(open) = &self.open else { return Ok(Ok(())) };
        let (id, next) = (open.id, open.last().number.saturating_add(1));
        let is_due = full || is_urgent || blocked.is_some() || self.is_due(l1);
        let holds_blocks = self.open.as_ref().is_some_and(|open| !open.hashes.is_empty());
        if is_due && holds_blocks {
            // One closed channel at a time waits for its turn: what is closed later is filled better.
            if let Some(channel) = self.channels.iter().find(|channel| !channel.is_sent()) {
                return Ok(Err(Wait::Safe { channel: channel.id() }));
            }
            self.close();
            return Ok(Ok(()));
        }
        if let Some((number, why)) = blocked {
            if self.unpostable.replace(number) != Some(number) {
                self.notice(Notice::Unpostable { number, why });
            }
            return Ok(Err(Wait::Unpostable { number }));
        }
        if taken > 0 {
            return Ok(Ok(()));
        }
        Ok(Err(Wait::L2Block { number: next, channel: holds_blocks.then_some(id) }))
    }

    /// Nothing to be filled: the last channel must become safe, or a block must come.
    fn idle(&self, number: u64) -> Wait {
        match self.channels.iter().find(|channel| channel.is_landed()) {
            Some(channel) => Wait::Safe { channel: channel.id() },
            None => Wait::L2Block { number, channel: None },
        }
    }

    /// The block after which a channel can begin that is on L1 in time: `end`, or the last one of those behind it whose time is over and
    /// which derivation makes by itself as they are. Says what is to be waited for, if there is none.
    fn start<C: L2Chain>(&self, chain: &C, end: BlockId, l1: &Seen) -> Result<Result<BlockId, Wait>, C::Error> {
        let mut parent = end;
        let mut left_out: Option<L2Block> = None;
        for _ in 0..MAX_LEFT_OUT {
            let number = parent.number.saturating_add(1);
            let next = chain.block(number)?.filter(|next| next.batch.parent_hash == parent.hash);
            let Some(next) = next else { return Ok(Err(Wait::L2Block { number, channel: None })) };
            // Derivation goes on to the next epoch as soon as L2 time has reached it. An epoch has one block at least.
            let is_late = |before: L2Block| before.sequence_number > 0 && before.batch.timestamp >= next.origin_time;
            if next.sequence_number == 0 && left_out.is_some_and(is_late) {
                return Ok(Err(Wait::Window { number: parent.number }));
            }
            if self.rollup.can_reach_l1(next.batch.epoch.number, l1.tip) {
                return Ok(Ok(parent));
            }
            if !next.batch.transactions.is_empty() {
                return Ok(Err(Wait::Window { number }));
            }
            parent = BlockId { hash: next.hash, number };
            left_out = Some(next);
        }
        Ok(Err(Wait::Window { number: end.number.saturating_add(1) }))
    }

    fn begin(&mut self, parent: BlockId, after: u64, l1: &Seen, ids: &mut impl FnMut() -> ChannelId) {
        let id = ids();
        self.records.push(Record::Opened { id, parent, l1_block: l1.block });
        let open = self.new_open(id, parent, l1.block);
        self.open = Some(Open { after, ..open });
    }

    pub(crate) fn new_open(&mut self, id: ChannelId, parent: BlockId, opened_at: u64) -> Open {
        let out = match self.spare.take() {
            Some(mut out) => {
                out.reset(id);
                out
            }
            None => ChannelOut::new(&self.rollup, self.settings.channel(self.max_rlp_bytes()), id),
        };
        Open { id, parent, after: parent.number, opened_at, first_epoch: None, hashes: Vec::new(), full: false, out }
    }

    /// Is the open channel old, or does its first block run out of time?
    fn is_due(&self, l1: &Seen) -> bool {
        let Some(open) = &self.open else { return false };
        let old = l1.block >= open.opened_at.saturating_add(self.settings.max_channel_duration);
        // In a small window every channel would be late from its first block on.
        let margin = self.settings.window_margin.min(self.rollup.seq_window_size / 4);
        let late = open.first_epoch.is_some_and(|epoch| self.rollup.window_end(epoch) <= l1.tip.saturating_add(margin));
        old || late
    }

    /// How the open channel is compressed: as set, unless blocks come faster than that, or there is very much of them. Whoever is two
    /// channels behind would fall behind ever further.
    fn compression(&self) -> Compression {
        let set = self.settings.compression;
        let channel = self.settings.channel(0).target_bytes as u64;
        let much = self.open.as_ref().is_some_and(|open| open.out.rlp_bytes() > MUCH_PLAIN);
        if much || self.backlog().bytes > channel.saturating_mul(2) { set.quicker() } else { set }
    }

    /// Fixes the frames of the open channel.
    fn close(&mut self) {
        let compression = self.compression();
        let Some(mut open) = self.open.take() else { return };
        open.out.set_compression(compression);
        let closed = match open.out.close() {
            Ok(closed) => closed,
            Err(error) => {
                // It has blocks, and the settings were checked. Should it happen all the same, the blocks are taken in anew.
                debug_assert!(false, "{error}");
                open.clear();
                self.open = Some(open);
                return;
            }
        };
        let carrier = self.settings.carrier_for(closed.compressed_bytes);
        let max_frame_data = self.settings.max_frame_data(carrier);
        let frames = split_again(open.id, closed.frames, max_frame_data);
        let last_hash = closed.block_count.checked_sub(1).and_then(|last| open.hashes.get(last)).copied();
        let blocks = closed.block_count as u64;
        let last =
            BlockId { hash: last_hash.unwrap_or(open.parent.hash), number: open.parent.number.saturating_add(blocks) };
        let record = Closed {
            id: open.id,
            parent: open.parent,
            last,
            first_epoch: open.first_epoch.unwrap_or_default(),
            carrier,
            compression: compression.to_string(),
            max_frame_data: max_frame_data as u64,
            frame_count: u16::try_from(frames.len()).unwrap_or(u16::MAX),
            bytes: closed.compressed_bytes as u64,
            digest: digest(&frames),
        };
        self.block_bytes = record.bytes_per_block();
        self.notice(Notice::Closed {
            id: open.id,
            blocks,
            rlp_bytes: closed.rlp_bytes,
            compressed_bytes: closed.compressed_bytes,
            frames: frames.len(),
        });
        self.spare = Some(open.out);
        self.records.push(Record::Closed(record.clone()));
        self.channels.push_back(Channel { closed: record, frames: Some(frames), submissions: Vec::new() });
    }
}

fn push<C: L2Chain>(open: &mut Open, chain: &C, number: u64) -> Result<Pushed, C::Error> {
    let Some(L2Block { hash, batch, sequence_number, .. }) = chain.block(number)? else { return Ok(Pushed::Missing) };
    if batch.parent_hash != open.last().hash {
        return Ok(Pushed::Missing);
    }
    let (fill, full) = match open.out.push(&batch, sequence_number) {
        Ok(fill) => (true, fill == Fill::Full),
        Err(ChannelOutError::Full | ChannelOutError::Block(SpanEncodeError::Full)) => (false, true),
        Err(why) => return Ok(Pushed::Unpostable(why)),
    };
    if fill {
        open.first_epoch.get_or_insert(batch.epoch.number);
        open.hashes.push(hash);
    }
    open.full |= full || open.out.rlp_bytes() > MOST_PLAIN;
    Ok(if fill { Pushed::Taken } else { Pushed::NoRoom })
}

/// The same channel in frames of another size.
fn split_again(id: ChannelId, frames: Vec<Frame>, max_frame_data: usize) -> Vec<Frame> {
    if frames.iter().all(|frame| frame.data.len() <= max_frame_data) {
        return frames;
    }
    let data: Vec<u8> = frames.iter().flat_map(|frame| frame.data.iter().copied()).collect();
    let count = data.len().div_ceil(max_frame_data);
    let parts = data.chunks(max_frame_data).enumerate();
    parts
        .map(|(index, part)| Frame {
            channel_id: id,
            number: index as u16,
            data: part.to_vec().into(),
            is_last: index + 1 == count,
        })
        .collect()
}
