//! Timers, futures and replies of an actor.

use std::{sync::mpsc, time::Duration};

use duskevm_supervision::{Actor, AskError, ChildSpec, Context, DeathCause, Handle, Reaction, Ref, Reply, Strategy};

use crate::common::*;

const MS: Duration = Duration::from_millis(1);

#[tokio::test]
async fn timers_run_and_can_be_cancelled() {
    let (actor, supervisor) = one("worker");
    let (tell, told) = mpsc::channel();
    actor
        .ask(run(move |_, ctx| {
            let cancelled = ctx.every(MS, |_, _| panic!("was cancelled"));
            ctx.after(MS * 5, |_, _| panic!("was cancelled too")).cancel();
            cancelled.cancel();
            let timer = ctx.every(MS, |me, _| {
                me.ticks += 1;
                Ok(())
            });
            ctx.after(MS * 2, move |_, ctx| {
                ctx.every(MS, move |me, ctx| {
                    if me.ticks >= 5 {
                        timer.cancel();
                        let _ = tell.send(me.ticks);
                        ctx.stop();
                    }
                    Ok(())
                });
                Ok(())
            });
            Ok(())
        }))
        .await
        .unwrap();
    assert!(tokio::task::spawn_blocking(move || told.recv_timeout(LONG).unwrap()).await.unwrap() >= 5);
    until("it has stopped", || supervisor.actors()[0].restarts == 1).await;
    // Timers die with the instance.
    let (tell, told) = tokio::sync::oneshot::channel();
    actor
        .ask_within(
            run(move |me, _| {
                let _ = tell.send(me.ticks);
                Ok(())
            }),
            LONG,
        )
        .await
        .unwrap();
    assert_eq!(told.await.unwrap(), 0);
    assert_eq!(supervisor.actors()[0].last_cause, Some(DeathCause::Stop));
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn a_timer_that_fails_mildly_goes_on() {
    let (actor, supervisor) = one("worker");
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    actor
        .ask(run(move |_, ctx| {
            ctx.every(MS, move |me, _| {
                me.ticks += 1;
                let _ = tell.send(me.ticks);
                match me.ticks {
                    1 => Err(Trouble(Reaction::Retry)),
                    2 => Err(Trouble(Reaction::Degrade)),
                    3 => Ok(()),
                    _ => Err(Trouble(Reaction::RestartSelf)),
                }
            });
            Ok(())
        }))
        .await
        .unwrap();
    for tick in 1..=4 {
        assert_eq!(told.recv().await, Some(tick));
    }
    // The fourth was its end.
    assert_eq!(told.recv().await, None);
    let start = actor.ask(Who).await.unwrap();
    assert_eq!(start.cause, Some(DeathCause::Error("trouble RestartSelf".into())));
    supervisor.shutdown(LONG).await;
}

/// A steady stream of messages must not starve timers and futures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_run_under_load() {
    let actor = Ref::declare("worker");
    let supervisor = tree(Strategy::OneForOne).actor(spec(&actor).mailbox(64)).start();
    supervisor.ready().await.unwrap();
    let (tell, mut told) = tokio::sync::oneshot::channel();
    // Each handler sends the next message before it returns: the mailbox is never empty.
    fn chain(me: Ref<Worker>) -> Run {
        run(move |_, _| {
            let _ = me.tell(chain(me.clone()));
            Ok(())
        })
    }
    actor.tell(chain(actor.clone())).unwrap();
    actor
        .tell(run(move |_, ctx| {
            ctx.after(MS, move |_, ctx| {
                ctx.pipe(tokio::time::sleep(MS), move |_, (), _| {
                    let _ = tell.send(());
                    Ok(())
                });
                Ok(())
            });
            Ok(())
        }))
        .unwrap();
    tokio::time::timeout(LONG, &mut told).await.unwrap().unwrap();
    supervisor.shutdown(MS).await;
}

struct Shop {
    open: Vec<duskevm_supervision::Responder<Count>>,
    greeted: bool,
}

impl Actor for Shop {
    type Error = Trouble;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Trouble> {
        // An actor may write to itself before anyone else can.
        ctx.myself().tell(Quit).map_err(|_| Trouble(Reaction::Abort))
    }
}

impl Handle<Quit> for Shop {
    fn handle(&mut self, _: Quit, _: &mut Context<Self>) -> Result<Reply<Quit>, Trouble> {
        self.greeted = true;
        Ok(Reply::Now(()))
    }
}

impl Handle<Count> for Shop {
    fn handle(&mut self, _: Count, _: &mut Context<Self>) -> Result<Reply<Count>, Trouble> {
        assert!(self.greeted, "what it sent itself at the start comes first");
        let (reply, responder) = Reply::deferred();
        if self.open.is_empty() {
            self.open.push(responder);
        } else {
            // From another thread, while the handler may not have returned.
            std::thread::spawn(move || responder.send(2));
            for first in self.open.drain(..) {
                first.send(1);
            }
        }
        Ok(reply)
    }
}

#[tokio::test]
async fn deferred_replies() {
    let actor = Ref::declare("shop");
    let spec = ChildSpec::new(&actor, |_| Ok(Shop { open: Vec::new(), greeted: false }));
    let supervisor = tree(Strategy::OneForOne).actor(spec).start();
    supervisor.ready().await.unwrap();
    let (first, second) = tokio::join!(actor.ask(Count), actor.ask(Count));
    assert_eq!((first, second), (Ok(1), Ok(2)));
    supervisor.shutdown(LONG).await;
}

#[tokio::test]
async fn a_failing_start_hook_is_a_failing_start() {
    struct Fussy(u32);
    impl Actor for Fussy {
        type Error = Trouble;
        fn started(&mut self, _: &mut Context<Self>) -> Result<(), Trouble> {
            match self.0 {
                0 => Err(Trouble(Reaction::Retry)),
                1 => panic!("at the start"),
                _ => Err(Trouble(Reaction::Degrade)),
            }
        }
    }
    impl Handle<Count> for Fussy {
        fn handle(&mut self, _: Count, _: &mut Context<Self>) -> Result<Reply<Count>, Trouble> {
            Ok(Reply::Now(self.0))
        }
    }
    let actor = Ref::declare("fussy");
    let supervisor = tree(Strategy::OneForOne).actor(ChildSpec::new(&actor, |s| Ok(Fussy(s.attempt)))).start();
    assert_eq!(actor.ask(Count).await, Ok::<u32, AskError>(2));
    let status = &supervisor.actors()[0];
    assert_eq!(status.last_cause, Some(DeathCause::Panic("at the start".into())));
    assert_eq!(status.state.to_string(), "degraded: trouble Degrade");
    supervisor.shutdown(LONG).await;
}
