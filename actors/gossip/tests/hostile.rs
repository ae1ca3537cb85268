//! Peers that do not keep the rules: they are banned, and the others notice nothing.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod common;

use common::evil::{self, Evil};
use common::*;
use duskevm_gossip::Transport;
use duskevm_messages::gossip::*;
use duskevm_p2p::{Answer, Rate, Request, Topic};
use duskevm_supervision::Port;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// It asks nothing: what is held against a peer is what the test is about, and not that it gives no answers.
fn quiet(options: &mut Options) {
    options.settings.pace.status = Duration::from_secs(3_600);
    options.settings.pace.exchange = Duration::from_secs(3_600);
    options.settings.enough_peers = 0;
}

/// A victim with an honest peer, and how to reach it.
async fn victim(transport: impl Fn() -> Transport) -> (Node, Node) {
    let mut options = options(1, transport());
    // A small allowance makes for short floods.
    options.host.limits.votes.messages = Rate::new(50, 1);
    quiet(&mut options);
    let victim = options.start().await;
    let honest = common::options(2, transport()).boot(&[victim.address().await]).start().await;
    victim.connected(&[&honest]).await;
    (victim, honest)
}

/// The honest peer is heard, and the victim hears nobody else.
async fn unharmed(mut victim: Node, honest: Node) {
    let n = honest.publish_to(1, 1_000_000).await;
    in_time("the honest message", async {
        loop {
            let frame = victim.frame().await;
            victim.judge(&frame, Verdict::Accept).await;
            if *frame.bytes == *vote(n) {
                return;
            }
        }
    })
    .await;
    let peers = victim.peers("the honest peer alone", |peers| peers.len() == 1).await;
    assert_eq!(peers[0].id, honest.id());
    assert_eq!(victim.supervisor.actors()[0].restarts, 0, "nothing failed");
    victim.stop().await;
    honest.stop().await;
}

/// Offends until the victim parts from it and does not take it back. A first offence may only cost the connection.
async fn banned(victim: &Node, evil: &mut Evil, mut offend: impl FnMut(&mut Evil)) {
    let id = evil.id;
    let listed = |peers: &[PeerInfo]| peers.iter().any(|peer| peer.id == id);
    evil.until(victim.peers("the hostile peer", listed)).await;
    for _ in 0..4 {
        offend(evil);
        evil.until(victim.without(id)).await;
        if refused(victim, evil).await {
            return;
        }
        evil.subscribed().await;
    }
    panic!("it is taken back again and again");
}

/// Whether a peer from which the victim has parted is not taken back.
async fn refused(victim: &Node, evil: &mut Evil) -> bool {
    let id = evil.id;
    while evil.swarm.is_connected(&evil.target) {
        evil.until_closed().await;
    }
    evil.dial();
    tokio::select! {
        () = evil.until_closed() => true,
        _ = victim.peers("the hostile peer again", |peers| peers.iter().any(|peer| peer.id == id)) => false,
    }
}

async fn oversize(transport: impl Fn() -> Transport) {
    let (victim, honest) = victim(transport).await;
    let mut evil = Evil::connect(66, victim.address().await).await;
    // Votes of 100 KiB: within what the transport takes, far beyond what a vote has.
    let mut next = 0;
    banned(&victim, &mut evil, |evil| {
        for _ in 0..3 {
            next += 1;
            let mut bytes = vec![next; 100 << 10];
            bytes[..6].copy_from_slice(&[1, 0, 0, 0, 0, 17]);
            evil.publish(Topic::Votes, &bytes).unwrap();
        }
    })
    .await;
    unharmed(victim, honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversize_messages_lead_to_a_ban_over_memory() {
    oversize(memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversize_messages_lead_to_a_ban_over_tcp() {
    oversize(loopback).await;
}

async fn flood(transport: impl Fn() -> Transport) {
    let (victim, honest) = victim(transport).await;
    let mut evil = Evil::connect(66, victim.address().await).await;
    let mut next = 0;
    banned(&victim, &mut evil, |evil| {
        for _ in 0..300 {
            next += 1;
            evil.publish(Topic::Votes, &vote(next)).unwrap();
        }
    })
    .await;
    unharmed(victim, honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_leads_to_a_ban_over_memory() {
    flood(memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_leads_to_a_ban_over_tcp() {
    flood(loopback).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_copies_leads_to_a_ban() {
    let (victim, honest) = victim(memory).await;
    let mut evil = Evil::connect(66, victim.address().await).await;
    // One message again and again: beyond the first, no copy gets past gossipsub's memory of what it has seen.
    banned(&victim, &mut evil, |evil| {
        for _ in 0..20_000 {
            evil.publish(Topic::Transactions, &[1, 0, 0, 0, 0, 10, 1]).unwrap();
        }
    })
    .await;
    unharmed(victim, honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_the_wrong_kind_lead_to_a_ban() {
    let (victim, honest) = victim(memory).await;
    let mut evil = Evil::connect(66, victim.address().await).await;
    let mut next = 0;
    banned(&victim, &mut evil, |evil| {
        for bytes in [&b"\x01\x00\x00\x00\x00\x10"[..], b"garbage", b"\x02\x00\x00\x00\x00\x11", b"\xff"] {
            next += 1;
            evil.publish(Topic::Votes, &[bytes, &[next]].concat()).unwrap();
        }
    })
    .await;
    unharmed(victim, honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_requests_lead_to_a_ban() {
    let (victim, honest) = victim(loopback).await;
    let mut evil = Evil::connect(66, victim.address().await).await;
    banned(&victim, &mut evil, |evil| {
        for bytes in [vec![0xff; 64], vec![1, 0, 0, 0, 77], vec![4, 0, 0, 0, 2, 0, 0, 0], vec![3, 0, 0, 0, 3, 3, 3]] {
            evil.ask_raw(bytes);
        }
    })
    .await;
    unharmed(victim, honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_requests_lead_to_a_ban() {
    let (victim, honest) = victim(memory).await;
    let mut evil = Evil::connect(66, victim.address().await).await;
    let id = evil.id;
    evil.until(victim.peers("the hostile peer", |peers| peers.iter().any(|peer| peer.id == id))).await;
    // The kind (addresses) has a burst of four and one per second; what is beyond costs two points each. Only eight streams of
    // a connection are read at a time, so they come a few after another.
    for _ in 0..4 {
        in_time("the victim parts", async {
            while victim.peers.borrow().iter().any(|peer| peer.id == id) {
                (0..6).for_each(|_| evil.ask_raw(vec![1, 0, 0, 0, 3]));
                evil.until(tokio::time::sleep(Duration::from_millis(10))).await;
            }
        })
        .await;
        if refused(&victim, &mut evil).await {
            return unharmed(victim, honest).await;
        }
    }
    panic!("it is taken back again and again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_a_stream_of_gossipsub_harms_nobody() {
    let (victim, honest) = victim(memory).await;
    let mut evil = Evil::connect(66, victim.address().await).await;
    for bytes in [
        vec![],
        vec![0xff; 1 << 10],
        // A length of 2^63, one of 16 MiB, one of 0.
        vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        vec![0x80, 0x80, 0x80, 0x08],
        vec![0x00, 0x00],
        // A field of a type that does not exist, and a field that is longer than the message.
        vec![0x02, 0x0f, 0x00],
        vec![0x03, 0x12, 0x7f, 0x00],
        (0..=255).collect(),
    ] {
        evil.mesh_raw(bytes);
    }
    // It is all answered by closing the streams, which the requests notice.
    let mut ended = 0;
    in_time("the streams end", async {
        use futures::StreamExt;
        while ended < 8 {
            let event = evil.swarm.select_next_some().await;
            if let libp2p::swarm::SwarmEvent::Behaviour(evil::EvilNetEvent::RawMesh(
                libp2p::request_response::Event::OutboundFailure { .. }
                | libp2p::request_response::Event::Message { .. },
            )) = event
            {
                ended += 1;
            }
            if let libp2p::swarm::SwarmEvent::ConnectionClosed { .. } = event {
                ended = 8;
            }
        }
    })
    .await;
    drop(evil);
    unharmed(victim, honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_is_parted_from() {
    let (victim, honest) = victim(memory).await;
    // It joins, and then takes nothing off its connection any more.
    let evil = Evil::connect(66, victim.address().await).await;
    victim.peers("the slow reader", |peers| peers.iter().any(|peer| peer.id == evil.id)).await;
    in_time("the victim parts", async {
        let mut n = 0u32;
        while victim.peers.borrow().iter().any(|peer| peer.id == evil.id) {
            n += 1;
            let mut bytes = vec![0; 2 << 10];
            bytes[..6].copy_from_slice(&[1, 0, 0, 0, 0, 10]);
            bytes[6..10].copy_from_slice(&n.to_le_bytes());
            let publish = Publish { topic: Topic::Transactions, bytes: bytes.into() };
            victim.actor.ask(publish).await.unwrap().unwrap();
            // The pace is that of a busy network, within what the honest peer takes.
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
    })
    .await;
    unharmed(victim, honest).await;
}

/// A question for frames, as it is sent: length, kind, length of the frame, frame.
fn ask_frames(n: u8) -> Vec<u8> {
    vec![6, 0, 0, 0, 1, 1, 0, 0, 0, n]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_and_does_not_read_holds_few_answers_and_is_banned() {
    let mut options = options(1, memory());
    // The answers of 3 MiB take the time of the test, not this.
    options.host.reading = Duration::from_millis(100);
    quiet(&mut options);
    let (served, count) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (served.clone(), count.clone());
    options.settings.serve_frames = Port::from_fn(move |asked: ServeFrames| {
        counts.1.fetch_add(usize::from(asked.frame == [9]), Ordering::Relaxed);
        counts.0.fetch_add(usize::from(asked.frame != [9]), Ordering::Relaxed);
        async { vec![vec![7; 3 << 20]; 2] }
    });
    let victim = options.start().await;
    let honest = common::options(2, memory()).boot(&[victim.address().await]).start().await;
    victim.connected(&[&honest]).await;
    let mut evil = Evil::connect(66, victim.address().await).await;
    evil.deaf.store(true, Ordering::Relaxed);
    let id = evil.id;
    evil.until(victim.peers("the deaf peer", |peers| peers.iter().any(|peer| peer.id == id))).await;
    // Eight streams are what a connection has for questions: without a bound all eight answers would be held.
    for n in 0..8 {
        evil.ask_raw(ask_frames(n));
        evil.until(tokio::time::sleep(Duration::from_millis(20))).await;
    }
    // The honest peer is answered meanwhile; questions of the other came before its last ones.
    let asks = async {
        for _ in 0..5 {
            let ask = honest.ask(PeerChoice::Peer(victim.id()), Request::Frame(vec![9])).await.unwrap();
            assert_eq!(ask.1, Answer::Frames(vec![vec![7; 3 << 20]; 2]));
        }
    };
    evil.until(asks).await;
    let held = served.load(Ordering::Relaxed);
    assert!((1..=2).contains(&held), "{held} answers of 6 MiB are held for one peer");
    assert_eq!(count.load(Ordering::Relaxed), 5);
    // It goes on like that until it has been given up often enough.
    in_time("the victim parts", async {
        for n in 0.. {
            let listed = victim.peers.borrow().iter().any(|peer| peer.id == id);
            if !listed {
                break;
            }
            evil.ask_raw(ask_frames(n));
            evil.until(tokio::time::sleep(Duration::from_millis(50))).await;
        }
    })
    .await;
    unharmed(victim, honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_introduces_itself_again_and_again_is_banned() {
    let (victim, honest) = victim(memory).await;
    let mut evil = Evil::connect(66, victim.address().await).await;
    let id = evil.id;
    evil.until(victim.peers("the hostile peer", |peers| peers.iter().any(|peer| peer.id == id))).await;
    in_time("the victim parts", async {
        let mut pushes = 0;
        while victim.peers.borrow().iter().any(|peer| peer.id == id) {
            evil.push().await;
            pushes += 1;
        }
        assert!(pushes > 16, "an honest peer may do so now and then");
    })
    .await;
    unharmed(victim, honest).await;
}
