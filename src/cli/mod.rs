//! The command line: what `duskevm` is told, and what it answers with.
//!
//! Exit codes: 0 for success, 1 for failure, 2 for wrong usage, which includes a wrong configuration. A node that its
//! supervisor gave up ends with the supervisor's own code (70 and above).

mod accounts;
mod admin;
mod args;
mod banner;
mod bridge;
mod config;
mod db;
mod dev;
mod genesis;
mod l1;
mod signals;
mod start;
mod status;
mod view;

pub use accounts::{AccountError, DevAccount, dev_accounts};
pub use args::{Cli, Command};
pub use db::DbReport;
pub use genesis::GenesisFiles;
pub use signals::Stop;
pub use start::{Endpoints, RunOptions};

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::config::ConfigError;

/// Success.
pub const OK: u8 = 0;
/// The command failed.
pub const FAILURE: u8 = 1;
/// The command line or the configuration is wrong.
pub const USAGE: u8 = 2;

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line or the configuration is wrong.
    #[error("{0}")]
    Usage(String),
    /// The same, from the configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Everything else.
    #[error("{}", chain(.0))]
    Failed(anyhow::Error),
}

/// An error with its causes in one line; many errors already name theirs.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

impl<E: Into<anyhow::Error>> From<Failure<E>> for CliError {
    fn from(failure: Failure<E>) -> Self {
        Self::Failed(failure.0.into())
    }
}

/// Marks an error as a failure of the command, in distinction to wrong usage.
#[derive(Debug)]
pub(crate) struct Failure<E>(pub(crate) E);

impl CliError {
    /// The exit code of the process.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) => USAGE,
            Self::Failed(_) => FAILURE,
        }
    }
}

/// Runs the program with the arguments and the environment of the process.
pub fn main() -> ExitCode {
    // Prints help, version and mistakes itself, and ends with 0 or 2.
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code.into(),
        Err(error) => {
            // Standard error may be closed; there is nowhere else to say it.
            let _ = writeln!(std::io::stderr(), "duskevm: {error}");
            error.exit_code().into()
        }
    }
}

fn run(command: Command) -> Result<u8, CliError> {
    match command {
        Command::Dev(args) => dev::run(*args),
        Command::Node(args) => start::node(args),
        Command::Genesis(args) => genesis::run(*args),
        Command::Status(args) => status::run(args),
        Command::Actors(args) => admin::actors(args),
        Command::L1(args) => l1::run(*args),
        Command::Bridge(args) => bridge::run(args),
        Command::Config(args) => config::run(args),
        Command::Db(args) => db::run(args),
    }
}

/// Writes to standard output. A reader that went away (`duskevm status | head`) is no failure.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure(error).into()),
        _ => Ok(()),
    }
}
