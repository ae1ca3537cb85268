//! What a block says about the L1 and operator fees of its transactions.
//!
//! It comes from the L1-attributes deposit of that block, not from the newest state: receipts of old blocks must not change.

use alloy_primitives::U256;
use duskevm_evm::{Block, ChainSpec, RecoveredTx};
use duskevm_rollup::{L1Info, L1InfoFork};
use op_alloy_rpc_types::L1BlockInfo as RpcFees;
use op_revm::{L1BlockInfo, OpSpecId};

/// The fee parameters of one block.
#[derive(Debug, Clone)]
pub(crate) struct BlockFees {
    spec: OpSpecId,
    l1: L1Info,
    rules: L1BlockInfo,
}

impl BlockFees {
    /// Reads the first transaction; `None` if it is no L1-attributes deposit (the genesis block has none).
    pub(crate) fn of(block: &Block, chain: &ChainSpec) -> Option<Self> {
        let first = block.transactions.first()?.envelope().as_deposit()?;
        let l1 = L1Info::decode(&first.input).ok()?;
        let spec = chain.spec_id(block.header.timestamp);
        let ecotone = l1.fork >= L1InfoFork::Ecotone;
        let rules = L1BlockInfo {
            l2_block: Some(U256::from(block.number())),
            l1_base_fee: l1.base_fee,
            // The block that activates Ecotone still has Bedrock's attributes, and is charged by them.
            l1_fee_overhead: (!ecotone).then_some(l1.fee_overhead),
            l1_base_fee_scalar: match () {
                () if ecotone => U256::from(l1.base_fee_scalar),
                // From Fjord on there is no such exception: the packed scalars are what counts, and they are not set yet.
                () if spec.is_enabled_in(OpSpecId::FJORD) => U256::ZERO,
                () => l1.fee_scalar,
            },
            l1_blob_base_fee: ecotone.then_some(l1.blob_base_fee),
            l1_blob_base_fee_scalar: ecotone.then(|| U256::from(l1.blob_base_fee_scalar)),
            operator_fee_scalar: Some(U256::from(l1.operator_fee_scalar)),
            operator_fee_constant: Some(U256::from(l1.operator_fee_constant)),
            da_footprint_gas_scalar: Some(l1.da_footprint_gas_scalar),
            empty_ecotone_scalars: !ecotone,
            tx_l1_cost: None,
        };
        Some(Self { spec, l1, rules })
    }

    /// The fee fields of a transaction's receipt; none for a deposit.
    pub(crate) fn receipt_fields(&self, tx: &RecoveredTx) -> RpcFees {
        if tx.is_deposit() {
            return RpcFees::default();
        }
        let l1 = &self.l1;
        let ecotone = l1.fork >= L1InfoFork::Ecotone;
        let operator = l1.fork >= L1InfoFork::Isthmus && (l1.operator_fee_scalar != 0 || l1.operator_fee_constant != 0);
        // The cost is cached inside of `rules`, so each transaction gets its own.
        let fee = self.rules.clone().calculate_tx_l1_cost(tx.encoded(), self.spec);
        let overhead = self.rules.l1_fee_overhead.filter(|_| !self.spec.is_enabled_in(OpSpecId::ECOTONE));
        let gas = self.rules.data_gas(tx.encoded(), self.spec).saturating_add(overhead.unwrap_or_default());
        RpcFees {
            l1_gas_price: Some(l1.base_fee.saturating_to()),
            l1_gas_used: Some(gas.saturating_to()),
            l1_fee: Some(fee.saturating_to()),
            // Six decimals, as the contract has it.
            l1_fee_scalar: (!ecotone).then(|| l1.fee_scalar.saturating_to::<u64>() as f64 / 1e6),
            l1_base_fee_scalar: ecotone.then_some(l1.base_fee_scalar.into()),
            l1_blob_base_fee: ecotone.then(|| l1.blob_base_fee.saturating_to()),
            l1_blob_base_fee_scalar: ecotone.then_some(l1.blob_base_fee_scalar.into()),
            operator_fee_scalar: operator.then_some(l1.operator_fee_scalar.into()),
            operator_fee_constant: operator.then_some(l1.operator_fee_constant.into()),
            da_footprint_gas_scalar: (l1.fork >= L1InfoFork::Jovian).then_some(l1.da_footprint_gas_scalar),
        }
    }

    /// The DA footprint of a transaction in gas, from Jovian on.
    pub(crate) fn da_footprint(&self, tx: &RecoveredTx) -> Option<u64> {
        if !self.spec.is_enabled_in(OpSpecId::JOVIAN) || tx.is_deposit() {
            return None;
        }
        let scalar = if self.l1.fork >= L1InfoFork::Jovian { self.l1.da_footprint_gas_scalar } else { 0 };
        Some((tx.da_size_scaled() / 1_000_000).saturating_mul(scalar.into()))
    }
}
