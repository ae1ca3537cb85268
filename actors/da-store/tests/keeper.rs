//! The keeper against scripted neighbours: what it keeps, what it gives back, what it fetches.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{LONG, Node, blob, hash};
use duskevm_blobs::Hash;
use duskevm_da_store::Peers;
use duskevm_messages::da_store::{BlobName, BlobStatus, BlobsOfBlock, DropBlobs, FindBlobs, FoundBlob, GetBlob};
use duskevm_messages::gossip::{Ask, AskFailure, BadAnswer, PeerChoice, ServeBlobs};
use duskevm_p2p::{Answer, PeerId, Refusal, Request, SidecarBytes};
use duskevm_supervision::{Fault, Port};
use parking_lot::Mutex;
use tempfile::TempDir;

fn status(stored: u64, missing: u64, blocks: u64, oldest: Option<u64>) -> BlobStatus {
    BlobStatus { stored, missing, blocks, oldest }
}

/// What a scripted peer says.
#[derive(Debug, Clone)]
enum Says {
    /// These blobs, where it is asked for them.
    Has(Vec<usize>),
    /// For everything the bytes of this blob.
    Lies(usize),
    Refuses,
    TimesOut,
}

/// Peers, and what happened to them. Each is asked until it stands in the list of those who were.
#[derive(Debug, Clone, Default)]
struct Script {
    peers: Arc<Mutex<Vec<Says>>>,
    asked: Arc<Mutex<Vec<(u8, u64)>>>,
    blamed: Arc<Mutex<Vec<PeerId>>>,
}

fn peer(number: usize) -> PeerId {
    PeerId([number as u8; 32])
}

fn bytes(number: usize) -> Option<SidecarBytes> {
    SidecarBytes::new(blob(number).sidecar().encode())
}

impl Script {
    fn new(peers: Vec<Says>) -> Self {
        Self { peers: Arc::new(Mutex::new(peers)), ..Self::default() }
    }

    fn answer(&self, ask: &Ask) -> Result<(PeerId, Answer), AskFailure> {
        let PeerChoice::WithBlobs { height, not } = &ask.peer else { panic!("only peers with blobs are asked") };
        let Request::Blobs(hashes) = &ask.request else { panic!("only blobs are asked for") };
        assert!((1..=6).contains(&hashes.len()));
        let peers = self.peers.lock();
        let (number, says) =
            peers.iter().enumerate().find(|(number, _)| !not.contains(&peer(*number))).ok_or(AskFailure::NoPeer)?;
        self.asked.lock().push((number as u8, *height));
        let give = |answer: &dyn Fn(&Hash) -> Option<SidecarBytes>| Answer::Blobs(hashes.iter().map(answer).collect());
        match says {
            Says::Has(blobs) => {
                Ok(give(&|wanted| blobs.iter().find(|blob| hash(**blob) == *wanted).and_then(|b| bytes(*b))))
            }
            Says::Lies(blob) => Ok(give(&|_| bytes(*blob))),
            Says::Refuses => Ok(Answer::Refused(Refusal::Busy)),
            Says::TimesOut => Err(AskFailure::Timeout(peer(number))),
        }
        .map(|answer| (peer(number), answer))
    }

    fn peers(&self) -> Peers {
        let (me, blamed) = (self.clone(), self.blamed.clone());
        Peers {
            ask: Port::from_fn(move |ask| {
                let answer = me.answer(&ask);
                async move { answer }
            }),
            bad_answer: Port::from_fn(move |BadAnswer { peer }| {
                blamed.lock().push(peer);
                async {}
            }),
        }
    }

    fn asked(&self) -> Vec<(u8, u64)> {
        self.asked.lock().clone()
    }
}

async fn find(node: &Node, blobs: &[usize], height: u64, within: Duration) -> Vec<Option<Hash>> {
    let hashes = blobs.iter().copied().map(hash).collect();
    let found = node.keeper.ask_within(FindBlobs { hashes, height, within }, LONG).await.unwrap();
    found.into_iter().map(|blob| blob.map(|blob| *blob.hash())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_every_kind_of_end() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path(), None, None).await;
    node.keep(10, &[0, 1, 0], &[0, 1]).await;
    node.keep(11, &[1, 2], &[2]).await;
    // Twice is once.
    node.keep(11, &[1, 2], &[2, 1]).await;
    let expected = status(3, 0, 2, Some(10));
    assert_eq!(node.status().await, expected);
    node.supervisor.inject("da-store", Fault::Panic).unwrap();
    let start = Instant::now();
    while node.supervisor.actors()[0].restarts == 0 {
        assert!(start.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    node.supervisor.ready().await.unwrap();
    assert_eq!(node.get(2).await, Some(blob(2)));
    // As after `kill -9`: nothing is flushed any more.
    node.store.crash();
    node.supervisor.shutdown(LONG).await;
    drop(node);
    let node = Node::start(dir.path(), None, None).await;
    assert_eq!(node.status().await, expected);
    for number in 0..3 {
        assert_eq!(node.get(number).await, Some(blob(number)));
        let name = BlobName::Commitment(blob(number).sidecar().commitment);
        assert_eq!(node.keeper.ask(GetBlob { name }).await.unwrap(), FoundBlob::Here(blob(number)));
    }
    assert_eq!(node.look_up(3).await, FoundBlob::Unknown);
    let of_block = |height, block| node.keeper.ask(BlobsOfBlock { height, block });
    let blobs = of_block(10, [10; 32]).await.unwrap().unwrap();
    assert_eq!(blobs, [0, 1, 0].map(|number| (hash(number), Some(blob(number)))));
    assert_eq!(of_block(10, [11; 32]).await.unwrap(), None);
    assert_eq!(of_block(12, [12; 32]).await.unwrap(), None);
    let hashes = [3, 0, 2, 1, 0, 0, 0].map(hash).to_vec();
    let served = node.keeper.ask(ServeBlobs { hashes }).await.unwrap();
    let expected = [None, bytes(0), bytes(2), bytes(1), bytes(0), bytes(0)];
    assert_eq!(served, expected, "six at a time");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reverted_blocks_let_go_of_their_blobs() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path(), None, None).await;
    node.keep(10, &[0, 1], &[0, 1]).await;
    node.keep(11, &[1, 2], &[2]).await;
    for _ in 0..2 {
        node.keeper.ask(DropBlobs { height: 11, block: [11; 32] }).await.unwrap();
        assert_eq!(node.status().await, status(2, 0, 1, Some(10)));
    }
    assert_eq!(node.get(1).await, Some(blob(1)), "another block has it too");
    assert_eq!(node.look_up(2).await, FoundBlob::Unknown);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn final_blocks_move_the_retention() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path(), Some(10), None).await;
    for height in 1..=100_u64 {
        node.keep(height, &[height as usize % 8], &[height as usize % 8]).await;
    }
    assert_eq!(node.status().await, status(8, 0, 100, Some(1)));
    node.feed.send_replace(Some(common::tip(50)));
    assert_eq!(node.wait_for("the first 40", |now| now.blocks == 60).await, status(8, 0, 60, Some(41)));
    node.feed.send_replace(Some(common::tip(107)));
    assert_eq!(node.wait_for("all but 3", |now| now.blocks == 3).await, status(3, 0, 3, Some(98)));
    assert_eq!(node.get(98 % 8).await, Some(blob(98 % 8)));
    assert_eq!(node.look_up(97 % 8).await, FoundBlob::Unknown, "its blocks have expired");
    node.keep(97, &[0], &[0]).await;
    assert_eq!(node.status().await.blocks, 3, "an expired block is not kept");
    node.stop().await;
    // A restart with the same feed goes on where it was, without one it drops nothing.
    let node = Node::start(dir.path(), Some(10), None).await;
    assert_eq!(node.status().await, status(3, 0, 3, Some(98)));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_are_found_on_disk_first_and_at_peers_then() {
    let dir = TempDir::new().unwrap();
    let script =
        Script::new(vec![Says::TimesOut, Says::Refuses, Says::Has(vec![2]), Says::Lies(5), Says::Has(vec![2, 3, 4])]);
    let node = Node::start(dir.path(), None, Some(script.peers())).await;
    node.keep(10, &[0, 1], &[0, 1]).await;
    let all = |blobs: &[usize]| blobs.iter().map(|blob| Some(hash(*blob))).collect::<Vec<_>>();
    assert_eq!(find(&node, &[1, 0, 1], 10, LONG).await, all(&[1, 0, 1]));
    assert_eq!(find(&node, &[1, 4], 10, Duration::ZERO).await, [Some(hash(1)), None]);
    assert!(script.asked().is_empty(), "nobody is asked for what is here, and nobody within no time");
    assert_eq!(find(&node, &[3, 0, 4, 2, 3], 77, LONG).await, all(&[3, 0, 4, 2, 3]));
    assert_eq!(script.asked(), [(0, 77), (1, 77), (2, 77), (3, 77), (4, 77)]);
    assert_eq!(*script.blamed.lock(), [peer(3)], "only the one that lied");
    assert_eq!(node.look_up(3).await, FoundBlob::Unknown, "what no block claims is not kept");
    assert_eq!(find(&node, &[7], 77, LONG).await, [None], "nobody has it, and the list of peers ends");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_block_has_and_the_disk_has_not_is_fetched_in_the_background() {
    let dir = TempDir::new().unwrap();
    let script = Script::new(vec![Says::Lies(0), Says::Has(vec![1, 2])]);
    let node = Node::start(dir.path(), None, Some(script.peers())).await;
    node.keep(10, &[0, 1], &[0]).await;
    node.keep(12, &[2], &[]).await;
    assert_eq!(node.wait_for("both", |now| now.missing == 0).await, status(3, 0, 2, Some(10)));
    assert_eq!(node.get(1).await, Some(blob(1)));
    assert_eq!(node.get(2).await, Some(blob(2)));
    assert!(script.blamed.lock().contains(&peer(0)));
    node.stop().await;
    let node = Node::start(dir.path(), None, None).await;
    assert_eq!(node.status().await, status(3, 0, 2, Some(10)), "it was kept");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_blobs_are_remembered_over_restarts() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path(), None, None).await;
    node.keep(10, &[0, 1], &[0]).await;
    assert_eq!(node.status().await, status(1, 1, 1, Some(10)));
    assert_eq!(node.look_up(1).await, FoundBlob::Awaited);
    node.stop().await;
    let script = Script::new(vec![Says::Has(vec![1])]);
    let node = Node::start(dir.path(), None, Some(script.peers())).await;
    node.wait_for("the missing one", |now| now.missing == 0).await;
    assert_eq!(node.get(1).await, Some(blob(1)));
    assert_eq!(script.asked(), [(0, 10)], "at peers that keep the blobs of its block");
    node.stop().await;
}

/// Flips one byte of a blob in the tables.
fn damage(path: &Path, number: usize) {
    let wanted = blob(number).sidecar().data[70_000..70_030].to_vec();
    let mut flipped = 0;
    for file in std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap()) {
        if !file.file_name().to_string_lossy().starts_with("table_") {
            continue;
        }
        let mut bytes = std::fs::read(file.path()).unwrap();
        if let Some(at) = bytes.windows(wanted.len()).position(|window| window == wanted) {
            bytes[at] ^= 4;
            std::fs::write(file.path(), bytes).unwrap();
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_is_never_served_and_is_fetched_again() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path(), None, None).await;
    node.keep(10, &[0, 1], &[0, 1]).await;
    node.stop().await;
    damage(&dir.path().join("blobs"), 1);
    let script = Script::default();
    let node = Node::start(dir.path(), None, Some(script.peers())).await;
    assert_eq!(node.status().await, status(2, 0, 1, Some(10)), "it was not looked at yet");
    assert_eq!(node.look_up(1).await, FoundBlob::Awaited, "its block is kept");
    assert_eq!(node.get(0).await, Some(blob(0)));
    assert_eq!(node.status().await, status(1, 1, 1, Some(10)));
    let why = node.supervisor.why();
    assert!(why.iter().any(|cause| cause.to_string().contains("damaged on disk")), "{why:?}");
    // Somebody asks, and now a peer has it.
    script.peers.lock().push(Says::Has(vec![1]));
    assert_eq!(find(&node, &[1], 10, LONG).await, [Some(hash(1))]);
    node.wait_for("the damaged one", |now| now.missing == 0).await;
    assert_eq!(node.get(1).await, Some(blob(1)));
    let why = node.supervisor.why();
    assert!(!why.iter().any(|cause| cause.to_string().contains("damaged on disk")), "{why:?}");
    node.stop().await;
}
