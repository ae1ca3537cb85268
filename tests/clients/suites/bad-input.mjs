// Bytes that no client should send. Each gets an answer (a JSON-RPC error, or HTTP 4xx before JSON is reached) or a closed
// connection, never a crash; the node goes on answering others, and its memory stays bounded.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import WebSocket from "ws";
import { run, suite, test, until } from "../lib/check.mjs";
import { PID, URL_HTTP, URL_WS } from "../lib/env.mjs";
import { batch, failure, post, rpc } from "../lib/rpc.mjs";

suite("bad-input");

const MIB = 1024 * 1024;
const ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
const node = (seconds = 30) => ({ node: true, seconds });
const url = new URL(URL_HTTP);
let atStart;

/** Resident memory of the node in bytes. */
function resident() {
  const [, kib] = readFileSync(`/proc/${PID}/status`, "utf8").match(/VmRSS:\s+(\d+) kB/);
  return Number(kib) * 1024;
}

/** The node answers an ordinary request within a second. */
async function alive() {
  const begin = performance.now();
  assert.match(await rpc("eth_blockNumber"), /^0x/);
  const took = performance.now() - begin;
  assert.ok(took < 1000, `an ordinary request took ${took.toFixed(0)} ms`);
}

/** Accepts what a server may do with a bad body: HTTP 4xx, or a JSON-RPC error with one of these codes. */
function rejected({ status, json, text }, codes, what) {
  if (status >= 400 && status < 500) return;
  assert.equal(status, 200, `${what}: HTTP ${status} ${text.slice(0, 200)}`);
  // What begins with a bracket is a batch, whose entries are each refused.
  const answers = Array.isArray(json) && json.length > 0 ? json : [json];
  for (const answer of answers) {
    assert.ok(answer?.error, `${what}: no error in ${text.slice(0, 200)}`);
    const { code, message } = answer.error;
    assert.ok(codes.includes(code), `${what}: code ${code} (${message}), expected ${codes}`);
  }
}

test("the node runs", async () => {
  await alive();
  if (PID) atStart = resident();
});

test("malformed JSON is a parse error", node(), async () => {
  const bodies = ["", " ", "{", "}", "[", "[1,", '{"jsonrpc":"2.0"', "nonsense", "\0\0\0\0", '{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[}', "{'a':1}"];
  for (const body of bodies) rejected(await post(body), [-32700, -32600], JSON.stringify(body));
  await alive();
});

test("JSON that is no request is an invalid request", node(), async () => {
  const bodies = ["null", "1", '"text"', "true", "{}", '{"id":1}', '{"jsonrpc":"2.0","id":1}', '{"jsonrpc":"2.0","id":1,"method":5}',
    '{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}'];
  for (const body of bodies) rejected(await post(body), [-32700, -32600], body);
  const empty = await post("[]");
  rejected(empty, [-32600], "empty batch");
  const odd = await post('[1,{"jsonrpc":"2.0","id":7,"method":"eth_chainId"},null]');
  const good = Array.isArray(odd.json) ? odd.json.find((answer) => answer.id === 7) : undefined;
  assert.ok(good?.result || odd.json?.error, `a batch with garbage in it: ${odd.text.slice(0, 200)}`);
  await alive();
});

test("an id that is neither a text nor a number", node(), async () => {
  for (const id of ["{}", "[1]", "true", "1e999"]) {
    const body = `{"jsonrpc":"2.0","id":${id},"method":"eth_chainId"}`;
    rejected(await post(body), [-32700, -32600], body);
  }
});

test("invalid UTF-8", node(), async () => {
  const request = Buffer.concat([Buffer.from('{"jsonrpc":"2.0","id":1,"method":"eth_'), Buffer.from([0xff, 0xfe, 0xc0, 0x80]), Buffer.from('","params":[]}')]);
  rejected(await post(request), [-32700, -32600, -32601], "method name");
  rejected(await post(randomBytes(4096)), [-32700, -32600], "random bytes");
  const surrogate = await post('{"jsonrpc":"2.0","id":1,"method":"\\ud800","params":[]}');
  rejected(surrogate, [-32700, -32600, -32601], "a lone surrogate");
  await alive();
});

test("unknown methods", async () => {
  for (const method of ["eth_nothing", "", "eth_", "ETH_CHAINID", "eth_chainId ", "engine_newPayloadV3", "personal_listAccounts", "x".repeat(10_000)]) {
    const error = await failure(method);
    assert.equal(error.code, -32601, `${method.slice(0, 30)}: ${error.code} ${error.reason.slice(0, 100)}`);
    assert.ok(error.reason.length < 20_000);
  }
});

test("admin methods are not on the public port", node(), async () => {
  for (const method of ["admin_why", "admin_actors", "admin_kill", "admin_inject"]) assert.equal((await failure(method)).code, -32601);
});

test("wrong types of parameters are invalid parameters", node(), async () => {
  const cases = [
    ["eth_getBalance"], ["eth_getBalance", 1], ["eth_getBalance", "0x12", "latest"], ["eth_getBalance", `${ADDRESS}00`, "latest"],
    ["eth_getBalance", ADDRESS.slice(2).replace(/./, "zz"), "latest"], ["eth_getBalance", ADDRESS, "newest"], ["eth_getBalance", ADDRESS, []],
    ["eth_getBalance", ADDRESS, { blockHash: "0x12" }], ["eth_getBalance", ADDRESS, { blockHash: `0x${"00".repeat(32)}`, blockNumber: "0x1" }],
    ["eth_getBlockByNumber", true, true], ["eth_getBlockByNumber", "latest", "yes"], ["eth_getBlockByHash", "0x1234", false],
    ["eth_call"], ["eth_call", "0x"], ["eth_call", { to: 5 }, "latest"], ["eth_call", { to: ADDRESS, data: "0xabc" }, "latest"],
    ["eth_call", { to: ADDRESS, gas: -1 }, "latest"], ["eth_call", { to: ADDRESS, value: "ten" }, "latest"],
    ["eth_call", { to: ADDRESS }, "latest", { [ADDRESS]: { balance: "lots" } }], ["eth_call", { to: ADDRESS }, "latest", []],
    ["eth_getLogs", { topics: "all" }], ["eth_getLogs", { address: 7 }], ["eth_getLogs", { topics: [["0x12"]] }],
    ["eth_getTransactionByHash", null], ["eth_getTransactionByHash", {}], ["eth_getProof", ADDRESS, "0x0", "latest"],
    ["eth_feeHistory", "0x4", "latest", "half"], ["eth_sendRawTransaction", 5], ["eth_sendRawTransaction", "abcd"], ["eth_getStorageAt", ADDRESS, {}, "latest"],
    ["debug_traceTransaction", "0x"], ["debug_traceCall", 5, "latest"], ["web3_sha3", "hello"],
  ];
  const results = await batch(cases);
  results.forEach((error, i) => {
    const what = JSON.stringify(cases[i]);
    assert.ok(error instanceof Error, `${what} returned ${JSON.stringify(error)}`);
    assert.ok([-32602, -32000].includes(error.code), `${what}: ${error.code} ${error.reason}`);
    assert.doesNotMatch(error.reason, /panic|internal/i, what);
  });
  const named = await post('{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":{"address":"0x0"}}');
  rejected(named, [-32602], "named parameters");
  await alive();
});

test("numbers of 2^256 and beyond", node(), async () => {
  const huge = `0x1${"0".repeat(64)}`;
  const cases = [
    ["eth_getBlockByNumber", huge, false], ["eth_getBalance", ADDRESS, huge], ["eth_call", { to: ADDRESS, value: huge }, "latest"],
    ["eth_call", { to: ADDRESS, gas: huge }, "latest"], ["eth_estimateGas", { to: ADDRESS, gasPrice: huge }],
    ["eth_getStorageAt", ADDRESS, huge, "latest"], ["eth_feeHistory", huge, "latest", []], ["eth_getProof", ADDRESS, [huge], "latest"],
    ["eth_call", { to: ADDRESS }, "latest", { [ADDRESS]: { balance: huge } }], ["eth_getTransactionByBlockNumberAndIndex", "0x1", huge],
    ["eth_call", { to: ADDRESS, value: `0x${"f".repeat(100_000)}` }, "latest"],
  ];
  const results = await batch(cases);
  results.forEach((error, i) => {
    const what = JSON.stringify(cases[i]).slice(0, 100);
    assert.ok(error instanceof Error, `${what} returned ${JSON.stringify(error)?.slice(0, 100)}`);
    assert.ok([-32602, -32000].includes(error.code), `${what}: ${error.code} ${error.reason.slice(0, 200)}`);
  });
  const largest = `0x${"f".repeat(64)}`;
  const most = await failure("eth_call", { from: ADDRESS, to: ADDRESS, value: largest }, "latest");
  assert.match(most.reason, /insufficient funds/);
  const both = await failure("eth_call", { from: ADDRESS, to: ADDRESS, value: largest, gas: "0xffffffffffffffff", gasPrice: largest }, "latest");
  assert.ok(both.reason.length > 0);
  const numberJson = await post('{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber","params":[1e999999,false]}');
  rejected(numberJson, [-32700, -32600, -32602], "a number that no float holds");
  await alive();
});

test("absurd log ranges and fee histories", node(), async () => {
  const head = await rpc("eth_blockNumber");
  const far = await failure("eth_getLogs", { fromBlock: "0x0", toBlock: "0xffffffffffffffff" }).catch((e) => e);
  if (far.code) assert.ok([-32602, -32000, -32005].includes(far.code), `${far.code} ${far.reason}`);
  assert.match((await failure("eth_getLogs", { fromBlock: head, toBlock: "0x0" })).reason, /invalid block range|range/i);
  assert.ok((await failure("eth_getLogs", { fromBlock: "0x0", blockHash: `0x${"00".repeat(32)}` })).reason);
  assert.ok((await failure("eth_getLogs", { blockHash: `0x${"ab".repeat(32)}` })).reason);
  const five = Array.from({ length: 5 }, () => `0x${"ab".repeat(32)}`);
  assert.ok((await failure("eth_getLogs", { topics: five })).code, "five topics");
  const many = { topics: [Array.from({ length: 50_000 }, (_, i) => `0x${i.toString(16).padStart(64, "0")}`)] };
  const answer = await rpc("eth_getLogs", many).catch((e) => e);
  assert.ok(Array.isArray(answer) || answer.code, "fifty thousand topics");
  const history = await rpc("eth_feeHistory", "0xffffffff", "latest", []).catch((e) => e);
  assert.ok(history.code || history.gasUsedRatio.length <= 1024, "fee history is bounded");
  assert.ok((await failure("eth_feeHistory", "0x4", "latest", Array.from({ length: 10_000 }, () => 50))).reason);
  await alive();
});

test("a batch of ten thousand", node(), async () => {
  const calls = Array.from({ length: 10_000 }, (_, id) => ({ jsonrpc: "2.0", id, method: "eth_chainId" }));
  const { status, json, text } = await post(JSON.stringify(calls));
  const refusal = Array.isArray(json) ? json[0]?.error : json?.error;
  assert.ok(status >= 400 || refusal, `ten thousand were answered: ${text.slice(0, 200)}`);
  assert.ok(text.length < 100_000, "one refusal, not ten thousand");
  await alive();
});

test("deep nesting", node(), async () => {
  // The deepest are also oversize, and a server may close the connection while the rest is still being written.
  const send = (body) =>
    body.length > 5 * MIB ? post(body).catch((error) => ({ status: 413, text: String(error) })) : post(body);
  for (const [open, close] of [["[", "]"], ['{"a":', "}"]]) {
    for (const depth of [65, 1_000, 100_000, 1_000_000]) {
      const nested = open.repeat(depth) + (open === "[" ? "" : "1") + close.repeat(depth);
      rejected(await send(nested), [-32700, -32600, -32602], `depth ${depth} as a body`);
      const inside = `{"jsonrpc":"2.0","id":1,"method":"eth_getLogs","params":${open === "[" ? nested : `[${nested}]`}}`;
      rejected(await send(inside), [-32700, -32600, -32602, -32000], `depth ${depth} as parameters`);
    }
  }
  await alive();
});

test("an oversize body is refused", node(60), async () => {
  const big = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "web3_sha3", params: [`0x${"00".repeat(8 * MIB)}`] });
  // A server may close the connection while the rest is still being written.
  const answer = await post(big).catch((error) => ({ status: 413, text: String(error) }));
  rejected(answer, [-32600, -32701, -32005, -32007], "16 MiB");
  await alive();
  const endless = new ReadableStream({
    start: () => {},
    pull(stream) {
      this.sent = (this.sent ?? 0) + 1;
      if (this.sent > 256) stream.close();
      else stream.enqueue(new Uint8Array(MIB).fill(0x20));
    },
  });
  const before = PID && resident();
  const outcome = await fetch(URL_HTTP, { method: "POST", headers: { "content-type": "application/json" }, body: endless, duplex: "half" })
    .then((r) => r.status, () => 413);
  assert.ok(outcome >= 400 && outcome < 500, `256 MiB in chunks: HTTP ${outcome}`);
  if (PID) assert.ok(resident() - before < 100 * MIB, "it was not kept in memory");
  await alive();
});

test("garbage as raw transactions", node(60), async () => {
  const fixed = ["0x", "0x00", "0x01", "0x02", "0x03", "0x04", "0x7e", "0x7f", "0x80", "0xc0", "0xff", `0x02${"c0"}`, `0xf8${"ff".repeat(200)}`,
    "0xbfffffffffffffffff", "0xfbffffffff", `0x02f8${"ff".repeat(60)}`, `0x04${"f9ffff"}`, `0x${"c1".repeat(50_000)}`];
  const random = Array.from({ length: 500 }, (_, i) => {
    const bytes = randomBytes(1 + (i % 300));
    // Half of them begin as a transaction would, so that decoders go further.
    if (i % 2) bytes[0] = [0x01, 0x02, 0x04, 0x7e, 0xf8, 0xf9][(i >> 1) % 6];
    return `0x${bytes.toString("hex")}`;
  });
  const results = await batch([...fixed, ...random].map((raw) => ["eth_sendRawTransaction", raw]));
  results.forEach((error, i) => {
    const raw = (fixed[i] ?? random[i - fixed.length]).slice(0, 60);
    assert.ok(error instanceof Error, `${raw} was taken: ${error}`);
    assert.ok([-32000, -32602].includes(error.code), `${raw}: ${error.code} ${error.reason}`);
  });
  await alive();
});

test("a valid transaction with any bit flipped is refused or comes from nobody", node(60), async () => {
  const { privateKeyToAccount } = await import("viem/accounts");
  const someone = privateKeyToAccount(`0x${"5a".repeat(32)}`);
  const raw = await someone.signTransaction({ type: "eip1559", chainId: 31310, nonce: 0, gas: 21_000n, maxFeePerGas: 10n ** 10n, maxPriorityFeePerGas: 1n, to: ADDRESS, value: 1n });
  const bytes = Buffer.from(raw.slice(2), "hex");
  const flipped = [];
  for (let bit = 0; bit < bytes.length * 8; bit += 1) {
    const copy = Buffer.from(bytes);
    copy[bit >> 3] ^= 1 << (bit & 7);
    flipped.push(`0x${copy.toString("hex")}`);
  }
  for (let i = 0; i < flipped.length; i += 500) {
    const results = await batch(flipped.slice(i, i + 500).map((one) => ["eth_sendRawTransaction", one]));
    assert.ok(results.every((error) => error instanceof Error && [-32000, -32602].includes(error.code)), "none is taken");
  }
  await alive();
});

test("HTTP that is not for us: methods, content types, headers", node(), async () => {
  // A bare GET may be answered with an empty page, as geth does: load balancers ask like that.
  const get = await fetch(URL_HTTP);
  assert.ok((get.status === 200 && (await get.text()) === "") || (get.status >= 400 && get.status < 500), `GET: HTTP ${get.status}`);
  const put = await post("{}", { method: "PUT" });
  assert.ok(put.status >= 400 && put.status < 500, `PUT: HTTP ${put.status}`);
  const html = await post('{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}', { headers: { "content-type": "text/html" } });
  assert.ok(html.status === 200 || (html.status >= 400 && html.status < 500), `text/html: HTTP ${html.status}`);
  const long = await post("{}", { headers: { "x-long": "x".repeat(300_000) } }).catch(() => ({ status: 431 }));
  assert.ok(long.status >= 400 && long.status < 500 || long.json?.error, `long header: HTTP ${long.status}`);
  await alive();
});

/** Opens a TCP connection, writes, and resolves with what came until it closed or `seconds` passed. */
function raw(bytes, seconds = 3) {
  return new Promise((resolve) => {
    const socket = connect(Number(url.port), url.hostname);
    let text = "";
    const done = () => { socket.destroy(); resolve(text); };
    const timer = setTimeout(done, seconds * 1000);
    socket.on("data", (chunk) => (text += chunk.toString("latin1")));
    socket.on("error", () => {}).on("close", () => { clearTimeout(timer); done(); });
    socket.write(bytes);
  });
}

test("a browser may ask first (CORS)", node(), async () => {
  const headers = { origin: "https://app.example", "access-control-request-method": "POST", "access-control-request-headers": "content-type" };
  const preflight = await fetch(URL_HTTP, { method: "OPTIONS", headers });
  assert.ok(preflight.ok, `HTTP ${preflight.status}`);
  assert.ok(["*", headers.origin].includes(preflight.headers.get("access-control-allow-origin")));
  assert.match(preflight.headers.get("access-control-allow-headers") ?? "", /content-type|\*/i);
  assert.match(preflight.headers.get("access-control-allow-methods") ?? "", /POST|\*/);
});

test("bytes that are not HTTP", node(), async () => {
  for (const bytes of [randomBytes(2000), "GET\r\n\r\n", "POST / HTTP/9.9\r\n\r\n", Buffer.alloc(100_000), "\x16\x03\x01\x02\x00\x01\x00"]) {
    const answer = await raw(bytes, 1);
    assert.ok(answer === "" || /^HTTP\/1\.[01] 4/.test(answer), answer.slice(0, 80));
  }
  const negative = await raw("POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: -5\r\n\r\n{}", 1);
  assert.match(negative, /^(HTTP\/1\.[01] 4|$)/);
  await alive();
});

test("slow bodies hold nobody else up", node(), async () => {
  const head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{";
  const sockets = Array.from({ length: 100 }, () => {
    const socket = connect(Number(url.port), url.hostname);
    socket.on("error", () => {});
    socket.write(head);
    return socket;
  });
  for (let i = 0; i < 10; i += 1) {
    for (const socket of sockets) if (!socket.destroyed) socket.write(" ");
    await alive();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  sockets.forEach((socket) => socket.destroy());
  await alive();
});

/** Sends to a fresh WebSocket and resolves with the first answer, or "closed". */
function overSocket(message, options = {}) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(URL_WS, { perMessageDeflate: false });
    const timer = setTimeout(() => { socket.terminate(); reject(new Error("neither an answer nor a close")); }, 10_000);
    const end = (value) => { clearTimeout(timer); socket.terminate(); resolve(value); };
    socket.on("open", () => socket.send(message, options));
    socket.on("message", (data) => end(data.toString()));
    socket.on("close", () => end("closed")).on("error", () => end("closed"));
  });
}

test("the same over WebSocket", node(60), async () => {
  for (const message of ["", "{", "[]", "null", "[".repeat(100_000), randomBytes(1000).toString("latin1"), '{"jsonrpc":"2.0","id":1,"method":"eth_nothing"}']) {
    const answer = await overSocket(message);
    assert.ok(answer === "closed" || JSON.parse(answer).error, `${JSON.stringify(message).slice(0, 60)}: ${answer.slice(0, 100)}`);
  }
  const binary = await overSocket(randomBytes(1000), { binary: true });
  assert.ok(binary === "closed" || JSON.parse(binary).error);
  const big = await overSocket(`{"jsonrpc":"2.0","id":1,"method":"web3_sha3","params":["0x${"00".repeat(8 * MIB)}"]}`);
  assert.ok(big === "closed" || JSON.parse(big).error, "16 MiB");
  const calls = await overSocket(JSON.stringify(Array.from({ length: 10_000 }, (_, id) => ({ jsonrpc: "2.0", id, method: "eth_chainId" }))));
  assert.ok(calls === "closed" || JSON.stringify(calls).length < 100_000, "ten thousand");
  await alive();
});

test("a thousand subscriptions on one connection are too many", node(60), async () => {
  const socket = new WebSocket(URL_WS);
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  let taken = 0;
  let refused = 0;
  let closed = false;
  socket.on("message", (data) => {
    const message = JSON.parse(data);
    if (message.result) taken += 1;
    if (message.error) refused += 1;
  });
  socket.on("close", () => (closed = true));
  for (let id = 1; id <= 1000; id += 1) socket.send(JSON.stringify({ jsonrpc: "2.0", id, method: "eth_subscribe", params: ["newHeads"] }));
  await until("all answers", () => closed || taken + refused >= 1000);
  assert.ok(closed || refused > 0, `${taken} subscriptions were taken`);
  socket.terminate();
  await alive();
});

test("a subscriber that never reads does not stop the chain", node(40), async () => {
  const sockets = await Promise.all(Array.from({ length: 20 }, () => new Promise((resolve, reject) => {
    const socket = new WebSocket(URL_WS);
    socket.once("error", reject);
    socket.once("open", () => {
      for (let id = 1; id <= 20; id += 1) socket.send(JSON.stringify({ jsonrpc: "2.0", id, method: "eth_subscribe", params: ["newHeads"] }));
      socket._socket.pause();
      resolve(socket);
    });
  })));
  const before = Number(await rpc("eth_blockNumber"));
  await until("two more blocks", async () => Number(await rpc("eth_blockNumber")) >= before + 2);
  sockets.forEach((socket) => socket.terminate());
  await alive();
});

test("many filters are bounded", node(60), async () => {
  const ids = [];
  let refused = 0;
  for (let round = 0; round < 4; round += 1) {
    for (const answer of await batch(Array.from({ length: 500 }, () => ["eth_newBlockFilter"]))) {
      if (answer instanceof Error) refused += 1;
      else ids.push(answer);
    }
  }
  await batch(ids.slice(0, 900).map((id) => ["eth_uninstallFilter", id]));
  for (let i = 900; i < ids.length; i += 900) await batch(ids.slice(i, i + 900).map((id) => ["eth_uninstallFilter", id]));
  assert.ok(refused > 0, "two thousand filters of one client were taken");
  assert.match(await rpc("eth_newBlockFilter"), /^0x/, "and there is room again");
  await alive();
});

test("expensive calls at the same time leave the node responsive", node(90), async () => {
  // A loop without end: JUMPDEST PUSH1 0 JUMP.
  const code = "0x5b600056";
  const request = ["eth_call", { to: ADDRESS, gas: "0xffffffffff" }, "latest", { [ADDRESS]: { code } }];
  const hard = Promise.all(Array.from({ length: 32 }, () => rpc(...request).catch((e) => e)));
  await new Promise((resolve) => setTimeout(resolve, 200));
  const before = Number(await rpc("eth_blockNumber"));
  await until("a block while they run", async () => Number(await rpc("eth_blockNumber")) > before);
  assert.ok((await hard).every((answer) => answer instanceof Error && answer.code), "each ends with an error");
  // Memory grows quadratically in gas: 30 MB must not be a way to take gigabytes. PUSH4 MSTORE in a loop.
  const greedy = "0x5b60016a0fffffffffffffffffff52600056";
  const answers = await Promise.all(Array.from({ length: 16 }, () => rpc("eth_call", { to: ADDRESS, gas: "0xffffffffff" }, "latest", { [ADDRESS]: { code: greedy } }).catch((e) => e)));
  assert.ok(answers.every((answer) => answer instanceof Error));
  await alive();
});

test("memory stays bounded", { ...node(), skip: PID ? undefined : "the node's process id is not known" }, async () => {
  const now = resident();
  const grown = (now - atStart) / MIB;
  assert.ok(grown < 512, `grew by ${grown.toFixed(0)} MiB to ${(now / MIB).toFixed(0)} MiB`);
});

test("the chain goes on", { seconds: 40 }, async () => {
  const before = Number(await rpc("eth_blockNumber"));
  await until("two more blocks", async () => Number(await rpc("eth_blockNumber")) >= before + 2);
});

await run();
