//! How a section of settings is declared: once, with its documentation and default, from which everything else follows.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// One setting as the outside sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Name inside its section.
    pub name: &'static str,
    /// What it means, one element per line.
    pub doc: &'static [&'static str],
}

/// One table of the configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionSpec {
    /// Dotted path of the table, such as `rpc` or `l2.forks`.
    pub path: &'static str,
    /// What it is about, one element per line.
    pub doc: &'static [&'static str],
    /// Its settings in the order in which they are shown.
    pub keys: &'static [Key],
}

/// Why a value was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SetError {
    /// The section has no such key.
    UnknownKey,
    /// The value does not fit the key's type; says what was expected.
    WrongType(String),
}

/// A group of settings that [`section!`] made.
pub(crate) trait Section {
    /// What the section is called and holds.
    const SPEC: SectionSpec;
    /// Sets one key from a TOML value.
    fn set(&mut self, key: &str, value: toml::Value) -> Result<(), SetError>;
    /// The value of one key; `None` if there is no such key or it is not set.
    fn get(&self, key: &str) -> Option<toml::Value>;
}

/// Reads one value; the error says only what was wrong with it, the caller knows which key it was.
pub(crate) fn read<T: DeserializeOwned>(value: toml::Value) -> Result<T, SetError> {
    T::deserialize(value).map_err(|error: toml::de::Error| SetError::WrongType(error.message().to_owned()))
}

/// Writes one value; an `Option` that holds nothing has no TOML form and becomes `None`.
pub(crate) fn write<T: Serialize>(value: &T) -> Option<toml::Value> {
    toml::Value::try_from(value).ok()
}

/// Declares a section: the struct, its defaults, and access to every key by name.
///
/// A setting is written down in exactly one place, so that the file format, the environment, `config show` and the
/// documentation cannot drift apart.
macro_rules! section {
    (
        $(#[doc = $section_doc:literal])+
        $name:ident = $path:literal {
            $( $(#[doc = $doc:literal])+ $field:ident : $type:ty = $default:expr, )+
        }
    ) => {
        $(#[doc = $section_doc])+
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $type, )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        impl $crate::config::schema::Section for $name {
            const SPEC: $crate::config::schema::SectionSpec = $crate::config::schema::SectionSpec {
                path: $path,
                doc: &[$($section_doc),+],
                keys: &[$( $crate::config::schema::Key { name: stringify!($field), doc: &[$($doc),+] }, )+],
            };

            fn set(&mut self, key: &str, value: toml::Value) -> Result<(), $crate::config::schema::SetError> {
                match key {
                    $( stringify!($field) => {
                        self.$field = $crate::config::schema::read::<$type>(value)?;
                        Ok(())
                    } )+
                    _ => Err($crate::config::schema::SetError::UnknownKey),
                }
            }

            fn get(&self, key: &str) -> Option<toml::Value> {
                match key {
                    $( stringify!($field) => $crate::config::schema::write(&self.$field), )+
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use section;
