//! Proof of two different votes by one signer.
