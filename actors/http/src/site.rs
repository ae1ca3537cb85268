//! What each path answers: a function from request to answer, without sockets.

use std::fmt::Write as _;

use futures::future::BoxFuture;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;

use crate::accept::{Form, choose};
use crate::metrics;

/// Whether the node does its work. Implemented by the node; asked on every `/readyz`, so it must answer within a second,
/// whatever hangs, and never block the thread.
pub trait Readiness: Send + Sync + 'static {
    /// The state now.
    fn ready(&self) -> BoxFuture<'static, ReadyReport>;
}

/// The answer of `/readyz`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReadyReport {
    /// Serving, and heads moving.
    pub ready: bool,
    /// Why not: each entry is the reason of the one before. Empty when ready.
    pub causes: Vec<String>,
    /// Facts that belong to the picture, such as the heads.
    #[serde(flatten)]
    pub details: serde_json::Map<String, serde_json::Value>,
}

impl ReadyReport {
    /// Everything is well.
    pub fn ready() -> Self {
        Self { ready: true, causes: Vec::new(), details: serde_json::Map::new() }
    }

    /// Not ready; the first cause is what one sees, each next one the reason of the one before.
    pub fn not_ready(causes: Vec<String>) -> Self {
        Self { ready: false, causes, details: serde_json::Map::new() }
    }

    fn text(&self) -> String {
        if self.ready {
            "ready\n".to_owned()
        } else if self.causes.is_empty() {
            "not ready\n".to_owned()
        } else {
            format!("not ready: {}\n", self.causes.join(" ← "))
        }
    }
}

/// What the server has to tell.
pub struct Site {
    /// Program and version, for the index.
    pub title: String,
    /// Renders all metrics in the Prometheus text format.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Whether the node does its work.
    pub readiness: Box<dyn Readiness>,
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("title", &self.title).finish_non_exhaustive()
    }
}

/// Path and meaning of what there is to see.
const PAGES: [(&str, &str); 3] = [
    ("/metrics", "metrics in the Prometheus text format"),
    ("/healthz", "200 while this server answers"),
    ("/readyz", "200 when the node serves and its heads move, else 503 with the chain of causes"),
];

/// Fixed by the Prometheus text exposition format 0.0.4.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

impl Site {
    /// The answer to a request. Bodies of requests are not read.
    pub(crate) async fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        let (label, status, content_type, body) = if *method != Method::GET && *method != Method::HEAD {
            ("other", StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD are answered here\n".to_owned())
        } else {
            match path {
                "/metrics" => ("/metrics", StatusCode::OK, PROMETHEUS, (self.metrics)()),
                "/healthz" => ("/healthz", StatusCode::OK, TEXT, "ok\n".to_owned()),
                "/readyz" => self.readyz(accept).await,
                "/" => self.index(accept),
                _ => ("other", StatusCode::NOT_FOUND, TEXT, "nothing here; / lists what there is\n".to_owned()),
            }
        };
        metrics::request(label, status.as_u16());
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }

    async fn readyz(&self, accept: Option<&str>) -> (&'static str, StatusCode, &'static str, String) {
        let report = self.readiness.ready().await;
        let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        match choose(accept, &[Form::Json, Form::Text]) {
            Some(Form::Text) => ("/readyz", status, TEXT, report.text()),
            // A report is a struct of strings and JSON values: it always has a JSON form.
            _ => ("/readyz", status, JSON, serde_json::to_string(&report).unwrap_or_default() + "\n"),
        }
    }

    fn index(&self, accept: Option<&str>) -> (&'static str, StatusCode, &'static str, String) {
        let mut body = String::new();
        if choose(accept, &[Form::Text, Form::Html]) == Some(Form::Html) {
            let _ =
                write!(body, "<!doctype html><meta charset=\"utf-8\"><title>{0}</title><h1>{0}</h1><ul>", self.title);
            for (path, meaning) in PAGES {
                let _ = write!(body, "<li><a href=\"{path}\">{path}</a>: {meaning}</li>");
            }
            body.push_str("</ul>\n");
            ("/", StatusCode::OK, HTML, body)
        } else {
            let _ = writeln!(body, "{}\n", self.title);
            for (path, meaning) in PAGES {
                let _ = writeln!(body, "{path:<10} {meaning}");
            }
            ("/", StatusCode::OK, TEXT, body)
        }
    }
}
