//! Ports without an actor behind them: what tests of other crates use.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use duskevm_supervision::{AskError, Port, TellError};

use crate::common::*;

#[tokio::test]
async fn a_scripted_port_answers_by_closure() {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = asked.clone();
    let port = Port::from_fn(move |_: Count| {
        let n = counter.fetch_add(1, Ordering::SeqCst) + 1;
        async move { n }
    });
    assert_eq!(port.ask(Count).await, Ok(1));
    assert_eq!(port.clone().ask(Count).await, Ok(2));
    port.tell(Count).unwrap();
    until("the told message is handled", || asked.load(Ordering::SeqCst) == 3).await;
}

#[test]
fn a_scripted_port_can_be_told_outside_of_a_runtime() {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = asked.clone();
    let port = Port::from_fn(move |_: Count| {
        let counter = counter.clone();
        async move { counter.fetch_add(1, Ordering::SeqCst) }
    });
    port.tell(Count).unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_scripted_port_can_fail_and_be_slow() {
    let tries = AtomicU32::new(0);
    let port = Port::try_from_fn(move |_: Who| {
        let first = tries.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                Err(AskError::Restarting { actor: "worker".into() })
            } else {
                Ok(duskevm_supervision::StartContext::detached("worker"))
            }
        }
    });
    assert!(port.ask_retry(Who, LONG).await.is_ok());

    let slow = Port::from_fn(|_: Count| std::future::pending());
    let after = Duration::from_millis(10);
    assert_eq!(slow.ask_within(Count, after).await, Err(AskError::Timeout { actor: "script".into(), after }));
}

#[tokio::test]
async fn an_unwired_port_leads_nowhere() {
    let port = Port::<Count>::unwired("batcher");
    assert_eq!(port.ask(Count).await, Err(AskError::Gone { actor: "batcher".into() }));
    assert_eq!(port.tell(Count), Err(TellError::Gone { actor: "batcher".into() }));
}
