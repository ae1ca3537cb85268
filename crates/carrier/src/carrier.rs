//! The machine: what it is told and what it answers. What it plans is in [`plan`](crate::plan).

use crate::{
    action::{Action, DuskRefusal, Notice, Observation, Wait},
    carried::Carried,
    envelope::{Candidate, Envelope, Offer},
    pool::Pool,
    record::{Attempt, Record, Role},
    refusal::Refusal,
    settings::Settings,
    step::{Change, MAX_ATTEMPTS, State, Step, Wanted},
};
use alloy_primitives::{Address, B256};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Notices that are kept until somebody takes them.
const MAX_NOTICES: usize = 256;

/// Looks at L1 that are remembered until their blocks are final.
const MAX_LOOKS: usize = 1024;

/// Log₂ of the longest pause after Dusk transactions that failed, in L1 blocks.
const MAX_PAUSE: u32 = 6;

/// What was last seen of L1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) height: u64,
    pub(crate) nonce: u64,
    pub(crate) balance: u64,
}

/// The nonces that the inbox took next at one block.
#[derive(Debug, Clone)]
struct Look {
    height: u64,
    hash: B256,
    next: BTreeMap<Address, u64>,
}

/// The carrier. See the crate's documentation for how it is driven.
#[derive(Debug)]
pub struct Carrier {
    pub(crate) settings: Settings,
    pub(crate) pool: Pool,
    /// By nonce.
    pub(crate) steps: BTreeMap<u64, Step>,
    /// What the inbox said at blocks that may still be replaced, oldest first.
    looks: VecDeque<Look>,
    pub(crate) seen: Option<Seen>,
    /// The nonces that the inbox takes next.
    pub(crate) next: BTreeMap<Address, u64>,
    pub(crate) turns: u64,
    records: Vec<Record>,
    notices: VecDeque<Notice>,
}

/// Records that do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// An envelope that was checked before it was written.
    #[error(
        "the carrier's journal has an envelope that is none: move the folder away, and whoever sent transactions sends them again"
    )]
    Envelope,
}

impl Carrier {
    /// A carrier that has nothing. Give it the records of its journal with [`Self::replay`], if there are any.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            pool: Pool::default(),
            steps: BTreeMap::new(),
            looks: VecDeque::new(),
            seen: None,
            next: BTreeMap::new(),
            turns: 0,
            records: Vec::new(),
            notices: VecDeque::new(),
        }
    }

    /// What envelopes are judged by.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes a record of the journal.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn replay(&mut self, record: Record) -> Result<(), ReplayError> {
        match record {
            Record::Taken { envelope, sidecars } => {
                let envelope = Envelope::restored(&envelope, &sidecars).ok_or(ReplayError::Envelope)?;
                self.pool.insert(Arc::new(envelope));
            }
            Record::Signed { nonce, attempt } => {
                self.give_turn(&attempt.role);
                let step = self.steps.entry(nonce).or_insert_with(|| Step::new(nonce));
                step.attempts.push(attempt);
            }
            Record::Settled { sender, nonce } => self.pool.remove(&(sender, nonce)),
            Record::Closed { nonce } => drop(self.steps.remove(&nonce)),
            Record::Former { sender, nonce, hashes } => self.pool.restore_former(&(sender, nonce), hashes),
            Record::Kept { envelope, sidecars } => {
                let envelope = Envelope::restored(&envelope, &sidecars).ok_or(ReplayError::Envelope)?;
                self.pool.keep(Arc::new(envelope));
            }
        }
        self.release();
        Ok(())
    }

    /// Lets go of envelopes that have lost their place, unless the newest Dusk transaction for a nonce brings them: where nothing
    /// else can be offered for that nonce, all that comes behind it needs this one.
    fn release(&mut self) {
        let needed: Vec<&Role> = self.steps.values().filter_map(Step::role).collect();
        self.pool.release(&needed);
    }

    /// What is signed first was first before.
    fn give_turn(&mut self, role: &Role) {
        let turn = self.turns;
        let slot = self.pool.slots.values_mut().find(|slot| match role {
            Role::Call(hash) => slot.has(hash),
            Role::Blobs(hashes) => slot.envelope.blob_hashes() == hashes,
        });
        if let Some(slot) = slot
            && slot.turn.is_none()
        {
            slot.turn = Some(turn);
            self.turns += 1;
        }
    }

    /// Records that make a carrier like this one: a shorter journal.
    pub fn snapshot(&self) -> Vec<Record> {
        let mut slots: Vec<_> = self.pool.slots.values().collect();
        slots.sort_by_key(|slot| slot.arrival);
        let taken = slots.into_iter().map(|slot| Record::taken(&slot.envelope));
        let replaced = self.pool.slots.iter().filter(|(_, slot)| !slot.former.is_empty());
        let former = replaced.map(|((sender, nonce), slot)| {
            let (sender, nonce, hashes) = (*sender, *nonce, slot.former.clone());
            Record::Former { sender, nonce, hashes }
        });
        let signed = self.steps.values().flat_map(|step| {
            let nonce = step.nonce;
            step.attempts.iter().map(move |attempt| Record::Signed { nonce, attempt: attempt.clone() })
        });
        // What is kept comes behind that which needs it.
        let kept = self.pool.kept().iter().map(|envelope| Record::kept(envelope));
        taken.chain(former).chain(signed).chain(kept).collect()
    }

    /// Would [`Self::take`] take this envelope, if its blobs are in order? Asked before they are checked, which takes long.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn check(&self, candidate: &Candidate, next: u64) -> Result<(), Refusal> {
        self.admit(&candidate.offer(), next)
    }

    fn admit(&self, offer: &Offer<'_>, next: u64) -> Result<(), Refusal> {
        self.pool.check(offer, next, &self.settings)?;
        if let Some(seen) = self.seen {
            let need = self.cost(offer);
            if seen.balance < need {
                return Err(Refusal::Funds { have: seen.balance, need });
            }
        }
        Ok(())
    }

    /// Takes an envelope, if it may come in. `next` is the nonce that the inbox takes next from its sender, as of this moment. The
    /// records must be on disk before anybody is told.
    ///
    /// # Errors
    /// See [`Refusal`]. Then nothing has changed.
    pub fn take(&mut self, envelope: Envelope, next: u64) -> Result<Vec<Record>, Refusal> {
        self.admit(&envelope.offer(), next)?;
        let known = self.next.entry(envelope.sender()).or_insert(next);
        *known = next.max(*known);
        let record = Record::taken(&envelope);
        self.pool.insert(Arc::new(envelope));
        self.release();
        self.records.push(record);
        Ok(self.take_records())
    }

    fn take_records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records)
    }

    /// Least lux that an envelope costs.
    fn cost(&self, offer: &Offer<'_>) -> u64 {
        let call = self.call_gas(offer.raw.len());
        let blobs = match offer.blob_hashes() {
            [] => 0,
            blobs => self.blob_gas(blobs.len()),
        };
        call.saturating_add(blobs).saturating_mul(self.settings.gas_price)
    }

    /// What is carried now, for others.
    pub fn carried(&self) -> Carried {
        self.pool.slots.values().map(|slot| Arc::clone(&slot.envelope)).collect()
    }

    /// The nonce after those of this sender that are here without a gap; `None` if none is.
    pub(crate) fn next_nonce(&self, sender: &Address) -> Option<u64> {
        let mut next = *self.next.get(sender)?;
        while self.pool.slots.contains_key(&(*sender, next)) {
            next = next.checked_add(1)?;
        }
        Some(next)
    }

    /// Envelopes that are not on L1, and bytes of all that are here.
    pub fn load(&self) -> (usize, usize) {
        (self.pool.slots.values().filter(|slot| slot.landed.is_none()).count(), self.pool.bytes())
    }

    /// Whose next nonce L1 is to be asked for.
    pub fn senders(&self) -> Vec<Address> {
        let mut senders: Vec<Address> = self.pool.slots.keys().map(|(sender, _)| *sender).collect();
        senders.dedup();
        senders
    }

    /// Dusk ids that L1 is to be asked for.
    pub fn watched(&self) -> Vec<B256> {
        self.steps.values().flat_map(|step| &step.attempts).map(|attempt| attempt.id).collect()
    }

    /// L1 stands here now.
    pub fn observe(&mut self, observation: &Observation) {
        let Observation { height, nonce, balance, next, transactions, .. } = observation;
        self.seen = Some(Seen { height: *height, nonce: *nonce, balance: *balance });
        self.next.extend(next.iter().map(|(sender, next)| (*sender, *next)));
        let (mut failed, mut notices) = (Vec::new(), Vec::new());
        let mut stolen = Vec::new();
        for step in self.steps.values_mut() {
            match step.observe(*height, *nonce, transactions) {
                Change::Nothing => {}
                Change::Failed { attempt, why } => {
                    if let Some(attempt) = step.attempts.get(attempt) {
                        failed.push(attempt.role.clone());
                        notices.push(Notice::Failed { id: attempt.id, why });
                    }
                }
                Change::Stolen => stolen.push((step.nonce, !step.attempts.is_empty())),
            }
        }
        for (nonce, was_signed) in stolen {
            self.steps.remove(&nonce);
            if was_signed {
                self.records.push(Record::Closed { nonce });
                notices.push(Notice::Stolen { nonce });
            }
        }
        let settled = self.settled(observation);
        self.land(*height, next, &settled, &mut notices);
        for role in failed {
            self.pause(&role, *height);
        }
        notices.into_iter().for_each(|notice| self.notice(notice));
        self.forget_steps(*height);
        self.release();
        self.hurry(*height);
    }

    /// The nonces from which on the inbox may still go back: what a final block has, as a look at that very block or a call in a final
    /// block shows. The height of a nonce alone says nothing: between two looks it may be taken back and be used again further up.
    fn settled(&mut self, observation: &Observation) -> BTreeMap<Address, u64> {
        let Observation { height, hash, finalized, finalized_hash, next, .. } = observation;
        if let Some(hash) = *hash
            && self.looks.len() < MAX_LOOKS
        {
            self.looks.push_back(Look { height: *height, hash, next: next.clone() });
        }
        let look = self.looks.iter().find(|look| look.hash == *finalized_hash);
        let mut settled = look.map(|look| look.next.clone()).unwrap_or_default();
        self.looks.retain(|look| look.height > *finalized);
        for step in self.steps.values().filter(|step| step.is_final()) {
            let Some(Role::Call(hash)) = step.done() else { continue };
            for ((sender, nonce), _) in self.pool.slots.iter().filter(|(_, slot)| slot.has(hash)) {
                let after = settled.entry(*sender).or_default();
                *after = nonce.saturating_add(1).max(*after);
            }
        }
        settled
    }

    /// Which envelopes are on L1 now, and which of them for good.
    fn land(
        &mut self,
        height: u64,
        next: &BTreeMap<Address, u64>,
        settled: &BTreeMap<Address, u64>,
        notices: &mut Vec<Notice>,
    ) {
        let mut over = Vec::new();
        for ((sender, nonce), slot) in &mut self.pool.slots {
            let Some(next) = next.get(sender) else { continue };
            let hash = slot.envelope.hash();
            match (nonce < next, slot.landed) {
                (true, None) => {
                    slot.landed = Some(height);
                    notices.push(Notice::Landed { hash, height });
                }
                (false, Some(_)) => {
                    slot.landed = None;
                    notices.push(Notice::TakenBack { hash });
                }
                _ => {}
            }
            if slot.landed.is_some() && settled.get(sender).is_some_and(|settled| nonce < settled) {
                over.push((*sender, *nonce));
                notices.push(Notice::Settled { hash });
            }
        }
        for key in over {
            self.pool.remove(&key);
            self.records.push(Record::Settled { sender: key.0, nonce: key.1 });
        }
    }

    /// Lets envelopes wait whose Dusk transaction failed: what is paid for and comes to nothing once may do so again.
    fn pause(&mut self, role: &Role, height: u64) {
        for slot in self.pool.slots.values_mut().filter(|slot| slot.landed.is_none()) {
            let is_its = match role {
                Role::Call(hash) => slot.has(hash),
                Role::Blobs(hashes) => slot.envelope.blob_hashes() == hashes,
            };
            if is_its {
                slot.until = height.saturating_add(1 << slot.failures.min(MAX_PAUSE));
                slot.failures = slot.failures.saturating_add(1);
            }
        }
    }

    /// Forgets nonces that are used for good. Blobs are remembered as long as an envelope needs them: until its call is final, too, as
    /// they need not be paid for again if it is taken back. What L1 may have forgotten is brought again.
    fn forget_steps(&mut self, height: u64) {
        let open: Vec<&[B256]> = self.pool.slots.values().map(|slot| slot.envelope.blob_hashes()).collect();
        let over = self.steps.values().filter(|step| {
            let State::Included { attempt, is_final: true, failed, .. } = step.state else { return false };
            let is_stale = step.has_stale_blobs(height, self.settings.blob_life);
            match step.attempts.get(attempt).map(|attempt| &attempt.role) {
                Some(Role::Blobs(hashes)) => failed || is_stale || !open.contains(&hashes.as_slice()),
                Some(Role::Call(_)) | None => true,
            }
        });
        let over: Vec<u64> = over.map(|step| step.nonce).collect();
        for nonce in over {
            self.steps.remove(&nonce);
            self.records.push(Record::Closed { nonce });
        }
    }

    /// Offers more for the first Dusk transaction, if it has waited long.
    fn hurry(&mut self, height: u64) {
        let settings = &self.settings;
        let Some(step) = self.steps.values_mut().find(|step| !step.is_used()) else { return };
        let State::Sent { since } = step.state else { return };
        let (Some(role), Some(gas_price)) = (step.role().cloned(), settings.bumped(step.price())) else { return };
        let has_waited = height.saturating_sub(since) >= settings.bump_after;
        if has_waited && step.is_planned && step.attempts.len() < MAX_ATTEMPTS {
            let nonce = step.nonce;
            step.wanted = Some(Wanted { role, gas_price });
            self.notice(Notice::Bumped { nonce, gas_price });
        }
    }

    /// An order of [`Action::Sign`], or one that had to be signed again, was signed. Forgotten if its envelope was replaced meanwhile:
    /// nobody has heard of it.
    pub fn signed(&mut self, order: &crate::Order, id: B256) {
        if self.pool.to_bring(&order.role).is_none() {
            return;
        }
        let Some(step) = self.steps.get_mut(&order.nonce) else { return };
        step.wanted = None;
        step.state = State::Unsent;
        let attempt = Attempt { role: order.role.clone(), gas_limit: order.gas_limit, gas_price: order.gas_price, id };
        if step.attempts.last() != Some(&attempt) {
            step.attempts.push(attempt.clone());
            self.records.push(Record::Signed { nonce: order.nonce, attempt });
            self.release();
        }
    }

    /// L1 did not take a transaction of [`Action::Submit`].
    pub fn refused(&mut self, id: B256, refusal: DuskRefusal) {
        let settings = &self.settings;
        let step = self.steps.values_mut().find(|step| step.attempts.last().is_some_and(|attempt| attempt.id == id));
        let Some(step) = step else { return };
        if let DuskRefusal::Underpriced(price) = refusal
            && step.attempts.len() < MAX_ATTEMPTS
            && let Some(gas_price) = settings.bumped(price.max(step.price()))
            && let Some(role) = step.role().cloned()
        {
            step.wanted = Some(Wanted { role, gas_price });
        }
        // Until L1 is looked at again; then it is submitted once more unless L1 has it.
    }

    /// What happened since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        self.notices.drain(..).collect()
    }

    pub(crate) fn notice(&mut self, notice: Notice) {
        if self.notices.len() < MAX_NOTICES {
            self.notices.push_back(notice);
        }
    }

    /// What is to be done next.
    pub fn advance(&mut self) -> Action {
        let Some(seen) = self.seen else {
            return match self.take_records() {
                records if records.is_empty() => Action::Wait(Wait::Start),
                records => Action::Journal(records),
            };
        };
        self.plan(&seen);
        let records = self.take_records();
        if !records.is_empty() {
            return Action::Journal(records);
        }
        let hold = match self.next_sign(&seen) {
            Ok(Some(order)) => return Action::Sign(order),
            Ok(None) => None,
            Err(wait) => Some(wait),
        };
        let orders = self.next_submit(&seen);
        if !orders.is_empty() {
            return Action::Submit(orders);
        }
        Action::Wait(hold.unwrap_or_else(|| self.waits_for(&seen)))
    }
}

#[cfg(test)]
mod tests;
