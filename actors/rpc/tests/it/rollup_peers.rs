//! The peers of L2 as a rollup node shows them.

use crate::{
    chain::MemoryChain,
    rollup::{nobody, start_with, stop},
};
use alloy_primitives::B256;
use duskevm_messages::block_gossip::{
    BlockedPeers, DescribePeers, Direction, PeerOrder, PeerRefusal, PeerView, PeersView,
};
use duskevm_rpc::{PeerPorts, RollupControls};
use duskevm_supervision::{Actor, ActorError, ChildSpec, Context, Handle, Reaction, Ref, Reply};
use parking_lot::Mutex;
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// A gossip that notes its orders.
struct Scripted(Arc<Mutex<Vec<PeerOrder>>>);

#[derive(Debug, thiserror::Error)]
enum Never {}

impl ActorError for Never {
    fn reaction(&self) -> Reaction {
        match *self {}
    }
}

impl Actor for Scripted {
    type Error = Never;
}

fn view() -> PeersView {
    let peer = |id: &str, connected| PeerView {
        id: id.to_owned(),
        node_id: Some(B256::repeat_byte(0xab)),
        user_agent: "op-node".to_owned(),
        addresses: vec![format!("/ip4/9.8.7.6/tcp/9003/p2p/{id}")],
        connected,
        direction: if connected { Direction::Inbound } else { Direction::Unknown },
        latency: connected.then_some(Duration::from_millis(3)),
        gossips: connected,
        ..PeerView::default()
    };
    PeersView {
        own: PeerView { gossips: true, ..peer("own", false) },
        chain_id: 31310,
        peers: vec![peer("near", true), peer("far", false)],
        blocked: BlockedPeers {
            peers: vec!["bad".to_owned()],
            addresses: vec!["1.2.3.4".parse().unwrap()],
            subnets: vec!["10.0.0.0/8".parse().unwrap()],
        },
        topics: [1, 2, 3, 4],
        banned: 2,
    }
}

impl Handle<DescribePeers> for Scripted {
    fn handle(&mut self, _: DescribePeers, _: &mut Context<Self>) -> Result<Reply<DescribePeers>, Never> {
        Ok(Reply::Now(Some(Box::new(view()))))
    }
}

impl Handle<PeerOrder> for Scripted {
    fn handle(&mut self, order: PeerOrder, _: &mut Context<Self>) -> Result<Reply<PeerOrder>, Never> {
        let refused = matches!(&order, PeerOrder::Connect(address) if address == "nowhere");
        self.0.lock().push(order);
        Ok(Reply::Now(if refused { Err(PeerRefusal::Address("nowhere".to_owned())) } else { Ok(()) }))
    }
}

#[tokio::test]
async fn peers_are_described_as_op_node_does() {
    let orders: Arc<Mutex<Vec<PeerOrder>>> = Arc::default();
    let noted = orders.clone();
    let (client, supervisor) = start_with(&MemoryChain::isthmus(), false, |tree| {
        let actor: Ref<Scripted> = Ref::declare("block-gossip");
        let peers = Some(PeerPorts::of(&actor));
        (tree.actor(ChildSpec::new(&actor, move |_| Ok(Scripted(noted.clone())))), RollupControls { peers, ..nobody() })
    })
    .await;
    let own = client.call("opp2p_self", json!([])).await;
    assert_eq!((&own["peerID"], &own["chainID"], &own["gossipBlocks"]), (&json!("own"), &json!(31310), &json!(true)));
    assert_eq!(own["nodeID"], "ab".repeat(32));
    let all = client.call("opp2p_peers", json!([false])).await;
    assert_eq!(all["totalConnected"], 1);
    assert_eq!(all["peers"].as_object().unwrap().len(), 2);
    assert_eq!((&all["bannedPeers"], &all["bannedIPS"]), (&json!(["bad"]), &json!(["1.2.3.4"])));
    assert_eq!(all["bannedSubnets"], json!([{ "IP": "10.0.0.0", "Mask": "/wAAAA==" }]));
    let near = &client.call("opp2p_peers", json!([true])).await["peers"];
    assert_eq!(near.as_object().unwrap().len(), 1);
    let near = &near["near"];
    assert_eq!(
        (&near["connectedness"], &near["direction"], &near["latency"]),
        (&json!(1), &json!(1), &json!(3_000_000))
    );
    assert_eq!(near["userAgent"], "op-node");
    assert_eq!(near["scores"]["gossip"]["total"], 0.0);
    let stats = json!({
        "connected": 1, "table": 0, "blocksTopic": 1, "blocksTopicV2": 2, "blocksTopicV3": 3, "blocksTopicV4": 4,
        "banned": 3, "known": 2,
    });
    assert_eq!(client.call("opp2p_peerStats", json!([])).await, stats);
    assert_eq!(client.call("opp2p_peerCount", json!([])).await["connectedGossip"], 1);
    assert_eq!(client.error("opp2p_discoveryTable", json!([])).await, (-32000, "discovery disabled".to_owned()));
    assert_eq!(client.call("opp2p_listBlockedPeers", json!([])).await, json!(["bad"]));
    assert_eq!(client.call("opp2p_listBlockedAddrs", json!([])).await, json!(["1.2.3.4"]));
    assert_eq!(client.call("opp2p_listBlockedSubnets", json!([])).await.as_array().unwrap().len(), 1);

    let peer = || "p".to_owned();
    let (address, subnet) = ("1.2.3.4", "10.0.0.0/8");
    let wanted = [
        ("opp2p_blockPeer", "p", PeerOrder::BlockPeer(peer())),
        ("opp2p_unblockPeer", "p", PeerOrder::UnblockPeer(peer())),
        ("opp2p_blockAddr", address, PeerOrder::BlockAddress(address.parse().unwrap())),
        ("opp2p_unblockAddr", address, PeerOrder::UnblockAddress(address.parse().unwrap())),
        ("opp2p_blockSubnet", subnet, PeerOrder::BlockSubnet(subnet.parse().unwrap())),
        ("opp2p_unblockSubnet", subnet, PeerOrder::UnblockSubnet(subnet.parse().unwrap())),
        ("opp2p_protectPeer", "p", PeerOrder::Protect(peer())),
        ("opp2p_unprotectPeer", "p", PeerOrder::Unprotect(peer())),
        ("opp2p_connectPeer", "p", PeerOrder::Connect(peer())),
        ("opp2p_disconnectPeer", "p", PeerOrder::Disconnect(peer())),
    ];
    for (method, parameter, order) in wanted {
        assert!(client.call(method, json!([parameter])).await.is_null(), "{method}");
        assert_eq!(orders.lock().pop(), Some(order), "{method}");
    }
    let refused = client.error("opp2p_connectPeer", json!(["nowhere"])).await;
    assert_eq!(refused, (-32000, "bad peer address: nowhere".to_owned()));
    for (method, wrong) in [("opp2p_blockAddr", "x"), ("opp2p_blockSubnet", "10.0.0.0"), ("opp2p_peers", "yes")] {
        assert_eq!(client.error(method, json!([wrong])).await.0, -32602, "{method}");
    }
    stop(supervisor).await;
}

#[tokio::test]
async fn a_node_without_peers_of_l2_says_what_to_set() {
    let (client, supervisor) = start_with(&MemoryChain::isthmus(), false, |tree| (tree, nobody())).await;
    for (method, params) in [("opp2p_self", json!([])), ("opp2p_blockPeer", json!(["p"]))] {
        let (code, message) = client.error(method, params).await;
        assert!(code == -32000 && message.contains("gossip.l2_listen"), "{method}: {message}");
    }
    stop(supervisor).await;
}

#[tokio::test]
async fn who_is_far_away_may_ask_and_orders_nothing() {
    let (client, supervisor) = start_with(&MemoryChain::isthmus(), false, |tree| {
        let actor: Ref<Scripted> = Ref::declare("block-gossip");
        let peers = Some(PeerPorts::of(&actor));
        let spec = ChildSpec::new(&actor, |_| Ok(Scripted(Arc::default())));
        (tree.actor(spec), RollupControls { peers, peer_orders: false, ..nobody() })
    })
    .await;
    assert_eq!(client.call("opp2p_listBlockedPeers", json!([])).await, json!(["bad"]));
    for (method, parameter) in [("opp2p_blockSubnet", "0.0.0.0/0"), ("opp2p_connectPeer", "p")] {
        let (code, message) = client.error(method, json!([parameter])).await;
        assert!(code == -32000 && message.contains("allow_remote_admin"), "{method}: {message}");
    }
    stop(supervisor).await;
}
