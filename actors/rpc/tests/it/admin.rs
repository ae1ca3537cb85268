//! The admin server over a real supervision tree.

use crate::client::Client;
use duskevm_rpc::{AdminBackend, AdminConfig, AdminServer, Socket, admin_spec};
use duskevm_supervision::{
    Actor, ActorError, ActorState, ActorStatus, Backoff, Cause, ChildSpec, Fault, InjectError, Reaction, Ref, Strategy,
    Supervisor, Tree,
};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

#[derive(Default)]
struct Backend(OnceLock<Supervisor>);

impl AdminBackend for Backend {
    fn actors(&self) -> Vec<ActorStatus> {
        self.0.get().unwrap().actors()
    }
    fn why(&self) -> Vec<Cause> {
        self.0.get().unwrap().why()
    }
    fn inject(&self, name: &str, fault: Fault) -> Result<(), InjectError> {
        self.0.get().unwrap().inject(name, fault)
    }
    fn status(&self) -> BoxFuture<'static, Value> {
        Box::pin(async { json!({ "head": 5 }) })
    }
    fn node_info(&self) -> Value {
        json!({ "name": "duskevm" })
    }
}

async fn start(allow_faults: bool) -> (Client, Supervisor) {
    let config = AdminConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)) };
    let socket = Socket::new(config.listen);
    let backend = Arc::new(Backend::default());
    let actor: Ref<AdminServer> = Ref::declare("admin");
    let supervisor = Tree::new("root", Strategy::OneForOne)
        .allow_faults(allow_faults)
        .actor(admin_spec(&actor, config, socket.clone(), backend.clone()))
        .start();
    backend.0.set(supervisor.clone()).unwrap_or_else(|_| panic!());
    supervisor.ready().await.unwrap();
    (Client::new(socket.local_addr().unwrap()), supervisor)
}

#[tokio::test]
async fn operators_see_and_break_actors() {
    let (client, supervisor) = start(true).await;
    let actors = client.call("admin_actors", json!([])).await;
    assert_eq!((&actors[0]["name"], &actors[0]["state"]), (&json!("admin"), &json!("running")));
    assert_eq!((&actors[0]["generation"], &actors[0]["restarts"]), (&json!(1), &json!(0)));
    assert!(actors[0]["lease"]["done"]["text"].as_str().unwrap().starts_with("serving 127.0.0.1:"));
    let why = client.call("admin_why", json!([])).await;
    assert_eq!((&why[0]["actor"], &why[0]["trouble"]), (&json!("admin"), &json!(false)));
    assert_eq!(client.call("admin_status", json!([])).await["head"], 5);
    assert_eq!(client.call("admin_nodeInfo", json!([])).await["name"], "duskevm");

    let (code, message) = client.error("admin_kill", json!(["nobody"])).await;
    assert_eq!((code, message.contains("no actor is named \"nobody\"")), (-32602, true));
    for (method, params) in [
        ("admin_kill", json!([])),
        ("admin_hang", json!(["admin", "long"])),
        ("admin_drop", json!(["admin", 2.0, 5])),
        ("admin_delay", json!(["admin", 0.5])),
    ] {
        let (code, message) = client.error(method, params.clone()).await;
        assert_eq!(code, -32602, "{method} {params}: {message}");
    }
    for (method, params) in [("admin_drop", json!(["admin", 0.5, 1])), ("admin_heal", json!(["admin"]))] {
        assert_eq!(client.call(method, params).await, true);
    }
    // It breaks itself, and answers again.
    assert_eq!(client.call("admin_panic", json!(["admin"])).await, true);
    let again = async {
        loop {
            let (status, body) = client.post(br#"{"jsonrpc":"2.0","id":1,"method":"admin_actors","params":[]}"#).await;
            let restarts = || serde_json::from_str::<Value>(&body).ok()?["result"][0]["restarts"].as_u64();
            if status == 200 && restarts() == Some(1) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("it does not answer again");
    let actors = client.call("admin_actors", json!([])).await;
    assert_eq!(actors[0]["lastCause"]["kind"], "panic");
    supervisor.shutdown(Duration::from_secs(10)).await;
}

struct Idle;

impl Actor for Idle {
    type Error = Never;
}

#[derive(Debug, thiserror::Error)]
enum Never {}

impl ActorError for Never {
    fn reaction(&self) -> Reaction {
        match *self {}
    }
}

#[tokio::test]
async fn a_fault_for_an_actor_that_restarts_waits_for_it() {
    let socket = Socket::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    let config = AdminConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)) };
    let backend = Arc::new(Backend::default());
    let (admin, idle) = (Ref::<AdminServer>::declare("admin"), Ref::<Idle>::declare("idle"));
    let pause = Duration::from_millis(100);
    let supervisor = Tree::new("root", Strategy::OneForOne)
        .allow_faults(true)
        .backoff(Backoff { base: pause, cap: pause })
        .actor(admin_spec(&admin, config, socket.clone(), backend.clone()))
        .actor(ChildSpec::new(&idle, |_| Ok(Idle)))
        .start();
    backend.0.set(supervisor.clone()).unwrap_or_else(|_| panic!());
    supervisor.ready().await.unwrap();
    let client = Client::new(socket.local_addr().unwrap());
    let idle = || supervisor.actors().into_iter().find(|actor| &*actor.name == "idle").unwrap();
    assert_eq!(client.call("admin_panic", json!(["idle"])).await, true);
    while idle().state == ActorState::Running && idle().restarts == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(client.call("admin_kill", json!(["idle"])).await, true);
    while idle().restarts < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    supervisor.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn faults_can_be_forbidden() {
    let (client, supervisor) = start(false).await;
    let (code, message) = client.error("admin_kill", json!(["admin"])).await;
    assert_eq!((code, message.starts_with("faults are not allowed")), (-32000, true));
    supervisor.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn pages_in_a_browser_cannot_use_it() {
    let (client, supervisor) = start(true).await;
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"admin_actors","params":[]}"#;
    let json = ("content-type", "application/json");
    // A name that was made to point here.
    assert_eq!(client.request("POST", &[("host", "evil.example"), json], body).await.0, 403);
    // A WebSocket, which any page may open.
    let upgrade = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    assert_eq!(client.request("GET", &upgrade, b"").await.0, 403);
    supervisor.shutdown(Duration::from_secs(10)).await;
}
