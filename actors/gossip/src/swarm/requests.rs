//! Questions: of this node to peers, and of peers to this node.

use std::time::{Duration, Instant};

use duskevm_messages::gossip::AskFailure;
use duskevm_p2p::{Answer, Deed, Drop, Flow, PeerId, Refusal, Request};
use libp2p::request_response::{self, InboundFailure, InboundRequestId, ResponseChannel};
use tokio::sync::oneshot;

use super::Task;
use crate::codec::Asked;
use crate::convert;
use crate::desk::Asking;
use crate::host::{HostEvent, Serving};
use crate::metrics;
use crate::net::LONGEST_ASK;

impl Task {
    pub(super) fn ask(
        &mut self,
        peer: PeerId,
        request: Request,
        within: Duration,
        reply: oneshot::Sender<Result<Answer, AskFailure>>,
    ) {
        let linked = self.links.contains_key(&peer);
        let Some(to) = convert::libp2p_peer(&peer).filter(|_| linked) else {
            return Asking::lost(reply, &peer);
        };
        let within = within.min(LONGEST_ASK);
        let swarm = &mut self.swarm;
        let send = |request| swarm.behaviour_mut().ask.send_request(&to, Asked::Here(request, within));
        self.desk.ask(peer, request, Instant::now() + within, reply, send);
    }

    /// Sends the answer to a peer. Its bytes are held until the peer has taken them.
    pub(super) fn answer(&mut self, serving: Serving, answer: Answer) {
        let Some(open) = self.desk.served(serving) else { return };
        let bytes = answer.size();
        self.gate.answer(&open.peer, open.longest, bytes);
        if self.swarm.behaviour_mut().ask.send_response(open.channel, answer).is_ok() {
            self.desk.write(open.id, open.peer, bytes);
        } else {
            // The asker has gone.
            self.gate.answered(&open.peer, bytes);
        }
    }

    /// An answer is written, or nobody reads it.
    fn written(&mut self, id: InboundRequestId) {
        if let Some((peer, bytes)) = self.desk.written(id) {
            self.gate.answered(&peer, bytes);
        }
    }

    /// Gives up on what has waited for too long.
    pub(super) fn expire_requests(&mut self, now: Instant) {
        for (peer, kind) in self.desk.overdue(now) {
            metrics::asked(kind.label(), "timeout");
            self.deed(&peer, Deed::NoAnswer);
        }
        for serving in self.desk.unanswered(now) {
            self.answer(serving, Answer::Refused(Refusal::Unavailable));
        }
        for (peer, bytes) in self.desk.unreported(now) {
            self.gate.answered(&peer, bytes);
        }
    }

    pub(super) fn asked(&mut self, event: request_response::Event<Asked, Answer>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                request_response::Message::Request { request_id, request, channel } => {
                    let Some(peer) = convert::peer(&peer) else { return };
                    match request {
                        Asked::There(request) => self.requested(peer, request_id, request, channel),
                        Asked::Garbage | Asked::Here(..) => {
                            // Without an answer the stream ends.
                            drop(channel);
                            metrics::dropped("garbage");
                            self.deed(&peer, Deed::Garbage);
                        }
                    }
                }
                request_response::Message::Response { request_id, response } => {
                    // An answer that comes too late was held against the peer already.
                    if let Some((peer, kind, deed)) = self.desk.answered(request_id, response) {
                        let outcome = match deed {
                            Deed::GoodAnswer => "answer",
                            Deed::BadAnswer => "nonsense",
                            _ => "refused",
                        };
                        metrics::asked(kind.label(), outcome);
                        self.deed(&peer, deed);
                    }
                }
            },
            request_response::Event::OutboundFailure { request_id, error, .. } => {
                if let Some((peer, kind, deed)) = self.desk.failed(request_id, &error) {
                    metrics::asked(kind.label(), "failure");
                    if let Some(deed) = deed {
                        self.deed(&peer, deed);
                    }
                }
            }
            request_response::Event::InboundFailure { peer, request_id, error, .. } => {
                self.written(request_id);
                // It asked, and does not read the answer.
                if let InboundFailure::Io(error) = error
                    && error.kind() == std::io::ErrorKind::TimedOut
                {
                    metrics::dropped("unread_answer");
                    self.deed_of(&peer, Deed::SlowReader);
                }
            }
            request_response::Event::ResponseSent { request_id, .. } => self.written(request_id),
        }
    }

    /// A peer asks something.
    fn requested(&mut self, peer: PeerId, id: InboundRequestId, request: Request, channel: ResponseChannel<Answer>) {
        let longest = request.longest_answer();
        let flow = if self.desk.has_room() {
            self.gate.request(self.now(), &peer, request.kind(), longest)
        } else {
            Flow::Drop(Drop::Busy)
        };
        match flow {
            Flow::Take => {
                let serving = self.desk.serve(peer, id, channel, longest);
                self.tell(peer, HostEvent::Request { serving, peer, request });
            }
            Flow::Drop(why) => {
                let flood = why != Drop::Busy;
                metrics::dropped(if flood { "request_flood" } else { "request_busy" });
                let refusal = if flood { Refusal::TooMany } else { Refusal::Busy };
                let _ = self.swarm.behaviour_mut().ask.send_response(channel, Answer::Refused(refusal));
                if flood {
                    self.deed(&peer, Deed::Flood);
                }
            }
        }
    }
}
