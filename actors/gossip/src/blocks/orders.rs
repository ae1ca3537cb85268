//! What operators ask and order: the actor's half, which passes it on, and the host's, which does it.

use std::collections::HashMap;
use std::time::Duration;

use alloy_primitives::{B256, keccak256};
use duskevm_messages::block_gossip::{
    BlockedPeers, DescribePeers, Direction, PeerOrder, PeerRefusal, PeerView, PeersView,
};
use duskevm_supervision::{Context, Handle, Reply};
use duskevm_unsafe_gossip::{PayloadVersion, topic};
use libp2p::PeerId;
use libp2p::gossipsub::{IdentTopic, TopicHash};
use libp2p::identify::Info;
use libp2p::identity::PublicKey;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use tokio::sync::oneshot;

use super::actor::BlockGossip;
use super::address::BlockPeer;
use super::swarm::Task;
use crate::blocked::{self, change};
use crate::error::GossipError;

/// Characters of a text that a peer says of itself, and how many protocols.
const TEXT: usize = 128;
const PROTOCOLS: usize = 64;
/// Connections that operators wait for.
const CONNECTING: usize = 16;
/// Code of the multihash that is the data itself (multiformats, "identity").
const IDENTITY_HASH: u64 = 0;

/// What a connected peer is known to be.
#[derive(Debug, Default)]
struct About {
    direction: Direction,
    addresses: Vec<String>,
    user_agent: String,
    protocol_version: String,
    protocols: Vec<String>,
    latency: Option<Duration>,
}

type Answer = oneshot::Sender<Result<(), PeerRefusal>>;

/// What is kept for operators; as much as there are connections.
#[derive(Debug, Default)]
pub(super) struct Notes {
    about: HashMap<PeerId, About>,
    connecting: HashMap<ConnectionId, (PeerId, Answer)>,
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT).collect()
}

impl Notes {
    pub(super) fn connected(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &libp2p::core::ConnectedPoint,
    ) {
        let about = self.about.entry(peer).or_default();
        about.direction = if endpoint.is_dialer() { Direction::Outbound } else { Direction::Inbound };
        about.addresses = vec![cut(&endpoint.get_remote_address().to_string())];
        if let Some((_, answer)) = self.connecting.remove(&connection) {
            let _ = answer.send(Ok(()));
        }
    }

    pub(super) fn gone(&mut self, peer: &PeerId) {
        self.about.remove(peer);
    }

    pub(super) fn not_connected(&mut self, connection: ConnectionId, why: &impl ToString) {
        if let Some((peer, answer)) = self.connecting.remove(&connection) {
            let _ = answer.send(Err(unreachable(&peer, why)));
        }
    }

    pub(super) fn identified(&mut self, peer: PeerId, info: &Info) {
        // Nothing is kept of who is gone already.
        let Some(about) = self.about.get_mut(&peer) else { return };
        about.user_agent = cut(&info.agent_version);
        about.protocol_version = cut(&info.protocol_version);
        about.protocols = info.protocols.iter().take(PROTOCOLS).map(|protocol| cut(protocol.as_ref())).collect();
    }

    pub(super) fn answered(&mut self, peer: &PeerId, latency: Duration) {
        if let Some(about) = self.about.get_mut(peer) {
            about.latency = Some(latency);
        }
    }
}

fn unreachable(peer: &PeerId, why: &impl ToString) -> PeerRefusal {
    PeerRefusal::Unreachable { peer: peer.to_string(), why: cut(&why.to_string()) }
}

/// What Ethereum's discovery calls a node: the hash of its key (devp2p, discv4). A peer id holds the key itself if that is short.
fn node_id(peer: &PeerId) -> Option<B256> {
    let hash = peer.as_ref();
    let key = (hash.code() == IDENTITY_HASH).then(|| PublicKey::try_decode_protobuf(hash.digest()).ok())??;
    let bytes = key.try_into_secp256k1().ok()?.to_bytes_uncompressed();
    bytes.get(1..).map(keccak256)
}

fn parse(id: &str) -> Result<PeerId, PeerRefusal> {
    id.parse().map_err(|_| PeerRefusal::Id(cut(id)))
}

impl Task {
    /// The peers at this moment.
    pub(super) fn describe(&mut self) -> PeersView {
        let topics: Vec<TopicHash> =
            PayloadVersion::ALL.iter().map(|version| IdentTopic::new(topic(self.chain_id, *version)).hash()).collect();
        let mut counts = [0; 4];
        let mut gossiping = Vec::new();
        for (peer, subscribed) in self.swarm.behaviour_mut().mesh.inner_mut().all_peers() {
            for (count, topic) in counts.iter_mut().zip(&topics) {
                *count += usize::from(subscribed.contains(&topic));
            }
            if subscribed.iter().any(|topic| topics.contains(topic)) {
                gossiping.push(*peer);
            }
        }
        let now = self.start.elapsed();
        let mut peers: Vec<PeerView> =
            self.links.iter().map(|peer| self.view(peer, true, gossiping.contains(peer))).collect();
        for chosen in self.statics.iter().filter(|chosen| !self.links.contains(&chosen.peer)) {
            let mut view = self.view(&chosen.peer, false, false);
            view.addresses = vec![format!("{}/p2p/{}", chosen.address, chosen.peer)];
            peers.push(view);
        }
        let id = *self.swarm.local_peer_id();
        let own = PeerView {
            addresses: self.listening.iter().map(|endpoint| format!("{endpoint}/p2p/{id}")).collect(),
            user_agent: super::swarm::AGENT.to_owned(),
            protocol_version: super::swarm::FAMILY.to_owned(),
            gossips: true,
            ..self.view(&id, false, false)
        };
        let blocked = &self.swarm.behaviour().guard.blocked;
        let blocked = BlockedPeers {
            peers: blocked.peers.iter().map(ToString::to_string).collect(),
            addresses: blocked.addresses.iter().copied().collect(),
            subnets: blocked.subnets.iter().copied().collect(),
        };
        PeersView { own, chain_id: self.chain_id, peers, blocked, topics: counts, banned: self.scores.bans(now) }
    }

    fn view(&self, peer: &PeerId, connected: bool, gossips: bool) -> PeerView {
        let about = self.notes.about.get(peer);
        PeerView {
            id: peer.to_string(),
            node_id: node_id(peer),
            user_agent: about.map(|about| about.user_agent.clone()).unwrap_or_default(),
            protocol_version: about.map(|about| about.protocol_version.clone()).unwrap_or_default(),
            addresses: about
                .map_or_else(Vec::new, |about| about.addresses.iter().map(|address| with_id(address, peer)).collect()),
            protocols: about.map(|about| about.protocols.clone()).unwrap_or_default(),
            connected,
            direction: about.map(|about| about.direction).unwrap_or_default(),
            protected: self.scores.spares(peer),
            latency: about.and_then(|about| about.latency),
            gossips,
        }
    }

    /// Carries an order out.
    pub(super) fn obey(&mut self, order: PeerOrder, answer: Answer) {
        let done = match order {
            PeerOrder::BlockPeer(id) => parse(&id).and_then(|peer| self.block(peer, true)),
            PeerOrder::UnblockPeer(id) => parse(&id).and_then(|peer| self.block(peer, false)),
            PeerOrder::BlockAddress(address) => {
                self.blocked(|all| change(&mut all.addresses, address.to_canonical(), true))
            }
            PeerOrder::UnblockAddress(address) => {
                self.blocked(|all| change(&mut all.addresses, address.to_canonical(), false))
            }
            PeerOrder::BlockSubnet(subnet) => self.blocked(|all| change(&mut all.subnets, subnet, true)),
            PeerOrder::UnblockSubnet(subnet) => self.blocked(|all| change(&mut all.subnets, subnet, false)),
            PeerOrder::Protect(id) => parse(&id).and_then(|peer| self.protect(peer)),
            PeerOrder::Unprotect(id) => parse(&id).and_then(|peer| self.unprotect(peer)),
            PeerOrder::Connect(address) => match address.parse::<BlockPeer>() {
                Ok(peer) => return self.connect(&peer, answer),
                Err(error) => Err(PeerRefusal::Address(error.to_string())),
            },
            PeerOrder::Disconnect(id) => parse(&id).map(|peer| {
                // An error says that there was no connection.
                let _ = self.swarm.disconnect_peer_id(peer);
            }),
        };
        let _ = answer.send(done);
    }

    fn blocked(
        &mut self,
        change: impl FnOnce(&mut blocked::Blocked) -> Result<(), blocked::Full>,
    ) -> Result<(), PeerRefusal> {
        let blocked = &mut self.swarm.behaviour_mut().guard.blocked;
        change(blocked).map_err(|blocked::Full| PeerRefusal::TooMany(blocked::MOST, "blocked entries of a kind"))
    }

    fn block(&mut self, peer: PeerId, block: bool) -> Result<(), PeerRefusal> {
        self.blocked(|all| change(&mut all.peers, peer, block))
    }

    fn protect(&mut self, peer: PeerId) -> Result<(), PeerRefusal> {
        if !self.scores.spares(&peer) && self.scores.spared() >= blocked::MOST + self.statics.len() {
            return Err(PeerRefusal::TooMany(blocked::MOST, "protected peers"));
        }
        self.scores.spare(peer);
        Ok(())
    }

    fn unprotect(&mut self, peer: PeerId) -> Result<(), PeerRefusal> {
        if self.statics.iter().any(|chosen| chosen.peer == peer) {
            return Err(PeerRefusal::Chosen(peer.to_string()));
        }
        self.scores.spare_no_more(&peer);
        Ok(())
    }

    fn connect(&mut self, to: &BlockPeer, answer: Answer) {
        if self.links.contains(&to.peer) {
            let _ = answer.send(Ok(()));
            return;
        }
        if self.notes.connecting.len() >= CONNECTING {
            let _ = answer.send(Err(PeerRefusal::TooMany(CONNECTING, "connections that are waited for")));
            return;
        }
        let options =
            DialOpts::peer_id(to.peer).condition(PeerCondition::Disconnected).addresses(vec![to.multiaddr()]).build();
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.notes.connecting.insert(connection, (to.peer, answer));
            }
            Err(error) => {
                let _ = answer.send(Err(unreachable(&to.peer, &error)));
            }
        }
    }
}

fn with_id(address: &str, peer: &PeerId) -> String {
    if address.contains("/p2p/") { address.to_owned() } else { format!("{address}/p2p/{peer}") }
}

impl Handle<DescribePeers> for BlockGossip {
    fn handle(&mut self, _: DescribePeers, ctx: &mut Context<Self>) -> Result<Reply<DescribePeers>, GossipError> {
        let (reply, responder) = Reply::deferred();
        let control = self.control.clone();
        let asked = async move { control.describe().await };
        ctx.listen(asked, |_, view, _| {
            responder.send(view.map(Box::new));
            Ok(())
        });
        Ok(reply)
    }
}

impl Handle<PeerOrder> for BlockGossip {
    fn handle(&mut self, order: PeerOrder, ctx: &mut Context<Self>) -> Result<Reply<PeerOrder>, GossipError> {
        let (reply, responder) = Reply::deferred();
        let control = self.control.clone();
        let asked = async move { control.order(order).await };
        ctx.listen(asked, |_, done, _| {
            responder.send(done);
            Ok(())
        });
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_is_the_hash_of_the_key_in_the_peer_id() {
        let identity = crate::BlockIdentity::from_secret([7; 32]).unwrap();
        let key = identity.keys().public().try_into_secp256k1().unwrap();
        assert_eq!(node_id(&identity.peer()), Some(keccak256(&key.to_bytes_uncompressed()[1..])));
        let ed25519 = libp2p::identity::Keypair::generate_ed25519().public().to_peer_id();
        assert_eq!(node_id(&ed25519), None);
    }

    #[test]
    fn what_a_peer_says_of_itself_is_cut() {
        assert_eq!(cut(&"a".repeat(10_000)).len(), TEXT);
        assert_eq!(cut("op-node\u{1b}[31m\n"), "op-node[31m");
    }
}
