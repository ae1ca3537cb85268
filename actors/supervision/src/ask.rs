//! Requests: posted to whichever instance is up, answered or refused within a bound.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::{
    AskError, DeathCause, Message, TellError,
    instance::{Instance, note_ask},
    patience::{Ticket, after, by, sleep_until},
    slot::SlotCore,
};

/// The bound of a request that names none.
pub const DEFAULT_ASK: Duration = Duration::from_secs(10);

/// A caller looks at least so often whether the actor was declared dead: the request of a hung actor is never dropped.
const LATER_LOOK: Duration = Duration::from_millis(100);
/// Shorter bounds than this are kept to the millisecond, for the price of reading the clock.
const EXACT: Duration = Duration::from_secs(1);

/// First and longest pause between two tries of a request that may be repeated.
const RETRY_FIRST: Duration = Duration::from_millis(1);
const RETRY_CAP: Duration = Duration::from_millis(500);
/// A try is not cut short below this, as long as the deadline allows it.
const RETRY_TRY_MIN: Duration = Duration::from_millis(50);

/// Where the reply to one request goes.
pub(crate) type Wire<M> = oneshot::Sender<Result<<M as Message>::Reply, AskError>>;

/// A message on its way, and where the reply goes.
pub(crate) struct Parcel<M: Message> {
    pub(crate) msg: M,
    pub(crate) wire: Option<Wire<M>>,
    /// How long the caller is willing to wait.
    pub(crate) bound: Duration,
}

impl<M: Message> actix::Message for Parcel<M> {
    type Result = ();
}

/// A message that was not put into a mailbox, handed back.
pub(crate) struct Refused<M: Message> {
    pub(crate) parcel: Parcel<M>,
    pub(crate) why: Why,
}

/// Why a message was not put into a mailbox.
pub(crate) enum Why {
    Down,
    Full(usize),
    Gone,
    Stopping,
    /// The sender itself was declared dead.
    Fenced {
        actor: Arc<str>,
        cause: DeathCause,
    },
}

impl Why {
    fn ask_error(self, actor: &Arc<str>) -> AskError {
        let actor = actor.clone();
        match self {
            Self::Down => AskError::Restarting { actor },
            Self::Full(depth) => AskError::Full { actor, depth },
            Self::Gone => AskError::Gone { actor },
            Self::Stopping => AskError::Stopping,
            Self::Fenced { actor, cause } => AskError::Died { actor, cause },
        }
    }

    fn tell_error(self, actor: &Arc<str>) -> TellError {
        let actor = actor.clone();
        match self {
            Self::Down => TellError::Restarting { actor },
            Self::Full(depth) => TellError::Full { actor, depth },
            Self::Gone => TellError::Gone { actor },
            Self::Stopping => TellError::Stopping,
            Self::Fenced { actor, cause } => TellError::Fenced { actor, cause },
        }
    }
}

/// Something that takes messages of type `M`: the slot of an actor, with or without its type.
pub(crate) trait Deliver<M: Message>: Send + Sync + 'static {
    /// Puts the message into the mailbox of the instance that is up, or hands it back.
    fn post(&self, parcel: Parcel<M>) -> Result<Arc<Instance>, Refused<M>>;
    fn core(&self) -> &Arc<SlotCore>;
}

pub(crate) fn tell<M: Message, D: Deliver<M> + ?Sized>(to: &D, msg: M) -> Result<(), TellError> {
    match to.post(Parcel { msg, wire: None, bound: Duration::ZERO }) {
        Ok(_) => Ok(()),
        Err(refused) => Err(refused.why.tell_error(&to.core().name)),
    }
}

pub(crate) async fn ask<M: Message, D: Deliver<M> + ?Sized>(
    to: &D,
    msg: M,
    bound: Duration,
) -> Result<M::Reply, AskError> {
    let _noted = note_ask(&to.core().name, M::NAME, bound);
    let (wire, reply) = oneshot::channel();
    let mut deadline = (bound < EXACT).then(|| after(Instant::now(), bound));
    let instance = match to.post(Parcel { msg, wire: Some(wire), bound }) {
        Ok(instance) => instance,
        Err(refused) => {
            let deadline = *deadline.get_or_insert_with(|| after(Instant::now(), bound));
            post_when_up(to, refused, deadline).await?
        }
    };
    reply_of(reply, &instance, deadline, bound).await
}

/// Waits, within the bound, for an instance that takes the message.
async fn post_when_up<M: Message, D: Deliver<M> + ?Sized>(
    to: &D,
    mut refused: Refused<M>,
    deadline: Instant,
) -> Result<Arc<Instance>, AskError> {
    let core = to.core();
    loop {
        if !matches!(refused.why, Why::Down) {
            return Err(refused.why.ask_error(&core.name));
        }
        // Registered before the next try, so that no change between the two is missed.
        let mut changed = pin!(core.changed.notified());
        changed.as_mut().enable();
        match to.post(refused.parcel) {
            Ok(instance) => return Ok(instance),
            Err(again) => refused = again,
        }
        if matches!(refused.why, Why::Down) && by(deadline, changed).await.is_none() {
            return Err(refused.why.ask_error(&core.name));
        }
    }
}

/// The reply, or why there is none. Without a deadline the bound begins at the first look.
async fn reply_of<R>(
    mut reply: oneshot::Receiver<Result<R, AskError>>,
    instance: &Instance,
    mut deadline: Option<Instant>,
    bound: Duration,
) -> Result<R, AskError> {
    let mut ticket: Option<Ticket> = None;
    poll_fn(|cx| {
        if let Poll::Ready(answer) = Pin::new(&mut reply).poll(cx) {
            return Poll::Ready(answer.unwrap_or_else(|_| Err(instance.dropped_request())));
        }
        let Some(ticket) = &ticket else {
            let look = deadline.map(|deadline| deadline.min(Instant::now() + LATER_LOOK));
            ticket = Some(Ticket::take(cx.waker(), look));
            return Poll::Pending;
        };
        if ticket.is_due(cx.waker()) {
            if instance.is_dead() {
                return Poll::Ready(Err(instance.dropped_request()));
            }
            let now = Instant::now();
            let deadline = *deadline.get_or_insert_with(|| after(now, bound));
            if now >= deadline {
                return Poll::Ready(Err(AskError::Timeout { actor: instance.name(), after: bound }));
            }
            ticket.renew(cx.waker(), deadline.min(now + LATER_LOOK));
        }
        Poll::Pending
    })
    .await
}

/// Asks again, with growing pauses, until an answer, an error that trying again cannot mend, or the deadline.
///
/// A try gets at most half of the time that is left: one lost message must not use up all of it.
pub(crate) async fn ask_retry<M: Message + Clone, F>(
    actor: &Arc<str>,
    msg: M,
    bound: Duration,
    mut ask_once: impl FnMut(M, Duration) -> F,
) -> Result<M::Reply, AskError>
where
    F: Future<Output = Result<M::Reply, AskError>>,
{
    let _noted = note_ask(actor, M::NAME, bound);
    let deadline = after(Instant::now(), bound);
    let mut pause = RETRY_FIRST;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let slice = (left / 2).max(RETRY_TRY_MIN).min(left);
        let error = match ask_once(msg.clone(), slice).await {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if !error.is_retryable() || left <= pause {
            return Err(match error {
                // The caller asked for the whole bound, not for the slice.
                AskError::Timeout { actor, .. } => AskError::Timeout { actor, after: bound },
                other => other,
            });
        }
        sleep_until(Instant::now() + pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
        pause = (pause * 2).min(RETRY_CAP);
    }
}
