//! Searching logs.

use crate::{
    api::{Api, registry::Registry},
    config::Limits,
    error::RpcError,
    json::response_too_large,
    source::{Announced, Source, may_match},
    types::logs_of,
    workers::Cancel,
};
use alloy_eips::BlockNumberOrTag;
use alloy_primitives::B256;
use alloy_rpc_types_eth::{Filter, FilterBlockOption, Log};

/// Addresses that one filter may name, as in geth.
const MAX_ADDRESSES: usize = 1000;
/// Alternatives that one filter may name for each topic, as in geth.
const MAX_TOPICS: usize = 1000;

pub(super) fn register(registry: &mut Registry) {
    registry.heavy("eth_getLogs", |api, mut args, cancel| {
        let filter: Filter = args.required()?;
        args.end()?;
        search(api, &filter, cancel)
    });
}

/// # Errors
/// If the filter is larger than allowed.
pub(crate) fn check(filter: &Filter) -> Result<(), RpcError> {
    if filter.address.len() > MAX_ADDRESSES {
        return Err(RpcError::params("exceed max addresses"));
    }
    if filter.topics.iter().any(|topic| topic.len() > MAX_TOPICS) {
        return Err(RpcError::params("exceed max topics"));
    }
    Ok(())
}

/// All logs that a filter names.
///
/// # Errors
/// If the range is impossible or longer than allowed, or there are more logs than allowed.
pub(crate) fn search(api: &Api, filter: &Filter, cancel: &Cancel) -> Result<Vec<Log>, RpcError> {
    check(filter)?;
    let cancel = cancel.within(api.limits.call_timeout());
    let mut found = Found::new(&api.limits);
    match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            if api.chain.header(hash)?.is_none() {
                return Err(RpcError::server("unknown block"));
            }
            found.take_block(&api.chain, hash, filter, false)?;
        }
        FilterBlockOption::Range { from_block, to_block } => {
            let (first, last) = range(&api.chain, from_block, to_block, api.limits.max_log_blocks)?;
            for number in first..=last {
                cancel.check()?;
                // The head may have moved back since the range was fixed.
                let Some(hash) = api.chain.canonical_hash(number)? else { break };
                found.take_block(&api.chain, hash, filter, false)?;
            }
        }
    }
    Ok(found.logs)
}

/// First and last block number, inclusive; an empty range is `(1, 0)`.
pub(crate) fn range(
    chain: &impl Source,
    from: Option<BlockNumberOrTag>,
    to: Option<BlockNumberOrTag>,
    most: u64,
) -> Result<(u64, u64), RpcError> {
    if from.is_some_and(|tag| tag.is_pending()) || to.is_some_and(|tag| tag.is_pending()) {
        return Err(RpcError::params("pending logs are not supported"));
    }
    let head = chain.heads()?.latest.number;
    let first = chain.number_of(from.unwrap_or_default())?;
    let last = chain.number_of(to.unwrap_or_default())?;
    if first > last {
        return Err(RpcError::params("invalid block range params"));
    }
    if first > head {
        return Ok((1, 0));
    }
    let last = last.min(head);
    if last - first >= most {
        return Err(RpcError::params(format!("exceed maximum block range: {most}")));
    }
    Ok((first, last))
}

/// Logs found so far.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) logs: Vec<Log>,
    most: usize,
    /// Bytes that the answer may still grow by.
    bytes_left: usize,
    max_bytes: usize,
}

/// What a log takes in an answer beside its topics and its data: the names of its fields, its address and its place.
const LOG_BYTES: usize = 480;
/// What a topic takes in an answer.
const TOPIC_BYTES: usize = 69;

impl Found {
    pub(crate) fn new(limits: &Limits) -> Self {
        let max_bytes = limits.max_response_bytes as usize;
        Self { logs: Vec::new(), most: limits.max_log_results, bytes_left: max_bytes, max_bytes }
    }

    /// Adds the logs of a block that match.
    ///
    /// # Errors
    /// If there are too many, or the block cannot be read.
    pub(crate) fn take_block(
        &mut self,
        chain: &impl Source,
        hash: B256,
        filter: &Filter,
        removed: bool,
    ) -> Result<(), RpcError> {
        // The bloom is in the header, so most blocks need no more than that.
        let Some(header) = chain.header(hash)? else { return Ok(()) };
        if !may_match(&header, filter) {
            return Ok(());
        }
        let Some(block) = chain.whole(hash)? else { return Ok(()) };
        self.take(&block, filter, removed)
    }

    /// The same for a block that is at hand.
    ///
    /// # Errors
    /// If there are too many.
    pub(crate) fn take(&mut self, block: &impl Announced, filter: &Filter, removed: bool) -> Result<(), RpcError> {
        logs_of(
            block,
            removed,
            |log| filter.matches(log),
            |log| {
                if self.logs.len() == self.most {
                    return Err(RpcError::LimitExceeded(format!("query returned more than {} results", self.most)));
                }
                // Some logs are so long that a few of them are too much: that shows here, not when all are in memory.
                let bytes = LOG_BYTES + TOPIC_BYTES * log.topics().len() + 2 * log.data().data.len();
                self.bytes_left =
                    self.bytes_left.checked_sub(bytes).ok_or_else(|| response_too_large(self.max_bytes))?;
                self.logs.push(log);
                Ok(())
            },
        )
    }
}
