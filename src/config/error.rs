//! What can be wrong with a configuration, said so that one reading is enough to mend it.

use std::fmt;
use std::path::PathBuf;

use super::origin::Origin;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// A key that does not exist.
    UnknownKey {
        /// The key as it was written.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// The nearest known key, in the same notation.
        nearest: String,
    },
    /// A key that will exist once a later step of the project is done, or never will, and why.
    RefusedKey {
        /// The key as it was written.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// Why it is refused.
        reason: &'static str,
    },
    /// A value of the wrong type or out of its type's range.
    WrongType {
        /// Dotted path of the key.
        key: String,
        /// Where the value stands.
        origin: Origin,
        /// What was expected.
        expected: String,
    },
    /// Values that are well-formed but make no sense, alone or together.
    Senseless {
        /// Dotted path of the key to change.
        key: String,
        /// Where its value comes from.
        origin: Origin,
        /// What is wrong, and what to do.
        what: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { key, origin, nearest } => {
                write!(f, "unknown key `{key}` ({origin}): the nearest known key is `{nearest}`")
            }
            Self::RefusedKey { key, origin, reason } => write!(f, "key `{key}` ({origin}): {reason}"),
            Self::WrongType { key, origin, expected } => write!(f, "wrong value for `{key}` ({origin}): {expected}"),
            Self::Senseless { key, origin, what } => write!(f, "`{key}` ({origin}): {what}"),
        }
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML; the message shows the place.
    #[error("the configuration file {} is not valid TOML:\n{message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's message with an excerpt of the file.
        message: String,
    },
    /// Everything that is wrong with the settings, not only the first find.
    #[error("the configuration has {}:\n{}", count(.0), list(.0))]
    Problems(Vec<Problem>),
}

fn count(problems: &[Problem]) -> String {
    if problems.len() == 1 { "a problem".to_owned() } else { format!("{} problems", problems.len()) }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  - {problem}")).collect::<Vec<_>>().join("\n")
}
