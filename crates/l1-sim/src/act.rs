//! What nodes do for their machines: sign and journal, build and check, store, send, ask and answer.

use std::sync::Arc;

use dusk_node_data::message::payload::Vote;
use duskevm_dusk_l1::sa::ballots::{Ballot, BallotKey};
use duskevm_dusk_l1::sa::bls::Bls;
use duskevm_dusk_l1::sa::machine::{Action, Event, Note, PeerId, SyncBlock, Unsigned, Verdict, Want};
use duskevm_dusk_l1::sa::wire::{self, Frame};
use rand::Rng;

use crate::byzantine::{self, Strategy};
use crate::check::Violation;
use crate::node::Trap;
use crate::tally::Trouble;
use crate::world::{Way, What, World};

impl<B: Bls> World<B> {
    pub(crate) fn act(&mut self, node: usize, action: Action) {
        match action {
            Action::Publish(_, bytes) => self.publish(node, bytes),
            Action::Accept(token) => {
                if let Some(message) = self.current.take() {
                    if message.serial == token.0 && self.nodes[node].strategy != Some(Strategy::Silent) {
                        self.broadcast(node, &message);
                    }
                    self.current = Some(message);
                }
            }
            Action::Ignore(_) => {}
            Action::Again(frames) => {
                let life = self.nodes[node].life;
                for frame in frames {
                    self.push(self.now, What::Retry { node: node as u32, life, frame: Box::new(frame) });
                }
            }
            Action::SetTimer { id, at } => self.set_timer(node, id, at),
            Action::Build { round, iteration, cert, failed, .. } => {
                let unix = self.clocks().unix.as_secs();
                let own = &self.nodes[node];
                let block = own.disk.ledger.build(&*self.bls, &own.secret, iteration, cert, failed, unix);
                self.local(node, (1, 40), Event::Built { round, iteration, block: block.map(Arc::new) });
            }
            Action::Check { block } => {
                let unix = self.clocks().unix.as_secs();
                let header = block.header();
                let (round, iteration, hash) = (header.height, header.iteration, header.hash);
                let mut verdict = self.nodes[node].disk.ledger.check(&*self.bls, header, unix);
                if self.withheld.get(&hash).is_some_and(|holders| !holders.contains(&node)) {
                    verdict = Verdict::Abstain;
                    self.tally.note(Trouble::Abstained);
                }
                self.local(node, (1, 40), Event::Verdict { round, iteration, hash, verdict });
            }
            Action::Sign { key, what } => self.sign(node, key, &what),
            Action::Apply { bytes, attestation, .. } => {
                let own = &mut self.nodes[node];
                let applied = own.disk.ledger.apply(&*self.bls, &bytes, attestation);
                if applied == Ok(true) {
                    self.tally.note(Trouble::StakesChanged);
                }
                let applied = applied.map(|_| own.disk.ledger.tip_info());
                let stored = applied.is_ok();
                self.chain_changed(node);
                self.local(node, (1, 20), Event::Applied(applied));
                if stored {
                    self.pause(node, Trap::Stored);
                }
            }
            Action::RevertTo { hash } => {
                let own = &mut self.nodes[node];
                let reverted = own.disk.ledger.revert_to(&hash).map(|()| own.disk.ledger.tip_info());
                self.chain_changed(node);
                self.local(node, (1, 20), Event::Reverted(reverted));
            }
            Action::Request { peer, want } => self.request(node, peer, want),
            Action::Persist(what) => self.nodes[node].persist(what),
            Action::Note(note) => self.note(node, &note),
        }
    }

    /// What a node's own worker reports.
    pub(crate) fn happened(&mut self, node: usize, event: Event) {
        if let Some(running) = self.nodes[node].running.as_mut() {
            match event {
                Event::Signed { .. } => running.unsent = running.unsent.saturating_sub(1),
                Event::Applied(_) => running.storing = false,
                _ => {}
            }
        }
        self.feed(node, event);
        let own = &mut self.nodes[node];
        let last_final = own.disk.ledger.last_final();
        if let Some(running) = own.running.as_mut() {
            running.ballots.forget_below(last_final);
        }
    }

    /// Something is on disk of which the machine does not know. Scenarios can have the node stop here.
    fn pause(&mut self, node: usize, at: Trap) {
        let own = &mut self.nodes[node];
        if let Some(running) = own.running.as_mut() {
            match at {
                Trap::Journalled => running.unsent += 1,
                Trap::Stored => running.storing = true,
            }
        }
        if own.trap == Some(at) {
            self.crash(node);
        }
    }

    fn chain_changed(&mut self, node: usize) {
        self.moved = true;
        if self.nodes[node].strategy.is_none()
            && let Err(violation) = self.checks.chain(node, &self.nodes[node].disk.ledger)
        {
            self.violation.get_or_insert(violation);
        }
    }

    fn publish(&mut self, node: usize, bytes: Arc<[u8]>) {
        let message = self.message(bytes);
        message.arrives(node, self.nodes[node].life);
        match (self.nodes[node].strategy, &message.frame) {
            (None, Some(frame)) => {
                let signer = self.bls.id(&self.nodes[node].secret);
                match self.checks.published(node, signer.as_bytes(), frame, &message.bytes) {
                    Ok(again) => self.tally.sent_again += u64::from(again),
                    Err(violation) => {
                        self.violation.get_or_insert(violation);
                    }
                }
                self.broadcast(node, &message);
            }
            (Some(Strategy::Twin), Some(frame)) => {
                let signer = self.bls.id(&self.nodes[node].secret);
                if self.checks.twin(signer.as_bytes(), frame, &message.bytes) {
                    let candidate = matches!(frame, Frame::Candidate(_));
                    self.tally.note(if candidate { Trouble::TwoCandidates } else { Trouble::TwoVotes });
                }
                self.broadcast(node, &message);
            }
            (Some(Strategy::Silent), _) => {}
            (Some(Strategy::Withhold), Some(Frame::Candidate(_))) => {
                let friend = (node + 1) % self.nodes.len();
                self.whisper(node, &message, |to| to == friend);
            }
            // The other half got something else already.
            (Some(Strategy::SplitVotes), Some(Frame::Validation(_) | Frame::Ratification(_)))
            | (Some(Strategy::TwoCandidates), Some(Frame::Candidate(_))) => {
                self.whisper(node, &message, |to| to % 2 == 0);
            }
            _ => self.broadcast(node, &message),
        }
    }

    fn sign(&mut self, node: usize, key: BallotKey, what: &Unsigned) {
        if let Some(strategy) = self.nodes[node].strategy
            && strategy != Strategy::Twin
        {
            return self.sign_lies(node, strategy, key, what);
        }
        let unix = self.clocks().unix.as_secs();
        let own = &mut self.nodes[node];
        let Some(frame) = byzantine::sign(&*self.bls, &own.secret, what, unix) else { return };
        let Some(running) = own.running.as_mut() else { return };
        let event = match running.ballots.cast(key, what.digest(), frame.clone()) {
            (Ballot::New, record) => {
                own.disk.journal.extend(record);
                own.disk.signed |= key.round > 1;
                Event::Signed { key, frame }
            }
            (Ballot::Same(frame), _) => Event::Signed { key, frame },
            (Ballot::Refused, _) => {
                self.tally.refused += 1;
                return self.local(node, (1, 8), Event::Refused { key });
            }
        };
        self.local(node, (1, 8), event);
        self.pause(node, Trap::Journalled);
    }

    fn sign_lies(&mut self, node: usize, strategy: Strategy, key: BallotKey, what: &Unsigned) {
        let unix = self.clocks().unix.as_secs();
        let (first, trouble) = strategy.first(what);
        let second = strategy.second(what);
        for trouble in trouble.into_iter().chain(second.as_ref().map(|(_, trouble)| *trouble)) {
            self.tally.note(trouble);
        }
        if let (Strategy::WithholdBlobs, Some(Unsigned::Candidate(block))) = (strategy, &first) {
            let holders = (0..self.nodes.len()).filter(|_| self.dice.random_bool(0.5)).chain([node]).collect();
            self.withheld.insert(block.header().hash, holders);
        }
        let secret = &self.nodes[node].secret;
        let sign = |what: Unsigned| byzantine::sign(&*self.bls, secret, &what, unix);
        let (first, second) = (first.and_then(sign), second.map(|(what, _)| what).and_then(sign));
        if let Some(second) = second {
            let second = self.message(second);
            self.whisper(node, &second, |to| to % 2 == 1);
        }
        if let Some(frame) = first {
            self.local(node, (1, 8), Event::Signed { key, frame });
        }
    }

    fn request(&mut self, node: usize, peer: Option<PeerId>, want: Want) {
        self.tally.syncs += 1;
        let mut targets: Vec<_> = peer.map(|peer| peer.0 as usize).into_iter().collect();
        if targets.is_empty() {
            targets = (0..3).map(|_| self.dice.random_range(0..self.nodes.len())).collect();
        }
        for to in targets {
            self.send(node, to, || What::Ask { to: to as u32, from: node as u32, want: Box::new(want) });
        }
    }

    pub(crate) fn answer(&mut self, node: usize, asker: usize, want: Want) {
        let Some(running) = &self.nodes[node].running else { return };
        if self.nodes[node].strategy == Some(Strategy::Silent) {
            return;
        }
        let entries = self.nodes[node].disk.ledger.entries();
        let (to, from) = (asker as u32, node as u32);
        let blocks: Vec<_> = match want {
            Want::Range { from, to } => entries
                .iter()
                .skip(usize::try_from(from).unwrap_or(usize::MAX))
                .take_while(|entry| entry.header.height <= to)
                .take(100)
                .map(|entry| SyncBlock { header: entry.header.clone(), bytes: entry.bytes.clone() })
                .collect(),
            Want::Block(hash) => entries
                .iter()
                .rev()
                .take(20)
                .find(|entry| entry.header.hash == hash)
                .map(|entry| SyncBlock { header: entry.header.clone(), bytes: entry.bytes.clone() })
                .or_else(|| SyncBlock::new(running.machine.candidate_with(&hash)?.bytes().clone()).ok())
                .into_iter()
                .collect(),
            Want::CandidateOf(_) | Want::Validation(_) => {
                if let Some(frame) = running.machine.answer(&want) {
                    let message = self.message(wire::encode(&frame).into());
                    let deliver = || What::Deliver { to, from, message: message.clone(), way: Way::Answer };
                    self.send(node, asker, deliver);
                }
                return;
            }
        };
        if !blocks.is_empty() {
            self.send(node, asker, || What::Blocks { to, from, blocks: blocks.clone().into() });
        }
    }

    fn note(&mut self, node: usize, note: &Note) {
        match note {
            Note::Iteration { iteration, .. } => {
                self.tally.highest_iteration = self.tally.highest_iteration.max(*iteration);
            }
            Note::TimedOut { .. } => self.tally.timeouts += 1,
            Note::CaughtUp { .. } => self.tally.caught_up += 1,
            Note::Fork { .. } => self.tally.forks += 1,
            Note::TwoVotes { .. } => self.tally.double_votes += 1,
            // Of a liar two nodes may run, an honest one has its key for itself.
            Note::OtherSigner { round, step } if self.nodes[node].strategy.is_none() => {
                self.violation.get_or_insert(Violation::OtherSigner { node, round: *round, step: *step });
            }
            Note::Quorum { vote, built: true, .. } if !matches!(vote, Vote::Valid(_)) => {
                self.tally.failed_iterations += 1;
            }
            _ => {}
        }
    }
}
