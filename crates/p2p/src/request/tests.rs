use super::*;
use crate::ids::tests::any_address;
use proptest::prelude::*;

fn sidecar(fill: u8) -> SidecarBytes {
    SidecarBytes::new(vec![fill; SIDECAR_BYTES]).unwrap()
}

fn any_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        Just(Request::Status),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Request::Frame),
        prop::collection::vec(any::<[u8; 32]>(), 1..=6).prop_map(Request::Blobs),
        Just(Request::Peers),
    ]
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let at = any::<(u64, [u8; 32])>();
    prop_oneof![
        (any::<[u8; 32]>(), at, any::<[u8; 32]>(), any::<u64>(), any::<u64>()).prop_map(
            |(identity, tip, hash, below, oldest_blob)| Answer::Status(PeerStatus {
                identity,
                tip,
                finalized: (below.min(tip.0), hash),
                oldest_blob
            })
        ),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..=100).prop_map(Answer::Frames),
        prop::collection::vec(any::<Option<u8>>().prop_map(|fill| fill.map(sidecar)), 1..=6).prop_map(Answer::Blobs),
        prop::collection::vec(any_address(), 0..=32).prop_map(Answer::Peers),
        prop::sample::select(vec![Refusal::Busy, Refusal::TooMany, Refusal::Unavailable]).prop_map(Answer::Refused),
    ]
}

#[test]
fn lists_have_bounds() {
    assert!(Request::Blobs(vec![]).encode().is_err());
    assert!(Request::Blobs(vec![[0; 32]; 7]).encode().is_err());
    assert!(Request::Frame(vec![0; MAX_REQUEST]).encode().is_err());
    let longest = Request::Frame(vec![0; MAX_REQUEST - 5]).encode().unwrap();
    assert_eq!(longest.len(), MAX_REQUEST);
    assert!(Request::decode(&longest).is_ok());
    assert!(Answer::Frames(vec![vec![]; 101]).encode().is_err());
    assert!(Answer::Frames(vec![vec![0; MAX_FRAME_BYTES / 2]; 3]).encode().is_err());
    assert!(
        Answer::Peers(vec![PeerAddress { peer: PeerId([0; 32]), endpoint: Endpoint::Memory(1) }; 33]).encode().is_err()
    );
    let full = Answer::Frames(vec![vec![7; MAX_FRAME_BYTES / 4]; 4]).encode().unwrap();
    assert!(full.len() <= MAX_ANSWER);
    assert!(Answer::decode(&full).is_ok());
    const { assert!(SIDECAR_BYTES * MAX_BLOBS < MAX_ANSWER) };
}

#[test]
fn frames_are_cut_to_what_fits() {
    let Answer::Frames(kept) = Answer::frames(vec![vec![0; 3 << 20]; 5]) else { panic!("frames") };
    assert_eq!(kept.len(), 2);
    let Answer::Frames(kept) = Answer::frames(vec![vec![0]; 500]) else { panic!("frames") };
    assert_eq!(kept.len(), MAX_FRAMES);
}

#[test]
fn a_length_from_a_peer_allocates_nothing() {
    let mut body = vec![1, 1];
    body.extend_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(Answer::decode(&body), Err(CodecError::TooMuch { .. })));
    let mut body = vec![1, 1];
    body.extend_from_slice(&(1u32 << 20).to_le_bytes());
    assert_eq!(Answer::decode(&body), Err(CodecError::Short));
}

#[test]
fn a_status_must_make_sense() {
    let status = PeerStatus { identity: [1; 32], tip: (5, [2; 32]), finalized: (6, [3; 32]), oldest_blob: 0 };
    let body = Answer::Status(status).encode().unwrap();
    assert_eq!(Answer::decode(&body), Err(CodecError::NotCanonical("a final block above the tip")));
}

#[test]
fn only_an_answer_to_the_question_fits() {
    let two = Request::Blobs(vec![[0; 32]; 2]);
    assert!(Answer::Blobs(vec![None, None]).fits(&two));
    assert!(!Answer::Blobs(vec![None]).fits(&two));
    assert!(!Answer::Peers(vec![]).fits(&two));
    assert!(Answer::Refused(Refusal::Busy).fits(&two));
}

#[test]
fn the_longest_answer_to_a_question_is_known_before_it_comes() {
    let status = PeerStatus { identity: [1; 32], tip: (5, [2; 32]), finalized: (4, [3; 32]), oldest_blob: 0 };
    let address = PeerAddress { peer: PeerId([0; 32]), endpoint: Endpoint::Ip6([0x20; 16], 1) };
    for (request, longest) in [
        (Request::Status, Answer::Status(status)),
        (Request::Blobs(vec![[0; 32]; 2]), Answer::Blobs(vec![Some(sidecar(1)); 2])),
        (Request::Peers, Answer::Peers(vec![address; MAX_PEERS])),
    ] {
        assert_eq!(longest.encode().unwrap().len(), request.longest_answer());
    }
    assert_eq!(Request::Frame(vec![]).longest_answer(), MAX_ANSWER);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn requests_are_read_back(request in any_request()) {
        let body = request.encode().unwrap();
        prop_assert!(body.len() <= MAX_REQUEST);
        prop_assert_eq!(Request::decode(&body).unwrap(), request);
    }

    #[test]
    fn answers_are_read_back(answer in any_answer()) {
        let body = answer.encode().unwrap();
        prop_assert!(body.len() <= answer.size() && answer.size() <= MAX_ANSWER);
        prop_assert_eq!(Answer::decode(&body).unwrap(), answer);
    }

    #[test]
    fn what_is_read_has_one_encoding(kind in 0u8..6, mut body in prop::collection::vec(any::<u8>(), 0..200)) {
        body.insert(0, kind);
        if let Ok(request) = Request::decode(&body) {
            prop_assert_eq!(&request.encode().unwrap(), &body);
        }
        if let Ok(answer) = Answer::decode(&body) {
            prop_assert_eq!(&answer.encode().unwrap(), &body);
        }
    }

    #[test]
    fn cut_or_longer_bytes_are_refused(answer in any_answer(), request in any_request(), at in any::<prop::sample::Index>()) {
        for (mut body, read) in [
            (answer.encode().unwrap(), (|b: &[u8]| Answer::decode(b).is_ok()) as fn(&[u8]) -> bool),
            (request.encode().unwrap(), |b: &[u8]| Request::decode(b).is_ok()),
        ] {
            prop_assert!(!read(&body[..at.index(body.len())]));
            body.push(0);
            prop_assert!(!read(&body));
        }
    }
}
