//! The node's pipeline on a case.

use crate::{
    record::{Outcome, Record, Stop},
    world::{Case, L1, seal},
};
use alloy_primitives::Bytes;
use duskevm_evm::Block;
use duskevm_rollup::batch::batch_of_block;
use duskevm_rollup::derive::{DerivedAttributes, Input, L2Head, Need, Pipeline, ResetReason, Step};
use std::time::{Duration, Instant};

/// Drives the pipeline and makes blocks of what it gives.
#[derive(Debug)]
pub struct Ours {
    pipeline: Pipeline,
    /// The L2 chain from genesis on, and for each block the number of the L1 block with which it became derivable.
    pub chain: Vec<(Block, u64)>,
    /// What was given.
    pub records: Vec<Record>,
    /// Keep [`Self::records`]? A bench does not.
    pub keep_records: bool,
    /// Time spent in derivation: reading L1 blocks and L2 heads included, making L2 blocks not.
    pub derivation: Duration,
}

impl Ours {
    /// At genesis.
    pub fn new(case: &Case) -> Self {
        let mut pipeline = Pipeline::new(case.config.clone());
        pipeline.reset(head(case, &case.genesis), None);
        Self {
            pipeline,
            chain: vec![(case.genesis.clone(), 0)],
            records: Vec::new(),
            keep_records: true,
            derivation: Duration::ZERO,
        }
    }

    /// Derives from every version of L1 in turn.
    pub fn outcome(case: &Case) -> Outcome {
        let mut ours = Self::new(case);
        let mut stops = Vec::new();
        for (at, l1) in case.versions.iter().enumerate() {
            if at > 0 {
                // What was read last of the old chain is followed by a block of the new one: that must be noticed by itself.
                let stop = ours.run(case, l1);
                let expected = stop == Stop::L1Reorg;
                stops.push(stop);
                if !expected {
                    break;
                }
                ours.reset(case, common(&case.versions[at - 1], l1));
            }
            stops.push(ours.run(case, l1));
        }
        Outcome { records: ours.records, stops }
    }

    /// Goes back to the newest L2 block that the first `height` blocks of L1 lead to.
    pub fn reset(&mut self, case: &Case, height: u64) {
        let keep = self.chain.iter().take_while(|(block, from)| block.number() == 0 || *from < height).count();
        self.chain.truncate(keep);
        self.pipeline.reset(head(case, self.tip()), None);
    }

    /// The newest derived block.
    pub fn tip(&self) -> &Block {
        &self.chain.last().expect("genesis is never taken back").0
    }

    /// Derives all that L1 holds.
    pub fn run(&mut self, case: &Case, l1: &L1) -> Stop {
        let mut started = Instant::now();
        let stop = self.steps(case, l1, &mut started);
        self.derivation += started.elapsed();
        stop
    }

    fn steps(&mut self, case: &Case, l1: &L1, started: &mut Instant) -> Stop {
        let mut safe = head(case, self.tip());
        for _ in 0..10_000_000 {
            match self.pipeline.step(&safe) {
                Step::Working | Step::Advanced(_) => {}
                Step::Attributes(attributes) => {
                    self.derivation += started.elapsed();
                    self.execute(case, &attributes);
                    *started = Instant::now();
                    safe = head(case, self.tip());
                }
                Step::Need(need) => {
                    let Some(input) = self.answer(case, l1, &need) else { return Stop::EndOfL1 };
                    if let Err(error) = self.pipeline.provide(input) {
                        return Stop::Halted(error.to_string());
                    }
                }
                Step::Reset(ResetReason::L1Reorg { .. }) => return Stop::L1Reorg,
                Step::Reset(reason) => return Stop::Reset(reason.to_string()),
                Step::Stuck(error) => return Stop::Halted(error.to_string()),
            }
        }
        Stop::Endless
    }

    fn answer(&self, case: &Case, l1: &L1, need: &Need) -> Option<Input> {
        match need {
            Need::NextL1Block { number, .. } | Need::L1Block { number, .. } => {
                let block = l1.get(usize::try_from(*number).ok()?)?;
                Some(Input::L1Block(Box::new(block.read(&case.config))))
            }
            Need::Blobs { blobs, .. } => Some(Input::Blobs(
                blobs.iter().filter_map(|blob| case.blobs.get(&blob.versioned_hash).cloned()).collect(),
            )),
            Need::L2Batch { number } => {
                let (block, _) = self.chain.get(usize::try_from(*number).ok()?)?;
                let (batch, _) = batch_of_block(&case.config, block).ok()?;
                Some(Input::L2Batch { number: *number, batch: Box::new(batch) })
            }
            Need::L2Block { number } => {
                let (block, _) = self.chain.get(usize::try_from(*number).ok()?)?;
                Some(Input::L2Block(Box::new(head(case, block))))
            }
        }
    }

    fn execute(&mut self, case: &Case, attributes: &DerivedAttributes) {
        let parent = self.tip();
        let whole = attributes
            .block_attributes()
            .ok()
            .filter(|whole| !whole.transactions.iter().any(|tx| case.unexecutable.contains(&tx.hash())));
        let replaced = whole.is_none();
        let block = seal(&case.spec, parent, &whole.unwrap_or_else(|| attributes.deposits_only()));
        if replaced {
            self.pipeline.flush_channel();
        }
        if self.keep_records {
            self.records.push(record(attributes, replaced));
        }
        self.chain.push((block, attributes.derived_from.number));
    }
}

fn head(case: &Case, block: &Block) -> L2Head {
    L2Head::of_block(&case.config, &case.spec, block).expect("the block was made from attributes of this rollup")
}

/// How many blocks two L1 chains have in common.
pub fn common(a: &L1, b: &L1) -> u64 {
    a.iter().zip(b).take_while(|(a, b)| a.header.hash() == b.header.hash()).count() as u64
}

fn record(attributes: &DerivedAttributes, replaced: bool) -> Record {
    let fields = &attributes.deposits;
    let mut transactions: Vec<Bytes> = fields.transactions.iter().map(|tx| tx.encoded().clone()).collect();
    transactions.extend(attributes.batch_transactions.iter().cloned());
    Record {
        parent_hash: attributes.parent.hash,
        parent_number: attributes.parent.number,
        timestamp: fields.timestamp,
        prev_randao: fields.prev_randao,
        fee_recipient: fields.fee_recipient,
        parent_beacon_block_root: fields.parent_beacon_block_root,
        // From Canyon on every block has the empty list, and a derived block never takes from the pool: neither is a field of ours.
        withdrawals: Some(0),
        gas_limit: Some(fields.gas_limit),
        eip1559_params: fields.eip1559_params,
        no_tx_pool: Some(true),
        transactions,
        derived_from: (attributes.derived_from.number, attributes.derived_from.hash),
        last_in_span: attributes.last_in_span,
        replaced,
    }
}
