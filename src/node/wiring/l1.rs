//! The embedded Dusk L1: a stack of actors for each provisioner of this process, and the port to the L2 side.

use super::{
    Base, LEAST_DEADLINE,
    links::{Link, links},
};
use crate::{
    config::L1Follow,
    network::DuskNetwork,
    node::{NodeError, folder::DuskStores, provisioner::Provisioner},
};
use duskevm_consensus::Consensus;
use duskevm_da_store::DaStore;
use duskevm_dusk_l1::keys::Signer;
use duskevm_gossip::{Gossip, GossipSettings, Host, Pace};
use duskevm_l1::{Embedded, Follow, L1};
use duskevm_messages::{consensus::DuskTipFeed, gossip::PeerFeed, l1::L1HeadsFeed};
use duskevm_store::l1::L1Store;
use duskevm_supervision::{ChildSpec, Port, Ref, Strategy, Tree};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::watch;

/// The L1.
pub(super) struct DuskL1 {
    /// Serves its view.
    pub(super) port: Ref<L1>,
    /// The view's heads.
    pub(super) heads: L1HeadsFeed,
    /// The stack that serves this node.
    pub(super) own: Stack,
    /// The other provisioners of a local network.
    pub(super) further: Vec<Stack>,
    /// What it is.
    pub(super) network: DuskNetwork,
    /// Its blocks, as this node has them.
    pub(super) store: L1Store,
    l1: Option<ChildSpec<L1>>,
}

impl DuskL1 {
    pub(super) fn new(base: Base<'_>, network: &DuskNetwork, stores: &DuskStores) -> Result<Self, NodeError> {
        let port: Ref<L1> = Ref::declare("l1");
        let (heads_out, heads) = watch::channel(None);
        let mut signers = base.signers.iter().cloned();
        let mut links = links(base, &network.l1)?.into_iter();
        let own = Stack::new(base, network, 1, stores, signers.next(), links.next());
        let further = (2..).zip(&base.stores.further);
        let further = further
            .map(|(number, stores)| Stack::new(base, network, number, stores, signers.next(), links.next()))
            .collect();
        let l1_spec = duskevm_l1::spec(
            &port,
            network.view.clone(),
            duskevm_l1::Wiring {
                store: stores.chain.clone(),
                backend: Arc::new(Embedded::new(own.consensus.port(), own.tip.clone(), follow(base, network))),
                heads: heads_out,
            },
        )
        .deadline(base.deadline(duskevm_l1::DEADLINE));
        let l1 = base.config.actors.l1.then_some(l1_spec);
        Ok(Self { port, heads, own, further, network: network.clone(), store: stores.chain.clone(), l1 })
    }

    /// The connections of all provisioners.
    pub(super) fn hosts(&self) -> Vec<Host> {
        let stacks = [&self.own].into_iter().chain(&self.further);
        stacks.filter_map(|stack| stack.host.clone()).collect()
    }

    /// What operators may ask, of all provisioners.
    pub(super) fn provisioners(&self) -> Vec<Provisioner> {
        [&self.own].into_iter().chain(&self.further).map(Stack::status).collect()
    }

    /// Adds the subtrees `l1`, `l1-2` and so on.
    pub(super) fn plant(self, mut tree: Tree) -> Tree {
        let (own, l1) = (self.own, self.l1);
        tree = tree.subtree("l1", Strategy::OneForOne, |tree| {
            let tree = own.plant(tree);
            match l1 {
                Some(spec) => tree.actor(spec),
                None => tree,
            }
        });
        for (number, stack) in (2..).zip(self.further) {
            tree = tree.subtree(format!("l1-{number}"), Strategy::OneForOne, |tree| stack.plant(tree));
        }
        tree
    }
}

/// Which L1 blocks L2 is shown: when an L1 block that it has used is replaced, so are the L2 blocks that stand on it.
fn follow(base: Base<'_>, network: &DuskNetwork) -> Follow {
    match base.config.l1.follow {
        L1Follow::Tip => Follow::Tip,
        // With peers there may be other provisioners, if not now then later.
        L1Follow::Auto if network.l1.provisioners().count() <= 1 && !base.config.has_peers() => Follow::Tip,
        L1Follow::Auto | L1Follow::Final => Follow::Final,
    }
}

/// Where it is noted that a key has begun to sign: beside its file, apart from the data.
fn beside(keys: &Path) -> PathBuf {
    let mut name = keys.as_os_str().to_owned();
    name.push(".begun");
    name.into()
}

/// The L1 of one provisioner, or of a node that only follows: consensus, and where there are any its peers and its blobs.
pub(super) struct Stack {
    pub(super) consensus: Ref<Consensus>,
    pub(super) da_store: Option<Ref<DaStore>>,
    pub(super) tip: DuskTipFeed,
    pub(super) peers: PeerFeed,
    host: Option<Host>,
    consensus_spec: Option<ChildSpec<Consensus>>,
    gossip_spec: Option<ChildSpec<Gossip>>,
    da_store_spec: Option<ChildSpec<DaStore>>,
}

impl Stack {
    fn new(
        base: Base<'_>,
        network: &DuskNetwork,
        number: u64,
        stores: &DuskStores,
        signer: Option<Signer>,
        link: Option<Link>,
    ) -> Self {
        let name = |actor: &str| if number == 1 { actor.to_owned() } else { format!("{actor}-{number}") };
        // References exist before their actors: these three talk to each other in every direction.
        let consensus: Ref<Consensus> = Ref::declare(name("consensus"));
        let gossip: Option<Ref<Gossip>> = link.as_ref().map(|_| Ref::declare(name("gossip")));
        let da_store: Option<Ref<DaStore>> = stores.blobs.as_ref().map(|_| Ref::declare(name("da-store")));
        // What is published outlives every instance.
        let (tip_out, tip) = watch::channel(None);
        let (peers_out, peers) = watch::channel(Arc::from([]));
        let (status_out, status) = watch::channel(None);
        let retention = base.config.blobs.retention_blocks;
        let keep_blocks = (retention != 0).then_some(retention);

        let consensus_spec = duskevm_consensus::spec(
            &consensus,
            duskevm_consensus::Settings {
                genesis: network.l1.clone(),
                signer,
                limits: duskevm_dusk_l1::mempool::Limits::default(),
                contracts: network.contracts(),
                clock: duskevm_consensus::system_clock(),
                uptime: duskevm_consensus::system_uptime(),
            },
            duskevm_consensus::Wiring {
                store: stores.chain.clone(),
                votes: stores.folder.join("votes"),
                mark: base.config.keys.consensus.as_ref().filter(|_| number == 1).map(|keys| beside(keys)),
                tip: tip_out,
                network: gossip.as_ref().map(|gossip| duskevm_consensus::Network {
                    publish: gossip.port(),
                    ask: gossip.port(),
                    judged: gossip.port(),
                    bad_answer: gossip.port(),
                    peers: peers.clone(),
                    status: status_out,
                }),
                blobs: da_store.as_ref().map(|keeper| duskevm_consensus::Blobs {
                    keep: keeper.port(),
                    drop: keeper.port(),
                    keep_blocks,
                }),
            },
        )
        .deadline(base.deadline(duskevm_consensus::DEADLINE));

        let da_store_spec = da_store.as_ref().zip(stores.blobs.as_ref()).map(|(actor, store)| {
            let peers =
                gossip.as_ref().map(|gossip| duskevm_da_store::Peers { ask: gossip.port(), bad_answer: gossip.port() });
            let wiring = duskevm_da_store::Wiring { store: store.clone(), tip: tip.clone(), peers };
            duskevm_da_store::spec(actor, duskevm_da_store::Settings { keep_blocks }, wiring)
                .deadline(base.deadline(duskevm_da_store::DEADLINE))
        });

        let host = link.as_ref().map(|link| link.host.clone());
        let gossip_spec = gossip.as_ref().zip(link).map(|(actor, link)| {
            let settings = GossipSettings {
                frames: consensus.port(),
                serve_frames: consensus.port(),
                serve_blobs: da_store.as_ref().map_or_else(|| Port::unwired("da-store"), Ref::port),
                status,
                peers: peers_out,
                boot: link.boot,
                enough_peers: link.enough,
                allow_private: link.allow_private,
                folder: Some(link.folder),
                pace: Pace::default(),
            };
            duskevm_gossip::spec(actor, Arc::new(settings), link.host).deadline(base.deadline(LEAST_DEADLINE))
        });

        let consensus_spec = base.config.actors.consensus.then_some(consensus_spec);
        Self { consensus, da_store, tip, peers, host, consensus_spec, gossip_spec, da_store_spec }
    }

    fn status(&self) -> Provisioner {
        Provisioner {
            name: self.consensus.name().clone(),
            tip: self.tip.clone(),
            peers: self.peers.clone(),
            state: self.consensus.port(),
            blobs: self.da_store.as_ref().map(Ref::port),
        }
    }

    fn plant(self, mut tree: Tree) -> Tree {
        if let Some(spec) = self.consensus_spec {
            tree = tree.actor(spec);
        }
        if let Some(spec) = self.gossip_spec {
            tree = tree.actor(spec);
        }
        if let Some(spec) = self.da_store_spec {
            tree = tree.actor(spec);
        }
        tree
    }
}
