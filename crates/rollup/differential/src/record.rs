//! What a pipeline gave, in a form that both have in common.

use alloy_primitives::{Address, B64, B256, Bytes};

/// The attributes of one L2 block, field by field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Hash of the block that it is built on. Blocks commit to their attributes, so this speaks of all that came before.
    pub parent_hash: B256,
    /// Number of that block.
    pub parent_number: u64,
    /// L2 time in seconds.
    pub timestamp: u64,
    /// `prevRandao`.
    pub prev_randao: B256,
    /// Where fees go.
    pub fee_recipient: Address,
    /// Parent beacon block root.
    pub parent_beacon_block_root: Option<B256>,
    /// How many withdrawals, if the list is there at all.
    pub withdrawals: Option<usize>,
    /// L2 gas limit.
    pub gas_limit: Option<u64>,
    /// EIP-1559 denominator and elasticity.
    pub eip1559_params: Option<B64>,
    /// May the builder add transactions of its own?
    pub no_tx_pool: Option<bool>,
    /// All transactions in order: L1 attributes, deposits, those of the batch.
    pub transactions: Vec<Bytes>,
    /// Number and hash of the L1 block with which the block became derivable.
    pub derived_from: (u64, B256),
    /// No other block comes of the same span batch.
    pub last_in_span: bool,
    /// The block that came of it was invalid: one with the deposits alone took its place.
    pub replaced: bool,
}

/// How far a pipeline came with an L1 chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// To its end.
    EndOfL1,
    /// It found that L1 is another chain now.
    L1Reorg,
    /// It asks for a reset for another reason.
    Reset(String),
    /// It goes no further, whatever L1 brings.
    Halted(String),
    /// It panicked.
    Panicked(String),
    /// It does not come to an end.
    Endless,
}

impl Stop {
    /// Do both come to the same? Reasons are told in other words.
    pub fn same_as(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// All that a pipeline made of a case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The attributes in the order in which they were given, those before a reset included.
    pub records: Vec<Record>,
    /// How it stopped on each version of L1.
    pub stops: Vec<Stop>,
}

impl Outcome {
    /// The first difference between two outcomes, in words.
    pub fn difference(&self, other: &Self) -> Option<String> {
        for (at, (a, b)) in self.records.iter().zip(&other.records).enumerate() {
            if let Some(field) = a.difference(b) {
                return Some(format!("attributes {at} (L2 block {}): {field}", a.parent_number + 1));
            }
        }
        if self.records.len() != other.records.len() {
            return Some(format!(
                "{} attributes against {}; stops {:?} against {:?}",
                self.records.len(),
                other.records.len(),
                self.stops,
                other.stops
            ));
        }
        let same =
            self.stops.len() == other.stops.len() && self.stops.iter().zip(&other.stops).all(|(a, b)| a.same_as(b));
        (!same).then(|| format!("stops {:?} against {:?}", self.stops, other.stops))
    }
}

impl Record {
    fn difference(&self, other: &Self) -> Option<String> {
        macro_rules! compare {
            ($($field:ident),*) => {
                $(if self.$field != other.$field {
                    return Some(format!(
                        concat!(stringify!($field), " is {:?} against {:?}"), self.$field, other.$field
                    ));
                })*
            };
        }
        compare!(
            parent_hash,
            parent_number,
            timestamp,
            prev_randao,
            fee_recipient,
            parent_beacon_block_root,
            withdrawals,
            gas_limit,
            eip1559_params,
            no_tx_pool,
            derived_from,
            last_in_span,
            replaced,
            transactions
        );
        None
    }
}
