//! Replies: at once, later by a future, or whenever someone has the answer.

use std::{fmt, pin::Pin, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    AskError, Failure, Message,
    instance::{Instance, with_current},
};

/// What a handler returns for a message.
pub enum Reply<M: Message> {
    /// The answer.
    Now(M::Reply),
    /// A future that yields the answer. It runs on the actor's thread and dies with the instance. The actor owes its
    /// end within the deadline, unless the lease says that it makes progress or names what it waits for.
    Later(Pin<Box<dyn Future<Output = M::Reply>>>),
    /// The answer comes through a [`Responder`]; made by [`Reply::deferred`].
    Deferred(Deferred<M>),
}

impl<M: Message> Reply<M> {
    /// [`Reply::Later`] from any future.
    pub fn later(answer: impl Future<Output = M::Reply> + 'static) -> Self {
        Self::Later(Box::pin(answer))
    }

    /// A reply that will be sent through the responder, from this actor or from a worker thread.
    pub fn deferred() -> (Self, Responder<M>) {
        let desk = Arc::new(Mutex::new(Desk::Open));
        (Self::Deferred(Deferred { desk: desk.clone() }), Responder { desk })
    }
}

impl<M: Message> fmt::Debug for Reply<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Now(_) => "Now",
            Self::Later(_) => "Later",
            Self::Deferred(_) => "Deferred",
        };
        write!(f, "Reply::{kind}({})", M::NAME)
    }
}

/// Where a handler and a responder meet: the answer may come before the handler returns, or long after.
enum Desk<R: Send + 'static> {
    /// Neither has come.
    Open,
    /// The answer came first.
    Answered(Result<R, Failure>),
    /// The handler has returned.
    Connected(Pending<R>),
    /// Done, or nobody wants the answer.
    Closed,
}

/// The half of a deferred reply that goes back to the caller's side.
pub struct Deferred<M: Message> {
    desk: Arc<Mutex<Desk<M::Reply>>>,
}

impl<M: Message> fmt::Debug for Deferred<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deferred({})", M::NAME)
    }
}

impl<M: Message> Deferred<M> {
    /// Ties the responder to the caller; `None` if the caller wants no reply.
    pub(crate) fn connect(self, pending: Option<Pending<M::Reply>>) {
        let mut desk = self.desk.lock();
        let before = std::mem::replace(&mut *desk, Desk::Closed);
        match (before, pending) {
            (Desk::Answered(answer), Some(pending)) => {
                drop(desk);
                pending.settle(answer);
            }
            (Desk::Open, Some(pending)) => *desk = Desk::Connected(pending),
            // The responder was dropped before the handler returned, or nobody waits: dropping `pending` says so.
            _ => {}
        }
    }
}

/// Sends one deferred reply. Dropping it unused tells the caller that the request was dropped.
pub struct Responder<M: Message> {
    desk: Arc<Mutex<Desk<M::Reply>>>,
}

impl<M: Message> fmt::Debug for Responder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Responder({})", M::NAME)
    }
}

impl<M: Message> Responder<M> {
    /// Answers the request. Has no effect if the caller is gone or the instance was replaced.
    pub fn send(self, reply: M::Reply) {
        self.settle(Ok(reply));
    }

    /// Answers with [`AskError::Failed`].
    pub fn fail(self, error: Failure) {
        self.settle(Err(error));
    }

    fn settle(self, answer: Result<M::Reply, Failure>) {
        let mut desk = self.desk.lock();
        match std::mem::replace(&mut *desk, Desk::Closed) {
            Desk::Open => *desk = Desk::Answered(answer),
            Desk::Connected(pending) => {
                drop(desk);
                pending.settle(answer);
            }
            Desk::Answered(_) | Desk::Closed => {}
        }
    }
}

impl<M: Message> Drop for Responder<M> {
    fn drop(&mut self) {
        let mut desk = self.desk.lock();
        match &*desk {
            Desk::Open | Desk::Connected(_) => {
                let before = std::mem::replace(&mut *desk, Desk::Closed);
                drop(desk);
                drop(before);
            }
            // An answer that the handler has not picked up yet stays.
            Desk::Answered(_) | Desk::Closed => {}
        }
    }
}

/// A caller that waits for an answer which is not there when the handler returns.
pub(crate) struct Pending<R: Send + 'static> {
    wire: Option<oneshot::Sender<Result<R, AskError>>>,
    instance: Arc<Instance>,
}

impl<R: Send + 'static> Pending<R> {
    pub(crate) fn new(wire: oneshot::Sender<Result<R, AskError>>, instance: &Arc<Instance>) -> Self {
        Self { wire: Some(wire), instance: instance.clone() }
    }

    /// Sends the answer; an instance that was declared dead meanwhile has nothing to say.
    pub(crate) fn settle(mut self, answer: Result<R, Failure>) {
        let answer = if self.instance.is_dead() {
            Err(self.instance.dropped_request())
        } else {
            answer.map_err(|error| AskError::Failed { actor: self.instance.name(), error })
        };
        if let Some(wire) = self.wire.take() {
            // A caller that gave up is no error.
            let _ = wire.send(answer);
        }
    }
}

impl<R: Send + 'static> Drop for Pending<R> {
    fn drop(&mut self) {
        // While the actor's thread unwinds the death is not recorded yet, and the caller must not look before it is.
        if std::thread::panicking()
            && let Some(wire) = self.wire.take()
            && with_current(|me| Arc::ptr_eq(me, &self.instance)).unwrap_or(false)
        {
            self.instance.keep_until_death(Box::new(wire));
        }
    }
}
