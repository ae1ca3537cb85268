//! `eth_createAccessList`.

use super::{error::halt_message, execute::Simulation, guard::Guard, request::call_tx};
use crate::{chain::Chain, config::Limits, error::RpcError, workers::Cancel};
use alloy_eips::eip2930::AccessList;
use alloy_rpc_types_eth::TransactionRequest;
use revm::context_interface::result::ExecutionResult;
use revm_inspectors::access_list::AccessListInspector;
use serde::Serialize;

/// Rounds after which a list that keeps growing is given as it is. Geth has no bound; the time limit would be the other one.
const ROUNDS: usize = 16;

/// An access list and the gas that the transaction uses with it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccessListResult {
    pub(crate) access_list: AccessList,
    /// Why the transaction fails, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    #[serde(with = "alloy_serde::quantity")]
    pub(crate) gas_used: u64,
}

/// What a request touches. Run again and again with the list found, until it stays the same: the list changes the gas, and the gas
/// may change the way.
///
/// # Errors
/// If the request cannot even start.
pub(crate) fn access_list(
    chain: &Chain,
    mut simulation: Simulation,
    request: TransactionRequest,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<AccessListResult, RpcError> {
    let mut tx = call_tx(request, chain.spec().chain_id, limits.call_gas_cap)?;
    // A list needs a type that has one.
    tx.0.base.tx_type = tx.0.base.tx_type.max(1);
    let timeout = limits.call_timeout();
    let cancel = cancel.within(timeout);
    let mut list = sorted(tx.0.base.access_list.clone());
    let mut rounds = 0;
    loop {
        tx.0.base.access_list = list.clone();
        let mut inspector = AccessListInspector::new(list.clone());
        let gas = tx.0.base.gas_limit;
        let outcome = simulation
            .run(tx.clone(), (Guard::new(cancel.clone(), timeout), &mut inspector))
            .map_err(|error| error.of_call(gas))?;
        let found = sorted(inspector.into_access_list());
        rounds += 1;
        if found == list || rounds == ROUNDS {
            let error = match &outcome.result {
                ExecutionResult::Success { .. } => None,
                ExecutionResult::Revert { .. } => Some("execution reverted".to_owned()),
                ExecutionResult::Halt { reason, .. } => Some(halt_message(reason)),
            };
            return Ok(AccessListResult { access_list: list, error, gas_used: outcome.result.tx_gas_used() });
        }
        list = found;
    }
}

/// The inspector's order is that of a hash map.
fn sorted(mut list: AccessList) -> AccessList {
    list.0.sort_unstable_by_key(|item| item.address);
    for item in &mut list.0 {
        item.storage_keys.sort_unstable();
    }
    list
}
