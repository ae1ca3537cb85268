//! The blob APIs as functions from request to answer, without sockets.
//!
//! | route | answers |
//! |---|---|
//! | GET `/eth/v1/beacon/genesis`, `/eth/v1/config/spec`, `/eth/v1/node/version` | what a client asks once ([`beacon`]) |
//! | GET `/eth/v1/beacon/headers/{block}` | a block's place and roots |
//! | GET `/eth/v1/beacon/blob_sidecars/{block}?indices=` | blobs with commitments and proofs |
//! | GET `/eth/v1/beacon/blobs/{block}?versioned_hashes=` | blobs alone |
//! | POST `/on/blobs:<hash>/hash`, `/on/blobs:<commitment>/commitment` | one blob, as a Dusk node answers ([`dusk`]) |
//!
//! [`route`] reads the request line, the server fetches what the [`Route`] names, and the functions of [`beacon`] and [`dusk`]
//! give the bytes. HEAD is GET without a body. Lists in a query may be comma-separated, repeated, or both.

pub mod beacon;
pub mod dusk;

use serde_json::{Value, json};

use crate::Hash;

/// Most entries that a list in a query may have.
pub const MAX_LIST: usize = 128;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// When the network began.
    Genesis,
    /// The settings of the network.
    Spec,
    /// The program and its version.
    Version,
    /// The header of a block.
    Header(beacon::BlockId),
    /// Blobs of a block with commitments and proofs; all, or those with these indices.
    Sidecars(beacon::BlockId, Option<Vec<u64>>),
    /// Blobs of a block; all, or those with these versioned hashes.
    Blobs(beacon::BlockId, Option<Vec<Hash>>),
    /// One blob by its versioned hash, in the form of a Dusk node. A commitment was turned into its hash.
    Dusk(Hash),
}

impl Route {
    /// A short name for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Genesis => "genesis",
            Self::Spec => "spec",
            Self::Version => "version",
            Self::Header(_) => "headers",
            Self::Sidecars(..) => "blob_sidecars",
            Self::Blobs(..) => "blobs",
            Self::Dusk(_) => "dusk",
        }
    }
}

/// An answer: status, headers that differ, body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Allow`, with status 405.
    pub allow: Option<&'static str>,
    /// The body.
    pub body: Vec<u8>,
}

const JSON: &str = "application/json";

impl Answer {
    fn json(value: &Value) -> Self {
        Self::ok(JSON, value.to_string().into_bytes())
    }

    const fn ok(content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status: 200, content_type, allow: None, body }
    }

    /// A refusal in the form of the beacon API.
    pub fn refuse(status: u16, message: &str) -> Self {
        Self { status, ..Self::json(&json!({ "code": status, "message": message })) }
    }

    /// A refusal in the form of a Dusk node.
    pub fn refuse_dusk(status: u16, message: &str) -> Self {
        Self { status, ..Self::json(&json!({ "error": message })) }
    }
}

/// What a request line asks for.
///
/// # Errors
/// The answer that says what is wrong with it: 400, 404, 405 or 501.
pub fn route(method: &str, path: &str, query: Option<&str>) -> Result<Route, Answer> {
    let bad_escape = || Answer::refuse(400, "a % in the address is not followed by two hexadecimal digits");
    let path = unescape(path).ok_or_else(bad_escape)?;
    if let Some(rest) = path.strip_prefix("/on/") {
        return dusk::route(method, rest);
    }
    let fixed = |path: &str| match path {
        "/eth/v1/beacon/genesis" => Some(Route::Genesis),
        "/eth/v1/config/spec" => Some(Route::Spec),
        "/eth/v1/node/version" => Some(Route::Version),
        _ => None,
    };
    let (kind, id) = match (fixed(&path), path.strip_prefix("/eth/v1/beacon/").and_then(|rest| rest.split_once('/'))) {
        (Some(route), _) => return check_get(method).map(|()| route),
        (None, Some((kind @ ("headers" | "blob_sidecars" | "blobs"), id))) => (kind, id),
        _ => return Err(Answer::refuse(404, "nothing here")),
    };
    check_get(method)?;
    let id = id.parse().map_err(|error: beacon::BadBlockId| Answer::refuse(400, &error.to_string()))?;
    match kind {
        "headers" => Ok(Route::Header(id)),
        "blob_sidecars" => {
            let index = |text: &str| text.parse().ok();
            Ok(Route::Sidecars(id, list(query, "indices", "a number", index)?))
        }
        _ => Ok(Route::Blobs(id, list(query, "versioned_hashes", "0x and 64 hexadecimal digits", prefixed)?)),
    }
}

fn check_get(method: &str) -> Result<(), Answer> {
    if matches!(method, "GET" | "HEAD") {
        return Ok(());
    }
    Err(Answer { allow: Some("GET, HEAD"), ..Answer::refuse(405, "only GET and HEAD are answered here") })
}

/// All values of a parameter; `None` if it does not occur. Other parameters are ignored.
fn list<T>(
    query: Option<&str>,
    name: &str,
    form: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<Vec<T>>, Answer> {
    let mut found = None;
    for pair in query.unwrap_or_default().split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key != name {
            continue;
        }
        let value = unescape(value).unwrap_or_default();
        let values: &mut Vec<T> = found.get_or_insert_default();
        for entry in value.split(',') {
            let entry = parse(entry).ok_or_else(|| Answer::refuse(400, &format!("each of `{name}` must be {form}")))?;
            if values.len() == MAX_LIST {
                return Err(Answer::refuse(400, &format!("at most {MAX_LIST} of `{name}` at one time")));
            }
            values.push(entry);
        }
    }
    Ok(found)
}

fn prefixed(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    hex::decode_to_slice(text.strip_prefix("0x")?, &mut hash).ok()?;
    Some(hash)
}

/// Resolves `%41` (RFC 3986, 2.1). `None` if that is malformed or not text.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let mut byte = [0];
            hex::decode_to_slice(after.get(..2)?, &mut byte).ok()?;
            bytes.push(byte[0]);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Appends bytes as hexadecimal digits.
fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + 2 * bytes.len(), 0);
    // The room is exactly what it needs.
    let _ = hex::encode_to_slice(bytes, &mut out[start..]);
}
