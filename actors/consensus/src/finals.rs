//! Two final blocks at one height: noticed, proven and answered by stopping.
//!
//! Peers say which block they hold for final. One that names another block than the own one, at a height that is final here, is
//! asked where its chain leaves the own one and for the blocks from there on. If their attestations make the first of
//! them final, more than a third of the stake has signed for both, and this node does not go on: see
//! [`ConsensusError::TwoFinal`]. A claim without that proof changes nothing, since any peer can make it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use duskevm_dusk_l1::sa::bls::DuskBls;
use duskevm_dusk_l1::sa::fork;
use duskevm_dusk_l1::sa::machine::{SyncBlock, Want};
use duskevm_dusk_l1::sa::provisioners::Provisioners;
use duskevm_dusk_l1::sa::rules::Rules;
use duskevm_messages::gossip::{Ask, BadAnswer};
use duskevm_p2p::PeerId;
use duskevm_store::l1::L1Store;
use duskevm_supervision::{Context, Port};

use crate::actor::Consensus;
use crate::chain::read_block;
use crate::error::ConsensusError;
use crate::metrics;
use crate::requests::{Found, ask_peer};

/// Least distance of two inquiries.
const PAUSE: Duration = Duration::from_secs(5);

/// Blocks of the other chain that are looked at: a block that was reached after fifty failed iterations needs a hundred above it.
const BRANCH: u64 = 128;

/// Blocks of one question.
const WINDOW: u64 = 64;

/// What peers have claimed.
#[derive(Debug, Default)]
pub(crate) struct Finals {
    /// The newest claim of each peer that was looked at.
    seen: HashMap<PeerId, (u64, [u8; 32])>,
    /// An inquiry is under way.
    asking: bool,
    /// Time on the actor's clock before which no other begins.
    pause_until: Duration,
}

/// What an inquiry works with. A snapshot.
struct Inquiry {
    ask: Port<Ask>,
    peer: PeerId,
    /// Height at which the peer names another block.
    claimed: u64,
    store: L1Store,
    bls: Arc<DuskBls>,
    rules: Rules,
    /// Stakes after the newest blocks, ascending.
    stakes: Vec<(u64, Arc<Provisioners>)>,
}

/// What came of one.
enum Outcome {
    /// The peer did not answer, or has nothing.
    Silence,
    /// Its blocks prove nothing. With the stakes of the block below known, so that it should have.
    Unproven { height: u64, certain: bool },
    /// Both are final.
    Proven { height: u64, own: [u8; 32], other: [u8; 32] },
}

impl Inquiry {
    async fn blocks(&self, from: u64, to: u64) -> Option<Vec<SyncBlock>> {
        match ask_peer(&self.ask, self.peer, Want::Range { from, to }).await {
            Found::Answer { blocks, .. } if blocks.first().is_some_and(|block| block.header.height == from) => {
                Some(blocks)
            }
            _ => None,
        }
    }

    fn is_own(&self, block: &SyncBlock) -> Result<bool, ConsensusError> {
        Ok(self.store.block_height(&block.header.hash)? == Some(block.header.height))
    }

    async fn run(self) -> Result<Outcome, ConsensusError> {
        // The genesis block is everybody's.
        let (mut same, mut other) = (0, self.claimed);
        while other - same > 1 {
            let middle = same + (other - same) / 2;
            let Some(blocks) = self.blocks(middle, middle).await else { return Ok(Outcome::Silence) };
            let Some(block) = blocks.first() else { return Ok(Outcome::Silence) };
            if self.is_own(block)? { same = middle } else { other = middle }
        }
        let mut branch: Vec<SyncBlock> = Vec::new();
        while (branch.len() as u64) < BRANCH {
            let from = other + branch.len() as u64;
            let Some(blocks) = self.blocks(from, from + WINDOW - 1).await else { break };
            branch.extend(blocks);
        }
        let Some(first) = branch.first() else { return Ok(Outcome::Silence) };
        if self.is_own(first)? {
            // The claim was wrong, or the own chain has changed.
            return Ok(Outcome::Silence);
        }
        let found = first.header.hash;
        let check = tokio::task::spawn_blocking(move || self.check(same, found, &branch));
        check.await.map_err(|died| ConsensusError::Worker(died.to_string()))?
    }

    fn check(self, same: u64, other: [u8; 32], branch: &[SyncBlock]) -> Result<Outcome, ConsensusError> {
        let height = same + 1;
        let (Some(parent), Some(own)) = (read_block(&self.store, same)?, read_block(&self.store, height)?) else {
            return Ok(Outcome::Silence);
        };
        // Of older blocks the stakes are not known any more. Those of today differ in little, if in anything.
        let known = self.stakes.iter().find(|(at, _)| *at == same);
        let Some((at, provisioners)) = known.or(self.stakes.first()) else { return Ok(Outcome::Silence) };
        Ok(if fork::is_final(&*self.bls, &self.rules, &parent.header, provisioners, branch) {
            Outcome::Proven { height, own: own.header.hash, other }
        } else {
            Outcome::Unproven { height, certain: *at == same && branch.len() as u64 >= BRANCH }
        })
    }
}

impl Consensus {
    /// Compares what peers hold for final with the own chain.
    pub(crate) fn compare_finals(&mut self, ctx: &mut Context<Self>) -> Result<(), ConsensusError> {
        let Some(network) = &self.wiring.network else { return Ok(()) };
        let now = self.began.elapsed();
        if self.finals.asking || now < self.finals.pause_until {
            return Ok(());
        }
        let (peers, last_final) = (network.peers.borrow().clone(), self.chain.told().final_height);
        let claims = peers.iter().filter_map(|peer| Some((peer.id, peer.status?.finalized)));
        let claims: HashMap<PeerId, (u64, [u8; 32])> = claims.collect();
        self.finals.seen.retain(|peer, seen| claims.get(peer) == Some(&*seen));
        for (peer, (height, hash)) in claims {
            // What is above is looked at when this node is there.
            if height == 0 || height > last_final || self.finals.seen.contains_key(&peer) {
                continue;
            }
            self.finals.seen.insert(peer, (height, hash));
            if self.chain.store().block_height(&hash)? == Some(height) {
                continue;
            }
            tracing::warn!(%peer, height, hash = %alloy_primitives::B256::from(hash), "a peer holds another L1 block for final");
            metrics::other_final();
            let inquiry = Inquiry {
                ask: network.ask.clone(),
                peer,
                claimed: height,
                store: self.chain.store().clone(),
                bls: self.bls.clone(),
                rules: self.chain.rules().clone(),
                stakes: self.chain.stakes_after(),
            };
            self.finals.asking = true;
            ctx.listen(inquiry.run(), move |me, outcome, _| {
                me.finals.asking = false;
                me.finals.pause_until = me.began.elapsed() + PAUSE;
                me.inquired(peer, outcome?)
            });
            break;
        }
        Ok(())
    }

    fn inquired(&self, peer: PeerId, outcome: Outcome) -> Result<(), ConsensusError> {
        match outcome {
            Outcome::Silence => tracing::debug!(%peer, "what a peer holds for final is not to be had"),
            Outcome::Unproven { height, certain } => {
                tracing::warn!(%peer, height, "a peer has another L1 block, and nothing that makes it final");
                if let (true, Some(network)) = (certain, &self.wiring.network) {
                    let _ = network.bad_answer.tell(BadAnswer { peer });
                }
            }
            Outcome::Proven { height, own, other } => {
                return Err(ConsensusError::TwoFinal { height, own: own.into(), other: other.into(), peer });
            }
        }
        Ok(())
    }
}
