//! What derivation takes from an L1 block. Source: derivation.md, "Batcher transaction format"; ecotone/derivation.md, "Ecotone: blob
//! retrieval".

use crate::{attributes::OriginBlock, config::RollupConfig, origin::L1BlockRef};
use alloc::{sync::Arc, vec::Vec};
use alloy_consensus::{
    EthereumTxEnvelope, Header, ReceiptEnvelope, Sealed, Transaction, TxEip4844, transaction::SignerRecoverable,
};
use alloy_primitives::{Address, B256, Bytes};

/// An L1 block, reduced to what the rollup reads of it.
#[derive(Debug, Clone)]
pub struct L1Block {
    /// Header, deposits and config updates.
    pub origin: Arc<OriginBlock>,
    /// Transactions to the batch inbox in order, whoever sent them: who may is in the system config.
    pub inbox: Vec<InboxTransaction>,
}

/// A transaction to the batch inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxTransaction {
    /// The account that signed it.
    pub sender: Address,
    /// Its batcher data.
    pub data: InboxData,
}

/// Where batcher data are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboxData {
    /// In the call data.
    Calldata(Bytes),
    /// In blobs, each of which has data of its own. Call data do not count then.
    Blobs(Vec<BlobRef>),
}

/// A blob as an L1 block refers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobRef {
    /// Its place among all blobs of the L1 block, from 0.
    pub index: u64,
    /// EIP-4844 versioned hash of its commitment.
    pub versioned_hash: B256,
}

impl L1Block {
    /// Reads a block.
    ///
    /// A transaction to the inbox counts if it is of type 0 to 3, belongs to the L1 chain and has a valid signature. Whether it failed
    /// does not matter: the data are there.
    pub fn read<'a>(
        config: &RollupConfig,
        header: &Sealed<Header>,
        transactions: impl IntoIterator<Item = &'a EthereumTxEnvelope<TxEip4844>>,
        receipts: &[ReceiptEnvelope],
    ) -> Self {
        let mut inbox = Vec::new();
        let mut blob_count = 0u64;
        for tx in transactions {
            let first_blob = blob_count;
            blob_count += tx.blob_versioned_hashes().map_or(0, |hashes| hashes.len() as u64);
            let foreign = tx.chain_id().is_some_and(|id| id != config.l1_chain_id);
            if tx.to() != Some(config.batch_inbox_address) || tx.is_eip7702() || foreign {
                continue;
            }
            let Ok(sender) = tx.recover_signer() else { continue };
            let data = match tx.blob_versioned_hashes() {
                Some(hashes) => InboxData::Blobs(
                    (first_blob..)
                        .zip(hashes)
                        .map(|(index, versioned_hash)| BlobRef { index, versioned_hash: *versioned_hash })
                        .collect(),
                ),
                None => InboxData::Calldata(tx.input().clone()),
            };
            inbox.push(InboxTransaction { sender, data });
        }
        Self { origin: Arc::new(OriginBlock::read(config, header, receipts)), inbox }
    }

    /// The block as the rollup refers to it.
    pub fn block_ref(&self) -> L1BlockRef {
        self.origin.block_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use alloc::vec;
    use alloy_consensus::{Sealable, SignableTransaction, TxEip1559, TxEip2930, TxEip7702, TxLegacy};
    use alloy_primitives::{Signature, TxKind, U256, hex};

    const INBOX: Address = Address::repeat_byte(0x1b);

    /// A signature from which a sender can be recovered, whatever it signs: r is the x coordinate of the generator, s is 1.
    fn signature() -> Signature {
        let x = hex!("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
        Signature::new(U256::from_be_bytes(x), U256::from(1), false)
    }

    fn blobs(to: Address, hashes: u8) -> EthereumTxEnvelope<TxEip4844> {
        let tx = TxEip4844 {
            chain_id: 3,
            to,
            blob_versioned_hashes: (0..hashes).map(B256::repeat_byte).collect(),
            input: Bytes::from_static(b"no data"),
            ..Default::default()
        };
        EthereumTxEnvelope::Eip4844(tx.into_signed(signature()))
    }

    fn inbox(transactions: &[EthereumTxEnvelope<TxEip4844>]) -> Vec<InboxData> {
        let mut config = testing::config();
        config.batch_inbox_address = INBOX;
        let block = L1Block::read(&config, &Header::default().seal_slow(), transactions, &[]);
        block.inbox.into_iter().map(|tx| tx.data).collect()
    }

    #[test]
    fn types_0_to_2_carry_call_data() {
        let (to, input) = (TxKind::Call(INBOX), Bytes::from_static(b"data"));
        let legacy = TxLegacy { to, input: input.clone(), ..Default::default() };
        let list = TxEip2930 { chain_id: 3, to, input: input.clone(), ..Default::default() };
        let fees = TxEip1559 { chain_id: 3, to, input: input.clone(), ..Default::default() };
        let transactions = [
            EthereumTxEnvelope::Legacy(legacy.into_signed(signature())),
            EthereumTxEnvelope::Eip2930(list.into_signed(signature())),
            EthereumTxEnvelope::Eip1559(fees.into_signed(signature())),
        ];
        assert_eq!(inbox(&transactions), vec![InboxData::Calldata(input); 3]);
    }

    #[test]
    fn blobs_count_over_the_whole_block_and_replace_call_data() {
        let found = inbox(&[blobs(INBOX, 2), blobs(Address::ZERO, 3), blobs(INBOX, 1)]);
        let blob = |index, byte| BlobRef { index, versioned_hash: B256::repeat_byte(byte) };
        assert_eq!(found, [InboxData::Blobs(vec![blob(0, 0), blob(1, 1)]), InboxData::Blobs(vec![blob(5, 0)])]);
    }

    #[test]
    fn what_is_no_batcher_transaction_is_left_out() {
        let to = TxKind::Call(INBOX);
        let set_code = TxEip7702 { chain_id: 3, to: INBOX, ..Default::default() };
        let foreign = TxEip1559 { chain_id: 4, to, ..Default::default() };
        let create = TxEip1559 { chain_id: 3, to: TxKind::Create, ..Default::default() };
        let unsigned = TxEip1559 { chain_id: 3, to, ..Default::default() };
        let nobody = Signature::new(U256::ZERO, U256::ZERO, false);
        let transactions = [
            EthereumTxEnvelope::Eip7702(set_code.into_signed(signature())),
            EthereumTxEnvelope::Eip1559(foreign.into_signed(signature())),
            EthereumTxEnvelope::Eip1559(create.into_signed(signature())),
            EthereumTxEnvelope::Eip1559(unsigned.into_signed(nobody)),
        ];
        assert_eq!(inbox(&transactions), []);
    }
}
