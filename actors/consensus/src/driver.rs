//! The consensus and the world: carries out what [`Machine`](duskevm_dusk_l1::sa::machine::Machine) asks for, and tells it
//! what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use duskevm_dusk_l1::Block;
use duskevm_dusk_l1::block::ExecutedBlock;
use duskevm_dusk_l1::sa::ballots::BallotKey;
use duskevm_dusk_l1::sa::bls::Bls;
use duskevm_dusk_l1::sa::machine::{Action, Channel, Event, Note, Now, Persist, TimerId, Unsigned, Verdict as Vote};
use duskevm_dusk_l1::sa::wire::{self, CandidateFrame};
use duskevm_dusk_l1::tx::{TxId, VerifiedTx};
use duskevm_messages::gossip::{PeerInfo, Publish, PublishFailure, Verdict};
use duskevm_p2p::Topic;
use duskevm_supervision::{Context, Fence};

use crate::actor::{Consensus, LOCAL};
use crate::error::ConsensusError;
use crate::health::Trouble;
use crate::metrics;
use crate::work::{Order, Prepared};

/// How often the clock is looked at, which may be set back or forward.
const CLOCK_CHECK: Duration = Duration::from_millis(200);

/// A clock that is this far behind the newest block is worth a warning: blocks stand still until it has caught up.
const CLOCK_BEHIND: u64 = 30;

/// How long before its time a block is built where others have to hear of it, so that it holds what came until then and nobody
/// waits for it.
const LEAD: Duration = Duration::from_millis(500);

/// How long a node that starts waits for peers before it takes part: what it sends before it knows anybody reaches nobody, and its
/// first iterations would run for nothing.
const CONNECT: Duration = Duration::from_secs(3);
/// Peers that are enough to begin.
const ENOUGH_PEERS: usize = 6;
/// From the connection of a peer until it has told what it takes part in.
const SETTLE: Duration = Duration::from_millis(300);

/// Candidates and executed blocks that are kept above the tip.
const KEPT: usize = 8;

/// Blocks after which the step times are stored.
const KEEP_TIMES: u64 = 32;

/// Pause before a message that could not be spread is tried again, and tries.
pub(crate) const PUBLISH_PAUSE: Duration = Duration::from_millis(200);
const PUBLISH_TRIES: usize = 5;

/// A block to be built.
#[derive(Debug)]
pub(crate) struct Pending {
    round: u64,
    parent: [u8; 32],
    order: Order,
}

impl Consensus {
    pub(crate) fn clocks(&self) -> Now {
        Now { mono: self.began.elapsed(), unix: self.chain.now() }
    }

    /// Tells the consensus what happened and does what it asks for, until nothing is left.
    pub(crate) fn feed(&mut self, event: Event, ctx: &mut Context<Self>) -> Result<(), ConsensusError> {
        self.events.push_back(event);
        if self.feeding {
            return Ok(());
        }
        self.feeding = true;
        let done = self.drain(ctx);
        self.feeding = false;
        // While a worker builds, judges or executes, its end is owed: one that never ends is a hang.
        if self.working == 0 {
            let view = self.machine.view();
            ctx.waiting(format!("L1 round {}, iteration {}, {:?}", view.round, view.iteration, view.kind));
        }
        done
    }

    /// Begins when there is somebody to talk to, or after a while without.
    pub(crate) fn begin_when_connected(&mut self, ctx: &mut Context<Self>) -> Result<(), ConsensusError> {
        let others = {
            let tip = self.machine.tip();
            tip.provisioners.eligible(tip.header.height + 1).count().saturating_sub(1).min(ENOUGH_PEERS)
        };
        let connected =
            move |peers: &Arc<[PeerInfo]>| peers.iter().filter(|peer| peer.status.is_some()).count() >= others;
        let feed = self.wiring.network.as_ref().map(|network| network.peers.clone());
        // Connections outlive this actor: after a restart it goes on at once.
        let Some(mut feed) = feed.filter(|feed| !connected(&feed.borrow())) else { return self.begin(ctx) };
        ctx.waiting("peers");
        let wait = async move {
            if tokio::time::timeout(CONNECT, feed.wait_for(connected)).await.is_ok() {
                tokio::time::sleep(SETTLE).await;
            }
        };
        ctx.listen(wait, |me, (), ctx| me.begin(ctx));
        Ok(())
    }

    fn begin(&mut self, ctx: &mut Context<Self>) -> Result<(), ConsensusError> {
        self.begun = true;
        self.feed(Event::Begin, ctx)
    }

    fn drain(&mut self, ctx: &mut Context<Self>) -> Result<(), ConsensusError> {
        let mut actions = Vec::new();
        while let Some(event) = self.events.pop_front() {
            self.machine.handle(self.clocks(), event, &mut actions);
            for action in actions.drain(..) {
                self.act(action, ctx)?;
            }
        }
        Ok(())
    }

    fn act(&mut self, action: Action, ctx: &mut Context<Self>) -> Result<(), ConsensusError> {
        match action {
            Action::Publish(channel, bytes) => {
                let topic = match channel {
                    Channel::Votes => Topic::Votes,
                    Channel::Candidates => Topic::Candidates,
                };
                self.publish(topic, bytes, ctx);
            }
            Action::Accept(token) => self.judged(duskevm_messages::gossip::Token(token.0), Verdict::Accept),
            Action::Ignore(token) => self.judged(duskevm_messages::gossip::Token(token.0), Verdict::Ignore),
            Action::Again(frames) => {
                for (from, frame) in frames {
                    self.judge(from, frame, ctx)?;
                }
            }
            Action::SetTimer { id, at } => self.set_timer(id, at, ctx),
            Action::Build { round, iteration, parent, cert, failed, faults } => {
                self.order = Some(Pending { round, parent, order: Order { iteration, cert, failed, faults } });
                self.build_when_due(ctx);
            }
            Action::Check { block } => self.check_candidate(block, ctx),
            Action::Sign { key, what } => self.sign(key, &what, ctx)?,
            Action::Apply { bytes, hash, attestation } => self.apply(bytes, hash, attestation, ctx),
            Action::RevertTo { hash } => self.revert_to(hash, Vec::new(), ctx)?,
            Action::Request { peer, want } => self.request(peer, want, ctx),
            Action::Persist(Persist::Resume { prev, iteration }) => self.votes.note_iteration(prev, iteration),
            Action::Persist(Persist::Timeouts(times)) => {
                if self.chain.tip().height.is_multiple_of(KEEP_TIMES) {
                    self.keep_times(&times, ctx.fence())?;
                }
            }
            Action::Persist(Persist::Awaited { quorum, at_hand }) => {
                self.votes.note_awaited(quorum);
                // What is here is on its way to the disk as a block.
                if !at_hand {
                    self.votes.write_noted(ctx.fence())?;
                }
            }
            Action::Note(Note::OtherSigner { round, step }) => self.other_signer(round, step, ctx)?,
            Action::Note(note) => note_down(&note),
        }
        Ok(())
    }

    /// Stores how long the steps last. On a full disk they are measured anew one day.
    pub(crate) fn keep_times(&self, times: &[u8], fence: &Fence) -> Result<(), ConsensusError> {
        match self.wiring.store.set_timeouts(fence, times).map_err(ConsensusError::from) {
            Err(error) if error.is_full() => Ok(()),
            done => done,
        }
    }

    fn set_timer(&mut self, id: TimerId, at: Duration, ctx: &mut Context<Self>) {
        let wait = at.saturating_sub(self.began.elapsed());
        let timer = ctx.after(wait, move |me: &mut Self, ctx| {
            me.timers.remove(&id);
            me.feed(Event::Timer(id), ctx)
        });
        if let Some(old) = self.timers.insert(id, timer) {
            old.cancel();
        }
    }

    /// Looks at the clock and at who is ahead.
    pub(crate) fn tick(&mut self, ctx: &mut Context<Self>) -> Result<(), ConsensusError> {
        let now = self.chain.now();
        let tip = self.chain.tip();
        let clock = if let Some(ahead) = self.watch.jumped(now, self.chain.uptime()) {
            let ahead = ahead.as_secs();
            ctx.waiting("the machine's clock to be set right");
            Some(format!(
                "the machine's clock was set forward by {ahead} s, and blocks with its time can never be taken back: no blocks until it is set right; if it is right now, restart the node"
            ))
        } else if tip.timestamp > now.as_secs() + CLOCK_BEHIND {
            let behind = tip.timestamp - now.as_secs();
            Some(format!("the clock is {behind} s behind the newest L1 block: set the machine's clock"))
        } else {
            self.build_when_due(ctx);
            None
        };
        self.trouble(Trouble::Clock, clock, ctx);
        self.listen_for_twin(ctx)?;
        self.compare_finals(ctx)?;
        if let Some(network) = &self.wiring.network {
            let ahead = network.peers.borrow().iter().filter_map(|peer| Some((peer.status?.tip.0, peer.id))).max();
            if let Some((height, peer)) = ahead.filter(|(height, _)| *height > tip.height + 1) {
                let number = self.numbers.of(peer);
                self.machine.heard_of(self.clocks(), number, height);
            }
        }
        metrics::round(&self.machine.view(), self.machine.is_syncing());
        ctx.after(CLOCK_CHECK, Self::tick);
        Ok(())
    }

    /// Whether nobody else has a stake that counts: then nobody waits for this node's blocks.
    fn is_alone(&self) -> bool {
        let tip = self.machine.tip();
        tip.provisioners.eligible(tip.header.height + 1).count() < 2
    }

    /// Builds the block that is asked for, unless it is too early. The first iteration's block is made as late as possible, so
    /// that transactions wait as short as possible; a clock that cannot be right stamps no block.
    fn build_when_due(&mut self, ctx: &mut Context<Self>) {
        let Some(pending) = &self.order else { return };
        let now = self.chain.now();
        if self.watch.jumped(now, self.chain.uptime()).is_some() {
            return;
        }
        let due = Duration::from_secs(self.chain.due());
        let block_time = Duration::from_secs(self.chain.rules().block_time);
        let lead = if self.is_alone() { Duration::ZERO } else { LEAD.min(block_time / 4) };
        let wait = due.saturating_sub(now + lead);
        if pending.order.iteration == 0 && !wait.is_zero() {
            // Later than that, the next look at the clock will do.
            if wait < CLOCK_CHECK {
                ctx.after(wait, |me, ctx| {
                    me.build_when_due(ctx);
                    Ok(())
                });
            }
            return;
        }
        if let (Some(Pending { round, parent, order }), Some(signer)) =
            (self.order.take(), self.chain.settings().signer.clone())
            && parent == self.chain.header().hash
        {
            let (bls, above, txs) = (self.bls.clone(), self.chain.above(), self.chain.ready());
            let iteration = order.iteration;
            self.working += 1;
            let build = tokio::task::spawn_blocking(move || above.build(&bls, &signer, order, now.as_secs(), &txs));
            ctx.pipe(build, move |me, built, ctx| {
                me.working -= 1;
                let built = built.map_err(|died| ConsensusError::Worker(died.to_string()));
                let block = match built.and_then(|built| Ok(built?)) {
                    Ok(built) => {
                        me.chain.drop_rejected(&built.rejected);
                        Some(me.keep_executed(built.block))
                    }
                    Err(error) => {
                        tracing::error!(%error, round, iteration, "no L1 block can be made");
                        metrics::unbuilt();
                        None
                    }
                };
                me.feed(Event::Built { round, iteration, block }, ctx)
            });
        }
    }

    /// Keeps a block that was made here, and gives it.
    fn keep_executed(&mut self, built: ExecutedBlock) -> Arc<Block> {
        let block = Arc::new(built.block.clone());
        self.keep_candidate(Arc::new(Prepared::own(built.block.clone())));
        self.executed.insert(block.header().hash, Arc::new(built));
        block
    }

    pub(crate) fn keep_candidate(&mut self, prepared: Arc<Prepared>) {
        if self.candidates.len() >= KEPT {
            self.candidates.clear();
        }
        self.candidates.insert(prepared.block.header().hash, prepared);
    }

    /// What the pool has of a block's transactions: their signatures need no second check.
    pub(crate) fn known(&self, prepared: Option<&Arc<Prepared>>) -> BTreeMap<TxId, VerifiedTx> {
        let ids = prepared.map(|prepared| prepared.ids.as_slice()).unwrap_or_default();
        ids.iter().filter_map(|id| Some((*id, self.chain.mempool().get(id)?.clone()))).collect()
    }

    fn check_candidate(&mut self, candidate: Arc<CandidateFrame>, ctx: &mut Context<Self>) {
        let header = candidate.header();
        let (round, iteration, hash) = (header.height, header.iteration, header.hash);
        if self.executed.contains_key(&hash) {
            self.events.push_back(Event::Verdict { round, iteration, hash, verdict: Vote::Valid });
            return;
        }
        let prepared = self.candidates.get(&hash).cloned();
        let known = self.known(prepared.as_ref());
        let (bls, above, now) = (self.bls.clone(), self.chain.above(), self.chain.now().as_secs());
        self.working += 1;
        let check = tokio::task::spawn_blocking(move || {
            // It is not kept any more, or comes from the journal.
            let prepared = match prepared {
                Some(prepared) => prepared,
                None => Arc::new(Prepared::new(&candidate, &*above.contracts).map_err(|error| {
                    tracing::warn!(%error, round, iteration, "a candidate cannot be judged");
                    Vote::Abstain
                })?),
            };
            above.check(&bls, &prepared, known, now).map_err(|refused| {
                tracing::warn!(%refused, round, iteration, "a candidate is not valid");
                refused.verdict()
            })
        });
        ctx.pipe(check, move |me, judged, ctx| {
            me.working -= 1;
            let verdict = match judged {
                Ok(Ok(executed)) => {
                    if me.executed.len() >= KEPT {
                        me.executed.clear();
                    }
                    me.executed.insert(hash, Arc::new(executed));
                    Vote::Valid
                }
                Ok(Err(verdict)) => verdict,
                Err(died) => {
                    tracing::error!(%died, round, iteration, "the check of a candidate died");
                    Vote::Abstain
                }
            };
            metrics::judged(verdict);
            me.feed(Event::Verdict { round, iteration, hash, verdict }, ctx)
        });
    }

    fn sign(&mut self, key: BallotKey, what: &Unsigned, ctx: &mut Context<Self>) -> Result<(), ConsensusError> {
        let signer = self.chain.settings().signer.as_ref().filter(|_| self.twin.why().is_none());
        let Some(signer) = signer else {
            self.events.push_back(Event::Refused { key });
            return Ok(());
        };
        let signature = self.bls.sign(signer, &what.signable());
        let frame = what
            .frame(&signer.id(), signature, self.chain.now().as_secs())
            .map_err(|error| ConsensusError::Encode(std::io::Error::other(error.to_string())))?;
        let bytes: Arc<[u8]> = wire::encode(&frame).into();
        let event = match self.votes.cast(ctx.fence(), key, what.digest(), bytes)? {
            Some(frame) => Event::Signed { key, frame },
            None => {
                metrics::refused_to_sign();
                tracing::warn!(round = key.round, step = ?key.step, "something else was signed for this step before");
                Event::Refused { key }
            }
        };
        self.events.push_back(event);
        Ok(())
    }

    /// Spreads a message. A network that is down for a moment gets it when it is up again.
    pub(crate) fn publish(&self, topic: Topic, bytes: Arc<[u8]>, ctx: &mut Context<Self>) {
        let Some(network) = &self.wiring.network else { return };
        let port = network.publish.clone();
        let spread = async move {
            for _ in 0..PUBLISH_TRIES {
                match port.ask_retry(Publish { topic, bytes: bytes.clone() }, LOCAL).await {
                    Ok(Err(PublishFailure::Down | PublishFailure::Full)) => tokio::time::sleep(PUBLISH_PAUSE).await,
                    Ok(Err(failure)) => return Err(failure.to_string()),
                    Ok(Ok(_)) => return Ok(()),
                    Err(error) => return Err(error.to_string()),
                }
            }
            Err("the network is busy".to_owned())
        };
        ctx.listen(spread, move |_, outcome, _| {
            if let Err(why) = outcome {
                metrics::unspread();
                tracing::warn!(?topic, why, "a message of the consensus was not spread");
            }
            Ok(())
        });
    }
}

fn note_down(note: &Note) {
    metrics::note(note);
    match note {
        Note::TwoVotes { step, first, .. } => {
            let signer = duskevm_dusk_l1::keys::AccountId::from_bytes(first.signer);
            let signer = signer.map_or_else(|_| "?".to_owned(), |id| id.to_string());
            tracing::warn!(?step, signer, "a provisioner voted twice: evidence for the next own block");
        }
        Note::TwoCandidates { round, iteration } => {
            tracing::warn!(round, iteration, "a provisioner proposed two blocks");
        }
        Note::Stalled { round } => tracing::warn!(round, "no L1 block for long: asking all peers"),
        Note::Fork { height } => tracing::warn!(height, "another branch of the L1 is taken"),
        Note::Syncing { from } => tracing::info!(from, "L1 blocks are fetched from peers"),
        Note::CaughtUp { round, iteration } => tracing::info!(round, iteration, "followed the others' iteration"),
        other => tracing::debug!(?other, "consensus"),
    }
}
