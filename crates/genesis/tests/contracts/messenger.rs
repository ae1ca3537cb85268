//! L2CrossDomainMessenger: who may deliver what, how often, and with how much gas.

use alloy_primitives::{Address, B256, U256, address, keccak256};
use alloy_sol_types::{SolCall, SolEvent, SolValue};
use duskevm_genesis::{
    Fork,
    predeploys::{L2_CROSS_DOMAIN_MESSENGER as MESSENGER, L2_STANDARD_BRIDGE, L2_TO_L1_MESSAGE_PASSER as PASSER},
};
use revm::DatabaseRef;

use crate::{
    chain::{ALICE, BOB, Chain, Outcome},
    relay::{LUX, Messenger, Passer, alias, arrive, deposit, fail, hash, l1, message, nonce, sent},
    targets::{ECHO, GLUTTON, RECORDER, STUBBORN, place, set},
};

const TARGET: Address = address!("00000000000000000000000000000000007a46e7");
const SENDER: Address = address!("00000000000000000000000000000000005e4de4");

fn replay(chain: &mut Chain, from: Address, message: &Messenger::relayMessageCall) -> Outcome {
    chain.send(from, MESSENGER, U256::ZERO, message.abi_encode())
}

fn succeeded(chain: &mut Chain, hash: B256) -> bool {
    chain.ask(MESSENGER, Messenger::successfulMessagesCall { hash })
}

fn failed(chain: &mut Chain, hash: B256) -> bool {
    chain.ask(MESSENGER, Messenger::failedMessagesCall { hash })
}

/// The place of a hash in a mapping.
fn entry(hash: B256, slot: u64) -> U256 {
    keccak256((hash, U256::from(slot)).abi_encode()).into()
}

fn read(chain: &Chain, address: Address, slot: U256) -> U256 {
    chain.db.storage_ref(address, slot).unwrap()
}

#[test]
fn genesis_gives_it_its_state() {
    let mut chain = Chain::new();
    let other = l1().messenger;
    assert_eq!(chain.ask(MESSENGER, Messenger::otherMessengerCall {}), other);
    assert_eq!(chain.ask(MESSENGER, Messenger::OTHER_MESSENGERCall {}), other);
    assert_eq!(chain.ask(MESSENGER, Messenger::l1CrossDomainMessengerCall {}), other);
    assert_eq!(chain.ask(MESSENGER, Messenger::messageNonceCall {}), nonce(1, 0));
    assert_eq!(chain.ask(MESSENGER, Messenger::MESSAGE_VERSIONCall {}), 1);
    assert!(!chain.ask(MESSENGER, Messenger::pausedCall {}));
    let question = Messenger::xDomainMessageSenderCall {}.abi_encode();
    assert!(chain.send(ALICE, MESSENGER, U256::ZERO, question).is_error::<Messenger::NoMessage>());
    // The flag lies in byte 20 of slot 0, counted from the lowest.
    assert_eq!(read(&chain, MESSENGER, U256::ZERO), U256::from(1) << 160);
    assert_eq!(chain.slot(MESSENGER, 204), address!("000000000000000000000000000000000000dEaD").into_word());
    assert_eq!(chain.slot(MESSENGER, 207), other.into_word());
}

#[test]
fn a_deposit_from_the_aliased_l1_messenger_relays_a_message() {
    let mut chain = Chain::new();
    place(&mut chain, TARGET, RECORDER);
    let mut m = message(0, SENDER, TARGET, U256::from(0xfeed).to_be_bytes::<32>());
    m.value = LUX + U256::from(7);
    let outcome = arrive(&mut chain, &m);
    assert_eq!(outcome.logs[0].address, MESSENGER);

    assert_eq!(chain.slot(TARGET, 0), SENDER.into_word());
    assert_eq!(read(&chain, TARGET, U256::from(1)), m.value);
    assert_eq!(read(&chain, TARGET, U256::from(2)), U256::from(0xfeed));
    assert_eq!((chain.balance(TARGET), chain.balance(MESSENGER)), (m.value, U256::ZERO));
    assert!(succeeded(&mut chain, hash(&m)) && !failed(&mut chain, hash(&m)));
    assert_eq!(read(&chain, MESSENGER, entry(hash(&m), 203)), U256::from(1));

    // Nobody is the sender afterwards, and once is enough.
    let question = Messenger::xDomainMessageSenderCall {}.abi_encode();
    assert!(chain.send(ALICE, MESSENGER, U256::ZERO, question).is_error::<Messenger::NoMessage>());
    assert!(deposit(&mut chain, &m).is_error::<Messenger::AlreadyRelayed>());
    assert!(replay(&mut chain, ALICE, &m).is_error::<Messenger::AlreadyRelayed>());
}

#[test]
fn nobody_else_starts_a_message() {
    let mut chain = Chain::new();
    let m = message(0, SENDER, BOB, vec![]);
    let other = l1().messenger;
    for stranger in [ALICE, other, alias(SENDER), alias(l1().standard_bridge), alias(alias(other)), MESSENGER] {
        assert!(replay(&mut chain, stranger, &m).is_error::<Messenger::NotReplayable>(), "{stranger}");
    }
    assert!(!failed(&mut chain, hash(&m)));
    arrive(&mut chain, &m);
}

#[test]
fn a_failing_target_is_replayable_once() {
    let mut chain = Chain::new();
    place(&mut chain, TARGET, STUBBORN);
    let mut m = message(5, SENDER, TARGET, vec![1, 2, 3]);
    m.value = LUX;
    fail(&mut chain, &m);
    assert!(failed(&mut chain, hash(&m)) && !succeeded(&mut chain, hash(&m)));
    assert_eq!(read(&chain, MESSENGER, entry(hash(&m), 206)), U256::from(1));
    // The value waits.
    assert_eq!((chain.balance(MESSENGER), chain.balance(TARGET)), (LUX, U256::ZERO));

    // The first messenger does not bring it again, and another try brings no value.
    assert!(deposit(&mut chain, &m).is_error::<Messenger::NotReplayable>());
    let paid = chain.send(ALICE, MESSENGER, LUX, m.abi_encode());
    assert!(paid.is_error::<Messenger::WrongValue>());
    let outcome = replay(&mut chain, ALICE, &m);
    assert_eq!(outcome.event::<Messenger::FailedRelayedMessage>().msgHash, hash(&m));

    // Any other message is another one.
    for change in 0..6 {
        let mut other = m.clone();
        match change {
            0 => other.nonce += U256::from(1),
            1 => other.sender = ALICE,
            2 => other.target = BOB,
            3 => other.value += U256::from(1),
            4 => other.minGasLimit += U256::from(1),
            _ => other.message = vec![1, 2].into(),
        }
        assert!(replay(&mut chain, ALICE, &other).is_error::<Messenger::NotReplayable>());
    }

    set(&mut chain, TARGET, U256::ZERO, U256::from(1));
    let outcome = replay(&mut chain, BOB, &m);
    assert_eq!(outcome.event::<Messenger::RelayedMessage>().msgHash, hash(&m));
    assert_eq!((chain.balance(MESSENGER), chain.balance(TARGET)), (U256::ZERO, LUX));
    assert!(replay(&mut chain, BOB, &m).is_error::<Messenger::AlreadyRelayed>());
}

#[test]
fn the_value_is_the_one_that_the_message_says() {
    let mut chain = Chain::new();
    let mut m = message(0, SENDER, BOB, vec![]);
    m.value = LUX;
    for value in [U256::ZERO, LUX - U256::from(1), LUX + U256::from(1)] {
        let outcome = chain.send(alias(l1().messenger), MESSENGER, value, m.abi_encode());
        assert!(outcome.is_error::<Messenger::WrongValue>());
    }
    arrive(&mut chain, &m);
    assert_eq!(chain.balance(BOB), LUX);
}

#[test]
fn the_messenger_and_the_outbox_are_no_targets() {
    let mut chain = Chain::new();
    for target in [MESSENGER, PASSER] {
        let m = message(0, SENDER, target, vec![]);
        assert!(deposit(&mut chain, &m).is_error::<Messenger::BlockedTarget>());
    }
}

#[test]
fn nonces_have_versions() {
    let mut chain = Chain::new();
    for version in [2, 3, u16::MAX] {
        let mut m = message(0, SENDER, BOB, vec![]);
        m.nonce = nonce(version, 0);
        assert!(deposit(&mut chain, &m).is_error::<Messenger::UnknownMessageVersion>());
    }
    // Version 0 is delivered under the same hash as version 1,
    let mut m = message(0, SENDER, BOB, vec![9]);
    m.nonce = nonce(0, 3);
    arrive(&mut chain, &m);
    assert!(deposit(&mut chain, &m).is_error::<Messenger::AlreadyRelayed>());
    // but not if it was delivered under its own one.
    m.nonce = nonce(0, 4);
    let selector = keccak256("relayMessage(address,address,bytes,uint256)");
    let arguments = (m.target, m.sender, m.message.clone(), m.nonce).abi_encode_params();
    let old = keccak256([&selector[..4], &arguments].concat());
    set(&mut chain, MESSENGER, entry(old, 203), U256::from(1));
    assert!(deposit(&mut chain, &m).is_error::<Messenger::AlreadyRelayed>());
    m.nonce = nonce(1, 4);
    arrive(&mut chain, &m);
}

/// A target that delivers another message would act in the name of two senders.
#[test]
fn a_delivery_within_a_delivery_fails_and_can_be_repeated() {
    let mut chain = Chain::new();
    place(&mut chain, TARGET, STUBBORN);
    let inner = message(0, SENDER, TARGET, vec![]);
    fail(&mut chain, &inner);
    set(&mut chain, TARGET, U256::ZERO, U256::from(1));

    let echo = address!("0000000000000000000000000000000000000ec0");
    place(&mut chain, echo, ECHO);
    let outer = message(1, ALICE, echo, inner.abi_encode());
    let outcome = arrive(&mut chain, &outer);
    assert_eq!(outcome.event::<Messenger::FailedRelayedMessage>().msgHash, hash(&inner));
    assert_eq!(chain.slot(echo, 0), B256::with_last_byte(1), "the call within did not revert");
    assert!(!succeeded(&mut chain, hash(&inner)));
    assert!(replay(&mut chain, ALICE, &inner).success);
    assert!(succeeded(&mut chain, hash(&inner)));
}

#[test]
fn the_base_gas_is_enough_for_what_the_target_was_promised() {
    let mut chain = Chain::new();
    for (counter, (promised, length)) in
        [(0_u32, 0_usize), (1_000, 32), (200_000, 1_000), (3_000_000, 4_000), (50_000, 5_000)].into_iter().enumerate()
    {
        let data = vec![0xff; length];
        let base = chain.ask(MESSENGER, Messenger::baseGasCall { message: data.clone().into(), minGasLimit: promised });
        assert_eq!(base, 285_000 + 16 * length as u64 + u64::from(promised) * 64 / 63);

        // With value to a contract, which costs the call most, and a target that wastes what it gets.
        for (code, arrives) in [(RECORDER, true), (GLUTTON, false)] {
            place(&mut chain, TARGET, code);
            let sender = if arrives { SENDER } else { ALICE };
            let mut m = message(counter as u64, sender, TARGET, data.clone());
            m.minGasLimit = U256::from(promised.max(150_000));
            m.value = LUX;
            let base = Messenger::baseGasCall { message: data.clone().into(), minGasLimit: m.minGasLimit.to() };
            let gas = chain.ask(MESSENGER, base);
            let outcome = chain.send_with_gas(alias(l1().messenger), MESSENGER, m.value, m.abi_encode(), gas);
            assert!(outcome.success, "{}", outcome.reason());
            assert_eq!((succeeded(&mut chain, hash(&m)), failed(&mut chain, hash(&m))), (arrives, !arrives));
            if arrives {
                assert!(read(&chain, TARGET, U256::from(3)) + U256::from(10) >= m.minGasLimit, "{length}");
            }
        }
    }
}

/// Long messages cost more as call data than as execution (EIP-7623), and the relay copies them more than once.
#[test]
fn a_long_message_arrives_with_the_gas_of_its_call_data() {
    let mut chain = Chain::new();
    place(&mut chain, TARGET, RECORDER);
    for (counter, length) in [(0, 12_000), (1, 60_000), (2, 119_000)] {
        let mut m = message(counter, SENDER, TARGET, vec![0xff; length]);
        m.minGasLimit = U256::from(150_000);
        let bytes = length as u64 + 260;
        let gas = 21_000 + (285_000 + 150_000 * 64 / 63 + 16 * bytes).max(40 * bytes);
        let outcome = chain.send_with_gas(alias(l1().messenger), MESSENGER, U256::ZERO, m.abi_encode(), gas);
        assert_eq!(outcome.event::<Messenger::RelayedMessage>().msgHash, hash(&m), "{length}");
        assert!(read(&chain, TARGET, U256::from(3)) + U256::from(10) >= m.minGasLimit, "{length}");
    }
}

#[test]
fn a_try_with_too_little_gas_does_not_count() {
    let mut chain = Chain::new();
    let mut m = message(0, SENDER, BOB, vec![]);
    m.minGasLimit = U256::from(2_000_000);
    let outcome = chain.send_with_gas(alias(l1().messenger), MESSENGER, U256::ZERO, m.abi_encode(), 2_000_000);
    assert_eq!(outcome.event::<Messenger::FailedRelayedMessage>().msgHash, hash(&m));
    let outcome = chain.send_with_gas(ALICE, MESSENGER, U256::ZERO, m.abi_encode(), 1_000_000);
    assert_eq!(outcome.event::<Messenger::FailedRelayedMessage>().msgHash, hash(&m));
    assert!(replay(&mut chain, ALICE, &m).success && succeeded(&mut chain, hash(&m)));

    // No promise is too large to be compared with what is there.
    let mut m = message(1, SENDER, BOB, vec![]);
    m.minGasLimit = U256::MAX;
    fail(&mut chain, &m);
}

#[test]
fn estimators_see_failures() {
    let mut chain = Chain::new();
    place(&mut chain, TARGET, STUBBORN);
    let m = message(0, SENDER, TARGET, vec![]);
    fail(&mut chain, &m);
    let estimator = address!("0000000000000000000000000000000000000001");
    assert!(replay(&mut chain, estimator, &m).is_error::<Messenger::RelayFailed>());
    set(&mut chain, TARGET, U256::ZERO, U256::from(1));
    assert!(replay(&mut chain, estimator, &m).success);
}

#[test]
fn a_message_to_l1_is_a_withdrawal_for_the_other_messenger() {
    let mut chain = Chain::new();
    for (counter, value, data) in
        [(0, U256::ZERO, vec![]), (1, LUX, vec![1, 2, 3]), (2, LUX * U256::from(5), vec![7; 333])]
    {
        let call = Messenger::sendMessageCall { target: BOB, message: data.clone().into(), minGasLimit: 70_000 };
        let outcome = chain.send(ALICE, MESSENGER, value, call.abi_encode());
        let relay = sent(&mut chain, &outcome);
        assert_eq!((relay.nonce, relay.sender, relay.target), (nonce(1, counter), ALICE, BOB));
        assert_eq!((relay.value, relay.minGasLimit), (value, U256::from(70_000)));
        assert_eq!(relay.message, data);
        assert_eq!(chain.ask(MESSENGER, Messenger::messageNonceCall {}), nonce(1, counter + 1));
        assert_eq!(chain.slot(MESSENGER, 205), B256::from(U256::from(counter + 1)));
        let topics: Vec<_> = outcome.logs.iter().map(|log| log.topics()[0]).collect();
        assert_eq!(
            topics,
            [
                Passer::MessagePassed::SIGNATURE_HASH,
                Messenger::SentMessage::SIGNATURE_HASH,
                Messenger::SentMessageExtension1::SIGNATURE_HASH
            ]
        );
    }
    assert_eq!(chain.balance(MESSENGER), U256::ZERO);
}

#[test]
fn value_that_l1_cannot_pay_does_not_leave() {
    let mut chain = Chain::new();
    let call = Messenger::sendMessageCall { target: BOB, message: vec![].into(), minGasLimit: 0 }.abi_encode();
    assert!(chain.send(ALICE, MESSENGER, LUX + U256::from(1), call.clone()).is_error::<Passer::NotWholeLux>());
    let too_much = LUX * (U256::from(u64::MAX) + U256::from(1));
    assert!(chain.send(ALICE, MESSENGER, too_much, call).is_error::<Passer::ExceedsL1Range>());
    assert_eq!(chain.ask(MESSENGER, Messenger::messageNonceCall {}), nonce(1, 0));
}

#[test]
fn messages_cross_on_every_fork() {
    for fork in Fork::ALL {
        let mut chain = Chain::with_fork(fork);
        place(&mut chain, TARGET, RECORDER);
        arrive(&mut chain, &message(0, SENDER, TARGET, vec![1]));
        assert_eq!(chain.slot(TARGET, 0), SENDER.into_word());
        let call = Messenger::sendMessageCall { target: L2_STANDARD_BRIDGE, message: vec![].into(), minGasLimit: 0 };
        let outcome = chain.send(ALICE, MESSENGER, LUX, call.abi_encode());
        assert_eq!(sent(&mut chain, &outcome).value, LUX, "{fork}");
    }
}
