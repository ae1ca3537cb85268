//! `admin_` of a rollup node: the sequencer, derivation, and blocks that op-conductor brings. Names, answers and the words of refusals
//! are op-node's.

use super::{api::RollupApi, peers::PeerPorts};
use crate::{api::Registry, error::RpcError};
use alloy_primitives::B256;
use duskevm_engine_api::{ExecutionPayload, NewPayload, PayloadMethod, PayloadStatusEnum, Received};
use duskevm_evm::{Block, ChainSpec};
use duskevm_messages::{
    derivation::ResetPipeline,
    executor::Import,
    sequencer::{SequencingFeed, SetRecovery, StartSequencing, StopSequencing},
};
use duskevm_supervision::{Actor, AskError, Handle, Message, Port, Ref};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};

/// How long a neighbour may take that only has to note something.
const SHORT: Duration = Duration::from_secs(5);
/// How long it may take to end what is under way: a block, or a step of derivation.
const LONG: Duration = Duration::from_secs(30);

/// The ways to the sequencer of this node.
#[derive(Debug, Clone)]
pub struct SequencerPorts {
    start: Port<StartSequencing>,
    stop: Port<StopSequencing>,
    recover: Port<SetRecovery>,
    state: SequencingFeed,
}

impl SequencerPorts {
    /// All ports of the actor that makes the blocks, and what it says of itself.
    pub fn of<A>(actor: &Ref<A>, state: SequencingFeed) -> Self
    where
        A: Actor + Handle<StartSequencing> + Handle<StopSequencing> + Handle<SetRecovery>,
    {
        Self { start: actor.port(), stop: actor.port(), recover: actor.port(), state }
    }
}

/// What an operator can move.
#[derive(Debug, Clone)]
pub struct RollupControls {
    /// `None` on a node that makes no blocks.
    pub sequencer: Option<SequencerPorts>,
    /// `None` on a node that does not derive.
    pub reset: Option<Port<ResetPipeline>>,
    /// Takes blocks made elsewhere.
    pub import: Port<Import>,
    /// `None` on a node that gossips no blocks of L2.
    pub peers: Option<PeerPorts>,
    /// May whoever reaches the port order what becomes of peers?
    pub peer_orders: bool,
}

impl RollupControls {
    /// The sequencer, or op-node's word for a node that has none.
    fn sequencer(&self) -> Result<&SequencerPorts, RpcError> {
        self.sequencer.as_ref().ok_or_else(|| RpcError::server("sequencer is not enabled"))
    }

    fn is_sequencing(&self) -> bool {
        self.sequencer.as_ref().is_some_and(|sequencer| sequencer.state.borrow().active)
    }
}

/// A block with what its payload lacks, as op-node and op-conductor send it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    execution_payload: ExecutionPayload,
    #[serde(default)]
    parent_beacon_block_root: Option<B256>,
}

impl Envelope {
    /// The block, whose hash is right. Nothing is executed.
    fn into_block(self, spec: &ChainSpec) -> Result<Block, RpcError> {
        let method = PayloadMethod::at(spec, self.execution_payload.timestamp);
        let call = NewPayload {
            payload: self.execution_payload,
            versioned_hashes: (method >= PayloadMethod::V3).then(Vec::new),
            parent_beacon_block_root: self.parent_beacon_block_root,
            execution_requests: (method >= PayloadMethod::V4).then(Vec::new),
        };
        match call.receive(spec, method).map_err(RpcError::params)? {
            Received::Block(block) => Ok(*block),
            Received::Invalid(status) => Err(RpcError::server(match status.status {
                PayloadStatusEnum::Invalid { validation_error } => {
                    format!("payload is no valid block: {validation_error}")
                }
                other => format!("payload is no valid block: {other}"),
            })),
        }
    }
}

pub(super) fn register(registry: &mut Registry<RollupApi>) {
    registry.future("admin_startSequencer", |api, mut args| async move {
        let head: B256 = args.required()?;
        args.end()?;
        let start = &api.controls.sequencer()?.start;
        // A second delivery would be refused, so there is none.
        start.ask_within(StartSequencing { head }, SHORT).await.map_err(unavailable)?.map_err(RpcError::server)
    });
    registry.future("admin_stopSequencer", |api, args| async move {
        args.end()?;
        let stop = &api.controls.sequencer()?.stop;
        stop.ask_within(StopSequencing, LONG).await.map_err(unavailable)?.map_err(RpcError::server)
    });
    registry.inline("admin_sequencerActive", |api, args| {
        args.end()?;
        Ok(api.controls.is_sequencing())
    });
    registry.future("admin_setRecoverMode", |api, mut args| async move {
        let on: bool = args.required()?;
        args.end()?;
        tell(&api.controls.sequencer()?.recover, SetRecovery { on }, SHORT).await
    });
    registry.inline("admin_conductorEnabled", |_, args| {
        args.end()?;
        Ok(false)
    });
    registry.inline("admin_overrideLeader", |api, args| {
        args.end()?;
        // Nobody leads this sequencer but itself, so that it need not be freed; op-node says the same without a conductor.
        api.controls.sequencer().map(|_| ())
    });
    registry.future("admin_resetDerivationPipeline", |api, args| async move {
        args.end()?;
        let reset = api.controls.reset.as_ref();
        let reset =
            reset.ok_or_else(|| RpcError::server("nothing is derived on this node: actors.derivation is off"))?;
        tell(reset, ResetPipeline, LONG).await
    });
    registry.future("admin_postUnsafePayload", |api, mut args| async move {
        let envelope: Envelope = args.required()?;
        args.end()?;
        post(&api, envelope).await
    });
    registry.inline("admin_setLogLevel", |_, mut args| {
        let _: String = args.required()?;
        args.end()?;
        Err::<(), _>(RpcError::server("the log level is set when the node starts: log.level, or --log"))
    });
}

/// Brings a block of another sequencer into the chain, as its gossip would.
///
/// As with op-node nothing comes of one that is not above the unsafe head: it would take blocks out of the chain.
async fn post(api: &Arc<RollupApi>, envelope: Envelope) -> Result<(), RpcError> {
    refuse_while_sequencing(api)?;
    let spec = api.chain.spec().clone();
    // Recovers the senders.
    let block = api.heavy.run(move |_| envelope.into_block(&spec)).await?;
    // It may have been started meanwhile.
    refuse_while_sequencing(api)?;
    let head = api.chain.heads()?.latest.number;
    if block.number() <= head {
        if api.chain.canonical_hash(block.number())? == Some(block.hash()) {
            return Ok(());
        }
        let why = format!("block {} is not above the unsafe head, block {head}", block.number());
        return Err(RpcError::server(why));
    }
    let import = Import { block: Arc::new(block) };
    api.controls.import.ask_retry(import, LONG).await.map_err(unavailable)?.map_err(RpcError::server)
}

fn refuse_while_sequencing(api: &RollupApi) -> Result<(), RpcError> {
    if api.controls.is_sequencing() {
        let why = "the sequencer of this node makes the blocks: stop it (admin_stopSequencer) before others are posted";
        return Err(RpcError::server(why));
    }
    Ok(())
}

async fn tell<M: Message<Reply = ()> + Clone>(port: &Port<M>, message: M, bound: Duration) -> Result<(), RpcError> {
    port.ask_retry(message, bound).await.map_err(unavailable)
}

fn unavailable(error: AskError) -> RpcError {
    match error {
        AskError::Full { .. } => RpcError::Busy("orders"),
        other => RpcError::Server(format!("not done: {other}")),
    }
}
