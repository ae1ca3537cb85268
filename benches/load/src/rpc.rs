//! JSON-RPC over one connection, and a client that opens a new one when the old one breaks.

use crate::http::{Connection, Endpoint};
use anyhow::{Context as _, Result, bail};
use hyper::body::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// An error that the node answered with.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ErrorObject {
    pub(crate) code: i64,
    pub(crate) message: String,
}

impl std::fmt::Display for ErrorObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

#[derive(Debug, Deserialize)]
struct Answer<T> {
    id: Option<u64>,
    #[serde(default = "none")]
    result: Option<T>,
    error: Option<ErrorObject>,
}

const fn none<T>() -> Option<T> {
    None
}

/// A batch is answered by one answer for each call, or by one error for all.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answers<T> {
    Each(Vec<Answer<T>>),
    One(Answer<T>),
}

/// What one call of a batch came to; `None` where the node answered `null` or nothing.
pub(crate) type Outcome<T> = Result<Option<T>, ErrorObject>;

/// Reads the answers to a batch whose ids are 0, 1, 2 and so on.
pub(crate) fn read_batch<T: DeserializeOwned>(bytes: &[u8], calls: usize) -> Result<Vec<Outcome<T>>> {
    let answers = serde_json::from_slice(bytes)
        .with_context(|| format!("not an answer: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)])))?;
    match answers {
        Answers::One(Answer { error: Some(error), .. }) => Ok((0..calls).map(|_| Err(error.clone())).collect()),
        Answers::One(_) => bail!("a batch was answered by a single result"),
        Answers::Each(answers) => {
            let mut outcomes: Vec<Outcome<T>> = (0..calls).map(|_| Ok(None)).collect();
            for Answer { id, result, error } in answers {
                let slot = id.and_then(|id| outcomes.get_mut(usize::try_from(id).ok()?));
                *slot.context("an answer to something that was not asked")? = error.map_or(Ok(result), Err);
            }
            Ok(outcomes)
        }
    }
}

/// Reads the answer to a single call.
pub(crate) fn read_one<T: DeserializeOwned>(bytes: &[u8]) -> Result<Outcome<T>> {
    let Answer { result, error, .. } = serde_json::from_slice(bytes)
        .with_context(|| format!("not an answer: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)])))?;
    Ok(error.map_or(Ok(result), Err))
}

/// For everything but the load itself.
#[derive(Debug)]
pub(crate) struct Client {
    endpoint: Endpoint,
    connection: Option<Connection>,
    patience: Duration,
}

impl Client {
    /// `patience`: how long the node may be away before a call fails.
    pub(crate) const fn new(endpoint: Endpoint, patience: Duration) -> Self {
        Self { endpoint, connection: None, patience }
    }

    async fn attempt(&mut self, body: Bytes) -> Result<Bytes> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.endpoint).await?,
        };
        let answer = connection.post(body).await?;
        self.connection = Some(connection);
        Ok(answer)
    }

    /// All calls here read or may be repeated, so that a broken connection is no reason to fail at once.
    async fn post(&mut self, body: Bytes) -> Result<Bytes> {
        let begin = Instant::now();
        let mut pause = Duration::from_millis(10);
        loop {
            match self.attempt(body.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) if begin.elapsed() >= self.patience => return Err(error),
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    /// One call that must have a result.
    pub(crate) async fn call<T: DeserializeOwned>(&mut self, method: &str, params: Value) -> Result<T> {
        let body = json!({ "jsonrpc": "2.0", "id": 0, "method": method, "params": params }).to_string();
        match read_one(&self.post(body.into()).await?)? {
            Ok(Some(result)) => Ok(result),
            Ok(None) => bail!("{method}: the node answered null"),
            Err(error) => bail!("{method}: {error}"),
        }
    }

    /// Several calls of one method in one request.
    pub(crate) async fn batch<T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: &[Value],
    ) -> Result<Vec<Outcome<T>>> {
        let calls: Vec<Value> = (0u64..)
            .zip(params)
            .map(|(id, params)| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
            .collect();
        read_batch(&self.post(Value::from(calls).to_string().into()).await?, params.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_come_in_any_order() {
        let text = br#"[{"id":1,"error":{"code":-1,"message":"no"}},{"id":0,"result":"yes","jsonrpc":"2.0"}]"#;
        let outcomes = read_batch::<String>(text, 3).unwrap();
        assert_eq!(outcomes[0].as_ref().unwrap().as_deref(), Some("yes"));
        assert_eq!(outcomes[1].as_ref().unwrap_err().message, "no");
        assert!(outcomes[2].as_ref().unwrap().is_none(), "not answered");
    }

    #[test]
    fn a_refused_batch_is_refused_for_each() {
        let text = br#"{"id":null,"error":{"code":-32600,"message":"too large"},"jsonrpc":"2.0"}"#;
        let outcomes = read_batch::<String>(text, 2).unwrap();
        assert!(outcomes.iter().all(|o| o.as_ref().unwrap_err().code == -32600));
    }

    #[test]
    fn answers_that_fit_nothing_are_errors() {
        assert!(read_batch::<String>(br#"[{"id":9,"result":"x"}]"#, 2).is_err());
        assert!(read_batch::<String>(b"<html>", 2).is_err());
        assert!(read_one::<String>(b"").is_err());
        assert!(read_one::<String>(br#"{"id":0,"result":null}"#).unwrap().unwrap().is_none());
    }
}
