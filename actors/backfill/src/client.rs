//! The source's JSON-RPC.

use crate::{error::BackfillError, metrics, state::Settings};
use duskevm_engine_api::backfill::{
    Answer, Ask, Found, Trouble,
    source::{self, SourceFault},
};
use jsonrpsee::{
    core::{
        client::{ClientT as _, Error as ClientError},
        params::{ArrayParams, BatchRequestBuilder},
    },
    http_client::{HttpClient, HttpClientBuilder},
    rpc_params,
};
use serde_json::value::RawValue;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// Bytes of one request: hashes of a batch of blocks, with room.
const MAX_REQUEST: u32 = 256 * 1024;
/// Characters of what the source says that are told.
const MAX_WORDS: usize = 200;

const BY_HASH: &str = "eth_getBlockByHash";
const BY_NUMBER: &str = "eth_getBlockByNumber";

/// A client. Clones share its connections.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    client: HttpClient,
}

impl Source {
    /// # Errors
    /// [`BackfillError::Source`].
    pub(crate) fn new(settings: &Settings) -> Result<Self, BackfillError> {
        let client = HttpClientBuilder::default()
            .request_timeout(settings.timeout)
            .connect_timeout(settings.timeout)
            .max_request_size(MAX_REQUEST)
            .max_response_size(settings.max_answer)
            .build(&settings.source)
            .map_err(|error| BackfillError::Source(error.to_string()))?;
        Ok(Self { client })
    }

    /// Asks, and reads the answer on a thread for such work.
    pub(crate) async fn ask(&self, ask: Ask) -> Answer {
        let what = match &ask {
            Ask::Header(_) => "header",
            Ask::Headers { .. } => "headers",
            Ask::Blocks(_) => "blocks",
        };
        let answer = self.answer(ask).await;
        let outcome = match &answer {
            Ok(_) => "answered",
            Err(Trouble::NoAnswer(_)) => "no_answer",
            Err(Trouble::Wrong(_)) => "wrong",
        };
        metrics::asked(what, outcome);
        answer
    }

    async fn answer(&self, ask: Ask) -> Answer {
        match ask {
            Ask::Header(hash) => {
                let found = self.client.request::<Box<RawValue>, _>(BY_HASH, rpc_params![hash, false]).await;
                let found = found.map_err(|error| trouble(&error))?;
                read(move || Ok(Found::Headers(vec![source::header(found.get())?]))).await
            }
            Ask::Headers { from, count } => {
                let numbers = (0..count as u64).filter_map(|below| from.checked_sub(below));
                let calls = numbers.map(|number| (BY_NUMBER, rpc_params![format!("{number:#x}"), false]));
                let found = self.batch(calls).await?;
                read(move || {
                    let headers = found.iter().map(|found| source::header(found.get()));
                    Ok(Found::Headers(headers.collect::<Result<_, _>>()?))
                })
                .await
            }
            Ask::Blocks(hashes) => {
                let found = self.batch(hashes.iter().map(|hash| (BY_HASH, rpc_params![hash, true]))).await?;
                read(move || {
                    let blocks = found.iter().zip(&hashes).map(|(found, hash)| {
                        let block = source::block(found.get(), *hash)?;
                        Ok(block.map(|(block, bytes)| (Arc::new(block), bytes)))
                    });
                    Ok(Found::Blocks(blocks.collect::<Result<_, SourceFault>>()?))
                })
                .await
            }
        }
    }

    /// The answers up to the first call that failed: some servers break off when an answer becomes too long.
    async fn batch(
        &self,
        calls: impl Iterator<Item = (&'static str, ArrayParams)>,
    ) -> Result<Vec<Box<RawValue>>, Trouble> {
        let mut batch = BatchRequestBuilder::new();
        for (method, params) in calls {
            batch.insert(method, params).map_err(|error| Trouble::NoAnswer(error.to_string()))?;
        }
        let answers = self.client.batch_request::<Box<RawValue>>(batch).await.map_err(|error| trouble(&error))?;
        let mut found = Vec::with_capacity(answers.len());
        for answer in answers {
            match answer {
                Ok(answer) => found.push(answer),
                Err(error) if found.is_empty() => return Err(Trouble::NoAnswer(plain(error.message()))),
                Err(_) => break,
            }
        }
        Ok(found)
    }
}

async fn read(work: impl FnOnce() -> Result<Found, SourceFault> + Send + 'static) -> Answer {
    match spawn_blocking(work).await {
        Ok(read) => read.map_err(|fault| Trouble::Wrong(plain(&fault.to_string()))),
        // It panicked, or the runtime is ending.
        Err(died) => Err(Trouble::NoAnswer(format!("the thread that reads its answer died: {died}"))),
    }
}

fn trouble(error: &ClientError) -> Trouble {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    Trouble::NoAnswer(plain(&text))
}

/// Words from outside, for a line of text.
fn plain(words: &str) -> String {
    words.chars().take(MAX_WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::Header;
    use alloy_primitives::B256;
    use jsonrpsee::{
        RpcModule,
        server::{ServerBuilder, ServerHandle},
        types::{ErrorObjectOwned, Params},
    };
    use serde_json::{Value, json};

    fn header(number: u64) -> Header {
        Header { number, gas_limit: 7, ..Header::default() }
    }

    fn refused(why: &str) -> ErrorObjectOwned {
        ErrorObjectOwned::owned(-32003, why, None::<()>)
    }

    /// A source that has no block above 9 and none by hash, breaks off at block 3, and tells of block 1 what is no block.
    async fn served() -> (Settings, ServerHandle) {
        let by_number = |params: Params<'_>, _: &(), _: &_| {
            let (number, _): (String, bool) = params.parse()?;
            match u64::from_str_radix(number.trim_start_matches("0x"), 16).map_err(|_| refused("no number"))? {
                1 => Ok(json!({ "number": "0x1" })),
                3 => Err(refused("the answer is too long\n")),
                number @ 0..=9 => Ok(serde_json::to_value(header(number)).map_err(|_| refused("no JSON"))?),
                _ => Ok(Value::Null),
            }
        };
        let mut module = RpcModule::new(());
        module.register_method::<Result<Value, ErrorObjectOwned>, _>(BY_NUMBER, by_number).unwrap();
        module.register_method(BY_HASH, |_, (), _| Value::Null).unwrap();
        let server = ServerBuilder::default().build("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        (Settings::new(url), server.start(module))
    }

    async fn source() -> (Source, ServerHandle) {
        let (settings, server) = served().await;
        (Source::new(&settings).unwrap(), server)
    }

    #[tokio::test]
    async fn answers_come_in_the_order_of_the_question_and_up_to_the_first_failure() {
        let (source, _server) = source().await;
        let some = |numbers: &[u64]| Ok(Found::Headers(numbers.iter().map(|n| Some(header(*n))).collect()));
        assert_eq!(source.ask(Ask::Headers { from: 9, count: 3 }).await, some(&[9, 8, 7]));
        assert_eq!(source.ask(Ask::Headers { from: 5, count: 5 }).await, some(&[5, 4]));
        // Not below zero.
        assert_eq!(source.ask(Ask::Headers { from: 0, count: 5 }).await, some(&[0]));
        let failed = source.ask(Ask::Headers { from: 3, count: 2 }).await;
        assert_eq!(failed, Err(Trouble::NoAnswer("the answer is too long ".into())));
    }

    #[tokio::test]
    async fn a_block_that_is_not_there_is_told_from_an_answer_that_is_none() {
        let (source, server) = source().await;
        assert_eq!(source.ask(Ask::Header(B256::ZERO)).await, Ok(Found::Headers(vec![None])));
        assert_eq!(source.ask(Ask::Blocks(vec![B256::ZERO; 2])).await, Ok(Found::Blocks(vec![None, None])));
        assert_eq!(source.ask(Ask::Headers { from: 10, count: 1 }).await, Ok(Found::Headers(vec![None])));
        let wrong = source.ask(Ask::Headers { from: 2, count: 2 }).await;
        assert!(matches!(&wrong, Err(Trouble::Wrong(why)) if why.contains("JSON of an L2 block")), "{wrong:?}");
        server.stop().unwrap();
        server.stopped().await;
        assert!(matches!(source.ask(Ask::Header(B256::ZERO)).await, Err(Trouble::NoAnswer(_))));
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_none() {
        let (settings, _server) = served().await;
        let long = Ask::Headers { from: 9, count: 5 };
        assert!(Source::new(&settings).unwrap().ask(long.clone()).await.is_ok());
        let short = Settings { max_answer: 1_000, ..settings };
        assert!(matches!(Source::new(&short).unwrap().ask(long).await, Err(Trouble::NoAnswer(_))));
    }
}
