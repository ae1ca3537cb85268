//! L1StandardBridge and L1ERC721Bridge, as far as they bring things to L2.

use alloy_primitives::{Address, address};
use alloy_sol_types::SolCall;

use crate::abi::{self, ETHBridgeInitiated, ETHDepositInitiated, finalizeBridgeETHCall};
use crate::args::{BridgeErc20To, BridgeErc721To, DepositEthToWithValue};
use crate::host::{Caller, Host};
use crate::messenger::{self, Message};
use crate::portal::lux_to_wei;
use crate::refusal::{Error, Refusal};
use crate::settlement::{LOG_BYTE_GAS, Settlement};

/// Who pays out on L2.
pub const L2_STANDARD_BRIDGE: Address = address!("4200000000000000000000000000000000000010");

/// What an attempt to bridge a token is answered.
pub const NO_TOKENS: &str =
    "this L1 has no DRC20 or DRC721 tokens, because no contracts can be deployed on it: only DUSK can be bridged";

pub(crate) fn deposit_eth_to_with_value<H: Host>(
    settlement: &Settlement,
    host: &mut H,
    args: DepositEthToWithValue,
) -> Result<(), Error<H::Fault>> {
    let contracts = settlement.contracts();
    let DepositEthToWithValue { to, amount_lux, min_gas_limit, extra_data } = args;
    let attached = host.attached();
    if attached != amount_lux {
        return Err(Refusal::Amount { amount: amount_lux, attached }.into());
    }
    let taken = host.take_attached(&contracts.standard_bridge)?;
    // On Ethereum the value travels with the calls and ends in the portal, which pays withdrawals.
    host.transfer(&contracts.standard_bridge, &contracts.portal, taken)?;

    let (from, amount) = (host.caller().address(), lux_to_wei(taken));
    host.charge(LOG_BYTE_GAS.saturating_mul(2).saturating_mul(extra_data.len() as u64))?;
    let legacy = ETHDepositInitiated { from, to, amount, extraData: extra_data.clone() };
    abi::log(host, &contracts.standard_bridge, &legacy);
    let initiated = ETHBridgeInitiated { from, to, amount, extraData: extra_data.clone() };
    abi::log(host, &contracts.standard_bridge, &initiated);

    let finalize = finalizeBridgeETHCall { from, to, amount, extraData: extra_data };
    let message = finalize.abi_encode().into();
    let bridge = Caller::Contract(contracts.standard_bridge);
    messenger::send(
        settlement,
        host,
        bridge,
        Message { target: L2_STANDARD_BRIDGE, message, min_gas_limit, lux: taken },
    )
}

/// Well formed or not, there is nothing to bridge.
pub(crate) fn bridge_erc20_to(_: BridgeErc20To) -> Refusal {
    Refusal::NoTokens(NO_TOKENS)
}

/// Well formed or not, there is nothing to bridge.
pub(crate) fn bridge_erc721_to(_: BridgeErc721To) -> Refusal {
    Refusal::NoTokens(NO_TOKENS)
}

#[cfg(test)]
mod tests;
