//! What became of the channels: on L1 for good, lost, or no longer wanted.

use crate::{
    action::{Heads, L2Chain, Notice, Why},
    batcher::{Batcher, DeriveFirst, Failures},
    channel::{MAX_ATTEMPTS, Slot, SlotState},
    record::Record,
};
use duskevm_rollup::channel::channel_timeout;

impl Batcher {
    /// L1 blocks within which a channel must be complete. Granite, which shortens it, is older than Holocene, from which every rollup here
    /// begins.
    fn timeout(&self) -> u64 {
        channel_timeout(&self.rollup, self.rollup.genesis.l2_time)
    }

    /// The first channel that L1 makes useless. The next L1 block is `tip + 1`.
    pub(crate) fn lost(&self, tip: u64) -> Option<(usize, Why)> {
        let timeout = self.timeout();
        let mut highest = 0;
        let mut missing = None;
        for (index, channel) in self.channels.iter().enumerate() {
            let mut is_open = false;
            for submission in &channel.submissions {
                if submission.slots.last().is_some_and(Slot::is_executed) {
                    // Where it is will be known soon.
                    is_open = true;
                    continue;
                }
                match (submission.landed(), missing) {
                    // The nonces of accounts and of envelopes keep the order. It is looked at all the same: what is out of order is lost.
                    (Some(_), Some(before)) => return Some((before, Why::Order)),
                    (Some(height), None) if height < highest => return Some((index, Why::Order)),
                    (Some(height), None) => highest = height,
                    (None, before) => missing = before.or(Some(index)),
                }
            }
            if let Some((first, last)) = channel.span() {
                let end = if is_open || channel.is_landed() { last } else { last.max(tip.saturating_add(1)) };
                if end > first.saturating_add(timeout) {
                    return Some((index, Why::TimedOut));
                }
            }
        }
        None
    }

    /// Offers more for the first submission that is not on L1, if it has waited long, or longer than its channel can.
    pub(crate) fn hurry(&mut self, l1_block: u64) {
        let (timeout, settings) = (self.timeout(), self.settings);
        let first = self.channels.iter_mut().find_map(|channel| {
            let (id, deadline) = (channel.id(), channel.span().map(|(first, _)| first.saturating_add(timeout)));
            let mut all = channel.submissions.iter_mut();
            all.find(|submission| submission.landed().is_none()).map(|submission| (id, deadline, submission))
        });
        let Some((channel, deadline, submission)) = first else { return };
        let urgent = deadline.is_some_and(|end| l1_block.saturating_add(settings.timeout_margin) >= end);
        let patience = if urgent { 1 } else { settings.bump_after };
        let mut bumped = None;
        for slot in &mut submission.slots {
            let SlotState::Sent { since } = slot.state else { continue };
            let better = settings.bumped(slot.price());
            let waited = l1_block.saturating_sub(since) >= patience;
            if waited && better > slot.price() && slot.attempts.len() < MAX_ATTEMPTS {
                slot.wanted = Some(better);
                bumped = Some(Notice::Bumped { channel, gas_price: better });
            }
        }
        if let Some(notice) = bumped {
            self.notice(notice);
        }
    }

    /// Compares what is under way with the L2 chain.
    pub(crate) fn reconcile<C: L2Chain>(&mut self, heads: &Heads, chain: &C) -> Result<(), C::Error> {
        if let DeriveFirst::UpTo(l1_block) = self.derive_first
            && heads.derived.is_none_or(|derived| derived.l1_block >= l1_block)
        {
            self.derive_first = DeriveFirst::Done;
        }
        if let Some(settled) = self.settled
            && chain.hash(settled.number)?.is_some_and(|hash| hash != settled.hash)
        {
            self.settled = None;
        }
        // A height without a block says nothing: after a crash the newest blocks come again.
        let mut moved = None;
        for (index, channel) in self.channels.iter().enumerate() {
            if chain.hash(channel.closed.last.number)?.is_some_and(|hash| hash != channel.closed.last.hash) {
                moved = Some(index);
                break;
            }
        }
        if let Some(index) = moved {
            self.abandon(index, Why::Reorg);
        }
        self.settle(heads);
        self.drop_useless(heads);
        self.check_open(heads, chain)
    }

    /// Forgets what is on L1 for good.
    fn settle(&mut self, heads: &Heads) {
        while let Some(channel) = self.channels.front() {
            let last = channel.closed.last;
            let is_safe = heads.safe.number >= last.number && channel.is_final();
            if !is_safe && heads.finalized < last.number {
                return;
            }
            let id = channel.id();
            self.settled = Some(last);
            self.failures = Failures::default();
            self.channels.pop_front();
            self.records.push(Record::Settled { id });
            self.notice(Notice::Settled { id });
        }
    }

    /// Gives up what derivation has decided about otherwise.
    fn drop_useless(&mut self, heads: &Heads) {
        let useless = self.channels.iter().enumerate().find_map(|(index, channel)| {
            let last = channel.closed.last.number;
            if !channel.is_sent() {
                // It cannot come from this channel, so its blocks are no longer wanted: derivation has gone on without them.
                return (heads.safe.number > channel.closed.parent.number).then_some((index, Why::Overtaken));
            }
            if heads.safe.number >= last {
                return None;
            }
            let (_, landed) = channel.span().filter(|_| channel.is_landed())?;
            let read = heads.derived.is_some_and(|derived| derived.l1_block > landed && derived.safe < last);
            read.then_some((index, Why::NotDerived))
        });
        if let Some((index, why)) = useless {
            self.abandon(index, why);
        }
    }

    /// Does the open channel still continue what comes before it?
    fn check_open<C: L2Chain>(&mut self, heads: &Heads, chain: &C) -> Result<(), C::Error> {
        let end = self.end(heads);
        let Some(open) = &mut self.open else { return Ok(()) };
        // The safe head may be among the blocks that are left to derivation, if these still are what this chain has.
        let continues = if end.number == open.parent.number {
            end.hash == open.parent.hash
        } else {
            (open.after..open.parent.number).contains(&end.number)
                && chain.hash(open.parent.number)?.is_none_or(|hash| hash == open.parent.hash)
        };
        let tip = self.l1.map_or(0, |l1| l1.tip);
        let in_time = open.first_epoch.is_none_or(|epoch| self.rollup.can_reach_l1(epoch, tip));
        if !continues || !in_time {
            let (id, open) = (open.id, self.open.take());
            self.spare = open.map(|open| open.out);
            self.unpostable = None;
            self.records.push(Record::Abandoned { id });
            self.notice(Notice::Abandoned { id, why: if continues { Why::Expired } else { Why::Overtaken } });
            return Ok(());
        }
        let last = open.last();
        if chain.hash(last.number)?.is_some_and(|hash| hash != last.hash) {
            open.clear();
            self.unpostable = None;
        }
        Ok(())
    }
}
