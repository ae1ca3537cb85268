//! Requests on their way: those that this node asked, and those that it has to answer.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use duskevm_messages::gossip::AskFailure;
use duskevm_p2p::{Answer, Deed, Kind, PeerId, Request};
use libp2p::request_response::{OutboundFailure, OutboundRequestId, ResponseChannel};
use tokio::sync::oneshot;

use crate::host::Serving;

/// Requests to peers at the same time. Each may hold an answer of 8 MiB.
const ASKING: usize = 16;
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

struct Open {
    peer: PeerId,
    channel: ResponseChannel<Answer>,
    until: Instant,
}

/// Both kinds.
#[derive(Default)]
pub(crate) struct Desk {
    asking: HashMap<OutboundRequestId, Asking>,
    serving: HashMap<Serving, Open>,
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

    pub(crate) fn ask(
        &mut self,
        peer: PeerId,
        request: Request,
        until: Instant,
        reply: Reply,
        send: impl FnOnce(Request) -> OutboundRequestId,
    ) {
        let refusal = if self.asking.len() >= ASKING {
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

    /// A peer answered: who, what it was asked, and whether this answers it. `None` for answers that nobody waits for.
    pub(crate) fn answered(&mut self, id: OutboundRequestId, answer: Answer) -> Option<(PeerId, Kind, bool)> {
        let asking = self.asking.remove(&id)?;
        let good = answer.fits(&asking.request);
        let outcome = if good { Ok(answer) } else { Err(AskFailure::Nonsense(asking.peer)) };
        let _ = asking.reply.send(outcome);
        Some((asking.peer, asking.request.kind(), good))
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
            OutboundFailure::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                (AskFailure::Nonsense(peer), Some(Deed::BadAnswer))
            }
            OutboundFailure::Io(_) => (AskFailure::Lost(peer), Some(Deed::NoAnswer)),
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

    /// A peer asks. See [`has_room`](Self::has_room).
    pub(crate) fn serve(&mut self, peer: PeerId, channel: ResponseChannel<Answer>) -> Serving {
        let serving = Serving(self.next);
        self.next += 1;
        self.serving.insert(serving, Open { peer, channel, until: Instant::now() + SERVING_PATIENCE });
        serving
    }

    /// Whether more can be owed.
    pub(crate) fn has_room(&self) -> bool {
        self.serving.len() < SERVING
    }

    /// The answer is here: to whom and where.
    pub(crate) fn served(&mut self, serving: Serving) -> Option<(PeerId, ResponseChannel<Answer>)> {
        self.serving.remove(&serving).map(|open| (open.peer, open.channel))
    }

    /// Requests that this node took too long for.
    pub(crate) fn unanswered(&self, now: Instant) -> Vec<Serving> {
        self.serving.iter().filter(|(_, open)| open.until <= now).map(|(serving, _)| *serving).collect()
    }
}
