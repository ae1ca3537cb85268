//! The journal's own thread: one job at a time, each synced before it is reported done.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use duskevm_evm::RecoveredTx;
use tokio::sync::oneshot;

use crate::{
    log::{Log, LogError},
    records::{Record, encode},
};

/// Something to write.
pub(crate) enum Job {
    Append(Vec<Record>),
    /// Forget all that was written and keep these.
    Rewrite(Vec<Arc<RecoveredTx>>),
}

/// What was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    /// Size of the journal.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
}

type Report = oneshot::Sender<Result<Written, LogError>>;

/// The thread's front. The thread ends when this is dropped and its job is done.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: mpsc::SyncSender<(Job, Report)>,
}

impl Writer {
    pub(crate) fn spawn(mut log: Box<dyn Log>) -> io::Result<Self> {
        // The actor gives the next job after the report on the last one, so that there is never a second one waiting.
        let (jobs, inbox) = mpsc::sync_channel::<(Job, Report)>(1);
        thread::Builder::new().name("txpool-journal".into()).spawn(move || {
            for (job, report) in inbox {
                let result = run(&mut *log, job);
                let failed = result.is_err();
                // An actor that is gone needs no report.
                let _ = report.send(result);
                if failed {
                    // How much was written is not known, so that nothing may follow it.
                    break;
                }
            }
        })?;
        Ok(Self { jobs })
    }

    /// Gives a job. The report says when it is on disk; it is dropped if the thread has ended.
    pub(crate) fn give(&self, job: Job) -> oneshot::Receiver<Result<Written, LogError>> {
        let (report, done) = oneshot::channel();
        if let Err(refused) = self.jobs.try_send((job, report)) {
            // Dropping the job drops its report, which is how the actor learns that the thread has ended.
            drop(refused);
        }
        done
    }
}

fn run(log: &mut dyn Log, job: Job) -> Result<Written, LogError> {
    let start = Instant::now();
    match job {
        Job::Append(records) => log.append(&records.iter().map(encode).collect::<Vec<_>>())?,
        Job::Rewrite(txs) => {
            let records = txs.into_iter().map(|tx| encode(&Record::Accepted { tx, gone: Vec::new() }));
            log.rewrite(&records.collect::<Vec<_>>())?;
        }
    }
    Ok(Written { bytes: log.bytes(), took: start.elapsed() })
}
