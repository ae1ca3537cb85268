//! The rules that a transaction must pass to come in.

use alloy_consensus::Transaction as _;
use alloy_primitives::U256;
use op_alloy_consensus::OpTxEnvelope;
use revm::{
    interpreter::{InitialAndFloorGas, gas::calculate_initial_tx_gas},
    primitives::{eip3860, eip7825, hardfork::SpecId},
};

use crate::{
    error::PoolError,
    head::{AccountState, CodeKind},
    pool::{Origin, Pool},
    tx::PoolTx,
};

/// Intrinsic gas and floor of a transaction under some rules.
fn initial_gas(tx: &PoolTx, spec: SpecId) -> InitialAndFloorGas {
    let envelope = tx.tx().envelope();
    let (addresses, slots) = envelope
        .access_list()
        .map_or((0, 0), |list| (list.len() as u64, list.iter().map(|item| item.storage_keys.len() as u64).sum()));
    let authorizations = envelope.authorization_list().map_or(0, |list| list.len() as u64);
    calculate_initial_tx_gas(spec, envelope.input(), envelope.is_create(), addresses, slots, authorizations)
}

impl Pool {
    /// The rules that need nothing but the transaction and the head. Returns the gas that it uses at least.
    pub(crate) fn check_alone(&self, tx: &PoolTx, origin: Origin) -> Result<u64, PoolError> {
        let (config, head) = (&self.config, &self.head);
        let spec = head.spec.into_eth_spec();
        let envelope = tx.tx().envelope();
        self.check_type(tx, spec)?;
        if tx.size() > config.max_tx_bytes {
            return Err(PoolError::Oversized { size: tx.size(), limit: config.max_tx_bytes });
        }
        let init_code = if envelope.is_create() { envelope.input().len() } else { 0 };
        if spec.is_enabled_in(SpecId::SHANGHAI) && init_code > eip3860::MAX_INITCODE_SIZE {
            return Err(PoolError::InitCodeSize { size: init_code, limit: eip3860::MAX_INITCODE_SIZE });
        }
        let gas_limit = tx.gas_limit();
        if spec.is_enabled_in(SpecId::OSAKA) && gas_limit > eip7825::TX_GAS_LIMIT_CAP {
            return Err(PoolError::GasLimitCap { cap: eip7825::TX_GAS_LIMIT_CAP, gas_limit });
        }
        if origin == Origin::Submitted {
            if gas_limit > head.gas_limit {
                return Err(PoolError::BlockGasLimit { gas_limit, block: head.gas_limit });
            }
            let footprint = head.da_footprint(tx);
            if footprint > head.gas_limit {
                return Err(PoolError::DaFootprint { footprint, block: head.gas_limit });
            }
        }
        if tx.tip() > tx.fee_cap() {
            return Err(PoolError::TipAboveFeeCap { tip: tx.tip(), cap: tx.fee_cap() });
        }
        match envelope.chain_id() {
            Some(have) if have != config.chain_id => return Err(PoolError::ChainId { have, want: config.chain_id }),
            None if !config.allow_unprotected => return Err(PoolError::Unprotected { want: config.chain_id }),
            _ => {}
        }
        if tx.nonce() == u64::MAX {
            return Err(PoolError::NonceMax(tx.sender()));
        }
        let gas = initial_gas(tx, spec);
        if gas_limit < gas.initial_total_gas {
            return Err(PoolError::IntrinsicGas { have: gas_limit, need: gas.initial_total_gas });
        }
        let floor = if spec.is_enabled_in(SpecId::PRAGUE) { gas.floor_gas } else { 0 };
        if gas_limit < floor {
            return Err(PoolError::FloorGas { have: gas_limit, need: floor });
        }
        if origin == Origin::Submitted {
            if tx.tip() < config.min_tip {
                return Err(PoolError::TipTooLow { tip: tx.tip(), need: config.min_tip });
            }
            if tx.fee_cap() < u128::from(head.min_base_fee) {
                return Err(PoolError::FeeCapTooLow { cap: tx.fee_cap(), need: head.min_base_fee });
            }
        }
        // Refunds give back at most a fifth of what was used (EIP-3529).
        Ok(floor.max(gas.initial_total_gas - gas.initial_total_gas / 5))
    }

    fn check_type(&self, tx: &PoolTx, spec: SpecId) -> Result<(), PoolError> {
        let envelope = tx.tx().envelope();
        let ty = envelope.tx_type() as u8;
        match envelope {
            OpTxEnvelope::Legacy(_) | OpTxEnvelope::Eip2930(_) | OpTxEnvelope::Eip1559(_) => Ok(()),
            OpTxEnvelope::Eip7702(_) if !spec.is_enabled_in(SpecId::PRAGUE) => {
                Err(PoolError::TypeNotSupported { ty, why: "the chain is not at Isthmus yet, which brings EIP-7702" })
            }
            OpTxEnvelope::Eip7702(signed) if signed.tx().authorization_list.is_empty() => {
                Err(PoolError::EmptyAuthorizations)
            }
            OpTxEnvelope::Eip7702(_) => Ok(()),
            OpTxEnvelope::Deposit(_) => {
                Err(PoolError::TypeNotSupported { ty, why: "deposits come from L1 only; deposit through the bridge" })
            }
            OpTxEnvelope::PostExec(_) => {
                Err(PoolError::TypeNotSupported { ty, why: "only the block builder makes post-execution transactions" })
            }
        }
    }

    /// The rules that depend on the sender: its state at the head and its other transactions here.
    pub(crate) fn check_with_sender(&self, tx: &PoolTx, origin: Origin, state: &AccountState) -> Result<(), PoolError> {
        if tx.nonce() < state.nonce {
            return Err(PoolError::NonceTooLow { next: state.nonce, tx: tx.nonce() });
        }
        if state.code == CodeKind::Contract {
            return Err(PoolError::SenderHasCode(tx.sender()));
        }
        if origin == Origin::Submitted {
            self.check_delegation(tx, state)?;
        }
        self.check_replacement(tx)?;
        if origin == Origin::Submitted {
            self.check_funds(tx, state)?;
            self.check_account_limits(tx, state)?;
        }
        Ok(())
    }

    /// EIP-7702, as geth does it: an account whose code is delegated can lose its balance or nonce at any time by a
    /// transaction of somebody else, which would invalidate all it has in the pool. So it may have one transaction here, and
    /// an account with several may not be delegated by a pooled transaction.
    fn check_delegation(&self, tx: &PoolTx, state: &AccountState) -> Result<(), PoolError> {
        let sender = tx.sender();
        let pooled = self.accounts.get(&sender);
        if state.code == CodeKind::Delegation || self.catalog.has_authorization_of(&sender) {
            match pooled.filter(|account| account.ready > 0) {
                None if tx.nonce() != state.nonce => {
                    return Err(PoolError::GappedFromDelegated { next: state.nonce, tx: tx.nonce() });
                }
                Some(account) if !account.txs.get(&tx.nonce()).is_some_and(|entry| entry.is_ready()) => {
                    return Err(PoolError::InFlightLimit(sender));
                }
                _ => {}
            }
        }
        for authority in tx.authorities() {
            if self.accounts.get(authority).is_some_and(|account| account.txs.len() > 1) {
                return Err(PoolError::AuthorityReserved(*authority));
            }
        }
        Ok(())
    }

    /// Replacing needs a tip and a fee cap that are both higher by the price bump, and higher at all.
    fn check_replacement(&self, tx: &PoolTx) -> Result<(), PoolError> {
        let Some(old) = self.accounts.get(&tx.sender()).and_then(|account| account.txs.get(&tx.nonce())) else {
            return Ok(());
        };
        let bumped = |price: u128| {
            let percent = U256::from(price) * U256::from(100 + u32::from(self.config.price_bump)) / U256::from(100);
            percent.saturating_to::<u128>().max(price.saturating_add(1))
        };
        let (need_tip, need_cap) = (bumped(old.tx.tip()), bumped(old.tx.fee_cap()));
        // At the top of the number range nothing is higher.
        let is_higher = tx.tip() > old.tx.tip() && tx.fee_cap() > old.tx.fee_cap();
        if !is_higher || tx.tip() < need_tip || tx.fee_cap() < need_cap {
            return Err(PoolError::ReplacementUnderpriced { need_cap, need_tip });
        }
        Ok(())
    }

    fn check_funds(&self, tx: &PoolTx, state: &AccountState) -> Result<(), PoolError> {
        let balance = state.balance;
        let cost = self.head.cost(tx);
        let Some(cost) = cost.filter(|cost| *cost <= balance) else {
            let l1_fee = self.head.l1_fee(tx);
            return Err(PoolError::InsufficientFunds { balance, cost: cost.unwrap_or(U256::MAX), l1_fee });
        };
        if let Some(account) = self.accounts.get(&tx.sender()) {
            let replaced = account.txs.get(&tx.nonce()).filter(|entry| entry.is_ready());
            let queued = account.ready_cost.saturating_sub(replaced.map_or(U256::ZERO, |entry| entry.cost()));
            if queued.saturating_add(cost) > balance {
                return Err(PoolError::InsufficientFundsQueued { balance, queued, cost });
            }
        }
        Ok(())
    }

    fn check_account_limits(&self, tx: &PoolTx, state: &AccountState) -> Result<(), PoolError> {
        let account = self.accounts.get(&tx.sender());
        let next = account.map_or(state.nonce, |account| account.next_nonce());
        if account.is_some_and(|account| account.txs.contains_key(&tx.nonce())) {
            return Ok(());
        }
        let config = &self.config;
        if tx.nonce().saturating_sub(next) > config.max_nonce_gap {
            return Err(PoolError::NonceTooHigh { next, tx: tx.nonce(), max_gap: config.max_nonce_gap });
        }
        let (have, limit) = match account {
            None => return Ok(()),
            Some(account) if tx.nonce() == next => (account.ready, config.account_ready),
            Some(account) => (account.txs.len() - account.ready, config.account_waiting),
        };
        if have >= limit {
            return Err(PoolError::AccountLimit { address: tx.sender(), limit });
        }
        Ok(())
    }
}
