// What makes the chain an OP Stack chain to an application: L1 fees in receipts, the oracle, rollup methods, fee vaults.

import assert from "node:assert/strict";
import { parseEther, parseGwei, serializeTransaction, zeroAddress } from "viem";
import { buildInitiateWithdrawal, publicActionsL2, walletActionsL2 } from "viem/op-stack";
import { run, suite, test } from "../lib/check.mjs";
import { CHAIN_ID } from "../lib/env.mjs";
import { batch, rpc } from "../lib/rpc.mjs";
import { account, mined, reader, wallet } from "../lib/viem.mjs";

suite("viem-op");

const me = account(6);
const op = reader.extend(publicActionsL2());
const node = { node: true };
const VAULTS = { sequencer: "0x4200000000000000000000000000000000000011", base: "0x4200000000000000000000000000000000000019", l1: "0x420000000000000000000000000000000000001A" };
const ORACLE = { address: "0x420000000000000000000000000000000000000F" };

test("receipts carry the L1 fee's parts", node, async () => {
  const receipt = await mined(await wallet(me).sendTransaction({ to: zeroAddress, value: 1n }));
  const raw = await rpc("eth_getTransactionReceipt", receipt.transactionHash);
  for (const field of ["l1Fee", "l1GasPrice", "l1GasUsed", "l1BlobBaseFee", "l1BaseFeeScalar", "l1BlobBaseFeeScalar"]) {
    assert.match(raw[field] ?? "missing", /^0x(0|[1-9a-f][0-9a-f]*)$/, field);
  }
  assert.equal(receipt.l1Fee, BigInt(raw.l1Fee), "viem's OP formatter reads it");
  const deposit = (await rpc("eth_getBlockReceipts", raw.blockNumber))[0];
  assert.equal(deposit.type, "0x7e");
  assert.equal(deposit.effectiveGasPrice, "0x0");
});

test("the sender pays exactly what the receipt says", node, async () => {
  const number = await reader.getBlockNumber();
  const before = await reader.getBalance({ address: me.address, blockNumber: number });
  const receipt = await mined(await wallet(me).sendTransaction({ to: zeroAddress, value: 1000n, data: `0x${"ab".repeat(500)}` }));
  const raw = await rpc("eth_getTransactionReceipt", receipt.transactionHash);
  const operator = (receipt.gasUsed * BigInt(raw.operatorFeeScalar ?? 0)) / 1_000_000n + BigInt(raw.operatorFeeConstant ?? 0);
  const after = await reader.getBalance({ address: me.address, blockNumber: receipt.blockNumber });
  assert.equal(before - after, 1000n + receipt.gasUsed * receipt.effectiveGasPrice + BigInt(raw.l1Fee) + operator);
});

test("fees arrive in the vaults", node, async () => {
  const receipt = await mined(await wallet(me).sendTransaction({ to: zeroAddress, value: 1n, maxPriorityFeePerGas: parseGwei("1"), maxFeePerGas: parseGwei("20") }));
  const block = await reader.getBlock({ blockNumber: receipt.blockNumber });
  const receipts = await rpc("eth_getBlockReceipts", `0x${receipt.blockNumber.toString(16)}`);
  const gained = async (address) => {
    const [then, now] = await Promise.all([-1n, 0n].map((d) => reader.getBalance({ address, blockNumber: receipt.blockNumber + d })));
    return now - then;
  };
  const paying = receipts.filter((r) => r.type !== "0x7e");
  const sum = (of) => paying.reduce((total, r) => total + of(r), 0n);
  assert.equal(await gained(VAULTS.base), sum((r) => BigInt(r.gasUsed) * block.baseFeePerGas));
  assert.equal(await gained(VAULTS.sequencer), sum((r) => BigInt(r.gasUsed) * (BigInt(r.effectiveGasPrice) - block.baseFeePerGas)));
  assert.equal(await gained(VAULTS.l1), sum((r) => BigInt(r.l1Fee)));
});

test("the oracle's estimate is the fee that is taken", node, async () => {
  const request = { account: me, to: zeroAddress, value: parseEther("0.1"), chainId: CHAIN_ID, type: "eip1559" };
  const [estimate, l1Gas, l1BaseFee] = await Promise.all([op.estimateL1Fee(request), op.estimateL1Gas(request), op.getL1BaseFee()]);
  assert.ok(l1Gas > 0n && l1BaseFee >= 0n);
  const receipt = await mined(await wallet(me).sendTransaction({ to: zeroAddress, value: parseEther("0.1") }));
  const near = (a, b) => a * 100n <= b * 150n + 100n && b * 100n <= a * 150n + 100n;
  assert.ok(near(estimate, receipt.l1Fee), `estimated ${estimate}, taken ${receipt.l1Fee}`);
  const total = await op.estimateTotalFee(request);
  assert.ok(total >= estimate);
});

test("getL1Fee of the signed bytes, at the block before, is what the receipt says", node, async () => {
  const wallets = wallet(me);
  const prepared = await wallets.prepareTransactionRequest({ to: zeroAddress, value: 5n });
  const raw = await wallets.signTransaction(prepared);
  const receipt = await mined(await wallets.sendRawTransaction({ serializedTransaction: raw }));
  const abi = [
    { type: "function", name: "getL1Fee", stateMutability: "view", inputs: [{ type: "bytes" }], outputs: [{ type: "uint256" }] },
  ];
  // The oracle adds room for a signature: it wants the bytes without one.
  const { type: _, ...fields } = prepared;
  const unsigned = serializeTransaction({ ...fields, type: "eip1559", chainId: CHAIN_ID });
  const fee = await reader.readContract({ ...ORACLE, abi, functionName: "getL1Fee", args: [unsigned], blockNumber: receipt.blockNumber });
  const difference = fee > receipt.l1Fee ? fee - receipt.l1Fee : receipt.l1Fee - fee;
  assert.ok(difference * 20n <= receipt.l1Fee, `oracle ${fee}, receipt ${receipt.l1Fee}`);
});

test("a withdrawal is initiated with viem's action", node, async () => {
  const wallets = wallet(me).extend(walletActionsL2());
  const request = await buildInitiateWithdrawal(reader, { account: me, to: me.address, value: parseGwei("3") });
  const receipt = await mined(await wallets.initiateWithdrawal(request));
  assert.equal(receipt.logs[0].address.toLowerCase(), "0x4200000000000000000000000000000000000016");
});

test("a withdrawal of a part of a lux is refused: it would be lost on L1", node, async () => {
  const wallets = wallet(me).extend(walletActionsL2());
  const request = await buildInitiateWithdrawal(reader, { account: me, to: me.address, value: parseGwei("3") + 1n });
  await assert.rejects(wallets.initiateWithdrawal(request), /revert/);
});

test("WETH9 wraps DUSK", node, async () => {
  const address = "0x4200000000000000000000000000000000000006";
  const receipt = await mined(await wallet(me).sendTransaction({ to: address, value: 42n }));
  assert.equal(receipt.logs.length, 1);
  const abi = [
    { type: "function", name: "balanceOf", stateMutability: "view", inputs: [{ type: "address" }], outputs: [{ type: "uint256" }] },
    { type: "function", name: "symbol", stateMutability: "view", inputs: [], outputs: [{ type: "string" }] },
  ];
  assert.equal(await reader.readContract({ address, abi, functionName: "balanceOf", args: [me.address] }), 42n);
  assert.match(await reader.readContract({ address, abi, functionName: "symbol" }), /^W/);
});

test("every system contract has code", node, async () => {
  const addresses = ["06", "07", "0f", "11", "15", "16", "18", "19", "1a", "1b"].map((end) => `0x42000000000000000000000000000000000000${end}`);
  // 07 is the cross-domain messenger, which a later step brings: the proxy stands there already on an OP chain or nothing does.
  const wanted = addresses.filter((a) => !a.endsWith("07"));
  wanted.push("0x000F3df6D732807Ef1319fB7B8bB8522d0Beac02", "0x0000F90827F1C53a10cb7A02335B175320002935");
  wanted.push("0xcA11bde05977b3631167028862bE2a173976CA11", "0x4e59b44847b379578588920cA78FbF26c0B4956C");
  const codes = await batch(wanted.map((address) => ["eth_getCode", address, "latest"]));
  codes.forEach((code, i) => assert.ok(code.length > 2, `${wanted[i]} has no code`));
});

test("EIP-2935 and EIP-4788 contracts answer", node, async () => {
  const block = await reader.getBlock();
  const number = block.number - 1n;
  const hash = await rpc("eth_call", { to: "0x0000F90827F1C53a10cb7A02335B175320002935", data: `0x${number.toString(16).padStart(64, "0")}` }, `0x${block.number.toString(16)}`);
  assert.equal(hash, block.parentHash);
  const root = await rpc("eth_call", { to: "0x000F3df6D732807Ef1319fB7B8bB8522d0Beac02", data: `0x${block.timestamp.toString(16).padStart(64, "0")}` }, `0x${block.number.toString(16)}`);
  assert.equal(root, block.parentBeaconBlockRoot);
});

test("rollup methods: sync status, config, output roots, version", node, async () => {
  const status = await rpc("optimism_syncStatus");
  for (const head of ["unsafe_l2", "safe_l2", "finalized_l2"]) {
    assert.match(status[head].hash, /^0x[0-9a-f]{64}$/);
    assert.equal(typeof status[head].number, "number");
    assert.match(status[head].l1origin.hash, /^0x[0-9a-f]{64}$/);
  }
  assert.ok(status.finalized_l2.number <= status.safe_l2.number && status.safe_l2.number <= status.unsafe_l2.number);
  assert.ok(status.head_l1.number >= status.unsafe_l2.l1origin.number);
  const config = await rpc("optimism_rollupConfig");
  const genesis = await rpc("eth_getBlockByNumber", "0x0", false);
  assert.deepEqual([config.l2_chain_id, config.genesis.l2.hash], [CHAIN_ID, genesis.hash]);
  assert.equal(typeof config.block_time, "number");
  const output = await rpc("optimism_outputAtBlock", "0x0");
  assert.equal(output.blockRef.hash, genesis.hash);
  assert.match(await rpc("optimism_version"), /\d/);
});

test("blocks come at the block time, on L1 origins that never go back", node, async () => {
  const config = await rpc("optimism_rollupConfig");
  const head = await reader.getBlockNumber();
  const from = head > 30n ? head - 30n : 1n;
  const numbers = Array.from({ length: Number(head - from) + 1 }, (_, i) => `0x${(from + BigInt(i)).toString(16)}`);
  const blocks = await batch(numbers.map((number) => ["eth_getBlockByNumber", number, true]));
  const attributes = blocks.map((b) => b.transactions[0].input);
  // setL1BlockValuesEcotone/Isthmus: selector, two scalars, sequence number u64, L1 time u64, L1 number u64.
  const origin = attributes.map((input) => ({ sequence: Number(`0x${input.slice(26, 42)}`), number: Number(`0x${input.slice(58, 74)}`), time: Number(`0x${input.slice(42, 58)}`) }));
  for (let i = 1; i < blocks.length; i += 1) {
    assert.equal(Number(blocks[i].timestamp) - Number(blocks[i - 1].timestamp), config.block_time);
    const [a, b] = [origin[i - 1], origin[i]];
    assert.ok(b.number === a.number || b.number === a.number + 1, `origin ${a.number} -> ${b.number}`);
    assert.equal(b.sequence, b.number === a.number ? a.sequence + 1 : 0);
    assert.ok(Number(blocks[i].timestamp) >= b.time, "never before its L1 origin");
  }
});

await run();
