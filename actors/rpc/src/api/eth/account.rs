//! Accounts, code, storage and their proofs.

use crate::{
    api::{Api, registry::Registry},
    chain::Account,
    error::RpcError,
};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U64, U256};
use alloy_rpc_types_eth::{EIP1186AccountProofResponse, EIP1186StorageProof};
use alloy_serde::JsonStorageKey;

pub(super) fn register(registry: &mut Registry) {
    registry.read("eth_getBalance", |api, mut args| {
        let address: Address = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        args.end()?;
        Ok(account(api, address, block)?.balance)
    });
    registry.read("eth_getCode", |api, mut args| {
        let address: Address = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        args.end()?;
        let (_, state) = api.chain.state_of(block.unwrap_or_default())?;
        match state.account(address)?.map(|account| account.code_hash) {
            None | Some(KECCAK256_EMPTY) => Ok(Bytes::new()),
            Some(hash) => Ok(state.code(hash)?),
        }
    });
    registry.read("eth_getStorageAt", |api, mut args| {
        let address: Address = args.required()?;
        let slot: JsonStorageKey = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        args.end()?;
        let (_, state) = api.chain.state_of(block.unwrap_or_default())?;
        Ok(B256::from(state.storage(address, slot.as_b256().into())?))
    });
    registry.future("eth_getTransactionCount", |api, mut args| async move {
        let address: Address = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        args.end()?;
        // Without an answer of the pool the state's nonce would be wrong, so there is no falling back to it.
        let pending = match block {
            Some(BlockId::Number(BlockNumberOrTag::Pending)) => api.pool.next_nonce(address).await?,
            _ => None,
        };
        let from_state = api.reads.run({
            let api = api.clone();
            move |_| Ok(account(&api, address, block)?.nonce)
        });
        // A pool that has not seen the newest block yet may be behind the state.
        Ok(U64::from(from_state.await?.max(pending.unwrap_or_default())))
    });
    registry.read("eth_getProof", |api, mut args| {
        let address: Address = args.required()?;
        let keys: Vec<JsonStorageKey> = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        args.end()?;
        proof(api, address, &keys, block.unwrap_or_default())
    });
}

fn account(api: &Api, address: Address, block: Option<BlockId>) -> Result<Account, RpcError> {
    let (_, state) = api.chain.state_of(block.unwrap_or_default())?;
    Ok(state.account(address)?.unwrap_or(Account { code_hash: KECCAK256_EMPTY, ..Account::default() }))
}

fn proof(
    api: &Api,
    address: Address,
    keys: &[JsonStorageKey],
    block: BlockId,
) -> Result<EIP1186AccountProofResponse, RpcError> {
    let most = api.limits.max_proof_slots;
    if keys.len() > most {
        return Err(RpcError::params(format!("too many keys (max {most})")));
    }
    let (_, state) = api.chain.state_of(block)?;
    let slots: Vec<U256> = keys.iter().map(|key| key.as_b256().into()).collect();
    let proof = state.prove(address, &slots)?;
    let account = proof.account.unwrap_or(Account { code_hash: KECCAK256_EMPTY, ..Account::default() });
    Ok(EIP1186AccountProofResponse {
        address,
        balance: account.balance,
        code_hash: account.code_hash,
        nonce: account.nonce,
        storage_hash: proof.storage_root,
        account_proof: proof.nodes,
        // The key is given back as it was given: a quantity or 32 bytes.
        storage_proof: keys
            .iter()
            .zip(proof.slots)
            .map(|(key, slot)| EIP1186StorageProof { key: *key, value: slot.value, proof: slot.nodes })
            .collect(),
    })
}
