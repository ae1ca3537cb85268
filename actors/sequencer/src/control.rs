//! What others want of the sequencer: operators and conductors stop and start it, derivation takes the chain back.

use crate::{actor::Sequencer, error::SequencerError, metrics};
use alloy_primitives::B256;
use duskevm_messages::{
    executor::Rewind,
    sequencer::{NotSequencing, ResetRefusal, ResetTo, SetRecovery, StartRefusal, StartSequencing, StopSequencing},
};
use duskevm_supervision::{Context, Handle, Reply};
use std::time::Duration;

/// How long the executor may take to take the chain back: many blocks may have to go, and giving up in between would bring them back.
const RESET_PATIENCE: Duration = Duration::from_secs(120);

/// Who may wait for the end of the sequencer at a time; the oldest gives way.
const MAX_STOPPING: usize = 16;

impl Sequencer {
    /// Somebody else makes the blocks, or nobody.
    pub(crate) fn rest(&self, ctx: &mut Context<Self>) {
        ctx.healthy();
        ctx.waiting("admin_startSequencer: it is stopped");
    }

    /// Is there somebody who wants it to end here? Then it does.
    pub(crate) fn stop_if_asked(&mut self, ctx: &mut Context<Self>) -> Result<bool, SequencerError> {
        if self.stopping.is_empty() {
            return Ok(false);
        }
        self.publish_active(false, ctx)?;
        // Nothing comes of what was planned.
        self.turn.send_modify(|turn| *turn += 1);
        let head = self.ports.heads.borrow().as_ref().map(|heads| heads.latest.hash()).unwrap_or_default();
        tracing::warn!(%head, "the sequencer was stopped by an operator");
        for responder in std::mem::take(&mut self.stopping) {
            responder.send(Ok(head));
        }
        self.rest(ctx);
        Ok(true)
    }

    fn publish_active(&self, active: bool, ctx: &Context<Self>) -> Result<(), SequencerError> {
        ctx.fence().write(|| self.ports.sequencing.send_modify(|sequencing| sequencing.active = active))?;
        metrics::active(active);
        Ok(())
    }

    /// May it begin on this head?
    fn may_start(&self, head: B256) -> Result<(), StartRefusal> {
        if self.ports.sequencing.borrow().active {
            // A conductor takes "already running" for success, and it will not be.
            return Err(if self.stopping.is_empty() { StartRefusal::Running } else { StartRefusal::Stopping });
        }
        let heads = self.ports.heads.borrow();
        let heads = heads.as_ref().ok_or(StartRefusal::NoChain(head))?;
        let (number, hash) = (heads.latest.number(), heads.latest.hash());
        if hash == head { Ok(()) } else { Err(StartRefusal::OtherHead { head: hash, number, received: head }) }
    }
}

impl Handle<StartSequencing> for Sequencer {
    fn handle(
        &mut self,
        message: StartSequencing,
        ctx: &mut Context<Self>,
    ) -> Result<Reply<StartSequencing>, Self::Error> {
        let StartSequencing { head } = message;
        let answer = self.may_start(head);
        if answer.is_ok() {
            self.publish_active(true, ctx)?;
            tracing::warn!(%head, "the sequencer was started by an operator");
            // A reset under way plans when it is done.
            if !self.busy {
                self.plan(ctx)?;
            }
        }
        Ok(Reply::Now(answer))
    }
}

impl Handle<StopSequencing> for Sequencer {
    fn handle(&mut self, _: StopSequencing, ctx: &mut Context<Self>) -> Result<Reply<StopSequencing>, Self::Error> {
        if !self.ports.sequencing.borrow().active {
            return Ok(Reply::Now(Err(NotSequencing)));
        }
        let (reply, responder) = Reply::deferred();
        if self.stopping.len() >= MAX_STOPPING {
            self.stopping.remove(0);
        }
        self.stopping.push(responder);
        if !self.busy {
            // Whatever it waits for, it need not wait any longer.
            self.turn.send_modify(|turn| *turn += 1);
            self.plan(ctx)?;
        }
        Ok(reply)
    }
}

impl Handle<SetRecovery> for Sequencer {
    fn handle(&mut self, message: SetRecovery, ctx: &mut Context<Self>) -> Result<Reply<SetRecovery>, Self::Error> {
        let SetRecovery { on } = message;
        ctx.fence().write(|| self.ports.sequencing.send_modify(|sequencing| sequencing.recovering = on))?;
        tracing::warn!(on, "recovery of the sequencer, without users' transactions, was switched by an operator");
        Ok(Reply::Now(()))
    }
}

impl Handle<ResetTo> for Sequencer {
    fn handle(&mut self, message: ResetTo, ctx: &mut Context<Self>) -> Result<Reply<ResetTo>, Self::Error> {
        let ResetTo { number, hash } = message;
        self.turn.send_modify(|turn| *turn += 1);
        let rewind = self.ports.rewind.clone();
        let (reply, responder) = Reply::deferred();
        ctx.waiting_on("executor", format!("the chain to be taken back to block {number}"));
        self.step(
            async move { rewind.ask_retry(Rewind { to: hash }, RESET_PATIENCE).await },
            ctx,
            move |me, outcome, ctx| {
                let outcome =
                    outcome.map_err(ResetRefusal::from).and_then(|refusal| refusal.map_err(ResetRefusal::from));
                if outcome.is_ok() {
                    me.journal.reset_to(number, hash, ctx.fence())?;
                    tracing::warn!(number, %hash, "the chain was taken back: other blocks will be made above this one");
                    ctx.healthy();
                }
                responder.send(outcome);
                me.plan(ctx)
            },
        );
        Ok(reply)
    }
}
