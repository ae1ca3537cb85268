//! A reference for one message type, without the actor's type: what actor crates hold of each other.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    AskError, DEFAULT_ASK, Message, TellError,
    ask::{self, Deliver},
    patience::{after, by},
};

type Script<M> =
    dyn Fn(M) -> Pin<Box<dyn Future<Output = Result<<M as Message>::Reply, AskError>> + Send>> + Send + Sync;

/// A stable reference to whichever actor handles messages of type `M`.
pub struct Port<M: Message> {
    way: Way<M>,
}

enum Way<M: Message> {
    Actor(Arc<dyn Deliver<M>>),
    Script { name: Arc<str>, script: Arc<Script<M>> },
    Nowhere { name: Arc<str> },
}

impl<M: Message> Clone for Port<M> {
    fn clone(&self) -> Self {
        let way = match &self.way {
            Way::Actor(to) => Way::Actor(to.clone()),
            Way::Script { name, script } => Way::Script { name: name.clone(), script: script.clone() },
            Way::Nowhere { name } => Way::Nowhere { name: name.clone() },
        };
        Self { way }
    }
}

impl<M: Message> fmt::Debug for Port<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port({} of {})", M::NAME, self.name())
    }
}

impl<M: Message> Port<M> {
    pub(crate) fn to(to: Arc<dyn Deliver<M>>) -> Self {
        Self { way: Way::Actor(to) }
    }

    /// A port answered by a closure, for tests of one actor against scripted neighbours.
    pub fn from_fn<F, R>(script: F) -> Self
    where
        F: Fn(M) -> R + Send + Sync + 'static,
        R: Future<Output = M::Reply> + Send + 'static,
    {
        Self::try_from_fn(move |msg| {
            let reply = script(msg);
            async move { Ok(reply.await) }
        })
    }

    /// The same, where the closure may also answer with an error of the way, as a dead or full actor would.
    pub fn try_from_fn<F, R>(script: F) -> Self
    where
        F: Fn(M) -> R + Send + Sync + 'static,
        R: Future<Output = Result<M::Reply, AskError>> + Send + 'static,
    {
        Self { way: Way::Script { name: "script".into(), script: Arc::new(move |msg| Box::pin(script(msg))) } }
    }

    /// A port that leads nowhere: everything sent to it fails as gone.
    pub fn unwired(name: impl Into<Arc<str>>) -> Self {
        Self { way: Way::Nowhere { name: name.into() } }
    }

    /// Name of the actor behind it.
    pub fn name(&self) -> &Arc<str> {
        match &self.way {
            Way::Actor(to) => &to.core().name,
            Way::Script { name, .. } | Way::Nowhere { name } => name,
        }
    }

    /// Sends a request and waits for the reply, at most [`DEFAULT_ASK`]. While the actor is down the request waits.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(&self, msg: M) -> Result<M::Reply, AskError> {
        self.ask_within(msg, DEFAULT_ASK).await
    }

    /// The same with another bound.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask_within(&self, msg: M, bound: Duration) -> Result<M::Reply, AskError> {
        match &self.way {
            Way::Actor(to) => ask::ask(&**to, msg, bound).await,
            Way::Script { name, script } => by(after(Instant::now(), bound), script(msg))
                .await
                .unwrap_or_else(|| Err(AskError::Timeout { actor: name.clone(), after: bound })),
            Way::Nowhere { name } => Err(AskError::Gone { actor: name.clone() }),
        }
    }

    /// Asks until there is an answer or `bound` is over, with growing pauses: survives restarts of the actor. Only for
    /// messages marked [`IDEMPOTENT`](Message::IDEMPOTENT); others do not compile.
    ///
    /// # Errors
    /// The last [`AskError`].
    pub async fn ask_retry(&self, msg: M, bound: Duration) -> Result<M::Reply, AskError>
    where
        M: Clone,
    {
        const { assert!(M::IDEMPOTENT, "ask_retry needs a message that is marked IDEMPOTENT") };
        ask::ask_retry(self.name(), msg, bound, |msg, slice| self.ask_within(msg, slice)).await
    }

    /// Sends a message and wants no reply. Never waits.
    ///
    /// # Errors
    /// See [`TellError`]: the sender decides what a full mailbox or a restarting actor means to it.
    pub fn tell(&self, msg: M) -> Result<(), TellError> {
        match &self.way {
            Way::Actor(to) => ask::tell(&**to, msg),
            Way::Script { script, .. } => {
                let run = script(msg);
                match tokio::runtime::Handle::try_current() {
                    Ok(runtime) => drop(runtime.spawn(run)),
                    Err(_) => drop(futures::executor::block_on(run)),
                }
                Ok(())
            }
            Way::Nowhere { name } => Err(TellError::Gone { actor: name.clone() }),
        }
    }
}
