//! BLS keys: account identities and signers.

use std::fmt;
use std::str::FromStr;

use dusk_core::BlsScalar;
use dusk_core::signatures::bls::{PublicKey, SecretKey};
use dusk_node_data::StepName;
use dusk_node_data::bls::{PublicKey as NodePublicKey, PublicKeyBytes};
use dusk_node_data::ledger::Signature;
use dusk_node_data::message::{ConsensusHeader, SignInfo, SignedStepMessage, StepMessage};
use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::forks;

/// Why bytes or text are not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a compressed point of the right group, or the identity.
    #[error("not a BLS public key (96 bytes, compressed G2, not the identity)")]
    NotAPublicKey,
    /// Text that is not base58 of a key.
    #[error("`{0}` is not a Dusk account: expected the base58 form of a 96-byte BLS public key")]
    NotBase58(String),
    /// A scalar outside the field, or zero.
    #[error("not a BLS secret key: expected 32 bytes, little-endian, below the group order and not zero")]
    NotASecretKey,
    /// A signature that does not belong to key and message.
    #[error("the BLS signature does not match key and message")]
    BadSignature,
}

/// A Moonlight account or provisioner: the compressed BLS public key (96 bytes). Text form: base58, without checksum.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId([u8; 96]);

impl AccountId {
    /// Checks that `bytes` are a usable public key.
    pub fn from_bytes(bytes: [u8; 96]) -> Result<Self, KeyError> {
        let id = Self(bytes);
        id.public_key().map(|_| id)
    }

    /// The identity of a key that has been checked already.
    pub fn from_key(key: &PublicKey) -> Self {
        Self(NodePublicKey::new(*key).bytes().0)
    }

    /// Bytes that were checked when they were stored.
    pub(crate) fn from_trusted(bytes: [u8; 96]) -> Self {
        Self(bytes)
    }

    /// The 96 bytes.
    pub fn as_bytes(&self) -> &[u8; 96] {
        &self.0
    }

    /// The decompressed key. Costs a square root and a subgroup check.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        let key = NodePublicKey::try_from(self.0).map_err(|_| KeyError::NotAPublicKey)?.into_inner();
        if key.is_valid() { Ok(key) } else { Err(KeyError::NotAPublicKey) }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&PublicKeyBytes(self.0).to_base58())
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountId({self})")
    }
}

impl FromStr for AccountId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        // 96 bytes are at most 132 base58 digits; decoding is quadratic in the length.
        if text.len() > 140 {
            return Err(KeyError::NotBase58(format!("{}…", text.chars().take(16).collect::<String>())));
        }
        let deserializer: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
        let key = PublicKey::deserialize(deserializer).map_err(|_| KeyError::NotBase58(text.into()))?;
        if key.is_valid() { Ok(Self::from_key(&key)) } else { Err(KeyError::NotAPublicKey) }
    }
}

impl Serialize for AccountId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A secret key with its public half: signs transactions, seeds, headers and votes.
#[derive(Clone)]
pub struct Signer {
    secret: SecretKey,
    public: PublicKey,
    id: AccountId,
}

impl fmt::Debug for Signer {
    /// Shows the public half only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Signer {
    /// From the 32 bytes of the scalar (little-endian), as a key file holds them.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let scalar = Option::<BlsScalar>::from(BlsScalar::from_bytes(bytes)).ok_or(KeyError::NotASecretKey)?;
        Self::from_scalar(scalar)
    }

    /// A new key from 64 random bytes, which the reduction leaves evenly distributed.
    ///
    /// # Errors
    /// [`KeyError::NotASecretKey`] if they are those of zero, which random ones never are.
    pub fn from_random(bytes: &[u8; 64]) -> Result<Self, KeyError> {
        Self::from_scalar(BlsScalar::from_bytes_wide(bytes))
    }

    /// The 32 bytes of the secret scalar (little-endian): what [`Self::from_bytes`] takes.
    pub(crate) fn to_bytes(&self) -> [u8; 32] {
        let scalar: &BlsScalar = self.secret.as_ref();
        scalar.to_bytes()
    }

    /// The key that `seed` hashes to. For networks whose keys are public knowledge, and for tests.
    pub fn from_seed(seed: &[u8]) -> Self {
        let mut input = b"duskevm-l1-key/1/".to_vec();
        input.extend_from_slice(seed);
        let mut scalar = BlsScalar::hash_to_scalar(&input);
        if scalar == BlsScalar::zero() {
            scalar = BlsScalar::one();
        }
        Self::new(SecretKey::from(scalar))
    }

    /// Wraps a key that has been loaded elsewhere.
    pub fn from_secret(secret: SecretKey) -> Result<Self, KeyError> {
        Self::from_scalar(*secret.as_ref())
    }

    fn from_scalar(scalar: BlsScalar) -> Result<Self, KeyError> {
        if scalar == BlsScalar::zero() {
            return Err(KeyError::NotASecretKey);
        }
        Ok(Self::new(SecretKey::from(scalar)))
    }

    fn new(secret: SecretKey) -> Self {
        let public = PublicKey::from(&secret);
        Self { id: AccountId::from_key(&public), public, secret }
    }

    /// The public half as an account.
    pub fn id(&self) -> AccountId {
        self.id
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The secret half, for `dusk-core`'s transaction constructors.
    pub fn secret_key(&self) -> &SecretKey {
        &self.secret
    }

    /// Signs `message` as a consensus (multi-signature) signature of `round`.
    pub fn sign_multisig(&self, round: u64, message: &[u8]) -> Signature {
        let mut signed = SignedBytes { round, message, info: SignInfo::default() };
        self.sign_step(&mut signed);
        signed.info.signature
    }

    /// Signs a consensus message in place.
    pub(crate) fn sign_step<M: SignedStepMessage>(&self, message: &mut M) {
        forks::activate();
        message.sign(&self.secret, &self.public);
    }
}

/// Checks a consensus (multi-signature) signature by one signer over `message` in `round`.
pub fn verify_multisig(signer: &AccountId, round: u64, message: &[u8], signature: &Signature) -> Result<(), KeyError> {
    let info = sign_info(signer, signature)?;
    verify_step(&SignedBytes { round, message, info })
}

pub(crate) fn sign_info(signer: &AccountId, signature: &Signature) -> Result<SignInfo, KeyError> {
    Ok(SignInfo { signer: NodePublicKey::new(signer.public_key()?), signature: *signature })
}

pub(crate) fn verify_step<M: SignedStepMessage>(message: &M) -> Result<(), KeyError> {
    forks::activate();
    message.verify_signature().map_err(|_| KeyError::BadSignature)
}

/// Bytes that are signed with the consensus scheme but are no consensus message: seeds and header hashes. Going through
/// the message trait keeps scheme, version and coefficients those of the published node.
struct SignedBytes<'a> {
    round: u64,
    message: &'a [u8],
    info: SignInfo,
}

impl StepMessage for SignedBytes<'_> {
    const STEP_NAME: StepName = StepName::Proposal;

    fn header(&self) -> ConsensusHeader {
        ConsensusHeader { round: self.round, ..Default::default() }
    }
}

impl SignedStepMessage for SignedBytes<'_> {
    const SIGN_SEED: &'static [u8] = &[];

    fn signable(&self) -> Vec<u8> {
        self.message.to_vec()
    }

    fn sign_info(&self) -> SignInfo {
        self.info.clone()
    }

    fn sign_info_mut(&mut self) -> &mut SignInfo {
        &mut self.info
    }
}

#[cfg(test)]
mod tests {
    use dusk_core::signatures::bls::{self, BlsVersion};

    use super::*;

    #[test]
    fn text_round_trip_and_refusal() {
        let id = Signer::from_seed(b"a").id();
        assert_eq!(id.to_string().parse::<AccountId>().unwrap(), id);
        assert_eq!(serde_json::from_str::<AccountId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
        for bad in ["", "0OIl", "abc", &"1".repeat(132), &"z".repeat(10_000)] {
            assert!(bad.parse::<AccountId>().is_err(), "{bad}");
        }
        assert_eq!(AccountId::from_bytes([0xff; 96]), Err(KeyError::NotAPublicKey));
        let mut identity = [0u8; 96];
        identity[0] = 0xc0;
        assert_eq!(AccountId::from_bytes(identity), Err(KeyError::NotAPublicKey));
    }

    #[test]
    fn secret_keys_are_checked() {
        assert_eq!(Signer::from_bytes(&[0; 32]).unwrap_err(), KeyError::NotASecretKey);
        assert_eq!(Signer::from_bytes(&[0xff; 32]).unwrap_err(), KeyError::NotASecretKey);
        let mut one = [0; 32];
        one[0] = 1;
        assert!(Signer::from_bytes(&one).is_ok());
        assert!(!format!("{:?}", Signer::from_seed(b"a")).contains("secret"));
        assert_eq!(Signer::from_random(&[0; 64]).unwrap_err(), KeyError::NotASecretKey);
        // Numbers above the group order are reduced, not refused; all 64 bytes count.
        let made = Signer::from_random(&[0xff; 64]).unwrap();
        assert_eq!(Signer::from_bytes(&made.to_bytes()).unwrap().id(), made.id());
        let mut other = [0xff; 64];
        other[63] = 0;
        assert_ne!(Signer::from_random(&other).unwrap().id(), made.id());
    }

    #[test]
    fn multisig_is_the_second_scheme_and_binds_everything() {
        let (a, b) = (Signer::from_seed(b"a"), Signer::from_seed(b"b"));
        let signature = a.sign_multisig(1, b"seed");
        assert!(verify_multisig(&a.id(), 1, b"seed", &signature).is_ok());
        let direct = bls::sign_multisig(a.secret_key(), a.public_key(), b"seed", BlsVersion::V2);
        let apk = bls::aggregate(&[*a.public_key()], BlsVersion::V2).unwrap();
        assert!(bls::verify_multisig(&apk, &direct, b"seed", BlsVersion::V2).is_ok());
        assert!(verify_multisig(&b.id(), 1, b"seed", &signature).is_err());
        assert!(verify_multisig(&a.id(), 1, b"Seed", &signature).is_err());
        assert!(verify_multisig(&a.id(), 1, b"seed", &Signature::from([0; 48])).is_err());
        // Below the fork height the old scheme applies, whose signatures differ.
        assert!(verify_multisig(&a.id(), 0, b"seed", &signature).is_err());
    }
}
