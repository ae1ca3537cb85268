//! The funded accounts of a local network.

use alloy_primitives::{Address, B256};
use alloy_signer_local::{MnemonicBuilder, coins_bip39::English};

use crate::config::Secret;

/// An account of the network's mnemonic.
#[derive(Clone, PartialEq, Eq)]
pub struct DevAccount {
    /// Its address.
    pub address: Address,
    /// Its secp256k1 private key.
    pub private_key: B256,
}

impl std::fmt::Debug for DevAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevAccount").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The mnemonic cannot be used. The message does not repeat it.
#[derive(Debug, thiserror::Error)]
#[error(
    "`keys.mnemonic` is not a BIP-39 mnemonic in English ({0}): write 12, 15, 18, 21 or 24 words of its list, the last one a checksum"
)]
pub struct AccountError(String);

/// The first accounts of a mnemonic, at m/44'/60'/0'/0/i as every Ethereum wallet derives them.
///
/// # Errors
/// If the mnemonic is not one.
pub fn dev_accounts(mnemonic: &Secret, count: u32) -> Result<Vec<DevAccount>, AccountError> {
    (0..count)
        .map(|index| {
            let signer = MnemonicBuilder::<English>::default()
                .phrase(mnemonic.reveal().split_whitespace().collect::<Vec<_>>().join(" "))
                .index(index)
                .and_then(|builder| builder.build())
                .map_err(|error| AccountError(error.to_string()))?;
            Ok(DevAccount { address: signer.address(), private_key: signer.to_bytes() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{address, b256};

    use super::*;
    use crate::config::TEST_MNEMONIC;

    #[test]
    fn the_accounts_that_every_ethereum_tool_knows() {
        let accounts = dev_accounts(&Secret::new(TEST_MNEMONIC), 10).unwrap();
        assert_eq!(accounts.len(), 10);
        assert_eq!(accounts[0].address, address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"));
        assert_eq!(accounts[0].private_key, b256!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"));
        assert_eq!(accounts[9].address, address!("a0Ee7A142d267C1f36714E4a8F75612F20a79720"));
    }

    #[test]
    fn a_wrong_mnemonic_is_explained_and_not_repeated() {
        let error = dev_accounts(&Secret::new("correct horse battery staple"), 1).unwrap_err().to_string();
        assert!(error.contains("12, 15") && !error.contains("horse"), "{error}");
        // Twelve known words whose checksum is wrong.
        assert!(dev_accounts(&Secret::new("test ".repeat(12)), 1).is_err());
    }
}
