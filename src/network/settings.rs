//! A network against the settings of a node: what the files fix, the settings cannot change.

use super::{Network, NetworkError};
use crate::config::{Config, DEV_L1_BLOCK_TIME, DEV_L2_BLOCK_TIME, ForkTime, Forks, NetworkName, is_test_mnemonic};
use alloy_primitives::U256;
use std::collections::HashMap;

impl Network {
    /// The settings as they are in force on this network. Those that are its own business and were left at their defaults are
    /// replaced by its values, so that whatever is shown to an operator is true.
    ///
    /// # Errors
    /// If a setting was set to something else than the network has, or cannot work on it.
    pub fn in_force(&self, config: &Config) -> Result<Config, NetworkError> {
        let provisioners = self.provisioners_in_force(config);
        let mut config = config.clone();
        let mut wrong = Vec::new();
        let defaults = Config::default();
        // What the loader takes for `dev`, or where the default would be too short, nobody has set.
        let slow_l1 = config.l2.block_time.saturating_mul(2);
        let l1_block_time = self.dusk.as_ref().map_or(config.l1.block_time, |dusk| dusk.l1.block_time);
        let l2 = &mut config.l2;
        let system = &self.rollup.genesis.system_config;
        for (setting, value, unset, kept) in [
            ("l2.chain_id", &mut l2.chain_id, vec![defaults.l2.chain_id], self.rollup.l2_chain_id),
            (
                "l2.block_time",
                &mut l2.block_time,
                vec![defaults.l2.block_time, DEV_L2_BLOCK_TIME],
                self.rollup.block_time,
            ),
            ("l2.gas_limit", &mut l2.gas_limit, vec![defaults.l2.gas_limit], system.gas_limit),
            (
                "l2.sequencing_window",
                &mut l2.sequencing_window,
                vec![defaults.l2.sequencing_window],
                self.rollup.seq_window_size,
            ),
            (
                "l1.block_time",
                &mut config.l1.block_time,
                vec![defaults.l1.block_time, DEV_L1_BLOCK_TIME, slow_l1],
                l1_block_time,
            ),
            ("l1.provisioners", &mut config.l1.provisioners, vec![defaults.l1.provisioners], provisioners),
        ] {
            if !unset.contains(value) && *value != kept {
                wrong.push(format!("{setting} is {kept}, not {value}"));
            }
            *value = kept;
        }
        let kept = self.forks();
        if config.forks != Forks::default() && config.forks != kept {
            wrong.push("the forks in l2.forks are others".into());
        }
        config.forks = kept;
        self.accounts_in_force(&mut config, &defaults, &mut wrong)?;
        self.check_drift(&config, &mut wrong);
        if wrong.is_empty() { Ok(config) } else { Err(NetworkError::Settings(wrong.join("; "))) }
    }

    fn forks(&self) -> Forks {
        let forks = &self.rollup.forks;
        Forks {
            regolith: ForkTime(forks.regolith),
            canyon: ForkTime(forks.canyon),
            delta: ForkTime(self.rollup.delta_time),
            ecotone: ForkTime(forks.ecotone),
            fjord: ForkTime(forks.fjord),
            granite: ForkTime(forks.granite),
            holocene: ForkTime(forks.holocene),
            isthmus: ForkTime(forks.isthmus),
            jovian: ForkTime(forks.jovian),
        }
    }

    /// Which accounts of the mnemonic does the genesis fund, and with what?
    fn accounts_in_force(
        &self,
        config: &mut Config,
        defaults: &Config,
        wrong: &mut Vec<String>,
    ) -> Result<(), NetworkError> {
        if config.network.name != NetworkName::Local || config.network.genesis.is_some() {
            return Ok(());
        }
        let balances: HashMap<_, _> = self
            .genesis_state
            .accounts
            .iter()
            .filter_map(|account| Some((account.address, account.info.as_ref()?.balance)))
            .collect();
        let wanted = crate::cli::dev_accounts(&config.keys.mnemonic, config.genesis.accounts)?;
        let funded: Vec<U256> = wanted.iter().map_while(|account| balances.get(&account.address).copied()).collect();
        let genesis = &mut config.genesis;
        let Some(first) = funded.first() else {
            if !is_test_mnemonic(&config.keys.mnemonic) {
                wrong.push("the accounts of keys.mnemonic are not funded".into());
            }
            genesis.accounts = 0;
            return Ok(());
        };
        let accounts = u32::try_from(funded.len()).unwrap_or(u32::MAX);
        if accounts != genesis.accounts && genesis.accounts != defaults.genesis.accounts {
            wrong.push(format!("genesis.accounts is {accounts}, not {}", genesis.accounts));
        }
        genesis.accounts = accounts;
        let balance = u64::try_from(*first / U256::from(10u64.pow(18))).unwrap_or(u64::MAX);
        if balance != genesis.balance && genesis.balance != defaults.genesis.balance {
            wrong.push(format!("genesis.balance is {balance}, not {}", genesis.balance));
        }
        genesis.balance = balance;
        Ok(())
    }

    /// The same bounds that the configuration has for a local network, with the values of the files.
    fn check_drift(&self, config: &Config, wrong: &mut Vec<String>) {
        if !config.actors.sequencer {
            return;
        }
        let drift = self.rollup.max_sequencer_drift_at(self.rollup.genesis.l2_time);
        let behind = config.l1.block_time.saturating_mul(config.sequencer.l1_confirmations.saturating_add(2));
        if behind >= drift {
            wrong.push(format!(
                "with sequencer.l1_confirmations {} L2 would run {behind} s ahead of L1, but it may run {drift} s ahead at most",
                config.sequencer.l1_confirmations
            ));
        }
        let block_time = self.rollup.block_time.saturating_mul(1_000);
        if config.sequencer.time_budget_ms > block_time {
            wrong.push(format!("sequencer.time_budget_ms is more than the L2 block time of {block_time} ms"));
        }
    }
}
