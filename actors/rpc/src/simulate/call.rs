//! `eth_call`.

use super::{error::halt_message, execute::Simulation, guard::Guard, request::call_tx};
use crate::{chain::Chain, config::Limits, error::RpcError, workers::Cancel};
use alloy_primitives::Bytes;
use alloy_rpc_types_eth::TransactionRequest;
use revm::context_interface::result::ExecutionResult;

/// Runs a request and returns its output.
///
/// # Errors
/// Code 3 with the returned data if it reverts; other failures in geth's words.
pub(crate) fn call(
    chain: &Chain,
    mut simulation: Simulation,
    request: TransactionRequest,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<Bytes, RpcError> {
    let tx = call_tx(request, chain.spec().chain_id, limits.call_gas_cap)?;
    let timeout = limits.call_timeout();
    let gas = tx.0.base.gas_limit;
    let guard = Guard::new(cancel.within(timeout), timeout);
    match simulation.run(tx, guard).map_err(|error| error.of_call(gas))?.result {
        ExecutionResult::Success { output, .. } => Ok(output.into_data()),
        ExecutionResult::Revert { output, .. } => Err(RpcError::reverted(output)),
        ExecutionResult::Halt { reason, .. } => Err(RpcError::Server(halt_message(&reason))),
    }
}
