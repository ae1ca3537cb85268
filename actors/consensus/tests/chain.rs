//! The chain on disk: what one node has made another accepts, and what does not fit together is refused.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use duskevm_consensus::{Chain, ConsensusError};
use duskevm_dusk_l1::block::LedgerParams;
use duskevm_dusk_l1::body::{BlobsNeeded, verify_body};
use duskevm_dusk_l1::contracts::NoContracts;
use duskevm_dusk_l1::header::{HeaderContext, Stage, verify_header};
use duskevm_dusk_l1::record::AcceptedBlock;
use duskevm_dusk_l1::sa::bls::DuskBls;
use duskevm_dusk_l1::sa::committee::Committees;
use duskevm_dusk_l1::sa::provisioners::Provisioners;
use duskevm_dusk_l1::state::MemoryState;
use duskevm_supervision::{ActorError, Fence, Reaction};
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn every_block_passes_the_full_check() {
    const BLOCKS: u64 = 8;
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::from_secs(60));
    let store = open_store(&dir, &genesis);
    let shift = Shift::default();
    let bed = Bed::start(settings(&genesis, shift.clock()), store.clone());
    bed.submit(transfer("alice", 1, 5)).await.unwrap();
    for height in 1..=BLOCKS {
        assert_eq!(bed.height(height).await.final_height, height - 1);
        shift.by(1_000);
    }
    bed.supervisor.shutdown(PATIENCE).await;

    // Another node that has nothing but the blocks arrives at the same chain.
    let (params, rules, bls) = (LedgerParams::new(&genesis).unwrap(), genesis.rules(), DuskBls::default());
    let mut state = MemoryState::default();
    state.apply(&genesis.state()).unwrap();
    let mut parent = genesis.block().header().clone();
    let mut previous: Option<Arc<Committees>> = None;
    let mut transactions = 0;
    for height in 1..=BLOCKS {
        let stored = AcceptedBlock::decode(&store.block(height).unwrap().unwrap()).unwrap();
        let block = stored.block().unwrap();
        let provisioners = Arc::new(Provisioners::from_stakes(state.stakes()));
        let committees = Arc::new(Committees::new(*parent.seed.inner(), height, provisioners, rules.quorums()));
        let context =
            HeaderContext { parent: &parent, committees: &committees, previous: previous.as_deref(), params: &params };
        let facts = verify_header(&bls, &context, block.header(), Stage::Accept { now: None }, &|_, _| false).unwrap();
        assert_eq!(facts.unattested, 0);
        let checked = verify_body(block, &facts.cert_voters, &params, &state, &NoContracts, BlobsNeeded::None).unwrap();
        assert_eq!(checked.executed.outcomes, stored.outcomes);
        transactions += stored.outcomes.len();
        state.apply(&checked.executed.diff).unwrap();
        assert_eq!(state.root().0, stored.header.state_hash);
        (parent, previous) = (stored.header, Some(committees));
    }
    assert_eq!(transactions, 1);
    let chain = Chain::open(settings(&genesis, shift.clock()), store, &Fence::unfenced()).unwrap();
    assert!(chain.tip().height >= BLOCKS);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_together_is_refused() {
    let dir = TempDir::new().unwrap();
    let genesis = genesis(1, Duration::ZERO);
    let store = open_store(&dir, &genesis);
    let fence = Fence::unfenced();
    let good = settings(&genesis, Shift::default().clock());
    let bed = Bed::start(good.clone(), store.clone());
    bed.height(1).await;
    bed.supervisor.shutdown(PATIENCE).await;

    // A state record that does not belong: the root shows it.
    let next = store.tip().unwrap().unwrap() + 1;
    let stored = store.block(next - 1).unwrap().unwrap();
    let odd = duskevm_store::l1::BlockCommit {
        height: next,
        hash: [9; 32],
        record: stored,
        state: vec![(vec![1; 97], Some(vec![1; 16]))],
        finality: store.finality().unwrap().unwrap(),
        ..Default::default()
    };
    store.commit_block(&fence, &odd).unwrap();
    let error = Chain::open(good, store, &fence).unwrap_err();
    assert!(matches!(error, ConsensusError::Damaged(_)) && error.reaction() == Reaction::Abort, "{error}");
}
