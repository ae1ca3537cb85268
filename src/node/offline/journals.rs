//! Whether the journals of a data folder can be read.

use std::path::Path;

use duskevm_store::journal::{self, JournalError};

use crate::cli::DbReport;

/// Journals of the node itself.
const OF_NODE: [&str; 5] = ["txpool", "sequencer", "batcher", "carrier", "answered"];
/// Of each of its provisioners.
const OF_PROVISIONER: &str = "votes";

/// Reads the journals of the node.
pub(super) fn check(data: &Path, report: &mut DbReport) {
    for name in OF_NODE {
        check_one(&data.join(name), name, report);
    }
}

/// Reads the journal of a provisioner's votes.
pub(super) fn check_votes(folder: &Path, of: &str, report: &mut DbReport) {
    check_one(&folder.join(OF_PROVISIONER), &format!("{OF_PROVISIONER}{of}"), report);
}

fn check_one(directory: &Path, name: &str, report: &mut DbReport) {
    if !directory.is_dir() {
        return;
    }
    match journal::inspect(directory) {
        Ok(None) => {}
        Ok(Some(found)) => {
            let torn = match found.torn_bytes {
                0 => String::new(),
                bytes => format!(", and {bytes} bytes of a write that never returned"),
            };
            report.facts.push((format!("journal {name}"), format!("{} records{torn}", found.records)));
        }
        Err(error @ (JournalError::Damaged { .. } | JournalError::Io { .. })) => {
            report.problems.push(error.to_string());
        }
        Err(error) => report.problems.push(format!("journal {name}: {error}")),
    }
}
