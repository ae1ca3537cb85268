//! Actors come and go, the host and its connections stay.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod common;

use std::time::Duration;

use common::*;
use duskevm_gossip::{Host, HostError, HostSettings, Identity, Transport};
use duskevm_messages::gossip::*;
use duskevm_p2p::Topic;
use duskevm_supervision::{Fault as Injected, Gate};
use tempfile::TempDir;

async fn pair(transport: impl Fn() -> Transport) -> (Node, Node) {
    let first = options(1, transport()).start().await;
    let second = options(2, transport()).boot(&[first.address().await]).start().await;
    first.connected(&[&second]).await;
    second.connected(&[&first]).await;
    (first, second)
}

async fn goes_on(transport: impl Fn() -> Transport, fault: Injected) {
    let (mut first, mut second) = pair(transport).await;
    second.publish_to(1, 0).await;
    let waiting = first.frame().await;
    // Whoever looks at the feed of the peer sees that the connection is the same one: a lost one would be announced.
    let mut seen = second.peers.clone();
    seen.mark_unchanged();
    let id = first.id();
    let watcher = tokio::spawn(async move {
        while seen.changed().await.is_ok() {
            assert!(seen.borrow_and_update().iter().any(|peer| peer.id == id), "the connection was lost");
        }
    });
    first.fault(fault).await;
    // A token of before the restart still names its message; both directions work.
    first.judge(&waiting, Verdict::Accept).await;
    let n = second.publish_to(1, 1_000).await;
    first.accept_until(&vote(n)).await;
    let n = first.publish_to(1, 2_000).await;
    second.accept_until(&vote(n)).await;
    assert!(!watcher.is_finished(), "the connection was lost");
    watcher.abort();
    first.peers("the same peer", |peers| peers.len() == 1).await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_keeps_the_connections_over_memory() {
    goes_on(memory, Injected::Panic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_keeps_the_connections_over_tcp() {
    goes_on(loopback, Injected::Panic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderly_restart_keeps_the_connections() {
    goes_on(memory, Injected::Restart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_wait_for_the_next_instance() {
    let sender = options(1, memory()).start().await;
    let settings = HostSettings::new(NETWORK, Topic::L1.to_vec());
    let runtime = tokio::runtime::Handle::current();
    let host = Host::start(settings, memory(), Identity::from_secret([2; 32]), runtime).unwrap();
    let gate = Gate::new("gossip");
    let first = host.attach(&gate.advance(Duration::ZERO).unwrap()).unwrap();
    assert!(in_time("the dial", first.control.dial(sender.address().await)).await);
    let n = sender.publish_to(1, 0).await;
    drop(first);
    let late = sender.publish_to(1, n + 1_000).await;
    let mut second = host.attach(&gate.advance(Duration::ZERO).unwrap()).unwrap();
    let mut numbers = Vec::new();
    while !numbers.contains(&late) {
        match in_time("a message", second.events.recv()).await.unwrap() {
            duskevm_gossip::HostEvent::Message { bytes, .. } => {
                numbers.push(u32::from_le_bytes(bytes[6..].try_into().unwrap()));
            }
            duskevm_gossip::HostEvent::Request { .. } => {}
        }
    }
    assert_eq!(second.links.borrow().len(), 1, "the connection is the old one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_newest_instance_is_attached() {
    let settings = HostSettings::new(NETWORK, Topic::L1.to_vec());
    let runtime = tokio::runtime::Handle::current();
    let host = Host::start(settings, memory(), Identity::from_secret([2; 32]), runtime).unwrap();
    let gate = Gate::new("gossip");
    let old = gate.advance(Duration::ZERO).unwrap();
    let mut zombie = host.attach(&old).unwrap();
    let new = gate.advance(Duration::ZERO).unwrap();
    let current = host.attach(&new).unwrap();
    assert!(matches!(host.attach(&old), Err(HostError::Fenced(_))));
    assert!(in_time("the end of the old one", zombie.events.recv()).await.is_none());
    let refused = in_time("an answer", zombie.control.publish(Topic::Votes, vote(1))).await;
    assert_eq!(refused, Err(PublishFailure::Down));
    assert_eq!(in_time("an answer", current.control.publish(Topic::Votes, vote(1))).await, Ok(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_ended_is_started_again_on_the_same_identity() {
    let settings = HostSettings::new(NETWORK, Topic::L1.to_vec());
    let runtime = tokio::runtime::Handle::current();
    let host = Host::start(settings, memory(), Identity::from_secret([2; 32]), runtime).unwrap();
    host.shutdown();
    let gate = Gate::new("gossip");
    let fence = gate.advance(Duration::ZERO).unwrap();
    // The old task gives its port back when it is dropped, a moment after it was told to end.
    let attached = in_time("the port", async {
        loop {
            match host.attach(&fence) {
                Ok(attached) => return attached,
                Err(HostError::Listen { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await;
    assert_eq!(attached.id, host.id());
    let mut listening = attached.listening.clone();
    in_time("listening", listening.wait_for(|known| !known.is_empty())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_an_error_that_names_it() {
    let settings = || HostSettings::new(NETWORK, Topic::L1.to_vec());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let runtime = tokio::runtime::Handle::current();
    let transport = Transport::Tcp { listen: vec![address] };
    let error = Host::start(settings(), transport, Identity::generate(), runtime).unwrap_err().to_string();
    assert!(error.contains(&address.port().to_string()) && error.contains("section `gossip`"), "{error}");
    assert!(error.contains("in use"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_are_remembered_without_boot_nodes() {
    let dir = TempDir::new().unwrap();
    let first = options(1, loopback()).start().await;
    let boot = [first.address().await];
    let mut second = options(2, loopback()).boot(&boot);
    second.settings.folder = Some(dir.path().join("gossip"));
    let second = second.start().await;
    second.connected(&[&first]).await;
    second.stop().await;
    let text = std::fs::read_to_string(dir.path().join("gossip/peers")).unwrap();
    assert!(text.contains(&boot[0].to_string()), "{text}");
    let mut again = options(2, loopback());
    again.settings.folder = Some(dir.path().join("gossip"));
    let again = again.start().await;
    again.connected(&[&first]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_house_takes_nobody_in_and_still_goes_out() {
    let mut full = options(1, memory());
    full.host.max_inbound = 1;
    full.host.max_peers = 2;
    let full = full.start().await;
    let guest = options(2, memory()).boot(&[full.address().await]).start().await;
    full.connected(&[&guest]).await;

    let settings = || HostSettings::new(NETWORK, Topic::L1.to_vec());
    let runtime = tokio::runtime::Handle::current;
    let late = Host::start(settings(), memory(), Identity::from_secret([3; 32]), runtime()).unwrap();
    let mut attached = late.attach(&Gate::new("gossip").advance(Duration::ZERO).unwrap()).unwrap();
    in_time("the end of the dial", attached.control.dial(full.address().await)).await;
    // Whether the refusal is seen while dialling or right after it: nothing of the connection stays.
    in_time("the refusal", attached.links.wait_for(|links| links.is_empty())).await.unwrap();
    let peers = full.peers("the guest", |peers| !peers.is_empty()).await;
    assert_eq!(peers.iter().map(|peer| peer.id).collect::<Vec<_>>(), [guest.id()]);

    // What others do not fill is for connections that the node makes itself.
    let away = Host::start(settings(), memory(), Identity::from_secret([4; 32]), runtime()).unwrap();
    let mut listening = away.listening();
    let endpoint = in_time("listening", listening.wait_for(|known| !known.is_empty())).await.unwrap()[0];
    full.supervisor.shutdown(PATIENCE).await;
    // The actor has gone; its host takes commands from the next generation.
    let gate = Gate::new("gossip");
    gate.advance(Duration::ZERO).unwrap();
    let taken = full.host.attach(&gate.advance(Duration::ZERO).unwrap()).unwrap();
    let address = duskevm_p2p::PeerAddress { peer: away.id(), endpoint };
    assert!(in_time("the dial", taken.control.dial(address)).await);
}
