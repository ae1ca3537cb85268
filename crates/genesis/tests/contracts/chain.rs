//! A chain of no blocks: genesis state, and transactions on top of it.

use alloy_primitives::{Address, B256, Bytes, Log, U256, address};
use alloy_sol_types::{SolCall, SolError, SolEvent};
use duskevm_genesis::{Fork, ForkTimes, L2Genesis, NetworkSpec};
use op_revm::{DefaultOp, OpBuilder, OpSpecId, OpTransaction};
use revm::{
    Context, DatabaseRef, ExecuteCommitEvm,
    bytecode::Bytecode,
    context::{CfgEnv, TxEnv, result::ExecutionResult},
    database::{CacheDB, EmptyDB},
    primitives::TxKind,
    state::AccountInfo,
};

/// An ordinary account.
pub(crate) const ALICE: Address = address!("00000000000000000000000000000000000a11ce");
/// Another one.
pub(crate) const BOB: Address = address!("0000000000000000000000000000000000000b0b");

/// Time of the block that transactions run in.
pub(crate) const NOW: u64 = 1_800_000_000;
/// Number of that block.
pub(crate) const BLOCK: u64 = 77;
/// Base fee of that block.
pub(crate) const BASE_FEE: u64 = 1_000_000;

pub(crate) struct Chain {
    pub(crate) db: CacheDB<EmptyDB>,
    pub(crate) spec: OpSpecId,
}

/// What became of a transaction.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) success: bool,
    pub(crate) output: Bytes,
    pub(crate) logs: Vec<Log>,
}

impl Chain {
    /// The local network with Isthmus.
    pub(crate) fn new() -> Self {
        Self::with_fork(Fork::Isthmus)
    }

    /// The local network with this fork active at genesis.
    pub(crate) fn with_fork(fork: Fork) -> Self {
        let mut spec = NetworkSpec::local(NOW - 2).unwrap();
        spec.rollup.forks = ForkTimes::at_genesis(fork);
        Self::from_spec(&spec)
    }

    pub(crate) fn from_spec(spec: &NetworkSpec) -> Self {
        let genesis = L2Genesis::build(spec).unwrap();
        let mut db = CacheDB::new(EmptyDB::default());
        for (address, account) in &genesis.alloc {
            let mut info = AccountInfo { nonce: account.nonce, balance: account.balance, ..Default::default() };
            if let Some(code) = &account.code {
                info = info.with_code(Bytecode::new_raw(code.clone()));
            }
            db.insert_account_info(*address, info);
            for (slot, value) in &account.storage {
                db.insert_account_storage(*address, (*slot).into(), (*value).into()).unwrap();
            }
        }
        Self { db, spec: execution_spec(spec.rollup.forks.active(NOW)) }
    }

    /// Sends a deposit transaction, which costs nothing and may come from any account. The value is minted.
    pub(crate) fn send(&mut self, from: Address, to: Address, value: U256, data: impl Into<Bytes>) -> Outcome {
        self.send_with_gas(from, to, value, data, 30_000_000)
    }

    /// The same with a gas limit.
    pub(crate) fn send_with_gas(
        &mut self,
        from: Address,
        to: Address,
        value: U256,
        data: impl Into<Bytes>,
        gas_limit: u64,
    ) -> Outcome {
        let mut block = revm::context::BlockEnv { number: U256::from(BLOCK), basefee: BASE_FEE, ..Default::default() };
        block.timestamp = U256::from(NOW);
        block.gas_limit = 60_000_000;
        let mut evm =
            Context::op().with_db(&mut self.db).with_block(block).with_cfg(CfgEnv::new_with_spec(self.spec)).build_op();
        let tx = OpTransaction::builder()
            .base(
                TxEnv::builder()
                    .caller(from)
                    .kind(TxKind::Call(to))
                    .value(value)
                    .data(data.into())
                    .gas_limit(gas_limit)
                    .gas_price(0),
            )
            .source_hash(B256::repeat_byte(1))
            .mint(value.to())
            .not_system_transaction()
            .is_deposit_tx()
            .build_fill();
        match evm.transact_commit(tx).unwrap() {
            ExecutionResult::Success { output, logs, .. } => {
                Outcome { success: true, output: output.into_data(), logs }
            }
            ExecutionResult::Revert { output, .. } => Outcome { success: false, output, logs: vec![] },
            ExecutionResult::Halt { reason, .. } => panic!("the transaction halted: {reason:?}"),
        }
    }

    /// Calls a function and decodes what it returns.
    pub(crate) fn call<C: SolCall>(&mut self, from: Address, to: Address, call: C) -> C::Return {
        let outcome = self.send(from, to, U256::ZERO, call.abi_encode());
        assert!(outcome.success, "{} reverted: {}", C::SIGNATURE, outcome.reason());
        C::abi_decode_returns(&outcome.output).unwrap()
    }

    /// Asks a function from an account of no importance.
    pub(crate) fn ask<C: SolCall>(&mut self, to: Address, call: C) -> C::Return {
        self.call(ALICE, to, call)
    }

    pub(crate) fn slot(&self, address: Address, slot: u64) -> B256 {
        self.db.storage_ref(address, U256::from(slot)).unwrap().into()
    }

    pub(crate) fn balance(&self, address: Address) -> U256 {
        self.db.basic_ref(address).unwrap().map(|a| a.balance).unwrap_or_default()
    }

    pub(crate) fn set_balance(&mut self, address: Address, balance: U256) {
        let mut info = self.db.basic_ref(address).unwrap().unwrap_or_default();
        info.balance = balance;
        self.db.insert_account_info(address, info);
    }
}

impl Outcome {
    /// The revert message, as well as it can be shown.
    pub(crate) fn reason(&self) -> String {
        alloy_sol_types::Revert::abi_decode(&self.output).map_or_else(|_| self.output.to_string(), |r| r.reason)
    }

    pub(crate) fn is_error<E: SolError>(&self) -> bool {
        !self.success && self.output.starts_with(&E::SELECTOR)
    }

    /// The only event of this kind, with its emitter.
    pub(crate) fn event<E: SolEvent>(&self) -> Log<E> {
        let found: Vec<_> = self.logs.iter().filter_map(|log| E::decode_log(log).ok()).collect();
        assert_eq!(found.len(), 1, "one {} expected in {:?}", E::SIGNATURE, self.logs);
        found.into_iter().next().unwrap()
    }
}

fn execution_spec(fork: Option<Fork>) -> OpSpecId {
    match fork {
        None => OpSpecId::BEDROCK,
        Some(Fork::Regolith) => OpSpecId::REGOLITH,
        Some(Fork::Canyon | Fork::Delta) => OpSpecId::CANYON,
        Some(Fork::Ecotone) => OpSpecId::ECOTONE,
        Some(Fork::Fjord) => OpSpecId::FJORD,
        Some(Fork::Granite) => OpSpecId::GRANITE,
        Some(Fork::Holocene) => OpSpecId::HOLOCENE,
        Some(Fork::Isthmus) => OpSpecId::ISTHMUS,
        Some(Fork::Jovian) => OpSpecId::JOVIAN,
    }
}
