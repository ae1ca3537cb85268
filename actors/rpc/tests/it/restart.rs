//! The server dies in every way and serves again on the same port.

use crate::{chain::MemoryChain, node::Node};
use duskevm_supervision::{ActorState, Fault};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

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
    // The actor says every second that it lives.
    let silent_for = || {
        let (_, ago) = node.supervisor.actors()[0].lease.done.clone().unwrap();
        ago
    };
    node.supervisor.inject("rpc", Fault::Hang(Duration::from_secs(5))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while silent_for() < Duration::from_secs(2) {
        assert!(Instant::now() < deadline, "it does not hang");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = silent_for();
    assert_eq!(client.call("eth_chainId", json!([])).await, "0x7a4e");
    assert!(silent_for() >= before, "the actor's thread was free when this was answered");
    node.stop().await;
}

#[tokio::test]
async fn an_instance_that_hangs_is_replaced() {
    const HANG: Duration = Duration::from_secs(4);
    let node = Node::watched(MemoryChain::isthmus(), Duration::from_secs(1)).await;
    let client = node.client();
    // A connection to the first instance, which closes it when it gives way.
    let mut kept = TcpStream::connect(node.address).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", node.address);
    kept.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(kept.read_u8().await.unwrap(), b'H');
    let old = client.call("eth_newBlockFilter", json!([])).await;
    let hung = Instant::now();
    node.supervisor.inject("rpc", Fault::Hang(HANG)).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), kept.read_to_end(&mut Vec::new())).await;
    ended.expect("the old instance does not give way").unwrap();
    assert!(hung.elapsed() < HANG, "it gave way only when it woke up");
    node.supervisor.ready().await.unwrap();
    // From now on everything is answered by the new one, also after the old one has woken up: it knows its own filters only.
    let (code, _) = client.error("eth_getFilterChanges", json!([old])).await;
    assert_eq!(code, -32000);
    let new = client.call("eth_newBlockFilter", json!([])).await;
    let mut polls = 0;
    while hung.elapsed() < HANG + Duration::from_secs(1) {
        assert_eq!(client.call("eth_getFilterChanges", json!([new])).await, json!([]));
        polls += 1;
    }
    assert!(polls > 10, "{polls}");
    let status = &node.supervisor.actors()[0];
    assert_eq!((status.restarts, &status.state), (1, &ActorState::Running));
    node.stop().await;
}
