//! How actors die, how it is told apart, and what follows.

use std::time::Duration;

use duskevm_supervision::{
    ActorState, AskError, Backoff, ChildSpec, DeathCause, ExitReason, Intensity, Reaction, Ref, RestartKind,
    StartError, Strategy, Tree,
};

use crate::common::*;

#[tokio::test]
async fn stop_error_and_panic_are_told_apart() {
    let (actor, supervisor) = one("worker");
    actor.ask(Quit).await.unwrap();
    let start = actor.ask(Who).await.unwrap();
    assert_eq!((start.cause, start.attempt), (Some(DeathCause::Stop), 1));

    let cause = DeathCause::Error("trouble RestartSelf".into());
    let died = actor.ask(Fail(Reaction::RestartSelf)).await;
    assert_eq!(died, Err(AskError::Died { actor: "worker".into(), cause: cause.clone() }));
    assert_eq!(actor.ask(Who).await.unwrap().cause, Some(cause));

    assert!(actor.ask(Panic).await.is_err());
    let start = actor.ask(Who).await.unwrap();
    assert_eq!(start.cause, Some(DeathCause::Panic("told to".into())));
    assert_eq!((start.generation.0, start.attempt, start.reset), (4, 3, false));
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn retry_and_degrade_leave_the_actor_alive() {
    let (actor, supervisor) = one("worker");
    assert!(actor.ask(Fail(Reaction::Retry)).await.is_err());
    assert_eq!(state(&supervisor, "worker"), ActorState::Running);
    assert!(actor.ask(Fail(Reaction::Degrade)).await.is_err());
    assert_eq!(state(&supervisor, "worker"), ActorState::Degraded { why: "trouble Degrade".into() });
    actor
        .ask(run(|_, ctx| {
            ctx.healthy();
            Ok(())
        }))
        .await
        .unwrap();
    assert_eq!(state(&supervisor, "worker"), ActorState::Running);
    assert_eq!(actor.ask(Who).await.unwrap().generation.0, 1);
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn a_chain_reset_is_asked_for_until_a_start_succeeds() {
    let actor = Ref::declare("derivation");
    let resets = Diary::default();
    let seen = resets.clone();
    let spec = ChildSpec::new(&actor, move |start| {
        seen.write(format!("{} {}", start.attempt, start.reset));
        if start.attempt == 1 { Err(StartError::new("L1 is away")) } else { Ok(Worker::new(start)) }
    });
    let supervisor = tree(Strategy::OneForOne).actor(spec).start();
    assert!(actor.ask(Fail(Reaction::ResetChainState)).await.is_err());
    assert!(actor.ask(Who).await.unwrap().reset);
    assert!(actor.ask(Panic).await.is_err());
    assert!(!actor.ask(Who).await.unwrap().reset);
    assert_eq!(resets.lines(), ["0 false", "1 true", "2 true", "3 false"]);
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn abort_ends_the_tree_and_names_the_error() {
    let (actor, supervisor) = one("worker");
    assert!(matches!(actor.ask(Fail(Reaction::Abort)).await, Err(AskError::Died { .. })));
    let reason = supervisor.wait().await;
    assert_eq!(reason, ExitReason::Aborted { actor: "worker".into(), error: "error: trouble Abort".into() });
    assert_eq!(reason.exit_code(), 71);
    assert!(reason.to_string().contains("worker"));
    assert_eq!(actor.ask(Count).await, Err(AskError::Stopping));
}

#[tokio::test]
async fn a_start_that_fails_or_panics_is_tried_again() {
    let actor = Ref::declare("worker");
    let starts = Counter::default();
    let counter = starts.clone();
    let spec = ChildSpec::new(&actor, move |start| match counter.next() {
        1 => Err(StartError::new("not yet")),
        2 => panic!("while starting"),
        3 => Err(Trouble(Reaction::RestartSelf))?,
        _ => Ok(Worker::new(start)),
    });
    let supervisor = tree(Strategy::OneForOne).actor(spec).start();
    let start = actor.ask(Who).await.unwrap();
    assert_eq!((start.attempt, starts.get()), (3, 4));
    assert_eq!(start.cause, Some(DeathCause::Error("could not start: trouble RestartSelf".into())));
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn a_panic_while_starting_is_named_as_such() {
    let actor = Ref::declare("worker");
    let spec = ChildSpec::<Worker>::new(&actor, |start| {
        if start.attempt == 0 { panic!("in the factory") } else { Ok(Worker::new(start)) }
    });
    let supervisor = tree(Strategy::OneForOne).actor(spec).start();
    let start = actor.ask(Who).await.unwrap();
    assert_eq!(start.cause, Some(DeathCause::Panic("could not start: in the factory".into())));
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn permanent_transient_temporary() {
    let (forever, once, never) = (Ref::declare("permanent"), Ref::declare("transient"), Ref::declare("temporary"));
    let supervisor = tree(Strategy::OneForOne)
        .actor(spec(&forever))
        .actor(spec(&once).restart(RestartKind::Transient))
        .actor(spec(&never).restart(RestartKind::Temporary))
        .start();
    supervisor.ready().await.unwrap();

    // A failure: the temporary one stays away.
    for actor in [&forever, &once, &never] {
        assert!(actor.ask(Panic).await.is_err());
    }
    assert_eq!(forever.ask(Who).await.unwrap().generation.0, 2);
    assert_eq!(once.ask(Who).await.unwrap().generation.0, 2);
    until("temporary is gone", || state(&supervisor, "temporary") == ActorState::Stopped).await;

    // A normal stop: the transient one has done its work.
    forever.ask(Quit).await.unwrap();
    once.ask(Quit).await.unwrap();
    assert_eq!(forever.ask(Who).await.unwrap().generation.0, 3);
    until("transient is gone", || state(&supervisor, "transient") == ActorState::Stopped).await;
    assert_eq!(once.ask(Count).await, Err(AskError::Gone { actor: "transient".into() }));
    // Whoever waits for readiness does not wait for those that are done.
    supervisor.ready().await.unwrap();
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn a_restart_storm_escalates_and_ends_with_a_clear_line() {
    let actor = Ref::declare("executor");
    let starts = Counter::default();
    let counter = starts.clone();
    let supervisor = Tree::new("root", Strategy::OneForOne)
        .intensity(Intensity { max: 2, within: LONG })
        .backoff(Backoff { base: Duration::from_millis(1), cap: Duration::from_millis(1) })
        .subtree("l2", Strategy::OneForOne, |t| {
            t.actor(ChildSpec::<Worker>::new(&actor, move |_| {
                counter.next();
                panic!("always")
            }))
        })
        .start();
    let reason = supervisor.wait().await;
    // Three failures in l2 make one of root's, and root bears two.
    assert_eq!(starts.get(), 9);
    assert_eq!(
        reason,
        ExitReason::Escalated {
            actor: "executor".into(),
            through: vec!["l2".into(), "root".into()],
            restarts: 2,
            within: LONG,
            failures: 9,
            cause: DeathCause::Panic("could not start: always".into()),
        }
    );
    assert_ne!(reason.exit_code(), 0);
    let line = reason.to_string();
    for part in ["executor", "9 times", "always", "l2 and root", "restarted 2 times"] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(actor.ask(Count).await, Err(AskError::Stopping));
}

#[tokio::test]
async fn an_actor_value_that_panics_when_dropped_is_survived() {
    struct Grenade;
    impl Drop for Grenade {
        fn drop(&mut self) {
            panic!("while dropping");
        }
    }
    let (actor, supervisor) = one("worker");
    let died = actor
        .ask(run(|_, ctx| {
            let grenade = Grenade;
            ctx.pipe(std::future::pending::<()>(), move |_, (), _| {
                let _keep = &grenade;
                Ok(())
            });
            Err(Trouble(Reaction::RestartSelf))
        }))
        .await;
    assert!(matches!(died, Err(AskError::Died { .. })));
    assert_eq!(actor.ask(Who).await.unwrap().generation.0, 2);
    supervisor.shutdown(LONG).await;
}

/// The new instance must find closed what the old one had open.
#[tokio::test]
async fn the_old_value_is_dropped_before_the_new_one_is_made() {
    let diary = Diary::default();
    let actor = Ref::declare("store");
    let supervisor = tree(Strategy::OneForOne).actor(spec_in(&actor, &diary)).start();
    for _ in 0..20 {
        assert!(actor.ask(Panic).await.is_err());
        actor.ask(Count).await.unwrap();
    }
    supervisor.shutdown(LONG).await;
    let lines = diary.lines();
    for pair in lines.chunks(2).take(20) {
        assert_eq!(pair, ["start store", "drop store"]);
    }
}
