//! What this provisioner has signed: never two for one step.
