//! The mailbox of the actor.
//!
//! What peers send does not come through it (the host has bounded queues of its own), so it only holds what the other actors
//! of this node say: verdicts, messages to publish, questions.

/// Messages that wait. A verdict that finds it full is lost, and its message counts as ignored.
pub(crate) const MAILBOX: usize = 4_096;
