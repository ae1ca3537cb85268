//! The chain in the L2 database.

use crate::{
    chain::{
        Account, AccountProof, BlockRef, ChainReader, Heads, ReadError, SafeHead, SlotProof, StateReader, TxLocation,
    },
    feed::HeadSignal,
};
use alloy_consensus::{Header, Sealable as _, Sealed};
use alloy_eips::{BlockNumHash, eip2718::Decodable2718 as _};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use duskevm_evm::Block;
use duskevm_messages::executor::HeadsFeed;
use duskevm_store::l2::{L2Error, L2Reader, StateSnapshot};
use op_alloy_consensus::OpReceiptEnvelope;
use std::{fmt, sync::Arc};

/// Reads the L2 database. The newest block comes from the executor's feed, where it is decoded already.
#[derive(Clone)]
pub struct StoreReader {
    feed: HeadsFeed,
    reader: L2Reader,
}

impl fmt::Debug for StoreReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreReader").finish_non_exhaustive()
    }
}

impl StoreReader {
    /// Reads what the executor writes. Both arguments stay valid when it is restarted.
    pub fn new(feed: HeadsFeed, reader: L2Reader) -> Self {
        Self { feed, reader }
    }

    /// Says when the heads moved.
    pub fn signal(&self) -> HeadSignal {
        let feed = self.feed.clone();
        Arc::new(move || {
            let feed = feed.clone();
            Box::pin(futures::stream::unfold(feed, |mut feed| async move {
                feed.changed().await.ok()?;
                Some(((), feed))
            }))
        })
    }

    /// The newest block, if it has this hash.
    fn newest(&self, hash: B256) -> Option<Arc<Block>> {
        self.feed.borrow().as_ref().map(|heads| heads.latest.clone()).filter(|block| block.hash() == hash)
    }
}

impl From<L2Error> for ReadError {
    fn from(error: L2Error) -> Self {
        match error {
            L2Error::StatePruned { block, .. } => Self::Pruned(format!("the state of block {block}")),
            L2Error::Reorged { block } => Self::Reorged(format!("block {block}")),
            L2Error::Empty => Self::NotReady,
            other => Self::Backend(other.to_string()),
        }
    }
}

fn damaged(what: &str, hash: B256, error: impl fmt::Display) -> ReadError {
    ReadError::Backend(format!("{what} of block {hash}: {error}; run `duskevm db verify`"))
}

impl ChainReader for StoreReader {
    fn heads(&self) -> Result<Heads, ReadError> {
        let feed = self.feed.borrow();
        let heads = feed.as_ref().ok_or(ReadError::NotReady)?;
        let at = |block: BlockNumHash| BlockRef { number: block.number, hash: block.hash };
        Ok(Heads {
            latest: BlockRef { number: heads.latest.number(), hash: heads.latest.hash() },
            safe: at(heads.safe),
            finalized: at(heads.finalized),
        })
    }

    fn canonical_hash(&self, number: u64) -> Result<Option<B256>, ReadError> {
        Ok(self.reader.canonical_hash(number)?)
    }

    fn header(&self, hash: B256) -> Result<Option<Sealed<Header>>, ReadError> {
        if let Some(block) = self.newest(hash) {
            return Ok(Some(block.header.clone()));
        }
        Ok(self.reader.header(&hash)?.map(|header| header.seal_unchecked(hash)))
    }

    fn block(&self, hash: B256) -> Result<Option<Arc<Block>>, ReadError> {
        if let Some(block) = self.newest(hash) {
            return Ok(Some(block));
        }
        let (Some(header), Some(body)) = (self.reader.header(&hash)?, self.reader.body(&hash)?) else {
            return Ok(None);
        };
        let block = Block::from_stored(header, hash, body.into_iter().map(|stored| (stored.raw, stored.sender)));
        Ok(Some(Arc::new(block.map_err(|error| damaged("the body", hash, error))?)))
    }

    fn receipts(&self, hash: B256) -> Result<Option<Arc<Vec<OpReceiptEnvelope>>>, ReadError> {
        let Some(stored) = self.reader.receipts(&hash)? else { return Ok(None) };
        let receipts = stored
            .iter()
            .map(|raw| OpReceiptEnvelope::decode_2718_exact(raw).map_err(|e| damaged("a receipt", hash, e)))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Arc::new(receipts)))
    }

    fn transaction(&self, hash: B256) -> Result<Option<TxLocation>, ReadError> {
        let location = self.reader.transaction_location(&hash)?;
        Ok(location.map(|location| TxLocation { block: location.block.hash, index: location.index as usize }))
    }

    fn safe_head_at(&self, l1_number: u64) -> Result<Option<SafeHead>, ReadError> {
        let at = |block: duskevm_store::l2::BlockRef| BlockRef { number: block.number, hash: block.hash };
        let noted = self.reader.safe_head_at(l1_number)?;
        Ok(noted.map(|noted| SafeHead { l1: at(noted.l1), l2: at(noted.l2) }))
    }

    fn state(&self, block: B256) -> Result<Option<Arc<dyn StateReader>>, ReadError> {
        match self.reader.state_at(&block) {
            Ok(snapshot) => Ok(Some(Arc::new(Snapshot(snapshot)))),
            Err(L2Error::UnknownBlock(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A state of the database.
struct Snapshot(StateSnapshot);

impl StateReader for Snapshot {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        Ok(self.0.account(&address)?.map(|account| Account {
            nonce: account.nonce,
            balance: account.balance,
            code_hash: account.code_hash,
        }))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        Ok(self.0.storage(&address, &slot)?)
    }

    fn code(&self, hash: B256) -> Result<Bytes, ReadError> {
        // What nobody deployed is not stored.
        if hash == KECCAK256_EMPTY {
            return Ok(Bytes::new());
        }
        self.0
            .code(&hash)?
            .ok_or_else(|| ReadError::Backend(format!("code {hash} is missing; run `duskevm db verify`")))
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        // The EVM takes zero for a block that it cannot see.
        Ok(self.0.block_hash(number)?.unwrap_or_default())
    }

    fn prove(&self, address: Address, slots: &[U256]) -> Result<AccountProof, ReadError> {
        let proof = self.0.prove(&address, slots)?;
        let account = proof.account;
        Ok(AccountProof {
            account: account.map(|account| Account {
                nonce: account.nonce,
                balance: account.balance,
                code_hash: account.code_hash,
            }),
            storage_root: account.map_or(duskevm_trie::EMPTY_ROOT_HASH, |account| account.storage_root),
            nodes: proof.proof,
            slots: proof
                .slots
                .into_iter()
                .map(|slot| SlotProof { slot: slot.slot, value: slot.value, nodes: slot.proof })
                .collect(),
        })
    }
}
