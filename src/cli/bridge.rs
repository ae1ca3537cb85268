//! `duskevm bridge`: what goes from Dusk L1 to L2, through the admin JSON-RPC of a running node.

use std::thread::sleep;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, Bytes, Log, U64};
use clap::{Args, Subcommand};
use duskevm_dusk_l1::wallet;
use duskevm_evm::RecoveredTx;
use duskevm_l1_view::contract_address;
use duskevm_rollup::{TRANSACTION_DEPOSITED, user_deposit};
use duskevm_settlement::args::{Arguments as _, DepositEthToWithValue};
use duskevm_settlement::gas_limit;
use jsonrpsee::rpc_params;
use serde::Deserialize;
use serde_json::json;

use super::admin::Admin;
use super::l1::{Dusk, Sending, Session, ask, check_balance, fail, wait};
use super::{CliError, Failure, OK, print, view};
use crate::network::CONTRACTS;

/// Arguments of `bridge`.
#[derive(Debug, Args)]
pub struct BridgeArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: BridgeCommand,
}

/// What to do with the bridge.
#[derive(Debug, Subcommand)]
pub enum BridgeCommand {
    /// Bring DUSK from a Dusk account to an account on L2.
    Deposit {
        /// How much, in DUSK.
        #[arg(long, value_name = "DUSK")]
        amount: Dusk,
        /// The account on L2.
        #[arg(long, value_name = "ADDRESS", value_parser = recipient)]
        to: Address,
        /// Gas on L2 that the account's code gets at least.
        #[arg(long, value_name = "GAS", default_value_t = MIN_GAS_LIMIT)]
        min_gas_limit: u32,
        /// Bytes that are passed through unchanged, as hex.
        #[arg(long, value_name = "HEX", default_value = "0x")]
        extra_data: Bytes,
        /// How it is sent.
        #[command(flatten)]
        sending: Box<Sending>,
    },
}

/// Pause between two looks at the L1 view.
const LOOK: Duration = Duration::from_millis(200);

/// An account to which money goes. Digits in both cases are a checksum (EIP-55), and nobody has the key of zero.
fn recipient(text: &str) -> Result<Address, String> {
    let address: Address = text.parse().map_err(|_| "an address is 0x and 40 hex digits".to_owned())?;
    let digits = text.trim_start_matches("0x");
    let is_mixed =
        digits.contains(|c: char| c.is_ascii_uppercase()) && digits.contains(|c: char| c.is_ascii_lowercase());
    if is_mixed && Address::parse_checksummed(format!("0x{digits}"), None).is_err() {
        return Err(
            "its upper and lower case digits are no checksum of it: a digit is wrong, or write it in lower case"
                .to_owned(),
        );
    }
    if address.is_zero() {
        return Err("nobody has the key of this address: what is sent there is lost".to_owned());
    }
    Ok(address)
}

/// As in the published SDK.
const MIN_GAS_LIMIT: u32 = 200_000;

/// `duskevm bridge`.
pub(crate) fn run(args: BridgeArgs) -> Result<u8, CliError> {
    match args.command {
        BridgeCommand::Deposit { amount, to, min_gas_limit, extra_data, sending } => {
            deposit(amount, DepositEthToWithValue { to, amount_lux: amount.0, min_gas_limit, extra_data }, &sending)
        }
    }
}

fn deposit(amount: Dusk, call: DepositEthToWithValue, sending: &Sending) -> Result<u8, CliError> {
    let session = Session::open(&sending.key, &sending.target)?;
    let (function, args) = (DepositEthToWithValue::FUNCTION, call.encode_args());
    let gas_limit =
        gas_limit(function, &args, sending.gas_limit).map_err(|error| CliError::Usage(error.to_string()))?;
    let (terms, fee) = session.terms(gas_limit, sending.gas_price)?;
    if let Err(why) = check_balance(&session.account, amount, fee) {
        return fail(why);
    }
    let bridge = CONTRACTS.standard_bridge.0;
    let tx = wallet::call(&session.signer, bridge, function, args, amount.0, &terms).map_err(Failure)?;
    let deadline = Instant::now() + sending.timeout;
    let included = wait(&session.admin, &tx, sending.timeout)?;
    let on_l2 = on_l2(&session.admin, included.id, deadline)?;
    // Gas that was spent is within the limit, whose price was computed before.
    let fee = Dusk(included.gas_spent.saturating_mul(terms.gas_price));
    if sending.target.json {
        let outcome = json!({
            "action": "deposit",
            "account": session.signer.id().to_string(),
            "to": call.to,
            "amount": amount.0.to_string(),
            "id": included.id,
            "height": included.height,
            "index": included.index,
            "gasSpent": included.gas_spent,
            "fee": fee.0.to_string(),
            "final": included.is_final,
            "l2Transaction": on_l2,
        });
        print(&view::json(&outcome))?;
        return Ok(OK);
    }
    print(&format!(
        "deposited {amount} DUSK for {} in L1 block {} for {fee} DUSK of gas (transaction {})\n",
        call.to, included.height, included.id
    ))?;
    print(&match on_l2 {
        Some(hash) => format!("it arrives on L2 as transaction {hash}\n"),
        // A view of final blocks is behind.
        None => format!("the L1 view has not come to it yet: `admin_l1Transaction` shows it for {}\n", included.id),
    })?;
    Ok(OK)
}

/// A Dusk transaction in the L1 view.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Viewed {
    block_hash: B256,
    logs: Vec<ViewedLog>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ViewedLog {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
    log_index: U64,
}

/// Hash of the L2 transaction that a Dusk transaction with one deposit becomes; `None` if the L1 view does not have it by then.
fn on_l2(admin: &Admin, id: B256, deadline: Instant) -> Result<Option<B256>, CliError> {
    let viewed = loop {
        match ask::<Option<Viewed>>(admin, "admin_l1Transaction", rpc_params![id]) {
            Ok(Some(viewed)) => break viewed,
            // The deposit is made whatever becomes of this question.
            Ok(None) | Err(_) if Instant::now() >= deadline => return Ok(None),
            Ok(None) | Err(_) => sleep(LOOK),
        }
    };
    let portal = contract_address(&CONTRACTS.portal);
    let deposited = |log: &&ViewedLog| log.address == portal && log.topics.first() == Some(&TRANSACTION_DEPOSITED);
    let Some(found) = viewed.logs.iter().find(deposited) else {
        return fail(format!("transaction {id} is in the L1 view without a deposit: it is no network of this version"));
    };
    let log = Log::new_unchecked(found.address, found.topics.clone(), found.data.clone());
    match user_deposit(viewed.block_hash, found.log_index.to(), &log) {
        Ok(deposit) => Ok(Some(RecoveredTx::deposit(deposit).hash())),
        Err(error) => fail(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_goes_to_no_mistyped_address() {
        let good = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
        assert_eq!(recipient(good).unwrap(), good.parse::<Address>().unwrap());
        assert_eq!(recipient(&good.to_lowercase()).unwrap(), recipient(good).unwrap());
        for (text, why) in [
            ("0xF39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "no checksum"),
            ("0x0000000000000000000000000000000000000000", "key of this address"),
            ("0xf39F", "40 hex digits"),
        ] {
            assert!(recipient(text).unwrap_err().contains(why), "{text}");
        }
    }
}
