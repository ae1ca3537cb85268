//! The executor driven by a consensus client: blocks on the side, forkchoice states, payloads.

use crate::{
    bed::{Bed, PATIENCE, attributes, id, transfer},
    driving::made_elsewhere,
};
use alloy_consensus::Sealable as _;
use alloy_eips::BlockNumHash;
use alloy_primitives::{B256, U256};
use duskevm_evm::Block;
use duskevm_executor::KeptBlocks;
use duskevm_messages::executor::{
    ExecutorRefusal, SetLabels,
    engine::{Advance, Advanced, BuildPayload, Chosen, ForkchoiceRefusal, Mandate, Offered},
};
use std::{slice::from_ref, sync::Arc};

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
async fn the_side_is_bounded() {
    let bed = Bed::keeping(KeptBlocks::bounded(4, usize::MAX));
    let genesis = bed.genesis.clone();
    let first = bed.build_payload(&genesis, 0, &[]).await.unwrap().block;
    for salt in 1..=4 {
        bed.build_payload(&genesis, salt, &[]).await.unwrap();
    }
    assert_eq!(bed.choose(first.hash(), B256::ZERO, B256::ZERO).await, Ok(Chosen::Syncing), "the oldest gave way");
    assert_eq!(bed.offer(&first).await, Ok(Offered::Valid), "whoever needs it brings it again");
    bed.go_to(first.hash()).await;
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_whose_ancestors_are_gone_is_not_called_valid() {
    let bed = Bed::keeping(KeptBlocks::bounded(3, usize::MAX));
    let blocks = made_elsewhere(&[], 4, 1, &[]).await;
    for block in &blocks {
        assert_eq!(bed.offer(block).await, Ok(Offered::Valid));
    }
    // The first one gave way to the fourth. The third is there, and leads nowhere.
    assert_eq!(bed.offer(&blocks[2]).await, Ok(Offered::UnknownParent));
    assert_eq!(bed.choose(blocks[2].hash(), B256::ZERO, B256::ZERO).await, Ok(Chosen::Syncing));
    let bed = bed.restart(true).await;
    for block in &blocks {
        assert_eq!(bed.offer(block).await, Ok(Offered::Valid));
    }
    bed.go_to(blocks[3].hash()).await;
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_is_executed_beside_the_chain_up_to_a_bound() {
    let bed = Bed::new();
    let blocks = made_elsewhere(&[], 66, 1, &[]).await;
    for block in &blocks[..65] {
        assert_eq!(bed.offer(block).await, Ok(Offered::Valid));
    }
    assert_eq!(bed.offer(&blocks[65]).await, Ok(Offered::UnknownParent));
    // All that was called valid can be the head, and then there is room for more.
    bed.go_to(blocks[64].hash()).await;
    assert_eq!(bed.offer(&blocks[65]).await, Ok(Offered::Valid));
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_long_way_back_the_old_head_is_valid_and_can_be_taken_again() {
    let bed = Bed::new();
    let mut blocks = vec![bed.genesis.clone()];
    for salt in 0..70 {
        blocks.push(bed.advance(&blocks[usize::from(salt)], salt, &[]).await);
    }
    // What is known of them now is on the disk.
    let bed = bed.restart(true).await;
    bed.go_to(blocks[0].hash()).await;
    let head = &blocks[70];
    assert_eq!(bed.offer(head).await, Ok(Offered::Valid));
    bed.go_to(head.hash()).await;
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_not_all_blocks_of_a_way_back_can_be_kept_the_lower_ones_are() {
    let mut bed = Bed::new();
    let mut blocks = vec![bed.genesis.clone()];
    for salt in 0..6 {
        blocks.push(bed.advance(&blocks[usize::from(salt)], salt, &[]).await);
    }
    bed.supervisor.shutdown(PATIENCE).await;
    bed = Bed::with(bed.folder, bed.genesis, bed.store, true, KeptBlocks::bounded(3, usize::MAX), None);
    bed.go_to(blocks[1].hash()).await;
    assert_eq!(bed.offer(&blocks[6]).await, Ok(Offered::UnknownParent));
    assert_eq!(bed.offer(&blocks[4]).await, Ok(Offered::Valid));
    bed.go_to(blocks[4].hash()).await;
    bed.supervisor.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_of_the_end_of_time_ends_nobody() {
    let bed = Bed::new();
    let mut last = attributes(&bed.genesis, 1, &[]);
    last.timestamp = u64::MAX;
    let parent = bed.genesis.hash();
    let no_pool = std::iter::empty().collect();
    let build =
        BuildPayload { parent, attributes: last, no_tx_pool: true, pool: no_pool, until: None, da: Default::default() };
    let built = bed.executor.ask(build).await.unwrap().unwrap();
    bed.go_to(built.block.hash()).await;
    assert_eq!(bed.restarts(), 0);
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

#[tokio::test(flavor = "multi_thread")]
async fn the_head_is_led_to_a_wanted_one_until_the_consensus_client_has_another() {
    let bed = Bed::new();
    let blocks = made_elsewhere(&[], 4, 1, &[]).await;
    let wanted = || *bed.wanted.borrow();
    assert_eq!(wanted(), None);
    assert_eq!(bed.choose(blocks[3].hash(), B256::ZERO, B256::ZERO).await, Ok(Chosen::Syncing));
    let mandate = wanted().unwrap().mandate;
    assert_eq!(wanted().unwrap().head, blocks[3].hash());
    let step = async |from: &Block, to: &Block, mandate: Mandate| {
        let step = Advance { from: from.hash(), to: to.hash(), mandate };
        bed.executor.ask_retry(step, PATIENCE).await.unwrap().unwrap()
    };
    // Not before it was offered.
    assert_eq!(step(&bed.genesis, &blocks[0], mandate).await, Advanced::Unknown);
    assert_eq!(bed.offer(&blocks[0]).await, Ok(Offered::Valid));
    assert_eq!(step(&blocks[1], &blocks[0], mandate).await, Advanced::Superseded, "from another head");
    let other = Mandate { taken: mandate.taken + 1, ..mandate };
    assert_eq!(step(&bed.genesis, &blocks[0], other).await, Advanced::Superseded, "nobody gave this mandate");
    assert_eq!(bed.head().latest.hash(), bed.genesis.hash());
    for _ in 0..2 {
        assert_eq!(step(&bed.genesis, &blocks[0], mandate).await, Advanced::Done, "twice is once");
        assert_eq!(bed.head().latest.hash(), blocks[0].hash());
    }
    // A newer head is wanted: the mandate is the same.
    assert_eq!(bed.choose(B256::repeat_byte(5), B256::ZERO, B256::ZERO).await, Ok(Chosen::Syncing));
    assert_eq!(wanted().unwrap().mandate, mandate);
    assert_eq!(bed.offer(&blocks[1]).await, Ok(Offered::Valid));
    assert_eq!(step(&blocks[0], &blocks[1], mandate).await, Advanced::Done);
    // The consensus client takes a head that is here, be it the same one: from now on it leads.
    bed.go_to(blocks[1].hash()).await;
    assert_eq!(wanted(), None);
    assert_eq!(bed.offer(&blocks[2]).await, Ok(Offered::Valid));
    assert_eq!(step(&blocks[1], &blocks[2], mandate).await, Advanced::Superseded);
    assert_eq!(bed.head().latest.hash(), blocks[1].hash());
    // What an earlier instance was asked for is nothing that the next one does.
    assert_eq!(bed.choose(B256::repeat_byte(5), B256::ZERO, B256::ZERO).await, Ok(Chosen::Syncing));
    let before = wanted().unwrap().mandate;
    bed.supervisor.inject("executor", duskevm_supervision::Fault::Panic).unwrap();
    let mut feed = bed.wanted.clone();
    feed.wait_for(Option::is_none).await.unwrap();
    assert_eq!(bed.offer(&blocks[2]).await, Ok(Offered::Valid));
    assert_eq!(step(&blocks[1], &blocks[2], before).await, Advanced::Superseded);
    bed.supervisor.shutdown(PATIENCE).await;
}
