//! The actor: what others ask of it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use duskevm_dusk_l1::block::ExecutedBlock;
use duskevm_dusk_l1::sa::bls::{Bls, DuskBls};
use duskevm_dusk_l1::sa::machine::{Event, Machine, Source, Start, TimerId};
use duskevm_dusk_l1::sa::rules::StepKind;
use duskevm_dusk_l1::sa::timeouts::Timeouts;
use duskevm_dusk_l1::sa::wire::{self, Frame, Inventory, Item};
use duskevm_messages::consensus::{
    ConsensusState, ConsensusStep, DuskBlockByHeight, DuskTip, GetConsensusState, GetDuskAccount, GetDuskSnapshot,
    GetDuskTip, GetDuskTransaction, GetProvisioners, ReadDuskContract, SubmitDuskTransaction, SubmitRefusal,
};
use duskevm_messages::da_store::{DropBlobs, FindBlobBlock, KeepBlobs};
use duskevm_messages::gossip::{Ask, BadAnswer, Fault, GossipFrame, Judged, PeerFeed, Publish, ServeFrames, Verdict};
use duskevm_p2p::{PeerId, PeerStatus};
use duskevm_store::l1::L1Store;
use duskevm_supervision::{
    Actor, ChildSpec, Context, Fence, FenceError, Generation, Handle, Port, Ref, Reply, StartContext, Timer,
};
use tokio::sync::{Semaphore, watch};

use crate::apply::{Accepted, Settling};
use crate::chain::{Chain, Settings, read_block};
use crate::checks::Checks;
use crate::clock::ClockWatch;
use crate::driver::Pending;
use crate::drops::Drops;
use crate::error::ConsensusError;
use crate::finals::Finals;
use crate::health::Troubles;
use crate::ingress;
use crate::mark::Mark;
use crate::metrics;
use crate::peers::Numbers;
use crate::serve::{self, BlobBlocks, MAX_FRAMES, Part};
use crate::submit::{Origin, Submissions};
use crate::twin::Twin;
use crate::votes::Votes;
use crate::work::{Prepared, encode_transaction, envelope};

/// What connects the actor with the rest of the node.
#[derive(Debug, Clone)]
pub struct Wiring {
    /// The L1 database, which the node opens: an abandoned instance of the actor must not keep its file lock.
    pub store: L1Store,
    /// Folder of the journal of own messages.
    pub votes: PathBuf,
    /// File, apart from the data, that notes that the key has begun to sign: a node whose data are deleted in the first round cannot
    /// sign anew there. `None` where the key lives no longer than the data.
    pub mark: Option<PathBuf>,
    /// Where the tip is published.
    pub tip: watch::Sender<Option<DuskTip>>,
    /// Other nodes; `None` where there are none.
    pub network: Option<Network>,
    /// The keeper of blobs; without it blob transactions are refused.
    pub blobs: Option<Blobs>,
}

/// The way to other nodes.
#[derive(Debug, Clone)]
pub struct Network {
    /// Spreads a message.
    pub publish: Port<Publish>,
    /// Asks a peer.
    pub ask: Port<Ask>,
    /// Takes verdicts on messages.
    pub judged: Port<Judged>,
    /// Reports a peer.
    pub bad_answer: Port<BadAnswer>,
    /// Who is connected.
    pub peers: PeerFeed,
    /// What peers are told about this node.
    pub status: watch::Sender<Option<PeerStatus>>,
}

/// The way to the keeper of blobs.
#[derive(Debug, Clone)]
pub struct Blobs {
    /// Keeps those of a block.
    pub keep: Port<KeepBlobs>,
    /// Lets go of those of a block.
    pub drop: Port<DropBlobs>,
    /// For how many final blocks they are kept; `None` for ever.
    pub keep_blocks: Option<u64>,
}

/// How the actor is made and supervised.
pub fn spec(actor: &Ref<Consensus>, settings: Settings, wiring: Wiring) -> ChildSpec<Consensus> {
    let (watch, twin) = (Arc::new(ClockWatch::default()), Arc::new(Twin::default()));
    ChildSpec::new(actor, move |start| {
        Ok(Consensus::open(settings.clone(), wiring.clone(), watch.clone(), twin.clone(), &start)?)
    })
    .mailbox(ingress::MAILBOX)
    .deadline(ingress::DEADLINE)
}

/// The consensus actor. See the crate's documentation.
#[derive(Debug)]
pub struct Consensus {
    pub(crate) chain: Chain,
    pub(crate) machine: Machine<DuskBls>,
    pub(crate) bls: Arc<DuskBls>,
    pub(crate) votes: Votes,
    pub(crate) wiring: Wiring,
    pub(crate) watch: Arc<ClockWatch>,
    pub(crate) twin: Arc<Twin>,
    pub(crate) troubles: Troubles,
    pub(crate) finals: Finals,
    pub(crate) settling: Settling,
    pub(crate) drops: Drops<Accepted>,
    /// Time zero of the consensus' timers.
    pub(crate) began: Instant,
    pub(crate) timers: BTreeMap<TimerId, Timer>,
    /// What the consensus has not been told yet.
    pub(crate) events: VecDeque<Event>,
    pub(crate) feeding: bool,
    /// Workers that build, judge or execute a block.
    pub(crate) working: u32,
    /// It takes part. Until then messages of the consensus are of no use.
    pub(crate) begun: bool,
    /// A block that is to be built when its time comes.
    pub(crate) order: Option<Pending>,
    pub(crate) checks: Checks,
    pub(crate) submissions: Submissions,
    pub(crate) numbers: Numbers,
    /// Candidates above the tip, by hash.
    pub(crate) candidates: HashMap<[u8; 32], Arc<Prepared>>,
    /// Blocks above the tip that were made or judged here, by hash.
    pub(crate) executed: HashMap<[u8; 32], Arc<ExecutedBlock>>,
    /// Who sent the blocks that wait to be applied.
    pub(crate) brought: HashMap<[u8; 32], PeerId>,
    blob_blocks: Arc<parking_lot::Mutex<BlobBlocks>>,
    /// Blocks are decoded for the blob API one at a time.
    decoding: Arc<Semaphore>,
}

impl Consensus {
    /// Opens the chain at its stored tip.
    fn open(
        settings: Settings,
        wiring: Wiring,
        watch: Arc<ClockWatch>,
        twin: Arc<Twin>,
        start: &StartContext,
    ) -> Result<Self, ConsensusError> {
        metrics::describe();
        let chain = Chain::open(settings, wiring.store.clone(), &start.fence)?;
        // Later instances compare with what the first one saw of the clock.
        if start.generation <= Generation(1) {
            chain.check_clock()?;
        }
        let mark = wiring.mark.as_ref().filter(|_| chain.settings().signer.is_some());
        let mark = mark.map(|path| Mark::new(path.clone(), &chain.settings().genesis.identity().0));
        let votes = Votes::open(&wiring.votes, mark.as_ref(), &start.fence)?;
        if start.generation <= Generation(1) && votes.has_twin() {
            twin.was_there(chain.uptime());
        }
        let times = chain.rules().times;
        let stored = wiring.store.timeouts()?.and_then(|bytes| Timeouts::decode(times, &bytes).ok());
        let bls = Arc::new(DuskBls::default());
        let me = chain.settings().signer.as_ref().map(|signer| bls.id(signer));
        let machine_start = Start {
            tip: chain.tip_info(),
            ballots: votes.ballots().clone(),
            timeouts: stored.unwrap_or_else(|| Timeouts::new(times)),
            resume: votes.resume(),
            journal_lost: votes.was_lost(),
            signed_before: votes.signed_before(),
            awaited: votes.awaited(),
        };
        let mut machine = Machine::new(bls.clone(), chain.rules().clone(), me, machine_start);
        if twin.why().is_some() {
            machine.mute();
        }
        let tip = chain.tip();
        tracing::info!(height = tip.height, hash = %tip.hash, final_height = tip.final_height, "L1 opened");
        Ok(Self {
            chain,
            machine,
            bls,
            votes,
            wiring,
            watch,
            twin,
            troubles: Troubles::default(),
            finals: Finals::default(),
            settling: Settling::default(),
            drops: Drops::default(),
            began: Instant::now(),
            timers: BTreeMap::new(),
            events: VecDeque::new(),
            feeding: false,
            working: 0,
            begun: false,
            order: None,
            checks: Checks::default(),
            submissions: Submissions::default(),
            numbers: Numbers::default(),
            candidates: HashMap::new(),
            executed: HashMap::new(),
            brought: HashMap::new(),
            blob_blocks: Arc::default(),
            decoding: Arc::new(Semaphore::new(1)),
        })
    }

    pub(crate) fn announce(&self, fence: &Fence) -> Result<(), FenceError> {
        let tip = self.chain.told();
        publish(&self.wiring.tip, Some(tip), fence)?;
        if let Some(network) = &self.wiring.network {
            let keep_blobs = self.wiring.blobs.as_ref().and_then(|blobs| blobs.keep_blocks);
            publish(&network.status, Some(self.chain.status(keep_blobs)), fence)?;
        }
        metrics::tip(tip.height, tip.final_height);
        metrics::mempool(self.chain.mempool().len(), self.chain.mempool().bytes());
        Ok(())
    }
}

/// An instance that hung and was replaced must not set a feed back to its own tip.
fn publish<T>(feed: &watch::Sender<T>, value: T, fence: &Fence) -> Result<(), FenceError> {
    fence.write(|| {
        feed.send_replace(value);
    })
}

impl Actor for Consensus {
    type Error = ConsensusError;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Self::Error> {
        self.announce(ctx.fence())?;
        self.revive(ctx);
        self.begin_when_connected(ctx)?;
        self.tick(ctx)
    }

    fn stopping(&mut self, ctx: &mut Context<Self>) {
        if let Err(error) = self.keep_times(&self.machine.times(), ctx.fence()) {
            tracing::debug!(%error, "the step times were not kept");
        }
    }
}

impl Handle<SubmitDuskTransaction> for Consensus {
    fn handle(
        &mut self,
        msg: SubmitDuskTransaction,
        ctx: &mut Context<Self>,
    ) -> Result<Reply<SubmitDuskTransaction>, ConsensusError> {
        let (reply, responder) = Reply::deferred();
        if let Err(Origin::Here(responder)) = self.submissions.put(msg.bytes, Origin::Here(responder)) {
            metrics::submitted("busy");
            responder.send(Err(SubmitRefusal::Busy { waiting: self.submissions.len() }));
        }
        self.check_next(ctx);
        Ok(reply)
    }
}

impl Handle<GossipFrame> for Consensus {
    fn handle(&mut self, msg: GossipFrame, ctx: &mut Context<Self>) -> Result<Reply<GossipFrame>, ConsensusError> {
        let GossipFrame { token, peer, bytes, .. } = msg;
        match wire::decode(&bytes, &wire::Limits::default()) {
            Err(error) => {
                tracing::debug!(%peer, %error, "a message that does not decode");
                self.judged(token, Verdict::Reject(Fault::Garbage));
            }
            Ok(Frame::Tx(payload)) => match envelope(&payload) {
                Some(envelope) => {
                    if self.submissions.put(envelope.to_vec().into(), Origin::Peer(token)).is_err() {
                        self.judged(token, Verdict::Ignore);
                    }
                    self.check_next(ctx);
                }
                None => self.judged(token, Verdict::Reject(Fault::Garbage)),
            },
            // Blocks come as answers; one that is spread only says that its sender is there.
            Ok(Frame::Block(_)) => self.judged(token, Verdict::Ignore),
            Ok(frame) if frame.step().is_some() && !self.begun => self.judged(token, Verdict::Ignore),
            Ok(frame) if frame.step().is_some() => {
                let from = Source { peer: self.numbers.of(peer), token: Some(into_token(token)) };
                self.judge(from, frame, ctx)?;
            }
            // Questions are asked of one peer.
            Ok(_) => self.judged(token, Verdict::Reject(Fault::Garbage)),
        }
        Ok(Reply::Now(()))
    }
}

/// A token of the network as the consensus names it.
fn into_token(token: duskevm_messages::gossip::Token) -> duskevm_dusk_l1::sa::machine::Token {
    duskevm_dusk_l1::sa::machine::Token(token.0)
}

impl Handle<ServeFrames> for Consensus {
    fn handle(&mut self, msg: ServeFrames, ctx: &mut Context<Self>) -> Result<Reply<ServeFrames>, ConsensusError> {
        let parts = match wire::decode(&msg.frame, &wire::Limits::default()) {
            Ok(Frame::GetResource(request)) => self.resources(&request.inventory),
            Ok(Frame::GetBlocks { locator, .. }) => vec![Part::After(locator)],
            Ok(Frame::GetMempool { .. }) => {
                let ids = self.chain.mempool().ids().take(1000);
                let items = ids.map(|id| Item::Transaction(*id)).collect();
                vec![Part::Frame(Frame::Inv(Inventory { items, max_entries: 0 }).into())]
            }
            Ok(_) | Err(_) => Vec::new(),
        };
        if parts.is_empty() {
            return Ok(Reply::Now(Vec::new()));
        }
        let (store, told) = (self.chain.store().clone(), self.chain.told().height);
        let read = tokio::task::spawn_blocking(move || serve::read_parts(&store, told, parts));
        let (reply, responder) = Reply::deferred();
        ctx.pipe(read, move |_, frames, _| {
            responder.send(frames.map_err(|died| ConsensusError::Worker(died.to_string()))??);
            Ok(())
        });
        Ok(reply)
    }
}

impl Consensus {
    fn resources(&self, inventory: &Inventory) -> Vec<Part> {
        let most = match inventory.max_entries {
            0 => MAX_FRAMES,
            most => MAX_FRAMES.min(most.into()),
        };
        let frame = |want| self.machine.answer(&want).map(|frame| Part::Frame(frame.into()));
        // The same one twice is asked for by nobody honest; what is large is encoded by the worker.
        let mut transactions = MAX_TRANSACTIONS;
        let mut part = |item: &Item| match *item {
            Item::Transaction(id) => {
                let tx = self.chain.mempool().get(&id)?;
                transactions = transactions.checked_sub(1)?;
                Some(Part::Frame(Frame::Tx(encode_transaction(tx)?).into()))
            }
            Item::Height(height) => Some(Part::Height(height)),
            Item::Block(hash) => Some(Part::Hash(hash)),
            Item::Candidate(hash) => {
                Some(Part::Frame(Frame::Candidate(self.machine.candidate_with(&hash)?.clone()).into()))
            }
            Item::CandidateOf(header) => frame(duskevm_dusk_l1::sa::machine::Want::CandidateOf(header)),
            Item::ValidationOf(header) => frame(duskevm_dusk_l1::sa::machine::Want::Validation(header)),
        };
        let mut items: Vec<&Item> = Vec::new();
        for item in inventory.items.iter().take(2 * MAX_FRAMES) {
            if !items.contains(&item) {
                items.push(item);
            }
        }
        items.into_iter().filter_map(&mut part).take(most).collect()
    }
}

impl Handle<FindBlobBlock> for Consensus {
    fn handle(&mut self, msg: FindBlobBlock, ctx: &mut Context<Self>) -> Result<Reply<FindBlobBlock>, ConsensusError> {
        let (store, cache, decoding) = (self.chain.store().clone(), self.blob_blocks.clone(), self.decoding.clone());
        let told = self.chain.told();
        let (reply, responder) = Reply::deferred();
        let find = async move {
            let _turn = decoding.acquire_owned().await;
            tokio::task::spawn_blocking(move || serve::blob_block(&store, told, msg.id, &cache)).await
        };
        // Listened to: many that wait for their turn are no reason to take this actor for hung.
        ctx.listen(find, move |_, block, _| {
            responder.send(block.map_err(|died| ConsensusError::Worker(died.to_string()))??);
            Ok(())
        });
        Ok(reply)
    }
}

impl Handle<GetConsensusState> for Consensus {
    fn handle(
        &mut self,
        _: GetConsensusState,
        _: &mut Context<Self>,
    ) -> Result<Reply<GetConsensusState>, ConsensusError> {
        let view = self.machine.view();
        Ok(Reply::Now(ConsensusState {
            round: view.round,
            iteration: view.iteration,
            step: match view.kind {
                StepKind::Proposal => ConsensusStep::Proposal,
                StepKind::Validation => ConsensusStep::Validation,
                StepKind::Ratification => ConsensusStep::Ratification,
            },
            votes: self.machine.votes(),
            syncing: self.machine.is_syncing(),
        }))
    }
}

impl Handle<GetProvisioners> for Consensus {
    fn handle(&mut self, _: GetProvisioners, _: &mut Context<Self>) -> Result<Reply<GetProvisioners>, ConsensusError> {
        Ok(Reply::Now(self.chain.provisioners()))
    }
}

impl Handle<GetDuskTip> for Consensus {
    fn handle(&mut self, _: GetDuskTip, _: &mut Context<Self>) -> Result<Reply<GetDuskTip>, ConsensusError> {
        Ok(Reply::Now(self.chain.told()))
    }
}

impl Handle<GetDuskAccount> for Consensus {
    fn handle(&mut self, msg: GetDuskAccount, _: &mut Context<Self>) -> Result<Reply<GetDuskAccount>, ConsensusError> {
        Ok(Reply::Now(self.chain.account_for_others(&msg.account)?))
    }
}

impl Handle<GetDuskTransaction> for Consensus {
    fn handle(
        &mut self,
        msg: GetDuskTransaction,
        _: &mut Context<Self>,
    ) -> Result<Reply<GetDuskTransaction>, ConsensusError> {
        Ok(Reply::Now(self.chain.transaction(&msg.id.0)?))
    }
}

impl Handle<GetDuskSnapshot> for Consensus {
    fn handle(
        &mut self,
        msg: GetDuskSnapshot,
        _: &mut Context<Self>,
    ) -> Result<Reply<GetDuskSnapshot>, ConsensusError> {
        Ok(Reply::Now(self.chain.snapshot(&msg)?))
    }
}

impl Handle<ReadDuskContract> for Consensus {
    fn handle(
        &mut self,
        msg: ReadDuskContract,
        _: &mut Context<Self>,
    ) -> Result<Reply<ReadDuskContract>, ConsensusError> {
        let answer = self.chain.read_contract(&msg.contract.0, &msg.method, &msg.args)?;
        Ok(Reply::Now(answer.map(Into::into)))
    }
}

impl Handle<DuskBlockByHeight> for Consensus {
    fn handle(
        &mut self,
        msg: DuskBlockByHeight,
        ctx: &mut Context<Self>,
    ) -> Result<Reply<DuskBlockByHeight>, ConsensusError> {
        if msg.height > self.chain.told().height {
            return Ok(Reply::Now(None));
        }
        if let Some(block) = self.chain.recent(msg.height) {
            return Ok(Reply::Now(Some(block)));
        }
        let store = self.chain.store().clone();
        let read = tokio::task::spawn_blocking(move || read_block(&store, msg.height));
        let (reply, responder) = Reply::deferred();
        ctx.pipe(read, move |_, block, _| {
            responder.send(block.map_err(|died| ConsensusError::Worker(died.to_string()))??);
            Ok(())
        });
        Ok(reply)
    }
}

/// Transactions of the pool in one answer: each may be a megabyte.
const MAX_TRANSACTIONS: usize = 16;

/// How long a request to another actor of this node may take before it is given up.
pub(crate) const LOCAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;
    use duskevm_supervision::Gate;

    #[test]
    fn a_replaced_instance_publishes_nothing() {
        let feed = watch::Sender::new(None);
        let tip = |height| Some(DuskTip { height, hash: B256::ZERO, timestamp: 0, final_height: 0 });
        let gate = Gate::new("consensus");
        let old = gate.advance(Duration::ZERO).unwrap();
        publish(&feed, tip(1), &old).unwrap();
        let new = gate.advance(Duration::ZERO).unwrap();
        publish(&feed, tip(2), &new).unwrap();
        assert!(matches!(publish(&feed, tip(1), &old), Err(FenceError::Stale { .. })));
        assert_eq!(feed.borrow().unwrap().height, 2);
    }
}
