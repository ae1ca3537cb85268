//! The Prometheus recorder of the process, the metrics that no single actor owns, and the text that `/metrics` serves.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// How often samples of histograms are folded into their buckets; until then they take memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// Bucket bounds of everything measured in seconds: 10 µs, where a message is handled, to 60 s, where something hangs.
const SECONDS: [f64; 18] = [
    0.000_01, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0, 60.0,
];

/// The recorder could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// Another recorder is in place, or the buckets were refused.
    #[error("cannot install the metrics recorder: {0}")]
    Recorder(#[from] metrics_exporter_prometheus::BuildError),
    /// The upkeep thread did not start.
    #[error("cannot start the thread that keeps the metrics: {0}")]
    Thread(#[from] std::io::Error),
}

/// The metrics of the process. Dropping it ends their upkeep.
#[derive(Debug)]
pub struct Metrics {
    render: Render,
    stop: Option<Sender<()>>,
    upkeep: Option<JoinHandle<()>>,
}

/// Renders the metrics; cheap to clone, to be handed to the HTTP actor.
#[derive(Clone)]
pub struct Render {
    handle: PrometheusHandle,
    started: Instant,
}

impl std::fmt::Debug for Render {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Render").field("started", &self.started).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Installs the recorder of the process, describes the metrics and sets those without samples to zero.
    ///
    /// # Errors
    /// If a recorder is installed already or a thread cannot be started.
    pub fn install() -> Result<Self, MetricsError> {
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
            .install_recorder()?;
        describe();
        build_info();
        let (stop, stopped) = channel::<()>();
        let kept = handle.clone();
        let upkeep = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            while stopped.recv_timeout(UPKEEP) == Err(RecvTimeoutError::Timeout) {
                kept.run_upkeep();
            }
        })?;
        Ok(Self { render: Render { handle, started: Instant::now() }, stop: Some(stop), upkeep: Some(upkeep) })
    }

    /// What serves `/metrics`.
    pub fn render(&self) -> Render {
        self.render.clone()
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        // The thread waits on this channel and ends when it closes.
        drop(self.stop.take());
        if let Some(upkeep) = self.upkeep.take() {
            let _ = upkeep.join();
        }
    }
}

impl Render {
    /// All metrics in the Prometheus text format, the process's own ones measured now.
    pub fn text(&self) -> String {
        gauge!("duskevm_uptime_seconds").set(self.started.elapsed().as_secs_f64());
        process::measure();
        self.handle.render()
    }
}

fn build_info() {
    gauge!(
        "duskevm_build_info",
        "version" => env!("CARGO_PKG_VERSION"),
        "profile" => if cfg!(debug_assertions) { "debug" } else { "release" },
        "target" => std::env::consts::ARCH,
    )
    .set(1.0);
    if let Ok(since) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        gauge!("process_start_time_seconds").set(since.as_secs_f64());
    }
}

/// The names that dashboards rely on, so that they exist whichever actors run. What is special to one actor it describes
/// itself.
fn describe() {
    describe_gauge!("duskevm_build_info", "Always 1; the labels say what is running");
    describe_gauge!("duskevm_uptime_seconds", Unit::Seconds, "Time since the process started");
    describe_gauge!("duskevm_actor_up", "1 while the actor handles messages");
    describe_counter!("duskevm_actor_restarts_total", "Restarts of an actor by the cause of its death");
    describe_gauge!("duskevm_actor_mailbox_depth", "Messages waiting in an actor's mailbox");
    describe_histogram!("duskevm_actor_handle_seconds", Unit::Seconds, "Time an actor took to handle a message");
    describe_gauge!(
        "duskevm_head",
        "Block number of a head (layer l1: latest, safe, finalized; layer l2: unsafe, safe, finalized, durable)"
    );
    describe_histogram!("duskevm_block_seconds", Unit::Seconds, "Time a phase of making or importing a block took");
    describe_counter!("duskevm_gas_total", Unit::Count, "Gas used by L2 blocks that became the head");
    describe_gauge!("duskevm_txpool_transactions", "Transactions in the pool by state (pending, queued)");
    describe_counter!(
        "duskevm_rpc_requests_total",
        "JSON-RPC requests by server, method and result code (0 is success)"
    );
    describe_histogram!("duskevm_rpc_request_seconds", Unit::Seconds, "Time a JSON-RPC request took");
    describe_counter!("duskevm_http_requests_total", "HTTP requests for metrics and health by path and status");
    describe_gauge!("duskevm_http_connections", "Open HTTP connections for metrics and health");
    describe_gauge!("process_resident_memory_bytes", Unit::Bytes, "Resident memory");
    describe_gauge!("process_virtual_memory_bytes", Unit::Bytes, "Virtual memory");
    describe_gauge!("process_threads", "Threads");
    describe_gauge!("process_cpu_seconds_total", Unit::Seconds, "Processor time used");
    describe_gauge!("process_open_fds", "Open file descriptors");
    describe_gauge!("process_max_fds", "File descriptors that may be open");
    describe_gauge!("process_start_time_seconds", Unit::Seconds, "When the process started, in Unix time");

    for (layer, kinds) in
        [("l1", &["latest", "safe", "finalized"][..]), ("l2", &["unsafe", "safe", "finalized", "durable"])]
    {
        for kind in kinds {
            gauge!("duskevm_head", "layer" => layer, "kind" => *kind).set(0.0);
        }
    }
    for state in ["pending", "queued"] {
        gauge!("duskevm_txpool_transactions", "state" => state).set(0.0);
    }
    counter!("duskevm_gas_total").absolute(0);
}

/// Figures of this process, under the names that every Prometheus client library uses. Read from `/proc`; elsewhere
/// there are none.
mod process {
    use super::gauge;

    /// Linux counts processor time for user space in hundredths of a second on all architectures that Rust programs run on.
    const TICKS_PER_SECOND: f64 = 100.0;

    pub(super) fn measure() {
        if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
            for (field, name) in
                [("VmRSS:", "process_resident_memory_bytes"), ("VmSize:", "process_virtual_memory_bytes")]
            {
                if let Some(kilobytes) = status_field(&status, field) {
                    gauge!(name).set((kilobytes * 1024) as f64);
                }
            }
            if let Some(threads) = status_field(&status, "Threads:") {
                gauge!("process_threads").set(threads as f64);
            }
        }
        if let Some(ticks) = std::fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_ticks) {
            // A gauge, although it only grows: this recorder's counters hold whole numbers, and a scrape interval is short.
            gauge!("process_cpu_seconds_total").set(ticks as f64 / TICKS_PER_SECOND);
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            // Reading the folder opens one itself.
            gauge!("process_open_fds").set(entries.count().saturating_sub(1) as f64);
        }
        if let Some(limit) = std::fs::read_to_string("/proc/self/limits").ok().as_deref().and_then(open_files_limit) {
            gauge!("process_max_fds").set(limit as f64);
        }
    }

    /// The number behind a field's name in `/proc/self/status`.
    fn status_field(status: &str, field: &str) -> Option<u64> {
        status.lines().find_map(|line| line.strip_prefix(field))?.split_whitespace().next()?.parse().ok()
    }

    /// User and system time. The program's name stands in parentheses and may hold spaces and parentheses itself.
    fn cpu_ticks(stat: &str) -> Option<u64> {
        let (_, after_name) = stat.rsplit_once(')')?;
        // The field after the name is the third of proc(5); utime and stime are the 14th and 15th.
        let mut fields = after_name.split_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some(user + system)
    }

    fn open_files_limit(limits: &str) -> Option<u64> {
        limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn reads_the_formats_of_proc() {
            let status = "Name:\tduskevm\nVmSize:\t  2048 kB\nVmRSS:\t    1024 kB\nThreads:\t7\n";
            assert_eq!(status_field(status, "VmRSS:"), Some(1024));
            assert_eq!(status_field(status, "Threads:"), Some(7));
            assert_eq!(status_field(status, "VmSwap:"), None);
            let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100 1 2 3";
            assert_eq!(cpu_ticks(stat), Some(300));
            assert_eq!(cpu_ticks("42 (cut off"), None);
            let limits =
                "Limit  Soft  Hard  Units\nMax open files            1024                 524288               files\n";
            assert_eq!(open_files_limit(limits), Some(1024));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, because a process has one recorder.
    #[test]
    fn described_zeroed_and_measured() {
        let metrics = Metrics::install().expect("no other recorder in this test process");
        metrics::histogram!("duskevm_block_seconds", "phase" => "execute").record(0.003);
        let text = metrics.render().text();
        for line in [
            "duskevm_head{layer=\"l2\",kind=\"unsafe\"} 0",
            "duskevm_txpool_transactions{state=\"queued\"} 0",
            "# TYPE duskevm_block_seconds histogram",
            "duskevm_block_seconds_bucket{phase=\"execute\",le=\"0.005\"} 1",
            "duskevm_block_seconds_bucket{phase=\"execute\",le=\"0.0025\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
        assert!(text.contains("# HELP duskevm_gas_total"), "{text}");
        if cfg!(target_os = "linux") {
            let memory = text
                .lines()
                .find_map(|line| line.strip_prefix("process_resident_memory_bytes "))
                .and_then(|number| number.parse::<f64>().ok());
            assert!(memory.is_some_and(|bytes| bytes > 1e6), "{text}");
            assert!(text.contains("process_open_fds "), "{text}");
        }
        assert!(Metrics::install().is_err(), "a second recorder would lose what the first one counted");
    }
}
