//! What peers sent and the actor has not taken yet: peers take turns, and one that sends much waits for itself alone.

use duskevm_p2p::{Fair, PeerId};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{OwnedPermit, Sender};

/// Messages and requests that wait; their bytes are bounded by the gate.
const MOST: usize = 4_096;

/// The queue, and the way to the newest instance of the actor. `E` is what waits.
#[derive(Debug)]
pub(crate) struct Inbox<E> {
    waiting: Fair<PeerId, E>,
    actor: Option<Sender<E>>,
}

impl<E: Send + 'static> Inbox<E> {
    pub(crate) const fn new() -> Self {
        Self { waiting: Fair::new(MOST), actor: None }
    }

    /// How much waits.
    pub(crate) const fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Another instance takes over, beginning with what waits.
    pub(crate) fn attach(&mut self, actor: Sender<E>) {
        self.actor = Some(actor);
        self.hand_on();
    }

    /// Something came from a peer. Returns what found no room.
    pub(crate) fn put(&mut self, peer: PeerId, event: E) -> Option<E> {
        let dropped = self.waiting.put(peer, event);
        self.hand_on();
        dropped
    }

    /// Gives the actor what it has room for.
    fn hand_on(&mut self) {
        while !self.waiting.is_empty()
            && let Some(actor) = &self.actor
        {
            match actor.clone().try_reserve_owned() {
                Ok(permit) => self.give(permit),
                Err(TrySendError::Full(_)) => return,
                Err(TrySendError::Closed(_)) => self.actor = None,
            }
        }
    }

    fn give(&mut self, permit: OwnedPermit<E>) {
        if let Some(event) = self.waiting.take() {
            permit.send(event);
        }
    }

    /// Ends when the actor has room for what waits, if anything does; then call [`ready`](Self::ready).
    pub(crate) fn room(&self) -> impl Future<Output = Option<OwnedPermit<E>>> + use<E> {
        let actor = self.actor.clone().filter(|_| !self.waiting.is_empty());
        async move {
            match actor {
                Some(actor) => actor.reserve_owned().await.ok(),
                None => std::future::pending().await,
            }
        }
    }

    /// The actor has room, or is gone.
    pub(crate) fn ready(&mut self, permit: Option<OwnedPermit<E>>) {
        match permit {
            Some(permit) => {
                self.give(permit);
                self.hand_on();
            }
            None => self.actor = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    const FLOOD: PeerId = PeerId([1; 32]);
    const HONEST: PeerId = PeerId([2; 32]);

    #[tokio::test]
    async fn a_flood_neither_displaces_nor_delays_others() {
        let mut inbox = Inbox::new();
        let (sender, mut actor) = mpsc::channel(4);
        inbox.attach(sender);
        let dropped = (0..10_000).filter_map(|n| inbox.put(FLOOD, (FLOOD, n))).count();
        assert_eq!((inbox.len(), dropped), (MOST, 10_000 - MOST - 4));
        assert!(inbox.put(HONEST, (HONEST, 0)).is_some_and(|(peer, _)| peer == FLOOD));
        // Four are on their way, then the peers take turns.
        let mut seen = Vec::new();
        while !seen.contains(&HONEST) {
            seen.push(actor.recv().await.unwrap().0);
            let permit = inbox.room().await;
            inbox.ready(permit);
        }
        assert!(seen.len() <= 6, "{}", seen.len());
    }

    #[tokio::test]
    async fn what_came_while_nobody_was_there_waits_for_the_next_one() {
        let mut inbox = Inbox::new();
        let (sender, actor) = mpsc::channel(1);
        inbox.attach(sender);
        drop(actor);
        for n in 0..3 {
            assert_eq!(inbox.put(HONEST, n), None);
        }
        let (sender, mut actor) = mpsc::channel(8);
        inbox.attach(sender);
        assert_eq!((actor.recv().await, actor.recv().await, actor.recv().await), (Some(0), Some(1), Some(2)));
        assert_eq!(inbox.len(), 0);
    }
}
