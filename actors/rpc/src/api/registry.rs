//! How a method comes to its thread: five kinds of registration.

use super::Api;
use crate::{
    config::Limits,
    connection::Connection,
    error::RpcError,
    json::{Json, to_json},
    params::Args,
    unsent::Unsent,
    workers::{Cancel, Workers},
};
use alloy_primitives::map::HashSet;
use jsonrpsee::{
    Methods, PendingSubscriptionSink, RpcModule, SubscriptionCloseResponse,
    core::RegisterMethodError,
    types::{ErrorObjectOwned, Params},
};
use serde::Serialize;
use std::{io, ops::Deref, sync::Arc};

/// The methods of a server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surface {
    /// Name of the server, under which its calls are counted.
    pub(crate) name: &'static str,
    /// All of them.
    pub(crate) methods: Methods,
    /// Those of which a batch runs only a few at the same time.
    pub(crate) heavy: HashSet<&'static str>,
}

/// What every server has for its methods, whatever they answer from.
pub(crate) struct Desk {
    pub(crate) limits: Limits,
    /// Namespaces that are served.
    pub(crate) namespaces: Vec<String>,
    /// For reads of blocks and state.
    pub(crate) reads: Workers,
    /// For calls and searches.
    pub(crate) heavy: Workers,
    /// Answers on their way to clients.
    pub(crate) unsent: Unsent,
}

impl Desk {
    /// Starts the threads, under these names.
    ///
    /// # Errors
    /// If the system gives none.
    pub(crate) fn start(
        [read, heavy]: [&'static str; 2],
        limits: &Limits,
        namespaces: Vec<String>,
    ) -> io::Result<Self> {
        Ok(Self {
            reads: Workers::start(read, limits.read_workers, limits.read_queue)?,
            heavy: Workers::start(heavy, limits.heavy_workers, limits.heavy_queue)?,
            unsent: Unsent::new(limits.max_unsent_bytes),
            limits: limits.clone(),
            namespaces,
        })
    }
}

/// What the methods of a server work with.
pub(crate) trait Backing: Deref<Target = Desk> + Send + Sync + Sized + 'static {
    /// Name of the server, under which its calls are counted.
    const SERVER: &'static str;

    /// Runs a job on worker threads and writes its result to JSON there.
    ///
    /// # Errors
    /// Those of the job; if the result is too large; if too many jobs wait already.
    fn on<T, F>(self: &Arc<Self>, workers: &Workers, job: F) -> impl Future<Output = Result<Json, RpcError>> + Send
    where
        T: Serialize,
        F: FnOnce(&Self, &Cancel) -> Result<T, RpcError> + Send + 'static,
    {
        let api = self.clone();
        let max = self.limits.max_response_bytes as usize;
        let unsent = self.unsent.of_caller();
        workers.run(move |cancel| to_json(&job(&api, cancel)?, max, &unsent))
    }
}

/// Collects methods. The first name that is taken twice is the error at the end.
pub(crate) struct Registry<A = Api> {
    api: Arc<A>,
    module: RpcModule<A>,
    heavy: HashSet<&'static str>,
    error: Option<RegisterMethodError>,
}

impl<A: Backing> Registry<A> {
    pub(crate) fn new(api: Arc<A>) -> Self {
        Self { module: RpcModule::from_arc(api.clone()), api, heavy: HashSet::default(), error: None }
    }

    /// # Errors
    /// If two methods have the same name.
    pub(crate) fn finish(self) -> Result<Surface, RegisterMethodError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(Surface { name: A::SERVER, methods: self.module.into(), heavy: self.heavy }),
        }
    }

    /// Is the namespace of this method served?
    pub(crate) fn serves(&self, name: &str) -> bool {
        let namespace = name.split_once('_').map_or(name, |(namespace, _)| namespace);
        self.api.namespaces.iter().any(|served| served == namespace)
    }

    /// What a client listens to until it has enough.
    pub(crate) fn subscription<F, Fut>(&mut self, subscribe: F)
    where
        F: Fn(Params<'static>, PendingSubscriptionSink, Arc<A>, Option<Arc<Connection>>) -> Fut
            + Clone
            + Send
            + Sync
            + 'static,
        Fut: Future<Output = SubscriptionCloseResponse> + Send + 'static,
    {
        if !self.serves("eth_subscribe") {
            return;
        }
        let outcome = self
            .module
            .register_subscription(
                "eth_subscribe",
                "eth_subscription",
                "eth_unsubscribe",
                move |params, pending, api, extensions| {
                    subscribe(params, pending, api, extensions.get::<Arc<Connection>>().cloned())
                },
            )
            .map(drop);
        self.note(outcome);
    }

    /// Keeps the first error.
    pub(crate) fn note<T>(&mut self, outcome: Result<T, RegisterMethodError>) {
        if let Err(error) = outcome {
            self.error.get_or_insert(error);
        }
    }

    /// Answers at once, on a thread that serves sockets: only for what neither computes nor reads the disk.
    pub(crate) fn inline<T, F>(&mut self, name: &'static str, method: F)
    where
        T: Serialize + Clone + 'static,
        F: Fn(&A, Args) -> Result<T, RpcError> + Send + Sync + 'static,
    {
        if !self.serves(name) {
            return;
        }
        let outcome = self
            .module
            .register_method(name, move |params, api, _| -> Result<T, ErrorObjectOwned> {
                Ok(method(api, Args::new(&params)?)?)
            })
            .map(drop);
        self.note(outcome);
    }

    /// Awaits others, and computes nothing itself.
    pub(crate) fn future<T, F, Fut>(&mut self, name: &'static str, method: F)
    where
        T: Serialize + Clone + 'static,
        F: Fn(Arc<A>, Args) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<T, RpcError>> + Send + 'static,
    {
        if !self.serves(name) {
            return;
        }
        let outcome = self
            .module
            .register_async_method(name, move |params, api, _| {
                let started = Args::new(&params).map(|args| method(api, args));
                async move { Ok::<T, ErrorObjectOwned>(started?.await?) }
            })
            .map(drop);
        self.note(outcome);
    }

    /// As [`Self::future`], for methods that want to know who calls.
    pub(crate) fn called<T, F, Fut>(&mut self, name: &'static str, method: F)
    where
        T: Serialize + Clone + 'static,
        F: Fn(Arc<A>, Args, Option<Arc<Connection>>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<T, RpcError>> + Send + 'static,
    {
        if !self.serves(name) {
            return;
        }
        let outcome = self
            .module
            .register_async_method(name, move |params, api, extensions| {
                let connection = extensions.get::<Arc<Connection>>().cloned();
                let started = Args::new(&params).map(|args| method(api, args, connection));
                async move { Ok::<T, ErrorObjectOwned>(started?.await?) }
            })
            .map(drop);
        self.note(outcome);
    }

    /// Reads blocks or state, on a thread for reads.
    pub(crate) fn read<T, F>(&mut self, name: &'static str, method: F)
    where
        T: Serialize,
        F: Fn(&A, Args) -> Result<T, RpcError> + Clone + Send + Sync + 'static,
    {
        self.blocking(name, |api| &api.reads, move |api, args, _| method(api, args));
    }

    /// Runs the EVM or searches, on a thread for heavy work.
    pub(crate) fn heavy<T, F>(&mut self, name: &'static str, method: F)
    where
        T: Serialize,
        F: Fn(&A, Args, &Cancel) -> Result<T, RpcError> + Clone + Send + Sync + 'static,
    {
        self.heavy.insert(name);
        self.blocking(name, |api| &api.heavy, method);
    }

    fn blocking<T, F>(&mut self, name: &'static str, workers: fn(&A) -> &Workers, method: F)
    where
        T: Serialize,
        F: Fn(&A, Args, &Cancel) -> Result<T, RpcError> + Clone + Send + Sync + 'static,
    {
        if !self.serves(name) {
            return;
        }
        let outcome = self
            .module
            .register_async_method(name, move |params, api, _| {
                let args = Args::new(&params);
                let method = method.clone();
                async move {
                    let args = args?;
                    Ok::<Json, ErrorObjectOwned>(
                        api.on(workers(&api), move |api, cancel| method(api, args, cancel)).await?,
                    )
                }
            })
            .map(drop);
        self.note(outcome);
    }
}

impl Registry {
    /// Replays blocks under a tracer, on a thread for that.
    pub(crate) fn trace<T, F>(&mut self, name: &'static str, method: F)
    where
        T: Serialize,
        F: Fn(&Api, Args, &Cancel) -> Result<T, RpcError> + Clone + Send + Sync + 'static,
    {
        self.heavy.insert(name);
        self.blocking(name, |api| &api.traces, method);
    }
}
