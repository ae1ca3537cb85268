//! Which Dusk transaction is to be at which nonce.
//!
//! The plan is made anew from what L1 shows: the envelopes that are under way in their order, for each of them its blobs, unless L1 has
//! them, and the call of the inbox. They get the lowest free nonces. Where another transaction was signed for such a nonce, a new one
//! offers more than all before it, so that of both only one can be included. Where no more can be offered, what was signed last stays: it is
//! submitted until it is included, as nothing behind it can be included before.

use crate::{
    action::{Order, Wait},
    carrier::{Carrier, Seen},
    pool::Slot,
    record::{Attempt, Role},
    step::{MAX_ATTEMPTS, State, Step, Wanted},
};
use alloy_primitives::Address;
use std::{collections::BTreeSet, sync::Arc};

type Key = (Address, u64);

impl Carrier {
    /// Gas of a call with an envelope of so many bytes.
    pub(crate) fn call_gas(&self, bytes: usize) -> u64 {
        let (gas, bytes) = (&self.settings.gas, bytes as u64);
        // The call's arguments are a little longer than the envelope: what RLP adds.
        gas.call.saturating_add(gas.per_call_byte.saturating_mul(bytes.saturating_add(16))).max(gas.least)
    }

    pub(crate) fn blob_gas(&self, blobs: usize) -> u64 {
        let gas = &self.settings.gas;
        gas.per_blob.saturating_mul(blobs as u64).saturating_add(gas.least)
    }

    /// Makes the plan anew.
    pub(crate) fn plan(&mut self, seen: &Seen) {
        self.give_turns();
        let wanted = self.wanted(seen);
        // The account's nonce says so of final ones. Those of the journal may be of another account, which was configured before.
        let used = self.steps.values().filter(|step| step.is_used() && !step.is_final()).map(|step| step.nonce).max();
        let mut nonce = used.unwrap_or(0).max(seen.nonce).saturating_add(1);
        for step in self.steps.values_mut() {
            step.is_planned = false;
        }
        for role in wanted {
            while !self.assign(nonce, &role) {
                nonce = nonce.saturating_add(1);
            }
            nonce = nonce.saturating_add(1);
        }
        // Without attempts and not wanted any more.
        self.steps.retain(|_, step| step.is_planned || !step.attempts.is_empty());
        let last = self.steps.values().filter(|step| step.is_planned).map(|step| step.nonce).max();
        for step in self.steps.values_mut().filter(|step| !step.is_planned) {
            step.wanted = None;
            step.is_planned = !step.is_used() && last.is_some_and(|last| step.nonce < last);
        }
    }

    /// Puts a transaction at a nonce. False if what was signed for that nonce cannot be outbid any more: it stays.
    fn assign(&mut self, nonce: u64, role: &Role) -> bool {
        let same = |have: &Role| have == role || self.is_former(have, role);
        let step = self.steps.get(&nonce);
        let is_same = step.and_then(Step::role).is_some_and(same);
        let (first, best) = (self.settings.gas_price, step.map(Step::price));
        let better = best.map(|price| self.settings.bumped(price));
        let step = self.steps.entry(nonce).or_insert_with(|| Step::new(nonce));
        if step.attempts.is_empty() {
            step.wanted = Some(Wanted { role: role.clone(), gas_price: first });
        } else if step.role() == Some(role) {
            // As it is, or at the better price that is wanted already.
            step.wanted = step.wanted.take().filter(|wanted| wanted.role == *role);
        } else if let Some(Some(better)) = better
            && step.attempts.len() < MAX_ATTEMPTS
        {
            if step.wanted.as_ref().is_none_or(|wanted| wanted.role != *role) {
                step.wanted = Some(Wanted { role: role.clone(), gas_price: better });
            }
        } else if !is_same {
            return false;
        }
        step.is_planned = true;
        true
    }

    /// Does the one bring an envelope that the other's has replaced? Either uses the nonce of the inbox.
    fn is_former(&self, have: &Role, role: &Role) -> bool {
        let (Role::Call(old), Role::Call(new)) = (have, role) else { return false };
        self.pool.slots.values().any(|slot| slot.envelope.hash() == *new && slot.has(old))
    }

    /// Lets as many envelopes go under way as may be, in the order in which they came; those of a sender in that of their nonces.
    fn give_turns(&mut self) {
        loop {
            // One that waits for an envelope before it, which is gone, takes no place from others.
            let under_way = self.under_way();
            if under_way.iter().filter(|(key, _)| self.follows(key)).count() >= self.settings.max_in_flight {
                return;
            }
            let waiting = self.senders().into_iter().filter_map(|sender| {
                let mut nonce = *self.next.get(&sender)?;
                loop {
                    let slot = self.pool.slots.get(&(sender, nonce))?;
                    if slot.turn.is_none() {
                        return Some((slot.arrival, (sender, nonce)));
                    }
                    nonce = nonce.checked_add(1)?;
                }
            });
            let Some((_, key)) = waiting.min() else { return };
            let Some(slot) = self.pool.slots.get_mut(&key) else { return };
            slot.turn = Some(self.turns);
            self.turns += 1;
        }
    }

    /// The envelopes that are under way, in their order.
    fn under_way(&self) -> Vec<(&Key, &Slot)> {
        let mut slots: Vec<_> =
            self.pool.slots.iter().filter(|(_, slot)| slot.turn.is_some() && slot.landed.is_none()).collect();
        slots.sort_by_key(|(_, slot)| slot.turn);
        slots
    }

    /// Are all the envelopes here that the inbox takes before this one?
    fn follows(&self, (sender, nonce): &Key) -> bool {
        let Some(next) = self.next.get(sender) else { return false };
        (*next..*nonce).all(|before| self.pool.slots.contains_key(&(*sender, before)))
    }

    /// What Dusk transactions should do, in their order.
    fn wanted(&self, seen: &Seen) -> Vec<Role> {
        let mut wanted: Vec<Role> = Vec::new();
        // Senders one of whose envelopes waits: the later ones wait, too.
        let mut held: BTreeSet<Address> = BTreeSet::new();
        let life = self.settings.blob_life;
        let lasting = self.steps.values().filter(|step| !step.has_stale_blobs(seen.height, life));
        let done: Vec<&Role> = lasting.filter_map(Step::done).collect();
        for (key, slot) in self.under_way() {
            let (sender, follows) = (&key.0, self.follows(key));
            let is_executed = done.iter().any(|role| matches!(role, Role::Call(hash) if slot.has(hash)));
            // A call that is in a block, and its nonce is not used: L1 tells more of it soon.
            if held.contains(sender) || !follows || is_executed || slot.until > seen.height {
                held.insert(*sender);
                continue;
            }
            let hashes = slot.envelope.blob_hashes();
            if !hashes.is_empty() {
                let role = Role::Blobs(hashes.to_vec());
                if !done.contains(&&role) && !wanted.contains(&role) {
                    wanted.push(role);
                }
            }
            wanted.push(Role::Call(slot.envelope.hash()));
        }
        wanted
    }

    /// What is wanted of a nonce, to be signed.
    fn to_sign(&self, step: &Step) -> Option<Order> {
        let Wanted { role, gas_price } = step.wanted.clone()?;
        let envelope = Arc::clone(self.pool.to_bring(&role)?);
        let gas_limit = match &role {
            Role::Blobs(hashes) => self.blob_gas(hashes.len()),
            Role::Call(_) => self.call_gas(envelope.raw().len()),
        };
        Some(Order { nonce: step.nonce, role, gas_limit, gas_price, id: None, envelope })
    }

    /// What was signed last for a nonce.
    fn to_submit(&self, step: &Step) -> Option<Order> {
        let Attempt { role, gas_limit, gas_price, id } = step.attempts.last()?.clone();
        let envelope = Arc::clone(self.pool.to_bring(&role)?);
        Some(Order { nonce: step.nonce, role, gas_limit, gas_price, id: Some(id), envelope })
    }

    /// What is to be signed next.
    ///
    /// # Errors
    /// If the account cannot pay for it. Blobs are only brought if the call that needs them can be paid for, too: L1 forgets blobs.
    pub(crate) fn next_sign(&self, seen: &Seen) -> Result<Option<Order>, Wait> {
        let order = self.steps.values().find_map(|step| self.to_sign(step));
        let Some(order) = order else { return Ok(None) };
        let others = self.steps.values().filter(|step| !step.is_used() && step.nonce < order.nonce);
        let others = others.filter_map(|step| {
            step.attempts.iter().map(|attempt| attempt.gas_limit.saturating_mul(attempt.gas_price)).max()
        });
        let call = match order.role {
            Role::Blobs(_) => self.call_gas(order.envelope.raw().len()),
            Role::Call(_) => 0,
        };
        let gas = order.gas_limit.saturating_add(call);
        let need = others.fold(gas.saturating_mul(order.gas_price), u64::saturating_add);
        if need > seen.balance {
            return Err(Wait::Funds { need, have: seen.balance });
        }
        Ok(Some(order))
    }

    /// What is to be submitted now, in the order of the nonces.
    pub(crate) fn next_submit(&mut self, seen: &Seen) -> Vec<Order> {
        let due = |step: &&Step| step.is_planned && step.state == State::Unsent;
        let orders: Vec<Order> = self.steps.values().filter(due).filter_map(|step| self.to_submit(step)).collect();
        for order in &orders {
            if let Some(step) = self.steps.get_mut(&order.nonce) {
                step.state = State::Sent { since: seen.height };
            }
        }
        orders
    }

    /// Why there is nothing to do.
    pub(crate) fn waits_for(&self, seen: &Seen) -> Wait {
        for step in self.steps.values().filter(|step| step.is_planned) {
            if let (State::Sent { since }, Some(attempt)) = (&step.state, step.attempts.last()) {
                return Wait::Transaction { id: attempt.id, since: *since };
            }
        }
        for (_, slot) in self.under_way() {
            if slot.until > seen.height {
                return Wait::Pause { until: slot.until, hash: slot.envelope.hash() };
            }
        }
        if let Some(height) = self.pool.slots.values().filter_map(|slot| slot.landed).max() {
            return Wait::Final { height };
        }
        let gap = self.senders().into_iter().find_map(|sender| Some((sender, self.next_nonce(&sender)?)));
        gap.map_or(Wait::Envelopes, |(sender, nonce)| Wait::Nonce { sender, nonce })
    }
}
