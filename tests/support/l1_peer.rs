//! The one provisioner of an L1, held by a test: it makes any branch that it wants to, and nodes that only follow have it as their peer
//! over TCP on loopback.

#![allow(clippy::unwrap_used, unreachable_pub, missing_docs, missing_debug_implementations, reason = "part of a test")]

use duskevm::network::Network;
use duskevm_dusk_l1::{
    Attestation, BLOCK_HEADER_VERSION, Header, IterationsInfo, PublicKeyBytes, Serializable, Signature, StepVotes,
    Vote,
    block::LedgerParams,
    body::{Draft, build_body},
    contracts::NativeContracts,
    genesis::Genesis,
    keys::{AccountId, Signer},
    sa::{
        attestation::voters,
        bls::{Bls, DuskBls},
        committee::Committees,
        provisioners::Provisioners,
        rules::StepKind,
        wire::{self, Frame, Inventory, Item, Limits, QuorumFrame, ResourceRequest, signed_bytes},
    },
    state::{Account, MemoryState, account},
    tx::{Tx, VerifiedTx},
};
use duskevm_gossip::{Gossip, GossipSettings, Host, HostSettings, Identity, Pace, Transport, spec};
use duskevm_messages::gossip::{
    Ask, GossipFrame, Judged, PeerChoice, PeerFeed, Publish, ServeBlobs, ServeFrames, Verdict,
};
use duskevm_p2p::{Answer, NetworkId, PeerAddress, PeerId, PeerStatus, Request, Topic};
use duskevm_supervision::{Port, Ref, Strategy, Supervisor, Tree};
use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{mpsc, watch};

/// How long a peer may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes before the envelope of a transaction in its frame: version, type and length.
const ENVELOPE_AT: usize = 12;
/// Transactions that are asked for at once: one may hold six blobs.
const AT_ONCE: usize = 4;
/// Bytes of blocks in one answer.
const ANSWER_BYTES: usize = 6 << 20;

/// A block as peers send it.
#[derive(Clone)]
struct Made {
    hash: [u8; 32],
    bytes: Arc<[u8]>,
    quorum: Arc<[u8]>,
}

/// One branch: from the genesis block to its tip.
#[derive(Clone)]
pub struct Branch {
    genesis: Genesis,
    contracts: Arc<dyn NativeContracts + Send + Sync>,
    key: Signer,
    state: MemoryState,
    parent: Header,
    previous: Option<Arc<Committees>>,
    blocks: Vec<Made>,
}

impl Branch {
    /// A branch of nothing but the genesis block; `key` is that of the network's one provisioner.
    pub fn new(network: &Network, key: Signer) -> Self {
        let mut state = MemoryState::default();
        state.apply(&network.dusk().unwrap().l1.state()).unwrap();
        Self {
            genesis: network.dusk().unwrap().l1.clone(),
            contracts: network.dusk().unwrap().contracts(),
            key,
            state,
            parent: network.dusk().unwrap().l1.block().header().clone(),
            previous: None,
            blocks: Vec::new(),
        }
    }

    pub fn height(&self) -> u64 {
        self.parent.height
    }

    pub fn hash(&self) -> [u8; 32] {
        self.parent.hash
    }

    pub fn account(&self, id: &AccountId) -> Account {
        account(&self.state, id).unwrap()
    }

    /// When the next block may be made, in seconds since the Unix epoch.
    pub fn next_time(&self) -> u64 {
        self.parent.timestamp + self.genesis.block_time
    }

    /// The next block, in an iteration below which none has an attestation. Returns the ids of the transactions that are in it: what
    /// cannot be executed is left out.
    pub fn block(&mut self, iteration: u8, txs: &[VerifiedTx]) -> Vec<[u8; 32]> {
        let (bls, parent, height) = (DuskBls::default(), &self.parent, self.parent.height + 1);
        let cert_voters = match &self.previous {
            Some(committees) => voters(&parent.att, &parent.to_consensus_header(), committees).unwrap(),
            None => Vec::new(),
        };
        let header = Header {
            version: BLOCK_HEADER_VERSION,
            height,
            timestamp: self.next_time(),
            prev_block_hash: parent.hash,
            seed: Signature::from(bls.sign(&self.key, parent.seed.inner())),
            generator_bls_pubkey: PublicKeyBytes(*self.key.id().as_bytes()),
            gas_limit: self.genesis.block_gas_limit,
            iteration,
            prev_block_cert: parent.att,
            failed_iterations: IterationsInfo::new(vec![None; iteration.into()]),
            ..Header::default()
        };
        let params = LedgerParams::new(&self.genesis).unwrap();
        let draft = Draft { header, faults: Vec::new(), cert_voters: &cert_voters };
        let built = build_body(draft, &params, &self.state, &*self.contracts, txs).unwrap().block;
        let mut block = built.block;
        let hash = block.header().hash;
        block.set_signature(Signature::from(bls.sign(&self.key, &hash)));
        let (round, vote) = (block.header().to_consensus_header(), Vote::Valid(hash));
        let votes = |kind| StepVotes::new(bls.sign(&self.key, &signed_bytes(kind, &round, &vote)), 1);
        let (validation, ratification) = (votes(StepKind::Validation), votes(StepKind::Ratification));
        let attestation = Attestation { result: vote.into(), validation, ratification };
        block.set_attestation(attestation);
        let provisioners = Arc::new(Provisioners::from_stakes(self.state.stakes()));
        let quorums = self.genesis.rules().quorums();
        self.previous = Some(Arc::new(Committees::new(*parent.seed.inner(), height, provisioners, quorums)));
        self.state.apply(&built.executed.diff).unwrap();
        let mut bytes = Vec::new();
        block.write(&mut bytes).unwrap();
        let quorum = wire::encode(&Frame::Quorum(QuorumFrame { header: round, attestation }));
        self.blocks.push(Made { hash, bytes: bytes.into(), quorum: quorum.into() });
        self.parent = block.header().clone();
        block.txs().iter().map(|tx| tx.id()).collect()
    }

    fn status(&self, identity: [u8; 32]) -> PeerStatus {
        // It claims no final block: nodes see for themselves.
        PeerStatus { identity, tip: (self.height(), self.hash()), finalized: (0, [0; 32]), oldest_blob: 0 }
    }

    /// Waits until the next block may be made: its time must not be in the future.
    pub async fn wait_for_time(&self) {
        loop {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            match Duration::from_secs(self.next_time()).checked_sub(now) {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                _ => return,
            }
        }
    }

    fn answer(&self, question: &[u8]) -> Vec<Vec<u8>> {
        let Ok(Frame::GetResource(request)) = wire::decode(question, &Limits::default()) else { return Vec::new() };
        let find = |item: &Item| match item {
            Item::Height(height) => self.blocks.get(usize::try_from(height.checked_sub(1)?).ok()?),
            Item::Block(hash) => self.blocks.iter().rev().find(|block| block.hash == *hash),
            _ => None,
        };
        let mut bytes = 0;
        let found = request.inventory.items.iter().filter_map(find);
        let fitting = found.take_while(|block| {
            bytes += block.bytes.len();
            bytes <= ANSWER_BYTES
        });
        fitting.map(|block| wire::encode(&Frame::Block(block.bytes.clone()))).collect()
    }
}

/// The peer of nodes: it has one branch at a time.
pub struct L1Peer {
    host: Host,
    actor: Ref<Gossip>,
    supervisor: Supervisor,
    peers: PeerFeed,
    shown: Arc<Mutex<Branch>>,
    status: watch::Sender<Option<PeerStatus>>,
    identity: [u8; 32],
}

impl L1Peer {
    /// Listens on loopback and shows this branch.
    pub async fn start(branch: &Branch) -> Self {
        let identity = branch.genesis.identity().0;
        let shown = Arc::new(Mutex::new(branch.clone()));
        let (frames_out, mut frames) = mpsc::unbounded_channel::<GossipFrame>();
        let (peers_out, peers) = watch::channel(Arc::from([]));
        let (status, status_in) = watch::channel(Some(branch.status(identity)));
        let shelf = shown.clone();
        let settings = GossipSettings {
            frames: Port::from_fn(move |frame: GossipFrame| {
                let sent = frames_out.send(frame);
                async move { drop(sent) }
            }),
            serve_frames: Port::from_fn(move |asked: ServeFrames| {
                let answer = shelf.lock().answer(&asked.frame);
                async move { answer }
            }),
            // Its blocks come with their blobs.
            serve_blobs: Port::from_fn(|asked: ServeBlobs| async move { vec![None; asked.hashes.len()] }),
            status: status_in,
            peers: peers_out,
            boot: Vec::new(),
            enough_peers: 1,
            allow_private: true,
            folder: None,
            pace: Pace::default(),
        };
        let host = HostSettings::new(NetworkId::new(branch.genesis.chain_id, &identity), Topic::L1.to_vec());
        let transport = Transport::Tcp { listen: vec!["127.0.0.1:0".parse().unwrap()] };
        let runtime = tokio::runtime::Handle::current();
        let host = Host::start(host, transport, Identity::from_secret([7; 32]), runtime).unwrap();
        let actor = Ref::declare("gossip");
        let supervisor =
            Tree::new("root", Strategy::OneForOne).actor(spec(&actor, Arc::new(settings), host.clone())).start();
        supervisor.ready().await.unwrap();
        let judge = actor.clone();
        tokio::spawn(async move {
            while let Some(frame) = frames.recv().await {
                // What nodes publish they also have in their pools, where it is asked for.
                let _ = judge.ask(Judged { token: frame.token, verdict: Verdict::Accept }).await;
            }
        });
        Self { host, actor, supervisor, peers, shown, status, identity }
    }

    pub async fn address(&self) -> PeerAddress {
        let mut listening = self.host.listening();
        let known = listening.wait_for(|known| !known.is_empty());
        let endpoint = tokio::time::timeout(PATIENCE, known).await.unwrap().unwrap()[0];
        PeerAddress { peer: self.host.id(), endpoint }
    }

    /// Waits until a node beside those in `known` is connected.
    pub async fn next_peer(&self, known: &[PeerId]) -> PeerId {
        let mut peers = self.peers.clone();
        let wanted =
            |peers: &Arc<[_]>| peers.iter().any(|peer: &duskevm_messages::gossip::PeerInfo| !known.contains(&peer.id));
        let found = tokio::time::timeout(PATIENCE, peers.wait_for(wanted)).await.expect("no node connects").unwrap();
        found.iter().map(|peer| peer.id).find(|id| !known.contains(id)).unwrap()
    }

    /// From now on it has this branch, and tells everybody of its newest block.
    pub async fn show(&self, branch: &Branch) {
        *self.shown.lock() = branch.clone();
        self.status.send_replace(Some(branch.status(self.identity)));
        if let Some(block) = branch.blocks.last() {
            let publish = Publish { topic: Topic::Votes, bytes: block.quorum.clone() };
            // Whoever does not hear it asks where this peer stands.
            let _ = self.actor.ask_retry(publish, PATIENCE).await.unwrap();
        }
    }

    async fn ask(&self, peer: PeerId, frame: &Frame) -> Vec<Frame> {
        let ask = || Ask {
            peer: PeerChoice::Peer(peer),
            request: Request::Frame(wire::encode(frame)),
            within: Duration::from_secs(5),
        };
        let answered = async {
            loop {
                if let Ok((_, Answer::Frames(frames))) = self.actor.ask_within(ask(), PATIENCE).await.unwrap() {
                    return frames;
                }
                // The node is busy, or was asked more than it answers in a second.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let frames = tokio::time::timeout(PATIENCE, answered).await.expect("the node does not answer its peer");
        frames.iter().map(|frame| wire::decode(frame, &Limits::default()).unwrap()).collect()
    }

    /// What waits in the pool of a node, each sender's transactions in their order.
    pub async fn pool(&self, node: PeerId, height: u64) -> Vec<VerifiedTx> {
        let mut ids = Vec::new();
        for frame in self.ask(node, &Frame::GetMempool { nonce: rand::random() }).await {
            if let Frame::Inv(inventory) = frame {
                ids.extend(inventory.items);
            }
        }
        let mut txs = Vec::new();
        for items in ids.chunks(AT_ONCE) {
            let inventory = Inventory { items: items.to_vec(), max_entries: 0 };
            let requester = ([0, 0, 0, 0], 0).into();
            let request = ResourceRequest { inventory, requester, expires: u64::MAX, hops: 1 };
            for frame in self.ask(node, &Frame::GetResource(request)).await {
                let Frame::Tx(payload) = frame else { panic!("{frame:?} is no transaction") };
                txs.push(verified(&payload[ENVELOPE_AT..], height));
            }
        }
        txs.sort_by_key(|tx| (*tx.sender().as_bytes(), tx.nonce()));
        txs
    }

    pub async fn stop(self) {
        self.supervisor.shutdown(PATIENCE).await;
        self.host.shutdown();
    }
}

/// A transaction as a block takes it. Its blobs are the business of those who get the block.
pub fn verified(bytes: &[u8], height: u64) -> VerifiedTx {
    let tx = Tx::decode(bytes, height).unwrap().verify().unwrap();
    tx.with_checked_blobs(|_, _| Ok::<_, ()>(())).unwrap()
}
