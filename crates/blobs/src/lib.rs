//! EIP-4844 blobs: KZG commitments and proofs, versioned hashes, retention rules, forms of the blob APIs.
//!
//! Nothing here touches a disk, a socket or a clock.
//!
//! - [`Sidecar`]: a blob with its commitment and proof, in the bytes that Dusk and Ethereum share. [`Verified`] is one whose
//!   proof was checked.
//! - [`kzg`]: making and checking commitments and proofs, singly and in batches.
//! - [`retention`]: which blobs are on disk, and why. Blocks claim blobs; a blob that nobody claims goes.
//! - [`api`]: what the requests of the blob APIs ask for, and the bytes of the answers.

pub mod api;
pub mod kzg;
pub mod retention;
mod sidecar;

pub use kzg::BlobError;
pub use sidecar::{BYTES, ENCODED, Sidecar, Verified, versioned_hash};

/// A versioned hash, a block hash or a root.
pub type Hash = [u8; 32];
