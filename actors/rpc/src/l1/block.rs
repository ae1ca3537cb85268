//! A block of the view, with what is worked out of it once.

use crate::source::Announced;
use alloy_consensus::{Header, Sealed, transaction::SignerRecoverable as _};
use alloy_primitives::{Address, B256, Log};
use duskevm_l1_view::ViewBlock;
use std::sync::OnceLock;

/// A view block and the senders of its transactions.
#[derive(Debug)]
pub(crate) struct L1Block {
    pub(crate) view: ViewBlock,
    /// Recovered when they are first asked for: whoever searches logs never does.
    senders: OnceLock<Vec<Address>>,
}

impl L1Block {
    pub(crate) fn new(view: ViewBlock) -> Self {
        Self { view, senders: OnceLock::new() }
    }

    pub(crate) fn hash(&self) -> B256 {
        self.view.hash()
    }

    /// Sender of the transaction at this index. It signed an envelope; that of any other transaction means nothing (see the README of
    /// the view), but is the one that every client recovers.
    pub(crate) fn sender(&self, index: usize) -> Address {
        let senders = self.senders.get_or_init(|| {
            let recovered = self.view.transactions.iter().map(|tx| tx.envelope.recover_signer());
            // No block shows a transaction that nobody can have signed.
            recovered.map(Result::unwrap_or_default).collect()
        });
        senders.get(index).copied().unwrap_or_default()
    }

    /// Bytes that it takes in memory, about.
    pub(crate) fn weight(&self) -> usize {
        const BLOCK: usize = 1024;
        const TRANSACTION: usize = 1024;
        const LOG: usize = 256;
        let view = &self.view;
        let inputs = view.transactions.iter().map(|tx| {
            use alloy_consensus::Transaction as _;
            // An envelope of anybody may be an access list all over.
            let listed = tx.envelope.access_list().map_or(0, |list| list.size());
            TRANSACTION + tx.envelope.input().len() + listed
        });
        let logs = view.receipts.iter().flat_map(|receipt| receipt.logs()).map(|log| LOG + log.data.data.len());
        BLOCK + inputs.sum::<usize>() + logs.sum::<usize>()
    }
}

impl Announced for std::sync::Arc<L1Block> {
    fn header(&self) -> &Sealed<Header> {
        &self.view.header
    }

    fn transactions(&self) -> impl Iterator<Item = (B256, &[Log])> {
        let view = &self.view;
        view.transactions.iter().zip(&view.receipts).map(|(tx, receipt)| (tx.hash(), receipt.logs()))
    }
}
