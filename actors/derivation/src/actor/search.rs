//! Where to begin: the heads that L1 still supports.

use super::{Derivation, Deriving, LONG_PATIENCE, Obstacle, PATIENCE, Phase, empty::EmptyBatches};
use crate::{
    chain::l1_ref,
    error::DerivationError,
    metrics,
    seek::{Found, Seek, Wanted, id},
    state::Ports,
};
use alloy_eips::BlockNumHash;
use duskevm_messages::{
    executor::{ChainHeads, NoteSafeHead, Rewind, SetLabels},
    l1::ViewBlockByNumber,
    sequencer::ResetTo,
};
use duskevm_rollup::{BlockId, L2Heads, derive::Pipeline};
use duskevm_supervision::Context;

impl Derivation {
    pub(super) fn begin(&mut self, heads: &ChainHeads, ctx: &mut Context<Self>) -> Result<(), DerivationError> {
        metrics::reset();
        // What was read is read again from further below.
        ctx.fence().write(|| self.ports.current_l1.send_if_modified(|l1| l1.take().is_some()))?;
        let reference = |hash| self.chain.reference(hash);
        // What is safe comes first: where that is of another network nothing is given up.
        let (safe, finalized) = (reference(heads.safe.hash)?, reference(heads.finalized.hash)?);
        let unsafe_head = match reference(heads.latest.hash()) {
            Ok(unsafe_head) => unsafe_head,
            Err(error) => return self.give_up_unsafe(error, ctx),
        };
        let (Some(unsafe_head), Some(safe), Some(finalized)) = (unsafe_head, safe, finalized) else {
            return self.wait_out(&Obstacle::Moved(heads.latest.number()), ctx);
        };
        let seek = Seek::begin(&self.chain, L2Heads { unsafe_head, safe, finalized })?;
        self.phase = Phase::Seeking(Box::new(seek));
        self.seek(ctx)
    }

    pub(super) fn seek(&mut self, ctx: &mut Context<Self>) -> Result<(), DerivationError> {
        let Phase::Seeking(seek) = &mut self.phase else { return Ok(()) };
        match seek.step(&self.chain) {
            Ok(Wanted::L1(number)) => {
                let port = self.ports.l1_by_number.clone();
                ctx.waiting_on("l1", format!("L1 block {number}, to see which L2 blocks it supports"));
                let asked = async move { port.ask_within(ViewBlockByNumber { number }, PATIENCE).await };
                ctx.pipe(asked, move |me, answer, ctx| {
                    let block = match answer {
                        Ok(block) => block.map(|block| l1_ref(&block)),
                        Err(error) => return me.wait_out(&error.into(), ctx),
                    };
                    let Phase::Seeking(seek) = &mut me.phase else { return Ok(()) };
                    if let Err(error) = seek.provide(&me.chain, number, block) {
                        return me.seek_failed(error, ctx);
                    }
                    me.moved_on(format!("L1 block {number} looked at"), ctx);
                    me.plan(ctx)
                });
                Ok(())
            }
            Ok(Wanted::Again) => {
                self.again();
                self.plan_soon(ctx);
                Ok(())
            }
            Ok(Wanted::Done(found)) => self.take_back(*found, ctx),
            Err(error) => self.seek_failed(error, ctx),
        }
    }

    fn seek_failed(&mut self, error: DerivationError, ctx: &mut Context<Self>) -> Result<(), DerivationError> {
        match error {
            DerivationError::Sync(duskevm_rollup::SyncError::L1Moved(number)) => {
                self.again();
                self.wait_out(&Obstacle::UnknownL1(number), ctx)
            }
            error => self.give_up_unsafe(error, ctx),
        }
    }

    /// Goes on without the unsafe blocks if one of them is what the search cannot get over; any other failure is handed back. The
    /// signature of the sequencer vouches for unsafe blocks and may be misused; only what L1 supports is kept then.
    pub(super) fn give_up_unsafe(
        &mut self,
        error: DerivationError,
        ctx: &mut Context<Self>,
    ) -> Result<(), DerivationError> {
        let heads = self.ports.heads.borrow().clone();
        let Some(safe) = heads.map(|heads| heads.safe) else { return Err(error) };
        let Some(number) = error.block().filter(|number| *number > safe.number) else { return Err(error) };
        tracing::warn!(%error, number, safe = safe.number, "an unsafe L2 block that cannot be of this rollup: the chain goes back to the safe block");
        metrics::foreign();
        ctx.waiting_on("executor", format!("the chain to go back to safe block {}", safe.number));
        let ports = self.ports.clone();
        let taken = async move { ports.take_back(safe).await };
        ctx.pipe(taken, |me, taken, ctx| {
            me.again();
            match taken {
                Ok(()) => {
                    // Never at once: the block may come again.
                    let pause = me.pause.take();
                    me.plan_after(pause, ctx);
                    Ok(())
                }
                Err(obstacle) => me.wait_out(&obstacle, ctx),
            }
        });
        Ok(())
    }

    /// Takes the chain to the heads that were found, then begins to read.
    fn take_back(&mut self, found: Found, ctx: &mut Context<Self>) -> Result<(), DerivationError> {
        let heads = self.ports.heads.borrow().clone();
        let Some(heads) = heads else { return self.plan(ctx) };
        let (safe, unsafe_head) = (found.heads.safe, found.heads.unsafe_head);
        let ports = self.ports.clone();
        // Blocks that came while the search went on stand on those that it looked at: only what it condemned is dropped.
        let drop_unsafe = unsafe_head.hash != found.began_at.hash;
        let note = NoteSafeHead {
            at: found.note.map(|note| {
                let id = |block: duskevm_store::l2::BlockRef| BlockNumHash { number: block.number, hash: block.hash };
                (id(note.l1), id(note.l2))
            }),
        };
        if drop_unsafe {
            tracing::warn!(
                from = heads.latest.number(),
                to = unsafe_head.number,
                "L1 does not support the newest L2 blocks"
            );
        }
        ctx.waiting_on("executor", format!("the chain to stand at safe block {}", safe.number));
        let taken = async move {
            // The label first: no block that counts as safe is dropped.
            let labels = SetLabels { safe: Some(safe.hash), finalized: None };
            ports.set_labels.ask_within(labels, LONG_PATIENCE).await??;
            ports.note_safe_head.ask_within(note, LONG_PATIENCE).await?;
            if drop_unsafe {
                ports.take_back(id(&unsafe_head)).await?;
            }
            Ok::<_, Obstacle>(())
        };
        ctx.pipe(taken, move |me, taken, ctx| {
            if let Err(obstacle) = taken {
                me.again();
                return me.wait_out(&obstacle, ctx);
            }
            let Some(block) = me.chain.block(safe.hash)? else {
                me.again();
                return me.wait_out(&Obstacle::Moved(safe.number), ctx);
            };
            let head = me.chain.head(&block)?;
            me.finalizer.reset(&safe);
            let mut pipeline = Pipeline::new(me.settings.rollup.clone());
            let settled = found.note.map(|note| BlockId { number: note.l1.number, hash: note.l1.hash });
            pipeline.reset(head, settled);
            tracing::info!(safe = safe.number, origin = safe.l1_origin.number, "derivation begins");
            me.phase = Phase::Deriving(Box::new(Deriving {
                pipeline,
                safe: head,
                unlabelled: 0,
                empty: EmptyBatches::default(),
                note_from: found.note.map(|note| note.l1.number.saturating_add(1)),
                reading: None,
                untold: None,
                note: None,
                noted: None,
            }));
            me.moved_on(format!("begins at safe block {}", safe.number), ctx);
            me.plan(ctx)
        });
        Ok(())
    }
}

impl Ports {
    /// Makes an ancestor of the head the head again. Blocks that this node's own sequencer announced are its to take back.
    async fn take_back(&self, to: BlockNumHash) -> Result<(), Obstacle> {
        match &self.reset_to {
            Some(sequencer) => {
                let reset = ResetTo { number: to.number, hash: to.hash };
                sequencer.ask_retry(reset, LONG_PATIENCE).await??;
            }
            None => self.rewind.ask_retry(Rewind { to: to.hash }, LONG_PATIENCE).await??,
        }
        Ok(())
    }
}
