//! Stable references: every request ends in a reply or a typed error, whatever happens to the actor.

use std::{sync::mpsc, time::Duration};

use duskevm_supervision::{
    AskError, ChildSpec, DeathCause, Fault, Reaction, Ref, RestartKind, StartError, Strategy, TellError,
};

use crate::common::*;

const SOON: Duration = Duration::from_millis(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_answered() {
    let (actor, supervisor) = one("worker");
    assert_eq!(actor.ask(Count).await, Ok(1));
    assert_eq!(actor.port::<Count>().ask(Count).await, Ok(2));
    actor.tell(Count).unwrap();
    assert_eq!(actor.ask_within(Count, LONG).await, Ok(4));
    supervisor.shutdown(LONG).await;
}

#[test]
fn requests_work_inside_an_actix_arbiter() {
    let (actor, _supervisor) = one("worker");
    let (tell, told) = mpsc::channel();
    let caller = std::thread::spawn(move || {
        actix_rt::System::new().block_on(async move {
            let arbiter = actix_rt::Arbiter::new();
            arbiter.spawn(async move { tell.send(actor.ask(Count).await).unwrap() });
            let answer = tokio::task::spawn_blocking(move || told.recv().unwrap()).await.unwrap();
            arbiter.stop();
            answer
        })
    });
    assert_eq!(caller.join().unwrap(), Ok(1));
}

#[tokio::test]
async fn a_request_may_come_before_its_actor() {
    let actor = Ref::<Worker>::declare("late");
    assert_eq!(actor.tell(Count), Err(TellError::Restarting { actor: "late".into() }));
    assert_eq!(actor.ask_within(Count, SOON).await, Err(AskError::Restarting { actor: "late".into() }));
    let (asked, supervisor) =
        tokio::join!(actor.ask_within(Count, LONG), async { tree(Strategy::OneForOne).actor(spec(&actor)).start() });
    assert_eq!(asked, Ok(1));
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn requests_in_flight_fail_when_the_actor_panics() {
    let (actor, supervisor) = one("worker");
    supervisor.ready().await.unwrap();
    // In the order of the mailbox: one waits in a future, one panics, one is still in the mailbox then.
    let (waiting, own, queued) = tokio::join!(actor.ask(Never), actor.ask(Panic), actor.ask(Who));
    let died = AskError::Died { actor: "worker".into(), cause: DeathCause::Panic("told to".into()) };
    assert_eq!(own, Err(died.clone()));
    assert_eq!(waiting, Err(died.clone()));
    // Died with the mailbox, unless it came only after the death and met the next instance.
    match queued {
        Ok(start) => assert_eq!(start.generation.0, 2),
        Err(error) => assert_eq!(error, died),
    }
    // The reference goes on, to a fresh instance.
    assert_eq!(actor.ask(Count).await, Ok(1));
    let status = &supervisor.actors()[0];
    assert_eq!((status.restarts, status.generation.0), (1, 2));
    assert_eq!(status.last_cause, Some(DeathCause::Panic("told to".into())));
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn a_panic_in_a_future_kills_the_actor() {
    let (actor, supervisor) = one("worker");
    let cause = DeathCause::Panic("told to, later".into());
    assert_eq!(actor.ask(PanicLater).await, Err(AskError::Died { actor: "worker".into(), cause }));
    assert_eq!(actor.ask(Who).await.unwrap().generation.0, 2);
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn a_request_waits_while_the_actor_is_down() {
    let actor = Ref::declare("worker");
    let (let_start, may_start) = mpsc::channel::<()>();
    let may_start = std::sync::Mutex::new(may_start);
    let spec = ChildSpec::new(&actor, move |start| {
        if start.attempt > 0 {
            may_start.lock().unwrap().recv().unwrap();
        }
        Ok(Worker::new(start))
    });
    let supervisor = tree(Strategy::OneForOne).actor(spec).start();
    assert!(actor.ask(Panic).await.is_err());

    assert_eq!(actor.ask_within(Count, SOON).await, Err(AskError::Restarting { actor: "worker".into() }));
    assert_eq!(actor.tell(Count), Err(TellError::Restarting { actor: "worker".into() }));
    let (asked, ()) = tokio::join!(actor.ask_within(Count, LONG), async { let_start.send(()).unwrap() });
    assert_eq!(asked, Ok(1));
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let (actor, supervisor) = one("worker");
    supervisor.ready().await.unwrap();
    let timeout = AskError::Timeout { actor: "worker".into(), after: SOON };
    assert_eq!(actor.ask_within(Never, SOON).await, Err(timeout));
    supervisor.shutdown(Duration::ZERO).await;
}

/// What a caller was told has not happened must not happen afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_given_up_in_the_mailbox_is_not_handled() {
    let (actor, supervisor) = one("worker");
    supervisor.ready().await.unwrap();
    let (block, guard) = gate();
    let blocked = tokio::spawn({
        let actor = actor.clone();
        async move { actor.ask_within(Block(block), LONG).await }
    });
    guard.inside.recv_timeout(LONG).unwrap();
    assert!(matches!(actor.ask_within(Count, SOON).await, Err(AskError::Timeout { .. })));
    guard.go_on.send(()).unwrap();
    assert_eq!(blocked.await.unwrap(), Ok(1));
    assert_eq!(actor.ask(Count).await, Ok(2));
    supervisor.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_mailbox_is_an_error_for_the_sender() {
    let actor = Ref::declare("worker");
    let supervisor = tree(Strategy::OneForOne).actor(spec(&actor).mailbox(2)).start();
    supervisor.ready().await.unwrap();
    let (block, guard) = gate();
    actor.tell(Block(block)).unwrap();
    guard.inside.recv_timeout(LONG).unwrap();

    actor.tell(Count).unwrap();
    actor.tell(Count).unwrap();
    assert_eq!(supervisor.actors()[0].mailbox_depth, 2);
    assert_eq!(actor.tell(Count), Err(TellError::Full { actor: "worker".into(), depth: 2 }));
    assert_eq!(actor.ask(Count).await, Err(AskError::Full { actor: "worker".into(), depth: 2 }));
    assert_eq!(supervisor.actors()[0].mailbox_depth, 2);

    guard.go_on.send(()).unwrap();
    until("the mailbox is drained", || supervisor.actors()[0].mailbox_depth == 0).await;
    // Refused messages were not handled: one block and two counts.
    assert_eq!(actor.ask(Count).await, Ok(4));
    supervisor.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_outlives_a_full_mailbox() {
    let actor = Ref::declare("worker");
    let supervisor = tree(Strategy::OneForOne).actor(spec(&actor).mailbox(1)).start();
    supervisor.ready().await.unwrap();
    let (block, guard) = gate();
    actor.tell(Block(block)).unwrap();
    guard.inside.recv_timeout(LONG).unwrap();
    actor.tell(Count).unwrap();
    assert!(matches!(actor.ask(Who).await, Err(AskError::Full { .. })));
    let (who, ()) = tokio::join!(actor.ask_retry(Who, LONG), async { guard.go_on.send(()).unwrap() });
    assert!(who.is_ok());
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn a_retry_outlives_deaths() {
    let (actor, supervisor) = one("worker");
    supervisor.ready().await.unwrap();
    for death in 1..=5 {
        let (who, _) = tokio::join!(actor.ask_retry(Who, LONG), actor.ask(Panic));
        assert!(who.unwrap().generation.0 >= death);
    }
    assert_eq!(actor.ask_retry(Who, LONG).await.unwrap().generation.0, 6);
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn a_retry_outlives_lost_messages() {
    let (actor, supervisor) = one("worker");
    supervisor.ready().await.unwrap();
    supervisor.inject("worker", Fault::Drop { share: 1.0, lasting: LONG }).unwrap();
    let lost = actor.ask_within(Who, SOON).await;
    assert_eq!(lost.unwrap_err(), AskError::Timeout { actor: "worker".into(), after: SOON });
    let (who, ()) = tokio::join!(actor.ask_retry(Who, Duration::from_secs(2)), async {
        // After the first try was posted, so that it is lost.
        tokio::time::sleep(SOON).await;
        supervisor.inject("worker", Fault::Heal).unwrap();
    });
    assert!(who.is_ok(), "{who:?}");
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn a_retry_ends_with_its_deadline() {
    let actor = Ref::<Worker>::declare("never");
    assert_eq!(actor.ask_retry(Who, SOON).await.unwrap_err(), AskError::Restarting { actor: "never".into() });
}

#[tokio::test]
async fn an_actor_that_has_ended_is_gone() {
    let actor = Ref::declare("task");
    let supervisor = tree(Strategy::OneForOne).actor(spec(&actor).restart(RestartKind::Temporary)).start();
    actor.ask(Quit).await.unwrap();
    until("the actor is gone", || state(&supervisor, "task") == duskevm_supervision::ActorState::Stopped).await;
    assert_eq!(actor.ask(Count).await, Err(AskError::Gone { actor: "task".into() }));
    assert_eq!(actor.tell(Count), Err(TellError::Gone { actor: "task".into() }));
    // No use in trying again, so that a retry does not.
    assert_eq!(actor.ask_retry(Who, LONG).await.unwrap_err(), AskError::Gone { actor: "task".into() });
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn requests_waiting_for_an_actor_that_never_comes_learn_it_at_once() {
    let actor = Ref::declare("worker");
    let supervisor = tree(Strategy::OneForOne)
        .actor(ChildSpec::<Worker>::new(&actor, |_| Err(StartError::abort("the database is damaged"))))
        .start();
    let asked = actor.ask_within(Count, LONG).await;
    assert_eq!(asked, Err(AskError::Stopping));
    assert_eq!(supervisor.wait().await.exit_code(), 71);
}

#[tokio::test]
async fn a_failed_request_says_whether_to_try_again() {
    let (actor, supervisor) = one("worker");
    for (reaction, retryable) in [(Reaction::Retry, true), (Reaction::Degrade, false)] {
        let error = actor.ask(Fail(reaction)).await.unwrap_err();
        assert_eq!(error.is_retryable(), retryable);
        let AskError::Failed { actor: name, error } = error else { panic!("{error:?}") };
        assert_eq!((&*name, error.retryable), ("worker", retryable));
        assert_eq!(&*error.message, format!("trouble {reaction:?}"));
    }
    // The actor went on all the time.
    assert_eq!(supervisor.actors()[0].generation.0, 1);
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn a_dropped_responder_is_an_answer() {
    let (actor, supervisor) = one("worker");
    let error = actor.ask(Forget).await.unwrap_err();
    assert!(matches!(&error, AskError::Failed { error, .. } if error.message.contains("dropped")), "{error:?}");
    assert_eq!(supervisor.actors()[0].generation.0, 1);
    supervisor.shutdown(LONG).await;
}

#[test]
fn references_and_their_futures_can_be_sent_between_threads() {
    fn sendable<T: Send>(_: &T) {}
    fn shared<T: Send + Sync>(_: &T) {}
    let actor = Ref::<Worker>::declare("worker");
    shared(&actor);
    shared(&actor.port::<Count>());
    sendable(&actor.ask(Count));
    sendable(&actor.ask_retry(Who, SOON));
    sendable(&actor.port::<Who>().ask_retry(Who, SOON));
}
