//! `eth_simulateV1`: several blocks of calls, one after another, on top of a block.
//!
//! Source: execution-apis, `eth_simulateV1` notes. What differs: the state root of a simulated block is zero, because the snapshots
//! that calls run on know no tries of changed states; and L1 and operator fees are not charged.

use super::{
    db::{CodeCache, SimDb},
    error::halt_message,
    execute::Simulation,
    guard::{Budget, Guard},
    request::call_tx,
};
use crate::{
    chain::Chain,
    config::Limits,
    error::{RpcError, revert_message},
    types::{LogPosition, RpcBlock, block},
    workers::Cancel,
};
use alloy_consensus::SignableTransaction as _;
use alloy_consensus::{Header, Sealable as _, Sealed, TxEip1559, proofs::calculate_transaction_root};
use alloy_eips::{BlockId, eip2718::Encodable2718 as _};
use alloy_op_evm::OpTx;
use alloy_primitives::{B256, Bloom, Bytes, Log, Signature, U256};
use alloy_rpc_types_eth::{
    BlockOverrides, TransactionRequest,
    simulate::{MAX_SIMULATE_BLOCKS, SimBlock, SimCallResult, SimulateError, SimulatePayload, SimulatedBlock},
};
use duskevm_evm::{Block, RecoveredTx, header::next_base_fee, receipts_root};
use op_alloy_consensus::{OpReceiptEnvelope, OpTxEnvelope, OpTxType};
use op_revm::OpHaltReason;
use revm::{DatabaseCommit as _, context_interface::result::ExecutionResult, database_interface::DatabaseRef as _};
use revm_inspectors::transfer::TransferInspector;
use std::sync::Arc;

const BLOCK_GAS_LIMIT_REACHED: i32 = -38015;
const BLOCK_NUMBER_INVALID: i32 = -38020;
const BLOCK_TIMESTAMP_INVALID: i32 = -38021;
const CLIENT_LIMIT_EXCEEDED: i32 = -38026;

/// What to simulate on.
pub(crate) struct Simulator<'a> {
    pub(crate) chain: &'a Chain,
    pub(crate) codes: &'a Arc<CodeCache>,
    pub(crate) limits: &'a Limits,
    /// Seconds between blocks, where a block names no time.
    pub(crate) block_time: u64,
}

/// Runs all blocks of a request.
///
/// # Errors
/// If the blocks do not follow one another, or a call is not valid. A call that fails is no error: its result says so.
pub(crate) fn simulate(
    by: &Simulator<'_>,
    payload: SimulatePayload,
    base: BlockId,
    cancel: &Cancel,
) -> Result<Vec<SimulatedBlock<RpcBlock>>, RpcError> {
    let SimulatePayload { block_state_calls, trace_transfers, validation, return_full_transactions } = payload;
    if block_state_calls.is_empty() {
        return Err(RpcError::params("empty input"));
    }
    let too_many = || failure(CLIENT_LIMIT_EXCEEDED, "too many blocks");
    if block_state_calls.len() as u64 > MAX_SIMULATE_BLOCKS {
        return Err(too_many());
    }
    let parent = by.chain.header_of(base)?.ok_or_else(|| RpcError::server("header not found"))?;
    let mut simulation = Simulation::at(by.chain, by.codes, BlockId::hash(parent.hash()), None, None)?;
    let cfg = &mut simulation.env.cfg_env;
    cfg.disable_nonce_check = !validation;
    cfg.disable_eip3607 = !validation;
    let timeout = by.limits.call_timeout();
    let mut run = Run {
        by,
        simulation,
        parent,
        trace_transfers,
        validation,
        gas_left: by.limits.call_gas_cap,
        guard: Guard::new(cancel.within(timeout), timeout).with_budget(Budget::calls(by.limits.max_trace_bytes)),
    };
    let mut simulated = Vec::new();
    for wanted in block_state_calls {
        let number = run.number_of(&wanted)?;
        // Blocks in between are simulated as well, without calls.
        while run.parent.number + 1 < number {
            if simulated.len() as u64 >= MAX_SIMULATE_BLOCKS {
                return Err(too_many());
            }
            simulated.push(run.block(SimBlock::default(), return_full_transactions)?);
        }
        if simulated.len() as u64 >= MAX_SIMULATE_BLOCKS {
            return Err(too_many());
        }
        simulated.push(run.block(wanted, return_full_transactions)?);
    }
    Ok(simulated)
}

fn failure(code: i32, message: impl Into<String>) -> RpcError {
    RpcError::Simulation { code, message: message.into() }
}

struct Run<'a> {
    by: &'a Simulator<'a>,
    simulation: Simulation,
    parent: Sealed<Header>,
    trace_transfers: bool,
    validation: bool,
    /// Of the whole request.
    gas_left: u64,
    guard: Guard,
}

/// What a block has so far.
#[derive(Default)]
struct Open {
    calls: Vec<SimCallResult>,
    transactions: Vec<Arc<RecoveredTx>>,
    receipts: Vec<OpReceiptEnvelope>,
    gas_used: u64,
}

impl Run<'_> {
    /// The number of the next block, which must be above those before it.
    fn number_of(&self, wanted: &SimBlock) -> Result<u64, RpcError> {
        let Some(number) = wanted.block_number_override() else { return Ok(self.parent.number + 1) };
        let number = u64::try_from(number)
            .map_err(|_| failure(BLOCK_NUMBER_INVALID, format!("block number {number} is too large")))?;
        if number <= self.parent.number {
            return Err(failure(
                BLOCK_NUMBER_INVALID,
                format!("block numbers must be in order: {number} <= {}", self.parent.number),
            ));
        }
        Ok(number)
    }

    fn block(&mut self, wanted: SimBlock, full: bool) -> Result<SimulatedBlock<RpcBlock>, RpcError> {
        let SimBlock { block_overrides, state_overrides, calls } = wanted;
        let mut header = self.header(block_overrides.as_ref())?;
        let env = &mut self.simulation.env.block_env;
        env.number = U256::from(header.number);
        env.timestamp = U256::from(header.timestamp);
        env.gas_limit = header.gas_limit;
        env.beneficiary = header.beneficiary;
        env.prevrandao = Some(header.mix_hash);
        env.basefee = header.base_fee_per_gas.unwrap_or_default();
        self.simulation.override_with(state_overrides, block_overrides.as_ref())?;
        let mut open = Open::default();
        for call in calls {
            self.call(&header, call, &mut open)?;
        }
        header.gas_used = open.gas_used;
        header.logs_bloom = open.receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | *receipt.logs_bloom());
        let envelopes: Vec<&OpTxEnvelope> = open.transactions.iter().map(|tx| tx.envelope()).collect();
        header.transactions_root = calculate_transaction_root(&envelopes);
        header.receipts_root = receipts_root(self.by.chain.spec(), header.timestamp, &open.receipts);
        let header = header.seal_slow();
        // What the next blocks see as the hash of this one.
        self.simulation.db.cache.block_hashes.insert(U256::from(header.number), header.hash());
        place_logs(&mut open, &header);
        let sealed = Block { header: header.clone(), transactions: open.transactions };
        self.parent = header;
        Ok(SimulatedBlock { inner: block(self.by.chain, &sealed, full)?, calls: open.calls })
    }

    fn header(&self, overrides: Option<&BlockOverrides>) -> Result<Header, RpcError> {
        let parent = self.parent.inner();
        let timestamp = overrides.and_then(|o| o.time).unwrap_or(parent.timestamp + self.by.block_time);
        if timestamp <= parent.timestamp {
            return Err(failure(
                BLOCK_TIMESTAMP_INVALID,
                format!("block timestamps must be in order: {timestamp} <= {}", parent.timestamp),
            ));
        }
        let base_fee = match overrides.and_then(|o| o.base_fee) {
            Some(fee) => fee.try_into().map_err(|_| RpcError::params("baseFeePerGas does not fit 64 bits"))?,
            None if self.validation => {
                next_base_fee(self.by.chain.spec(), parent, timestamp).map_err(RpcError::internal)?
            }
            None => 0,
        };
        Ok(Header {
            parent_hash: self.parent.hash(),
            number: parent.number + 1,
            timestamp,
            gas_limit: overrides.and_then(|o| o.gas_limit).unwrap_or(parent.gas_limit),
            beneficiary: overrides.and_then(|o| o.coinbase).unwrap_or(parent.beneficiary),
            mix_hash: overrides.and_then(|o| o.random).unwrap_or_default(),
            base_fee_per_gas: Some(base_fee),
            extra_data: parent.extra_data.clone(),
            ommers_hash: parent.ommers_hash,
            withdrawals_root: parent.withdrawals_root,
            blob_gas_used: parent.blob_gas_used.map(|_| 0),
            excess_blob_gas: parent.excess_blob_gas,
            parent_beacon_block_root: overrides
                .and_then(|o| o.beacon_root)
                .or_else(|| parent.parent_beacon_block_root.map(|_| B256::ZERO)),
            requests_hash: parent.requests_hash,
            state_root: B256::ZERO,
            ..Header::default()
        })
    }

    fn call(&mut self, header: &Header, mut request: TransactionRequest, open: &mut Open) -> Result<(), RpcError> {
        let from = request.from.unwrap_or_default();
        if request.nonce.is_none() {
            let db: &SimDb = &self.simulation.db;
            request.nonce = Some(db.basic_ref(from)?.map_or(0, |account| account.nonce));
        }
        let room = header.gas_limit.saturating_sub(open.gas_used);
        let gas = request.gas.unwrap_or(room);
        if gas > room {
            return Err(failure(BLOCK_GAS_LIMIT_REACHED, format!("block gas limit reached: {gas} > {room}")));
        }
        request.gas = Some(gas);
        let tx = call_tx(request, self.by.chain.spec().chain_id, self.gas_left)?;
        let envelope = unsigned(&tx);
        let mut transfers = TransferInspector::new(false).with_logs(true);
        let outcome = if self.trace_transfers {
            self.simulation.run(tx, (&mut self.guard, &mut transfers))
        } else {
            self.simulation.run(tx, &mut self.guard)
        };
        let outcome = outcome.map_err(|error| error.of_simulation())?;
        self.simulation.db.commit(outcome.state);
        self.gas_left = self.gas_left.saturating_sub(outcome.result.tx_gas_used());
        open.gas_used += outcome.result.tx_gas_used();
        let logs: Vec<Log> = outcome.result.logs().to_vec();
        let success = outcome.result.is_success();
        open.receipts.push(OpReceiptEnvelope::from_parts(success, open.gas_used, &logs, OpTxType::Eip1559, None, None));
        let encoded = Bytes::from(envelope.encoded_2718());
        let tx = RecoveredTx::decode_with_sender(&encoded, from).map_err(RpcError::internal)?;
        open.transactions.push(Arc::new(tx));
        open.calls.push(result_of(outcome.result));
        Ok(())
    }
}

/// Simulated transactions are shown as unsigned EIP-1559 transactions, as geth does.
fn unsigned(tx: &OpTx) -> OpTxEnvelope {
    let base = &tx.0.base;
    let tx = TxEip1559 {
        chain_id: base.chain_id.unwrap_or_default(),
        nonce: base.nonce,
        gas_limit: base.gas_limit,
        max_fee_per_gas: base.gas_price,
        max_priority_fee_per_gas: base.gas_priority_fee.unwrap_or(base.gas_price),
        to: base.kind,
        value: base.value,
        access_list: base.access_list.clone(),
        input: base.data.clone(),
    };
    OpTxEnvelope::Eip1559(tx.into_signed(Signature::new(U256::ZERO, U256::ZERO, false)))
}

/// The result of a call, without the places of its logs.
fn result_of(result: ExecutionResult<OpHaltReason>) -> SimCallResult {
    let gas_used = result.tx_gas_used();
    let max_used_gas = Some(result.gas().total_gas_spent());
    let status = result.is_success();
    let (return_data, error) = match result {
        ExecutionResult::Success { output, .. } => (output.into_data(), None),
        ExecutionResult::Revert { output, .. } => {
            let error = SimulateError {
                code: SimulateError::EXECUTION_REVERTED_CODE,
                message: revert_message(&output),
                data: Some(output.clone()),
            };
            (output, Some(error))
        }
        ExecutionResult::Halt { reason, .. } => {
            let code = SimulateError::VM_EXECUTION_ERROR_CODE;
            (Bytes::new(), Some(SimulateError { code, message: halt_message(&reason), data: None }))
        }
    };
    SimCallResult { return_data, logs: Vec::new(), gas_used, max_used_gas, status, error }
}

/// Logs know their block only once it is sealed.
fn place_logs(open: &mut Open, header: &Sealed<Header>) {
    let mut first_log = 0;
    for (index, ((call, tx), receipt)) in open.calls.iter_mut().zip(&open.transactions).zip(&open.receipts).enumerate()
    {
        let position = LogPosition::of(header, tx.hash(), index, first_log);
        call.logs = receipt.logs().iter().enumerate().map(|(index, log)| position.place(index, log.clone())).collect();
        first_log += receipt.logs().len() as u64;
    }
}
