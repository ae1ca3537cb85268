// Dusk L1 as an Ethereum chain: viem's OP Stack actions from a deposit on L1 to the transaction on L2, headers, logs, subscriptions.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { createPublicClient, decodeEventLog, defineChain, formatEther, http, keccak256, parseAbi, toHex, webSocket } from "viem";
import { extractTransactionDepositedLogs, getL2TransactionHash, getL2TransactionHashes, publicActionsL1 } from "viem/op-stack";
import { run, suite, test, until } from "../lib/check.mjs";
import { reader } from "../lib/viem.mjs";

suite("l1");

const { CLIENTS_L1_URL: url, CLIENTS_BINARY: binary, CLIENTS_ADMIN: admin } = process.env;
const skip = url && binary && admin ? undefined : "it needs a node that this script started";
const BOB = "0xb0b0000000000000000000000000000000000b0b";
// The texts that are the ids of the contracts, padded with zeros; their addresses are the ends of the hashes.
const address = (name) => {
  const id = Buffer.alloc(32);
  id.write(`DuskEVM local: ${name}`, "utf8");
  return `0x${keccak256(`0x${id.toString("hex")}`).slice(26)}`;
};
const PORTAL = address("portal");
const CONFIG = address("system config");
const abi = parseAbi([
  "function owner() view returns (address)",
  "function batcherHash() view returns (bytes32)",
  "function gasLimit() view returns (uint64)",
  "function unsafeBlockSigner() view returns (address)",
  "function version() view returns (string)",
  "function paused() view returns (bool)",
  "function setGasLimit(uint64)",
  "event TransactionDeposited(address indexed from, address indexed to, uint256 indexed version, bytes opaqueData)",
]);

let l1;
let deposit;

/** Brings DUSK to L2 by the command line, and waits until L1 has it. */
async function made() {
  if (!deposit) {
    const line = ["bridge", "deposit", "--dev", "--amount", "1.25", "--to", BOB, "--json", "--admin", admin];
    deposit = JSON.parse((await promisify(execFile)(binary, line)).stdout);
  }
  return deposit;
}

test("the chain and its tags", { skip }, async () => {
  const id = Number(await createPublicClient({ transport: http(url) }).request({ method: "eth_chainId" }));
  l1 = createPublicClient({
    chain: defineChain({ id, name: "Dusk L1", nativeCurrency: { name: "DUSK", symbol: "DUSK", decimals: 18 }, rpcUrls: { default: { http: [url] } } }),
    transport: http(url, { retryCount: 0 }),
    pollingInterval: 100,
  }).extend(publicActionsL1());
  const [latest, safe, finalized] = await Promise.all(["latest", "safe", "finalized"].map((blockTag) => l1.getBlock({ blockTag })));
  assert.ok(finalized.number <= safe.number && safe.number <= latest.number);
  const genesis = await l1.getBlock({ blockTag: "earliest" });
  assert.equal(genesis.number, 0n);
  assert.equal((await l1.getBlock({ blockHash: genesis.hash })).hash, genesis.hash);
  assert.ok((await l1.getGasPrice()) > 0n);
  assert.ok((await l1.estimateFeesPerGas()).maxFeePerGas > 0n);
});

test("a deposit by its Dusk hash leads to the transaction on L2", { skip, seconds: 90 }, async () => {
  const { id, l2Transaction } = await made();
  const receipt = await l1.waitForTransactionReceipt({ hash: id });
  assert.equal(receipt.status, "success");
  const [opaque] = extractTransactionDepositedLogs(receipt);
  assert.equal(opaque.address, PORTAL);
  const [hash] = getL2TransactionHashes(receipt);
  assert.equal(hash, getL2TransactionHash({ log: opaque }));
  assert.equal(hash, l2Transaction, "the command said the same");
  const arrived = await until("the deposit on L2", () => reader.getTransactionReceipt({ hash }).catch(() => undefined), { seconds: 60 });
  assert.equal(arrived.status, "success");
  assert.equal(formatEther(await reader.getBalance({ address: BOB })), "1.25");
});

test("logs by event, block and range", { skip }, async () => {
  const { id } = await made();
  const receipt = await l1.getTransactionReceipt({ hash: id });
  const [event] = abi.filter((item) => item.type === "event");
  const range = await l1.getLogs({ address: PORTAL, event, fromBlock: 0n, toBlock: "latest" });
  assert.ok(range.some((log) => log.transactionHash === receipt.transactionHash));
  const [log] = await l1.getLogs({ address: PORTAL, event, blockHash: receipt.blockHash });
  assert.deepEqual([log.transactionHash, log.removed], [receipt.transactionHash, false]);
  assert.equal(decodeEventLog({ abi, data: log.data, topics: log.topics }).args.version, 0n);
  assert.deepEqual(await l1.getLogs({ address: BOB, fromBlock: 0n }), []);
});

test("settlement contracts answer as the Solidity ones", { skip }, async () => {
  const read = (functionName, contract = CONFIG) => l1.readContract({ address: contract, abi, functionName });
  assert.equal(await read("gasLimit"), 60_000_000n);
  assert.match(await read("version"), /^\d+\.\d+\.\d+/);
  assert.equal(await read("paused", PORTAL), false);
  const signer = await read("unsafeBlockSigner");
  const slot = "0x65a7ed542fb37fe237fdfbdd70b31598523fe5b32879e307bae27a0bd9581c08";
  const kept = await l1.getStorageAt({ address: CONFIG, slot });
  assert.equal(`0x${kept.slice(26)}`, signer.toLowerCase());
  const refused = await l1.simulateContract({ address: CONFIG, abi, functionName: "setGasLimit", args: [1n] }).catch((e) => e);
  assert.match(refused.shortMessage ?? "", /Dusk transaction/);
});

test("new heads over WebSocket", { skip }, async () => {
  const client = createPublicClient({ chain: l1.chain, transport: webSocket(url.replace(/^http/, "ws"), { reconnect: false }) });
  const heads = [];
  const stop = client.watchBlocks({ onBlock: (block) => heads.push(block.number) });
  await until("two new heads", () => heads.length >= 2);
  stop();
  assert.equal(heads[1], heads[0] + 1n);
  (await client.transport.getRpcClient()).close();
});

await run();
