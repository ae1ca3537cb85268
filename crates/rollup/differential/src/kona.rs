//! kona's pipeline on a case: as published, or with repairs where it departs from the specification.

mod provider;
mod repair;
mod varint;

use crate::{
    departure::Repairs,
    ours::common,
    record::{Outcome, Record, Stop},
    world::{Case, L1},
};
use alloy_primitives::{B64, B256};
use kona_derive::{
    AttributesQueue, BatchStream, BatchValidator, ChannelAssembler, ChannelReader, DerivationPipeline,
    EthereumDataSource, FrameQueue, L1Retrieval, OriginProvider, Pipeline, PipelineBuilder, PipelineError,
    PipelineErrorKind, PollingTraversal, ResetError, ResetSignal, SignalReceiver, StatefulAttributesBuilder,
    StepResult,
};
use kona_genesis::RollupConfig;
use kona_protocol::{BlockInfo, OpAttributesWithParent};
pub use provider::{KonaCase, Provider};
use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// Steps after which a pipeline is taken to be in a loop. Long before that every generated chain is used up.
const MOST_STEPS: u64 = 3_000_000;

/// The providers are memory: nothing is ever waited for.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("no provider waits"),
    }
}

type Builder = StatefulAttributesBuilder<Provider, Provider>;

/// kona's pipeline as it is published.
pub fn published(case: &KonaCase) -> Outcome {
    outcome(case, None, build_published)
}

/// Hash of the L2 block that kona's pipeline as published comes to on the first version of L1, and the time it took: making L2 blocks
/// is not in it.
pub fn published_timed(case: &KonaCase) -> (B256, Duration) {
    let provider = Provider::new(case, None);
    let pipeline = build_published(provider.clone(), case.config.clone());
    let mut driver = Driver { pipeline, provider, records: Vec::new(), derivation: Duration::ZERO };
    driver.reset();
    driver.run();
    (driver.provider.l2_tip().block_info.hash, driver.derivation)
}

fn build_published(
    provider: Provider,
    config: Arc<RollupConfig>,
) -> impl Pipeline + SignalReceiver + OriginProvider + Iterator<Item = OpAttributesWithParent> {
    PipelineBuilder::new()
        .rollup_config(config.clone())
        .origin(BlockInfo::default())
        .dap_source(EthereumDataSource::new_from_parts(provider.clone(), provider.clone(), &config))
        .builder(Builder::new(config, provider.clone(), provider.clone()))
        .l2_chain_provider(provider.clone())
        .chain_provider(provider)
        .build_polled()
}

/// kona's pipeline with these repairs.
pub fn repaired(case: &KonaCase, fired: &Repairs) -> Outcome {
    outcome(case, Some(fired.clone()), move |provider, config| {
        let exhausted = repair::Exhausted::default();
        let source = EthereumDataSource::new_from_parts(provider.clone(), provider.clone(), &config);
        let mut traversal = PollingTraversal::new(provider.clone(), config.clone());
        traversal.block = Some(BlockInfo::default());
        let data = repair::Data::new(L1Retrieval::new(traversal, source), exhausted.clone(), fired.clone());
        let frames = repair::Frames::new(FrameQueue::new(data, config.clone()), fired.clone());
        let assembler = ChannelAssembler::new(config.clone(), frames);
        let channels = repair::Channels::new(assembler, config.clone(), fired.clone());
        let reader = ChannelReader::new(channels, config.clone());
        let asked = repair::Asked::default();
        let spans = repair::Spans::new(reader, config.clone(), provider.clone(), asked.clone(), fired.clone());
        let stream = BatchStream::new(spans, config.clone(), provider.clone());
        let batches = repair::Batches::new(stream, config.clone(), exhausted, asked, fired.clone());
        let validator = BatchValidator::new(config.clone(), batches);
        let builder = Builder::new(config.clone(), provider.clone(), provider.clone());
        let queue = AttributesQueue::new(config.clone(), validator, builder);
        DerivationPipeline::new(queue, config, provider)
    })
}

fn outcome<P>(
    case: &KonaCase,
    repairs: Option<Repairs>,
    build: impl FnOnce(Provider, Arc<RollupConfig>) -> P,
) -> Outcome
where
    P: Pipeline + SignalReceiver + OriginProvider + Iterator<Item = OpAttributesWithParent>,
{
    let provider = Provider::new(case, repairs);
    let pipeline = build(provider.clone(), case.config.clone());
    let mut driver = Driver { pipeline, provider, records: Vec::new(), derivation: Duration::ZERO };
    let mut stops = Vec::new();
    let run = catch_unwind(AssertUnwindSafe(|| driver.all(&case.case, &mut stops)));
    if let Err(panic) = run {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        stops.push(Stop::Panicked(text.unwrap_or_default()));
    }
    Outcome { records: driver.records, stops }
}

struct Driver<P> {
    pipeline: P,
    provider: Provider,
    records: Vec<Record>,
    derivation: Duration,
}

impl<P> Driver<P>
where
    P: Pipeline + SignalReceiver + OriginProvider + Iterator<Item = OpAttributesWithParent>,
{
    fn all(&mut self, case: &Case, stops: &mut Vec<Stop>) {
        self.reset();
        for (at, l1) in case.versions.iter().enumerate() {
            self.provider.set_l1(at);
            if at > 0 {
                let stop = self.run();
                let expected = stop == Stop::L1Reorg;
                stops.push(stop);
                if !expected {
                    return;
                }
                let before: &L1 = &case.versions[at - 1];
                self.provider.truncate_l2(common(before, l1));
                self.reset();
            }
            let stop = self.run();
            stops.push(stop);
        }
    }

    /// Walks back from the safe head as far as a channel can be open, and begins there.
    fn reset(&mut self) {
        let safe = self.provider.l2_tip();
        let timeout = self.provider.config().channel_timeout(safe.block_info.timestamp);
        let mut base = safe;
        while base.block_info.number > 0
            && base.l1_origin.number > 0
            && base.l1_origin.number + timeout > safe.l1_origin.number
        {
            base = self.provider.l2(base.block_info.number - 1).expect("all blocks down to genesis are there").0;
        }
        let l1_origin = self.provider.l1_info(base.l1_origin.number).expect("the origin is a part of L1");
        // kona uses this block for nothing but the system config to begin with, which is that of the block read first.
        let signal = ResetSignal { l2_safe_head: base, l1_origin, system_config: None }.signal();
        now(self.pipeline.signal(signal)).expect("a reset reads nothing that is not there");
    }

    fn run(&mut self) -> Stop {
        let mut safe = self.provider.l2_tip();
        for _ in 0..MOST_STEPS {
            let started = Instant::now();
            let step = now(self.pipeline.step(safe));
            self.derivation += started.elapsed();
            let error = match step {
                StepResult::PreparedAttributes => {
                    while let Some(attributes) = self.pipeline.next() {
                        self.execute(attributes);
                    }
                    safe = self.provider.l2_tip();
                    continue;
                }
                StepResult::AdvancedOrigin => continue,
                StepResult::OriginAdvanceErr(PipelineErrorKind::Temporary(_)) => return Stop::EndOfL1,
                StepResult::OriginAdvanceErr(error) | StepResult::StepFailed(error) => error,
            };
            match error {
                PipelineErrorKind::Temporary(PipelineError::Provider(text)) => return Stop::Halted(text),
                PipelineErrorKind::Temporary(_) => {}
                PipelineErrorKind::Reset(ResetError::ReorgDetected(..)) => return Stop::L1Reorg,
                PipelineErrorKind::Reset(error) => return Stop::Reset(error.to_string()),
                PipelineErrorKind::Critical(error) => return Stop::Halted(error.to_string()),
            }
        }
        Stop::Endless
    }

    fn execute(&mut self, attributes: OpAttributesWithParent) {
        let replaced = self.provider.execute(&attributes);
        if replaced {
            now(self.pipeline.signal(kona_derive::Signal::FlushChannel)).expect("nothing is read for a flush");
        }
        if self.provider.keeps_records() {
            self.records.push(record(attributes, replaced));
        }
    }
}

fn record(attributes: OpAttributesWithParent, replaced: bool) -> Record {
    let OpAttributesWithParent { inner, parent, derived_from, is_last_in_span } = attributes;
    let payload = inner.payload_attributes;
    Record {
        parent_hash: parent.block_info.hash,
        parent_number: parent.block_info.number,
        timestamp: payload.timestamp,
        prev_randao: payload.prev_randao,
        fee_recipient: payload.suggested_fee_recipient,
        parent_beacon_block_root: payload.parent_beacon_block_root,
        withdrawals: payload.withdrawals.map(|list| list.len()),
        gas_limit: inner.gas_limit,
        eip1559_params: inner.eip_1559_params.map(|params| B64::from(params.0)),
        no_tx_pool: inner.no_tx_pool,
        transactions: inner.transactions.unwrap_or_default(),
        derived_from: derived_from.map(|block| (block.number, block.hash)).unwrap_or_default(),
        last_in_span: is_last_in_span,
        replaced,
    }
}
