use super::*;
use duskevm_fence::Gate;
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};
use tempfile::TempDir;

const SMALL: JournalLimits = JournalLimits { record_bytes: 200, segment_bytes: 300 };

impl Journal {
    fn next_number(&self) -> u64 {
        self.next
    }

    fn first_number(&self) -> u64 {
        self.segments.first().copied().unwrap_or(self.next)
    }
}

fn open_at(directory: &Path) -> Result<(Journal, Recovered, Vec<Vec<u8>>), JournalError> {
    let mut records = Vec::new();
    let visit = |_: u64, record: &[u8]| records.push(record.to_vec());
    let (journal, recovered) = Journal::open(directory, &Fence::unfenced(), "test", SMALL, visit)?;
    assert_eq!(recovered.records, records.len() as u64);
    Ok((journal, recovered, records))
}

fn record(number: u8) -> Vec<u8> {
    vec![number; usize::from(number) % 60]
}

fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn last_segment(directory: &Path) -> PathBuf {
    segment_path(directory, *list(directory).unwrap().last().unwrap())
}

#[test]
fn records_come_back_in_order_across_segments() {
    let directory = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let (mut journal, recovered, _) = open_at(directory.path()).unwrap();
    assert_eq!(recovered, Recovered::default());
    for number in 0..40 {
        assert_eq!(journal.append(&fence, &record(number)).unwrap(), u64::from(number));
    }
    assert_eq!(journal.append_all(&fence, (40..50).map(record)).unwrap(), 40..50);
    assert_eq!(journal.append_all(&fence, Vec::<Vec<u8>>::new()).unwrap(), 50..50);
    drop(journal);
    assert!(list(directory.path()).unwrap().len() > 3);
    let (mut journal, recovered, records) = open_at(directory.path()).unwrap();
    assert_eq!(records, (0..50).map(record).collect::<Vec<_>>());
    assert_eq!((recovered.torn_bytes, journal.next_number()), (0, 50));

    journal.release_before(&fence, 30).unwrap();
    let first = journal.first_number();
    assert!(first > 0 && first <= 30);
    drop(journal);
    let (_, recovered, records) = open_at(directory.path()).unwrap();
    assert_eq!((recovered.first, records), (first, (first as u8..50).map(record).collect()));
}

#[test]
fn a_rewrite_replaces_everything() {
    let directory = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let (mut journal, ..) = open_at(directory.path()).unwrap();
    assert_eq!(journal.rewrite(&fence, Vec::<Vec<u8>>::new()).unwrap(), 1..1);
    let before = journal.append_all(&fence, (0..30).map(record)).unwrap().end;
    assert_eq!(journal.rewrite(&fence, [record(7), record(9)]).unwrap(), before..before + 2);
    journal.append(&fence, &record(11)).unwrap();
    drop(journal);
    assert_eq!(list(directory.path()).unwrap().len(), 1);
    let (mut journal, recovered, records) = open_at(directory.path()).unwrap();
    assert_eq!((recovered.first, records), (before, vec![record(7), record(9), record(11)]));
    journal.rewrite(&fence, Vec::<Vec<u8>>::new()).unwrap();
    drop(journal);
    assert_eq!(open_at(directory.path()).unwrap().2, Vec::<Vec<u8>>::new());
}

/// The system may hold a record as written although its fsync failed: another process that opens the journal must not
/// believe it.
#[cfg(unix)]
#[test]
fn open_puts_the_last_segment_on_disk_again() {
    use std::os::unix::fs::MetadataExt;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("not").join("yet").join("there");
    let (mut journal, ..) = open_at(&path).unwrap();
    for number in 0..20 {
        journal.append(&Fence::unfenced(), &record(number)).unwrap();
    }
    drop(journal);
    let inodes = || -> Vec<u64> {
        list(&path).unwrap().iter().map(|number| fs::metadata(segment_path(&path, *number)).unwrap().ino()).collect()
    };
    let (before, content) = (inodes(), files(&path));
    // Held open, so that the file system cannot give the number away again.
    let _held = File::open(last_segment(&path)).unwrap();
    drop(open_at(&path).unwrap());
    let after = inodes();
    assert!(before.len() > 1 && before.len() == after.len());
    assert_eq!(before[..before.len() - 1], after[..after.len() - 1]);
    assert_ne!(before.last(), after.last());
    assert_eq!(files(&path), content);
}

/// A crash between the rename of a rewrite and the deletion of what it replaced.
#[test]
fn segments_that_a_rewrite_left_behind_do_not_count() {
    let directory = TempDir::new().unwrap();
    let fence = Fence::unfenced();
    let (mut journal, ..) = open_at(directory.path()).unwrap();
    journal.append_all(&fence, (0..5).map(record)).unwrap();
    let old = files(directory.path());
    journal.rewrite(&fence, [record(3)]).unwrap();
    drop(journal);
    for (path, raw) in old {
        fs::write(path, raw).unwrap();
    }
    assert_eq!(open_at(directory.path()).unwrap().2, vec![record(3)]);
    assert_eq!(list(directory.path()).unwrap(), vec![5]);
}

#[test]
fn a_record_that_is_too_large_is_refused_and_nothing_is_written() {
    let directory = TempDir::new().unwrap();
    let (mut journal, ..) = open_at(directory.path()).unwrap();
    let before = files(directory.path());
    let error = journal.append_all(&Fence::unfenced(), [vec![0; 10], vec![0; 201]]).unwrap_err();
    assert!(matches!(error, JournalError::TooLarge { length: 201, limit: 200 }), "{error}");
    assert_eq!(files(directory.path()), before);
    journal.append(&Fence::unfenced(), &[0; 200]).unwrap();
}

#[test]
fn a_fenced_instance_writes_nothing() {
    let directory = TempDir::new().unwrap();
    let gate = Gate::new("writer");
    let old = gate.advance(Duration::from_secs(1)).unwrap();
    let (mut journal, ..) = open_at(directory.path()).unwrap();
    journal.append(&old, b"mine").unwrap();
    let new = gate.advance(Duration::from_secs(1)).unwrap();
    let (mut replacement, _, records) = open_at(directory.path()).unwrap();
    assert_eq!(records, vec![b"mine".to_vec()]);
    let before = files(directory.path());
    assert!(matches!(journal.append(&old, b"late"), Err(JournalError::Fenced(_))));
    assert!(matches!(journal.rewrite(&old, [b"late"]), Err(JournalError::Fenced(_))));
    assert!(matches!(journal.reopen(&old, |_, _| ()), Err(JournalError::Fenced(_))));
    let again = Journal::open(directory.path(), &old, "test", SMALL, |_, _| ());
    assert!(matches!(again, Err(JournalError::Fenced(_))));
    assert_eq!(files(directory.path()), before);
    replacement.append(&new, b"next").unwrap();
    drop((journal, replacement));
    assert_eq!(open_at(directory.path()).unwrap().2, vec![b"mine".to_vec(), b"next".to_vec()]);
}

#[test]
fn the_journal_of_something_else_is_refused() {
    let directory = TempDir::new().unwrap();
    drop(open_at(directory.path()).unwrap());
    let before = files(directory.path());
    let error = Journal::open(directory.path(), &Fence::unfenced(), "other", SMALL, |_, _| ()).unwrap_err();
    assert!(matches!(error, JournalError::Damaged { offset: 8, .. }), "{error}");
    assert_eq!(files(directory.path()), before);
}

/// Numbers count on from the first: one near the end of the numbers can only be damage, however good its checksum.
#[test]
fn a_segment_that_begins_at_the_last_numbers_is_damage() {
    for first in [u64::MAX, u64::MAX - 2] {
        let directory = TempDir::new().unwrap();
        drop(open_at(directory.path()).unwrap());
        let path = last_segment(directory.path());
        let mut header = segment::Header::decode(&fs::read(&path).unwrap()).unwrap();
        header.first = first;
        let mut raw = header.encode().to_vec();
        segment::encode_record(header.salt, first, first, b"x", &mut raw);
        raw.extend([0; 40]);
        fs::remove_file(&path).unwrap();
        fs::write(segment_path(directory.path(), first), raw).unwrap();
        assert!(matches!(open_at(directory.path()), Err(JournalError::Damaged { .. })));
    }
}

#[test]
fn a_missing_segment_is_damage() {
    let directory = TempDir::new().unwrap();
    let (mut journal, ..) = open_at(directory.path()).unwrap();
    for number in 0..40 {
        journal.append(&Fence::unfenced(), &record(number)).unwrap();
    }
    drop(journal);
    let segments = list(directory.path()).unwrap();
    fs::remove_file(segment_path(directory.path(), segments[1])).unwrap();
    assert!(matches!(open_at(directory.path()), Err(JournalError::Damaged { offset: 16, .. })));
}

/// A payload that contains what looks like a record of a later group does not make a torn tail look like damage.
#[test]
fn nobody_can_forge_a_record_inside_a_payload() {
    let directory = TempDir::new().unwrap();
    let (mut journal, ..) = open_at(directory.path()).unwrap();
    let mut forged = Vec::new();
    segment::encode_record(0, 1, 1, b"x", &mut forged);
    forged.extend([0; 20]);
    journal.append(&Fence::unfenced(), &forged).unwrap();
    drop(journal);
    let path = last_segment(directory.path());
    let raw = fs::read(&path).unwrap();
    fs::write(&path, &raw[..raw.len() - 5]).unwrap();
    let (_, recovered, records) = open_at(directory.path()).unwrap();
    assert!(records.is_empty() && recovered.torn_bytes > 0);
}

fn groups() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    let record = prop::collection::vec(any::<u8>(), 0..40);
    prop::collection::vec(prop::collection::vec(record, 1..4), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Cut off anywhere in the last write: what was acknowledged before is there, the rest is cut off, and the journal
    /// goes on.
    #[test]
    fn a_torn_tail_is_cut_off(groups in groups(), cut in any::<prop::sample::Index>(), noise in prop::collection::vec(any::<u8>(), 0..30)) {
        let directory = TempDir::new().unwrap();
        let fence = Fence::unfenced();
        let (mut journal, ..) = open_at(directory.path()).unwrap();
        let mut before = (journal.length, 0);
        for group in &groups {
            before = (journal.length, list(directory.path()).unwrap().len());
            journal.append_all(&fence, group).unwrap();
        }
        drop(journal);
        let path = last_segment(directory.path());
        let mut raw = fs::read(&path).unwrap();
        let start = if list(directory.path()).unwrap().len() == before.1 { before.0 as usize } else { HEADER };
        raw.truncate(start + cut.index(raw.len() - start));
        raw.extend(&noise);
        fs::write(&path, &raw).unwrap();
        let (mut journal, recovered, records) = open_at(directory.path()).unwrap();
        let all: Vec<_> = groups.concat();
        let acknowledged = all.len() - groups.last().unwrap().len();
        prop_assert!(records.len() >= acknowledged && records[..] == all[..records.len()]);
        prop_assert_eq!(journal.append(&fence, b"after").unwrap(), records.len() as u64);
        drop(journal);
        let (_, again, more) = open_at(directory.path()).unwrap();
        prop_assert_eq!(again.torn_bytes, 0);
        prop_assert_eq!(more.len(), records.len() + 1);
        prop_assert!(recovered.torn_bytes as usize <= raw.len());
    }

    /// A flipped bit anywhere before the last group is found, named, and nothing is changed.
    #[test]
    fn damage_in_the_middle_is_named(groups in groups(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        prop_assume!(groups.len() > 1);
        let directory = TempDir::new().unwrap();
        let fence = Fence::unfenced();
        let (mut journal, ..) = open_at(directory.path()).unwrap();
        for group in &groups {
            journal.append_all(&fence, group).unwrap();
        }
        drop(journal);
        // Somewhere in what was acknowledged before the last group.
        let last: usize = groups.last().unwrap().iter().map(|record| RECORD + record.len()).sum();
        let mut all = files(directory.path());
        let mut total: usize = all.values().map(Vec::len).sum();
        let last_file = all.values().last().unwrap().len();
        total -= if last_file > HEADER + last { last } else { last_file - HEADER };
        let mut position = at.index(total);
        let (path, raw) = all.iter_mut().find(|(_, raw)| {
            let inside = position < raw.len();
            if !inside { position -= raw.len(); }
            inside
        }).unwrap();
        raw[position] ^= 1 << bit;
        fs::write(path, &raw).unwrap();
        let name = path.clone();
        let before = files(directory.path());
        match open_at(directory.path()) {
            Err(JournalError::Damaged { path, offset, .. }) => {
                prop_assert!(offset as usize <= position || path != name, "{} > {}", offset, position);
            }
            other => prop_assert!(false, "expected damage at {} of {:?}, got {:?}", position, name, other),
        }
        prop_assert_eq!(files(directory.path()), before);
    }
}
