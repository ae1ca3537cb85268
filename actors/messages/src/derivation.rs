//! Messages to derivation, which reads the safe chain from L1.

use duskevm_supervision::Message;

/// Begin anew: look for the heads that L1 still supports and read L1 from there; asked by the RPC for
/// `admin_resetDerivationPipeline`. The reply comes when what was under way is given up. What is safe stays safe. Idempotent.
#[derive(Debug, Clone, Copy)]
pub struct ResetPipeline;

impl Message for ResetPipeline {
    type Reply = ();
    const NAME: &'static str = "reset_pipeline";
    const IDEMPOTENT: bool = true;
}
