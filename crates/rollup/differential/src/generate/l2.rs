//! The sequencer and its users.

use super::{Fault, Generator};
use crate::world::{L2_CHAIN, seal, signer};
use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip7702, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, Bytes, Signature, TxKind, U256, keccak256};
use alloy_signer::SignerSync;
use duskevm_evm::Block;
use duskevm_rollup::{OriginBlock, choose_origin, epoch_attributes, l2_block_ref, system_config_of};
use op_alloy_consensus::OpTxEnvelope;

impl Generator {
    /// Builds L2 blocks up to about the time of L1.
    pub(super) fn sequence(&mut self) {
        let now = self.case.l1().last().map_or(0, |block| block.header.timestamp);
        let until = (now + self.rng.below(15)).saturating_sub(self.rng.below(20));
        for _ in 0..400 {
            let tip = self.chain.last().expect("it has a first block").clone();
            if tip.header.timestamp + self.case.config.block_time > until {
                break;
            }
            let Some(block) = self.block_on(&tip) else { break };
            self.chain.push(block);
        }
    }

    fn block_on(&mut self, parent: &Block) -> Option<Block> {
        let config = self.case.config.clone();
        let head = l2_block_ref(&config, parent).ok()?;
        let system = system_config_of(&config, &self.case.spec, parent).ok()?;
        let origin = |number: u64| {
            let block = self.case.l1().get(number as usize)?;
            Some(OriginBlock::read(&config, &block.header, &block.receipts))
        };
        let current = origin(head.l1_origin.number)?;
        let next = origin(head.l1_origin.number + 1);
        let next_ref = next.as_ref().map(OriginBlock::block_ref);
        let choice = choose_origin(&config, &head, &current.block_ref(), next_ref.as_ref()).ok()?;
        let origin = next.filter(|next| next.hash == choice.origin.hash).unwrap_or(current);
        let timestamp = head.timestamp + config.block_time;
        let mut attributes = epoch_attributes(&config, &system, timestamp, &choice, &origin).ok()?;
        // Beyond the drift a sequencer leaves its blocks empty; some do not.
        if !choice.no_user_transactions || self.rng.percent(2) {
            let mut left = self.transactions;
            while left.map_or_else(|| self.rng.percent(30), |left| left > 0) {
                left = left.map(|left| left - 1);
                let tx = self.user_tx();
                attributes.transactions.extend(duskevm_evm::recover_all(&[tx]).ok()?);
            }
        }
        Some(seal(&self.case.spec, parent, &attributes))
    }

    /// A transaction of some user, of any type.
    pub(super) fn user_tx(&mut self) -> Bytes {
        self.nonce += 1;
        let nonce = self.nonce;
        let rng = &mut self.rng;
        let to = Address::repeat_byte(rng.next_u64() as u8);
        let call = if rng.percent(10) { TxKind::Create } else { TxKind::Call(to) };
        let value = U256::from(rng.next_u64() >> rng.below(64));
        let len = rng.below(60) as usize;
        let input: Bytes = rng.bytes(len).into();
        let kind = rng.below(5);
        let gas_limit = rng.between(21_000, 10_000_000);
        let sign = |hash| signer(9).sign_hash_sync(&hash).expect("a local key can sign");
        let envelope = match kind {
            0 => {
                let tx = TxLegacy { chain_id: Some(L2_CHAIN), nonce, gas_price: 5, gas_limit, to: call, value, input };
                let signature = sign(tx.signature_hash());
                OpTxEnvelope::Legacy(tx.into_signed(signature))
            }
            1 => {
                let tx = TxLegacy { chain_id: None, nonce, gas_price: 5, gas_limit, to: call, value, input };
                let signature = sign(tx.signature_hash());
                OpTxEnvelope::Legacy(tx.into_signed(signature))
            }
            2 => {
                let tx = TxEip2930 {
                    chain_id: L2_CHAIN,
                    nonce,
                    gas_price: 7,
                    gas_limit,
                    to: call,
                    value,
                    input,
                    ..Default::default()
                };
                let signature = sign(tx.signature_hash());
                OpTxEnvelope::Eip2930(tx.into_signed(signature))
            }
            3 => {
                let tx = TxEip7702 { chain_id: L2_CHAIN, nonce, gas_limit, to, value, input, ..Default::default() };
                let signature = sign(tx.signature_hash());
                OpTxEnvelope::Eip7702(tx.into_signed(signature))
            }
            _ => {
                let tx =
                    TxEip1559 { chain_id: L2_CHAIN, nonce, gas_limit, to: call, value, input, ..Default::default() };
                let signature = sign(tx.signature_hash());
                OpTxEnvelope::Eip1559(tx.into_signed(signature))
            }
        };
        let bytes: Bytes = envelope.encoded_2718().into();
        if self.happens(Fault::UnexecutableTransaction) {
            self.unexecutable.insert(keccak256(&bytes));
        }
        bytes
    }

    /// Bytes that look like a transaction and are none.
    pub(super) fn bad_tx(&mut self) -> Bytes {
        let mut tx = self.user_tx().to_vec();
        match self.rng.below(7) {
            0 => tx.clear(),
            1 => tx[0] = 0x7e,
            2 => tx[0] = 0x7d,
            3 => tx[0] = 0x05,
            4 => tx.truncate(1 + self.rng.below(tx.len() as u64 - 1) as usize),
            5 => tx.push(0),
            _ => {
                // A signature that nobody has made.
                let tx = TxEip1559 { chain_id: L2_CHAIN, nonce: self.nonce, ..Default::default() };
                let nobody = Signature::new(U256::MAX, U256::MAX, false);
                return OpTxEnvelope::Eip1559(tx.into_signed(nobody)).encoded_2718().into();
            }
        }
        tx.into()
    }
}
