//! Value types of settings that are more than a number or a string.

use std::fmt;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The networks this program knows by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum NetworkName {
    /// A network of one's own, made from the settings; chain id 31310 unless set otherwise.
    Local,
    /// The public DuskEVM devnet, chain id 310.
    Devnet,
    /// The public DuskEVM testnet, chain id 745.
    Testnet,
    /// DuskEVM, chain id 744.
    Mainnet,
}

impl NetworkName {
    /// The L2 chain id of the network.
    pub const fn chain_id(self) -> u64 {
        match self {
            Self::Local => 31310,
            Self::Devnet => 310,
            Self::Testnet => 745,
            Self::Mainnet => 744,
        }
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Devnet => "devnet",
            Self::Testnet => "testnet",
            Self::Mainnet => "mainnet",
        })
    }
}

/// What stands behind the L1 port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum L1Backend {
    /// The L1 that this same program runs.
    Embedded,
}

/// Which L1 blocks the L2 side is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum L1Follow {
    /// Final ones if several provisioners stake in the genesis, else all.
    Auto,
    /// All: the newest block is shown at once. It may be replaced as long as it is not final.
    Tip,
    /// Final ones only.
    Final,
}

/// Where batches travel on L1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchCarrier {
    /// In blobs.
    Blobs,
    /// In call data.
    Calldata,
    /// Whichever costs less for a channel.
    Cheaper,
}

/// How batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchCompression {
    /// zlib at its best level.
    Zlib,
    /// Brotli of quality 9.
    #[serde(rename = "brotli-9")]
    Brotli9,
    /// Brotli of quality 10.
    #[serde(rename = "brotli-10")]
    Brotli10,
    /// Brotli of quality 11.
    #[serde(rename = "brotli-11")]
    Brotli11,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line per event.
    Human,
    /// One JSON object per line.
    Json,
}

/// When a fork activates: a timestamp in seconds of L2 block time (0 is genesis), or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForkTime(pub Option<u64>);

impl ForkTime {
    /// Active from the first block on.
    pub const GENESIS: Self = Self(Some(0));
    /// Not scheduled.
    pub const NEVER: Self = Self(None);
}

impl Serialize for ForkTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(time) => serializer.serialize_u64(time),
            None => serializer.serialize_str("never"),
        }
    }
}

impl<'de> Deserialize<'de> for ForkTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = ForkTime;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time in seconds (0 is genesis) or \"never\"")
            }
            fn visit_u64<E>(self, time: u64) -> Result<ForkTime, E> {
                Ok(ForkTime(Some(time)))
            }
            fn visit_i64<E: serde::de::Error>(self, time: i64) -> Result<ForkTime, E> {
                u64::try_from(time)
                    .map(|time| ForkTime(Some(time)))
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(time), &self))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ForkTime, E> {
                if text == "never" {
                    Ok(ForkTime::NEVER)
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
                }
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// A secret that no log line and no `Debug` output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A wrong type must not print the value either, so the error is our own.
        String::deserialize(deserializer).map(Self).map_err(|_| D::Error::custom("expected a string"))
    }
}
