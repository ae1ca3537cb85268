//! A blob with its commitment and proof.

use std::fmt;
use std::sync::Arc;

use dusk_core::transfer::data::BlobSidecar;
use sha2::{Digest as _, Sha256};

use crate::{BlobError, Hash};

/// Bytes of a blob: 4096 field elements of 32 bytes.
pub const BYTES: usize = 131_072;

/// Bytes of an encoded sidecar: commitment, proof, data.
pub const ENCODED: usize = 48 + 48 + BYTES;

/// First byte of the versioned hash of a KZG commitment (EIP-4844, `VERSIONED_HASH_VERSION_KZG`).
const VERSION_KZG: u8 = 0x01;

/// The versioned hash of a commitment: SHA-256 with its first byte replaced by the version (EIP-4844,
/// `kzg_to_versioned_hash`; `BlobData::hash_from_commitment` of dusk-core).
pub fn versioned_hash(commitment: &[u8; 48]) -> Hash {
    let mut hash: Hash = Sha256::digest(commitment).into();
    hash[0] = VERSION_KZG;
    hash
}

/// A blob with its commitment and proof, of which nothing was checked. Clones share the data.
#[derive(Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// KZG commitment to the data: a compressed point of G1.
    pub commitment: [u8; 48],
    /// KZG proof that the data opens the commitment: a compressed point of G1.
    pub proof: [u8; 48],
    /// 4096 field elements, big-endian.
    pub data: Arc<[u8; BYTES]>,
}

impl fmt::Debug for Sidecar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sidecar").field("hash", &hex::encode(self.hash())).finish_non_exhaustive()
    }
}

impl Sidecar {
    /// From its three parts.
    ///
    /// # Errors
    /// [`BlobError::Length`] if the data is not that of one blob.
    pub fn new(commitment: [u8; 48], proof: [u8; 48], data: &[u8]) -> Result<Self, BlobError> {
        // Through a shared slice: an array of this size has no business on a stack.
        let shared: Arc<[u8]> = data.into();
        let data = shared.try_into().map_err(|other: Arc<[u8]>| BlobError::Length(other.len()))?;
        Ok(Self { commitment, proof, data })
    }

    /// The versioned hash of the commitment.
    pub fn hash(&self) -> Hash {
        versioned_hash(&self.commitment)
    }

    /// Commitment, proof, data: the bytes of `BlobSidecar::to_var_bytes` of dusk-core.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ENCODED);
        bytes.extend_from_slice(&self.commitment);
        bytes.extend_from_slice(&self.proof);
        bytes.extend_from_slice(&self.data[..]);
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`BlobError::Length`] unless there are exactly [`ENCODED`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BlobError> {
        let split = || {
            let (commitment, rest) = bytes.split_first_chunk::<48>()?;
            let (proof, data) = rest.split_first_chunk::<48>()?;
            Some((*commitment, *proof, data))
        };
        let (commitment, proof, data) = split().ok_or(BlobError::Length(bytes.len().saturating_sub(96)))?;
        Self::new(commitment, proof, data)
    }
}

impl From<&BlobSidecar> for Sidecar {
    fn from(sidecar: &BlobSidecar) -> Self {
        Self { commitment: sidecar.commitment, proof: sidecar.proof, data: Arc::new(sidecar.data) }
    }
}

impl From<&Sidecar> for BlobSidecar {
    fn from(sidecar: &Sidecar) -> Self {
        Self { commitment: sidecar.commitment, proof: sidecar.proof, data: *sidecar.data }
    }
}

/// A sidecar whose data, commitment, proof and versioned hash fit each other. Only the functions of [`kzg`](crate::kzg) make
/// one, and [`Verified::restored`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    hash: Hash,
    sidecar: Sidecar,
}

impl Verified {
    pub(crate) const fn checked(hash: Hash, sidecar: Sidecar) -> Self {
        Self { hash, sidecar }
    }

    /// A sidecar that was verified before it was written to this node's own disk, and whose record still has its checksum.
    /// Never for bytes from anybody else: nothing is checked here.
    pub fn restored(sidecar: Sidecar) -> Self {
        Self { hash: sidecar.hash(), sidecar }
    }

    /// Its versioned hash.
    pub const fn hash(&self) -> &Hash {
        &self.hash
    }

    /// Commitment, proof and data.
    pub const fn sidecar(&self) -> &Sidecar {
        &self.sidecar
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dusk_core::transfer::data::BlobData;
    use proptest::prelude::*;

    fn sample(seed: u8) -> Sidecar {
        let data: Vec<u8> = (0..BYTES).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect();
        Sidecar::new([seed; 48], [seed ^ 1; 48], &data).unwrap()
    }

    proptest! {
        #[test]
        fn the_versioned_hash_is_that_of_dusk(commitment in prop::array::uniform32(any::<u8>()), rest in prop::array::uniform16(any::<u8>())) {
            let mut bytes = [0; 48];
            bytes[..32].copy_from_slice(&commitment);
            bytes[32..].copy_from_slice(&rest);
            prop_assert_eq!(versioned_hash(&bytes), BlobData::hash_from_commitment(&bytes));
        }
    }

    #[test]
    fn the_encoding_is_that_of_dusk_and_reads_back() {
        for seed in 0..8 {
            let sidecar = sample(seed);
            let theirs = BlobSidecar::from(&sidecar);
            let bytes = sidecar.encode();
            assert_eq!(bytes.len(), ENCODED);
            assert_eq!(bytes, theirs.to_var_bytes());
            assert_eq!(Sidecar::decode(&bytes).unwrap(), sidecar);
            assert_eq!(Sidecar::from(&theirs), sidecar);
        }
    }

    #[test]
    fn every_other_length_is_refused() {
        let bytes = sample(3).encode();
        for length in [0, 1, 95, 96, 97, ENCODED - 1] {
            assert_eq!(Sidecar::decode(&bytes[..length]), Err(BlobError::Length(length.saturating_sub(96))));
        }
        assert_eq!(Sidecar::decode(&[bytes.as_slice(), &[0]].concat()), Err(BlobError::Length(BYTES + 1)));
        assert_eq!(Sidecar::new([0; 48], [0; 48], &[]), Err(BlobError::Length(0)));
    }
}
