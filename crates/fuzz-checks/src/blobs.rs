//! The blob APIs and blobs with their proofs.

use std::sync::OnceLock;

use duskevm_blobs::api::beacon::BlockId;
use duskevm_blobs::api::dusk::{self, Form};
use duskevm_blobs::api::{MAX_LIST, Route, route as read_route};
use duskevm_blobs::{ENCODED, Hash, Sidecar, kzg};

use crate::samples;

/// A request of the blob API: method, path and query, with line feeds between them, then the types of its body and of what it
/// accepts.
pub fn route(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.split('\n');
    let (method, path, query) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
    let form = Form::of(parts.next(), parts.next());
    match read_route(method, path, query) {
        Ok(route) => {
            let listed = match &route {
                Route::Sidecars(_, Some(list)) => list.len(),
                Route::Blobs(_, Some(list)) => list.len(),
                _ => 0,
            };
            assert!(listed <= MAX_LIST);
            assert!(!route.label().is_empty());
            assert!(matches!(route, Route::Dusk(_)) == (method == "POST"));
        }
        Err(answer) => {
            assert!(matches!(answer.status, 400 | 404 | 405 | 501), "{}", answer.status);
            assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok());
        }
    }
    // Of a hundredth of the requests, because an answer is large.
    if data.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) < 3 {
        let (_, sidecar) = good();
        let answer = dusk::blob(sidecar, form);
        match form {
            Form::Binary => assert_eq!(Sidecar::decode(&answer.body).as_ref(), Ok(sidecar)),
            Form::Hex => assert_eq!(answer.body.len(), 2 * ENCODED),
            Form::Json => assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok()),
        }
    }
}

/// Which block a client of the beacon API names.
pub fn block_id(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(id) = text.parse::<BlockId>() else { return };
    match id {
        BlockId::Head => assert_eq!(text, "head"),
        BlockId::Finalized => assert!(matches!(text, "finalized" | "justified")),
        BlockId::Genesis => assert_eq!(text, "genesis"),
        BlockId::Slot(slot) => assert_eq!(slot.to_string().parse(), Ok(id)),
        BlockId::Root(root) => {
            let hex: String = root.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(text.to_lowercase(), format!("0x{hex}"));
        }
    }
}

pub(crate) fn good() -> &'static (Hash, Sidecar) {
    static GOOD: OnceLock<(Hash, Sidecar)> = OnceLock::new();
    GOOD.get_or_init(|| {
        let made = kzg::commit_and_prove(&samples::blob(7)).expect("the sample is a blob");
        (*made.hash(), made.sidecar().clone())
    })
}

/// Bytes of a sidecar; those that are too short say where a good one is bent: three bytes of place, one to be added.
pub fn sidecar(data: &[u8]) {
    if let Ok(sidecar) = Sidecar::decode(data) {
        assert_eq!(sidecar.encode(), data, "a sidecar has one form");
        let _ = kzg::verify(&sidecar.hash(), sidecar);
        return;
    }
    let (hash, sidecar) = good();
    let mut bytes = sidecar.encode();
    for bend in data.chunks_exact(4).take(32) {
        let at = u32::from_le_bytes([bend[0], bend[1], bend[2], 0]) as usize;
        // Half of the places are in the points, which a random place would hardly ever meet.
        let at = if bend[2] & 0x80 == 0 { at % 96 } else { at % ENCODED };
        bytes[at] = bytes[at].wrapping_add(bend[3]);
    }
    let same = bytes == sidecar.encode();
    let bent = Sidecar::decode(&bytes).expect("its length is right");
    // With the hash of the good one, and with that of its own commitment.
    for hash in [*hash, bent.hash()] {
        assert_eq!(kzg::verify(&hash, bent.clone()).is_ok(), same, "only the good one verifies");
    }
}
