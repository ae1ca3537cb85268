//! Requests, answers and addresses of the peer-to-peer network, and the stored book of addresses.

use std::collections::BTreeSet;

use duskevm_p2p::peers::MAX_BOOK;
use duskevm_p2p::{Answer, Book, Endpoint, PeerAddress, PeerId, Request, StoredBook};

/// The body of a request.
pub fn request(data: &[u8]) {
    let Ok(request) = Request::decode(data) else { return };
    assert_eq!(request.encode().as_deref(), Ok(data), "a request has one form");
}

/// The body of an answer.
pub fn answer(data: &[u8]) {
    let Ok(answer) = Answer::decode(data) else { return };
    assert_eq!(answer.encode().as_deref(), Ok(data), "an answer has one form");
    let fitting = [Request::Status, Request::Frame(vec![]), Request::Blobs(vec![[0; 32]]), Request::Peers];
    let fits = fitting.iter().filter(|request| answer.fits(request)).count();
    match &answer {
        Answer::Refused(_) => assert_eq!(fits, 4),
        Answer::Blobs(blobs) => assert_eq!(fits, usize::from(blobs.len() == 1)),
        _ => assert_eq!(fits, 1),
    }
    if let Answer::Frames(frames) = &answer {
        assert_eq!(Answer::frames(frames.clone()), answer, "what may be sent is not cut");
    }
}

/// An address or a peer id as text.
pub fn address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(peer) = text.parse::<PeerId>() {
        assert_eq!(peer.to_string(), text, "a peer id has one form");
        assert_eq!(PeerId::from_bytes(&peer.to_bytes()), Some(peer));
    }
    if let Ok(endpoint) = text.parse::<Endpoint>() {
        assert_eq!(endpoint.to_string().parse().as_ref(), Ok(&endpoint));
        assert!(!endpoint.is_public() || endpoint.is_dialable(), "what is public can be dialled");
        endpoint.prefix();
    }
    if let Ok(address) = text.parse::<PeerAddress>() {
        assert_eq!(address.to_string().parse().as_ref(), Ok(&address));
        let json = serde_json::to_string(&address).expect("an address can be written");
        assert_eq!(serde_json::from_str::<PeerAddress>(&json).ok(), Some(address));
    }
}

/// The stored book of addresses.
pub fn book(data: &[u8]) {
    let Ok(stored) = serde_json::from_slice::<StoredBook>(data) else { return };
    let mut book = Book::restore(&stored);
    assert!(book.len() <= MAX_BOOK);
    let kept = book.stored();
    assert_eq!(Book::restore(&kept), book, "a book that is stored comes back");
    assert!(kept.peers.iter().all(|line| line.address.endpoint.is_dialable()));
    let now = stored.peers.len() as u64;
    let peers: BTreeSet<PeerId> = kept.peers.iter().map(|line| line.address.peer).collect();
    assert_eq!(peers.len(), book.len());
    assert!(book.best(now, 8, |_| false).len() <= 8);
    for line in &kept.peers {
        book.worse(now, &line.address.peer);
        book.met(now, &line.address);
    }
    assert_eq!(book.len(), peers.len());
}
