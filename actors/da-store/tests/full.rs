//! A full disk: what is there stays readable, nothing is half done, and writing goes on once there is room.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{LONG, Node, blob, hash};
use duskevm_messages::da_store::KeepBlobs;
use duskevm_supervision::AskError;
use fail::FailScenario;
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_forgets_nothing() {
    let scenario = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path(), None, None).await;
    node.keep(10, &[0], &[0]).await;
    let before = node.status().await;
    node.stop().await;
    // A database asks for the free space with its first commit.
    fail::cfg("store-db-free", "return(1000)").unwrap();
    let node = Node::start(dir.path(), None, None).await;
    let keep = || KeepBlobs { height: 11, block: [11; 32], blobs: vec![hash(1)], sidecars: vec![blob(1)] };
    for _ in 0..2 {
        let refused = node.keeper.ask_within(keep(), LONG).await.unwrap_err();
        assert!(matches!(&refused, AskError::Failed { .. }), "{refused}");
        assert!(refused.to_string().contains("full"), "{refused}");
        assert_eq!(node.status().await, before);
        assert_eq!(node.get(0).await, Some(blob(0)));
        assert_eq!(node.get(1).await, None);
    }
    assert_eq!(node.supervisor.actors()[0].restarts, 0, "it goes on");
    let complains = || node.supervisor.why().iter().any(|cause| cause.to_string().contains("disk"));
    assert!(complains(), "{:?}", node.supervisor.why());
    fail::remove("store-db-free");
    node.keep(11, &[1], &[1]).await;
    assert_eq!(node.get(1).await, Some(blob(1)));
    assert!(!complains(), "{:?}", node.supervisor.why());
    node.stop().await;
    scenario.teardown();
}
