//! What can be asked about the actors of a tree: their states, and the chain of causes when something is stuck.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    DeathCause, Generation, LeaseStatus,
    lease::short,
    slot::{SlotCore, Stage},
};

/// What an actor is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActorState {
    /// Its first instance is being made.
    Starting,
    /// It takes messages.
    Running,
    /// It takes messages but does not work in full.
    Degraded {
        /// In its own words.
        why: String,
    },
    /// It is being replaced.
    Restarting {
        /// Failures in a row.
        attempt: u32,
    },
    /// The tree is being shut down.
    Stopping,
    /// It will not be started again.
    Stopped,
}

impl fmt::Display for ActorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Running => f.write_str("running"),
            Self::Degraded { why } => write!(f, "degraded: {why}"),
            Self::Restarting { attempt } => write!(f, "restarting (attempt {attempt})"),
            Self::Stopping => f.write_str("stopping"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// One actor at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorStatus {
    /// Its name.
    pub name: Arc<str>,
    /// The subtrees it stands in, root first.
    pub path: Vec<Arc<str>>,
    /// What it is doing.
    pub state: ActorState,
    /// How long it has been up or down.
    pub since: Duration,
    /// The newest instance; 0 before the first.
    pub generation: Generation,
    /// Replacements since the tree started.
    pub restarts: u64,
    /// Why the last instance ended.
    pub last_cause: Option<DeathCause>,
    /// What the newest instance last said about itself.
    pub lease: LeaseStatus,
    /// Messages waiting in its mailbox.
    pub mailbox_depth: usize,
    /// Bound of its mailbox.
    pub mailbox_capacity: usize,
}

impl ActorStatus {
    pub(crate) fn of(slot: &SlotCore, path: &[Arc<str>]) -> Self {
        let record = slot.record.lock();
        let instance = record.instance.clone();
        let (since, restarts, attempt) = (record.since.elapsed(), record.restarts, record.attempt);
        let last_cause = record.last_cause.clone();
        drop(record);
        let lease = instance.as_ref().map(|i| i.lease()).unwrap_or_default();
        let state = match slot.stage() {
            Stage::Up => match &lease.degraded {
                Some((why, _)) => ActorState::Degraded { why: why.clone() },
                None => ActorState::Running,
            },
            Stage::Down if last_cause.is_none() => ActorState::Starting,
            Stage::Down => ActorState::Restarting { attempt },
            Stage::Stopping => ActorState::Stopping,
            Stage::Gone => ActorState::Stopped,
        };
        Self {
            name: slot.name.clone(),
            path: path.to_vec(),
            state,
            since,
            generation: slot.gate.issued(),
            restarts,
            last_cause,
            lease,
            mailbox_depth: instance.as_ref().map_or(0, |i| i.depth.load(std::sync::atomic::Ordering::Relaxed)),
            mailbox_capacity: slot.capacity.load(std::sync::atomic::Ordering::Relaxed),
        }
    }
}

/// One link of the answer to "why does nothing move".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The actor it is about.
    pub actor: Arc<str>,
    /// What is the matter with it.
    pub kind: CauseKind,
    /// Since how long.
    pub since: Duration,
    /// What the actor last got done, and how long ago.
    pub done: Option<(String, Duration)>,
}

/// What is the matter with an actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CauseKind {
    /// Its first instance is not up yet.
    Starting,
    /// It is being replaced.
    Restarting {
        /// Failures in a row.
        attempt: u32,
        /// Why the last instance ended.
        last: Option<DeathCause>,
    },
    /// It works, but not in full.
    Degraded {
        /// In its own words.
        why: String,
    },
    /// It has ended for good after a failure.
    Ended {
        /// Why.
        last: DeathCause,
    },
    /// The tree is being shut down.
    Stopping,
    /// It has asked another actor and has no answer yet.
    Asking {
        /// Whom.
        actor: Arc<str>,
        /// What.
        message: &'static str,
    },
    /// Another one waits for it, and it has said nothing of itself: it is at work, or hangs.
    Silent {
        /// Messages in its mailbox.
        messages: usize,
    },
    /// It waits for something: no fault in itself.
    Waiting {
        /// In its own words.
        for_what: String,
        /// The actor it waits for, if it named one.
        on: Option<Arc<str>>,
    },
}

impl Cause {
    /// Whether this is a fault, as opposed to legitimate waiting.
    pub const fn is_trouble(&self) -> bool {
        !matches!(self.kind, CauseKind::Waiting { .. } | CauseKind::Asking { .. } | CauseKind::Silent { .. })
    }

    /// The actor that this one waits for, if known.
    pub const fn on(&self) -> Option<&Arc<str>> {
        match &self.kind {
            CauseKind::Waiting { on, .. } => on.as_ref(),
            CauseKind::Asking { actor, .. } => Some(actor),
            _ => None,
        }
    }

    fn of(status: ActorStatus, ask: Option<(Arc<str>, &'static str, Duration)>) -> Option<Self> {
        let ActorStatus { name, state, since, last_cause, lease, .. } = status;
        let (kind, since) = match state {
            ActorState::Starting => (CauseKind::Starting, since),
            ActorState::Restarting { attempt } => (CauseKind::Restarting { attempt, last: last_cause }, since),
            ActorState::Stopping => (CauseKind::Stopping, since),
            ActorState::Stopped => match last_cause {
                Some(last @ (DeathCause::Error(_) | DeathCause::Panic(_) | DeathCause::Hang(_))) => {
                    (CauseKind::Ended { last }, since)
                }
                _ => return None,
            },
            ActorState::Degraded { why } => {
                let since = lease.degraded.as_ref().map_or(since, |(_, since)| *since);
                (CauseKind::Degraded { why }, since)
            }
            ActorState::Running => match (lease.waiting_for, ask) {
                (Some((for_what, since)), _) => (CauseKind::Waiting { for_what, on: lease.waiting_on }, since),
                (None, Some((actor, message, since))) => (CauseKind::Asking { actor, message }, since),
                (None, None) => return None,
            },
        };
        Some(Self { actor: name, kind, since, done: lease.done })
    }

    /// What there is to say of an actor that others wait for and that has no cause of its own.
    fn silent(status: ActorStatus) -> Self {
        let since = status.lease.done.as_ref().map_or(status.since, |(_, age)| *age);
        let kind = CauseKind::Silent { messages: status.mailbox_depth };
        Self { actor: status.name, kind, since, done: status.lease.done }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.actor)?;
        if let Some((done, _)) = &self.done {
            write!(f, " ({done})")?;
        }
        let since = short(self.since);
        match &self.kind {
            CauseKind::Starting => write!(f, " starting for {since}"),
            CauseKind::Restarting { attempt, last } => {
                write!(f, " down for {since}, restart attempt {attempt}")?;
                last.as_ref().map_or(Ok(()), |last| write!(f, " after {last}"))
            }
            CauseKind::Degraded { why } => write!(f, " degraded for {since}: {why}"),
            CauseKind::Ended { last } => write!(f, " ended {since} ago by {last}"),
            CauseKind::Stopping => write!(f, " stopping for {since}"),
            CauseKind::Asking { actor, message } => write!(f, " waiting for {actor} to answer {message} for {since}"),
            CauseKind::Silent { messages } => {
                write!(f, " has said nothing for {since}, with {messages} messages in its mailbox")
            }
            CauseKind::Waiting { for_what, .. } => write!(f, " waiting for {for_what} for {since}"),
        }
    }
}

/// The causes of all actors that are not simply at work, symptoms before what they wait for.
///
/// Actors later in the tree depend on earlier ones, so the order is the tree's, backwards; where an actor names whom it
/// waits for, that one follows it directly.
pub(crate) fn causes(slots: &[(Arc<SlotCore>, Vec<Arc<str>>)]) -> Vec<Cause> {
    let mut found: Vec<Option<Cause>> = slots
        .iter()
        .rev()
        .map(|(slot, path)| {
            let ask = slot.record.lock().instance.clone().and_then(|i| i.oldest_ask());
            Cause::of(ActorStatus::of(slot, path), ask)
        })
        .collect();
    let mut chain: Vec<Cause> = Vec::new();
    for at in 0..found.len() {
        let mut next = found[at].take();
        while let Some(cause) = next {
            let on = cause.on().cloned();
            chain.push(cause);
            next = on.and_then(|on| {
                let own = found.iter_mut().find(|c| c.as_ref().is_some_and(|c| c.actor == on)).and_then(Option::take);
                if own.is_some() || chain.iter().any(|cause| cause.actor == on) {
                    return own;
                }
                let (slot, path) = slots.iter().find(|(slot, _)| slot.name == on)?;
                let status = ActorStatus::of(slot, path);
                matches!(status.state, ActorState::Running).then(|| Cause::silent(status))
            });
        }
    }
    chain
}
