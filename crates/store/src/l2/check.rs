//! Is what is stored consistent?

use super::{
    BlockRef, Inner, L2Error, L2Store,
    columns::{Column, Columns, storage_key},
    records,
};
use crate::db::DbError;
use alloy_consensus::{Header, proofs::ordered_trie_root_with_encoder};
use alloy_primitives::{B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use duskevm_trie::{AccountInfo, NodeSource, TrieId, Visitor, walk};

/// How many problems are listed; more add nothing.
const MAX_PROBLEMS: usize = 100;

/// Something that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The block that it belongs to.
    pub block: BlockRef,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "block {}: {}", self.block, self.what)
    }
}

/// What a check looked at and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Blocks read.
    pub blocks: u64,
    /// Transactions found by their hashes.
    pub transactions: u64,
    /// Accounts of the head state.
    pub accounts: u64,
    /// Storage slots of the head state.
    pub slots: u64,
    /// The first problems; none if all is well.
    pub problems: Vec<Problem>,
}

impl L2Store {
    /// Reads the whole chain and the whole head state and compares everything that is stored twice: header hashes and
    /// links, transactions and receipts with their roots, transaction hashes with their index, every trie node with its hash,
    /// the flat columns with the tries, code with its hash. `progress` is told the number of each block.
    ///
    /// # Errors
    ///
    /// [`L2Error::Empty`], [`L2Error::Db`]; what is merely wrong goes into the report.
    pub fn check(&self, mut progress: impl FnMut(u64)) -> Result<CheckReport, L2Error> {
        let heads = self.inner.head()?.heads;
        let mut check = Check { inner: &self.inner, report: CheckReport::default() };
        let mut expected = heads.latest;
        // From the head down, so that each header vouches for the one before.
        while let Some(header) = check.block(expected)? {
            progress(expected.number);
            if check.report.problems.len() >= MAX_PROBLEMS || header.number == 0 {
                break;
            }
            let parent = BlockRef { number: header.number - 1, hash: header.parent_hash };
            if expected.hash == self.inner.identity.genesis {
                break;
            }
            expected = parent;
        }
        check.head_state(heads.latest)?;
        Ok(check.report)
    }
}

impl L2Store {
    /// Calls `visit` with every stored trie node and at how many places it counts, in no particular order, until it
    /// returns false. For statistics and checks.
    ///
    /// # Errors
    ///
    /// [`L2Error::Db`].
    pub fn for_each_node(&self, visit: impl FnMut(u32, Vec<u8>) -> bool) -> Result<(), L2Error> {
        Ok(self.inner.db.for_each(Column::Nodes as u8, visit)?)
    }
}

struct Check<'a> {
    inner: &'a Inner,
    report: CheckReport,
}

impl Check<'_> {
    fn problem(&mut self, block: BlockRef, what: impl Into<String>) {
        if self.report.problems.len() < MAX_PROBLEMS {
            self.report.problems.push(Problem { block, what: what.into() });
        }
    }

    /// Damage is a result here, a failing disk is not.
    fn value<T>(
        &mut self,
        block: BlockRef,
        what: &str,
        result: Result<Option<T>, L2Error>,
    ) -> Result<Option<T>, L2Error> {
        match result {
            Ok(Some(value)) => return Ok(Some(value)),
            Ok(None) => self.problem(block, format!("{what} is missing")),
            Err(L2Error::Db(error @ (DbError::ReopenNeeded { .. } | DbError::Closed { .. }))) => {
                return Err(error.into());
            }
            Err(error) => self.problem(block, format!("{what}: {error}")),
        }
        Ok(None)
    }

    fn record<T>(
        &mut self,
        block: BlockRef,
        what: &str,
        column: Column,
        decode: impl FnOnce(&[u8]) -> Result<T, L2Error>,
    ) -> Result<Option<T>, L2Error> {
        let raw = self.inner.db.read(column, block.hash.as_slice()).map_err(L2Error::from);
        self.value(block, what, raw.and_then(|raw| raw.map(|raw| decode(&raw)).transpose()))
    }

    fn block(&mut self, block: BlockRef) -> Result<Option<Header>, L2Error> {
        let Some(header) = self.record(block, "header", Column::Headers, records::decode_header)? else {
            return Ok(None);
        };
        self.report.blocks += 1;
        if header.hash_slow() != block.hash || header.number != block.number {
            self.problem(block, "the header is that of another block");
            return Ok(None);
        }
        if self.inner.canonical_hash(block.number)? != Some(block.hash) {
            self.problem(block, "is not found by its number");
        }
        let Some(body) = self.record(block, "body", Column::Bodies, records::decode_body)? else {
            return Ok(Some(header));
        };
        let raw: Vec<&[u8]> = body.iter().map(|transaction| transaction.raw.as_ref()).collect();
        if ordered_trie_root_with_encoder(&raw, |raw, out| out.extend_from_slice(raw)) != header.transactions_root {
            self.problem(block, "the transactions do not have the header's root");
        }
        if let Some(receipts) = self.record(block, "receipts", Column::Receipts, records::decode_receipts)?
            && ordered_trie_root_with_encoder(&receipts, |raw, out| out.extend_from_slice(raw)) != header.receipts_root
        {
            self.problem(block, "the receipts do not have the header's root");
        }
        for (index, transaction) in (0u32..).zip(&body) {
            self.report.transactions += 1;
            if keccak256(&transaction.raw) != transaction.hash {
                self.problem(block, format!("transaction {index} has another hash than {}", transaction.hash));
            }
            let raw = self.inner.db.read(Column::Transactions, transaction.hash.as_slice())?;
            if raw.map(|raw| records::decode_location(&raw)).transpose()? != Some((block.number, index)) {
                self.problem(block, format!("transaction {} is not found by its hash", transaction.hash));
            }
        }
        Ok(Some(header))
    }

    fn head_state(&mut self, block: BlockRef) -> Result<(), L2Error> {
        let Some(header) = self.record(block, "header", Column::Headers, records::decode_header)? else {
            return Ok(());
        };
        let (source, mut result) = (Hashing(self.inner), Ok(()));
        let walked = walk(&source, TrieId::Accounts, header.state_root, &mut |visit: Visitor<'_>| {
            if let (Visitor::Leaf { key, value }, Ok(())) = (visit, &result) {
                result = self.account(block, *key, value);
            }
        });
        result?;
        if let Err(error) = walked {
            self.problem(block, format!("state: {error}"));
        }
        for (column, what, expected) in
            [(Column::Accounts, "accounts", self.report.accounts), (Column::Storage, "slots", self.report.slots)]
        {
            let mut count = 0;
            self.inner.db.for_each(column as u8, |_, _| {
                count += 1;
                true
            })?;
            if count != expected {
                self.problem(block, format!("the flat state has {count} {what}, the trie {expected}"));
            }
        }
        Ok(())
    }

    fn account(&mut self, block: BlockRef, hashed: B256, raw: &[u8]) -> Result<(), L2Error> {
        self.report.accounts += 1;
        let Ok(account) = alloy_rlp::decode_exact::<duskevm_trie::Account>(raw) else {
            self.problem(block, format!("account {hashed} is malformed"));
            return Ok(());
        };
        let info = AccountInfo { nonce: account.nonce, balance: account.balance, code_hash: account.code_hash };
        let flat = self.inner.db.read(Column::Accounts, hashed.as_slice())?;
        if flat != Some(records::encode_account(&info)) {
            self.problem(block, format!("account {hashed} differs between trie and flat state"));
        }
        if account.code_hash != KECCAK256_EMPTY {
            let code = self.inner.db.read(Column::Code, account.code_hash.as_slice())?;
            if code.is_none_or(|code| keccak256(code) != account.code_hash) {
                self.problem(block, format!("code {} is missing or damaged", account.code_hash));
            }
        }
        let (source, mut result) = (Hashing(self.inner), Ok(()));
        let walked = walk(&source, TrieId::Storage(hashed), account.storage_root, &mut |visit: Visitor<'_>| {
            if let (Visitor::Leaf { key, value }, Ok(())) = (visit, &result) {
                result = self.slot(block, hashed, *key, value);
            }
        });
        if let Err(error) = walked {
            self.problem(block, format!("state: {error}"));
        }
        result
    }

    fn slot(&mut self, block: BlockRef, hashed: B256, slot: B256, raw: &[u8]) -> Result<(), L2Error> {
        self.report.slots += 1;
        let value = alloy_rlp::decode_exact::<U256>(raw).ok();
        let flat = self.inner.db.read(Column::Storage, &storage_key(&hashed, &slot))?;
        if value.is_none() || flat != value.map(|value| records::encode_slot(&value)) {
            self.problem(block, format!("slot {slot} of {hashed} differs between trie and flat state"));
        }
        Ok(())
    }
}

/// Finds nodes, but only those that have the hash under which they are stored.
struct Hashing<'a>(&'a Inner);

impl NodeSource for Hashing<'_> {
    type Error = DbError;

    fn node(&self, hash: &B256) -> Result<Option<Bytes>, DbError> {
        Ok(self.0.node(hash)?.filter(|raw| keccak256(raw) == *hash))
    }
}
