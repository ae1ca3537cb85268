//! Which consensus client was heard from last.

use crate::{connection::Connection, metrics};
use duskevm_engine_api::capabilities::ClientVersion;
use parking_lot::Mutex;
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// Characters of a name that are kept.
const MAX_NAME: usize = 64;

/// The last call of an `engine_` method. Outlives the instances of the actor.
#[derive(Debug, Clone, Default)]
pub struct Heard(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    last: Option<Last>,
    /// How the client at this address calls itself by `engine_getClientVersionV1`.
    named: Option<(Option<IpAddr>, String)>,
}

#[derive(Debug)]
struct Last {
    at: Instant,
    method: &'static str,
    address: Option<IpAddr>,
    agent: Option<Arc<str>>,
}

/// A call as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeardCall {
    /// How long ago it was.
    pub ago: Duration,
    /// What was called.
    pub method: &'static str,
    /// Who called: the name that the client gave itself, else what its HTTP library says, and its address.
    pub client: String,
}

impl Heard {
    /// A call came.
    pub(crate) fn note(&self, method: &'static str, connection: Option<&Connection>) {
        let (address, agent) = connection.map_or((None, None), Connection::caller);
        metrics::engine_heard();
        self.0.lock().last = Some(Last { at: Instant::now(), method, address, agent });
    }

    /// The client that was heard from last says who it is.
    pub(crate) fn named(&self, client: &ClientVersion) {
        let mut state = self.0.lock();
        let address = state.last.as_ref().and_then(|last| last.address);
        state.named = Some((address, plain(&format!("{} {}", client.name, client.version))));
    }

    /// The last call; `None` before the first one.
    pub fn last(&self) -> Option<HeardCall> {
        let state = self.0.lock();
        let last = state.last.as_ref()?;
        let named = state.named.as_ref().filter(|(address, _)| *address == last.address).map(|(_, name)| name.as_str());
        let who = named.or(last.agent.as_deref()).unwrap_or("unnamed");
        let client = last.address.map_or_else(|| who.to_owned(), |address| format!("{who} at {address}"));
        Some(HeardCall { ago: last.at.elapsed(), method: last.method, client })
    }
}

/// A name that came from outside, for a line of text.
pub(crate) fn plain(name: &str) -> String {
    name.chars().take(MAX_NAME).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_call_is_told_with_the_name_that_the_client_gave_itself() {
        let heard = Heard::default();
        assert_eq!(heard.last(), None);
        heard.note("engine_exchangeCapabilities", None);
        let said = |method: &str, client: &str| {
            let last = heard.last().unwrap();
            assert_eq!((last.method, last.client.as_str()), (method, client));
        };
        said("engine_exchangeCapabilities", "unnamed");
        let version = ClientVersion {
            code: "KN".into(),
            name: format!("kona\n{}", "x".repeat(200)),
            version: "1.0".into(),
            commit: String::new(),
        };
        heard.named(&version);
        heard.note("engine_newPayloadV4", None);
        said("engine_newPayloadV4", &format!("kona {}", "x".repeat(MAX_NAME - 5)));
    }
}
