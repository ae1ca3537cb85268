//! Two nodes with one key: this one stops signing when it sees a message of its own key that it did not sign.
//!
//! Each of the two keeps its own journal, so together they sign twice for one step, which costs stake and, at worst, the safety of
//! the chain. Which of them should go on is for an operator to say: after the other one was stopped, a restart of this
//! node makes it listen for a while, and sign again if it hears nothing more.

use std::time::Duration;

use duskevm_dusk_l1::sa::rules::Step;
use duskevm_supervision::Context;
use parking_lot::Mutex;

use crate::actor::Consensus;
use crate::error::ConsensusError;
use crate::health::Trouble;
use crate::metrics;

/// How long a node listens after a restart before it signs again.
const QUIET: Duration = Duration::from_secs(60);

/// What is known of another node with this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Other {
    /// There is none.
    #[default]
    None,
    /// There was one. Until this time of the uptime this node listens.
    Before(Duration),
    /// There is one.
    Seen,
}

/// Whether another node signs with this key. Outlives the instances of the actor: a restart of the actor is nobody's decision.
#[derive(Debug, Default)]
pub(crate) struct Twin(Mutex<Other>);

impl Twin {
    /// The first instance of a process found it noted that there was another node.
    pub(crate) fn was_there(&self, uptime: Duration) {
        *self.0.lock() = Other::Before(uptime + QUIET);
    }

    fn seen(&self) {
        *self.0.lock() = Other::Seen;
    }

    /// Whether the time of listening has just passed without a word of the other one.
    fn has_gone(&self, uptime: Duration) -> bool {
        let mut other = self.0.lock();
        let gone = matches!(*other, Other::Before(until) if uptime >= until);
        if gone {
            *other = Other::None;
        }
        gone
    }

    /// Why nothing is signed.
    pub(crate) fn why(&self) -> Option<&'static str> {
        match *self.0.lock() {
            Other::None => None,
            Other::Before(_) => Some(
                "another node signed with this node's key before the restart: this one listens for a minute and signs again if the other one is silent",
            ),
            Other::Seen => Some(
                "another node signs with this node's key, so this one has stopped: stop the other one, or this one for good, and restart the one that is to go on",
            ),
        }
    }
}

impl Consensus {
    /// A message of this node's key that is not this node's.
    pub(crate) fn other_signer(
        &mut self,
        round: u64,
        step: Step,
        ctx: &mut Context<Self>,
    ) -> Result<(), ConsensusError> {
        metrics::other_signer();
        tracing::error!(
            round,
            iteration = step.iteration,
            step = ?step.kind,
            "a message with this node's key that this node did not sign: it signs nothing from now on"
        );
        self.twin.seen();
        self.machine.mute();
        self.trouble(Trouble::Twin, self.twin.why().map(str::to_owned), ctx);
        self.votes.set_twin(ctx.fence(), true)
    }

    /// Signs again when the other one was silent for long enough.
    pub(crate) fn listen_for_twin(&mut self, ctx: &mut Context<Self>) -> Result<(), ConsensusError> {
        if self.twin.has_gone(self.chain.uptime()) {
            tracing::warn!("no other node signs with this node's key any more: it signs again");
            self.votes.set_twin(ctx.fence(), false)?;
            self.machine.unmute();
        }
        self.trouble(Trouble::Twin, self.twin.why().map(str::to_owned), ctx);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_only_after_a_restart() {
        let at = Duration::from_secs;
        let twin = Twin::default();
        assert!(twin.why().is_none());
        twin.was_there(at(10));
        assert!(twin.why().is_some() && !twin.has_gone(at(69)));
        assert!(twin.has_gone(at(70)) && twin.why().is_none());
        twin.was_there(at(10));
        twin.seen();
        assert!(!twin.has_gone(at(1_000_000)) && twin.why().is_some(), "it spoke while this one listened");
    }
}
