//! The effective configuration for people and for programs.

use std::fmt::Write as _;

use serde_json::{Map, json};

use super::load::Effective;
use super::origin::Origin;
use super::{Config, is_secret};

/// What stands for a secret.
const HIDDEN: &str = "<hidden>";

/// How much to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Show {
    /// Print what every setting means above it.
    pub docs: bool,
    /// Print secrets instead of hiding them.
    pub secrets: bool,
}

impl Effective {
    /// The configuration as TOML that can be read again; behind every value, where it came from.
    pub fn to_toml(&self, show: Show) -> String {
        let mut text = String::new();
        for section in Config::SECTIONS {
            if !text.is_empty() {
                text.push('\n');
            }
            comment(&mut text, show, section.doc);
            let _ = writeln!(text, "[{}]", section.path);
            for key in section.keys {
                let path = format!("{}.{}", section.path, key.name);
                comment(&mut text, show, key.doc);
                let origin = self.origin(&path);
                match self.shown(section.path, key.name, show) {
                    Some(value) => {
                        let line = format!("{} = {value}", key.name);
                        let _ = writeln!(text, "{line:<40} # {origin}");
                    }
                    None => {
                        let line = format!("# {} is not set", key.name);
                        let _ = writeln!(text, "{line:<40} # {origin}");
                    }
                }
            }
        }
        text
    }

    /// The configuration as JSON: dotted path to `{"value", "origin"}`.
    pub fn to_json(&self, show: Show) -> serde_json::Value {
        let mut entries = Map::new();
        for section in Config::SECTIONS {
            for key in section.keys {
                let path = format!("{}.{}", section.path, key.name);
                let origin = self.origin(&path);
                let value = self.shown(section.path, key.name, show);
                entries.insert(path, json!({ "value": value, "origin": origin }));
            }
        }
        serde_json::Value::Object(entries)
    }

    /// Only what differs from the defaults, secrets included, as text for a file; without the sections and keys in `skip`.
    pub(crate) fn to_file(&self, skip: &[&str]) -> String {
        let mut text = String::new();
        for section in Config::SECTIONS.iter().filter(|section| !skip.contains(&section.path)) {
            let mut lines = String::new();
            for key in section.keys {
                let path = format!("{}.{}", section.path, key.name);
                if self.origin(&path) != Origin::Default
                    && !skip.contains(&path.as_str())
                    && let Some(value) = self.config.get(section.path, key.name)
                {
                    let _ = writeln!(lines, "{} = {value}", key.name);
                }
            }
            if !lines.is_empty() {
                let _ = write!(text, "\n[{}]\n{lines}", section.path);
            }
        }
        text
    }

    fn shown(&self, section: &str, key: &str, show: Show) -> Option<toml::Value> {
        let value = self.config.get(section, key)?;
        let hide =
            is_secret(section, key) && !show.secrets && self.origin(&format!("{section}.{key}")) != Origin::Default;
        Some(if hide { toml::Value::String(HIDDEN.to_owned()) } else { value })
    }
}

fn comment(text: &mut String, show: Show, lines: &[&str]) {
    if show.docs {
        for line in lines {
            let _ = writeln!(text, "#{line}");
        }
    }
}
