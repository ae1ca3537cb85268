//! OptimismPortal, as far as it brings deposits to L2.
//!
//! Derivation takes every deposit of the portal, whatever it says: one that L2 cannot hold would stop the chain. So all bounds are
//! kept here.

use alloc::vec::Vec;

use alloy_primitives::{Address, B256, Bytes, U256};

use crate::abi::{self, TransactionDeposited};
use crate::args::DepositTransaction;
use crate::host::{Caller, Host, Storage};
use crate::refusal::{Error, Refusal};
use crate::settlement::{LOG_BYTE_GAS, RECORD_GAS, Settlement};
use crate::system_config;

/// Wei of one lux: DUSK has 9 decimals on L1 and 18 on L2.
pub const WEI_PER_LUX: u64 = 1_000_000_000;

/// Most bytes of data of one deposit (`OptimismPortal.depositTransaction`).
pub const MAX_DEPOSIT_DATA: usize = 120_000;

/// Most gas that all deposits of one L1 block may ask for (guaranteed gas market, `maxResourceLimit`).
pub const MAX_BLOCK_DEPOSIT_GAS: u64 = 20_000_000;

/// Gas of the L1-attributes transaction, which an L2 block must hold beside the deposits (`systemTxMaxGas`).
pub const SYSTEM_TX_GAS: u64 = 1_000_000;

const BASE_GAS: u64 = 21_000;
const DATA_BYTE_GAS: u64 = 40;

/// As an error message says it.
pub(crate) const MIN_GAS_FORMULA: &str = "21000 and 40 for each byte of data";

/// Gas that a deposit with so many bytes of data must ask for: the most that L2 charges before it runs anything (EIP-7623: 10 for
/// each token, 4 tokens a byte).
pub fn minimum_gas_limit(data_bytes: u64) -> u64 {
    data_bytes.saturating_mul(DATA_BYTE_GAS).saturating_add(BASE_GAS)
}

/// Lux as wei. Always exact, and always below 2^94.
pub fn lux_to_wei(lux: u64) -> U256 {
    U256::from(lux) * U256::from(WEI_PER_LUX)
}

pub(crate) fn deposit_transaction<H: Host>(
    settlement: &Settlement,
    host: &mut H,
    args: DepositTransaction,
) -> Result<(), Error<H::Fault>> {
    let minted = host.take_attached(&settlement.contracts().portal)?;
    let DepositTransaction { to, value, gas_limit, is_creation, data } = args;
    deposit(settlement, host, host.caller(), Deposit { to, minted, value, gas_limit, is_creation, data })
}

/// A deposit whose lux the portal holds already.
pub(crate) struct Deposit {
    pub(crate) to: Address,
    /// In lux.
    pub(crate) minted: u64,
    /// In wei.
    pub(crate) value: U256,
    pub(crate) gas_limit: u64,
    pub(crate) is_creation: bool,
    pub(crate) data: Bytes,
}

pub(crate) fn deposit<H: Host>(
    settlement: &Settlement,
    host: &mut H,
    from: Caller,
    deposit: Deposit,
) -> Result<(), Error<H::Fault>> {
    let contracts = settlement.contracts();
    if deposit.is_creation && !deposit.to.is_zero() {
        return Err(Refusal::CreationTarget(deposit.to).into());
    }
    if deposit.data.len() > MAX_DEPOSIT_DATA {
        return Err(Refusal::Data(deposit.data.len()).into());
    }
    let need = minimum_gas_limit(deposit.data.len() as u64);
    if deposit.gas_limit < need {
        return Err(Refusal::DepositGas { got: deposit.gas_limit, need }.into());
    }
    let l2_gas_limit = system_config::load(host, &contracts.system_config)?.gas_limit;
    spend_block_gas(host, &contracts.portal, deposit.gas_limit, l2_gas_limit)?;
    // L2 runs it for nothing: whoever asks for that gas pays as much on L1.
    host.charge(deposit.gas_limit)?;

    let opaque = opaque_data(&deposit);
    host.charge(LOG_BYTE_GAS.saturating_mul(opaque.len() as u64))?;
    let event = TransactionDeposited {
        from: from.deposit_sender(),
        to: deposit.to,
        version: U256::ZERO,
        opaqueData: opaque.into(),
    };
    abi::log(host, &contracts.portal, &event);
    Ok(())
}

/// Version 0 (deposits specification): mint, value, gas limit, whether it is a creation, data.
fn opaque_data(deposit: &Deposit) -> Vec<u8> {
    let mut out = Vec::with_capacity(73 + deposit.data.len());
    out.extend_from_slice(&lux_to_wei(deposit.minted).to_be_bytes::<32>());
    out.extend_from_slice(&deposit.value.to_be_bytes::<32>());
    out.extend_from_slice(&deposit.gas_limit.to_be_bytes());
    out.push(deposit.is_creation.into());
    out.extend_from_slice(&deposit.data);
    out
}

const BLOCK_GAS_KEY: &[u8] = b"block-gas";

/// Height of the last deposit, and what the deposits of that block asked for.
fn block_gas<S: Storage>(storage: &S, portal: &B256) -> Result<(u64, u64), Error<S::Fault>> {
    let Some(bytes) = storage.get(portal, BLOCK_GAS_KEY)? else { return Ok((0, 0)) };
    let damaged = || Refusal::Damaged("the deposit gas of a block");
    let (height, gas) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
    let gas: [u8; 8] = gas.try_into().map_err(|_| damaged())?;
    Ok((u64::from_be_bytes(*height), u64::from_be_bytes(gas)))
}

fn spend_block_gas<H: Host>(host: &mut H, portal: &B256, gas: u64, l2_gas_limit: u64) -> Result<(), Error<H::Fault>> {
    let height = host.height();
    let used = match block_gas(host, portal)? {
        (at, used) if at == height => used,
        _ => 0,
    };
    let cap = MAX_BLOCK_DEPOSIT_GAS.min(l2_gas_limit.saturating_sub(SYSTEM_TX_GAS));
    let left = cap.saturating_sub(used);
    if gas > left {
        return Err(Refusal::BlockDepositGas { cap, left }.into());
    }
    host.charge(RECORD_GAS)?;
    let record = [height.to_be_bytes(), (used + gas).to_be_bytes()].concat();
    host.set(portal, BLOCK_GAS_KEY, Some(record));
    Ok(())
}

#[cfg(test)]
mod tests;
