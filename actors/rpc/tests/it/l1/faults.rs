//! The server dies in every way and serves again on the same port; who may call it.

use super::bed::Bed;
use duskevm_rpc::Limits;
use duskevm_supervision::{ActorState, Fault};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test]
async fn it_serves_again_on_the_same_port_after_every_fault() {
    let adjust = |spec: duskevm_supervision::ChildSpec<_>| spec.deadline(Duration::from_secs(1));
    let mut bed = Bed::with(3, 3, Limits::default(), adjust).await;
    let hang = Fault::Hang(Duration::from_secs(600));
    for (fault, restarts) in [(Fault::Stop, 1), (Fault::Panic, 2), (Fault::Restart, 3), (hang, 4)] {
        bed.supervisor.inject("l1-rpc", fault).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let status = &bed.supervisor.actors()[0];
            if status.restarts >= restarts && status.state == ActorState::Running {
                break;
            }
            assert!(Instant::now() < deadline, "{fault:?}: {status:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let next = bed.chain.blocks.len() as u64;
        bed.chain.grow(next, 1, next);
        let latest = bed.ask("eth_getBlockByNumber", json!(["latest", false])).await;
        assert_eq!(latest["hash"], json!(bed.chain.blocks[next as usize].hash()));
    }
    // An instance that hangs is left behind, so that the end is not the ordered one.
    bed.supervisor.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn pages_whose_name_was_made_to_point_here_are_refused() {
    let bed = Bed::start(1, 1).await;
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#;
    let json = ("content-type", "application/json");
    let (status, _) = bed.client().request("POST", &[json, ("host", "evil.example")], body).await;
    assert_eq!(status, 403);
    let (status, _) = bed.client().request("POST", &[json], body).await;
    assert_eq!(status, 200);
    bed.stop().await;
}
