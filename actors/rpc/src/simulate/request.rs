//! A call request as a transaction of the EVM, with geth's defaults.

use crate::error::RpcError;
use alloy_op_evm::OpTx;
use alloy_primitives::{Bytes, TxKind};
use alloy_rpc_types_eth::TransactionRequest;
use op_revm::OpTransaction;
use revm::context::{TxEnv, either::Either};

/// How a request pays for gas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Fees {
    /// Most that it pays per gas, in wei.
    pub(crate) cap: u128,
    /// Most of it that goes to the sequencer.
    pub(crate) tip: u128,
    /// Both were given, or neither: EIP-1559.
    pub(crate) dynamic: bool,
}

impl Fees {
    /// # Errors
    /// If both kinds of price are given.
    pub(crate) fn of(request: &TransactionRequest) -> Result<Self, RpcError> {
        let dynamic = request.max_fee_per_gas.is_some() || request.max_priority_fee_per_gas.is_some();
        match request.gas_price {
            Some(_) if dynamic => {
                Err(RpcError::server("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified"))
            }
            Some(price) => Ok(Self { cap: price, tip: price, dynamic: false }),
            None => Ok(Self {
                cap: request.max_fee_per_gas.unwrap_or_default(),
                tip: request.max_priority_fee_per_gas.unwrap_or_default(),
                dynamic,
            }),
        }
    }
}

/// The request as a transaction. Gas is capped at `gas_cap`, which is also the default.
///
/// The L1 and operator fees are not charged: [`super::Simulation`] sees to that.
///
/// # Errors
/// If fields contradict one another, or belong to transactions that an OP chain does not have.
pub(crate) fn call_tx(request: TransactionRequest, chain_id: u64, gas_cap: u64) -> Result<OpTx, RpcError> {
    let fees = Fees::of(&request)?;
    if request.blob_versioned_hashes.is_some() || request.sidecar.is_some() || request.max_fee_per_blob_gas.is_some() {
        return Err(RpcError::server("blob transactions are not part of an OP chain"));
    }
    if let Some(have) = request.chain_id
        && have != chain_id
    {
        return Err(RpcError::server(format!("chainId does not match node's (have={have}, want={chain_id})")));
    }
    let data = request
        .input
        .try_into_unique_input()
        .map_err(|_| {
            RpcError::server(
                r#"both "data" and "input" are set and not equal. Please use "input" to pass transaction call data"#,
            )
        })?
        .unwrap_or_default();
    let authorizations = request.authorization_list;
    let tx_type = match () {
        () if authorizations.is_some() => 4,
        () if fees.dynamic => 2,
        () if request.access_list.is_some() => 1,
        () => 0,
    };
    let base = TxEnv {
        tx_type,
        caller: request.from.unwrap_or_default(),
        gas_limit: request.gas.unwrap_or(gas_cap).min(gas_cap),
        gas_price: fees.cap,
        kind: request.to.unwrap_or(TxKind::Create),
        value: request.value.unwrap_or_default(),
        data,
        nonce: request.nonce.unwrap_or_default(),
        chain_id: Some(chain_id),
        access_list: request.access_list.unwrap_or_default(),
        gas_priority_fee: matches!(tx_type, 2 | 4).then_some(fees.tip),
        authorization_list: authorizations.into_iter().flatten().map(Either::Left).collect(),
        ..TxEnv::default()
    };
    Ok(OpTx(OpTransaction { base, enveloped_tx: Some(Bytes::new()), deposit: Default::default() }))
}
