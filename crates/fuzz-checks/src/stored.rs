//! What is read back from disk: records of blocks, votes, labels, state and the view, and journals.
//!
//! A disk is not a peer, but folders are copied between machines and damaged.

use std::cell::RefCell;
use std::fs;

use duskevm_dusk_l1::finality::Finality;
use duskevm_dusk_l1::record::AcceptedBlock;
use duskevm_dusk_l1::sa::ballots::Ballots;
use duskevm_dusk_l1::sa::rules::{StepKind, StepTimes};
use duskevm_dusk_l1::sa::timeouts::Timeouts;
use duskevm_dusk_l1::state::{MemoryState, StateKey};
use duskevm_fence::Gate;
use duskevm_l1_view::ViewBlock;
use duskevm_store::journal::{Journal, JournalLimits};

/// The record of an accepted block.
pub fn accepted_block(data: &[u8]) {
    let Ok(record) = AcceptedBlock::decode(data) else { return };
    assert_eq!(record.encode().ok().as_deref(), Some(data), "a record has one form");
    if let Ok(block) = record.block() {
        assert_eq!(block.header(), &record.header);
    }
}

/// Pieces, each with two bytes of length before it.
pub(crate) fn pieces(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk()?;
        let (piece, tail) = tail.split_at(usize::from(u16::from_le_bytes(*length)).min(tail.len()));
        rest = tail;
        Some(piece)
    })
}

/// Records of the vote journal, in order.
pub fn ballots(data: &[u8]) {
    let mut ballots = Ballots::default();
    let mut taken = 0;
    for record in pieces(data) {
        if ballots.replay(record).is_ok() {
            taken += 1;
        }
        let mut alone = Ballots::default();
        if alone.replay(record).is_ok() {
            assert!(alone.records().eq([record.to_vec()]), "a record has one form");
        }
    }
    assert!(ballots.len() <= taken);
    assert_eq!(ballots.is_fresh(), taken == 0);
    let records: Vec<_> = ballots.records().collect();
    let mut again = Ballots::default();
    for record in &records {
        again.replay(record).expect("what is written reads back");
    }
    assert!(again.records().eq(records));
}

/// The labels of the blocks above the final one.
pub fn finality(data: &[u8]) {
    let Ok(mut finality) = Finality::decode(data) else { return };
    assert_eq!(finality.encode(), data, "labels have one form");
    for unattested in [0, 3, 0, 0, 0, 0, 0, 0, 0] {
        let (tip, last_final) = (finality.tip(), finality.last_final());
        finality.accept(unattested);
        assert_eq!(finality.tip(), tip + 1);
        assert!(finality.last_final() >= last_final);
        assert!(finality.label(finality.tip()).is_some());
    }
}

/// The measured durations of steps.
pub fn timeouts(data: &[u8]) {
    let times = StepTimes::published();
    let Ok(mut timeouts) = Timeouts::decode(times, data) else { return };
    assert_eq!(timeouts.encode(), data, "durations have one form");
    timeouts.start_round();
    for kind in StepKind::ALL {
        assert!((times.min..=times.max).contains(&timeouts.of(kind)));
    }
}

/// Records of the state: names and values in turn.
pub fn state_records(data: &[u8]) {
    let parts: Vec<_> = pieces(data).map(<[u8]>::to_vec).collect();
    for name in parts.iter().step_by(2) {
        if let Some(key) = StateKey::from_bytes(name) {
            assert_eq!(&key.to_bytes(), name, "a name has one form");
        }
    }
    let pairs: Vec<_> = parts.as_chunks::<2>().0.iter().map(|[name, value]| (name.clone(), value.clone())).collect();
    let count = pairs.len();
    if let Ok(state) = MemoryState::from_records(pairs) {
        assert!(state.len() <= count);
        state.root();
    }
}

/// The record of a view block.
pub fn view_block(data: &[u8]) {
    let Ok(block) = ViewBlock::decode(data) else { return };
    let bytes = block.encode();
    assert_eq!(ViewBlock::decode(&bytes).as_ref(), Ok(&block), "what is written reads back");
}

const KIND: &str = "fuzz";

/// The checksums of a journal's file made right, so that what is behind them is reached.
fn mend(raw: &mut [u8]) {
    if raw.len() < 32 {
        return;
    }
    raw[..8].copy_from_slice(b"DUSKJRN1");
    raw[8..12].copy_from_slice(&crc32fast::hash(KIND.as_bytes()).to_le_bytes());
    let crc = crc32fast::hash(&raw[..28]);
    raw[28..32].copy_from_slice(&crc.to_le_bytes());
    let salt = u32::from_le_bytes([raw[24], raw[25], raw[26], raw[27]]);
    let mut at = 32;
    while let Some(head) = raw.get(at..at + 24) {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(payload) = (at + 24).checked_add(length).and_then(|end| raw.get(at + 24..end)) else { return };
        let mut crc = crc32fast::Hasher::new_with_initial(salt);
        crc.update(&head[..4]);
        crc.update(&head[8..]);
        crc.update(payload);
        let crc = crc.finalize().to_le_bytes();
        raw[at + 4..at + 8].copy_from_slice(&crc);
        at += 24 + length;
    }
}

/// The one file of a journal. An even first byte has its checksums made right.
pub fn journal(data: &[u8]) {
    let Some((mode, raw)) = data.split_first() else { return };
    let mut raw = raw.to_vec();
    if mode % 2 == 0 {
        mend(&mut raw);
    }
    // In memory where there is such a folder: every input is written and synced.
    let folder = tempfile::Builder::new();
    let folder = if fs::exists("/dev/shm").unwrap_or(false) { folder.tempdir_in("/dev/shm") } else { folder.tempdir() };
    let folder = folder.expect("there is room for a folder");
    let first = raw.get(16..24).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
    fs::write(folder.path().join(format!("{first:016x}.journal")), &raw).expect("there is room for a file");
    let fence = Gate::new("fuzz").advance(std::time::Duration::from_secs(1)).expect("nobody else writes");
    let read = |seen: &RefCell<Vec<(u64, Vec<u8>)>>| {
        let visit = |number, payload: &[u8]| seen.borrow_mut().push((number, payload.to_vec()));
        Journal::open(folder.path(), &fence, KIND, JournalLimits::default(), visit)
    };
    let seen = RefCell::default();
    let Ok((mut journal, recovered)) = read(&seen) else { return };
    let seen = seen.into_inner();
    assert_eq!(recovered.records, seen.len() as u64);
    let number = journal.append(&fence, b"next").expect("an open journal takes records");
    drop(journal);
    let again = RefCell::default();
    let (_, recovered) = read(&again).expect("a journal that was opened opens again");
    assert_eq!(recovered.torn_bytes, 0);
    let mut expected = seen;
    expected.push((number, b"next".to_vec()));
    assert_eq!(again.into_inner(), expected);
}
