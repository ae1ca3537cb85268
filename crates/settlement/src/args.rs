//! The byte form of arguments: the RLP list of them, in the order of the entry point, with nothing before or after it.
//!
//! RLP has one encoding for each value, so a call has one byte form. Addresses and hashes are strings of 20 and 32 bytes, numbers are
//! big-endian without leading zeros, truth values are numbers.

use alloc::vec::Vec;

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};

use crate::refusal::Refusal;

macro_rules! arguments {
    ($($(#[$doc:meta])* $name:ident = $function:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty,)+ })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq, RlpEncodable, RlpDecodable)]
            pub struct $name { $($(#[$field_doc])* pub $field: $type,)+ }

            impl Arguments for $name {
                const FUNCTION: &'static str = $function;
            }
        )*
    };
}

/// The arguments of one entry point.
pub trait Arguments: Encodable + Decodable {
    /// Name of the entry point.
    const FUNCTION: &'static str;

    /// The byte form.
    fn encode_args(&self) -> Vec<u8> {
        alloy_rlp::encode(self)
    }

    /// Reads the byte form.
    ///
    /// # Errors
    /// [`Refusal::Arguments`] if `bytes` are anything else.
    fn decode_args(bytes: &[u8]) -> Result<Self, Refusal> {
        alloy_rlp::decode_exact(bytes).map_err(|_| Refusal::Arguments(Self::FUNCTION))
    }
}

arguments! {
    /// A signed Ethereum transaction for the batch inbox.
    SubmitEnvelope = "submitEnvelope" {
        /// Its EIP-2718 bytes, without a blob sidecar.
        envelope: Bytes,
    }

    /// A deposit through the portal. The attached lux are minted to the sender on L2.
    DepositTransaction = "depositTransaction" {
        /// Receiver on L2; zero for a contract creation.
        to: Address,
        /// Wei that the sender gives the receiver on L2, out of what is minted and of what it has.
        value: U256,
        /// Gas on L2.
        gas_limit: u64,
        /// Whether `data` are the init code of a new contract.
        is_creation: bool,
        /// Call data or init code.
        data: Bytes,
    }

    /// A message to L2.
    SendMessage = "sendMessage" {
        /// Who is called on L2.
        target: Address,
        /// Call data.
        message: Bytes,
        /// Gas that the call on L2 gets at least.
        min_gas_limit: u32,
    }

    /// DUSK to an account on L2.
    DepositEthToWithValue = "depositETHToWithValue" {
        /// Receiver on L2.
        to: Address,
        /// How much, in lux: the attached amount.
        amount_lux: u64,
        /// Gas that the receiver's code on L2 gets at least.
        min_gas_limit: u32,
        /// Passed through unchanged.
        extra_data: Bytes,
    }

    /// A fungible token to an account on L2.
    BridgeErc20To = "bridgeERC20To" {
        /// The token here.
        l1_token: Address,
        /// The token on L2.
        l2_token: Address,
        /// Receiver on L2.
        to: Address,
        /// How much.
        amount: U256,
        /// Gas that the bridge on L2 gets at least.
        min_gas_limit: u32,
        /// Passed through unchanged.
        extra_data: Bytes,
    }

    /// A unique token to an account on L2.
    BridgeErc721To = "bridgeERC721To" {
        /// The collection here.
        local_token: Address,
        /// The collection on L2.
        remote_token: Address,
        /// Receiver on L2.
        to: Address,
        /// Which one.
        token_id: U256,
        /// Gas that the bridge on L2 gets at least.
        min_gas_limit: u32,
        /// Passed through unchanged.
        extra_data: Bytes,
    }

    /// Whose envelopes are batches.
    SetBatcherHash = "setBatcherHash" {
        /// The batcher's address, with 12 zero bytes before it.
        batcher_hash: B256,
    }

    /// The fee scalars since Ecotone.
    SetGasConfigEcotone = "setGasConfigEcotone" {
        /// Scalar of the L1 base fee.
        basefee_scalar: u32,
        /// Scalar of the L1 blob base fee.
        blobbasefee_scalar: u32,
    }

    /// The gas limit of L2 blocks.
    SetGasLimit = "setGasLimit" {
        /// Gas.
        gas_limit: u64,
    }

    /// The parameters of the L2 base fee, since Holocene.
    SetEip1559Params = "setEIP1559Params" {
        /// How slowly the base fee moves.
        denominator: u32,
        /// Gas limit divided by gas target.
        elasticity: u32,
    }

    /// The operator fee, since Isthmus.
    SetOperatorFeeScalars = "setOperatorFeeScalars" {
        /// Millionths of a wei for each gas.
        operator_fee_scalar: u32,
        /// Wei for each transaction.
        operator_fee_constant: u64,
    }

    /// The least base fee on L2, since Jovian.
    SetMinBaseFee = "setMinBaseFee" {
        /// Wei.
        min_base_fee: u64,
    }

    /// Gas for each byte of data-availability footprint, since Jovian.
    SetDaFootprintGasScalar = "setDAFootprintGasScalar" {
        /// Gas; 0 stands for the protocol's default.
        da_footprint_gas_scalar: u16,
    }

    /// Who signs L2 blocks that are gossiped before they are on L1.
    SetUnsafeBlockSigner = "setUnsafeBlockSigner" {
        /// Its address.
        unsafe_block_signer: Address,
    }

    /// Gives the system configuration to another owner.
    TransferOwnership = "transferOwnership" {
        /// The new owner.
        new_owner: Address,
    }
}

#[cfg(test)]
mod tests {
    use core::fmt::Debug;

    use proptest::prelude::*;

    use super::*;

    fn round_trip<A: Arguments + PartialEq + Debug>(args: &A) {
        let bytes = args.encode_args();
        assert_eq!(&A::decode_args(&bytes).unwrap(), args);
        for bad in [&bytes[..bytes.len() - 1], &[bytes.as_slice(), &[0x80]].concat(), &[]] {
            assert_eq!(A::decode_args(bad), Err(Refusal::Arguments(A::FUNCTION)));
        }
    }

    /// Whatever decodes is the one encoding of what it means.
    fn canonical<A: Arguments>(bytes: &[u8]) -> bool {
        A::decode_args(bytes).is_ok_and(|args| args.encode_args() != bytes)
    }

    proptest! {
        #[test]
        fn arguments_round_trip(
            (a, b, c) in (any::<[u8; 20]>(), any::<[u8; 20]>(), any::<[u8; 20]>()),
            (word, hash) in (any::<[u8; 32]>(), any::<[u8; 32]>()),
            (wide, narrow, short, flag) in (any::<u64>(), any::<u32>(), any::<u16>(), any::<bool>()),
            data in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let [a, b, c] = [a, b, c].map(Address::from);
            let (word, hash, data) = (U256::from_be_bytes(word), B256::from(hash), Bytes::from(data));
            round_trip(&SubmitEnvelope { envelope: data.clone() });
            round_trip(&DepositTransaction { to: a, value: word, gas_limit: wide, is_creation: flag, data: data.clone() });
            round_trip(&SendMessage { target: a, message: data.clone(), min_gas_limit: narrow });
            let deposit = DepositEthToWithValue { to: a, amount_lux: wide, min_gas_limit: narrow, extra_data: data.clone() };
            round_trip(&deposit);
            round_trip(&BridgeErc20To {
                l1_token: a, l2_token: b, to: c, amount: word, min_gas_limit: narrow, extra_data: data.clone(),
            });
            round_trip(&BridgeErc721To {
                local_token: a, remote_token: b, to: c, token_id: word, min_gas_limit: narrow, extra_data: data,
            });
            round_trip(&SetBatcherHash { batcher_hash: hash });
            round_trip(&SetGasConfigEcotone { basefee_scalar: narrow, blobbasefee_scalar: !narrow });
            round_trip(&SetGasLimit { gas_limit: wide });
            round_trip(&SetEip1559Params { denominator: narrow, elasticity: !narrow });
            round_trip(&SetOperatorFeeScalars { operator_fee_scalar: narrow, operator_fee_constant: wide });
            round_trip(&SetMinBaseFee { min_base_fee: wide });
            round_trip(&SetDaFootprintGasScalar { da_footprint_gas_scalar: short });
            round_trip(&SetUnsafeBlockSigner { unsafe_block_signer: a });
            round_trip(&TransferOwnership { new_owner: a });
        }

        #[test]
        fn no_value_has_two_encodings(bytes in prop::collection::vec(prop_oneof![0xb7u8..=0xff, 0u8..=0x82], 0..60)) {
            prop_assert!(!canonical::<SendMessage>(&bytes));
            prop_assert!(!canonical::<SetOperatorFeeScalars>(&bytes));
            prop_assert!(!canonical::<SubmitEnvelope>(&bytes));
        }
    }

    #[test]
    fn longer_forms_of_the_same_value_are_refused() {
        assert_eq!(SetGasLimit { gas_limit: 5 }.encode_args(), [0xc1, 5]);
        for long in [&[0xc2, 0x81, 5][..], &[0xf8, 1, 5], &[0xc3, 0x82, 0, 5], &[0xc2, 5, 5], &[0xc0], &[5]] {
            assert!(SetGasLimit::decode_args(long).is_err(), "{long:?}");
        }
        // A truth value is 0 or 1.
        let args = DepositTransaction {
            to: Address::ZERO,
            value: U256::ZERO,
            gas_limit: 0,
            is_creation: true,
            data: Bytes::new(),
        };
        let mut bytes = args.encode_args();
        let at = bytes.len() - 2;
        assert_eq!(bytes[at], 1);
        bytes[at] = 2;
        assert!(DepositTransaction::decode_args(&bytes).is_err());
    }
}
