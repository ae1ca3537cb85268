//! A network's first round: who plays which part in it, and what they send.

use std::sync::Arc;
use std::time::Duration;

use duskevm_dusk_l1::body::{Draft, build_body};
use duskevm_dusk_l1::contracts::NoContracts;
use duskevm_dusk_l1::genesis::{Genesis, GenesisStake};
use duskevm_dusk_l1::keys::Signer;
use duskevm_dusk_l1::sa::bls::{Bls, DuskBls};
use duskevm_dusk_l1::sa::committee::Committees;
use duskevm_dusk_l1::sa::provisioners::Provisioners;
use duskevm_dusk_l1::sa::rules::{Step, StepKind};
use duskevm_dusk_l1::sa::wire::{self, CandidateFrame, Frame};
use duskevm_dusk_l1::state::MemoryState;
use duskevm_dusk_l1::tx::Tx;
use duskevm_dusk_l1::{BLOCK_HEADER_VERSION, Block, Header, LedgerTransaction, PublicKeyBytes, Signature, block};

use super::{DUSK, genesis, signer};

/// The first two iterations' generators, a voter of the first one, and another voter.
pub struct Cast {
    pub genesis: Genesis,
    pub generator: Signer,
    pub voter: Signer,
    pub other: Signer,
    pub outsider: Signer,
}

/// A network in which all of them are different. Whom the first round draws depends on how many there are.
pub fn cast() -> Cast {
    (4..=16).find_map(cast_of).expect("the generator of the next iteration has no vote in this one")
}

fn cast_of(provisioners: u8) -> Option<Cast> {
    let all: Vec<Signer> = (0..provisioners).map(|number| signer(&format!("provisioner {number}"))).collect();
    let mut genesis = genesis(1, Duration::from_secs(5));
    let stake = |signer: &Signer| GenesisStake { key: signer.id(), amount: 1_000_000 * DUSK, eligibility: 0 };
    genesis.stakes = all.iter().map(stake).collect();
    let mut state = MemoryState::default();
    state.apply(&genesis.state()).unwrap();
    let provisioners = Arc::new(Provisioners::from_stakes(state.stakes()));
    let seed = *genesis.block().header().seed.inner();
    let committees = Committees::new(seed, 1, provisioners, genesis.rules().quorums());
    let committee = committees.get(Step::new(0, StepKind::Validation).unwrap());
    let (generators, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|signer| Some(signer.id()) == committees.generator(0));
    let (voters, outsiders): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|signer| committee.contains(signer.id().as_bytes()));
    let mut voters = voters.into_iter();
    Some(Cast {
        genesis,
        generator: generators.into_iter().next()?,
        voter: voters.next()?,
        other: voters.next()?,
        outsider: outsiders.into_iter().next()?,
    })
}

impl Cast {
    /// The block that the generator makes of a transaction, not signed yet.
    pub fn block(&self, transaction: &[u8]) -> Block {
        let bls = DuskBls::default();
        let parent = self.genesis.block();
        let parent = parent.header();
        let header = Header {
            version: BLOCK_HEADER_VERSION,
            height: 1,
            timestamp: parent.timestamp + self.genesis.block_time,
            prev_block_hash: parent.hash,
            seed: Signature::from(bls.sign(&self.generator, parent.seed.inner())),
            generator_bls_pubkey: PublicKeyBytes(*self.generator.id().as_bytes()),
            gas_limit: self.genesis.block_gas_limit,
            ..Header::default()
        };
        let mut state = MemoryState::default();
        state.apply(&self.genesis.state()).unwrap();
        let params = block::LedgerParams::new(&self.genesis).unwrap();
        let tx = Tx::decode(transaction, 1).unwrap().verify().unwrap();
        let tx = tx.with_checked_blobs(|_, _| Ok::<_, ()>(())).unwrap();
        let draft = Draft { header, faults: Vec::new(), cert_voters: &[] };
        build_body(draft, &params, &state, &NoContracts, [&tx]).unwrap().block.block
    }

    /// The frame of a block with these transactions in the place of its own, signed by `signer`.
    pub fn candidate(&self, block: &Block, txs: Vec<LedgerTransaction>, signer: &Signer) -> Vec<u8> {
        let header = Header { hash: [0; 32], ..block.header().clone() };
        let mut block = Block::new(header, txs, Vec::new()).unwrap();
        block.set_signature(Signature::from(DuskBls::default().sign(signer, &block.header().hash)));
        wire::encode(&Frame::Candidate(Arc::new(CandidateFrame::from_block(&block).unwrap())))
    }
}
