//! Blobs from peers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use duskevm_blobs::{Hash, Sidecar, Verified, kzg};
use duskevm_messages::gossip::{Ask, AskFailure, BadAnswer, PeerChoice};
use duskevm_p2p::{Answer, PeerId, Request};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tracing::{debug, error};

use crate::actor::Peers;
use crate::metrics;

/// Blobs in one request: a peer answers no more.
pub(crate) const AT_ONCE: usize = 6;

/// Peers that are asked for the same blobs at most.
const MOST_PEERS: usize = 16;

/// How long one peer may take.
const ONE_PEER: Duration = Duration::from_secs(5);

/// Pause when the network part cannot take a request just now.
const PAUSE: Duration = Duration::from_millis(200);

/// Asks one peer after the other until everything was found, nobody is left to ask, or the time is over. Everything in the
/// answer was verified. A peer that sends something else than what was asked for is reported and not asked again.
pub(crate) async fn fetch(
    peers: Peers,
    wanted: BTreeSet<Hash>,
    height: u64,
    within: Duration,
) -> BTreeMap<Hash, Arc<Verified>> {
    let (mut wanted, mut found, mut not) = (wanted, BTreeMap::new(), Vec::new());
    let end = Instant::now() + within;
    while !wanted.is_empty() && not.len() < MOST_PEERS {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let hashes: Vec<_> = wanted.iter().copied().take(AT_ONCE).collect();
        let ask = Ask {
            peer: PeerChoice::WithBlobs { height, not: not.clone() },
            request: Request::Blobs(hashes.clone()),
            within: left.min(ONE_PEER),
        };
        match peers.ask.ask_within(ask, left).await {
            Ok(Ok((peer, Answer::Blobs(answer)))) => {
                let items = hashes.iter().zip(answer).filter_map(|(hash, bytes)| Some((*hash, bytes?)));
                let items: Vec<_> = items.map(|(hash, bytes)| (hash, bytes.as_bytes().to_vec())).collect();
                let good = check(&peers, peer, items).await;
                // One that had all of them may have more.
                if good.len() < hashes.len() {
                    not.push(peer);
                }
                for verified in good {
                    wanted.remove(verified.hash());
                    found.insert(*verified.hash(), verified);
                }
            }
            Ok(Ok((peer, _)))
            | Ok(Err(AskFailure::Timeout(peer) | AskFailure::Lost(peer) | AskFailure::Nonsense(peer))) => {
                not.push(peer)
            }
            Ok(Err(AskFailure::Busy | AskFailure::Down)) => sleep(PAUSE.min(left)).await,
            Ok(Err(AskFailure::NoPeer | AskFailure::TooLong)) => break,
            Err(error) => {
                debug!(%error, "peers cannot be asked for blobs");
                break;
            }
        }
    }
    found
}

/// Verifies what a peer sent, on a worker thread.
async fn check(peers: &Peers, peer: PeerId, items: Vec<(Hash, Vec<u8>)>) -> Vec<Arc<Verified>> {
    let count = items.len();
    let verify = move || {
        let decoded = items.into_iter().filter_map(|(hash, bytes)| Some((hash, Sidecar::decode(&bytes).ok()?)));
        kzg::verify_batch(decoded.collect()).into_iter().flatten().map(Arc::new).collect::<Vec<_>>()
    };
    let good = match spawn_blocking(verify).await {
        Ok(good) => good,
        Err(died) => {
            // Ours is the fault, not the peer's; the next one may have other bytes.
            error!(%peer, %died, "the thread that checked blobs from a peer died");
            return Vec::new();
        }
    };
    metrics::fetched(good.len(), count - good.len());
    if good.len() < count {
        debug!(%peer, bad = count - good.len(), "a peer sent blobs that are not what was asked for");
        // Whether it is blamed or not changes nothing here.
        let _ = peers.bad_answer.tell(BadAnswer { peer });
    }
    good
}
