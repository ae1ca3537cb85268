//! The server dies in every way and serves again on the same port.

use crate::{chain::MemoryChain, node::Node};
use duskevm_supervision::{ActorState, Fault};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

#[tokio::test]
async fn it_serves_again_on_the_same_port_after_every_fault() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    for (fault, restarts) in [(Fault::Stop, 1), (Fault::Panic, 2), (Fault::Restart, 3)] {
        node.supervisor.inject("rpc", fault).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let status = &node.supervisor.actors()[0];
            if status.restarts >= restarts && status.state == ActorState::Running {
                break;
            }
            assert!(Instant::now() < deadline, "{fault:?}: {status:?}");
            // The socket outlives the instances: nobody is refused meanwhile.
            TcpStream::connect(node.address).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The head feed is followed again as well.
        let block = node.chain.mine(vec![]);
        assert_eq!(client.call("eth_getBlockByNumber", json!(["latest", false])).await["hash"], json!(block.hash()));
    }
    node.stop().await;
}

#[tokio::test]
async fn a_hang_of_the_actor_does_not_stop_the_serving() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    node.supervisor.inject("rpc", Fault::Hang(Duration::from_secs(2))).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let asked = Instant::now();
    assert_eq!(client.call("eth_chainId", json!([])).await, "0x7a4e");
    assert!(asked.elapsed() < Duration::from_secs(1), "it was answered while the actor's thread did nothing");
    node.stop().await;
}

#[tokio::test]
async fn an_instance_that_hangs_is_replaced() {
    let node = Node::watched(MemoryChain::isthmus(), Duration::from_secs(2)).await;
    let client = node.client();
    node.supervisor.inject("rpc", Fault::Hang(Duration::from_secs(8))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while node.supervisor.actors()[0].restarts == 0 {
        assert!(Instant::now() < deadline, "it is not replaced");
        assert_eq!(client.call("eth_chainId", json!([])).await, "0x7a4e");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.supervisor.ready().await.unwrap();
    // The old instance gives way: what is answered comes from the new one, also after the old one has woken up.
    for _ in 0..20 {
        assert_eq!(client.call("eth_chainId", json!([])).await, "0x7a4e");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let status = &node.supervisor.actors()[0];
    assert_eq!((status.restarts, &status.state), (1, &ActorState::Running));
    node.stop().await;
}
