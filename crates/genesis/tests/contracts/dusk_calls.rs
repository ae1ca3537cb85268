//! Calls of Dusk contracts: messages to a fixed address, in a format that L1 defines.

use alloy_primitives::{Address, Bytes, U256, address, hex};
use alloy_sol_types::SolCall;
use duskevm_genesis::predeploys::L2_CROSS_DOMAIN_MESSENGER as MESSENGER;
use proptest::prelude::*;

use crate::{
    chain::{ALICE, Chain, Outcome},
    relay::{LUX, Messenger, sent},
};

const TARGET: Address = address!("6901e2c830a4e1ddf737f0cac91ed8e0694efde7");

fn send(chain: &mut Chain, value: U256, message: impl Into<Bytes>) -> Outcome {
    let call = Messenger::sendMessageCall { target: TARGET, message: message.into(), minGasLimit: 150_000 };
    chain.send(ALICE, MESSENGER, value, call.abi_encode())
}

/// Version, kind, contract id, entry point, arguments.
fn encode(id: u8, name: &[u8], arguments: &[u8]) -> Vec<u8> {
    [&[1, 1][..], &[id; 32], &(name.len() as u16).to_be_bytes(), name, arguments].concat()
}

#[test]
fn the_published_example_passes_unchanged() {
    let example = hex!("010111111111111111111111111111111111111111111111111111111111111111110003736574223344");
    assert_eq!(encode(0x11, b"set", &hex!("223344")), example);
    let mut chain = Chain::new();
    let outcome = send(&mut chain, U256::ZERO, example);
    let relay = sent(&mut chain, &outcome);
    assert_eq!((relay.sender, relay.target, relay.value), (ALICE, TARGET, U256::ZERO));
    assert_eq!((&relay.message[..], relay.minGasLimit), (&example[..], U256::from(150_000)));
}

#[test]
fn calls_take_no_value() {
    let mut chain = Chain::new();
    let outcome = send(&mut chain, LUX, encode(0x11, b"set", &[]));
    assert!(outcome.is_error::<Messenger::DuskCallTakesNoValue>());
}

#[test]
fn what_l1_would_refuse_is_refused() {
    let mut chain = Chain::new();
    let good = encode(0x11, b"set", &[]);
    let changed = |index: usize, byte: u8| {
        let mut message = good.clone();
        message[index] = byte;
        message
    };
    for (message, problem) in [
        (vec![], "header"),
        (good[..35].to_vec(), "header"),
        (changed(0, 0), "version"),
        (changed(0, 2), "version"),
        (changed(1, 0), "kind"),
        (changed(1, 2), "kind"),
        (encode(0, b"set", &[]), "contract"),
        (encode(0x11, b"", &[]), "0 or over 64"),
        (encode(0x11, &[b'a'; 65], &[]), "0 or over 64"),
        (changed(34, 1), "0 or over 64"),
        (changed(35, 4), "ends within"),
        (good[..38].to_vec(), "ends within"),
        (encode(0x11, b"1set", &[]), "identifier"),
        (encode(0x11, b"se-t", &[]), "identifier"),
        (encode(0x11, b"se t", &[]), "identifier"),
        (encode(0x11, "sét".as_bytes(), &[]), "identifier"),
        (encode(0x11, b"init", &[]), "only the host"),
        (encode(0x11, b"__constructor__", &[]), "only the host"),
    ] {
        let outcome = send(&mut chain, U256::ZERO, message.clone());
        assert!(outcome.is_error::<Messenger::MalformedDuskCall>(), "{}: {outcome:?}", hex::encode(message));
        assert!(String::from_utf8_lossy(&outcome.output).contains(problem), "{problem}: {outcome:?}");
    }
    for name in [&b"_"[..], b"Z9", b"init2", b"Init", b"__constructor", &[b'x'; 64]] {
        assert!(send(&mut chain, U256::ZERO, encode(1, name, b"anything")).success);
    }
}

/// The rule, written once more.
fn allowed(message: &[u8]) -> bool {
    let Some((header, rest)) = message.split_at_checked(36) else { return false };
    let length = usize::from(u16::from_be_bytes([header[34], header[35]]));
    let Some(name) = rest.get(..length) else { return false };
    header[..2] == [1, 1]
        && header[2..34].iter().any(|b| *b != 0)
        && (1..=64).contains(&length)
        && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
        && !name[0].is_ascii_digit()
        && name != b"init"
        && name != b"__constructor__"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_messenger_decides_as_the_rule_does(
        head in prop::collection::vec(0..3_u8, 2),
        id in 0..2_u8,
        length in prop::option::of(0..70_u16),
        name in "[A-Za-z_][A-Za-z0-9_]{0,66}|[0-9_][A-Za-z0-9_]{0,6}|[ -~]{0,12}|init|__constructor__",
        tail in prop::collection::vec(any::<u8>(), 0..40),
        cut in prop::option::weighted(0.2, 0..60_usize),
        whole in any::<bool>(),
    ) {
        let mut message = encode(id, name.as_bytes(), &tail);
        if !whole {
            message[..2].copy_from_slice(&head);
        }
        if let (Some(length), false) = (length, whole) {
            message[34..36].copy_from_slice(&length.to_be_bytes());
        }
        message.truncate(cut.unwrap_or(usize::MAX));
        let mut chain = Chain::new();
        prop_assert_eq!(send(&mut chain, U256::ZERO, message.clone()).success, allowed(&message));
    }
}
