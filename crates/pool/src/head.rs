//! What the pool knows about the chain: the head's fees and limits, and accounts.

use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256};
use op_revm::{L1BlockInfo, OpSpecId};

use crate::tx::PoolTx;

/// 10¹²: the Fjord fee formula has the compressed size in 10⁻⁶ bytes and the scalars in 10⁻⁶.
const FJORD_DIVISOR: u64 = 1_000_000_000_000;
/// Gas of a non-zero calldata byte on L1.
const NON_ZERO_BYTE_COST: u64 = 16;
/// Length and first bytes of an EIP-7702 delegation designator.
const DELEGATION_LEN: usize = 23;
const DELEGATION_MAGIC: [u8; 3] = [0xef, 0x01, 0x00];

/// The newest block, as far as it matters to transactions that want to be in the next one.
#[derive(Debug, Clone)]
pub struct Head {
    /// Number of the newest block.
    pub number: u64,
    /// Hash of the newest block.
    pub hash: B256,
    /// Base fee of the *next* block in wei per gas.
    pub base_fee: u64,
    /// The base fee never falls below this (Jovian `minBaseFee` of the head); 0 before Jovian. Wei per gas.
    pub min_base_fee: u64,
    /// Gas limit of the next block.
    pub gas_limit: u64,
    /// Rules of the next block.
    pub spec: OpSpecId,
    /// L1 fee parameters that the L1Block contract holds at the head.
    pub l1: L1BlockInfo,
}

impl Head {
    /// L1 data fee and operator fee of a transaction in wei, as execution charges them up front.
    ///
    /// The compressed size is taken from the [`PoolTx`], which computed it once: op-revm would compress again on every call.
    pub fn l1_fee(&self, tx: &PoolTx) -> U256 {
        let data = if self.spec.is_enabled_in(OpSpecId::FJORD) {
            let per_byte = self
                .l1
                .l1_base_fee
                .saturating_mul(U256::from(NON_ZERO_BYTE_COST))
                .saturating_mul(self.l1.l1_base_fee_scalar)
                .saturating_add(
                    self.l1
                        .l1_blob_base_fee
                        .unwrap_or_default()
                        .saturating_mul(self.l1.l1_blob_base_fee_scalar.unwrap_or_default()),
                );
            U256::from(tx.da_size()).saturating_mul(per_byte) / U256::from(FJORD_DIVISOR)
        } else {
            // The call caches its result in the value it is called on.
            let mut l1 = self.l1.clone();
            l1.clear_tx_l1_cost();
            l1.calculate_tx_l1_cost(tx.tx().encoded(), self.spec)
        };
        data.saturating_add(self.operator_fee(tx))
    }

    fn operator_fee(&self, tx: &PoolTx) -> U256 {
        // op-revm panics on a missing scalar. Parameters that were read under an older fork have none, and then charge none.
        if !self.spec.is_enabled_in(OpSpecId::ISTHMUS)
            || self.l1.operator_fee_scalar.is_none()
            || self.l1.operator_fee_constant.is_none()
        {
            return U256::ZERO;
        }
        self.l1.operator_fee_charge(tx.tx().encoded(), U256::from(tx.gas_limit()), self.spec)
    }

    /// The most that a transaction can cost its sender in wei: value, all its gas at the fee cap, L1 data and operator fee.
    /// `None` if that does not fit 256 bits, which no balance covers.
    pub fn cost(&self, tx: &PoolTx) -> Option<U256> {
        U256::from(tx.gas_limit())
            .checked_mul(U256::from(tx.fee_cap()))?
            .checked_add(tx.value())?
            .checked_add(self.l1_fee(tx))
    }

    /// The share of a block's gas limit that the transaction's data takes (Jovian); 0 before.
    pub fn da_footprint(&self, tx: &PoolTx) -> u64 {
        if !self.spec.is_enabled_in(OpSpecId::JOVIAN) {
            return 0;
        }
        let scalar = u64::from(self.l1.da_footprint_gas_scalar.unwrap_or_default());
        (tx.da_size() / 1_000_000).saturating_mul(scalar)
    }

    /// Do the two charge every transaction the same and apply the same rules? The base fee is not part of it.
    pub(crate) fn same_rules(&self, other: &Self) -> bool {
        self.spec == other.spec && self.gas_limit == other.gas_limit
    }

    /// Is the L1 fee of every transaction the same under both?
    pub(crate) fn same_l1_fees(&self, other: &Self) -> bool {
        let fees = |head: &Self| {
            (
                head.l1.l1_base_fee,
                head.l1.l1_fee_overhead,
                head.l1.l1_base_fee_scalar,
                head.l1.l1_blob_base_fee,
                head.l1.l1_blob_base_fee_scalar,
                head.l1.operator_fee_scalar,
                head.l1.operator_fee_constant,
            )
        };
        self.spec == other.spec && fees(self) == fees(other)
    }
}

/// What kind of code an account has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CodeKind {
    /// None: an ordinary account.
    #[default]
    None,
    /// An EIP-7702 delegation: may send transactions.
    Delegation,
    /// A contract: may not send transactions (EIP-3607).
    Contract,
}

/// The kind of some code, given its bytes.
pub fn code_kind(code: &[u8]) -> CodeKind {
    if code.is_empty() {
        CodeKind::None
    } else if code.len() == DELEGATION_LEN && code.starts_with(&DELEGATION_MAGIC) {
        CodeKind::Delegation
    } else {
        CodeKind::Contract
    }
}

/// An account at the head. An account that does not exist is the default value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountState {
    /// Nonce of the next transaction.
    pub nonce: u64,
    /// Wei.
    pub balance: U256,
    /// What code it has.
    pub code: CodeKind,
}

impl AccountState {
    /// Does this code hash stand for "no code"? Such an account needs no look-up of code.
    pub fn is_empty_code_hash(hash: &B256) -> bool {
        hash.is_zero() || *hash == KECCAK256_EMPTY
    }
}

/// The state of an account could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the state of account {address} could not be read: {reason}; retry, and look at the node's log if it goes on")]
pub struct AccountReadError {
    /// The account.
    pub address: Address,
    /// What the storage said.
    pub reason: String,
}

/// Reads accounts at one block. A value of this type never changes its mind: another block needs another value.
pub trait AccountReader {
    /// The account, or the default value if there is none.
    ///
    /// # Errors
    /// [`AccountReadError`] if the storage fails.
    fn account(&self, address: Address) -> Result<AccountState, AccountReadError>;
}

impl<T: AccountReader + ?Sized> AccountReader for std::sync::Arc<T> {
    fn account(&self, address: Address) -> Result<AccountState, AccountReadError> {
        (**self).account(address)
    }
}
