//! Questions to peers: answers, refusals, time-outs, nonsense.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod common;

use std::time::Duration;

use common::evil::Evil;
use common::*;
use duskevm_messages::gossip::*;
use duskevm_p2p::request::SIDECAR_BYTES;
use duskevm_p2p::{Answer, Refusal, Request, SidecarBytes};
use duskevm_supervision::Port;

fn any() -> PeerChoice {
    PeerChoice::AtHeight { height: 0, not: vec![] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_are_answered_by_those_who_know() {
    let mut server = options(1, memory());
    server.settings.serve_frames =
        Port::from_fn(
            |asked: ServeFrames| async move { vec![asked.frame.clone(), vec![7; 3 << 20], vec![8; 6 << 20]] },
        );
    let blob = SidecarBytes::new(vec![5; SIDECAR_BYTES]).unwrap();
    let kept = blob.clone();
    server.settings.serve_blobs = Port::from_fn(move |asked: ServeBlobs| {
        let found = asked.hashes.iter().map(|hash| (hash[0] == 1).then(|| kept.clone())).collect::<Vec<_>>();
        async move { found }
    });
    let server = server.start().await;
    let client = options(2, memory()).boot(&[server.address().await]).start().await;
    client.connected(&[&server]).await;

    let (peer, answer) = client.ask(any(), Request::Status).await.unwrap();
    assert_eq!((peer, answer), (server.id(), Answer::Status(status(1))));
    let (_, answer) = client.ask(any(), Request::Frame(vec![1, 2, 3])).await.unwrap();
    assert_eq!(answer, Answer::Frames(vec![vec![1, 2, 3], vec![7; 3 << 20]]), "as much as fits");
    let hashes = vec![[1; 32], [2; 32], [1; 32]];
    let (_, answer) = client.ask(PeerChoice::Peer(server.id()), Request::Blobs(hashes)).await.unwrap();
    assert_eq!(answer, Answer::Blobs(vec![Some(blob.clone()), None, Some(blob)]));
    // The client was met over its own address.
    server.peers("identified", |peers| peers.iter().any(|peer| peer.address.is_some())).await;
    let (_, answer) = client.ask(any(), Request::Peers).await.unwrap();
    assert_eq!(answer, Answer::Peers(vec![]), "there is nobody else");

    assert_eq!(client.ask(any(), Request::Blobs(vec![])).await, Err(AskFailure::TooLong));
    assert_eq!(client.ask(PeerChoice::Peer(client.id()), Request::Status).await, Err(AskFailure::NoPeer));
    let nobody = PeerChoice::AtHeight { height: 0, not: vec![server.id()] };
    assert_eq!(client.ask(nobody, Request::Status).await, Err(AskFailure::NoPeer));

    // The choice by height follows what the peer says of itself.
    let high = || PeerChoice::AtHeight { height: 50, not: vec![] };
    assert_eq!(client.ask(high(), Request::Status).await, Err(AskFailure::NoPeer));
    server.status.send_replace(Some(status(60)));
    client.peers("the new height", |peers| peers[0].status.is_some_and(|status| status.tip.0 == 60)).await;
    assert_eq!(client.ask(high(), Request::Status).await.unwrap().0, server.id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_answer_says_so() {
    let server = options(1, memory()).start().await;
    let client = options(2, memory()).boot(&[server.address().await]).start().await;
    client.connected(&[&server]).await;
    server.status.send_replace(None);
    for request in [Request::Status, Request::Frame(vec![1]), Request::Blobs(vec![[0; 32]])] {
        let (_, answer) = client.ask(any(), request).await.unwrap();
        assert_eq!(answer, Answer::Refused(Refusal::Unavailable));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_genesis_is_left() {
    let first = options(1, memory()).start().await;
    let second = options(2, memory()).boot(&[first.address().await]);
    let stranger = duskevm_p2p::PeerStatus { identity: [8; 32], ..status(2) };
    let second = second.start().await;
    first.connected(&[&second]).await;
    second.status.send_replace(Some(stranger));
    first.without(second.id()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_in_time_and_too_many_questions_are_refused_here() {
    let mut node = options(1, memory());
    // Nothing else is asked.
    node.settings.pace.status = Duration::from_secs(3_600);
    node.settings.pace.exchange = Duration::from_secs(3_600);
    let node = node.start().await;
    let mut silent = Evil::connect(66, node.address().await).await;
    let id = silent.id;
    node.peers("the silent peer", |peers| !peers.is_empty()).await;
    let ask = |within| Ask { peer: PeerChoice::Peer(id), request: Request::Peers, within };
    let answer = silent.until(node.actor.ask_within(ask(Duration::from_millis(200)), PATIENCE)).await.unwrap();
    assert_eq!(answer, Err(AskFailure::Timeout(id)));
    let many =
        futures::future::join_all((0..20).map(|_| node.actor.ask_within(ask(Duration::from_millis(300)), PATIENCE)));
    let answers = silent.until(many).await;
    let busy = answers.iter().filter(|answer| matches!(answer, Ok(Err(AskFailure::Busy)))).count();
    assert!((18..20).contains(&busy), "{busy} were too many at once");
    // Who never answers is parted from in the end.
    in_time("the silent peer is left", async {
        while node.peers.borrow().iter().any(|peer| peer.id == id) {
            let ask = node.actor.ask_within(ask(Duration::from_millis(50)), PATIENCE);
            assert!(silent.until(ask).await.unwrap().is_err());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_no_answer_and_costs_the_connection() {
    for answer in [
        // No answer at all; an answer of another kind; a list with a wrong count; a promise of 4 GiB.
        vec![1, 0, 0, 0, 99],
        vec![2, 0, 0, 0, 3, 0],
        vec![3, 0, 0, 0, 2, 1, 0],
        vec![0xff; 8],
    ] {
        let mut node = options(1, memory());
        node.settings.pace.status = Duration::from_secs(3_600);
        node.settings.pace.exchange = Duration::from_secs(3_600);
        node.settings.enough_peers = 0;
        let node = node.start().await;
        let mut liar = Evil::connect(66, node.address().await).await;
        let id = liar.id;
        node.peers("the liar", |peers| !peers.is_empty()).await;
        liar.answer = Some(answer.clone());
        let mut nonsense = 0;
        for _ in 0..10 {
            let request = Request::Blobs(vec![[0; 32]; 2]);
            let ask = Ask { peer: PeerChoice::Peer(id), request, within: Duration::from_secs(5) };
            match liar.until(node.actor.ask_within(ask, PATIENCE)).await.unwrap() {
                Err(AskFailure::Nonsense(peer)) => {
                    assert_eq!(peer, id);
                    nonsense += 1;
                }
                Err(AskFailure::Lost(_) | AskFailure::NoPeer) => break,
                other => panic!("{other:?} to {answer:?}"),
            }
        }
        assert!(nonsense >= 1, "{nonsense} to {answer:?}");
        liar.until(node.without(id)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_find_wrong_in_an_answer_counts() {
    let node = options(1, memory()).start().await;
    let other = options(2, memory()).boot(&[node.address().await]).start().await;
    node.connected(&[&other]).await;
    for _ in 0..4 {
        node.actor.ask(BadAnswer { peer: other.id() }).await.unwrap();
    }
    node.without(other.id()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_peers_do_not_keep_others_from_being_asked() {
    // Where they stand is asked of everybody all the time; nobody but one says it.
    let node = options(1, memory()).start().await;
    let address = node.address().await;
    let mut silent = Vec::new();
    for secret in 0..10 {
        silent.push(Evil::connect(100 + secret, address).await);
    }
    let mut server = options(2, memory()).boot(&[address]);
    server.settings.serve_frames = Port::from_fn(|asked: ServeFrames| async move { vec![asked.frame] });
    let server = server.start().await;
    node.peers("all of them", |peers| peers.len() == 11).await;
    let ids: Vec<_> = silent.iter().map(|evil| evil.id).collect();
    let silence = futures::future::join_all(silent.iter_mut().map(|evil| evil.until(std::future::pending::<()>())));
    let asks = async {
        // Each silent peer is asked as much as it can be: twenty questions that nobody answers.
        let within = Duration::from_secs(5);
        let ask = |peer| Ask { peer, request: Request::Frame(vec![1]), within };
        let unanswered =
            ids.iter().flat_map(|id| [*id; 3]).map(|id| node.actor.ask_within(ask(PeerChoice::Peer(id)), PATIENCE));
        let unanswered = futures::future::join_all(unanswered);
        // Of the others' questions some find no room while the sixteen places are taken, and none is taken for longer than a
        // question may last.
        let answered = async {
            loop {
                let answer = node.actor.ask_within(ask(PeerChoice::Peer(server.id())), PATIENCE).await.unwrap();
                if let Ok((_, answer)) = answer {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let (_, answer) = tokio::join!(unanswered, answered);
        assert_eq!(answer, Answer::Frames(vec![vec![1]]));
        // Whoever can answer is asked first from now on, although one in eleven does.
        for _ in 0..10 {
            let (peer, _) = node.ask(any(), Request::Frame(vec![2])).await.unwrap();
            assert_eq!(peer, server.id());
        }
    };
    tokio::select! {
        _ = silence => unreachable!("they are silent for ever"),
        () = asks => {}
    }
}
