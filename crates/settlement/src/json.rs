//! Arguments and answers as JSON, the way the published SDK writes them.
//!
//! Arguments are an array in the order of the entry point, or an object by name. Addresses, hashes and bytes are hex with `0x`;
//! numbers are JSON numbers or decimal strings, and answers of more than 32 bits are always strings, because other programs lose
//! digits of large numbers.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_rlp::{Encodable, Header};
use serde_json::Value;

use crate::methods::{Kind, Method, Type};

/// Why JSON is not what an entry point takes, or an answer not what it gives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Neither an array nor an object.
    #[error("the arguments of {method} must be an array or an object: {expected}")]
    Form {
        /// The entry point.
        method: &'static str,
        /// What it takes.
        expected: String,
    },
    /// Too many, too few, or others.
    #[error("{method} takes these arguments: {expected}")]
    Names {
        /// The entry point.
        method: &'static str,
        /// What it takes.
        expected: String,
    },
    /// An argument of another type.
    #[error("the argument {name} of {method} must be {expected}")]
    Argument {
        /// The entry point.
        method: &'static str,
        /// The argument.
        name: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// Bytes that are no value of this type.
    #[error("the node's answer to {0} does not decode: use a program of the node's version")]
    Answer(&'static str),
}

/// The byte form of JSON arguments.
///
/// # Errors
/// See [`JsonError`].
pub fn encode_args(method: &Method, args: &Value) -> Result<Vec<u8>, JsonError> {
    let names = || JsonError::Names { method: method.name, expected: signature(method) };
    let values: Vec<&Value> = match args {
        Value::Array(values) => values.iter().collect(),
        Value::Object(fields) if fields.len() == method.inputs.len() => {
            method.inputs.iter().map(|(name, _)| fields.get(*name)).collect::<Option<_>>().ok_or_else(names)?
        }
        Value::Object(_) => return Err(names()),
        _ => return Err(JsonError::Form { method: method.name, expected: signature(method) }),
    };
    if values.len() != method.inputs.len() {
        return Err(names());
    }
    let mut payload = Vec::new();
    for ((name, kind), value) in method.inputs.iter().zip(values) {
        encode(*kind, value, &mut payload).ok_or(JsonError::Argument {
            method: method.name,
            name,
            expected: describe(*kind),
        })?;
    }
    let mut out = Vec::new();
    Header { list: true, payload_length: payload.len() }.encode(&mut out);
    out.extend_from_slice(&payload);
    Ok(out)
}

/// The JSON form of an answer.
///
/// # Errors
/// [`JsonError::Answer`] if the bytes are not of the type that `method` answers with, or it answers nothing.
pub fn decode_value(method: &Method, bytes: &[u8]) -> Result<Value, JsonError> {
    let Kind::Read(kind) = method.kind else { return Err(JsonError::Answer(method.name)) };
    decode(kind, bytes).ok_or(JsonError::Answer(method.name))
}

/// Names and types, for people.
fn signature(method: &Method) -> String {
    let inputs: Vec<String> = method.inputs.iter().map(|(name, kind)| format!("{name}: {}", describe(*kind))).collect();
    if inputs.is_empty() { "none".to_string() } else { inputs.join(", ") }
}

const fn describe(kind: Type) -> &'static str {
    match kind {
        Type::Address => "an address (0x and 40 hex digits)",
        Type::Hash => "32 bytes (0x and 64 hex digits)",
        Type::Bytes => "bytes (0x and hex digits)",
        Type::Bool => "true or false",
        Type::Uint(16) => "a number of 16 bits",
        Type::Uint(32) => "a number of 32 bits",
        Type::Uint(64) => "a number of 64 bits (decimal string)",
        Type::Uint(_) => "a number of 256 bits (decimal string)",
    }
}

fn encode(kind: Type, value: &Value, out: &mut Vec<u8>) -> Option<()> {
    match kind {
        Type::Address => Address::try_from(bytes(value)?.as_slice()).ok()?.encode(out),
        Type::Hash => B256::try_from(bytes(value)?.as_slice()).ok()?.encode(out),
        Type::Bytes => bytes(value)?.as_slice().encode(out),
        Type::Bool => value.as_bool()?.encode(out),
        Type::Uint(bits) => number(value, bits)?.encode(out),
    }
    Some(())
}

/// Hex with `0x`, so that a decimal number is never taken for bytes.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    hex::decode(value.as_str()?.strip_prefix("0x")?).ok()
}

/// A JSON integer or a decimal string.
fn number(value: &Value, bits: u16) -> Option<U256> {
    let number = match value {
        Value::Number(number) => U256::from(number.as_u64()?),
        Value::String(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            U256::from_str_radix(text, 10).ok()?
        }
        _ => return None,
    };
    (number.bit_len() <= usize::from(bits)).then_some(number)
}

fn decode(kind: Type, bytes: &[u8]) -> Option<Value> {
    let value = match kind {
        Type::Address => alloy_rlp::decode_exact::<Address>(bytes).ok()?.to_string().into(),
        Type::Hash => alloy_rlp::decode_exact::<B256>(bytes).ok()?.to_string().into(),
        Type::Bytes => alloy_rlp::decode_exact::<Bytes>(bytes).ok()?.to_string().into(),
        Type::Bool => alloy_rlp::decode_exact::<bool>(bytes).ok()?.into(),
        Type::Uint(bits) => {
            let number = alloy_rlp::decode_exact::<U256>(bytes).ok().filter(|n| n.bit_len() <= usize::from(bits))?;
            if bits <= 32 { number.to::<u64>().into() } else { number.to_string().into() }
        }
    };
    Some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::args::{Arguments, BridgeErc20To, DepositEthToWithValue, DepositTransaction, SendMessage};
    use crate::settlement::Contract;

    const BOB: &str = "0xb0B0000000000000000000000000000000000B0B";

    fn method(contract: Contract, name: &str) -> &'static Method {
        Method::find(contract, name).unwrap()
    }

    #[test]
    fn arguments_are_those_that_the_sdk_sends() {
        let bob: Address = BOB.parse().unwrap();
        let deposit = method(Contract::StandardBridge, "depositETHToWithValue");
        let bytes = encode_args(deposit, &json!([BOB, "1500000000", 200_000, "0x0102"])).unwrap();
        let args = DepositEthToWithValue::decode_args(&bytes).unwrap();
        let expected = DepositEthToWithValue {
            to: bob,
            amount_lux: 1_500_000_000,
            min_gas_limit: 200_000,
            extra_data: vec![1, 2].into(),
        };
        assert_eq!(args, expected);
        let named =
            json!({ "extra_data": "0x0102", "to": BOB, "min_gas_limit": "200000", "amount_lux": 1_500_000_000 });
        assert_eq!(encode_args(deposit, &named).unwrap(), bytes);

        let send = method(Contract::Messenger, "sendMessage");
        let args = SendMessage::decode_args(&encode_args(send, &json!([BOB, "0x", 250_000])).unwrap()).unwrap();
        assert_eq!(args, SendMessage { target: bob, message: Bytes::new(), min_gas_limit: 250_000 });

        let token = method(Contract::StandardBridge, "bridgeERC20To");
        let max = U256::MAX.to_string();
        let args = encode_args(token, &json!([BOB, BOB, BOB, max, 1, "0x10"])).unwrap();
        assert_eq!(BridgeErc20To::decode_args(&args).unwrap().amount, U256::MAX);
    }

    #[test]
    fn every_method_takes_and_gives_json() {
        for method in Method::all() {
            let args: Vec<Value> = method
                .inputs
                .iter()
                .map(|(_, kind)| match kind {
                    Type::Address => json!(BOB),
                    Type::Hash => json!(B256::repeat_byte(1)),
                    Type::Bytes => json!("0x00"),
                    Type::Bool => json!(true),
                    Type::Uint(_) => json!(7),
                })
                .collect();
            encode_args(method, &args.into()).unwrap();
            let answer = decode_value(method, &alloy_rlp::encode(1u8));
            assert_eq!(
                answer.is_ok(),
                matches!(method.kind, Kind::Read(Type::Uint(_) | Type::Bool)),
                "{}",
                method.name
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        let deposit = method(Contract::StandardBridge, "depositETHToWithValue");
        let refused = |args: Value| encode_args(deposit, &args).unwrap_err().to_string();
        let good = json!([BOB, "1", 1, "0x"]);
        assert!(encode_args(deposit, &good).is_ok());
        let with = |at: usize, value: Value| {
            let mut args = good.clone();
            args[at] = value;
            refused(args)
        };
        for (at, value) in [
            (0, json!("b0b0000000000000000000000000000000000b0b")),
            (0, json!("0xb0b0")),
            (0, json!(5)),
            (1, json!("1.5")),
            (1, json!("-1")),
            (1, json!("+1")),
            (1, json!("0x1")),
            (1, json!("")),
            (1, json!(1.5)),
            (1, json!(-1)),
            (1, json!("18446744073709551616")),
            (2, json!(4_294_967_296u64)),
            (2, json!(null)),
            (3, json!("0x1")),
            (3, json!("zz")),
        ] {
            let text = with(at, value.clone());
            assert!(text.contains(deposit.inputs[at].0) && text.contains("must be"), "{value}: {text}");
        }
        for args in [json!([]), json!([BOB, "1", 1]), json!([BOB, "1", 1, "0x", 1]), json!({ "to": BOB })] {
            assert!(refused(args).contains("amount_lux: a number of 64 bits"));
        }
        assert!(refused(json!("x")).contains("array or an object"));
        let owner = method(Contract::SystemConfig, "owner");
        assert!(encode_args(owner, &json!([1])).unwrap_err().to_string().contains("none"));
        assert_eq!(encode_args(owner, &json!([])).unwrap(), [0xc0]);
    }

    #[test]
    fn large_answers_are_strings() {
        let value = |contract, name, bytes: &[u8]| decode_value(method(contract, name), bytes);
        let limit = value(Contract::SystemConfig, "gasLimit", &alloy_rlp::encode(60_000_000u64));
        assert_eq!(limit.unwrap(), json!("60000000"));
        let scalar = value(Contract::SystemConfig, "basefeeScalar", &alloy_rlp::encode(1368u32));
        assert_eq!(scalar.unwrap(), json!(1368));
        let owner = value(Contract::SystemConfig, "owner", &alloy_rlp::encode(BOB.parse::<Address>().unwrap()));
        assert_eq!(owner.unwrap(), json!(BOB));
        let next = value(Contract::BatchInbox, "nextNonce", &alloy_rlp::encode(7u64));
        assert_eq!(next.unwrap(), json!("7"));
        // Too wide, cut, and nothing to answer.
        for (name, bytes) in
            [("basefeeScalar", alloy_rlp::encode(1u64 << 32)), ("gasLimit", vec![]), ("setGasLimit", vec![1])]
        {
            assert!(value(Contract::SystemConfig, name, &bytes).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn json_and_bytes_say_the_same(
            to in any::<[u8; 20]>(), value in any::<[u8; 32]>(), gas in any::<u64>(), creation in any::<bool>(),
            data in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let args = DepositTransaction {
                to: to.into(), value: U256::from_be_bytes(value), gas_limit: gas, is_creation: creation, data: data.into(),
            };
            let json = json!([
                args.to.to_string(), args.value.to_string(), gas.to_string(), creation, args.data.to_string(),
            ]);
            let bytes = encode_args(method(Contract::Portal, "depositTransaction"), &json).unwrap();
            prop_assert_eq!(bytes, args.encode_args());
        }
    }
}
