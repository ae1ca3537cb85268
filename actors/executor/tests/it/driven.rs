//! The executor driven by a consensus client: blocks on the side, forkchoice states, payloads.

use crate::bed::{Bed, PATIENCE, attributes, id, transfer};
use alloy_consensus::Sealable as _;
use alloy_eips::BlockNumHash;
use alloy_primitives::{B256, U256};
use duskevm_engine_api::ForkchoiceState;
use duskevm_evm::{Block, RecoveredTx};
use duskevm_messages::executor::{
    ExecutorRefusal, SetLabels,
    engine::{BuildPayload, BuiltPayload, Chosen, Forkchoice, ForkchoiceRefusal, Offer, Offered},
};
use std::{slice::from_ref, sync::Arc};

impl Bed {
    async fn build_payload(
        &self,
        parent: &Block,
        salt: u8,
        users: &[Arc<RecoveredTx>],
    ) -> Result<BuiltPayload, ExecutorRefusal> {
        let build = BuildPayload {
            parent: parent.hash(),
            attributes: attributes(parent, salt, &[]),
            pool: users.to_vec().into(),
            until: None,
            da: Default::default(),
        };
        self.executor.ask(build).await.unwrap()
    }

    async fn offer(&self, block: &Arc<Block>) -> Result<Offered, ExecutorRefusal> {
        self.executor.ask_retry(Offer { block: block.clone() }, PATIENCE).await.unwrap()
    }

    async fn choose(&self, head: B256, safe: B256, finalized: B256) -> Result<Chosen, ForkchoiceRefusal> {
        let state = ForkchoiceState { head_block_hash: head, safe_block_hash: safe, finalized_block_hash: finalized };
        self.executor.ask_retry(Forkchoice { state }, PATIENCE).await.unwrap()
    }

    async fn go_to(&self, head: B256) {
        let chosen = self.choose(head, B256::ZERO, B256::ZERO).await.unwrap();
        assert!(matches!(&chosen, Chosen::Updated { head: reached } if reached.hash() == head), "{chosen:?}");
        assert_eq!(self.head().latest.hash(), head);
    }

    /// A block of the next L1 block, offered, made the head.
    async fn advance(&self, parent: &Block, salt: u8, users: &[Arc<RecoveredTx>]) -> Arc<Block> {
        let block = self.build_payload(parent, salt, users).await.unwrap().block;
        self.go_to(block.hash()).await;
        block
    }
}

/// Blocks of another node, on top of each other.
async fn made_elsewhere(path: &[Arc<Block>], count: u8, salt: u8, users: &[Arc<RecoveredTx>]) -> Vec<Arc<Block>> {
    let other = Bed::new();
    let mut parent = other.genesis.clone();
    for block in path {
        assert_eq!(other.offer(block).await, Ok(Offered::Valid));
        other.go_to(block.hash()).await;
        parent = block.clone();
    }
    let mut blocks = Vec::new();
    for index in 0..count {
        let users = users.get(usize::from(index)..=usize::from(index)).unwrap_or_default();
        parent = other.advance(&parent, salt + index, users).await;
        blocks.push(parent.clone());
    }
    other.supervisor.shutdown(PATIENCE).await;
    blocks
}

fn broken(block: &Block) -> Arc<Block> {
    let mut header = block.header.inner().clone();
    header.state_root = B256::repeat_byte(0xbb);
    Arc::new(Block { header: header.seal_slow(), transactions: block.transactions.clone() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_is_built_on_the_side_and_chosen_with_its_labels() {
    let mut bed = Bed::new();
    let genesis = bed.genesis.clone();
    let built = bed.build_payload(&genesis, 1, &[transfer(0), transfer(7)]).await.unwrap();
    assert_eq!(built.block.transactions.len(), 2);
    assert_eq!((built.value, built.invalid.len()), (U256::ZERO, 1), "tips of zero, and a nonce too high");
    assert_eq!(bed.head().latest.hash(), genesis.hash(), "the head stays until it is told");
    // It is known: nothing is executed again.
    assert_eq!(bed.offer(&built.block).await, Ok(Offered::Valid));
    let hash = built.block.hash();
    let chosen = bed.choose(hash, hash, genesis.hash()).await.unwrap();
    assert!(matches!(chosen, Chosen::Updated { head } if head.hash() == hash));
    let heads = bed.head();
    assert_eq!((heads.latest.hash(), heads.safe, heads.finalized), (hash, id(&built.block), id(&genesis)));
    // The pool learns what was mined, and from where to where the head went.
    let message = loop {
        let message = bed.told.recv().await.unwrap();
        if message.view.head.hash == hash && !message.mined.is_empty() {
            break message;
        }
    };
    assert_eq!((message.from, message.mined.contains(&transfer(0).hash())), (genesis.hash(), true));
    let refused = bed.build_payload(&genesis, 2, &[]).await.unwrap_err();
    assert!(matches!(refused, ExecutorRefusal::NotTheHead { head_number: 1, .. }), "{refused}");
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_made_elsewhere_are_taken_one_by_one_or_many_at_once() {
    let bed = Bed::new();
    let blocks = made_elsewhere(&[], 6, 1, &[transfer(0), transfer(1), transfer(2), transfer(3)]).await;
    assert_eq!(bed.offer(&blocks[1]).await, Ok(Offered::UnknownParent));
    assert_eq!(bed.choose(blocks[1].hash(), B256::ZERO, B256::ZERO).await, Ok(Chosen::Syncing));
    assert_eq!(bed.offer(&blocks[0]).await, Ok(Offered::Valid));
    bed.go_to(blocks[0].hash()).await;
    // Their states stand on each other and on no disk.
    for block in &blocks[1..] {
        assert_eq!(bed.offer(block).await, Ok(Offered::Valid));
        assert_eq!(bed.offer(block).await, Ok(Offered::Valid), "twice is once");
    }
    assert_eq!(bed.head().latest.hash(), blocks[0].hash());
    let chosen = bed.choose(blocks[5].hash(), blocks[3].hash(), blocks[2].hash()).await.unwrap();
    assert!(matches!(chosen, Chosen::Updated { .. }));
    let heads = bed.head();
    assert_eq!((heads.latest.hash(), heads.safe, heads.finalized), (blocks[5].hash(), id(&blocks[3]), id(&blocks[2])));
    let report = bed.store.check(|_| {}).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_goes_to_a_branch_and_back() {
    let mut bed = Bed::new();
    let genesis = bed.genesis.clone();
    let one = bed.advance(&genesis, 1, &[transfer(0)]).await;
    let two = bed.advance(&one, 2, &[transfer(1)]).await;
    let three = bed.advance(&two, 3, &[transfer(2)]).await;
    // Branches from below the head: its states are not those of the head.
    let branch = made_elsewhere(from_ref(&one), 3, 50, &[transfer(1)]).await;
    for block in &branch {
        assert_eq!(bed.offer(block).await, Ok(Offered::Valid));
    }
    assert_eq!(bed.head().latest.hash(), three.hash());
    bed.choose(three.hash(), two.hash(), B256::ZERO).await.unwrap();
    // A safe block of the other branch goes too: the consensus client says what is safe.
    let chosen = bed.choose(branch[2].hash(), B256::ZERO, B256::ZERO).await.unwrap();
    assert!(matches!(chosen, Chosen::Updated { .. }));
    let heads = bed.head();
    assert_eq!((heads.latest.hash(), heads.safe), (branch[2].hash(), id(&one)));
    assert_eq!(bed.returned(2).await, [transfer(1).hash(), transfer(2).hash()]);
    // Back to blocks that were in the chain: they are known still.
    bed.go_to(three.hash()).await;
    bed.go_to(branch[1].hash()).await;
    bed.go_to(one.hash()).await;
    let other = bed.advance(&one, 90, &[transfer(1)]).await;
    bed.go_to(three.hash()).await;
    bed.go_to(other.hash()).await;
    let report = bed.store.check(|_| {}).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_of_a_block_that_left_the_chain_is_executed_on_its_state() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let one = bed.advance(&genesis, 1, &[transfer(0)]).await;
    let two = bed.advance(&one, 2, &[transfer(1)]).await;
    let child = made_elsewhere(&[one.clone(), two.clone()], 1, 30, &[transfer(2)]).await;
    bed.go_to(genesis.hash()).await;
    assert_eq!(bed.offer(&child[0]).await, Ok(Offered::Valid));
    bed.go_to(child[0].hash()).await;
    let report = bed.store.check(|_| {}).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_block_and_its_descendants_change_nothing() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let one = bed.advance(&genesis, 1, &[]).await;
    let blocks = made_elsewhere(from_ref(&one), 2, 20, &[transfer(0)]).await;
    let bad = broken(&blocks[0]);
    for _ in 0..2 {
        let answer = bed.offer(&bad).await.unwrap();
        assert!(
            matches!(&answer, Offered::Invalid { latest_valid, .. } if *latest_valid == Some(one.hash())),
            "{answer:?}"
        );
    }
    let mut header = blocks[1].header.inner().clone();
    header.parent_hash = bad.hash();
    let child = Arc::new(Block { header: header.seal_slow(), transactions: blocks[1].transactions.clone() });
    let answer = bed.offer(&child).await.unwrap();
    assert!(
        matches!(&answer, Offered::Invalid { latest_valid, .. } if *latest_valid == Some(one.hash())),
        "{answer:?}"
    );
    for hash in [bad.hash(), child.hash()] {
        let chosen = bed.choose(hash, B256::ZERO, B256::ZERO).await.unwrap();
        assert!(
            matches!(&chosen, Chosen::Invalid { latest_valid, .. } if *latest_valid == Some(one.hash())),
            "{chosen:?}"
        );
    }
    assert_eq!(bed.head().latest.hash(), one.hash());
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn states_that_contradict_themselves_or_what_is_final_change_nothing() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let one = bed.advance(&genesis, 1, &[]).await;
    let two = bed.advance(&one, 2, &[]).await;
    let three = bed.advance(&two, 3, &[]).await;
    let branch = made_elsewhere(from_ref(&one), 2, 20, &[]).await;
    for block in &branch {
        assert_eq!(bed.offer(block).await, Ok(Offered::Valid));
    }
    bed.choose(three.hash(), two.hash(), two.hash()).await.unwrap();
    let before = bed.head();
    let unknown = B256::repeat_byte(0xee);
    for (head, safe, finalized) in [
        (B256::ZERO, B256::ZERO, B256::ZERO),
        (three.hash(), unknown, B256::ZERO),
        (three.hash(), branch[0].hash(), B256::ZERO),
        (three.hash(), two.hash(), one.hash()),
        (three.hash(), one.hash(), two.hash()),
        (branch[1].hash(), B256::ZERO, B256::ZERO),
    ] {
        let refused = bed.choose(head, safe, finalized).await.unwrap_err();
        let ForkchoiceRefusal::Contradiction(error) = &refused else { panic!("{refused}") };
        assert_eq!(error.code(), -38002, "{error}");
    }
    // Below what is final there is nothing to be done.
    let chosen = bed.choose(one.hash(), B256::ZERO, B256::ZERO).await.unwrap();
    assert!(matches!(chosen, Chosen::BelowFinalized(block) if block.hash == one.hash()));
    let after = bed.head();
    assert_eq!(
        (after.latest.hash(), after.safe, after.finalized),
        (before.latest.hash(), before.safe, before.finalized)
    );
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_the_side_is_empty_and_what_only_we_had_is_on_disk() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let one = bed.advance(&genesis, 1, &[transfer(0)]).await;
    assert!(bed.head().durable >= one.number(), "nobody else can bring a block that was built here");
    let next = made_elsewhere(from_ref(&one), 1, 20, &[]).await;
    assert_eq!(bed.offer(&next[0]).await, Ok(Offered::Valid));
    let bed = bed.restart(true).await;
    assert_eq!(bed.choose(next[0].hash(), B256::ZERO, B256::ZERO).await, Ok(Chosen::Syncing));
    assert_eq!(bed.offer(&next[0]).await, Ok(Offered::Valid));
    bed.go_to(next[0].hash()).await;
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_side_is_bounded() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let first = bed.build_payload(&genesis, 0, &[]).await.unwrap().block;
    for salt in 1..=64 {
        bed.build_payload(&genesis, salt, &[]).await.unwrap();
    }
    assert_eq!(bed.choose(first.hash(), B256::ZERO, B256::ZERO).await, Ok(Chosen::Syncing), "the oldest gave way");
    assert_eq!(bed.offer(&first).await, Ok(Offered::Valid), "whoever needs it brings it again");
    bed.go_to(first.hash()).await;
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_the_chain_are_kept_where_a_state_names_none() {
    let bed = Bed::new();
    let genesis = bed.genesis.clone();
    let one = bed.advance(&genesis, 1, &[]).await;
    bed.executor.ask(SetLabels { safe: Some(one.hash()), finalized: None }).await.unwrap().unwrap();
    let two = bed.advance(&one, 2, &[]).await;
    assert_eq!(bed.head().safe, BlockNumHash { number: 1, hash: one.hash() });
    bed.choose(two.hash(), two.hash(), one.hash()).await.unwrap();
    assert_eq!((bed.head().safe, bed.head().finalized), (id(&two), id(&one)));
    bed.supervisor.shutdown(PATIENCE).await;
}
