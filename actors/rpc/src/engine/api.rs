//! The methods of the Engine API's port.

use super::{Heard, driver::Driver};
use crate::{
    api::{self, Api, Backing, Desk, Registry, Surface},
    chain::{BlockRef, ReadError},
    error::RpcError,
    json::response_too_large,
    params::Args,
};
use alloy_primitives::{B256, U64};
use duskevm_engine_api::{
    ForkchoiceMethod, PayloadAnswer, PayloadId, PayloadMethod,
    bodies::{self, ExecutionPayloadBodyV1},
    capabilities::{CAPABILITIES, ClientVersion},
};
use jsonrpsee::core::RegisterMethodError;
use serde::Serialize;
use std::{ops::Deref, sync::Arc};

/// What the methods work with.
pub(crate) struct EngineApi {
    pub(crate) reads: Arc<Api>,
    pub(crate) driver: Driver,
    pub(crate) heard: Heard,
}

impl Deref for EngineApi {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.reads.desk
    }
}

impl Backing for EngineApi {
    const SERVER: &'static str = "engine-api";
}

/// The whole surface: `engine_`, and the reads of the public server as they are there.
///
/// # Errors
/// If two methods have the same name.
pub(crate) fn methods(api: Arc<EngineApi>) -> Result<Surface, RegisterMethodError> {
    let reads = api::methods(api.reads.clone())?;
    let mut registry = Registry::new(api);
    for method in PayloadMethod::ALL {
        engine(&mut registry, method.new_payload(), move |api, args| async move {
            api.driver.new_payload(args, method).await
        });
        engine(&mut registry, method.get_payload(), move |api, mut args| async move {
            let id: PayloadId = args.required()?;
            args.end()?;
            let built = api.driver.get_payload(id, method).await?;
            api.on(&api.reads.desk.reads, move |api, _| {
                Ok(PayloadAnswer::new(api.reads.chain.spec(), method, &built.block, built.value)?)
            })
            .await
        });
    }
    for method in ForkchoiceMethod::ALL {
        engine(&mut registry, method.name(), move |api, args| async move { api.driver.forkchoice(args, method).await });
    }
    engine(&mut registry, "engine_getPayloadBodiesByHashV1", |api, mut args| async move {
        let hashes: Vec<B256> = args.required()?;
        args.end()?;
        api.on(&api.reads.desk.reads, move |api, _| bodies_by_hash(&api.reads, &hashes)).await
    });
    engine(&mut registry, "engine_getPayloadBodiesByRangeV1", |api, mut args| async move {
        let start: U64 = args.required()?;
        let count: U64 = args.required()?;
        args.end()?;
        api.on(&api.reads.desk.reads, move |api, _| bodies_by_range(&api.reads, start.to(), count.to())).await
    });
    engine(&mut registry, "engine_exchangeCapabilities", |_, mut args| async move {
        let _theirs: Vec<String> = args.required()?;
        args.end()?;
        Ok(CAPABILITIES)
    });
    engine(&mut registry, "engine_getClientVersionV1", |api, mut args| async move {
        let theirs: ClientVersion = args.required()?;
        args.end()?;
        api.heard.named(&theirs);
        // No commit is known to a program that was built from a source archive.
        Ok([ClientVersion::ours(env!("CARGO_PKG_VERSION"), [0; 4])])
    });
    let mut surface = registry.finish()?;
    surface.methods.merge(reads.methods)?;
    surface.heavy.extend(reads.heavy);
    Ok(surface)
}

/// A method of the consensus client, whose calls are noted.
fn engine<T, F, Fut>(registry: &mut Registry<EngineApi>, name: &'static str, method: F)
where
    T: Serialize + Clone + 'static,
    F: Fn(Arc<EngineApi>, Args) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<T, RpcError>> + Send + 'static,
{
    registry.called(name, move |api, args, connection| {
        api.heard.note(name, connection.as_deref());
        method(api, args)
    });
}

/// Bodies for one answer.
#[derive(Default)]
struct Shelf {
    bytes: usize,
    failed: Option<RpcError>,
}

impl Shelf {
    /// The body of a block that was read. What comes after a failure is not read.
    fn take(
        &mut self,
        api: &Api,
        read: impl FnOnce() -> Result<Option<Arc<duskevm_evm::Block>>, ReadError>,
    ) -> Option<ExecutionPayloadBodyV1> {
        if self.failed.is_some() {
            return None;
        }
        match read() {
            Ok(block) => {
                let body = bodies::body(&*block?);
                // Two hex digits for each byte.
                self.bytes += body.transactions.iter().map(|tx| 2 * tx.len()).sum::<usize>();
                let most = api.limits.max_response_bytes as usize;
                if self.bytes > most {
                    self.failed = Some(response_too_large(most));
                    return None;
                }
                Some(body)
            }
            Err(ReadError::Pruned(_)) => None,
            Err(error) => {
                self.failed = Some(error.into());
                None
            }
        }
    }

    fn close<T>(self, answer: T) -> Result<T, RpcError> {
        self.failed.map_or(Ok(answer), Err)
    }
}

fn bodies_by_hash(api: &Api, hashes: &[B256]) -> Result<Vec<Option<ExecutionPayloadBodyV1>>, RpcError> {
    let mut shelf = Shelf::default();
    let found = bodies::by_hash(hashes, |hash| shelf.take(api, || api.chain.block(*hash)))?;
    shelf.close(found)
}

fn bodies_by_range(api: &Api, start: u64, count: u64) -> Result<Vec<Option<ExecutionPayloadBodyV1>>, RpcError> {
    let BlockRef { number: latest, .. } = api.chain.heads()?.latest;
    let mut shelf = Shelf::default();
    let found = bodies::by_range(start, count, latest, |number| {
        shelf.take(api, || match api.chain.canonical_hash(number)? {
            Some(hash) => api.chain.block(hash),
            None => Ok(None),
        })
    })?;
    shelf.close(found)
}
