//! Signatures: one, aggregated, and a stand-in for simulations.
//!
//! Every signature of the consensus is a multi-signature of the second scheme (`bls12_381-bls` 0.6, `sign_multisig` and
//! `MultisigPublicKey`): with t = H1(key), a signature is t·sk·H0(message), an aggregate is a plain sum, and its key is
//! the sum of t·key over the voters. The published node multiplies every key by its t for each certificate. Here t·key
//! is made once per provisioner and kept, so that a committee's key costs additions. All keys that go into a sum have
//! been checked, so the sum is in the right group and only its being the identity is left to check.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use dusk_bls12_381::hash_to_curve::{ExpandMessageState, HashToCurve, InitExpandMessage};
use dusk_bls12_381::{G1Affine, G1Projective, G2Affine, G2Prepared, G2Projective, Gt, multi_miller_loop};
use sha2::{Digest, Sha256};

use crate::forks::FORK_HEIGHT;
use crate::keys::{AccountId, KeyError, Signer};
use crate::sha3::sha3_256;

/// A signature scheme with sums. The machine and all checks are written against it, so that a simulation of thousands
/// of rounds can do without pairings.
pub trait Bls: Send + Sync + 'static {
    /// What signs.
    type Secret: Send + Sync;
    /// A checked key, ready to verify with.
    type Key: Clone + Send + Sync;
    /// A sum of signatures.
    type Sum: Clone + Send + Sync;

    /// Signs `message`.
    fn sign(&self, secret: &Self::Secret, message: &[u8]) -> [u8; 48];

    /// The account of a secret.
    fn id(&self, secret: &Self::Secret) -> AccountId;

    /// The key of an account. Expensive the first time; fails if the bytes are no key.
    fn key(&self, id: &AccountId) -> Result<Self::Key, KeyError>;

    /// Adds a signature to a sum. Fails if the bytes are no point.
    fn add(&self, sum: Option<Self::Sum>, signature: &[u8; 48]) -> Result<Self::Sum, KeyError>;

    /// The aggregate signature.
    fn sum_bytes(&self, sum: &Self::Sum) -> [u8; 48];

    /// Checks the signature of all `keys` together over `message`. No key verifies nothing.
    fn verify(&self, keys: &[&Self::Key], message: &[u8], signature: &[u8; 48]) -> Result<(), KeyError>;

    /// Checks the signature of `ids` together over `message`.
    fn verify_ids<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a AccountId>,
        message: &[u8],
        signature: &[u8; 48],
    ) -> Result<(), KeyError> {
        let keys = ids.into_iter().map(|id| self.key(id)).collect::<Result<Vec<_>, _>>()?;
        self.verify(&keys.iter().collect::<Vec<_>>(), message, signature)
    }
}

impl<B: Bls> Bls for Arc<B> {
    type Secret = B::Secret;
    type Key = B::Key;
    type Sum = B::Sum;

    fn sign(&self, secret: &B::Secret, message: &[u8]) -> [u8; 48] {
        (**self).sign(secret, message)
    }

    fn id(&self, secret: &B::Secret) -> AccountId {
        (**self).id(secret)
    }

    fn key(&self, id: &AccountId) -> Result<B::Key, KeyError> {
        (**self).key(id)
    }

    fn add(&self, sum: Option<B::Sum>, signature: &[u8; 48]) -> Result<B::Sum, KeyError> {
        (**self).add(sum, signature)
    }

    fn sum_bytes(&self, sum: &B::Sum) -> [u8; 48] {
        (**self).sum_bytes(sum)
    }

    fn verify(&self, keys: &[&B::Key], message: &[u8], signature: &[u8; 48]) -> Result<(), KeyError> {
        (**self).verify(keys, message, signature)
    }
}

/// Keys that are kept. Far more than there are provisioners; beyond it the store starts anew.
const KEPT_KEYS: usize = 16_384;

/// Domain of the hash to G1. Source: `H0_DST`.
const H0_DOMAIN: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_DUSK_V2";

/// Dusk's signatures. Clones share their keys.
#[derive(Clone)]
pub struct DuskBls {
    shared: Arc<Shared>,
}

struct Shared {
    generator: G2Prepared,
    keys: RwLock<HashMap<AccountId, DuskKey>>,
}

/// t·key of a provisioner.
#[derive(Debug, Clone)]
pub struct DuskKey(Arc<G2Affine>);

/// A sum of Dusk signatures.
#[derive(Debug, Clone)]
pub struct DuskSum(G1Projective);

impl Default for DuskBls {
    fn default() -> Self {
        Self { shared: Arc::new(Shared { generator: G2Affine::generator().into(), keys: RwLock::new(HashMap::new()) }) }
    }
}

impl fmt::Debug for DuskBls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuskBls").finish_non_exhaustive()
    }
}

/// A point of the right group that is not the identity. Source: `MultisigSignature::{from_bytes, is_valid}`.
fn point(signature: &[u8; 48]) -> Result<G1Affine, KeyError> {
    Option::<G1Affine>::from(G1Affine::from_compressed(signature))
        .filter(|point| !bool::from(point.is_identity()))
        .ok_or(KeyError::BadSignature)
}

impl Bls for DuskBls {
    type Secret = Signer;
    type Key = DuskKey;
    type Sum = DuskSum;

    fn sign(&self, secret: &Signer, message: &[u8]) -> [u8; 48] {
        // The second scheme holds at every height of a network of ours, the first of which is this.
        *secret.sign_multisig(FORK_HEIGHT, message).inner()
    }

    fn id(&self, secret: &Signer) -> AccountId {
        secret.id()
    }

    fn key(&self, id: &AccountId) -> Result<DuskKey, KeyError> {
        // Nothing that runs under the lock can panic half-way through a change.
        if let Some(key) = self.shared.keys.read().unwrap_or_else(PoisonError::into_inner).get(id) {
            return Ok(key.clone());
        }
        let key = DuskKey(Arc::new(id.public_key()?.pk_t()));
        let mut keys = self.shared.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= KEPT_KEYS {
            keys.clear();
        }
        keys.insert(*id, key.clone());
        Ok(key)
    }

    fn add(&self, sum: Option<DuskSum>, signature: &[u8; 48]) -> Result<DuskSum, KeyError> {
        let point = point(signature)?;
        Ok(DuskSum(match sum {
            Some(DuskSum(sum)) => sum.add_mixed(&point),
            None => point.into(),
        }))
    }

    fn sum_bytes(&self, sum: &DuskSum) -> [u8; 48] {
        G1Affine::from(sum.0).to_compressed()
    }

    fn verify(&self, keys: &[&DuskKey], message: &[u8], signature: &[u8; 48]) -> Result<(), KeyError> {
        let signature = point(signature)?;
        let key = keys.iter().fold(G2Projective::identity(), |sum, key| sum.add_mixed(&key.0));
        if key.is_identity().into() {
            return Err(KeyError::BadSignature);
        }
        let hash: G1Affine = <G1Projective as HashToCurve<Xmd>>::hash_to_curve(message, H0_DOMAIN).into();
        // e(signature, generator) = e(hash, key), as one product.
        let product = multi_miller_loop(&[
            (&signature, &self.shared.generator),
            (&-hash, &G2Prepared::from(G2Affine::from(key))),
        ]);
        if product.final_exponentiation() == Gt::identity() { Ok(()) } else { Err(KeyError::BadSignature) }
    }
}

/// `expand_message_xmd` of RFC 9380, section 5.3.1, with SHA-256. The curve library brings one for an older generation
/// of hash functions only.
struct Xmd {
    output: Vec<u8>,
    read: usize,
}

impl<'x> InitExpandMessage<'x> for Xmd {
    type Expander = Self;

    fn init_expand(message: &[u8], domain: &'x [u8], length: usize) -> Self {
        // Domains are constants of less than 256 bytes, lengths at most 128: both fit their fields.
        let domain_end = [domain.len() as u8];
        let first = Sha256::new()
            .chain_update([0; 64])
            .chain_update(message)
            .chain_update((length as u16).to_be_bytes())
            .chain_update([0])
            .chain_update(domain)
            .chain_update(domain_end)
            .finalize();
        let mut output = Vec::with_capacity(length.next_multiple_of(32));
        let mut last = [0u8; 32];
        let mut counter = 0u8;
        while output.len() < length {
            counter = counter.wrapping_add(1);
            for (byte, first) in last.iter_mut().zip(first) {
                *byte ^= first;
            }
            let block = Sha256::new().chain_update(last).chain_update([counter]);
            last = block.chain_update(domain).chain_update(domain_end).finalize().into();
            output.extend_from_slice(&last);
        }
        output.truncate(length);
        Self { output, read: 0 }
    }
}

impl ExpandMessageState<'_> for Xmd {
    fn read_into(&mut self, output: &mut [u8]) -> usize {
        let rest = &self.output[self.read..];
        let count = rest.len().min(output.len());
        output[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        count
    }

    fn remain(&self) -> usize {
        self.output.len() - self.read
    }
}

/// Signatures that anybody can forge: account and message mixed, with exclusive or for a sum. Shaped like the real ones
/// and ten thousand times faster, for simulations in which nobody tries to compute another's.
#[derive(Debug, Clone, Copy, Default)]
pub struct StandIn;

impl StandIn {
    /// An account that has no key: the number, hashed.
    pub fn id(number: u64) -> AccountId {
        let mut bytes = [0; 96];
        for (i, part) in bytes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            *part = sha3_256(&[b"stand-in", &number.to_le_bytes(), &[i as u8]]);
        }
        AccountId::from_trusted(bytes)
    }

    /// Six numbers that depend on every byte of account and message. Mixed, not hashed: simulations make millions.
    fn signature(id: &AccountId, message: &[u8]) -> [u8; 48] {
        let mut state = 0x9e37_79b9_7f4a_7c15;
        // 32 bytes of an account tell it from every other.
        for part in [&id.as_bytes()[..32], message] {
            let (words, rest) = part.as_chunks::<8>();
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            for word in words.iter().chain([&last, &(part.len() as u64).to_le_bytes()]) {
                state = mixed(state ^ u64::from_le_bytes(*word));
            }
        }
        let mut signature = [0; 48];
        for lane in signature.as_chunks_mut::<8>().0 {
            state = mixed(state);
            *lane = state.to_le_bytes();
        }
        signature
    }
}

/// A permutation of 64-bit numbers in which every bit depends on every other (the finalizer of splitmix64).
fn mixed(state: u64) -> u64 {
    let a = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let b = (a ^ (a >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let c = (b ^ (b >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    c ^ (c >> 31)
}

fn xor(mut a: [u8; 48], b: &[u8; 48]) -> [u8; 48] {
    for (a, b) in a.iter_mut().zip(b) {
        *a ^= b;
    }
    a
}

impl Bls for StandIn {
    type Secret = AccountId;
    type Key = AccountId;
    type Sum = [u8; 48];

    fn sign(&self, secret: &AccountId, message: &[u8]) -> [u8; 48] {
        Self::signature(secret, message)
    }

    fn id(&self, secret: &AccountId) -> AccountId {
        *secret
    }

    fn key(&self, id: &AccountId) -> Result<AccountId, KeyError> {
        Ok(*id)
    }

    fn add(&self, sum: Option<[u8; 48]>, signature: &[u8; 48]) -> Result<[u8; 48], KeyError> {
        Ok(xor(sum.unwrap_or([0; 48]), signature))
    }

    fn sum_bytes(&self, sum: &[u8; 48]) -> [u8; 48] {
        *sum
    }

    fn verify(&self, keys: &[&AccountId], message: &[u8], signature: &[u8; 48]) -> Result<(), KeyError> {
        let sum = keys.iter().fold([0; 48], |sum, key| xor(sum, &Self::signature(key, message)));
        if !keys.is_empty() && sum == *signature { Ok(()) } else { Err(KeyError::BadSignature) }
    }
}

#[cfg(test)]
mod tests {
    use dusk_core::signatures::bls::{self, BlsVersion};

    use super::*;
    use crate::keys::verify_multisig;

    fn signers(n: u8) -> Vec<Signer> {
        (0..n).map(|i| Signer::from_seed(&[i])).collect()
    }

    fn scheme_works<B: Bls>(bls: &B, secrets: &[B::Secret]) {
        let ids: Vec<_> = secrets.iter().map(|secret| bls.id(secret)).collect();
        let signatures: Vec<_> = secrets.iter().map(|secret| bls.sign(secret, b"message")).collect();
        let sum = signatures.iter().fold(None, |sum, signature| Some(bls.add(sum, signature).unwrap()));
        let sum = bls.sum_bytes(&sum.unwrap());
        assert!(bls.verify_ids(&ids, b"message", &sum).is_ok());
        assert!(bls.verify_ids(&ids[..1], b"message", &signatures[0]).is_ok());
        assert!(bls.verify_ids(&ids, b"Message", &sum).is_err());
        assert!(bls.verify_ids(&ids[1..], b"message", &sum).is_err());
        assert!(bls.verify_ids(&ids, b"message", &signatures[0]).is_err());
        assert!(bls.verify_ids(&ids[..1], b"message", &signatures[1]).is_err());
        assert!(bls.verify_ids(&[], b"message", &sum).is_err());
        assert!(bls.verify_ids(&[], b"message", &[0; 48]).is_err());
        assert!(bls.verify_ids(&ids[..1], b"message", &[0; 48]).is_err());
    }

    #[test]
    fn both_schemes_sign_add_and_refuse() {
        scheme_works(&DuskBls::default(), &signers(3));
        scheme_works(&StandIn, &[StandIn::id(1), StandIn::id(2), StandIn::id(3)]);
    }

    #[test]
    fn signatures_and_sums_are_those_of_the_published_library() {
        let (bls, signers) = (DuskBls::default(), signers(5));
        for message in [&b""[..], b"m", &[7; 75], &[9; 300]] {
            let theirs: Vec<_> = signers
                .iter()
                .map(|s| bls::sign_multisig(s.secret_key(), s.public_key(), message, BlsVersion::V2))
                .collect();
            let keys: Vec<_> = signers.iter().map(|s| *s.public_key()).collect();
            let apk = bls::aggregate(&keys, BlsVersion::V2).unwrap();
            let sum = theirs[0].aggregate(&theirs[1..]);
            assert!(bls::verify_multisig(&apk, &sum, message, BlsVersion::V2).is_ok());

            let ours: Vec<_> = signers.iter().map(|s| bls.sign(s, message)).collect();
            let total = ours.iter().fold(None, |sum, signature| Some(bls.add(sum, signature).unwrap()));
            let total = bls.sum_bytes(&total.unwrap());
            assert_eq!(total, G1Affine::to_compressed(&raw_point(&sum)));
            let ids: Vec<_> = signers.iter().map(Signer::id).collect();
            assert!(bls.verify_ids(&ids, message, &total).is_ok());
            for (signer, signature) in signers.iter().zip(&ours) {
                assert!(verify_multisig(&signer.id(), 1, message, &(*signature).into()).is_ok());
            }
        }
    }

    /// The point of a published signature, whose field is private: it signs nothing else to the same text.
    fn raw_point(signature: &bls::MultisigSignature) -> G1Affine {
        let text = serde_json::to_string(signature).unwrap();
        let text = text.trim_matches('"');
        let alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
        let mut bytes = [0u8; 48];
        for digit in text.bytes() {
            let mut carry = alphabet.bytes().position(|c| c == digit).unwrap();
            for byte in bytes.iter_mut().rev() {
                carry += usize::from(*byte) * 58;
                *byte = carry as u8;
                carry >>= 8;
            }
        }
        G1Affine::from_compressed(&bytes).unwrap()
    }

    #[test]
    fn what_is_no_point_is_refused() {
        let bls = DuskBls::default();
        let id = signers(1)[0].id();
        let mut identity = [0; 48];
        identity[0] = 0xc0;
        for bad in [[0; 48], [0xff; 48], identity] {
            assert!(bls.verify_ids([&id], b"m", &bad).is_err());
            assert!(bls.add(None, &bad).is_err());
        }
        assert!(bls.key(&AccountId::from_trusted([0; 96])).is_err());
    }

    #[test]
    fn keys_are_made_once() {
        let (bls, id) = (DuskBls::default(), signers(1)[0].id());
        let (a, b) = (bls.key(&id).unwrap(), bls.clone().key(&id).unwrap());
        assert!(Arc::ptr_eq(&a.0, &b.0));
    }
}
