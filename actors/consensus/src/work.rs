//! What takes long: making, checking and executing blocks. Plain functions for worker threads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use duskevm_blobs::{BlobError, Hash, Sidecar, Verified, kzg};
use duskevm_dusk_l1::block::{BlockError, BuildError, Built, ExecutedBlock, LedgerParams};
use duskevm_dusk_l1::body::{BlobsNeeded, Draft, build_body, verify_body_of, verify_kinds, verify_roots};
use duskevm_dusk_l1::contracts::NativeContracts;
use duskevm_dusk_l1::execute::ExecuteError;
use duskevm_dusk_l1::header::{HeaderContext, HeaderError, HeaderFacts, Stage, verify_header};
use duskevm_dusk_l1::keys::Signer;
use duskevm_dusk_l1::sa::attestation::voters;
use duskevm_dusk_l1::sa::bls::{Bls, DuskBls};
use duskevm_dusk_l1::sa::committee::Committees;
use duskevm_dusk_l1::sa::evidence::{FaultError, Headers, fault_id, verify_fault};
use duskevm_dusk_l1::sa::machine::{ApplyFailure, Verdict};
use duskevm_dusk_l1::sa::wire::{CandidateFrame, WireError, decode_block};
use duskevm_dusk_l1::state::MemoryState;
use duskevm_dusk_l1::tx::{Tx, TxId, VerifiedTx, is_same};
use duskevm_dusk_l1::{
    Attestation, BLOCK_HEADER_VERSION, Block, Fault, Header, IterationInfo, IterationsInfo, LedgerTransaction,
    PublicKeyBytes, Serializable, Signature,
};
use duskevm_messages::consensus::SubmitRefusal;
use duskevm_store::l1::{L1Store, L1StoreError};

/// Transactions from which on signatures are checked on all processors.
const MANY: usize = 8;

/// What a block above the tip is made and checked with. A snapshot: it stays what it is when the tip moves on.
#[derive(Clone)]
pub(crate) struct Above {
    pub(crate) parent: Header,
    pub(crate) committees: Arc<Committees>,
    pub(crate) previous: Option<Arc<Committees>>,
    pub(crate) state: Arc<MemoryState>,
    pub(crate) params: Arc<LedgerParams>,
    pub(crate) contracts: Arc<dyn NativeContracts + Send + Sync>,
    pub(crate) store: L1Store,
}

/// What the consensus asks to have built.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) iteration: u8,
    pub(crate) cert: Attestation,
    pub(crate) failed: Vec<Option<IterationInfo>>,
    pub(crate) faults: Vec<Fault>,
}

/// Why a block cannot be judged or taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error(transparent)]
    Body(#[from] BlockError),
    #[error("a fault in the block: {0}")]
    Fault(#[from] FaultError),
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Of this node, not of the block.
    #[error("this node cannot check the block: {0}")]
    Store(#[from] L1StoreError),
}

impl Refused {
    /// How a provisioner votes because of it.
    pub(crate) fn verdict(&self) -> Verdict {
        let vote = match self {
            Self::Header(error) => error.is_vote(),
            // The sidecars are not what the hash of the block binds: whoever passed the block on may have taken them out.
            Self::Body(error) => !matches!(error, BlockError::Execute(_) | BlockError::Blob { .. }),
            Self::Fault(_) | Self::Wire(_) => true,
            Self::Store(_) => false,
        };
        if vote { Verdict::Invalid } else { Verdict::Abstain }
    }

    /// What it means for a block that was agreed on.
    pub(crate) fn failure(&self) -> ApplyFailure {
        match self {
            Self::Header(HeaderError::Height { .. } | HeaderError::Parent | HeaderError::Context)
            | Self::Body(BlockError::Execute(_))
            | Self::Store(_) => ApplyFailure::Outdated,
            _ => ApplyFailure::Invalid,
        }
    }
}

struct Heights<'a>(&'a L1Store);

impl Headers for Heights<'_> {
    fn height_of(&self, hash: &[u8; 32]) -> Option<u64> {
        self.0.block_height(hash).ok().flatten()
    }
}

impl Above {
    fn context(&self) -> HeaderContext<'_> {
        HeaderContext {
            parent: &self.parent,
            committees: &self.committees,
            previous: self.previous.as_deref(),
            params: &self.params,
        }
    }

    fn facts(&self, bls: &DuskBls, header: &Header, stage: Stage) -> Result<HeaderFacts, HeaderError> {
        // The parent was taken with this attestation, so it was verified then.
        let known =
            |hash: &[u8; 32], attestation: &Attestation| *hash == self.parent.hash && *attestation == self.parent.att;
        verify_header(bls, &self.context(), header, stage, &known)
    }

    /// All nodes know the committees of these rounds; older ones are taken on the signatures alone.
    fn committees_of(&self, round: u64) -> Option<Arc<Committees>> {
        [Some(&self.committees), self.previous.as_ref()].into_iter().flatten().find(|c| c.round() == round).cloned()
    }

    fn check_faults(&self, bls: &DuskBls, height: u64, faults: &[Fault]) -> Result<(), Refused> {
        let mut earlier = BTreeSet::new();
        for fault in faults {
            // One step of one signer is punished once, whichever two of its votes prove it.
            let id = fault_id(fault)?;
            let known = self.store.fault(&id)?.is_some() || !earlier.insert(id);
            let committees = |round| self.committees_of(round);
            verify_fault(bls, fault, height, &Heights(&self.store), &committees, &|_| known)?;
        }
        Ok(())
    }

    /// Makes the block above the parent: hash set, neither signed nor attested. `now` in Unix seconds.
    pub(crate) fn build(
        &self,
        bls: &DuskBls,
        signer: &Signer,
        order: Order,
        now: u64,
        txs: &[VerifiedTx],
    ) -> Result<Built, BuildError> {
        let parent = &self.parent;
        let height = parent.height.checked_add(1).ok_or(BuildError::HeightOverflow)?;
        let cert_voters = match &self.previous {
            Some(previous) => voters(&order.cert, &parent.to_consensus_header(), previous)
                .map_err(|error| BuildError::Codec(format!("the certificate of the parent: {error}")))?,
            None => Vec::new(),
        };
        let mut faults = Vec::new();
        for fault in order.faults {
            faults.push(fault);
            if let Err(error) = self.check_faults(bls, height, &faults) {
                tracing::debug!(%error, "evidence that does not hold is left out");
                faults.pop();
            }
        }
        let header = Header {
            version: BLOCK_HEADER_VERSION,
            height,
            timestamp: now.max(parent.timestamp.saturating_add(self.params.block_time)),
            prev_block_hash: parent.hash,
            seed: Signature::from(bls.sign(signer, parent.seed.inner())),
            generator_bls_pubkey: PublicKeyBytes(*signer.id().as_bytes()),
            gas_limit: self.params.block_gas_limit,
            iteration: order.iteration,
            prev_block_cert: order.cert,
            failed_iterations: IterationsInfo::new(order.failed),
            ..Header::default()
        };
        let draft = Draft { header, faults, cert_voters: &cert_voters };
        build_body(draft, &self.params, &*self.state, &*self.contracts, txs)
    }

    /// Checks and executes a candidate. `known` are transactions whose signatures were checked before, `now` Unix seconds.
    pub(crate) fn check(
        &self,
        bls: &DuskBls,
        candidate: &Prepared,
        known: BTreeMap<TxId, VerifiedTx>,
        now: u64,
    ) -> Result<ExecutedBlock, Refused> {
        let block = candidate.block.clone();
        let facts = self.facts(bls, block.header(), Stage::Candidate { now })?;
        self.check_faults(bls, block.header().height, block.faults())?;
        let checked: BTreeSet<&Hash> = candidate.blobs.iter().map(|blob| blob.hash()).collect();
        let at_hand = |hash: &Hash| checked.contains(hash);
        self.body(block, &facts, known, BlobsNeeded::Checked(&at_hand))
    }

    fn body(
        &self,
        block: Block,
        facts: &HeaderFacts,
        known: BTreeMap<TxId, VerifiedTx>,
        blobs: BlobsNeeded<'_>,
    ) -> Result<ExecutedBlock, Refused> {
        verify_roots(&block)?;
        let txs = verify_transactions(&block, known)?;
        let executed =
            verify_body_of(block, &txs, &facts.cert_voters, &self.params, &*self.state, &*self.contracts, blobs)?;
        Ok(executed)
    }

    /// Checks a block that others agreed on, and executes it unless that was done: `executed` is the same block, as it was
    /// judged or made here.
    pub(crate) fn accept(
        &self,
        bls: &DuskBls,
        bytes: &[u8],
        attestation: Attestation,
        executed: Option<Arc<ExecutedBlock>>,
        known: BTreeMap<TxId, VerifiedTx>,
    ) -> Result<ExecutedBlock, Refused> {
        let mut block = decode_block(bytes)?;
        block.set_attestation(attestation);
        // An attested block is taken whatever the own clock says: a supermajority has looked at theirs.
        let facts = self.facts(bls, block.header(), Stage::Accept { now: None })?;
        if let Some(executed) = executed.filter(|executed| executed.block.header().hash == block.header().hash) {
            // The content as it was executed: the hash does not tell a Blob transaction from the Memo of its hashes.
            let mut own = executed.block.clone();
            own.set_signature(block.header().signature);
            own.set_attestation(attestation);
            return Ok(ExecutedBlock { block: own, executed: executed.executed.clone() });
        }
        self.check_faults(bls, block.header().height, block.faults())?;
        self.body(block, &facts, known, BlobsNeeded::None)
    }
}

/// Checks the signatures of a block's transactions, on all processors if they are many.
fn verify_transactions(block: &Block, mut known: BTreeMap<TxId, VerifiedTx>) -> Result<Vec<VerifiedTx>, BlockError> {
    let height = block.header().height;
    let verify = |index: usize, ledger: &LedgerTransaction| {
        Tx::from_ledger(ledger.clone(), height).and_then(Tx::verify).map_err(|error| BlockError::Transaction {
            height,
            index,
            error,
        })
    };
    let mut txs: Vec<Option<VerifiedTx>> =
        block.txs().iter().map(|ledger| known.remove(&ledger.id()).filter(|tx| is_same(tx.ledger(), ledger))).collect();
    let unknown: Vec<usize> = (0..txs.len()).filter(|index| txs[*index].is_none()).collect();
    let threads = if unknown.len() < MANY { 1 } else { processors() };
    let share = unknown.len().div_ceil(threads).max(1);
    let outcome = |part: &[usize]| -> Result<Vec<(usize, VerifiedTx)>, BlockError> {
        part.iter().map(|index| Ok((*index, verify(*index, &block.txs()[*index])?))).collect()
    };
    let done: Result<Vec<_>, BlockError> = if threads == 1 {
        outcome(&unknown).map(|part| vec![part])
    } else {
        std::thread::scope(|scope| {
            let parts: Vec<_> = unknown.chunks(share).map(|part| scope.spawn(|| outcome(part))).collect();
            parts
                .into_iter()
                .map(|part| {
                    part.join().unwrap_or_else(|_| Err(BlockError::Malformed("the check of a transaction died".into())))
                })
                .collect()
        })
    };
    for (index, tx) in done?.into_iter().flatten() {
        txs[index] = Some(tx);
    }
    Ok(txs.into_iter().flatten().collect())
}

/// Processors to work on.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A candidate that was decoded, with its blobs.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) block: Block,
    /// Ids of its transactions.
    pub(crate) ids: Vec<TxId>,
    /// Its blobs, each checked.
    pub(crate) blobs: Vec<Arc<Verified>>,
}

/// Why a candidate is not passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadCandidate {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Roots(#[from] BlockError),
    #[error("blob {0} is not there, or is not the one that its hash names")]
    Blob(alloy_primitives::B256),
}

impl Prepared {
    /// Decodes a candidate and checks what must hold before it is passed on: canonical bytes, roots, kinds of transactions, and
    /// that all blobs are there and right. What the hash does not bind, whoever passes it on could have changed.
    pub(crate) fn new(
        candidate: &CandidateFrame,
        contracts: &(dyn NativeContracts + Send + Sync),
    ) -> Result<Self, BadCandidate> {
        let block = candidate.block()?;
        verify_roots(&block)?;
        verify_kinds(&block, contracts)?;
        let blobs = checked_blobs(block.txs())?;
        let ids = block.txs().iter().map(LedgerTransaction::id).collect();
        Ok(Self { block, ids, blobs })
    }

    /// A block that was made here of transactions whose blobs were checked when they came into the pool.
    pub(crate) fn own(block: Block) -> Self {
        let blobs = sidecars(block.txs()).filter_map(|(_, sidecar)| sidecar).map(Verified::restored);
        let blobs = blobs.map(Arc::new).collect();
        let ids = block.txs().iter().map(LedgerTransaction::id).collect();
        Self { block, ids, blobs }
    }
}

/// Versioned hashes of all blobs of transactions, in order, each with its sidecar if it is there.
fn sidecars(txs: &[LedgerTransaction]) -> impl Iterator<Item = (Hash, Option<Sidecar>)> {
    let blobs = txs.iter().filter_map(|tx| tx.protocol().blob()).flatten();
    blobs.map(|blob| (blob.hash, blob.data.as_ref().map(Sidecar::from)))
}

/// Versioned hashes of all blobs of transactions, in order.
pub(crate) fn blob_hashes(txs: &[LedgerTransaction]) -> Vec<Hash> {
    txs.iter().filter_map(|tx| tx.protocol().blob()).flatten().map(|blob| blob.hash).collect()
}

fn checked_blobs(txs: &[LedgerTransaction]) -> Result<Vec<Arc<Verified>>, BadCandidate> {
    let bad = |hash: Hash| BadCandidate::Blob(hash.into());
    let items: Vec<(Hash, Sidecar)> = sidecars(txs)
        .map(|(hash, sidecar)| Ok((hash, sidecar.ok_or(bad(hash))?)))
        .collect::<Result<_, BadCandidate>>()?;
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let hashes: Vec<Hash> = items.iter().map(|(hash, _)| *hash).collect();
    let checked = kzg::verify_batch(items).into_iter().zip(hashes);
    checked.map(|(blob, hash)| blob.map(Arc::new).map_err(|_| bad(hash))).collect()
}

/// The blobs of a block that are in its bytes and right; others are left out. For blocks that others agreed on.
pub(crate) fn blobs_at_hand(block: &Block) -> Vec<Arc<Verified>> {
    let items: Vec<(Hash, Sidecar)> =
        sidecars(block.txs()).filter_map(|(hash, sidecar)| Some((hash, sidecar?))).collect();
    if items.is_empty() {
        return Vec::new();
    }
    kzg::verify_batch(items).into_iter().flatten().map(Arc::new).collect()
}

/// Decodes and checks a transaction that somebody submits, its blobs included. `height` is that of the next block.
pub(crate) fn check_transaction(tx: Tx) -> Result<VerifiedTx, BadTransaction> {
    let verified = tx.verify()?;
    if verified.blobs().is_none() {
        return Ok(verified);
    }
    let items: Vec<(Hash, Sidecar)> = sidecars(std::slice::from_ref(verified.ledger()))
        .filter_map(|(hash, sidecar)| Some((hash, sidecar?)))
        .collect();
    let mut checked = kzg::verify_batch(items).into_iter();
    verified
        .with_checked_blobs(|_, _| checked.next().unwrap_or(Err(BlobError::Hash)).map(drop))
        .map_err(|error| BadTransaction::Blob(error.to_string()))
}

/// Why a submitted transaction cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadTransaction {
    #[error(transparent)]
    Tx(#[from] duskevm_dusk_l1::tx::TxError),
    #[error("{0}")]
    Blob(String),
}

impl From<BadTransaction> for SubmitRefusal {
    fn from(bad: BadTransaction) -> Self {
        match bad {
            BadTransaction::Tx(error) => error.into(),
            BadTransaction::Blob(why) => Self::Blob(why),
        }
    }
}

/// A transaction as the payload of its frame: version, type, length, envelope. `None` if it does not encode.
pub(crate) fn encode_transaction(tx: &VerifiedTx) -> Option<Arc<[u8]>> {
    let mut bytes = Vec::with_capacity(tx.size());
    tx.ledger().write(&mut bytes).ok()?;
    Some(bytes.into())
}

/// Bytes in front of the envelope in the payload of a transaction's frame.
const ENVELOPE_AT: usize = 12;

/// The envelope in the payload of a transaction's frame, whose structure was checked.
pub(crate) fn envelope(payload: &[u8]) -> Option<&[u8]> {
    // Version and type: only one of each exists.
    payload.strip_prefix(&[1, 0, 0, 0, 1, 0, 0, 0])?;
    payload.get(ENVELOPE_AT..)
}

/// The transactions of a block that was taken back, checked again with their blobs.
pub(crate) fn transactions_of(bytes: &[u8]) -> Vec<VerifiedTx> {
    let Ok(block) = decode_block(bytes) else { return Vec::new() };
    let height = block.header().height;
    let txs = block.txs().iter().filter_map(|ledger| Tx::from_ledger(ledger.clone(), height).ok());
    txs.filter_map(|tx| check_transaction(tx).ok()).collect()
}

impl From<ExecuteError> for Refused {
    fn from(error: ExecuteError) -> Self {
        Self::Body(error.into())
    }
}
