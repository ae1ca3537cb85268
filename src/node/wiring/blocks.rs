//! Gossip of L2 blocks: the sequencer's node announces them, the others, and a stopped sequencer, import them.

use super::{Base, LEAST_DEADLINE, l1::DuskL1};
use crate::node::{NodeError, unsafe_blocks};
use alloy_primitives::Bytes;
use duskevm_gossip::{
    BlockGossip, BlockGossipSettings, BlockHost, BlockHostSettings, BlockIdentity, Role, SignerSource, StoredChain,
};
use duskevm_messages::{
    consensus::ReadDuskContract,
    executor::{HeadsFeed, Import},
    sequencer::SequencingFeed,
};
use duskevm_rpc::PeerPorts;
use duskevm_supervision::{ChildSpec, Port, Ref};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::runtime::Handle;

/// How often what could not be done is tried again.
const TICK: Duration = Duration::from_millis(250);
/// The arguments of a question that has none: the RLP of an empty list.
const NO_ARGUMENTS: &[u8] = &[0xc0];

/// The actor, and the connections that outlive it.
pub(super) struct Blocks {
    pub(super) host: BlockHost,
    /// What operators ask of it.
    pub(super) peers: PeerPorts,
    pub(super) spec: ChildSpec<BlockGossip>,
}

impl Blocks {
    /// Nothing where there is nobody to talk to.
    pub(super) fn new(
        base: Base<'_>,
        l1: &DuskL1,
        heads: &HeadsFeed,
        import: Port<Import>,
        sequencing: SequencingFeed,
    ) -> Result<Option<Self>, NodeError> {
        let Base { config, network, .. } = base;
        if !config.has_l2_peers() {
            return Ok(None);
        }
        let contract = unsafe_blocks::system_config(network)?;
        let role = if config.actors.sequencer {
            Role::Sequence { signer: unsafe_blocks::signer(config)?, sequencing, import }
        } else {
            Role::Follow(import)
        };
        let folder = base.data.join("block-gossip");
        let identity = match &config.gossip.l2_identity {
            Some(file) => BlockIdentity::read(file)?,
            None => BlockIdentity::load_or_create(&folder)?,
        };
        let gossip = &config.gossip;
        tracing::info!(
            peer = %identity.id(), listen = ?gossip.l2_listen, peers = gossip.l2_peers.len(),
            "this node as its peers on L2 know it"
        );
        let chain_id = network.rollup.l2_chain_id;
        let host_settings = BlockHostSettings {
            max_peers: gossip.l2_max_peers,
            ..BlockHostSettings::new(chain_id, gossip.l2_listen.clone(), gossip.l2_peers.clone())
        };
        let host = BlockHost::start(host_settings, identity, Handle::current())?;
        let settings = BlockGossipSettings {
            spec: network.spec.clone(),
            chain_id,
            role,
            signer: SignerSource {
                read: l1.own.consensus.port(),
                question: ReadDuskContract {
                    contract,
                    method: "unsafeBlockSigner".to_owned(),
                    args: Bytes::from_static(NO_ARGUMENTS),
                },
                l1_heads: l1.heads.clone(),
            },
            l1_by_number: l1.port.port(),
            heads: heads.clone(),
            chain: Arc::new(StoredChain::new(heads.clone(), base.stores.l2.reader())),
            clock: Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
            tick: TICK,
        };
        let actor: Ref<BlockGossip> = Ref::declare("block-gossip");
        let spec = duskevm_gossip::block_spec(&actor, Arc::new(settings), host.clone())
            .deadline(base.deadline(LEAST_DEADLINE));
        Ok(Some(Self { host, peers: PeerPorts::of(&actor), spec }))
    }
}
