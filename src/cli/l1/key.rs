//! Whose key signs.

use duskevm_dusk_l1::keys::Signer;

use super::args::KeyArgs;
use crate::cli::args::Target;
use crate::cli::{CliError, Failure};
use crate::config::Loader;
use crate::network::{Password, local_provisioner, read_key_file};

/// The key that the arguments mean.
pub(super) fn load(args: &KeyArgs, target: &Target) -> Result<Signer, CliError> {
    if let Some(number) = args.dev {
        return Ok(local_provisioner(number));
    }
    let (file, password_file) = match &args.key {
        Some(file) => (file.clone(), args.password_file.clone()),
        None => {
            let loaded = Loader::new().file(target.config.as_deref()).environment(std::env::vars_os()).load()?;
            let keys = loaded.config.keys;
            let Some(file) = keys.consensus else {
                return Err(CliError::Usage(
                    "whose key? Name a consensus key file with --key FILE, or a configuration that has keys.consensus with --config FILE; --dev is the public key of a local network"
                        .to_owned(),
                ));
            };
            (file, args.password_file.clone().or(keys.password_file))
        }
    };
    let what = format!("the key in {}", file.display());
    let password = Password::find(&what, "--password-file", password_file.as_deref()).map_err(Failure)?;
    Ok(read_key_file(&file, "--key or keys.consensus", &password).map_err(Failure)?)
}
