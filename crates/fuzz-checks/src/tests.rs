use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

#[test]
fn names_are_unique_and_samples_hold() {
    for (n, target) in TARGETS.iter().enumerate() {
        assert!(TARGETS[..n].iter().all(|other| other.name != target.name));
        assert_eq!(by_name(target.name).map(|found| found.name), Some(target.name));
        let samples = (target.samples)();
        assert!(!samples.is_empty(), "{} has samples", target.name);
        for sample in &samples {
            (target.check)(sample);
        }
        // What every reader must survive.
        for bytes in [&[][..], &[0], &[0xff], &[0; 64], &[0xff; 64]] {
            (target.check)(bytes);
        }
    }
}

/// What is done to a sample: a bit turned over, a byte or a word set, a piece cut out, doubled or filled with noise, the end
/// cut off.
fn bend(bytes: &mut Vec<u8>, kind: u8, at: Index, other: Index, noise: &[u8]) {
    if bytes.is_empty() {
        bytes.extend_from_slice(noise);
        return;
    }
    let at = at.index(bytes.len());
    let end = (at + 1 + other.index(40)).min(bytes.len());
    match kind {
        0 => bytes[at] ^= 1 << other.index(8),
        1 => bytes[at] = noise.first().copied().unwrap_or(0xff),
        2 => bytes[at..end].fill(0xff),
        3 => bytes[at..end].fill(0),
        4 => drop(bytes.drain(at..end)),
        5 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        6 => drop(bytes.splice(at..end, noise.iter().copied())),
        _ => bytes.truncate(at),
    }
}

fn bent(target: &'static Target) -> impl Strategy<Value = Vec<u8>> {
    let samples = (target.samples)();
    let noise = || prop::collection::vec(any::<u8>(), 0..12);
    let steps = prop::collection::vec((0..8u8, any::<Index>(), any::<Index>(), noise()), 1..5);
    let of_sample = (prop::sample::select(samples), steps).prop_map(|(mut bytes, steps)| {
        for (kind, at, other, noise) in steps {
            bend(&mut bytes, kind, at, other, &noise);
        }
        bytes
    });
    prop_oneof![9 => of_sample, 1 => prop::collection::vec(any::<u8>(), 0..300)]
}

#[test]
fn garbage_and_bent_samples_break_no_rule() {
    for target in TARGETS {
        let cases = if target.slow { 150 } else { 2_000 };
        let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
        let result = proptest::test_runner::TestRunner::new(config).run(&bent(target), |bytes| {
            (target.check)(&bytes);
            Ok(())
        });
        if let Err(error) = result {
            panic!("{}: {error}", target.name);
        }
    }
}
