//! `duskevm config show`.

use super::args::{ConfigArgs, ConfigCommand};
use super::{CliError, Failure, OK, print};
use crate::config::{Loader, Show};

pub(crate) fn run(args: ConfigArgs) -> Result<u8, CliError> {
    match args.command {
        ConfigCommand::Show { config, dev, json, docs, secrets } => {
            let loader = if dev { Loader::dev() } else { Loader::new() };
            let effective = loader.file(config.as_deref()).environment(std::env::vars_os()).load()?;
            let show = Show { docs, secrets };
            if json {
                let text = serde_json::to_string_pretty(&effective.to_json(show)).map_err(Failure)?;
                print(&(text + "\n"))?;
            } else {
                print(&effective.to_toml(show))?;
            }
            Ok(OK)
        }
    }
}
