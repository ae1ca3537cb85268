//! The chain read from a real database is the chain that was put into it.

use crate::{
    chain::MemoryChain,
    node::{STORE_AND_LOG, deploy, dynamic, transfer, user, word},
};
use alloy_eips::{BlockNumHash, eip2718::Encodable2718 as _};
use alloy_primitives::{Address, B256, TxKind, U256};
use duskevm_evm::Block;
use duskevm_messages::executor::ChainHeads;
use duskevm_rpc::{
    StoreReader,
    chain::{ChainReader, ReadError},
};
use duskevm_store::{
    Identity,
    l2::{BlockCommit, L2Settings, L2Store, StoredTransaction},
};
use duskevm_supervision::Fence;
use futures::StreamExt as _;
use std::sync::Arc;
use tokio::sync::watch;

fn commit(chain: &MemoryChain, block: &Block) -> BlockCommit {
    let (state, nodes) = chain.effects_of(block.hash());
    BlockCommit {
        hash: block.hash(),
        header: block.header.inner().clone(),
        transactions: block
            .transactions
            .iter()
            .map(|tx| StoredTransaction { hash: tx.hash(), sender: tx.sender(), raw: tx.encoded().clone() })
            .collect(),
        receipts: chain.receipts_of(block.hash()).iter().map(|receipt| receipt.encoded_2718().into()).collect(),
        state,
        nodes,
    }
}

fn heads(block: &Arc<Block>, genesis: &Block) -> Option<Arc<ChainHeads>> {
    let genesis = BlockNumHash { number: 0, hash: genesis.hash() };
    Some(Arc::new(ChainHeads { latest: block.clone(), safe: genesis, finalized: genesis, durable: 0, replaced: None }))
}

#[tokio::test]
async fn it_answers_like_the_chain_itself() {
    let chain = MemoryChain::isthmus();
    let genesis = chain.head();
    let contract = deploy(&chain, 0, STORE_AND_LOG);
    let alice = user(0);
    chain.mine(vec![
        dynamic(&alice, 0, TxKind::Call(contract), 0, word(5)),
        transfer(&alice, 1, Address::repeat_byte(0x44), 7),
    ]);
    chain.mine(vec![dynamic(&alice, 2, TxKind::Call(contract), 0, word(6))]);
    let numbers = 0..=chain.head().number();
    let blocks: Vec<Arc<Block>> =
        numbers.map(|number| chain.block(chain.canonical_hash(number).unwrap().unwrap()).unwrap().unwrap()).collect();

    let directory = tempfile::tempdir().unwrap();
    let identity = Identity { chain_id: chain.spec.chain_id, genesis: genesis.hash() };
    let store = L2Store::open(&directory.path().join("l2"), &identity, L2Settings::default()).unwrap();
    let (sender, feed) = watch::channel(None);
    let reader = StoreReader::new(feed, store.reader());
    assert_eq!(reader.heads(), Err(ReadError::NotReady), "nothing is known before the executor says so");
    let mut moved = reader.signal()();

    let fence = Fence::unfenced();
    store.init_genesis(&fence, commit(&chain, &genesis)).unwrap();
    for block in &blocks[1..] {
        store.commit_block(&fence, commit(&chain, block)).unwrap();
        sender.send_replace(heads(block, &genesis));
        assert_eq!(moved.next().await, Some(()));
    }
    assert_eq!(reader.heads().unwrap().latest, chain.heads().unwrap().latest);
    assert_eq!(reader.heads().unwrap().finalized.hash, genesis.hash());

    let accounts = [contract, alice.address(), Address::repeat_byte(0x44), Address::repeat_byte(0x45)];
    for block in &blocks {
        let hash = block.hash();
        assert_eq!(reader.canonical_hash(block.number()).unwrap(), Some(hash));
        assert_eq!(reader.header(hash).unwrap().as_ref(), Some(&block.header));
        assert_eq!(reader.block(hash).unwrap().as_deref(), Some(&**block));
        assert_eq!(reader.receipts(hash).unwrap(), chain.receipts(hash).unwrap());
        for tx in &block.transactions {
            assert_eq!(reader.transaction(tx.hash()).unwrap(), chain.transaction(tx.hash()).unwrap());
        }
        let (ours, theirs) = (reader.state(hash).unwrap().unwrap(), chain.state(hash).unwrap().unwrap());
        for address in accounts {
            let account = ours.account(address).unwrap();
            assert_eq!(account, theirs.account(address).unwrap());
            assert_eq!(ours.storage(address, U256::ZERO).unwrap(), theirs.storage(address, U256::ZERO).unwrap());
            let slots = [U256::ZERO, U256::from(1)];
            assert_eq!(ours.prove(address, &slots).unwrap(), theirs.prove(address, &slots).unwrap());
            if let Some(account) = account {
                assert_eq!(ours.code(account.code_hash).unwrap(), theirs.code(account.code_hash).unwrap());
            }
        }
        for number in 0..=block.number() + 1 {
            assert_eq!(ours.block_hash(number).unwrap(), theirs.block_hash(number).unwrap(), "{number}");
        }
    }
    assert_eq!(reader.safe_head_at(u64::MAX).unwrap(), None, "nothing was derived");
    let noted = |l1: u64, l2: &Block| {
        let at = |number, hash| duskevm_store::l2::BlockRef { number, hash };
        store.note_safe_head(&fence, at(l1, B256::repeat_byte(1)), at(l2.number(), l2.hash())).unwrap();
    };
    noted(5, &blocks[1]);
    noted(6, &blocks[2]);
    let safe_at = |l1| reader.safe_head_at(l1).unwrap().map(|found| (found.l1.number, found.l2.hash));
    assert_eq!([safe_at(4), safe_at(5)], [None, Some((5, blocks[1].hash()))]);
    assert_eq!(safe_at(u64::MAX), Some((6, blocks[2].hash())));
    assert_eq!(reader.transaction(B256::ZERO).unwrap(), None);
    assert!(reader.block(B256::ZERO).unwrap().is_none());
    assert!(reader.receipts(B256::ZERO).unwrap().is_none());
    assert!(reader.state(B256::ZERO).unwrap().is_none());
}
