//! What an actor crate implements.

use crate::{Context, Message, Reply};

/// State with a mailbox, run on a thread of its own and replaced by its supervisor when it fails.
///
/// An instance is made by the factory of its [`ChildSpec`](crate::ChildSpec), from durable state, on its own thread. It
/// need not be [`Send`].
pub trait Actor: Sized + 'static {
    /// What can go wrong in it, and what each failure means.
    type Error: ActorError;

    /// Runs once, before the first message: arm timers, announce oneself.
    ///
    /// # Errors
    /// A failure counts as a failed start; the error's [`reaction`](ActorError::reaction) applies, and
    /// [`Reaction::Retry`] means to start again after a pause.
    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Self::Error> {
        let _ = ctx;
        Ok(())
    }

    /// Runs once before an orderly stop (shutdown, recycling, [`Context::stop`]), after the mailbox was drained: flush.
    ///
    /// Futures piped here are awaited, within the drain bound of the actor. It does not run when the actor dies by an
    /// error, a panic or a hang: state that is not trusted must not be flushed.
    fn stopping(&mut self, ctx: &mut Context<Self>) {
        let _ = ctx;
    }
}

/// An actor that handles messages of type `M`.
pub trait Handle<M: Message>: Actor {
    /// Handles one message.
    ///
    /// # Errors
    /// The error's [`reaction`](ActorError::reaction) says what happens to the actor. The caller gets
    /// [`AskError::Failed`](crate::AskError::Failed) if the actor goes on and [`AskError::Died`](crate::AskError::Died)
    /// if it does not.
    fn handle(&mut self, msg: M, ctx: &mut Context<Self>) -> Result<Reply<M>, Self::Error>;
}

/// An error that says what it means for the actor in which it happened.
///
/// Write [`reaction`](Self::reaction) as an exhaustive match, so that a new kind of failure forces a decision.
pub trait ActorError: std::error::Error + Send + Sync + 'static {
    /// What the supervisor does about this failure.
    fn reaction(&self) -> Reaction;
}

/// An actor that cannot fail.
impl ActorError for std::convert::Infallible {
    fn reaction(&self) -> Reaction {
        match *self {}
    }
}

/// What a failure means for the actor in which it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reaction {
    /// The request failed and may succeed later; the actor is sound and goes on. Retrying, with a pause, is up to the caller.
    Retry,
    /// The actor's state is not trusted any more: replace it.
    RestartSelf,
    /// Replace the actor and all its siblings in the same subtree.
    RestartSubtree,
    /// Replace the actor and tell the new instance to rebuild its chain state (`StartContext::reset`).
    ResetChainState,
    /// The actor goes on, but not in full: it counts as degraded until it says [`Context::healthy`].
    Degrade,
    /// Nothing can be saved: stop the whole tree in order and end with this error as the reason.
    Abort,
}
