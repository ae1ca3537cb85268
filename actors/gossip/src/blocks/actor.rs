//! The actor: between the host and the chain of this node.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_eips::BlockNumHash;
use alloy_primitives::{Address, B256, Bytes};
use duskevm_evm::Block;
use duskevm_messages::executor::{ChainHeads, HeadsFeed};
use duskevm_messages::l1::L1HeadsFeed;
use duskevm_messages::sequencer::SequencingFeed;
use duskevm_p2p::Deed;
use duskevm_supervision::{Actor, ChildSpec, Context, Ref, StartContext};
use duskevm_unsafe_gossip::by_number::Answer;
use duskevm_unsafe_gossip::rules::judge;
use duskevm_unsafe_gossip::{Fault, Payload, PayloadError, Queue, Seen, UnsafeSigner, Window};
use libp2p::PeerId;
use libp2p::gossipsub::MessageAcceptance;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tracing::{debug, info, warn};

use super::host::{Attached, BlockHost, Control, Event, Incoming, Serving};
use super::metrics;
use super::settings::{BlockGossipSettings, Role};
use crate::error::GossipError;
use crate::ingress;

/// Messages that are judged and requests that are answered at the same time, and how many of them requests. Each keeps a thread busy.
const JOBS: usize = 4;
const SERVING: usize = 2;
/// Requests that wait besides. The host lets no more in.
const REQUESTS: usize = 32;
/// How long L1 may take to name the signer.
pub(super) const READING: Duration = Duration::from_secs(5);
/// Blocks below the head that are still announced when several were made at once.
const BACKLOG: u64 = 32;
/// Seconds after which the newest block of L1 is old: this node's L1 catches up, or has come to a halt.
const L1_OLD: u64 = 120;
/// What stands before the 20 bytes of an address in its RLP.
const RLP_ADDRESS: u8 = 0x80 + 20;

/// What the host tells an instance.
type Ends = (mpsc::Receiver<Event>, watch::Receiver<Arc<[PeerId]>>);

/// The actor that gossips unsafe blocks. Its instances share one [`BlockHost`].
#[derive(Debug)]
pub struct BlockGossip {
    pub(super) settings: Arc<BlockGossipSettings>,
    pub(super) control: Control,
    /// Taken when the actor starts to listen.
    ends: Option<Ends>,
    /// Kept here while too many jobs are under way.
    paused: Option<mpsc::Receiver<Event>>,
    jobs: usize,
    /// Requests of peers that wait for a thread, and how many have one.
    requests: VecDeque<(Serving, u64)>,
    serving: usize,
    start: Instant,
    peers: usize,
    /// As L1 named it last.
    signer: Option<Address>,
    reading: bool,
    seen: Seen,
    /// What a follower has received and not imported; `None` until the chain is open.
    pub(super) queue: Option<Queue<PeerId>>,
    linked: Arc<[PeerId]>,
    /// An L1 head with which the origin of an imported block was found to fit, and that origin.
    pub(super) fits: Option<(B256, B256)>,
    /// The newest block that this instance has announced or passed over.
    announced: Option<BlockNumHash>,
    announcing: bool,
}

/// What a thread found out about a message.
struct Judged {
    incoming: Incoming,
    payload: Result<Payload, Fault>,
    /// For followers; `None` if its transactions cannot be decoded.
    block: Option<Arc<Block>>,
}

/// How the actor is made and supervised. The host is the node's, and stays when instances go.
pub fn block_spec(
    actor: &Ref<BlockGossip>,
    settings: Arc<BlockGossipSettings>,
    host: BlockHost,
) -> ChildSpec<BlockGossip> {
    ChildSpec::new(actor, move |start| Ok(BlockGossip::open(settings.clone(), &host, &start)?))
        .mailbox(ingress::MAILBOX)
}

pub(super) fn id(block: &Block) -> BlockNumHash {
    BlockNumHash { number: block.number(), hash: block.hash() }
}

/// What a fault costs the peer that relays it.
const fn deed_of(fault: &Fault) -> Deed {
    match fault {
        Fault::TooLong(_) => Deed::Oversize,
        Fault::Compression | Fault::TooShort(_) | Fault::Payload(PayloadError::Ssz(_)) => Deed::Garbage,
        Fault::WrongSigner { .. } | Fault::TooOld { .. } | Fault::TooNew { .. } | Fault::TooManyBlocks(_) => {
            Deed::Stale
        }
        Fault::Signature | Fault::Payload(_) | Fault::BlobGas(_) | Fault::ExcessBlobGas(_) => Deed::Invalid,
    }
}

impl BlockGossip {
    /// An instance that takes the host over.
    fn open(settings: Arc<BlockGossipSettings>, host: &BlockHost, start: &StartContext) -> Result<Self, GossipError> {
        let Attached { control, events, links } = host.attach(&start.fence)?;
        Ok(Self {
            settings,
            control,
            ends: Some((events, links)),
            paused: None,
            jobs: 0,
            requests: VecDeque::new(),
            serving: 0,
            start: Instant::now(),
            peers: 0,
            signer: None,
            reading: false,
            seen: Seen::new(),
            queue: None,
            linked: Arc::from([]),
            fits: None,
            announced: None,
            announcing: false,
        })
    }

    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn wait(&self, ctx: &mut Context<Self>) {
        match (&self.signer, self.settings.role.announces()) {
            (None, _) => ctx.waiting_on("l1", "L1 to name the signer of unsafe blocks"),
            (Some(_), Some(_)) => ctx.waiting(format!("blocks to announce to {} peers", self.peers)),
            (Some(_), None) => ctx.waiting(format!("blocks of {} peers", self.peers)),
        }
    }

    /// Takes what happens on the network, one after the other.
    fn listen(&mut self, mut events: mpsc::Receiver<Event>, ctx: &mut Context<Self>) {
        if self.jobs >= JOBS {
            self.paused = Some(events);
            return;
        }
        let next = async move {
            let event = events.recv().await;
            (events, event)
        };
        ctx.listen(next, |gossip, (events, event), ctx| {
            match event {
                None => return Err(GossipError::HostGone),
                Some(Event::Message(incoming)) => gossip.message(incoming, ctx),
                Some(Event::Request { serving, number }) => gossip.requested(serving, number, ctx),
            }
            gossip.listen(events, ctx);
            Ok(())
        });
    }

    fn job_done(&mut self, ctx: &mut Context<Self>) {
        self.jobs = self.jobs.saturating_sub(1);
        if let Some(events) = self.paused.take() {
            self.listen(events, ctx);
        }
    }

    fn message(&mut self, incoming: Incoming, ctx: &mut Context<Self>) {
        let Some(signer) = self.signer else {
            metrics::received("ignored", "no_signer");
            return self.control.judged(incoming.id, incoming.from, MessageAcceptance::Ignore);
        };
        let settings = self.settings.clone();
        let work = spawn_blocking(move || {
            let (spec, chain) = (&settings.spec, settings.chain_id);
            let now = (settings.clock)();
            let payload = judge(&incoming.bytes, incoming.version, spec, chain, signer, now, Window::default());
            let follows = settings.role.follows();
            let block = payload.as_ref().ok().filter(|_| follows.is_some()).and_then(|payload| payload.to_block().ok());
            Judged { incoming, payload, block: block.map(Arc::new) }
        });
        self.jobs += 1;
        ctx.listen(work, |gossip, judged, ctx| {
            match judged {
                Ok(judged) => gossip.judged(judged, ctx),
                // It panicked, or the runtime is ending; without a verdict the message is not forwarded.
                Err(died) => warn!(%died, "the thread that judges a message died"),
            }
            gossip.job_done(ctx);
            Ok(())
        });
    }

    fn judged(&mut self, judged: Judged, ctx: &mut Context<Self>) {
        let Judged { incoming, payload, block } = judged;
        let Incoming { id, from, is_chosen, room, .. } = incoming;
        let noted = payload.and_then(|payload| {
            let news = self.seen.note(payload.number, payload.hash)?;
            Ok((payload, news))
        });
        // Whoever reads an old state of L1 may take the rightful signer for a wrong one.
        let is_unsure = matches!(noted, Err(Fault::WrongSigner { .. })) && self.l1_is_old();
        let (acceptance, deed) = match &noted {
            Ok((_, None)) => (MessageAcceptance::Accept, Deed::ValidFirst),
            Ok((_, Some(_))) => (MessageAcceptance::Ignore, Deed::Ignored),
            Err(_) if is_unsure => (MessageAcceptance::Ignore, Deed::Ignored),
            Err(fault) => (MessageAcceptance::Reject, deed_of(fault)),
        };
        if is_chosen
            && self.settings.role.follows().is_some()
            && let Err(fault) = &noted
        {
            self.tell_of(fault, ctx);
        }
        self.control.judged(id, from, acceptance);
        self.control.deed(from, deed);
        drop(room);
        match noted {
            Ok((payload, None)) => {
                metrics::received("accepted", "valid");
                let Some(block) = block else { return };
                ctx.healthy();
                if let Some(queue) = &mut self.queue {
                    queue.gossiped(block, payload.size());
                    self.pump(ctx);
                }
            }
            Ok((_, Some(_))) => metrics::received("ignored", "seen"),
            Err(fault) => {
                debug!(peer = %from, %fault, "an unsafe block was rejected");
                metrics::received(if is_unsure { "ignored" } else { "rejected" }, fault.label());
            }
        }
    }

    /// Whether what L1 said last may be out of date.
    fn l1_is_old(&self) -> bool {
        let now = (self.settings.clock)();
        let heads = self.settings.signer.l1_heads.borrow();
        heads.as_ref().is_none_or(|heads| heads.latest.timestamp.saturating_add(L1_OLD) < now)
    }

    /// A peer that the operator chose brings blocks that are not valid here: something is set wrongly, on one of both sides.
    fn tell_of(&self, fault: &Fault, ctx: &mut Context<Self>) {
        let hint = match fault {
            Fault::WrongSigner { .. } if self.l1_is_old() => "this node's L1 catches up, or stands still",
            Fault::WrongSigner { .. } => "is gossip.l2_peers of this network?",
            Fault::TooOld { .. } | Fault::TooNew { .. } => "does the clock of this machine go right?",
            _ => return,
        };
        ctx.degraded(format!("a block of a peer in gossip.l2_peers was not taken: {fault}; {hint}"));
    }

    /// A peer asks for a block. Messages do not wait for the answer.
    fn requested(&mut self, serving: Serving, number: u64, ctx: &mut Context<Self>) {
        if self.requests.len() < REQUESTS {
            self.requests.push_back((serving, number));
            self.serve(ctx);
        } else {
            metrics::served("busy");
            self.control.answer(serving, Answer::Failed(3).encode());
        }
    }

    /// Answers peers from the chain.
    fn serve(&mut self, ctx: &mut Context<Self>) {
        while self.serving < SERVING
            && let Some((serving, number)) = self.requests.pop_front()
        {
            let settings = self.settings.clone();
            let work = spawn_blocking(move || {
                let block = settings.chain.block(number)?;
                Some(Answer::Payload(Box::new(Payload::from_block(&block))).encode())
            });
            self.jobs += 1;
            self.serving += 1;
            ctx.listen(work, move |gossip, answer, ctx| {
                let (answer, label) = match answer {
                    Ok(Some(answer)) => (answer, "payload"),
                    Ok(None) => (Answer::Unavailable.encode(), "unavailable"),
                    Err(_) => (Answer::Failed(3).encode(), "failed"),
                };
                metrics::served(label);
                gossip.control.answer(serving, answer);
                gossip.serving = gossip.serving.saturating_sub(1);
                gossip.serve(ctx);
                gossip.job_done(ctx);
                Ok(())
            });
        }
    }

    /// Waits for connections that come and go.
    fn watch_links(&mut self, mut links: watch::Receiver<Arc<[PeerId]>>, ctx: &mut Context<Self>) {
        self.linked = links.borrow_and_update().clone();
        self.peers = self.linked.len();
        if let Some(queue) = &mut self.queue {
            queue.peers(self.linked.iter().copied());
        }
        self.wait(ctx);
        self.pump(ctx);
        let next = async move {
            let alive = links.changed().await.is_ok();
            (links, alive)
        };
        ctx.listen(next, |gossip, (links, alive), ctx| {
            if !alive {
                return Err(GossipError::HostGone);
            }
            gossip.watch_links(links, ctx);
            Ok(())
        });
    }

    /// Waits for blocks of this node. A feed that ended says that the node ends.
    fn watch_heads(&mut self, mut heads: HeadsFeed, ctx: &mut Context<Self>) {
        let now = heads.borrow_and_update().clone();
        if let Some(now) = now {
            self.heads(&now, ctx);
        }
        let next = async move {
            let alive = heads.changed().await.is_ok();
            (heads, alive)
        };
        ctx.listen(next, |gossip, (heads, alive), ctx| {
            if alive {
                gossip.watch_heads(heads, ctx);
            }
            Ok(())
        });
    }

    fn heads(&mut self, heads: &ChainHeads, ctx: &mut Context<Self>) {
        if let Some(signer) = self.settings.role.announces() {
            self.announce(&signer, ctx);
            return;
        }
        let head = id(&heads.latest);
        match &mut self.queue {
            Some(queue) => queue.head(head, heads.safe.number),
            None => {
                let mut queue = Queue::new(head, heads.safe.number);
                queue.peers(self.linked.iter().copied());
                self.queue = Some(queue);
            }
        }
        self.pump(ctx);
    }

    /// Waits for the sequencer to be stopped or started.
    fn watch_sequencing(&mut self, mut sequencing: SequencingFeed, ctx: &mut Context<Self>) {
        let next = async move {
            let alive = sequencing.changed().await.is_ok();
            (sequencing, alive)
        };
        ctx.listen(next, |gossip, (sequencing, alive), ctx| {
            if alive {
                // What waits is of the other duty: none of it is imported over blocks made here, and blocks that others have made are
                // not announced as those of this node.
                (gossip.queue, gossip.announced) = (None, None);
                gossip.duty(ctx);
                gossip.watch_sequencing(sequencing, ctx);
            }
            Ok(())
        });
    }

    /// Begins with what is to be done now.
    fn duty(&mut self, ctx: &mut Context<Self>) {
        self.wait(ctx);
        self.tell_of_the_key(ctx);
        let heads = self.settings.heads.borrow().clone();
        if let Some(heads) = heads {
            self.heads(&heads, ctx);
        }
    }

    /// Waits for L1 blocks: after each the signer may be another.
    fn watch_l1(&mut self, mut l1: L1HeadsFeed, ctx: &mut Context<Self>) {
        let is_open = l1.borrow_and_update().is_some();
        if is_open {
            self.read_signer(ctx);
        }
        let next = async move {
            let alive = l1.changed().await.is_ok();
            (l1, alive)
        };
        ctx.listen(next, |gossip, (l1, alive), ctx| {
            if alive {
                gossip.watch_l1(l1, ctx);
            }
            Ok(())
        });
    }

    fn read_signer(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.reading, true) {
            return;
        }
        let source = &self.settings.signer;
        let (port, question) = (source.read.clone(), source.question.clone());
        let answer = async move { port.ask_within(question, READING).await };
        ctx.listen(answer, |gossip, answer, ctx| {
            gossip.reading = false;
            match answer {
                Ok(Ok(bytes)) => match rlp_address(&bytes) {
                    Some(signer) => gossip.signed_by(signer, ctx),
                    None => warn!(%bytes, "L1 names no address as the signer of unsafe blocks"),
                },
                Ok(Err(refusal)) => warn!(%refusal, "L1 does not name the signer of unsafe blocks"),
                // The next L1 block or tick tries again; what was known holds until then.
                Err(error) => debug!(%error, "L1 did not name the signer of unsafe blocks in time"),
            }
            Ok(())
        });
    }

    fn signed_by(&mut self, signer: Address, ctx: &mut Context<Self>) {
        if self.signer.replace(signer) == Some(signer) {
            return;
        }
        info!(%signer, "the signer of unsafe blocks");
        self.wait(ctx);
        self.tell_of_the_key(ctx);
        if let Some(own) = self.settings.role.announces() {
            self.announce(&own, ctx);
        }
    }

    /// Whoever announces needs the key that L1 names.
    fn tell_of_the_key(&self, ctx: &mut Context<Self>) {
        let Some(signer) = self.signer else { return };
        match self.settings.role.announces() {
            Some(own) if own.address() != signer => {
                let why = format!("keys.unsafe_signer is the key of {}, but L1 names {signer}", own.address());
                warn!("{why}: blocks are not announced");
                ctx.degraded(why);
            }
            Some(_) => ctx.healthy(),
            None => {}
        }
    }

    /// Announces the lowest block that was not announced yet, and then the next one. Blocks reach the feed of heads after the
    /// sequencer's journal.
    fn announce(&mut self, signer: &UnsafeSigner, ctx: &mut Context<Self>) {
        if self.announcing || self.signer != Some(signer.address()) {
            return;
        }
        let Some(block) = self.to_announce() else { return };
        let (settings, control, signer) = (self.settings.clone(), self.control.clone(), signer.clone());
        let (now, announced) = ((settings.clock)(), id(&block));
        // A peer would hold a block against this node that is too old; who needs it asks for it.
        let fresh = Window::default().check(now, block.header.timestamp).is_ok();
        if !fresh {
            self.announced = Some(announced);
            return self.announce(&signer, ctx);
        }
        // Its own block is no news when a peer sends it back.
        let _ = self.seen.note(announced.number, announced.hash);
        self.announcing = true;
        let work = async move {
            let again = signer.clone();
            let message = spawn_blocking(move || {
                let payload = Payload::from_block(&block);
                signer.message(settings.chain_id, &payload).map(|message| (payload.version, message))
            });
            let done = match message.await {
                Ok(Ok((version, message))) => control.publish(version, message).await,
                Ok(Err(fault)) => {
                    warn!(%fault, block = announced.number, "a block cannot be announced");
                    true
                }
                Err(_) => false,
            };
            (again, done)
        };
        ctx.listen(work, move |gossip, (signer, done), ctx| {
            gossip.announcing = false;
            // Otherwise the tick tries again.
            if done {
                debug!(block = announced.number, "announced");
                gossip.announced = Some(announced);
                gossip.announce(&signer, ctx);
            }
            Ok(())
        });
    }

    /// The lowest block above what is safe and above what was announced.
    fn to_announce(&self) -> Option<Arc<Block>> {
        let heads = self.settings.heads.borrow().clone()?;
        let latest = heads.latest.number();
        let next = match self.announced {
            Some(announced) if announced == id(&heads.latest) => return None,
            // The chain goes on from what was announced.
            Some(announced)
                if announced.number < latest && self.settings.chain.hash(announced.number) == Some(announced.hash) =>
            {
                announced.number + 1
            }
            // Of another fork, or of an instance before this one, only the newest.
            _ => latest,
        };
        let next = next.max(latest.saturating_sub(BACKLOG)).max(heads.safe.number.saturating_add(1));
        match next.cmp(&latest) {
            std::cmp::Ordering::Greater => None,
            std::cmp::Ordering::Equal => Some(heads.latest.clone()),
            std::cmp::Ordering::Less => self.settings.chain.block(next),
        }
    }
}

/// An address in its RLP.
fn rlp_address(bytes: &Bytes) -> Option<Address> {
    let (head, address) = bytes.split_first()?;
    (*head == RLP_ADDRESS).then(|| Address::try_from(address).ok()).flatten()
}

impl Actor for BlockGossip {
    type Error = GossipError;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), GossipError> {
        self.read_signer(ctx);
        self.wait(ctx);
        if let Some((events, links)) = self.ends.take() {
            self.watch_links(links, ctx);
            self.listen(events, ctx);
        }
        self.watch_heads(self.settings.heads.clone(), ctx);
        self.watch_l1(self.settings.signer.l1_heads.clone(), ctx);
        if let Role::Sequence { sequencing, .. } = &self.settings.role {
            self.watch_sequencing(sequencing.clone(), ctx);
        }
        ctx.every(self.settings.tick, |gossip, ctx| {
            if gossip.signer.is_none() {
                gossip.read_signer(ctx);
            }
            if let Some(signer) = gossip.settings.role.announces() {
                gossip.announce(&signer, ctx);
            }
            gossip.pump(ctx);
            Ok(())
        });
        Ok(())
    }
}
