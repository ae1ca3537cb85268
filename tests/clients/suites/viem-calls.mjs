// Reading without changing: calls, estimates, overrides, simulation, fee history, block tags, and how failures come back.

import assert from "node:assert/strict";
import {
  BaseError, ContractFunctionRevertedError, decodeErrorResult, encodeFunctionData, getAddress, keccak256, encodeAbiParameters,
  pad, parseEther, toHex, zeroAddress,
} from "viem";
import { run, suite, test } from "../lib/check.mjs";
import { CHAIN_ID } from "../lib/env.mjs";
import { Lab, Token } from "../lib/contracts.mjs";
import { batch, failure, rpc } from "../lib/rpc.mjs";
import { account, bulkReader, deploy, reader, send } from "../lib/viem.mjs";

suite("viem-calls");

const me = account(1);
const STRANGER = "0x00000000000000000000000000000000000c0ffe";
let lab;
let token;

const call = (functionName, args = []) => encodeFunctionData({ abi: Lab.abi, functionName, args });
const valuesSlot = (key) => keccak256(encodeAbiParameters([{ type: "uint256" }, { type: "uint256" }], [key, 1n]));

test("deploys", async () => {
  lab = await deploy(me, Lab, [], parseEther("1"));
  token = await deploy(me, Token, ["Calls", "C", 1000n]);
});

test("a call sees its block", async () => {
  const block = await reader.getBlock();
  const [number, time, baseFee, coinbase, chain, gasLimit, random] = await reader.readContract({
    ...lab, functionName: "environment", blockNumber: block.number,
  });
  assert.deepEqual(
    [number, time, coinbase, chain, gasLimit, random],
    [block.number, block.timestamp, getAddress(block.miner), BigInt(CHAIN_ID), block.gasLimit, BigInt(block.mixHash)],
  );
  assert.ok(baseFee === 0n || baseFee === block.baseFeePerGas, "base fee of the block, or zero as geth has it without a gas price");
  const parent = await reader.readContract({ ...lab, functionName: "hashOf", args: [block.number - 1n], blockNumber: block.number });
  assert.equal(parent, block.parentHash);
});

test("a custom error comes back with its data", async () => {
  const error = await reader.readContract({ ...lab, functionName: "failCustom", args: [42n] }).catch((e) => e);
  assert.ok(error instanceof BaseError);
  const reverted = error.walk((e) => e instanceof ContractFunctionRevertedError);
  assert.equal(reverted.data.errorName, "Broken");
  assert.deepEqual(reverted.data.args, [42n, "as asked"]);
  const raw = await failure("eth_call", { to: lab.address, data: call("failCustom", [42n]) }, "latest");
  assert.equal(raw.code, 3);
  assert.match(raw.reason, /execution reverted/);
  assert.equal(decodeErrorResult({ abi: Lab.abi, data: raw.data }).errorName, "Broken");
});

test("reason, panic and empty reverts", async () => {
  const reason = await failure("eth_call", { to: lab.address, data: call("failReason") }, "latest");
  assert.deepEqual([reason.code, reason.reason], [3, "execution reverted: too low"]);
  const panic = await failure("eth_call", { to: lab.address, data: call("failPanic", [0n]) }, "latest");
  assert.equal(panic.code, 3);
  assert.equal(decodeErrorResult({ abi: Lab.abi, data: panic.data }).args[0], 0x12n);
  const plain = await failure("eth_call", { to: lab.address, data: call("failPlain") }, "latest");
  assert.equal(plain.code, 3);
  assert.match(plain.reason, /^execution reverted/);
  assert.equal(plain.data ?? "0x", "0x");
});

test("estimateGas: exact enough to succeed, and refuses what would fail", async () => {
  assert.equal(await reader.estimateGas({ account: me, to: STRANGER, value: 1n }), 21_000n);
  const data = call("setMany", [0n, 5n, 1n]);
  const gas = await reader.estimateGas({ account: me, to: lab.address, data });
  await reader.call({ account: me, to: lab.address, data, gas });
  const short = await reader.call({ account: me, to: lab.address, data, gas: (gas * 9n) / 10n }).catch((e) => e);
  assert.ok(short instanceof Error, "a tenth less is not enough");
  const receipt = await send(me, lab, "setMany", [0n, 5n, 1n]);
  assert.ok(gas >= receipt.gasUsed && gas < receipt.gasUsed * 2n, `${gas} for ${receipt.gasUsed}`);
  const reverted = await failure("eth_estimateGas", { from: me.address, to: lab.address, data: call("failCustom", [1n]) });
  assert.equal(reverted.code, 3);
  assert.equal(decodeErrorResult({ abi: Lab.abi, data: reverted.data }).args[0], 1n);
  const create = await reader.estimateGas({ account: me, data: Token.bytecode + encodeAbiParameters(
    [{ type: "string" }, { type: "string" }, { type: "uint256" }], ["a", "b", 1n]).slice(2) });
  assert.ok(create > 300_000n);
});

test("an estimate for somebody who cannot pay says so", { node: true }, async () => {
  const poor = await failure("eth_estimateGas", { from: STRANGER, to: me.address, value: toHex(parseEther("1")) });
  assert.deepEqual([poor.code, /insufficient funds/.test(poor.reason)], [-32000, true], poor.reason);
});

test("a call that never ends is cut off", { node: true }, async () => {
  const error = await failure("eth_call", { to: lab.address, data: call("spin"), gas: toHex(1_000_000_000_000n) }, "latest");
  assert.match(error.reason, /out of gas|timeout|timed out|too long|gas/i);
  assert.ok(Number(await rpc("eth_blockNumber")) > 0);
});

test("state overrides: balance, nonce, code, whole state and single slots", async () => {
  const rich = await reader.call({
    account: STRANGER, to: me.address, value: parseEther("5"),
    stateOverride: [{ address: STRANGER, balance: parseEther("6") }],
  });
  assert.equal(rich.data, undefined);
  await assert.rejects(reader.call({ account: STRANGER, to: me.address, value: parseEther("5") }));
  const diff = await reader.readContract({
    ...lab, functionName: "values", args: [3n],
    stateOverride: [{ address: lab.address, stateDiff: [{ slot: valuesSlot(3n), value: pad("0x1234") }] }],
  });
  assert.equal(diff, 0x1234n);
  const kept = await reader.readContract({
    ...lab, functionName: "values", args: [4n],
    stateOverride: [{ address: lab.address, stateDiff: [{ slot: valuesSlot(3n), value: pad("0x1234") }] }],
  });
  assert.equal(kept, 5n, "stateDiff leaves other slots alone");
  const wiped = await reader.readContract({
    ...lab, functionName: "values", args: [4n],
    stateOverride: [{ address: lab.address, state: [{ slot: valuesSlot(3n), value: pad("0x1234") }] }],
  });
  assert.equal(wiped, 0n, "state replaces all slots");
  const elsewhere = await reader.readContract({
    address: STRANGER, abi: Token.abi, functionName: "totalSupply",
    stateOverride: [{ address: STRANGER, code: Token.deployedBytecode }],
  });
  assert.equal(elsewhere, 0n);
  assert.equal(await reader.readContract({ ...lab, functionName: "values", args: [3n] }), 4n, "nothing of it stayed");
});

test("an override with both state and stateDiff is refused", { node: true }, async () => {
  const slots = { [pad("0x1")]: pad("0x2") };
  const error = await failure("eth_call", { to: zeroAddress, data: "0x" }, "latest", { [lab.address]: { state: slots, stateDiff: slots } });
  assert.match(error.reason, /state/i);
});

test("block overrides", async () => {
  const result = await rpc("eth_call", { to: lab.address, data: call("environment") }, "latest", {}, {
    number: "0x123456", time: "0xffffffff", gasLimit: "0x1c9c380", feeRecipient: STRANGER, baseFeePerGas: "0x0",
    prevRandao: pad("0x77"),
  });
  const words = result.slice(2).match(/.{64}/g).map((w) => BigInt(`0x${w}`));
  assert.equal(words[0], 0x123456n);
  assert.equal(words[1], 0xffffffffn);
  assert.equal(words[3], BigInt(STRANGER));
  assert.equal(words[5], 30_000_000n);
});

test("simulateContract returns the result and the request", async () => {
  const { result, request } = await reader.simulateContract({ ...lab, account: me, functionName: "bump", args: ["0x01"] });
  assert.equal(result, 1n);
  assert.equal(request.functionName, "bump");
  await assert.rejects(reader.simulateContract({ ...lab, account: me, functionName: "failLate" }), /Broken/);
});

test("eth_simulateV1: several calls in one simulated block", async () => {
  const { results } = await reader.simulateCalls({
    account: me.address,
    calls: [
      { to: token.address, abi: Token.abi, functionName: "transfer", args: [STRANGER, 10n] },
      { to: token.address, abi: Token.abi, functionName: "balanceOf", args: [STRANGER] },
      { to: lab.address, abi: Lab.abi, functionName: "failCustom", args: [5n] },
    ],
  });
  assert.deepEqual(results.map((r) => r.status), ["success", "success", "failure"]);
  assert.equal(results[1].result, 10n, "the second call sees what the first did");
  assert.equal(results[0].logs.length, 1);
});

test("createAccessList names the slots that a call touches", async () => {
  const data = encodeFunctionData({ abi: Token.abi, functionName: "transfer", args: [STRANGER, 1n] });
  const { accessList, gasUsed } = await reader.createAccessList({ account: me, to: token.address, data });
  const entry = accessList.find((item) => item.address.toLowerCase() === token.address.toLowerCase());
  const slot = (holder) => keccak256(encodeAbiParameters([{ type: "address" }, { type: "uint256" }], [holder, 3n]));
  assert.deepEqual([...entry.storageKeys].sort(), [slot(me.address), slot(STRANGER)].sort());
  assert.ok(gasUsed > 21_000n);
});

test("feeHistory", async () => {
  const history = await reader.getFeeHistory({ blockCount: 4, rewardPercentiles: [10, 50, 90] });
  const blocks = history.gasUsedRatio.length;
  assert.ok(blocks >= 1 && blocks <= 4);
  assert.equal(history.baseFeePerGas.length, blocks + 1, "one more: the next block's base fee");
  assert.equal(history.reward.length, blocks);
  assert.ok(history.reward.every((row) => row.length === 3 && row[0] <= row[1] && row[1] <= row[2]));
  for (let i = 0; i < blocks; i += 1) {
    const block = await reader.getBlock({ blockNumber: history.oldestBlock + BigInt(i) });
    assert.equal(history.baseFeePerGas[i], block.baseFeePerGas);
    assert.ok(Math.abs(history.gasUsedRatio[i] - Number(block.gasUsed) / Number(block.gasLimit)) < 1e-9);
  }
});

test("feeHistory refuses percentiles that fall or exceed 100", { node: true }, async () => {
  for (const percentiles of [[90, 10], [101], [-1]]) {
    const error = await failure("eth_feeHistory", "0x4", "latest", percentiles);
    assert.match(error.reason, /percentile/);
  }
});

test("gas price suggestions can be paid with", async () => {
  const [gasPrice, tip, block] = await Promise.all([
    reader.getGasPrice(), reader.estimateMaxPriorityFeePerGas(), reader.getBlock(),
  ]);
  assert.ok(gasPrice >= (block.baseFeePerGas * 8n) / 10n);
  assert.ok(tip >= 0n);
});

test("block tags stand in order", async () => {
  const tags = ["earliest", "finalized", "safe", "latest", "pending"];
  const blocks = await Promise.all(tags.map((blockTag) => bulkReader.getBlock({ blockTag })));
  const numbers = blocks.map((b) => b.number);
  assert.equal(numbers[0], 0n);
  for (let i = 1; i < 4; i += 1) assert.ok(numbers[i - 1] <= numbers[i], `${tags[i - 1]} ${numbers[i - 1]} <= ${tags[i]} ${numbers[i]}`);
  for (const blockTag of tags) {
    assert.equal(typeof (await reader.getBalance({ address: me.address, blockTag })), "bigint");
    assert.equal(typeof (await reader.getTransactionCount({ address: me.address, blockTag })), "number");
  }
  assert.equal(await reader.getTransactionCount({ address: me.address, blockTag: "earliest" }), 0);
});

test("blocks by number, by hash and by EIP-1898 object are the same", async () => {
  const block = await reader.getBlock({ includeTransactions: true });
  const byHash = await reader.getBlock({ blockHash: block.hash, includeTransactions: true });
  const byNumber = await reader.getBlock({ blockNumber: block.number, includeTransactions: true });
  assert.deepEqual(byHash, byNumber);
  const at = [{ blockHash: block.hash }, { blockNumber: toHex(block.number) }, { blockHash: block.hash, requireCanonical: true }, toHex(block.number)];
  const balances = await batch(at.map((where) => ["eth_getBalance", me.address, where]));
  assert.equal(new Set(balances).size, 1);
  assert.equal(await rpc("eth_getBlockTransactionCountByHash", block.hash), toHex(byHash.transactions.length));
  assert.equal(await rpc("eth_getBlockTransactionCountByNumber", toHex(block.number)), toHex(byHash.transactions.length));
  assert.equal(await rpc("eth_getUncleCountByBlockHash", block.hash), "0x0");
});

test("what does not exist is null, not an error", async () => {
  const nowhere = `0x${"ab".repeat(32)}`;
  const answers = await batch([
    ["eth_getBlockByHash", nowhere, false],
    ["eth_getBlockByNumber", "0xffffff", false],
    ["eth_getTransactionByHash", nowhere],
    ["eth_getTransactionReceipt", nowhere],
    ["eth_getTransactionByBlockNumberAndIndex", "0x0", "0xffff"],
    ["eth_getTransactionByBlockHashAndIndex", nowhere, "0x0"],
    ["eth_getBlockReceipts", nowhere],
  ]);
  assert.deepEqual(answers, answers.map(() => null));
  const missing = await failure("eth_getBalance", me.address, "0xffffff");
  assert.ok([-32000, -32001, -32602].includes(missing.code), `${missing.code} ${missing.reason}`);
});

test("storage, code and balances at an older block", async () => {
  const before = await reader.getBlockNumber();
  await send(me, lab, "set", [900n, 0xbeefn]);
  const slot = valuesSlot(900n);
  const [old, now] = await Promise.all([
    reader.getStorageAt({ address: lab.address, slot, blockNumber: before }),
    reader.getStorageAt({ address: lab.address, slot }),
  ]);
  assert.deepEqual([BigInt(old), BigInt(now)], [0n, 0xbeefn]);
  assert.equal(await reader.readContract({ ...lab, functionName: "values", args: [900n], blockNumber: before }), 0n);
  assert.equal(await reader.getCode({ address: lab.address, blockTag: "earliest" }), undefined);
});

test("a batch of mixed requests answers each by its id", async () => {
  const results = await batch([
    ["eth_chainId"],
    ["eth_nosuchmethod"],
    ["eth_getBalance", "not an address", "latest"],
    ["eth_call", { to: lab.address, data: call("failReason") }, "latest"],
    ["eth_blockNumber"],
  ]);
  assert.equal(results[0], toHex(CHAIN_ID));
  assert.equal(results[1].code, -32601);
  assert.equal(results[2].code, -32602);
  assert.equal(results[3].code, 3);
  assert.match(results[4], /^0x[1-9a-f]/);
});

test("syncing, accounts, mining and peers", async () => {
  assert.equal(await rpc("eth_syncing"), false);
  assert.ok(Array.isArray(await rpc("eth_accounts")));
  assert.equal(await rpc("net_listening"), true);
});

await run();
