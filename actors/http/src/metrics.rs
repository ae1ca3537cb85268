//! What the server counts of itself.

use metrics::{counter, gauge};

/// One answered request. Unknown paths share one label, since clients choose them.
pub(crate) fn request(path: &'static str, status: u16) {
    counter!("duskevm_http_requests_total", "path" => path, "status" => status.to_string()).increment(1);
}

/// Open connections.
pub(crate) fn connections(open: usize) {
    gauge!("duskevm_http_connections").set(open as f64);
}
