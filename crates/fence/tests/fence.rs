//! The promises of the fence, with real threads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use duskevm_fence::{Fence, FenceError, Gate, Generation};

const SOON: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(30);

#[test]
fn generations_count_from_one() {
    let gate = Gate::new("store");
    assert_eq!(gate.current(), Generation(0));
    assert_eq!(gate.advance(SOON).unwrap().generation(), Generation(1));
    assert_eq!(gate.advance(SOON).unwrap().generation(), Generation(2));
    assert_eq!(gate.current(), Generation(2));
}

#[test]
fn a_replaced_generation_is_refused() {
    let gate = Gate::new("store");
    let old = gate.advance(SOON).unwrap();
    assert_eq!(old.write(|| 1), Ok(1));
    let new = gate.advance(SOON).unwrap();

    let mut ran = false;
    let refused = old.write(|| ran = true);
    assert!(!ran);
    assert_eq!(
        refused,
        Err(FenceError::Stale { actor: "store".into(), generation: Generation(1), current: Generation(2) })
    );
    assert!(old.check().is_err());
    assert_eq!(new.write(|| 2), Ok(2));
    assert!(new.check().is_ok());
}

#[test]
fn a_replacement_waits_for_a_write_in_progress() {
    let gate = Gate::new("store");
    let old = gate.advance(SOON).unwrap();
    let (inside, is_inside) = mpsc::channel();
    let (finish, may_finish) = mpsc::channel::<()>();
    let writer = {
        let old = old.clone();
        thread::spawn(move || {
            old.write(|| {
                inside.send(()).unwrap();
                may_finish.recv().unwrap();
            })
        })
    };
    is_inside.recv().unwrap();

    let busy = gate.advance(SOON).unwrap_err();
    assert_eq!(&*busy.actor, "store");
    // Shut out already, although no replacement exists yet.
    assert!(matches!(old.check(), Err(FenceError::Stale { current: Generation(0), .. })));

    finish.send(()).unwrap();
    assert_eq!(writer.join().unwrap(), Ok(()));
    let new = gate.advance(LONG).unwrap();
    assert_eq!(new.generation(), Generation(2));
    assert!(old.write(|| ()).is_err());
}

#[test]
fn revoking_shuts_out_only_the_named_generation() {
    let gate = Gate::new("store");
    let first = gate.advance(SOON).unwrap();
    gate.revoke(Generation(1));
    assert!(first.write(|| ()).is_err());
    assert_eq!((gate.current(), gate.issued()), (Generation(0), Generation(1)));
    let second = gate.advance(SOON).unwrap();
    gate.revoke(Generation(1));
    assert_eq!(second.write(|| 7), Ok(7));
}

#[test]
fn an_unwanted_instance_does_not_shut_out_its_replacement() {
    let gate = Gate::new("store");
    let first = gate.advance(SOON).unwrap();
    assert!(gate.advance_if(SOON, || false).unwrap().is_none());
    assert_eq!(first.write(|| 1), Ok(1));

    // Given up while it waits for its turn: the first question is answered yes, the second no.
    let asked = AtomicU64::new(0);
    let late = gate.advance_if(SOON, || asked.fetch_add(1, Ordering::SeqCst) == 0).unwrap();
    assert!(late.is_none());
    assert_eq!(gate.advance(SOON).unwrap().write(|| 2), Ok(2));
}

#[test]
fn a_panicking_write_opens_the_gate_again() {
    let gate = Gate::new("store");
    let fence = gate.advance(SOON).unwrap();
    let inner = fence.clone();
    assert!(thread::spawn(move || inner.write(|| panic!("disk"))).join().is_err());
    assert_eq!(fence.write(|| 1), Ok(1));
    assert!(gate.advance(SOON).is_ok());
}

#[test]
fn a_nested_write_fails_instead_of_hanging() {
    let fence = Gate::new("store").advance(SOON).unwrap().with_patience(SOON);
    let inner = fence.write(|| fence.write(|| ())).unwrap();
    assert!(matches!(inner, Err(FenceError::Busy { .. })));
}

#[test]
fn unfenced_passes_always() {
    let fence = Fence::unfenced();
    assert_eq!(fence.write(|| 3), Ok(3));
    assert!(fence.check().is_ok());
}

/// Many writers of many generations: what was written by generation n never follows a write of generation n + 1.
#[test]
fn writes_never_go_back_in_generation() {
    let gate = Gate::new("store");
    let newest = Arc::new(AtomicU64::new(0));
    let torn = Arc::new(AtomicU64::new(0));
    let mut writers = Vec::new();
    for _ in 0..8 {
        let fence = gate.advance(LONG).unwrap();
        let (newest, torn) = (newest.clone(), torn.clone());
        writers.push(thread::spawn(move || {
            for _ in 0..2_000 {
                let generation = fence.generation().0;
                let wrote = fence.write(|| {
                    if newest.swap(generation, Ordering::SeqCst) > generation {
                        torn.fetch_add(1, Ordering::SeqCst);
                    }
                });
                if wrote.is_err() {
                    return;
                }
            }
        }));
    }
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(torn.load(Ordering::SeqCst), 0);
}
