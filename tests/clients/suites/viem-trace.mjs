// debug_: the same execution told in three ways, and blocks as bytes.

import assert from "node:assert/strict";
import { decodeFunctionResult, encodeFunctionData, getContractAddress, keccak256, pad, parseEther, toHex, encodeAbiParameters } from "viem";
import { run, suite, test } from "../lib/check.mjs";
import { Child, Lab } from "../lib/contracts.mjs";
import { failure, rpc } from "../lib/rpc.mjs";
import { account, deploy, mined, reader, send, wallet } from "../lib/viem.mjs";

suite("viem-trace");

const me = account(4);
let lab;
let child;
let tour;
const lower = (address) => address.toLowerCase();
const valuesSlot = (key) => keccak256(encodeAbiParameters([{ type: "uint256" }, { type: "uint256" }], [key, 1n]));

test("deploys and makes a tour of calls", async () => {
  lab = await deploy(me, Lab, [], parseEther("1"));
  child = lower(await reader.readContract({ ...lab, functionName: "child" }));
  assert.equal(child, lower(getContractAddress({ from: lab.address, nonce: 1n })));
  tour = await send(me, lab, "tour", [1234n], { value: 5n });
});

test("callTracer: the tree of calls", async () => {
  const trace = await rpc("debug_traceTransaction", tour.transactionHash, { tracer: "callTracer" });
  assert.deepEqual([trace.type, lower(trace.from), lower(trace.to), trace.value], ["CALL", lower(me.address), lower(lab.address), "0x5"]);
  assert.equal(BigInt(trace.gasUsed), tour.gasUsed, "the whole transaction's gas, intrinsic part included");
  assert.equal(trace.input, encodeFunctionData({ abi: Lab.abi, functionName: "tour", args: [1234n] }));
  assert.deepEqual(decodeFunctionResult({ abi: Lab.abi, functionName: "tour", data: trace.output }), [7n, 1234n, true]);
  assert.deepEqual(trace.calls.map((c) => c.type), ["CALL", "STATICCALL", "STATICCALL"]);
  assert.ok(trace.calls.every((c) => lower(c.from) === lower(lab.address) && lower(c.to) === child));
  assert.equal(trace.calls[0].value, "0x5");
  assert.equal(trace.calls[1].output, pad(toHex(1234n)));
  assert.equal(trace.calls[2].error, "execution reverted");
  assert.equal(trace.calls[2].revertReason, "child says no");
  const top = await rpc("debug_traceTransaction", tour.transactionHash, { tracer: "callTracer", tracerConfig: { onlyTopCall: true } });
  assert.equal(top.calls ?? undefined, undefined);
});

test("callTracer with logs, and a creation", async () => {
  const bump = await send(me, lab, "bump", ["0x1122"]);
  const trace = await rpc("debug_traceTransaction", bump.transactionHash, { tracer: "callTracer", tracerConfig: { withLog: true } });
  assert.deepEqual(trace.logs[0].topics, bump.logs[0].topics);
  assert.equal(trace.logs[0].data, bump.logs[0].data);
  const created = await rpc("debug_traceTransaction", lab.receipt.transactionHash, { tracer: "callTracer" });
  assert.deepEqual([created.type, lower(created.to), created.calls[0].type, lower(created.calls[0].to)], ["CREATE", lower(lab.address), "CREATE", child]);
  assert.equal(created.output, Lab.deployedBytecode);
});

test("callTracer of a transaction that failed", async () => {
  const hash = await wallet(me).writeContract({ ...lab, functionName: "failReason", gas: 100_000n });
  await mined(hash, "reverted");
  const trace = await rpc("debug_traceTransaction", hash, { tracer: "callTracer" });
  assert.deepEqual([trace.error, trace.revertReason], ["execution reverted", "too low"]);
});

test("prestateTracer: what a transaction read, and what it changed", async () => {
  const { transactionHash } = await send(me, lab, "set", [31n, 0x99n]);
  const pre = await rpc("debug_traceTransaction", transactionHash, { tracer: "prestateTracer" });
  assert.ok(lower(me.address) in pre && lower(lab.address) in pre);
  assert.equal(pre[lower(lab.address)].code, Lab.deployedBytecode);
  const tx = await reader.getTransaction({ hash: transactionHash });
  assert.equal(pre[lower(me.address)].nonce, tx.nonce);
  const before = await reader.getBalance({ address: me.address, blockNumber: tx.blockNumber - 1n });
  assert.equal(BigInt(pre[lower(me.address)].balance), before);
  const diff = await rpc("debug_traceTransaction", transactionHash, { tracer: "prestateTracer", tracerConfig: { diffMode: true } });
  const after = diff.post[lower(lab.address)].storage;
  assert.deepEqual(Object.entries(after), [[valuesSlot(31n), pad("0x99")]]);
  assert.equal(diff.post[lower(me.address)].nonce, tx.nonce + 1);
  const balance = await reader.getBalance({ address: me.address, blockNumber: tx.blockNumber });
  assert.equal(BigInt(diff.post[lower(me.address)].balance), balance, "after all fees");
});

test("struct logs: every step, its gas and its stack", async () => {
  const { transactionHash, gasUsed } = await send(me, lab, "set", [32n, 1n]);
  const trace = await rpc("debug_traceTransaction", transactionHash, {});
  assert.equal(trace.failed, false);
  assert.equal(BigInt(trace.gas), gasUsed);
  const steps = trace.structLogs;
  assert.ok(steps.length > 50);
  assert.deepEqual([steps[0].pc, steps[0].op, steps[0].depth], [0, "PUSH1", 1]);
  assert.ok(steps.every((s) => typeof s.gas === "number" && typeof s.gasCost === "number" && Array.isArray(s.stack)));
  const store = steps.find((s) => s.op === "SSTORE");
  assert.equal(BigInt(store.stack[store.stack.length - 1]), BigInt(valuesSlot(32n)));
  assert.ok(["STOP", "RETURN"].includes(steps[steps.length - 1].op));
  const lean = await rpc("debug_traceTransaction", transactionHash, { disableStack: true, disableStorage: true, enableMemory: true });
  assert.ok(lean.structLogs.every((s) => s.stack === undefined || s.stack === null));
  assert.ok(lean.structLogs.some((s) => Array.isArray(s.memory) && s.memory.length > 0));
});

test("debug_traceCall, with overrides", async () => {
  const request = { from: me.address, to: lab.address, data: encodeFunctionData({ abi: Lab.abi, functionName: "values", args: [32n] }) };
  const plain = await rpc("debug_traceCall", request, "latest", { tracer: "callTracer" });
  assert.equal(BigInt(plain.output), 1n);
  const stateOverrides = { [lab.address]: { stateDiff: { [valuesSlot(32n)]: pad("0x55") } } };
  const changed = await rpc("debug_traceCall", request, "latest", { tracer: "callTracer", stateOverrides });
  assert.equal(BigInt(changed.output), 0x55n);
});

test("4byteTracer and noopTracer", async () => {
  const calls = await rpc("debug_traceTransaction", tour.transactionHash, { tracer: "4byteTracer" });
  const selector = encodeFunctionData({ abi: Child.abi, functionName: "value" });
  assert.equal(calls[`${selector}-0`], 1);
  assert.deepEqual(await rpc("debug_traceTransaction", tour.transactionHash, { tracer: "noopTracer" }), {});
});

test("blocks are traced transaction by transaction", { node: true }, async () => {
  const number = toHex(tour.blockNumber);
  const block = await rpc("eth_getBlockByNumber", number, false);
  const byNumber = await rpc("debug_traceBlockByNumber", number, { tracer: "callTracer" });
  const byHash = await rpc("debug_traceBlockByHash", block.hash, { tracer: "callTracer" });
  assert.deepEqual(byNumber, byHash);
  assert.deepEqual(byNumber.map((t) => t.txHash), block.transactions);
  const single = await rpc("debug_traceTransaction", tour.transactionHash, { tracer: "callTracer" });
  assert.deepEqual(byNumber.find((t) => t.txHash === tour.transactionHash).result, single);
  assert.equal(lower(byNumber[0].result.from), "0xdeaddeaddeaddeaddeaddeaddeaddeaddead0001", "the L1 attributes come first");
});

test("a tracer that does not exist is refused, as is an unknown transaction", { node: true }, async () => {
  const tracer = await failure("debug_traceTransaction", tour.transactionHash, { tracer: "nosuchTracer" });
  assert.ok(tracer.reason.length > 0);
  const unknown = await failure("debug_traceTransaction", `0x${"12".repeat(32)}`, { tracer: "callTracer" });
  assert.match(unknown.reason, /not found/);
});

test("raw header, block, receipts and transaction", { node: true }, async () => {
  const number = toHex(tour.blockNumber);
  const block = await rpc("eth_getBlockByNumber", number, false);
  assert.equal(keccak256(await rpc("debug_getRawHeader", number)), block.hash);
  const whole = await rpc("debug_getRawBlock", number);
  assert.ok(whole.includes((await rpc("debug_getRawHeader", number)).slice(8)));
  const receipts = await rpc("debug_getRawReceipts", number);
  assert.equal(receipts.length, block.transactions.length);
  const raw = await rpc("debug_getRawTransaction", tour.transactionHash);
  assert.equal(keccak256(raw), tour.transactionHash);
  assert.equal(await rpc("eth_getRawTransactionByHash", tour.transactionHash), raw);
});

await run();
