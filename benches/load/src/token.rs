//! The ERC-20 of the load: `tests/clients/contracts/Token.sol`, compiled by that folder's pinned compiler and settings.

use alloy_primitives::{Address, Bytes, U256, hex};
use alloy_sol_types::{SolCall as _, SolConstructor as _, sol};
use anyhow::{Context as _, Result};

sol! {
    contract Token {
        constructor(string name, string symbol, uint256 supply);
        function transfer(address to, uint256 value) external returns (bool);
        function distribute(address[] to, uint256 value) external;
    }
}

const CREATION_CODE: &str = include_str!("../artifacts/Token.hex");

/// Gas of one transfer to an account that holds some already, with room for one that does not.
pub(crate) const TRANSFER_GAS: u64 = 65_000;
/// Gas of the deployment.
pub(crate) const DEPLOY_GAS: u64 = 1_500_000;

/// What deploys the token with its whole supply at the sender.
pub(crate) fn creation(supply: U256) -> Result<Bytes> {
    let mut code = hex::decode(CREATION_CODE.trim()).context("artifacts/Token.hex is damaged")?;
    let call = Token::constructorCall { name: "Load".into(), symbol: "LOAD".into(), supply };
    code.extend_from_slice(&call.abi_encode());
    Ok(code.into())
}

pub(crate) fn transfer(to: Address, value: U256) -> Bytes {
    Token::transferCall { to, value }.abi_encode().into()
}

/// Gives `value` to each; returns the call and the gas it needs.
pub(crate) fn distribute(to: &[Address], value: U256) -> (Bytes, u64) {
    let gas = 60_000 + 40_000 * to.len() as u64;
    (Token::distributeCall { to: to.to_vec(), value }.abi_encode().into(), gas)
}
