//! `admin_`: the embedded Dusk L1. Amounts are lux in decimal strings, because JSON numbers of that size lose digits elsewhere.

use super::admin::{AdminBackend, Module};
use crate::{
    dusk::{DuskPorts, ask},
    error::RpcError,
    params::Args,
    types::LogPosition,
};
use alloy_primitives::{B256, Bytes};
use alloy_rpc_types_eth::Log;
use duskevm_l1_view::ViewBlock;
use duskevm_messages::{
    consensus::{
        ConsensusState, ConsensusStep, DuskProvisioner, DuskTransactionStatus, GetConsensusState, GetDuskAccount,
        GetDuskTransaction, GetProvisioners, ReadDuskContract, SubmitDuskTransaction,
    },
    l1::ViewTransaction,
};
use jsonrpsee::{core::RegisterMethodError, types::ErrorObjectOwned};
use serde::Serialize;
use std::future::Future;

/// The state of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct AccountView {
    account: String,
    nonce: u64,
    next_nonce: u64,
    balance: String,
    stake: String,
    reward: String,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum TransactionView {
    /// Never seen, or dropped.
    Unknown,
    /// In the mempool.
    Waiting,
    /// In a block.
    Included {
        height: u64,
        index: u32,
        gas_spent: u64,
        /// Why its call failed; `null` if it did not.
        error: Option<String>,
        r#final: bool,
    },
}

impl From<DuskTransactionStatus> for TransactionView {
    fn from(status: DuskTransactionStatus) -> Self {
        match status {
            DuskTransactionStatus::Unknown => Self::Unknown,
            DuskTransactionStatus::Waiting => Self::Waiting,
            DuskTransactionStatus::Included { height, index, gas_spent, error, is_final } => {
                Self::Included { height, index, gas_spent, error, r#final: is_final }
            }
        }
    }
}

/// Where a transaction is in the L1 view, with its logs in the form of the `eth_` methods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ViewedTransaction {
    block_number: u64,
    block_hash: B256,
    transaction_hash: B256,
    transaction_index: u32,
    logs: Vec<Log>,
}

impl ViewedTransaction {
    /// `None` if the block has no such transaction.
    fn new(block: &ViewBlock, index: u32) -> Option<Self> {
        let at = index as usize;
        let transaction_hash = block.transactions.get(at)?.hash();
        let receipt = block.receipts.get(at)?;
        let before: usize = block.receipts.iter().take(at).map(|receipt| receipt.logs().len()).sum();
        let position = LogPosition {
            block_hash: block.hash(),
            block_number: block.number(),
            block_timestamp: block.timestamp(),
            transaction_hash,
            transaction_index: index.into(),
            first_log: before as u64,
            removed: false,
        };
        let logs = receipt.logs().iter().enumerate().map(|(index, log)| position.place(index, log.clone())).collect();
        Some(Self {
            block_number: block.number(),
            block_hash: block.hash(),
            transaction_hash,
            transaction_index: index,
            logs,
        })
    }
}

/// A stake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProvisionerView {
    account: String,
    stake: String,
    locked: String,
    eligibility: u64,
    reward: String,
    faults: u8,
    hard_faults: u8,
}

impl From<DuskProvisioner> for ProvisionerView {
    fn from(one: DuskProvisioner) -> Self {
        Self {
            account: one.account.to_string(),
            stake: one.stake.to_string(),
            locked: one.locked.to_string(),
            eligibility: one.eligibility,
            reward: one.reward.to_string(),
            faults: one.faults,
            hard_faults: one.hard_faults,
        }
    }
}

/// Where the consensus stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct StateView {
    round: u64,
    iteration: u8,
    step: &'static str,
    votes: bool,
    syncing: bool,
}

impl From<ConsensusState> for StateView {
    fn from(state: ConsensusState) -> Self {
        let step = match state.step {
            ConsensusStep::Proposal => "proposal",
            ConsensusStep::Validation => "validation",
            ConsensusStep::Ratification => "ratification",
        };
        Self { round: state.round, iteration: state.iteration, step, votes: state.votes, syncing: state.syncing }
    }
}

/// Adds the methods about the L1. They fail with a reason on a node that runs none.
///
/// # Errors
/// If two methods have the same name.
pub(super) fn register(module: &mut Module) -> Result<(), RegisterMethodError> {
    method(module, "admin_submitDusk", |args, ports| {
        let message = args.required().map(|bytes: Bytes| SubmitDuskTransaction { bytes });
        async move { ask(&ports.submit, message?).await?.map_err(RpcError::server) }
    })?;
    method(module, "admin_duskAccount", |args, ports| {
        let message = args.required().map(|account| GetDuskAccount { account });
        async move {
            let message = message?;
            let found = ask(&ports.account, message).await?;
            Ok(AccountView {
                account: message.account.to_string(),
                nonce: found.nonce,
                next_nonce: found.next_nonce,
                balance: found.balance.to_string(),
                stake: found.stake.to_string(),
                reward: found.reward.to_string(),
            })
        }
    })?;
    method(module, "admin_duskTransaction", |args, ports| {
        let message = args.required().map(|id: B256| GetDuskTransaction { id });
        async move { ask(&ports.transaction, message?).await.map(TransactionView::from) }
    })?;
    method(module, "admin_duskRead", |args, ports| {
        let question = question(args);
        async move { ask(&ports.read, question?).await?.map_err(RpcError::server) }
    })?;
    method(module, "admin_l1Transaction", |args, ports| {
        let message = args.required().map(|id: B256| ViewTransaction { id });
        async move {
            let found = ask(&ports.view, message?).await?;
            Ok(found.and_then(|(block, index)| ViewedTransaction::new(&block, index)))
        }
    })?;
    method(module, "admin_duskProvisioners", |_, ports| async move {
        let all = ask(&ports.provisioners, GetProvisioners).await?;
        Ok(all.into_iter().map(ProvisionerView::from).collect::<Vec<_>>())
    })?;
    method(module, "admin_consensusState", |_, ports| async move {
        ask(&ports.state, GetConsensusState).await.map(StateView::from)
    })
}

fn question(args: &mut Args) -> Result<ReadDuskContract, RpcError> {
    Ok(ReadDuskContract {
        contract: args.required()?,
        method: args.required()?,
        args: args.optional()?.unwrap_or_default(),
    })
}

/// Registers one method. `run` takes its parameters at once and answers later.
fn method<F, T>(
    module: &mut Module,
    name: &'static str,
    run: fn(&mut Args, DuskPorts) -> F,
) -> Result<(), RegisterMethodError>
where
    F: Future<Output = Result<T, RpcError>> + Send + 'static,
    T: Serialize + Clone + Send + 'static,
{
    module
        .register_async_method(name, move |params, backend, _| async move {
            let answer = {
                let mut args = Args::new(&params)?;
                let ports = ports(&**backend)?;
                let answer = run(&mut args, ports);
                args.end()?;
                answer
            };
            Ok::<_, ErrorObjectOwned>(answer.await?)
        })
        .map(drop)
}

fn ports(backend: &dyn AdminBackend) -> Result<DuskPorts, RpcError> {
    backend.dusk().ok_or_else(|| RpcError::server("this node runs no L1 of its own (actors.consensus is off)"))
}
