//! The forks of the OP Stack and when they activate.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::GenesisError;

/// A fork after Bedrock, in order of activation. Bedrock itself is where every chain of this program begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of the forks")]
pub enum Fork {
    Regolith,
    Canyon,
    Delta,
    Ecotone,
    Fjord,
    Granite,
    Holocene,
    Isthmus,
    Jovian,
}

/// Forks that exist, but that this program cannot run, and why.
const UNSUPPORTED: [(&str, &str); 2] = [
    (
        "karst",
        "it lowers the input limit of the bn254 pairing precompile to 57,600 bytes, which the execution engine of this \
         program does not, so blocks would differ from those of other nodes",
    ),
    ("interop", "cross-chain messages and their validity checks are not part of this program"),
];

impl Fork {
    /// All forks, in order.
    pub const ALL: [Self; 9] = [
        Self::Regolith,
        Self::Canyon,
        Self::Delta,
        Self::Ecotone,
        Self::Fjord,
        Self::Granite,
        Self::Holocene,
        Self::Isthmus,
        Self::Jovian,
    ];

    /// The name in lower case, as in configuration keys (`<name>_time`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Regolith => "regolith",
            Self::Canyon => "canyon",
            Self::Delta => "delta",
            Self::Ecotone => "ecotone",
            Self::Fjord => "fjord",
            Self::Granite => "granite",
            Self::Holocene => "holocene",
            Self::Isthmus => "isthmus",
            Self::Jovian => "jovian",
        }
    }
}

impl fmt::Display for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fork {
    type Err = GenesisError;

    /// Reads a fork's name, in any case.
    ///
    /// # Errors
    /// [`GenesisError::UnsupportedFork`] with the reason for forks later than Jovian,
    /// [`GenesisError::UnknownFork`] for everything else.
    fn from_str(name: &str) -> Result<Self, GenesisError> {
        let lower = name.to_ascii_lowercase();
        if let Some(fork) = Self::ALL.into_iter().find(|f| f.name() == lower) {
            return Ok(fork);
        }
        if let Some((_, reason)) = UNSUPPORTED.into_iter().find(|(n, _)| *n == lower) {
            return Err(GenesisError::UnsupportedFork { name: lower, reason });
        }
        Err(GenesisError::UnknownFork { name: name.to_owned(), known: Self::ALL.map(Self::name).join(", ") })
    }
}

/// When each fork activates, in seconds of L2 block time.
///
/// Always dense and ordered: a fork has a time only if all forks before it have one that is not later. Execution
/// libraries look forks up by position, so that a gap would silently shift every later fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ForkTimes([Option<u64>; Fork::ALL.len()]);

impl ForkTimes {
    /// `last` and all forks before it are active from the first block; later ones never.
    pub fn at_genesis(last: Fork) -> Self {
        let mut times = [None; Fork::ALL.len()];
        times[..=last as usize].fill(Some(0));
        Self(times)
    }

    /// A schedule from pairs of fork and time. Forks that are not named never activate.
    ///
    /// # Errors
    /// [`GenesisError::ForkGap`] or [`GenesisError::ForkOrder`] if the schedule is not dense and ordered.
    pub fn new(times: impl IntoIterator<Item = (Fork, u64)>) -> Result<Self, GenesisError> {
        let mut all = [None; Fork::ALL.len()];
        for (fork, time) in times {
            all[fork as usize] = Some(time);
        }
        Self::check(all)
    }

    /// This schedule with another time for `fork`; `None` means never.
    ///
    /// # Errors
    /// As for [`ForkTimes::new`].
    pub fn with(self, fork: Fork, time: Option<u64>) -> Result<Self, GenesisError> {
        let mut all = self.0;
        all[fork as usize] = time;
        Self::check(all)
    }

    fn check(all: [Option<u64>; Fork::ALL.len()]) -> Result<Self, GenesisError> {
        for pair in Fork::ALL.windows(2) {
            let (earlier, later) = (pair[0], pair[1]);
            match (all[earlier as usize], all[later as usize]) {
                (None, Some(_)) => return Err(GenesisError::ForkGap { missing: earlier, later }),
                (Some(earlier_time), Some(later_time)) if later_time < earlier_time => {
                    return Err(GenesisError::ForkOrder { earlier, earlier_time, later, later_time });
                }
                _ => {}
            }
        }
        Ok(Self(all))
    }

    /// When `fork` activates; `None` if never.
    pub const fn time(&self, fork: Fork) -> Option<u64> {
        self.0[fork as usize]
    }

    /// Whether `fork` is active in a block with this time.
    pub fn is_active(&self, fork: Fork, timestamp: u64) -> bool {
        self.time(fork).is_some_and(|t| t <= timestamp)
    }

    /// The newest fork that is active in a block with this time; `None` is Bedrock.
    pub fn active(&self, timestamp: u64) -> Option<Fork> {
        Fork::ALL.into_iter().rev().find(|f| self.is_active(*f, timestamp))
    }

    /// The scheduled forks with their times, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Fork, u64)> + '_ {
        Fork::ALL.into_iter().filter_map(|f| Some((f, self.time(f)?)))
    }
}

impl Serialize for ForkTimes {
    /// As a map from a fork's name to its time.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(fork, time)| (fork.name(), time)))
    }
}

impl<'de> Deserialize<'de> for ForkTimes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let times = BTreeMap::<String, u64>::deserialize(deserializer)?;
        let pairs: Result<Vec<_>, GenesisError> =
            times.into_iter().map(|(name, time)| Ok((name.parse::<Fork>()?, time))).collect();
        pairs.and_then(Self::new).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_dense_and_ordered() {
        let isthmus = ForkTimes::at_genesis(Fork::Isthmus);
        assert_eq!(isthmus.active(0), Some(Fork::Isthmus));
        assert_eq!(isthmus.time(Fork::Jovian), None);
        let later = isthmus.with(Fork::Jovian, Some(100)).unwrap();
        assert_eq!((later.active(99), later.active(100)), (Some(Fork::Isthmus), Some(Fork::Jovian)));

        let gap = isthmus.with(Fork::Ecotone, None).unwrap_err();
        assert!(matches!(gap, GenesisError::ForkGap { missing: Fork::Ecotone, later: Fork::Fjord }), "{gap}");
        let order = isthmus.with(Fork::Canyon, Some(5)).unwrap_err();
        assert!(matches!(order, GenesisError::ForkOrder { later: Fork::Delta, later_time: 0, .. }), "{order}");
        assert_eq!(ForkTimes::new([]).unwrap().active(u64::MAX), None);
    }

    #[test]
    fn later_forks_are_refused_with_a_reason() {
        for (name, word) in [("karst", "pairing"), ("Interop", "cross-chain")] {
            let error = name.parse::<Fork>().unwrap_err();
            assert!(matches!(error, GenesisError::UnsupportedFork { .. }));
            assert!(error.to_string().contains(word), "{error}");
        }
        assert!(matches!("kepler".parse::<Fork>(), Err(GenesisError::UnknownFork { .. })));
        let error = serde_json::from_str::<ForkTimes>(r#"{"karst": 0}"#).unwrap_err();
        assert!(error.to_string().contains("pairing"), "{error}");
    }

    #[test]
    fn schedules_survive_serialization() {
        let times = ForkTimes::at_genesis(Fork::Holocene).with(Fork::Isthmus, Some(7)).unwrap();
        let text = serde_json::to_string(&times).unwrap();
        assert_eq!(serde_json::from_str::<ForkTimes>(&text).unwrap(), times);
    }
}
