//! What the pipeline lacks: L1 blocks, blobs, L2 blocks.

use super::{BLOB_PATIENCE, Derivation, Obstacle, PATIENCE, Phase};
use crate::{
    chain::{l1_block, l1_ref},
    error::DerivationError,
};
use alloy_primitives::{B256, Bytes};
use duskevm_l1_view::ViewBlock;
use duskevm_messages::{da_store::FindBlobs, l1::ViewBlockByNumber};
use duskevm_rollup::{
    BlockId, L1BlockRef,
    derive::{BlobRef, Input, Need},
};
use duskevm_supervision::Context;
use std::sync::Arc;

impl Derivation {
    pub(super) fn answer(&mut self, need: Need, ctx: &mut Context<Self>) -> Result<(), DerivationError> {
        match need {
            Need::L2Block { number } => match self.chain.block_at(number)? {
                Some(block) => {
                    let head = self.chain.head(&block)?;
                    self.give(Input::L2Block(Box::new(head)), ctx)
                }
                None => {
                    self.again();
                    self.wait_out(&Obstacle::Moved(number), ctx)
                }
            },
            Need::L2Batch { number } => match self.chain.block_at(number)? {
                Some(block) => {
                    let batch = Box::new(self.chain.batch(&block)?);
                    self.give(Input::L2Batch { number, batch }, ctx)
                }
                None => {
                    self.again();
                    self.wait_out(&Obstacle::Moved(number), ctx)
                }
            },
            Need::NextL1Block { number, parent } => {
                let latest = self.ports.l1_heads.borrow().map_or(0, |heads| heads.latest.number);
                if number <= latest { self.ask_l1(number, ctx) } else { self.caught_up(number, parent, ctx) }
            }
            Need::L1Block { number, .. } => self.ask_l1(number, ctx),
            Need::Blobs { block, blobs } => self.ask_blobs(&block, blobs, ctx),
        }
    }

    fn give(&mut self, input: Input, ctx: &mut Context<Self>) -> Result<(), DerivationError> {
        let Phase::Deriving(now) = &mut self.phase else { return Ok(()) };
        match now.pipeline.provide(input) {
            Ok(()) => {
                self.plan_soon(ctx);
                Ok(())
            }
            Err(error) => self.wait_out(&error.into(), ctx),
        }
    }

    fn ask_l1(&mut self, number: u64, ctx: &mut Context<Self>) -> Result<(), DerivationError> {
        let (port, rollup) = (self.ports.l1_by_number.clone(), self.settings.rollup.clone());
        ctx.waiting_on("l1", format!("L1 block {number}"));
        let asked = async move {
            let found = port.ask_within(ViewBlockByNumber { number }, PATIENCE).await?;
            let found = found.ok_or(Obstacle::UnknownL1(number))?;
            Ok::<_, Obstacle>(read(rollup, found).await)
        };
        ctx.pipe(asked, |me, block, ctx| match block {
            Ok(block) => {
                me.moved_on(format!("L1 block {} read", block.block_ref().number), ctx);
                me.give(Input::L1Block(block), ctx)
            }
            Err(obstacle) => me.wait_out(&obstacle, ctx),
        });
        Ok(())
    }

    fn ask_blobs(
        &mut self,
        block: &L1BlockRef,
        blobs: Vec<BlobRef>,
        ctx: &mut Context<Self>,
    ) -> Result<(), DerivationError> {
        let Some(port) = self.ports.blobs.clone() else {
            return self.wait_out(&Obstacle::NoBlobStore(block.number), ctx);
        };
        let number = block.number;
        let hashes: Vec<_> = blobs.iter().map(|blob| blob.versioned_hash.0).collect();
        ctx.waiting_on("da-store", format!("{} blobs of L1 block {number}", hashes.len()));
        let asked = async move {
            let find = FindBlobs { hashes: hashes.clone(), height: number, within: BLOB_PATIENCE };
            let found = port.ask_within(find, BLOB_PATIENCE + PATIENCE).await?;
            let missing = hashes.iter().zip(&found).find(|(_, blob)| blob.is_none());
            if let Some((hash, _)) = missing {
                return Err(Obstacle::MissingBlob { hash: B256::from(*hash), block: number });
            }
            Ok(found.into_iter().flatten().map(|blob| Bytes::copy_from_slice(&blob.sidecar().data[..])).collect())
        };
        ctx.pipe(asked, move |me, found: Result<Vec<Bytes>, Obstacle>, ctx| match found {
            Ok(blobs) => {
                me.moved_on(format!("blobs of L1 block {number} read"), ctx);
                me.give(Input::Blobs(blobs), ctx)
            }
            // The block may not be a part of L1 any more: then nobody will ever have them.
            Err(obstacle) => me.check_l1(number, Some(obstacle), ctx),
        });
        Ok(())
    }

    /// Nothing more can be derived. Settles what is open, then waits for L1.
    fn caught_up(&mut self, next: u64, _parent: B256, ctx: &mut Context<Self>) -> Result<(), DerivationError> {
        if let Phase::Deriving(now) = &mut self.phase {
            // Before anything is finalized: after a restart derivation begins at a note that is not below the finalized block, and
            // without one it would judge batches again.
            now.note_read();
        }
        if self.settle(ctx)? {
            return Ok(());
        }
        let Phase::Deriving(now) = &self.phase else { return Ok(()) };
        let safe = now.safe.block;
        let heads = self.ports.heads.borrow().clone();
        if heads.is_some_and(|heads| heads.safe.number < safe.number) {
            // The executor was restarted and lost blocks.
            self.again();
            self.plan_soon(ctx);
            return Ok(());
        }
        match self.unchecked_origin() {
            Ok(Some((head, origin))) => return self.check_origin(head, origin, ctx),
            Ok(None) => {}
            Err(error) => return self.give_up_unsafe(error, ctx),
        }
        ctx.waiting_on("l1", format!("L1 block {next} (safe head {})", safe.number));
        self.watch_l1(ctx)
    }

    /// Tells the executor what was derived, and what of it is final; is there something to tell?
    pub(super) fn settle(&mut self, ctx: &mut Context<Self>) -> Result<bool, DerivationError> {
        let Phase::Deriving(now) = &self.phase else { return Ok(false) };
        if now.unlabelled > 0 || now.note.is_some() {
            self.tell_executor(ctx)?;
        } else if let Some((finalized, candidate)) = self.final_candidate() {
            self.finalize(finalized, candidate, ctx)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// The newest L1 head and the origin of the newest L2 block, unless they are known to fit, or L1 is not that far.
    fn unchecked_origin(&self) -> Result<Option<(B256, BlockId)>, DerivationError> {
        let (latest, l1) = (self.ports.heads.borrow().clone(), *self.ports.l1_heads.borrow());
        let (Some(latest), Some(l1)) = (latest, l1) else { return Ok(None) };
        let Some(block) = self.chain.reference(latest.latest.hash())? else { return Ok(None) };
        let (head, origin) = (l1.latest.hash, block.l1_origin);
        let open = origin.number <= l1.latest.number && self.fits != Some((head, origin.hash));
        Ok(open.then_some((head, origin)))
    }

    /// Begins anew if L1 has another block than the origin of the newest L2 block. The search lets blocks stand whose origin L1 does
    /// not have yet: while L1 is being replaced that may be one which it will never have again.
    fn check_origin(&mut self, head: B256, origin: BlockId, ctx: &mut Context<Self>) -> Result<(), DerivationError> {
        let port = self.ports.l1_by_number.clone();
        let number = origin.number;
        ctx.waiting_on("l1", format!("L1 block {number}, the origin of the newest L2 block"));
        let asked = async move { port.ask_within(ViewBlockByNumber { number }, PATIENCE).await };
        ctx.pipe(asked, move |me, answer, ctx| match answer {
            Ok(Some(block)) if block.hash() != origin.hash => {
                tracing::warn!(number, hash = %origin.hash, "L1 has replaced the origin of the newest L2 block");
                me.again();
                me.plan_soon(ctx);
                Ok(())
            }
            Ok(Some(_)) => {
                me.fits = Some((head, origin.hash));
                me.plan(ctx)
            }
            Ok(None) => me.wait_out(&Obstacle::UnknownL1(number), ctx),
            Err(error) => me.wait_out(&error.into(), ctx),
        });
        Ok(())
    }

    /// Waits for L1 to move, and looks whether what was read of it still stands.
    pub(super) fn watch_l1(&mut self, ctx: &mut Context<Self>) -> Result<(), DerivationError> {
        let (mut l1, mut l2) = (self.ports.l1_heads.clone(), self.ports.heads.clone());
        let safe = match &self.phase {
            Phase::Deriving(now) => now.safe.block.number,
            Phase::Idle | Phase::Seeking(_) => 0,
        };
        let wake = self.wake.clone();
        let news = async move {
            let lost = l2.wait_for(|heads| heads.as_ref().is_some_and(|heads| heads.safe.number < safe));
            tokio::select! {
                () = wake.notified() => true,
                changed = l1.changed() => changed.is_ok(),
                changed = lost => changed.is_ok(),
            }
        };
        ctx.listen(news, |me, alive, ctx| {
            if !alive {
                return Ok(());
            }
            if !me.resetting.is_empty() {
                return me.plan(ctx);
            }
            let Phase::Deriving(now) = &me.phase else { return me.plan(ctx) };
            let latest = me.ports.l1_heads.borrow().map_or(u64::MAX, |heads| heads.latest.number);
            match now.pipeline.origin() {
                // What was read was replaced by fewer blocks: what still stands is looked for at once.
                Some(origin) if origin.number > latest => {
                    tracing::warn!(read = origin.number, latest, "L1 is shorter than what was read of it");
                    me.again();
                    me.plan_soon(ctx);
                    Ok(())
                }
                Some(origin) => me.check_l1(origin.number, None, ctx),
                None => me.plan(ctx),
            }
        });
        Ok(())
    }

    /// Tells the pipeline what L1 has at a number, then goes on, or waits out the obstacle.
    fn check_l1(
        &mut self,
        number: u64,
        obstacle: Option<Obstacle>,
        ctx: &mut Context<Self>,
    ) -> Result<(), DerivationError> {
        let port = self.ports.l1_by_number.clone();
        let asked = async move { port.ask_within(ViewBlockByNumber { number }, PATIENCE).await };
        ctx.pipe(asked, move |me, answer, ctx| {
            let block = match answer {
                Ok(block) => block,
                Err(error) => return me.wait_out(&error.into(), ctx),
            };
            if let (Phase::Deriving(now), Some(block)) = (&mut me.phase, block) {
                now.pipeline.check_l1(&l1_ref(&block));
            }
            match obstacle {
                Some(obstacle) => me.wait_out(&obstacle, ctx),
                None => me.plan(ctx),
            }
        });
        Ok(())
    }
}

/// Reads an L1 block beside the mailbox: the senders of its batches are recovered.
async fn read(
    rollup: Arc<duskevm_rollup::RollupConfig>,
    block: Arc<ViewBlock>,
) -> Box<duskevm_rollup::derive::L1Block> {
    Box::new(l1_block(&rollup, &block))
}
