//! The store as the RPC reads it.

use alloy_consensus::{Header, Sealable, Sealed};
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use duskevm_evm::{Block, RecoveredTx};
use duskevm_messages::executor::HeadsFeed;
use duskevm_rpc::chain::{
    Account, AccountProof, BlockRef, ChainReader, Heads, ReadError, SlotProof, StateReader, TxLocation,
};
use duskevm_store::l2::{L2Error, L2Reader, StateSnapshot};
use duskevm_trie::EMPTY_ROOT_HASH;
use op_alloy_consensus::OpReceiptEnvelope;
use std::sync::Arc;

/// Reads from the database and, for the heads, from what the executor announced: a block that is stored but not announced is
/// nobody's business yet.
#[derive(Debug, Clone)]
pub(super) struct StoreReader {
    pub(super) reader: L2Reader,
    pub(super) heads: HeadsFeed,
}

fn failed(error: L2Error) -> ReadError {
    match error {
        L2Error::StatePruned { .. } | L2Error::Reorged { .. } => ReadError::Pruned(error.to_string()),
        other => ReadError::Backend(other.to_string()),
    }
}

fn damaged(what: &str, error: &dyn std::fmt::Display) -> ReadError {
    ReadError::Backend(format!("{what}: {error}"))
}

impl ChainReader for StoreReader {
    fn heads(&self) -> Result<Heads, ReadError> {
        let heads = self.heads.borrow();
        let heads = heads.as_ref().ok_or_else(|| ReadError::Backend("the chain is being opened".into()))?;
        let latest = BlockRef { number: heads.latest.number(), hash: heads.latest.hash() };
        let label = |id: alloy_eips::BlockNumHash| BlockRef { number: id.number, hash: id.hash };
        Ok(Heads { latest, safe: label(heads.safe), finalized: label(heads.finalized) })
    }

    fn canonical_hash(&self, number: u64) -> Result<Option<B256>, ReadError> {
        self.reader.canonical_hash(number).map_err(failed)
    }

    fn header(&self, hash: B256) -> Result<Option<Sealed<Header>>, ReadError> {
        Ok(self.reader.header(&hash).map_err(failed)?.map(|header| header.seal_unchecked(hash)))
    }

    fn block(&self, hash: B256) -> Result<Option<Arc<Block>>, ReadError> {
        let Some(header) = self.header(hash)? else { return Ok(None) };
        let Some(body) = self.reader.body(&hash).map_err(failed)? else { return Ok(None) };
        let transactions = body
            .iter()
            .map(|stored| RecoveredTx::decode_with_sender(&stored.raw, stored.sender).map(Arc::new))
            .collect::<Result<_, _>>()
            .map_err(|error| damaged("a stored transaction", &error))?;
        Ok(Some(Arc::new(Block { header, transactions })))
    }

    fn receipts(&self, hash: B256) -> Result<Option<Arc<Vec<OpReceiptEnvelope>>>, ReadError> {
        let Some(stored) = self.reader.receipts(&hash).map_err(failed)? else { return Ok(None) };
        let receipts = stored
            .iter()
            .map(|bytes| OpReceiptEnvelope::decode_2718(&mut bytes.as_ref()))
            .collect::<Result<_, _>>()
            .map_err(|error| damaged("a stored receipt", &error))?;
        Ok(Some(Arc::new(receipts)))
    }

    fn transaction(&self, hash: B256) -> Result<Option<TxLocation>, ReadError> {
        let location = self.reader.transaction_location(&hash).map_err(failed)?;
        Ok(location.map(|at| TxLocation { block: at.block.hash, index: at.index as usize }))
    }

    fn state(&self, block: B256) -> Result<Option<Arc<dyn StateReader>>, ReadError> {
        match self.reader.state_at(&block) {
            Ok(snapshot) => Ok(Some(Arc::new(Snapshot(snapshot)))),
            Err(L2Error::UnknownBlock(_)) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}

struct Snapshot(StateSnapshot);

impl StateReader for Snapshot {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        let account = self.0.account(&address).map_err(failed)?;
        Ok(account.map(|info| Account { nonce: info.nonce, balance: info.balance, code_hash: info.code_hash }))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        self.0.storage(&address, &slot).map_err(failed)
    }

    fn code(&self, hash: B256) -> Result<Bytes, ReadError> {
        if hash == KECCAK256_EMPTY {
            return Ok(Bytes::new());
        }
        let code = self.0.code(&hash).map_err(failed)?;
        code.ok_or_else(|| damaged("the database", &format_args!("code {hash} is missing")))
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        Ok(self.0.block_hash(number).map_err(failed)?.unwrap_or_default())
    }

    fn prove(&self, address: Address, slots: &[U256]) -> Result<AccountProof, ReadError> {
        let proof = self.0.prove(&address, slots).map_err(failed)?;
        Ok(AccountProof {
            storage_root: proof.account.map_or(EMPTY_ROOT_HASH, |account| account.storage_root),
            account: proof.account.map(|account| Account {
                nonce: account.nonce,
                balance: account.balance,
                code_hash: account.code_hash,
            }),
            nodes: proof.proof,
            slots: proof
                .slots
                .into_iter()
                .map(|slot| SlotProof { slot: slot.slot, value: slot.value, nodes: slot.proof })
                .collect(),
        })
    }
}
