//! Numbers of the protocol: iterations, credits, quorums, step times.
