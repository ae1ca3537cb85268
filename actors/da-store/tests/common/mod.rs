//! A keeper under a real supervisor, on a real database.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use duskevm_blobs::{BYTES, Hash, Verified, kzg};
use duskevm_da_store::{DaStore, Peers, Settings, Wiring, spec};
use duskevm_messages::consensus::DuskTip;
use duskevm_messages::da_store::{BlobName, BlobStatus, FoundBlob, GetBlob, GetBlobStatus, KeepBlobs};
use duskevm_store::Identity;
use duskevm_store::blobs::BlobStore;
use duskevm_supervision::{Intensity, Ref, Strategy, Supervisor, Tree};
use tokio::sync::watch;

/// Far longer than any step takes.
pub const LONG: Duration = Duration::from_secs(60);

pub const NETWORK: Identity = Identity { chain_id: 250, genesis: B256::repeat_byte(3) };

/// Eight blobs that verify and do not compress; making one takes a while, so they are shared.
pub fn blob(number: usize) -> Arc<Verified> {
    static BLOBS: OnceLock<Vec<Arc<Verified>>> = OnceLock::new();
    let make = |seed: usize| {
        let mut state = 2 * seed as u64 + 3;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        let mut data: Vec<u8> = (0..BYTES).map(|_| random()).collect();
        data.chunks_mut(32).for_each(|element| element[0] = 0);
        Arc::new(kzg::commit_and_prove(&data).unwrap())
    };
    BLOBS.get_or_init(|| (0..8).map(make).collect())[number].clone()
}

pub fn hash(number: usize) -> Hash {
    *blob(number).hash()
}

pub fn tip(final_height: u64) -> DuskTip {
    DuskTip { height: final_height + 1, hash: B256::ZERO, timestamp: 0, final_height }
}

/// The keeper with its feed.
pub struct Node {
    pub keeper: Ref<DaStore>,
    pub supervisor: Supervisor,
    pub feed: watch::Sender<Option<DuskTip>>,
    pub store: BlobStore,
}

impl Node {
    pub async fn start(dir: &Path, keep_blocks: Option<u64>, peers: Option<Peers>) -> Self {
        let store = BlobStore::open(&dir.join("blobs"), &NETWORK).unwrap();
        let feed = watch::Sender::new(None);
        let keeper: Ref<DaStore> = Ref::declare("da-store");
        let wiring = Wiring { store: store.clone(), tip: feed.subscribe(), peers };
        let supervisor = Tree::new("root", Strategy::OneForOne)
            .allow_faults(true)
            .intensity(Intensity { max: u32::MAX, within: LONG })
            .actor(spec(&keeper, Settings { keep_blocks }, wiring))
            .start();
        supervisor.ready().await.unwrap();
        Self { keeper, supervisor, feed, store }
    }

    pub async fn keep(&self, height: u64, blobs: &[usize], at_hand: &[usize]) {
        let keep = KeepBlobs {
            height,
            block: [height as u8; 32],
            blobs: blobs.iter().copied().map(hash).collect(),
            sidecars: at_hand.iter().copied().map(blob).collect(),
        };
        self.keeper.ask_within(keep, LONG).await.unwrap();
    }

    pub async fn look_up(&self, number: usize) -> FoundBlob {
        self.keeper.ask_within(GetBlob { name: BlobName::Hash(hash(number)) }, LONG).await.unwrap()
    }

    /// The blob, if it is there.
    pub async fn get(&self, number: usize) -> Option<Arc<Verified>> {
        match self.look_up(number).await {
            FoundBlob::Here(blob) => Some(blob),
            FoundBlob::Awaited | FoundBlob::Unknown => None,
        }
    }

    pub async fn status(&self) -> BlobStatus {
        self.keeper.ask_within(GetBlobStatus, LONG).await.unwrap()
    }

    /// Waits until the status is as wanted.
    pub async fn wait_for(&self, what: &str, wanted: impl Fn(&BlobStatus) -> bool) -> BlobStatus {
        let start = Instant::now();
        loop {
            let status = self.status().await;
            if wanted(&status) {
                return status;
            }
            assert!(start.elapsed() < LONG, "waited for {what}: {status:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn stop(self) {
        self.supervisor.shutdown(LONG).await;
        self.store.close().unwrap();
    }
}
