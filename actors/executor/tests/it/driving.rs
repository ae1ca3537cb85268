//! What a consensus client asks.

use crate::bed::{Bed, PATIENCE, attributes};
use alloy_primitives::B256;
use duskevm_engine_api::ForkchoiceState;
use duskevm_evm::{Block, RecoveredTx};
use duskevm_messages::executor::{
    ExecutorRefusal,
    engine::{BuildPayload, BuiltPayload, Chosen, Forkchoice, ForkchoiceRefusal, Offer, Offered},
};
use std::sync::Arc;

impl Bed {
    pub(crate) async fn build_payload(
        &self,
        parent: &Block,
        salt: u8,
        users: &[Arc<RecoveredTx>],
    ) -> Result<BuiltPayload, ExecutorRefusal> {
        let build = BuildPayload {
            parent: parent.hash(),
            attributes: attributes(parent, salt, &[]),
            no_tx_pool: false,
            pool: users.to_vec().into(),
            until: None,
            da: Default::default(),
        };
        self.executor.ask(build).await.unwrap()
    }

    pub(crate) async fn offer(&self, block: &Arc<Block>) -> Result<Offered, ExecutorRefusal> {
        self.executor.ask_retry(Offer { block: block.clone() }, PATIENCE).await.unwrap()
    }

    pub(crate) async fn choose(&self, head: B256, safe: B256, finalized: B256) -> Result<Chosen, ForkchoiceRefusal> {
        let state = ForkchoiceState { head_block_hash: head, safe_block_hash: safe, finalized_block_hash: finalized };
        self.executor.ask_retry(Forkchoice { state }, PATIENCE).await.unwrap()
    }

    pub(crate) async fn go_to(&self, head: B256) {
        let chosen = self.choose(head, B256::ZERO, B256::ZERO).await.unwrap();
        assert!(matches!(&chosen, Chosen::Updated { head: reached } if reached.hash() == head), "{chosen:?}");
        assert_eq!(self.head().latest.hash(), head);
    }

    /// A block of the next L1 block, offered, made the head.
    pub(crate) async fn advance(&self, parent: &Block, salt: u8, users: &[Arc<RecoveredTx>]) -> Arc<Block> {
        let block = self.build_payload(parent, salt, users).await.unwrap().block;
        self.go_to(block.hash()).await;
        block
    }
}

/// Blocks of another node, on top of each other.
pub(crate) async fn made_elsewhere(
    path: &[Arc<Block>],
    count: u8,
    salt: u8,
    users: &[Arc<RecoveredTx>],
) -> Vec<Arc<Block>> {
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
