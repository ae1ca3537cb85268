//! The chain of causes.

use std::time::Duration;

use duskevm_supervision::{CauseKind, ChildSpec, DeathCause, Ref, StartError, Strategy};

use crate::common::*;

#[tokio::test]
async fn nothing_to_explain_when_all_work() {
    let (actor, supervisor) = one("worker");
    actor
        .ask(run(|_, ctx| {
            ctx.progress("block 7");
            Ok(())
        }))
        .await
        .unwrap();
    assert_eq!(supervisor.why(), []);
    let lease = supervisor.actors()[0].lease.clone();
    assert_eq!(lease.done.unwrap().0, "block 7");
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn symptoms_come_before_their_causes() {
    let [l1, batcher, derivation] = ["l1", "batcher", "derivation"].map(Ref::<Worker>::declare);
    let supervisor = tree(Strategy::OneForOne).actor(spec(&l1)).actor(spec(&batcher)).actor(spec(&derivation)).start();
    supervisor.ready().await.unwrap();
    // Declared in another order than they depend on each other.
    derivation
        .ask(run(|_, ctx| {
            ctx.progress("safe head 1204");
            ctx.waiting_on("l1", "L1 block 88");
            Ok(())
        }))
        .await
        .unwrap();
    batcher
        .ask(run(|_, ctx| {
            ctx.waiting("a full channel");
            Ok(())
        }))
        .await
        .unwrap();
    l1.ask(run(|_, ctx| {
        ctx.degraded("the backend answers slowly");
        Ok(())
    }))
    .await
    .unwrap();

    let why = supervisor.why();
    let names: Vec<&str> = why.iter().map(|cause| &*cause.actor).collect();
    assert_eq!(names, ["derivation", "l1", "batcher"]);
    assert_eq!(why.iter().map(|cause| cause.is_trouble()).collect::<Vec<_>>(), [false, true, false]);
    let text = why[0].to_string();
    assert!(text.starts_with("derivation (safe head 1204) waiting for L1 block 88 for "), "{text}");
    let text = why[1].to_string();
    assert!(text.contains("l1 degraded for ") && text.ends_with(": the backend answers slowly"), "{text}");
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn an_unanswered_request_links_two_actors() {
    let [executor, other, sequencer] = ["executor", "other", "sequencer"].map(Ref::<Worker>::declare);
    let supervisor =
        tree(Strategy::OneForOne).actor(spec(&executor)).actor(spec(&other)).actor(spec(&sequencer)).start();
    supervisor.ready().await.unwrap();
    executor
        .ask(run(|_, ctx| {
            ctx.waiting("the disk");
            Ok(())
        }))
        .await
        .unwrap();
    let port = executor.port::<Never>();
    sequencer
        .ask(run(move |_, ctx| {
            ctx.pipe(async move { port.ask_within(Never, LONG).await }, |_, _, _| Ok(()));
            Ok(())
        }))
        .await
        .unwrap();
    until("the request is out", || supervisor.why().len() == 2).await;
    let why = supervisor.why();
    assert_eq!(why[0].kind, CauseKind::Asking { actor: "executor".into(), message: "Never" });
    assert_eq!(&*why[0].actor, "sequencer");
    assert_eq!(&*why[1].actor, "executor");
    supervisor.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn one_that_hangs_is_named_by_who_waits_for_it() {
    let [executor, sequencer] = ["executor", "sequencer"].map(Ref::<Worker>::declare);
    let supervisor = tree(Strategy::OneForOne).actor(spec(&executor)).actor(spec(&sequencer)).start();
    supervisor.ready().await.unwrap();
    executor
        .ask(run(|_, ctx| {
            ctx.progress("block 4");
            Ok(())
        }))
        .await
        .unwrap();
    sequencer
        .ask(run(|_, ctx| {
            ctx.waiting_on("executor", "block 5 to be built");
            Ok(())
        }))
        .await
        .unwrap();
    let why = supervisor.why();
    assert_eq!(why.iter().map(|cause| &*cause.actor).collect::<Vec<_>>(), ["sequencer", "executor"]);
    assert!(matches!(why[1].kind, CauseKind::Silent { .. }), "{why:?}");
    let text = why[1].to_string();
    assert!(text.starts_with("executor (block 4) has said nothing for "), "{text}");
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn an_actor_that_is_down_says_why() {
    let actor = Ref::declare("executor");
    let pause = duskevm_supervision::Backoff { base: LONG * 10, cap: LONG * 10 };
    let supervisor = tree(Strategy::OneForOne)
        .backoff(pause)
        .actor(ChildSpec::<Worker>::new(&actor, |_| Err(StartError::new("the port is taken"))))
        .start();
    let down = |cause: &CauseKind| matches!(cause, CauseKind::Restarting { attempt: 1, last: Some(DeathCause::Error(text)) } if text.contains("the port is taken"));
    until("it has failed twice", || supervisor.actors()[0].restarts == 1).await;
    until("it says why", || supervisor.why().iter().any(|cause| down(&cause.kind))).await;
    let text = supervisor.why()[0].to_string();
    assert!(text.starts_with("executor down for ") && text.ends_with("could not start: the port is taken"), "{text}");
    supervisor.shutdown(LONG).await;
}
