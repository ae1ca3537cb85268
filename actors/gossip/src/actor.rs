//! The actor: between the host and the other actors of this node.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use duskevm_messages::gossip::{Ask, BadAnswer, GossipFrame, Judged, Publish, ServeBlobs, ServeFrames, Verdict};
use duskevm_p2p::request::MAX_PEERS;
use duskevm_p2p::{Answer, Book, Deed, PeerId, Refusal, Request};
use duskevm_supervision::{Actor, ChildSpec, Context, Handle, Ref, Reply, StartContext};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::book_file;
use crate::error::GossipError;
use crate::host::{Attached, Control, Host, HostEvent, Link, Serving};
use crate::ingress;
use crate::metrics;
use crate::neighbours::{Neighbours, SMALL_TALK};
use crate::settings::GossipSettings;

/// Events that are handled in one turn.
const BATCH: usize = 64;
/// How long the other actors may take to answer a peer.
const SERVE: Duration = Duration::from_secs(8);

/// What the host tells an instance.
type Ends = (mpsc::Receiver<HostEvent>, watch::Receiver<Arc<[Link]>>);

/// The gossip actor. Its instances share one [`Host`].
#[derive(Debug)]
pub struct Gossip {
    settings: Arc<GossipSettings>,
    control: Control,
    /// Taken when the actor starts to listen.
    ends: Option<Ends>,
    neighbours: Neighbours,
    saved: Instant,
}

fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How the actor is made and supervised. The host is the node's, and stays when instances go.
pub fn spec(actor: &Ref<Gossip>, settings: Arc<GossipSettings>, host: Host) -> ChildSpec<Gossip> {
    ChildSpec::new(actor, move |start| Ok(Gossip::open(settings.clone(), &host, &start)?)).mailbox(ingress::MAILBOX)
}

impl Gossip {
    /// An instance that takes the host over.
    fn open(settings: Arc<GossipSettings>, host: &Host, start: &StartContext) -> Result<Self, GossipError> {
        let Attached { control, events, links, id, .. } = host.attach(&start.fence)?;
        let book = settings.folder.as_deref().map_or_else(Book::new, book_file::load);
        let neighbours =
            Neighbours::new(id, settings.boot.clone(), settings.enough_peers, settings.allow_private, book);
        Ok(Self { settings, control, ends: Some((events, links)), neighbours, saved: Instant::now() })
    }

    /// Waits for what happens on the network.
    fn listen(&mut self, mut events: mpsc::Receiver<HostEvent>, ctx: &mut Context<Self>) {
        let next = async move {
            let mut batch = Vec::with_capacity(BATCH);
            events.recv_many(&mut batch, BATCH).await;
            (events, batch)
        };
        ctx.listen(next, |gossip, (events, batch), ctx| {
            if batch.is_empty() {
                return Err(GossipError::HostGone);
            }
            for event in batch {
                match event {
                    HostEvent::Message { token, peer, topic, bytes } => {
                        let frame = GossipFrame { token, peer, topic, bytes };
                        if gossip.settings.frames.tell(frame).is_err() {
                            metrics::dropped("judge_full");
                            gossip.control.judged(token, Verdict::Ignore);
                        }
                    }
                    HostEvent::Request { serving, peer, request } => gossip.serve(serving, peer, request, ctx),
                }
            }
            gossip.listen(events, ctx);
            Ok(())
        });
    }

    /// Waits for connections that come and go.
    fn watch(&mut self, mut links: watch::Receiver<Arc<[Link]>>, ctx: &mut Context<Self>) {
        let now: Arc<[Link]> = links.borrow_and_update().clone();
        self.neighbours.links(&now, Instant::now(), unix());
        let next = async move {
            let alive = links.changed().await.is_ok();
            (links, alive)
        };
        ctx.listen(next, |gossip, (links, alive), ctx| {
            if !alive {
                return Err(GossipError::HostGone);
            }
            gossip.watch(links, ctx);
            gossip.announce(ctx)?;
            gossip.talk(ctx);
            Ok(())
        });
    }

    fn announce(&mut self, ctx: &mut Context<Self>) -> Result<(), GossipError> {
        let infos: Arc<[_]> = self.neighbours.infos().into();
        metrics::book(self.neighbours.book.len());
        ctx.waiting(format!("messages of {} peers", infos.len()));
        ctx.fence().write(|| self.settings.peers.send_replace(infos))?;
        Ok(())
    }

    fn serve(&mut self, serving: Serving, peer: PeerId, request: Request, ctx: &mut Context<Self>) {
        let control = self.control.clone();
        let unavailable = Answer::Refused(Refusal::Unavailable);
        match request {
            Request::Status => {
                let status = *self.settings.status.borrow();
                control.answer(serving, status.map_or(unavailable, Answer::Status));
            }
            Request::Peers => control.answer(serving, Answer::Peers(self.neighbours.tell(&peer, MAX_PEERS))),
            Request::Frame(frame) => {
                let port = self.settings.serve_frames.clone();
                let answer = async move { port.ask_within(ServeFrames { peer, frame }, SERVE).await };
                ctx.listen(answer, move |_, frames, _| {
                    control.answer(serving, frames.map_or(unavailable, Answer::frames));
                    Ok(())
                });
            }
            Request::Blobs(hashes) => {
                let port = self.settings.serve_blobs.clone();
                let asked = hashes.len();
                let answer = async move { port.ask_within(ServeBlobs { hashes }, SERVE).await };
                ctx.listen(answer, move |_, blobs, _| {
                    let answer = match blobs {
                        Ok(blobs) if blobs.len() == asked => Answer::Blobs(blobs),
                        _ => unavailable,
                    };
                    control.answer(serving, answer);
                    Ok(())
                });
            }
        }
    }

    /// Asks those whose turn it is where they stand and whom they know.
    fn talk(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        for peer in self.neighbours.status_due(now, self.settings.pace.status) {
            self.small_talk(peer, Request::Status, ctx);
        }
        for peer in self.neighbours.exchange_due(now, self.settings.pace.exchange) {
            self.small_talk(peer, Request::Peers, ctx);
        }
    }

    fn small_talk(&mut self, peer: PeerId, request: Request, ctx: &mut Context<Self>) {
        let control = self.control.clone();
        let answer = async move { control.ask(peer, request, SMALL_TALK).await };
        ctx.listen(answer, move |gossip, answer, ctx| {
            gossip.neighbours.talked(&peer, &answer, Instant::now());
            match answer {
                Ok(Answer::Status(status)) => {
                    let ours = *gossip.settings.status.borrow();
                    if ours.is_some_and(|ours| ours.identity != status.identity) {
                        info!(%peer, "peer has another genesis");
                        gossip.neighbours.stranger(&peer);
                        gossip.control.disconnect(peer);
                    } else if gossip.neighbours.status(&peer, status) {
                        gossip.announce(ctx)?;
                    }
                }
                Ok(Answer::Peers(peers)) => {
                    gossip.neighbours.told(&peer, &peers);
                    gossip.dial(ctx);
                }
                // The host has noted what a peer did wrong; another try follows.
                Ok(_) | Err(_) => {}
            }
            Ok(())
        });
    }

    fn dial(&mut self, ctx: &mut Context<Self>) {
        for address in self.neighbours.whom_to_dial(Instant::now(), unix()) {
            let control = self.control.clone();
            ctx.listen(async move { control.dial(address).await }, move |gossip, connected, _| {
                gossip.neighbours.dialled(&address, connected, Instant::now(), unix());
                Ok(())
            });
        }
    }

    /// Keeps the address book, off this thread.
    fn save(&mut self, ctx: &mut Context<Self>) {
        self.saved = Instant::now();
        let Some(folder) = self.settings.folder.clone().filter(|_| self.neighbours.changed) else { return };
        self.neighbours.changed = false;
        let stored = self.neighbours.book.stored();
        let fence = ctx.fence().clone();
        let path = folder.join(book_file::FILE);
        let work = tokio::task::spawn_blocking(move || fence.write(|| book_file::save(&folder, &stored)));
        ctx.pipe(work, move |gossip, outcome, _| match outcome {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(source))) => {
                gossip.neighbours.changed = true;
                warn!(path = %path.display(), %source, "the known peers cannot be kept");
                Err(GossipError::Book { path, source })
            }
            Ok(Err(fenced)) => Err(fenced.into()),
            // It panicked, or the runtime is ending: the peers are kept with the next change.
            Err(died) => {
                gossip.neighbours.changed = true;
                warn!(%died, "the thread that keeps the known peers died");
                Ok(())
            }
        });
    }
}

impl Actor for Gossip {
    type Error = GossipError;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), GossipError> {
        if let Some((events, links)) = self.ends.take() {
            self.watch(links, ctx);
            self.listen(events, ctx);
        }
        self.announce(ctx)?;
        self.talk(ctx);
        self.dial(ctx);
        ctx.every(self.settings.pace.tick, |gossip, ctx| {
            gossip.dial(ctx);
            gossip.talk(ctx);
            if gossip.saved.elapsed() >= gossip.settings.pace.save {
                gossip.save(ctx);
            }
            Ok(())
        });
        Ok(())
    }

    fn stopping(&mut self, ctx: &mut Context<Self>) {
        self.save(ctx);
    }
}

impl Handle<Judged> for Gossip {
    fn handle(&mut self, msg: Judged, _: &mut Context<Self>) -> Result<Reply<Judged>, GossipError> {
        self.control.judged(msg.token, msg.verdict);
        Ok(Reply::Now(()))
    }
}

impl Handle<Publish> for Gossip {
    fn handle(&mut self, msg: Publish, _: &mut Context<Self>) -> Result<Reply<Publish>, GossipError> {
        let control = self.control.clone();
        Ok(Reply::later(async move { control.publish(msg.topic, msg.bytes).await }))
    }
}

impl Handle<Ask> for Gossip {
    fn handle(&mut self, msg: Ask, ctx: &mut Context<Self>) -> Result<Reply<Ask>, GossipError> {
        let peer = match self.neighbours.choose(&msg.peer, Instant::now(), rand::random::<u32>() as usize) {
            Ok(peer) => peer,
            Err(failure) => return Ok(Reply::Now(Err(failure))),
        };
        let control = self.control.clone();
        let (reply, responder) = Reply::deferred();
        // Listened to rather than piped: a slow peer is no reason to take this actor for hung.
        ctx.listen(async move { control.ask(peer, msg.request, msg.within).await }, move |gossip, answer, _| {
            gossip.neighbours.answered(&peer, &answer, Instant::now());
            responder.send(answer.map(|answer| (peer, answer)));
            Ok(())
        });
        Ok(reply)
    }
}

impl Handle<BadAnswer> for Gossip {
    fn handle(&mut self, msg: BadAnswer, _: &mut Context<Self>) -> Result<Reply<BadAnswer>, GossipError> {
        self.control.deed(msg.peer, Deed::BadAnswer);
        Ok(Reply::Now(()))
    }
}
