//! What travels between actors.

/// A message to an actor. The module that declares it says who sends it and what the reply means.
pub trait Message: Send + 'static {
    /// What the receiver answers. A domain failure belongs in here (`Result<…>`): it is an answer, not a fault.
    type Reply: Send + 'static;

    /// Short name for metrics, logs and causes, unique per receiving actor.
    const NAME: &'static str;

    /// Whether handling it twice has the effect of handling it once. Only such messages can be sent with `ask_retry`.
    const IDEMPOTENT: bool = false;
}
