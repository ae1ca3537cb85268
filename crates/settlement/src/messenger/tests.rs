use alloy_primitives::{address, b256, keccak256};
use alloy_sol_types::SolEvent;
use duskevm_l1_view::contract_address;
use proptest::prelude::*;

use super::*;
use crate::abi::TransactionDeposited;
use crate::apply_alias;
use crate::portal::minimum_gas_limit;
use crate::settlement::Contract::Messenger;
use crate::testing::{ALICE, Ledger, NONE, contracts};

const BOB: Address = address!("b0b0000000000000000000000000000000000b0b");

fn first_nonce() -> U256 {
    U256::from_be_bytes(b256!("0001000000000000000000000000000000000000000000000000000000000000").0)
}

fn args() -> SendMessage {
    SendMessage { target: BOB, message: vec![1, 2, 3].into(), min_gas_limit: 250_000 }
}

#[test]
fn a_message_becomes_a_deposit_that_the_other_messenger_relays() {
    let mut ledger = Ledger::new();
    let events = ledger.send(ALICE, 0, Messenger, &args()).unwrap();
    let logs: Vec<_> = events.iter().map(|event| event.log()).collect();
    let [deposited, sent, extension] = logs.as_slice() else { panic!("{logs:?}") };

    let event = TransactionDeposited::decode_log(deposited).unwrap();
    assert_eq!(event.address, contract_address(&contracts().portal));
    assert_eq!(event.from, apply_alias(contract_address(&contracts().messenger)));
    assert_eq!(event.to, L2_CROSS_DOMAIN_MESSENGER);
    let opaque = event.opaqueData.as_ref();
    assert_eq!(opaque[..64], [0; 64], "nothing is minted, nothing is sent");
    assert_eq!(opaque[64..72], base_gas(3, 250_000).to_be_bytes());
    assert_eq!(opaque[72], 0);
    let word = |value: u64| U256::from(value).to_be_bytes::<32>();
    let relay = [
        &keccak256("relayMessage(uint256,address,address,uint256,uint256,bytes)")[..4],
        &b256!("0001000000000000000000000000000000000000000000000000000000000000").0,
        &ALICE.address().into_word().0,
        &BOB.into_word().0,
        &word(0),
        &word(250_000),
        &word(6 * 32),
        &word(3),
        &[1, 2, 3],
        &[0; 29],
    ]
    .concat();
    assert_eq!(opaque[73..], relay);

    let messenger = contract_address(&contracts().messenger);
    assert_eq!((sent.address, extension.address), (messenger, messenger));
    assert_eq!(sent.topics()[0], b256!("cb0f7ffd78f9aee47a248fae8db181db6eee833039123e026dcbff529522e52a"));
    let event = SentMessage::decode_log(sent).unwrap();
    assert_eq!((event.target, event.sender, event.message.as_ref()), (BOB, ALICE.address(), [1, 2, 3].as_slice()));
    assert_eq!((event.messageNonce, event.gasLimit), (first_nonce(), U256::from(250_000)));
    let event = SentMessageExtension1::decode_log(extension).unwrap();
    assert_eq!((event.sender, event.value), (ALICE.address(), U256::ZERO));
}

#[test]
fn nonces_rise_by_one_and_carry_version_1() {
    let mut ledger = Ledger::new();
    let nonce = |ledger: &Ledger| ledger.read::<U256>(Messenger, "messageNonce", &NONE);
    let first = first_nonce();
    assert_eq!(nonce(&ledger), first);
    ledger.send(ALICE, 0, Messenger, &args()).unwrap();
    assert_eq!(nonce(&ledger), first + U256::from(1));
    ledger.refusal(ALICE, 1, Messenger, &args());
    assert_eq!(nonce(&ledger), first + U256::from(1), "a message that is refused has no nonce");
    let events = ledger.send(ALICE, 0, Messenger, &args()).unwrap();
    let sent = events.iter().find_map(|event| SentMessage::decode_log(&event.log()).ok()).unwrap();
    assert_eq!(sent.messageNonce, first + U256::from(1));
}

#[test]
fn a_message_carries_no_lux() {
    let refused = Ledger::new().refusal(ALICE, 1, Messenger, &args());
    assert!(refused.to_string().contains("only the standard bridge"), "{refused}");
}

#[test]
fn base_gas_is_relay_plus_calldata_or_the_floor() {
    // 21000 + 285000 + 16 * (100 + 260) + 63000 * 64 / 63
    assert_eq!(base_gas(100, 63_000), 21_000 + 285_000 + 5_760 + 64_000);
    assert_eq!(base_gas(100_000, 0), 21_000 + 40 * 100_260);
    assert_eq!(base_gas(u64::MAX, u32::MAX), u64::MAX);
    let gas: u64 = Ledger::new().read(Messenger, "baseGas", &BaseGas { message: vec![0; 100].into(), gas: 63_000 });
    assert_eq!(gas, base_gas(100, 63_000));
}

#[derive(alloy_rlp::RlpEncodable)]
struct BaseGas {
    message: Bytes,
    gas: u32,
}

#[test]
fn messages_that_no_deposit_can_hold_are_refused() {
    let long = SendMessage { message: vec![0; 120_000].into(), ..args() };
    assert!(matches!(Ledger::new().refusal(ALICE, 0, Messenger, &long), Refusal::Data(_)));
    let greedy = SendMessage { min_gas_limit: u32::MAX, ..args() };
    assert!(matches!(Ledger::new().refusal(ALICE, 0, Messenger, &greedy), Refusal::BlockDepositGas { .. }));
}

proptest! {
    /// The portal never finds the gas of a message too low.
    #[test]
    fn base_gas_covers_the_encoded_message(bytes in 0usize..119_000, gas in any::<u32>()) {
        let relay = relayMessageCall {
            nonce: U256::MAX, sender: BOB, target: BOB, value: U256::MAX, minGasLimit: U256::MAX, message: vec![0; bytes].into(),
        };
        prop_assert!(base_gas(bytes as u64, gas) >= minimum_gas_limit(relay.abi_encode().len() as u64));
    }
}
