//! Shapes and values of what clients read.

use crate::{
    chain::{L1_BASE_FEE, MemoryChain, OPERATOR_CONSTANT},
    client::number,
    node::{Node, STORE_AND_LOG, deploy, dynamic, sign, transfer, user, word},
};
use alloy_consensus::{TxEip2930, TxLegacy};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex, keccak256};
use alloy_trie::{Nibbles, proof::verify_proof};
use duskevm_messages::executor::DaLimits;
use duskevm_rpc::chain::BlockRef;
use serde_json::{Value, json};

const DEAD: Address = Address::repeat_byte(0xde);

#[tokio::test]
async fn the_chain_as_a_whole() {
    let node = Node::start(MemoryChain::isthmus()).await;
    node.chain.mine(vec![]);
    let client = node.client();
    assert_eq!(client.call("eth_chainId", json!([])).await, "0x7a4e");
    assert_eq!(client.call("net_version", json!([])).await, "31310");
    assert_eq!(client.call("eth_blockNumber", json!([])).await, "0x1");
    assert_eq!(client.call("eth_syncing", json!([])).await, false);
    assert_eq!(client.call("eth_accounts", json!([])).await, json!([]));
    assert_eq!(client.call("net_listening", json!([])).await, true);
    assert_eq!(client.call("net_peerCount", json!([])).await, "0x3");
    assert_eq!(
        client.call("web3_sha3", json!(["0x68656c6c6f"])).await,
        "0x1c8aff950685c2ed4bc3174f3472287b56d9517b9c948127319a09a7a36deac8"
    );
    let version = client.call("web3_clientVersion", json!([])).await;
    assert!(version.as_str().unwrap().starts_with("duskevm/v"), "{version}");
    assert_eq!(client.call("rpc_modules", json!([])).await["eth"], "1.0");
    let (code, message) = client.error("eth_sendTransaction", json!([{}])).await;
    assert_eq!((code, message.starts_with("unknown account")), (-32000, true));
    node.stop().await;
}

#[tokio::test]
async fn blocks_have_geths_shape() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let user = user(0);
    let block = node.chain.mine(vec![transfer(&user, 0, DEAD, 5)]);
    let client = node.client();
    let hashes = client.call("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(hashes["hash"], json!(block.hash()));
    assert_eq!(hashes["number"], "0x1");
    assert_eq!(hashes["nonce"], "0x0000000000000000");
    assert_eq!(hashes["uncles"], json!([]));
    assert_eq!(hashes["withdrawals"], json!([]));
    assert_eq!(hashes["transactions"], json!(block.transactions.iter().map(|tx| tx.hash()).collect::<Vec<_>>()));
    assert_eq!(number(&hashes["size"]), block.to_rlp().len() as u128, "the size is that of the encoding");
    for field in [
        "parentHash",
        "sha3Uncles",
        "miner",
        "stateRoot",
        "transactionsRoot",
        "receiptsRoot",
        "logsBloom",
        "difficulty",
        "gasLimit",
        "gasUsed",
        "timestamp",
        "extraData",
        "mixHash",
        "baseFeePerGas",
        "withdrawalsRoot",
        "blobGasUsed",
        "excessBlobGas",
        "parentBeaconBlockRoot",
        "requestsHash",
    ] {
        assert!(hashes[field].is_string(), "{field} is missing: {hashes}");
    }

    let full = client.call("eth_getBlockByHash", json!([block.hash(), true])).await;
    let deposit = &full["transactions"][0];
    assert_eq!(deposit["type"], "0x7e");
    assert_eq!(deposit["from"], "0xdeaddeaddeaddeaddeaddeaddeaddeaddead0001");
    assert_eq!(deposit["to"], "0x4200000000000000000000000000000000000015");
    // The depositor of the first block has sent nothing before.
    assert_eq!(deposit["nonce"], "0x0");
    assert_eq!(deposit["depositReceiptVersion"], "0x1");
    assert_eq!(deposit["gasPrice"], "0x0");
    assert!(deposit["sourceHash"].is_string());
    assert_eq!((&deposit["v"], &deposit["r"], &deposit["s"]), (&json!("0x0"), &json!("0x0"), &json!("0x0")));
    let dynamic = &full["transactions"][1];
    assert_eq!(dynamic["type"], "0x2");
    assert_eq!(dynamic["chainId"], "0x7a4e");
    assert_eq!(dynamic["from"], json!(user.address()));
    assert_eq!(dynamic["blockNumber"], "0x1");
    assert_eq!(dynamic["transactionIndex"], "0x1");
    let base_fee = number(&full["baseFeePerGas"]);
    assert_eq!(number(&dynamic["gasPrice"]), base_fee + 1_500_000_000, "the price that was paid");
    for field in
        ["maxFeePerGas", "maxPriorityFeePerGas", "accessList", "v", "r", "s", "yParity", "input", "value", "gas"]
    {
        assert!(!dynamic[field].is_null(), "{field} is missing: {dynamic}");
    }

    for tag in ["safe", "finalized", "earliest"] {
        assert_eq!(client.call("eth_getBlockByNumber", json!([tag, false])).await["number"], "0x0");
    }
    assert_eq!(client.call("eth_getBlockByNumber", json!(["pending", false])).await["number"], "0x1");
    node.chain.set_labels(1, 0);
    assert_eq!(client.call("eth_getBlockByNumber", json!(["safe", false])).await["number"], "0x1");
    assert_eq!(client.call("eth_getBlockByNumber", json!(["0x2", false])).await, Value::Null);
    assert_eq!(client.call("eth_getBlockByHash", json!([B256::ZERO, false])).await, Value::Null);
    assert_eq!(client.call("eth_getHeaderByNumber", json!(["0x1"])).await["hash"], json!(block.hash()));
    assert_eq!(client.call("eth_getHeaderByHash", json!([block.hash()])).await["number"], "0x1");
    assert_eq!(client.call("eth_getBlockTransactionCountByNumber", json!(["0x1"])).await, "0x2");
    assert_eq!(client.call("eth_getBlockTransactionCountByHash", json!([B256::ZERO])).await, Value::Null);
    assert_eq!(client.call("eth_getUncleCountByBlockNumber", json!(["0x1"])).await, "0x0");
    assert_eq!(client.call("eth_getUncleByBlockNumberAndIndex", json!(["0x1", "0x0"])).await, Value::Null);
    node.stop().await;
}

#[tokio::test]
async fn raw_forms_hash_to_what_they_are() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let block = node.chain.mine(vec![transfer(&user(0), 0, DEAD, 5)]);
    let client = node.client();
    let bytes = |value: &Value| -> Bytes { serde_json::from_value(value.clone()).unwrap() };
    let header = bytes(&client.call("debug_getRawHeader", json!(["0x1"])).await);
    assert_eq!(keccak256(header), block.hash());
    let whole = bytes(&client.call("debug_getRawBlock", json!([block.hash()])).await);
    assert_eq!(duskevm_evm::Block::from_rlp(&whole).unwrap(), *block);
    let hash = block.transactions[1].hash();
    for (method, params) in [
        ("debug_getRawTransaction", json!([hash])),
        ("eth_getRawTransactionByHash", json!([hash])),
        ("eth_getRawTransactionByBlockNumberAndIndex", json!(["0x1", "0x1"])),
        ("eth_getRawTransactionByBlockHashAndIndex", json!([block.hash(), "0x1"])),
    ] {
        assert_eq!(keccak256(bytes(&client.call(method, params).await)), hash, "{method}");
    }
    let receipts = client.call("debug_getRawReceipts", json!(["0x1"])).await;
    let expected: Vec<Bytes> =
        node.chain.receipts_of(block.hash()).iter().map(|receipt| receipt.encoded_2718().into()).collect();
    assert_eq!(receipts, json!(expected));
    assert_eq!(client.call("eth_getRawTransactionByHash", json!([B256::ZERO])).await, "0x");
    node.stop().await;
}

#[tokio::test]
async fn the_receipt_accounts_for_every_wei() {
    for chain in [MemoryChain::isthmus(), MemoryChain::jovian()] {
        let jovian = chain.spec.fork_times().jovian.is_some();
        let node = Node::start(chain).await;
        let client = node.client();
        let user = user(0);
        let before = number(&client.call("eth_getBalance", json!([user.address(), "latest"])).await);
        let tx = transfer(&user, 0, DEAD, 1_000);
        let block = node.chain.mine(vec![tx.clone()]);
        let after = number(&client.call("eth_getBalance", json!([user.address(), "latest"])).await);
        let receipt = client.call("eth_getTransactionReceipt", json!([tx.hash()])).await;

        assert_eq!(receipt["status"], "0x1");
        assert_eq!(receipt["type"], "0x2");
        assert_eq!(receipt["from"], json!(user.address()));
        assert_eq!(receipt["to"], json!(DEAD));
        assert_eq!(receipt["contractAddress"], Value::Null);
        assert_eq!(receipt["blockHash"], json!(block.hash()));
        assert_eq!(receipt["transactionIndex"], "0x1");
        assert_eq!(receipt["logs"], json!([]));
        assert_eq!(number(&receipt["gasUsed"]), 21_000);
        assert_eq!(number(&receipt["l1GasPrice"]), u128::from(L1_BASE_FEE));
        assert_eq!(receipt["l1BaseFeeScalar"], "0x558");
        assert_eq!(receipt["l1BlobBaseFeeScalar"], "0xc5fc5");
        assert_eq!(receipt["l1BlobBaseFee"], "0x3");
        // A small transaction costs as much as one of 100 bytes.
        assert_eq!(number(&receipt["l1GasUsed"]), 1600);
        assert_eq!(number(&receipt["operatorFeeConstant"]), u128::from(OPERATOR_CONSTANT));
        assert_eq!(receipt["operatorFeeScalar"], "0x0");
        assert!(receipt.get("l1FeeScalar").is_none_or(Value::is_null), "{receipt}");
        assert_eq!(receipt.get("daFootprintGasScalar"), jovian.then_some(&json!("0x190")));
        assert_eq!(receipt.get("blobGasUsed"), jovian.then_some(&json!("0x9c40")), "100 bytes at 400 gas");

        let paid = number(&receipt["gasUsed"]) * number(&receipt["effectiveGasPrice"])
            + number(&receipt["l1Fee"])
            + u128::from(OPERATOR_CONSTANT);
        assert_eq!(before - after, 1_000 + paid, "what was paid is what the receipt says");

        let deposit = client.call("eth_getTransactionReceipt", json!([block.transactions[0].hash()])).await;
        assert_eq!(deposit["type"], "0x7e");
        assert_eq!(deposit["depositNonce"], "0x0");
        assert_eq!(deposit["depositReceiptVersion"], "0x1");
        assert_eq!(deposit["effectiveGasPrice"], "0x0");
        assert!(deposit.get("l1Fee").is_none_or(Value::is_null), "deposits pay nothing: {deposit}");

        let all = client.call("eth_getBlockReceipts", json!(["latest"])).await;
        assert_eq!(all, json!([deposit, receipt]));
        assert_eq!(client.call("eth_getBlockReceipts", json!(["0x63"])).await, Value::Null);
        assert_eq!(client.call("eth_getTransactionReceipt", json!([B256::ZERO])).await, Value::Null);
        node.stop().await;
    }
}

#[tokio::test]
async fn old_receipts_keep_their_fees_and_cumulative_gas_is_split() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let (alice, bob) = (user(0), user(1));
    let legacy = sign(
        &alice,
        TxLegacy {
            chain_id: Some(31310),
            nonce: 0,
            gas_price: 3_000_000_000,
            gas_limit: 21_000,
            to: TxKind::Call(DEAD),
            value: U256::from(1),
            input: Bytes::new(),
        },
    );
    let listed = sign(
        &bob,
        TxEip2930 {
            chain_id: 31310,
            nonce: 0,
            gas_price: 3_000_000_000,
            gas_limit: 60_000,
            to: TxKind::Call(DEAD),
            value: U256::from(1),
            access_list: Default::default(),
            input: Bytes::from_static(&[1; 100]),
        },
    );
    node.chain.mine(vec![legacy.clone(), listed.clone()]);
    let client = node.client();
    let first = client.call("eth_getTransactionReceipt", json!([legacy.hash()])).await;
    node.chain.mine(vec![]);
    assert_eq!(client.call("eth_getTransactionReceipt", json!([legacy.hash()])).await, first);
    let second = client.call("eth_getTransactionReceipt", json!([listed.hash()])).await;
    assert_eq!((&first["type"], &second["type"]), (&json!("0x0"), &json!("0x1")));
    assert_eq!(number(&second["gasUsed"]), number(&second["cumulativeGasUsed"]) - number(&first["cumulativeGasUsed"]),);
    let shown = client.call("eth_getTransactionByHash", json!([legacy.hash()])).await;
    assert_eq!(
        (&shown["type"], &shown["gasPrice"], &shown["chainId"]),
        (&json!("0x0"), &json!("0xb2d05e00"), &json!("0x7a4e"))
    );
    let v = number(&shown["v"]);
    assert!(v == 31310 * 2 + 35 || v == 31310 * 2 + 36, "EIP-155: {v}");
    let shown = client.call("eth_getTransactionByBlockNumberAndIndex", json!(["0x1", "0x2"])).await;
    assert_eq!((&shown["hash"], &shown["accessList"]), (&json!(listed.hash()), &json!([])));
    assert_eq!(client.call("eth_getTransactionByBlockNumberAndIndex", json!(["0x1", "0x3"])).await, Value::Null);
    node.stop().await;
}

#[tokio::test]
async fn contracts_logs_and_filters() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    let contract = deploy(&node.chain, 0, STORE_AND_LOG);
    let create = client.call("eth_getTransactionByBlockNumberAndIndex", json!(["0x1", "0x1"])).await;
    assert_eq!(create["to"], Value::Null);
    let receipt = client.call("eth_getTransactionReceipt", json!([create["hash"]])).await;
    assert_eq!((&receipt["contractAddress"], &receipt["to"]), (&json!(contract), &Value::Null));
    assert_eq!(client.call("eth_getCode", json!([contract, "latest"])).await, hex::encode_prefixed(STORE_AND_LOG));
    assert_eq!(client.call("eth_getCode", json!([contract, "0x0"])).await, "0x");

    let filter = client.call("eth_newFilter", json!([{ "address": contract }])).await;
    let blocks = client.call("eth_newBlockFilter", json!([])).await;
    assert_eq!(client.call("eth_getFilterChanges", json!([filter])).await, json!([]));
    let (alice, bob) = (user(0), user(1));
    let call = |signer, nonce, value| dynamic(signer, nonce, TxKind::Call(contract), 0, word(value));
    let mined = node.chain.mine(vec![call(&alice, 0, 7), call(&bob, 0, 8)]);
    let head = node.chain.mine(vec![]);

    let logs = client.call("eth_getLogs", json!([{ "fromBlock": "0x0", "address": [contract] }])).await;
    let logs = logs.as_array().unwrap();
    assert_eq!(logs.len(), 2);
    let second = &logs[1];
    assert_eq!(second["blockHash"], json!(mined.hash()));
    assert_eq!(second["blockNumber"], "0x2");
    assert_eq!(second["transactionHash"], json!(mined.transactions[2].hash()));
    assert_eq!((&second["transactionIndex"], &second["logIndex"]), (&json!("0x2"), &json!("0x1")));
    assert_eq!((&second["data"], &second["removed"]), (&json!(word(8)), &json!(false)));
    assert_eq!(second["topics"], json!([B256::with_last_byte(42)]));
    let receipt = client.call("eth_getTransactionReceipt", json!([mined.transactions[2].hash()])).await;
    assert_eq!(receipt["logs"][0], *second, "a log is the same in its receipt");

    let topic = B256::with_last_byte(42);
    for (query, expected) in [
        (json!({ "blockHash": mined.hash() }), 2),
        (json!({ "blockHash": head.hash() }), 0),
        (json!({ "fromBlock": "0x2", "toBlock": "0x2", "topics": [topic] }), 2),
        (json!({ "fromBlock": "0x0", "topics": [[topic, B256::ZERO]] }), 2),
        (json!({ "fromBlock": "0x0", "topics": [null] }), 2),
        (json!({ "fromBlock": "0x0", "topics": [B256::ZERO] }), 0),
        (json!({ "fromBlock": "0x0", "address": DEAD }), 0),
        (json!({ "fromBlock": "0x3" }), 0),
        (json!({}), 0),
        (json!({ "fromBlock": "0x63" , "toBlock": "0x64" }), 0),
    ] {
        let found = client.call("eth_getLogs", json!([query])).await;
        assert_eq!(found.as_array().unwrap().len(), expected, "{query}");
    }

    let new = client.call("eth_getFilterChanges", json!([filter])).await;
    assert_eq!(new, json!(logs));
    assert_eq!(client.call("eth_getFilterChanges", json!([filter])).await, json!([]), "only what is new");
    assert_eq!(client.call("eth_getFilterChanges", json!([blocks])).await, json!([mined.hash(), head.hash()]));
    // A filter without a range is about the newest block.
    assert_eq!(client.call("eth_getFilterLogs", json!([filter])).await, json!([]));

    // The head is replaced, then the block with the logs.
    node.chain.mine_on(&mined, vec![], 9);
    let first = client.call("eth_getFilterChanges", json!([filter])).await;
    assert_eq!(first, json!([]), "neither head had logs");
    let base = client.call("eth_getBlockByNumber", json!(["0x1", false])).await;
    let base: B256 = serde_json::from_value(base["hash"].clone()).unwrap();
    let base = duskevm_rpc::chain::ChainReader::block(&*node.chain, base).unwrap().unwrap();
    node.chain.mine_on(&base, vec![], 3);
    let removed = client.call("eth_getFilterChanges", json!([filter])).await;
    let removed = removed.as_array().unwrap();
    assert_eq!(removed.len(), 2);
    assert!(removed.iter().all(|log| log["removed"] == true && log["blockHash"] == json!(mined.hash())), "{removed:?}");
    assert_eq!(client.call("eth_getLogs", json!([{ "fromBlock": "0x0" }])).await, json!([]));
    assert_eq!(client.call("eth_getTransactionReceipt", json!([mined.transactions[1].hash()])).await, Value::Null);

    assert_eq!(client.call("eth_uninstallFilter", json!([filter])).await, true);
    assert_eq!(client.call("eth_uninstallFilter", json!([filter])).await, false);
    assert_eq!(client.error("eth_getFilterChanges", json!([filter])).await, (-32000, "filter not found".into()));
    node.stop().await;
}

#[tokio::test]
async fn state_and_its_proofs() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    let contract = deploy(&node.chain, 0, STORE_AND_LOG);
    let block = node.chain.mine(vec![dynamic(&user(0), 0, TxKind::Call(contract), 0, word(77))]);
    assert_eq!(client.call("eth_getStorageAt", json!([contract, "0x0", "latest"])).await, json!(word(77)));
    assert_eq!(client.call("eth_getStorageAt", json!([contract, B256::ZERO, "0x1"])).await, json!(B256::ZERO));
    assert_eq!(client.call("eth_getTransactionCount", json!([user(0).address(), "latest"])).await, "0x1");
    let by_hash = json!({ "blockHash": block.header.parent_hash, "requireCanonical": true });
    assert_eq!(client.call("eth_getTransactionCount", json!([user(0).address(), by_hash])).await, "0x0");

    let proof = client.call("eth_getProof", json!([contract, ["0x0", B256::with_last_byte(1)], "latest"])).await;
    let nodes = |value: &Value| -> Vec<Bytes> { serde_json::from_value(value.clone()).unwrap() };
    let storage_root: B256 = serde_json::from_value(proof["storageHash"].clone()).unwrap();
    let code_hash: B256 = serde_json::from_value(proof["codeHash"].clone()).unwrap();
    assert_eq!(code_hash, keccak256(STORE_AND_LOG));
    let account = alloy_trie::TrieAccount {
        nonce: number(&proof["nonce"]) as u64,
        balance: U256::from(number(&proof["balance"])),
        storage_root,
        code_hash,
    };
    verify_proof(
        block.header.state_root,
        Nibbles::unpack(keccak256(contract)),
        Some(alloy_rlp::encode(account)),
        &nodes(&proof["accountProof"]),
    )
    .unwrap();
    let slots = proof["storageProof"].as_array().unwrap();
    // Keys come back as they were given.
    assert_eq!((&slots[0]["key"], &slots[1]["key"]), (&json!("0x0"), &json!(B256::with_last_byte(1))));
    for (slot, expected) in slots.iter().zip([Some(77u64), None]) {
        let key: U256 = serde_json::from_value(slot["key"].clone()).unwrap();
        let value = expected.map(alloy_rlp::encode);
        verify_proof(storage_root, Nibbles::unpack(keccak256(key.to_be_bytes::<32>())), value, &nodes(&slot["proof"]))
            .unwrap();
        assert_eq!(number(&slot["value"]), u128::from(expected.unwrap_or_default()));
    }

    // An account that does not exist has a proof of that.
    let proof = client.call("eth_getProof", json!([Address::repeat_byte(0x77), [], "latest"])).await;
    verify_proof(
        block.header.state_root,
        Nibbles::unpack(keccak256(Address::repeat_byte(0x77))),
        None,
        &nodes(&proof["accountProof"]),
    )
    .unwrap();
    assert_eq!(proof["balance"], "0x0");

    assert_eq!(client.error("eth_getBalance", json!([DEAD, "0x63"])).await, (-32000, "header not found".into()));
    let unknown = json!({ "blockHash": B256::ZERO });
    assert_eq!(
        client.error("eth_getBalance", json!([DEAD, unknown])).await,
        (-32000, "header for hash not found".into())
    );
    node.chain.keep_dropped();
    let sibling = node.chain.mine_on(&block, vec![], 1);
    node.chain.mine_on(&block, vec![], 2);
    let orphan = json!({ "blockHash": sibling.hash(), "requireCanonical": true });
    assert_eq!(
        client.error("eth_getBalance", json!([DEAD, orphan])).await,
        (-32000, "hash is not currently canonical".into())
    );
    node.chain.prune(block.hash());
    let (code, message) = client.error("eth_getBalance", json!([DEAD, "0x2"])).await;
    assert_eq!((code, message.contains("pruned")), (-32000, true), "{message}");
    node.stop().await;
}

#[tokio::test]
async fn fees_follow_the_chain() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    let users: Vec<_> = (0..3).map(user).collect();
    node.chain.mine(users.iter().map(|user| transfer(user, 0, DEAD, 1)).collect());
    let head = node.chain.head();
    let base_fee = u128::from(head.header.base_fee_per_gas.unwrap());
    assert_eq!(number(&client.call("eth_maxPriorityFeePerGas", json!([])).await), 1_000_000);
    assert_eq!(number(&client.call("eth_gasPrice", json!([])).await), base_fee + 1_000_000);
    assert_eq!(client.call("eth_blobBaseFee", json!([])).await, "0x1");

    let history = client.call("eth_feeHistory", json!(["0x5", "latest", [0, 50, 100]])).await;
    assert_eq!(history["oldestBlock"], "0x0");
    let fees: Vec<u128> = history["baseFeePerGas"].as_array().unwrap().iter().map(number).collect();
    assert_eq!(fees.len(), 3, "two blocks and the next one");
    assert_eq!(fees[1], base_fee);
    let next = node.chain.mine(vec![]);
    assert_eq!(fees[2], u128::from(next.header.base_fee_per_gas.unwrap()), "the next base fee comes true");
    assert_eq!(history["gasUsedRatio"][0], 0.0);
    assert_eq!(history["reward"][0], json!(["0x0", "0x0", "0x0"]));
    assert_eq!(number(&history["reward"][1][2]), 1_500_000_000);
    assert_eq!(client.call("eth_feeHistory", json!([1, "latest", []])).await["oldestBlock"], "0x2");
    assert_eq!(
        client.error("eth_feeHistory", json!(["0x1", "0x63", []])).await,
        (-32000, "request beyond head block: requested 99, head 2".into())
    );
    let (code, message) = client.error("eth_feeHistory", json!(["0x1", "latest", [101]])).await;
    assert_eq!((code, message.starts_with("invalid reward percentile")), (-32000, true));
    node.stop().await;
}

#[tokio::test]
async fn the_way_through_the_pool() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    let user = user(0);
    let (first, second) = (transfer(&user, 0, DEAD, 1), transfer(&user, 1, DEAD, 2));
    let filter = client.call("eth_newPendingTransactionFilter", json!([])).await;
    for tx in [&first, &second] {
        assert_eq!(client.call("eth_sendRawTransaction", json!([tx.encoded()])).await, json!(tx.hash()));
    }
    let (code, message) = client.error("eth_sendRawTransaction", json!([first.encoded()])).await;
    assert_eq!((code, message.starts_with("already known")), (-32000, true));
    assert_eq!(client.call("eth_getTransactionCount", json!([user.address(), "pending"])).await, "0x2");
    assert_eq!(client.call("eth_getTransactionCount", json!([user.address(), "latest"])).await, "0x0");
    let pending = client.call("eth_getTransactionByHash", json!([first.hash()])).await;
    assert_eq!(
        (&pending["blockHash"], &pending["blockNumber"], &pending["transactionIndex"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(number(&pending["gasPrice"]), 20_000_000_000, "the most it would pay");
    assert_eq!(client.call("eth_getTransactionReceipt", json!([first.hash()])).await, Value::Null);
    assert_eq!(client.call("eth_getRawTransactionByHash", json!([first.hash()])).await, json!(first.encoded()));

    assert_eq!(client.call("txpool_status", json!([])).await, json!({ "pending": "0x2", "queued": "0x0" }));
    let content = client.call("txpool_content", json!([])).await;
    let sender = user.address().to_checksum(None);
    assert_eq!(content["pending"][&sender]["1"]["hash"], json!(second.hash()));
    assert_eq!(content["queued"], json!({}));
    let inspect = client.call("txpool_inspect", json!([])).await;
    let line = format!("{}: 2 wei + 500000 gas × 20000000000 wei", DEAD.to_checksum(None));
    assert_eq!(inspect["pending"][&sender]["1"], line);
    let from = client.call("txpool_contentFrom", json!([user.address()])).await;
    assert_eq!(from["pending"]["0"]["hash"], json!(first.hash()));
    // What the pool announces comes to the filter on its own way.
    let mut announced = Vec::new();
    while announced.len() < 2 {
        let new = client.call("eth_getFilterChanges", json!([filter])).await;
        announced.extend(new.as_array().unwrap().iter().cloned());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(json!(announced), json!([first.hash(), second.hash()]));

    node.mine_pool();
    assert_eq!(client.call("eth_getTransactionByHash", json!([first.hash()])).await["blockNumber"], "0x1");
    assert_eq!(client.call("eth_getTransactionCount", json!([user.address(), "pending"])).await, "0x2");
    node.stop().await;
}

#[tokio::test]
async fn a_transaction_can_be_awaited() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    let tx = transfer(&user(0), 0, DEAD, 1);
    let waiting = tokio::spawn({
        let (client, raw) = (client.clone(), tx.encoded().clone());
        async move { client.call("eth_sendRawTransactionSync", json!([raw])).await }
    });
    loop {
        let transactions = node.pool.take();
        if !transactions.is_empty() {
            node.chain.mine(transactions);
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let receipt = waiting.await.unwrap();
    assert_eq!((&receipt["transactionHash"], &receipt["status"]), (&json!(tx.hash()), &json!("0x1")));

    let late = transfer(&user(0), 1, DEAD, 1);
    let answer = client.raw("eth_sendRawTransactionSync", json!([late.encoded(), "0x32"])).await;
    assert_eq!((&answer["error"]["code"], &answer["error"]["data"]), (&json!(4), &json!(late.hash())));
    node.stop().await;
}

#[tokio::test]
async fn the_rollup_rpc_is_op_nodes() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    let block = node.chain.mine(vec![]);
    node.chain.set_labels(1, 0);
    let status = client.call("optimism_syncStatus", json!([])).await;
    // Numbers are plain integers here.
    assert_eq!(status["head_l1"]["number"], 6);
    assert_eq!(status["unsafe_l2"]["hash"], json!(block.hash()));
    assert_eq!(status["unsafe_l2"]["number"], 1);
    assert_eq!(status["unsafe_l2"]["l1origin"], json!({ "hash": B256::repeat_byte(0x22), "number": 101 }));
    assert_eq!(status["safe_l2"]["sequenceNumber"], 0);
    assert_eq!(status["finalized_l2"]["l1origin"], json!({ "hash": B256::repeat_byte(0x11), "number": 100 }));
    assert_eq!(status["finalized_l2"]["number"], 0);
    for field in [
        "current_l1",
        "current_l1_finalized",
        "safe_l1",
        "finalized_l1",
        "pending_safe_l2",
        "cross_unsafe_l2",
        "local_safe_l2",
    ] {
        assert!(status[field].is_object(), "{field}");
    }
    let nothing = json!({
        "hash": B256::ZERO, "number": 0, "parentHash": B256::ZERO, "timestamp": 0,
        "l1origin": { "hash": B256::ZERO, "number": 0 }, "sequenceNumber": 0,
    });
    assert_eq!(status["queued_unsafe_l2"], nothing);
    assert_eq!(status["engine_sync_target"], status["unsafe_l2"]);

    let output = client.call("optimism_outputAtBlock", json!(["0x1"])).await;
    let passer = client.call("eth_getProof", json!(["0x4200000000000000000000000000000000000016", [], "0x1"])).await;
    assert_eq!(output["withdrawalStorageRoot"], passer["storageHash"]);
    let storage_root: B256 = serde_json::from_value(passer["storageHash"].clone()).unwrap();
    let preimage = [B256::ZERO, block.header.state_root, storage_root, block.hash()].concat();
    assert_eq!(output["outputRoot"], json!(keccak256(preimage)));
    assert_eq!(output["blockRef"]["number"], 1);
    assert_eq!(output["syncStatus"]["unsafe_l2"]["number"], 1);
    let config = client.call("optimism_rollupConfig", json!([])).await;
    assert_eq!(config["l2_chain_id"], 31310);
    assert!(client.call("optimism_version", json!([])).await.is_string());
    node.stop().await;
}

#[tokio::test]
async fn the_safe_head_at_an_l1_block_is_op_nodes() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    // Nothing is noted yet.
    assert_eq!(client.error("optimism_safeHeadAtL1Block", json!(["0x7"])).await, (-32000, "not found".to_owned()));
    let at = |number: u64, byte| BlockRef { number, hash: B256::repeat_byte(byte) };
    node.chain.note_safe_head(at(7, 0x71), at(30, 0x30));
    node.chain.note_safe_head(at(9, 0x91), at(42, 0x42));
    let first = json!({
        "l1Block": { "hash": B256::repeat_byte(0x71), "number": 7 },
        "safeHead": { "hash": B256::repeat_byte(0x30), "number": 30 },
    });
    for number in ["0x7", "0x8"] {
        assert_eq!(client.call("optimism_safeHeadAtL1Block", json!([number])).await, first);
    }
    let newest = client.call("optimism_safeHeadAtL1Block", json!(["0x1000"])).await;
    assert_eq!((&newest["l1Block"]["number"], &newest["safeHead"]["number"]), (&json!(9), &json!(42)));
    // Before what this node has read.
    assert_eq!(client.error("optimism_safeHeadAtL1Block", json!(["0x6"])).await.0, -32000);
    for wrong in [json!([]), json!([null]), json!(["latest"]), json!(["0x10000000000000000"]), json!(["0x1", 2])] {
        assert_eq!(client.error("optimism_safeHeadAtL1Block", wrong).await.0, -32602);
    }
    node.stop().await;
}

#[tokio::test]
async fn a_filter_loses_nothing_when_the_chain_cannot_be_read() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    let contract = deploy(&node.chain, 0, STORE_AND_LOG);
    let filter = client.call("eth_newFilter", json!([{ "address": contract }])).await;
    node.chain.fail_receipts(true);
    node.chain.mine(vec![dynamic(&user(0), 0, TxKind::Call(contract), 0, word(5))]);
    assert_eq!(client.error("eth_getFilterChanges", json!([filter])).await.0, -32603);
    node.chain.fail_receipts(false);
    let logs = client.call("eth_getFilterChanges", json!([filter])).await;
    assert_eq!(logs.as_array().unwrap().len(), 1, "{logs}");
    assert_eq!(client.call("eth_getFilterChanges", json!([filter])).await, json!([]));
    node.stop().await;
}

#[tokio::test]
async fn a_batcher_bounds_the_data_of_blocks() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let client = node.client();
    assert_eq!(client.call("miner_setMaxDASize", json!(["0x96", "0x0"])).await, true);
    assert_eq!(node.da_orders.limits(), DaLimits { transaction: Some(150), block: None });
    for wrong in [json!([]), json!(["0x96"]), json!(["0x96", "much"]), json!(["0x96", "0x0", "0x1"])] {
        assert_eq!(client.error("miner_setMaxDASize", wrong).await.0, -32602);
    }
    let more = format!("0x1{}", "0".repeat(16));
    assert_eq!(client.call("miner_setMaxDASize", json!([more, "0x7d0"])).await, true);
    assert_eq!(node.da_orders.limits(), DaLimits { transaction: Some(u64::MAX), block: Some(2_000) });
    assert_eq!(client.call("miner_setMaxDASize", json!(["0x0", "0x0"])).await, true);
    assert_eq!(node.da_orders.limits(), DaLimits::default());
    node.stop().await;
}
