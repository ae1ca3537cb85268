//! What one connection has in hand: calls that run, and answers that its client has not taken.
//!
//! A WebSocket layer starts a task for each message it reads, and puts answers into a queue. Both would grow without end for a
//! client that asks and does not read, so a connection that has enough in hand neither reads questions nor starts calls.

use crate::{
    engine::plain,
    unsent::{Share, Unsent},
};
use hyper::{HeaderMap, header::USER_AGENT};
use parking_lot::Mutex;
use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
};
use tokio::sync::Notify;

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Connection {
    websocket: AtomicBool,
    hand: Mutex<Hand>,
    room: Notify,
    /// Held while a subscription is being made. A client learns its id before the layer below can end it: to unsubscribe then would
    /// be without effect, and the place of the subscription would be taken until the connection closes.
    pub(crate) subscribing: tokio::sync::Mutex<()>,
    /// All that is counted for it, which the methods and HTTP bodies hold themselves.
    unsent: Unsent,
    most_calls: usize,
    most_bytes: usize,
    peer: Option<IpAddr>,
    /// What its client says of itself in the first request.
    agent: OnceLock<Option<Arc<str>>>,
}

#[derive(Debug)]
struct Hand {
    calls: usize,
    /// Answers and notifications that are on their way to the socket. HTTP bodies are counted apart, by themselves.
    owed: Share,
    /// Nothing reaches the client any more.
    broken: bool,
    /// The task that wants to read the next question.
    reader: Option<Waker>,
}

impl Connection {
    /// It starts no call while `most_calls` run or while the client has `most_bytes` to read. One answer of that length must be
    /// possible.
    pub(crate) fn new(unsent: &Unsent, most_calls: usize, most_bytes: usize, peer: Option<IpAddr>) -> Arc<Self> {
        let unsent = unsent.connection(most_bytes);
        let hand = Hand { calls: 0, owed: unsent.share(), broken: false, reader: None };
        Arc::new(Self {
            websocket: AtomicBool::new(false),
            hand: Mutex::new(hand),
            room: Notify::new(),
            subscribing: tokio::sync::Mutex::new(()),
            unsent,
            most_calls: most_calls.max(1),
            most_bytes: most_bytes.max(1),
            peer,
            agent: OnceLock::new(),
        })
    }

    /// A request with these headers came.
    pub(crate) fn introduce(&self, headers: &HeaderMap) {
        self.agent.get_or_init(|| Some(plain(headers.get(USER_AGENT)?.to_str().ok()?).into()));
    }

    /// Address and name of its client, as far as they are known.
    pub(crate) fn caller(&self) -> (Option<IpAddr>, Option<Arc<str>>) {
        (self.peer, self.agent.get().cloned().flatten())
    }

    /// It is a WebSocket from now on.
    pub(crate) fn upgrade(&self) {
        self.websocket.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_websocket(&self) -> bool {
        self.websocket.load(Ordering::Relaxed)
    }

    /// The count of what its client has not taken, of which calls that run take shares.
    pub(crate) const fn unsent(&self) -> &Unsent {
        &self.unsent
    }

    fn is_full(&self, hand: &Hand) -> bool {
        hand.calls >= self.most_calls || hand.owed.bytes() >= self.most_bytes
    }

    /// May another question be read? If not, the task is woken when it may.
    pub(crate) fn may_read(&self, context: &Context<'_>) -> bool {
        let mut hand = self.hand.lock();
        if !self.is_full(&hand) {
            return true;
        }
        hand.reader = Some(context.waker().clone());
        false
    }

    /// Waits until another call may start.
    pub(crate) async fn enter(self: &Arc<Self>) -> Turn {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            // Listening starts before looking, so that what changes in between is not missed.
            room.as_mut().enable();
            {
                let mut hand = self.hand.lock();
                if !self.is_full(&hand) {
                    hand.calls += 1;
                    return Turn(self.clone());
                }
            }
            room.await;
        }
    }

    /// A message of `length` bytes goes to the WebSocket. `share` counts it already, but for what stands around it.
    pub(crate) fn owe(&self, length: usize, mut share: Share) {
        let mut hand = self.hand.lock();
        if !hand.broken {
            share.set(length + frame_head(length));
            hand.owed.absorb(share);
        }
    }

    /// Bytes went to the socket, or will never go.
    pub(crate) fn settle(&self, bytes: usize) {
        self.change(|hand| hand.owed.shrink(bytes));
    }

    /// As [`Self::settle`], for a message that was owed.
    pub(crate) fn forget(&self, length: usize) {
        self.settle(length + frame_head(length));
    }

    /// The socket is broken: nothing is owed from now on, and nobody waits for the client to read.
    pub(crate) fn break_off(&self) {
        let mut hand = self.hand.lock();
        hand.broken = true;
        let owed = hand.owed.bytes();
        hand.owed.shrink(owed);
        let reader = hand.reader.take();
        drop(hand);
        self.room.notify_waiters();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn change(&self, change: impl FnOnce(&mut Hand)) {
        let mut hand = self.hand.lock();
        let was_full = self.is_full(&hand);
        change(&mut hand);
        if was_full && !self.is_full(&hand) {
            let reader = hand.reader.take();
            drop(hand);
            self.room.notify_waiters();
            if let Some(reader) = reader {
                reader.wake();
            }
        }
    }
}

/// A call that runs.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Connection>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.change(|hand| hand.calls -= 1);
    }
}

/// Bytes before the payload of a WebSocket message (RFC 6455, section 5.2).
const fn frame_head(length: usize) -> usize {
    match length {
        0..126 => 2,
        126..65_536 => 4,
        _ => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_wait_for_turns_and_for_the_client_to_read() {
        let unsent = Unsent::new(10_000);
        let connection = Connection::new(&unsent, 2, 1000, None);
        let share = |bytes| {
            let mut share = connection.unsent().share();
            share.grow(bytes).unwrap();
            share
        };
        let reads = || connection.may_read(&Context::from_waker(Waker::noop()));
        let (first, second) = (connection.enter().await, connection.enter().await);
        assert!(!reads());
        let mut third = Box::pin(connection.enter());
        assert!(futures::poll!(&mut third).is_pending());
        drop(first);
        let third = third.await;
        drop((second, third));
        assert!(reads());

        connection.owe(1000, share(1000));
        assert_eq!(unsent.bytes(), 1004);
        assert!(!reads());
        let mut next = Box::pin(connection.enter());
        assert!(futures::poll!(&mut next).is_pending());
        connection.settle(100);
        assert!(reads() && futures::poll!(&mut next).is_ready());
        drop(next);
        // More than is owed: replies of the WebSocket layer itself are not counted.
        connection.settle(100_000);
        assert_eq!(unsent.bytes(), 0);
        connection.owe(100, share(100));
        connection.forget(100);
        assert_eq!(unsent.bytes(), 0);
    }

    #[test]
    fn a_connection_that_ends_owes_nothing() {
        let unsent = Unsent::new(10_000);
        let connection = Connection::new(&unsent, 2, 1000, None);
        connection.owe(5000, connection.unsent().share());
        assert_eq!(unsent.bytes(), 5004);
        drop(connection);
        assert_eq!(unsent.bytes(), 0);
    }

    #[tokio::test]
    async fn a_broken_connection_owes_nothing_and_keeps_nobody_waiting() {
        let unsent = Unsent::new(10_000);
        let connection = Connection::new(&unsent, 2, 1000, None);
        connection.owe(5000, connection.unsent().share());
        let mut next = Box::pin(connection.enter());
        assert!(futures::poll!(&mut next).is_pending());
        connection.break_off();
        assert_eq!(unsent.bytes(), 0);
        assert!(futures::poll!(&mut next).is_ready());
        assert!(connection.may_read(&Context::from_waker(Waker::noop())));
        // A call that ran meanwhile.
        connection.owe(5000, connection.unsent().share());
        assert_eq!(unsent.bytes(), 0);
    }
}
