// What a client is told without asking: subscriptions over WebSocket, and filters over HTTP.

import assert from "node:assert/strict";
import { zeroAddress } from "viem";
import WebSocket from "ws";
import { run, suite, test, until } from "../lib/check.mjs";
import { URL_WS } from "../lib/env.mjs";
import { Lab } from "../lib/contracts.mjs";
import { failure, rpc } from "../lib/rpc.mjs";
import { account, deploy, mined, overSocket, reader, send, wallet } from "../lib/viem.mjs";

suite("viem-streams");

const me = account(3);
const socket = overSocket();
let lab;

test("deploys", async () => {
  lab = await deploy(me, Lab);
});

test("requests over WebSocket", async () => {
  const [id, block] = await Promise.all([socket.getChainId(), socket.getBlock({ includeTransactions: true })]);
  assert.equal(id, await reader.getChainId());
  assert.deepEqual(block, await reader.getBlock({ blockHash: block.hash, includeTransactions: true }));
});

test("newHeads: every block once, each the child of the one before", { seconds: 40 }, async () => {
  const heads = [];
  const { unsubscribe } = await socket.transport.subscribe({
    params: ["newHeads"], onData: (data) => heads.push(data.result), onError: (e) => assert.fail(e),
  });
  await until("four heads", () => heads.length >= 4, { seconds: 30 });
  await unsubscribe();
  for (let i = 1; i < heads.length; i += 1) {
    assert.equal(BigInt(heads[i].number), BigInt(heads[i - 1].number) + 1n);
    assert.equal(heads[i].parentHash, heads[i - 1].hash);
  }
  const last = heads[heads.length - 1];
  const block = await rpc("eth_getBlockByHash", last.hash, false);
  for (const field of ["number", "stateRoot", "receiptsRoot", "transactionsRoot", "timestamp", "gasUsed", "baseFeePerGas", "logsBloom"]) {
    assert.equal(last[field], block[field], field);
  }
  const count = heads.length;
  await new Promise((resolve) => setTimeout(resolve, 2500));
  assert.equal(heads.length, count, "nothing comes after unsubscribing");
});

test("viem watches blocks and events", { seconds: 40 }, async () => {
  const numbers = [];
  const events = [];
  const stopBlocks = socket.watchBlockNumber({ onBlockNumber: (n) => numbers.push(n) });
  const stopEvents = socket.watchContractEvent({ ...lab, eventName: "Bumped", strict: true, onLogs: (logs) => events.push(...logs) });
  // A subscription starts when its answer arrives; nothing says when viem has it.
  await new Promise((resolve) => setTimeout(resolve, 500));
  await send(me, lab, "bump", ["0xaa"]);
  await send(me, lab, "bump", ["0xbb"]);
  await until("two events", () => events.length >= 2);
  await until("two blocks", () => numbers.length >= 2);
  stopBlocks();
  stopEvents();
  assert.deepEqual(events.map((e) => [e.args.count, e.args.note]), [[1n, "0xaa"], [2n, "0xbb"]]);
  assert.ok(numbers.every((n, i) => i === 0 || n === numbers[i - 1] + 1n));
});

test("logs subscription: only what the filter names, the same as getLogs", { seconds: 40 }, async () => {
  const all = [];
  const other = [];
  const topic = (await reader.getLogs({ address: lab.address, fromBlock: lab.receipt.blockNumber }))[0].topics[0];
  const one = await socket.transport.subscribe({ params: ["logs", { address: lab.address, topics: [topic] }], onData: (d) => all.push(d.result) });
  const two = await socket.transport.subscribe({ params: ["logs", { address: zeroAddress }], onData: (d) => other.push(d.result) });
  const receipt = await send(me, lab, "bump", ["0xcc"]);
  await until("the log", () => all.length >= 1);
  await Promise.all([one.unsubscribe(), two.unsubscribe()]);
  const [raw] = await rpc("eth_getLogs", { blockHash: receipt.blockHash, address: lab.address });
  for (const field of Object.keys(raw).filter((f) => f !== "blockTimestamp")) assert.deepEqual(all[0][field], raw[field], field);
  assert.deepEqual(other, []);
});

test("newPendingTransactions", { seconds: 40 }, async () => {
  const pending = [];
  const { unsubscribe } = await socket.transport.subscribe({ params: ["newPendingTransactions"], onData: (d) => pending.push(d.result) });
  const hash = await wallet(me).sendTransaction({ to: zeroAddress, value: 1n });
  await until("its hash", () => pending.includes(hash));
  await unsubscribe();
  await mined(hash);
});

test("newPendingTransactions with whole transactions", { node: true, seconds: 40 }, async () => {
  const pending = [];
  const { unsubscribe } = await socket.transport.subscribe({ params: ["newPendingTransactions", true], onData: (d) => pending.push(d.result) });
  const hash = await wallet(me).sendTransaction({ to: zeroAddress, value: 2n });
  const tx = await until("the transaction", () => pending.find((p) => p.hash === hash));
  await unsubscribe();
  assert.deepEqual([tx.from.toLowerCase(), tx.value, tx.blockHash ?? null], [me.address.toLowerCase(), "0x2", null]);
  await mined(hash);
});

test("a subscription of an unknown kind is refused", { node: true }, async () => {
  await assert.rejects(socket.request({ method: "eth_subscribe", params: ["oldHeads"] }));
  const error = await failure("eth_subscribe", "newHeads");
  assert.ok([-32601, -32001, -32000].includes(error.code), `over HTTP: ${error.code} ${error.reason}`);
});

test("eth_unsubscribe ends only what was asked", { seconds: 40 }, async () => {
  const ws = new WebSocket(URL_WS);
  await new Promise((resolve, reject) => ws.once("open", resolve).once("error", reject));
  const answers = new Map();
  const heads = new Map();
  ws.on("message", (data) => {
    const message = JSON.parse(data);
    if (message.id) answers.set(message.id, message);
    else heads.set(message.params.subscription, (heads.get(message.params.subscription) ?? 0) + 1);
  });
  const ask = async (id, method, params) => {
    ws.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    return until(`answer ${id}`, () => answers.get(id));
  };
  const a = (await ask(1, "eth_subscribe", ["newHeads"])).result;
  const b = (await ask(2, "eth_subscribe", ["newHeads"])).result;
  assert.equal(typeof a, "string");
  assert.notEqual(a, b);
  assert.equal((await ask(3, "eth_unsubscribe", [a])).result, true);
  heads.clear();
  await until("two heads on the other", () => (heads.get(b) ?? 0) >= 2);
  assert.equal(heads.get(a) ?? 0, 0);
  const gone = await ask(4, "eth_unsubscribe", [a]);
  assert.ok(gone.result === false || gone.error, "a second time there is nothing to end");
  ws.terminate();
});

test("filters: blocks, logs and pending transactions", { seconds: 40 }, async () => {
  const blocks = await reader.createBlockFilter();
  const logs = await reader.createContractEventFilter({ ...lab, eventName: "Bumped", strict: true });
  const pending = await reader.createPendingTransactionFilter();
  const before = await reader.readContract({ ...lab, functionName: "counter" });
  const receipt = await send(me, lab, "bump", ["0xdd"]);
  const newBlocks = [];
  await until("the block", async () => {
    newBlocks.push(...(await reader.getFilterChanges({ filter: blocks })));
    return newBlocks.includes(receipt.blockHash);
  });
  const newLogs = await reader.getFilterChanges({ filter: logs });
  assert.deepEqual(newLogs.map((l) => [l.transactionHash, l.args.count]), [[receipt.transactionHash, before + 1n]]);
  assert.deepEqual(await reader.getFilterChanges({ filter: logs }), [], "each change is told once");
  assert.ok((await reader.getFilterChanges({ filter: pending })).includes(receipt.transactionHash));
  const whole = await reader.createContractEventFilter({ ...lab, eventName: "Bumped", fromBlock: lab.receipt.blockNumber });
  assert.equal((await reader.getFilterLogs({ filter: whole })).length, Number(before) + 1);
  for (const filter of [blocks, logs, pending, whole]) assert.equal(await reader.uninstallFilter({ filter }), true);
  assert.equal(await reader.uninstallFilter({ filter: blocks }), false);
});

test("a filter that is gone says so", { node: true }, async () => {
  const error = await failure("eth_getFilterChanges", "0xdeadbeef");
  assert.match(error.reason, /filter not found/);
});

await run();
