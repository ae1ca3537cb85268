//! The actor under a real supervisor: whatever ends it, clients find it again at the same port.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use duskevm_http::{Http, Limits, Readiness, ReadyReport, Site, Socket};
use duskevm_supervision::{ChildSpec, ExitReason, Fault, InjectError, Intensity, Ref, Strategy, Supervisor, Tree};
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};

/// Far longer than any step takes.
const LONG: Duration = Duration::from_secs(30);

struct Always;

impl Readiness for Always {
    fn ready(&self) -> BoxFuture<'static, ReadyReport> {
        ready(ReadyReport::ready()).boxed()
    }
}

fn start(socket: &Socket, deadline: Duration) -> Supervisor {
    let site = Arc::new(Site {
        title: "test".to_owned(),
        metrics: Box::new(|| "up 1\n".to_owned()),
        readiness: Box::new(Always),
    });
    let http: Ref<Http> = Ref::declare("http");
    let socket = socket.clone();
    Tree::new("root", Strategy::OneForOne)
        .allow_faults(true)
        // However slow the machine is, the tests decide when it has been enough.
        .intensity(Intensity { max: u32::MAX, within: LONG })
        .actor(
            ChildSpec::new(&http, move |_| Ok(Http::new(socket.clone(), site.clone(), Limits::default())))
                .deadline(deadline),
        )
        .start()
}

fn healthy(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    // An instance that dies with the connection in its hands resets it.
    let _ = stream.read_to_string(&mut answer);
    answer
}

async fn wait_for_restarts(supervisor: &Supervisor, restarts: u64) {
    let start = Instant::now();
    while supervisor.actors()[0].restarts < restarts {
        assert!(start.elapsed() < LONG, "{:?}", supervisor.actors());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    supervisor.ready().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_at_the_same_port_after_every_kind_of_death() {
    let socket = Socket::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    let supervisor = start(&socket, Duration::from_millis(300));
    supervisor.ready().await.unwrap();
    let address = socket.address();
    assert!(healthy(address).ends_with("ok\n"));
    // The hanging thread keeps its duplicate of the socket until long after the end of the test.
    let faults = [Fault::Stop, Fault::Panic, Fault::Restart, Fault::Hang(LONG)];
    for fault in faults {
        let before = supervisor.actors()[0].restarts;
        // On a slow machine it may be down just now because the short deadline was missed without a fault.
        while supervisor.inject("http", fault) == Err(InjectError::Restarting { actor: "http".into() }) {
            supervisor.ready().await.unwrap();
        }
        wait_for_restarts(&supervisor, before + 1).await;
        let answer = tokio::task::spawn_blocking(move || healthy(address)).await.unwrap();
        assert!(answer.ends_with("ok\n"), "after {fault:?}: {answer:?}, {:?}", supervisor.actors());
        assert_eq!(socket.address(), address);
    }
    assert!(matches!(supervisor.shutdown(LONG).await, ExitReason::Shutdown { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn being_idle_is_not_hanging() {
    let socket = Socket::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    let supervisor = start(&socket, Duration::from_secs(1));
    supervisor.ready().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status = supervisor.actors().remove(0);
    assert_eq!(status.restarts, 0, "{status:?}");
    assert!(status.lease.waiting_for.is_some_and(|(what, _)| what.contains(&socket.address().to_string())));
    supervisor.shutdown(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_tried_again_until_it_is_free() {
    let owner = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = Socket::new(owner.local_addr().unwrap());
    let supervisor = start(&socket, LONG);
    let began = Instant::now();
    loop {
        let why = supervisor.why();
        if why.first().is_some_and(|cause| cause.to_string().contains("cannot listen on")) {
            break;
        }
        assert!(began.elapsed() < LONG, "{why:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(owner);
    supervisor.ready().await.unwrap();
    assert!(healthy(socket.address()).ends_with("ok\n"));
    supervisor.shutdown(LONG).await;
}
