// An ERC-20 and a thousand transfers from a hundred accounts: everything that was acknowledged is found again, once, in order.

import assert from "node:assert/strict";
import { decodeEventLog, encodeFunctionData, encodeEventTopics, keccak256, parseEther, parseEventLogs, parseGwei, toHex, zeroAddress } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { run, suite, test, until } from "../lib/check.mjs";
import { CHAIN_ID } from "../lib/env.mjs";
import { Token } from "../lib/contracts.mjs";
import { batch, rpc } from "../lib/rpc.mjs";
import { account, bulkReader, deploy, mined, reader, send, wallet } from "../lib/viem.mjs";

suite("viem-token");

const ACCOUNTS = 100;
const EACH = 10;
const GRANT = parseEther("1000");
const owner = account(0);
const holders = Array.from({ length: ACCOUNTS }, () => privateKeyToAccount(generatePrivateKey()));
let token;
let fees;
let hashes;
let receipts;

const amountOf = (holder, turn) => BigInt(holder * EACH + turn + 1);

test("the ten accounts are funded", async () => {
  for (let index = 0; index < 10; index += 1) {
    const balance = await reader.getBalance({ address: account(index).address, blockTag: "earliest" });
    assert.equal(balance, parseEther("10000"), `account ${index}`);
  }
});

test("chain id, network version and client version", async () => {
  assert.equal(await reader.getChainId(), CHAIN_ID);
  assert.equal(await rpc("net_version"), String(CHAIN_ID));
  assert.match(await rpc("web3_clientVersion"), /\w+\/\S+/);
  assert.equal(await rpc("web3_sha3", "0x68656c6c6f"), keccak256("0x68656c6c6f"));
});

test("deploys a compiled ERC-20", async () => {
  token = await deploy(owner, Token, ["Dusk Test", "DT", parseEther("1000000")]);
  assert.equal(token.receipt.to, null);
  const at = { address: token.address, abi: Token.abi };
  assert.equal(await reader.getCode({ address: token.address }), Token.deployedBytecode);
  assert.equal(await reader.readContract({ ...at, functionName: "symbol" }), "DT");
  assert.equal(await reader.readContract({ ...at, functionName: "balanceOf", args: [owner.address] }), parseEther("1000000"));
  const [log] = parseEventLogs({ abi: Token.abi, logs: token.receipt.logs, eventName: "Transfer" });
  assert.deepEqual({ ...log.args }, { from: zeroAddress, to: owner.address, value: parseEther("1000000") });
});

test("funds a hundred fresh accounts in one batch of raw transactions", { seconds: 40 }, async () => {
  const { maxFeePerGas, maxPriorityFeePerGas } = await reader.estimateFeesPerGas();
  fees = { maxFeePerGas: maxFeePerGas * 3n + parseGwei("1"), maxPriorityFeePerGas };
  const nonce = await reader.getTransactionCount({ address: owner.address });
  const signed = await Promise.all(
    holders.map((holder, i) =>
      owner.signTransaction({
        type: "eip1559", chainId: CHAIN_ID, nonce: nonce + i, gas: 21_000n, to: holder.address, value: parseEther("5"), ...fees,
      }),
    ),
  );
  const sent = await batch(signed.map((raw) => ["eth_sendRawTransaction", raw]));
  assert.deepEqual(sent, signed.map((raw) => keccak256(raw)));
  await Promise.all(sent.map((hash) => bulkReader.waitForTransactionReceipt({ hash, pollingInterval: 250 })));
  const balances = await Promise.all(holders.map(({ address }) => bulkReader.getBalance({ address })));
  assert.ok(balances.every((balance) => balance === parseEther("5")), "every account has what it was sent");
  const receipt = await send(owner, token, "distribute", [holders.map((h) => h.address), GRANT]);
  assert.equal(receipt.logs.length, ACCOUNTS);
});

test("a thousand transfers from a hundred accounts are each included once", { seconds: 90 }, async () => {
  const signed = [];
  for (let turn = 0; turn < EACH; turn += 1) {
    for (let i = 0; i < ACCOUNTS; i += 1) {
      const data = encodeFunctionData({
        abi: Token.abi, functionName: "transfer", args: [holders[(i + 1) % ACCOUNTS].address, amountOf(i, turn)],
      });
      signed.push(
        holders[i].signTransaction({
          type: "eip1559", chainId: CHAIN_ID, nonce: turn, gas: 80_000n, to: token.address, data, ...fees,
        }),
      );
    }
  }
  const raws = await Promise.all(signed);
  hashes = await Promise.all(raws.map((serializedTransaction) => bulkReader.sendRawTransaction({ serializedTransaction })));
  assert.deepEqual(hashes, raws.map((raw) => keccak256(raw)));
  receipts = await until(
    "all receipts",
    async () => {
      const found = await batch(hashes.map((hash) => ["eth_getTransactionReceipt", hash]));
      return found.every((receipt) => receipt?.blockNumber) && found;
    },
    { seconds: 60, every: 500 },
  );
  assert.ok(receipts.every((receipt) => receipt.status === "0x1"), "all succeeded");
  assert.deepEqual(receipts.map((receipt) => receipt.transactionHash), hashes);
  const nonces = await Promise.all(holders.map(({ address }) => bulkReader.getTransactionCount({ address })));
  assert.ok(nonces.every((nonce) => nonce === EACH), "every account has sent ten");
});

test("receipts agree with their blocks", { seconds: 60 }, async () => {
  const numbers = [...new Set(receipts.map((receipt) => receipt.blockNumber))].sort((a, b) => Number(a) - Number(b));
  const seen = [];
  for (const number of numbers) {
    const block = await rpc("eth_getBlockByNumber", number, true);
    const all = await rpc("eth_getBlockReceipts", number);
    assert.deepEqual(all.map((r) => r.transactionHash), block.transactions.map((t) => t.hash), "receipts in the order of the block");
    let gas = 0n;
    let logIndex = 0;
    all.forEach((receipt, index) => {
      const tx = block.transactions[index];
      gas += BigInt(receipt.gasUsed);
      assert.equal(Number(receipt.transactionIndex), index);
      assert.equal(receipt.blockHash, block.hash);
      assert.equal(receipt.from, tx.from);
      assert.equal(receipt.type, tx.type);
      assert.equal(BigInt(receipt.cumulativeGasUsed), gas, "cumulative gas is the sum so far");
      for (const log of receipt.logs) {
        assert.equal(Number(log.logIndex), logIndex, "log indexes count through the block");
        assert.deepEqual(
          [log.blockHash, log.blockNumber, log.transactionHash, log.transactionIndex, log.removed],
          [block.hash, number, receipt.transactionHash, receipt.transactionIndex, false],
        );
        logIndex += 1;
      }
      if (tx.type === "0x2") {
        const tip = [BigInt(tx.maxPriorityFeePerGas), BigInt(tx.maxFeePerGas) - BigInt(block.baseFeePerGas)].reduce((a, b) => (a < b ? a : b));
        assert.equal(BigInt(receipt.effectiveGasPrice), BigInt(block.baseFeePerGas) + tip);
        assert.equal(BigInt(tx.gasPrice), BigInt(receipt.effectiveGasPrice), "a mined transaction shows the price it paid");
      }
      seen.push(receipt.transactionHash);
    });
    assert.equal(BigInt(block.gasUsed), gas);
    assert.ok(BigInt(block.gasUsed) <= BigInt(block.gasLimit));
    const single = await batch(all.map((r) => ["eth_getTransactionReceipt", r.transactionHash]));
    assert.deepEqual(all, single, "eth_getBlockReceipts says what eth_getTransactionReceipt says");
  }
  const counted = new Map(hashes.map((hash) => [hash, 0]));
  for (const hash of seen) if (counted.has(hash)) counted.set(hash, counted.get(hash) + 1);
  assert.ok([...counted.values()].every((count) => count === 1), "each hash stands in exactly one block");
});

test("each account's transfers stand in nonce order", async () => {
  const position = (receipt) => [Number(receipt.blockNumber), Number(receipt.transactionIndex)];
  for (let i = 0; i < ACCOUNTS; i += 1) {
    for (let turn = 1; turn < EACH; turn += 1) {
      const [block, index] = position(receipts[turn * ACCOUNTS + i]);
      const [blockBefore, indexBefore] = position(receipts[(turn - 1) * ACCOUNTS + i]);
      assert.ok(blockBefore < block || (blockBefore === block && indexBefore < index), `account ${i}, nonce ${turn}`);
    }
  }
});

test("getLogs finds the thousand, with every kind of filter", { seconds: 60 }, async () => {
  const first = receipts.reduce((min, r) => (BigInt(r.blockNumber) < min ? BigInt(r.blockNumber) : min), 1n << 60n);
  const last = receipts.reduce((max, r) => (BigInt(r.blockNumber) > max ? BigInt(r.blockNumber) : max), 0n);
  const event = Token.abi.find((item) => item.type === "event" && item.name === "Transfer");
  const range = { address: token.address, event, fromBlock: first, toBlock: last, strict: true };
  const logs = await reader.getLogs(range);
  const mine = logs.filter((log) => hashes.includes(log.transactionHash));
  assert.equal(mine.length, ACCOUNTS * EACH);
  const sum = mine.reduce((total, log) => total + log.args.value, 0n);
  assert.equal(sum, BigInt((ACCOUNTS * EACH * (ACCOUNTS * EACH + 1)) / 2));
  for (let i = 1; i < logs.length; i += 1) {
    const [a, b] = [logs[i - 1], logs[i]];
    assert.ok(a.blockNumber < b.blockNumber || (a.blockNumber === b.blockNumber && a.logIndex < b.logIndex), "in order");
  }
  const from7 = await reader.getLogs({ ...range, args: { from: holders[7].address } });
  assert.equal(from7.length, EACH);
  assert.ok(from7.every((log) => log.args.to === holders[8].address));
  const either = await reader.getLogs({ ...range, args: { to: [holders[1].address, holders[2].address] } });
  assert.equal(either.filter((log) => hashes.includes(log.transactionHash)).length, 2 * EACH);
  const neither = await reader.getLogs({ ...range, args: { from: holders[3].address, to: holders[5].address } });
  assert.deepEqual(neither, []);
  const one = receipts[0];
  const byHash = await reader.getLogs({ address: token.address, event, blockHash: one.blockHash });
  assert.deepEqual(byHash.map((l) => l.logIndex), logs.filter((l) => l.blockHash === one.blockHash).map((l) => l.logIndex));
  const raw = await rpc("eth_getLogs", {
    fromBlock: toHex(first), toBlock: toHex(last),
    address: [token.address, holders[0].address],
    topics: [[encodeEventTopics({ abi: Token.abi, eventName: "Approval" })[0], encodeEventTopics({ abi: Token.abi, eventName: "Transfer" })[0]], null, []],
  });
  assert.equal(raw.length, logs.length, "alternatives, null and the empty list as wildcards");
  const decoded = decodeEventLog({ abi: Token.abi, ...raw[0] });
  assert.equal(decoded.eventName, "Transfer");
});

test("balances are what the logs say", { seconds: 40 }, async () => {
  const balances = await Promise.all(
    holders.map(({ address }) => bulkReader.readContract({ ...token, functionName: "balanceOf", args: [address] })),
  );
  holders.forEach((_, i) => {
    let expected = GRANT;
    for (let turn = 0; turn < EACH; turn += 1) expected += amountOf((i + ACCOUNTS - 1) % ACCOUNTS, turn) - amountOf(i, turn);
    assert.equal(balances[i], expected, `holder ${i}`);
  });
});

test("fees add up to the last wei", { seconds: 40 }, async () => {
  const balances = await Promise.all(holders.slice(0, 20).map(({ address }) => bulkReader.getBalance({ address })));
  balances.forEach((balance, i) => {
    let spent = 0n;
    for (let turn = 0; turn < EACH; turn += 1) {
      const r = receipts[turn * ACCOUNTS + i];
      spent += BigInt(r.gasUsed) * BigInt(r.effectiveGasPrice) + BigInt(r.l1Fee ?? 0);
      spent += (BigInt(r.gasUsed) * BigInt(r.operatorFeeScalar ?? 0)) / 1_000_000n + BigInt(r.operatorFeeConstant ?? 0);
    }
    assert.equal(balance, parseEther("5") - spent, `holder ${i}`);
  });
});

test("multicall reads many balances in one call", { node: true }, async () => {
  const multicallAddress = "0xcA11bde05977b3631167028862bE2a173976CA11";
  const results = await reader.multicall({
    multicallAddress,
    allowFailure: false,
    contracts: holders.slice(0, 10).map(({ address }) => ({ ...token, functionName: "balanceOf", args: [address] })),
  });
  const single = await reader.readContract({ ...token, functionName: "balanceOf", args: [holders[9].address] });
  assert.equal(results[9], single);
});

test("approve and transferFrom", async () => {
  const [a, b] = holders;
  const approve = await wallet(a).writeContract({ ...token, functionName: "approve", args: [b.address, 77n] });
  await mined(approve);
  await send(b, token, "transferFrom", [a.address, owner.address, 70n]);
  assert.equal(await reader.readContract({ ...token, functionName: "allowance", args: [a.address, b.address] }), 7n);
});

await run();
