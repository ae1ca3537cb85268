//! `duskevm bridge`: what goes from Dusk L1 to L2, through the admin JSON-RPC of a running node.

use alloy_primitives::{Address, Bytes};
use clap::{Args, Subcommand};
use duskevm_dusk_l1::wallet;
use duskevm_settlement::args::{Arguments as _, DepositEthToWithValue};
use duskevm_settlement::enough_gas;
use serde_json::json;

use super::l1::{Dusk, Sending, Session, check_balance, fail, wait};
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
        #[arg(long, value_name = "ADDRESS")]
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
    let gas_limit = sending.gas_limit.unwrap_or_else(|| enough_gas(function, &args));
    let (terms, fee) = session.terms(gas_limit, sending.gas_price)?;
    if let Err(why) = check_balance(&session.account, amount, fee) {
        return fail(why);
    }
    let bridge = CONTRACTS.standard_bridge.0;
    let tx = wallet::call(&session.signer, bridge, function, args, amount.0, &terms).map_err(Failure)?;
    let included = wait(&session.admin, &tx, sending.timeout)?;
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
        });
        print(&view::json(&outcome))?;
        return Ok(OK);
    }
    print(&format!(
        "deposited {amount} DUSK for {} in L1 block {} for {fee} DUSK of gas (transaction {})\n",
        call.to, included.height, included.id
    ))?;
    Ok(OK)
}
