//! The metrics, with a real exporter. Alone in its process: a recorder can be installed only once.
#![allow(missing_docs)]

use std::time::Duration;

use duskevm_supervision::{Actor, ChildSpec, Context, DeathCause, Fault, Handle, Message, Ref, Reply, Strategy, Tree};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

struct Echo;

impl Actor for Echo {
    type Error = std::convert::Infallible;
}

struct Ping;

impl Message for Ping {
    type Reply = ();
    const NAME: &'static str = "ping";
}

impl Handle<Ping> for Echo {
    fn handle(&mut self, _: Ping, _: &mut Context<Self>) -> Result<Reply<Ping>, Self::Error> {
        Ok(Reply::Now(()))
    }
}

async fn until(recorder: &PrometheusHandle, line: &str) {
    for _ in 0..30_000 {
        if recorder.render().lines().any(|found| found == line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("no line {line:?} in\n{}", recorder.render());
}

#[tokio::test]
async fn metrics_are_described_zeroed_and_kept() {
    let recorder = PrometheusBuilder::new().install_recorder().unwrap();
    let actor = Ref::declare("echo");
    let spec = ChildSpec::new(&actor, |_| Ok(Echo)).deadline(Duration::from_millis(100));
    let supervisor = Tree::new("root", Strategy::OneForOne).allow_faults(true).actor(spec).start();

    // Before anything has happened.
    let text = recorder.render();
    for cause in DeathCause::LABELS {
        let zero = format!("duskevm_actor_restarts_total{{actor=\"echo\",cause=\"{cause}\"}} 0");
        assert!(text.contains(&zero), "{zero} not in\n{text}");
    }
    for help in ["actor_up", "actor_restarts_total", "actor_mailbox_depth", "actor_abandoned_threads"] {
        assert!(text.contains(&format!("# HELP duskevm_{help} ")), "{help} not described in\n{text}");
    }

    until(&recorder, "duskevm_actor_up{actor=\"echo\"} 1").await;
    for _ in 0..3 {
        actor.ask(Ping).await.unwrap();
    }
    until(&recorder, "duskevm_actor_handle_seconds_count{actor=\"echo\",message=\"ping\"} 3").await;
    until(&recorder, "duskevm_actor_mailbox_depth{actor=\"echo\"} 0").await;

    for (fault, cause) in [
        (Fault::Stop, "stop"),
        (Fault::Panic, "panic"),
        (Fault::Restart, "injected"),
        (Fault::Hang(Duration::from_secs(1)), "hang"),
    ] {
        supervisor.ready().await.unwrap();
        supervisor.inject("echo", fault).unwrap();
        until(&recorder, &format!("duskevm_actor_restarts_total{{actor=\"echo\",cause=\"{cause}\"}} 1")).await;
        until(&recorder, "duskevm_actor_up{actor=\"echo\"} 1").await;
    }
    // The thread of the hung instance is counted until it comes back.
    until(&recorder, "duskevm_actor_abandoned_threads{actor=\"echo\"} 0").await;
    // Counted on across instances.
    actor.ask(Ping).await.unwrap();
    until(&recorder, "duskevm_actor_handle_seconds_count{actor=\"echo\",message=\"ping\"} 4").await;

    supervisor.shutdown(Duration::from_secs(30)).await;
    until(&recorder, "duskevm_actor_up{actor=\"echo\"} 0").await;
}
