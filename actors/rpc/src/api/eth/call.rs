//! Simulated transactions.

use crate::{
    api::registry::Registry,
    simulate::{self, Simulation, Simulator},
};
use alloy_eips::BlockId;
use alloy_primitives::U64;
use alloy_rpc_types_eth::{BlockOverrides, TransactionRequest, simulate::SimulatePayload, state::StateOverride};

pub(super) fn register(registry: &mut Registry) {
    registry.heavy("eth_call", |api, mut args, cancel| {
        let request: TransactionRequest = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        let state: Option<StateOverride> = args.optional()?;
        let overrides: Option<BlockOverrides> = args.optional()?;
        args.end()?;
        let simulation = Simulation::at(&api.chain, &api.codes, block.unwrap_or_default(), state, overrides.as_ref())?;
        simulate::call(&api.chain, simulation, request, &api.limits, cancel)
    });
    registry.heavy("eth_estimateGas", |api, mut args, cancel| {
        let request: TransactionRequest = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        let state: Option<StateOverride> = args.optional()?;
        let overrides: Option<BlockOverrides> = args.optional()?;
        args.end()?;
        let simulation = Simulation::at(&api.chain, &api.codes, block.unwrap_or_default(), state, overrides.as_ref())?;
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
