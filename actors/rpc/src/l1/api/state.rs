//! Accounts, code, storage and calls: what the settlement contracts hold, under their Ethereum addresses.
//!
//! The view has no state: its headers name the root of an empty trie. What is answered here comes from the state of Dusk L1 after the
//! same block, and nothing of it can be proved to an Ethereum client.

use super::L1Api;
use crate::{
    api::Registry,
    chain::ReadError,
    error::RpcError,
    l1::state::{StateAt, read_at},
};
use alloy_consensus::EMPTY_ROOT_HASH;
use alloy_eips::BlockId;
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, TxKind, U64, U256};
use alloy_rpc_types_eth::{
    BlockOverrides, EIP1186AccountProofResponse, EIP1186StorageProof, TransactionRequest, state::StateOverride,
};
use alloy_serde::JsonStorageKey;
use duskevm_carrier_core::enough_gas;
use duskevm_settlement::{Contract, Error, Settlement, ViewCallError};

/// Code of the settlement contracts: the instruction INVALID. There is a contract, and the EVM cannot run it.
const NOT_EVM: [u8; 1] = [0xfe];
/// How often a read at a tag begins again because its block was replaced.
const TRIES: usize = 4;

pub(super) fn register(registry: &mut Registry<L1Api>) {
    registry.read("eth_getBalance", |api, mut args| {
        let address: Address = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        args.end()?;
        let balance = |state: &StateAt<'_>, settlement: &Settlement, contract| {
            Ok(state.balance(settlement.contracts().id(contract))?)
        };
        Ok(of_contract(api, address, block, balance)?.unwrap_or_default())
    });
    registry.read("eth_getCode", |api, mut args| {
        let address: Address = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        args.end()?;
        // It never changes, so that no state is needed.
        existing(api, block.unwrap_or_default())?;
        Ok(contract_at(api, address).map(|_| Bytes::from_static(&NOT_EVM)).unwrap_or_default())
    });
    registry.read("eth_getStorageAt", |api, mut args| {
        let address: Address = args.required()?;
        let slot: JsonStorageKey = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        args.end()?;
        let slot = slot.as_b256();
        let value = |state: &StateAt<'_>, settlement: &Settlement, contract| {
            settlement.storage_slot(state, contract, slot).map_err(unreadable)
        };
        Ok(of_contract(api, address, block, value)?.unwrap_or_default())
    });
    registry.read("eth_getTransactionCount", |api, mut args| {
        let address: Address = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        args.end()?;
        let count = transaction_count(api, address, block)?;
        // And those that are carried.
        let carrier = api.carrier.as_ref().filter(|_| block == Some(BlockId::pending()));
        Ok(U64::from(carrier.map_or(count, |carrier| carrier.next_nonce(&address, count))))
    });
    registry.read("eth_getProof", |api, mut args| {
        let address: Address = args.required()?;
        let keys: Vec<JsonStorageKey> = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        args.end()?;
        proof(api, address, &keys, block.unwrap_or_default())
    });
    registry.read("eth_call", |api, mut args| {
        let request: TransactionRequest = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        let state: Option<StateOverride> = args.optional()?;
        let overrides: Option<BlockOverrides> = args.optional()?;
        args.end()?;
        if state.is_some_and(|state| !state.is_empty()) || overrides.is_some() {
            return Err(RpcError::params("the L1 endpoint does not override state or blocks"));
        }
        call(api, request, block)
    });
    registry.read("eth_estimateGas", |api, mut args| {
        let request: TransactionRequest = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        args.end()?;
        // What a batcher sends goes to the inbox, which takes it as a Dusk transaction and not as a call.
        let input = request.input.input().cloned();
        let to_inbox = request.to.and_then(|to| contract_at(api, to.into_to()?)) == Some(Contract::BatchInbox);
        if to_inbox {
            existing(api, block.unwrap_or_default())?;
        } else {
            call(api, request, block)?;
        }
        // A transaction that offers so much gas can be carried to Dusk, where gas is another.
        let data = input.filter(|_| to_inbox).unwrap_or_default();
        Ok(U64::from(enough_gas(&data)))
    });
}

/// Only the batch inbox counts anything: the envelopes of each signer.
fn transaction_count(api: &L1Api, address: Address, block: Option<BlockId>) -> Result<u64, RpcError> {
    let Some(settlement) = &api.settlement else {
        return existing(api, block.unwrap_or_default()).map(|_| 0);
    };
    let next =
        |state: &StateAt<'_>, settlement: &Settlement, _| settlement.next_nonce(state, &address).map_err(unreadable);
    let inbox = settlement.address_of(Contract::BatchInbox);
    Ok(of_contract(api, inbox, block, next)?.unwrap_or_default())
}

fn unreadable(error: Error<ReadError>) -> RpcError {
    match error {
        Error::Host(error) => error.into(),
        Error::Refused(refusal) => RpcError::internal(refusal),
    }
}

fn contract_at(api: &L1Api, address: Address) -> Option<Contract> {
    api.settlement.as_ref()?.contract_at(address)
}

/// Number and hash of the block that an id names.
fn existing(api: &L1Api, id: BlockId) -> Result<(u64, B256), RpcError> {
    let block = api.view.block_of(id)?;
    let block = block.ok_or_else(|| {
        RpcError::server(match id {
            BlockId::Hash(_) => "header for hash not found",
            BlockId::Number(_) => "header not found",
        })
    })?;
    Ok((block.view.number(), block.hash()))
}

/// Reads what the contract at an address holds; `None` if there is no contract.
fn of_contract<T>(
    api: &L1Api,
    address: Address,
    block: Option<BlockId>,
    read: impl Fn(&StateAt<'_>, &Settlement, Contract) -> Result<T, RpcError>,
) -> Result<Option<T>, RpcError> {
    let id = block.unwrap_or_default();
    for _ in 0..TRIES {
        let (number, hash) = existing(api, id)?;
        let Some((settlement, contract)) =
            api.settlement.as_deref().and_then(|settlement| Some((settlement, settlement.contract_at(address)?)))
        else {
            return Ok(None);
        };
        match read_at(&api.view, number, hash, |state| Ok(read(state, settlement, contract))) {
            Ok(answer) => return answer.map(Some),
            // A tag has moved on to another block by now.
            Err(ReadError::Reorged(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ReadError::Reorged("the L1 block".to_owned()).into())
}

fn call(api: &L1Api, request: TransactionRequest, block: Option<BlockId>) -> Result<Bytes, RpcError> {
    let to = match request.to {
        Some(TxKind::Call(to)) => to,
        Some(TxKind::Create) | None => {
            return Err(RpcError::server("contracts cannot be created on the L1 view: name the one to call in `to`"));
        }
    };
    let pays = request.value.is_some_and(|value| value != U256::ZERO);
    let input = request.input.into_input().unwrap_or_default();
    let answer = of_contract(api, to, block, |state, settlement, contract| {
        if pays {
            // As a function of Solidity that is not payable.
            return Err(RpcError::reverted(Bytes::new()));
        }
        settlement.view_call(state, contract, &input).map_err(|error| match error {
            ViewCallError::Reverted(data) => RpcError::reverted(data.into()),
            ViewCallError::Host(error) => error.into(),
        })
    })?;
    // As on Ethereum: a call to an address without code succeeds and returns nothing.
    Ok(answer.map(Bytes::from).unwrap_or_default())
}

/// What the state root of the view proves: that nothing is there.
fn proof(
    api: &L1Api,
    address: Address,
    keys: &[JsonStorageKey],
    block: BlockId,
) -> Result<EIP1186AccountProofResponse, RpcError> {
    let most = api.limits.max_proof_slots;
    if keys.len() > most {
        return Err(RpcError::params(format!("too many keys (max {most})")));
    }
    existing(api, block)?;
    if contract_at(api, address).is_some() {
        return Err(RpcError::server(
            "the L1 view has no state trie, so nothing of this contract can be proved: ask for eth_getStorageAt or eth_call (op-node: --l1.trustrpc)",
        ));
    }
    let absent = |key: &JsonStorageKey| EIP1186StorageProof { key: *key, value: U256::ZERO, proof: Vec::new() };
    Ok(EIP1186AccountProofResponse {
        address,
        balance: U256::ZERO,
        code_hash: KECCAK256_EMPTY,
        nonce: 0,
        storage_hash: EMPTY_ROOT_HASH,
        account_proof: Vec::new(),
        storage_proof: keys.iter().map(absent).collect(),
    })
}
