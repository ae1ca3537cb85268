//! What requests ask for and what answers say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use dusk_core::transfer::data::BlobSidecar;
use duskevm_blobs::api::beacon::{self, Block, BlockId, Network};
use duskevm_blobs::api::{Answer, MAX_LIST, Route, dusk, route};
use duskevm_blobs::{BYTES, ENCODED, Hash, Sidecar, versioned_hash};
use proptest::prelude::*;
use serde_json::{Value, json};

const ROOT: &str = "0x0909090909090909090909090909090909090909090909090909090909090909";

fn network() -> Network {
    Network { genesis_time: 1_700_000_000, identity: [5; 32], chain_id: 250, version: "duskevm/1.2.3".to_owned() }
}

fn sidecar(seed: u8) -> Sidecar {
    Sidecar::new([seed; 48], [seed + 1; 48], &vec![seed + 2; BYTES]).unwrap()
}

fn block(blobs: Vec<Hash>) -> Block {
    Block {
        timestamp: 1_700_000_012,
        root: [9; 32],
        parent_root: [8; 32],
        state_root: [7; 32],
        body_root: [6; 32],
        signature: [5; 48],
        is_final: true,
        blobs,
    }
}

fn body(answer: &Answer) -> Value {
    assert_eq!(answer.content_type, "application/json");
    serde_json::from_slice(&answer.body).unwrap()
}

fn get(address: &str) -> Result<Route, Answer> {
    let (path, query) = address.split_once('?').map_or((address, None), |(path, query)| (path, Some(query)));
    route("GET", path, query)
}

fn status(answer: Result<Route, Answer>) -> u16 {
    answer.unwrap_err().status
}

#[test]
fn every_route_is_found() {
    assert_eq!(get("/eth/v1/beacon/genesis"), Ok(Route::Genesis));
    assert_eq!(get("/eth/v1/config/spec?x=1"), Ok(Route::Spec));
    assert_eq!(get("/eth/v1/node/version"), Ok(Route::Version));
    for (text, id) in [
        ("head", BlockId::Head),
        ("finalized", BlockId::Finalized),
        ("justified", BlockId::Finalized),
        ("genesis", BlockId::Genesis),
        ("0", BlockId::Slot(0)),
        ("18446744073709551615", BlockId::Slot(u64::MAX)),
        (ROOT, BlockId::Root([9; 32])),
    ] {
        assert_eq!(get(&format!("/eth/v1/beacon/headers/{text}")), Ok(Route::Header(id)));
        assert_eq!(get(&format!("/eth/v1/beacon/blob_sidecars/{text}")), Ok(Route::Sidecars(id, None)));
        assert_eq!(get(&format!("/eth/v1/beacon/blobs/{text}")), Ok(Route::Blobs(id, None)));
    }
    assert_eq!(route("HEAD", "/eth/v1/beacon/blobs/head", None), Ok(Route::Blobs(BlockId::Head, None)));
}

#[test]
fn lists_come_in_all_their_forms() {
    let sidecars = |query: &str| get(&format!("/eth/v1/beacon/blob_sidecars/7?{query}"));
    let expected = |list: &[u64]| Ok(Route::Sidecars(BlockId::Slot(7), Some(list.to_vec())));
    assert_eq!(sidecars("indices=0"), expected(&[0]));
    assert_eq!(sidecars("indices=0,2,1"), expected(&[0, 2, 1]));
    assert_eq!(sidecars("indices=0%2C2"), expected(&[0, 2]));
    assert_eq!(sidecars("indices=0&other=9&indices=2,5"), expected(&[0, 2, 5]));
    for bad in
        ["indices=", "indices", "indices=x", "indices=-1", "indices=1,,2", "indices=%2", "indices=18446744073709551616"]
    {
        assert_eq!(status(sidecars(bad)), 400, "{bad}");
    }
    let hashes = |query: &str| get(&format!("/eth/v1/beacon/blobs/7?{query}"));
    let expected = Ok(Route::Blobs(BlockId::Slot(7), Some(vec![[9; 32], [9; 32]])));
    assert_eq!(hashes(&format!("versioned_hashes={ROOT},{ROOT}")), expected);
    assert_eq!(hashes(&format!("versioned_hashes={ROOT}&versioned_hashes={ROOT}")), expected);
    for bad in [&ROOT[2..], &ROOT[..64], &format!("{ROOT}00"), "0xzz"] {
        assert_eq!(status(hashes(&format!("versioned_hashes={bad}"))), 400, "{bad}");
    }
    let many = |count: usize| sidecars(&format!("indices={}", vec!["1"; count].join(",")));
    assert!(many(MAX_LIST).is_ok());
    assert_eq!(status(many(MAX_LIST + 1)), 400);
}

#[test]
fn unknown_routes_blocks_and_methods_are_refused() {
    for path in [
        "/",
        "",
        "/eth",
        "/eth/v1/beacon/",
        "/eth/v1/beacon/blobs",
        "/eth/v2/beacon/blobs/head",
        "/eth/v1/beacon/states/head",
    ] {
        assert_eq!(status(get(path)), 404, "{path}");
    }
    for id in ["", "latest", "-1", "+1", "0x09", "18446744073709551616", "head/x", "%"] {
        assert_eq!(status(get(&format!("/eth/v1/beacon/headers/{id}"))), 400, "{id}");
    }
    for method in ["POST", "PUT", "DELETE", "get", "OPTIONS"] {
        let refusal = route(method, "/eth/v1/beacon/genesis", None).unwrap_err();
        assert_eq!((refusal.status, refusal.allow), (405, Some("GET, HEAD")));
        assert_eq!(body(&refusal)["code"], 405);
        assert_eq!(status(route(method, "/eth/v1/beacon/blobs/head", None)), 405);
        assert_eq!(status(route(method, "/nothing", None)), 404, "an unknown route has no methods");
    }
}

#[test]
fn what_a_client_asks_once() {
    let genesis = body(&beacon::genesis(&network()));
    assert_eq!(genesis["data"]["genesis_time"], "1700000000");
    assert_eq!(genesis["data"]["genesis_validators_root"], format!("0x{}", "05".repeat(32)));
    let spec = body(&beacon::spec(&network()));
    assert_eq!(spec["data"]["SECONDS_PER_SLOT"], "1");
    assert_eq!(spec["data"]["DEPOSIT_CHAIN_ID"], "250");
    assert_eq!(body(&beacon::version(&network())), json!({ "data": { "version": "duskevm/1.2.3" } }));
}

#[test]
fn slots_are_seconds_since_genesis() {
    let network = network();
    assert_eq!(network.slot(1_700_000_012), 12);
    assert_eq!(network.timestamp(12), Some(1_700_000_012));
    assert_eq!(network.timestamp(u64::MAX), None);
    assert_eq!(network.slot(5), 0);
}

#[test]
fn a_header_says_where_the_block_stands() {
    let header = body(&beacon::header(&network(), &block(Vec::new())));
    assert_eq!(header["finalized"], true);
    assert_eq!(header["data"]["root"], ROOT);
    let message = &header["data"]["header"]["message"];
    assert_eq!(message["slot"], "12");
    assert_eq!(message["parent_root"], format!("0x{}", "08".repeat(32)));
    assert_eq!(message["state_root"], format!("0x{}", "07".repeat(32)));
    assert_eq!(message["body_root"], format!("0x{}", "06".repeat(32)));
    let signature = format!("0x{}{}", "05".repeat(48), "00".repeat(48));
    assert_eq!(header["data"]["header"]["signature"], signature);
}

#[test]
fn sidecars_keep_their_places_in_the_block() {
    let block = block(vec![[1; 32], [2; 32], [3; 32]]);
    assert_eq!(beacon::with_indices(&block, &[2, 0, 9, 2]), [0, 2]);
    assert_eq!(beacon::with_indices(&block, &[]), [0; 0]);
    let answer = body(&beacon::sidecars(&network(), &block, &[(0, sidecar(1)), (2, sidecar(3))]));
    assert_eq!(answer["finalized"], true);
    let data = answer["data"].as_array().unwrap();
    assert_eq!(data.len(), 2);
    assert_eq!(data[0]["index"], "0");
    assert_eq!(data[1]["index"], "2");
    assert_eq!(data[1]["blob"], format!("0x{}", "05".repeat(BYTES)));
    assert_eq!(data[1]["kzg_commitment"], format!("0x{}", "03".repeat(48)));
    assert_eq!(data[1]["kzg_proof"], format!("0x{}", "04".repeat(48)));
    assert_eq!(data[1]["signed_block_header"]["message"]["slot"], "12");
    assert_eq!(data[1]["kzg_commitment_inclusion_proof"], json!([]));
    let none = body(&beacon::sidecars(&network(), &block, &[]));
    assert_eq!(none["data"], json!([]));
}

#[test]
fn blobs_come_in_the_order_of_the_block() {
    let block = block(vec![[1; 32], [2; 32], [1; 32], [3; 32]]);
    assert_eq!(beacon::with_hashes(&block, &[[3; 32], [1; 32], [4; 32]]), [0, 3], "once, since asked for once");
    assert_eq!(beacon::with_hashes(&block, &[[1; 32]; 5]), [0, 2]);
    let answer = body(&beacon::blobs(&block, &[sidecar(1), sidecar(2)]));
    let expected = json!([format!("0x{}", "03".repeat(BYTES)), format!("0x{}", "04".repeat(BYTES))]);
    assert_eq!(answer, json!({ "execution_optimistic": false, "finalized": true, "data": expected }));
    assert_eq!(beacon::no_blob(&[1; 32]).status, 404);
    assert_eq!(beacon::awaited_blob(&[1; 32]).status, 503);
    assert_eq!(beacon::no_block().status, 404);
}

#[test]
fn without_a_filter_as_many_are_given_as_fit() {
    let block = block(vec![[1; 32], [1; 32], [2; 32], [1; 32], [3; 32], [2; 32]]);
    let cases: [(usize, &[usize]); 6] = [
        (7, &[0, 1, 2, 3, 4, 5]),
        (6, &[0, 1, 2, 3, 4, 5]),
        // From here on without repeats.
        (5, &[0, 2, 4]),
        (3, &[0, 2, 4]),
        (2, &[0, 2]),
        (0, &[]),
    ];
    for (most, expected) in cases {
        assert_eq!(beacon::without_filter(&block, most), expected, "{most}");
    }
}

#[test]
fn dusk_routes_take_hash_and_commitment() {
    let commitment = [3; 48];
    let hash = versioned_hash(&commitment);
    let post = |path: &str| route("POST", path, None);
    let by_hash = format!("/on/blobs:{}/hash", hex::encode(hash));
    assert_eq!(post(&by_hash), Ok(Route::Dusk(hash)));
    assert_eq!(post(&format!("{by_hash}/")), Ok(Route::Dusk(hash)));
    assert_eq!(post(&by_hash.replace(':', "%3A")), Ok(Route::Dusk(hash)));
    assert_eq!(post(&format!("/on/blobs:{}/hash", hex::encode_upper(hash))), Ok(Route::Dusk(hash)));
    assert_eq!(post(&format!("/on/blobs:{}/commitment", hex::encode(commitment))), Ok(Route::Dusk(hash)));
    for (path, expected) in [
        ("/on/blobs:00/hash", 400),
        ("/on/blobs:0x00/hash", 400),
        ("/on/blobs:zz/hash", 400),
        ("/on/blobs:/commitment", 400),
        ("/on/blobs:00/commitment", 400),
        ("/on/blobs:00/other", 501),
        ("/on/blobs/hash", 404),
        ("/on/node/info", 404),
        ("/on/", 404),
    ] {
        let refusal = post(path).unwrap_err();
        assert_eq!(refusal.status, expected, "{path}");
        assert!(body(&refusal)["error"].is_string(), "{path}");
    }
    let refusal = route("GET", &by_hash, None).unwrap_err();
    assert_eq!((refusal.status, refusal.allow), (405, Some("POST")));
}

#[test]
fn dusk_answers_in_three_forms() {
    use dusk::Form;
    let (octets, json) = (Some("application/octet-stream"), Some("application/json"));
    for (content_type, accept, form) in [
        (None, None, Form::Hex),
        (Some("text/plain"), Some("*/*"), Form::Hex),
        (octets, None, Form::Binary),
        (None, octets, Form::Binary),
        (None, Some("Application/Octet-Stream"), Form::Binary),
        (json, None, Form::Json),
        (json, octets, Form::Json),
        (None, json, Form::Hex),
    ] {
        assert_eq!(Form::of(content_type, accept), form, "{content_type:?} {accept:?}");
    }
    let sidecar = sidecar(1);
    let bytes = BlobSidecar::from(&sidecar).to_var_bytes();
    let binary = dusk::blob(&sidecar, Form::Binary);
    assert_eq!((binary.body.len(), &binary.body), (ENCODED, &bytes));
    assert_eq!(dusk::blob(&sidecar, Form::Hex).body, hex::encode(&bytes).into_bytes());
    let json = body(&dusk::blob(&sidecar, Form::Json));
    let expected = [("commitment", "01".repeat(48)), ("proof", "02".repeat(48)), ("data", "03".repeat(BYTES))];
    assert_eq!(json.as_object().unwrap().len(), 3);
    for (name, value) in expected {
        assert_eq!(json[name], value);
    }
    assert_eq!(dusk::no_blob(&[1; 32]).status, 404);
    assert_eq!(dusk::awaited_blob(&[1; 32]).status, 503);
}

proptest! {
    #[test]
    fn no_request_line_panics(method in "(GET|POST|HEAD|[A-Z]{1,8})", path in "(/eth/v1/beacon/(blobs|blob_sidecars|headers)/|/on/blobs:|)\\PC{0,80}", query in prop::option::of("((indices|versioned_hashes)=|)\\PC{0,80}")) {
        if let Err(answer) = route(&method, &path, query.as_deref()) {
            prop_assert!(matches!(answer.status, 400 | 404 | 405 | 501));
            serde_json::from_slice::<Value>(&answer.body).unwrap();
        }
    }
}
