//! What a stable reference costs, next to a bare actix address; and how long a death is felt.
#![allow(missing_docs, missing_debug_implementations)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use duskevm_supervision::{
    Actor, AskError, ChildSpec, Context, Handle, Intensity, Message, Ref, Reply, Strategy, Supervisor, Tree,
};
use tokio::runtime::{Builder, Runtime};

/// Requests sent one after the other, or in flight at the same time.
const BATCH: usize = 128;

/// Does next to nothing, so that only the way is measured.
#[derive(Debug, Clone, Copy)]
struct Add(u64);

#[derive(Debug)]
struct Explode;

struct Bare(u64);

impl actix::Actor for Bare {
    type Context = actix::Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(2 * BATCH);
    }
}

impl actix::Message for Add {
    type Result = u64;
}

impl actix::Handler<Add> for Bare {
    type Result = actix::MessageResult<Add>;

    fn handle(&mut self, msg: Add, _: &mut Self::Context) -> Self::Result {
        self.0 += msg.0;
        actix::MessageResult(self.0)
    }
}

struct Supervised(u64);

impl Actor for Supervised {
    type Error = std::convert::Infallible;
}

impl Message for Add {
    type Reply = u64;
    const NAME: &'static str = "add";
    const IDEMPOTENT: bool = true;
}

impl Message for Explode {
    type Reply = ();
    const NAME: &'static str = "explode";
}

impl Handle<Add> for Supervised {
    fn handle(&mut self, msg: Add, _: &mut Context<Self>) -> Result<Reply<Add>, Self::Error> {
        self.0 += msg.0;
        Ok(Reply::Now(self.0))
    }
}

impl Handle<Explode> for Supervised {
    fn handle(&mut self, _: Explode, _: &mut Context<Self>) -> Result<Reply<Explode>, Self::Error> {
        panic!("as told")
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime for the bench")
}

fn supervised(rt: &Runtime) -> (Ref<Supervised>, Supervisor) {
    let actor = Ref::declare("bench");
    let spec = ChildSpec::new(&actor, |_| Ok(Supervised(0))).mailbox(2 * BATCH);
    let forever = Intensity { max: u32::MAX, within: Duration::from_millis(1) };
    let supervisor = Tree::new("root", Strategy::OneForOne).intensity(forever).actor(spec).start();
    rt.block_on(supervisor.ready()).expect("the actor starts");
    (actor, supervisor)
}

/// A bare actix actor on an arbiter of its own, as the supervised one is.
fn bare() -> actix::Addr<Bare> {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        actix_rt::System::new().block_on(async move {
            let arbiter = actix_rt::Arbiter::new();
            arbiter.spawn_fn(move || drop(tell.send(actix::Actor::start(Bare(0)))));
            std::future::pending::<()>().await;
        });
    });
    told.recv().expect("the actor starts")
}

fn messages(c: &mut Criterion) {
    let rt = runtime();
    let addr = bare();
    let (actor, _supervisor) = supervised(&rt);
    let port = actor.port::<Add>();

    let mut group = c.benchmark_group("one_after_the_other");
    group.throughput(Throughput::Elements(1));
    group.bench_function("bare_addr", |b| b.iter(|| rt.block_on(async { black_box(addr.send(Add(1)).await) })));
    group.bench_function("ref", |b| b.iter(|| rt.block_on(async { black_box(actor.ask(Add(1)).await) })));
    group.bench_function("port", |b| b.iter(|| rt.block_on(async { black_box(port.ask(Add(1)).await) })));
    group.finish();

    let mut group = c.benchmark_group("in_flight_together");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("bare_addr", |b| {
        b.iter(|| rt.block_on(futures::future::join_all((0..BATCH).map(|_| addr.send(Add(1))))));
    });
    group.bench_function("ref", |b| {
        b.iter(|| rt.block_on(futures::future::join_all((0..BATCH).map(|_| actor.ask(Add(1))))));
    });
    group.bench_function("port", |b| {
        b.iter(|| rt.block_on(futures::future::join_all((0..BATCH).map(|_| port.ask(Add(1))))));
    });
    group.finish();
}

fn deaths(c: &mut Criterion) {
    let rt = runtime();
    let (actor, _supervisor) = supervised(&rt);
    // The text of the panic is not what is measured.
    std::panic::set_hook(Box::new(|_| {}));
    c.bench_function("death_to_first_handled_message", |b| {
        b.iter_custom(|rounds| {
            let mut felt = Duration::ZERO;
            for _ in 0..rounds {
                // A calm moment between two deaths, else the back-off grows, as it should.
                std::thread::sleep(Duration::from_millis(2));
                rt.block_on(async {
                    let died = actor.ask(Explode).await;
                    let since = Instant::now();
                    assert!(matches!(died, Err(AskError::Died { .. })), "{died:?}");
                    black_box(actor.ask_retry(Add(1), Duration::from_secs(10)).await).expect("it comes back");
                    felt += since.elapsed();
                });
            }
            felt
        });
    });
    drop(std::panic::take_hook());
}

criterion_group!(benches, messages, deaths);
criterion_main!(benches);
