//! What the executor makes of a disk that fails.

use alloy_consensus::Header;
use alloy_primitives::B256;
use duskevm::{
    config::Config,
    network::{Network, NetworkFiles},
    node::DataFolder,
};
use duskevm_evm::{BlockAttributes, NoPool};
use duskevm_executor::{ChainState, Settings};
use duskevm_fence::Fence;
use duskevm_rollup::{ConfigUpdates, L1BlockRef, OriginBlock, OriginChoice, epoch_attributes};
use duskevm_trie::StateLimits;
use std::sync::Arc;

fn attributes(network: &Network, parent: &Header) -> BlockAttributes {
    let header = Header { timestamp: parent.timestamp, base_fee_per_gas: Some(1_000_000_000), ..Default::default() };
    let hash = header.hash_slow();
    let origin = L1BlockRef { hash, number: 0, parent_hash: B256::ZERO, timestamp: header.timestamp };
    let choice = OriginChoice { origin, sequence_number: 0, no_user_transactions: false };
    let origin = OriginBlock { header, hash, deposits: Ok(Vec::new()), updates: ConfigUpdates::default() };
    let system = network.rollup.genesis.system_config;
    epoch_attributes(&network.rollup, &system, parent.timestamp + 1, &choice, &origin)
        .expect("the origin is the chosen one")
}

fn add_block(chain: &mut ChainState, network: &Network) -> anyhow::Result<()> {
    let attributes = attributes(network, &chain.head().header.clone());
    let executed = chain.build(&attributes, &mut NoPool)?.expect("a valid block");
    Ok(chain.commit(executed)?)
}

#[test]
fn the_next_instance_opens_a_database_that_failed() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.l2.block_time = 1;
    let network = NetworkFiles::local(&config, 1_700_000_000).unwrap().load().unwrap();
    let stores = DataFolder::open(folder.path()).and_then(|data| data.stores(&config, &network)).unwrap();
    let open = || {
        let settings =
            Settings { spec: network.spec.clone(), block_time: 1, trie: StateLimits::default(), answered: None };
        ChainState::open(settings, Arc::clone(&stores.l2), Fence::unfenced()).map_err(anyhow::Error::from)
    };
    let mut chain = open().unwrap();
    add_block(&mut chain, &network).unwrap();
    chain.flush().unwrap();
    let safe = chain.head().hash();

    fail::cfg("store-db-flush", "1*return(the disk is gone)").unwrap();
    add_block(&mut chain, &network).unwrap();
    chain.flush().unwrap_err();
    assert!(add_block(&mut chain, &network).is_err());
    drop(chain);

    // What was on disk for certain is there, what was on its way may be, and the chain goes on.
    let mut chain = open().unwrap();
    let head = chain.head();
    assert!(head.hash() == safe || head.header.parent_hash == safe, "block {}", head.number());
    add_block(&mut chain, &network).unwrap();
    chain.flush().unwrap();
}
