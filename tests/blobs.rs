//! Blobs through a local network of four provisioners: submitted, voted on, kept, served, and let go of in time.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/blobs.rs"]
mod blobs;
mod support;

use blobs::{Header, blob, block_with, dusk, finally, get, header, named, nonces, sidecars, sign, submit};
use duskevm::network::local_provisioner;
use duskevm_blobs::{Hash, Sidecar, kzg};
use duskevm_dusk_l1::{keys::Signer, transfer::data::BlobData};
use serde_json::Value;
use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};
use support::{Node, Ports, call};

/// A block takes two seconds where nothing disturbs, and longer on a machine with much to do.
/// The blobs on L1 are those of the test only.
const NO_BATCHES: [(&str, &str); 1] = [("DUSKEVM_ACTORS__BATCHER", "false")];
const LONG: Duration = Duration::from_secs(180);

/// Every way to the blobs of a block gives what was submitted.
fn check_routes(port: u16, block: &Header, sent: &[Sidecar]) {
    let same = |given: &[Sidecar]| {
        assert!(given == sent, "{} blobs are not those that were sent", given.len());
        given.iter().for_each(|sidecar| drop(kzg::verify(&sidecar.hash(), sidecar.clone()).unwrap()));
    };
    assert_eq!(header(port, &block.root).unwrap().root, block.root);
    // A slot is a second, and names the same block.
    for id in [block.root.clone(), block.slot.to_string()] {
        same(&sidecars(port, &id).unwrap_or_else(|answer| panic!("{}", answer.text())));
        let data = blobs::blobs(port, &id);
        assert!(data.iter().map(Vec::as_slice).eq(sent.iter().map(|sidecar| &sidecar.data[..])), "blobs/{id}");
    }
    let last = sent.last().unwrap();
    let hash = alloy_primitives::hex::encode_prefixed(last.hash());
    let one = blobs::blobs(port, &format!("{}?versioned_hashes={hash}", block.root));
    assert!(one == [last.data.to_vec()]);
    for sidecar in sent {
        for (name, kind) in [(&sidecar.hash()[..], "hash"), (&sidecar.commitment[..], "commitment")] {
            let given = Sidecar::decode(&dusk(port, name, kind).good().body).unwrap();
            assert!(given == *sidecar, "/on/blobs by {kind}");
        }
    }
}

/// What is wrong with blobs is found before anybody else hears of them, and said.
async fn check_refusals(node: &Node, sender: &Signer) {
    let (good, other) = (blob(100), blob(101));
    let one = |hash, sidecar: &Sidecar| vec![BlobData { hash, data: Some(sidecar.into()) }];
    let proof = Sidecar { proof: other.proof, ..good.clone() };
    let data = Sidecar { data: other.data.clone(), ..good.clone() };
    let mut large = good.data.to_vec();
    large[5 * 32..6 * 32].fill(0xff);
    let large = Sidecar::new(good.commitment, good.proof, &large).unwrap();
    let present = named(std::slice::from_ref(&good)).remove(0);
    let missing = vec![present.clone(), BlobData { hash: other.hash(), data: None }];
    let cases = [
        ("the proof of another blob", named(&[proof]), "blob 0: the proof does not fit blob and commitment"),
        ("the data of another blob", named(&[data]), "blob 0: the proof does not fit blob and commitment"),
        ("the hash of another blob", one(other.hash(), &good), "blob 0: the versioned hash is not that of"),
        ("a field element that is none", named(&[large]), "blob 0: field element 5 of the blob is not canonical"),
        ("no sidecar", missing, "blob 1 has no data: submit the transaction with its blobs"),
        ("seven blobs", vec![present; 7], "1 to 6 are possible"),
    ];
    for (what, blobs, why) in cases {
        let error = submit(node, &sign(sender, 1, blobs)).await.expect_err(what).to_string();
        assert!(error.contains(why), "{what}: {error}");
    }
    assert_eq!(nonces(node, &sender.id()).await, (0, 1), "nothing of it waits");
}

async fn provisioners(node: &Node) -> Vec<Value> {
    let status = call(&node.admin(), "admin_status", vec![]).await.unwrap();
    status["provisioners"].as_array().unwrap().clone()
}

/// Waits until all provisioners hold so many blobs, and miss none.
async fn all_hold(node: &Node, blobs: u64) {
    let begin = Instant::now();
    loop {
        let all = provisioners(node).await;
        let holds = |one: &Value| one["blobs"] == blobs && one["blobsMissing"] == 0;
        if all.len() == 4 && all.iter().all(holds) {
            return;
        }
        assert!(begin.elapsed() < LONG, "not {blobs} blobs everywhere: {all:#?}\n{}", node.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_are_voted_on_kept_served_and_let_go_of() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let ports = Ports::free();
    let node = Node::start_as(&data, ports, &["--provisioners", "4"], &NO_BATCHES);
    let sender = local_provisioner(2);
    check_refusals(&node, &sender).await;

    let sent: Vec<Sidecar> = (0..6).map(blob).collect();
    let hashes: Vec<_> = sent.iter().map(Sidecar::hash).collect();
    let id = submit(&node, &sign(&sender, 1, named(&sent))).await.unwrap();
    finally(&node, id, LONG).await;
    let block = block_with(ports.blobs, &hashes);
    check_routes(ports.blobs, &block, &sent);
    all_hold(&node, 6).await;

    // They outlive the process, and who has lost everything gets them from the others.
    node.kill();
    std::fs::remove_dir_all(data.join("provisioners/3")).unwrap();
    let node = Node::start_as(&data, ports, &[], &NO_BATCHES);
    check_routes(ports.blobs, &block, &sent);
    all_hold(&node, 6).await;
    assert!(metric(&support::metrics(ports), "duskevm_blobs_fetched_total") >= 6.0, "blobs came from peers");

    // They go when they are old enough; the block stays.
    assert!(node.stop().success());
    let config = folder.path().join("node.toml");
    std::fs::write(&config, "[blobs]\nretention_blocks = 1\n").unwrap();
    let node = Node::start_as(&data, ports, &["--config", config.to_str().unwrap()], &NO_BATCHES);
    all_hold(&node, 0).await;
    let gone = sidecars(ports.blobs, &block.root).expect_err("the blobs are gone");
    assert_eq!(gone.status, 404);
    assert!(gone.text().contains("has expired"), "{}", gone.text());
    assert_eq!(get(ports.blobs, &format!("/eth/v1/beacon/blobs/{}", block.root)).status, 404);
    for sidecar in &sent {
        assert_eq!(dusk(ports.blobs, &sidecar.hash(), "hash").status, 404);
        assert_eq!(dusk(ports.blobs, &sidecar.commitment, "commitment").status, 404);
    }
    assert_eq!(header(ports.blobs, &block.root).map(|found| found.slot), Some(block.slot));
    assert!(node.stop().success());
    support::verify(&data);
    support::check(&data);
}

/// Blobs of a block: as many as fit one.
const FULL: usize = 6;
/// For how many final blocks blobs are kept under load.
const KEEP: u64 = 8;
/// Sets of blobs that take turns. A set comes again when its last block has been let go of, so that every blob of every block is
/// new to the nodes; making them takes a while.
const SETS: u64 = 24;
/// Transactions that wait at a time.
const AHEAD: u64 = 3;

/// Keeps transactions of six blobs waiting.
struct Sender {
    signer: Signer,
    sets: Vec<Vec<Sidecar>>,
}

impl Sender {
    fn new(sets: u64) -> Self {
        let set = |number: u64| (0..FULL as u64).map(|place| blob(1_000 + number * FULL as u64 + place)).collect();
        // Twice as fast on two processors.
        let half = |from: u64| (from..sets).step_by(2).map(set).collect::<Vec<_>>();
        let (even, odd) = std::thread::scope(|scope| {
            let odd = scope.spawn(|| half(1));
            (half(0), odd.join().unwrap())
        });
        Self { signer: local_provisioner(2), sets: even.into_iter().chain(odd).collect() }
    }

    /// Submits what is wanting.
    async fn fill(&self, node: &Node) {
        let (included, mut next) = nonces(node, &self.signer.id()).await;
        while next <= included + AHEAD {
            let set = &self.sets[(next % self.sets.len() as u64) as usize];
            submit(node, &sign(&self.signer, next, named(set))).await.unwrap();
            next += 1;
        }
    }

    fn by_hash(&self) -> HashMap<Hash, &Sidecar> {
        self.sets.iter().flatten().map(|sidecar| (sidecar.hash(), sidecar)).collect()
    }
}

/// The node at one moment: seconds since the start, and bytes of resident memory, of all L1 folders and of the L2 database,
/// which grows with every L2 block.
#[derive(Debug)]
struct Sample {
    at: f64,
    resident: u64,
    l1: u64,
    l2: u64,
}

/// What happened under load.
#[derive(Debug, Default)]
struct Tally {
    blocks: u64,
    blobs: u64,
    without: u64,
    missing: u64,
    longest: u64,
    samples: Vec<Sample>,
}

impl Tally {
    /// Looks at a new block: everything that was sent in it must be there and right.
    fn look(&mut self, port: u16, block: &Header, sent: &HashMap<Hash, &Sidecar>) {
        match sidecars(port, &block.root) {
            Ok(found) if found.is_empty() => self.without += 1,
            Ok(found) => {
                assert_eq!(found.len(), FULL);
                self.blobs += found.len() as u64;
                for sidecar in &found {
                    assert!(sent[&sidecar.hash()] == sidecar, "a blob is not the one that was sent");
                }
                let items = found.into_iter().map(|sidecar| (sidecar.hash(), sidecar)).collect();
                assert!(kzg::verify_batch(items).iter().all(Result::is_ok));
            }
            Err(_) => self.missing += 1,
        }
        self.blocks += 1;
    }

    /// The largest of the first and of the second half.
    fn halves(&self, of: impl Fn(&Sample) -> u64) -> (u64, u64) {
        let (first, second) = self.samples.split_at(self.samples.len() / 2);
        let most = |part: &[Sample]| part.iter().map(&of).max().unwrap_or_default();
        (most(first), most(second))
    }

    fn print(&self, seconds: f64) {
        let Self { blocks, blobs, without, missing, longest, .. } = self;
        println!(
            "{seconds:.0} s: {blocks} blocks ({:.2} s each, {longest} s at most), {blobs} blobs ({:.2} MB/s), {without} blocks without blobs, {missing} blocks whose blobs are missing",
            seconds / *blocks as f64,
            *blobs as f64 * duskevm_blobs::BYTES as f64 / seconds / 1e6,
        );
        let step = self.samples.len().div_ceil(20).max(1);
        for part in self.samples.chunks(step) {
            let most = |of: fn(&Sample) -> u64| part.iter().map(of).max().unwrap_or_default() >> 20;
            println!(
                "until {:>4.0} s: at most {} MiB resident; on disk {} MiB of L1, {} MiB of L2",
                part[part.len() - 1].at,
                most(|sample| sample.resident),
                most(|sample| sample.l1),
                most(|sample| sample.l2),
            );
        }
    }
}

/// Bytes that a folder takes on disk.
fn size(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    // Files come and go meanwhile.
    let sizes = entries.flatten().filter_map(|entry| match entry.metadata().ok()? {
        metadata if metadata.is_dir() => Some(size(&entry.path())),
        metadata => Some(metadata.blocks() * 512),
    });
    sizes.sum()
}

fn metric(text: &str, series: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

/// Six blobs in every block until it is `enough`.
async fn load(node: &Node, sender: &Sender, enough: impl Fn(Duration, &Tally) -> bool) -> Tally {
    let (port, sent) = (node.ports.blobs, sender.by_hash());
    sender.fill(node).await;
    // From the first block that has them.
    let mut last = loop {
        let head = header(port, "head").unwrap();
        if sidecars(port, &head.root).is_ok_and(|found| !found.is_empty()) {
            break head;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let (begin, mut tally) = (Instant::now(), Tally::default());
    let mut progress = Instant::now();
    while !enough(begin.elapsed(), &tally) {
        sender.fill(node).await;
        let head = header(port, "head").unwrap();
        let mut new = vec![head.clone()];
        while new[new.len() - 1].parent != last.root && new[new.len() - 1].slot > last.slot {
            let parent = header(port, &new[new.len() - 1].parent).unwrap();
            new.push(parent);
        }
        if head.root != last.root {
            for block in new.into_iter().rev() {
                // Else another block took the place of one that was looked at.
                if block.slot > last.slot {
                    tally.look(port, &block, &sent);
                    tally.longest = tally.longest.max(block.slot - last.slot);
                }
                last = block;
            }
            progress = Instant::now();
        }
        assert!(progress.elapsed() < LONG, "no block for long: {:#?}\n{}", provisioners(node).await, node.log_tail());
        let resident = metric(&support::metrics(node.ports), "process_resident_memory_bytes") as u64;
        let l2 = size(&node.data.join("l2"));
        let l1 = size(&node.data).saturating_sub(l2);
        tally.samples.push(Sample { at: begin.elapsed().as_secs_f64(), resident, l1, l2 });
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    tally.print(begin.elapsed().as_secs_f64());
    tally
}

/// A network under load, and what must hold whatever the load was.
async fn under_load(sets: u64, enough: impl Fn(Duration, &Tally) -> bool) -> Tally {
    let folder = tempfile::tempdir().unwrap();
    let (data, config) = (folder.path().join("data"), folder.path().join("node.toml"));
    std::fs::write(&config, format!("[blobs]\nretention_blocks = {KEEP}\n")).unwrap();
    let sender = Sender::new(sets);
    let node = Node::start_as(
        &data,
        Ports::free(),
        &["--provisioners", "4", "--config", config.to_str().unwrap()],
        &NO_BATCHES,
    );
    let busy = || std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned();
    println!("load of the machine before: {}", busy());
    let tally = load(&node, &sender, enough).await;
    println!("load of the machine after: {}", busy());
    let text = support::metrics(node.ports);
    for line in text.lines().filter(|line| {
        ["duskevm_consensus_verdicts_total{", "duskevm_consensus_block_iteration_", "duskevm_blobs_"]
            .iter()
            .any(|series| line.starts_with(series))
    }) {
        println!("{line}");
    }
    for verdict in ["invalid", "abstain"] {
        let series = format!("duskevm_consensus_verdicts_total{{verdict=\"{verdict}\"}}");
        assert_eq!(metric(&text, &series), 0.0, "nobody sends anything wrong here: {series}");
    }
    for one in provisioners(&node).await {
        assert_eq!(one["blobsMissing"], 0, "{one}");
    }
    assert_eq!((tally.missing, tally.without), (0, 0), "{}", node.log_tail());
    assert!(node.stop().success());
    support::verify(&data);
    support::check(&data);
    tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_blobs_in_every_block() {
    let tally = under_load(8, |_, tally| tally.blocks >= 5).await;
    assert_eq!(tally.blobs, tally.blocks * FULL as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes ten minutes, or `DUSKEVM_TEST_BLOB_LOAD_SECONDS`: run it with `cargo test --test blobs -- --ignored --nocapture`"]
async fn six_blobs_in_every_block_for_long() {
    let seconds = std::env::var("DUSKEVM_TEST_BLOB_LOAD_SECONDS");
    let seconds = seconds.map_or(600, |seconds| seconds.parse().expect("a number of seconds"));
    let tally = under_load(SETS, |elapsed, _| elapsed >= Duration::from_secs(seconds)).await;
    let (first, second) = tally.halves(|sample| sample.resident);
    assert!(second <= first + first / 10 + (64 << 20), "{second} bytes resident after {first}");
    let (first, second) = tally.halves(|sample| sample.l1);
    assert!(second <= first + first / 10 + (16 << 20), "{second} bytes of L1 on disk after {first}");
}
