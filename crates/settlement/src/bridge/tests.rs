use alloy_primitives::{U256, keccak256};
use alloy_sol_types::SolEvent;
use duskevm_l1_view::contract_address;

use super::*;
use crate::abi::{SentMessage, SentMessageExtension1, TransactionDeposited, relayMessageCall};
use crate::messenger::{L2_CROSS_DOMAIN_MESSENGER, base_gas};
use crate::settlement::Contract::{Erc721Bridge, Portal, StandardBridge};
use crate::testing::{ALICE, Ledger, contracts};

const BOB: Address = address!("b0b0000000000000000000000000000000000b0b");

fn args(amount_lux: u64) -> DepositEthToWithValue {
    DepositEthToWithValue { to: BOB, amount_lux, min_gas_limit: 200_000, extra_data: b"DEVM\x01".to_vec().into() }
}

#[test]
fn dusk_goes_through_messenger_and_portal() {
    let mut ledger = Ledger::new();
    let events = ledger.send(ALICE, 3, StandardBridge, &args(3)).unwrap();
    let logs: Vec<_> = events.iter().map(|event| event.log()).collect();
    let [legacy, initiated, deposited, sent, extension] = logs.as_slice() else { panic!("{logs:?}") };
    let bridge = contract_address(&contracts().standard_bridge);
    let wei = U256::from(3_000_000_000u64);

    assert_eq!(legacy.topics()[0], keccak256("ETHDepositInitiated(address,address,uint256,bytes)"));
    let event = ETHDepositInitiated::decode_log(legacy).unwrap();
    assert_eq!((event.address, event.from, event.to, event.amount), (bridge, ALICE.address(), BOB, wei));
    assert_eq!(initiated.topics()[0], keccak256("ETHBridgeInitiated(address,address,uint256,bytes)"));
    let event = ETHBridgeInitiated::decode_log(initiated).unwrap();
    assert_eq!((event.address, event.from, event.to, event.amount), (bridge, ALICE.address(), BOB, wei));
    assert_eq!(event.extraData.as_ref(), b"DEVM\x01");

    // What is minted is sent on with the relayed message, which makes the other bridge pay it out.
    let event = TransactionDeposited::decode_log(deposited).unwrap();
    assert_eq!(event.to, L2_CROSS_DOMAIN_MESSENGER);
    assert_eq!(event.opaqueData[..32], wei.to_be_bytes::<32>());
    assert_eq!(event.opaqueData[32..64], wei.to_be_bytes::<32>());
    let relay = relayMessageCall::abi_decode_validate(&event.opaqueData[73..]).unwrap();
    assert_eq!((relay.sender, relay.target, relay.value), (bridge, L2_STANDARD_BRIDGE, wei));
    assert_eq!(event.opaqueData[64..72], base_gas(relay.message.len() as u64, 200_000).to_be_bytes());
    assert_eq!(relay.message[..4], keccak256("finalizeBridgeETH(address,address,uint256,bytes)")[..4]);
    let finalize = finalizeBridgeETHCall::abi_decode_validate(&relay.message).unwrap();
    assert_eq!((finalize.from, finalize.to, finalize.amount), (ALICE.address(), BOB, wei));
    assert_eq!(finalize.extraData.as_ref(), b"DEVM\x01", "extra data pass unchanged");

    let event = SentMessage::decode_log(sent).unwrap();
    assert_eq!((event.sender, event.target, &event.message), (bridge, L2_STANDARD_BRIDGE, &relay.message));
    let event = SentMessageExtension1::decode_log(extension).unwrap();
    assert_eq!((event.sender, event.value), (bridge, wei));
}

#[test]
fn the_portal_holds_what_was_bridged() {
    let mut ledger = Ledger::new();
    ledger.send(ALICE, 3, StandardBridge, &args(3)).unwrap();
    ledger.send(ALICE, 4, StandardBridge, &args(4)).unwrap();
    assert_eq!((ledger.balance(Portal), ledger.balance(StandardBridge)), (7, 0));
}

#[test]
fn the_amount_is_what_is_attached() {
    for (amount, attached) in [(3, 0), (3, 2), (0, 1), (u64::MAX, 1)] {
        let refused = Ledger::new().refusal(ALICE, attached, StandardBridge, &args(amount));
        assert_eq!(refused, Refusal::Amount { amount, attached });
    }
    Ledger::new().send(ALICE, u64::MAX, StandardBridge, &args(u64::MAX)).unwrap();
}

#[test]
fn tokens_are_refused_because_there_are_none() {
    let erc20 = BridgeErc20To {
        l1_token: BOB,
        l2_token: BOB,
        to: BOB,
        amount: U256::from(1),
        min_gas_limit: 1,
        extra_data: Default::default(),
    };
    assert_eq!(Ledger::new().refusal(ALICE, 0, StandardBridge, &erc20), Refusal::NoTokens(NO_TOKENS));
    let erc721 = BridgeErc721To {
        local_token: BOB,
        remote_token: BOB,
        to: BOB,
        token_id: U256::from(1),
        min_gas_limit: 1,
        extra_data: Default::default(),
    };
    assert_eq!(Ledger::new().refusal(ALICE, 0, Erc721Bridge, &erc721), Refusal::NoTokens(NO_TOKENS));
}

#[test]
fn withdrawals_have_no_entry_points_yet() {
    for (contract, function) in [
        (StandardBridge, "claimNativeCredit"),
        (Portal, "proveWithdrawalTransaction"),
        (Portal, "finalizeWithdrawalTransaction"),
    ] {
        let refused = Ledger::new().run(ALICE, 0, contract, function, &[0xc0]);
        assert_eq!(refused, Err(Error::Refused(Refusal::UnknownFunction(function.into()))));
    }
}
