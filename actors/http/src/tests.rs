//! The server against real clients on real sockets, well-behaved and not.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};

use crate::server::{Limits, serve};
use crate::site::{Readiness, ReadyReport, Site};
use crate::{HttpError, Socket};

/// Far more than any answer takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Switch(Arc<AtomicBool>);

impl Readiness for Switch {
    fn ready(&self) -> BoxFuture<'static, ReadyReport> {
        let report = if self.0.load(Ordering::SeqCst) {
            let mut report = ReadyReport::ready();
            report.details.insert("unsafe".to_owned(), 7.into());
            report
        } else {
            ReadyReport::not_ready(vec!["unsafe head 7 stuck for 9 s".to_owned(), "executor is restarting".to_owned()])
        };
        ready(report).boxed()
    }
}

struct Server {
    socket: Socket,
    address: SocketAddr,
    ready: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), HttpError>>>,
}

impl Server {
    fn start(limits: Limits) -> Self {
        Self::start_on(Socket::new(SocketAddr::from(([127, 0, 0, 1], 0))), limits)
    }

    fn start_on(socket: Socket, limits: Limits) -> Self {
        let ready = Arc::new(AtomicBool::new(true));
        let site = Arc::new(Site {
            title: "duskevm 1.2.3".to_owned(),
            metrics: Box::new(|| "duskevm_head 7\n".to_owned()),
            readiness: Box::new(Switch(ready.clone())),
        });
        Self::serve(socket, ready, site, limits)
    }

    fn serve(socket: Socket, ready: Arc<AtomicBool>, site: Arc<Site>, limits: Limits) -> Self {
        let (listener, taken_over) = socket.take_over().unwrap();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                serve(listener, site, limits, taken_over).await
            })
        });
        Self { address: socket.address(), socket, ready, thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The whole answer to one request, the connection closed after it.
    fn ask(&self, head: &str) -> String {
        let mut stream = self.connect();
        write!(stream, "{head}\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        read_all(&mut stream)
    }

    fn join(&mut self) -> Result<(), HttpError> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.socket.release();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

/// Everything until the server closes; a reset counts as closing.
fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the server neither answered nor closed: {error}"),
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn quick() -> Limits {
    Limits {
        header_timeout: Duration::from_millis(200),
        connection_timeout: Duration::from_millis(500),
        ..Limits::default()
    }
}

#[test]
fn metrics_health_and_index() {
    let server = Server::start(Limits::default());
    let metrics = server.ask("GET /metrics HTTP/1.1");
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{metrics}");
    assert!(metrics.ends_with("\r\n\r\nduskevm_head 7\n"), "{metrics}");
    assert!(server.ask("GET /healthz HTTP/1.1").ends_with("\r\n\r\nok\n"));
    assert!(server.ask("GET / HTTP/1.1").contains("/readyz    200 when"));
    let html = server.ask("GET / HTTP/1.1\r\nAccept: text/html");
    assert!(html.contains("<a href=\"/metrics\">") && html.contains("text/html"), "{html}");
    assert!(server.ask("GET /nothing?x=1 HTTP/1.1").starts_with("HTTP/1.1 404 "));
    let post = server.ask("POST /metrics HTTP/1.1\r\nContent-Length: 0");
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD"), "{post}");
    let head = server.ask("HEAD /metrics HTTP/1.1");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-length: 15"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "no body to HEAD: {head}");
}

#[test]
fn readiness_in_both_forms() {
    let server = Server::start(Limits::default());
    let ready = server.ask("GET /readyz HTTP/1.1");
    assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
    assert!(ready.ends_with("{\"ready\":true,\"causes\":[],\"unsafe\":7}\n"), "{ready}");
    assert!(server.ask("GET /readyz HTTP/1.1\r\nAccept: text/plain").ends_with("\r\n\r\nready\n"));
    server.ready.store(false, Ordering::SeqCst);
    let json = server.ask("GET /readyz HTTP/1.1\r\nAccept: application/json");
    assert!(json.starts_with("HTTP/1.1 503 "), "{json}");
    assert!(json.contains(r#""causes":["unsafe head 7 stuck for 9 s","executor is restarting"]"#), "{json}");
    let text = server.ask("GET /readyz HTTP/1.1\r\nAccept: text/plain");
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    assert!(text.ends_with("\r\n\r\nnot ready: unsafe head 7 stuck for 9 s ← executor is restarting\n"), "{text}");
}

#[test]
fn one_connection_carries_many_requests() {
    let server = Server::start(Limits::default());
    let mut stream = server.connect();
    for _ in 0..3 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\nok\n") {
            let mut chunk = [0; 512];
            let read = stream.read(&mut chunk).unwrap();
            assert!(read > 0, "closed after {answer}");
            answer.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
        }
    }
}

#[test]
fn garbage_ends_only_its_own_connection() {
    let server = Server::start(quick());
    let garbage: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    ];
    for bytes in garbage {
        let mut stream = server.connect();
        stream.write_all(bytes).unwrap();
        let answer = read_all(&mut stream);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{bytes:?} was answered with {answer}");
    }
    assert!(server.ask("GET /healthz HTTP/1.1").ends_with("ok\n"));
}

#[test]
fn oversize_heads_are_refused() {
    let server = Server::start(Limits::default());
    for head in [
        format!("GET /{} HTTP/1.1\r\n", "a".repeat(20_000)),
        format!("GET / HTTP/1.1\r\nX: {}\r\n", "a".repeat(20_000)),
        format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(1_000)),
    ] {
        let mut stream = server.connect();
        // The server may close before it has read all of it.
        let _ = stream.write_all(head.as_bytes());
        let answer = read_all(&mut stream);
        let status = answer.get(..12).unwrap_or_default();
        assert!(matches!(status, "" | "HTTP/1.1 431" | "HTTP/1.1 414"), "{answer}");
    }
    assert!(server.ask("GET /healthz HTTP/1.1").ends_with("ok\n"));
}

#[test]
fn a_slow_head_is_cut_off() {
    let server = Server::start(quick());
    let mut slow = server.connect();
    let start = Instant::now();
    // One byte at a time keeps the connection busy without ever ending the head.
    let mut written = 0;
    while start.elapsed() < PATIENCE && slow.write_all(b"G").is_ok() {
        written += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(start.elapsed() < Duration::from_secs(10), "still open after {written} bytes and {:?}", start.elapsed());
    let mut idle = server.connect();
    assert_eq!(read_all(&mut idle), "", "a client that says nothing is cut off, too");
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let socket = Socket::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    let site = Arc::new(Site {
        title: String::new(),
        // More than all buffers between the two hold.
        metrics: Box::new(|| "x".repeat(32 << 20)),
        readiness: Box::new(Switch(Arc::new(AtomicBool::new(true)))),
    });
    let server = Server::serve(socket, Arc::default(), site, Limits { max_connections: 1, ..quick() });
    let mut stuck = server.connect();
    stuck.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    // The only place is taken until the stuck client loses it.
    assert!(server.ask("GET /healthz HTTP/1.1").ends_with("ok\n"));
}

#[test]
fn clients_beyond_the_limit_wait_for_a_place() {
    let server = Server::start(Limits { max_connections: 2, ..quick() });
    let start = Instant::now();
    let _idle = [server.connect(), server.connect()];
    assert!(server.ask("GET /healthz HTTP/1.1").ends_with("ok\n"));
    assert!(start.elapsed() >= Duration::from_millis(150), "both places were taken for the time of the head");
}

#[test]
fn a_successor_takes_over_the_port_and_its_waiting_clients() {
    let mut first = Server::start(Limits::default());
    let mut idle = first.connect();
    assert!(first.ask("GET /healthz HTTP/1.1").ends_with("ok\n"));
    let address = first.address;
    first.socket.release();
    first.join().unwrap();
    assert_eq!(read_all(&mut idle), "", "connections end with their server");
    // Nobody accepts now, yet the client is not refused.
    let mut waiting = TcpStream::connect(address).unwrap();
    waiting.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(waiting, "GET /healthz HTTP/1.1\r\nConnection: close\r\nHost: x\r\n\r\n").unwrap();
    let second = Server::start_on(first.socket.clone(), Limits::default());
    assert_eq!(second.address, address);
    assert!(read_all(&mut waiting).ends_with("ok\n"));
}

#[test]
fn a_panicking_answer_is_an_error_of_the_server() {
    let site = Arc::new(Site {
        title: String::new(),
        metrics: Box::new(|| panic!("the metrics are broken")),
        readiness: Box::new(Switch(Arc::default())),
    });
    let socket = Socket::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    let mut server = Server::serve(socket, Arc::default(), site, Limits::default());
    let mut stream = server.connect();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(read_all(&mut stream), "");
    let error = server.join().unwrap_err();
    assert!(matches!(&error, HttpError::Panicked(message) if message == "the metrics are broken"), "{error}");
}
