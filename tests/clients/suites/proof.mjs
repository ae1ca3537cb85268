// The chain's commitments, recomputed by another implementation: header hashes, transaction, receipt, state and storage roots.

import assert from "node:assert/strict";
import { concatHex, encodeAbiParameters, keccak256, pad, parseEther, toHex } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { buildInitiateWithdrawal, getWithdrawals, initiateWithdrawal } from "viem/op-stack";
import { run, suite, test } from "../lib/check.mjs";
import { Lab } from "../lib/contracts.mjs";
import {
  EMPTY_CODE, EMPTY_ROOT, RLP, bloom, data, header, hex, indexRoot, keccak, proven, quantity, receipt, transaction,
} from "../lib/encode.mjs";
import { batch, rpc } from "../lib/rpc.mjs";
import { account, deploy, mined, reader, send, wallet } from "../lib/viem.mjs";

suite("proof");

const me = account(5);
const L1_BLOCK = "0x4200000000000000000000000000000000000015";
const MESSAGE_PASSER = "0x4200000000000000000000000000000000000016";
const valuesSlot = (key) => keccak256(encodeAbiParameters([{ type: "uint256" }, { type: "uint256" }], [BigInt(key), 1n]));
let lab;
let dead;
let filled;
let cleared;

/** Asks for a proof at a block, checks every part of it against the block's state root and returns what it proves. */
async function checked(address, slots, blockNumber) {
  const at = toHex(blockNumber);
  const [block, proof] = await batch([["eth_getBlockByNumber", at, false], ["eth_getProof", address, slots, at]]);
  if (proof instanceof Error) throw proof;
  assert.equal(proof.address.toLowerCase(), address.toLowerCase());
  const found = await proven(block.stateRoot, address, proof.accountProof);
  if (found === null) {
    assert.deepEqual([BigInt(proof.balance), BigInt(proof.nonce)], [0n, 0n], "an absent account has nothing");
    assert.ok([EMPTY_CODE, `0x${"00".repeat(32)}`].includes(proof.codeHash), proof.codeHash);
    assert.ok([EMPTY_ROOT, `0x${"00".repeat(32)}`].includes(proof.storageHash), proof.storageHash);
  } else {
    const expected = RLP.encode([quantity(proof.nonce), quantity(proof.balance), data(proof.storageHash), data(proof.codeHash)]);
    assert.equal(hex(found), hex(expected), "the proven account is the answered account");
  }
  assert.deepEqual(proof.storageProof.map((p) => BigInt(p.key)), slots.map((s) => BigInt(s)), "each slot, in the order asked");
  for (const entry of proof.storageProof) {
    const value = found === null ? null : await proven(proof.storageHash, pad(entry.key), entry.proof);
    const number = value === null ? 0n : BigInt(hex(RLP.decode(value)));
    assert.equal(BigInt(entry.value), number, `slot ${entry.key}`);
    if (value !== null) assert.notEqual(number, 0n, "zero is never stored");
    const read = await rpc("eth_getStorageAt", address, pad(entry.key), at);
    assert.equal(BigInt(read), number, "eth_getStorageAt agrees");
  }
  const [balance, nonce, code] = await batch([
    ["eth_getBalance", address, at], ["eth_getTransactionCount", address, at], ["eth_getCode", address, at],
  ]);
  assert.deepEqual([BigInt(balance), BigInt(nonce)], [BigInt(proof.balance), BigInt(proof.nonce)]);
  if (found !== null) assert.equal(hex(keccak(data(code))), proof.codeHash);
  return { present: found !== null, proof, block, values: proof.storageProof.map((p) => BigInt(p.value)) };
}

test("makes state to prove: storage set, cleared, created and destroyed", { seconds: 40 }, async () => {
  lab = await deploy(me, Lab, [], parseEther("1"));
  filled = await send(me, lab, "setMany", [0n, 60n, 1000n]);
  cleared = await send(me, lab, "setMany", [10n, 40n, 0n]);
  const receipt = await send(me, lab, "spawnAndDestroy", [pad("0x2a"), me.address]);
  dead = `0x${receipt.logs[0].data.slice(26)}`;
});

test("accounts: used, fresh, contract, never seen", async () => {
  const number = await reader.getBlockNumber();
  assert.equal((await checked(me.address, [], number)).present, true);
  const fresh = privateKeyToAccount(generatePrivateKey());
  const paid = await mined(await wallet(me).sendTransaction({ to: fresh.address, value: 12_345n }));
  const one = await checked(fresh.address, [], paid.blockNumber);
  assert.deepEqual([one.present, BigInt(one.proof.balance), one.proof.storageHash], [true, 12_345n, EMPTY_ROOT]);
  assert.equal((await checked(fresh.address, [], paid.blockNumber - 1n)).present, false, "one block earlier it was not there");
  const contract = await checked(lab.address, [], number);
  assert.equal(contract.proof.codeHash, keccak256(Lab.deployedBytecode));
  for (let i = 0; i < 8; i += 1) {
    const nobody = privateKeyToAccount(generatePrivateKey()).address;
    assert.equal((await checked(nobody, [pad("0x0")], number)).present, false);
  }
});

test("an account that was created and destroyed in one transaction is absent", { node: true }, async () => {
  assert.equal((await checked(dead, [pad("0x0")], await reader.getBlockNumber())).present, false);
});

test("storage: sixty slots present, and some that never were", async () => {
  const slots = Array.from({ length: 64 }, (_, key) => valuesSlot(key));
  const { values } = await checked(lab.address, slots, filled.blockNumber);
  assert.deepEqual(values, slots.map((_, key) => (key < 60 ? 1000n + BigInt(key) : 0n)));
});

test("storage after clearing forty of sixty, and still the old block", { node: true }, async () => {
  const slots = Array.from({ length: 64 }, (_, key) => valuesSlot(key));
  const now = await checked(lab.address, slots, cleared.blockNumber);
  assert.deepEqual(now.values, slots.map((_, key) => (key < 60 && (key < 10 || key >= 50) ? 1000n + BigInt(key) : 0n)));
  const then = await checked(lab.address, [valuesSlot(20)], cleared.blockNumber - 1n);
  assert.deepEqual(then.values, [1020n]);
});

test("clearing everything gives back the root from before", { node: true, seconds: 40 }, async () => {
  const other = await deploy(me, Lab);
  const before = await checked(other.address, [], other.receipt.blockNumber);
  await send(me, other, "setMany", [0n, 30n, 5n]);
  const after = await send(me, other, "setMany", [0n, 30n, 0n]);
  const again = await checked(other.address, [valuesSlot(3)], after.blockNumber);
  assert.equal(again.proof.storageHash, before.proof.storageHash);
});

test("short slot keys mean the same slot", { node: true }, async () => {
  const number = await reader.getBlockNumber();
  const { values } = await checked(lab.address, ["0x0", "0x2"], number);
  assert.equal(values[1], BigInt(await reader.readContract({ ...lab, functionName: "child", blockNumber: number })));
});

test("a proof that was changed proves nothing", async () => {
  const number = await reader.getBlockNumber();
  const { proof, block } = await checked(lab.address, [valuesSlot(1)], number);
  const leaf = data(proof.accountProof.at(-1));
  leaf[leaf.length - 1] ^= 1;
  await assert.rejects(async () => {
    const value = await proven(block.stateRoot, lab.address, [...proof.accountProof.slice(0, -1), hex(leaf)]);
    // A library may also answer that there is nothing, which an account that exists refutes.
    if (value === null) throw new Error("nothing proven");
  });
  await assert.rejects(proven(block.receiptsRoot, lab.address, proof.accountProof));
});

test("system contracts are in the state, from genesis on", { node: true }, async () => {
  const number = await reader.getBlockNumber();
  const l1 = await checked(L1_BLOCK, ["0x0", "0x1", "0x2", "0x3", "0x7"], number);
  assert.equal(l1.present, true);
  assert.ok(l1.values.some((value) => value !== 0n), "the L1 attributes of the block");
  assert.equal((await checked(L1_BLOCK, [], 0n)).present, true);
  assert.equal((await checked(me.address, [], 0n)).present, true);
  assert.equal((await checked(MESSAGE_PASSER, [], 0n)).present, true);
});

test("every block so far: hash, parent, transactions, receipts, bloom, gas", { seconds: 60 }, async () => {
  const head = await reader.getBlockNumber();
  const from = head > 120n ? head - 120n : 0n;
  let parent;
  const types = new Set();
  for (let number = from; number <= head; number += 1n) {
    const [block, receipts] = await batch([["eth_getBlockByNumber", toHex(number), true], ["eth_getBlockReceipts", toHex(number)]]);
    assert.equal(hex(keccak(header(block))), block.hash, `hash of block ${number}`);
    if (parent) assert.equal(block.parentHash, parent, `parent of block ${number}`);
    parent = block.hash;
    const encoded = block.transactions.map(transaction);
    encoded.forEach((bytes, i) => assert.equal(hex(keccak(bytes)), block.transactions[i].hash, `transaction ${i} of block ${number}`));
    assert.equal(await indexRoot(encoded), block.transactionsRoot, `transactions root of block ${number}`);
    assert.equal(await indexRoot(receipts.map(receipt)), block.receiptsRoot, `receipts root of block ${number}`);
    const logs = receipts.flatMap((r) => r.logs);
    assert.equal(bloom(logs), block.logsBloom, `bloom of block ${number}`);
    for (const r of receipts) assert.equal(bloom(r.logs), r.logsBloom);
    block.transactions.forEach((tx) => types.add(Number(tx.type)));
  }
  assert.ok(types.has(2), "the range held ordinary transactions");
});

test("deposits: the L1 attributes transaction opens every block", { node: true }, async () => {
  const head = await reader.getBlockNumber();
  for (let number = head - 5n; number <= head; number += 1n) {
    const [block, receipts] = await batch([["eth_getBlockByNumber", toHex(number), true], ["eth_getBlockReceipts", toHex(number)]]);
    const [tx] = block.transactions;
    assert.equal(tx.type, "0x7e");
    assert.equal(tx.to.toLowerCase(), L1_BLOCK);
    assert.equal(receipts[0].status, "0x1");
    assert.equal(BigInt(receipts[0].depositReceiptVersion), 1n);
    assert.equal(BigInt(receipts[0].depositNonce), BigInt(tx.nonce));
    assert.ok(block.transactions.slice(1).every((t) => t.type !== "0x7e" || BigInt(t.transactionIndex) > 0n));
  }
  const genesis = await rpc("eth_getBlockByNumber", "0x0", true);
  assert.deepEqual([genesis.transactions, genesis.parentHash], [[], `0x${"00".repeat(32)}`]);
});

test("the header commits to withdrawals: its withdrawals root is the message passer's storage", { node: true, seconds: 40 }, async () => {
  const request = await buildInitiateWithdrawal(reader, { account: me, to: me.address, value: 77_000_000_000n });
  const done = await mined(await initiateWithdrawal(wallet(me), request));
  const [withdrawal] = getWithdrawals(done);
  assert.deepEqual([withdrawal.value, withdrawal.target.toLowerCase()], [77_000_000_000n, me.address.toLowerCase()]);
  const slot = keccak256(concatHex([withdrawal.withdrawalHash, pad("0x0")]));
  const { proof, block, values } = await checked(MESSAGE_PASSER, [slot], done.blockNumber);
  assert.deepEqual(values, [1n]);
  assert.equal(block.withdrawalsRoot, proof.storageHash, "Isthmus");
  const output = await rpc("optimism_outputAtBlock", toHex(done.blockNumber));
  const expected = keccak256(concatHex([pad("0x0"), block.stateRoot, proof.storageHash, block.hash]));
  assert.equal(output.outputRoot, expected);
  assert.equal(output.withdrawalStorageRoot, proof.storageHash);
  assert.equal(output.stateRoot, block.stateRoot);
});

await run();
