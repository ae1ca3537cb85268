//! Clients that ask and do not read, and clients that begin and do not end.

use super::*;
use crate::{
    RpcError,
    json::{Json, to_json},
};
use duskevm_fence::Gate;
use jsonrpsee::{RpcModule, types::ErrorObjectOwned};
use std::{net::SocketAddr, sync::atomic::AtomicUsize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const ANSWER: usize = 1024 * 1024;

/// What the one method of the server sees.
struct Seen {
    unsent: Unsent,
    calls: AtomicUsize,
    running: AtomicUsize,
    most_running: AtomicUsize,
    most_bytes: AtomicUsize,
}

struct Server {
    address: SocketAddr,
    seen: Arc<Seen>,
    _listening: Listening,
    _gate: Gate,
}

async fn big(seen: &Seen) -> Result<Json, RpcError> {
    seen.calls.fetch_add(1, Ordering::SeqCst);
    let running = seen.running.fetch_add(1, Ordering::SeqCst) + 1;
    seen.most_running.fetch_max(running, Ordering::SeqCst);
    // Others get the chance to start.
    tokio::task::yield_now().await;
    let made = to_json(&"x".repeat(ANSWER - 2), ANSWER, &seen.unsent.of_caller());
    seen.most_bytes.fetch_max(seen.unsent.bytes(), Ordering::SeqCst);
    seen.running.fetch_sub(1, Ordering::SeqCst);
    made
}

async fn server(limits: Limits) -> Server {
    let unsent = Unsent::new(limits.max_unsent_bytes);
    let seen = Arc::new(Seen {
        unsent: unsent.clone(),
        calls: AtomicUsize::new(0),
        running: AtomicUsize::new(0),
        most_running: AtomicUsize::new(0),
        most_bytes: AtomicUsize::new(0),
    });
    let mut module = RpcModule::from_arc(seen.clone());
    module
        .register_async_method("big", |_, seen, _| async move { Ok::<Json, ErrorObjectOwned>(big(&seen).await?) })
        .unwrap();
    module.register_method("small", |_, _, _| 7).unwrap();
    let surface = Surface { name: "test", methods: module.into(), heavy: ["big"].into_iter().collect() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gate = Gate::new("test");
    let fence = gate.advance(Duration::from_secs(1)).unwrap();
    let exposure = Exposure { websocket: true, ..Exposure::default() };
    let listening = Listening::start(listener, surface, unsent, &limits, exposure, fence);
    Server { address, seen, _listening: listening, _gate: gate }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn websocket(&self) -> TcpStream {
        let mut stream = self.connect().await;
        let upgrade = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(upgrade.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"));
        stream
    }

    /// The status and the body of the answer to a POST.
    async fn post(&self, body: &str) -> (String, String) {
        let mut stream = self.connect().await;
        let head = format!("{POST}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
        stream.write_all((head + body).as_bytes()).await.unwrap();
        rest(stream).await
    }

    /// Waits until a condition holds.
    async fn until(&self, what: &str, holds: impl Fn(&Seen) -> bool) {
        let reached = async {
            while !holds(&self.seen) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached).await.unwrap_or_else(|_| panic!("never: {what}"));
    }
}

const POST: &str = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";

/// Status and body of what comes until the connection is closed.
async fn rest(mut stream: TcpStream) -> (String, String) {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(30), read).await.expect("it was kept open").unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

/// A masked text frame; a mask of zeros leaves the text as it is.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u8::try_from(text.len()).ok().filter(|short| *short < 126) {
        Some(short) => frame.push(0x80 | short),
        None => {
            frame.push(0xff);
            frame.extend_from_slice(&(text.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// The length of the next message.
async fn message(stream: &mut TcpStream) -> usize {
    loop {
        let kind = stream.read_u8().await.unwrap() & 0xf;
        let length = match stream.read_u8().await.unwrap() {
            126 => stream.read_u16().await.unwrap().into(),
            127 => stream.read_u64().await.unwrap() as usize,
            short => short.into(),
        };
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        if kind == 1 {
            return length;
        }
    }
}

const BIG: &str = r#"{"jsonrpc":"2.0","id":1,"method":"big"}"#;
const SMALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"small"}"#;

/// A request of a bit more than that length.
fn long(length: usize) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"small","params":["{}"]}}"#, "x".repeat(length))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_websocket_that_does_not_read_has_little_in_hand() {
    let limits = Limits {
        max_inflight: 4,
        max_response_bytes: 2 * ANSWER as u32,
        max_unsent_bytes: 64 * ANSWER,
        ..Limits::default()
    };
    let server = server(limits).await;
    let mut stream = server.websocket().await;
    // All fit what the server reads at once, so that nothing but its own bounds keeps it from answering.
    stream.write_all(&frame(BIG).repeat(100)).await.unwrap();
    // What waits for the client: what it may be owed, the calls that had started by then, and what the system keeps.
    server.until("it owes more than a connection may", |seen| seen.unsent.bytes() >= 2 * ANSWER).await;
    assert!(server.seen.calls.load(Ordering::SeqCst) < 50, "it answers although nobody reads");
    for _ in 0..100 {
        assert!(message(&mut stream).await > ANSWER);
    }
    let seen = &server.seen;
    assert_eq!(seen.calls.load(Ordering::SeqCst), 100);
    assert!(seen.most_running.load(Ordering::SeqCst) <= 4);
    let most = seen.most_bytes.load(Ordering::SeqCst);
    assert!(most <= (2 + 2 * 4) * (ANSWER + 100), "{most} bytes were in hand");
    server.until("all is sent", |seen| seen.unsent.bytes() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn answers_of_all_connections_share_one_bound() {
    // Larger than what the system keeps for a connection, so that the rest stays with the server.
    let limits = Limits { max_unsent_bytes: 24 * ANSWER, ..Limits::default() };
    let server = server(limits).await;
    let mut idle = Vec::new();
    let batch = format!("[{}]", vec![BIG; 20].join(","));
    for _ in 0..4 {
        let mut stream = server.connect().await;
        stream.write_all(format!("{POST}content-length: {}\r\n\r\n{batch}", batch.len()).as_bytes()).await.unwrap();
        idle.push(stream);
    }
    server.until("all were asked", |seen| seen.calls.load(Ordering::SeqCst) >= 80).await;
    let most = server.seen.most_bytes.load(Ordering::SeqCst);
    assert!(most <= 24 * ANSWER, "{most} bytes were in hand");
    assert!(server.seen.most_running.load(Ordering::SeqCst) <= 4 * Limits::default().batch_heavy);
    // With the clients goes what they did not read.
    drop(idle);
    server.until("all is given back", |seen| seen.unsent.bytes() == 0).await;
    let (status, body) = server.post(BIG).await;
    assert_eq!((status.as_str(), body.len() > ANSWER), ("200", true));
    server.until("the answer is sent", |seen| seen.unsent.bytes() == 0).await;
}

#[tokio::test]
async fn a_full_server_says_that_it_is_busy() {
    let server = server(Limits { max_unsent_bytes: ANSWER / 2, ..Limits::default() }).await;
    let (status, body) = server.post(BIG).await;
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status.as_str(), &answer["error"]["code"], &answer["id"]), ("200", &(-32005).into(), &1.into()));
    let (_, body) = server.post(SMALL).await;
    assert!(body.contains(r#""result":7"#), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_that_run_do_not_take_more_than_the_part_of_their_connection() {
    let limits = Limits { max_response_bytes: 2 * ANSWER as u32, max_unsent_bytes: 32 * ANSWER, ..Limits::default() };
    let server = server(limits).await;
    let mut stream = server.websocket().await;
    stream.write_all(&frame(BIG).repeat(100)).await.unwrap();
    // All are answered, some of them that too much waits.
    for _ in 0..100 {
        message(&mut stream).await;
    }
    let most = server.seen.most_bytes.load(Ordering::SeqCst);
    assert!(most <= 4 * ANSWER + 100 * 1024, "{most} bytes were in hand");
    server.until("all is sent", |seen| seen.unsent.bytes() == 0).await;
}

#[tokio::test]
async fn short_answers_come_through_whatever_others_owe() {
    let server = server(Limits { max_unsent_bytes: 8 * ANSWER, ..Limits::default() }).await;
    let mut owed = server.seen.unsent.share();
    owed.grow(6 * ANSWER).unwrap();
    let (_, body) = server.post(BIG).await;
    assert!(body.contains("-32005"), "{body}");
    // Even once the rest is gone as well.
    owed.set(8 * ANSWER);
    let batch = format!("[{}]", vec![SMALL; 100].join(","));
    for (ask, answers) in [(SMALL, 1), (&batch, 100)] {
        let (_, body) = server.post(ask).await;
        assert_eq!(body.matches(r#""result":7"#).count(), answers, "{body}");
    }
    let mut stream = server.websocket().await;
    stream.write_all(&frame(SMALL)).await.unwrap();
    assert_eq!(message(&mut stream).await, r#"{"jsonrpc":"2.0","id":1,"result":7}"#.len());
    server.until("they are sent", |seen| seen.unsent.bytes() == 8 * ANSWER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_owed_to_a_client_that_closes_is_given_back_at_once() {
    let limits = Limits {
        max_connections: 1,
        max_response_bytes: 2 * ANSWER as u32,
        max_unsent_bytes: 64 * ANSWER,
        ..Limits::default()
    };
    let server = server(limits).await;
    let mut stream = server.websocket().await;
    stream.write_all(&frame(BIG).repeat(100)).await.unwrap();
    server.until("it owes more than a connection may", |seen| seen.unsent.bytes() >= 2 * ANSWER).await;
    drop(stream);
    let freed = async {
        server.until("all is given back", |seen| seen.unsent.bytes() == 0).await;
        // So is the slot of the connection.
        loop {
            let mut stream = server.connect().await;
            let head = format!("{POST}content-length: {}\r\nconnection: close\r\n\r\n{SMALL}", SMALL.len());
            let mut answer = Vec::new();
            if stream.write_all(head.as_bytes()).await.is_ok()
                && stream.read_to_end(&mut answer).await.is_ok()
                && !answer.is_empty()
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), freed).await.expect("it is kept");
}

#[tokio::test]
async fn bodies_that_never_end_keep_nobody_waiting() {
    let limits = Limits { body_idle_ms: 300, body_total_ms: 1_000, ..Limits::default() };
    let server = server(limits).await;
    let mut open = Vec::new();
    for _ in 0..Limits::default().large_bodies {
        let mut stream = server.connect().await;
        stream.write_all(format!("{POST}transfer-encoding: chunked\r\n\r\n1\r\n \r\n").as_bytes()).await.unwrap();
        open.push(stream);
    }
    // They keep nobody from anything.
    for body in [SMALL.to_owned(), long(300 * 1024)] {
        let (_, body) = server.post(&body).await;
        assert!(body.contains(r#""result":7"#), "{body}");
    }
    // Each is told, and closed.
    for stream in open {
        let (status, body) = rest(stream).await;
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status.as_str(), &answer["error"]["code"]), ("408", &(-32600).into()), "{body}");
    }
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_is_too_slow() {
    let server = server(Limits { body_idle_ms: 10_000, body_total_ms: 200, ..Limits::default() }).await;
    let mut stream = server.connect().await;
    stream.write_all(format!("{POST}transfer-encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
    let (reader, mut writer) = stream.into_split();
    let drip = tokio::spawn(async move {
        while writer.write_all(b"1\r\n \r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut head = [0; 12];
    let mut reader = reader;
    tokio::time::timeout(Duration::from_secs(10), reader.read_exact(&mut head)).await.expect("no answer").unwrap();
    assert_eq!(&head, b"HTTP/1.1 408");
    drip.abort();
}

#[tokio::test]
async fn large_bodies_have_room_as_they_arrive() {
    const MOST: usize = 512 * 1024;
    let limits =
        Limits { max_request_bytes: MOST as u32, body_idle_ms: 20_000, body_total_ms: 20_000, ..Limits::default() };
    let server = server(limits).await;
    let head = format!("{POST}content-length: {MOST}\r\n\r\n");
    let announce = async |arrives: usize| {
        let mut stream = server.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        // Fails if it is refused meanwhile.
        let _ = stream.write_all(&vec![b' '; arrives]).await;
        stream
    };
    // What is announced takes no room: there are more of them than there is room for.
    let mut open = Vec::new();
    for _ in 0..2 * Limits::default().large_bodies {
        open.push(announce(1000).await);
    }
    let (status, body) = server.post(&long(300 * 1024)).await;
    assert_eq!((status.as_str(), body.contains(r#""result":7"#)), ("200", true), "{body}");
    // What arrives does.
    for _ in 0..Limits::default().large_bodies {
        open.push(announce(MOST - 1).await);
    }
    let refused = async {
        // The first may take the room of others that the server has not read yet.
        while {
            let mut stream = announce(MOST - 1).await;
            let mut status = [0; 12];
            let answer = tokio::time::timeout(Duration::from_millis(200), stream.read_exact(&mut status)).await;
            // Where it is refused before all was read, the system may reset the connection before the answer is seen.
            match answer {
                Ok(Ok(_)) => {
                    assert_eq!(&status, b"HTTP/1.1 503");
                    false
                }
                Ok(Err(_)) => false,
                Err(_) => {
                    open.push(stream);
                    true
                }
            }
        } {}
    };
    tokio::time::timeout(Duration::from_secs(15), refused).await.expect("there is room without end");
    // Short ones need none.
    let (_, body) = server.post(SMALL).await;
    assert!(body.contains(r#""result":7"#), "{body}");
    // Given back with the bodies.
    drop(open);
    let served = async {
        while server.post(&long(300 * 1024)).await.0 != "200" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), served).await.expect("the room is not given back");
}

#[tokio::test]
async fn long_messages_of_a_websocket_need_room_as_bodies_do() {
    const MOST: usize = 512 * 1024;
    let limits = Limits {
        max_request_bytes: MOST as u32,
        large_bodies: 1,
        body_idle_ms: 20_000,
        body_total_ms: 20_000,
        ..Limits::default()
    };
    let server = server(limits).await;
    let mut stream = server.websocket().await;
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":7}"#.len();
    let asked = long(300 * 1024);
    let batch = format!("[{asked}]");
    stream.write_all(&frame(&asked)).await.unwrap();
    assert_eq!(message(&mut stream).await, answer);
    // A body that is half read has all the room, unless a message had it when the body came.
    let mut bodies = Vec::new();
    let refused = async {
        loop {
            let mut body = server.connect().await;
            body.write_all(format!("{POST}content-length: {MOST}\r\n\r\n").as_bytes()).await.unwrap();
            // Fails if it is refused meanwhile.
            let _ = body.write_all(&vec![b' '; MOST - 1]).await;
            bodies.push(body);
            tokio::time::sleep(Duration::from_millis(20)).await;
            stream.write_all(&frame(&asked)).await.unwrap();
            if message(&mut stream).await != answer {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(15), refused).await.expect("messages take no room");
    stream.write_all(&frame(&batch)).await.unwrap();
    assert_ne!(message(&mut stream).await, answer + 2, "also those of a batch");
    // Short ones need none.
    stream.write_all(&frame(SMALL)).await.unwrap();
    assert_eq!(message(&mut stream).await, answer);
    drop(bodies);
    let served = async {
        loop {
            stream.write_all(&frame(&asked)).await.unwrap();
            if message(&mut stream).await == answer {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), served).await.expect("the room is not given back");
}
