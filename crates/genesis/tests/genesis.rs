//! The accounts and the header of block 0, and the files they are written to.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use alloy_primitives::{Address, B64, B256, U256, address, b256};
use duskevm_genesis::{
    BlockRef, DEV_ACCOUNT_BALANCE, Fork, ForkTimes, GenesisAnchor, GenesisError, KnownNetwork, L2Genesis, NetworkSpec,
    RollupParams, WithdrawalsRoot,
    artifacts::Contract,
    dev_accounts,
    predeploys::{self, ADMIN_SLOT, IMPLEMENTATION_SLOT, implementation_of, is_proxied, predeploy},
};
use serde_json::Value;

const TIME: u64 = 1_790_000_000;

fn local(fork: Fork) -> NetworkSpec {
    let mut spec = NetworkSpec::local(TIME).unwrap();
    spec.rollup.forks = ForkTimes::at_genesis(fork);
    spec
}

fn build(fork: Fork) -> L2Genesis {
    L2Genesis::build(&local(fork)).unwrap()
}

fn anchor() -> GenesisAnchor {
    GenesisAnchor {
        l1: BlockRef { number: 3, hash: B256::repeat_byte(3) },
        l2: BlockRef { number: 0, hash: B256::repeat_byte(7) },
    }
}

#[test]
fn the_namespace_is_full_of_proxies() {
    let genesis = build(Fork::Isthmus);
    let code = Contract::Proxy.runtime().unwrap();
    let mut proxies = 0;
    let mut with_implementation = Vec::new();
    for number in 0..predeploys::NAMESPACE_SIZE {
        let address = predeploy(number);
        if !is_proxied(address) {
            continue;
        }
        proxies += 1;
        let account = &genesis.alloc[&address];
        assert_eq!((account.code.as_ref(), account.nonce), (Some(&code), 1));
        assert_eq!(account.storage[&ADMIN_SLOT], predeploys::PROXY_ADMIN.into_word());
        if let Some(implementation) = account.storage.get(&IMPLEMENTATION_SLOT) {
            let implementation = Address::from_word(*implementation);
            assert_eq!(implementation, implementation_of(address));
            assert!(genesis.alloc[&implementation].code.is_some());
            assert!(genesis.alloc[&implementation].storage.is_empty());
            with_implementation.push(number);
        }
    }
    assert_eq!(proxies, 2046);
    assert_eq!(
        with_implementation,
        [0x07, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b]
    );
    assert!(!genesis.alloc.contains_key(&predeploys::GOVERNANCE_TOKEN));
    assert!(genesis.alloc[&predeploys::WETH9].storage.is_empty());
}

#[test]
fn nothing_but_funded_accounts_holds_value_and_no_slot_is_zero() {
    let genesis = build(Fork::Jovian);
    let users = &dev_accounts().unwrap().users;
    for (address, account) in &genesis.alloc {
        let expected = if users.iter().any(|u| u.address == *address) { DEV_ACCOUNT_BALANCE } else { U256::ZERO };
        assert_eq!(account.balance, expected, "{address}");
        assert!(account.storage.values().all(|v| !v.is_zero()), "{address}");
    }
    assert_eq!(genesis.message_passer_storage().unwrap().len(), 2);
}

#[test]
fn the_header_follows_the_forks() {
    let h = build(Fork::Regolith).header;
    assert_eq!(h.withdrawals_root, WithdrawalsRoot::Absent);
    assert_eq!((h.blob_gas_used, h.parent_beacon_block_root, h.requests_hash), (None, None, None));
    assert!(h.extra_data.is_empty());

    let h = build(Fork::Granite).header;
    assert_eq!(h.withdrawals_root, WithdrawalsRoot::EmptyTrie);
    assert_eq!((h.blob_gas_used, h.excess_blob_gas, h.parent_beacon_block_root), (Some(0), Some(0), Some(B256::ZERO)));
    assert!(h.extra_data.is_empty() && h.requests_hash.is_none());

    let h = build(Fork::Isthmus).header;
    assert_eq!(h.withdrawals_root, WithdrawalsRoot::MessagePasserStorage);
    assert_eq!(h.extra_data.to_string(), "0x00000000fa00000006");
    let no_requests = b256!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(h.requests_hash, Some(no_requests));
    assert_eq!((h.timestamp, h.gas_limit, h.base_fee), (TIME, 60_000_000, 1_000_000_000));
    assert_eq!(h.beneficiary, predeploys::SEQUENCER_FEE_VAULT);

    let mut spec = local(Fork::Jovian);
    spec.rollup.system_config.min_base_fee = 0x1234;
    spec.rollup.system_config.eip1559_params = B64::from(0x0000_0020_0000_0002_u64);
    assert_eq!(L2Genesis::build(&spec).unwrap().header.extra_data.to_string(), "0x0100000020000000020000000000001234");
}

#[test]
fn a_fork_that_comes_later_is_not_in_block_0() {
    let mut spec = local(Fork::Holocene);
    spec.rollup.forks = spec.rollup.forks.with(Fork::Isthmus, Some(TIME + 1)).unwrap();
    assert_eq!(L2Genesis::build(&spec).unwrap().header.requests_hash, None);
    spec.rollup.forks = spec.rollup.forks.with(Fork::Isthmus, Some(TIME)).unwrap();
    assert!(L2Genesis::build(&spec).unwrap().header.requests_hash.is_some());
}

#[test]
fn building_is_quick() {
    let spec = local(Fork::Isthmus);
    // The best of several, because other programs run here too.
    let best = (0..10).map(|_| {
        let start = Instant::now();
        let genesis = L2Genesis::build(&spec).unwrap();
        (start.elapsed(), genesis.alloc.len())
    });
    let (time, accounts) = best.min().unwrap();
    assert!(accounts > 2048);
    assert!(time < Duration::from_millis(50), "{time:?}");
}

#[test]
fn what_cannot_run_is_refused() {
    fn refusal(change: impl FnOnce(&mut NetworkSpec)) -> String {
        let mut spec = local(Fork::Jovian);
        change(&mut spec);
        L2Genesis::build(&spec).unwrap_err().to_string()
    }
    for (message, field) in [
        (refusal(|s| s.rollup.l2_chain_id = 0), "l2_chain_id"),
        (refusal(|s| s.rollup.l1_chain_id = s.rollup.l2_chain_id), "l1_chain_id"),
        (refusal(|s| s.rollup.block_time = 0), "block_time"),
        (refusal(|s| s.rollup.seq_window_size = 1), "seq_window_size"),
        (refusal(|s| s.rollup.channel_timeout = 0), "channel_timeout"),
        (refusal(|s| s.rollup.eip1559.elasticity = 0), "eip1559"),
        (refusal(|s| s.rollup.system_config.gas_limit = 20_999_999), "gas_limit"),
        (refusal(|s| s.rollup.system_config.batcher = Address::ZERO), "batcher"),
        (refusal(|s| s.rollup.system_config.scalar[0] = 2), "scalar"),
        (refusal(|s| s.rollup.system_config.eip1559_params = B64::from(6_u64)), "eip1559_params"),
        (refusal(|s| s.rollup.system_config.min_base_fee = s.base_fee + 1), "min_base_fee"),
        (refusal(|s| s.base_fee = 0), "base_fee"),
        (refusal(|s| s.proxy_admin_owner = Address::ZERO), "proxy_admin_owner"),
        (refusal(|s| s.vaults.l1.recipient = Address::ZERO), "vaults.l1.recipient"),
        (refusal(|s| s.bridges.messenger = Address::ZERO), "bridges.messenger"),
        (refusal(|s| s.bridges.standard_bridge = Address::ZERO), "bridges.standard_bridge"),
        (refusal(|s| s.bridges.erc721_bridge = Address::ZERO), "bridges.erc721_bridge"),
        (refusal(|s| s.bridges.erc721_bridge = s.bridges.standard_bridge), "three contracts"),
        (refusal(|s| s.rollup.l2_chain_id = 744), "mainnet"),
    ] {
        assert!(message.contains(field), "{field}: {message}");
    }
    for taken in [predeploys::L1_BLOCK, predeploys::MULTICALL3, implementation_of(predeploys::L1_BLOCK)] {
        let mut spec = local(Fork::Isthmus);
        spec.funded.insert(taken, U256::from(1));
        let error = L2Genesis::build(&spec).unwrap_err();
        assert!(matches!(error, GenesisError::AccountCollision(address) if address == taken), "{error}");
    }
}

#[test]
fn both_files_survive_a_round_trip() {
    for fork in [Fork::Delta, Fork::Holocene, Fork::Isthmus, Fork::Jovian] {
        let mut spec = local(fork);
        spec.rollup.system_config.operator_fee_scalar = 0xdead_beef;
        spec.rollup.system_config.operator_fee_constant = u64::MAX - 5;
        if fork == Fork::Jovian {
            spec.rollup.system_config.min_base_fee = 77;
            spec.rollup.system_config.da_footprint_gas_scalar = 300;
        }
        let genesis = L2Genesis::build(&spec).unwrap();
        let (genesis_json, rollup_json) =
            (genesis.to_geth_genesis_json().unwrap(), genesis.rollup.to_rollup_json(&anchor()).unwrap());
        let (read, read_anchor) = L2Genesis::from_json(&genesis_json, &rollup_json).unwrap();
        assert!(read == genesis, "{fork}");
        assert_eq!(read_anchor, anchor());
    }
}

#[test]
fn genesis_json_has_the_form_that_execution_clients_read() {
    let json: Value = serde_json::from_str(&build(Fork::Isthmus).to_geth_genesis_json().unwrap()).unwrap();
    let config = &json["config"];
    assert_eq!(config["chainId"], 31310);
    for key in
        ["londonBlock", "bedrockBlock", "shanghaiTime", "cancunTime", "pragueTime", "regolithTime", "isthmusTime"]
    {
        assert_eq!(config[key], 0, "{key}");
    }
    assert_eq!(config["terminalTotalDifficulty"], 0);
    for key in ["jovianTime", "deltaTime", "osakaTime"] {
        assert!(config.get(key).is_none(), "{key}");
    }
    assert_eq!(config["optimism"]["eip1559DenominatorCanyon"], 250);
    assert_eq!(json["timestamp"], format!("{TIME:#x}"));
    assert_eq!(json["gasLimit"], "0x3938700");
    assert_eq!(json["baseFeePerGas"], "0x3b9aca00");
    assert_eq!(json["extraData"], "0x00000000fa00000006");
    let user = &json["alloc"]["0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"];
    assert_eq!(user["balance"], "0x21e19e0c9bab2400000");
    let passer = &json["alloc"]["0x4200000000000000000000000000000000000016"];
    assert_eq!(passer["nonce"], "0x1");
    assert_eq!(
        passer["storage"][IMPLEMENTATION_SLOT.to_string()],
        "0x000000000000000000000000c0d3c0d3c0d3c0d3c0d3c0d3c0d3c0d3c0d30016"
    );
}

#[test]
fn rollup_json_has_the_form_that_the_published_one_has() {
    let (params, anchor) = KnownNetwork::Devnet.rollup().unwrap();
    let written: Value = serde_json::from_str(&params.to_rollup_json(&anchor).unwrap()).unwrap();
    let published = serde_json::json!({
        "genesis": {
            "l1": {
                "hash": "0x72ae2354ea7e215791740e12eb0a17b7609d7cb213abeeb202098563341ed351",
                "number": 17250
            },
            "l2": {
                "hash": "0xe9243be35a0c54e20a3940d3a38817a41c758d0506b917d4591cbbec7703e149",
                "number": 0
            },
            "l2_time": 1_762_949_437,
            "system_config": {
                "batcherAddr": "0xe72444b0e9d159ebf6c351674b98c34bc290481d",
                "overhead": "0x0000000000000000000000000000000000000000000000000000000000000000",
                "scalar": "0x010000000000000000000000000000000000000000000000000c5fc500000558",
                "gasLimit": 60_000_000,
                "eip1559Params": "0x0000000000000000",
                "operatorFeeParams": "0x0000000000000000000000000000000000000000000000000000000000000000"
            }
        },
        "block_time": 2,
        "max_sequencer_drift": 600,
        "seq_window_size": 3600,
        "channel_timeout": 300,
        "l1_chain_id": 3,
        "l2_chain_id": 310,
        "regolith_time": 0,
        "canyon_time": 0,
        "delta_time": 0,
        "ecotone_time": 0,
        "fjord_time": 0,
        "granite_time": 0,
        "holocene_time": 0,
        "isthmus_time": 0,
        "batch_inbox_address": "0x0039da2db355130acf428d669fbf1c14faa9d513",
        "deposit_contract_address": "0x99c9fc46f92e8a1c0dec1b1747d010903e884be1",
        "l1_system_config_address": "0xbfc22ca35ca13e693ab099a325f286b221cbbfc3",
        "protocol_versions_address": "0xe525ee7e1432d1e3acb0fe601322f1dbad56365a",
        "chain_op_config": { "eip1559Elasticity": 6, "eip1559Denominator": 50, "eip1559DenominatorCanyon": 250 }
    });
    assert_eq!(written, published);
    assert_eq!(RollupParams::from_rollup_json(&published.to_string()).unwrap(), (params, anchor));
}

#[test]
fn files_that_cannot_be_followed_are_refused() {
    let genesis = build(Fork::Isthmus);
    let genesis_json = genesis.to_geth_genesis_json().unwrap();
    let rollup: Value = serde_json::from_str(&genesis.rollup.to_rollup_json(&anchor()).unwrap()).unwrap();
    let refusal = |change: &dyn Fn(&mut Value)| {
        let mut changed = rollup.clone();
        change(&mut changed);
        L2Genesis::from_json(&genesis_json, &changed.to_string()).unwrap_err().to_string()
    };
    for (message, word) in [
        (refusal(&|r| r["karst_time"] = 0.into()), "pairing"),
        (refusal(&|r| r["interop_time"] = 99.into()), "cross-chain"),
        (refusal(&|r| r["kepler_time"] = 0.into()), "kepler"),
        (refusal(&|r| r["ecotone_time"] = Value::Null), "ecotone"),
        (refusal(&|r| r["isthmus_time"] = "soon".into()), "not a time"),
        (refusal(&|r| r["canyon_time"] = 5.into()), "before"),
        (refusal(&|r| r["jovian_time"] = 5.into()), "jovianTime"),
        (refusal(&|r| r["l2_chain_id"] = 5.into()), "config.chainId"),
        (refusal(&|r| r["genesis"]["l2_time"] = 5.into()), "timestamp"),
        (refusal(&|r| r["block_time"] = 0.into()), "block_time"),
        (refusal(&|r| r["alt_da"] = serde_json::json!({ "da_commitment_type": "x" })), "alt_da"),
        (
            refusal(&|r| r["genesis"]["system_config"]["operatorFeeParams"] = B256::repeat_byte(1).to_string().into()),
            "operatorFeeParams",
        ),
        (refusal(&|r| r["genesis"] = Value::Null), "rollup.json"),
    ] {
        assert!(message.contains(word), "{word}: {message}");
    }
    let rollup_json = rollup.to_string();
    for text in ["", "{", "[]", "{}", r#"{"config": {"chainId": -1}}"#, r#"{"alloc": {"0x12": {}}}"#] {
        let error = L2Genesis::from_json(text, &rollup_json).unwrap_err().to_string();
        assert!(error.contains("genesis.json"), "{text}: {error}");
    }
    // What others add is nobody's concern.
    let mut extended = rollup.clone();
    extended["pectra_blob_schedule_time"] = 7.into();
    extended["karst_time"] = Value::Null;
    extended["something"] = "else".into();
    assert!(L2Genesis::from_json(&genesis_json, &extended.to_string()).is_ok());
}

#[test]
fn networks_have_names_and_numbers() {
    for (text, network, id) in [
        ("mainnet", KnownNetwork::Mainnet, 744),
        ("745", KnownNetwork::Testnet, 745),
        ("devnet", KnownNetwork::Devnet, 310),
        ("local", KnownNetwork::Local, 31310),
    ] {
        assert_eq!(text.parse::<KnownNetwork>().unwrap(), network);
        assert_eq!(network.chain_id(), id);
        assert_eq!(KnownNetwork::from_chain_id(id), Some(network));
    }
    assert!("goerli".parse::<KnownNetwork>().unwrap_err().to_string().contains("31310"));
    for network in [KnownNetwork::Mainnet, KnownNetwork::Testnet] {
        let error = network.rollup().unwrap_err();
        assert!(matches!(error, GenesisError::NoBuiltInGenesis { .. }) && error.to_string().contains("rollup.json"));
    }
    assert!(matches!(KnownNetwork::Local.rollup(), Err(GenesisError::MadeAnew(_))));
    for network in [KnownNetwork::Mainnet, KnownNetwork::Testnet, KnownNetwork::Devnet] {
        assert!(matches!(NetworkSpec::known(network, TIME), Err(GenesisError::PublicNetwork { .. })));
    }
    assert_eq!(NetworkSpec::known(KnownNetwork::Local, TIME).unwrap(), NetworkSpec::local(TIME).unwrap());
}

#[test]
fn the_local_network_has_the_published_parameters() {
    let spec = NetworkSpec::local(TIME).unwrap();
    let (devnet, _) = KnownNetwork::Devnet.rollup().unwrap();
    assert_eq!(spec.rollup.system_config.scalar, devnet.system_config.scalar);
    assert_eq!(spec.rollup.forks, devnet.forks);
    assert_eq!(spec.rollup.block_time, 2);
    let a = spec.rollup.addresses;
    let b = spec.bridges;
    let mut all = [
        a.batch_inbox,
        a.portal,
        a.system_config,
        a.protocol_versions,
        b.messenger,
        b.standard_bridge,
        b.erc721_bridge,
    ];
    all.sort_unstable();
    assert!(all.windows(2).all(|w| w[0] != w[1]));
    // The rule of the bridge: last 20 bytes of keccak256 of the contract id.
    let id = b256!("0100000000000000000000000000000000000000000000000000000000000000");
    assert_eq!(duskevm_genesis::evm_address(id), address!("c37c7f588fc4f8e5bc173827ba75cb10a63a96a5"));
}

#[test]
fn a_specification_survives_serialization() {
    let spec = local(Fork::Jovian);
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<NetworkSpec>(&text).unwrap(), spec);
    let error = serde_json::from_str::<NetworkSpec>(&text.replacen("base_fee", "bse_fee", 1)).unwrap_err();
    assert!(error.to_string().contains("bse_fee"), "{error}");
}
