//! L2ToL1MessagePasser: the hash, the slot and the event that L1 will ask for.

use alloy_primitives::{Address, B256, U256, address, keccak256};
use alloy_sol_types::{SolCall, SolValue, sol};
use duskevm_genesis::predeploys::L2_TO_L1_MESSAGE_PASSER as PASSER;

use crate::chain::{ALICE, BOB, Chain};

sol! {
    #[derive(Debug)]
    interface Passer {
        error NotWholeLux(uint256 value);
        error ExceedsL1Range(uint256 value);
        event MessagePassed(uint256 indexed nonce, address indexed sender, address indexed target, uint256 value,
            uint256 gasLimit, bytes data, bytes32 withdrawalHash);
        event WithdrawerBalanceBurnt(uint256 indexed amount);
        function initiateWithdrawal(address target, uint256 gasLimit, bytes data) external payable;
        function sentMessages(bytes32 hash) external view returns (bool);
        function messageNonce() external view returns (uint256);
        function MESSAGE_VERSION() external view returns (uint16);
        function burn() external;
    }
}

fn lux(n: u64) -> U256 {
    U256::from(n) * U256::from(1_000_000_000)
}

/// The nonce with this counter: version 1 in the top two bytes.
fn nonce(counter: u64) -> U256 {
    (U256::from(1) << 240) | U256::from(counter)
}

/// The hash of a withdrawal by the rule of the OP Stack.
fn withdrawal_hash(counter: u64, sender: Address, target: Address, value: U256, gas: u64, data: &[u8]) -> B256 {
    keccak256((nonce(counter), sender, target, value, U256::from(gas), data.to_vec()).abi_encode_params())
}

/// Where L1 looks a withdrawal up: mapping in slot 0.
fn slot_of(hash: B256) -> U256 {
    keccak256([hash, B256::ZERO].concat()).into()
}

#[test]
fn a_withdrawal_is_recorded_and_announced() {
    let mut chain = Chain::new();
    assert_eq!(chain.ask(PASSER, Passer::messageNonceCall {}), nonce(0));
    assert_eq!(chain.ask(PASSER, Passer::MESSAGE_VERSIONCall {}), 1);

    for (counter, value, data) in [(0, lux(5), &b"hello"[..]), (1, U256::ZERO, b""), (2, lux(u64::MAX), &[7; 100])] {
        let call =
            Passer::initiateWithdrawalCall { target: BOB, gasLimit: U256::from(90_000), data: data.to_vec().into() };
        let outcome = chain.send(ALICE, PASSER, value, call.abi_encode());
        assert!(outcome.success, "{}", outcome.reason());

        let hash = withdrawal_hash(counter, ALICE, BOB, value, 90_000, data);
        let event = outcome.event::<Passer::MessagePassed>();
        assert_eq!(event.address, PASSER);
        assert_eq!((event.nonce, event.sender, event.target), (nonce(counter), ALICE, BOB));
        assert_eq!((event.value, event.gasLimit), (value, U256::from(90_000)));
        assert_eq!((&event.data.data[..], event.withdrawalHash), (data, hash));
        assert_eq!(
            outcome.logs[0].topics()[0].to_string(),
            "0x02a52367d10742d8032712c1bb8e0144ff1ec5ffda1ed7d70bb05a2744955054"
        );
        let stored = chain.db.cache.accounts[&PASSER].storage.get(&slot_of(hash)).copied();
        assert_eq!(stored, Some(U256::from(1)));
        assert!(chain.ask(PASSER, Passer::sentMessagesCall { hash }));
        assert_eq!(chain.slot(PASSER, 1), B256::from(U256::from(counter + 1)));
        assert_eq!(chain.ask(PASSER, Passer::messageNonceCall {}), nonce(counter + 1));
    }
    assert!(!chain.ask(PASSER, Passer::sentMessagesCall { hash: B256::repeat_byte(1) }));
}

#[test]
fn a_plain_transfer_withdraws_to_the_sender() {
    let mut chain = Chain::new();
    let outcome = chain.send(ALICE, PASSER, lux(3), vec![]);
    let event = outcome.event::<Passer::MessagePassed>();
    assert_eq!((event.sender, event.target, event.value), (ALICE, ALICE, lux(3)));
    assert_eq!(event.withdrawalHash, withdrawal_hash(0, ALICE, ALICE, lux(3), 100_000, &[]));
}

#[test]
fn what_l1_cannot_pay_is_refused() {
    let mut chain = Chain::new();
    for value in [U256::from(1), lux(1) + U256::from(1), lux(7) - U256::from(1)] {
        let outcome = chain.send(ALICE, PASSER, value, vec![]);
        assert!(outcome.is_error::<Passer::NotWholeLux>(), "{outcome:?}");
    }
    let outcome = chain.send(ALICE, PASSER, lux(u64::MAX) + lux(1), vec![]);
    assert!(outcome.is_error::<Passer::ExceedsL1Range>(), "{outcome:?}");
    assert_eq!(chain.balance(PASSER), U256::ZERO);
    assert_eq!(chain.slot(PASSER, 1), B256::ZERO);
}

#[test]
fn withdrawn_value_can_be_burnt() {
    let mut chain = Chain::new();
    for _ in 0..2 {
        chain.send(ALICE, PASSER, lux(3), vec![]);
        let outcome = chain.send(BOB, PASSER, U256::ZERO, Passer::burnCall {}.abi_encode());
        assert_eq!(outcome.event::<Passer::WithdrawerBalanceBurnt>().amount, lux(3));
        assert_eq!(chain.balance(PASSER), U256::ZERO);
    }
    // The value is nowhere: only the senders' and funded accounts hold any.
    let held: U256 =
        chain.db.cache.accounts.values().filter(|a| a.info.balance < lux(1_000_000)).map(|a| a.info.balance).sum();
    assert_eq!(held, U256::ZERO);
    assert_eq!(PASSER, address!("4200000000000000000000000000000000000016"));
}
