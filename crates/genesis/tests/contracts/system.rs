//! The contracts that execution itself calls, and the code version that all forks can run.

use alloy_primitives::{Address, B256, U256, address, keccak256};
use alloy_sol_types::sol;
use duskevm_genesis::{
    Fork,
    predeploys::{
        BEACON_ROOTS_DEPLOYER, HISTORY_STORAGE_DEPLOYER, L1_BLOCK, L1_BLOCK_NUMBER, L2_TO_L1_MESSAGE_PASSER, WETH9,
    },
};
use revm::DatabaseRef;

use crate::chain::{ALICE, BLOCK, Chain, NOW};

const SYSTEM: Address = address!("fffffffffffffffffffffffffffffffffffffffe");
const BEACON_ROOTS: Address = address!("000F3df6D732807Ef1319fB7B8bB8522d0Beac02");
const HISTORY: Address = address!("0000F90827F1C53a10cb7A02335B175320002935");

sol! {
    function symbol() external view returns (string);
    function number() external view returns (uint64);
    function getL1BlockNumber() external view returns (uint256);
}

#[test]
fn beacon_roots_are_kept_by_time() {
    let mut chain = Chain::with_fork(Fork::Ecotone);
    let root = B256::repeat_byte(0xbe);
    assert!(chain.send(SYSTEM, BEACON_ROOTS, U256::ZERO, root.to_vec()).success);
    let question = U256::from(NOW).to_be_bytes::<32>();
    assert_eq!(chain.send(ALICE, BEACON_ROOTS, U256::ZERO, question).output, root.to_vec());
    let other = U256::from(NOW - 1).to_be_bytes::<32>();
    assert!(!chain.send(ALICE, BEACON_ROOTS, U256::ZERO, other).success);
}

#[test]
fn block_hashes_are_kept_by_number() {
    let mut chain = Chain::with_fork(Fork::Isthmus);
    let hash = B256::repeat_byte(0xaa);
    assert!(chain.send(SYSTEM, HISTORY, U256::ZERO, hash.to_vec()).success);
    let question = U256::from(BLOCK - 1).to_be_bytes::<32>();
    assert_eq!(chain.send(ALICE, HISTORY, U256::ZERO, question).output, hash.to_vec());
    let code = chain.db.basic_ref(HISTORY).unwrap().unwrap().code_hash;
    assert_eq!(code.to_string(), "0x6e49e66782037c0555897870e29fa5e552daf4719552131a0abce779daec0a5d");
}

#[test]
fn system_contracts_exist_from_their_fork_on() {
    for (fork, roots, history) in [
        (Fork::Delta, false, false),
        (Fork::Ecotone, true, false),
        (Fork::Holocene, true, false),
        (Fork::Isthmus, true, true),
    ] {
        let chain = Chain::with_fork(fork);
        for (address, deployer, expected) in
            [(BEACON_ROOTS, BEACON_ROOTS_DEPLOYER, roots), (HISTORY, HISTORY_STORAGE_DEPLOYER, history)]
        {
            let account = chain.db.basic_ref(address).unwrap();
            assert_eq!(account.as_ref().map(|a| a.nonce), expected.then_some(1), "{fork} {address}");
            assert!(account.is_none_or(|a| a.code_hash != keccak256([])));
            assert_eq!(chain.db.basic_ref(deployer).unwrap().map(|a| a.nonce), expected.then_some(1));
        }
    }
}

#[test]
fn the_l1_block_number_answers_however_it_is_asked() {
    let mut chain = Chain::new();
    chain.db.insert_account_storage(L1_BLOCK, U256::ZERO, U256::from(4711)).unwrap();
    assert_eq!(chain.ask(L1_BLOCK_NUMBER, getL1BlockNumberCall {}), U256::from(4711));
    for (value, data) in [(0, vec![1, 2, 3, 4]), (0, vec![]), (5, vec![]), (5, vec![9])] {
        let outcome = chain.send(ALICE, L1_BLOCK_NUMBER, U256::from(value), data);
        assert_eq!(outcome.output, U256::from(4711).to_be_bytes::<32>().to_vec());
    }
}

/// A chain may start with an old fork: the predeploys must not use opcodes that it lacks.
#[test]
fn predeploys_run_on_every_fork() {
    for fork in Fork::ALL {
        let mut chain = Chain::with_fork(fork);
        assert_eq!(chain.ask(L1_BLOCK, numberCall {}), 0);
        assert_eq!(chain.ask(WETH9, symbolCall {}), "WDUSK");
        let outcome = chain.send(ALICE, L2_TO_L1_MESSAGE_PASSER, U256::from(1_000_000_000), vec![]);
        assert!(outcome.success, "{fork}: {}", outcome.reason());
        let burn = chain.send(ALICE, L2_TO_L1_MESSAGE_PASSER, U256::ZERO, vec![0x44, 0xdf, 0x8e, 0x70]);
        assert!(burn.success && chain.balance(L2_TO_L1_MESSAGE_PASSER).is_zero(), "{fork}");
    }
}
