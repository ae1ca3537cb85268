//! Blocks of a network whose one provisioner signs whatever it is told to: branches, and as many final blocks of a height as one likes.

use std::sync::Arc;

use duskevm_consensus::{Blobs, Consensus, Network, Settings, Wiring, spec};
use duskevm_dusk_l1::block::LedgerParams;
use duskevm_dusk_l1::body::{Draft, build_body};
use duskevm_dusk_l1::contracts::NoContracts;
use duskevm_dusk_l1::genesis::Genesis;
use duskevm_dusk_l1::keys::Signer;
use duskevm_dusk_l1::sa::attestation::voters;
use duskevm_dusk_l1::sa::bls::{Bls, DuskBls};
use duskevm_dusk_l1::sa::committee::Committees;
use duskevm_dusk_l1::sa::provisioners::Provisioners;
use duskevm_dusk_l1::sa::rules::StepKind;
use duskevm_dusk_l1::sa::wire::{self, Frame, Item, signed_bytes};
use duskevm_dusk_l1::state::MemoryState;
use duskevm_dusk_l1::tx::Tx;
use duskevm_dusk_l1::{
    Attestation, BLOCK_HEADER_VERSION, Block, Header, IterationsInfo, PublicKeyBytes, Serializable, Signature,
    StepVotes, Vote,
};
use duskevm_messages::consensus::DuskTipFeed;
use duskevm_messages::gossip::*;
use duskevm_p2p::{Answer, PeerId, PeerStatus, Request};
use duskevm_store::l1::L1Store;
use duskevm_supervision::{Port, Ref, Strategy, Supervisor, Tree};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::signer;

/// Makes one branch.
#[derive(Clone)]
pub struct Maker {
    genesis: Genesis,
    key: Signer,
    bls: DuskBls,
    state: MemoryState,
    pub parent: Header,
    previous: Option<Arc<Committees>>,
    /// The blocks as peers send them, from height 1 on.
    pub blocks: Vec<Arc<[u8]>>,
}

impl Maker {
    pub fn new(genesis: &Genesis) -> Self {
        let mut state = MemoryState::default();
        state.apply(&genesis.state()).unwrap();
        Self {
            genesis: genesis.clone(),
            key: signer("producer"),
            bls: DuskBls::default(),
            state,
            parent: genesis.block().header().clone(),
            previous: None,
            blocks: Vec::new(),
        }
    }

    /// The next blocks, empty and in time.
    pub fn more(&mut self, blocks: usize) {
        for _ in 0..blocks {
            self.block(0, 0, &[]);
        }
    }

    /// The next block, `late` seconds after its time, in an iteration below which none has an attestation.
    pub fn block(&mut self, iteration: u8, late: u64, txs: &[Vec<u8>]) -> [u8; 32] {
        let (parent, height) = (&self.parent, self.parent.height + 1);
        let cert_voters = match &self.previous {
            Some(committees) => voters(&parent.att, &parent.to_consensus_header(), committees).unwrap(),
            None => Vec::new(),
        };
        let header = Header {
            version: BLOCK_HEADER_VERSION,
            height,
            timestamp: parent.timestamp + self.genesis.block_time + late,
            prev_block_hash: parent.hash,
            seed: Signature::from(self.bls.sign(&self.key, parent.seed.inner())),
            generator_bls_pubkey: PublicKeyBytes(*self.key.id().as_bytes()),
            gas_limit: self.genesis.block_gas_limit,
            iteration,
            prev_block_cert: parent.att,
            failed_iterations: IterationsInfo::new(vec![None; iteration.into()]),
            ..Header::default()
        };
        let verified = |tx: &Vec<u8>| {
            let tx = Tx::decode(tx, height).unwrap().verify().unwrap();
            tx.with_checked_blobs(|_, _| Ok::<_, ()>(())).unwrap()
        };
        let txs: Vec<_> = txs.iter().map(verified).collect();
        let params = LedgerParams::new(&self.genesis).unwrap();
        let draft = Draft { header, faults: Vec::new(), cert_voters: &cert_voters };
        let built = build_body(draft, &params, &self.state, &NoContracts, &txs).unwrap().block;
        assert_eq!(built.block.txs().len(), txs.len());
        let mut block: Block = built.block;
        let hash = block.header().hash;
        block.set_signature(Signature::from(self.bls.sign(&self.key, &hash)));
        let vote = Vote::Valid(hash);
        let votes = |kind| {
            let bytes = signed_bytes(kind, &block.header().to_consensus_header(), &vote);
            StepVotes::new(self.bls.sign(&self.key, &bytes), 1)
        };
        let (validation, ratification) = (votes(StepKind::Validation), votes(StepKind::Ratification));
        block.set_attestation(Attestation { result: vote.into(), validation, ratification });
        let provisioners = Arc::new(Provisioners::from_stakes(self.state.stakes()));
        let quorums = self.genesis.rules().quorums();
        self.previous = Some(Arc::new(Committees::new(*parent.seed.inner(), height, provisioners, quorums)));
        self.state.apply(&built.executed.diff).unwrap();
        let mut bytes = Vec::new();
        block.write(&mut bytes).unwrap();
        self.blocks.push(bytes.into());
        self.parent = block.header().clone();
        hash
    }
}

/// What peers have, by peer.
pub type Shelf = Arc<Mutex<Vec<(PeerId, Vec<Arc<[u8]>>)>>>;

/// A node without a key, between peers that answer with what is on their shelf.
pub struct Follower {
    pub actor: Ref<Consensus>,
    pub supervisor: Supervisor,
    pub tip: DuskTipFeed,
    pub shelf: Shelf,
    /// Whom it has asked, and for which height first.
    pub asked: Arc<Mutex<Vec<(PeerId, u64)>>>,
    pub status: watch::Receiver<Option<PeerStatus>>,
    peers: watch::Sender<Arc<[PeerInfo]>>,
}

impl Follower {
    pub fn start(settings: Settings, store: &L1Store) -> Self {
        Self::start_with(settings, store, None)
    }

    pub fn start_with(settings: Settings, store: &L1Store, blobs: Option<Blobs>) -> Self {
        let shelf = Shelf::default();
        let (peers, feed) = watch::channel(Arc::from([]));
        let (status_out, status) = watch::channel(None);
        let (tip_out, tip) = watch::channel(None);
        let asked = Arc::<Mutex<Vec<(PeerId, u64)>>>::default();
        let (stock, log) = (shelf.clone(), asked.clone());
        let network = Network {
            publish: Port::from_fn(|_: Publish| async { Ok(1) }),
            ask: Port::from_fn(move |ask: Ask| {
                let answer = answer(&stock, &log, &ask);
                async move { answer }
            }),
            judged: Port::from_fn(|_: Judged| async {}),
            bad_answer: Port::from_fn(|_: BadAnswer| async {}),
            peers: feed,
            status: status_out,
        };
        let actor = Ref::declare("consensus");
        let wiring = Wiring {
            store: store.clone(),
            votes: store.path().with_file_name("votes"),
            mark: None,
            tip: tip_out,
            network: Some(network),
            blobs,
        };
        let settings = Settings { signer: None, ..settings };
        let supervisor = Tree::new("root", Strategy::OneForOne).actor(spec(&actor, settings, wiring)).start();
        Self { actor, supervisor, tip, shelf, asked, status, peers }
    }

    /// A peer with these blocks says so, and which of them is final.
    pub fn connect(&self, number: u8, blocks: &[Arc<[u8]>], says: u64, finalized: (u64, [u8; 32])) {
        let id = PeerId([number; 32]);
        let status = PeerStatus { identity: [0; 32], tip: (says, [0; 32]), finalized, oldest_blob: 0 };
        {
            let mut shelf = self.shelf.lock();
            shelf.retain(|(peer, _)| *peer != id);
            shelf.push((id, blocks.to_vec()));
        }
        let info = PeerInfo { id, address: None, inbound: false, status: Some(status) };
        self.peers.send_modify(|peers| {
            let others = peers.iter().filter(|peer| peer.id != id).cloned();
            *peers = others.chain([info]).collect();
        });
    }

    pub fn disconnect(&self, number: u8) {
        let id = PeerId([number; 32]);
        self.shelf.lock().retain(|(peer, _)| *peer != id);
        self.peers.send_modify(|peers| *peers = peers.iter().filter(|peer| peer.id != id).cloned().collect());
    }
}

fn answer(shelf: &Shelf, log: &Mutex<Vec<(PeerId, u64)>>, ask: &Ask) -> Result<(PeerId, Answer), AskFailure> {
    let shelf = shelf.lock();
    let chosen = match &ask.peer {
        PeerChoice::Peer(peer) => shelf.iter().find(|(id, _)| id == peer),
        PeerChoice::AtHeight { not, .. } => shelf.iter().find(|(id, _)| !not.contains(id)),
        _ => None,
    };
    let ((id, blocks), Request::Frame(question)) = (chosen.ok_or(AskFailure::NoPeer)?, &ask.request) else {
        return Err(AskFailure::NoPeer);
    };
    let Ok(Frame::GetResource(request)) = wire::decode(question, &wire::Limits::default()) else {
        return Err(AskFailure::NoPeer);
    };
    if let Some(Item::Height(height)) = request.inventory.items.first() {
        log.lock().push((*id, *height));
    }
    let frame = |item: &Item| match item {
        Item::Height(height) => blocks.get(usize::try_from(height.checked_sub(1)?).ok()?).cloned(),
        _ => None,
    };
    let frames = request.inventory.items.iter().filter_map(frame).map(|bytes| wire::encode(&Frame::Block(bytes)));
    Ok((*id, Answer::Frames(frames.collect())))
}
