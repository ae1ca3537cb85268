//! The blob routes of a Dusk node (dusk-rusk 1.7, `http/chain.rs` `blobs`, `http/rues/event.rs`).
//!
//! POST `/on/blobs:<versioned hash>/hash` and `/on/blobs:<commitment>/commitment`, hexadecimal without `0x`; bodies mean
//! nothing. The answer is commitment, proof and data, in one of three forms. Unlike there, a commitment of another length
//! than 48 bytes is refused (400) instead of being looked up (404).

use super::{Answer, JSON, Route, push_hex};
use crate::{ENCODED, Hash, Sidecar, versioned_hash};

/// The forms of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Hexadecimal text.
    Hex,
    /// The bytes.
    Binary,
    /// An object of hexadecimal texts.
    Json,
}

const BINARY: &str = "application/octet-stream";

impl Form {
    /// Which form a client wants: by the type of its own body, or by what it accepts.
    pub fn of(content_type: Option<&str>, accept: Option<&str>) -> Self {
        if content_type.is_some_and(|kind| kind.eq_ignore_ascii_case(JSON)) {
            Self::Json
        } else if content_type == Some(BINARY) || accept.is_some_and(|kind| kind.eq_ignore_ascii_case(BINARY)) {
            Self::Binary
        } else {
            Self::Hex
        }
    }
}

/// What follows `/on/`.
pub(super) fn route(method: &str, rest: &str) -> Result<Route, Answer> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let Some((entity, topic)) = rest.strip_prefix("blobs:").and_then(|rest| rest.split_once('/')) else {
        return Err(Answer::refuse_dusk(404, "nothing here"));
    };
    if method != "POST" {
        return Err(Answer { allow: Some("POST"), ..Answer::refuse_dusk(405, "only POST is answered here") });
    }
    let bytes =
        |what| hex::decode(entity).map_err(|_| Answer::refuse_dusk(400, &format!("the {what} is not hexadecimal")));
    let length = |what: &str| Answer::refuse_dusk(400, &format!("the {what} has another length"));
    match topic {
        "hash" => bytes("hash")?.try_into().map(Route::Dusk).map_err(|_| length("hash")),
        "commitment" => match <[u8; 48]>::try_from(bytes("commitment")?) {
            Ok(commitment) => Ok(Route::Dusk(versioned_hash(&commitment))),
            Err(_) => Err(length("commitment")),
        },
        _ => Err(Answer::refuse_dusk(501, "blobs are found by `hash` and by `commitment`")),
    }
}

/// The blob.
pub fn blob(sidecar: &Sidecar, form: Form) -> Answer {
    match form {
        Form::Binary => Answer::ok(BINARY, sidecar.encode()),
        Form::Hex => {
            let mut body = Vec::with_capacity(2 * ENCODED);
            parts(sidecar).iter().for_each(|(_, part)| push_hex(&mut body, part));
            Answer::ok("text/plain; charset=utf-8", body)
        }
        Form::Json => {
            let mut body = Vec::with_capacity(2 * ENCODED + 64);
            for (number, (name, part)) in parts(sidecar).iter().enumerate() {
                let open = if number == 0 { '{' } else { ',' };
                body.extend_from_slice(format!(r#"{open}"{name}":""#).as_bytes());
                push_hex(&mut body, part);
                body.push(b'"');
            }
            body.push(b'}');
            Answer::ok(JSON, body)
        }
    }
}

fn parts(sidecar: &Sidecar) -> [(&'static str, &[u8]); 3] {
    [("commitment", &sidecar.commitment), ("proof", &sidecar.proof), ("data", &sidecar.data[..])]
}

/// The blob is not there.
pub fn no_blob(hash: &Hash) -> Answer {
    Answer::refuse_dusk(404, &format!("no blob here has the versioned hash {}", hex::encode(hash)))
}

/// A block has the blob, and this node has not found it yet. A Dusk node answers as if nobody had it.
pub fn awaited_blob(hash: &Hash) -> Answer {
    let hash = hex::encode(hash);
    Answer::refuse_dusk(503, &format!("the blob with the versioned hash {hash} is being fetched from peers: ask again"))
}
