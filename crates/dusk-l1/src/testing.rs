//! What the tests of this crate share.

use dusk_core::transfer::data::{BlobData, BlobSidecar, TransactionData};
use dusk_core::transfer::{Transaction, TransactionFormat, moonlight};

use crate::genesis::{ConsensusParams, Genesis, GenesisAccount, GenesisStake};
use crate::keys::Signer;
use crate::tx::{Tx, VerifiedTx};

pub(crate) const CHAIN_ID: u8 = 7;
pub(crate) const DUSK: u64 = 1_000_000_000;

/// Accounts `alice` (1000 DUSK) and `bob` (1 DUSK), producer `producer`.
pub(crate) fn genesis() -> Genesis {
    let key = |seed: &str| Signer::from_seed(seed.as_bytes()).id();
    Genesis {
        chain_id: CHAIN_ID,
        timestamp: 1_700_000_000,
        block_time: 2,
        block_gas_limit: 3_000_000_000,
        treasury: key("treasury"),
        accounts: vec![
            GenesisAccount { key: key("alice"), balance: 1000 * DUSK },
            GenesisAccount { key: key("bob"), balance: DUSK },
        ],
        stakes: vec![GenesisStake { key: key("producer"), amount: 1_000_000 * DUSK, eligibility: 0 }],
        contracts: Vec::new(),
        consensus: ConsensusParams::default(),
    }
}

/// A transaction to sign.
pub(crate) struct Spend {
    pub(crate) seed: &'static [u8],
    pub(crate) to: Option<&'static [u8]>,
    pub(crate) refund: Option<&'static [u8]>,
    pub(crate) value: u64,
    pub(crate) deposit: u64,
    pub(crate) gas_limit: u64,
    pub(crate) gas_price: u64,
    pub(crate) nonce: u64,
    pub(crate) chain_id: u8,
    pub(crate) data: Option<TransactionData>,
}

impl Default for Spend {
    fn default() -> Self {
        Self {
            seed: b"alice",
            to: Some(b"bob"),
            refund: None,
            value: DUSK,
            deposit: 0,
            gas_limit: 100_000,
            gas_price: 2,
            nonce: 1,
            chain_id: CHAIN_ID,
            data: None,
        }
    }
}

pub(crate) fn spend(spend: Spend) -> VerifiedTx {
    let signer = Signer::from_seed(spend.seed);
    let refund = spend.refund.map_or(*signer.public_key(), |seed| *Signer::from_seed(seed).public_key());
    let inner = moonlight::Transaction::new_with_refund(
        signer.secret_key(),
        &refund,
        spend.to.map(|seed| *Signer::from_seed(seed).public_key()),
        spend.value,
        spend.deposit,
        spend.gas_limit,
        spend.gas_price,
        spend.nonce,
        spend.chain_id,
        spend.data,
    )
    .unwrap();
    let bytes = Transaction::from(inner).encode_for_format(TransactionFormat::Boreas);
    Tx::decode(&bytes, 1).unwrap().verify().unwrap()
}

/// A transaction with `blobs` blobs; their commitments and proofs are none of KZG's.
pub(crate) fn blob_spend(seed: &'static [u8], nonce: u64, blobs: u8) -> VerifiedTx {
    let blobs = (0..blobs).map(|i| {
        let commitment = [i + 1; 48];
        let sidecar = BlobSidecar { commitment, proof: [i; 48], data: [i; 131_072] };
        BlobData { hash: BlobData::hash_from_commitment(&commitment), data: Some(sidecar) }
    });
    let data = Some(TransactionData::Blob(blobs.collect()));
    spend(Spend { seed, nonce, value: 1, gas_limit: 10_000_000, gas_price: 1, data, ..Spend::default() })
}
