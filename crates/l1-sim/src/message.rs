//! Messages on their way: decoded and verified once for all receivers, and taken once by each.

use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use duskevm_dusk_l1::sa::triage::{Checked, Why};
use duskevm_dusk_l1::sa::wire::{self, Frame};
use duskevm_dusk_l1::sha3::sha3_256;

/// How long the network knows a message, so that nobody is given it twice.
const REMEMBERED: Duration = Duration::from_secs(60);

/// One node's part of a message's way.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    /// Life of the node in which it had the message; 0 if it had not.
    had: u32,
    /// Life for which a copy is on its way, and when it arrives.
    due: (u32, Duration),
}

/// A message and who has it.
#[derive(Debug)]
pub(crate) struct Message {
    /// Grows with every message, so that it also tells which was sent first.
    pub(crate) serial: u64,
    /// What is sent.
    pub(crate) bytes: Arc<[u8]>,
    /// What receivers make of it; none if it does not decode.
    pub(crate) frame: Option<Frame>,
    verified: OnceCell<Result<Checked<Frame>, Why>>,
    ways: RefCell<Vec<Way>>,
}

impl Message {
    fn new(serial: u64, bytes: Arc<[u8]>, nodes: usize) -> Self {
        let frame = wire::decode(&bytes, &wire::Limits::default()).ok();
        let ways = RefCell::new(vec![Way::default(); nodes]);
        Self { serial, bytes, frame, verified: OnceCell::new(), ways }
    }

    /// Whether a node had it in this life of it.
    pub(crate) fn is_known(&self, node: usize, life: u32) -> bool {
        self.ways.borrow().get(node).is_some_and(|way| way.had == life)
    }

    /// A node has it now. False if it had it before.
    pub(crate) fn arrives(&self, node: usize, life: u32) -> bool {
        let mut ways = self.ways.borrow_mut();
        let Some(way) = ways.get_mut(node) else { return false };
        std::mem::replace(&mut way.had, life) != life
    }

    /// A copy is on its way and arrives at `at`. False if another one will be there before, which makes this one
    /// superfluous.
    pub(crate) fn is_due(&self, node: usize, life: u32, at: Duration) -> bool {
        let mut ways = self.ways.borrow_mut();
        let Some(way) = ways.get_mut(node) else { return false };
        if way.due.0 == life && way.due.1 <= at {
            return false;
        }
        way.due = (life, at);
        true
    }

    /// What its check found. Which committees it is checked by follows from the block that it names as its parent, so
    /// the outcome is the same wherever triage lets it through.
    pub(crate) fn verified(&self, check: impl FnOnce() -> Result<Checked<Frame>, Why>) -> Result<Checked<Frame>, Why> {
        self.verified.get_or_init(check).clone()
    }
}

/// All messages of the last minute.
#[derive(Debug, Default)]
pub(crate) struct Post {
    serial: u64,
    known: HashMap<[u8; 32], Rc<Message>>,
    sent: VecDeque<(Duration, [u8; 32])>,
}

impl Post {
    /// The message of these bytes: the same one when it was sent before.
    pub(crate) fn message(&mut self, now: Duration, bytes: Arc<[u8]>, nodes: usize) -> Rc<Message> {
        while let Some((sent, id)) = self.sent.front()
            && *sent + REMEMBERED < now
        {
            self.known.remove(id);
            self.sent.pop_front();
        }
        let id = sha3_256(&[&bytes]);
        if let Some(message) = self.known.get(&id) {
            return message.clone();
        }
        let message = self.fresh(bytes, nodes);
        self.known.insert(id, message.clone());
        self.sent.push_back((now, id));
        message
    }

    /// A message that nobody has had, whatever its bytes.
    pub(crate) fn fresh(&mut self, bytes: Arc<[u8]>, nodes: usize) -> Rc<Message> {
        self.serial += 1;
        Rc::new(Message::new(self.serial, bytes, nodes))
    }
}
