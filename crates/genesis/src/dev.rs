//! The accounts of a development network. Their keys are public: nobody should send anything of value to them.

use std::sync::OnceLock;

use alloy_primitives::{Address, B256, U256};
use alloy_signer_local::{LocalSignerError, MnemonicBuilder};

use crate::error::GenesisError;

/// The mnemonic that Ethereum development tools share.
pub const DEV_MNEMONIC: &str = "test test test test test test test test test test test junk";

/// What each of the ten accounts holds at genesis, in wei: 10,000 DUSK.
pub const DEV_ACCOUNT_BALANCE: U256 = U256::from_limbs([1_864_712_049_423_024_128, 542, 0, 0]);

/// How many accounts are for users.
const USERS: usize = 10;

/// An account whose key everybody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DevAccount {
    /// Its address.
    pub address: Address,
    /// Its secp256k1 private key.
    pub private_key: B256,
}

/// All development accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevAccounts {
    /// For users: m/44'/60'/0'/0/0 to 9. Each is funded with [`DEV_ACCOUNT_BALANCE`].
    pub users: [DevAccount; USERS],
    /// Signs batch transactions on L1: m/44'/60'/0'/0/10. Not funded on L2.
    pub batcher: DevAccount,
    /// Signs unsafe blocks: m/44'/60'/0'/0/11. Not funded on L2.
    pub sequencer: DevAccount,
    /// Owns the proxy admin and receives the fees: m/44'/60'/0'/0/12. Not funded on L2.
    pub owner: DevAccount,
}

/// The development accounts, derived from [`DEV_MNEMONIC`] at the first call.
///
/// # Errors
/// [`GenesisError::DevAccounts`] if the derivation fails.
pub fn dev_accounts() -> Result<&'static DevAccounts, GenesisError> {
    static ACCOUNTS: OnceLock<Result<DevAccounts, String>> = OnceLock::new();
    ACCOUNTS
        .get_or_init(|| derive().map_err(|e| e.to_string()))
        .as_ref()
        .map_err(|e| GenesisError::DevAccounts(e.clone()))
}

fn derive() -> Result<DevAccounts, LocalSignerError> {
    // The seed takes 2048 rounds of HMAC; all accounts share it.
    let parent = MnemonicBuilder::from_phrase(DEV_MNEMONIC).build_parent_key()?;
    let account = |index: u32| -> Result<DevAccount, LocalSignerError> {
        let signer = parent.child(index)?.signer();
        Ok(DevAccount { address: signer.address(), private_key: signer.to_bytes() })
    };
    let mut users = [account(0)?; USERS];
    for (user, index) in users.iter_mut().zip(0..) {
        *user = account(index)?;
    }
    Ok(DevAccounts { users, batcher: account(10)?, sequencer: account(11)?, owner: account(12)? })
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{address, b256};

    use super::*;

    #[test]
    fn accounts_are_those_that_other_tools_derive() {
        let accounts = dev_accounts().unwrap();
        let first = accounts.users[0];
        assert_eq!(first.address, address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"));
        assert_eq!(first.private_key, b256!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"));
        assert_eq!(accounts.users[1].address, address!("70997970C51812dc3A010C7d01b50e0d17dc79C8"));
        let last = accounts.users[9];
        assert_eq!(last.address, address!("a0Ee7A142d267C1f36714E4a8F75612F20a79720"));
        assert_eq!(last.private_key, b256!("2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6"));
        let mut all: Vec<_> = accounts.users.iter().map(|a| a.address).collect();
        all.extend([accounts.batcher.address, accounts.sequencer.address, accounts.owner.address]);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 13);
    }

    #[test]
    fn balance_is_ten_thousand_dusk() {
        assert_eq!(DEV_ACCOUNT_BALANCE, U256::from(10_000) * U256::from(10).pow(U256::from(18)));
    }
}
