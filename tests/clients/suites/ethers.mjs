// ethers v6 as an application uses it; its error codes come from the node's messages.

import assert from "node:assert/strict";
import { Contract, ContractFactory, HDNodeWallet, Interface, JsonRpcProvider, NonceManager, Wallet, WebSocketProvider, ZeroAddress, isError, parseEther } from "ethers";
import { run, suite, test, until } from "../lib/check.mjs";
import { CHAIN_ID, MNEMONIC, URL_HTTP, URL_WS } from "../lib/env.mjs";
import { Lab, Token } from "../lib/contracts.mjs";

suite("ethers");

const provider = new JsonRpcProvider(URL_HTTP, undefined, { pollingInterval: 200, cacheTimeout: -1 });
const key = HDNodeWallet.fromPhrase(MNEMONIC, "", "m/44'/60'/0'/0/7").privateKey;
const wallet = new Wallet(key, provider);
let token;
let lab;

/** The ethers error with this code, or a failed check. */
async function refused(promise, code) {
  const error = await promise.then(() => new Error("it was accepted"), (e) => e);
  assert.ok(isError(error, code), `expected ${code}, got ${error.code ?? error.message}: ${error.message}`);
  return error;
}

test("detects the network", async () => {
  const network = await provider.getNetwork();
  assert.equal(network.chainId, BigInt(CHAIN_ID));
  const fees = await provider.getFeeData();
  assert.ok(fees.maxFeePerGas > 0n && fees.maxPriorityFeePerGas >= 0n && fees.gasPrice > 0n);
});

test("sends DUSK and waits", async () => {
  const to = Wallet.createRandom().address;
  const sent = await wallet.sendTransaction({ to, value: parseEther("1") });
  const receipt = await sent.wait();
  assert.deepEqual([receipt.status, receipt.hash, await provider.getBalance(to)], [1, sent.hash, parseEther("1")]);
  const found = await provider.getTransaction(sent.hash);
  assert.deepEqual([found.blockNumber, found.from, found.type], [receipt.blockNumber, wallet.address, 2]);
  assert.equal((await receipt.getBlock()).hash, receipt.blockHash);
});

test("deploys and calls", async () => {
  token = await (await new ContractFactory(Token.abi, Token.bytecode, wallet).deploy("Ethers", "E", 1000n)).waitForDeployment();
  lab = await (await new ContractFactory(Lab.abi, Lab.bytecode, wallet).deploy()).waitForDeployment();
  assert.deepEqual([await token.symbol(), await token.balanceOf(wallet.address)], ["E", 1000n]);
  assert.equal(await token.transfer.staticCall(ZeroAddress, 1n), true);
  assert.ok((await token.transfer.estimateGas(lab.target, 1n)) > 21_000n);
});

test("events: in the receipt, by query and by listener", { seconds: 40 }, async () => {
  const heard = [];
  await token.on("Transfer", (from, to, value) => heard.push(value));
  const receipt = await (await token.transfer(lab.target, 7n)).wait();
  const [log] = receipt.logs;
  assert.deepEqual([log.fragment.name, log.args.to, log.args.value], ["Transfer", lab.target, 7n]);
  const logs = await token.queryFilter(token.filters.Transfer(wallet.address), receipt.blockNumber, receipt.blockNumber);
  assert.deepEqual(logs.map((l) => l.transactionHash), [receipt.hash]);
  await until("the listener", () => heard.includes(7n));
  await token.removeAllListeners();
});

test("many transactions with a NonceManager", { seconds: 40 }, async () => {
  const managed = new NonceManager(wallet);
  const sent = [];
  for (let i = 0; i < 20; i += 1) sent.push(await managed.sendTransaction({ to: ZeroAddress, value: 1n }));
  const receipts = await Promise.all(sent.map((tx) => tx.wait()));
  assert.ok(receipts.every((r) => r.status === 1));
});

test("CALL_EXCEPTION with the reason, the custom error and the panic", async () => {
  const reason = await refused(lab.failReason.staticCall(), "CALL_EXCEPTION");
  assert.deepEqual([reason.reason, reason.revert.name], ["too low", "Error"]);
  const custom = await refused(lab.failCustom.staticCall(9n), "CALL_EXCEPTION");
  assert.deepEqual([custom.revert.name, [...custom.revert.args]], ["Broken", [9n, "as asked"]]);
  const panic = await refused(lab.failPanic.staticCall(0n), "CALL_EXCEPTION");
  assert.equal(panic.revert.name, "Panic");
  const estimate = await refused(lab.failLate.send(), "CALL_EXCEPTION");
  assert.equal(new Interface(Lab.abi).parseError(estimate.data).name, "Broken");
});

test("CALL_EXCEPTION from a mined transaction that failed", async () => {
  const sent = await lab.failLate({ gasLimit: 200_000n });
  const error = await refused(sent.wait(), "CALL_EXCEPTION");
  assert.equal(error.receipt.status, 0);
});

test("NONCE_EXPIRED", { node: true }, async () => {
  const nonce = await wallet.getNonce();
  await refused(wallet.sendTransaction({ to: ZeroAddress, nonce: nonce - 1, gasLimit: 21_000n }), "NONCE_EXPIRED");
});

test("INSUFFICIENT_FUNDS", { node: true }, async () => {
  const poor = Wallet.createRandom().connect(provider);
  await refused(poor.sendTransaction({ to: ZeroAddress, value: 1n, gasLimit: 21_000n }), "INSUFFICIENT_FUNDS");
  await refused(poor.sendTransaction({ to: ZeroAddress, value: parseEther("1") }), "INSUFFICIENT_FUNDS");
});

test("REPLACEMENT_UNDERPRICED", { node: true }, async () => {
  const fees = await provider.getFeeData();
  const nonce = (await wallet.getNonce("pending")) + 1;
  const base = { to: ZeroAddress, nonce, gasLimit: 21_000n, maxFeePerGas: fees.maxFeePerGas * 2n, maxPriorityFeePerGas: fees.maxPriorityFeePerGas };
  const first = await wallet.sendTransaction(base);
  await refused(wallet.sendTransaction({ ...base, value: 1n }), "REPLACEMENT_UNDERPRICED");
  await wallet.sendTransaction({ ...base, nonce: nonce - 1 });
  assert.equal((await first.wait()).status, 1);
});

test("WebSocketProvider: blocks, events and calls", { seconds: 40 }, async () => {
  const socket = new WebSocketProvider(URL_WS);
  const blocks = [];
  const transfers = [];
  await socket.on("block", (number) => blocks.push(number));
  await new Contract(token.target, Token.abi, socket).on("Transfer", (from, to, value) => transfers.push(value));
  await until("the first block", () => blocks.length >= 1);
  await (await token.transfer(lab.target, 13n)).wait();
  await until("the event", () => transfers.includes(13n));
  await until("a second block", () => blocks.length >= 2);
  assert.equal(await socket.getTransactionCount(wallet.address), await provider.getTransactionCount(wallet.address));
  await socket.destroy();
});

await run();
