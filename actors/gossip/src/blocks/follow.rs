//! What a follower does: imports what it received, and asks peers for what lies between.

use std::sync::Arc;
use std::time::Duration;

use alloy_eips::BlockNumHash;
use duskevm_evm::Block;
use duskevm_messages::executor::{ExecutorRefusal, Import};
use duskevm_messages::l1::ViewBlockByNumber;
use duskevm_p2p::Deed;
use duskevm_rollup::l1_origin_of;
use duskevm_supervision::{AskError, Context, Port};
use duskevm_unsafe_gossip::Effect;
use duskevm_unsafe_gossip::by_number::Answer;
use duskevm_unsafe_gossip::queue::{Conduct, Imported, Response};
use duskevm_unsafe_gossip::rules::check_content;
use libp2p::PeerId;
use tokio::task::spawn_blocking;
use tracing::{debug, warn};

use super::actor::{BlockGossip, READING, id};
use super::host::NoAnswer;
use super::metrics;
use super::settings::BlockGossipSettings;

/// How long the executor may take over a block.
const EXECUTION: Duration = Duration::from_secs(25);

impl BlockGossip {
    /// Does what the queue wants done.
    pub(super) fn pump(&mut self, ctx: &mut Context<Self>) {
        let now = self.now();
        let Some(import) = self.settings.role.follows() else { return };
        let chain = self.settings.chain.clone();
        let Some(queue) = &mut self.queue else { return };
        let effects = queue.next(now, |number| chain.hash(number));
        metrics::queue(queue.len(), queue.bytes(), queue.highest());
        for effect in effects {
            match effect {
                Effect::Import(block) => self.import(&import, block, ctx),
                Effect::Ask { peer, number } => self.ask(peer, number, ctx),
            }
        }
    }

    fn import(&mut self, port: &Port<Import>, block: Arc<Block>, ctx: &mut Context<Self>) {
        let (port, imported) = (port.clone(), id(&block));
        let (l1, fits) = (self.settings.l1_by_number.clone(), self.fits);
        let head = self.settings.signer.l1_heads.borrow().map(|heads| heads.latest.hash);
        // A block that names no origin is none of the rollup, which the executor says.
        let origin = l1_origin_of(&block).ok();
        let answer = async move {
            if let Some(origin) = origin
                && (head.is_none() || fits != head.map(|head| (head, origin.hash)))
            {
                // Where L1 has no such block yet, or does not answer, there is nothing against it.
                let asked = l1.ask_within(ViewBlockByNumber { number: origin.number }, READING).await;
                if asked.ok().flatten().is_some_and(|found| found.hash() != origin.hash) {
                    return Err(origin);
                }
            }
            Ok((origin, port.ask_within(Import { block }, EXECUTION).await))
        };
        ctx.listen(answer, move |gossip, answer, ctx| {
            let (outcome, label) = match &answer {
                Ok((_, answer)) => imported_as(answer),
                Err(_) => (Imported::Later, "origin_replaced"),
            };
            metrics::imported(label);
            match answer {
                // Its peers forwarded it before they could know, as this node did: nobody but the signer is to blame.
                Ok((_, Ok(Err(ExecutorRefusal::Invalid(why))))) => {
                    let BlockNumHash { number, hash } = imported;
                    warn!(number, %hash, %why, "the sequencer signed an invalid block");
                }
                Ok((_, Ok(Err(refusal)))) => debug!(%refusal, "an unsafe block was not imported"),
                Ok((origin, Ok(Ok(())))) => gossip.fits = head.zip(origin.map(|origin| origin.hash)),
                Ok((_, Err(_))) => {}
                // L1 was reorganized, and the sequencer has not seen it yet, or this node's L1 will come back to it. Until then
                // derivation would take the block out of the chain again.
                Err(origin) => {
                    let (block, number, hash) = (imported.number, origin.number, origin.hash);
                    debug!(block, number, %hash, "L1 has another block than the origin of an unsafe block: it waits");
                }
            }
            let now = gossip.now();
            if let Some(queue) = &mut gossip.queue {
                queue.imported(imported, outcome, now);
            }
            gossip.pump(ctx);
            Ok(())
        });
    }

    fn ask(&mut self, peer: PeerId, number: u64, ctx: &mut Context<Self>) {
        let (control, settings) = (self.control.clone(), self.settings.clone());
        let answer = async move {
            let bytes = control.ask(peer, number).await?;
            // Decompressing, hashing and recovering senders takes a while.
            Ok(spawn_blocking(move || read(&bytes, &settings)).await.unwrap_or(Response::None))
        };
        ctx.listen(answer, move |gossip, answer: Result<Response, NoAnswer>, ctx| {
            let (response, silent) = match answer {
                Ok(response) => (response, false),
                Err(failure) => (Response::None, failure == NoAnswer::Silent),
            };
            let now = gossip.now();
            let Some(queue) = &mut gossip.queue else { return Ok(()) };
            let (label, deed) = match queue.answered(peer, number, response, now) {
                Conduct::Useful => ("block", Some(Deed::GoodAnswer)),
                Conduct::Nothing if silent => ("silent", Some(Deed::NoAnswer)),
                Conduct::Nothing => ("nothing", None),
                Conduct::Other => ("other_block", Some(Deed::NoAnswer)),
                Conduct::Wrong => ("wrong", Some(Deed::BadAnswer)),
            };
            metrics::asked(label);
            if let Some(deed) = deed {
                gossip.control.deed(peer, deed);
            }
            gossip.pump(ctx);
            Ok(())
        });
    }
}

/// What the queue is told of an import, and the name for it in metrics.
fn imported_as(answer: &Result<Result<(), ExecutorRefusal>, AskError>) -> (Imported, &'static str) {
    match answer {
        Ok(Ok(())) => (Imported::Done, "done"),
        Ok(Err(ExecutorRefusal::Invalid(_))) => (Imported::Invalid, "invalid"),
        Ok(Err(
            ExecutorRefusal::BelowSafe { .. }
            | ExecutorRefusal::BelowFinalized { .. }
            | ExecutorRefusal::BelowHistory { .. },
        )) => (Imported::Settled, "settled"),
        Ok(Err(
            ExecutorRefusal::UnknownParent { .. }
            | ExecutorRefusal::NotTheHead { .. }
            | ExecutorRefusal::NotPending(_)
            | ExecutorRefusal::UnknownBlock(_),
        )) => (Imported::Later, "moved"),
        Err(_) => (Imported::Later, "no_executor"),
    }
}

/// Reads what a peer answered.
fn read(bytes: &[u8], settings: &BlockGossipSettings) -> Response {
    match Answer::decode(bytes) {
        Ok(Answer::Payload(payload)) => {
            let checked = check_content(&payload, &settings.spec).and_then(|()| Ok(payload.to_block()?));
            checked.map_or(Response::Wrong, |block| Response::Block(Arc::new(block), payload.size()))
        }
        Ok(Answer::Unavailable | Answer::Invalid | Answer::Failed(_)) => Response::None,
        Err(_) => Response::Wrong,
    }
}
