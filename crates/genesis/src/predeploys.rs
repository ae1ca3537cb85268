//! Where the system contracts stand and which storage slots genesis writes.

use alloy_primitives::{Address, B256, address, b256};

macro_rules! predeploys {
    ($($(#[$doc:meta])* $name:ident = $address:literal;)*) => {
        $($(#[$doc])* pub const $name: Address = address!($address);)*
    };
}

predeploys! {
    /// Wrapped DUSK. Not behind a proxy.
    WETH9 = "4200000000000000000000000000000000000006";
    /// Messages between the layers.
    L2_CROSS_DOMAIN_MESSENGER = "4200000000000000000000000000000000000007";
    /// Estimates of L1 and operator fees.
    GAS_PRICE_ORACLE = "420000000000000000000000000000000000000F";
    /// Bridge for DUSK and ERC-20 tokens.
    L2_STANDARD_BRIDGE = "4200000000000000000000000000000000000010";
    /// Priority fees; beneficiary of every block.
    SEQUENCER_FEE_VAULT = "4200000000000000000000000000000000000011";
    /// Makes ERC-20 tokens that stand for L1 ones.
    OPTIMISM_MINTABLE_ERC20_FACTORY = "4200000000000000000000000000000000000012";
    /// The number of the L1 origin, for contracts that do not ask [`L1_BLOCK`].
    L1_BLOCK_NUMBER = "4200000000000000000000000000000000000013";
    /// Bridge for ERC-721 tokens.
    L2_ERC721_BRIDGE = "4200000000000000000000000000000000000014";
    /// What L2 knows of its L1 origin.
    L1_BLOCK = "4200000000000000000000000000000000000015";
    /// The outbox for withdrawals.
    L2_TO_L1_MESSAGE_PASSER = "4200000000000000000000000000000000000016";
    /// Makes ERC-721 tokens that stand for L1 ones.
    OPTIMISM_MINTABLE_ERC721_FACTORY = "4200000000000000000000000000000000000017";
    /// Admin of all proxies.
    PROXY_ADMIN = "4200000000000000000000000000000000000018";
    /// Base fees.
    BASE_FEE_VAULT = "4200000000000000000000000000000000000019";
    /// L1 data fees.
    L1_FEE_VAULT = "420000000000000000000000000000000000001A";
    /// Operator fees, since Isthmus.
    OPERATOR_FEE_VAULT = "420000000000000000000000000000000000001B";
    /// Governance token of other OP chains. Its address has neither proxy nor code, as on chains without that token.
    GOVERNANCE_TOKEN = "4200000000000000000000000000000000000042";

    /// Sender of the first transaction of every block.
    DEPOSITOR = "DeaDDEaDDeAdDeAdDEAdDEaddeAddEAdDEAd0001";

    /// Batched calls.
    MULTICALL3 = "cA11bde05977b3631167028862bE2a173976CA11";
    /// CREATE2 with helpers. Canyon forces its code on every OP chain.
    CREATE2_DEPLOYER = "13b0D85CcB8bf860b6b79AF3029fCA081AE9beF2";
    /// The keyless CREATE2 proxy that Foundry and others deploy through.
    DETERMINISTIC_DEPLOYMENT_PROXY = "4e59b44847b379578588920cA78FbF26c0B4956C";
    /// Who deploys the EIP-4788 contract where it is deployed by transaction.
    BEACON_ROOTS_DEPLOYER = "0B799C86a49DEeb90402691F1041aa3AF2d3C875";
    /// Who deploys the EIP-2935 contract where it is deployed by transaction.
    HISTORY_STORAGE_DEPLOYER = "3462413Af4609098e1E27A490f554f260213D685";
}

/// ERC-1967 slot of a proxy's implementation.
pub const IMPLEMENTATION_SLOT: B256 = b256!("360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc");

/// ERC-1967 slot of a proxy's admin.
pub const ADMIN_SLOT: B256 = b256!("b53127684a568b3173ae13b9f8a6016e243e63b6e8ee1178d6a717850b5d6103");

/// Number of addresses in the namespace `0x4200…0000` to `0x4200…07ff`.
pub const NAMESPACE_SIZE: u16 = 2048;

const NAMESPACE: Address = address!("4200000000000000000000000000000000000000");
const CODE_NAMESPACE: Address = address!("c0D3C0d3C0d3C0D3c0d3C0d3c0D3C0d3c0d30000");

/// The predeploy with this number.
pub fn predeploy(number: u16) -> Address {
    with_suffix(NAMESPACE, number)
}

/// Where the implementation of a predeploy stands.
pub fn implementation_of(predeploy: Address) -> Address {
    let bytes = predeploy.into_array();
    with_suffix(CODE_NAMESPACE, u16::from_be_bytes([bytes[18], bytes[19]]))
}

/// Whether an address of the namespace is a proxy.
pub fn is_proxied(predeploy: Address) -> bool {
    predeploy != WETH9 && predeploy != GOVERNANCE_TOKEN
}

fn with_suffix(base: Address, suffix: u16) -> Address {
    let mut bytes = base.into_array();
    bytes[18..].copy_from_slice(&suffix.to_be_bytes());
    Address::from(bytes)
}

/// A small number as a storage key or value.
pub(crate) fn word(value: u64) -> B256 {
    B256::left_padding_from(&value.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{U256, keccak256};

    use super::*;

    #[test]
    fn slots_are_the_hashes_of_their_labels_minus_one() {
        for (slot, label) in [(IMPLEMENTATION_SLOT, "implementation"), (ADMIN_SLOT, "admin")] {
            let hash = U256::from_be_bytes(keccak256(format!("eip1967.proxy.{label}")).0);
            assert_eq!(slot, B256::from(hash - U256::from(1)));
        }
    }

    #[test]
    fn numbers_map_to_addresses() {
        assert_eq!(predeploy(0x15), L1_BLOCK);
        assert_eq!(predeploy(0x7ff), address!("42000000000000000000000000000000000007fF"));
        assert_eq!(implementation_of(L1_BLOCK), address!("c0D3C0d3C0d3C0D3c0d3C0d3c0D3C0d3c0d30015"));
        assert!(is_proxied(L1_BLOCK) && !is_proxied(WETH9));
    }
}
