//! Blocks that others agreed on: checked, stored, told of; and blocks that are taken back.
//!
//! A block goes to the disk in the background. While more of them wait, as when this node catches up, the next one is checked and
//! stored meanwhile, so that several share a flush. Others hear of a block when it is on disk, and the consensus goes on above
//! it, signing, only then.

use std::sync::Arc;
use std::time::Duration;

use duskevm_blobs::{Hash, Verified};
use duskevm_dusk_l1::Attestation;
use duskevm_dusk_l1::block::ExecutedBlock;
use duskevm_dusk_l1::sa::machine::{ApplyFailure, Event};
use duskevm_messages::da_store::KeepBlobs;
use duskevm_messages::gossip::BadAnswer;
use duskevm_store::db::CommitId;
use duskevm_supervision::Context;

use crate::actor::Consensus;
use crate::chain::{Bodies, Reverted, Standing, read_bodies};
use crate::driver::PUBLISH_PAUSE;
use crate::error::ConsensusError;
use crate::health::Trouble;
use crate::work::{Refused, blob_hashes, blobs_at_hand, transactions_of};

/// How long the keeper of blobs is asked before it is asked anew.
const KEEP_BLOBS: Duration = Duration::from_secs(30);

/// Longest pause before it is.
const KEEP_BLOBS_PAUSE: Duration = Duration::from_secs(5);

/// After how long a write that found the disk full is tried again.
const FULL_PAUSE: Duration = Duration::from_secs(2);

/// Blocks that may be on their way to the disk at once: what a crash can take from a node that catches up, and has to be fetched again.
const MOST_QUEUED: usize = 64;

/// A block that was checked with its attestation.
#[derive(Debug)]
pub(crate) struct Accepted {
    block: ExecutedBlock,
    bytes: Arc<[u8]>,
    hashes: Vec<Hash>,
    blobs: Vec<Arc<Verified>>,
}

/// What is on its way to the disk.
#[derive(Debug, Default)]
pub(crate) struct Settling {
    /// The newest commit that nobody waits for yet, and where the chain stands with it.
    newest: Option<(CommitId, Standing)>,
    /// Blocks since the one that is waited for.
    queued: usize,
    /// A worker waits for the disk.
    waiting: bool,
    /// What the consensus is told when everything is there.
    held: Option<Event>,
}

impl Consensus {
    pub(crate) fn apply(
        &mut self,
        bytes: Arc<[u8]>,
        hash: [u8; 32],
        attestation: Attestation,
        ctx: &mut Context<Self>,
    ) {
        let executed = self.executed.get(&hash).cloned();
        let prepared = self.candidates.get(&hash).cloned();
        let known = if executed.is_some() { Default::default() } else { self.known(prepared.as_ref()) };
        let (bls, above) = (self.bls.clone(), self.chain.above());
        let keeps_blobs = self.wiring.blobs.is_some();
        self.working += 1;
        let accept = tokio::task::spawn_blocking(move || -> Result<Accepted, Refused> {
            let block = above.accept(&bls, &bytes, attestation, executed, known)?;
            let hashes = if keeps_blobs { blob_hashes(block.block.txs()) } else { Vec::new() };
            let blobs = match prepared {
                _ if hashes.is_empty() => Vec::new(),
                Some(prepared) => prepared.blobs.clone(),
                None => blobs_at_hand(&block.block),
            };
            Ok(Accepted { block, bytes, hashes, blobs })
        });
        ctx.pipe(accept, move |me, accepted, ctx| {
            me.working -= 1;
            me.accepted(&hash, accepted, ctx)
        });
    }

    fn accepted(
        &mut self,
        hash: &[u8; 32],
        accepted: Result<Result<Accepted, Refused>, tokio::task::JoinError>,
        ctx: &mut Context<Self>,
    ) -> Result<(), ConsensusError> {
        let failure = match accepted {
            Ok(Ok(accepted)) => return self.keep_blobs(accepted, ctx),
            Ok(Err(refused)) => {
                tracing::warn!(%refused, hash = %alloy_primitives::B256::from(*hash), "an L1 block is not taken");
                refused.failure()
            }
            Err(died) => {
                tracing::error!(%died, "the check of an L1 block died");
                ApplyFailure::Outdated
            }
        };
        if failure == ApplyFailure::Invalid {
            self.blame(hash);
        }
        self.feed_when_durable(Event::Applied(Err(failure)), ctx)
    }

    /// Reports the peer that sent a block.
    fn blame(&mut self, hash: &[u8; 32]) {
        if let (Some(network), Some(peer)) = (&self.wiring.network, self.brought.remove(hash)) {
            let _ = network.bad_answer.tell(BadAnswer { peer });
        }
    }

    /// Has the blobs of a block kept, then stores it. As long as they cannot be kept there is no block: a chain whose blobs are
    /// not on disk would be announced to those who need them.
    fn keep_blobs(&mut self, accepted: Accepted, ctx: &mut Context<Self>) -> Result<(), ConsensusError> {
        let Some(blobs) = self.wiring.blobs.clone().filter(|_| !accepted.hashes.is_empty()) else {
            return self.commit(accepted, ctx);
        };
        let header = accepted.block.block.header();
        if self.drops.still_wanted(header.height, &header.hash) {
            // Goes on when the keeper has done what it is about: else that order might be carried out last.
            self.drops.then(accepted);
            return Ok(());
        }
        let keep = KeepBlobs {
            height: header.height,
            block: header.hash,
            blobs: accepted.hashes.clone(),
            sidecars: accepted.blobs.clone(),
        };
        ctx.waiting_on("da-store", format!("the blobs of L1 block {}", header.height));
        let kept = async move {
            let mut pause = PUBLISH_PAUSE;
            while let Err(error) = blobs.keep.ask_retry(keep.clone(), KEEP_BLOBS).await {
                tracing::warn!(%error, "the blobs of an L1 block are not kept yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(KEEP_BLOBS_PAUSE);
            }
        };
        ctx.listen(kept, move |me, (), ctx| me.commit(accepted, ctx));
        Ok(())
    }

    fn commit(&mut self, accepted: Accepted, ctx: &mut Context<Self>) -> Result<(), ConsensusError> {
        let header = accepted.block.block.header();
        let (hash, height, iteration) = (header.hash, header.height, header.iteration);
        if header.prev_block_hash != self.chain.header().hash {
            return self.feed_when_durable(Event::Applied(Err(ApplyFailure::Outdated)), ctx);
        }
        let commit = match self.chain.commit(ctx.fence(), &accepted.block, accepted.bytes.clone()) {
            Ok(commit) => commit,
            Err(error) if error.is_full() => {
                // Nothing was written. The block waits for room, and with it the consensus: above it nothing is signed.
                self.disk_is_full(&error, ctx)?;
                ctx.after(FULL_PAUSE, |me, ctx| me.commit(accepted, ctx));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.trouble(Trouble::Disk, None, ctx);
        self.candidates.retain(|_, kept| kept.block.header().height > height);
        self.executed.retain(|_, kept| kept.block.header().height > height);
        self.brought.remove(&hash);
        tracing::debug!(height, hash = %alloy_primitives::B256::from(hash), iteration, "L1 block");
        self.settling.newest = Some((commit, self.chain.standing()));
        self.settling.queued += 1;
        self.settle(ctx);
        let applied = Event::Applied(Ok(self.chain.tip_info()));
        if self.machine.continues(&hash) && self.settling.queued < MOST_QUEUED {
            return self.feed(applied, ctx);
        }
        self.feed_when_durable(applied, ctx)
    }

    fn disk_is_full(&mut self, error: &ConsensusError, ctx: &mut Context<Self>) -> Result<(), ConsensusError> {
        tracing::warn!(%error, "no room for an L1 block: this node does not vote until there is");
        // Whoever restarts the node meanwhile should find what it waits for.
        self.votes.write_noted(ctx.fence())?;
        self.trouble(Trouble::Disk, Some(format!("it follows no further and does not vote: {error}")), ctx);
        ctx.waiting("room on the disk");
        Ok(())
    }

    /// Tells the consensus something after which it may sign, when all blocks below are on disk.
    fn feed_when_durable(&mut self, event: Event, ctx: &mut Context<Self>) -> Result<(), ConsensusError> {
        if self.settling.waiting {
            self.settling.held = Some(event);
            return Ok(());
        }
        self.feed(event, ctx)
    }

    /// Waits for the disk on a worker thread, and tells others what is there.
    fn settle(&mut self, ctx: &mut Context<Self>) {
        if self.settling.waiting {
            return;
        }
        let Some((commit, standing)) = self.settling.newest.take() else { return };
        self.settling.waiting = true;
        self.settling.queued = 0;
        self.working += 1;
        let store = self.chain.store().clone();
        let durable = tokio::task::spawn_blocking(move || store.wait_durable(commit));
        ctx.pipe(durable, move |me, durable, ctx| {
            me.working -= 1;
            me.settling.waiting = false;
            // Without this nobody would know what is on disk.
            durable.map_err(|died| ConsensusError::Lost(died.to_string()))??;
            me.chain.is_durable(standing);
            me.announce(ctx.fence())?;
            me.votes.forget_below(ctx.fence(), standing.tip.final_height)?;
            ctx.progress(format!("L1 block {}", standing.tip.height));
            me.settle(ctx);
            if !me.settling.waiting
                && let Some(event) = me.settling.held.take()
            {
                me.feed(event, ctx)?;
            }
            Ok(())
        });
    }

    /// Takes blocks back until the one with `hash` is the tip; `reverted` are those that are gone already.
    pub(crate) fn revert_to(
        &mut self,
        hash: [u8; 32],
        mut reverted: Vec<Reverted>,
        ctx: &mut Context<Self>,
    ) -> Result<(), ConsensusError> {
        match self.chain.revert_to(ctx.fence(), &hash, &mut reverted) {
            Ok(true) => {}
            Ok(false) => return self.feed(Event::Reverted(Err(ApplyFailure::Outdated)), ctx),
            Err(error) if error.is_full() => {
                self.disk_is_full(&error, ctx)?;
                ctx.after(FULL_PAUSE, move |me, ctx| me.revert_to(hash, reverted, ctx));
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.trouble(Trouble::Disk, None, ctx);
        self.announce(ctx.fence())?;
        self.candidates.clear();
        self.executed.clear();
        if self.wiring.blobs.is_some() {
            self.drops.add(&reverted);
            self.drop_next(ctx);
        }
        self.revive(ctx);
        self.feed(Event::Reverted(Ok(self.chain.tip_info())), ctx)
    }

    /// Has the keeper let go of the blobs of the next block that was taken back.
    fn drop_next(&mut self, ctx: &mut Context<Self>) {
        let Some((blobs, block)) = self.wiring.blobs.clone().zip(self.drops.next()) else { return };
        let dropped = async move { blobs.drop.ask_retry(block, KEEP_BLOBS).await };
        ctx.listen(dropped, move |me, dropped, ctx| {
            if let Err(error) = dropped {
                // They go with their height's retention.
                tracing::warn!(%error, height = block.height, "blobs of a block that was taken back are still kept");
            }
            let next = me.drops.ended();
            me.drop_next(ctx);
            next.map_or(Ok(()), |accepted| me.keep_blobs(accepted, ctx))
        });
    }

    /// Puts the transactions of blocks that were taken back into the pool again, also of those that an earlier instance took back.
    pub(crate) fn revive(&mut self, ctx: &mut Context<Self>) {
        let hashes = self.chain.to_revive();
        if hashes.is_empty() {
            return;
        }
        let store = self.chain.store().clone();
        let check = tokio::task::spawn_blocking(move || -> Result<Vec<_>, ConsensusError> {
            let bodies: Bodies = read_bodies(&store, hashes)?;
            Ok(bodies.into_iter().map(|(hash, body)| (hash, transactions_of(&body))).collect())
        });
        ctx.pipe(check, |me, blocks, _| {
            me.chain.revive(blocks.map_err(|died| ConsensusError::Worker(died.to_string()))??);
            crate::metrics::mempool(me.chain.mempool().len(), me.chain.mempool().bytes());
            Ok(())
        });
    }
}
