#![allow(missing_docs, reason = "the macro makes items without documentation")]

use alloy_sol_types::{SolCall, sol};
use proptest::prelude::*;

use super::*;
use crate::args::{Arguments as _, SendMessage, SetUnsafeBlockSigner};
use crate::testing::{ALICE, BATCHER, Ledger, OWNER, genesis};

// As the Solidity sources declare them.
sol! {
    function owner() external view returns (address);
    function batcherHash() external view returns (bytes32);
    function scalar() external view returns (uint256);
    function basefeeScalar() external view returns (uint32);
    function blobbasefeeScalar() external view returns (uint32);
    function gasLimit() external view returns (uint64);
    function unsafeBlockSigner() external view returns (address);
    function UNSAFE_BLOCK_SIGNER_SLOT() external view returns (bytes32);
    function startBlock() external view returns (uint256);
    function batchInbox() external view returns (address);
    function version() external view returns (string);
    function paused() external view returns (bool);
    function l2Sender() external view returns (address);
    function minimumGasLimit(uint64 byteCount) external view returns (uint64);
    function messageNonce() external view returns (uint256);
    function baseGas(bytes message, uint32 minGasLimit) external view returns (uint64);
    function nextNonce(address signer) external view returns (uint64);
    function otherBridge() external view returns (address);
    function setGasLimit(uint64 gasLimit) external;
}

fn settlement() -> Settlement {
    Settlement::new(&genesis())
}

fn ask<C: SolCall>(ledger: &Ledger, contract: Contract, call: &C) -> C::Return {
    let answer = settlement().view_call(ledger, contract, &call.abi_encode()).unwrap();
    C::abi_decode_returns(&answer).unwrap()
}

#[test]
fn read_functions_answer_in_soliditys_abi() {
    let ledger = Ledger::new();
    let (config, s) = (Contract::SystemConfig, settlement());
    assert_eq!(ask(&ledger, config, &ownerCall {}), OWNER.address());
    assert_eq!(ask(&ledger, config, &batcherHashCall {}), BATCHER.into_word());
    assert_eq!(B256::from(ask(&ledger, config, &scalarCall {})), genesis().system_config.scalar);
    assert_eq!(ask(&ledger, config, &basefeeScalarCall {}), 1368);
    assert_eq!(ask(&ledger, config, &blobbasefeeScalarCall {}), 810_949);
    assert_eq!(ask(&ledger, config, &gasLimitCall {}), 60_000_000);
    assert_eq!(ask(&ledger, config, &startBlockCall {}), U256::ZERO);
    assert_eq!(ask(&ledger, config, &batchInboxCall {}), s.address_of(Contract::BatchInbox));
    assert!(!ask(&ledger, Contract::Portal, &pausedCall {}));
    assert_eq!(ask(&ledger, Contract::Portal, &l2SenderCall {}), NO_L2_SENDER);
    assert_eq!(ask(&ledger, Contract::Portal, &minimumGasLimitCall { byteCount: 10 }), crate::minimum_gas_limit(10));
    assert_eq!(ask(&ledger, Contract::StandardBridge, &otherBridgeCall {}), L2_STANDARD_BRIDGE);
    assert_eq!(ask(&ledger, Contract::BatchInbox, &nextNonceCall { signer: BATCHER }), 0);
    let base_gas = baseGasCall { message: vec![1; 70].into(), minGasLimit: 100_000 };
    assert_eq!(ask(&ledger, Contract::Messenger, &base_gas), crate::base_gas(70, 100_000));
    for contract in Contract::ALL.into_iter().filter(|contract| *contract != Contract::BatchInbox) {
        assert_eq!(ask(&ledger, contract, &versionCall {}), env!("CARGO_PKG_VERSION"));
    }
}

#[test]
fn every_question_has_a_solidity_form() {
    let ledger = Ledger::new();
    for method in Method::all() {
        let Kind::Read(_) = method.kind else { continue };
        let mut input = keccak256(signature(method))[..4].to_vec();
        for (index, (_, kind)) in method.inputs.iter().enumerate() {
            // An empty string of bytes begins after the arguments' words.
            let word = if *kind == Type::Bytes { 32 * method.inputs.len() } else { index };
            input.extend_from_slice(U256::from(word).to_be_bytes::<32>().as_slice());
        }
        input.extend_from_slice(&[0; 32]);
        let answer = settlement().view_call(&ledger, method.contract, &input);
        assert_eq!(answer.map(|answer| answer.len()), Ok(32), "{}", method.name);
    }
}

#[test]
fn answers_follow_the_state() {
    let mut ledger = Ledger::new();
    let signer = Address::repeat_byte(7);
    let set = SetUnsafeBlockSigner { unsafe_block_signer: signer }.encode_args();
    ledger.run(OWNER, 0, Contract::SystemConfig, "setUnsafeBlockSigner", &set).unwrap();
    assert_eq!(ask(&ledger, Contract::SystemConfig, &unsafeBlockSignerCall {}), signer);
    let slot = ask(&ledger, Contract::SystemConfig, &UNSAFE_BLOCK_SIGNER_SLOTCall {});
    assert_eq!(slot, UNSAFE_BLOCK_SIGNER_SLOT);
    assert_eq!(settlement().storage_slot(&ledger, Contract::SystemConfig, slot).unwrap(), signer.into_word());
    assert_eq!(settlement().storage_slot(&ledger, Contract::SystemConfig, B256::ZERO).unwrap(), B256::ZERO);
    assert_eq!(settlement().storage_slot(&ledger, Contract::Portal, slot).unwrap(), B256::ZERO);

    let before = ask(&ledger, Contract::Messenger, &messageNonceCall {});
    let message = SendMessage { target: Address::ZERO, message: Bytes::new(), min_gas_limit: 0 }.encode_args();
    ledger.run(ALICE, 0, Contract::Messenger, "sendMessage", &message).unwrap();
    assert_eq!(ask(&ledger, Contract::Messenger, &messageNonceCall {}), before + U256::from(1));
}

#[test]
fn the_slot_of_the_signer_is_the_one_of_its_name() {
    assert_eq!(UNSAFE_BLOCK_SIGNER_SLOT, keccak256("systemconfig.unsafeblocksigner"));
}

#[test]
fn what_changes_something_says_where_it_is_called() {
    let call = setGasLimitCall { gasLimit: 30_000_000 }.abi_encode();
    let error = settlement().view_call(&Ledger::new(), Contract::SystemConfig, &call).unwrap_err();
    let ViewCallError::Reverted(data) = error else { panic!() };
    assert!(Revert::abi_decode(&data).unwrap().reason.contains("Dusk transaction"));
}

#[test]
fn contracts_stand_at_the_addresses_of_their_logs() {
    let s = settlement();
    for contract in Contract::ALL {
        assert_eq!(s.contract_at(contract_address(s.contracts().id(contract))), Some(contract));
    }
    assert_eq!(s.contract_at(Address::ZERO), None);
}

proptest! {
    #[test]
    fn no_input_panics(selector in 0..Method::all().len(), tail in prop::collection::vec(any::<u8>(), 0..200)) {
        let method = &Method::all()[selector];
        let mut input = keccak256(signature(method))[..4].to_vec();
        input.extend_from_slice(&tail);
        let _ = settlement().view_call(&Ledger::new(), method.contract, &input);
        let _ = settlement().view_call(&Ledger::new(), method.contract, &tail);
    }

    #[test]
    fn arguments_come_through(message in prop::collection::vec(any::<u8>(), 0..100), gas in any::<u32>()) {
        let call = baseGasCall { message: message.clone().into(), minGasLimit: gas };
        prop_assert_eq!(ask(&Ledger::new(), Contract::Messenger, &call), crate::base_gas(message.len() as u64, gas));
    }
}
