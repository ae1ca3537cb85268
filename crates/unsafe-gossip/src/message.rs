//! The gossiped message: snappy over a signature and a body.
//!
//! Source: rollup-node-p2p.md, "Topic configuration", "Block encoding", "Block signatures"; ids as op-node makes them.

use crate::{payload::Payload, rules::Fault};
use alloy_primitives::{Address, B256, Bytes, keccak256};
use secp256k1::{
    Message, Secp256k1, SecretKey,
    ecdsa::{RecoverableSignature, RecoveryId},
};
use sha2::{Digest, Sha256};
use std::{fmt, sync::LazyLock};

/// Longest message, compressed or not: 10 MiB.
pub const MAX_MESSAGE: usize = 10 << 20;
/// Bytes of a signature: r, s, and the parity as 0 or 1.
pub const SIGNATURE: usize = 65;
/// A byte of snappy's block format becomes less than so many: a copy of 64 bytes takes three.
const MOST_GROWTH: usize = 22;
/// Shortest message: a signature and something after it.
const MIN_MESSAGE: usize = SIGNATURE + 1;

static SECP: LazyLock<Secp256k1<secp256k1::All>> = LazyLock::new(Secp256k1::new);

/// What is signed for a body: keccak256 of 32 zero bytes, the chain id and the hash of the body.
pub fn digest(chain_id: u64, body: &[u8]) -> B256 {
    let mut input = [0; 96];
    input[56..64].copy_from_slice(&chain_id.to_be_bytes());
    input[64..].copy_from_slice(keccak256(body).as_slice());
    keccak256(input)
}

/// Who signed a body.
///
/// # Errors
/// [`Fault::Signature`] if the signature is none of secp256k1.
pub fn recover(chain_id: u64, signature: &[u8; SIGNATURE], body: &[u8]) -> Result<Address, Fault> {
    let [compact @ .., parity] = signature;
    let parity = match parity {
        0 => RecoveryId::Zero,
        1 => RecoveryId::One,
        _ => return Err(Fault::Signature),
    };
    let signature = RecoverableSignature::from_compact(compact, parity).map_err(|_| Fault::Signature)?;
    let message = Message::from_digest(digest(chain_id, body).0);
    let key = SECP.recover_ecdsa(message, &signature).map_err(|_| Fault::Signature)?;
    Ok(Address::from_raw_public_key(&key.serialize_uncompressed()[1..]))
}

/// The key that signs unsafe blocks.
#[derive(Clone)]
pub struct UnsafeSigner {
    key: SecretKey,
    address: Address,
}

impl fmt::Debug for UnsafeSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnsafeSigner({})", self.address)
    }
}

impl UnsafeSigner {
    /// The signer with this secp256k1 key; `None` if it is none (zero, or not below the order).
    pub fn new(key: &B256) -> Option<Self> {
        let key = SecretKey::from_byte_array(key.0).ok()?;
        let public = key.public_key(&SECP).serialize_uncompressed();
        Some(Self { key, address: Address::from_raw_public_key(&public[1..]) })
    }

    /// Its address: the unsafe-block signer of the system config.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Signs a body. The nonce follows from key and body (RFC 6979): the same body has the same signature, and thus the same
    /// message, also after a restart.
    pub fn sign(&self, chain_id: u64, body: &[u8]) -> [u8; SIGNATURE] {
        let message = Message::from_digest(digest(chain_id, body).0);
        let (parity, compact) = SECP.sign_ecdsa_recoverable(message, &self.key).serialize_compact();
        let mut signature = [0; SIGNATURE];
        signature[..64].copy_from_slice(&compact);
        signature[64] = if matches!(parity, RecoveryId::One | RecoveryId::Three) { 1 } else { 0 };
        signature
    }

    /// The message that announces a block.
    ///
    /// # Errors
    /// [`Fault::TooLong`] for a block that no peer would take.
    pub fn message(&self, chain_id: u64, payload: &Payload) -> Result<Vec<u8>, Fault> {
        let body = payload.body();
        let mut raw = Vec::with_capacity(SIGNATURE + body.len());
        raw.extend_from_slice(&self.sign(chain_id, &body));
        raw.extend_from_slice(&body);
        compress(&raw)
    }
}

/// Compresses a signature and a body.
///
/// # Errors
/// [`Fault::TooLong`].
pub fn compress(raw: &[u8]) -> Result<Vec<u8>, Fault> {
    if raw.len() > MAX_MESSAGE {
        return Err(Fault::TooLong(raw.len()));
    }
    let message = snap::raw::Encoder::new().compress_vec(raw).map_err(|_| Fault::TooLong(raw.len()))?;
    if message.len() > MAX_MESSAGE { Err(Fault::TooLong(message.len())) } else { Ok(message) }
}

/// How long a message says that it becomes. Snappy writes at most 64 bytes for each three of its input: who promises more has no such
/// message, and gets no memory for it.
fn promised(message: &[u8]) -> Result<usize, Fault> {
    let length = snap::raw::decompress_len(message).map_err(|_| Fault::Compression)?;
    if length > MAX_MESSAGE || message.len() > MAX_MESSAGE {
        return Err(Fault::TooLong(length.max(message.len())));
    }
    if length > message.len().saturating_mul(MOST_GROWTH) { Err(Fault::Compression) } else { Ok(length) }
}

/// Bytes that are written and hashed to find the [id](message_id) of a message, without doing so.
pub fn work(message: &[u8]) -> usize {
    promised(message).unwrap_or(0).max(message.len())
}

/// Decompresses a message. How long it becomes is read and checked before memory is taken for it.
///
/// # Errors
/// [`Fault::TooLong`], [`Fault::Compression`].
pub fn decompress(message: &[u8]) -> Result<Vec<u8>, Fault> {
    promised(message)?;
    snap::raw::Decoder::new().decompress_vec(message).map_err(|_| Fault::Compression)
}

/// Signature and body of a message.
///
/// # Errors
/// [`Fault::TooShort`] and what [`decompress`] refuses.
pub fn open(message: &[u8]) -> Result<([u8; SIGNATURE], Bytes), Fault> {
    let raw = Bytes::from(decompress(message)?);
    if raw.len() < MIN_MESSAGE {
        return Err(Fault::TooShort(raw.len()));
    }
    let signature = raw.first_chunk::<SIGNATURE>().copied().ok_or(Fault::TooShort(raw.len()))?;
    Ok((signature, raw.slice(SIGNATURE..)))
}

/// The id by which copies of a message are recognised: 20 bytes of SHA-256 over a domain, the length of the topic's name (u64,
/// little endian), the name, and the decompressed data, or the data as it came if it is not snappy.
///
/// op-node hashes the topic, as Ethereum's consensus layer does since Altair; the specification's text leaves it out. A peer with
/// other ids is only told of a message that it has.
pub fn message_id(topic: &str, data: &[u8]) -> [u8; 20] {
    const SNAPPY: [u8; 4] = [1, 0, 0, 0];
    const NOT_SNAPPY: [u8; 4] = [0; 4];
    let opened = decompress(data);
    let (domain, data) = match &opened {
        Ok(raw) => (SNAPPY, raw.as_slice()),
        Err(_) => (NOT_SNAPPY, data),
    };
    let mut hash = Sha256::new();
    hash.update(domain);
    hash.update((topic.len() as u64).to_le_bytes());
    hash.update(topic);
    hash.update(data);
    let mut id = [0; 20];
    id.copy_from_slice(&hash.finalize()[..20]);
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{payload::testing::*, topics::PayloadVersion};
    use alloy_primitives::b256;
    use proptest::prelude::*;

    fn signer(byte: u8) -> UnsafeSigner {
        UnsafeSigner::new(&B256::repeat_byte(byte)).unwrap()
    }

    /// Messages of other programs, one of each form, from the tests of the published `op-alloy-rpc-types-engine`.
    const NETWORK: [(PayloadVersion, &str, u64); 4] = [
        (PayloadVersion::V1, include_str!("../tests/messages/v1.hex"), 1_725_271_882),
        (PayloadVersion::V2, include_str!("../tests/messages/v2.hex"), 1_708_427_627),
        (PayloadVersion::V3, include_str!("../tests/messages/v3.hex"), 1_708_427_461),
        (PayloadVersion::V4, include_str!("../tests/messages/v4.hex"), 1_741_842_007),
    ];

    #[test]
    fn messages_of_op_node_are_read_and_written_byte_by_byte() {
        for (version, text, timestamp) in NETWORK {
            let message = hex::decode(text.trim()).unwrap();
            let (signature, body) = open(&message).unwrap();
            let payload = Payload::from_body(version, &body).unwrap();
            assert_eq!(payload.timestamp, timestamp);
            assert_eq!(payload.body(), body);
            assert_eq!(compress(&[&signature[..], &body].concat()).unwrap(), message, "{version:?}");
        }
    }

    #[test]
    fn the_digest_is_that_of_the_specification() {
        // keccak256(0 ‖ 10 ‖ keccak256(body)), computed with another implementation.
        let body = B256::repeat_byte(0x99);
        let expected = b256!("44a0e2b1aba1aae1771eddae1dcd2ad18a8cdac8891517153f03253e49d3f206");
        assert_eq!(digest(10, body.as_slice()), expected);
    }

    #[test]
    fn who_signed_is_recovered_for_this_chain_and_body_only() {
        let signer = signer(7);
        let signature = signer.sign(CHAIN, b"body");
        assert_eq!(recover(CHAIN, &signature, b"body"), Ok(signer.address()));
        assert_ne!(recover(CHAIN + 1, &signature, b"body"), Ok(signer.address()));
        assert_ne!(recover(CHAIN, &signature, b"bodY"), Ok(signer.address()));
        assert_eq!(signer.sign(CHAIN, b"body"), signature, "the same bytes after a restart");
    }

    #[test]
    fn the_parity_is_0_or_1() {
        let mut signature = signer(7).sign(CHAIN, b"body");
        for parity in [2, 27, 28, 255] {
            signature[64] = parity;
            assert_eq!(recover(CHAIN, &signature, b"body"), Err(Fault::Signature));
        }
        assert_eq!(recover(CHAIN, &[0; SIGNATURE], b"body"), Err(Fault::Signature));
    }

    #[test]
    fn a_key_must_be_one() {
        assert!(UnsafeSigner::new(&B256::ZERO).is_none() && UnsafeSigner::new(&B256::repeat_byte(0xff)).is_none());
        let shown = format!("{:?}", signer(7));
        assert!(!shown.contains("0707"), "{shown}");
    }

    #[test]
    fn a_promised_length_is_checked_before_memory_is_taken() {
        // A varint of 4 GiB - 1, and nothing after it.
        assert_eq!(decompress(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Err(Fault::TooLong(u32::MAX as usize)));
        let bomb = snap::raw::Encoder::new().compress_vec(&vec![0; MAX_MESSAGE + 1]).unwrap();
        assert_eq!(decompress(&bomb), Err(Fault::TooLong(MAX_MESSAGE + 1)));
        let most = snap::raw::Encoder::new().compress_vec(&vec![0; MAX_MESSAGE]).unwrap();
        assert_eq!(decompress(&most).unwrap().len(), MAX_MESSAGE);
        assert_eq!(compress(&vec![0; MAX_MESSAGE + 1]), Err(Fault::TooLong(MAX_MESSAGE + 1)));
    }

    #[test]
    fn a_message_cannot_promise_more_than_snappy_makes_of_it() {
        // Five bytes that promise 10 MiB: nothing is done for that promise, and they are named as what they are, no snappy.
        let promise = [0x80, 0x80, 0x80, 0x05, 0x00];
        assert_eq!(snap::raw::decompress_len(&promise), Ok(MAX_MESSAGE));
        assert_eq!((decompress(&promise), work(&promise)), (Err(Fault::Compression), 5));
        let plain = Sha256::digest([&[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0][..], b"t", &promise].concat());
        assert_eq!(message_id("t", &promise), plain[..20]);
        // What shrinks most of all is still opened.
        for length in [0, 1, 3, 64, 65, 1_000, MAX_MESSAGE] {
            let most = snap::raw::Encoder::new().compress_vec(&vec![0; length]).unwrap();
            assert_eq!((decompress(&most).map(|raw| raw.len()), work(&most)), (Ok(length), length.max(most.len())));
        }
    }

    #[test]
    fn ids_are_made_as_op_node_makes_them() {
        let sha = |parts: &[&[u8]]| Sha256::digest(parts.concat())[..20].to_vec();
        let data = snap::raw::Encoder::new().compress_vec(b"data").unwrap();
        let expected = sha(&[&[1, 0, 0, 0], &[5, 0, 0, 0, 0, 0, 0, 0], b"topic", b"data"]);
        assert_eq!(message_id("topic", &data).to_vec(), expected);
        let garbage = [0xff; 9];
        let expected = sha(&[&[0; 4], &[5, 0, 0, 0, 0, 0, 0, 0], b"topic", &garbage]);
        assert_eq!(message_id("topic", &garbage).to_vec(), expected);
    }

    proptest! {
        #[test]
        fn what_is_announced_is_opened(payload in payload()) {
            let signer = signer(9);
            let message = signer.message(CHAIN, &payload).unwrap();
            let (signature, body) = open(&message).unwrap();
            prop_assert_eq!(recover(CHAIN, &signature, &body), Ok(signer.address()));
            prop_assert_eq!(Payload::from_body(payload.version, &body).unwrap(), payload);
        }

        #[test]
        fn any_bytes_are_opened_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = open(&bytes);
            let _ = message_id("t", &bytes);
        }
    }
}
