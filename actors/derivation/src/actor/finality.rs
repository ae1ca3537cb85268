//! The finalized head, from the finality of L1.

use super::{Derivation, LONG_PATIENCE, Obstacle, PATIENCE};
use crate::error::DerivationError;
use duskevm_messages::{executor::SetLabels, l1::ViewBlockByNumber};
use duskevm_rollup::{L1BlockRef, finality};
use duskevm_supervision::Context;

impl Derivation {
    pub(super) fn final_candidate(&self) -> Option<(L1BlockRef, finality::Derived)> {
        let heads = (*self.ports.l1_heads.borrow())?;
        let finalized = L1BlockRef {
            hash: heads.finalized.hash,
            number: heads.finalized.number,
            parent_hash: heads.finalized.parent_hash,
            timestamp: heads.finalized.timestamp,
        };
        self.finalizer.candidate(&finalized).map(|candidate| (finalized, candidate))
    }

    /// Moves the finalized label, if L1 still has the block that the candidate was derived from.
    pub(super) fn finalize(
        &mut self,
        finalized: L1BlockRef,
        candidate: finality::Derived,
        ctx: &mut Context<Self>,
    ) -> Result<(), DerivationError> {
        let (port, set_labels) = (self.ports.l1_by_number.clone(), self.ports.set_labels.clone());
        let number = candidate.l1.number;
        ctx.waiting_on("executor", format!("block {} to be finalized", candidate.l2.number));
        let asked = async move {
            if number < finalized.number {
                let found = port.ask_within(ViewBlockByNumber { number }, PATIENCE).await?;
                let found = found.ok_or(Obstacle::UnknownL1(number))?;
                if found.hash() != candidate.l1.hash {
                    return Ok(false);
                }
            }
            let labels = SetLabels { safe: None, finalized: Some(candidate.l2.hash) };
            set_labels.ask_retry(labels, LONG_PATIENCE).await??;
            Ok::<_, Obstacle>(true)
        };
        ctx.pipe(asked, move |me, done, ctx| match done {
            Ok(true) => {
                me.finalizer.finalized(&candidate);
                me.moved_on(format!("finalized {}", candidate.l2.number), ctx);
                me.plan(ctx)
            }
            Ok(false) => {
                me.finalizer.orphaned(&candidate);
                me.plan(ctx)
            }
            Err(obstacle @ Obstacle::Refused(_)) => {
                // The block is not there any more: it will be derived again.
                me.finalizer.orphaned(&candidate);
                me.again();
                me.wait_out(&obstacle, ctx)
            }
            Err(obstacle) => me.wait_out(&obstacle, ctx),
        });
        Ok(())
    }
}
