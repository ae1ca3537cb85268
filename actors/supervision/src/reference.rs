//! Stable references: they name an actor, not one of its instances.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    Actor, AskError, DEFAULT_ASK, Handle, Message, Port, TellError,
    ask::{self, Deliver},
    slot::Slot,
};

/// A reference to an actor that survives its restarts. Cheap to clone, may be used from any thread.
///
/// It exists before its actor does: [`Ref::declare`] it, hand it to whom it concerns, then give it to a
/// [`ChildSpec`](crate::ChildSpec). Requests can be awaited under any executor.
pub struct Ref<A: Actor> {
    pub(crate) slot: Arc<Slot<A>>,
}

impl<A: Actor> Clone for Ref<A> {
    fn clone(&self) -> Self {
        Self { slot: self.slot.clone() }
    }
}

impl<A: Actor> fmt::Debug for Ref<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ref({})", self.slot.core.name)
    }
}

impl<A: Actor> Ref<A> {
    /// Names an actor. Until a tree starts it, requests wait and then fail as restarting.
    pub fn declare(name: impl Into<Arc<str>>) -> Self {
        Self { slot: Arc::new(Slot::new(name.into())) }
    }

    /// The actor's name.
    pub fn name(&self) -> &Arc<str> {
        &self.slot.core.name
    }

    /// Sends a request and waits for the reply, at most [`DEFAULT_ASK`]. While the actor is down the request waits.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask<M: Message>(&self, msg: M) -> Result<M::Reply, AskError>
    where
        A: Handle<M>,
    {
        ask::ask(&*self.slot, msg, DEFAULT_ASK).await
    }

    /// The same with another bound.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask_within<M: Message>(&self, msg: M, bound: Duration) -> Result<M::Reply, AskError>
    where
        A: Handle<M>,
    {
        ask::ask(&*self.slot, msg, bound).await
    }

    /// Asks until there is an answer or `bound` is over, with growing pauses: survives restarts of the actor. Only for
    /// messages marked [`IDEMPOTENT`](Message::IDEMPOTENT); others do not compile:
    ///
    /// ```compile_fail,E0080
    /// # use duskevm_supervision::{Message, Port};
    /// #[derive(Clone)]
    /// struct Pay(u64);
    /// impl Message for Pay {
    ///     type Reply = ();
    ///     const NAME: &'static str = "pay";
    /// }
    /// let port = Port::<Pay>::unwired("bank");
    /// # futures::executor::block_on(async {
    /// let paid = port.ask_retry(Pay(1), std::time::Duration::from_secs(1)).await;
    /// # });
    /// ```
    ///
    /// # Errors
    /// The last [`AskError`].
    pub async fn ask_retry<M: Message + Clone>(&self, msg: M, bound: Duration) -> Result<M::Reply, AskError>
    where
        A: Handle<M>,
    {
        const { assert!(M::IDEMPOTENT, "ask_retry needs a message that is marked IDEMPOTENT") };
        ask::ask_retry(self.name(), msg, bound, |msg, slice| self.ask_within(msg, slice)).await
    }

    /// Sends a message and wants no reply. Never waits.
    ///
    /// # Errors
    /// See [`TellError`]: the sender decides what a full mailbox or a restarting actor means to it.
    pub fn tell<M: Message>(&self, msg: M) -> Result<(), TellError>
    where
        A: Handle<M>,
    {
        ask::tell(&*self.slot, msg)
    }

    /// The same reference for one message type, without the actor's type.
    pub fn port<M: Message>(&self) -> Port<M>
    where
        A: Handle<M>,
    {
        let to: Arc<dyn Deliver<M>> = self.slot.clone();
        Port::to(to)
    }
}
