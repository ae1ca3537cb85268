//! Puts the layers on top of each other.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::check::check;
use super::error::{ConfigError, Problem};
use super::layers::{self, Raw, Setting};
use super::nearest::{is_known, is_section, nearest_path, nearest_section, split};
use super::origin::Origin;
use super::schema::SetError;
use super::types::Secret;
use super::{Config, TEST_MNEMONIC};

/// Forks that the execution layer knows by name but this node does not run.
const REFUSED: [(&str, &str); 2] = [
    ("l2.forks.karst", "Karst is not supported: this node runs the forks up to Jovian; remove the key"),
    ("l2.forks.interop", "interop is not supported: this node runs the forks up to Jovian; remove the key"),
];

/// Keys whose value is a path.
const PATHS: [&str; 11] = [
    "network.genesis",
    "data.dir",
    "keys.consensus",
    "keys.batcher",
    "keys.batcher_account",
    "keys.carrier_account",
    "keys.unsafe_signer",
    "keys.password_file",
    "gossip.identity",
    "gossip.l2_identity",
    "engine_api.jwt_secret",
];

/// The effective configuration, and where every value of it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// The values.
    pub config: Config,
    origins: BTreeMap<String, Origin>,
}

impl Effective {
    /// Where the value of a key came from.
    pub fn origin(&self, path: &str) -> Origin {
        self.origins.get(path).cloned().unwrap_or(Origin::Default)
    }

    /// Sets a value as if a flag had given it. False if there is no such key, or it does not take such a value.
    pub(crate) fn set(&mut self, path: &str, value: impl Into<toml::Value>) -> bool {
        let (section, key) = split(path);
        let is_set = self.config.set(section, key, value.into()).is_ok();
        if is_set {
            self.origins.insert(path.to_owned(), Origin::Flag { flag: path.to_owned() });
        }
        is_set
    }

    /// Sets what the program itself decided, such as the temporary folder of `dev`.
    pub fn set_data_dir(&mut self, dir: PathBuf, origin: Origin) {
        self.config.data.dir = Some(dir);
        self.origins.insert("data.dir".to_owned(), origin);
    }
}

/// Collects the layers, then [loads](Loader::load) them.
#[derive(Debug, Clone, Default)]
pub struct Loader {
    dev: bool,
    needs_data_dir: bool,
    file: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    flags: Vec<Setting>,
}

impl Loader {
    /// Starts with the defaults of `duskevm node`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts with the settings of `duskevm dev`.
    pub fn dev() -> Self {
        Self { dev: true, ..Self::default() }
    }

    /// Refuses a configuration that names no data folder.
    #[must_use]
    pub fn needs_data_dir(mut self) -> Self {
        self.needs_data_dir = true;
        self
    }

    /// Adds the layer of a file.
    #[must_use]
    pub fn file(mut self, path: Option<&Path>) -> Self {
        self.file = path.map(Path::to_owned);
        self
    }

    /// Adds the layer of an environment, usually [`std::env::vars_os`].
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.environment = variables.into_iter().collect();
        self
    }

    /// Adds a value that a flag gave.
    #[must_use]
    pub fn flag(mut self, flag: &str, path: &str, value: impl Into<toml::Value>) -> Self {
        self.flags.push(Setting {
            path: path.to_owned(),
            written: flag.to_owned(),
            value: Raw::Toml(value.into()),
            origin: Origin::Flag { flag: flag.to_owned() },
        });
        self
    }

    /// Reads all layers and checks the result.
    ///
    /// # Errors
    /// A file that cannot be read or parsed, or every problem that the settings have.
    pub fn load(self) -> Result<Effective, ConfigError> {
        let mut settings = Vec::new();
        if self.dev {
            settings.extend(dev_settings());
        }
        if let Some(path) = &self.file {
            settings.extend(layers::file(path)?);
        }
        settings.extend(layers::environment(self.environment));
        settings.extend(self.flags);

        let mut effective = Effective { config: Config::default(), origins: BTreeMap::new() };
        let mut problems = Vec::new();
        for setting in settings {
            if let Err(problem) = apply(&mut effective, setting) {
                problems.push(problem);
            }
        }
        // Whoever asks only for slower L2 blocks means a slower L1 as well: the other way round would be refused.
        let (l1, l2) = (effective.config.l1.block_time, effective.config.l2.block_time);
        if l1 < l2 && matches!(effective.origin("l1.block_time"), Origin::Default | Origin::Dev) {
            effective.config.l1.block_time = l2.saturating_mul(2);
        }
        // Whoever takes away what it stands on means it as well.
        let on = &mut effective.config.actors;
        if on.carrier
            && !(on.consensus && on.l1 && on.l1_rpc)
            && self.dev
            && matches!(effective.origin("actors.carrier"), Origin::Dev)
        {
            effective.config.actors.carrier = false;
        }
        // What a value means together with others can only be said when each is right.
        if problems.is_empty() {
            problems = check(&effective, self.needs_data_dir);
        }
        if problems.is_empty() { Ok(effective) } else { Err(ConfigError::Problems(problems)) }
    }
}

/// Seconds between L1 blocks in `duskevm dev` unless set.
pub(crate) const DEV_L1_BLOCK_TIME: u64 = 2;
/// Seconds between L2 blocks in `duskevm dev` unless set.
pub(crate) const DEV_L2_BLOCK_TIME: u64 = 1;

/// What `duskevm dev` changes of the defaults.
fn dev_settings() -> Vec<Setting> {
    let settings: [(&str, toml::Value); 9] = [
        ("actors.carrier", true.into()),
        ("faults.allow", true.into()),
        ("l1.block_time", i64::try_from(DEV_L1_BLOCK_TIME).unwrap_or(i64::MAX).into()),
        ("l2.block_time", i64::try_from(DEV_L2_BLOCK_TIME).unwrap_or(i64::MAX).into()),
        ("rpc.cors", vec!["*"].into()),
        ("l1_rpc.cors", vec!["*"].into()),
        ("rollup_rpc.admin", true.into()),
        ("rpc.namespaces", duskevm_rpc::NAMESPACES.to_vec().into()),
        // Keys and faults of a local network are everybody's anyway.
        ("rpc.allow_remote_miner", true.into()),
    ];
    settings
        .into_iter()
        .map(|(path, value)| Setting {
            path: path.to_owned(),
            written: path.to_owned(),
            value: Raw::Toml(value),
            origin: Origin::Dev,
        })
        .collect()
}

fn apply(effective: &mut Effective, setting: Setting) -> Result<(), Problem> {
    let Setting { path, written, value, origin } = setting;
    if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == path) {
        return Err(Problem::RefusedKey { key: written, origin, reason });
    }
    if !is_known(&path) {
        return match value {
            // Only an empty table arrives here as one; other tables arrive as their keys.
            Raw::Table if is_section(&path) => Ok(()),
            Raw::Table => Err(Problem::UnknownKey { key: written, origin, nearest: nearest_section(&path) }),
            _ if is_section(&path) => Err(Problem::WrongType {
                key: path,
                origin,
                expected: "this is a section, write it as a table".to_owned(),
            }),
            _ => {
                let nearest = nearest_path(&path);
                let nearest =
                    if matches!(origin, Origin::Env { .. }) { layers::variable_of(&nearest) } else { nearest };
                Err(Problem::UnknownKey { key: written, origin, nearest })
            }
        };
    }
    let readings = match value {
        Raw::Toml(value) => vec![value],
        Raw::Text(text) => layers::readings(&text),
        Raw::HugeInteger => return Err(wrong(path, origin, "the number is out of range")),
        Raw::Table => return Err(wrong(path, origin, "this is a single value, not a table")),
        Raw::NotUnicode => return Err(wrong(path, origin, "the value is not valid Unicode")),
    };
    let (section, key) = split(&path);
    let mut expected = Vec::new();
    for reading in readings {
        let Some(reading) = in_place(&path, reading, &origin) else {
            return Err(wrong(
                path,
                origin,
                "the file's own folder has a name that is not Unicode: use an absolute path",
            ));
        };
        match effective.config.set(section, key, reading) {
            Ok(()) => {
                effective.origins.insert(path, origin);
                return Ok(());
            }
            Err(SetError::WrongType(message)) => expected.push(message),
            Err(SetError::UnknownKey) => {
                return Err(Problem::UnknownKey { key: written, origin, nearest: nearest_path(&path) });
            }
        }
    }
    // Of the readings of a text, the typed one is what its writer meant; it is the second if there is one, and the last for a list.
    let is_list = expected.first().is_some_and(|message| message.ends_with("expected a sequence"));
    let position = if is_list { expected.len() - 1 } else { usize::from(expected.len() > 2) };
    Err(wrong(path, origin, &expected.swap_remove(position)))
}

fn wrong(key: String, origin: Origin, expected: &str) -> Problem {
    Problem::WrongType { key, origin, expected: expected.to_owned() }
}

/// A relative path in a file means the same wherever the node is started. `None` if the result has no TOML form.
fn in_place(path: &str, value: toml::Value, origin: &Origin) -> Option<toml::Value> {
    match (value, origin) {
        (toml::Value::String(text), Origin::File { path: file, .. }) if PATHS.contains(&path) => {
            let folder = file.parent().unwrap_or(Path::new(""));
            folder.join(text).to_str().map(|joined| toml::Value::String(joined.to_owned()))
        }
        (value, _) => Some(value),
    }
}

/// Whether the mnemonic is the one that everybody knows.
pub(crate) fn is_test_mnemonic(mnemonic: &Secret) -> bool {
    mnemonic.reveal().split_whitespace().eq(TEST_MNEMONIC.split(' '))
}
