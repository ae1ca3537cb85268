//! Log lines on standard error: readable by default, one JSON object per line on request.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal as _;

use tracing::error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};

use crate::config::{Log, LogFormat};

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `log.level` is not a filter.
    #[error(
        "`log.level` is \"{level}\", which is not a level ({source}): write for example info, or info,duskevm_executor=debug"
    )]
    Level {
        /// The setting.
        level: String,
        /// What the parser says.
        source: ParseError,
    },
    /// Something else has installed a subscriber before.
    #[error("logging is already set up in this process: {0}")]
    Installed(Box<dyn std::error::Error + Send + Sync>),
}

/// Installs the subscriber for the whole process, and logs panics through it. Call it once, before any thread is started.
///
/// # Errors
/// [`LoggingError`] says what is wrong.
pub fn init(log: &Log) -> Result<(), LoggingError> {
    let filter = filter(&log.level).map_err(|source| LoggingError::Level { level: log.level.clone(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        // Escape sequences belong on a terminal only; `NO_COLOR` is the usual way to refuse them there as well.
        LogFormat::Human => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            builder.compact().with_ansi(colour).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
    }
    .map_err(LoggingError::Installed)?;
    log_panics();
    Ok(())
}

/// The filter for a setting, which may say otherwise about the library for topics: it warns of every message that another node
/// has published too, and several nodes find the same quorum.
fn filter(level: &str) -> Result<EnvFilter, ParseError> {
    let filter = EnvFilter::builder().parse(level)?;
    if level.contains("libp2p") || filter.max_level_hint() == Some(LevelFilter::OFF) {
        return Ok(filter);
    }
    EnvFilter::builder().parse(format!("libp2p_gossipsub=error,{level}"))
}

/// Makes a panic an event like any other. An actor that panics is replaced and the node goes on; the text that Rust prints by
/// default would tear a stream of JSON lines apart.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let message = panic.payload_as_str().unwrap_or("no message");
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        // Empty unless `RUST_BACKTRACE` asks for it.
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            error!(thread = name, location, %backtrace, "panicked: {message}");
        } else {
            error!(thread = name, location, "panicked: {message}");
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_quiet_unless_asked_for() {
        let text = |level| filter(level).unwrap().to_string();
        assert!(text("info").contains("libp2p_gossipsub=error") && text("info").contains("info"));
        assert!(text("debug,duskevm_rpc=warn").contains("libp2p_gossipsub=error"));
        assert_eq!(text("off"), "off");
        assert_eq!(text("libp2p_gossipsub=warn"), "libp2p_gossipsub=warn");
        assert!(filter("no=such=level").is_err());
    }
}
