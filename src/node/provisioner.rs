//! How the L1 of one provisioner is doing, for operators.

use duskevm_messages::{
    consensus::{ConsensusState, ConsensusStep, DuskTip, DuskTipFeed, GetConsensusState},
    da_store::{BlobStatus, GetBlobStatus},
    gossip::PeerFeed,
};
use duskevm_supervision::Port;
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};

/// How long an actor is asked for its figures before they are left out.
const PATIENCE: Duration = Duration::from_millis(500);

/// Without a block for so many block times, and not less than [`LEAST_STANDSTILL`] seconds, L1 stands still.
const LATE_BLOCKS: u64 = 20;
const LEAST_STANDSTILL: u64 = 60;

/// Whom to ask about a provisioner of this process, or about its one node that follows.
#[derive(Debug, Clone)]
pub(super) struct Provisioner {
    /// Name of its consensus actor.
    pub(super) name: Arc<str>,
    /// Its chain.
    pub(super) tip: DuskTipFeed,
    /// Its connections.
    pub(super) peers: PeerFeed,
    /// Its consensus.
    pub(super) state: Port<GetConsensusState>,
    /// Its blobs, if it keeps any.
    pub(super) blobs: Option<Port<GetBlobStatus>>,
}

impl Provisioner {
    /// Asks its actors. Those that do not answer soon are left out.
    pub(super) async fn look(self) -> View {
        let blobs = async {
            match &self.blobs {
                Some(blobs) => blobs.ask_within(GetBlobStatus, PATIENCE).await.ok(),
                None => None,
            }
        };
        let (state, blobs) = futures::join!(self.state.ask_within(GetConsensusState, PATIENCE), blobs);
        let tip = *self.tip.borrow();
        let peers = self.peers.borrow();
        let highest = peers.iter().filter_map(|peer| Some(peer.status?.tip.0)).max();
        View { name: self.name, tip, state: state.ok(), blobs, peers: peers.len(), highest }
    }
}

/// A provisioner at one moment.
#[derive(Debug, Clone)]
pub(super) struct View {
    name: Arc<str>,
    tip: Option<DuskTip>,
    state: Option<ConsensusState>,
    blobs: Option<BlobStatus>,
    peers: usize,
    /// The highest block that a peer says it has.
    highest: Option<u64>,
}

impl View {
    /// What keeps it from taking part, if anything does. `now` in Unix seconds, `block_time` in seconds.
    pub(super) fn obstacle(&self, now: u64, block_time: u64) -> Option<String> {
        let Some(tip) = self.tip else { return Some(format!("{} has no block yet", self.name)) };
        if self.state.is_some_and(|state| state.syncing) {
            let goal = self.highest.map_or_else(String::new, |highest| format!(" of {highest}"));
            return Some(format!("{} fetches blocks from its peers: at block {}{goal}", self.name, tip.height));
        }
        let age = now.saturating_sub(tip.timestamp);
        let late = LEAST_STANDSTILL.max(block_time.saturating_mul(LATE_BLOCKS));
        (age > late).then(|| format!("L1 block {} of {} stands still for {age} s", tip.height, self.name))
    }

    /// As one group of `duskevm status`.
    pub(super) fn json(&self) -> Value {
        let mut all = Map::new();
        all.insert("name".into(), (*self.name).into());
        if let Some(tip) = self.tip {
            all.insert("tip".into(), json!({ "number": tip.height, "hash": tip.hash }));
            all.insert("final".into(), tip.final_height.into());
        }
        if let Some(state) = self.state {
            let step = match state.step {
                ConsensusStep::Proposal => "proposal",
                ConsensusStep::Validation => "validation",
                ConsensusStep::Ratification => "ratification",
            };
            all.insert("round".into(), state.round.into());
            all.insert("iteration".into(), state.iteration.into());
            all.insert("step".into(), step.into());
            all.insert("votes".into(), state.votes.into());
            all.insert("syncing".into(), state.syncing.into());
        }
        all.insert("peers".into(), self.peers.into());
        if let Some(blobs) = self.blobs {
            all.insert("blobs".into(), blobs.stored.into());
            all.insert("blobsMissing".into(), blobs.missing.into());
        }
        Value::Object(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;

    fn view() -> View {
        let tip = DuskTip { height: 5, hash: B256::repeat_byte(7), timestamp: 1_000, final_height: 4 };
        let state =
            ConsensusState { round: 6, iteration: 2, step: ConsensusStep::Validation, votes: true, syncing: false };
        View {
            name: "consensus-2".into(),
            tip: Some(tip),
            state: Some(state),
            blobs: Some(BlobStatus { stored: 12, missing: 1, blocks: 3, oldest: Some(2) }),
            peers: 3,
            highest: Some(90),
        }
    }

    #[test]
    fn what_keeps_a_provisioner_from_taking_part_is_named() {
        let mut view = view();
        assert_eq!(view.obstacle(1_060, 2), None);
        assert_eq!(view.obstacle(1_061, 2).unwrap(), "L1 block 5 of consensus-2 stands still for 61 s");
        assert_eq!(view.obstacle(1_199, 10), None, "twenty blocks");
        assert!(view.obstacle(1_201, 10).is_some());
        view.state = view.state.map(|state| ConsensusState { syncing: true, ..state });
        let behind = view.obstacle(1_000, 2).unwrap();
        assert_eq!(behind, "consensus-2 fetches blocks from its peers: at block 5 of 90");
        view.tip = None;
        assert_eq!(view.obstacle(1_000, 2).unwrap(), "consensus-2 has no block yet");
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut view = view();
        let all = view.json();
        assert_eq!((&all["round"], &all["iteration"], &all["step"]), (&6.into(), &2.into(), &"validation".into()));
        assert_eq!((&all["tip"]["number"], &all["final"], &all["peers"]), (&5.into(), &4.into(), &3.into()));
        assert_eq!((&all["blobs"], &all["blobsMissing"]), (&12.into(), &1.into()));
        (view.tip, view.state, view.blobs) = (None, None, None);
        assert_eq!(view.json(), json!({ "name": "consensus-2", "peers": 3 }));
    }
}
