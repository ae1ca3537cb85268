//! Bytes of answers that clients have not taken yet, counted over all connections of a server and bounded.
//!
//! An answer is counted while it is written to JSON, where its size becomes known, until the system has taken it for the client.
//! What does not fit any more is refused: a few clients that ask and do not read must not fill the memory of all.

use crate::error::RpcError;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The count of one server.
#[derive(Debug, Clone)]
pub(crate) struct Unsent(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes: AtomicUsize,
    most: usize,
    gauge: metrics::Gauge,
}

impl Unsent {
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Inner { bytes: AtomicUsize::new(0), most, gauge: crate::metrics::unsent_bytes() }))
    }

    /// A share of no bytes yet.
    pub(crate) fn share(&self) -> Share {
        Share { of: self.0.clone(), bytes: 0 }
    }

    /// All bytes that are counted now.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

/// A part of the count; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<Inner>,
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
        let most = self.of.most;
        self.of
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bytes| {
                bytes.checked_add(more).filter(|bytes| *bytes <= most)
            })
            .map_err(|_| RpcError::Busy("answers that clients have not read"))?;
        self.bytes += more;
        self.of.gauge.increment(more as f64);
        Ok(())
    }

    /// Gives back up to this many.
    pub(crate) fn shrink(&mut self, less: usize) {
        let less = less.min(self.bytes);
        self.bytes -= less;
        self.of.bytes.fetch_sub(less, Ordering::Relaxed);
        self.of.gauge.decrement(less as f64);
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
        a.grow(7).unwrap();
        drop(a);
        assert_eq!(unsent.bytes(), 0);
    }
}
