//! State and block overrides of calls.

use super::db::SimDb;
use crate::error::RpcError;
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_rpc_types_eth::{
    BlockOverrides,
    state::{AccountOverride, StateOverride},
};
use revm::{bytecode::Bytecode, context::BlockEnv, database_interface::DatabaseRef as _};

/// Changes the state. The result says which precompiles move where; their new homes are checked when the EVM is made.
///
/// # Errors
/// If an override contradicts itself or holds impossible code.
pub(crate) fn apply_state(db: &mut SimDb, overrides: StateOverride) -> Result<Vec<(Address, Address)>, RpcError> {
    let mut moves = Vec::new();
    for (address, account) in overrides {
        if let Some(to) = account.move_precompile_to {
            moves.push((address, to));
        }
        apply_account(db, address, account)?;
    }
    Ok(moves)
}

fn apply_account(db: &mut SimDb, address: Address, account: AccountOverride) -> Result<(), RpcError> {
    let AccountOverride { balance, nonce, code, state, state_diff, .. } = account;
    if state.is_some() && state_diff.is_some() {
        return Err(RpcError::server(format!("account {address} has both 'state' and 'stateDiff'")));
    }
    // The override may come after an earlier one of the same request (`eth_simulateV1`).
    let mut info = match db.cache.accounts.get(&address) {
        Some(known) => known.info().unwrap_or_default(),
        None => db.db.basic_ref(address)?.unwrap_or_default(),
    };
    if let Some(balance) = balance {
        info.balance = balance;
    }
    if let Some(nonce) = nonce {
        info.nonce = nonce;
    }
    if let Some(code) = code {
        info.code_hash = keccak256(&code);
        let code = Bytecode::new_raw_checked(code)
            .map_err(|e| RpcError::server(format!("account {address}: impossible code: {e}")))?;
        info.code = Some(code);
    }
    db.insert_account_info(address, info);
    let word = |(slot, value): (B256, B256)| (U256::from_be_bytes(slot.0), U256::from_be_bytes(value.0));
    if let Some(state) = state {
        db.replace_account_storage(address, state.into_iter().map(word).collect())?;
    }
    for (slot, value) in state_diff.into_iter().flatten().map(word) {
        db.insert_account_storage(address, slot, value)?;
    }
    Ok(())
}

/// Changes what the EVM sees of the block.
///
/// # Errors
/// If a number does not fit its field.
pub(crate) fn apply_block(db: &mut SimDb, env: &mut BlockEnv, overrides: &BlockOverrides) -> Result<(), RpcError> {
    if let Some(number) = overrides.number {
        env.number = number;
    }
    if let Some(difficulty) = overrides.difficulty {
        env.difficulty = difficulty;
    }
    if let Some(time) = overrides.time {
        env.timestamp = U256::from(time);
    }
    if let Some(gas_limit) = overrides.gas_limit {
        env.gas_limit = gas_limit;
    }
    if let Some(coinbase) = overrides.coinbase {
        env.beneficiary = coinbase;
    }
    if let Some(random) = overrides.random {
        env.prevrandao = Some(random);
    }
    if let Some(base_fee) = overrides.base_fee {
        env.basefee = base_fee
            .try_into()
            .map_err(|_| RpcError::params(format!("block override: baseFeePerGas {base_fee} does not fit 64 bits")))?;
    }
    if let Some(blob) = overrides.blob_base_fee
        && let Some(price) = &mut env.blob_excess_gas_and_price
    {
        price.blob_gasprice = blob
            .try_into()
            .map_err(|_| RpcError::params(format!("block override: blobBaseFee {blob} does not fit 128 bits")))?;
    }
    for (number, hash) in overrides.block_hash.iter().flatten() {
        db.cache.block_hashes.insert(U256::from(*number), *hash);
    }
    Ok(())
}
