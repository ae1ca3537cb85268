//! The retention rules against a model that recomputes everything from the list of live claims.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use duskevm_blobs::Hash;
use duskevm_blobs::retention::{Claim, Claims, Op, RestoreError};
use proptest::prelude::*;

fn hash(number: u8) -> Hash {
    [number; 32]
}

/// What the operations leave on disk. Every operation must make sense where it comes.
#[derive(Debug, Default, Clone)]
struct Disk {
    blobs: BTreeSet<Hash>,
    claims: BTreeMap<(u64, Hash), Vec<Hash>>,
    missing: BTreeSet<Hash>,
}

impl Disk {
    fn apply(&mut self, ops: Vec<Op>, at_hand: &BTreeSet<Hash>) {
        for op in ops {
            match op {
                Op::WriteBlob(blob) => {
                    assert!(at_hand.contains(&blob), "only what is at hand can be written");
                    assert!(self.blobs.insert(blob), "written twice");
                }
                Op::DeleteBlob(blob) => assert!(self.blobs.remove(&blob), "deleted what was not there"),
                Op::WriteClaim(Claim { height, block, blobs }) => drop(self.claims.insert((height, block), blobs)),
                Op::DeleteClaim { height, block } => assert!(self.claims.remove(&(height, block)).is_some()),
                Op::NoteMissing(blob) => assert!(self.missing.insert(blob)),
                Op::ForgetMissing(blob) => assert!(self.missing.remove(&blob)),
            }
        }
    }

    fn restored(&self) -> Claims {
        let claim =
            |(key, blobs): (&(u64, Hash), &Vec<Hash>)| Claim { height: key.0, block: key.1, blobs: blobs.clone() };
        Claims::restore(self.claims.iter().map(claim).collect(), self.missing.iter().copied().collect()).unwrap()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Keep { height: u64, block: u8, blobs: Vec<u8>, at_hand: Vec<u8> },
    Drop { height: u64, block: u8 },
    Expire { final_height: u64, keep: Option<u64>, limit: usize },
    Found { blob: u8 },
    Lost { blob: u8 },
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let blobs = || prop::collection::vec(0..10_u8, 0..6);
    let step = prop_oneof![
        6 => (0..12_u64, 0..3_u8, blobs(), blobs())
            .prop_map(|(height, block, blobs, at_hand)| Step::Keep { height, block, blobs, at_hand }),
        2 => (0..12_u64, 0..3_u8).prop_map(|(height, block)| Step::Drop { height, block }),
        2 => (0..14_u64, prop::option::of(0..8_u64), 1..9_usize)
            .prop_map(|(final_height, keep, limit)| Step::Expire { final_height, keep, limit }),
        2 => (0..10_u8).prop_map(|blob| Step::Found { blob }),
        1 => (0..10_u8).prop_map(|blob| Step::Lost { blob }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..60)
}

/// The rules in their plainest form: which claims live, and which blobs were ever brought in since they were first claimed.
#[derive(Debug, Default)]
struct Model {
    claims: BTreeMap<(u64, Hash), Vec<Hash>>,
    present: BTreeSet<Hash>,
}

impl Model {
    fn wanted(&self) -> BTreeSet<Hash> {
        self.claims.values().flatten().copied().collect()
    }

    fn settle(&mut self) {
        let wanted = self.wanted();
        self.present.retain(|blob| wanted.contains(blob));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_disk_has_exactly_what_living_claims_name(steps in steps()) {
        let (mut claims, mut disk, mut model) = (Claims::default(), Disk::default(), Model::default());
        for step in steps {
            match step {
                Step::Keep { height, block, blobs, at_hand } => {
                    let blobs: Vec<_> = blobs.into_iter().map(hash).collect();
                    let at_hand: BTreeSet<_> = at_hand.into_iter().map(hash).collect();
                    let ops = claims.keep(height, &hash(block), &blobs, |blob| at_hand.contains(blob));
                    disk.apply(ops, &at_hand);
                    model.present.extend(blobs.iter().filter(|blob| at_hand.contains(*blob)));
                    if blobs.is_empty() {
                        model.claims.remove(&(height, hash(block)));
                    } else {
                        model.claims.insert((height, hash(block)), blobs.clone());
                    }
                    // Once more: nothing is left to do.
                    let again = claims.keep(height, &hash(block), &blobs, |blob| at_hand.contains(blob));
                    prop_assert_eq!(again, Vec::new());
                }
                Step::Drop { height, block } => {
                    disk.apply(claims.drop_block(height, &hash(block)), &BTreeSet::new());
                    prop_assert_eq!(claims.drop_block(height, &hash(block)), Vec::new());
                    model.claims.remove(&(height, hash(block)));
                }
                Step::Expire { final_height, keep, limit } => {
                    let mut rounds = 0;
                    loop {
                        let ops = claims.expire(final_height, keep, limit);
                        if ops.is_empty() {
                            break;
                        }
                        // One claim of at most five blobs may go beyond the limit.
                        prop_assert!(ops.len() < limit + 6);
                        disk.apply(ops, &BTreeSet::new());
                        rounds += 1;
                        prop_assert!(rounds < 100);
                    }
                    model.claims.retain(|(height, _), _| keep.is_none_or(|keep| height + keep > final_height));
                }
                Step::Found { blob } => {
                    disk.apply(claims.found(&hash(blob)), &BTreeSet::from([hash(blob)]));
                    model.present.insert(hash(blob));
                }
                Step::Lost { blob } => {
                    disk.apply(claims.lost(&hash(blob)), &BTreeSet::new());
                    model.present.remove(&hash(blob));
                }
                Step::Restart => claims = disk.restored(),
            }
            model.settle();
            let wanted = model.wanted();
            prop_assert_eq!(&disk.claims, &model.claims);
            prop_assert_eq!(&disk.blobs, &model.present);
            let missing: BTreeSet<_> = wanted.difference(&model.present).copied().collect();
            prop_assert_eq!(&disk.missing, &missing);
            prop_assert_eq!(&disk.restored(), &claims);
            prop_assert_eq!(claims.stored(), model.present.len());
            prop_assert_eq!(claims.blocks(), model.claims.len());
            prop_assert_eq!(claims.oldest(), model.claims.keys().next().map(|key| key.0));
            prop_assert_eq!(claims.missing().copied().collect::<BTreeSet<_>>(), missing);
            for number in 0..10 {
                prop_assert_eq!(claims.has(&hash(number)), model.present.contains(&hash(number)));
                prop_assert_eq!(claims.claimed(&hash(number)), wanted.contains(&hash(number)));
                let having = model.claims.iter().filter(|(_, blobs)| blobs.contains(&hash(number)));
                prop_assert_eq!(claims.newest_block_with(&hash(number)), having.map(|(key, _)| key.0).max());
            }
        }
    }
}

#[test]
fn a_blob_of_two_blocks_outlives_the_first_of_them() {
    let mut claims = Claims::default();
    claims.keep(10, &hash(1), &[hash(7)], |_| true);
    assert_eq!(claims.keep(20, &hash(2), &[hash(7)], |_| true).len(), 1, "a claim, and no second copy");
    let block = hash(1);
    assert_eq!(claims.expire(110, Some(100), 64), [Op::DeleteClaim { height: 10, block }]);
    assert!(claims.has(&hash(7)));
    assert!(claims.expire(119, Some(100), 64).is_empty());
    let ops = claims.expire(120, Some(100), 64);
    assert_eq!(ops, [Op::DeleteClaim { height: 20, block: hash(2) }, Op::DeleteBlob(hash(7))]);
}

#[test]
fn blocks_expire_when_the_block_that_is_keep_above_them_is_final() {
    // The published node deletes height 1 when 86 401 becomes final.
    let mut claims = Claims::default();
    claims.keep(1, &hash(1), &[hash(1)], |_| true);
    assert!(claims.expire(86_400, Some(86_400), 64).is_empty());
    assert!(claims.expire(u64::MAX, None, 64).is_empty(), "no bound keeps everything");
    assert_eq!(claims.expire(86_401, Some(86_400), 64).len(), 2);
}

#[test]
fn stored_claims_that_contradict_each_other_are_refused() {
    let claim = || Claim { height: 3, block: hash(3), blobs: vec![hash(1)] };
    assert_eq!(Claims::restore(vec![claim(), claim()], Vec::new()), Err(RestoreError::Twice(3)));
    assert_eq!(Claims::restore(vec![claim()], vec![hash(2)]), Err(RestoreError::Unclaimed));
}
