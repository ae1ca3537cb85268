//! Making and checking KZG commitments and proofs, with Ethereum's trusted setup.
//!
//! The setup is loaded once in a process, on first use, which takes up to seconds: call [`warm_up`] on a thread that may
//! wait. A check takes milliseconds, a commitment or a proof tens of them: none of this belongs on an actor's own thread.
//!
//! `cargo bench -p duskevm-blobs` puts each beside the KZG library called directly. On one core of a two-core virtual machine, medians:
//! commitment and proof 97.9 ms (directly 96.9), a check 1.99 ms (1.98), a batch of six 8.60 ms (8.53).
//!
//! What is checked, and in this order, is what a Dusk voter checks (`validate_blob_sidecars` of dusk-consensus: versioned hash,
//! then the proof); the errors are told apart finer here.

use c_kzg::{Blob, Bytes48, CELLS_PER_EXT_BLOB, KzgSettings, ethereum_kzg_settings};

use crate::{BYTES, Hash, Sidecar, Verified, versioned_hash};

/// The tables that a larger number would add speed up proofs of cells only, and take up to 96 MiB.
const PRECOMPUTE: u64 = 0;

/// The order of the BLS12-381 scalar field, big-endian. A field element is canonical if it is less (EIP-4844, `BLS_MODULUS`).
const MODULUS: [u8; 32] = [
    0x73, 0xed, 0xa7, 0x53, 0x29, 0x9d, 0x7d, 0x48, 0x33, 0x39, 0xd8, 0x08, 0x09, 0xa1, 0xd8, 0x05, 0x53, 0xbd, 0xa4,
    0x02, 0xff, 0xfe, 0x5b, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01,
];

/// What is wrong with a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The versioned hash is that of another commitment.
    #[error("the versioned hash is not that of the commitment: take 0x01 and the last 31 bytes of its SHA-256")]
    Hash,
    /// A field element is not less than the order of the field.
    #[error(
        "field element {0} of the blob is not canonical: every 32 bytes must be a big-endian number below the order of BLS12-381's scalar field"
    )]
    Field(usize),
    /// The commitment is no point of the group, or commits to other data. Only [`explain`] tells this from a wrong proof.
    #[error("the commitment is not that of the blob: compute it from the data")]
    Commitment,
    /// Blob, commitment and proof do not fit each other, or one of the two points is none of the group.
    #[error(
        "the proof does not fit blob and commitment: compute the commitment from the blob, and the proof from both"
    )]
    Proof,
    /// Not the data of one blob.
    #[error("a blob has {BYTES} bytes, not {0}")]
    Length(usize),
}

fn settings() -> &'static KzgSettings {
    ethereum_kzg_settings(PRECOMPUTE)
}

/// Loads the trusted setup unless that was done.
pub fn warm_up() {
    settings();
}

/// Computes commitment and proof of the data.
///
/// # Errors
/// [`BlobError::Length`], [`BlobError::Field`].
pub fn commit_and_prove(data: &[u8]) -> Result<Verified, BlobError> {
    let blob = blob(data)?;
    check_field(data)?;
    let commitment = commit(&blob).ok_or(BlobError::Commitment)?;
    let proof =
        settings().compute_blob_kzg_proof(&blob, &Bytes48::new(commitment)).map_err(|_| BlobError::Proof)?.to_bytes();
    let sidecar = Sidecar::new(commitment, proof.into_inner(), data)?;
    Ok(Verified::checked(versioned_hash(&commitment), sidecar))
}

/// Checks that hash, commitment, proof and data fit each other.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(hash: &Hash, sidecar: Sidecar) -> Result<Verified, BlobError> {
    check_form(hash, &sidecar)?;
    prove(*hash, sidecar)
}

/// The same for many blobs, each with the hash that it must have: one pairing check for all if all are good. The answers are
/// in the order of the items; one that is bad does not harm the others, but makes each be checked singly.
pub fn verify_batch(items: Vec<(Hash, Sidecar)>) -> Vec<Result<Verified, BlobError>> {
    let formed: Vec<_> = items.iter().map(|(hash, sidecar)| check_form(hash, sidecar)).collect();
    let sound = items.iter().zip(&formed).filter(|(_, form)| form.is_ok()).map(|((_, sidecar), _)| sidecar);
    // With room from the start: a list of blobs that grows moves megabytes.
    let mut blobs = Vec::with_capacity(items.len());
    let (mut commitments, mut proofs) = (Vec::new(), Vec::new());
    for sidecar in sound {
        blobs.push(Blob::new(*sidecar.data));
        commitments.push(Bytes48::new(sidecar.commitment));
        proofs.push(Bytes48::new(sidecar.proof));
    }
    let all = settings().verify_blob_kzg_proof_batch(&blobs, &commitments, &proofs);
    drop(blobs);
    let all_good = matches!(all, Ok(true));
    let answer = |((hash, sidecar), form): ((Hash, Sidecar), Result<(), BlobError>)| {
        form?;
        if all_good { Ok(Verified::checked(hash, sidecar)) } else { prove(hash, sidecar) }
    };
    items.into_iter().zip(formed).map(answer).collect()
}

/// Proofs of a blob's cells: as many as [`verify_cells`] takes (EIP-7594, `CELLS_PER_EXT_BLOB`).
pub const CELL_PROOFS: usize = CELLS_PER_EXT_BLOB;

/// Checks the form of a sidecar that EIP-7594 brought: a proof for each cell of the extended blob instead of one for the blob. The proof
/// of the blob, which Dusk asks for, is computed from the data: this takes some 50 times as long as [`verify`].
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_cells(
    hash: &Hash,
    commitment: [u8; 48],
    data: &[u8],
    cell_proofs: &[[u8; 48]],
) -> Result<Verified, BlobError> {
    if versioned_hash(&commitment) != *hash {
        return Err(BlobError::Hash);
    }
    let blob = blob(data)?;
    check_field(data)?;
    let cells = settings().compute_cells(&blob).map_err(|_| BlobError::Proof)?;
    let commitments = vec![Bytes48::new(commitment); CELL_PROOFS];
    let indices: Vec<u64> = (0..CELL_PROOFS as u64).collect();
    let proofs: Vec<Bytes48> = cell_proofs.iter().copied().map(Bytes48::new).collect();
    // A number of proofs that is not that of the cells is an error, too.
    match settings().verify_cell_kzg_proof_batch(&commitments, &indices, &cells[..], &proofs) {
        Ok(true) => {}
        Ok(false) | Err(_) => return Err(BlobError::Proof),
    }
    let proof =
        settings().compute_blob_kzg_proof(&blob, &Bytes48::new(commitment)).map_err(|_| BlobError::Proof)?.to_bytes();
    Ok(Verified::checked(*hash, Sidecar::new(commitment, proof.into_inner(), data)?))
}

/// Computes the proofs of all cells of the extended blob (EIP-7594), for whoever makes sidecars of that form. Takes seconds.
///
/// # Errors
/// [`BlobError::Length`], [`BlobError::Field`].
pub fn prove_cells(data: &[u8]) -> Result<Vec<[u8; 48]>, BlobError> {
    let blob = blob(data)?;
    check_field(data)?;
    let (_, proofs) = settings().compute_cells_and_kzg_proofs(&blob).map_err(|_| BlobError::Proof)?;
    Ok(proofs.iter().map(|proof| proof.to_bytes().into_inner()).collect())
}

/// What costs next to nothing.
fn check_form(hash: &Hash, sidecar: &Sidecar) -> Result<(), BlobError> {
    if sidecar.hash() != *hash {
        return Err(BlobError::Hash);
    }
    check_field(&sidecar.data[..])
}

fn prove(hash: Hash, sidecar: Sidecar) -> Result<Verified, BlobError> {
    let blob = Blob::new(*sidecar.data);
    let (commitment, proof) = (Bytes48::new(sidecar.commitment), Bytes48::new(sidecar.proof));
    match settings().verify_blob_kzg_proof(&blob, &commitment, &proof) {
        Ok(true) => Ok(Verified::checked(hash, sidecar)),
        Ok(false) | Err(_) => Err(BlobError::Proof),
    }
}

/// Which of the two is wrong, after a check failed with [`BlobError::Proof`]. It computes the commitment from the data, which
/// takes some 25 times as long as the check: for whoever made the blob, never for what strangers send.
pub fn explain(sidecar: &Sidecar) -> BlobError {
    match commit(&Blob::new(*sidecar.data)) {
        Some(commitment) if commitment == sidecar.commitment => BlobError::Proof,
        _ => BlobError::Commitment,
    }
}

fn commit(blob: &Blob) -> Option<[u8; 48]> {
    Some(settings().blob_to_kzg_commitment(blob).ok()?.to_bytes().into_inner())
}

fn blob(data: &[u8]) -> Result<Blob, BlobError> {
    Blob::from_bytes(data).map_err(|_| BlobError::Length(data.len()))
}

fn check_field(data: &[u8]) -> Result<(), BlobError> {
    // One byte decides nearly always.
    match data.chunks(32).position(|element| element[0] >= MODULUS[0] && element >= MODULUS.as_slice()) {
        Some(index) => Err(BlobError::Field(index)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The point at infinity: commitment of the zero blob, and proof for every constant polynomial.
    const INFINITY: [u8; 48] = {
        let mut point = [0; 48];
        point[0] = 0xc0;
        point
    };

    fn constant(value: u8) -> Vec<u8> {
        let mut data = vec![0; BYTES];
        data.chunks_mut(32).for_each(|element| element[31] = value);
        data
    }

    fn varied(seed: u8) -> Vec<u8> {
        let mut data: Vec<u8> = (0..BYTES).map(|at| (at as u8).wrapping_mul(seed) ^ (at >> 8) as u8).collect();
        data.chunks_mut(32).for_each(|element| element[0] = 0);
        data
    }

    fn made(seed: u8) -> (Hash, Sidecar) {
        let verified = commit_and_prove(&varied(seed)).unwrap();
        (*verified.hash(), verified.sidecar().clone())
    }

    /// With the hash of its commitment, whatever that is.
    fn hashed(sidecar: Sidecar) -> (Hash, Sidecar) {
        (sidecar.hash(), sidecar)
    }

    #[test]
    fn constant_polynomials_commit_to_multiples_of_the_generator() {
        // Written in evaluation form, a constant polynomial is the same number 4096 times: its commitment is that multiple
        // of the generator of G1 and its quotient is zero. The points are those of the curve's definition.
        let generator =
            "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb";
        let doubled =
            "a572cbea904d67468808c8eb50a9450c9721db309128012543902d0ac358a62ae28f75bb8f1c7c42c39a8c5529bf0f4e";
        for (value, commitment) in [(0, hex::encode(INFINITY)), (1, generator.to_owned()), (2, doubled.to_owned())] {
            let made = commit_and_prove(&constant(value)).unwrap();
            assert_eq!(hex::encode(made.sidecar().commitment), commitment);
            assert_eq!(made.sidecar().proof, INFINITY);
            verify(made.hash(), made.sidecar().clone()).unwrap();
        }
        let zero = commit_and_prove(&constant(0)).unwrap();
        let known = "010657f37554c781402a22917dee2f75def7ab966d7b770905398eba3c444014";
        assert_eq!(hex::encode(zero.hash()), known, "the versioned hash of the zero blob, known from Ethereum");
    }

    #[test]
    fn what_was_made_verifies_and_the_setup_is_loaded_once() {
        warm_up();
        assert!(std::ptr::eq(settings(), settings()));
        let (hash, sidecar) = made(7);
        assert_eq!(verify(&hash, sidecar.clone()).unwrap().sidecar(), &sidecar);
    }

    #[test]
    fn a_wrong_hash_is_refused() {
        let (hash, sidecar) = made(7);
        let mut other = hash;
        other[31] ^= 1;
        assert_eq!(verify(&other, sidecar.clone()), Err(BlobError::Hash));
        let mut version = hash;
        version[0] = 2;
        assert_eq!(verify(&version, sidecar), Err(BlobError::Hash));
    }

    #[test]
    fn a_field_element_that_is_not_canonical_is_refused() {
        let (hash, good) = made(7);
        for (index, element) in [(0, MODULUS), (4095, MODULUS), (17, [0xff; 32])] {
            let mut data = *good.data;
            data[index * 32..][..32].copy_from_slice(&element);
            let bad = Sidecar::new(good.commitment, good.proof, &data).unwrap();
            assert_eq!(verify(&hash, bad), Err(BlobError::Field(index)));
            assert_eq!(commit_and_prove(&data), Err(BlobError::Field(index)));
        }
        let mut largest = MODULUS;
        largest[31] = 0;
        let mut data = constant(0);
        data[..32].copy_from_slice(&largest);
        let made = commit_and_prove(&data).unwrap();
        verify(made.hash(), made.sidecar().clone()).unwrap();
        assert_eq!(commit_and_prove(&data[1..]), Err(BlobError::Length(BYTES - 1)));
    }

    #[test]
    fn a_wrong_commitment_is_refused() {
        let (_, good) = made(7);
        let (_, other) = made(9);
        // A point that commits to something else; no point at all; a point outside of the group would be the same to us.
        for commitment in [other.commitment, INFINITY, [0xff; 48], [0; 48]] {
            let (hash, bad) = hashed(Sidecar { commitment, ..good.clone() });
            assert_eq!(verify(&hash, bad.clone()), Err(BlobError::Proof));
            assert_eq!(explain(&bad), BlobError::Commitment);
        }
        // Commitment and proof of another blob fit each other, but not the data.
        let (hash, bad) = hashed(Sidecar { data: good.data.clone(), ..other });
        assert_eq!(verify(&hash, bad.clone()), Err(BlobError::Proof));
        assert_eq!(explain(&bad), BlobError::Commitment);
    }

    #[test]
    fn a_wrong_proof_is_refused() {
        let (hash, good) = made(7);
        let (_, other) = made(9);
        for proof in [other.proof, INFINITY, [0xff; 48], good.commitment] {
            let bad = Sidecar { proof, ..good.clone() };
            assert_eq!(verify(&hash, bad.clone()), Err(BlobError::Proof));
            assert_eq!(explain(&bad), BlobError::Proof);
        }
    }

    #[test]
    fn proofs_of_cells_are_checked_and_give_the_proof_of_the_blob() {
        let (hash, good) = made(7);
        let (other_hash, other) = made(9);
        let proofs = prove_cells(&good.data[..]).unwrap();
        assert_eq!(proofs.len(), CELL_PROOFS);
        let found = verify_cells(&hash, good.commitment, &good.data[..], &proofs).unwrap();
        assert_eq!((found.hash(), found.sidecar()), (&hash, &good));
        let mut swapped = proofs.clone();
        swapped.swap(0, 127);
        let check = |hash, commitment, data: &[u8], proofs: &[[u8; 48]]| verify_cells(hash, commitment, data, proofs);
        assert_eq!(check(&hash, good.commitment, &good.data[..], &swapped), Err(BlobError::Proof));
        assert_eq!(check(&hash, good.commitment, &good.data[..], &proofs[1..]), Err(BlobError::Proof));
        assert_eq!(check(&other_hash, other.commitment, &good.data[..], &proofs), Err(BlobError::Proof));
        assert_eq!(check(&other_hash, good.commitment, &good.data[..], &proofs), Err(BlobError::Hash));
        let mut large = good.data.to_vec();
        large[..32].fill(0xff);
        assert_eq!(check(&hash, good.commitment, &large, &proofs), Err(BlobError::Field(0)));
    }

    #[test]
    fn a_batch_names_the_culprits_and_takes_the_others() {
        let goods: Vec<_> = (1..=6).map(made).collect();
        let answers = verify_batch(goods.clone());
        assert_eq!(answers.len(), 6);
        for (answer, (hash, sidecar)) in answers.iter().zip(&goods) {
            let verified = answer.as_ref().unwrap();
            assert_eq!((verified.hash(), verified.sidecar()), (hash, sidecar));
        }
        let mut mixed = goods.clone();
        mixed[0].0[5] ^= 1;
        mixed[2].1.proof = goods[3].1.proof;
        mixed[4] = hashed(Sidecar { commitment: goods[0].1.commitment, ..goods[4].1.clone() });
        let found: Vec<_> = verify_batch(mixed).into_iter().map(|answer| answer.err()).collect();
        let hash = Some(BlobError::Hash);
        assert_eq!(found, [hash, None, Some(BlobError::Proof), None, Some(BlobError::Proof), None]);
        assert!(verify_batch(Vec::new()).is_empty());
        assert_eq!(verify_batch(vec![goods[0].clone()]).len(), 1);
    }

    #[test]
    fn proofs_of_two_blobs_cannot_be_exchanged_within_a_batch() {
        let (first, second) = (made(3), made(4));
        let mut swapped = vec![first.clone(), second.clone()];
        swapped[0].1.proof = second.1.proof;
        swapped[1].1.proof = first.1.proof;
        assert!(verify_batch(swapped).iter().all(|answer| answer == &Err(BlobError::Proof)));
    }
}
