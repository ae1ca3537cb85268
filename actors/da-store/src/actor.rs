//! The actor that keeps blobs: handlers, pruning, the search for missing blobs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use duskevm_blobs::{Hash, Verified, kzg, versioned_hash};
use duskevm_messages::consensus::DuskTipFeed;
use duskevm_messages::da_store::{
    BlobName, BlobsOfBlock, DropBlobs, FindBlobs, FoundBlob, GetBlob, GetBlobStatus, KeepBlobs,
};
use duskevm_messages::gossip::{Ask, BadAnswer, ServeBlobs};
use duskevm_p2p::SidecarBytes;
use duskevm_store::blobs::{BlobStore, BlobStoreError};
use duskevm_supervision::{Actor, ChildSpec, Context, Handle, Message, Port, Ref, Reply, Responder, Timer};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use crate::error::DaStoreError;
use crate::fetch::{self, fetch};
use crate::ingress;
use crate::metrics;
use crate::state::{Keeper, read_blob};

/// What is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// For how many final blocks blobs are kept; `None` keeps them for ever.
    pub keep_blocks: Option<u64>,
}

/// The way to other nodes.
#[derive(Debug, Clone)]
pub struct Peers {
    /// Asks one.
    pub ask: Port<Ask>,
    /// Reports one.
    pub bad_answer: Port<BadAnswer>,
}

/// What connects the actor with the rest of the node.
#[derive(Debug, Clone)]
pub struct Wiring {
    /// The blob database, which the node opens: an abandoned instance of the actor must not keep its file lock.
    pub store: BlobStore,
    /// Where the L1 chain stands. Its final height moves the retention.
    pub tip: DuskTipFeed,
    /// Other nodes; `None` where there are none.
    pub peers: Option<Peers>,
}

/// How the actor is made and supervised.
pub fn spec(actor: &Ref<DaStore>, settings: Settings, wiring: Wiring) -> ChildSpec<DaStore> {
    ChildSpec::new(actor, move |_| Ok(DaStore::open(settings, wiring.clone())?))
        .mailbox(ingress::MAILBOX)
        .deadline(ingress::DEADLINE)
}

/// The actor that keeps blobs. See the crate's documentation.
#[derive(Debug)]
pub struct DaStore {
    keeper: Keeper,
    wiring: Wiring,
    /// Blobs whose records were damaged and that were not found again yet.
    damaged: BTreeSet<Hash>,
    /// The missing blob that was looked for last: the next look begins behind it, so that one that nobody has does not
    /// stand in the way of the others.
    looked: Hash,
    /// When the next look begins; `None` while one is under way.
    next_look: Option<Timer>,
}

impl DaStore {
    fn open(settings: Settings, wiring: Wiring) -> Result<Self, DaStoreError> {
        metrics::describe();
        let keeper = Keeper::open(wiring.store.clone(), settings.keep_blocks)?;
        let status = keeper.status();
        info!(stored = status.stored, missing = status.missing, blocks = status.blocks, "blobs opened");
        // The setup takes up to seconds, once in a process: before the first blob has to wait for it.
        let warm = std::thread::Builder::new().name("kzg-setup".to_owned()).spawn(kzg::warm_up);
        if let Err(error) = warm {
            warn!(%error, "no thread for loading the KZG setup: the first check loads it");
        }
        Ok(Self { keeper, wiring, damaged: BTreeSet::new(), looked: Hash::default(), next_look: None })
    }

    fn final_height(&self) -> u64 {
        self.wiring.tip.borrow().map_or(0, |tip| tip.final_height)
    }

    /// Prunes a little, or waits for the next final block.
    fn follow(&mut self, ctx: &mut Context<Self>) -> Result<(), DaStoreError> {
        let mut feed = self.wiring.tip.clone();
        let final_height = feed.borrow_and_update().map_or(0, |tip| tip.final_height);
        match self.keeper.prune(final_height, ingress::PRUNE, ctx.fence()) {
            Ok(true) => {
                ctx.progress(format!("blobs pruned up to final L1 block {final_height}"));
                self.settle(ctx);
                ctx.after(Duration::from_millis(1), Self::follow);
            }
            Ok(false) => {
                ctx.waiting("blobs to keep, and L1 blocks to become final");
                let next = async move { feed.changed().await.is_ok() };
                // The end of the feed is the end of the node.
                ctx.listen(next, |me, goes_on, ctx| if goes_on { me.follow(ctx) } else { Ok(()) });
            }
            Err(full @ DaStoreError::Full(_)) => {
                ctx.degraded(full.to_string());
                ctx.after(ingress::FULL_PAUSE, Self::follow);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Begins the next look after a while, unless one is under way.
    fn look_after(&mut self, pause: Duration, ctx: &mut Context<Self>) {
        if self.wiring.peers.is_some()
            && let Some(timer) = self.next_look.replace(ctx.after(pause, Self::look))
        {
            timer.cancel();
        }
    }

    /// Something is missing that was not before: look soon.
    fn look_soon(&mut self, ctx: &mut Context<Self>) {
        if self.next_look.is_some() {
            self.look_after(ingress::LOOK_SOON, ctx);
        }
    }

    /// Looks for some of the missing blobs.
    fn look(&mut self, ctx: &mut Context<Self>) -> Result<(), DaStoreError> {
        let Some(peers) = self.wiring.peers.clone() else { return Ok(()) };
        let claims = self.keeper.claims();
        let behind = || claims.missing().filter(|hash| **hash > self.looked);
        let wanted: BTreeSet<_> = behind().chain(claims.missing()).take(fetch::AT_ONCE).copied().collect();
        let last = behind().take(fetch::AT_ONCE).last().copied();
        // A peer that keeps the blobs of the oldest of these blocks keeps those of all.
        let Some(height) = wanted.iter().filter_map(|hash| claims.newest_block_with(hash)).min() else {
            self.look_after(ingress::LOOK, ctx);
            return Ok(());
        };
        self.looked = last.unwrap_or_default();
        self.next_look = None;
        ctx.listen(fetch(peers, wanted, height, ingress::LOOK_WITHIN), |me, found, ctx| {
            me.look_after(if found.is_empty() { ingress::LOOK } else { ingress::LOOK_SOON }, ctx);
            me.found(&found, ctx)
        });
        Ok(())
    }

    /// Keeps what came from peers, if a block wants it.
    fn found(&mut self, found: &BTreeMap<Hash, Arc<Verified>>, ctx: &mut Context<Self>) -> Result<(), DaStoreError> {
        let blobs: Vec<_> = found.values().cloned().collect();
        self.keeper.found(&blobs, ctx.fence())?;
        self.settle(ctx);
        Ok(())
    }

    /// Healthy again when the disk takes writes and nothing damaged is left.
    fn settle(&mut self, ctx: &mut Context<Self>) {
        let claims = self.keeper.claims();
        self.damaged.retain(|hash| claims.claimed(hash) && !claims.has(hash));
        if self.damaged.is_empty() {
            ctx.healthy();
        }
    }

    /// Reads blobs on a worker thread, then goes on with what is there, in order. A damaged record counts as missing from
    /// then on.
    fn read(
        &mut self,
        hashes: &[Hash],
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, Vec<Option<Arc<Verified>>>, &mut Context<Self>) -> Result<(), DaStoreError> + 'static,
    ) {
        let store = self.keeper.store().clone();
        let hashes: Vec<_> = hashes.iter().map(|hash| self.keeper.claims().has(hash).then_some(*hash)).collect();
        let read = spawn_blocking(move || {
            let read = |hash: Option<Hash>| hash.map_or(Ok(None), |hash| read_blob(&store, &hash));
            hashes.into_iter().map(read).collect::<Vec<_>>()
        });
        ctx.pipe(read, |me, read, ctx| {
            let mut blobs = Vec::new();
            for blob in read.map_err(|died| DaStoreError::Worker(died.to_string()))? {
                match blob {
                    Ok(blob) => blobs.push(blob),
                    Err(BlobStoreError::DamagedBlob { hash }) => {
                        me.lost(&hash, ctx)?;
                        blobs.push(None);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            then(me, blobs, ctx)
        });
    }

    fn lost(&mut self, hash: &Hash, ctx: &mut Context<Self>) -> Result<(), DaStoreError> {
        // Two requests may have read the same record.
        if !self.keeper.claims().has(hash) {
            return Ok(());
        }
        let error = BlobStoreError::DamagedBlob { hash: *hash };
        warn!(%error, "a blob is lost on this disk");
        metrics::damaged();
        self.keeper.lost(hash, ctx.fence())?;
        self.damaged.insert(*hash);
        ctx.degraded(format!("{} blobs were damaged on disk and are looked for at peers", self.damaged.len()));
        self.look_soon(ctx);
        Ok(())
    }

    /// Answers a request with what is on disk.
    fn answer<M: Message>(
        &mut self,
        hashes: &[Hash],
        ctx: &mut Context<Self>,
        form: impl FnOnce(Vec<Option<Arc<Verified>>>) -> M::Reply + 'static,
    ) -> Reply<M> {
        let (reply, responder): (_, Responder<M>) = Reply::deferred();
        self.read(hashes, ctx, move |_, blobs, _| {
            responder.send(form(blobs));
            Ok(())
        });
        reply
    }
}

impl Actor for DaStore {
    type Error = DaStoreError;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), DaStoreError> {
        self.follow(ctx)?;
        self.look(ctx)
    }
}

impl Handle<KeepBlobs> for DaStore {
    fn handle(&mut self, msg: KeepBlobs, ctx: &mut Context<Self>) -> Result<Reply<KeepBlobs>, DaStoreError> {
        let final_height = self.final_height();
        let block = (msg.height, &msg.block);
        self.keeper.keep_block(block, &msg.blobs, &msg.sidecars, final_height, ctx.fence())?;
        self.settle(ctx);
        if msg.blobs.iter().any(|hash| !self.keeper.claims().has(hash)) {
            self.look_soon(ctx);
        }
        Ok(Reply::Now(()))
    }
}

impl Handle<DropBlobs> for DaStore {
    fn handle(&mut self, msg: DropBlobs, ctx: &mut Context<Self>) -> Result<Reply<DropBlobs>, DaStoreError> {
        self.keeper.drop_block(msg.height, &msg.block, ctx.fence())?;
        self.settle(ctx);
        Ok(Reply::Now(()))
    }
}

impl Handle<FindBlobs> for DaStore {
    fn handle(&mut self, msg: FindBlobs, ctx: &mut Context<Self>) -> Result<Reply<FindBlobs>, DaStoreError> {
        let (reply, responder): (_, Responder<FindBlobs>) = Reply::deferred();
        let FindBlobs { hashes, height, within } = msg;
        let wanted = hashes.clone();
        self.read(&hashes, ctx, move |me, blobs, ctx| {
            let absent = wanted.iter().zip(&blobs).filter(|(_, blob)| blob.is_none());
            let absent: BTreeSet<_> = absent.map(|(hash, _)| *hash).collect();
            let peers = me.wiring.peers.clone().filter(|_| !absent.is_empty() && !within.is_zero());
            let Some(peers) = peers else {
                responder.send(blobs);
                return Ok(());
            };
            ctx.listen(fetch(peers, absent, height, within), move |me, found, ctx| {
                // Answer first: whether a blob can be kept is no affair of who asked.
                let from_peers = |(blob, hash): (Option<_>, &Hash)| blob.or_else(|| found.get(hash).cloned());
                responder.send(blobs.into_iter().zip(&wanted).map(from_peers).collect());
                me.found(&found, ctx)
            });
            Ok(())
        });
        Ok(reply)
    }
}

impl Handle<GetBlob> for DaStore {
    fn handle(&mut self, msg: GetBlob, ctx: &mut Context<Self>) -> Result<Reply<GetBlob>, DaStoreError> {
        let hash = match msg.name {
            BlobName::Hash(hash) => hash,
            BlobName::Commitment(commitment) => versioned_hash(&commitment),
        };
        let (reply, responder): (_, Responder<GetBlob>) = Reply::deferred();
        self.read(&[hash], ctx, move |me, blobs, _| {
            responder.send(match blobs.into_iter().next().flatten() {
                Some(blob) => FoundBlob::Here(blob),
                // As it is after the reading: a damaged record has become a missing blob, one of an expired block nobody's.
                None if me.keeper.claims().claimed(&hash) => FoundBlob::Awaited,
                None => FoundBlob::Unknown,
            });
            Ok(())
        });
        Ok(reply)
    }
}

impl Handle<BlobsOfBlock> for DaStore {
    fn handle(&mut self, msg: BlobsOfBlock, ctx: &mut Context<Self>) -> Result<Reply<BlobsOfBlock>, DaStoreError> {
        let Some(hashes) = self.keeper.claims().of_block(msg.height, &msg.block).map(<[Hash]>::to_vec) else {
            return Ok(Reply::Now(None));
        };
        let names = hashes.clone();
        Ok(self.answer(&hashes, ctx, move |blobs| Some(names.into_iter().zip(blobs).collect())))
    }
}

impl Handle<ServeBlobs> for DaStore {
    fn handle(&mut self, msg: ServeBlobs, ctx: &mut Context<Self>) -> Result<Reply<ServeBlobs>, DaStoreError> {
        // `gossip` lets no longer list through; should it, the rest is not answered.
        let hashes = &msg.hashes[..msg.hashes.len().min(fetch::AT_ONCE)];
        let encode = |blob: Option<Arc<Verified>>| blob.and_then(|blob| SidecarBytes::new(blob.sidecar().encode()));
        Ok(self.answer(hashes, ctx, move |blobs| blobs.into_iter().map(encode).collect()))
    }
}

impl Handle<GetBlobStatus> for DaStore {
    fn handle(&mut self, _: GetBlobStatus, _: &mut Context<Self>) -> Result<Reply<GetBlobStatus>, DaStoreError> {
        Ok(Reply::Now(self.keeper.status()))
    }
}
