//! Reads each layer into a flat list of settings, without yet asking whether they exist or fit.

use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::nearest::is_known;
use super::origin::Origin;

/// Prefix of the environment variables that are settings.
pub(crate) const ENV_PREFIX: &str = "DUSKEVM_";
/// Variables with that prefix that are not settings: the password of key files, and what test harnesses use.
const ENV_OTHERS: [&str; 1] = ["DUSKEVM_PASSWORD"];
const ENV_TEST_PREFIX: &str = "DUSKEVM_TEST_";
/// The variable that Rust programs read their log level from. It counts less than our own one.
const ENV_LOG: &str = "RUST_LOG";
/// Stands between section and key, since both contain single underscores.
const ENV_SEPARATOR: &str = "__";

/// One assignment in one layer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    /// Dotted path.
    pub(crate) path: String,
    /// The key as the user wrote it, for messages.
    pub(crate) written: String,
    /// The value.
    pub(crate) value: Raw,
    /// Where it stands.
    pub(crate) origin: Origin,
}

/// A value before its type is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Raw {
    /// A typed value.
    Toml(toml::Value),
    /// Text whose meaning depends on the key's type.
    Text(String),
    /// An integer that fits no TOML integer.
    HugeInteger,
    /// A whole table: fine as a section, wrong as a value.
    Table,
    /// Not Unicode.
    NotUnicode,
}

/// Reads a TOML file. Relative paths are resolved later, against [`Origin::File`].
pub(crate) fn file(path: &Path) -> Result<Vec<Setting>, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    file_text(path, &text)
}

/// The same for text that stands for the file's content.
pub(crate) fn file_text(path: &Path, text: &str) -> Result<Vec<Setting>, ConfigError> {
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    })?;
    let mut settings = Vec::new();
    collect(table.get_ref(), "", &FileContext { path: path.to_owned(), text }, &mut settings);
    // The parser's table is sorted by name; people read their file from top to bottom.
    settings.sort_by_key(|setting| match &setting.origin {
        Origin::File { line, .. } => *line,
        _ => 0,
    });
    Ok(settings)
}

struct FileContext<'a> {
    path: PathBuf,
    text: &'a str,
}

impl FileContext<'_> {
    fn origin(&self, span: &Range<usize>) -> Origin {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        Origin::File { path: self.path.clone(), line: before.matches('\n').count() + 1 }
    }
}

fn collect(table: &DeTable<'_>, prefix: &str, context: &FileContext<'_>, settings: &mut Vec<Setting>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        let origin = context.origin(&key.span());
        let raw = match value.get_ref() {
            // The keys inside speak for themselves, unless there are none or a single value was wanted here.
            DeValue::Table(inner) if !inner.is_empty() && !is_known(&path) => {
                collect(inner, &path, context, settings);
                continue;
            }
            DeValue::Table(_) => Raw::Table,
            other => to_value(other).map_or(Raw::HugeInteger, Raw::Toml),
        };
        settings.push(Setting { written: path.clone(), path, value: raw, origin });
    }
}

/// `None` if an integer or float inside is out of range.
fn to_value(value: &DeValue<'_>) -> Option<toml::Value> {
    Some(match value {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        DeValue::Integer(integer) => toml::Value::Integer(i64::from_str_radix(integer.as_str(), integer.radix()).ok()?),
        DeValue::Float(float) => toml::Value::Float(float.as_str().parse().ok()?),
        DeValue::Boolean(yes) => toml::Value::Boolean(*yes),
        DeValue::Datetime(time) => toml::Value::Datetime(*time),
        DeValue::Array(items) => {
            toml::Value::Array(items.iter().map(|item| to_value(item.get_ref())).collect::<Option<_>>()?)
        }
        DeValue::Table(table) => toml::Value::Table(
            table
                .iter()
                .map(|(key, item)| Some((key.get_ref().to_string(), to_value(item.get_ref())?)))
                .collect::<Option<_>>()?,
        ),
    })
}

/// Picks the settings out of the environment.
pub(crate) fn environment(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<Setting> {
    let mut settings: Vec<Setting> = variables
        .into_iter()
        .filter_map(|(name, value)| {
            let name = name.to_str()?.to_owned();
            if ENV_OTHERS.contains(&name.as_str()) || name.starts_with(ENV_TEST_PREFIX) || value.is_empty() {
                return None;
            }
            let path = if name == ENV_LOG {
                "log.level".to_owned()
            } else {
                name.strip_prefix(ENV_PREFIX)?.to_lowercase().replace(ENV_SEPARATOR, ".")
            };
            let value = value.into_string().map_or(Raw::NotUnicode, Raw::Text);
            Some(Setting { path, value, origin: Origin::Env { variable: name.clone() }, written: name })
        })
        .collect();
    // The environment has no order; messages should not change from run to run.
    settings.sort_by(|a, b| (a.written != ENV_LOG, &a.written).cmp(&(b.written != ENV_LOG, &b.written)));
    settings
}

/// The environment variable of a key.
pub(crate) fn variable_of(path: &str) -> String {
    format!("{ENV_PREFIX}{}", path.replace('.', ENV_SEPARATOR).to_uppercase())
}

/// The readings of a text value, likeliest first: as a string, as any TOML value, as a list separated by commas.
pub(crate) fn readings(text: &str) -> Vec<toml::Value> {
    let mut readings = vec![toml::Value::String(text.to_owned())];
    if let Ok(value) = DeValue::parse(text.trim())
        && let Some(value) = to_value(value.get_ref())
    {
        readings.push(value);
    }
    readings
        .push(toml::Value::Array(text.split(',').map(|item| toml::Value::String(item.trim().to_owned())).collect()));
    readings
}
