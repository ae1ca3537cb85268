//! How long a step waits.
