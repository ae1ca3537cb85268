//! Talks to a running node through its admin JSON-RPC, and `duskevm actors`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jsonrpsee::core::ClientError;
use jsonrpsee::core::client::ClientT;
use jsonrpsee::core::params::ArrayParams;
use jsonrpsee::http_client::HttpClient;
use jsonrpsee::rpc_params;
use serde_json::Value;

use super::args::{ActorsArgs, ActorsCommand, Target};
use super::{CliError, Failure, OK, print, view};
use crate::config::Loader;

/// A node answers from memory; one that needs longer is in trouble, and the user should hear so.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The admin JSON-RPC of one node.
pub(crate) struct Admin {
    url: String,
    runtime: tokio::runtime::Runtime,
    client: HttpClient,
}

impl Admin {
    /// Finds the node that the arguments mean. Connects with the first call.
    pub(crate) fn new(target: &Target) -> Result<Self, CliError> {
        let url = match &target.admin {
            Some(url) => url.clone(),
            None => {
                let config =
                    Loader::new().file(target.config.as_deref()).environment(std::env::vars_os()).load()?.config;
                format!("http://{}", SocketAddr::new(reachable(config.admin.host), config.admin.port))
            }
        };
        let client = HttpClient::builder().request_timeout(TIMEOUT).build(&url).map_err(|error| {
            CliError::Usage(format!(
                "\"{url}\" is not the URL of an admin JSON-RPC ({error}): write for example http://127.0.0.1:9546"
            ))
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure)?;
        Ok(Self { url, runtime, client })
    }

    /// Calls one method.
    pub(crate) fn call(&self, method: &str, params: ArrayParams) -> Result<Value, CliError> {
        self.runtime.block_on(self.client.request(method, params)).map_err(|error| {
            CliError::Failed(match error {
                // The node's own words say what to do.
                ClientError::Call(object) => match object.data() {
                    Some(data) => anyhow::anyhow!("{} ({})", object.message(), data.get()),
                    None => anyhow::anyhow!("{}", object.message()),
                },
                ClientError::RequestTimeout => anyhow::anyhow!(
                    "the node at {} did not answer {method} within {} s: it may be hanging; its /readyz tells more",
                    self.url,
                    TIMEOUT.as_secs()
                ),
                ClientError::Transport(cause) => anyhow::anyhow!(
                    "no node answers at {} ({cause}): start one, or name the right one with --config FILE or --admin URL",
                    self.url
                ),
                other => anyhow::Error::new(other).context(format!("{} gave no usable answer to {method}", self.url)),
            })
        })
    }
}

/// A node that listens on every address is reached on loopback.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(host) if host.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(host) if host.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        host => host,
    }
}

/// `duskevm actors`.
pub(crate) fn actors(args: ActorsArgs) -> Result<u8, CliError> {
    let (target, method, params, done) = match &args.command {
        ActorsCommand::List { target } => {
            let actors = Admin::new(target)?.call("admin_actors", rpc_params![])?;
            print(&if target.json { view::json(&actors) } else { view::actors(&actors) })?;
            return Ok(OK);
        }
        ActorsCommand::Kill { name, target } => {
            (target, "admin_kill", rpc_params![name], format!("{name} was told to stop"))
        }
        ActorsCommand::Panic { name, target } => {
            (target, "admin_panic", rpc_params![name], format!("{name} was made to panic"))
        }
        ActorsCommand::Hang { name, time, target } => {
            let milliseconds =
                u64::try_from(time.as_millis()).map_err(|_| CliError::Usage("the time is too long".to_owned()))?;
            let params = rpc_params![name, milliseconds];
            (target, "admin_hang", params, format!("{name} hangs for {time:?}"))
        }
        ActorsCommand::Restart { name, target } => {
            (target, "admin_restart", rpc_params![name], format!("{name} is being replaced"))
        }
    };
    let answer = Admin::new(target)?.call(method, params)?;
    print(&if target.json { view::json(&answer) } else { done + "\n" })?;
    Ok(OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_means_all_is_reached_on_loopback() {
        for (host, reached) in [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.7", "10.0.0.7")] {
            assert_eq!(reachable(host.parse().unwrap()), reached.parse::<IpAddr>().unwrap());
        }
    }

    #[test]
    fn nobody_there_is_a_failure_that_says_what_to_do() {
        // Bound and dropped again: nobody listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let target = Target { admin: Some(format!("http://127.0.0.1:{port}")), ..Target::default() };
        let error = Admin::new(&target).unwrap().call("admin_actors", rpc_params![]).unwrap_err();
        assert_eq!(error.exit_code(), 1);
        assert!(error.to_string().contains("--admin URL"), "{error}");
    }

    #[test]
    fn a_wrong_url_is_wrong_usage() {
        for url in ["nonsense", "ftp://x", ""] {
            let target = Target { admin: Some(url.to_owned()), ..Target::default() };
            assert_eq!(Admin::new(&target).err().map(|error| error.exit_code()), Some(2), "{url}");
        }
    }
}
