//! `duskevm l1 submit | wait | read`: the programs that wallets and scripts run. One JSON object comes on standard input, one JSON
//! value goes to standard output. Amounts, gas and prices are decimal strings or JSON integers.

use std::io::Read as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use alloy_primitives::{B256, Bytes, hex};
use duskevm_dusk_l1::keys::AccountId;
use duskevm_dusk_l1::wallet;
use duskevm_settlement::{Contract, Kind, Method, decode_value, encode_args, gas_limit};
use jsonrpsee::rpc_params;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::amount::Dusk;
use super::args::KeyArgs;
use super::{LOOK, Session, State, ask, check_balance, fail};
use crate::cli::admin::Admin;
use crate::cli::args::Target;
use crate::cli::{CliError, Failure, OK, print};
use crate::network::CONTRACTS;

/// Longest request: the hex form of the longest transaction, and something around it.
const MAX_REQUEST: u64 = 4 * 1024 * 1024;

/// How long a transaction is waited for unless the request says.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lux for each gas unless the request says.
const GAS_PRICE: u64 = 1;

/// A number that fits 64 bits, as a decimal string or a JSON integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Number(u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let number = match &value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        };
        number
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("{value} is no whole number of 64 bits: write \"1500\"")))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RequestKind {
    Transfer,
    ContractCall,
    Raw,
}

/// What `submit` is asked, in the names of the published SDK.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SubmitRequest {
    kind: RequestKind,
    to: Option<AccountId>,
    amount_lux: Option<Number>,
    contract_id: Option<String>,
    method: Option<String>,
    args: Option<Value>,
    payload: Option<Value>,
    gas_limit: Option<Number>,
    gas_price_lux: Option<Number>,
    /// The caller's own notes.
    #[serde(rename = "metadata")]
    _metadata: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WaitRequest {
    transaction_hash: B256,
    #[serde(default)]
    options: WaitOptions,
}

/// Callers may add options of their own.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WaitOptions {
    timeout_ms: Option<Number>,
    poll_interval_ms: Option<Number>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReadRequest {
    contract_id: String,
    method: String,
    args: Option<Value>,
}

/// Reads the request.
fn request<T: DeserializeOwned>() -> Result<T, CliError> {
    let mut text = String::new();
    std::io::stdin().lock().take(MAX_REQUEST + 1).read_to_string(&mut text).map_err(Failure)?;
    if text.len() as u64 > MAX_REQUEST {
        return Err(CliError::Usage(format!("the request on standard input is longer than {MAX_REQUEST} bytes")));
    }
    parse(&text)
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, CliError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let request =
        serde_path_to_error::deserialize(&mut json).map_err(|error| match error.path().to_string().as_str() {
            "." => error.into_inner().to_string(),
            path => format!("{path}: {}", error.into_inner()),
        });
    request
        .and_then(|request| json.end().map(|()| request).map_err(|error| error.to_string()))
        .map_err(|error| CliError::Usage(format!("the request on standard input is not understood: {error}")))
}

/// One value and a line end: programs read it.
fn answer(value: &Value) -> Result<u8, CliError> {
    print(&format!("{value}\n"))?;
    Ok(OK)
}

fn usage<T>(why: impl Into<String>) -> Result<T, CliError> {
    Err(CliError::Usage(why.into()))
}

/// What a request asks to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Order {
    /// Bytes that somebody else signed.
    Raw(Bytes),
    /// A transaction to sign, with the lux that it moves.
    Sign(Content, u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Transfer(AccountId),
    Call { contract: B256, method: String, args: Vec<u8> },
}

impl SubmitRequest {
    fn order(self) -> Result<Order, CliError> {
        let lux = self.amount_lux.map(|Number(lux)| lux);
        let named = [
            ("to", self.to.is_some()),
            ("amountLux", lux.is_some()),
            ("contractId", self.contract_id.is_some()),
            ("method", self.method.is_some()),
            ("args", self.args.is_some()),
            ("payload", self.payload.is_some()),
            ("gasLimit", self.gas_limit.is_some()),
            ("gasPriceLux", self.gas_price_lux.is_some()),
        ];
        // What would be ignored is a mistake, and may be an expensive one.
        let only = |kind: &str, fields: &[&str]| match named.iter().find(|(name, set)| *set && !fields.contains(name)) {
            Some((name, _)) => usage(format!("a {kind} has no {name}: leave it out")),
            None => Ok(()),
        };
        match self.kind {
            RequestKind::Transfer => {
                only("transfer", &["to", "amountLux", "gasLimit", "gasPriceLux"])?;
                match (self.to, lux) {
                    (Some(to), Some(lux)) => Ok(Order::Sign(Content::Transfer(to), lux)),
                    _ => usage("a transfer needs to (an account in base58) and amountLux"),
                }
            }
            RequestKind::ContractCall => {
                only("contract_call", &["amountLux", "contractId", "method", "args", "gasLimit", "gasPriceLux"])?;
                let (Some(contract), Some(method)) = (self.contract_id, self.method) else {
                    return usage("a contract_call needs contractId and method");
                };
                let contract = contract_id(&contract)?;
                let args = call_args(&contract, &method, self.args.as_ref())?;
                Ok(Order::Sign(Content::Call { contract, method, args }, lux.unwrap_or(0)))
            }
            RequestKind::Raw => {
                only("raw", &["payload"])?;
                match self.payload.as_ref().and_then(raw_bytes) {
                    Some(bytes) => Ok(Order::Raw(bytes.into())),
                    None => usage("a raw request needs payload: the signed Dusk transaction as hex with 0x"),
                }
            }
        }
    }
}

fn raw_bytes(value: &Value) -> Option<Vec<u8>> {
    hex::decode(value.as_str()?.strip_prefix("0x")?).ok()
}

/// 32 bytes as hex, with or without 0x.
fn contract_id(text: &str) -> Result<B256, CliError> {
    text.parse().or_else(|_| usage(format!("\"{text}\" is no contract id: write 32 bytes as hex")))
}

/// The entry point that is meant, if the contract is one of the rollup's.
fn find(contract: &B256, name: &str, reads: bool) -> Result<Option<&'static Method>, CliError> {
    let Some(contract) = CONTRACTS.find(contract) else { return Ok(None) };
    let fits = |method: &&Method| (method.kind != Kind::Write) == reads;
    if let Some(method) = Method::find(contract, name).filter(fits) {
        return Ok(Some(method));
    }
    let mut known = Vec::new();
    known.extend(
        Method::all().iter().filter(|method| method.contract == contract).filter(fits).map(|method| method.name),
    );
    let what = if reads { "answers" } else { "can be called with" };
    let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
    usage(format!("there is no {name} here: the contract ({}) {what} {known}", title(contract)))
}

const fn title(contract: Contract) -> &'static str {
    match contract {
        Contract::BatchInbox => "batch inbox",
        Contract::Portal => "OptimismPortal",
        Contract::Messenger => "L1CrossDomainMessenger",
        Contract::StandardBridge => "L1StandardBridge",
        Contract::Erc721Bridge => "L1ERC721Bridge",
        Contract::SystemConfig => "SystemConfig",
    }
}

/// Arguments in the byte form of the contract. Those of contracts that are not the rollup's must be bytes already.
fn call_args(contract: &B256, name: &str, args: Option<&Value>) -> Result<Vec<u8>, CliError> {
    match (find(contract, name, false)?, args) {
        (Some(method), args) => to_bytes(method, args),
        (None, Some(args)) => match raw_bytes(args) {
            Some(bytes) => Ok(bytes),
            None => usage("arguments of a contract that is not the rollup's must be its bytes, as hex with 0x"),
        },
        (None, None) => Ok(Vec::new()),
    }
}

fn to_bytes(method: &Method, args: Option<&Value>) -> Result<Vec<u8>, CliError> {
    encode_args(method, args.unwrap_or(&json!([]))).map_err(|error| CliError::Usage(error.to_string()))
}

/// `duskevm l1 submit`.
pub(super) fn submit(key: &KeyArgs, target: &Target) -> Result<u8, CliError> {
    let request: SubmitRequest = request()?;
    let (wanted, gas_price) =
        (request.gas_limit.map(|Number(gas)| gas), request.gas_price_lux.map_or(GAS_PRICE, |Number(price)| price));
    let (content, lux) = match request.order()? {
        Order::Raw(bytes) => return send(&Admin::new(target)?, &bytes),
        Order::Sign(content, lux) => (content, lux),
    };
    let session = Session::open(key, target)?;
    let gas = match &content {
        Content::Transfer(_) => wanted.unwrap_or(wallet::TRANSFER_GAS),
        Content::Call { method, args, .. } => {
            gas_limit(method, args, wanted).map_err(|error| CliError::Usage(error.to_string()))?
        }
    };
    let (terms, fee) = session.terms(gas, gas_price)?;
    if let Err(why) = check_balance(&session.account, Dusk(lux), fee) {
        return fail(why);
    }
    let tx = match content {
        Content::Transfer(to) => wallet::transfer(&session.signer, &to, lux, &terms),
        Content::Call { contract, method, args } => {
            wallet::call(&session.signer, contract.0, &method, args, lux, &terms)
        }
    };
    send(&session.admin, &tx.map_err(Failure)?.ledger().protocol_bytes().into())
}

fn send(admin: &Admin, bytes: &Bytes) -> Result<u8, CliError> {
    let id: B256 = ask(admin, "admin_submitDusk", rpc_params![bytes])?;
    answer(&json!({ "transactionHash": id }))
}

/// `duskevm l1 wait`.
pub(super) fn wait(target: &Target) -> Result<u8, CliError> {
    let WaitRequest { transaction_hash: id, options } = request()?;
    let millis = |number: Option<Number>, otherwise| number.map_or(otherwise, |Number(ms)| Duration::from_millis(ms));
    let (patience, pause) = (millis(options.timeout_ms, PATIENCE), millis(options.poll_interval_ms, LOOK).max(LOOK));
    let admin = Admin::new(target)?;
    let begun = Instant::now();
    loop {
        let trouble = match ask::<State>(&admin, "admin_duskTransaction", rpc_params![id]) {
            Ok(State::Included { height, error, r#final, .. }) => {
                return answer(&json!({
                    "transactionHash": id,
                    "blockHeight": height,
                    "success": error.is_none(),
                    "finalized": r#final,
                }));
            }
            Ok(State::Waiting) => "it waits for a block".to_owned(),
            Ok(State::Unknown) => "the node does not know it: it may have to be submitted again".to_owned(),
            // The node may be restarting.
            Err(error) => error.to_string(),
        };
        let left = patience.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return fail(format!("after {patience:?} transaction {id} is in no block: {trouble}"));
        }
        sleep(pause.min(left));
    }
}

/// `duskevm l1 read`.
pub(super) fn read(target: &Target) -> Result<u8, CliError> {
    let ReadRequest { contract_id: id, method, args } = request()?;
    let id = contract_id(&id)?;
    let Some(method) = find(&id, &method, true)? else {
        return usage(format!("contract {id} is none of the rollup's: only these can be read"));
    };
    let args = to_bytes(method, args.as_ref())?;
    let value: Bytes = ask(&Admin::new(target)?, "admin_duskRead", rpc_params![id, method.name, Bytes::from(args)])?;
    answer(&decode_value(method, &value).map_err(Failure)?)
}

#[cfg(test)]
mod tests {
    use duskevm_settlement::args::{Arguments as _, DepositEthToWithValue};

    use super::*;
    use crate::network::local_producer;

    const BOB: &str = "0xb0b0000000000000000000000000000000000b0b";

    fn order(request: Value) -> Result<Order, String> {
        let parsed: SubmitRequest = parse(&request.to_string()).map_err(|error| error.to_string())?;
        parsed.order().map_err(|error| error.to_string())
    }

    #[test]
    fn a_request_of_the_sdk_is_understood() {
        let request = json!({
            "kind": "contract_call",
            "contractId": CONTRACTS.standard_bridge,
            "method": "depositETHToWithValue",
            "amountLux": "1500000000",
            "args": [BOB, "1500000000", 200_000, "0x"],
            "gasLimit": "9000000",
            "gasPriceLux": 2,
            "metadata": { "operationId": "7", "assetKind": "native" },
        });
        let parsed: SubmitRequest = parse(&request.to_string()).unwrap();
        assert_eq!((parsed.gas_limit, parsed.gas_price_lux), (Some(Number(9_000_000)), Some(Number(2))));
        let args = DepositEthToWithValue {
            to: BOB.parse().unwrap(),
            amount_lux: 1_500_000_000,
            min_gas_limit: 200_000,
            extra_data: Bytes::new(),
        };
        let content = Content::Call {
            contract: CONTRACTS.standard_bridge,
            method: "depositETHToWithValue".into(),
            args: args.encode_args(),
        };
        assert_eq!(parsed.order().unwrap(), Order::Sign(content, 1_500_000_000));
    }

    #[test]
    fn transfers_and_raw_transactions_are_understood() {
        let to = local_producer().id();
        let transfer = json!({ "kind": "transfer", "to": to.to_string(), "amountLux": 5 });
        assert_eq!(order(transfer), Ok(Order::Sign(Content::Transfer(to), 5)));
        let raw = order(json!({ "kind": "raw", "payload": "0x0102" }));
        assert_eq!(raw, Ok(Order::Raw(vec![1, 2].into())));
        // Not one of the rollup's: its bytes go through.
        let other = json!({ "kind": "contract_call", "contractId": "09".repeat(32), "method": "go", "args": "0x05" });
        let content = Content::Call { contract: B256::repeat_byte(9), method: "go".into(), args: vec![5] };
        assert_eq!(order(other), Ok(Order::Sign(content, 0)));
    }

    #[test]
    fn mistakes_are_named() {
        let bridge = CONTRACTS.standard_bridge;
        let call = |method: &str, args: Value| json!({ "kind": "contract_call", "contractId": bridge, "method": method, "args": args });
        for (request, why) in [
            (json!({}), "missing field `kind`"),
            (json!({ "kind": "deploy" }), "unknown variant"),
            (json!({ "kind": "raw", "colour": 1 }), "unknown field `colour`"),
            (json!({ "kind": "raw" }), "needs payload"),
            (json!({ "kind": "raw", "payload": "0x0102", "gasLimit": 1 }), "a raw has no gasLimit"),
            (json!({ "kind": "raw", "payload": [1] }), "needs payload"),
            (json!({ "kind": "transfer", "to": "abc", "amountLux": 1 }), "not a Dusk account"),
            (json!({ "kind": "transfer", "amountLux": 1 }), "a transfer needs to"),
            (json!({ "kind": "transfer", "amountLux": "1.5" }), "amountLux: \"1.5\" is no whole number of 64 bits"),
            (json!({ "kind": "transfer", "amountLux": "18446744073709551616" }), "no whole number of 64 bits"),
            (json!({ "kind": "transfer", "amountLux": "" }), "no whole number of 64 bits"),
            (json!({ "kind": "transfer", "payload": "0x01" }), "a transfer has no payload"),
            (json!({ "kind": "contract_call" }), "needs contractId and method"),
            (json!({ "kind": "contract_call", "contractId": "0x01", "method": "go" }), "is no contract id"),
            (call("claimNativeCredit", json!([])), "can be called with depositETHToWithValue, bridgeERC20To"),
            (call("depositETHToWithValue", json!([BOB])), "takes these arguments: to: an address"),
            (call("depositETHToWithValue", json!(["0x01", "1", 1, "0x"])), "the argument to"),
        ] {
            let error = order(request.clone()).expect_err(&request.to_string());
            assert!(error.contains(why), "{request}: {error}");
        }
        let error = find(&CONTRACTS.system_config, "setGasLimit", true).unwrap_err().to_string();
        assert!(error.contains("answers owner, batcherHash"), "{error}");
    }

    #[test]
    fn options_of_a_wait_may_be_missing_or_more() {
        let id = B256::repeat_byte(7);
        let parsed: WaitRequest = parse(&json!({ "transactionHash": id }).to_string()).unwrap();
        assert_eq!(parsed, WaitRequest { transaction_hash: id, options: WaitOptions::default() });
        let options = json!({ "timeoutMs": 5, "pollIntervalMs": "7", "signal": {} });
        let parsed: WaitRequest = parse(&json!({ "transactionHash": id, "options": options }).to_string()).unwrap();
        assert_eq!(parsed.options.timeout_ms, Some(Number(5)));
        assert_eq!(parsed.options.poll_interval_ms, Some(Number(7)));
        assert!(parse::<WaitRequest>("{\"transactionHash\": \"0x01\"}").is_err());
    }
}
