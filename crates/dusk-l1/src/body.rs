//! What a block holds below its header: transactions, faults, and the roots that bind them. Made here, and checked, for any
//! number of provisioners; the header's own rules are in [`crate::header`].

use dusk_core::transfer::Transaction;
use dusk_node_data::Serializable;
use dusk_node_data::ledger::{Block, Fault, Header, LedgerTransaction, Slash};
use dusk_node_data::{MAX_NUMBER_OF_FAULTS, MAX_NUMBER_OF_TRANSACTIONS};

use crate::block::{
    BlockError, BuildError, Built, ExecutedBlock, LedgerParams, MAX_BLOCK_BYTES, MAX_BLOCK_TXS, expect, tx_root,
};
use crate::contracts::NativeContracts;
use crate::execute::{ExecuteError, Executor, NotIncluded};
use crate::forks;
use crate::keys::AccountId;
use crate::kind;
use crate::merkle::merkle_root;
use crate::rewards::rewards;
use crate::state::StateRoot;
use crate::tx::{Tx, VerifiedTx, is_same};

/// Bytes that a header and the lengths of the two lists may still gain: its certificate is not there yet.
const RESERVE: usize = 64;

/// A block to be made.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// Everything of the header that does not depend on the content: version, height, timestamp, parent, seed, generator,
    /// gas limit, certificate of the parent, iteration and failed iterations.
    pub header: Header,
    /// Faults that it proves; they have been checked.
    pub faults: Vec<Fault>,
    /// Voters of the parent's certificate with their credits, ascending by key.
    pub cert_voters: &'a [(AccountId, u32)],
}

/// What must be known of the blobs of a block.
#[derive(Clone, Copy)]
pub enum BlobsNeeded<'a> {
    /// Every blob must be at hand with a proof that was checked: the function tells by versioned hash. For voters.
    Checked(&'a dyn Fn(&[u8; 32]) -> bool),
    /// None: the votes for the block were cast by those who had them.
    None,
}

impl std::fmt::Debug for BlobsNeeded<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Checked(_) => "Checked",
            Self::None => "None",
        })
    }
}

/// Merkle root over the faults.
pub fn fault_root(faults: &[Fault]) -> [u8; 32] {
    merkle_root(&faults.iter().map(Fault::digest).collect::<Vec<_>>())
}

/// Penalties of a block with this header and these faults, in their order: failed iterations, then faults.
fn slashes(header: &Header, faults: &[Fault]) -> std::io::Result<Vec<Slash>> {
    Slash::from_iterations_and_faults(&header.failed_iterations, faults)
}

/// Makes the block of `draft` with as many of `candidates` as fit, in the order given. The block has its hash, but neither
/// signature nor attestation. `state` is the state after the parent.
pub fn build_body<'a, S: StateRoot + ?Sized>(
    draft: Draft<'_>,
    params: &LedgerParams,
    state: &S,
    contracts: &dyn NativeContracts,
    candidates: impl IntoIterator<Item = &'a VerifiedTx>,
) -> Result<Built, BuildError> {
    forks::activate();
    let codec = |error: std::io::Error| BuildError::Codec(error.to_string());
    let Draft { mut header, mut faults, cert_voters } = draft;
    faults.truncate(MAX_NUMBER_OF_FAULTS);
    let height = header.height;
    let mut executor = Executor::new(state, contracts, params.env(height, header.timestamp, header.gas_limit));
    executor.slash(&slashes(&header, &faults).map_err(codec)?)?;

    let (mut txs, mut rejected) = (Vec::new(), Vec::new());
    let mut room = MAX_BLOCK_BYTES.saturating_sub(header.size() + RESERVE);
    for fault in &faults {
        let mut bytes = Vec::new();
        fault.write(&mut bytes).map_err(codec)?;
        room = room.saturating_sub(bytes.len());
    }
    for tx in candidates {
        if txs.len() >= MAX_BLOCK_TXS {
            break;
        }
        if tx.size() > room {
            continue;
        }
        match executor.execute(tx) {
            Ok(_) => {
                room -= tx.size();
                txs.push(tx.ledger().clone());
            }
            Err(NotIncluded::Rejected(reason)) => rejected.push((*tx.id(), reason)),
            Err(NotIncluded::BlockFull) => {}
            Err(NotIncluded::Fault(fault)) => return Err(fault.into()),
        }
    }
    let generator = AccountId::from_trusted(header.generator_bls_pubkey.0);
    let shares =
        rewards(height, executor.fees(), params.treasury, generator, cert_voters).map_err(ExecuteError::from)?;
    let executed = executor.finish(&shares)?;

    header.hash = [0; 32];
    header.txroot = tx_root(&txs);
    header.faultroot = fault_root(&faults);
    header.event_bloom = executed.bloom.into_bytes();
    header.state_hash = state.root_with(&executed.diff)?.0;
    let block = Block::new(header, txs, faults).map_err(codec)?;
    Ok(Built { block: ExecutedBlock { block, executed }, rejected })
}

/// Checks the content of a block whose header was checked, and computes its effects. `cert_voters` are what the header proved,
/// `state` is the state after the parent. The faults themselves are the caller's to check: here only their root is.
///
/// Signatures of transactions are checked one after another; [`verify_body_of`] takes them checked.
pub fn verify_body<S: StateRoot + ?Sized>(
    block: Block,
    cert_voters: &[(AccountId, u32)],
    params: &LedgerParams,
    state: &S,
    contracts: &dyn NativeContracts,
    blobs: BlobsNeeded<'_>,
) -> Result<ExecutedBlock, BlockError> {
    forks::activate();
    let height = block.header().height;
    let verified = block.txs().iter().take(MAX_NUMBER_OF_TRANSACTIONS).enumerate().map(|(index, ledger)| {
        Tx::from_ledger(ledger.clone(), height).and_then(Tx::verify).map_err(|error| BlockError::Transaction {
            height,
            index,
            error,
        })
    });
    let verified = verified.collect::<Result<Vec<_>, _>>()?;
    verify_body_of(block, &verified, cert_voters, params, state, contracts, blobs)
}

/// Whether the transactions are of the kinds that their content has. The roots do not tell a Blob transaction from the Memo of its
/// hashes, so whoever passes a block on could swap them: a block in which one is ambiguous is not taken for what its hash names.
///
/// # Errors
/// [`BlockError::NotIncludable`].
pub fn verify_kinds(block: &Block, contracts: &dyn NativeContracts) -> Result<(), BlockError> {
    let height = block.header().height;
    for (index, ledger) in block.txs().iter().enumerate() {
        let Transaction::Moonlight(inner) = ledger.protocol() else { continue };
        kind::check(inner.data(), contracts).map_err(|reason| BlockError::NotIncludable {
            height,
            index,
            reason: reason.to_owned(),
        })?;
    }
    Ok(())
}

/// What the roots of a header say of the content, and how large it may be. Needs neither state nor signatures: this much is
/// checked before a candidate is passed on.
///
/// # Errors
/// [`BlockError::Malformed`] and [`BlockError::Header`].
pub fn verify_roots(block: &Block) -> Result<(), BlockError> {
    forks::activate();
    let malformed = |error: std::io::Error| BlockError::Malformed(error.to_string());
    let header = block.header();
    let height = header.height;
    for (what, count, most) in [
        ("transactions", block.txs().len(), MAX_NUMBER_OF_TRANSACTIONS),
        ("faults", block.faults().len(), MAX_NUMBER_OF_FAULTS),
    ] {
        if count > most {
            return Err(BlockError::Malformed(format!("{count} {what}, more than {most}")));
        }
    }
    let size = block.size().map_err(malformed)?;
    if size > MAX_BLOCK_BYTES {
        return Err(BlockError::Malformed(format!("{size} bytes, more than {MAX_BLOCK_BYTES}")));
    }
    expect("txroot", height, &tx_root(block.txs()), &header.txroot)?;
    expect("faultroot", height, &fault_root(block.faults()), &header.faultroot)
}

/// [`verify_body`] with the block's transactions, whose signatures were checked before: from a pool, or on several processors.
///
/// # Errors
/// As there; [`BlockError::Malformed`] if `txs` are not those of the block.
pub fn verify_body_of<S: StateRoot + ?Sized>(
    block: Block,
    txs: &[VerifiedTx],
    cert_voters: &[(AccountId, u32)],
    params: &LedgerParams,
    state: &S,
    contracts: &dyn NativeContracts,
    blobs: BlobsNeeded<'_>,
) -> Result<ExecutedBlock, BlockError> {
    verify_roots(&block)?;
    let header = block.header();
    let height = header.height;
    if txs.len() != block.txs().len() || !txs.iter().zip(block.txs()).all(|(tx, ledger)| is_same(tx.ledger(), ledger)) {
        return Err(BlockError::Malformed("the transactions are not those that were checked".into()));
    }
    let mut executor = Executor::new(state, contracts, params.env(height, header.timestamp, header.gas_limit));
    let slashes =
        slashes(header, block.faults()).map_err(|error: std::io::Error| BlockError::Malformed(error.to_string()))?;
    executor.slash(&slashes)?;
    for (index, tx) in txs.iter().enumerate() {
        need_blobs(height, index, tx.ledger(), blobs)?;
        match executor.execute(tx) {
            Ok(_) => {}
            Err(NotIncluded::Fault(fault)) => return Err(fault.into()),
            Err(reason) => return Err(BlockError::NotIncludable { height, index, reason: reason.to_string() }),
        }
    }
    let generator = AccountId::from_trusted(header.generator_bls_pubkey.0);
    let shares =
        rewards(height, executor.fees(), params.treasury, generator, cert_voters).map_err(ExecuteError::from)?;
    let executed = executor.finish(&shares)?;
    if executed.bloom.into_bytes() != header.event_bloom {
        let detail = "it does not match the events of the block".into();
        return Err(BlockError::Header { height, field: "event_bloom", detail });
    }
    expect("state_hash", height, &state.root_with(&executed.diff)?.0, &header.state_hash)?;
    Ok(ExecutedBlock { block, executed })
}

fn need_blobs(height: u64, index: usize, ledger: &LedgerTransaction, blobs: BlobsNeeded<'_>) -> Result<(), BlockError> {
    let BlobsNeeded::Checked(is_checked) = blobs else { return Ok(()) };
    match ledger.protocol().blob().into_iter().flatten().find(|blob| !is_checked(&blob.hash)) {
        Some(blob) => Err(BlockError::Blob { height, index, hash: blob.hash }),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
