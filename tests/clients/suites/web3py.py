"""web3.py without any middleware of its own: what a Python application or a data job does."""

import json
import os
import re
import sys
import time
from pathlib import Path

from eth_account import Account
from web3 import Web3
from web3.exceptions import ContractCustomError, ContractLogicError, TransactionNotFound

URL = os.environ["CLIENTS_URL"]
CHAIN_ID = 31310
MNEMONIC = "test test test test test test test test test test test junk"

compiled = json.loads((Path(__file__).parent.parent / "compiled.json").read_text())
Account.enable_unaudited_hdwallet_features()
me = Account.from_mnemonic(MNEMONIC, account_path="m/44'/60'/0'/0/8")
w3 = Web3(Web3.HTTPProvider(URL, request_kwargs={"timeout": 30}))
made = {}
PLAIN = os.environ.get("CLIENTS_PLAIN") == "1"
# What geth and DuskEVM take and some other nodes do not: storage positions as short numbers ("0x0").
NODE_ONLY = {"check_proof"}


def send(fields):
    """Signs, sends and waits."""
    block = w3.eth.get_block("latest")
    tx = {
        "chainId": CHAIN_ID,
        "nonce": w3.eth.get_transaction_count(me.address, "pending"),
        "maxFeePerGas": block["baseFeePerGas"] * 3 + 10**9,
        "maxPriorityFeePerGas": w3.eth.max_priority_fee,
        "value": 0,
        **fields,
    }
    tx.setdefault("gas", w3.eth.estimate_gas({"from": me.address, **{k: tx[k] for k in ("to", "data", "value") if k in tx}}))
    sent = w3.eth.send_raw_transaction(me.sign_transaction(tx).raw_transaction)
    return w3.eth.wait_for_transaction_receipt(sent, timeout=30, poll_latency=0.2)


def check_connection():
    assert w3.is_connected()
    assert w3.eth.chain_id == CHAIN_ID
    assert w3.net.version == str(CHAIN_ID)
    assert "/" in w3.client_version
    assert w3.eth.syncing is False


def check_transfer():
    target = Account.create().address
    receipt = send({"to": target, "value": w3.to_wei(2, "ether")})
    assert receipt["status"] == 1
    assert w3.eth.get_balance(target) == w3.to_wei(2, "ether")
    tx = w3.eth.get_transaction(receipt["transactionHash"])
    assert tx["from"] == me.address and tx["type"] == 2 and tx["blockHash"] == receipt["blockHash"]


def check_contract():
    factory = w3.eth.contract(abi=compiled["Token"]["abi"], bytecode=compiled["Token"]["bytecode"])
    receipt = send({"data": factory.constructor("Python", "PY", 10**6).data_in_transaction})
    token = w3.eth.contract(address=receipt["contractAddress"], abi=compiled["Token"]["abi"])
    made["token"] = token
    assert token.functions.symbol().call() == "PY"
    assert token.functions.balanceOf(me.address).call() == 10**6
    factory = w3.eth.contract(abi=compiled["Lab"]["abi"], bytecode=compiled["Lab"]["bytecode"])
    receipt = send({"data": factory.constructor().data_in_transaction})
    made["lab"] = w3.eth.contract(address=receipt["contractAddress"], abi=compiled["Lab"]["abi"])


def check_logs():
    token = made["token"]
    receipts = []
    for value in (5, 6, 7):
        call = token.functions.transfer(made["lab"].address, value).build_transaction(
            {"from": me.address, "chainId": CHAIN_ID, "gas": 100_000, "nonce": 0, "maxFeePerGas": 1, "maxPriorityFeePerGas": 1}
        )
        receipts.append(send({"to": token.address, "data": call["data"], "gas": 100_000}))
    first, last = receipts[0]["blockNumber"], receipts[-1]["blockNumber"]
    logs = token.events.Transfer().get_logs(from_block=first, to_block=last, argument_filters={"from": me.address})
    assert [log["args"]["value"] for log in logs] == [5, 6, 7], logs
    assert token.events.Transfer().process_receipt(receipts[1])[0]["args"]["value"] == 6
    raw = w3.eth.get_logs({"fromBlock": first, "toBlock": last, "address": token.address})
    assert [log["transactionHash"] for log in raw] == [r["transactionHash"] for r in receipts]


def check_filter():
    events = made["lab"].events.Bumped().create_filter(from_block="latest")
    data = made["lab"].encode_abi("bump", args=[b"py"])
    receipt = send({"to": made["lab"].address, "data": data})
    seen = []
    for _ in range(50):
        seen += events.get_new_entries()
        if seen:
            break
        time.sleep(0.1)
    assert [e["transactionHash"] for e in seen] == [receipt["transactionHash"]]
    assert seen[0]["args"]["note"] == b"py"


def check_errors():
    lab = made["lab"]
    try:
        lab.functions.failReason().call()
        raise AssertionError("failReason did not fail")
    except ContractLogicError as error:
        assert "too low" in str(error)
    try:
        lab.functions.failCustom(3).call()
        raise AssertionError("failCustom did not fail")
    except ContractCustomError as error:
        assert error.data.startswith(Web3.to_hex(Web3.keccak(text="Broken(uint256,string)")[:4])), error.data
    try:
        w3.eth.get_transaction_receipt("0x" + "ab" * 32)
        raise AssertionError("a receipt for nothing")
    except TransactionNotFound:
        pass


def check_proof():
    lab = made["lab"]
    proof = w3.eth.get_proof(lab.address, [0, 1], "latest")
    assert proof["address"] == lab.address
    assert len(proof["accountProof"]) >= 1
    assert [entry["value"] for entry in proof["storageProof"]][0] in (1, "0x1", b"\x01"), proof["storageProof"]
    block = w3.eth.get_block("latest")
    assert Web3.keccak(w3.eth.get_proof(lab.address, [], block["number"])["accountProof"][0]) == block["stateRoot"]


def check_fee_history():
    history = w3.eth.fee_history(3, "latest", [25, 75])
    blocks = len(history["gasUsedRatio"])
    assert len(history["baseFeePerGas"]) == blocks + 1 and len(history["reward"]) == blocks
    assert w3.eth.gas_price > 0 and w3.eth.max_priority_fee >= 0


def check_overrides():
    lab = made["lab"]
    slot = Web3.to_hex((0).to_bytes(32, "big"))
    value = Web3.to_hex((77).to_bytes(32, "big"))
    assert lab.functions.counter().call(state_override={lab.address: {"stateDiff": {slot: value}}}) == 77
    assert lab.functions.counter().call() == 1


def check_blocks():
    head = w3.eth.get_block("latest", full_transactions=True)
    assert w3.eth.get_block(head["hash"])["number"] == head["number"]
    assert w3.eth.get_block("finalized")["number"] <= w3.eth.get_block("safe")["number"] <= w3.eth.block_number
    assert w3.eth.get_block_transaction_count(head["number"]) == len(head["transactions"])
    assert [r["transactionHash"] for r in w3.eth.get_block_receipts(head["number"])] == [t["hash"] for t in head["transactions"]]


def main():
    failed = 0
    for name, check in list(globals().items()):
        if not name.startswith("check_"):
            continue
        title = name[len("check_"):].replace("_", " ")
        if PLAIN and name in NODE_ONLY:
            print(f"skip web3.py: {title} (not a DuskEVM node)", flush=True)
            continue
        begin = time.monotonic()
        try:
            check()
            print(f"ok   web3.py: {title} ({time.monotonic() - begin:.2f} s)", flush=True)
        except Exception as error:  # a failed check must not hide the ones after it
            failed += 1
            text = re.sub(r"\s+", " ", f"{type(error).__name__}: {error}")[:1000]
            line = error.__traceback__.tb_next.tb_lineno if error.__traceback__ and error.__traceback__.tb_next else "?"
            print(f"FAIL web3.py: {title}: {text} (line {line})", flush=True)
    return 1 if failed else 0


sys.exit(main())
