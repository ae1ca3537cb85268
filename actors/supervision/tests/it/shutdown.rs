//! Shutdown: backwards, drained, flushed, within a bound, also in the middle of restarts.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use duskevm_supervision::{
    Actor, AskError, ChildSpec, Context, ExitReason, Handle, Reaction, Ref, Reply, StartError, Strategy, TellError,
};

use crate::common::*;

const CLEAN: ExitReason = ExitReason::Shutdown { abandoned: Vec::new() };

#[tokio::test]
async fn the_tree_stops_backwards_and_each_actor_flushes() {
    let diary = Diary::default();
    let [a, b, c, d] = ["a", "b", "c", "d"].map(Ref::declare);
    let supervisor = tree(Strategy::OneForOne)
        .actor(spec_in(&a, &diary))
        .subtree("sub", Strategy::RestForOne, |t| t.actor(spec_in(&b, &diary)).actor(spec_in(&c, &diary)))
        .actor(spec_in(&d, &diary))
        .start();
    supervisor.ready().await.unwrap();
    diary.clear();
    assert_eq!(supervisor.shutdown(LONG).await, CLEAN);
    let expected: Vec<String> = ["d", "c", "b", "a"]
        .iter()
        .flat_map(|name| ["stopping", "flushed", "drop"].map(|what| format!("{what} {name}")))
        .collect();
    assert_eq!(diary.lines(), expected);
    assert_eq!(CLEAN.exit_code(), 0);
    for actor in [&a, &b, &c, &d] {
        assert_eq!(actor.ask(Count).await, Err(AskError::Stopping));
        assert_eq!(actor.tell(Count), Err(TellError::Stopping));
    }
    // Asking for it again changes nothing.
    assert_eq!(supervisor.shutdown(LONG).await, CLEAN);
    assert_eq!(supervisor.wait().await, CLEAN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_is_handled_before_the_stop() {
    let (actor, supervisor) = one("worker");
    supervisor.ready().await.unwrap();
    let (block, guard) = gate();
    actor.tell(Block(block)).unwrap();
    guard.inside.recv_timeout(LONG).unwrap();
    // In the mailbox, and one whose reply comes from a future.
    let queued = tokio::spawn({
        let actor = actor.clone();
        async move { actor.ask(Count).await }
    });
    let (tell, told) = tokio::sync::oneshot::channel();
    actor
        .tell(run(move |_, ctx| {
            ctx.pipe(tokio::time::sleep(Duration::from_millis(20)), |_, (), _| {
                let _ = tell.send(());
                Ok(())
            });
            Ok(())
        }))
        .unwrap();
    until("all is in the mailbox", || supervisor.actors()[0].mailbox_depth == 2).await;
    let stop = supervisor.clone();
    let stopping = tokio::spawn(async move { stop.shutdown(LONG).await });
    until("it takes nothing more", || actor.tell(Count) == Err(TellError::Stopping)).await;
    guard.go_on.send(()).unwrap();
    assert_eq!(queued.await.unwrap(), Ok(2));
    told.await.unwrap();
    assert_eq!(stopping.await.unwrap(), CLEAN);
}

/// More messages than the mailbox hands out in one turn, behind the one that stops the actor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_is_handled_when_an_actor_stops_itself() {
    let (actor, supervisor) = one("worker");
    supervisor.ready().await.unwrap();
    let (block, guard) = gate();
    actor.tell(Block(block)).unwrap();
    guard.inside.recv_timeout(LONG).unwrap();
    actor
        .tell(run(|_, ctx| {
            ctx.stop();
            Ok(())
        }))
        .unwrap();
    let handled = Counter::default();
    for _ in 0..200 {
        let handled = handled.clone();
        let count = move |_: &mut Worker, _: &mut Context<Worker>| {
            handled.next();
            Ok(())
        };
        actor.tell(run(count)).unwrap();
    }
    guard.go_on.send(()).unwrap();
    until("it was replaced", || supervisor.actors()[0].restarts == 1).await;
    assert_eq!(handled.get(), 200);
    supervisor.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_stop_is_left_behind_and_named() {
    let diary = Diary::default();
    let (first, stuck) = (Ref::declare("first"), Ref::declare("stuck"));
    let supervisor = tree(Strategy::OneForOne)
        .actor(spec_in(&first, &diary))
        .actor(spec(&stuck).drain(Duration::from_millis(10)))
        .start();
    supervisor.ready().await.unwrap();
    let (block, guard) = gate();
    stuck.tell(Block(block)).unwrap();
    guard.inside.recv_timeout(LONG).unwrap();
    let reason = supervisor.shutdown(Duration::from_secs(5)).await;
    assert_eq!(reason, ExitReason::Shutdown { abandoned: vec!["stuck".into()] });
    assert!(reason.to_string().contains("stuck"));
    assert_ne!(reason.exit_code(), 0, "what it had to flush may be lost");
    // The one before it was stopped in order all the same.
    assert_eq!(diary.lines(), ["start first", "stopping first", "flushed first", "drop first"]);
    // And the one left behind cannot write.
    guard.go_on.send(()).unwrap();
    assert!(guard.found.recv_timeout(LONG).unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bound_holds_for_the_whole_tree() {
    let actors: Vec<_> = (0..5).map(|n| Ref::declare(format!("stuck{n}"))).collect();
    let mut tree = tree(Strategy::OneForOne);
    for actor in &actors {
        tree = tree.actor(spec(actor).drain(LONG));
    }
    let supervisor = tree.start();
    supervisor.ready().await.unwrap();
    let mut guards = Vec::new();
    for actor in &actors {
        let (block, guard) = gate();
        actor.tell(Block(block)).unwrap();
        guard.inside.recv_timeout(LONG).unwrap();
        guards.push(guard);
    }
    let begun = Instant::now();
    let reason = supervisor.shutdown(Duration::from_millis(50)).await;
    assert!(begun.elapsed() < LONG, "drain bounds must not add up beyond the bound of the shutdown");
    let ExitReason::Shutdown { abandoned } = reason else { panic!("{reason:?}") };
    assert_eq!(abandoned.len(), 5);
}

#[tokio::test]
async fn shutdown_during_a_long_pause_before_a_restart() {
    let actor = Ref::declare("worker");
    let pause = duskevm_supervision::Backoff { base: LONG * 10, cap: LONG * 10 };
    let starts = Counter::default();
    let counter = starts.clone();
    let supervisor = tree(Strategy::OneForOne)
        .backoff(pause)
        .actor(ChildSpec::<Worker>::new(&actor, move |_| {
            counter.next();
            Err(StartError::new("never"))
        }))
        .start();
    until("it pauses", || starts.get() == 2).await;
    assert_eq!(supervisor.shutdown(LONG).await, CLEAN);
    assert_eq!(starts.get(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_while_an_instance_is_being_made() {
    let diary = Diary::default();
    let actor = Ref::declare("worker");
    let (tell, told) = mpsc::channel();
    let (let_start, may_start) = mpsc::channel::<()>();
    let (may_start, lines) = (std::sync::Mutex::new(may_start), diary.clone());
    let spec = ChildSpec::new(&actor, move |start: duskevm_supervision::StartContext| {
        if start.attempt > 0 {
            tell.send(()).unwrap();
            let _ = may_start.lock().unwrap().recv();
        }
        Ok(Worker::with_diary(start, &lines))
    });
    let supervisor = tree(Strategy::OneForOne).actor(spec).start();
    assert!(actor.ask(Panic).await.is_err());
    told.recv_timeout(LONG).unwrap();
    diary.clear();

    let waiting = tokio::spawn({
        let actor = actor.clone();
        async move { actor.ask_within(Count, LONG).await }
    });
    let stop = supervisor.clone();
    let stopping = tokio::spawn(async move { stop.shutdown(LONG).await });
    // Whoever waits for the new instance learns that it will not come.
    assert_eq!(waiting.await.unwrap(), Err(AskError::Stopping));
    let_start.send(()).unwrap();
    assert_eq!(stopping.await.unwrap(), CLEAN);
    // It never came up, so there was nothing to flush.
    assert_eq!(diary.lines(), ["start worker", "drop worker"]);
}

/// The last moment at which an instance can be called off: its start hook has run, and it is about to take messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_told_to_stop_in_its_start_hook_does_not_come_up() {
    struct Slow(Option<mpsc::Receiver<()>>, mpsc::Sender<()>, Diary);
    impl Actor for Slow {
        type Error = Trouble;
        fn started(&mut self, _: &mut Context<Self>) -> Result<(), Trouble> {
            let _ = self.1.send(());
            if let Some(may_go_on) = self.0.take() {
                let _ = may_go_on.recv();
            }
            Ok(())
        }
        fn stopping(&mut self, _: &mut Context<Self>) {
            self.2.write("stopping");
        }
    }
    impl Handle<Count> for Slow {
        fn handle(&mut self, _: Count, _: &mut Context<Self>) -> Result<Reply<Count>, Trouble> {
            self.2.write("handled");
            Ok(Reply::Now(1))
        }
    }
    let diary = Diary::default();
    let actor = Ref::declare("slow");
    let (go_on, may_go_on) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let (lines, may_go_on) = (diary.clone(), std::sync::Mutex::new(Some(may_go_on)));
    let spec = ChildSpec::new(&actor, move |_| Ok(Slow(may_go_on.lock().unwrap().take(), tell.clone(), lines.clone())));
    let supervisor = tree(Strategy::OneForOne).actor(spec).start();
    told.recv_timeout(LONG).unwrap();
    let waiting = tokio::spawn(async move { actor.ask_within(Count, LONG).await });
    let stop = supervisor.clone();
    let stopping = tokio::spawn(async move { stop.shutdown(LONG).await });
    assert_eq!(waiting.await.unwrap(), Err(AskError::Stopping));
    go_on.send(()).unwrap();
    assert_eq!(stopping.await.unwrap(), CLEAN);
    assert_eq!(diary.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn shutdown_in_the_middle_of_a_restart_storm() {
    let actors: Vec<_> = (0..4).map(|n| Ref::declare(format!("w{n}"))).collect();
    let mut tree = tree(Strategy::RestForOne);
    for actor in &actors {
        tree = tree.actor(spec(actor));
    }
    let supervisor = tree.start();
    supervisor.ready().await.unwrap();
    let storm = actors.clone().into_iter().map(|actor| {
        tokio::spawn(async move { while actor.ask(Fail(Reaction::RestartSubtree)).await != Err(AskError::Stopping) {} })
    });
    let storm: Vec<_> = storm.collect();
    until("the storm rages", || supervisor.actors().iter().any(|actor| actor.restarts > 10)).await;
    assert_eq!(supervisor.shutdown(LONG).await, CLEAN);
    for one in storm {
        one.await.unwrap();
    }
}

#[tokio::test]
async fn dropping_the_last_handle_shuts_down() {
    let diary = Diary::default();
    let actor = Ref::declare("worker");
    let supervisor = tree(Strategy::OneForOne).actor(spec_in(&actor, &diary)).start();
    supervisor.ready().await.unwrap();
    drop(supervisor.clone());
    assert_eq!(actor.ask(Count).await, Ok(1));
    drop(supervisor);
    until("it was dropped", || diary.lines().last().is_some_and(|line| line == "drop worker")).await;
}
