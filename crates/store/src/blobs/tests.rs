//! Tests of the blob database on real files.

use std::collections::BTreeMap;
use std::fs;

use alloy_primitives::B256;
use duskevm_fence::Gate;
use fail::FailScenario;
use tempfile::TempDir;

use super::*;

const NETWORK: Identity = Identity { chain_id: 7, genesis: B256::repeat_byte(7) };

/// As long as an encoded sidecar.
const LENGTH: usize = 131_168;

fn hash(number: u64) -> Hash {
    let mut hash = [0; 32];
    hash[0] = 1;
    hash[24..].copy_from_slice(&number.to_be_bytes());
    hash
}

/// Bytes that do not compress and differ from blob to blob.
fn blob(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(LENGTH);
    while bytes.len() < LENGTH {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn claim(height: u64, blobs: &[u64]) -> StoredClaim {
    StoredClaim { height, block: [height as u8; 32], blobs: blobs.iter().copied().map(hash).collect() }
}

fn keep(height: u64, blobs: &[u64]) -> BlobCommit {
    BlobCommit {
        blobs: blobs.iter().map(|number| (hash(*number), blob(*number))).collect(),
        claims: vec![claim(height, blobs)],
        ..BlobCommit::default()
    }
}

fn open(dir: &TempDir) -> BlobStore {
    BlobStore::open(&dir.path().join("blobs"), &NETWORK).unwrap()
}

fn claims(store: &BlobStore) -> Vec<StoredClaim> {
    let mut claims = store.claims().unwrap();
    claims.sort_by_key(|claim| claim.height);
    claims
}

/// Every file of a directory with its content.
fn content(path: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

#[test]
fn what_was_committed_is_there_after_a_restart_and_after_a_crash() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let check = |store: &BlobStore| {
        assert_eq!(store.blob(&hash(1)).unwrap(), Some(blob(1)));
        assert_eq!(store.blob(&hash(3)).unwrap(), None);
        assert_eq!(store.blob(&hash(4)).unwrap(), Some(blob(4)));
        assert_eq!(claims(store), [claim(10, &[1, 2, 1]), claim(12, &[4])]);
        assert_eq!(store.missing().unwrap(), [hash(9)]);
    };
    let store = open(&dir);
    store.commit(&fence, keep(10, &[1, 2, 1])).unwrap();
    store.commit(&fence, keep(11, &[3])).unwrap();
    store.commit(&fence, BlobCommit { missing: vec![hash(8), hash(9)], ..keep(12, &[4]) }).unwrap();
    let away = BlobCommit {
        deleted_blobs: vec![hash(3)],
        deleted_claims: vec![(11, [11; 32])],
        found: vec![hash(8)],
        ..BlobCommit::default()
    };
    store.commit(&fence, away).unwrap();
    check(&store);
    store.crash();
    assert!(matches!(store.blob(&hash(1)), Err(BlobStoreError::Db(DbError::Closed { .. }))));
    store.heal().unwrap();
    check(&store);
    store.close().unwrap();
    drop(store);
    check(&open(&dir));
}

#[test]
fn a_replaced_writer_writes_nothing() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let gate = Gate::new("da-store");
    let old = gate.advance(std::time::Duration::ZERO).unwrap();
    let _new = gate.advance(std::time::Duration::ZERO).unwrap();
    let refused = store.commit(&old, keep(1, &[1])).unwrap_err();
    assert!(matches!(refused, BlobStoreError::Fence(FenceError::Stale { .. })));
    assert_eq!(store.blob(&hash(1)).unwrap(), None);
    assert!(store.claims().unwrap().is_empty());
}

#[test]
fn a_failing_disk_loses_nothing_that_was_acknowledged() {
    let fail = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let store = open(&dir);
    store.commit(&fence, keep(1, &[1])).unwrap();
    fail::cfg("store-db-flush", "return(no disk)").unwrap();
    let error = store.commit(&fence, keep(2, &[2])).unwrap_err();
    assert!(matches!(error, BlobStoreError::Db(DbError::ReopenNeeded { .. })), "{error}");
    assert!(store.blob(&hash(1)).is_err());
    fail::remove("store-db-flush");
    store.heal().unwrap();
    assert_eq!(store.blob(&hash(1)).unwrap(), Some(blob(1)));
    // The second is there as a whole or not at all.
    let second = store.blob(&hash(2)).unwrap().is_some();
    assert_eq!(claims(&store).len(), if second { 2 } else { 1 });
    store.commit(&fence, keep(3, &[3])).unwrap();
    assert_eq!(store.blob(&hash(3)).unwrap(), Some(blob(3)));
    fail.teardown();
}

#[test]
fn another_network_and_another_layer_are_refused() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    open(&dir).close().unwrap();
    let path = dir.path().join("blobs");
    let before = content(&path);
    let other = Identity { chain_id: 8, ..NETWORK };
    assert!(matches!(BlobStore::open(&path, &other), Err(OpenError::WrongChain { .. })));
    assert!(crate::l1::L1Store::open(&path, &NETWORK).is_err());
    assert_eq!(content(&path), before);
}

/// Flips one byte in the middle of a blob in the files.
fn damage(path: &Path, number: u64) {
    let wanted = &blob(number)[60_000..60_032];
    let mut flipped = 0;
    for (name, mut bytes) in content(path) {
        // Only the tables: the log is replayed with a checksum of its own.
        if !name.starts_with("table_") {
            continue;
        }
        if let Some(at) = bytes.windows(wanted.len()).position(|window| window == wanted) {
            bytes[at] ^= 1;
            fs::write(path.join(name), bytes).unwrap();
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1, "the blob is in exactly one table");
}

#[test]
fn a_damaged_blob_is_named_and_the_others_stay_readable() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let store = open(&dir);
    store.commit(&fence, keep(1, &[1, 2, 3])).unwrap();
    store.close().unwrap();
    drop(store);
    damage(&dir.path().join("blobs"), 2);
    let store = open(&dir);
    let error = store.blob(&hash(2)).unwrap_err();
    assert!(matches!(error, BlobStoreError::DamagedBlob { hash: found } if found == hash(2)), "{error}");
    assert!(error.to_string().contains(&hex(&hash(2))), "{error}");
    assert_eq!(store.blob(&hash(1)).unwrap(), Some(blob(1)));
    assert_eq!(store.blob(&hash(3)).unwrap(), Some(blob(3)));
    assert_eq!(claims(&store).len(), 1);
    // Writing it again mends it.
    let again = BlobCommit { blobs: vec![(hash(2), blob(2))], ..BlobCommit::default() };
    store.commit(&fence, again).unwrap();
    assert_eq!(store.blob(&hash(2)).unwrap(), Some(blob(2)));
}

#[test]
fn a_nearly_empty_blob_takes_little_room_and_its_damage_is_named_too() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let mut quiet = blob(1)[..3_000].to_vec();
    quiet.resize(LENGTH, 0);
    let store = open(&dir);
    store
        .commit(&Fence::unfenced(), BlobCommit { blobs: vec![(hash(1), quiet.clone())], ..BlobCommit::default() })
        .unwrap();
    assert_eq!(store.blob(&hash(1)).unwrap(), Some(quiet.clone()));
    let record = store.db.get(Column::Blobs as u8, &hash(1)).unwrap().unwrap();
    assert!(record.len() < 12_000, "{} bytes", record.len());
    store.close().unwrap();
    drop(store);
    let path = dir.path().join("blobs");
    for (name, mut bytes) in content(&path) {
        // The last bytes of the record are copies of zeros, whose decoding a flipped bit would break.
        let wanted = &record[record.len() - 40..];
        if let Some(at) = bytes.windows(wanted.len()).position(|window| window == wanted)
            && name.starts_with("table_")
        {
            bytes[at] ^= 0x80;
            fs::write(path.join(name), bytes).unwrap();
        }
    }
    let store = open(&dir);
    let error = store.blob(&hash(1)).unwrap_err();
    assert!(matches!(error, BlobStoreError::DamagedBlob { .. }), "{error}");
    assert_eq!(store.blob(&hash(2)).unwrap(), None, "the database goes on");
}

#[test]
fn a_record_under_another_key_is_damage() {
    assert_eq!(open_record(b"a", seal_record(b"a", vec![1, 2])), Some(vec![1, 2]));
    assert_eq!(open_record(b"b", seal_record(b"a", vec![1, 2])), None);
    assert_eq!(open_record(b"a", vec![1, 2, 3]), None);
}

#[test]
fn a_claim_that_is_not_what_was_written_is_an_error() {
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let mut batch = Batch::new();
    batch.set(Column::Claims as u8, claim_key(1, &[1; 32]), seal_record(&[], vec![1; 41]));
    let commit = store.db.commit(batch).unwrap();
    store.db.wait_durable(commit).unwrap();
    let error = store.claims().unwrap_err();
    assert!(matches!(error, BlobStoreError::Db(DbError::Damaged { .. })), "{error}");
}

/// Bytes that the tables take on disk, and the length of the indices. These are sparse files of fixed size: a page of them
/// takes room from the first time that a key falls into it.
fn disk_usage(path: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    let of = |prefix: &str, size: fn(&fs::Metadata) -> u64| -> u64 {
        let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
        let named = files.filter(|file| file.file_name().to_string_lossy().starts_with(prefix));
        named.map(|file| size(&file.metadata().unwrap())).sum()
    };
    (of("table_", |file| file.blocks() * 512), of("index_", fs::Metadata::len))
}

#[test]
fn the_disk_stays_flat_while_old_blobs_go_and_new_ones_come() {
    const WINDOW: u64 = 24;
    const ROUNDS: u64 = 12 * WINDOW;
    let _calm = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let store = open(&dir);
    let mut usage = Vec::new();
    for height in 0..ROUNDS {
        let mut commit = keep(height, &[height]);
        if let Some(old) = height.checked_sub(WINDOW) {
            commit.deleted_blobs = vec![hash(old)];
            commit.deleted_claims = vec![(old, [old as u8; 32])];
        }
        store.commit(&fence, commit).unwrap();
        if (height + 1) % WINDOW == 0 {
            // Closing carries the logs into the tables, so that only these are counted.
            store.close().unwrap();
            usage.push(disk_usage(store.path()));
            store.heal().unwrap();
        }
    }
    // The first window fills the tables. Then 11 more of 3 MiB each come and go, and not one slot more is taken.
    assert_eq!(usage, vec![usage[0]; usage.len()], "bytes of tables and indices after each window");
    assert!(usage[0].0 < (WINDOW + 1) * 33 * 4096 + (64 << 10), "a blob takes 33 slots: {usage:?}");
    assert_eq!(store.claims().unwrap().len() as u64, WINDOW);
    for height in ROUNDS - WINDOW..ROUNDS {
        assert_eq!(store.blob(&hash(height)).unwrap(), Some(blob(height)));
    }
    assert_eq!(store.blob(&hash(ROUNDS - WINDOW - 1)).unwrap(), None);
}
