//! The place of a connection. Where a token is asked for there are places before the door as well: who has not shown one yet takes none
//! from those who have, and gives way to whoever comes later.

use crate::metrics;
use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// The places of a server.
#[derive(Debug)]
pub(crate) struct Places {
    slots: Arc<Semaphore>,
    lobby: Option<Arc<Lobby>>,
}

impl Places {
    /// So many connections. With `token_within` each must show a token in that time, and as many more may be about to.
    pub(crate) fn new(most: u32, token_within: Option<Duration>) -> Self {
        let most = most as usize;
        let lobby = |within| Arc::new(Lobby { most, within, waiting: Mutex::default() });
        Self { slots: Arc::new(Semaphore::new(most)), lobby: token_within.map(lobby) }
    }

    /// A place for a new connection; `None` if all are taken.
    pub(crate) fn take(&self) -> Option<Place> {
        let held = match &self.lobby {
            Some(lobby) => Held::Waiting(lobby.enter()),
            None => Held::Slot { _slot: self.slots.clone().try_acquire_owned().ok()? },
        };
        let gauge = metrics::connections();
        gauge.increment(1.0);
        Some(Place { gauge, slots: self.slots.clone(), held: Mutex::new(held) })
    }
}

/// Connections that have shown no token yet, oldest first.
#[derive(Debug)]
struct Lobby {
    most: usize,
    within: Duration,
    waiting: Mutex<VecDeque<Arc<Notify>>>,
}

impl Lobby {
    fn enter(self: &Arc<Self>) -> Guest {
        let ended = Arc::new(Notify::new());
        let mut waiting = self.waiting.lock();
        waiting.push_back(ended.clone());
        while waiting.len() > self.most.max(1) {
            if let Some(oldest) = waiting.pop_front() {
                metrics::connections_refused().increment(1);
                oldest.notify_one();
            }
        }
        Guest { lobby: self.clone(), ended }
    }
}

#[derive(Debug)]
struct Guest {
    lobby: Arc<Lobby>,
    ended: Arc<Notify>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.lobby.waiting.lock().retain(|other| !Arc::ptr_eq(other, &self.ended));
    }
}

#[derive(Debug)]
enum Held {
    Slot { _slot: OwnedSemaphorePermit },
    Waiting(Guest),
}

/// One open connection: its place, and its part of the gauge.
pub(crate) struct Place {
    gauge: ::metrics::Gauge,
    slots: Arc<Semaphore>,
    held: Mutex<Held>,
}

impl Place {
    /// The client may come in. False if there is no place for it.
    pub(crate) fn admit(&self) -> bool {
        let mut held = self.held.lock();
        if matches!(*held, Held::Slot { .. }) {
            return true;
        }
        match self.slots.clone().try_acquire_owned() {
            Ok(slot) => {
                *held = Held::Slot { _slot: slot };
                true
            }
            Err(_) => false,
        }
    }

    /// Resolves when a client that has shown no token is to be given up, and never for others.
    pub(crate) async fn given_up(&self) {
        let waits = match &*self.held.lock() {
            Held::Slot { .. } => None,
            Held::Waiting(guest) => Some((guest.ended.clone(), guest.lobby.within)),
        };
        if let Some((ended, within)) = waits {
            // Either its time is up, or its place is taken.
            let _ = timeout(within, ended.notified()).await;
            if matches!(*self.held.lock(), Held::Waiting(_)) {
                return;
            }
        }
        std::future::pending().await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::poll;

    #[tokio::test]
    async fn who_has_shown_no_token_gives_way_and_takes_no_place_of_others() {
        let places = Places::new(2, Some(Duration::from_secs(3600)));
        let known = places.take().unwrap();
        assert!(known.admit());
        let mut known_ends = Box::pin(known.given_up());
        let strangers: Vec<_> = (0..5).map(|_| places.take().unwrap()).collect();
        let mut given_up = Vec::new();
        for stranger in &strangers {
            given_up.push(poll!(Box::pin(stranger.given_up())).is_ready());
        }
        assert_eq!(given_up, [true, true, true, false, false]);
        assert!(poll!(&mut known_ends).is_pending());
        // There is one place left, for whoever has a token.
        assert!(strangers[4].admit() && !strangers[3].admit());
        drop(known_ends);
        drop(known);
        assert!(strangers[3].admit());
    }

    #[tokio::test]
    async fn a_token_must_be_shown_soon_and_then_there_is_no_haste() {
        let places = Places::new(2, Some(Duration::from_millis(1)));
        let (silent, known) = (places.take().unwrap(), places.take().unwrap());
        let mut known_ends = Box::pin(known.given_up());
        assert!(poll!(&mut known_ends).is_pending());
        assert!(known.admit());
        silent.given_up().await;
        assert!(poll!(&mut known_ends).is_pending());
    }

    #[tokio::test]
    async fn without_tokens_there_are_only_so_many_places() {
        let places = Places::new(2, None);
        let first = places.take().unwrap();
        let second = places.take().unwrap();
        assert!(places.take().is_none() && first.admit());
        drop(second);
        assert!(places.take().is_some());
    }
}
