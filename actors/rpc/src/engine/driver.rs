//! Calls that change something: one at a time, in the order in which they come.
//!
//! Nothing here decides what is right: the calls are read and judged by `duskevm-engine-api`, blocks by the executor. The payloads that
//! are being built are in memory. They are lost with the instance, and a consensus client that asks for one then is told that it is
//! unknown and begins anew.

use super::{
    EnginePorts, EngineWiring, Turns,
    builder::{Ahead, Builder, Built, PATIENCE, unavailable},
};
use crate::{error::RpcError, metrics, params::Args, workers::Workers};
use duskevm_engine_api::{
    BuildRequest, EngineError, ForkchoiceMethod, ForkchoiceState, ForkchoiceUpdated, NewPayload, PayloadAttributes,
    PayloadId, PayloadJobs, PayloadMethod, PayloadStatus, Received, attributes::AttributesFault, status,
};
use duskevm_evm::{Block, ChainSpec};
use duskevm_messages::executor::{
    ExecutorRefusal,
    engine::{Chosen, Forkchoice, ForkchoiceRefusal, Offer, Offered},
};
use duskevm_supervision::Fence;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use std::{sync::Arc, time::Duration};
use tokio::{sync::OwnedMutexGuard, time::timeout};

/// How long a call may wait for those before it.
const TURN_PATIENCE: Duration = Duration::from_secs(30);

/// A payload that is being built.
#[derive(Debug)]
struct Job {
    request: BuildRequest,
    /// Of the forced transactions only.
    forced: Built,
    /// With the pool, until it is asked for.
    ahead: Option<Ahead>,
    /// What was answered to the first question for it.
    answer: Option<Built>,
}

/// Whoever changes something goes through this.
#[derive(Debug)]
pub(crate) struct Driver {
    spec: ChainSpec,
    ports: EnginePorts,
    turns: Turns,
    fence: Fence,
    jobs: Mutex<PayloadJobs<Job>>,
    /// Attributes of which no block can be made, by the id that it would have had, and why. kona-node asks again and again.
    refused: Mutex<PayloadJobs<String>>,
    /// For what takes long: transactions are decoded and their senders recovered.
    workers: Workers,
    builder: Builder,
}

impl Driver {
    pub(crate) fn new(wiring: &EngineWiring, workers: Workers, fence: Fence) -> Self {
        metrics::engine_jobs(0);
        Self {
            spec: wiring.reads.spec.clone(),
            ports: wiring.ports.clone(),
            turns: wiring.turns.clone(),
            fence,
            jobs: Mutex::default(),
            refused: Mutex::default(),
            workers,
            builder: Builder {
                ports: wiring.ports.clone(),
                time_budget: wiring.time_budget,
                max_transactions: wiring.max_transactions,
                da_orders: wiring.reads.da_orders.clone(),
            },
        }
    }

    /// Waits until it is the caller's turn. Those who wait are served in the order in which they came.
    async fn turn(&self) -> Result<OwnedMutexGuard<()>, RpcError> {
        let turn = timeout(TURN_PATIENCE, self.turns.clone().lock_owned())
            .await
            .map_err(|_| RpcError::Busy("calls of the Engine API"))?;
        // The head must not be moved behind the back of the instance that took over.
        self.fence.check().map_err(|_| RpcError::server("this server was replaced by a new one: connect again"))?;
        Ok(turn)
    }

    /// `engine_newPayload`.
    ///
    /// # Errors
    /// What is wrong with the call, or why the executor gives no answer.
    pub(crate) async fn new_payload(&self, args: Args, method: PayloadMethod) -> Result<PayloadStatus, RpcError> {
        let _turn = self.turn().await?;
        let spec = self.spec.clone();
        let received = self.workers.run(move |_| Ok(read_payload(args)?.receive(&spec, method)?)).await?;
        let status = match received {
            Received::Invalid(status) => status,
            Received::Block(block) => {
                let hash = block.hash();
                let offer = Offer { block: Arc::from(block) };
                match self.ports.offer.ask_retry(offer, PATIENCE).await.map_err(unavailable)? {
                    Ok(Offered::Valid) => status::valid(hash),
                    Ok(Offered::Invalid { why, latest_valid }) => status::invalid(why, latest_valid),
                    Ok(Offered::UnknownParent) => status::syncing(),
                    Err(refusal) => return Err(RpcError::server(refusal)),
                }
            }
        };
        metrics::engine_status(method.new_payload(), &status);
        Ok(status)
    }

    /// `engine_forkchoiceUpdated`.
    ///
    /// # Errors
    /// What is wrong with the state, or with the attributes after the state was taken, or why the executor gives no answer.
    pub(crate) async fn forkchoice(
        &self,
        mut args: Args,
        method: ForkchoiceMethod,
    ) -> Result<ForkchoiceUpdated, RpcError> {
        let state: ForkchoiceState = args.required()?;
        let attributes: Option<Box<RawValue>> = args.optional()?;
        args.end()?;
        let _turn = self.turn().await?;
        let chosen = self.ports.forkchoice.ask_retry(Forkchoice { state }, PATIENCE).await.map_err(unavailable)?;
        let answer = match chosen {
            Ok(Chosen::Updated { head }) => {
                let building = match attributes {
                    Some(attributes) => self.begin(head.clone(), attributes, method).await?,
                    None => None,
                };
                status::updated(head.hash(), building)
            }
            Ok(Chosen::BelowFinalized(head)) => status::updated(head.hash, None),
            Ok(Chosen::Syncing) => status::not_updated(status::syncing()),
            Ok(Chosen::Invalid { why, latest_valid }) => status::not_updated(status::invalid(why, latest_valid)),
            Err(ForkchoiceRefusal::Contradiction(error)) => return Err(error.into()),
            Err(ForkchoiceRefusal::Chain(refusal)) => return Err(RpcError::server(refusal)),
        };
        metrics::engine_status(method.name(), &answer.payload_status);
        Ok(answer)
    }

    /// Begins a payload on the head, unless the same one is being built: its deposits-only form tells whether it can be built at all.
    async fn begin(
        &self,
        head: Arc<Block>,
        attributes: Box<RawValue>,
        method: ForkchoiceMethod,
    ) -> Result<Option<PayloadId>, RpcError> {
        let spec = self.spec.clone();
        let request = self.workers.run(move |_| {
            let Some(attributes) = PayloadAttributes::parse(&attributes)? else { return Ok(None) };
            Ok(Some(attributes.check(&spec, method, &head.header)?))
        });
        let Some(request) = request.await? else { return Ok(None) };
        let id = request.id;
        if self.jobs.lock().contains(id) {
            return Ok(Some(id));
        }
        if let Ok(why) = self.refused.lock().get(id) {
            return Err(EngineError::from(AttributesFault::Unbuildable(why.clone())).into());
        }
        let forced = match self.builder.forced(&request).await? {
            Ok(forced) => forced,
            Err(ExecutorRefusal::Invalid(why)) => {
                self.refused.lock().begin(id, why.clone());
                return Err(EngineError::from(AttributesFault::Unbuildable(why)).into());
            }
            Err(refusal) => return Err(RpcError::server(refusal)),
        };
        metrics::engine_built("forced");
        let ahead = (!request.no_tx_pool).then(|| self.builder.ahead(&request, &forced));
        let mut jobs = self.jobs.lock();
        jobs.begin(id, Job { request, forced, ahead, answer: None });
        metrics::engine_jobs(jobs.len());
        Ok(Some(id))
    }

    /// The block of `engine_getPayload`: with the pool's transactions if the attributes allow it, and from then on the same.
    ///
    /// # Errors
    /// [`EngineError::UnknownPayload`], [`EngineError::UnsupportedFork`], or why the executor gives no answer.
    pub(crate) async fn get_payload(&self, id: PayloadId, method: PayloadMethod) -> Result<Built, RpcError> {
        let _turn = self.turn().await?;
        let (request, forced, ahead) = {
            let mut jobs = self.jobs.lock();
            let job = jobs.get_mut(id)?;
            method.check_get(&self.spec, job.request.attributes.timestamp)?;
            if let Some(answer) = &job.answer {
                return Ok(answer.clone());
            }
            (job.request.clone(), job.forced.clone(), job.ahead.take())
        };
        let answer = self.builder.finish(&request, forced, ahead).await?;
        // Nobody else has the turn, so the job is still there.
        self.jobs.lock().get_mut(id)?.answer = Some(answer.clone());
        Ok(answer)
    }
}

/// Reads the parameters of all versions; which of them a version has is judged later.
fn read_payload(mut args: Args) -> Result<NewPayload, RpcError> {
    let call = NewPayload {
        payload: args.required()?,
        versioned_hashes: args.optional()?,
        parent_beacon_block_root: args.optional()?,
        execution_requests: args.optional()?,
    };
    args.end()?;
    Ok(call)
}
