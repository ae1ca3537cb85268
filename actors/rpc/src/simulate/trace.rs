//! `debug_trace…`: tracers on replayed transactions and on calls.

use super::{
    db::{CodeCache, SimDb, StateDb},
    execute::Simulation,
    guard::{Budget, Guard},
    request::call_tx,
};
use crate::{chain::Chain, config::Limits, error::RpcError, workers::Cancel};
use alloy_consensus::Transaction as _;
use alloy_eips::BlockId;
use alloy_evm::{Evm as _, EvmEnv, EvmFactory as _, FromTxWithEncoded as _, block::BlockExecutor as _};
use alloy_op_evm::{
    OpBlockExecutionCtx, OpBlockExecutor, OpEvmFactory, OpTx, block::OpAlloyReceiptBuilder, evm_env_for_op_block,
};
use alloy_primitives::B256;
use alloy_rpc_types_eth::TransactionRequest;
use alloy_rpc_types_trace::geth::{
    GethDebugBuiltInTracerType, GethDebugTracerType, GethDebugTracingCallOptions, GethDebugTracingOptions, GethTrace,
    TraceResult,
};
use duskevm_evm::{Block, RecoveredTx};
use op_revm::OpSpecId;
use revm::{DatabaseCommit as _, context_interface::result::ResultAndState};
use revm_inspectors::tracing::{DebugInspector, DebugInspectorError, TransactionContext};
use std::{sync::Arc, time::Duration};

/// The trace of one transaction of a block: the transactions before it are replayed.
///
/// # Errors
/// If the parent's state is gone, or the options are wrong, or a bound is hit.
pub(crate) fn trace_transaction(
    chain: &Chain,
    codes: &Arc<CodeCache>,
    block: &Block,
    index: usize,
    options: GethDebugTracingOptions,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<GethTrace, RpcError> {
    let mut tracer = Tracer::new(options, limits, cancel)?;
    let mut replay = Replay::before(chain, codes, block, index, &tracer.cancel)?;
    replay.trace(block, index, &mut tracer)
}

/// The traces of all transactions of a block.
///
/// # Errors
/// As [`trace_transaction`].
pub(crate) fn trace_block(
    chain: &Chain,
    codes: &Arc<CodeCache>,
    block: &Block,
    options: GethDebugTracingOptions,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<Vec<TraceResult>, RpcError> {
    let mut tracer = Tracer::new(options, limits, cancel)?;
    let mut replay = Replay::before(chain, codes, block, 0, &tracer.cancel)?;
    (0..block.transactions.len())
        .map(|index| {
            let tx_hash = block.transactions.get(index).map(|tx| tx.hash());
            Ok(TraceResult::Success { result: replay.trace(block, index, &mut tracer)?, tx_hash })
        })
        .collect()
}

/// The trace of a call on the state after a block, or after some of that block's transactions (`txIndex`).
///
/// # Errors
/// As [`trace_transaction`], and as `eth_call` for what cannot even start.
pub(crate) fn trace_call(
    chain: &Chain,
    codes: &Arc<CodeCache>,
    request: TransactionRequest,
    block: BlockId,
    options: GethDebugTracingCallOptions,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<GethTrace, RpcError> {
    let GethDebugTracingCallOptions { tracing_options, state_overrides, block_overrides, tx_index, .. } = options;
    let tracer = Tracer::new(tracing_options, limits, cancel)?;
    let mut simulation = match tx_index {
        None => Simulation::at(chain, codes, block, state_overrides, block_overrides.as_ref())?,
        Some(index) => {
            let block = chain.block_of(block)?.ok_or_else(|| RpcError::server("block not found"))?;
            let index = usize::try_from(index)
                .ok()
                .filter(|index| *index < block.transactions.len())
                .ok_or_else(|| RpcError::server("transaction index out of range for the block"))?;
            let Replay { env, db, .. } = Replay::before(chain, codes, &block, index, &tracer.cancel)?;
            let mut simulation = Simulation { env, db, moves: Vec::new() };
            simulation.relax();
            simulation.override_with(state_overrides, block_overrides.as_ref())?;
            simulation
        }
    };
    let tx = call_tx(request, chain.spec().chain_id, limits.call_gas_cap)?;
    let mut inspector = tracer.inspector()?;
    let gas = tx.0.base.gas_limit;
    let outcome = simulation.run(tx.clone(), (tracer.guard(), &mut inspector)).map_err(|error| error.of_call(gas))?;
    inspector.get_result(None, &tx, &simulation.env.block_env, &outcome, &mut simulation.db).map_err(inspector_error)
}

/// A kind of tracer with its bounds; makes a fresh inspector for each transaction.
struct Tracer {
    options: GethDebugTracingOptions,
    cancel: Cancel,
    timeout: Duration,
    bytes: usize,
}

impl Tracer {
    fn new(options: GethDebugTracingOptions, limits: &Limits, cancel: &Cancel) -> Result<Self, RpcError> {
        let timeout = match &options.timeout {
            None => limits.trace_timeout(),
            Some(text) => go_duration(text)
                .ok_or_else(|| RpcError::params(format!("time: invalid duration {text:?}")))?
                .min(limits.trace_timeout()),
        };
        let tracer = Self { options, cancel: cancel.within(timeout), timeout, bytes: limits.max_trace_bytes };
        // An unknown tracer is an error before the work, not after it.
        tracer.inspector()?;
        Ok(tracer)
    }

    fn inspector(&self) -> Result<DebugInspector, RpcError> {
        DebugInspector::new(self.options.clone()).map_err(|error: DebugInspectorError| inspector_error(error))
    }

    fn guard(&self) -> Guard {
        let config = &self.options.config;
        let budget = match &self.options.tracer {
            None => Budget::steps(
                self.bytes,
                config.is_stack_enabled(),
                config.is_memory_enabled(),
                config.is_storage_enabled(),
            ),
            Some(GethDebugTracerType::BuiltInTracer(
                GethDebugBuiltInTracerType::CallTracer
                | GethDebugBuiltInTracerType::FlatCallTracer
                | GethDebugBuiltInTracerType::FourByteTracer
                | GethDebugBuiltInTracerType::NoopTracer
                | GethDebugBuiltInTracerType::PreStateTracer
                | GethDebugBuiltInTracerType::MuxTracer,
            )) => Budget::calls(self.bytes),
            Some(_) => Budget::steps(self.bytes, true, true, false),
        };
        Guard::new(self.cancel.clone(), self.timeout).with_budget(budget)
    }
}

/// A block that is being executed again.
struct Replay {
    env: EvmEnv<OpSpecId>,
    db: SimDb,
    /// Gas of the block that is not used yet: a block that a client made up must not use more than it says.
    gas_left: u64,
}

impl Replay {
    /// The state right before transaction `index` of the block.
    fn before(
        chain: &Chain,
        codes: &Arc<CodeCache>,
        block: &Block,
        index: usize,
        cancel: &Cancel,
    ) -> Result<Self, RpcError> {
        if block.number() == 0 {
            return Err(RpcError::server("genesis is not traceable"));
        }
        let parent = block.header.parent_hash;
        let state = chain
            .state(parent)?
            .ok_or_else(|| RpcError::Server(format!("parent block {parent} of block {} not found", block.number())))?;
        let mut db = SimDb::new(StateDb::new(state, codes.clone()));
        let env = evm_env_for_op_block(block.header.inner(), chain.spec().hardforks(), chain.spec().chain_id);
        let evm = OpEvmFactory::<OpTx>::default().create_evm(&mut db, env.clone());
        let ctx = OpBlockExecutionCtx {
            parent_hash: parent,
            parent_beacon_block_root: block.header.parent_beacon_block_root,
            extra_data: block.header.extra_data.clone(),
        };
        let mut executor = OpBlockExecutor::new(evm, ctx, chain.spec().hardforks(), OpAlloyReceiptBuilder::default());
        executor.apply_pre_execution_changes().map_err(RpcError::internal)?;
        let mut gas_left = block.header.gas_limit;
        for tx in block.transactions.iter().take(index) {
            cancel.check()?;
            let result = executor
                .evm
                .transact_commit(tx_env(tx))
                .map_err(|e| RpcError::internal(format!("cannot replay transaction {}: {e}", tx.hash())))?;
            gas_left = gas_left.saturating_sub(result.tx_gas_used());
        }
        drop(executor);
        Ok(Self { env, db, gas_left })
    }

    /// Runs the next transaction under the tracer and keeps its effects.
    fn trace(&mut self, block: &Block, index: usize, tracer: &mut Tracer) -> Result<GethTrace, RpcError> {
        tracer.cancel.check()?;
        let tx = block
            .transactions
            .get(index)
            .ok_or_else(|| RpcError::internal(format!("block {} has no transaction {index}", block.number())))?;
        // As the rules for blocks have it: before Regolith deposits did not count.
        let counts = !tx.is_deposit() || self.env.cfg_env.spec.is_enabled_in(OpSpecId::REGOLITH);
        if counts && tx.envelope().gas_limit() > self.gas_left {
            return Err(RpcError::Server(format!("block gas limit reached before transaction {}", tx.hash())));
        }
        let mut inspector = tracer.inspector()?;
        let tx_env = tx_env(tx);
        let mut guard = tracer.guard();
        let outcome = self.run(tx_env.clone(), (&mut guard, &mut inspector), tx.hash())?;
        // All traces of a request are in memory at the same time, so they share one budget.
        tracer.bytes = guard.bytes_left();
        self.gas_left = self.gas_left.saturating_sub(outcome.result.tx_gas_used());
        let context =
            TransactionContext { block_hash: Some(block.hash()), tx_index: Some(index), tx_hash: Some(tx.hash()) };
        let trace = inspector
            .get_result(Some(context), &tx_env, &self.env.block_env, &outcome, &mut self.db)
            .map_err(inspector_error)?;
        self.db.commit(outcome.state);
        Ok(trace)
    }

    fn run<I>(&mut self, tx: OpTx, inspector: I, hash: B256) -> Result<ResultAndState<op_revm::OpHaltReason>, RpcError>
    where
        I: for<'a> revm::Inspector<alloy_op_evm::OpEvmContext<&'a mut SimDb>>,
    {
        OpEvmFactory::<OpTx>::default()
            .create_evm_with_inspector(&mut self.db, self.env.clone(), inspector)
            .transact(tx)
            .map_err(|error| match error {
                revm::context_interface::result::EVMError::Custom(message) => RpcError::Server(message),
                other => RpcError::internal(format!("cannot replay transaction {hash}: {other}")),
            })
    }
}

fn tx_env(tx: &RecoveredTx) -> OpTx {
    OpTx::from_encoded_tx(tx.envelope(), tx.sender(), tx.encoded().clone())
}

fn inspector_error<E: std::fmt::Display>(error: DebugInspectorError<E>) -> RpcError
where
    DebugInspectorError<E>: std::fmt::Display,
{
    match error {
        DebugInspectorError::Database(error) => RpcError::internal(error),
        DebugInspectorError::JsTracerNotEnabled => {
            RpcError::server("tracer not found: this node runs the built-in tracers only, no JavaScript")
        }
        other => RpcError::server(other),
    }
}

/// A Go duration such as `5s`, `1m30s` or `250ms`.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let seconds = match rest.get(..unit_end)? {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        rest = rest.get(unit_end..)?;
        total = total.checked_add(Duration::try_from_secs_f64(value * seconds).ok()?)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_go_durations() {
        assert_eq!(go_duration("5s"), Some(Duration::from_secs(5)));
        assert_eq!(go_duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(go_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(go_duration("1.5s"), Some(Duration::from_millis(1500)));
        for bad in ["", "5", "s", "5 s", "-5s", "1e9s", "99999999999999999999h", "5x"] {
            assert_eq!(go_duration(bad), None, "{bad}");
        }
    }
}
