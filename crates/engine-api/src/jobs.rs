//! The book of payloads that are being built.

use crate::error::EngineError;
use alloy_rpc_types_engine::PayloadId;
use std::collections::VecDeque;

/// So many payloads are kept; an older one gives way to a newer one.
pub const MAX_JOBS: usize = 16;

/// Payloads that are being built, by id, the newest [`MAX_JOBS`].
///
/// `T` is what its owner keeps of a job: the [request](crate::BuildRequest), and the block once it is built.
#[derive(Debug, Clone)]
pub struct PayloadJobs<T> {
    oldest_first: VecDeque<(PayloadId, T)>,
}

impl<T> Default for PayloadJobs<T> {
    fn default() -> Self {
        Self { oldest_first: VecDeque::with_capacity(MAX_JOBS) }
    }
}

impl<T> PayloadJobs<T> {
    /// Is there a job with this id? Then it is not begun again (paris.md, "Payload building", 6).
    pub fn contains(&self, id: PayloadId) -> bool {
        self.oldest_first.iter().any(|(known, _)| *known == id)
    }

    /// Begins a job, and drops the oldest one if there are too many. A job that is there already stays as it is, and the answer is false.
    pub fn begin(&mut self, id: PayloadId, job: T) -> bool {
        if self.contains(id) {
            return false;
        }
        while self.oldest_first.len() >= MAX_JOBS {
            self.oldest_first.pop_front();
        }
        self.oldest_first.push_back((id, job));
        true
    }

    /// The job with this id.
    ///
    /// # Errors
    /// [`EngineError::UnknownPayload`].
    pub fn get(&self, id: PayloadId) -> Result<&T, EngineError> {
        let found = self.oldest_first.iter().find(|(known, _)| *known == id);
        found.map(|(_, job)| job).ok_or(EngineError::UnknownPayload(id))
    }

    /// The same, to be changed.
    ///
    /// # Errors
    /// [`EngineError::UnknownPayload`].
    pub fn get_mut(&mut self, id: PayloadId) -> Result<&mut T, EngineError> {
        let found = self.oldest_first.iter_mut().find(|(known, _)| *known == id);
        found.map(|(_, job)| job).ok_or(EngineError::UnknownPayload(id))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.oldest_first.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.oldest_first.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B64;

    fn id(number: u64) -> PayloadId {
        PayloadId(B64::from(number.to_be_bytes()))
    }

    #[test]
    fn an_unknown_id_is_an_unknown_payload() {
        let mut jobs = PayloadJobs::<u64>::default();
        assert_eq!(jobs.get(id(1)).unwrap_err().code(), -38001);
        assert_eq!(jobs.get_mut(id(1)).unwrap_err().code(), -38001);
        assert!(jobs.is_empty());
    }

    #[test]
    fn an_id_is_eight_bytes_of_data() {
        let read: PayloadId = serde_json::from_str(r#""0x0300000000000001""#).unwrap();
        assert_eq!(read, id(0x0300_0000_0000_0001));
        for other in [r#""0x03""#, r#""0x030000000000000001""#, "3", "null"] {
            assert!(serde_json::from_str::<PayloadId>(other).is_err(), "{other}");
        }
    }

    #[test]
    fn the_newest_16_are_kept() {
        let mut jobs = PayloadJobs::default();
        for number in 0..40 {
            assert!(jobs.begin(id(number), number));
            assert!(jobs.len() <= MAX_JOBS);
        }
        for number in 0..40 {
            assert_eq!(jobs.get(id(number)).ok().copied(), (number >= 24).then_some(number));
        }
    }

    #[test]
    fn a_job_is_not_begun_twice() {
        let mut jobs = PayloadJobs::default();
        assert!(jobs.begin(id(1), 10));
        *jobs.get_mut(id(1)).unwrap() += 1;
        assert!(!jobs.begin(id(1), 20));
        assert_eq!(jobs.get(id(1)), Ok(&11));
        assert_eq!(jobs.len(), 1);
    }
}
