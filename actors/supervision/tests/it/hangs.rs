//! Hangs are found, zombies are shut out, and nobody who is merely busy is taken for hung.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use duskevm_supervision::{
    Actor, AskError, ChildSpec, Context, DeathCause, ExitReason, Fault, FenceError, Generation, Ref, StartContext,
    StartError, Strategy, Supervisor, TellError,
};

use crate::common::*;

/// Short, but long enough that a loaded machine meets it: only its being missed is tested, never its being met.
const DEADLINE: Duration = Duration::from_millis(150);

fn watched(name: &str) -> (Ref<Worker>, Supervisor) {
    let actor = Ref::declare(name);
    let supervisor = tree(Strategy::OneForOne).actor(spec(&actor).deadline(DEADLINE)).start();
    (actor, supervisor)
}

fn is_hang(error: &AskError) -> bool {
    matches!(error, AskError::Died { cause: DeathCause::Hang(_), .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_actor_is_replaced_and_its_zombie_is_shut_out() {
    let (actor, supervisor) = watched("store");
    supervisor.ready().await.unwrap();
    let (block, guard) = gate();
    // Both the request in the handler and the one in the mailbox fail; neither is ever dropped by the zombie.
    let (ran, has_run) = mpsc::channel();
    let (blocked, queued, told) =
        tokio::join!(actor.ask_within(Block(block), LONG), actor.ask_within(Never, LONG), async {
            actor.tell(run(move |_, _| {
                let _ = ran.send(());
                Ok(())
            }))
        });
    told.unwrap();
    assert!(is_hang(blocked.as_ref().unwrap_err()), "{blocked:?}");
    assert!(is_hang(queued.as_ref().unwrap_err()), "{queued:?}");

    // The replacement works, and writes, while the old instance still sleeps.
    let start = actor.ask(Who).await.unwrap();
    assert_eq!(start.generation, Generation(2));
    start.fence.write(|| ()).unwrap();

    // The zombie wakes up and wants to write.
    guard.go_on.send(()).unwrap();
    let found = guard.found.recv_timeout(LONG).unwrap();
    assert_eq!(
        found,
        Err(FenceError::Stale { actor: "store".into(), generation: Generation(1), current: Generation(2) })
    );
    // What was still in its mailbox is dropped, not handled.
    assert_eq!(has_run.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected));
    // What it did to its own state is not seen by anyone.
    assert_eq!(actor.ask(Count).await, Ok(1));
    assert_eq!(supervisor.actors()[0].restarts, 1);
    supervisor.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_cannot_send_or_arm_anything() {
    let other = Ref::declare("other");
    let actor = Ref::declare("worker");
    let supervisor = tree(Strategy::OneForOne).actor(spec(&other)).actor(spec(&actor).deadline(DEADLINE)).start();
    supervisor.ready().await.unwrap();

    let (go_on, may_go_on) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let (ran, has_run) = mpsc::channel::<()>();
    let port = other.port::<Count>();
    let hang = run(move |_, ctx| {
        // Armed while it was alive: must not run after it was declared dead either.
        let before = ran.clone();
        ctx.after(Duration::ZERO, move |_, _| {
            let _ = before.send(());
            Ok(())
        });
        let _ = may_go_on.recv();
        let asked = ran.clone();
        ctx.pipe(async {}, move |_, (), _| {
            let _ = asked.send(());
            Ok(())
        });
        ctx.every(Duration::from_millis(1), move |_, _| {
            let _ = ran.send(());
            Ok(())
        });
        ctx.progress("woke up");
        let asked = futures::executor::block_on(port.ask(Count));
        let _ = tell.send((port.tell(Count), asked, ctx.is_over()));
        Ok(())
    });
    assert!(is_hang(&actor.ask_within(hang, LONG).await.unwrap_err()));
    assert_eq!(actor.ask(Who).await.unwrap().generation.0, 2);

    go_on.send(()).unwrap();
    let (tell_result, ask_result, over) = told.recv_timeout(LONG).unwrap();
    assert!(over);
    assert!(matches!(tell_result, Err(TellError::Fenced { cause: DeathCause::Hang(_), .. })), "{tell_result:?}");
    assert!(is_hang(&ask_result.unwrap_err()));
    // The closures are dropped with the zombie, without having run.
    assert_eq!(has_run.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected));
    assert_eq!(other.ask(Count).await, Ok(1));
    assert_eq!(supervisor.actors()[1].lease.done, None);
    supervisor.shutdown(LONG).await;
}

/// A loop that awaits for ever leaves the mailbox responsive: only the lease shows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_loop_that_never_ends_is_found() {
    let (actor, supervisor) = watched("worker");
    supervisor.ready().await.unwrap();
    let endless = run(|_, ctx| {
        ctx.pipe(
            async {
                loop {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            },
            |_, (), _| Ok(()),
        );
        Ok(())
    });
    actor.ask(endless).await.unwrap();
    // The actor answers all the time; that alone must not save it.
    until("the loop was found", || supervisor.actors()[0].restarts == 1).await;
    let start = actor.ask(Who).await.unwrap();
    assert!(matches!(&start.cause, Some(DeathCause::Hang(why)) if why.contains("piped future")), "{:?}", start.cause);
    supervisor.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_loop_in_a_future_is_found() {
    let (actor, supervisor) = watched("worker");
    supervisor.ready().await.unwrap();
    let (release, released) = mpsc::channel::<()>();
    let spin = run(move |_, ctx| {
        ctx.pipe(
            async move {
                while released.try_recv() == Err(mpsc::TryRecvError::Empty) {
                    std::hint::spin_loop();
                }
            },
            |_, (), _| Ok(()),
        );
        Ok(())
    });
    actor.tell(spin).unwrap();
    until("the loop was found", || supervisor.actors()[0].restarts == 1).await;
    assert!(matches!(actor.ask(Who).await.unwrap().cause, Some(DeathCause::Hang(_))));
    drop(release);
    supervisor.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_is_overdue_is_found_only_after_the_caller_gave_up() {
    let (actor, supervisor) = watched("worker");
    supervisor.ready().await.unwrap();
    let patience = DEADLINE * 4;
    let begun = Instant::now();
    // The caller's own bound comes first, so that it sees a timeout and not a death.
    let error = actor.ask_within(Never, patience).await.unwrap_err();
    assert_eq!(error, AskError::Timeout { actor: "worker".into(), after: patience });
    until("the future was found", || supervisor.actors()[0].restarts == 1).await;
    assert!(begun.elapsed() >= patience + DEADLINE);
    supervisor.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_actor_that_says_so_is_not_hung() {
    let (actor, supervisor) = watched("worker");
    supervisor.ready().await.unwrap();
    let long = run(|_, ctx| {
        let begun = Instant::now();
        while begun.elapsed() < DEADLINE * 6 {
            std::thread::sleep(DEADLINE / 30);
            ctx.progress("one more step");
        }
        Ok(())
    });
    actor.ask_within(long, LONG).await.unwrap();
    assert_eq!(actor.ask(Who).await.unwrap().generation.0, 1);
    supervisor.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_queue_of_short_messages_is_not_a_hang() {
    let (actor, supervisor) = watched("worker");
    supervisor.ready().await.unwrap();
    for _ in 0..100 {
        actor
            .tell(run(|_, _| {
                std::thread::sleep(DEADLINE / 25);
                Ok(())
            }))
            .unwrap();
    }
    assert_eq!(actor.ask_within(Count, LONG).await, Ok(1));
    assert_eq!(actor.ask(Who).await.unwrap().generation.0, 1);
    supervisor.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_actor_and_one_that_waits_by_name_are_not_hung() {
    let (idle, waiting, listening) = (Ref::declare("idle"), Ref::declare("waiting"), Ref::declare("listening"));
    let supervisor = tree(Strategy::OneForOne)
        .actor(spec(&idle).deadline(DEADLINE))
        .actor(spec(&waiting).deadline(DEADLINE))
        .actor(spec(&listening).deadline(DEADLINE))
        .start();
    supervisor.ready().await.unwrap();
    waiting
        .ask(run(|_, ctx| {
            ctx.pipe(std::future::pending::<()>(), |_, (), _| Ok(()));
            ctx.waiting("L1 block 88");
            Ok(())
        }))
        .await
        .unwrap();
    listening
        .ask(run(|_, ctx| {
            ctx.listen(std::future::pending::<()>(), |_, (), _| Ok(()));
            Ok(())
        }))
        .await
        .unwrap();
    tokio::time::sleep(DEADLINE * 5).await;
    assert!(supervisor.actors().iter().all(|actor| actor.restarts == 0), "{:?}", supervisor.actors());
    // Waiting ends with progress: from then on the future is owed again.
    waiting
        .ask(run(|_, ctx| {
            ctx.progress("L1 block 88");
            Ok(())
        }))
        .await
        .unwrap();
    until("the future was found", || supervisor.actors()[1].restarts == 1).await;
    supervisor.shutdown(LONG).await;
}

/// Two actors of which one hangs: the one that waits for it has a bound of its own and is not hung.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_hung_neighbour_is_not_contagious() {
    let (sick, sound) = (Ref::<Worker>::declare("sick"), Ref::<Worker>::declare("sound"));
    let supervisor =
        tree(Strategy::OneForOne).actor(spec(&sick).deadline(LONG)).actor(spec(&sound).deadline(DEADLINE)).start();
    supervisor.ready().await.unwrap();
    let (tell, told) = tokio::sync::oneshot::channel();
    let port = sick.port::<Never>();
    sound
        .ask(run(move |_, ctx| {
            ctx.pipe(async move { port.ask_within(Never, DEADLINE * 5).await }, |_, answer, _| {
                let _ = tell.send(answer);
                Ok(())
            });
            Ok(())
        }))
        .await
        .unwrap();
    assert!(matches!(told.await.unwrap(), Err(AskError::Timeout { .. })));
    assert_eq!(sound.ask(Who).await.unwrap().generation.0, 1);
    supervisor.shutdown(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_hangs_is_found() {
    let actor = Ref::declare("worker");
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let (tell, told) = mpsc::channel();
    let spec = ChildSpec::new(&actor, move |start| {
        if start.attempt == 0 {
            let _ = released.lock().unwrap().recv();
            // The zombie learns that nobody waits for it any more.
            let _ = tell.send((start.lease.is_over(), start.fence.check().is_err()));
        }
        Ok(Worker::new(start))
    });
    let supervisor = tree(Strategy::OneForOne).actor(spec.start_within(DEADLINE)).start();
    let start = actor.ask_within(Who, LONG).await.unwrap();
    assert!(matches!(&start.cause, Some(DeathCause::Hang(why)) if why.contains("does not come up")));
    drop(release);
    assert_eq!(told.recv_timeout(LONG), Ok((true, true)));
    assert_eq!(actor.ask(Who).await.unwrap().generation, start.generation);
    supervisor.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_start_that_says_so_is_not_hung() {
    let actor = Ref::declare("worker");
    let spec = ChildSpec::new(&actor, |start| {
        for block in 0..60 {
            std::thread::sleep(DEADLINE / 10);
            start.lease.progress(format!("replayed block {block}"));
        }
        Ok(Worker::new(start))
    });
    let supervisor = tree(Strategy::OneForOne).actor(spec.start_within(DEADLINE)).start();
    assert_eq!(actor.ask_within(Who, LONG).await.unwrap().attempt, 0);
    supervisor.shutdown(LONG).await;
}

/// The value of a dead actor is dropped on its thread, which may hang like anything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_actor_that_hangs_while_it_is_dropped_is_given_up() {
    struct Sticky(Option<mpsc::Receiver<()>>);
    impl Drop for Sticky {
        fn drop(&mut self) {
            if let Some(until) = &self.0 {
                let _ = until.recv();
            }
        }
    }
    impl Actor for Sticky {
        type Error = Trouble;
        fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Trouble> {
            if self.0.is_some() {
                ctx.after(Duration::ZERO, |_, _| panic!("first instance"));
            }
            Ok(())
        }
    }
    let (release, released) = mpsc::channel();
    let released = std::sync::Mutex::new(Some(released));
    let actor = Ref::declare("sticky");
    let spec =
        ChildSpec::new(&actor, move |_: StartContext| Ok::<_, StartError>(Sticky(released.lock().unwrap().take())));
    let supervisor = tree(Strategy::OneForOne).actor(spec.deadline(DEADLINE)).start();
    until("it is up again", || {
        let actor = &supervisor.actors()[0];
        actor.generation.0 == 2 && actor.state == duskevm_supervision::ActorState::Running
    })
    .await;
    // It died of the panic; that it could not be dropped afterwards is another matter.
    assert_eq!(supervisor.actors()[0].last_cause, Some(DeathCause::Panic("first instance".into())));
    drop(release);
    supervisor.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_injected_hang_is_a_hang() {
    let (actor, supervisor) = watched("worker");
    supervisor.ready().await.unwrap();
    supervisor.inject("worker", Fault::Hang(LONG)).unwrap();
    until("the hang was found", || supervisor.actors()[0].restarts == 1).await;
    assert_eq!(actor.ask(Count).await, Ok(1));
    assert_eq!(supervisor.actors()[0].last_cause.as_ref().unwrap().label(), "hang");
    supervisor.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hung_threads_that_come_back_are_forgiven() {
    let (actor, supervisor) = watched("worker");
    supervisor.ready().await.unwrap();
    for round in 1..=8 {
        let (block, guard) = gate();
        assert!(is_hang(&actor.ask_within(Block(block), LONG).await.unwrap_err()));
        assert_eq!(actor.ask(Who).await.unwrap().generation.0, round + 1);
        guard.go_on.send(()).unwrap();
        guard.found.recv_timeout(LONG).unwrap().unwrap_err();
    }
    supervisor.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_are_not_left_behind_without_end() {
    let (actor, supervisor) = watched("worker");
    supervisor.ready().await.unwrap();
    let mut guards = Vec::new();
    for _ in 0..5 {
        let (block, guard) = gate();
        assert!(is_hang(&actor.ask_within(Block(block), LONG).await.unwrap_err()));
        guards.push(guard);
    }
    let reason = supervisor.wait().await;
    assert!(matches!(&reason, ExitReason::Overrun { abandoned: 5, .. }), "{reason}");
    assert_eq!(reason.exit_code(), 70);
}
