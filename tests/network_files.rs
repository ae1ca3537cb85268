//! The files that `duskevm genesis` writes, as programs of the OP Stack read them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header};
use alloy_genesis::{ChainConfig, Genesis};
use alloy_primitives::{Address, B64, B256, address, b256};
use alloy_trie::{TrieAccount, root::state_root_unhashed};
use serde::Deserialize;
use serde_json::Value;

/// Every key that op-node and kona-node know. Both refuse a file with another one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rollup {
    genesis: Anchor,
    block_time: u64,
    max_sequencer_drift: u64,
    seq_window_size: u64,
    channel_timeout: u64,
    l1_chain_id: u64,
    l2_chain_id: u64,
    regolith_time: Option<u64>,
    canyon_time: Option<u64>,
    delta_time: Option<u64>,
    ecotone_time: Option<u64>,
    fjord_time: Option<u64>,
    granite_time: Option<u64>,
    holocene_time: Option<u64>,
    isthmus_time: Option<u64>,
    jovian_time: Option<u64>,
    batch_inbox_address: Address,
    deposit_contract_address: Address,
    l1_system_config_address: Address,
    protocol_versions_address: Address,
    chain_op_config: Eip1559,
    alt_da: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Anchor {
    l1: Id,
    l2: Id,
    l2_time: u64,
    system_config: System,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Id {
    hash: B256,
    number: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct System {
    batcher_addr: Address,
    overhead: B256,
    scalar: B256,
    gas_limit: u64,
    eip1559_params: B64,
    operator_fee_params: B256,
    min_base_fee: Option<u64>,
    da_footprint_gas_scalar: Option<u16>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Eip1559 {
    eip1559_elasticity: u64,
    eip1559_denominator: u64,
    eip1559_denominator_canyon: u64,
}

fn duskevm(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_duskevm")).args(arguments).current_dir(folder).env_clear().output().unwrap()
}

fn made(arguments: &[&str], folder: &Path) {
    let output = duskevm(arguments, folder);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn text(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

/// The hash of block 0 as an execution client computes it, from `genesis.json` and nothing else.
fn genesis_hash(text: &str) -> B256 {
    const PASSER: Address = address!("4200000000000000000000000000000000000016");
    /// SHA-256 of nothing (EIP-7685).
    const NO_REQUESTS: B256 = b256!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let genesis: Genesis = serde_json::from_str(text).unwrap();
    let accounts: Vec<(Address, TrieAccount)> =
        genesis.alloc.into_iter().map(|(address, account)| (address, account.into_trie_account())).collect();
    let passer = accounts.iter().find(|(address, _)| *address == PASSER).map(|(_, account)| account.storage_root);
    let at_genesis = |fork: &str| genesis.config.extra_fields.get(fork).and_then(Value::as_u64) == Some(0);
    let isthmus = at_genesis("isthmusTime");
    let header = Header {
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: genesis.coinbase,
        state_root: state_root_unhashed(accounts),
        transactions_root: EMPTY_ROOT_HASH,
        receipts_root: EMPTY_ROOT_HASH,
        difficulty: genesis.difficulty,
        gas_limit: genesis.gas_limit,
        timestamp: genesis.timestamp,
        extra_data: genesis.extra_data,
        mix_hash: genesis.mix_hash,
        nonce: B64::from(genesis.nonce),
        base_fee_per_gas: genesis.base_fee_per_gas.map(|fee| fee.try_into().unwrap()),
        // Canyon: none; Isthmus: what the message passer holds.
        withdrawals_root: if isthmus { passer } else { at_genesis("canyonTime").then_some(EMPTY_ROOT_HASH) },
        blob_gas_used: at_genesis("ecotoneTime").then_some(0),
        excess_blob_gas: at_genesis("ecotoneTime").then_some(0),
        parent_beacon_block_root: at_genesis("ecotoneTime").then_some(B256::ZERO),
        requests_hash: isthmus.then_some(NO_REQUESTS),
        ..Header::default()
    };
    header.hash_slow()
}

#[test]
fn op_programs_find_all_they_need_and_nothing_unknown_in_the_rollup_file() {
    let folder = tempfile::tempdir().unwrap();
    for (out, more, jovian) in [("isthmus", &[][..], None), ("jovian", &["--jovian"], Some(0))] {
        made(&[&["genesis", "--out", out, "--chain-id", "777", "--block-time", "3"], more].concat(), folder.path());
        let net = folder.path().join(out);
        let rollup: Rollup = serde_json::from_str(&text(&net, "rollup.json")).unwrap();
        assert_eq!((rollup.l1_chain_id, rollup.l2_chain_id, rollup.block_time), (250, 777, 3));
        assert_eq!((rollup.seq_window_size, rollup.max_sequencer_drift, rollup.channel_timeout), (3_600, 600, 300));
        for (fork, time) in [
            ("regolith", rollup.regolith_time),
            ("canyon", rollup.canyon_time),
            ("delta", rollup.delta_time),
            ("ecotone", rollup.ecotone_time),
            ("fjord", rollup.fjord_time),
            ("granite", rollup.granite_time),
            ("holocene", rollup.holocene_time),
            ("isthmus", rollup.isthmus_time),
        ] {
            assert_eq!(time, Some(0), "{fork}");
        }
        assert_eq!(rollup.jovian_time, jovian);
        assert!(rollup.alt_da.is_none());
        let expected = Eip1559 { eip1559_elasticity: 6, eip1559_denominator: 50, eip1559_denominator_canyon: 250 };
        assert_eq!(rollup.chain_op_config, expected);
        let system = &rollup.genesis.system_config;
        assert_eq!((system.gas_limit, system.overhead), (60_000_000, B256::ZERO));
        assert_eq!(system.scalar.0[0], 1, "scalars of Ecotone");
        // They take effect as those of `chain_op_config`; a fee for the operator is not taken.
        assert_eq!((system.eip1559_params, system.operator_fee_params), (B64::ZERO, B256::ZERO));
        assert_eq!(
            (system.min_base_fee.is_some(), system.da_footprint_gas_scalar.is_some()),
            (jovian.is_some(), jovian.is_some())
        );
        // What op-node refuses to start without.
        let contracts = [rollup.batch_inbox_address, rollup.deposit_contract_address, rollup.l1_system_config_address];
        assert!(contracts.iter().all(|address| !address.is_zero()) && !system.batcher_addr.is_zero());
        // op-node reads two slots there, which are zero: no version of the protocol is required.
        assert!(!rollup.protocol_versions_address.is_zero());
        assert!(!rollup.genesis.l1.hash.is_zero() && rollup.genesis.l1.number == 0);

        let l1: ChainConfig = serde_json::from_str(&text(&net, "l1-chain-config.json")).unwrap();
        assert_eq!((l1.chain_id, l1.cancun_time, l1.prague_time), (rollup.l1_chain_id, Some(0), None));

        let genesis: Genesis = serde_json::from_str(&text(&net, "genesis.json")).unwrap();
        assert_eq!(genesis.config.chain_id, rollup.l2_chain_id);
        assert_eq!(genesis.timestamp, rollup.genesis.l2_time);
        assert_eq!(rollup.genesis.l2.number, 0);
        assert_eq!(genesis_hash(&text(&net, "genesis.json")), rollup.genesis.l2.hash, "{out}");
    }
}

#[test]
fn the_files_of_a_network_are_written_out_again() {
    let folder = tempfile::tempdir().unwrap();
    made(&["genesis", "--out", "net"], folder.path());
    // As a node keeps them, and as they were made.
    fs::create_dir(folder.path().join("data")).unwrap();
    fs::rename(folder.path().join("net"), folder.path().join("data/network")).unwrap();
    let kept = folder.path().join("data/network");
    for from in ["data", "data/network"] {
        made(&["genesis", "--out", "copy", "--from", from, "--force"], folder.path());
        let copy = folder.path().join("copy");
        for name in ["genesis.json", "rollup.json", "l1-genesis.json", "l1-chain-config.json"] {
            assert_eq!(text(&copy, name), text(&kept, name), "{name}");
        }
        assert!(!copy.join("node.toml").exists());
    }
    let refused = duskevm(&["genesis", "--out", "copy", "--from", "data"], folder.path());
    assert_eq!(refused.status.code(), Some(1), "nothing is replaced unless forced");
    let nothing = duskevm(&["genesis", "--out", "other", "--from", "copy/none"], folder.path());
    assert_eq!(nothing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("holds no network"));
}
