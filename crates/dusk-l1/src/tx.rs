//! Moonlight transactions: decoding bytes from outside, and the signature check.

use dusk_core::signatures::bls::{self, BlsVersion};
use dusk_core::transfer::data::{BlobData, BlobSidecar, TransactionData};
use dusk_core::transfer::{Transaction, TransactionFormat, moonlight};
use dusk_node_data::ledger::LedgerTransaction;

use crate::forks;
use crate::keys::AccountId;

/// Most bytes of one transaction: what fits a block beside a default header.
pub const MAX_TX_BYTES: usize = 1_047_713;

/// A transaction id: hex of these 32 bytes is what Dusk tools show.
pub type TxId = [u8; 32];

/// Why bytes are not a transaction that this L1 can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TxError {
    /// Longer than any block could hold.
    #[error("the transaction has {0} bytes, more than the {MAX_TX_BYTES} that fit a block")]
    TooLarge(usize),
    /// Not a transaction encoding.
    #[error("not a Dusk transaction: expected a Moonlight envelope as dusk-core encodes it")]
    Malformed,
    /// Decodes, but is not the encoding that a correct wallet makes.
    #[error("the transaction's bytes are not canonical: encode it again with dusk-core")]
    NotCanonical,
    /// A shielded transaction.
    #[error("Phoenix (shielded) transactions are not supported here: send a Moonlight transaction")]
    Phoenix,
    /// The envelope version or type that Dusk never assigned.
    #[error("unknown ledger transaction version {version} or type {kind}: expected 1 and 1")]
    Envelope {
        /// Version field.
        version: u32,
        /// Type field.
        kind: u32,
    },
    /// In a block, the format is fixed by the height.
    #[error("the transaction is encoded in another format than the block's height prescribes")]
    Format,
    /// The signature does not belong to sender and content.
    #[error("the transaction's signature does not match its sender: sign it with the sender's key")]
    Signature,
}

/// A decoded Moonlight transaction, its signature not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tx {
    ledger: LedgerTransaction,
    id: TxId,
    sender: AccountId,
    size: usize,
}

impl Tx {
    /// Decodes what a wallet submits (any live envelope) and gives it the format of `height`.
    pub fn decode(bytes: &[u8], height: u64) -> Result<Self, TxError> {
        forks::activate();
        if bytes.len() > MAX_TX_BYTES {
            return Err(TxError::TooLarge(bytes.len()));
        }
        match bytes.first() {
            Some(1 | 3) => {}
            Some(0 | 2) => return Err(TxError::Phoenix),
            _ => return Err(TxError::Malformed),
        }
        let decoded = LedgerTransaction::decode_any(bytes).map_err(|_| TxError::Malformed)?;
        if decoded.format() == TransactionFormat::PreAegis {
            return Err(TxError::Malformed);
        }
        if decoded.protocol_bytes() != bytes {
            return Err(TxError::NotCanonical);
        }
        Self::from_ledger(decoded.reformat_for_ledger(height), height)
    }

    /// Takes a transaction out of a received block of `height`.
    pub fn from_ledger(ledger: LedgerTransaction, height: u64) -> Result<Self, TxError> {
        forks::activate();
        if (ledger.version, ledger.r#type) != (1, 1) {
            return Err(TxError::Envelope { version: ledger.version, kind: ledger.r#type });
        }
        if ledger.format() != dusk_node_data::hard_fork::ledger_tx_format_at(height) {
            return Err(TxError::Format);
        }
        let Transaction::Moonlight(inner) = ledger.protocol() else { return Err(TxError::Phoenix) };
        let sender = AccountId::from_key(inner.sender());
        let (id, size) = (ledger.id(), ledger.size());
        Ok(Self { id, sender, size, ledger })
    }

    /// Checks the signature: two pairings, a few milliseconds.
    pub fn verify(self) -> Result<VerifiedTx, TxError> {
        let inner = self.inner().ok_or(TxError::Phoenix)?;
        bls::verify(inner.sender(), inner.signature(), &inner.signature_message(), BlsVersion::V2)
            .map_err(|_| TxError::Signature)?;
        Ok(VerifiedTx { tx: self, blobs_checked: false })
    }

    /// The blobs, if it is a blob transaction: hashes, and sidecars unless they were stripped.
    pub fn blobs(&self) -> Option<&[BlobData]> {
        self.inner()?.blob().map(Vec::as_slice)
    }

    /// The same transaction without the sidecars of its blobs: same id, same signature, same place in a block's root.
    pub fn strip(self) -> Self {
        let (ledger, _) = strip(&self.ledger);
        match ledger {
            Some(ledger) => Self { size: ledger.size(), ledger, ..self },
            None => self,
        }
    }

    /// The id, which the envelope format does not change.
    pub fn id(&self) -> &TxId {
        &self.id
    }

    /// The paying account.
    pub fn sender(&self) -> &AccountId {
        &self.sender
    }

    /// Size in a block, in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The form that goes into a block.
    pub fn ledger(&self) -> &LedgerTransaction {
        &self.ledger
    }

    /// Nonce.
    pub fn nonce(&self) -> u64 {
        self.inner().map_or(0, moonlight::Transaction::nonce)
    }

    /// Gas price in lux.
    pub fn gas_price(&self) -> u64 {
        self.ledger.gas_price()
    }

    /// Gas limit.
    pub fn gas_limit(&self) -> u64 {
        self.ledger.protocol().gas_limit()
    }

    /// What the sender must own before the transaction runs, in lux: value, deposit and the whole gas limit. `None` if
    /// it does not fit 64 bits, which no balance can pay.
    pub fn cost(&self) -> Option<u64> {
        let inner = self.inner()?;
        inner.gas_limit().checked_mul(inner.gas_price())?.checked_add(inner.value())?.checked_add(inner.deposit())
    }

    /// Call, deployment, memo or blobs.
    pub fn data(&self) -> Option<&TransactionData> {
        self.inner()?.data()
    }

    pub(crate) fn inner(&self) -> Option<&moonlight::Transaction> {
        match self.ledger.protocol() {
            Transaction::Moonlight(inner) => Some(inner),
            Transaction::Phoenix(_) => None,
        }
    }
}

/// A sidecar with the versioned hash that names it.
pub type NamedSidecar = ([u8; 32], BlobSidecar);

/// A ledger transaction without sidecars, and the sidecars. `None` if it carries none: it stays as it is.
pub fn strip(ledger: &LedgerTransaction) -> (Option<LedgerTransaction>, Vec<NamedSidecar>) {
    if !ledger.protocol().blob().is_some_and(|blobs| blobs.iter().any(|blob| blob.data.is_some())) {
        return (None, Vec::new());
    }
    let mut protocol = ledger.protocol().clone();
    let sidecars = protocol.strip_blobs().unwrap_or_default();
    let mut stripped = LedgerTransaction::from_protocol_with_format(protocol, ledger.format());
    (stripped.version, stripped.r#type) = (ledger.version, ledger.r#type);
    (Some(stripped), sidecars)
}

/// Whether two ledger transactions are the same to the last byte but for sidecars. Their own equality is that of the ids, which
/// say nothing about the kind of the data.
pub fn is_same(one: &LedgerTransaction, two: &LedgerTransaction) -> bool {
    let bare = |ledger: &LedgerTransaction| match strip(ledger) {
        (Some(stripped), _) => stripped.protocol_bytes(),
        (None, _) => ledger.protocol_bytes(),
    };
    one == two && one.protocol().blob().is_some() == two.protocol().blob().is_some() && bare(one) == bare(two)
}

/// Why blobs are not those of their transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobCheckError<E> {
    /// The data are not there.
    #[error("blob {0} has no data: submit the transaction with its blobs")]
    Missing(usize),
    /// The data are not what the hash names.
    #[error("blob {index}: {error}")]
    Wrong {
        /// Index in the transaction.
        index: usize,
        /// What is wrong.
        error: E,
    },
}

/// A transaction whose signature has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedTx {
    tx: Tx,
    blobs_checked: bool,
}

impl VerifiedTx {
    /// Has `check` look at every blob (versioned hash and sidecar), and notes that it found them all there and right. The check is
    /// the caller's: here is no KZG.
    ///
    /// # Errors
    /// The first blob that is missing or wrong.
    pub fn with_checked_blobs<E>(
        self,
        mut check: impl FnMut(&[u8; 32], &BlobSidecar) -> Result<(), E>,
    ) -> Result<Self, BlobCheckError<E>> {
        for (index, blob) in self.tx.blobs().unwrap_or_default().iter().enumerate() {
            let sidecar = blob.data.as_ref().ok_or(BlobCheckError::Missing(index))?;
            check(&blob.hash, sidecar).map_err(|error| BlobCheckError::Wrong { index, error })?;
        }
        Ok(Self { blobs_checked: true, ..self })
    }

    /// Whether all its blobs are here and were checked, which is so if it has none.
    pub fn blobs_checked(&self) -> bool {
        self.blobs_checked || self.tx.blobs().is_none()
    }

    /// The same transaction without sidecars; they count as unchecked again.
    pub fn strip(self) -> Self {
        Self { tx: self.tx.strip(), blobs_checked: false }
    }
}

impl std::ops::Deref for VerifiedTx {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.tx
    }
}

#[cfg(test)]
mod tests {
    use dusk_core::transfer::data::ContractCall;
    use proptest::prelude::*;

    use super::*;
    use crate::keys::Signer;
    use crate::testing::{self, Spend};

    #[test]
    fn bytes_and_ids_as_dusk_core_makes_them() {
        let signer = Signer::from_seed(b"alice");
        let to = Signer::from_seed(b"bob");
        let original = Transaction::moonlight(
            signer.secret_key(),
            Some(*to.public_key()),
            5,
            0,
            100_000,
            1,
            1,
            7,
            None::<TransactionData>,
        )
        .unwrap();
        for format in [TransactionFormat::Aegis, TransactionFormat::Boreas] {
            let tx = Tx::decode(&original.encode_for_format(format), 1).unwrap();
            assert_eq!(tx.id(), &original.hash().to_bytes());
            assert_eq!(tx.ledger().protocol(), &original);
            assert_eq!(tx.ledger().protocol_bytes(), original.encode_for_format(TransactionFormat::Boreas));
            // Sizes that the ledger format fixes for the smallest transfer to somebody else.
            assert_eq!(original.encode_for_format(TransactionFormat::Boreas).len(), 294);
            assert_eq!(tx.size(), 306);
            assert_eq!((tx.nonce(), tx.gas_price(), tx.gas_limit(), tx.cost()), (1, 1, 100_000, Some(100_005)));
            assert_eq!(tx.sender(), &signer.id());
            assert!(tx.verify().is_ok());
        }
    }

    /// Key, bytes and id of one transfer, fixed so that a change of any encoding shows.
    #[test]
    fn golden_transfer() {
        let tx = testing::spend(Spend { seed: b"golden", nonce: 1, ..Spend::default() });
        assert_eq!(hex::encode(tx.id()), GOLDEN_ID);
    }

    const GOLDEN_ID: &str = "9cd24562056b676a119b09bc1885827f1b09ee6a2552d521d64903076801e646";

    #[test]
    fn data_kinds_decode() {
        for data in [
            TransactionData::Memo(vec![1; 512]),
            TransactionData::Call(ContractCall::new([3; 32], "act").with_raw_args(vec![1, 2, 3])),
            TransactionData::Blob(vec![BlobData { hash: [1; 32], data: None }]),
        ] {
            let tx = testing::spend(Spend { data: Some(data.clone()), ..Spend::default() });
            assert_eq!(tx.data(), Some(&data));
        }
    }

    #[test]
    fn refusals() {
        let bytes = testing::spend(Spend::default()).ledger().protocol_bytes();
        assert_eq!(Tx::decode(&[], 1), Err(TxError::Malformed));
        assert_eq!(Tx::decode(&[0], 1), Err(TxError::Phoenix));
        assert_eq!(Tx::decode(&[2, 2, 0], 1), Err(TxError::Phoenix));
        assert_eq!(Tx::decode(&[9; 300], 1), Err(TxError::Malformed));
        assert_eq!(Tx::decode(&vec![1; MAX_TX_BYTES + 1], 1), Err(TxError::TooLarge(MAX_TX_BYTES + 1)));
        assert_eq!(Tx::decode(&bytes[..bytes.len() - 1], 1), Err(TxError::Malformed));
        assert_eq!(Tx::decode(&[bytes.as_slice(), &[0]].concat(), 1), Err(TxError::Malformed));
        let mut ledger = testing::spend(Spend::default()).ledger().clone();
        ledger.version = 2;
        assert_eq!(Tx::from_ledger(ledger, 1), Err(TxError::Envelope { version: 2, kind: 1 }));
        let aegis = LedgerTransaction::from_protocol_with_format(
            testing::spend(Spend::default()).ledger().protocol().clone(),
            TransactionFormat::Aegis,
        );
        assert_eq!(Tx::from_ledger(aegis, 1), Err(TxError::Format));
    }

    /// A receiver that repeats the sender has a shorter canonical form; the long one would give a second set of bytes
    /// for the same id.
    #[test]
    fn long_form_of_self_transfer_is_refused() {
        let tx = testing::spend(Spend { to: None, ..Spend::default() });
        let short = tx.ledger().protocol_bytes();
        let sender = tx.sender().as_bytes();
        // envelope 2, length 8, chain id 1, sender 96, then the receiver flag.
        let flag = 2 + 8 + 1 + 96;
        assert_eq!(short[flag], 0);
        let mut long = short[..flag].to_vec();
        long.push(1);
        long.extend_from_slice(sender);
        long.extend_from_slice(&short[flag + 1..]);
        let payload = u64::from_le_bytes(short[2..10].try_into().unwrap()) + 96;
        long[2..10].copy_from_slice(&payload.to_le_bytes());
        assert_eq!(Tx::decode(&long, 1), Err(TxError::NotCanonical));
    }

    #[test]
    fn stripping_leaves_id_digest_and_signature() {
        let full = testing::blob_spend(b"alice", 1, 2);
        let (stripped, sidecars) = strip(full.ledger());
        let stripped = stripped.unwrap();
        assert_eq!(sidecars.len(), 2);
        let hashes: Vec<[u8; 32]> = full.blobs().unwrap().iter().map(|blob| blob.hash).collect();
        assert_eq!(sidecars.iter().map(|(hash, _)| *hash).collect::<Vec<_>>(), hashes);
        let tx = Tx::from_ledger(stripped.clone(), 1).unwrap();
        assert_eq!((tx.id(), tx.ledger().digest()), (full.id(), full.ledger().digest()));
        assert_eq!(full.size() - tx.size(), 2 * (48 + 48 + 131_072));
        assert_eq!(full.clone().strip().ledger(), &stripped);
        assert!(tx.verify().is_ok());
        assert_eq!(strip(&stripped), (None, vec![]));
        // What goes through bytes is the same again, with and without data.
        for ledger in [full.ledger(), &stripped] {
            assert_eq!(Tx::decode(&ledger.protocol_bytes(), 1).unwrap().ledger(), ledger);
        }
    }

    #[test]
    fn blobs_are_checked_one_by_one() {
        let full = testing::blob_spend(b"alice", 1, 3);
        assert!(!full.blobs_checked());
        let mut seen = 0;
        let checked = full.clone().with_checked_blobs(|hash, sidecar| {
            seen += 1;
            if *hash == BlobData::hash_from_commitment(&sidecar.commitment) { Ok(()) } else { Err("hash") }
        });
        let checked = checked.unwrap();
        assert!(seen == 3 && checked.blobs_checked());
        let wrong =
            full.clone().with_checked_blobs(|_, sidecar| if sidecar.proof[0] == 1 { Err("bad") } else { Ok(()) });
        assert_eq!(wrong, Err(BlobCheckError::Wrong { index: 1, error: "bad" }));
        let stripped = checked.strip();
        assert!(!stripped.blobs_checked());
        assert_eq!(stripped.with_checked_blobs(|_, _| Ok::<(), ()>(())), Err(BlobCheckError::Missing(0)));
        assert!(testing::spend(Spend::default()).blobs_checked(), "no blobs, nothing to check");
    }

    #[test]
    fn every_changed_byte_is_detected() {
        let tx = testing::spend(Spend::default());
        let bytes = tx.ledger().protocol_bytes();
        // The kind byte of absent data is the one thing Dusk does not sign; changing it makes the bytes undecodable.
        for at in (0..bytes.len()).step_by(7) {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            let outcome = Tx::decode(&bad, 1).and_then(Tx::verify);
            assert!(outcome.is_err(), "byte {at} changed unnoticed");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..400), tag in 0u8..5) {
            if let Some(first) = bytes.first_mut() {
                *first = tag;
            }
            let _ = Tx::decode(&bytes, 1);
        }

        #[test]
        fn damaged_transactions_never_panic(at in 0usize..306, value in any::<u8>(), cut in 0usize..306) {
            let mut bytes = testing::spend(Spend::default()).ledger().protocol_bytes();
            let len = bytes.len();
            bytes[at % len] = value;
            let _ = Tx::decode(&bytes, 1);
            let _ = Tx::decode(&bytes[..cut.min(len)], 1);
        }
    }
}
