//! `opp2p_` of a rollup node: the peers that gossip blocks of L2. Names and forms are op-node's; `peerCount` is kona-node's.
//!
//! Scores are zero here: this node keeps none of gossipsub's, it holds deeds against peers and bans them by those.

use super::api::RollupApi;
use crate::{api::Registry, error::RpcError, params::Args};
use alloy_primitives::hex;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use duskevm_messages::block_gossip::{DescribePeers, Direction, PeerOrder, PeerView, PeersView};
use duskevm_p2p::Subnet;
use duskevm_supervision::{Actor, AskError, Handle, Port, Ref};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

/// How long a question may take.
const SHORT: Duration = Duration::from_secs(5);
/// How long a connection may take to be made, as op-node has it.
const LONG: Duration = Duration::from_secs(30);

/// The ways to the gossip of L2 blocks.
#[derive(Debug, Clone)]
pub struct PeerPorts {
    describe: Port<DescribePeers>,
    order: Port<PeerOrder>,
}

impl PeerPorts {
    /// All ports of the actor that gossips.
    pub fn of<A>(actor: &Ref<A>) -> Self
    where
        A: Actor + Handle<DescribePeers> + Handle<PeerOrder>,
    {
        Self { describe: actor.port(), order: actor.port() }
    }
}

/// A peer as op-node writes it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct PeerInfo {
    #[serde(rename = "peerID")]
    peer_id: String,
    #[serde(rename = "nodeID")]
    node_id: String,
    user_agent: String,
    protocol_version: String,
    #[serde(rename = "ENR")]
    enr: String,
    addresses: Vec<String>,
    protocols: Vec<String>,
    /// 0 is not connected, 1 connected.
    connectedness: u8,
    /// 0 is unknown, 1 inbound, 2 outbound.
    direction: u8,
    protected: bool,
    #[serde(rename = "chainID")]
    chain_id: u64,
    /// In nanoseconds.
    latency: u64,
    gossip_blocks: bool,
    scores: Value,
}

impl PeerInfo {
    fn new(peer: PeerView, chain_id: u64) -> Self {
        Self {
            peer_id: peer.id,
            node_id: hex::encode(peer.node_id.unwrap_or_default()),
            user_agent: peer.user_agent,
            protocol_version: peer.protocol_version,
            // There is no discovery by records.
            enr: String::new(),
            addresses: peer.addresses,
            protocols: peer.protocols,
            connectedness: u8::from(peer.connected),
            direction: match peer.direction {
                Direction::Unknown => 0,
                Direction::Inbound => 1,
                Direction::Outbound => 2,
            },
            protected: peer.protected,
            // Who has subscribed to blocks of this chain is of this chain.
            chain_id: if peer.gossips { chain_id } else { 0 },
            latency: peer.latency.map_or(0, |latency| u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)),
            gossip_blocks: peer.gossips,
            scores: no_scores(),
        }
    }
}

fn no_scores() -> Value {
    json!({
        "gossip": {
            "total": 0.0,
            "blocks": {
                "timeInMesh": 0.0, "firstMessageDeliveries": 0.0, "meshMessageDeliveries": 0.0,
                "invalidMessageDeliveries": 0.0,
            },
            "IPColocationFactor": 0.0,
            "behavioralPenalty": 0.0,
        },
        "reqResp": { "validResponses": 0.0, "errorResponses": 0.0, "rejectedPayloads": 0.0 },
    })
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct PeerDump {
    total_connected: usize,
    peers: BTreeMap<String, PeerInfo>,
    banned_peers: Vec<String>,
    #[serde(rename = "bannedIPS")]
    banned_ips: Vec<IpAddr>,
    banned_subnets: Vec<IpNet>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct PeerStats {
    connected: usize,
    table: usize,
    blocks_topic: usize,
    #[serde(rename = "blocksTopicV2")]
    blocks_topic_v2: usize,
    #[serde(rename = "blocksTopicV3")]
    blocks_topic_v3: usize,
    #[serde(rename = "blocksTopicV4")]
    blocks_topic_v4: usize,
    banned: usize,
    known: usize,
}

/// A range of addresses: `{"IP": …, "Mask": base64}` as Go writes its own type, or CIDR notation as kona-node has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct IpNet(Subnet);

#[derive(Serialize, Deserialize)]
struct GoIpNet {
    #[serde(rename = "IP")]
    ip: IpAddr,
    #[serde(rename = "Mask")]
    mask: String,
}

impl Serialize for IpNet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = if self.0.first().is_ipv4() { 4 } else { 16 };
        // From the highest bit on; of IPv4 these are the first four bytes.
        let mask = u128::MAX.checked_shl(128 - u32::from(self.0.prefix())).unwrap_or(0).to_be_bytes();
        let mask = BASE64.encode(mask.get(..bytes).unwrap_or_default());
        GoIpNet { ip: self.0.first(), mask }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for IpNet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Text(String),
            Go(GoIpNet),
        }
        match Either::deserialize(deserializer)? {
            Either::Text(text) => text.parse().map(Self).map_err(D::Error::custom),
            Either::Go(GoIpNet { ip, mask }) => {
                let mask = BASE64.decode(mask).map_err(D::Error::custom)?;
                let ones = mask.iter().map(|byte| byte.count_ones()).sum::<u32>();
                let leading = mask.iter().copied().map(u8::leading_ones).scan(true, |all, ones| {
                    let counted = if *all { ones } else { 0 };
                    *all &= ones == 8;
                    Some(counted)
                });
                let fits = mask.len() == if ip.is_ipv4() { 4 } else { 16 } && leading.sum::<u32>() == ones;
                u8::try_from(ones)
                    .ok()
                    .filter(|_| fits)
                    .and_then(|prefix| Subnet::new(ip, prefix))
                    .map(Self)
                    .ok_or_else(|| D::Error::custom("the mask does not fit the address"))
            }
        }
    }
}

pub(super) fn register(registry: &mut Registry<RollupApi>) {
    questions(registry);
    order(registry, "opp2p_blockPeer", |args| args.required().map(PeerOrder::BlockPeer));
    order(registry, "opp2p_unblockPeer", |args| args.required().map(PeerOrder::UnblockPeer));
    order(registry, "opp2p_blockAddr", |args| args.required().map(PeerOrder::BlockAddress));
    order(registry, "opp2p_unblockAddr", |args| args.required().map(PeerOrder::UnblockAddress));
    order(registry, "opp2p_blockSubnet", |args| args.required().map(|IpNet(subnet)| PeerOrder::BlockSubnet(subnet)));
    order(registry, "opp2p_unblockSubnet", |args| {
        args.required().map(|IpNet(subnet)| PeerOrder::UnblockSubnet(subnet))
    });
    order(registry, "opp2p_protectPeer", |args| args.required().map(PeerOrder::Protect));
    order(registry, "opp2p_unprotectPeer", |args| args.required().map(PeerOrder::Unprotect));
    order(registry, "opp2p_connectPeer", |args| args.required().map(PeerOrder::Connect));
    order(registry, "opp2p_disconnectPeer", |args| args.required().map(PeerOrder::Disconnect));
}

fn questions(registry: &mut Registry<RollupApi>) {
    registry.future("opp2p_self", |api, args| async move {
        args.end()?;
        let view = view(&api).await?;
        Ok(PeerInfo::new(view.own, view.chain_id))
    });
    registry.future("opp2p_peers", |api, mut args| async move {
        let connected: bool = args.required()?;
        args.end()?;
        let view = view(&api).await?;
        let wanted = view.peers.into_iter().filter(|peer| peer.connected || !connected);
        let peers: BTreeMap<_, _> = wanted.map(|peer| (peer.id.clone(), PeerInfo::new(peer, view.chain_id))).collect();
        Ok(PeerDump {
            total_connected: peers.values().filter(|peer| peer.connectedness == 1).count(),
            peers,
            banned_peers: view.blocked.peers,
            banned_ips: view.blocked.addresses,
            banned_subnets: view.blocked.subnets.into_iter().map(IpNet).collect(),
        })
    });
    registry.future("opp2p_peerStats", |api, args| async move {
        args.end()?;
        let view = view(&api).await?;
        let [blocks_topic, blocks_topic_v2, blocks_topic_v3, blocks_topic_v4] = view.topics;
        Ok(PeerStats {
            connected: view.peers.iter().filter(|peer| peer.connected).count(),
            table: 0,
            blocks_topic,
            blocks_topic_v2,
            blocks_topic_v3,
            blocks_topic_v4,
            banned: view.blocked.peers.len().saturating_add(view.banned),
            known: view.peers.len(),
        })
    });
    registry.future("opp2p_peerCount", |api, args| async move {
        args.end()?;
        let connected = view(&api).await?.peers.iter().filter(|peer| peer.connected).count();
        Ok(json!({ "connectedDiscovery": null, "connectedGossip": connected }))
    });
    registry.inline("opp2p_discoveryTable", |_, args| {
        args.end()?;
        Err::<(), _>(RpcError::server("discovery disabled"))
    });
    registry.future("opp2p_listBlockedPeers", |api, args| async move {
        args.end()?;
        Ok(view(&api).await?.blocked.peers)
    });
    registry.future("opp2p_listBlockedAddrs", |api, args| async move {
        args.end()?;
        Ok(view(&api).await?.blocked.addresses)
    });
    registry.future("opp2p_listBlockedSubnets", |api, args| async move {
        args.end()?;
        Ok(view(&api).await?.blocked.subnets.into_iter().map(IpNet).collect::<Vec<_>>())
    });
}

fn order(registry: &mut Registry<RollupApi>, method: &'static str, read: fn(&mut Args) -> Result<PeerOrder, RpcError>) {
    registry.future(method, move |api, mut args| async move {
        let order = read(&mut args)?;
        args.end()?;
        if !api.controls.peer_orders {
            let guarded = "orders about peers are taken on loopback only, unless rollup_rpc.allow_remote_admin is set";
            return Err(RpcError::server(guarded));
        }
        let port = &ports(&api)?.order;
        port.ask_within(order, LONG).await.map_err(unavailable)?.map_err(RpcError::server)
    });
}

fn ports(api: &RollupApi) -> Result<&PeerPorts, RpcError> {
    let none = "this node gossips no blocks of L2: set gossip.l2_listen or gossip.l2_peers";
    api.controls.peers.as_ref().ok_or_else(|| RpcError::server(none))
}

async fn view(api: &Arc<RollupApi>) -> Result<Box<PeersView>, RpcError> {
    let answer = ports(api)?.describe.ask_retry(DescribePeers, SHORT).await.map_err(unavailable)?;
    answer.ok_or_else(|| RpcError::server("the host that talks to peers is being started: try again"))
}

fn unavailable(error: AskError) -> RpcError {
    match error {
        AskError::Full { .. } => RpcError::Busy("questions about peers"),
        other => RpcError::Server(format!("the gossip of L2 blocks is not available: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_as_go_does_and_read_in_both_forms() {
        for (cidr, go) in [
            ("10.0.0.0/8", json!({ "IP": "10.0.0.0", "Mask": "/wAAAA==" })),
            ("192.168.4.0/22", json!({ "IP": "192.168.4.0", "Mask": "///8AA==" })),
            ("0.0.0.0/0", json!({ "IP": "0.0.0.0", "Mask": "AAAAAA==" })),
            ("2001:db8::/32", json!({ "IP": "2001:db8::", "Mask": "/////wAAAAAAAAAAAAAAAA==" })),
        ] {
            let net = IpNet(cidr.parse().unwrap());
            assert_eq!(serde_json::to_value(net).unwrap(), go);
            for form in [go, json!(cidr)] {
                assert_eq!(serde_json::from_value::<IpNet>(form).unwrap(), net);
            }
        }
        for wrong in [
            json!("10.0.0.0"),
            json!({ "IP": "10.0.0.0", "Mask": "/wD/AA==" }),
            json!({ "IP": "10.0.0.0", "Mask": "/////wAAAAAAAAAAAAAAAA==" }),
            json!({ "IP": "10.0.0.0", "Mask": "?" }),
            json!(7),
        ] {
            assert!(serde_json::from_value::<IpNet>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
