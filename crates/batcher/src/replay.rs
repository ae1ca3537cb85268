//! What the journal holds, in both directions.

use crate::{
    batcher::{Batcher, DeriveFirst},
    channel::{Channel, Submission},
    record::Record,
};
use duskevm_rollup::frame::ChannelId;

/// Records that do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// A record about a channel that is not there.
    #[error(
        "the batcher's journal speaks of channel {0}, which it has not begun: move the journal away to rebuild it from the safe head"
    )]
    UnknownChannel(ChannelId),
}

impl Batcher {
    /// Takes a record of the journal, in order, before anything else.
    ///
    /// # Errors
    /// [`ReplayError`] if it does not follow on those before it.
    pub fn replay(&mut self, record: Record) -> Result<(), ReplayError> {
        // What was posted is known, so nothing is posted twice however far derivation is.
        self.derive_first = DeriveFirst::Done;
        match record {
            Record::Counted { next_submission, settled } => {
                self.next_submission = self.next_submission.max(next_submission);
                self.settled = settled.or(self.settled);
            }
            Record::Opened { id, parent, l1_block } => {
                let open = self.new_open(id, parent, l1_block);
                self.open = Some(open);
            }
            Record::Closed(closed) => {
                let open = self.open.take().filter(|open| open.id == closed.id);
                self.spare = Some(open.ok_or(ReplayError::UnknownChannel(closed.id))?.out);
                self.block_bytes = closed.bytes_per_block();
                self.channels.push_back(Channel { closed, frames: None, submissions: Vec::new() });
            }
            Record::Submitted(submitted) => {
                let id = submitted.channel;
                self.next_submission = self.next_submission.max(submitted.number.saturating_add(1));
                let channel = self.channels.iter_mut().find(|channel| channel.id() == id);
                let all = &mut channel.ok_or(ReplayError::UnknownChannel(id))?.submissions;
                let new = Submission::from(submitted);
                match all.iter_mut().find(|submission| submission.number == new.number) {
                    Some(known) => *known = new,
                    None => all.push(new),
                }
            }
            Record::Settled { id } => {
                let first = self.channels.pop_front().filter(|channel| channel.id() == id);
                self.settled = Some(first.ok_or(ReplayError::UnknownChannel(id))?.closed.last);
            }
            Record::Abandoned { id } => {
                let open = self.open.take();
                match self.channels.iter().position(|channel| channel.id() == id) {
                    Some(index) => self.drop_channels(index, None),
                    None if open.as_ref().is_some_and(|open| open.id == id) => {}
                    None => return Err(ReplayError::UnknownChannel(id)),
                }
                self.spare = open.map(|open| open.out).or_else(|| self.spare.take());
            }
        }
        Ok(())
    }

    /// The records that make the same batcher as all that were written: the journal can be rewritten with them. Only right after
    /// [`advance`](Self::advance) has handed out all records.
    pub fn snapshot(&self) -> Vec<Record> {
        let mut records = vec![Record::Counted { next_submission: self.next_submission, settled: self.settled }];
        for channel in &self.channels {
            let (id, parent) = (channel.id(), channel.closed.parent);
            records.push(Record::Opened { id, parent, l1_block: 0 });
            records.push(Record::Closed(channel.closed.clone()));
            let submissions = channel.submissions.iter().filter_map(|submission| submission.record(id));
            records.extend(submissions.map(Record::Submitted));
        }
        if let Some(open) = &self.open {
            records.push(Record::Opened { id: open.id, parent: open.parent, l1_block: open.opened_at });
        }
        records
    }
}
