//! The transactions and receipts of a block while it is executed.
//!
//! Blooms, encodings and trie nodes of what is executed already need nothing of what follows: with threads at hand they are made in
//! groups of [`GROUP`] beside the execution, so that little is left to do when the last transaction is through.

use crate::{
    list_root::{GROUP, Reference, group_reference, list_root},
    spec::ChainSpec,
    tx::RecoveredTx,
};
use alloc::{sync::Arc, vec::Vec};
use alloy_consensus::{Eip658Value, Eip2718EncodableReceipt, Receipt, TxReceipt};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_evm::{Evm, eth::receipt_builder::ReceiptBuilderCtx};
use alloy_op_evm::block::receipt_builder::OpReceiptBuilder;
use alloy_op_hardforks::OpHardforks;
use alloy_primitives::{
    B256, Bloom, BloomInput, Bytes, Log, keccak256,
    map::{AddressMap, B256Map},
};
use op_alloy_consensus::{OpDepositReceipt, OpReceipt, OpReceiptEnvelope, OpTxEnvelope, OpTxType};

/// Builds receipts without their blooms, which would be computed on the thread that executes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PlainReceipts;

impl OpReceiptBuilder for PlainReceipts {
    type Transaction = OpTxEnvelope;
    type Receipt = OpReceipt;

    fn build_receipt<'a, E: Evm>(
        &self,
        ctx: ReceiptBuilderCtx<'a, OpTxType, E>,
    ) -> Result<OpReceipt, ReceiptBuilderCtx<'a, OpTxType, E>> {
        let kind = match ctx.tx_type {
            OpTxType::Deposit => return Err(ctx),
            OpTxType::Legacy => OpReceipt::Legacy,
            OpTxType::Eip2930 => OpReceipt::Eip2930,
            OpTxType::Eip1559 => OpReceipt::Eip1559,
            OpTxType::Eip7702 => OpReceipt::Eip7702,
            OpTxType::PostExec => OpReceipt::PostExec,
        };
        Ok(kind(Receipt {
            status: Eip658Value::Eip658(ctx.result.is_success()),
            cumulative_gas_used: ctx.cumulative_gas_used,
            logs: ctx.result.into_logs(),
        }))
    }

    fn build_deposit_receipt(&self, inner: OpDepositReceipt) -> OpReceipt {
        OpReceipt::Deposit(inner)
    }
}

/// A block's lists, whole.
#[derive(Debug)]
pub(crate) struct FinishedLists {
    pub(crate) transactions: Vec<Arc<RecoveredTx>>,
    /// EIP-2718 encodings.
    pub(crate) receipts: Vec<Bytes>,
    pub(crate) logs_bloom: Bloom,
    groups: Vec<GroupReferences>,
}

/// Nodes above a full group in the two tries; none where the group's keys are not all alike.
#[derive(Debug, Clone, Copy)]
struct GroupReferences {
    transactions: Option<Reference>,
    receipts: Option<Reference>,
}

impl FinishedLists {
    /// Transactions root and receipts root.
    pub(crate) fn roots(&self, spec: &ChainSpec, timestamp: u64) -> (B256, B256) {
        let without_nonces = without_deposit_nonces(spec, timestamp);
        crate::build::join(
            || {
                let group = |number: usize| self.groups.get(number).and_then(|group| group.transactions);
                list_root(self.transactions.len(), group, |index, out| {
                    out.extend_from_slice(self.transactions[index].encoded());
                })
            },
            || {
                let group = |number: usize| self.groups.get(number).and_then(|group| group.receipts);
                list_root(self.receipts.len(), group, |index, out| {
                    write_for_trie(&self.receipts[index], without_nonces, out);
                })
            },
        )
    }
}

/// Some neighbouring transactions and their receipts, finished.
struct Part {
    first: usize,
    receipts: Vec<Bytes>,
    bloom: Bloom,
    references: GroupReferences,
}

impl Part {
    fn new(first: usize, transactions: &[Arc<RecoveredTx>], receipts: &[OpReceipt], without_nonces: bool) -> Self {
        let mut bloom = Bloom::ZERO;
        let mut hashes = BloomHashes::default();
        let mut buffer = Vec::with_capacity(receipts.len() * 512);
        let ends: Vec<usize> = receipts
            .iter()
            .map(|receipt| {
                let logs_bloom = hashes.bloom(receipt.logs());
                bloom |= logs_bloom;
                receipt.eip2718_encode_with_bloom(&logs_bloom, &mut buffer);
                buffer.len()
            })
            .collect();
        let buffer = Bytes::from(buffer);
        let mut start = 0;
        let receipts: Vec<Bytes> =
            ends.into_iter().map(|end| buffer.slice(core::mem::replace(&mut start, end)..end)).collect();
        let references = GroupReferences {
            transactions: group_reference(first, transactions.len(), |index, out| {
                out.extend_from_slice(transactions[index - first].encoded());
            }),
            receipts: group_reference(first, receipts.len(), |index, out| {
                write_for_trie(&receipts[index - first], without_nonces, out);
            }),
        };
        Self { first, receipts, bloom, references }
    }
}

/// Hashes of what goes into blooms. The same contracts log the same events about the same accounts, so within a group most addresses
/// and topics come more than once.
#[derive(Default)]
struct BloomHashes {
    addresses: AddressMap<B256>,
    topics: B256Map<B256>,
}

impl BloomHashes {
    fn bloom(&mut self, logs: &[Log]) -> Bloom {
        let mut bloom = Bloom::ZERO;
        for log in logs {
            let hash = self.addresses.entry(log.address).or_insert_with(|| keccak256(log.address));
            bloom.accrue(BloomInput::Hash(*hash));
            for topic in log.topics() {
                let hash = self.topics.entry(*topic).or_insert_with(|| keccak256(topic));
                bloom.accrue(BloomInput::Hash(*hash));
            }
        }
        bloom
    }
}

/// Where a block's lists grow.
pub(crate) struct Lists {
    without_nonces: bool,
    transactions: Vec<Arc<RecoveredTx>>,
    /// Parts that are finished, in any order.
    parts: Parts,
    /// Transactions in parts that are finished or being finished.
    handed_over: usize,
}

#[cfg(feature = "std")]
type Parts = Arc<std::sync::Mutex<Vec<Part>>>;
#[cfg(not(feature = "std"))]
type Parts = Vec<Part>;

/// Where work beside the execution goes.
#[cfg(feature = "std")]
pub(crate) type Scope<'a> = rayon::Scope<'a>;
/// Where work beside the execution would go, were there threads.
#[cfg(not(feature = "std"))]
pub(crate) struct Scope<'a>(core::marker::PhantomData<&'a ()>);

/// Runs `body`, and all that it hands to the scope.
#[cfg(feature = "std")]
pub(crate) fn with_scope<'a, R>(body: impl FnOnce(&Scope<'a>) -> R) -> R {
    rayon::in_place_scope(body)
}

/// Runs `body`.
#[cfg(not(feature = "std"))]
pub(crate) fn with_scope<'a, R>(body: impl FnOnce(&Scope<'a>) -> R) -> R {
    body(&Scope(core::marker::PhantomData))
}

impl Lists {
    pub(crate) fn new(spec: &ChainSpec, timestamp: u64, expected: usize) -> Self {
        Self {
            without_nonces: without_deposit_nonces(spec, timestamp),
            transactions: Vec::with_capacity(expected),
            parts: Parts::default(),
            handed_over: 0,
        }
    }

    /// A transaction is through; `receipts` are those of all whose receipts have not been taken out yet.
    pub(crate) fn push(&mut self, scope: &Scope<'_>, tx: Arc<RecoveredTx>, receipts: &mut Vec<OpReceipt>) {
        self.transactions.push(tx);
        #[cfg(feature = "std")]
        if receipts.len() >= GROUP {
            let (first, without_nonces) = (self.handed_over, self.without_nonces);
            let receipts = core::mem::replace(receipts, Vec::with_capacity(GROUP));
            self.handed_over += receipts.len();
            let transactions = self.transactions[first..self.handed_over].to_vec();
            let parts = Arc::clone(&self.parts);
            scope.spawn(move |_| {
                let part = Part::new(first, &transactions, &receipts, without_nonces);
                parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(part);
            });
        }
        #[cfg(not(feature = "std"))]
        let _ = (scope, receipts);
    }

    /// All transactions are through, and the scope has ended. `receipts` are those that have not been taken out.
    pub(crate) fn finish(self, receipts: &[OpReceipt]) -> FinishedLists {
        let Self { without_nonces, transactions, parts, handed_over } = self;
        #[cfg(feature = "std")]
        let mut parts = core::mem::take(&mut *parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        #[cfg(not(feature = "std"))]
        let mut parts = parts;
        parts.sort_unstable_by_key(|part| part.first);
        for (number, group) in receipts.chunks(GROUP).enumerate() {
            let first = handed_over + number * GROUP;
            parts.push(Part::new(first, &transactions[first..first + group.len()], group, without_nonces));
        }
        let mut whole = FinishedLists {
            receipts: Vec::with_capacity(transactions.len()),
            transactions,
            logs_bloom: Bloom::ZERO,
            groups: Vec::with_capacity(parts.len()),
        };
        for part in parts {
            whole.receipts.extend(part.receipts);
            whole.logs_bloom |= part.bloom;
            whole.groups.push(part.references);
        }
        whole
    }
}

/// Root of the receipts trie of a block of this time.
pub fn receipts_root(spec: &ChainSpec, timestamp: u64, receipts: &[OpReceiptEnvelope]) -> B256 {
    let without_nonces = without_deposit_nonces(spec, timestamp);
    if without_nonces {
        return list_root(receipts.len(), |_| None, |index, out| write_without_nonce(receipts[index].clone(), out));
    }
    list_root(receipts.len(), |_| None, |index, out| receipts[index].encode_2718(out))
}

/// Between Regolith and Canyon the deposit nonce is part of the receipt but not of the trie (an oversight of op-geth that
/// became the rule).
fn without_deposit_nonces(spec: &ChainSpec, timestamp: u64) -> bool {
    let forks = spec.hardforks();
    forks.is_regolith_active_at_timestamp(timestamp) && !forks.is_canyon_active_at_timestamp(timestamp)
}

/// A receipt, given as we encoded it, as the trie holds it.
fn write_for_trie(encoded: &Bytes, without_nonces: bool, out: &mut Vec<u8>) {
    if without_nonces
        && encoded.first() == Some(&(OpTxType::Deposit as u8))
        && let Ok(receipt) = OpReceiptEnvelope::decode_2718_exact(encoded)
    {
        write_without_nonce(receipt, out);
    } else {
        out.extend_from_slice(encoded);
    }
}

fn write_without_nonce(mut receipt: OpReceiptEnvelope, out: &mut Vec<u8>) {
    if let OpReceiptEnvelope::Deposit(deposit) = &mut receipt {
        deposit.receipt.deposit_nonce = None;
    }
    receipt.encode_2718(out);
}
