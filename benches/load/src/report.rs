//! The figures of a run, as a table or as JSON.

use crate::{args::Kind, ledger::Summary, verify::Findings};
use anyhow::{Context as _, Result};
use serde::Serialize;

/// One node under one load.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) target: String,
    pub(crate) client: String,
    pub(crate) kind: Kind,
    /// Transactions per second that were asked for; `None` in a closed loop.
    pub(crate) rate: Option<f64>,
    pub(crate) accounts: usize,
    pub(crate) connections: usize,
    pub(crate) batch: usize,
    /// Seconds that signing took, and on how many cores.
    pub(crate) signing_seconds: f64,
    pub(crate) cores: usize,
    #[serde(flatten)]
    pub(crate) summary: Summary,
    /// Blocks that hold transactions of the load.
    pub(crate) blocks: u64,
    /// Largest number of transactions of the load in one block.
    pub(crate) largest_block: u64,
    pub(crate) gas_per_second: f64,
    /// Resident memory in MiB, before and after.
    pub(crate) memory_mib: Option<(f64, f64)>,
    pub(crate) verified: Option<Findings>,
}

impl Report {
    /// Nothing was lost, nothing refused, nothing found wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.summary.included >= self.summary.accepted
            && self.summary.rejected.is_empty()
            && self.verified.as_ref().is_none_or(Findings::is_clean)
    }

    fn cells(&self) -> [String; 10] {
        let s = &self.summary;
        [
            self.target.clone(),
            s.transactions.to_string(),
            s.accepted.to_string(),
            s.included.to_string(),
            format!("{:.2}", s.seconds),
            format!("{:.0}", s.included_per_second),
            format!("{:.0}", s.receipt_ms.p50),
            format!("{:.0}", s.receipt_ms.p99),
            s.rejected.values().sum::<u64>().to_string(),
            self.memory_mib.map_or_else(|| "-".to_owned(), |(before, after)| format!("{before:.0} / {after:.0}")),
        ]
    }
}

const HEADINGS: [&str; 10] =
    ["target", "sent", "accepted", "included", "seconds", "tx/s", "p50 ms", "p99 ms", "rejected", "MiB before / after"];

/// The reports as a Markdown table, with what else there is to say below it.
pub(crate) fn table(reports: &[Report]) -> String {
    let rows: Vec<[String; 10]> =
        std::iter::once(HEADINGS.map(str::to_owned)).chain(reports.iter().map(Report::cells)).collect();
    let widths: Vec<usize> =
        (0..HEADINGS.len()).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or_default()).collect();
    let mut lines = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        lines.push(format!("| {} |", cells.join(" | ")));
        if number == 0 {
            let rules: Vec<String> = widths.iter().map(|width| format!("{}:", "-".repeat(width - 1))).collect();
            lines.push(format!("| {} |", rules.join(" | ")));
        }
    }
    lines.push(String::new());
    lines.push(
        "tx/s: included, from the first sent to the last seen in a block; ms: from sending until its block is seen."
            .into(),
    );
    for report in reports {
        let s = &report.summary;
        let name = &report.target;
        lines.push(format!(
            "{name}: {} blocks, at most {} in one, {:.1} Mgas/s; hash answered in {:.1} ms (p50), {:.1} ms (p99), at {:.0}/s",
            report.blocks,
            report.largest_block,
            report.gas_per_second / 1e6,
            s.answer_ms.p50,
            s.answer_ms.p99,
            s.accepted_per_second,
        ));
        for (message, count) in &s.rejected {
            lines.push(format!("{name}: {count} rejected: {message}"));
        }
        for (count, what) in [(s.dropped, "not sent after a rejection"), (s.resent, "sent again")] {
            if count > 0 {
                lines.push(format!("{name}: {count} {what}"));
            }
        }
        if let Some(f) = &report.verified {
            let verdict = if f.is_clean() { "verified" } else { "NOT as told" };
            lines.push(format!(
                "{name}: {verdict}: {} in one block each, {} lost, {} repeated, {} failed, {} blocks changed, {} accounts with wrong nonces",
                f.included_once, f.lost, f.repeated, f.failed, f.changed_blocks, f.nonce_errors
            ));
            lines.extend(f.examples.iter().map(|example| format!("  {example}")));
        }
    }
    lines.join("\n")
}

/// Prints the table, or writes JSON where it was asked for.
pub(crate) fn publish(reports: &[Report], ratio: Option<(String, f64)>, json: Option<&str>) -> Result<()> {
    let value = || {
        let ratio = ratio.as_ref().map(|(of, ratio)| serde_json::json!({ "of": of, "included_per_second": ratio }));
        serde_json::to_string_pretty(&serde_json::json!({ "runs": reports, "ratio": ratio }))
    };
    if json == Some("-") {
        println!("{}", value()?);
        return Ok(());
    }
    println!("{}", table(reports));
    if let Some((of, ratio)) = &ratio {
        println!("{of}: {ratio:.2}");
    }
    match json {
        Some(path) => std::fs::write(path, value()? + "\n").with_context(|| format!("cannot write {path}")),
        None => Ok(()),
    }
}

/// Resident memory of a process in MiB, where the system tells.
pub(crate) fn resident_mib(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory() {
        if cfg!(target_os = "linux") {
            assert!(resident_mib(std::process::id()).unwrap() > 1.0);
        }
        assert_eq!(resident_mib(u32::MAX), None);
    }
}
