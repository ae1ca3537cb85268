//! The provisioners of a local network, whose keys everybody knows.

use super::Network;
use crate::config::Config;
use duskevm_dusk_l1::{genesis::ConsensusParams, keys::Signer};

/// Stake of each provisioner of a local L1 unless said otherwise, in lux: a million DUSK.
pub const LOCAL_STAKE: u64 = 1_000_000_000_000_000;

/// More of them do not run in one process.
const MOST: u64 = 64;

/// The key of a local L1's first provisioner. Public knowledge, like the mnemonic of the local L2.
pub fn local_producer() -> Signer {
    Signer::from_seed(b"duskevm local producer")
}

/// The key of a local L1's provisioner, counted from 1. Public knowledge, like the mnemonic of the local L2.
pub fn local_provisioner(number: u64) -> Signer {
    match number {
        1 => local_producer(),
        number => Signer::from_seed(format!("duskevm local provisioner {number}").as_bytes()),
    }
}

/// The key of the Dusk account that pays for a local network's batches. Public knowledge, like the mnemonic of the local L2.
pub fn local_batcher() -> Signer {
    Signer::from_seed(b"duskevm local batcher")
}

/// The key of the Dusk account by which a local network's node carries what clients send to the batch inbox. Public knowledge, like the
/// mnemonic of the local L2.
pub fn local_carrier() -> Signer {
    Signer::from_seed(b"duskevm local carrier")
}

/// How the provisioners of a network with this block time agree. Where blocks follow each other faster than on Dusk itself, the
/// steps of an iteration are shorter too, because a provisioner that is down costs some iterations in every round.
pub fn consensus_params(block_time: u64) -> ConsensusParams {
    let usual = ConsensusParams::default();
    if block_time >= 10 {
        return usual;
    }
    let milliseconds = block_time.max(1) * 1_000;
    ConsensusParams {
        step_initial_ms: milliseconds * 2,
        step_min_ms: (milliseconds / 2).max(1_000),
        step_max_ms: (milliseconds * 5).min(usual.step_max_ms),
        step_increase_ms: (milliseconds / 4).min(usual.step_increase_ms),
        ..usual
    }
}

impl Network {
    /// For how many provisioners this process signs with public keys: for all that the genesis has, unless the node has a key of
    /// its own or others to talk to.
    pub(super) fn provisioners_in_force(&self, config: &Config) -> u64 {
        if config.keys.consensus.is_some() || config.has_peers() {
            return 1;
        }
        let staked = |number: &u64| self.has_stake(&local_provisioner(*number));
        (1..=MOST).take_while(staked).count().max(1) as u64
    }

    pub(super) fn has_stake(&self, signer: &Signer) -> bool {
        self.dusk.as_ref().is_some_and(|dusk| dusk.l1.stakes.iter().any(|stake| stake.key == signer.id()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::NetworkFiles;

    #[test]
    fn steps_are_shorter_where_blocks_follow_faster() {
        let usual = ConsensusParams::default();
        let times = |block_time| {
            let made = consensus_params(block_time);
            assert_eq!(
                ConsensusParams {
                    step_initial_ms: 40_000,
                    step_min_ms: 7_000,
                    step_max_ms: 40_000,
                    step_increase_ms: 2_000,
                    ..made.clone()
                },
                usual
            );
            [made.step_initial_ms, made.step_min_ms, made.step_max_ms, made.step_increase_ms]
        };
        assert_eq!(times(1), [2_000, 1_000, 5_000, 250]);
        assert_eq!(times(2), [4_000, 1_000, 10_000, 500]);
        assert_eq!(times(5), [10_000, 2_500, 25_000, 1_250]);
        assert_eq!(times(9), [18_000, 4_500, 40_000, 2_000]);
        for block_time in [10, 11, 3_600] {
            assert_eq!(consensus_params(block_time), usual);
        }
    }

    #[test]
    fn a_local_network_has_as_many_provisioners_as_it_was_made_with() {
        let mut config = Config::default();
        let network = |config: &Config| NetworkFiles::local(config, 1_700_000_000).unwrap().load().unwrap();
        let one = network(&config);
        assert_eq!(
            one.dusk().unwrap().l1.provisioners().collect::<Vec<_>>(),
            [local_producer().id()],
            "the key that it always had"
        );
        config.l1.provisioners = 3;
        let three = network(&config);
        let keys: Vec<_> = (1..=3).map(|number| local_provisioner(number).id()).collect();
        assert_eq!(three.dusk().unwrap().l1.provisioners().collect::<Vec<_>>(), keys);
        assert_eq!(three.in_force(&Config::default()).unwrap().l1.provisioners, 3);
        assert_eq!(three.in_force(&config).unwrap().l1.provisioners, 3);
        let error = one.in_force(&config).unwrap_err().to_string();
        assert!(error.contains("l1.provisioners is 1, not 3"), "{error}");
    }
}
