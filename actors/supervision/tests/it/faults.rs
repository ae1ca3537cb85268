//! Injected faults: real deaths, and refused unless allowed.

use std::time::Duration;

use duskevm_supervision::{ActorState, DeathCause, Fault, InjectError, Ref, RestartKind, Strategy, Tree};

use crate::common::*;

#[tokio::test]
async fn faults_are_refused_unless_allowed() {
    let actor = Ref::declare("worker");
    let supervisor = Tree::new("root", Strategy::OneForOne).actor(spec(&actor)).start();
    supervisor.ready().await.unwrap();
    for fault in [
        Fault::Stop,
        Fault::Panic,
        Fault::Hang(Duration::ZERO),
        Fault::Restart,
        Fault::Drop { share: 1.0, lasting: LONG },
        Fault::Delay { share: 1.0, by: LONG, lasting: LONG },
        Fault::Heal,
    ] {
        assert_eq!(supervisor.inject("worker", fault), Err(InjectError::Refused));
    }
    assert_eq!(actor.ask(Count).await, Ok(1));
    assert_eq!(supervisor.actors()[0].restarts, 0);
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn a_wrong_name_or_share_is_explained() {
    let (_actor, supervisor) = one("worker");
    supervisor.ready().await.unwrap();
    let error = supervisor.inject("wroker", Fault::Stop).unwrap_err();
    assert_eq!(error, InjectError::Unknown { name: "wroker".into(), known: vec!["worker".into()] });
    assert!(error.to_string().contains("there are worker"));
    for share in [-0.1, 1.1, f64::NAN] {
        let drop = supervisor.inject("worker", Fault::Drop { share, lasting: LONG });
        assert!(matches!(drop, Err(InjectError::Share { .. })));
    }
    supervisor.shutdown(LONG).await;
    let down = supervisor.inject("worker", Fault::Stop);
    assert_eq!(down, Err(InjectError::Down { actor: "worker".into() }));
}

#[tokio::test]
async fn stop_and_panic_go_the_way_of_the_real_thing() {
    let (actor, supervisor) = one("worker");
    supervisor.ready().await.unwrap();
    for (fault, cause) in [(Fault::Stop, DeathCause::Stop), (Fault::Panic, DeathCause::Panic("injected panic".into()))]
    {
        let before = supervisor.actors()[0].restarts;
        supervisor.inject("worker", fault).unwrap();
        until("it was replaced", || supervisor.actors()[0].restarts == before + 1).await;
        assert_eq!(actor.ask(Who).await.unwrap().cause, Some(cause));
    }
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn a_stop_ends_a_transient_actor() {
    let actor = Ref::declare("task");
    let supervisor = tree(Strategy::OneForOne).actor(spec(&actor).restart(RestartKind::Transient)).start();
    supervisor.ready().await.unwrap();
    supervisor.inject("task", Fault::Stop).unwrap();
    until("it is gone", || state(&supervisor, "task") == ActorState::Stopped).await;
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn delayed_messages_come_later_and_out_of_order() {
    let (actor, supervisor) = one("worker");
    supervisor.ready().await.unwrap();
    let by = Duration::from_millis(50);
    supervisor.inject("worker", Fault::Delay { share: 1.0, by, lasting: LONG }).unwrap();
    let begun = std::time::Instant::now();
    let (first, second) = tokio::join!(actor.ask(Count), async {
        // Posted after the first, with the fault healed when it is taken from the mailbox.
        until("the first was taken", || supervisor.actors()[0].mailbox_depth == 0).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        supervisor.inject("worker", Fault::Heal).unwrap();
        actor.ask(Who).await
    });
    assert_eq!(first, Ok(1));
    assert!(second.is_ok());
    assert!(begun.elapsed() >= by);
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn lost_messages_are_lost_and_survive_a_restart_of_the_actor() {
    let (actor, supervisor) = one("worker");
    supervisor.ready().await.unwrap();
    supervisor.inject("worker", Fault::Drop { share: 1.0, lasting: LONG }).unwrap();
    actor.tell(Count).unwrap();
    supervisor.inject("worker", Fault::Panic).unwrap();
    until("it was replaced", || supervisor.actors()[0].restarts == 1).await;
    until("it is up", || state(&supervisor, "worker") == ActorState::Running).await;
    assert!(actor.ask_within(Count, Duration::from_millis(20)).await.is_err());
    supervisor.inject("worker", Fault::Heal).unwrap();
    assert_eq!(actor.ask(Count).await, Ok(1));
    supervisor.shutdown(LONG).await;
}

/// Stop, panic and hang any of several actors many times under load: nobody is lost, everyone is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_faults_under_load() {
    let actors: Vec<_> = (0..3).map(|n| Ref::declare(format!("w{n}"))).collect();
    let mut tree = tree(Strategy::RestForOne);
    for actor in &actors {
        tree = tree.actor(spec(actor).deadline(Duration::from_millis(60)));
    }
    let supervisor = tree.start();
    supervisor.ready().await.unwrap();
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let callers: Vec<_> = actors
        .iter()
        .cloned()
        .map(|actor| {
            let over = over.clone();
            tokio::spawn(async move {
                let mut answered = 0u64;
                while !over.load(std::sync::atomic::Ordering::SeqCst) {
                    actor.ask_retry(Who, LONG).await.unwrap();
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    for round in 0..24 {
        let name = format!("w{}", round % 3);
        let fault = [Fault::Stop, Fault::Panic, Fault::Hang(LONG), Fault::Restart][round / 3 % 4];
        let at = round % 3;
        until("the actor is up", || state(&supervisor, &name) == ActorState::Running).await;
        let before = supervisor.actors()[at].restarts;
        // It may just have been taken down by its neighbour's restart.
        while supervisor.inject(&name, fault).is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        until("the fault has shown", || supervisor.actors()[at].restarts > before).await;
    }
    supervisor.ready().await.unwrap();
    over.store(true, std::sync::atomic::Ordering::SeqCst);
    for caller in callers {
        assert!(caller.await.unwrap() > 0);
    }
    supervisor.shutdown(LONG).await;
}
