//! The blocks that L1 prescribes: consolidated with the chain, or built.

use super::{Derivation, Deriving, LONG_PATIENCE, Obstacle, Phase, TURN, TURN_TIME, UNLABELLED};
use crate::{error::DerivationError, metrics, seek::id};
use alloy_eips::BlockNumHash;
use duskevm_evm::Block;
use duskevm_messages::executor::{Derive, Derived, ExecutorRefusal, NoteSafeHead, SetLabels};
use duskevm_rollup::{
    L1BlockRef,
    consolidation::matches,
    derive::{DerivedAttributes, Notice, Step},
};
use duskevm_supervision::Context;
use std::{sync::Arc, time::Instant};

impl Derivation {
    pub(super) fn derive(&mut self, ctx: &mut Context<Self>) -> Result<(), DerivationError> {
        let begun = Instant::now();
        for _ in 0..TURN {
            if begun.elapsed() > TURN_TIME {
                break;
            }
            let Phase::Deriving(now) = &mut self.phase else { return Ok(()) };
            let is_told = now.unlabelled == 0;
            if now.note.is_some() || now.unlabelled >= UNLABELLED || (now.untold.is_some() && !is_told) {
                return self.tell_executor(ctx);
            }
            if let Some(l1) = now.untold.take() {
                ctx.fence().write(|| self.ports.current_l1.send_replace(Some(told(&l1))))?;
            }
            let step = now.pipeline.step(&now.safe);
            for notice in now.pipeline.take_notices() {
                if let Notice::EmptyBatch { epoch } = notice {
                    now.empty.announce(epoch);
                }
                note(&notice);
            }
            match step {
                Step::Working => {}
                Step::Advanced(l1) => {
                    now.advanced(&l1);
                    ctx.progress(format!("reads L1 block {}", l1.number));
                }
                Step::Attributes(attributes) => {
                    now.empty.give(attributes.parent.hash);
                    if !self.consolidate(&attributes, ctx)? {
                        return self.build(attributes, ctx);
                    }
                }
                Step::Need(need) => return self.answer(need, ctx),
                Step::Reset(reason) => {
                    tracing::warn!(%reason, "derivation begins anew");
                    self.again();
                    self.plan_soon(ctx);
                    return Ok(());
                }
                Step::Stuck(error) => {
                    if self.settle(ctx)? {
                        return Ok(());
                    }
                    ctx.degraded(format!("L1 holds what no L2 block can be made of: {error}"));
                    ctx.waiting_on("l1", error.to_string());
                    return self.watch_l1(ctx);
                }
            }
        }
        // What a turn has read is read: the watchdog need not think that nothing moves.
        if let Phase::Deriving(now) = &self.phase
            && let Some(l1) = now.pipeline.origin()
        {
            ctx.progress(format!("reads L1 block {}", l1.number));
        }
        self.plan_soon(ctx);
        Ok(())
    }

    /// Is the block of these attributes in the chain already? Then it is safe as it is.
    fn consolidate(
        &mut self,
        attributes: &DerivedAttributes,
        ctx: &mut Context<Self>,
    ) -> Result<bool, DerivationError> {
        let Some(block) = self.chain.block_at(attributes.parent.number.saturating_add(1))? else { return Ok(false) };
        match matches(&self.settings.spec, attributes, &block) {
            Ok(()) => {
                metrics::block("consolidated");
                self.safe_is(&block, attributes, ctx)?;
                Ok(true)
            }
            Err(mismatch) => {
                tracing::info!(number = block.number(), hash = %block.hash(), %mismatch, "L1 has another block");
                Ok(false)
            }
        }
    }

    fn safe_is(
        &mut self,
        block: &Block,
        from: &DerivedAttributes,
        ctx: &mut Context<Self>,
    ) -> Result<(), DerivationError> {
        let head = self.chain.head(block)?;
        let Phase::Deriving(now) = &mut self.phase else { return Ok(()) };
        now.safe = head;
        now.empty.take(from.parent.hash);
        now.unlabelled += 1;
        now.note_from.get_or_insert(from.derived_from.number);
        self.finalizer.derived(&from.derived_from, &head.block);
        self.moved_on(format!("safe head {}", head.block.number), ctx);
        Ok(())
    }

    /// Lets the executor make the block.
    fn build(&mut self, attributes: Arc<DerivedAttributes>, ctx: &mut Context<Self>) -> Result<(), DerivationError> {
        let Phase::Deriving(now) = &self.phase else { return Ok(()) };
        if now.unlabelled > 0 {
            return self.tell_executor(ctx);
        }
        let (number, parent) = (attributes.parent.number.saturating_add(1), attributes.parent.hash);
        let port = self.ports.derive.clone();
        ctx.waiting_on("executor", format!("block {number}, which L1 prescribes"));
        let asked = {
            let attributes = attributes.clone();
            async move {
                // Signatures are recovered here, beside the mailbox.
                let whole = attributes.clone();
                let recovered = tokio::task::spawn_blocking(move || whole.block_attributes());
                let (first, otherwise) = match recovered.await {
                    Ok(Ok(block)) => {
                        let deposits = (!attributes.is_deposits_only()).then(|| attributes.deposits_only());
                        (Some(block), deposits)
                    }
                    Ok(Err(error)) => {
                        tracing::info!(number, %error, "a batch holds what is no transaction");
                        (None, Some(attributes.deposits_only()))
                    }
                    Err(_) => return Err(Obstacle::Moved(number)),
                };
                let derive = Derive { parent, attributes: first, otherwise };
                Ok(port.ask_retry(derive, LONG_PATIENCE).await??)
            }
        };
        ctx.pipe(asked, move |me, outcome: Result<Derived, Obstacle>, ctx| match outcome {
            Ok(derived) => me.built(&derived, &attributes, ctx),
            Err(Obstacle::Refused(ExecutorRefusal::Invalid(why))) => {
                // Not even the deposits make a block. Only another L1 helps.
                ctx.degraded(format!("L1 prescribes block {number}, and it cannot be executed: {why}"));
                ctx.waiting_on("l1", format!("another L1 block than {}", attributes.origin.number));
                me.watch_l1(ctx)
            }
            Err(Obstacle::Refused(refusal)) => {
                // The chain is not what it was a moment ago.
                me.again();
                me.wait_out(&refusal.into(), ctx)
            }
            Err(obstacle) => me.wait_out(&obstacle, ctx),
        });
        Ok(())
    }

    fn built(
        &mut self,
        derived: &Derived,
        from: &DerivedAttributes,
        ctx: &mut Context<Self>,
    ) -> Result<(), DerivationError> {
        let Derived { block, invalid, replaced } = derived;
        metrics::replaced(*replaced);
        metrics::block(if invalid.is_some() { "deposits_only" } else { "derived" });
        self.safe_is(block, from, ctx)?;
        if let Phase::Deriving(now) = &mut self.phase {
            // The executor has moved the label itself.
            now.unlabelled = 0;
            if let Some(why) = invalid {
                tracing::warn!(number = block.number(), %why, "the batch is invalid: deposits only, and its channel is given up");
                now.pipeline.flush_channel();
            }
        }
        self.plan(ctx)
    }

    /// Labels and notes, in this order.
    pub(super) fn tell_executor(&mut self, ctx: &mut Context<Self>) -> Result<(), DerivationError> {
        let Phase::Deriving(now) = &mut self.phase else { return Ok(()) };
        let safe = (now.unlabelled > 0).then_some(now.safe.block.hash);
        let (note, number) = (now.note, now.safe.block.number);
        let (set_labels, note_safe_head) = (self.ports.set_labels.clone(), self.ports.note_safe_head.clone());
        ctx.waiting_on("executor", format!("safe block {number} to be noted"));
        let told = async move {
            if safe.is_some() {
                set_labels.ask_retry(SetLabels { safe, finalized: None }, LONG_PATIENCE).await??;
            }
            if note.is_some() {
                note_safe_head.ask_retry(NoteSafeHead { at: note }, LONG_PATIENCE).await?;
            }
            Ok::<_, Obstacle>(())
        };
        ctx.pipe(told, move |me, told, ctx| match told {
            Ok(()) => {
                if let Phase::Deriving(now) = &mut me.phase {
                    now.note = None;
                    now.unlabelled = 0;
                }
                me.moved_on(format!("safe head {number}"), ctx);
                me.plan(ctx)
            }
            Err(obstacle @ Obstacle::Refused(_)) => {
                me.again();
                me.wait_out(&obstacle, ctx)
            }
            Err(obstacle) => me.wait_out(&obstacle, ctx),
        });
        Ok(())
    }
}

impl Deriving {
    /// Another L1 block is read. What the one before came to is to be noted, unless more is known of it already.
    fn advanced(&mut self, next: &L1BlockRef) {
        metrics::l1_block(next.number);
        self.note_read();
        self.reading = Some(*next);
        self.untold = Some(*next);
    }

    /// All that the L1 block holds is read: which block is safe after it is to be noted, once.
    pub(super) fn note_read(&mut self) {
        if let Some(read) = self.reading
            && self.noted != Some(read.hash)
            && self.note_from.is_some_and(|from| read.number >= from)
        {
            let l1 = BlockNumHash { number: read.number, hash: read.hash };
            (self.note, self.noted) = (Some((l1, id(&self.safe.block))), Some(read.hash));
        }
    }
}

/// An L1 block as the messages have it.
const fn told(block: &L1BlockRef) -> duskevm_messages::l1::L1BlockRef {
    let L1BlockRef { hash, number, parent_hash, timestamp } = *block;
    duskevm_messages::l1::L1BlockRef { hash, number, parent_hash, timestamp }
}

/// What L1 holds that no block comes of.
fn note(notice: &Notice) {
    let kind = match notice {
        Notice::ConfigUpdate(_) => "config_update",
        Notice::Blob { .. } => "blob",
        Notice::Frames(_) => "frames",
        Notice::Frame { .. } => "frame",
        Notice::ChannelTimedOut(_) => "channel_timeout",
        Notice::ChannelReplaced(_) => "channel_replaced",
        Notice::ChannelTooLarge(_) => "channel_too_large",
        Notice::Compression(_) => "compression",
        Notice::ChannelEnded(_) => "channel_ended",
        Notice::BatchPast => "batch_past",
        Notice::BatchDropped(_) => "batch_dropped",
        Notice::BatchUndecided(_) => "batch_undecided",
        Notice::SpanDropped(_) => "span_dropped",
        Notice::EmptyBatch { .. } => "empty_batch",
    };
    metrics::notice(kind);
    match notice {
        Notice::EmptyBatch { epoch } => {
            tracing::warn!(
                epoch,
                "no batch was on L1 within the sequencing window: the next block holds deposits only"
            );
        }
        // The rest of a span batch that is known already comes again after every reset.
        Notice::BatchPast => tracing::debug!(?notice, "batcher data that no block comes of"),
        _ => tracing::info!(?notice, "batcher data that no block comes of"),
    }
}
