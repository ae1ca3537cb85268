//! Hosts that gossip blocks over loopback: what one makes the others import, gaps are closed by asking, strangers' blocks and garbage
//! change nothing.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod bed;
mod stranger;

use alloy_consensus::{Header, Sealable as _};
use alloy_primitives::B256;
use duskevm_gossip::OwnChain;
use duskevm_l1_view::ViewBlock;
use duskevm_messages::block_gossip::{Direction, PeerOrder, PeerRefusal};
use duskevm_supervision::Fault as Injected;
use duskevm_unsafe_gossip::{Payload, PayloadVersion, topic};
use futures::StreamExt;
use libp2p::Multiaddr;
use libp2p::gossipsub::{self, IdentTopic};
use libp2p::swarm::SwarmEvent;
use std::time::Duration;

use bed::*;
use stranger::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_travel_from_node_to_node() {
    let (_, [sequencer, middle, end]) = row().await;
    until_heard(&sequencer, &[&middle, &end]).await;
    let made = sequencer.chain.grow(1);
    middle.chain.reaches(&made).await;
    end.chain.reaches(&made).await;
    // Several at once: the feed shows only the last one.
    let made = sequencer.chain.grow(9);
    end.chain.reaches(&made).await;
    for node in [sequencer, middle, end] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_node_asks_for_what_it_missed() {
    let (genesis, [sequencer, middle, end]) = row().await;
    until_heard(&sequencer, &[&middle, &end]).await;
    sequencer.chain.grow(60);
    let late = node(&genesis, None, vec![sequencer.address().await, end.address().await]).await;
    // It hears of the chain with the next block that reaches it.
    until_heard(&sequencer, &[&middle, &end, &late]).await;
    let made = sequencer.chain.grow(1);
    late.chain.reaches(&made).await;
    assert_eq!(*late.chain.blocks.lock().unwrap(), *sequencer.chain.blocks.lock().unwrap());
    for node in [sequencer, middle, end, late] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_come_and_go_and_blocks_go_on() {
    let (_, [sequencer, middle, end]) = row().await;
    until_heard(&sequencer, &[&middle, &end]).await;
    for fault in [Injected::Stop, Injected::Panic] {
        for node in [&sequencer, &middle] {
            node.fault(fault).await;
            let made = sequencer.chain.grow(3);
            end.chain.reaches(&made).await;
        }
    }
    for node in [sequencer, middle, end] {
        node.stop().await;
    }
}

/// Two nodes that have a sequencer each, with the same key: one makes blocks at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_sequencer_follows_and_takes_over() {
    let genesis = block(0, B256::ZERO, 0);
    let first = node(&genesis, Some(7), Vec::new()).await;
    let second = node(&genesis, Some(7), vec![first.address().await]).await;
    let witness = node(&genesis, None, vec![first.address().await, second.address().await]).await;
    let active = |node: &Node, active| node.sequencing.send_modify(|sequencing| sequencing.active = active);
    active(&second, false);
    until_heard(&first, &[&second, &witness]).await;
    let made = first.chain.grow(3);
    second.chain.reaches(&made).await;

    // The other way round, and back.
    for (from, to) in [(&first, &second), (&second, &first)] {
        active(from, false);
        active(to, true);
        until_heard(to, &[from, &witness]).await;
        let made = to.chain.grow(3);
        from.chain.reaches(&made).await;
        witness.chain.reaches(&made).await;
    }
    assert_eq!(*first.chain.blocks.lock().unwrap(), *second.chain.blocks.lock().unwrap());

    // Whoever makes blocks takes none of others.
    active(&second, true);
    let parent = first.chain.latest();
    second.chain.reaches(&parent).await;
    let own = second.chain.grow(1);
    first.chain.import(&block(own.number(), parent.hash(), 2)).unwrap();
    let other = first.chain.grow(1);
    witness.chain.reaches(&other).await;
    assert_eq!(second.chain.latest().hash(), own.hash());
    for node in [first, second, witness] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_with_another_implementation_and_key_is_heard_and_hears() {
    let genesis = block(0, B256::ZERO, 0);
    let follower = node(&genesis, None, Vec::new()).await;
    let sequencer = node(&genesis, Some(7), Vec::new()).await;
    let mut other = stranger();
    join(&mut other, &follower.address().await).await;
    let made = block(1, genesis.hash(), 1);
    publish(&mut other, PayloadVersion::V4, signer(7).message(CHAIN, &Payload::from_block(&made)).unwrap());
    let feed = follower.chain.clone();
    tokio::select! {
        () = feed.reaches(&made) => {}
        () = async { loop { other.select_next_some().await; } } => {}
    }
    let mut other = stranger();
    join(&mut other, &sequencer.address().await).await;
    let chain = sequencer.chain.clone();
    let growing = tokio::spawn(async move {
        loop {
            chain.grow(1);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let heard = in_time("a message", async {
        loop {
            if let SwarmEvent::Behaviour(gossipsub::Event::Message { message, .. }) = other.select_next_some().await {
                return message;
            }
        }
    })
    .await;
    growing.abort();
    assert_eq!(heard.topic, IdentTopic::new(topic(CHAIN, PayloadVersion::V4)).hash());
    let (signature, body) = duskevm_unsafe_gossip::message::open(&heard.data).unwrap();
    let recovered = duskevm_unsafe_gossip::message::recover(CHAIN, &signature, &body).unwrap();
    assert_eq!(recovered, signer(7).address());
    follower.stop().await;
    sequencer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_signer_and_garbage_change_nothing_and_cost_the_connection() {
    let genesis = block(0, B256::ZERO, 0);
    let sequencer = node(&genesis, Some(7), Vec::new()).await;
    let follower = node(&genesis, None, vec![sequencer.address().await]).await;
    until_heard(&sequencer, &[&follower]).await;
    let mut evil = stranger();
    join(&mut evil, &follower.address().await).await;
    let head = follower.chain.latest();
    let forged = block(head.number() + 1, head.hash(), 9);
    publish(&mut evil, PayloadVersion::V4, signer(8).message(CHAIN, &Payload::from_block(&forged)).unwrap());
    // A promise of 4 GiB; no snappy at all; snappy of nothing.
    publish(&mut evil, PayloadVersion::V4, vec![0xff, 0xff, 0xff, 0xff, 0x0f]);
    for n in 0..20u8 {
        publish(&mut evil, PayloadVersion::V4, vec![0xff, n]);
    }
    in_time("the stranger is parted from", async {
        loop {
            if let SwarmEvent::ConnectionClosed { .. } = evil.select_next_some().await {
                return;
            }
        }
    })
    .await;
    let made = sequencer.chain.grow(2);
    follower.chain.reaches(&made).await;
    assert!(follower.chain.blocks.lock().unwrap().iter().all(|block| *block != forged));
    // It may not come back.
    evil.dial(follower.address().await.to_string().parse::<Multiaddr>().unwrap()).unwrap();
    in_time("the stranger is refused", async {
        loop {
            match evil.select_next_some().await {
                SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. } => return,
                _ => {}
            }
        }
    })
    .await;
    sequencer.stop().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_block_that_is_invalid_is_left_out() {
    let genesis = block(0, B256::ZERO, 0);
    let follower = node(&genesis, None, Vec::new()).await;
    let mut other = stranger();
    join(&mut other, &follower.address().await).await;
    let (bad, good) = (block(1, genesis.hash(), BAD), block(1, genesis.hash(), 1));
    for made in [&bad, &good, &block(2, good.hash(), 1)] {
        publish(&mut other, PayloadVersion::V4, signer(7).message(CHAIN, &Payload::from_block(made)).unwrap());
    }
    let feed = follower.chain.clone();
    tokio::select! {
        () = async {
            let mut heads = feed.feed();
            let reached = heads.wait_for(|heads| heads.as_ref().is_some_and(|heads| heads.latest.number() == 2));
            in_time("the good blocks", reached).await.unwrap();
        } => {}
        () = async { loop { other.select_next_some().await; } } => {}
    }
    assert_eq!(follower.chain.block(1), Some(good));
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequencer_whose_key_l1_does_not_name_announces_nothing() {
    let genesis = block(0, B256::ZERO, 0);
    let former = node(&genesis, Some(8), Vec::new()).await;
    let sequencer = node(&genesis, Some(7), Vec::new()).await;
    let follower = node(&genesis, None, vec![former.address().await, sequencer.address().await]).await;
    until_heard(&sequencer, &[&follower]).await;
    former.chain.grow(3);
    let made = sequencer.chain.grow(1);
    follower.chain.reaches(&made).await;
    let report = former.supervisor.actors()[0].clone();
    assert!(format!("{report:?}").contains("keys.unsafe_signer"), "{report:?}");
    for node in [former, sequencer, follower] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_whose_origin_l1_has_replaced_waits_until_it_is_there_again() {
    let genesis = block(0, B256::ZERO, 0);
    let follower = node(&genesis, None, Vec::new()).await;
    let (old, new) = (l1_block(5, 1), l1_block(5, 2));
    follower.l1.moves(new, signer(7).address());
    let mut other = stranger();
    join(&mut other, &follower.address().await).await;
    let early = block(1, genesis.hash(), 1);
    let late = block_of(Some(&old), 2, early.hash(), 1);
    for made in [&late, &early] {
        publish(&mut other, PayloadVersion::V4, signer(7).message(CHAIN, &Payload::from_block(made)).unwrap());
    }
    let feed = follower.chain.clone();
    tokio::select! {
        () = async {
            // What stands below is imported, and then this one is looked at.
            feed.reaches(&early).await;
            in_time("the block to be put off", async {
                while follower.l1.asked() == 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
            assert_eq!(feed.latest(), early);
            follower.l1.moves(old, signer(7).address());
            feed.reaches(&late).await;
        } => {}
        () = async { loop { other.select_next_some().await; } } => {}
    }
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chosen_peer_is_not_banned_while_the_own_l1_or_its_signer_is_old() {
    let genesis = block(0, B256::ZERO, 0);
    let sequencer = node(&genesis, Some(8), Vec::new()).await;
    sequencer.l1.moves(l1_block(1, 1), signer(8).address());
    let follower = node(&genesis, None, vec![sequencer.address().await]).await;
    // It has read L1 up to where the signer was another one, as long ago as it was.
    let long_ago = Header { number: 1, timestamp: 1, ..Default::default() };
    let behind = ViewBlock { header: long_ago.seal_slow(), transactions: Vec::new(), receipts: Vec::new() };
    follower.l1.moves(behind, signer(7).address());
    for (fresh, hint) in [(None, "catches up"), (Some(2), "of this network")] {
        if let Some(number) = fresh {
            follower.l1.moves(l1_block(number, 1), signer(7).address());
        }
        // More blocks than it takes to be banned, and until it is told what is wrong.
        let mut made = 0;
        in_time(hint, async {
            while made < 30 || !format!("{:?}", follower.supervisor.actors()[0]).contains(hint) {
                sequencer.chain.grow(1);
                made += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    assert_eq!(follower.chain.latest().number(), 0);
    // L1 has caught up.
    follower.l1.moves(l1_block(3, 1), signer(8).address());
    until_heard(&sequencer, &[&follower]).await;
    for node in [sequencer, follower] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_connect_block_and_disconnect_peers() {
    let genesis = block(0, B256::ZERO, 0);
    let (one, other) = (node(&genesis, Some(7), Vec::new()).await, node(&genesis, None, Vec::new()).await);
    let (address, id) = (one.address().await.to_string(), one.host.identity().id());
    let connect = || other.order(PeerOrder::Connect(address.clone()));
    connect().await.unwrap();
    // Neither was told of the other by its settings.
    until_heard(&one, &[&other]).await;
    let view =
        other.sees("who it is", |view| view.peers.first().is_some_and(|peer| peer.user_agent == "duskevm")).await;
    let [peer] = &view.peers[..] else { panic!("{view:?}") };
    assert_eq!((peer.id.as_str(), peer.connected, peer.direction), (id.as_str(), true, Direction::Outbound));
    assert!(peer.gossips && !peer.protected && peer.node_id.is_some(), "{peer:?}");
    assert_eq!((peer.addresses.as_slice(), view.topics), ([address.clone()].as_slice(), [1; 4]));
    assert_eq!((view.chain_id, view.own.id), (CHAIN, other.host.identity().id()));
    let seen = one.sees("the other side", |view| view.peers.len() == 1).await;
    assert_eq!(seen.peers[0].direction, Direction::Inbound);
    for (order, protected) in [(PeerOrder::Protect(id.clone()), true), (PeerOrder::Unprotect(id.clone()), false)] {
        other.order(order).await.unwrap();
        other.sees("protection", |view| view.peers[0].protected == protected).await;
    }

    let nearby = "127.0.0.0/8".parse().unwrap();
    let home = "127.0.0.1".parse().unwrap();
    for (block, unblock) in [
        (PeerOrder::BlockPeer(id.clone()), PeerOrder::UnblockPeer(id.clone())),
        (PeerOrder::BlockAddress(home), PeerOrder::UnblockAddress(home)),
        (PeerOrder::BlockSubnet(nearby), PeerOrder::UnblockSubnet(nearby)),
    ] {
        other.order(block.clone()).await.unwrap();
        let blocked = other.sees("the connection stays", |view| view.peers.len() == 1).await.blocked;
        assert_eq!(blocked.peers.len() + blocked.addresses.len() + blocked.subnets.len(), 1, "{blocked:?}");
        other.order(PeerOrder::Disconnect(id.clone())).await.unwrap();
        other.sees("the connection ends", |view| view.peers.is_empty()).await;
        let refused = connect().await.unwrap_err();
        assert!(matches!(&refused, PeerRefusal::Unreachable { peer, .. } if *peer == id), "{block:?}: {refused}");
        other.order(unblock).await.unwrap();
        connect().await.unwrap();
    }
    assert!(matches!(other.order(PeerOrder::Connect("x".into())).await, Err(PeerRefusal::Address(_))));
    assert!(matches!(other.order(PeerOrder::BlockPeer("x".into())).await, Err(PeerRefusal::Id(_))));
    for node in [one, other] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_the_settings_is_protected_for_good() {
    let (_, [sequencer, middle, end]) = row().await;
    let id = sequencer.host.identity().id();
    let view = middle.sees("both", |view| view.peers.iter().filter(|peer| peer.connected).count() == 2).await;
    assert!(view.peers.iter().any(|peer| peer.id == id && peer.protected));
    assert_eq!(middle.order(PeerOrder::Unprotect(id.clone())).await, Err(PeerRefusal::Chosen(id)));
    for node in [sequencer, middle, end] {
        node.stop().await;
    }
}
