//! What may be asked of the processor before a signature is known to be good.
