//! Strategies and orders, with real actors. (The brain's own tests cover the rest without threads.)

use std::time::Duration;

use duskevm_supervision::{AskError, DeathCause, Fault, Reaction, Ref, Strategy, Supervisor, Tree};

use crate::common::*;

struct Three {
    diary: Diary,
    actors: [Ref<Worker>; 3],
    supervisor: Supervisor,
}

async fn three(strategy: Strategy) -> Three {
    let diary = Diary::default();
    let actors = ["a", "b", "c"].map(Ref::declare);
    let mut tree = tree(strategy);
    for actor in &actors {
        tree = tree.actor(spec_in(actor, &diary));
    }
    let supervisor = tree.start();
    supervisor.ready().await.unwrap();
    assert_eq!(diary.lines(), ["start a", "start b", "start c"]);
    diary.clear();
    Three { diary, actors, supervisor }
}

impl Three {
    async fn generations(&self) -> [u64; 3] {
        let mut found = [0; 3];
        for (at, actor) in self.actors.iter().enumerate() {
            found[at] = actor.ask(Who).await.unwrap().generation.0;
        }
        found
    }
}

/// An orderly stop in the diary.
fn stopped(name: &str) -> [String; 3] {
    [format!("stopping {name}"), format!("flushed {name}"), format!("drop {name}")]
}

#[tokio::test]
async fn one_for_one_replaces_only_the_failed() {
    let three = three(Strategy::OneForOne).await;
    assert!(three.actors[1].ask(Panic).await.is_err());
    until("b is back", || three.diary.lines().len() == 2).await;
    assert_eq!(three.generations().await, [1, 2, 1]);
    assert_eq!(three.diary.lines(), ["drop b", "start b"]);
    three.supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn rest_for_one_replaces_the_failed_and_those_after_it() {
    let three = three(Strategy::RestForOne).await;
    assert!(three.actors[1].ask(Panic).await.is_err());
    until("c was recycled", || three.diary.lines().len() == 6).await;
    assert_eq!(three.generations().await, [1, 2, 2]);
    // The later one stops, in order, before the failed one starts; then they start in order.
    let mut expected = vec!["drop b".to_owned()];
    expected.extend(stopped("c"));
    expected.extend(["start b".to_owned(), "start c".to_owned()]);
    assert_eq!(three.diary.lines(), expected);
    let cause = three.actors[2].ask(Who).await.unwrap().cause;
    assert_eq!(cause, Some(DeathCause::Sibling("b".into())));
    three.supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn one_for_all_replaces_all_backwards_then_forwards() {
    let three = three(Strategy::OneForAll).await;
    assert!(three.actors[1].ask(Panic).await.is_err());
    until("all were recycled", || three.diary.lines().len() == 10).await;
    assert_eq!(three.generations().await, [2, 2, 2]);
    let mut expected = vec!["drop b".to_owned()];
    expected.extend(stopped("c"));
    expected.extend(stopped("a"));
    expected.extend(["a", "b", "c"].map(|name| format!("start {name}")));
    assert_eq!(three.diary.lines(), expected);
    three.supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn restart_subtree_replaces_the_siblings_whatever_the_strategy() {
    let three = three(Strategy::OneForOne).await;
    assert!(three.actors[2].ask(Fail(Reaction::RestartSubtree)).await.is_err());
    until("all were recycled", || three.diary.lines().len() == 10).await;
    assert_eq!(three.generations().await, [2, 2, 2]);
    three.supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn a_restart_on_request_is_orderly_and_no_failure() {
    let three = three(Strategy::OneForOne).await;
    three.supervisor.inject("b", Fault::Restart).unwrap();
    until("b is back", || three.diary.lines().len() == 4).await;
    let start = three.actors[1].ask(Who).await.unwrap();
    assert_eq!((start.generation.0, start.attempt, start.cause), (2, 0, Some(DeathCause::Requested)));
    let mut expected = stopped("b").to_vec();
    expected.push("start b".to_owned());
    assert_eq!(three.diary.lines(), expected);
    three.supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn an_escalated_subtree_is_replaced_as_a_whole_and_leaves_others_alone() {
    let [left, one, two] = ["left", "one", "two"].map(Ref::<Worker>::declare);
    let supervisor = tree(Strategy::OneForOne)
        .actor(spec(&left))
        .subtree("sub", Strategy::OneForOne, |t| {
            t.intensity(duskevm_supervision::Intensity { max: 1, within: LONG }).actor(spec(&one)).actor(spec(&two))
        })
        .start();
    supervisor.ready().await.unwrap();
    assert!(one.ask(Panic).await.is_err());
    assert_eq!(one.ask(Who).await.unwrap().generation.0, 2);
    assert_eq!(two.ask(Who).await.unwrap().generation.0, 1);
    // The second failure is more than the subtree bears.
    assert!(one.ask(Panic).await.is_err());
    assert_eq!(one.ask(Who).await.unwrap().generation.0, 3);
    assert_eq!(two.ask_retry(Who, LONG).await.unwrap().generation.0, 2);
    assert_eq!(left.ask(Who).await.unwrap().generation.0, 1);
    assert_eq!(supervisor.actors()[2].path, ["root".into(), "sub".into()]);
    supervisor.shutdown(LONG).await;
}

/// Actors start one after the other: an earlier one that is slow to come up is waited for.
#[tokio::test]
async fn later_actors_wait_for_earlier_ones_that_fail_to_start() {
    let diary = Diary::default();
    let (first, second) = (Ref::declare("first"), Ref::declare("second"));
    let (tries, lines) = (Counter::default(), diary.clone());
    let supervisor = tree(Strategy::OneForOne)
        .actor(duskevm_supervision::ChildSpec::new(&first, move |start| {
            let n = tries.next();
            lines.write(format!("try {n}"));
            if n < 4 { Err(duskevm_supervision::StartError::new("not yet")) } else { Ok(Worker::new(start)) }
        }))
        .actor(spec_in(&second, &diary))
        .start();
    supervisor.ready().await.unwrap();
    assert_eq!(diary.lines(), ["try 1", "try 2", "try 3", "try 4", "start second"]);
    supervisor.shutdown(LONG).await;
}

#[test]
#[should_panic(expected = "names must be unique")]
fn two_actors_with_one_name_are_a_mistake() {
    let (one, two) = (Ref::<Worker>::declare("twin"), Ref::<Worker>::declare("twin"));
    drop(Tree::new("root", Strategy::OneForOne).actor(spec(&one)).actor(spec(&two)).start());
}

#[test]
#[should_panic(expected = "given to a tree before")]
fn one_reference_for_two_actors_is_a_mistake() {
    let one = Ref::<Worker>::declare("one");
    drop(Tree::new("root", Strategy::OneForOne).actor(spec(&one)).actor(spec(&one)));
}

/// Two actors that need each other: references exist before their actors.
#[tokio::test]
async fn circular_wiring() {
    let (left, right) = (Ref::<Worker>::declare("left"), Ref::<Worker>::declare("right"));
    let supervisor = tree(Strategy::OneForOne).actor(spec(&left)).actor(spec(&right)).start();
    let (to_right, to_left) = (right.port::<Count>(), left.port::<Count>());
    for (actor, peer) in [(&left, to_right), (&right, to_left)] {
        let (tell, told) = tokio::sync::oneshot::channel();
        let ask = run(move |_, ctx| {
            ctx.pipe(async move { peer.ask_within(Count, Duration::from_secs(20)).await }, |_, answer, _| {
                let _ = tell.send(answer);
                Ok(())
            });
            Ok(())
        });
        actor.ask(ask).await.unwrap();
        assert_eq!(told.await.unwrap(), Ok::<u32, AskError>(1));
    }
    supervisor.shutdown(LONG).await;
}
