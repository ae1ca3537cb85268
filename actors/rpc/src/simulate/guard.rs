//! Bounds on the time and the memory of one execution.

use crate::workers::Cancel;
use alloy_primitives::{
    Address, U256,
    map::{HashMap, HashSet},
};
use revm::{
    Inspector,
    bytecode::opcode,
    context_interface::{ContextError, ContextTr},
    interpreter::{
        CallInputs, CallOutcome, CreateInputs, CreateOutcome, Interpreter,
        interpreter_types::{InputsTr, Jumps, LoopControl, MemoryTr},
    },
};
use std::time::Duration;

/// Instructions between two looks at the clock: a few microseconds.
const PERIOD: u32 = 1024;

/// What a tracer keeps of each step, in bytes beside the stack and the memory.
const STEP_BYTES: usize = 512;

/// What a word of the stack costs: it is kept by the tracer, and again in its result.
const STACK_WORD_BYTES: usize = 64;

/// How many bytes a byte of recorded memory costs: the tracer's copy, and 64 digits with their header for each word of the result.
const MEMORY_FACTOR: usize = 4;

/// What a storage slot costs in the result of one step: two words, and their share of a tree's nodes.
const SLOT_BYTES: usize = 96;

/// What a tracer may keep, and what it keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Bytes that are left.
    left: usize,
    /// Steps are recorded.
    steps: bool,
    /// Each step with the stack.
    stack: bool,
    /// Each step with the memory.
    memory: bool,
    /// Each read and write of storage with all slots that the contract has used so far.
    storage: bool,
}

impl Budget {
    /// For a tracer that records calls only.
    pub(crate) const fn calls(bytes: usize) -> Self {
        Self { left: bytes, steps: false, stack: false, memory: false, storage: false }
    }

    /// For a tracer that records every step.
    pub(crate) const fn steps(bytes: usize, stack: bool, memory: bool, storage: bool) -> Self {
        Self { left: bytes, steps: true, stack, memory, storage }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tripped {
    Time,
    Memory,
}

/// Ends an execution with an error when its time is up, when nobody waits for it any more, or when its trace grows too large.
#[derive(Debug)]
pub(crate) struct Guard {
    cancel: Cancel,
    timeout: Duration,
    countdown: u32,
    budget: Option<Budget>,
    /// Storage slots that each contract has used, where the tracer repeats them.
    slots: HashMap<Address, HashSet<U256>>,
    tripped: Option<Tripped>,
}

impl Guard {
    /// `timeout` is only for the message; `cancel` knows the time.
    pub(crate) fn new(cancel: Cancel, timeout: Duration) -> Self {
        // The first instruction looks at the clock: the time may have passed in the queue.
        Self { cancel, timeout, countdown: 1, budget: None, slots: HashMap::default(), tripped: None }
    }

    /// With a bound on what a tracer records beside it.
    pub(crate) const fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Bytes that the tracer may still record; zero without a budget.
    pub(crate) fn bytes_left(&self) -> usize {
        self.budget.map_or(0, |budget| budget.left)
    }

    fn spend(&mut self, bytes: usize) {
        if let Some(budget) = &mut self.budget {
            match budget.left.checked_sub(bytes) {
                Some(left) => budget.left = left,
                None => self.tripped = Some(Tripped::Memory),
            }
        }
    }

    /// How many storage slots the record of this instruction repeats: their sum grows with the square of the accesses.
    fn slots_shown(&mut self, interp: &Interpreter) -> usize {
        if !matches!(interp.bytecode.opcode(), opcode::SLOAD | opcode::SSTORE) {
            return 0;
        }
        let slots = self.slots.entry(interp.input.target_address()).or_default();
        if let Ok(key) = interp.stack.peek(0) {
            slots.insert(key);
        }
        slots.len()
    }

    fn message(&self, tripped: Tripped) -> String {
        match tripped {
            Tripped::Time => format!("execution aborted (timeout = {:?})", self.timeout),
            Tripped::Memory => "trace too large: use a tracer that records less, or raise `max_trace_bytes`".to_owned(),
        }
    }
}

impl<CTX: ContextTr> Inspector<CTX> for Guard {
    fn step(&mut self, interp: &mut Interpreter, context: &mut CTX) {
        self.countdown -= 1;
        if self.countdown == 0 {
            self.countdown = PERIOD;
            if self.cancel.is_cancelled() {
                self.tripped = Some(Tripped::Time);
            }
        }
        if let Some(Budget { steps: true, stack, memory, storage, .. }) = self.budget {
            let stack = if stack { STACK_WORD_BYTES * interp.stack.len() } else { 0 };
            let memory = if memory { MEMORY_FACTOR * interp.memory.size() } else { 0 };
            let storage = if storage { SLOT_BYTES * self.slots_shown(interp) } else { 0 };
            self.spend(STEP_BYTES + stack + memory + storage);
        }
        if let Some(tripped) = self.tripped {
            if context.error().is_ok() {
                *context.error() = Err(ContextError::Custom(self.message(tripped)));
            }
            // A pending call or return is replaced as well.
            interp.bytecode.action().take();
            interp.bytecode.reset_action();
            interp.halt_fatal();
        }
    }

    fn call(&mut self, _: &mut CTX, inputs: &mut CallInputs) -> Option<CallOutcome> {
        // Call data costs no gas per byte, so a contract could make a tracer copy a large buffer again and again.
        self.spend(STEP_BYTES + inputs.input.len());
        None
    }

    fn call_end(&mut self, _: &mut CTX, _: &CallInputs, outcome: &mut CallOutcome) {
        self.spend(outcome.result.output.len());
    }

    fn create(&mut self, _: &mut CTX, inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        self.spend(STEP_BYTES + inputs.init_code().len());
        None
    }

    fn create_end(&mut self, _: &mut CTX, _: &CreateInputs, outcome: &mut CreateOutcome) {
        self.spend(outcome.result.output.len());
    }
}
