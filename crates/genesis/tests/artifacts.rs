//! The embedded artifacts belong to their sources and offer what clients call.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use alloy_primitives::{Selector, hex, keccak256};
use duskevm_genesis::{GenesisError, artifacts::Contract};
use serde_json::Value;

fn contracts() -> PathBuf {
    PathBuf::from("../../contracts")
}

fn sources(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "sol") {
            let relative = path.strip_prefix(contracts()).unwrap();
            found.insert(relative.to_str().unwrap().replace('\\', "/"));
        }
    }
}

#[test]
fn artifacts_were_compiled_from_the_sources_as_they_are() {
    let mut used = BTreeSet::new();
    for contract in Contract::ALL {
        for (path, hash) in &contract.artifact().unwrap().sources {
            let text = fs::read(contracts().join(path)).unwrap();
            assert_eq!(
                keccak256(text),
                *hash,
                "{} has changed since {} was compiled; run: node contracts/build.mjs",
                path,
                contract.name()
            );
            used.insert(path.clone());
        }
    }
    let mut all = BTreeSet::new();
    sources(&contracts().join("src"), &mut all);
    assert_eq!(all, used, "every source file is part of an artifact");
}

#[test]
fn the_artifacts_are_all_there_and_were_compiled_alike() {
    let files: BTreeSet<_> = fs::read_dir(contracts().join("artifacts"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let names: BTreeSet<_> = Contract::ALL.iter().map(|c| format!("{}.json", c.name())).collect();
    assert_eq!(files, names);

    let pinned: Value = serde_json::from_str(&fs::read_to_string(contracts().join("package.json")).unwrap()).unwrap();
    let version = pinned["devDependencies"]["solc"].as_str().unwrap();
    let first: Value = serde_json::from_str(Contract::ALL[0].json()).unwrap();
    assert!(first["compiler"]["version"].as_str().unwrap().starts_with(&format!("{version}+")));
    for contract in Contract::ALL {
        let artifact: Value = serde_json::from_str(contract.json()).unwrap();
        assert_eq!(artifact["compiler"], first["compiler"], "{}", contract.name());
        assert_eq!(artifact["contract"], contract.name());
        assert_eq!(artifact["compiler"]["settings"]["metadata"]["bytecodeHash"], "none");
        if matches!(contract, Contract::OptimismMintableERC20 | Contract::OptimismMintableERC721) {
            assert!(matches!(contract.runtime(), Err(GenesisError::NoRuntimeCode(name)) if name == contract.name()));
            assert!(artifact.get("deployedBytecode").is_none());
            continue;
        }
        let code = contract.runtime().unwrap();
        assert!(!code.is_empty() && code.len() <= 24_576, "{} fits EIP-170", contract.name());
    }
}

/// No registry host may get into the lock file: it is read where other registries are used.
#[test]
fn the_lock_file_names_no_registry() {
    let lock = fs::read_to_string(contracts().join("package-lock.json")).unwrap();
    assert!(!lock.contains("\"resolved\""));
}

/// Functions of the OP Stack's contracts that clients call, with the selectors that they use.
const FUNCTIONS: &[(Contract, &[(&str, &str)])] = &[
    (
        Contract::L1Block,
        &[
            ("setL1BlockValues(uint64,uint64,uint256,bytes32,uint64,bytes32,uint256,uint256)", "015d8eb9"),
            ("setL1BlockValuesEcotone()", "440a5e20"),
            ("setL1BlockValuesIsthmus()", "098999be"),
            ("setL1BlockValuesJovian()", "3db6be2b"),
            ("number()", "8381f58a"),
            ("timestamp()", "b80777ea"),
            ("basefee()", "5cf24969"),
            ("hash()", "09bd5a60"),
            ("sequenceNumber()", "64ca23ef"),
            ("blobBaseFee()", "f8206140"),
            ("baseFeeScalar()", "c5985918"),
            ("blobBaseFeeScalar()", "68d5dca6"),
            ("batcherHash()", "e81b2c6d"),
            ("l1FeeOverhead()", "8b239f73"),
            ("l1FeeScalar()", "9e8c4966"),
            ("operatorFeeScalar()", "4d5d9a2a"),
            ("operatorFeeConstant()", "16d3bc7f"),
            ("daFootprintGasScalar()", "fe3d5710"),
            ("DEPOSITOR_ACCOUNT()", "e591b282"),
            ("gasPayingToken()", "4397dfef"),
            ("isCustomGasToken()", "21326849"),
        ],
    ),
    (
        Contract::GasPriceOracle,
        &[
            ("getL1Fee(bytes)", "49948e0e"),
            ("getL1FeeUpperBound(uint256)", "f1c7a58b"),
            ("getL1GasUsed(bytes)", "de26c4a1"),
            ("getOperatorFee(uint256)", "275aedd2"),
            ("l1BaseFee()", "519b4bd3"),
            ("baseFee()", "6ef25c3a"),
            ("gasPrice()", "fe173b97"),
            ("blobBaseFee()", "f8206140"),
            ("baseFeeScalar()", "c5985918"),
            ("blobBaseFeeScalar()", "68d5dca6"),
            ("decimals()", "313ce567"),
            ("isEcotone()", "4ef6e224"),
            ("isFjord()", "960e3a23"),
            ("isIsthmus()", "b54501bc"),
            ("isJovian()", "105d0b81"),
            ("setEcotone()", "22b90ab3"),
            ("setFjord()", "8e98b106"),
            ("setIsthmus()", "291b0383"),
            ("setJovian()", "b3d72079"),
        ],
    ),
    (
        Contract::L2ToL1MessagePasser,
        &[
            ("initiateWithdrawal(address,uint256,bytes)", "c2b3e5ac"),
            ("sentMessages(bytes32)", "82e3702d"),
            ("messageNonce()", "ecc70428"),
            ("MESSAGE_VERSION()", "3f827a5a"),
            ("burn()", "44df8e70"),
        ],
    ),
    (Contract::SequencerFeeVault, VAULT),
    (Contract::BaseFeeVault, VAULT),
    (Contract::L1FeeVault, VAULT),
    (Contract::OperatorFeeVault, VAULT),
    (
        Contract::WETH9,
        &[
            ("deposit()", "d0e30db0"),
            ("withdraw(uint256)", "2e1a7d4d"),
            ("transfer(address,uint256)", "a9059cbb"),
            ("transferFrom(address,address,uint256)", "23b872dd"),
            ("approve(address,uint256)", "095ea7b3"),
            ("balanceOf(address)", "70a08231"),
            ("allowance(address,address)", "dd62ed3e"),
            ("totalSupply()", "18160ddd"),
        ],
    ),
    (
        Contract::Proxy,
        &[
            ("upgradeTo(address)", "3659cfe6"),
            ("upgradeToAndCall(address,bytes)", "4f1ef286"),
            ("changeAdmin(address)", "8f283970"),
            ("admin()", "f851a440"),
            ("implementation()", "5c60da1b"),
        ],
    ),
    (
        Contract::ProxyAdmin,
        &[
            ("owner()", "8da5cb5b"),
            ("transferOwnership(address)", "f2fde38b"),
            ("upgrade(address,address)", "99a88ec4"),
            ("upgradeAndCall(address,address,bytes)", "9623609d"),
            ("changeProxyAdmin(address,address)", "7eff275e"),
            ("getProxyAdmin(address)", "f3b7dead"),
            ("getProxyImplementation(address)", "204e1c7a"),
        ],
    ),
    (
        Contract::Multicall3,
        &[
            ("aggregate((address,bytes)[])", "252dba42"),
            ("tryAggregate(bool,(address,bytes)[])", "bce38bd7"),
            ("tryBlockAndAggregate(bool,(address,bytes)[])", "399542e9"),
            ("blockAndAggregate((address,bytes)[])", "c3077fa9"),
            ("aggregate3((address,bool,bytes)[])", "82ad56cb"),
            ("aggregate3Value((address,bool,uint256,bytes)[])", "174dea71"),
            ("getBlockHash(uint256)", "ee82ac5e"),
            ("getBlockNumber()", "42cbb15c"),
            ("getCurrentBlockCoinbase()", "a8b0574e"),
            ("getCurrentBlockDifficulty()", "72425d9d"),
            ("getCurrentBlockGasLimit()", "86d516e8"),
            ("getCurrentBlockTimestamp()", "0f28c97d"),
            ("getEthBalance(address)", "4d2301cc"),
            ("getLastBlockHash()", "27e86d6e"),
            ("getBasefee()", "3e64a696"),
            ("getChainId()", "3408e470"),
        ],
    ),
];

/// The same for the messenger, the bridges, the token factories and their tokens.
const BRIDGE_FUNCTIONS: &[(Contract, &[(&str, &str)])] = &[
    (
        Contract::L2CrossDomainMessenger,
        &[
            ("sendMessage(address,bytes,uint32)", "3dbb202b"),
            ("relayMessage(uint256,address,address,uint256,uint256,bytes)", "d764ad0b"),
            ("messageNonce()", "ecc70428"),
            ("xDomainMessageSender()", "6e296e45"),
            ("successfulMessages(bytes32)", "b1b1b209"),
            ("failedMessages(bytes32)", "a4e7f8bd"),
            ("baseGas(bytes,uint32)", "b28ade25"),
            ("otherMessenger()", "db505d80"),
            ("OTHER_MESSENGER()", "9fce812c"),
            ("l1CrossDomainMessenger()", "a7119869"),
            ("MESSAGE_VERSION()", "3f827a5a"),
            ("paused()", "5c975abb"),
            ("version()", "54fd4d50"),
            ("MIN_GAS_CALLDATA_OVERHEAD()", "028f85f7"),
            ("MIN_GAS_DYNAMIC_OVERHEAD_DENOMINATOR()", "0c568498"),
            ("MIN_GAS_DYNAMIC_OVERHEAD_NUMERATOR()", "2828d7e8"),
            ("RELAY_CALL_OVERHEAD()", "4c1d6a69"),
            ("RELAY_CONSTANT_OVERHEAD()", "83a74074"),
            ("RELAY_GAS_CHECK_BUFFER()", "5644cfdf"),
            ("RELAY_RESERVED_GAS()", "8cbeeef2"),
        ],
    ),
    (
        Contract::L2StandardBridge,
        &[
            ("bridgeETH(uint32,bytes)", "09fc8843"),
            ("bridgeETHTo(address,uint32,bytes)", "e11013dd"),
            ("bridgeERC20(address,address,uint256,uint32,bytes)", "87087623"),
            ("bridgeERC20To(address,address,address,uint256,uint32,bytes)", "540abf73"),
            ("withdraw(address,uint256,uint32,bytes)", "32b7006d"),
            ("withdrawTo(address,address,uint256,uint32,bytes)", "a3a79548"),
            ("finalizeBridgeETH(address,address,uint256,bytes)", "1635f5fd"),
            ("finalizeBridgeERC20(address,address,address,address,uint256,bytes)", "0166a07a"),
            ("deposits(address,address)", "8f601f66"),
            ("messenger()", "3cb747bf"),
            ("MESSENGER()", "927ede2d"),
            ("otherBridge()", "c89701a2"),
            ("OTHER_BRIDGE()", "7f46ddb2"),
            ("l1TokenBridge()", "36c717c1"),
            ("paused()", "5c975abb"),
        ],
    ),
    (
        Contract::L2ERC721Bridge,
        &[
            ("bridgeERC721(address,address,uint256,uint32,bytes)", "3687011a"),
            ("bridgeERC721To(address,address,address,uint256,uint32,bytes)", "aa557452"),
            ("finalizeBridgeERC721(address,address,address,address,uint256,bytes)", "761f4493"),
            ("messenger()", "3cb747bf"),
            ("MESSENGER()", "927ede2d"),
            ("otherBridge()", "c89701a2"),
            ("OTHER_BRIDGE()", "7f46ddb2"),
        ],
    ),
    (
        Contract::OptimismMintableERC20Factory,
        &[
            ("createOptimismMintableERC20(address,string,string)", "ce5ac90f"),
            ("createOptimismMintableERC20WithDecimals(address,string,string,uint8)", "8cf0629c"),
            ("createStandardL2Token(address,string,string)", "896f93d1"),
            ("bridge()", "e78cea92"),
            ("BRIDGE()", "ee9a31a2"),
            ("deployments(address)", "316b3739"),
        ],
    ),
    (
        Contract::OptimismMintableERC721Factory,
        &[
            ("createOptimismMintableERC721(address,string,string)", "d97df652"),
            ("isOptimismMintableERC721(address)", "5572acae"),
            ("BRIDGE()", "ee9a31a2"),
            ("REMOTE_CHAIN_ID()", "7d1d0c5b"),
        ],
    ),
    (
        Contract::OptimismMintableERC20,
        &[
            ("mint(address,uint256)", "40c10f19"),
            ("burn(address,uint256)", "9dc29fac"),
            ("remoteToken()", "d6c0b2c4"),
            ("bridge()", "e78cea92"),
            ("l1Token()", "c01e1bd6"),
            ("l2Bridge()", "ae1f6aaf"),
            ("supportsInterface(bytes4)", "01ffc9a7"),
            ("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)", "d505accf"),
        ],
    ),
    (
        Contract::OptimismMintableERC721,
        &[
            ("safeMint(address,uint256)", "a1448194"),
            ("burn(address,uint256)", "9dc29fac"),
            ("remoteChainId()", "e9518196"),
            ("safeTransferFrom(address,address,uint256)", "42842e0e"),
            ("safeTransferFrom(address,address,uint256,bytes)", "b88d4fde"),
            ("tokenURI(uint256)", "c87b56dd"),
        ],
    ),
    (Contract::L1BlockNumber, &[("getL1BlockNumber()", "b9b3efe9")]),
];

const VAULT: &[(&str, &str)] = &[
    ("withdraw()", "3ccfd60b"),
    ("RECIPIENT()", "0d9019e1"),
    ("MIN_WITHDRAWAL_AMOUNT()", "d3e5792b"),
    ("WITHDRAWAL_NETWORK()", "d0e12f90"),
    ("minWithdrawalAmount()", "8312f149"),
    ("recipient()", "66d003ac"),
    ("withdrawalNetwork()", "82356d8a"),
    ("totalProcessed()", "84411d65"),
];

#[test]
fn contracts_have_the_functions_that_clients_call() {
    for (contract, functions) in FUNCTIONS.iter().chain(BRIDGE_FUNCTIONS) {
        let selectors = &contract.artifact().unwrap().selectors;
        for (signature, selector) in *functions {
            assert_eq!(
                selectors.get(*signature).map(hex::encode),
                Some((*selector).to_owned()),
                "{} {signature}",
                contract.name()
            );
        }
        for (signature, selector) in selectors {
            assert_eq!(Selector::from_slice(&keccak256(signature)[..4]), *selector);
        }
    }
}

/// Hash of an event's signature, and for each argument whether it is a topic.
type Event = (String, Vec<bool>);

/// Beginning and end of an event's hash, and how many arguments, from the first on, are topics.
type Searched = (&'static str, &'static str, usize);

fn events(contract: Contract) -> Vec<Event> {
    let artifact: Value = serde_json::from_str(contract.json()).unwrap();
    let events = artifact["abi"].as_array().unwrap().iter().filter(|item| item["type"] == "event");
    events
        .map(|event| {
            let inputs = event["inputs"].as_array().unwrap();
            let types: Vec<_> = inputs.iter().map(|input| input["type"].as_str().unwrap()).collect();
            let topic = keccak256(format!("{}({})", event["name"].as_str().unwrap(), types.join(",")));
            (topic.to_string(), inputs.iter().map(|input| input["indexed"].as_bool().unwrap()).collect())
        })
        .collect()
}

/// Events whose topics other programs search for.
#[test]
fn contracts_have_the_events_that_clients_search() {
    const VAULT_EVENTS: &[Searched] = &[
        ("0xc8a211cc64b6ed1b50595a9fcb1932b6d1e5a6e8ef15b60e5b1f988ea9086bba", "", 0),
        ("0x38e04cbeb8c10f8f568618aa75be0f10b6729b8b4237743b4de20cbcde2839ee", "", 0),
    ];
    let expected: &[(Contract, &[Searched])] = &[
        (
            Contract::L2ToL1MessagePasser,
            &[("0x02a52367d10742d8032712c1bb8e0144ff1ec5ffda1ed7d70bb05a2744955054", "", 3), ("0x7967de61", "a16f", 1)],
        ),
        (Contract::SequencerFeeVault, VAULT_EVENTS),
        (Contract::BaseFeeVault, VAULT_EVENTS),
        (Contract::L1FeeVault, VAULT_EVENTS),
        (Contract::OperatorFeeVault, VAULT_EVENTS),
        (
            Contract::L2CrossDomainMessenger,
            &[
                ("0xcb0f7ffd78f9aee47a248fae8db181db6eee833039123e026dcbff529522e52a", "", 1),
                ("0x8ebb2ec2", "d546", 1),
                ("0x4641df4a962071e12719d8c8c8e5ac7fc4d97b927346a3d7a335b1f7517e133c", "", 1),
                ("0x99d0e048484baa1b1540b1367cb128acd7ab2946d1ed91ec10e3c85e4bf51b8f", "", 1),
            ],
        ),
        (
            Contract::L2StandardBridge,
            &[
                ("0x73d17091", "497e", 3),
                ("0xb0444523", "dd89", 3),
                ("0x2849b430", "0af5", 2),
                ("0x31b2166f", "e83d", 2),
                ("0x7ff126db", "cabf", 3),
                ("0xd59c65b3", "18cd", 3),
            ],
        ),
        (Contract::L2ERC721Bridge, &[("0xb7460e2a", "c1a5", 3), ("0x1f39bf67", "31ac", 3)]),
        (Contract::OptimismMintableERC20Factory, &[("0x52fe89dd", "0cdb", 2), ("0xceeb8e7d", "51cf", 2)]),
        (Contract::OptimismMintableERC721Factory, &[("0xe72783bb", "", 2)]),
        (Contract::OptimismMintableERC20, &[("0x0f6798a5", "6885", 1), ("0xcc16f5db", "7ca5", 1)]),
    ];
    for (contract, searched) in expected {
        let events = events(*contract);
        for (start, end, indexed) in *searched {
            let found = events.iter().find(|(topic, _)| topic.starts_with(start) && topic.ends_with(end));
            let (_, topics) = found.unwrap_or_else(|| panic!("{} lacks {start}: {events:?}", contract.name()));
            let by_position = (0..topics.len()).map(|i| i < *indexed);
            assert!(topics.iter().copied().eq(by_position), "{} {start}: {topics:?}", contract.name());
        }
    }
}

/// Name, slot, and first byte counted from the lowest.
type Variable = (&'static str, u64, u64);

/// Where the parts of the state lie that genesis writes and other programs read.
#[test]
fn variables_lie_where_they_are_looked_for() {
    let expected: &[(Contract, &[Variable])] = &[
        (
            Contract::L1Block,
            &[
                ("number", 0, 0),
                ("timestamp", 0, 8),
                ("basefee", 1, 0),
                ("hash", 2, 0),
                ("sequenceNumber", 3, 0),
                ("blobBaseFeeScalar", 3, 8),
                ("baseFeeScalar", 3, 12),
                ("batcherHash", 4, 0),
                ("l1FeeOverhead", 5, 0),
                ("l1FeeScalar", 6, 0),
                ("blobBaseFee", 7, 0),
                ("operatorFeeConstant", 8, 0),
                ("operatorFeeScalar", 8, 8),
                ("daFootprintGasScalar", 8, 12),
            ],
        ),
        (Contract::GasPriceOracle, &[("isEcotone", 0, 0), ("isFjord", 0, 1), ("isIsthmus", 0, 2), ("isJovian", 0, 3)]),
        (Contract::L2ToL1MessagePasser, &[("sentMessages", 0, 0), ("_counter", 1, 0)]),
        (Contract::ProxyAdmin, &[("owner", 0, 0)]),
        (
            Contract::BaseFeeVault,
            &[
                ("totalProcessed", 0, 0),
                ("minWithdrawalAmount", 1, 0),
                ("recipient", 2, 0),
                ("withdrawalNetwork", 2, 20),
            ],
        ),
        (Contract::Proxy, &[]),
        (
            Contract::L2CrossDomainMessenger,
            &[
                ("_spacer0", 0, 0),
                ("_initialized", 0, 20),
                ("_initializing", 0, 21),
                ("_spacers1to202", 1, 0),
                ("successfulMessages", 203, 0),
                ("xDomainMsgSender", 204, 0),
                ("msgNonce", 205, 0),
                ("failedMessages", 206, 0),
                ("otherMessenger", 207, 0),
            ],
        ),
        (
            Contract::L2StandardBridge,
            &[
                ("_initialized", 0, 0),
                ("_initializing", 0, 1),
                ("_spacer1", 1, 0),
                ("deposits", 2, 0),
                ("messenger", 3, 0),
                ("otherBridge", 4, 0),
            ],
        ),
        (
            Contract::L2ERC721Bridge,
            &[
                ("_initialized", 0, 0),
                ("_initializing", 0, 1),
                ("_spacer0", 0, 2),
                ("messenger", 1, 0),
                ("otherBridge", 2, 0),
            ],
        ),
        (
            Contract::OptimismMintableERC20Factory,
            &[
                ("_initialized", 0, 0),
                ("_initializing", 0, 1),
                ("_spacer0", 0, 2),
                ("bridge", 1, 0),
                ("deployments", 2, 0),
            ],
        ),
        (Contract::OptimismMintableERC721Factory, &[("isOptimismMintableERC721", 0, 0), ("remoteChainID", 1, 0)]),
        (
            Contract::OptimismMintableERC20,
            &[
                ("balanceOf", 0, 0),
                ("allowance", 1, 0),
                ("totalSupply", 2, 0),
                ("name", 3, 0),
                ("symbol", 4, 0),
                ("nonces", 5, 0),
            ],
        ),
    ];
    for (contract, variables) in expected {
        let artifact: Value = serde_json::from_str(contract.json()).unwrap();
        let storage: Vec<_> = artifact["storage"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| (v["label"].as_str().unwrap(), v["slot"].as_u64().unwrap(), v["offset"].as_u64().unwrap()))
            .collect();
        assert_eq!(storage, *variables, "{}", contract.name());
    }
}
