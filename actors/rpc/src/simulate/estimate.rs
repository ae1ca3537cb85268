//! `eth_estimateGas`: geth's binary search (eth/gasestimator).

use super::{
    error::{ExecuteError, Invalid, halt_message, is_out_of_gas},
    execute::Simulation,
    guard::Guard,
    request::{Fees, call_tx},
};
use crate::{chain::Chain, config::Limits, error::RpcError, workers::Cancel};
use alloy_op_evm::OpTx;
use alloy_primitives::{TxKind, U256};
use alloy_rpc_types_eth::TransactionRequest;
use op_revm::OpHaltReason;
use revm::{context_interface::result::ExecutionResult, database_interface::DatabaseRef as _};

/// Gas of a plain transfer.
const TRANSFER: u64 = 21_000;
/// Gas that a value transfer hands to the callee.
const STIPEND: u64 = 2_300;
/// How far above the least gas limit an estimate may be, as geth has it: wallets add more than that.
const ERROR_RATIO: f64 = 0.015;

/// The least gas limit with which a request succeeds, or a little more.
///
/// # Errors
/// Code 3 if it reverts whatever the gas; `gas required exceeds allowance` if the highest allowed limit is not enough.
pub(crate) fn estimate(
    chain: &Chain,
    simulation: Simulation,
    request: TransactionRequest,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<u64, RpcError> {
    let mut highest = match request.gas {
        Some(gas) if gas >= TRANSFER => gas,
        _ => simulation.env.block_env.gas_limit,
    };
    let fees = Fees::of(&request)?;
    if fees.cap != 0 {
        let from = request.from.unwrap_or_default();
        let value = request.value.unwrap_or_default();
        let balance = simulation.db.basic_ref(from)?.map(|account| account.balance).unwrap_or_default();
        if !value.is_zero() && value >= balance {
            return Err(RpcError::server("insufficient funds for transfer"));
        }
        let allowance = (balance - value) / U256::from(fees.cap);
        highest = highest.min(allowance.saturating_to());
    }
    highest = highest.min(limits.call_gas_cap);
    let tx = call_tx(request, chain.spec().chain_id, u64::MAX)?;
    let timeout = limits.call_timeout();
    let mut search = Search { simulation, tx, timeout, cancel: cancel.within(timeout) };

    if search.is_plain_transfer()? && matches!(search.attempt(TRANSFER), Ok(Attempt::Success { .. })) {
        return Ok(TRANSFER);
    }
    let (used, before_refund) = match search.attempt(highest)? {
        Attempt::Success { used, before_refund } => (used, before_refund),
        Attempt::OutOfGas => return Err(RpcError::Server(format!("gas required exceeds allowance ({highest})"))),
        Attempt::Failed(error) => return Err(error),
    };
    // The gas used is a lower bound: less cannot be enough.
    let mut fails = used.saturating_sub(1);
    // And with what it used before refunds, plus what calls hold back, it mostly succeeds.
    let likely = (before_refund.saturating_add(STIPEND)).saturating_mul(64) / 63;
    if likely < highest {
        match search.attempt(likely)? {
            Attempt::Success { .. } => highest = likely,
            Attempt::OutOfGas | Attempt::Failed(_) => fails = likely,
        }
    }
    while fails + 1 < highest {
        if ((highest - fails) as f64) / (highest as f64) < ERROR_RATIO {
            break;
        }
        // Most transactions need little more than they use, so the search leans to the low side.
        let middle = (fails + (highest - fails) / 2).min(fails.saturating_mul(2)).max(fails + 1);
        match search.attempt(middle)? {
            Attempt::Success { .. } => highest = middle,
            Attempt::OutOfGas | Attempt::Failed(_) => fails = middle,
        }
    }
    Ok(highest)
}

struct Search {
    simulation: Simulation,
    tx: OpTx,
    timeout: std::time::Duration,
    cancel: Cancel,
}

enum Attempt {
    Success { used: u64, before_refund: u64 },
    OutOfGas,
    Failed(RpcError),
}

impl Search {
    /// No data, and a recipient without code.
    fn is_plain_transfer(&self) -> Result<bool, RpcError> {
        let TxKind::Call(to) = self.tx.0.base.kind else { return Ok(false) };
        if !self.tx.0.base.data.is_empty() || self.tx.0.base.tx_type == 4 {
            return Ok(false);
        }
        Ok(self.simulation.db.basic_ref(to)?.is_none_or(|account| account.is_empty_code_hash()))
    }

    fn attempt(&mut self, gas: u64) -> Result<Attempt, RpcError> {
        let mut tx = self.tx.clone();
        tx.0.base.gas_limit = gas;
        let guard = Guard::new(self.cancel.clone(), self.timeout);
        let result = match self.simulation.run(tx, guard) {
            Ok(outcome) => outcome.result,
            Err(ExecuteError::Invalid { kind: Invalid::TooLittleGas, .. }) => return Ok(Attempt::OutOfGas),
            Err(error) => return Err(error.of_estimate(gas)),
        };
        Ok(outcome(result))
    }
}

fn outcome(result: ExecutionResult<OpHaltReason>) -> Attempt {
    match result {
        ExecutionResult::Success { gas, .. } => {
            Attempt::Success { used: gas.tx_gas_used(), before_refund: gas.total_gas_spent() }
        }
        ExecutionResult::Revert { output, .. } => Attempt::Failed(RpcError::reverted(output)),
        ExecutionResult::Halt { reason, .. } if is_out_of_gas(&reason) => Attempt::OutOfGas,
        ExecutionResult::Halt { reason, .. } => Attempt::Failed(RpcError::Server(halt_message(&reason))),
    }
}
