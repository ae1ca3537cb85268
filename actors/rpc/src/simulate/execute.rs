//! One simulated execution after another on the same state.

use super::{
    db::{CodeCache, SimDb, StateDb},
    error::{ExecuteError, execute_error},
    overrides::{apply_block, apply_state},
};
use crate::{chain::Chain, error::RpcError};
use alloy_eips::BlockId;
use alloy_evm::{Evm as _, EvmEnv, EvmFactory as _};
use alloy_op_evm::{OpEvmContext, OpEvmFactory, OpTx, evm_env_for_op_block};
use alloy_primitives::{Address, U256};
use alloy_rpc_types_eth::{BlockOverrides, state::StateOverride};
use op_revm::{L1BlockInfo, OpHaltReason, OpSpecId};
use revm::{Inspector, context_interface::result::ResultAndState};
use std::sync::Arc;

/// A state and a block in which calls run.
#[derive(Debug)]
pub(crate) struct Simulation {
    pub(crate) env: EvmEnv<OpSpecId>,
    pub(crate) db: SimDb,
    /// Precompiles that a state override moved.
    pub(crate) moves: Vec<(Address, Address)>,
}

impl Simulation {
    /// Calls on the state after a block, as if they were part of that block: what geth does.
    ///
    /// # Errors
    /// If the block or its state is not there, or an override is impossible.
    pub(crate) fn at(
        chain: &Chain,
        codes: &Arc<CodeCache>,
        block: BlockId,
        state: Option<StateOverride>,
        overrides: Option<&BlockOverrides>,
    ) -> Result<Self, RpcError> {
        let (header, snapshot) = chain.state_of(block)?;
        let db = SimDb::new(StateDb::new(snapshot, codes.clone()));
        let env = evm_env_for_op_block(header.inner(), chain.spec().hardforks(), chain.spec().chain_id);
        let mut simulation = Self { env, db, moves: Vec::new() };
        simulation.relax();
        simulation.override_with(state, overrides)?;
        Ok(simulation)
    }

    /// Skips the checks that geth skips for calls: nonce, sender without code, block gas limit.
    pub(crate) fn relax(&mut self) {
        let cfg = &mut self.env.cfg_env;
        cfg.disable_nonce_check = true;
        cfg.disable_eip3607 = true;
        cfg.disable_block_gas_limit = true;
        // The node's own cap bounds the gas.
        cfg.tx_gas_limit_cap = Some(u64::MAX);
    }

    /// # Errors
    /// If an override is impossible.
    pub(crate) fn override_with(
        &mut self,
        state: Option<StateOverride>,
        block: Option<&BlockOverrides>,
    ) -> Result<(), RpcError> {
        if let Some(block) = block {
            apply_block(&mut self.db, &mut self.env.block_env, block)?;
        }
        if let Some(state) = state {
            self.moves.extend(apply_state(&mut self.db, state)?);
        }
        Ok(())
    }

    /// Runs a transaction and leaves the state as it was.
    ///
    /// # Errors
    /// If the transaction cannot even start, or the inspector ends it.
    pub(crate) fn run<I>(&mut self, tx: OpTx, inspector: I) -> Result<ResultAndState<OpHaltReason>, ExecuteError>
    where
        I: for<'a> Inspector<OpEvmContext<&'a mut SimDb>>,
    {
        let caller = tx.0.base.caller;
        let mut env = self.env.clone();
        if tx.0.base.gas_price == 0 && tx.0.base.gas_priority_fee.unwrap_or_default() == 0 {
            env.block_env.basefee = 0;
        }
        let number = env.block_env.number;
        let mut evm = OpEvmFactory::<OpTx>::default().create_evm_with_inspector(&mut self.db, env, inspector);
        // A call is not posted to L1 and pays no operator: with fee parameters of zero, nothing is charged and nothing refunded.
        evm.ctx_mut().chain = L1BlockInfo {
            l2_block: Some(number),
            l1_blob_base_fee: Some(U256::ZERO),
            l1_blob_base_fee_scalar: Some(U256::ZERO),
            operator_fee_scalar: Some(U256::ZERO),
            operator_fee_constant: Some(U256::ZERO),
            da_footprint_gas_scalar: Some(0),
            ..L1BlockInfo::default()
        };
        if !self.moves.is_empty() {
            evm.components_mut()
                .2
                .move_precompiles(self.moves.iter().copied())
                .map_err(|e| ExecuteError::Failed(RpcError::server(e)))?;
        }
        evm.transact(tx).map_err(|error| execute_error(error, caller))
    }
}
