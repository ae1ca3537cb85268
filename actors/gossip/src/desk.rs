//! Requests on their way: those that this node asked, and those that it has to answer.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use duskevm_messages::gossip::AskFailure;
use duskevm_p2p::{Answer, Deed, Kind, PeerId, Refusal, Request};
use libp2p::request_response::{InboundRequestId, OutboundFailure, OutboundRequestId, ResponseChannel};
use tokio::sync::oneshot;

use crate::host::Serving;
use crate::net::LONGEST_ASK;

/// Large questions to peers at the same time. Each may hold an answer of 8 MiB.
const ASKING: usize = 16;
/// Of those to one peer: one that says nothing holds up few.
pub(crate) const ASKING_ONE: usize = 2;
/// Small questions of one kind to one peer: the one that is asked now and then, and one of somebody else.
const SMALL_TALK: usize = 2;
/// Requests of peers that wait for an answer, of all peers together.
const SERVING: usize = 64;
/// How long the node may take to answer.
const SERVING_PATIENCE: Duration = Duration::from_secs(10);

type Reply = oneshot::Sender<Result<Answer, AskFailure>>;

/// A request that a peer has to answer.
pub(crate) struct Asking {
    peer: PeerId,
    request: Request,
    until: Instant,
    reply: Reply,
}

impl Asking {
    /// Nobody can be asked.
    pub(crate) fn lost(reply: Reply, peer: &PeerId) {
        let _ = reply.send(Err(AskFailure::Lost(*peer)));
    }
}

/// A request of a peer that is being answered.
pub(crate) struct Open {
    pub(crate) peer: PeerId,
    pub(crate) id: InboundRequestId,
    pub(crate) channel: ResponseChannel<Answer>,
    /// Bytes for which room is kept.
    pub(crate) longest: usize,
    until: Instant,
}

/// An answer that is being written.
struct Written {
    peer: PeerId,
    bytes: usize,
    until: Instant,
}

/// Both kinds.
#[derive(Default)]
pub(crate) struct Desk {
    asking: HashMap<OutboundRequestId, Asking>,
    serving: HashMap<Serving, Open>,
    writing: HashMap<InboundRequestId, Written>,
    next: u64,
}

impl Desk {
    /// How many answers are waited for.
    pub(crate) fn asking(&self) -> usize {
        self.asking.len()
    }

    /// How many answers are owed.
    pub(crate) fn serving(&self) -> usize {
        self.serving.len()
    }

    /// How many answers are being written.
    pub(crate) fn writing(&self) -> usize {
        self.writing.len()
    }

    /// Whether one more question to this peer is one too many.
    fn is_busy(&self, peer: &PeerId, kind: Kind) -> bool {
        let count = |which: &dyn Fn(&Asking) -> bool| self.asking.values().filter(|asking| which(asking)).count();
        let large = |asking: &Asking| asking.request.kind().is_large();
        if kind.is_large() {
            count(&large) >= ASKING || count(&|asking| large(asking) && asking.peer == *peer) >= ASKING_ONE
        } else {
            count(&|asking| asking.request.kind() == kind && asking.peer == *peer) >= SMALL_TALK
        }
    }

    pub(crate) fn ask(
        &mut self,
        peer: PeerId,
        request: Request,
        until: Instant,
        reply: Reply,
        send: impl FnOnce(Request) -> OutboundRequestId,
    ) {
        let refusal = if self.is_busy(&peer, request.kind()) {
            Some(AskFailure::Busy)
        } else if request.encode().is_err() {
            Some(AskFailure::TooLong)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            let _ = reply.send(Err(refusal));
            return;
        }
        let id = send(request.clone());
        self.asking.insert(id, Asking { peer, request, until, reply });
    }

    /// A peer answered: who, what it was asked, and what it did by that. `None` for answers that nobody waits for.
    pub(crate) fn answered(&mut self, id: OutboundRequestId, answer: Answer) -> Option<(PeerId, Kind, Deed)> {
        let asking = self.asking.remove(&id)?;
        let deed = match &answer {
            Answer::Refused(Refusal::Busy | Refusal::TooMany | Refusal::Unavailable) => Deed::Ignored,
            answer if answer.fits(&asking.request) => Deed::GoodAnswer,
            _ => Deed::BadAnswer,
        };
        let outcome = if deed == Deed::BadAnswer { Err(AskFailure::Nonsense(asking.peer)) } else { Ok(answer) };
        let _ = asking.reply.send(outcome);
        Some((asking.peer, asking.request.kind(), deed))
    }

    /// There will be no answer: what is held against the peer.
    pub(crate) fn failed(
        &mut self,
        id: OutboundRequestId,
        error: &OutboundFailure,
    ) -> Option<(PeerId, Kind, Option<Deed>)> {
        let asking = self.asking.remove(&id)?;
        let peer = asking.peer;
        let (failure, deed) = match error {
            OutboundFailure::Timeout => (AskFailure::Timeout(peer), Some(Deed::NoAnswer)),
            OutboundFailure::Io(error) => match error.kind() {
                std::io::ErrorKind::InvalidData => (AskFailure::Nonsense(peer), Some(Deed::BadAnswer)),
                std::io::ErrorKind::TimedOut => (AskFailure::Timeout(peer), Some(Deed::NoAnswer)),
                _ => (AskFailure::Lost(peer), Some(Deed::NoAnswer)),
            },
            OutboundFailure::DialFailure
            | OutboundFailure::ConnectionClosed
            | OutboundFailure::UnsupportedProtocols => (AskFailure::Lost(peer), None),
        };
        let _ = asking.reply.send(Err(failure));
        Some((peer, asking.request.kind(), deed))
    }

    /// Gives up what was not answered in time.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<(PeerId, Kind)> {
        self.asking
            .extract_if(|_, asking| asking.until <= now)
            .map(|(_, asking)| {
                let _ = asking.reply.send(Err(AskFailure::Timeout(asking.peer)));
                (asking.peer, asking.request.kind())
            })
            .collect()
    }

    /// A peer asks, and room for `longest` bytes is kept for the answer. See [`has_room`](Self::has_room).
    pub(crate) fn serve(
        &mut self,
        peer: PeerId,
        id: InboundRequestId,
        channel: ResponseChannel<Answer>,
        longest: usize,
    ) -> Serving {
        let serving = Serving(self.next);
        self.next += 1;
        self.serving.insert(serving, Open { peer, id, channel, longest, until: Instant::now() + SERVING_PATIENCE });
        serving
    }

    /// Whether more can be owed.
    pub(crate) fn has_room(&self) -> bool {
        self.serving.len() < SERVING
    }

    /// The answer is here: to whom and where.
    pub(crate) fn served(&mut self, serving: Serving) -> Option<Open> {
        self.serving.remove(&serving)
    }

    /// Requests that this node took too long for.
    pub(crate) fn unanswered(&self, now: Instant) -> Vec<Serving> {
        self.serving.iter().filter(|(_, open)| open.until <= now).map(|(serving, _)| *serving).collect()
    }

    /// An answer begins to be written. Its bytes are held until it is [`written`](Self::written).
    pub(crate) fn write(&mut self, id: InboundRequestId, peer: PeerId, bytes: usize) {
        // The end of every answer is reported; if one were not, its bytes must not be held for ever.
        let until = Instant::now() + 2 * LONGEST_ASK;
        self.writing.insert(id, Written { peer, bytes, until });
    }

    /// An answer was written, or will not be: to whom, and how many bytes are free again.
    pub(crate) fn written(&mut self, id: InboundRequestId) -> Option<(PeerId, usize)> {
        self.writing.remove(&id).map(|written| (written.peer, written.bytes))
    }

    /// Answers whose end was not reported.
    pub(crate) fn unreported(&mut self, now: Instant) -> Vec<(PeerId, usize)> {
        let late = self.writing.extract_if(|_, written| written.until <= now);
        late.map(|(_, written)| (written.peer, written.bytes)).collect()
    }
}
