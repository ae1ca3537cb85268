//! Questions of the consensus to peers, and what is made of their answers.

use std::sync::Arc;
use std::time::Duration;

use duskevm_dusk_l1::block::header_hash;
use duskevm_dusk_l1::body::{verify_kinds, verify_roots};
use duskevm_dusk_l1::contracts::{NativeContracts, NoContracts};
use duskevm_dusk_l1::keys::AccountId;
use duskevm_dusk_l1::sa::bls::{Bls, DuskBls};
use duskevm_dusk_l1::sa::machine::{Event, PeerId as Number, Source, SyncBlock, Want};
use duskevm_dusk_l1::sa::wire::{self, Frame, Inventory, Item, ResourceRequest, decode_block};
use duskevm_messages::gossip::{Ask, AskFailure, BadAnswer, PeerChoice};
use duskevm_p2p::{Answer, PeerId, Request};
use duskevm_supervision::Context;

use crate::actor::Consensus;
use crate::error::ConsensusError;
use crate::metrics;

/// How long a peer may take.
const WITHIN: Duration = Duration::from_secs(4);
/// The same, with the way through this node.
const LOCAL: Duration = Duration::from_secs(5);

/// What came of a question.
pub(crate) enum Found {
    /// Blocks in ascending order, and frames of the consensus.
    Answer { peer: PeerId, blocks: Vec<SyncBlock>, frames: Vec<Frame> },
    /// Bytes that are no answer to the question.
    Nonsense(PeerId),
    /// Nobody answered.
    Nobody(String),
}

fn question(want: &Want) -> Vec<u8> {
    let items = match want {
        Want::Range { from, to } => (*from..=*to).map(Item::Height).collect(),
        Want::Block(hash) => vec![Item::Block(*hash), Item::Candidate(*hash)],
        Want::CandidateOf(header) => vec![Item::CandidateOf(*header)],
        Want::Validation(header) => vec![Item::ValidationOf(*header)],
    };
    // Answers come on the connection: nobody looks at the address, the time and the hops.
    let requester = ([0, 0, 0, 0], 0).into();
    let inventory = Inventory { items, max_entries: 0 };
    wire::encode(&Frame::GetResource(ResourceRequest { inventory, requester, expires: u64::MAX, hops: 1 }))
}

/// A block whose header hashes to its hash.
fn hashed(bytes: Arc<[u8]>) -> Option<SyncBlock> {
    let block = SyncBlock::new(bytes).ok()?;
    (header_hash(&block.header).ok() == Some(block.header.hash)).then_some(block)
}

/// The block with this hash, complete: it was agreed on, so whoever sends something else under its name is lying. Whether it can
/// be executed shows when it is applied.
fn the_block(bytes: Arc<[u8]>, hash: &[u8; 32], contracts: &dyn NativeContracts) -> Option<SyncBlock> {
    let block = hashed(bytes).filter(|block| block.header.hash == *hash)?;
    let decoded = decode_block(&block.bytes).ok()?;
    let generator = AccountId::from_bytes(*decoded.header().generator_bls_pubkey.inner()).ok()?;
    DuskBls::default().verify_ids([&generator], hash, decoded.header().signature.inner()).ok()?;
    verify_roots(&decoded).ok()?;
    verify_kinds(&decoded, contracts).ok()?;
    Some(block)
}

/// Reads an answer. Whether the blocks are good shows when they are applied.
fn read(want: &Want, peer: PeerId, answer: Answer, contracts: &dyn NativeContracts) -> Found {
    let Answer::Frames(frames) = answer else {
        return match answer {
            Answer::Refused(_) => Found::Nobody("the peer refused".to_owned()),
            _ => Found::Nonsense(peer),
        };
    };
    let (mut blocks, mut others) = (Vec::new(), Vec::new());
    for frame in frames {
        let Ok(frame) = wire::decode(&frame, &wire::Limits::default()) else { return Found::Nonsense(peer) };
        match (want, frame) {
            (Want::Range { from, to }, Frame::Block(bytes)) => match hashed(bytes) {
                Some(block) if (*from..=*to).contains(&block.header.height) => blocks.push(block),
                _ => return Found::Nonsense(peer),
            },
            (Want::Block(hash), Frame::Block(bytes)) => match the_block(bytes, hash, contracts) {
                Some(block) => blocks.push(block),
                None => return Found::Nonsense(peer),
            },
            (Want::Block(hash), Frame::Candidate(candidate)) => {
                match the_block(candidate.bytes().clone(), hash, contracts) {
                    Some(block) => blocks.push(block),
                    None => return Found::Nonsense(peer),
                }
            }
            (Want::CandidateOf(_), frame @ Frame::Candidate(_))
            | (Want::Validation(_), frame @ Frame::ValidationQuorum(_)) => others.push(frame),
            _ => return Found::Nonsense(peer),
        }
    }
    if let Want::Block(_) = want {
        blocks.truncate(1);
    }
    Found::Answer { peer, blocks, frames: others }
}

/// Asks one peer for blocks by height.
pub(crate) async fn ask_peer(port: &duskevm_supervision::Port<Ask>, peer: PeerId, want: Want) -> Found {
    let request = Ask { peer: PeerChoice::Peer(peer), request: Request::Frame(question(&want)), within: WITHIN };
    match port.ask_within(request, LOCAL).await {
        Ok(Ok((peer, answer))) => {
            let read = tokio::task::spawn_blocking(move || read(&want, peer, answer, &NoContracts));
            read.await.unwrap_or_else(|died| Found::Nobody(died.to_string()))
        }
        Ok(Err(failure)) => Found::Nobody(failure.to_string()),
        Err(error) => Found::Nobody(error.to_string()),
    }
}

/// Peers that are asked one after another until one has something.
const TRIES: usize = 3;

async fn ask(
    port: duskevm_supervision::Port<Ask>,
    choice: PeerChoice,
    want: Want,
    contracts: Arc<dyn NativeContracts + Send + Sync>,
) -> Found {
    let height = match want {
        Want::Range { from, .. } => from,
        _ => 0,
    };
    let mut choice = choice;
    let mut asked = Vec::new();
    for _ in 0..TRIES {
        let request = Ask { peer: choice.clone(), request: Request::Frame(question(&want)), within: WITHIN };
        match port.ask_within(request, LOCAL).await {
            Ok(Ok((peer, answer))) => {
                let contracts = contracts.clone();
                let read = tokio::task::spawn_blocking(move || read(&want, peer, answer, &*contracts));
                match read.await {
                    // It has nothing, whatever it says of its height.
                    Ok(Found::Answer { blocks, frames, .. }) if blocks.is_empty() && frames.is_empty() => {}
                    Ok(Found::Nobody(_)) => {}
                    Ok(found) => return found,
                    Err(died) => return Found::Nobody(died.to_string()),
                }
                asked.push(peer);
                choice = PeerChoice::AtHeight { height, not: asked.clone() };
            }
            // Somebody else may know.
            Ok(Err(AskFailure::Timeout(peer) | AskFailure::Lost(peer) | AskFailure::Nonsense(peer))) => {
                asked.push(peer);
                choice = PeerChoice::AtHeight { height, not: asked.clone() };
            }
            // It is gone, or has enough questions to answer.
            Ok(Err(AskFailure::NoPeer | AskFailure::Busy)) if matches!(choice, PeerChoice::Peer(_)) => {
                choice = PeerChoice::AtHeight { height, not: asked.clone() };
            }
            Ok(Err(failure)) => return Found::Nobody(failure.to_string()),
            Err(error) => return Found::Nobody(error.to_string()),
        }
    }
    Found::Nobody(format!("{TRIES} peers had nothing"))
}

impl Consensus {
    /// Asks a peer, or two that may know.
    pub(crate) fn request(&mut self, peer: Option<Number>, want: Want, ctx: &mut Context<Self>) {
        let Some(network) = &self.wiring.network else { return };
        let anybody = PeerChoice::AtHeight {
            height: match want {
                Want::Range { from, .. } => from,
                _ => 0,
            },
            not: Vec::new(),
        };
        let choices = match (peer.and_then(|number| self.numbers.peer(number)), want) {
            (Some(peer), _) => vec![PeerChoice::Peer(peer)],
            (None, Want::Range { .. }) => vec![anybody],
            (None, _) => vec![anybody.clone(), anybody],
        };
        for choice in choices {
            metrics::asked();
            let answer = ask(network.ask.clone(), choice, want, self.chain.settings().contracts.clone());
            ctx.listen(answer, |me, found, ctx| me.found(found, ctx));
        }
    }

    fn found(&mut self, found: Found, ctx: &mut Context<Self>) -> Result<(), ConsensusError> {
        match found {
            Found::Nobody(why) => tracing::debug!(why, "no answer of a peer"),
            Found::Nonsense(peer) => {
                if let Some(network) = &self.wiring.network {
                    let _ = network.bad_answer.tell(BadAnswer { peer });
                }
            }
            Found::Answer { peer, blocks, frames } => {
                let number = self.numbers.of(peer);
                for frame in frames {
                    self.judge(Source { peer: number, token: None }, frame, ctx)?;
                }
                if !blocks.is_empty() {
                    self.note_sender(peer, &blocks);
                    self.feed(Event::Blocks { from: number, blocks }, ctx)?;
                }
            }
        }
        Ok(())
    }

    /// Remembers who sent blocks, to report the sender of one that turns out wrong.
    fn note_sender(&mut self, peer: PeerId, blocks: &[SyncBlock]) {
        const KEPT: usize = 1024;
        if self.brought.len() + blocks.len() > KEPT {
            self.brought.clear();
        }
        for block in blocks {
            // The first one is the one that is applied.
            self.brought.entry(block.header.hash).or_insert(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> PeerId {
        PeerId([1; 32])
    }

    #[test]
    fn an_answer_to_another_question_is_nonsense() {
        for frames in [vec![vec![1, 2, 3]], vec![wire::encode(&Frame::GetMempool { nonce: 1 })]] {
            let answer = Answer::Frames(frames);
            assert!(matches!(read(&Want::Block([7; 32]), peer(), answer, &NoContracts), Found::Nonsense(_)));
        }
        let nothing = read(&Want::Range { from: 1, to: 9 }, peer(), Answer::Frames(Vec::new()), &NoContracts);
        assert!(matches!(nothing, Found::Answer { blocks, .. } if blocks.is_empty()));
    }

    #[tokio::test]
    async fn where_one_peer_cannot_be_asked_another_is() {
        for failure in [AskFailure::NoPeer, AskFailure::Busy, AskFailure::Timeout(peer())] {
            let asked = Arc::new(parking_lot::Mutex::new(Vec::new()));
            let log = asked.clone();
            let port = duskevm_supervision::Port::from_fn(move |ask: Ask| {
                let one = matches!(ask.peer, PeerChoice::Peer(_));
                log.lock().push(ask.peer);
                async move { if one { Err(failure) } else { Err(AskFailure::NoPeer) } }
            });
            let want = Want::Range { from: 5, to: 9 };
            let found = super::ask(port, PeerChoice::Peer(peer()), want, Arc::new(NoContracts)).await;
            assert!(matches!(found, Found::Nobody(_)));
            let asked = asked.lock();
            assert!(matches!(asked[..], [PeerChoice::Peer(_), PeerChoice::AtHeight { height: 5, .. }]), "{asked:?}");
        }
    }

    #[test]
    fn a_question_names_what_is_wanted() {
        let Ok(Frame::GetResource(request)) =
            wire::decode(&question(&Want::Range { from: 3, to: 5 }), &wire::Limits::default())
        else {
            panic!("not a question");
        };
        assert_eq!(request.inventory.items, [Item::Height(3), Item::Height(4), Item::Height(5)]);
    }
}
