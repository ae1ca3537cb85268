//! A worker actor that does what its messages say, and a tree of such workers.

use std::{
    fmt,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};

use duskevm_supervision::{
    Actor, ActorError, ActorState, Backoff, ChildSpec, Context, FenceError, Handle, Intensity, Message, Reaction, Ref,
    Reply, StartContext, Strategy, Supervisor, Tree,
};

/// Far longer than any test takes: a wait that is this long has failed.
pub const LONG: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble(pub Reaction);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trouble {:?}", self.0)
    }
}

impl std::error::Error for Trouble {}

impl ActorError for Trouble {
    fn reaction(&self) -> Reaction {
        self.0
    }
}

/// What happened in a tree, in order.
#[derive(Clone, Default)]
pub struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    pub fn write(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

pub struct Worker {
    pub start: StartContext,
    pub diary: Diary,
    pub count: u32,
    pub ticks: u32,
}

impl Worker {
    pub fn new(start: StartContext) -> Self {
        Self { start, diary: Diary::default(), count: 0, ticks: 0 }
    }

    pub fn with_diary(start: StartContext, diary: &Diary) -> Self {
        diary.write(format!("start {}", start.name));
        Self { start, diary: diary.clone(), count: 0, ticks: 0 }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.diary.write(format!("drop {}", self.start.name));
    }
}

impl Actor for Worker {
    type Error = Trouble;

    fn stopping(&mut self, ctx: &mut Context<Self>) {
        self.diary.write(format!("stopping {}", self.start.name));
        ctx.pipe(async { tokio::time::sleep(Duration::from_millis(1)).await }, |me, (), _| {
            me.diary.write(format!("flushed {}", me.start.name));
            Ok(())
        });
    }
}

macro_rules! message {
    ($(#[$doc:meta])* $name:ident $(($field:ty))? -> $reply:ty $(, $idempotent:ident)?) => {
        $(#[$doc])*
        pub struct $name $((pub $field))?;
        impl Message for $name {
            type Reply = $reply;
            const NAME: &'static str = stringify!($name);
            $(const IDEMPOTENT: bool = stringify!($idempotent).len() > 0;)?
        }
    };
}

message!(/** Counts and answers with the number so far. */ Count -> u32);
message!(/** Which instance are you? */ #[derive(Clone)] Who -> StartContext, idempotent);
message!(/** Panics in the handler. */ Panic -> ());
message!(/** Fails with this reaction. */ Fail(Reaction) -> ());
message!(/** Stops itself. */ Quit -> ());
message!(/** Never answers, from a future. */ Never -> ());
message!(/** Answers from a future that panics. */ PanicLater -> ());
message!(/** Answers through a responder that is dropped. */ Forget -> ());
message!(/** Blocks the thread: tells that it does, waits until it may go on, then reports. */ Block(Gate) -> u32);
message!(/** Runs a closure on the actor. */ Run(RunFn) -> ());

pub type RunFn = Box<dyn FnOnce(&mut Worker, &mut Context<Worker>) -> Result<(), Trouble> + Send>;

/// Holds an actor's thread inside a handler.
pub struct Gate {
    pub inside: mpsc::Sender<()>,
    pub go_on: mpsc::Receiver<()>,
    /// What the actor finds when it goes on: the result of a fenced write.
    pub found: mpsc::Sender<Result<(), FenceError>>,
}

/// The test's side of a [`Gate`].
pub struct Guard {
    pub inside: mpsc::Receiver<()>,
    pub go_on: mpsc::Sender<()>,
    pub found: mpsc::Receiver<Result<(), FenceError>>,
}

pub fn gate() -> (Gate, Guard) {
    let (inside, is_inside) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let (found, is_found) = mpsc::channel();
    (Gate { inside, go_on: may_go_on, found }, Guard { inside: is_inside, go_on, found: is_found })
}

impl Handle<Count> for Worker {
    fn handle(&mut self, _: Count, _: &mut Context<Self>) -> Result<Reply<Count>, Trouble> {
        self.count += 1;
        Ok(Reply::Now(self.count))
    }
}

impl Handle<Who> for Worker {
    fn handle(&mut self, _: Who, _: &mut Context<Self>) -> Result<Reply<Who>, Trouble> {
        Ok(Reply::Now(self.start.clone()))
    }
}

impl Handle<Panic> for Worker {
    fn handle(&mut self, _: Panic, _: &mut Context<Self>) -> Result<Reply<Panic>, Trouble> {
        panic!("told to")
    }
}

impl Handle<Fail> for Worker {
    fn handle(&mut self, msg: Fail, _: &mut Context<Self>) -> Result<Reply<Fail>, Trouble> {
        Err(Trouble(msg.0))
    }
}

impl Handle<Quit> for Worker {
    fn handle(&mut self, _: Quit, ctx: &mut Context<Self>) -> Result<Reply<Quit>, Trouble> {
        ctx.stop();
        Ok(Reply::Now(()))
    }
}

impl Handle<Never> for Worker {
    fn handle(&mut self, _: Never, _: &mut Context<Self>) -> Result<Reply<Never>, Trouble> {
        Ok(Reply::later(pending()))
    }
}

impl Handle<PanicLater> for Worker {
    fn handle(&mut self, _: PanicLater, _: &mut Context<Self>) -> Result<Reply<PanicLater>, Trouble> {
        Ok(Reply::later(async {
            tokio::task::yield_now().await;
            panic!("told to, later")
        }))
    }
}

impl Handle<Forget> for Worker {
    fn handle(&mut self, _: Forget, ctx: &mut Context<Self>) -> Result<Reply<Forget>, Trouble> {
        let (reply, responder) = Reply::deferred();
        ctx.after(Duration::from_millis(1), move |_, _| {
            drop(responder);
            Ok(())
        });
        Ok(reply)
    }
}

impl Handle<Block> for Worker {
    fn handle(&mut self, msg: Block, ctx: &mut Context<Self>) -> Result<Reply<Block>, Trouble> {
        let _ = msg.0.inside.send(());
        let _ = msg.0.go_on.recv();
        let _ = msg.0.found.send(ctx.fence().write(|| ()));
        self.count += 1;
        Ok(Reply::Now(self.count))
    }
}

impl Handle<Run> for Worker {
    fn handle(&mut self, msg: Run, ctx: &mut Context<Self>) -> Result<Reply<Run>, Trouble> {
        (msg.0)(self, ctx)?;
        Ok(Reply::Now(()))
    }
}

/// A closure to run on the actor.
pub fn run(f: impl FnOnce(&mut Worker, &mut Context<Worker>) -> Result<(), Trouble> + Send + 'static) -> Run {
    Run(Box::new(f))
}

/// A worker with quick pauses.
pub fn spec(actor: &Ref<Worker>) -> ChildSpec<Worker> {
    ChildSpec::new(actor, |start| Ok(Worker::new(start)))
}

pub fn spec_in(actor: &Ref<Worker>, diary: &Diary) -> ChildSpec<Worker> {
    let diary = diary.clone();
    ChildSpec::new(actor, move |start| Ok(Worker::with_diary(start, &diary)))
}

/// A tree that allows faults and many quick restarts.
pub fn tree(strategy: Strategy) -> Tree {
    Tree::new("root", strategy)
        .intensity(Intensity { max: 1_000, within: LONG })
        .backoff(Backoff { base: Duration::from_millis(1), cap: Duration::from_millis(5) })
        .allow_faults(true)
}

pub fn one(name: &str) -> (Ref<Worker>, Supervisor) {
    let actor = Ref::declare(name);
    let supervisor = tree(Strategy::OneForOne).actor(spec(&actor)).start();
    (actor, supervisor)
}

/// Waits until something is so. The bound is no timing assertion: it turns a hang into a failure.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..LONG.as_millis() {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}

pub fn state(supervisor: &Supervisor, name: &str) -> ActorState {
    supervisor.actors().into_iter().find(|a| &*a.name == name).unwrap().state
}

/// A counter shared between factory calls.
#[derive(Clone, Default)]
pub struct Counter(Arc<AtomicU32>);

impl Counter {
    pub fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn get(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}
