//! A disk that fails under the actor. In a test binary of its own: failpoints belong to the process.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod common;

use std::time::Duration;

use common::*;
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn production_survives_failing_writes() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::ZERO);
    let shift = Shift::default();
    let bed = Bed::start(settings(&genesis, shift.clock()), open_store(&dir, &genesis));
    bed.height(1).await;
    for point in ["store-db-commit", "store-db-process", "store-db-flush", "store-db-enact", "store-db-clean"] {
        let restarts = bed.supervisor.actors()[0].restarts;
        fail::cfg(point, "1*return(disk full)->off").unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while bed.supervisor.actors()[0].restarts == restarts {
            assert!(tokio::time::Instant::now() < deadline, "{point} hurt nobody");
            shift.by(1_000);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        fail::remove(point);
        let at = bed.tip.borrow().unwrap().height;
        shift.by(1_000);
        bed.height(at + 1).await;
        bed.check_announced();
    }
    bed.supervisor.shutdown(PATIENCE).await;
}
