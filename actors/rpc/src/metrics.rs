//! Names of the metrics, in one place.

use duskevm_engine_api::{PayloadStatus, PayloadStatusEnum};
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use std::time::{SystemTime, UNIX_EPOCH};

const REQUESTS: &str = "duskevm_rpc_requests_total";
const SECONDS: &str = "duskevm_rpc_request_seconds";
const CONNECTIONS: &str = "duskevm_rpc_connections";
const REFUSED: &str = "duskevm_rpc_connections_refused_total";
const QUEUE: &str = "duskevm_rpc_queue_depth";
const SUBSCRIPTIONS: &str = "duskevm_rpc_subscriptions";
const UNSENT: &str = "duskevm_rpc_unsent_bytes";
const SLOW: &str = "duskevm_rpc_slow_subscribers_total";
const ENGINE_STATUSES: &str = "duskevm_engine_statuses_total";
const ENGINE_BUILT: &str = "duskevm_engine_payloads_built_total";
const ENGINE_JOBS: &str = "duskevm_engine_jobs";
const ENGINE_HEARD: &str = "duskevm_engine_heard_timestamp_seconds";
const ENGINE_UNAUTHORIZED: &str = "duskevm_engine_unauthorized_total";

/// Describes all metrics of this crate and sets those without labels to zero.
pub fn describe() {
    describe_counter!(
        REQUESTS,
        "JSON-RPC calls by server, method and result code (0 is success); unknown methods share one name"
    );
    describe_histogram!(SECONDS, Unit::Seconds, "Time from a parsed JSON-RPC call to its answer, by server and method");
    describe_gauge!(CONNECTIONS, "Open connections of the JSON-RPC server");
    describe_counter!(REFUSED, "Connections closed because too many were open");
    describe_gauge!(QUEUE, "Jobs that wait for a thread of the JSON-RPC server, by kind of work");
    describe_gauge!(SUBSCRIPTIONS, "Open subscriptions");
    describe_gauge!(UNSENT, Unit::Bytes, "Bytes of answers that clients have not taken yet");
    describe_counter!(SLOW, "Subscriptions ended because the client did not read");
    connections().set(0.0);
    connections_refused().absolute(0);
    subscriptions().set(0.0);
    unsent_bytes().set(0.0);
    slow_subscribers().absolute(0);
}

pub(crate) fn requests(server: &'static str, method: &'static str, code: i32) -> Counter {
    counter!(REQUESTS, "server" => server, "method" => method, "code" => code.to_string())
}

pub(crate) fn request_seconds(server: &'static str, method: &'static str) -> Histogram {
    histogram!(SECONDS, "server" => server, "method" => method)
}

pub(crate) fn connections() -> Gauge {
    gauge!(CONNECTIONS)
}

pub(crate) fn connections_refused() -> Counter {
    counter!(REFUSED)
}

pub(crate) fn queue_depth(queue: &'static str) -> Gauge {
    gauge!(QUEUE, "queue" => queue)
}

pub(crate) fn subscriptions() -> Gauge {
    gauge!(SUBSCRIPTIONS)
}

pub(crate) fn unsent_bytes() -> Gauge {
    gauge!(UNSENT)
}

pub(crate) fn slow_subscribers() -> Counter {
    counter!(SLOW)
}

/// Describes the metrics of the Engine API and sets those without labels to zero.
pub(crate) fn describe_engine() {
    describe_counter!(ENGINE_STATUSES, "Answers of the Engine API with a payload status, by method and status");
    describe_counter!(ENGINE_BUILT, "Blocks built for the Engine API: of forced transactions only, or with the pool's");
    describe_gauge!(ENGINE_JOBS, "Payloads that the Engine API keeps for engine_getPayload");
    describe_gauge!(ENGINE_HEARD, Unit::Seconds, "Unix time of the newest engine_ call; 0 before the first one");
    describe_counter!(ENGINE_UNAUTHORIZED, "Requests to the Engine API without a valid token");
    engine_jobs(0);
    gauge!(ENGINE_HEARD).set(0.0);
    counter!(ENGINE_UNAUTHORIZED).absolute(0);
}

pub(crate) fn engine_status(method: &'static str, status: &PayloadStatus) {
    let name = match status.status {
        PayloadStatusEnum::Valid => "VALID",
        PayloadStatusEnum::Invalid { .. } => "INVALID",
        PayloadStatusEnum::Syncing => "SYNCING",
        PayloadStatusEnum::Accepted => "ACCEPTED",
    };
    counter!(ENGINE_STATUSES, "method" => method, "status" => name).increment(1);
}

pub(crate) fn engine_built(with: &'static str) {
    counter!(ENGINE_BUILT, "with" => with).increment(1);
}

pub(crate) fn engine_jobs(count: usize) {
    gauge!(ENGINE_JOBS).set(count as f64);
}

pub(crate) fn engine_heard() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!(ENGINE_HEARD).set(now.as_secs_f64());
}

pub(crate) fn engine_unauthorized() {
    counter!(ENGINE_UNAUTHORIZED).increment(1);
}
