//! Bytes of answers that clients have not taken yet, counted over all connections of a server and bounded.
//!
//! An answer is counted while it is written to JSON, where its size becomes known, until the system has taken it for the client.
//! What does not fit any more is refused: a few clients that ask and do not read must not fill the memory of all. Nor must they keep
//! the others from what is cheap: long answers leave a part of the bound to short ones, one connection gets only a part of it, and a
//! little is admitted on every connection whatever the others owe.

use crate::error::RpcError;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// An answer up to this many bytes is a short one. As much is admitted on each connection even if nothing is left.
pub(crate) const SHORT: usize = 64 * 1024;
/// The part of the bound that only short answers may use is one of this many.
const RESERVE: usize = 4;
/// The part of the bound that one connection may use is one of this many.
const CONNECTION: usize = 8;

tokio::task_local! {
    /// Whose call the task answers. Methods make their answers far from the connection, and know only the server.
    static CALLER: Unsent;
}

/// The count of one server, or that of one of its connections, which is part of it.
#[derive(Debug, Clone)]
pub(crate) struct Unsent {
    all: Arc<All>,
    one: Option<Arc<One>>,
}

#[derive(Debug)]
struct All {
    bytes: AtomicUsize,
    most: usize,
    gauge: metrics::Gauge,
}

/// What one connection has of it.
#[derive(Debug)]
struct One {
    bytes: AtomicUsize,
    most: usize,
    /// The highest count since it was last zero.
    peak: AtomicUsize,
}

impl Unsent {
    pub(crate) fn new(most: usize) -> Self {
        let all = All { bytes: AtomicUsize::new(0), most, gauge: crate::metrics::unsent_bytes() };
        Self { all: Arc::new(all), one: None }
    }

    /// The count of a new connection of this server; it may use its part of the bound, and at least this many bytes of it.
    pub(crate) fn connection(&self, at_least: usize) -> Self {
        let most = (self.all.most / CONNECTION).max(at_least);
        let one = One { bytes: AtomicUsize::new(0), most, peak: AtomicUsize::new(0) };
        Self { all: self.all.clone(), one: Some(Arc::new(one)) }
    }

    /// A share of no bytes yet.
    pub(crate) fn share(&self) -> Share {
        Share { of: self.clone(), bytes: 0 }
    }

    /// Runs a call whose answer is counted here.
    pub(crate) async fn answering<F: Future>(&self, call: F) -> F::Output {
        CALLER.scope(self.clone(), call).await
    }

    /// The count of the connection whose call the current task answers; this one outside of calls.
    pub(crate) fn of_caller(&self) -> Self {
        CALLER.try_with(Self::clone).unwrap_or_else(|_| self.clone())
    }

    /// The most that the connection had of it since it last had nothing.
    pub(crate) fn peak(&self) -> usize {
        self.one.as_ref().map_or(0, |one| one.peak.load(Ordering::Relaxed))
    }

    /// All bytes that are counted now on all connections.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.all.bytes.load(Ordering::Relaxed)
    }

    /// Counts more of an answer that is `length` bytes long by then; says whether it did.
    fn add(&self, more: usize, length: usize) -> bool {
        let add = |bytes: &AtomicUsize, most: usize| {
            let sum = |bytes: usize| bytes.checked_add(more).filter(|bytes| *bytes <= most);
            bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).ok().map(|bytes| bytes + more)
        };
        let mut most = if length <= SHORT { self.all.most } else { self.all.most - self.all.most / RESERVE };
        if let Some(one) = &self.one {
            let Some(bytes) = add(&one.bytes, one.most) else { return false };
            if bytes <= SHORT {
                most = usize::MAX;
            }
            if add(&self.all.bytes, most).is_none() {
                one.bytes.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
            one.peak.fetch_max(bytes, Ordering::Relaxed);
        } else if add(&self.all.bytes, most).is_none() {
            return false;
        }
        self.all.gauge.increment(more as f64);
        true
    }

    /// Counts more in any case.
    fn force(&self, more: usize) {
        if let Some(one) = &self.one {
            let bytes = one.bytes.fetch_add(more, Ordering::Relaxed) + more;
            one.peak.fetch_max(bytes, Ordering::Relaxed);
        }
        self.all.bytes.fetch_add(more, Ordering::Relaxed);
        self.all.gauge.increment(more as f64);
    }

    /// Counts less.
    fn take(&self, less: usize) {
        if let Some(one) = &self.one
            && one.bytes.fetch_sub(less, Ordering::Relaxed) == less
        {
            one.peak.store(0, Ordering::Relaxed);
        }
        self.all.bytes.fetch_sub(less, Ordering::Relaxed);
        self.all.gauge.decrement(less as f64);
    }
}

/// A part of the count; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of: Unsent,
    bytes: usize,
}

impl Share {
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts more.
    ///
    /// # Errors
    /// If that is more than may be counted; then nothing changes.
    pub(crate) fn grow(&mut self, more: usize) -> Result<(), RpcError> {
        if !self.of.add(more, self.bytes.saturating_add(more)) {
            return Err(RpcError::Busy("answers that clients have not read"));
        }
        self.bytes += more;
        Ok(())
    }

    /// Gives back up to this many.
    pub(crate) fn shrink(&mut self, less: usize) {
        let less = less.min(self.bytes);
        if less > 0 {
            self.bytes -= less;
            self.of.take(less);
        }
    }

    /// Counts exactly this many.
    ///
    /// # Errors
    /// As [`Self::grow`].
    pub(crate) fn fit(&mut self, bytes: usize) -> Result<(), RpcError> {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.grow(more),
            None => {
                self.shrink(self.bytes - bytes);
                Ok(())
            }
        }
    }

    /// Counts exactly this many even if that is more than may be counted: for refusals, and for the little that stands around what is
    /// counted already.
    pub(crate) fn set(&mut self, bytes: usize) {
        match bytes.checked_sub(self.bytes) {
            Some(more) => {
                self.bytes = bytes;
                self.of.force(more);
            }
            None => self.shrink(self.bytes - bytes),
        }
    }

    /// Takes over what another share of the same count holds.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn counts_up_to_the_bound_and_gives_back() {
        let unsent = Unsent::new(100);
        let (mut a, mut b) = (unsent.share(), unsent.share());
        a.grow(60).unwrap();
        assert!(matches!(b.grow(41), Err(RpcError::Busy(_))));
        assert_eq!((b.bytes(), unsent.bytes()), (0, 60));
        b.fit(40).unwrap();
        a.fit(10).unwrap();
        assert_eq!(unsent.bytes(), 50);
        a.absorb(b);
        assert_eq!((a.bytes(), unsent.bytes()), (50, 50));
        a.shrink(1000);
        assert_eq!(unsent.bytes(), 0);
        a.set(700);
        assert_eq!((a.bytes(), unsent.bytes()), (700, 700));
        a.set(7);
        assert_eq!(unsent.bytes(), 7);
        drop(a);
        assert_eq!(unsent.bytes(), 0);
    }

    #[test]
    fn long_answers_leave_room_to_short_ones() {
        let unsent = Unsent::new(16 * MIB);
        let mut long = unsent.share();
        long.grow(12 * MIB).unwrap();
        assert!(long.grow(1).is_err());
        // It is long by then, though it does not grow by much.
        let mut growing = unsent.share();
        growing.grow(SHORT).unwrap();
        assert!(growing.grow(1).is_err());
        let mut short: Vec<Share> = Vec::new();
        for _ in 1..4 * MIB / SHORT {
            let mut share = unsent.share();
            share.grow(SHORT).unwrap();
            short.push(share);
        }
        assert!(unsent.share().grow(1).is_err());
    }

    #[test]
    fn a_connection_gets_its_part_and_always_a_little() {
        let unsent = Unsent::new(16 * MIB);
        let (slow, other) = (unsent.connection(MIB), unsent.connection(MIB));
        let (mut a, mut b) = (slow.share(), slow.share());
        a.grow(MIB).unwrap();
        b.grow(MIB).unwrap();
        assert!(slow.share().grow(1).is_err(), "it has an eighth");
        other.share().grow(MIB).unwrap();
        assert_eq!((slow.peak(), other.peak(), unsent.bytes()), (2 * MIB, 0, 2 * MIB));

        let mut rest = unsent.share();
        rest.set(14 * MIB);
        let mut little = other.share();
        little.grow(SHORT).unwrap();
        assert!(other.share().grow(1).is_err());
        drop((a, rest));
        other.share().grow(1).unwrap();
        // As long as something is left, it stands for the most there was.
        assert_eq!(slow.peak(), 2 * MIB);
        drop((b, little));
        assert_eq!((slow.peak(), unsent.bytes()), (0, 0));
        assert!(unsent.connection(3 * MIB).share().grow(3 * MIB).is_ok());
    }

    #[tokio::test]
    async fn an_answer_is_counted_for_the_caller() {
        let unsent = Unsent::new(MIB);
        let connection = unsent.connection(0);
        let share = connection
            .answering(async {
                let mut share = unsent.of_caller().share();
                share.grow(5).unwrap();
                share
            })
            .await;
        assert_eq!((connection.peak(), unsent.bytes()), (5, 5));
        unsent.of_caller().share().grow(7).unwrap();
        assert_eq!(connection.peak(), 5);
        drop(share);
    }
}
