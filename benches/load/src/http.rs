//! One keep-alive HTTP connection.

use anyhow::{Context as _, Result, bail};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header::{CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};

/// Largest answer: a block of a hundred thousand transaction hashes fits several times.
const MAX_ANSWER: usize = 256 * 1024 * 1024;

/// Where a node listens.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    authority: String,
    host: HeaderValue,
    path: Uri,
    /// How long one request may take.
    pub(crate) timeout: Duration,
}

impl Endpoint {
    /// Reads `http://host[:port][/path]`.
    pub(crate) fn parse(url: &str, timeout: Duration) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is not a URL"))?;
        if uri.scheme_str() != Some("http") {
            bail!("{url}: only http:// is supported; put a proxy before anything else");
        }
        let authority = uri.authority().with_context(|| format!("{url} names no host"))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            authority: format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)),
            host: HeaderValue::from_str(authority.as_str()).with_context(|| format!("{url} has an odd host"))?,
            path: path.parse().with_context(|| format!("{url} has an odd path"))?,
            timeout,
        })
    }
}

/// A connection with at most one request on its way.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    endpoint: Endpoint,
}

impl Connection {
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Self> {
        let work = async {
            let stream = TcpStream::connect(&endpoint.authority).await?;
            // Small requests must not wait for the answer to the one before.
            stream.set_nodelay(true)?;
            anyhow::Ok(handshake(TokioIo::new(stream)).await?)
        };
        let (sender, driver) = timeout(endpoint.timeout, work)
            .await
            .with_context(|| format!("{}: no connection within {:?}", endpoint.authority, endpoint.timeout))?
            .with_context(|| format!("cannot connect to {}", endpoint.authority))?;
        // Its end shows as an error of the next request.
        tokio::spawn(async move { drop(driver.await) });
        Ok(Self { sender, endpoint: endpoint.clone() })
    }

    /// Sends a body and reads the whole answer. After an error the connection is of no more use.
    pub(crate) async fn post(&mut self, body: Bytes) -> Result<Bytes> {
        let request = Request::post(self.endpoint.path.clone())
            .header(HOST, self.endpoint.host.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(body))
            .context("cannot build a request")?;
        let work = async {
            self.sender.ready().await?;
            let answer = self.sender.send_request(request).await?;
            let status = answer.status();
            let bytes =
                Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(anyhow::Error::from_boxed)?;
            let bytes = bytes.to_bytes();
            if status != StatusCode::OK {
                let text = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
                bail!("HTTP {status}: {text}");
            }
            Ok(bytes)
        };
        timeout(self.endpoint.timeout, work)
            .await
            .with_context(|| format!("no answer within {:?}", self.endpoint.timeout))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_urls() {
        let endpoint = Endpoint::parse("http://localhost:9545/a?b", Duration::from_secs(1)).unwrap();
        assert_eq!((endpoint.authority.as_str(), endpoint.path.to_string().as_str()), ("localhost:9545", "/a?b"));
        assert_eq!(Endpoint::parse("http://node", Duration::ZERO).unwrap().authority, "node:80");
        for wrong in ["https://node", "node:1", "", "ws://node"] {
            assert!(Endpoint::parse(wrong, Duration::ZERO).is_err(), "{wrong}");
        }
    }
}
