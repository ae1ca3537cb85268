//! Who asks for the whole pool, and the one copy of it that all of them get.
//!
//! A copy of a large pool costs more than anything else that the actor does, and clients ask for it as often as they like. So
//! there is one at a time, all who ask for the same state share it, it is sorted off the actor's thread, and after each the
//! thread has a pause that is long beside it. What somebody is given is never older than the question.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use duskevm_messages::txpool::GetContent;
use duskevm_pool::Content;
use duskevm_supervision::Responder;

/// The pause after a copy is so many times as long as the copy took: at most 2 % of the actor's time goes into copies.
const PAUSE: u32 = 50;
/// And no longer than this, so that askers are not kept waiting.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What is to be done for an asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: it was answered, or something that is under way will answer it.
    Nothing,
    /// A copy, after this pause.
    Copy(Duration),
}

/// Those who asked, and what they are given.
#[derive(Debug, Default)]
pub(crate) struct ContentDesk {
    /// What the pool holds, if it has not changed since.
    copy: Option<Arc<Content>>,
    /// A copy is being sorted, for these. Nobody is added to them once the pool has changed.
    sorting: Option<Vec<Responder<GetContent>>>,
    /// Has the pool changed since the copy was taken?
    changed: bool,
    /// They wait for the next copy.
    waiting: Vec<Responder<GetContent>>,
    /// Is the next copy arranged already?
    arranged: bool,
    not_before: Option<Instant>,
}

impl ContentDesk {
    /// The pool is not any more what it was.
    pub(crate) fn changed(&mut self) {
        self.changed = true;
        self.copy = None;
    }

    /// Somebody asks.
    pub(crate) fn ask(&mut self, responder: Responder<GetContent>, now: Instant) -> Next {
        if let Some(copy) = &self.copy {
            responder.send(copy.clone());
            return Next::Nothing;
        }
        if let Some(sorting) = self.sorting.as_mut().filter(|_| !self.changed) {
            sorting.push(responder);
            return Next::Nothing;
        }
        self.waiting.push(responder);
        self.arrange(now)
    }

    /// A copy was taken from `since` until `now` and is being sorted.
    pub(crate) fn taken(&mut self, since: Instant, now: Instant) {
        self.arranged = false;
        self.changed = false;
        self.sorting = Some(std::mem::take(&mut self.waiting));
        self.not_before = Some(now + (now.saturating_duration_since(since) * PAUSE).min(LONGEST_PAUSE));
    }

    /// The copy is sorted.
    pub(crate) fn sorted(&mut self, content: Arc<Content>, now: Instant) -> Next {
        for responder in self.sorting.take().unwrap_or_default() {
            responder.send(content.clone());
        }
        if !self.changed {
            self.copy = Some(content);
        }
        self.arrange(now)
    }

    fn arrange(&mut self, now: Instant) -> Next {
        if self.waiting.is_empty() || self.arranged || self.sorting.is_some() {
            return Next::Nothing;
        }
        self.arranged = true;
        Next::Copy(self.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duskevm_supervision::Reply;

    fn asker() -> Responder<GetContent> {
        Reply::deferred().1
    }

    #[test]
    fn one_copy_at_a_time_and_a_pause_after_each() {
        let (mut desk, start) = (ContentDesk::default(), Instant::now());
        assert_eq!(desk.ask(asker(), start), Next::Copy(Duration::ZERO));
        assert_eq!(desk.ask(asker(), start), Next::Nothing, "arranged already");
        let taken = start + Duration::from_millis(4);
        desk.taken(start, taken);
        assert_eq!(desk.ask(asker(), taken), Next::Nothing, "shares the copy");
        assert_eq!(desk.sorting.as_ref().map(Vec::len), Some(3));
        // The pool changes meanwhile: whoever asks now must see the change.
        desk.changed();
        assert_eq!(desk.ask(asker(), taken), Next::Nothing, "the next copy comes after this one");
        assert_eq!((desk.sorting.as_ref().map(Vec::len), desk.waiting.len()), (Some(3), 1));
        assert_eq!(desk.sorted(Arc::default(), taken), Next::Copy(Duration::from_millis(200)));
        assert_eq!(desk.ask(asker(), taken), Next::Nothing);
        let second = taken + Duration::from_secs(60);
        desk.taken(taken, second);
        assert_eq!(desk.sorted(Arc::default(), second), Next::Nothing);
        // Nothing has changed: the copy serves again and again.
        assert_eq!(desk.ask(asker(), second), Next::Nothing);
        assert!(desk.waiting.is_empty());
        desk.changed();
        assert_eq!(desk.ask(asker(), second), Next::Copy(LONGEST_PAUSE));
    }
}
