//! Dusk identities as Ethereum addresses.

use alloy_primitives::{Address, U256, address, keccak256};

/// What is added to the address of an L1 contract to make its address on L2 (deposits specification, address aliasing).
const ALIAS_OFFSET: Address = address!("1111000000000000000000000000000000001111");

/// The address of a wallet: the last 20 bytes of keccak256 of its 96-byte compressed BLS public key.
///
/// This rule is ours. The published tools only say that a wallet has a canonical one.
pub fn wallet_address(key: &[u8; 96]) -> Address {
    Address::from_word(keccak256(key))
}

/// The address on L2 of the L1 contract at `address`.
pub fn apply_alias(address: Address) -> Address {
    wrap(word(address) + word(ALIAS_OFFSET))
}

/// The inverse of [`apply_alias`].
pub fn undo_alias(address: Address) -> Address {
    // 2^160 keeps the difference positive.
    let modulus: U256 = U256::from(1) << 160;
    wrap(word(address) + modulus - word(ALIAS_OFFSET))
}

fn word(address: Address) -> U256 {
    U256::from_be_bytes(address.into_word().0)
}

/// Modulo 2^160.
fn wrap(sum: U256) -> Address {
    Address::from_word(sum.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn aliases_wrap_at_160_bits() {
        assert_eq!(apply_alias(Address::ZERO), ALIAS_OFFSET);
        let high = address!("ffffffffffffffffffffffffffffffffffffffff");
        assert_eq!(apply_alias(high), address!("1111000000000000000000000000000000001110"));
        assert_eq!(undo_alias(Address::ZERO), address!("eeeeffffffffffffffffffffffffffffffffeeef"));
    }

    #[test]
    fn a_wallet_is_known_by_the_hash_of_its_key() {
        let key = [7; 96];
        assert_eq!(wallet_address(&key).as_slice(), &keccak256(key)[12..]);
    }

    proptest! {
        #[test]
        fn aliases_can_be_undone(bytes in any::<[u8; 20]>()) {
            let address = Address::from(bytes);
            prop_assert_eq!(undo_alias(apply_alias(address)), address);
            prop_assert_ne!(apply_alias(address), address);
        }
    }
}
