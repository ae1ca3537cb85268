//! Simulated transactions.

use crate::{
    api::{Api, registry::Registry},
    error::RpcError,
    params::Args,
    simulate::{self, Simulation, Simulator},
};
use alloy_eips::BlockId;
use alloy_primitives::U64;
use alloy_rpc_types_eth::{BlockOverrides, TransactionRequest, simulate::SimulatePayload, state::StateOverride};

pub(super) fn register(registry: &mut Registry) {
    registry.heavy("eth_call", |api, args, cancel| {
        let (simulation, request) = simulation(api, args)?;
        simulate::call(&api.chain, simulation, request, &api.limits, cancel)
    });
    registry.heavy("eth_estimateGas", |api, args, cancel| {
        let (simulation, request) = simulation(api, args)?;
        simulate::estimate(&api.chain, simulation, request, &api.limits, cancel).map(U64::from)
    });
    registry.heavy("eth_createAccessList", |api, mut args, cancel| {
        let request: TransactionRequest = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        let state: Option<StateOverride> = args.optional()?;
        args.end()?;
        let simulation = Simulation::at(&api.chain, &api.codes, block.unwrap_or_default(), state, None)?;
        simulate::access_list(&api.chain, simulation, request, &api.limits, cancel)
    });
    registry.heavy("eth_simulateV1", |api, mut args, cancel| {
        let payload: SimulatePayload = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        args.end()?;
        let simulator = Simulator {
            chain: &api.chain,
            codes: &api.codes,
            limits: &api.limits,
            block_time: api.rollup.config.block_time,
        };
        simulate::simulate(&simulator, payload, block.unwrap_or_default(), cancel)
    });
}

/// What `eth_call` and `eth_estimateGas` are given alike: a transaction, a block, and what to change there.
fn simulation(api: &Api, mut args: Args) -> Result<(Simulation, TransactionRequest), RpcError> {
    let request: TransactionRequest = args.required()?;
    let block: Option<BlockId> = args.optional()?;
    let state: Option<StateOverride> = args.optional()?;
    let overrides: Option<BlockOverrides> = args.optional()?;
    args.end()?;
    let block = block.unwrap_or_default();
    Ok((Simulation::at(&api.chain, &api.codes, block, state, overrides.as_ref())?, request))
}
