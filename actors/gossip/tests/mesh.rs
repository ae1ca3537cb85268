//! Honest nodes: what is published reaches all, and only what was judged valid goes on.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod common;

use common::*;
use duskevm_gossip::Transport;
use duskevm_messages::gossip::*;
use duskevm_p2p::Topic;

/// Four nodes of which three know only the first, each content with three peers.
async fn four(transport: impl Fn() -> Transport) -> [Node; 4] {
    let first = options(1, transport()).enough(3).start().await;
    let boot = [first.address().await];
    let mut others = Vec::new();
    for secret in 2..=4 {
        others.push(options(secret, transport()).boot(&boot).enough(3).start().await);
    }
    let [second, third, fourth] = others.try_into().unwrap_or_else(|_| panic!("three"));
    [first, second, third, fourth]
}

async fn all_hear_all(mut nodes: [Node; 4]) {
    // By the exchange of peers everybody finds everybody.
    for node in &nodes {
        node.peers("all others", |peers| peers.len() == 3).await;
    }
    for publisher in 0..nodes.len() {
        let n = nodes[publisher].publish_to(3, 1_000 * publisher as u32).await;
        for (index, node) in nodes.iter_mut().enumerate() {
            if index != publisher {
                node.accept_until(&vote(n)).await;
            }
        }
    }
    // Where each stands has come round as well.
    for node in &nodes {
        let peers = node.peers("statuses", |peers| peers.iter().all(|peer| peer.status.is_some())).await;
        assert!(peers.iter().all(|peer| peer.status.unwrap().identity == [9; 32]));
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hosts_over_memory_find_and_hear_each_other() {
    all_hear_all(four(memory).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hosts_over_tcp_find_and_hear_each_other() {
    all_hear_all(four(loopback).await).await;
}

/// Three nodes in a row: the ends know only the middle.
async fn row() -> [Node; 3] {
    let middle = options(2, memory()).start().await;
    let boot = [middle.address().await];
    let left = options(1, memory()).boot(&boot).start().await;
    let right = options(3, memory()).boot(&boot).start().await;
    middle.connected(&[&left, &right]).await;
    [left, middle, right]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_judged_valid_is_forwarded() {
    let [left, mut middle, mut right] = row().await;
    left.publish_to(1, 0).await;
    // The middle must know both ends as readers before it can be blamed for not forwarding.
    middle.publish_to(2, 500).await;
    let rejected = left.publish_to(1, 1_000).await;
    let ignored = left.publish_to(1, 2_000).await;
    let accepted = left.publish_to(1, 3_000).await;
    loop {
        let frame = middle.frame().await;
        assert_eq!((frame.peer, frame.topic), (left.id(), Topic::Votes));
        if *frame.bytes == *vote(rejected) {
            middle.judge(&frame, Verdict::Reject(Fault::Invalid)).await;
        } else if *frame.bytes == *vote(ignored) {
            middle.judge(&frame, Verdict::Ignore).await;
        } else {
            middle.judge(&frame, Verdict::Accept).await;
            if *frame.bytes == *vote(accepted) {
                break;
            }
        }
    }
    // The accepted one was sent last: what comes before it is all that was forwarded.
    loop {
        let frame = right.frame().await;
        assert_eq!(frame.peer, middle.id(), "it was relayed");
        assert!(*frame.bytes != *vote(rejected) && *frame.bytes != *vote(ignored));
        right.judge(&frame, Verdict::Accept).await;
        if *frame.bytes == *vote(accepted) {
            break;
        }
    }
    // One bad message is no reason to part.
    middle.connected(&[&left, &right]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_messages_lead_to_a_ban() {
    let mut victim = options(1, memory()).start().await;
    let address = victim.address().await;
    let honest = options(2, memory()).boot(&[address]).start().await;
    let liar = options(3, memory()).boot(&[address]).start().await;
    victim.connected(&[&honest, &liar]).await;
    let mut next = 0;
    let mut judged = 0;
    while judged < 5 {
        next = liar.publish_to(0, next).await + 1;
        // What it published before the victim was known to read is lost.
        while let Ok(frame) = victim.frames.try_recv() {
            assert_eq!(frame.peer, liar.id());
            victim.judge(&frame, Verdict::Reject(Fault::Invalid)).await;
            judged += 1;
        }
        tokio::task::yield_now().await;
    }
    victim.without(liar.id()).await;
    // It goes on dialling and is refused; the honest one is heard.
    let n = honest.publish_to(1, 100_000).await;
    victim.accept_until(&vote(n)).await;
    let peers = victim.peers("the honest peer", |peers| peers.len() == 1).await;
    assert_eq!(peers[0].id, honest.id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_without_a_verdict_is_given_up_and_frees_its_bytes() {
    let mut slow = options(1, memory());
    slow.host.patience = std::time::Duration::from_millis(50);
    slow.host.limits.in_work = 10;
    slow.host.limits.in_work_per_peer = 10;
    let mut slow = slow.start().await;
    let sender = options(2, memory()).boot(&[slow.address().await]).start().await;
    // A vote of the test has 10 bytes: only one fits at a time, and nobody judges it.
    let first = sender.publish_to(1, 0).await;
    let one = slow.frame().await;
    sender.publish_to(1, first + 1_000).await;
    in_time("room again", async {
        let mut n = first + 2_000;
        loop {
            n = sender.publish_to(1, n).await + 1;
            if let Ok(frame) = slow.frames.try_recv()
                && frame.token != one.token
            {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    // A verdict that comes too late has no effect.
    slow.judge(&one, Verdict::Reject(Fault::Garbage)).await;
    slow.connected(&[&sender]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_external_address_is_told_to_peers() {
    let node = options(1, loopback()).start().await;
    // It listens nowhere itself: somebody else forwards the port.
    let mut behind = options(2, Transport::Tcp { listen: Vec::new() });
    behind.host.external = vec!["/ip4/127.0.0.1/tcp/4321".parse().unwrap()];
    let behind = behind.boot(&[node.address().await]).start().await;
    let peers = node.peers("its address", |peers| peers.iter().any(|peer| peer.address.is_some())).await;
    let expected = format!("/ip4/127.0.0.1/tcp/4321/p2p/{}", behind.id());
    assert_eq!(peers[0].address.unwrap().to_string(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_has_typed_failures() {
    let node = options(1, memory()).start().await;
    let publish = |topic, bytes: Vec<u8>| node.actor.ask(Publish { topic, bytes: bytes.into() });
    assert_eq!(publish(Topic::Votes, vote(1).to_vec()).await.unwrap(), Ok(0), "nobody is there");
    let too_long = publish(Topic::Votes, vec![0; 2_049]).await.unwrap();
    assert_eq!(too_long, Err(PublishFailure::TooLong { got: 2_049, most: 2_048 }));
    assert_eq!(publish(Topic::L2(1), vec![1]).await.unwrap(), Err(PublishFailure::NotSubscribed));
}
