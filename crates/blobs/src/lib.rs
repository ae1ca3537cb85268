//! EIP-4844 blobs: KZG commitments and proofs, versioned hashes, retention rules, forms of the blob APIs.
