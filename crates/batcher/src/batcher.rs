//! The machine, and how its parts work together.

use crate::{
    action::{Action, Heads, L2Chain, Notice, Observation, Refusal, Signed, Wait, Why},
    channel::{Channel, MAX_ATTEMPTS, Open, Slot, SlotState, Submission},
    record::{Attempt, Record},
    settings::Settings,
};
use alloy_primitives::B256;
use duskevm_rollup::{BlockId, RollupConfig, channel_out::ChannelOut, frame::ChannelId};
use std::{collections::VecDeque, sync::Arc};

/// Most submissions that are remembered. More would mean that L1 takes them and never finalizes.
pub(crate) const MAX_REMEMBERED: usize = 256;

/// Notices that are kept until somebody takes them.
const MAX_NOTICES: usize = 256;

/// Log₂ of the longest pause after what came to nothing, in L1 blocks.
const MAX_PAUSE: u32 = 6;

/// What was last seen of L1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Newest block of the view.
    pub(crate) block: u64,
    /// Newest block of L1, after which the rest is as it is.
    pub(crate) tip: u64,
    pub(crate) nonce: u64,
    pub(crate) balance: u64,
    pub(crate) next_envelope: u64,
}

/// Transactions that were given up and may still be included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stale {
    /// The highest nonce of them.
    pub(crate) nonce: u64,
    /// Whether L1 has used it.
    pub(crate) is_used: bool,
    /// Channels that they belong to.
    pub(crate) channels: u64,
    /// What comes instead waits up to this L1 block; unknown until L1 is seen.
    pub(crate) until: Option<u64>,
}

impl Stale {
    /// L1 stands at this block, with nonces used up to this one: is there nothing more to wait for?
    ///
    /// They are dropped where they are included, one channel after the other. kona-derive 0.4.5 then takes the next L1 block
    /// (`BatchStream` answers with `Eof`) before it has read the rest of this one: for each channel it loses an L1 block behind
    /// (where the specification, op-node and this node lose nothing).
    const fn is_over(&mut self, tip: u64, used: u64, patience: u64) -> bool {
        let until = match self.until {
            _ if !self.is_used && self.nonce <= used => {
                self.is_used = true;
                tip.saturating_add(self.channels)
            }
            Some(until) => until,
            None => tip.saturating_add(patience),
        };
        self.until = Some(until);
        until <= tip
    }
}

/// A pause after channels that were paid for and came to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Failures {
    pub(crate) count: u32,
    pub(crate) until: u64,
}

/// The batcher. See the crate's documentation for how it is driven.
#[derive(Debug)]
pub struct Batcher {
    pub(crate) rollup: Arc<RollupConfig>,
    pub(crate) settings: Settings,
    pub(crate) channels: VecDeque<Channel>,
    pub(crate) open: Option<Open>,
    /// Last block of the channels that are on L1 for good.
    pub(crate) settled: Option<BlockId>,
    /// What the last channel taught about compression.
    pub(crate) spare: Option<ChannelOut>,
    pub(crate) next_submission: u64,
    pub(crate) heads: Option<Heads>,
    pub(crate) l1: Option<Seen>,
    /// Without a journal, derivation must have read L1 up to here before anything is posted.
    pub(crate) derive_first: DeriveFirst,
    pub(crate) failures: Failures,
    /// What was given up and may still come to L1.
    pub(crate) stale: Option<Stale>,
    /// L1 block of the view since which nonces below those of what is under way are free, because L1 took blocks back.
    pub(crate) gap_since: Option<u64>,
    /// Bytes per block of the last channel.
    pub(crate) block_bytes: u64,
    pub(crate) records: Vec<Record>,
    pub(crate) notices: VecDeque<Notice>,
    pub(crate) unpostable: Option<u64>,
}

/// See [`Batcher::derive_first`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeriveFirst {
    /// As far as L1 will be when it is first seen.
    Unknown,
    /// Up to this L1 block.
    UpTo(u64),
    /// It has.
    Done,
}

impl Batcher {
    /// A batcher that knows nothing yet. Give it the records of its journal with [`Self::replay`], if there are any.
    pub fn new(rollup: Arc<RollupConfig>, settings: Settings) -> Self {
        Self {
            rollup,
            settings,
            channels: VecDeque::new(),
            open: None,
            settled: None,
            spare: None,
            next_submission: 0,
            heads: None,
            l1: None,
            derive_first: DeriveFirst::Unknown,
            failures: Failures::default(),
            stale: None,
            gap_since: None,
            block_bytes: 0,
            records: Vec::new(),
            notices: VecDeque::new(),
            unpostable: None,
        }
    }

    /// The L2 chain stands here now.
    pub const fn heads(&mut self, heads: Heads) {
        self.heads = Some(heads);
    }

    /// The transactions to ask L1 for, by Dusk id, with the hash of the envelope for those that call the batch inbox: if such a call has
    /// failed, the L1 view must be asked for the envelope.
    pub fn watched(&self) -> Vec<(B256, B256)> {
        let mut ids = Vec::new();
        for submission in self.channels.iter().flat_map(|channel| &channel.submissions) {
            let Some(envelope) = submission.envelope_hash else { continue };
            for slot in &submission.slots {
                if !matches!(slot.state, SlotState::Included { is_final: true, .. }) {
                    let former = slot.former.iter().map(|(_, attempt)| attempt);
                    ids.extend(former.chain(&slot.attempts).map(|attempt| (attempt.id, envelope)));
                }
            }
        }
        ids
    }

    /// L1 stands here now.
    pub fn observe(&mut self, observation: &Observation) {
        let Observation { l1_block, tip, account, next_envelope, transactions } = observation;
        self.l1 = Some(Seen {
            block: *l1_block,
            tip: *tip,
            nonce: account.nonce,
            balance: account.balance,
            next_envelope: *next_envelope,
        });
        if self.derive_first == DeriveFirst::Unknown {
            self.derive_first = DeriveFirst::UpTo(*tip);
        }
        let mut lost = None;
        // Nonces up to this one are used.
        let mut used = account.nonce;
        for (index, channel) in self.channels.iter_mut().enumerate() {
            for slot in channel.submissions.iter_mut().flat_map(|submission| &mut submission.slots) {
                if let Some(why) = slot.observe(*l1_block, transactions) {
                    lost = lost.or(Some((index, Why::Failed(why))));
                }
                if slot.is_included() {
                    used = used.max(slot.nonce);
                }
            }
        }
        if let Some(stale) = &mut self.stale
            && stale.is_over(*tip, used, self.settings.bump_after)
        {
            self.stale = None;
        }
        let lost = match self.put_in_order(used, *next_envelope, *l1_block) {
            Some((index, why)) if lost.as_ref().is_none_or(|(other, _)| index < *other) => Some((index, why)),
            _ => lost,
        };
        if let Some((index, why)) = lost {
            self.abandon(index, why);
        }
        if let Some((index, why)) = self.lost(*tip) {
            self.abandon(index, why);
        }
        self.hurry(*l1_block);
    }

    /// Gives what is not on L1 the nonces that L1 will take; says which channel cannot go on, if one cannot.
    fn put_in_order(&mut self, used: u64, next_envelope: u64, l1_block: u64) -> Option<(usize, Why)> {
        // What L1 took back usually waits again. Only what does not come again for long has its nonces given to others: otherwise both
        // would be included in the end.
        let waited = self.gap_since.is_some_and(|since| l1_block >= since.saturating_add(self.settings.bump_after));
        let (mut free, mut envelope) = (used.saturating_add(1), next_envelope);
        let (mut gap, mut lost) = (false, None);
        for (index, channel) in self.channels.iter_mut().enumerate() {
            for submission in &mut channel.submissions {
                let mut moved = false;
                for slot in &mut submission.slots {
                    if slot.is_included() {
                        free = free.max(slot.nonce.saturating_add(1));
                        continue;
                    }
                    if let SlotState::Sent { since } = slot.state
                        && slot.nonce <= used
                    {
                        slot.state = SlotState::Executed { since };
                        continue;
                    }
                    gap |= slot.nonce > free;
                    // Something else used its nonce, or what came before it left L1 for good.
                    if slot.nonce < free || (slot.nonce > free && (waited || slot.attempts.is_empty())) {
                        moved |= slot.nonce < free;
                        slot.move_to(free, self.settings.gas_price);
                    }
                    free = slot.nonce.saturating_add(1);
                }
                let is_known = |slot: &Slot| slot.is_included() || slot.is_executed();
                if submission.is_unsigned() {
                    submission.envelope_nonce = envelope;
                } else if !submission.slots.last().is_some_and(is_known) {
                    // An envelope is never signed again with another nonce, because both could be included one day. If its nonce is
                    // used, then maybe by itself: as long as its call is under way, that will tell.
                    gap |= submission.envelope_nonce > envelope;
                    let why = match submission.envelope_nonce {
                        nonce if nonce < next_envelope && moved => Some(Why::Nonce),
                        nonce if nonce > envelope && waited => Some(Why::Gap),
                        _ => None,
                    };
                    lost = lost.or(why.map(|why| (index, why)));
                }
                envelope = envelope.max(submission.envelope_nonce.saturating_add(1));
            }
        }
        self.gap_since = gap.then(|| self.gap_since.unwrap_or(l1_block)).filter(|_| !waited);
        lost
    }

    /// An order of [`Action::Sign`] (or [`Action::Submit`]) was signed.
    pub fn signed(&mut self, signed: &Signed) {
        let Some((id, submission)) = self.submission(signed.submission) else { return };
        submission.envelope_hash = Some(signed.envelope_hash);
        for tx in &signed.transactions {
            let slot = submission.slots.iter_mut().find(|slot| (slot.role, slot.nonce) == (tx.role, tx.nonce));
            let (Some(slot), Some(tx_id)) = (slot, tx.id) else { continue };
            slot.wanted = None;
            slot.state = SlotState::Unsent;
            slot.attempts.push(Attempt { gas_price: tx.gas_price, id: tx_id });
        }
        let record = submission.record(id).map(Record::Submitted);
        self.records.extend(record);
    }

    /// L1 did not take a transaction of [`Action::Submit`].
    pub fn refused(&mut self, id: B256, refusal: Refusal) {
        let settings = self.settings;
        let slots =
            self.channels.iter_mut().flat_map(|channel| &mut channel.submissions).flat_map(|one| &mut one.slots);
        for slot in slots.filter(|slot| slot.attempts.last().is_some_and(|attempt| attempt.id == id)) {
            slot.state = SlotState::Refused;
            // All that was signed stays known: another node may have it. Beyond the bound it is tried again as it is.
            if let Refusal::Underpriced(price) = refusal
                && slot.attempts.len() < MAX_ATTEMPTS
            {
                let better = settings.bumped(price.max(slot.price()));
                slot.wanted = (better > price).then_some(better);
            }
        }
    }

    /// What happened since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        self.notices.drain(..).collect()
    }

    /// What is to be done next. `ids` draws channel ids: random, none of them ever twice.
    ///
    /// # Errors
    /// If the L2 chain cannot be read. Nothing is lost by that.
    pub fn advance<C: L2Chain>(&mut self, chain: &C, ids: &mut impl FnMut() -> ChannelId) -> Result<Action, C::Error> {
        if self.records.is_empty()
            && let (Some(heads), Some(_)) = (self.heads, self.l1)
        {
            self.reconcile(&heads, chain)?;
        }
        if !self.records.is_empty() {
            return Ok(Action::Journal(std::mem::take(&mut self.records)));
        }
        let (Some(heads), Some(l1)) = (self.heads, self.l1) else { return Ok(Action::Wait(Wait::Start)) };
        if let Some(order) = self.next_submit(chain, &l1)? {
            return Ok(Action::Submit(order));
        }
        let hold = match self.next_sign(chain, &l1)? {
            Ok(order) => return Ok(Action::Sign(order)),
            Err(hold) => hold,
        };
        if !self.records.is_empty() {
            return Ok(Action::Again);
        }
        let idle = match self.fill(chain, &heads, &l1, ids)? {
            Ok(()) => return Ok(Action::Again),
            Err(wait) => wait,
        };
        Ok(Action::Wait(hold.or_else(|| self.under_way()).unwrap_or(idle)))
    }

    fn submission(&mut self, number: u64) -> Option<(ChannelId, &mut Submission)> {
        self.channels.iter_mut().find_map(|channel| {
            let id = channel.id();
            channel.submissions.iter_mut().find(|submission| submission.number == number).map(|found| (id, found))
        })
    }

    /// The transaction that everything waits for, or the channel that is not safe yet.
    fn under_way(&self) -> Option<Wait> {
        self.channels.iter().find_map(|channel| {
            channel.submissions.iter().flat_map(|submission| &submission.slots).find_map(|slot| {
                let (SlotState::Sent { since } | SlotState::Executed { since }) = slot.state else { return None };
                let id = slot.attempts.last()?.id;
                Some(Wait::Transaction { channel: channel.id(), id, since })
            })
        })
    }

    pub(crate) fn notice(&mut self, notice: Notice) {
        if self.notices.len() >= MAX_NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back(notice);
    }

    /// Gives this channel up, and all after it.
    pub(crate) fn abandon(&mut self, index: usize, why: Why) {
        let Some(channel) = self.channels.get(index) else { return };
        let id = channel.id();
        if why.is_paid_for() {
            self.failures.count = self.failures.count.saturating_add(1);
            let now = self.l1.map_or(0, |l1| l1.block);
            self.failures.until = now.saturating_add(1 << self.failures.count.min(MAX_PAUSE));
        }
        let until = self.l1.map(|l1| l1.tip.saturating_add(self.settings.bump_after));
        self.drop_channels(index, until);
        self.spare = self.open.take().map(|open| open.out).or(self.spare.take());
        self.unpostable = None;
        self.records.push(Record::Abandoned { id });
        self.notice(Notice::Abandoned { id, why });
    }

    /// Takes this channel and all after it out. What was signed for them may still come to L1, up to a block.
    pub(crate) fn drop_channels(&mut self, index: usize, until: Option<u64>) {
        let open = |channel: &Channel| {
            let slots = channel.submissions.iter().flat_map(|submission| &submission.slots);
            slots.filter(|slot| !slot.is_included() && !slot.attempts.is_empty()).map(|slot| slot.nonce).max()
        };
        let dropped: Vec<u64> = self.channels.iter().skip(index).filter_map(open).collect();
        if let Some(nonce) = dropped.iter().copied().chain(self.stale.map(|stale| stale.nonce)).max()
            && !dropped.is_empty()
        {
            let channels = self.stale.map_or(0, |stale| stale.channels).saturating_add(dropped.len() as u64);
            self.stale = Some(Stale { nonce, is_used: false, channels, until });
        }
        self.channels.truncate(index);
    }

    /// The block after which nothing is in a closed channel.
    pub(crate) fn end(&self, heads: &Heads) -> BlockId {
        match (self.channels.back(), self.settled) {
            (Some(channel), _) => channel.closed.last,
            (None, Some(settled)) if settled.number > heads.safe.number => settled,
            (None, _) => heads.safe,
        }
    }
}
