//! Keys and signatures, with libsecp256k1.

use alloy_consensus::{SignableTransaction as _, TxEip1559};
use alloy_eips::Encodable2718 as _;
use alloy_primitives::{Address, B256, Signature, hex, keccak256};
use alloy_signer_local::{MnemonicBuilder, coins_bip39::English};
use anyhow::{Context as _, Result};
use secp256k1::{Message, PublicKey, Secp256k1, SecretKey, SignOnly};

/// A key and its address.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    secret: SecretKey,
    pub(crate) address: Address,
}

/// A signed transaction, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) hash: B256,
    pub(crate) nonce: u64,
    /// EIP-2718 bytes as `0x…`: what goes into the request.
    pub(crate) raw: Box<str>,
}

/// Makes signatures. One serves all threads.
#[derive(Debug)]
pub(crate) struct Signer(Secp256k1<SignOnly>);

impl Signer {
    pub(crate) fn new() -> Self {
        Self(Secp256k1::signing_only())
    }

    fn key(&self, secret: SecretKey) -> Key {
        let public = PublicKey::from_secret_key(&self.0, &secret).serialize_uncompressed();
        Key { secret, address: Address::from_raw_public_key(&public[1..]) }
    }

    /// Account `index` of a mnemonic, on the path that Ethereum wallets use.
    pub(crate) fn key_of_mnemonic(&self, words: &str, index: u32) -> Result<Key> {
        let wallet = MnemonicBuilder::<English>::default()
            .phrase(words)
            .index(index)
            .and_then(|builder| builder.build())
            .context("--mnemonic is not a BIP-39 mnemonic")?;
        let secret = SecretKey::from_byte_array(wallet.to_bytes().0).context("the mnemonic gives an impossible key")?;
        Ok(self.key(secret))
    }

    /// Account `index` of a seed.
    pub(crate) fn key_of_seed(&self, seed: u64, index: u64) -> Result<Key> {
        let digest = keccak256([b"duskevm-load".as_slice(), &seed.to_be_bytes(), &index.to_be_bytes()].concat());
        let secret = SecretKey::from_byte_array(digest.0).context("this seed gives an impossible key; take another")?;
        Ok(self.key(secret))
    }

    pub(crate) fn sign(&self, key: &Key, tx: TxEip1559) -> Signed {
        let nonce = tx.nonce;
        let message = Message::from_digest(tx.signature_hash().0);
        let (parity, compact) = self.0.sign_ecdsa_recoverable(message, &key.secret).serialize_compact();
        let signature = Signature::from_bytes_and_parity(&compact, i32::from(parity) & 1 == 1);
        let signed = tx.into_signed(signature);
        Signed { hash: *signed.hash(), nonce, raw: hex::encode_prefixed(signed.encoded_2718()).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::TxEnvelope;
    use alloy_eips::Decodable2718 as _;
    use alloy_primitives::{TxKind, U256, address, keccak256};

    #[test]
    fn the_well_known_mnemonic() {
        let key =
            Signer::new().key_of_mnemonic("test test test test test test test test test test test junk", 0).unwrap();
        assert_eq!(key.address, address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"));
        assert!(Signer::new().key_of_mnemonic("test test", 0).is_err());
    }

    #[test]
    fn signatures_recover_to_their_account() {
        let signer = Signer::new();
        for index in 0..32 {
            let key = signer.key_of_seed(7, index).unwrap();
            let tx = TxEip1559 {
                chain_id: 31310,
                nonce: index,
                gas_limit: 21_000,
                max_fee_per_gas: 5,
                max_priority_fee_per_gas: 1,
                to: TxKind::Call(key.address),
                value: U256::from(index),
                ..Default::default()
            };
            let signed = signer.sign(&key, tx);
            let bytes = hex::decode(&*signed.raw).unwrap();
            assert_eq!(keccak256(&bytes), signed.hash);
            let TxEnvelope::Eip1559(back) = TxEnvelope::decode_2718(&mut bytes.as_slice()).unwrap() else { panic!() };
            let address = back.signature().recover_address_from_prehash(&back.signature_hash()).unwrap();
            assert_eq!((address, back.tx().nonce), (key.address, index));
        }
    }
}
