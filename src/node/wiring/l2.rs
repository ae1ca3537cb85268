//! The rollup: state, pool, block builder and derivation.

use super::{Base, LEAST_DEADLINE, blocks::Blocks, l1::DuskL1};
use crate::node::{
    NodeError,
    batching::{batcher_keys, batcher_rules},
};
use duskevm_backfill::Backfiller;
use duskevm_batcher::BatcherActor;
use duskevm_derivation::Derivation;
use duskevm_executor::Executor;
use duskevm_gossip::BlockHost;
use duskevm_messages::{
    backfill::{CatchingUp, CatchingUpFeed},
    executor::{DaOrders, HeadsFeed, engine::WantedFeed},
    l1::L1BlockRef,
    sequencer::{Sequencing, SequencingFeed},
    txpool::PendingFeed,
};
use duskevm_rpc::{RollupControls, SequencerPorts};
use duskevm_sequencer::Sequencer;
use duskevm_supervision::{ChildSpec, Ref, Tree};
use duskevm_txpool::TxPool;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::{broadcast, watch};

/// Announced pool transactions that a slow subscriber may leave unread.
const PENDING_BACKLOG: usize = 4096;

/// The actors of L2.
pub(super) struct Rollup {
    /// Pending transactions.
    pub(super) pool: Ref<TxPool>,
    /// Announces them.
    pub(super) pending: PendingFeed,
    /// Heads of the chain.
    pub(super) heads: HeadsFeed,
    /// The L1 block that derivation reads.
    pub(super) current_l1: watch::Receiver<Option<L1BlockRef>>,
    /// The executor, for whom drives it from outside.
    pub(super) driven: Ref<Executor>,
    /// How far it is behind what its consensus client wants, where blocks are fetched.
    pub(super) catching_up: CatchingUpFeed,
    /// What the sequencer was told; `None` where there is none.
    pub(super) sequencing: Option<SequencingFeed>,
    /// What a batcher outside of this node asks of whoever builds blocks.
    pub(super) da_orders: DaOrders,
    /// What an operator can move.
    pub(super) controls: RollupControls,
    executor: Option<ChildSpec<Executor>>,
    txpool: Option<ChildSpec<TxPool>>,
    sequencer: Option<ChildSpec<Sequencer>>,
    derivation: Option<ChildSpec<Derivation>>,
    batcher: Option<ChildSpec<BatcherActor>>,
    backfill: Option<ChildSpec<Backfiller>>,
    blocks: Option<Blocks>,
}

impl Rollup {
    pub(super) fn new(base: Base<'_>, l1: Option<&DuskL1>) -> Result<Self, NodeError> {
        let executor: Ref<Executor> = Ref::declare("executor");
        let txpool: Ref<TxPool> = Ref::declare("txpool");
        let sequencer: Ref<Sequencer> = Ref::declare("sequencer");
        let derivation: Ref<Derivation> = Ref::declare("derivation");
        let (heads_out, heads_feed) = watch::channel(None);
        let (pool_heads, pool_heads_feed) = watch::channel(None);
        let (wanted_out, wanted) = watch::channel(None);
        let (current_l1_out, current_l1) = watch::channel(None);
        let (throttle_out, throttle) = watch::channel(0);
        let da_orders = DaOrders::default();
        let (sequencing_out, sequencing) =
            watch::channel(Sequencing { active: !base.config.sequencer.stopped, recovering: false });
        let (pending, _) = broadcast::channel(PENDING_BACKLOG);
        let on = &base.config.actors;

        let executor_spec = {
            let settings = duskevm_executor::Settings {
                spec: base.network.spec.clone(),
                block_time: base.network.rollup.block_time,
                trie: duskevm_trie::StateLimits::default(),
                answered: answered_journal(base),
            };
            let feeds = duskevm_executor::Feeds {
                heads: heads_out,
                pool: pool_heads,
                head_changed: txpool.port(),
                suspect: duskevm_executor::Suspect::default(),
                wanted: wanted_out,
                kept: duskevm_executor::KeptBlocks::default(),
            };
            let (rollup, store) = (base.network.rollup.clone(), base.stores.l2.clone());
            ChildSpec::new(&executor, move |start| {
                Ok(Executor::open(settings.clone(), rollup.clone(), store.clone(), feeds.clone(), &start)?)
            })
            .mailbox(duskevm_executor::MAILBOX)
            .deadline(base.deadline(duskevm_executor::DEADLINE))
        };
        let txpool_spec = {
            let mut settings = duskevm_txpool::Settings::new(base.network.rollup.l2_chain_id);
            let limits = &base.config.txpool;
            settings.pool.max_slots = limits.max_slots as usize;
            settings.pool.max_bytes = limits.max_bytes as usize;
            settings.pool.max_tx_bytes = limits.max_tx_bytes as usize;
            settings.pool.account_ready = limits.account_ready as usize;
            settings.pool.account_waiting = limits.account_waiting as usize;
            settings.pool.max_nonce_gap = limits.max_nonce_gap;
            settings.pool.waiting_lifetime = limits.waiting_lifetime_seconds;
            settings.pool.price_bump = limits.price_bump;
            settings.pool.min_tip = limits.min_tip_wei.into();
            settings.pool.allow_unprotected = limits.allow_unprotected;
            let wiring = duskevm_txpool::Wiring { heads: pool_heads_feed, pending: pending.clone() };
            duskevm_txpool::spec(&txpool, settings, wiring, duskevm_txpool::journal_in(base.data.join("txpool")))
                .deadline(base.deadline(LEAST_DEADLINE))
        };
        let sequencer_spec = l1.filter(|_| on.sequencer).map(|l1| {
            let settings = Arc::new(duskevm_sequencer::Settings {
                rollup: base.network.rollup.clone(),
                spec: base.network.spec.clone(),
                journal: base.data.join("sequencer"),
                time_budget: Duration::from_millis(base.config.sequencer.time_budget_ms),
                max_transactions: base.config.sequencer.max_transactions as usize,
                confirmations: base.config.sequencer.l1_confirmations,
                max_safe_lag: base.config.sequencer.max_safe_lag,
                throttle: duskevm_sequencer::DaThrottle::default(),
                clock: duskevm_sequencer::Clock::system(),
            });
            let ports = duskevm_sequencer::Ports {
                build: executor.port(),
                insert: executor.port(),
                import: executor.port(),
                rewind: executor.port(),
                best: txpool.port(),
                invalid: txpool.port(),
                l1_by_hash: l1.port.port(),
                l1_by_number: l1.port.port(),
                heads: heads_feed.clone(),
                l1_heads: l1.heads.clone(),
                l1_tip: l1.own.tip.clone(),
                derived: on.derivation.then(|| current_l1.clone()),
                sequencing: sequencing_out,
                throttle,
                da_orders: da_orders.clone(),
            };
            ChildSpec::new(&sequencer, move |start| Sequencer::open(settings.clone(), ports.clone(), &start.fence))
                .mailbox(duskevm_sequencer::MAILBOX)
                .deadline(base.deadline(duskevm_sequencer::DEADLINE))
        });
        let derivation_spec = l1.filter(|_| on.derivation).map(|l1| {
            let settings = Arc::new(duskevm_derivation::Settings {
                rollup: base.network.rollup.clone(),
                spec: base.network.spec.clone(),
            });
            let ports = duskevm_derivation::Ports {
                derive: executor.port(),
                set_labels: executor.port(),
                note_safe_head: executor.port(),
                rewind: executor.port(),
                reset_to: on.sequencer.then(|| sequencer.port()),
                l1_by_number: l1.port.port(),
                blobs: l1.own.da_store.as_ref().map(|da_store| da_store.port()),
                heads: heads_feed.clone(),
                l1_heads: l1.heads.clone(),
                reader: base.stores.l2.reader(),
                current_l1: current_l1_out,
            };
            ChildSpec::new(&derivation, move |_| Ok(Derivation::new(settings.clone(), ports.clone())))
                .mailbox(duskevm_derivation::MAILBOX)
                .deadline(base.deadline(duskevm_derivation::DEADLINE))
        });
        let batcher_spec =
            l1.filter(|_| on.batcher).map(|l1| batcher(base, l1, &heads_feed, throttle_out)).transpose()?;
        let (catching_up_out, catching_up) = watch::channel(None);
        let backfill_spec = backfill(base, &executor, &heads_feed, wanted, catching_up_out);
        let blocks = match l1 {
            Some(l1) => Blocks::new(base, l1, &heads_feed, executor.port(), sequencing.clone())?,
            None => None,
        };
        let controls = RollupControls {
            sequencer: on.sequencer.then(|| SequencerPorts::of(&sequencer, sequencing.clone())),
            reset: on.derivation.then(|| derivation.port()),
            import: executor.port(),
            peers: blocks.as_ref().map(|blocks| blocks.peers.clone()),
            peer_orders: base.config.rollup_rpc.host.is_loopback() || base.config.rollup_rpc.allow_remote_admin,
        };
        Ok(Self {
            pool: txpool,
            pending,
            heads: heads_feed,
            current_l1,
            driven: executor.clone(),
            catching_up,
            sequencing: on.sequencer.then_some(sequencing),
            da_orders,
            controls,
            executor: on.executor.then_some(executor_spec),
            txpool: on.txpool.then_some(txpool_spec),
            sequencer: sequencer_spec,
            derivation: derivation_spec,
            batcher: batcher_spec,
            backfill: backfill_spec,
            blocks,
        })
    }

    /// The connections to peers of L2.
    pub(super) fn block_host(&self) -> Option<BlockHost> {
        self.blocks.as_ref().map(|blocks| blocks.host.clone())
    }

    pub(super) fn plant(self, mut tree: Tree) -> Tree {
        if let Some(spec) = self.executor {
            tree = tree.actor(spec);
        }
        if let Some(spec) = self.txpool {
            tree = tree.actor(spec);
        }
        if let Some(spec) = self.sequencer {
            tree = tree.actor(spec);
        }
        if let Some(spec) = self.derivation {
            tree = tree.actor(spec);
        }
        if let Some(spec) = self.batcher {
            tree = tree.actor(spec);
        }
        if let Some(spec) = self.backfill {
            tree = tree.actor(spec);
        }
        if let Some(blocks) = self.blocks {
            tree = tree.actor(blocks.spec);
        }
        tree
    }
}

/// What fetches blocks that lack before a head of the consensus client; `None` where nobody is to be asked.
/// Where it is noted what a consensus client is answered. One that is left of another run is read where none drives the node any more,
/// too: what is in it must not come back later.
fn answered_journal(base: Base<'_>) -> Option<PathBuf> {
    let folder = base.data.join("answered");
    (base.config.actors.engine_api || folder.is_dir()).then_some(folder)
}

fn backfill(
    base: Base<'_>,
    executor: &Ref<Executor>,
    heads: &HeadsFeed,
    wanted: WantedFeed,
    catching_up: watch::Sender<Option<CatchingUp>>,
) -> Option<ChildSpec<Backfiller>> {
    let source = base.config.engine_api.sync_from.as_ref().filter(|_| base.config.actors.engine_api)?;
    let settings = duskevm_backfill::Settings::new(source);
    let ports = duskevm_backfill::Ports {
        wanted,
        offer: executor.port(),
        advance: executor.port(),
        condemn: executor.port(),
        heads: heads.clone(),
        reader: base.stores.l2.reader(),
        catching_up,
    };
    let backfill: Ref<Backfiller> = Ref::declare("backfill");
    let spec = ChildSpec::new(&backfill, move |start| Ok(Backfiller::open(&settings, ports.clone(), &start)?));
    Some(spec.mailbox(duskevm_backfill::MAILBOX).deadline(base.deadline(duskevm_backfill::DEADLINE)))
}

/// What posts the blocks.
fn batcher(
    base: Base<'_>,
    l1: &DuskL1,
    heads: &HeadsFeed,
    throttle: watch::Sender<u16>,
) -> Result<ChildSpec<BatcherActor>, NodeError> {
    let gas_per_blob = l1.network.l1.consensus.gas_per_blob;
    let settings = Arc::new(duskevm_batcher::Settings {
        rollup: base.network.rollup.clone(),
        rules: batcher_rules(&base.config.batcher, gas_per_blob),
        keys: Arc::new(batcher_keys(base.config, base.network)?),
        journal: base.data.join("batcher"),
        workers: duskevm_batcher::workers(),
    });
    let ports = duskevm_batcher::Ports {
        submit: l1.own.consensus.port(),
        snapshot: l1.own.consensus.port(),
        view_transaction: l1.port.port(),
        l1_by_number: l1.port.port(),
        heads: heads.clone(),
        l1_heads: l1.heads.clone(),
        throttle,
        reader: base.stores.l2.reader(),
    };
    let batcher: Ref<BatcherActor> = Ref::declare("batcher");
    Ok(ChildSpec::new(&batcher, move |start| BatcherActor::open(settings.clone(), ports.clone(), &start.fence))
        .mailbox(duskevm_batcher::MAILBOX)
        .deadline(base.deadline(duskevm_batcher::DEADLINE)))
}
