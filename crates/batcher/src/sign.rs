//! What is signed and submitted next.

use crate::{
    action::{L2Chain, Order, Payload, TxOrder, Wait, Why},
    batcher::{Batcher, MAX_REMEMBERED, Seen, Stale},
    channel::{Channel, Slot, SlotState, Submission},
    record::{Closed, Role, digest},
    settings::Carrier,
};
use duskevm_rollup::{
    batch::SingularBatch,
    channel::max_rlp_bytes_per_channel,
    channel_out::{ChannelSettings, Compression, build_frames},
    frame::{FRAME_OVERHEAD, Frame, encode_frames},
};

/// What came of making frames again.
enum Rebuilt {
    Frames(Vec<Frame>),
    /// The L2 chain lacks blocks at the moment.
    Missing,
    Different,
}

impl Batcher {
    /// Most bytes of a channel before compression. Fjord, which raised it, is older than Holocene, from which every rollup here begins.
    pub(crate) fn max_rlp_bytes(&self) -> u64 {
        max_rlp_bytes_per_channel(&self.rollup, self.rollup.genesis.l2_time)
    }

    /// Transactions that were signed and are not on L1.
    pub(crate) fn next_submit<C: L2Chain>(&mut self, chain: &C, l1: &Seen) -> Result<Option<Order>, C::Error> {
        let is_due =
            |slot: &Slot| slot.state == SlotState::Unsent && !slot.attempts.is_empty() && slot.wanted.is_none();
        let Some((index, at)) = self.find(is_due) else { return Ok(None) };
        if !self.ensure_frames(index, chain)? {
            return Ok(None);
        }
        let Some(channel) = self.channels.get_mut(index) else { return Ok(None) };
        let order = order(channel, at, |slot| {
            let attempt = is_due(slot).then(|| slot.attempts.last()).flatten()?;
            Some((attempt.gas_price, Some(attempt.id)))
        });
        if let (Some(_), Some(submission)) = (&order, channel.submissions.get_mut(at)) {
            for slot in submission.slots.iter_mut().filter(|slot| is_due(slot)) {
                slot.state = SlotState::Sent { since: l1.block };
            }
        }
        Ok(order)
    }

    /// Transactions to be signed; or what holds them up, if anything does.
    pub(crate) fn next_sign<C: L2Chain>(
        &mut self,
        chain: &C,
        l1: &Seen,
    ) -> Result<Result<Order, Option<Wait>>, C::Error> {
        let is_due = |slot: &Slot| slot.wanted.is_some() && !slot.is_included();
        if self.find(is_due).is_none()
            && let Err(hold) = self.plan(l1)
        {
            return Ok(Err(hold));
        }
        let Some((index, at)) = self.find(is_due) else { return Ok(Err(None)) };
        if !self.ensure_frames(index, chain)? {
            return Ok(Err(None));
        }
        let Some(channel) = self.channels.get(index) else { return Ok(Err(None)) };
        let signed = order(channel, at, |slot| Some((slot.wanted.filter(|_| is_due(slot))?, None)));
        Ok(signed.ok_or(None))
    }

    /// The first submission with a slot like this.
    fn find(&self, is_due: impl Fn(&Slot) -> bool) -> Option<(usize, usize)> {
        self.channels.iter().enumerate().find_map(|(index, channel)| {
            let mut all = channel.submissions.iter();
            all.position(|submission| submission.slots.iter().any(&is_due)).map(|at| (index, at))
        })
    }

    pub(crate) fn submissions(&self) -> impl Iterator<Item = &Submission> {
        self.channels.iter().flat_map(|channel| &channel.submissions)
    }

    /// Makes a submission of the next frames.
    fn plan(&mut self, l1: &Seen) -> Result<(), Option<Wait>> {
        let Some(index) = self.channels.iter().position(|channel| !channel.is_sent()) else { return Err(None) };
        let Some(channel) = self.channels.get(index) else { return Err(None) };
        if !self.rollup.can_reach_l1(channel.closed.first_epoch, l1.tip) {
            // Its first blocks will be others, or derivation makes them by itself; either way another channel begins elsewhere.
            self.abandon(index, Why::Expired);
            return Err(None);
        }
        if self.failures.until > l1.block {
            return Err(Some(Wait::Pause { until: self.failures.until }));
        }
        if let Some(Stale { nonce, channels, until, .. }) = self.stale {
            let longest = channels.saturating_add(self.settings.bump_after);
            if self.rollup.can_reach_l1(channel.closed.first_epoch, l1.tip.saturating_add(longest)) {
                return Err(Some(Wait::Stale { nonce, until: until.unwrap_or(l1.tip) }));
            }
        }
        let waiting = self.submissions().filter(|submission| submission.landed().is_none()).count();
        if waiting >= self.settings.max_in_flight || self.submissions().count() >= MAX_REMEMBERED {
            return Err(None);
        }
        let (settings, carrier, first_frame) = (self.settings, channel.closed.carrier, channel.sent_frames());
        let left = channel.closed.frame_count.saturating_sub(first_frame);
        let (frame_count, call_bytes) = match carrier {
            Carrier::Blobs => {
                let blobs = usize::from(left).min(settings.blobs_per_submission);
                (u16::try_from(blobs).unwrap_or(left), 32 * blobs)
            }
            Carrier::Calldata => {
                let whole = usize::try_from(channel.closed.max_frame_data).unwrap_or(usize::MAX);
                (1, whole.saturating_add(1 + FRAME_OVERHEAD))
            }
        };
        let taken = self.submissions().flat_map(|submission| &submission.slots).map(|slot| slot.nonce).max();
        let nonce = taken.unwrap_or(0).max(l1.nonce).saturating_add(1);
        let envelopes = self.submissions().map(|submission| submission.envelope_nonce.saturating_add(1)).max();
        let envelope_nonce = envelopes.unwrap_or(0).max(l1.next_envelope);
        let slot = |role, nonce, gas_limit| Slot::new(role, nonce, gas_limit, settings.gas_price);
        let call_limit = settings.gas.call_limit(call_bytes);
        let slots = match carrier {
            Carrier::Blobs => vec![
                slot(Role::Blobs, nonce, settings.gas.blob_limit(frame_count.into())),
                slot(Role::Call, nonce.saturating_add(1), call_limit),
            ],
            Carrier::Calldata => vec![slot(Role::Call, nonce, call_limit)],
        };
        let cost = |slot: &Slot| slot.gas_limit.saturating_mul(slot.wanted.unwrap_or_else(|| slot.price()));
        let before = self.submissions().flat_map(|submission| &submission.slots).filter(|slot| !slot.is_included());
        let need = before.chain(&slots).map(cost).fold(0, u64::saturating_add);
        if need > l1.balance {
            return Err(Some(Wait::Funds { need, have: l1.balance }));
        }
        let submission = Submission {
            number: self.next_submission,
            first_frame,
            frame_count,
            envelope_nonce,
            envelope_hash: None,
            slots,
        };
        self.next_submission = self.next_submission.saturating_add(1);
        if let Some(channel) = self.channels.get_mut(index) {
            channel.submissions.push(submission);
        }
        Ok(())
    }

    /// Makes the frames of a channel again, if they are not at hand.
    fn ensure_frames<C: L2Chain>(&mut self, index: usize, chain: &C) -> Result<bool, C::Error> {
        let Some(channel) = self.channels.get(index) else { return Ok(false) };
        if channel.frames.is_some() {
            return Ok(true);
        }
        match self.rebuild(&channel.closed, chain)? {
            Rebuilt::Frames(frames) => {
                if let Some(channel) = self.channels.get_mut(index) {
                    channel.frames = Some(frames);
                }
                Ok(true)
            }
            Rebuilt::Missing => Ok(false),
            Rebuilt::Different => {
                self.abandon(index, Why::Different);
                Ok(false)
            }
        }
    }

    fn rebuild<C: L2Chain>(&self, closed: &Closed, chain: &C) -> Result<Rebuilt, C::Error> {
        let Ok(compression) = closed.compression.parse::<Compression>() else { return Ok(Rebuilt::Different) };
        let mut blocks: Vec<(SingularBatch, u64)> = Vec::new();
        let mut parent = closed.parent.hash;
        for number in closed.parent.number.saturating_add(1)..=closed.last.number {
            let Some(block) = chain.block(number)? else { return Ok(Rebuilt::Missing) };
            if block.batch.parent_hash != parent {
                return Ok(Rebuilt::Missing);
            }
            parent = block.hash;
            blocks.push((block.batch, block.sequence_number));
        }
        if parent != closed.last.hash {
            // The L2 chain has other blocks: the channel goes as soon as they reach its end.
            return Ok(Rebuilt::Missing);
        }
        let max_frame_data = usize::try_from(closed.max_frame_data).unwrap_or(usize::MAX);
        let settings = ChannelSettings {
            compression,
            target_bytes: usize::MAX,
            max_frame_data,
            max_rlp_bytes: self.max_rlp_bytes(),
        };
        let blocks = blocks.iter().map(|(batch, sequence_number)| (batch, *sequence_number));
        Ok(match build_frames(&self.rollup, settings, closed.id, blocks) {
            Ok(frames) if digest(&frames) == closed.digest => Rebuilt::Frames(frames),
            Ok(_) | Err(_) => Rebuilt::Different,
        })
    }
}

/// The order for those slots of a submission that `pick` gives a price and an id for.
fn order(
    channel: &Channel,
    at: usize,
    pick: impl Fn(&Slot) -> Option<(u64, Option<alloy_primitives::B256>)>,
) -> Option<Order> {
    let submission = channel.submissions.get(at)?;
    let first = usize::from(submission.first_frame);
    let frames = channel.frames.as_ref()?.get(first..first + usize::from(submission.frame_count))?;
    let payload = match channel.closed.carrier {
        Carrier::Blobs => Payload::Blobs(frames.iter().map(|frame| encode_frames([frame]).into()).collect()),
        Carrier::Calldata => Payload::Calldata(encode_frames(frames).into()),
    };
    let transactions = submission.slots.iter().filter_map(|slot| {
        let (gas_price, id) = pick(slot)?;
        Some(TxOrder { role: slot.role, nonce: slot.nonce, gas_limit: slot.gas_limit, gas_price, id })
    });
    Some(Order {
        submission: submission.number,
        channel: channel.id(),
        envelope_nonce: submission.envelope_nonce,
        payload,
        transactions: transactions.collect(),
    })
}
