//! Helpers of development tools: Multicall3 and the CREATE2 deployers.

use alloy_primitives::{B256, Bytes, U256, hex, keccak256};
use alloy_sol_types::{SolCall, sol};
use duskevm_genesis::{
    Fork,
    predeploys::{CREATE2_DEPLOYER, DETERMINISTIC_DEPLOYMENT_PROXY, L1_BLOCK, MULTICALL3, WETH9},
};
use revm::DatabaseRef;

use crate::chain::{ALICE, BASE_FEE, BLOCK, BOB, Chain, NOW};

sol! {
    #[derive(Debug, PartialEq)]
    interface Multicall {
        struct Call { address target; bytes callData; }
        struct Call3 { address target; bool allowFailure; bytes callData; }
        struct Call3Value { address target; bool allowFailure; uint256 value; bytes callData; }
        struct Result { bool success; bytes returnData; }
        function aggregate(Call[] calls) external payable returns (uint256 blockNumber, bytes[] returnData);
        function tryAggregate(bool requireSuccess, Call[] calls) external payable returns (Result[] returnData);
        function tryBlockAndAggregate(bool requireSuccess, Call[] calls) external payable
            returns (uint256 blockNumber, bytes32 blockHash, Result[] returnData);
        function blockAndAggregate(Call[] calls) external payable
            returns (uint256 blockNumber, bytes32 blockHash, Result[] returnData);
        function aggregate3(Call3[] calls) external payable returns (Result[] returnData);
        function aggregate3Value(Call3Value[] calls) external payable returns (Result[] returnData);
        function getBlockHash(uint256 blockNumber) external view returns (bytes32 blockHash);
        function getBlockNumber() external view returns (uint256 blockNumber);
        function getCurrentBlockCoinbase() external view returns (address coinbase);
        function getCurrentBlockDifficulty() external view returns (uint256 difficulty);
        function getCurrentBlockGasLimit() external view returns (uint256 gaslimit);
        function getCurrentBlockTimestamp() external view returns (uint256 timestamp);
        function getEthBalance(address addr) external view returns (uint256 balance);
        function getLastBlockHash() external view returns (bytes32 blockHash);
        function getBasefee() external view returns (uint256 basefee);
        function getChainId() external view returns (uint256 chainid);
    }
    interface Create2 {
        function deploy(uint256 value, bytes32 salt, bytes code) external;
        function computeAddress(bytes32 salt, bytes32 codeHash) external view returns (address);
    }
    interface Token {
        function symbol() external view returns (string);
        function balanceOf(address owner) external view returns (uint256);
    }
}

use Multicall::{Call, Call3, Call3Value};

/// A call that works and one that does not.
fn good() -> Call {
    Call { target: MULTICALL3, callData: Multicall::getBlockNumberCall {}.abi_encode().into() }
}
fn bad() -> Call {
    Call { target: L1_BLOCK, callData: Bytes::from(hex!("440a5e20")) }
}

fn number(data: &[u8]) -> U256 {
    U256::try_from_be_slice(data).unwrap()
}

#[test]
fn aggregate_is_all_or_nothing() {
    let mut chain = Chain::new();
    let r = chain.ask(MULTICALL3, Multicall::aggregateCall { calls: vec![good(), good()] });
    assert_eq!(r.blockNumber, U256::from(BLOCK));
    assert_eq!(r.returnData.iter().map(|d| number(d)).collect::<Vec<_>>(), [U256::from(BLOCK); 2]);
    let r = chain.ask(MULTICALL3, Multicall::blockAndAggregateCall { calls: vec![good()] });
    assert_eq!((r.blockNumber, r.blockHash, r.returnData.len()), (U256::from(BLOCK), B256::ZERO, 1));
    for data in [
        Multicall::aggregateCall { calls: vec![good(), bad()] }.abi_encode(),
        Multicall::blockAndAggregateCall { calls: vec![bad()] }.abi_encode(),
        Multicall::tryAggregateCall { requireSuccess: true, calls: vec![bad()] }.abi_encode(),
    ] {
        assert_eq!(chain.send(ALICE, MULTICALL3, U256::ZERO, data).reason(), "Multicall3: call failed");
    }
}

#[test]
fn failures_are_reported_where_they_are_allowed() {
    let mut chain = Chain::new();
    let calls = vec![good(), bad()];
    let r = chain.ask(MULTICALL3, Multicall::tryAggregateCall { requireSuccess: false, calls: calls.clone() });
    assert!(r[0].success && number(&r[0].returnData) == U256::from(BLOCK));
    assert!(!r[1].success && r[1].returnData[..] == hex!("3cc50b45"));
    let b = chain.ask(MULTICALL3, Multicall::tryBlockAndAggregateCall { requireSuccess: false, calls });
    assert_eq!((b.blockNumber, b.returnData), (U256::from(BLOCK), r));

    let three = |allow: bool| {
        let (good, bad) = (good(), bad());
        let calls = vec![
            Call3 { target: bad.target, allowFailure: allow, callData: bad.callData },
            Call3 { target: good.target, allowFailure: false, callData: good.callData },
        ];
        Multicall::aggregate3Call { calls }
    };
    let r = chain.ask(MULTICALL3, three(true));
    assert!(!r[0].success && r[1].success);
    let outcome = chain.send(ALICE, MULTICALL3, U256::ZERO, three(false).abi_encode());
    assert_eq!(outcome.reason(), "Multicall3: call failed");
}

#[test]
fn value_is_passed_on_to_the_last_wei() {
    let mut chain = Chain::new();
    let call = |value: u64, target, allow| Call3Value {
        target,
        allowFailure: allow,
        value: U256::from(value),
        callData: Bytes::new(),
    };
    let data = Multicall::aggregate3ValueCall { calls: vec![call(3, WETH9, false), call(4, BOB, false)] }.abi_encode();
    assert!(chain.send(ALICE, MULTICALL3, U256::from(7), data.clone()).success);
    assert_eq!(chain.ask(WETH9, Token::balanceOfCall { owner: MULTICALL3 }), U256::from(3));
    assert_eq!(chain.balance(BOB), U256::from(4));
    let outcome = chain.send(ALICE, MULTICALL3, U256::from(8), data);
    assert_eq!(outcome.reason(), "Multicall3: value mismatch");
    // Too little, although the failing call may fail.
    let data = Multicall::aggregate3ValueCall { calls: vec![call(9, BOB, true)] }.abi_encode();
    assert_eq!(chain.send(ALICE, MULTICALL3, U256::from(1), data).reason(), "Multicall3: value mismatch");
}

#[test]
fn it_tells_about_the_block() {
    let mut chain = Chain::new();
    let at = MULTICALL3;
    assert_eq!(chain.ask(at, Multicall::getBlockNumberCall {}), U256::from(BLOCK));
    assert_eq!(chain.ask(at, Multicall::getCurrentBlockTimestampCall {}), U256::from(NOW));
    assert_eq!(chain.ask(at, Multicall::getCurrentBlockGasLimitCall {}), U256::from(60_000_000));
    assert_eq!(chain.ask(at, Multicall::getBasefeeCall {}), U256::from(BASE_FEE));
    assert_eq!(chain.ask(at, Multicall::getChainIdCall {}), U256::from(1));
    assert!(chain.ask(at, Multicall::getCurrentBlockCoinbaseCall {}).is_zero());
    assert!(chain.ask(at, Multicall::getCurrentBlockDifficultyCall {}).is_zero());
    let last = chain.ask(at, Multicall::getLastBlockHashCall {});
    assert!(!last.is_zero());
    assert_eq!(chain.ask(at, Multicall::getBlockHashCall { blockNumber: U256::from(BLOCK - 1) }), last);
    chain.set_balance(BOB, U256::from(5));
    assert_eq!(chain.ask(at, Multicall::getEthBalanceCall { addr: BOB }), U256::from(5));
}

/// Init code that leaves one byte (STOP) of runtime code.
const INIT: [u8; 5] = hex!("60015ff300");

#[test]
fn contracts_deploy_at_computed_addresses() {
    let mut chain = Chain::with_fork(Fork::Isthmus);
    let salt = B256::repeat_byte(9);

    let mut data = salt.to_vec();
    data.extend(INIT);
    let outcome = chain.send(ALICE, DETERMINISTIC_DEPLOYMENT_PROXY, U256::ZERO, data);
    let expected = DETERMINISTIC_DEPLOYMENT_PROXY.create2_from_code(salt, INIT);
    assert_eq!(outcome.output, expected.to_vec());
    assert_eq!(chain.db.basic_ref(expected).unwrap().unwrap().code_hash, keccak256([0]));

    let expected = CREATE2_DEPLOYER.create2_from_code(salt, INIT);
    let told = chain.ask(CREATE2_DEPLOYER, Create2::computeAddressCall { salt, codeHash: keccak256(INIT) });
    assert_eq!(told, expected);
    chain.ask(CREATE2_DEPLOYER, Create2::deployCall { value: U256::ZERO, salt, code: INIT.to_vec().into() });
    assert_eq!(chain.db.basic_ref(expected).unwrap().unwrap().code_hash, keccak256([0]));
    assert_eq!(chain.ask(WETH9, Token::symbolCall {}), "WDUSK");
}

/// What execution would write when Canyon activates is what genesis has already written.
#[test]
fn the_create2_deployer_has_the_code_that_canyon_forces() {
    let chain = Chain::with_fork(Fork::Canyon);
    let hash = chain.db.basic_ref(CREATE2_DEPLOYER).unwrap().unwrap().code_hash;
    assert_eq!(hash.to_string(), "0xb0550b5b431e30d38000efb7107aaa0ade03d48a7198a140edda9d27134468b2");
    let early = Chain::with_fork(Fork::Regolith);
    assert!(early.db.basic_ref(CREATE2_DEPLOYER).unwrap().is_none());
}
