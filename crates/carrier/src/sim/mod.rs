//! A carrier against an L1 that loses, fails, takes back and lets others in, and restarts in between: what was taken lands, and lands
//! once.

mod l1;

use crate::{
    Action, Carrier, DuskRefusal, Envelope, Record, Refusal, Settings, Wait,
    testing::{GWEI, blob_bytes, calldata, settings, sidecars, sign, signer, with_blobs},
};
use alloy_primitives::{Address, B256};
use l1::{Dice, L1, Tx};
use std::collections::{BTreeMap, HashMap};

/// How the world behaves.
#[derive(Debug, Clone, Copy)]
struct Weather {
    loses: bool,
    fails: bool,
    reorgs: bool,
    restarts: bool,
    others: bool,
    replaces: bool,
    /// Nothing that was signed can be outbid.
    capped: bool,
    /// L1 knows a blob for a few blocks only.
    forgets: bool,
}

const FINE: Weather = Weather {
    loses: false,
    fails: false,
    reorgs: false,
    restarts: false,
    others: false,
    replaces: false,
    capped: false,
    forgets: false,
};
const FOUL: Weather = Weather {
    loses: true,
    fails: true,
    reorgs: true,
    restarts: true,
    others: true,
    replaces: true,
    capped: false,
    forgets: false,
};

struct World {
    carrier: Carrier,
    journal: Vec<Vec<u8>>,
    l1: L1,
    dice: Dice,
    settings: Settings,
    weather: Weather,
    signed: HashMap<B256, Tx>,
    /// What was taken, by sender and nonce.
    taken: BTreeMap<(Address, u64), Vec<B256>>,
    /// The fees of the newest one.
    fees: BTreeMap<(Address, u64), u128>,
    submitted: usize,
}

/// An envelope of a sender: the first one's are call data, those of the second have blobs.
fn envelope(by: u8, nonce: u64, fee: u128) -> Envelope {
    let rules = settings().rules;
    let raw = if by == 1 {
        let mut tx = calldata(nonce, &nonce.to_be_bytes());
        (tx.max_fee_per_gas, tx.max_priority_fee_per_gas) = (fee, fee);
        sign(tx, by)
    } else {
        // A replacement, which offers twice as much, has another blob.
        let which = nonce + u64::from((fee / GWEI).ilog2());
        let blobs = &sidecars()[(which % 3) as usize..][..1];
        let mut tx = with_blobs(nonce, blobs);
        (tx.max_fee_per_gas, tx.max_priority_fee_per_gas, tx.max_fee_per_blob_gas) = (fee, fee, fee);
        blob_bytes(tx, blobs, by)
    };
    Envelope::read(&raw, &rules).unwrap()
}

impl World {
    fn new(seed: u64, weather: Weather) -> Self {
        let mut settings = settings();
        if weather.capped {
            settings.max_gas_price = settings.gas_price;
        }
        let mut l1 = L1::new();
        if weather.forgets {
            (l1.window, settings.blob_life) = (12, 8);
        }
        Self {
            carrier: Carrier::new(settings.clone()),
            journal: Vec::new(),
            l1,
            dice: Dice::new(seed),
            settings,
            weather,
            signed: HashMap::new(),
            taken: BTreeMap::new(),
            fees: BTreeMap::new(),
            submitted: 0,
        }
    }

    fn write(&mut self, records: &[Record]) {
        self.journal.extend(records.iter().map(Record::encode));
        if self.journal.len() > 60 {
            self.journal = self.carrier.snapshot().iter().map(Record::encode).collect();
        }
    }

    fn send(&mut self, by: u8, nonce: u64, fee: u128) -> Result<(), Refusal> {
        let envelope = envelope(by, nonce, fee);
        let (sender, hash) = (envelope.sender(), envelope.hash());
        let next = self.l1.state().next.get(&sender).copied().unwrap_or(0);
        let records = self.carrier.take(envelope, next)?;
        self.write(&records);
        self.taken.entry((sender, nonce)).or_default().push(hash);
        self.fees.insert((sender, nonce), fee);
        Ok(())
    }

    /// A client sends the next one, or another one for a nonce that waits.
    fn client(&mut self) {
        let by = 1 + self.dice.below(2) as u8;
        let sender = signer(by).address();
        let on_l1 = self.l1.state().next.get(&sender).copied().unwrap_or(0);
        let next = self.carrier.next_nonce(&sender).unwrap_or(0).max(on_l1);
        if self.weather.replaces && self.dice.one_in(3) && next > on_l1 {
            let nonce = next - 1;
            let fee = self.fees.get(&(sender, nonce)).map_or(GWEI, |fee| fee * 2);
            let _ = self.send(by, nonce, fee);
        } else if self.weather.replaces && self.dice.one_in(8) {
            // Out of order: the one before comes later.
            let _ = self.send(by, next + 1, GWEI);
        } else {
            let _ = self.send(by, next, GWEI);
        }
    }

    fn restart(&mut self) {
        self.carrier = Carrier::new(self.settings.clone());
        for bytes in &self.journal {
            self.carrier.replay(Record::decode(bytes).unwrap()).unwrap();
        }
    }

    fn observe(&mut self) {
        let observation = self.l1.observe(&self.carrier.senders(), &self.carrier.watched());
        self.carrier.observe(&observation);
    }

    /// Does what the carrier says until it waits; or until the process dies.
    fn drive(&mut self) -> Option<Wait> {
        for _ in 0..500 {
            if self.weather.restarts && self.dice.one_in(40) {
                self.restart();
                return None;
            }
            if self.weather.reorgs && self.dice.one_in(30) {
                self.block();
            }
            match self.carrier.advance() {
                Action::Journal(records) => self.write(&records),
                Action::Sign(order) => {
                    let tx = Tx::sign(&order);
                    self.carrier.signed(&order, tx.id);
                    self.signed.insert(tx.id, tx);
                }
                Action::Submit(orders) => {
                    for order in orders {
                        let id = order.id.unwrap();
                        self.submitted += 1;
                        let is_written = self.journal.iter().any(|bytes| {
                            matches!(Record::decode(bytes), Ok(Record::Signed { attempt, .. }) if attempt.id == id)
                        });
                        assert!(is_written, "submitted before it was in the journal");
                        if self.weather.loses && self.dice.one_in(6) {
                            continue;
                        }
                        match self.l1.submit(Tx::sign(&order)) {
                            Ok(()) => {}
                            Err(Some(price)) => self.carrier.refused(id, DuskRefusal::Underpriced(price)),
                            Err(None) => self.carrier.refused(id, DuskRefusal::Other),
                        }
                    }
                }
                Action::Wait(wait) => return Some(wait),
            }
        }
        panic!("the carrier does not come to rest");
    }

    fn block(&mut self) {
        let Weather { fails, .. } = self.weather;
        let most = self.dice.below(4) as usize;
        let is_on_disk = !self.dice.one_in(3);
        let dice = &mut self.dice;
        self.l1.make(most, is_on_disk, || fails && dice.one_in(8));
        let depth = self.dice.below(6) as usize;
        self.l1.finalize(depth + 2);
    }

    fn world(&mut self) {
        let Weather { loses, reorgs, others, restarts, .. } = self.weather;
        if loses && self.dice.one_in(5) {
            let dice = &mut self.dice;
            self.l1.lose(|| dice.one_in(2));
        }
        if reorgs && self.dice.one_in(5) {
            let (count, dice) = (1 + self.dice.below(4) as usize, &mut self.dice);
            self.l1.take_back(count, || dice.one_in(3));
        }
        if others && self.dice.one_in(10) {
            self.l1.copy_envelope();
        }
        if others && self.dice.one_in(40) {
            self.l1.steal_nonce();
        }
        if restarts && self.dice.one_in(10) {
            self.restart();
        }
    }

    /// Runs until everything is on L1 for good.
    fn settle(&mut self) {
        self.weather = FINE;
        // What waits behind a nonce that nobody sent gets it.
        for by in [1, 2] {
            let sender = signer(by).address();
            let highest = self.taken.keys().filter(|(who, _)| *who == sender).map(|(_, nonce)| *nonce).max();
            for nonce in 0..highest.unwrap_or(0) {
                if !self.taken.contains_key(&(sender, nonce)) {
                    let _ = self.send(by, nonce, GWEI);
                }
            }
        }
        for _ in 0..600 {
            self.observe();
            if self.drive() == Some(Wait::Envelopes) {
                return;
            }
            self.block();
        }
        panic!("not everything comes to L1: {:?}", self.carrier);
    }

    /// What was taken has landed once, and nothing else has.
    fn check(&self) {
        let landed = self.l1.state().landed;
        let mut nonces = BTreeMap::new();
        for (sender, nonce, hash) in &landed {
            let before = nonces.insert((*sender, *nonce), *hash);
            assert!(before.is_none(), "nonce {nonce} of {sender} landed twice");
            let taken = self.taken.get(&(*sender, *nonce));
            assert!(taken.is_some_and(|taken| taken.contains(hash)), "nobody sent {hash}");
        }
        for key in self.taken.keys() {
            assert!(nonces.contains_key(key), "{key:?} is lost");
        }
    }
}

fn run(seed: u64, weather: Weather) -> World {
    let mut world = World::new(seed, weather);
    for _ in 0..60 {
        if world.dice.one_in(2) {
            world.client();
        }
        world.world();
        world.block();
        world.observe();
        world.drive();
    }
    world.settle();
    world.check();
    world
}

#[test]
fn without_faults_each_envelope_costs_what_it_must() {
    for seed in 1..40 {
        let world = run(seed, FINE);
        let blobs = world.taken.keys().filter(|(sender, _)| *sender == signer(2).address()).count();
        let calls = world.taken.len();
        assert!(calls > 5, "{calls}");
        assert_eq!(world.l1.failed, 0, "seed {seed}");
        // The blobs of some are those of others, which are there already while these are remembered.
        assert!(world.l1.included <= calls + blobs && world.l1.included >= calls, "seed {seed}");
    }
}

fn storm(weather: Weather, seeds: u64) {
    for seed in 1..seeds {
        let failed = std::panic::catch_unwind(|| drop(run(seed, weather))).is_err();
        assert!(!failed, "seed {seed} fails in {weather:?}");
    }
}

#[test]
fn what_l1_loses_is_submitted_again() {
    storm(Weather { loses: true, ..FINE }, 50);
}

#[test]
fn what_fails_is_tried_again() {
    storm(Weather { fails: true, ..FINE }, 50);
}

#[test]
fn what_l1_takes_back_is_brought_again() {
    storm(Weather { reorgs: true, ..FINE }, 50);
}

#[test]
fn a_restart_goes_on_where_it_was() {
    storm(Weather { restarts: true, ..FINE }, 50);
}

#[test]
fn others_that_bring_envelopes_or_use_the_account_do_no_harm() {
    storm(Weather { others: true, ..FINE }, 50);
}

#[test]
fn a_replacement_excludes_what_it_replaces() {
    storm(Weather { replaces: true, ..FINE }, 50);
}

#[test]
fn what_cannot_be_outbid_makes_way_for_what_comes_behind_it() {
    storm(Weather { loses: true, replaces: true, capped: true, ..FINE }, 50);
    storm(Weather { loses: true, restarts: true, replaces: true, capped: true, ..FINE }, 50);
}

#[test]
fn blobs_that_l1_has_forgotten_are_brought_again() {
    storm(Weather { forgets: true, ..FINE }, 50);
    storm(Weather { forgets: true, fails: true, restarts: true, ..FINE }, 50);
    storm(Weather { forgets: true, ..FOUL }, 150);
}

#[test]
fn all_of_it_together_loses_nothing_and_doubles_nothing_at_one_price_either() {
    storm(Weather { capped: true, ..FOUL }, 150);
}

#[test]
fn all_of_it_together_loses_nothing_and_doubles_nothing() {
    storm(FOUL, 150);
}
