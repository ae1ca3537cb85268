//! Transactions, accounts and heads for the tests.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub, missing_docs, reason = "each test binary uses a part")]

use std::{collections::HashMap, sync::Arc};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip7702, TxLegacy};
use alloy_eips::{
    eip2718::Encodable2718,
    eip2930::AccessList,
    eip7702::{Authorization, SignedAuthorization},
};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use duskevm_evm::RecoveredTx;
use duskevm_pool::{
    AccountReadError, AccountReader, AccountState, Added, BestLimits, CodeKind, Head, HeadChange, HeadEffects, Origin,
    Pool, PoolConfig, PoolError, PoolTx, Touched,
};
use op_alloy_consensus::OpTxEnvelope;
use op_revm::{L1BlockInfo, OpSpecId};

pub const CHAIN: u64 = 31310;
pub const GWEI: u128 = 1_000_000_000;
pub const DUSK: u128 = 1_000_000_000_000_000_000;

pub fn address(n: u64) -> Address {
    Address::left_padding_from(&(0x1000 + n).to_be_bytes())
}

/// A type-2 transaction with settable fields. Its signature is not real: the pool takes the sender as recovered.
#[derive(Debug, Clone)]
pub struct Tx {
    pub ty: u8,
    pub sender: Address,
    pub nonce: u64,
    pub tip: u128,
    pub cap: u128,
    pub gas: u64,
    pub value: U256,
    pub to: TxKind,
    pub input: Bytes,
    pub chain: Option<u64>,
    pub access_list: AccessList,
    pub authorizations: Vec<SignedAuthorization>,
}

pub fn tx(sender: u64, nonce: u64) -> Tx {
    Tx {
        ty: 2,
        sender: address(sender),
        nonce,
        tip: GWEI,
        cap: 10 * GWEI,
        gas: 21_000,
        value: U256::ZERO,
        to: TxKind::Call(address(999)),
        input: Bytes::new(),
        chain: Some(CHAIN),
        access_list: AccessList::default(),
        authorizations: Vec::new(),
    }
}

impl Tx {
    pub fn ty(mut self, ty: u8) -> Self {
        self.ty = ty;
        self
    }
    pub fn fees(mut self, tip: u128, cap: u128) -> Self {
        (self.tip, self.cap) = (tip, cap);
        self
    }
    pub fn gas(mut self, gas: u64) -> Self {
        self.gas = gas;
        self
    }
    pub fn value(mut self, value: impl TryInto<U256, Error: std::fmt::Debug>) -> Self {
        self.value = value.try_into().unwrap();
        self
    }
    pub fn input(mut self, input: Vec<u8>) -> Self {
        self.input = input.into();
        self
    }
    pub fn create(mut self) -> Self {
        self.to = TxKind::Create;
        self
    }
    pub fn chain(mut self, chain: Option<u64>) -> Self {
        self.chain = chain;
        self
    }
    pub fn authorize(mut self, authorizations: Vec<SignedAuthorization>) -> Self {
        self.ty = 4;
        self.authorizations = authorizations;
        self
    }

    pub fn recovered(self) -> Arc<RecoveredTx> {
        // Different senders, different signatures: otherwise their equal transactions had one hash.
        let signature = Signature::new(U256::from_be_slice(self.sender.as_slice()), U256::from(1), false);
        let chain_id = self.chain.unwrap_or_default();
        let envelope: OpTxEnvelope = match self.ty {
            0 => TxLegacy {
                chain_id: self.chain,
                nonce: self.nonce,
                gas_price: self.cap,
                gas_limit: self.gas,
                to: self.to,
                value: self.value,
                input: self.input,
            }
            .into_signed(signature)
            .into(),
            1 => TxEip2930 {
                chain_id,
                nonce: self.nonce,
                gas_price: self.cap,
                gas_limit: self.gas,
                to: self.to,
                value: self.value,
                input: self.input,
                access_list: self.access_list,
            }
            .into_signed(signature)
            .into(),
            2 => TxEip1559 {
                chain_id,
                nonce: self.nonce,
                gas_limit: self.gas,
                max_fee_per_gas: self.cap,
                max_priority_fee_per_gas: self.tip,
                to: self.to,
                value: self.value,
                input: self.input,
                access_list: self.access_list,
            }
            .into_signed(signature)
            .into(),
            4 => TxEip7702 {
                chain_id,
                nonce: self.nonce,
                gas_limit: self.gas,
                max_fee_per_gas: self.cap,
                max_priority_fee_per_gas: self.tip,
                to: self.to.to().copied().unwrap_or_default(),
                value: self.value,
                input: self.input,
                access_list: self.access_list,
                authorization_list: self.authorizations,
            }
            .into_signed(signature)
            .into(),
            other => panic!("no such type here: {other}"),
        };
        let bytes: Bytes = envelope.encoded_2718().into();
        Arc::new(RecoveredTx::decode_with_sender(&bytes, self.sender).unwrap())
    }

    pub fn pooled(self) -> PoolTx {
        PoolTx::new(self.recovered())
    }
}

/// A real authorization, signed by the key of this number.
pub fn authorization(key: u8) -> (Address, SignedAuthorization) {
    use alloy_signer::SignerSync as _;
    let signer = alloy_signer_local::PrivateKeySigner::from_bytes(&B256::repeat_byte(key)).unwrap();
    let inner = Authorization { chain_id: U256::from(CHAIN), address: address(77), nonce: 0 };
    let signature = signer.sign_hash_sync(&inner.signature_hash()).unwrap();
    (signer.address(), inner.into_signed(signature))
}

/// Accounts; those not listed are rich and new.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    pub known: HashMap<Address, AccountState>,
    pub broken: bool,
}

pub const RICH: AccountState = AccountState { nonce: 0, balance: U256::from_limbs([0, 0, 1, 0]), code: CodeKind::None };

impl Accounts {
    pub fn entry(&mut self, n: u64) -> &mut AccountState {
        self.known.entry(address(n)).or_insert(RICH)
    }
}

impl AccountReader for Accounts {
    fn account(&self, address: Address) -> Result<AccountState, AccountReadError> {
        if self.broken {
            return Err(AccountReadError { address, reason: "scripted".into() });
        }
        Ok(self.known.get(&address).copied().unwrap_or(RICH))
    }
}

pub fn head() -> Head {
    Head {
        number: 1,
        hash: B256::repeat_byte(1),
        base_fee: GWEI as u64,
        min_base_fee: 0,
        gas_limit: 30_000_000,
        spec: OpSpecId::ISTHMUS,
        l1: L1BlockInfo {
            operator_fee_scalar: Some(U256::ZERO),
            operator_fee_constant: Some(U256::ZERO),
            ..Default::default()
        },
    }
}

/// A pool with its accounts and a clock.
pub struct Bed {
    pub pool: Pool,
    pub accounts: Accounts,
    pub now: u64,
}

impl Bed {
    pub fn new() -> Self {
        Self::with(|_, _| {})
    }

    pub fn with(change: impl FnOnce(&mut PoolConfig, &mut Head)) -> Self {
        let (mut config, mut head) = (PoolConfig::new(CHAIN), head());
        change(&mut config, &mut head);
        Self { pool: Pool::new(config, head), accounts: Accounts::default(), now: 1000 }
    }

    pub fn add(&mut self, tx: Tx) -> Result<Added, PoolError> {
        self.pool.add(tx.pooled(), Origin::Submitted, &self.accounts, self.now)
    }

    pub fn restore(&mut self, tx: Tx) -> Result<Added, PoolError> {
        self.pool.add(tx.pooled(), Origin::Restored, &self.accounts, self.now)
    }

    pub fn refusal(&mut self, tx: Tx) -> String {
        let before = self.pool.all();
        let error = self.add(tx).expect_err("refused").to_string();
        assert_eq!(before, self.pool.all(), "a refusal changes nothing");
        error
    }

    pub fn best(&mut self) -> Vec<(Address, u64)> {
        let (fee, gas) = (self.pool.head().base_fee, self.pool.head().gas_limit);
        self.best_at(fee, BestLimits { gas, count: usize::MAX })
    }

    pub fn best_at(&mut self, base_fee: u64, limits: BestLimits) -> Vec<(Address, u64)> {
        self.pool.best(base_fee, limits).iter().map(|tx| (tx.sender(), tx.nonce())).collect()
    }

    pub fn next_head(&mut self, touched: Touched, mined: Vec<B256>, change: impl FnOnce(&mut Head)) -> HeadEffects {
        let mut head = self.pool.head().clone();
        head.number += 1;
        change(&mut head);
        let change = HeadChange { head, touched, mined, reorged_out: Vec::new() };
        self.pool.on_head(change, &self.accounts, self.now).unwrap()
    }

    pub fn counts(&self) -> (usize, usize) {
        let status = self.pool.status();
        (status.pending, status.queued)
    }
}
