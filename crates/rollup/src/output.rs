//! Output roots: what is proposed to L1 as the state of L2.

use alloy_primitives::{B256, keccak256};

/// The only version of output roots there is.
pub const OUTPUT_VERSION_V0: B256 = B256::ZERO;

/// keccak256(version ‖ state root ‖ storage root of the L2ToL1MessagePasser ‖ block hash). Source: proposals.md.
pub fn output_root(state_root: B256, message_passer_storage_root: B256, block_hash: B256) -> B256 {
    let mut preimage = [0u8; 128];
    preimage[..32].copy_from_slice(OUTPUT_VERSION_V0.as_slice());
    preimage[32..64].copy_from_slice(state_root.as_slice());
    preimage[64..96].copy_from_slice(message_passer_storage_root.as_slice());
    preimage[96..].copy_from_slice(block_hash.as_slice());
    keccak256(preimage)
}
